// The capsule program, as a binary: against real Workers in workerd, and against hostile servers.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createPublicKey, verify as verifySignature } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startBeacon } from "../tools/beacon.mjs";
import {
  serve,
  serveDead,
  serveDrip,
  serveEndlessBody,
  serveEndlessHeader,
  serveHalf,
  serveHtml,
  serveJson,
  serveNonsense,
  serveRaw,
  serveSilence,
  serveTls,
  started,
} from "./hostile.mjs";
import { PATIENCE_MS, SILENCE_MS } from "./patience.mjs";
import { CAPSULE, YESTERDAY, at, finished, requireCapsule, rfc3339, runCapsule } from "./program.mjs";
import { canonical, newPeer, signTicket } from "./ticket.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where somebody never answers. */
const PATIENT = ["--timeout", `${SILENCE_MS}ms`];

const keys = JSON.parse(await readFile(join(ROOT, "tests/vectors/keys.json"), "utf8"));

let scratch;
before(async () => {
  requireCapsule();
  scratch = await mkdtemp(join(tmpdir(), "capsule-test-"));
});
after(() => rm(scratch, { recursive: true, force: true }));

/** @returns {Promise<string>} A new empty directory. */
const newDirectory = () => mkdtemp(join(scratch, "case-"));

/**
 * Runs the program, with no variables but those given.
 *
 * @param {string[]} args
 * @param {{ env?: Record<string, string>, cwd?: string }} [options]
 * @returns {Promise<{ code: number | null, signal: string | null, stdout: string, stderr: string }>}
 */
const capsule = (args, { env, cwd = scratch } = {}) => runCapsule(args, { env, cwd });

/**
 * Publishes with --json and key a of the test vectors.
 *
 * @param {string[]} beacons
 * @param {string[]} [args]
 * @param {{ env?: Record<string, string>, out?: string }} [options]
 */
async function publish(beacons, args = [], { env = {}, out } = {}) {
  out ??= await newDirectory();
  const given = beacons.flatMap((url) => ["--beacon", url]);
  const run = await capsule(["publish", "--json", "--out", out, ...given, ...args], {
    env: { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey, ...env },
  });
  const report = run.stdout === "" ? undefined : JSON.parse(run.stdout);
  return { ...run, out, report, read: () => readCapsule(out) };
}

/** @param {string} directory */
async function readCapsule(directory) {
  const bytes = await readFile(join(directory, "peers.json"));
  const signature = await readFile(join(directory, "peers.json.sig"), "utf8");
  return { bytes, signature, value: JSON.parse(bytes.toString()) };
}

const peerIds = (capsule) => capsule.value.peers.map((ticket) => ticket.payload.peerId);

/** What a beacon answers to GET /peers. */
const answer = (tickets, fields = {}) => ({ ok: true, community: "mainnet", serverTime: 0, total: 0, peers: tickets, ...fields });

/** The public key as SPKI in PEM, which is what openssl reads. */
function publicKeyPem(base64) {
  const x = Buffer.from(base64, "base64").toString("base64url");
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }).export({ format: "pem", type: "spki" });
}

const openssl = (...args) => promisify(execFile)("openssl", args);

describe("help", () => {
  const VARIABLES = {
    publish: [
      "RENDEZVOUS_BEACONS",
      "RENDEZVOUS_COMMUNITY",
      "RENDEZVOUS_CAPSULE_OUTPUT",
      "RENDEZVOUS_CAPSULE_PRIVATE_KEY",
      "RENDEZVOUS_CAPSULE_PUBLIC_KEY",
      "RENDEZVOUS_CAPSULE_MIN_PEERS",
      "RENDEZVOUS_CAPSULE_MAX_PEERS",
      "RENDEZVOUS_CAPSULE_TTL_MS",
      "RENDEZVOUS_CAPSULE_TIMEOUT_MS",
      "RENDEZVOUS_TRUSTED_TICKET_KEYS",
      "RENDEZVOUS_TICKET_MAX_LIFETIME_MS",
      "SOURCE_DATE_EPOCH",
    ],
    announce: [
      "RENDEZVOUS_BEACONS",
      "RENDEZVOUS_COMMUNITY",
      "RENDEZVOUS_ANNOUNCE_PEER_ID",
      "RENDEZVOUS_ANNOUNCE_USER_ID",
      "RENDEZVOUS_ANNOUNCE_DATA",
      "RENDEZVOUS_ANNOUNCE_PRIVATE_KEY",
      "RENDEZVOUS_ANNOUNCE_TTL_MS",
      "RENDEZVOUS_ANNOUNCE_INTERVAL_MS",
      "RENDEZVOUS_ANNOUNCE_TIMEOUT_MS",
      "SOURCE_DATE_EPOCH",
    ],
    verify: [
      "RENDEZVOUS_CAPSULE_PUBLIC_KEY",
      "RENDEZVOUS_COMMUNITY",
      "RENDEZVOUS_TRUSTED_TICKET_KEYS",
      "RENDEZVOUS_TICKET_MAX_LIFETIME_MS",
      "SOURCE_DATE_EPOCH",
    ],
    inspect: ["SOURCE_DATE_EPOCH"],
    keygen: [],
  };
  const EXIT_CODES = { publish: [0, 1, 2, 3], announce: [0, 1, 2, 3], verify: [0, 1, 2, 3], inspect: [0, 1, 2, 3], keygen: [0, 2] };

  for (const [command, variables] of Object.entries(VARIABLES)) {
    test(`of ${command} has examples, every variable and every exit code, in 80 columns`, async () => {
      const { code, stdout } = await capsule([command, "--help"], { env: { COLUMNS: "80" } });
      assert.equal(code, 0);
      assert.match(stdout, /^Examples:\n {2}\S/m);
      for (const name of variables) assert.match(stdout, new RegExp(`^  ${name} `, "m"));
      for (const exit of EXIT_CODES[command]) assert.match(stdout, new RegExp(`^  ${exit}  \\S`, "m"));
      const teaching = stdout.slice(stdout.indexOf("Examples:"));
      assert.deepEqual(teaching.split("\n").filter((line) => line.length > 80), []);
    });
  }

  test("of the program says how the commands go together, and every exit code", async () => {
    const { code, stdout } = await capsule(["--help"]);
    assert.equal(code, 0);
    for (const part of ["capsule keygen", "capsule publish", "capsule verify", "capsule announce"]) assert.ok(stdout.includes(part));
    for (const exit of [0, 1, 2, 3]) assert.match(stdout, new RegExp(`^  ${exit}  \\S`, "m"));
  });

  test("is short with -h, and long with --help", async () => {
    const { code, stdout } = await capsule(["-h"], { env: { COLUMNS: "80" } });
    assert.equal(code, 0);
    const lines = stdout.split("\n");
    assert.ok(lines.length <= 40, stdout);
    assert.match(stdout, /`--help` says how it goes together/);
    assert.ok((await capsule(["--help"])).stdout.split("\n").length > 2 * lines.length);
  });

  test("is what a run without a command gets, as a usage error", async () => {
    const { code, stdout, stderr } = await capsule([]);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /Usage: capsule/);
  });
});

describe("keygen", () => {
  test("writes a key of mode 0600 that openssl reads, and prints only the public half", async () => {
    const cwd = await newDirectory();
    const { code, stdout, stderr } = await capsule(["keygen"], { cwd });
    assert.equal(code, 0);
    const file = join(cwd, "capsule-key.pem");
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const pem = await readFile(file, "utf8");
    assert.ok(!(stdout + stderr).includes(pem.split("\n")[1]));

    const { stdout: spki } = await openssl("pkey", "-in", file, "-pubout");
    const publicKey = /^public key +(\S+)$/m.exec(stdout)[1];
    assert.equal(spki, publicKeyPem(publicKey));
    assert.equal((await capsule(["keygen", "--public-of", file])).stdout, `${publicKey}\n`);
    assert.deepEqual(JSON.parse((await capsule(["keygen", "--public-of", file, "--json"])).stdout), { ok: true, file, publicKey });
  });

  test("never overwrites a file", async () => {
    const out = join(await newDirectory(), "key.pem");
    assert.equal((await capsule(["keygen", "--out", out])).code, 0);
    const first = await readFile(out);
    const { code, stderr } = await capsule(["keygen", "--out", out]);
    assert.equal(code, 2);
    assert.match(stderr, /never overwritten/);
    assert.deepEqual(await readFile(out), first);
  });

  test("prints the private key when asked to, and nothing else, and writes no file", async () => {
    const cwd = await newDirectory();
    const { code, stdout } = await capsule(["keygen", "--print-private-key"], { cwd });
    assert.equal(code, 0);
    assert.match(stdout, /^-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9+/=]{64}\n-----END PRIVATE KEY-----\n$/);
    assert.deepEqual(await readdir(cwd), []);
    const again = await capsule(["keygen", "--print-private-key"], { cwd });
    assert.notEqual(again.stdout, stdout);
    const standard = await capsule(["keygen", "--out", "-"], { cwd });
    assert.equal(standard.code, 0);
    assert.match(standard.stdout, /^-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9+/=]{64}\n-----END PRIVATE KEY-----\n$/);
    assert.deepEqual(await readdir(cwd), []);
  });

  test("makes keys that publish and verify work with", async (context) => {
    const cwd = await newDirectory();
    const made = JSON.parse((await capsule(["keygen", "--json"], { cwd })).stdout);
    const [beacon] = await started(context, serveJson(answer([signTicket(newPeer())])));
    const published = await capsule(["publish", "--beacon", beacon.url, "--key", made.file], { cwd });
    assert.equal(published.code, 0, published.stderr);
    const verified = await capsule(["verify", "public/capsules/peers.json", "--public-key", made.publicKey], { cwd });
    assert.equal(verified.code, 0, verified.stdout);
  });
});

