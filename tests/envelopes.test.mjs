// The door for envelopes of ShadowBroker's fleet, by its shapes alone: written with node:crypto and nothing of the Rust code.

import assert from "node:assert/strict";
import { createHash, createHmac, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { NATIVE, withHost } from "./hosts.mjs";
import { call } from "./http.mjs";

const PATH = "/api/mesh/dm/replicate-envelope";
const PEERS = { "https://one.example:8443": "correct horse battery", "https://two.example": "another secret; of many" };
const [ONE, TWO] = Object.keys(PEERS);
const VARS = {
  REPLICATION_PEERS: Object.entries(PEERS).map(([url, secret]) => `${url}=${secret}`).join(),
  ADDRESS_REQUESTS_PER_MINUTE: "100000",
  NETWORK_REQUESTS_PER_MINUTE: "100000",
};

const hmac = (key, data) => createHmac("sha256", key).update(data).digest();

/** The MAC of a body by a peer. */
function macOf(url, body, secret = PEERS[url]) {
  const key = hmac(hmac("sb-peer-auth-v1", secret), Buffer.concat([Buffer.from(url), Buffer.from([1])]));
  return hmac(key, body).toString("hex");
}

const newToken = () => randomBytes(32).toString("hex");
const keyOf = (token) => createHash("sha256").update(token).digest("hex");

function envelope(token, overrides = {}) {
  return {
    msg_id: randomBytes(16).toString("hex"),
    mailbox_key: keyOf(token),
    sender_block_ref: randomBytes(16).toString("hex"),
    ciphertext: randomBytes(64).toString("base64"),
    timestamp: Date.now() / 1_000,
    delivery_class: "shared",
    ...overrides,
  };
}

describe("the door for another fleet's envelopes", () => {
  let host;
  let url;
  before(async () => {
    host = await NATIVE.start({ vars: VARS });
    url = host.url;
  });
  after(() => host.stop());

  const send = (body, { peer = ONE, mac = macOf(peer, body), at = url, ...headers } = {}) =>
    call(at, PATH, { method: "POST", body, headers: { "Content-Type": "application/json", "X-Peer-Url": peer, "X-Peer-HMAC": mac, ...headers } });
  const push = (envelope, options) => send(JSON.stringify({ envelope }), options);
  const collect = async (token, acks, at = url) => {
    const reply = await call(at, "/v1/tokens/collect", { json: { token, ...(acks && { acks }) } });
    assert.equal(reply.status, 200, reply.text);
    return reply.json;
  };
  const refused = (reply, status, detail) => {
    assert.equal(reply.status, status, reply.text);
    assert.equal(reply.json.ok, false);
    assert.match(reply.json.detail, detail);
  };

  test("takes an envelope, hands it over as it came, and lets go of it when it is acknowledged", async () => {
    const token = newToken();
    const sent = envelope(token, { more: { of: "theirs" } });
    assert.deepEqual((await push(sent)).json, { ok: true, msg_id: sent.msg_id });
    const { messages } = await collect(token);
    assert.deepEqual(messages, [sent]);
    assert.deepEqual((await collect(token)).messages, [], "leased");
    assert.equal((await collect(newToken(), [sent.msg_id])).released, 0, "by whoever has the token alone");
    assert.equal((await collect(token, [sent.msg_id])).released, 1);
  });

  test("refuses no MAC, a wrong one and one of another peer with 403", async () => {
    const body = JSON.stringify({ envelope: envelope(newToken()) });
    const detail = /^Invalid or missing peer HMAC$/;
    refused(await send(body, { mac: "" }), 403, detail);
    refused(await call(url, PATH, { method: "POST", body }), 403, detail);
    refused(await send(body, { mac: macOf(ONE, `${body} `) }), 403, detail);
    refused(await send(body, { mac: macOf(ONE, body, PEERS[TWO]) }), 403, detail);
    refused(await send(body, { peer: TWO, mac: macOf(ONE, body) }), 403, detail);
    refused(await send(body, { peer: "https://three.example", mac: macOf("https://three.example", body, PEERS[ONE]) }), 403, detail);
    assert.equal((await send(body, { mac: macOf(ONE, body).toUpperCase() })).status, 200);
    assert.equal((await push(envelope(newToken()), { peer: TWO })).status, 200);
  });

  test("refuses 65,537 bytes with 413, and reads 65,536", async () => {
    refused(await send(" ".repeat(65_537)), 413, /^Request body too large \(max 64KB\)$/);
    refused(await send(" ".repeat(65_536)), 400, /^Invalid JSON body$/);
  });

  test("refuses what has not their shape with 400", async () => {
    const of = (overrides) => JSON.stringify({ envelope: envelope(newToken(), overrides) });
    for (const [body, detail] of [
      ["{", /^Invalid JSON body$/],
      ["[]", /^Invalid JSON body$/],
      ["{}", /^envelope must be an object$/],
      ['{"envelope":[]}', /^envelope must be an object$/],
      ['{"envelope":null}', /^envelope must be an object$/],
      ['{"envelope":{}}', /^envelope missing required fields$/],
      ...["msg_id", "mailbox_key", "sender_block_ref", "ciphertext"].flatMap((field) =>
        ["", 1, null, undefined, ["a"]].map((value) => [of({ [field]: value }), /^envelope missing required fields$/]),
      ),
      [of({ mailbox_key: keyOf("a").toUpperCase() }), /mailbox_key/],
      [of({ mailbox_key: "ab" }), /mailbox_key/],
      [of({ msg_id: "a".repeat(129) }), /msg_id/],
      [of({ ciphertext: "a".repeat(8_193) }), /ciphertext/],
      [of({ more: "a".repeat(16_384) }), /16384/],
      [of({ timestamp: "now" }), /timestamp/],
      [of({ timestamp: undefined }), /timestamp/],
      [of({ timestamp: Date.now() / 1_000 - 3_601 }), /timestamp/],
      [of({ timestamp: Date.now() / 1_000 + 600 }), /timestamp/],
      [of({}).replace(/"timestamp":[\d.]+/, '"timestamp":Infinity'), /JSON|object/],
      [of({ delivery_class: "other" }), /delivery_class/],
      [of({ delivery_class: undefined }), /delivery_class/],
    ]) {
      refused(await send(body, { peer: TWO }), 400, detail);
    }
    refused(await call(url, PATH), 405, /POST/);
    refused(await call(url, "/v1/tokens/collect", { json: {} }), 400, /token/);
    refused(await call(url, "/v1/tokens/collect", { json: { token: "a", acks: Array(65).fill("a") } }), 400, /acks/);
  });
});

describe("its caps", () => {
  test("are by sender, not by mailbox; a duplicate is not counted, and an acknowledgement frees", async () => {
    await withHost(NATIVE, { vars: VARS }, async ({ url }) => {
      const push = (envelope, peer = ONE) => {
        const body = JSON.stringify({ envelope });
        return call(url, PATH, { method: "POST", body, headers: { "X-Peer-Url": peer, "X-Peer-HMAC": macOf(peer, body) } });
      };
      const [token, other] = [newToken(), newToken()];
      const sender_block_ref = "sender";
      const [first, second, third] = [1, 2, 3].map(() => envelope(token, { sender_block_ref }));
      for (const sent of [first, second]) assert.equal((await push(sent)).status, 200);
      const capped = await push(third);
      assert.equal(capped.status, 409);
      assert.match(capped.json.detail, /^Per-sender cap reached/);
      assert.deepEqual([capped.json.ok, capped.json.cap_violation, capped.json.pending, capped.json.limit], [false, true, 2, 2]);
      assert.equal((await push(third, TWO)).status, 409, "whichever peer brings it");
      assert.deepEqual((await push(second)).json, { ok: true, msg_id: second.msg_id, duplicate: true });
      assert.equal((await push(second, TWO)).json.duplicate, true);
      assert.equal((await push({ ...second, ciphertext: "another" })).status, 409);
      assert.equal((await push(envelope(token))).status, 200, "another sender");
      assert.equal((await push(envelope(other, { sender_block_ref }))).status, 200, "another recipient");
      const reply = await call(url, "/v1/tokens/collect", { json: { token, acks: [first.msg_id] } });
      assert.equal(reply.json.released, 1);
      assert.equal((await push(third)).status, 200);
    });
  });

  test("are of a class and of a peer", async () => {
    await withHost(NATIVE, { vars: VARS }, async ({ url }) => {
      const push = (envelope, peer = ONE) => {
        const body = JSON.stringify({ envelope });
        return call(url, PATH, { method: "POST", body, headers: { "X-Peer-Url": peer, "X-Peer-HMAC": macOf(peer, body) } });
      };
      const token = newToken();
      const statuses = async (count, overrides, peer) => {
        const found = [];
        for (let sent = 0; sent < count; sent += 1) found.push((await push(envelope(token, overrides), peer)).status);
        return found;
      };
      assert.deepEqual(await statuses(13, { delivery_class: "request" }), [...Array(12).fill(200), 409]);
      assert.deepEqual(await statuses(13, { delivery_class: "shared" }), [...Array(12).fill(200), 409], "24 of one peer");
      assert.deepEqual(await statuses(1, { delivery_class: "shared" }, TWO), [200], "which are not another's");
      assert.deepEqual((await statuses(1, { delivery_class: "request" }, TWO)), [409]);
    });
  });

  test("hold after a kill, and what was answered 200 is there", async () => {
    const state = await mkdtemp(join(tmpdir(), "envelopes-test-"));
    try {
      const token = newToken();
      const sender_block_ref = "sender";
      const sent = [1, 2].map(() => envelope(token, { sender_block_ref }));
      const push = (url, envelope) => {
        const body = JSON.stringify({ envelope });
        return call(url, PATH, { method: "POST", body, headers: { "X-Peer-Url": ONE, "X-Peer-HMAC": macOf(ONE, body) } });
      };
      const first = await NATIVE.start({ vars: VARS, state });
      for (const it of sent) assert.equal((await push(first.url, it)).status, 200);
      await first.kill();
      await withHost(NATIVE, { vars: VARS, state }, async ({ url }) => {
        assert.equal((await push(url, sent[0])).json.duplicate, true);
        assert.equal((await push(url, envelope(token, { sender_block_ref }))).status, 409);
        assert.deepEqual((await call(url, "/v1/tokens/collect", { json: { token } })).json.messages, sent);
      });
    } finally {
      await rm(state, { recursive: true });
    }
  });
});

test("without peers the door is not there, and peers that cannot be read are named and not shown", async () => {
  await withHost(NATIVE, {}, async ({ url }) => {
    assert.equal((await call(url, PATH, { json: {} })).status, 404);
    assert.equal((await call(url, "/v1/tokens/collect", { json: {} })).status, 404);
  });
  await assert.rejects(NATIVE.start({ vars: { REPLICATION_PEERS: "https://a.example=hunter2" } }), (error) => {
    assert.match(error.message, /REPLICATION_PEERS is "not shown"/);
    assert.doesNotMatch(error.message, /hunter2/);
    return true;
  });
});
