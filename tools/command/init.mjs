// What a deployment of one's own takes: a configuration, an entry file, and the package, which has the Worker.

import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { Failure, readOptions } from "../steps.mjs";
import { WORKER } from "./prebuilt.mjs";

const USAGE = `rendezvous-beacon init [DIR] [--name NAME]: writes into DIR (the working directory) what a deployment of your
own on Cloudflare takes, with the prebuilt Worker of this package: wrangler.toml, worker.js, and, where they are not there yet,
package.json and .gitignore. It overwrites nothing.

Options:
  --name NAME   the Worker's name, and the first part of its address at workers.dev (rendezvous-beacon)
  -h, --help    prints this

Then, in DIR:

  npm install
  npx rendezvous-beacon dev     # on this machine
  npx wrangler login
  npx wrangler deploy           # on Cloudflare`;

/** A deployment of another kind is there where one of these is. */
const CONFIGURATIONS = ["wrangler.toml", "wrangler.json", "wrangler.jsonc"];

/** @param {string[]} args */
export async function init(args) {
  const { name, positionals } = readOptions(USAGE, { name: { type: "string", default: "rendezvous-beacon" } }, args, 1);
  if (!/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) {
    throw new Failure(`--name ${name}: it must be 1 to 63 of a-z 0-9 and -, with no - at either end.`, 2);
  }
  const given = positionals[0] ?? ".";
  const directory = resolve(given);
  const template = (file) => readFile(join(WORKER, "deployment", file), "utf8");
  const files = {
    "wrangler.toml": (await template("wrangler.toml")).replace(/^name = .*$/m, `name = "${name}"`),
    "worker.js": await template("worker.js"),
  };
  // Somebody's project may have these: they are left as they are.
  const optional = { "package.json": await template("package.json"), ".gitignore": await template("gitignore") };
  const there = [...new Set([...CONFIGURATIONS, ...Object.keys(files)])].filter((file) => existsSync(join(directory, file)));
  if (there.length > 0) {
    throw new Failure(`${directory} has ${there.join(" and ")} already, and nothing was written. Name another directory.`);
  }
  const kept = Object.keys(optional).filter((file) => existsSync(join(directory, file)));
  const written = { ...files, ...Object.fromEntries(Object.entries(optional).filter(([file]) => !kept.includes(file))) };
  try {
    await mkdir(directory, { recursive: true });
    for (const [file, text] of Object.entries(written)) await writeFile(join(directory, file), text, { flag: "wx" });
  } catch (error) {
    throw new Failure(`${directory} cannot be written: ${error.message}`);
  }
  const { dependencies, devDependencies } = JSON.parse(optional["package.json"]);
  const packages = Object.entries({ ...dependencies, ...devDependencies }).map(([name, version]) => `${name}@${version}`);
  const steps = [
    ...(relative(".", directory) === "" ? [] : [`cd ${/^[\w./-]+$/.test(given) ? given : JSON.stringify(given)}`]),
    kept.includes("package.json") ? `npm install ${packages.join(" ")}` : "npm install",
    "npx rendezvous-beacon dev     # tries it on this machine",
    "npx wrangler login",
    "npx wrangler deploy           # and prints the beacon's address",
  ];
  console.log(`Written: ${Object.keys(written).join(", ")}${kept.length > 0 ? `; left as it was: ${kept.join(", ")}` : ""}.\n`);
  console.log(`Next:\n${steps.map((step) => `  ${step}`).join("\n")}\n`);
  console.log("[vars] in wrangler.toml is the beacon's configuration: above all COMMUNITIES, ORIGINS and EXTERNAL_URLS.");
}
