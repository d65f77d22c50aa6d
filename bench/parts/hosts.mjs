// The program for one machine: against its own parts, against the Worker, and against other people's servers.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import {
  installComparators,
  startBittorrentTracker,
  startNginx,
  startOpentracker,
  startPeerServer,
  startRedis,
} from "../comparators.mjs";
import { drive, runParts, startNative as startResponder } from "../load.mjs";
import { privateBytes, turn } from "../machine.mjs";
import { compare, inTurns, median } from "../measurement.mjs";
import { startProgram } from "../programs.mjs";
import { startBaseline, startSubject } from "../workers.mjs";
import { fill } from "./load.mjs";

const COMMUNITY = "?community=bench";
const CONNECTIONS = 32;
/** So many that none uses up what it may ask for in a minute, however fast the answers come. */
const NETWORKS = 10_000;
/** More than are answered, so that the time ends a turn. Where each request has a ticket of its own, it has to be signed. */
const MOST_PER_SECOND = 120_000;
const MOST_SIGNED_PER_SECOND = 25_000;
const MOST_SIGNED_PER_SECOND_IN_WORKERD = 8_000;
/** Announces of which each part is done alone, for each second of a turn: the kernel counts in steps of milliseconds. */
const PARTS_PER_SECOND = 5_000;
/** Of Redis, which `redis-benchmark` asks so often, not so long. */
const REDIS_PER_SECOND = 8_000;

const PEERS = 200;
const TICKET_BYTES = 395;
/** Sockets that are opened on the signalling server in one turn. */
const REGISTRATIONS = 500;

const MEMORY_COMMUNITIES = 100;
const MEMORY_GOAL_BYTES = 1_024;

/** Adds a member, trims to 200 and returns 50, which is what is left of an announce without signatures and fairness. */
const REDIS_SCRIPT = `
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -${PEERS + 1})
return redis.call('ZREVRANGE', KEYS[1], 0, 49)`;

const TORRENT = "0102030405060708090a0b0c0d0e0f1011121314";
const TRACKER_ANNOUNCE =
  `/announce?info_hash=${TORRENT.replace(/../g, "%$&")}&peer_id=-RB0001-0000000VARIANT` +
  "&port=VARIANT&uploaded=0&downloaded=0&left=1&compact=1&numwant=50";
/** Ports, which are what a tracker knows the peers of one address by. */
const TRACKER_PEERS = 50_000;

export const hosts = {
  name: "hosts",
  programs: ["rendezvous-native"],
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    if (!context.quick) await installComparators();
    return [...(await announces(context)), ...(await lists(context)), ...(await memory(context))];
  },
};

/**
 * hyper alone, with answers that have as many bytes as those of the program, in the headers too.
 *
 * @param {import("../bench.mjs").Context} context
 * @param {string} url
 * @param {RequestInit} [request]
 */
async function startHyper({ quick }, url, request) {
  const response = await fetch(url, request);
  const { length } = Buffer.from(await response.arrayBuffer());
  // These it writes by itself.
  const own = new Set(["connection", "content-length", "content-type", "date", "keep-alive"]);
  const headers = [...response.headers].filter(([name]) => !own.has(name)).flatMap(([name, value]) => ["--header", `${name}:${value}`]);
  return { length, start: (bytes) => startResponderWith(quick, bytes, headers) };
}

/**
 * @param {boolean} quick
 * @param {number} bytes
 * @param {string[]} headers
 */
async function startResponderWith(quick, bytes, headers) {
  const server = await startResponder({ quick, role: "server", args: ["respond", "--bytes", String(bytes), ...headers] });
  return { url: await server.nextLine(), pid: server.child.pid, stop: () => server.stop() };
}

/**
 * One turn of a server under the load generator.
 *
 * @param {{ url: string, pid: number }} server
 * @param {object} options Of `drive`, but for the URL.
 * @param {string} path
 * @param {(result: import("../load.mjs").LoadSummary) => void} [check]
 */
