// What chance allows: exact distributions of what a roster and its answers draw, and the least that an honest draw gives.
//
// Seeds are secret and random in a real beacon, so a test can only assert what a draw falls below almost never. A
// distribution is an array: at n is the probability of n.

/** So seldom may a draw be below what a test asks for. There are some dozens of them in a run. */
const NEVER = 5e-9;

/**
 * @param {number[]} distribution
 * @returns {number} What a draw falls below with a probability of at most {@link NEVER}.
 */
export function least(distribution) {
  let below = 0;
  const found = distribution.findIndex((probability) => (below += probability) > NEVER);
  return Math.max(found, 0);
}

/**
 * How many of some bins are not empty after so many balls.
 *
 * @param {number} balls
 * @param {number} bins
 */
export function occupied(balls, bins) {
  let distribution = [1];
  for (let ball = 0; ball < balls; ball += 1) {
    const next = Array(Math.min(ball + 1, bins) + 1).fill(0);
    distribution.forEach((probability, full) => {
      next[full] += (probability * full) / bins;
      if (full < bins) next[full + 1] += probability * (1 - full / bins);
    });
    distribution = next;
  }
  return distribution;
}

/**
 * How many marked ones are among those drawn, none twice.
 *
 * @param {number} population
 * @param {number} marked
 * @param {number} drawn
 */
export function drawn(population, marked, drawn) {
  const ways = (n, k) => logFactorial(n) - logFactorial(k) - logFactorial(n - k);
  const least = Math.max(0, drawn + marked - population);
  return Array.from({ length: Math.min(marked, drawn) + 1 }, (_, count) =>
    count < least ? 0 : Math.exp(ways(marked, count) + ways(population - marked, drawn - count) - ways(population, drawn)),
  );
}

/**
 * The sum of independent draws.
 *
 * @param {number[][]} distributions
 */
export function sum(distributions) {
  return distributions.reduce((one, other) => mixture(one, (n) => [...Array(n).fill(0), ...other]), [1]);
}

/**
 * A draw from another distribution for each outcome of a first one.
 *
 * @param {number[]} distribution
 * @param {(outcome: number) => number[]} then
 */
export function mixture(distribution, then) {
  const mixed = [];
  distribution.forEach((probability, outcome) => {
    if (probability < 1e-15) return;
    then(outcome).forEach((part, n) => (mixed[n] = (mixed[n] ?? 0) + probability * part));
  });
  return Array.from(mixed, (probability) => probability ?? 0);
}

const logFactorials = [0];
function logFactorial(n) {
  for (let next = logFactorials.length; next <= n; next += 1) logFactorials.push(logFactorials[next - 1] + Math.log(next));
  return logFactorials[n];
}

/** A provider's sites are folded into as many shares as are a quarter of the places, which the longest present get too. */
const quarter = (places) => Math.floor(places / 4);

/**
 * The shares of some sites.
 *
 * @param {number[]} sites How many each provider has.
 * @param {number} places
 */
export function shares(sites, places) {
  return sum(sites.map((count) => occupied(count, quarter(places))));
}

/**
 * How many honest shares have a record in a full roster whose newcomers were the honest ones: the hostile shares that came
 * first are safe, as many as are a quarter of the places; all others compete by rank, with one record each.
 *
 * @param {number[]} honest How many sites each provider has.
 * @param {number[]} hostile The same; more shares than are safe.
 * @param {number} places
 */
export function placesAmongFirst(honest, hostile, places) {
  const left = places - quarter(places);
  return mixture(shares(hostile, places), (theirs) =>
    mixture(shares(honest, places), (ours) => {
      const competing = ours + theirs - quarter(places);
      return drawn(competing, ours, Math.min(left, competing));
    }),
  );
}

/**
 * How many honest records an answer has at least: those of its first turn, one a share.
 *
 * @param {object} roster What it holds, by how many sites each provider has.
 * @param {number[]} roster.honest
 * @param {number[]} roster.hostile
 * @param {boolean} roster.honestFirst Who is present longest.
 * @param {number} places Fewer than there are records.
 */
export function inAnswer({ honest, hostile, honestFirst }, places) {
  return mixture(shares(honest, places), (ours) =>
    mixture(shares(hostile, places), (theirs) => {
      const longest = honestFirst ? Math.min(quarter(places), ours) : Math.min(Math.max(quarter(places) - theirs, 0), ours);
      const left = places - Math.min(quarter(places), ours + theirs);
      const competing = ours + theirs - Math.min(quarter(places), ours + theirs);
      const others = ours - longest;
      return [...Array(longest).fill(0), ...drawn(competing, others, Math.min(left, competing))];
    }),
  );
}
