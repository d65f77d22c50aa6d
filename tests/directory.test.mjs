// The directory by HTTP: origins that put entries, hubs that ask one another, one that lies, and the browser library.
// Rules and limits are tested in virtual time, in protocol/tests/directory/ and beacon/tests/service/directory.rs.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { beaconsOf, findCommunities } from "../client/dist/directory.js";
import { Origin, base64, exchange, list, pkcs8, put } from "./directory.mjs";
import { NATIVE, withHost } from "./hosts.mjs";
import { call, eventually } from "./http.mjs";
import { freePort } from "./ports.mjs";
import { newPeer } from "./ticket.mjs";

const DAY_MS = 86_400_000;
const host = NATIVE;

function assertProblem(reply, status, code, detail = /./) {
  assert.deepEqual([reply.status, reply.json?.code], [status, code], reply.text);
  assert.match(reply.headers.get("Content-Type"), /^application\/problem\+json/);
  assert.equal(reply.json.ok, false);
  assert.match(reply.json.detail, detail);
}

const names = ({ json }) => json.entries.map(({ payload }) => payload.name);

describe("one hub", () => {
  const [origin, other, stranger] = [new Origin(), new Origin(), new Origin()];
  let beacon;
  let url;
  before(async () => {
    const vars = { HUB_ORIGINS: [origin, other].map(({ key }) => key.publicKey).join(), ADDRESS_REQUESTS_PER_MINUTE: "600" };
    beacon = await host.start({ vars });
    url = beacon.url;
  });
  after(() => beacon.stop());

  test("an entry is put, listed, replaced and taken away, by its origin alone", async () => {
    const first = origin.entry("chess", { tags: ["games"], description: "Blitz and slow" });
    const put1 = await put(url, first);
    assert.equal(put1.status, 201, put1.text);
    assert.deepEqual([put1.json.ok, put1.json.accepted, put1.json.updated], [true, true, first.payload.updated]);
    const again = await put(url, first);
    assert.deepEqual([again.status, again.json.accepted], [200, false]);
    const listed = await list(url);
    assert.equal(listed.headers.get("Cache-Control"), "public, max-age=60");
    assert.equal(listed.headers.get("Access-Control-Allow-Origin"), "*");
    assert.deepEqual([listed.json.total, listed.json.entries], [1, [first]]);

    const second = origin.entry("chess", { description: "Slow" });
    assert.equal((await put(url, second)).status, 200);
    assert.deepEqual((await list(url)).json.entries, [second]);
    const stale = await put(url, first);
    assertProblem(stale, 409, "STALE_ENTRY");
    assert.equal(stale.json.standing, second.payload.updated);

    // A name is a label.
    const claim = other.entry("chess");
    assert.equal((await put(url, claim)).status, 201);
    assert.equal((await list(url, {}, "chess")).json.total, 2);
    assertProblem(await put(url, stranger.entry("chess")), 403, "ORIGIN_MISMATCH");
    assertProblem(await put(url, stranger.tombstone("chess")), 403, "ORIGIN_MISMATCH");

    const gone = origin.tombstone("chess");
    assert.equal((await put(url, gone)).status, 200);
    assert.deepEqual((await list(url, {}, "chess")).json.entries, [claim]);
    assertProblem(await put(url, second), 409, "STALE_ENTRY");
    assert.deepEqual((await list(url, {}, "nothing")).json.entries, []);
    assert.equal((await put(url, other.tombstone("chess"))).status, 200);
  });

  test("lists are found by tag and text, in parts, and origins take turns", async () => {
    for (let number = 0; number < 5; number += 1)
      assert.equal((await put(url, origin.entry(`many-${number}`, { tags: ["many", `t${number}`] }))).status, 201);
    assert.equal((await put(url, other.entry("lone", { tags: ["many"], description: "Äpfel" }))).status, 201);
    const all = await list(url, { tag: "many" });
    assert.equal(all.json.total, 6);
    assert.ok(names(all).indexOf("lone") < 2, "the other origin has its turn");
    const parts = await Promise.all([0, 2, 4, 6].map((offset) => list(url, { tag: "many", limit: "2", offset: String(offset) })));
    assert.deepEqual(parts.flatMap(names), names(all));
    assert.deepEqual(names(await list(url, { tag: "t3" })), ["many-3"]);
    assert.deepEqual(names(await list(url, { q: "ÄPFEL" })), ["lone"]);
    assert.deepEqual(names(await list(url, { q: "many-4" })), ["many-4"]);
    for (const query of [{ limit: "0" }, { limit: "101" }, { limit: "x" }, { offset: "-1" }, { offset: "10001" }, { tag: "x".repeat(33) }, { q: "x".repeat(65) }])
      assertProblem(await list(url, query), 400, "MALFORMED");
  });

  test("what is not as it should be is refused by name", async () => {
    const good = (overrides, envelope) => origin.entry("refused", overrides, envelope);
    const now = Date.now();
    for (const [record, status, code] of [
      [good({ expiresAt: now + 31 * DAY_MS }), 400, "LIFETIME_TOO_LONG"],
      [good({ updated: now + 60_000 }), 400, "NOT_YET_VALID"],
      [good({ updated: now - 2_000, expiresAt: now - 1_000 }), 400, "EXPIRED"],
      [good({ description: "x".repeat(281) }), 400, "MALFORMED"],
      [good({ beacons: [{ id: base64(16), url: "http://beacon.example" }] }), 400, "MALFORMED"],
      [good({ beacons: [{ id: base64(16), url: "https://user@beacon.example" }] }), 400, "MALFORMED"],
      [good({ beacons: [{ id: base64(16), url: "https://192.0.2.1" }] }), 400, "MALFORMED"],
      [good({ beacons: ["a", "b"].map((name) => ({ id: base64(16), url: `https://${name}.beacon.example` })) }), 400, "MALFORMED"],
      [good({ more: 1 }), 400, "MALFORMED"],
      [good({}, { version: 2 }), 400, "UNSUPPORTED_VERSION"],
      [good({}, { algorithm: "rsa" }), 400, "UNSUPPORTED_ALGORITHM"],
      [good({}, { publicKey: other.key.publicKey }), 403, "SIGNATURE_INVALID"],
      [good({}, { signature: base64(64) }), 403, "SIGNATURE_INVALID"],
    ])
      assertProblem(await put(url, record), status, code);
    assertProblem(await put(url, good(), { name: "another" }), 400, "MALFORMED", /refused/);
    assertProblem(await put(url, good(), { as: "tombstone" }), 400, "MALFORMED");
    assertProblem(await put(url, good(), { name: "a%20b" }), 400, "COMMUNITY_INVALID");
    for (const name of [".", ".."])
      for (const record of [origin.entry(name), origin.tombstone(name)])
        assertProblem(await put(url, record, { name: "refused" }), 400, "MALFORMED", /neither \. nor \.\./);
    const body = (body) => call(url, "/v1/communities/refused", { method: "PUT", body });
    assertProblem(await body("{"), 400, "MALFORMED");
    assertProblem(await body(" ".repeat(20_000)), 413, "BODY_TOO_LARGE");
    const wrong = await call(url, "/v1/communities", { method: "POST", body: "{}" });
    assertProblem(wrong, 405, "METHOD_NOT_ALLOWED");
    assert.equal(wrong.headers.get("Allow"), "GET, HEAD, OPTIONS");
    assertProblem(await call(url, "/v1/hubs/exchange"), 405, "METHOD_NOT_ALLOWED");
    assert.equal((await call(url, "/v1/communities/refused", { method: "OPTIONS" })).status, 204);
    assert.deepEqual(names(await list(url, {}, "refused")), []);
    // Nobody is a peer of this one.
    assertProblem(await call(url, "/v1/hubs/exchange", { json: { exchange: exchange(newPeer(), url) } }), 403, "UNTRUSTED_PUBLIC_KEY");
  });

  test("an origin has 64 names, those that it took away among them", async () => {
    const many = new Origin();
    await withHost(host, { vars: { HUB_ORIGINS: many.key.publicKey, ADDRESS_REQUESTS_PER_MINUTE: "600" } }, async ({ url }) => {
      for (let number = 0; number < 63; number += 1) assert.equal((await put(url, many.entry(`n${number}`))).status, 201);
      assert.equal((await put(url, many.tombstone("gone"))).status, 201);
      const full = await put(url, many.entry("one-more"));
      assertProblem(full, 429, "HUB_FULL");
      assert.equal(full.headers.get("Retry-After"), "3600");
      // One that is known needs no room.
      assert.equal((await put(url, many.entry("gone"))).status, 200);
      assert.equal((await list(url, { limit: "100" })).json.total, 64);
    });
  });

  test("there is no directory where none is configured", async () => {
    await withHost(host, {}, async ({ url }) => {
      assert.equal((await call(url, "/v1/communities")).status, 404);
      assert.equal((await put(url, origin.entry("chess"))).status, 404);
      assert.equal((await call(url, "/v1/relay")).status, 200);
    });
  });

  test("a bad value of a variable ends the start, and no private key is shown", async () => {
    const secret = pkcs8(newPeer());
    for (const [vars, name] of [
      [{ HUB_ORIGINS: "key" }, "HUB_ORIGINS"],
      [{ HUB_PEERS: "https://hub.example", HUB_KEY: secret }, "HUB_PEERS"],
      [{ HUB_PEERS: `http://hub.example=${newPeer().publicKey}`, HUB_KEY: secret }, "HUB_PEERS"],
      [{ HUB_PEERS: `https://hub.example=${newPeer().publicKey}` }, "HUB_KEY"],
      [{ HUB_KEY: secret }, "HUB_KEY"],
      [{ HUB_PULL_SECONDS: "2" }, "HUB_PULL_SECONDS"],
      [{ HUB_PEER: "" + newPeer().publicKey }, "HUB_PEERS"],
    ])
      await assert.rejects(host.start({ vars }), ({ message }) => message.includes(name) && message.includes("exit code 2") && !message.includes(secret));
  });

  test("the browser library finds communities, and the beacons of each", async () => {
    const beacons = Array.from({ length: 5 }, (_, number) => ({ id: base64(16), url: `https://b${number}-beacon.example` }));
    await put(url, origin.entry("library", { beacons, tags: ["found"] }));
    const { communities, problems } = await findCommunities([url], { tag: "found" });
    assert.equal(problems.size, 0);
    assert.deepEqual(communities.map(({ origin, name }) => [origin, name]), [[origin.key.publicKey, "library"]]);
    const chosen = await beaconsOf(communities[0]);
    assert.equal(new Set(chosen).size, 3);
    assert.deepEqual(await beaconsOf({ name: "library", beacons: [...beacons].reverse() }), chosen);
    const moved = await beaconsOf({ name: "library", beacons: beacons.filter((beacon) => beacon.url !== chosen[0]) });
    assert.deepEqual(moved.slice(0, 2), chosen.slice(1));
  });
});

