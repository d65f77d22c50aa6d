// Helia, an IPFS node, for the test of capsules on IPFS: under .tools, and pinned by a lock file, for nothing else needs it.

import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { withLock } from "./lock.mjs";
import { ROOT, execute, step } from "./steps.mjs";

const DIRECTORY = join(ROOT, ".tools/helia-7.1.15");
const DONE = join(DIRECTORY, "installed");

/**
 * @returns {Promise<(name: string) => Promise<any>>} Imports a package of it.
 */
export async function ensureHelia() {
  await mkdir(DIRECTORY, { recursive: true });
  await withLock(`${DIRECTORY}.lock`, async () => {
    if (existsSync(DONE)) return;
    await step("Helia", { takes: "a minute, once", advice: "The test of capsules on IPFS needs it." }, async () => {
      for (const name of ["package.json", "package-lock.json"]) await copyFile(join(ROOT, "tests/helia", name), join(DIRECTORY, name));
      // Without scripts, and without what only other platforms (React Native) need.
      const options = ["--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund"];
      await execute("npm", ["ci", "--prefix", DIRECTORY, ...options]);
      await writeFile(DONE, "");
    });
  });
  return async (name) => {
    const home = join(DIRECTORY, "node_modules", name);
    const { exports } = JSON.parse(await readFile(join(home, "package.json"), "utf8"));
    return import(pathToFileURL(join(home, exports["."].import ?? exports["."])).href);
  };
}
