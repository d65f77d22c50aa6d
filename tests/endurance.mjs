// What a host promises about crashes and about its memory, held up to many of the one and to long load: `npm test` runs a
// short form, `npm test -- --long` the full one.
//
// Nothing here depends on how fast the machine is, but for timers of ten seconds that must not be half as late.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { seeded } from "../client/test/world.mjs";
import { HOSTS } from "./hosts.mjs";
import { announce, call, peers } from "./http.mjs";
import { BUCKETS, Mailbox, RELAY } from "./mailbox.mjs";
import { SAFE_AFTER_MS } from "./patience.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const IS_LONG = process.env.LONG_TESTS === "1";
/** What is drawn in a run. SEED=… plays it again, as far as the machine's own timing is not part of it. */
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));

const KILLS = IS_LONG ? 1_000 : 100;
/** Of hosts with mailboxes that are written to and collected from. */
const MAIL_KILLS = IS_LONG ? 1_000 : 50;
/** Beacons that are killed side by side, each with a state of its own. */
const LANES = 10;
const MOST_CLAIMS = 100;
const COMMUNITY = "mainnet";

const LOAD_MS = IS_LONG ? 600_000 : 60_000;
const CLIENTS = 16;

for (const host of HOSTS) describe(host.name, () => {
  test(`after each of ${KILLS} kills everything is there but the last ten seconds, and nothing that is over`, async (t) => {
    const started = performance.now();
    const count = await killInLanes(host, KILLS, Presence);
    t.diagnostic(
      `${count.kills} kills of ${host.name}, ${count.requests} requests, ${count.owed} tickets that had to be there and were, ` +
        `${count.lost} of the last seconds lost, ${seconds(started)} s, seed ${SEED}`,
    );
  });

  test(`after each of ${MAIL_KILLS} kills every message waits that was taken in and not acknowledged, each for one collector`, async (t) => {
    const started = performance.now();
    const count = await killInLanes(host, MAIL_KILLS, Mail);
    t.diagnostic(
      `${count.kills} kills of ${host.name}, ${count.requests} requests, ${count.owed} messages that had to be there and were, ` +
        `${count.lost} that nobody had answered for lost, ${seconds(started)} s, seed ${SEED}`,
    );
  });

  test(`memory is flat after the first half of ${LOAD_MS / 1_000} s of load`, async (t) => {
    const started = performance.now();
    // On a disk: what is stored is not to count as memory.
    const state = await mkdtemp(join(tmpdir(), "endurance-test-"));
    const running = await host.start({ vars: { COMMUNITIES: "*" }, state });
    try {
      const load = new Load(running.url, seeded(SEED));
      const samples = [];
      const sampling = (async () => {
        while (performance.now() - started < LOAD_MS) {
          samples.push(await residentMebibytes(running.pid));
          await delay(250);
        }
        load.isOver = true;
      })();
      await Promise.all([sampling, ...Array.from({ length: CLIENTS }, () => load.run())]);
      const half = Math.floor(samples.length / 2);
      const [before, since] = [samples.slice(0, half), samples.slice(half)].map((part) => Math.max(...part));
      t.diagnostic(
        `${load.requests} requests to ${host.name} in ${seconds(started)} s (${JSON.stringify(load.statuses)}), ` +
          `memory at most ${before.toFixed(1)} MiB, then ${since.toFixed(1)} MiB, seed ${SEED}`,
      );
      const most = host.memoryGrowthMiB + (IS_LONG ? 0 : host.warmUpMiB);
      assert.ok(since - before <= most, `from ${before} MiB to ${since} MiB`);
      assert.deepEqual(load.surprises, []);
      assert.equal((await call(running.url, "/healthz")).status, 200);
    } finally {
      await running.stop();
      await rm(state, { recursive: true, force: true, maxRetries: 5 });
    }
  });
});

/** Everything that a test asks a beacon for, so that little is refused for coming too often or too soon. */
const KILLED_VARS = {
  EXTERNAL_URLS: RELAY,
  ANSWER_LIMIT: "200",
  PEERS_MAX_AGE_SECONDS: "0",
  ANNOUNCE_INTERVAL_MS: "0",
  NETWORK_REQUESTS_PER_MINUTE: "1000000",
  ADDRESS_REQUESTS_PER_MINUTE: "1000000",
};

