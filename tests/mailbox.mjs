// A mailbox's owner, its reader and its senders, by the rules of the specification alone: what they sign, and what they ask.
//
// Written with node:crypto and nothing of the Rust code. It signs whatever it is told to, also what no relay should take.

import assert from "node:assert/strict";
import { createHash, randomBytes, sign } from "node:crypto";
import { once } from "node:events";
import { isDeepStrictEqual } from "node:util";
import { ADDRESS_HEADER, call } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { canonical, newPeer } from "./ticket.mjs";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** The lengths that sealed bytes have. */
export const BUCKETS = [2_048, 8_192, 32_768, 131_072];

/** The origin to which records are bound unless a test says otherwise: an operator's `EXTERNAL_URLS`. */
export const RELAY = "https://relay.example";

/** @param {(string | Buffer)[]} parts */
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();

/** @param {number} length */
const base64 = (length) => randomBytes(length).toString("base64");

/** The day of a time, in days since the epoch. */
export const dayOf = (time) => Math.floor(time / DAY_MS);

/** The address of the mailbox of an owner. */
export function addressOf({ publicKey }) {
  return sha256("rendezvous-mailbox-v1\0", Buffer.from(publicKey, "base64")).toString("hex");
}

/** The content id of sealed bytes. */
export const contentIdOf = (sealed) => sha256(sealed).toString("base64");

/** What is signed of one prekey. */
export function prekeyText({ mailbox, curve25519, kind, id, key, since }) {
  return ["rendezvous-prekey-v1", mailbox, curve25519, id, key, kind, since].join("\n");
}

/**
 * A signed envelope. A field of the payload that is `undefined` is left out; `envelope` replaces fields around the payload
 * after signing.
 *
 * @param {string} purpose
 * @param {{ publicKey: string, privateKey: import("node:crypto").KeyObject }} signer
 * @param {Record<string, unknown>} fields
 * @param {Record<string, unknown>} [envelope]
 */
export function signRecord(purpose, { publicKey, privateKey }, fields, envelope = {}) {
  const payload = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const signature = signText(`rendezvous-mailbox-v1:${purpose}\n${canonical(payload)}`, privateKey);
  return { version: 1, algorithm: "ed25519", publicKey, signature, payload, ...envelope };
}

const signText = (text, privateKey) => sign(null, Buffer.from(text), privateKey).toString("base64");

/**
 * The least number that is a proof of work.
 *
 * @param {{ mailbox: string, subject: string, difficulty: number, day?: number }} what
 */
export function solve({ mailbox, subject, difficulty, day = dayOf(Date.now()) }) {
  for (let solution = 0; ; solution += 1) {
    const hash = sha256(["rendezvous-pow-v1", mailbox, subject, day, solution].join("\0")).readBigUInt64BE();
    if (hash >> BigInt(64 - difficulty) === 0n) return { day, solution };
  }
}

/** One mailbox at one relay, from the outside. */
export class Mailbox {
  owner = newPeer();
  reader = newPeer();
  /** The identity key by which prekeys are signed. */
  curve25519 = base64(32);
  address = addressOf(this.owner);
  revision = 0;
  /** The deposits that were signed, by slot key and sequence: an acknowledgement travels with one. */
  #deposits = new Map();

  /**
   * @param {string} url Where the relay answers.
   * @param {{ from?: string, audience?: string }} [options] `from` is the address of whoever asks, unless a call says
   *   otherwise; `audience` the relay's origin.
   */
  constructor(url, { from = "127.0.0.1", audience = RELAY } = {}) {
    Object.assign(this, { url, from, audience });
  }

  /**
   * @param {string} rest Of the path.
   * @param {unknown} json Nothing for a GET.
   * @param {{ from?: string, method?: string, headers?: HeadersInit }} [options]
   */
  ask(rest, json, { from = this.from, ...request } = {}) {
    return call(this.url, `/v1/mailboxes/${this.address}${rest}`, { address: from, json, ...request });
  }

