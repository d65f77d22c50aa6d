// `npm start`: beacons on this machine, from a fresh checkout to the first answer, the example page of the client, and a
// capsule of what the beacons list.

import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { readConfiguration, startBeacon } from "./beacon.mjs";
import { buildWorker } from "./build.mjs";
import { CAPSULE_PERIOD_S, prepareCapsule, publishCapsules } from "./capsule.mjs";
import { startFront } from "./front.mjs";
import { buildNative, startNative } from "./native.mjs";
import { Failure, ROOT, interruption, main, readOptions } from "./steps.mjs";
import { supervise } from "./supervisor.mjs";
import { ensureToolchain } from "./toolchain.mjs";
import { NAMES, NATIVE_NAMES, requireKnownNames, requireKnownVariables, requireNoNearMiss } from "./variables.mjs";

const USAGE = `npm start [-- --only beacon] [-- --native]: two beacons on this machine, a capsule of what they list, written
anew every ${CAPSULE_PERIOD_S} s, and the example page of the client, which does not depend on any one of them: its buttons kill a
beacon, and start it again. Ctrl-C ends all.

Options:
  --only beacon  the first beacon alone
  --native       as programs of their own, without workerd; what they store is their own too

Environment variables:
  HOST          where the beacons listen (127.0.0.1)
  PORT          where the first beacon listens (8787); the second is at the next port, or at any free one
  EXAMPLE_PORT  where the page and the capsule are, on 127.0.0.1 (8790)
  STATE         the directory that keeps the beacons' state and the capsule's key between runs (.beacon; .beacon-native
                with --native)
and every variable of wrangler.toml's [vars], which it overrides. Here COMMUNITIES is "*" unless it is set; and where a
request comes from is what its connection says, unless CLIENT_ADDRESS_HEADER names a header that says so:

  PORT=9000 ANSWER_LIMIT=20 npm start`;

/** How far behind an answer the log line that explains it may be: they take different ways here. */
const LOG_DELAY_MS = 1_000;

await main(
  async () => {
    const { native, only } = readOptions(USAGE, { native: { type: "boolean", default: false }, only: { type: "string" } });
    if (only !== undefined && only !== "beacon") throw new Failure(`--only ${only}: it must be "beacon".\n\n${USAGE}`, 2);
    requireNoNearMiss(process.env, ["HOST", "PORT", "STATE", "EXAMPLE_PORT", ...NATIVE_NAMES]);
    if (!native) requireKnownNames("The environment", NATIVE_NAMES.filter((name) => process.env[name]));
    const host = process.env.HOST || "127.0.0.1";
    const port = parsePort("PORT", "8787");
    const examplePort = parsePort("EXAMPLE_PORT", "8790");
    const state = process.env.STATE || join(ROOT, native ? ".beacon-native" : ".beacon");
    await requireFreeAddress(host, port);
    await ensureToolchain();
    await requireKnownVariables();
    await (native ? buildNative() : buildWorker());
    const launch = native ? startNativeBeacon : startWorker;
    const beacons = [];
    try {
      const first = await supervise((port) => launch({ host, port, state }), port);
      beacons.push(first);
      console.log(`\nThe beacon is ready at ${first.url} (Ctrl-C stops it; state in ${state}). Who is online:\n`);
      console.log(`    curl '${first.url}/peers'\n`);
      if (only === undefined) {
        const second = await supervise(
          (port) => launch({ host, port, state: join(state, "second") }),
          await nextFreePort(host, port),
        );
        beacons.push(second);
        console.log(`A second beacon, for the day when the first is gone, is ready at ${second.url}\n`);
      }
      await serve(beacons, only === undefined ? { state, examplePort } : undefined);
    } finally {
      await Promise.allSettled(beacons.map(({ stop }) => stop()));
    }
  },
  // Stopping a server is how its run is meant to end.
  { interruptedExitCode: 0 },
);

/**
 * @param {string} variable
 * @param {string} otherwise
 * @returns {number}
 */
