// Long steps and their child processes: says what is going on, and leaves nothing running behind.
//
// Not a build system: no step knows another, and what needs doing is decided by the caller.

import { spawn } from "node:child_process";
import { constants } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** The root of the checkout: every command runs here. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** How long a step may be silent in a log that nobody sees a progress bar in. */
const HEARTBEAT_MS = 30_000;
/** How long an interrupted child has to end by itself. */
const GRACE_MS = 5_000;

/** How often a script looks whether the npm that started it is still there. */
const PARENT_POLL_MS = 500;

/** Something that was to be expected now and then: its message is all that there is to say. */
export class Failure extends Error {
  /**
   * @param {string} message
   * @param {number} [exitCode] What the script that fails for it ends with.
   */
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * The options that this process was started with. `--help` prints `usage` and ends it.
 *
 * @param {string} usage
 * @param {import("node:util").ParseArgsConfig["options"]} [known] All but `--help`.
 * @param {string[]} [args] By default all that this process was started with.
 * @param {number} [most] How many arguments there may be that belong to no option. They are `positionals`.
 * @returns {Record<string, any>}
 */
export function readOptions(usage, known = {}, args = process.argv.slice(2), most = 0) {
  let values;
  let positionals;
  try {
    const options = { ...known, help: { type: "boolean", short: "h" } };
    ({ values, positionals } = parseArgs({ args, options, allowPositionals: most > 0 }));
    if (positionals.length > most) throw new Error(`Unexpected argument '${positionals[most]}'`);
  } catch (error) {
    throw new Failure(`${error.message}\n\n${usage}`, 2);
  }
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  return most > 0 ? { ...values, positionals } : values;
}

const interrupting = new AbortController();
/** Aborted once this process was asked to stop. */
export const interruption = interrupting.signal;

/** What each child is signalled by: its process id, or its group's, which is negative. */
const children = new Map();

/**
 * Runs a command in the root of the checkout until it ends; anything but success is a {@link Failure}.
 * What it prints goes to stderr, because stdout belongs to results.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {object} [options]
 * @param {NodeJS.ProcessEnv} [options.environment]
 * @param {(text: string) => void} [options.observe] Gets the command's stdout too, which then goes to stdout.
 * @param {boolean} [options.interactive] Hands the terminal over: for a command that may ask something.
 * @returns {Promise<void>}
 */
export async function execute(command, args, { environment = process.env, observe, interactive = false } = {}) {
  interruption.throwIfAborted();
  const child = spawn(command, args, {
    cwd: ROOT,
    env: environment,
    stdio: interactive ? "inherit" : ["ignore", observe ? "pipe" : process.stderr, process.stderr],
    // A group of its own, so that stopping it stops what it started too (npm's node, cargo's rustc).
    detached: !interactive,
  });
  if (child.pid !== undefined) children.set(child, interactive ? child.pid : -child.pid);
  child.stdout?.setEncoding("utf8").on("data", (text) => {
    process.stdout.write(text);
    observe(text);
  });
  try {
    await new Promise((resolve, reject) => {
      const line = [command, ...args].join(" ");
      child.once("error", (error) => reject(new Failure(`\`${line}\` did not start: ${error.message}`)));
      child.once("close", (code, signal) =>
        code === 0
          ? resolve()
          : reject(new Failure(`\`${line}\` ended with ${signal ?? `exit code ${code}`}`, code ?? undefined)),
      );
    });
  } finally {
    children.delete(child);
  }
}

/**
 * Does one long piece of work between a line that says what it is and one that says how long it took.
 *
 * @template T
 * @param {string} title
 * @param {{ takes?: string, advice?: string }} expectation How long it takes, and what to do when it fails.
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(title, { takes, advice }, work) {
  const started = performance.now();
  console.error(takes === undefined ? `==> ${title}` : `==> ${title} (${takes})`);
  const heartbeat = setInterval(() => {
    if (!process.stderr.isTTY) console.error(`... still busy after ${elapsed(started)}: ${title}`);
  }, HEARTBEAT_MS);
  try {
    const result = await work();
    console.error(`    done in ${elapsed(started)}`);
    return result;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure([`${title}: failed after ${elapsed(started)}.`, error.message, advice].filter(Boolean).join("\n"));
  } finally {
    clearInterval(heartbeat);
  }
}

/**
 * @param {number} started A reading of `performance.now()`.
 * @returns {string} The time since then, to be read by people.
 */
export function elapsed(started) {
  const seconds = (performance.now() - started) / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/**
 * Runs a script's body to its end and exits. SIGINT and SIGTERM stop the children, abort {@link interruption}, and
 * then let the body finish without a word.
 *
 * @param {() => Promise<void>} body
 * @param {{ interruptedExitCode?: number }} [options] By default what a shell reports for the signal.
 * @returns {Promise<never>}
 */
export async function main(body, { interruptedExitCode } = {}) {
  let exitCode = 0;
  const stop = (signal) => {
    // A terminal signals the whole group and npm passes its own copy on: the second one changes nothing.
    if (interruption.aborted) return;
    exitCode = interruptedExitCode ?? 128 + constants.signals[signal];
    interrupting.abort();
    signalChildren("SIGTERM");
    setTimeout(() => {
      signalChildren("SIGKILL");
      process.exit(exitCode);
    }, GRACE_MS).unref();
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  if (process.env.npm_lifecycle_event !== undefined) {
    // An npm that is killed outright cannot pass that on.
    const npm = process.ppid;
    setInterval(() => process.ppid === npm || stop("SIGTERM"), PARENT_POLL_MS).unref();
  }
  try {
    await body();
  } catch (error) {
    if (!interruption.aborted) {
      exitCode = error.exitCode ?? 1;
      console.error(error instanceof Failure ? `\n${error.message}` : error);
    }
  }
  process.exit(exitCode);
}

/** @param {NodeJS.Signals} signal */
function signalChildren(signal) {
  for (const target of children.values()) {
    try {
      process.kill(target, signal);
    } catch {
      // It has just ended.
    }
  }
}
