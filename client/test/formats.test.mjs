// Tickets, capsules, signatures and JSON against the project's vectors and hostile input.

import assert from "node:assert/strict";
import { createHash, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import * as internals from "../build/internals.js";
import { newPeer } from "../../tests/ticket.mjs";
import { CASES, checkVectors } from "./vectors.mjs";

const vectors = (name) =>
  JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), "utf8"));
const plain = internals.webCryptoVerify(crypto.subtle);
const strict = internals.strict(plain);
const verify = (key, signature, message) => strict(internals.base64(key), internals.base64(signature), message);

test("every vector has the expected outcome", async () => {
  const files = Object.fromEntries(Object.keys(CASES).map((name) => [name, vectors(name)]));
  assert.deepEqual(await checkVectors(files, internals), []);
});

test("public keys are read in both forms, and nothing else is one", () => {
  const { a, b } = vectors("keys");
  for (const { publicKey } of [a, b]) {
    const bytes = internals.readPublicKey(publicKey);
    assert.equal(internals.base64(bytes), publicKey);
    const pem = `\n-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA${publicKey}\n-----END PUBLIC KEY-----\n`;
    assert.deepEqual(internals.readPublicKey(pem), bytes);
    for (const text of [
      "",
      publicKey.slice(1),
      publicKey.replace("=", ""),
      `${publicKey}${publicKey}`,
      pem.replace("PUBLIC", "PRIVATE"),
      pem.replace("MCow", "MCox"),
    ]) {
      assert.equal(internals.readPublicKey(text), undefined, text);
    }
  }
});

test("public keys are read in every spelling that the program reads, and in no other", () => {
  const spellings = vectors("spellings").filter(({ kind }) => kind === "public");
  assert.equal(spellings.length, 44);
  for (const { name, text, publicKey } of spellings) {
    const bytes = internals.readPublicKey(text);
    assert.equal(bytes && internals.base64(bytes), publicKey ?? undefined, name);
  }
});

describe("signatures", () => {
  // Curve arithmetic of the test's own, to make points that no honest key generator does.
  const P = 2n ** 255n - 19n;
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  const mod = (n, m = P) => ((n % m) + m) % m;
  const power = (base, exponent) => {
    let result = 1n;
    for (let n = exponent, square = mod(base); n > 0n; n >>= 1n, square = mod(square * square))
      if (n & 1n) result = mod(result * square);
    return result;
  };
  const invert = (n) => power(n, P - 2n);
  const D = mod(-121665n * invert(121666n));
  const add = ([x1, y1], [x2, y2]) => {
    const product = mod(D * x1 * x2 * y1 * y2);
    return [mod((x1 * y2 + x2 * y1) * invert(1n + product)), mod((y1 * y2 + x1 * x2) * invert(1n - product))];
  };
  const times = (scalar, point) => {
    let result = [0n, 1n];
    for (let n = scalar, double = point; n > 0n; n >>= 1n, double = add(double, double))
      if (n & 1n) result = add(result, double);
    return result;
  };
  const xOf = (y) => {
    const square = mod((y * y - 1n) * invert(mod(D * y * y) + 1n));
    let x = power(square, (P + 3n) / 8n);
    if (mod(x * x - square) !== 0n) x = mod(x * power(2n, (P - 1n) / 4n));
    return x;
  };
  const bytes = (n) => Uint8Array.from({ length: 32 }, (_, at) => Number((n >> BigInt(8 * at)) & 255n));
  const number = (raw) => [...raw].reduceRight((n, byte) => (n << 8n) | BigInt(byte), 0n);
  const encode = ([x, y]) => bytes(y | ((x & 1n) << 255n));
  const hash = (...parts) => mod(number(createHash("sha512").update(Buffer.concat(parts)).digest()), L);
  const baseY = mod(4n * invert(5n));
  const BASE = [xOf(baseY) & 1n ? P - xOf(baseY) : xOf(baseY), baseY];
  const Y8 = number(internals.readBase64("JuiVj8KyJ7BFw/SJ8u+Y8NXfrAXTxjM5sTgCiG1T/AU="));
  const ORDER_8 = [xOf(Y8), Y8];
  const secret = 0x1234567890abcdefn ** 3n;
  const nonce = 0xfedcba987654321n ** 3n;

  test("neither a key nor an R of small order is accepted, however it is spelled", async () => {
    // Eight points; those whose y is below 19 have a second spelling of it, those whose x is zero a second one of its sign.
    const spellings = new Set();
    for (let n = 0n; n < 8n; n++) {
      const [x, y] = times(n, ORDER_8);
      for (const spelled of y < 19n ? [y, y + P] : [y]) {
        for (const sign of x === 0n ? [0n, 1n] : [x & 1n]) spellings.add(spelled | (sign << 255n));
      }
    }
    assert.equal(spellings.size, 14);
    const honest = encode(times(secret, BASE));
    // Not by what is asked besides: a WebCrypto of today refuses most of them by itself.
    const alone = internals.strict(() => true);
    const isAccepted = (key, signature) => alone(internals.base64(key), internals.base64(signature), Uint8Array.of());
    assert.equal(await isAccepted(honest, Buffer.concat([honest, bytes(0n)])), true);
    for (const key of spellings) {
      for (const r of spellings) {
        for (let message = 0; message < 8; message++) {
          const signature = Buffer.concat([bytes(r), bytes(0n)]);
          assert.equal(await verify(bytes(key), signature, Uint8Array.of(message)), false);
        }
      }
      assert.equal(await isAccepted(bytes(key), Buffer.concat([honest, bytes(0n)])), false);
      assert.equal(await isAccepted(honest, Buffer.concat([bytes(key), bytes(0n)])), false);
      // With the nonce zero R is the identity, and the equation holds for an honest key.
      const k = hash(bytes(key), honest, Uint8Array.of(0));
      assert.equal(
        await verify(honest, Buffer.concat([bytes(key), bytes(mod(k * secret, L))]), Uint8Array.of(0)),
        false,
      );
    }
  });

  test("the equation is the one without its cofactor, as in the Rust code", async () => {
    // The key has a part of order 8, which the equation notices unless the hash is a multiple of 8.
    const key = encode(add(times(secret, BASE), ORDER_8));
    const r = encode(times(nonce, BASE));
    const accepted = { expected: 0, found: 0 };
    for (let message = 0; message < 64; message++) {
      const text = Uint8Array.of(message);
      const k = hash(r, key, text);
      const signature = Buffer.concat([r, bytes(mod(nonce + k * secret, L))]);
      const found = await verify(key, signature, text);
      assert.equal(found, k % 8n === 0n);
      accepted.expected += k % 8n === 0n;
      accepted.found += found;
    }
    assert.ok(accepted.found > 0);
  });

  test("S must be below the order, and R spelled as short as can be", async () => {
    const peer = newPeer();
    const message = internals.utf8("message");
    const key = internals.readBase64(peer.publicKey);
    const good = new Uint8Array(sign(null, message, peer.privateKey));
    assert.equal(await verify(key, good, message), true);
    const large = Buffer.concat([good.subarray(0, 32), bytes(number(good.subarray(32)) + L)]);
    assert.equal(await verify(key, large, message), false);
    // The signer knows the nonce of no such R, but an equation checked on points would not ask for its spelling.
    for (let y = 2n; y < 19n; y++)
      assert.equal(await verify(key, Buffer.concat([bytes(P + y), good.subarray(32)]), message), false);
  });
});

