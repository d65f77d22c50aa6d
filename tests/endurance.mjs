// What a host promises about crashes and about its memory, held up to many of the one and to long load: `npm test` runs a
// short form, `npm test -- --long` the full one.
//
// Nothing here depends on how fast the machine is, but for timers of ten seconds that must not be two seconds late.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { seeded } from "../client/test/world.mjs";
import { HOSTS } from "./hosts.mjs";
import { announce, call, peers } from "./http.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const IS_LONG = process.env.LONG_TESTS === "1";
/** What is drawn in a run. SEED=… plays it again, as far as the machine's own timing is not part of it. */
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));

const KILLS = IS_LONG ? 1_000 : 100;
/** Beacons that are killed side by side, each with a state of its own. */
const LANES = 10;
/** What was announced longer ago than this must survive: ten seconds, and two for timers of a busy machine. */
const SAFE_AFTER_MS = 12_000;
const MOST_CLAIMS = 100;
const COMMUNITY = "mainnet";

const LOAD_MS = IS_LONG ? 600_000 : 60_000;
const CLIENTS = 16;

for (const host of HOSTS) describe(host.name, () => {
  test(`after each of ${KILLS} kills everything is there but the last ten seconds, and nothing that is over`, async (t) => {
    const started = performance.now();
    const random = seeded(SEED);
    const count = { kills: 0, requests: 0, owed: 0, lost: 0 };
    const lanes = Array.from({ length: LANES }, (_, lane) => {
      return killAgainAndAgain(host, Math.floor((KILLS + lane) / LANES), seeded(Math.floor(random() * 2 ** 32)), count);
    });
    await Promise.all(lanes);
    assert.equal(count.kills, KILLS);
    assert.ok(count.owed > LANES, "too little was at stake");
    t.diagnostic(
      `${count.kills} kills of ${host.name}, ${count.requests} requests, ${count.owed} tickets that had to be there and were, ` +
        `${count.lost} of the last seconds lost, ${seconds(started)} s, seed ${SEED}`,
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
  ANSWER_LIMIT: "200",
  PEERS_MAX_AGE_SECONDS: "0",
  ANNOUNCE_INTERVAL_MS: "0",
  NETWORK_REQUESTS_PER_MINUTE: "1000000",
  ADDRESS_REQUESTS_PER_MINUTE: "1000000",
};

/**
 * @param {import("./hosts.mjs").Host} host
 * @param {number} kills
 * @param {() => number} random
 * @param {{ kills: number, requests: number, owed: number, lost: number }} count
 */
async function killAgainAndAgain(host, kills, random, count) {
  const state = await mkdtemp(join(tmpdir(), "endurance-test-"));
  const model = new Model(random, count);
  try {
    for (let run = 0; run <= kills; run += 1) {
      const running = await host.start({ vars: KILLED_VARS, state });
      try {
        model.restart((await peers(running.url)).json);
        if (run === kills) break;
        const playing = model.play(running.url);
        // Most die in the middle of what they do first; every fourth has had to write.
        await delay(run % 4 === 1 ? SAFE_AFTER_MS + random() * 3_000 : random() * 1_500);
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
class Model {
  /** @type {Map<string, Claim>} By peerId. */
  claims = new Map();
  diedAt = -Infinity;

  constructor(random, count) {
    Object.assign(this, { random, count });
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
  restart({ serverTime, total, peers }) {
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
