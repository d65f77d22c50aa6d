// The HTTP interface: the README's tables, row by row.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { Skip } from "../trial.mjs";
import { base64 } from "../signing.mjs";
import { newPeer } from "../ticket.mjs";

const BODY_MAX_BYTES = 4_096;

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

const add = (id, title, run, { attack, level = "basic" } = {}) => cases.push({ id: `http.${id}`, spec: "HTTP", title, level, attack, run });

const isTime = (trial, time) => assert.ok(Number.isSafeInteger(time) && Math.abs(time - trial.now()) < 60_000, `serverTime is ${time}`);
const list = (trial, query = "", options) => trial.request(`/peers?community=${trial.community}${query}`, options);
const names = ({ json }) => json.peers.map(({ payload }) => payload.peerId);

// POST /announce

/** Holds for the answer to a ticket that is accepted. */
const announced = (id, title, check) =>
  add(`announce.answer.${id}`, title, async (trial) => {
    const other = await trial.join();
    const { reply, ticket } = await trial.join();
    check(reply.json, { trial, ticket, reply, other });
  });
announced("ok", "an accepted ticket is answered ok, accepted and listed", (json) =>
  assert.deepEqual([json.ok, json.accepted, json.listed], [true, true, true]),
);
announced("community", "the answer names the community", (json, { trial }) => assert.equal(json.community, trial.community));
announced("server-time", "the answer has the beacon's time", (json, { trial }) => isTime(trial, json.serverTime));
announced("expires-at", "the answer says when the ticket ends", (json, { ticket }) =>
  assert.equal(json.expiresAt, ticket.payload.expiresAt),
);
announced(
  "announce-after",
  "the answer says after how many milliseconds to announce again, before the ticket ends",
  ({ announceAfterMs }) =>
    assert.ok(
      Number.isSafeInteger(announceAfterMs) && announceAfterMs > 0 && announceAfterMs < 180_000,
      `announceAfterMs is ${announceAfterMs}`,
    ),
);
announced("total", "the answer says how many are listed", ({ total, peers }) =>
  assert.ok(Number.isSafeInteger(total) && total >= peers.length + 1, `total is ${total}`),
);
announced("peers", "the answer has the others, and since when they are present", ({ peers, since }, { other }) => {
  assert.ok(peers.some(({ signature }) => signature === other.ticket.signature));
  assert.equal(since.length, peers.length);
});
announced("without-caller", "the answer leaves out the caller's own ticket", ({ peers }, { ticket }) =>
  assert.ok(peers.every(({ publicKey }) => publicKey !== ticket.publicKey)),
);
announced("media-type", "the answer is JSON in UTF-8", (_, { reply }) =>
  assert.match(reply.headers["content-type"] ?? "", /^application\/json; ?charset=utf-8$/i),
);

/** Holds for a body that is not one JSON object of a ticket and maybe a community. */
const body = (id, title, make, codes = "MALFORMED", attack = undefined) =>
  add(
    `body.${id}`,
    `refuses ${title}`,
    async (trial) => {
      const good = JSON.stringify(trial.ticket());
      for (const path of ["/announce", "/leave"]) {
        const reply = await trial.request(`${path}?community=${trial.community}`, { method: "POST", body: make(good) });
        trial.isRefused(reply, codes);
      }
    },
    { attack },
  );
body("empty", "an empty body", () => "");
body("not-json", "a body that is not JSON", () => "{");
body("array", "an array for the body", (ticket) => `[${ticket}]`, "MALFORMED", "confusion");
body("null", "null for the body", () => "null");
body("no-ticket", "a body without a ticket", () => "{}");
body("unknown-field", "an unknown field in the body", (ticket) => `{"ticket":${ticket},"more":1}`, "MALFORMED", "confusion");
body("two-tickets", "two tickets in one body", (ticket) => `{"ticket":${ticket},"ticket":${ticket}}`, "MALFORMED", "confusion");
body("more-after-it", "something after the object", (ticket) => `{"ticket":${ticket}}{}`, "MALFORMED", "confusion");
body("not-utf-8", "a body that is not UTF-8", (ticket) =>
  Buffer.concat([Buffer.from(`{"ticket":${ticket.replace('"conformance"', '"')}`.slice(0, -1)), Buffer.from([0xff]), Buffer.from('"}}')]),
);
body("single-quotes", "JavaScript that is not JSON", (ticket) => `{ticket:${ticket}}`);
body("comment", "a comment in JSON", (ticket) => `{"ticket":${ticket}/**/}`);
body("deep", "JSON that is nested without end", () => `{"ticket":${"[".repeat(4_000)}`, "MALFORMED", "exhaustion");
body(
  "community-number",
  "a number for the community in the body",
  (ticket) => `{"ticket":${ticket},"community":7}`,
  "MALFORMED|COMMUNITY_INVALID",
);

