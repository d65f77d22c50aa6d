// Who may publish, and who believes it: roots, cosignatures, revocations, long tickets and the health of a community,
// through the capsule program as a binary.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { serve, serveDead, serveHtml, serveJson, serveSilence, started } from "./hostile.mjs";
import { YESTERDAY, at, requireCapsule, rfc3339, runCapsule } from "./program.mjs";
import { canonical, newPeer, rawPublicKey, signTicket } from "./ticket.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DAY_MS = 24 * 60 * 60 * 1_000;
/** When the stories happen. */
const NOW = YESTERDAY;

let scratch;
before(async () => {
  requireCapsule();
  scratch = await mkdtemp(join(tmpdir(), "trust-test-"));
});
after(() => rm(scratch, { recursive: true, force: true }));

/** @returns {Promise<string>} A new empty directory. */
const newDirectory = () => mkdtemp(join(scratch, "case-"));

/**
 * Runs the program, with no variables but those given; by default at the moment of the stories.
 *
 * @param {string[]} args
 * @param {{ env?: Record<string, string>, cwd?: string }} [options]
 * @returns {Promise<{ code: number | null, stdout: string, stderr: string }>}
 */
const capsule = (args, { env = at(NOW), cwd = scratch } = {}) => runCapsule(args, { env, cwd });

/** The same with --json, of which the result is read. */
async function json(args, options) {
  const run = await capsule([...args, "--json"], options);
  return { ...run, result: run.stdout === "" ? undefined : JSON.parse(run.stdout) };
}

/** Runs what has to go well, with --json. */
async function good(args, options) {
  const { code, stdout, stderr, result } = await json(args, options);
  assert.equal(code, 0, stdout + stderr);
  return result;
}

/** Says that any page may read an answer. */
const FOR_ALL = { "Access-Control-Allow-Origin": "*" };

/** Serves the files of a directory, as a static host does. */
const serveDirectory = (directory) =>
  serve((request, response) => {
    const name = new URL(request.url, "http://host").pathname.slice(1);
    readFile(join(directory, name)).then(
      (bytes) => response.writeHead(200, FOR_ALL).end(bytes),
      () => response.writeHead(404, FOR_ALL).end(),
    );
  });

/**
 * A directory with keys, and what one does with them.
 *
 * @param {...string} names
 */
async function keyring(...names) {
  const directory = await newDirectory();
  const keys = {};
  for (const name of names) {
    const { publicKey } = await good(["keygen", "--out", `${name}.pem`], { cwd: directory });
    const pem = await readFile(join(directory, `${name}.pem`), "utf8");
    keys[name] = { publicKey, pem, privateKey: createPrivateKey(pem) };
  }
  return {
    directory,
    keys,
    path: (name) => join(directory, name),
    run: (args, env) => json(args, { cwd: directory, env }),
    good: (args, env) => good(args, { cwd: directory, env }),
    /** A list of public keys, as an argument. */
    list: (...chosen) => chosen.map((name) => keys[name].publicKey).join(","),
    /** Asserts that no private key is in a text. */
    isClean: (text) => {
      for (const { pem } of Object.values(keys)) assert.ok(!text.includes(pem.split("\n")[1]));
    },
  };
}

/**
 * Writes a capsule, from the wire format and with nothing of the program's.
 *
 * @param {string} path
 * @param {{ privateKey: import("node:crypto").KeyObject }} key
 * @param {{ peers?: unknown[], issuedAt?: number, lifeMs?: number, community?: string } & Record<string, unknown>} says
 */
async function writeCapsule(path, key, { peers = [], issuedAt = NOW, lifeMs = 1_800_000, community = "mainnet", ...more } = {}) {
  const signed = { community, expiresAt: issuedAt + lifeMs, issuedAt, peers, version: 1 };
  const signature = sign(null, Buffer.from(canonical(signed)), key.privateKey).toString("base64");
  const bytes = Buffer.from(`${JSON.stringify({ ...signed, signature, algorithm: "ed25519", ...more })}\n`);
  await writeFile(path, bytes);
  await writeFile(`${path}.sig`, `${sign(null, bytes, key.privateKey).toString("base64")}\n`);
  return bytes;
}

const answer = (tickets, fields = {}) => ({ ok: true, community: "mainnet", serverTime: NOW, peers: tickets, ...fields });

/** A beacon, as far as `check` asks. */
const serveBeacon = (tickets, { serverTime = () => Date.now(), health = { ok: true }, headers = FOR_ALL } = {}) =>
  serve((request, response) => {
    const body = request.url.startsWith("/healthz") ? { ...health, serverTime: serverTime() } : answer(tickets);
    response.writeHead(200, headers).end(JSON.stringify(body));
  });

describe("help", () => {
  const PROXY = ["ALL_PROXY, HTTPS_PROXY, HTTP_PROXY"];
  const READER = ["RENDEZVOUS_COMMUNITY", "RENDEZVOUS_TRUSTED_TICKET_KEYS", "RENDEZVOUS_TICKET_MAX_LIFETIME_MS", "SOURCE_DATE_EPOCH", ...PROXY];
  const TRUST = ["RENDEZVOUS_CAPSULE_ROOT", "RENDEZVOUS_CAPSULE_PUBLIC_KEY"];
  const COMMANDS = {
    root: [[], [0, 1, 2, 3]],
    "root init": [["RENDEZVOUS_COMMUNITY", "SOURCE_DATE_EPOCH"], [0, 2]],
    "root add-key": [["SOURCE_DATE_EPOCH"], [0, 1, 2]],
    "root remove-key": [["SOURCE_DATE_EPOCH"], [0, 1, 2]],
    "root renew": [["SOURCE_DATE_EPOCH"], [0, 1, 2]],
    "root sign": [[], [0, 1, 2]],
    "root verify": [["SOURCE_DATE_EPOCH", ...PROXY], [0, 1, 2, 3]],
    verify: [[...READER, ...TRUST], [0, 1, 2, 3]],
    who: [[...READER, ...TRUST], [0, 1, 2, 3]],
    cosign: [["RENDEZVOUS_CAPSULE_PRIVATE_KEY", ...READER, ...TRUST], [0, 1, 2, 3]],
    ticket: [
      [
        "RENDEZVOUS_COMMUNITY",
        "RENDEZVOUS_ANNOUNCE_PEER_ID",
        "RENDEZVOUS_ANNOUNCE_USER_ID",
        "RENDEZVOUS_ANNOUNCE_DATA",
        "RENDEZVOUS_ANNOUNCE_PRIVATE_KEY",
        "SOURCE_DATE_EPOCH",
      ],
      [0, 2],
    ],
    check: [["RENDEZVOUS_BEACONS", ...READER, ...TRUST], [0, 1, 2, 3, 4]],
    explain: [READER, [0, 1, 2, 3]],
    diff: [["SOURCE_DATE_EPOCH", ...PROXY], [0, 1, 2, 3]],
  };
  for (const [command, [variables, exits]] of Object.entries(COMMANDS)) {
    test(`of ${command} has examples, every variable and every exit code, in 80 columns`, async () => {
      const { code, stdout } = await capsule([...command.split(" "), "--help"], { env: { COLUMNS: "80" } });
      assert.equal(code, 0);
      assert.match(stdout, /^Examples/m);
      for (const name of variables) assert.match(stdout, new RegExp(`^  ${name} `, "m"));
      for (const exit of exits) assert.match(stdout, new RegExp(`^  ${exit}  \\S`, "m"));
      const teaching = stdout.slice(stdout.indexOf("Examples"));
      assert.deepEqual(teaching.split("\n").filter((line) => line.length > 80), []);
    });
  }

  test("of the program names every command", async () => {
    const { stdout } = await capsule(["--help"], { env: {} });
    const taught = stdout.slice(stdout.indexOf("How it goes together:"));
    for (const command of Object.keys(COMMANDS)) assert.ok(taught.includes(`capsule ${command.split(" ")[0]}`), command);
  });
});

