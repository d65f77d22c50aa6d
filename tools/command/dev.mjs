// The beacon on this machine, in workerd, which is what Cloudflare runs it in.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { startFront } from "../front.mjs";
import { withLock } from "../lock.mjs";
import { Failure, interruption, readOptions } from "../steps.mjs";
import { KNOWN, WORKER, describeWorker, refuse } from "./prebuilt.mjs";
import { guardAgainstOrphan, provideWorkerd } from "./workerd.mjs";

const USAGE = `rendezvous-beacon dev [OPTIONS]: runs a beacon on this machine until Ctrl-C or SIGTERM, for developing with it.

The first run fetches workerd, Cloudflare's runtime for Workers, from the npm registry (some 40 MB, once), unless it is
installed where this package or the working directory finds it. Nothing else is installed, and nothing is compiled.

Options:
  --port PORT   where it listens (8787); 0: a free port, which is printed
  --host HOST   the address that it listens on (127.0.0.1); 0.0.0.0: all, so that other machines reach it
  --state DIR   the directory that keeps rosters and mailboxes from run to run (.beacon)
  -h, --help    prints this

PORT, HOST and STATE in the environment do the same. Every other variable of the beacon may be there too:
https://github.com/rendezvous-beacon/rendezvous-beacon#configuration
Unless you say otherwise, every community is served (COMMUNITIES is *), and the page shows who is in "mainnet".

  npx rendezvous-beacon dev --port 9000
  ORIGINS=http://localhost:5173 COMMUNITIES=my-app DEFAULT_COMMUNITY=my-app npx rendezvous-beacon dev`;

/** How long workerd has to write what it has, and end, when it is asked to. */
const GRACE_MS = 3_000;

/** @param {string[]} args */
export async function dev(args) {
  const text = { type: "string" };
  const options = readOptions(USAGE, { host: text, port: text, state: text }, args);
  const host = options.host ?? (process.env.HOST || "127.0.0.1");
  const port = parsePort(options.port ?? (process.env.PORT || "8787"));
  const state = resolve(options.state ?? (process.env.STATE || ".beacon"));
  refuse([
    ...KNOWN.problemsOfEnvironment(process.env, ["HOST", "PORT", "STATE", ...KNOWN.nativeNames]),
    ...KNOWN.problemsOf("The environment", given(KNOWN.nativeNames)),
  ]);
  const variables = readVariables();
  const workerd = await provideWorkerd(describeWorker().compatibilityDate);
  await mkdir(state, { recursive: true, mode: 0o700 }).catch((error) => {
    throw new Failure(`${state} cannot keep the state: ${error.message}. --state names another directory.`);
  });
  const busy = (owner) => new Failure(`${state} is the state of process ${owner}, which is running. --state names another directory.`);
  await withLock(join(state, "lock"), () => serve({ workerd, host, port, state, variables }), { busy });
}

/**
 * @param {string} text
 * @returns {number}
 */
function parsePort(text) {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new Failure(`The port is "${text}": it must be a number from 0 to 65535, where 0 stands for any free port.`, 2);
}

/**
 * Returns all that the Worker is told: what the environment says, what suits a beacon on one's own machine, the default.
 *
 * @returns {Record<string, string>}
 */
function readVariables() {
  const defaults = describeWorker().variables;
  const ours = given(Object.keys(defaults));
  // Whoever names communities says as well which of them the page is to speak of.
  const listed = ours.DEFAULT_COMMUNITY ?? defaults.DEFAULT_COMMUNITY;
  const own = ours.COMMUNITIES ? {} : { COMMUNITIES: "*", LISTED_COMMUNITIES: listed, SHOW_PEERS: "on" };
  return { ...defaults, ...own, ...ours };
}

/**
 * @param {string[]} names
 * @returns {Record<string, string>} Those of them that are set. An empty variable is not.
 */
function given(names) {
  return Object.fromEntries(names.filter((name) => process.env[name]).map((name) => [name, process.env[name]]));
}

