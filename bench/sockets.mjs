// Clients that hold sockets, as a process on the core of load. Its argument says which, as JSON. Each line of its standard
// input is for how many seconds to count, and it answers with a line of JSON. It ends with its standard input.

import { setMaxListeners } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { ADDRESS_HEADER } from "../tests/http.mjs";
import { signBinding } from "../tests/live.mjs";
import { newPeer, signTicket } from "../tests/ticket.mjs";

/** Sockets that are being opened at one time. */
const OPENING = 16;

/** Of the messages that sockets were sent, and sent themselves. */
const counted = { frames: 0, received: 0, sent: 0 };
/** From an announce to its place in the frame of the last one who sees it, in milliseconds. */
const latencies = [];
/** Who has announced and was not seen by all others yet: since when, and by how many. */
const awaited = new Map();

/** @typedef {{ url: string, path: string }} Place Where a socket is opened. */

let addresses = 0;
/** Whether all residents are there. */
let haveJoined = false;

/** A network of its own, of one of 64 providers. */
function newAddress() {
  addresses += 1;
  return `10.${addresses % 64}.${(addresses >> 6) % 256}.1`;
}

class Client {
  /** @param {Place} place */
  constructor({ url, path }, address = newAddress()) {
    this.socket = new WebSocket(url.replace("http", "ws") + path, { headers: { [ADDRESS_HEADER]: address } });
    this.opened = new Promise((resolve, reject) => {
      this.socket.addEventListener("open", resolve);
      this.socket.addEventListener("close", ({ code }) => reject(new Error(`the socket was closed: ${code}`)));
    });
    this.socket.addEventListener("message", ({ data }) => this.take(data));
  }

  take(text) {
    counted.frames += 1;
    counted.received += onTheWire(text, 0);
    const [, sequence] = text.match(/"position":"[^"]*-(\d+)"/) ?? [];
    if (sequence !== undefined && this.owes(text.length)) this.send(`{"t":"ack","seq":${sequence}}`);
  }

  /** Whether a frame is acknowledged now. */
  owes() {
    return true;
  }

  send(text) {
    counted.sent += onTheWire(text, MASK_BYTES);
    this.socket.send(text);
  }
}

const MASK_BYTES = 4;

/** Bytes of a message with the head of its frame (RFC 6455, section 5.2). What is sent here has one byte a character. */
const onTheWire = (text, maskBytes) => {
  const { length } = text;
  return length + 2 + (length > 125 ? 2 : 0) + (length > 65_535 ? 6 : 0) + maskBytes;
};

/** A peer who announces over its socket as it is asked to, until it leaves. */
class Present extends Client {
  constructor(place) {
    super(place);
    this.peer = newPeer();
    this.left = new AbortController();
    setMaxListeners(0, this.left.signal);
  }

  take(text) {
    super.take(text);
    const { t, announceAfterMs, code, put, peers = put, challenge } = JSON.parse(text);
    if (t === "error") throw new Error(`${code}: ${text}`);
    if (challenge !== undefined) this.announce();
    if (t === "announced") void this.later(announceAfterMs);
    for (const { payload } of peers ?? []) see(payload.peerId, this);
  }

  announce() {
    const ticket = signTicket(this.peer);
    if (this.announced === undefined) awaited.set(this.peer.peerId, { at: performance.now(), by: new Set(present) });
    this.announced = ticket;
    this.send(JSON.stringify({ t: "announce", ticket }));
  }

  async later(millis) {
    await delay(millis, undefined, { signal: this.left.signal }).then(
      () => this.announce(),
      () => {},
    );
  }

  async leave() {
    this.left.abort();
    present.delete(this);
    for (const [peerId, { by }] of awaited) if (by.has(this)) see(peerId, this);
    this.send(JSON.stringify({ t: "leave", ticket: signTicket(this.peer, { leave: true, issuedAt: Date.now() + 1 }) }));
    // What a page does that is closed.
    this.socket.close();
  }
}

/** Characters of frames after which the client library acknowledges them. */
const ACKNOWLEDGED_LENGTH = 16_384;
/** How a connection ends that has used up its frames. */
const AGAIN = 4100;
/** How long a client waits at most before it opens the next. */
const AGAIN_WITHIN_MS = 5_000;

/**
 * A connection of a peer who stays: it announces as it is asked to, binds each of its connections, and opens another one
 * where the last has used up its frames.
 */
