// Requests a second, and processor time a request, of everything that a client can ask for.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { drive, startNative } from "../load.mjs";
import { turn } from "../machine.mjs";
import { compare, inTurns } from "../measurement.mjs";
import { startBaseline, startFloor, startSubject } from "../workers.mjs";

/** Records of a full community. */
const CAPACITY = 200;
/** More than any Worker here answers in a second. Where each request has a body of its own, they have to be signed. */
const MOST_PER_SECOND = 40_000;
const MOST_SIGNED_PER_SECOND = 8_000;
/** Between the signing of tickets that are re-posted and the end of a turn, besides the turn itself. */
const REPOST_SPARE_SECONDS = 3;
const COMMUNITY = "?community=bench";

/**
 * @typedef {object} Case
 * @property {string} row
 * @property {import("../load.mjs").Kind} kind
 * @property {string} path
 * @property {number} status What the beacon answers.
 * @property {number} [networks]
 * @property {string} expect In the beacon's answers.
 * @property {boolean} [throughObject] Whether the baseline is the object, or the Worker alone.
 * @property {number} atLeast
 * @property {{ verifies: boolean }} [floor] What no beacon could do without, where that is measured, too.
 * @property {(url: string, options: object) => Promise<unknown>} [prepare]
 */

/** @type {Case[]} */
const CASES = [
  {
    row: "POST /announce, new ticket, full community",
    kind: "announce",
    path: `/announce${COMMUNITY}`,
    status: 200,
    // Whoever comes to a full roster is listed in the place of somebody, or is not.
    expect: '"ok":true,"accepted":',
    throughObject: true,
    atLeast: 0.8,
  },
  {
    row: "POST /announce, ticket re-posted",
    kind: "repost",
    path: `/announce${COMMUNITY}`,
    status: 200,
    expect: '"accepted":false',
    throughObject: true,
    atLeast: 0.9,
  },
  {
    row: "GET /peers, 50 tickets",
    kind: "get",
    path: `/peers${COMMUNITY}`,
    status: 200,
    expect: '"total":200',
    atLeast: 0.9,
  },
  {
    row: "POST /announce, invalid signature",
    kind: "forged",
    path: `/announce${COMMUNITY}`,
    // These tickets sign no community, as those of the clients that are answered so.
    status: 200,
    expect: '"SIGNATURE_INVALID"',
    atLeast: 0.6,
    floor: { verifies: true },
  },
  {
    row: "POST /announce, malformed body",
    kind: "malformed",
    path: `/announce${COMMUNITY}`,
    status: 400,
    expect: '"MALFORMED"',
    atLeast: 0.8,
    floor: { verifies: false },
  },
  {
    row: "POST /announce, flood from one network",
    kind: "announce",
    path: `/announce${COMMUNITY}`,
    status: 429,
    networks: 1,
    expect: '"THROTTLED"',
    atLeast: 0.8,
    // The list that is at hand goes into every refusal: without one the refusals would be cheaper than they can be.
    prepare: async (url, { quick }) => {
      await drive({ quick, url: `${url}/peers${COMMUNITY}`, kind: "get", requests: 1, connections: 1 });
      await drive({ quick, url: `${url}/announce${COMMUNITY}`, kind: "repost", requests: 700, networks: 1 });
    },
  },
];

/** The largest part of a turn in which the generator did not wait. */
let busiest = 0;

export const load = {
  name: "load",
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    const rows = [];
    for (const one of CASES) rows.push(...(await measure(one, context)));
    rows.push(await ceiling(context));
    rows.push({ row: "  … the busiest that it was in any row above", unit: "% of its core", subject: busiest * 100 });
    return rows;
  },
};

/**
 * @param {Case} one
 * @param {import("../bench.mjs").Context} context
 */
