// A world without waiting: one simulated clock, beacons and static hosts in memory, and places to run clients in.
//
// The beacons follow the roster's rules from their specification (protocol/README.md, section 4), as far as one peer
// can see them, and those of live presence (section 15). Nothing of the Rust code, and nothing of the client's.

import { verify as verifySignature, createPublicKey, sign } from "node:crypto";
import { canonical } from "../../tests/ticket.mjs";

export const START = 1_700_000_000_000;
/** From one end of a socket to the other. */
const LINE_MS = 20;

/** Deterministic numbers from 0 up to 1. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class World {
  /** True time in milliseconds since the epoch, and since the beginning. */
  now = START;
  elapsed = 0;
  random;
  #timers = new Map();
  #names = 0;
  #servers = new Map();
  #listeners = new Map();
  #locks = new Map();

  constructor(seed = 1) {
    this.random = seeded(seed);
  }

  get timers() {
    return this.#timers.size;
  }

  setTimer(callback, ms) {
    const name = ++this.#names;
    this.#timers.set(name, { at: this.elapsed + Math.ceil(Math.max(0, ms)), callback });
    return () => void this.#timers.delete(name);
  }

  /** Lets everything happen that needs no time. Signatures are checked by other threads, so this has to ask often. */
  async settle() {
    for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
    while (this.#crypto > 0) await new Promise((resolve) => setImmediate(resolve));
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  #crypto = 0;
  /** WebCrypto whose unfinished work is counted. */
  get subtle() {
    const world = this;
    return new Proxy(crypto.subtle, {
      get:
        (target, name) =>
        async (...args) => {
          world.#crypto++;
          try {
            return await target[name](...args);
          } finally {
            world.#crypto--;
          }
        },
    });
  }

  /** Lets time pass, timer by timer. */
  async pass(ms, eachStep = () => {}) {
    const end = this.elapsed + ms;
    await this.settle();
    for (;;) {
      const next = [...this.#timers].sort(([, one], [, other]) => one.at - other.at)[0];
      if (!next || next[1].at > end) break;
      const [name, { at, callback }] = next;
      this.#advance(at);
      this.#timers.delete(name);
      callback();
      await this.settle();
      eachStep();
    }
    this.#advance(end);
  }

  #advance(to) {
    this.now += Math.max(0, to - this.elapsed);
    this.elapsed = Math.max(this.elapsed, to);
  }

  /** The machine sleeps: time passes, but its steady clock stands still and no timer runs. */
  sleep(ms) {
    this.now += ms;
  }

  /** @param answer Given method, URL, body and signal; gives [status, body, its type, more headers] or throws. */
  serve(origin, answer) {
    this.#servers.set(origin, answer);
  }

  /**
   * @param accept Given the URL and the beacon's end of a new socket: `say` and `close` come after what was said before,
   *   `cut` is noticed with all that was under way lost. Sets `hear` and `closed`. Returns whether there is one.
   */
  listenForSockets(origin, accept) {
    this.#listeners.set(origin, accept);
  }

  /** As much of a WebSocket as clients use. */
  get WebSocket() {
    const world = this;
    return class {
      onmessage = null;
      onclose = null;
      onerror = null;
      #end = { isOpen: true, hear() {}, closed() {} };

      constructor(url) {
        const end = this.#end;
        const later = (work) => world.setTimer(() => end.isOpen && work(), LINE_MS);
        const close = (code) => {
          end.isOpen = false;
          this.onclose?.({ code });
        };
        end.say = (text) => later(() => this.onmessage?.({ data: text }));
        end.close = (code) => later(() => close(code));
        end.cut = () => {
          end.isOpen = false;
          world.setTimer(() => close(1006), LINE_MS);
        };
        const accept = world.#listeners.get(new URL(url).origin.replace(/^ws/, "http"));
        later(() => accept?.(new URL(url), end) || close(1006));
      }

      send(text) {
        world.setTimer(() => this.#end.isOpen && this.#end.hear(text), LINE_MS);
      }

      close() {
        this.#end.isOpen = false;
        this.#end.closed();
      }
    };
  }

  /** A place to run a client in. */
  host({ store, clockErrorMs = 0, locks = true } = {}) {
    const world = this;
    const listeners = new Set();
    const place = {
      clockErrorMs,
      requests: [],
      events: (name) => [...listeners].forEach((events) => events[name]()),
      get listening() {
        return listeners.size;
      },
      now: () => world.now + place.clockErrorMs,
      elapsed: () => world.elapsed,
      random: world.random,
      setTimer: (callback, ms) => world.setTimer(callback, ms),
      fetch: (url, init = {}) => world.#fetch(place, url, init),
      openStore: async () => (place.store ??= memory()),
      lock: (name, signal) =>
        locks ? world.#lock(name, signal) : Promise.resolve({ hasHeir: async () => false, release() {} }),
      listen(events, signal) {
        listeners.add(events);
        signal.addEventListener("abort", () => listeners.delete(events));
      },
      subtle: world.subtle,
      store,
    };
    return place;
  }

  async #fetch(place, url, init) {
    const { origin } = new URL(url);
    const delay = 20 + this.random() * 100;
    place.requests.push({ at: this.elapsed, method: init.method ?? "GET", url });
    await new Promise((resolve, reject) => {
      const cancel = this.setTimer(resolve, delay);
      init.signal?.addEventListener("abort", () => {
        cancel();
        reject(init.signal.reason);
      });
      if (init.signal?.aborted) reject(init.signal.reason);
    });
    const server = this.#servers.get(origin);
    if (!server) throw new TypeError("fetch failed");
    const [status, body, type, headers] = await server(init.method ?? "GET", new URL(url), init.body, init.signal);
    return new Response(body, { status, headers: { ...(type && { "Content-Type": type }), ...headers } });
  }

  #lock(name, signal) {
    const queue = this.#locks.get(name) ?? [];
    this.#locks.set(name, queue);
    return new Promise((resolve) => {
      const waiting = {};
      const release = () => {
        const held = queue[0] === waiting;
        if (queue.includes(waiting)) queue.splice(queue.indexOf(waiting), 1);
        if (held) queue[0]?.grant();
      };
      waiting.grant = () => resolve({ hasHeir: async () => queue.length > 1, release });
      signal.addEventListener("abort", () => queue[0] !== waiting && release());
      queue.push(waiting);
      if (queue[0] === waiting) waiting.grant();
    });
  }
}

