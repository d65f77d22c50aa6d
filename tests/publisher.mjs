// Capsules, roots and signatures files for tests: a second opinion, as ticket.mjs is on tickets.
//
// Written from the formats' specification, with node:crypto and nothing of the Rust code. It signs whatever it is told to.

import { generateKeyPairSync, sign } from "node:crypto";
import { canonical, rawPublicKey } from "./ticket.mjs";

/**
 * @typedef {object} Key
 * @property {string} text The public key: base64 of the 32 bytes.
 * @property {(message: string) => string} sign Base64 of the 64 bytes of a signature.
 */

/** @returns {Key} A fresh one. */
export function newKey() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    text: rawPublicKey(publicKey),
    sign: (message) => sign(null, Buffer.from(message), privateKey).toString("base64"),
  };
}

/**
 * A signatures file.
 *
 * @param {string} message What is signed.
 * @param {Key[]} keys
 */
export function signatures(message, keys) {
  return keys.map((key) => `${key.text} ${key.sign(message)}\n`).join("");
}

/**
 * The files of a capsule: good now, unless the fields say otherwise.
 *
 * @param {Key[]} publishers The first makes the signatures in the file and beside it; further ones sign `peers.json.sigs`.
 * @param {{ community: string, peers?: object[], issuedAt?: number, expiresAt?: number } & Record<string, unknown>} fields
 * @returns {Record<string, string>} By name.
 */
export function signCapsule([publisher, ...others], { community, peers = [], issuedAt = Date.now(), ...fields }) {
  const { expiresAt = issuedAt + 1_800_000, ...further } = fields;
  const signed = { community, expiresAt, issuedAt, peers, version: 1 };
  const file = JSON.stringify({ ...signed, signature: publisher.sign(canonical(signed)), algorithm: "ed25519", ...further });
  return {
    "peers.json": file,
    "peers.json.sig": `${publisher.sign(file)}\n`,
    ...(others.length > 0 && { "peers.json.sigs": signatures(file, others) }),
  };
}

/**
 * The files of a root: good for a day, unless the fields say otherwise.
 *
 * @param {Key[]} signers
 * @param {{ community: string, rootKeys: Key[], publisherKeys: Key[], rootVersion?: number, rootThreshold?: number, publisherThreshold?: number, expiresAt?: number }} fields
 * @returns {Record<string, string>} By name.
 */
export function signRoot(
  signers,
  { community, rootKeys, publisherKeys, rootVersion = 1, rootThreshold = 1, publisherThreshold = 1, expiresAt },
) {
  const role = (threshold, keys) => ({ threshold, keys: keys.map(({ text }) => text) });
  const file = JSON.stringify({
    type: "root",
    version: 1,
    community,
    rootVersion,
    expiresAt: expiresAt ?? Date.now() + 86_400_000,
    rootKeys: role(rootThreshold, rootKeys),
    publisherKeys: role(publisherThreshold, publisherKeys),
  });
  return {
    [`${rootVersion}.root.json`]: file,
    [`${rootVersion}.root.json.sigs`]: signatures(file, signers),
  };
}
