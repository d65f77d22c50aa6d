// The operator's variables by name and kind, as the sources of this checkout say. known-variables.mjs judges them.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { KnownVariables } from "./known-variables.mjs";
import { Failure, ROOT } from "./steps.mjs";

const EXIT_CODE = 2;

/**
 * The variables that a file's table describes, by name and kind. A name may be a constant of that file.
 *
 * @param {string} file In `beacon/src`.
 * @returns {[string, import("./known-variables.mjs").Kind][]}
 */
function describedIn(file) {
  const text = readFileSync(join(ROOT, "beacon/src", file), "utf8");
  const constants = Object.fromEntries([...text.matchAll(/^const (\w+): &str = "([A-Z0-9_]+)";/gm)].map(([, ...entry]) => entry));
  const rows = text.matchAll(/Variable::new\((?:"([A-Z0-9_]+)"|([A-Z_]+)), Kind::(\w+),/g);
  return [...rows].map(([, name, constant, kind]) => [name ?? constants[constant], kind]);
}

/** Whose variables both hosts have. */
const FILES = ["config/variable.rs", "goop2/door.rs", "retalk/door.rs"];

/** Whose variables the program for one machine alone has. */
const NATIVE_FILES = ["circuit_relay/own.rs", "directory/config.rs", "mailbox/peers.rs", "mesh/door.rs", "registration/config.rs"];

/** What both hosts have, as the files that read it say. */
const KINDS = Object.fromEntries(FILES.flatMap(describedIn));

/**
 * What the program for one machine alone has: the Worker has no hub, registers nobody, and neither pushes to other relays nor
 * takes another fleet's envelopes.
 */
export const NATIVE_NAMES = NATIVE_FILES.flatMap(describedIn).map(([name]) => name);

/** All of them. */
export const KNOWN = new KnownVariables(KINDS, NATIVE_NAMES);

/** What both hosts have. */
export const NAMES = KNOWN.names;

/**
 * Refuses a wrangler.toml with a variable that no beacon knows, or with a value of a kind that it never takes, in any of
 * its environments.
 *
 * @returns {Promise<void>}
 */
export async function requireKnownVariables() {
  refuse(KNOWN.problemsOfConfiguration("wrangler.toml", await readRawConfiguration()));
}

/**
 * Refuses variables that are given in another way and that no beacon knows.
 *
 * @param {string} source
 * @param {string[]} names
 */
export function requireKnownNames(source, names) {
  refuse(KNOWN.problemsOf(source, Object.fromEntries(names.map((name) => [name, ""]))));
}

/**
 * Refuses an environment with a variable whose name is nearly one of these or one of the beacon's. Other names are
 * somebody else's.
 *
 * @param {NodeJS.ProcessEnv} environment
 * @param {string[]} more
 */
export function requireNoNearMiss(environment, more) {
  refuse(KNOWN.problemsOfEnvironment(environment, more));
}

/** @param {string[]} problems */
function refuse(problems) {
  if (problems.length > 0) throw new Failure([...problems, KNOWN.advice].join("\n"), EXIT_CODE);
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
