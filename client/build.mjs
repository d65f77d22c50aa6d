// Builds the package into dist/ and prints what it weighs; fails if the client is heavier than it may be.
//
// build/internals.js is for the tests only: the modules behind the package, unminified. dist/example.js is the script of
// the example page, with the built package and PeerJS in it, and not published.

import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const CLIENT = dirname(fileURLToPath(import.meta.url));
/** Without the adapter, which nobody has to load. */
const MAX_GZIP_BYTES = 8 * 1024;

/**
 * Properties that nobody outside sees, and that are on no wire and in no storage: they get short names. The tests run
 * with the long ones, and those of the built package with the short ones.
 */
const INTERNAL =
  "accepted announceAfterMs begin busy cancelTimer current discard drop dueAt elapsed farewell hasHeir heir hide hurry isKnown json " +
  "listen lock merge newestSeen observe offeredLive offline offsetMs openStore polls presence refused release renewAt renewBy " +
  "reportConnected reportFailed restore retry retryAfterMs rules saving sendLast sent serverTime setTimer show signed " +
  "startedAt started store succeeded takeNew ticketFor tickets verifyEquation wake";

for (const directory of ["dist", "build"]) rmSync(join(CLIENT, directory), { recursive: true, force: true });
const common = { absWorkingDir: CLIENT, bundle: true, format: "esm", target: "es2022", logLevel: "warning" };
await build({
  ...common,
  entryPoints: ["src/index.ts", "src/peerjs.ts"],
  outdir: "dist",
  minify: true,
  mangleProps: new RegExp(`^(${INTERNAL.replaceAll(" ", "|")})$`),
});
await build({ ...common, entryPoints: ["test/internals.ts"], outdir: "build", sourcemap: "inline" });

const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const compile = (...args) => {
  try {
    execFileSync(process.execPath, [compiler, ...args], { cwd: CLIENT, stdio: "inherit" });
  } catch {
    // It has said what is wrong.
    process.exit(1);
  }
};
compile("--declaration", "--emitDeclarationOnly", "--outDir", "dist");
// As an application has it: with the declarations and the code that were just made.
compile("--project", "example");
await build({ ...common, entryPoints: ["example/example.ts"], outdir: "dist", format: "iife", minify: true });

for (const file of ["index.js", "peerjs.js"]) {
  const code = readFileSync(join(CLIENT, "dist", file));
  const compressed = gzipSync(code, { level: 9 }).length;
  console.log(`client/dist/${file}: ${code.length} bytes, ${compressed} with gzip`);
  if (file === "index.js" && compressed > MAX_GZIP_BYTES) {
    console.error(`The client may have at most ${MAX_GZIP_BYTES} bytes with gzip.`);
    process.exitCode = 1;
  }
}
