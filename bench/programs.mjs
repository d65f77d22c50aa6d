// The program for one machine, as its operator would start it.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startNative } from "../tools/native.mjs";
import { ROOT } from "../tools/steps.mjs";
import { pinned } from "./machine.mjs";

/**
 * @param {boolean} quick The same program, compiled in less time.
 * @param {string} name
 */
export const programOf = (quick, name) => join(ROOT, "target", quick ? "debug" : "native", name);

/**
 * The program, on the core of the servers.
 *
 * @param {import("./bench.mjs").Context} context
 * @param {Record<string, string>} [variables]
 * @param {string} [kept] The directory of its state, which else ends with it.
 */
export async function startProgram({ quick }, variables = {}, kept) {
  const state = kept ?? (await mkdtemp(join(tmpdir(), "rendezvous-bench-")));
  const environment = { CLIENT_ADDRESS_HEADER: "cf-connecting-ip", COMMUNITIES: "*", PORT: "0", ...variables, STATE: state };
  const program = programOf(quick, "rendezvous-beacon");
  const remove = () => kept ?? rm(state, { recursive: true, force: true });
  try {
    const server = await startNative({ environment, command: await pinned("server", program, ["serve"]) });
    return { url: server.url, pid: server.child.pid, stop: () => server.stop().finally(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
}