export function memory() {
  const values = new Map();
  return {
    values,
    async update(key, change) {
      const value = change(values.get(key));
      if (value !== undefined) values.set(key, structuredClone(value));
      return values.get(key);
    },
  };
}

const SPKI_PREFIX = Buffer.from("MCowBQYDK2VwAyEA", "base64");

/** How long a beacon waits for the next new ticket of one claim. */
const INTERVAL_MS = 45_000;

const claimOf = ({ payload, publicKey }) => `${payload.peerId}:${publicKey}`;

/** One beacon with one community. */
export class Beacon {
  /** By claim: ticket, when it was accepted, and since when the claim is present. */
  records = new Map();
  /** By claim: the goodbye's `issuedAt`, and what is kept for a return. */
  departed = new Map();
  log = [];
  down = false;
  /**
   * @param {{ full?: boolean, version?: "0.1.0" }} options `full`: it has no place for newcomers. Version 0.1.0 keeps a
   *   peerId for the first key, and knows neither `listed` nor `since`.
   */
  constructor(
    world,
    origin,
    { clockErrorMs = 0, lies = (answer) => answer, dropRate = 0, full = false, intervalMs = INTERVAL_MS, version } = {},
  ) {
    Object.assign(this, { world, origin, clockErrorMs, lies, dropRate, full, intervalMs, version });
    world.serve(origin, (method, url, body) => this.answer(method, url, body));
  }

  now() {
    return this.world.now + this.clockErrorMs;
  }

  /** Lists a ticket, as if it had been announced now. */
  put(ticket, since = this.records.get(claimOf(ticket))?.since ?? this.now()) {
    this.records.delete(claimOf(ticket));
    this.records.set(claimOf(ticket), { ticket, acceptedAt: this.now(), since });
  }

  /** The record of a peerId. */
  record(peerId) {
    return [...this.records.values()].find(({ ticket }) => ticket.payload.peerId === peerId);
  }