for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/json", "nonsense"]) {
  add(`body.type.${type.replace("/", "-")}`, `reads a body of type ${type} as JSON`, async (trial) => {
    trial.isAccepted(await trial.announce(trial.ticket(), { headers: { "Content-Type": type } }));
  });
}
add("body.without-type", "reads a body without a type as JSON", async (trial) => trial.isAccepted(await trial.announce(trial.ticket())));
add("body.chunked", "reads a body without a length", async (trial) => {
  const text = JSON.stringify({ ticket: trial.ticket(), community: trial.community });
  trial.isAccepted(await trial.request("/announce", { chunks: [text.slice(0, 50), text.slice(50)] }));
});
add("body.longest", "takes a body of 4,096 bytes", async (trial) => {
  const text = JSON.stringify({ ticket: trial.ticket(), community: trial.community });
  trial.isAccepted(await trial.request("/announce", { body: text.padEnd(BODY_MAX_BYTES) }));
});
add(
  "body.too-large",
  "a body of 4,097 bytes is BODY_TOO_LARGE",
  async (trial) => {
    const text = JSON.stringify({ ticket: trial.ticket(), community: trial.community });
    trial.isRefused(await trial.request("/announce", { body: text.padEnd(BODY_MAX_BYTES + 1) }), "BODY_TOO_LARGE");
  },
  { attack: "exhaustion" },
);
add(
  "body.too-large-in-chunks",
  "counts a body without a length while it reads it",
  async (trial) => {
    const chunks = Array.from({ length: 16 }, () => " ".repeat(1_024));
    trial.isRefused(await trial.request(`/announce?community=${trial.community}`, { chunks }), "BODY_TOO_LARGE");
  },
  { attack: "exhaustion" },
);
add(
  "body.too-large-leaves-others",
  "a body of megabytes harms nobody else",
  async (trial) => {
    const reply = await trial.request("/announce", { body: "x".repeat(4 * 1_048_576), isPatient: false }).catch(() => undefined);
    if (reply) trial.isRefused(reply, "BODY_TOO_LARGE");
    await trial.join();
  },
  { attack: "exhaustion" },
);
add(
  "body.slow",
  "a body that takes more than 10 s is BODY_TIMEOUT, or its connection ends",
  async (trial) => {
    const url = new URL(trial.beacon.url);
    const secure = url.protocol === "https:";
    const port = Number(url.port || (secure ? 443 : 80));
    const socket = secure ? connectTls({ port, host: url.hostname, servername: url.hostname }) : connect(port, url.hostname);
    const started = Date.now();
    let answer = "";
    const over = new Promise((resolve) => {
      socket
        .on("error", resolve)
        .on("close", resolve)
        .on("data", (data) => ((answer += data), resolve()));
    });
    socket.write(`POST /announce?community=${trial.community} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 400\r\n\r\n{"ticket":`);
    await Promise.race([over, delay(30_000)]);
    socket.destroy();
    const waited = Date.now() - started;
    assert.ok(waited > 8_000 && waited < 20_000, `answered after ${waited} ms`);
    if (answer) assert.match(answer, /^HTTP\/1\.1 408 /);
  },
  { level: "slow", attack: "exhaustion" },
);

// The community

