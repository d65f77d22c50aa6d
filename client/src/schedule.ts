// When each source is asked, and when this peer announces to it again; what it is asked is elsewhere. No I/O, no clock and
// no chance: moments of the monotonic clock, in milliseconds, and random numbers come in, deadlines go out.
//
// Each source backs off on its own, and none is ever given up.

/** The longest time without a look at the clocks. */
const TICK_MS = 10_000;
/** How long beacons wait for the lock before they are asked for lists only. */
const LOCK_PATIENCE_MS = 100;
/** While the browser says that it is offline, which is not always right. */
const OFFLINE_PAUSE_MS = 60_000;
/** Between two looks at lists while there are too few peers: at first, and how often that is doubled. */
const BEACON_POLL_MS = 15_000;
const CAPSULE_POLL_MS = 60_000;
const MAX_POLL_DOUBLINGS = 3;
/** A capsule is read again within half its life, for what it revokes, but not more often than this. */
const MIN_CAPSULE_PAUSE_MS = 30_000;
/** How soon a source may be asked again for the same list, however much has happened. */
const ASKED_PAUSE_MS = 3_000;
/** How soon a source may be asked again, whatever it says. */
const MIN_PAUSE_MS = 2_000;
/** A beacon takes a new ticket this long after the one before. */
export const ANNOUNCE_INTERVAL_MS = 45_000;
/** What a beacon may ask for between two announces. */
const MIN_ANNOUNCE_MS = 10_000;
const USUAL_ANNOUNCE_MS = 60_000;
const STALE_PAUSE_MS = 5_000;
const UNSIGNED_PAUSE_MS = 30_000;
/** Doubled with each failure in a row, but for those in the life of a ticket, which is not to end for a few of them. */
const BACK_OFF_MS = 2_000;
const QUICK_DOUBLINGS = 3;
const QUICK_FAILURES = 8;
const MAX_BACK_OFF_MS = 300_000;

/** What a beacon has said to an announce, as far as it settles when the next one is due. */
export interface AnnounceReply {
  /** Of a refusal; undefined where the ticket was taken. */
  readonly code?: string | undefined;
  readonly announceAfterMs?: number;
  readonly retryAfterMs?: number;
}

/** When one source is asked. */
export class Schedule {
  /** When to ask again. */
  dueAt = 0;
  failuresInARow = 0;
  readonly #isCapsule: boolean;
  #askedAt = -Infinity;
  /** When to announce again. */
  #renewAt = 0;
  /** When the beacon takes another ticket, if it has one. */
  #takesAt = Infinity;
  /** Whether it was asked again soon after it had said that an announce came too soon. */
  #hasInsisted = false;
  /** Lists asked for in a row while there were too few peers. */
  #polls = 0;

  constructor(isCapsule: boolean) {
    this.#isCapsule = isCapsule;
  }

