// The client in a simulated world: whatever is down, wrong or lying, and no waiting.

import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { after, describe, test } from "node:test";
import { Clock, Peers, Rendezvous, aheadOf, memoryStore } from "../build/internals.js";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { Beacon, StaticHost, World, seeded, signCapsule } from "./world.mjs";

const COMMUNITY = "my-app";
const MINUTE = 60_000;
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

/** A client that writes down what it is told. */
function client(host, options) {
  const rendezvous = new Rendezvous({ community: COMMUNITY, ...options }, host);
  rendezvous.seen = [];
  rendezvous.addEventListener("peers", ({ detail }) => rendezvous.seen.push(...detail.live, ...detail.recentlySeen));
  rendezvous.names = () => rendezvous.seen.map(({ peerId }) => peerId);
  return rendezvous;
}

const source = (rendezvous, at = 0) => rendezvous.status().sources[at];
const listed = (rendezvous) =>
  rendezvous
    .peers()
    .live.map(({ peerId }) => peerId)
    .sort();
/** A ticket of somebody who is there at the world's time. */
const ticketOf = (world, peer, fields) => signTicket(peer, { issuedAt: world.now, community: COMMUNITY, ...fields });

describe("finding each other", () => {
  test("two clients find each other by one beacon, with keys, sources and times", async () => {
    const world = new World();
    const beacon = new Beacon(world, "https://one.example");
    const [ann, bob] = ["ann", "bob"].map((peerId) =>
      client(world.host(), { peerId, userId: `${peerId}'s`, beacons: [`${beacon.origin}/`] }),
    );
    await ann.start();
    await world.pass(1_000);
    await bob.start();
    await world.pass(30_000);
    assert.deepEqual(ann.names(), ["bob"]);
    const [peer] = bob.seen;
    const { ticket } = beacon.record("ann");
    assert.deepEqual(peer, {
      peerId: "ann",
      userId: "ann's",
      data: undefined,
      publicKey: ticket.publicKey,
      contested: false,
      otherKeys: [],
      state: "live",
      source: beacon.origin,
      issuedAt: ticket.payload.issuedAt,
      expiresAt: ticket.payload.expiresAt,
    });
    assert.equal(ticket.payload.community, COMMUNITY);
    const status = bob.status();
    assert.ok(status.timeToFirstPeerMs > 0 && status.timeToFirstPeerMs < 1_000);
    assert.equal(status.announced, true);
    assert.deepEqual(status.outcomes, { offered: 1, connected: 0, failed: 0, lost: 0 });
    const { lastSuccessAt, latencyMs, successes, ...rest } = source(bob);
    assert.ok(world.now - lastSuccessAt < MINUTE && latencyMs >= 20 && latencyMs <= 120 && successes >= 1);
    assert.deepEqual(
      { ...rest, clockOffsetMs: 0 },
      {
        url: beacon.origin,
        kind: "beacon",
        state: "ok",
        failures: 0,
        failuresInARow: 0,
        reason: undefined,
        refusedTickets: {},
        clockOffsetMs: 0,
        announced: true,
      },
    );
    await Promise.all([ann.stop(), bob.stop(), world.pass(5_000)]);
    assert.equal(beacon.records.size, 0);
    assert.equal(world.timers, 0);
  });

  test("one ticket is shared by all beacons, and renewed before it ends: a peer is never absent", async () => {
    for (const [seed, dropRate] of [
      [1, 0],
      [2, 0],
      [3, 0.25],
      [4, 0.25],
    ]) {
      const world = new World(seed);
      const beacons = [0, -10_000, 10_000].map(
        (clockErrorMs, at) => new Beacon(world, `https://${at}.example`, { clockErrorMs, dropRate }),
      );
      const ann = client(world.host(), {
        peerId: "ann",
        beacons: beacons.map(({ origin }) => origin),
        minActivePeers: 0,
      });
      await ann.start();
      await world.pass(MINUTE);
      for (const beacon of beacons) assert.ok(beacon.lists("ann"));
      await world.pass(30 * MINUTE, () => {
        for (const beacon of beacons) assert.ok(beacon.lists("ann"), `absent from ${beacon.origin} (seed ${seed})`);
      });
      for (const { log } of beacons) {
        const announces = log.filter(({ path }) => path === "/announce");
        assert.ok(announces.length <= 31 * (60 / 40), `${announces.length} announces`);
        if (dropRate === 0)
          assert.deepEqual(
            announces.filter(({ code }) => code !== undefined),
            [],
          );
      }
      void ann.stop();
      await world.pass(5_000);
      assert.equal(world.timers, 0);
    }
  });

  test("lists are refreshed while too few connections are reported, ever more seldom", async () => {
    const world = new World();
    const beacon = new Beacon(world, "https://one.example");
    const host = world.host();
    const ann = client(host, { peerId: "ann", beacons: [beacon.origin], minActivePeers: 1 });
    await ann.start();
    await world.pass(10 * MINUTE);
    const reads = () => host.requests.filter(({ url }) => url.includes("/peers")).length;
    // An announce gives a list, too.
    assert.ok(host.requests.length >= 10 && host.requests.length <= 20, `${host.requests.length}`);
    const before = reads();
    assert.ok(before >= 2 && host.requests.findIndex(({ at }) => at > 23_000) >= 2, "soon at first");
    const own = encodeURIComponent(`ann:${beacon.record("ann").ticket.publicKey}`);
    const { url } = host.requests.find((request) => request.url.includes("/peers"));
    assert.equal(url, `${beacon.origin}/peers?community=${COMMUNITY}&exclude=${own}`, "its own claim alone");
    ann.connected("somebody");
    await world.pass(20 * MINUTE);
    const enough = reads();
    assert.ok(enough - before <= 1);
    ann.failed("somebody");
    await world.pass(2_500);
    assert.equal(reads(), enough + 1);
    assert.deepEqual(ann.status().outcomes, { offered: 0, connected: 1, failed: 0, lost: 1 });
    void ann.stop();
    await world.pass(5_000);
  });

  test("a peer is handed out once, and again when it failed and has announced since, or when it came back", async () => {
    const world = new World();
    const beacon = new Beacon(world, "https://one.example");
    const bob = newPeer({ peerId: "bob" });
    const announce = () => beacon.put(ticketOf(world, bob));
    const ann = client(world.host(), { peerId: "ann", beacons: [beacon.origin], minActivePeers: 5 });
    announce();
    await ann.start();
    await world.pass(1_000);
    assert.equal(ann.seen.length, 1);
    await world.pass(MINUTE);
    announce();
    await world.pass(2 * MINUTE);
    assert.equal(ann.seen.length, 1);
    ann.failed("bob");
    await world.pass(10_000);
    assert.equal(ann.seen.length, 2, "it has announced since it was handed out");
    ann.failed("bob");
    await world.pass(30_000);
    assert.equal(ann.seen.length, 2, "it has not");
    await world.pass(5 * MINUTE);
    assert.deepEqual(listed(ann), []);
    assert.deepEqual(
      ann.peers().recentlySeen.map(({ peerId, state }) => [peerId, state]),
      [["bob", "recently-seen"]],
    );
    announce();
    await world.pass(3 * MINUTE);
    assert.equal(ann.seen.length, 3, "it came back");
    ann.connected("bob");
    await world.pass(10 * MINUTE);
    announce();
    await world.pass(3 * MINUTE);
    assert.equal(ann.seen.length, 3, "it is connected");
    void ann.stop();
    await world.pass(5_000);
  });
});

