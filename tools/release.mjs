// A release of the programs: an archive for each, what is in it by licence, checksums, and a signature of the checksums. The
// workflow release.yml calls this on a machine of each kind; here it does the same for this one.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { findOnPath, findRunnable } from "./debian.mjs";
import { THIRD_PARTY, thirdParty } from "./licences.mjs";
import { ADVICE, findMinisign } from "./minisign.mjs";
import { Failure, ROOT, execute, main, readOptions } from "./steps.mjs";
import { PRIVATE_PLACES, PROGRAMS as TOOLS, TOOL_ENVIRONMENT } from "./toolchain.mjs";

const USAGE = `node tools/release.mjs COMMAND [OPTIONS]

  archives [--target TRIPLE] [--from DIR] [--out DIR]
      builds the programs for the target (this machine's), or takes those in --from, and writes PROGRAM-VERSION-TRIPLE.tar.gz,
      each with the licences of all that is linked into it. Each packed program is run once.
  debian [--target TRIPLE] [--from DIR] [--out DIR]
      makes a package for Debian of the program for one machine in the same way, with cargo-deb
  checksums [--key FILE] [--out DIR]
      writes SHA256SUMS of all that is in the directory and, with a private key of minisign's (minisign -G -W),
      SHA256SUMS.minisig
  notes --tag vX.Y.Z
      prints the changelog's section of that version; refuses a tag that is not the version of this checkout

--out is dist/ unless it is given.`;

/** Written by cargo for the profile that is built for speed. */
const PROFILE = "native";

/**
 * Each with its package, and what is packed beside it. The program for one machine needs what only Unix has.
 *
 * @type {Record<string, { package: string, folder: string, beside: string[], isUnix?: boolean }>}
 */
const PROGRAMS = {
  capsule: { package: "rendezvous-capsule", folder: "capsule", beside: [] },
  rendezvous: { package: "rendezvous-messenger", folder: "messenger", beside: [] },
  "rendezvous-beacon": {
    package: "rendezvous-native",
    folder: "native",
    beside: ["contrib/rendezvous-beacon.toml", "contrib/rendezvous-beacon.service"],
    isUnix: true,
  },
};
const OWN_LICENCES = ["LICENSE-APACHE", "LICENSE-MIT"];

const CHECKSUMS = "SHA256SUMS";
const SIGNATURE = `${CHECKSUMS}.minisig`;

const COMMANDS = { archives, debian, checksums, notes };

await main(async () => {
  const [name, ...args] = process.argv.slice(2);
  const text = { type: "string" };
  const known = { target: text, from: text, out: { ...text, default: "dist" }, key: text, tag: text };
  const options = readOptions(USAGE, known, name?.startsWith("-") ? [name, ...args] : args);
  if (!Object.hasOwn(COMMANDS, name ?? "")) throw new Failure(USAGE, 2);
  await COMMANDS[name]({ ...options, out: resolve(options.out) });
});

/** @param {{ target?: string, from?: string, out: string }} options */
async function archives({ target = hostTarget(), from, out }) {
  const programs = Object.entries(PROGRAMS).filter(([, { isUnix }]) => !isUnix || !target.includes("windows"));
  const built = from === undefined ? await build(programs.map(([, program]) => program.package), target) : resolve(from);
  const version = await readVersion();
  await mkdir(out, { recursive: true });
  for (const [name, program] of programs) {
    const file = await pack({ name, target, version, built, out, ...program });
    console.log(file);
  }
}

/** @returns {string} */
function hostTarget() {
  return execFileSync("rustc", ["-vV"], { env: TOOL_ENVIRONMENT, encoding: "utf8" }).match(/^host: (\S+)$/m)[1];
}

/**
 * @param {string[]} packages
 * @param {string} target
 * @returns {Promise<string>} The directory of the programs.
 */
async function build(packages, target) {
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: ROOT, encoding: "utf8" }).trim();
  // Names of functions are a third of a program, and no use without the sources.
  const stripped = { CARGO_PROFILE_NATIVE_STRIP: "symbols" };
  const environment = { ...TOOL_ENVIRONMENT, ...PRIVATE_PLACES, ...stripped, RENDEZVOUS_COMMIT: commit };
  const named = packages.flatMap((name) => ["--package", name]);
  await execute("cargo", ["build", "--locked", "--profile", PROFILE, "--target", target, ...named], { environment });
  return join(ROOT, "target", target, PROFILE);
}

/** @returns {Promise<string>} */
async function readVersion() {
  const text = await readFile(join(ROOT, "Cargo.toml"), "utf8");
  return text.match(/^\[workspace\.package\]\nversion = "(.*)"$/m)[1];
}

/**
 * @param {{ name: string, package: string, beside: string[], target: string, version: string, built: string, out: string }} options
 * @returns {Promise<string>} The archive.
 */