async function once(server, options, path, check = served) {
  const { result, ran } = await turn(server.pid, () => drive({ ...options, url: server.url + path }));
  check(result);
  return { perSecond: result.perSecond, micros: ran / result.requests };
}

/** @param {import("../load.mjs").LoadSummary} result */
function served({ statuses, requests }) {
  assert.deepEqual(statuses, { 200: requests });
}

/**
 * Rows of one server against another: requests a second and processor time for one.
 *
 * @param {string} row
 * @param {Measured[]} ours
 * @param {Measured[]} theirs
 * @param {{ baselineName: string, perSecond?: object, micros?: object }} options Goals, if there are any.
 * @returns {import("../bench.mjs").Row[]}
 *
 * @typedef {{ perSecond: number, micros: number }} Measured
 */
function rowsOf(row, ours, theirs, { baselineName, perSecond, micros }) {
  const per = (key) => compare(ours.map((one) => one[key]), theirs.map((one) => one[key]));
  return [
    { row, unit: "requests/s", ...per("perSecond"), goal: perSecond, baselineName },
    { row: "  … processor time", unit: "µs", ...per("micros"), goal: micros },
  ];
}

/** @param {string} what */
const leftOut = (what) => ({ row: `${what}: not installed, left out`, unit: "" });

/** @param {import("../bench.mjs").Context} context */
async function announces(context) {
  const { quick, rounds, seconds, say } = context;
  const row = "native POST /announce, new ticket, full community";
  say(row);
  const path = `/announce${COMMUNITY}`;
  /** @type {{ stop: () => Promise<unknown> }[]} */
  const running = [];
  const started = (server) => {
    if (server !== undefined) running.push(server);
    return server;
  };
  try {
    const program = started(await startProgram(context));
    // Where nothing is compared, other parts show that these two work.
    const worker = quick ? undefined : started(await startSubject());
    const base = { quick, seconds, connections: CONNECTIONS, networks: NETWORKS };
    const announce = (perSecond) => ({
      ...base,
      kind: "announce",
      requests: quick ? 40 : Math.round(perSecond * seconds),
      expect: '"ok":true,"accepted":',
    });
    const [ours, inWorkerd] = [announce(MOST_SIGNED_PER_SECOND), announce(MOST_SIGNED_PER_SECOND_IN_WORKERD)];
    const listed = ({ statuses, matching, requests }) => {
      assert.deepEqual([statuses, matching], [{ 200: requests }, requests], row);
    };
    await fill(program.url + path, context);
    const { lastAnswer } = await drive({ ...ours, url: program.url + path, withAnswer: true });
    if (worker) {
      await fill(worker.url + path, context);
      await drive({ ...inWorkerd, url: worker.url + path });
    }
    const { start: startAlone } = await startHyper(context, program.url + path, { method: "POST", body: "{}" });
    const hyper = started(await startAlone(Buffer.byteLength(lastAnswer)));
    const empty = quick ? undefined : started(await startBaseline({ answer: lastAnswer, throughObject: true }));
    const [redis, opentracker, bittorrent] = quick
      ? []
      : [started(await startRedis()), started(await startOpentracker(TORRENT)), started(await startBittorrentTracker())];
    const script = await redis?.load(REDIS_SCRIPT);

    const track = { ...base, kind: "get", requests: Math.round(MOST_PER_SECOND * seconds), variants: TRACKER_PEERS };
    const tracked = (result) => {
      served(result);
      assert.ok(result.bytesPerAnswer > 300, `50 peers of 6 bytes each are wanted: ${result.bytesPerAnswer} bytes`);
    };
    const sides = {
      native: () => once(program, ours, path, listed),
      http: () => once(hyper, ours, path),
      parts: () => runParts({ quick, requests: quick ? 40 : Math.round(PARTS_PER_SECOND * seconds), networks: NETWORKS }),
      worker: worker && (() => once(worker, inWorkerd, path, listed)),
      empty: empty && (() => once(empty, inWorkerd, path)),
      redis: redis && (async () => {
        const command = ["evalsha", script, "1", "presence", `__rand_int__${"x".repeat(TICKET_BYTES - 12)}`];
        const requests = Math.round(REDIS_PER_SECOND * seconds);
        const { result, ran } = await turn(redis.pid, () => redis.drive({ requests, connections: CONNECTIONS, command }));
        return { perSecond: result.perSecond, micros: ran / requests };
      }),
      opentracker: opentracker && (() => once(opentracker, { ...track, connectEach: true }, TRACKER_ANNOUNCE, tracked)),
      bittorrent: bittorrent && (() => once(bittorrent, track, TRACKER_ANNOUNCE, tracked)),
    };
    const names = Object.keys(sides).filter((name) => sides[name] !== undefined);
    if (opentracker) await drive({ ...track, connectEach: true, url: opentracker.url + TRACKER_ANNOUNCE });
    if (bittorrent) await drive({ ...track, url: bittorrent.url + TRACKER_ANNOUNCE });
    const results = await inTurns(rounds, names.map((name) => sides[name]));
    const of = Object.fromEntries(names.map((name, index) => [name, results[index]]));

    const micros = of.native.map((one) => one.micros);
    const partsOf = (key) => median(of.parts.map((one) => one[key]));
    const alone = of.parts.map(({ parseMicros, verifyMicros, rosterMicros }, round) =>
      of.http[round].micros + parseMicros + verifyMicros + rosterMicros);
    const against = (what, name, leaves, options = {}) =>
      of[name] === undefined
        ? [leftOut(`${row}, against ${what}`)]
        : rowsOf(`${row}, against ${what}`, of.native, of[name], { baselineName: leaves, ...options });
    return [
      {
        row: `${row}, processor time`,
        unit: "µs",
        ...compare(micros, alone),
        goal: { atMost: 1.25 },
        baselineName: "the sum of its parts, each alone",
      },
      { row: "  … HTTP of the same bytes, by hyper", unit: "µs", subject: median(of.http.map((one) => one.micros)) },
      { row: "  … parsing and checking", unit: "µs", subject: partsOf("parseMicros") },
      { row: "  … strict verification", unit: "µs", subject: partsOf("verifyMicros") },
      { row: "  … the roster, and 50 tickets of it", unit: "µs", subject: partsOf("rosterMicros") },
      ...against("the Worker", "worker", "the same in workerd", { perSecond: { atLeast: 5 }, micros: { atMost: 1 / 5 } }),
      ...against("an empty Durable Object", "empty", "checks nothing, holds nothing"),
      ...against("Redis", "redis", "no HTTP, no JSON, no signature, no fairness between networks"),
      ...against("opentracker", "opentracker", "no signature; 50 × 6 bytes, a connection a request"),
      ...against("bittorrent-tracker", "bittorrent", "no signature; 50 × 6 bytes"),
    ];
  } finally {
    for (const server of running) await server.stop();
  }
}

