// workerd: found where it is installed, else fetched by npm into the user's cache. The package does not depend on it, because
// whoever only wants the library in a page would install it too.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { Failure, ROOT, interruption } from "../steps.mjs";
import { describeWorker } from "./prebuilt.mjs";

/** npx tells its children which folder it works in, and npm would take that for the place to install into. */
const OF_NPX = /^npm_config_(local_prefix|prefix|package|call|global)$/i;

/**
 * @param {string} date The compatibility date that it has to know.
 * @returns {Promise<string>} The program's path.
 */
export async function provideWorkerd(date) {
  for (const place of [ROOT, process.cwd()]) {
    const found = load(place);
    // An older one refuses the date.
    if (found !== undefined && found.compatibilityDate >= date) return found.default;
  }
  const { runtime } = describeWorker();
  const { version } = runtime.packages["node_modules/workerd"];
  const directory = join(cacheDirectory(), `workerd-${version}`);
  if (load(directory) === undefined) await fetchInto(directory, version, runtime);
  const fetched = load(directory);
  if (fetched === undefined) throw new Failure(`${directory} has no workerd that can be loaded. Delete that directory.`);
  return fetched.default;
}

/**
 * @param {string} place A directory from which packages are looked up.
 * @returns {{ default: string, compatibilityDate: string } | undefined} What the package says of itself; nothing where there is
 *   none for this machine.
 */
function load(place) {
  try {
    const found = createRequire(join(place, "package.json"))("workerd");
    return existsSync(found.default) ? found : undefined;
  } catch {
    return undefined;
  }
}

/** @returns {string} */
function cacheDirectory() {
  const { env, platform } = process;
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, "rendezvous-beacon");
  if (platform === "win32" && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, "rendezvous-beacon");
  return join(homedir(), platform === "darwin" ? "Library/Caches" : ".cache", "rendezvous-beacon");
}

/**
 * @param {string} directory Where it is to be, complete or not at all.
 * @param {string} version
 * @param {object} lock
 */
async function fetchInto(directory, version, lock) {
  console.error(`Fetching workerd ${version} from the npm registry into ${directory} (once) ...`);
  const advice = `Check the network, or install it yourself where you run this: npm install --save-dev workerd@${version}`;
  await mkdir(dirname(directory), { recursive: true });
  // Another process may be fetching it too: each makes its own, and the first to be ready keeps it.
  const made = await mkdtemp(`${directory}.`);
  try {
    await writeFile(join(made, "package.json"), JSON.stringify(lock.packages[""]));
    await writeFile(join(made, "package-lock.json"), JSON.stringify(lock));
    // By a lock file, so that what is run is what was tested. Without scripts: workerd's looks whether it runs, and so do we.
    const args = ["ci", "--prefix", made, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    await run(findNpm(), args, made, advice);
    if (load(made) === undefined) throw new Failure(`There is no workerd ${version} for ${process.platform} on ${process.arch}.`);
    await rename(made, directory).catch((error) => {
      if (load(directory) === undefined) throw error;
    });
  } finally {
    await rm(made, { recursive: true, force: true });
  }
}

/**
 * @returns {string} npm's own script: where a program cannot be started by its name, as on Windows, this Node can run it.
 * @throws {Failure} If there is none.
 */
function findNpm() {
  const beside = dirname(process.execPath);
  const places = [
    // Who has started this. It may be another package manager, which takes other arguments.
    ...(basename(process.env.npm_execpath ?? "") === "npm-cli.js" ? [process.env.npm_execpath] : []),
    join(beside, "node_modules/npm/bin/npm-cli.js"),
    join(beside, "../lib/node_modules/npm/bin/npm-cli.js"),
    "/usr/share/nodejs/npm/bin/npm-cli.js",
  ];
  const found = places.find((place) => existsSync(place));
  if (found !== undefined) return found;
  throw new Failure("workerd is not installed, and npm, which would fetch it, is not beside this Node. Run this with npx.");
}

/**
 * @param {string} npm
 * @param {string[]} args
 * @param {string} cwd
 * @param {string} advice
 */
async function run(npm, args, cwd, advice) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OF_NPX.test(name)));
  // stdout is for results.
  const child = spawn(process.execPath, [npm, ...args], { cwd, env, stdio: ["ignore", 2, 2], signal: interruption });
  const [code, signal] = await once(child, "close").catch((error) => [error.message]);
  interruption.throwIfAborted();
  if (code !== 0) throw new Failure(`npm could not fetch workerd: it ended with ${signal ?? code}.\n${advice}`);
}

/**
 * A server whose parent is killed outright lives on and keeps its state from the next one. A process that waits for the end of a
 * pipe which only this process holds open sees that happen, and kills the server.
 *
 * @param {number} pid
 * @returns {import("node:child_process").ChildProcess}
 */
export function guardAgainstOrphan(pid) {
  const script = `process.stdin.resume().on("end", () => { try { process.kill(${pid}, "SIGKILL"); } catch {} });`;
  const guard = spawn(process.execPath, ["--eval", script], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  guard.on("error", () => {});
  guard.stdin.on("error", () => {});
  guard.unref();
  guard.stdin.unref();
  return guard;
}
