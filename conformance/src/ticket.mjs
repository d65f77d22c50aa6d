// Presence tickets (section 3 of the specification): good ones, and whatever else is asked for.

import { base64, canonical, newKey, signText } from "./signing.mjs";

export const LIFETIME_MS = 180_000;

let names = 0;
const run = Math.floor(Math.random() * 2 ** 40).toString(36);

/**
 * @typedef {import("./signing.mjs").Key & { peerId: string, userId: string }} Peer
 */

/**
 * A peer with a fresh key.
 *
 * @param {{ peerId?: string, userId?: string }} [names]
 * @returns {Peer}
 */
export function newPeer({ peerId = `conformance-${run}-${(names += 1)}-p`, userId = "conformance" } = {}) {
  return { ...newKey(), peerId, userId };
}

/**
 * @param {Peer} peer
 * @param {Record<string, unknown>} fields Of the payload, beside the peer's own; `undefined` leaves one out.
 */
export function payloadOf(peer, { issuedAt, ...fields }) {
  const payload = { peerId: peer.peerId, userId: peer.userId, issuedAt, expiresAt: issuedAt + LIFETIME_MS, nonce: base64(12), ...fields };
  return Object.fromEntries(Object.entries(payload).filter(([, value]) => value !== undefined));
}

/**
 * @param {Peer} peer
 * @param {Record<string, unknown>} payload
 */
export function envelopeOf(peer, payload) {
  const signature = signText(canonical(payload), peer);
  return { version: 1, algorithm: "ed25519", publicKey: peer.publicKey, signature, payload };
}
