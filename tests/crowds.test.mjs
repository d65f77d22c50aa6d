// Crowds against one beacon: what whoever can mint keys, dates and networks takes from 50 honest peers, played against
// both hosts with real signatures. Each row of the table is an attack, with what is left of the 50 in the roster,
// in what newcomers are answered, and in a capsule that is published then.
//
// Draws are random in a real beacon. What is asserted is what the rules promise, as a bound that an honest draw falls
// below with a probability of less than 10⁻⁶ in a whole run (odds.mjs); what was measured is printed.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Scene, count, inTurns, networks, openCounted, openStage, sitesByProvider } from "./crowd.mjs";
import { HOSTS } from "./hosts.mjs";
import { call } from "./http.mjs";
import { inAnswer, least, placesAmongFirst, shares, sum } from "./odds.mjs";
import { SAFE_AFTER_MS } from "./patience.mjs";
import { requireCapsule } from "./program.mjs";
import { newPeer } from "./ticket.mjs";

const CAPACITY = 200;
const ANSWER = 50;
const NEWCOMERS = 20;
/** The life of tickets that are to end soon, once they have come. */
const BRIEF_MS = 10_000;
/** The pages of the community, and some other. */
const [PAGE, ELSEWHERE] = ["https://community.example", "https://elsewhere.example"];

/** One honest peer in each of 50 sites of 10 providers. */
const HONEST = networks.slash24s({ octet: 20, sites: 50, providers: 10 });
const HONEST_SITES = Array(10).fill(5);
/** Whoever is honest in one share with another may have to go when a roster is full, except one in each. */
const HONEST_SHARES = least(shares(HONEST_SITES, CAPACITY));
const ALL = HONEST.length;

/** What an attacker may have. */
const FIFTY = networks.slash24s({ octet: 30, sites: 50, providers: 10, addresses: 6 });
const MANY = networks.slash24s({ octet: 30, sites: 256, providers: 10, addresses: 2 });
const FAR_APART = networks.slash24s({ octet: 30, sites: 256, providers: 256 });

/**
 * The honest shares that are left where hostile ones came first. Half of what one epoch leaves: it may end for some
 * providers while this is played, and then whoever has a place has to win it once more.
 *
 * @param {number} providers Among which the attacker's 256 sites are shared out.
 */
function amongFirst(providers) {
  const hostile = Array.from({ length: providers }, (_, place) => Math.floor((256 + place) / providers));
  return Math.floor(least(placesAmongFirst(HONEST_SITES, hostile, CAPACITY)) / 2);
}

/**
 * @typedef {object} Attack
 * @property {string} name
 * @property {(scene: Scene) => Promise<{ honest: import("./crowd.mjs").Member[], hostile: import("./crowd.mjs").Member[] }>} play
 * @property {boolean} [honestFirst] Whether the honest keys are present longest.
 * @property {number} roster The fewest honest peers that the roster holds.
 * @property {number} [answer] The fewest in an answer; by default what the draw from what the roster holds gives.
 * @property {number} [capsule] The fewest in a capsule; by default as in an answer.
 * @property {boolean} [guarded] Whether the beacon knows the origins of the community's pages.
 */

/** The honest peers are there when the others come. */
function late(name, places, { roster = HONEST_SHARES, answer, by } = {}) {
  return {
    name: `${name}, late`,
    roster,
    answer,
    honestFirst: true,
    async play(scene) {
      const honest = await arrived(scene, scene.members(HONEST));
      const hostile = scene.members(places);
      await scene.bringAll(hostile, by);
      return { honest, hostile };
    },
  };
}

/** The others are there when the honest peers come. */
function first(name, places, { roster = HONEST_SHARES, answer } = {}) {
  return {
    name: `${name}, first`,
    roster,
    answer,
    honestFirst: false,
    async play(scene) {
      const hostile = await arrived(scene, scene.members(places));
      const honest = scene.members(HONEST);
      await scene.bringAll(honest);
      return { honest, hostile };
    },
  };
}

/** Announces, and sees to it that nobody is refused. */
async function arrived(scene, members, by) {
  for (const { status, json } of await scene.bringAll(members, by)) {
    assert.equal(status, 200, json?.code);
  }
  return members;
}

/** Keys in a single share get one place a turn, and the honest peers are all dealt after five turns at most. */
const ONE_SHARE = { roster: ALL, answer: ANSWER - Math.max(...HONEST_SITES) };

/**
 * The same where honest tickets are carried into that share. Who has neighbours in its own one is carried there, or stays
 * there, while that has fewer, and only the first of them is sure of its place.
 */