describe("verify judges every test vector of trust:", async () => {
  const vectors = JSON.parse(await readFile(join(ROOT, "tests/vectors/trust.json"), "utf8"));
  for (const vector of vectors) {
    test(vector.name, async () => {
      const directory = await newDirectory();
      const file = join(directory, "peers.json");
      await writeFile(file, vector.file);
      if (typeof vector.sig === "string") await writeFile(`${file}.sig`, vector.sig);
      if (typeof vector.sigs === "string") await writeFile(`${file}.sigs`, vector.sigs);
      // The clock is set in whole seconds. What is too early is too early for the second that it is in, too.
      assert.ok(vector.now % 1_000 === 0 || vector.expect === "NOT_YET_VALID");
      const args = ["verify", file, "--community", vector.community];
      if (vector.publicKey) args.push("--public-key", vector.publicKey);
      if (vector.root) {
        await writeFile(join(directory, "root"), vector.root);
        args.push("--root", join(directory, "root"));
      }
      if (vector.newestSeen !== undefined) args.push("--newest-seen", String(vector.newestSeen));
      if (vector.remembered !== undefined) {
        await writeFile(join(directory, "revoked.json"), JSON.stringify(vector.remembered));
        args.push("--revoked", join(directory, "revoked.json"));
      }
      const { code, result, stdout } = await json(args, { env: at(vector.now - (vector.now % 1_000)) });
      if (vector.expect !== "ok") {
        assert.deepEqual([code, result.ok, result.code], [1, false, vector.expect]);
        return;
      }
      assert.equal(code, 0, stdout);
      for (const field of ["live", "recentlySeen", "refused", "publishers", "revoked"]) {
        if (!(field in vector)) continue;
        const sorted = (value) => (Array.isArray(value) ? value.toSorted() : value);
        assert.deepEqual(sorted(result[field]), sorted(vector[field]), field);
      }
    });
  }
});

describe("root verify judges every test vector of roots:", async () => {
  const vectors = JSON.parse(await readFile(join(ROOT, "tests/vectors/roots.json"), "utf8"));
  for (const vector of vectors) {
    test(vector.name, async () => {
      const directory = await newDirectory();
      const from = join(await newDirectory(), "trusted");
      await writeFile(from, vector.trusted);
      const first = JSON.parse(vector.trusted).rootVersion;
      for (const [position, { root, signatures }] of vector.chain.entries()) {
        const file = join(directory, `${first + position + 1}.root.json`);
        if (typeof root === "string") await writeFile(file, root);
        if (typeof signatures === "string") await writeFile(`${file}.sigs`, signatures);
      }
      assert.equal(vector.now % 1_000, 0);
      const { code, result } = await json(["root", "verify", "--from", from, directory], { env: at(vector.now) });
      if (vector.expect !== "ok") {
        assert.deepEqual([code, result.ok, result.code], [1, false, vector.expect]);
        return;
      }
      assert.deepEqual([code, result.ok, result.newest.rootVersion], [0, true, vector.rootVersion]);
    });
  }
});

