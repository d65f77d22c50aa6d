// What `capsule publish` and `capsule watch` do beyond asking and signing: shares, nodes, revocations, freshness,
// minisign, the command afterwards, and going on for ever. (What they do with buckets: capsule/tests/s3.rs.)

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createPublicKey, randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ADVICE, findMinisign } from "../tools/minisign.mjs";
import { serve, serveDead, serveHtml, serveJson, serveSilence, started } from "./hostile.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { CAPSULE, YESTERDAY, at, finished, requireCapsule, runCapsule } from "./program.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DAY_MS = 24 * 60 * 60 * 1_000;
/** Where nobody is asked but who never answers. */
const IMPATIENT = ["--timeout", "1s"];
const FILES = ["peers.json", "peers.json.minisig", "peers.json.sig"];

const keys = JSON.parse(await readFile(join(ROOT, "tests/vectors/keys.json"), "utf8"));
const SIGNS = { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey };

let scratch;
before(async () => {
  requireCapsule();
  scratch = await mkdtemp(join(tmpdir(), "publish-test-"));
});
after(() => rm(scratch, { recursive: true, force: true }));

let directories = 0;
/** @returns {Promise<string>} A new empty directory. With a second random part its path might look like a key, and not be shown. */
async function newDirectory() {
  const path = join(scratch, `case-${(directories += 1)}`);
  await mkdir(path);
  return path;
}

/** @returns {Promise<string>} A new file with this in it. */
async function newFile(content) {
  const path = join(await newDirectory(), "file.json");
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

/**
 * Runs the program, with no variables but those given.
 *
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 */
const capsule = (args, env) => runCapsule(args, { cwd: scratch, env });

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
  const run = await capsule(["publish", "--json", "--out", out, ...given, ...args], { ...SIGNS, ...env });
  const report = run.stdout === "" ? undefined : JSON.parse(run.stdout);
  return { ...run, out, report };
}

const readAll = (out) => Promise.all(FILES.map((name) => readFile(join(out, name), "utf8")));
const readCapsule = async (out) => JSON.parse(await readFile(join(out, "peers.json"), "utf8"));
const peerIds = (value) => value.peers.map((ticket) => ticket.payload.peerId);

/** What a beacon answers to GET /peers. */
const answer = (tickets) => ({ ok: true, community: "mainnet", serverTime: 0, total: 0, peers: tickets });
const serveTickets = (...tickets) => serveJson(answer(tickets));
/** The same with what the beacon says about since when each is present. */
const serveSince = (since, ...tickets) => serveJson({ ...answer(tickets), since });

/** A ticket as a stable node makes it. */
const nodeTicket = (peer, fields = {}) => {
  const issuedAt = fields.issuedAt ?? Date.now();
  return signTicket(peer, { issuedAt, expiresAt: issuedAt + 7 * DAY_MS, community: "mainnet", ...fields });
};

const verify = async (out, ...args) => {
  const file = join(out, "peers.json");
  return JSON.parse((await capsule(["verify", file, "--public-key", keys.a.publicKey, "--json", ...args])).stdout);
};

describe("help", () => {
  const VARIABLES = [
    "RENDEZVOUS_CAPSULE_TO",
    "RENDEZVOUS_CAPSULE_MIN_BEACONS",
    "RENDEZVOUS_CAPSULE_SHARES",
    "RENDEZVOUS_CAPSULE_INCLUDE",
    "RENDEZVOUS_CAPSULE_REVOKED",
    "RENDEZVOUS_CAPSULE_HOST",
    "RENDEZVOUS_CAPSULE_CADENCE_MS",
    "AWS_ACCESS_KEY_ID",
    "SOURCE_DATE_EPOCH",
  ];
  const EXITS = { publish: [0, 1, 2, 3], watch: [0, 2] };
  for (const [command, exits] of Object.entries(EXITS)) {
    test(`of ${command} has examples, the hosts, every variable and every exit code, in 80 columns`, async () => {
      const { code, stdout } = await capsule([command, "--help"], { COLUMNS: "80" });
      assert.equal(code, 0);
      assert.match(stdout, /^Examples:\n {2}\S/m);
      assert.match(stdout, /^ {2}github-pages +10m +Cache-Control: max-age=600/m);
      for (const name of VARIABLES) assert.match(stdout, new RegExp(`^  ${name}\\b`, "m"));
      for (const exit of exits) assert.match(stdout, new RegExp(`^  ${exit}  \\S`, "m"));
      const teaching = stdout.slice(stdout.indexOf("Examples:"));
      assert.deepEqual(teaching.split("\n").filter((line) => line.length > 80), []);
    });
  }
});

