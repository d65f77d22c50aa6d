// The client in Python, examples/announce.py: it reads and signs as the vectors have it, and a beacon of this project lists
// it.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { sign as signWith } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { before, test } from "node:test";
import { startBeacon } from "../tools/beacon.mjs";
import { ensurePython } from "../tools/python.mjs";
import { ROOT } from "../tools/steps.mjs";
import { seeded } from "../client/test/world.mjs";
import { announce, peers } from "./http.mjs";
import { requireCapsule, runCapsule } from "./program.mjs";
import { canonical, newPeer, signTicket } from "./ticket.mjs";

const EXAMPLES = join(ROOT, "examples");

/** Nothing is written beside the example. */
const ENVIRONMENT = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" };

/** @type {string} */
let python;
before(async () => {
  python = await ensurePython();
});

const VECTORS = `
import base64, json, pathlib
from announce import is_good, read, sign
from beacon import canonical
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

vectors = pathlib.Path("../tests/vectors")
cases = json.loads((vectors / "tickets.json").read_bytes())
keys = json.loads((vectors / "keys.json").read_bytes())
key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(keys["a"]["privateKey"])[-32:])
wrong, signed = [], 0
for case in cases:
    try:
        ticket = read(case["ticket"])
    except ValueError:
        ticket = None
    # The example has no list of trusted keys.
    expected = case["expect"] in ("ok", "UNTRUSTED_PUBLIC_KEY")
    if is_good(ticket, case["community"], case["now"]) != expected:
        wrong.append(f'{case["name"]}: not {case["expect"]}')
    if case["expect"] == "ok":
        if canonical(ticket["payload"]) != case["canonical"]:
            wrong.append(f'{case["name"]}: another payload')
        if ticket["publicKey"] == keys["a"]["publicKey"]:
            signed += 1
            if sign(key, ticket["payload"]) != ticket:
                wrong.append(f'{case["name"]}: another signature')
print(json.dumps({"cases": len(cases), "signed": signed, "wrong": wrong}))
`;

test("it reads, verifies and signs the vectors", () => {
  const output = execFileSync(python, ["-c", VECTORS], { cwd: EXAMPLES, encoding: "utf8", env: ENVIRONMENT });
  assert.deepEqual(JSON.parse(output), { cases: 128, signed: 25, wrong: [] });
});

/** Texts from all of Unicode, many of them at the limit of 512 bytes; none with half a surrogate pair, which vectors have. */
function randomTexts(count) {
  const random = seeded(512);
  const some = (least, most) => least + Math.floor(random() * (most - least + 1));
  const kinds = [
    () => some(0x20, 0x7e),
    () => ["\"", "\\", "/", "<", "\u2028", "\u2029", "\u0301"][some(0, 6)].codePointAt(0),
    () => some(0xa0, 0x7ff),
    () => some(0x800, 0xd7ff),
    () => some(0xe000, 0xffff),
    () => some(0x1_0000, 0x10_ffff),
  ];
  return Array.from({ length: count }, () => {
    const kind = kinds[some(0, kinds.length - 1)];
    const most = random() < 0.5 ? some(500, 520) : some(0, 60);
    let text = "";
    for (;;) {
      const next = String.fromCodePoint((random() < 0.8 ? kind : kinds[some(0, kinds.length - 1)])());
      if (Buffer.byteLength(text + next) > most) break;
      text += next;
    }
    const control = String.fromCodePoint(random() < 0.5 ? some(0, 0x1f) : some(0x7f, 0x9f));
    return random() < 0.1 ? text + control : text;
  });
}

const GOOD = `
import json, sys
from announce import is_good, read

now, community, *tickets = json.load(sys.stdin)
print(json.dumps([is_good(read(ticket), community, now) for ticket in tickets]))
`;

