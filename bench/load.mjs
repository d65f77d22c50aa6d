// The load generator, as a process on a core of its own. `bench-load drive --help` has its options.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Failure, ROOT, interruption } from "../tools/steps.mjs";
import { pinned } from "./machine.mjs";

/**
 * @typedef {object} LoadSummary What `bench-load drive` prints: see bench/src/summary.rs.
 * @property {number} requests
 * @property {number} seconds
 * @property {number} perSecond
 * @property {Record<string, number>} statuses
 * @property {number} matching
 * @property {number} broken Connections that broke, and with each a request.
 * @property {string} [breakCause]
 * @property {number} bytesPerAnswer
 * @property {number} busy The part of its time in which the generator was not waiting.
 * @property {{ p50: number, p99: number, p999: number, max: number }} latencyMicros
 * @property {{ p50: number, p99: number, p999: number, max: number }} latenessMicros
 * @property {string} [lastAnswer]
 *
 * @typedef {"announce" | "repost" | "forged" | "malformed" | "get" | "hand-over"} Kind
 */

/** @param {boolean} quick The same program, compiled in less time. */
const program = (quick) => join(ROOT, "target", quick ? "debug" : "load", "bench-load");

/**
 * Sends requests and says what came back.
 *
 * @param {object} options
 * @param {boolean} options.quick
 * @param {string} options.url
 * @param {Kind} options.kind
 * @param {number} options.requests
 * @param {number} [options.seconds]
 * @param {number} [options.rate]
 * @param {number} [options.connections]
 * @param {number} [options.networks]
 * @param {number} [options.communities]
 * @param {string} [options.community]
 * @param {number} [options.variants]
 * @param {number} [options.ticketsPerBody]
 * @param {number} [options.lifetimeMs]
 * @param {string} [options.expect]
 * @param {boolean} [options.connectEach]
 * @param {boolean} [options.withAnswer]
 * @returns {Promise<LoadSummary>}
 */
export async function drive({ quick, connectEach = false, withAnswer = false, ...options }) {
  const flags = Object.entries(options).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, String(value)],
  );
  if (connectEach) flags.push("--connect-each");
  if (withAnswer) flags.push("--with-answer");
  const [command, args] = await pinned("load", program(quick), ["drive", ...flags]);
  const { stdout } = await promisify(execFile)(command, args, { signal: interruption, maxBuffer: 64 << 20 });
  const summary = JSON.parse(stdout);
  if (summary.broken > 0) throw new Failure(`${summary.broken} connections to ${options.url} broke: ${summary.breakCause}`);
  return summary;
}

/**
 * Sends requests that were made before, each connection's one after the other. An answer that has not the text that is
 * expected ends it.
 *
 * @param {object} options
 * @param {boolean} options.quick
 * @param {string} options.url
 * @param {{ path: string, from: string, body: string, expect: string }[][]} options.connections
 * @param {boolean} [options.connectEach]
 * @returns {Promise<LoadSummary>}
 */
export async function play({ quick, url, connections, connectEach = false }) {
  const flags = ["play", "--url", url, ...(connectEach ? ["--connect-each"] : [])];
  const [command, args] = await pinned("load", program(quick), flags);
  const played = promisify(execFile)(command, args, { signal: interruption });
  // A program that has ended says why by itself.
  played.child.stdin.on("error", () => {});
  played.child.stdin.end(connections.map((requests) => `${JSON.stringify(requests)}\n`).join(""));
  return JSON.parse((await played).stdout);
}

/**
 * Does the parts of announces, each alone, on the core of the servers.
 *
 * @param {{ quick: boolean, requests: number, networks: number }} options
 * @returns {Promise<{ parseMicros: number, verifyMicros: number, rosterMicros: number, answerBytes: number }>} For one.
 */
export async function runParts({ quick, requests, networks }) {
  const flags = ["--requests", String(requests), "--networks", String(networks)];
  const [command, args] = await pinned("server", program(quick), ["parts", ...flags]);
  return JSON.parse((await promisify(execFile)(command, args, { signal: interruption })).stdout);
}

/**
 * A native server of the load generator, which ends with `stop()` or with this process.
 *
 * @param {object} options
 * @param {boolean} options.quick
 * @param {"server" | undefined} options.role Undefined lets it use every core.
 * @param {string[]} options.args
 */
export async function startNative({ quick, role, args }) {
  const [command, commandArgs] =
    role === undefined ? [program(quick), args] : await pinned(role, program(quick), args);
  const child = spawn(command, commandArgs, { stdio: ["pipe", "pipe", "inherit"], signal: interruption });
  child.on("error", () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => (await lines.next()).value;
  return {
    child,
    nextLine,
    /** @param {string} text */
    say: (text) => child.stdin.write(`${text}\n`),
    async stop() {
      child.stdin.end();
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}

/**
 * Starts clients that hold sockets, and waits until all are open.
 *
 * @param {object} options See sockets.mjs.
 * @param {"viewers" | "peers" | "residents"} options.kind
 * @param {number} options.count Of viewers and residents, in each place.
 * @param {{ url: string, path: string }[]} options.places
 * @param {number} [options.everyMs]
 * @param {number} [options.joinMs]
 */
export async function startSockets(options) {
  const file = fileURLToPath(new URL("sockets.mjs", import.meta.url));
  const [command, args] = await pinned("load", process.execPath, [file, JSON.stringify(options)]);
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], signal: interruption });
  child.on("error", () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Failure(`the clients that hold sockets at ${options.places[0].url} ended`);
    return value;
  };
  await nextLine();
  return {
    /**
     * Counts messages and their bytes on the wire; of peers, how many newcomers all others have seen, and how long that
     * took in milliseconds.
     *
     * @param {number} seconds
     * @returns {Promise<{ frames: number, received: number, sent: number, seen: number, p50?: number, p99?: number }>}
     */
    async count(seconds) {
      child.stdin.write(`${seconds}\n`);
      return JSON.parse(await nextLine());
    },
    async stop() {
      child.stdin.end();
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}
