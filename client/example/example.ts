// A whole application in one page: finds people, connects to them through the beacons that list them, and lets them talk.
//
// Everything here that others wrote, names and messages, goes into the page as text only. Whoever is connected has proved
// the key that belongs to the ID: an ID is a `peerId` and that key, with a colon between them.

import { type Peer, Rendezvous, type SourceStatus, explain } from "rendezvous-beacon";
import { live } from "rendezvous-beacon/live";
import { type Claim, type Connection, type ConnectionError, Connections } from "rendezvous-beacon/webrtc";
import { type Action, type BeaconState, act, hasControl, readStates } from "./control.js";
import { ago, duration, element, listing, make, part, plural, rows, set, text } from "./view.js";

/** That of `npm start`. */
const DEFAULT_BEACON = "http://127.0.0.1:8787";
const DEFAULT_LIMIT = "8";
const SHOWN_PEOPLE = 50;
const SHOWN_MESSAGES = 200;
const MESSAGE_MAX_LENGTH = 500;
const NAME_MAX_LENGTH = 128;
/** Of whom something is remembered. Strangers may come under as many IDs as they like. */
const KEPT_PEOPLE = 1_000;
const RENDER_MS = 1_000;
const CONTROL_MS = 2_000;
/** The settings, by how the client names what is wrong with them. */
const SETTINGS: [RegExp, string][] = [
  [/^community\b/, "community"],
  [/^beacons\b/, "beacon"],
  [/^(capsules\[\d+\]\.publicKey|capsuleKey)\b/, "capsule-key"],
  [/^capsules\b/, "capsule"],
  [/^limit\b/, "limit"],
];
/** Of the tab's own storage: each tab is somebody else. */
const STORED_NAME = "name";

/** What is shown of a person, and nothing beside it. */
type PersonState = "connected" | "trying" | "reachable" | "not reachable" | "left";
const STATES: PersonState[] = ["connected", "trying", "reachable", "not reachable", "left"];

/** What this page has seen of a peer itself. */
interface Link {
  state: "trying" | "connected" | "closed" | "failed";
  /** Milliseconds since the Unix epoch. */
  since: number;
  /** When its last connection ended, unless there is another: a call after that which fails says that it has left. */
  closedAt: number | undefined;
  /** Why a call has failed, in words. */
  why: string | undefined;
}

interface Person {
  id: string;
  name: string;
  state: PersonState;
  peer: Peer | undefined;
}

const started = performance.now();
const query = new URLSearchParams(location.search);
const beacons = listed("beacon", DEFAULT_BEACON);
const capsuleKeys = listed("capsuleKey");
const capsules = listed("capsule").map((url, at) => ({ url, publicKey: capsuleKeys[at] ?? "" }));
const community = query.get("community") || "mainnet";
const limit = query.get("limit") || DEFAULT_LIMIT;

// Every visit is a new peer. Without randomUUID the page is not a secure context, which start() explains.
const peerId = crypto.randomUUID?.() ?? "insecure";
let name = storedName() ?? inventName();
const open = new Map<string, Connection>();
const links = new Map<string, Link>();
/** What people that are or were connected call themselves: newer than what lists have. */
const names = new Map<string, string>();
/** Those whose ID was typed in. */
const called = new Set<string>();
let firstPeer: { afterMs: number; from: string } | undefined;
let firstConnectionMs: number | undefined;
let rendezvous: Rendezvous;
let carrier: ReturnType<typeof live>;
let connections: Connections;
let beaconStates = new Map<string, BeaconState>();
/** Whom this page was connected to when the first of the beacons that are dead now was killed. */
let survivors: Set<string> | undefined;

/** It dials by itself whom `rendezvous` finds; the page looks on. */
class WatchedConnections extends Connections {
  override async connect(claim: Claim): Promise<RTCDataChannel> {
    const id = idOf(claim);
    if (!open.has(id)) changeLink(id, "trying");
    try {
      return await super.connect(claim);
    } catch (error) {
      if (links.get(id)?.state === "trying") changeLink(id, "failed", explain((error as ConnectionError).reason));
      throw error;
    }
  }
}

show();
try {
  start();
} catch (error) {
  // Nothing listens to its forms: they would be sent, and take the settings out of the address.
  element("main").hidden = true;
  complain(error as Error);
}

