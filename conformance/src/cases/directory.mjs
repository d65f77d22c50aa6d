// Section 20 of the specification: a hub, by what origins put, what readers are told, and what other hubs ask.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { DAY_MS, Origin, ask, askForAll, exchange, list, peerKey, sealRecord } from "../directory.mjs";
import { SMALL_ORDER, base64, canonical, malleate, newKey, signText } from "../signing.mjs";

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

const add = (id, title, run, attack, level = "full") =>
  cases.push({ id: `directory.${id}`, spec: "20", title, level, attack, run });

const isOk = (reply, status = 200) => {
  assert.equal(reply.status, status, reply.text.slice(0, 300));
  assert.equal(reply.json.ok, true);
  return reply.json;
};
const namesIn = ({ json }) => json.entries.map(({ payload }) => payload.name);

// What readers ask

add("list", "GET /v1/communities answers with entries and their number, which caches may keep for a minute", async (trial) => {
  const reply = await list(trial);
  const { entries, total } = isOk(reply);
  assert.ok(Array.isArray(entries) && entries.length <= 50 && Number.isSafeInteger(total) && total >= entries.length);
  assert.equal(reply.headers["cache-control"], "public, max-age=60");
});
for (const [id, query] of Object.entries({
  "limit-zero": { limit: "0" },
  "limit-101": { limit: "101" },
  "limit-text": { limit: "many" },
  "offset-negative": { offset: "-1" },
  "origin-short": { origin: base64(31) },
  "origin-unescaped": { origin: base64(32).replace("=", "") },
})) {
  add(`list.${id}`, "refuses a query that cannot be meant: MALFORMED", async (trial) =>
    trial.isRefused(await list(trial, undefined, query), "MALFORMED"),
  );
}
add("list.nobody", "answers with no entries for an origin that has none, and for a name that nobody has", async (trial) => {
  for (const reply of [
    await list(trial, undefined, { origin: newKey().publicKey }),
    await list(trial, `conformance-nobody-${Math.floor(trial.now())}`),
  ])
    assert.deepEqual([isOk(reply).entries, reply.json.total], [[], 0]);
});
add("name.invalid", "a path whose last part is no name is COMMUNITY_INVALID", async (trial) => {
  for (const name of ["a%20b", "x".repeat(65), "%C3%A9"]) trial.isRefused(await list(trial, name), "COMMUNITY_INVALID");
});
for (const [id, path, method, allowed] of [
  ["list", "/v1/communities", "POST", ["GET"]],
  ["name", "/v1/communities/chess", "POST", ["GET", "PUT"]],
  ["exchange", "/v1/hubs/exchange", "GET", ["POST"]],
]) {
  add(`methods.${id}`, "another method is METHOD_NOT_ALLOWED, with those that there are", async (trial) => {
    const reply = await trial.request(path, { method, ...(method === "POST" && { body: "{}" }) });
    trial.isRefused(reply, "METHOD_NOT_ALLOWED");
    const allow = reply.headers.allow.split(/, */);
    for (const one of allowed) assert.ok(allow.includes(one), allow.join());
  });
}

// What nobody may put, whoever signs it: judged before the origin is

const refused = (id, code, title, make, attack) =>
  add(
    `refused.${id}`,
    `refuses ${title}: ${code}`,
    async (trial) => {
      const origin = new Origin(trial);
      const { record, ...options } = await make(origin, trial);
      trial.isRefused(await origin.put(record, { name: "conformance", ...options }), code);
    },
    attack,
  );
const entry = (id, code, title, overrides, attack) =>
  refused(
    id,
    code,
    title,
    (origin, trial) => ({
      record: origin.entry("conformance", typeof overrides === "function" ? overrides(trial.now()) : overrides),
    }),
    attack,
  );
const beacon = (url, id = base64(16)) => ({ id, url });
const beacons = (...urls) => ({ beacons: urls.map((url) => beacon(url)) });
const many = (count, make) => Array.from({ length: count }, (_, at) => make(at));

