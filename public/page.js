// The beacon's page. Everything that comes from elsewhere becomes a text node, never markup.

import { watch } from "./presence.js";
import { canSign, newSigner, sign } from "./ticket.js";

const INFO = "/.well-known/rendezvous-beacon";
/** Between two looks at the counts, which are up to a minute old where the beacon's defaults are kept. */
const COUNTS_EVERY_MS = 60_000;
const EVENTS_MAX = 12;
/** How far back a trend goes. */
const TREND_MS = 3_600_000;
/** A name of this length fits a row of the list and, in any script, a ticket. */
const NAME_MAX_CHARACTERS = 40;
/** Corners of its line. */
const TREND_POINTS = 240;

const byId = (id) => document.getElementById(id);

/** An element with these properties and children. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

function svg(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

/** A length of time in words, as short as they get. */
function lasting(milliseconds) {
  const minutes = Math.floor(milliseconds / 60_000);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} hours` : `${Math.floor(hours / 24)} days`;
}

/** A picture of a key: whoever has another key has another picture. */
function picture(publicKey) {
  const bits = [...atob(publicKey)].map((unit) => unit.charCodeAt(0));
  const cells = [];
  for (let row = 0; row < 5; row += 1) {
    for (let column = 0; column < 3; column += 1) {
      if ((bits[row * 3 + column] & 1) === 0) continue;
      for (const x of new Set([column, 4 - column])) cells.push(svg("rect", { x, y: row, width: 1.02, height: 1.02 }));
    }
  }
  return svg("svg", { viewBox: "-1 -1 7 7", class: "picture", "aria-hidden": "true" }, ...cells);
}

/** A line from the oldest count to the newest, and what it says. */
function trendFigure(counts) {
  const [width, height, until] = [240, 44, counts.at(-1).at];
  const from = Math.max(counts[0].at, until - TREND_MS);
  const [least, most] = [Math.min, Math.max].map((choose) => choose(...counts.map(({ live }) => live)));
  const corners = counts.map(({ at, live }) => [
    (Math.max(at - from, 0) * width) / Math.max(until - from, 1),
    height - 3 - (live / Math.max(most, 1)) * (height - 8),
  ]);
  const points = corners.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const line = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", class: "trend", "aria-hidden": "true" },
    svg("polygon", { points: `0,${height} ${points} ${width},${height}` }),
    svg("polyline", { points }),
  );
  const range = least === most ? `${most}` : `${least} to ${most}`;
  const text = `${range} since ${clockTime(new Date(from - clockOffsetMs))}`;
  return element("figure", {}, line, element("figcaption", { className: "soft", textContent: text }));
}

const clockTime = (date) => date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** Only what a browser may safely go to becomes a link. */
function linked(text) {
  if (/^https?:\/\//.test(text)) return element("a", { href: text, rel: "noreferrer nofollow", textContent: text });
  if (/^[^\s@]+@[^\s@]+$/.test(text)) return element("a", { href: `mailto:${text}`, textContent: text });
  return document.createTextNode(text);
}

function fact(name, ...values) {
  return [element("dt", { textContent: name }), element("dd", {}, ...values)];
}

/** A command that a person may want, with a button that copies it. */
function command(what, text) {
  const code = element("code", { textContent: text });
  const button = element("button", { type: "button", className: "quiet copy", textContent: "Copy" });
  button.setAttribute("aria-label", `Copy: ${what}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // No clipboard without a secure connection: whoever wants it has it selected.
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2_000);
  });
  const label = element("p", { className: "soft", textContent: what });
  const line = element("pre", { tabIndex: 0 }, code);
  return element("div", { className: "command" }, label, element("div", { className: "line" }, line, button));
}

// What the beacon says of itself ---------------------------------------------------------------------------------------

function showOperator({ operator }) {
  const parts = [];
  if (operator.name) parts.push("Run by ", element("strong", { textContent: operator.name }));
  if (operator.contact) parts.push(parts.length > 0 ? " · " : "Contact: ", linked(operator.contact));
  byId("operator").replaceChildren(...parts);
}

function showCommands({ communities }) {
  const name = communities[0]?.name;
  const query = name === undefined ? "" : `?community=${encodeURIComponent(name)}`;
  byId("commands").replaceChildren(
    command("Who is online, as signed tickets", `curl '${location.origin}/peers${query}'`),
    command("What this beacon offers, its limits and its counts", `curl '${location.origin}${INFO}'`),
  );
}

