// `rendezvous-beacon/live` over a simulated clock: connections that fall silent, break and end, machines that sleep, and
// how long it waits each time.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Rendezvous, live } from "../build/internals.js";
import { newPeer, signTicket } from "../../tests/ticket.mjs";
import { LiveBeacon, World, seeded } from "./world.mjs";

const COMMUNITY = "my-app";
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

/** Ann, and a beacon that tells her. */
async function setting({ seed = 1, isStream = false, frameWords = 200, frames = Infinity, greetingMs = 0 } = {}) {
  const world = new World(seed);
  const beacon = new LiveBeacon(world, "https://beacon.example", { intervalMs: 0 });
  Object.assign(beacon, { frameWords, frames, greetingMs });
  const place = world.host();
  const ann = new Rendezvous({ community: COMMUNITY, peerId: "ann", beacons: [beacon.origin] }, place);
  const connections = live(ann, { WebSocket: isStream ? null : world.WebSocket });
  const ticketOf = (peer, fields) => signTicket(peer, { community: COMMUNITY, issuedAt: world.now, ...fields });
  const status = () => connections.status()[0];
  const start = async () => {
    await ann.start();
    await world.pass(3 * SECOND);
  };
  await start();
  assert.deepEqual(status(), { url: beacon.origin, transport: isStream ? "stream" : "socket", bound: !isStream, reason: undefined });
  const claims = (list) => list.map(({ peerId, publicKey }) => `${peerId} ${publicKey}`).sort();
  const held = () =>
    claims(ann.peers().live.flatMap(({ peerId, publicKey, otherKeys }) => [publicKey, ...otherKeys].map((key) => ({ peerId, publicKey: key }))));
  const listed = () => {
    const others = beacon.present().filter(({ ticket }) => ticket.publicKey !== ann.publicKey);
    return claims(others.map(({ ticket: { publicKey, payload } }) => ({ peerId: payload.peerId, publicKey })));
  };
  /** Waits for the next time that the beacon is dialled, and says how long after a moment, by default this one, that was. */
  const redialled = async (withinMs, from = world.elapsed, stepMs = SECOND) => {
    const { length } = beacon.dials;
    for (let passed = 0; beacon.dials.length === length && passed < withinMs; passed += stepMs) await world.pass(stepMs);
    return beacon.dials.length > length ? beacon.dials[length].at - from : Infinity;
  };
  const stop = async () => {
    void ann.stop();
    await world.pass(5 * SECOND);
    assert.deepEqual([beacon.viewers, world.timers], [0, 0]);
  };
  return { world, beacon, place, ann, connections, status, ticketOf, held, listed, redialled, start, stop };
}

