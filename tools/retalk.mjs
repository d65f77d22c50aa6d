// retalk's own programs in Python, in an environment for each version under .tools. What is installed is pinned by hash.

import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ensurePackage, findOnPath } from "./debian.mjs";
import { ROOT, execute, step } from "./steps.mjs";
import { withLock } from "./lock.mjs";

/** The first version, and the one after which the wire is as it is. */
export const VERSIONS = ["0.0.1", "0.3.0"];

const ADVICE = "The tests of retalk's door need python3 of 3.10 or later, with venv and pip: apt install python3-venv (Debian).";

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
export async function ensureRetalk(version) {
  const directory = join(ROOT, ".tools", `retalk-${version}`);
  const [python, done] = [join(directory, "bin/python3"), join(directory, "installed")];
  if (existsSync(done)) return python;
  const find = () => findOnPath("python3");
  await ensurePackage({ name: "python3-venv", takes: "some seconds, once", advice: ADVICE, find });
  if (!find()) throw new Error(ADVICE);
  await mkdir(join(ROOT, ".tools"), { recursive: true });
  await withLock(`${directory}.lock`, async () => {
    if (existsSync(done)) return;
    await step(`retalk ${version}`, { takes: "some seconds, once", advice: ADVICE }, async () => {
      await execute(find(), ["-m", "venv", directory]);
      const list = join(directory, "requirements.txt");
      await writeFile(list, `retalk==${version} --hash=sha256:${HASHES[version]}\n--requirement ${REQUIREMENTS}\n`);
      await execute(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:", "--requirement", list]);
      await writeFile(done, "");
    });
  });
  return python;
}
