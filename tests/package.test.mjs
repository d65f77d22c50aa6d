// The npm package as somebody has it who has Node and nothing else: packed, installed from the tarball into an empty folder, and
// run with a PATH on which there are node, npm, npx and the shell that npm runs commands by.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { findOnPath } from "../tools/debian.mjs";
import { ROOT } from "../tools/steps.mjs";
import { PROGRAMS } from "../tools/toolchain.mjs";
import { announce, call, eventually, peerIds, peers } from "./http.mjs";
import { finished } from "./program.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const NPM = ["--no-audit", "--no-fund", "--loglevel=error"];

let scratch;
/** Where the package is installed, and nothing else. */
let home;
let environment;

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), "package-test-"));
  const [path, tarballs] = [join(scratch, "path"), join(scratch, "tarballs")];
  home = join(scratch, "home");
  for (const directory of [path, tarballs, home]) await mkdir(directory);
  await symlink(process.execPath, join(path, "node"));
  for (const program of ["npm", "npx"]) await symlink(await realpath(findOnPath(program)), join(path, program));
  await symlink("/bin/sh", join(path, "sh"));
  // npm's settings and cache are the user's; what the command itself keeps is not.
  const cache = execFileSync("npm", ["config", "get", "cache"], { encoding: "utf8" }).trim();
  environment = {
    PATH: path,
    HOME: process.env.HOME,
    XDG_CACHE_HOME: join(scratch, "cache"),
    npm_config_cache: cache,
    npm_config_prefer_offline: "true",
    npm_config_update_notifier: "false",
    WRANGLER_SEND_METRICS: "false",
    CI: "true",
    NO_COLOR: "1",
  };
  execFileSync("npm", ["pack", "--offline", "--pack-destination", tarballs], { cwd: join(ROOT, "client"), stdio: "pipe" });
  const [tarball] = await readdir(tarballs);
  // Without a registry: the package depends on nothing.
  execFileSync("npm", ["install", "--offline", ...NPM, join(tarballs, tarball)], { cwd: home, stdio: "pipe" });
});
after(() => rm(scratch, { recursive: true, force: true, maxRetries: 5 }));

/**
 * @param {string[]} args
 * @param {{ cwd?: string, env?: Record<string, string>, by?: "npx" | "itself" }} [options] `itself`: without npx in between, so
 *   that its exit code and signals are its own.
 */
function start(args, { cwd = home, env = {}, by = "itself" } = {}) {
  const command = by === "npx" ? ["npx", "--no", "rendezvous-beacon"] : [join(home, "node_modules/.bin/rendezvous-beacon")];
  const [program, ...rest] = [...command, ...args];
  const child = { cwd, env: { ...environment, ...env }, stdio: ["ignore", "pipe", "pipe"], detached: true };
  return spawn(by === "npx" ? join(environment.PATH, program) : program, rest, child);
}

/** @param {Parameters<typeof start>} run */
const run = (...run) => finished(start(...run));

/**
 * Runs `dev` until the work is done.
 *
 * @param {Parameters<typeof start>[1] & { args?: string[], state: string, signal?: NodeJS.Signals }} options
 * @param {(url: string, child: import("node:child_process").ChildProcess) => Promise<void>} work
 * @returns {Promise<Awaited<ReturnType<typeof finished>>>} How it ended.
 */
async function withDev({ args = [], state, signal = "SIGTERM", ...options }, work) {
  const child = start(["dev", "--port", "0", "--state", state, ...args], options);
  const ended = finished(child);
  try {
    await work(await readyAt(child, ended), child);
  } finally {
    child.kill(signal);
  }
  return ended;
}

/**
 * @param {import("node:child_process").ChildProcess} child
 * @param {ReturnType<typeof finished>} ended
 * @returns {Promise<string>}
 */
function readyAt(child, ended) {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (text) => {
      said += text;
      const found = said.match(/ready at (http:\S+)/);
      if (found) resolve(found[1]);
    });
    ended.then(({ code, stdout, stderr }) => reject(new Error(`ended with ${code}: ${stdout}${stderr}`)));
  });
}

/** @param {string} url */
const isReached = (url) => fetch(url).then(() => true, () => false);

