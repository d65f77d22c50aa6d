// The service as a program for one machine, built and run from this checkout.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { guardAgainstOrphan } from "./beacon.mjs";
import { Failure, ROOT, execute, step } from "./steps.mjs";
import { TOOL_ENVIRONMENT } from "./toolchain.mjs";

export const PROGRAM = join(ROOT, "target/debug/rendezvous-beacon");

/**
 * @typedef {object} NativeBeacon
 * @property {string} url Where it answers, without a slash at the end.
 * @property {import("node:child_process").ChildProcess} child To crash the beacon: `child.kill("SIGKILL")`, then `stop()`.
 * @property {Promise<string>} ended How it ended, in words.
 * @property {() => Promise<void>} stop Asks it to end, and waits for that.
 */

export async function buildNative() {
  await step("Building the native program", { takes: "about 1 minute, a few seconds if little has changed" }, () =>
    execute("cargo", ["build", "--package", "rendezvous-native", "--locked"], { environment: TOOL_ENVIRONMENT }),
  );
}

/**
 * @param {object} options
 * @param {Record<string, string>} options.environment All the variables that it is started with.
 * @param {[string, string[]]} [options.command] What starts it, in place of the program that tests use.
 * @param {(line: string) => void} [options.log] Gets what it prints.
 * @returns {Promise<NativeBeacon>}
 */
export async function startNative({ environment, command = [PROGRAM, ["serve"]], log = () => {} }) {
  // In a group of its own: a terminal would signal it too, and a second signal ends it before it has written everything.
  const child = spawn(...command, { env: environment, stdio: ["ignore", "pipe", "pipe"], detached: true });
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve(`did not start: ${error.message}`));
    child.once("close", (code, signal) => resolve(`ended with ${signal ?? `exit code ${code}`}`));
  });
  const said = [];
  let isReady = false;
  const url = await new Promise((resolve, reject) => {
    const hear = (line) => {
      const { event, details } = parseNote(line);
      if (event === "listening") resolve(details.url);
      else if (isReady) log(line);
      else said.push(line);
    };
    for (const input of [child.stdout, child.stderr]) createInterface({ input }).on("line", hear);
    ended.then((how) => reject(new Failure([...said, `The native program ${how}.`].join("\n"))));
  });
  isReady = true;
  said.forEach(log);
  const guard = guardAgainstOrphan(child.pid);
  let isAsked = false;
  return {
    url,
    child,
    ended,
    async stop() {
      if (!isAsked) child.kill("SIGTERM");
      isAsked = true;
      await ended;
      guard.kill();
    },
  };
}

/**
 * @param {string} line
 * @returns {{ event?: string, details?: Record<string, any> }} Nothing of a line that is not a note.
 */
function parseNote(line) {
  return line.startsWith("{") ? JSON.parse(line) : {};
}
