// The commands that start, build and deploy a beacon, as somebody types them: what they refuse, and that they run.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { nearMiss } from "../tools/known-variables.mjs";
import { ROOT } from "../tools/steps.mjs";
import { PROGRAMS } from "../tools/toolchain.mjs";
import { announce } from "./http.mjs";
import { finished } from "./program.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

/** What the commands need of a checkout ... */
const FILES = ["package.json", "package-lock.json", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "wrangler.toml"];
const FOLDERS = ["src", "tools", "beacon", "protocol/Cargo.toml", "protocol/presence", "protocol/src", "client/package.json", "public"];
/** ... and what they would make there. */
const MADE = ["node_modules", ".tools", "build"];

const BUILD = ["npm", ["run", "build"]];
const START = ["npm", ["start", "--", "--only", "beacon"]];
const DEPLOY = ["npm", ["run", "deploy", "--", "--dry-run", "--outdir", "uploaded"]];
const WRANGLER = [process.execPath, [PROGRAMS.wrangler, "deploy", "--dry-run", "--outdir", "uploaded"]];

/**
 * @param {[string, string[]]} command
 * @param {{ cwd?: string, environment?: NodeJS.ProcessEnv }} [options]
 */
function start([program, args], { cwd = ROOT, environment = {} } = {}) {
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false", CI: "true", NO_COLOR: "1", PORT: "0", EXAMPLE_PORT: "0", ...environment };
  return spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
}

