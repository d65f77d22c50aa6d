// The roster without a runtime around it, measured by criterion: see benches/roster.rs.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, execute } from "../../tools/steps.mjs";
import { TOOL_ENVIRONMENT } from "../../tools/toolchain.mjs";

const RECORDS = [50, 200, 1_000];
const [SMALLEST, LARGEST] = [RECORDS[0], RECORDS.at(-1)];

export const native = {
  name: "native",
  /** @param {import("../bench.mjs").Context} context */
  async run({ quick, say }) {
    say("the roster, natively");
    const package_ = ["--package", "rendezvous-bench", "--bench", "roster", "--locked"];
    if (quick) {
      // Each benchmark once, with its assertions.
      await execute("cargo", ["test", ...package_], { environment: TOOL_ENVIRONMENT });
      return [];
    }
    await execute("cargo", ["bench", ...package_, "--", "--warm-up-time", "1", "--measurement-time", "3", "--noplot"], {
      environment: TOOL_ENVIRONMENT,
    });
    return ["announce", "answer"].flatMap((operation) => [
      ...RECORDS.map((records) => ({
        row: `roster.${operation}, ${records} records`,
        unit: "ns",
        subject: nanoseconds(operation, records),
        goal: operation === "announce" && records === 200 ? { valueAtMost: 2_000 } : undefined,
      })),
      {
        row: `roster.${operation}, ${LARGEST} records to ${SMALLEST}`,
        unit: "ns",
        subject: nanoseconds(operation, LARGEST),
        baseline: nanoseconds(operation, SMALLEST),
        ratio: nanoseconds(operation, LARGEST) / nanoseconds(operation, SMALLEST),
        // A plain pass over all of them.
        goal: { atMost: LARGEST / SMALLEST },
        baselineName: `${SMALLEST} records`,
      },
    ]);
  },
};

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
