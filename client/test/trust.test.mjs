// Keys that change, and what is revoked: roots, several publishers, revocations and long tickets, in a simulated world.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import * as internals from "../build/internals.js";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { Beacon, StaticHost, World, makeRoot, seeded, signCapsule, signaturesOf } from "./world.mjs";

const { Rendezvous, Root } = internals;
const COMMUNITY = "my-app";
const MINUTE = 60_000;
const DAY = 86_400_000;
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

const source = (rendezvous, at = 0) => rendezvous.status().sources[at];
const idsOf = (peers) => peers.map(({ peerId }) => peerId).sort();
const known = (rendezvous) => idsOf([...rendezvous.peers().live, ...rendezvous.peers().recentlySeen]);

/** Lets time pass until that is so, in small steps: what comes with it is then to be seen. */
async function until(world, holds) {
  for (let step = 0; !holds(); step++) {
    assert.ok(step < 6_000, String(holds));
    await world.pass(100);
  }
}

/** A world with a static host, root keys and publishers. */
function setting() {
  const world = new World();
  const hosting = new StaticHost(world, "https://static.example");
  const [alice, bert, cora, ...keys] = Array.from({ length: 6 }, () => newPeer());
  const rootOf = (rootVersion, fields) =>
    makeRoot({
      community: COMMUNITY,
      rootVersion,
      expiresAt: world.now + 30 * DAY,
      keys,
      publishers: [alice],
      ...fields,
    });
  return {
    world,
    hosting,
    alice,
    bert,
    cora,
    keys,
    rootOf,
    /** Puts a root beside the capsule. */
    publishRoot(rootVersion, fields, signers = keys.slice(0, 2)) {
      const text = rootOf(rootVersion, fields);
      hosting.beside[`${rootVersion}.root.json`] = text;
      hosting.beside[`${rootVersion}.root.json.sigs`] = signaturesOf(signers, text);
    },
    /** Puts a capsule there; `peers` are names, or tickets. */
    publish(publisher, peers, fields = {}) {
      const { issuedAt = world.now } = fields;
      const ticketOf = (peer) =>
        typeof peer === "string" ? signTicket(newPeer({ peerId: peer }), { issuedAt, community: COMMUNITY }) : peer;
      hosting.files = signCapsule(publisher, { community: COMMUNITY, issuedAt, peers: peers.map(ticketOf), ...fields });
    },
    client(options, host = world.host()) {
      return new Rendezvous({ community: COMMUNITY, peerId: "ann", ...options }, host);
    },
    async stop(...clients) {
      for (const rendezvous of clients) void rendezvous.stop();
      await world.pass(5_000);
      assert.equal(world.timers, 0);
    },
  };
}