describe("a connection on which nothing happens", () => {
  test("is tried by a ping 50 s after the last message, over and over, and stays", async () => {
    const { world, beacon, status, stop } = await setting();
    await world.pass(10 * MINUTE);
    assert.equal(beacon.dials.length, 1);
    assert.equal(status().bound, true);
    const pings = beacon.heard.filter(({ text }) => text === "ping");
    // Two between two announces, which are 2 minutes apart.
    assert.ok(pings.length >= 7, `${pings.length}`);
    for (const ping of pings) {
      const before = beacon.heard[beacon.heard.indexOf(ping) - 1];
      const silence = ping.at - before.at;
      // After a ping that was answered, it is from the answer on.
      const expected = before.text === "ping" ? 50_050 : 50_000;
      assert.ok(Math.abs(silence - expected) <= 10, `${silence}`);
    }
    await stop();
  });

  test("is given up 10 s after a ping without an answer, and opened anew from where it was", async () => {
    const { world, beacon, ticketOf, held, listed, status, redialled, stop } = await setting();
    beacon.put(ticketOf(newPeer({ peerId: "bob" })));
    await world.pass(SECOND);
    const { at: lastSaid } = beacon.heard.at(-1);
    beacon.mute = true;
    await world.pass(lastSaid + 59_900 - world.elapsed);
    assert.equal(status().transport, "socket");
    await world.pass(200);
    assert.deepEqual([status().transport, status().reason], ["polling", "NETWORK"]);
    beacon.put(ticketOf(newPeer({ peerId: "cid" })));
    beacon.mute = false;
    const waited = await redialled(20 * SECOND);
    assert.ok(waited >= 500 && waited <= 15_100, `${waited}`);
    await world.pass(SECOND);
    assert.match(beacon.dials[1].since, /^00000001-\d+$/);
    assert.deepEqual(held(), listed());
    assert.equal(held().length, 2);
    await stop();
  });

  test("is tried at once when the network is back", async () => {
    const { world, beacon, place, status, stop } = await setting();
    beacon.mute = true;
    place.events("online");
    await world.pass(9_900);
    assert.equal(status().transport, "socket");
    await world.pass(200);
    assert.equal(status().transport, "polling");
    beacon.mute = false;
    // It waits for at most a second more, whatever it would have waited for.
    place.events("online");
    await world.pass(2 * SECOND);
    assert.equal(status().bound, true);
    await stop();
  });

  test("that is a stream is given up after 60 s", async () => {
    const { world, beacon, ticketOf, held, listed, status, redialled, stop } = await setting({ isStream: true });
    await world.pass(10 * MINUTE);
    assert.equal(beacon.dials.length, 1, "the beacon's pings are enough");
    beacon.mute = true;
    // The last ping may have come just before.
    await world.pass(34 * SECOND);
    assert.equal(status().transport, "stream");
    await world.pass(27 * SECOND);
    assert.equal(status().transport, "polling");
    beacon.mute = false;
    beacon.put(ticketOf(newPeer({ peerId: "bob" })));
    await redialled(31 * SECOND);
    await world.pass(SECOND);
    assert.equal(status().transport, "stream");
    assert.deepEqual(held(), listed());
    await stop();
  });

  test("that is a stream, and ends quietly, is opened anew within 5 s", async () => {
    const { world, beacon, ticketOf, held, listed, redialled, stop } = await setting({ isStream: true });
    await world.pass(MINUTE);
    for (let round = 0; round < 5; round++) {
      beacon.put(ticketOf(newPeer()));
      await world.pass(20 * SECOND);
      beacon.end(4100);
      const waited = await redialled(10 * SECOND);
      assert.ok(waited <= 5_200, `${waited}`);
      assert.match(beacon.dials.at(-1).since, /^00000001-\d+$/);
      await world.pass(SECOND);
      assert.deepEqual(held(), listed());
    }
    await stop();
  });
});

test("a peer whose announce did not wait for the socket is bound when both are there", async () => {
  // The greeting comes when the request is on its way, which is after 1.5 s; then after its answer; and before it.
  for (const greetingMs of [1_460, 1_700, 1_000]) {
    const { beacon, place, stop } = await setting({ greetingMs });
    const asked = place.requests.filter(({ url }) => url.includes("/announce"));
    assert.equal(asked.length, greetingMs > 1_400 ? 1 : 0);
    assert.equal(beacon.heard.filter(({ text }) => text.includes('"bind"')).length, 1);
    await stop();
  }
});

describe("a beacon that is silent", () => {
  test("about an announce gets it as a request within seconds, and one that answers nothing a new connection", async () => {
    const { world, beacon, ann, status, stop } = await setting();
    beacon.overrides.set("announce", undefined);
    const log = beacon.log.length;
    for (let passed = 0; passed < 5 * MINUTE; passed += SECOND) {
      await world.pass(SECOND);
      assert.equal(ann.status().announced, true);
    }
    assert.ok(beacon.log.slice(log).filter(({ path }) => path === "/announce").length >= 2);
    assert.deepEqual([status().transport, beacon.dials.length], ["socket", 1]);
    // A socket that died just after it was last heard of.
    beacon.overrides.clear();
    const announces = () => beacon.heard.filter(({ text }) => text.startsWith('{"t":"announce"')).length;
    const before = announces();
    for (let passed = 0; announces() === before && passed < 5 * MINUTE; passed += SECOND) await world.pass(SECOND);
    await world.pass(45 * SECOND);
    beacon.mute = true;
    for (let passed = 0; status().transport === "socket" && passed < MINUTE; passed += SECOND) await world.pass(SECOND);
    assert.deepEqual([status().transport, ann.status().announced], ["polling", true]);
    await stop();
  });

  test("about its relay keeps nobody waiting for more than 2 s, and is asked once for all", async () => {
    const { world, beacon, connections, stop } = await setting();
    await world.pass(6 * MINUTE);
    const given = async (afterMs) => {
      let all;
      void Promise.all([connections.iceServers(), connections.iceServers()]).then((servers) => (all = JSON.stringify(servers)));
      await world.pass(afterMs);
      return all;
    };
    const binds = () => beacon.heard.filter(({ text }) => text.startsWith('{"t":"bind"')).length;
    const before = binds();
    beacon.overrides.set("bind", undefined);
    assert.equal(await given(2_100), "[[null],[null]]");
    assert.equal(binds(), before + 1);
    // One that had no relay at first may have one now.
    beacon.overrides.set("bind", { t: "bound", iceServers: [{ urls: "stun:stun.example" }] });
    await world.pass(6 * MINUTE);
    await given(SECOND);
    // JSON objects are maps here.
    assert.deepEqual([...(await connections.iceServers())[0][0]], [["urls", "stun:stun.example"]]);
    assert.equal(binds(), before + 2);
    await stop();
  });

  test("about a signal has it given up after 10 s", async () => {
    const { world, beacon, connections, stop } = await setting();
    beacon.overrides.set("signal", undefined);
    let refusal;
    connections.sendSignal("signal-1", '{"t":"signal","id":"signal-1"}').catch(({ message }) => (refusal = message));
    await world.pass(9_900);
    assert.equal(refusal, undefined);
    await world.pass(200);
    assert.equal(refusal, "TIMEOUT");
    await stop();
  });
});

