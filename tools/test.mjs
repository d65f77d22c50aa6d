// `npm test`: every check that there is, in the order in which they are quick to fail.
//
// A failed check does not stop those after it, unless they need what it was to make.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { buildWorker } from "./build.mjs";
import { ensureChromium } from "./chromium.mjs";
import { ensureCoturn } from "./coturn.mjs";
import { ensureMinisign } from "./minisign.mjs";
import { Failure, ROOT, elapsed, execute, interruption, main, readOptions, step } from "./steps.mjs";
import { PROGRAMS, TOOL_ENVIRONMENT, ensureToolchain } from "./toolchain.mjs";

const WORKER = ["--package", "rendezvous-beacon", "--target", "wasm32-unknown-unknown", "--all-features"];

/** What hangs fails, in time for what comes after it. No file takes half as long. */
const LIMIT_MS = 900_000;
const LONG_LIMIT_MS = 4 * LIMIT_MS;

/** Most of what a file does is wait for programs, pages and clocks: four of them keep two cores busy. */
const CONCURRENT_FILES = 4;

/** A property that fails is worth a minute's search for a plainer case, not a quarter of an hour. */
const SHRINK_MS = 60_000;

/** Of what a failed test says, beside its name at the end of everything. */
const REASON_MAX_LENGTH = 300;

/** Output that is piped through this process would lose its colours. */
const COLOR = process.stdout.isTTY && !process.env.NO_COLOR ? { CARGO_TERM_COLOR: "always", FORCE_COLOR: "1" } : {};

/**
 * @typedef {object} Check
 * @property {string} name
 * @property {(count: Count, long: boolean) => Promise<unknown>} run Adds the tests that it ran to the count. Some can do
 *   more of the same for longer.
 * @property {boolean} [essential] Whether there is no point in going on without it.
 * @property {boolean} [onlyLong] Whether --long alone runs it.
 *
 * @typedef {{ passed: number, failed: number, names: string[] }} Count `names` are of what failed.
 */

/** @type {Check[]} */
const CHECKS = [
  { name: "Format", run: () => cargo(["fmt", "--all", "--check"]) },
  {
    name: "Lints",
    run: () => cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]),
  },
  { name: "Lints of the Worker on wasm", run: () => cargo(["clippy", ...WORKER, "--locked", "--", "--deny", "warnings"]) },
  {
    name: "Documentation",
    run: () => cargo(["doc", "--workspace", "--no-deps", "--locked"], { RUSTDOCFLAGS: "--deny warnings" }),
  },
  {
    name: "Dependencies",
    run: () => execute(PROGRAMS.cargoDeny, ["--workspace", "--locked", "check", "bans", "licenses", "sources"], { environment: TOOL_ENVIRONMENT }),
  },
  { name: "Rust tests", run: runRustTests },
  { name: "Build of the Worker", run: () => buildWorker(), essential: true },
  {
    name: "Build of the programs",
    run: buildPrograms,
    essential: true,
  },
  { name: "Types, build and tests of the client", run: runClient },
  { name: "Tests of both hosts, programs and client", run: runSystemTests },
  {
    name: "The Worker on the workerd before",
    run: (count, long) => {
      const suites = long ? ["tests/http.test.mjs", "tests/worker.test.mjs"] : ["tests/http.test.mjs"];
      return runNodeTests(suites, count, { WORKERD: "previous" });
    },
  },
  // By themselves: the load of the one is nobody else's, and what the other measures is how long people wait.
  { name: "Crashes and load", run: (count, long) => runNodeTests(["tests/endurance.mjs"], count, long ? { LONG_TESTS: "1" } : {}) },
  { name: "The relay of libp2p's", onlyLong: true, run: runRelay },
  { name: "Simulations", run: (count) => runNodeTests(["tests/simulation.mjs", "tests/live-simulation.mjs"], count) },
  { name: "Benchmarks, once and small", run: runBenchmarks },
];

