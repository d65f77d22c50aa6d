// What a month costs on Cloudflare's published prices (prices.json), from counters of a real run in real time.

import assert from "node:assert/strict";
import { setMaxListeners } from "node:events";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { interruption } from "../../tools/steps.mjs";
import { announce } from "../../tests/http.mjs";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { startSockets } from "../load.mjs";
import { processorUse } from "../machine.mjs";
import { startCounted } from "../workers.mjs";

const MONTH_DAYS = 30;
const DAY_SECONDS = 86_400;
const MINUTES_A_DAY = DAY_SECONDS / 60;
const COMMUNITIES = [1, 100, 10_000];
/**
 * Peers join within the average of what the beacon asks them to wait between two announces, so that these are spread evenly
 * over the time that counts. Over HTTP that is twice as long as a ticket lives, which is how often an alarm comes: one row
 * more or less is then 240 a day. Over sockets it is twice that average, which is 0.85 of 180 s: one connection more or less is
 * then 282 a day.
 */
const HTTP_SECONDS = { join: 60, window: 360 };
const SOCKET_SECONDS = { join: 153, window: 306 };
const QUICK_SECONDS = { join: 1, window: 11 };

/**
 * Peers of a community, and how many such communities the average is of: in a small one, chance decides how long its
 * object is awake.
 */
const SIZES = {
  http: [
    { size: 10, communities: 10 },
    { size: 200, communities: 1 },
  ],
  sockets: [
    { size: 10, communities: 10 },
    { size: 50, communities: 2 },
    { size: 200, communities: 1 },
  ],
};
const QUICK_SIZES = {
  http: [
    { size: 2, communities: 2 },
    { size: 5, communities: 1 },
  ],
  sockets: [{ size: 3, communities: 2 }],
};

/** Names of what is billed, as in prices.json. */
const BILLED = ["requests", "processorMs", "objectRequests", "gigabyteSeconds", "rowsRead", "rowsWritten", "storedGigabytes"];

/** What a full community on sockets may use in a day, and a million minutes of one peer in it. */
const MOST = { objectRequests: 15_000, gigabyteSeconds: 100, rowsWritten: 2_000 };
const LEAST_FREE = 5;
const MOST_CENTS = 3;

export const cost = {
  name: "cost",
  /** @param {import("../bench.mjs").Context} context */
  async run({ quick, say }) {
    const prices = JSON.parse(await readFile(new URL("../prices.json", import.meta.url), "utf8"));
    const sizes = quick ? QUICK_SIZES : SIZES;
    const [http, sockets] = quick ? [QUICK_SECONDS, QUICK_SECONDS] : [HTTP_SECONDS, SOCKET_SECONDS];
    const described = Object.entries(sizes).map(
      ([how, all]) => `over ${how} ${all.map(({ size, communities }) => `${communities} of ${size} peers`).join(", ")}`,
    );
    say(`cost: communities for ${http.join + http.window} s: ${described.join("; ")}`);
    // Each size on sockets has a process of its own, which is how the time is known in which its objects run.
    const upkeep = measureUpkeep(http);
    const [overHttp, ...overSockets] = await Promise.all([
      countHttp(sizes.http, http, prices, upkeep),
      ...sizes.sockets.map((one) => countSockets(one, sockets, prices, upkeep)),
    ]);
    if (quick) return [];
    return [
      ...sizes.http.flatMap((one, at) => rowsOf(`a community of ${one.size}`, one.size, overHttp[at], prices, { rowsWritten: 10_000 })),
      ...sizes.sockets.flatMap(({ size }, at) => rowsOfSockets(size, overSockets[at], prices)),
    ];
  },
};

/**
 * @param {{ join: number, window: number }} seconds
 * @returns {Promise<number>} The part of its time for which a workerd runs to which nobody comes.
 */
async function measureUpkeep({ join, window }) {
  const server = await startCounted({});
  try {
    await delay(join * 1000);
    const before = await read(server);
    await delay(window * 1000);
    const after = await read(server);
    return (after.processorMs - before.processorMs) / (after.at - before.at);
  } finally {
    await server.stop();
  }
}

/**
 * @param {{ size: number, communities: number }[]} sizes
 * @param {{ join: number, window: number }} seconds
 * @param {Promise<number>} upkeep
 * @returns {Promise<Usage[]>} Of one community of each size whose peers ask over HTTP.
 */
