// Relays in memory, which keep mailboxes by the rules of their specification (protocol/README.md, section 17), as far as
// one owner and its senders can see them. Nothing of the Rust code, and nothing of the client's.

import { createHash, createPublicKey, verify } from "node:crypto";
import { canonical } from "../../tests/ticket.mjs";

const DAY = 86_400_000;
const MINUTE = 60_000;
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
export const addressOf = (key) => sha256("rendezvous-mailbox-v1\0", Buffer.from(key, "base64")).toString("hex");

class Problem extends Error {
  constructor(status, code, more = {}) {
    super(code);
    Object.assign(this, { status, code, more });
  }
}
const refuse = (status, code, more) => {
  throw new Problem(status, code, more);
};

/** Reads an envelope whose signature is good. */
function open(purpose, { algorithm, payload, publicKey, signature, version }) {
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: Buffer.from(publicKey, "base64").toString("base64url") }, format: "jwk" });
  const message = `rendezvous-mailbox-v1:${purpose}\n${canonical(payload)}`;
  const isGood = algorithm === "ed25519" && version === 1 && verify(null, Buffer.from(message), key, Buffer.from(signature, "base64"));
  if (!isGood) refuse(403, "SIGNATURE_INVALID");
  return { ...payload, publicKey };
}

export class MemoryRelay {
  /** Whether it answers. */
  isUp = true;
  /** How far its clock is ahead. */
  aheadMs = 0;
  /** Changes what it answers: `(answer, { method, path, body }) => answer`. */
  tamper = (answer) => answer;
  /** `METHOD path`, and the status, of each request that came. */
  log = [];
  /** By address. */
  mailboxes = new Map();

  constructor(world, origin) {
    Object.assign(this, { world, origin });
  }

  get now() {
    return this.world.now + this.aheadMs;
  }

  async fetch(url, init) {
    if (!this.isUp) throw new TypeError("fetch failed");
    const [, address, path] = new URL(url).pathname.match(/^\/v1\/mailboxes\/([\da-f]{64})(.*)$/);
    const asked = { method: init.method, path, body: init.body === undefined ? undefined : JSON.parse(init.body) };
    let [status, answer] = [200, undefined];
    try {
      const { created, ...said } = this.handle(asked, address);
      [status, answer] = [created ? 201 : 200, { ok: true, serverTime: this.now, ...said }];
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const { code, more } = error;
      [status, answer] = [error.status, { ok: false, code, serverTime: this.now, ...more }];
    }
    this.log.push(`${asked.method} ${path || "/"} ${status} ${answer.code ?? ""}`.trim());
    const tampered = await this.tamper({ status, answer }, asked);
    return new Response(typeof tampered.answer === "string" ? tampered.answer : JSON.stringify(tampered.answer), { status: tampered.status });
  }

  handle({ method, path, body }, address) {
    const mailbox = this.mailboxes.get(address);
    if (method === "PUT") return this.put(body, address, mailbox);
    if (!mailbox) refuse(404, "MAILBOX_UNKNOWN");
    if (method === "GET") return { card: mailbox.card };
    mailbox.messages = mailbox.messages.filter((message) => {
      const isLive = message.endsAt > this.now;
      if (!isLive) mailbox.slot(message.slot).ended.add(message.sequence);
      return isLive;
    });
    return this[path.slice(1)](body, mailbox, address);
  }