/** Hubs that ask one another in a ring, each with an origin of its own; `run(index)` starts one. */
async function ring(count) {
  const ports = await Promise.all(Array.from({ length: count }, freePort));
  const keys = ports.map(() => newPeer());
  const origins = ports.map(() => new Origin());
  const states = await Promise.all(ports.map(() => mkdtemp(join(tmpdir(), "directory-test-"))));
  const at = (index) => (index + count) % count;
  const peer = (index) => `http://127.0.0.1:${ports[at(index)]}=${keys[at(index)].publicKey}`;
  const run = (index) =>
    host.start({
      port: ports[index],
      state: states[index],
      vars: {
        HUB_ORIGINS: origins[index].key.publicKey,
        // The one after it, and the one before it, which has to be trusted to be answered.
        HUB_PEERS: [...new Set([peer(index + 1), peer(index - 1)])].join(),
        HUB_KEY: pkcs8(keys[index]),
        HUB_PULL_SECONDS: "3",
        // They are asked twenty times a second until they know what they are to.
        NETWORK_REQUESTS_PER_MINUTE: "100000",
        ADDRESS_REQUESTS_PER_MINUTE: "100000",
      },
    });
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  return { urls, keys, origins, run, clear: () => Promise.all(states.map((state) => rm(state, { recursive: true, force: true }))) };
}

