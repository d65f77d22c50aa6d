// Who is live, who has gone, and how an application hears of it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { createElement, useEffect, useSyncExternalStore } from "react";
import { act, create } from "react-test-renderer";
import { readable } from "svelte/store";
import { effectScope, onScopeDispose, shallowRef, watch } from "vue";
import { Peers, Rendezvous } from "../build/internals.js";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { Beacon, StaticHost, World, signCapsule } from "./world.mjs";

const COMMUNITY = "my-app";
const MINUTE = 60_000;
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

const ticketOf = (world, peer, fields) => signTicket(peer, { issuedAt: world.now, community: COMMUNITY, ...fields });
const idsOf = (peers) => peers.map(({ peerId }) => peerId).sort();

/** Ann, with beacons, and what she has heard. */
function setting({ count = 1, version, ...options } = {}) {
  const world = new World();
  const beacons = Array.from({ length: count }, (_, at) => new Beacon(world, `https://${at}.example`, { version }));
  const ann = new Rendezvous(
    { community: COMMUNITY, peerId: "ann", beacons: beacons.map(({ origin }) => origin), ...options },
    world.host(),
  );
  const heard = [];
  ann.addEventListener("change", ({ detail }) => {
    for (const what of ["appeared", "gone", "renewed", "changed"])
      for (const { peerId, state } of detail[what]) heard.push(`${what} ${peerId} ${state}`);
  });
  const names = () => [idsOf(ann.peers().live), idsOf(ann.peers().recentlySeen)];
  const stop = async () => {
    void ann.stop();
    await world.pass(5_000);
    assert.equal(world.timers, 0);
  };
  return { world, beacons, ann, heard, names, stop };
}

describe("absence", () => {
  test("a peer that left is no longer live once the beacon's whole list is without it, and comes back as new", async () => {
    for (const version of [undefined, "0.1.0"]) {
      const { world, beacons, ann, heard, names, stop } = setting({ version });
      const [beacon] = beacons;
      const bob = newPeer({ peerId: "bob" });
      beacon.put(ticketOf(world, bob));
      beacon.put(ticketOf(world, newPeer({ peerId: "cid" })));
      const offered = [];
      ann.addEventListener("peers", ({ detail }) => offered.push(...idsOf(detail.live)));
      await ann.start();
      await world.pass(1_000);
      assert.deepEqual(names(), [["bob", "cid"], []]);
      beacon.records.delete(`bob:${bob.publicKey}`);
      // The first look after the announce comes after 15 to 22 s.
      await world.pass(30_000);
      assert.deepEqual(names(), [["cid"], ["bob"]]);
      beacon.put(ticketOf(world, bob, { issuedAt: world.now + 1 }));
      await world.pass(80_000);
      assert.deepEqual(names(), [["bob", "cid"], []]);
      assert.deepEqual(offered.sort(), ["bob", "bob", "cid"]);
      assert.deepEqual(
        heard.filter((what) => what.includes("bob")),
        ["appeared bob live", "gone bob recently-seen", "appeared bob live"],
      );
      await stop();
    }
  });

  test("is no evidence where an answer is a part, or does not say how many there are", async () => {
    for (const lies of [
      (answer) => ({ ...answer, total: answer.peers?.length + 2 }),
      (answer) => ({ ...answer, total: undefined }),
      (answer) => ({ ...answer, total: "2" }),
      (answer) => ({ ...answer, total: 0 }),
    ]) {
      const { world, beacons, ann, names, stop } = setting();
      const [beacon] = beacons;
      const bob = newPeer({ peerId: "bob" });
      beacon.lies = lies;
      beacon.put(ticketOf(world, bob));
      beacon.put(ticketOf(world, newPeer({ peerId: "cid" })));
      await ann.start();
      await world.pass(1_000);
      beacon.records.delete(`bob:${bob.publicKey}`);
      await world.pass(2 * MINUTE);
      assert.deepEqual(names(), [["bob", "cid"], []]);
      await world.pass(MINUTE + 1_000);
      assert.deepEqual(names(), [[], ["bob", "cid"]], "the tickets are over");
      await stop();
    }
  });

  test("in a list that a cache may have kept since before the peer was heard of says nothing", () => {
    const peers = new Peers("ann", () => false, () => 0.5);
    const facts = { peerId: "bob", userId: "u", publicKey: "k", issuedAt: 1_000_000, expiresAt: 1_180_000 };
    const hear = (tickets, now) => {
      peers.merge({ tickets, refused: {} }, "one", now, 10_000);
      return peers.all(now).live.length;
    };
    assert.equal(hear([{ ...facts, facts, json: "bob" }], 1_000_000), 1);
    assert.equal(hear([], 1_010_000), 1);
    assert.equal(hear([], 1_010_001), 0);
  });

  test("of a peer that another source gave too is not for one to say", async () => {
    const world = new World();
    const [one, two] = ["one", "two"].map((name) => new Beacon(world, `https://${name}.example`));
    const publisher = newPeer();
    const hosting = new StaticHost(world, "https://static.example");
    const [bob, cid] = ["bob", "cid"].map((peerId) => newPeer({ peerId }));
    for (const beacon of [one, two]) beacon.put(ticketOf(world, bob));
    one.put(ticketOf(world, cid));
    hosting.files = signCapsule(publisher, { community: COMMUNITY, issuedAt: world.now, peers: [ticketOf(world, cid)] });
    const ann = new Rendezvous(
      {
        community: COMMUNITY,
        peerId: "ann",
        beacons: [one.origin, two.origin],
        capsules: [{ url: hosting.url, publicKey: publisher.publicKey }],
      },
      world.host(),
    );
    await ann.start();
    await world.pass(1_000);
    const forget = (beacon) => [bob, cid].forEach(({ peerId, publicKey }) => beacon.records.delete(`${peerId}:${publicKey}`));
    forget(one);
    await world.pass(80_000);
    assert.deepEqual(idsOf(ann.peers().live), ["bob", "cid"]);
    forget(two);
    await world.pass(80_000);
    assert.deepEqual(idsOf(ann.peers().live), ["cid"], "both say so; of cid the capsule has another word");
    void ann.stop();
    await world.pass(5_000);
  });

  test("makes room for another key's claim to the name", async () => {
    const { world, beacons, ann, stop } = setting();
    const [beacon] = beacons;
    const [bob, other] = [newPeer({ peerId: "bob" }), newPeer({ peerId: "bob" })];
    beacon.put(ticketOf(world, bob));
    beacon.put(ticketOf(world, other));
    await ann.start();
    await world.pass(1_000);
    const [{ publicKey, contested }] = ann.peers().live;
    assert.equal(contested, true);
    beacon.records.delete(`bob:${publicKey}`);
    await world.pass(30_000);
    const [left] = ann.peers().live;
    assert.deepEqual([left.contested, left.publicKey], [false, [bob, other].find((peer) => peer.publicKey !== publicKey).publicKey]);
    await stop();
  });
});

