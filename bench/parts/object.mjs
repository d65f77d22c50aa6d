// The object alone, which is one thread for a whole community: the call to it and what it does, without the checks.

import assert from "node:assert/strict";
import { drive } from "../load.mjs";
import { turn } from "../machine.mjs";
import { compare, inTurns } from "../measurement.mjs";
import { startObject } from "../workers.mjs";

/** Calls for each request: enough that the request itself does not show. */
const CALLS = 25;
const MOST_PER_SECOND = 400;

export const object = {
  name: "object",
  /** @param {import("../bench.mjs").Context} context */
  async run({ quick, rounds, seconds, say }) {
    const row = "time of one announce in the object";
    say(row);
    const options = {
      quick,
      kind: "hand-over",
      ticketsPerBody: quick ? 5 : CALLS,
      requests: quick ? 4 : Math.round(MOST_PER_SECOND * seconds),
      connections: 8,
      seconds,
    };
    const subject = await startObject({ of: "beacon" });
    let baseline;
    try {
      // Enough to fill the roster, which is what makes the answer as large as it gets.
      const filling = { ...options, requests: Math.max(options.requests, 50) };
      const warmUp = await drive({ ...filling, url: subject.url, withAnswer: true });
      baseline = await startObject({ of: "baseline", answer: warmUp.lastAnswer });
      await drive({ ...options, url: baseline.url });
      const once = async (server, expect) => {
        const { result, ran } = await turn(server.pid, () => drive({ ...options, url: server.url, expect }));
        assert.deepEqual([result.statuses[200], result.matching], [result.requests, result.requests], row);
        const calls = result.requests * options.ticketsPerBody;
        return { wall: (result.seconds * 1e6) / calls, processor: ran / calls };
      };
      const [ours, theirs] = await inTurns(rounds, [
        // Whoever comes to a full roster is listed in the place of somebody, or is not.
        () => once(subject, '"ok":true,"accepted":'),
        () => once(baseline, ""),
      ]);
      const per = (key) => compare(ours.map((one) => one[key]), theirs.map((one) => one[key]));
      return [
        { row, unit: "µs", ...per("wall"), goal: { atMost: 1.25 } },
        { row: "  … processor time", unit: "µs", ...per("processor"), goal: { atMost: 1.25 } },
      ];
    } finally {
      await subject.stop();
      await baseline?.stop();
    }
  },
};
