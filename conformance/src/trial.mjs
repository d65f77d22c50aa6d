// What a case has at hand: a community, a network and peers of its own, requests, and what answers must be like.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { canonical } from "./signing.mjs";
import { envelopeOf, newPeer, payloadOf } from "./ticket.mjs";

/** The status that goes with each code (the README's table, and sections 17 and 20). */
const STATUSES = {
  400: [
    "MALFORMED UNSUPPORTED_VERSION UNSUPPORTED_ALGORITHM COMMUNITY_INVALID COMMUNITY_MISMATCH LIFETIME_TOO_LONG NOT_YET_VALID",
    "EXPIRED LIMIT_INVALID SINCE_INVALID SIZE_NOT_A_BUCKET CONTENT_MISMATCH LIFETIME_TOO_SHORT",
  ],
  403: ["SIGNATURE_INVALID UNTRUSTED_PUBLIC_KEY REVOKED_PUBLIC_KEY NOT_THE_OWNER ORIGIN_MISMATCH NOT_A_READER SLOT_UNKNOWN PROOF_REQUIRED"],
  404: ["NOT_FOUND COMMUNITY_UNKNOWN MAILBOX_UNKNOWN PREKEYS_UNKNOWN"],
  405: ["METHOD_NOT_ALLOWED"],
  408: ["BODY_TIMEOUT"],
  409: ["STALE_TICKET STALE_REVISION STALE_ENTRY SLOT_STRUCK_OFF SEQUENCE_TAKEN REPLAYED"],
  410: ["MAILBOX_CLOSED"],
  413: ["BODY_TOO_LARGE"],
  421: ["MISDIRECTED_REQUEST"],
  426: ["UPGRADE_REQUIRED"],
  429: ["ANNOUNCE_TOO_SOON THROTTLED UNACKNOWLEDGED_LIMIT MAILBOX_FULL"],
  503: ["LIVE_FULL UNAVAILABLE"],
};
export const STATUS_OF = Object.fromEntries(
  Object.entries(STATUSES).flatMap(([status, codes]) =>
    codes
      .join(" ")
      .split(" ")
      .map((code) => [code, Number(status)]),
  ),
);

/** The case cannot be tried at this beacon, or not from here. */
export class Skip extends Error {}

export class Trial {
  #announced = [];
  #signers = new WeakMap();
  #lastIssued = 0;
  #others = [];
  #cleanups = [];

  /**
   * @param {import("./beacon.mjs").Beacon} beacon
   * @param {string} community
   */
  constructor(beacon, community) {
    this.beacon = beacon;
    this.community = community;
    this.address = beacon.newAddress();
  }

  now() {
    return this.beacon.now();
  }

  newPeer(names) {
    return newPeer(names);
  }

  /** Another community, for what must not be carried there. */
  otherCommunity() {
    const community = this.beacon.takeAnother();
    if (community === undefined) throw new Skip("needs a second community that the beacon serves: --community one --community two");
    this.#others.push(community);
    return community;
  }

  /** An address in another provider's network. */
  newAddress() {
    const address = this.beacon.newAddress();
    if (address === undefined) throw new Skip("needs clients in several networks: --address-header NAME");
    return address;
  }

