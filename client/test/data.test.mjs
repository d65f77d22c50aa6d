// What a peer says of itself, and how beacons hear that it has changed.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Rendezvous, parseTicket, readJson } from "../build/internals.js";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { Beacon, World } from "./world.mjs";

const COMMUNITY = "my-app";
const MINUTE = 60_000;
/** How long a beacon makes a claim wait for its next ticket. */
const INTERVAL = 45_000;
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

/** Ann, with beacons. */
function setting({ count = 1, version, ...options } = {}) {
  const world = new World();
  const beacons = Array.from({ length: count }, (_, at) => new Beacon(world, `https://${at}.example`, { version }));
  const host = world.host();
  const origins = beacons.map(({ origin }) => origin);
  const ann = new Rendezvous({ community: COMMUNITY, peerId: "ann", beacons: origins, ...options }, host);
  const stop = async () => {
    void ann.stop();
    await world.pass(5_000);
    assert.equal(world.timers, 0);
  };
  return { world, beacons, host, ann, stop };
}

const said = (beacon) => {
  const { userId, data } = beacon.record("ann").ticket.payload;
  return [userId, data];
};
const announces = ({ log }) => log.filter(({ path }) => path === "/announce");
/** Of a beacon that asks for an announce only after 70 s. */
const leisurely = (answer) => ({ ...answer, announceAfterMs: 70_000 });
const refusals = ({ log }) => log.flatMap(({ code }) => code ?? []);

describe("what a peer says of itself", () => {
  test("is signed, reaches others, and is not in the goodbye", async () => {
    const data = 'state="away";/ip4/192.0.2.7 ☂';
    const { world, beacons, host, ann, stop } = setting({ data });
    const [beacon] = beacons;
    const sent = [];
    const { fetch } = host;
    host.fetch = (url, init) => {
      if (url.includes("/leave")) sent.push(JSON.parse(init.body).ticket.payload);
      return fetch(url, init);
    };
    const bob = new Rendezvous({ community: COMMUNITY, peerId: "bob", beacons: [beacon.origin] }, world.host());
    await ann.start();
    await world.pass(1_000);
    await bob.start();
    await world.pass(1_000);
    assert.deepEqual(said(beacon), ["ann", data]);
    assert.deepEqual(bob.peers().live.map((peer) => [peer.peerId, peer.data]), [["ann", data]]);
    const handed = parseTicket(readJson(await ann.ticket()));
    assert.equal(handed.data, data);
    await world.pass(20_000);
    assert.deepEqual(ann.peers().live.map((peer) => [peer.peerId, peer.data]), [["bob", undefined]]);
    void bob.stop();
    await stop();
    assert.deepEqual(sent.map((goodbye) => [goodbye.leave, "data" in goodbye]), [[true, false]]);
    assert.deepEqual(refusals(beacon), []);
  });

  test("outlives the page with the peer, in the ticket", async () => {
    const { world, beacons, host, ann, stop } = setting();
    const bob = newPeer({ peerId: "bob" });
    beacons[0].put(signTicket(bob, { issuedAt: world.now, community: COMMUNITY, data: "here" }));
    await ann.start();
    await world.pass(1_000);
    await stop();
    const later = new Rendezvous(
      { community: COMMUNITY, peerId: "ann", beacons: ["https://nowhere.example"] },
      world.host({ store: host.store }),
    );
    await later.start();
    assert.deepEqual(later.peers().live.map((peer) => [peer.peerId, peer.data]), [["bob", "here"]]);
    void later.stop();
    await world.pass(5_000);
  });

  test("is 1 to 512 bytes of UTF-8 without control characters, or an error names it and nothing changes", async () => {
    const good = { community: COMMUNITY, peerId: "ann", beacons: ["https://0.example"] };
    for (const data of ["x", "é".repeat(256), "𝄞".repeat(128), " ", "\u202e\ufeff"]) {
      new Rendezvous({ ...good, data });
      new Rendezvous(good).update({ data });
    }
    for (const data of ["", "x".repeat(513), "é".repeat(257), "\n", "\u007f", "\u009f", "\ud800", 1, null, {}]) {
      const error = { name: "TypeError", message: "data must be 1 to 512 bytes" };
      assert.throws(() => new Rendezvous({ ...good, data }), error);
      assert.throws(() => new Rendezvous(good).update({ data }), error);
    }
    const { world, beacons, ann, stop } = setting({ userId: "Ann", data: "one" });
    await ann.start();
    await world.pass(1_000);
    assert.throws(() => ann.update({ userId: "\n", data: "two" }), { message: "userId must be 1 to 128 bytes" });
    await world.pass(2 * MINUTE);
    assert.deepEqual(said(beacons[0]), ["Ann", "one"]);
    await stop();
  });

  test("is refused by a beacon of version 0.1.0, and the list is read all the same", async () => {
    const { world, beacons, ann, stop } = setting({ version: "0.1.0", data: "x" });
    beacons[0].put(signTicket(newPeer({ peerId: "bob" }), { issuedAt: world.now, community: COMMUNITY }));
    await ann.start();
    await world.pass(1_000);
    assert.deepEqual([ann.status().sources[0].reason, ann.status().announced], ["MALFORMED", false]);
    assert.deepEqual(ann.peers().live.map(({ peerId }) => peerId), ["bob"]);
    await stop();
  });
});

