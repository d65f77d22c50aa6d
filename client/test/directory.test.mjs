// The directory: this library reads what the vectors say, and believes no hub.

import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";
import * as internals from "../build/internals.js";
import { CASES, checkDirectoryVectors } from "./directory-vectors.mjs";

const { findCommunities, beaconsOf, canonical, readJson } = internals;
const DAY_MS = 86_400_000;

const files = Object.fromEntries(
  Object.keys(CASES).map((name) => [name, JSON.parse(readFileSync(new URL(`../../tests/vectors/directory/${name}.json`, import.meta.url), "utf8"))]),
);

test("every vector of the directory has the expected outcome", async () => {
  assert.deepEqual(await checkDirectoryVectors(files, internals), []);
});

function newOrigin() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const text = Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url").toString("base64");
  const entry = (name, overrides = {}) => {
    const updated = Date.now();
    const beacons = [{ id: randomBytes(16).toString("base64"), url: "https://beacon.example" }];
    const payload = { access: "open", beacons, capsules: [], description: "", expiresAt: updated + DAY_MS, name, tags: ["tag"], updated, ...overrides };
    const message = `rendezvous-directory-v1:entry\n${canonical(readJson(JSON.stringify(payload)))}`;
    const signature = sign(null, Buffer.from(message), privateKey).toString("base64");
    return { version: 1, algorithm: "ed25519", publicKey: text, signature, payload };
  };
  return { publicKey: text, entry };
}

/** Servers that answer as `answers` say, in their order; `work` gets their URLs, and what each was asked. */
async function withHubs(answers, work) {
  const asked = answers.map(() => []);
  const servers = answers.map((answer, at) =>
    createServer((request, response) => {
      asked[at].push(request.url);
      answer(response);
    }).listen(0, "127.0.0.1"),
  );
  await Promise.all(servers.map((server) => once(server, "listening")));
  try {
    await work(servers.map((server) => `http://127.0.0.1:${server.address().port}`), asked);
  } finally {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  }
}

const list = (...entries) => (response) => response.end(JSON.stringify({ ok: true, serverTime: Date.now(), total: entries.length, entries }));

test("of several hubs the newest of each origin and name counts, and a hub can do no more than leave out", async () => {
  const [one, two] = [newOrigin(), newOrigin()];
  const older = one.entry("chess", { updated: Date.now() - 1_000, description: "older" });
  const newer = one.entry("chess", { description: "newer" });
  const claim = two.entry("chess");
  const more = one.entry("music");
  const forged = [
    { ...newer, payload: { ...newer.payload, description: "forged" } },
    { ...two.entry("chess", { updated: Date.now() + 3_600_000 }) },
    { ...more, publicKey: two.publicKey },
    two.entry("go", { beacons: [{ id: "AAAAAAAAAAAAAAAAAAAAAA==", url: "http://127.0.0.1" }] }),
    null,
    "forged",
  ];
  await withHubs([list(older, more), list(newer, claim), list(...forged, older)], async (hubs, asked) => {
    const { communities, problems } = await findCommunities(hubs);
    assert.equal(problems.size, 0);
    const found = communities.map(({ origin, name, description }) => [origin === one.publicKey ? "one" : "two", name, description]);
    // In turns: each origin's first before any has a second.
    assert.deepEqual(found, [["one", "chess", "newer"], ["two", "chess", ""], ["one", "music", ""]]);
    assert.deepEqual(asked.flat(), Array(3).fill("/v1/communities?limit=100"));
    await findCommunities([`${hubs[0]}/`], { name: "chess", tag: "tag", text: "a b" });
    assert.equal(asked[0][1], "/v1/communities/chess?limit=100&tag=tag&q=a+b");
    // What was not asked for is not given, whatever a hub says.
    assert.deepEqual((await findCommunities(hubs, { name: "music" })).communities.map(({ name }) => name), ["music"]);
    assert.deepEqual((await findCommunities(hubs, { tag: "other" })).communities, []);
    const ofTwo = (await findCommunities(hubs, { name: "chess", origin: two.publicKey })).communities;
    assert.deepEqual(ofTwo.map(({ origin }) => origin), [two.publicKey]);
    const last = new URL(asked[1].at(-1), hubs[1]);
    assert.deepEqual([last.pathname, last.searchParams.get("origin")], ["/v1/communities/chess", two.publicKey]);
  });
});

test("a hub that fails costs only itself, and all that fail are said", async () => {
  const origin = newOrigin();
  const broken = [
    (response) => response.writeHead(500).end("{}"),
    (response) => response.end("[]"),
    (response) => response.end('{"ok":true,"entries":{}}'),
    (response) => response.end("x".repeat(1_000_000)),
    (response) => response.writeHead(302, { Location: "https://elsewhere.example" }).end(),
    (response) => response.destroy(),
  ];
  await withHubs([...broken, list(origin.entry("chess"))], async (hubs) => {
    const { communities, problems } = await findCommunities(hubs);
    assert.deepEqual(communities.map(({ name }) => name), ["chess"]);
    assert.deepEqual([...problems.keys()], hubs.slice(0, -1));
    assert.deepEqual([...problems.values()], ["HTTP_500", "MALFORMED", "MALFORMED", "TOO_LARGE", "NETWORK", "NETWORK"]);
    await assert.rejects(findCommunities(hubs.slice(0, 2)), { name: "Refusal", message: "HTTP_500" });
  });
  await assert.rejects(findCommunities([]), { message: "NETWORK" });
  for (const wrong of [{ name: "a b" }, { name: "." }, { name: ".." }, { origin: "chess" }, { origin: "" }])
    await assert.rejects(findCommunities([], wrong), TypeError);
});

test("a search ends with its signal", async () => {
  await withHubs([() => {}], async (hubs) => {
    const end = new AbortController();
    const search = findCommunities(hubs, { signal: end.signal });
    end.abort(new Error("enough"));
    await assert.rejects(search, { message: "enough" });
    await assert.rejects(findCommunities(hubs, { signal: AbortSignal.abort() }), { name: "AbortError" });
  });
});

test("a beacon that goes moves its own communities alone", async () => {
  const beacons = Array.from({ length: 20 }, (_, at) => ({ id: randomBytes(16).toString("base64"), url: `https://b${at}.example` }));
  for (let number = 0; number < 50; number += 1) {
    const name = `c${number}`;
    const before = await beaconsOf({ name, beacons }, 20);
    const [gone] = beacons;
    const after = await beaconsOf({ name, beacons: beacons.slice(1) }, 20);
    assert.deepEqual(after, before.filter((url) => url !== gone.url));
    assert.deepEqual(await beaconsOf({ name, beacons }), before.slice(0, 3));
  }
});
