// An origin, and a hub that asks another, by the rules of the specification alone: what they sign.
//
// Written with node:crypto and nothing of the Rust code. It signs whatever it is told to, also what no hub should take.

import { randomBytes, sign } from "node:crypto";
import { call } from "./http.mjs";
import { canonical, newPeer } from "./ticket.mjs";

const DAY_MS = 86_400_000;

/**
 * A signed envelope. A field of the payload that is `undefined` is left out; `envelope` replaces fields around the payload
 * after signing.
 *
 * @param {string} purpose
 * @param {{ publicKey: string, privateKey: import("node:crypto").KeyObject }} signer
 * @param {Record<string, unknown>} fields
 * @param {Record<string, unknown>} [envelope]
 */
export function seal(purpose, { publicKey, privateKey }, fields, envelope = {}) {
  const payload = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const message = `rendezvous-directory-v1:${purpose}\n${canonical(payload)}`;
  const signature = sign(null, Buffer.from(message), privateKey).toString("base64");
  return { version: 1, algorithm: "ed25519", publicKey, signature, payload, ...envelope };
}

/** The private key as the operator's variable has it: PKCS#8 in base64. */
export const pkcs8 = ({ privateKey }) => privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");

/** The base64 of so many random bytes. */
export const base64 = (length) => randomBytes(length).toString("base64");

/** One who lists communities. */
export class Origin {
  /** @type {ReturnType<typeof newPeer>} */
  key = newPeer();
  #last = 0;

  /** A time that is later than every one before. */
  #next() {
    this.#last = Math.max(this.#last + 1, Date.now());
    return this.#last;
  }

  /** A good entry, but for what is overridden. */
  entry(name, overrides = {}, envelope = {}) {
    const updated = overrides.updated ?? this.#next();
    const fields = {
      access: "open",
      beacons: [{ id: base64(16), url: "https://beacon.example" }],
      capsules: [],
      description: "",
      expiresAt: updated + 7 * DAY_MS,
      name,
      tags: [],
      updated,
      ...overrides,
    };
    return seal("entry", this.key, fields, envelope);
  }

  tombstone(name, overrides = {}) {
    return seal("tombstone", this.key, { name, updated: this.#next(), ...overrides });
  }
}

/**
 * @param {string} url
 * @param {{ payload: { name: string } }} record
 * @param {{ as?: "entry" | "tombstone", name?: string, address?: string }} [options]
 */
export function put(url, record, { as = "access" in record.payload ? "entry" : "tombstone", name = record.payload.name, address } = {}) {
  return call(url, `/v1/communities/${name}`, { method: "PUT", body: JSON.stringify({ [as]: record }), address });
}

/**
 * @param {string} url
 * @param {Record<string, string>} [query]
 * @param {string} [name]
 */
export function list(url, query = {}, name) {
  return call(url, `/v1/communities${name === undefined ? "" : `/${name}`}?${new URLSearchParams(query)}`);
}

/** The question of one hub to another. */
export function exchange(hub, audience, overrides = {}) {
  return seal("exchange", hub, { audience, issuedAt: Date.now(), nonce: base64(16), ...overrides });
}
