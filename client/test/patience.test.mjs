// What an application's functions, a browser's storage, or a network never settle keeps nothing waiting for ever: `start()`
// and `add()` settle in time, `ticket()` too, and `stop()` always does.

import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { after, describe, test } from "node:test";
import { Rendezvous, abortable } from "../build/internals.js";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { Beacon, StaticHost, World, memory, signCapsule } from "./world.mjs";

const COMMUNITY = "my-app";
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

const never = () => new Promise(() => {});
const ticketOf = (world, peer, fields) => signTicket(peer, { issuedAt: world.now, community: COMMUNITY, ...fields });

/** A key of the application's own. */
function newSigner() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    publicKey: new Uint8Array(Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url")),
    sign: (message) => new Uint8Array(sign(null, message, privateKey)),
  };
}

/** Ann, a beacon that lists Bob, and a place to change before she starts. */
function setting(options) {
  const world = new World();
  const beacon = new Beacon(world, "https://one.example");
  beacon.put(ticketOf(world, newPeer({ peerId: "bob" })));
  const place = world.host({ store: memory() });
  const begin = (more) =>
    new Rendezvous({ community: COMMUNITY, peerId: "ann", beacons: [beacon.origin], ...options, ...more }, place);
  return { world, beacon, place, begin };
}

/** Lets time pass, and tells whether the promise has settled by then. */
async function settles(world, promise, ms) {
  let outcome = "is pending";
  promise.then(
    () => (outcome = "settled"),
    (error) => (outcome = String(error)),
  );
  await world.pass(ms);
  return outcome;
}

const live = (ann) => ann.peers().live.map(({ peerId }) => peerId);

/** Nothing is left of it. */
async function stop(world, place, ann) {
  assert.equal(await settles(world, ann.stop(), 3_100), "settled");
  assert.equal(ann.status().running, false);
  assert.equal(world.timers, 0);
  assert.equal(place.listening, 0);
}

describe("stop()", () => {
  test("settles within three seconds, though a write, a goodbye, or both never do", async () => {
    for (const hung of [["store"], ["fetch"], ["store", "fetch"]]) {
      const { world, place, begin } = setting();
      const ann = begin();
      await ann.start();
      await world.pass(1_000);
      assert.deepEqual(live(ann), ["bob"]);
      if (hung.includes("store")) place.store.update = never;
      // It ignores its signal, too.
      if (hung.includes("fetch")) place.fetch = never;
      ann.connected("bob");
      await stop(world, place, ann);
    }
  });

  test("settles while start() waits for a database that never opens, or a key that never comes, and ends that", async () => {
    for (const spoil of [
      (place) => (place.openStore = never),
      (place) => (place.store.update = never),
      (place) => (place.subtle = new Proxy(place.subtle, { get: () => never })),
    ]) {
      const { world, place, begin } = setting();
      spoil(place);
      const ann = begin();
      const started = ann.start();
      assert.equal(await settles(world, started, 60_000), "is pending");
      const [ticket, added] = [ann.ticket(), ann.add("{}")];
      await stop(world, place, ann);
      await started;
      assert.deepEqual([await ticket, await added], [undefined, "NOT_RUNNING"]);
      const abort = new AbortController();
      const again = ann.start({ signal: abort.signal });
      abort.abort(new Error("not now"));
      await assert.rejects(again, /not now/);
      await stop(world, place, ann);
      assert.deepEqual(place.requests, []);
    }
  });

  test("settles while the lock, the signer and every source hang", async () => {
    const { world, beacon, place, begin } = setting();
    for (const hang of [
      () => (place.lock = never),
      () => (beacon.answer = never),
      (signer) => (signer.sign = never),
    ]) {
      const signer = newSigner();
      hang(signer);
      const ann = begin({ identity: signer });
      await ann.start();
      await world.pass(7_000);
      await stop(world, place, ann);
    }
  });

  test("in the middle of what a listener is told, or a signer asked, leaves nothing behind, and nobody announced", async () => {
    for (const when of ["peers", "status", "change", "sign"]) {
      const { world, beacon, place, begin } = setting();
      const signer = newSigner();
      const { sign: really } = signer;
      const ann = begin({ identity: { ...signer, sign: (message) => (when === "sign" && void ann.stop(), really(message)) } });
      if (when !== "sign") ann.addEventListener(when, () => void ann.stop());
      await ann.start();
      await world.pass(10_000);
      assert.equal(ann.status().running, false, when);
      await stop(world, place, ann);
      const asked = place.requests.length;
      await world.pass(60_000);
      assert.equal(place.requests.length, asked, when);
      assert.equal(beacon.lists("ann"), false, when);
    }
  });

  test("by whom the peers of the last visit are offered to leaves no request behind", async () => {
    const { world, place, begin } = setting();
    const before = begin();
    await before.start();
    await world.pass(1_000);
    await stop(world, place, before);
    await world.pass(10_000);
    const asked = place.requests.length;
    const ann = begin();
    let offers = 0;
    ann.addEventListener("peers", () => {
      offers++;
      void ann.stop();
    });
    await ann.start();
    await world.pass(10_000);
    assert.equal(offers, 1);
    assert.equal(place.requests.length, asked);
    assert.equal(world.timers, 0);
  });
});

