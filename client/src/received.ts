// Which messages of a slot have come: all up to the highest, but those that are missing. That is what a recipient signs,
// and nothing that has come is shown twice.

import { DEPOSIT_MAX_LIFETIME_MS } from "./record.js";

/**
 * How long a number counts as missing: whatever was signed before the message that shows the gap has ended by then, an
 * hour for clocks that differ.
 */
const MISSING_MAX_MS = DEPOSIT_MAX_LIFETIME_MS + 3_600_000;

/** The numbers of one slot's messages that have come. */
export interface Received {
  /** The highest; 0 if none has come. */
  readonly through: number;
  /** Those below it that have not come, ascending, and since when that is known, in milliseconds since the Unix epoch. */
  readonly missing: readonly (readonly [sequence: number, since: number])[];
}

export const NOTHING_RECEIVED: Received = { through: 0, missing: [] };

export function hasReceived({ through, missing }: Received, sequence: number): boolean {
  return sequence <= through && !missing.some(([each]) => each === sequence);
}

/**
 * Adds a number.
 *
 * @param limit How many messages of the slot may wait, and so how many can be missing: of more the highest, as the others
 *   have ended.
 */
export function receive({ through, missing }: Received, sequence: number, limit: number, now: number): Received {
  const rest = missing.filter(([each, since]) => each !== sequence && now - since < MISSING_MAX_MS);
  // No more than `limit` of a gap, which may be as wide as whoever signs the numbers likes.
  for (let each = Math.max(through + 1, sequence - limit); each < sequence; each++) rest.push([each, now]);
  return { through: Math.max(through, sequence), missing: rest.slice(-limit) };
}
