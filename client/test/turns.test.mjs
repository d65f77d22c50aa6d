// Whom a page dials, and what it keeps reading, whatever sources make up and whoever connects to it.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Peers, Rendezvous } from "../build/internals.js";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { Beacon, StaticHost, World, seeded, signCapsule } from "./world.mjs";

const COMMUNITY = "my-app";
const MINUTE = 60_000;
const LIFETIME = 180_000;
const SLOTS = 8;
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

/** A verified ticket. */
function made(peerId, issuedAt) {
  const facts = { peerId, userId: "u", publicKey: `key of ${peerId}`, issuedAt, expiresAt: issuedAt + LIFETIME };
  return { ...facts, facts, json: `${issuedAt} ${peerId}` };
}

const isMadeUp = (peerId) => peerId.startsWith("made-up");

/** Dials as the adapter does: always the first of the list that was not tried since it was handed out, while a slot is free. */
class Dialler {
  dials = [];
  tried = new Set();
  slots = [];
  constructor(report) {
    this.report = report;
  }
  offer(peers) {
    for (const { peerId } of peers) this.tried.delete(peerId);
  }
  next(peers, goesOn = () => true) {
    while (this.slots.length < SLOTS && goesOn()) {
      const found = peers.find(({ peerId }) => !this.tried.has(peerId) && !this.slots.includes(peerId));
      if (!found) return;
      this.dials.push(found.peerId);
      this.tried.add(found.peerId);
      this.slots.push(found.peerId);
      this.report(found.peerId);
    }
  }
}

