// Everything that building and running the Worker takes beyond Node: checked quickly, installed when missing.
//
// Nothing is installed outside the checkout except by rustup, which keeps toolchains where it always does. Only
// package registries are reached, so that it works on a machine that reaches nothing else.

import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { withLock } from "./lock.mjs";
import { Failure, ROOT, execute, step } from "./steps.mjs";

const TOOLS = join(ROOT, ".tools");
/** Held by whoever installs or builds something in this checkout. */
export const LOCK = join(TOOLS, "lock");

const WORKER_BUILD_VERSION = "0.8.7";

const NETWORK_ADVICE =
  "If it could not download something, check the network and run the command again: what is done is kept.";

/** What rust-toolchain.toml asks for. */
const pinned = readToolchainFile();

/** Programs that cargo builds into .tools, at exactly these versions. */
const BUILD_TOOLS = [
  { crate: "worker-build", program: "worker-build", version: WORKER_BUILD_VERSION, takes: "about 2 minutes, once" },
  // Generates code for the library of the same version and for no other.
  { crate: "wasm-bindgen-cli", program: "wasm-bindgen", version: lockedVersion("wasm-bindgen"), takes: "about 1 minute, once" },
];
const TEST_TOOLS = [
  { crate: "cargo-deny", program: "cargo-deny", version: "0.20.2", takes: "about 1 minute, once" },
  { crate: "cargo-deb", program: "cargo-deb", version: "3.8.0", takes: "about 1 minute, once" },
];

/**
 * The environment in which cargo, rustup and what they start find the pinned toolchain and this checkout's folders.
 *
 * @type {NodeJS.ProcessEnv}
 */
export const TOOL_ENVIRONMENT = {
  ...process.env,
  RUSTUP_TOOLCHAIN: pinned.channel,
  // The tests run target/debug/capsule, wherever the user's own builds go.
  CARGO_TARGET_DIR: join(ROOT, "target"),
};
delete TOOL_ENVIRONMENT.CARGO_BUILD_TARGET;

/** Where on this machine the sources lie that a build is made of, and what the build says instead. */
const PLACES = [
  [process.env.CARGO_HOME ?? join(homedir(), ".cargo"), "/cargo"],
  [ROOT, "/source"],
];
/**
 * For cargo, where others get what it builds: panics name the file that they are in, and where that lies on the machine that
 * builds is nobody's business.
 *
 * @type {NodeJS.ProcessEnv}
 */
export const PRIVATE_PLACES = {
  CARGO_ENCODED_RUSTFLAGS: PLACES.map(([from, to]) => `--remap-path-prefix=${from}=${to}`).join("\x1f"),
};

/**
 * The same for the Worker. The crate `sha2` then has its rounds in a loop and not one after the other, which is 7 kB of code
 * less: mailboxes and signals hash, and an announce does not.
 *
 * @type {NodeJS.ProcessEnv}
 */
export const WORKER_FLAGS = {
  CARGO_ENCODED_RUSTFLAGS: [
    PRIVATE_PLACES.CARGO_ENCODED_RUSTFLAGS,
    '--cfg=sha2_backend="soft"',
    '--cfg=sha2_backend_soft="compact"',
  ].join("\x1f"),
};

/** Paths of the programs that are installed into the checkout. */
export const PROGRAMS = {
  cargoDeb: join(TOOLS, "bin/cargo-deb"),
  cargoDeny: join(TOOLS, "bin/cargo-deny"),
  workerBuild: join(TOOLS, "bin/worker-build"),
  wasmBindgen: join(TOOLS, "bin/wasm-bindgen"),
  wasmOpt: join(ROOT, "node_modules/.bin/wasm-opt"),
  esbuild: join(ROOT, "node_modules/.bin/esbuild"),
  wrangler: join(ROOT, "node_modules/.bin/wrangler"),
};

/**
 * Makes sure that everything is there. With nothing to do it takes a few milliseconds.
 *
 * @param {{ tests?: boolean }} [options] Whether what the tests alone need is to be there too.
 * @returns {Promise<void>}
 */
export async function ensureToolchain({ tests = false } = {}) {
  const tools = tests ? [...BUILD_TOOLS, ...TEST_TOOLS] : BUILD_TOOLS;
  requirePrograms();
  if ((await missing(tools)).length > 0) {
    await withLock(LOCK, async () => {
      // Asked again, because another process may have been at it until the lock was free.
      for (const install of await missing(tools)) await install();
    });
  }
}

/**
 * @param {typeof BUILD_TOOLS} tools
 * @returns {Promise<(() => Promise<void>)[]>} One installation for each thing that is missing, in order.
 */
async function missing(tools) {
  const installations = [];
  if (!(await rustToolchainIsComplete())) installations.push(installRustToolchain);
  else await requirePinnedCargo();
  if (!npmPackagesAreCurrent()) installations.push(installNpmPackages);
  const cargoTools = tools.filter((tool) => !cargoToolIsCurrent(tool));
  if (cargoTools.length > 0) installations.push(() => installCargoTools(cargoTools));
  return installations;
}