const CARRIED = ((lost) => ({ roster: ALL - lost, answer: ONE_SHARE.answer - lost }))(Math.max(...HONEST_SITES) - 1);

/** A page that is open in every honest site, and in 256 others. */
const VISITORS = [...HONEST.map((at) => ({ ...at, address: `${at.site}.9` })), ...FAR_APART];

/** @type {Attack[]} */
const ATTACKS = [
  late("256 keys of one /24", networks.oneSlash24(), ONE_SHARE),
  first("256 keys of one /24", networks.oneSlash24(), ONE_SHARE),
  late("256 keys of one /48", networks.oneSlash48(), ONE_SHARE),
  first("256 keys of one /48", networks.oneSlash48(), ONE_SHARE),
  late("1,000 sites of one provider", networks.oneSlash29()),
  first("1,000 sites of one provider", networks.oneSlash29()),
  late("50 /24s of 10 providers", FIFTY),
  first("50 /24s of 10 providers", FIFTY),
  late("256 /24s of 10 providers", MANY),
  first("256 /24s of 10 providers", MANY, { roster: amongFirst(10) }),
  late("256 /24s of 256 providers", FAR_APART),
  first("256 /24s of 256 providers", FAR_APART, { roster: amongFirst(256) }),
  {
    name: "announcer: 400 fresh keys more (20 s at 20/s) wherever it is not listed",
    roster: HONEST_SHARES,
    honestFirst: true,
    async play(scene) {
      const honest = await arrived(scene, scene.members(HONEST));
      const hostile = scene.members(networks.slash24s({ octet: 30, sites: 256, providers: 10 }));
      await scene.bringAll(hostile);
      for (let second = 0; second < 20; second += 1) {
        const listed = await scene.roster();
        const unseen = hostile.filter(({ peer }) => !listed.has(peer.publicKey)).slice(0, 20);
        const fresh = scene.members(unseen.map(({ at }) => at));
        await scene.bringAll(fresh);
        unseen.forEach((member, position) => hostile.splice(hostile.indexOf(member), 1, fresh[position]));
      }
      return { honest, hostile };
    },
  },
  {
    name: "carrier: every honest ticket from one /24 before its owner comes, after that 255 keys of that /24",
    ...CARRIED,
    async play(scene) {
      const [from, ...others] = networks.oneSlash24();
      const honest = scene.members(HONEST);
      await arrived(scene, honest, () => ({ at: from }));
      await arrived(scene, honest);
      const hostile = scene.members(others);
      await scene.bringAll(hostile);
      return { honest, hostile };
    },
  },
  {
    name: "carrier: every honest ticket from a /24 of its own before its owner comes, after that 256 /24s",
    roster: HONEST_SHARES,
    answer: Math.floor(ANSWER / 4),
    async play(scene) {
      const honest = scene.members(HONEST);
      const hostile = scene.members(MANY);
      await arrived(scene, honest, (_, position) => ({ at: hostile[position].at }));
      await arrived(scene, honest);
      await scene.bringAll(hostile);
      return { honest, hostile };
    },
  },
  {
    name: "carrier: every honest ticket from one /24 after its owner, then 255 keys of that /24",
    ...CARRIED,
    async play(scene) {
      const [from, ...others] = networks.oneSlash24();
      const honest = await arrived(scene, scene.members(HONEST));
      await arrived(scene, honest, () => ({ at: from }));
      const hostile = scene.members(others);
      await scene.bringAll(hostile);
      return { honest, hostile };
    },
  },
  {
    name: "carrier: every honest ticket from a /24 of its own after its owner, then 256 /24s",
    roster: HONEST_SHARES,
    answer: Math.floor(ANSWER / 4),
    async play(scene) {
      const honest = await arrived(scene, scene.members(HONEST));
      const hostile = scene.members(MANY);
      await arrived(scene, honest, (_, position) => ({ at: hostile[position].at }));
      await scene.bringAll(hostile);
      return { honest, hostile };
    },
  },
  {
    name: "squatter: 256 keys of one /24 for the 50 names, late",
    ...ONE_SHARE,
    async play(scene) {
      const honest = await arrived(scene, scene.members(HONEST));
      const hostile = scene.members(networks.oneSlash24(), (position) => honest[position % ALL].peer.peerId);
      await scene.bringAll(hostile);
      return { honest, hostile };
    },
  },
  {
    name: "squatter: 256 keys of one /24 for the 50 names, first",
    ...ONE_SHARE,
    // Where a list has both, the one that is there longer stands for the name.
    capsule: ANSWER - 2 * Math.max(...HONEST_SITES),
    async play(scene) {
      const honest = scene.members(HONEST);
      const hostile = scene.members(networks.oneSlash24(), (position) => honest[position % ALL].peer.peerId);
      await scene.bringAll(hostile);
      await arrived(scene, honest);
      return { honest, hostile };
    },
  },
  {
    name: "squatter: one key for 200 names, the 50 among them, first",
    ...ONE_SHARE,
    capsule: ANSWER - 2 * Math.max(...HONEST_SITES),
    async play(scene) {
      const honest = scene.members(HONEST);
      const key = newPeer();
      const hostile = networks.oneSlash24().slice(0, CAPACITY).map((at, position) => {
        const peer = position < ALL ? { ...key, peerId: honest[position].peer.peerId } : { ...key, peerId: `name-${position}` };
        return { peer, at, ticket: scene.ticket(peer) };
      });
      await scene.bringAll(hostile);
      await arrived(scene, honest);
      return { honest, hostile };
    },
  },
  {
    name: "squatter: 512 keys of 256 /24s for the 50 names, late",
    roster: HONEST_SHARES,
    honestFirst: true,
    async play(scene) {
      const honest = await arrived(scene, scene.members(HONEST));
      const hostile = scene.members(MANY, (position) => honest[position % ALL].peer.peerId);
      await scene.bringAll(hostile);
      return { honest, hostile };
    },
  },
  late("drive-by pages: visitors of 256 providers, no ORIGINS", FAR_APART, { by: () => ({ origin: ELSEWHERE }) }),
  {
    name: "drive-by pages: a visitor in each of the 50 sites and in 256 others, first, ORIGINS",
    guarded: true,
    roster: ALL,
    answer: ALL,
    async play(scene) {
      const hostile = scene.members(VISITORS);
      const replies = await scene.bringAll(hostile, (_, position) => ({ origin: position % 2 === 0 ? ELSEWHERE : "null" }));
      for (const { status, json } of replies) {
        assert.deepEqual([status, json.ok, json.accepted, json.listed], [200, true, false, false]);
      }
      // Programs have no origin.
      const honest = await arrived(scene, scene.members(HONEST), (_, position) => (position % 2 === 0 ? { origin: PAGE } : {}));
      return { honest, hostile };
    },
  },
];

