// A mailbox's owner, its reader and its senders (section 17 of the specification): what they sign, and what they ask.

import assert from "node:assert/strict";
import { base64, canonical, newKey, sha256, signText } from "./signing.mjs";
import { Skip } from "./trial.mjs";

const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** The lengths that sealed bytes have. */
export const SIZES = [2_048, 8_192, 32_768, 131_072];

/** A signed record; a field of the payload that is `undefined` is left out. */
export function signRecord(purpose, signer, fields, envelope = {}) {
  const payload = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const signature = signText(`rendezvous-mailbox-v1:${purpose}\n${canonical(payload)}`, signer);
  return { version: 1, algorithm: "ed25519", publicKey: signer.publicKey, signature, payload, ...envelope };
}

export const addressOf = ({ publicKey }) => sha256("rendezvous-mailbox-v1\0", Buffer.from(publicKey, "base64")).toString("hex");
export const contentIdOf = (sealed) => sha256(sealed).toString("base64");
export const dayOf = (time) => Math.floor(time / DAY_MS);

/** The least number that is a proof of work. */
export function solve({ mailbox, subject, difficulty, day }) {
  for (let solution = 0; ; solution += 1) {
    const hash = sha256(["rendezvous-pow-v1", mailbox, subject, day, solution].join("\0")).readBigUInt64BE();
    if (hash >> BigInt(64 - difficulty) === 0n) return { day, solution };
  }
}

export class Mailbox {
  owner = newKey();
  reader = newKey();
  curve25519 = base64(32);
  revision = 0;
  /** The deposits that were signed, by slot key and sequence. */
  #deposits = new Map();

  /** @param {import("./trial.mjs").Trial} trial */
  constructor(trial) {
    this.trial = trial;
    this.address = addressOf(this.owner);
    this.audience = trial.beacon.audience;
  }

  /**
   * Opens a mailbox, with a contact for each limit.
   *
   * @param {import("./trial.mjs").Trial} trial
   * @param {number[]} [limits]
   */
  static async open(trial, limits = [32], records = {}) {
    const mailbox = new Mailbox(trial);
    const slots = limits.map((limit) => ({ ...newKey(), limit }));
    const reply = await mailbox.put(slots, records);
    if (reply.status === 429) throw new Skip("the beacon opens no more mailboxes for this network today: --address-header NAME");
    assert.equal(reply.status, 201, `not opened: ${reply.text}; --audience is ${mailbox.audience}`);
    trial.after(() => mailbox.close({ revision: 2 ** 40 }));
    return [mailbox, ...slots];
  }

  ask(rest, json, options = {}) {
    return this.trial.request(`/v1/mailboxes/${this.address}${rest}`, { json, isPatient: false, ...options });
  }

