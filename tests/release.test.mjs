// A release as far as one machine makes it: archives of the programs that were built here, what is in them, checksums and their
// signature, each checked by a program that is not of this project; and what the workflow that makes the others says.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { appendFile, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { ADVICE, findMinisign } from "../tools/minisign.mjs";
import { startNative } from "../tools/native.mjs";
import { ROOT } from "../tools/steps.mjs";
import { TOOL_ENVIRONMENT } from "../tools/toolchain.mjs";
import { announce } from "./http.mjs";
import { finished } from "./program.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const BUILT = join(ROOT, "target/debug");

let scratch;
let out;
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), "release-test-"));
  out = join(scratch, "dist");
});
after(() => rm(scratch, { recursive: true, force: true }));

/** @param {string[]} args */
function release(...args) {
  const child = spawn(process.execPath, [join(ROOT, "tools/release.mjs"), ...args], { cwd: scratch, stdio: ["ignore", "pipe", "pipe"] });
  return finished(child);
}

/** @returns {{ name: string, version: string, targets: any[], metadata: any, repository: string }[]} */
function packages() {
  const args = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
  return JSON.parse(execFileSync("cargo", args, { cwd: ROOT, env: TOOL_ENVIRONMENT, encoding: "utf8" })).packages;
}

describe("archives", () => {
  let files;
  before(async () => {
    const { code, stdout, stderr } = await release("archives", "--from", BUILT, "--out", out);
    assert.equal(code, 0, `${stderr}\n(cargo build --package rendezvous-capsule --package rendezvous-messenger --package rendezvous-native)`);
    files = stdout.trim().split("\n");
    assert.deepEqual((await readdir(out)).map((file) => join(out, file)), files.sort());
    for (const file of files) execFileSync("tar", ["-xzf", file, "-C", scratch]);
  });

  test("each has its program, the licences of all that is in it, and nothing else", async () => {
    assert.equal(files.length, 3);
    for (const file of files) {
      const folder = join(scratch, file.match(/([^/]+)\.tar\.gz$/)[1]);
      const program = basename(folder).match(/^((?:[a-z]+-)*[a-z]+)-\d/)[1];
      const beside = program === "rendezvous-beacon" ? ["rendezvous-beacon.service", "rendezvous-beacon.toml"] : [];
      assert.deepEqual((await readdir(folder)).sort(), ["LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY.txt", ...beside, program].sort());
      assert.equal((await stat(join(folder, program))).mode & 0o777, 0o755);
      const licences = await readFile(join(folder, "THIRD-PARTY.txt"), "utf8");
      for (const crate of ["serde_json", "ed25519-dalek", "clap"]) assert.match(licences, new RegExp(`^${crate} \\d`, "m"), crate);
      assert.match(licences, /Permission is hereby granted/);
      assert.doesNotMatch(licences, /^(proptest|rendezvous-protocol) \d/m, "what is not in it, or is this project's own");
    }
  });

  test("the packed programs do their work", async () => {
    const program = (name) => join(scratch, files.map((file) => file.match(/([^/]+)\.tar\.gz$/)[1]).find((folder) => new RegExp(`^${name}-\\d`).test(folder)), name);
    const state = join(scratch, "state");
    const beacon = await startNative({ environment: { PORT: "0", STATE: state }, command: [program("rendezvous-beacon"), ["serve"]] });
    try {
      assert.equal((await announce(beacon.url, signTicket(newPeer()))).json.listed, true);
      const who = execFileSync(program("capsule"), ["who", beacon.url, "--community", "mainnet"], { encoding: "utf8", env: {} });
      assert.match(who, /1/);
      execFileSync(program("rendezvous"), ["check", beacon.url], { env: {}, stdio: "pipe" });
    } finally {
      await beacon.stop();
    }
  });

  test("cargo binstall finds each where the release has it", () => {
    const host = files[0].match(/-([a-z0-9_]+-[a-z]+-.*)\.tar\.gz$/)[1];
    const programs = packages().filter(({ metadata }) => metadata?.binstall);
    assert.equal(programs.length, 3);
    for (const { version, targets, metadata, repository } of programs) {
      const bin = targets.find(({ kind }) => kind.includes("bin")).name;
      const values = { repo: repository, version, target: host, bin, "binary-ext": "" };
      const fill = (template) => template.replace(/\{ ([a-z-]+) \}/g, (_, name) => values[name] ?? assert.fail(name));
      const url = fill(metadata.binstall["pkg-url"]);
      const archive = files.find((file) => url === `${repository}/releases/download/v${version}/${file.match(/[^/]+$/)[0]}`);
      assert.ok(archive, url);
      const listed = execFileSync("tar", ["-tzf", archive], { encoding: "utf8" }).split("\n");
      assert.ok(listed.includes(fill(metadata.binstall["bin-dir"])), listed.join());
    }
  });

  test("the same programs give the same bytes", async () => {
    const again = join(scratch, "again");
    const { code, stderr } = await release("archives", "--from", BUILT, "--out", again);
    assert.equal(code, 0, stderr);
    for (const file of files) assert.ok((await readFile(file)).equals(await readFile(join(again, file.match(/[^/]+$/)[0]))), file);
  });
});