describe("under attack publish", () => {
  test("says who lists which key for a peerId, leaves out what the majority contradicts, and names origins", async (context) => {
    const shared = newPeer({ peerId: "shared" });
    const thief = newPeer({ peerId: "shared" });
    const other = newPeer();
    const right = signTicket(shared);
    const [one, two, lying] = await started(
      context,
      serveTickets(right, signTicket(other, { issuedAt: Date.now() - 1_000 })),
      serveTickets(right, signTicket(other, { issuedAt: Date.now() - 2_000 })),
      serveTickets(signTicket(thief, { issuedAt: Date.now() + 5_000 }), signTicket(newPeer())),
    );
    const urls = [one, two, lying].map(({ url }) => url);
    const { code, report, out } = await publish(urls, ["--shares", "available"]);
    assert.equal(code, 0);
    const [disagreement] = report.disagreements;
    assert.equal(report.disagreements.length, 1);
    assert.deepEqual([disagreement.peerId, disagreement.chosen], ["shared", shared.publicKey]);
    const listed = Object.fromEntries(disagreement.keys.map(({ publicKey, beacons }) => [publicKey, beacons]));
    assert.deepEqual(listed, { [shared.publicKey]: [one.url, two.url], [thief.publicKey]: [lying.url] });
    const value = await readCapsule(out);
    assert.equal(value.peers.length, 3);
    assert.equal(value.peers.find(({ payload }) => payload.peerId === "shared").publicKey, shared.publicKey);
    assert.deepEqual(value.origins.beacons, urls);
    const origins = Object.fromEntries(peerIds(value).map((peerId, position) => [peerId, value.origins.peers[position]]));
    assert.deepEqual([origins.shared, origins[other.peerId]], [[0, 1], [0, 1]]);

    const text = await capsule(["publish", "--out", out, "--shares", "available", "--beacon", urls.join(",")], SIGNS);
    assert.ok(text.stdout.includes(`disagreement about shared: `), text.stdout);
    assert.ok(text.stdout.includes(`; taken: ${shared.publicKey}\n`));
  });

  test("keeps the owners of names that a stranger claims at every beacon, whatever one of three says", async (context) => {
    const owners = Array.from({ length: 6 }, () => newPeer());
    const strangers = owners.map(({ peerId }) => newPeer({ peerId }));
    const late = (peer) => signTicket(peer, { issuedAt: Date.now() + 5_000 });
    const right = [...owners.map((peer) => signTicket(peer, { issuedAt: Date.now() - 1_000 })), ...strangers.map(late)];
    const since = right.map((_, position) => position);
    const [one, two, hides, lies] = await started(
      context,
      serveSince(since, ...right),
      serveSince(since, ...right),
      serveTickets(...strangers.map(late)),
      serveSince(since.toReversed(), ...right),
    );
    for (const [hostile, shares] of [[hides, "available"], [lies, "equal"]]) {
      const urls = [one.url, hostile.url, two.url];
      const { code, report, out } = await publish(urls, ["--shares", shares]);
      assert.equal(code, 0, JSON.stringify(report));
      const { peers, origins } = await readCapsule(out);
      const keysOf = (list) => list.map(({ publicKey }) => publicKey).sort();
      assert.deepEqual(keysOf(peers), keysOf(owners));
      const listedBy = hostile === hides ? [0, 2] : [0, 1, 2];
      assert.deepEqual([origins.beacons, origins.peers], [urls, peers.map(() => listedBy)]);
      // All is said: who lists which key, and that one beacon lists both.
      assert.equal(report.disagreements.length, owners.length);
      assert.deepEqual(report.beacons.map(({ tickets }) => tickets), hostile === hides ? [12, 6, 12] : [12, 12, 12]);
      for (const { peerId, keys, chosen } of report.disagreements) {
        assert.equal(chosen, owners.find((owner) => owner.peerId === peerId).publicKey);
        const stranger = keys.find(({ publicKey }) => publicKey !== chosen);
        assert.deepEqual([keys.length, stranger.beacons], [2, urls]);
      }
    }
  });

  test("names the beacon that limits the capsule, and does without its share when told to", async (context) => {
    const few = Array.from({ length: 3 }, () => newPeer());
    const many = Array.from({ length: 11 }, () => newPeer());
    const [poor, rich, alsoRich] = await started(
      context,
      ...[few, many.slice(0, 6), many.slice(5)].map((peers) => serveTickets(...peers.map((peer) => signTicket(peer)))),
    );
    const urls = [poor, rich, alsoRich].map(({ url }) => url);
    // Three of each, and the one that two of three list.
    const equal = await publish(urls);
    assert.deepEqual([equal.code, equal.report.peers], [0, 10]);
    assert.deepEqual(equal.report.limitedBy, { beacon: poor.url, peers: 3 });
    const text = await capsule(["publish", "--out", equal.out, "--beacon", urls.join(",")], SIGNS);
    assert.ok(text.stdout.includes(`beacon ${poor.url} lists 3 peers and limits the capsule to 10 (`), text.stdout);
    const available = await publish(urls, [], { env: { RENDEZVOUS_CAPSULE_SHARES: "available" } });
    assert.deepEqual([available.report.peers, available.report.limitedBy], [14, undefined]);
  });

  test("keeps whoever most beacons list, whatever one of three leaves out", async (context) => {
    const many = Array.from({ length: 25 }, () => signTicket(newPeer()));
    const own = newPeer();
    const [one, two, short] = await started(context, serveTickets(...many), serveTickets(...many), serveTickets(signTicket(own)));
    const { code, report, out } = await publish([one, two, short].map(({ url }) => url));
    assert.deepEqual([code, report.peers, report.limitedBy], [0, 26, undefined]);
    assert.ok(peerIds(await readCapsule(out)).includes(own.peerId));
  });

  test("stops at 1,048,576 bytes, leaves out of every share alike, and says how many", async (context) => {
    const longest = () =>
      signTicket(newPeer({ peerId: randomUUID().padEnd(128, "-"), userId: '"'.repeat(128) }), {
        community: "mainnet",
        data: '"'.repeat(512),
      });
    const lists = Array.from({ length: 3 }, () => Array.from({ length: 200 }, longest));
    const urls = (await started(context, ...lists.map((list) => serveTickets(...list)))).map(({ url }) => url);
    const { code, report, stderr, out } = await publish(urls, ["--max-peers", "1000"]);
    assert.equal(code, 0, stderr);
    const { peers, leftOut } = report;
    assert.equal(peers + leftOut, 600);
    const { size } = await stat(join(out, "peers.json"));
    assert.ok(size <= 1_048_576 && size > 1_048_576 - 3 * 1_900, `${size} bytes`);
    const { origins, peers: entries } = await readCapsule(out);
    const shares = urls.map((_, at) => origins.peers.filter((listedBy) => listedBy.includes(at)).length);
    assert.deepEqual(shares, Array.from(urls, () => peers / 3));
    assert.ok(entries.every(({ payload }) => payload.data.length === 512));
    const text = await capsule(["publish", "--max-peers", "1000", "--out", out, "--beacon", urls.join(",")], SIGNS);
    assert.ok(text.stdout.includes(`left out for want of room: ${leftOut} peers. A capsule has at most 1048576 bytes`), text.stdout);
  });

  test("asks for 20 peers where the beacons list as many, unless told otherwise", async (context) => {
    const list = (count) => serveTickets(...Array.from({ length: count }, () => signTicket(newPeer())));
    const [long, short, shorter] = await started(context, list(30), list(4), list(3));
    // One of two is a half, and nobody knows which of them is right.
    const refused = await publish([long.url, short.url]);
    assert.deepEqual([refused.code, refused.report.code, refused.report.peers], [1, "TOO_FEW_PEERS", 8]);
    assert.match((await capsule(["publish", "--out", refused.out, "--beacon", `${long.url},${short.url}`], SIGNS)).stdout, /--min-peers is 20\./);
    const meant = await publish([long.url, short.url], ["--min-peers", "8"]);
    assert.equal(meant.code, 0);
    // One of three cannot keep the others from publishing.
    const three = await publish([long.url, short.url, shorter.url]);
    assert.deepEqual([three.code, three.report.peers], [0, 9]);
  });

  test("does not replace a live capsule by one with less than a third of its peers", async (context) => {
    const many = Array.from({ length: 10 }, () => signTicket(newPeer()));
    const [all, some, few] = await started(context, ...[10, 4, 3].map((count) => serveTickets(...many.slice(0, count))));
    const { out } = await publish([all.url]);
    const files = await readAll(out);
    const refused = await publish([few.url], [], { out });
    assert.deepEqual([refused.code, refused.report.code], [1, "FAR_FEWER_PEERS"]);
    assert.deepEqual(await readAll(out), files);
    const text = await capsule(["publish", "--out", out, "--beacon", few.url], SIGNS);
    assert.match(text.stdout, /^not written: 3 peers found, less than a third of the 10 in .*, which stays until it ends at /m);
    // What would be over before the next run is no better than that.
    const late = await publish([few.url], ["--cadence", "31m", "--lifetime", "2h"], { out });
    assert.deepEqual([late.code, late.report.peers], [0, 3]);
    const enough = await publish([all.url]);
    assert.equal((await publish([some.url], [], { out: enough.out })).code, 0);
  });

  test("gives a beacon one share, however its address is spelt", async (context) => {
    const [beacon, other] = await started(
      context,
      ...[0, 1].map(() => serveTickets(...Array.from({ length: 6 }, () => signTicket(newPeer())))),
    );
    const { port } = new URL(beacon.url);
    const spellings = [`http://localhost:${port}`, `http://LOCALHOST:${port}/`, other.url];
    const { code, report, out } = await publish(spellings, ["--max-peers", "6"]);
    assert.equal(code, 0, JSON.stringify(report));
    const { origins } = await readCapsule(out);
    assert.deepEqual(origins.beacons, [`http://localhost:${port}`, other.url]);
    assert.deepEqual(origins.peers.flat().sort(), [0, 0, 0, 1, 1, 1]);
  });

  test("writes nothing if too few beacons have good tickets, and counts only those", async (context) => {
    const [one, two, empty, dead] = await started(
      context,
      serveTickets(signTicket(newPeer())),
      serveTickets(signTicket(newPeer())),
      serveTickets(),
      serveDead(),
    );
    const { code, out } = await publish([one.url, two.url, dead.url], ["--min-beacons", "2"]);
    assert.equal(code, 0);
    const files = await readAll(out);
    const refused = await publish([one.url, empty.url, dead.url], ["--min-beacons", "2"], { out });
    assert.deepEqual([refused.code, refused.report.code], [1, "TOO_FEW_BEACONS"]);
    assert.deepEqual(await readAll(out), files);
  });
});