async function pack({ name, package: crate, beside, target, version, built, out }) {
  const program = target.includes("windows") ? `${name}.exe` : name;
  const source = requireBuilt(built, program, crate);
  const folder = `${name}-${version}-${target}`;
  const scratch = await mkdtemp(join(tmpdir(), "release-"));
  try {
    const directory = join(scratch, folder);
    await mkdir(directory);
    await copyFile(source, join(directory, program));
    await chmod(join(directory, program), 0o755);
    for (const file of [...OWN_LICENCES, ...beside]) await copyFile(join(ROOT, file), join(directory, basename(file)));
    await writeFile(join(directory, THIRD_PARTY), await thirdParty(crate, target));
    // As whoever unpacks it will run it.
    const said = execFileSync(join(directory, program), ["--version"], { encoding: "utf8" }).trim();
    if (!said.startsWith(`${name} ${version}`)) throw new Failure(`${source} says it is "${said}", not ${name} ${version}.`);
    const archive = join(out, `${folder}.tar.gz`);
    // gzip by Node, which writes no time into it.
    const tar = execFileSync("tar", [...reproducibly(), "-cf", "-", "-C", scratch, folder], { maxBuffer: 1024 ** 3 });
    await writeFile(archive, gzipSync(tar));
    return archive;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * @param {string} built
 * @param {string} program
 * @param {string} crate
 * @returns {string} The program.
 */
function requireBuilt(built, program, crate) {
  const source = join(built, program);
  if (!existsSync(source)) throw new Failure(`${source} is not there: cargo build --package ${crate}`);
  return source;
}

/** @returns {string} The time of what is checked out, in seconds: that of all that is packed. */
function commitTime() {
  return execFileSync("git", ["log", "-1", "--format=%ct"], { cwd: ROOT, encoding: "utf8" }).trim();
}

/** Options by which the same files give the same archive; only GNU's tar has them. */
function reproducibly() {
  if (!execFileSync("tar", ["--version"], { encoding: "utf8" }).includes("GNU")) return [];
  return ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", `--mtime=@${commitTime()}`, "--mode=go-w"];
}

/**
 * What is in it native/Cargo.toml says.
 *
 * @param {{ target?: string, from?: string, out: string }} options
 */
async function debian({ target = hostTarget(), from, out }) {
  const name = "rendezvous-beacon";
  const { package: crate } = PROGRAMS[name];
  const cargoDeb = findRunnable([TOOLS.cargoDeb]) ?? findOnPath("cargo-deb");
  if (cargoDeb === undefined) throw new Failure("cargo-deb is not there: cargo install --locked cargo-deb");
  const source = requireBuilt(from === undefined ? await build([crate], target) : resolve(from), name, crate);
  const scratch = await mkdtemp(join(tmpdir(), "release-"));
  try {
    // Where cargo would have built it, with nothing else there.
    const folder = join(scratch, target, PROFILE);
    await mkdir(folder, { recursive: true });
    await copyFile(source, join(folder, name));
    await chmod(join(folder, name), 0o755);
    await writeFile(join(folder, THIRD_PARTY), await thirdParty(crate, target));
    await mkdir(out, { recursive: true });
    const environment = { ...TOOL_ENVIRONMENT, CARGO_TARGET_DIR: scratch, SOURCE_DATE_EPOCH: commitTime() };
    const options = ["--package", crate, "--target", target, "--no-build", "--locked", "--output", out];
    // It prints the file's name.
    await execute(cargoDeb, options, { environment, observe: () => {} });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** @param {{ key?: string, out: string }} options */
async function checksums({ key, out }) {
  const files = (await readdir(out)).filter((file) => file !== CHECKSUMS && file !== SIGNATURE).sort();
  if (files.length === 0) throw new Failure(`${out} is empty: there is nothing to be signed.`);
  const lines = await Promise.all(
    files.map(async (file) => `${createHash("sha256").update(await readFile(join(out, file))).digest("hex")}  ${file}\n`),
  );
  await writeFile(join(out, CHECKSUMS), lines.join(""));
  await rm(join(out, SIGNATURE), { force: true });
  if (key === undefined) return;
  const minisign = findMinisign();
  if (minisign === undefined) throw new Failure(ADVICE);
  // The comment is signed: these checksums cannot be passed off as another version's.
  const comment = `rendezvous-beacon ${await readVersion()}`;
  await execute(minisign, ["-S", "-s", resolve(key), "-m", join(out, CHECKSUMS), "-x", join(out, SIGNATURE), "-t", comment]);
}

/** @param {{ tag?: string }} options */
async function notes({ tag }) {
  const version = await readVersion();
  if (tag !== `v${version}`) throw new Failure(`The tag is ${tag ?? "missing"}, and this checkout is version ${version}.`, 2);
  const client = JSON.parse(await readFile(join(ROOT, "client/package.json"), "utf8")).version;
  if (client !== version) throw new Failure(`client/package.json says ${client}, and Cargo.toml ${version}.`);
  const sections = (await readFile(join(ROOT, "CHANGELOG.md"), "utf8")).split(/^## /m);
  const section = sections.find((text) => text.split(/[\s[\]]+/).find(Boolean) === version);
  if (section === undefined) throw new Failure(`CHANGELOG.md has no section of version ${version}.`);
  // Without its heading, and without the links at the file's end.
  console.log(section.replace(/^.*\n/, "").replace(/^\[[^\]]+\]: .*$/gm, "").trim());
}