function start(): void {
  if (!/^\d{1,3}$/.test(limit)) throw new TypeError("limit must be a whole number below 1,000");
  if (capsuleKeys.length > capsules.length) throw new TypeError("capsuleKey must be given once for each capsule");
  rendezvous = new Rendezvous({ community, peerId, userId: name, beacons, capsules });
  rendezvous.addEventListener("peers", ({ detail: { live, recentlySeen } }) => {
    const found = live[0] ?? recentlySeen[0];
    if (firstConnectionMs === undefined && found)
      firstPeer ??= { afterMs: rendezvous.status().timeToFirstPeerMs as number, from: found.source };
    render();
  });
  carrier = live(rendezvous);
  connections = new WatchedConnections(rendezvous, carrier, { limit: Number(limit), iceServers: "beacon", onConnection: talk });
  rendezvous.subscribe(render);
  rendezvous.start().catch(complain);

  element("rename").addEventListener("submit", rename);
  element("say").addEventListener("submit", say);
  element("call").addEventListener("submit", call);
  element("copy").addEventListener("click", () => void copyId());
  // The others need not wait until they notice.
  addEventListener("pagehide", () => connections.stop());
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  if (hasControl) {
    void followBeacons();
    setInterval(() => document.visibilityState === "visible" && void followBeacons(), CONTROL_MS);
  }
  setInterval(render, RENDER_MS);
  element("rename").hidden = false;
  render();
}

/** Those who are connected hear of a new name at once; beacons take it with the next ticket, 45 s after the last. */
function rename(event: Event): void {
  event.preventDefault();
  const input = element<HTMLInputElement>("self-name");
  const chosen = input.value.trim();
  if (chosen === name) return renamed(input, "");
  if (chosen === "") return renamed(input, "Others see you by your name: write one.");
  try {
    rendezvous.update({ userId: chosen });
  } catch {
    return renamed(input, `A name has at most ${NAME_MAX_LENGTH} bytes, and no control characters: write another.`);
  }
  renamed(input, "");
  name = chosen;
  storeName(name);
  for (const connection of open.values()) introduce(connection);
  write("note", undefined, `You are ${name} now`);
}

/** Says beside the field what is wrong with a name, if something is. */
function renamed(input: HTMLInputElement, problem: string): void {
  text("rename-state", problem);
  input.setAttribute("aria-invalid", String(problem !== ""));
  if (problem !== "") input.focus();
}

/** What people say goes as text, so that a name, which goes as bytes, is never taken for that. */
function introduce({ channel }: Connection): void {
  if (channel.readyState === "open") channel.send(new TextEncoder().encode(name));
}

function talk(connection: Connection): void {
  const { channel } = connection;
  const id = idOf(connection);
  firstConnectionMs ??= performance.now() - started;
  const isNew = !open.has(id);
  open.set(id, connection);
  introduce(connection);
  channel.addEventListener("message", ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (typeof data === "string") return write("message", id, data.slice(0, MESSAGE_MAX_LENGTH));
    const given = new TextDecoder().decode(data).trim().slice(0, NAME_MAX_LENGTH);
    if (given !== "") keep(names, id, given);
    render();
  });
  channel.addEventListener("close", () => end(id, connection));
  changeLink(id, "connected");
  if (isNew) write("note", id, "is connected");
}

function end(id: string, connection: Connection): void {
  // Not one that another has replaced.
  if (open.get(id) !== connection) return;
  open.delete(id);
  // Another call is under way.
  if (links.get(id)?.state === "trying") return render();
  changeLink(id, "closed");
  write("note", id, "has left");
}

function changeLink(id: string, state: Link["state"], why?: string): void {
  const since = Date.now();
  const closedAt = state === "closed" ? since : state === "connected" ? undefined : links.get(id)?.closedAt;
  keep(links, id, { state, since, closedAt, why });
  if (called.has(id)) {
    const words = {
      trying: `Calling ${nameOf(id)} …`,
      connected: `${nameOf(id)} is connected.`,
      closed: "",
      failed: `${nameOf(id)} cannot be reached. ${why} Is their page still open?`,
    };
    text("call-state", words[state]);
  }
  render();
}

/** Forgets first whom nothing was heard of for the longest time. */
function keep<Value>(map: Map<string, Value>, id: string, value: Value): void {
  map.delete(id);
  map.set(id, value);
  const [oldest] = map.keys();
  if (map.size > KEPT_PEOPLE && oldest !== undefined) map.delete(oldest);
}

function call(event: Event): void {
  event.preventDefault();
  const input = element<HTMLInputElement>("call-id");
  const claim = readId(input.value.trim());
  if (!claim) return text("call-state", "An ID ends with a colon and a key: it has to be copied whole.");
  const id = idOf(claim);
  if (id === ownId()) return text("call-state", "This is your own ID: they need it, you need theirs.");
  if (open.has(id)) return text("call-state", "You are connected already.");
  called.add(id);
  input.value = "";
  // What comes of it is shown by the link.
  connections.connect(claim).catch(() => {});
}