describe("a node that is included", () => {
  test("comes first, in the given order, from files and addresses, in the place of what beacons say of its peerId", async (context) => {
    const [first, second, third] = [newPeer({ peerId: "first" }), newPeer({ peerId: "second" }), newPeer({ peerId: "third" })];
    const thief = newPeer({ peerId: "second" });
    const plain = newPeer();
    const [beacon, web] = await started(
      context,
      serveTickets(signTicket(thief), signTicket(plain)),
      serveJson(nodeTicket(second, { issuedAt: Date.now() - 6 * DAY_MS })),
    );
    const files = [await newFile(nodeTicket(first)), await newFile(nodeTicket(third))];
    const { code, report, out } = await publish(
      [beacon.url],
      ["--include", files[1], "--include", `${web.url}/ticket`, "--include", files[0], "--max-peers", "4", "--min-peers", "4"],
    );
    assert.equal(code, 0, JSON.stringify(report));
    const value = await readCapsule(out);
    assert.deepEqual(peerIds(value), ["third", "second", "first", plain.peerId]);
    assert.equal(value.peers[1].publicKey, second.publicKey);
    assert.deepEqual(value.origins, { beacons: [beacon.url], peers: [[], [], [], [0]] });
    assert.deepEqual(report.nodes.map(({ peerId, included }) => [peerId, included]), [["third", true], ["second", true], ["first", true]]);
    assert.deepEqual(report.disagreements, undefined);
    const checked = await verify(out);
    assert.deepEqual([checked.ok, checked.live, checked.refused], [true, 4, {}]);
  });

  test("costs no beacon a place of its share", async (context) => {
    const node = newPeer();
    const [one, two] = await started(
      context,
      serveTickets(signTicket(node)),
      serveTickets(signTicket(newPeer()), signTicket(newPeer())),
    );
    const { code, report } = await publish([one.url, two.url], ["--include", await newFile(nodeTicket(node)), "--min-beacons", "2"]);
    assert.deepEqual([code, report.peers, report.limitedBy], [0, 3, undefined]);
  });

  test("is left out, and only it, when its ticket is not good", async (context) => {
    const now = Date.now();
    const peer = newPeer();
    const revoked = newPeer();
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    const cases = [
      [await newFile(nodeTicket(peer, { expiresAt: now + 7 * DAY_MS + 60_000 })), "LIFETIME_TOO_LONG"],
      [await newFile(nodeTicket(peer, { issuedAt: now - 8 * DAY_MS })), "EXPIRED"],
      [await newFile(nodeTicket(peer, { community: "testnet" })), "COMMUNITY_MISMATCH"],
      [await newFile({ ...nodeTicket(peer), publicKey: newPeer().publicKey }), "SIGNATURE_INVALID"],
      [await newFile(nodeTicket(revoked)), "REVOKED_PUBLIC_KEY"],
      [await newFile("<html>"), "MALFORMED"],
      [await newFile(" ".repeat(1_000_000)), "MALFORMED"],
      [join(scratch, "nowhere.json"), "UNREADABLE"],
    ];
    const good = await newFile(nodeTicket(peer));
    cases.push([good, undefined], [await newFile(nodeTicket(peer)), "DUPLICATE"]);
    const args = cases.flatMap(([source]) => ["--include", source]);
    const list = await newFile({ ticketKeys: [revoked.publicKey] });
    const { code, report, out } = await publish([beacon.url], [...args, "--revoked", list]);
    assert.equal(code, 0);
    assert.deepEqual(report.nodes.map(({ source, problem }) => [source, problem?.code]), cases);
    assert.deepEqual(peerIds(await readCapsule(out)).length, 2);
  });

  test("is left out, and only it, when whoever has its ticket never answers", async (context) => {
    const [silent] = await started(context, serveSilence());
    const source = `${silent.url}/ticket`;
    const good = await newFile(nodeTicket(newPeer({ peerId: "good" })));
    // Nobody else is asked, who would have to answer within it too.
    const { code, report, out } = await publish([], ["--include", source, "--include", good, ...IMPATIENT]);
    assert.equal(code, 0);
    assert.deepEqual(report.nodes.map(({ source, problem }) => [source, problem?.code]), [[source, "TIMED_OUT"], [good, undefined]]);
    assert.deepEqual(peerIds(await readCapsule(out)), ["good"]);
  });

  test("stays out while its probe is not answered with 2xx in time", async (context) => {
    const peers = ["up", "created", "broken", "moved", "dead"].map((peerId) => newPeer({ peerId }));
    const [up, created, broken, moved, dead] = await started(
      context,
      serveHtml(200),
      serveJson({}, { status: 201 }),
      serveHtml(500),
      serveJson({}, { status: 302, headers: { Location: "https://elsewhere.example/" } }),
      serveDead(),
    );
    const args = [];
    for (const peer of peers) args.push("--include", await newFile(nodeTicket(peer)));
    for (const [position, { url }] of [up, created, broken, moved, dead].entries()) {
      args.push("--probe", `${peers[position].peerId}=${url}/healthz?a=b`);
    }
    args.push("--probe", `nobody=${up.url}`);
    const { code, report, out } = await publish([], args);
    assert.equal(code, 0);
    assert.deepEqual(peerIds(await readCapsule(out)), ["up", "created"]);
    assert.deepEqual(
      report.nodes.map(({ peerId, problem }) => [peerId, problem?.code]),
      [["up"], ["created"], ["broken", "PROBE_FAILED"], ["moved", "PROBE_FAILED"], ["dead", "PROBE_FAILED"], ["nobody", "NOTHING_TO_PROBE"]].map(
        ([peerId, code]) => [peerId, code],
      ),
    );
    const text = await capsule(["publish", "--out", out, ...args], SIGNS);
    assert.match(text.stdout, /^left out: .*\(broken\), PROBE_FAILED: .* does not answer: HTTP status 500/m);

    const [silent] = await started(context, serveSilence());
    const waiting = [];
    for (const peerId of ["silent", "plain"]) waiting.push("--include", await newFile(nodeTicket(newPeer({ peerId }))));
    const late = await publish([], [...waiting, "--probe", `silent=${silent.url}/healthz`, ...IMPATIENT]);
    assert.equal(late.code, 0);
    assert.deepEqual(late.report.nodes.map(({ peerId, problem }) => [peerId, problem?.code]), [["silent", "PROBE_FAILED"], ["plain", undefined]]);
    assert.deepEqual(peerIds(await readCapsule(late.out)), ["plain"]);
  });

  test("alone does not replace a capsule that is good, but one that is over or would be before the next", async (context) => {
    const [good, dead] = await started(context, serveTickets(signTicket(newPeer())), serveDead());
    const include = ["--include", await newFile(nodeTicket(newPeer({ peerId: "node" })))];
    const { out } = await publish([good.url]);
    const files = await readAll(out);
    const stays = await publish([dead.url], include, { out });
    assert.deepEqual([stays.code, stays.report.code], [3, "NO_BEACON_ANSWERED"]);
    assert.deepEqual(await readAll(out), files);
    // It lives 30 minutes, of which nothing would be left when the next run's comes.
    const late = await publish([dead.url], [...include, "--cadence", "31m", "--lifetime", "2h"], { out });
    assert.equal(late.code, 0, JSON.stringify(late.report));
    assert.deepEqual(peerIds(await readCapsule(out)), ["node"]);
    // Nothing is there yet.
    const first = await publish([dead.url], include);
    assert.equal(first.code, 0);
    const never = await publish([dead.url], [...include, "--min-beacons", "1"]);
    assert.deepEqual([never.code, never.report.code, await readdir(never.out)], [3, "NO_BEACON_ANSWERED", []]);
    // Without beacons there is nothing to wait for.
    const without = await publish([], include, { out });
    assert.deepEqual([without.code, without.report.peers], [0, 1]);
  });
});