describe("a community of three root keys, two of which decide,", () => {
  /** With its first root, and a capsule by the publisher p. */
  async function community() {
    const ring = await keyring("a", "b", "c", "d", "p", "q", "node");
    const args = ["--root-key", ring.list("a", "b", "c"), "--publisher-key", ring.list("p")];
    const made = await ring.good(["root", "init", ...args]);
    assert.equal(made.file, "1.root.json");
    return ring;
  }

  const signed = async (ring, file, ...names) => {
    let last;
    for (const name of names) last = await ring.good(["root", "sign", file, "--key", `${name}.pem`]);
    return last;
  };

  test("begins with a root that says what it was told, in the format of the protocol", async () => {
    const ring = await community();
    const root = JSON.parse(await readFile(ring.path("1.root.json"), "utf8"));
    assert.deepEqual(root, {
      type: "root",
      version: 1,
      community: "mainnet",
      rootVersion: 1,
      expiresAt: NOW + 365 * DAY_MS,
      rootKeys: { threshold: 2, keys: ["a", "b", "c"].map((name) => ring.keys[name].publicKey).sort(byBytes) },
      publisherKeys: { threshold: 1, keys: [ring.keys.p.publicKey] },
    });
  });

  test("signs as openssl does, a line for each key, and no line of anybody else's", async () => {
    const ring = await community();
    await writeFile(ring.path("1.root.json.sigs"), `${ring.keys.q.publicKey} ${"A".repeat(86)}==\n`);
    assert.deepEqual((await signed(ring, "1.root.json", "a")).complete, false);
    const { complete, signatures } = await signed(ring, "1.root.json", "a", "c");
    assert.deepEqual([complete, signatures.length, signatures[0].missing], [true, 1, 0]);
    const lines = (await readFile(ring.path("1.root.json.sigs"), "utf8")).split("\n");
    assert.equal(lines.pop(), "");
    assert.deepEqual(lines.map((line) => line.split(" ")[0]).sort(), [ring.keys.a.publicKey, ring.keys.c.publicKey].sort());
    for (const line of lines) {
      const [key, signature] = line.split(" ");
      const x = Buffer.from(key, "base64").toString("base64url");
      const pem = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }).export({ format: "pem", type: "spki" });
      await writeFile(ring.path("key.pub.pem"), pem);
      await writeFile(ring.path("signature.bin"), Buffer.from(signature, "base64"));
      const openssl = ["pkeyutl", "-verify", "-pubin", "-inkey", "key.pub.pem", "-rawin", "-in", "1.root.json", "-sigfile", "signature.bin"];
      const { stdout } = await promisify(execFile)("openssl", openssl, { cwd: ring.directory });
      assert.match(stdout, /Signature Verified Successfully/);
    }
  });

  test("takes over from a publisher whose key is lost, and from a root key, and readers of the first root follow", async (context) => {
    const ring = await community();
    const { directory, keys } = ring;
    const host = await newDirectory();
    const ticket = signTicket(newPeer(), { issuedAt: NOW, community: "mainnet" });
    const verify = (...args) => ring.run(["verify", join(host, "peers.json"), "--root", "1.root.json", ...args]);
    await writeCapsule(join(host, "peers.json"), keys.p, { peers: [ticket] });
    const before = await verify();
    assert.deepEqual([before.code, before.result.rootVersion, before.result.publishers], [0, 1, [keys.p.publicKey]]);

    // The publisher is another one.
    const second = await ring.good(["root", "add-key", "1.root.json", "--publisher-key", ring.list("q"), "--replacing", ring.list("p")]);
    assert.deepEqual([second.file, second.signatures.map(({ missing }) => missing)], ["2.root.json", [2, 2]]);
    const unsigned = await ring.run(["root", "verify", "1.root.json", "2.root.json"]);
    assert.deepEqual([unsigned.code, unsigned.result.code, unsigned.result.root.rootVersion], [1, "THRESHOLD_NOT_MET", 2]);
    assert.equal((await signed(ring, "2.root.json", "a")).complete, false);
    // On its way it is of no harm: a root that is not there yet ends the walk, one that is not good enough is refused.
    for (const name of ["2.root.json", "2.root.json.sigs"]) await copyFile(ring.path(name), join(host, name));
    const early = await verify();
    assert.deepEqual([early.code, early.result.code], [1, "THRESHOLD_NOT_MET"]);
    const named = [early.result.capsule, early.result.source];
    assert.deepEqual(named, [join(host, "peers.json"), join(host, "2.root.json")], "it is the root that is refused");
    assert.equal((await verify("--no-successors")).code, 0);
    assert.equal((await signed(ring, "2.root.json", "b")).complete, true);
    await copyFile(ring.path("2.root.json.sigs"), join(host, "2.root.json.sigs"));
    const old = await verify();
    assert.deepEqual([old.code, old.result.code], [1, "SIGNATURE_INVALID"]);
    await writeCapsule(join(host, "peers.json"), keys.q, { peers: [ticket] });
    const followed = await verify();
    assert.deepEqual([followed.code, followed.result.rootVersion, followed.result.publishers], [0, 2, [keys.q.publicKey]]);

    // The root key c is lost: d takes its place, signed by a and b.
    await ring.good(["root", "add-key", "2.root.json", "--root-key", ring.list("d"), "--replacing", ring.list("c"), "--expires", "730d"]);
    assert.equal((await signed(ring, "3.root.json", "d", "a")).complete, false);
    assert.equal((await signed(ring, "3.root.json", "b")).complete, true);
    for (const name of ["3.root.json", "3.root.json.sigs"]) await copyFile(ring.path(name), join(host, name));
    const [server] = await started(context, serveDirectory(host));
    const { result } = await json(["verify", `${server.url}/peers.json`, "--root", ring.path("1.root.json")]);
    assert.deepEqual([result.ok, result.rootVersion], [true, 3]);
    assert.deepEqual(server.requests.map(({ url }) => url), [
      "/peers.json",
      "/peers.json.sig",
      "/peers.json.sigs",
      "/2.root.json.sigs",
      "/2.root.json",
      "/3.root.json.sigs",
      "/3.root.json",
      "/4.root.json.sigs",
    ]);
    const text = await capsule(["verify", `${server.url}/peers.json`, "--root", ring.path("1.root.json")]);
    assert.match(text.stdout, /^root +version 3, followed from version 1$/m);
    const walked = await good(["root", "verify", "--from", "1.root.json", server.url], { cwd: directory });
    assert.deepEqual(walked.roots.map(({ root }) => root.rootVersion), [1, 2, 3]);
    assert.deepEqual(walked.newest.expiresAt, NOW + 730 * DAY_MS);

    // From the third, the lost key counts for nothing any more.
    await ring.good(["root", "renew", "3.root.json"]);
    const stale = await ring.run(["root", "sign", "4.root.json", "--key", "c.pem"]);
    assert.deepEqual([stale.code, stale.result.code], [1, "UNTRUSTED_PUBLIC_KEY"]);
    assert.ok(!existsSync(ring.path("4.root.json.sigs")));
  });

  test("refuses all capsules when its root is over, until it is renewed", async () => {
    const ring = await community();
    const late = at(NOW + 365 * DAY_MS);
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { issuedAt: NOW + 365 * DAY_MS });
    const over = await ring.run(["verify", "peers.json", "--root", "1.root.json"], late);
    assert.deepEqual([over.code, over.result.code], [1, "ROOT_EXPIRED"]);
    assert.match(over.result.advice, /capsule root renew/);
    assert.deepEqual((await ring.run(["root", "verify", "1.root.json"], late)).result.code, "ROOT_EXPIRED");
    const born = await ring.run(["root", "remove-key", "1.root.json", "--root-key", ring.list("c")], late);
    assert.equal(born.code, 2);
    assert.match(born.stderr, /--expires 365d/);
    await ring.good(["root", "renew", "1.root.json"], late);
    await signed(ring, "2.root.json", "a", "b");
    const renewed = await ring.run(["verify", "peers.json", "--root", "1.root.json"], late);
    assert.deepEqual([renewed.code, renewed.result.rootVersion], [0, 2]);
  });

  test("is asked for a root by nobody who serves a page for every path", async (context) => {
    const ring = await community();
    const [host] = await started(context, serveHtml());
    const walked = await ring.good(["root", "verify", "--from", "1.root.json", host.url]);
    assert.equal(walked.newest.rootVersion, 1);
    const [dead] = await started(context, serveDead());
    assert.equal((await ring.run(["root", "verify", "--from", "1.root.json", dead.url])).code, 3);
  });

  /** A successor that replaces the publisher, who has lost the key to somebody who publishes with it. */
  async function replaced() {
    const ring = await community();
    await ring.good(["root", "add-key", "1.root.json", "--publisher-key", ring.list("q"), "--replacing", ring.list("p")]);
    await signed(ring, "2.root.json", "a", "b");
    await writeCapsule(ring.path("peers.json"), ring.keys.p);
    const signatures = await readFile(ring.path("2.root.json.sigs"), "utf8");
    const verify = (source = "peers.json") => ring.run(["verify", source, "--root", "1.root.json"]);
    return { ring, signatures, verify, write: (text) => writeFile(ring.path("2.root.json.sigs"), text) };
  }

  test("is followed however editors leave the signatures of the next root", async () => {
    const { signatures, verify, write } = await replaced();
    for (const text of [
      signatures.replaceAll("\n", "\r\n"),
      `\ufeff${signatures}`,
      signatures.trimEnd(),
      `${signatures}\n\n`,
      signatures.replaceAll(" ", "\t"),
    ]) {
      await write(text);
      const stolen = await verify();
      assert.deepEqual([stolen.code, stolen.result.code], [1, "SIGNATURE_INVALID"], JSON.stringify(text));
    }
  });

  test("refuses all capsules while the signatures of the next root cannot be read", async (context) => {
    const { ring, signatures, verify, write } = await replaced();
    const types = {};
    const [host] = await started(
      context,
      serve((request, response) => {
        const name = new URL(request.url, "http://host").pathname.slice(1);
        readFile(ring.path(name)).then(
          (bytes) => response.writeHead(200, { ...FOR_ALL, "Content-Type": types[name] ?? "text/plain" }).end(bytes),
          () => response.writeHead(404, FOR_ALL).end(),
        );
      }),
    );
    const capsuleUrl = `${host.url}/peers.json`;
    for (const text of ["", "\r\n", `# by hand\n${signatures}`, "Not found\n", signatures.slice(0, -4), "<html>\n"]) {
      await write(text);
      for (const source of text.startsWith("<") ? [capsuleUrl] : ["peers.json", capsuleUrl]) {
        const { code, result } = await verify(source);
        assert.deepEqual([code, result.code], [1, "MALFORMED"], JSON.stringify(text));
        assert.match(result.error, /signatures file/);
        assert.match(result.advice, /capsule root sign/);
      }
      const checked = await ring.run(["check", capsuleUrl, "--root", "1.root.json", "--min-live", "0"]);
      assert.deepEqual([checked.code, checked.result.capsules[0].problems.map(({ code }) => code)], [1, ["MALFORMED"]]);
      assert.match(checked.result.capsules[0].problems[0].detail, /2\.root\.json\.sigs/);
    }
    // The host says that it is a page.
    types["2.root.json.sigs"] = "text/html; charset=utf-8";
    assert.equal((await verify(capsuleUrl)).code, 0);
  });

  test("is told by check of a next root that readers do not follow", async (context) => {
    const { ring } = await replaced();
    await rm(ring.path("2.root.json.sigs"));
    const [host] = await started(context, serveDirectory(ring.directory));
    const args = ["check", `${host.url}/peers.json`, "--root", "1.root.json", "--min-live", "0"];
    const { code, result } = await ring.run(args);
    assert.deepEqual([code, result.capsules[0].problems.map(({ code }) => code)], [1, ["ROOT_NOT_SIGNED"]]);
    assert.match(result.capsules[0].problems[0].detail, /2\.root\.json\.sigs/);
    assert.equal((await ring.run([...args, "--no-successors"])).code, 0);
  });

  test("says who has to sign, in words, and shows no private key", async () => {
    const ring = await community();
    await ring.good(["root", "remove-key", "1.root.json", "--root-key", ring.list("c"), "--root-threshold", "2"]);
    const first = await capsule(["root", "sign", "2.root.json", "--key", "a.pem"], { cwd: ring.directory });
    assert.match(first.stdout, /^version 1: 2 of 3 root keys, 1 more to sign$/m);
    assert.match(first.stdout, /^version 2: 2 of 2 root keys, 1 more to sign$/m);
    assert.match(first.stdout, new RegExp(`^${escape(ring.keys.c.publicKey)} +yes +no +no$`, "m"));
    const second = await capsule(["root", "sign", "2.root.json", "--key", "b.pem"], { cwd: ring.directory });
    assert.match(second.stdout, /^Complete: /m);
    await rm(ring.path("1.root.json"));
    const alone = await capsule(["root", "sign", "2.root.json", "--key", "b.pem"], { cwd: ring.directory });
    assert.match(alone.stdout, /version 1: not at hand.*--previous/);
    for (const { stdout, stderr } of [first, second, alone]) ring.isClean(stdout + stderr);
  });

  test("loses no file, and makes no root that is none", async () => {
    const ring = await community();
    const before = await readFile(ring.path("1.root.json"));
    const next = ["root", "add-key", "1.root.json"];
    const CASES = [
      [["root", "init", "--root-key", ring.list("a"), "--publisher-key", ring.list("p")], /is there already/],
      [[...next, "--publisher-key", ring.list("q"), "--out", "1.root.json"], /is there already/],
      [[...next, "--publisher-key", ring.list("p")], /is there already/],
      [[...next, "--publisher-key", ring.list("a")], /in both roles.*capsule keygen/],
      [[...next, "--publisher-key", ring.list("q"), "--replacing", ring.list("d")], /is not there/],
      [[...next, "--publisher-key", ring.keys.q.pem.split("\n")[1]], /make a new one/],
      [[...next], /--root-key/],
      [["root", "remove-key", "1.root.json", "--publisher-key", ring.list("p")], /1 to 16 keys/],
      [["root", "remove-key", "1.root.json", "--root-key", ring.list("a", "b")], /--root-threshold/],
      [["root", "renew", "1.root.json", "--publisher-threshold", "2"], /--publisher-threshold/],
      [["root", "renew", "1.root.json", "--root-threshold", "17"], /from 1 to 16/],
      [["root", "renew", "nowhere"], /nowhere cannot be read/],
      [["root", "verify", "1.root.json", "nowhere"], /nowhere cannot be read/],
      [["root", "verify", "--from", "1.root.json", "here", "there"], /one directory/],
    ];
    for (const [args, message] of CASES) {
      const { code, stderr } = await capsule(args, { cwd: ring.directory });
      assert.equal(code, 2, `${args.join(" ")}\n${stderr}`);
      assert.match(stderr, message);
      ring.isClean(stderr);
    }
    assert.deepEqual(await readFile(ring.path("1.root.json")), before);
    assert.ok(!existsSync(ring.path("2.root.json")));
    await writeFile(ring.path("none.json"), "{}");
    assert.equal((await ring.run(["root", "renew", "none.json"])).code, 1);
    assert.deepEqual((await ring.run(["root", "sign", "1.root.json", "--key", "p.pem"])).result.code, "UNTRUSTED_PUBLIC_KEY");
  });
});

