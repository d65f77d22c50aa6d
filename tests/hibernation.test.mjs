// Connections on the Worker while their object hibernates, what they keep for it, and what objects write. What any client
// sees: live.test.mjs and mailbox.test.mjs.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readConfiguration, startBeacon, startWorkerd, workerOptions } from "../tools/beacon.mjs";
import { buildWorker } from "../tools/build.mjs";
import { Guest, listen, present } from "./goop2.mjs";
import { ADDRESS_HEADER, announce, call, eventually, peerIds, peers } from "./http.mjs";
import { frameOf, openLive, upgradeRequest } from "./live.mjs";
import { Mailbox, RELAY } from "./mailbox.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const UNCACHED = { PEERS_MAX_AGE_SECONDS: "0", ANSWER_LIMIT: "200" };
const COMMUNITY = "mainnet";

/** An object that nothing has come to for so long hibernates. */
const HIBERNATES_AFTER_MS = 12_000;

/** The beacon with everything counted that happens to its objects. */
async function startCounted(vars) {
  const wrappers = ["counting.worker.mjs", "linear-memory.worker.mjs"].map((file) => ({
    type: "ESModule",
    path: fileURLToPath(new URL(`../bench/${file}`, import.meta.url)),
  }));
  const worker = await workerOptions(await buildWorker(), { ...UNCACHED, ...vars });
  const log = [];
  const { url, miniflare, stop } = await startWorkerd({
    ...worker,
    modules: [...wrappers, ...worker.modules],
    host: "127.0.0.1",
    port: 0,
    handleStructuredLogs: ({ message }) => void log.push(message),
  });
  const read = async () => (await call(url, "/counters")).json;
  const counts = async () => (await read()).communities[COMMUNITY];
  const mailboxCounts = async (object) => (await read()).mailboxes[object];
  const hibernate = async (className = "Community", object = COMMUNITY) => {
    const { name } = await readConfiguration();
    // An older runtime does it by itself, in its own time.
    if (miniflare.unsafeEvictDurableObject === undefined) return delay(HIBERNATES_AFTER_MS);
    await miniflare.unsafeEvictDurableObject(name, className, { name: object, webSockets: "hibernate" });
  };
  return { url, log, counts, mailboxCounts, hibernate, stop };
}

const address = (number) => `10.${Math.trunc(number / 200)}.${number % 200}.1`;

/** Opens so many sockets, with a peer on each that announces over it. */
async function openPeers(url, count) {
  const opened = Array.from({ length: count }, async (_, number) => {
    const live = await openLive(url, { address: address(number) });
    const peer = newPeer({ peerId: `peer-${String(number).padStart(3, "0")}` });
    assert.equal((await live.announce(signTicket(peer))).accepted, true);
    return { live, peer };
  });
  return Promise.all(opened);
}

test("a hundred peers on sockets cost no row and no alarm, and an object that hibernates loses none of them", async () => {
  const { url, log, counts, hibernate, stop } = await startCounted({});
  try {
    const started = performance.now();
    const all = await openPeers(url, 100);
    const names = all.map(({ peer }) => peer.peerId);
    const viewer = await openLive(url, { address: "10.9.0.1" });
    for (const { live } of all) await live.until(({ view }) => view.peerIds.length === 100);
    const before = await counts();
    const passedMs = performance.now() - started;
    // What a burst has left waits for a second, or for ten. Where they come slowly there are more bursts.
    assert.ok(before.waitedMs < Math.max(1_000, passedMs / 2), `the object was kept awake for ${before.waitedMs} ms of ${passedMs}`);
    assert.deepEqual([before.starts, before.rowsWritten, before.alarmsSet], [1, 0, 0]);
    // One for each peer, and those by which a frame is asked for that waits: at most one in a second.
    assert.ok(before.socketMessages >= 100 && before.socketMessages < 120 + passedMs / 1_000, `${before.socketMessages} messages`);

    await hibernate();
    viewer.send("ping");
    await viewer.until(({ messages }) => messages.includes("pong"));
    assert.equal((await counts()).starts, 1, "a ping is answered where the client is");
    assert.deepEqual(peerIds(await peers(url, { limit: 200 })).sort(), names);
    assert.equal((await counts()).starts, 2);

    await hibernate();
    const [{ live: first, peer: left }] = all;
    const goodbye = signTicket(left, { leave: true, issuedAt: Date.now() + 1 });
    assert.equal((await first.leave(goodbye)).left, true);
    await viewer.until(({ view }) => view.peerIds.join() === names.slice(1).join());
    assert.ok((await counts()).rowsWritten > 0, "a goodbye outlives hibernation");

    await hibernate();
    const late = newPeer({ peerId: "zoe" });
    await announce(url, signTicket(late), { address: "10.9.1.1" });
    for (const { live } of all) await live.until(({ view }) => view.peerIds.includes("zoe"));
    assert.deepEqual(viewer.view.peerIds, [...names.slice(1), "zoe"]);
    for (const { messages } of [viewer, ...all.map(({ live }) => live)]) {
      assert.equal(messages.filter(({ t }) => t === "snapshot").length, 1, "what came after the first list is what changed");
    }
    assert.equal((await counts()).starts, 4);

    // Where a position is from before a hibernation, what changed since is told, if nobody left meanwhile.
    const since = viewer.view.position;
    await viewer.close();
    await hibernate();
    const resumed = await openLive(url, { since, address: "10.9.0.1" });
    assert.equal(resumed.messages[1].t, "delta");
    await Promise.all([resumed, ...all.map(({ live }) => live)].map((live) => live.close()));
    await eventually(() => peers(url, { limit: 200 }), (reply) => reply.json.total === 100);
    await hibernate();
    assert.equal((await peers(url, { limit: 200 })).json.total, 100, "whose connection has ended is listed as long as its ticket says");
    assert.deepEqual(log.filter((line) => /"level":"error"|panicked/.test(line)), []);
  } finally {
    await stop();
  }
});