describe("what a beacon refuses is told", () => {
  test("a binding, until there is one", async () => {
    const { world, beacon, status, stop } = await setting();
    beacon.overrides.set("bind", { t: "error", code: "MISDIRECTED_REQUEST" });
    beacon.cut();
    await world.pass(30 * SECOND);
    assert.deepEqual([status().transport, status().bound, status().reason], ["socket", false, "MISDIRECTED_REQUEST"]);
    beacon.overrides.clear();
    await world.pass(3 * MINUTE);
    assert.deepEqual([status().bound, status().reason], [true, undefined]);
    await stop();
  });

  test("a signal, by a code and no other text", async () => {
    const { world, beacon, connections, stop } = await setting();
    const refusals = [];
    for (const [at, code] of ["PEER_BUSY", "no code", "X".repeat(65), 5, undefined, { code: "TOO_FAST" }].entries()) {
      beacon.overrides.set("signal", { t: "error", code });
      const id = `signal-${at}`;
      connections.sendSignal(id, JSON.stringify({ t: "signal", id })).catch(({ message }) => refusals.push(message));
      await world.pass(SECOND);
    }
    assert.deepEqual(refusals, ["PEER_BUSY", ...Array(5).fill("INTERNAL")]);
    await stop();
  });

  test("an announce, whatever it tells of others", async () => {
    const world = new World(1);
    const beacon = new LiveBeacon(world, "https://beacon.example", { intervalMs: 0 });
    beacon.overrides.set("announce", { t: "error", code: "UNTRUSTED_PUBLIC_KEY" });
    const ann = new Rendezvous({ community: COMMUNITY, peerId: "ann", beacons: [beacon.origin] }, world.host());
    live(ann, { WebSocket: world.WebSocket });
    await ann.start();
    await world.pass(3 * SECOND);
    beacon.put(signTicket(newPeer({ peerId: "bob" }), { community: COMMUNITY, issuedAt: world.now }));
    await world.pass(SECOND);
    assert.equal(ann.peers().live.length, 1);
    assert.equal(ann.status().sources[0].reason, "UNTRUSTED_PUBLIC_KEY");
    void ann.stop();
    await world.pass(5 * SECOND);
  });
});

test("a socket that does not open is given up once, and closing it is no second failure", async () => {
  const world = new World(1);
  const beacon = new LiveBeacon(world, "https://beacon.example", { intervalMs: 0 });
  class Hanging {
    send() {}
    // As browsers do, of one that has not opened.
    close() {
      this.onerror?.({});
      this.onclose?.({ code: 1006 });
    }
  }
  const ann = new Rendezvous({ community: COMMUNITY, peerId: "ann", beacons: [beacon.origin] }, world.host());
  const connections = live(ann, { WebSocket: Hanging });
  await ann.start();
  await world.pass(20 * SECOND);
  assert.equal(connections.status()[0].transport, "stream");
  assert.equal(beacon.dials.length, 1);
  void ann.stop();
  await world.pass(5 * SECOND);
});

