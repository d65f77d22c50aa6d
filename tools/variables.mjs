// The operator's variables by name and kind. What no beacon knows is refused: a misspelt list of trusted keys would leave
// the door open, and nobody would be told.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Failure, ROOT } from "./steps.mjs";

const EXIT_CODE = 2;

/** @type {Record<string, "Text" | "Number" | "List" | "Secret">} What the service reads, as the file that reads it says. */
const KINDS = Object.fromEntries(
  [
    ...readFileSync(join(ROOT, "beacon/src/config.rs"), "utf8").matchAll(/^ {4}Variable::new\("([A-Z_]+)", Kind::(\w+),/gm),
  ].map(([, name, kind]) => [name, kind]),
);

/** The files in which capabilities name the variables that the program for one machine alone has. */
const NATIVE_FILES = ["beacon/src/goop2/door.rs", "beacon/src/mailbox/peers.rs"];

/**
 * What the program for one machine alone has, as the files that read it say: the Worker has no door for goop2's peers,
 * pushes nothing to other relays, and issues no credentials for a relay.
 */
export const NATIVE_NAMES = [
  ...NATIVE_FILES.flatMap((file) => [
    ...readFileSync(join(ROOT, file), "utf8").matchAll(/^const \w+: &str = "((?:GOOP2|RELAY)_\w+)";/gm),
  ]).map(([, name]) => name),
  ...Object.keys(KINDS).filter((name) => name.startsWith("TURN_")),
];

/** What both hosts have. */
export const NAMES = Object.keys(KINDS).filter((name) => !NATIVE_NAMES.includes(name));

/**
 * Refuses a wrangler.toml with a variable that no beacon knows, or with a value of a kind that it never takes, in any of
 * its environments.
 *
 * @returns {Promise<void>}
 */
export async function requireKnownVariables() {
  const { vars, env = {} } = await readRawConfiguration();
  const all = [["[vars]", vars], ...Object.entries(env).map(([name, { vars }]) => [`[env.${name}.vars]`, vars])];
  const problems = all.flatMap(([table, vars]) => {
    const source = `wrangler.toml, ${table}`;
    return [...problemsOf(source, vars), ...secretsIn(source, vars)];
  });
  refuse(problems);
}

/**
 * Refuses variables that are given in another way and that no beacon knows.
 *
 * @param {string} source
 * @param {string[]} names
 */
export function requireKnownNames(source, names) {
  refuse(problemsOf(source, Object.fromEntries(names.map((name) => [name, ""]))));
}

/**
 * Refuses an environment with a variable whose name is nearly one of these or one of the beacon's. Other names are
 * somebody else's.
 *
 * @param {NodeJS.ProcessEnv} environment
 * @param {string[]} more
 */
export function requireNoNearMiss(environment, more) {
  const known = [...NAMES, ...more];
  const misses = Object.keys(environment).map((name) => [name, nearMiss(name, known)]);
  refuse(misses.filter(([, meant]) => meant).map(([name, meant]) => `The environment has ${name}: did you mean ${meant}?`));
}

/** @param {string[]} problems */
function refuse(problems) {
  if (problems.length > 0) throw new Failure([...problems, `The beacon's variables are ${NAMES.join(", ")}.`].join("\n"), EXIT_CODE);
}

/**
 * @param {string} source
 * @param {Record<string, unknown>} [vars]
 * @returns {string[]}
 */
function problemsOf(source, vars = {}) {
  return Object.entries(vars).flatMap(([name, value]) => {
    if (NATIVE_NAMES.includes(name)) {
      return [`${source}: ${name} is a variable of the program for one machine alone.`];
    }
    if (!NAMES.includes(name)) {
      const meant = nearMiss(name, NAMES);
      return [`${source}: ${name} is not a variable of the beacon${meant ? `. Did you mean ${meant}?` : "."}`];
    }
    const isList = KINDS[name] === "List";
    const isRight = ["string", "number"].includes(typeof value) || (isList && Array.isArray(value) && value.every(isItem));
    const expected = isList ? "a text with commas, or a list of texts without" : "a text or a number";
    if (isRight || KINDS[name] === "Secret") return [];
    return [`${source}: ${name} is ${JSON.stringify(value)}. It must be ${expected}.`];
  });
}

/**
 * A file that is in a repository, and in every copy of it, is not where a secret is.
 *
 * @param {string} source
 * @param {Record<string, unknown>} [vars]
 * @returns {string[]}
 */
function secretsIn(source, vars = {}) {
  const secrets = Object.keys(vars).filter((name) => KINDS[name] === "Secret" && NAMES.includes(name));
  return secrets.map((name) => `${source}: ${name} is a secret. Take it out, and run: npx wrangler secret put ${name}`);
}

/** @param {unknown} value */
const isItem = (value) => typeof value === "string" && value.trim() !== "" && !value.includes(",");

/**
 * The variable that a name which is not one was almost certainly meant to be. The rule is the service's own, which
 * `near_miss` in beacon/src/config.rs explains.
 *
 * @param {string} name
 * @param {string[]} known
 * @returns {string | undefined}
 */
export function nearMiss(name, known) {
  if (known.includes(name)) return undefined;
  const upper = name.toUpperCase();
  const singular = (text) => (text.endsWith("IES") ? `${text.slice(0, -3)}Y` : text.replace(/S+$/, ""));
  return known.find((candidate) => {
    const most = candidate.length <= 5 ? 0 : candidate.length <= 9 ? 1 : 2;
    return distance(candidate, upper) <= most || (most > 0 && singular(candidate) === singular(upper));
  });
}

/**
 * The letters that have to be put in, taken out, replaced, or exchanged with their neighbour.
 *
 * @param {string} one
 * @param {string} other
 */
function distance(one, other) {
  const rows = [Array.from({ length: other.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= one.length; row += 1) {
    rows.push([row]);
    for (let column = 1; column <= other.length; column += 1) {
      const isSame = one[row - 1] === other[column - 1];
      const isExchanged = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      rows[row][column] = Math.min(
        rows[row - 1][column] + 1,
        rows[row][column - 1] + 1,
        rows[row - 1][column - 1] + (isSame ? 0 : 1),
        isExchanged ? rows[row - 2][column - 2] + 1 : Infinity,
      );
    }
  }
  return rows[one.length][other.length];
}

/** The file as it is written, with all its environments. */
async function readRawConfiguration() {
  // In a process of its own: see readConfiguration of beacon.mjs.
  const script = `
    import { experimental_readRawConfig } from "wrangler";
    const print = (result) => process.stdout.write(JSON.stringify(result));
    try {
      print(experimental_readRawConfig({ config: "wrangler.toml" }));
    } catch ({ message, location, text }) {
      print({ problem: location ? \`line \${location.line}: \${text}\` : message });
    }`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], { cwd: ROOT });
  const { rawConfig, problem } = JSON.parse(stdout);
  if (rawConfig === undefined) throw new Failure(`wrangler.toml cannot be read: ${problem}`, EXIT_CODE);
  return rawConfig;
}