describe("what is down", () => {
  test("a beacon that is down is asked ever more seldom, the others as ever, and it is not forgotten", async () => {
    const world = new World();
    const [one, two] = ["one", "two"].map((name) => new Beacon(world, `https://${name}.example`));
    const host = world.host();
    one.down = true;
    const ann = client(host, { peerId: "ann", beacons: [one.origin, two.origin], minActivePeers: 0 });
    await ann.start();
    await world.pass(2_000);
    assert.ok(two.lists("ann"));
    await world.pass(MINUTE * 60);
    const tries = host.requests.filter(({ url }) => url.startsWith(one.origin)).length;
    assert.ok(tries >= 20 && tries <= 35, `${tries}`);
    const [before, last] = host.requests
      .filter(({ url }) => url.startsWith(one.origin))
      .slice(-2)
      .map(({ at }) => at);
    assert.ok(last - before > 3 * MINUTE);
    assert.equal(source(ann).state, "failing");
    assert.equal(source(ann).reason, "NETWORK");
    assert.equal(source(ann).failuresInARow, tries);
    one.down = false;
    await world.pass(7 * MINUTE);
    assert.ok(one.lists("ann"));
    assert.equal(source(ann).failuresInARow, 0);
    void ann.stop();
    await world.pass(5_000);
  });

  test("an answer that does not come is given up after the timeout", async () => {
    const world = new World();
    world.serve("https://one.example", () => new Promise(() => {}));
    const ann = client(world.host(), { peerId: "ann", beacons: ["https://one.example"], timeoutMs: 5_000 });
    await ann.start();
    await world.pass(4_900);
    assert.equal(source(ann).failures, 0);
    await world.pass(400);
    assert.equal(source(ann).reason, "TIMEOUT");
    void ann.stop();
    await world.pass(5_000);
    assert.equal(world.timers, 0);
  });

  test("all beacons down: a capsule has live peers and recently seen ones; both down: the last visit's peers", async () => {
    const world = new World();
    const beacon = new Beacon(world, "https://one.example");
    beacon.down = true;
    const hosting = new StaticHost(world, "https://static.example");
    const publisher = newPeer();
    const [live, gone, bad] = [newPeer({ peerId: "live" }), newPeer({ peerId: "gone" }), newPeer({ peerId: "bad" })];
    const issuedAt = world.now - 100_000;
    const forged = { ...signTicket(bad, { issuedAt }), signature: signTicket(gone, { issuedAt }).signature };
    hosting.files = signCapsule(publisher, {
      community: COMMUNITY,
      issuedAt,
      peers: [
        signTicket(gone, { issuedAt: issuedAt - 100_000, expiresAt: issuedAt + 50_000 }),
        forged,
        signTicket(live, { issuedAt }),
      ],
    });
    const options = {
      peerId: "ann",
      beacons: [beacon.origin],
      capsules: [{ url: hosting.url, publicKey: publisher.publicKey }],
    };
    const first = world.host();
    const ann = client(first, options);
    await ann.start();
    await world.pass(1_000);
    assert.deepEqual(
      ann.seen.map(({ peerId, state, source: from }) => [peerId, state, from]),
      [
        ["live", "live", hosting.url],
        ["gone", "recently-seen", hosting.url],
      ],
    );
    assert.deepEqual(source(ann, 1).refusedTickets, { SIGNATURE_INVALID: 1 });
    assert.equal(source(ann, 1).state, "lying");
    ann.connected("gone");
    ann.failed("live");
    void ann.stop();
    await world.pass(5_000);

    hosting.files = undefined;
    await world.pass(10 * MINUTE);
    const again = client(world.host({ store: first.store }), options);
    await again.start();
    await world.settle();
    assert.deepEqual(
      again.seen.map(({ peerId, state, source: from }) => [peerId, state, from]),
      [
        ["gone", "recently-seen", "cache"],
        ["live", "recently-seen", "cache"],
      ],
      "best first",
    );
    await world.pass(1_000);
    assert.equal(source(again, 1).reason, "HTTP_404");
    void again.stop();
    await world.pass(5_000);
  });

  test("a capsule older than one that was seen is refused, also on the next visit; a forged one always", async () => {
    const world = new World();
    const hosting = new StaticHost(world, "https://static.example");
    const publisher = newPeer();
    const old = signCapsule(publisher, {
      community: COMMUNITY,
      issuedAt: world.now - 2_000,
      peers: [ticketOf(world, newPeer({ peerId: "old" }), { issuedAt: world.now - 3_000 })],
    });
    hosting.files = signCapsule(publisher, { community: COMMUNITY, issuedAt: world.now - 1_000, peers: [] });
    const options = { peerId: "ann", capsules: [{ url: hosting.url, publicKey: publisher.publicKey }] };
    const first = world.host();
    const ann = client(first, options);
    await ann.start();
    await world.pass(1_000);
    assert.equal(source(ann).state, "ok");
    hosting.files = old;
    await world.pass(3 * MINUTE);
    assert.equal(source(ann).reason, "ROLLBACK");
    void ann.stop();
    await world.pass(5_000);
    const again = client(world.host({ store: first.store }), options);
    await again.start();
    await world.pass(1_000);
    assert.equal(source(again).reason, "ROLLBACK");
    hosting.files = { ...old, file: old.file.replace('"old"', '"new"') };
    await world.pass(MINUTE);
    assert.deepEqual([source(again).state, source(again).reason], ["lying", "SIGNATURE_INVALID"]);
    assert.deepEqual(again.seen, []);
    void again.stop();
    await world.pass(5_000);
  });
});