async function copyId(): Promise<void> {
  const copied = await navigator.clipboard?.writeText(ownId()).then(() => true, () => false);
  text("call-state", copied ? "Copied." : "This browser does not copy here: select the ID.");
}

function say(event: Event): void {
  event.preventDefault();
  const input = element<HTMLInputElement>("text");
  const words = input.value.trim();
  if (words === "") return;
  if (open.size === 0) return write("note", undefined, "Nobody is connected yet: your message is still in the field");
  for (const { channel } of open.values()) if (channel.readyState === "open") channel.send(words);
  write("own", undefined, words);
  input.value = "";
}

async function followBeacons(): Promise<void> {
  // Where `npm start` has ended, every source says so.
  await readStates().then(takeStates, () => {});
}

function takeStates(states: Map<string, BeaconState>): void {
  const isBack = [...states].some(([url, state]) => state === "running" && !isRunning(url));
  beaconStates = states;
  // The client then asks every source at once.
  if (isBack) dispatchEvent(new Event("online"));
  const isDead = [...states.values()].some((state) => state !== "running");
  if (!isDead) survivors = undefined;
  else survivors ??= new Set(open.keys());
  render();
}

async function control(beacon: string, action: Action): Promise<void> {
  survivors ??= new Set(open.keys());
  text("control-state", "");
  try {
    takeStates(await act(beacon, action));
  } catch (error) {
    text("control-state", `That did not work: ${(error as Error).message}`);
    await followBeacons();
  }
}

function show(): void {
  element("problem").hidden = true;
  element("main").hidden = false;
  text("community", community);
  element<HTMLInputElement>("self-name").value = name;
  element<HTMLAnchorElement>("second-tab").href = location.href;
  const fields = {
    community,
    beacon: beacons.join("\n"),
    capsule: capsules.map(({ url }) => url).join("\n"),
    "capsule-key": capsuleKeys.join("\n"),
    limit,
  };
  for (const [field, value] of Object.entries(fields)) element<HTMLInputElement>(`set-${field}`).value = value;
}

function complain({ message }: Error): void {
  element("problem").hidden = false;
  text("problem", message);
  element<HTMLDetailsElement>("settings").open = true;
  const [, setting] = SETTINGS.find(([named]) => named.test(message)) ?? [];
  if (setting === undefined) return;
  text(`wrong-${setting}`, message);
  element(`set-${setting}`).setAttribute("aria-invalid", "true");
}

function render(): void {
  const { sources, outcomes } = rendezvous.status();
  const count = sources.filter(({ announced, url }) => announced && isRunning(url)).length;
  const isBound = carrier.status().some(({ bound, url }) => bound && isRunning(url));
  const [tone, state] = selfState(count, isBound);
  set(element("self-state"), state, `state ${tone}`);
  text("self-id", ownId());

  const people = everybody();
  rows(element("people"), people.slice(0, SHOWN_PEOPLE), ({ id }) => id, renderPerson);
  element("no-people").hidden = people.length > 0;
  const here = people.filter(({ state }) => state !== "left" && state !== "not reachable").length;
  text("people-count", here > 0 ? String(here) : "");
  text("connected-count", open.size > 0 ? `with ${plural(open.size, "person", "people")}` : "");
  document.title = open.size > 0 ? `(${open.size}) Who is online?` : "Who is online?";

  rows(element("sources"), sources, ({ url }) => url, renderSource);
  renderNews(sources);

  // Unless somebody has found this page before.
  if (firstPeer) {
    text("first-peer", duration(firstPeer.afterMs));
    text("first-peer-from", `from ${place(firstPeer.from)}`);
  } else if (firstConnectionMs !== undefined) text("first-peer-from", "somebody has found you");
  if (firstConnectionMs !== undefined) text("first-connection", duration(firstConnectionMs));
  text("reached", `${outcomes.connected}`);
  text("not-reached", `${outcomes.failed}`);

  const shown = new Map(people.map((person) => [person.id, person.name]));
  for (const author of document.querySelectorAll<HTMLElement>("[data-person]")) {
    const id = author.dataset.person as string;
    set(author, shown.get(id) ?? nameOf(id));
  }
}