test("hubs converge, whichever of them is killed meanwhile, and what was taken away stays away", async () => {
  const { urls, origins, run, clear } = await ring(3);
  const running = await Promise.all([0, 1, 2].map(run));
  try {
    const known = async (url) => names(await list(url)).sort().join();
    const allKnow = (expected) => Promise.all(urls.map((url) => eventually(() => known(url), (found) => found === expected)));
    await Promise.all(origins.map((origin, index) => put(urls[index], origin.entry(`of-${index}`))));
    await allKnow("of-0,of-1,of-2");

    // Killed, and what comes meanwhile is there when it is back.
    await running[1].kill();
    assert.equal((await put(urls[0], origins[0].tombstone("of-0"))).status, 200);
    assert.equal((await put(urls[2], origins[2].entry("later"))).status, 201);
    await eventually(() => known(urls[2]), (found) => found === "later,of-1,of-2");
    running[1] = await run(1);
    await allKnow("later,of-1,of-2");

    // One that was away when all others learn of it, too.
    await running[0].kill();
    const old = origins[1].entry("of-1", { description: "older" });
    assert.equal((await put(urls[1], origins[1].entry("of-1", { description: "newest" }))).status, 200);
    assertProblem(await put(urls[1], old), 409, "STALE_ENTRY");
    running[0] = await run(0);
    const described = async (url) => (await list(url, {}, "of-1")).json.entries.map(({ payload }) => payload.description).join();
    await Promise.all(urls.map((url) => eventually(() => described(url), (found) => found === "newest")));

    // What came back from storage knows what was taken away.
    assertProblem(await put(urls[0], origins[0].tombstone("of-0", { updated: 1 })), 400, "EXPIRED");
    assert.deepEqual(names(await list(urls[0], {}, "of-0")), []);
    const { communities, problems } = await findCommunities([...urls, "http://127.0.0.1:9"]);
    assert.deepEqual(communities.map(({ name }) => name).sort(), ["later", "of-1", "of-2"]);
    assert.deepEqual([...problems], [["http://127.0.0.1:9", "NETWORK"]]);
  } finally {
    await Promise.all(running.map((hub) => hub.stop()));
    await clear();
  }
});