describe("changes", () => {
  test("peers() and status() give the same object until something has changed, and `change` says when, once", async () => {
    const { world, beacons, ann, heard, stop } = setting({ minActivePeers: 0 });
    const [beacon] = beacons;
    let told = 0;
    const { peers, status, subscribe } = ann;
    const unsubscribe = subscribe(() => told++);
    assert.equal(peers(), peers());
    assert.equal(status(), status());
    assert.equal(ann.publicKey, undefined);
    const bob = newPeer({ peerId: "bob" });
    beacon.put(ticketOf(world, bob));
    beacon.put(ticketOf(world, newPeer({ peerId: "cid" })));
    await ann.start();
    await world.pass(1_000);
    assert.equal(ann.publicKey, beacon.record("ann").ticket.publicKey);
    assert.deepEqual(heard.toSorted(), ["appeared bob live", "appeared cid live"]);
    // Whatever it gives at any time, it has been told of.
    let [last, lastStatus, lastTold] = [peers(), status(), told];
    await world.pass(10 * MINUTE, () => {
      if (world.elapsed % 3 === 0) beacon.put(ticketOf(world, bob, { expiresAt: world.now + 30_000 }));
      const isSame = peers() === last && status() === lastStatus;
      if (!isSame) assert.ok(told > lastTold, `${world.elapsed}`);
      assert.equal(peers(), peers());
      assert.equal(status(), status());
      [last, lastStatus, lastTold] = [peers(), status(), told];
    });
    assert.ok(heard.includes("renewed bob live") && heard.includes("gone cid recently-seen"), heard.join());
    const before = told;
    ann.connected("bob");
    ann.failed("bob");
    ann.connected("bob");
    await world.settle();
    assert.equal(told, before + 1, "once for all");
    unsubscribe();
    ann.failed("bob");
    await stop();
    assert.equal(told, before + 1);
    assert.equal(ann.status().running, false);
  });

  test("a peer that did not change stays the same object beside those that did", async () => {
    const { world, beacons, ann, stop } = setting();
    const [beacon] = beacons;
    beacon.put(ticketOf(world, newPeer({ peerId: "bob" })));
    await ann.start();
    await world.pass(1_000);
    const before = ann.peers();
    beacon.put(ticketOf(world, newPeer({ peerId: "cid" })));
    await world.pass(30_000);
    const now = ann.peers();
    assert.notEqual(now, before);
    assert.equal(now.live.find(({ peerId }) => peerId === "bob"), before.live[0]);
    await stop();
  });

  test("another userId, other data or another key is a change, no renewal", async () => {
    const { world, beacons, ann, heard, stop } = setting();
    const [beacon] = beacons;
    const bob = newPeer({ peerId: "bob", userId: "one" });
    beacon.put(ticketOf(world, bob));
    await ann.start();
    await world.pass(1_000);
    beacon.put(ticketOf(world, { ...bob, userId: "two" }, { issuedAt: world.now }));
    await world.pass(30_000);
    beacon.put(ticketOf(world, { ...bob, userId: "two" }, { issuedAt: world.now, data: "away" }));
    await world.pass(MINUTE);
    assert.equal(ann.peers().live[0].data, "away");
    beacon.put(ticketOf(world, newPeer({ peerId: "bob" })));
    await world.pass(MINUTE + 30_000);
    assert.deepEqual(heard, ["appeared bob live", "changed bob live", "changed bob live", "changed bob live"]);
    await stop();
  });

  test("React's useSyncExternalStore takes it as it is", async () => {
    globalThis.IS_REACT_ACT_ENVIRONMENT = true;
    const said = [];
    const { error } = console;
    console.error = (...text) => void (/deprecated/.test(text[0]) || said.push(text));
    const { world, beacons, ann, stop } = setting();
    const [beacon] = beacons;
    beacon.put(ticketOf(world, newPeer({ peerId: "bob" })));
    let renders = 0;
    const People = () => {
      renders++;
      const { live } = useSyncExternalStore(ann.subscribe, ann.peers, ann.peers);
      const { announced } = useSyncExternalStore(ann.subscribe, ann.status, ann.status);
      useEffect(() => {
        void ann.start();
        return () => void ann.stop();
      }, []);
      return `${idsOf(live)} ${announced}`;
    };
    try {
      let shown;
      await act(async () => {
        shown = create(createElement(People));
      });
      assert.equal(shown.toJSON(), " false");
      await act(() => world.pass(1_000));
      assert.equal(shown.toJSON(), "bob true");
      const before = renders;
      await act(() => world.settle());
      assert.equal(renders, before, "nothing has changed");
      beacon.put(ticketOf(world, newPeer({ peerId: "cid" })));
      await act(() => world.pass(30_000));
      assert.equal(shown.toJSON(), "bob,cid true");
      await act(async () => shown.unmount());
      assert.deepEqual(said, []);
      assert.equal(ann.status().running, false);
    } finally {
      console.error = error;
      await stop();
    }
  });
});