function parsePort(variable, otherwise) {
  const text = process.env[variable] || otherwise;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65535) {
    throw new Failure(`${variable} is "${text}": it must be a number from 0 to 65535, where 0 stands for any free port.`);
  }
  return port;
}

/**
 * Listens there for a moment, so that nobody waits for a build first.
 *
 * @param {string} host
 * @param {number} port
 */
async function requireFreeAddress(host, port) {
  const error = await tryAddress(host, port);
  if (error?.code === "EADDRINUSE") throw addressInUse(host, port);
  if (error) throw new Failure(`Cannot listen on ${host}, port ${port}: ${error.message}. HOST and PORT choose another.`);
}

/**
 * @param {string} host
 * @param {number} port
 * @returns {Promise<number>} The next port, or 0 for any that is free where that one is not.
 */
async function nextFreePort(host, port) {
  const next = port === 0 || port === 65_535 ? 0 : port + 1;
  return (await tryAddress(host, next)) ? 0 : next;
}

/**
 * @param {string} host
 * @param {number} port
 * @returns {Promise<NodeJS.ErrnoException | undefined>} Why nobody can listen there.
 */
async function tryAddress(host, port) {
  const server = createServer();
  server.listen({ host: host === "*" ? "::" : host, port, exclusive: true });
  try {
    await once(server, "listening");
  } catch (error) {
    return error;
  }
  server.close();
  await once(server, "close");
  return undefined;
}

/**
 * @param {string} host
 * @param {number} port
 */
function addressInUse(host, port) {
  const other = port < 65535 ? port + 1 : port - 1;
  return new Failure(
    `Port ${port} on ${host} is in use, perhaps by another beacon. Stop that, or choose another port: PORT=${other} npm start`,
  );
}

/**
 * What wrangler.toml and the environment say, the latter first.
 *
 * @returns {Promise<{ vars: Record<string, unknown>, overridden: string[] }>}
 */
async function readVariables() {
  const { vars: configured } = await readConfiguration();
  interruption.throwIfAborted();
  const overridden = NAMES.filter((name) => process.env[name] !== undefined);
  const given = Object.fromEntries(overridden.map((name) => [name, process.env[name]]));
  return { vars: { ...configured, COMMUNITIES: "*", ...given }, overridden };
}

/**
 * The beacon in workerd, with what stands before it.
 *
 * @param {{ host: string, port: number, state: string }} options
 * @returns {Promise<import("./supervisor.mjs").Started>}
 */
async function startWorker({ host, port, state }) {
  const { vars, overridden } = await readVariables();
  const believesClients = String(vars.CLIENT_ADDRESS_HEADER ?? "").trim().toLowerCase() === "cf-connecting-ip";

  // Until it is known whether the Worker can run, its log waits: a failure is explained by it.
  let early = [];
  const log = (line) => (early === undefined ? print(line) : early.push(line));

  const beacon = await startBeacon({ persist: state, vars, log, staysAwake: true }).catch((error) => {
    throw new Failure(["workerd did not start:", ...early, error.message].join("\n"));
  });
  try {
    const health = await fetch(`${beacon.url}/healthz`);
    if (health.status !== 200) {
      await until(() => early.length > 0, LOG_DELAY_MS);
      throw new Failure(
        [
          `The beacon is not healthy: GET /healthz answers ${health.status}. Its log:`,
          ...(early.length > 0 ? early : [await health.text()]),
          overridden.length > 0 ? `Taken from the environment: ${overridden.join(", ")}` : "Look at [vars] in wrangler.toml.",
        ].join("\n"),
      );
    }
    interruption.throwIfAborted();
    early.forEach(print);
    early = undefined;
    const front = await startFront({ host, port, target: beacon.url, believesClients }).catch((error) => {
      throw error.code === "EADDRINUSE" ? addressInUse(host, port) : error;
    });
    return {
      url: front.url,
      ended: once(beacon.workerd, "exit").then(([code, signal]) => `workerd ended with ${signal ?? `exit code ${code}`}`),
      crash: () => Promise.allSettled([front.stop(), beacon.crash()]),
      stop: () => Promise.allSettled([front.stop(), beacon.stop()]),
    };
  } catch (error) {
    await beacon.stop();
    throw error;
  }
}

