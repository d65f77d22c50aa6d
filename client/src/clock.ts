// How wrong this machine's clock is, by what beacons say of theirs. There are two clocks here.
//
// A beacon's own dates the tickets for that beacon: it takes no others. All else goes by the community's, by which
// capsules, roots and the tickets of others are judged. That is this machine's, unless more than half of the beacons, and
// at least two, say the same of it: or a lone beacon that lies about the time could end every honest capsule and raise
// those that are long over, and collect tickets of years to come.
//
// A clock that is nearly right is left alone, and none is moved by more than a day: that far off, TLS fails first.

import { CLOCK_SKEW_MS } from "./ticket.js";

/**
 * Clocks this close are the same: a round trip may take as long. If the machine's own two part by more, it slept, or its
 * clock was set; what a late timer missed is due anyway.
 */
export const TOLERANCE_MS = 5_000;
/** Clocks this close can do with the same tickets, as beacons let clocks differ by a little more. */
const SHARED_MS = 12_000;
const MAX_CORRECTION_MS = 86_400_000;

/**
 * How far a clock is ahead of this machine's, in milliseconds: 0 where the way there and back explains the difference, as
 * on a page that was frozen while the answer lay there.
 */
export function aheadOf(theirs: number, sentAt: number, receivedAt: number): number {
  const aheadMs = Math.round(theirs - (sentAt + receivedAt) / 2);
  return Math.abs(aheadMs) > (receivedAt - sentAt) / 2 ? aheadMs : 0;
}

export class Clock {
  /** Added to this machine's clock to have the community's. */
  offsetMs = 0;
  readonly #samples = new Map<string, number>();
  /** How far this machine's wall clock was ahead of its steady one at the last look. */
  #wallAheadMs = NaN;

  /** Tells whether the two clocks of this machine have parted since the last look; not at the first. */
  look(now: number, elapsed: number): boolean {
    const movedMs = Math.abs(now - elapsed - this.#wallAheadMs);
    this.#wallAheadMs = now - elapsed;
    return movedMs > TOLERANCE_MS;
  }

  /** @returns Whether the community's clock was moved. */
  observe(source: string, offsetMs: number): boolean {
    this.#samples.set(source, offsetMs);
    const sorted = [...this.#samples.values()].sort((one, other) => one - other);
    const low = sorted[(sorted.length - 1) >> 1] as number;
    const high = sorted[sorted.length >> 1] as number;
    const median = Math.abs(low) < Math.abs(high) ? low : high;
    const agreeing = sorted.filter((sample) => Math.abs(sample - median) <= CLOCK_SKEW_MS).length;
    // What was agreed on before stays, when it is for want of voices that there is no agreement.
    if (agreeing < 2 || agreeing * 2 <= sorted.length) return false;
    const size = Math.abs(median);
    const next = size > TOLERANCE_MS && size <= MAX_CORRECTION_MS ? median : 0;
    if (Math.abs(next - this.offsetMs) <= TOLERANCE_MS) return false;
    this.offsetMs = next;
    return true;
  }

  /** A beacon that is down has no say any more. */
  drop(source: string): void {
    this.#samples.delete(source);
  }

  /** This machine's clock was set, perhaps: what was known of it is void. */
  reset(): void {
    this.#samples.clear();
    this.offsetMs = 0;
    this.#wallAheadMs = NaN;
  }

  /**
   * What is added to this machine's clock to date tickets for a beacon. A ticket of the future could be kept until then,
   * so one voice has none that is dated later than beacons would take now.
   *
   * @param aheadMs How far the beacon's clock is ahead of this machine's, if that is known.
   */
  offsetFor(aheadMs = this.offsetMs): number {
    const { offsetMs } = this;
    const isShared = Math.abs(aheadMs - offsetMs) <= SHARED_MS || Math.abs(aheadMs) > MAX_CORRECTION_MS;
    return isShared ? offsetMs : Math.min(aheadMs, offsetMs + CLOCK_SKEW_MS);
  }
}
