// `npm start`: a beacon on this machine, from a fresh checkout to the first answer, and the example page of the client.

import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { readConfiguration, startBeacon } from "./beacon.mjs";
import { buildWorker } from "./build.mjs";
import { startFront } from "./front.mjs";
import { Failure, ROOT, interruption, main, readOptions } from "./steps.mjs";
import { ensureToolchain } from "./toolchain.mjs";

const USAGE = `npm start: a beacon on this machine, and the example page of the client. Ctrl-C ends both.

Environment variables:
  HOST          where the beacon listens (127.0.0.1)
  PORT          where the beacon listens (8787)
  EXAMPLE_PORT  where the page is, on 127.0.0.1 (8790), and the port after it
  STATE         the directory that keeps the beacon's state between runs (.beacon)
and every variable of wrangler.toml's [vars], which it overrides. Here COMMUNITIES is "*" unless it is set; and where a
request comes from is what its connection says, unless CLIENT_ADDRESS_HEADER names a header that says so:

  PORT=9000 ANSWER_LIMIT=20 npm start`;

/** How far behind an answer the log line that explains it may be: they take different ways here. */
const LOG_DELAY_MS = 1_000;

await main(
  async () => {
    readOptions(USAGE);
    const host = process.env.HOST || "127.0.0.1";
    const port = parsePort("PORT", "8787");
    const examplePort = parsePort("EXAMPLE_PORT", "8790");
    const persist = process.env.STATE || join(ROOT, ".beacon");
    await requireFreeAddress(host, port);
    await ensureToolchain();
    await buildWorker();
    await serve(host, port, persist, examplePort);
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
  const server = createServer();
  server.listen({ host: host === "*" ? "::" : host, port, exclusive: true });
  try {
    await once(server, "listening");
  } catch (error) {
    if (error.code === "EADDRINUSE") throw addressInUse(host, port);
    throw new Failure(`Cannot listen on ${host}, port ${port}: ${error.message}. HOST and PORT choose another.`);
  }
  server.close();
  await once(server, "close");
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
 * @param {string} host
 * @param {number} port
 * @param {string} persist
 * @param {number} examplePort
 */
async function serve(host, port, persist, examplePort) {
  const { vars: defaults } = await readConfiguration();
  interruption.throwIfAborted();
  const overridden = Object.keys(defaults).filter((name) => process.env[name] !== undefined);
  const vars = { COMMUNITIES: "*", ...Object.fromEntries(overridden.map((name) => [name, process.env[name]])) };
  const believesClients = vars.CLIENT_ADDRESS_HEADER?.trim().toLowerCase() === "cf-connecting-ip";

  // Until it is known whether the Worker can run, its log waits: a failure is explained by it.
  let early = [];
  const log = (line) => (early === undefined ? print(line) : early.push(line));

  const beacon = await startBeacon({ persist, vars, log, staysAwake: true }).catch((error) => {
    throw new Failure(["workerd did not start:", ...early, error.message].join("\n"));
  });
  let front;
  let example;
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
    front = await startFront({ host, port, target: beacon.url, believesClients }).catch((error) => {
      throw error.code === "EADDRINUSE" ? addressInUse(host, port) : error;
    });

    console.log(`\nThe beacon is ready at ${front.url} (Ctrl-C stops it; state in ${persist}). Who is online:\n`);
    console.log(`    curl '${front.url}/peers'\n`);

    const ended = once(beacon.workerd, "exit").then(([code, signal]) => {
      if (!interruption.aborted) throw new Failure(`workerd ended unexpectedly with ${signal ?? `exit code ${code}`}.`);
    });
    example = await offerExample(front.url, examplePort);
    await Promise.race([interrupted(), ended]);
  } finally {
    await Promise.allSettled([example?.stop(), front?.stop(), beacon.stop()]);
  }
}

/**
 * A beacon is of use without it: nothing that goes wrong here ends the run.
 *
 * @param {string} beaconUrl
 * @param {number} preferredPort
 */
async function offerExample(beaconUrl, preferredPort) {
  try {
    // Only now: it loads what a beacon does not need.
    const { startExample } = await import("./example.mjs");
    const beacon = beaconUrl.replace(/\/\/(0\.0\.0\.0|\[::\])(?=:|$)/, "//127.0.0.1");
    const example = await startExample({ beacon, preferredPort });
    const taken = preferredPort !== 0 && Number(new URL(example.url).port) !== preferredPort;
    console.log("The example page, to open in two tabs, which find each other and talk:\n");
    console.log(`    ${example.url}${taken ? `  (port ${preferredPort} is in use)` : ""}\n`);
    return example;
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