describe("publish", () => {
  test("asks every beacon at once", async (context) => {
    // Each answers only when all have been asked.
    const waiting = [];
    const meet = (ticket) => (_, response) => {
      waiting.push(() => response.end(JSON.stringify(answer([ticket]))));
      if (waiting.length === 3) waiting.forEach((respond) => respond());
    };
    const peers = [newPeer(), newPeer(), newPeer()];
    const beacons = await started(context, ...peers.map((peer) => serve(meet(signTicket(peer)))));
    const { code, read, report } = await publish(beacons.map(({ url }) => url));
    assert.equal(code, 0);
    assert.deepEqual(peerIds(await read()).sort(), peers.map(({ peerId }) => peerId).sort());
    assert.deepEqual(report.beacons.map(({ beacon, answered, tickets }) => [beacon, answered, tickets]), beacons.map(({ url }) => [url, true, 1]));
    for (const { requests } of beacons) {
      assert.equal(requests.length, 1);
      assert.equal(requests[0].url, "/peers?community=mainnet");
      assert.match(requests[0].headers["user-agent"], /^rendezvous-capsule\/\d+\.\d+\.\d+$/);
    }
  });

  test("writes what openssl, node:crypto and verify agree on", async (context) => {
    const [beacon] = await started(context, serveJson(answer([signTicket(newPeer()), signTicket(newPeer(), { community: "mainnet" })])));
    const { code, out, read, report } = await publish([beacon.url], ["--lifetime", "10m"]);
    assert.equal(code, 0);
    const { bytes, signature, value } = await read();

    const pem = join(out, "public.pem");
    const raw = join(out, "raw.sig");
    await writeFile(pem, publicKeyPem(keys.a.publicKey));
    await writeFile(raw, Buffer.from(signature, "base64"));
    assert.match(signature, /^[A-Za-z0-9+/]{86}==\n$/);
    const { stdout } = await openssl("pkeyutl", "-verify", "-pubin", "-inkey", pem, "-rawin", "-in", join(out, "peers.json"), "-sigfile", raw);
    assert.match(stdout, /Signature Verified Successfully/);

    const { signature: embedded, algorithm, origins, ...signed } = value;
    assert.equal(algorithm, "ed25519");
    assert.deepEqual(origins, { beacons: [beacon.url], peers: [[0], [0]] });
    assert.deepEqual(Object.keys(signed).sort(), ["community", "expiresAt", "issuedAt", "peers", "version"]);
    const key = createPublicKey(publicKeyPem(keys.a.publicKey));
    assert.ok(verifySignature(null, Buffer.from(canonical(signed)), key, Buffer.from(embedded, "base64")));
    assert.ok(!verifySignature(null, Buffer.concat([bytes, bytes]), key, Buffer.from(signature, "base64")));

    assert.equal(signed.expiresAt - signed.issuedAt, 600_000);
    assert.equal(report.written.issuedAt, signed.issuedAt);
    assert.equal(report.written.expiresAt, signed.expiresAt);
    assert.equal(report.publicKey, keys.a.publicKey);
    const verified = await capsule(["verify", join(out, "peers.json"), "--public-key", pem, "--json"]);
    assert.equal(verified.code, 0);
    assert.equal(JSON.parse(verified.stdout).live, 2);
  });

  test("ends with a table: beacon, answered, tickets, refused and why, time", async (context) => {
    const expired = signTicket(newPeer(), { issuedAt: Date.now() - 200_000 });
    const [good, dead] = await started(context, serveJson(answer([signTicket(newPeer()), expired])), serveDead());
    const out = await newDirectory();
    const { code, stdout, stderr } = await capsule(["publish", "--beacon", `${good.url},${dead.url}`, "--out", out], {
      env: { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey },
    });
    assert.equal(code, 0);
    const [head, first, second, empty, last] = stdout.split("\n");
    assert.match(head, /^BEACON +ANSWERED +TICKETS +REFUSED +TIME$/);
    assert.match(first, new RegExp(`^${good.url} +yes +1 +1 EXPIRED +\\d+\\.\\d\\ds$`));
    assert.match(second, new RegExp(`^${dead.url} +no +0 +no connection: .+ +\\d+\\.\\d\\ds$`));
    assert.equal(empty, "");
    assert.ok(last.startsWith(`written: ${join(out, "peers.json")}`) && last.includes("1 peer of mainnet"), last);
    assert.ok(stderr.includes(`${dead.url}: no connection`));
    for (const text of [stdout, stderr]) assert.ok(!text.includes(keys.a.privateKey));
  });

  describe("loses nothing to a beacon that", () => {
    const peer = newPeer();
    const wrong = (tickets, fields) => serveJson(answer(tickets, fields));
    const many = () => Array.from({ length: 10_000 }, (_, number) => signTicket(peer, { peerId: `peer-${number}` }));
    /** What there is to say about each: whether it counts as an answer, the code, and how long to wait where that decides. */
    const CASES = {
      "is dead": [serveDead, false, "NO_CONNECTION"],
      "takes the request and says nothing": [serveSilence, false, "TIMED_OUT", PATIENT],
      "drips a byte now and then": [serveDrip, false, "TIMED_OUT", PATIENT],
      "sends a header without an end": [serveEndlessHeader, false, "BROKEN_ANSWER"],
      "sends a body without an end": [serveEndlessBody, true, "ANSWER_TOO_LARGE"],
      "breaks off in the middle": [serveHalf, false, "BROKEN_ANSWER"],
      "closes without a word": [() => serveRaw((socket) => socket.end()), false, "NO_CONNECTION"],
      "speaks another protocol": [serveNonsense, false, "BROKEN_ANSWER"],
      "answers in HTML": [serveHtml, true, "MALFORMED"],
      "answers 404 in HTML": [() => serveHtml(404), true, "HTTP_STATUS"],
      "answers 500 always": [() => serveHtml(500), false, "HTTP_STATUS"],
      "answers 204": [() => serve((_, response) => response.writeHead(204).end()), true, "HTTP_STATUS"],
      "redirects": [() => serveJson({}, { status: 302, headers: { Location: "https://elsewhere.example/" } }), true, "REDIRECT"],
      "answers an empty body": [() => serve((_, response) => response.end()), true, "MALFORMED"],
      "answers something else in JSON": [() => serveJson({ error: "no" }), true, "MALFORMED"],
      "answers peers that are no list": [() => wrong({ length: 1 }), true, "MALFORMED"],
      "answers for another community": [() => wrong([signTicket(newPeer())], { community: "testnet" }), true, "COMMUNITY_MISMATCH"],
      "answers with 10,000 good tickets": [() => wrong(many()), true, "ANSWER_TOO_LARGE"],
      "nests a million lists": [() => serve((_, response) => response.end(`{"peers":${"[".repeat(200_000)}`)), true, "MALFORMED"],
    };

    for (const [name, [serveBad, answered, code, args]] of Object.entries(CASES)) {
      test(name, async (context) => {
        const [bad, good] = await started(context, serveBad(), serveJson(answer([signTicket(peer)])));
        const { code: exit, report, read } = await publish([bad.url, good.url], args);
        assert.equal(exit, 0);
        assert.deepEqual(peerIds(await read()), [peer.peerId]);
        const [badRow, goodRow] = report.beacons;
        assert.equal(badRow.answered, answered);
        assert.equal(badRow.problem.code, code, badRow.problem.detail);
        assert.equal(badRow.tickets, 0);
        assert.deepEqual([goodRow.answered, goodRow.tickets, goodRow.problem], [true, 1, undefined]);
        if (args === PATIENT) assert.ok(badRow.timeMs >= SILENCE_MS, `${badRow.timeMs} ms, where ${SILENCE_MS} ms were allowed`);
        assert.ok(badRow.timeMs < PATIENCE_MS, `${badRow.timeMs} ms`);
      });
    }
  });

  describe("takes each ticket by itself:", () => {
    const now = Date.now();
    const good = newPeer();
    const other = newPeer();
    const stolen = signTicket(other);
    /** What each bad ticket is counted as. */
    const CASES = {
      "one with another's payload": [{ ...signTicket(newPeer()), payload: stolen.payload }, "SIGNATURE_INVALID"],
      "one with another's key": [{ ...stolen, publicKey: good.publicKey }, "SIGNATURE_INVALID"],
      "one whose userId was changed": [{ ...stolen, payload: { ...stolen.payload, userId: "admin" } }, "SIGNATURE_INVALID"],
      // Every message "fits" this key and signature for verifiers that do not check for small order.
      "one by the identity key": [
        {
          ...stolen,
          publicKey: Buffer.from([1, ...Array(31).fill(0)]).toString("base64"),
          signature: Buffer.from([1, ...Array(63).fill(0)]).toString("base64"),
        },
        "SIGNATURE_INVALID",
      ],
      "an expired one": [signTicket(other, { issuedAt: now - 180_001 }), "EXPIRED"],
      "one from the future": [signTicket(other, { issuedAt: now + 600_000 }), "NOT_YET_VALID"],
      "one that lives too long": [signTicket(other, { expiresAt: now + 3_600_000 }), "LIFETIME_TOO_LONG"],
      "one for another community": [signTicket(other, { community: "testnet" }), "COMMUNITY_MISMATCH"],
      "one that says goodbye": [signTicket(other, { leave: true }), "MALFORMED"],
      "one of another version": [signTicket(other, { envelope: { version: 2 } }), "UNSUPPORTED_VERSION"],
      "one of another algorithm": [signTicket(other, { envelope: { algorithm: "rsa" } }), "UNSUPPORTED_ALGORITHM"],
      "one with a field too many": [signTicket(other, { envelope: { admin: true } }), "MALFORMED"],
      "one without a nonce": [signTicket(other, { nonce: undefined }), "MALFORMED"],
      "a number": [7, "MALFORMED"],
    };

    for (const [name, [bad, code]] of Object.entries(CASES)) {
      test(name, async (context) => {
        const [beacon] = await started(context, serveJson(answer([bad, signTicket(good), bad])));
        const { code: exit, report, read } = await publish([beacon.url]);
        assert.equal(exit, 0);
        assert.deepEqual(report.beacons[0].refused, { [code]: 2 });
        assert.deepEqual(peerIds(await read()), [good.peerId]);
      });
    }

    test("replayed and duplicate ones give way to the newest", async (context) => {
      const old = signTicket(good, { issuedAt: now - 60_000, userId: "old" });
      const recent = signTicket(good, { issuedAt: now - 30_000, userId: "recent" });
      const newest = signTicket(good, { issuedAt: now, userId: "newest" });
      const [one, two] = await started(
        context,
        serveJson(answer([newest, newest, old])),
        serveJson(answer([recent, signTicket(other, { issuedAt: now - 10_000 })])),
      );
      for (const beacons of [[one.url, two.url], [two.url, one.url]]) {
        const { code, report, read } = await publish(beacons);
        assert.equal(code, 0);
        const { peers } = (await read()).value;
        assert.deepEqual(peers.map(({ payload }) => payload.userId), ["newest", "user"]);
        assert.deepEqual(report.beacons.find(({ beacon }) => beacon === one.url).refused, { DUPLICATE: 2 });
      }
    });

    test("10,000 are too many to look at", async (context) => {
      const [beacon] = await started(context, serveJson(answer([signTicket(good), ...Array(9_999).fill(0)])));
      const { code, report, read } = await publish([beacon.url]);
      assert.equal(code, 0);
      assert.deepEqual(report.beacons[0].refused, { MALFORMED: 199, TOO_MANY: 9_800 });
      assert.deepEqual(peerIds(await read()), [good.peerId]);
    });

    test("only those of trusted keys, where such are named", async (context) => {
      const [beacon] = await started(context, serveJson(answer([signTicket(good), signTicket(other)])));
      const { code, report, read } = await publish([beacon.url], ["--trusted-key", other.publicKey]);
      assert.equal(code, 0);
      assert.deepEqual(report.beacons[0].refused, { UNTRUSTED_PUBLIC_KEY: 1 });
      assert.deepEqual(peerIds(await read()), [other.peerId]);
    });
  });

  test("believes no certificate that nobody vouches for, unless SSL_CERT_FILE or SSL_CERT_DIR has it", async (context) => {
    const directory = await newDirectory();
    const [key, cert] = ["key.pem", "cert.pem"].map((name) => join(directory, name));
    const extensions = ["subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"].flatMap((text) => ["-addext", text]);
    const subject = ["-subj", "/CN=127.0.0.1", ...extensions];
    await openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, ...subject);
    const credentials = { key: await readFile(key, "utf8"), cert: await readFile(cert, "utf8") };
    const list = JSON.stringify(answer([signTicket(newPeer())]));
    const [beacon] = await started(context, serveTls(credentials, (_, response) => response.end(list)));
    const { code, report } = await publish([beacon.url]);
    assert.equal(code, 3);
    assert.match(report.beacons[0].problem.detail, /invalid peer certificate/);
    for (const env of [{ SSL_CERT_FILE: cert }, { SSL_CERT_DIR: directory }]) {
      const vouched = await publish([beacon.url], [], { env });
      assert.equal(vouched.code, 0, vouched.stdout);
    }
    for (const env of [{ SSL_CERT_FILE: key }, { SSL_CERT_FILE: "nowhere.pem" }, { SSL_CERT_DIR: join(directory, "nowhere") }]) {
      const refused = await publish([beacon.url], [], { env });
      assert.equal(refused.code, 2);
      assert.ok(refused.stderr.includes(Object.keys(env)[0]), refused.stderr);
    }
  });

  test("gives a beacon that makes up peers its share of the places, and no more", async (context) => {
    const now = Date.now();
    const forger = newPeer();
    const sybils = Array.from({ length: 150 }, (_, number) => signTicket(forger, { peerId: `sybil-${number}`, issuedAt: now + 5_000 }));
    const honest = Array.from({ length: 5 }, () => signTicket(newPeer(), { issuedAt: now - 60_000 }));
    const [lying, first, second] = await started(
      context,
      serveJson(answer(sybils)),
      serveJson(answer(honest.slice(0, 3))),
      serveJson(answer(honest.slice(2))),
    );
    const { code, read } = await publish([lying.url, first.url, second.url], ["--max-peers", "8"]);
    assert.equal(code, 0);
    // Two whole rounds of three: a third would be one place too many. The peer that most list needs nobody's share.
    const ids = peerIds(await read());
    assert.equal(ids.length, 7);
    assert.equal(honest.filter(({ payload }) => ids.includes(payload.peerId)).length, 5);
  });

  test("tries again after 500 and 429, when it is asked to", async (context) => {
    const ticket = signTicket(newPeer());
    const times = [];
    const moody = serve((_, response) => {
      times.push(performance.now());
      if (times.length === 1) return response.writeHead(500).end();
      if (times.length === 2) return response.writeHead(429, { "Retry-After": "2" }).end();
      return response.end(JSON.stringify(answer([ticket])));
    });
    const [beacon] = await started(context, moody);
    const { code, report } = await publish([beacon.url]);
    assert.equal(code, 0);
    assert.equal(report.beacons[0].attempts, 3);
    assert.equal(report.beacons[0].tickets, 1);
    // The usual wait before a third attempt is at most 0.9 s.
    assert.ok(times[2] - times[1] >= 1_990, `${times[2] - times[1]} ms`);
  });

  test("gives up on a beacon at once that wants to be left alone for an hour, or says no", async (context) => {
    const [busy, refusing] = await started(
      context,
      serveJson({}, { status: 503, headers: { "Retry-After": "3600" } }),
      serveJson({}, { status: 403 }),
    );
    const { code, report } = await publish([busy.url, refusing.url]);
    assert.equal(code, 1);
    assert.deepEqual(report.beacons.map(({ attempts, answered }) => [attempts, answered]), [[1, false], [1, true]]);
    assert.match(report.beacons[0].problem.detail, /503.*come back in 1h/);
  });

  describe("leaves the capsule that is there when", () => {
    const CASES = {
      "there are no tickets": [() => serveJson(answer([])), [], 1, "TOO_FEW_PEERS"],
      "there are fewer than the minimum": [
        () => serveJson(answer([signTicket(newPeer())])),
        ["--min-peers", "2"],
        1,
        "TOO_FEW_PEERS",
      ],
      "the only beacon answers nonsense": [serveHtml, [], 1, "TOO_FEW_PEERS"],
      "no beacon answers": [serveDead, [], 3, "NO_BEACON_ANSWERED"],
    };

    for (const [name, [serveBad, args, exit, code]] of Object.entries(CASES)) {
      test(name, async (context) => {
        const [good, bad] = await started(context, serveJson(answer([signTicket(newPeer())])), serveBad());
        const { out, read } = await publish([good.url]);
        const { bytes, signature } = await read();
        const second = await publish([bad.url], args, { out });
        assert.equal(second.code, exit);
        assert.deepEqual([second.report.ok, second.report.code], [false, code]);
        assert.deepEqual(await read().then((capsule) => [capsule.bytes, capsule.signature]), [bytes, signature]);
        assert.deepEqual((await readdir(out)).sort(), ["peers.json", "peers.json.minisig", "peers.json.sig"]);
      });
    }

    test("the clock has gone back", async (context) => {
      const now = Date.now();
      const tickets = [0, 20_000].map((past) => signTicket(newPeer(), { issuedAt: now - past }));
      const [beacon] = await started(context, serveJson(answer(tickets)));
      const { code, out, read } = await publish([beacon.url]);
      assert.equal(code, 0);
      const { bytes } = await read();
      const back = { SOURCE_DATE_EPOCH: String(Math.floor(now / 1000) - 18) };
      const second = await publish([beacon.url], [], { out, env: back });
      assert.deepEqual([second.code, second.report.code], [1, "CLOCK_WENT_BACK"]);
      assert.deepEqual((await read()).bytes, bytes);
      // Another key's capsule is another story, which readers of this key do not know.
      const third = await publish([beacon.url], [], { out, env: { ...back, RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.b.privateKey } });
      assert.equal(third.code, 0);
      assert.notDeepEqual((await read()).bytes, bytes);
    });
  });

  test("replaces what is there, readable for a web server, and leaves nothing else", async (context) => {
    const [first, second] = await started(
      context,
      serveJson(answer([signTicket(newPeer())])),
      serveJson(answer([signTicket(newPeer()), signTicket(newPeer())])),
    );
    const { out, read } = await publish([first.url]);
    const before = await read();
    assert.equal((await publish([second.url], [], { out })).code, 0);
    const after = await read();
    assert.equal(before.value.peers.length, 1);
    assert.equal(after.value.peers.length, 2);
    assert.deepEqual((await readdir(out)).sort(), ["peers.json", "peers.json.minisig", "peers.json.sig"]);
    const plain = join(out, "plain");
    await writeFile(plain, "");
    for (const file of ["peers.json", "peers.json.minisig", "peers.json.sig"]) {
      assert.equal((await stat(join(out, file))).mode, (await stat(plain)).mode);
    }
  });

  test("leaves nothing behind when it is told to stop", async (context) => {
    let asked;
    const [silent] = await started(context, serve(() => asked()));
    const out = await newDirectory();
    for (const signal of ["SIGTERM", "SIGINT"]) {
      const isAsked = new Promise((resolve) => (asked = resolve));
      const child = spawn(CAPSULE, ["publish", "--beacon", silent.url, "--out", out], {
        env: { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const end = finished(child);
      await isAsked;
      child.kill(signal);
      assert.equal((await end).signal, signal);
      assert.deepEqual(await readdir(out), []);
    }
  });

  test("ends when it is told to while it waits for another run", async (context) => {
    const [beacon] = await started(context, serveJson(answer([signTicket(newPeer())])));
    const out = await newDirectory();
    const other = spawn("flock", ["--no-fork", out, "sh", "-c", "echo locked; exec sleep 1000"], { stdio: ["ignore", "pipe", "ignore"] });
    context.after(() => other.kill("SIGKILL"));
    await once(other.stdout, "data");
    const child = spawn(CAPSULE, ["publish", "--beacon", beacon.url, "--out", out], {
      env: { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey },
      stdio: ["ignore", "pipe", "pipe"],
    });
    context.after(() => child.kill("SIGKILL"));
    const end = finished(child);
    // The system's list of locks has those who wait.
    const waits = new RegExp(`-> FLOCK .* ${child.pid} `);
    while (!waits.test(await readFile("/proc/locks", "utf8"))) assert.equal(child.exitCode, null);
    child.kill("SIGTERM");
    assert.equal((await end).signal, "SIGTERM");
    assert.deepEqual(await readdir(out), []);
  });

  test("gives the same bytes for the same answers and time, whoever answers first", async (context) => {
    const issuedAt = YESTERDAY;
    const env = at(YESTERDAY + 60_000);
    const peer = newPeer();
    const lists = [
      [signTicket(newPeer(), { issuedAt }), signTicket(peer, { issuedAt })],
      // The same peer and moment, and yet not the same ticket.
      [signTicket(newPeer(), { issuedAt }), signTicket(peer, { issuedAt, userId: "other" })],
    ];
    // One answers at once, the last one when that answer is out.
    let last, firstIsOut, sayItIsOut;
    const respond = (list, own) => async (_, response) => {
      if (own === last) await firstIsOut;
      response.end(JSON.stringify(answer(list)), () => own !== last && sayItIsOut());
    };
    const beacons = await started(context, ...lists.map((list, own) => serve(respond(list, own))));
    const urls = beacons.map(({ url }) => url);
    const capsules = [];
    for (last of [0, 1]) {
      firstIsOut = new Promise((resolve) => (sayItIsOut = resolve));
      const { code, read, stderr } = await publish(urls, ["--shares", "available"], { env });
      assert.equal(code, 0);
      assert.ok(stderr.includes(`${rfc3339(YESTERDAY + 60_000)}, from SOURCE_DATE_EPOCH`), stderr);
      capsules.push(await read());
    }
    assert.equal(capsules[0].value.issuedAt, YESTERDAY + 60_000);
    assert.equal(capsules[0].value.peers.length, 3);
    assert.deepEqual(capsules[1].bytes, capsules[0].bytes);
    assert.equal(capsules[1].signature, capsules[0].signature);
  });

  test("is set by the variables of existing workflows, empty ones counting as not set", async (context) => {
    const peers = [newPeer(), newPeer(), newPeer()];
    const lists = [[signTicket(peers[0])], [signTicket(peers[1]), signTicket(peers[2], { issuedAt: Date.now() - 1_000 })]];
    const beacons = await started(context, ...lists.map((list) => serveJson(answer(list, { community: "testnet" }))));
    const out = join(await newDirectory(), "made/for/it");
    const variables = {
      RENDEZVOUS_BEACONS: `${beacons[0].url}, ${beacons[1].url}/,`,
      RENDEZVOUS_COMMUNITY: "testnet",
      RENDEZVOUS_CAPSULE_OUTPUT: out,
      RENDEZVOUS_CAPSULE_TTL_MS: "300000",
      RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey,
      RENDEZVOUS_CAPSULE_PUBLIC_KEY: keys.a.publicKey,
      RENDEZVOUS_CAPSULE_MAX_PEERS: "2",
      RENDEZVOUS_TRUSTED_TICKET_KEYS: peers.map(({ publicKey }) => publicKey).join(","),
    };
    const { code, stderr } = await capsule(["publish"], { env: variables });
    assert.equal(code, 0, stderr);
    const { value } = await readCapsule(out);
    assert.deepEqual([value.community, value.expiresAt - value.issuedAt], ["testnet", 300_000]);
    assert.deepEqual(value.peers.map(({ payload }) => payload.peerId).sort(), peers.slice(0, 2).map(({ peerId }) => peerId).sort());

    const [plain] = await started(context, serveJson(answer([signTicket(newPeer())])));
    const cwd = await newDirectory();
    const empty = Object.fromEntries(Object.keys(variables).map((name) => [name, ""]));
    const unset = await capsule(["publish", "--beacon", plain.url], {
      env: { ...empty, SOURCE_DATE_EPOCH: "", RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey },
      cwd,
    });
    assert.equal(unset.code, 0, unset.stderr);
    const defaults = (await readCapsule(join(cwd, "public/capsules"))).value;
    assert.deepEqual([defaults.community, defaults.expiresAt - defaults.issuedAt], ["mainnet", 1_800_000]);
  });

  describe("says what is wrong, with exit code 2, and never what the key is:", () => {
    const key = { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey };
    const beacon = ["--beacon", "http://127.0.0.1:9"];
    const CASES = {
      "no beacon": [[], key, /no beacon.*--beacon.*RENDEZVOUS_BEACONS/],
      "no key": [beacon, {}, /no private key.*--key.*RENDEZVOUS_CAPSULE_PRIVATE_KEY.*keygen/],
      "a beacon without a scheme": [["--beacon", "beacon.example"], key, /--beacon.*https:\/\//],
      "a beacon with a query": [["--beacon", "https://beacon.example/?a"], key, /adds \/peers/],
      "a community that cannot be": [[...beacon, "--community", "main net"], key, /--community/],
      "a lifetime without a unit": [[...beacon, "--lifetime", "30"], key, /--lifetime.*30m/],
      "a minimum above the maximum": [[...beacon, "--min-peers", "9", "--max-peers", "8"], key, /at least 9 peers and at most 8/],
      "a minimum of nothing": [[...beacon, "--min-peers", "0"], key, /from 1 to 1000/],
      "a variable that is no number": [beacon, { ...key, RENDEZVOUS_CAPSULE_TTL_MS: "soon" }, /RENDEZVOUS_CAPSULE_TTL_MS must be/],
      "a time that is none": [beacon, { ...key, SOURCE_DATE_EPOCH: "now" }, /SOURCE_DATE_EPOCH must be/],
      "a key file that is not there": [[...beacon, "--key", "nowhere.pem"], key, /nowhere\.pem cannot be read/],
      "a key file with something else": [[...beacon, "--key", CAPSULE], key, /cannot be read|something else/],
      "the key in the place of its file": [[...beacon, "--key", keys.a.privateKey], {}, /make a new one/],
      "a key that is none": [beacon, { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey.slice(1) }, /RENDEZVOUS_CAPSULE_PRIVATE_KEY is not a key/],
      "the public key of another": [beacon, { ...key, RENDEZVOUS_CAPSULE_PUBLIC_KEY: keys.b.publicKey }, /clients would refuse/],
      "the standard output for several files": [[...beacon, "--out", "-"], key, /- is the standard output.*name a directory/],
      "a directory that is a file": [[...beacon, "--out", CAPSULE], key, /cannot be made/],
    };
    for (const [name, [args, env, message]] of Object.entries(CASES)) {
      test(name, async () => {
        const { code, stdout, stderr } = await capsule(["publish", ...args], { env });
        assert.equal(code, 2, stderr);
        assert.equal(stdout, "");
        assert.match(stderr, message);
        assert.ok(!stderr.includes(keys.a.privateKey.slice(-40)));
      });
    }

    test("in JSON too, for scripts", async () => {
      const { code, stdout } = await capsule(["publish", "--json", "--quiet"]);
      assert.equal(code, 2);
      assert.deepEqual(Object.keys(JSON.parse(stdout)).sort(), ["error", "ok"]);
    });
  });

  test("says nothing on stderr with --quiet, when all is well", async (context) => {
    const [beacon] = await started(context, serveJson(answer([signTicket(newPeer())])));
    const { code, stderr } = await publish([beacon.url], ["--quiet"]);
    assert.deepEqual([code, stderr], [0, ""]);
  });
});

describe("a key", () => {
  test("is read in every spelling that tools leave, from a file and from a variable", async () => {
    const spellings = JSON.parse(await readFile(join(ROOT, "tests/vectors/spellings.json"), "utf8"));
    const directory = await newDirectory();
    for (const { name, kind, text, publicKey } of spellings) {
      const file = join(directory, name);
      await writeFile(file, text, { mode: 0o600 });
      const args = kind === "private" ? ["keygen", "--public-of", file] : ["verify", "nowhere", "--public-key", file];
      const { code, stdout, stderr } = await capsule(args);
      if (kind === "private") assert.deepEqual([code, stdout], publicKey ? [0, `${publicKey}\n`] : [2, ""], `${name} ${stderr}`);
      // A key that is read is followed by a capsule that is not there.
      else assert.match(stderr, publicKey ? /error: nowhere cannot be read/ : /holds something else/, name);
      if (kind !== "private" || text.trim() === "") continue;
      const env = { RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: text };
      const ticket = await capsule(["ticket", "--json", "--peer-id", "node", "--out", join(directory, "ticket.json")], { env });
      assert.equal(ticket.code, publicKey ? 0 : 2, `${name} ${ticket.stderr}`);
    }
  });

  test("of another kind is named for what it is, with the command that helps, and never shown", async () => {
    const directory = await newDirectory();
    const file = join(directory, "key.pem");
    const genpkey = (...options) => openssl("genpkey", "-out", file, ...options);
    const KINDS = [
      [() => genpkey("-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:1024"), /is for RSA.*capsule keygen/],
      [() => genpkey("-algorithm", "x25519"), /is for X25519.*capsule keygen/],
      [() => genpkey("-algorithm", "ed25519", "-aes256", "-pass", "pass:swordfish"), /is encrypted.*--passphrase-file/],
      [() => writeFile(file, publicKeyPem(keys.a.publicKey)), /is a public key.*capsule keygen --public-of/],
      [() => writeFile(file, keys.a.publicKey), /a public key or a bare seed.*capsule keygen/],
      [
        () => writeFile(file, `-----BEGIN OPENSSH PRIVATE KEY-----\n${"b3BlbnNzaC1rZXktdjEA".repeat(3)}\n-----END OPENSSH PRIVATE KEY-----\n`),
        /OpenSSH's own format.*ssh-keygen -p -m PKCS8/,
      ],
    ];
    for (const [make, message] of KINDS) {
      await make();
      const text = await readFile(file, "utf8");
      const secret = text.includes("BEGIN PUBLIC") ? "" : text;
      const lines = secret.split("\n").filter((line) => line.length > 30 && !line.startsWith("-----"));
      const { code, stderr } = await capsule(["keygen", "--public-of", file]);
      assert.equal(code, 2);
      assert.match(stderr, message);
      // As an argument it is a secret in the wrong place, or looks like one.
      for (const args of [["keygen", "--public-of", text], ["publish", "--beacon", "http://127.0.0.1:9", `--key=${text}`, "--json"]]) {
        const given = await capsule(args);
        assert.equal(given.code, 2);
        for (const line of lines) assert.ok(!(given.stdout + given.stderr).includes(line), given.stderr);
      }
    }
    const other = await capsule(["verify", "nowhere", "--public-key", file]);
    assert.match(other.stderr, /is a private key.*capsule keygen --public-of/);
  });

  test("that is mistyped is not called a file", async () => {
    for (const text of ["", keys.b.publicKey.replace("=", ""), keys.b.publicKey.replaceAll("/", "_"), keys.b.publicKey.slice(4), keys.b.publicKey.slice(0, 20)]) {
      const { code, stderr } = await capsule(["verify", "nowhere", "--public-key", text]);
      assert.equal(code, 2);
      assert.match(stderr, /neither a public key nor the name of a file/);
    }
  });

  test("is read as an argument of its own too, dashes and all", async () => {
    const pem = publicKeyPem(keys.b.publicKey);
    for (const args of [
      ["verify", "nowhere", "--public-key", pem],
      ["verify", "nowhere", "--public-key", keys.a.publicKey, "--trusted-key", pem],
    ]) {
      const { code, stderr } = await capsule(args);
      assert.equal(code, 2);
      assert.match(stderr, /nowhere cannot be read/);
    }
    const directory = await newDirectory();
    const out = join(directory, "1.root.json");
    const made = await capsule(["root", "init", "--root-key", pem, "--publisher-key", publicKeyPem(keys.a.publicKey), "--out", out]);
    assert.equal(made.code, 0, made.stderr);
    const root = JSON.parse(await readFile(out, "utf8"));
    assert.deepEqual([root.rootKeys.keys, root.publisherKeys.keys], [[keys.b.publicKey], [keys.a.publicKey]]);
  });

  test("may have a passphrase, and openssl reads it", async () => {
    const directory = await newDirectory();
    const [file, mine, right, wrong] = ["key.pem", "mine.pem", "right", "wrong"].map((name) => join(directory, name));
    await writeFile(right, "sword fish\nand more\n", { mode: 0o600 });
    await writeFile(wrong, "tuna fish\n", { mode: 0o600 });
    await openssl("genpkey", "-algorithm", "ed25519", "-out", file, "-aes256", "-pass", "pass:sword fish");
    const read = (path, ...more) => capsule(["keygen", "--public-of", path, ...more]);
    const good = await read(file, "--passphrase-file", right);
    assert.deepEqual([good.code, good.stderr], [0, ""]);
    const byVariable = await capsule(["keygen", "--public-of", file], { env: { RENDEZVOUS_PASSPHRASE_FILE: right } });
    assert.equal(byVariable.stdout, good.stdout);
    const bad = await read(file, "--passphrase-file", wrong);
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /the passphrase is wrong/);
    const made = await capsule(["keygen", "--json", "--for", "root", "--out", mine, "--passphrase-file", right]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(await readFile(mine, "utf8"), /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/);
    const { publicKey } = JSON.parse(made.stdout);
    assert.equal((await read(mine, "--passphrase-file", right)).stdout, `${publicKey}\n`);
    const { stdout } = await openssl("pkey", "-in", mine, "-passin", "pass:sword fish", "-pubout");
    assert.equal(stdout, publicKeyPem(publicKey));
  });

  test("of a root is offered a passphrase on a terminal, and is asked for it there", async (context) => {
    const cwd = await newDirectory();
    /** In a terminal of its own, which is util-linux's, where somebody answers each prompt. */
    const inTerminal = async (args, answers) => {
      const child = spawn("script", ["--quiet", "--return", "--command", `exec ${CAPSULE} ${args}`, "/dev/null"], {
        cwd,
        env: { PATH: process.env.PATH, TERM: "xterm" },
        stdio: ["pipe", "pipe", "pipe"],
      });
      context.after(() => child.kill("SIGKILL"));
      let prompts = 0;
      let shown = "";
      child.stdout.setEncoding("utf8").on("data", (text) => {
        shown += text;
        for (const seen = shown.match(/(Enter\)|again|key\.pem): /g)?.length ?? 0; prompts < seen; prompts++)
          child.stdin.write(`${answers[prompts]}\n`);
      });
      const [code] = await once(child, "close");
      return { code, shown };
    };
    const made = await inTerminal("keygen --for root", ["sword fish", "sword fish"]);
    assert.equal(made.code, 0, made.shown);
    assert.match(await readFile(join(cwd, "root-key.pem"), "utf8"), /BEGIN ENCRYPTED/);
    const read = await inTerminal("keygen --public-of root-key.pem", ["sword fish"]);
    assert.equal(read.code, 0, read.shown);
    assert.ok(made.shown.includes(read.shown.trim().split(/\s+/).at(-1)));
    const other = await inTerminal("keygen --for root --out other.pem", ["sword fish", "tuna fish"]);
    assert.equal(other.code, 2);
    assert.ok(!existsSync(join(cwd, "other.pem")));
    assert.equal((await inTerminal("keygen --for root --out plain.pem", [""])).code, 0);
    assert.match(await readFile(join(cwd, "plain.pem"), "utf8"), /BEGIN PRIVATE/);
  });

  test("that others can read gets a warning", async () => {
    const file = join(await newDirectory(), "key.pem");
    await writeFile(file, keys.a.privateKey, { mode: 0o644 });
    const open = await capsule(["keygen", "--public-of", file]);
    assert.deepEqual([open.code, open.stdout], [0, `${keys.a.publicKey}\n`]);
    assert.match(open.stderr, /^warning: others can read .*chmod 600/);
  });

  test("is followed by the next steps of its role", async () => {
    for (const [role, name, says, not] of [
      ["publisher", "capsule-key.pem", /capsule publish --key/, /stick in a safe/],
      ["root", "root-key.pem", /capsule root sign/, /capsule publish|secret RENDEZVOUS/],
      ["node", "node-key.pem", /capsule announce --key/, /capsule publish|secret RENDEZVOUS/],
    ]) {
      const cwd = await newDirectory();
      const { code, stdout } = await capsule(["keygen", "--for", role], { cwd });
      assert.equal(code, 0);
      assert.match(stdout, says);
      assert.doesNotMatch(stdout, not);
      assert.ok(existsSync(join(cwd, name)));
    }
  });
});

describe("no secret is shown", () => {
  const pem = `-----BEGIN PRIVATE KEY-----\n${keys.a.privateKey}\n-----END PRIVATE KEY-----\n`;
  const password = "http://user:hunter2@127.0.0.1:9";
  const COMMANDS = {
    "keygen": [["--public-of", pem], ["--out", pem, "--json", "--public-of", pem], ["--out", pem], [`--out=${pem}`, "--for", "root"]],
    "publish": [["--key", pem], [`--key=${pem}`, "--json"], ["--beacon", password], ["--to", "s3://key:hunter2@bucket"], ["--include", password], ["--revoked", pem], ["--probe", `a=${password}`]],
    "watch": [["--every", "5m", "--key", pem], ["--every", pem]],
    "announce": [["--key", pem], ["--beacon", password], ["--peer-id", pem]],
    "ticket": [["--key", pem], ["--peer-id", "a", "--key", pem, "--json"], ["--out", pem]],
    "cosign": [["peers.json", "--key", pem], [pem, "--public-key", keys.a.publicKey], [password, "--public-key", keys.a.publicKey]],
    "verify": [[pem, "--public-key", keys.b.publicKey], [`${password}/peers.json`, "--public-key", keys.b.publicKey], ["peers.json", "--public-key", pem], ["peers.json", "--root", pem]],
    "check": [[`${password}/peers.json`, "--public-key", keys.b.publicKey], ["--beacon", password], [pem, "--json", "--public-key", keys.b.publicKey]],
    "explain": [[pem], [password]],
    "diff": [[pem, pem], [password, pem]],
    "inspect": [[pem], [password], ["--json", password]],
    "man": [["--out", pem]],
    "root init": [["--root-key", keys.b.publicKey, "--publisher-key", keys.b.publicKey, `--out=${pem}`], ["--root-key", pem, "--publisher-key", keys.b.publicKey], ["--root-key", keys.b.publicKey, "--publisher-key", `${pem},${pem}`]],
    "root sign": [["1.root.json", "--key", pem], [pem, "--key", "key.pem"]],
    "root verify": [[pem], [password], ["--from", pem, "."]],
    "root add-key": [["1.root.json", "--publisher-key", pem], [pem, "--publisher-key", keys.b.publicKey]],
    [keys.a.privateKey]: [[]],
  };
  for (const [command, cases] of Object.entries(COMMANDS)) {
    test(command === keys.a.privateKey ? "as a command" : `by ${command}`, async () => {
      for (const args of cases) {
        for (const more of [[], ["--json"], ["--no-such-option"]]) {
          const given = [...command.split(" "), ...args, ...more];
          const { code, stdout, stderr } = await capsule(given, { env: { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.b.privateKey } });
          assert.notEqual(code, 0);
          for (const secret of [keys.a.privateKey, keys.b.privateKey, "hunter2", "BEGIN PRIVATE"])
            assert.ok(!(stdout + stderr).includes(secret), `${JSON.stringify(given)}\n${stdout}${stderr}`);
        }
      }
    });
  }

  test("that is the name of a file which is there", async () => {
    const directory = await newDirectory();
    const privateKey = await slashlessKey();
    const file = join(directory, `-----BEGIN PRIVATE KEY-----\n${privateKey}\n-----END PRIVATE KEY-----\n`);
    const capsules = [file, join(directory, privateKey), join(directory, privateKey.slice(5))];
    for (const name of capsules) await writeFile(name, JSON.stringify({ peers: [] }));
    for (const name of capsules) {
      for (const args of [["inspect", name], ["diff", name, name], ["explain", name], ["keygen", "--out", join(directory, privateKey.slice(6))]]) {
        for (const more of [[], ["--json"]]) {
          const { stdout, stderr } = await capsule([...args, ...more]);
          assert.ok(stdout + stderr !== "" && !(stdout + stderr).includes(privateKey.slice(6)), `${args}\n${stdout}${stderr}`);
        }
      }
    }
  });

  test("whose beginning is missing", async () => {
    const privateKey = await slashlessKey();
    for (const cut of [1, 5, 12, 24].map((start) => privateKey.slice(start))) {
      for (const args of [["inspect", cut], ["keygen", "--public-of", cut], ["publish", "--beacon", cut], ["publish", cut], ["who", cut]]) {
        for (const more of [[], ["--json"]]) {
          const { code, stdout, stderr } = await capsule([...args, ...more]);
          assert.equal(code, 2, stderr);
          assert.ok(!(stdout + stderr).includes(cut), stdout + stderr);
        }
      }
    }
  });

  /** A private key whose base64 can be a part of a file's name. */
  async function slashlessKey() {
    for (;;) {
      const { stdout } = await capsule(["keygen", "--print-private-key"]);
      const privateKey = stdout.split("\n")[1];
      if (!privateKey.includes("/")) return privateKey;
    }
  }

  test("in the report of a run that went well all the same", async (context) => {
    const [beacon] = await started(context, serveJson(answer([signTicket(newPeer())])));
    for (const more of [[], ["--json"]]) {
      const args = ["publish", "--beacon", beacon.url, "--include", password, "--out", await newDirectory(), ...more];
      const { code, stdout, stderr } = await capsule(args, { env: { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey } });
      assert.equal(code, 0, stderr);
      assert.ok(!(stdout + stderr).includes("hunter2") && stdout.includes("127.0.0.1:9"), stdout + stderr);
    }
  });

  test("that looks like a key, in the place of the name of its file", async () => {
    const seed = Buffer.alloc(32, 7);
    for (const text of [seed.toString("base64"), seed.toString("base64url"), seed.toString("hex")]) {
      for (const args of [["keygen", "--public-of", text], ["publish", "--beacon", "http://127.0.0.1:9", "--key", text], ["publish", text]]) {
        const { code, stdout, stderr } = await capsule([...args, "--json"]);
        assert.equal(code, 2);
        assert.ok(!(stdout + stderr).includes(text), stdout + stderr);
      }
    }
  });
});

describe("the network is reached", () => {
  /** A SOCKS5 proxy that takes everybody to one place, and writes down where they wanted to go. */
  const serveSocks = (port) => {
    const wanted = [];
    const server = serveRaw((socket) => {
      let step = 0;
      socket.on("data", (data) => {
        step += 1;
        if (step === 1) return socket.write(Buffer.of(5, 0));
        if (step === 2) {
          wanted.push(data);
          const upstream = connect(port, "127.0.0.1", () => socket.write(Buffer.of(5, 0, 0, 1, 127, 0, 0, 1, 0, 0)));
          upstream.on("data", (answer) => socket.write(answer)).on("error", () => socket.destroy()).on("end", () => socket.end());
          socket.on("data", (request) => step > 2 && upstream.write(request));
        }
      });
    });
    return server.then((started) => ({ ...started, wanted }));
  };

  test("through a SOCKS proxy, which looks up names where it is asked to", async (context) => {
    const [beacon] = await started(context, serveJson(answer([signTicket(newPeer())])));
    const port = Number(new URL(beacon.url).port);
    for (const [scheme, host, type] of [["socks5", "127.0.0.1", 1], ["socks5h", "beacon.invalid", 3]]) {
      const [proxy] = await started(context, serveSocks(port));
      const env = { ALL_PROXY: proxy.url.replace("http", scheme) };
      const { code, stdout } = await publish([`http://${host}:${port}`], [], { env });
      assert.equal(code, 0, stdout);
      assert.deepEqual(proxy.wanted.map((request) => request[3]), [type]);
    }
  });

  test("through no proxy that cannot be obeyed: nothing is sent, and the variable is named", async (context) => {
    const [beacon] = await started(context, serveJson(answer([signTicket(newPeer())])));
    for (const [name, value] of [
      ["ALL_PROXY", "socks6://127.0.0.1:1"],
      ["all_proxy", "ftp://127.0.0.1:1"],
      ["HTTPS_PROXY", "http://user:hunter2@127.0.0.1:99999"],
      ["https_proxy", "http://"],
      ["HTTP_PROXY", "http://127.0.0.1:port"],
      ["http_proxy", "not a proxy"],
    ]) {
      const { code, stderr } = await publish([beacon.url], [], { env: { [name]: value } });
      assert.equal(code, 2, value);
      assert.ok(stderr.includes(`${name} must be`) && !stderr.includes("hunter2"), stderr);
    }
    assert.equal(beacon.requests.length, 0);
  });

  test("past the proxy for hosts in NO_PROXY, as curl reads it", async (context) => {
    const [beacon, dead] = await started(context, serveJson(answer([signTicket(newPeer())])), serveDead());
    for (const [list, code] of [
      ["127.0.0.1", 0],
      ["example.org, 127.0.0.0/8", 0],
      ["*", 0],
      ["example.org", 3],
      ["127.0.0.2/32", 3],
    ])
      assert.equal((await publish([beacon.url], [], { env: { ALL_PROXY: dead.url, NO_PROXY: list } })).code, code, list);
  });

  test("at no port that is none, and at no bucket without a scheme", async () => {
    const port = await capsule(["inspect", "http://127.0.0.1:99999/peers.json"]);
    assert.deepEqual([port.code, port.stdout], [2, ""]);
    assert.match(port.stderr, /a port from 1 to 65535/);
    for (const endpoint of ["127.0.0.1:9000", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://user:hunter2@127.0.0.1"]) {
      const env = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_ENDPOINT_URL: endpoint, RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey };
      const { code, stderr } = await capsule(["publish", "--beacon", "http://127.0.0.1:9", "--to", "s3://bucket"], { env });
      assert.equal(code, 2, stderr);
      assert.ok(stderr.includes("AWS_ENDPOINT_URL") && !stderr.includes("hunter2"), stderr);
    }
  });
});

describe("a variable", () => {
  test("whose name is misspelt is named, and others' are nobody's business", async () => {
    const run = (env) => capsule(["keygen", "--public-of", "nowhere.pem"], { env });
    const misspelt = await run({ RENDEZVOUS_TRUSTED_TICKET_KEY: keys.a.publicKey });
    assert.equal(misspelt.code, 2);
    assert.match(misspelt.stderr, /RENDEZVOUS_TRUSTED_TICKET_KEY is not a variable.*RENDEZVOUS_TRUSTED_TICKET_KEYS is/);
    assert.match((await run({ RENDEZVOUS_OTHER: "1", TRUSTED_TICKET_KEY: "1" })).stderr, /nowhere\.pem cannot be read/);
  });

  test("SOURCE_DATE_EPOCH of more than a year ago signs nothing, and of less does", async () => {
    const cwd = await newDirectory();
    const [args, key] = [["ticket", "--peer-id", "node", "--out", "-"], { RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: keys.a.privateKey }];
    const year = 365 * 86_400_000;
    const run = (millis) => capsule(args, { env: { ...at(YESTERDAY + millis), ...key }, cwd });
    const { code, stderr } = await run(-year);
    assert.equal(code, 2);
    assert.match(stderr, /SOURCE_DATE_EPOCH says that it is .*more than a year before this machine's clock/);
    assert.equal((await run(2 * 86_400_000 - year)).code, 0);
  });

  test("SOURCE_DATE_EPOCH of 1980, as nix-shell sets it, signs nothing, and explains what is refused", async (context) => {
    const env = { SOURCE_DATE_EPOCH: "315532800", RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: keys.a.privateKey };
    const cwd = await newDirectory();
    for (const args of [
      ["ticket", "--peer-id", "node"],
      ["root", "init", "--root-key", keys.a.publicKey, "--publisher-key", keys.b.publicKey],
      ["publish", "--beacon", "http://127.0.0.1:9"],
    ]) {
      const { code, stderr } = await capsule(args, { env, cwd });
      assert.equal(code, 2);
      assert.match(stderr, /SOURCE_DATE_EPOCH says that it is 1980-01-01.*env -u SOURCE_DATE_EPOCH/);
    }
    assert.deepEqual(await readdir(cwd), []);
    const [beacon] = await started(context, serveJson(answer([signTicket(newPeer())])));
    const { out } = await publish([beacon.url]);
    const verified = await capsule(["verify", join(out, "peers.json"), "--public-key", keys.a.publicKey, "--json"], { env });
    assert.equal(verified.code, 1);
    assert.match(JSON.parse(verified.stdout).advice, /SOURCE_DATE_EPOCH sets the time to 1980-01-01/);
  });
});

test("completions and manual pages know every command", async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, stdout } = await capsule(["completions", shell]);
    assert.equal(code, 0);
    for (const word of ["publish", "cosign", "passphrase-file"]) assert.ok(stdout.includes(word), `${shell} ${word}`);
  }
  const cwd = await newDirectory();
  const { code, stderr } = await capsule(["man", "--out", "pages"], { cwd });
  assert.deepEqual([code, stderr], [0, ""]);
  const pages = await readdir(join(cwd, "pages"));
  for (const page of ["capsule.1", "capsule-publish.1", "capsule-root-init.1"]) assert.ok(pages.includes(page), pages.join(" "));
  assert.match(await readFile(join(cwd, "pages/capsule-publish.1"), "utf8"), /RENDEZVOUS_CAPSULE_PRIVATE_KEY/);
});

