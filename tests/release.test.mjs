// A release as far as one machine makes it: archives of the programs that were built here, what is in them, checksums and their
// signature, each checked by a program that is not of this project; and what the workflow that makes the others says.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, cp, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { ensurePackage, findOnPath } from "../tools/debian.mjs";
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

describe("the package for Debian", () => {
  const CONFIGURATION = "etc/rendezvous-beacon.toml";
  const UNIT = "usr/lib/systemd/system/rendezvous-beacon.service";
  const DOCUMENTS = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "THIRD-PARTY.txt", "copyright"];
  const packed = (...args) => execFileSync("dpkg-deb", args, { encoding: "utf8" });
  let file;
  let root;
  before(async () => {
    assert.ok(findOnPath("dpkg-deb"), "The test of the package for Debian needs dpkg: dnf install dpkg (Fedora), brew install dpkg (macOS).");
    const { code, stdout, stderr } = await release("debian", "--from", BUILT, "--out", join(scratch, "debian"));
    assert.equal(code, 0, stderr);
    file = stdout.trim();
    root = join(scratch, "root");
    packed("--extract", file, root);
    packed("--control", file, join(scratch, "control"));
  });

  test("is of this version and machine, asks before it takes the configuration's place, and names the unit in its scripts", async () => {
    const { version } = packages().find(({ name }) => name === "rendezvous-native");
    const architecture = execFileSync("dpkg", ["--print-architecture"], { encoding: "utf8" }).trim();
    assert.equal(basename(file), `rendezvous-beacon_${version}-1_${architecture}.deb`);
    const fields = ["Package", "Version", "Architecture", "Section", "Homepage"].map((field) => packed("--field", file, field).trim());
    assert.deepEqual(fields, ["rendezvous-beacon", `${version}-1`, architecture, "net", packages()[0].repository]);
    const control = (name) => readFile(join(scratch, "control", name), "utf8");
    assert.equal(await control("conffiles"), `/${CONFIGURATION}\n`);
    for (const script of ["postinst", "postrm", "prerm"]) {
      assert.match(await control(script), /\brendezvous-beacon\.service\b/, script);
      execFileSync("sh", ["-n", join(scratch, "control", script)]);
    }
  });

  test("has the program, its unit, its configuration and its documents, and nothing else", async () => {
    const documents = DOCUMENTS.map((name) => `usr/share/doc/rendezvous-beacon/${name}`);
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => !entry.isDirectory()).map(({ parentPath, name }) => relative(root, join(parentPath, name)));
    assert.deepEqual(files.sort(), [CONFIGURATION, "usr/bin/rendezvous-beacon", UNIT, ...documents].sort());
    for (const name of files) assert.equal((await stat(join(root, name))).mode & 0o777, name.includes("/bin/") ? 0o755 : 0o644, name);
    assert.match(await readFile(join(root, documents[4]), "utf8"), /^serde_json \d/m);
  });

  test("what the unit starts is in it, and serves by the configuration that is in it", async () => {
    const unit = await readFile(join(root, UNIT), "utf8");
    const [name, ...args] = unit.match(/^ExecStart=(.*)$/m)[1].split(" ");
    assert.deepEqual([name, ...args], ["rendezvous-beacon", "serve", "--config", `/${CONFIGURATION}`]);
    const command = [join(root, "usr/bin", name), [...args.slice(0, -1), join(root, args.at(-1))]];
    const environment = { PORT: "0", STATE: join(scratch, "state-of-debian") };
    const beacon = await startNative({ environment, command });
    try {
      assert.equal((await announce(beacon.url, signTicket(newPeer()))).json.listed, true);
    } finally {
      await beacon.stop();
    }
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
    for (const command of ["archives --target", "debian --target", "checksums --key", "notes --tag"]) assert.ok(commands.includes(`node tools/release.mjs ${command}`), command);
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

  describe("of the capsule", () => {
    /** @type {any} */
    let workflow;
    before(async () => {
      const advice = "The tests of the workflow for capsules need jq: apt install jq (Debian), dnf install jq (Fedora), brew install jq (macOS).";
      await ensurePackage({ name: "jq", takes: "some seconds, once", advice, find: () => findOnPath("jq") });
      workflow = parse(await readFile(join(folder, "capsule.yml"), "utf8"));
    });

    const step = (job, name) => {
      const found = workflow.jobs[job].steps.filter((step) => step.name === name);
      assert.equal(found.length, 1, name);
      return found[0];
    };

    /**
     * Runs a step's script as GitHub does, in an empty directory that has these programs, each a script of bash.
     *
     * @param {{ run: string }} step
     * @param {{ programs: Record<string, string>, env?: Record<string, string>, from?: string }} options
     */
    async function runStep({ run }, { programs, env = {}, from }) {
      const cwd = await mkdtemp(join(scratch, "step-"));
      if (from) await cp(from, cwd, { recursive: true });
      for (const [name, script] of Object.entries(programs)) {
        const file = join(cwd, name);
        await mkdir(join(file, ".."), { recursive: true });
        await writeFile(file, `#!/bin/bash\n${script}\n`, { mode: 0o755 });
      }
      const output = join(cwd, "output");
      await writeFile(output, "");
      const child = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", run], {
        cwd,
        env: { PATH: `${join(cwd, "bin")}:${process.env.PATH}`, GITHUB_OUTPUT: output, GH_REPO: "a/b", CALLS: join(cwd, "calls"), ...env },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const ended = await finished(child);
      const calls = await readFile(join(cwd, "calls"), "utf8").catch(() => "");
      return { ...ended, cwd, calls, output: await readFile(output, "utf8") };
    }

    test("lives two hours unless it is said otherwise, asks for as many peers as it is told, and takes another attempt", () => {
      const { env } = step("publish", "Publish into a directory");
      assert.match(env.RENDEZVOUS_CAPSULE_TTL_MS, /\|\| '7200000' \}\}$/);
      for (const [input, name] of [["ttlMs", "TTL_MS"], ["minPeers", "MIN_PEERS"], ["maxPeers", "MAX_PEERS"]]) {
        assert.equal(workflow.on.workflow_dispatch.inputs[input].type, "string", input);
        assert.match(env[`RENDEZVOUS_CAPSULE_${name}`], new RegExp(`^\\$\\{\\{ inputs\\.${input} \\|\\| vars\\.RENDEZVOUS_CAPSULE_${name}\\b`));
      }
      const artifact = "github-pages-${{ github.run_attempt }}";
      assert.equal(step("publish", "Hand the directory over").with.name, artifact);
      assert.equal(workflow.jobs.publish.outputs.artifact, artifact);
      assert.equal(step("deploy", "Deploy").with.artifact_name, "${{ needs.publish.outputs.artifact }}");
    });

    test("begins with the capsule that is online, and with all roots beside it, or says why not", async (context) => {
      const online = { "/site/peers.json": "{}", "/site/peers.json.sig": "signed" };
      let broken = false;
      const server = createServer(({ url }, response) => {
        response.writeHead(broken ? 500 : online[url] ? 200 : 404).end(online[url]);
      }).listen(0, "127.0.0.1");
      await once(server, "listening");
      context.after(() => server.close());
      const site = `http://127.0.0.1:${server.address().port}/site/`;
      const from = await mkdtemp(join(scratch, "repository-"));
      await mkdir(join(from, "roots"));
      const roots = ["1.root.json", "1.root.json.sigs", "2.root.json", "2.root.json.sigs"];
      for (const name of [...roots, "key.pem"]) await writeFile(join(from, "roots", name), name);
      const begin = async (gh, env = {}) => {
        const programs = { "bin/gh": gh };
        const { cwd, ...ended } = await runStep(step("publish", "Begin with what is online, and with the roots"), { programs, env, from });
        return { ...ended, files: (await readdir(join(cwd, "site"))).sort() };
      };
      const missing = (status) => `echo '{"message":"no","status":"${status}"}'; exit 1`;
      const there = await begin(`echo ${site}`);
      assert.deepEqual([there.code, there.files], [0, [...roots, "peers.json", "peers.json.sig"].sort()], there.stderr);
      assert.deepEqual((await begin(missing(404))).files, roots, "there is no site yet");
      assert.notEqual((await begin(missing(403))).code, 0);
      const nowhere = await begin(`echo ${site}`, { ROOTS: "nowhere" });
      assert.match(nowhere.stdout, /RENDEZVOUS_CAPSULE_ROOTS is not a directory/);
      assert.notEqual(nowhere.code, 0);
      delete online["/site/peers.json"];
      assert.deepEqual((await begin(`echo ${site}`)).files, [...roots, "peers.json.sig"].sort());
      broken = true;
      const failed = await begin(`echo ${site}`);
      assert.match(failed.stdout, /was answered with status 500/);
      assert.notEqual(failed.code, 0);
    });

    test("is checked after each run, with what the runs before remember, and only an exit code of 4 is an alert", async () => {
      const restored = step("report", "Restore the history").with;
      assert.equal(step("report", "Save the history").with.path, restored.path);
      assert.equal(step("report", "Save the history").with.key, restored.key);
      assert.ok(restored.key.startsWith(restored["restore-keys"]) && restored.key.includes("run_attempt"));
      const check = step("report", "Check what is online");
      assert.equal(check.if, undefined);
      const env = { RENDEZVOUS_CAPSULE_PUBLIC_KEY: "key", GH_TOKEN: "secret" };
      for (const [code, alert] of [[0, ""], [1, ""], [2, ""], [3, ""], [4, "alert=true\n"]]) {
        const capsule = `echo "$@" >>"$CALLS"; [[ -z "$GH_TOKEN" ]] || exit 9; echo "all is told"; exit ${code}`;
        const programs = { "bin/gh": "echo https://a.example/site/", "target/release/capsule": capsule };
        const ended = await runStep(check, { programs, env });
        assert.deepEqual([ended.code, ended.output], [0, alert], ended.stderr);
        assert.equal(ended.calls, "check --github-issue --history history/check.json https://a.example/site/peers.json\n");
        assert.equal(await readFile(join(ended.cwd, "health.md"), "utf8"), "all is told\n");
      }
      const without = await runStep(check, { programs: { "bin/gh": "exit 1" }, env });
      assert.deepEqual([without.code, without.output], [0, ""], "there is no program");
    });

    test("has an issue after a second failure, and at an alert at once, which a good run closes", async () => {
      const open = step("report", "Open one after a second failure or at an alert, or update it");
      assert.equal(open.if, "needs.deploy.result != 'success' || steps.health.outputs.alert == 'true'");
      assert.match(step("report", "Close it after a success").if, /deploy\.result == 'success' && steps\.health\.outputs\.alert != 'true'/);
      const calls = async (env, previous) => {
        const runs = JSON.stringify({ workflow_runs: [{ run_number: 6, conclusion: previous }, { run_number: 5, conclusion: "failure" }] });
        const gh = `[[ "$1" == api ]] && echo '${runs}' && exit 0; printf '%s\\n' "$*" >>"$CALLS"`;
        const names = { GITHUB_RUN_NUMBER: "7", GITHUB_REF_NAME: "main", LABEL: "capsule-failure", RUN_URL: "https://run.example", NUMBERS: "" };
        const script = { run: `echo "the health of all" >health.md\n${open.run}` };
        const ended = await runStep(script, { programs: { "bin/gh": gh }, env: { ...names, ALERT: "", ...env } });
        assert.equal(ended.code, 0, ended.stderr);
        return ended.calls;
      };
      assert.equal(await calls({ DEPLOYED: "failure" }, "success"), "");
      const second = await calls({ DEPLOYED: "failure" }, "failure");
      assert.match(second, /^issue create --title Capsule publishing fails --label capsule-failure --body Publishing failed, .*https:\/\/run\.example$/m);
      assert.match(second, /^the health of all$/m);
      const alert = await calls({ DEPLOYED: "success", ALERT: "true" }, "success");
      assert.match(alert, /^issue create --title Less than 80 % is well --label capsule-failure --body The capsule is published, /m);
      const known = await calls({ DEPLOYED: "success", ALERT: "true", NUMBERS: "3" }, "success");
      assert.match(known, /^issue edit 3 --title Less than 80 % is well /);
      assert.doesNotMatch(known, /issue create|label create/);
    });
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