describe("what is revoked", () => {
  test("is not asked, not taken, and passed on", async (context) => {
    const stolen = newPeer();
    const honest = newPeer();
    const [bad, good] = await started(context, serveTickets(signTicket(newPeer())), serveTickets(signTicket(stolen), signTicket(honest)));
    const list = { ticketKeys: [stolen.publicKey], publisherKeys: [keys.b.publicKey], beacons: [bad.url] };
    const { code, report, out } = await publish([`${bad.url}/`, good.url], [], { env: { RENDEZVOUS_CAPSULE_REVOKED: await newFile(list) } });
    assert.equal(code, 0);
    assert.equal(bad.requests.length, 0);
    assert.deepEqual(report.revoked, { ticketKeys: 1, publisherKeys: 1, beacons: 1 });
    assert.deepEqual(report.revokedBeacons, [bad.url]);
    assert.deepEqual(report.beacons.map(({ refused }) => refused), [{ REVOKED_PUBLIC_KEY: 1 }]);
    const value = await readCapsule(out);
    assert.deepEqual(peerIds(value), [honest.peerId]);
    assert.deepEqual(value.revoked, list);
    assert.equal((await verify(out)).ok, true);
  });

  test("is the key itself only in a farewell, which is written whoever is online, and is the last word", async (context) => {
    const [beacon, dead] = await started(context, serveTickets(signTicket(newPeer())), serveDead());
    const list = await newFile({ publisherKeys: [keys.a.publicKey] });
    const { out } = await publish([beacon.url]);
    const files = await readAll(out);
    const unmeant = await publish([beacon.url], ["--revoked", list], { out });
    assert.equal(unmeant.code, 2);
    assert.match(unmeant.stderr, /revokes the very key that is to sign.*--farewell/);
    const pointless = await publish([beacon.url], ["--farewell"], { out });
    assert.equal(pointless.code, 2);
    assert.ok(pointless.stderr.includes(`add ${keys.a.publicKey} there`), pointless.stderr);
    assert.deepEqual(await readAll(out), files);

    const farewell = await publish([dead.url], ["--revoked", list, "--farewell"], { out });
    assert.equal(farewell.code, 0, farewell.stderr);
    assert.deepEqual((await readCapsule(out)).revoked.publisherKeys, [keys.a.publicKey]);
    const after = await publish([beacon.url], [], { out });
    assert.deepEqual([after.code, after.report.code], [1, "REVOKED_PUBLIC_KEY"]);
    const successor = await publish([beacon.url], [], { out, env: { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.b.privateKey } });
    assert.equal(successor.code, 0);
    assert.equal((await capsule(["watch", "--every", "5m", "--farewell"], SIGNS)).code, 2);
  });

  test("is counted, so that an empty list is not taken for a full one", async (context) => {
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    for (const [list, said] of [
      [{}, "revoked: 0 ticket keys, 0 publisher keys, 0 beacons"],
      [{ ticketKeys: [keys.b.publicKey] }, "revoked: 1 ticket key, 0 publisher keys, 0 beacons"],
    ]) {
      const args = ["publish", "--beacon", beacon.url, "--out", await newDirectory(), "--revoked", await newFile(list)];
      const { code, stdout } = await capsule(args, SIGNS);
      assert.equal(code, 0);
      assert.ok(stdout.split("\n").includes(said), stdout);
    }
  });

  test("has to be readable", async () => {
    const beacon = ["http://127.0.0.1:9"];
    for (const [file, message] of [
      [join(scratch, "nowhere.json"), /nowhere\.json with what is revoked cannot be read/],
      [await newFile({ ticketKeys: ["x"] }), /entry 1 of ticketKeys is not the base64 of 32 bytes/],
      [await newFile({ ticketkeys: [keys.b.publicKey] }), /"ticketkeys" has no meaning here, only ticketKeys,/],
      [await newFile({ ticketKeys: [], ticket_keys: [keys.b.publicKey] }), /"ticket_keys" has no meaning/],
      [await newFile({ revoked: { ticketKeys: [keys.b.publicKey] } }), /"revoked" has no meaning/],
      [await newFile({ beacons: ["https://beacon.example/"] }), /normal form/],
    ]) {
      const { code, stderr } = await publish(beacon, ["--revoked", file]);
      assert.equal(code, 2);
      assert.match(stderr, message);
    }
  });
});

