// Builds the package into dist/, readable, with source maps: applications minify what they load. Prints what that weighs
// then, and fails if the client is heavier than it may be. A build that fails leaves the last one as it was.
//
// build/internals.js is for the tests only: the modules behind the package. dist/example.js is the script of
// the example page, with the built package in it, and not published.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const CLIENT = dirname(fileURLToPath(import.meta.url));
/** Of an application that imports `Rendezvous`; the adapter, roots and explanations are for those who load them. */
const MAX_GZIP_BYTES = 12 * 1024;
/** Of what comes on top with `live`. */
const LIVE_MAX_GZIP_BYTES = 6 * 1024;
/** Of what comes on top of both with `webrtc`. */
const WEBRTC_MAX_GZIP_BYTES = 5 * 1024;
/** Of what comes on top of `Rendezvous` with `mailbox`. */
const MAILBOX_MAX_GZIP_BYTES = 9 * 1024;
/** Of `directory` alone. */
const DIRECTORY_MAX_GZIP_BYTES = 3 * 1024;
/** Of `registration` alone. */
const REGISTRATION_MAX_GZIP_BYTES = 3 * 1024;

const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const compile = (...args) => {
  try {
    execFileSync(process.execPath, [compiler, ...args], { cwd: CLIENT, stdio: "inherit" });
  } catch {
    // It has said what is wrong.
    process.exit(1);
  }
};

/** Everything is made here, and moved when all of it is good: tests and pages may be reading the last build. */
const made = mkdtempSync(join(CLIENT, ".made-"));
process.on("exit", () => rmSync(made, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

const common = { absWorkingDir: CLIENT, bundle: true, format: "esm", target: "es2022", logLevel: "warning", write: false };
const bundle = async (options) => {
  // Not written by esbuild, so that a source map has the way from the final place to the sources.
  const { outputFiles } = await build({ ...common, ...options }).catch(() => process.exit(1));
  for (const { path, contents } of outputFiles) {
    const file = join(made, relative(CLIENT, path));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, contents);
  }
};
const ENTRY_POINTS = ["directory", "index", "live", "mailbox", "peerjs", "registration", "root", "simple-peer", "trystero", "webrtc", "y-webrtc"].map((name) => `src/${name}.ts`);
await bundle({ entryPoints: ENTRY_POINTS, outdir: "dist", sourcemap: true });
await bundle({ entryPoints: ["test/internals.ts"], outdir: "build", sourcemap: "inline" });
compile("--declaration", "--emitDeclarationOnly", "--outDir", join(made, "dist"));

// As an application has it: with the declarations and the code that were just made.
const tsconfig = join(made, "tsconfig.json");
const paths = (extension) => ({
  "rendezvous-beacon": [`./dist/index.${extension}`],
  "rendezvous-beacon/live": [`./dist/live.${extension}`],
  "rendezvous-beacon/peerjs": [`./dist/peerjs.${extension}`],
  "rendezvous-beacon/root": [`./dist/root.${extension}`],
  "rendezvous-beacon/webrtc": [`./dist/webrtc.${extension}`],
});
const extended = { extends: "../example/tsconfig.json", include: ["../example"] };
writeFileSync(tsconfig, JSON.stringify({ ...extended, compilerOptions: { rootDir: CLIENT, paths: paths("d.ts") } }));
compile("--project", tsconfig);
const tsconfigRaw = { compilerOptions: { strict: true, baseUrl: made, paths: paths("js") } };
await bundle({ entryPoints: ["example/example.ts"], outdir: "dist", format: "iife", minify: true, tsconfigRaw });

/** As an application gets it that imports these names from these files. */
const weigh = async (...imports) => {
  const lines = imports.map(([file, names]) => `export ${names} from "./dist/${file}";`);
  const stdin = { contents: lines.join("\n"), resolveDir: made };
  const [{ contents }] = (await build({ ...common, stdin, minify: true, outdir: "." })).outputFiles;
  const compressed = gzipSync(contents, { level: 9 }).length;
  const named = imports.map(([file, names]) => `${file}, ${names}`).join("; ");
  console.log(`client/dist: ${named}: ${contents.length} bytes minified, ${compressed} with gzip`);
  return compressed;
};
const CORE = ["index.js", "{ Rendezvous, RendezvousError }"];
const LIVE = ["live.js", "{ live }"];
const weight = await weigh(CORE);
for (const file of ["index.js", "peerjs.js", "root.js"]) await weigh([file, "*"]);
const weightOfLive = await weigh(LIVE);
const weightOfWebRtc = (await weigh(CORE, LIVE, ["webrtc.js", "{ Connections }"])) - (await weigh(CORE, LIVE));
const weightOfMailbox = (await weigh(CORE, ["mailbox.js", "{ Mailbox }"])) - weight;
const weightOfDirectory = await weigh(["directory.js", "{ beaconsOf, findCommunities }"]);
const weightOfRegistration = await weigh(["registration.js", "{ register }"]);
for (const file of ["simple-peer.js", "trystero.js", "y-webrtc.js"]) await weigh([file, "*"]);
const LIMITS = [
  ["The client", weight, MAX_GZIP_BYTES],
  ["live", weightOfLive, LIVE_MAX_GZIP_BYTES],
  ["webrtc, on top of both,", weightOfWebRtc, WEBRTC_MAX_GZIP_BYTES],
  ["mailbox, on top of the client,", weightOfMailbox, MAILBOX_MAX_GZIP_BYTES],
  ["directory", weightOfDirectory, DIRECTORY_MAX_GZIP_BYTES],
  ["registration", weightOfRegistration, REGISTRATION_MAX_GZIP_BYTES],
];
const tooHeavy = LIMITS.filter(([, bytes, most]) => bytes > most);
for (const [name, bytes, most] of tooHeavy) console.error(`${name} has ${bytes} bytes with gzip, and may have ${most}.`);
if (tooHeavy.length) process.exit(1);

for (const directory of ["dist", "build"]) {
  const files = readdirSync(join(made, directory));
  mkdirSync(join(CLIENT, directory), { recursive: true });
  for (const file of files) renameSync(join(made, directory, file), join(CLIENT, directory, file));
  if (directory !== "dist") continue;
  // What is left over of an earlier build would be published.
  const old = readdirSync(join(CLIENT, directory)).filter((file) => !files.includes(file));
  for (const file of old) rmSync(join(CLIENT, directory, file), { recursive: true, force: true });
}
