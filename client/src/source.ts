// One beacon or capsule: what it has said, and what is to be said of it. No I/O.

import type { Announcement, CurrentTicket } from "./announcement.js";
import type { Trust } from "./capsule.js";
import type { Reason } from "./reason.js";
import type { Memory } from "./revocation.js";
import { Schedule } from "./schedule.js";
import { count } from "./ticket.js";

export interface SourceStatus {
  readonly url: string;
  readonly kind: "beacon" | "capsule";
  /**
   * `waiting`: not asked yet. `ok`: its last answer was good. `failing`: it had none, or an error. `lying`: there was
   * something in its last answer that only a broken or lying source can say; its good tickets count all the same.
   */
  readonly state: "waiting" | "ok" | "failing" | "lying";
  /** Code of what was last wrong; undefined if nothing was. `REVOKED_BEACON`: a capsule says not to ask it. */
  readonly reason: Reason | undefined;
  /** Milliseconds since the Unix epoch of the last good answer. */
  readonly lastSuccessAt: number | undefined;
  /** Milliseconds that the last good answer took. */
  readonly latencyMs: number | undefined;
  /** Good answers, and failures, since the beginning. */
  readonly successes: number;
  readonly failures: number;
  /** Failures since the last good answer. */
  readonly failuresInARow: number;
  /**
   * Tickets that were refused since the beginning, by code: `OWN_PEER_ID` where another key claims this peer's own
   * peerId, `REVOKED_PUBLIC_KEY` where a capsule has revoked the key.
   */
  readonly refusedTickets: Readonly<Partial<Record<Reason, number>>>;
  /** How far its clock is ahead of this machine's, in milliseconds; beacons only. */
  readonly clockOffsetMs: number | undefined;
  /** Whether this peer is listed there, as far as is known; beacons only. A full one may have no place for it. */
  readonly announced: boolean;
}

/** What no clock and no cache explains. */
const LIES = /^(MALFORMED|UNSUPPORTED_|COMMUNITY_MISMATCH|LIFETIME_TOO_LONG|SIGNATURE_INVALID|DUPLICATE|TOO_LARGE)/;

export class Source {
  declare readonly schedule: Schedule;
  // Declared, and not defined as undefined one by one: what is not known yet is not there.
  /** Ends the request that is under way. */
  declare visit: AbortController | undefined;
  /** The ticket that this beacon is known to list, and the last one that it was sent. */
  declare accepted: CurrentTicket | undefined;
  declare sent: CurrentTicket | undefined;
  /** Where this beacon's clock needs tickets of its own. */
  declare announcement: Announcement | undefined;
  /** Settles when it knows that this peer has left, or was told in vain. */
  declare goodbye: Promise<unknown> | undefined;
  /** How far its clock is ahead of this machine's, in milliseconds. */
  declare aheadMs: number | undefined;
  /** Whether it stands in for none that fails, of those that are used in their order (`rendezvous-beacon/directory`). */
  declare isSpare: boolean | undefined;
  /** What is remembered of capsules. */
  declare memory: Memory | undefined;

  readonly #status: { -readonly [Field in keyof SourceStatus]: SourceStatus[Field] };

  constructor(
    readonly url: string,
    /** Whom it has to be by, of a capsule. */
    readonly trust?: Trust,
  ) {
    this.schedule = new Schedule(!!trust);
    this.#status = {
      url,
      kind: trust ? "capsule" : "beacon",
      state: "waiting",
      successes: 0,
      failures: 0,
      refusedTickets: {},
      // What is not known yet is left out.
    } as SourceStatus;
  }

  /** @param code What it refused all the same, like `ANNOUNCE_TOO_SOON`. */
  succeeded(lastSuccessAt: number, latencyMs: number, code: Reason | undefined, refused: Record<string, number>): void {
    const status = this.#status;
    const refusedTickets = { ...status.refusedTickets } as Record<string, number>;
    for (const name in refused) count(refusedTickets, name, refused[name]);
    const lie = Object.keys(refused).find((name) => LIES.test(name)) as Reason | undefined;
    Object.assign(status, {
      state: lie ? "lying" : "ok",
      reason: lie ?? code,
      lastSuccessAt,
      latencyMs,
      refusedTickets,
    });
    status.successes++;
  }

  /** @param hasAnswered Whether it has said so itself. */
  failed(code: Reason, hasAnswered: boolean): void {
    const status = this.#status;
    status.state = !hasAnswered && LIES.test(code) ? "lying" : "failing";
    status.reason = code;
    status.failures++;
  }

  get reason(): Reason | undefined {
    return this.#status.reason;
  }

  status(now: number): SourceStatus {
    const { failuresInARow } = this.schedule;
    const announced = (this.accepted?.expiresAt as number) > now;
    return { ...this.#status, failuresInARow, clockOffsetMs: this.aheadMs, announced };
  }
}
