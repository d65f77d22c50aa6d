// Puts what `npx rendezvous-beacon` needs into the npm package: the command as one file, the built Worker, its page, and a
// description of it. Called when the package is packed (`npm pack`, `npm publish`).
//
// Everything is made from this checkout alone. client/bin/ and client/worker/ are in no commit.

import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { readConfiguration } from "./beacon.mjs";
import { buildWorker } from "./build.mjs";
import { THIRD_PARTY, thirdParty } from "./licences.mjs";
import { ROOT, main, readOptions } from "./steps.mjs";
import { ensureToolchain } from "./toolchain.mjs";
import { KNOWN, requireKnownVariables } from "./variables.mjs";

const USAGE = `node tools/package.mjs [--out DIR]: makes bin/ and worker/ in client/, or DIR, which the npm package has beside the
library.`;

const CLIENT = join(ROOT, "client");
/** What a deployment of one's own is made from; it is the template of the button in the README, too. */
const DEPLOYMENT = join(ROOT, "contrib/cloudflare");

const TYPES = `/** Holds the rosters of one community: a Durable Object, for the runtime to make. */
export declare class Community {}
/** Holds one mailbox: a Durable Object, for the runtime to make. */
export declare class Mailbox {}
/** The beacon. What it is bound to is in the wrangler.toml that \`npx rendezvous-beacon init\` writes. */
declare const beacon: { fetch(request: Request, env: object, context: object): Response | Promise<Response> };
export default beacon;
`;

await main(async () => {
  const { out } = readOptions(USAGE, { out: { type: "string", default: CLIENT } });
  const [bin, worker] = ["bin", "worker"].map((folder) => resolve(out, folder));
  await ensureToolchain();
  await requireKnownVariables();
  const built = await buildWorker();
  const settings = await readConfiguration();
  await Promise.all([bin, worker].map((directory) => rm(directory, { recursive: true, force: true })));
  await mkdir(join(worker, "deployment"), { recursive: true });

  await build({
    absWorkingDir: ROOT,
    entryPoints: ["tools/command/main.mjs"],
    outfile: join(bin, "rendezvous-beacon.js"),
    banner: { js: "#!/usr/bin/env node" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    logLevel: "warning",
  });
  await bundleWorker(built, join(worker, "index.js"));
  await cp(join(built, "index_bg.wasm"), join(worker, "index_bg.wasm"));
  await writeFile(join(worker, "index.d.ts"), TYPES);
  await writeFile(join(worker, THIRD_PARTY), await thirdParty("rendezvous-beacon", "wasm32-unknown-unknown"));
  await cp(join(ROOT, settings.assets.directory), join(worker, "page"), { recursive: true });
  await writeFile(join(worker, "beacon.capnp"), workerdConfiguration(settings));
  await writeFile(join(worker, "description.json"), `${JSON.stringify(await describe(settings), undefined, 2)}\n`);
  for (const file of ["wrangler.toml", "worker.js", "package.json"]) {
    await cp(join(DEPLOYMENT, file), join(worker, "deployment", file));
  }
  // Under its own name npm would not pack it.
  await cp(join(DEPLOYMENT, ".gitignore"), join(worker, "deployment/gitignore"));
});

/**
 * One module, for workerd and for wrangler, beside the WebAssembly that it imports.
 *
 * @param {string} built The directory of what `buildWorker` made.
 * @param {string} outfile
 */
async function bundleWorker(built, outfile) {
  const beside = {
    name: "beside",
    setup({ onResolve }) {
      onResolve({ filter: /\/index_bg\.wasm$/ }, () => ({ path: "./index_bg.wasm", external: true }));
      onResolve({ filter: /\/build\/index\.js$/ }, () => ({ path: join(built, "index.js") }));
    },
  };
  await build({
    absWorkingDir: ROOT,
    entryPoints: ["src/entry.js"],
    outfile,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["cloudflare:workers"],
    plugins: [beside],
    logLevel: "warning",
  });
}

/**
 * What wrangler.toml says, as workerd reads it (workerd.capnp, in its package). The command gives it the two directories, an
 * address and the variables.
 *
 * @param {import("wrangler").Unstable_Config} settings
 */
function workerdConfiguration(settings) {
  const text = JSON.stringify;
  const sqliteClasses = settings.migrations.flatMap((migration) => migration.new_sqlite_classes ?? []);
  const objects = settings.durable_objects.bindings;
  const bindings = [
    `(name = ${text(settings.assets.binding)}, service = "page")`,
    ...objects.map(({ name, class_name: className }) => `(name = ${text(name)}, durableObjectNamespace = ${text(className)})`),
    ...KNOWN.names.map((name) => `(name = ${text(name)}, fromEnvironment = ${text(name)})`),
  ];
  // Awake as long as workerd runs: what a beacon does not store is there as long.
  const namespaces = objects.map(
    ({ class_name: className }) =>
      `(className = ${text(className)}, uniqueKey = ${text(`rendezvous-beacon-${className}`)}, ` +
      `enableSql = ${sqliteClasses.includes(className)}, preventEviction = true)`,
  );
  return `# The beacon for workerd. \`npx rendezvous-beacon dev\` runs it.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "beacon", worker = .beacon),
    (name = "page", disk = (writable = false)),
    (name = "state", disk = (writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "beacon")],
);

const beacon :Workerd.Worker = (
  modules = [
    (name = "index.js", esModule = embed "index.js"),
    (name = "./index_bg.wasm", wasm = embed "index_bg.wasm"),
  ],
  compatibilityDate = ${text(settings.compatibility_date)},
  compatibilityFlags = ${text(settings.compatibility_flags)},
  bindings = [
    ${bindings.join(",\n    ")},
  ],
  durableObjectNamespaces = [
    ${namespaces.join(",\n    ")},
  ],
  durableObjectStorage = (localDisk = "state"),
);
`;
}

/**
 * @param {import("wrangler").Unstable_Config} settings
 * @returns {Promise<import("./command/prebuilt.mjs").Description>}
 */
async function describe(settings) {
  // The runtime has no word for a variable that is not there, and an empty one counts as such.
  const defaults = Object.fromEntries(KNOWN.names.map((name) => [name, String(settings.vars[name] ?? "")]));
  return {
    compatibilityDate: settings.compatibility_date,
    variables: defaults,
    kinds: KNOWN.kinds,
    nativeNames: KNOWN.nativeNames,
    runtime: await lockOfWorkerd(),
  };
}

/** The part of this checkout's lock file that workerd is: the version that is tested here, and the contents of each package. */
async function lockOfWorkerd() {
  const { packages } = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8"));
  const isOfWorkerd = ([path]) => /^node_modules\/(@cloudflare\/workerd-[^/]+|workerd)$/.test(path);
  const locked = Object.entries(packages).filter(isOfWorkerd).map(([path, { dev, ...entry }]) => [path, entry]);
  const name = "rendezvous-beacon-runtime";
  const own = { name, version: "0.0.0", private: true, dependencies: { workerd: packages["node_modules/workerd"].version } };
  return { name, version: own.version, lockfileVersion: 3, packages: { "": own, ...Object.fromEntries(locked) } };
}
