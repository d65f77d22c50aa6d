// The ticket that this peer is listed with: one for all beacons, replaced in time. No I/O but the signature.

import { ANNOUNCE_INTERVAL_MS } from "./schedule.js";
import { CLOCK_SKEW_MS, type Profile, type Signer, signTicket } from "./ticket.js";

/** A ticket, and the one that ends its presence, signed ahead: a page that goes has no time to sign. */
export interface CurrentTicket {
  readonly profile: Profile;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly json: string;
  readonly farewell: string;
}

export class Announcement {
  /** Undefined if there is none of any use. */
  declare current: CurrentTicket | undefined;
  readonly #lifetimeMs: number;
  #issuedLast = 0;
  #minting: Promise<CurrentTicket> | undefined;

  constructor(lifetimeMs: number) {
    this.#lifetimeMs = lifetimeMs;
  }

  /**
   * The ticket to announce with: the current one, unless it is old, or this beacon has it and would take a newer one.
   *
   * @param profile What it is to say. A ticket that was made for another object is of no use.
   * @param accepted What the beacon lists.
   */
  async ticketFor(
    profile: Profile,
    accepted: CurrentTicket | undefined,
    now: number,
    signer: Signer,
  ): Promise<CurrentTicket> {
    const { current } = this;
    if (current?.profile === profile) {
      const age = now - current.issuedAt;
      const limit = current === accepted ? ANNOUNCE_INTERVAL_MS : this.#lifetimeMs / 3;
      if (age >= -CLOCK_SKEW_MS / 2 && age < limit) return current;
    }
    // Several beacons may need it at once. A signer that has not come back in the life of a ticket will not.
    if (!this.#minting || now - this.#issuedLast > this.#lifetimeMs)
      this.#minting = this.#mint(profile, now, signer).finally(() => (this.#minting = undefined));
    return this.#minting;
  }

  async #mint(profile: Profile, now: number, signer: Signer): Promise<CurrentTicket> {
    // Only forward, and past the ticket to leave; unless the clock was wrong, and no beacon can have taken those.
    const issuedAt = this.#issuedLast > now + CLOCK_SKEW_MS ? now : Math.max(now, this.#issuedLast + 1);
    const expiresAt = issuedAt + this.#lifetimeMs;
    this.#issuedLast = issuedAt + 1;
    const sign = (start: number, leave: boolean) =>
      signTicket({ ...profile, issuedAt: start, expiresAt }, leave, signer);
    const [json, farewell] = await Promise.all([sign(issuedAt, false), sign(issuedAt + 1, true)]);
    return (this.current = { issuedAt, expiresAt, json, farewell, profile });
  }
}
