// `npm run bench`: this project against its baselines, in turns, in one run. bench/README.md says how to read it.

import { Failure, elapsed, execute, main, readOptions, step } from "../tools/steps.mjs";
import { TOOL_ENVIRONMENT, ensureToolchain } from "../tools/toolchain.mjs";
import { describeMachine, waitedShare } from "./machine.mjs";
import { capsule } from "./parts/capsule.mjs";
import { communities } from "./parts/communities.mjs";
import { cost } from "./parts/cost.mjs";
import { deposits } from "./parts/deposits.mjs";
import { hosts } from "./parts/hosts.mjs";
import { herd, latency } from "./parts/latency.mjs";
import { live } from "./parts/live.mjs";
import { load } from "./parts/load.mjs";
import { mailboxes } from "./parts/mailboxes.mjs";
import { messages } from "./parts/messages.mjs";
import { messenger } from "./parts/messenger.mjs";
import { native } from "./parts/native.mjs";
import { object } from "./parts/object.mjs";
import { size } from "./parts/size.mjs";
import { soak } from "./parts/soak.mjs";
import { print } from "./table.mjs";
import { buildWorkers } from "./workers.mjs";

/**
 * @typedef {object} Context
 * @property {boolean} quick
 * @property {number} rounds Turns of each side.
 * @property {number} seconds Of one turn.
 * @property {(what: string) => void} say
 *
 * @typedef {object} Row
 * @property {string} row
 * @property {string} unit
 * @property {number} [subject] Absent where there is nothing to measure, and the row says why.
 * @property {number} [baseline]
 * @property {number} [ratio] Of the medians.
 * @property {[number, number]} [spread] The least and the largest ratio of one round.
 * @property {{ atLeast?: number, atMost?: number, valueAtLeast?: number, valueAtMost?: number }} [goal]
 * @property {string} [baselineName] Where it is not the empty Worker or object.
 *
 * @typedef {object} Part
 * @property {string} name
 * @property {(keyof typeof PROFILES)[]} [programs] The packages of the programs that it measures.
 * @property {(context: Context) => Promise<Row[]>} run
 */

/** As their users get them. */
const PROFILES = { "rendezvous-capsule": "release", "rendezvous-native": "native", "rendezvous-messenger": "native" };

/** @type {Part[]} */
const PARTS = [load, object, communities, native, hosts, live, mailboxes, deposits, messages, messenger, capsule, size, latency, herd, soak, cost];

const NAMES = PARTS.map(({ name }) => name).join(", ");
const USAGE = `npm run bench [-- OPTIONS]: this project against its baselines, in turns, in one run of some fifty minutes.
bench/README.md says how to read the table.

  --only TEXT    the parts with TEXT in their names: ${NAMES}
  --rounds N     turns of each side (5)
  --seconds N    of one turn (4)
  --json         the raw numbers, on stdout
  --quick        everything once and small: whether it works, never how fast it is`;

await main(async () => {
  const values = readOptions(USAGE, {
    only: { type: "string", default: "" },
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "4" },
  });
  const parts = PARTS.filter(({ name }) => name.includes(values.only.toLowerCase()));
  if (parts.length === 0) {
    throw new Failure(`No part's name has "${values.only}" in it: ${NAMES}`, 2);
  }
  const { quick } = values;
  const number = (name) => {
    if (!(Number(values[name]) > 0)) throw new Failure(`--${name} must be a number above 0, not "${values[name]}"`, 2);
    return Number(values[name]);
  };
  const context = {
    quick,
    rounds: quick ? 1 : number("rounds"),
    seconds: quick ? 20 : number("seconds"),
    say: (what) => console.error(`    ${what}`),
  };

  await ensureToolchain();
  await buildWorkers();
  await step("Building the load generator and the programs", { takes: "about 2 minutes, once" }, async () => {
    await build("rendezvous-bench", quick ? "dev" : "load");
    for (const program of new Set(parts.flatMap(({ programs = [] }) => programs))) await build(program, quick ? "dev" : PROFILES[program]);
  });

  const started = performance.now();
  const rows = [];
  for (const part of parts) rows.push(...(await step(`Part ${part.name}`, {}, () => part.run(context))));
  const machine = await describeMachine();
  const { rounds, seconds } = context;
  if (values.json) console.log(JSON.stringify({ machine, rounds, seconds, waitedShare: waitedShare(), rows }, null, 2));
  // A time that was taken in passing means nothing.
  else if (quick) console.log(`${parts.length} passed, 0 failed`);
  else print(rows, machine, [`${rounds} turns of ${seconds} s each, ${elapsed(started)} in all`, quietness()]);
});

/** On a machine with nothing else to do it is a few in a hundred: workerd's own threads share its core. */
function quietness() {
  return `workerd waited for its core in ${(waitedShare() * 100).toFixed(1)} % of the turns' time`;
}

/**
 * @param {string} crate
 * @param {string} profile
 */
function build(crate, profile) {
  const args = ["build", "--package", crate, "--bins", "--locked", "--profile", profile];
  return execute("cargo", args, { environment: TOOL_ENVIRONMENT });
}