describe("clocks, sleep and the network", () => {
  test("a machine whose clock is an hour wrong, either way, is announced within seconds, and sees live peers", async () => {
    for (const clockErrorMs of [3_600_000, -3_600_000, 30_000, -200_000]) {
      const world = new World();
      const beacons = ["one", "two"].map((name) => new Beacon(world, `https://${name}.example`));
      beacons[0].put(ticketOf(world, newPeer({ peerId: "bob" })));
      const ann = client(world.host({ clockErrorMs }), { peerId: "ann", beacons: beacons.map(({ origin }) => origin) });
      await ann.start();
      await world.pass(8_000);
      for (const beacon of beacons) assert.ok(beacon.lists("ann"), `${clockErrorMs}: ${JSON.stringify(source(ann))}`);
      assert.deepEqual(listed(ann), ["bob"]);
      assert.ok(Math.abs(ann.status().clockOffsetMs + clockErrorMs) < 1_000);
      await world.pass(10 * MINUTE, () => assert.ok(beacons.every((beacon) => beacon.lists("ann"))));
      void ann.stop();
      await world.pass(5_000);
      assert.equal(beacons[0].lists("ann"), false);
    }
  });

  test("one lying beacon among three cannot move the clock, nor one of two a right clock", async () => {
    for (const honest of [1, 2]) {
      const world = new World();
      const beacons = Array.from({ length: honest }, (_, at) => new Beacon(world, `https://${at}.example`));
      const liar = new Beacon(world, "https://liar.example", {
        lies: (answer) => ({ ...answer, serverTime: answer.serverTime + 7_200_000 }),
      });
      const ann = client(world.host(), { peerId: "ann", beacons: [liar, ...beacons].map(({ origin }) => origin) });
      await ann.start();
      await world.pass(10_000);
      await world.pass(20 * MINUTE, () => {
        assert.equal(ann.status().clockOffsetMs, 0);
        for (const beacon of beacons) assert.ok(beacon.lists("ann"));
      });
      assert.equal(source(ann).clockOffsetMs > 7_000_000, true);
      void ann.stop();
      await world.pass(5_000);
    }
  });

  test("one of two beacons that lies about the time costs a wrong clock no place at the other, of three no correction", async () => {
    const world = new World();
    const honest = new Beacon(world, "https://honest.example");
    const liar = new Beacon(world, "https://liar.example", {
      lies: (answer) => ({ ...answer, serverTime: answer.serverTime + 9_000_000 }),
    });
    const host = world.host({ clockErrorMs: 3_600_000 });
    const ann = client(host, { peerId: "ann", beacons: [liar.origin, honest.origin] });
    await ann.start();
    await world.pass(20_000);
    await world.pass(10 * MINUTE, () => {
      assert.ok(honest.lists("ann"), "its own clock dates the tickets for it");
      assert.equal(ann.status().clockOffsetMs, 0, "one against one");
    });
    const agreeing = new Beacon(world, "https://agreeing.example");
    const bob = client(host, { peerId: "bob", beacons: [liar, honest, agreeing].map(({ origin }) => origin) });
    await bob.start();
    await world.pass(20_000);
    assert.ok(honest.lists("bob") && agreeing.lists("bob"));
    assert.ok(Math.abs(bob.status().clockOffsetMs + 3_600_000) < 1_000, "two against one");
    void ann.stop();
    void bob.stop();
    await world.pass(5_000);
  });

  test("a lone beacon that lies about the time ends no honest capsule, raises none that is over, and gets no later tickets", async () => {
    const HOUR = 60 * MINUTE;
    for (const lieMs of [20 * HOUR, 2 * HOUR, -2 * HOUR, -20 * HOUR])
      for (const partner of [false, true]) {
        const world = new World();
        const posted = [];
        const liar = new Beacon(world, "https://liar.example", { clockErrorMs: lieMs });
        const { answer } = liar;
        liar.answer = (method, url, body) => {
          if (method === "POST") posted.push(JSON.parse(body).ticket.payload.issuedAt - world.now);
          return answer.call(liar, method, url, body);
        };
        const down = new Beacon(world, "https://partner.example");
        down.down = true;
        const capsule = (name, issuedAt, life) => {
          const hosting = new StaticHost(world, `https://${name}.example`);
          const peers = [signTicket(newPeer({ peerId: name }), { issuedAt, community: COMMUNITY })];
          const by = newPeer();
          hosting.files = signCapsule(by, { community: COMMUNITY, issuedAt, expiresAt: issuedAt + life, peers });
          return { url: hosting.url, publicKey: by.publicKey };
        };
        const capsules = [
          capsule("good", world.now - 1_000, 30 * MINUTE),
          capsule("over", world.now - 21 * HOUR, HOUR),
          capsule("ahead", world.now + HOUR, HOUR),
        ];
        const beacons = [liar.origin, ...(partner ? [down.origin] : [])];
        const ann = client(world.host(), { peerId: "ann", beacons, capsules });
        await ann.start();
        await world.pass(10 * MINUTE);
        const reasons = ann.status().sources.slice(-3).map(({ reason }) => reason);
        assert.deepEqual(reasons, [undefined, "EXPIRED", "NOT_YET_VALID"], `${lieMs}`);
        assert.deepEqual(new Set(ann.names()), new Set(["good"]));
        assert.equal(ann.status().clockOffsetMs, 0);
        const isListed = liar.lists("ann");
        assert.ok(posted.length > 2 && posted.every((ahead) => ahead <= 15_100), posted.join());
        // What is dated back is good nowhere else.
        assert.equal(isListed, lieMs < 0);
        void ann.stop();
        await world.pass(5_000);
        assert.equal(world.timers, 0);
      }
  });

  test("the community's clock: this machine's, or what most beacons, two at least, say; never more than a day", () => {
    const clock = new Clock();
    assert.equal(clock.observe("a", -3_600_000), false, "one voice");
    assert.equal(clock.observe("b", 4_000), false, "one against one");
    assert.equal(clock.offsetMs, 0);
    assert.equal(clock.observe("c", -3_601_000), true, "two against one");
    assert.equal(clock.offsetMs, -3_600_000);
    clock.drop("c");
    assert.equal(clock.observe("a", -3_602_000), false, "the other is only away");
    clock.drop("a");
    assert.equal(clock.observe("b", 4_000), false, "one voice does not undo it");
    assert.equal(clock.offsetMs, -3_600_000);
    assert.equal(clock.observe("d", 3_000), true);
    assert.equal(clock.offsetMs, 0);
    for (const name of ["e", "f", "g", "h"]) assert.equal(clock.observe(name, 90_000_000), false, "more than a day");
    assert.equal(clock.offsetMs, 0);
    for (const name of ["a", "b", "d", "e", "f", "g", "h"]) clock.observe(name, 60_000);
    assert.equal(clock.offsetMs, 60_000);
    clock.reset();
    assert.equal(clock.offsetMs, 0);
    assert.equal(clock.observe("a", 60_000), false);
  });

  test("an answer that lay there while the page was frozen says nothing of the clock, one that was quick does", async () => {
    for (const [theirs, sentAt, receivedAt, aheadMs] of [
      [1_000_000, 1_000_000, 1_300_000, 0],
      [1_300_000, 1_000_000, 1_300_000, 0],
      [1_300_002, 1_000_000, 1_300_000, 150_002],
      [940_050, 1_000_000, 1_000_100, -60_000],
      [1_000_050, 1_000_000, 1_000_100, 0],
    ])
      assert.equal(aheadOf(theirs, sentAt, receivedAt), aheadMs);
    const world = new World();
    const beacons = ["one", "two"].map((name) => new Beacon(world, `https://${name}.example`));
    const host = world.host();
    const { fetch } = host;
    host.fetch = async (url, init) => {
      const answer = await fetch(url, init);
      await new Promise((resolve) => world.setTimer(resolve, 100_000));
      return answer;
    };
    const ann = client(host, { peerId: "ann", beacons: beacons.map(({ origin }) => origin), timeoutMs: 120_000 });
    await ann.start();
    await world.pass(3 * MINUTE);
    assert.deepEqual(ann.status().sources.map(({ state }) => state), ["ok", "ok"]);
    assert.equal(ann.status().clockOffsetMs, 0);
    void ann.stop();
    await world.pass(5_000);
  });

  test("tickets for one beacon: by its own clock, never more than 15 s ahead on its word alone, shared where they can be", () => {
    const clock = new Clock();
    for (const [ahead, offset] of [
      [undefined, 0],
      [0, 0],
      [12_000, 0],
      [-12_000, 0],
      [14_000, 14_000],
      [3_600_000, 15_000],
      [-3_600_000, -3_600_000],
      [90_000_000, 0],
      [-90_000_000, 0],
    ])
      assert.equal(clock.offsetFor(ahead), offset, `${ahead}`);
    clock.observe("a", 600_000);
    clock.observe("b", 600_000);
    for (const [ahead, offset] of [
      [undefined, 600_000],
      [610_000, 600_000],
      [3_600_000, 615_000],
      [0, 0],
    ])
      assert.equal(clock.offsetFor(ahead), offset, `${ahead}`);
  });

  test("after ten minutes of sleep, and after its clock was set, it announces within seconds", async () => {
    for (const disturb of [
      (world) => world.sleep(10 * MINUTE),
      (world, host) => (host.clockErrorMs = 1_800_000),
      (world, host) => (host.clockErrorMs = -1_800_000),
    ]) {
      const world = new World();
      const beacons = ["one", "two"].map((name) => new Beacon(world, `https://${name}.example`));
      const host = world.host();
      const ann = client(host, { peerId: "ann", beacons: beacons.map(({ origin }) => origin), minActivePeers: 0 });
      await ann.start();
      await world.pass(20_000);
      disturb(world, host);
      await world.pass(25_000);
      for (const beacon of beacons) {
        assert.ok(beacon.lists("ann"));
        assert.ok(beacon.log.at(-1).at > 20_000);
      }
      await world.pass(20 * MINUTE, () => assert.ok(beacons.every((beacon) => beacon.lists("ann"))));
      void ann.stop();
      await world.pass(5_000);
    }
  });

  test("offline: it stops asking; online: it asks at once", async () => {
    const world = new World();
    const beacon = new Beacon(world, "https://one.example");
    const host = world.host();
    const ann = client(host, { peerId: "ann", beacons: [beacon.origin] });
    beacon.down = true;
    await ann.start();
    await world.pass(5_000);
    host.events("offline");
    const before = host.requests.length;
    await world.pass(50_000);
    assert.ok(host.requests.length <= before + 1, "one may have been on its way");
    beacon.down = false;
    host.events("online");
    await world.pass(200);
    assert.ok(beacon.lists("ann"));
    void ann.stop();
    await world.pass(5_000);
  });

  test("pagehide says goodbye at once and ends everything; pageshow brings it back", async () => {
    const world = new World();
    const beacon = new Beacon(world, "https://one.example");
    const host = world.host();
    const ann = client(host, { peerId: "ann", beacons: [beacon.origin] });
    await ann.start();
    await world.pass(50_000);
    host.events("pagehide");
    const lastWords = () => host.requests.filter(({ url }) => url === `${beacon.origin}/leave?community=${COMMUNITY}`);
    assert.equal(lastWords().length, 1, "in the same turn");
    host.events("pagehide");
    await world.pass(1_000);
    assert.equal(beacon.lists("ann"), false);
    assert.equal(world.timers, 0);
    host.events("pageshow");
    host.events("pageshow");
    await world.pass(MINUTE);
    assert.ok(beacon.lists("ann"));
    assert.equal(lastWords().length, 1);
    void ann.stop();
    await world.pass(5_000);
    assert.equal(world.timers, 0);
  });
});