for (const field of ["access", "beacons", "capsules", "description", "expiresAt", "name", "tags", "updated"]) {
  refused(`without.${field}`, "MALFORMED", `an entry without ${field}`, (origin) => {
    const payload = origin.entryOf("conformance");
    return { record: sealRecord("entry", origin.key, { ...payload, [field]: undefined }), as: "entry" };
  });
}
entry("unknown-field", "MALFORMED", "an unknown field in an entry", { comment: "" }, "confusion");
entry("null", "MALFORMED", "null in an entry", { root: null }, "confusion");
refused("unknown-field-around", "MALFORMED", "an unknown field beside the payload", (origin) => ({
  record: origin.entry("conformance", {}, { envelope: { comment: "" } }),
}));
refused(
  "twice",
  "MALFORMED",
  "a key that stands twice",
  (origin) => {
    const text = JSON.stringify({ entry: origin.entry("conformance") });
    return { record: {}, body: text.replace('"name":', '"name":"other","name":') };
  },
  "confusion",
);
refused("no-json", "MALFORMED", "what is not JSON", () => ({ record: {}, body: "{" }));
refused("no-record", "MALFORMED", "a body without a record", () => ({ record: {}, body: "{}" }));
refused("two-records", "MALFORMED", "an entry and a tombstone in one body", (origin) => ({
  record: {},
  body: JSON.stringify({ entry: origin.entry("conformance"), tombstone: origin.tombstone("conformance") }),
}));
refused(
  "as-another",
  "MALFORMED",
  "an entry that is put as a tombstone",
  (origin) => ({ record: origin.entry("conformance"), as: "tombstone" }),
  "confusion",
);
refused("another-name", "MALFORMED", "a record of another name than the one in the path", (origin) => ({
  record: origin.entry("another"),
}));
refused("too-large-body", "BODY_TOO_LARGE", "a body of more than 16,384 bytes", () => ({ record: {}, body: " ".repeat(16_385) }), "exhaustion");
entry("too-large", "MALFORMED", "an entry of more than 4,096 bytes", () => ({
  beacons: many(32, (at) => beacon(`https://b${at}.example/${"x".repeat(80)}`)),
}), "exhaustion");
entry("access", "MALFORMED", "another access than open and invite-only", { access: "closed" });
for (const name of [".", ".."]) {
  refused(`name.${name === "." ? "dot" : "two-dots"}`, "MALFORMED", "a name that is taken out of the path of a URL", (origin) => ({
    record: origin.entry(name),
    // As it stands in no path: what is asked for is another name anyway.
    name: "conformance",
  }));
}
entry("name.space", "MALFORMED", "a name with a space", { name: "a b" });
entry("beacons.33", "MALFORMED", "33 beacons", () => ({ beacons: many(33, (at) => beacon(`https://b${at}.example`)) }));
entry("beacons.id-twice", "MALFORMED", "two beacons of one id", () => {
  const id = base64(16);
  return { beacons: [beacon("https://a.example", id), beacon("https://b.example", id)] };
});
entry("beacons.url-twice", "MALFORMED", "two beacons at one address", beacons("https://a.example", "https://a.example"));
entry("beacons.id-short", "MALFORMED", "a beacon whose id has 15 bytes", { beacons: [beacon("https://a.example", base64(15))] });
entry("beacons.field", "MALFORMED", "a beacon with another field", { beacons: [{ ...beacon("https://a.example"), weight: 2 }] });
entry("beacons.one-domain", "MALFORMED", "two beacons of one registrable domain", beacons("https://a.beacon.com", "https://b.beacon.com"), "crowd");
for (const [id, url] of Object.entries({
  http: "http://a.example",
  user: "https://user@a.example",
  query: "https://a.example/?q",
  fragment: "https://a.example/#f",
  slash: "https://a.example/",
  "usual-port": "https://a.example:443",
  ipv4: "https://192.0.2.1",
  "short-ipv4": "https://127.1",
  ipv6: "https://[2001:db8::1]",
  "one-label": "https://localhost",
  "upper-case": "https://A.example",
  dots: "https://a.example/a/../b",
  escape: "https://a.example/%61",
})) {
  entry(`address.${id}`, "MALFORMED", `the address ${url}`, beacons(url));
}
entry("capsules.nine", "MALFORMED", "nine capsules", { capsules: many(9, (at) => `https://c${at}.example`) });
entry("capsules.twice", "MALFORMED", "a capsule twice", { capsules: ["https://c.example", "https://c.example"] });
entry("description.281", "MALFORMED", "a description of 281 bytes", { description: `${"x".repeat(279)}\u00e9` });
entry("description.control", "MALFORMED", "a description with a control character", { description: "a\u0085b" });
entry("tags.nine", "MALFORMED", "nine tags", { tags: many(9, (at) => `t${at}`) });
entry("tags.twice", "MALFORMED", "a tag twice", { tags: ["a", "a"] });
entry("tags.upper-case", "MALFORMED", "a tag in upper case", { tags: ["Chess"] });
entry("tags.33", "MALFORMED", "a tag of 33 bytes", { tags: ["x".repeat(33)] });
entry("times.order", "MALFORMED", "an entry that ends when it begins", (now) => ({ updated: now, expiresAt: now }));
entry("times.fraction", "MALFORMED", "a time with a fraction", (now) => ({ updated: now + 0.5 }));
entry("version", "MALFORMED", "a payload with a version of its own", { version: 1 });
for (const [id, code, envelope] of [
  ["version-two", "UNSUPPORTED_VERSION", { version: 2 }],
  ["algorithm", "UNSUPPORTED_ALGORITHM", { algorithm: "rsa" }],
])
  refused(id, code, `another ${id === "algorithm" ? id : "version"}`, (origin) => ({ record: origin.entry("conformance", {}, { envelope }) }));
