// The vectors in tests/vectors/mailbox/, which the Rust code is held to as well. Nothing of Node is used here, so that the
// same module runs in a browser: hand it the parsed files and the built internals.

/** Counted, so that a file that lost its cases cannot pass. Of bodies those alone that a client reads, not a relay. */
export const CASES = { records: 535, bodies: 24, sealed: 37, sizes: 18, invites: 37, rfc8439: 2, rfc9180: 1 };

const RELAY = "https://relay.example";
const fromBase64 = (text) => Uint8Array.from(atob(text), (unit) => unit.charCodeAt(0));
const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (byte) => parseInt(byte, 16));
const toHex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const concat = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
const text = (string) => new TextEncoder().encode(string);

/** An X25519 key pair of its 32 bytes. */
async function pairOf(secret, publicKey) {
  const pkcs8 = concat(fromHex("302e020100300506032b656e04220420"), secret);
  const make = (isExtractable) => crypto.subtle.importKey("pkcs8", pkcs8, "X25519", isExtractable, ["deriveBits"]);
  const { x } = await crypto.subtle.exportKey("jwk", await make(true));
  const own = fromBase64(x.replaceAll("-", "+").replaceAll("_", "/"));
  return { privateKey: await make(false), publicKey: publicKey ?? own };
}

/** The ephemeral key that HPKE makes of this randomness (RFC 9180, section 7.1.3). */
async function deriveKeyPair(ikm) {
  const hmac = async (key, ...parts) => {
    const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    return new Uint8Array(await crypto.subtle.sign("HMAC", imported, concat(...parts)));
  };
  const suite = concat(text("HPKE-v1"), text("KEM"), [0, 0x20]);
  const extracted = await hmac(new Uint8Array(32), suite, text("dkp_prk"), ikm);
  return pairOf(await hmac(extracted, [0, 32], suite, text("sk"), [1]));
}

/**
 * @param {Record<keyof typeof CASES, any[]>} files
 * @param {typeof import("../build/internals.js")} internals
 * @returns {Promise<string[]>} What is wrong, a line each.
 */
