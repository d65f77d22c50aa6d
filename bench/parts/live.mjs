// Live presence: what it takes to tell 200 viewers, how soon the last of them knows, and how many bytes that is.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { announce } from "../../tests/http.mjs";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { installComparators, startNchan, startWs } from "../comparators.mjs";
import { startSockets } from "../load.mjs";
import { turn } from "../machine.mjs";
import { compare, inTurns, median } from "../measurement.mjs";
import { startProgram } from "../programs.mjs";
import { startRelay, startSubject } from "../workers.mjs";

const VIEWERS = 200;
/** So many that the kernel's account of a turn is thousands of frames. */
const COMMUNITIES = ["live-0", "live-1", "live-2", "live-3"];
/** What comes more often waits, and comes together. */
const FRAME_MS = 1_000;
/** Of the peers that are present, as many go in a minute, and others come. */
const CHURN_A_MINUTE = 0.1;
/** As long as a ticket lives, so that each peer has renewed its own. */
const PRESENT_SECONDS = 180;

export const live = {
  name: "live",
  programs: ["rendezvous-native"],
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    if (!context.quick) await installComparators();
    const { quick } = context;
    const unread = (bytes) => "x".repeat(bytes);
    const native = {
      name: "native",
      start: (variables) => startProgram(context, variables),
      relays: quick
        ? []
        : [
            { name: "ws", start: startWs, bodyOf: unread, goal: { atMost: 1.5 } },
            { name: "nginx + nchan", start: startNchan, bodyOf: unread },
          ],
    };
    const worker = {
      name: "the Worker's",
      start: (variables) => startSubject({ ...variables, LIVE_FRAMES: "0" }),
      relays: [{ name: "a Worker and an object in JavaScript", start: startRelay, bodyOf: acknowledged, goal: { atMost: 1 / 0.85 } }],
    };
    return [...(await fanOut(context, native)), ...(await fanOut(context, worker)), ...(await presence(context))];
  },
};

/** A text of so many bytes that clients acknowledge, as they do a frame. */
const acknowledged = (bytes) => JSON.stringify({ t: "delta", position: "00000000-1700000000000" }).padEnd(bytes);

/**
 * @typedef {object} Server
 * @property {string} url
 * @property {number} pid
 * @property {() => Promise<unknown>} stop
 */

/**
 * What one frame to one viewer takes, and the same bytes to the same sockets elsewhere.
 *
 * @param {import("../bench.mjs").Context} context
 * @param {object} host
 * @param {string} host.name
 * @param {(variables: Record<string, string>) => Promise<Server>} host.start
 * @param {{ name: string, start: () => Promise<Server | undefined>, bodyOf: (bytes: number) => string, goal?: object }[]} host.relays
 */