  lists(peerId) {
    return this.present().some(({ ticket }) => ticket.payload.peerId === peerId);
  }

  present() {
    return [...this.records.values()].filter(({ ticket }) => ticket.payload.expiresAt > this.now());
  }

  /** @param exclude A peerId, or one claim. */
  list(exclude) {
    const chosen = this.present()
      .filter(({ ticket }) => ![ticket.payload.peerId, this.version ? undefined : claimOf(ticket)].includes(exclude))
      .reverse()
      .slice(0, 50);
    return {
      peers: chosen.map(({ ticket }) => ticket),
      ...(!this.version && { since: chosen.map(({ since }) => since) }),
    };
  }

  async answer(method, url, body) {
    if (this.down || this.world.random() < this.dropRate) throw new TypeError("fetch failed");
    const community = url.searchParams.get("community");
    let status = 200;
    let answer;
    if (url.pathname === "/peers")
      answer = { ok: true, community, total: this.present().length, ...this.list(url.searchParams.get("exclude")) };
    else {
      const { ticket } = JSON.parse(body);
      const refusal = this.refusal(ticket, url.pathname === "/leave", community);
      if (refusal) [status, answer] = [refusal.status, { ok: false, ...refusal, ...this.others(ticket) }];
      else if (url.pathname === "/leave") answer = { ok: true, left: this.leave(ticket) };
      else {
        const outcome = this.announce(ticket);
        answer = {
          ok: true,
          ...outcome,
          ...(!this.version && { total: this.present().length }),
          community,
          expiresAt: ticket.payload.expiresAt,
          announceAfterMs: 45_000 + Math.floor(this.world.random() * 30_000),
          ...this.others(ticket),
        };
      }
    }
    this.log.push({ at: this.world.elapsed, path: url.pathname, code: answer.code });
    return [status, JSON.stringify(this.lies({ ...answer, serverTime: this.now() }))];
  }

  others(ticket) {
    return this.list(this.version ? ticket.payload.peerId : claimOf(ticket));
  }

  leave(ticket) {
    const claim = claimOf(ticket);
    const held = this.records.get(claim);
    const { issuedAt } = ticket.payload;
    if (issuedAt <= (held?.ticket.payload.issuedAt ?? -1)) return false;
    this.records.delete(claim);
    this.departed.set(claim, { acceptedAt: -Infinity, ...this.departed.get(claim), ...held, issuedAt });
    return held !== undefined;
  }

  announce(ticket) {
    const claim = claimOf(ticket);
    const held = this.records.get(claim);
    const left = this.departed.get(claim);
    const accepted = canonical(held?.ticket ?? null) !== canonical(ticket);
    if (accepted && this.full && !held) return { accepted: false, listed: false };
    if (accepted) {
      this.put(ticket, held?.since ?? left?.since);
      // The next return at once is to wait.
      if (left) this.departed.set(claim, { ...left, returnedAt: this.now() });
    }
    return { accepted, ...(!this.version && { listed: true }) };
  }

  refusal(ticket, leave, community) {
    const now = this.now();
    const { payload } = ticket;
    const malformed =
      Object.keys(ticket).sort().join() !== "algorithm,payload,publicKey,signature,version" ||
      Object.keys(payload)
        .filter((name) => name !== "data" || leave || this.version)
        .sort()
        .join() !==
        (leave
          ? "community,expiresAt,issuedAt,leave,nonce,peerId,userId"
          : "community,expiresAt,issuedAt,nonce,peerId,userId");
    if (malformed) return { status: 400, code: "MALFORMED" };
    if (payload.community !== community) return { status: 400, code: "COMMUNITY_MISMATCH" };
    if (payload.expiresAt - payload.issuedAt > 180_000) return { status: 400, code: "LIFETIME_TOO_LONG" };
    if (payload.issuedAt > now + 15_000) return { status: 400, code: "NOT_YET_VALID" };
    if (payload.expiresAt <= now) return { status: 400, code: "EXPIRED" };
    const key = createPublicKey({
      key: Buffer.concat([SPKI_PREFIX, Buffer.from(ticket.publicKey, "base64")]),
      format: "der",
      type: "spki",
    });
    if (!verifySignature(null, Buffer.from(canonical(payload)), key, Buffer.from(ticket.signature, "base64")))
      return { status: 403, code: "SIGNATURE_INVALID" };
    if (leave) return undefined;
    const claim = claimOf(ticket);
    const held = this.present().find((record) => claimOf(record.ticket) === claim);
    const left = this.departed.get(claim);
    const isRival = ({ ticket: other }) => other.payload.peerId === payload.peerId && claimOf(other) !== claim;
    if (this.version && this.present().some(isRival)) return { status: 409, code: "PEER_ID_TAKEN" };
    if (held && canonical(held.ticket) === canonical(ticket)) return undefined;
    if (payload.issuedAt <= Math.max(held?.ticket.payload.issuedAt ?? -1, left?.issuedAt ?? -1))
      return { status: 409, code: "STALE_TICKET" };
    const isReturn = !this.version && !held && now - (left?.returnedAt ?? -Infinity) >= this.intervalMs;
    const waited = now - (held ?? left ?? { acceptedAt: -Infinity }).acceptedAt;
    if (!isReturn && waited < this.intervalMs)
      return { status: 429, code: "ANNOUNCE_TOO_SOON", retryAfterMs: this.intervalMs - waited };
    return undefined;
  }
}

