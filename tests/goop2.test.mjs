// The door for goop2's peers, by HTTP and sockets, with clients that behave as goop2's own do. Rules and limits are tested
// in virtual time, in beacon/tests/service/guests.rs.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { Guest, SILENT_MS, TTL_MS, listen, present } from "./goop2.mjs";
import { HOSTS, withHost } from "./hosts.mjs";
import { ADDRESS_HEADER, announce, call, eventually, peers, raw } from "./http.mjs";
import { closeCode, frameOf, openLive, upgradeRequest } from "./live.mjs";
import { signTicket } from "./ticket.mjs";

const RELAY = "/ip4/203.0.113.9/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
const NAMES = Array.from({ length: 20 }, (_, number) => `door-${number + 1}`);
const VARS = { COMMUNITIES: ["mainnet", ...NAMES].join(), GOOP2_COMMUNITIES: NAMES.slice(0, 16).join(), GOOP2_RELAY: RELAY, PEERS_MAX_AGE_SECONDS: "0", ADDRESS_REQUESTS_PER_MINUTE: "600" };

let addresses = 0;
/** A public address of a network that no other test knows. */
const newAddress = () => `198.${(addresses += 1)}.0.1`;

for (const host of HOSTS) describe(host.name, () => {
  let beacon;
  let url;
  const log = [];
  let doors = 0;
  const newDoor = () => {
    const community = NAMES[doors++];
    return { community, door: `${url}/goop2/${community}` };
  };
  before(async () => {
    beacon = await host.start({ vars: VARS, log: (line) => log.push(line) });
    url = beacon.url;
  });
  after(() => beacon.stop());

  test("two clients beat for a minute without a reconnect, and never forget each other", async () => {
    const { door } = newDoor();
    const guests = [1, 2].map(() => new Guest(door, { address: newAddress() }));
    const end = new AbortController();
    const all = guests.map((guest) => guest.live(end.signal));
    const listener = await listen(door, newAddress());
    const heard = new Map();
    let longest = 0;
    const reads = (async () => {
      for (;;) {
        const before = listener.messages.length;
        await listener.next();
        for (const { peerId } of listener.messages.slice(before)) {
          longest = Math.max(longest, Date.now() - (heard.get(peerId) ?? Date.now()));
          heard.set(peerId, Date.now());
        }
      }
    })();
    reads.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    end.abort();
    await Promise.all(all);
    await listener.end();
    for (const guest of guests) {
      assert.equal(guest.reconnects, 0);
      assert.ok(Date.now() - guest.heardAt < SILENT_MS);
      assert.equal(present(guest.messages).size, 2);
    }
    assert.equal(heard.size, 2);
    assert.ok(longest < TTL_MS, `${longest} ms without a word of a peer`);
    // 12 heartbeats a peer came in, and 5 words a peer went out to whoever only listens.
    assert.ok(listener.messages.length <= 14, `${listener.messages.length} messages`);
    for (const guest of guests) guest.socket.close();
  });

  test("a client without sockets publishes by HTTP and reads the event stream", async () => {
    const { door } = newDoor();
    const listener = await listen(door, newAddress());
    assert.equal(listener.headers.get("Content-Type"), "text/event-stream");
    assert.equal(await listener.next(), ": ok");
    const guest = new Guest(door, { address: newAddress() });
    assert.equal(await guest.publish(), 204);
    await listener.until((messages) => messages.length === 1);
    assert.deepEqual({ ...listener.messages[0], ts: 0 }, { type: "online", peerId: guest.peerId, content: "hello", ts: 0 });
    assert.equal(await guest.publish("update", { content: "changed" }), 204);
    await listener.until((messages) => messages.at(-1).content === "changed");
    const late = await listen(door, newAddress());
    await late.until((messages) => messages.length === 1);
    assert.equal(late.messages[0].content, "changed", "whoever comes hears who is there");
    await guest.publish("offline");
    await listener.until((messages) => present(messages).size === 0);
    await Promise.all([listener.end(), late.end()]);
  });

  test("a probe is closed with its code, and a socket comes after a message", async () => {
    const { door } = newDoor();
    const guest = new Guest(door, { address: newAddress() });
    await guest.open("probe=1");
    assert.deepEqual(await guest.socket.closed, { code: 1000, reason: "probe-ok" });
    const early = await raw(url, upgradeRequest(url, `${new URL(door).pathname}/ws?peer_id=${guest.peerId}`, { Connection: "Upgrade, close", [ADDRESS_HEADER]: guest.address }));
    assert.match(early, /^HTTP\/1\.1 425 /);
    assert.equal(await guest.publish(), 204);
    await guest.open();
    await guest.until((messages) => messages.some(({ peerId }) => peerId === guest.peerId));
    guest.socket.close();
    await guest.socket.closed;
  });

  test("of twenty quick reconnects the last stays, and the end of the others takes nobody off", async () => {
    const { door } = newDoor();
    const guest = new Guest(door, { address: newAddress() });
    const listener = new Guest(door, { address: newAddress() });
    await listener.publish();
    await listener.open();
    await guest.publish();
    const sockets = [];
    for (let tries = 0; tries < 20; tries += 1) sockets.push(await guest.open());
    const ends = await Promise.all(sockets.slice(0, 19).map(({ closed }) => closed));
    assert.deepEqual(new Set(ends.map(({ code, reason }) => `${code} ${reason}`)), new Set(["4209 REPLACED"]));
    guest.send(guest.message("update", { content: "still here" }));
    await listener.until((messages) => messages.some(({ content }) => content === "still here"));
    assert.ok(!listener.messages.some(({ type }) => type === "offline"));
    guest.socket.close();
    await listener.until((messages) => messages.some(({ type, peerId }) => type === "offline" && peerId === guest.peerId));
    listener.socket.close();
  });

  test("nobody ends, changes or listens as a guest from another network", async () => {
    const { door } = newDoor();
    const guest = new Guest(door, { address: newAddress() });
    const foreign = new Guest(door, { address: newAddress(), keys: guest.keys });
    assert.equal(await guest.publish(), 204);
    for (const type of ["online", "update", "offline"]) assert.equal(await foreign.publish(type, { content: "stolen" }), 409);
    await assert.rejects(foreign.open());
    const { json } = await call(door, "/peers.json");
    assert.deepEqual(json.map(({ peer_id, content, verified }) => [peer_id, content, verified]), [[guest.peerId, "hello", false]]);
  });

  test("e-mail addresses, tokens and private addresses are told to nobody", async () => {
    const { community, door } = newDoor();
    const address = newAddress();
    const own = `/ip4/${address}/udp/4001/quic-v1`;
    const addrs = ["/ip4/192.168.1.5/tcp/4001", "/ip6/fd00::1/tcp/4001", own, "/dns4/victim.example/tcp/443", `${RELAY}/p2p-circuit`];
    const guest = new Guest(door, { address, fields: { addrs, email: "zoe@a.example", verificationToken: "token-1", verified: true, publicKey: "a2V5" } });
    const listener = await listen(door, newAddress());
    await guest.publish();
    await guest.open();
    await guest.until((messages) => messages.length > 0);
    await listener.until((messages) => messages.length > 0);
    const rows = await call(door, "/peers.json");
    const list = await peers(url, { community });
    for (const text of [JSON.stringify(listener.messages), JSON.stringify(guest.messages), rows.text, list.text]) {
      for (const dropped of ["zoe@", "token-1", "192.168", "fd00", "victim"]) assert.ok(!text.includes(dropped), `${dropped} in ${text}`);
    }
    assert.deepEqual(listener.messages[0].addrs, [own, `${RELAY}/p2p-circuit`]);
    assert.deepEqual([listener.messages[0].publicKey, listener.messages[0].verified], ["a2V5", undefined]);
    assert.equal(list.json.total, 0, "a guest is in no list");
    await listener.end();
    guest.socket.close();
  });

  test("a household has four guests, a community 64, and a body 16,384 bytes", async () => {
    const { door } = newDoor();
    const home = newAddress();
    const household = await Promise.all(Array.from({ length: 6 }, () => new Guest(door, { address: home }).publish()));
    assert.deepEqual(household.sort(), [204, 204, 204, 204, 429, 429]);
    const statuses = await Promise.all(Array.from({ length: 80 }, () => new Guest(door, { address: newAddress() }).publish()));
    assert.ok(statuses.filter((status) => status === 204).length >= 60);
    assert.equal((await call(door, "/peers.json", { address: newAddress() })).json.length, 64);
    const tooLong = await new Guest(door, { address: home, fields: { unknown: "x".repeat(16_384) } }).publish();
    assert.equal(tooLong, 413);
  });

  test("whoever signs a ticket with that very key is no guest, and a guest is in no other stream", async () => {
    const { community, door } = newDoor();
    const guest = new Guest(door, { address: newAddress() });
    const viewer = await openLive(url, { community, address: newAddress() });
    const listener = await listen(door, newAddress());
    await guest.publish();
    await listener.until((messages) => messages.length === 1);
    const publicKey = guest.keys.publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("base64");
    const peer = { peerId: "signer", userId: "user", publicKey, privateKey: guest.keys.privateKey };
    assert.equal((await announce(url, signTicket(peer, { community }), { community })).json.listed, true);
    await viewer.until(({ view }) => view.peerIds.join() === "signer");
    assert.equal(await guest.publish(), 204);
    await listener.until((messages) => present(messages).size === 0);
    assert.deepEqual((await call(door, "/peers.json")).json, []);
    assert.ok(!JSON.stringify(viewer.messages).includes(guest.peerId));
    await Promise.all([viewer.close(), listener.end()]);
  });

  test("a viewer of GET /live is told of guests, as unverified, if it asks", async () => {
    const { community, door } = newDoor();
    const guest = new Guest(door, { address: newAddress() });
    await guest.publish();
    const viewer = await openLive(url, { community, guests: "1", address: newAddress() });
    const told = (live) => live.messages.findLast(({ t }) => t === "guests")?.guests;
    await viewer.until((live) => told(live)?.length === 1);
    assert.deepEqual(told(viewer), [{ peerId: guest.peerId, content: "hello", verified: false }]);
    await guest.publish("offline");
    await viewer.until((live) => told(live).length === 0);
    assert.deepEqual(viewer.view.peerIds, []);
    await viewer.close();
  });

  test("a flood by a socket that ignores its end harms nobody else", async () => {
    const { door } = newDoor();
    const [guest, flooder] = [1, 2].map(() => new Guest(door, { address: newAddress() }));
    await guest.publish();
    await guest.open();
    await flooder.publish();
    const { hostname, port, pathname } = new URL(door);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    const received = [];
    socket.on("data", (bytes) => received.push(bytes));
    await once(socket, "connect");
    socket.write(upgradeRequest(url, `${pathname}/ws?peer_id=${flooder.peerId}`, { [ADDRESS_HEADER]: flooder.address }));
    const frames = Buffer.concat(Array.from({ length: 2_000 }, () => frameOf(JSON.stringify(flooder.message()))));
    for (let sent = 0; sent < 10 && !socket.destroyed; sent += 1) socket.write(frames);
    guest.send(guest.message("update", { content: "still heard" }));
    await guest.until((messages) => messages.some(({ content }) => content === "still heard"));
    await guest.until((messages) => messages.some(({ type, peerId }) => type === "offline" && peerId === flooder.peerId));
    await eventually(async () => closeCode(Buffer.concat(received)), (code) => code === 4129);
    socket.destroy();
    await assert.rejects(flooder.open(), "its address has to wait");
    guest.socket.close();
  });

  test("what is not offered is 404, and there is no door that was not opened", async () => {
    const { door } = newDoor();
    const { text, headers } = await call(door, "/healthz");
    assert.deepEqual([text, headers.get("Content-Type")], ["ok", "text/plain; charset=utf-8"]);
    const { json } = await call(door, "/api/capabilities");
    assert.deepEqual(json, { encryption: false, registration: false, credits: false, templates: false, bridge: false, relay: true });
    assert.deepEqual((await call(door, "/relay")).json, { peer_id: RELAY.split("/").at(-1), addrs: [RELAY] });
    for (const path of ["/register", "/store", "/api/templates"]) assert.equal((await call(door, path)).status, 404);
    assert.equal((await call(url, "/goop2/mainnet/healthz")).status, 404);
    assert.equal((await call(door, "/publish", { method: "POST", body: "{" })).status, 400);
    assert.equal((await call(door, "/publish")).status, 405);
  });

  test("nothing unusual is in the log, and no address", () => {
    assert.deepEqual(log.filter((line) => ![...host.notes, ...host.asides].some((note) => line.includes(note))), []);
  });

  test("an orderly end is said to sockets, and does not wait for streams", async () => {
    await withHost(host, { vars: VARS }, async ({ url, stop }) => {
      const door = `${url}/goop2/${NAMES[0]}`;
      const guest = new Guest(door, { address: newAddress() });
      await guest.publish();
      await guest.open();
      const listener = await listen(door, newAddress());
      await listener.until((messages) => messages.length === 1);
      await stop();
      assert.deepEqual(await guest.socket.closed, host.lastWord);
    });
  });

  test("a variable that cannot be read is named, and nothing is served", async () => {
    for (const [vars, named] of [
      [{ GOOP2_COMMUNITIES: "unknown" }, /variable GOOP2_COMMUNITIES/],
      [{ GOOP2_COMMUNITIES: "mainnet", GOOP2_RELAY: "/ip4/203.0.113.9/tcp/4001" }, /variable GOOP2_RELAY/],
    ]) {
      const said = [];
      const serves = async () => {
        const { url, stop } = await host.start({ vars, log: (line) => said.push(line) });
        try {
          return (await call(url, "/healthz")).status;
        } finally {
          await stop();
        }
      };
      const outcome = await serves().catch(({ message }) => said.push(message));
      assert.notEqual(outcome, 200);
      assert.match(said.join("\n"), named);
    }
  });
});