describe("cosign", () => {
  /** A root that asks for both publishers, and a capsule by one of them. */
  async function published() {
    const ring = await keyring("a", "p", "q", "r");
    const args = ["--root-key", ring.list("a"), "--publisher-key", ring.list("p", "q"), "--publisher-threshold", "2"];
    await ring.good(["root", "init", ...args]);
    const ticket = signTicket(newPeer(), { issuedAt: NOW, community: "mainnet" });
    const bytes = await writeCapsule(ring.path("peers.json"), ring.keys.p, { peers: [ticket] });
    return { ring, bytes, cosign: (name, ...more) => ring.run(["cosign", "peers.json", "--key", `${name}.pem`, "--root", "1.root.json", ...more]) };
  }

  test("makes two of two, and once more changes nothing", async () => {
    const { ring, bytes, cosign } = await published();
    const verify = () => ring.run(["verify", "peers.json", "--root", "1.root.json"]);
    assert.deepEqual((await verify()).result.code, "THRESHOLD_NOT_MET");
    // The publisher's own signature is there already.
    const own = await cosign("p");
    assert.deepEqual([own.code, own.result.added, own.result.missing], [0, false, 1]);
    const first = await cosign("q");
    assert.deepEqual([first.code, first.result.added, first.result.missing], [0, true, 0]);
    const line = await readFile(ring.path("peers.json.sigs"), "utf8");
    assert.equal(line, `${ring.keys.q.publicKey} ${sign(null, bytes, ring.keys.q.privateKey).toString("base64")}\n`);
    const again = await cosign("q");
    assert.deepEqual([again.code, again.result.added], [0, false]);
    assert.equal(await readFile(ring.path("peers.json.sigs"), "utf8"), line);
    const verified = await verify();
    assert.deepEqual([verified.code, verified.result.publishers.toSorted()], [0, [ring.keys.p.publicKey, ring.keys.q.publicKey].sort()]);
    assert.deepEqual((await readdir(ring.directory)).filter((name) => name.startsWith(".")), []);
  });

  test("fetches a capsule and writes all three files", async (context) => {
    const { ring } = await published();
    const [host] = await started(context, serveDirectory(ring.directory));
    const args = ["cosign", `${host.url}/peers.json`, "--key", "q.pem", "--root", "1.root.json"];
    const without = await ring.run(args);
    assert.equal(without.code, 2);
    assert.match(without.stderr, /--out DIR/);
    await ring.good([...args, "--out", "signed/here"]);
    assert.deepEqual((await readdir(ring.path("signed/here"))).sort(), ["peers.json", "peers.json.sig", "peers.json.sigs"]);
    assert.equal((await ring.run(["verify", "signed/here/peers.json", "--root", "1.root.json"])).code, 0);
    // Who signs it next there keeps the line of who did before, which the host does not have.
    const lines = () => readFile(ring.path("signed/here/peers.json.sigs"), "utf8");
    const line = await lines();
    assert.equal((await ring.good([...args.with(3, "p.pem"), "--out", "signed/here"])).missing, 0);
    assert.equal(await lines(), line);
    // An older one does not come after that.
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { issuedAt: NOW - 1 });
    const older = await ring.run([...args, "--out", "signed/here"]);
    assert.deepEqual([older.code, older.result.code], [1, "ROLLBACK"]);
  });

  test("of several publishers at the same time loses no line", async () => {
    const names = ["k0", "k1", "k2", "k3", "k4", "k5"];
    const ring = await keyring("a", "p", ...names);
    const args = ["--root-key", ring.list("a"), "--publisher-key", ring.list("p", ...names), "--publisher-threshold", "7"];
    await ring.good(["root", "init", ...args]);
    await writeCapsule(ring.path("peers.json"), ring.keys.p);
    const cosign = (name) => ring.good(["cosign", "peers.json", "--key", `${name}.pem`, "--root", "1.root.json"]);
    await Promise.all(names.map(cosign));
    assert.equal((await ring.good(["verify", "peers.json", "--root", "1.root.json"])).publishers.length, 7);
    const roots = names.map((name) => `${name}.pub`);
    for (const name of names) await writeFile(ring.path(`${name}.pub`), `${ring.keys[name].publicKey}\n`);
    await rm(ring.path("1.root.json"));
    const init = ["root", "init", "--root-key", roots.join(","), "--root-threshold", "6", "--publisher-key", ring.list("p")];
    await ring.good(init);
    await Promise.all(names.map((name) => ring.good(["root", "sign", "1.root.json", "--key", `${name}.pem`])));
    const { roots: [first] } = await ring.good(["root", "verify", "1.root.json"]);
    assert.equal(first.signedBy.length, 6);
  });

  test("keeps no line that is of another capsule", async () => {
    const { ring, cosign } = await published();
    await cosign("q");
    await writeCapsule(ring.path("peers.json"), ring.keys.q, { issuedAt: NOW });
    const { result } = await cosign("p");
    assert.deepEqual([result.added, result.missing], [true, 0]);
    const text = await readFile(ring.path("peers.json.sigs"), "utf8");
    assert.deepEqual(text.split("\n").map((line) => line.split(" ")[0]), [ring.keys.p.publicKey, ""]);
  });

  test("signs nothing that readers would refuse, and with no key that is nobody's", async () => {
    const { ring, cosign } = await published();
    const refused = async (name, code, ...more) => {
      const run = await cosign(name, ...more);
      assert.deepEqual([run.code, run.result.code], [1, code]);
      assert.ok(!existsSync(ring.path("peers.json.sigs")) || code === "MALFORMED");
      ring.isClean(run.stdout + run.stderr);
    };
    await refused("r", "UNTRUSTED_PUBLIC_KEY");
    await refused("a", "UNTRUSTED_PUBLIC_KEY");
    await refused("q", "COMMUNITY_MISMATCH", "--community", "testnet");
    await refused("q", "ROLLBACK", "--newest-seen", String(NOW + 1));
    await writeCapsule(ring.path("peers.json"), ring.keys.r, {});
    await refused("q", "SIGNATURE_INVALID");
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { issuedAt: NOW - DAY_MS });
    await refused("q", "EXPIRED");
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { issuedAt: NOW + DAY_MS });
    await refused("q", "NOT_YET_VALID");
    await writeCapsule(ring.path("peers.json"), ring.keys.p, {});
    await writeFile(ring.path("peers.json.sigs"), "<html>\n");
    await refused("q", "MALFORMED");
  });

  test("does without a root, where the publishers are named", async () => {
    const { ring } = await published();
    const args = ["cosign", "peers.json", "--key", "q.pem", "--public-key"];
    assert.equal((await ring.run([...args, ring.list("p")])).result.code, "UNTRUSTED_PUBLIC_KEY");
    assert.equal((await ring.run([...args, ring.list("p", "q")])).result.added, true);
  });
});

describe("ticket", () => {
  test("is good in a capsule for a week, in its community only, and beacons have none of it", async () => {
    const ring = await keyring("node", "p");
    const data = "/dns4/my-server.example/udp/4001/quic-v1";
    const named = ["--key", "node.pem", "--peer-id", "my-server", "--community", "mainnet"];
    const made = await ring.good(["ticket", ...named, "--data", data]);
    assert.deepEqual([made.file, made.expiresAt - made.issuedAt, made.data], ["ticket.json", 7 * DAY_MS, data]);
    const ticket = JSON.parse(await readFile(ring.path("ticket.json"), "utf8"));
    assert.deepEqual(
      [ticket.payload.peerId, ticket.payload.userId, ticket.payload.data, ticket.payload.community, ticket.publicKey],
      ["my-server", "my-server", data, "mainnet", ring.keys.node.publicKey],
    );
    const week = NOW + 6 * DAY_MS;
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { peers: [ticket], issuedAt: week });
    const { live, peers } = await ring.good(["verify", "peers.json", "--public-key", ring.keys.p.publicKey], at(week));
    assert.deepEqual([live, peers[0].data], [1, data]);
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { peers: [ticket], issuedAt: week, community: "testnet" });
    const elsewhere = ["verify", "peers.json", "--public-key", ring.keys.p.publicKey, "--community", "testnet"];
    assert.deepEqual((await ring.good(elsewhere, at(week))).refused, { COMMUNITY_MISMATCH: 1 });
  });

  test("replaces an older ticket, and no other file", async () => {
    const ring = await keyring("node");
    const args = ["ticket", "--key", "node.pem", "--peer-id", "n", "--lifetime", "2d"];
    await ring.good(args);
    const first = await readFile(ring.path("ticket.json"), "utf8");
    await ring.good(args);
    assert.notEqual(await readFile(ring.path("ticket.json"), "utf8"), first);
    const { code, stderr } = await ring.run([...args, "--out", "node.pem"]);
    assert.equal(code, 2);
    assert.match(stderr, /is not a ticket/);
    assert.equal(await readFile(ring.path("node.pem"), "utf8"), ring.keys.node.pem);
  });

  test("warns of what it is, and takes no impossible life, name or key", async () => {
    const ring = await keyring("node");
    const run = (args, env) => capsule(["ticket", ...args], { cwd: ring.directory, env: { ...at(NOW), ...env } });
    const { stderr, stdout } = await run(["--peer-id", "n"], { RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: ring.keys.node.pem });
    assert.match(stderr, /cannot be taken back/);
    assert.match(stdout, new RegExp(`^until +${rfc3339(NOW + 7 * DAY_MS)} \\(in 7days\\)$`, "m"));
    ring.isClean(stdout + stderr);
    const CASES = [
      [["--peer-id", "n", "--key", "node.pem", "--lifetime", "8d"], /at most 7days/],
      [["--key", "node.pem"], /--peer-id/],
      [["--peer-id", "n"], /--key/],
      [["--peer-id", "n", "--key", "node.pem", "--community", "a b"], /community/],
    ];
    for (const [args, message] of CASES) {
      const { code, stderr } = await run(args);
      assert.equal(code, 2);
      assert.match(stderr, message);
    }
  });
});