entry("lifetime", "LIFETIME_TOO_LONG", "an entry that lives more than 30 days", (now) => ({ updated: now, expiresAt: now + 30 * DAY_MS + 1 }), "future");
entry("future", "NOT_YET_VALID", "an entry of a minute ahead", (now) => ({ updated: now + 60_000 }), "future");
entry("ended", "EXPIRED", "an entry that has ended", (now) => ({ updated: now - 2_000, expiresAt: now - 1_000 }), "replay");
refused(
  "thirty-days",
  "EXPIRED",
  "a tombstone that is 30 days old",
  (origin, trial) => ({ record: origin.tombstone("conformance", { updated: trial.now() - 30 * DAY_MS - 60_000 }) }),
  "replay",
);

const forged = (id, title, make, attack = "forgery") => refused(`signature.${id}`, "SIGNATURE_INVALID", title, make, attack);
forged("another-key", "an entry under another key", (origin) => ({
  record: origin.entry("conformance", {}, { envelope: { publicKey: newKey().publicKey } }),
}));
forged("random", "an entry with a signature of nobody", (origin) => ({
  record: origin.entry("conformance", {}, { envelope: { signature: base64(64) } }),
}));
forged(
  "changed",
  "an entry that was changed",
  (origin) => {
    const record = origin.entry("conformance", { description: "one" });
    return { record: { ...record, payload: { ...record.payload, description: "two" } } };
  },
  "tampering",
);
forged("purpose", "an entry that was signed as a tombstone", (origin) => ({ record: origin.entry("conformance", {}, { as: "tombstone" }) }), "confusion");
forged(
  "domain",
  "an entry that was signed as a record of mailboxes",
  (origin) => {
    const record = origin.entry("conformance");
    return { record: { ...record, signature: signText(`rendezvous-mailbox-v1:entry\n${canonical(record.payload)}`, origin.key) } };
  },
  "confusion",
);
forged(
  "s-plus-order",
  "S + L in the place of S",
  (origin) => {
    const record = origin.entry("conformance");
    return { record: { ...record, signature: malleate(record.signature) } };
  },
  "malleability",
);
forged(
  "small-order",
  "a key of small order",
  (origin) => {
    const [point] = SMALL_ORDER;
    const envelope = { publicKey: point.toString("base64"), signature: Buffer.concat([point, Buffer.alloc(32)]).toString("base64") };
    return { record: origin.entry("conformance", {}, { envelope }) };
  },
  "weak-keys",
);
forged("tombstone", "a tombstone by another key", (origin) => ({
  record: origin.tombstone("conformance", {}, { envelope: { publicKey: newKey().publicKey } }),
}));
forged("root", "a root that another key than the named one endorsed", (origin) => ({ record: origin.rooted("conformance", { named: newKey() }) }));
forged("root-origin", "a root that was endorsed for another origin", (origin) => ({ record: origin.rooted("conformance", { of: newKey() }) }), "replay");
forged("root-file", "another root than was endorsed", (origin) => ({ record: origin.rooted("conformance", { root: { sha256: base64(32) } }) }), "tampering");
refused("root-unsigned", "MALFORMED", "a root that nobody endorsed", (origin) => ({
  record: origin.rooted("conformance", { root: { signature: undefined } }),
}));

// Who may put

for (const kind of ["entry", "tombstone"]) {
  add(
    `origin.${kind}`,
    `a good ${kind} of a key that the operator did not name is ORIGIN_MISMATCH`,
    async (trial) => {
      const origin = new Origin(trial);
      const name = `conformance-${base64(6).replace(/[+/]/g, "-")}`;
      trial.isRefused(await origin.put(origin[kind](name)), "ORIGIN_MISMATCH");
      assert.deepEqual(namesIn(await list(trial, name)), []);
    },
    "forgery",
  );
}

