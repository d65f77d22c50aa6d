// Two minutes in the life of a community: 100 peers that come, lose their connections, and go, with and without a word,
// while its beacons die and come back one after another. Two more beacons are no help: one answers garbage, one hangs.
//
// The peers are the client library and its PeerJS adapter, as in a browser; what they dial through is simulated. Some
// stay all the time, so that their tickets are renewed; beacons ask for that as soon as they may, so that it happens.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connectPeers } from "rendezvous-beacon/peerjs";
import { Rendezvous, defaultHost, memoryStore } from "../client/build/internals.js";
import { startBeacon } from "../tools/beacon.mjs";
import { serve } from "./hostile.mjs";

const PEERS = 100;
const COMMUNITY = "simulation";
const DURATION_MS = 120_000;
/** The first visitors come one by one within this time. */
const ARRIVAL_MS = 10_000;
const VISIT_MS = { least: 25_000, most: 70_000 };
const ABSENCE_MS = 2_000;
/** This part stays all the time. */
const STAYING = 0.4;
/** This part of the others goes without a word. */
const VANISHING = 0.3;
const CONNECTIONS = 3;
const DIAL_MS = 40;
const DIAL_TIMEOUT_MS = 2_000;
const FOUND_WITHIN_MS = 30_000;

const ANNOUNCE_AFTER_MIN_MS = 45_000;
const VARS = {
  COMMUNITIES: COMMUNITY,
  ANNOUNCE_INTERVAL_MS: String(ANNOUNCE_AFTER_MIN_MS),
  ANNOUNCE_AFTER_MIN_MS: String(ANNOUNCE_AFTER_MIN_MS),
  ANNOUNCE_AFTER_MAX_MS: String(ANNOUNCE_AFTER_MIN_MS),
  NETWORK_REQUESTS_PER_MINUTE: "1000000",
};
/** When which beacons are killed, and for how long. At the end two are down at once. */
const OUTAGES = [
  { beacons: [0], from: 15_000, lasts: 18_000 },
  { beacons: [1], from: 40_000, lasts: 18_000 },
  { beacons: [2], from: 65_000, lasts: 15_000 },
  { beacons: [0, 1], from: 88_000, lasts: 15_000 },
];

test("100 peers keep finding each other while beacons die, lie and hang", async (t) => {
  const scratch = await mkdtemp(join(tmpdir(), "simulation-test-"));
  t.after(() => rm(scratch, { recursive: true, force: true, maxRetries: 5 }));
  const start = (name, port) => startBeacon({ port, vars: VARS, persist: join(scratch, String(name)) });
  const beacons = await Promise.all([0, 1, 2].map((name) => start(name, 0)));
  const garbage = await serve((request, response) => response.end(rubbish()));
  const hanging = await serve(() => {});
  const honest = beacons.map(({ url }) => url);
  const world = new World([...honest, garbage.url, hanging.url]);
  t.after(() => Promise.allSettled([...beacons, garbage, hanging].map((server) => server.stop())));

  // A loaded machine may have a beacon back so late that the next outage is due: it waits, or none would be left.
  const outages = OUTAGES.reduce(async (before, { beacons: names, from, lasts }) => {
    await Promise.all([delay(from), before]);
    await Promise.all(names.map((name) => beacons[name].crash()));
    await delay(lasts);
    for (const name of names) beacons[name] = await start(name, Number(new URL(honest[name]).port));
  }, Promise.resolve());
  const lives = Array.from({ length: PEERS }, (_, place) => world.live(place));
  await Promise.all([outages, ...lives]);

  const { attempts, requests } = world;
  const found = attempts.filter((ms) => ms <= FOUND_WITHIN_MS).length;
  const sorted = attempts.toSorted((one, other) => one - other);
  const quantile = (part) => `${Math.round(sorted[Math.ceil(part * sorted.length) - 1])} ms`;
  t.diagnostic(
    `${found} of ${attempts.length} attempts (${((100 * found) / attempts.length).toFixed(2)} %) met a live peer within ${FOUND_WITHIN_MS / 1_000} s:` +
      ` half within ${quantile(0.5)}, 99 % within ${quantile(0.99)}, the last within ${quantile(1)}`,
  );
  const toHonest = requests.filter(({ url }) => honest.includes(url));
  const count = (path) => toHonest.reduce((sum, { paths }) => sum + (paths[path] ?? 0), 0);
  const minutes = toHonest.reduce((sum, { spentMs }) => sum + spentMs, 0) / 60_000;
  t.diagnostic(`to a live beacon or a dead one, a peer and minute: ${(count("/announce") / minutes).toFixed(1)} announces, ${(count("/peers") / minutes).toFixed(1)} lists`);
  t.diagnostic(`refusals: ${JSON.stringify(world.codes)}`);

  assert.ok(attempts.length > 2 * PEERS, "too little has happened");
  assert.ok(found / attempts.length >= 0.99);
  assert.equal(world.unprovoked, 0, "came too soon, though no announce of it had gone unanswered");
  assert.equal(world.early, 0, "announced earlier than the beacon had asked for");
  for (const { url, paths, failures, spentMs } of toHonest) {
    const allowed = 1 + failures + Math.floor(spentMs / ANNOUNCE_AFTER_MIN_MS);
    assert.ok((paths["/announce"] ?? 0) <= allowed, `${paths["/announce"]} announces to ${url} in ${spentMs} ms`);
  }
});