describe("check", () => {
  /** A host with a capsule of now, and how to check it. */
  async function host(context, says = {}, { now = Date.now() } = {}) {
    const ring = await keyring("p");
    const tickets = [signTicket(newPeer(), { issuedAt: now, community: "mainnet" })];
    const issue = (more = {}) => writeCapsule(ring.path("peers.json"), ring.keys.p, { peers: tickets, issuedAt: now, ...says, ...more });
    await issue();
    const [server] = await started(context, serveDirectory(ring.directory));
    const args = ["check", `${server.url}/peers.json`, "--public-key", ring.keys.p.publicKey];
    return { ring, tickets, issue, server, run: (...more) => json([...args, ...more], { env: {} }), args };
  }

  const codes = ({ result }) => [...result.capsules, ...result.beacons].map(({ problems }) => problems.map(({ code }) => code));
  const warnings = ({ result }) => [...result.capsules, ...result.beacons].map(({ warnings }) => warnings.map(({ code }) => code));

  test("finds a healthy community healthy, and the beacons that its capsule names", async (context) => {
    const beacon = await serveBeacon([]);
    context.after(() => beacon.stop());
    const { run } = await host(context, { origins: { beacons: [beacon.url], peers: [[0]] } });
    const healthy = await run();
    assert.equal(healthy.code, 0, healthy.stdout);
    const [one] = healthy.result.capsules;
    assert.deepEqual([one.fetched, one.live, one.recentlySeen, one.problems], [true, 1, 0, []]);
    assert.deepEqual(healthy.result.beacons.map(({ beacon, answered, tickets }) => [beacon, answered, tickets]), [[beacon.url, true, 0]]);
    assert.deepEqual(beacon.requests.map(({ url }) => url).sort(), ["/healthz", "/peers?community=mainnet"]);
  });

  test("says what is wrong with a capsule", async (context) => {
    const { ring, run, issue, server } = await host(context);
    assert.deepEqual([(await run("--min-live", "2")).code, codes(await run("--min-live", "2"))], [1, [["TOO_FEW_LIVE"]]]);
    assert.deepEqual(codes(await run("--min-remaining", "1h")), [["EXPIRES_SOON"]]);
    await issue({ issuedAt: Date.now() - 1_600_000, peers: [] });
    assert.deepEqual(codes(await run("--max-age", "10m")), [["EXPIRES_SOON", "TOO_OLD", "TOO_FEW_LIVE"]]);
    await issue({ issuedAt: Date.now() - 1_800_000 });
    assert.deepEqual(codes(await run()), [["EXPIRED"]]);
    await issue();
    const before = server.requests.length;
    await writeFile(ring.path("peers.json.sig"), `${"A".repeat(86)}==\n`);
    assert.deepEqual(codes(await run()), [["SIGNATURE_INVALID"]]);
    // It may just have been being replaced.
    assert.equal(server.requests.length - before, 4);
  });

  test("says when the root comes to its end", async (context) => {
    const { ring, server } = await host(context);
    await good(["keygen", "--out", "a.pem"], { cwd: ring.directory });
    const { publicKey } = await good(["keygen", "--public-of", "a.pem"], { cwd: ring.directory });
    const args = ["--root-key", publicKey, "--publisher-key", ring.keys.p.publicKey, "--expires", "29d"];
    await good(["root", "init", ...args], { cwd: ring.directory, env: {} });
    const run = await json(["check", `${server.url}/peers.json`, "--root", ring.path("1.root.json")], { env: {} });
    assert.deepEqual([run.code, codes(run)], [1, [["ROOT_EXPIRES_SOON"]]]);
  });

  test("says what is wrong with a beacon", async (context) => {
    const [slow, off, page, dead] = await started(
      context,
      serveBeacon([], { health: { ok: false, code: "INTERNAL", detail: "no" } }),
      serveBeacon([], { serverTime: () => Date.now() - 3_600_000 }),
      serveHtml(),
      serveDead(),
    );
    const all = [slow, off, page, dead].map(({ url }) => url);
    const { run } = await host(context);
    const unhealthy = await run("--beacon", all.join(","));
    assert.equal(unhealthy.code, 1);
    assert.deepEqual(codes(unhealthy), [
      [],
      ["INTERNAL"],
      ["CLOCK_IS_OFF"],
      ["MALFORMED", "MALFORMED", "CORS_NOT_ALLOWED"],
      ["NO_CONNECTION", "NO_CONNECTION"],
    ]);
    assert.deepEqual(unhealthy.result.beacons.map(({ answered }) => answered), [true, true, true, false]);
    // Alone, for whoever else is asked has to answer in that time too.
    const [silent] = await started(context, serveSilence());
    const waited = await json(["check", "--beacon", silent.url, "--timeout", "2s"], { env: {} });
    assert.deepEqual([codes(waited), waited.result.beacons[0].answered], [[["TIMED_OUT", "TIMED_OUT"]], false]);
  });

  test("asks no beacon that a capsule revokes", async (context) => {
    const [given, named] = await started(context, serveBeacon([]), serveBeacon([]));
    const says = { revoked: { beacons: [given.url, named.url] }, origins: { beacons: [named.url], peers: [[0]] } };
    const { run } = await host(context, says);
    const checked = await run("--beacon", `${given.url}/`);
    assert.deepEqual([checked.code, codes(checked)], [1, [[], ["REVOKED_BEACON"]]]);
    assert.equal(given.requests.length + named.requests.length, 0);
  });

  test("tells what is not there from what is not good", async (context) => {
    const [dead, missing] = await started(context, serveDead(), serveHtml(404));
    const key = ["--public-key", (await keyring("p")).keys.p.publicKey];
    const nothing = await json(["check", `${dead.url}/peers.json`, `${missing.url}/peers.json`, "--beacon", dead.url, ...key]);
    assert.deepEqual([nothing.code, codes(nothing)], [3, [["NO_CONNECTION"], ["HTTP_STATUS", "CORS_NOT_ALLOWED"], ["NO_CONNECTION", "NO_CONNECTION"]]]);
    const { run } = await host(context);
    assert.equal((await run("--beacon", dead.url)).code, 1);
    for (const [args, message] of [
      [[], /nothing to check/],
      [["https://example.org/peers.json"], /--public-key KEY or --root FILE/],
      [["nowhere.json", ...key], /nowhere.json cannot be read/],
      [["http://user:secret@127.0.0.1/peers.json", ...key], /^error: http:\/\/\(not shown\)@127\.0\.0\.1\/peers\.json .* a password in it$/m],
      [["http://127.0.0.1:99999/peers.json", ...key], /a port from 1 to 65535/],
      [["--beacon", "beacon"], /address of a beacon/],
    ]) {
      const { code, stderr } = await capsule(["check", ...args]);
      assert.equal(code, 2);
      assert.match(stderr, message);
    }
  });

  test("checks beacons alone, without a key", async (context) => {
    const [beacon] = await started(context, serveBeacon([]));
    assert.equal((await json(["check", "--beacon", beacon.url], { env: {} })).code, 0);
    assert.equal((await json(["check"], { env: { RENDEZVOUS_BEACONS: beacon.url } })).code, 0);
  });

  test("ends with tables, or with the title and the text of an issue", async (context) => {
    const [dead] = await started(context, serveDead());
    const { args, server } = await host(context);
    const { stdout } = await capsule([...args, "--beacon", dead.url], { env: {} });
    assert.match(stdout, /^CAPSULE +HEALTHY +TIME +ISSUED +EXPIRES +LIVE +SEEN +WHAT IS WRONG$/m);
    assert.match(stdout, new RegExp(`^${escape(server.url)}/peers.json +yes +\\d+\\.\\d\\ds +.* ago +in .* +1 +0$`, "m"));
    assert.match(stdout, new RegExp(`^${escape(dead.url)} +NO +- +- +- +NO_CONNECTION: /healthz: `, "m"));
    assert.match(stdout, /^mainnet is unhealthy: 0 of 1 capsule, 1 of 1 beacon$/m);
    assert.equal((await capsule([...args, "--format", "text"], { env: {} })).code, 0);
    assert.match((await capsule([...args, "--format", "xml"], { env: {} })).stderr, /text, json, prometheus, github-issue/);
    const issue = await capsule([...args, "--beacon", dead.url, "--github-issue", "--quiet"], { env: {} });
    assert.deepEqual([issue.code, issue.stderr], [1, ""]);
    const [title, empty, checked, ...rest] = issue.stdout.split("\n");
    assert.deepEqual([title, empty], ["mainnet is unhealthy: 0 of 1 capsule, 1 of 1 beacon", ""]);
    assert.match(checked, /^Checked at \d{4}-.*Z\.$/);
    assert.ok(rest.some((line) => line.startsWith(`| \`${dead.url}\` | \`NO\` |`)), issue.stdout);
  });
});