/** @param {import("../bench.mjs").Context} context */
async function lists(context) {
  const { quick, rounds, seconds, say } = context;
  const row = "native GET /peers, 50 tickets";
  say(row);
  const path = `/peers${COMMUNITY}`;
  const running = [];
  const sockets = [];
  const started = (server) => {
    if (server !== undefined) running.push(server);
    return server;
  };
  try {
    const program = started(await startProgram(context));
    await fill(`${program.url}/announce${COMMUNITY}`, context);
    const requests = quick ? 40 : Math.round(MOST_PER_SECOND * seconds);
    const options = { quick, seconds, connections: CONNECTIONS, networks: NETWORKS, kind: "get", requests };
    const { lastAnswer } = await drive({ ...options, url: program.url + path, withAnswer: true });
    const { length, start: startAlone } = await startHyper(context, program.url + path);
    const hyper = started(await startAlone(length));
    const [nginx, peer] = quick ? [] : [started(await startNginx(lastAnswer)), started(await startPeerServer())];
    const whole = (result) => {
      served(result);
      assert.ok(result.bytesPerAnswer >= 0.9 * length, `${result.bytesPerAnswer} bytes an answer, of ${length}`);
    };
    if (peer) sockets.push(...(await Promise.all(idsOf("held", PEERS).map((id) => peer.register(id)))));
    const sides = {
      native: () => once(program, options, path, whole),
      http: () => once(hyper, options, path, whole),
      nginx: nginx && (() => once(nginx, options, "/peers", whole)),
      peer: peer && (() => once(peer, options, "/peerjs/peers")),
      registration: peer && (() => registrations(peer)),
    };
    const names = Object.keys(sides).filter((name) => sides[name] !== undefined);
    const results = await inTurns(rounds, names.map((name) => sides[name]));
    const of = Object.fromEntries(names.map((name, index) => [name, results[index]]));
    const against = (what, name, leaves, goals = {}) =>
      of[name] === undefined
        ? [leftOut(`${row}, against ${what}`)]
        : rowsOf(`${row}, against ${what}`, of.native, of[name], { baselineName: leaves, ...goals });
    const registered = of.registration?.map((one) => one.micros);
    return [
      ...against("nginx", "nginx", "the same bytes from a file", { micros: { atMost: 1.25 } }),
      ...against("hyper", "http", "the same bytes, always"),
      ...against("PeerJS", "peer", "200 bare names, nothing signed, no networks"),
      ...(registered
        ? [{ row: "  … a registration with PeerJS, by WebSocket, processor time", unit: "µs", subject: median(registered) }]
        : []),
    ];
  } finally {
    for (const socket of sockets) socket.destroy();
    for (const server of running) await server.stop();
  }
}

