// The same rate of announces, spread over more and more communities: what each one costs must not grow.

import assert from "node:assert/strict";
import { drive } from "../load.mjs";
import { turn } from "../machine.mjs";
import { compare, inTurns } from "../measurement.mjs";
import { startSubject } from "../workers.mjs";

/** So that all answers are of one size, with however few peers a community can have here. */
const ANSWER_LIMIT = 10;
/** Announces a second: some way below what one core can do. */
const RATE = 400;
/** No ticket is to end during a run. */
const LIFETIME_MS = 3_600_000;

export const communities = {
  name: "communities",
  /** @param {import("../bench.mjs").Context} context */
  async run({ quick, rounds, seconds, say }) {
    const counts = quick ? [1, 10] : [1, 10, 100, 1_000];
    // All that there are: of those that nobody has named, only so many may come in a minute.
    const names = counts.flatMap((count) => Array.from({ length: count }, (_, number) => `of-${count}-${number}`));
    const server = await startSubject({
      COMMUNITIES: names.join(),
      ANSWER_LIMIT: String(ANSWER_LIMIT),
      TICKET_MAX_LIFETIME_MS: String(LIFETIME_MS),
    });
    const announce = (count, options) =>
      drive({
        quick,
        url: `${server.url}/announce`,
        kind: "announce",
        communities: count,
        community: `of-${count}`,
        lifetimeMs: LIFETIME_MS,
        ...options,
      });
    try {
      for (const count of counts) {
        say(`filling ${count} communities`);
        const requests = count * (ANSWER_LIMIT + 1);
        assert.deepEqual((await announce(count, { requests })).statuses, { 200: requests });
      }
      const requests = quick ? 40 : Math.round(RATE * seconds);
      const results = await inTurns(
        rounds,
        counts.map((count) => async () => {
          say(`${count} communities`);
          // An object that nobody has asked for a while is started again: that is not what is compared here.
          await announce(count, { requests: count });
          // Whoever comes to a full roster is listed in the place of somebody, or is not.
          const options = { requests, rate: RATE, expect: '"ok":true,"accepted":' };
          const { result, ran } = await turn(server.pid, () => announce(count, options));
          assert.deepEqual([result.statuses, result.matching], [{ 200: requests }, requests]);
          return { micros: ran / requests, p50: result.latencyMicros.p50 };
        }),
      );
      const [one, ...more] = results;
      return more.flatMap((many, index) =>
        ["micros", "p50"].map((key) => ({
          row: key === "micros" ? `${counts[index + 1]} communities, ${RATE} announces/s` : "  … latency, p50",
          unit: "µs",
          ...compare(many.map((value) => value[key]), one.map((value) => value[key])),
          goal: { atMost: 1.25 },
          baselineName: "1 community",
        })),
      );
    } finally {
      await server.stop();
    }
  },
};