  #portable() {
    const issuedAt = this.trial.now();
    return { issuedAt, expiresAt: issuedAt + 30 * DAY_MS, mailbox: this.address };
  }

  #bound() {
    return { audience: this.audience, issuedAt: this.trial.now(), mailbox: this.address, nonce: base64(16) };
  }

  card({ by = this.owner, envelope, ...changes } = {}) {
    const fields = this.#portable();
    return signRecord(
      "card",
      by,
      {
        ...fields,
        readers: [this.reader.publicKey],
        relays: [this.audience],
        requests: { difficulty: 0, open: false },
        revision: this.revision,
        sealing: [{ expiresAt: fields.expiresAt, key: base64(32), suite: 0 }],
        ...changes,
      },
      envelope,
    );
  }

  policy(contacts = [], { by = this.owner, envelope, ...changes } = {}) {
    const listed = contacts.map(({ publicKey, limit = 32 }) => ({ key: publicKey, limit }));
    return signRecord("policy", by, { ...this.#portable(), contacts: listed, invites: [], revision: this.revision, ...changes }, envelope);
  }

  /** Opens the mailbox, or changes it, by records of the next revision. */
  put(contacts = [], { card = {}, policy = {} } = {}) {
    this.revision += 1;
    return this.putRecords(this.card(card), this.policy(contacts, policy));
  }

  putRecords(card, policy, options = {}) {
    return this.ask("", { card, policy }, { method: "PUT", ...options });
  }

  /** A deposit with its sealed bytes. */
  message(slot, sequence = 1, { size = SIZES[0], sealed = Buffer.from(base64(size), "base64"), envelope, by = slot, ...changes } = {}) {
    const issuedAt = this.trial.now();
    const fields = {
      issuedAt,
      expiresAt: issuedAt + DAY_MS,
      mailbox: this.address,
      sequence,
      contentId: contentIdOf(sealed),
      size: sealed.length,
    };
    const deposit = signRecord("deposit", by, { ...fields, ...changes }, envelope);
    this.#deposits.set(`${slot.publicKey} ${sequence}`, deposit);
    return { deposit, sealed: sealed.toString("base64") };
  }

  deposit(message, options) {
    return this.ask("/messages", message, options);
  }

  /** Leaves a message that is taken. */
  async leave(slot, ...sequences) {
    const messages = sequences.map((sequence) => this.message(slot, sequence));
    for (const message of messages) {
      const reply = await this.deposit(message);
      assert.equal(reply.status, 201, reply.text);
    }
    return messages;
  }

  proofOf({ deposit }, difficulty, { day = dayOf(this.trial.now()) } = {}) {
    return solve({ mailbox: this.address, subject: deposit.payload.contentId, difficulty, day });
  }

  /** An acknowledgement with the deposit that it reaches up to. */
  ack(slot, through, { missing = [], by = this.reader, of = this.#deposits.get(`${slot.publicKey} ${through}`), ...changes } = {}) {
    const at = Math.floor(this.trial.now() / MINUTE_MS) * MINUTE_MS;
    return { ack: signRecord("ack", by, { at, mailbox: this.address, missing, slot: slot.publicKey, through, ...changes }), of };
  }

  acknowledge(acks, options) {
    return this.ask("/acks", { acks }, options);
  }

  question({ by = this.reader, envelope, ...changes } = {}) {
    return signRecord("collect", by, { ...this.#bound(), collector: base64(16), limit: 100, maxBytes: 2 ** 21, ...changes }, envelope);
  }

  collect({ acks, ...changes } = {}) {
    return this.ask("/collect", { collect: this.question(changes), ...(acks && { acks }) });
  }

  /** How many messages wait. */
  async pending() {
    const { json, text } = await this.collect();
    assert.ok(json?.pending, text);
    return json.pending.messages;
  }

  slot(slot, changes = {}) {
    return this.ask("/slot", { slot: signRecord("slot", slot, { ...this.#bound(), ...changes }) });
  }

  prekeys(count, { by = this.owner, name = "key", ...changes } = {}) {
    const prekey = (kind, id) => {
      const [key, since] = [base64(32), this.trial.now()];
      const text = ["rendezvous-prekey-v1", this.address, this.curve25519, id, key, kind, since].join("\n");
      return { id, key, signature: signText(text, this.owner), since };
    };
    return signRecord("prekeys", by, {
      ...this.#portable(),
      curve25519: this.curve25519,
      fallback: prekey("fallback", `${name}-fallback`),
      oneTime: Array.from({ length: count }, (_, at) => prekey("one-time", `${name}-${at}`)),
      revision: this.revision,
      ...changes,
    });
  }

  putPrekeys(prekeys) {
    return this.ask("/prekeys", { prekeys }, { method: "PUT" });
  }

  claim(slot, { proof, ...changes } = {}) {
    return this.ask("/prekeys/claim", { claim: signRecord("claim", slot, { ...this.#bound(), ...changes }), ...(proof && { proof }) });
  }

  close({ by = this.owner, ...changes } = {}) {
    this.revision += 1;
    return this.ask("/close", { close: signRecord("close", by, { mailbox: this.address, revision: this.revision, ...changes }) });
  }

  greeting(signer, changes = {}) {
    return signRecord("live", signer, { ...this.#bound(), ...changes });
  }
}

/** The messages of an answer to a collect, each as its sequence. */
export const sequencesOf = ({ json }) => json.messages.map(({ deposit }) => deposit.payload.sequence);
