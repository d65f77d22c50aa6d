// The roster without a runtime around it, measured by criterion: see benches/roster.rs.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, execute } from "../../tools/steps.mjs";
import { TOOL_ENVIRONMENT } from "../../tools/toolchain.mjs";

const RECORDS = [50, 200, 1_000];
const LARGEST = RECORDS.at(-1);
/** What is compared with the largest roster: the smallest of which the same has to be done. One of 50 is answered whole. */
const OPERATIONS = [
  { operation: "announce", from: 50 },
  { operation: "answer", from: 200 },
];

export const native = {
  name: "native",
  /** @param {import("../bench.mjs").Context} context */
  async run({ quick, say }) {
    say("the roster, natively");
    const bench = ["--bench", "roster", "--locked"];
    if (quick) {
      // Each benchmark once, with its assertions.
      await execute("cargo", ["test", "--workspace", ...bench], { environment: TOOL_ENVIRONMENT });
      return [];
    }
    await execute("cargo", ["bench", "--package", "rendezvous-bench", ...bench, "--", "--warm-up-time", "1", "--measurement-time", "3", "--noplot"], {
      environment: TOOL_ENVIRONMENT,
    });
    return [
      ...OPERATIONS.flatMap(({ operation, from }) => [
        ...RECORDS.map((records) => ({
          row: `roster.${operation}, ${records} records`,
          unit: "ns",
          subject: nanoseconds(operation, records),
        })),
        compared({
          row: `roster.${operation}, ${LARGEST} records to ${from}`,
          subject: nanoseconds(operation, LARGEST),
          baseline: nanoseconds(operation, from),
          // A plain pass over all of them, or one that sorts them.
          atMost: (LARGEST * Math.log(LARGEST)) / (from * Math.log(from)),
          baselineName: `${from} records`,
        }),
      ]),
      compared({
        row: "roster.announce and roster.answer, 200 records",
        subject: nanoseconds("announce", 200) + nanoseconds("answer", 200),
        baseline: nanoseconds("verify", 1),
        atMost: 0.25,
        baselineName: "parsed ticket's check",
      }),
    ];
  },
};

/** @param {{ row: string, subject: number, baseline: number, atMost: number, baselineName: string }} values */
function compared({ atMost, ...values }) {
  return { ...values, unit: "ns", ratio: values.subject / values.baseline, goal: { atMost } };
}

/**
 * @param {string} operation
 * @param {number} records
 * @returns {number} The median that criterion has just estimated.
 */
function nanoseconds(operation, records) {
  const file = join(ROOT, "target/criterion", operation, String(records), "new/estimates.json");
  if (!existsSync(file)) throw new Error(`criterion has not written ${file}`);
  return JSON.parse(readFileSync(file, "utf8")).median.point_estimate;
}