async function fanOut(context, { name, start, relays }) {
  const { quick, rounds, seconds, say } = context;
  const [viewers, communities] = quick ? [3, COMMUNITIES.slice(0, 1)] : [VIEWERS, COMMUNITIES];
  const length = quick ? 2 : Math.max(seconds, 10);
  const row = `${name} frame to one of ${viewers} viewers, processor time`;
  say(row);
  /** @type {{ stop: () => Promise<unknown> }[]} */
  const running = [];
  const started = (server) => {
    if (server !== undefined) running.push(server);
    return server;
  };
  try {
    const variables = { COMMUNITIES: communities.join() };
    const watch = async (server, pathOf) => {
      const places = communities.map((community) => ({ url: server.url, path: pathOf(community) }));
      return started(await startSockets({ kind: "viewers", count: viewers, places }));
    };
    const watched = started(await start(variables));
    const alone = started(await start(variables));
    const sockets = await watch(watched, (community) => `/live?community=${community}`);
    const others = [];
    for (const relay of relays) {
      const server = started(await relay.start());
      others.push({ ...relay, server, sockets: server && (await watch(server, (community) => `/${community}`)) });
    }

    /** Does something to each community as often as frames are sent. */
    const every = async (work) => {
      for (let second = 0; second < length; second += FRAME_MS / 1000) {
        await Promise.all([...communities.map(work), delay(FRAME_MS)]);
      }
    };
    const told = async (server, client, work) => {
      const { result, ran } = await turn(server.pid, async () => {
        const counting = client.count(length + 2);
        await every(work);
        return counting;
      });
      assert.ok(result.frames > 0, `nobody was told anything by ${server.url}`);
      return { ran, ...result };
    };
    const change = ({ url }) => (community) => announceNew(url, community);
    const pass = ({ url }, path, body) => (community) => fetch(`${url}/${path}${community}`, { method: "POST", body });

    const first = await told(watched, sockets, change(watched));
    const bytes = Math.round(first.received / first.frames);
    /** What a frame takes, without what the same changes take where nobody watches. */
    const micros = async (server, client, work, workAlone) => {
      const without = await workAlone();
      const { ran, frames, received } = await told(server, client, work);
      return { micros: (ran - without) / frames, bytes: received / frames };
    };
    const present = others.filter(({ server }) => server !== undefined);
    const sides = [
      () => micros(watched, sockets, change(watched), async () => (await turn(alone.pid, () => every(change(alone)))).ran),
      ...present.map(({ server, sockets: client, bodyOf }) => () => {
        const body = bodyOf(bytes);
        const toNobody = async () => (await turn(server.pid, () => every(pass(server, "nobody-", body)))).ran;
        return micros(server, client, pass(server, "", body), toNobody);
      }),
    ];
    const [own, ...theirs] = await inTurns(rounds, sides);
    if (quick) return [];
    const values = (results) => results.map((result) => result.micros);
    const valuesOf = new Map(present.map(({ name }, at) => [name, values(theirs[at])]));
    return [
      ...others.map(({ name, goal }) =>
        valuesOf.has(name)
          ? { row: `${row}, against ${name}`, unit: "µs", ...compare(values(own), valuesOf.get(name)), baselineName: "the same bytes", goal }
          : { row: `${row}, against ${name}: not installed, left out`, unit: "" },
      ),
      { row: "  … bytes of such a frame", unit: "bytes", subject: median(own.map((result) => result.bytes)) },
    ];
  } finally {
    for (const server of running.reverse()) await server.stop();
  }
}

/**
 * Peers that hold a socket each, announce over it, and go one by one while others come.
 *
 * @param {import("../bench.mjs").Context} context
 */
async function presence(context) {
  const { quick, say } = context;
  const [peers, length] = quick ? [5, 4] : [VIEWERS, PRESENT_SECONDS];
  say(`native, ${peers} peers for ${length} s, of whom ${CHURN_A_MINUTE * 100} % a minute are others`);
  const program = await startProgram(context, { COMMUNITIES: "live" });
  let sockets;
  try {
    const place = { url: program.url, path: "/live?community=live" };
    const everyMs = quick ? 500 : 60_000 / (peers * CHURN_A_MINUTE);
    sockets = await startSockets({ kind: "peers", count: peers, places: [place], everyMs });
    // Their first announces are not what is measured.
    await sockets.count(quick ? 1 : 15);
    const { result, ran } = await turn(program.pid, () => sockets.count(length));
    assert.ok(result.seen > 0, "nobody was seen by all");
    if (quick) return [];
    const peerMinutes = (peers * length) / 60;
    const others = `${CHURN_A_MINUTE * 100} % others each minute`;
    return [
      { row: `native announce, until the last of ${peers} knows, p50`, unit: "ms", subject: result.p50 },
      { row: `  … p99, of ${result.seen}`, unit: "ms", subject: result.p99 },
      { row: `native bytes to one of ${peers} peers in a minute, ${others}`, unit: "bytes", subject: result.received / peerMinutes },
      { row: "  … from it", unit: "bytes", subject: result.sent / peerMinutes },
      { row: "  … processor time", unit: "µs", subject: ran / peerMinutes },
    ];
  } finally {
    await sockets?.stop();
    await program.stop();
  }
}

let networks = 0;

/** A peer nobody has seen, from a network of its own, announces. */
async function announceNew(url, community) {
  networks += 1;
  const address = `10.${(networks >> 8) % 256}.${networks % 256}.1`;
  const { status, text } = await announce(url, signTicket(newPeer(), { community }), { community, address });
  assert.equal(status, 200, text);
}