/** Changes within this time are told together. */
const PACE_MS = 100;
const STREAM_PING_MS = 25_000;
/** From one message to the next, so that connections break in the midst of a series. */
const MESSAGE_MS = 10;

/** A beacon that tells, over sockets and streams. It believes every binding. */
export class LiveBeacon extends Beacon {
  /** Every connection that was dialled: when, since which position, whether it is a socket. */
  dials = [];
  /** What came over sockets: when, and the text. */
  heard = [];
  /** Nothing passes, either way, and nothing says so. */
  mute = false;
  /** What connections are refused with: status, and what `Retry-After` has. */
  refuses = undefined;
  /** After how many frames a connection ends. */
  frames = Infinity;
  /** How long it takes to greet who has opened a socket. */
  greetingMs = 0;
  /** What it answers over a socket in the place of its own answer, by the type of what it is asked; undefined is no answer. */
  overrides = new Map();
  /** Words in a frame: more are told in a series. */
  frameWords = 200;
  #epoch = 1;
  #sequence = 0;
  /** The last of them has the present number. */
  #changes = [];
  #viewers = new Set();
  #cancelTelling;

  constructor(world, origin, options) {
    super(world, origin, options);
    world.serve(origin, (method, url, body, signal) =>
      url.pathname === "/live" ? this.#stream(url, signal) : this.answer(method, url, body),
    );
    world.listenForSockets(origin, (url, end) => this.#socket(url, end));
  }

  get viewers() {
    return this.#viewers.size;
  }

  put(ticket, since) {
    super.put(ticket, since);
    this.#changed(claimOf(ticket), { put: ticket });
  }

  leave(ticket) {
    const left = super.leave(ticket);
    if (left) this.#changed(claimOf(ticket), { left: ticket });
    return left;
  }

  /** Takes a record for room. */
  drop(ticket) {
    const out = [ticket.payload.peerId, ticket.publicKey];
    if (this.records.delete(claimOf(ticket))) this.#changed(claimOf(ticket), { out });
  }

  /** Of older positions it gives everything. */
  forgetChanges() {
    this.#changes = [];
  }

  /** Every connection breaks, with what is under way. */
  cut() {
    for (const viewer of this.#viewers) {
      viewer.isGone = true;
      viewer.cut();
    }
    this.#viewers.clear();
  }

  /** It is killed, and back with its roster. */
  restart() {
    this.cut();
    this.#epoch++;
    this.#sequence = 0;
    this.#changes = [];
  }

  /** Ends every connection with what a socket would be closed with. */
  end(code) {
    for (const viewer of this.#viewers) this.#then(viewer, () => viewer.end(code));
    this.#viewers.clear();
  }

  /** After what was said to a viewer before, unless it has gone meanwhile. */
  #then(viewer, work) {
    viewer.busyUntil = Math.max(viewer.busyUntil ?? 0, this.world.elapsed) + MESSAGE_MS;
    this.world.setTimer(() => viewer.isGone || work(), viewer.busyUntil - this.world.elapsed);
  }

  #say(viewer, message) {
    this.#then(viewer, () => this.mute || viewer.say(message));
  }