test("- is the standard input, and the standard output", async () => {
  const cwd = await newDirectory();
  const run = async (args, input) => {
    const child = spawn(CAPSULE, args, { cwd, env: {}, stdio: "pipe" });
    child.stdin.end(input);
    return finished(child);
  };
  const key = `${keys.a.privateKey}\n`;
  assert.equal((await run(["keygen", "--public-of", "-"], key)).stdout, `${keys.a.publicKey}\n`);
  const ticket = await run(["ticket", "--peer-id", "node", "--key", "-", "--out", "-"], key);
  assert.deepEqual([ticket.code, JSON.parse(ticket.stdout).payload.peerId], [0, "node"]);
  const root = await run(["root", "init", "--root-key", keys.a.publicKey, "--publisher-key", "-", "--out", "-"], keys.b.publicKey);
  assert.equal(JSON.parse(root.stdout).rootVersion, 1);
  const next = await run(["root", "renew", "-", "--out", "-"], root.stdout);
  assert.equal(JSON.parse(next.stdout).rootVersion, 2);
  assert.equal((await run(["inspect", "--json", "-"], ticket.stdout)).code, 0);
  assert.deepEqual(await readdir(cwd), []);
});

test("-h is short, and --help has all", async () => {
  for (const command of [["publish"], ["verify"], ["root", "init"], ["keygen"]]) {
    const [short, long] = await Promise.all(["-h", "--help"].map((help) => capsule([...command, help])));
    assert.deepEqual([short.code, long.code], [0, 0]);
    assert.ok(long.stdout.includes("Examples:") && !short.stdout.includes("Examples:"));
    assert.ok(short.stdout.split("\n").length * 1.5 < long.stdout.split("\n").length, command.join(" "));
  }
});