describe("JSON", () => {
  const { canonical, readJson } = internals;

  test("what JSON.parse would lose is kept apart", () => {
    const fields = readJson(
      '{"a":1.0,"b":1e3,"c":-0,"d":7,"d":8,"e":9007199254740991,"f":[0.5],"__proto__":1,"constructor":2}',
    );
    for (const name of ["a", "b", "c", "d"]) assert.ok(Number.isNaN(fields.get(name)), name);
    assert.equal(fields.get("e"), Number.MAX_SAFE_INTEGER);
    assert.ok(Number.isNaN(fields.get("f")[0]));
    assert.equal(fields.get("__proto__"), 1);
    assert.equal(fields.get("constructor"), 2);
  });

  test("everything that is JSON reads as JSON.parse reads it, and nothing else reads", () => {
    const texts = [
      " [ ] ",
      "{}",
      '{"a":{"b":[1,"x",null,true,false,"\\"\\\\{}[],:\\u00e9"]}}',
      '"\u2028 \u00a0"',
      "0",
      '["",""]',
      '{"":[{}]}',
    ];
    const toPlain = (value) =>
      value instanceof Map
        ? Object.fromEntries([...value].map(([key, item]) => [key, toPlain(item)]))
        : Array.isArray(value)
          ? value.map(toPlain)
          : value;
    for (const text of texts) assert.deepEqual(toPlain(readJson(text)), JSON.parse(text), text);
    for (const text of [
      "",
      "{",
      '{"a":1,}',
      "[1 2]",
      "01",
      "\ufeff{}",
      "{'a':1}",
      '"\n"',
      "nul",
      '{"a"}',
      "[".repeat(1000) + "]".repeat(1000),
    ]) {
      assert.throws(() => readJson(text), SyntaxError, text.slice(0, 20));
    }
  });

  test("canonical: sorted keys, no white space, strings as JSON.stringify has them", () => {
    assert.equal(
      canonical(readJson('{ "b": [ { "z": 1, "Z": "\\u000b\\/" } ], "a": { "é": 0, "e": true }, "": null }')),
      '{"":null,"a":{"e":true,"é":0},"b":[{"Z":"\\u000b/","z":1}]}',
    );
  });

  test("hostile texts take no longer than their length", () => {
    const started = process.cpuUsage();
    for (const text of [
      `["${"\\\\".repeat(120_000)}"]`,
      `["${'\\"'.repeat(120_000)}"]`,
      '"\\"'.repeat(60_000),
      "[".repeat(250_000),
      `[${"{},".repeat(80_000)}{}]`,
    ]) {
      try {
        readJson(text);
      } catch (error) {
        assert.ok(error instanceof SyntaxError, String(error));
      }
    }
    // Of this process alone, whatever else the machine does. What takes the square of the length takes minutes.
    const { user, system } = process.cpuUsage(started);
    assert.ok(user + system < 10_000_000, `${user + system} µs`);
  });
});