test("an exchange is for a peer, at this hub, now and once", async () => {
  const { urls, keys, origins, run, clear } = await ring(2);
  let hub = await run(0);
  try {
    await put(urls[0], origins[0].entry("chess"));
    const ask = (signed) => call(urls[0], "/v1/hubs/exchange", { json: { exchange: signed } });
    const good = exchange(keys[1], urls[0]);
    const { json, status } = await ask(good);
    assert.equal(status, 200);
    assert.deepEqual([json.ok, json.more, json.records.length, json.ways], [true, false, 1, [[0, 0]]]);
    assert.match(json.position, /^[\da-f]{8}-1$/);
    assertProblem(await ask(good), 409, "REPLAYED");
    const rest = await ask(exchange(keys[1], urls[0], { since: json.position }));
    assert.deepEqual([rest.json.records, rest.json.position], [[], json.position]);
    assert.equal((await ask(exchange(keys[1], urls[0], { since: "00000000-1" }))).json.records.length, 1);
    assertProblem(await ask(exchange(newPeer(), urls[0])), 403, "UNTRUSTED_PUBLIC_KEY");
    assertProblem(await ask(exchange(keys[1], urls[1])), 421, "MISDIRECTED_REQUEST");
    assertProblem(await ask(exchange(keys[1], urls[0], { issuedAt: Date.now() - 61_000 })), 400, "EXPIRED");
    assertProblem(await ask(exchange(keys[1], urls[0], { issuedAt: Date.now() + 70_000 })), 400, "NOT_YET_VALID");
    assertProblem(await ask({ ...exchange(keys[1], urls[0]), signature: base64(64) }), 403, "SIGNATURE_INVALID");
    assertProblem(await ask(exchange(keys[1], urls[0], { nonce: "" })), 400, "MALFORMED");
    await hub.kill();
    hub = await run(0);
    assertProblem(await ask(good), 409, "REPLAYED");
    assert.equal((await ask(exchange(keys[1], urls[0]))).status, 200);
  } finally {
    await hub.stop();
    await clear();
  }
});