describe("publish from real Workers", () => {
  const beacons = [];
  before(async () => {
    for (let number = 0; number < 2; number += 1) beacons.push(await startBeacon({ vars: { COMMUNITIES: "everyone,others,nobody,shown" } }));
  });
  after(() => Promise.all(beacons.map((beacon) => beacon.stop())));

  async function announce(beacon, community, ticket) {
    const response = await fetch(`${beacon.url}/announce?community=${community}`, {
      method: "POST",
      body: JSON.stringify({ ticket }),
    });
    assert.equal(response.status, 200, await response.text());
  }

  test("merges what they know, with a dead one among them", async (context) => {
    const [here, both, there] = [newPeer(), newPeer(), newPeer()];
    const now = Date.now();
    await announce(beacons[0], "everyone", signTicket(here, { issuedAt: now - 3_000 }));
    await announce(beacons[0], "everyone", signTicket(both, { issuedAt: now - 2_000, userId: "older" }));
    await announce(beacons[1], "everyone", signTicket(both, { issuedAt: now - 1_000, userId: "newer" }));
    await announce(beacons[1], "everyone", signTicket(there, { issuedAt: now, community: "everyone" }));
    await announce(beacons[1], "others", signTicket(newPeer()));
    const [dead] = await started(context, serveDead());

    const urls = [...beacons.map(({ url }) => url), dead.url];
    const { code, report, out, read } = await publish(urls, ["--community", "everyone", "--shares", "available"]);
    assert.equal(code, 0);
    assert.deepEqual(report.beacons.map(({ answered, tickets, refused }) => [answered, tickets, refused]), [
      [true, 2, {}],
      [true, 2, {}],
      [false, 0, {}],
    ]);
    const { value } = await read();
    assert.deepEqual(value.peers.map(({ payload }) => [payload.peerId, payload.userId]), [
      [there.peerId, "user"],
      [both.peerId, "newer"],
      [here.peerId, "user"],
    ]);

    const file = join(out, "peers.json");
    const verified = await capsule(["verify", file, "--public-key", keys.a.publicKey, "--community", "everyone", "--json"]);
    assert.equal(verified.code, 0, verified.stdout);
    assert.deepEqual([JSON.parse(verified.stdout).live, JSON.parse(verified.stdout).refused], [3, {}]);
  });

  test("refuses to make a capsule of a community that nobody is in", async () => {
    const { code, report, out } = await publish(beacons.map(({ url }) => url), ["--community", "nobody"]);
    assert.deepEqual([code, report.code], [1, "TOO_FEW_PEERS"]);
    assert.deepEqual(report.beacons.map(({ answered, problem }) => [answered, problem]), [
      [true, undefined],
      [true, undefined],
    ]);
    assert.deepEqual(await readdir(out), []);
  });

  test("inspect shows a beacon's answer", async () => {
    const ticket = signTicket(newPeer());
    await announce(beacons[0], "shown", ticket);
    const { code, stdout } = await capsule(["inspect", `${beacons[0].url}/peers?community=shown`]);
    assert.equal(code, 0);
    assert.ok(stdout.includes(ticket.payload.peerId));
  });
});

