// The built package against the real Worker in workerd, a real static host, and the README.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { describe, test } from "node:test";
import { Rendezvous as FromPackage } from "rendezvous-beacon";
import { Root } from "rendezvous-beacon/root";
import { Rendezvous, defaultHost, memoryStore } from "../build/internals.js";
import { startBeacon } from "../../tools/beacon.mjs";
import { announce, peerIds, peers } from "../../tests/http.mjs";
import { PATIENCE_MS } from "../../tests/patience.mjs";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { makeRoot, signCapsule, signaturesOf } from "./world.mjs";

/** Lists straight from the object, of every community. */
const VARS = { PEERS_MAX_AGE_SECONDS: "0", COMMUNITIES: "*" };

/** In less than this time nobody who has to wait for it is asked again. */
const SOON_MS = 45_000;

/** Resolves with the first event whose peers include `peerId`. */
function found(rendezvous, peerId) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`no ${peerId}: ${JSON.stringify(rendezvous.status(), null, 1)}`)),
      PATIENCE_MS,
    );
    rendezvous.addEventListener("peers", ({ detail }) => {
      const peer = [...detail.live, ...detail.recentlySeen].find((one) => one.peerId === peerId);
      if (!peer) return;
      clearTimeout(timer);
      resolve(peer);
    });
  });
}