test("a link with the origin finds its entry, however many others claim the name", async () => {
  const origin = new Origin();
  const [own, hostile] = [newPeer(), newPeer()];
  const minted = Array.from({ length: 150 }, () => ({ entry: new Origin().entry("chess") }));
  const server = createServer((request, response) => {
    request.resume();
    const ways = minted.map(() => [0, 0]);
    response.end(JSON.stringify({ ok: true, more: false, records: minted, ways, position: "00000001-150", serverTime: Date.now() }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const peer = `http://127.0.0.1:${server.address().port}=${hostile.publicKey}`;
  const vars = { HUB_ORIGINS: origin.key.publicKey, HUB_PEERS: peer, HUB_KEY: pkcs8(own), HUB_PULL_SECONDS: "3" };
  try {
    await withHost(host, { vars }, async ({ url }) => {
      const entry = origin.entry("chess");
      assert.equal((await put(url, entry)).status, 201);
      await eventually(async () => (await list(url, {}, "chess")).json.total, (total) => total === 151);
      const query = { origin: origin.key.publicKey };
      for (const name of ["chess", undefined]) assert.deepEqual((await list(url, query, name)).json.entries, [entry]);
      const { communities } = await findCommunities([url], { name: "chess", origin: origin.key.publicKey });
      assert.deepEqual(communities.map(({ origin, name }) => [origin, name]), [[origin.key.publicKey, "chess"]]);
      assert.deepEqual((await findCommunities([url], { origin: newPeer().publicKey })).communities, []);
      await assert.rejects(findCommunities([url], { origin: "chess" }), TypeError);
      for (const origin of ["", "chess", base64(31)]) assertProblem(await list(url, { origin }, "chess"), 400, "MALFORMED", /origin/);
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a hostile hub can leave out, and nothing else", async () => {
  const [origin, minted] = [new Origin(), new Origin()];
  const [own, hostile] = [newPeer(), newPeer()];
  const good = origin.entry("chess", { description: "good" });
  const older = origin.entry("old", { updated: Date.now() - 40 * DAY_MS, expiresAt: Date.now() - 20 * DAY_MS });
  const forged = [
    { entry: { ...good, payload: { ...good.payload, name: "forged" } } },
    { entry: { ...good, payload: { ...good.payload, updated: good.payload.updated + 1 } } },
    { entry: { ...minted.entry("forged"), publicKey: origin.key.publicKey } },
    { entry: minted.entry("forged", { updated: Date.now() + DAY_MS }) },
    { entry: minted.entry("forged", { expiresAt: Date.now() + 90 * DAY_MS }) },
    { tombstone: { ...origin.tombstone("chess"), signature: base64(64) } },
    { tombstone: good },
    { entry: older },
    {},
    "forged",
  ];
  let turn = 0;
  const asked = [];
  /** What it answers, one after the other; then nothing new. */
  const answers = [
    (answer) => answer.json(forged.concat({ entry: good }), { position: "00000001-1" }),
    // It says that there is more, for ever, and gets no further.
    (answer) => answer.json([], { position: "00000001-1", more: true }),
    (answer) => answer.raw("x".repeat(3_000_000)),
    (answer) => answer.raw("{}"),
    (answer) => answer.json([], { position: "0" }),
  ];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    asked.push(JSON.parse(body).exchange);
    const raw = (text) => response.end(text);
    const json = (records, more) =>
      raw(JSON.stringify({ ok: true, more: false, records, ways: records.map(() => [0, 0]), serverTime: Date.now(), ...more }));
    (answers[turn++] ?? ((answer) => answer.json([], { position: "00000001-1" })))({ raw, json });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin2 = `http://127.0.0.1:${server.address().port}`;
  const vars = { HUB_ORIGINS: new Origin().key.publicKey, HUB_PEERS: `${origin2}=${hostile.publicKey}`, HUB_KEY: pkcs8(own), HUB_PULL_SECONDS: "3" };
  try {
    await withHost(host, { vars }, async ({ url }, log) => {
      await eventually(async () => names(await list(url)).join(), (found) => found === "chess");
      // Failures are waited out: the third turn is the last that comes soon.
      await eventually(async () => turn, (turns) => turns >= 3);
      assert.deepEqual((await list(url)).json.entries, [good]);
      const events = log.map((line) => JSON.parse(line)).filter(({ event }) => event.startsWith("exchange"));
      assert.deepEqual(events.map(({ event }) => event).filter((event) => event === "exchange_refused"), ["exchange_refused"]);
      // It is asked as the specification says, and from where it left off.
      assert.deepEqual(asked.slice(0, 3).map(({ payload }) => [payload.audience, payload.since]), [[origin2, undefined], [origin2, "00000001-1"], [origin2, "00000001-1"]]);
      assert.equal(new Set(asked.map(({ payload }) => payload.nonce)).size, asked.length);
      assert.ok(asked.every(({ publicKey }) => publicKey === own.publicKey));
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