add("community.in-query", "the query names the community", async (trial) => {
  const reply = await trial.request(`/announce?community=${trial.community}`, { json: { ticket: trial.ticket() } });
  trial.isAccepted(reply);
  assert.equal(reply.json.community, trial.community);
});
add("community.in-body", "the body names the community", async (trial) => {
  const reply = await trial.request("/announce", { json: { ticket: trial.ticket(), community: trial.community } });
  trial.isAccepted(reply);
  assert.equal(reply.json.community, trial.community);
});
add("community.in-both", "query and body may agree", async (trial) => {
  const reply = await trial.request(`/announce?community=${trial.community}`, {
    json: { ticket: trial.ticket(), community: trial.community },
  });
  trial.isAccepted(reply);
});
add(
  "community.contradiction",
  "where query and body name two, it is COMMUNITY_MISMATCH",
  async (trial) => {
    const other = trial.otherCommunity();
    const reply = await trial.request(`/announce?community=${other}`, { json: { ticket: trial.ticket(), community: trial.community } });
    trial.isRefused(reply, "COMMUNITY_MISMATCH");
  },
  { attack: "confusion" },
);
add("community.default", "without a name it is the default one", async (trial) => {
  const { status, json } = await trial.request("/peers");
  assert.deepEqual([status, typeof json.community], [200, "string"]);
});
for (const [name, community] of [
  ["empty", ""],
  ["space", "a b"],
  ["slash", "a/b"],
  ["non-ascii", "ä"],
  ["65-characters", "a".repeat(65)],
  ["quote", 'a"b'],
  ["null-character", "a\0"],
]) {
  add(`community.invalid.${name}`, `${JSON.stringify(community.slice(0, 8))} is COMMUNITY_INVALID`, async (trial) => {
    trial.isRefused(await trial.request(`/peers?community=${encodeURIComponent(community)}`), "COMMUNITY_INVALID");
    trial.isRefused(await trial.request("/announce", { json: { ticket: trial.ticket(), community } }), "COMMUNITY_INVALID");
    trial.isRefused(
      await trial.request(`/leave?community=${encodeURIComponent(community)}`, { json: { ticket: trial.goodbye(newPeer()) } }),
      "COMMUNITY_INVALID",
    );
  });
}
add(
  "community.unknown",
  "a community that is not served is COMMUNITY_UNKNOWN",
  async (trial) => {
    if (trial.beacon.isOpen) throw new Skip("the beacon serves every community");
    trial.isRefused(await trial.request("/peers?community=nobody-serves-this"), "COMMUNITY_UNKNOWN");
    trial.isRefused(
      await trial.announce(trial.ticket(newPeer(), { community: "nobody-serves-this" }), { community: "nobody-serves-this" }),
      "COMMUNITY_UNKNOWN",
    );
  },
  { attack: "exhaustion" },
);
add("query.broken", "a query that is no UTF-8 is answered with 400", async (trial) => {
  assert.equal((await trial.request("/peers?community=%ff%00&limit=%zz")).status, 400);
});

// POST /leave

add("leave.answer", "a goodbye is answered ok, left and serverTime", async (trial) => {
  const { peer } = await trial.join();
  const { status, json } = await trial.leave(trial.goodbye(peer));
  const { serverTime, ...rest } = json;
  assert.deepEqual([status, rest], [200, { ok: true, left: true }]);
  isTime(trial, serverTime);
});
add("leave.refused-by-status", "a goodbye that signs no community and is wrong is refused by its status", async (trial) => {
  const goodbye = trial.goodbye(newPeer(), { community: undefined, envelope: { signature: base64(64) } });
  trial.isRefused(await trial.leave(goodbye), "SIGNATURE_INVALID");
});
add("leave.without-community", "a goodbye may sign no community", async (trial) => {
  const { peer } = await trial.join();
  assert.equal((await trial.leave(trial.goodbye(peer, { community: undefined }))).json.left, true);
});

// GET /peers

