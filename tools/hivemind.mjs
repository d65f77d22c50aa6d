// What hivemind-rendezvous' users call, in Python: the functions that sign, and the library that they sign with.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "./steps.mjs";
import { ensureVirtualEnvironment } from "./virtual-environment.mjs";

/** @returns {Promise<string>} The interpreter that has the package. */
export async function ensureHivemind() {
  const requirements = await readFile(join(ROOT, "tests/hivemind-requirements.txt"), "utf8");
  // The rest of what the package names is for its server, which is not run.
  return ensureVirtualEnvironment("hivemind-rendezvous-0.1.1a1", requirements, ["--no-deps"]);
}
