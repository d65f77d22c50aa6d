// Programs in Python that tests run, each in an environment of its own under .tools. What is installed is pinned by hash.

import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ensurePackage, findOnPath } from "./debian.mjs";
import { withLock } from "./lock.mjs";
import { ROOT, execute, step } from "./steps.mjs";

const ADVICE = "This needs python3 of 3.10 or later, with venv and pip: apt install python3-venv (Debian).";

/**
 * @param {string} name What is installed, and its version: `name-1.2.3`.
 * @param {string} requirements What is installed, in the form of pip's files of requirements, with hashes.
 * @param {string[]} [options] Further options of `pip install`.
 * @returns {Promise<string>} The interpreter that has it.
 */
export async function ensureVirtualEnvironment(name, requirements, options = []) {
  const directory = join(ROOT, ".tools", name);
  const [python, done] = [join(directory, "bin/python3"), join(directory, "installed")];
  if (existsSync(done)) return python;
  const find = () => findOnPath("python3");
  await ensurePackage({ name: "python3-venv", takes: "some seconds, once", advice: ADVICE, find });
  if (!find()) throw new Error(ADVICE);
  await mkdir(join(ROOT, ".tools"), { recursive: true });
  await withLock(`${directory}.lock`, async () => {
    if (existsSync(done)) return;
    await step(name, { takes: "some seconds, once", advice: ADVICE }, async () => {
      await execute(find(), ["-m", "venv", directory]);
      const list = join(directory, "requirements.txt");
      await writeFile(list, requirements);
      await execute(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:", ...options, "--requirement", list]);
      await writeFile(done, "");
    });
  });
  return python;
}
