// The keys of all vectors.

import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { rawPublicKey } from "../ticket.mjs";

/**
 * A test key, never for use: its seed is 32 times the same byte.
 *
 * @param {number} byte
 */
export function key(byte) {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, byte)]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const text = rawPublicKey(createPublicKey(privateKey));
  const signed = (message) => sign(null, Buffer.from(message), privateKey).toString("base64");
  return { privateKey, text, sign: signed, line: (message) => `${text} ${signed(message)}\n` };
}
