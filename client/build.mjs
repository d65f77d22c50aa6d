// Builds the package into dist/ and prints what it weighs; fails if the client is heavier than it may be. A build that
// fails leaves the last one as it was.
//
// build/internals.js is for the tests only: the modules behind the package, unminified. dist/example.js is the script of
// the example page, with the built package and PeerJS in it, and not published.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const CLIENT = dirname(fileURLToPath(import.meta.url));
/** Without the adapter and the roots, which nobody has to load. */
const MAX_GZIP_BYTES = 12 * 1024;

/**
 * Properties that nobody outside sees, and that are on no wire and in no storage: they get short names. The tests run
 * with the long ones, and those of the built package with the short ones.
 */
const INTERNAL =
  "accepted againAfterMs aheadMs announcement askedAt cancelTimer chosen chosenAt claims confirm current dialled " +
  "draw drop dueAt elapsed facts farewell fruitless goodbye hasHeir hasInsisted heardAt heir hide hurry isFor " +
  "isKnown isRevoked json label listen listings lock mark maxLifetimeMs memory merge nextEnd note observe offeredLive " +
  "offline offsetFor offsetMs openStore ownKey place polls presence proof publishers readFile refused release " +
  "renewAt renewBy reportConnected reportDialling reportFailed restore retry rules saving sendLast sent setTimer " +
  "show shown signed spent started startedAt store succeeded takeNew ticketFor tickets trust turns until " +
  "verifyEquation visit wake";

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

const bundle = async (options) => {
  const common = { absWorkingDir: CLIENT, bundle: true, format: "esm", target: "es2022", logLevel: "warning" };
  // Not written by esbuild, so that a source map has the way from the final place to the sources.
  const { outputFiles, mangleCache } = await build({ ...common, ...options, write: false }).catch(() => process.exit(1));
  for (const { path, contents } of outputFiles) {
    const file = join(made, relative(CLIENT, path));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, contents);
  }
  return mangleCache;
};
const packaged = { outdir: "dist", minify: true, mangleProps: new RegExp(`^(${INTERNAL.replaceAll(" ", "|")})$`) };
const mangleCache = await bundle({ ...packaged, entryPoints: ["src/index.ts"], mangleCache: {} });
// The same short names: the client asks a root by them.
await bundle({ ...packaged, entryPoints: ["src/peerjs.ts", "src/root.ts"], mangleCache });
await bundle({ entryPoints: ["test/internals.ts"], outdir: "build", sourcemap: "inline" });
compile("--declaration", "--emitDeclarationOnly", "--outDir", join(made, "dist"));

// As an application has it: with the declarations and the code that were just made.
const tsconfig = join(made, "tsconfig.json");
const paths = (extension) => ({
  "rendezvous-beacon": [`./dist/index.${extension}`],
  "rendezvous-beacon/peerjs": [`./dist/peerjs.${extension}`],
  "rendezvous-beacon/root": [`./dist/root.${extension}`],
});
const extended = { extends: "../example/tsconfig.json", include: ["../example"] };
writeFileSync(tsconfig, JSON.stringify({ ...extended, compilerOptions: { rootDir: CLIENT, paths: paths("d.ts") } }));
compile("--project", tsconfig);
const tsconfigRaw = { compilerOptions: { strict: true, baseUrl: made, paths: paths("js") } };
await bundle({ entryPoints: ["example/example.ts"], outdir: "dist", format: "iife", minify: true, tsconfigRaw });

for (const file of ["index.js", "peerjs.js", "root.js"]) {
  const code = readFileSync(join(made, "dist", file));
  const compressed = gzipSync(code, { level: 9 }).length;
  console.log(`client/dist/${file}: ${code.length} bytes, ${compressed} with gzip`);
  if (file === "index.js" && compressed > MAX_GZIP_BYTES) {
    console.error(`The client may have at most ${MAX_GZIP_BYTES} bytes with gzip.`);
    process.exit(1);
  }
}

for (const directory of ["dist", "build"]) {
  const files = readdirSync(join(made, directory));
  mkdirSync(join(CLIENT, directory), { recursive: true });
  for (const file of files) renameSync(join(made, directory, file), join(CLIENT, directory, file));
  if (directory !== "dist") continue;
  // What is left over of an earlier build would be published.
  const old = readdirSync(join(CLIENT, directory)).filter((file) => !files.includes(file));
  for (const file of old) rmSync(join(CLIENT, directory, file), { recursive: true, force: true });
}
