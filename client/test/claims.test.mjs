// Several keys for one peerId: which of them is handed out, whatever order answers come in and whatever sources say.
//
// What is expected is said by a plain model of the rules, from tallies by hand, or by what no source may be able to do.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Peers, Rendezvous } from "../build/internals.js";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { Beacon, StaticHost, World, seeded, signCapsule } from "./world.mjs";

const COMMUNITY = "my-app";
const SECOND = 1_000;
const MINUTE = 60_000;
const LIFETIME = 180_000;
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

/** A verified ticket of a key for bob, as a source lists it. */
function made(publicKey, issuedAt, { since, peerId = "bob" } = {}) {
  const facts = { peerId, userId: "u", publicKey, issuedAt, expiresAt: issuedAt + LIFETIME };
  // As of real tickets, the order of the bytes is that of the times before that of the keys.
  return { ...facts, facts, json: `${issuedAt} ${publicKey} ${peerId}`, since };
}

/** A list that is told what sources say, in the world's own time. */
class Page {
  now = 1_000_000;
  revoked = new Set();
  peers = new Peers("ann", (key) => this.revoked.has(key), seeded(1));

  /** @param sinces Keys for bob, with since when the source lists each. */
  hear(source, sinces) {
    const tickets = Object.entries(sinces).map(([key, since]) => made(key, this.now, { since }));
    this.merge(tickets, source);
    return this;
  }

  merge(tickets, source) {
    this.peers.merge({ tickets, refused: {} }, source, this.now);
    // As the client does after every answer.
    return this.peers.takeNew(this.now);
  }

  get bob() {
    const { live, recentlySeen } = this.peers.all(this.now);
    const found = [...live, ...recentlySeen].filter(({ peerId }) => peerId === "bob");
    assert.ok(found.length <= 1, "one entry a peerId");
    return found[0];
  }

  get key() {
    return this.bob?.publicKey;
  }
}

const permutations = (items) =>
  items.length < 2
    ? [items]
    : items.flatMap((item, at) => permutations(items.toSpliced(at, 1)).map((rest) => [item, ...rest]));