describe("a lifetime that the host cannot keep fresh", () => {
  const CASES = {
    "of GitHub Pages": [["--cadence", "15m", "--host", "github-pages"], /lives 30m .* 15m until the next run, 10m in caches \(--host github-pages\) and 15m in case a run is late are 40m\. Change --lifetime \(RENDEZVOUS_CAPSULE_TTL_MS\) to 40m or more, or --cadence to 10m or less/],
    "with a short cadence": [["--cadence", "30s", "--lifetime", "80s"], /1m in case a run is late are 1m30s\. .* or --cadence to 20s or less/],
    "whose caches alone keep it longer": [["--cadence", "1m", "--host", "github-pages", "--lifetime", "5m"], /to 12m or more$/m],
    "without a known cadence": [["--host", "ipfs", "--lifetime", "5m"], /to 6m or more$/m],
  };
  for (const [name, [args, message]] of Object.entries(CASES)) {
    test(`${name} is refused, and the error says which number to change to what`, async () => {
      const { code, stderr } = await publish(["http://127.0.0.1:9"], args);
      assert.equal(code, 2);
      assert.match(stderr, message);
    });
  }

  test("is that of a schedule as GitHub starts it, where GitHub runs the program", async (context) => {
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    const args = ["--cadence", "github-actions", "--host", "github-pages", "--lifetime"];
    const { code, stderr } = await publish([beacon.url], [...args, "1h"]);
    assert.equal(code, 2);
    assert.match(stderr, /30m until the next run, 10m in caches .* are 1h10m/);
    assert.equal((await publish([beacon.url], [...args, "2h"])).code, 0);
    assert.match((await publish([beacon.url], ["--cadence", "often"])).stderr, /units, like .*, or github-actions/);
  });

  test("is refused by watch for its own rhythm", async () => {
    const { code, stderr } = await capsule(["watch", "--every", "20m", "--beacon", "http://127.0.0.1:9", "--out", scratch], SIGNS);
    assert.equal(code, 2);
    assert.match(stderr, /are 40m\..* or --every to 15m or less/);
  });

  test("is what the error said it should be, then it is written", async (context) => {
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    for (const args of [
      ["--cadence", "15m", "--host", "github-pages", "--lifetime", "40m"],
      ["--cadence", "10m", "--host", "github-pages"],
      ["--cadence", "20s", "--lifetime", "80s"],
      [],
    ]) {
      assert.equal((await publish([beacon.url], args)).code, 0, args.join(" "));
    }
  });
});

