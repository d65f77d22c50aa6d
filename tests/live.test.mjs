// Live presence as clients see it: who comes and goes, connections that break and go on, and clients that do what they
// should not. One suite for every host that has it, each asked by URL alone.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { HOSTS, withHost } from "./hosts.mjs";
import { ADDRESS_HEADER, announce, assertTime, call, eventually, peerIds, peers, raw } from "./http.mjs";
import { Live, View, closeCode, frameOf, joinLive, openLive, signSignal, upgradeRequest } from "./live.mjs";
import { SAFE_AFTER_MS } from "./patience.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const UNCACHED = { PEERS_MAX_AGE_SECONDS: "0", ANSWER_LIMIT: "200" };

let communities = 0;
/** A community that no other test knows. */
const newCommunity = () => `live-${(communities += 1)}`;
const COMMUNITIES = ["mainnet", ...Array.from({ length: 60 }, (_, number) => `live-${number + 1}`)].join();

let addresses = 0;
/** A network that no other test knows. */
const newAddress = () => `10.${(addresses += 1)}.0.1`;

for (const host of HOSTS) describe(host.name, () => {
  let beacon;
  let url;
  const log = [];
  before(async () => {
    beacon = await host.start({ vars: { ...UNCACHED, COMMUNITIES }, log: (line) => log.push(line) });
    url = beacon.url;
  });
  after(() => beacon.stop());

  test("a viewer sees who comes, renews and goes, and holds what the list has", async () => {
    const community = newCommunity();
    const [ann, bob] = [newPeer({ peerId: "ann" }), newPeer({ peerId: "bob" })];
    await announce(url, signTicket(ann, { community }), { community });
    const live = await openLive(url, { community, address: newAddress() });
    const [hello, snapshot] = live.messages;
    assert.equal(hello.t, "hello");
    assert.deepEqual({ ...hello, serverTime: 0, challenge: "" }, { t: "hello", version: 1, community, serverTime: 0, challenge: "", ackBytes: 262_144, ...(host.liveFrames && { reconnectAfterFrames: host.liveFrames }) });
    assertTime(hello.serverTime, { askedAt: live.askedAt, answeredAt: Date.now() });
    assert.equal(Buffer.from(hello.challenge, "base64").length, 16);
    assert.deepEqual([snapshot.t, snapshot.total], ["snapshot", 1]);
    assert.match(snapshot.position, /^[0-9a-f]{8}-\d+$/);

    await announce(url, signTicket(bob, { community }), { community });
    await live.until(({ view }) => view.peerIds.join() === "ann,bob");
    assert.deepEqual(live.view.peerIds, peerIds(await peers(url, { community, limit: 200 })).sort());
    const goodbye = signTicket(bob, { community, leave: true, issuedAt: Date.now() + 1 });
    await call(url, "/leave", { json: { ticket: goodbye, community } });
    await live.until(({ view }) => view.peerIds.join() === "ann");
    assert.deepEqual(live.messages.at(-1).left, [goodbye], "whoever left says so itself");
    await live.close();
  });

  test("a goodbye counts that is the last thing before its socket is closed", async () => {
    const community = newCommunity();
    const goodbye = (peer) => JSON.stringify({ t: "leave", ticket: signTicket(peer, { community, leave: true, issuedAt: Date.now() + 1 }) });
    const crowd = Array.from({ length: 4 }, () => newPeer());
    for (const peer of crowd) {
      const live = await joinLive(url, peer, { community, address: newAddress() });
      live.send(goodbye(peer));
      live.socket.close();
      await live.closed;
    }
    // In one packet with the close, and with nothing but the end of the connection behind it.
    for (const end of [Buffer.from([0x88, 0x80, 0, 0, 0, 0]), Buffer.alloc(0)]) {
      const peer = newPeer();
      await announce(url, signTicket(peer, { community }), { community });
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      socket.write(upgradeRequest(url, `/live?community=${community}`, { [ADDRESS_HEADER]: newAddress() }));
      await once(socket, "data");
      socket.end(Buffer.concat([frameOf(goodbye(peer)), end]));
      socket.resume();
      await once(socket, "close");
    }
    await eventually(() => peers(url, { community }), ({ json }) => json.total === 0);
  });

  test("a peer announces, binds and leaves over its socket", async () => {
    const community = newCommunity();
    const ann = newPeer({ peerId: "ann" });
    const [live, viewer] = await Promise.all([1, 2].map(() => openLive(url, { community, address: newAddress() })));
    assert.equal((await live.bind(ann)).code, "NOT_LISTED");
    const ticket = signTicket(ann, { community });
    const announced = await live.announce(ticket);
    assert.deepEqual(
      { ...announced, re: undefined, announceAfterMs: 0 },
      { t: "announced", re: undefined, accepted: true, listed: true, bound: false, expiresAt: ticket.payload.expiresAt, announceAfterMs: 0 },
    );
    assert.ok(announced.announceAfterMs >= 140_000 && announced.announceAfterMs <= 162_000);
    await viewer.until(({ view }) => view.peerIds.join() === "ann");
    await live.until(({ view }) => view.peerIds.join() === "ann");
    const kinds = live.messages.map(({ t }) => t);
    assert.ok(kinds.indexOf("announced") < kinds.indexOf("delta"), "the answer comes before one's own arrival");

    assert.equal((await live.announce(signTicket(ann, { community, issuedAt: Date.now() + 1 }))).code, "ANNOUNCE_TOO_SOON");
    assert.equal((await live.bind(ann, { audience: "https://evil.example" })).code, "MISDIRECTED_REQUEST");
    assert.equal((await live.bind(ann, { challenge: Buffer.alloc(16).toString("base64") })).code, "SIGNATURE_INVALID");
    assert.equal((await live.bind(ann)).t, "bound");
    assert.equal((await live.announce(signTicket(newPeer(), { community }))).code, "ANOTHER_PEER");
    const forged = { ...signTicket(ann, { community, issuedAt: Date.now() + 2 }), signature: ticket.signature };
    assert.equal((await live.announce(forged)).code, "SIGNATURE_INVALID");

    const newer = await openLive(url, { community, address: newAddress() });
    assert.equal((await newer.bind(ann)).t, "bound");
    assert.deepEqual(await live.closed, { code: 4209, reason: "REPLACED" });
    assert.deepEqual(peerIds(await peers(url, { community })), ["ann"]);
    assert.equal((await newer.leave(signTicket(ann, { community, leave: true, issuedAt: Date.now() + 3 }))).left, true);
    await viewer.until(({ view }) => view.peerIds.length === 0);
    await Promise.all([newer.close(), viewer.close()]);
  });

  test("a connection that breaks goes on where it was, and a position of elsewhere gets everything", async () => {
    const community = newCommunity();
    const first = await openLive(url, { community, address: newAddress() });
    await announce(url, signTicket(newPeer({ peerId: "ann" }), { community }), { community });
    await first.until(({ view }) => view.peerIds.join() === "ann");
    await first.close();
    await announce(url, signTicket(newPeer({ peerId: "bob" }), { community }), { community });

    const since = first.view.position;
    const resumed = await openLive(url, { community, since, address: newAddress() });
    const [, delta] = resumed.messages;
    assert.deepEqual([delta.t, delta.previous, delta.put.map(({ payload }) => payload.peerId)], ["delta", since, ["bob"]]);
    const foreign = new Live(url, { community, since: "00000001-1700000000000", address: newAddress() });
    await foreign.until(({ view }) => view.isWhole);
    assert.deepEqual([foreign.messages[1].t, foreign.view.peerIds], ["snapshot", ["ann", "bob"]]);
    await Promise.all([resumed.close(), foreign.close()]);
  });

  test("a ping is answered, and a client that closes is answered with its code", async () => {
    const live = await openLive(url, { community: newCommunity(), address: newAddress() });
    live.send("ping");
    await live.until(({ messages }) => messages.includes("pong"));
    live.socket.close(4_000, "done");
    assert.equal((await live.closed).code, 4_000);
    for (const [code, answered] of [[undefined, 1005], [1000, 1000]]) {
      const live = await openLive(url, { community: newCommunity(), address: newAddress() });
      live.socket.close(code);
      assert.equal((await live.closed).code, answered);
    }
  });

  test("whoever sends what no client does is closed with the code for it, and refused for a minute", async () => {
    const community = newCommunity();
    const flood = (live) => {
      for (let sent = 0; sent < 40; sent += 1) live.send({ t: "leave", ticket: {} });
    };
    for (const [code, reason, misbehave] of [
      [1003, "UNSUPPORTED", (live) => live.send(new Uint8Array(3))],
      [1009, "TOO_LONG", (live) => live.send("a".repeat(4_097))],
      [4129, "TOO_FAST", flood],
      [4500, "MALFORMED", (live) => ["{}", "[]", "hello"].forEach((text) => live.send(text))],
    ]) {
      const address = newAddress();
      const live = await openLive(url, { community, address });
      misbehave(live);
      assert.deepEqual(await live.closed, { code, reason });
      const refused = await call(url, `/live?community=${community}`, { address });
      assert.deepEqual([refused.status, refused.json.code], [429, "THROTTLED"]);
      assert.ok(Number(refused.headers.get("Retry-After")) <= 60);
    }
  });

  test("a flood by one that ignores its end harms nobody else", async () => {
    const community = newCommunity();
    const viewer = await openLive(url, { community, address: newAddress() });
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    const received = [];
    socket.on("data", (bytes) => received.push(bytes));
    await once(socket, "connect");
    socket.write(upgradeRequest(url, `/live?community=${community}`, { [ADDRESS_HEADER]: newAddress() }));
    const frame = frameOf(JSON.stringify({ t: "ack", seq: 1 }));
    const frames = Buffer.concat(Array.from({ length: 2_000 }, () => frame));
    for (let sent = 0; sent < 10 && !socket.destroyed; sent += 1) socket.write(frames);
    for (const peerId of ["ann", "bob"]) {
      await announce(url, signTicket(newPeer({ peerId }), { community }), { community });
      await viewer.until(({ view }) => view.peerIds.includes(peerId));
    }
    await eventually(async () => closeCode(Buffer.concat(received)), (code) => code === 4129);
    socket.destroy();
    await viewer.close();
  });

  test("a message of 30 MiB ends the connection that it came by, and no other", async () => {
    const community = newCommunity();
    const viewer = await openLive(url, { community, address: newAddress() });
    const large = await openLive(url, { community, address: newAddress() });
    large.send("a".repeat(30 * 1_048_576));
    const { code } = await large.closed;
    // The connection may break while most of the message is still on its way.
    assert.ok(code === 1009 || code === 1006, String(code));
    await announce(url, signTicket(newPeer({ peerId: "ann" }), { community }), { community });
    await viewer.until(({ view }) => view.peerIds.includes("ann"));
    await viewer.close();
  });

  test("an event stream says the same, goes on after its last event, and is for viewers", async () => {
    const community = newCommunity();
    await announce(url, signTicket(newPeer({ peerId: "ann" }), { community }), { community });
    const open = async (headers = {}) => {
      const answer = await fetch(`${url}/live?community=${community}`, { headers: { [ADDRESS_HEADER]: newAddress(), ...headers } });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get("Content-Type"), "text/event-stream");
      assert.equal(answer.headers.get("Cache-Control"), "no-store");
      assert.equal(answer.headers.get("Access-Control-Allow-Origin"), "*");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      const view = new View();
      view.position = headers["Last-Event-ID"];
      const events = [];
      const next = async () => {
        while (!text.includes("\n\n")) {
          const { value, done } = await reader.read();
          assert.ok(!done, "the stream has ended");
          text += value;
        }
        const [block] = text.split("\n\n", 1);
        text = text.slice(block.length + 2);
        const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
        events.push(fields);
        if (fields.data?.startsWith("{")) view.take(JSON.parse(fields.data));
        return fields;
      };
      const until = async (isExpected) => {
        while (!isExpected(view)) await next();
      };
      return { events, next, until, view, end: () => reader.cancel() };
    };
    const stream = await open();
    assert.deepEqual(await stream.next(), { retry: "3000" });
    const hello = await stream.next();
    assert.equal(hello.event, "hello");
    assert.deepEqual(Object.keys(JSON.parse(hello.data)), ["t", "version", "community", "serverTime", ...(host.liveFrames ? ["reconnectAfterFrames"] : [])]);
    await stream.until((view) => view.isWhole);
    assert.equal(stream.events.at(-1).event, "snapshot");
    assert.equal(stream.events.at(-1).id, stream.view.position);
    await announce(url, signTicket(newPeer({ peerId: "bob" }), { community }), { community });
    await stream.until((view) => view.peerIds.join() === "ann,bob");
    await stream.end();

    await announce(url, signTicket(newPeer({ peerId: "cid" }), { community }), { community });
    const resumed = await open({ "Last-Event-ID": stream.view.position });
    await resumed.until((view) => view.isWhole);
    assert.equal(resumed.events.at(-1).event, "delta");
    assert.deepEqual(resumed.view.peerIds, ["cid"]);
    await resumed.end();
  });

  test("what is not a connection is refused before it is one", async () => {
    const refused = async (path, headers, status, code) => {
      const all = { Connection: "Upgrade, close", [ADDRESS_HEADER]: newAddress(), ...headers };
      const answer = await raw(url, upgradeRequest(url, path, all));
      const [head, body] = answer.split("\r\n\r\n");
      assert.match(head, new RegExp(`^HTTP/1.1 ${status} `), answer);
      assert.ok(body.includes(`"code":"${code}"`), body);
      return head;
    };
    if (host.runtimeRefuses) {
      for (const broken of [{ "Sec-WebSocket-Version": "8" }, { "Sec-WebSocket-Key": undefined }]) {
        const answer = await raw(url, upgradeRequest(url, "/live", { Connection: "Upgrade, close", ...broken }));
        assert.match(answer, /^HTTP\/1.1 4(00|26) /, answer);
      }
    } else {
      const head = await refused("/live", { "Sec-WebSocket-Version": "8" }, 426, "UPGRADE_REQUIRED");
      assert.match(head, /sec-websocket-version: 13/i);
      await refused("/live", { Upgrade: "h2c" }, 426, "UPGRADE_REQUIRED");
      await refused("/live", { "Sec-WebSocket-Key": undefined }, 426, "UPGRADE_REQUIRED");
    }
    await refused("/live?community=!", {}, 400, "COMMUNITY_INVALID");
    await refused("/live?community=unknown", {}, 404, "COMMUNITY_UNKNOWN");
    await refused("/live?since=5", {}, 400, "SINCE_INVALID");
    const post = await call(url, "/live", { method: "POST", address: newAddress() });
    assert.deepEqual([post.status, post.headers.get("Allow")], [405, "GET, OPTIONS"]);
  });

  test("a household has sixteen connections, and one that ends makes room", async () => {
    const community = newCommunity();
    const address = newAddress();
    const site = address.replace(/1$/, "");
    const all = await Promise.all(Array.from({ length: 8 }, (_, number) => openLive(url, { community, address: `${site}${number + 1}` })));
    // The other eight of one household come in two minutes' worth of openings: an address may open fifteen in one.
    const started = Date.now();
    const mine = await Promise.all(Array.from({ length: 14 }, () => openLive(url, { community, address: `${site}200` })));
    assert.equal(mine.length, 14);
    const statuses = [];
    const open = async () => statuses.push((await call(url, `/live?community=!`, { address: `${site}200` })).status);
    while (statuses.at(-1) !== 429) {
      const refilled = Math.ceil((15 * (Date.now() - started)) / 60_000);
      assert.ok(mine.length + statuses.length <= 15 + refilled, "an address opens fifteen in a minute");
      await open();
    }
    assert.ok(statuses.length > 1 && statuses.slice(0, -1).every((status) => status === 400), String(statuses));
    await Promise.all([...all, ...mine].map((live) => live.close()));
  });

  test("two peers signal each other, and every signal comes as it was sent", async () => {
    const community = newCommunity();
    const [ann, bob] = [newPeer({ peerId: "ann" }), newPeer({ peerId: "bob" })];
    const [a, b] = await Promise.all([ann, bob].map((peer) => joinLive(url, peer, { community, address: newAddress() })));
    const texts = [];
    for (const { socket } of [a, b]) socket.addEventListener("message", ({ data }) => data.includes('"signal"') && texts.push(data));
    const data = `v=0\r\n${"é𝄞\"\\".repeat(900)}`;
    const offer = JSON.stringify(signSignal(ann, bob, { community, data, id: "offer-0001" }), null, 1);
    assert.deepEqual(await a.signal(offer), { t: "delivered", re: "offer-0001" });
    const re = Buffer.alloc(32, 1).toString("base64");
    const answer = JSON.stringify({ ...signSignal(bob, ann, { community, kind: "answer", re, id: "answer-001" }), ticket: signTicket(bob, { community }) });
    assert.deepEqual(await b.signal(answer), { t: "delivered", re: "answer-001" });
    const candidate = JSON.stringify(signSignal(ann, bob, { community, kind: "candidate", re, id: "candidate-1" }));
    assert.deepEqual(await a.signal(candidate), { t: "delivered", re: "candidate-1" });
    await b.until(() => texts.length === 3);
    assert.deepEqual(texts.sort(), [offer, answer, candidate].sort());
    await Promise.all([a.close(), b.close()]);
  });

  test("a signal is refused by name: forged, handed on by another, too old, of nobody, to nobody, too long, too fast", async () => {
    const community = newCommunity();
    const [ann, bob, eve] = ["ann", "bob", "eve"].map((peerId) => newPeer({ peerId }));
    const [a, b, e] = await Promise.all([ann, bob, eve].map((peer) => joinLive(url, peer, { community, address: newAddress() })));
    const code = async (live, signal) => (await live.signal(signal)).code;
    const genuine = signSignal(ann, bob, { community });
    assert.equal(await code(e, genuine), "ANOTHER_PEER", "what ann signed, sent by eve");
    assert.equal(await code(e, signSignal({ ...eve, publicKey: ann.publicKey }, bob, { community })), "ANOTHER_PEER");
    assert.equal(await code(e, signSignal({ ...eve, peerId: "ann" }, bob, { community })), "ANOTHER_PEER");
    assert.equal(await code(a, signSignal(ann, bob, { community, at: Date.now() - 31_000 })), "SIGNAL_TIME");
    assert.equal(await code(a, signSignal(ann, bob, { community, at: Date.now() + 35_000 })), "SIGNAL_TIME");
    assert.equal(await code(a, signSignal(ann, newPeer(), { community })), "PEER_ABSENT");
    assert.equal(await code(a, signSignal(ann, { ...bob, publicKey: eve.publicKey }, { community })), "PEER_ABSENT", "another's key");
    await b.close();
    await eventually(() => code(a, signSignal(ann, bob, { community })), (found) => found === "PEER_ABSENT");

    const unbound = await openLive(url, { community, address: newAddress() });
    assert.equal(await code(unbound, signSignal(eve, ann, { community })), "NOT_BOUND");
    await unbound.close();
    assert.ok(a.messages.concat(e.messages).every(({ t }) => t !== "signal"), "nothing of it has come anywhere");

    const burst = Array.from({ length: 14 }, () => signSignal(eve, bob, { community }));
    for (const signal of burst) e.send(signal);
    await e.until(({ messages }) => burst.every(({ id }) => messages.some(({ re }) => re === id)));
    const tooFast = e.messages.filter(({ code }) => code === "TOO_FAST");
    assert.ok(tooFast.length > 0 && tooFast.every(({ retryAfterMs }) => retryAfterMs > 0 && retryAfterMs <= 3_000));
    e.send(signSignal(eve, ann, { community, data: "x".repeat(12_000) }));
    assert.deepEqual(await e.closed, { code: 1009, reason: "TOO_LONG" });
    await a.close();
  });

  test("a flood of signals from one site takes nothing of what another site may send", async () => {
    const community = newCommunity();
    const bob = newPeer({ peerId: "bob" });
    const b = await joinLive(url, bob, { community, address: newAddress() });
    const site = newAddress().replace(/1$/, "");
    const crowd = Array.from({ length: 6 }, () => newPeer());
    const flood = await Promise.all(crowd.map((peer, number) => joinLive(url, peer, { community, address: `${site}${number + 1}` })));
    const start = Date.now();
    const answers = [];
    for (const [at, live] of flood.entries())
      for (let times = 0; times < 5; times += 1) answers.push(await live.signal(signSignal(crowd[at], bob, { community })));
    const refused = answers.filter(({ code }) => code === "PEER_BUSY");
    assert.ok(answers.length - refused.length <= 4 + Math.ceil((Date.now() - start) / 10_000), JSON.stringify(answers));
    assert.ok(refused.length > 0 && refused.every(({ retryAfterMs }) => retryAfterMs > 0 && retryAfterMs <= 10_000));
    const ann = newPeer({ peerId: "ann" });
    const a = await joinLive(url, ann, { community, address: newAddress() });
    for (let times = 0; times < 4; times += 1) assert.equal((await a.signal(signSignal(ann, bob, { community }))).t, "delivered");
    await b.until(({ messages }) => messages.filter(({ from }) => from === "ann").length === 4);
    assert.equal(b.messages.filter(({ t }) => t === "signal").length, answers.length - refused.length + 4);
    await Promise.all([a, b, ...flood].map((live) => live.close()));
  });

  test("nothing unusual is in the log, and no address", () => {
    assert.deepEqual(log.filter((line) => ![...host.notes, ...host.asides].some((note) => line.includes(note))), []);
  });

  test("where all connections are taken a newcomer gets a place of the largest share, and a full household none", async () => {
    await withHost(host, { vars: { ...UNCACHED, LIVE_CONNECTIONS: "8", LIVE_CONNECTIONS_PER_HOUSEHOLD: "2" } }, async ({ url }) => {
      const crowd = [];
      for (const address of ["10.200.0.1", "10.200.0.1", "10.201.0.1", "10.201.0.1", "10.202.0.1", "10.202.0.1", "10.203.0.1", "10.203.0.1"]) {
        crowd.push(await openLive(url, { address }));
      }
      const full = await call(url, "/live", { address: "10.200.0.1" });
      assert.deepEqual([full.status, full.json.code, full.headers.get("Retry-After")], [503, "LIVE_FULL", "60"]);
      const newcomer = await openLive(url, { address: "10.210.0.1" });
      const gone = await Promise.race(crowd.map(({ closed }) => closed));
      assert.deepEqual(gone, { code: 4153, reason: "LIVE_FULL" });
      await newcomer.close();
    });
  });

  test("one that never reads is closed, and nobody waits for it", async () => {
    await withHost(host, { vars: { ...UNCACHED, ANNOUNCE_INTERVAL_MS: "0" } }, async ({ url }) => {
      const crowd = Array.from({ length: 200 }, (_, number) => newPeer({ peerId: `${String(number).padStart(3, "0")}${"p".repeat(125)}` }));
      const largest = { userId: `"`.repeat(128), nonce: Buffer.alloc(32).toString("base64"), community: "mainnet" };
      const announceAll = async () => {
        const answers = await Promise.all(crowd.map((peer, number) => announce(url, signTicket(peer, largest), { address: `10.${number}.0.1` })));
        for (const { status } of answers) assert.equal(status, 200);
      };
      await announceAll();
      const viewer = await openLive(url, { address: "10.220.0.1" });
      assert.equal(viewer.view.peerIds.length, 200);
      assert.ok(viewer.messages.filter(({ t }) => t === "snapshot" || t === "delta").length >= 3);

      const { hostname, port } = new URL(url);
      const socket = connect(Number(port), hostname);
      await once(socket, "connect");
      socket.on("error", () => {});
      socket.write(upgradeRequest(url, "/live", { [ADDRESS_HEADER]: "10.221.0.1" }));
      // Reads, and acknowledges nothing, so that every byte that it was sent can be counted.
      const received = [];
      socket.on("data", (bytes) => received.push(bytes));
      const code = () => closeCode(Buffer.concat(received));
      for (let waves = 0; waves < 8 && code() !== 4108; waves += 1) {
        const before = viewer.messages.length;
        await announceAll();
        await viewer.until(({ messages }) => messages.length > before);
      }
      await eventually(async () => code(), (closed) => closed === 4108);
      socket.destroy();
      const bytes = Buffer.concat(received);
      assert.ok(bytes.length > 262_144 && bytes.length < 262_144 + 65_536 + 4_096, `${bytes.length} bytes`);
      await viewer.close();
    });
  });

  test("one that does not read is handed no signals, and is again once it does", async () => {
    await withHost(host, { vars: UNCACHED }, async ({ url }) => {
      const crowd = Array.from({ length: 160 }, (_, number) => newPeer({ peerId: `${String(number).padStart(3, "0")}${"p".repeat(125)}` }));
      const largest = { userId: `"`.repeat(128), data: `"`.repeat(512), nonce: Buffer.alloc(32).toString("base64"), community: "mainnet" };
      const answers = await Promise.all(crowd.map((peer, number) => announce(url, signTicket(peer, largest), { address: `10.${number}.0.1` })));
      for (const { status } of answers) assert.equal(status, 200);
      const [ann, bob] = [newPeer({ peerId: "ann" }), newPeer({ peerId: "bob" })];
      await announce(url, signTicket(bob), { address: "10.231.0.1" });
      const b = new Live(url, { address: "10.231.0.1", acknowledge: false });
      await b.until(({ messages }) => messages.filter(({ position }) => position).length >= 5);
      assert.equal((await b.bind(bob)).t, "bound");
      const a = await joinLive(url, ann, { address: "10.230.0.1" });
      const busy = await a.signal(signSignal(ann, bob));
      assert.deepEqual([busy.code, busy.retryAfterMs], ["PEER_BUSY", 20_000]);
      const { position } = b.messages.findLast(({ position }) => position);
      b.send({ t: "ack", seq: Number(position.split("-")[1]) });
      // That it reads again is on its way to its object, as the signal is.
      await eventually(() => a.signal(signSignal(ann, bob)), ({ t }) => t === "delivered");
      await b.until(({ messages }) => messages.some(({ t }) => t === "signal"));
      await Promise.all([a.close(), b.close()]);
    });
  });

  test("whoever is connected hears of an orderly end, and after a kill everybody is back where they were", async () => {
    const state = await mkdtemp(join(tmpdir(), "live-test-"));
    try {
      const vars = UNCACHED;
      const first = await host.start({ vars, state });
      const [ann, bob] = [newPeer({ peerId: "ann" }), newPeer({ peerId: "bob" })];
      await announce(first.url, signTicket(ann), { address: newAddress() });
      const { askedAt, answeredAt } = await announce(first.url, signTicket(bob), { address: newAddress() });
      const live = await openLive(first.url, { address: newAddress() });
      await eventually(() => peers(first.url), (reply) => reply.json.total === 2);
      const isSafe = Date.now() - answeredAt >= SAFE_AFTER_MS;
      await first.stop();
      const maybeSafe = Date.now() - askedAt >= 10_000;
      assert.deepEqual(await live.closed, host.lastWord);

      const second = await host.start({ vars, state });
      const resumed = await openLive(second.url, { since: live.view.position, address: newAddress() });
      // A runtime that ends without a word to the beacon takes along what came in the last ten seconds, but no more.
      const mayBeLost = host.lastWord.code !== 1001;
      const isStored = !mayBeLost || isSafe || (maybeSafe && resumed.view.peerIds.includes("bob"));
      assert.deepEqual([resumed.messages[1].t, resumed.view.peerIds], ["snapshot", isStored ? ["ann", "bob"] : ["ann"]]);
      await second.kill();
      assert.equal((await resumed.closed).code, 1006);
    } finally {
      await rm(state, { recursive: true, force: true });
    }
  });
});