describe("check asks as a page would", () => {
  /** A capsule on a host that answers with these headers, and how to check it. */
  async function host(context, headers, { absent = headers } = {}) {
    const ring = await keyring("p", "a");
    const now = Date.now();
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { peers: [signTicket(newPeer(), { issuedAt: now, community: "mainnet" })], issuedAt: now });
    const [server] = await started(
      context,
      serve((request, response) => {
        const name = new URL(request.url, "http://host").pathname.split("/").at(-1);
        readFile(ring.path(name)).then(
          (bytes) => response.writeHead(200, headers).end(bytes),
          () => response.writeHead(404, absent).end(),
        );
      }),
    );
    return { ring, server, run: (...more) => json(["check", `${server.url}/peers.json`, "--public-key", ring.keys.p.publicKey, ...more], { env: {} }) };
  }
  const found = ({ code, result }) => [code, result.capsules[0].problems.map(({ code }) => code)];
  const detail = ({ result }) => result.capsules[0].problems[0].detail;

  test("with an Origin, and wants that page or all pages to be allowed", async (context) => {
    const all = await host(context, FOR_ALL);
    assert.deepEqual(found(await all.run()), [0, []]);
    assert.deepEqual(all.server.requests.map(({ headers }) => headers.origin), ["https://page.example", "https://page.example"]);
    const own = await host(context, { "Access-Control-Allow-Origin": "https://app.example" });
    assert.deepEqual(found(await own.run("--origin", "https://APP.example:443")), [0, []]);
    const other = await own.run();
    assert.deepEqual(found(other), [1, ["CORS_NOT_ALLOWED"]]);
    assert.match(detail(other), /from pages of https:\/\/page\.example: Access-Control-Allow-Origin is https:\/\/app\.example\. Set /);
    const { code, stderr } = await capsule(["check", own.server.url, "--origin", "https://app.example/page"], { env: {} });
    assert.deepEqual([code, /--origin <ORIGIN>.: must be the origin of a page/.test(stderr)], [2, true]);
  });

  test("and says what to set at which host", async (context) => {
    for (const [headers, advice] of [
      [{ Server: "nginx/1.27.1" }, /nginx: add_header Access-Control-Allow-Origin \* always;/],
      [{ Server: "GitHub.com" }, /GitHub Pages: sends it by itself/],
      [{ Server: "AmazonS3" }, /S3: CORS of the bucket/],
      [{ "X-Ipfs-Path": "/ipfs/b/peers.json" }, /IPFS gateway: ipfs config --json Gateway\.HTTPHeaders/],
    ]) {
      const { run, server } = await host(context, headers);
      const unreadable = await run();
      assert.deepEqual(found(unreadable), [1, ["CORS_NOT_ALLOWED"]]);
      assert.match(detail(unreadable), advice);
      assert.ok(detail(unreadable).includes(`${server.url}/peers.json, ${server.url}/peers.json.sig`), detail(unreadable));
    }
  });

  test("for the answer that a file is not there too, which readers of a root need", async (context) => {
    const { ring, run, server } = await host(context, FOR_ALL, { absent: {} });
    assert.deepEqual(found(await run()), [0, []]);
    await ring.good(["root", "init", "--root-key", ring.keys.a.publicKey, "--publisher-key", ring.keys.p.publicKey], {});
    const rooted = await json(["check", `${server.url}/peers.json`, "--root", ring.path("1.root.json")], { env: {} });
    assert.deepEqual(found(rooted), [1, ["CORS_NOT_ALLOWED"]]);
    assert.match(detail(rooted), /2\.root\.json\.sigs/);
  });

  test("beacons too", async (context) => {
    const [beacon] = await started(context, serveBeacon([], { headers: {} }));
    const { code, result } = await json(["check", "--beacon", beacon.url], { env: {} });
    assert.deepEqual([code, result.beacons[0].problems.map(({ code }) => code)], [1, ["CORS_NOT_ALLOWED"]]);
    assert.deepEqual(beacon.requests.map(({ url, headers }) => [url, headers.origin]), [["/healthz", undefined], ["/peers?community=mainnet", "https://page.example"]]);
  });

  test("names a community that a beacon does not serve, and warns of one without peers", async (context) => {
    const refusal = { ok: false, code: "COMMUNITY_UNKNOWN", detail: "no" };
    const [unknown, empty] = await started(
      context,
      serve((request, response) => {
        const isHealth = request.url.startsWith("/healthz");
        response.writeHead(isHealth ? 200 : 404, FOR_ALL).end(JSON.stringify(isHealth ? { ok: true, serverTime: Date.now() } : refusal));
      }),
      serveBeacon([]),
    );
    const { code, result } = await json(["check", "--beacon", `${unknown.url},${empty.url}`], { env: {} });
    const named = ({ problems, warnings }) => [problems, warnings].map((list) => list.map(({ code }) => code));
    assert.deepEqual([code, result.beacons.map(named)], [1, [[["COMMUNITY_UNKNOWN"], []], [[], ["NO_PEERS"]]]]);
    assert.match(result.beacons[0].problems[0].detail, /does not serve mainnet: .*spelt.*COMMUNITIES/);
    const alone = await capsule(["check", "--beacon", empty.url], { env: {} });
    assert.equal(alone.code, 0);
    assert.match(alone.stdout, /^http.* yes .* 0 +warning: NO_PEERS: \/peers: nobody is in mainnet/m);
  });
});