describe("an update", () => {
  test("is announced when every beacon takes another ticket, the last of several, and no beacon refuses one", async () => {
    const { world, beacons, ann, stop } = setting({ count: 2, userId: "Ann", data: "one" });
    await ann.start();
    await world.pass(10_000);
    for (const data of ["two", "three", "four"]) {
      ann.update({ data });
      await world.pass(1_000);
    }
    for (const beacon of beacons) assert.deepEqual([said(beacon), announces(beacon).length], [["Ann", "one"], 1]);
    const [first] = announces(beacons[0]);
    await world.pass(first.at + INTERVAL + 2_000 - world.elapsed);
    for (const beacon of beacons) {
      assert.deepEqual([said(beacon), announces(beacon).length], [["Ann", "four"], 2]);
      const [one, two] = announces(beacon);
      assert.ok(two.at - one.at >= INTERVAL, `${two.at - one.at} ms`);
    }
    // What it does not name stays; undefined is as if it had never been given.
    ann.update({ userId: "Anna" });
    await world.pass(INTERVAL + 2_000);
    assert.deepEqual(said(beacons[0]), ["Anna", "four"]);
    ann.update({ userId: undefined, data: undefined });
    await world.pass(INTERVAL + 2_000);
    assert.deepEqual(said(beacons[1]), ["ann", undefined]);
    for (const beacon of beacons) assert.deepEqual(refusals(beacon), []);
    await stop();
  });

  test("is announced at once where the beacon has waited long enough, and with the first ticket before the start", async () => {
    const { world, beacons, ann, stop } = setting({ data: "one" });
    const [beacon] = beacons;
    beacon.lies = leisurely;
    ann.update({ data: "two" });
    assert.equal(world.timers, 0, "nothing runs before the start");
    await ann.start();
    await world.pass(1_000);
    assert.deepEqual(said(beacon), ["ann", "two"]);
    await world.pass(announces(beacon)[0].at + INTERVAL + 1_000 - world.elapsed);
    assert.equal(announces(beacon).length, 1);
    ann.update({ data: "three" });
    await world.pass(500);
    assert.deepEqual([said(beacon), announces(beacon).length], [["ann", "three"], 2]);
    await stop();
    ann.update({ data: "four" });
    await ann.start();
    await world.pass(MINUTE);
    assert.deepEqual(said(beacon), ["ann", "four"]);
    await stop();
  });

  test("that says the same changes nothing, and neither does one of the peerId or the community", async () => {
    const { world, beacons, ann, stop } = setting({ userId: "Ann", data: "one" });
    const [beacon] = beacons;
    beacon.lies = leisurely;
    await ann.start();
    await world.pass(1_000);
    ann.update({ data: "one", userId: "Ann" });
    ann.update({});
    ann.update({ peerId: "eve", community: "other" });
    await world.pass(INTERVAL + 15_000);
    assert.equal(announces(beacon).length, 1);
    await world.pass(2 * MINUTE);
    assert.deepEqual(said(beacon), ["Ann", "one"]);
    assert.deepEqual([...beacon.records.values()].map(({ ticket }) => ticket.payload.peerId), ["ann"]);
    await stop();
  });

  test("that comes while an announce is on its way follows it", async () => {
    const { world, beacons, host, ann, stop } = setting({ data: "one" });
    const [beacon] = beacons;
    const { fetch } = host;
    host.fetch = async (...request) => {
      const answer = await fetch(...request);
      await new Promise((resolve) => world.setTimer(resolve, 1_000));
      return answer;
    };
    await ann.start();
    await world.pass(500);
    assert.deepEqual(said(beacon), ["ann", "one"]);
    ann.update({ data: "two" });
    await world.pass(INTERVAL + 5_000);
    assert.deepEqual(said(beacon), ["ann", "two"]);
    assert.deepEqual(refusals(beacon), []);
    await stop();
  });

  test("asks no beacon sooner that fails or has said when, however often it comes", async () => {
    const { world, beacons, host, ann, stop } = setting({ count: 2, data: "0" });
    const [fails, slow] = beacons;
    slow.intervalMs = 100_000;
    await ann.start();
    await world.pass(1_000);
    fails.down = true;
    const asked = (beacon) => host.requests.filter(({ url }) => url.startsWith(beacon.origin)).length;
    const before = [asked(fails), asked(slow)];
    for (let second = 1; second <= 90; second++) {
      ann.update({ data: String(second) });
      await world.pass(1_000);
    }
    const most = asked(fails) - before[0];
    assert.ok(most >= 1 && most <= 9, `${most} requests to a beacon that fails`);
    // Its list is looked at while there are too few peers.
    const tooSoon = refusals(slow).length;
    assert.ok(tooSoon <= 2, `${tooSoon} announces too soon`);
    assert.ok(asked(slow) - before[1] <= 8, `${asked(slow) - before[1]} requests`);
    await world.pass(30_000);
    assert.deepEqual(said(slow), ["ann", "90"]);
    fails.down = false;
    await world.pass(MINUTE);
    assert.deepEqual(said(fails), ["ann", "90"]);
    await stop();
  });
});
