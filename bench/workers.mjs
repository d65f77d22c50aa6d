// The Workers that are compared, in workerd, each process on the core of the servers.
//
// Requests go to the Worker itself. Miniflare's own entry Worker, which otherwise stands before it and costs both sides
// the same, would hide differences.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readConfiguration, startWorkerd, workerOptions } from "../tools/beacon.mjs";
import { buildWorker } from "../tools/build.mjs";
import { ROOT } from "../tools/steps.mjs";
import { pinServer } from "./machine.mjs";

const BASELINE = {
  outDir: "target/worker-baseline",
  worker: { crate: "bench/baseline", sources: ["bench/baseline/Cargo.toml", "bench/baseline/src"] },
};
/** Of both, the first is the main module. */
const DRIVER = ["bench/driver.worker.mjs", "src/runtime.js"];
const FLOOR = join(ROOT, "bench/floor.worker.mjs");
const RELAY = join(ROOT, "bench/relay.worker.mjs");
const ROW = join(ROOT, "bench/row.worker.mjs");
const COUNTING = ["counting.worker.mjs", "linear-memory.worker.mjs"].map((file) =>
  fileURLToPath(new URL(file, import.meta.url)),
);

/** Where the two are built. */
export const BEACON_DIRECTORY = join(ROOT, "build");
export const BASELINE_DIRECTORY = join(ROOT, BASELINE.outDir);

/** Builds what is compared. */
export async function buildWorkers() {
  await buildWorker();
  await buildWorker(BASELINE);
}

/**
 * @typedef {object} Server
 * @property {string} url
 * @property {number} pid
 * @property {() => Promise<void>} stop
 */

/** Rows are about communities of any name. */
const VARS = { COMMUNITIES: "*" };

/**
 * The beacon, configured as wrangler.toml says, but for every community.
 *
 * @param {Record<string, string>} [vars] In place of those in wrangler.toml.
 * @returns {Promise<Server>}
 */
export async function startSubject(vars = {}) {
  return startPinned([await workerOptions(BEACON_DIRECTORY, { ...VARS, ...vars })]);
}

/**
 * The Worker that does nothing.
 *
 * @param {{ answer: string, throughObject?: boolean }} options
 * @returns {Promise<Server>}
 */
export async function startBaseline({ answer, throughObject = false }) {
  return startPinned([await baselineOptions(answer, throughObject)]);
}

/**
 * A Worker in plain JavaScript that reads a body, and may compute an equation: see floor.worker.mjs.
 *
 * @param {{ answer: string, verifies: boolean }} options
 * @returns {Promise<Server>}
 */
export async function startFloor({ answer, verifies }) {
  const { compatibility_date: compatibilityDate } = await readConfiguration();
  const modules = [{ type: "ESModule", path: FLOOR }];
  const bindings = { ANSWER: answer, ...(verifies ? { VERIFIES: "yes" } : {}) };
  return startPinned([{ name: "floor", modulesRoot: ROOT, modules, compatibilityDate, bindings }]);
}

/**
 * A Worker and an object in plain JavaScript that pass on what they are sent: see relay.worker.mjs.
 *
 * @returns {Promise<Server>}
 */
export async function startRelay() {
  const { compatibility_date: compatibilityDate, compatibility_flags: compatibilityFlags } = await readConfiguration();
  const modules = [{ type: "ESModule", path: RELAY }];
  const durableObjects = { ROOM: { className: "Room", useSQLite: true } };
  return startPinned([{ name: "relay", modulesRoot: ROOT, modules, compatibilityDate, compatibilityFlags, durableObjects }]);
}

/**
 * A Worker and objects in plain JavaScript that write what they are sent as one row: see row.worker.mjs.
 *
 * @param {{ answer: string }} options
 * @returns {Promise<Server>}
 */
export async function startRow({ answer }) {
  const { compatibility_date: compatibilityDate, compatibility_flags: compatibilityFlags } = await readConfiguration();
  const modules = [{ type: "ESModule", path: ROW }];
  const durableObjects = { OBJECT: { className: "Row", useSQLite: true } };
  const bindings = { ANSWER: answer };
  return startPinned([{ name: "row", modulesRoot: ROOT, modules, compatibilityDate, compatibilityFlags, durableObjects, bindings }]);
}

/**
 * An object behind a Worker that only hands over what it is sent: see driver.worker.mjs.
 *
 * @param {{ of: "beacon" } | { of: "baseline", answer: string }} options
 * @returns {Promise<Server>}
 */
export async function startObject(options) {
  const worker =
    options.of === "beacon" ? await workerOptions(BEACON_DIRECTORY, {}) : await baselineOptions(options.answer, true);
  const [{ className }] = Object.values(worker.durableObjects);
  const { compatibility_date: compatibilityDate } = await readConfiguration();
  return startPinned([
    {
      name: "driver",
      modulesRoot: ROOT,
      modules: DRIVER.map((path) => ({ type: "ESModule", path: join(ROOT, path) })),
      compatibilityDate,
      durableObjects: { COMMUNITY: { className, scriptName: worker.name, useSQLite: true } },
    },
    worker,
  ]);
}

/**
 * The beacon with every call between it and the runtime counted: see counting.worker.mjs.
 *
 * @param {Record<string, string>} vars In place of those in wrangler.toml.
 * @returns {Promise<Server>}
 */
export async function startCounted(vars) {
  const worker = await workerOptions(BEACON_DIRECTORY, vars);
  const wrappers = COUNTING.map((path) => ({ type: "ESModule", path }));
  return startPinned([{ ...worker, modules: [...wrappers, ...worker.modules] }]);
}

/**
 * @param {string} answer
 * @param {boolean} throughObject
 */
async function baselineOptions(answer, throughObject) {
  const { compatibility_date: compatibilityDate } = await readConfiguration();
  return {
    name: "baseline",
    modulesRoot: BASELINE_DIRECTORY,
    modules: [
      { type: "ESModule", path: join(BASELINE_DIRECTORY, "index.js") },
      { type: "CompiledWasm", path: join(BASELINE_DIRECTORY, "index_bg.wasm") },
    ],
    compatibilityDate,
    bindings: { ANSWER: answer, ...(throughObject ? { THROUGH_OBJECT: "yes" } : {}) },
    durableObjects: { EMPTY: { className: "Empty", useSQLite: true } },
  };
}

/**
 * @param {import("miniflare").WorkerOptions[]} workers The first one is asked.
 * @returns {Promise<Server>}
 */
async function startPinned(workers) {
  const [first, ...rest] = workers;
  const { miniflare, workerd, stop } = await startWorkerd({
    host: "127.0.0.1",
    port: 0,
    handleStructuredLogs: () => {},
    workers: [{ ...first, unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] }, ...rest],
  });
  await pinServer(workerd.pid);
  const url = await miniflare.unsafeGetDirectURL(first.name);
  return { url: url.origin, pid: workerd.pid, stop };
}
