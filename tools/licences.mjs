// The licences of crates that are compiled into what is published: most of them ask that their text goes with it.

import { execFileSync } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ROOT } from "./steps.mjs";
import { TOOL_ENVIRONMENT } from "./toolchain.mjs";

/** The file that has them. */
export const THIRD_PARTY = "THIRD-PARTY.txt";

/** Files in which authors have the terms of their licence, and what these want to be passed on. */
const LICENCE_FILE = /^(licen[cs]e|copying|copyright|notice|unlicense)/i;

/**
 * @param {string} crate
 * @param {string} target
 * @returns {Promise<string>} The licence of each crate that is compiled into the program, with the texts that it comes with.
 */
export async function thirdParty(crate, target) {
  const args = ["metadata", "--locked", "--format-version", "1", "--filter-platform", target];
  const options = { cwd: ROOT, env: TOOL_ENVIRONMENT, encoding: "utf8", maxBuffer: 256 * 1024 ** 2 };
  const { packages, resolve: graph } = JSON.parse(execFileSync("cargo", args, options));
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const linked = new Set([packages.find(({ name }) => name === crate).id]);
  for (const id of linked) {
    // What only builds or tests it is not in it.
    const normal = nodes.get(id).deps.filter(({ dep_kinds: kinds }) => kinds.some(({ kind }) => kind === null));
    for (const { pkg } of normal) linked.add(pkg);
  }
  const others = packages.filter(({ id, source }) => linked.has(id) && source !== null);
  /** Most crates have the very same texts: who has each, by the text. */
  const owners = new Map();
  const lines = [];
  for (const { name, version, license, repository, manifest_path: manifest } of others.sort(byName)) {
    lines.push(`${name} ${version}: ${license ?? "see below"}${repository ? `, ${repository}` : ""}`);
    const folder = dirname(manifest);
    const files = (await readdir(folder, { withFileTypes: true })).filter((file) => file.isFile() && LICENCE_FILE.test(file.name));
    for (const file of files.map(({ name: file }) => file).sort()) {
      const text = (await readFile(join(folder, file), "utf8")).replaceAll("\r", "").trim();
      owners.set(text, [...(owners.get(text) ?? []), `${name} ${version}`]);
    }
  }
  const texts = [...owners].map(([text, names]) => `${"-".repeat(80)}\n${names.join(", ")}\n\n${text}`);
  return [`Crates that are compiled into ${crate}, and their licences.`, lines.join("\n"), ...texts, ""].join("\n\n");
}

const byName = (one, other) => (`${one.name} ${one.version}` < `${other.name} ${other.version}` ? -1 : 1);