/** The fewest honest peers in the mean of all answers, in each of them, and in a capsule. */
function boundsOf({ answer, capsule = answer, honestFirst }, { listed, honest, hostile }) {
  if (answer !== undefined) return { mean: answer, answer, capsule };
  const sites = (members) => sitesByProvider(listed, members);
  const drawn = inAnswer({ honest: sites(honest), hostile: sites(hostile), honestFirst }, ANSWER);
  const mean = least(sum(Array(NEWCOMERS).fill(drawn))) / NEWCOMERS;
  return { mean, answer: least(drawn), capsule: least(drawn) };
}

for (const host of HOSTS) {
  describe(host.name, () => {
    test("what is left of 50 honest peers", async (t) => {
      requireCapsule();
      const nameOf = (position) => `attack-${position}`;
      // By name: of those that anybody may invent, a network in which honest peers are may name ten a minute.
      const named = { COMMUNITIES: ATTACKS.map((_, position) => nameOf(position)).join(",") };
      const open = await openStage(host, t, named);
      // So that a capsule is not made of a list from before the honest peers came.
      const guarded = await openStage(host, t, { ...named, ORIGINS: PAGE, PEERS_MAX_AGE_SECONDS: "0" });
      const rows = [["attack", "in the roster", "in an answer", "in a capsule"]];
      for (const [position, attack] of ATTACKS.entries()) {
        await t.test(attack.name, async () => {
          const scene = new Scene(attack.guarded ? guarded : open, nameOf(position));
          const { honest, hostile } = await attack.play(scene);
          const before = count(await scene.roster(), honest);
          const answers = (await scene.newcomers(NEWCOMERS)).map((told) => count(told, honest));
          const listed = await scene.roster();
          const roster = Math.min(before, count(listed, honest));
          const capsule = count(await scene.capsule(), honest);

          const mean = answers.reduce((sum, told) => sum + told) / NEWCOMERS;
          const bounds = boundsOf(attack, { listed, honest, hostile });
          const cell = (measured, bound) =>
            `${Number(measured.toFixed(1))}${bound > 0 ? ` (at least ${Number(bound.toFixed(1))})` : ""}`;
          rows.push([attack.name, cell(roster, attack.roster), cell(mean, bounds.mean), cell(capsule, bounds.capsule)]);
          assert.ok(attack.roster > 0 && bounds.mean > 1, "a bound that says nothing");
          assert.ok(roster >= attack.roster, `the roster holds ${roster} of ${ALL}, promised are ${attack.roster}`);
          assert.ok(mean >= bounds.mean, `an answer has ${mean}, promised are ${bounds.mean}: ${answers}`);
          assert.ok(Math.min(...answers) >= bounds.answer, `an answer has fewer than ${bounds.answer}: ${answers}`);
          assert.ok(capsule >= bounds.capsule, `a capsule has ${capsule}, promised are ${bounds.capsule}`);
        });
      }
      const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
      for (const row of rows) t.diagnostic(row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd());
    });

    test("without ORIGINS, pages open in every honest site from before leave no place: that is what it is for", async (t) => {
      const scene = new Scene(await openStage(host, t), "unguarded");
      await scene.bringAll(scene.members(VISITORS), () => ({ origin: ELSEWHERE }));
      const honest = scene.members(HONEST);
      await scene.bringAll(honest, () => ({ origin: PAGE }));
      assert.equal(count(await scene.roster(), honest), 0);
    });

    test("resurrector: a peer that has left is not brought back by its old ticket", async (t) => {
      const stage = await openStage(host, t);
      const [here, there] = [HONEST[0], networks.oneSlash24()];
      let scenes = 0;
      const newScene = (from = stage) => new Scene(from, `left-${(scenes += 1)}`);

      /** Whoever brings it, from wherever: it is refused, and not listed. */
      async function assertGone(scene, members, { url } = stage) {
        for (const at of [undefined, there[0], FAR_APART[0]]) {
          const replies = await scene.bringAll(members, () => ({ at }));
          for (const [position, { status, json, answeredAt }] of replies.entries()) {
            // What has ended meanwhile may be refused for that.
            const isOver = answeredAt >= members[position].ticket.payload.expiresAt && json.code === "EXPIRED";
            if (!isOver) assert.deepEqual([status, json.code], [409, "STALE_TICKET"], url);
          }
        }
        assert.equal(count(await scene.roster(), members), 0);
      }

      async function listedAndLeft(scene) {
        const [member] = await arrived(scene, scene.members([here]));
        assert.equal((await scene.leave(member)).json.left, true);
        return member;
      }

      /** Another key has its name for an instant. */
      async function taken(scene, { peer }) {
        const [other] = scene.members(there.slice(0, 1), () => peer.peerId);
        other.ticket = scene.ticket(other.peer, { expiresAt: Date.now() + BRIEF_MS });
        await arrived(scene, [other]);
        const { payload } = other.ticket;
        assert.equal((await scene.leave(other, { expiresAt: payload.expiresAt })).json.left, true);
      }

      await t.test("another key has had the name for an instant", async () => {
        const scene = newScene();
        const member = await listedAndLeft(scene);
        await taken(scene, member);
        await assertGone(scene, [member]);
      });

      await t.test("256 short tickets and 256 goodbyes of one /24 have been there to forget", async () => {
        const scene = newScene();
        const member = await listedAndLeft(scene);
        const short = scene.members(there).map((one) => ({ ...one, ticket: scene.ticket(one.peer, { expiresAt: Date.now() + BRIEF_MS }) }));
        await scene.bringAll(short);
        await inTurns(scene.members(there), (one) => scene.leave(one));
        const ends = Math.max(...short.map(({ ticket }) => ticket.payload.expiresAt));
        while (Date.now() <= ends) await delay(ends + 1 - Date.now());
        await assertGone(scene, [member]);
      });

      await t.test("it had to go for room, or found none, before it said goodbye", async () => {
        const scene = newScene();
        await scene.bringAll(scene.members(MANY));
        const honest = scene.members(HONEST);
        await scene.bringAll(honest);
        assert.ok(count(await scene.roster(), honest) < ALL, "nobody had to go");
        await inTurns(honest, (member) => scene.leave(member));
        await inTurns(scene.members(there), (one) => scene.leave(one));
        await assertGone(scene, honest);
      });

      await t.test("its goodbye overtakes its ticket", async () => {
        const scene = newScene();
        const [member] = scene.members([here]);
        const { status, json } = await scene.leave(member);
        assert.deepEqual([status, json.left], [200, false]);
        await assertGone(scene, [member]);
      });

      await t.test("its ticket and its goodbye are from the future: as long as the ticket lasts", async (context) => {
        // One that is 14 s ahead outlives what is remembered from the clock of the beacon.
        const short = await openStage(host, context, {
          TICKET_MAX_LIFETIME_MS: String(BRIEF_MS),
          ANNOUNCE_INTERVAL_MS: "500",
          ANNOUNCE_AFTER_MIN_MS: "500",
          ANNOUNCE_AFTER_MAX_MS: "1000",
        });
        const scene = newScene(short);
        const [member] = scene.members([here]);
        const issuedAt = Date.now() + 14_000;
        const expiresAt = issuedAt + BRIEF_MS;
        member.ticket = scene.ticket(member.peer, { issuedAt, expiresAt });
        await arrived(scene, [member]);
        const goodbye = await scene.leave(member, { expiresAt: expiresAt + 1 });
        assert.equal(goodbye.json.left, true);
        await taken(scene, member);
        while (Date.now() < expiresAt) {
          await assertGone(scene, [member], short);
          await delay(500);
        }
      });

      await t.test("the beacon has been restarted", async (context) => {
        const persist = await mkdtemp(join(tmpdir(), "crowds-test-"));
        context.after(() => rm(persist, { recursive: true, force: true, maxRetries: 5 }));
        const ended = await openStage(host, context, {}, { persist });
        const before = newScene(ended);
        // Whoever is alone in a community that anybody may invent is not stored.
        await arrived(before, before.members(FAR_APART.slice(0, 2)));
        const member = await listedAndLeft(before);
        await taken(before, member);
        await delay(SAFE_AFTER_MS);
        await ended.stop();
        const started = await openStage(host, context, {}, { persist });
        const after = new Scene(started, before.community);
        assert.equal((await after.roster()).size, 2);
        await assertGone(after, [member]);
      });
    });

    test("neighbours: one machine at its limit takes nothing from the others in its network", async (t) => {
      const { url } = await openStage(host, t, { NETWORK_REQUESTS_PER_MINUTE: "600", ADDRESS_REQUESTS_PER_MINUTE: "" });
      const ipv6 = Array.from({ length: 41 }, (_, at) => ({ address: `2001:db8:0:${at.toString(16)}::1` }));
      for (const [network, [machine, ...neighbours]] of [["/24", networks.oneSlash24().slice(0, 41)], ["/56", ipv6]]) {
        const scene = new Scene({ url }, `neighbours-${network.slice(1)}`);
        const list = ({ address }) => call(url, `/peers?community=${scene.community}`, { address });
        const refused = [];
        const started = Date.now();
        // As many as 25 a second in a minute.
        await inTurns(Array(1_500).fill(machine), async (at) => {
          const { status, json } = await list(at);
          if (status === 429) refused.push(json.code);
        });
        // A quarter of its network's at once, and what comes in again meanwhile.
        const served = 150 + Math.ceil((150 * (Date.now() - started)) / 60_000);
        const codes = await scene.bringAll(scene.members(neighbours));
        const lists = await Promise.all(neighbours.map(list));
        assert.deepEqual([...codes, ...lists].filter(({ status }) => status !== 200).map(({ json }) => json.code), []);
        assert.ok(refused.length > 0 && refused.length >= 1_500 - served, `only ${refused.length} requests of the machine were refused`);
        assert.deepEqual([...new Set(refused)], ["THROTTLED"]);
        t.diagnostic(`1,500 requests of one machine, then 80 of 40 neighbours in its ${network}: ${refused.length} and 0 refused`);
      }
    });
  });
}

test("cost: whoever invents communities and is alone in them keeps no object awake", async (t) => {
  const server = await openCounted(t, { COMMUNITIES: "*" });
  const invented = ["one", "two", "three"].map((name) => new Scene(server, name));
  const [, ...site] = networks.oneSlash24();
  for (const scene of invented) await arrived(scene, scene.members(site.slice(0, 6)));
  // The same in two sites is a community, whose later changes wait to be written together.
  const shared = new Scene(server, "shared");
  await arrived(shared, shared.members([HONEST[0], ...site.slice(0, 5)]));
  await delay(11_000);
  const { communities } = (await call(server.url, "/counters")).json;
  const awakeMs = [...invented, shared].map(({ community }) => communities[community].waitedMs);
  t.diagnostic(`awake in 11 s after 6 announces each: ${awakeMs.slice(0, 3).join(", ")} ms where all were from one site, else ${awakeMs[3]} ms`);
  assert.ok(Math.max(...awakeMs.slice(0, 3)) < 1_000, `awake for ${awakeMs} ms`);
  assert.ok(awakeMs[3] > 5_000, `no object is ever awake: ${awakeMs} ms`);
});