describe("a key that nobody knew", () => {
  for (const [what, answers, expected] of [
    ["one source, one key", [["a", { k: 1 }]], "k"],
    ["more sources list it", [["a", { k: 1 }], ["b", { l: 1 }], ["c", { l: 1 }]], "l"],
    ["one that hides the owner is one vote", [["a", { k: 1, l: 2 }], ["b", { k: 1, l: 2 }], ["c", { l: 0 }]], "k"],
    ["one source lists both, one of them longer", [["a", { k: 2, l: 1 }]], "l"],
    ["listed longer by the majority", [["a", { k: 1, l: 2 }], ["b", { k: 8, l: 9 }], ["c", { k: 7, l: 6 }]], "k"],
    ["the smallest number of all is one vote", [["a", { k: 50, l: 60 }], ["b", { k: 50, l: 60 }], ["c", { k: 50, l: 0 }]], "k"],
    ["a source that lists one of them has no say in how long", [["a", { k: 5, l: 6 }], ["b", { l: 1 }], ["c", { k: 9 }]], "k"],
    ["sources without a word on time", [["a", { k: undefined, l: undefined }], ["b", { k: 3, l: 2 }]], "l"],
    ["of three the one with most sources", [["a", { k: 1 }], ["b", { l: 2, m: 1 }], ["c", { m: 9 }]], "m"],
  ])
    test(`${what}, in every order of answers`, () => {
      for (const order of permutations(answers)) {
        const page = new Page();
        for (const [source, keys] of order) {
          page.hear(source, keys);
          page.now += SECOND;
        }
        assert.equal(page.key, expected, JSON.stringify(order));
      }
    });

  test("is what a plain model says, for thousands of lists in any order", () => {
    const random = seeded(20_250_301);
    const upTo = (most) => Math.floor(random() * most);
    let decided = 0;
    for (let round = 0; round < 4_000; round++) {
      const keys = ["k", "l", "m", "n"].slice(0, 2 + upTo(3));
      const answers = Array.from({ length: 1 + upTo(5) }, (_, at) => {
        const listed = keys.filter(() => random() < 0.6);
        const speaks = random() < 0.8;
        return [`source-${at}`, Object.fromEntries(listed.map((key) => [key, speaks ? upTo(4) : undefined]))];
      });
      const page = new Page();
      for (const [source, sinces] of answers.toSorted(() => random() - 0.5)) {
        page.hear(source, sinces);
        page.now += upTo(20) * SECOND;
      }
      const prefers = (one, other) => {
        const votes = (mine, theirs) =>
          answers.filter(([, sinces]) => mine in sinces && (!(theirs in sinces) || sinces[mine] < sinces[theirs])).length;
        return votes(one, other) > votes(other, one);
      };
      const present = keys.filter((key) => answers.some(([, sinces]) => key in sinces));
      const [best] = present.filter((key) => present.every((other) => other === key || prefers(key, other)));
      if (best) assert.equal(page.key, best, JSON.stringify(answers));
      else assert.ok(present.length ? present.includes(page.key) : page.key === undefined);
      decided += best ? 1 : 0;
    }
    assert.ok(decided > 1_500, `${decided} were decided`);
  });

  test("between equals the one that came first stays, whatever its tickets' bytes; of one list, those decide", () => {
    for (const [first, second] of [
      ["k", "l"],
      ["l", "k"],
    ]) {
      const page = new Page().hear("a", { [first]: 1 });
      page.now += SECOND;
      page.hear("b", { [second]: 1 });
      for (let minute = 0; minute < 10; minute++) {
        assert.equal(page.key, first);
        page.now += MINUTE;
        // Whose ticket is older takes turns.
        page.hear("b", { [second]: 1 });
        page.now += SECOND;
        page.hear("a", { [first]: 1 });
      }
      assert.equal(new Page().hear("a", { [first]: 1, [second]: 1 }).key, "k");
    }
  });

  test("is contested while live tickets of several keys are known, and no longer", () => {
    const page = new Page().hear("a", { k: 1 });
    assert.equal(page.bob.contested, false);
    page.now += MINUTE;
    page.hear("b", { l: 1 });
    assert.deepEqual([page.key, page.bob.contested], ["k", true]);
    page.now += LIFETIME - MINUTE;
    assert.deepEqual([page.key, page.bob.contested, page.bob.state], ["l", false, "live"], "the first is over");
    page.now += MINUTE;
    assert.deepEqual([page.bob.contested, page.bob.state], [false, "recently-seen"]);
  });

  test("a source counts as listing a key for as long as the ticket lives that it gave, and no longer", () => {
    const page = new Page().hear("a", { k: 1 }).hear("b", { l: 1 }).hear("c", { l: 1 });
    assert.equal(page.key, "l");
    page.now += LIFETIME - SECOND;
    page.hear("a", { k: 1 }).hear("d", { l: 1 });
    assert.equal(page.key, "l", "three to one");
    page.now += SECOND;
    assert.equal(page.key, "l", "what b and c gave is over: one to one");
    page.hear("e", { k: 1 });
    assert.equal(page.key, "k", "two to one");
  });
});