export async function checkMailboxVectors({ records, bodies, sealed, sizes, invites, rfc8439, rfc9180 }, internals) {
  const { readJson, readRecord, verifyRecord, verifySignature, strict, webCryptoVerify } = internals;
  const verify = strict(webCryptoVerify(crypto.subtle));
  const wrong = [];
  const kinds = [
    ...[internals.CARD, internals.POLICY, internals.DEPOSIT, internals.ACK, internals.PREKEYS],
    ...[internals.CLOSE, internals.COLLECT, internals.CLAIM, internals.SLOT, internals.LIVE],
  ];
  const kindOf = (purpose) => kinds.find((kind) => kind.purpose === purpose);
  const outcome = async (run) => {
    try {
      return await run();
    } catch (error) {
      return error instanceof internals.Refusal ? error.message : error instanceof SyntaxError ? "MALFORMED" : `threw ${error}`;
    }
  };
  const expectThat = (name, expect, found) => {
    if (expect !== found) wrong.push(`${name}: expected ${expect}, got ${found}`);
  };
  const read = (bodies) => bodies.filter(({ kind }) => kind === "deposit" || kind === "acks");
  for (const [name, cases] of Object.entries({ records, bodies: read(bodies), sealed, sizes, invites, rfc8439, rfc9180 }))
    if (cases.length !== CASES[name]) wrong.push(`${cases.length} cases of ${name}`);

  const judge = (kind, json, now, canonical) =>
    outcome(async () => {
      const record = readRecord(kind, readJson(json));
      if (canonical !== undefined && internals.readUtf8(record.signed) !== canonical) return "other bytes are signed";
      await verifyRecord(kind, record, { verify, now, audience: RELAY });
      const normal = internals.canonical(record.value);
      const again = readRecord(kind, readJson(normal));
      return internals.canonical(again.value) === normal ? "ok" : "changed in its normal form";
    });
  for (const { name, record, expect, now, canonical, json } of records) {
    expectThat(name, expect, await judge(kindOf(record), json, now, canonical));
    if (name !== `${record}_good`) continue;
    for (const kind of kinds) {
      const found = await judge(kind, json, now);
      if ((found === "ok") !== (kind.purpose === record)) wrong.push(`${name} as ${kind.purpose}: ${found}`);
    }
  }

  // As they come from relays: messages, and acknowledgements with what they are of.
  for (const { name, kind, expect, now, body } of read(bodies)) {
    const found = await outcome(async () => {
      const fields = internals.readObject(text(body));
      if (kind === "deposit") {
        const { deposit, sealed, proof, ...others } = fields;
        const message = await internals.readMessage(internals.jsonOf({ deposit, sealed }));
        if (Object.keys(others)[0] || (proof !== undefined && !(proof instanceof Map))) return "MALFORMED";
        await verifyRecord(internals.DEPOSIT, message.record, { verify, now });
        return "ok";
      }
      for (const each of fields.acks) {
        const { ack, of } = internals.fieldsOf(each);
        const [signed, deposit] = [readRecord(internals.ACK, ack), readRecord(internals.DEPOSIT, of)];
        const { mailbox, slot, through } = signed.payload;
        const isIt = deposit.payload.mailbox === mailbox && deposit.publicKey === slot && deposit.payload.sequence === through;
        internals.demand(isIt);
        await verifySignature(signed, verify);
        await verifySignature(deposit, verify);
      }
      return "ok";
    });
    // A proof is for a relay to read.
    if (!/proof_(as|with)/.test(name)) expectThat(name, expect, found);
  }

  for (const vector of sealed) {
    const { name, expect, sealingPrivateKey, sealingKey, mailbox, slot, sequence, expiresAt, from, introduces, content } = vector;
    const place = { address: mailbox, slot, sequence, expiresAt };
    const pair = await pairOf(fromBase64(sealingPrivateKey), fromBase64(sealingKey));
    const found = await outcome(async () => {
      const opened = await internals.unseal(fromBase64(vector.sealed), place, [pair], verify);
      const isIt = opened.from === from && opened.introduces === introduces && toBase64(opened.content) === content;
      if (!isIt) return "something else is inside";
      // What a sender with that key makes: the signature is the vector's own, as keys of senders are not in it.
      const body = fromBase64(vector.body);
      const signer = { publicKey: fromBase64(from), sign: () => body.slice(105, 169) };
      const ephemeral = await deriveKeyPair(fromBase64(vector.randomness));
      const again = await internals.seal(opened, place, signer, pair.publicKey, ephemeral);
      return toBase64(again) === vector.sealed ? "ok" : "sealed to other bytes";
    });
    expectThat(name, expect, found);
  }
  for (const { name, suite, content, size } of sizes) {
    if (suite !== 0) continue;
    const place = { address: "0".repeat(64), slot: toBase64(new Uint8Array(32)), sequence: 1, expiresAt: 1 };
    const signer = { publicKey: new Uint8Array(32), sign: () => new Uint8Array(64) };
    const { publicKey } = await internals.newKemKeyPair();
    const written = { introduces: undefined, content: new Uint8Array(content) };
    const found = await outcome(async () => (await internals.seal(written, place, signer, publicKey)).length);
    expectThat(name, size ?? "TOO_LARGE", found);
  }
  for (const { name, expect, text: invite, owner, mailbox, relays, slot, seed } of invites) {
    const found = await outcome(async () => {
      const read = await internals.readInvite(invite);
      const { publicKey, privateKey } = await internals.slotKeyOf(read.seed);
      const isIt = read.owner === owner && read.address === mailbox && publicKey === slot && toBase64(read.seed) === seed;
      if (!isIt || read.relays.join() !== relays.join() || privateKey.extractable) return "something else is inside";
      return internals.writeInvite(read) === invite.trim() ? "ok" : "written in another way";
    });
    expectThat(name, expect, found);
  }

  for (const { name, ...vector } of rfc8439) {
    const [key, nonce, aad, plaintext] = ["key", "nonce", "aad", "plaintext"].map((field) => fromHex(vector[field]));
    const sealed = internals.encrypt(key, nonce, aad, plaintext);
    expectThat(name, vector.ciphertext + vector.tag, toHex(sealed));
    expectThat(name, vector.plaintext, toHex(internals.decrypt(key, nonce, aad, sealed)));
    for (const at of [0, sealed.length - 17, sealed.length - 16, sealed.length - 1]) {
      const changed = sealed.slice();
      changed[at] ^= 128;
      expectThat(`${name}, octet ${at} changed`, undefined, internals.decrypt(key, nonce, aad, changed));
    }
    expectThat(`${name}, without its tag`, undefined, internals.decrypt(key, nonce, aad, sealed.slice(0, 15)));
    expectThat(`${name}, with other data`, undefined, internals.decrypt(key, nonce, aad.slice(1), sealed));
  }
  for (const { name, pkEm, pkRm, ct, pt, ...vector } of rfc9180) {
    const [skEm, skRm, info, aad] = ["skEm", "skRm", "info", "aad"].map((field) => fromHex(vector[field]));
    const [ephemeral, recipient] = [await pairOf(skEm), await pairOf(skRm)];
    expectThat(name, `${pkEm} ${pkRm}`, `${toHex(ephemeral.publicKey)} ${toHex(recipient.publicKey)}`);
    const sealed = await internals.sealTo(recipient.publicKey, info, aad, fromHex(pt), ephemeral);
    expectThat(name, pkEm + ct, toHex(sealed));
    expectThat(name, pt, toHex(await internals.openWith(recipient, info, aad, sealed)));
  }
  return wrong;
}