describe("roots", () => {
  test("a publisher is replaced while the page is open; the old one counts for nothing, whatever it has dated ahead", async () => {
    const { world, hosting, alice, bert, rootOf, publish, publishRoot, client, stop } = setting();
    const ann = client({ capsules: [{ url: hosting.url, root: new Root(rootOf(1)) }] });
    // A leaked key dates a capsule ahead, so that the right ones look rolled back.
    publish(alice, ["old"], { issuedAt: world.now + 14_000 });
    await ann.start();
    await world.pass(2_000);
    assert.deepEqual([source(ann).state, known(ann)], ["ok", ["old"]]);
    const ahead = hosting.files;
    publish(bert, ["new"]);
    await world.pass(3 * MINUTE);
    assert.deepEqual([source(ann).state, source(ann).reason], ["lying", "SIGNATURE_INVALID"]);
    publish(bert, ["new"], { issuedAt: world.now - 6 * MINUTE });
    publishRoot(2, { publishers: [bert] });
    await world.pass(10 * MINUTE);
    assert.deepEqual([source(ann).state, known(ann)], ["ok", ["new", "old"]]);
    publish(bert, ["older"], { issuedAt: world.now - 17 * MINUTE });
    // While there are too few peers, it is read every 12 minutes at least.
    await world.pass(12.5 * MINUTE);
    assert.equal(source(ann).reason, "ROLLBACK");
    hosting.files = ahead;
    await world.pass(10 * MINUTE);
    assert.equal(source(ann).reason, "SIGNATURE_INVALID");
    await stop(ann);
  });

  test("a page with root 1 walks to root 3, goes on from there the next time, and cannot be led back", async () => {
    const { world, hosting, alice, bert, cora, keys, rootOf, publish, publishRoot, client, stop } = setting();
    const [one, two, three] = keys;
    const four = newPeer();
    publishRoot(2, { keys: [one, two, four], publishers: [bert] }, [one, two]);
    publishRoot(3, { keys: [two, four], publishers: [cora] }, [two, four]);
    publish(cora, ["bob"]);
    const options = { capsules: [{ url: `${hosting.url}?v=1#x`, root: new Root(JSON.parse(rootOf(1))) }] };
    const host = world.host();
    const ann = client(options, host);
    await ann.start();
    await world.pass(2_000);
    assert.deepEqual(known(ann), ["bob"]);
    const names = [2, 3].flatMap((version) => [`${version}.root.json.sigs`, `${version}.root.json`]);
    assert.deepEqual(hosting.asked.filter((name) => name.includes("root")), [...names, "4.root.json.sigs"]);
    assert.ok(host.requests.every(({ url }) => url.endsWith("?v=1")));
    await stop(ann);

    // The host goes back to what it was, with a key that was taken out.
    hosting.beside = {};
    hosting.asked = [];
    publish(alice, ["eve"]);
    const again = client(options, world.host({ store: host.store }));
    await again.start();
    // The next try comes after 1.5 s at the soonest.
    await world.pass(1_000);
    assert.equal(source(again).reason, "SIGNATURE_INVALID");
    assert.deepEqual(hosting.asked.filter((name) => name.includes("root")), ["4.root.json.sigs"]);
    // What is left of the keys of root 1 cannot make another 2 either, and is not asked for one.
    publishRoot(4, { publishers: [alice] }, [one, three]);
    await world.pass(5 * MINUTE);
    assert.deepEqual([source(again).reason, known(again)], ["THRESHOLD_NOT_MET", ["bob"]]);
    await stop(again);
  });

  test("what is stored in the place of the newest root counts only if it is a newer one", async () => {
    const { world, hosting, alice, bert, rootOf, publish, client, stop } = setting();
    const root = new Root(rootOf(2));
    const store = internals.memoryStore();
    for (const [stored, reason] of [
      [rootOf(2, { publishers: [bert] }), undefined],
      [rootOf(1, { publishers: [bert] }), undefined],
      [rootOf(3, { publishers: [bert], community: "other" }), undefined],
      ["{}", undefined],
      [5, undefined],
      [rootOf(3, { publishers: [bert] }), "SIGNATURE_INVALID"],
    ]) {
      await store.update(`root/${root.label}`, () => stored);
      publish(alice, []);
      const ann = client({ capsules: [{ url: hosting.url, root }] }, world.host({ store }));
      await ann.start();
      await world.pass(1_000);
      assert.equal(source(ann).reason, reason, String(stored));
      await stop(ann);
    }
  });

  test("of 70 successors 64 are looked for at a time, and those are remembered", async () => {
    const { world, hosting, alice, bert, rootOf, publish, publishRoot, client, stop } = setting();
    for (let version = 2; version <= 71; version++) publishRoot(version, { publishers: [version === 71 ? bert : alice] });
    publish(bert, ["bob"]);
    const ann = client({ capsules: [{ url: hosting.url, root: new Root(rootOf(1)) }], timeoutMs: 60_000 });
    await ann.start();
    const steps = [];
    ann.addEventListener("status", () => steps.push([source(ann).reason, hosting.asked.includes("66.root.json.sigs")]));
    await world.pass(MINUTE);
    assert.deepEqual(steps, [
      ["SIGNATURE_INVALID", false],
      [undefined, true],
    ]);
    assert.deepEqual(known(ann), ["bob"]);
    assert.equal(hosting.asked.filter((name) => name === "65.root.json").length, 1);
    await stop(ann);
  });

  test("a successor that is not signed by enough is loud, and the peers that are known stay", async () => {
    const { world, hosting, alice, keys, rootOf, publish, publishRoot, client, stop } = setting();
    const ann = client({ capsules: [{ url: hosting.url, root: new Root(rootOf(1)) }] });
    publish(alice, ["bob"]);
    await ann.start();
    await world.pass(2_000);
    publishRoot(2, { keys: [newPeer(), newPeer()] }, [keys[0], keys[0], alice]);
    publish(alice, ["bob", "cid"]);
    await world.pass(3 * MINUTE);
    assert.deepEqual([source(ann).reason, known(ann)], ["THRESHOLD_NOT_MET", ["bob"]]);
    await stop(ann);
  });

  test("a host can hide a successor until the root expires, and no longer", async () => {
    const { world, hosting, alice, rootOf, publish, publishRoot, client, stop } = setting();
    const root = new Root(rootOf(1, { expiresAt: world.now + 10 * MINUTE }));
    const ann = client({ capsules: [{ url: hosting.url, root }] });
    publish(alice, ["bob"]);
    await ann.start();
    await world.pass(9 * MINUTE);
    assert.equal(source(ann).state, "ok");
    await world.pass(10 * MINUTE);
    assert.deepEqual([source(ann).state, source(ann).reason], ["failing", "ROOT_EXPIRED"]);
    publishRoot(2);
    await world.pass(6 * MINUTE);
    assert.equal(source(ann).state, "ok");
    await stop(ann);
  });

  test("a host that answers every path with a page, however long, does not break the walk; one that fails does", async () => {
    for (const [page, pageType] of [
      ["<!doctype html>\n<title>Nothing</title>", "text/html; charset=utf-8"],
      ["\ufeff\r\n<html>", "Text/HTML ;charset=utf-8"],
      ["<!doctype html>\n".repeat(5_000), "text/html"],
    ]) {
      const { world, hosting, alice, rootOf, publish, client, stop } = setting();
      Object.assign(hosting, { page, pageType });
      publish(alice, ["bob"]);
      const ann = client({ capsules: [{ url: hosting.url, root: new Root(rootOf(1)) }] });
      await ann.start();
      await world.pass(2_000);
      assert.deepEqual([source(ann).state, known(ann)], ["ok", ["bob"]]);
      await stop(ann);
    }
    const { world, hosting, alice, rootOf, publish, client, stop } = setting();
    publish(alice, ["bob"]);
    const place = world.host();
    const { fetch } = place;
    place.fetch = async (url, init) => (url.includes("root") ? new Response("busy", { status: 503 }) : fetch(url, init));
    const ann = client({ capsules: [{ url: hosting.url, root: new Root(rootOf(1)) }] }, place);
    await ann.start();
    await world.pass(2_000);
    assert.deepEqual([source(ann).reason, known(ann)], ["HTTP_503", []]);
    await stop(ann);
  });

  test("what begins like a page and comes as something else, or comes as a page and begins otherwise, is loud", async () => {
    for (const [page, pageType] of [
      ["<!doctype html>", "text/plain"],
      ["<!doctype html>", "text/html2"],
      ["<!doctype html>", "application/octet-stream"],
      ["Not found\n", "text/html"],
      ["", "text/html"],
    ]) {
      const { world, hosting, alice, rootOf, publish, client, stop } = setting();
      publish(alice, ["bob"]);
      Object.assign(hosting, { page, pageType });
      const ann = client({ capsules: [{ url: hosting.url, root: new Root(rootOf(1)) }] });
      await ann.start();
      await world.pass(2_000);
      assert.deepEqual([source(ann).state, source(ann).reason, known(ann)], ["lying", "MALFORMED", []], `${page} ${pageType}`);
      await stop(ann);
    }
  });

  test("the next root is followed however its signatures were saved, and what cannot be read of them is loud", async () => {
    const { world, hosting, alice, bert, rootOf, publish, publishRoot, client, stop } = setting();
    publishRoot(2, { publishers: [bert] });
    const right = hosting.beside["2.root.json.sigs"];
    // By the publisher who has been replaced, and whose key is in wrong hands.
    publish(alice, ["mallory"]);
    for (const [text, reason] of [
      [`# by hand\n${right}`, "MALFORMED"],
      ["", "MALFORMED"],
      ["Not found\n", "MALFORMED"],
      [`\ufeff${right.replaceAll("\n", "\r\n")}\r\n`, "SIGNATURE_INVALID"],
    ]) {
      hosting.beside["2.root.json.sigs"] = text;
      const ann = client({ capsules: [{ url: hosting.url, root: new Root(rootOf(1)) }] });
      await ann.start();
      await world.pass(2_000);
      assert.deepEqual([source(ann).state, source(ann).reason, known(ann)], ["lying", reason, []], JSON.stringify(text));
      await stop(ann);
    }
  });

  test("two of three publishers: without .sigs THRESHOLD_NOT_MET, and the last visit's peers are there all the same", async () => {
    const { world, hosting, alice, bert, cora, rootOf, publish, client, stop } = setting();
    const root = new Root(rootOf(1, { publishers: [alice, bert, cora], publisherThreshold: 2 }));
    const options = { capsules: [{ url: hosting.url, root }] };
    publish(alice, ["bob"], { cosigners: [cora] });
    const host = world.host();
    const ann = client(options, host);
    await ann.start();
    await world.pass(2_000);
    assert.deepEqual([source(ann).state, known(ann)], ["ok", ["bob"]]);
    await stop(ann);
    publish(alice, ["cid"]);
    const again = client(options, world.host({ store: host.store }));
    await again.start();
    await world.pass(2_000);
    assert.deepEqual([source(again).state, source(again).reason], ["failing", "THRESHOLD_NOT_MET"]);
    assert.deepEqual(known(again), ["bob"]);
    publish(alice, ["cid"], { cosigners: [alice, newPeer()] });
    await world.pass(MINUTE);
    assert.equal(source(again).reason, "THRESHOLD_NOT_MET");
    hosting.files["peers.json.sigs"] = "no signatures";
    await world.pass(MINUTE);
    assert.equal(source(again).reason, "MALFORMED");
    publish(alice, ["cid"], { cosigners: [bert] });
    await world.pass(5 * MINUTE);
    assert.deepEqual([source(again).state, known(again)], ["ok", ["bob", "cid"]]);
    await stop(again);
  });

  test("options that are wrong are named", () => {
    const { rootOf, client } = setting();
    const url = "https://one.example/peers.json";
    for (const document of ["", "{}", {}, rootOf(0), JSON.parse(rootOf(1, { threshold: 4 })), [rootOf(1)], undefined])
      assert.throws(() => new Root(document), /^TypeError: root must be /, String(document));
    for (const root of [rootOf(1), JSON.parse(rootOf(1)), 5, new Root(rootOf(1, { community: "other" }))])
      assert.throws(() => client({ capsules: [{ url, root }] }), /^TypeError: capsules\[0\]\.root must be /);
    assert.throws(() => client({ capsules: [{ url }] }), /^TypeError: capsules\[0\]\.publicKey must be /);
  });
});