describe("a key that was known", () => {
  test("stays once it was connected to, whatever any number of sources lists, and on later visits", () => {
    const page = new Page().hear("a", { k: 5 });
    page.peers.connected("bob", page.now);
    const flood = (list) => ["b", "c", "d", "e"].forEach((source) => list.hear(source, { l: 1 }));
    for (let minute = 0; minute < 60; minute++, page.now += MINUTE) {
      page.hear("a", { k: 5 });
      flood(page);
      assert.deepEqual([page.key, page.bob.contested], ["k", true]);
    }
    page.peers.failed("bob", page.now);
    page.peers.failed("bob", page.now + 1);
    page.hear("a", { k: 5 });
    assert.equal(page.key, "k", "a connection that fails later does not make it another key's");

    const stored = page.peers.store();
    assert.equal(stored.length, 1);
    const next = new Page();
    next.now = page.now + 10 * MINUTE;
    const ticket = made("k", page.now);
    next.merge([ticket], "cache");
    next.peers.note(ticket, stored[0]);
    flood(next);
    assert.equal(next.key, "l", "it is over");
    next.hear("a", { k: 5 });
    assert.equal(next.key, "k", "it is back");
  });

  test("yields when its tickets are over, or it is revoked", () => {
    for (const end of [(page) => (page.now += LIFETIME), (page) => page.revoked.add("k")]) {
      const page = new Page().hear("a", { k: 1 });
      page.peers.connected("bob", page.now);
      page.now += MINUTE;
      page.hear("b", { l: 1 });
      assert.equal(page.key, "k");
      end(page);
      page.hear("b", { l: 1 });
      assert.deepEqual([page.key, page.bob.contested], ["l", false]);
    }
  });

  test("a proof settles it: at once, over a connection that proved nothing, and before the key is listed", () => {
    const page = new Page().hear("liar", { l: 1 });
    page.peers.connected("bob", page.now);
    page.hear("a", { k: 1 }).hear("b", { k: 1 });
    assert.equal(page.key, "l");
    page.peers.connected("bob", page.now, "k");
    assert.equal(page.key, "k");
    page.peers.failed("bob", page.now);
    page.now += MINUTE;
    for (const source of ["liar", "other", "third"]) page.hear(source, { l: 1 });
    page.hear("a", { k: 1 });
    assert.equal(page.key, "k");

    const early = new Page().hear("liar", { l: 1 });
    early.peers.connected("bob", early.now, "k");
    early.hear("a", { k: 1 });
    assert.equal(early.key, "k");
    early.peers.failed("bob", early.now);
    assert.deepEqual(early.peers.outcomes, { offered: 1, connected: 1, failed: 0, lost: 1 });
  });

  test("of a visit before, without a connection: it yields to two sources, not to one", () => {
    const page = new Page();
    page.merge([made("k", page.now)], "cache");
    page.hear("a", { l: 1 });
    assert.equal(page.key, "k");
    page.hear("a", { l: 1, k: 2 });
    assert.equal(page.key, "k");
    page.hear("b", { l: 1 });
    page.hear("c", { l: 1 });
    assert.equal(page.key, "l");
  });
});

