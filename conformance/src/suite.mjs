// Cases, and how they are run: each by itself, several at a time, and every one has an outcome.

import { ATTACKS } from "./attacks.mjs";
import { Beacon } from "./beacon.mjs";
import { Skip, Trial } from "./trial.mjs";
import { cases as capsules } from "./cases/capsules.mjs";
import { cases as directory } from "./cases/directory.mjs";
import { cases as hivemind } from "./cases/hivemind.mjs";
import { cases as http } from "./cases/http.mjs";
import { cases as live } from "./cases/live.mjs";
import { cases as mailboxes } from "./cases/mailboxes.mjs";
import { cases as registration } from "./cases/registration.mjs";
import { cases as roster } from "./cases/roster.mjs";
import { cases as signals } from "./cases/signals.mjs";
import { cases as tickets } from "./cases/tickets.mjs";

/** From the least that a beacon is to everything: each level has what those before it have. */
export const LEVELS = {
  basic: "tickets, roster and HTTP: what every beacon does",
  live: "and live presence and signals",
  full: "and mailboxes, the directory, registration, and hivemind-rendezvous' door",
  slow: "and what takes its time: time limits, and what changes with the minute",
};

/** How many cases run at the same time. */
const CONCURRENCY = 8;

/**
 * @typedef {object} Case
 * @property {string} id Stays the same from version to version.
 * @property {string} spec The section of the specification, or the README's chapter.
 * @property {string} title What is required.
 * @property {keyof typeof LEVELS} level
 * @property {keyof typeof ATTACKS} [attack]
 * @property {(trial: Trial) => Promise<unknown>} run Throws where the requirement is not met.
 *
 * @typedef {object} Result
 * @property {Case} case
 * @property {"pass" | "fail" | "skip"} outcome
 * @property {string} [reason]
 * @property {number} ms
 */

/** @type {Case[]} */
export const CASES = [...tickets, ...roster, ...http, ...live, ...signals, ...mailboxes, ...directory, ...registration, ...hivemind, ...capsules];

/** The section of a case: the first part of its identifier. */
export const sectionOf = ({ id }) => id.slice(0, id.indexOf("."));

/**
 * @param {{ only?: string[], level?: keyof typeof LEVELS, hasCapsule?: boolean }} [options] `only` are identifiers, or how they
 *   begin up to a point.
 */
export function select({ only = [], level = "full", hasCapsule = false } = {}) {
  const levels = Object.keys(LEVELS);
  const isAsked = ({ id }) => only.length === 0 || only.some((part) => id === part || id.startsWith(`${part}.`));
  const isInLevel = (each) => levels.indexOf(each.level) <= levels.indexOf(level);
  return CASES.filter((each) => isAsked(each) && isInLevel(each) && (hasCapsule || sectionOf(each) !== "capsules"));
}

/**
 * Runs cases against a beacon.
 *
 * @param {object} options
 * @param {string} options.url
 * @param {Case[]} [options.cases]
 * @param {string} [options.addressHeader]
 * @param {string[]} [options.communities]
 * @param {string} [options.audience]
 * @param {import("./signing.mjs").Key} [options.originKey] Of an origin of the hub.
 * @param {import("./signing.mjs").Key} [options.hubKey] Of a peer of the hub.
 * @param {{ place: string, publicKey: string, community?: string }} [options.capsule]
 * @param {boolean} [options.isStrict] Whether what the beacon does not offer is a failure.
 * @param {boolean} [options.stopsEarly] Whether to end at the first failure.
 * @param {(result: Result) => void} [options.onResult]
 * @returns {Promise<Result[]>} In the order of the cases.
 */
export async function run({ url, cases = select(), isStrict = false, stopsEarly = false, capsule, onResult = () => {}, ...options }) {
  const beacon = new Beacon(url, options);
  try {
    await beacon.meet();
    const offers = isStrict ? {} : await offered(beacon);
    const attempt = (one) =>
      offers[sectionOf(one)] === false
        ? { case: one, outcome: "skip", reason: "the beacon does not offer it", ms: 0 }
        : tryInCommunity(beacon, one, capsule);
    return await runAll(cases, attempt, { concurrency: CONCURRENCY, stopsEarly, onResult });
  } finally {
    beacon.close();
  }
}

/**
 * Runs cases that need no beacon.
 *
 * @param {{ cases: Case[], capsule?: object, concurrency?: number, onResult?: (result: Result) => void }} options
 * @returns {Promise<Result[]>}
 */
export function runAlone({ cases, capsule, concurrency = 1, onResult = () => {} }) {
  return runAll(cases, (one) => tryOne(one, { capsule }), { concurrency, stopsEarly: false, onResult });
}

async function runAll(cases, attempt, { concurrency, stopsEarly, onResult }) {
  const results = new Array(cases.length);
  let next = 0;
  let failed = false;
  const worker = async () => {
    for (let at = next++; at < cases.length && !(failed && stopsEarly); at = next++) {
      results[at] = await attempt(cases[at]);
      failed ||= results[at].outcome === "fail";
      onResult(results[at]);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return results.filter(Boolean);
}

/** The sections that a beacon need not have, each with a path that is not there then. */
const DOORS = {
  live: "/live?since=none",
  signals: "/live?since=none",
  mailboxes: "/v1/relay",
  directory: "/v1/communities",
  registration: "/register",
  hivemind: "/pubkey",
};

/** Which of them it has. */
async function offered(beacon) {
  const isThere = async ([section, path]) => [section, (await beacon.request(path, { address: beacon.newAddress() })).status !== 404];
  return Object.fromEntries(await Promise.all(Object.entries(DOORS).map(isThere)));
}

/** @returns {Promise<Result>} */
async function tryInCommunity(beacon, one, capsule) {
  const trial = new Trial(beacon, await beacon.takeCommunity());
  trial.capsule = capsule;
  try {
    return await tryOne(one, trial);
  } finally {
    await trial.end();
  }
}

/** @returns {Promise<Result>} */
async function tryOne(one, trial) {
  const started = performance.now();
  const outcome = await one.run(trial).then(
    () => ({ outcome: "pass" }),
    (error) => ({ outcome: error instanceof Skip ? "skip" : "fail", reason: String(error.message || error) }),
  );
  return { case: one, ...outcome, ms: Math.round(performance.now() - started) };
}

/**
 * What the results say of each attack that was played.
 *
 * @param {Result[]} results
 * @returns {{ attack: string, what: string, outcome: "withstood" | "not withstood" | "not tried", cases: number, failed: string[] }[]}
 */
export function attacksIn(results) {
  return Object.entries(ATTACKS).map(([attack, what]) => {
    const own = results.filter((result) => result.case.attack === attack && result.outcome !== "skip");
    const failed = own.filter(({ outcome }) => outcome === "fail").map((result) => result.case.id);
    const outcome = failed.length > 0 ? "not withstood" : own.length > 0 ? "withstood" : "not tried";
    return { attack, what, outcome, cases: own.length, failed };
  });
}