test("a client is live once, and again after that was stopped", () => {
  const rendezvous = new Rendezvous({ community: COMMUNITY, peerId: "ann", beacons: ["https://beacon.example"] }, new World(1).host());
  const connections = live(rendezvous);
  assert.throws(() => live(rendezvous), { name: "TypeError", message: "live already" });
  connections.stop();
  live(rendezvous).stop();
});

test("a machine that slept opens a new connection at its next look at the clock, and knows what it slept through", async () => {
  for (const isStream of [false, true]) {
    const { world, beacon, ticketOf, ann, held, listed, status, stop } = await setting({ isStream });
    const [bob, cid] = ["bob", "cid"].map((peerId) => newPeer({ peerId }));
    for (const peer of [bob, cid]) beacon.put(ticketOf(peer));
    await world.pass(SECOND);
    assert.equal(held().length, 2);
    world.sleep(10 * MINUTE);
    // Both have ended meanwhile; one was renewed, and somebody has come.
    for (const peer of [bob, newPeer({ peerId: "dan" })]) beacon.put(ticketOf(peer));
    await world.pass(12 * SECOND);
    assert.equal(beacon.dials.length, 2);
    assert.equal(status().transport, isStream ? "stream" : "socket");
    assert.deepEqual(held(), listed());
    assert.equal(held().length, 2);
    assert.ok(beacon.lists("ann"), "it has announced itself again");
    assert.equal(ann.status().announced, true);
    await stop();
  }
});

describe("after an end", () => {
  test("it waits as its code asks", async () => {
    for (const [code, least, most, reason] of [
      [1001, SECOND, 15 * SECOND, "NETWORK"],
      [1006, SECOND, 15 * SECOND, "NETWORK"],
      [1011, SECOND, 15 * SECOND, "INTERNAL"],
      [4100, 0, 5 * SECOND, "NETWORK"],
      [4108, 10 * SECOND, 15 * SECOND, "SLOW"],
      [4129, MINUTE, MINUTE + 15 * SECOND, "TOO_FAST"],
      [4153, MINUTE, MINUTE + 15 * SECOND, "LIVE_FULL"],
      [1003, HOUR, HOUR, "MALFORMED"],
      [4500, HOUR, HOUR, "MALFORMED"],
      [4503, HOUR, HOUR, "UNTRUSTED_PUBLIC_KEY"],
      [4209, Infinity, Infinity, "REPLACED"],
    ]) {
      const { world, beacon, ticketOf, held, listed, status, redialled, stop } = await setting({ seed: code });
      await world.pass(20 * SECOND);
      beacon.end(code);
      await world.pass(30);
      assert.deepEqual([status().transport, status().reason], ["polling", reason], `${code}`);
      // Nothing that an application or a network does meanwhile makes it come sooner.
      const waited = await redialled(HOUR + MINUTE);
      if (most === Infinity) assert.equal(waited, Infinity);
      else assert.ok(waited >= least - 50 && waited <= most + 50, `${code}: ${waited}`);
      // In the meantime, and where it does not come back, it asks.
      beacon.put(ticketOf(newPeer({ peerId: "bob" })));
      await world.pass(3 * MINUTE);
      if (most < Infinity) assert.deepEqual(held(), listed(), `${code}`);
      await stop();
    }
  });

  test("it waits twice as long for each failure in a row, to a minute, and no longer after one that was none", async () => {
    const { world, beacon, redialled, stop } = await setting();
    await world.pass(20 * SECOND);
    beacon.down = true;
    beacon.cut();
    const waits = [];
    for (let failures = 0; failures < 12; failures++) {
      waits.push(await redialled(2 * MINUTE, beacon.dials.at(-1).at));
      await world.pass(200);
    }
    waits.slice(1).forEach((ms, before) => {
      const failures = before + 1;
      const most = Math.min(MINUTE, 15 * SECOND * 2 ** failures);
      const least = Math.min(MINUTE, SECOND * 2 ** failures);
      assert.ok(ms >= least - 300 && ms <= most + 300, `${failures}: ${ms}`);
    });
    assert.ok(beacon.dials.every(({ isSocket }) => isSocket), "where a socket was bound no stream takes its place");
    assert.ok(waits.slice(7).every((ms) => ms > MINUTE - 300), `${waits}`);
    beacon.down = false;
    await redialled(2 * MINUTE);
    await world.pass(20 * SECOND);
    beacon.cut();
    assert.ok((await redialled(2 * MINUTE)) <= 15_100);
    await stop();
  });

  test("what a refusal asks for is clamped", async () => {
    for (const [status, retryAfter, least, most] of [
      [503, "0", MINUTE, MINUTE + 15 * SECOND],
      [503, "90", 90 * SECOND, 105 * SECOND],
      [503, "99999999999", 5 * MINUTE, 5 * MINUTE + 15 * SECOND],
      [429, "-5", 0, 15 * SECOND],
      [429, "tomorrow", 0, 15 * SECOND],
      [429, "1e300", 5 * MINUTE, 5 * MINUTE + 15 * SECOND],
      [404, "1", HOUR, HOUR],
    ]) {
      const { world, beacon, redialled, stop } = await setting({ isStream: true });
      await world.pass(20 * SECOND);
      beacon.refuses = { status, retryAfter };
      beacon.cut();
      await redialled(20 * SECOND);
      await world.pass(1);
      beacon.refuses = undefined;
      const waited = await redialled(HOUR + MINUTE, beacon.dials.at(-1).at);
      // The failure before it doubles the part that is random.
      assert.ok(waited >= least - 50 && waited <= most + 15 * SECOND + 300, `${status} ${retryAfter}: ${waited}`);
      await stop();
    }
  });
});