add("peers.answer", "GET /peers has ok, community, serverTime, total, since and peers", async (trial) => {
  const { ticket } = await trial.join();
  const { status, json } = await list(trial);
  assert.deepEqual([status, json.ok, json.community], [200, true, trial.community]);
  isTime(trial, json.serverTime);
  assert.ok(Number.isSafeInteger(json.total) && json.total >= json.peers.length);
  assert.equal(json.since.length, json.peers.length);
  assert.deepEqual(
    json.peers.find(({ publicKey }) => publicKey === ticket.publicKey),
    ticket,
  );
});
add("peers.empty", "nobody is present where nobody has come", async (trial) => {
  const community = trial.beacon.isOpen ? trial.otherCommunity() : trial.community;
  const { json } = await trial.request(`/peers?community=${community}`);
  assert.ok(Array.isArray(json.peers) && Array.isArray(json.since));
});
add("peers.limit", "limit bounds how many are in an answer, and total counts all", async (trial) => {
  for (let times = 0; times < 3; times += 1) await trial.join();
  const { json } = await list(trial, "&limit=2");
  assert.equal(json.peers.length, 2);
  assert.ok(json.total >= 3, `total is ${json.total}`);
});
add(
  "peers.limit.large",
  "a limit above what an answer holds is that limit",
  async (trial) => {
    await trial.join();
    const { status, json } = await list(trial, "&limit=1000000");
    assert.equal(status, 200);
    assert.ok(json.peers.length <= 200);
  },
  { attack: "exhaustion" },
);
for (const [name, limit] of [
  ["zero", "0"],
  ["negative", "-1"],
  ["fraction", "1.5"],
  ["words", "ten"],
  ["empty", ""],
  ["hexadecimal", "0x10"],
  ["exponent", "1e1"],
  ["plus", "%2B5"],
  ["space", "%205"],
]) {
  add(`peers.limit.${name}`, `a limit of "${decodeURIComponent(limit)}" is LIMIT_INVALID`, async (trial) =>
    trial.isRefused(await list(trial, `&limit=${limit}`), "LIMIT_INVALID"),
  );
}
add("peers.exclude.name", "exclude leaves out every claim to a peerId", async (trial) => {
  const one = await trial.join();
  const two = await trial.join(newPeer({ peerId: one.peer.peerId }));
  const other = await trial.join();
  const reply = await list(trial, `&exclude=${one.peer.peerId}`);
  assert.ok(!names(reply).includes(one.peer.peerId) && !reply.text.includes(two.ticket.signature));
  assert.ok(names(reply).includes(other.peer.peerId));
});
add(
  "peers.exclude.claim",
  "exclude with a key leaves out that claim alone",
  async (trial) => {
    const one = await trial.join();
    const two = await trial.join(newPeer({ peerId: one.peer.peerId }));
    const reply = await list(trial, `&exclude=${encodeURIComponent(`${one.peer.peerId}:${one.peer.publicKey}`)}`);
    assert.ok(!reply.text.includes(one.ticket.signature) && reply.text.includes(two.ticket.signature));
  },
  { attack: "squatting" },
);
add("peers.exclude.nobody", "exclude of somebody who is not there leaves out nobody", async (trial) => {
  const { peer } = await trial.join();
  assert.ok(names(await list(trial, `&exclude=${peer.peerId}:AAAA`)).includes(peer.peerId));
});
add("peers.etag", "a list has an ETag", async (trial) => {
  await trial.join();
  assert.match((await list(trial)).headers.etag ?? "", /^(W\/)?"[^"]+"$/);
});
for (const [name, known] of [
  ["same", (tag) => tag],
  ["strong", (tag) => tag.replace("W/", "")],
  ["in-a-list", (tag) => `"other", ${tag}`],
  ["any", () => "*"],
]) {
  add(`peers.if-none-match.${name}`, `a list that the client has, known as ${known('W/"tag"')}, is 304 without a body`, async (trial) => {
    await trial.join();
    const { headers } = await list(trial);
    const again = await list(trial, "", { headers: { "If-None-Match": known(headers.etag) } });
    assert.deepEqual([again.status, again.text, again.headers.etag], [304, "", headers.etag]);
  });
}
add("peers.if-none-match.other", "another tag gets the list", async (trial) => {
  await trial.join();
  assert.equal((await list(trial, "", { headers: { "If-None-Match": '"other"' } })).status, 200);
});
add("peers.etag.limits", "another excerpt has another ETag", async (trial) => {
  for (let times = 0; times < 3; times += 1) await trial.join();
  assert.notEqual((await list(trial)).headers.etag, (await list(trial, "&limit=1")).headers.etag);
});
add("peers.cache", "a list may be kept by caches for some seconds", async (trial) => {
  assert.match((await list(trial)).headers["cache-control"] ?? "", /^public, max-age=\d+$/);
});
add("peers.head", "HEAD is GET without the body", async (trial) => {
  const { status, text } = await list(trial, "", { method: "HEAD" });
  assert.deepEqual([status, text], [200, ""]);
});
add(
  "peers.drops-expired",
  "an expired ticket is in no list, also in one that was kept",
  async (trial) => {
    const { peer, untilExpired } = await trial.joinBriefly();
    await list(trial);
    await untilExpired();
    assert.ok(!names(await list(trial)).includes(peer.peerId));
  },
  { attack: "replay" },
);

// GET /healthz and what a beacon says of itself