describe("checksums", () => {
  test("sha256sum and minisign take them, and refuse what was changed since", async () => {
    assert.ok(findMinisign(), ADVICE);
    const directory = join(scratch, "signed");
    await mkdir(directory);
    await writeFile(join(directory, "a.tar.gz"), "a");
    await writeFile(join(directory, "b.cdx.json"), "b");
    const [key, pub] = [join(scratch, "minisign.key"), join(scratch, "minisign.pub")];
    execFileSync(findMinisign(), ["-G", "-W", "-s", key, "-p", pub], { stdio: "pipe" });
    const { code, stderr } = await release("checksums", "--key", key, "--out", directory);
    assert.equal(code, 0, stderr);
    assert.deepEqual(await readdir(directory), ["SHA256SUMS", "SHA256SUMS.minisig", "a.tar.gz", "b.cdx.json"]);
    const check = () => execFileSync("sha256sum", ["--check", "--strict", "SHA256SUMS"], { cwd: directory, encoding: "utf8", stdio: "pipe" });
    const verify = () => execFileSync(findMinisign(), ["-V", "-p", pub, "-m", join(directory, "SHA256SUMS")], { encoding: "utf8", stdio: "pipe" });
    assert.equal(check(), "a.tar.gz: OK\nb.cdx.json: OK\n");
    const { version } = packages().find(({ name }) => name === "rendezvous-native");
    assert.match(verify(), new RegExp(`^Trusted comment: rendezvous-beacon ${version}$`, "m"));
    await appendFile(join(directory, "a.tar.gz"), "!");
    assert.throws(check);
    await appendFile(join(directory, "SHA256SUMS"), "\n");
    assert.throws(verify);
    // Made anew without a key, they have no signature by another.
    assert.equal((await release("checksums", "--out", directory)).code, 0);
    assert.deepEqual(await readdir(directory), ["SHA256SUMS", "a.tar.gz", "b.cdx.json"]);
  });

  test("of nothing there are none", async () => {
    await mkdir(join(scratch, "empty"));
    const { code, stderr } = await release("checksums", "--out", join(scratch, "empty"));
    assert.match(stderr, /is empty/);
    assert.equal(code, 1);
  });
});

test("notes are the version's own section, and only under its tag", async () => {
  const { version } = packages().find(({ name }) => name === "rendezvous-native");
  const right = await release("notes", "--tag", `v${version}`);
  assert.equal(right.code, 0, right.stderr);
  const changelog = await readFile(join(ROOT, "CHANGELOG.md"), "utf8");
  assert.ok(right.stdout.trim().length > 0 && changelog.includes(right.stdout.trim()));
  assert.doesNotMatch(right.stdout, /^## /m);
  for (const tag of [`${version}`, "v99.0.0"]) {
    const { code, stderr } = await release("notes", "--tag", tag);
    assert.match(stderr, new RegExp(`The tag is ${tag.replaceAll(".", "\\.")}, and this checkout is version`));
    assert.equal(code, 2);
  }
});

test("bad arguments are refused by name", async () => {
  for (const [args, said] of [[[], /COMMAND/], [["publish"], /COMMAND/], [["archives", "--form", "x"], /--form/], [["archives", "--from", scratch, "--out", out], /is not there/]]) {
    const { code, stderr } = await release(...args);
    assert.match(stderr, said);
    assert.notEqual(code, 0);
  }
});

describe("workflows", () => {
  const folder = join(ROOT, ".github/workflows");
  test("every action is pinned to a commit, nothing has a permission by default, and every job has a limit", async () => {
    for (const file of await readdir(folder)) {
      const text = await readFile(join(folder, file), "utf8");
      const workflow = parse(text);
      assert.deepEqual(workflow.permissions, {}, file);
      for (const [name, job] of Object.entries(workflow.jobs)) {
        assert.ok(job.permissions, `${file}, ${name}`);
        assert.ok(job.uses || job["timeout-minutes"], `${file}, ${name}`);
        for (const { uses } of job.steps ?? []) if (uses) assert.match(uses, /@[0-9a-f]{40}$/, `${file}, ${name}`);
      }
      for (const [, comment] of text.matchAll(/uses: \S+@[0-9a-f]{40}(.*)$/gm)) assert.match(comment, /^ # v\d+\.\d+\.\d+$/, file);
    }
  });

  test("the release is made by the commands that are tested here, for every kind of machine that docs/install.md names", async () => {
    const { jobs } = parse(await readFile(join(folder, "release.yml"), "utf8"));
    const commands = Object.values(jobs).flatMap(({ steps = [] }) => steps.map(({ run = "" }) => run)).join("\n");
    for (const command of ["archives --target", "checksums --key", "notes --tag"]) assert.ok(commands.includes(`node tools/release.mjs ${command}`), command);
    const targets = jobs.programs.strategy.matrix.include.map(({ target }) => target);
    assert.deepEqual(targets, [
      "x86_64-unknown-linux-musl",
      "aarch64-unknown-linux-musl",
      "x86_64-apple-darwin",
      "aarch64-apple-darwin",
      "x86_64-pc-windows-msvc",
    ]);
    assert.deepEqual(jobs.publish.needs, ["test", "programs", "image"], "nothing is published unless all of it was built and tested");
  });

  test("the compose file gives the beacon only settings that it has, and no port but the proxy's", async () => {
    const { services } = parse(await readFile(join(ROOT, "contrib/compose.yaml"), "utf8"));
    const settings = await readFile(join(ROOT, "contrib/rendezvous-beacon.toml"), "utf8");
    for (const name of Object.keys(services.beacon.environment)) assert.match(settings, new RegExp(`^${name} = `, "m"), name);
    assert.equal(services.beacon.ports, undefined);
    assert.deepEqual(services.beacon.volumes, ["state:/state"]);
    assert.equal(services.beacon.build.dockerfile, "contrib/Dockerfile");
  });
});
