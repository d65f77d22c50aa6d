// `capsule announce`, as a binary: against real Workers in workerd with short limits, and against bad servers.
//
// CAPSULE_BIN names the binary, target/debug/capsule by default.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createPublicKey, verify as verifySignature } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startBeacon } from "../tools/beacon.mjs";
import { serve, serveDead, serveDrip, serveHtml, serveJson, serveSilence, started } from "./hostile.mjs";
import { announce as announceTicket, peers } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { freePort } from "./ports.mjs";
import { CAPSULE, requireCapsule } from "./program.mjs";
import { canonical, newPeer, signTicket } from "./ticket.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const POLL_MS = 40;

/** Many intervals: who is late by some of them, as on a busy machine, is not absent. */
const LIFETIME_MS = 10_000;
const LIFETIME = `${LIFETIME_MS}ms`;
const INTERVAL_MS = 1_000;
/** By how much clocks may differ. */
const CLOCKS_DIFFER_MS = 15_000;
/** A beacon on which everything happens many times as fast, and whose lists are never from a cache. */
const FAST = {
  TICKET_MAX_LIFETIME_MS: String(LIFETIME_MS),
  ANNOUNCE_INTERVAL_MS: String(INTERVAL_MS),
  ANNOUNCE_AFTER_MIN_MS: String(INTERVAL_MS),
  ANNOUNCE_AFTER_MAX_MS: "1500",
  PEERS_MAX_AGE_SECONDS: "0",
  NETWORK_REQUESTS_PER_MINUTE: "1000000",
  COMMUNITIES: ["mainnet", ...Array.from({ length: 100 }, (_, number) => `community-${number + 1}`)].join(),
};

const keys = JSON.parse(await readFile(join(ROOT, "tests/vectors/keys.json"), "utf8"));
const KEY = { RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: keys.a.privateKey };

let scratch;
let beacon;
let other;
before(async () => {
  requireCapsule();
  scratch = await mkdtemp(join(tmpdir(), "announce-test-"));
  [beacon, other] = await Promise.all([startBeacon({ vars: FAST }), startBeacon({ vars: FAST })]);
});
after(async () => {
  await Promise.all([beacon, other].map((started) => started?.stop()));
  await rm(scratch, { recursive: true, force: true });
});

let communities = 0;
/** A community that no other test knows. */
const newCommunity = () => `community-${(communities += 1)}`;

/**
 * Starts the program, with no variables but those given. It is killed after the test, if it runs then.
 *
 * @param {import("node:test").TestContext} context
 * @param {string[]} urls
 * @param {{ args?: string[], env?: Record<string, string>, community?: string, peerId?: string }} [options]
 */
function start(context, urls, { args = [], env = {}, community = newCommunity(), peerId = "node" } = {}) {
  const given = ["--community", community, "--peer-id", peerId, ...urls.flatMap((url) => ["--beacon", url])];
  const child = spawn(CAPSULE, ["announce", ...given, ...args], {
    cwd: scratch,
    env: { ...KEY, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  context.after(() => child.kill("SIGKILL"));
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (output[name] += text));
  const closed = once(child, "close");
  return {
    child,
    output,
    community,
    peerId,
    /** How it ended. */
    async end() {
      const hung = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
      const [code, signal] = await closed;
      clearTimeout(hung);
      return { code, signal, ...output };
    },
    /** @param {string} url */
    async ticket(url) {
      const list = await peers(url, { community });
      assert.equal(list.status, 200, list.text);
      return list.json.peers.find(({ payload }) => payload.peerId === peerId);
    },
    events: () => output.stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line)),
  };
}

/**
 * Runs it with --once.
 *
 * @param {Parameters<typeof start>} given
 */
function announceOnce(context, urls, { args = [], ...options } = {}) {
  return start(context, urls, { args: ["--once", ...args], ...options }).end();
}