const STEPS = CHECKS.map(({ name, onlyLong }) => `  ${name}${onlyLong ? " (--long)" : ""}`).join("\n");
const USAGE = `npm test [-- --only TEXT] [-- --long]: every check that there is, or those with TEXT in their names:

${STEPS}

--long does of what can be done for longer (crashes, load, the workerd before) what takes an hour more, and builds the program
for one machine with all that it can have.`;

await main(async () => {
  const { only, long } = readOptions(USAGE, { only: { type: "string", default: "" }, long: { type: "boolean", default: false } });
  const checks = CHECKS.filter(({ name, onlyLong }) => (long || !onlyLong) && name.toLowerCase().includes(only.toLowerCase()));
  if (checks.length === 0) throw new Failure(`No step's name has "${only}" in it${long ? "" : ", without --long"}:\n${STEPS}`, 2);
  await ensureToolchain({ tests: true });

  const rows = [["step", "result", "time"]];
  const total = { passed: 0, failed: 0 };
  const names = [];
  let stopped = false;
  for (const { name, run, essential } of checks) {
    if (stopped) {
      rows.push([name, "not run", ""]);
      continue;
    }
    const started = performance.now();
    const { error, count } = await outcome(name, (count) => run(count, long));
    total.passed += count.passed;
    // What fails without a failed test (a lint, a compile error) is one failure.
    total.failed += error && count.failed === 0 ? 1 : count.failed;
    names.push(...count.names.map((test) => `${name}: ${test}`));
    rows.push([name, error ? "FAILED" : "passed", elapsed(started)]);
    stopped = Boolean(error && essential);
  }

  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)));
  console.log();
  for (const row of rows) console.log(row.map((cell, column) => cell.padEnd(widths[column])).join("   ").trimEnd());
  if (names.length > 0) console.log(`\nfailed:\n${names.join("\n")}`);
  console.log(`\n${total.passed} passed, ${total.failed} failed`);
  if (total.failed > 0) process.exit(1);
});

/**
 * @param {string} name
 * @param {(count: Count) => Promise<unknown>} run
 * @returns {Promise<{ error?: Failure, count: Count }>}
 */
async function outcome(name, run) {
  const count = { passed: 0, failed: 0, names: [] };
  try {
    await step(name, {}, () => run(count));
    return { count };
  } catch (error) {
    if (interruption.aborted || !(error instanceof Failure)) throw error;
    console.error(error.message);
    return { error, count };
  }
}

/**
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [environment]
 * @param {(text: string) => void} [observe]
 */
function cargo(args, environment = {}, observe = undefined) {
  return execute("cargo", args, { environment: { ...TOOL_ENVIRONMENT, ...environment }, observe });
}

/** @param {Count} count */
function runRustTests(count) {
  return runCargoTests(["--workspace", "--locked", "--no-fail-fast"], count);
}

/**
 * @param {string[]} args
 * @param {Count} count
 */
async function runCargoTests(args, count) {
  const output = collect();
  try {
    const environment = { PROPTEST_MAX_SHRINK_TIME: String(SHRINK_MS), ...COLOR };
    await cargo(["test", ...args], environment, output.add);
  } finally {
    // One such line for every program with tests.
    for (const [, passed, failed] of output.text().matchAll(/^test result: .* (\d+) passed; (\d+) failed/gm)) {
      count.passed += Number(passed);
      count.failed += Number(failed);
    }
    // What a property says of the case that it has found may be longer than all else: its seed finds it again.
    const said = new Map();
    for (const [, name, section] of output.text().matchAll(/^---- (\S+) stdout ----\n([^]*?)(?=^---- |^failures:$)/gm)) {
      const panics = section.matchAll(/panicked at (.*):\n(.*)$/gm);
      said.set(name, [...Array.from(panics, ([, place, text]) => `${place}: ${text}`).slice(-1), ...matches(section, /^(cc [0-9a-f]+)/gm)]);
    }
    for (const name of matches(output.text(), /^test (.*) \.\.\. FAILED$/gm)) count.names.push(withReasons(name, said.get(name)));
  }
}

