// `npx rendezvous-beacon`: what the npm package can do without this repository and without Rust. package.mjs makes one file
// of this, and puts the prebuilt Worker beside it.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure, ROOT, main } from "../steps.mjs";
import { check } from "./check.mjs";
import { dev } from "./dev.mjs";
import { init } from "./init.mjs";

const USAGE = `rendezvous-beacon: a beacon that answers "who is online?", from the Worker that is in this package.

  npx rendezvous-beacon dev          runs it on this machine, with its page, at http://127.0.0.1:8787
  npx rendezvous-beacon init [DIR]   writes what a deployment of your own on Cloudflare takes
  npx rendezvous-beacon check [FILE] refuses a wrangler.toml with variables that no beacon knows

\`rendezvous-beacon COMMAND --help\` says more. --version prints the version.
Exit codes: 0 done, or ended as asked; 1 it did not work; 2 a wrong argument, variable or file.`;

/** Each with what it ends with when it is interrupted; by default what a shell reports for the signal. */
const COMMANDS = { check: { run: check }, dev: { run: dev, interruptedExitCode: 0 }, init: { run: init } };

const [name, ...args] = process.argv.slice(2);
const command = Object.hasOwn(COMMANDS, name ?? "") ? COMMANDS[name] : undefined;
await main(
  async () => {
    if (command !== undefined) return command.run(args);
    if (name === "--version" || name === "-V") {
      return console.log(JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version);
    }
    if (name === "--help" || name === "-h" || name === "help") return console.log(USAGE);
    throw new Failure(name === undefined ? USAGE : `There is no command "${name}".\n\n${USAGE}`, 2);
  },
  { interruptedExitCode: command?.interruptedExitCode },
);
