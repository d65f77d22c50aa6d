// Ten minutes of announces by peers that come and go: what leaks, or fills up, shows.

import assert from "node:assert/strict";
import { drive } from "../load.mjs";
import { residentBytes, turn } from "../machine.mjs";
import { median } from "../measurement.mjs";
import { startSubject } from "../workers.mjs";

const PATH = "/announce?community=bench";
const RATE = 300;

export const soak = {
  name: "soak",
  /** @param {import("../bench.mjs").Context} context */
  async run({ quick, say }) {
    const [windows, seconds] = quick ? [2, 1] : [10, 60];
    const server = await startSubject();
    const memory = [];
    const p99 = [];
    try {
      for (let window = 0; window < windows; window += 1) {
        say(`soak, ${window + 1} of ${windows} times ${seconds} s`);
        const requests = Math.round((quick ? 40 : RATE) * seconds);
        const rate = requests / seconds;
        const options = { quick, kind: "announce", requests, rate, connections: 64, seconds: seconds + 1 };
        const { result } = await turn(server.pid, () => drive({ ...options, url: server.url + PATH }));
        assert.deepEqual(result.statuses, { 200: requests });
        memory.push((await residentBytes(server.pid)) / 1e6);
        p99.push(result.latencyMicros.p99);
      }
    } finally {
      await server.stop();
    }
    if (quick) return [];
    // The first three minutes are for what starts: code that is not yet optimised, a roster that fills up, a heap that grows
    // to the size that it needs.
    const [early, late] = [(values) => median(values.slice(3, 6)), (values) => median(values.slice(-3))];
    const row = (name, unit, values, atMost) => ({
      row: name,
      unit,
      subject: late(values),
      baseline: early(values),
      ratio: late(values) / early(values),
      goal: { atMost },
      baselineName: "minutes 4 to 6",
      values,
    });
    return [
      row(`${windows} minutes of ${RATE} announces/s: memory`, "MB", memory, 1.05),
      row("  … latency, p99", "µs", p99, 1.25),
    ];
  },
};
