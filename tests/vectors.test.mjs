// The vectors that the scripts make are those that are there, and the signatures in them are those of Node.

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { files as ofDirectory } from "./vectors/directory/make.mjs";
import { files as ofMailboxes } from "./vectors/mailbox/make.mjs";
import { files } from "./vectors/make.mjs";
import { files as ofRegistration } from "./vectors/registration/make.mjs";

for (const [name, text] of [...files(), ...ofMailboxes(), ...ofDirectory(), ...ofRegistration()]) {
  test(`the script in tests/vectors makes ${name}, byte for byte`, async () => {
    assert.equal(await readFile(new URL(`vectors/${name}`, import.meta.url), "utf8"), text);
  });
}

const vectors = async (name) => JSON.parse(await readFile(new URL(`vectors/mailbox/${name}`, import.meta.url), "utf8"));

/** Whether the signature is one over this text, by a plain check: keys of small order are for a verifier to refuse. */
function fits(message, publicKey, signature) {
  const x = Buffer.from(publicKey, "base64").toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return verify(null, Buffer.from(message), key, Buffer.from(signature, "base64"));
}

test("a record of a mailbox is signed over its canonical text, unless that is what is wrong with it", async () => {
  const all = [...(await vectors("records.json")), ...(await vectors("relay-records.json"))];
  const cases = all.filter(({ canonical }) => canonical !== undefined);
  assert.ok(cases.length > 100);
  for (const { name, expect, canonical, json } of cases) {
    if (name.endsWith("by_the_key_of_small_order")) continue;
    const { publicKey, signature } = JSON.parse(json);
    assert.equal(fits(canonical, publicKey, signature), expect !== "SIGNATURE_INVALID", name);
  }
});

test("a prekey is signed over its own text", async () => {
  for (const { name, message, publicKey, signature } of await vectors("prekeys.json"))
    assert.ok(fits(message, publicKey, signature), name);
});