/**
 * @typedef {object} Count
 * @property {number} kills
 * @property {number} requests
 * @property {number} owed What had to be there after a kill, and was.
 * @property {number} lost What may be gone after a kill, and was.
 *
 * @typedef {object} Model What is done to a host until it dies, and what may be found after that.
 * @property {(url: string) => Promise<void>} restart Compares what there is with what may be.
 * @property {(url: string) => Promise<void>} play Asks until the host is dead.
 * @property {() => void} die Comes before the kill.
 */

/**
 * @param {import("./hosts.mjs").Host} host
 * @param {number} kills
 * @param {{ new (random: () => number, count: Count): Model, lifeMs: (random: () => number, run: number) => number }} Kind
 * @returns {Promise<Count>}
 */
async function killInLanes(host, kills, Kind) {
  const random = seeded(SEED);
  const count = { kills: 0, requests: 0, owed: 0, lost: 0 };
  const lanes = Array.from({ length: LANES }, (_, lane) => {
    return killAgainAndAgain(host, Math.floor((kills + lane) / LANES), Kind, seeded(Math.floor(random() * 2 ** 32)), count);
  });
  await Promise.all(lanes);
  assert.equal(count.kills, kills);
  assert.ok(count.owed > LANES, "too little was at stake");
  return count;
}

/**
 * @param {import("./hosts.mjs").Host} host
 * @param {number} kills
 * @param {Parameters<typeof killInLanes>[2]} Kind
 * @param {() => number} random
 * @param {Count} count
 */
async function killAgainAndAgain(host, kills, Kind, random, count) {
  const state = await mkdtemp(join(tmpdir(), "endurance-test-"));
  const model = new Kind(random, count);
  try {
    for (let run = 0; run <= kills; run += 1) {
      const running = await host.start({ vars: KILLED_VARS, state });
      try {
        await model.restart(running.url);
        if (run === kills) break;
        const playing = model.play(running.url);
        await delay(Kind.lifeMs(random, run));
        model.die();
        await running.kill();
        await playing;
        count.kills += 1;
      } finally {
        await running.stop();
      }
    }
  } finally {
    await rm(state, { recursive: true, force: true, maxRetries: 5 });
  }
}

/**
 * What one community may look like after a crash.
 *
 * @typedef {object} State One that a claim has been in, or may have been.
 * @property {number} at When the beacon said so; never, where it has not.
 * @property {import("./ticket.mjs").Ticket} [ticket] Absent where the claim has left or not come yet.
 *
 * @typedef {{ peer: import("./ticket.mjs").Peer, issuedAt: number, states: State[] }} Claim
 */
class Presence {
  /** @type {Map<string, Claim>} By peerId. */
  claims = new Map();
  diedAt = -Infinity;

  constructor(random, count) {
    Object.assign(this, { random, count });
  }

  /** Most die in the middle of what they do first; every fourth has had to write. */
  static lifeMs(random, run) {
    return run % 4 === 1 ? SAFE_AFTER_MS + random() * 3_000 : random() * 1_500;
  }

  /** Announces, leaves, lies and repeats until the beacon is dead. */
  async play(url) {
    this.diedAt = Infinity;
    while (this.diedAt === Infinity) {
      try {
        await this.step(url);
      } catch (error) {
        if (error instanceof assert.AssertionError || this.diedAt === Infinity) throw error;
      }
      await delay(this.random() * 30);
    }
  }