describe("one voice", () => {
  test("moves nothing that honest sources give and this page has held, whatever it says, in 200 hours of trying", () => {
    const random = seeded(20_250_302);
    const upTo = (most) => Math.floor(random() * most);
    for (let round = 0; round < 20; round++) {
      const page = new Page();
      const honest = ["a", "b", "c"].slice(0, 1 + upTo(3));
      // The attacker's key may be listed by honest sources too: anybody may claim any name there.
      const strangers = ["l", "m", "n"].filter(() => random() < 0.7);
      const say = (source) =>
        page.hear(source, { k: 10, ...Object.fromEntries(strangers.map((key) => [key, 20 + upTo(5)])) });
      honest.forEach((source) => page.hear(source, { k: 10 }));
      for (let minute = 0; minute < 4; minute++, page.now += MINUTE) honest.forEach((source) => page.hear(source, { k: 10 }));
      for (let minute = 0; minute < 600; minute++, page.now += MINUTE) {
        honest.forEach(say);
        const said = ["k", "l", "m", "n", `x${upTo(50)}`].filter(() => random() < 0.5);
        page.hear("liar", Object.fromEntries(said.map((key) => [key, random() < 0.5 ? upTo(100) : undefined])));
        assert.equal(page.key, "k", `round ${round}, minute ${minute}`);
        if (random() < 0.1) page.peers.failed("bob", page.now);
        // Without a proof that is nobody's.
        else if (random() < 0.1 && page.bob.contested) page.peers.connected("bob", page.now);
      }
    }
  });

  test("keeps nobody out for ever: what a liar gave first goes when two sources say otherwise, however long it was there", () => {
    for (const minutes of [0, 2, 60 * 24]) {
      const page = new Page().hear("liar", { l: 0 });
      const later = () => {
        page.now += MINUTE;
        page.hear("liar", { l: 0 });
      };
      for (let minute = 0; minute < minutes; minute++) later();
      page.hear("a", { k: 1 });
      assert.equal(page.key, "l", "one against one, nobody can tell");
      page.hear("b", { k: 1 });
      assert.equal(page.key, "k");
    }
  });

  test("against one other: the page gets both keys, and what the peer proves settles it for good", () => {
    const page = new Page();
    for (let minute = 0; minute < 10; minute++, page.now += MINUTE) page.hear("liar", { l: 0, m: 0 });
    page.hear("liar", { l: 0, m: 0 });
    page.hear("a", { k: 1 });
    assert.equal(page.key, "l");
    assert.deepEqual(page.bob.otherKeys.toSorted(), ["k", "m"]);
    page.peers.connected("bob", page.now, "k");
    for (let minute = 0; minute < 10; minute++, page.now += MINUTE) {
      for (const source of ["liar", "b", "c"]) page.hear(source, { l: 0 });
      page.hear("a", { k: 1 });
      assert.deepEqual([page.key, page.bob.otherKeys.includes("l")], ["k", true]);
    }
  });

  test("a connection without a proof says nothing of a contested peer's key, and is handed out again when it is lost", () => {
    const page = new Page().hear("liar", { l: 0 }).hear("a", { k: 1 });
    page.peers.connected("bob", page.now);
    page.hear("b", { k: 1 });
    assert.equal(page.key, "k");
    page.now += MINUTE;
    page.peers.failed("bob", page.now);
    assert.deepEqual(page.peers.outcomes, { offered: 1, connected: 1, failed: 0, lost: 1 });
    assert.equal(page.merge([made("k", page.now)], "a").live.length, 1);
    assert.deepEqual(page.peers.store().map(({ connectedAt }) => connectedAt), [0]);
  });

  test("a key that gave way is handed out again once it has announced since", () => {
    const page = new Page();
    const handed = (source, keys) =>
      page.merge(keys.map((key) => made(key, page.now)), source).live.map(({ publicKey }) => publicKey);
    assert.deepEqual(handed("a", ["k"]), ["k"]);
    assert.deepEqual(handed("b", ["l"]), []);
    assert.deepEqual(handed("c", ["l"]), ["l"]);
    assert.deepEqual(handed("d", ["k"]), []);
    assert.deepEqual(handed("e", ["k"]), [], "the ticket that was handed out before");
    page.now += MINUTE;
    assert.deepEqual(handed("a", ["k"]), ["k"]);
  });

  test("pushes out only what it alone gave, keys of a name or names, and memory is bounded", () => {
    const page = new Page();
    const honest = Array.from({ length: 50 }, (_, at) => `honest-${at}`);
    const given = [];
    const flood = (nameOf) => {
      const tickets = Array.from({ length: 200 }, (_, at) => made(`l-${given.length}-${at}`, page.now, { peerId: nameOf(at) }));
      given.push(...tickets);
      page.merge(tickets, "liar");
      page.now += SECOND;
    };
    for (let round = 0; round < 10; round++) {
      const list = honest.map((peerId) => made("k", page.now, { peerId }));
      // It carries what is newest, so that it seems to be its own.
      page.merge(list, "liar");
      page.merge(list, "honest");
      page.now += SECOND;
      flood(() => "bob");
      flood((at) => `made-${round}-${at}`);
      flood((at) => honest[at % 50]);
    }
    const { live } = page.peers.all(page.now);
    const names = new Map(live.map((peer) => [peer.peerId, peer]));
    for (const peerId of honest) {
      const { publicKey, source: from, contested } = names.get(peerId);
      assert.deepEqual([publicKey, from, contested], ["k", "honest", true]);
    }
    assert.equal(given.filter((ticket) => page.peers.has(ticket)).length, 200);
    assert.equal(live.length, 50);
    assert.equal(page.peers.store().length, 50);
  });
});

/** A client, what it was handed, and a word for its state. */
function client(world, host, options) {
  const rendezvous = new Rendezvous({ community: COMMUNITY, peerId: "ann", ...options }, host);
  rendezvous.seen = [];
  rendezvous.addEventListener("peers", ({ detail }) => rendezvous.seen.push(...detail.live, ...detail.recentlySeen));
  return rendezvous;
}

const source = (rendezvous, at = 0) => rendezvous.status().sources[at];
const liveBobs = (rendezvous) => rendezvous.peers().live.map(({ publicKey, contested }) => [publicKey, contested]);
const stop = async (world, ...clients) => {
  for (const rendezvous of clients) void rendezvous.stop();
  await world.pass(5_000);
  assert.equal(world.timers, 0);
};