  put(body, address, before) {
    const [card, policy] = [open("card", body.card), open("policy", body.policy)];
    if (addressOf(card.publicKey) !== address || card.publicKey !== policy.publicKey) refuse(403, "NOT_THE_OWNER");
    if (card.issuedAt > this.now + 15_000) refuse(400, "NOT_YET_VALID");
    if (card.expiresAt - card.issuedAt > 90 * DAY || card.sealing.some((key) => key.expiresAt - card.issuedAt > 30 * DAY)) refuse(400, "LIFETIME_TOO_LONG");
    if (!card.relays.includes(this.origin)) refuse(421, "MISDIRECTED_REQUEST");
    const isSame = before && canonical(before.card) === canonical(body.card) && canonical(before.policy) === canonical(body.policy);
    if (before && !isSame && card.revision <= open("card", before.card).revision) refuse(409, "STALE_REVISION");
    const listed = new Map([...policy.contacts, ...policy.invites].map((slot) => [slot.key, slot]));
    if (listed.size < policy.contacts.length + policy.invites.length) refuse(400, "MALFORMED");
    const struckOff = before?.struckOff ?? new Set();
    if ([...listed.keys()].some((key) => struckOff.has(key))) refuse(409, "SLOT_STRUCK_OFF");
    for (const key of before?.listed.keys() ?? []) {
      if (listed.has(key)) continue;
      struckOff.add(key);
      before.slots.delete(key);
    }
    const slots = before?.slots ?? new Map();
    const slot = (key) => {
      if (!slots.has(key)) slots.set(key, { acks: [], ended: new Set() });
      return slots.get(key);
    };
    const { messages = [], leases = new Map() } = before ?? {};
    this.mailboxes.set(address, { card: body.card, policy: body.policy, owner: card.publicKey, revision: policy.revision, listed, struckOff, slots, slot, messages, leases });
    return { created: !before, revision: policy.revision };
  }

  limit(mailbox, key) {
    const slot = mailbox.listed.get(key);
    return slot && (slot.expiresAt ?? Infinity) > this.now ? slot.limit : refuse(403, "SLOT_UNKNOWN");
  }

  bound(purpose, envelope, address) {
    const record = open(purpose, envelope);
    if (record.audience !== this.origin) refuse(421, "MISDIRECTED_REQUEST");
    if (record.mailbox !== address) refuse(400, "MALFORMED");
    if (record.issuedAt > this.now + MINUTE) refuse(400, "NOT_YET_VALID");
    if (record.issuedAt < this.now - MINUTE) refuse(400, "EXPIRED");
    return record;
  }

  isAcknowledged({ acks }, sequence) {
    return acks.some(({ through, missing }) => sequence <= through && !missing.includes(sequence));
  }

  messages({ deposit, sealed }, mailbox, address) {
    const record = open("deposit", deposit);
    const { publicKey: key, contentId, sequence, size, expiresAt, issuedAt } = record;
    const bytes = Buffer.from(sealed, "base64");
    if (![2_048, 8_192, 32_768, 131_072].includes(size) || bytes.length !== size) refuse(400, "SIZE_NOT_A_BUCKET");
    if (sha256(bytes).toString("base64") !== contentId) refuse(400, "CONTENT_MISMATCH");
    if (record.mailbox !== address) refuse(400, "MALFORMED");
    if (expiresAt - issuedAt > 7 * DAY) refuse(400, "LIFETIME_TOO_LONG");
    if (issuedAt > this.now + 15_000) refuse(400, "NOT_YET_VALID");
    if (expiresAt <= this.now) refuse(400, "EXPIRED");
    const waiting = mailbox.messages.filter((message) => message.slot === key);
    if (waiting.some((message) => message.contentId === contentId)) return { accepted: false, duplicate: true, contentId };
    const slot = mailbox.slots.get(key);
    if (slot && this.isAcknowledged(slot, sequence)) return { accepted: false, acknowledged: true, ack: this.furthest(slot) };
    if (slot?.ended.has(sequence)) return { accepted: false, ended: true };
    const limit = this.limit(mailbox, key);
    const isGone = (each) => slot && (this.isAcknowledged(slot, each) || slot.ended.has(each));
    let open_ = 0;
    for (let each = 1; each < sequence; each++) open_ += !isGone(each);
    if (open_ >= limit || waiting.length >= limit) refuse(429, "UNACKNOWLEDGED_LIMIT", { limit });
    if (waiting.some((message) => message.sequence === sequence)) refuse(409, "SEQUENCE_TAKEN");
    mailbox.messages.push({ deposit, sealed, slot: key, contentId, sequence, endsAt: Math.min(expiresAt, this.now + 7 * DAY), receivedAt: this.now });
    return { created: true, accepted: true, contentId, unacknowledged: waiting.length + 1, limit };
  }