test("the installed package brings no other one, and its command needs none", async () => {
  const modules = join(home, "node_modules");
  assert.deepEqual((await readdir(modules)).filter((name) => !name.startsWith(".")), ["rendezvous-beacon"]);
  const command = await readFile(join(modules, "rendezvous-beacon/bin/rendezvous-beacon.js"), "utf8");
  const imported = [...command.matchAll(/^import [^;]*?"([^"]+)";$/gm)].map(([, name]) => name);
  assert.ok(imported.length > 5);
  assert.deepEqual(imported.filter((name) => !name.startsWith("node:")), []);
});

describe("dev", () => {
  test("by npx: fetches workerd once, serves the page and lists who announces, and ends with npx", async () => {
    const state = join(scratch, "first");
    let reached;
    const { stderr } = await withDev({ by: "npx", state }, async (url) => {
      reached = url;
      const page = await call(url, "/", { headers: { Accept: "text/html" } });
      assert.equal(page.status, 200);
      assert.match(page.text, /<!doctype html>/i);
      assert.match(page.headers.get("Content-Security-Policy"), /default-src 'none'/);
      for (const [, file] of page.text.matchAll(/(?:src|href)="(?:\.?\/)?([\w-]+\.(?:js|css|svg))"/g)) {
        assert.equal((await call(url, `/${file}`)).status, 200, file);
      }
      const info = await call(url, "/.well-known/rendezvous-beacon");
      assert.deepEqual([info.json.showsPeers, info.json.communities.map(({ name }) => name)], [true, ["mainnet"]]);
      const [ann, bob] = [newPeer(), newPeer()];
      assert.equal((await announce(url, signTicket(ann))).json.listed, true);
      const answer = await announce(url, signTicket(bob));
      assert.deepEqual(peerIds(answer), [ann.peerId]);
      assert.equal((await announce(url, signTicket(newPeer()), { community: "another" })).json.total, 1, "every community is served");
      const socket = new WebSocket(`${url.replace("http", "ws")}/live?community=mainnet`);
      let heard = "";
      socket.addEventListener("message", ({ data }) => (heard += data));
      await eventually(() => heard, (said) => [ann, bob].every(({ peerId }) => said.includes(peerId)));
      socket.close();
      assert.equal((await call(url, "/v1/relay")).status, 200);
    });
    assert.match(stderr, /Fetching workerd \d/);
    await eventually(() => isReached(reached), (isThere) => !isThere);
    const again = await withDev({ by: "itself", state }, async (url) => assert.equal((await call(url, "/healthz")).status, 200));
    assert.doesNotMatch(again.stderr, /Fetching/);
  });

  test("keeps its roster from run to run, and ends with exit code 0 by SIGTERM and by SIGINT", async () => {
    const options = { state: join(scratch, "kept"), env: { COMMUNITIES: "mainnet" } };
    const peer = newPeer();
    const first = await withDev(options, async (url) => assert.equal((await announce(url, signTicket(peer))).json.listed, true));
    const second = await withDev({ ...options, signal: "SIGINT" }, async (url) => assert.deepEqual(peerIds(await peers(url)), [peer.peerId]));
    assert.deepEqual([first.code, second.code], [0, 0], first.stderr + second.stderr);
  });

  test("leaves no workerd behind that could hold the state when it is killed", async () => {
    const state = join(scratch, "killed");
    const killed = await withDev({ state, signal: "SIGKILL" }, async (url) => assert.equal((await call(url, "/healthz")).status, 200));
    assert.equal(killed.signal, "SIGKILL");
    const { code, stderr } = await withDev({ state }, async (url) => assert.equal((await call(url, "/healthz")).status, 200));
    assert.equal(code, 0, stderr);
  });

  test("takes the beacon's variables, and nobody's word for an address", async () => {
    await withDev({ state: join(scratch, "limits"), env: { COMMUNITIES: "mainnet", NETWORK_REQUESTS_PER_MINUTE: "8", ADDRESS_REQUESTS_PER_MINUTE: "8" } }, async (url) => {
      assert.equal((await peers(url, { community: "another" })).json.code, "COMMUNITY_UNKNOWN");
      const statuses = [];
      for (let at = 0; at < 12; at += 1) statuses.push((await call(url, "/peers", { address: `198.51.${at}.1` })).status);
      assert.equal(statuses.at(-1), 429, "all of them come from this machine");
    });
  });

  test("says what is in its way", async () => {
    const state = join(scratch, "busy");
    await withDev({ state }, async (url) => {
      const same = await run(["dev", "--port", "0", "--state", state]);
      assert.match(same.stderr, /is the state of process \d+, which is running/);
      const port = await run(["dev", "--port", new URL(url).port, "--state", join(scratch, "other")]);
      assert.match(port.stderr, /Port \d+ on 127\.0\.0\.1 is in use/);
      assert.deepEqual([same.code, port.code], [1, 1]);
    });
    await writeFile(join(scratch, "file"), "");
    const cases = [
      [["dev", "--port", "70000"], {}, /The port is "70000"/, 2],
      [["dev", "--port"], {}, /--port/, 2],
      [["dev", "--prot", "1"], {}, /--prot/, 2],
      [["dev", "now"], {}, /now/, 2],
      [["dev"], { TRUSTED_TICKET_KEY: "AAAA" }, /TRUSTED_TICKET_KEY: did you mean TRUSTED_TICKET_KEYS\?/, 2],
      [["dev"], { HUB_ORIGINS: "AAAA" }, /HUB_ORIGINS is a variable of the program for one machine alone/, 2],
      [["dev", "--port", "0", "--state", join(scratch, "bad")], { ANSWER_LIMIT: "many" }, /not healthy:\n.*ANSWER_LIMIT/, 2],
      [["dev", "--state", join(scratch, "file")], {}, /cannot keep the state/, 1],
      [["serve"], {}, /There is no command "serve"/, 2],
      [["constructor"], {}, /There is no command "constructor"/, 2],
      [[], {}, /npx rendezvous-beacon init \[DIR\]/, 2],
    ];
    for (const [args, env, said, expected] of cases) {
      const { code, stderr } = await run(args, { env });
      assert.match(stderr, said);
      assert.doesNotMatch(stderr, /AAAA|\n {4}at /);
      assert.equal(code, expected, stderr);
    }
  });
});

