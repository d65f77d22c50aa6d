// Registration: what this library signs is what the vectors say, and what a beacon answers is told as it is. The way from a
// browser to a mail and back is in tests/registration.test.mjs.

import assert from "node:assert/strict";
import { generateKeyPairSync, createPublicKey, sign, verify } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";
import { explain } from "../dist/index.js";
import { register } from "../dist/registration.js";
import * as internals from "../build/internals.js";
import { checkRegistrationVectors } from "./registration-vectors.mjs";

const VECTORS = JSON.parse(readFileSync(new URL("../../tests/vectors/registration/registrations.json", import.meta.url), "utf8"));

test("every vector of registration has the expected outcome", async () => {
  assert.deepEqual(await checkRegistrationVectors(VECTORS, internals), []);
});

/** A key of an application's own. */
function newSigner() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    publicKey: Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url"),
    sign: (message) => sign(null, message, privateKey),
  };
}

/** A beacon that answers as `answers` say, in their order; `work` gets its URL, and what it was asked. */
async function withBeacon(answers, work) {
  const asked = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    asked.push({ method: request.method, url: request.url, headers: request.headers, body });
    answers.shift()?.(response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await work(`http://127.0.0.1:${server.address().port}`, asked);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const answer = (status, fields) => (response) => response.writeHead(status).end(JSON.stringify(fields));
const TAKEN = answer(202, { ok: true, serverTime: 1 });
const WHOM = { community: "chess", email: "o'neil@a.example" };

test("a registration is signed for the beacon's origin by the key of the tickets, and asked for without cookies", async () => {
  const identity = newSigner();
  await withBeacon([TAKEN], async (url, asked) => {
    await register(`${url}/eu/`, { ...WHOM, identity });
    const [{ method, url: path, headers, body }] = asked;
    assert.deepEqual([method, path, headers.cookie, headers.referer], ["POST", "/eu/register", undefined, undefined]);
    const { registration, ...more } = JSON.parse(body);
    assert.deepEqual(more, {});
    const { payload, publicKey, signature } = registration;
    assert.deepEqual({ ...payload, issuedAt: 0 }, { audience: url, ...WHOM, issuedAt: 0 });
    assert.ok(Math.abs(payload.issuedAt - Date.now()) < 60_000);
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: Buffer.from(publicKey, "base64").toString("base64url") }, format: "jwk" });
    const signed = `rendezvous-registration-v1:register\n${internals.canonical(internals.readJson(JSON.stringify(payload)))}`;
    assert.ok(verify(null, Buffer.from(signed), key, Buffer.from(signature, "base64")));
    assert.equal(publicKey, identity.publicKey.toString("base64"));
  });
});

test("a key pair of WebCrypto is taken as it is", async () => {
  const identity = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  await withBeacon([TAKEN], async (url, asked) => {
    await register(url, { ...WHOM, identity });
    const raw = Buffer.from(await crypto.subtle.exportKey("raw", identity.publicKey)).toString("base64");
    assert.equal(JSON.parse(asked[0].body).registration.publicKey, raw);
  });
});

test("with a clock that is wrong it signs once more, by the beacon's", async () => {
  for (const code of ["NOT_YET_VALID", "EXPIRED"]) {
    const refused = answer(400, { ok: false, code, serverTime: 1_700_000_000_000 });
    await withBeacon([refused, TAKEN], async (url, asked) => {
      await register(url, { ...WHOM, identity: newSigner() });
      assert.deepEqual(asked.map(({ body }) => JSON.parse(body).registration.payload.issuedAt === 1_700_000_000_000), [false, true]);
    });
    await withBeacon([refused, refused, TAKEN], async (url, asked) => {
      await assert.rejects(register(url, { ...WHOM, identity: newSigner() }), { message: code });
      assert.equal(asked.length, 2);
    });
    // A beacon that says another time at every answer: the second one is its last word.
    const times = Array.from({ length: 8 }, (_, i) => answer(400, { ok: false, code, serverTime: 1_700_000_000_000 + i }));
    await withBeacon([...times, TAKEN], async (url, asked) => {
      await assert.rejects(register(url, { ...WHOM, identity: newSigner() }), { message: code });
      assert.equal(asked.length, 2);
    });
  }
});

test("why it is refused is a reason, with the time after which it may be taken", async () => {
  for (const [reply, message, retryAfterMs] of [
    [answer(429, { ok: false, code: "THROTTLED", retryAfterMs: 3_600_000 }), "THROTTLED", 3_600_000],
    [answer(404, { ok: false, code: "COMMUNITY_UNKNOWN" }), "COMMUNITY_UNKNOWN", undefined],
    [answer(404, { ok: false, code: "NOT_FOUND" }), "NOT_FOUND", undefined],
    [answer(404, { status: "error" }), "NOT_FOUND", undefined],
    [(response) => response.writeHead(404).end("<html>"), "NOT_FOUND", undefined],
    [answer(403, { ok: false, code: "SIGNATURE_INVALID", retryAfterMs: -1 }), "SIGNATURE_INVALID", undefined],
    [answer(500, { ok: false, code: "a b" }), "HTTP_500", undefined],
    [answer(403, { ok: true }), "HTTP_403", undefined],
    [answer(202, { ok: false }), "HTTP_202", undefined],
    [answer(202, [true]), "HTTP_202", undefined],
    [(response) => response.writeHead(502).end("<html>"), "HTTP_502", undefined],
    [(response) => response.writeHead(302, { Location: "/elsewhere" }).end(), "NETWORK", undefined],
    [(response) => response.end("x".repeat(16_385)), "TOO_LARGE", undefined],
    [(response) => response.socket.destroy(), "NETWORK", undefined],
  ])
    await withBeacon([reply], async (url, asked) => {
      await assert.rejects(register(url, { ...WHOM, identity: newSigner() }), { name: "Refusal", message, retryAfterMs });
      assert.equal(asked.length, 1, message);
      assert.ok(explain(message).length > 10);
    });
});

test("what cannot be sent is named before anybody is asked", async () => {
  await withBeacon([], async (url, asked) => {
    for (const [beacon, more, message] of [
      ["beacon.example", {}, /^beacon must be/],
      ["ftp://beacon.example", {}, /^beacon must be/],
      [url, { community: "a b" }, /^community must be/],
      [url, { email: "a@b.example\r\nBcc: c@d.example" }, /^email must be/],
      [url, { email: undefined }, /^email must be/],
      [url, { identity: undefined }, /^identity must be given where there is no IndexedDB$/],
    ])
      await assert.rejects(register(beacon, { ...WHOM, identity: newSigner(), ...more }), (error) => {
        assert.ok(error instanceof TypeError);
        assert.match(error.message, message);
        return !error.message.includes("d.example");
      });
    const failing = { publicKey: new Uint8Array(32), sign: () => Promise.reject(new Error("locked")) };
    await assert.rejects(register(url, { ...WHOM, identity: failing }), { message: "SIGN_FAILED" });
    assert.deepEqual(asked, []);
  });
});

test("a signal ends it with its reason, before and while it is asked", async () => {
  const reason = new Error("the page goes");
  await assert.rejects(register("http://127.0.0.1:9", { ...WHOM, identity: newSigner(), signal: AbortSignal.abort(reason) }), reason);
  const abort = new AbortController();
  await withBeacon([() => abort.abort(reason)], async (url) => {
    await assert.rejects(register(url, { ...WHOM, identity: newSigner(), signal: abort.signal }), reason);
  });
});