  furthest({ acks }) {
    const isFurther = (ack, best) => ack.through > best.through || (ack.through === best.through && ack.missing.length < best.missing.length);
    return acks.reduce((best, ack) => (!best || isFurther(ack, best) ? ack : best), undefined)?.envelope ?? null;
  }

  acks({ acks }, mailbox, address) {
    let released = 0;
    for (const { ack: envelope, of } of acks) {
      const [ack, deposit] = [open("ack", envelope), open("deposit", of)];
      if (ack.publicKey !== mailbox.owner) refuse(403, "NOT_A_READER");
      const isOf = deposit.publicKey === ack.slot && deposit.sequence === ack.through && deposit.mailbox === address && ack.mailbox === address;
      if (!isOf || ack.at % MINUTE || ack.missing.length > 32) refuse(400, "MALFORMED");
      const slot = mailbox.listed.get(ack.slot);
      if (slot && ack.missing.length > slot.limit) refuse(400, "MALFORMED");
      if (slot) mailbox.slot(ack.slot).acks.push({ ...ack, envelope });
      const isLeft = ({ slot, sequence }) => slot !== ack.slot || sequence > ack.through || ack.missing.includes(sequence);
      released += mailbox.messages.filter((message) => !isLeft(message)).length;
      mailbox.messages = mailbox.messages.filter(isLeft);
    }
    return { released };
  }

  collect({ collect }, mailbox, address) {
    const { publicKey, collector, limit, maxBytes } = this.bound("collect", collect, address);
    if (publicKey !== mailbox.owner) refuse(403, "NOT_A_READER");
    const isFree = ({ contentId }) => {
      const lease = mailbox.leases.get(contentId);
      return !lease || lease.until <= this.now || lease.collector === collector;
    };
    const free = mailbox.messages.filter(isFree);
    const messages = [];
    let bytes = 0;
    for (const message of free) {
      bytes += Buffer.from(message.sealed, "base64").length;
      if (messages.length >= limit || (bytes > maxBytes && messages.length)) break;
      messages.push(message);
      mailbox.leases.set(message.contentId, { collector, until: this.now + MINUTE });
    }
    return {
      messages: messages.map(({ deposit, sealed, receivedAt }) => ({ deposit, sealed, receivedAt: receivedAt - (receivedAt % MINUTE), leaseUntil: this.now + MINUTE, lane: "contact" })),
      more: messages.length < free.length,
      refused: [],
      pending: { messages: mailbox.messages.length },
      policyRevision: mailbox.revision,
    };
  }

  slot({ slot: envelope }, mailbox, address) {
    const { publicKey } = this.bound("slot", envelope, address);
    const limit = this.limit(mailbox, publicKey);
    const slot = mailbox.slots.get(publicKey);
    return { ack: slot ? this.furthest(slot) : null, limit };
  }
}

/** A clock, relays by their origins, and places to run mailboxes in. */
export class Relays {
  now = 1_700_000_000_000;
  byOrigin = new Map();
  /** Of places: what is called when time has passed. */
  timers = new Set();

  add(origin) {
    const relay = new MemoryRelay(this, origin);
    this.byOrigin.set(origin, relay);
    return relay;
  }

  host({ aheadMs = 0 } = {}) {
    return {
      now: () => this.now + aheadMs,
      random: () => 0.5,
      setTimer: (callback, ms) => {
        const timer = { at: this.now + ms, callback };
        this.timers.add(timer);
        return () => void this.timers.delete(timer);
      },
      fetch: (url, init) => {
        const aborted = new Promise((_, reject) => init.signal.addEventListener("abort", () => reject(init.signal.reason)));
        return Promise.race([this.byOrigin.get(new URL(url).origin).fetch(url, init), aborted]);
      },
    };
  }

  /** Lets time pass, and calls what waited for it. */
  pass(ms) {
    this.now += ms;
    for (const timer of [...this.timers]) {
      if (timer.at > this.now) continue;
      this.timers.delete(timer);
      timer.callback();
    }
  }
}