describe("revocation", () => {
  const announceTo = (beacon, world, peer) =>
    beacon.put(signTicket(peer, { issuedAt: world.now, community: COMMUNITY }));

  test("a revoked ticket key is dropped at once, refused from every source, and stays refused after a restart", async () => {
    const { world, hosting, alice, publish, client, stop } = setting();
    const beacon = new Beacon(world, "https://one.example");
    const [bob, eve] = ["bob", "eve"].map((peerId) => newPeer({ peerId }));
    const renew = () => [bob, eve].forEach((peer) => announceTo(beacon, world, peer));
    const capsules = [{ url: hosting.url, publicKey: alice.publicKey }];
    const host = world.host();
    const ann = client({ beacons: [beacon.origin], capsules }, host);
    publish(alice, []);
    renew();
    await ann.start();
    await world.pass(5_000);
    assert.deepEqual(known(ann), ["bob", "eve"]);
    publish(alice, [], { revoked: { ticketKeys: [eve.publicKey] }, expiresAt: world.now + 5 * MINUTE });
    beacon.down = true;
    await world.pass(3 * MINUTE);
    assert.deepEqual(known(ann), ["bob"]);
    const stored = host.store.values.get(`peers/${COMMUNITY}`).map(({ ticket }) => JSON.parse(ticket).payload.peerId);
    assert.deepEqual(stored, ["bob"]);
    beacon.down = false;
    renew();
    await world.pass(5 * MINUTE);
    assert.deepEqual(known(ann), ["bob"]);
    assert.deepEqual(Object.keys(source(ann).refusedTickets), ["REVOKED_PUBLIC_KEY"]);
    assert.equal(source(ann).state, "ok", "a beacon need not know");
    await stop(ann);

    // The capsule is over and gone, and somebody has put the peer into the storage.
    hosting.files = undefined;
    renew();
    const ticket = JSON.stringify(beacon.record("eve").ticket);
    await host.store.update(`peers/${COMMUNITY}`, (peers) => [...peers, { ticket, connectedAt: 0, failedAt: 0 }]);
    const again = client({ beacons: [beacon.origin], capsules }, world.host({ store: host.store }));
    await again.start();
    await world.pass(5_000);
    assert.deepEqual(known(again), ["bob"]);
    assert.equal(source(again).refusedTickets.REVOKED_PUBLIC_KEY > 0, true);
    // A newer capsule replaces the list.
    publish(alice, []);
    renew();
    await world.pass(10 * MINUTE, () => renew());
    assert.deepEqual(known(again), ["bob", "eve"]);
    await stop(again);
  });

  test("a revoked key that holds somebody's peerId gives way in the same moment", async () => {
    const { world, hosting, alice, publish, client, stop } = setting();
    const beacon = new Beacon(world, "https://one.example");
    const [bob, imposter] = [newPeer({ peerId: "bob" }), newPeer({ peerId: "bob" })];
    announceTo(beacon, world, imposter);
    const capsules = [{ url: hosting.url, publicKey: alice.publicKey }];
    const ann = client({ beacons: [beacon.origin], capsules });
    await ann.start();
    await world.pass(1_000);
    const keys = () => ann.peers().live.map(({ publicKey }) => publicKey);
    assert.deepEqual(keys(), [imposter.publicKey]);
    const ticket = signTicket(bob, { issuedAt: world.now - 1_000, community: COMMUNITY });
    publish(alice, [signTicket(bob, { issuedAt: world.now, community: COMMUNITY }), ticket], {
      revoked: { ticketKeys: [imposter.publicKey] },
    });
    await until(world, () => source(ann, 1).successes > 0);
    assert.deepEqual(keys(), [bob.publicKey]);
    assert.deepEqual(source(ann, 1).refusedTickets, { DUPLICATE: 1 });
    await stop(ann);
  });

  test("the lists of several capsules add up, and an older copy takes nothing back", async () => {
    const { world, hosting, alice, bert, publish, client, stop } = setting();
    const other = new StaticHost(world, "https://other.example");
    const beacon = new Beacon(world, "https://one.example");
    const peers = ["bob", "cid", "dan"].map((peerId) => newPeer({ peerId }));
    const renew = () => peers.forEach((peer) => announceTo(beacon, world, peer));
    renew();
    publish(alice, []);
    const before = hosting.files;
    const capsules = [
      { url: hosting.url, publicKey: alice.publicKey },
      { url: other.url, publicKey: bert.publicKey },
    ];
    await world.pass(1_000);
    publish(alice, [], { revoked: { ticketKeys: [peers[0].publicKey] } });
    const revoked = { ticketKeys: [peers[1].publicKey] };
    other.files = signCapsule(bert, { community: COMMUNITY, issuedAt: world.now, peers: [], revoked });
    const ann = client({ beacons: [beacon.origin], capsules });
    await ann.start();
    await world.pass(5_000);
    assert.deepEqual(known(ann), ["dan"]);
    hosting.files = before;
    await world.pass(5 * MINUTE, renew);
    assert.deepEqual([source(ann, 1).reason, known(ann)], ["ROLLBACK", ["dan"]]);
    await stop(ann);
  });

  test("a revoked beacon is not asked, gets no goodbye, has no say about the time, and says why", async () => {
    const { world, hosting, alice, publish, client, stop } = setting();
    const [bad, good] = ["bad", "good"].map((name) => new Beacon(world, `https://${name}.example`));
    const capsules = [{ url: hosting.url, publicKey: alice.publicKey }];
    const host = world.host();
    const ann = client({ beacons: [`${bad.origin}/`, good.origin], capsules }, host);
    publish(alice, []);
    await ann.start();
    await world.pass(5_000);
    assert.ok(bad.lists("ann") && good.lists("ann"));
    publish(alice, [], { revoked: { beacons: [bad.origin] } });
    const { successes } = source(ann, 2);
    await until(world, () => source(ann, 2).successes > successes);
    await world.settle();
    const asked = bad.log.length;
    const { state, reason, announced } = source(ann);
    assert.deepEqual([state, reason, announced], ["failing", "REVOKED_BEACON", false], "at once");
    await world.pass(20 * MINUTE, () => assert.ok(good.lists("ann")));
    await stop(ann);
    const again = client({ beacons: [bad.origin, good.origin], capsules }, world.host({ store: host.store }));
    hosting.files = undefined;
    await again.start();
    await world.pass(MINUTE);
    assert.equal(source(again).reason, "REVOKED_BEACON");
    assert.equal(bad.log.length, asked);
    publish(alice, []);
    await world.pass(15 * MINUTE);
    assert.ok(bad.lists("ann"), "a newer capsule has taken it back");
    await stop(again);
  });

  test("a trusted key that revokes itself is refused for ever; one of a root's until there is a newer root", async () => {
    const { world, hosting, alice, bert, rootOf, publish, publishRoot, client, stop } = setting();
    for (const root of [undefined, new Root(rootOf(1, { publishers: [alice, bert] }))]) {
      const capsules = [{ url: hosting.url, ...(root ? { root } : { publicKey: alice.publicKey }) }];
      const host = world.host();
      const ann = client({ capsules }, host);
      publish(alice, ["bob"], { revoked: { publisherKeys: [alice.publicKey, newPeer().publicKey] } });
      await ann.start();
      await world.pass(2_000);
      assert.deepEqual([source(ann).state, known(ann)], ["ok", ["bob"]]);
      await stop(ann);
      await world.pass(MINUTE);
      publish(alice, ["cid"]);
      const again = client({ capsules }, world.host({ store: host.store }));
      await again.start();
      await world.pass(2_000);
      assert.equal(source(again).reason, root ? "SIGNATURE_INVALID" : "REVOKED_PUBLIC_KEY");
      if (root) {
        // By the other publisher, and without a word of it: it stays revoked.
        publish(bert, ["dan"]);
        await world.pass(5 * MINUTE);
        assert.deepEqual([source(again).state, known(again)], ["ok", ["bob", "dan"]]);
        publish(alice, ["cid"]);
        await world.pass(10 * MINUTE);
        assert.equal(source(again).reason, "SIGNATURE_INVALID");
        publishRoot(2, { publishers: [alice, bert] });
        await world.pass(10 * MINUTE);
        assert.deepEqual([source(again).state, known(again)], ["ok", ["bob", "cid", "dan"]]);
      }
      await stop(again);
    }
  });

  test("what is stored of a capsule, and what was stored before there were revocations", async () => {
    const { world, hosting, alice, publish, client, stop } = setting();
    const name = `capsule/${COMMUNITY}/${alice.publicKey}`;
    const capsules = [{ url: hosting.url, publicKey: alice.publicKey }];
    const host = world.host();
    const ann = client({ capsules }, host);
    const ticketKeys = [newPeer().publicKey];
    publish(alice, [], { revoked: { ticketKeys, beacons: ["https://bad.example"], reason: "x" } });
    const issuedAt = world.now;
    await ann.start();
    await world.pass(2_000);
    const beacons = ["https://bad.example"];
    const layout = { ticketKeys, publisherKeys: [], beacons, rootVersion: 0, issuedAt };
    assert.deepEqual(host.store.values.get(name), layout);
    await stop(ann);
    for (const [stored, reason] of [
      [world.now + MINUTE, "ROLLBACK"],
      [{ ...layout, issuedAt: world.now + MINUTE }, "ROLLBACK"],
      ["rubbish", undefined],
      [{ ...layout, issuedAt: world.now + MINUTE, beacons: "x" }, undefined],
      [{ ...layout, issuedAt: "x" }, undefined],
      [NaN, undefined],
      [null, undefined],
    ]) {
      const store = internals.memoryStore();
      await store.update(name, () => stored);
      publish(alice, []);
      const again = client({ capsules }, world.host({ store }));
      await again.start();
      await world.pass(2_000);
      assert.equal(source(again).reason, reason, JSON.stringify(stored));
      await stop(again);
    }
  });
});

