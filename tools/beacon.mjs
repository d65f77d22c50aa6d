// Runs the built Worker in workerd, the runtime that Cloudflare runs it in, on a port of this machine.
//
// Bindings, compatibility date and [vars] are those of wrangler.toml. It neither installs nor builds anything:
// toolchain.mjs and build.mjs do.

import { execFile, spawn } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { Failure, ROOT } from "./steps.mjs";

/**
 * @typedef {object} Beacon
 * @property {string} url Where it answers, without a slash at the end.
 * @property {import("miniflare").Miniflare} miniflare
 * @property {import("node:child_process").ChildProcess} workerd To watch. It must not be killed but by `crash`.
 * @property {() => Promise<void>} crash Kills workerd outright, and stops the rest. One that is dead already is no trouble.
 * @property {() => Promise<void>} stop
 */

/** @type {Promise<import("wrangler").Unstable_Config> | undefined} */
let configuration;

/**
 * The settings of a deployed beacon: wrangler.toml as wrangler itself reads it, once.
 *
 * @returns {Promise<import("wrangler").Unstable_Config>}
 */
export function readConfiguration() {
  return (configuration ??= readWithWrangler());
}

async function readWithWrangler() {
  // In a process of its own: loading wrangler sets a proxy for every later fetch() of the process that does.
  const script =
    'import { unstable_readConfig } from "wrangler";' +
    'process.stdout.write(JSON.stringify(unstable_readConfig({ config: "wrangler.toml" })));';
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], { cwd: ROOT });
  return JSON.parse(stdout);
}

/**
 * @param {object} [options]
 * @param {number} [options.port] 0 for any that is free.
 * @param {string} [options.host]
 * @param {Record<string, string>} [options.vars] In place of those in wrangler.toml.
 * @param {string} [options.persist] Directory that keeps the Durable Objects' state. By default it ends with the beacon.
 * @param {boolean} [options.staysAwake] Keeps every object in memory, so that what is not stored is there as long as this runs.
 * @param {string} [options.buildDir] The directory that `buildWorker` returned.
 * @param {(line: string) => void} [options.log] Gets what the Worker and workerd log.
 * @returns {Promise<Beacon>}
 */
export function startBeacon(options) {
  // One after the other: which workerd belongs to which beacon shows only in the order in which they start.
  const beacon = starting.then(() => start(options));
  starting = beacon.catch(() => {});
  return beacon;
}

/** @type {Promise<unknown>} */
let starting = Promise.resolve();

/** @param {Parameters<typeof startBeacon>[0]} options */
async function start({
  port = 0,
  host = "127.0.0.1",
  vars = {},
  persist,
  staysAwake = false,
  buildDir = join(ROOT, "build"),
  log = () => {},
} = {}) {
  return startWorkerd({
    ...(await workerOptions(buildDir, vars, { staysAwake })),
    host,
    port,
    durableObjectsPersist: persist === undefined ? false : resolve(persist),
    handleStructuredLogs: ({ message }) => void log(message),
  });
}

/**
 * What Miniflare is told of the beacon's Worker.
 *
 * @param {string} buildDir
 * @param {Record<string, string>} vars In place of those in wrangler.toml.
 * @param {{ staysAwake?: boolean }} [options]
 * @returns {Promise<import("miniflare").WorkerOptions>}
 */
export async function workerOptions(buildDir, vars, { staysAwake = false } = {}) {
  const settings = await readConfiguration();
  // Under the name by which the first imports it, wherever it was built.
  const built = async (type, file) => ({
    type,
    path: join(ROOT, "build", file),
    contents: await readFile(join(buildDir, file)),
  });
  const sqliteClasses = settings.migrations.flatMap((migration) => migration.new_sqlite_classes ?? []);
  return {
    name: settings.name,
    modulesRoot: ROOT,
    modules: [
      { type: "ESModule", path: settings.main },
      await built("ESModule", "index.js"),
      await built("CompiledWasm", "index_bg.wasm"),
    ],
    compatibilityDate: chosenRuntime().newestDate ?? settings.compatibility_date,
    compatibilityFlags: settings.compatibility_flags,
    bindings: { ...settings.vars, ...vars },
    // The files as they lie there: the Worker gives them their headers. Cloudflare serves most of them without it.
    serviceBindings: { [settings.assets.binding]: { disk: { path: join(ROOT, settings.assets.directory), writable: false } } },
    durableObjects: Object.fromEntries(
      settings.durable_objects.bindings.map(({ name, class_name: className }) => [
        name,
        { className, useSQLite: sqliteClasses.includes(className), unsafePreventEviction: staysAwake },
      ]),
    ),
  };
}

