// Presence tickets, made and checked with what browsers have: WebCrypto's Ed25519 (protocol/README.md, section 3).
//
// The page shows what it can prove, so it checks each ticket by itself. Applications use the client library, which does
// this and the rest of the protocol; a test holds both to the same vectors.

/** How far a time may lie in the verifier's future: honest clocks differ. */
const CLOCK_SKEW_MS = 15_000;

const utf8 = (text) => new TextEncoder().encode(text);
const toBase64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
const fromBase64 = (text) => Uint8Array.from(atob(text), (unit) => unit.charCodeAt(0));

/** The bytes that are signed: keys sorted, no white space, strings as `JSON.stringify` writes them. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join()}}`;
}

/** @returns {boolean} Whether signatures can be made and checked: browsers allow it on https and on the own machine only. */
export const canSign = () => globalThis.crypto?.subtle !== undefined;

/**
 * The prime of Edwards25519's field, and whether a point is one of the eight of small order: signatures of theirs fit any
 * message, and WebCrypto need not refuse them.
 */
const PRIME = 2n ** 255n - 19n;
function isOfSmallOrder(point) {
  const y = BigInt.asUintN(255, point.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n));
  const square = y * y;
  return (y * (square - 1n) * (121_665n * square * square - 243_332n * square + 121_666n)) % PRIME === 0n;
}

/**
 * Whether a ticket proves what it says: signed by its key, for this community, and not over.
 *
 * @param {any} ticket
 * @param {string} community
 * @param {number} now
 * @returns {Promise<boolean>}
 */
export async function verify(ticket, community, now) {
  try {
    const { version, algorithm, publicKey, signature, payload } = ticket;
    if (version !== 1 || algorithm !== "ed25519" || payload.leave !== undefined) return false;
    if ((payload.community ?? community) !== community || payload.expiresAt <= now) return false;
    if (payload.issuedAt > now + CLOCK_SKEW_MS) return false;
    const [key, bytes] = [fromBase64(publicKey), fromBase64(signature)];
    if (bytes.length !== 64 || [key, bytes.subarray(0, 32)].some(isOfSmallOrder)) return false;
    const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", imported, bytes, utf8(canonical(payload)));
  } catch {
    return false;
  }
}

/** A key that stays in this page. */
export async function newSigner() {
  const { privateKey, publicKey } = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  return { privateKey, publicKey: toBase64(await crypto.subtle.exportKey("raw", publicKey)) };
}

/**
 * @param {{ privateKey: CryptoKey, publicKey: string }} signer
 * @param {{ peerId: string, userId: string, community: string, issuedAt: number, expiresAt: number, leave?: true }} fields
 */
export async function sign({ privateKey, publicKey }, fields) {
  const payload = { ...fields, nonce: toBase64(crypto.getRandomValues(new Uint8Array(12))) };
  const signature = toBase64(await crypto.subtle.sign("Ed25519", privateKey, utf8(canonical(payload))));
  return { version: 1, algorithm: "ed25519", publicKey, signature, payload };
}