function requirePrograms() {
  const advice = {
    rustup: "rustup, Rust's installer: https://rustup.rs (Debian 13: apt install rustup). A new shell may be needed after it.",
    cargo: "cargo: it comes with rustup (https://rustup.rs) and lives in ~/.cargo/bin, which must be on PATH.",
    cc: "cc, a C compiler, as linker: apt install build-essential (Debian), dnf install gcc (Fedora), xcode-select --install (macOS).",
    npm: "npm: it comes with Node (https://nodejs.org/en/download; Debian: apt install npm).",
  };
  const absent = Object.keys(advice).filter((program) => !isOnPath(program));
  if (absent.length > 0) {
    throw new Failure(["Missing on PATH:", ...absent.map((program) => `  - ${advice[program]}`)].join("\n"));
  }
}

/** @param {string} program */
function isOnPath(program) {
  return (process.env.PATH ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

async function rustToolchainIsComplete() {
  const answer = await ask("rustup", ["component", "list", "--installed", "--toolchain", pinned.channel]);
  if (answer === undefined) return false;
  const installed = answer.split("\n");
  return (
    pinned.components.every((component) => installed.some((line) => line.startsWith(`${component}-`))) &&
    pinned.targets.every((target) => installed.includes(`rust-std-${target}`))
  );
}

async function installRustToolchain() {
  const parts = [
    ...pinned.components.flatMap((component) => ["--component", component]),
    ...pinned.targets.flatMap((target) => ["--target", target]),
  ];
  await step(`Installing Rust ${pinned.channel} with ${pinned.targets}`, { takes: "about 1 minute, once", advice: NETWORK_ADVICE }, () =>
    execute("rustup", ["toolchain", "install", pinned.channel, "--profile", "minimal", "--no-self-update", ...parts]),
  );
  await requirePinnedCargo();
}

/** A cargo that does not come from rustup would compile with whatever it has, and without the wasm target. */
async function requirePinnedCargo() {
  const answer = await ask("cargo", ["--version"]);
  if (!answer?.startsWith(`cargo ${pinned.channel} `)) {
    throw new Failure(
      `The cargo on PATH is not rustup's: asked for ${pinned.channel}, it says "${answer?.trim() ?? "nothing"}".\n` +
        "Put ~/.cargo/bin before it on PATH.",
    );
  }
}

/** npm keeps a copy of the lock file as installed: the packages that matter here must be the same in both. */
function npmPackagesAreCurrent() {
  const copy = join(ROOT, "node_modules/.package-lock.json");
  if (!existsSync(copy)) return false;
  const locked = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(copy, "utf8")).packages;
  return Object.entries(locked).every(
    ([path, { version, optional }]) =>
      path === "" || installed[path]?.version === version || (optional && !(path in installed)),
  );
}

async function installNpmPackages() {
  await step("Installing the npm packages", { takes: "about half a minute", advice: NETWORK_ADVICE }, () =>
    execute("npm", ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"]),
  );
}

/** @param {(typeof BUILD_TOOLS)[number]} tool */
function cargoToolIsCurrent({ crate, program, version }) {
  const record = join(TOOLS, ".crates.toml");
  return (
    existsSync(join(TOOLS, "bin", program)) &&
    existsSync(record) &&
    readFileSync(record, "utf8").includes(`"${crate} ${version} (`)
  );
}

/** @param {typeof BUILD_TOOLS} tools */
async function installCargoTools(tools) {
  // Shared between the tools, which have most dependencies in common, and of no use after that.
  const target = join(TOOLS, "target");
  const environment = { ...TOOL_ENVIRONMENT, CARGO_TARGET_DIR: target, CARGO_PROFILE_DEV_DEBUG: "0" };
  try {
    for (const { crate, program, version, takes } of tools) {
      await step(`Compiling ${crate} ${version}`, { takes, advice: NETWORK_ADVICE }, () =>
        // Unoptimised tools are fast enough here and take half the time to compile.
        execute(
          "cargo",
          ["install", crate, "--version", version, "--bin", program, "--locked", "--debug", "--force", "--root", TOOLS],
          { environment },
        ),
      );
    }
  } finally {
    await rm(target, { recursive: true, force: true });
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {Promise<string | undefined>} What it printed, or nothing if it failed.
 */
async function ask(command, args) {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd: ROOT, env: TOOL_ENVIRONMENT });
    return stdout;
  } catch {
    return undefined;
  }
}

/** @returns {{ channel: string, components: string[], targets: string[] }} */
function readToolchainFile() {
  const text = readFileSync(join(ROOT, "rust-toolchain.toml"), "utf8");
  // Three keys of a file of our own, whose strings and lists are written as JSON writes them.
  const value = (key) => JSON.parse(text.match(new RegExp(`^${key} = (.*)$`, "m"))[1]);
  return { channel: value("channel"), components: value("components"), targets: value("targets") };
}

/** @param {string} name */
function lockedVersion(name) {
  const text = readFileSync(join(ROOT, "Cargo.lock"), "utf8");
  return text.match(new RegExp(`^name = "${name}"\nversion = "(.*)"$`, "m"))[1];
}
