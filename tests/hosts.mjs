// The hosts of the service, all started and ended in the same words, each as an operator would run it.
//
// Where a client's address comes from is the same too: from the header that http.mjs writes.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBeacon } from "../tools/beacon.mjs";
import { PROGRAM, startNative } from "../tools/native.mjs";
import { ADDRESS_HEADER } from "./http.mjs";

/**
 * @typedef {object} HostOptions
 * @property {Record<string, string>} [vars] The operator's variables; others have their defaults.
 * @property {number} [port] By default one that is free.
 * @property {string} [state] The directory that keeps the state from run to run. By default it ends with the run.
 * @property {(line: string) => void} [log] Gets the service's log, line by line.
 *
 * @typedef {object} RunningHost
 * @property {string} url Where it answers, without a slash at the end.
 * @property {string | undefined} adminUrl Where the operator is answered, if there is a password.
 * @property {number} pid Of the process that serves.
 * @property {() => Promise<void>} kill Ends it by SIGKILL.
 * @property {() => Promise<void>} stop Ends it as its operator would, if it has not ended.
 *
 * @typedef {object} Host
 * @property {string} name
 * @property {string[]} notes The events that it logs of clients who do nothing unusual.
 * @property {string[]} asides Events that it may log besides, however often, of what its runtime does by itself.
 * @property {boolean} keepsAnswers Whether it keeps answers until they are read, and so has too many of them.
 * @property {number} [liveFrames] After how many frames a connection of `GET /live` ends, where it does.
 * @property {boolean} [runtimeRefuses] Whether a WebSocket's handshake that is not whole never comes to the beacon.
 * @property {{ code: number, reason: string }} lastWord How connections of `GET /live` end when its operator ends it.
 * @property {number} memoryGrowthMiB By how much its memory may grow under load that it has been under for a while.
 * @property {number} warmUpMiB By how much more, where that was less than two minutes.
 * @property {(options?: HostOptions) => Promise<RunningHost>} start
 */

/** @type {Host} */
export const WORKER = {
  name: "the Worker",
  // Here is no place on the network that Cloudflare would know.
  notes: ["autonomous_system_unknown"],
  // An object that nobody has asked for ten seconds is taken out of memory. On a slow machine that happens within a test.
  asides: ["roster_restored"],
  keepsAnswers: false,
  liveFrames: 200,
  runtimeRefuses: true,
  lastWord: { code: 1006, reason: "" },
  // A garbage collector lets rubbish lie as long as there is room: about 500 MiB, which it takes 30,000 requests to fill.
  memoryGrowthMiB: 96,
  warmUpMiB: 256,
  async start({ vars, port, state, log } = {}) {
    const { url, workerd, stop, crash } = await startBeacon({ vars, port, persist: state, log });
    return { url, adminUrl: url, pid: workerd.pid, stop, kill: crash };
  },
};

/** @type {Host} */
export const NATIVE = {
  name: "the native program",
  notes: [],
  asides: [],
  keepsAnswers: true,
  lastWord: { code: 1001, reason: "GOING_AWAY" },
  // What it remembers of lists, networks and signatures is bounded, and takes some hundred thousand requests to fill.
  memoryGrowthMiB: 32,
  warmUpMiB: 0,
  async start({ vars, port = 0, state, log = () => {} } = {}) {
    assert.ok(existsSync(PROGRAM), `${PROGRAM} is not there: cargo build --package rendezvous-native`);
    const own = state ?? (await mkdtemp(join(tmpdir(), "native-test-")));
    const admin = vars?.ADMIN_PASSWORD === undefined ? {} : { ADMIN_ADDRESS: "127.0.0.1:0" };
    const environment = { CLIENT_ADDRESS_HEADER: ADDRESS_HEADER, ...vars, ...admin, PORT: String(port), STATE: own };
    let adminUrl;
    const hear = (line) => {
      const found = line.match(/"event":"admin_listening","details":{"url":"(.*)\/admin"}/);
      if (found) adminUrl = found[1];
      else log(line);
    };
    const { url, child, stop } = await startNative({ environment, log: hear });
    const end = async () => {
      await stop();
      if (state === undefined) await rm(own, { recursive: true, force: true });
    };
    return {
      url,
      adminUrl,
      pid: child.pid,
      stop: end,
      kill() {
        child.kill("SIGKILL");
        return end();
      },
    };
  },
};

/** Both, or the one that there is another runtime for where that one is asked for. */
export const HOSTS = process.env.WORKERD ? [WORKER] : [WORKER, NATIVE];

/**
 * Runs a host, and ends it however the work ends.
 *
 * @param {Host} host
 * @param {Omit<HostOptions, "log">} options
 * @param {(running: RunningHost, log: string[]) => Promise<void>} work
 */
export async function withHost(host, options, work) {
  const log = [];
  const running = await host.start({ ...options, log: (line) => log.push(line) });
  try {
    await work(running, log);
  } finally {
    await running.stop();
  }
}