describe("the order of dialling", () => {
  test("with b of n sources hostile, of any prefix of dials at least (n − b)/n are to peers that honest ones list", () => {
    const random = seeded(20_250_401);
    const upTo = (most) => Math.floor(random() * most);
    let checked = 0;
    for (let round = 0; round < 20; round++) {
      const n = 2 + upTo(4);
      const hostile = 1 + upTo(n - 1);
      const peers = new Peers("ann", () => false, random);
      const honestPeers = Array.from({ length: 20 + upTo(80) }, (_, at) => `honest-${at}`);
      const reliability = 0.6 + 0.4 * random();
      const lists = Array.from({ length: n - hostile }, () => honestPeers.filter(() => random() < 0.7));
      let now = 1_000_000;
      let invented = 0;
      const answer = (source) => {
        const isHonest = source < lists.length;
        const copied = honestPeers.filter(() => random() < 0.1);
        // Invented ones are always the freshest.
        const names = isHonest ? lists[source] : [...copied, ...Array.from({ length: 60 }, () => `made-up-${invented++}`)];
        const tickets = names.map((peerId) => made(peerId, isMadeUp(peerId) ? now + 14_000 : now - upTo(60_000)));
        peers.merge({ tickets, refused: {} }, `source-${source}`, now);
      };
      for (const source of Array.from({ length: n }, (_, at) => at).toSorted(() => random() - 0.5)) answer(source);
      const dialler = new Dialler((peerId) => peers.dialling(peerId));
      const isLeft = (list) => list.some((peerId) => !dialler.tried.has(peerId));
      peers.takeNew(now);
      while (lists.every(isLeft) && dialler.dials.length < 120) {
        dialler.next(peers.all(now).live, () => lists.every(isLeft));
        const [peerId] = dialler.slots.splice(upTo(dialler.slots.length), 1);
        if (!isMadeUp(peerId) && random() < reliability) peers.connected(peerId, now);
        // Also if it was: the connection ends.
        peers.failed(peerId, now);
        now += 100;
        if (random() < 0.05) answer(upTo(n));
        dialler.offer(peers.takeNew(now).live);
      }
      const { dials: all } = dialler;
      for (let dials = 1, honest = 0; dials <= all.length; dials++) {
        honest += isMadeUp(all[dials - 1]) ? 0 : 1;
        // Of the turns of one round, those of hostile sources may come first.
        const bound = (dials - hostile) * ((n - hostile) / n);
        assert.ok(honest >= bound, `round ${round}: ${honest} of ${dials}, ${hostile} of ${n} hostile`);
        checked++;
      }
    }
    assert.ok(checked > 1_000, `${checked}`);
  });

  test("a source that was the first to answer, with peers that nobody reaches, is not asked for the next ones", () => {
    const peers = new Peers("ann", () => false, seeded(1));
    const give = (source, count, name) =>
      peers.merge(
        { tickets: Array.from({ length: count }, (_, at) => made(`${name}-${at}`, 1_000)), refused: {} },
        source,
        1_000,
      );
    const dialler = new Dialler((peerId) => peers.dialling(peerId));
    give("liar", 200, "made-up");
    dialler.next(peers.takeNew(1_000).live);
    assert.ok(dialler.dials.length === SLOTS && dialler.dials.every(isMadeUp));
    give("honest", 30, "honest");
    peers.takeNew(1_000);
    for (const peerId of dialler.slots.splice(0)) peers.failed(peerId, 2_000);
    for (let dial = 0; dial < 20; dial++) {
      dialler.next(peers.all(2_000).live);
      const peerId = dialler.slots.shift();
      if (isMadeUp(peerId)) peers.failed(peerId, 2_000);
      else peers.connected(peerId, 2_000);
    }
    const later = dialler.dials.slice(SLOTS);
    assert.ok(later.slice(0, SLOTS).every((peerId) => !isMadeUp(peerId)), later.join());
    const madeUp = later.filter(isMadeUp).length;
    assert.ok(madeUp >= 1 && madeUp < later.length / 3, `${madeUp} of ${later.length}: fewer, but never none for good`);
  });

  test("what is remembered for the next visit is in turns too, with those first to which a connection worked", () => {
    const peers = new Peers("ann", () => false, seeded(1));
    const give = (source, count, name, issuedAt) =>
      peers.merge(
        { tickets: Array.from({ length: count }, (_, at) => made(`${name}-${at}`, issuedAt)), refused: {} },
        source,
        issuedAt,
      );
    give("honest", 50, "honest", 1_000);
    give("liar", 200, "made-up", 15_000);
    peers.takeNew(15_000);
    peers.connected("honest-7", 15_000);
    peers.failed("honest-7", 15_001);
    const names = peers.store().map(({ ticket }) => ticket.split(" ")[1]);
    assert.equal(names.length, 100);
    assert.ok(names.slice(0, 2).includes("honest-7"));
    for (let prefix = 2; prefix <= 100; prefix += 2)
      assert.equal(names.slice(0, prefix).filter(isMadeUp).length, prefix / 2);
  });

  test("two hundred invented peers cost an honest connection no more than a few dials", async () => {
    const world = new World(3);
    const honest = new Beacon(world, "https://honest.example");
    let invented = 0;
    const liars = Array.from({ length: 40 }, () => newPeer());
    const liar = new Beacon(world, "https://liar.example", {
      lies: (answer) => ({
        ...answer,
        peers: liars.map((peer) =>
          signTicket({ ...peer, peerId: `made-up-${invented++}` }, { issuedAt: world.now + 14_000, community: COMMUNITY }),
        ),
        since: undefined,
      }),
    });
    const others = Array.from({ length: 10 }, (_, at) => newPeer({ peerId: `peer-${at}` }));
    for (const peer of others) honest.put(signTicket(peer, { issuedAt: world.now, community: COMMUNITY }));
    const ann = new Rendezvous(
      { community: COMMUNITY, peerId: "ann", beacons: [liar.origin, honest.origin] },
      world.host(),
    );
    const dialler = new Dialler((peerId) => ann.dialling(peerId));
    const began = world.elapsed;
    let firstMs;
    const dial = () => {
      const before = dialler.dials.length;
      dialler.next([...ann.peers().live]);
      for (const peerId of dialler.dials.slice(before))
        world.setTimer(
          () => {
            if (isMadeUp(peerId)) {
              dialler.slots.splice(dialler.slots.indexOf(peerId), 1);
              ann.failed(peerId);
              return dial();
            }
            firstMs ??= world.elapsed - began;
            ann.connected(peerId);
          },
          isMadeUp(peerId) ? 15_000 : 100,
        );
    };
    ann.addEventListener("peers", dial);
    await ann.start();
    await world.pass(20_000);
    // At worst all slots were taken before the honest beacon had answered.
    assert.ok(firstMs < 15_500, `${firstMs} ms, ${dialler.dials.join()}`);
    const reached = dialler.dials.slice(SLOTS, 2 * SLOTS).filter((peerId) => !isMadeUp(peerId)).length;
    const early = dialler.dials.slice(0, SLOTS).filter((peerId) => !isMadeUp(peerId)).length;
    assert.ok(early + reached >= SLOTS / 2, dialler.dials.join());
    void ann.stop();
    await world.pass(5_000);
  });
});