add("healthz.answer", "GET /healthz has ok, version and serverTime", async (trial) => {
  const { status, json } = await trial.request("/healthz");
  assert.deepEqual([status, json.ok, typeof json.version], [200, true, "string"]);
  isTime(trial, json.serverTime);
});
add("healthz.clock", "serverTime is in milliseconds, and goes on", async (trial) => {
  const started = performance.now();
  const first = (await trial.request("/healthz")).json.serverTime;
  await delay(30);
  const second = (await trial.request("/healthz")).json.serverTime;
  const passed = Math.ceil(performance.now() - started);
  assert.ok([first, second].some((time) => time % 1_000 !== 0), `${first} and ${second} are whole seconds`);
  // Clocks are set, too.
  assert.ok(second - first >= 20 && second - first < passed + 5_000, `from ${first} to ${second} in ${passed} ms`);
});
const INFO = {
  software: (value) => typeof value === "string",
  version: (value) => typeof value === "string",
  serverTime: Number.isSafeInteger,
  operator: (value) => value !== null && typeof value === "object" && !Array.isArray(value),
  showsPeers: (value) => typeof value === "boolean",
  communities: (value) =>
    Array.isArray(value) && value.every(({ name, live }) => typeof name === "string" && (live === undefined || Number.isSafeInteger(live))),
  beacons: Array.isArray,
  capsules: Array.isArray,
  capsuleKeys: Array.isArray,
  limits: (value) => value !== null && typeof value === "object",
  endpoints: (value) =>
    Array.isArray(value) && value.length > 0 && value.every(({ method, path }) => typeof method === "string" && path.startsWith("/")),
};
for (const [name, isRight] of Object.entries(INFO)) {
  add(`info.${name}`, `the info document has ${name}`, async (trial) => {
    const { status, json } = await trial.request("/.well-known/rendezvous-beacon");
    assert.equal(status, 200);
    assert.equal(json.ok, true);
    assert.ok(isRight(json[name]), `${name} is ${JSON.stringify(json[name])}`);
  });
}
add("info.at-the-root", "GET / is the info document for who accepts JSON and no page", async (trial) => {
  const { status, json } = await trial.request("/", { headers: { Accept: "application/json" } });
  assert.deepEqual([status, json?.ok, typeof json?.software], [200, true, "string"]);
});
add("info.page", "GET / in a browser is a page", async (trial) => {
  const { status, headers } = await trial.request("/", { headers: { Accept: "text/html,*/*;q=0.8" } });
  assert.equal(status, 200);
  assert.match(headers["content-type"] ?? "", /^text\/html/);
});

// Paths, methods, and what every answer has

for (const path of ["/nowhere", "/peers/", "/announce/x", "//peers", "/healthz/", "/Peers"]) {
  add(`paths.not-found.${path.replaceAll("/", "_")}`, `${path} is NOT_FOUND`, async (trial) =>
    trial.isRefused(await trial.request(path), "NOT_FOUND"),
  );
}
for (const [method, path, allowed] of [
  ["GET", "/announce", "POST"],
  ["GET", "/leave", "POST"],
  ["POST", "/peers", "GET"],
  ["DELETE", "/peers", "GET"],
  ["PUT", "/healthz", "GET"],
  ["POST", "/.well-known/rendezvous-beacon", "GET"],
  ["PUT", "/announce", "POST"],
]) {
  add(`methods.${method.toLowerCase()}-${path.split("/").at(-1)}`, `${method} ${path} is METHOD_NOT_ALLOWED, with Allow`, async (trial) => {
    const reply = await trial.request(path, { method });
    trial.isRefused(reply, "METHOD_NOT_ALLOWED");
    assert.ok((reply.headers.allow ?? "").split(/, */).includes(allowed), `Allow is ${reply.headers.allow}`);
  });
}
for (const path of ["/announce", "/peers", "/leave", "/anything"]) {
  add(`preflight.${path.slice(1)}`, `OPTIONS ${path} is 204, as preflights need it`, async (trial) => {
    const { status, headers, text } = await trial.request(path, { method: "OPTIONS" });
    assert.deepEqual([status, text, headers["access-control-allow-origin"]], [204, "", "*"]);
    const methods = (headers["access-control-allow-methods"] ?? "").split(/, */);
    assert.ok(methods.includes("GET") && methods.includes("POST"), `Access-Control-Allow-Methods is ${methods}`);
    assert.match(headers["access-control-allow-headers"] ?? "", /\*|content-type/i);
  });
}
const EVERYWHERE = {
  "an announce": (trial) => trial.announce(trial.ticket()),
  "a goodbye": (trial) => trial.leave(trial.goodbye(newPeer())),
  "a list": (trial) => list(trial),
  "the time": (trial) => trial.request("/healthz"),
  "the info document": (trial) => trial.request("/.well-known/rendezvous-beacon"),
  "a refused ticket": (trial) => trial.announce(trial.ticket(newPeer(), { envelope: { version: 2 } })),
  "an unknown path": (trial) => trial.request("/nowhere"),
  "a wrong method": (trial) => trial.request("/announce"),
  "a wrong body": (trial) => trial.request("/leave", { body: "{" }),
};
for (const [what, ask] of Object.entries(EVERYWHERE)) {
  add(
    `every-answer.${what.replace(/^(an?|the) /, "").replaceAll(" ", "-")}`,
    `the answer to ${what} may be read by any origin, is JSON, and has serverTime`,
    async (trial) => {
      const { headers, json } = await ask(trial);
      assert.equal(headers["access-control-allow-origin"], "*");
      assert.match(headers["content-type"] ?? "", /^application\/(problem\+)?json; ?charset=utf-8$/i);
      isTime(trial, json.serverTime);
    },
  );
}
add("privacy", "no answer has the client's address in it", async (trial) => {
  const address = trial.newAddress();
  const replies = [
    await trial.announce(trial.ticket(), { address }),
    await list(trial, "", { address }),
    await trial.request("/nowhere", { address }),
  ];
  for (const { text } of replies) assert.ok(!text.includes(address), "the client's address is in an answer");
});

