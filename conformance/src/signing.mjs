// Ed25519 and canonical JSON (sections 1 to 3 of the specification), also for what no verifier may take.

import { createHash, createPrivateKey, createPublicKey, randomBytes, sign, verify } from "node:crypto";

/** The order of the base point: `S` of a signature is below it (RFC 8032, section 5.1). */
const ORDER = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;

/** The points of small order (section 13), in the spelling of each that RFC 8032 has. */
export const SMALL_ORDER = [
  "0100000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000080",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
].map((hex) => Buffer.from(hex, "hex"));

/** Further spellings of such points, which lenient decoders know. */
export const SMALL_ORDER_RESPELLED = [
  `ed${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}ff`,
  `ee${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}ff`,
  `01${"00".repeat(30)}80`,
  `ec${"ff".repeat(31)}`,
].map((hex) => Buffer.from(hex, "hex"));

const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

/**
 * @typedef {object} Key
 * @property {string} publicKey Base64 of the 32 bytes.
 * @property {import("node:crypto").KeyObject} privateKey
 * @property {Buffer} seed
 */

/**
 * @param {Buffer} [seed]
 * @returns {Key}
 */
export function newKey(seed = randomBytes(32)) {
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" });
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  return { publicKey: Buffer.from(x, "base64url").toString("base64"), privateKey, seed };
}

/**
 * The key in a file that `openssl genpkey -algorithm ed25519` writes.
 *
 * @param {string} pem
 * @returns {Key}
 */
export function readKey(pem) {
  const { crv, d } = createPrivateKey(pem).export({ format: "jwk" });
  if (crv !== "Ed25519") throw new TypeError("not a key of Ed25519");
  return newKey(Buffer.from(d, "base64url"));
}

/**
 * @param {string} text
 * @param {Key} key
 * @returns {string}
 */
export function signText(text, { privateKey }) {
  return sign(null, Buffer.from(text), privateKey).toString("base64");
}

/**
 * Whether the signature is one over these bytes, by the one acceptance rule of section 3.
 *
 * @param {string | Buffer} message
 * @param {string} publicKey
 * @param {string} signature
 */
export function isSigned(message, publicKey, signature) {
  const [key, bytes] = [publicKey, signature].map((text) => Buffer.from(text, "base64"));
  if (key.length !== 32 || bytes.length !== 64) return false;
  const weak = [...SMALL_ORDER, ...SMALL_ORDER_RESPELLED];
  if ([key, bytes.subarray(0, 32)].some((point) => weak.some((other) => other.equals(point)))) return false;
  try {
    const jwk = { kty: "OKP", crv: "Ed25519", x: key.toString("base64url") };
    return verify(null, Buffer.from(message), createPublicKey({ key: jwk, format: "jwk" }), bytes);
  } catch {
    // The bytes are those of no point.
    return false;
  }
}

/** The bytes that are signed: keys sorted by byte, no white space. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

/** @param {number} length */
export const base64 = (length) => randomBytes(length).toString("base64");

export const sha256 = (...parts) =>
  createHash("sha256")
    .update(Buffer.concat(parts.map((part) => Buffer.from(part))))
    .digest();

// What follows makes signatures that lenient verifiers take and nobody may.

const littleEndian = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
const bytesOf = (number) => Buffer.from(number.toString(16).padStart(64, "0"), "hex").reverse();
const sha512 = (...parts) => createHash("sha512").update(Buffer.concat(parts)).digest();

/** The secret scalar of a key (RFC 8032, section 5.1.5). */
function scalarOf({ seed }) {
  const bytes = sha512(seed).subarray(0, 32);
  bytes[0] &= 248;
  bytes[31] = (bytes[31] & 127) | 64;
  return littleEndian(bytes);
}

/** The same signature with `S + L` in the place of `S`: both fit the equation, and one message would have two. */
export function malleate(signature) {
  const bytes = Buffer.from(signature, "base64");
  return Buffer.concat([bytes.subarray(0, 32), bytesOf(littleEndian(bytes.subarray(32)) + ORDER)]).toString("base64");
}

/**
 * A signature that a lenient verifier takes for one over any message by a key of small order, once in eight messages at
 * least. `R` is an ordinary point.
 */
export function signatureOfNobody() {
  const key = newKey();
  return Buffer.concat([Buffer.from(key.publicKey, "base64"), bytesOf(scalarOf(key) % ORDER)]).toString("base64");
}

/** Whether such a signature fits this message for a key of small order, by a lenient verifier: `k` is a multiple of eight. */
export function fitsNobody(message, publicKey, signature) {
  const hash = sha512(Buffer.from(signature, "base64").subarray(0, 32), Buffer.from(publicKey, "base64"), Buffer.from(message));
  return (littleEndian(hash) % ORDER) % 8n === 0n;
}

/** A signature by this key of which `R` is the identity, which is of small order: the equation holds. */
export function signWithIdentity(message, key) {
  const [identity] = SMALL_ORDER;
  const hash = sha512(identity, Buffer.from(key.publicKey, "base64"), Buffer.from(message));
  return Buffer.concat([identity, bytesOf(((littleEndian(hash) % ORDER) * scalarOf(key)) % ORDER)]).toString("base64");
}