describe("verify", () => {
  describe("judges every test vector:", async () => {
    const vectors = JSON.parse(await readFile(join(ROOT, "tests/vectors/capsules.json"), "utf8"));
    for (const vector of vectors) {
      test(vector.name, async () => {
        const directory = await newDirectory();
        const file = join(directory, "peers.json");
        await writeFile(file, vector.file);
        if (typeof vector.sig === "string") await writeFile(`${file}.sig`, vector.sig);
        assert.equal(vector.now % 1000, 0);
        const args = ["verify", file, "--json", "--public-key", vector.publicKey, "--community", vector.community];
        if (vector.newestSeen !== undefined) args.push("--newest-seen", String(vector.newestSeen));
        const { code, stdout } = await capsule(args, { env: { SOURCE_DATE_EPOCH: String(vector.now / 1000) } });
        const result = JSON.parse(stdout);
        if (vector.expect !== "ok") {
          assert.equal(code, 1);
          assert.deepEqual([result.ok, result.code], [false, vector.expect]);
          return;
        }
        assert.equal(code, 0, stdout);
        for (const count of ["live", "recentlySeen"]) if (count in vector) assert.equal(result[count], vector[count], count);
        if ("refused" in vector) {
          const refused = Object.values(result.refused).reduce((sum, count) => sum + count, 0);
          assert.equal(refused, vector.refused);
        }
      });
    }
  });

  /** A capsule of one live peer, one recently seen, and what to verify it with. */
  async function published(context) {
    const tickets = [0, 100_000].map((age) => signTicket(newPeer(), { issuedAt: YESTERDAY - age }));
    const [beacon] = await started(context, serveJson(answer(tickets)));
    const { code, out } = await publish([beacon.url], [], { env: at(YESTERDAY + 60_000) });
    assert.equal(code, 0);
    return { file: join(out, "peers.json"), env: at(YESTERDAY + 120_000) };
  }

  test("says who published, how old it is, how long it holds, and what its tickets are worth", async (context) => {
    const { file, env } = await published(context);
    const { code, stdout } = await capsule(["verify", file, "--public-key", keys.a.publicKey], { env });
    assert.equal(code, 0);
    assert.deepEqual(stdout.split("\n"), [
      `good           ${file}`,
      `publisher      ${keys.a.publicKey}`,
      "community      mainnet",
      `issued         ${rfc3339(YESTERDAY + 60_000)} (1m ago)`,
      `expires        ${rfc3339(YESTERDAY + 31 * 60_000)} (in 29m)`,
      "live           1",
      "recently seen  1",
      "refused        0",
      "",
    ]);
  });

  test("names the failure, and what to do", async (context) => {
    const { file, env } = await published(context);
    const { code, stdout } = await capsule(["verify", file, "--public-key", keys.b.publicKey], { env });
    assert.equal(code, 1);
    assert.match(stdout, /^refused +\S+\ncode +SIGNATURE_INVALID\nreason +the detached signature does not fit .*\nadvice +\S/);
  });

  test("checks the detached signature before anything else", async (context) => {
    const { file, env } = await published(context);
    await writeFile(file, "this is not even JSON");
    const { code, stdout } = await capsule(["verify", file, "--public-key", keys.a.publicKey, "--json"], { env });
    assert.deepEqual([code, JSON.parse(stdout).code], [1, "SIGNATURE_INVALID"]);
  });

  test("counts tickets by keys that are not trusted as refused", async (context) => {
    const { file, env } = await published(context);
    const args = ["verify", file, "--public-key", keys.a.publicKey, "--trusted-key", keys.b.publicKey];
    const { code, stdout } = await capsule(args, { env });
    assert.equal(code, 0);
    assert.match(stdout, /^live +0$/m);
    assert.match(stdout, /^refused +2 \(2 UNTRUSTED_PUBLIC_KEY\)$/m);
  });

  test("takes key and community from the environment", async (context) => {
    const { file, env } = await published(context);
    const variables = { ...env, RENDEZVOUS_CAPSULE_PUBLIC_KEY: keys.a.publicKey };
    assert.equal((await capsule(["verify", file], { env: variables })).code, 0);
    const other = await capsule(["verify", file, "--json"], { env: { ...variables, RENDEZVOUS_COMMUNITY: "testnet" } });
    assert.deepEqual([other.code, JSON.parse(other.stdout).code], [1, "COMMUNITY_MISMATCH"]);
  });

  describe("fetches from a URL", () => {
    /** Serves the files of a directory by path, whatever the query. */
    const serveFiles = (files) =>
      serve((request, response) => {
        const body = files[new URL(request.url, "http://host").pathname];
        return body === undefined ? response.writeHead(404).end() : response.end(body);
      });
    const verifyUrl = (url, env, ...args) => capsule(["verify", url, "--public-key", keys.a.publicKey, "--json", ...args], { env });

    test("and the signature from beside it, with the same query", async (context) => {
      const { file, env } = await published(context);
      const [host] = await started(
        context,
        serveFiles({ "/a/peers.json": await readFile(file), "/a/peers.json.sig": await readFile(`${file}.sig`) }),
      );
      const { code, stdout } = await verifyUrl(`${host.url}/a/peers.json?token=x`, env);
      assert.equal(code, 0, stdout);
      assert.deepEqual(host.requests.map(({ url }) => url), ["/a/peers.json?token=x", "/a/peers.json.sig?token=x"]);
    });

    test("and refuses one without a signature", async (context) => {
      const { file, env } = await published(context);
      const [host] = await started(context, serveFiles({ "/peers.json": await readFile(file) }));
      const { code, stdout } = await verifyUrl(`${host.url}/peers.json`, env);
      assert.deepEqual([code, JSON.parse(stdout).code], [1, "SIGNATURE_INVALID"]);
      assert.match(JSON.parse(stdout).error, /missing/);
      // With --signature it is found elsewhere, or is an error of whoever named it.
      assert.equal((await verifyUrl(`${host.url}/peers.json`, env, "--signature", `${file}.sig`)).code, 0);
      assert.equal((await verifyUrl(`${host.url}/peers.json`, env, "--signature", `${host.url}/other.sig`)).code, 3);
    });

    test("and refuses one without an end", async (context) => {
      const [endless] = await started(context, serveEndlessBody());
      const { code, stdout } = await verifyUrl(`${endless.url}/peers.json`, {});
      assert.deepEqual([code, JSON.parse(stdout).code], [1, "MALFORMED"]);
    });

    const UNREACHABLE = {
      "is dead": [serveDead],
      "drips": [serveDrip, "--timeout", "2s"],
      "breaks off": [serveHalf],
      "has no such file": [() => serveHtml(404)],
    };
    for (const [name, [serveBad, ...args]] of Object.entries(UNREACHABLE)) {
      test(`and says that it could not, when the host ${name}`, async (context) => {
        const [host] = await started(context, serveBad());
        const { code, stdout, stderr } = await verifyUrl(`${host.url}/peers.json`, {}, ...args);
        assert.equal(code, 3);
        assert.equal(JSON.parse(stdout).ok, false);
        assert.match(stderr, /could not be fetched/);
      });
    }
  });

  const USAGE = {
    "without a key": [["verify", "peers.json"], /--public-key.*RENDEZVOUS_CAPSULE_PUBLIC_KEY/],
    "of a file that is not there": [["verify", "peers.json", "--public-key", keys.a.publicKey], /peers\.json cannot be read/],
    "with a mistyped key": [["verify", "peers.json", "--public-key", keys.a.publicKey.slice(1)], /public key is/],
    "with the private key": [["verify", "peers.json", "--public-key", keys.a.privateKey], /make a new one/],
    "of a URL that is none": [["verify", "ftp://host/peers.json", "--public-key", keys.a.publicKey], /https:\/\//],
    "with a time that is none": [["verify", "peers.json", "--newest-seen", "yesterday"], /--newest-seen/],
  };
  for (const [name, [args, message]] of Object.entries(USAGE)) {
    test(`${name} is a usage error`, async () => {
      const { code, stdout, stderr } = await capsule(args, { cwd: await newDirectory() });
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, message);
      assert.ok(!stderr.includes(keys.a.privateKey));
    });
  }
});

