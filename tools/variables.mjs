// The operator's variables by name and kind, as the sources of this checkout say. known-variables.mjs judges them.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { KnownVariables } from "./known-variables.mjs";
import { Failure, ROOT } from "./steps.mjs";

const EXIT_CODE = 2;

/** @type {Record<string, "Text" | "Number" | "List" | "Secret">} What the service reads, as the file that reads it says. */
const KINDS = Object.fromEntries(
  [
    ...readFileSync(join(ROOT, "beacon/src/config/variable.rs"), "utf8").matchAll(/^ {4}Variable::new\("([A-Z_]+)", Kind::(\w+),/gm),
  ].map(([, name, kind]) => [name, kind]),
);

/** The files in which capabilities name the variables that the program for one machine alone has. */
const NATIVE_FILES = ["goop2/door.rs", "retalk/door.rs", "directory/config.rs", "mailbox/peers.rs", "mesh/door.rs", "registration/config.rs"];

/**
 * What the program for one machine alone has, as the files that read it say: the Worker has no doors for the clients of
 * goop2 and retalk and no hub, registers nobody, neither pushes to other relays nor takes another fleet's envelopes, and issues
 * no credentials for a relay.
 */
export const NATIVE_NAMES = [
  ...NATIVE_FILES.flatMap((file) => [
    ...readFileSync(join(ROOT, "beacon/src", file), "utf8").matchAll(/^const \w+: &str = "((?:GOOP2|HUB|MAILS|REGISTRATION|RETALK|RELAY|REPLICATION|SMTP)_\w+)";/gm),
  ]).map(([, name]) => name),
  ...Object.keys(KINDS).filter((name) => name.startsWith("TURN_")),
];

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