// Problems (RFC 9457)

const PROBLEMS = {
  type: (value) => typeof value === "string",
  title: (value) => typeof value === "string" && value.length > 0,
  status: (value) => value === 400,
  detail: (value) => typeof value === "string" && value.length > 0,
  ok: (value) => value === false,
  code: (value) => value === "UNSUPPORTED_VERSION",
  serverTime: Number.isSafeInteger,
  since: Array.isArray,
  peers: Array.isArray,
  validation: (value) => value?.ok === false && value.reason === "UNSUPPORTED_VERSION",
};
for (const [name, isRight] of Object.entries(PROBLEMS)) {
  add(`problem.${name}`, `a refusal has ${name}`, async (trial) => {
    const { json } = await trial.announce(trial.ticket(newPeer(), { envelope: { version: 2 } }));
    assert.ok(isRight(json[name]), `${name} is ${JSON.stringify(json[name])}`);
  });
}
add("problem.media-type", "a refusal is application/problem+json", async (trial) => {
  const { headers } = await trial.announce(trial.ticket(newPeer(), { envelope: { version: 2 } }));
  assert.match(headers["content-type"] ?? "", /^application\/problem\+json; ?charset=utf-8$/i);
});
const refusals = {
  MALFORMED: (trial, peer) => trial.ticket(peer, { userId: "" }),
  UNSUPPORTED_ALGORITHM: (trial, peer) => trial.ticket(peer, { envelope: { algorithm: "rsa" } }),
  COMMUNITY_MISMATCH: (trial, peer) => trial.ticket(peer, { community: "another-one" }),
  LIFETIME_TOO_LONG: (trial, peer) => trial.ticket(peer, { expiresAt: 2 ** 53 - 1 }),
  NOT_YET_VALID: (trial, peer) => trial.ticket(peer, { issuedAt: trial.now() + 60_000 }),
  EXPIRED: (trial, peer) => trial.ticket(peer, { issuedAt: trial.now() - 200_000 }),
  SIGNATURE_INVALID: (trial, peer) => trial.ticket(peer, { envelope: { signature: base64(64) } }),
};
for (const [code, make] of Object.entries(refusals)) {
  add(`problem.list.${code}`, `whoever is refused as ${code} still gets the list`, async (trial) => {
    const other = await trial.join();
    const reply = await trial.announce(make(trial, newPeer()));
    trial.isRefused(reply, code);
    assert.ok(reply.text.includes(other.ticket.signature), "the list is not in the refusal");
    assert.equal(reply.json.since.length, reply.json.peers.length);
  });
}
add("problem.list.without-caller", "a refusal leaves out the claim of whoever is refused", async (trial) => {
  const { ticket, peer } = await trial.join();
  const reply = await trial.announce(trial.ticket(peer));
  trial.isRefused(reply, "ANNOUNCE_TOO_SOON");
  assert.ok(!reply.text.includes(ticket.signature), "the caller's own ticket is in the refusal");
});
add("problem.retry-after", "Retry-After is retryAfterMs, in whole seconds rounded up", async (trial) => {
  const { peer } = await trial.join();
  const { headers, json } = await trial.announce(trial.ticket(peer));
  assert.equal(headers["retry-after"], String(Math.ceil(json.retryAfterMs / 1_000)));
});