describe("inspect", () => {
  const file = async (value) => {
    const path = join(await newDirectory(), "peers.json");
    await writeFile(path, typeof value === "string" ? value : JSON.stringify(value));
    return path;
  };

  test("shows what is claimed, and that nothing is checked", async () => {
    const data = `\u202e${"☂".repeat(50)}`;
    const ticket = signTicket(newPeer({ userId: "Zoë" }), { issuedAt: 1_700_000_000_000, data });
    const path = await file({
      version: 1,
      community: "mainnet",
      issuedAt: 1_700_000_000_000,
      expiresAt: "never",
      peers: [ticket, { ...ticket, signature: "forged" }, 7],
      signature: "none",
      algorithm: "ed25519",
      motd: "hello",
    });
    const env = { SOURCE_DATE_EPOCH: "1700000060" };
    const { code, stdout } = await capsule(["inspect", path], { env });
    assert.equal(code, 0);
    assert.match(stdout, /^UNVERIFIED +\S+peers\.json$/m);
    assert.match(stdout, /^issued +2023-11-14T22:13:20Z \(1m ago\)$/m);
    assert.match(stdout, /^expires +never$/m);
    assert.match(stdout, /^other fields +motd$/m);
    assert.match(stdout, new RegExp(`^${ticket.payload.peerId} +Zoë +in 2m +\\S+ +\\\\u\\{202e\\}☂{39}…$`, "m"));
    assert.match(stdout, /\(no ticket: signature must be the base64 of 64 bytes\)/);
    assert.match(stdout, /none of this is checked/);

    const json = JSON.parse((await capsule(["inspect", path, "--json"])).stdout);
    assert.equal(json.verified, false);
    assert.equal(json.expiresAt, "never");
    assert.deepEqual(json.otherFields, ["motd"]);
    assert.deepEqual([json.peers[0].peerId, json.peers[0].data], [ticket.payload.peerId, data]);
    assert.ok(json.peers[1].error && json.peers[2].error);
  });

  test("does not let a file write to the terminal", async () => {
    const path = await file({ community: "\u001b[2J\u202eevil", "\u001b]0;title\u0007": 1, peers: [{ "\u001b[31m": 1 }] });
    const { code, stdout } = await capsule(["inspect", path]);
    assert.equal(code, 0);
    assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    assert.ok(stdout.includes("evil"));
  });

  test("says that it is no JSON object, or not there", async (context) => {
    for (const text of ["", "[1]", "<html>", "\u0000"]) {
      const { code, stderr } = await capsule(["inspect", await file(text)]);
      assert.equal(code, 1);
      assert.match(stderr, /no JSON object/);
    }
    assert.equal((await capsule(["inspect", "nowhere"])).code, 2);
    const [dead] = await started(context, serveDead());
    assert.equal((await capsule(["inspect", dead.url])).code, 3);
  });
});

test("a reader that has seen enough is not an error", async () => {
  const child = spawn(CAPSULE, ["keygen", "--print-private-key"], { stdio: ["ignore", "pipe", "pipe"], env: {} });
  child.stdout.destroy();
  const [code] = await once(child, "close");
  assert.equal(code, 0);
});

test("a result that cannot be written is an error", { skip: !existsSync("/dev/full") }, async () => {
  const run = promisify(execFile)("sh", ["-c", '"$0" keygen --print-private-key >/dev/full', CAPSULE]);
  await assert.rejects(run, ({ code, stderr }) => code === 2 && stderr.includes("standard output"));
});