/**
 * Asks again until there is an answer, and fails if there never is.
 *
 * @template T
 * @param {() => T | Promise<T>} ask
 * @param {() => string} [explain]
 * @returns {Promise<NonNullable<T>>}
 */
async function eventually(ask, explain = () => "it never happened") {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < deadline, explain());
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** A server that takes every ticket, and says what it likes about the time. */
async function serveGullible(tickets, serverTime) {
  return serve(async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    if (body !== "") tickets.push({ path: request.url.split("?")[0], at: Date.now(), ...JSON.parse(body).ticket.payload });
    response.end(JSON.stringify({ ok: true, accepted: true, serverTime: serverTime(), announceAfterMs: INTERVAL_MS, peers: [] }));
  });
}

const byBeacon = (report) => report.beacons.map(({ answered, listed, code }) => [answered, listed, code]);

describe("a stable node", () => {
  test("is listed at once, is never absent while its tickets end and others come, and is gone when it is told to stop", async (context) => {
    const startedAt = Date.now();
    const node = start(context, [beacon.url, other.url], { args: ["--lifetime", LIFETIME, "--user-id", "Zoë ☂"] });
    const first = await eventually(() => node.ticket(beacon.url), () => node.output.stderr);
    await eventually(() => node.ticket(other.url));

    const { payload, signature, publicKey } = first;
    assert.equal(publicKey, keys.a.publicKey);
    assert.deepEqual([payload.peerId, payload.userId, payload.community], ["node", "Zoë ☂", node.community]);
    assert.equal(payload.expiresAt - payload.issuedAt, LIFETIME_MS);
    assert.ok(payload.issuedAt >= startedAt && payload.issuedAt <= Date.now());
    const x = Buffer.from(publicKey, "base64").toString("base64url");
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    assert.ok(verifySignature(null, Buffer.from(canonical(payload)), key, Buffer.from(signature, "base64")));

    // Four lives of a ticket, seen 25 times a second.
    const seen = new Map();
    await eventually(async () => {
      for (const { url } of [beacon, other]) {
        const ticket = await node.ticket(url);
        assert.ok(ticket, `absent from ${url}`);
        const times = seen.get(url) ?? seen.set(url, []).get(url);
        if (times.at(-1) !== ticket.payload.issuedAt) times.push(ticket.payload.issuedAt);
      }
      return seen.get(beacon.url).at(-1) > payload.issuedAt + 4 * LIFETIME_MS;
    });
    for (const times of seen.values()) {
      const gaps = times.slice(1).map((time, index) => time - times[index]);
      assert.ok(gaps.every((gap) => gap >= INTERVAL_MS && gap < LIFETIME_MS), String(gaps));
    }

    node.child.kill("SIGTERM");
    const { code, stdout, stderr } = await node.end();
    assert.deepEqual([code, stdout], [0, ""]);
    assert.equal(await node.ticket(beacon.url), undefined);
    assert.equal(await node.ticket(other.url), undefined);
    // A line for each change, however many requests there were.
    assert.deepEqual(stderr.split("\n").map((line) => line.replace(/127\.0\.0\.1:\d+/, "beacon")).sort(), [
      "",
      `announcing node in ${node.community} to 2 beacons, with the key ${keys.a.publicKey}`,
      "http://beacon: left",
      "http://beacon: left",
      "http://beacon: listed",
      "http://beacon: listed",
      "told to stop: leaving",
    ]);
  });

  test("finds the life that a beacon allows, and reads key and names from the environment", async (context) => {
    const community = newCommunity();
    const child = spawn(CAPSULE, ["announce", "--json"], {
      env: {
        ...KEY,
        RENDEZVOUS_BEACONS: `${beacon.url}/`,
        RENDEZVOUS_COMMUNITY: community,
        RENDEZVOUS_ANNOUNCE_PEER_ID: "server 7",
        RENDEZVOUS_ANNOUNCE_USER_ID: "",
        RENDEZVOUS_ANNOUNCE_DATA: 'state="☂"',
      },
      stdio: "ignore",
    });
    context.after(() => child.kill("SIGKILL"));
    const [ticket] = await eventually(async () => {
      const { json } = await peers(beacon.url, { community });
      return json.peers.length > 0 && json.peers;
    });
    const { peerId, userId, data, issuedAt, expiresAt } = ticket.payload;
    assert.deepEqual([peerId, userId, data], ["server 7", "server 7", 'state="☂"']);
    assert.ok(expiresAt - issuedAt > LIFETIME_MS / 2 && expiresAt - issuedAt <= LIFETIME_MS, `${expiresAt - issuedAt} ms`);
    child.kill("SIGINT");
    assert.deepEqual(await once(child, "close"), [0, null]);
    assert.deepEqual((await peers(beacon.url, { community })).json.peers, []);
  });

  test("comes back to a beacon that was killed, without leaving another one", async (context) => {
    const port = await freePort();
    let mortal = await startBeacon({ vars: FAST, port });
    context.after(() => mortal.stop());
    const { url } = mortal;
    const node = start(context, [url, beacon.url], { args: ["--lifetime", LIFETIME, "--json"] });
    await eventually(() => node.ticket(url), () => node.output.stdout);
    await eventually(() => node.ticket(beacon.url));

    const failing = () => node.events().find((event) => event.event === "failing");
    await mortal.crash();
    await eventually(async () => {
      assert.ok(await node.ticket(beacon.url), "absent where all is well");
      return failing();
    });
    assert.deepEqual([failing().beacon, failing().answered, failing().code], [url, false, "NO_CONNECTION"]);

    // Its state died with it.
    mortal = await startBeacon({ vars: FAST, port });
    await eventually(async () => {
      assert.ok(await node.ticket(beacon.url), "absent where all is well");
      return node.ticket(url);
    });
    const changes = await eventually(() => {
      const changes = node.events().filter((event) => event.beacon === url).map(({ event }) => event);
      return changes.at(-1) === "listed" && changes;
    });
    assert.deepEqual([changes[0], changes.includes("failing")], ["listed", true]);
    assert.equal(node.events().filter((event) => event.beacon === beacon.url).length, 1);
  });

  test("does not care about beacons that are dead, silent, dripping or no beacons at all", async (context) => {
    const bad = await started(context, serveDead(), serveSilence(), serveDrip(), serveHtml(), serveHtml(404), serveHtml(503), serveJson([]));
    const node = start(context, [...bad.map(({ url }) => url), beacon.url], { args: ["--lifetime", LIFETIME, "--timeout", "5s", "--json"] });
    const first = await eventually(() => node.ticket(beacon.url), () => node.output.stdout);
    await eventually(async () => {
      const ticket = await node.ticket(beacon.url);
      assert.ok(ticket, "absent");
      return ticket.payload.issuedAt > first.payload.issuedAt + LIFETIME_MS;
    });
    const failures = () => node.events().filter(({ event }) => event === "failing");
    await eventually(() => bad.every(({ url }) => failures().some(({ beacon }) => beacon === url)), () => node.output.stdout);
    const order = node.events().map(({ event, beacon: of, code }) => (of === beacon.url ? event : code));
    assert.ok(order.includes("listed") && order.indexOf("listed") < order.indexOf("TIMED_OUT"), `it waited for the others: ${order}`);
    const failing = Object.fromEntries(failures().map((event) => [event.beacon, [event.answered, event.code]]));
    assert.deepEqual(bad.map(({ url }) => failing[url]), [
      [false, "NO_CONNECTION"],
      [false, "TIMED_OUT"],
      [false, "TIMED_OUT"],
      [true, "MALFORMED"],
      [true, "HTTP_STATUS"],
      [false, "HTTP_STATUS"],
      [true, "MALFORMED"],
    ]);
    node.child.kill("SIGTERM");
    assert.equal((await node.end()).code, 0);
    assert.equal(await node.ticket(beacon.url), undefined);
  });

  test("is ended at once by a second signal", async (context) => {
    // Takes the announce, and hangs when it is told goodbye.
    let isTold;
    const told = new Promise((resolve) => (isTold = resolve));
    const [hanging] = await started(
      context,
      serve((request, response) => {
        request.resume();
        if (request.url.startsWith("/leave")) return isTold();
        return response.end(JSON.stringify({ ok: true, serverTime: Date.now(), announceAfterMs: 60_000 }));
      }),
    );
    const node = start(context, [hanging.url]);
    await eventually(() => node.output.stderr.includes("listed"));
    node.child.kill("SIGTERM");
    await told;
    node.child.kill("SIGTERM");
    assert.equal((await node.end()).signal, "SIGTERM");
  });

  for (const [name, hours] of [["an hour slow", -1], ["an hour fast", 1]]) {
    test(`is listed with tickets of the right date, though its clock is ${name}`, async (context) => {
      const startedAt = Date.now();
      const env = { SOURCE_DATE_EPOCH: String(Math.floor(startedAt / 1_000) + hours * 3_600) };
      const node = start(context, [beacon.url, other.url], { args: ["--lifetime", LIFETIME], env });
      const ticket = await eventually(() => node.ticket(beacon.url), () => node.output.stderr);
      const { issuedAt } = ticket.payload;
      assert.ok(issuedAt > startedAt - CLOCKS_DIFFER_MS && issuedAt < Date.now() + CLOCKS_DIFFER_MS, `${issuedAt - startedAt} ms`);
      await eventually(() => node.ticket(other.url));
      assert.match(node.output.stderr, hours < 0 ? /clock: .* (59m|1h).* behind/ : /clock: .* (59m|1h).* ahead/);
      await eventually(async () => {
        const next = await node.ticket(beacon.url);
        assert.ok(next, "absent");
        return next.payload.issuedAt >= ticket.payload.expiresAt;
      });
    });
  }

  test("gives a beacon that lies about the time no ticket from the future, be it the first to answer", async (context) => {
    const tickets = [];
    const [liar] = await started(context, serveGullible(tickets, () => Date.now() + 3_600_000));
    const node = start(context, [liar.url, beacon.url, other.url], { args: ["--lifetime", LIFETIME] });
    await eventually(() => node.ticket(beacon.url));
    await eventually(() => node.ticket(other.url));
    await eventually(() => tickets.length >= 4);
    node.child.kill("SIGTERM");
    assert.equal((await node.end()).code, 0);
    assert.equal(tickets.at(-1).path, "/leave");
    for (const { issuedAt, at } of tickets) assert.ok(issuedAt < at + CLOCKS_DIFFER_MS, `${issuedAt - at} ms ahead`);
    assert.doesNotMatch(node.output.stderr, /clock/);
  });

  test("sends a ticket once more that was not answered, not a new one", async (context) => {
    const tickets = [];
    // With tickets of the usual life, because one is only sent again while it is young.
    const usual = await startBeacon({ vars: { COMMUNITIES: FAST.COMMUNITIES } });
    context.after(() => usual.stop());
    const [forgetful] = await started(
      context,
      serve(async (request, response) => {
        let body = "";
        for await (const part of request.setEncoding("utf8")) body += part;
        if (body === "") return response.end(JSON.stringify({ ok: true, serverTime: Date.now() }));
        const { ticket } = JSON.parse(body);
        tickets.push(ticket.signature);
        // The beacon behind it takes the ticket, and its answer is lost twice.
        const reply = await announceTicket(usual.url, ticket, { community: ticket.payload.community });
        return tickets.length < 3 ? response.destroy() : response.writeHead(reply.status).end(reply.text);
      }),
    );
    const node = start(context, [forgetful.url], { args: ["--json"] });
    await eventually(() => node.events().some(({ event }) => event === "listed"), () => node.output.stdout);
    assert.deepEqual(tickets, Array(3).fill(tickets[0]));
    assert.deepEqual(node.events().map(({ event, code }) => [event, code]), [
      ["started", undefined],
      ["failing", "NO_CONNECTION"],
      ["listed", undefined],
    ]);
  });

  test("comes back at once after leaving, and waits the next time", async (context) => {
    const slow = await startBeacon({
      vars: { ...FAST, TICKET_MAX_LIFETIME_MS: "60000", ANNOUNCE_INTERVAL_MS: "20000", ANNOUNCE_AFTER_MIN_MS: "20000", ANNOUNCE_AFTER_MAX_MS: "20000" },
    });
    context.after(() => slow.stop());
    const options = { args: ["--lifetime", "60s", "--json"], community: newCommunity() };
    const runs = [];
    for (const expected of [["listed"], ["listed"], ["failing", "listed"]]) {
      const run = start(context, [slow.url], options);
      await eventually(() => run.events().some(({ event }) => event === "listed"), () => run.output.stdout);
      assert.ok(await run.ticket(slow.url));
      run.child.kill("SIGTERM");
      assert.equal((await run.end()).code, 0);
      assert.deepEqual(run.events().map(({ event }) => event), ["started", ...expected, "stopping", "left"]);
      assert.equal(run.events().at(-1).left, true);
      runs.push(run.events());
    }
    assert.equal(runs[2].find(({ event }) => event === "failing").code, "ANNOUNCE_TOO_SOON");
  });

  test("says that a beacon has no place for it, asks again at its pace, and says when there is one", async (context) => {
    const tickets = [];
    const [full] = await started(
      context,
      serve(async (request, response) => {
        let body = "";
        for await (const part of request.setEncoding("utf8")) body += part;
        if (body !== "") tickets.push({ path: request.url.split("?")[0], at: performance.now() });
        const listed = tickets.length > 2;
        const answer = { ok: true, accepted: listed, listed, serverTime: Date.now(), announceAfterMs: INTERVAL_MS, since: [], peers: [] };
        response.end(JSON.stringify(answer));
      }),
    );
    const node = start(context, [full.url], { args: ["--json"] });
    await eventually(() => node.events().some(({ event }) => event === "listed"), () => node.output.stdout);
    const [, unlisted, ...further] = node.events();
    assert.deepEqual([unlisted.event, unlisted.beacon, unlisted.code], ["unlisted", full.url, "NOT_LISTED"]);
    assert.ok(unlisted.retryInMs >= INTERVAL_MS && unlisted.retryInMs < 1.2 * INTERVAL_MS, String(unlisted.retryInMs));
    assert.deepEqual(further.map(({ event }) => event), ["listed"]);
    const gaps = tickets.slice(1).map(({ at }, index) => at - tickets[index].at);
    assert.ok(gaps.every((gap) => gap >= INTERVAL_MS - 50), String(gaps));
    node.child.kill("SIGTERM");
    assert.equal((await node.end()).code, 0);
    assert.equal(tickets.at(-1).path, "/leave");
  });
});

