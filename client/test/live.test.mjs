// `rendezvous-beacon/live` against both hosts, and against beacons that do what no beacon should.

import assert from "node:assert/strict";
import { sign } from "node:crypto";
import { createServer, request } from "node:http";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Rendezvous as FromPackage } from "rendezvous-beacon";
import { live as liveFromPackage } from "rendezvous-beacon/live";
import { Rendezvous, defaultHost, live, waitAfterClose, waitAfterRefusal } from "../build/internals.js";
import { HOSTS, NATIVE } from "../../tests/hosts.mjs";
import { announce, call, eventually, peerIds, peers } from "../../tests/http.mjs";
import { openLive } from "../../tests/live.mjs";
import { PATIENCE_MS } from "../../tests/patience.mjs";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { seeded } from "./world.mjs";

const VARS = {
  PEERS_MAX_AGE_SECONDS: "0",
  ANSWER_LIMIT: "200",
  // By name: of one that anybody may invent the Worker stores nothing while all its peers are in one site.
  COMMUNITIES: ["lies", ...Array.from({ length: 40 }, (_, number) => `live-${number + 1}`)].join(),
  ANNOUNCE_INTERVAL_MS: "0",
  NETWORK_REQUESTS_PER_MINUTE: "6000",
  ADDRESS_REQUESTS_PER_MINUTE: "6000",
};
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

let communities = 0;
const newCommunity = () => `live-${(communities += 1)}`;
const idsOf = ({ live }) => live.map(({ peerId }) => peerId).sort();

/** Waits until a client is as expected, as an application would hear of it. */
async function until(rendezvous, isExpected) {
  const deadline = AbortSignal.timeout(PATIENCE_MS);
  while (!isExpected()) {
    assert.ok(!deadline.aborted, `still ${JSON.stringify([rendezvous.peers(), rendezvous.status()])}`);
    await new Promise((resolve) => {
      for (const type of ["change", "status"]) rendezvous.addEventListener(type, resolve, { once: true });
      deadline.addEventListener("abort", resolve, { once: true });
    });
  }
}

/** A client whose requests are noted, and its connections. */
function client(peerId, community, beacons, { liveOptions, random, ...options } = {}) {
  const requests = [];
  const own = { ...defaultHost(), ...(random && { random }) };
  const fetch = (url, init) => {
    requests.push(`${init.method ?? "GET"} ${new URL(url).pathname}`);
    return own.fetch(url, init);
  };
  const rendezvous = new Rendezvous({ community, peerId, beacons, ...options }, { ...own, fetch });
  const connections = live(rendezvous, liveOptions);
  const transports = () => connections.status().map(({ transport }) => transport);
  return { rendezvous, connections, requests, transports };
}