describe("pages of one browser", () => {
  test("of two with one peerId one announces, the other reads, and takes over without a gap", async () => {
    for (const end of ["stop", "hide"]) {
      const world = new World();
      const beacon = new Beacon(world, "https://one.example");
      const hosts = [world.host(), world.host()];
      const store = memoryStore();
      for (const host of hosts) host.store = store;
      const [one, two] = hosts.map((host) => client(host, { peerId: "ann", beacons: [beacon.origin] }));
      beacon.put(ticketOf(world, newPeer({ peerId: "bob" })));
      await one.start();
      await world.pass(1_000);
      await two.start();
      await world.pass(20_000);
      assert.deepEqual([one.status().waiting, two.status().waiting], [false, true]);
      assert.equal(two.status().announced, false);
      assert.deepEqual(listed(two), ["bob"]);
      assert.equal(hosts[1].requests.filter(({ method }) => method === "POST").length, 0);
      if (end === "stop") void one.stop();
      else hosts[0].events("pagehide");
      await world.pass(5 * MINUTE, () =>
        assert.ok(beacon.lists("ann"), `a gap: ${JSON.stringify(beacon.log)} ${world.elapsed}`),
      );
      assert.equal(two.status().announced, true);
      assert.deepEqual(
        beacon.log.filter(({ code }) => code && code !== "ANNOUNCE_TOO_SOON"),
        [],
      );
      void one.stop();
      void two.stop();
      await world.pass(5_000);
      assert.equal(beacon.lists("ann"), false);
      assert.equal(world.timers, 0);
    }
  });

  test("another machine with the peerId does not keep this one out, is never dialled, and is counted", async () => {
    for (const version of [undefined, "0.1.0"]) {
      const world = new World();
      const beacon = new Beacon(world, "https://one.example", { version });
      beacon.put(ticketOf(world, newPeer({ peerId: "ann" })));
      beacon.put(ticketOf(world, newPeer({ peerId: "bob" })));
      const ann = client(world.host(), { peerId: "ann", beacons: [beacon.origin] });
      await ann.start();
      await world.pass(5_000);
      assert.equal(ann.status().announced, !version);
      assert.deepEqual(ann.names(), ["bob"]);
      // A beacon of version 0.1.0 keeps the name for the first, and leaves the name out.
      assert.deepEqual([source(ann).state, source(ann).reason], version ? ["failing", "PEER_ID_TAKEN"] : ["ok", undefined]);
      if (!version) assert.ok(source(ann).refusedTickets.OWN_PEER_ID > 0);
      await world.pass(5 * MINUTE);
      assert.equal(ann.status().announced, true);
      void ann.stop();
      await world.pass(5_000);
    }
  });
});