/** Verdicts on signatures, by key, signature and message. */
const verdicts = new Map();

/**
 * Every browser has a processor of its own; here 100 share one thread. So what one of them has found of a signature is
 * not computed again for the others.
 */
const subtle = {
  generateKey: crypto.subtle.generateKey.bind(crypto.subtle),
  exportKey: crypto.subtle.exportKey.bind(crypto.subtle),
  sign: crypto.subtle.sign.bind(crypto.subtle),
  importKey: async (...given) => given,
  verify(algorithm, key, signature, message) {
    // A browser's own key.
    if (key instanceof CryptoKey) return crypto.subtle.verify(algorithm, key, signature, message);
    const name = [key[1], signature, message].map((bytes) => Buffer.from(bytes).toString("base64")).join();
    if (!verdicts.has(name)) {
      const imported = crypto.subtle.importKey(...key);
      verdicts.set(name, imported.then((real) => crypto.subtle.verify(algorithm, real, signature, message)));
    }
    return verdicts.get(name);
  },
};

class World {
  /** Milliseconds that it took from coming, or from losing the last connection, to a connection with a live peer. */
  attempts = [];
  /** What each visitor asked of each beacon. */
  requests = [];
  /** Codes of refusals by how often they came. */
  codes = {};
  early = 0;
  /** Announces that came too soon where none before had gone unanswered, which the beacon may have taken. */
  unprovoked = 0;
  present = new Map();
  #beacons;
  #end = performance.now() + DURATION_MS;

  constructor(beacons) {
    this.#beacons = beacons;
  }

