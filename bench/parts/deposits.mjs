// What is left for others: a mailbox's messages on Cloudflare, left and collected, against an object that writes one row; and
// left on one machine, against other people's dead drops.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Node, payloadOf } from "../../tests/hivemind.mjs";
import { call } from "../../tests/http.mjs";
import { BUCKETS, Mailbox, RELAY } from "../../tests/mailbox.mjs";
import { newPeer } from "../../tests/ticket.mjs";
import { startHivemindServer, startWormholeServer } from "../comparators.mjs";
import { play } from "../load.mjs";
import { turn } from "../machine.mjs";
import { compare, inTurns } from "../measurement.mjs";
import { startProgram } from "../programs.mjs";
import { startRow, startSubject } from "../workers.mjs";

const CONNECTIONS = 32;
/** Messages in each mailbox: no more than a contact may leave that nobody has acknowledged. */
const MESSAGES = 30;
/** Mailboxes that each connection fills in a second of a turn. */
const [MAILBOXES_PER_SECOND, MAILBOXES_PER_SECOND_IN_WORKERD] = [3, 1];
/** Of others: one rewrites all that waits for each message, the other answers one message of a client at a time. */
const [HIVEMIND_MESSAGES, WORMHOLE_MESSAGES_PER_SECOND] = [64, 16];
const VARIABLES = {
  EXTERNAL_URLS: RELAY,
  MAILBOXES: "20000",
  ADDRESS_REQUESTS_PER_MINUTE: "100000",
  NETWORK_REQUESTS_PER_MINUTE: "100000",
};

export const deposits = {
  name: "deposits",
  programs: ["rendezvous-native"],
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    return [...(await onCloudflare(context)), ...(await onOneMachine(context))];
  },
};

let sites = 0;
/** An address of a site that nobody else asks from. */
const newAddress = () => `${10 + (sites >> 16)}.${(sites += 1) & 255}.${(sites >> 8) & 255}.1`;

const times = (count, make) => Array.from({ length: count }, (_, number) => make(number));

/**
 * Opens mailboxes, and signs what fills and empties each.
 *
 * @param {string} url
 * @param {{ connections: number, mailboxes: number, messages: number }} options `mailboxes` of each connection.
 */
async function prepare(url, { connections, mailboxes, messages }) {
  return Promise.all(
    times(connections, async () => {
      const requests = { deposits: [], collects: [] };
      for (let count = 0; count < mailboxes; count += 1) {
        const [mailbox, slot] = [new Mailbox(url, { from: newAddress() }), newPeer()];
        const { status, text } = await mailbox.put([slot]);
        assert.equal(status, 201, text);
        const { from, address } = mailbox;
        const request = (rest, body, expect) => ({ path: `/v1/mailboxes/${address}${rest}`, from, body: JSON.stringify(body), expect });
        const messageOf = (number) => mailbox.message(slot, number + 1);
        requests.deposits.push(...times(messages, messageOf).map((message) => request("/messages", message, '"ok":true')));
        const collector = randomBytes(16).toString("base64");
        const collect = (number) => ({
          collect: mailbox.question({ collector, limit: 1 }),
          ...(number > 0 && { acks: [mailbox.ack(slot, number)] }),
        });
        const expect = (number) => `"sequence":${number + 1},`;
        requests.collects.push(...times(messages, (number) => request("/collect", collect(number), expect(number))));
      }
      return requests;
    }),
  );
}

/**
 * @param {boolean} quick
 * @param {{ url: string, pid: number }} server
 * @param {Parameters<typeof play>[0]["connections"]} connections
 * @param {{ connectEach?: boolean }} [options]
 */
async function timed(quick, { url, pid }, connections, options) {
  const { result, ran } = await turn(pid, () => play({ quick, url, connections, ...options }));
  return { perSecond: result.perSecond, micros: ran / result.requests };
}

/** @param {import("../bench.mjs").Context} context */
async function onCloudflare({ quick, rounds, seconds, say }) {
  const rows = { deposits: "a message left in a mailbox", collects: "a message collected, the one before acknowledged" };
  say(rows.deposits);
  const sizes = quick
    ? { connections: 2, mailboxes: 1, messages: 2 }
    : { connections: CONNECTIONS, mailboxes: MAILBOXES_PER_SECOND_IN_WORKERD * seconds, messages: MESSAGES };
  const subject = await startSubject({ ...VARIABLES, DOORS: "v1" });
  const running = [subject];
  try {
    const sample = new Mailbox(subject.url, { from: newAddress() });
    const slot = newPeer();
    await sample.put([slot]);
    const { text: left } = await sample.deposit(sample.message(slot, 1));
    const { text: collected } = await sample.collect();
    const answers = { deposits: left, collects: collected };
    const baselines = {};
    for (const kind of ["deposits", "collects"]) {
      baselines[kind] = await startRow({ answer: answers[kind] });
      running.push(baselines[kind]);
    }
    const [ours, theirs] = await inTurns(rounds, [
      async () => {
        const requests = await prepare(subject.url, sizes);
        const of = (kind) => timed(quick, subject, requests.map((one) => one[kind]));
        return { deposits: await of("deposits"), collects: await of("collects") };
      },
      async () => {
        const requests = await prepare(subject.url, sizes);
        const result = {};
        for (const [kind, baseline] of Object.entries(baselines)) {
          const own = requests.map((one) => one[kind].map(({ path, ...rest }) => ({ ...rest, path: path.replace(/\/[a-z]+$/, ""), expect: "" })));
          // The objects of mailboxes have been made, too.
          await play({ quick, url: baseline.url, connections: own.map((all) => all.filter((_, number) => number % sizes.messages === 0)) });
          result[kind] = await timed(quick, baseline, own);
        }
        return result;
      },
    ]);
    if (quick) return [];
    return Object.entries(rows).flatMap(([kind, row]) => {
      const per = (key) => compare(ours.map((one) => one[kind][key]), theirs.map((one) => one[kind][key]));
      const baselineName = "an empty object in JavaScript that writes the body as one row";
      return [
        { row, unit: "requests/s", ...per("perSecond"), goal: { atLeast: 0.8 }, baselineName },
        { row: "  … processor time", unit: "µs", ...per("micros"), goal: { atMost: 1 / 0.8 } },
      ];
    });
  } finally {
    for (const server of running) await server.stop();
  }
}

