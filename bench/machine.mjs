// The machine that measures: what it is, and what a process has used of it.

import { execFile } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { availableParallelism, cpus, release, type } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../tools/steps.mjs";
import { TOOL_ENVIRONMENT } from "../tools/toolchain.mjs";

/** Runs a program to its end, and says what it printed. */
export const run = promisify(execFile);

/** Where servers run, and where what loads them runs: with one core for both, the generator would be measured too. */
const SERVER_CORE = 0;
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
    pinning: (await canPin())
      ? `workerd on core ${SERVER_CORE}, load on core ${LOAD_CORE}`
      : "none: load and server share cores",
  };
}

/**
 * What all threads of a process have done so far: run, or waited for a core that somebody else had. Zero where the
 * kernel does not say.
 *
 * @param {number} pid
 * @returns {Promise<{ ran: number, waited: number }>} Microseconds.
 */
export async function processorUse(pid) {
  const use = { ran: 0, waited: 0 };
  for (const thread of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8").catch(() => "0 0 0");
    const [ran, waited] = text.split(" ").map(Number);
    use.ran += ran / 1000;
    use.waited += waited / 1000;
  }
  return use;
}

/**
 * What a process has run so far, its threads that have ended too: for servers that have a thread for each request.
 *
 * @param {number} pid
 * @returns {Promise<number>} Microseconds, in steps of a clock tick, which is 10 ms on Linux.
 */
export async function processTime(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name, in parentheses, may have spaces in it.
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13).map(Number);
  return (user + system) * 10_000;
}

/** Over all turns: how long servers waited for their core, and how long that was in all. */
const turns = { waited: 0, wall: 0 };

/**
 * Does one turn of a measurement.
 *
 * @template T
 * @param {number} pid The server.
 * @param {() => Promise<T>} work
 * @returns {Promise<{ result: T, ran: number }>} With the microseconds that the server ran.
 */
export async function turn(pid, work) {
  const [before, started] = [await processorUse(pid), performance.now()];
  const result = await work();
  const after = await processorUse(pid);
  turns.waited += after.waited - before.waited;
  turns.wall += (performance.now() - started) * 1000;
  return { result, ran: after.ran - before.ran };
}

/** The part of all turns in which a server would have run, had another program not had its core. */
export const waitedShare = () => (turns.wall > 0 ? turns.waited / turns.wall : 0);

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

/**
 * Memory that only this process has, in use now: what it shares, as the pages of its own program, is not in it.
 *
 * @param {number} pid
 * @returns {Promise<number>} Bytes; zero where the kernel does not say.
 */
export async function privateBytes(pid) {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  const parts = [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB/gm)];
  return parts.reduce((sum, [, kilobytes]) => sum + Number(kilobytes) * 1024, 0);
}
