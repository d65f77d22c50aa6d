// Who is present in a community, as this beacon says: asked again at the pace at which its answers change.
//
// Whoever watches is told of joins and leaves, not of answers, so that a source that pushes can take the place of this one.

import { verify } from "./ticket.js";

/**
 * @typedef {object} Person
 * @property {string} key One key's claim to a name.
 * @property {string} peerId
 * @property {string} userId
 * @property {string} publicKey
 * @property {number} since By this beacon's word, in milliseconds of its clock.
 * @property {number} expiresAt
 * @property {boolean | undefined} verified Undefined where the browser cannot tell.
 *
 * @typedef {object} Presence
 * @property {Person[]} people Those that have been seen and whose tickets are not over, the longest present first.
 * @property {number} total
 * @property {number} serverTime
 * @property {Person[]} joined
 * @property {Person[]} left
 */

const keyOf = ({ publicKey, payload }) => `${payload.peerId}:${publicKey}`;

/**
 * @param {object} options
 * @param {string} options.community
 * @param {number} options.paceMs
 * @param {boolean} options.canVerify
 * @param {(presence: Presence) => void} options.onChange
 * @param {(problem: string | undefined) => void} options.onProblem Undefined once it is over.
 * @returns {{ refresh: () => void, stop: () => void }}
 */
export function watch({ community, paceMs, canVerify, onChange, onProblem }) {
  /** @type {Map<string, Person>} */
  let known = new Map();
  let openedAt;
  let timer;
  let failures = 0;
  let isAsking = false;
  let isStopped = false;

  async function ask() {
    clearTimeout(timer);
    if (isAsking || isStopped) return;
    isAsking = true;
    let waitMs = paceMs;
    try {
      const response = await fetch(`/peers?community=${encodeURIComponent(community)}`, { signal: AbortSignal.timeout(15_000) });
      const answer = await response.json();
      if (!response.ok) throw Object.assign(new Error(answer.detail), { retryAfterMs: answer.retryAfterMs });
      failures = 0;
      await take(answer);
      if (!isStopped) onProblem(undefined);
    } catch (error) {
      failures += 1;
      waitMs = error.retryAfterMs ?? Math.min(paceMs * 2 ** failures, 60_000);
      if (!isStopped) onProblem(error.retryAfterMs === undefined ? "This beacon does not answer." : error.message);
    }
    isAsking = false;
    schedule(waitMs);
  }

  /** Nobody looks at a hidden page. */
  function schedule(waitMs) {
    if (!isStopped && !document.hidden) timer = setTimeout(ask, waitMs);
  }

  async function take({ peers, since, total, serverTime }) {
    openedAt ??= serverTime;
    const found = await Promise.all(peers.map((ticket, at) => personOf(ticket, since[at], serverTime)));
    const next = new Map(found.map((person) => [person.key, person]));
    // An answer that has not everybody is drawn: whoever is not in it may well be there.
    const isWhole = total <= peers.length;
    for (const [key, person] of known) {
      if (!isWhole && !next.has(key) && person.expiresAt > serverTime) next.set(key, person);
    }
    const joined = [...next.values()].filter(({ key, since }) => !known.has(key) && since > openedAt);
    const left = [...known.values()].filter(({ key }) => !next.has(key));
    known = next;
    if (isStopped) return;
    const people = [...known.values()].sort((one, other) => one.since - other.since);
    onChange({ people, total, serverTime, joined, left });
  }

  async function personOf(ticket, since, serverTime) {
    const { publicKey, signature, payload } = ticket;
    const key = keyOf(ticket);
    const before = known.get(key);
    const isSame = before?.signature === signature;
    const verified = !canVerify ? undefined : isSame ? before.verified : await verify(ticket, community, serverTime);
    const { peerId, userId, expiresAt } = payload;
    return { key, peerId, userId, publicKey, signature, since, expiresAt, verified };
  }

  const onVisible = () => (document.hidden ? clearTimeout(timer) : ask());
  document.addEventListener("visibilitychange", onVisible);
  ask();
  return {
    refresh: ask,
    stop() {
      isStopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    },
  };
}