async function countHttp(sizes, { join, window }, prices, upkeep) {
  const server = await startCounted({ COMMUNITIES: sizes.flatMap(namesOf).join() });
  const end = new AbortController();
  const { signal } = end;
  // Not by `AbortSignal.any`, of which a listener alone keeps nothing alive.
  interruption.addEventListener("abort", () => end.abort(), { once: true });
  // Each peer waits for it.
  setMaxListeners(0, signal);
  try {
    const peers = sizes.flatMap((one) =>
      namesOf(one).flatMap((name) => Array.from({ length: one.size }, () => stayPresent(server.url, name, join, signal))),
    );
    const failed = Promise.all(peers);
    await Promise.race([delay(join * 1000), failed]);
    const before = await read(server);
    await Promise.race([delay(window * 1000), failed]);
    const after = await read(server);
    end.abort();
    await failed;
    for (const name of sizes.flatMap(namesOf)) {
      const { rowsWritten, alarmsSet } = after.counters.communities[name];
      assert.ok(rowsWritten > 0 && alarmsSet > 0, `nothing was written for ${name}`);
    }
    const runsAlone = await upkeep;
    const usages = sizes.map((one) => usageADay(namesOf(one), before, after, prices, runsAlone));
    for (const { waitedGigabyteSeconds } of usages) assert.ok(waitedGigabyteSeconds > 0, "no object was awake");
    return usages;
  } finally {
    end.abort();
    await server.stop();
  }
}

/**
 * @param {{ size: number, communities: number }} one
 * @param {{ join: number, window: number }} seconds
 * @param {Promise<number>} upkeep
 * @returns {Promise<Usage>} Of one community whose peers hold sockets.
 */
async function countSockets(one, { join, window }, prices, upkeep) {
  const names = namesOf(one);
  const server = await startCounted({ COMMUNITIES: names.join() });
  let sockets;
  try {
    const places = names.map((name) => ({ url: server.url, path: `/live?community=${name}` }));
    sockets = await startSockets({ kind: "residents", count: one.size, places, joinMs: join * 1000 });
    const before = await read(server);
    await sockets.count(window);
    const after = await read(server);
    for (const name of names) {
      const { objectRequests, socketMessages } = after.counters.communities[name];
      // Each peer has opened a connection, announced, and bound it.
      assert.ok(objectRequests >= one.size && socketMessages >= 2 * one.size, `too little has come to ${name}`);
    }
    return usageADay(names, before, after, prices, await upkeep);
  } finally {
    await sockets?.stop();
    await server.stop();
  }
}

/** @param {{ size: number, communities: number }} one */
const namesOf = ({ size, communities }) => Array.from({ length: communities }, (_, number) => `of-${size}-${number}`);

/**
 * A peer that does as the beacon asks.
 *
 * @param {string} url
 * @param {string} community
 * @param {number} joinSeconds
 * @param {AbortSignal} signal
 */