/** Returns a tone, and whether this page can be found and called, in words. */
function selfState(count: number, isBound: boolean): [string, string] {
  const stays = open.size > 0 ? ": connections stay, new ones have to wait" : "";
  if (count === 0) return [open.size > 0 ? "bad" : "", `No beacon lists you${stays}`];
  if (!isBound) return ["", `Listed by ${plural(count, "beacon")}, which cannot be called through yet`];
  return ["good", `Online, listed by ${plural(count, "beacon")}`];
}

function everybody(): Person[] {
  const { live, recentlySeen } = rendezvous.peers();
  const known = new Map([...live, ...recentlySeen].map((peer) => [idOf(peer), peer]));
  // One that has just come may know this page before this page has it in a list.
  const people = [...new Set([...open.keys(), ...known.keys(), ...called])].map((id) => {
    const peer = known.get(id);
    return { id, name: nameOf(id, peer), state: stateOf(id, peer), peer };
  });
  return people.sort((one, other) => STATES.indexOf(one.state) - STATES.indexOf(other.state));
}

function nameOf(id: string, peer?: Peer): string {
  return names.get(id) ?? peer?.userId ?? brief(id);
}

function stateOf(id: string, peer: Peer | undefined): PersonState {
  if (open.has(id)) return "connected";
  const link = links.get(id);
  if (link?.state === "trying") return "trying";
  // Whoever has announced since may be back, or reachable by now.
  const isNews = (at: number | undefined) => at !== undefined && !(peer && peer.issuedAt > at);
  if (peer?.state === "recently-seen" || isNews(link?.closedAt)) return "left";
  if (link?.state === "failed" && isNews(link.since)) return "not reachable";
  return peer ? "reachable" : "left";
}

function renderPerson(row: HTMLElement, { id, name, state, peer }: Person): void {
  const tone = { connected: "good", trying: "", reachable: "", "not reachable": "bad", left: "" }[state];
  row.className = state === "left" ? "person away" : "person";
  const facts = [
    state === "not reachable" && links.get(id)?.why?.replace(/\.$/, ""),
    peer ? `found through ${place(peer.source)}` : "in none of your lists",
    peer?.contested && "several keys claim this ID",
  ];
  set(part(row, "span", "initials"), initials(name));
  part(row, "span", "initials").ariaHidden = "true";
  set(part(row, "strong", "name"), name);
  set(part(row, "span", "state"), state, `state ${tone}`);
  set(part(row, "span", "soft"), facts.filter(Boolean).join(" · "));
}

function renderSource(row: HTMLElement, source: SourceStatus): void {
  const { url, kind, latencyMs, lastSuccessAt } = source;
  const [tone, state, why] = wordsFor(source);
  const answered = lastSuccessAt !== undefined && `answered ${ago(lastSuccessAt)}, in ${duration(latencyMs as number)}`;
  row.className = "source";
  set(part(row, "strong", "name"), kind === "capsule" && capsules.length === 1 ? "The capsule" : place(url));
  set(part(row, "span", "state"), state, `state ${tone}`);
  set(part(row, "span", "soft"), [why, answered].filter(Boolean).join(" · "));
  if (beaconStates.has(url)) renderButton(row, url, beaconStates.get(url) as BeaconState);
}

/** Whether a source was killed by nobody, as far as is known. */
function isRunning(url: string): boolean {
  return (beaconStates.get(url) ?? "running") === "running";
}

/** Returns a tone, the state of a source in words, and the reason, if there is one. */
function wordsFor({ url, kind, state, reason, announced }: SourceStatus): [string, string, string] {
  const killed = { killed: "killed", starting: "starting", stopped: "stopped", running: undefined }[beaconStates.get(url) ?? "running"];
  if (killed) return ["bad", killed, ""];
  if (kind === "capsule" && reason === "HTTP_404") return ["", "not there yet", ""];
  const why = reason ? explain(reason) : "";
  if (state === "waiting") return ["", "being asked", ""];
  if (state === "lying") return ["bad", "not believed", why];
  // A beacon on this machine that does not answer was just started, or is about to be.
  if (state === "failing" && reason === "NETWORK") return ["bad", "does not answer", beaconStates.has(url) ? "" : why];
  if (state === "failing") return ["bad", reason === "TIMEOUT" ? "does not answer" : "refuses", why];
  return ["good", kind === "capsule" ? "is there" : announced ? "lists you" : "answers", why];
}

function renderButton(row: HTMLElement, url: string, state: BeaconState): void {
  const action = state === "running" ? "kill" : "start";
  const button = part(row, "button", "act");
  button.type = "button";
  button.disabled = state === "starting" || state === "stopped";
  button.onclick = () => {
    button.disabled = true;
    void control(url, action);
  };
  set(button, action === "kill" ? "Kill this beacon" : "Start it again", `act secondary small ${action}`);
  button.setAttribute("aria-label", `${button.textContent}: ${place(url)}`);
}

