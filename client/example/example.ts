// A whole application in one page: finds peers, connects to them through PeerJS, and lets them talk.
//
// Everything here that others wrote, names and messages, goes into the page as text only. What PeerJS calls a peer is
// whom its signalling server connected: an application that has to know whose key that is asks the peer to sign something.

import { type DataConnection, type PeerConnectOption, Peer as PeerJs } from "peerjs";
import { type Peer, Rendezvous, type SourceStatus } from "rendezvous-beacon";
import { connectPeers } from "rendezvous-beacon/peerjs";

/** Those of `npm start`. */
const DEFAULT_BEACON = "http://127.0.0.1:8787";
const DEFAULT_SIGNALLING = "http://127.0.0.1:8791/";
const SHOWN_PEERS = 50;
const SHOWN_MESSAGES = 200;
const MESSAGE_MAX_LENGTH = 500;
/** A peer that has gone answers nothing. */
const DIAL_TIMEOUT_MS = 15_000;
const RECONNECT_MS = 3_000;

const started = performance.now();
const query = new URLSearchParams(location.search);
const beacons = listed("beacon", DEFAULT_BEACON);
const capsuleKeys = listed("capsuleKey");
const capsules = listed("capsule").map((url, at) => ({ url, publicKey: capsuleKeys[at] ?? "" }));
const community = query.get("community") || "mainnet";
const signalling = (query.get("signalling") ?? DEFAULT_SIGNALLING).trim();

// Every visit is a new peer. Without randomUUID the page is no secure context, which start() explains.
const peerId = crypto.randomUUID?.() ?? "insecure";
const name = inventName();
const open = new Map<string, DataConnection>();
const links = new Map<string, "connecting" | "connected" | "gone" | "unreachable">();
let signalState: "connecting" | "open" | "lost" | "closed" = "connecting";
let firstPeerFrom: string | undefined;
let firstConnectionMs: number | undefined;
let rendezvous: Rendezvous;

/** The adapter dials; the page looks on. */
class WatchedPeerJs extends PeerJs {
  override connect(to: string, options?: PeerConnectOption): DataConnection {
    const connection = super.connect(to, { ...options, serialization: "json" }) as DataConnection | undefined;
    const fail = () => links.get(to) === "connecting" && changeLink(to, "unreachable");
    changeLink(to, "connecting");
    connection?.on("error", fail);
    setTimeout(fail, DIAL_TIMEOUT_MS);
    // Undefined while there is no signalling server, whatever PeerJS's types say.
    return connection as DataConnection;
  }
}

show();
try {
  start();
} catch (error) {
  complain(error as Error);
}

function start(): void {
  rendezvous = new Rendezvous({ community, peerId, userId: name, beacons, capsules });
  rendezvous.addEventListener("peers", ({ detail: { live, recentlySeen } }) => {
    if (firstConnectionMs === undefined) firstPeerFrom ??= (live[0] ?? recentlySeen[0])?.source;
    render();
  });
  rendezvous.addEventListener("status", render);
  const signal = new WatchedPeerJs(peerId, { debug: 0, ...signallingServer() });
  rendezvous.start().catch(complain);

  let connecting: (() => void) | undefined;
  signal.on("open", () => {
    signalState = "open";
    connecting ??= connectPeers(rendezvous, signal, { onConnection: talk, timeoutMs: DIAL_TIMEOUT_MS });
    render();
  });
  signal.on("disconnected", () => {
    signalState = "lost";
    setTimeout(() => !signal.destroyed && signal.reconnect(), RECONNECT_MS);
    render();
  });
  signal.on("close", () => {
    signalState = "closed";
    render();
  });
  signal.on("error", ({ type, message }) => {
    if (type !== "peer-unavailable") return;
    for (const [id, state] of links) if (state === "connecting" && message.endsWith(` ${id}`)) changeLink(id, "unreachable");
  });

  element("say").addEventListener("submit", say);
  // The others need not wait until they notice.
  addEventListener("pagehide", () => signal.destroy());
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  setInterval(render, 1_000);
  render();
}

/** A server on this machine has peers on this machine, which need no help to reach each other. */
function signallingServer(): object {
  if (signalling === "") return {};
  if (!/^https?:\/\/./.test(signalling)) throw new TypeError("signalling must be an http(s) URL");
  const { hostname, port, pathname, protocol } = new URL(signalling);
  const secure = protocol === "https:";
  const isHere = /^(127\.|localhost$|\[::1\]$)/.test(hostname);
  return {
    host: hostname,
    port: Number(port) || (secure ? 443 : 80),
    path: pathname,
    secure,
    ...(isHere ? { config: { iceServers: [] } } : {}),
  };
}

