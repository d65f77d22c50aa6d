// What a month costs on Cloudflare's published prices (prices.json), from counters of a real run in real time.

import assert from "node:assert/strict";
import { setMaxListeners } from "node:events";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { interruption } from "../../tools/steps.mjs";
import { announce } from "../../tests/http.mjs";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { processorUse } from "../machine.mjs";
import { startCounted } from "../workers.mjs";

const MONTH_DAYS = 30;
const DAY_SECONDS = 86_400;
const COMMUNITIES = [1, 100, 10_000];
/** Peers join within this time, the average of what the beacon asks them to wait between two announces. */
const JOIN_SECONDS = 60;
/** Twice as long as a ticket lives, which is how often an alarm comes: one row more or less is then 240 a day. */
const WINDOW_SECONDS = 360;

/**
 * Peers of a community, and how many such communities the average is of: in a small one, chance decides how long its
 * object is awake.
 */
const SIZES = [
  { size: 10, communities: 10 },
  { size: 200, communities: 1 },
];
const QUICK_SIZES = [
  { size: 2, communities: 2 },
  { size: 5, communities: 1 },
];

/** Names of what is billed, as in prices.json. */
const BILLED = ["requests", "processorMs", "objectRequests", "gigabyteSeconds", "rowsRead", "rowsWritten", "storedGigabytes"];

export const cost = {
  name: "cost",
  /** @param {import("../bench.mjs").Context} context */
  async run({ quick, say }) {
    const prices = JSON.parse(await readFile(new URL("../prices.json", import.meta.url), "utf8"));
    const sizes = quick ? QUICK_SIZES : SIZES;
    const [join, window] = quick ? [1, 11] : [JOIN_SECONDS, WINDOW_SECONDS];
    const described = sizes.map(({ size, communities }) => `${communities} of ${size} peers`).join(", ");
    say(`cost: communities for ${join + window} s: ${described}`);
    const server = await startCounted({ COMMUNITIES: sizes.flatMap(namesOf).join() });
    const end = new AbortController();
    const signal = AbortSignal.any([end.signal, interruption]);
    // Each peer waits for it.
    setMaxListeners(0, signal);
    try {
      const peers = sizes.flatMap((one) =>
        namesOf(one).flatMap((name) =>
          Array.from({ length: one.size }, () => stayPresent(server.url, name, join, signal)),
        ),
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
      const usages = new Map(sizes.map((one) => [one.size, usageADay(namesOf(one), before, after, prices)]));
      for (const [size, usage] of usages) assert.ok(usage.gigabyteSeconds > 0, `no object of ${size} was awake`);
      return quick ? [] : [...usages].flatMap(([size, usage]) => rowsOf(size, usage, prices));
    } finally {
      end.abort();
      await server.stop();
    }
  },
};

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
 * @param {string[]} names
 * @returns {Record<string, number>} What one of these communities uses in a day, on average.
 */
function usageADay(names, before, after, prices) {
  const scale = (DAY_SECONDS * 1000) / (after.at - before.at);
  const mean = ({ counters }, key) =>
    names.reduce((sum, name) => sum + (counters.communities[name]?.[key] ?? 0), 0) / names.length;
  const grown = (key) => (mean(after, key) - mean(before, key)) * scale;
  // Peers here only announce, and the Worker hands each announce over.
  const requests = grown("objectRequests");
  const all = (after.counters.requests - before.counters.requests) * scale;
  return {
    requests,
    // All that the process used, its own upkeep included: more than would be billed.
    processorMs: ((after.processorMs - before.processorMs) * scale * requests) / all,
    objectRequests: requests + grown("alarms"),
    gigabyteSeconds: (grown("activeMs") / 1000) * prices.gigabytesOfAnActiveObject,
    rowsRead: grown("rowsRead"),
    // Setting an alarm is billed as a row.
    rowsWritten: grown("rowsWritten") + grown("alarmsSet"),
    storedGigabytes: mean(after, "storedBytes") / 1e9,
  };
}

/**
 * @param {number} size
 * @param {Record<string, number>} usage
 */
function rowsOf(size, usage, { paid, freeADay }) {
  const community = `a community of ${size}`;
  const counted = ["requests", "objectRequests", "gigabyteSeconds", "rowsRead", "rowsWritten"].map((name) => ({
    row: `${community}, a day: ${name}`,
    unit: "",
    subject: usage[name],
    goal: name === "rowsWritten" ? { valueAtMost: 10_000 } : undefined,
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
    const which = `${communities} ${communities === 1 ? "community" : "communities"} of ${size}`;
    return { row: `${which}, a month, paid plan${mostly}`, unit: "$", subject: total };
  });
  const carried = Object.entries(freeADay).map(([name, limit]) => [name, limit / usage[name]]);
  const [scarce, least] = carried.reduce((one, other) => (other[1] < one[1] ? other : one));
  const free = { row: `communities of ${size} that the free plan carries (limit: ${scarce})`, unit: "", subject: least };
  return [...counted, ...months, free];
}
