// Programs that the tests need and that Debian has a package of.

import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Failure, execute, interruption, step } from "./steps.mjs";

/**
 * Installs a package where that needs no questions: as root on Debian. Elsewhere says what to do, and the tests that
 * need it will fail.
 *
 * @param {{ name: string, takes: string, advice: string, find: () => string | undefined }} wanted
 */
export async function ensurePackage({ name, takes, advice, find }) {
  if (find()) return;
  if (process.getuid?.() !== 0 || !isDebian()) return console.error(advice);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  try {
    await step(`Installing ${name}`, { takes, advice }, async () => {
      await execute("apt-get", ["update", "--quiet"], { environment });
      await execute("apt-get", ["install", "--yes", "--quiet", "--no-install-recommends", name], { environment });
    });
  } catch (error) {
    if (interruption.aborted || !(error instanceof Failure)) throw error;
    console.error(error.message);
  }
}

/**
 * @param {string[]} paths
 * @returns {string | undefined} The first of these that can be run.
 */
export function findRunnable(paths) {
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * @param {string} program
 * @returns {string | undefined} Where it is on PATH.
 */
export const findOnPath = (program) =>
  findRunnable((process.env.PATH ?? "").split(delimiter).map((directory) => join(directory, program)));

function isDebian() {
  try {
    return /^ID=debian$/m.test(readFileSync("/etc/os-release", "utf8"));
  } catch {
    return false;
  }
}