describe("long tickets", () => {
  test("of a capsule are live as long as they last, also after a restart; a beacon's are refused", async () => {
    const { world, hosting, alice, publish, client, stop } = setting();
    const beacon = new Beacon(world, "https://one.example");
    const issuedAt = world.now - MINUTE;
    const week = { issuedAt, expiresAt: issuedAt + 7 * DAY, community: COMMUNITY };
    const stable = signTicket(newPeer({ peerId: "stable" }), week);
    const longer = signTicket(newPeer({ peerId: "longer" }), { ...week, expiresAt: week.expiresAt + 1 });
    const listed = signTicket(newPeer({ peerId: "listed" }), week);
    const peers = Array.from({ length: 300 }, (_, at) => `peer-${at}`);
    publish(alice, [stable, longer, ...peers], { issuedAt: world.now });
    const record = (ticket) => beacon.put(ticket);
    record(listed);
    const options = {
      beacons: [beacon.origin],
      capsules: [{ url: hosting.url, publicKey: alice.publicKey }],
    };
    const host = world.host();
    const ann = client(options, host);
    await ann.start();
    await world.pass(5_000);
    assert.ok(known(ann).includes("stable"), "among the newest 200 of 301");
    assert.deepEqual(source(ann, 1).refusedTickets, { LIFETIME_TOO_LONG: 1 });
    assert.deepEqual(source(ann).refusedTickets, { LIFETIME_TOO_LONG: 1 });
    await stop(ann);

    hosting.files = undefined;
    beacon.records.clear();
    // It has come from a capsule, which does not make a beacon's good.
    record(stable);
    record(listed);
    for (const [days, state] of [
      [6, "live"],
      [0.9, "live"],
      [0.5, "recentlySeen"],
    ]) {
      world.sleep(days * DAY);
      const again = client(options, world.host({ store: host.store }));
      await again.start();
      await world.pass(5_000);
      assert.deepEqual([state, idsOf(again.peers()[state])], [state, ["stable"]]);
      const { LIFETIME_TOO_LONG } = source(again).refusedTickets;
      assert.equal(LIFETIME_TOO_LONG, state === "live" ? 2 : undefined);
      assert.equal(again.peers().live.length + again.peers().recentlySeen.length, 1);
      await stop(again);
    }
  });
});

