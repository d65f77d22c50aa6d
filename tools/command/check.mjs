// What wrangler runs before it deploys: a misspelt variable is refused, by which a protection would be off without a word.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Failure, readOptions } from "../steps.mjs";
import { KNOWN, refuse } from "./prebuilt.mjs";

const USAGE = `rendezvous-beacon check [FILE]: refuses a configuration of wrangler's (wrangler.toml, wrangler.json or
wrangler.jsonc in the working directory) with a variable that no beacon knows, with a value of a kind that it never takes, or
with a secret in it. The wrangler.toml that \`init\` writes has wrangler run this before each deployment. Values are judged by
the beacon itself, when it starts.

Exit codes: 0 good, 1 it could not be judged, 2 refused.`;

/** In the order in which wrangler looks for them. */
const NAMES = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"];

/** @param {string[]} args */
export async function check(args) {
  const { positionals } = readOptions(USAGE, {}, args, 1);
  const name = positionals[0] ?? NAMES.find((file) => existsSync(file));
  if (name === undefined) throw new Failure(`There is no ${NAMES.join(", and no ")} here. rendezvous-beacon init writes one.`, 2);
  const file = resolve(name);
  if (!existsSync(file)) throw new Failure(`${name} is not there.`, 2);
  const { experimental_readRawConfig: read } = await loadWrangler(dirname(file));
  let rawConfig;
  try {
    ({ rawConfig } = read({ config: file }));
  } catch ({ message, location, text }) {
    throw new Failure(`${name} cannot be read: ${location ? `line ${location.line}: ${text}` : message}`, 2);
  }
  refuse(KNOWN.problemsOfConfiguration(basename(file), rawConfig));
  console.log(`${basename(file)}: every variable is one that the beacon knows.`);
}

/**
 * The wrangler that will deploy reads the file as it will then be read.
 *
 * @param {string} directory
 */
async function loadWrangler(directory) {
  let path;
  try {
    path = createRequire(join(directory, "package.json")).resolve("wrangler");
  } catch {
    throw new Failure(`wrangler is not installed in ${directory}: npm install --save-dev wrangler`);
  }
  return import(pathToFileURL(path).href);
}
