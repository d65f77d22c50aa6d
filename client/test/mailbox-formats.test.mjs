// The formats of mailboxes: this library reads, seals and opens what the vectors say.

import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as internals from "../build/internals.js";
import { CASES, checkMailboxVectors } from "./mailbox-vectors.mjs";
import { seeded } from "./world.mjs";

const files = Object.fromEntries(
  Object.keys(CASES).map((name) => [name, JSON.parse(readFileSync(new URL(`../../tests/vectors/mailbox/${name}.json`, import.meta.url), "utf8"))]),
);

test("every vector of mailboxes has the expected outcome", async () => {
  assert.deepEqual(await checkMailboxVectors(files, internals), []);
});

test("ChaCha20-Poly1305 of any length is that of OpenSSL", () => {
  const random = seeded(8439);
  const bytes = (length) => Uint8Array.from({ length }, () => Math.floor(random() * 256));
  for (let round = 0; round < 300; round++) {
    // Around the ends of blocks, of 16 and of 64.
    const [text, aad] = [bytes(Math.floor(random() * 200)), bytes(Math.floor(random() * 40))];
    // Ones and zeros alone come near the modulus.
    const key = round % 3 ? bytes(32) : new Uint8Array(32).fill(round % 2 && 255);
    const nonce = bytes(12);
    const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
    cipher.setAAD(aad, { plaintextLength: text.length });
    const expected = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    const sealed = internals.encrypt(key, nonce, aad, text);
    assert.deepEqual(Buffer.from(sealed), expected);
    assert.deepEqual(internals.decrypt(key, nonce, aad, sealed), text);
    const changed = sealed.slice();
    changed[Math.floor(random() * changed.length)] ^= 1 << Math.floor(random() * 8);
    assert.equal(internals.decrypt(key, nonce, aad, changed), undefined);
  }
});

test("a seal can be opened by its key alone, and no two are the same", async () => {
  const { newKemKeyPair, seal, unseal, strict, webCryptoVerify, signerOf, slotKeyOf } = internals;
  const verify = strict(webCryptoVerify(crypto.subtle));
  const [key, other] = [await newKemKeyPair(), await newKemKeyPair()];
  assert.equal(key.privateKey.extractable, false);
  const sender = signerOf(await slotKeyOf(new Uint8Array(32).fill(5)));
  const slot = (await slotKeyOf(new Uint8Array(32).fill(6))).publicKey;
  const place = { address: "ab".repeat(32), slot, sequence: 2 ** 53 - 1, expiresAt: 1_700_000_000_000 };
  const written = { introduces: slot, content: internals.utf8("Grüße") };
  const sealed = await seal(written, place, sender, key.publicKey);
  assert.notDeepEqual(await seal(written, place, sender, key.publicKey), sealed);
  const opened = await unseal(sealed, place, [other, key], verify);
  assert.deepEqual(opened, { ...written, from: internals.base64(sender.publicKey) });
  await assert.rejects(unseal(sealed, place, [other], verify), { message: "SEALING_KEY_UNKNOWN" });
  await assert.rejects(seal(written, place, sender, new Uint8Array(32)), { message: "SEALING_KEY_UNKNOWN" });
});

test("what has come of a slot is as that of a list of all numbers, and no number is lost", () => {
  const random = seeded(17);
  for (let run = 0; run < 40; run++) {
    const limit = 1 + Math.floor(random() * 32);
    let received = internals.NOTHING_RECEIVED;
    const come = new Set();
    let now = 1_700_000_000_000;
    // As an honest sender: of the numbers that have not come, one of the lowest `limit`.
    for (let step = 0; step < 400; step++) {
      now += Math.floor(random() * 60_000);
      const open = [];
      for (let each = 1; open.length < limit; each++) if (!come.has(each)) open.push(each);
      const sequence = open[Math.floor(random() ** 2 * open.length)];
      assert.equal(internals.hasReceived(received, sequence), false);
      received = internals.receive(received, sequence, limit, now);
      come.add(sequence);
      const { through, missing } = received;
      assert.equal(through, Math.max(...come));
      assert.deepEqual(missing.map(([each]) => each), Array.from({ length: through }, (_, at) => at + 1).filter((each) => !come.has(each)));
      assert.ok(missing.length <= limit);
      assert.equal(internals.hasReceived(received, sequence), true);
    }
  }
});

test("a gap of any width costs no more than a slot has places, and is given up when nothing of it can come", () => {
  const week = 7 * 86_400_000;
  const { receive, hasReceived, NOTHING_RECEIVED } = internals;
  let received = receive(NOTHING_RECEIVED, 2 ** 53 - 2, 8, 1_000);
  assert.deepEqual(received.missing.map(([each]) => each), Array.from({ length: 8 }, (_, at) => 2 ** 53 - 10 + at));
  received = receive({ through: 5, missing: [[2, 1_000], [4, 1_000 + week]] }, 7, 8, 1_000 + week + 3_600_000);
  assert.deepEqual(received, { through: 7, missing: [[4, 1_000 + week], [6, 1_000 + week + 3_600_000]] });
  assert.equal(hasReceived(received, 2), true);
  assert.equal(hasReceived(received, 4), false);
});