  /** One person: comes again and again with the same browser, as a new peer each time. */
  async live(place) {
    const store = memoryStore();
    await delay((place / PEERS) * ARRIVAL_MS);
    for (let visit = 0; performance.now() < this.#end; visit++) {
      const { least, most } = VISIT_MS;
      const wanted = place < STAYING * PEERS ? DURATION_MS : least + Math.random() * (most - least);
      const length = Math.min(wanted, this.#end - performance.now());
      await this.#visit(`peer-${place}-${visit}`, store, length);
      await delay(ABSENCE_MS * (0.5 + Math.random()));
    }
  }

  async #visit(peerId, store, length) {
    const phone = new Phone(peerId, this.present);
    const network = this.#network((url) => rendezvous.status().sources.find((source) => source.url === url));
    const rendezvous = new Rendezvous(
      { community: COMMUNITY, peerId, beacons: this.#beacons, timeoutMs: 5_000 },
      { ...defaultHost(), subtle, openStore: async () => store, fetch: network.fetch },
    );
    const open = new Set();
    let alone = performance.now();
    const stop = connectPeers(rendezvous, phone, {
      limit: CONNECTIONS,
      timeoutMs: DIAL_TIMEOUT_MS,
      onConnection: (connection) => {
        if (open.size === 0) this.attempts.push(performance.now() - alone);
        open.add(connection);
        connection.on("close", () => {
          open.delete(connection);
          if (open.size === 0) alone = performance.now();
        });
      },
    });
    this.present.set(peerId, phone);
    await rendezvous.start();
    await delay(length / 2);
    // A new network half way: every connection is lost.
    phone.hangUp();
    await delay(length / 2);

    if (open.size === 0 && performance.now() - alone > FOUND_WITHIN_MS) this.attempts.push(Infinity);
    stop();
    if (Math.random() < VANISHING) network.cut();
    this.present.delete(peerId);
    phone.hangUp();
    await rendezvous.stop();
    network.end();
  }

  /**
   * `fetch`, and a record of what went through it. What was answered, and came too late for the visitor on a machine that
   * is busy, is as good as not answered: so the failures that count are those that the visitor knows of.
   */
  #network(statusOf) {
    const started = performance.now();
    const records = new Map(this.#beacons.map((url) => [url, { url, paths: {}, notBefore: 0, unansweredAt: -Infinity }]));
    let connected = true;
    return {
      fetch: async (url, init) => {
        const { origin, pathname } = new URL(url);
        const record = records.get(origin);
        if (!connected) throw new TypeError("fetch failed");
        record.paths[pathname] = (record.paths[pathname] ?? 0) + 1;
        if (pathname === "/announce") {
          if (statusOf(origin).failuresInARow > 0) record.unansweredAt = performance.now();
          else if (performance.now() < record.notBefore) this.early++;
        }
        try {
          const response = await fetch(url, init);
          const text = await response.text();
          const answer = response.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : {};
          if (answer.code) this.codes[answer.code] = (this.codes[answer.code] ?? 0) + 1;
          const isProvoked = performance.now() - record.unansweredAt < ANNOUNCE_AFTER_MIN_MS;
          if (answer.code === "ANNOUNCE_TOO_SOON" && !isProvoked) this.unprovoked++;
          if (answer.announceAfterMs) record.notBefore = performance.now() + answer.announceAfterMs;
          return new Response(text, { status: response.status });
        } catch (error) {
          if (pathname === "/announce") record.unansweredAt = performance.now();
          throw error;
        }
      },
      cut: () => (connected = false),
      end: () => {
        const spentMs = performance.now() - started;
        for (const { url, paths } of records.values())
          this.requests.push({ url, paths, failures: statusOf(url).failures, spentMs });
      },
    };
  }
}

/** PeerJS without a browser: as much of its `Peer` as the adapter takes. */
class Phone extends EventEmitter {
  #connections = new Set();

  constructor(id, present) {
    super();
    this.id = id;
    this.present = present;
  }

  connect(to) {
    const here = this.#take(new Line(to));
    setTimeout(() => {
      const other = this.present.get(to);
      // A peer that is not there answers nothing.
      if (!other || here.closed || this.present.get(this.id) !== this) return;
      const there = other.#take(new Line(this.id));
      [here.other, there.other] = [there, here];
      other.emit("connection", there);
      there.emit("open");
      here.emit("open");
    }, DIAL_MS);
    return here;
  }

  #take(connection) {
    this.#connections.add(connection);
    connection.on("close", () => this.#connections.delete(connection));
    return connection;
  }

  hangUp() {
    // Those of now: whoever loses one dials the next.
    for (const connection of [...this.#connections]) connection.close();
  }
}

class Line extends EventEmitter {
  closed = false;

  constructor(peer) {
    super();
    this.peer = peer;
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.emit("close");
    this.other?.close();
  }
}

/** What is no answer of a beacon, in different ways. */
function rubbish() {
  const kinds = [
    "",
    "<!doctype html><h1>It works!</h1>",
    "{".repeat(1_000),
    JSON.stringify({ ok: true, community: COMMUNITY, serverTime: "now", peers: [1, {}, [], null, "peer"] }),
    JSON.stringify({ ok: true, community: "another", peers: [] }),
  ];
  return kinds[Math.floor(Math.random() * kinds.length)];
}