describe("a function of the application's that never settles", () => {
  test("to verify with: start() does without the last visit's peers, add() says TIMEOUT, and other sources are asked", async () => {
    const { world, place, begin } = setting();
    const before = begin();
    await before.start();
    await world.pass(1_000);
    await stop(world, place, before);
    const asked = place.requests.length;
    const ann = begin({ identity: { ...newSigner(), verify: never } });
    assert.equal(await settles(world, ann.start(), 6_000), "settled");
    assert.deepEqual(live(ann), []);
    assert.equal(place.requests.length, asked + 1);
    await world.pass(11_000);
    assert.deepEqual([ann.status().sources[0].reason, ann.status().announced], ["TIMEOUT", true]);
    const announces = () => place.requests.filter(({ url }) => url.includes("/announce")).length;
    const told = announces();
    await world.pass(30_000);
    assert.equal(announces(), told, "the beacon has said when, though its list was not verified");
    const added = ann.add(JSON.stringify(ticketOf(world, newPeer({ peerId: "cid" }))));
    await world.pass(5_000);
    assert.equal(await added, "TIMEOUT");
    const late = ann.add(JSON.stringify(ticketOf(world, newPeer({ peerId: "cid" }))));
    await stop(world, place, ann);
    assert.equal(await late, "NOT_RUNNING");
  });

  test("to sign with: there are lists all the same, ticket() rejects, and when it is back this page is announced", async () => {
    const { world, beacon, place, begin } = setting();
    const signer = newSigner();
    let isHung = true;
    const ann = begin({ identity: { ...signer, sign: (message) => (isHung ? never() : signer.sign(message)) } });
    await ann.start();
    await world.pass(7_000);
    assert.deepEqual(live(ann), ["bob"]);
    assert.equal(ann.status().sources[0].reason, "SIGN_FAILED");
    assert.equal(await settles(world, ann.ticket(), 5_000), "Refusal: TIMEOUT");
    isHung = false;
    // What hangs is given up when the ticket would be over.
    await world.pass(300_000);
    assert.equal(beacon.lists("ann"), true);
    assert.equal(JSON.parse(await ann.ticket()).payload.peerId, "ann");
    isHung = true;
    await world.pass(170_000);
    const late = ann.ticket();
    late.catch(() => {});
    await stop(world, place, ann);
    await assert.rejects(late, { name: "AbortError" });
  });
});

test("storage that hangs while a capsule is read is a TIMEOUT of that capsule, and keeps the beacons from nothing", async () => {
  const { world, place, begin } = setting();
  const publisher = newPeer();
  const hosting = new StaticHost(world, "https://static.example");
  hosting.files = signCapsule(publisher, {
    community: COMMUNITY,
    issuedAt: world.now,
    peers: [ticketOf(world, newPeer({ peerId: "cid" }))],
  });
  const ann = begin({ capsules: [{ url: hosting.url, publicKey: publisher.publicKey }] });
  const { update } = place.store;
  await ann.start();
  await world.pass(1_000);
  assert.deepEqual(live(ann).sort(), ["bob", "cid"]);
  place.store.update = (key, change) => (key.startsWith("capsule/") ? never() : update(key, change));
  await world.pass(110_000);
  const { state, reason } = ann.status().sources[1];
  assert.deepEqual([state, reason, ann.status().sources[0].state], ["failing", "TIMEOUT", "ok"]);
  await stop(world, place, ann);
});

test("what is waited for with a signal and a limit is given up by either, also by a signal that is aborted already", async () => {
  const world = new World();
  const { setTimer } = world.host();
  const limit = (expire) => setTimer(expire, 1_000);
  const abort = new AbortController();
  const counted = { added: 0, removed: 0 };
  const { signal } = abort;
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
  signal.addEventListener = (...args) => (counted.added++, add(...args));
  signal.removeEventListener = (...args) => (counted.removed++, remove(...args));
  assert.equal(await abortable(Promise.resolve(1), signal, limit), 1);
  assert.equal(await settles(world, abortable(never(), signal, limit), 1_000), "Refusal: TIMEOUT");
  const given = abortable(never(), signal, limit);
  abort.abort(new Error("not now"));
  await assert.rejects(given, /not now/);
  await assert.rejects(abortable(never(), signal), /not now/);
  assert.deepEqual([counted.added, counted.removed, world.timers], [4, 4, 0]);
});