describe("what a viewer holds is what the beacon lists", () => {
  for (const isStream of [false, true])
    test(`after any history with breaks in its midst, over a ${isStream ? "stream" : "socket"}`, async () => {
      for (let seed = 1; seed <= 12; seed++) {
        const { world, beacon, ann, ticketOf, held, listed, status, redialled, start, stop } = await setting({ seed, isStream, frameWords: 1 + (seed % 4), frames: seed % 3 ? Infinity : 20 });
        const random = seeded(seed);
        const upTo = (most) => Math.floor(random() * most);
        const crowd = Array.from({ length: 14 }, (_, at) => newPeer({ peerId: `peer-${at % 10}` }));
        let last = 0;
        const issuedAt = () => (last = Math.max(last + 1, world.now - 5_000));
        const announce = (peer) => beacon.announce(ticketOf(peer, { issuedAt: issuedAt(), expiresAt: world.now + 20_000 + upTo(150_000) }));
        const events = [
          [30, announce],
          [12, (peer) => beacon.leave(ticketOf(peer, { issuedAt: issuedAt(), leave: true }))],
          [6, (peer) => beacon.records.get(`${peer.peerId}:${peer.publicKey}`) && beacon.drop(beacon.records.get(`${peer.peerId}:${peer.publicKey}`).ticket)],
          [5, () => beacon.cut()],
          // In the midst of a series of frames: of changes, and of everything.
          [5, async () => {
            for (let count = 0; count < 6; count++) announce(crowd[upTo(crowd.length)]);
            await world.pass(100 + upTo(100));
            beacon.cut();
          }],
          [3, async () => {
            beacon.restart();
            await redialled(30 * SECOND, undefined, 50);
            await world.pass(upTo(100));
            beacon.cut();
          }],
          [2, () => beacon.restart()],
          [3, () => beacon.forgetChanges()],
          [3, () => beacon.end(4100)],
          [1, () => world.sleep(upTo(MINUTE))],
          [1, async () => {
            void ann.stop();
            await world.pass(4 * SECOND);
            await start();
          }],
        ];
        const total = events.reduce((sum, [weight]) => sum + weight, 0);
        let most = 0;
        for (let round = 0; round < 15; round++) {
          for (let step = 0; step < 8; step++) {
            let drawn = random() * total;
            const [, happen] = events.find(([weight]) => (drawn -= weight) < 0);
            await happen(crowd[upTo(crowd.length)]);
            // Often within what is under way.
            if (random() < 0.5) await world.pass(upTo(random() < 0.8 ? 150 : 20 * SECOND));
          }
          // A break of just now is noticed first.
          await world.pass(200);
          if (status().transport === "polling") await redialled(2 * MINUTE, undefined, 500);
          await world.pass(SECOND);
          assert.deepEqual(held(), listed(), `seed ${seed}, round ${round}`);
          most = Math.max(most, held().length);
        }
        assert.ok(most >= 5, `${most}`);
        await stop();
      }
    });
});