  async step(url) {
    this.count.requests += 1;
    const drawn = this.random();
    const claims = [...this.claims.values()];
    const claim = claims[Math.floor(this.random() * claims.length)];
    const issuedAt = Date.now();
    if (claim === undefined || (drawn < 0.5 && claims.length < MOST_CLAIMS)) {
      const peer = newPeer();
      await this.change(url, { peer, states: [{ at: -Infinity }] }, "/announce", this.ticket(peer, issuedAt));
    } else if (drawn < 0.75) {
      await this.change(url, claim, "/announce", this.ticket(claim.peer, this.after(claim, issuedAt)));
    } else if (drawn < 0.85) {
      const goodbye = this.ticket(claim.peer, this.after(claim, issuedAt), { leave: true });
      await this.change(url, claim, "/leave", goodbye);
    } else if (drawn < 0.95) {
      const forged = this.ticket(claim.peer, issuedAt, { envelope: { signature: signTicket(newPeer()).signature } });
      assert.equal((await announce(url, forged)).json.code, "SIGNATURE_INVALID");
    } else {
      const [older, newer] = claim.states.filter(({ ticket }) => ticket !== undefined).slice(-2);
      if (newer === undefined || newer !== claim.states.at(-1) || newer.at === Infinity) return;
      const { code } = (await announce(url, older.ticket)).json;
      assert.ok(["STALE_TICKET", "EXPIRED"].includes(code), `an older ticket: ${code}`);
    }
  }

  /** Sends a ticket, which may arrive whether or not there is an answer. */
  async change(url, claim, path, ticket) {
    this.claims.set(claim.peer.peerId, claim);
    claim.issuedAt = ticket.payload.issuedAt;
    /** @type {State} */
    const state = path === "/leave" ? { at: Infinity } : { at: Infinity, ticket };
    claim.states.push(state);
    const { status, text } = await call(url, path, { json: { ticket, community: COMMUNITY } });
    assert.equal(status, 200, text);
    state.at = Date.now();
  }

  ticket(peer, issuedAt, overrides = {}) {
    const lifetime = this.random() < 0.2 ? 2_000 + this.random() * 6_000 : 180_000;
    return signTicket(peer, { issuedAt, expiresAt: issuedAt + Math.floor(lifetime), community: COMMUNITY, ...overrides });
  }

  /** A time that is later than that of every ticket of the claim. */
  after({ issuedAt }, now) {
    return Math.max(now, issuedAt + 1);
  }

  die() {
    this.diedAt = Date.now();
  }

  /** Compares the first list after a crash with what it may be. */
  async restart(url) {
    const { serverTime, total, peers: list } = (await peers(url)).json;
    this.compare(serverTime, total, list);
  }

  compare(serverTime, total, peers) {
    assert.equal(total, peers.length);
    const listed = new Map(peers.map((ticket) => [ticket.payload.peerId, ticket]));
    const isOver = (ticket) => ticket === undefined || ticket.payload.expiresAt <= serverTime;
    for (const [peerId, { peer, issuedAt, states }] of [...this.claims]) {
      const safe = states.findLastIndex(({ at }) => at <= this.diedAt - SAFE_AFTER_MS);
      const possible = states.slice(safe);
      const found = listed.get(peerId);
      const state = possible.findLast(({ ticket }) => (found ? ticket?.signature === found.signature : isOver(ticket)));
      assert.ok(state, `${peerId}: ${JSON.stringify(found)} of ${JSON.stringify(states)}, killed at ${this.diedAt}`);
      if (possible.length === 1 && found !== undefined) this.count.owed += 1;
      if (state !== possible.findLast(({ at }) => at !== Infinity)) this.count.lost += 1;
      listed.delete(peerId);
      // What is listed comes from storage, and stays there.
      if (found === undefined) this.claims.delete(peerId);
      else this.claims.set(peerId, { peer, issuedAt, states: [{ at: -Infinity, ticket: state.ticket }] });
      if (found !== undefined) assert.ok(!isOver(found), `${peerId} is over`);
    }
    assert.deepEqual([...listed.values()], [], "listed, and not announced, or gone for good");
  }
}

/** Senders of a mailbox, who each number their messages. */
const SLOTS = 16;
/** Messages of one sender that wait: all of a mailbox fit into one answer. */
const MOST_WAITING = 5;

/**
 * What one mailbox may hold after a crash. Two collect from it, so that what nobody else was given is what these two are.
 *
 * @typedef {object} Sent A message.
 * @property {number} slot Which sender's it is.
 * @property {number} sequence
 * @property {ReturnType<Mailbox["message"]>} message
 * @property {boolean} isTaken Whether the relay has said that it waits.
 * @property {boolean} isRead Whether a collector has it.
 * @property {"no" | "maybe" | "yes"} acknowledged Maybe, while there is no answer.
 * @property {string} [holder] The collector who was given it last.
 * @property {number} [until] Until then no other is.
 */
