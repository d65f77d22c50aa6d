// The programs, as binaries. CAPSULE_BIN and MESSENGER_BIN name them, target/debug/capsule and target/debug/rendezvous by
// default.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PATIENCE_MS } from "./patience.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
export const CAPSULE = process.env.CAPSULE_BIN ?? join(ROOT, "target/debug/capsule");
export const MESSENGER = process.env.MESSENGER_BIN ?? join(ROOT, "target/debug/rendezvous");

/** A whole second of yesterday, for stories: for what was more than a year ago the program signs nothing. */
export const YESTERDAY = Math.floor(Date.now() / 1_000) * 1_000 - 86_400_000;
/** The variables that set the time. */
export const at = (millis) => ({ SOURCE_DATE_EPOCH: String(millis / 1_000) });
/** A whole second, as the programs show it to people. */
export const rfc3339 = (millis) => new Date(millis).toISOString().replace(".000Z", "Z");

/** Says what to do where it has not been built. */
export function requireCapsule() {
  assert.ok(existsSync(CAPSULE), `${CAPSULE} is not there: cargo build --package rendezvous-capsule`);
}

/** Says what to do where it has not been built. */
export function requireMessenger() {
  assert.ok(existsSync(MESSENGER), `${MESSENGER} is not there: cargo build --package rendezvous-messenger`);
}

/**
 * Runs the program, with no variables but those given.
 *
 * @param {string[]} args
 * @param {{ env?: Record<string, string>, cwd?: string }} [options]
 */
export function runCapsule(args, { env = {}, cwd } = {}) {
  return finished(spawn(CAPSULE, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], timeout: PATIENCE_MS }));
}

/**
 * @param {import("node:child_process").ChildProcess} child
 * @returns {Promise<{ code: number | null, signal: string | null, stdout: string, stderr: string }>}
 */
export async function finished(child) {
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (output[name] += text));
  const [code, signal] = await once(child, "close");
  return { code, signal, ...output };
}