test("--help and --version", async () => {
  for (const args of [["--help"], ["dev", "--help"], ["init", "-h"], ["check", "--help"]]) {
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^rendezvous-beacon/);
    assert.ok(Math.max(...stdout.split("\n").map((line) => line.length)) <= 130, "it is readable in a terminal");
  }
  const { version } = JSON.parse(await readFile(join(ROOT, "client/package.json"), "utf8"));
  assert.equal((await run(["--version"])).stdout, `${version}\n`);
});

describe("a deployment of one's own", () => {
  let deployment;
  before(async () => {
    const { code, stdout, stderr } = await run(["init", "../deployment", "--name", "my-beacon"]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /cd \.\.\/deployment\n {2}npm install\n[^]*npx wrangler deploy/);
    deployment = join(scratch, "deployment");
    // What `npm install` puts there; the registry may not have this version yet.
    await mkdir(join(deployment, "node_modules/.bin"), { recursive: true });
    await symlink(join(home, "node_modules/rendezvous-beacon"), join(deployment, "node_modules/rendezvous-beacon"));
    await symlink(join(ROOT, "node_modules/wrangler"), join(deployment, "node_modules/wrangler"));
    await symlink("../rendezvous-beacon/bin/rendezvous-beacon.js", join(deployment, "node_modules/.bin/rendezvous-beacon"));
  });

  function deploy() {
    const args = [PROGRAMS.wrangler, "deploy", "--dry-run", "--outdir", "uploaded"];
    return finished(spawn(process.execPath, args, { cwd: deployment, env: environment, stdio: ["ignore", "pipe", "pipe"] }));
  }

  test("wrangler takes it as it is", async () => {
    const { code, stdout, stderr } = await deploy();
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /wrangler\.toml: every variable is one that the beacon knows/);
    for (const bound of ["env.COMMUNITY", "env.MAILBOX", "env.ASSETS"]) assert.ok(stdout.includes(bound), stdout);
    const uploaded = await readdir(join(deployment, "uploaded"));
    const wasm = uploaded.find((file) => file.endsWith(".wasm"));
    assert.ok(uploaded.includes("worker.js") && wasm !== undefined, uploaded.join());
    assert.deepEqual(await readFile(join(deployment, "uploaded", wasm)), await readFile(join(ROOT, "build/index_bg.wasm")));
    const worker = await readFile(join(deployment, "uploaded/worker.js"), "utf8");
    assert.match(worker, /\bas Community\b[^}]*\bas Mailbox\b[^}]*\bas default\b|\bCommunity\b[^}]*\bMailbox\b[^}]*\bas default\b/);
  });

  test("wrangler deploys nothing where a variable is misspelt, and `check` says which", async () => {
    const file = join(deployment, "wrangler.toml");
    const written = await readFile(file, "utf8");
    try {
      await writeFile(file, `${written}TRUSTED_TICKET_KEY = "AAAA"\nADMIN_PASSWORD = "sixteen letters!"\n`);
      await rm(join(deployment, "uploaded"), { recursive: true, force: true });
      const { code, stdout, stderr } = await deploy();
      assert.match(stdout + stderr, /TRUSTED_TICKET_KEY is not a variable of the beacon\. Did you mean TRUSTED_TICKET_KEYS\?/);
      assert.match(stdout + stderr, /ADMIN_PASSWORD is a secret/);
      assert.doesNotMatch(stdout + stderr, /AAAA|sixteen letters/);
      assert.notEqual(code, 0);
      assert.ok(!(await readdir(deployment)).includes("uploaded"));
      assert.equal((await run(["check"], { cwd: deployment })).code, 2);
      await writeFile(file, `${written}ANSWER_LIMIT = = 1\n`);
      const unread = await run(["check"], { cwd: deployment });
      assert.match(unread.stderr, /wrangler\.toml cannot be read: line \d+/);
      assert.equal(unread.code, 2);
    } finally {
      await writeFile(file, written);
    }
    const absent = await run(["check"], { cwd: scratch });
    assert.match(absent.stderr, /There is no wrangler\.json/);
    assert.equal(absent.code, 2);
  });

  test("init overwrites nothing, and leaves a project's own files as they are", async () => {
    const before = await readFile(join(deployment, "wrangler.toml"), "utf8");
    const again = await run(["init", deployment]);
    assert.match(again.stderr, /has wrangler\.toml and worker\.js already, and nothing was written/);
    assert.equal(again.code, 1);
    assert.equal(await readFile(join(deployment, "wrangler.toml"), "utf8"), before);

    const other = join(scratch, "other-deployment");
    await mkdir(other);
    await writeFile(join(other, "wrangler.jsonc"), "{}");
    const refused = await run(["init"], { cwd: other });
    assert.match(refused.stderr, /wrangler\.jsonc already/);
    assert.deepEqual(await readdir(other), ["wrangler.jsonc"]);

    const project = join(scratch, "project");
    await mkdir(project);
    await writeFile(join(project, "package.json"), "{}");
    const beside = await run(["init"], { cwd: project });
    assert.match(beside.stdout, /left as it was: package\.json/);
    assert.match(beside.stdout, /npm install rendezvous-beacon@\S+ wrangler@\S+/);
    assert.equal(await readFile(join(project, "package.json"), "utf8"), "{}");
    assert.deepEqual((await readdir(project)).sort(), [".gitignore", "package.json", "worker.js", "wrangler.toml"]);
  });

  test("init refuses a name that no Worker may have, and a directory that cannot be written", async () => {
    for (const name of ["My Beacon", "-a", "a".repeat(64), 'x"\nmain = "y']) {
      const { code, stderr } = await run(["init", join(scratch, "unnamed"), `--name=${name}`]);
      assert.match(stderr, /it must be 1 to 63 of a-z 0-9 and -/);
      assert.equal(code, 2);
    }
    assert.ok(!(await readdir(scratch)).includes("unnamed"));
    await writeFile(join(scratch, "a-file"), "");
    const { code, stderr } = await run(["init", join(scratch, "a-file/below")]);
    assert.match(stderr, /cannot be written/);
    assert.equal(code, 1);
  });

  test("its configuration is the beacon's own", async () => {
    const [own, template] = ["wrangler.toml", "contrib/cloudflare/wrangler.toml"].map((config) => {
      const script = `import { experimental_readRawConfig as read } from "wrangler";
        process.stdout.write(JSON.stringify(read({ config: ${JSON.stringify(config)} }).rawConfig));`;
      return JSON.parse(execFileSync(process.execPath, ["--input-type=module", "--eval", script], { cwd: ROOT, encoding: "utf8" }));
    });
    for (const [name, value] of Object.entries(template.vars)) assert.equal(value, own.vars[name], name);
    const shared = ({ main, build, vars, assets: { directory, ...assets }, ...rest }) => ({ ...rest, assets });
    assert.deepEqual(shared(template), shared(own));
    const read = async (file) => JSON.parse(await readFile(join(ROOT, file), "utf8"));
    const { dependencies, devDependencies } = await read("contrib/cloudflare/package.json");
    assert.equal(dependencies["rendezvous-beacon"], (await read("client/package.json")).version);
    assert.equal(devDependencies.wrangler, (await read("package.json")).devDependencies.wrangler);
  });
});