class Mail {
  /** @type {Map<string, Sent>} By slot key and sequence. */
  sent = new Map();
  slots = Array.from({ length: SLOTS }, () => newPeer());
  numbers = Array(SLOTS).fill(0);
  collectors = ["one", "other"].map((name) => Buffer.from(name.padEnd(16)).toString("base64"));
  isDead = false;
  isOpen = false;

  constructor(random, count) {
    Object.assign(this, { random, count, mailbox: new Mailbox(undefined, { from: `10.${Math.floor(random() * 256)}.0.1` }) });
    this.mailbox.revision = 1;
    this.records = [this.mailbox.card(), this.mailbox.policy(this.slots)];
  }

  static lifeMs(random) {
    return random() * 1_500;
  }

  /** Writes, repeats, collects and acknowledges until the relay is dead. */
  async play() {
    this.isDead = false;
    while (!this.isDead) {
      try {
        await this.step();
      } catch (error) {
        if (error instanceof assert.AssertionError || !this.isDead) throw error;
      }
      await delay(this.random() * 10);
    }
  }

  die() {
    this.isDead = true;
  }

  async step() {
    this.count.requests += 1;
    const drawn = this.random();
    const all = [...this.sent.values()];
    const unanswered = all.find(({ isTaken }) => !isTaken);
    const slot = Math.floor(this.random() * SLOTS);
    if (unanswered !== undefined) {
      await this.leave(unanswered);
    } else if (drawn < 0.55) {
      if (all.filter((sent) => sent.slot === slot && sent.acknowledged === "no").length < MOST_WAITING) await this.leave(this.next(slot));
    } else if (drawn < 0.65) {
      const again = all[Math.floor(this.random() * all.length)];
      if (again !== undefined) await this.leave(again);
    } else if (drawn < 0.85) {
      await this.collect(1 + Math.floor(this.random() * 10));
    } else {
      await this.acknowledge(slot);
    }
  }

  /** @returns {Sent} A sender's next message. */
  next(slot) {
    const sequence = (this.numbers[slot] += 1);
    const size = BUCKETS[this.random() < 0.9 ? 0 : 1];
    const sent = { slot, sequence, message: this.mailbox.message(this.slots[slot], sequence, { size }), isTaken: false, isRead: false, acknowledged: "no" };
    this.sent.set(`${this.slots[slot].publicKey} ${sequence}`, sent);
    return sent;
  }

  /** Sends a message, which may arrive whether or not there is an answer. */
  async leave(sent) {
    const { status, text, json } = await this.mailbox.deposit(sent.message);
    const became = status === 201 ? "new" : status === 200 && json.duplicate ? "waits" : status === 200 && json.acknowledged ? "acknowledged" : text;
    const expected = { no: sent.isTaken ? ["waits"] : ["new", "waits"], maybe: ["waits", "acknowledged"], yes: ["acknowledged"] };
    assert.ok(expected[sent.acknowledged].includes(became), `${sent.acknowledged}, ${sent.isTaken}: ${became}`);
    sent.isTaken = true;
    if (became === "acknowledged") sent.acknowledged = "yes";
  }

  /** Lets both collect at once. Returns the names of what they have got. */
  async collect(limit) {
    const replies = await Promise.all(this.collectors.map((collector) => this.mailbox.collect({ collector, limit })));
    const got = new Set();
    for (const [position, { status, text, json }] of replies.entries()) {
      assert.equal(status, 200, text);
      const holder = this.collectors[position];
      for (const { deposit, sealed, leaseUntil } of json.messages) {
        const name = `${deposit.publicKey} ${deposit.payload.sequence}`;
        const sent = this.sent.get(name);
        assert.ok(sent, `${name} was never sent`);
        assert.deepEqual([deposit, sealed], [sent.message.deposit, sent.message.sealed]);
        assert.notEqual(sent.acknowledged, "yes", `${name} was acknowledged`);
        assert.ok(!got.has(name), `${name} was handed to both`);
        assert.ok(sent.holder === undefined || sent.holder === holder || sent.until <= json.serverTime, `${name} is kept for another`);
        got.add(name);
        Object.assign(sent, { isTaken: true, isRead: true, acknowledged: "no", holder, until: leaseUntil });
      }
    }
    return got;
  }