/** @param {{ workerd: string, host: string, port: number, state: string, variables: Record<string, string> }} options */
async function serve({ workerd, host, port, state, variables }) {
  const believesClients = variables.CLIENT_ADDRESS_HEADER.trim().toLowerCase() === "cf-connecting-ip";
  const runtime = await startWorkerd(workerd, state, variables);
  let front;
  try {
    const health = await fetch(`${runtime.url}/healthz`);
    if (health.status !== 200) {
      throw new Failure(["The beacon is not healthy:", await runtime.explanation(), await health.text()].join("\n"), 2);
    }
    runtime.print();
    front = await startFront({ host, port, target: runtime.url, believesClients }).catch((error) => {
      if (error.code !== "EADDRINUSE") throw new Failure(`Cannot listen on ${host}, port ${port}: ${error.message}`);
      throw new Failure(`Port ${port} on ${host} is in use, perhaps by another beacon. --port names another.`);
    });
    const reached = front.url.replace(/\/\/(0\.0\.0\.0|\[::\])(?=:)/, "//127.0.0.1");
    console.log(`The beacon is ready at ${reached} (Ctrl-C stops it; state in ${state}).\n`);
    console.log(`    curl '${reached}/peers'      who is online; open ${reached}/ for its page\n`);
    const interrupted = interruption.aborted ? undefined : once(interruption, "abort");
    const how = await Promise.race([interrupted, runtime.ended]);
    if (!interruption.aborted) throw new Failure(`workerd ended with ${how}, which nobody asked for.`);
  } finally {
    await front?.stop();
    await runtime.stop();
  }
}

/**
 * @param {string} program
 * @param {string} state
 * @param {Record<string, string>} variables
 */
async function startWorkerd(program, state, variables) {
  interruption.throwIfAborted();
  const child = spawn(
    program,
    [
      "serve",
      join(WORKER, "beacon.capnp"),
      `--directory-path=page=${join(WORKER, "page")}`,
      `--directory-path=state=${state}`,
      "--socket-addr=http=127.0.0.1:0",
      "--control-fd=3",
    ],
    // Nothing of the environment but what the beacon reads. In a group of its own: what a terminal sends comes by this process.
    { env: variables, stdio: ["ignore", "pipe", "pipe", "pipe"], detached: process.platform !== "win32" },
  );
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  // Until it is known whether the Worker can run, its log waits: a failure is explained by it.
  let early = [];
  let heard;
  const hear = (line) => {
    if (early === undefined) return print(line);
    early.push(line);
    heard?.();
  };
  for (const input of [child.stdout, child.stderr]) createInterface({ input }).on("line", hear);
  const listening = new Promise((resolve) => {
    createInterface({ input: child.stdio[3] }).on("line", (line) => {
      const { event, socket, port } = JSON.parse(line);
      if (event === "listen" && socket === "http") resolve(port);
    });
  });
  const port = await Promise.race([listening, ended]);
  if (typeof port !== "number") throw new Failure([`workerd did not start: it ended with ${port}.`, ...early].join("\n"));
  const guard = guardAgainstOrphan(child.pid);
  return {
    url: `http://127.0.0.1:${port}`,
    ended,
    print() {
      early.forEach(print);
      early = undefined;
    },
    /** The log, which takes another way than the answer that it explains. */
    async explanation() {
      const line = new Promise((resolve) => (heard = resolve));
      if (early.length === 0) await Promise.race([line, ended, once(AbortSignal.timeout(GRACE_MS), "abort")]);
      return early.join("\n");
    },
    async stop() {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
      await ended;
      clearTimeout(late);
      guard.kill();
    },
  };
}

/**
 * The Worker's own lines are JSON and go to stdout; what else workerd has to say does not.
 *
 * @param {string} line
 */
function print(line) {
  (line.startsWith("{") ? process.stdout : process.stderr).write(`${line}\n`);
}
