// aiosmtpd, a server for mail in Python, for the test of registration.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "./steps.mjs";
import { ensureVirtualEnvironment } from "./virtual-environment.mjs";

/** @returns {Promise<string>} The interpreter that has it. */
export async function ensureAiosmtpd() {
  return ensureVirtualEnvironment("aiosmtpd-1.4.6", await readFile(join(ROOT, "tests/aiosmtpd-requirements.txt"), "utf8"));
}
