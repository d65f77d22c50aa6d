// Python with the package `cryptography`, for the example in Python: in an environment of its own under .tools, unless the
// Python that is there has the package.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ensurePackage, findOnPath } from "./debian.mjs";
import { withLock } from "./lock.mjs";
import { ROOT, execute, step } from "./steps.mjs";

const PACKAGE = "cryptography==48.0.0";
/** What proves that the package is new enough: Debian 12's has no such method. */
const NEEDED = "cryptography.hazmat.primitives.asymmetric.ed25519 as keys; keys.Ed25519PublicKey.public_bytes_raw";
const DIRECTORY = join(ROOT, ".tools/python");
const ADVICE =
  "The test of examples/announce.py needs python3 with venv and pip: apt install python3-venv (Debian), dnf install\n" +
  "python3 (Fedora), brew install python (macOS).";

/** @returns {Promise<string>} The interpreter. */
export async function ensurePython() {
  const own = join(DIRECTORY, "bin/python3");
  const found = [own, findOnPath("python3")].find((python) => python && has(python, NEEDED));
  if (found) return found;
  const find = () => [findOnPath("python3")].find((python) => python && has(python, "ensurepip, venv"));
  await ensurePackage({ name: "python3-venv", takes: "some seconds, once", advice: ADVICE, find });
  const python = find();
  if (!python) throw new Error(ADVICE);
  await mkdir(join(ROOT, ".tools"), { recursive: true });
  await withLock(`${DIRECTORY}.lock`, async () => {
    if (has(own, NEEDED)) return;
    await step(`Python package ${PACKAGE}`, { takes: "some seconds, once" }, async () => {
      if (!existsSync(own)) await execute(python, ["-m", "venv", DIRECTORY]);
      await execute(own, ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", PACKAGE]);
    });
  });
  return own;
}

/**
 * @param {string} python
 * @param {string} modules
 */
function has(python, modules) {
  try {
    execFileSync(python, ["-c", `import ${modules}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
