// An origin, and a hub that asks another (section 20 of the specification): what they sign, and what they ask.

import assert from "node:assert/strict";
import { base64, canonical, newKey, signText } from "./signing.mjs";
import { Skip } from "./trial.mjs";

export const DAY_MS = 86_400_000;

/** A signed envelope; a field of the payload that is `undefined` is left out, `envelope` replaces what is around the payload. */
export function sealRecord(purpose, signer, fields, envelope = {}) {
  const payload = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const signature = signText(`rendezvous-directory-v1:${purpose}\n${canonical(payload)}`, signer);
  return { version: 1, algorithm: "ed25519", publicKey: signer.publicKey, signature, payload, ...envelope };
}

export class Origin {
  #last = 0;

  /**
   * @param {import("./trial.mjs").Trial} trial
   * @param {import("./signing.mjs").Key} [key]
   */
  constructor(trial, key = newKey()) {
    this.trial = trial;
    this.key = key;
  }

  /** One whose entries the hub takes, with a name that no other case uses: an origin has few, and they last. */
  static listed(trial, name) {
    const { originKey } = trial.beacon;
    if (originKey === undefined) throw new Skip("needs the key of an origin of the hub: --origin-key FILE");
    const origin = new Origin(trial, originKey);
    trial.after(() => origin.put(origin.tombstone(`conformance-${name}`)));
    return [origin, `conformance-${name}`];
  }

  /** A time that is later than every one before. */
  next() {
    return (this.#last = Math.max(this.#last + 1, this.trial.now()));
  }

  entryOf(name, overrides = {}) {
    const updated = overrides.updated ?? this.next();
    return {
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
  }

  /** A good entry, but for what is overridden. */
  entry(name, overrides = {}, { by = this.key, as = "entry", envelope } = {}) {
    return sealRecord(as, by, this.entryOf(name, overrides), envelope);
  }

  /** An entry with a root that `publisher` has endorsed for `of`. */
  rooted(name, { of = this.key, by = newKey(), named = by, root = {} } = {}) {
    const plain = { publicKey: named.publicKey, sha256: base64(32) };
    const payload = this.entryOf(name);
    const text = `rendezvous-directory-v1:endorsement\n${of.publicKey}\n${canonical({ ...payload, root: plain })}`;
    return sealRecord("entry", this.key, { ...payload, root: { ...plain, signature: signText(text, by), ...root } });
  }

  tombstone(name, overrides = {}, { by = this.key, envelope } = {}) {
    return sealRecord("tombstone", by, { name, updated: this.next(), ...overrides }, envelope);
  }

  /** Puts a record, or a text in the place of the body. */
  put(record, { as = record.payload?.access === undefined ? "tombstone" : "entry", name = record.payload.name, body } = {}) {
    return this.trial.request(`/v1/communities/${name}`, { method: "PUT", body: body ?? JSON.stringify({ [as]: record }) });
  }
}

/** @param {string | undefined} name */
export function list(trial, name, query = {}) {
  return trial.request(`/v1/communities${name === undefined ? "" : `/${name}`}?${new URLSearchParams(query)}`);
}

/** What a hub asks another: a good one, but for what is overridden. */
export function exchange(trial, by, overrides = {}, envelope = {}) {
  const { audience } = trial.beacon;
  return sealRecord("exchange", by, { audience, issuedAt: trial.now(), nonce: base64(16), ...overrides }, envelope);
}

export const ask = (trial, signed) => trial.request("/v1/hubs/exchange", { json: { exchange: signed } });

/** The key of a hub that the tested one answers. */
export function peerKey({ beacon: { hubKey } }) {
  if (hubKey === undefined) throw new Skip("needs the key of a peer of the hub: --hub-key FILE");
  return hubKey;
}

/** Asks until nothing more comes: every record, its way, and how far they go. */
export async function askForAll(trial, since) {
  const all = [];
  for (;;) {
    const { status, json, text } = await ask(trial, exchange(trial, peerKey(trial), { since }));
    assert.equal(status, 200, text.slice(0, 300));
    assert.equal(json.ways.length, json.records.length, "a way for each record");
    all.push(...json.records.map((record, at) => ({ record, way: json.ways[at] })));
    since = json.position;
    if (!json.more) return { all, position: since };
  }
}