describe("on the wire", () => {
  const ticketOf = (world, peer) => signTicket(peer, { issuedAt: world.now, community: COMMUNITY });
  const twoBobs = () => [newPeer({ peerId: "bob" }), newPeer({ peerId: "bob" })];

  test("a list with two keys of a name is no lie, with one claim twice it is; the longer listed is handed out", async () => {
    const world = new World();
    const beacon = new Beacon(world, "https://one.example");
    const [bob, imposter] = twoBobs();
    beacon.put(ticketOf(world, bob), world.now - 2 * MINUTE);
    beacon.put(ticketOf(world, imposter), world.now - MINUTE);
    const ann = client(world, world.host(), { beacons: [beacon.origin] });
    await ann.start();
    await world.pass(5_000);
    assert.deepEqual(liveBobs(ann), [[bob.publicKey, true]]);
    assert.deepEqual(ann.seen.map(({ publicKey }) => publicKey), [bob.publicKey]);
    assert.deepEqual([source(ann).state, source(ann).refusedTickets], ["ok", {}]);
    beacon.lies = (answer) => ({ ...answer, peers: [...answer.peers, answer.peers[0]] });
    await world.pass(MINUTE);
    assert.deepEqual([source(ann).state, source(ann).reason], ["lying", "DUPLICATE"]);
    assert.deepEqual(liveBobs(ann), [[bob.publicKey, true]]);
    await stop(world, ann);
  });

  test("a malformed `since` is no word, and costs nothing else", async () => {
    for (const since of [undefined, null, 5, "x", {}, [], [0], [0, -1], [0, 1.5], [0, "1"], [0, null], [0, 1, 2]]) {
      const world = new World();
      const beacon = new Beacon(world, "https://one.example");
      const [one, two] = twoBobs();
      // By their bytes the first is the better one; the list has the second first.
      beacon.put(signTicket(one, { issuedAt: world.now - 10, community: COMMUNITY }), world.now - MINUTE);
      beacon.put(signTicket(two, { issuedAt: world.now, community: COMMUNITY }), world.now - 2 * MINUTE);
      beacon.lies = (answer) => (answer.peers ? { ...answer, since } : answer);
      const ann = client(world, world.host(), { beacons: [beacon.origin] });
      await ann.start();
      await world.pass(5_000);
      assert.deepEqual(liveBobs(ann), [[one.publicKey, true]], JSON.stringify(since));
      assert.deepEqual([source(ann).state, source(ann).refusedTickets], ["ok", {}]);
      assert.equal(ann.status().announced, true);
      await stop(world, ann);
    }
  });

  test("a lying beacon cannot replace a peer that two others list, whichever answers first, nor make an older one up", async () => {
    for (const late of ["liar", "honest"]) {
      const world = new World();
      const [a, b, liar] = ["a", "b", "liar"].map((name) => new Beacon(world, `https://${name}.example`));
      const [bob, imposter] = twoBobs();
      const renew = () => [a, b].forEach((beacon) => beacon.put(ticketOf(world, bob)));
      liar.lies = (answer) =>
        answer.peers
          ? {
              ...answer,
              peers: [signTicket(imposter, { issuedAt: world.now + 14_000, community: COMMUNITY })],
              since: [0],
            }
          : answer;
      const silent = late === "liar" ? [liar] : [a, b];
      silent.forEach((beacon) => (beacon.down = true));
      renew();
      const ann = client(world, world.host(), { beacons: [liar, a, b].map(({ origin }) => origin), minActivePeers: 5 });
      await ann.start();
      // Long enough to be held: up to 5 minutes can pass until a beacon that was away is asked again.
      let last = world.now;
      const renewing = () => {
        if (world.now - last < MINUTE) return;
        last = world.now;
        renew();
      };
      await world.pass(5 * MINUTE, renewing);
      assert.deepEqual(liveBobs(ann), [[(late === "liar" ? bob : imposter).publicKey, false]]);
      silent.forEach((beacon) => (beacon.down = false));
      await world.pass(7 * MINUTE, renewing);
      assert.deepEqual(liveBobs(ann), [[bob.publicKey, true]]);
      await world.pass(10 * MINUTE, () => {
        renewing();
        assert.deepEqual(liveBobs(ann), [[bob.publicKey, true]]);
      });
      await stop(world, ann);
    }
  });

  test("a capsule is one source, and has one key of each name", async () => {
    const world = new World();
    const [bob, imposter] = twoBobs();
    const publisher = newPeer();
    const hosting = new StaticHost(world, "https://static.example");
    const [a, b] = ["a", "b"].map((name) => new Beacon(world, `https://${name}.example`));
    b.put(ticketOf(world, bob));
    a.put(ticketOf(world, imposter));
    hosting.files = signCapsule(publisher, {
      community: COMMUNITY,
      issuedAt: world.now,
      peers: [ticketOf(world, bob), ticketOf(world, imposter)],
    });
    const capsules = [{ url: hosting.url, publicKey: publisher.publicKey }];
    const ann = client(world, world.host(), { beacons: [a.origin, b.origin], capsules });
    await ann.start();
    await world.pass(2_000);
    assert.deepEqual(source(ann, 2).refusedTickets, { DUPLICATE: 1 });
    assert.deepEqual(liveBobs(ann), [[bob.publicKey, true]]);
    await stop(world, ann);
  });

  test("a key that was connected to is remembered; one that was only seen yields to two sources", async () => {
    for (const isConnected of [true, false]) {
      const world = new World();
      const [a, b] = ["a", "b"].map((name) => new Beacon(world, `https://${name}.example`));
      const [bob, imposter] = twoBobs();
      a.put(ticketOf(world, bob));
      const beacons = [a.origin, b.origin];
      const host = world.host();
      const ann = client(world, host, { beacons });
      await ann.start();
      await world.pass(2_000);
      if (isConnected) ann.connected("bob");
      await stop(world, ann);
      a.put(ticketOf(world, imposter));
      b.put(ticketOf(world, imposter));
      a.records.delete(`bob:${bob.publicKey}`);
      const again = client(world, world.host({ store: host.store }), { beacons });
      await again.start();
      await world.pass(2_000);
      assert.deepEqual(liveBobs(again), [[(isConnected ? bob : imposter).publicKey, true]]);
      if (!isConnected) {
        again.connected("bob", bob.publicKey);
        assert.deepEqual(liveBobs(again), [[bob.publicKey, true]], "a proof is worth more than any list");
      }
      await stop(world, again);
    }
  });
});