  /** The fields that records have which are good at every relay. */
  #portable() {
    const issuedAt = Date.now();
    return { issuedAt, expiresAt: issuedAt + 30 * DAY_MS, mailbox: this.address };
  }

  /** The fields of those that are good at one relay and for a moment. */
  #bound() {
    return { audience: this.audience, issuedAt: Date.now(), mailbox: this.address, nonce: base64(16) };
  }

  /** A card; its revision is the last one, unless it says otherwise. */
  card(overrides = {}) {
    const fields = this.#portable();
    return signRecord("card", this.owner, {
      ...fields,
      readers: [this.reader.publicKey],
      relays: [this.audience],
      requests: { difficulty: 0, open: false },
      revision: this.revision,
      sealing: [{ expiresAt: fields.expiresAt, key: base64(32), suite: 0 }],
      ...overrides,
    });
  }

  /** A policy of these contacts. */
  policy(contacts = [], overrides = {}) {
    return signRecord("policy", this.owner, {
      ...this.#portable(),
      contacts: contacts.map(({ publicKey, limit = 32 }) => ({ key: publicKey, limit })),
      invites: [],
      revision: this.revision,
      ...overrides,
    });
  }

  /** Opens the mailbox, or changes it, by new records of the next revision. */
  put(contacts = [], { card = {}, policy = {}, ...options } = {}) {
    this.revision += 1;
    return this.putRecords(this.card(card), this.policy(contacts, policy), options);
  }

  putRecords(card, policy, options = {}) {
    return this.ask("", { card, policy }, { method: "PUT", ...options });
  }

  /** A deposit with its sealed bytes: the body of a request. */
  message(slot, sequence, { size = BUCKETS[0], sealed = randomBytes(size), envelope, proof, ...overrides } = {}) {
    const issuedAt = Date.now();
    const fields = { issuedAt, expiresAt: issuedAt + DAY_MS, mailbox: this.address, sequence, contentId: contentIdOf(sealed), size };
    const deposit = signRecord("deposit", slot, { ...fields, ...overrides }, envelope);
    this.#deposits.set(`${slot.publicKey} ${sequence}`, deposit);
    return { deposit, sealed: sealed.toString("base64"), ...(proof && { proof }) };
  }

  /** Leaves a message. */
  deposit(message, options) {
    return this.ask("/messages", message, options);
  }

  /** A proof of work for a message of a stranger. */
  proofOf({ deposit }, difficulty) {
    return solve({ mailbox: this.address, subject: deposit.payload.contentId, difficulty });
  }

  /** An acknowledgement with the deposit that it reaches up to. */
  ack(slot, through, { missing = [], by = this.reader, of = this.#deposits.get(`${slot.publicKey} ${through}`), ...overrides } = {}) {
    const at = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
    return { ack: signRecord("ack", by, { at, mailbox: this.address, missing, slot: slot.publicKey, through, ...overrides }), of };
  }

  acknowledge(acks, options) {
    return this.ask("/acks", { acks }, options);
  }

  /** A question for what waits. */
  question({ by = this.reader, collector = base64(16), limit = 100, maxBytes = 2 ** 21, ...overrides } = {}) {
    return signRecord("collect", by, { ...this.#bound(), collector, limit, maxBytes, ...overrides });
  }

  collect({ acks, from, ...overrides } = {}) {
    return this.ask("/collect", { collect: this.question(overrides), ...(acks && { acks }) }, { from });
  }

  /** What became of a slot, asked by its sender. */
  slot(slot, overrides = {}, options) {
    return this.ask("/slot", { slot: signRecord("slot", slot, { ...this.#bound(), ...overrides }) }, options);
  }

  /** Prekeys with so many one-time keys, whose names begin with `name`. */
  prekeys(count, { name = "key", ...overrides } = {}) {
    const { curve25519 } = this;
    const prekey = (kind, id) => {
      const fields = { id, key: base64(32), since: Date.now() };
      const text = prekeyText({ mailbox: this.address, curve25519, kind, ...fields });
      return { ...fields, signature: signText(text, this.owner.privateKey) };
    };
    return signRecord("prekeys", this.owner, {
      ...this.#portable(),
      curve25519,
      fallback: prekey("fallback", `${name}-fallback`),
      oneTime: Array.from({ length: count }, (_, number) => prekey("one-time", `${name}-${number}`)),
      revision: this.revision,
      ...overrides,
    });
  }

  putPrekeys(prekeys, options) {
    return this.ask("/prekeys", { prekeys }, { method: "PUT", ...options });
  }

  /** Asks for a prekey. With a difficulty, by a proof of work. */
  claim(slot, { difficulty, from, ...overrides } = {}) {
    const claim = signRecord("claim", slot, { ...this.#bound(), ...overrides });
    const subject = claim.payload.nonce;
    const proof = difficulty === undefined ? {} : { proof: solve({ mailbox: this.address, subject, difficulty }) };
    return this.ask("/prekeys/claim", { claim, ...proof }, { from });
  }

  close(overrides = {}, options) {
    this.revision += 1;
    const fields = { mailbox: this.address, revision: this.revision, ...overrides };
    return this.ask("/close", { close: signRecord("close", this.owner, fields) }, options);
  }

  /** What says who listens. */
  greeting(signer, overrides = {}) {
    return signRecord("live", signer, { ...this.#bound(), ...overrides });
  }

  /** Opens a connection on which news is told, and sends the first message, if there is one. */
  async listen(first, { from = this.from } = {}) {
    const listener = new Listener(`${this.url.replace("http", "ws")}/v1/mailboxes/${this.address}/live`, from);
    await once(listener.socket, "open");
    if (first !== undefined) listener.socket.send(typeof first === "string" ? first : JSON.stringify(first));
    return listener;
  }
}

/** A client to whom news is told. */
class Listener {
  /** Every message, in order. */
  messages = [];

  constructor(url, from) {
    this.socket = new WebSocket(url, { headers: { [ADDRESS_HEADER]: from } });
    this.socket.addEventListener("message", ({ data }) => {
      this.messages.push(data === "pong" ? data : JSON.parse(data));
      this.wake?.();
    });
    /** @type {Promise<{ code: number, reason: string }>} */
    this.closed = once(this.socket, "close").then(([{ code, reason }]) => ({ code, reason }));
    this.closed.then(() => this.wake?.());
  }

  /** Waits until the last message is this one. */
  async until(expected) {
    const deadline = AbortSignal.timeout(PATIENCE_MS);
    while (!isDeepStrictEqual(this.messages.at(-1), expected)) {
      assert.ok(!deadline.aborted, `still ${JSON.stringify(this.messages)}, not ${JSON.stringify(expected)}`);
      await new Promise((resolve) => {
        this.wake = resolve;
        deadline.addEventListener("abort", resolve, { once: true });
      });
    }
  }

  async close() {
    this.socket.close();
    await this.closed;
  }
}

/** The messages of an answer to a collect, each as its slot key and its sequence. */
export function namesOf(reply) {
  return reply.json.messages.map(({ deposit }) => `${deposit.publicKey} ${deposit.payload.sequence}`);
}
