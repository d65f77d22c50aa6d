// How wrong this machine's clock is, by what beacons say of theirs.
//
// One beacon's word must not move the clock when others disagree: the median counts, and of two the one that moves it
// less. A clock that is nearly right is left alone, and none is moved by more than a day: that far off, TLS fails first.

/** Clocks this close are the same: a round trip may take as long. */
const TOLERANCE_MS = 5_000;
const MAX_CORRECTION_MS = 86_400_000;

export class Clock {
  /** Added to this machine's clock to have the community's. */
  offsetMs = 0;
  readonly #samples = new Map<string, number>();

  /** @returns Whether the clock was moved. */
  observe(source: string, offsetMs: number): boolean {
    this.#samples.set(source, offsetMs);
    const sorted = [...this.#samples.values()].sort((one, other) => one - other);
    const low = sorted[(sorted.length - 1) >> 1] as number;
    const high = sorted[sorted.length >> 1] as number;
    const median = Math.abs(low) < Math.abs(high) ? low : high;
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
}