  /** The page is there, perhaps again. */
  begin(elapsed: number): void {
    this.renew();
    this.#hasInsisted = false;
    this.dueAt = elapsed + (this.#isCapsule ? 0 : LOCK_PATIENCE_MS);
  }

  /** Announces with the next request. */
  renew(): void {
    this.#renewAt = 0;
  }

  /** Asks at once, unless the source has just been asked. */
  hurry(elapsed: number): void {
    this.#polls = 0;
    this.dueAt = Math.min(this.dueAt, Math.max(elapsed, this.#askedAt + ASKED_PAUSE_MS));
  }

  /** The network is gone, as far as is known. */
  pause(elapsed: number): void {
    this.dueAt = elapsed + OFFLINE_PAUSE_MS;
  }

  /** @param elapsed `-Infinity`: the last answer counts for nothing, so that {@link hurry} need not wait. */
  asked(elapsed: number): void {
    this.#askedAt = elapsed;
  }

  /** Whether an announce is due. */
  announces(elapsed: number): boolean {
    return elapsed >= this.#renewAt;
  }

  /**
   * Settles when to announce again.
   *
   * @param leftMs Until the ticket has to be replaced.
   * @param wasListed Whether the beacon is known to list a ticket before this one.
   * @returns Whether the beacon has done what it is for.
   */
  announced(reply: AnnounceReply, leftMs: number, wasListed: boolean, elapsed: number, random: number): boolean {
    const { code = "ok", announceAfterMs = USUAL_ANNOUNCE_MS, retryAfterMs = 0 } = reply;
    const isTooSoon = code === "ANNOUNCE_TOO_SOON";
    let pause = code === "STALE_TICKET" ? STALE_PAUSE_MS : 0;
    if (code === "ok") pause = Math.max(announceAfterMs, MIN_ANNOUNCE_MS);
    if (isTooSoon) pause = Math.min(retryAfterMs, USUAL_ANNOUNCE_MS) + 1_000;
    // This page, before it was loaded anew, may have left with a goodbye that is still on its way.
    if (isTooSoon && !wasListed && !this.#hasInsisted) pause = MIN_PAUSE_MS;
    if (!pause) return false;
    this.#hasInsisted = isTooSoon;
    const after = Math.min(pause * (1 + random / 10), leftMs);
    this.#renewAt = elapsed + Math.max(after, Math.min(pause, STALE_PAUSE_MS));
    this.#takesAt = elapsed + Math.min(pause, ANNOUNCE_INTERVAL_MS);
    return true;
  }

  /** What tickets say has changed: announces as soon as the beacon takes another one. */
  changed(elapsed: number): void {
    const at = Math.max(elapsed, this.#takesAt);
    this.#renewAt = Math.min(this.#renewAt, at);
    // A beacon that fails is asked no sooner for that.
    if (!this.failuresInARow) this.dueAt = Math.min(this.dueAt, at);
  }

  /** There is no ticket to announce with. */
  unsigned(elapsed: number): void {
    this.#renewAt = this.#takesAt = elapsed + UNSIGNED_PAUSE_MS;
  }

  /**
   * Settles when to ask again after a good answer: a list while there are too few peers, ever more seldom, and an announce
   * or a capsule when it is time.
   *
   * @param capsuleLifeMs From its `issuedAt` to its `expiresAt`.
   */
  succeeded(isShort: boolean, isAnnounced: boolean, capsuleLifeMs: number, elapsed: number, random: number): void {
    this.failuresInARow = 0;
    const doublings = Math.min(this.#polls++, MAX_POLL_DOUBLINGS);
    const poll = elapsed + (this.#isCapsule ? CAPSULE_POLL_MS : BEACON_POLL_MS) * 2 ** doublings * (1 + random / 2);
    // With the jitter that keeps pages from asking in step.
    const reread = elapsed + Math.max((capsuleLifeMs / 2) * (0.8 + random / 5), MIN_CAPSULE_PAUSE_MS);
    const needed = this.#isCapsule ? reread : isAnnounced ? this.#renewAt : Infinity;
    this.dueAt = Math.max(elapsed + MIN_PAUSE_MS, Math.min(needed, isShort ? poll : Infinity));
  }

  /** @param retryAfterMs What the source asked for, if it answered; believed within bounds. */
  failed(retryAfterMs = 0, elapsed: number, random: number): void {
    const row = this.failuresInARow++;
    const doublings = Math.max(Math.min(row, QUICK_DOUBLINGS), row - QUICK_FAILURES);
    const backOff = Math.max(retryAfterMs, BACK_OFF_MS * 2 ** doublings);
    this.dueAt = elapsed + Math.min(backOff, MAX_BACK_OFF_MS) * (0.75 + random / 2);
  }
}

/**
 * How long until something is due, in milliseconds.
 *
 * @param dueAt When the first source is.
 */
export function untilNext(elapsed: number, dueAt: number, listChangesAfterMs: number): number {
  return Math.min(TICK_MS, listChangesAfterMs, dueAt - elapsed);
}