async function serveCapsule(files) {
  const server = createServer(({ url }, response) => {
    response.setHeader("Access-Control-Allow-Origin", "*");
    const text = { ...files, "/peers.json": files.file, "/peers.json.sig": files.signature }[url];
    if (text === undefined) response.statusCode = 404;
    response.end(text);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}/peers.json`, close };
}

describe("with a real beacon", () => {
  test("two find each other; the beacon dies: a capsule; that dies too: the last visit", async () => {
    const community = "my-app";
    const beacon = await startBeacon({ vars: VARS });
    const publisher = newPeer();
    const store = memoryStore();
    const host = () => ({ ...defaultHost(), openStore: async () => store });
    let hosting;
    const clients = [];
    const begin = async (peerId, more, place) => {
      const rendezvous = new (place ? Rendezvous : FromPackage)(
        { community, peerId, beacons: [beacon.url], ...more },
        ...(place ? [place] : []),
      );
      clients.push(rendezvous);
      return rendezvous;
    };
    try {
      const ann = await begin("ann");
      const startedAt = performance.now();
      await ann.start();
      while (!ann.status().announced) await once(ann, "status");
      const bob = await begin("bob", { userId: "Zoë ☂" });
      const annSeen = found(bob, "ann");
      await bob.start();
      assert.equal((await annSeen).state, "live");
      const list = await peers(beacon.url, { community });
      assert.deepEqual(peerIds(list).sort(), ["ann", "bob"]);
      assert.deepEqual(
        list.json.peers.map(({ payload }) => payload.community),
        [community, community],
      );
      assert.equal(ann.status().sources[0].state, "ok");
      // Both have the same clock: an offset is no more than an answer took.
      assert.ok(Math.abs(ann.status().sources[0].clockOffsetMs) <= performance.now() - startedAt + 1_000);

      await ann.stop();
      assert.deepEqual(peerIds(await peers(beacon.url, { community })), ["bob"]);
      const returned = performance.now();
      await ann.start();
      while (!ann.status().announced) await once(ann, "status");
      assert.ok(performance.now() - returned < SOON_MS, "one that has left may come back at once");
      const back = await peers(beacon.url, { community });
      assert.deepEqual(peerIds(back).sort(), ["ann", "bob"]);
      assert.equal(ann.status().sources[0].state, "ok");

      const capsuleOf = list.json.peers;
      const cid = newPeer({ peerId: "cid" });
      hosting = await serveCapsule(
        signCapsule(publisher, {
          community,
          issuedAt: Date.now(),
          peers: [...capsuleOf, signTicket(cid, { community })],
        }),
      );
      await beacon.crash();
      const capsules = [{ url: hosting.url, publicKey: publisher.publicKey }];
      const dan = await begin("dan", { capsules }, host());
      const cidSeen = found(dan, "cid");
      const began = performance.now();
      await dan.start();
      const peer = await cidSeen;
      assert.ok(performance.now() - began < SOON_MS);
      assert.deepEqual([peer.state, peer.source, peer.publicKey], ["live", hosting.url, cid.publicKey]);
      while (dan.status().sources[0].state === "waiting") await once(dan, "status");
      assert.deepEqual(
        dan.status().sources.map(({ state }) => state),
        ["failing", "ok"],
      );
      dan.connected("cid");
      await dan.stop();

      hosting.close();
      const again = await begin("dan", { capsules }, host());
      const [cidAgain] = await Promise.all([found(again, "cid"), again.start()]);
      assert.equal(cidAgain.source, "cache");
      assert.equal(again.peers().live[0].peerId, "cid", "a connection to it worked");
    } finally {
      await Promise.all(clients.map((rendezvous) => rendezvous.stop()));
      hosting?.close();
      await beacon.stop();
    }
  });

  test("the built package follows a root, which is an entry point of its own", async () => {
    const community = "my-app";
    const [alice, bert, one, two] = Array.from({ length: 4 }, () => newPeer());
    const rootOf = (rootVersion, publishers) =>
      makeRoot({ community, rootVersion, expiresAt: Date.now() + 60_000, keys: [one, two], publishers });
    const cid = newPeer({ peerId: "cid" });
    const next = rootOf(2, [bert]);
    const files = signCapsule(bert, { community, issuedAt: Date.now(), peers: [signTicket(cid, { community })] });
    const hosting = await serveCapsule({
      ...files,
      "/2.root.json": next,
      "/2.root.json.sigs": signaturesOf([one, two], next),
    });
    const capsules = [{ url: hosting.url, root: new Root(rootOf(1, [alice])) }];
    const ann = new FromPackage({ community, peerId: "ann", capsules });
    try {
      const seen = found(ann, "cid");
      await ann.start();
      assert.equal((await seen).publicKey, cid.publicKey);
      assert.throws(() => new FromPackage({ community, peerId: "ann", capsules: [{ url: hosting.url, root: {} }] }), {
        message: /^capsules\[0\]\.root must be /,
      });
    } finally {
      await ann.stop();
      hosting.close();
    }
  });

  test("two keys for one name: both are listed, the one listed longer is handed out, and a proof is worth more", async () => {
    const community = "my-app";
    const beacon = await startBeacon({ vars: VARS });
    const [first, second, stranger] = ["bob", "bob", "ann"].map((peerId) => newPeer({ peerId }));
    const ann = new FromPackage({ community, peerId: "ann", beacons: [beacon.url] });
    const bobs = () => ann.peers().live.map(({ publicKey, contested }) => [publicKey, contested]);
    try {
      for (const peer of [first, second, stranger]) {
        const { json } = await announce(beacon.url, signTicket(peer, { community }), { community });
        assert.deepEqual([json.accepted, json.listed], [true, true]);
        // The next one is to be later, if only by a millisecond.
        while (Date.now() <= json.serverTime);
      }
      await ann.start();
      while (!ann.status().announced) await once(ann, "status");
      assert.deepEqual(bobs(), [[first.publicKey, true]]);
      assert.ok(ann.status().sources[0].refusedTickets.OWN_PEER_ID > 0);
      ann.connected("bob", second.publicKey);
      assert.deepEqual(bobs(), [[second.publicKey, true]]);
    } finally {
      await ann.stop();
      await beacon.stop();
    }
  });

  test("the README's lines for whoever connects by other means", async () => {
    const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
    const [, lines] = /```ts\n(import \{ Rendezvous \}[^`]*capsules[^`]*)```/.exec(readme);
    assert.ok(lines.trimEnd().split("\n").length <= 10);
    const publisher = newPeer();
    const bob = newPeer({ peerId: "bob" });
    const [beacon, hosting] = await Promise.all([
      startBeacon({ vars: VARS }),
      serveCapsule(signCapsule(publisher, { community: "my-app", issuedAt: Date.now(), peers: [signTicket(bob)] })),
    ]);
    // Only the names that stand for the reader's own are filled in; the second beacon stays one that does not exist.
    const code = lines
      .replace("https://beacon1.example", beacon.url)
      .replace("https://beacon2.example", "http://127.0.0.1:9")
      .replace("https://my-app.example/peers.json", hosting.url)
      .replace('"…"', JSON.stringify(publisher.publicKey));
    mkdirSync(new URL("../build/", import.meta.url), { recursive: true });
    const file = new URL("../build/readme.mjs", import.meta.url);
    writeFileSync(file, `const { peer, connect } = globalThis.application;\n${code}\nexport { rendezvous };\n`);
    const connected = new Promise((connect) => (globalThis.application = { peer: { id: "ann" }, connect }));
    const { rendezvous } = await import(file);
    try {
      assert.equal((await connected).peerId, "bob");
      while (!rendezvous.status().announced) await once(rendezvous, "status");
      assert.deepEqual(peerIds(await peers(beacon.url, { community: "my-app" })), ["ann"]);
    } finally {
      await rendezvous.stop();
      hosting.close();
      await beacon.stop();
    }
  });
});