/**
 * @param {string} prefix
 * @param {number} count
 */
const idsOf = (prefix, count) => Array.from({ length: count }, (_, number) => `${prefix}-${number}`.padEnd(36, "x"));

let series = 0;

/**
 * Registers peers that leave at once, so many at a time as there are connections in other rows. Rates are those of the
 * client, which is not what is measured.
 *
 * @param {NonNullable<Awaited<ReturnType<typeof startPeerServer>>>} peer
 */
async function registrations(peer) {
  series += 1;
  const ids = idsOf(`turn${series}`, REGISTRATIONS);
  const { ran } = await turn(peer.pid, () =>
    Promise.all(
      Array.from({ length: CONNECTIONS }, async () => {
        for (let id = ids.pop(); id !== undefined; id = ids.pop()) (await peer.register(id)).destroy();
      }),
    ),
  );
  return { micros: ran / REGISTRATIONS };
}

/** @param {import("../bench.mjs").Context} context */
async function memory(context) {
  const { quick, say } = context;
  const [communities, peers] = quick ? [3, 5] : [MEMORY_COMMUNITIES, PEERS];
  const row = `native memory a record, ${communities} communities of ${peers}`;
  say(row);
  const lifetime = 3_600_000;
  // All that there are: of those that nobody has named, only so many may come in a minute.
  const names = Array.from({ length: communities }, (_, number) => `bench-${number}`);
  const program = await startProgram(context, {
    COMMUNITIES: ["warm-0", ...names].join(),
    TICKET_MAX_LIFETIME_MS: String(lifetime),
  });
  try {
    const announce = (options) =>
      drive({ quick, url: `${program.url}/announce`, kind: "announce", lifetimeMs: lifetime, networks: NETWORKS, ...options });
    // What the process takes however few records there are: buffers, connections, the database's cache.
    const warm = await announce({ requests: peers, communities: 1, community: "warm" });
    served(warm);
    // A write and what is freed after it have happened by then.
    const settle = () => delay(quick ? 0 : 12_000);
    await settle();
    const before = await privateBytes(program.pid);
    const requests = communities * peers;
    const result = await announce({ requests, communities });
    served(result);
    await settle();
    const bytes = (await privateBytes(program.pid)) - before;
    return [{ row, unit: "bytes", subject: bytes / requests, goal: quick ? undefined : { valueAtMost: MEMORY_GOAL_BYTES } }];
  } finally {
    await program.stop();
  }
}