function showAbout({ operator, version, commit, limits, beacons, capsules, capsuleKeys }) {
  const lines = (items) => items.map((item) => element("div", {}, item));
  const seconds = (milliseconds) => `${milliseconds / 1_000} s`;
  byId("about").replaceChildren(
    ...(operator.rules ? fact("Rules", element("div", { className: "rules" }, linked(operator.rules))) : []),
    ...(beacons.length > 0 ? fact("Other beacons", ...lines(beacons.map(linked))) : []),
    ...(capsules.length > 0 ? fact("Capsules", ...lines(capsules.map(linked))) : []),
    ...(capsuleKeys.length > 0
      ? fact("Their keys", ...lines(capsuleKeys.map((key) => element("code", { textContent: key }))))
      : []),
    ...fact("Software", `rendezvous-beacon ${version}`, ...(commit ? [" · ", element("code", { textContent: commit })] : [])),
    ...fact("A ticket lives", `at most ${seconds(limits.ticketMaxLifetimeMs)}, and may be renewed every ${seconds(limits.announceIntervalMs)}`),
    ...fact("An answer has", `at most ${limits.answerPeers} of at most ${limits.rosterPeers} peers`),
  );
}

// Communities and people -----------------------------------------------------------------------------------------------

/** @type {Map<string, ReturnType<typeof communityCard>>} */
const cards = new Map();
/** The claim of this very page, where it is announced. */
let ownKey;

function communityCard({ name, trend: told }, showsPeers) {
  const count = element("strong", { className: "count", textContent: "–" });
  const unit = element("span", { className: "soft" });
  const trend = element("div", { className: "trend-place" });
  const people = element("ul", { className: "people" });
  const place = element("div", { className: "scroll", tabIndex: 0 }, people);
  place.setAttribute("role", "region");
  place.setAttribute("aria-label", `People in ${name}`);
  place.hidden = true;
  const empty = element("p", { className: "empty", textContent: "Nobody is here at the moment.", hidden: true });
  const heading = element("h3", { textContent: name });
  const top = element("div", { className: "numbers" }, element("p", {}, count, " ", unit), trend);
  const card = element("article", { className: "card" }, heading, top, place, empty);
  let shown = new Map();
  /** What the beacon has counted, and after that what the page itself has seen. */
  const counts = (told?.live ?? []).map((live, index, { length }) => ({ at: told.until - (length - 1 - index) * told.everyMs, live }));

  function noteCount(live, at) {
    const [before, last] = counts.slice(-2);
    if (before?.live === live && last?.live === live) last.at = at;
    else counts.push({ at, live });
    while (counts.length > 2 && (counts.length > TREND_POINTS || counts[1].at < at - TREND_MS)) counts.shift();
  }

  function showCount(live, at) {
    if (live !== undefined) noteCount(live, at);
    if (counts.length > 1) trend.replaceChildren(trendFigure(counts));
    count.textContent = live ?? "–";
    unit.textContent = live === undefined ? "does not answer" : "online";
    card.classList.toggle("quiet-card", live === 0);
    empty.hidden = !showsPeers || live !== 0;
  }

  return {
    card,
    showCount,
    showPeople({ people: all, total, serverTime }) {
      showCount(total, serverTime);
      // Rows stay the same elements, so that nobody's place in the list, or focus, is lost.
      const rows = new Map(all.map((person) => [person.key, shown.get(person.key) ?? personRow(person)]));
      all.forEach((person) => rows.get(person.key).update(person, serverTime));
      people.replaceChildren(...[...rows.values()].map(({ row }) => row));
      shown = rows;
      place.hidden = all.length === 0;
    },
  };
}

function personRow({ peerId, userId, publicKey }) {
  const state = element("span", { className: "badge" });
  const own = element("span", { className: "badge own", textContent: "this page", hidden: true });
  const time = element("span", { className: "soft" });
  const name = element("span", { className: "name", textContent: userId });
  const id = element("code", { textContent: peerId });
  const text = element("div", { className: "who" }, element("p", {}, name, " ", own), element("p", { className: "soft id" }, id));
  const row = element("li", {}, picture(publicKey), text, element("div", { className: "facts-of" }, state, time));
  return {
    row,
    update({ key, since, verified }, serverTime) {
      own.hidden = key !== ownKey;
      time.textContent = serverTime - since < 60_000 ? "just now" : `for ${lasting(serverTime - since)}`;
      state.className = `badge ${verified === true ? "good" : verified === false ? "bad" : ""}`;
      state.textContent = verified === true ? "verified" : verified === false ? "signature is wrong" : "not checked";
      state.title = verified === undefined ? "Browsers check signatures on https only." : "";
    },
  };
}