/**
 * The beacon as the native program.
 *
 * @param {{ host: string, port: number, state: string }} options
 * @returns {Promise<import("./supervisor.mjs").Started>}
 */
async function startNativeBeacon({ host, port, state }) {
  const { vars } = await readVariables();
  const texts = Object.fromEntries(Object.entries(vars).map(([name, value]) => [name, String(value)]));
  const environment = { ...process.env, ...texts, HOST: host, PORT: String(port), STATE: state };
  const { url, child, ended, stop } = await startNative({ environment, log: print });
  const crash = () => {
    child.kill("SIGKILL");
    return stop();
  };
  return { url, ended: ended.then((how) => `The native program ${how}`), crash, stop };
}

/**
 * Until somebody stops it, or a beacon ends by itself.
 *
 * @param {import("./supervisor.mjs").Supervised[]} beacons
 * @param {{ state: string, examplePort: number }} [example] Where the example page and its capsule are to be, if anywhere.
 */
async function serve(beacons, example) {
  const offered = example && (await offerExample(beacons.map(withReachableUrl), example));
  try {
    const ended = beacons.map(async (beacon) => {
      const how = await beacon.ended;
      if (!interruption.aborted) throw new Failure(`${how}, which nobody asked for.`);
    });
    await Promise.race([interrupted(), ...ended]);
  } finally {
    await offered?.stop();
  }
}

/**
 * The same beacon, under an address that a page of this machine can ask.
 *
 * @param {import("./supervisor.mjs").Supervised} beacon
 * @returns {import("./supervisor.mjs").Supervised}
 */
function withReachableUrl(beacon) {
  return Object.create(beacon, { url: { value: beacon.url.replace(/\/\/(0\.0\.0\.0|\[::\])(?=:|$)/, "//127.0.0.1") } });
}

/**
 * A beacon is of use without them: nothing that goes wrong here ends the run.
 *
 * @param {import("./supervisor.mjs").Supervised[]} beacons
 * @param {{ state: string, examplePort: number }} options
 */
async function offerExample(beacons, { state, examplePort }) {
  try {
    // Only now: it loads what a beacon does not need.
    const { startExample } = await import("./example.mjs");
    const { vars } = await readVariables();
    const community = String(vars.DEFAULT_COMMUNITY || "mainnet");
    const capsule = await prepareCapsule(state);
    const example = await startExample({ beacons, community, capsule, preferredPort: examplePort });
    const taken = examplePort !== 0 && Number(new URL(example.url).port) !== examplePort;
    console.log("The example page, to open in two tabs, which find each other and talk:\n");
    console.log(`    ${example.url}${taken ? `  (port ${examplePort} is in use)` : ""}\n`);
    const publishing = publishCapsules(capsule, {
      beacons: beacons.map(({ url }) => url),
      community,
      onFirst: () => console.log(`A capsule, written anew every ${CAPSULE_PERIOD_S} s, is at ${example.capsuleUrl}\n`),
    });
    publishing.ended.catch((error) => console.error(`There is no new capsule from now on: ${error.message}`));
    return { stop: () => Promise.allSettled([example.stop(), publishing.stop()]) };
  } catch (error) {
    console.error(`There is no example page: ${error.message}`);
    return undefined;
  }
}

/**
 * @param {() => boolean} condition
 * @param {number} limitMs
 */
async function until(condition, limitMs) {
  const deadline = performance.now() + limitMs;
  while (!condition() && performance.now() < deadline) await delay(20);
}

async function interrupted() {
  if (!interruption.aborted) await once(interruption, "abort");
}

/**
 * The Worker's own lines are JSON and go to stdout; what else workerd has to say does not.
 *
 * @param {string} line
 */
function print(line) {
  (line.startsWith("{") ? process.stdout : process.stderr).write(`${line}\n`);
}