test("Rust, TypeScript and Python take the same data and refuse the same", async (context) => {
  requireCapsule();
  const [now, community] = [1_700_000_000_000, "mainnet"];
  const texts = randomTexts(700);
  const tickets = texts.map((data) => signTicket(newPeer(), { issuedAt: now, community, data }));
  const fits = texts.map((text) => /^\P{Cc}+$/u.test(text) && Buffer.byteLength(text) <= 512);
  assert.ok(fits.filter(Boolean).length > 300 && fits.filter((good) => !good).length > 100, "both are tried");
  const json = tickets.map((ticket, at) => (at % 2 ? JSON.stringify(ticket) : escaped(JSON.stringify(ticket))));

  const { Refusal, parseTicket, readJson, strict, verifyTicket, webCryptoVerify } = await import("../client/build/internals.js");
  const rules = { community, verify: strict(webCryptoVerify(crypto.subtle)), isRevoked: () => false, maxLifetimeMs: 180_000 };
  const inTypeScript = json.map(async (text) => {
    try {
      await verifyTicket(parseTicket(readJson(text)), rules, now);
      return true;
    } catch (error) {
      assert.ok(error instanceof Refusal && error.message === "MALFORMED", String(error));
      return false;
    }
  });
  assert.deepEqual(await Promise.all(inTypeScript), fits);

  const input = JSON.stringify([now, community, ...json]);
  const output = execFileSync(python, ["-c", GOOD], { cwd: EXAMPLES, encoding: "utf8", env: ENVIRONMENT, input, maxBuffer: 1 << 24 });
  assert.deepEqual(JSON.parse(output), fits);

  const directory = await mkdtemp(join(tmpdir(), "rendezvous-data-"));
  context.after(() => rm(directory, { recursive: true }));
  const publisher = newPeer();
  const sign = (text) => signWith(null, Buffer.from(text), publisher.privateKey).toString("base64");
  const signed = { community, expiresAt: now + 60_000, issuedAt: now, peers: tickets, version: 1 };
  const head = JSON.stringify({ ...signed, peers: [], signature: sign(canonical(signed)), algorithm: "ed25519" });
  const file = head.replace('"peers":[]', () => `"peers":[${json.join()}]`);
  await writeFile(join(directory, "peers.json"), file);
  await writeFile(join(directory, "peers.json.sig"), `${sign(file)}\n`);
  const args = ["verify", join(directory, "peers.json"), "--public-key", publisher.publicKey, "--json"];
  const run = await runCapsule(args, { env: { SOURCE_DATE_EPOCH: String(now / 1_000) } });
  assert.equal(run.code, 0, run.stdout + run.stderr);
  const inRust = JSON.parse(run.stdout);
  const good = new Map(inRust.peers.map(({ peerId, data }) => [peerId, data]));
  assert.deepEqual(tickets.map(({ payload }) => good.has(payload.peerId)), fits);
  assert.ok(tickets.every(({ payload }, at) => !fits[at] || good.get(payload.peerId) === payload.data));
  assert.deepEqual(inRust.refused, { MALFORMED: fits.filter((fit) => !fit).length });
});

/** The same JSON, with everything beyond ASCII as escapes. */
const escaped = (json) => json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

test("started wrongly it says how it is started", () => {
  for (const args of [[], ["--help"], ["https://beacon.example", "mainnet"]]) {
    const { status, stdout, stderr } = spawnSync(python, [join(EXAMPLES, "announce.py"), ...args], { encoding: "utf8", env: ENVIRONMENT });
    assert.deepEqual([status, stdout], [2, ""]);
    assert.match(stderr, /^Keeps this machine announced.*^ +python3 announce\.py https:/ms);
  }
});

test("it has at most 60 lines", async () => {
  assert.ok((await readFile(join(EXAMPLES, "announce.py"), "utf8")).trimEnd().split("\n").length <= 60);
});

test("a beacon lists it, and it lists the others", async (context) => {
  const beacon = await startBeacon({ vars: { PEERS_MAX_AGE_SECONDS: "0" } });
  context.after(beacon.stop);
  const other = newPeer({ peerId: "peer-other" });
  assert.equal((await announce(beacon.url, signTicket(other, { data: "state=away" }))).json.listed, true);

  const child = spawn(
    python,
    [join(EXAMPLES, "announce.py"), beacon.url, "mainnet", "peer-python"],
    { stdio: ["ignore", "pipe", "inherit"], env: ENVIRONMENT },
  );
  context.after(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value;
  assert.equal(await line(), 'present: ["peer-other", "user", "state=away"]');
  assert.equal(await line(), "listed");
  const names = async () => (await peers(beacon.url)).json.peers.map(({ payload }) => payload.peerId).sort();
  assert.deepEqual(await names(), ["peer-other", "peer-python"]);
});
