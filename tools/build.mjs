// Builds the Worker with worker-build, unless what is there was built from the same sources. Every way to deploy leads
// through the command, so that it is here where wrangler.toml is looked at.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { withLock } from "./lock.mjs";
import { ROOT, execute, main, readOptions, step } from "./steps.mjs";
import { LOCK, PROGRAMS, TOOL_ENVIRONMENT, WORKER_FLAGS, ensureToolchain } from "./toolchain.mjs";
import { requireKnownVariables } from "./variables.mjs";

/** The files and folders that every build depends on. */
const COMMON_SOURCES = [
  "Cargo.toml",
  "Cargo.lock",
  "package-lock.json",
  "rust-toolchain.toml",
  "tools/build.mjs",
  "tools/toolchain.mjs",
];
/** The crate of the beacon's own Worker, and the files and folders that it depends on. */
const BEACON = {
  crate: ".",
  sources: ["src", "beacon/Cargo.toml", "beacon/src", "protocol/Cargo.toml", "protocol/presence/Cargo.toml", "protocol/src"],
};
const PRODUCTS = ["index.js", "index_bg.wasm"];
/** The crate `worker` and what it brings export these to JavaScript, whether or not a Worker uses them. Ours never do. */
const UNUSED_CLASSES = ["containerstartupoptions", "intounderlying", "minifyconfig", "r2range"];
/** Written last: a directory that has it is complete. */
const FINGERPRINT = ".fingerprint";

/**
 * @param {object} [options]
 * @param {string} [options.outDir] Relative to the root of the checkout.
 * @param {string[]} [options.features] Cargo features to build with.
 * @param {boolean} [options.force] Builds even if nothing has changed.
 * @param {{ crate: string, sources: string[] }} [options.worker] A Worker other than the beacon's: its crate, and the
 *   files and folders that it depends on, all relative to the root of the checkout.
 * @returns {Promise<string>} The directory with the built Worker.
 */
export async function buildWorker({ outDir = "build", features = [], force = false, worker = BEACON } = {}) {
  const directory = join(ROOT, outDir);
  const sources = [...COMMON_SOURCES, ...worker.sources];
  if (!force && isCurrent(directory, features, sources)) return directory;
  await withLock(LOCK, async () => {
    if (!force && isCurrent(directory, features, sources)) return;
    // Taken before the build: a file that changes meanwhile makes the next build run again.
    const current = fingerprint(features, sources);
    await rm(join(directory, FINGERPRINT), { force: true });
    // worker-build waits for whoever left this to finish, which under our lock is nobody.
    await rm(join(directory, ".tmp"), { recursive: true, force: true });
    const name = worker === BEACON ? "the Worker" : `the Worker in ${worker.crate}`;
    const title = features.length > 0 ? `Building ${name} with ${features}` : `Building ${name}`;
    const expectation = {
      takes: "about 1 minute, a few seconds if little has changed",
      advice: "The compiler's messages above say why.",
    };
    await step(title, expectation, async () => {
      await execute(
        PROGRAMS.workerBuild,
        [
          worker.crate,
          "--release",
          "--out-dir",
          // It takes this as relative to the crate.
          relative(join(ROOT, worker.crate), directory),
          "--",
          "--locked",
          ...features.flatMap((feature) => ["--features", feature]),
        ],
        {
          environment: {
            ...TOOL_ENVIRONMENT,
            ...WORKER_FLAGS,
            ...commitOf(sources),
            // worker-build would print its own below the compiler's messages.
            RUST_BACKTRACE: "0",
            // Without these worker-build downloads the three from where a package registry is not.
            WASM_BINDGEN_BIN: PROGRAMS.wasmBindgen,
            WASM_OPT_BIN: PROGRAMS.wasmOpt,
            ESBUILD_BIN: PROGRAMS.esbuild,
          },
        },
      );
      // The names of functions are a tenth of the upload, and a panic's message says where it is without them. Before they
      // go, functions are put into their order: what has one name, or is of one module, is alike, and gzip finds that where
      // it lies together. What worker-build has optimised once gets another hundredth smaller, and more without the classes
      // that nobody uses. The lowest addresses are the end of the stack, where no pointer points that another number is then
      // added to.
      const wasm = join(directory, "index_bg.wasm");
      const unused = UNUSED_CLASSES.map((name) => `--remove-exports=*${name}*`);
      await execute(PROGRAMS.wasmOpt, [wasm, ...unused, "--low-memory-unused", "-Oz", "--reorder-functions-by-name", "--strip-debug", "--output", wasm]);
    });
    writeFileSync(join(directory, FINGERPRINT), current);
  });
  return directory;
}

/**
 * @param {string} directory
 * @param {string[]} features
 * @param {string[]} sources
 */
function isCurrent(directory, features, sources) {
  const file = join(directory, FINGERPRINT);
  return (
    existsSync(file) &&
    PRODUCTS.every((product) => existsSync(join(directory, product))) &&
    readFileSync(file, "utf8") === fingerprint(features, sources)
  );
}

/**
 * The commit that the beacon says it is of: the last that changed its sources, so that nothing is built again because of
 * another. Nothing where they are changed, or not of a repository.
 *
 * @param {string[]} sources
 */
function commitOf(sources) {
  const git = (...args) => execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    if (git("status", "--porcelain", "--", ...sources) !== "") return {};
    return { RENDEZVOUS_COMMIT: git("log", "-1", "--format=%h", "--", ...sources).trim() };
  } catch {
    return {};
  }
}

/**
 * @param {string[]} features
 * @param {string[]} sources
 */
function fingerprint(features, sources) {
  const hash = createHash("sha256").update(JSON.stringify(features));
  for (const file of sources.flatMap((source) => filesIn(join(ROOT, source)))) {
    const content = readFileSync(file);
    hash.update(JSON.stringify([relative(ROOT, file), content.length])).update(content);
  }
  return hash.digest("hex");
}

/**
 * @param {string} path
 * @returns {string[]}
 */
function filesIn(path) {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesIn(join(path, name)));
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const usage = `npm run build [-- --force]: builds the Worker into build/, with --force even if nothing has changed.`;
  await main(async () => {
    const { force } = readOptions(usage, { force: { type: "boolean", default: false } });
    await ensureToolchain();
    await requireKnownVariables();
    const directory = await buildWorker({ force });
    const wasm = readFileSync(join(directory, "index_bg.wasm"));
    const kilobytes = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;
    console.log(`build/index_bg.wasm: ${kilobytes(wasm.length)}, ${kilobytes(gzipSync(wasm).length)} with gzip`);
  });
}