async function stayPresent(url, community, joinSeconds, signal) {
  const peer = newPeer();
  const address = `10.${Math.floor(Math.random() * 256)}.${Math.floor(Math.random() * 256)}.1`;
  try {
    await delay(Math.random() * joinSeconds * 1000, undefined, { signal });
    for (;;) {
      const { status, text, json } = await announce(url, signTicket(peer), { community, address });
      assert.equal(status, 200, text);
      await delay(json.announceAfterMs, undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** @param {import("../workers.mjs").Server} server */
async function read({ url, pid }) {
  const counters = await (await fetch(`${url}/counters`)).json();
  return { at: performance.now(), counters, processorMs: (await processorUse(pid)).ran / 1000 };
}

/**
 * @typedef {Record<string, number>} Usage What one community uses in a day, by the names in prices.json; and by others what
 *   there are several readings of.
 */

/**
 * @param {string[]} names
 * @param {number} upkeep The part of its time for which workerd runs by itself.
 * @returns {Usage} Of one of these communities, on average.
 */
function usageADay(names, before, after, prices, upkeep) {
  const scale = (DAY_SECONDS * 1000) / (after.at - before.at);
  const mean = ({ counters }, key) =>
    names.reduce((sum, name) => sum + (counters.communities[name]?.[key] ?? 0), 0) / names.length;
  const grown = (key) => (mean(after, key) - mean(before, key)) * scale;
  const gigabyteSeconds = (millis) => Math.min(millis / 1000, DAY_SECONDS) * prices.gigabytesOfAnActiveObject;
  // Peers here only announce and open connections, and the Worker hands each of these over.
  const requests = grown("objectRequests");
  const all = (after.counters.requests - before.counters.requests) * scale;
  // All that the process used but for its upkeep, of the Worker and of objects: more than would be billed for either.
  const ran = Math.max(0, after.processorMs - before.processorMs - upkeep * (after.at - before.at));
  const processorMs = ran * scale * (all > 0 ? requests / all : 1 / names.length);
  const [waitedMs, idleMs, messages] = [grown("waitedMs"), grown("idleMs"), grown("socketMessages")];
  return {
    requests,
    processorMs,
    objectRequests: requests + grown("alarms") + messages / prices.socketMessagesARequest,
    objectRequestsOfMessages: requests + grown("alarms") + messages,
    gigabyteSeconds: gigabyteSeconds(waitedMs + processorMs),
    waitedGigabyteSeconds: gigabyteSeconds(waitedMs),
    gigabyteSecondsInMemory: gigabyteSeconds(waitedMs + processorMs + idleMs),
    rowsRead: grown("rowsRead"),
    // Setting an alarm is billed as a row.
    rowsWritten: grown("rowsWritten") + grown("alarmsSet"),
    storedGigabytes: mean(after, "storedBytes") / 1e9,
  };
}

/**
 * @param {string} community
 * @param {number} size
 * @param {Usage} usage
 * @param {Record<string, number>} most What it may use.
 */
function rowsOf(community, size, usage, { paid, freeADay }, most) {
  const counted = ["requests", "objectRequests", "gigabyteSeconds", "rowsRead", "rowsWritten"].map((name) => ({
    row: `${community}, a day: ${name}`,
    unit: "",
    subject: usage[name],
    goal: most[name] && { valueAtMost: most[name] },
  }));
  const months = COMMUNITIES.map((communities) => {
    const bill = BILLED.map((name) => {
      // What is stored is billed for the month, everything else adds up from day to day.
      const used = usage[name] * communities * (name === "storedGigabytes" ? 1 : MONTH_DAYS);
      return [name, (Math.max(0, used - paid[name].included) * paid[name].dollarsAMillion) / 1e6];
    });
    const total = bill.reduce((sum, [, dollars]) => sum + dollars, paid.dollarsAMonth);
    const [largest, dollars] = bill.reduce((most, entry) => (entry[1] > most[1] ? entry : most));
    const mostly = dollars > 0 ? `, mostly ${largest}` : "";
    const which = communities === 1 ? community : `${communities} such`;
    return { row: `${which}, a month, paid plan${mostly}`, unit: "$", subject: total };
  });
  const carried = Object.entries(freeADay).map(([name, limit]) => [name, limit / usage[name]]);
  const [scarce, least] = carried.reduce((one, other) => (other[1] < one[1] ? other : one));
  const goal = most.gigabyteSeconds && { valueAtLeast: LEAST_FREE };
  const free = { row: `${community}: such that the free plan carries (limit: ${scarce})`, unit: "", subject: least, goal };
  return [...counted, ...months, free];
}

/**
 * @param {number} size
 * @param {Usage} usage
 */
function rowsOfSockets(size, usage, prices) {
  const community = `a community of ${size} on sockets`;
  const most = size === 200 ? MOST : {};
  const dearest = {
    ...usage,
    objectRequests: usage.objectRequestsOfMessages,
    gigabyteSeconds: usage.gigabyteSecondsInMemory,
  };
  const goal = size === 200 ? { valueAtMost: MOST_CENTS } : undefined;
  return [
    ...rowsOf(community, size, usage, prices, most),
    { row: "  … objectRequests, were each message one", unit: "", subject: usage.objectRequestsOfMessages },
    { row: "  … gigabyteSeconds, of these while it waits", unit: "", subject: usage.waitedGigabyteSeconds },
    { row: "  … gigabyteSeconds, were it billed while it could hibernate", unit: "", subject: usage.gigabyteSecondsInMemory },
    { row: "  … a million minutes of a peer, beyond what plans include", unit: "cents", subject: centsOf(size, usage, prices), goal },
    { row: "  … the same in the dearest reading", unit: "cents", subject: centsOf(size, dearest, prices) },
  ];
}

/**
 * @param {number} size
 * @param {Usage} usage
 * @returns {number} What a million minutes of one peer are billed, were nothing included in a plan, in cents.
 */
function centsOf(size, usage, { paid }) {
  const aDay = BILLED.reduce((sum, name) => {
    const used = usage[name] / (name === "storedGigabytes" ? MONTH_DAYS : 1);
    return sum + (used * paid[name].dollarsAMillion) / 1e6;
  }, 0);
  return (100 * aDay * 1e6) / (size * MINUTES_A_DAY);
}