  /** Acknowledges what was read of a sender. */
  async acknowledge(slot) {
    const all = [...this.sent.values()].filter((sent) => sent.slot === slot);
    const read = all.filter(({ isRead }) => isRead);
    if (read.length === 0) return;
    const through = Math.max(...read.map(({ sequence }) => sequence));
    const missing = all.filter(({ isRead, sequence }) => !isRead && sequence < through).map(({ sequence }) => sequence);
    const covered = read.filter(({ acknowledged }) => acknowledged !== "yes");
    for (const sent of covered) sent.acknowledged = "maybe";
    const { status, text, json } = await this.mailbox.acknowledge([this.mailbox.ack(this.slots[slot], through, { missing })]);
    assert.equal(status, 200, text);
    assert.ok(json.released <= covered.length);
    for (const sent of covered) sent.acknowledged = "yes";
  }

  /** Compares what waits after a crash with what must, and with what may. */
  async restart(url) {
    this.mailbox.url = url;
    const opened = await this.mailbox.putRecords(...this.records);
    assert.ok(opened.status === 200 || (opened.status === 201 && !this.isOpen), opened.text);
    this.isOpen = true;
    const before = [...this.sent.values()].map((sent) => ({ sent, ...sent }));
    const got = await this.collect(100);
    for (const { sent, isTaken, acknowledged } of before) {
      const name = `${this.slots[sent.slot].publicKey} ${sent.sequence}`;
      const isOwed = isTaken && acknowledged === "no";
      assert.ok(got.has(name) || !isOwed, `${name} is gone and was not acknowledged`);
      if (isOwed) this.count.owed += 1;
      if (!isTaken && !got.has(name)) this.count.lost += 1;
      // Gone only because the acknowledgement came through.
      if (acknowledged === "maybe" && !got.has(name)) {
        sent.acknowledged = "yes";
        await this.leave(sent);
      }
    }
  }
}

/** Clients of every kind from everywhere, who all come at once. */
class Load {
  requests = 0;
  isOver = false;
  /** @type {Record<number, number>} */
  statuses = {};
  /** @type {string[]} */
  surprises = [];

  constructor(url, random) {
    Object.assign(this, { url, random });
  }

  async run() {
    while (!this.isOver) {
      const { status, json } = await this.ask();
      this.requests += 1;
      this.statuses[status] = (this.statuses[status] ?? 0) + 1;
      if (status >= 500 && this.surprises.length < 5) this.surprises.push(`${status} ${json?.code}`);
    }
  }

  ask() {
    const drawn = this.random();
    const some = (count) => Math.floor(this.random() * count);
    const address = this.random() < 0.5 ? `${1 + some(220)}.${some(256)}.${some(256)}.1` : `2001:${some(65_536).toString(16)}::1`;
    // Some that are busy, and every now and then one that somebody has just invented.
    const community = this.random() < 0.99 ? `busy-${some(8)}` : `invented-${some(1_000_000)}`;
    const list = (query) => call(this.url, `/peers?community=${community}${query}`, { address });
    if (drawn < 0.3) return list("");
    if (drawn < 0.4) return list(`&limit=${1 + some(50)}&exclude=peer-${some(1_000)}`);
    if (drawn < 0.8) return announce(this.url, signTicket(newPeer(), { community }), { community, address });
    if (drawn < 0.9) return announce(this.url, signTicket(newPeer(), { envelope: { signature: "A".repeat(88) } }), { community, address });
    if (drawn < 0.95) return call(this.url, "/announce", { method: "POST", body: "x".repeat(some(8_192)), address });
    return call(this.url, `/${"nowhere".repeat(some(100))}?community=${some(1_000)}`, { address });
  }
}

/** @param {number} pid */
async function residentMebibytes(pid) {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(status.match(/^VmRSS:\s+(\d+) kB$/m)[1]) / 1_024;
}

/** @param {number} started */
const seconds = (started) => ((performance.now() - started) / 1_000).toFixed(1);