/** Passes everything on to a beacon but what is not to pass. Its own clients see one beacon that is at one place. */
async function startProxy(target, { status, upgrades = true } = {}) {
  const proxy = { target, status, upgrades, sockets: new Set() };
  const { hostname } = new URL(target);
  const server = createServer((from, to) => {
    if (from.url.startsWith("/live") && proxy.status) {
      to.writeHead(proxy.status, { "Access-Control-Allow-Origin": "*" }).end("{}");
      return;
    }
    const { port } = new URL(proxy.target);
    const onward = request({ hostname, port, path: from.url, method: from.method, headers: from.headers }, (answer) => {
      to.writeHead(answer.statusCode, answer.headers);
      answer.pipe(to);
    });
    onward.on("error", () => to.destroy());
    to.on("close", () => onward.destroy());
    from.pipe(onward);
  });
  server.on("upgrade", (from, socket, head) => {
    socket.on("error", () => {});
    if (proxy.status || !proxy.upgrades) return socket.destroy();
    const { port } = new URL(proxy.target);
    const onward = connect(Number(port), hostname);
    proxy.sockets.add(socket);
    socket.on("close", () => onward.destroy());
    onward.on("error", () => socket.destroy());
    onward.on("close", () => socket.destroy());
    const headers = from.rawHeaders.map((text, at) => (at % 2 ? `${text}\r\n` : `${text}: `)).join("");
    onward.write(`${from.method} ${from.url} HTTP/1.1\r\n${headers}\r\n`);
    onward.write(head);
    socket.pipe(onward).pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(proxy, {
    url: `http://127.0.0.1:${server.address().port}`,
    cut: () => proxy.sockets.forEach((socket) => socket.destroy()),
    stop() {
      server.close();
      server.closeAllConnections();
      proxy.cut();
    },
  });
}

for (const host of HOSTS) describe(host.name, () => {
  let beacon;
  before(async () => {
    beacon = await host.start({ vars: VARS });
  });
  after(() => beacon.stop());

  test("a peer that comes and one that goes are known at once, and nobody is asked", async (t) => {
    const community = newCommunity();
    const ann = client("ann", community, [beacon.url]);
    const bob = client("bob", community, [beacon.url]);
    await ann.rendezvous.start();
    await until(ann.rendezvous, () => ann.connections.status()[0].bound);
    const took = [];
    const timed = async (begin, isExpected) => {
      const from = performance.now();
      const [found] = await Promise.all([until(ann.rendezvous, isExpected), begin()]);
      took.push(Math.round(performance.now() - from));
      return found;
    };
    await timed(() => bob.rendezvous.start(), () => idsOf(ann.rendezvous.peers()).join() === "bob");
    await until(bob.rendezvous, () => idsOf(bob.rendezvous.peers()).join() === "ann");
    assert.deepEqual([ann.transports(), bob.transports()], [["socket"], ["socket"]]);
    await until(bob.rendezvous, () => bob.rendezvous.status().announced);
    await timed(() => bob.rendezvous.stop(), () => idsOf(ann.rendezvous.peers()).length === 0);
    assert.deepEqual(peerIds(await peers(beacon.url, { community })), ["ann"]);
    t.diagnostic(`known after ${took[0]} ms (with the opening of its socket), gone after ${took[1]} ms`);
    // Sooner than by asking: who may ask again after 45 s.
    assert.ok(took.every((ms) => ms < 45_000), `${took}`);
    await ann.rendezvous.stop();
    assert.deepEqual(peerIds(await peers(beacon.url, { community })), []);
    for (const { requests, transports } of [ann, bob]) {
      assert.deepEqual(requests, [], "all went over the sockets");
      assert.deepEqual(transports(), ["polling"]);
    }
    // Back again, on a socket of its own.
    await bob.rendezvous.start();
    await until(bob.rendezvous, () => bob.connections.status()[0].bound);
    await bob.rendezvous.stop();
    assert.deepEqual(bob.requests, []);
  });

  test("the built package does the same, without and with what it is not to be", async () => {
    const community = newCommunity();
    const clients = ["ann", "bob"].map((peerId) => new FromPackage({ community, peerId, beacons: [beacon.url] }));
    const [ann, bob] = clients;
    liveFromPackage(ann);
    const carried = liveFromPackage(bob, { WebSocket: null });
    await Promise.all(clients.map((rendezvous) => rendezvous.start()));
    await until(ann, () => idsOf(ann.peers()).join() === "bob");
    await until(bob, () => idsOf(bob.peers()).join() === "ann");
    await until(bob, () => carried.status()[0].transport === "stream");
    await Promise.all(clients.map((rendezvous) => rendezvous.stop()));
  });

  test("what a viewer holds is what the list has, after any history, over a socket, over a stream, and with breaks", async () => {
    const community = newCommunity();
    const random = seeded(15);
    const proxy = await startProxy(beacon.url);
    const viewers = [
      { url: beacon.url },
      { url: beacon.url, liveOptions: { WebSocket: null } },
      // It breaks in every round, and is opened again after the shortest wait.
      { url: proxy.url, random: () => 0 },
    ].map(({ url, ...options }, at) => client(`viewer-${at}`, community, [url], options));
    try {
      for (const { rendezvous } of viewers) await rendezvous.start();
      for (const { rendezvous } of viewers) await until(rendezvous, () => rendezvous.status().announced);
      const crowd = Array.from({ length: 12 }, (_, at) => newPeer({ peerId: `peer-${at % 9}` }));
      let issuedAt = Date.now() - 5_000;
      for (let round = 0; round < 6; round += 1) {
        for (let change = 0; change < 8; change += 1) {
          const peer = crowd[Math.floor(random() * crowd.length)];
          const leave = random() < 0.4;
          const ticket = signTicket(peer, { community, issuedAt: (issuedAt += 1), ...(leave && { leave }) });
          const { json } = await call(beacon.url, leave ? "/leave" : "/announce", { json: { ticket, community } });
          assert.equal(json.ok, true, json.code);
          if (change === 4) proxy.cut();
        }
        const claims = (list) => list.map(({ peerId, publicKey }) => `${peerId} ${publicKey}`).sort();
        const listed = (await peers(beacon.url, { community, limit: 200 })).json.peers.map(({ publicKey, payload: { peerId } }) => ({ peerId, publicKey }));
        for (const { rendezvous } of viewers) {
          const expected = claims(listed.filter(({ publicKey }) => publicKey !== rendezvous.publicKey));
          const held = () =>
            claims(rendezvous.peers().live.flatMap(({ peerId, publicKey, otherKeys }) => [publicKey, ...otherKeys].map((key) => ({ peerId, publicKey: key }))));
          await until(rendezvous, () => held().join() === expected.join());
        }
        // One comes back in the midst of it.
        if (round === 3) {
          await viewers[0].rendezvous.stop();
          await viewers[0].rendezvous.start();
          await until(viewers[0].rendezvous, () => viewers[0].rendezvous.status().announced);
        }
      }
    } finally {
      await Promise.all(viewers.map(({ rendezvous }) => rendezvous.stop()));
      proxy.stop();
    }
  });

  test("where there is none, it is asked as before; and over a stream where no socket passes", async () => {
    const community = newCommunity();
    const [without, streaming] = await Promise.all([startProxy(beacon.url, { status: 404 }), startProxy(beacon.url, { upgrades: false })]);
    const ann = client("ann", community, [without.url]);
    const bob = client("bob", community, [streaming.url]);
    try {
      await ann.rendezvous.start();
      await until(ann.rendezvous, () => ann.rendezvous.status().announced);
      assert.deepEqual(ann.connections.status(), [{ url: without.url, transport: "polling", bound: false, reason: "NOT_FOUND" }]);
      assert.deepEqual(ann.requests, ["GET /live", "POST /announce"]);
      await bob.rendezvous.start();
      await until(bob.rendezvous, () => idsOf(bob.rendezvous.peers()).join() === "ann" && bob.transports()[0] === "stream");
      await announce(beacon.url, signTicket(newPeer({ peerId: "cid" }), { community }), { community });
      await until(bob.rendezvous, () => idsOf(bob.rendezvous.peers()).join() === "ann,cid");
      assert.deepEqual(bob.requests, ["GET /live", "POST /announce"]);
    } finally {
      await Promise.all([ann.rendezvous.stop(), bob.rendezvous.stop()]);
      without.stop();
      streaming.stop();
    }
    assert.deepEqual(ann.requests.at(-1), "POST /leave");
    assert.deepEqual(peerIds(await peers(beacon.url, { community })), ["cid"]);
  });

  test("a connection that breaks goes on where it was", async () => {
    const community = newCommunity();
    const proxy = await startProxy(beacon.url);
    const opened = [];
    class Counted extends WebSocket {
      constructor(url) {
        super(url);
        opened.push(new URL(url).searchParams.get("since"));
      }
    }
    const ann = client("ann", community, [proxy.url], { liveOptions: { WebSocket: Counted } });
    try {
      await ann.rendezvous.start();
      await announce(beacon.url, signTicket(newPeer({ peerId: "bob" }), { community }), { community });
      await until(ann.rendezvous, () => ann.connections.status()[0].bound && idsOf(ann.rendezvous.peers()).join() === "bob");
      proxy.cut();
      await until(ann.rendezvous, () => ann.transports()[0] === "polling");
      assert.equal(ann.connections.status()[0].reason, "NETWORK");
      await announce(beacon.url, signTicket(newPeer({ peerId: "cid" }), { community }), { community });
      // It waits 1 to 15 s, at random.
      await until(ann.rendezvous, () => idsOf(ann.rendezvous.peers()).join() === "bob,cid" && ann.connections.status()[0].bound, 30_000);
      assert.equal(opened.length, 2);
      assert.equal(opened[0], null);
      assert.match(opened[1], /^[0-9a-f]{8}-\d+$/);
    } finally {
      await ann.rendezvous.stop();
      proxy.stop();
    }
  });

  test("a connection whose frames are used up is opened anew, again and again, and nothing is lost", async () => {
    const own = await host.start({ vars: { ...VARS, LIVE_FRAMES: "7" } });
    const community = newCommunity();
    const opened = [];
    const closed = [];
    class Counted extends WebSocket {
      constructor(url) {
        super(url);
        opened.push(new URL(url).searchParams.get("since"));
        this.addEventListener("close", ({ code }) => closed.push(code));
      }
    }
    // The shortest waits: how long they are is looked at elsewhere.
    const ann = client("ann", community, [own.url], { liveOptions: { WebSocket: Counted }, random: () => 0 });
    const present = [];
    let issuedAt = Date.now() - 5_000;
    const say = (peer, leave) => {
      const ticket = signTicket(peer, { community, issuedAt: (issuedAt += 1), leave });
      return call(own.url, leave ? "/leave" : "/announce", { json: { ticket, community } });
    };
    try {
      await ann.rendezvous.start();
      await until(ann.rendezvous, () => ann.connections.status()[0].bound);
      // What comes after the last frame of a connection is said while there is none.
      for (let round = 0; opened.length < 4; round += 1) {
        assert.ok(round < 100, `still ${opened.length} connections`);
        for (const name of ["one", "other"]) {
          const peer = newPeer({ peerId: `${name}-${round}` });
          await say(peer);
          present.push(peer);
        }
        await say(present[round], true);
        const expected = present.slice(round + 1).map(({ peerId }) => peerId).sort().join();
        await until(ann.rendezvous, () => idsOf(ann.rendezvous.peers()).join() === expected, 30_000);
      }
      await until(ann.rendezvous, () => ann.connections.status()[0].bound);
    } finally {
      await ann.rendezvous.stop();
      await own.stop();
    }
    assert.deepEqual(closed.slice(0, 3), [4100, 4100, 4100]);
    const [first, ...later] = opened;
    assert.equal(first, null);
    for (const since of later) assert.match(since, /^[0-9a-f]{8}-\d+$/);
    assert.equal(ann.requests.filter((asked) => asked === "GET /live").length, 0, "never over a stream");
  });

  test("a beacon that tells bound peers alone tells whoever has bound its socket", async () => {
    const own = await host.start({ vars: { ...VARS, LIVE_VIEWERS: "bound" } });
    const community = newCommunity();
    const [ann, bob] = ["ann", "bob"].map((peerId) => client(peerId, community, [own.url]));
    try {
      await Promise.all([ann.rendezvous.start(), bob.rendezvous.start()]);
      for (const [one, other] of [[ann, "bob"], [bob, "ann"]])
        await until(one.rendezvous, () => idsOf(one.rendezvous.peers()).join() === other);
      assert.deepEqual([ann.transports(), bob.transports()], [["socket"], ["socket"]]);
    } finally {
      await Promise.all([ann.rendezvous.stop(), bob.rendezvous.stop()]);
      await own.stop();
    }
  });

  test("a signal goes from one bound peer to the other, once for two beacons, as it is", async () => {
    const community = newCommunity();
    const second = await host.start({ vars: VARS });
    const both = [beacon.url, second.url];
    const [ann, bob] = ["ann", "bob"].map((peerId) => client(peerId, community, both));
    try {
      await Promise.all([ann.rendezvous.start(), bob.rendezvous.start()]);
      for (const { rendezvous, connections } of [ann, bob])
        await until(rendezvous, () => connections.status().every(({ bound }) => bound));
      const heard = [];
      bob.connections.onSignal((text) => heard.push(text));
      const signal = (id, toKey) =>
        JSON.stringify({
          t: "signal",
          id,
          kind: "offer",
          to: "bob",
          toKey,
          from: "ann",
          fromKey: ann.rendezvous.publicKey,
          at: Date.now(),
          data: "☂".repeat(2_000),
          signature: Buffer.alloc(64).toString("base64"),
        });
      const first = signal("signal-1", bob.rendezvous.publicKey);
      await ann.connections.sendSignal("signal-1", first);
      await eventually(async () => heard.length, (count) => count === 1);
      await assert.rejects(ann.connections.sendSignal("signal-2", signal("signal-2", ann.rendezvous.publicKey)), { message: "PEER_ABSENT" });
      const last = signal("signal-3", bob.rendezvous.publicKey);
      await ann.connections.sendSignal("signal-3", last);
      await eventually(async () => heard.length, (count) => count === 2);
      assert.deepEqual(heard, [first, last]);
    } finally {
      await Promise.all([ann.rendezvous.stop(), bob.rendezvous.stop()]);
      await second.stop();
    }
  });

  test("a newer connection of the same peer is not fought for", async () => {
    const community = newCommunity();
    const peer = newPeer({ peerId: "ann" });
    const identity = { publicKey: Buffer.from(peer.publicKey, "base64"), sign: (message) => sign(null, message, peer.privateKey) };
    const ann = client("ann", community, [beacon.url], { identity });
    await ann.rendezvous.start();
    await until(ann.rendezvous, () => ann.connections.status()[0].bound);
    const newer = await openLive(beacon.url, { community });
    assert.equal((await newer.bind(peer)).t, "bound");
    await until(ann.rendezvous, () => ann.transports()[0] === "polling");
    assert.equal(ann.connections.status()[0].reason, "REPLACED");
    await ann.rendezvous.stop();
    await newer.close();
  });

  test("a beacon that is killed and comes back is found again, and another one carries on meanwhile", async () => {
    const community = newCommunity();
    const state = await mkdtemp(join(tmpdir(), "live-test-"));
    const start = (port) => host.start({ vars: VARS, state, port });
    const other = await host.start({ vars: VARS });
    let own = await start(0);
    const { url } = own;
    const ann = client("ann", community, [url, other.url]);
    const bob = client("bob", community, [url, other.url]);
    const areBound = ({ connections }) => connections.status().every(({ bound }) => bound);
    try {
      await Promise.all([ann.rendezvous.start(), bob.rendezvous.start()]);
      for (const one of [ann, bob]) await until(one.rendezvous, () => areBound(one) && one.rendezvous.peers().live.length === 1);
      await own.kill();
      await until(ann.rendezvous, () => ann.transports()[0] === "polling");
      assert.deepEqual(idsOf(ann.rendezvous.peers()), ["bob"], "one that is down takes nobody away");
      await announce(other.url, signTicket(newPeer({ peerId: "cid" }), { community }), { community });
      await until(ann.rendezvous, () => idsOf(ann.rendezvous.peers()).join() === "bob,cid");
      own = await start(Number(new URL(url).port));
      for (const one of [ann, bob]) await until(one.rendezvous, () => areBound(one), 60_000);
      await bob.rendezvous.stop();
      await until(ann.rendezvous, () => idsOf(ann.rendezvous.peers()).join() === "cid");
    } finally {
      await Promise.all([ann.rendezvous.stop(), bob.rendezvous.stop()]);
      await Promise.all([own.stop(), other.stop()]);
      await rm(state, { recursive: true, force: true });
    }
  });
});

describe("a beacon that lies", () => {
  const community = "lies";
  const EPOCH = "0000000a";
  let honest;
  before(async () => {
    honest = await NATIVE.start({ vars: VARS });
  });
  after(() => honest.stop());

  /**
   * A client with an honest beacon, and one that says what a test makes it say. What is no signal is for the latter alone:
   * the honest one leaves whoever sends it some of that alone for a minute.
   */
  async function setting(work, { hello = {}, others = [honest.url] } = {}) {
    const sockets = [];
    const said = [];
    class Liar {
      onmessage = null;
      onclose = null;
      onerror = null;
      constructor() {
        sockets.push(this);
        setTimeout(() => this.say({ t: "hello", version: 1, community, serverTime: Date.now(), challenge: btoa("0123456789abcdef"), ackBytes: 1e15, ...hello }));
      }
      say(message) {
        this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
      }
      snapshot(tickets, sequence = 1) {
        this.say({ t: "snapshot", position: `${EPOCH}-${sequence}`, total: tickets.length, peers: tickets });
      }
      delta(previous, sequence, words) {
        this.say({ t: "delta", previous: `${EPOCH}-${previous}`, position: `${EPOCH}-${sequence}`, ...words });
      }
      send(text) {
        said.push(text);
        if (text === "ping") return this.say("pong");
        const { t, id } = JSON.parse(text);
        if (t === "announce") setTimeout(() => this.say({ t: "announced", re: id, accepted: true, listed: true, expiresAt: Date.now() + 1e15, announceAfterMs: 1e15, bound: false }));
        if (t === "bind") setTimeout(() => this.say({ t: "bound", re: id }));
        if (t === "leave") setTimeout(() => this.say({ t: "left", re: id, left: true }));
        if (t === "signal") setTimeout(() => this.say(this.answers?.(id) ?? { t: "delivered", re: id }));
      }
      close(code) {
        this.closedWith ??= code;
      }
    }
    const choose = function (url) {
      return url.includes("liar") ? new Liar() : new WebSocket(url);
    };
    const ann = client("ann", community, [...others, "http://liar.invalid"], { liveOptions: { WebSocket: choose } });
    try {
      await ann.rendezvous.start();
      await until(ann.rendezvous, () => sockets.length > 0 && others.every((_, at) => ann.transports()[at] === "socket"));
      await work({ ...ann, sockets, said, liar: () => sockets.at(-1), reason: () => ann.connections.status()[1].reason });
    } finally {
      await ann.rendezvous.stop();
    }
    return { ...ann, said };
  }
  const ready = ({ rendezvous, transports }) => until(rendezvous, () => transports()[1] === "socket");
  const ticketOf = (peer, fields) => signTicket(peer, { community, ...fields });

  test("takes nobody away whom another lists, and forges nobody", () =>
    setting(async (ann) => {
      const { rendezvous, liar } = ann;
      const [bob, cid, dan] = ["bob", "cid", "dan"].map((peerId) => newPeer({ peerId }));
      const ticket = ticketOf(bob);
      await announce(honest.url, ticket, { community });
      await until(rendezvous, () => idsOf(rendezvous.peers()).join() === "bob");
      await ready(ann);
      const forged = { ...ticketOf(dan), signature: ticket.signature };
      liar().snapshot([ticket, ticketOf(cid), forged]);
      await until(rendezvous, () => idsOf(rendezvous.peers()).join() === "bob,cid");
      assert.equal(rendezvous.status().sources[1].state, "lying");
      assert.equal(rendezvous.status().sources[1].refusedTickets.SIGNATURE_INVALID, 1);
      // The listed ticket with one word more, one of another's key, and the beacon's own word.
      const withLeave = { ...ticket, payload: { ...ticket.payload, leave: true } };
      liar().delta(1, 2, { left: [withLeave] });
      liar().delta(2, 3, { left: [{ ...ticketOf(newPeer({ peerId: "bob" }), { leave: true, issuedAt: Date.now() + 1 }), publicKey: bob.publicKey }] });
      liar().delta(3, 4, { out: [["bob", bob.publicKey], ["cid", cid.publicKey], ["eve", "key"]] });
      await until(rendezvous, () => idsOf(rendezvous.peers()).join() === "bob");
      // What it alone gave it can take; it is a hint.
      assert.deepEqual(rendezvous.peers().recentlySeen.map(({ peerId }) => peerId), ["cid"]);
      liar().snapshot([], 9);
      liar().delta(9, 10, { put: [ticketOf(cid, { issuedAt: Date.now() + 1 })] });
      await until(rendezvous, () => idsOf(rendezvous.peers()).join() === "bob,cid");
      // A peer's own word counts, whoever brings it, and no older ticket after it.
      liar().delta(10, 11, { left: [ticketOf(bob, { leave: true, issuedAt: ticket.payload.issuedAt + 1 })] });
      await until(rendezvous, () => idsOf(rendezvous.peers()).join() === "cid");
      liar().delta(11, 12, { put: [ticket, ticketOf(dan)] });
      await until(rendezvous, () => idsOf(rendezvous.peers()).join() === "cid,dan");
    }));

  test("that speaks of too much, or in no sense, is left alone for long", async () => {
    const crowd = Array.from({ length: 401 }, (_, at) => [`peer-${at}`, "key"]);
    for (const [message, reason] of [
      ["a".repeat(65_537), "TOO_LARGE"],
      ["{", "MALFORMED"],
      ["[]", "MALFORMED"],
      [{ t: "snapshot", position: "0000000a-01", peers: [] }, "MALFORMED"],
      [{ t: "snapshot", position: "0000000A-1", peers: [] }, "MALFORMED"],
      [{ t: "snapshot", position: `${EPOCH}-9007199254740993`, peers: [] }, "MALFORMED"],
      [{ t: "snapshot", position: `${EPOCH}-1`, peers: {} }, "MALFORMED"],
      [{ t: "snapshot", position: `${EPOCH}-1`, peers: [5] }, "MALFORMED"],
      [{ t: "snapshot", position: `${EPOCH}-1`, peers: [], out: crowd }, "TOO_LARGE"],
    ])
      await setting(async (ann) => {
        await ready(ann);
        ann.liar().say(message);
        await until(ann.rendezvous, () => ann.transports()[1] === "polling");
        assert.equal(ann.reason(), reason);
        assert.equal(ann.sockets.length, 1);
      });
  });

  test("whose greeting is none is not believed", async () => {
    for (const [hello, reason] of [
      [{ version: 2 }, "UNSUPPORTED_VERSION"],
      [{ community: "other" }, "COMMUNITY_MISMATCH"],
      [{ serverTime: "now" }, "MALFORMED"],
      [{ challenge: "short" }, "MALFORMED"],
    ])
      await setting(async (ann) => {
        await until(ann.rendezvous, () => ann.reason() !== undefined);
        assert.equal(ann.reason(), reason);
      }, { hello });
  });

  test("that leaves something out is asked for everything, and is not dialled over and over", () =>
    setting(async (ann) => {
      await ready(ann);
      ann.liar().snapshot([], 5);
      await until(ann.rendezvous, () => ann.rendezvous.status().sources[1].state === "ok");
      ann.liar().delta(6, 7, {});
      await until(ann.rendezvous, () => ann.transports()[1] === "polling");
      assert.equal(ann.sockets.length, 1, "it waits");
    }));

  test("signals go over every bound connection, and each comes once", async () => {
    await setting(async (ann) => {
      const { connections, rendezvous, liar, said } = ann;
      await until(rendezvous, () => connections.status()[1].bound);
      const heard = [];
      const end = connections.onSignal((text) => heard.push(text));
      const signal = JSON.stringify({ t: "signal", id: "signal-1", data: "offer" });
      await connections.sendSignal("signal-1", signal);
      assert.ok(said.includes(signal), "as it is");
      for (let times = 0; times < 3; times += 1) liar().say(signal);
      const other = signal.replace("offer", "other");
      liar().say(other);
      assert.deepEqual(heard, [signal, other]);
      for (let flood = 0; flood < 50; flood += 1) liar().say(signal.replace("offer", `flood ${flood}`));
      assert.ok(heard.length <= 20, `${heard.length}`);
      end();
      liar().answers = (id) => ({ t: "error", re: id, code: "PEER_ABSENT" });
      // One that may pass is told, whatever the other beacon has against a signal that is none.
      await assert.rejects(connections.sendSignal("signal-2", signal.replace("signal-1", "signal-2")), { message: "PEER_ABSENT" });
    });
  });

  test("signals leave no faster than beacons take them", async () => {
    await setting(async ({ connections, rendezvous, said }) => {
      await until(rendezvous, () => connections.status()[0].bound);
      const ids = Array.from({ length: 30 }, (_, at) => `number-${String(at).padStart(2, "0")}`);
      const outcomes = await Promise.all(
        ids.map((id) => connections.sendSignal(id, JSON.stringify({ t: "signal", id })).catch(({ message }) => message)),
      );
      assert.equal(said.filter((text) => text.startsWith('{"t":"signal"')).length, 10);
      assert.deepEqual(outcomes.slice(10), Array(20).fill("TOO_FAST"));
    }, { others: [] });
  });

  test("that says that a connection is not bound is sent nothing more over it", async () => {
    await setting(async ({ connections, rendezvous, liar, said }) => {
      await until(rendezvous, () => connections.status()[0].bound);
      liar().answers = (id) => ({ t: "error", re: id, code: "NOT_BOUND" });
      const send = (id) => connections.sendSignal(id, JSON.stringify({ t: "signal", id })).catch(({ message }) => message);
      assert.equal(await send("signal-1"), "NOT_BOUND");
      assert.equal(connections.status()[0].bound, false);
      await send("signal-2");
      assert.equal(said.filter((text) => text.includes("signal-2")).length, 0);
    }, { others: [] });
  });

  test("a stream that sends too much is left alone for long", async () => {
    const dials = [];
    const server = createServer((from, to) => {
      dials.push(from.url);
      to.writeHead(200, { "Content-Type": "text/event-stream", "Access-Control-Allow-Origin": "*" });
      to.write(`data: ${"a".repeat(200_000)}`);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const ann = client("ann", community, [`http://127.0.0.1:${server.address().port}`], { liveOptions: { WebSocket: null } });
    try {
      await ann.rendezvous.start();
      await until(ann.rendezvous, () => ann.connections.status()[0].reason !== undefined);
      assert.equal(ann.connections.status()[0].reason, "TOO_LARGE");
    } finally {
      await ann.rendezvous.stop();
      server.close();
      server.closeAllConnections();
    }
  });
});

test("signals need a connection that is bound", async () => {
  const { rendezvous, connections } = client("ann", "nowhere", ["http://127.0.0.1:9"]);
  await rendezvous.start();
  await assert.rejects(connections.sendSignal("signal-1", "{}"), { message: "NOT_BOUND" });
  await rendezvous.stop();
});

test("how long it waits, by what a beacon said", () => {
  const range = (code, failures = 0) => [0, 0.999_999].map((random) => Math.round(waitAfterClose(code, failures, random)));
  const HOUR = 3_600_000;
  const expected = {
    1001: [1_000, 15_000],
    1006: [1_000, 15_000],
    1011: [1_000, 15_000],
    4000: [1_000, 15_000],
    4100: [0, 5_000],
    4108: [10_000, 15_000],
    4129: [60_000, 75_000],
    4153: [60_000, 75_000],
    1003: [HOUR, HOUR],
    1009: [HOUR, HOUR],
    4500: [HOUR, HOUR],
    4503: [HOUR, HOUR],
    4599: [HOUR, HOUR],
  };
  for (const [code, waits] of Object.entries(expected)) assert.deepEqual(range(Number(code)), waits, code);
  assert.equal(waitAfterClose(4209, 0, 0.5), Infinity);
  assert.deepEqual([1, 3, 9].map((failures) => range(1006, failures)), [[2_000, 30_000], [8_000, 60_000], [60_000, 60_000]]);
  assert.equal(waitAfterRefusal(404, 5, 0, 0.5), HOUR);
  assert.equal(waitAfterRefusal(426, 5, 0, 0.5), HOUR);
  assert.deepEqual([NaN, 0, 90_000, 1e15].map((asked) => waitAfterRefusal(503, asked, 0, 0)), [61_000, 61_000, 91_000, 301_000]);
  assert.deepEqual([NaN, 5_000, 1e15].map((asked) => waitAfterRefusal(429, asked, 0, 0)), [1_000, 6_000, 301_000]);
});