function talk(connection: DataConnection): void {
  const { peer } = connection;
  firstConnectionMs ??= performance.now() - started;
  open.set(peer, connection);
  connection.on("data", (data) => {
    if (typeof data === "string") write("message", peer, data.slice(0, MESSAGE_MAX_LENGTH));
  });
  connection.on("close", () => {
    if (open.get(peer) !== connection) return;
    open.delete(peer);
    write("note", peer, "has gone");
    changeLink(peer, "gone");
  });
  write("note", peer, "is connected");
  changeLink(peer, "connected");
}

function changeLink(peer: string, state: "connecting" | "connected" | "gone" | "unreachable"): void {
  links.set(peer, state);
  render();
}

function say(event: Event): void {
  event.preventDefault();
  const input = element<HTMLInputElement>("text");
  const text = input.value.trim();
  if (text === "") return;
  for (const connection of open.values()) connection.send(text);
  write("own", peerId, text);
  input.value = "";
}

function show(): void {
  element("problem").hidden = true;
  element("main").hidden = false;
  text("community", community);
  text("self-name", name);
  text("self-id", peerId);
  const fields = { community, beacon: beacons.join("\n"), capsule: capsules.map(({ url }) => url).join("\n"), "capsule-key": capsuleKeys.join("\n"), signalling };
  for (const [field, value] of Object.entries(fields)) element<HTMLInputElement>(`set-${field}`).value = value;
}

function complain({ message }: Error): void {
  element("problem").hidden = false;
  text("problem", message);
  element<HTMLDetailsElement>("settings").open = true;
}

function render(): void {
  const status = rendezvous.status();
  const count = status.sources.filter(({ announced }) => announced).length;
  const [mood, state] = {
    connecting: ["fair", "waiting for the signalling server"],
    lost: ["bad", "signalling server lost"],
    closed: ["bad", "no signalling server: reload to try again"],
    open: count > 0 ? ["good", `listed by ${plural(count, "beacon")}`] : ["fair", "listed by no beacon"],
  }[signalState] as [string, string];
  set(element("self-state"), state, `badge ${mood}`);

  // Unless a peer has found this page before.
  if (firstPeerFrom) {
    text("first-peer", duration(status.timeToFirstPeerMs as number));
    text("first-peer-from", `from ${place(firstPeerFrom)}`);
  } else if (firstConnectionMs !== undefined) {
    text("first-peer", "–");
    text("first-peer-from", "one has found you");
  }
  if (firstConnectionMs !== undefined) text("first-connection", duration(firstConnectionMs));
  rows("sources", status.sources, ({ url }) => url, renderSource);

  const { live, recentlySeen } = rendezvous.peers();
  const known = new Map([...live, ...recentlySeen].map((peer) => [peer.peerId, peer]));
  // One that has just come may know this page before this page has it in a list.
  const connected = [...open.keys()];
  const others = [...known.keys()].filter((id) => !open.has(id));
  rows("peers", [...connected, ...others].slice(0, SHOWN_PEERS), (id) => id, (row, id) => renderPeer(row, id, known.get(id)));
  element("no-peers").hidden = connected.length + others.length > 0;
  text("peer-count", `${live.length} live, ${recentlySeen.length} recently seen`);
  text("connected-count", connected.length > 0 ? `with ${plural(connected.length, "peer")}` : "");

  for (const author of document.querySelectorAll<HTMLElement>("[data-peer]")) {
    const id = author.dataset.peer as string;
    set(author, known.get(id)?.userId ?? brief(id));
  }
}

function renderSource(row: HTMLElement, source: SourceStatus): void {
  const { url, kind, state, reason, latencyMs, lastSuccessAt, failuresInARow, announced } = source;
  const mood = { ok: "good", waiting: "", failing: "bad", lying: "bad" }[state];
  const facts = [
    reason && `${reason}${failuresInARow > 1 ? `, ${failuresInARow} times in a row` : ""}`,
    announced && "lists you",
    lastSuccessAt === undefined ? failuresInARow > 0 && "never answered" : `answered ${ago(lastSuccessAt)} in ${duration(latencyMs as number)}`,
  ];
  fill(row, () => [line(make("span", "name"), make("span"), make("span", "soft")), make("p", "soft")]);
  const [address, badge, what] = [...(row.firstElementChild as HTMLElement).children] as [HTMLElement, HTMLElement, HTMLElement];
  set(address, place(url));
  set(badge, state, `badge ${mood}`);
  set(what, kind);
  set(row.lastElementChild as HTMLElement, facts.filter(Boolean).join(" · "));
}

