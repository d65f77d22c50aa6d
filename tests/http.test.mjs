// The HTTP interface as any client sees it: every row and every error of it, its caches, its configuration, and what is
// left of a roster after a restart. One suite for every host of the service, each asked by URL alone.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { HOSTS, withHost } from "./hosts.mjs";
import { ADDRESS_HEADER, announce, assertTime, call, eventually, peerIds, peers, raw } from "./http.mjs";
import { joinLive, openLive } from "./live.mjs";
import { SAFE_AFTER_MS } from "./patience.mjs";
import { canonical, newPeer, signTicket } from "./ticket.mjs";

/** Lists straight from the object. */
const UNCACHED = { PEERS_MAX_AGE_SECONDS: "0" };
const PROBLEM = "application/problem+json; charset=utf-8";

let communities = 0;
/** A community that no other test knows. */
const newCommunity = () => `community-${(communities += 1)}`;
/** All that there will be. */
const COMMUNITIES = ["mainnet", "a".repeat(64), ...Array.from({ length: 199 }, (_, number) => `community-${number + 1}`)].join();

for (const host of HOSTS) describe(host.name, () => {
  describe("the HTTP interface", () => {
    let beacon;
    let url;
    const log = [];
    before(async () => {
      const vars = { ...UNCACHED, COMMUNITIES, ADDRESS_REQUESTS_PER_MINUTE: "600" };
      beacon = await host.start({ vars, log: (line) => log.push(line) });
      url = beacon.url;
    });
    after(() => beacon.stop());

    /** Asserts an error in full: status, code, form and headers. */
    function assertProblem(reply, status, code, detail = /./) {
      assert.equal(reply.status, status, reply.text);
      assert.equal(reply.headers.get("Content-Type"), PROBLEM);
      const { json } = reply;
      assert.equal(json.code, code);
      assert.equal(json.status, status);
      assert.equal(json.ok, false);
      assert.equal(typeof json.type, "string");
      assert.equal(typeof json.title, "string");
      assert.match(json.detail, detail);
      assertTime(json.serverTime, reply);
      assert.ok(Array.isArray(json.peers));
      assert.equal(json.since.length, json.peers.length);
      assert.deepEqual(json.validation, { ok: false, reason: code });
    }

    test("a new ticket is accepted, listed to others in its normal form, and not to its own peer", async () => {
      const community = newCommunity();
      const [ann, bob] = [newPeer(), newPeer({ userId: 'Zoë "☂"' })];
      const ticket = signTicket(bob, { community });

      const first = await announce(url, ticket, { community });
      assert.equal(first.status, 200, first.text);
      const { announceAfterMs, serverTime, ...rest } = first.json;
      const { expiresAt } = ticket.payload;
      assert.deepEqual(rest, { ok: true, accepted: true, listed: true, community, expiresAt, total: 1, since: [], peers: [] });
      assert.ok(announceAfterMs >= 45_000 && announceAfterMs <= 75_000);
      assertTime(serverTime, first);

      const second = await announce(url, signTicket(ann), { community });
      assert.deepEqual(peerIds(second), [bob.peerId]);
      assert.equal(second.json.total, 2);
      const [since] = second.json.since;
      assert.ok(since >= serverTime && since <= second.json.serverTime);
      assert.ok(second.text.includes(`"since":[${since}],"peers":[${canonical(ticket)}]`), "not the normal form");

      const list = await peers(url, { community });
      assert.deepEqual(peerIds(list), [ann.peerId, bob.peerId]);
      assert.equal(list.json.total, 2);
      assert.equal(list.json.community, community);
      assert.equal(list.json.since.length, 2);
      assert.equal(list.json.since[1], since);
    });

    test("data in a ticket reaches readers as it was signed; too much of it, and any in a goodbye, is refused", async () => {
      const community = newCommunity();
      const peer = newPeer({ peerId: "p".repeat(128), userId: '"'.repeat(128) });
      const ticket = signTicket(peer, { community, data: '"'.repeat(512) });
      assert.equal((await announce(url, ticket, { community })).json.listed, true);
      assert.ok((await peers(url, { community })).text.includes(`"peers":[${canonical(ticket)}]`), "not the normal form");
      // As writers have it that know only ASCII.
      const data = "\u00e9".repeat(256);
      const escaped = JSON.stringify(signTicket(newPeer(), { community, data })).replace(/[^ -~]/g, "\\u00e9");
      const body = `{"ticket":${escaped},"community":"${community}"}`;
      assert.equal((await call(url, "/announce", { method: "POST", body })).json.listed, true);
      const list = await peers(url, { community });
      assert.deepEqual(list.json.peers.map(({ payload }) => payload.data), [data, ticket.payload.data]);
      for (const [path, fields] of [
        ["/announce", { data: `${ticket.payload.data}"` }],
        ["/announce", { data: "" }],
        ["/announce", { data: "a\u0085b" }],
        ["/leave", { data: "x", leave: true }],
      ]) {
        const refused = signTicket(newPeer(), { community, ...fields });
        const reply = await call(url, path, { method: "POST", body: JSON.stringify({ ticket: refused, community }) });
        assert.deepEqual([reply.status, reply.json.code], [400, "MALFORMED"], path);
        assert.match(reply.json.detail, /^payload\.data must be /);
      }
    });

    test("the same ticket again gets the list, and uses up no limit", async () => {
      const community = newCommunity();
      const peer = newPeer();
      const ticket = signTicket(peer, { community });
      await announce(url, ticket, { community });
      await announce(url, signTicket(newPeer()), { community });
      for (let times = 0; times < 3; times += 1) {
        const again = await announce(url, ticket, { community });
        assert.equal(again.status, 200);
        assert.deepEqual([again.json.accepted, again.json.listed], [false, true]);
        assert.equal(again.json.peers.length, 1);
      }
      assert.equal(peerIds(await peers(url, { community }))[1], peer.peerId, "a repeated ticket moved forward");
    });

    test("ANNOUNCE_TOO_SOON: a new ticket within 45 s is told when to come, and gets the list", async () => {
      const community = newCommunity();
      const peer = newPeer();
      const issuedAt = Date.now();
      await announce(url, signTicket(newPeer()), { community });
      const accepted = await announce(url, signTicket(peer, { issuedAt }), { community });
      const early = await announce(url, signTicket(peer, { issuedAt: issuedAt + 1, community }), { community });
      assert.equal(early.json.listed, true, "with the older ticket");
      assertProblem(early, 429, "ANNOUNCE_TOO_SOON", /accepted in \d+ ms/);
      const { retryAfterMs } = early.json;
      const passedMs = early.answeredAt - accepted.askedAt;
      assert.ok(retryAfterMs >= 45_000 - passedMs && retryAfterMs <= 45_000, `${retryAfterMs} ms, ${passedMs} ms later`);
      assert.equal(early.headers.get("Retry-After"), String(Math.ceil(retryAfterMs / 1_000)));
      assert.equal(early.json.peers.length, 1);
    });

    test("several keys may claim one peerId, and each answer leaves out the caller's claim alone", async () => {
      const community = newCommunity();
      const [owner, other] = [newPeer(), newPeer()];
      const namesake = newPeer({ peerId: owner.peerId });
      for (const peer of [owner, other]) await announce(url, signTicket(peer, { community }), { community });
      const reply = await announce(url, signTicket(namesake, { community }), { community });
      assert.deepEqual([reply.status, reply.json.accepted, reply.json.total], [200, true, 3]);
      const keys = (list) => list.json.peers.map(({ publicKey }) => publicKey).sort();
      assert.deepEqual(keys(reply), [owner.publicKey, other.publicKey].sort());
      // A refused announce of a claim leaves out that claim too.
      const refused = await announce(url, signTicket(namesake, { community, envelope: { signature: signTicket(owner).signature } }), { community });
      assertProblem(refused, 403, "SIGNATURE_INVALID");
      assert.deepEqual(keys(refused), [owner.publicKey, other.publicKey].sort());
      const list = (exclude) => peers(url, { community, exclude }).then(keys);
      assert.deepEqual(await list(owner.peerId), [other.publicKey]);
      assert.deepEqual(await list(`${owner.peerId}:${owner.publicKey}`), [other.publicKey, namesake.publicKey].sort());
      assert.deepEqual((await list(`${owner.peerId}:AAAA`)).length, 3);
    });

    test("STALE_TICKET", async () => {
      const community = newCommunity();
      const peer = newPeer();
      const issuedAt = Date.now();
      await announce(url, signTicket(newPeer()), { community });
      await announce(url, signTicket(peer, { issuedAt }), { community });
      const stale = await announce(url, signTicket(peer, { issuedAt, community }), { community });
      assertProblem(stale, 409, "STALE_TICKET", new RegExp(String(issuedAt)));
      assert.deepEqual([stale.json.peers.length, stale.json.listed], [1, true]);
    });

    test("an announce that signs no community is answered 200 wherever its ticket is what is wrong", async () => {
      const community = newCommunity();
      await announce(url, signTicket(newPeer()), { community });
      const peer = newPeer();
      const now = Date.now();
      await announce(url, signTicket(peer, { issuedAt: now }), { community });
      const forged = { signature: signTicket(newPeer()).signature };
      const cases = [
        ["STALE_TICKET", signTicket(peer, { issuedAt: now }), true],
        ["ANNOUNCE_TOO_SOON", signTicket(peer, { issuedAt: now + 1 }), true],
        ["MALFORMED", null],
        ["MALFORMED", 7],
        ["MALFORMED", { payload: null }],
        ["MALFORMED", { payload: ["community"], community }],
        ["MALFORMED", signTicket(peer, { peerId: "<b>" })],
        ["MALFORMED", signTicket(peer, { leave: true })],
        ["UNSUPPORTED_VERSION", signTicket(peer, { envelope: { version: 2 } })],
        ["UNSUPPORTED_ALGORITHM", signTicket(peer, { envelope: { algorithm: "rsa" } })],
        ["LIFETIME_TOO_LONG", signTicket(peer, { issuedAt: now, expiresAt: now + 180_001 })],
        ["NOT_YET_VALID", signTicket(peer, { issuedAt: now + 60_000 })],
        ["EXPIRED", signTicket(peer, { issuedAt: now - 181_000 })],
        ["SIGNATURE_INVALID", signTicket(peer, { envelope: forged })],
      ];
      for (const [code, ticket, listed] of cases) {
        const reply = await announce(url, ticket, { community });
        assert.equal(reply.status, 200, `${code}: ${reply.text}`);
        assert.equal(reply.headers.get("Content-Type"), "application/json; charset=utf-8");
        const { detail, serverTime, retryAfterMs, since, peers, ...rest } = reply.json;
        assert.deepEqual(rest, { ok: false, code, validation: { ok: false, reason: code }, ...(listed === undefined ? {} : { listed }) });
        assert.match(detail, /./);
        assertTime(serverTime, reply);
        assert.equal(retryAfterMs > 0, code === "ANNOUNCE_TOO_SOON");
        assert.ok(peers.length >= 1 && since.length === peers.length, code);
      }
      // A goodbye, and what is not the ticket's fault, have their status.
      const signed = { ticket: signTicket(peer, { issuedAt: now, envelope: forged, leave: true }), community };
      assertProblem(await call(url, "/leave", { json: signed }), 403, "SIGNATURE_INVALID");
      assertProblem(await call(url, "/announce", { json: { ticket: signTicket(peer), community: "a b" } }), 400, "COMMUNITY_INVALID");
      assertProblem(await call(url, "/announce", { json: { ticket: signTicket(peer), more: 1 } }), 400, "MALFORMED");
      assertProblem(await announce(url, signTicket(peer), { community: "elsewhere" }), 404, "COMMUNITY_UNKNOWN");
    });

    test("POST /leave: only the key that signed, only with a newer ticket; the old one cannot bring it back", async () => {
      const community = newCommunity();
      const peer = newPeer();
      const issuedAt = Date.now();
      const ticket = signTicket(peer, { issuedAt, community });
      await announce(url, ticket, { community });
      const leave = (other) => call(url, "/leave", { json: { ticket: other, community } });

      const thief = newPeer({ peerId: peer.peerId });
      assert.deepEqual((await leave(signTicket(thief, { issuedAt: issuedAt + 1, leave: true }))).json.left, false);
      assert.deepEqual((await leave(signTicket(peer, { issuedAt, leave: true }))).json.left, false);
      assertProblem(await leave(ticket), 400, "MALFORMED", /leave/);
      assert.equal((await peers(url, { community })).json.total, 1);

      const gone = await leave(signTicket(peer, { issuedAt: issuedAt + 1, leave: true }));
      assert.equal(gone.status, 200);
      assert.deepEqual({ ok: gone.json.ok, left: gone.json.left }, { ok: true, left: true });
      assert.equal((await peers(url, { community })).json.total, 0);
      assert.equal((await leave(signTicket(peer, { issuedAt: issuedAt + 2, leave: true }))).json.left, false);
      const revived = await announce(url, ticket, { community });
      assertProblem(revived, 409, "STALE_TICKET");
      assert.equal(revived.json.listed, false);
      // Once, and at once: a page that reloads.
      const back = await announce(url, signTicket(peer, { issuedAt: issuedAt + 3, community }), { community });
      assert.deepEqual([back.status, back.json.accepted, back.json.listed], [200, true, true]);
    });

    test("POST /leave before the announce is remembered, and is not the end of a record", async () => {
      const community = newCommunity();
      const peer = newPeer();
      const issuedAt = Date.now();
      const leave = await call(url, "/leave", { json: { ticket: signTicket(peer, { issuedAt, leave: true }), community } });
      assert.deepEqual([leave.status, leave.json.left], [200, false]);
      assertProblem(await announce(url, signTicket(peer, { issuedAt: issuedAt - 1, community }), { community }), 409, "STALE_TICKET");
    });

    test("a ticket that fails its checks is answered with its code and the list", async () => {
      const community = newCommunity();
      await announce(url, signTicket(newPeer()), { community });
      const now = Date.now();
      const peer = newPeer();
      const flipped = Buffer.from(signTicket(peer).signature, "base64");
      flipped[0] ^= 1;
      const cases = [
        [400, "MALFORMED", { peerId: "<b>" }, /peerId/],
        [400, "MALFORMED", { leave: true }, /leave/],
        [400, "MALFORMED", { nonce: undefined }, /nonce/],
        [400, "UNSUPPORTED_VERSION", { envelope: { version: 2 } }, /2/],
        [400, "UNSUPPORTED_ALGORITHM", { envelope: { algorithm: "rsa" } }, /ed25519/],
        [400, "COMMUNITY_MISMATCH", { community: "elsewhere" }, /elsewhere/],
        [400, "MALFORMED", { community: null }, /null/],
        [400, "LIFETIME_TOO_LONG", { issuedAt: now, expiresAt: now + 180_001 }, /180001 .* 180000/],
        [400, "NOT_YET_VALID", { issuedAt: now + 60_000 }, /15000/],
        [400, "EXPIRED", { issuedAt: now - 180_000 }, /expired/],
        [403, "SIGNATURE_INVALID", { envelope: { signature: flipped.toString("base64") } }, /signature/],
      ];
      for (const [status, code, overrides, detail] of cases) {
        const reply = await announce(url, signTicket(peer, { community, ...overrides }), { community });
        assertProblem(reply, status, code, detail);
        assert.equal(reply.json.peers.length, 1, code);
      }
      assert.equal((await peers(url, { community })).json.total, 1);
    });

    test("a body that is not one JSON object of a ticket and a community is MALFORMED", async () => {
      const ticket = JSON.stringify(signTicket(newPeer()));
      for (const body of ["", "{", "[]", "null", "{}", `{"ticket":${ticket},"more":1}`, `{"ticket":${ticket},"ticket":1}`]) {
        const reply = await call(url, "/announce", { method: "POST", body });
        assertProblem(reply, 400, "MALFORMED", /body/);
        assert.deepEqual(reply.json.peers, []);
      }
      const reply = await call(url, "/announce", { method: "POST" });
      assertProblem(reply, 400, "MALFORMED", /body/);
    });

    test("any content type is read as JSON", async () => {
      for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/json"]) {
        const body = JSON.stringify({ ticket: signTicket(newPeer()), community: newCommunity() });
        const reply = await call(url, "/announce", { method: "POST", body, headers: { "Content-Type": type } });
        assert.equal(reply.status, 200, type);
      }
    });

    test("BODY_TOO_LARGE: counted while reading, with and without a Content-Length", async () => {
      const body = JSON.stringify({ ticket: signTicket(newPeer()) });
      assert.equal((await call(url, "/announce", { method: "POST", body: body.padEnd(4_096) })).status, 200);
      const stated = await call(url, "/announce", { method: "POST", body: body.padEnd(4_097) });
      assertProblem(stated, 413, "BODY_TOO_LARGE", /4096/);
      async function* chunks() {
        for (let times = 0; times < 64; times += 1) yield Buffer.alloc(1_024, " ");
      }
      async function* halves() {
        yield Buffer.from(body.slice(0, 100));
        yield Buffer.from(body.slice(100));
      }
      const send = (chunks) => call(url, "/announce", { method: "POST", body: chunks, duplex: "half" });
      assertProblem(await send(chunks()), 413, "BODY_TOO_LARGE");
      assert.equal((await send(halves())).json.accepted, false);
      // Beyond what is read to be polite, the connection may break before the answer is seen. The beacon goes on.
      const endless = call(url, "/announce", { method: "POST", body: "x".repeat(8 * 1_024 * 1_024) });
      await endless.then((reply) => assertProblem(reply, 413, "BODY_TOO_LARGE"), (error) => assert.equal(error.message, "fetch failed"));
      assert.equal((await call(url, "/healthz")).status, 200);
    });

    test("the community is the query's, the body's or the default one, and they must agree", async () => {
      const [one, other] = [newCommunity(), newCommunity()];
      const post = (query, body) =>
        call(url, `/announce${query}`, { json: { ticket: signTicket(newPeer()), community: body } });
      assert.equal((await post(`?community=${one}`)).json.community, one);
      assert.equal((await post("", one)).json.community, one);
      assert.equal((await post(`?community=${one}`, one)).json.community, one);
      assert.equal((await post("")).json.community, "mainnet");
      assert.equal((await peers(url)).json.community, "mainnet");
      assertProblem(await post(`?community=${one}`, other), 400, "COMMUNITY_MISMATCH");
      for (const bad of ["", "a b", "a/b", "ä", "a".repeat(65)]) {
        assertProblem(await post(`?community=${encodeURIComponent(bad)}`), 400, "COMMUNITY_INVALID");
        assertProblem(await post("", bad), 400, "COMMUNITY_INVALID");
        assertProblem(await peers(url, { community: bad }), 400, "COMMUNITY_INVALID");
      }
      assert.equal((await peers(url, { community: "a".repeat(64) })).status, 200);
    });

    test("GET /peers: limit and exclude", async () => {
      const community = newCommunity();
      const all = Array.from({ length: 55 }, () => newPeer());
      for (const peer of all.slice(0, 50)) await announce(url, signTicket(peer), { community });
      const newestFirst = all.slice(0, 50).map(({ peerId }) => peerId).reverse();
      const list = (query) => peers(url, { community, ...query }).then(peerIds);
      assert.deepEqual(await list({}), newestFirst, "everybody, the freshest first");
      assert.deepEqual(await list({ exclude: newestFirst[1] }), newestFirst.filter((_, position) => position !== 1));
      for (const peer of all.slice(50)) await announce(url, signTicket(peer), { community });
      const names = new Set(all.map(({ peerId }) => peerId));
      for (const [query, length] of [
        [{}, 50],
        [{ limit: 3 }, 3],
        [{ limit: 1_000_000 }, 50],
        [{ limit: 3, exclude: all[7].peerId }, 3],
        [{ exclude: all[7].peerId }, 50],
      ]) {
        const drawn = await list(query);
        assert.equal(drawn.length, length);
        assert.equal(new Set(drawn).size, length, "twice in one answer");
        assert.ok(drawn.every((peerId) => names.has(peerId) && peerId !== query.exclude));
      }
      assert.equal((await peers(url, { community, limit: 3 })).json.total, 55);
      for (const limit of ["0", "-1", "1.5", "ten", ""]) {
        assertProblem(await peers(url, { community, limit }), 400, "LIMIT_INVALID", /limit/);
      }
    });

    test("GET /peers: ETag and If-None-Match", async () => {
      const community = newCommunity();
      await announce(url, signTicket(newPeer()), { community });
      const list = (tag) => call(url, `/peers?community=${community}`, { headers: tag ? { "If-None-Match": tag } : {} });
      const first = await list();
      const tag = first.headers.get("ETag");
      for (const known of [tag, tag.replace("W/", ""), `"other", ${tag}`, "*"]) {
        const again = await list(known);
        assert.equal(again.status, 304, known);
        assert.equal(again.text, "");
        assert.equal(again.headers.get("ETag"), tag);
        assert.equal(again.headers.get("Cache-Control"), first.headers.get("Cache-Control"));
      }
      assert.equal((await list('"other"')).status, 200);
      await announce(url, signTicket(newPeer()), { community });
      const changed = await list(tag);
      assert.equal(changed.status, 200);
      assert.equal(changed.json.total, 2);
      assert.notEqual(changed.headers.get("ETag"), tag);
    });

    test("GET /healthz", async () => {
      const reply = await call(url, "/healthz");
      const { status, json } = reply;
      assert.equal(status, 200);
      assert.equal(json.ok, true);
      assert.match(json.version, /^\d+\.\d+\.\d+$/);
      assertTime(json.serverTime, reply);
    });

    test("NOT_FOUND and METHOD_NOT_ALLOWED", async () => {
      for (const path of ["/admin", "/relay", "/page", "/peers/", "/announce/x", "//peers", "/panic"]) {
        assertProblem(await call(url, path), 404, "NOT_FOUND");
      }
      // The way that the detail names leads to paths that are there.
      const { json: problem } = await call(url, "/nowhere");
      const [, listing] = problem.detail.match(/^nothing is at this path; .* GET (\/\S+)$/);
      const { endpoints } = (await call(url, listing)).json;
      assert.ok(endpoints.some(({ path }) => path === listing));
      for (const { method, path } of endpoints) {
        const { status, body } = await fetch(url + path, { method, ...(method === "POST" && { body: "{}" }) });
        // An event stream has no end.
        await body?.cancel();
        assert.notEqual(status, 404, `${method} ${path}`);
      }
      for (const [method, path, allow] of [
        ["GET", "/announce", "POST, OPTIONS"],
        ["GET", "/leave", "POST, OPTIONS"],
        ["POST", "/peers", "GET, HEAD, OPTIONS"],
        ["DELETE", "/peers", "GET, HEAD, OPTIONS"],
        ["PUT", "/healthz", "GET, HEAD, OPTIONS"],
        ["POST", "/", "GET, HEAD, OPTIONS"],
      ]) {
        const reply = await call(url, path, { method });
        assertProblem(reply, 405, "METHOD_NOT_ALLOWED");
        assert.equal(reply.headers.get("Allow"), allow);
      }
      const head = await call(url, "/peers", { method: "HEAD" });
      assert.equal(head.status, 200);
      assert.equal(head.text, "");
    });

    test("OPTIONS answers 204 with what a browser's preflight asks for", async () => {
      for (const path of ["/announce", "/peers", "/anything"]) {
        const { status, headers, text } = await call(url, path, { method: "OPTIONS" });
        assert.equal(status, 204);
        assert.equal(text, "");
        assert.equal(headers.get("Access-Control-Allow-Methods"), "GET, POST, OPTIONS");
        assert.equal(headers.get("Access-Control-Allow-Headers"), "*, Authorization");
        assert.equal(headers.get("Access-Control-Max-Age"), "86400");
        assert.equal(headers.get("Access-Control-Allow-Origin"), "*");
      }
    });

    test("every answer has the headers that every answer has", async () => {
      const ticket = signTicket(newPeer());
      const replies = await Promise.all([
        announce(url, ticket, { community: newCommunity() }),
        peers(url),
        call(url, "/healthz"),
        call(url, "/peers", { method: "OPTIONS" }),
        call(url, "/peers", { headers: { "If-None-Match": "*" } }),
        call(url, "/leave", { json: {} }),
        call(url, "/nowhere"),
        call(url, "/announce"),
      ]);
      assert.deepEqual(
        replies.map(({ status }) => status),
        [200, 200, 200, 204, 304, 400, 404, 405],
      );
      for (const { status, headers, json } of replies) {
        assert.equal(headers.get("Access-Control-Allow-Origin"), "*");
        assert.equal(headers.get("Strict-Transport-Security"), "max-age=31536000; includeSubDomains");
        assert.equal(headers.get("X-Content-Type-Options"), "nosniff");
        if (status === 204 || status === 304) continue;
        assert.match(headers.get("Content-Type"), /^application\/(problem\+)?json; charset=utf-8$/);
        assert.equal(typeof json.serverTime, "number");
      }
    });

    test("input that breaks HTTP clients' rules gets an answer too", async () => {
      const { port } = new URL(url);
      const status = await new Promise((resolve, reject) => {
        const request = httpRequest({ port, path: "/peers?community=%ff%00&limit=%zz", headers: { [ADDRESS_HEADER]: "nonsense" } });
        request.on("response", (response) => resolve(response.resume().statusCode)).on("error", reject).end();
      });
      assert.equal(status, 400);
    });

    test("of all this only what is unusual about the clients is worth a line in the log, once", async () => {
      const expected = [...host.notes, "client_address_unreadable"];
      const notes = () => log.map((line) => JSON.parse(line)).filter(({ event }) => !host.asides.includes(event));
      const said = await eventually(async () => notes(), ({ length }) => length >= expected.length);
      assert.deepEqual(said.map(({ event }) => event).sort(), expected);
      assert.ok(!log.join().includes("nonsense"));
    });
  });

  test("a full roster is shared out fairly among networks, and so is an answer; a newcomer without a place is not listed", async () => {
    await withHost(host, { vars: { ...UNCACHED, NETWORK_REQUESTS_PER_MINUTE: "100000" } }, async ({ url }) => {
      const quiet = Array.from({ length: 10 }, () => newPeer());
      for (const peer of quiet) await announce(url, signTicket(peer), { address: "198.51.100.7" });
      const outcomes = [];
      for (let count = 0; count < 250; count += 1) {
        const reply = await announce(url, signTicket(newPeer()), { address: `203.0.113.${count}` });
        assert.equal(reply.status, 200);
        assert.equal(reply.json.accepted, reply.json.listed);
        assert.ok(reply.json.announceAfterMs >= 45_000 && reply.json.peers.length === Math.min(count + 10, 50));
        outcomes.push(reply.json.listed);
      }
      assert.ok(outcomes.slice(0, 190).every(Boolean));
      assert.ok(outcomes.includes(false), "every newcomer pushed another out");
      const list = await peers(url);
      assert.equal(list.json.total, 200);
      const listed = new Set(peerIds(list));
      assert.equal(listed.size, 50);
      assert.ok(quiet.every(({ peerId }) => listed.has(peerId)), "a flood from one network pushed another out");
    });
  });

  test("THROTTLED: a network over its budget is refused, another is not", async () => {
    await withHost(host, { vars: { NETWORK_REQUESTS_PER_MINUTE: "5", ADDRESS_REQUESTS_PER_MINUTE: "5" } }, async ({ url }) => {
      const list = (address) => call(url, "/peers", { address });
      await announce(url, signTicket(newPeer()), { address: "192.0.2.1" });
      for (let count = 0; count < 4; count += 1) assert.equal((await list(`192.0.2.${count}`)).status, 200);
      const refused = await list("192.0.2.99");
      assert.equal(refused.status, 429);
      assert.equal(refused.json.code, "THROTTLED");
      assert.ok(refused.json.retryAfterMs > 0 && refused.json.retryAfterMs <= 12_000);
      assert.equal(refused.headers.get("Retry-After"), String(Math.ceil(refused.json.retryAfterMs / 1_000)));
      assert.equal(refused.json.peers.length, 1, "the list at hand");
      assert.equal((await announce(url, signTicket(newPeer()), { address: "192.0.2.1" })).json.code, "THROTTLED");
      assert.equal((await list("192.0.3.1")).status, 200);
      assert.equal((await list("2001:db8:0:100::1")).status, 200);
      assert.equal((await call(url, "/healthz", { address: "192.0.2.1" })).status, 200);
    });
  });

  test("THROTTLED: one address has a quarter of its network's requests, a /48 four times a /56's", async () => {
    await withHost(host, { vars: { NETWORK_REQUESTS_PER_MINUTE: "20" } }, async ({ url }) => {
      const started = Date.now();
      /** Asserts how many are served at once, and at most what has been refilled since the first request of all. */
      const assertServed = async (what, atOnce, perMinute, addresses) => {
        let served = 0;
        for (const address of addresses) if ((await call(url, "/peers", { address })).status === 200) served += 1;
        const refilled = Math.ceil(((Date.now() - started) * perMinute) / 60_000);
        assert.ok(served >= atOnce && served <= atOnce + refilled, `${what}: ${served}, refilled ${refilled}`);
      };
      const many = (address) => Array.from({ length: 40 }, (_, number) => address(number));
      await assertServed("an address", 5, 5, many(() => "192.0.2.1"));
      await assertServed("its neighbours", 15, 20, many((number) => `192.0.2.${100 + number}`));
      await assertServed("a /64", 5, 5, many((number) => `2001:db8:1:100::${number}`));
      await assertServed("its neighbours", 15, 20, many((number) => `2001:db8:1:1${(16 + number).toString(16)}::1`));
      const others = Array.from({ length: 120 }, (_, number) => `2001:db8:1:${(2 + number).toString(16)}00::1`);
      await assertServed("the rest of a /48", 60, 80, others);
      await assertServed("another /48", 1, 80, ["2001:db8:2::1"]);
    });
  });

  test("lists are served from memory for their maximum age, whatever limit and exclude say", async () => {
    await withHost(host, { vars: { PEERS_MAX_AGE_SECONDS: "10" } }, async ({ url }) => {
      const [ann, bob, late] = [newPeer(), newPeer(), newPeer()];
      await announce(url, signTicket(ann));
      await announce(url, signTicket(bob));
      const first = await peers(url);
      assert.equal(first.headers.get("Cache-Control"), "public, max-age=10");
      await announce(url, signTicket(late));
      assert.ok([ann.peerId, bob.peerId].includes(peerIds(await peers(url, { limit: 1 }))[0]));
      assert.deepEqual(peerIds(await peers(url, { exclude: bob.peerId })), [ann.peerId]);
      assert.equal((await peers(url)).json.total, 2);
      await eventually(() => peers(url), (list) => list.json.total === 3);
    });
  });

  test("while all peers fit into an answer, 304 goes on from list to list", async () => {
    await withHost(host, { vars: UNCACHED }, async ({ url }) => {
      for (let count = 0; count < 3; count += 1) await announce(url, signTicket(newPeer()));
      const list = (query, tag) => call(url, `/peers${query}`, { headers: { "If-None-Match": tag ?? "none" } });
      const [all, some] = [await list(""), await list("?limit=2")];
      const tags = [all, some].map(({ headers }) => headers.get("ETag"));
      // What is drawn is drawn anew every five seconds.
      const redrawn = await eventually(() => list("?limit=2", tags[1]), ({ status }) => status === 200);
      assert.notEqual(redrawn.headers.get("ETag"), tags[1]);
      assert.equal((await list("", tags[0])).status, 304);
    });
  });

  test("variables: revoked keys", async () => {
    const [trusted, stolen] = [newPeer(), newPeer()];
    const both = `${trusted.publicKey}, ${stolen.publicKey}`;
    await withHost(host, { vars: { ...UNCACHED, REVOKED_TICKET_KEYS: stolen.publicKey } }, async ({ url }) => {
      const refused = await announce(url, signTicket(stolen, { community: "mainnet" }));
      assert.equal(refused.status, 403);
      assert.equal(refused.json.code, "REVOKED_PUBLIC_KEY");
      // Said before its signature is looked at.
      const forged = await announce(url, signTicket(trusted, { envelope: { publicKey: stolen.publicKey } }));
      assert.equal(forged.json.code, "REVOKED_PUBLIC_KEY");
      assert.equal((await announce(url, signTicket(trusted))).json.accepted, true);
      assert.deepEqual(peerIds(await peers(url)), [trusted.peerId]);
    });
    // A key that is on both lists is revoked.
    const vars = { ...UNCACHED, TRUSTED_TICKET_KEYS: both, REVOKED_TICKET_KEYS: stolen.publicKey };
    await withHost(host, { vars }, async ({ url }) => {
      assert.equal((await announce(url, signTicket(stolen))).json.code, "REVOKED_PUBLIC_KEY");
      assert.equal((await announce(url, signTicket(newPeer()))).json.code, "UNTRUSTED_PUBLIC_KEY");
      assert.equal((await announce(url, signTicket(trusted))).json.accepted, true);
    });
  });

  test("variables: a relay of libp2p's", async () => {
    const id = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
    const addresses = [`/ip4/203.0.113.9/tcp/4001/p2p/${id}`, `/dns4/relay.example/tcp/443/wss/p2p/${id}`];
    await withHost(host, { vars: { CIRCUIT_RELAY_ADDRESSES: addresses.join() } }, async ({ url }) => {
      const { status, headers, json } = await call(url, "/relay");
      assert.deepEqual([status, json], [200, { peer_id: id, addrs: addresses }]);
      assert.equal(headers.get("Access-Control-Allow-Origin"), "*");
      const posted = await call(url, "/relay", { method: "POST" });
      assert.deepEqual([posted.status, posted.json.code], [405, "METHOD_NOT_ALLOWED"]);
    });
  });

  test("variables: communities, trusted keys, limits", async () => {
    const trusted = newPeer();
    const vars = {
      ...UNCACHED,
      DEFAULT_COMMUNITY: "home",
      COMMUNITIES: "home, garden",
      TRUSTED_TICKET_KEYS: trusted.publicKey,
      TICKET_MAX_LIFETIME_MS: "60000",
      ANNOUNCE_INTERVAL_MS: "0",
      ANNOUNCE_AFTER_MIN_MS: "7",
      ANNOUNCE_AFTER_MAX_MS: "7",
      ANSWER_LIMIT: "1",
    };
    await withHost(host, { vars }, async ({ url }) => {
      const ticket = (peer, overrides) => {
        const issuedAt = Date.now();
        return signTicket(peer, { issuedAt, expiresAt: issuedAt + 60_000, community: "home", ...overrides });
      };
      const accepted = await announce(url, ticket(trusted));
      assert.equal(accepted.json.community, "home");
      assert.equal(accepted.json.announceAfterMs, 7);
      const untrusted = await announce(url, ticket(newPeer()));
      assert.equal(untrusted.status, 403);
      assert.equal(untrusted.json.code, "UNTRUSTED_PUBLIC_KEY");
      assert.equal(untrusted.json.peers.length, 1);
      assert.equal((await announce(url, signTicket(trusted))).json.code, "LIFETIME_TOO_LONG");
      const unknown = await announce(url, ticket(trusted), { community: "street" });
      assert.equal(unknown.status, 404);
      assert.equal(unknown.json.code, "COMMUNITY_UNKNOWN");
      assert.deepEqual(unknown.json.peers, []);
      assert.equal((await peers(url, { community: "street" })).json.code, "COMMUNITY_UNKNOWN");
      assert.equal((await announce(url, ticket({ ...trusted, peerId: "second" }))).json.accepted, true);
      assert.equal(peerIds(await peers(url, { limit: 50 })).length, 1);
    });
  });

  test("ANNOUNCES_PER_DAY: the more peers, the later each is asked to announce again, up to two thirds of a ticket's life", async () => {
    // A quarter of a minute for each peer: four peers may announce once a minute.
    const vars = { ...UNCACHED, ANNOUNCE_AFTER_MIN_MS: "50000", ANNOUNCE_AFTER_MAX_MS: "50000", ANNOUNCES_PER_DAY: "5760" };
    await withHost(host, { vars }, async ({ url }) => {
      const asked = [];
      for (let peer = 0; peer < 9; peer++) asked.push((await announce(url, signTicket(newPeer()))).json.announceAfterMs);
      assert.deepEqual(asked, [50_000, 50_000, 50_000, 60_000, 75_000, 90_000, 105_000, 120_000, 120_000]);
    });
  });

  test("the client's address: the configured header alone counts where there is one, and what cannot be read is said once", async () => {
    const vars = { NETWORK_REQUESTS_PER_MINUTE: "1", CLIENT_ADDRESS_HEADER: "X-Real-IP" };
    await withHost(host, { vars }, async ({ url }, log) => {
      // CF-Connecting-IP is written by the client, and does not count.
      const get = (headers) => call(url, "/peers", { headers }).then(({ status }) => status);
      for (const [address, status] of [
        ["198.51.100.1", 200],
        ["198.51.100.2", 429],
        ["10.0.0.1, 198.51.100.3:1234", 429],
        ["203.0.113.1:1234", 200],
        ["[2001:db8::1]:443", 200],
        ["2001:db8::2", 429],
      ]) {
        assert.equal(await get({ "X-Real-IP": address }), status, address);
        assert.equal(await get({ "X-Real-IP": address, [ADDRESS_HEADER]: "192.0.2.1" }), 429, address);
      }
      assert.deepEqual(log, []);
      assert.equal(await get({ "X-Real-IP": "somewhere" }), 200);
      assert.equal(await get({ "X-Real-IP": "elsewhere", [ADDRESS_HEADER]: "192.0.2.1" }), 429, "one household");
      assert.equal(await get({}), 429);
      const [line, ...more] = await eventually(async () => log, ({ length }) => length > 0);
      assert.deepEqual(more, []);
      assert.match(line, /"event":"client_address_unreadable".*X-Real-IP/);
      assert.doesNotMatch(line, /somewhere/);
    });
  });

  test("ORIGINS: a page of another origin gets the list and is not listed", async () => {
    const vars = { ORIGINS: "https://app.example, http://localhost:3000", PEERS_MAX_AGE_SECONDS: "60" };
    await withHost(host, { vars }, async ({ url }) => {
      const from = (ticket, Origin) => announce(url, ticket, { headers: Origin === undefined ? {} : { Origin } });
      const resident = newPeer();
      for (const [origin, peer] of [[undefined, resident], ["https://app.example", newPeer()], ["http://localhost:3000", newPeer()]]) {
        const { json } = await from(signTicket(peer), origin);
        assert.deepEqual([json.ok, json.accepted, json.listed], [true, true, true], origin);
      }
      const visitor = newPeer();
      for (const origin of ["https://evil.example", "null", "http://app.example", "https://app.example:444"]) {
        const ticket = signTicket(visitor);
        const { status, json } = await from(ticket, origin);
        const { ok, accepted, listed, community, expiresAt, total } = json;
        assert.deepEqual([status, ok, accepted, listed, community, total], [200, true, false, false, "mainnet", 3], origin);
        assert.equal(expiresAt, ticket.payload.expiresAt);
        assert.ok(json.announceAfterMs >= 45_000 && json.since.length === 3 && json.peers.length === 3);
      }
      // What is known of the resident is as it was: a page that carries its ticket is no bringer.
      assert.deepEqual(peerIds(await from(signTicket(resident), "https://evil.example")).includes(resident.peerId), false);
      assert.equal((await from(signTicket(visitor, { envelope: { signature: "" } }), "https://evil.example")).json.code, "MALFORMED");
      const own = await from(signTicket(visitor), "https://app.example");
      assert.deepEqual([own.json.accepted, own.json.total], [true, 4], "it was remembered");
      const leave = signTicket(visitor, { issuedAt: Date.now() + 1_000, leave: true });
      const left = await call(url, "/leave", { json: { ticket: leave }, headers: { Origin: "https://evil.example" } });
      assert.equal(left.json.left, true, "goodbyes are their owners' own");
    });
  });

  test("COMMUNITIES=*: new communities are rationed by network, known ones and the default one are not", async () => {
    await withHost(host, { vars: { COMMUNITIES: "*" } }, async ({ url }) => {
      const list = (community, address) => call(url, `/peers?community=${community}`, { address });
      for (let number = 0; number < 10; number += 1) assert.equal((await list(`new-${number}`, "192.0.2.1")).status, 200);
      const refused = await list("new-10", "192.0.2.2");
      assert.deepEqual([refused.status, refused.json.code], [429, "THROTTLED"]);
      assert.match(refused.json.detail, /new communities/);
      assert.ok(refused.json.retryAfterMs > 0 && refused.json.retryAfterMs <= 6_000);
      const announced = await announce(url, signTicket(newPeer()), { community: "new-10", address: "192.0.2.3" });
      assert.deepEqual([announced.status, announced.json.code], [429, "THROTTLED"]);
      assert.equal((await announce(url, signTicket(newPeer()), { community: "new-3", address: "192.0.2.3" })).json.accepted, true);
      assert.equal((await list("mainnet", "192.0.2.1")).status, 200);
      assert.equal((await list("new-10", "198.51.100.1")).status, 200);
    });
  });

  test("a client that goes away in its body is no failure, and a body has ten seconds", async () => {
    await withHost(host, { vars: UNCACHED }, async ({ url }, log) => {
      const head = (headers) =>
        `POST /announce HTTP/1.1\r\nHost: localhost\r\n${ADDRESS_HEADER}: 127.0.0.1\r\n${headers}\r\n\r\n`;
      const [sized, chunked] = [head("Content-Length: 400"), head("Transfer-Encoding: chunked")];
      const goAway = (sent) => raw(url, sent, (socket) => setTimeout(() => socket.destroy(), 100));
      await Promise.all([goAway(sized), goAway(`${sized}{"ticket":`), goAway(chunked), goAway(`${chunked}5\r\n{"tic\r\n`)]);
      await Promise.all([sized, chunked].map((sent) => raw(url, sent, (socket) => socket.end())));
      const started = Date.now();
      const slow = [sized, `${sized}{"ticket":`, chunked, `${chunked}5\r\n{"tic\r\n`].map(async (sent) => {
        // The connection is the client's to end.
        const answer = await raw(url, sent, (socket) => socket.on("data", () => socket.destroy()));
        assert.match(answer, /^HTTP\/1\.1 408 /);
        const waited = Date.now() - started;
        assert.ok(waited >= 9_500, `${waited} ms`);
        return answer;
      });
      for (const answer of await Promise.all(slow)) if (answer.includes("{")) assert.match(answer, /"code":"BODY_TIMEOUT"/);
      assert.equal((await call(url, "/healthz")).status, 200);
      assert.deepEqual(log.filter((line) => ![...host.notes, ...host.asides].includes(JSON.parse(line).event)), []);
    });
  });

  test("a ticket is in no answer once it has expired", async () => {
    await withHost(host, { vars: { ...UNCACHED, PEERS_MAX_AGE_SECONDS: "60" } }, async ({ url }) => {
      const issuedAt = Date.now();
      const expiresAt = issuedAt + 10_000;
      await announce(url, signTicket(newPeer(), { issuedAt, expiresAt }));
      await announce(url, signTicket(newPeer()));
      const seen = await peers(url);
      assert.equal(seen.json.total, 2, seen.text);
      // The list is served from memory all the while.
      const later = await eventually(() => peers(url), (list) => list.json.serverTime >= expiresAt);
      assert.equal(later.json.total, 1, later.text);
      assert.equal(later.json.peers.length, 1);
      assert.notEqual(later.headers.get("ETag"), seen.headers.get("ETag"));
    });
  });

  test("after a crash the roster is back, less what expired and the last ten seconds at most", async () => {
    const state = await mkdtemp(join(tmpdir(), "rendezvous-beacon-"));
    try {
      const [early, brief, late] = [newPeer(), newPeer(), newPeer()];
      const issuedAt = Date.now();
      const briefEnds = issuedAt + SAFE_AFTER_MS + 3_000;
      await withHost(host, { state, vars: UNCACHED }, async ({ url, kill }) => {
        await announce(url, signTicket(early, { issuedAt }));
        const { answeredAt } = await announce(url, signTicket(brief, { issuedAt, expiresAt: briefEnds }));
        // What was announced ten seconds ago must be safe, and nothing but the clock says when that is.
        await eventually(() => peers(url), (list) => list.json.serverTime >= answeredAt + SAFE_AFTER_MS);
        await announce(url, signTicket(late));
        await kill();
      });
      await withHost(host, { state, vars: UNCACHED }, async ({ url }, log) => {
        const list = await eventually(() => peers(url), (reply) => reply.json.serverTime >= briefEnds);
        assert.deepEqual(
          peerIds(list).filter((peerId) => peerId !== late.peerId),
          [early.peerId],
        );
        assert.match(log.join(), /"event":"roster_restored"/);
        const repeated = await announce(url, signTicket(early, { issuedAt: issuedAt + 1 }));
        assert.equal(repeated.json.code, "ANNOUNCE_TOO_SOON", "the 45 s were forgotten");
        const namesake = await announce(url, signTicket(newPeer({ peerId: early.peerId })));
        assert.equal(namesake.json.accepted, true);
      });
    } finally {
      await rm(state, { recursive: true });
    }
  });

  test("SNAPSHOT_INTERVAL_MS: a crash loses what waits for its row, and nothing else", async () => {
    const state = await mkdtemp(join(tmpdir(), "rendezvous-beacon-"));
    const vars = { ...UNCACHED, SNAPSHOT_INTERVAL_MS: "60000" };
    try {
      const [written, waiting] = [newPeer(), newPeer()];
      let diedAfter;
      await withHost(host, { state, vars }, async ({ url, kill }) => {
        const { askedAt } = await announce(url, signTicket(written));
        const { answeredAt } = await announce(url, signTicket(waiting));
        // By default it would have been written long ago.
        await eventually(() => peers(url), (list) => list.json.serverTime >= answeredAt + SAFE_AFTER_MS);
        await kill();
        diedAfter = Date.now() - askedAt;
      });
      await withHost(host, { state, vars }, async ({ url }) => {
        const back = peerIds(await peers(url));
        assert.ok(back.includes(written.peerId));
        // A machine that took a minute for that has written it.
        if (diedAfter < 60_000) assert.deepEqual(back, [written.peerId]);
      });
    } finally {
      await rm(state, { recursive: true });
    }
  });

  test("the alarm leaves no storage behind of a community that nobody is in any more", async () => {
    const state = await mkdtemp(join(tmpdir(), "rendezvous-beacon-"));
    const vars = {
      ...UNCACHED,
      TICKET_MAX_LIFETIME_MS: "10000",
      ANNOUNCE_INTERVAL_MS: "1000",
      ANNOUNCE_AFTER_MIN_MS: "1000",
      ANNOUNCE_AFTER_MAX_MS: "1000",
    };
    try {
      await withHost(host, { state, vars }, async ({ url }, log) => {
        const issuedAt = Date.now();
        const reply = await announce(url, signTicket(newPeer(), { issuedAt, expiresAt: issuedAt + 10_000 }));
        assert.equal(reply.json.accepted, true);
        await eventually(async () => log, (lines) => lines.some((line) => line.includes("roster_deleted")));
      });
      await withHost(host, { state, vars }, async ({ url }, log) => {
        assert.equal((await peers(url)).json.total, 0);
        // The runtime may have something of its own to say about the alarm that it was stopped in.
        assert.doesNotMatch(log.join("\n"), /"event":"roster_restored"/);
      });
    } finally {
      await rm(state, { recursive: true });
    }
  });

  describe("the page, the info document and the operator's figures", () => {
    const INFO = "/.well-known/rendezvous-beacon";
    const PASSWORD = "correct horse battery staple";
    const basic = (password) => ({ Authorization: `Basic ${Buffer.from(`admin:${password}`).toString("base64")}` });
    const vars = {
      ...UNCACHED,
      COMMUNITIES: "mainnet,hidden",
      LISTED_COMMUNITIES: "mainnet",
      OPERATOR_NAME: "Zoë & friends",
      ADMIN_PASSWORD: PASSWORD,
    };
    let beacon;
    before(async () => {
      beacon = await host.start({ vars });
    });
    after(() => beacon.stop());

    test("a browser gets the page, with all it loads, and none of it runs or shows what is another's", async () => {
      const page = await call(beacon.url, "/", { headers: { Accept: "text/html,*/*;q=0.8" } });
      assert.deepEqual([page.status, page.headers.get("Content-Type")], [200, "text/html; charset=utf-8"]);
      assert.equal(page.headers.get("Vary"), "Accept");
      const files = [...page.text.matchAll(/(?:src|href)="(\/[\w.]+)"/g)].map(([, path]) => path);
      assert.ok(files.includes("/page.js") && files.includes("/page.css"), page.text);
      for (const path of ["/", ...files, "/presence.js", "/ticket.js"]) {
        const { status, headers, text } = await call(beacon.url, path);
        assert.equal(status, 200, path);
        assert.match(headers.get("Content-Security-Policy"), /^default-src 'none'; script-src 'self'; .*frame-ancestors 'none'$/);
        assert.equal(headers.get("X-Robots-Tag"), "noindex");
        assert.equal(headers.get("Access-Control-Allow-Origin"), null);
        assert.ok(text.length > 100, path);
      }
      assert.doesNotMatch(page.text, /<style|style="|<script(?! type="module" src=)|\son\w+=/);
    });

    test("the same as JSON, of listed communities alone", async () => {
      for (const community of ["mainnet", "hidden"]) await announce(beacon.url, signTicket(newPeer()), { community });
      const byAccept = await call(beacon.url, "/", { headers: { Accept: "application/json" } });
      const document = await call(beacon.url, INFO);
      for (const { status, headers, json, text } of [byAccept, document]) {
        assert.deepEqual([status, headers.get("Access-Control-Allow-Origin")], [200, "*"]);
        assert.deepEqual(json.communities.map(({ name, live }) => [name, live]), [["mainnet", 1]]);
        assert.deepEqual(json.operator, { name: "Zoë & friends" });
        assert.doesNotMatch(text, /hidden|127\.0\.0\.1/);
      }
    });

    test("/admin is for who has the password, and for no page of elsewhere", async () => {
      const url = beacon.adminUrl;
      assert.equal((await call(url, "/admin")).status, 401);
      const wrong = await call(url, "/admin", { headers: basic("wrong horse battery staple") });
      assert.deepEqual([wrong.status, wrong.json.code], [401, "PASSWORD_WRONG"]);
      assert.match(wrong.headers.get("WWW-Authenticate"), /^Basic /);
      const crossSite = await call(url, "/admin", { headers: { ...basic(PASSWORD), "Sec-Fetch-Site": "cross-site" } });
      assert.deepEqual([crossSite.status, crossSite.json.code], [403, "CROSS_SITE"]);
      const page = await call(url, "/admin", { headers: { ...basic(PASSWORD), "Sec-Fetch-Site": "none" } });
      assert.deepEqual([page.status, page.headers.get("Content-Type")], [200, "text/html; charset=utf-8"]);
      const figures = await call(url, "/admin", { headers: { ...basic(PASSWORD), Accept: "application/json" } });
      assert.deepEqual([figures.status, figures.headers.get("Access-Control-Allow-Origin")], [200, null]);
      assert.deepEqual(figures.json.communities.map(({ name }) => name), ["hidden", "mainnet"]);
      assert.ok(figures.json.refused.PASSWORD_WRONG >= 2, figures.text);
      assert.doesNotMatch(figures.text, /127\.0\.0\.1|peer-/);
    });

    test("/admin tells connections by kind, and what a community has written and sent today", async () => {
      await withHost(host, { vars }, async ({ url, adminUrl }) => {
        const startedAt = Date.now();
        const abort = new AbortController();
        const answer = await fetch(`${url}/live`, { headers: { [ADDRESS_HEADER]: "192.0.2.1" }, signal: abort.signal });
        const viewer = await openLive(url, { address: "192.0.2.2" });
        const ann = newPeer();
        const peer = await joinLive(url, ann, { address: "192.0.2.3" });
        assert.equal((await announce(url, signTicket(newPeer()), { address: "192.0.2.4" })).json.accepted, true);
        let streamed = "";
        const isWhole = ({ view }) => view.peerIds.length === 2;
        await Promise.all([viewer.until(isWhole), peer.until(isWhole)]);
        for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
          streamed += text;
          if (streamed.includes(`id: ${viewer.view.position}\n`)) break;
        }
        const framesOf = ({ messages }) => messages.filter(({ position }) => position !== undefined).length;
        const frames = framesOf(viewer) + framesOf(peer) + streamed.match(/^id: /gm).length;

        const { json, text } = await call(adminUrl, "/admin", { headers: { ...basic(PASSWORD), Accept: "application/json" } });
        const [hidden, { activity }] = json.communities;
        const { since, rows, alarms, ...counts } = activity;
        assert.deepEqual(counts, { sockets: 2, bound: 1, streams: 1, frames }, streamed);
        assert.ok(rows >= 1 && alarms >= 1, text);
        assert.ok(since >= startedAt - 60_000 || since % 86_400_000 === 0, text);
        assert.deepEqual({ ...hidden.activity, since: 0 }, { sockets: 0, bound: 0, streams: 0, since: 0, rows: 0, alarms: 0, frames: 0 });
        assert.doesNotMatch(text, new RegExp(`192\\.0\\.2|${ann.peerId}`));
        await Promise.all([viewer.close(), peer.close()]);
        abort.abort();
      });
    });

    test("who guesses at /admin is limited, and everything else goes on", async () => {
      await withHost(host, { vars }, async ({ url, adminUrl }) => {
        const guess = () => call(adminUrl, "/admin", { headers: basic("wrong horse battery staple") });
        const statuses = new Set();
        for (let guesses = 0; guesses < 12; guesses += 1) statuses.add((await guess()).status);
        assert.deepEqual(statuses, new Set([401, 429]));
        assert.equal((await call(url, "/peers")).status, 200);
      });
    });

    test("a password that is too short is refused by name, and shown to nobody", async () => {
      const log = [];
      const short = { ...vars, ADMIN_PASSWORD: "hunter2" };
      try {
        const { url, stop } = await host.start({ vars: short, log: (line) => log.push(line) });
        assert.equal((await call(url, "/peers")).json.code, "INTERNAL");
        await eventually(async () => log.join("\n"), (text) => text.includes("ADMIN_PASSWORD"));
        await stop();
      } catch (error) {
        // A program does not start.
        log.push(error.message);
      }
      assert.match(log.join("\n"), /ADMIN_PASSWORD is \\?"not shown\\?": it must be of 16 to 200/);
      assert.doesNotMatch(log.join("\n"), /hunter2/);
    });
  });
});