describe("connections that others have dialled", () => {
  test("are no reason to stop looking: only those that this page has dialled are counted", async () => {
    const world = new World();
    const publisher = newPeer();
    const hosting = new StaticHost(world, "https://static.example");
    hosting.files = signCapsule(publisher, {
      community: COMMUNITY,
      issuedAt: world.now,
      expiresAt: world.now + 600 * MINUTE,
      peers: [signTicket(newPeer({ peerId: "bob" }), { issuedAt: world.now, community: COMMUNITY })],
    });
    const ann = new Rendezvous(
      {
        community: COMMUNITY,
        peerId: "ann",
        capsules: [{ url: hosting.url, publicKey: publisher.publicKey }],
        minActivePeers: 1,
      },
      world.host(),
    );
    const reads = () => hosting.asked.filter((name) => name === "peers.json").length;
    await ann.start();
    await world.pass(1_000);
    for (let stranger = 0; stranger < 20; stranger++) ann.connected(`stranger-${stranger}`);
    // It dials this page, and calls itself what it likes.
    ann.connected("bob", undefined, { inbound: true });
    await world.pass(20 * MINUTE);
    assert.ok(reads() >= 4, `${reads()}`);
    assert.equal(ann.status().outcomes.connected, 21);
    ann.connected("bob");
    await world.pass(15 * MINUTE);
    const during = reads();
    await world.pass(60 * MINUTE);
    assert.equal(reads(), during, "one that was dialled is enough here");
    void ann.stop();
    await world.pass(5_000);
  });

  test("speak for no key without a proof", () => {
    const peers = new Peers("ann", () => false, seeded(1));
    peers.merge({ tickets: [made("bob", 1_000), made("cid", 1_000)], refused: {} }, "one", 1_000);
    peers.takeNew(1_000);
    peers.connected("bob", 1_000, undefined, true);
    peers.connected("cid", 1_000, "key of cid", true);
    assert.deepEqual(
      peers.store().map(({ ticket, connectedAt }) => [ticket.split(" ")[1], connectedAt]).sort(),
      [
        ["bob", 0],
        ["cid", 1_000],
      ],
    );
    assert.equal(peers.dialled, 0);
  });

  test("a capsule is read within half its life, however many connections there are, so that revocations arrive", async () => {
    for (const life of [4 * MINUTE, 30 * MINUTE, 120 * MINUTE]) {
      const world = new World();
      const publisher = newPeer();
      const hosting = new StaticHost(world, "https://static.example");
      const bob = newPeer({ peerId: "bob" });
      const publish = (revoked) => {
        const peers = [signTicket(bob, { issuedAt: world.now - 1_000, community: COMMUNITY })];
        hosting.files = signCapsule(publisher, {
          community: COMMUNITY,
          issuedAt: world.now,
          expiresAt: world.now + life,
          peers,
          ...(revoked && { revoked: { ticketKeys: [bob.publicKey] } }),
        });
      };
      publish(false);
      const ann = new Rendezvous(
        { community: COMMUNITY, peerId: "ann", capsules: [{ url: hosting.url, publicKey: publisher.publicKey }] },
        world.host(),
      );
      await ann.start();
      await world.pass(1_000);
      for (const peerId of ["bob", "x", "y", "z"]) ann.connected(peerId, undefined, { inbound: false });
      await world.pass(3 * MINUTE);
      publish(true);
      await world.pass(life / 2);
      assert.deepEqual([...ann.peers().live, ...ann.peers().recentlySeen], [], `a life of ${life / MINUTE} minutes`);
      const asked = hosting.asked.length;
      await world.pass(life / 2);
      assert.ok(hosting.asked.length - asked <= 6, "and not much more often");
      void ann.stop();
      await world.pass(5_000);
    }
  });
});