test("the last connection's peer is in storage when it has ended", async () => {
  const { url, counts, hibernate, stop } = await startCounted({});
  try {
    const [{ live }] = await openPeers(url, 1);
    assert.equal((await counts()).rowsWritten, 0);
    await live.close();
    await eventually(counts, ({ rowsWritten }) => rowsWritten > 0);
    await hibernate();
    assert.equal((await peers(url)).json.total, 1);
  } finally {
    await stop();
  }
});

/** Opens a connection by hand, for a client that does what no library would. */
async function openRaw(url, head) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(head);
  await once(socket, "data");
  return socket;
}

test("20,000 messages of one that ignores its end are thirty events of the object, and others announce meanwhile", async (t) => {
  const { url, counts, stop } = await startCounted({});
  try {
    let others = 0;
    /** How long announces of others take, one after the other. */
    const announceOthers = async (isEnough) => {
      const times = [];
      while (!isEnough(times.length)) {
        const started = performance.now();
        const { status } = await announce(url, signTicket(newPeer()), { address: address((others += 1)) });
        assert.equal(status, 200);
        times.push(performance.now() - started);
      }
      return times.sort((one, other) => one - other);
    };
    const quiet = await announceOthers((count) => count === 100);

    const socket = await openRaw(url, upgradeRequest(url, "/live", { [ADDRESS_HEADER]: "10.240.0.1" }));
    socket.resume();
    const frame = frameOf(JSON.stringify({ t: "announce", ticket: signTicket(newPeer()) }));
    const frames = Buffer.concat(Array.from({ length: 1_000 }, () => frame));
    const before = (await counts()).socketMessages;
    let hasEnded = false;
    const flood = (async () => {
      for (let sent = 0; sent < 20 && !socket.destroyed; sent += 1) {
        if (!socket.write(frames)) await Promise.race([once(socket, "drain"), once(socket, "close")]);
      }
      hasEnded = true;
    })();
    const flooded = await announceOthers((count) => hasEnded && count >= 100);
    await flood;
    socket.destroy();
    const p99 = (times) => times[Math.floor(0.99 * times.length)].toFixed(1);
    t.diagnostic(`p99 of an announce: ${p99(quiet)} ms, and ${p99(flooded)} ms of ${flooded.length} during the flood`);
    const events = (await counts()).socketMessages - before;
    assert.ok(events > 0 && events <= 30, `${events} events`);
  } finally {
    await stop();
  }
});

test("an event stream whose client is cut without a word is gone from its object within a minute", async () => {
  const { url, counts, stop } = await startCounted({});
  try {
    const head = `GET /live HTTP/1.1\r\nHost: ${new URL(url).host}\r\n${ADDRESS_HEADER}: 10.241.0.1\r\n\r\n`;
    const cut = await openRaw(url, head);
    const before = await counts();
    assert.deepEqual([before.objectRequests, before.socketsClosed], [1, 0]);
    cut.destroy();
    await eventually(counts, ({ socketsClosed }) => socketsClosed === 1);
  } finally {
    await stop();
  }
});