describe("what no beacon knows is refused", () => {
  let checkout;
  before(async () => {
    checkout = await mkdtemp(join(tmpdir(), "commands-test-"));
    for (const path of [...FILES, ...FOLDERS]) await cp(join(ROOT, path), join(checkout, path), { recursive: true });
    for (const path of MADE) await symlink(join(ROOT, path), join(checkout, path));
  });
  after(() => rm(checkout, { recursive: true }));

  /** Runs a command in a checkout with these lines at the end of wrangler.toml, which are in [vars]. */
  async function withLines(lines, command) {
    const shipped = (await readFile(join(ROOT, "wrangler.toml"), "utf8")).split("\n");
    const replaced = lines.split("\n").map((line) => line.split(" = ")[0]);
    const kept = shipped.filter((line) => !replaced.includes(line.split(" = ")[0]));
    await writeFile(join(checkout, "wrangler.toml"), `${kept.join("\n")}\n${lines}\n`);
    const { code, stdout, stderr } = await finished(start(command, { cwd: checkout }));
    return { code, said: stdout + stderr };
  }

  const commands = { "npm start": START, "npm run build": BUILD, "npm run deploy": DEPLOY, "wrangler deploy": WRANGLER };
  for (const [name, command] of Object.entries(commands)) {
    test(`an unknown name in [vars] by ${name}`, async () => {
      const { code, said } = await withLines('TRUSTED_TICKET_KEY = "AAAA"', command);
      assert.match(said, /wrangler\.toml, \[vars\]: TRUSTED_TICKET_KEY is not a variable of the beacon\. Did you mean TRUSTED_TICKET_KEYS\?/);
      assert.notEqual(code, 0);
      assert.doesNotMatch(said, /AAAA/);
    });
  }

  test("everything that is wrong is named at once, in every environment", async () => {
    const wrong = [
      ['SOMETHING = "else"', "[vars]: SOMETHING is not a variable of the beacon.\n"],
      ["RETALK_AUDIENCES = true", "[vars]: RETALK_AUDIENCES is true. It must be a text with commas, or a list of texts without."],
      ['HUB_ORIGINS = ["key"]', "[vars]: HUB_ORIGINS is a variable of the program for one machine alone."],
      ['RELAY_PEERS = ["https://a.example=AAAA"]', "[vars]: RELAY_PEERS is a variable of the program for one machine alone."],
      ['TURN_SECRET = "north west south east"', "[vars]: TURN_SECRET is a secret. Take it out, and run: npx wrangler secret put TURN_SECRET"],
      ["GOOP2_COMMUNITIES = true", "[vars]: GOOP2_COMMUNITIES is true. It must be a text with commas, or a list of texts without."],
      ["COMMUNITIES = true", "[vars]: COMMUNITIES is true. It must be a text with commas, or a list of texts without."],
      ["ORIGINS = { origin = 1 }", '[vars]: ORIGINS is {"origin":1}. It must be'],
      ["REVOKED_TICKET_KEYS = [1]", "[vars]: REVOKED_TICKET_KEYS is [1]. It must be"],
      ['TRUSTED_TICKET_KEYS = ["a,b"]', '[vars]: TRUSTED_TICKET_KEYS is ["a,b"]. It must be'],
      ['ANSWER_LIMIT = ["50"]', '[vars]: ANSWER_LIMIT is ["50"]. It must be a text or a number.'],
      ['[env.staging.vars]\nORIGIN = ""', "[env.staging.vars]: ORIGIN is not a variable of the beacon. Did you mean ORIGINS?"],
    ];
    const { code, said } = await withLines(wrong.map(([line]) => line).join("\n"), BUILD);
    for (const [, expected] of wrong) assert.ok(said.includes(expected), `${expected} is not in ${said}`);
    assert.equal(code, 2);
  });

  test("a file that cannot be read is said to be one, with the line", async () => {
    const { code, said } = await withLines("ANSWER_LIMIT = = 1", BUILD);
    assert.match(said, /^wrangler\.toml cannot be read: line \d+: /m);
    assert.equal(code, 2);
  });

  test("a list of texts is a list, and a number a number", async () => {
    const { code, said } = await withLines('COMMUNITIES = ["a", "b"]\nANSWER_LIMIT = 20', BUILD);
    assert.equal(code, 0, said);
  });

  test("a near miss in the environment by npm start, and nothing else that is there", async () => {
    const environment = { TRUSTED_TICKET_KEY: "AAAA", COMMUNITY_HALL: "open", KEYS: "1" };
    const { code, stderr } = await finished(start(START, { environment }));
    assert.match(stderr, /^The environment has TRUSTED_TICKET_KEY: did you mean TRUSTED_TICKET_KEYS\?$/m);
    assert.doesNotMatch(stderr, /AAAA|COMMUNITY_HALL|environment has KEYS/);
    assert.equal(code, 2);
  });

  test("a variable that only the program for one machine has, by npm start and npm run deploy", async () => {
    const named = /HUB_ORIGINS is a variable of the program for one machine alone/;
    const started = await finished(start(START, { environment: { HUB_ORIGINS: "AAAA" } }));
    assert.match(started.stderr, named);
    const [npm, args] = DEPLOY;
    const deployed = await finished(start([npm, [...args, "--var", "HUB_ORIGINS:AAAA"]]));
    assert.match(deployed.stderr, named);
    assert.deepEqual([started.code, deployed.code], [2, 2]);
  });

  test("an unknown name on the command line by npm run deploy", async () => {
    const [npm, args] = DEPLOY;
    const { code, stderr } = await finished(start([npm, [...args, "--var", "ANSWER_LIMIT:20", "COMMUNITY:a"]]));
    assert.match(stderr, /--var: COMMUNITY is not a variable of the beacon\. Did you mean COMMUNITIES\?/);
    assert.equal(code, 2);
  });

  test("names are near or not as the service itself decides", async () => {
    const source = await readFile(join(ROOT, "beacon/src/config/variable.rs"), "utf8");
    const names = [...source.matchAll(/Variable::new\("([A-Z_]+)"/g)].map(([, name]) => name);
    const cases = [...source.matchAll(/\("(\w+)", (?:Some\("([A-Z_]+)"\)|None)\),/g)];
    assert.ok(names.length > 10 && cases.length > 10, "variable.rs is written in another way");
    for (const [, name, meant] of cases) assert.equal(nearMiss(name, [...names, "HOST", "PORT", "STATE"]), meant, name);
  });
});

for (const options of [[], ["--native"], ["--only", "beacon"], ["--native", "--only", "beacon"]]) {
  test(`npm start ${options.join(" ")}`, async () => {
    const state = await mkdtemp(join(tmpdir(), "commands-test-"));
    const environment = { STATE: state, PEERS_MAX_AGE_SECONDS: "0" };
    const child = start(["npm", ["start", "--", ...options]], { environment });
    const ended = finished(child);
    try {
      const isAlone = options.includes("--only");
      const said = await output(child, isAlone ? /curl '.*'/ : /open in two tabs[^]*http:.*\n/, ended);
      const beacons = [...said.matchAll(/ready at (http:\S+)/g)].map(([, url]) => url);
      assert.equal(beacons.length, isAlone ? 1 : 2);
      for (const url of beacons) {
        const reply = await announce(url, signTicket(newPeer()), { community: "anything" });
        assert.deepEqual([reply.status, reply.json.accepted, reply.json.total], [200, true, 1], "every community is served");
      }
      if (isAlone) return;
      const [page] = said.match(/http:\S+(?=\s*$)/);
      const { url } = await fetch(page);
      assert.deepEqual(new URL(url).searchParams.getAll("beacon"), beacons);
    } finally {
      child.kill("SIGTERM");
      const { code, stderr } = await ended;
      await rm(state, { recursive: true, maxRetries: 5 });
      assert.equal(code, 0, stderr);
    }
  });
}

test("npm start says what else --only takes", async () => {
  const { code, stderr } = await finished(start(["npm", ["start", "--", "--only", "page"]]));
  assert.match(stderr, /--only page: it must be "beacon"/);
  assert.equal(code, 2);
});

/**
 * What the child has printed once that matches; if it ends before, the test is over.
 *
 * @param {import("node:child_process").ChildProcess} child
 * @param {RegExp} expected
 * @param {ReturnType<typeof finished>} ended
 */
function output(child, expected, ended) {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (text) => {
      said += text;
      if (expected.test(said)) resolve(said);
    });
    ended.then(({ code, stderr }) => reject(new Error(`ended with ${code}: ${said}${stderr}`)));
  });
}
