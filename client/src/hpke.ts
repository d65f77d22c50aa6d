// Hybrid public key encryption (RFC 9180), base mode, for one message: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// ChaCha20Poly1305. Whoever knows the public key can encrypt; nothing says who did.

import { type Bytes, concat, utf8 } from "./bytes.js";
import { decrypt, encrypt } from "./chacha20-poly1305.js";

/** Bytes of a public key, and of the encapsulated key. */
export const KEY_BYTES = 32;
/** `KEM` and the number of DHKEM(X25519, HKDF-SHA256). */
const KEM = concat(utf8("KEM"), [0, 0x20]);
/** `HPKE` and the numbers of that, of HKDF-SHA256 and of ChaCha20Poly1305. */
const SUITE = concat(utf8("HPKE"), [0, 0x20, 0, 1, 0, 3]);
const VERSION = utf8("HPKE-v1");
const NOTHING = new Uint8Array(0);

/** An X25519 key pair, and the 32 bytes of its public key. */
export interface KemKeyPair {
  readonly privateKey: CryptoKey;
  readonly publicKey: Bytes;
}

/** Makes a key pair whose private key cannot be taken out. */
export async function newKemKeyPair(): Promise<KemKeyPair> {
  const { subtle } = crypto;
  const { privateKey, publicKey } = (await subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
  return { privateKey, publicKey: new Uint8Array(await subtle.exportKey("raw", publicKey)) };
}

async function hmac(key: Bytes, message: Bytes): Promise<Bytes> {
  const { subtle } = crypto;
  // An empty key is one of zeros, and WebCrypto takes no empty one.
  const bytes = key.length ? key : new Uint8Array(32);
  const imported = await subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await subtle.sign("HMAC", imported, message));
}

const labeledExtract = (suite: Bytes, salt: Bytes, label: string, keyMaterial: Bytes): Promise<Bytes> =>
  hmac(salt, concat(VERSION, suite, utf8(label), keyMaterial));

/** @param length At most 32: one block of HKDF-Expand. */
async function labeledExpand(suite: Bytes, key: Bytes, label: string, info: Bytes, length: number): Promise<Bytes> {
  return (await hmac(key, concat([0, length], VERSION, suite, utf8(label), info, [1]))).slice(0, length);
}

/** What both sides make of the Diffie-Hellman result: the cipher's key and nonce. */
async function keySchedule(shared: Bytes, encapsulated: Bytes, publicKey: Bytes, info: Bytes): Promise<[Bytes, Bytes]> {
  const extracted = await labeledExtract(KEM, NOTHING, "eae_prk", shared);
  const kemSecret = await labeledExpand(KEM, extracted, "shared_secret", concat(encapsulated, publicKey), 32);
  const pskIdHash = await labeledExtract(SUITE, NOTHING, "psk_id_hash", NOTHING);
  const context = concat([0], pskIdHash, await labeledExtract(SUITE, NOTHING, "info_hash", info));
  const secret = await labeledExtract(SUITE, kemSecret, "secret", NOTHING);
  return [
    await labeledExpand(SUITE, secret, "key", context, 32),
    await labeledExpand(SUITE, secret, "base_nonce", context, 12),
  ];
}

/** Fails for a public key of small order: all would know the result. */
async function diffieHellman(privateKey: CryptoKey, publicKey: Bytes): Promise<Bytes> {
  const { subtle } = crypto;
  const other = await subtle.importKey("raw", publicKey, "X25519", false, []);
  return new Uint8Array(await subtle.deriveBits({ name: "X25519", public: other }, privateKey, 256));
}

/**
 * Encrypts to a public key.
 *
 * @param ephemeral For this message alone.
 * @returns The encapsulated key, and the ciphertext with its tag.
 * @throws DOMException for what is not a public key of X25519.
 */
export async function sealTo(
  publicKey: Bytes,
  info: Bytes,
  aad: Bytes,
  plaintext: Bytes,
  ephemeral: KemKeyPair,
): Promise<Bytes> {
  const shared = await diffieHellman(ephemeral.privateKey, publicKey);
  const [key, nonce] = await keySchedule(shared, ephemeral.publicKey, publicKey, info);
  return concat(ephemeral.publicKey, encrypt(key, nonce, aad, plaintext));
}

/** Decrypts. Gives undefined for what was not encrypted to this key, with this `info` and `aad`. */
export async function openWith(
  { privateKey, publicKey }: KemKeyPair,
  info: Bytes,
  aad: Bytes,
  sealed: Bytes,
): Promise<Bytes | undefined> {
  const encapsulated = sealed.slice(0, KEY_BYTES);
  const shared = await diffieHellman(privateKey, encapsulated).catch(() => undefined);
  if (!shared) return undefined;
  const [key, nonce] = await keySchedule(shared, encapsulated, publicKey, info);
  return decrypt(key, nonce, aad, sealed.subarray(KEY_BYTES));
}
