// What a Worker weighs: to upload, to start, and in memory.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { ROOT } from "../../tools/steps.mjs";
import { drive } from "../load.mjs";
import { processorUse, residentBytes } from "../machine.mjs";
import { compare, inTurns } from "../measurement.mjs";
import { BASELINE_DIRECTORY, BEACON_DIRECTORY, startBaseline, startCounted, startSubject } from "../workers.mjs";

const COMMUNITIES = 100;
const PEERS = 200;
/** What the beacon uploads besides what worker-build made. */
const ENTRY = join(ROOT, "src/entry.js");

export const size = {
  name: "size",
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    return [gzip(), ...(await startUp(context)), ...(await memory(context))];
  },
};

function gzip() {
  const kilobytes = (directory, ...others) =>
    [join(directory, "index_bg.wasm"), join(directory, "index.js"), ...others]
      .map((file) => gzipSync(readFileSync(file)).length / 1000)
      .reduce((sum, size) => sum + size, 0);
  const sizes = compare([kilobytes(BEACON_DIRECTORY, ENTRY)], [kilobytes(BASELINE_DIRECTORY)]);
  return { row: "Worker with gzip", unit: "kB", ...sizes, goal: { atMost: 2 } };
}

/** @param {import("../bench.mjs").Context} context */
async function startUp({ rounds, say }) {
  say("start-up");
  const once = async (start, path) => {
    const started = performance.now();
    const server = await start();
    try {
      const response = await fetch(server.url + path);
      assert.equal(response.status, 200);
      await response.arrayBuffer();
      return { wall: performance.now() - started, processor: (await processorUse(server.pid)).ran / 1000 };
    } finally {
      await server.stop();
    }
  };
  const [ours, theirs] = await inTurns(rounds, [
    () => once(startSubject, "/healthz"),
    () => once(() => startBaseline({ answer: "{}" }), "/"),
  ]);
  const per = (key) => compare(ours.map((one) => one[key]), theirs.map((one) => one[key]));
  return [
    { row: "start of workerd to the first answer", unit: "ms", ...per("wall"), goal: { atMost: 2 } },
    { row: "  … processor time", unit: "ms", ...per("processor"), goal: { atMost: 2 } },
  ];
}

/** @param {import("../bench.mjs").Context} context */
async function memory({ quick, say }) {
  const [communities, peers] = quick ? [3, 5] : [COMMUNITIES, PEERS];
  const row = `memory with ${communities} communities of ${peers}`;
  say(row);
  const requests = communities * peers;
  const fill = async (server) => {
    const { statuses } = await drive({ quick, url: `${server.url}/announce`, kind: "announce", requests, communities });
    assert.deepEqual(statuses, { 200: requests });
    // What is only garbage has time to go.
    await delay(quick ? 0 : 3_000);
    return (await residentBytes(server.pid)) / 1e6;
  };
  const subject = await startCounted({ COMMUNITIES: "*" });
  let ours;
  let linear;
  try {
    ours = await fill(subject);
    linear = (await (await fetch(`${subject.url}/counters`)).json()).linearMemoryBytes / 1e6;
  } finally {
    await subject.stop();
  }
  const baseline = await startBaseline({ answer: "x".repeat(22_000), throughObject: true });
  const theirs = await fill(baseline).finally(() => baseline.stop());
  return [
    { row: `${row}: the whole of workerd`, unit: "MB", ...compare([ours], [theirs]), goal: { atMost: 2 } },
    // Cloudflare ends an isolate that has more than 128 MB of everything.
    { row: "  … the isolate's linear memory", unit: "MB", subject: linear, goal: { valueAtMost: 128 } },
  ];
}
