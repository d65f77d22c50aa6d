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
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    if (!context.quick) await installComparators();
    return [...(await fanOut(context)), ...(await presence(context))];
  },
};

/** @param {import("../bench.mjs").Context} context */
async function fanOut(context) {
  const { quick, rounds, seconds, say } = context;
  const [viewers, communities] = quick ? [3, COMMUNITIES.slice(0, 1)] : [VIEWERS, COMMUNITIES];
  const length = quick ? 2 : Math.max(seconds, 10);
  const row = `native frame to one of ${viewers} viewers, processor time`;
  say(row);
  /** @type {{ stop: () => Promise<unknown> }[]} */
  const running = [];
  const started = (server) => {
    if (server !== undefined) running.push(server);
    return server;
  };
  try {
    const variables = { COMMUNITIES: communities.join() };
    const watched = started(await startProgram(context, variables));
    const alone = started(await startProgram(context, variables));
    const [ws, nchan] = quick ? [] : [started(await startWs()), started(await startNchan())];
    const watch = (server, path) => {
      const places = communities.map((name) => ({ url: server?.url, path: path(name) }));
      return server && startSockets({ kind: "viewers", count: viewers, places });
    };
    const sockets = {
      watched: started(await watch(watched, (name) => `/live?community=${name}`)),
      ws: started(await watch(ws, (name) => `/${name}`)),
      nchan: started(await watch(nchan, (name) => `/${name}`)),
    };
    const change = ({ url }) => (community) => announceNew(url, community);
    let bytes = 0;
    const pass = ({ url }) => (community) => fetch(`${url}/${community}`, { method: "POST", body: "x".repeat(bytes) });

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
      return { ran, ...result, micros: ran / result.frames };
    };
    // What the announces take by themselves, which a relay does not do.
    const announces = async () => (await turn(alone.pid, () => every(change(alone)))).ran;

    const first = await told(watched, sockets.watched, change(watched));
    bytes = Math.round(first.received / first.frames);
    const sides = {
      native: async () => {
        const [without, result] = [await announces(), await told(watched, sockets.watched, change(watched))];
        return { ...result, micros: (result.ran - without) / result.frames };
      },
      ws: ws && (() => told(ws, sockets.ws, pass(ws))),
      nchan: nchan && (() => told(nchan, sockets.nchan, pass(nchan))),
    };
    const names = Object.keys(sides).filter((name) => sides[name] !== undefined);
    const results = await inTurns(rounds, names.map((name) => sides[name]));
    const of = Object.fromEntries(names.map((name, index) => [name, results[index].map(({ micros }) => micros)]));
    if (quick) return [];
    const against = (name, what, goal) =>
      of[name] === undefined
        ? { row: `${row}, against ${what}: not installed, left out`, unit: "" }
        : { row: `${row}, against ${what}`, unit: "µs", ...compare(of.native, of[name]), baselineName: "the same bytes", goal };
    const frameBytes = median(results[0].map(({ received, frames }) => received / frames));
    return [
      against("ws", "ws", { atMost: 1.5 }),
      against("nchan", "nginx + nchan"),
      { row: "  … bytes of such a frame", unit: "bytes", subject: frameBytes },
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
