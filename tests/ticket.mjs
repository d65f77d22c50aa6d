// Presence tickets for tests: real Ed25519 keys, and the canonical JSON that is signed.
//
// Written from the wire format, with node:crypto and nothing of the Rust code, so that it is a second opinion on it.
// It signs whatever it is told to, also what no verifier should accept.

import { createPrivateKey, generateKeyPairSync, randomBytes, randomUUID, sign } from "node:crypto";

/** How long a ticket lives unless a test says otherwise: the longest life that a beacon allows by default. */
export const TICKET_LIFETIME_MS = 180_000;

/**
 * @typedef {object} Peer
 * @property {string} peerId
 * @property {string} userId
 * @property {string} publicKey Base64 of the 32 bytes.
 * @property {import("node:crypto").KeyObject} privateKey
 */

/**
 * @typedef {object} Ticket
 * @property {number} version
 * @property {string} algorithm
 * @property {string} publicKey
 * @property {string} signature
 * @property {{ peerId: string, userId: string, issuedAt: number, expiresAt: number, nonce: string }} payload
 */

/**
 * A peer with a fresh key.
 *
 * @param {{ peerId?: string, userId?: string }} [names]
 * @returns {Peer}
 */
export function newPeer({ peerId = `peer-${randomUUID()}`, userId = "user" } = {}) {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return { peerId, userId, publicKey: rawPublicKey(publicKey), privateKey };
}

/**
 * @param {import("node:crypto").KeyObject} publicKey
 * @returns {string} Base64 of the 32 bytes.
 */
export function rawPublicKey(publicKey) {
  // The JWK has the bytes in the other alphabet and without padding.
  return Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url").toString("base64");
}

/**
 * @param {string} base64 A private key as the base64 of its PKCS#8 DER.
 * @returns {import("node:crypto").KeyObject}
 */
export function readPrivateKey(base64) {
  return createPrivateKey({ key: Buffer.from(base64, "base64"), format: "der", type: "pkcs8" });
}

/**
 * A ticket that is good now, unless the overrides make it a bad one. Fields of the payload are signed as overridden,
 * `undefined` leaves one out; `envelope` replaces fields around the payload after signing.
 *
 * @param {Peer} peer
 * @param {Record<string, unknown> & { envelope?: Partial<Ticket> }} [overrides]
 * @returns {Ticket}
 */
export function signTicket(peer, { envelope = {}, ...overrides } = {}) {
  const issuedAt = overrides.issuedAt ?? Date.now();
  const payload = {
    peerId: peer.peerId,
    userId: peer.userId,
    issuedAt,
    expiresAt: issuedAt + TICKET_LIFETIME_MS,
    nonce: randomBytes(12).toString("base64"),
    ...overrides,
  };
  for (const [field, value] of Object.entries(payload)) if (value === undefined) delete payload[field];
  return {
    version: 1,
    algorithm: "ed25519",
    publicKey: peer.publicKey,
    signature: sign(null, Buffer.from(canonical(payload)), peer.privateKey).toString("base64"),
    payload,
    ...envelope,
  };
}

/**
 * The bytes that are signed: JSON with the keys of every object sorted by byte and no white space.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  // Not by UTF-16 unit, which is how strings compare here and which sorts some pairs the other way round.
  const keys = Object.keys(value).sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}