/** @param {import("../bench.mjs").Context} context */
async function onOneMachine(context) {
  const { quick, rounds, seconds, say } = context;
  const row = "native, a message left";
  say(row);
  const sizes = quick
    ? { connections: 2, mailboxes: 1, messages: 2 }
    : { connections: CONNECTIONS, mailboxes: MAILBOXES_PER_SECOND * seconds, messages: MESSAGES };
  const program = await startProgram(context, { ...VARIABLES, DOORS: "v1,hivemind" });
  const running = [program];
  const started = (server) => {
    if (server !== undefined) running.push(server);
    return server;
  };
  try {
    const { json: own } = await call(program.url, "/pubkey");
    const nodes = times(sizes.connections, () => new Node(newAddress()));
    const [hivemind, wormhole] = quick ? [] : [started(await startHivemindServer()), started(await startWormholeServer())];
    const { json: theirs } = hivemind ? await call(hivemind.url, "/pubkey") : {};
    const door = { server: program, name: own.pubkey, nodes, messages: sizes.messages };
    const original = hivemind && { server: hivemind, name: theirs.pubkey, nodes: nodes.slice(0, 1), messages: HIVEMIND_MESSAGES, connectEach: true };
    for (const all of [door, original]) if (all) await leftFor(all);
    const sides = {
      mailboxes: async () => timed(quick, program, (await prepare(program.url, sizes)).map((one) => one.deposits)),
      door: () => leave(quick, door),
      hivemind: original && (() => leave(quick, original)),
      wormhole: wormhole && (async () => {
        const count = WORMHOLE_MESSAGES_PER_SECOND * seconds;
        const { result, ran } = await turn(wormhole.pid, () => wormhole.add({ clients: CONNECTIONS, count, bytes: BUCKETS[0] }));
        return { perSecond: result.perSecond, micros: ran / (count * CONNECTIONS) };
      }),
    };
    const names = Object.keys(sides).filter((name) => sides[name] !== undefined);
    const results = await inTurns(rounds, names.map((name) => sides[name]));
    if (quick) return [];
    const of = Object.fromEntries(names.map((name, index) => [name, results[index]]));
    const against = (ours, other, what, baselineName, goals = {}) => {
      if (of[other] === undefined) return [{ row: `${what}: not installed, left out`, unit: "" }];
      const per = (key) => compare(of[ours].map((one) => one[key]), of[other].map((one) => one[key]));
      return [
        { row: what, unit: "messages/s", ...per("perSecond"), baselineName, goal: goals.perSecond },
        { row: "  … processor time", unit: "µs", ...per("micros"), goal: goals.micros },
      ];
    };
    const goals = { perSecond: { atLeast: 20 }, micros: { atMost: 1 / 20 } };
    const [ofHivemind, ofWormhole] = ["no signature, one file of JSON, one message at a time", "no signature, over sockets that are open already"];
    return [
      ...against("mailboxes", "hivemind", `${row} in a mailbox, against hivemind-rendezvous`, ofHivemind, goals),
      ...against("door", "hivemind", `${row} at hivemind-rendezvous' door, against hivemind-rendezvous`, ofHivemind, goals),
      ...against("mailboxes", "wormhole", `${row} in a mailbox, against magic-wormhole-mailbox-server`, ofWormhole),
    ];
  } finally {
    for (const server of running) await server.stop();
  }
}

/**
 * @typedef {{ server: { url: string, pid: number }, name: string, nodes: Node[] }} Relay `name` is what the nodes sign for.
 */

/**
 * Fetches all that waits for each node, which opens its mailbox where it is not.
 *
 * @param {Relay} relay
 * @returns {Promise<number>} How much that was.
 */
async function leftFor({ server, name, nodes }) {
  const fetched = nodes.map(async (node) => {
    const { status, json } = await call(server.url, "/retrieve", { json: node.prove(name), address: node.address });
    assert.equal(status, 200, JSON.stringify(json));
    return json.messages.length;
  });
  return (await Promise.all(fetched)).reduce((sum, count) => sum + count, 0);
}

/**
 * Leaves messages for each node, as many bytes as the smallest that a mailbox takes, and fetches them when the time was taken.
 *
 * @param {boolean} quick
 * @param {Relay & { messages: number, connectEach?: boolean }} of `messages` for each node.
 */
async function leave(quick, of) {
  const { server, nodes, messages, connectEach = false } = of;
  const connections = nodes.map(({ publicKey }) => {
    const from = newAddress();
    const request = () => {
      const payload = payloadOf(randomBytes(BUCKETS[0]).toString("base64"));
      return { path: "/deposit", from, body: JSON.stringify({ payload, target_pubkey: publicKey }), expect: '"ok"' };
    };
    return times(messages, request);
  });
  const result = await timed(quick, server, connections, { connectEach });
  assert.equal(await leftFor(of), messages * nodes.length);
  return result;
}