test("a mailbox's object hibernates while somebody listens, and writes a row for what changes and none for what is asked", async () => {
  const { url, log, mailboxCounts, hibernate, stop } = await startCounted({ EXTERNAL_URLS: RELAY });
  try {
    const slot = newPeer();
    const unknown = new Mailbox(url);
    const asked = [unknown.ask(""), unknown.collect(), unknown.deposit(unknown.message(slot, 1)), unknown.slot(slot)];
    for (const { status } of await Promise.all(asked)) assert.equal(status, 404);
    const { rowsWritten, alarmsSet } = await mailboxCounts(`v1:${unknown.address}`);
    assert.deepEqual({ rowsWritten, alarmsSet }, { rowsWritten: 0, alarmsSet: 0 });

    const mailbox = new Mailbox(url);
    const object = `v1:${mailbox.address}`;
    /** How many rows something writes, an alarm counted as one. */
    const rowsOf = async (work) => {
      const sum = async () => {
        const counts = await mailboxCounts(object);
        return counts.rowsWritten + counts.alarmsSet;
      };
      const before = await sum();
      const { status, text } = await work();
      assert.ok(status < 300, text);
      return (await sum()) - before;
    };
    assert.equal((await mailbox.put([slot])).status, 201);
    const reader = await mailbox.listen(mailbox.greeting(mailbox.reader));
    await reader.until({ event: "messages", pending: 0 });
    const { starts } = await mailboxCounts(object);
    await hibernate("Mailbox", object);
    assert.equal((await mailbox.deposit(mailbox.message(slot, 1))).status, 201);
    await reader.until({ event: "messages", pending: 1 });
    assert.equal((await mailboxCounts(object)).starts, starts + 1);

    assert.equal(await rowsOf(() => mailbox.deposit(mailbox.message(slot, 2))), 1);
    assert.equal(await rowsOf(() => mailbox.slot(slot)), 0);
    assert.equal(await rowsOf(() => mailbox.collect()), 2, "the first of a day says so");
    assert.equal(await rowsOf(() => mailbox.collect()), 0, "another has them");
    assert.equal(await rowsOf(() => mailbox.acknowledge([mailbox.ack(slot, 2)])), 3);
    assert.equal(await rowsOf(() => mailbox.collect()), 0);
    await reader.close();
    assert.deepEqual(log.filter((line) => /"level":"error"|panicked/.test(line)), []);
  } finally {
    await stop();
  }
});

test("an object that hibernates while no guest of goop2's is there has who listens to them, and writes nothing", async () => {
  const { url, log, counts, hibernate, stop } = await startCounted({ GOOP2_COMMUNITIES: COMMUNITY });
  try {
    const door = `${url}/goop2/${COMMUNITY}`;
    const [guest, other] = ["198.51.100.1", "198.51.102.1"].map((address) => new Guest(door, { address }));
    const listener = await listen(door, "198.51.101.1");
    const viewer = await openLive(url, { guests: "1", address: "10.9.0.1" });
    const isTold = (...peers) =>
      viewer.until(({ messages }) => {
        const told = messages.findLast(({ t }) => t === "guests")?.guests.map(({ peerId, content }) => `${peerId} ${content}`);
        return told?.join() === peers.join();
      });
    await isTold();
    await hibernate();
    assert.equal(await guest.publish(), 204);
    await guest.open();
    await listener.until((messages) => present(messages).size === 1);
    await isTold(`${guest.peerId} hello`);

    guest.send(guest.message("update", { content: "still here" }));
    await guest.until((messages) => messages.some(({ content }) => content === "still here"));
    await listener.until((messages) => messages.at(-1).content === "still here");
    await isTold(`${guest.peerId} still here`);
    assert.ok(!listener.messages.some(({ type }) => type === "offline"));
    assert.deepEqual((await call(door, "/peers.json")).json.map(({ ws_connected }) => ws_connected), [true]);

    guest.socket.close();
    await listener.until((messages) => present(messages).size === 0);
    await isTold();
    await hibernate();
    assert.equal(await other.publish(), 204);
    await listener.until((messages) => present(messages).has(other.peerId));
    await isTold(`${other.peerId} hello`);
    const { starts, rowsWritten, alarmsSet } = await counts();
    assert.deepEqual({ starts, rowsWritten, alarmsSet }, { starts: 3, rowsWritten: 0, alarmsSet: 0 });
    await Promise.all([listener.end(), viewer.close()]);
    assert.deepEqual(log.filter((line) => /"level":"error"|panicked/.test(line)), []);
  } finally {
    await stop();
  }
});

test("a panic ends the connections of the isolate, and loses nobody", async () => {
  const buildDir = await buildWorker({ outDir: "target/worker-fault-injection", features: ["fault-injection"] });
  const beacon = await startBeacon({ buildDir, vars: UNCACHED });
  try {
    const { url } = beacon;
    const all = await openPeers(url, 20);
    assert.equal((await call(url, "/panic?in=object")).status, 500);
    assert.equal((await peers(url, { limit: 200 })).json.total, 20);
    for (const { live } of all) live.send("ping");
    for (const { live } of all) assert.deepEqual(await live.closed, { code: 1011, reason: "INTERNAL" });
    assert.equal((await peers(url, { limit: 200 })).json.total, 20);
    const back = await openLive(url, { address: "10.9.0.1" });
    assert.equal(back.view.peerIds.length, 20);
    await back.close();
  } finally {
    await beacon.stop();
  }
});