test("a fuzz of roots, signatures files, revocations and what is stored: nothing but a Refusal, and nothing good in it", () => {
  const random = seeded(20_250_101);
  const pick = (items) => items[Math.floor(random() * items.length)];
  const { rootOf, keys } = setting();
  const root = rootOf(1);
  const revoked = JSON.stringify({ ticketKeys: [keys[0].publicKey], publisherKeys: [], beacons: ["https://a.example"] });
  const mangle = (text) => {
    const at = Math.floor(random() * text.length);
    const end = at + Math.floor(random() * 20);
    return pick([
      () => text.slice(0, at),
      () => text.slice(0, at) + text.slice(end),
      () => text.slice(0, at) + pick(["\0", "{", "]", '"', "-1", "1e9", "null", "\n", " ", ",", "é", "\ud800"]) + text.slice(at),
      () => text.slice(0, at) + text.slice(at, end).repeat(pick([2, 3, 500])) + text.slice(end),
      () => text.replace(/\d+/, () => pick(["0", "-0", "1.0", "9007199254740992", "[]"])),
      () => text.replace(/"[^"]*"/, () => pick(["null", "{}", '"\\u0000"', '"__proto__"', "[[]]"])),
      () => `${text}${text}`,
      () => text,
    ])();
  };
  const outcomes = { read: 0, refused: 0 };
  const attempt = (read) => {
    try {
      outcomes[read() === undefined ? "refused" : "read"]++;
    } catch (error) {
      assert.ok(error instanceof internals.Refusal, String(error?.stack));
      outcomes.refused++;
    }
  };
  const lines = signaturesOf(keys, root);
  for (let round = 0; round < 5_000; round++) {
    attempt(() => internals.readRoot(internals.utf8(mangle(mangle(root)))));
    attempt(() => internals.readSignatures(internals.utf8(mangle(mangle(lines)))));
    attempt(() => internals.readRevoked(internals.readObject(internals.utf8(mangle(mangle(revoked))))));
    attempt(() => internals.readRoot(Uint8Array.from({ length: 50 }, () => Math.floor(random() * 256))));
    const memory = internals.readMemory(pick([random(), mangle(revoked), [random()], { beacons: [mangle("https://a.example")] }, null]));
    assert.ok(Number.isSafeInteger(memory.issuedAt) && Array.isArray(memory.beacons));
  }
  assert.ok(outcomes.read > 500 && outcomes.refused > 10_000, JSON.stringify(outcomes));
});
