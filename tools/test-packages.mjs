// npm packages that a single test needs: under .tools, and pinned by a lock file in a folder of tests/, for nothing else needs them.

import { existsSync } from "node:fs";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withLock } from "./lock.mjs";
import { ROOT, execute, step } from "./steps.mjs";

/**
 * @param {object} what
 * @param {string} what.folder The folder of tests/ with package.json and package-lock.json.
 * @param {string} what.version What is in it, for another one to be installed anew.
 * @param {string} what.title
 * @param {string} what.advice
 * @param {string[]} [what.options] Further options of npm.
 * @returns {Promise<string>} Where they are.
 */
export async function ensureTestPackages({ folder, version, title, advice, options = [] }) {
  const directory = join(ROOT, `.tools/${folder}-${version}`);
  const done = join(directory, "installed");
  await mkdir(directory, { recursive: true });
  await withLock(`${directory}.lock`, async () => {
    if (existsSync(done)) return;
    await step(title, { takes: "a minute, once", advice }, async () => {
      for (const name of ["package.json", "package-lock.json"]) await copyFile(join(ROOT, "tests", folder, name), join(directory, name));
      // Without scripts.
      await execute("npm", ["ci", "--prefix", directory, "--ignore-scripts", "--no-audit", "--no-fund", ...options]);
      await writeFile(done, "");
    });
  });
  return directory;
}