  #position(sequence = this.#sequence) {
    return `${this.#epoch.toString(16).padStart(8, "0")}-${sequence}`;
  }

  #changed(claim, word) {
    this.#changes.push({ sequence: ++this.#sequence, claim, ...word });
    this.#cancelTelling ??= this.world.setTimer(() => {
      this.#cancelTelling = undefined;
      for (const viewer of this.#viewers) this.#tell(viewer);
    }, PACE_MS);
  }

  #hello(viewer, more) {
    this.#viewers.add(viewer);
    const { searchParams } = viewer.url;
    this.#say(viewer, { t: "hello", version: 1, community: searchParams.get("community"), serverTime: this.now(), ...more });
    const since = searchParams.get("since");
    const [epoch, sequence] = since?.split("-") ?? [];
    viewer.sequence = Number(sequence);
    const isKnown = since && epoch === this.#position().split("-")[0] && viewer.sequence <= this.#sequence;
    if (isKnown) this.#tell(viewer, true);
    else this.#tellAll(viewer);
  }

  #tell(viewer, isFirst = false) {
    const missed = this.#sequence - viewer.sequence;
    if (missed > this.#changes.length) return this.#tellAll(viewer);
    const changes = this.#changes.slice(this.#changes.length - missed);
    const lastWords = new Map(changes.map((change) => [change.claim, change]));
    if (missed > 0 || isFirst) this.#series(viewer, changes.filter((change) => lastWords.get(change.claim) === change), false);
  }

  #tellAll(viewer) {
    this.#series(viewer, this.present().map(({ ticket }) => ({ put: ticket })), true);
  }

  #series(viewer, words, isSnapshot) {
    for (let at = 0; at === 0 || at < words.length; at += this.frameWords) {
      if (!this.#viewers.has(viewer)) return;
      const more = at + this.frameWords < words.length || undefined;
      // Of a whole list no part has a place in the log.
      const sequence = more && !isSnapshot ? words[at + this.frameWords - 1].sequence : this.#sequence;
      const position = this.#position(sequence);
      const isWhole = isSnapshot && at === 0;
      const list = (kind) => {
        const values = words.slice(at, at + this.frameWords).flatMap((word) => (word[kind] ? [word[kind]] : []));
        return values.length > 0 ? values : undefined;
      };
      if (isWhole) this.#say(viewer, { t: "snapshot", position, total: words.length, peers: list("put") ?? [], more });
      else {
        const previous = this.#position(isSnapshot ? sequence : viewer.sequence);
        this.#say(viewer, { t: "delta", previous, position, put: list("put"), left: list("left"), out: list("out"), more });
      }
      viewer.sequence = sequence;
      if (++viewer.told < this.frames) continue;
      this.#viewers.delete(viewer);
      this.#then(viewer, () => viewer.end(4100));
    }
  }

  #dialled(url, isSocket) {
    this.dials.push({ at: this.world.elapsed, since: url.searchParams.get("since"), isSocket });
  }

  #socket(url, end) {
    this.#dialled(url, true);
    if (this.mute) return true;
    if (this.down || this.refuses) return false;
    const viewer = {
      url,
      told: 0,
      say: (message) => end.say(typeof message === "string" ? message : JSON.stringify(message)),
      cut: end.cut,
      end: end.close,
    };
    end.closed = () => this.#left(viewer);
    end.hear = (text) => {
      if (this.mute || !this.#viewers.has(viewer)) return;
      this.heard.push({ at: this.world.elapsed, text });
      const answer = this.#reply(url, text);
      if (answer) this.#say(viewer, answer);
    };
    const challenge = Buffer.alloc(16, this.dials.length).toString("base64");
    this.world.setTimer(() => viewer.isGone || this.#hello(viewer, { challenge, ackBytes: 262_144 }), this.greetingMs);
    return true;
  }

  #left(viewer) {
    viewer.isGone = true;
    this.#viewers.delete(viewer);
  }

  /** The answer to what came over a socket, if there is one. */
  #reply(url, text) {
    if (text === "ping") return "pong";
    const { t, id: re, ticket } = JSON.parse(text);
    if (this.overrides.has(t)) return this.overrides.get(t) && { re, ...this.overrides.get(t) };
    if (t === "bind") return { t: "bound", re };
    if (t === "ack") return undefined;
    const refusal = this.refusal(ticket, t === "leave", url.searchParams.get("community"));
    if (refusal) return { t: "error", re, ...refusal };
    if (t === "leave") return { t: "left", re, left: this.leave(ticket) };
    const { expiresAt } = ticket.payload;
    return { t: "announced", re, ...this.announce(ticket), expiresAt, announceAfterMs: 150_000, bound: false };
  }

  #stream(url, signal) {
    this.#dialled(url, false);
    if (this.down || this.mute) throw new TypeError("fetch failed");
    if (this.refuses) return [this.refuses.status, "{}", "application/json", { "Retry-After": this.refuses.retryAfter }];
    let controller;
    let cancelPing;
    const body = new ReadableStream({ start: (own) => (controller = own) });
    const write = (text) => controller.enqueue(Buffer.from(text));
    const finish = (work) => {
      cancelPing();
      this.#left(viewer);
      work();
    };
    const ping = () => {
      if (!this.mute) write(": ping\n\n");
      cancelPing = this.world.setTimer(ping, STREAM_PING_MS);
    };
    const viewer = {
      url,
      told: 0,
      say(message) {
        const id = message.position ? `id: ${message.position}\n` : "";
        write(`event: ${message.t}\n${id}data: ${JSON.stringify(message)}\n\n`);
      },
      cut: () => finish(() => controller.error(new TypeError("network error"))),
      end() {
        write("event: again\n\n");
        finish(() => controller.close());
      },
    };
    signal?.addEventListener("abort", () => viewer.isGone || finish(() => controller.error(signal.reason)));
    ping();
    this.#hello(viewer);
    return [200, body, "text/event-stream"];
  }
}