describe("lies", () => {
  test("a lying beacon is reported, costs only its lies, and what it relays is good", async () => {
    const world = new World();
    const operator = newPeer();
    const forge = (ticket, at) =>
      at % 2 === 0 ? ticket : { ...ticket, payload: { ...ticket.payload, peerId: `forged-${at}` } };
    const liar = new Beacon(world, "https://liar.example", {
      lies: (answer) => ({
        ...answer,
        peers: [
          ...(answer.peers ?? []).map(forge),
          ticketOf(world, operator, { community: "elsewhere" }),
          ticketOf(world, operator, { expiresAt: world.now + 1e9 }),
          null,
          "x",
          { payload: [] },
        ],
      }),
    });
    const honest = new Beacon(world, "https://honest.example");
    for (let at = 0; at < 20; at++)
      liar.put(ticketOf(world, newPeer({ peerId: `peer-${at}` })));
    const ann = client(world.host(), { peerId: "ann", beacons: [liar.origin, honest.origin] });
    await ann.start();
    await world.pass(5_000);
    assert.equal(listed(ann).length, 10);
    assert.ok(!listed(ann).some((peerId) => peerId.startsWith("forged")));
    assert.equal(source(ann).state, "lying");
    assert.deepEqual(source(ann).refusedTickets, {
      SIGNATURE_INVALID: 10,
      COMMUNITY_MISMATCH: 1,
      LIFETIME_TOO_LONG: 1,
      MALFORMED: 3,
    });
    assert.equal(source(ann, 1).state, "ok");
    assert.ok(liar.lists("ann") && honest.lists("ann"));
    void ann.stop();
    await world.pass(5_000);
  });

  test("a flood of made-up peers pushes out none of another source, and is bounded", () => {
    const peers = new Peers("ann", () => false, seeded(1));
    const made = (peerId, issuedAt, publicKey = "k") => ({
      peerId,
      userId: "u",
      publicKey,
      issuedAt,
      expiresAt: issuedAt + 180_000,
      json: `${peerId}${issuedAt}`,
      facts: { peerId, issuedAt, publicKey },
    });
    const merge = (tickets, source, now) => peers.merge({ tickets, refused: {} }, source, now);
    merge(
      Array.from({ length: 50 }, (_, at) => made(`honest-${at}`, 1_000)),
      "honest",
      1_000,
    );
    for (let round = 0; round < 20; round++)
      merge(
        Array.from({ length: 200 }, (_, at) => made(`made-${round}-${at}`, 2_000 + round)),
        "liar",
        3_000,
      );
    const { live } = peers.all(3_000);
    assert.equal(live.filter(({ source: from }) => from === "honest").length, 50);
    assert.equal(live.length, 250);
    assert.equal(peers.store().length, 100);
  });

  test("the newest ticket of a key wins; another key takes over nothing of it", () => {
    const peers = new Peers("ann", () => false, seeded(1));
    const made = (peerId, issuedAt, publicKey = "k") => ({
      peerId,
      userId: "u",
      publicKey,
      issuedAt,
      expiresAt: issuedAt + 180_000,
      json: `${peerId}${issuedAt}`,
      facts: { peerId, issuedAt, publicKey },
    });
    const merge = (tickets, source, now) => {
      const refused = {};
      peers.merge({ tickets, refused }, source, now);
      assert.deepEqual(refused, {});
    };
    peers.ownKey = "k";
    merge([made("bob", 2), made("bob", 1), made("ann", 5), made("cid", 1)], "one", 10);
    assert.deepEqual(
      peers.takeNew(10).live.map(({ peerId, issuedAt }) => [peerId, issuedAt]),
      [
        ["bob", 2],
        ["cid", 1],
      ],
    );
    peers.connected("cid", 11);
    peers.failed("cid", 12);
    assert.deepEqual(
      peers.all(13).live.map(({ peerId }) => peerId),
      ["bob", "cid"],
      "it has to announce first",
    );
    merge([made("cid", 2)], "one", 13);
    assert.deepEqual(
      peers.takeNew(13).live.map(({ peerId }) => peerId),
      ["cid"],
    );
    assert.deepEqual(
      peers.all(13).live.map(({ peerId }) => peerId),
      ["cid", "bob"],
      "a connection that worked counts",
    );
    merge([made("bob", 3, "other"), made("dan", 3, "other")], "two", 14);
    assert.deepEqual(
      peers.takeNew(14).live.map(({ peerId }) => peerId),
      ["dan"],
    );
    const end = 180_002;
    merge([made("bob", end, "other")], "two", end);
    assert.deepEqual(
      peers.takeNew(end).live.map(({ peerId, publicKey, source: from }) => [peerId, publicKey, from]),
      [["bob", "other", "two"]],
    );
  });

  test("limits that a beacon sets are believed within bounds", async () => {
    const world = new World();
    const host = world.host();
    const eager = new Beacon(world, "https://eager.example", { lies: (answer) => ({ ...answer, announceAfterMs: 0 }) });
    const lazy = new Beacon(world, "https://lazy.example", {
      lies: (answer) => ({ ...answer, announceAfterMs: 2 ** 52 }),
    });
    world.serve("https://never.example", () => [
      429,
      JSON.stringify({ ok: false, code: "THROTTLED", retryAfterMs: 2 ** 52, peers: [] }),
    ]);
    const ann = client(host, {
      peerId: "ann",
      beacons: [eager.origin, lazy.origin, "https://never.example"],
      minActivePeers: 0,
    });
    await ann.start();
    await world.pass(MINUTE);
    await world.pass(30 * MINUTE, () => assert.ok(eager.lists("ann") && lazy.lists("ann")));
    assert.ok(eager.log.length <= 31 * 6.1, `${eager.log.length}`);
    assert.ok(host.requests.filter(({ url }) => url.includes("never")).length >= 5);
    assert.equal(source(ann, 2).reason, "THROTTLED");
    assert.equal(source(ann, 2).state, "failing");
    void ann.stop();
    await world.pass(5_000);
  });

  test("a fuzz of answers never gets out of the library, and costs no announce to others", async () => {
    const random = seeded(20_240_601);
    const pick = (items) => items[Math.floor(random() * items.length)];
    const junk = () =>
      pick([
        null,
        0,
        -1,
        1.5,
        2 ** 53,
        "",
        "x",
        "\ud800",
        [],
        {},
        [[]],
        true,
        { peers: 1 },
        "A".repeat(5_000),
        { length: 1e9 },
        { __proto__: null },
      ]);
    const mangleValue = (value, depth = 0) => {
      if (random() < 0.1) return junk();
      if (Array.isArray(value))
        return random() < 0.1 ? [...value, ...value, junk()] : value.map((item) => mangleValue(item, depth + 1));
      if (typeof value === "string" && random() < 0.05) return value.replace(/[a-zA-Z]/, "Q");
      if (typeof value === "number" && random() < 0.05) return value + Math.floor((random() - 0.5) * 1e6);
      if (value && typeof value === "object")
        return Object.fromEntries(
          Object.entries(value)
            .filter(() => random() > 0.05)
            .map(([key, item]) => [random() < 0.03 ? `${key}x` : key, mangleValue(item, depth + 1)]),
        );
      return value;
    };
    const mangle = (body) => {
      const text = random() < 0.7 ? JSON.stringify(mangleValue(JSON.parse(body))) : body;
      const at = Math.floor(random() * text.length);
      return pick([
        () => text,
        () => text.slice(0, at),
        () => text.slice(0, at) + pick(["\0", "{", "]", '"', "1e999", "\u2028", "\\u", "}{"]) + text.slice(at),
        () => new Uint8Array(Array.from({ length: at }, () => Math.floor(random() * 256))),
        () => "[".repeat(at * 50),
        () => " ".repeat(random() < 0.2 ? 2 ** 21 : 10),
        () => `${text.slice(0, -1)},"peers":[],"serverTime":${at}}`,
        () => "",
        () => null,
      ])();
    };
    const world = new World(7);
    const honest = new Beacon(world, "https://honest.example");
    const mirror = new Beacon(world, "https://mirror.example");
    const others = Array.from({ length: 5 }, (_, at) => newPeer({ peerId: `p${at}` }));
    const renew = () =>
      others.forEach((peer) => mirror.put(ticketOf(world, peer)));
    let answers = 0;
    world.serve("https://fuzz.example", async (method, url, body) => {
      answers++;
      const [, text] = await mirror.answer(method, url, body);
      const mangled = mangle(text);
      return [pick(mangled === null ? [204, 304] : [200, 200, 200, 400, 429, 500]), mangled];
    });
    const publisher = newPeer();
    world.serve("https://capsule.example", (method, url) => {
      answers++;
      const { file, signature } = signCapsule(publisher, {
        community: pick([COMMUNITY, "other"]),
        issuedAt: world.now,
        peers: mirror.list().peers,
      });
      const broken = random() < 0.5 ? JSON.stringify(mangleValue(JSON.parse(file))) : String(mangle(file));
      // Signed whatever it is: the publisher's key is no guarantee for the shape.
      if (url.pathname.endsWith(".sig"))
        return [
          200,
          random() < 0.2
            ? String(mangle(JSON.stringify(signature)))
            : `${sign(null, Buffer.from(world.file), publisher.privateKey).toString("base64")}\n`,
        ];
      world.file = broken;
      return [200, broken];
    });
    const host = world.host();
    const { publicKey } = publisher;
    const ann = client(host, {
      peerId: "ann",
      beacons: ["https://fuzz.example", honest.origin],
      capsules: [{ url: "https://capsule.example/peers.json", publicKey }],
    });
    await ann.start();
    await world.pass(10_000);
    for (let round = 0; round < 600; round++) {
      if (round % 15 === 0) renew();
      host.events("online");
      await world.pass(3_500);
      assert.equal(ann.status().running, true);
      assert.ok(honest.lists("ann"), `round ${round}`);
      assert.ok(ann.seen.every(({ peerId }) => /^p\d$/.test(peerId)));
    }
    assert.ok(answers > 1_500, `${answers}`);
    const { refusedTickets } = source(ann);
    assert.ok(Object.keys(refusedTickets).length >= 3, JSON.stringify(refusedTickets));
    void ann.stop();
    await world.pass(5_000);
    assert.equal(world.timers, 0);
  });
});

