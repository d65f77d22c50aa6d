// Helia, an IPFS node, for the test of capsules on IPFS.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureTestPackages } from "./test-packages.mjs";

/**
 * @returns {Promise<(name: string) => Promise<any>>} Imports a package of it.
 */
export async function ensureHelia() {
  const directory = await ensureTestPackages({
    folder: "helia",
    version: "7.1.15",
    title: "Helia",
    advice: "The test of capsules on IPFS needs it.",
    // Without what only other platforms (React Native) need.
    options: ["--legacy-peer-deps"],
  });
  return async (name) => {
    const home = join(directory, "node_modules", name);
    const { exports } = JSON.parse(await readFile(join(home, "package.json"), "utf8"));
    return import(pathToFileURL(join(home, exports["."].import ?? exports["."])).href);
  };
}