// Clients that sign no community

const unsigned = { ...refusals };
delete unsigned.COMMUNITY_MISMATCH;
unsigned.UNSUPPORTED_VERSION = (trial, peer) => trial.ticket(peer, { envelope: { version: 2 } });
for (const [code, make] of Object.entries(unsigned)) {
  add(
    `unsigned-community.${code}`,
    `whoever signs no community and is refused as ${code} gets 200 with ok: false, code and the list`,
    async (trial) => {
      const other = await trial.join();
      // The ticket is made without a community; what is wrong with it stays wrong.
      const own = Object.create(trial, { ticket: { value: (peer, fields) => trial.ticket(peer, { community: undefined, ...fields }) } });
      const { status, json, text, headers } = await trial.announce(make(own, newPeer()));
      assert.deepEqual([status, json.ok, json.code, json.validation], [200, false, code, { ok: false, reason: code }]);
      assert.ok(text.includes(other.ticket.signature), "the list is not in the answer");
      assert.match(headers["content-type"] ?? "", /^application\/json/);
    },
  );
}
add("unsigned-community.STALE_TICKET", "and as STALE_TICKET", async (trial) => {
  const { ticket, peer } = await trial.join(newPeer(), { community: undefined });
  const { status, json } = await trial.announce(trial.ticket(peer, { community: undefined, issuedAt: ticket.payload.issuedAt }));
  assert.deepEqual([status, json.ok, json.code, json.listed], [200, false, "STALE_TICKET", true]);
});
add("unsigned-community.ANNOUNCE_TOO_SOON", "and as ANNOUNCE_TOO_SOON, with retryAfterMs", async (trial) => {
  const { peer } = await trial.join(newPeer(), { community: undefined });
  const { status, json } = await trial.announce(trial.ticket(peer, { community: undefined }));
  assert.deepEqual([status, json.ok, json.code], [200, false, "ANNOUNCE_TOO_SOON"]);
  assert.ok(json.retryAfterMs > 0);
});
add("unsigned-community.not-the-tickets-fault", "what is not the ticket's fault has its status", async (trial) => {
  const ticket = trial.ticket(newPeer(), { community: undefined });
  trial.isRefused(await trial.request("/announce", { json: { ticket, community: "a b" } }), "COMMUNITY_INVALID");
  trial.isRefused(await trial.request("/announce", { json: { ticket, more: 1 } }), "MALFORMED");
});

// The rate limit (section 4, rule 8)

add(
  "limit.address",
  "an address that asks without end is THROTTLED, told when to come again, and its neighbours are served",
  async (trial) => {
    const address = trial.newAddress();
    const neighbour = trial.newAddress();
    // The default is 150 a minute; an operator may give one address all 600 of its network.
    let refused;
    for (let asked = 0; asked < 700 && !refused; asked += 25) {
      const replies = await Promise.all(Array.from({ length: 25 }, () => list(trial, "", { address, isPatient: false })));
      refused = replies.find(({ status }) => status !== 200);
    }
    assert.ok(refused, "700 requests of one address at once are all served");
    trial.isRefused(refused, "THROTTLED");
    assert.ok(refused.json.retryAfterMs > 0);
    assert.equal(refused.headers["retry-after"], String(Math.ceil(refused.json.retryAfterMs / 1_000)));
    assert.equal((await list(trial, "", { address: neighbour, isPatient: false })).status, 200);
    const announces = await Promise.all(Array.from({ length: 25 }, () => trial.announce(trial.ticket(), { address, isPatient: false })));
    assert.ok(
      announces.some(({ json }) => json.code === "THROTTLED"),
      "announces are not limited",
    );
  },
  { attack: "exhaustion" },
);
add("limit.spares-health", "the time is told to a network that is limited", async (trial) => {
  const address = trial.newAddress();
  for (let asked = 0; asked < 175; asked += 25) {
    await Promise.all(Array.from({ length: 25 }, () => list(trial, "&limit=1", { address, isPatient: false })));
  }
  assert.equal((await trial.request("/healthz", { address, isPatient: false })).status, 200);
});
