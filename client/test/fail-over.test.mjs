// Which beacons of a community's list a client uses, on a simulated clock: the first that answer, in their order.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Rendezvous, failOver, live } from "../build/internals.js";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { Beacon, LiveBeacon, World, seeded } from "./world.mjs";

const COMMUNITY = "my-app";
const MINUTE = 60_000;
/** The longest that a beacon is left alone that has failed, with its jitter. */
const LONGEST_PAUSE = 300_000 * 1.25;
/** A ticket's life, after which a beacon that is not asked any more lists nobody. */
const LIFETIME = 180_000;
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

const origin = (number) => `https://beacon${number}.example`;

/** A client that uses so many of the beacons, which are in their order. */
function open({ seed = 1, count, used, Kind = Beacon, options = {} }) {
  const world = new World(seed);
  const beacons = Array.from({ length: count }, (_, number) => new Kind(world, origin(number)));
  const host = world.host();
  const client = new Rendezvous({ community: COMMUNITY, peerId: "ann", beacons: beacons.map(({ origin }) => origin), ...options }, host);
  const carrier = Kind === LiveBeacon ? live(client, { WebSocket: world.WebSocket }) : undefined;
  failOver(client, { used, live: carrier });
  const announced = () => client.status().sources.flatMap(({ announced }, number) => (announced ? [number] : []));
  /** Numbers of those that were asked, since a moment. */
  const asked = (since) => [...new Set(host.requests.filter(({ at }) => at > since).map(({ url }) => beacons.findIndex((it) => url.startsWith(it.origin))))].sort();
  const stop = async () => {
    void client.stop();
    await world.pass(5_000);
    assert.equal(world.timers, 0);
  };
  return { world, beacons, client, carrier, announced, asked, stop };
}

/** What the specification says: the first that are up, and those before the last of them that are not. */
function placed(beacons, used) {
  const up = beacons.flatMap(({ down }, number) => (down ? [] : [number]));
  const chosen = up.slice(0, used);
  const last = up.length >= used ? chosen.at(-1) : beacons.length;
  return { chosen, tried: beacons.flatMap(({ down }, number) => (down && number < last ? [number] : [])) };
}

describe("of a list of beacons", () => {
  test("whatever fails and comes back, the first that answer are used, those before them tried, and no other asked", async () => {
    const random = seeded(20_260_801);
    const upTo = (most) => Math.floor(random() * most);
    for (let round = 0; round < 12; round++) {
      const [count, used] = [2 + upTo(6), 1 + upTo(3)];
      const { world, beacons, client, announced, asked, stop } = open({ seed: round, count, used });
      await client.start();
      for (let change = 0; change < 4; change++) {
        for (const beacon of beacons) if (random() < 0.4) beacon.down = !beacon.down;
        await world.pass(LONGEST_PAUSE + LIFETIME + MINUTE);
        const { chosen, tried } = placed(beacons, used);
        const state = `round ${round}.${change}: ${used} of ${beacons.map(({ down }) => (down ? "down" : "up"))}`;
        assert.deepEqual(announced(), chosen, state);
        const since = world.elapsed;
        await world.pass(LONGEST_PAUSE + MINUTE);
        assert.deepEqual(asked(since), [...chosen, ...tried].sort(), state);
      }
      await stop();
    }
  });

  test("those that are never used are never asked, and cost no timer", async () => {
    const { world, client, asked, stop } = open({ count: 8, used: 2, options: { minActivePeers: 0 } });
    await client.start();
    await world.pass(60 * MINUTE);
    assert.deepEqual(asked(-1), [0, 1]);
    assert.deepEqual(client.status().sources.slice(2).map(({ state }) => state), Array(6).fill("waiting"));
    await stop();
  });

  test("peers are dialled in turns of the beacons that are used, also after others have taken their places", async () => {
    const { world, beacons, client, stop } = open({ count: 5, used: 2, options: { minActivePeers: 30 } });
    for (const [number, beacon] of beacons.entries())
      for (let peer = 0; peer < 20; peer++) beacon.put(signTicket(newPeer({ peerId: `of-${number}-${peer}` }), { community: COMMUNITY, issuedAt: world.now }));
    await client.start();
    await world.pass(1_000);
    const sources = () => client.peers().live.slice(0, 10).map(({ source }) => beacons.findIndex(({ origin }) => origin === source));
    const shares = () => Object.entries(Object.groupBy(sources(), (number) => number)).map(([number, all]) => [Number(number), all.length]);
    assert.deepEqual(shares(), [[0, 5], [1, 5]]);
    beacons[0].down = beacons[1].down = true;
    for (const beacon of beacons) for (const { ticket } of beacon.present()) beacon.records.delete(`${ticket.payload.peerId}:${ticket.publicKey}`);
    await world.pass(LIFETIME);
    for (const number of [2, 3, 4])
      for (let peer = 0; peer < 20; peer++) beacons[number].put(signTicket(newPeer({ peerId: `later-${number}-${peer}` }), { community: COMMUNITY, issuedAt: world.now }));
    await world.pass(2 * MINUTE);
    assert.deepEqual(shares(), [[2, 5], [3, 5]]);
    await stop();
  });
});

describe("with connections", () => {
  test("all that are used die at once: within 30 s the next ones list this peer, and rest when the first are back", async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { world, beacons, client, carrier, announced, stop } = open({ seed, count: 6, used: 2, Kind: LiveBeacon });
      const sockets = () => carrier.status().flatMap(({ transport }, number) => (transport === "socket" ? [number] : []));
      await client.start();
      await world.pass(30_000);
      assert.deepEqual([announced(), sockets()], [[0, 1], [0, 1]]);
      // As a machine dies: connections end, and nothing answers.
      for (const beacon of beacons.slice(0, 2)) {
        beacon.down = true;
        beacon.cut();
      }
      await world.pass(30_000);
      assert.deepEqual(announced().slice(-2), [2, 3], `seed ${seed}`);
      for (const number of [2, 3]) assert.ok(beacons[number].lists("ann"));
      assert.deepEqual(sockets(), [2, 3]);
      for (const beacon of beacons.slice(0, 2)) beacon.down = false;
      await world.pass(LONGEST_PAUSE + LIFETIME);
      assert.deepEqual([announced(), sockets()], [[0, 1], [0, 1]], `seed ${seed}`);
      for (const number of [2, 3, 4, 5]) assert.ok(!beacons[number].lists("ann"));
      await stop();
    }
  });
});