describe("once", () => {
  test("prints what each beacon says, and is good when one lists it", async (context) => {
    const [dead, html] = await started(context, serveDead(), serveHtml());
    const community = newCommunity();
    const urls = [beacon.url, dead.url, html.url];
    const { code, stdout, stderr } = await announceOnce(context, urls, { args: ["--lifetime", LIFETIME], community });
    assert.equal(code, 0, stderr);
    const [head, ...rows] = stdout.split("\n");
    assert.match(head, /^BEACON +ANSWERED +LISTED +SAID$/);
    assert.match(rows[0], new RegExp(`^${beacon.url} +yes +yes +until \\d{4}-.* \\(in \\d+s\\)$`));
    assert.match(rows[1], new RegExp(`^${dead.url} +no +no +no connection: `));
    assert.match(rows[2], new RegExp(`^${html.url} +yes +no +MALFORMED: .*is this the address of a beacon`));
    assert.match(stderr, /^announcing node in \S+ to 3 beacons, with the key \S+\n$/);
    // It does not leave.
    assert.equal((await peers(beacon.url, { community })).json.peers.length, 1);
  });

  test("is listed beside another key that claims the peerId", async (context) => {
    const community = newCommunity();
    const other = newPeer({ peerId: "node" });
    const now = Date.now();
    await announceTicket(beacon.url, signTicket(other, { issuedAt: now, expiresAt: now + LIFETIME_MS, community }), { community });
    const { code, stdout } = await announceOnce(context, [beacon.url], { args: ["--lifetime", LIFETIME, "--json"], community });
    assert.equal(code, 0, stdout);
    assert.deepEqual(byBeacon(JSON.parse(stdout)), [[true, true, undefined]]);
    const claims = (await peers(beacon.url, { community })).json.peers;
    assert.deepEqual(claims.map(({ publicKey }) => publicKey).sort(), [keys.a.publicKey, other.publicKey].sort());
  });

  test("is refused where no beacon has a place, or takes the ticket", async (context) => {
    const [full, stale] = await started(
      context,
      serveJson({ ok: true, accepted: false, listed: false, serverTime: Date.now(), announceAfterMs: INTERVAL_MS, since: [], peers: [] }),
      // With the status of success, as a beacon answers clients that read no other.
      serveJson({ ok: false, code: "STALE_TICKET", detail: "not newer", serverTime: Date.now(), since: [], peers: [] }),
    );
    const { code, stdout } = await announceOnce(context, [full.url, stale.url], { args: ["--json"] });
    assert.equal(code, 1, stdout);
    const report = JSON.parse(stdout);
    assert.deepEqual([report.ok, report.code, report.peerId, report.publicKey], [false, "NOT_LISTED", "node", keys.a.publicKey]);
    assert.deepEqual(byBeacon(report), [[true, false, "NOT_LISTED"], [true, false, "STALE_TICKET"]]);
    const text = await announceOnce(context, [full.url]);
    assert.equal(text.code, 1);
    assert.match(text.stdout, new RegExp(`^${full.url} +yes +no +NOT_LISTED: the beacon has no place for it now$`, "m"));
    // One that lists it is enough.
    assert.equal((await announceOnce(context, [full.url, beacon.url], { args: ["--lifetime", LIFETIME] })).code, 0);
  });

  test("is right at once with a wrong clock and too long a life", async (context) => {
    const startedAt = Date.now();
    const env = { SOURCE_DATE_EPOCH: "1700000000" };
    // Two beacons say so: one alone is not believed.
    const [second] = await started(context, serveJson({ ok: true, serverTime: Date.now(), listed: true, since: [], peers: [] }));
    const { code, stdout } = await announceOnce(context, [beacon.url, second.url], { args: ["--json", "--quiet"], env });
    assert.equal(code, 0, stdout);
    const report = JSON.parse(stdout);
    assert.deepEqual(byBeacon(report), [[true, true, undefined], [true, true, undefined]]);
    const { expiresAt } = report.beacons[0];
    assert.ok(expiresAt > startedAt - CLOCKS_DIFFER_MS && expiresAt < Date.now() + LIFETIME_MS + CLOCKS_DIFFER_MS, stdout);
  });

  test("gives a beacon alone no ticket that is later than the clock here by more than clocks differ", async (context) => {
    const year = 365 * 24 * 60 * 60 * 1_000;
    const liar = serveJson({ ok: true, serverTime: Date.now() + year, listed: true, since: [], peers: [] });
    const [lying, dead] = await started(context, liar, serveDead());
    const { code, stdout } = await announceOnce(context, [lying.url, dead.url], { args: ["--json", "--lifetime", "1m"] });
    assert.equal(code, 0, stdout);
    const [{ expiresAt }] = JSON.parse(stdout).beacons;
    assert.ok(expiresAt <= Date.now() + 60_000 + CLOCKS_DIFFER_MS, stdout);
  });

  test("does not wait for a server that sends it away for long", async (context) => {
    const [busy] = await started(context, serveJson({}, { status: 503, headers: { "Retry-After": "300" } }));
    const { code, stdout } = await announceOnce(context, [busy.url], { args: ["--json"] });
    assert.equal(code, 3, stdout);
    assert.deepEqual(byBeacon(JSON.parse(stdout)), [[false, false, "HTTP_STATUS"]]);
    assert.equal(busy.requests.length, 1);
  });

  test("could reach nobody", async (context) => {
    const [dead, failing] = await started(context, serveDead(), serveHtml(503));
    const { code, stdout } = await announceOnce(context, [dead.url, failing.url], { args: ["--json"] });
    assert.equal(code, 3);
    assert.deepEqual([JSON.parse(stdout).code, byBeacon(JSON.parse(stdout))], [
      "NO_BEACON_ANSWERED",
      [[false, false, "NO_CONNECTION"], [false, false, "HTTP_STATUS"]],
    ]);
  });
});