/**
 * Each by itself, as `npm start` builds them: together they would get each other's features, and then be built once more
 * within a test, whose time that is not.
 */
async function buildPrograms() {
  for (const name of ["messenger", "native", "capsule"]) await cargo(["build", "--package", `rendezvous-${name}`, "--locked"]);
}

/** @param {Count} count */
async function runClient(count) {
  await execute(process.execPath, ["client/build.mjs"]);
  await runNodeTests(suitesIn("client/test"), count);
}

/**
 * @param {Count} count
 * @param {boolean} long
 */
async function runSystemTests(count, long) {
  await ensureChromium();
  await ensureMinisign();
  await ensureCoturn();
  await runNodeTests(suitesIn("tests"), count, long ? { LONG_TESTS: "1" } : {});
}

/**
 * In a folder of its own: beside what the other tests run there would be another program of the same name.
 *
 * @param {Count} count
 */
async function runRelay(count) {
  const folder = join(ROOT, "target/relay");
  const options = ["--package", "rendezvous-native", "--features", "relay", "--locked", "--target-dir", folder];
  await cargo(["clippy", "--all-targets", ...options, "--", "--deny", "warnings"]);
  await runCargoTests([...options, "circuit_relay"], count);
  await cargo(["build", ...options]);
  await runNodeTests(["tests/relay.mjs"], count, { RELAY_BIN: join(folder, "debug/rendezvous-beacon") });
}

/** @param {string} directory */
function suitesIn(directory) {
  const names = readdirSync(join(ROOT, directory)).filter((name) => name.endsWith(".test.mjs"));
  return names.sort().map((name) => `${directory}/${name}`);
}

/** @param {Count} count */
async function runBenchmarks(count) {
  const output = collect();
  await execute(process.execPath, ["bench/bench.mjs", "--quick"], { observe: output.add });
  count.passed += Number(output.text().match(/^(\d+) passed, 0 failed$/m)[1]);
}

/**
 * @param {string[]} suites
 * @param {Count} count
 * @param {NodeJS.ProcessEnv} [environment]
 */
async function runNodeTests(suites, count, environment = {}) {
  const output = collect();
  const limit = environment.LONG_TESTS === undefined ? LIMIT_MS : LONG_LIMIT_MS;
  try {
    await execute(
      process.execPath,
      ["--test", "--test-reporter=spec", `--test-concurrency=${CONCURRENT_FILES}`, `--test-timeout=${limit}`, ...suites],
      { environment: { ...TOOL_ENVIRONMENT, ...COLOR, ...environment }, observe: output.add },
    );
  } finally {
    for (const [, outcome, tests] of output.text().matchAll(/^. (pass|fail|cancelled) (\d+)$/gm)) {
      count[outcome === "pass" ? "passed" : "failed"] += Number(tests);
    }
    // Each stands once where it failed, and once at the end with why.
    const said = new Map();
    for (const [, name, reason] of output.text().matchAll(/^ *✖ (.*) \([\d.]+ms\)\n(?: +(\w*Error[^]{0,2000}?)\n +at )?/gm)) {
      said.set(name, reason?.replace(/\s+/g, " ") ?? said.get(name));
    }
    for (const [name, reason] of said) count.names.push(withReasons(name, reason === undefined ? [] : [reason]));
  }
}

/**
 * @param {string} name
 * @param {string[]} [reasons]
 */
function withReasons(name, reasons = []) {
  return [name, ...reasons.map((reason) => `    ${reason.slice(0, REASON_MAX_LENGTH)}`)].join("\n");
}

/**
 * @param {string} text
 * @param {RegExp} pattern
 */
function matches(text, pattern) {
  return Array.from(text.matchAll(pattern), ([, match]) => match);
}

function collect() {
  let text = "";
  return {
    add: (part) => void (text += part),
    text: () => stripVTControlCharacters(text),
  };
}