// What becomes of what is put

const listed = (id, title, run, attack, level) => add(id, title, async (trial) => run(trial, ...Origin.listed(trial, id)), attack, level);
/** Of this origin alone: others may use the name. */
const ofOrigin = (trial, origin, name, query = {}) => list(trial, name, { origin: origin.key.publicKey, ...query });

listed("put", "an entry is taken, and listed as it was signed", async (trial, origin, name) => {
  const record = origin.entry(name, { description: "Blitz and slow", tags: ["conformance-put"] });
  const reply = await origin.put(record);
  assert.ok([200, 201].includes(reply.status), reply.text);
  assert.deepEqual([reply.json.ok, reply.json.accepted, reply.json.updated], [true, true, record.payload.updated]);
  const found = isOk(await ofOrigin(trial, origin, name));
  assert.deepEqual(found.entries, [record]);
  assert.equal(found.total, 1);
});
listed("put.again", "the very same again is not accepted, and changes nothing", async (trial, origin, name) => {
  const record = origin.entry(name);
  assert.equal((await origin.put(record)).json.accepted, true);
  assert.deepEqual([isOk(await origin.put(record)).accepted], [false]);
  assert.deepEqual((await ofOrigin(trial, origin, name)).json.entries, [record]);
});
listed("put.layout", "an entry may come in any order and layout", async (trial, origin, name) => {
  const record = origin.entry(name);
  const turned = Object.fromEntries(Object.entries(record).reverse());
  const reply = await origin.put(record, { body: JSON.stringify({ entry: turned }, null, "\t") });
  assert.equal(reply.json.accepted, true, reply.text);
});
listed("put.root", "an entry with an endorsed root is taken", async (_trial, origin, name) =>
  assert.equal((await origin.put(origin.rooted(name))).json.accepted, true),
);
listed("find", "entries are found by tag, by text in any case, and by origin", async (trial, origin, name) => {
  await origin.put(origin.entry(name, { description: "Conformance \u00c4pfel", tags: ["conformance-find"] }));
  for (const query of [{ tag: "conformance-find" }, { q: "CONFORMANCE \u00e4PFEL" }, { origin: origin.key.publicKey, q: name }])
    assert.ok(namesIn(await list(trial, undefined, query)).includes(name), JSON.stringify(query));
  for (const query of [{ tag: "conformance-fin" }, { q: "conformance birnen" }, { origin: newKey().publicKey }])
    assert.ok(!namesIn(await list(trial, undefined, query)).includes(name), JSON.stringify(query));
});
listed("replace", "a later entry takes the place of an earlier one", async (trial, origin, name) => {
  await origin.put(origin.entry(name, { description: "one" }));
  const later = origin.entry(name, { description: "two" });
  assert.equal(isOk(await origin.put(later)).accepted, true);
  assert.deepEqual((await ofOrigin(trial, origin, name)).json.entries, [later]);
});
listed(
  "stale",
  "an earlier entry is STALE_ENTRY, with the time of what stands",
  async (trial, origin, name) => {
    const [earlier, later] = [origin.entry(name, { description: "one" }), origin.entry(name, { description: "two" })];
    await origin.put(later);
    const reply = await origin.put(earlier);
    trial.isRefused(reply, "STALE_ENTRY");
    assert.equal(reply.json.standing, later.payload.updated);
    assert.deepEqual((await ofOrigin(trial, origin, name)).json.entries, [later]);
  },
  "replay",
);
listed("equal", "of two entries of one time the same one stays, in whatever order they come", async (trial, origin, name) => {
  const updated = origin.next();
  const both = ["one", "two"].map((description) => origin.entry(name, { updated, description }));
  const [lower, higher] = both.sort((one, other) => (canonical(one) < canonical(other) ? -1 : 1));
  await origin.put(higher);
  trial.isRefused(await origin.put(lower), "STALE_ENTRY");
  assert.deepEqual((await ofOrigin(trial, origin, name)).json.entries, [higher]);
});
listed(
  "tombstone",
  "what its origin took away is not listed, and does not come back",
  async (trial, origin, name) => {
    const record = origin.entry(name);
    await origin.put(record);
    assert.equal(isOk(await origin.put(origin.tombstone(name))).accepted, true);
    assert.deepEqual((await ofOrigin(trial, origin, name)).json.entries, []);
    trial.isRefused(await origin.put(record), "STALE_ENTRY");
    assert.deepEqual((await ofOrigin(trial, origin, name)).json.entries, []);
  },
  "resurrection",
);
listed("tombstone.equal", "a tombstone comes before an entry of the same time", async (trial, origin, name) => {
  const updated = origin.next();
  await origin.put(origin.entry(name, { updated }));
  assert.equal(isOk(await origin.put(origin.tombstone(name, { updated }))).accepted, true);
  trial.isRefused(await origin.put(origin.entry(name, { updated })), "STALE_ENTRY");
});
listed("tombstone.later", "its origin may list again what it took away", async (trial, origin, name) => {
  await origin.put(origin.tombstone(name));
  const record = origin.entry(name);
  assert.equal(isOk(await origin.put(record)).accepted, true);
  assert.deepEqual((await ofOrigin(trial, origin, name)).json.entries, [record]);
});
listed(
  "expired",
  "an entry that has ended is not listed",
  async (trial, origin, name) => {
    const updated = origin.next();
    const record = origin.entry(name, { updated, expiresAt: updated + 10_000 });
    assert.equal((await origin.put(record)).json.accepted, true);
    await delay(record.payload.expiresAt - trial.now() + 500);
    assert.deepEqual((await ofOrigin(trial, origin, name)).json.entries, []);
  },
  undefined,
  "slow",
);