/** What a beacon's death means: for those who are connected, and for whoever comes now. */
function renderNews(sources: SourceStatus[]): void {
  const dead = [...beaconStates].filter(([, state]) => state !== "running").map(([url]) => place(url));
  element("news").hidden = dead.length === 0;
  if (dead.length === 0 || !survivors) return;
  const gone = [...survivors].filter((id) => !open.has(id));
  const here =
    gone.length === 0
      ? `Everybody is still here: you are connected to ${plural(survivors.size, "person", "people")}.`
      : `${survivors.size - gone.length} of ${survivors.size} are still here; ${listing(gone.map((id) => nameOf(id)))} left.`;
  const rest = sources.filter(({ url, state }) => state === "ok" && isRunning(url));
  const beaconsLeft = rest.filter(({ kind }) => kind === "beacon").map(({ url }) => place(url));
  const newcomers =
    beaconsLeft.length > 0
      ? `Newcomers still come in through ${listing(beaconsLeft)}.`
      : rest.length > 0
        ? "Newcomers still see in the capsule who is here, and come in when a beacon is back."
        : "Newcomers have to wait.";
  text("news-dead", `${listing(dead)} ${dead.length === 1 ? "is" : "are"} dead.`);
  text("news-here", survivors.size > 0 ? here : "");
  text("news-ways", newcomers);
}

function write(kind: "own" | "message" | "note", from: string | undefined, what: string): void {
  const messages = element("messages");
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;
  const entry = make("p", kind);
  if (from !== undefined) {
    const author = make("span", "name", nameOf(from));
    // Kept up to date by render: the name may become known later.
    author.dataset.person = from;
    entry.append(author, " ");
  }
  entry.append(make("span", "text", what));
  messages.append(entry);
  while (messages.children.length > SHOWN_MESSAGES) messages.firstElementChild?.remove();
  if (atEnd) messages.scrollTop = messages.scrollHeight;
  render();
}

function idOf({ peerId, publicKey }: Claim): string {
  return `${peerId}:${publicKey}`;
}

/** Returns this page's own ID; an empty text until its key is there. */
function ownId(): string {
  const { publicKey } = rendezvous;
  return publicKey ? idOf({ peerId, publicKey }) : "";
}

/** A `peerId` may have colons in it, base64 has none. */
function readId(id: string): Claim | undefined {
  const [, peerId, publicKey] = /^([!-~]{1,128}):([A-Za-z\d+/]{43}=)$/.exec(id) ?? [];
  return peerId !== undefined && publicKey !== undefined ? { peerId, publicKey } : undefined;
}

/** A parameter may be repeated, and hold several values with white space between them. */
function listed(parameter: string, otherwise = ""): string[] {
  const given = query.has(parameter) ? query.getAll(parameter) : [otherwise];
  return given.flatMap((value) => value.split(/\s+/)).filter(Boolean);
}

function place(source: string): string {
  if (source === "cache") return "the last visit";
  if (source === "peer") return "their call";
  if (capsules.length === 1 && new URL(capsules[0]?.url ?? "", location.href).href === source) return "the capsule";
  return source.replace(/^https?:\/\//, "").replace(/\/$/, "");
}

function brief(id: string): string {
  return id.length > 12 ? `${id.slice(0, 8)}…` : id;
}

function initials(name: string): string {
  const words = name.split(/\s+/).filter(Boolean).slice(0, 2);
  return words.map((word) => [...word][0]?.toUpperCase()).join("");
}

function storedName(): string | undefined {
  try {
    return sessionStorage.getItem(STORED_NAME) ?? undefined;
  } catch {
    // A page that may not store has a new name with each visit.
    return undefined;
  }
}

function storeName(chosen: string): void {
  try {
    sessionStorage.setItem(STORED_NAME, chosen);
  } catch {
    // It is this visit's name all the same.
  }
}

function inventName(): string {
  const pick = (words: string) => {
    const list = words.split(" ");
    return list[Math.floor(Math.random() * list.length)] as string;
  };
  return `${pick("Amber Brisk Calm Clever Copper Gentle Golden Keen Lucky Merry Misty Quiet Rapid Silver Sunny Velvet")} ${pick("Badger Crane Falcon Fox Hare Heron Ibex Lark Lynx Marten Otter Owl Raven Seal Stoat Wren")}`;
}