describe("beginning and end", () => {
  const options = (world) => ({ peerId: "ann", beacons: [new Beacon(world, "https://one.example").origin] });

  test("start and stop may be called as often as one likes, also at once", async () => {
    const world = new World();
    const host = world.host();
    const ann = client(host, options(world));
    await ann.stop();
    const started = ann.start();
    assert.equal(ann.start(), started);
    await started;
    await world.pass(2_000);
    assert.equal(host.requests.length, 1);
    const stopped = ann.stop();
    assert.equal(ann.stop(), stopped);
    assert.equal(ann.status().running, false);
    await Promise.all([stopped, world.pass(1_000)]);
    assert.equal(host.listening, 0);
    assert.equal(world.timers, 0);
    void ann.start();
    void ann.stop();
    await Promise.all([ann.start(), world.pass(50_000)]);
    assert.equal(ann.status().announced, true);
    void ann.stop();
    await world.pass(5_000);
    assert.equal(world.timers, 0);
    assert.equal(host.listening, 0);
  });

  test("stopping while it starts leaves nothing behind", async () => {
    const world = new World();
    const host = world.host();
    const ann = client(host, options(world));
    const started = ann.start();
    await Promise.all([ann.stop(), started, world.pass(5_000)]);
    assert.deepEqual(host.requests, []);
    assert.equal(world.timers, 0);
    assert.equal(host.listening, 0);
  });

  test("an AbortSignal stops it; one that is aborted already is an error", async () => {
    const world = new World();
    const host = world.host();
    const ann = client(host, options(world));
    const abort = new AbortController();
    await ann.start({ signal: abort.signal });
    await world.pass(1_000);
    abort.abort();
    assert.equal(ann.status().running, false);
    await world.pass(5_000);
    assert.equal(world.timers, 0);
    await assert.rejects(ann.start({ signal: AbortSignal.abort() }), { name: "AbortError" });
    assert.equal(ann.status().running, false);
    const during = new AbortController();
    const started = ann.start({ signal: during.signal });
    during.abort(new Error("not now"));
    await assert.rejects(started, /not now/);
    assert.equal(world.timers, 0);
  });

  test("without Ed25519 there is one clear error, and none unhandled; a signer of the application's helps", async () => {
    const world = new World();
    const beaconOptions = options(world);
    for (const subtle of [
      undefined,
      { importKey: async () => Promise.reject(new DOMException("no", "NotSupportedError")) },
    ]) {
      const ann = client({ ...world.host(), subtle }, beaconOptions);
      void ann.start();
      await assert.rejects(ann.start(), { code: "ED25519_UNSUPPORTED", message: /Ed25519/ });
      assert.equal(ann.status().running, false);
    }
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const raw = Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url");
    let verified = 0;
    const identity = {
      publicKey: new Uint8Array(raw),
      sign: (message) => new Uint8Array(sign(null, message, privateKey)),
      verify: async (key, signature, message) => (
        verified++,
        world.subtle.verify(
          "Ed25519",
          await world.subtle.importKey("raw", key, "Ed25519", false, ["verify"]),
          signature,
          message,
        )
      ),
    };
    const ann = client({ ...world.host(), subtle: undefined }, { ...beaconOptions, identity });
    const bob = client(world.host(), { ...beaconOptions, peerId: "bob" });
    await Promise.all([ann.start(), bob.start()]);
    await world.pass(30_000);
    assert.deepEqual([listed(ann), listed(bob)], [["bob"], ["ann"]]);
    assert.equal(bob.seen[0].publicKey, raw.toString("base64"));
    assert.ok(verified > 0);
    void ann.stop();
    void bob.stop();
    await world.pass(5_000);
  });

  test("a signer that fails costs the announce, not the lists", async () => {
    for (const fail of [
      () => Promise.reject(new Error("locked")),
      () => {
        throw new Error("locked");
      },
      () => "x",
    ]) {
      const world = new World();
      const beacon = new Beacon(world, "https://one.example");
      beacon.put(ticketOf(world, newPeer({ peerId: "bob" })));
      const ann = client(world.host(), {
        peerId: "ann",
        beacons: [beacon.origin],
        identity: { publicKey: new Uint8Array(32).fill(9), sign: fail },
      });
      await ann.start();
      await world.pass(5_000);
      assert.deepEqual(listed(ann), ["bob"]);
      assert.match(source(ann).reason, /SIGN_FAILED|MALFORMED|SIGNATURE_INVALID/);
      assert.equal(ann.status().announced, false);
      void ann.stop();
      await world.pass(5_000);
    }
  });

  test("the key is kept, cannot be taken out, and one that the application hands in is used instead", async () => {
    const world = new World();
    const host = world.host();
    const beacon = new Beacon(world, "https://one.example");
    const keyOf = async (place, more = {}) => {
      const ann = client(place, { peerId: "ann", beacons: [beacon.origin], ...more });
      await ann.start();
      await world.pass(1_000);
      const { publicKey } = beacon.record("ann").ticket;
      void ann.stop();
      await world.pass(200_000);
      return publicKey;
    };
    const first = await keyOf(host);
    assert.equal(await keyOf(host), first);
    const { privateKey } = host.store.values.get("identity");
    assert.equal(privateKey.extractable, false);
    assert.notEqual(await keyOf(world.host()), first);
    const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const raw = Buffer.from(await crypto.subtle.exportKey("raw", pair.publicKey)).toString("base64");
    assert.equal(await keyOf(host, { identity: pair }), raw);
  });

  test("a store with rubbish in it is as good as an empty one", async () => {
    for (const rubbish of [
      0,
      "x",
      [],
      [null, 1, {}, { ticket: 5 }, { ticket: "{}" }],
      { privateKey: 1, publicKey: 2 },
    ]) {
      const world = new World();
      const store = memoryStore();
      for (const name of [`peers/${COMMUNITY}`]) await store.update(name, () => rubbish);
      const ann = client(world.host({ store }), options(world));
      await ann.start();
      await world.pass(1_000);
      assert.equal(ann.status().announced, true);
      void ann.stop();
      await world.pass(5_000);
    }
  });

  test("options that are wrong are named", () => {
    const good = { community: "c", peerId: "p", beacons: ["https://one.example"] };
    const { publicKey } = newPeer();
    new Rendezvous(good);
    new Rendezvous({ ...good, userId: undefined, minActivePeers: undefined, trustedKeys: undefined });
    for (const [option, wrong] of [
      ["community", { community: "" }],
      ["community", { community: undefined }],
      ["peerId", { peerId: " x" }],
      ["peerId", { peerId: 5 }],
      ["userId", { userId: "\n" }],
      ["userId", { userId: "\ud800" }],
      ["beacons", { beacons: "https://one.example" }],
      ["beacons or capsules", { beacons: [] }],
      ["beacons\\[0\\]", { beacons: ["ftp://one.example"] }],
      ["beacons\\[1\\]", { beacons: ["https://one.example", "nowhere"] }],
      ["capsules\\[0\\].url", { capsules: [{ publicKey }] }],
      ["capsules\\[0\\].url", { capsules: [null] }],
      ["capsules\\[0\\].publicKey", { capsules: [{ url: "https://one.example/peers.json", publicKey: "x" }] }],
      ["minActivePeers", { minActivePeers: -1 }],
      ["minActivePeers", { minActivePeers: NaN }],
      ["ticketLifetimeMs", { ticketLifetimeMs: 180_001 }],
      ["timeoutMs", { timeoutMs: 0 }],
      ["trustedKeys\\[0\\]", { trustedKeys: ["x"] }],
      ["identity", { identity: { sign() {} } }],
    ]) {
      assert.throws(
        () => new Rendezvous({ ...good, ...wrong }),
        (error) => error instanceof TypeError && new RegExp(`^${option} `).test(error.message),
        JSON.stringify(wrong),
      );
    }
  });
});