describe("other programs", () => {
  /** The tests of this part are not skipped where there is no minisign: they fail, and say where it is to be had. */
  function minisign(...args) {
    const path = findMinisign();
    assert.ok(path, ADVICE);
    return promisify(execFile)(path, args);
  }

  test("check the same capsule: minisign and openssl", async (context) => {
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    const { out, report } = await publish([beacon.url]);
    const key = await newFile(keys.a.privateKey);
    const { stdout } = await capsule(["keygen", "--public-of", key, "--minisign"]);
    assert.match(stdout, /^RW[A-Za-z0-9+/]{54}\n$/);
    const both = JSON.parse((await capsule(["keygen", "--public-of", key, "--minisign", "--json"])).stdout);
    assert.deepEqual(both, { ok: true, file: key, publicKey: keys.a.publicKey, minisignPublicKey: stdout.trim() });

    const json = join(out, "peers.json");
    const said = await minisign("-V", "-H", "-m", json, "-P", stdout.trim());
    assert.match(said.stdout, /Signature and comment signature verified/);
    const { issuedAt } = report.written;
    assert.ok(said.stdout.includes(`timestamp:${Math.floor(issuedAt / 1_000)}\tfile:peers.json\tissuedAt:${issuedAt}`), said.stdout);

    const x = Buffer.from(keys.a.publicKey, "base64").toString("base64url");
    const pem = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }).export({ format: "pem", type: "spki" });
    const [publicKey, signature] = [join(out, "public.pem"), join(out, "signature.bin")];
    await writeFile(publicKey, pem);
    await writeFile(signature, Buffer.from(await readFile(join(out, "peers.json.sig"), "utf8"), "base64"));
    const openssl = await promisify(execFile)("openssl", ["pkeyutl", "-verify", "-pubin", "-inkey", publicKey, "-rawin", "-in", json, "-sigfile", signature]);
    assert.match(openssl.stdout, /Signature Verified Successfully/);

    await writeFile(json, `${await readFile(json, "utf8")} `);
    await assert.rejects(minisign("-V", "-m", json, "-P", stdout.trim()), /Signature verification failed/);
  });

  test("get the same bytes in every file for the same answers and time", async (context) => {
    const issuedAt = YESTERDAY;
    const peers = [newPeer(), newPeer(), newPeer({ peerId: "node" })];
    const list = await newFile({ ticketKeys: [newPeer().publicKey] });
    const include = await newFile(nodeTicket(peers[2], { issuedAt }));
    const [one, two] = await started(context, ...[0, 1].map((own) => serveTickets(signTicket(peers[own], { issuedAt }))));
    const args = ["--include", include, "--revoked", list];
    const runs = [];
    for (let run = 0; run < 2; run += 1) {
      const { code, out, stderr } = await publish([one.url, two.url], args, { env: at(issuedAt + 60_000) });
      assert.equal(code, 0, stderr);
      assert.deepEqual((await readdir(out)).sort(), FILES);
      runs.push(await readAll(out));
    }
    assert.equal(JSON.parse(runs[0][0]).peers.length, 3);
    assert.deepEqual(runs[1], runs[0]);
  });
});