// What other hubs ask

const notAsked = (id, code, title, make, attack) =>
  add(`exchange.${id}`, `refuses ${title}: ${code}`, async (trial) => trial.isRefused(await ask(trial, make(trial)), code), attack);
notAsked("stranger", "UNTRUSTED_PUBLIC_KEY", "the question of a hub that the operator did not name", (trial) => exchange(trial, newKey()));
notAsked("another-hub", "MISDIRECTED_REQUEST", "a question to another hub", (trial) => exchange(trial, newKey(), { audience: "https://other.example" }), "replay");
notAsked("early", "NOT_YET_VALID", "a question of more than a minute ahead", (trial) => exchange(trial, newKey(), { issuedAt: trial.now() + 90_000 }), "future");
notAsked("late", "EXPIRED", "a question that is more than a minute old", (trial) => exchange(trial, newKey(), { issuedAt: trial.now() - 90_000 }), "replay");
notAsked("forged", "SIGNATURE_INVALID", "a question with a signature of nobody", (trial) => exchange(trial, newKey(), {}, { signature: base64(64) }), "forgery");
notAsked("nonce", "MALFORMED", "a nonce of 15 bytes", (trial) => exchange(trial, newKey(), { nonce: base64(15) }));
notAsked("since", "MALFORMED", "a position that is none", (trial) => exchange(trial, newKey(), { since: "1" }));
notAsked("unknown-field", "MALFORMED", "an unknown field", (trial) => exchange(trial, newKey(), { comment: "" }), "confusion");
notAsked("audience-slash", "MALFORMED", "an audience that is not an origin as browsers write it", (trial) =>
  exchange(trial, newKey(), { audience: `${trial.beacon.audience}/` }),
);
add("exchange.all", "tells a peer every record with its way, and then what has changed", async (trial) => {
  peerKey(trial);
  const [origin, name] = Origin.listed(trial, "exchange.all");
  const record = origin.entry(name);
  await origin.put(record);
  const { all, position } = await askForAll(trial);
  assert.match(position, /^[\da-f]{8}-\d+$/);
  for (const { way } of all) assert.ok(way.length === 2 && way[0] >= 0 && way[0] <= 8 && way[1] >= 0 && way[1] <= 255, `${way}`);
  const isOf = (it) => it.record.entry?.payload.name === name && it.record.entry.publicKey === origin.key.publicKey;
  assert.deepEqual(all.filter(isOf), [{ record: { entry: record }, way: [0, 0] }]);
  const gone = origin.tombstone(name);
  await origin.put(gone);
  const rest = await askForAll(trial, position);
  assert.ok(rest.all.some((it) => it.record.tombstone?.signature === gone.signature));
  assert.ok(!rest.all.some(isOf));
});
add(
  "exchange.once",
  "answers a question once: REPLAYED",
  async (trial) => {
    const signed = exchange(trial, peerKey(trial), { since: "00000000-1" });
    isOk(await ask(trial, signed));
    trial.isRefused(await ask(trial, signed), "REPLAYED");
  },
  "replay",
);
