// A user of hivemind-rendezvous, by the specification alone, with node:crypto and nothing of the Rust code.

import { constants, generateKeyPairSync, sign } from "node:crypto";

/** Seconds, as nodes sign them. */
export const now = () => Math.floor(Date.now() / 1_000);

/** Somebody with a key, and an address to ask from. */
export class Node {
  constructor(address, bits = 2_048) {
    const encoding = { publicKeyEncoding: { type: "spki", format: "pem" }, privateKeyEncoding: { type: "pkcs8", format: "pem" } };
    Object.assign(this, generateKeyPairSync("rsa", { modulusLength: bits, ...encoding }));
    this.address = address;
  }

  /** A proof for a relay. */
  prove(relay, { timestamp = now(), pubkey = this.publicKey } = {}) {
    const message = ["hivemind-rendezvous-v1", pubkey, relay, String(timestamp)].join("\0");
    const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    return { pubkey, timestamp, signature: sign("sha256", Buffer.from(message), { key: this.privateKey, ...padding }).toString("base64") };
  }

  /** The same as it comes with a deposit. */
  proveDeposit(relay) {
    const { pubkey, timestamp, signature } = this.prove(relay);
    return { depositor_pubkey: pubkey, depositor_timestamp: timestamp, depositor_signature: signature };
  }
}

/** A message, as the original asks for it. */
export const payloadOf = (text) => JSON.stringify({ msg_type: "intercom", payload: { ciphertext: text }, metadata: {}, target_site_id: null });
