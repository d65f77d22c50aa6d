// One beacon or capsule: when it is to be asked again, and what is to be said of it. No I/O.
//
// Each backs off on its own, and none is ever given up.

import type { Announcement, CurrentTicket } from "./announcement.js";
import type { Trust } from "./capsule.js";
import type { Reason } from "./reason.js";
import type { Memory } from "./revocation.js";
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

/** Doubled with each failure in a row, but for those in the life of a ticket, which is not to end for a few of them. */
const BACK_OFF_MS = 2_000;
const QUICK_DOUBLINGS = 3;
const QUICK_FAILURES = 8;
const MAX_BACK_OFF_MS = 300_000;

/** What no clock and no cache explains. */
const LIES = /^(MALFORMED|UNSUPPORTED_|COMMUNITY_MISMATCH|LIFETIME_TOO_LONG|SIGNATURE_INVALID|DUPLICATE|TOO_LARGE)/;

export class Source {
  /** When it was asked last, when to ask again, and when to announce again, by the monotonic clock. */
  askedAt = -Infinity;
  dueAt = 0;
  renewAt = 0;
  /** Ends the request that is under way. */
  visit: AbortController | undefined;
  /** The ticket that this beacon is known to list, and the last one that it was sent. */
  accepted: CurrentTicket | undefined;
  sent: CurrentTicket | undefined;
  /** Where this beacon's clock needs tickets of its own. */
  announcement: Announcement | undefined;
  /** Whether it was asked again soon after it had said that an announce came too soon. */
  hasInsisted = false;
  /** Settles when it knows that this peer has left, or was told in vain. */
  goodbye: Promise<unknown> | undefined;
  /** Lists asked for in a row while there were too few peers. */
  polls = 0;
  /** How far its clock is ahead of this machine's, in milliseconds. */
  aheadMs: number | undefined;
  /** What is remembered of capsules. */
  memory: Memory | undefined;

  readonly #status: { -readonly [Field in keyof SourceStatus]: SourceStatus[Field] };

  constructor(
    readonly url: string,
    /** Whom it has to be by, of a capsule. */
    readonly trust?: Trust,
  ) {
    this.#status = {
      url,
      kind: trust ? "capsule" : "beacon",
      state: "waiting",
      successes: 0,
      failures: 0,
      failuresInARow: 0,
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
      failuresInARow: 0,
    });
    status.successes++;
  }

  /** @param retryAfterMs What it asked for, if it answered; believed within bounds. */
  failed(code: Reason, elapsed: number, random: number, retryAfterMs?: number): void {
    const status = this.#status;
    status.state = retryAfterMs === undefined && LIES.test(code) ? "lying" : "failing";
    status.reason = code;
    status.failures++;
    const row = status.failuresInARow++;
    const doublings = Math.max(Math.min(row, QUICK_DOUBLINGS), row - QUICK_FAILURES);
    const backOff = Math.max(retryAfterMs ?? 0, BACK_OFF_MS * 2 ** doublings);
    this.dueAt = elapsed + Math.min(backOff, MAX_BACK_OFF_MS) * (0.75 + random / 2);
  }

  get reason(): Reason | undefined {
    return this.#status.reason;
  }

  status(now: number): SourceStatus {
    return { ...this.#status, clockOffsetMs: this.aheadMs, announced: (this.accepted?.expiresAt ?? 0) > now };
  }
}