  /** A time for a ticket: later than that of every ticket before. */
  issueTime() {
    return (this.#lastIssued = Math.max(this.now(), this.#lastIssued + 1));
  }

  /** A ticket that is good now, but for these fields of the payload, and these around it. */
  ticket(peer = newPeer(), { envelope = {}, ...fields } = {}) {
    const payload = payloadOf(peer, { community: this.community, issuedAt: this.issueTime(), ...fields });
    const ticket = { ...envelopeOf(peer, payload), ...envelope };
    this.#signers.set(ticket, peer);
    return ticket;
  }

  goodbye(peer, fields = {}) {
    return this.ticket(peer, { leave: true, ...fields });
  }

  request(path, options = {}) {
    return this.beacon.request(path, { address: this.address, ...options });
  }

  /**
   * Announces a ticket, or the text of one.
   *
   * @param {unknown} ticket
   * @param {{ path?: string, community?: string, address?: string, headers?: Record<string, string>, isPatient?: boolean }} [options]
   */
  async announce(ticket, { path = "/announce", community = this.community, ...options } = {}) {
    const text = typeof ticket === "string" ? ticket : JSON.stringify(ticket);
    const reply = await this.request(path, { body: `{"ticket":${text},"community":${JSON.stringify(community)}}`, ...options });
    if (reply.json?.listed && typeof ticket === "object" && this.#signers.has(ticket))
      this.#announced.push({ ticket, community, address: options.address });
    return reply;
  }

  leave(ticket, options) {
    return this.announce(ticket, { path: "/leave", ...options });
  }

  /** Announces a peer that is listed afterwards. */
  async join(peer = newPeer(), { address, ...fields } = {}) {
    const ticket = this.ticket(peer, fields);
    const reply = await this.announce(ticket, { address: address ?? this.address });
    this.isAccepted(reply);
    return { peer, ticket, reply };
  }

  /** Announces a peer whose ticket soon ends: as soon as the beacon is quick enough to take it before. */
  async joinBriefly() {
    for (let lifetimeMs = 1_200; ; lifetimeMs *= 2) {
      const [peer, issuedAt] = [newPeer(), this.issueTime()];
      const ticket = this.ticket(peer, { issuedAt, expiresAt: issuedAt + lifetimeMs });
      const reply = await this.announce(ticket);
      if (reply.json?.code === "EXPIRED" && lifetimeMs < 40_000) continue;
      this.isAccepted(reply);
      return { peer, ticket, untilExpired: () => delay(Math.max(0, ticket.payload.expiresAt - this.now()) + 150) };
    }
  }

  /**
   * Who is present, as a newcomer is told, because lists for readers may come from caches.
   *
   * @returns {Promise<Reply>}
   */
  async look(options) {
    const reply = await this.announce(this.ticket(), options);
    this.isAccepted(reply);
    return reply;
  }

  /** Asserts that a claim is listed, or is not. */
  async isListed(ticket, expected = true) {
    const { json } = await this.look();
    const found = json.peers.some((other) => other.payload.peerId === ticket.payload.peerId && other.publicKey === ticket.publicKey);
    assert.equal(found, expected, expected ? "the peer is not listed" : "the peer is listed");
  }

  isAccepted(reply) {
    assert.deepEqual(
      { status: reply.status, code: reply.json?.code, accepted: reply.json?.accepted, listed: reply.json?.listed },
      { status: 200, code: undefined, accepted: true, listed: true },
      `not accepted: ${reply.status} ${reply.text.slice(0, 300)}`,
    );
  }

  /**
   * Asserts a refusal by name.
   *
   * @param {Reply} reply
   * @param {string} codes One, or several with `|` between them.
   * @param {{ isTicketless?: boolean }} [options] Whether a beacon may answer 200, as to clients that sign no community.
   */
  isRefused(reply, codes, { isTicketless = false } = {}) {
    const { status, json, text } = reply;
    const allowed = codes.split("|");
    assert.ok(
      allowed.includes(json?.code),
      `expected ${codes}, got ${status} ${json?.code ?? text.slice(0, 200)}${json?.detail ? ` (${json.detail})` : ""}`,
    );
    assert.equal(json.ok, false, "ok must be false");
    if (isTicketless && status === 200) return;
    assert.equal(status, STATUS_OF[json.code], `the status of ${json.code}`);
  }

  /** Asserts that an answer has this ticket in its normal form. */
  hasNormalForm(reply, ticket) {
    assert.ok(reply.text.includes(canonical(ticket)), "the list does not have the ticket in its normal form");
  }

  /** Does something when the case is over. */
  after(work) {
    this.#cleanups.push(work);
  }

  /** Leaves everything as it was, as far as the beacon lets it. */
  async end() {
    // What fails here is no requirement of the case, and keeps nothing else from being put back.
    const attempt = (work) => Promise.resolve().then(work).catch(() => {});
    for (const work of this.#cleanups.reverse()) await attempt(work);
    // Where communities are few, the next case finds this one as it was.
    if (this.beacon.communities.length > 0) {
      for (const { ticket, community, address } of this.#announced) {
        const { peerId, issuedAt } = ticket.payload;
        const fields = { community, peerId, issuedAt: Math.max(this.issueTime(), issuedAt + 1) };
        await attempt(() => this.leave(this.goodbye(this.#signers.get(ticket), fields), { community, address }));
      }
    }
    for (const community of [this.community, ...this.#others]) this.beacon.giveBack(community);
  }
}