describe("what README.md shows", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

  /** Runs the lines for a framework, and gives what they call `peers`. */
  function run(framework, names) {
    const [, lines] = new RegExp(`^// ${framework}\n((?!// |\`\`\`)[^]*?)^(?:// |\`\`\`)`, "m").exec(readme);
    assert.ok(lines.trim().split("\n").length <= 5, framework);
    return new Function(...Object.keys(names), `${lines}return peers;`)(...Object.values(names));
  }

  /** Ann knows bob, then cid too; `follow` has to show that, and nothing once `end` is called. */
  async function isFollowed(follow) {
    const { world, beacons, ann, stop } = setting();
    const [beacon] = beacons;
    let subscriptions = 0;
    const subscribe = (onChange) => {
      const end = ann.subscribe(onChange);
      subscriptions++;
      return () => {
        subscriptions--;
        end();
      };
    };
    const shown = [];
    const end = follow({ peers: ann.peers, subscribe }, ({ live }) => shown.push(idsOf(live).join()));
    beacon.put(ticketOf(world, newPeer({ peerId: "bob" })));
    await ann.start();
    await world.pass(1_000);
    assert.equal(subscriptions, 1);
    assert.equal(shown.at(-1), "bob");
    const before = shown.length;
    await world.settle();
    assert.equal(shown.length, before, "nothing has changed");
    beacon.put(ticketOf(world, newPeer({ peerId: "cid" })));
    await world.pass(30_000);
    assert.equal(shown.at(-1), "bob,cid");
    end();
    assert.equal(subscriptions, 0);
    await stop();
  }

  test("for Svelte is a store", () =>
    isFollowed((rendezvous, show) => run("Svelte", { readable, rendezvous }).subscribe(show)));

  test("for Vue is a reference that ends with its scope", () =>
    isFollowed((rendezvous, show) => {
      const scope = effectScope();
      scope.run(() => {
        const peers = run("Vue", { shallowRef, onScopeDispose, rendezvous });
        watch(peers, show, { immediate: true, flush: "sync" });
      });
      return () => scope.stop();
    }));
});

