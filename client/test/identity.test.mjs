// Who a page is, whatever becomes of its storage, and what it says when something cannot be had.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as entry from "rendezvous-beacon";
import { Rendezvous, defaultHost, memoryStore, openStore } from "../build/internals.js";
import { Beacon, World } from "./world.mjs";

const COMMUNITY = "my-app";

/** As much of IndexedDB as is used, which can be closed, filled and cut off. */
class FakeFactory {
  values = new Map();
  connections = [];
  opened = 0;
  isRefused = false;
  isFull = false;

  open() {
    this.opened++;
    const request = {};
    setImmediate(() => {
      if (this.isRefused) return request.onerror?.();
      request.result = this.#connection();
      request.onsuccess?.();
    });
    return request;
  }

  #connection() {
    let isClosed = false;
    const connection = {
      close: () => (isClosed = true),
      transaction: () => {
        if (isClosed) throw new DOMException("closed", "InvalidStateError");
        const transaction = { abort: () => (isAborted = true) };
        let isAborted = false;
        const table = {
          get: (key) => {
            const read = {};
            setImmediate(() => {
              read.result = this.values.get(key);
              read.onsuccess();
              setImmediate(() => (isAborted || this.isFull ? transaction.onabort() : transaction.oncomplete()));
            });
            return read;
          },
          put: (value, key) => void (this.isFull || this.values.set(key, value)),
        };
        return Object.assign(transaction, { objectStore: () => table });
      },
    };
    this.connections.push(connection);
    return connection;
  }
}

/** The key that a client announces with, in a place of its own. */
async function keyOf(world, beacon, rendezvous) {
  await rendezvous.start();
  await world.pass(1_000);
  assert.equal(rendezvous.publicKey, beacon.record("ann").ticket.publicKey);
  void rendezvous.stop();
  await world.pass(5_000);
  return rendezvous.publicKey;
}

const setting = () => {
  const world = new World();
  const beacon = new Beacon(world, "https://one.example");
  const begin = (store, more) =>
    new Rendezvous({ community: COMMUNITY, peerId: "ann", beacons: [beacon.origin], ...more }, world.host({ store }));
  return { world, beacon, begin };
};

test("a database that is closed under the page is opened again; one that cannot be is remembered", async () => {
  const factory = new FakeFactory();
  const store = await openStore(() => factory);
  await store.update("a", () => 1);
  factory.connections[0].close();
  assert.equal(await store.update("a", () => undefined), 1);
  assert.equal(factory.opened, 2);
  assert.equal(await store.update("a", (value) => value + 1), 2);
  assert.equal(factory.values.get("a"), 2);
  factory.connections[1].close();
  factory.isRefused = true;
  assert.equal(await store.update("a", (value) => value + 1), 3);
  assert.equal(await store.update("a", () => undefined), 3);
  assert.equal(factory.values.get("a"), 2);
});

test("a database that is full, absent, or an error to ask for is as good as memory", async () => {
  const full = new FakeFactory();
  full.isFull = true;
  const forbidden = () => {
    throw new DOMException("no cookies", "SecurityError");
  };
  for (const getFactory of [() => full, () => undefined, forbidden]) {
    const store = await openStore(getFactory);
    assert.equal(await store.update("a", () => 1), 1);
    assert.equal(await store.update("a", (value) => value + 1), 2);
  }
});

test("a browser whose getters throw, as Firefox without cookies, is a place to run in", async () => {
  const forbidden = {
    configurable: true,
    get() {
      throw new DOMException("no cookies", "SecurityError");
    },
  };
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "indexedDB", forbidden);
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: Object.defineProperty({}, "locks", forbidden),
  });
  try {
    const host = defaultHost();
    const store = await host.openStore();
    assert.equal(await store.update("a", () => 1), 1);
    const lock = await host.lock("name", new AbortController().signal);
    assert.equal(await lock.hasHeir(), false);
    lock.release();
  } finally {
    delete globalThis.indexedDB;
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else delete globalThis.navigator;
  }
});

test("the key is the same after stop() and start(), though the storage has been closed or emptied meanwhile", async () => {
  for (const spoil of [
    (factory) => factory.connections.forEach((connection) => connection.close()),
    (factory) => factory.values.clear(),
    (factory) => {
      factory.connections.forEach((connection) => connection.close());
      factory.isRefused = true;
    },
  ]) {
    const { world, beacon, begin } = setting();
    const factory = new FakeFactory();
    const ann = begin(await openStore(() => factory));
    const first = await keyOf(world, beacon, ann);
    spoil(factory);
    await world.pass(60_000);
    assert.equal(await keyOf(world, beacon, ann), first);
  }
});

test("a record of a key that is damaged is replaced, once", async () => {
  const { subtle } = crypto;
  const pair = () => subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const [one, other] = await Promise.all([pair(), pair()]);
  const rsa = await subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
  for (const damaged of [
    null,
    0,
    "x",
    {},
    { privateKey: 1, publicKey: 2 },
    { privateKey: one.privateKey },
    { privateKey: one.publicKey, publicKey: one.privateKey },
    { privateKey: one.privateKey, publicKey: other.publicKey },
    rsa,
  ]) {
    const { world, beacon, begin } = setting();
    const store = memoryStore();
    await store.update("identity", () => damaged);
    const first = await keyOf(world, beacon, begin(store));
    await world.pass(60_000);
    assert.equal(await keyOf(world, beacon, begin(store)), first);
  }
});

test("a peerId that is not there yet says where PeerJS's comes from", () => {
  for (const peerId of [null, undefined])
    assert.throws(() => new Rendezvous({ community: COMMUNITY, peerId, beacons: ["https://one.example"] }), {
      name: "TypeError",
      message: "peerId must be given: PeerJS has none before its event `open`",
    });
});

test("every reason has an explanation, also a code of a later version, and what is no code is none", async () => {
  const { world, beacon, begin } = setting();
  assert.match(entry.explain("ANNOUNCE_TOO_SOON"), /later/);
  assert.match(entry.explain("HTTP_503"), /status 503/);
  for (const [code, expected] of [
    ["THROTTLED", "THROTTLED"],
    ["OF_A_LATER_VERSION", "OF_A_LATER_VERSION"],
    ["toString", "HTTP_400"],
    ["HTTP_200", "HTTP_400"],
    [5, "HTTP_400"],
  ]) {
    world.serve(beacon.origin, () => [400, JSON.stringify({ ok: false, code, peers: [] })]);
    const ann = begin(memoryStore());
    await ann.start();
    await world.pass(1_000);
    const { reason } = ann.status().sources[0];
    assert.equal(reason, expected);
    assert.match(entry.explain(reason), /^[A-Z].*\.$/);
    void ann.stop();
    await world.pass(5_000);
  }
});
