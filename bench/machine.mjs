// The machine that measures: what it is, and what a process has used of it.

import { execFile } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { availableParallelism, cpus, release, type } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../tests/harness/steps.mjs";
import { TOOL_ENVIRONMENT } from "../tests/harness/toolchain.mjs";

const run = promisify(execFile);

/** Where servers run, and where what loads them runs: with one core for both, the generator would be measured too. */
export const SERVER_CORE = 0;
const LOAD_CORE = 1;

/**
 * Whether processes can be kept to a core each.
 *
 * @returns {Promise<boolean>}
 */
export async function canPin() {
  if (process.platform !== "linux" || availableParallelism() < 2) return false;
  return run("taskset", ["--version"]).then(
    () => true,
    () => false,
  );
}

/**
 * Keeps a running process to the core of the servers.
 *
 * @param {number} pid
 */
export async function pinServer(pid) {
  if (!(await canPin())) return;
  await run("taskset", ["--all-tasks", "--cpu-list", "--pid", String(SERVER_CORE), String(pid)]);
}

/**
 * A command that runs on the core of servers or of load.
 *
 * @param {"server" | "load"} role
 * @param {string} program
 * @param {string[]} args
 * @returns {Promise<[string, string[]]>}
 */
export async function pinned(role, program, args) {
  if (!(await canPin())) return [program, args];
  return ["taskset", ["--cpu-list", String(role === "server" ? SERVER_CORE : LOAD_CORE), program, ...args]];
}

/**
 * What a reader has to know to compare.
 *
 * @returns {Promise<Record<string, string>>}
 */
export async function describeMachine() {
  const version = async (name) =>
    JSON.parse(await readFile(join(ROOT, "node_modules", name, "package.json"), "utf8")).version;
  const { stdout: rustc } = await run("rustc", ["--version"], { cwd: ROOT, env: TOOL_ENVIRONMENT });
  return {
    processor: `${cpus()[0].model.trim()}, ${availableParallelism()} cores`,
    kernel: `${type()} ${release()}`,
    workerd: await version("workerd"),
    miniflare: await version("miniflare"),
    node: process.versions.node,
    rustc: rustc.split(" ")[1],
    pinning: (await canPin()) ? `workerd on core ${SERVER_CORE}, load on core ${LOAD_CORE}` : "none: load and server share cores",
  };
}

/**
 * The time that all threads of a process have run so far. Unlike the time on the wall it does not count what other
 * programs took. Zero where the kernel does not say.
 *
 * @param {number} pid
 * @returns {Promise<number>} Microseconds.
 */
export async function processorMicros(pid) {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const times = threads.map(async (thread) => {
    const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8").catch(() => "0");
    return Number(text.split(" ")[0]) / 1000;
  });
  return (await Promise.all(times)).reduce((sum, time) => sum + time, 0);
}

/**
 * Memory of a process that is in use now.
 *
 * @param {number} pid
 * @returns {Promise<number>} Bytes; zero where the kernel does not say.
 */
export async function residentBytes(pid) {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(status.match(/^VmRSS:\s+(\d+) kB/m)?.[1] ?? 0) * 1024;
}
