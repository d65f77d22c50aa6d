// How long clients wait, when they come at fixed times whether or not those before them have their answers.

import assert from "node:assert/strict";
import { drive } from "../load.mjs";
import { turn } from "../machine.mjs";
import { compare, inTurns, median } from "../measurement.mjs";
import { startBaseline, startSubject } from "../workers.mjs";
import { fill } from "./load.mjs";

const PATH = "/announce?community=bench";
/** Of what the beacon can do at most. The baseline is asked for as much, of which it is less. */
const LOAD = 0.5;
/** Clients are many: no request waits for a connection. */
const CONNECTIONS = 128;
const HERD = 2_000;
const HERD_SECONDS = 10;

export const latency = {
  name: "latency",
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    return withBoth(context, async (subject, baseline, capacity) => {
      const { quick, rounds, seconds, say } = context;
      const rate = quick ? 50 : Math.round(LOAD * capacity);
      say(`latency at ${rate} announces/s`);
      const requests = quick ? 40 : Math.round(rate * seconds * 2);
      const once = async (server) => {
        const options = { quick, kind: "announce", requests, rate, connections: CONNECTIONS };
        const { result } = await turn(server.pid, () => drive({ ...options, url: server.url + PATH }));
        assert.deepEqual(result.statuses, { 200: requests });
        return result;
      };
      const [ours, theirs] = await inTurns(rounds, [() => once(subject), () => once(baseline)]);
      const quantile = (name, goal) => ({
        row: `latency at ${rate} announces/s, ${name.replace("p999", "p99.9")}`,
        unit: "µs",
        ...compare(ours.map((result) => result.latencyMicros[name]), theirs.map((result) => result.latencyMicros[name])),
        goal,
      });
      const late = median([...ours, ...theirs].map((result) => result.latenessMicros.p99));
      return [
        quantile("p50"),
        quantile("p99", { atMost: 2 }),
        quantile("p999"),
        { row: "  … of which the generator's own lateness, p99", unit: "µs", subject: late },
      ];
    });
  },
};

export const herd = {
  name: "herd",
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    return withBoth(context, async (subject, baseline) => {
      const { quick, say } = context;
      const [clients, seconds] = quick ? [40, 1] : [HERD, HERD_SECONDS];
      say(`${clients} clients in ${seconds} s`);
      const options = { quick, kind: "announce", requests: clients, rate: clients / seconds, connections: CONNECTIONS };
      // A community of its own, which has one peer.
      const community = "?community=herd";
      await drive({ quick, kind: "announce", requests: 1, url: `${subject.url}/announce${community}` });
      const url = `${subject.url}/announce${community}`;
      const { result } = await turn(subject.pid, () => drive({ ...options, url, expect: '"peers":[{' }));
      const served = (result.statuses[200] ?? 0) + (result.statuses[429] ?? 0);
      assert.equal(served, clients, JSON.stringify(result.statuses));
      assert.equal(result.matching, clients, "a client got no peers");
      const other = await drive({ ...options, url: baseline.url + PATH });
      const goal = { valueAtLeast: clients };
      return [
        { row: `${clients} clients in ${seconds} s: have peers`, unit: "clients", subject: result.matching, goal },
        { row: "  … answered 200 or 429", unit: "clients", subject: served, goal },
        { row: "  … latency, p99", unit: "µs", ...compare([result.latencyMicros.p99], [other.latencyMicros.p99]) },
      ];
    });
  },
};

/** @typedef {import("../workers.mjs").Server} Server */

/**
 * @template T
 * @param {import("../bench.mjs").Context} context
 * @param {(subject: Server, baseline: Server, capacity: number) => Promise<T>} use
 * @returns {Promise<T>}
 */
async function withBoth(context, use) {
  const { quick, seconds } = context;
  const subject = await startSubject();
  let baseline;
  try {
    await fill(subject.url + PATH, context);
    const options = { quick, kind: "announce", requests: quick ? 40 : Math.round(8_000 * seconds), seconds };
    await drive({ ...options, url: subject.url + PATH });
    const { perSecond, lastAnswer } = await drive({ ...options, url: subject.url + PATH, withAnswer: true });
    baseline = await startBaseline({ answer: lastAnswer, throughObject: true });
    await drive({ ...options, url: baseline.url + PATH });
    return await use(subject, baseline, perSecond);
  } finally {
    await subject.stop();
    await baseline?.stop();
  }
}
