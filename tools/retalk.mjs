// retalk's own programs in Python, in an environment for each version under .tools. What is installed is pinned by hash.

import { join } from "node:path";
import { ROOT } from "./steps.mjs";
import { ensureVirtualEnvironment } from "./virtual-environment.mjs";

/** The first version, and the one after which the wire is as it is. */
export const VERSIONS = ["0.0.1", "0.3.0"];

/** The hash of each version, which is the same for all machines. */
const HASHES = {
  "0.0.1": "9c62ca41f80d6b0ec77a30870668a868775050fbb86b585e80c9f95a6304dafe",
  "0.3.0": "9af9cf1880f5d6c15bf29b9952ca915d5792e232b7b3d98d5a74eb5ef37cd843",
};

/** What all versions need, with the hashes of every build of it. */
const REQUIREMENTS = join(ROOT, "tests/retalk-requirements.txt");

/**
 * @param {string} version
 * @returns {Promise<string>} The interpreter that has this version.
 */
export function ensureRetalk(version) {
  return ensureVirtualEnvironment(
    `retalk-${version}`,
    `retalk==${version} --hash=sha256:${HASHES[version]}\n--requirement ${REQUIREMENTS}\n`,
  );
}