describe("the command afterwards", () => {
  test("learns what was written, and not the private key", async (context) => {
    const [beacon, empty] = await started(context, serveTickets(signTicket(newPeer())), serveTickets());
    const told = join(await newDirectory(), "told");
    const run = ["--run", `env > ${told}; echo to the standard output`];
    const { code, out, report, stderr } = await publish([beacon.url], run, { env: { PATH: process.env.PATH, RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: keys.b.privateKey } });
    assert.equal(code, 0);
    assert.deepEqual(report.run, { ok: true });
    assert.ok(stderr.includes("to the standard output"));
    const variables = Object.fromEntries((await readFile(told, "utf8")).split("\n").map((line) => line.split(/=(.*)/s).slice(0, 2)));
    const { issuedAt, expiresAt } = report.written;
    const expected = {
      CAPSULE_PLACE: out,
      CAPSULE_FILE: join(out, "peers.json"),
      CAPSULE_SIGNATURE: join(out, "peers.json.sig"),
      CAPSULE_MINISIG: join(out, "peers.json.minisig"),
      CAPSULE_COMMUNITY: "mainnet",
      CAPSULE_ISSUED_AT: String(issuedAt),
      CAPSULE_EXPIRES_AT: String(expiresAt),
      CAPSULE_PEERS: "1",
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(variables[name], value, name);
    for (const name of ["RENDEZVOUS_CAPSULE_PRIVATE_KEY", "RENDEZVOUS_ANNOUNCE_PRIVATE_KEY"]) assert.ok(!(name in variables));
    // Only after a capsule was written.
    await rm(told);
    assert.equal((await publish([empty.url], run)).code, 1);
    assert.ok(!existsSync(told));
  });

  test("fails the run, and not the capsule, when it fails or does not end", async (context) => {
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    for (const [args, detail] of [
      [["--run", "exit 3"], /ended with exit status: 3/],
      [["--run", "sleep 1000", "--run-timeout", "100ms"], /did not end in time.*--run-timeout/],
    ]) {
      const { code, report, out } = await publish([beacon.url], args, { env: { PATH: process.env.PATH } });
      assert.deepEqual([code, report.ok, report.code, report.run.ok], [2, false, "RUN_FAILED", false]);
      assert.match(report.run.detail, detail);
      assert.deepEqual((await readdir(out)).sort(), FILES);
    }
    const text = await capsule(["publish", "--out", scratch, "--beacon", beacon.url, "--run", "exit 1"], SIGNS);
    assert.equal(text.code, 2);
    assert.match(text.stdout, /^written: .*\n--run failed: .*written all the same\n$/m);
  });
});

describe("a publish that is told to stop", () => {
  test("ends the command after the write too, and leaves the capsule whole", async (context) => {
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    const out = await newDirectory();
    const args = ["publish", "--beacon", beacon.url, "--out", out, "--run", "echo begun >&2; sleep 1000"];
    const child = spawn(CAPSULE, args, { env: { ...SIGNS, PATH: process.env.PATH }, stdio: ["ignore", "pipe", "pipe"] });
    context.after(() => child.kill("SIGKILL"));
    child.stderr.on("data", (text) => String(text).includes("begun") && child.kill("SIGTERM"));
    // Closed, so that nothing holds its standard error any more: the command has ended too.
    assert.equal((await finished(child)).signal, "SIGTERM");
    assert.deepEqual((await readdir(out)).sort(), FILES);
    assert.equal((await verify(out)).ok, true);
  });
});

describe("what a run left that was killed", () => {
  test("is signed anew at the next start, whatever that finds, and its temporary files go", async (context) => {
    let tickets = [signTicket(newPeer()), signTicket(newPeer())];
    const [beacon] = await started(context, serve((_, response) => response.end(JSON.stringify(answer(tickets)))));
    const { code: first, out } = await publish([beacon.url]);
    assert.equal(first, 0);
    const whole = await readAll(out);
    // Of the next capsule two files were renamed, and one was not.
    tickets = [signTicket(newPeer())];
    const { out: other } = await publish([beacon.url]);
    const tear = async () => {
      for (const name of ["peers.json.sig", "peers.json.minisig"]) await copyFile(join(other, name), join(out, name));
      await writeFile(join(out, ".peers.json.aB3dE6"), "half");
    };
    await tear();
    tickets = [];
    const { code, stderr } = await publish([beacon.url], [], { out });
    assert.equal(code, 1);
    assert.match(stderr, /^mended: .*peers\.json, which had not its own signature beside it$/m);
    assert.deepEqual(await readAll(out), whole);
    assert.deepEqual((await readdir(out)).sort(), FILES);
    // What nobody signed is not signed: this list of revoked keys is somebody else's.
    await tear();
    const file = await readFile(join(out, "peers.json"), "utf8");
    await writeFile(join(out, "peers.json"), file.replace('"signature"', `"revoked":{"ticketKeys":["${newPeer().publicKey}"]},"signature"`));
    assert.doesNotMatch((await publish([beacon.url], [], { out })).stderr, /mended/);
    assert.deepEqual(await readFile(join(out, "peers.json.sig"), "utf8"), await readFile(join(other, "peers.json.sig"), "utf8"));
  });
});

describe("watch", () => {
  /** Starts it; it is ended with the test. */
  function watch(context, args, { env = {}, command = CAPSULE, before: first = [] } = {}) {
    const child = spawn(command, [...first, "watch", ...args], { env: { ...SIGNS, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    context.after(() => child.kill("SIGKILL"));
    const end = finished(child);
    const lines = (name) => {
      const iterator = createInterface({ input: child[name] })[Symbol.asyncIterator]();
      return async () => (await iterator.next()).value;
    };
    return { child, end, lines };
  }

  /** The next round that is as it should be. */
  async function until(next, fits) {
    for (;;) {
      const line = await next();
      assert.ok(line !== undefined, "it ended");
      const round = JSON.parse(line);
      if (fits(round)) return round;
    }
  }

  test("publishes round after round, leaves the last good capsule when one fails, and says a line of JSON a round", async (context) => {
    let tickets = [signTicket(newPeer())];
    const [beacon] = await started(context, serve((_, response) => response.end(JSON.stringify(answer(tickets)))));
    const out = await newDirectory();
    const { child, end, lines } = watch(context, ["--json", "--every", "1s", "--beacon", beacon.url, "--out", out]);
    const next = lines("stdout");
    const first = await until(next, () => true);
    assert.deepEqual([first.ok, first.peers, first.failures], [true, 1, 0]);
    assert.ok(first.nextInMs <= 1_000 && first.time >= first.written.issuedAt);
    const second = await until(next, ({ ok }) => ok);
    assert.ok(second.written.issuedAt > first.written.issuedAt);

    tickets = [];
    const failed = await until(next, ({ ok }) => !ok);
    assert.deepEqual([failed.code, failed.failures, failed.written], ["TOO_FEW_PEERS", 1, undefined]);
    const files = await readAll(out);
    const again = await until(next, () => true);
    assert.equal(again.failures, 2);
    assert.deepEqual(await readAll(out), files);

    tickets = [signTicket(newPeer()), signTicket(newPeer())];
    const recovered = await until(next, ({ ok }) => ok);
    assert.deepEqual([recovered.peers, recovered.failures], [2, 0]);
    child.kill("SIGTERM");
    const { code, signal } = await end;
    assert.deepEqual([code, signal], [0, null]);
    assert.deepEqual((await readdir(out)).sort(), FILES);
  });

  test("tells somebody once when too little of the last 15 minutes went well, and says when that is over", async (context) => {
    let tickets = [];
    const [beacon] = await started(context, serve((_, response) => response.end(JSON.stringify(answer(tickets)))));
    const out = await newDirectory();
    const told = join(await newDirectory(), "told");
    const tell = `echo "$CAPSULE_COMMUNITY $CAPSULE_SUCCESS_PERCENT $CAPSULE_SUMMARY" >>'${told}'`;
    const args = ["--json", "--every", "1s", "--beacon", beacon.url, "--out", out, "--on-failure", tell];
    const { child, end, lines } = watch(context, args);
    const next = lines("stdout");
    const first = await until(next, () => true);
    assert.deepEqual([first.ok, first.successPercent, first.alert], [false, null, false]);
    const alert = await until(next, (round) => round.alert);
    assert.deepEqual([alert.successPercent, alert.failures], [0, 2]);
    while (!existsSync(told)) await until(next, () => true);
    tickets = [signTicket(newPeer())];
    const over = await until(next, ({ alert }) => !alert);
    assert.ok(over.ok && over.successPercent >= 80, JSON.stringify(over));
    child.kill("SIGTERM");
    assert.equal((await end).code, 0);
    assert.match(await readFile(told, "utf8"), /^mainnet 0 not written: 0 peers found.*\n$/);
  });

  test("ends at once while a beacon keeps it waiting, without a trace", async (context) => {
    for (const signal of ["SIGTERM", "SIGINT"]) {
      let isAsked;
      const asked = new Promise((resolve) => (isAsked = resolve));
      const [silent] = await started(context, serve(() => isAsked()));
      const out = await newDirectory();
      const { child, end } = watch(context, ["--every", "5m", "--timeout", "1h", "--beacon", silent.url, "--out", out]);
      await asked;
      const waits = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
      child.kill(signal);
      assert.deepEqual((await end).code, 0, "it waited for the beacon");
      clearTimeout(waits);
      assert.deepEqual(await readdir(out), []);
    }
  });

  test("lets the command after a write end when it is told to stop, and stops at the second signal", async (context) => {
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    const directory = await newDirectory();
    const mark = (name) => join(directory, name);
    const run = `echo begun >&2; until test -e ${mark("go")}; do sleep 0.05; done; touch ${mark("ended")}`;
    const args = ["--every", "5m", "--beacon", beacon.url, "--run", run, "--out"];
    const begun = async (next) => {
      for (let line = await next(); line !== "begun"; line = await next()) assert.ok(line !== undefined, "it ended");
    };
    const env = { PATH: process.env.PATH };

    const patient = watch(context, [...args, mark("out")], { env });
    await begun(patient.lines("stderr"));
    patient.child.kill("SIGTERM");
    await writeFile(mark("go"), "");
    assert.equal((await patient.end).code, 0);
    assert.ok(existsSync(mark("ended")));

    await rm(mark("go"));
    const impatient = watch(context, [...args, mark("out2")], { env });
    await begun(impatient.lines("stderr"));
    const exit = once(impatient.child, "exit");
    impatient.child.kill("SIGTERM");
    // The first one has to have been taken before the second one comes: it is sent until it is.
    const timer = setInterval(() => impatient.child.kill("SIGTERM"), 50);
    const [, signal] = await exit.finally(() => clearInterval(timer));
    assert.equal(signal, "SIGTERM");
    // The command outlives it, and holds its standard error.
    await writeFile(mark("go"), "");
    await impatient.end;
  });

  test("says a line when something changes, and none while nothing does", async (context) => {
    let tickets = [signTicket(newPeer())];
    const [beacon, dead] = await started(context, serve((_, response) => response.end(JSON.stringify(answer(tickets)))), serveDead());
    const out = await newDirectory();
    const args = ["--every", "1s", "--out", out, "--beacon", beacon.url, "--beacon", dead.url];
    const { child, end, lines } = watch(context, args);
    const line = lines("stderr");
    /** How the success rate stands depends on how fast the rounds are. */
    const next = async () => {
      for (;;) {
        const said = await line();
        if (!/Z alert(?: is over)?: success rate of the last 15m: /.test(said)) return said;
      }
    };
    assert.match(await next(), /^publishing every 1s to .*, with the key /);
    assert.match(await next(), /^\S+Z written: .*peers\.json and its \.sig and \.minisig, 1 peer of mainnet, .* \[http.*: NO_CONNECTION\]; next in /);
    const rounds = beacon.requests.length;
    while (beacon.requests.length < rounds + 2) await once(child.stderr, "data", { signal: AbortSignal.timeout(100) }).catch(() => {});
    tickets = [];
    assert.match(await next(), /not written: 0 peers found/);
    tickets = [signTicket(newPeer()), signTicket(newPeer())];
    assert.match(await next(), /written: .*2 peers of mainnet/);
    child.kill("SIGINT");
    assert.match(await next(), /^told to stop$/);
    assert.deepEqual([(await end).code, (await end).stdout], [0, ""]);
  });

  test("obeys a list of what is revoked that was changed meanwhile, and publishes nothing while it is broken", async (context) => {
    const stolen = newPeer();
    const [beacon] = await started(context, serveTickets(signTicket(stolen), signTicket(newPeer())));
    const list = await newFile({});
    const out = await newDirectory();
    const { child, end, lines } = watch(context, ["--json", "--every", "1s", "--beacon", beacon.url, "--revoked", list, "--out", out]);
    const next = lines("stdout");
    assert.equal((await until(next, () => true)).peers, 2);
    await writeFile(list, JSON.stringify({ ticketKeys: [stolen.publicKey] }));
    await until(next, ({ peers }) => peers === 1);
    await writeFile(list, "broken");
    assert.match((await until(next, ({ ok }) => !ok)).error, /is not a list of what is revoked/);
    child.kill("SIGTERM");
    assert.equal((await end).code, 0);
    assert.equal(peerIds(await readCapsule(out)).length, 1);
  });

  test("tries again sooner where the command afterwards fails, which may be what takes the capsule to readers", async (context) => {
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    const mark = join(await newDirectory(), "mark");
    const args = ["--json", "--every", "1h", "--lifetime", "3h", "--beacon", beacon.url, "--out", await newDirectory()];
    const { child, end, lines } = watch(context, [...args, "--run", `test -e ${mark}`], { env: { PATH: process.env.PATH } });
    const next = lines("stdout");
    const failed = await until(next, () => true);
    assert.deepEqual([failed.ok, failed.code, failed.failures], [false, "RUN_FAILED", 1]);
    assert.ok(failed.nextInMs <= 5_000 && failed.written.issuedAt > 0);
    await writeFile(mark, "");
    const good = await until(next, () => true);
    assert.deepEqual([good.ok, good.failures], [true, 0]);
    assert.ok(good.nextInMs > 3_500_000);
    child.kill("SIGTERM");
    assert.equal((await end).code, 0);
  });

  test("shows one line that changes in a terminal", async (context) => {
    const [beacon] = await started(context, serveTickets(signTicket(newPeer())));
    const out = await newDirectory();
    // util-linux's: it gives the program a terminal of its own.
    const command = `exec ${CAPSULE} watch --every 5m --beacon ${beacon.url} --out ${out}`;
    const child = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
      env: { ...SIGNS, PATH: process.env.PATH, TERM: "xterm" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    context.after(() => child.kill("SIGKILL"));
    let shown = "";
    child.stdout.setEncoding("utf8");
    for await (const text of child.stdout) {
      shown += text;
      // Two of them: it has been drawn again.
      if (shown.match(/\r\x1b\[2Kpublished 1 peer of mainnet; the last capsule ends in \S+ \S+; next in /g)?.length >= 2) break;
    }
    assert.ok(shown.includes("\r\x1b[2Kasking"), JSON.stringify(shown));
    for (const line of shown.split(/\r\x1b\[2K/).slice(1, -1)) assert.ok(!line.includes("\n") || line.includes("written: "));
  });

  test("says what is wrong before it begins", async () => {
    for (const [args, message] of [
      [[], /--every/],
      [["--every", "5m"], /no beacon to ask/],
      [["--every", "10ms", "--beacon", "http://127.0.0.1:9"], /--every 10ms is too often/],
      [["--every", "5m", "--beacon", "http://127.0.0.1:9", "--out", CAPSULE], /cannot be made/],
      [["--every", "5m", "--cadence", "5m"], /--cadence/],
    ]) {
      const { code, stderr } = await capsule(["watch", ...args], SIGNS);
      assert.equal(code, 2);
      assert.match(stderr, message);
    }
  });
});
