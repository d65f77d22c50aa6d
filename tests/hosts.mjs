// The hosts of the service, all started and ended in the same words, each as an operator would run it.
//
// Where a client's address comes from is the same too: from the header that http.mjs writes.

import { startBeacon } from "../tools/beacon.mjs";

/**
 * @typedef {object} HostOptions
 * @property {Record<string, string>} [vars] The operator's variables; others have their defaults.
 * @property {string} [state] The directory that keeps the state from run to run. By default it ends with the run.
 * @property {(line: string) => void} [log] Gets the service's log, line by line.
 *
 * @typedef {object} RunningHost
 * @property {string} url Where it answers, without a slash at the end.
 * @property {number} pid Of the process that serves.
 * @property {() => Promise<void>} kill Ends it by SIGKILL.
 * @property {() => Promise<void>} stop Ends it as its operator would, if it has not ended.
 *
 * @typedef {object} Host
 * @property {string} name
 * @property {string[]} notes The events that it logs of clients who do nothing unusual.
 * @property {(options?: HostOptions) => Promise<RunningHost>} start
 */

/** @type {Host} */
export const WORKER = {
  name: "the Worker",
  // Here is no place on the network that Cloudflare would know.
  notes: ["autonomous_system_unknown"],
  async start({ vars, state, log } = {}) {
    const { url, workerd, stop } = await startBeacon({ vars, persist: state, log });
    let ended;
    const end = () => (ended ??= stop());
    return {
      url,
      pid: workerd.pid,
      stop: end,
      kill() {
        workerd.kill("SIGKILL");
        return end();
      },
    };
  },
};

export const HOSTS = [WORKER];

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