async function measure({ row, kind, path, status, networks, expect, throughObject, atLeast, floor, prepare }, context) {
  const { quick, rounds, seconds } = context;
  context.say(row);
  const subject = await startSubject();
  let baseline;
  let least;
  try {
    if (kind !== "repost") await fill(`${subject.url}/announce${COMMUNITY}`, context);
    await prepare?.(subject.url, context);
    const most = kind === "announce" ? MOST_SIGNED_PER_SECOND : MOST_PER_SECOND;
    const requests = quick ? 40 : Math.round(most * seconds);
    // A full roster would not list them. Those of one turn have ended when the next ones come.
    const lifetimeMs = kind === "repost" ? (seconds + REPOST_SPARE_SECONDS) * 1_000 : undefined;
    const options = { quick, kind, networks, expect, requests, seconds, lifetimeMs };
    const warmUp = await drive({ ...options, url: subject.url + path, withAnswer: true });
    let endsAt = Date.now() + (lifetimeMs ?? 0);
    baseline = await startBaseline({ answer: warmUp.lastAnswer, throughObject });
    await drive({ ...options, url: baseline.url + path });
    if (floor) {
      least = await startFloor({ answer: warmUp.lastAnswer, ...floor });
      await drive({ ...options, url: least.url + path });
    }

    const once = async (server, wanted) => {
      const { result, ran } = await turn(server.pid, () => drive({ ...options, url: server.url + path }));
      wanted(result);
      busiest = Math.max(busiest, result.busy);
      return { perSecond: result.perSecond, micros: ran / result.requests };
    };
    const served = ({ statuses, requests }) => assert.equal(statuses[200], requests, row);
    const [ours, theirs, leasts = []] = await inTurns(rounds, [
      async () => {
        // In the quick form there is one turn, and room for all.
        if (!quick) await delay(Math.max(0, endsAt - Date.now()));
        const measured = await once(subject, ({ statuses, matching, requests }) => {
          // A token bucket refills while it is being emptied: a few requests of a flood are served.
          const enough = networks === 1 ? 0.9 * requests : requests;
          assert.ok((statuses[status] ?? 0) >= enough, `${row}: ${JSON.stringify(statuses)}`);
          assert.ok(matching >= enough, `${row}: ${matching} of ${requests} answers have ${expect}`);
        });
        endsAt = Date.now() + (lifetimeMs ?? 0);
        return measured;
      },
      () => once(baseline, served),
      ...(least ? [() => once(least, served)] : []),
    ]);
    const per = (key, side = ours) => compare(side.map((one) => one[key]), theirs.map((one) => one[key]));
    const rows = [
      { row, unit: "requests/s", ...per("perSecond"), goal: { atLeast } },
      { row: "  … processor time", unit: "µs", ...per("micros"), goal: { atMost: 1 / atLeast } },
    ];
    if (floor) {
      rows.push({ row: "  … that no beacon could do without (floor.worker.mjs)", unit: "µs", ...per("micros", leasts) });
    }
    return rows;
  } finally {
    await subject.stop();
    await baseline?.stop();
    await least?.stop();
  }
}

/**
 * @param {string} url
 * @param {import("../bench.mjs").Context} context
 */
export async function fill(url, { quick }) {
  const { statuses } = await drive({ quick, url, kind: "announce", requests: CAPACITY });
  assert.deepEqual(statuses, { 200: CAPACITY });
}

/**
 * What the generator reaches against a native server that does nothing: far more than any row, or rows mean nothing.
 *
 * @param {import("../bench.mjs").Context} context
 */
async function ceiling({ quick, rounds, seconds, say }) {
  say("the generator's own ceiling");
  const native = await startNative({ quick, role: "server", args: ["respond", "--bytes", "22000"] });
  try {
    const url = await native.nextLine();
    const requests = quick ? 40 : Math.round(60_000 * Math.min(seconds, 2));
    const [results] = await inTurns(quick ? 1 : rounds, [
      () => drive({ quick, url, kind: "announce", requests, seconds: Math.min(seconds, 2) }),
    ]);
    const perSecond = results.map((result) => result.perSecond);
    return { row: "the generator's own ceiling", unit: "requests/s", subject: compare(perSecond, perSecond).subject };
  } finally {
    await native.stop();
  }
}