describe("tickets that peers hand each other", () => {
  test("are taken if they are good, live until they end, and count as dials of their own source", async () => {
    const world = new World();
    const options = { community: COMMUNITY, capsules: [{ url: "https://none.example/peers.json", publicKey: newPeer().publicKey }] };
    const [ann, bob] = ["ann", "bob"].map((peerId) => new Rendezvous({ ...options, peerId }, world.host()));
    assert.equal(await bob.ticket(), undefined);
    assert.equal(await ann.add("{}"), "NOT_RUNNING");
    await Promise.all([ann.start(), bob.start(), world.pass(1_000)]);
    const offered = [];
    ann.addEventListener("peers", ({ detail }) => offered.push(...detail.live));
    const ticket = await bob.ticket();
    assert.equal(await bob.ticket(), ticket, "one for all");
    assert.equal(await ann.add(ticket), undefined);
    assert.deepEqual(
      ann.peers().live.map(({ peerId, publicKey, source }) => [peerId, publicKey, source]),
      [["bob", bob.publicKey, "peer"]],
    );
    assert.deepEqual(offered, ann.peers().live);
    await world.pass(3 * MINUTE + 1_000);
    assert.deepEqual(idsOf(ann.peers().recentlySeen), ["bob"]);
    const { payload } = JSON.parse(await bob.ticket());
    assert.ok(payload.issuedAt > world.now - MINUTE, "another when it is old");
    for (const [text, reason] of [
      [ticket, "EXPIRED"],
      [JSON.stringify(ticketOf(world, newPeer({ peerId: "eve" }), { community: "other" })), "COMMUNITY_MISMATCH"],
      [JSON.stringify(ticketOf(world, newPeer({ peerId: "eve" }), { expiresAt: world.now + 180_001 })), "LIFETIME_TOO_LONG"],
      [JSON.stringify({ ...ticketOf(world, newPeer({ peerId: "eve" })), publicKey: newPeer().publicKey }), "SIGNATURE_INVALID"],
      [JSON.stringify(ticketOf(world, newPeer({ peerId: "ann" }))), "OWN_PEER_ID"],
      [" ".repeat(4_000) + JSON.stringify(ticketOf(world, newPeer({ peerId: "eve" }))), "MALFORMED"],
      ["", "MALFORMED"],
      ["[", "MALFORMED"],
      ["null", "MALFORMED"],
      [undefined, "MALFORMED"],
      [{}, "MALFORMED"],
    ])
      assert.equal(await ann.add(text), reason);
    assert.deepEqual(idsOf(ann.peers().live), []);
    const late = ann.add(await bob.ticket());
    void ann.stop();
    void bob.stop();
    await world.pass(5_000);
    assert.equal(await late, "NOT_RUNNING");
    assert.deepEqual(idsOf(ann.peers().live), []);
    assert.equal(await bob.ticket(), undefined);
    assert.equal(world.timers, 0);
  });

  test("have no vote on whose a name is, and revocations and trusted keys count for them", async () => {
    const { world, beacons, ann, stop } = setting();
    const [beacon] = beacons;
    const [bob, imposter] = [newPeer({ peerId: "bob" }), newPeer({ peerId: "bob" })];
    beacon.put(ticketOf(world, bob));
    await ann.start();
    await world.pass(1_000);
    assert.equal(await ann.add(JSON.stringify(ticketOf(world, imposter))), undefined);
    const [{ publicKey, contested }] = ann.peers().live;
    assert.deepEqual([publicKey, contested], [bob.publicKey, true]);
    await stop();

    const choosy = setting({ trustedKeys: [bob.publicKey] });
    await choosy.ann.start();
    assert.equal(choosy.ann.hasTrustedKeys, true);
    assert.equal(await choosy.ann.add(JSON.stringify(ticketOf(choosy.world, imposter))), "UNTRUSTED_PUBLIC_KEY");
    assert.equal(await choosy.ann.add(JSON.stringify(ticketOf(choosy.world, bob))), undefined);
    await choosy.stop();
  });
});