function renderPeer(row: HTMLElement, id: string, peer: Peer | undefined): void {
  fill(row, () => [make("span", "name"), line(make("span"), make("span"), make("span", "soft"))]);
  const [label, facts] = [...row.children] as [HTMLElement, HTMLElement];
  const [presence, connection, about] = [...facts.children] as [HTMLElement, HTMLElement, HTMLElement];
  const link = links.get(id);
  set(label, peer?.userId ?? brief(id));
  set(presence, !peer ? "new" : peer.state === "live" ? "live" : "recently seen", `badge ${peer?.state === "live" ? "good" : ""}`);
  set(connection, link ?? "", `badge ${link ? { connected: "good", connecting: "fair", gone: "", unreachable: "bad" }[link] : ""}`);
  connection.hidden = !link;
  set(about, peer ? `${brief(id)} · from ${place(peer.source)} · announced ${ago(peer.issuedAt)}${peer.contested ? " · several keys claim this name" : ""}` : "has found you, and is in none of your lists yet");
}

function write(kind: "own" | "message" | "note", from: string, what: string): void {
  const messages = element("messages");
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;
  const entry = make("p", kind);
  if (kind !== "own") {
    const author = make("span", "name");
    // Filled in by render: the name may become known later.
    author.dataset.peer = from;
    author.textContent = brief(from);
    entry.append(author, " ");
  }
  entry.append(make("span", "text", what));
  messages.append(entry);
  while (messages.children.length > SHOWN_MESSAGES) messages.firstElementChild?.remove();
  if (atEnd) messages.scrollTop = messages.scrollHeight;
  render();
}

function element<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

function make<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, className = "", content = ""): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = content;
  return made;
}

function line(...children: HTMLElement[]): HTMLElement {
  const made = make("div", "line");
  made.append(...children);
  return made;
}

/** Writes only what has changed: a screen reader, a selection and the focus stay where they are. */
function set(target: HTMLElement, content: string, className = target.className): void {
  if (target.textContent !== content) target.textContent = content;
  if (target.className !== className) target.className = className;
}

function text(id: string, content: string): void {
  set(element(id), content);
}

function fill(target: HTMLElement, content: () => HTMLElement[]): void {
  if (target.childElementCount === 0) target.replaceChildren(...content());
}

/** One row for each item, in order; the row of an item stays the same element. */
function rows<Item>(id: string, items: Item[], key: (item: Item) => string, draw: (row: HTMLElement, item: Item) => void): void {
  const list = element(id);
  const old = new Map([...list.children].map((row) => [(row as HTMLElement).dataset.key, row as HTMLElement]));
  items.forEach((item, at) => {
    const name = key(item);
    const row = old.get(name) ?? make("li");
    old.delete(name);
    row.dataset.key = name;
    draw(row, item);
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
  });
  for (const row of old.values()) row.remove();
}

/** A parameter may be repeated, and hold several values with white space between them. */
function listed(parameter: string, otherwise = ""): string[] {
  const given = query.has(parameter) ? query.getAll(parameter) : [otherwise];
  return given.flatMap((value) => value.split(/\s+/)).filter(Boolean);
}

function place(source: string): string {
  return source === "cache" ? "the last visit" : source.replace(/^https?:\/\//, "").replace(/\/$/, "");
}

function brief(id: string): string {
  return id.length > 12 ? `${id.slice(0, 8)}…` : id;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function duration(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1_000)} s`;
}

function ago(time: number): string {
  const seconds = Math.max(0, Math.round((Date.now() - time) / 1_000));
  if (seconds < 2) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3_600)} h ago`;
}

function inventName(): string {
  const pick = (words: string) => {
    const list = words.split(" ");
    return list[Math.floor(Math.random() * list.length)] as string;
  };
  return `${pick("Amber Brisk Calm Clever Copper Gentle Golden Keen Lucky Merry Misty Quiet Rapid Silver Sunny Velvet")} ${pick("Badger Crane Falcon Fox Hare Heron Ibex Lark Lynx Marten Otter Owl Raven Seal Stoat Wren")}`;
}