function showEvents(community, { joined, left }) {
  const said = [
    ...joined.map((person) => [person, "joined"]),
    ...left.map((person) => [person, "left"]),
  ].map(([{ userId, publicKey }, what]) =>
    element(
      "li",
      {},
      picture(publicKey),
      element("span", {}, element("strong", { textContent: userId }), ` ${what} ${community}`),
      element("time", { className: "soft", textContent: clockTime(new Date()) }),
    ),
  );
  if (said.length === 0) return;
  const events = byId("events");
  events.prepend(...said);
  while (events.children.length > EVENTS_MAX) events.lastElementChild.remove();
  byId("no-events").hidden = true;
}

function showProblem(problem) {
  byId("problem").textContent = problem ?? "";
  byId("problem").hidden = problem === undefined;
}

/** What is wrong with a name, as a sentence for whoever writes it; an empty text where nothing is. */
function nameProblem(name) {
  if (name === "") return "Others see this page by its name: write one.";
  if (name.length > NAME_MAX_CHARACTERS) return `A name here has at most ${NAME_MAX_CHARACTERS} characters: shorten it.`;
  if (/[\p{Cc}\p{Cs}]/u.test(name)) return "There is a control character in this name: write it anew.";
  return "";
}

// This page, announced -------------------------------------------------------------------------------------------------

