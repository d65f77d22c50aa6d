// HPKE in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20Poly1305, one message a context: suite 0 of
// mailboxes' seals. Written from RFC 9180 with node:crypto, for vectors: a second opinion on the implementations.

import { createCipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman } from "node:crypto";

const [KEM, KDF, AEAD] = [0x0020, 0x0001, 0x0003];
const number = (value, length) => {
  const bytes = Buffer.alloc(length);
  bytes.writeUIntBE(value, 0, length);
  return bytes;
};
const join = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));
const KEM_SUITE = join("KEM", number(KEM, 2));
const SUITE = join("HPKE", number(KEM, 2), number(KDF, 2), number(AEAD, 2));
const EMPTY = Buffer.alloc(0);

const hmac = (key, data) => createHmac("sha256", key).update(data).digest();
/** RFC 9180, section 4: the labels keep every use apart. */
const extract = (suite, salt, label, ikm) => hmac(salt, join("HPKE-v1", suite, label, ikm));
/** At most 32 bytes: one block of HKDF's expansion. */
const expand = (suite, prk, label, info, length) =>
  hmac(prk, join(number(length, 2), "HPKE-v1", suite, label, info, [1])).subarray(0, length);

const PKCS8 = Buffer.from("302e020100300506032b656e04220420", "hex");
const SPKI = Buffer.from("302a300506032b656e032100", "hex");
const privateKey = (bytes) => createPrivateKey({ key: join(PKCS8, bytes), format: "der", type: "pkcs8" });
const publicKey = (bytes) => createPublicKey({ key: join(SPKI, bytes), format: "der", type: "spki" });

/** The public key of a private one, 32 bytes each. */
export const publicOf = (bytes) => createPublicKey(privateKey(bytes)).export({ format: "der", type: "spki" }).subarray(SPKI.length);

/** Section 7.1.3. */
const deriveKey = (ikm) => expand(KEM_SUITE, extract(KEM_SUITE, EMPTY, "dkp_prk", ikm), "sk", EMPTY, 32);

/** The key and the nonce of a message to `recipient` that begins with the ephemeral key made of `ikm` (section 5.1). */
export function begin({ recipient, ikm, info }) {
  const ephemeral = deriveKey(ikm);
  const enc = publicOf(ephemeral);
  const shared = diffieHellman({ privateKey: privateKey(ephemeral), publicKey: publicKey(recipient) });
  const secret = expand(KEM_SUITE, extract(KEM_SUITE, EMPTY, "eae_prk", shared), "shared_secret", join(enc, recipient), 32);
  const context = join([0], extract(SUITE, EMPTY, "psk_id_hash", EMPTY), extract(SUITE, EMPTY, "info_hash", info));
  const prk = extract(SUITE, secret, "secret", EMPTY);
  return { enc, key: expand(SUITE, prk, "key", context, 32), nonce: expand(SUITE, prk, "base_nonce", context, 12) };
}

/** Encrypts one message: what the recipient needs to begin, and the ciphertext with its tag. */
export function encrypt({ recipient, ikm, info, aad, plaintext }) {
  const { enc, key, nonce } = begin({ recipient, ikm, info });
  const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
  cipher.setAAD(aad, { plaintextLength: plaintext.length });
  return join(enc, cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

// RFC 9180, appendix A.2.1: whoever changes this file must get the RFC's own numbers.
const check = begin({
  recipient: Buffer.from("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a", "hex"),
  ikm: Buffer.from("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b", "hex"),
  info: Buffer.from("4f6465206f6e2061204772656369616e2055726e", "hex"),
});
if (check.enc.toString("hex") !== "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
  throw new Error("the ephemeral key differs from that of RFC 9180, A.2.1");
if (check.nonce.toString("hex") !== "5c4d98150661b848853b547f") throw new Error("the nonce differs from that of RFC 9180, A.2.1");