const signatureBy = ({ privateKey }, bytes) => sign(null, Buffer.from(bytes), privateKey).toString("base64");

/** The files of a capsule; `cosigners` are publishers who sign it as well. */
export function signCapsule(publisher, { community, issuedAt, expiresAt = issuedAt + 1_800_000, peers, revoked, cosigners }) {
  const signed = { community, expiresAt, issuedAt, peers, version: 1 };
  const signature = signatureBy(publisher, canonical(signed));
  const file = JSON.stringify({ ...signed, revoked, signature, algorithm: "ed25519" });
  return {
    file,
    signature: `${signatureBy(publisher, file)}\n`,
    ...(cosigners && { "peers.json.sigs": signaturesOf(cosigners, file) }),
  };
}

/** A signatures file. */
export function signaturesOf(signers, bytes) {
  return signers.map((signer) => `${signer.publicKey} ${signatureBy(signer, bytes)}\n`).join("");
}

/** The text of a root; `keys` and `publishers` are its two roles. */
export function makeRoot({ community, rootVersion, expiresAt, keys, threshold = 2, publishers, publisherThreshold = 1 }) {
  const role = (peers, least) => ({ threshold: least, keys: peers.map(({ publicKey }) => publicKey) });
  return JSON.stringify({
    type: "root",
    version: 1,
    community,
    rootVersion,
    expiresAt,
    rootKeys: role(keys, threshold),
    publisherKeys: role(publishers, publisherThreshold),
  });
}

/** A static host with a capsule, or without one, and perhaps with files beside it. */
export class StaticHost {
  files = undefined;
  /** By name. */
  beside = {};
  /** What it answers where it has no such file, and as what. */
  page = undefined;
  pageType = "text/html; charset=utf-8";
  /** Names that were asked for. */
  asked = [];
  constructor(world, origin) {
    this.url = `${origin}/capsules/peers.json`;
    world.serve(origin, (method, url) => {
      const name = url.pathname.replace(/^\/capsules\//, "");
      this.asked.push(name);
      const { file, signature, ...more } = this.files ?? {};
      const text = { "peers.json": file, "peers.json.sig": signature, ...more, ...this.beside }[name];
      if (text !== undefined) return [200, text];
      return this.page === undefined ? [404, "not here"] : [200, this.page, this.pageType];
    });
  }
}