describe("says what is wrong, with exit code 2, and never what the key is:", () => {
  const complete = ["--beacon", "http://127.0.0.1:9", "--peer-id", "node"];
  const CASES = {
    "no beacon": [["--peer-id", "node"], KEY, /no beacon.*--beacon.*RENDEZVOUS_BEACONS/],
    "no peerId": [complete.slice(0, 2), KEY, /--peer-id.*RENDEZVOUS_ANNOUNCE_PEER_ID/],
    "no key": [complete, {}, /no private key.*--key.*RENDEZVOUS_ANNOUNCE_PRIVATE_KEY.*keygen/],
    // That one signs capsules.
    "only the other key": [complete, { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey }, /no private key/],
    "the key in the place of its file": [[...complete, "--key", keys.a.privateKey], {}, /make a new one/],
    "a key file that is not there": [[...complete, "--key", "nowhere.pem"], KEY, /nowhere\.pem cannot be read/],
    "a key that is none": [complete, { RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: keys.a.privateKey.slice(1) }, /RENDEZVOUS_ANNOUNCE_PRIVATE_KEY is not a key/],
    "a peerId that cannot be": [[...complete.slice(0, 2), "--peer-id", "<b>"], KEY, /--peer-id.*printable ASCII/],
    "data that cannot be": [
      [...complete, "--data", "secret".repeat(86)],
      KEY,
      /must be 1 to 512 bytes of UTF-8 without control characters, and it has 516/,
    ],
    "a userId that cannot be": [complete, { ...KEY, RENDEZVOUS_ANNOUNCE_USER_ID: "a\tb" }, /RENDEZVOUS_ANNOUNCE_USER_ID must be/],
    "a life that is too short": [[...complete, "--lifetime", "999ms"], KEY, /--lifetime to one from 1s to 1day/],
    "an interval that is none": [complete, { ...KEY, RENDEZVOUS_ANNOUNCE_INTERVAL_MS: "1s" }, /RENDEZVOUS_ANNOUNCE_INTERVAL_MS must be/],
  };
  for (const [name, [args, env, message]] of Object.entries(CASES)) {
    test(name, async () => {
      const child = spawn(CAPSULE, ["announce", ...args], { cwd: scratch, env, stdio: ["ignore", "pipe", "pipe"], timeout: PATIENCE_MS });
      let [stdout, stderr] = ["", ""];
      child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
      child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
      const [code] = await once(child, "close");
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, message);
      assert.ok(!stderr.includes(keys.a.privateKey.slice(-40)));
    });
  }
});