describe("check tells others", () => {
  const LINE = /^[a-z_]+(\{[a-z]+="(?:[^"\\]|\\.)*"(?:,[a-z]+="(?:[^"\\]|\\.)*")*\})? -?\d+(\.\d+)?$/;

  test("Prometheus, each series once and each family whole", async (context) => {
    const ring = await keyring("p");
    const now = Date.now();
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { peers: [signTicket(newPeer(), { issuedAt: now, community: "mainnet" })], issuedAt: now });
    const [server, dead, empty] = await started(context, serveDirectory(ring.directory), serveDead(), serveBeacon([]));
    const args = ["check", `${server.url}/peers.json`, `${server.url}/peers.json`, "--public-key", ring.keys.p.publicKey];
    const { code, stdout } = await capsule([...args, "--beacon", `${dead.url},${empty.url}`, "--format", "prometheus"], { env: {} });
    assert.equal(code, 1);
    const lines = stdout.trimEnd().split("\n");
    const samples = lines.filter((line) => !line.startsWith("#"));
    for (const line of samples) assert.match(line, LINE);
    const families = samples.map((line) => line.split(/[{ ]/)[0]);
    assert.deepEqual(families, [...new Set(families)].flatMap((family) => families.filter((other) => other === family)));
    assert.deepEqual(lines.filter((line) => line.startsWith("# TYPE")).length, new Set(families).size);
    assert.equal(new Set(samples.map((line) => line.replace(/ [^ ]+$/, ""))).size, samples.length);
    for (const sample of [
      'rendezvous_check_healthy{community="mainnet"} 0',
      `rendezvous_capsule_healthy{capsule="${server.url}/peers.json"} 1`,
      `rendezvous_capsule_issued_timestamp_seconds{capsule="${server.url}/peers.json"} ${(now / 1_000).toFixed(3)}`,
      `rendezvous_capsule_peers{capsule="${server.url}/peers.json",status="live"} 1`,
      `rendezvous_beacon_healthy{beacon="${dead.url}"} 0`,
      `rendezvous_beacon_peers{beacon="${empty.url}"} 0`,
      `rendezvous_beacon_problem{beacon="${dead.url}",code="NO_CONNECTION",severity="problem"} 1`,
      `rendezvous_beacon_problem{beacon="${empty.url}",code="NO_PEERS",severity="warning"} 1`,
    ]) {
      assert.ok(samples.includes(sample), `${sample}\n${stdout}`);
    }
  });

  /** Runs the check of one beacon at moments, in minutes. */
  const story = (directory, beacon, ...more) => async (minutes) => {
    const args = ["check", "--beacon", beacon, "--history", join(directory, "check.json"), ...more, "--json"];
    const { code, stdout, stderr } = await capsule(args, { env: at(NOW + minutes * 60_000) });
    return { code, stderr, ...(stdout === "" ? {} : JSON.parse(stdout)) };
  };

  test("when too little was well in 15 minutes, with an exit code of its own, and somebody once", async (context) => {
    let offMillis = 0;
    let minutes = 0;
    const [beacon] = await started(context, serveBeacon([], { serverTime: () => NOW + minutes * 60_000 + offMillis }));
    const directory = await newDirectory();
    const told = join(directory, "told");
    const run = story(directory, beacon.url, "--on-failure", `printf '%s|%s|%s\\n' "$CAPSULE_COMMUNITY" "$CAPSULE_SUCCESS_PERCENT" "$CAPSULE_SUMMARY" >>'${told}'`);
    const seen = [];
    for (const [minute, isWell] of [[0, true], [10, false], [11, false], [14, true], [19, true], [20, false], [30, true], [45, true]]) {
      minutes = minute;
      offMillis = isWell ? 0 : 3_600_000;
      const { code, successPercent, alert } = await run(minute);
      seen.push([minute, code, successPercent, alert]);
    }
    assert.deepEqual(seen, [
      [0, 0, null, false],
      [10, 1, 100, false],
      [11, 1, 90, false],
      [14, 4, 71, true],
      [19, 4, 73, true],
      [20, 4, 73, true],
      [30, 4, 33, true],
      [45, 0, 100, false],
    ]);
    assert.deepEqual((await readFile(told, "utf8")).split("\n"), [
      "mainnet|71|mainnet is healthy: 0 capsules, 1 beacon; success rate of the last 15m: 71 %, below 80 %",
      "",
    ]);
  });

  test("without a history whenever something is unhealthy, and says when nobody could be told", async (context) => {
    const [dead] = await started(context, serveDead());
    const told = join(await newDirectory(), "told");
    const args = ["check", "--beacon", dead.url, "--quiet", "--on-failure"];
    const failed = await capsule([...args, `echo "$CAPSULE_SUMMARY" >'${told}'; exit 7`], { env: {} });
    assert.deepEqual([failed.code, failed.stderr], [3, "error: --on-failure: it ended with exit status: 7\n"]);
    assert.equal(await readFile(told, "utf8"), "mainnet is unhealthy: 0 of 0 capsules, 1 of 1 beacon\n");
    const [well] = await started(context, serveBeacon([]));
    assert.equal((await capsule(["check", "--beacon", well.url, "--on-failure", `rm '${told}'`], { env: {} })).code, 0);
    assert.ok(existsSync(told));
  });

  test("of a history that is something else, before anybody is asked", async (context) => {
    const [beacon] = await started(context, serveBeacon([]));
    const directory = await newDirectory();
    for (const content of ["", "{}", '{"version":1,"alert":false,"outcomes":[]} x']) {
      await writeFile(join(directory, "check.json"), content);
      const { code, stderr } = await story(directory, beacon.url)(0);
      assert.equal(code, 2);
      assert.match(stderr, /check\.json is not a history of --history: .*\. Name another file, or move it away/);
      assert.equal(await readFile(join(directory, "check.json"), "utf8"), content);
    }
    assert.equal(beacon.requests.length, 0);
  });
});

describe("diff and explain", () => {
  const key = async () => (await keyring("p")).keys.p;

  test("say who came, went, was renewed, or is somebody else, and what else changed", async () => {
    const ring = await keyring("p", "q");
    const [goes, stays, renews, stolen, comes] = ["goes", "stays", "renews", "stolen", "comes"].map((peerId) => newPeer({ peerId }));
    const thief = newPeer({ peerId: "stolen" });
    const ticket = (peer, issuedAt = NOW) => signTicket(peer, { issuedAt });
    const same = ticket(stays);
    await writeCapsule(ring.path("old.json"), ring.keys.p, { peers: [ticket(goes), same, ticket(renews), ticket(stolen)] });
    const bytes = await writeCapsule(ring.path("new.json"), ring.keys.p, {
      peers: [same, ticket(renews, NOW + 60_000), ticket(thief), ticket(comes)],
      issuedAt: NOW + 60_000,
      revoked: { ticketKeys: [stolen.publicKey], beacons: ["https://beacon.example"] },
    });
    const line = `${ring.keys.q.publicKey} ${sign(null, bytes, ring.keys.q.privateKey).toString("base64")}\n`;
    await writeFile(ring.path("new.json.sigs"), line);
    const result = await ring.good(["diff", "old.json", "new.json"]);
    assert.equal(result.verified, false);
    assert.deepEqual(result.peers, [
      { peerId: "comes", change: "came", publicKey: comes.publicKey },
      { peerId: "goes", change: "went", publicKey: goes.publicKey },
      { peerId: "renews", change: "renewed", laterMs: 60_000 },
      { peerId: "stolen", change: "otherKey", oldPublicKey: stolen.publicKey, publicKey: thief.publicKey },
    ]);
    assert.deepEqual(Object.keys(result.fields), ["expiresAt", "issuedAt"]);
    assert.deepEqual(result.revoked.ticketKeys, { added: [stolen.publicKey], removed: [] });
    assert.deepEqual(result.cosigners, { added: [ring.keys.q.publicKey], removed: [] });
    const { stdout } = await capsule(["diff", "old.json", "new.json"], { cwd: ring.directory });
    assert.match(stdout, /^UNVERIFIED +old\.json$/m);
    assert.match(stdout, /^peers were 4, and are 4: 1 came, 1 went, 1 renewed, 1 with another key$/m);
    assert.match(stdout, /^stolen +IS SOMEBODY ELSE/m);
    assert.match(stdout, /^revokes the beacon https:\/\/beacon\.example$/m);
    assert.deepEqual((await ring.good(["diff", "new.json", "new.json"])).peers, []);
    await writeFile(ring.path("none"), "[]");
    assert.equal((await ring.run(["diff", "old.json", "none"])).code, 1);
    assert.equal((await ring.run(["diff", "old.json", "nowhere"])).code, 2);
  });

  test("say why an entry is there", async () => {
    const ring = await keyring("p");
    const beacons = ["https://a.example", "https://b.example"];
    const [both, included, late] = ["both", "included", "late"].map((peerId) => newPeer({ peerId }));
    const peers = [
      signTicket(both, { issuedAt: NOW }),
      signTicket(included, { issuedAt: NOW - DAY_MS, expiresAt: NOW + 6 * DAY_MS }),
      signTicket(late, { issuedAt: NOW - 170_000 }),
      { forged: true },
    ];
    const origins = { beacons, peers: [[0, 1], [], [1], [0]] };
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { peers, origins, revoked: { ticketKeys: [late.publicKey] } });
    const env = at(NOW + 30_000);
    const claimed = await ring.good(["explain", "peers.json"], env);
    assert.equal(claimed.verified, false);
    assert.deepEqual(
      claimed.peers.map(({ standing, ticket, listedBy, included, revoked }) => [standing, ticket, listedBy, included, revoked]),
      [
        ["live", "short", beacons, false, false],
        ["live", "long", [], true, false],
        ["recentlySeen", "short", ["https://b.example"], false, true],
        ["noTicket", undefined, ["https://a.example"], false, undefined],
      ],
    );
    const verified = await ring.good(["explain", "peers.json", "--public-key", ring.keys.p.publicKey], env);
    assert.equal(verified.verified, true);
    assert.deepEqual(verified.peers.map(({ standing }) => standing), ["live", "live", "refused", "noTicket"]);
    const { stdout } = await capsule(["explain", "peers.json"], { cwd: ring.directory, env });
    assert.match(stdout, /^UNVERIFIED +peers\.json$/m);
    assert.match(stdout, /^both +live +short, 3m, ends in 2m 30s +listed by https:\/\/a\.example, https:\/\/b\.example$/m);
    assert.match(stdout, /^included +live +long, 7days, ends in 5days 23h 59m 30s +included by the publisher$/m);
    assert.match(stdout, /nothing of it is checked/);
    await writeFile(ring.path("peers.json.sig"), "none");
    const refused = await ring.run(["explain", "peers.json", "--public-key", ring.keys.p.publicKey], env);
    assert.deepEqual([refused.code, refused.result.code], [1, "SIGNATURE_INVALID"]);
  });

  test("say that origins do not fit, which readers ignore", async () => {
    const path = join(await newDirectory(), "peers.json");
    await writeCapsule(path, await key(), { origins: { beacons: [], peers: [[0]] } });
    assert.equal((await good(["explain", path])).origins, "malformed");
    assert.match((await capsule(["explain", path])).stdout, /^origins +malformed/m);
    assert.match((await capsule(["inspect", path])).stdout, /^origins +\(they do not fit the peers\)$/m);
  });

  test("let no file write to the terminal", async () => {
    const directory = await newDirectory();
    const evil = "\u001b[2J\u202eevil";
    const path = join(directory, "peers.json");
    const says = { community: evil, revoked: { beacons: [evil] }, origins: { beacons: [evil], peers: [[0]] }, peers: [{ [evil]: 1 }] };
    await writeFile(path, JSON.stringify(says));
    await writeFile(join(directory, "other.json"), "{}");
    for (const args of [["explain", path], ["diff", path, join(directory, "other.json")], ["inspect", path]]) {
      const { code, stdout } = await capsule(args);
      assert.equal(code, 0);
      assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
      assert.ok(stdout.includes("evil"), args[0]);
    }
  });
});