let lastStart = Promise.resolve();

/**
 * Starts workerd, with whatever Workers. One starts after the other: each takes for its own the first workerd that begins
 * meanwhile.
 *
 * @param {import("miniflare").MiniflareOptions} options
 * @returns {Promise<Beacon>}
 */
export function startWorkerd(options) {
  const started = lastStart.then(() => startAlone(options));
  lastStart = started.catch(() => {});
  return started;
}

async function startAlone(options) {
  const { Miniflare } = await import(chosenRuntime().miniflare);
  const children = [];
  const remember = ({ process: child }) => children.push(child);
  subscribe("child_process", remember);
  const restoreSignals = keepSignalListeners();
  const miniflare = new Miniflare({
    // Miniflare would look up this machine's place on the network for `request.cf`, or make one up: an autonomous system
    // in which all peers were.
    cf: {},
    logRequests: false,
    ...options,
  });
  restoreSignals();

  let url;
  try {
    url = await miniflare.ready;
  } catch (error) {
    await miniflare.dispose().catch(() => {});
    throw error;
  } finally {
    unsubscribe("child_process", remember);
  }
  const workerd = children.find((child) => child.spawnfile.includes("workerd"));
  const exited = endOf(workerd);
  const guard = guardAgainstOrphan(workerd.pid);
  let stopped;
  const stop = () => (stopped ??= end());
  const end = async () => {
    await miniflare.dispose();
    await exited;
    guard.kill();
  };

  return {
    url: url.origin,
    miniflare,
    workerd,
    async crash() {
      // Miniflare first, which would start a workerd that died by itself once more, on the same port and the same state.
      const disposed = stop();
      workerd.kill("SIGKILL");
      await disposed;
    },
    stop,
  };
}

/**
 * From the beginning: who only listens when it is dead waits for ever.
 *
 * @param {import("node:child_process").ChildProcess} child
 * @returns {Promise<void>}
 */
async function endOf(child) {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

/**
 * Returns which workerd the variable WORKERD asks for: today's unless it is there, and "previous" for the one before.
 *
 * @returns {{ miniflare: string, newestDate?: string }} The name of the package that has it, and the newest compatibility
 *   date that it takes where that may be older than wrangler.toml's.
 * @throws {Failure} If WORKERD is anything else.
 */
function chosenRuntime() {
  const { WORKERD = "" } = process.env;
  if (WORKERD === "") return { miniflare: "miniflare" };
  if (WORKERD === "previous") return { miniflare: "miniflare-previous", newestDate: "2026-05-03" };
  throw new Failure(`WORKERD is "${WORKERD}": it must be "previous", or not be there.`, 2);
}

/**
 * Miniflare answers SIGINT and SIGTERM by leaving at once with exit code 130 or 143. Where somebody else already
 * listens for a signal, what happens then is theirs to say.
 *
 * @returns {() => void} Removes what has been added since.
 */
function keepSignalListeners() {
  const before = ["SIGINT", "SIGTERM"].map((signal) => [signal, process.listeners(signal)]);
  return () => {
    for (const [signal, listeners] of before) {
      if (listeners.length === 0) continue;
      for (const listener of process.listeners(signal)) {
        if (!listeners.includes(listener)) process.removeListener(signal, listener);
      }
    }
  };
}

/**
 * A server whose parent is killed outright lives on and keeps the port. A shell that waits for the end of a pipe
 * which only this process holds open sees that happen, and kills it.
 *
 * @param {number} pid
 * @returns {import("node:child_process").ChildProcess}
 */
export function guardAgainstOrphan(pid) {
  const guard = spawn("sh", ["-c", 'read -r _; kill -9 "$0"', String(pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  guard.stdin.on("error", () => {});
  guard.unref();
  guard.stdin.unref();
  return guard;
}