function offerTrial({ communities, limits }, watchers) {
  const form = byId("try-form");
  if (communities.length === 0) {
    byId("try-lead").textContent = "There is no listed community to announce this page in.";
    return;
  }
  if (!canSign()) {
    byId("try-lead").textContent = "Signing needs a secure connection: open this page by https, or on the beacon’s own machine.";
    return;
  }
  byId("try-community").replaceChildren(...communities.map(({ name }) => element("option", { textContent: name, value: name })));
  byId("try-community-field").hidden = communities.length === 1;
  byId("try-name").value = `visitor ${Math.floor(1_000 + Math.random() * 9_000)}`;
  form.hidden = false;

  /** What is announced, until it leaves. */
  let trial;
  const isCurrent = (one) => trial === one;
  const say = (text) => (byId("try-outcome").textContent = text);

  const field = byId("try-name");
  /** Returns the name, where it is one; else says beside the field what is wrong with it. */
  function readName() {
    const name = field.value.trim();
    const problem = nameProblem(name);
    byId("try-name-problem").textContent = problem;
    field.setAttribute("aria-invalid", String(problem !== ""));
    if (problem === "") return name;
    field.focus();
  }
  field.addEventListener("input", () => byId("try-name-problem").textContent !== "" && readName());

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const userId = readName();
    if (userId === undefined) return;
    byId("try-announce").disabled = true;
    say("");
    const signer = await newSigner().catch(() => undefined);
    if (signer === undefined) {
      say("This browser cannot sign with Ed25519. A newer one can.");
    } else {
      const random = crypto.getRandomValues(new Uint8Array(6));
      const peerId = `page-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
      trial = { signer, peerId, userId, community: byId("try-community").value };
      await announce(trial);
    }
    byId("try-announce").disabled = false;
  });

  async function announce(one) {
    const issuedAt = Date.now() + clockOffsetMs;
    const { signer, peerId, userId, community } = one;
    const fields = { peerId, userId, community, issuedAt, expiresAt: issuedAt + limits.ticketMaxLifetimeMs };
    const ticket = await sign(signer, fields);
    // Made now: a page that is closed has no time to sign.
    one.goodbye = await sign(signer, { ...fields, issuedAt: issuedAt + 1, leave: true });
    const { ok, answer } = await post("/announce", { ticket, community });
    if (!isCurrent(one)) return;
    if (!ok) return refuse(one, answer);
    ownKey = answer.listed ? `${peerId}:${signer.publicKey}` : undefined;
    showTrial(one, ticket, answer);
    watchers.watch(community).refresh();
    one.timer = setTimeout(() => announce(one), answer.announceAfterMs);
  }

  function refuse(one, { code, detail, retryAfterMs }) {
    if (one.isListed && retryAfterMs !== undefined) {
      one.timer = setTimeout(() => announce(one), retryAfterMs);
      return;
    }
    end();
    say(code === undefined ? "This beacon does not answer." : `Refused: ${detail ?? "the beacon does not say why"} (${code}).`);
  }

  function showTrial(one, ticket, { listed, total, expiresAt }) {
    one.isListed = listed;
    form.hidden = true;
    byId("try-lead").hidden = true;
    byId("try-listed").hidden = false;
    const badge = byId("try-badge");
    badge.textContent = listed ? "Listed" : "Not listed";
    badge.className = `badge ${listed ? "good" : "fair"}`;
    say(
      listed
        ? ""
        : "The beacon takes the ticket and does not list it: this community lists its own pages only, or has no room.",
    );
    const until = new Date(expiresAt - clockOffsetMs).toLocaleTimeString();
    byId("try-facts").replaceChildren(
      ...fact("As", element("strong", { textContent: one.userId }), " ", element("code", { textContent: one.peerId })),
      ...fact("In", `${one.community}, ${total === 1 ? "alone" : `with ${plural(total - 1, "other", "others")}`}`),
      ...fact("Until", `${until}, and renewed before`),
    );
    byId("try-ticket").textContent = JSON.stringify(ticket, null, 2);
  }

  function end() {
    const was = trial;
    clearTimeout(was?.timer);
    trial = undefined;
    ownKey = undefined;
    form.hidden = false;
    byId("try-lead").hidden = false;
    byId("try-listed").hidden = true;
    return was;
  }

  byId("try-leave").addEventListener("click", async () => {
    const { goodbye, community } = end();
    say("You have left.");
    await post("/leave", { ticket: goodbye, community });
    watchers.watch(community).refresh();
    byId("try-announce").focus();
  });
  addEventListener("pagehide", () => {
    if (trial?.goodbye !== undefined) navigator.sendBeacon("/leave", JSON.stringify({ ticket: trial.goodbye, community: trial.community }));
  });
}

async function post(path, body) {
  try {
    const response = await fetch(path, { method: "POST", body: JSON.stringify(body), signal: AbortSignal.timeout(15_000) });
    return { ok: response.ok, answer: await response.json() };
  } catch {
    return { ok: false, answer: {} };
  }
}

// All together ---------------------------------------------------------------------------------------------------------

/** What this beacon's clock is ahead of the browser's. */
let clockOffsetMs = 0;

async function readInfo() {
  const response = await fetch(INFO, { signal: AbortSignal.timeout(15_000) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const info = await response.json();
  clockOffsetMs = info.serverTime - Date.now();
  return info;
}

/** One source for each community, however many want it. */
function watchersOf({ limits }) {
  const all = new Map();
  return {
    watch(community) {
      const existing = all.get(community);
      if (existing !== undefined) return existing;
      const made = watch({
        community,
        // As often as the beacon's answers may change, and at most once a second.
        paceMs: Math.max(limits.peersMaxAgeMs, 1_000),
        canVerify: canSign(),
        onChange(presence) {
          clockOffsetMs = presence.serverTime - Date.now();
          cards.get(community)?.showPeople(presence);
          showEvents(community, presence);
          byId("freshness").textContent = "live";
        },
        onProblem: showProblem,
      });
      all.set(community, made);
      return made;
    },
  };
}

function showCounts({ communities, serverTime }) {
  for (const { name, live } of communities) cards.get(name)?.showCount(live, serverTime);
}

async function start() {
  byId("host").textContent = location.host;
  let info;
  try {
    info = await readInfo();
  } catch {
    showProblem("This beacon does not answer. The page tries again in a moment.");
    return void setTimeout(start, 10_000);
  }
  showProblem(undefined);
  document.title = info.operator.name ? `Who is online? · ${info.operator.name}` : `Who is online? · ${location.host}`;
  showOperator(info);
  showAbout(info);
  showCommands(info);
  byId("no-communities").hidden = info.communities.length > 0;
  for (const community of info.communities) cards.set(community.name, communityCard(community, info.showsPeers));
  byId("community-list").replaceChildren(...[...cards.values()].map(({ card }) => card));
  showCounts(info);
  const watchers = watchersOf(info);
  offerTrial(info, watchers);
  if (info.showsPeers && info.communities.length > 0) {
    byId("events-section").hidden = false;
    for (const { name } of info.communities) watchers.watch(name);
  } else if (info.communities.length > 0) {
    byId("freshness").textContent = "counted every minute";
  }
  setInterval(async () => {
    // Where people are shown, they are counted too.
    if (document.hidden || info.showsPeers || cards.size === 0) return;
    const counted = await readInfo().catch(() => undefined);
    if (counted !== undefined) showCounts(counted);
  }, COUNTS_EVERY_MS);
}

start();
