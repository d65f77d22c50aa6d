// The capsule of `npm start`: the real program, built in the background, publishes what the beacons list, for as long as
// this runs.

import { spawn } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { guardAgainstOrphan } from "./beacon.mjs";
import { Failure, ROOT, execute, interruption } from "./steps.mjs";
import { TOOL_ENVIRONMENT } from "./toolchain.mjs";

const PROGRAM = join(ROOT, "target/debug/capsule");
export const CAPSULE_PERIOD_S = 60;
/** For a page that comes when every beacon has been dead for a while. */
const LIFETIME = "10m";
const PUBLIC_KEY_BYTES = 32;
/** Of what the program has said, to explain its end. */
const SAID_LINES = 20;

/**
 * @typedef {object} Place
 * @property {string} folder Where the files of the capsule are.
 * @property {string} keyFile
 * @property {string} publicKey The publisher's, in base64.
 */

/**
 * Makes a place without a capsule: one of an earlier run would be about an earlier run's peers. The key stays.
 *
 * @param {string} state The directory that keeps the beacons' state.
 * @returns {Promise<Place>}
 */
export async function prepareCapsule(state) {
  const folder = join(state, "capsule");
  const keyFile = join(state, "capsule-key.pem");
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  return { folder, keyFile, publicKey: await readPublicKey(keyFile) };
}

/** @param {string} file Of the private key, which is made if there is none. */
async function readPublicKey(file) {
  let pem = await readFile(file, "utf8").catch((error) => {
    if (error.code !== "ENOENT") throw error;
  });
  if (pem === undefined) {
    pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" });
    await writeFile(file, pem, { mode: 0o600, flag: "wx" });
  }
  try {
    const der = createPublicKey(createPrivateKey(pem)).export({ type: "spki", format: "der" });
    return der.subarray(-PUBLIC_KEY_BYTES).toString("base64");
  } catch {
    throw new Failure(`${file} is not a private key. Remove it, and the next start makes another.`);
  }
}

/**
 * Builds the program, with a low priority, and has it publish until it is stopped.
 *
 * @param {Place} place
 * @param {object} options
 * @param {string[]} options.beacons
 * @param {string} options.community
 * @param {() => void} options.onFirst Called when the first capsule is there.
 * @returns {{ ended: Promise<void>, stop: () => Promise<void> }} `ended` rejects with why it ended, if nobody asked for that.
 */
export function publishCapsules({ folder, keyFile }, { beacons, community, onFirst }) {
  let child;
  let isAsked = false;
  const run = async () => {
    const build = ["cargo", "build", "--quiet", "--package", "rendezvous-capsule", "--locked"];
    await execute("nice", ["-n", "10", ...build], { environment: TOOL_ENVIRONMENT });
    if (isAsked) return;
    const terms = ["--every", `${CAPSULE_PERIOD_S}s`, "--lifetime", LIFETIME, "--key", keyFile, "--out", folder];
    const from = ["--community", community, ...beacons.flatMap((url) => ["--beacon", url])];
    // Nothing else of this environment: its proxies and its settings of the program are for other hosts.
    const { PATH = "" } = process.env;
    child = spawn(PROGRAM, ["watch", ...terms, ...from, "--json", "--quiet"], {
      env: { PATH },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const said = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      if (said.length > SAID_LINES) said.shift();
    });
    let isThere = false;
    createInterface({ input: child.stdout }).on("line", (line) => {
      // While nobody is online there is none, which is not worth a word.
      if (isThere || !line.startsWith("{") || !JSON.parse(line).ok) return;
      isThere = true;
      onFirst();
    });
    const how = await new Promise((resolve) => {
      child.once("error", (error) => resolve(`did not start: ${error.message}`));
      child.once("close", (code, signal) => resolve(`ended with ${signal ?? `exit code ${code}`}`));
      if (child.pid !== undefined) guardUntilClose(child);
    });
    if (!isAsked) throw new Failure([...said, `The capsule program ${how}`].join("\n"));
  };
  const ended = run().catch((error) => {
    if (!isAsked && !interruption.aborted) throw error;
  });
  return {
    ended,
    async stop() {
      isAsked = true;
      child?.kill("SIGTERM");
      await ended.catch(() => {});
    },
  };
}

/** @param {import("node:child_process").ChildProcess} child */
function guardUntilClose(child) {
  const guard = guardAgainstOrphan(child.pid);
  child.once("close", () => guard.kill());
}