class Resident extends Client {
  /**
   * @param {Place} place
   * @param {Resident | number} before The connection that has ended; of the first one, which part of its frames is left, as
   *   if the peer had been here before.
   */
  constructor(place, before) {
    const left = typeof before === "number" ? before : undefined;
    const { peer, address, position, renewAt } = left === undefined ? before : { peer: newPeer(), address: newAddress(), renewAt: 0 };
    super({ url: place.url, path: position === undefined ? place.path : `${place.path}&since=${position}` }, address);
    Object.assign(this, { place, peer, address, position, renewAt, left, isBound: false, hasEnded: false, frames: 0 });
    this.community = new URL(place.path, place.url).searchParams.get("community");
    // Whichever of its connections is the first that is bound.
    if (left === undefined) Object.assign(this, { bound: before.bound, joined: before.joined });
    else this.bound = new Promise((resolve) => (this.joined = resolve));
    this.socket.addEventListener("close", ({ code }) => this.goOn(code));
  }

  owes(length) {
    this.unacknowledged = (this.unacknowledged ?? 0) + length;
    const owes = this.unacknowledged >= ACKNOWLEDGED_LENGTH;
    if (owes) this.unacknowledged = 0;
    return owes;
  }

  take(text) {
    super.take(text);
    const { t, challenge, position, reconnectAfterFrames, announceAfterMs, code, retryAfterMs } = JSON.parse(text);
    if (challenge !== undefined) {
      this.challenge = challenge;
      this.most = this.left === undefined ? Infinity : Math.ceil(this.left * reconnectAfterFrames);
      if (this.left === undefined) this.bind();
      this.renewIn(this.renewAt - performance.now());
    }
    if (t === "announced") {
      this.renewIn(announceAfterMs);
      if (this.left !== undefined && !this.isBound) this.bind();
    }
    if (t === "bound") {
      this.isBound = true;
      this.joined();
    }
    // The connection before ended while an announce was on its way.
    if (code === "ANNOUNCE_TOO_SOON") this.renewIn(retryAfterMs);
    else if (t === "error") throw new Error(text);
    if (position === undefined) return;
    this.position = position;
    // While others come there are many more than usual.
    if (haveJoined) this.frames += 1;
    if (this.isBound && this.frames >= this.most) this.end();
  }

  renewIn(millis) {
    clearTimeout(this.timer);
    this.renewAt = performance.now() + millis;
    const announce = () => this.send(JSON.stringify({ t: "announce", ticket: signTicket(this.peer, { community: this.community }) }));
    this.timer = setTimeout(announce, Math.max(0, millis));
  }

  bind() {
    const { challenge, community } = this;
    this.send(JSON.stringify(signBinding(this.peer, { audience: this.place.url, challenge, community })));
  }

  end() {
    this.hasEnded = true;
    this.socket.close();
  }

  async goOn(code) {
    clearTimeout(this.timer);
    if (code !== AGAIN && !this.hasEnded) throw new Error(`the socket was closed: ${code}`);
    await delay(Math.random() * AGAIN_WITHIN_MS);
    new Resident(this.place, this);
  }
}

/** @type {Set<Present>} */
const present = new Set();

function see(peerId, viewer) {
  const announced = awaited.get(peerId);
  if (!announced?.by.delete(viewer) || announced.by.size > 0) return;
  latencies.push(performance.now() - announced.at);
  awaited.delete(peerId);
}

/** @param {() => Client} make */
async function open(count, make) {
  const clients = [];
  let left = count;
  const work = async () => {
    while (left > 0) {
      left -= 1;
      const client = make(count - left - 1);
      clients.push(client);
      await client.opened;
    }
  };
  await Promise.all(Array.from({ length: OPENING }, work));
  return clients;
}

/** A peer who goes and one who comes, again and again. */
async function churn(place, everyMs) {
  for (;;) {
    await delay(everyMs);
    const [oldest] = present;
    await oldest.leave();
    const [next] = await open(1, () => new Present(place));
    present.add(next);
  }
}

const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];

const { kind, places, count, everyMs, joinMs } = JSON.parse(process.argv[2]);
if (kind === "viewers") {
  await open(count * places.length, (number) => new Client(places[number % places.length]));
} else if (kind === "residents") {
  const join = async (place, number) => {
    await delay(Math.random() * joinMs);
    // Evenly, so that of so many connections as many end in a short time as do all day.
    await new Resident(place, (number + 0.5) / count).bound;
  };
  await Promise.all(places.flatMap((place) => Array.from({ length: count }, (_, number) => join(place, number))));
  haveJoined = true;
} else {
  for (const peer of await open(count, () => new Present(places[0]))) present.add(peer);
}
console.log("open");
if (kind === "peers") void churn(places[0], everyMs);

for await (const line of createInterface({ input: process.stdin })) {
  const before = { ...counted };
  latencies.length = 0;
  await delay(Number(line) * 1000);
  const sorted = [...latencies].sort((one, other) => one - other);
  const grown = Object.fromEntries(Object.entries(counted).map(([key, value]) => [key, value - before[key]]));
  console.log(JSON.stringify({ ...grown, seen: sorted.length, p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) }));
}
process.exit(0);
