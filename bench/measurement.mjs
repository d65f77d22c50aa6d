// Measuring two things in turns.

/**
 * Runs A B A B …, so that whatever else the machine does falls on both.
 *
 * @template T
 * @param {number} rounds
 * @param {(() => Promise<T>)[]} sides
 * @returns {Promise<T[][]>} For each side its results, in order.
 */
export async function inTurns(rounds, sides) {
  const results = sides.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    for (const [side, measure] of sides.entries()) results[side].push(await measure());
  }
  return results;
}

/**
 * @param {number[]} values
 * @returns {number}
 */
export function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * A row's numbers: medians of both sides, their ratio, and between which two values the ratio of one round was.
 *
 * @param {number[]} subject
 * @param {number[]} baseline
 * @returns {{ subject: number, baseline: number, ratio: number, spread: [number, number] }}
 */
export function compare(subject, baseline) {
  const ratios = subject.map((value, round) => value / baseline[round]);
  return {
    subject: median(subject),
    baseline: median(baseline),
    ratio: median(subject) / median(baseline),
    spread: [Math.min(...ratios), Math.max(...ratios)],
  };
}