describe("who", () => {
  test("shows whom a beacon lists, each by a good ticket, and counts the others", async (context) => {
    const [peer, other] = [newPeer(), newPeer()];
    const tickets = [
      signTicket(peer, { issuedAt: NOW - 10_000, community: "mainnet", data: "state=away" }),
      signTicket(other, { issuedAt: NOW - 600_000, community: "mainnet" }),
      { ...signTicket(other, { issuedAt: NOW, community: "mainnet" }), signature: signTicket(peer).signature },
    ];
    const [beacon] = await started(context, serveBeacon(tickets));
    const { code, stdout } = await capsule(["who", beacon.url]);
    assert.equal(code, 0);
    const [head, row, empty, ...last] = stdout.split("\n");
    assert.match(head, /^PEER +USER +STATUS +UNTIL +KEY +DATA$/);
    assert.deepEqual([row.split(/ {2,}/)[0], row.endsWith(`${peer.publicKey}  state=away`), empty], [peer.peerId, true, ""]);
    assert.deepEqual(last, [`1 live and 0 recently seen of mainnet, verified: ${beacon.url}`, "not shown: 1 EXPIRED, 1 SIGNATURE_INVALID", ""]);
    const { result } = await json(["who", `${beacon.url}/`]);
    assert.deepEqual(result.peers.map(({ peerId, data, publicKey, status }) => [peerId, data, publicKey, status]), [
      [peer.peerId, "state=away", peer.publicKey, "live"],
    ]);
  });

  test("verifies a capsule first", async (context) => {
    const ring = await keyring("p", "q");
    const peer = newPeer();
    await writeCapsule(ring.path("peers.json"), ring.keys.p, { peers: [signTicket(peer, { issuedAt: NOW, community: "mainnet" })], issuedAt: NOW });
    const [host] = await started(context, serveDirectory(ring.directory));
    for (const source of [ring.path("peers.json"), `${host.url}/peers.json?x=1`]) {
      const shown = await good(["who", source, "--public-key", ring.keys.p.publicKey]);
      assert.deepEqual(shown.peers.map(({ peerId }) => peerId), [peer.peerId]);
      const refused = await json(["who", source, "--public-key", ring.keys.q.publicKey]);
      assert.deepEqual([refused.code, refused.result.code, refused.result.peers], [1, "SIGNATURE_INVALID", undefined]);
    }
  });

  test("says what it cannot be", async (context) => {
    const [page, dead] = await started(context, serveHtml(), serveDead());
    for (const [args, code, message] of [
      [[page.url], 1, /address of a beacon\?/],
      [[dead.url], 3, /could not be fetched/],
      [[`${page.url}/?x`], 2, /a capsule's address ends in \.json, and this must be the address of a beacon without/],
      [[page.url, "--root", "1.root.json"], 2, /signed by nobody/],
      [[`${page.url}/peers.json`], 2, /nobody to trust/],
    ]) {
      const run = await capsule(["who", ...args]);
      assert.equal(run.code, code, args.join(" "));
      assert.match(run.stdout + run.stderr, message);
    }
  });
});

describe("a beacon that refuses to list anybody", () => {
  const unknown = { ok: false, code: "COMMUNITY_UNKNOWN", detail: "this beacon does not serve the community chess" };
  const refuse = (status, body) => serveJson(body, { status });

  test("is heard: who says why, and what can be done, with the exit code of a refusal", async (context) => {
    const [beacon] = await started(context, refuse(404, unknown));
    const { code, result } = await json(["who", beacon.url, "--community", "chess"]);
    assert.deepEqual([code, result.code, result.error, result.source], [1, unknown.code, unknown.detail, beacon.url]);
    assert.match(result.advice, /spelt.*COMMUNITIES/);
    const people = await capsule(["who", beacon.url, "--community", "chess"]);
    assert.equal(people.code, 1);
    assert.match(people.stdout, new RegExp(`refused +${beacon.url}\ncode +COMMUNITY_UNKNOWN\nreason +${unknown.detail}\nadvice +is that how`));
    assert.equal(beacon.requests.length, 2, "one each: what was said is not asked for again");
  });

  test("is heard where it may say something else a moment later, too", async (context) => {
    const [busy] = await started(context, refuse(429, { ok: false, code: "THROTTLED", detail: "slower" }));
    const { code, result } = await json(["who", busy.url, "--timeout", "3s"]);
    assert.deepEqual([code, result.code, result.error], [1, "THROTTLED", "slower"]);
    assert.ok(busy.requests.length > 1);
  });

  test("is what the report of a round says", async (context) => {
    const peer = newPeer();
    const [beacon, other] = await started(context, refuse(404, unknown), serveBeacon([signTicket(peer, { issuedAt: NOW })]));
    const ring = await keyring("p");
    const args = ["publish", "--json", "--key", ring.path("p.pem"), "--out", ring.path("out"), "--beacon", `${beacon.url},${other.url}`, "--min-peers", "1"];
    const { code, stdout, stderr } = await capsule(args, { cwd: ring.directory });
    const [row] = JSON.parse(stdout).beacons;
    assert.deepEqual([code, row.answered, row.problem.code], [0, true, "COMMUNITY_UNKNOWN"], stderr);
    assert.match(stderr, new RegExp(`${beacon.url}: refused, COMMUNITY_UNKNOWN: ${unknown.detail}`));
  });

  test("that answers something else is one that could not be asked", async (context) => {
    const [beacon] = await started(context, refuse(404, { ok: true }));
    const { code, result } = await json(["who", beacon.url]);
    assert.deepEqual([code, result.code], [3, "HTTP_STATUS"]);
  });
});

test("verify says what is revoked, and obeys what the reader remembers", async () => {
  const ring = await keyring("p");
  const [good, bad] = [newPeer(), newPeer()];
  const peers = [good, bad].map((peer) => signTicket(peer, { issuedAt: NOW }));
  await writeCapsule(ring.path("peers.json"), ring.keys.p, { peers, revoked: { beacons: ["https://beacon.example"] } });
  await writeFile(ring.path("revoked.json"), JSON.stringify({ ticketKeys: [bad.publicKey] }));
  const args = ["verify", "peers.json", "--public-key", ring.keys.p.publicKey];
  const { result } = await ring.run([...args, "--revoked", "revoked.json"]);
  assert.deepEqual([result.live, result.refused, result.revoked.beacons], [1, { REVOKED_PUBLIC_KEY: 1 }, ["https://beacon.example"]]);
  const { stdout } = await capsule(args, { cwd: ring.directory });
  assert.match(stdout, /^revoked +beacons https:\/\/beacon\.example$/m);
  await writeFile(ring.path("revoked.json"), JSON.stringify({ publisherKeys: [ring.keys.p.publicKey] }));
  assert.equal((await ring.run([...args, "--revoked", "revoked.json"])).result.code, "REVOKED_PUBLIC_KEY");
  await writeFile(ring.path("revoked.json"), "[]");
  assert.equal((await ring.run([...args, "--revoked", "revoked.json"])).code, 2);
});

test("the community is that of the root, unless another one is named", async () => {
  const ring = await keyring("a", "p");
  const args = ["--community", "testnet", "--root-key", ring.list("a"), "--publisher-key", ring.list("p")];
  await ring.good(["root", "init", ...args]);
  await writeCapsule(ring.path("peers.json"), ring.keys.p, { community: "testnet" });
  const verify = ["verify", "peers.json", "--root", "1.root.json"];
  assert.equal((await ring.run(verify)).result.community, "testnet");
  assert.equal((await ring.run([...verify, "--community", "mainnet"])).result.code, "COMMUNITY_MISMATCH");
  const variables = { ...at(NOW), RENDEZVOUS_CAPSULE_ROOT: ring.path("1.root.json"), RENDEZVOUS_CAPSULE_PUBLIC_KEY: "nonsense" };
  assert.equal((await ring.run(["verify", "peers.json"], variables)).result.rootVersion, 1);
});

/** As the program orders keys: by their bytes. */
function byBytes(one, other) {
  return Buffer.compare(Buffer.from(one, "base64"), Buffer.from(other, "base64"));
}

/** A text as a part of a regular expression. */
function escape(text) {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