describe("being listed", () => {
  test("`announced` follows `listed`: a full beacon is asked at its own pace, is no failure, and lists us when it has room", async () => {
    const world = new World();
    const [full, roomy] = [true, false].map((isFull) => new Beacon(world, `https://${isFull}.example`, { full: isFull }));
    const ann = client(world, world.host(), { beacons: [full.origin, roomy.origin], minActivePeers: 0 });
    await ann.start();
    await world.pass(10 * MINUTE);
    const { state, reason, announced, failures } = source(ann);
    assert.deepEqual([state, reason, announced, failures], ["ok", undefined, false, 0]);
    assert.deepEqual([source(ann, 1).announced, ann.status().announced], [true, true]);
    const announces = full.log.filter(({ path }) => path === "/announce").length;
    assert.ok(announces >= 7 && announces <= 14, `${announces} in ten minutes`);
    full.full = false;
    await world.pass(80_000);
    assert.equal(source(ann).announced, true);
    // It has to give the place away.
    full.records.clear();
    full.full = true;
    await world.pass(80_000);
    assert.equal(source(ann).announced, false, "it says so itself");
    await stop(world, ann);
  });

  test("what is no word of `listed` is not taken for a place; without one, as of version 0.1.0, an announce that is good is listed", async () => {
    for (const [listed, expected] of [
      [undefined, true],
      [true, true],
      [false, false],
      [null, false],
      ["true", false],
      [1, false],
    ]) {
      const world = new World();
      const beacon = new Beacon(world, "https://one.example", { lies: (answer) => ({ ...answer, listed }) });
      const ann = client(world, world.host(), { beacons: [beacon.origin] });
      await ann.start();
      await world.pass(2_000);
      assert.deepEqual([source(ann).announced, source(ann).state], [expected, "ok"], JSON.stringify(listed));
      await stop(world, ann);
    }
  });

  test("a refusal in an answer with status 200 is a refusal, its list counts all the same", async () => {
    const refusals = {
      STALE_TICKET: "ok",
      ANNOUNCE_TOO_SOON: "ok",
      SIGNATURE_INVALID: "lying",
      REVOKED_PUBLIC_KEY: "failing",
      "not a code": "failing",
    };
    for (const [code, expected] of Object.entries(refusals)) {
      const world = new World();
      const bob = newPeer({ peerId: "bob" });
      const ticket = signTicket(bob, { issuedAt: world.now, community: COMMUNITY });
      world.serve("https://one.example", () => [
        200,
        JSON.stringify({ ok: false, code, serverTime: world.now, peers: [ticket], since: [1], retryAfterMs: 5_000 }),
      ]);
      const ann = client(world, world.host(), { beacons: ["https://one.example"] });
      await ann.start();
      await world.pass(1_000);
      assert.equal(ann.status().announced, false);
      assert.deepEqual(liveBobs(ann), [[bob.publicKey, false]]);
      const { state, reason, failures } = source(ann);
      assert.equal(state, expected === "lying" ? "failing" : expected, code);
      assert.equal(reason, code === "not a code" ? "HTTP_200" : code);
      assert.equal(failures > 0, expected !== "ok");
      await stop(world, ann);
    }
  });

  test("an announce that came too soon does not hide that the ticket before it is listed", async () => {
    const world = new World();
    // It takes a new ticket more seldom than this peer makes one.
    const beacon = new Beacon(world, "https://one.example", { intervalMs: 100_000 });
    const ann = client(world, world.host(), { beacons: [beacon.origin], minActivePeers: 0 });
    await ann.start();
    await world.pass(2_000);
    await world.pass(10 * MINUTE, () => {
      assert.ok(beacon.lists("ann"));
      assert.equal(ann.status().announced, true);
    });
    assert.ok(beacon.log.filter(({ code }) => code === "ANNOUNCE_TOO_SOON").length > 3);
    await stop(world, ann);
  });

  /** Lets time pass until the beacon lists ann, and says how long that took. */
  const untilListed = async (world, beacon) => {
    const began = world.elapsed;
    while (!beacon.lists("ann")) {
      assert.ok(world.elapsed - began < 10 * MINUTE, JSON.stringify(beacon.log.slice(-5)));
      await world.pass(10);
    }
    return world.elapsed - began;
  };

  test("stop and start: it is listed again within a second, also while another beacon hangs, and its clock is wrong", async () => {
    // One voice cannot set a clock that is more than a ticket's life behind.
    for (const clockErrorMs of [0, 3 * MINUTE, -MINUTE, 3_600_000])
      for (const visitMs of [1_000, 20_000, 70_000]) {
        const world = new World();
        const beacon = new Beacon(world, "https://one.example");
        const others = ["https://hangs.example", "https://dead.example"];
        world.serve(others[0], () => new Promise(() => {}));
        const host = world.host({ clockErrorMs });
        const ann = client(world, host, { beacons: [beacon.origin, ...others] });
        await ann.start();
        await world.pass(5_000 + visitMs);
        assert.ok(beacon.lists("ann"));
        const began = world.elapsed;
        const before = beacon.record("ann").ticket;
        void ann.stop();
        void ann.start();
        while (beacon.record("ann")?.ticket === before) await world.pass(10);
        await untilListed(world, beacon);
        const took = world.elapsed - began;
        assert.equal(beacon.log.at(-2).path, "/leave");
        assert.ok(took < 1_000, `${took} ms, clock ${clockErrorMs}, after ${visitMs}`);
        await stop(world, ann);
      }
  });

  test("a page that is loaded anew is listed again within a second, whatever its clock says", async () => {
    for (const clockErrorMs of [0, 4_000, -4_000, MINUTE, -MINUTE, 3_600_000, -3_600_000])
      for (const visitMs of [500, 10_000, 200_000]) {
        const world = new World();
        const beacons = ["one", "two"].map((name) => new Beacon(world, `https://${name}.example`));
        const options = { beacons: beacons.map(({ origin }) => origin) };
        const host = world.host({ clockErrorMs });
        const ann = client(world, host, options);
        await ann.start();
        await world.pass(5_000 + visitMs);
        host.events("pagehide");
        await world.pass(150);
        for (const beacon of beacons) assert.equal(beacon.lists("ann"), false);
        const again = client(world, world.host({ clockErrorMs, store: host.store }), options);
        await again.start();
        const took = (await untilListed(world, beacons[0])) + (await untilListed(world, beacons[1]));
        assert.ok(took < 1_000, `${took} ms, clock ${clockErrorMs}, after ${visitMs}`);
        await stop(world, again, ann);
      }
  });

  /** A place to run in whose goodbyes take 800 ms. */
  function slowToLeave(world) {
    const host = world.host();
    const { fetch } = host;
    host.fetch = async (url, init) => {
      if (url.includes("/leave")) await new Promise((resolve) => world.setTimer(resolve, 800));
      return fetch(url, init);
    };
    return host;
  }

  test("a page that is shown again waits for its own goodbye, and is listed at once after it", async () => {
    const world = new World();
    const beacon = new Beacon(world, "https://one.example");
    const host = slowToLeave(world);
    const ann = client(world, host, { beacons: [beacon.origin] });
    await ann.start();
    await world.pass(5_000);
    host.events("pagehide");
    host.events("pageshow");
    await world.pass(2_000);
    assert.ok(beacon.lists("ann"));
    assert.deepEqual(
      beacon.log.map(({ path, code }) => [path, code]).slice(-2),
      [["/leave", undefined], ["/announce", undefined]],
    );
    await stop(world, ann);
  });

  test("a goodbye that the next announce has overtaken costs two seconds; a second return at once has to wait", async () => {
    const world = new World();
    const beacon = new Beacon(world, "https://one.example");
    const before = slowToLeave(world);
    const gone = client(world, before, { beacons: [beacon.origin] });
    await gone.start();
    await world.pass(5_000);
    before.events("pagehide");
    // The page that is loaded anew knows of no goodbye.
    const host = world.host({ store: before.store });
    const ann = client(world, host, { beacons: [beacon.origin] });
    await ann.start();
    await world.pass(700);
    assert.equal(beacon.log.at(-1).code, "ANNOUNCE_TOO_SOON");
    await world.pass(500);
    assert.equal(beacon.log.at(-1).path, "/leave");
    assert.equal(beacon.lists("ann"), false);
    await world.pass(2_000);
    assert.ok(beacon.lists("ann"));

    // The one return at once is used up.
    host.events("pagehide");
    await world.pass(1_000);
    host.events("pageshow");
    await world.pass(10_000);
    assert.equal(beacon.lists("ann"), false);
    assert.equal(source(ann).reason, "ANNOUNCE_TOO_SOON");
    const asked = beacon.log.filter(({ path, at }) => path === "/announce" && at > world.elapsed - 10_000).length;
    assert.equal(asked, 2, "once more soon, then as it was told");
    await world.pass(40_000);
    assert.ok(beacon.lists("ann"));
    await stop(world, ann);
  });

  test("beacons of version 0.1.0 work as they did, beside others and alone", async () => {
    for (const versions of [["0.1.0"], ["0.1.0", undefined]]) {
      const world = new World();
      const beacons = versions.map((version, at) => new Beacon(world, `https://${at}.example`, { version }));
      const bob = newPeer({ peerId: "bob" });
      const ann = client(world, world.host(), { beacons: beacons.map(({ origin }) => origin) });
      await ann.start();
      let last = 0;
      await world.pass(2_000);
      await world.pass(10 * MINUTE, () => {
        if (world.now - last > MINUTE) for (const beacon of beacons) beacon.put(signTicket(bob, { issuedAt: world.now, community: COMMUNITY }));
        if (world.now - last > MINUTE) last = world.now;
        for (const beacon of beacons) assert.ok(beacon.lists("ann"));
        assert.ok(ann.status().sources.every(({ announced, state }) => announced && state === "ok"));
      });
      assert.deepEqual(liveBobs(ann), [[bob.publicKey, false]]);
      // It lists this peer to itself, because it does not know what a claim is to it.
      assert.deepEqual(source(ann).refusedTickets, {});
      void ann.stop();
      await world.pass(1_000);
      void ann.start();
      await world.pass(50_000);
      for (const beacon of beacons) assert.ok(beacon.lists("ann"));
      await stop(world, ann);
    }
  });
});
