// The adapter against a PeerJS of our own: both ends in one process, opening when the test says so.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { mock, test } from "node:test";
import { connectPeers } from "rendezvous-beacon/peerjs";

/** PeerJS's emitter does not throw an error that nobody listens for. */
class FakeEmitter extends EventEmitter {
  emit(event, ...details) {
    return this.listenerCount(event) > 0 && super.emit(event, ...details);
  }
}

class FakeConnection extends FakeEmitter {
  closed = 0;
  isOpen = false;
  constructor(peer, metadata) {
    super();
    Object.assign(this, { peer, metadata });
  }
  open() {
    this.isOpen = true;
    this.emit("open");
  }
  /** Nobody hears of the end of one that was not open. */
  close() {
    this.closed++;
    if (!this.isOpen) return;
    this.isOpen = false;
    this.emit("close");
  }
}

class FakePeer extends FakeEmitter {
  dialled = [];
  constructor(id) {
    super();
    this.id = id;
  }
  connect(peerId, { metadata }) {
    const connection = new FakeConnection(peerId, metadata);
    this.dialled.push(connection);
    return connection;
  }
}

class FakeRendezvous extends EventTarget {
  reports = [];
  list = { live: [], recentlySeen: [] };
  peers = () => this.list;
  dialling = () => {};
  hasTrustedKeys = false;
  added = [];
  /** At once, so that tests need not wait. */
  ticket = () => ({ then: (use) => use("my own ticket") });
  add = async (ticket) => {
    this.added.push(ticket);
    return this.refusal;
  };
  hows = [];
  connected = (peerId, publicKey, { inbound }) => {
    this.reports.push(`+${peerId}`);
    this.hows.push(inbound);
  };
  failed = (peerId) => this.reports.push(`-${peerId}`);
  find(...names) {
    const live = names.map((peerId) => ({ peerId }));
    this.list = {
      live: [...this.list.live, ...live.filter(({ peerId }) => !this.list.live.some((held) => held.peerId === peerId))],
      recentlySeen: [],
    };
    this.dispatchEvent(new CustomEvent("peers", { detail: { live, recentlySeen: [] } }));
  }
}

test("dials what is handed out up to the limit, reports, and takes the next when one is lost", () => {
  const [rendezvous, peer, opened] = [new FakeRendezvous(), new FakePeer("m"), []];
  const detach = connectPeers(rendezvous, peer, { limit: 2, onConnection: ({ peer: peerId }) => opened.push(peerId) });
  rendezvous.find("a", "b", "c");
  assert.deepEqual(
    peer.dialled.map(({ peer: peerId }) => peerId),
    ["a", "b"],
  );
  peer.dialled[0].open();
  peer.dialled[1].emit("error");
  assert.equal(peer.dialled[1].closed, 1);
  assert.deepEqual(rendezvous.reports, ["+a", "-b"]);
  assert.deepEqual(opened, ["a"]);
  assert.deepEqual(
    peer.dialled.map(({ peer: peerId }) => peerId),
    ["a", "b", "c"],
  );
  peer.dialled[2].open();
  peer.dialled[2].emit("error");
  assert.deepEqual(rendezvous.reports, ["+a", "-b", "+c"], "a message that is too long is not the end of a connection");
  peer.dialled[2].close();
  assert.equal(peer.dialled.length, 3, "b has been tried");
  rendezvous.find("b");
  assert.equal(peer.dialled.length, 4, "b was handed out again");
  detach();
  assert.deepEqual(
    peer.dialled.map(({ closed }) => closed),
    [0, 1, 1, 1],
    "what was not open yet is given up",
  );
  rendezvous.find("d");
  peer.emit("connection", new FakeConnection("e"));
  peer.dialled[0].close();
  assert.equal(peer.dialled.length, 4);
  assert.deepEqual(rendezvous.reports, ["+a", "-b", "+c", "-c"]);
});

test("a peer that the signalling server does not know makes room for the next at once", () => {
  const [rendezvous, peer] = [new FakeRendezvous(), new FakePeer("m")];
  const detach = connectPeers(rendezvous, peer, { limit: 2 });
  const reportUnknown = (peerId) =>
    peer.emit("error", Object.assign(new Error(`Could not connect to peer ${peerId}`), { type: "peer-unavailable" }));
  rendezvous.find("a", "the a", "b", "c");
  assert.equal(peer.dialled.length, 2);
  peer.emit("error", Object.assign(new Error("Could not connect to peer a"), { type: "network" }));
  reportUnknown("nobody");
  assert.deepEqual(rendezvous.reports, [], "nothing of that is about a connection");
  reportUnknown("a");
  assert.deepEqual(
    peer.dialled.map(({ peer: peerId, closed }) => [peerId, closed]),
    [
      ["a", 1],
      ["the a", 0],
      ["b", 0],
    ],
  );
  reportUnknown("a");
  assert.deepEqual(rendezvous.reports, ["-a"]);

  // Said late (a candidate had nowhere to go), it ends neither an open connection nor one that the other has dialled.
  peer.dialled[1].open();
  reportUnknown("the a");
  const incoming = new FakeConnection("z");
  peer.emit("connection", incoming);
  reportUnknown("z");
  assert.deepEqual(rendezvous.reports, ["-a", "+the a"]);
  assert.deepEqual([peer.dialled[1].closed, incoming.closed], [0, 0]);
  detach();
  assert.equal(peer.listenerCount("error"), 0);
});

test("of two connections between the same peers, that of the smaller name stays", () => {
  for (const [own, keeps] of [
    ["a", "dialled"],
    ["z", "accepted"],
  ]) {
    const [rendezvous, peer, opened] = [new FakeRendezvous(), new FakePeer(own), []];
    const detach = connectPeers(rendezvous, peer, { onConnection: (connection) => opened.push(connection) });
    rendezvous.find("m");
    const incoming = new FakeConnection("m");
    peer.emit("connection", incoming);
    const [dialled] = peer.dialled;
    for (const connection of [dialled, incoming]) if (connection.closed === 0) connection.open();
    assert.deepEqual(opened, [keeps === "dialled" ? dialled : incoming]);
    assert.deepEqual([dialled.closed, incoming.closed], keeps === "dialled" ? [0, 1] : [1, 0]);
    assert.deepEqual(rendezvous.reports, ["+m"]);
    detach();
  }
});

test("a dial that crosses another, and reaches nobody, does not cost the other", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const [rendezvous, peer, opened] = [new FakeRendezvous(), new FakePeer("a"), []];
  const onConnection = (connection) => opened.push(connection);
  const detach = connectPeers(rendezvous, peer, { timeoutMs: 1_000, onConnection });
  rendezvous.find("m", "n");
  const [toM, toN] = peer.dialled;
  const [fromM, fromN] = [new FakeConnection("m"), new FakeConnection("n")];
  for (const connection of [fromM, fromN]) {
    peer.emit("connection", connection);
    connection.open();
  }
  // It did reach n: both sides prefer it.
  toN.open();
  mock.timers.tick(1_000);
  assert.deepEqual(opened, [fromM, fromN, toN]);
  assert.deepEqual(
    [toM, fromM, toN, fromN].map(({ closed }) => closed),
    [1, 0, 0, 1],
  );
  assert.deepEqual(rendezvous.reports, ["+m", "+n", "+n"]);
  detach();
  mock.timers.reset();
});

test("a peer that dials again has lost the connection that is still open here", () => {
  for (const own of ["a", "z"]) {
    const [rendezvous, peer, events] = [new FakeRendezvous(), new FakePeer(own), []];
    const detach = connectPeers(rendezvous, peer, {
      onConnection: (connection) => {
        const name = connection === peer.dialled[0] ? "old" : "new";
        events.push(`${name} open`);
        connection.on("close", () => events.push(`${name} closed`));
      },
    });
    rendezvous.find("m");
    const [old] = peer.dialled;
    old.open();

    const [abandoned, last] = [new FakeConnection("m"), new FakeConnection("m")];
    peer.emit("connection", abandoned);
    peer.emit("connection", last);
    assert.deepEqual([old.closed, abandoned.closed, last.closed], [0, 1, 0], "the old one stays until another is open");
    last.open();
    assert.equal(old.closed, 1);
    assert.deepEqual(events, ["old open", "old closed", "new open"]);
    assert.deepEqual(rendezvous.reports, ["+m", "+m"], "it has not been lost");
    last.close();
    assert.deepEqual(rendezvous.reports, ["+m", "+m", "-m"]);
    detach();
  }
});

test("of an open connection and the one that is to replace it, a peer is lost with the last", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const [rendezvous, peer] = [new FakeRendezvous(), new FakePeer("a")];
  const detach = connectPeers(rendezvous, peer, { timeoutMs: 1_000, limit: 2 });
  const accept = () => {
    const incoming = new FakeConnection("m");
    peer.emit("connection", incoming);
    return incoming;
  };
  const first = accept();
  first.open();
  const silent = accept();
  rendezvous.find("x", "y", "z");
  assert.deepEqual(
    peer.dialled.map(({ peer: peerId }) => peerId),
    ["x", "y"],
    "what others dial takes no place",
  );
  peer.dialled[1].open();
  peer.dialled[0].open();
  mock.timers.tick(1_000);
  assert.equal(silent.closed, 1);
  assert.deepEqual([first.closed, rendezvous.reports], [0, ["+m", "+y", "+x"]], "the old one is still there");

  const second = accept();
  first.close();
  assert.deepEqual(rendezvous.reports, ["+m", "+y", "+x"], "another may soon be open");
  second.open();
  accept();
  second.close();
  mock.timers.tick(1_000);
  assert.deepEqual(rendezvous.reports, ["+m", "+y", "+x", "+m", "-m"]);
  assert.equal(peer.dialled.length, 2);
  detach();
  mock.timers.reset();
});

test("a peer that dials again before its last dial is answered has given that up", () => {
  const [rendezvous, peer] = [new FakeRendezvous(), new FakePeer("a")];
  const detach = connectPeers(rendezvous, peer);
  const [former, latter] = [new FakeConnection("m"), new FakeConnection("m")];
  for (const connection of [former, latter]) peer.emit("connection", connection);
  latter.open();
  assert.deepEqual([former.closed, latter.closed], [1, 0]);
  assert.deepEqual(rendezvous.reports, ["+m"]);
  detach();
});

test("a connection that does not open is given up", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const [rendezvous, peer] = [new FakeRendezvous(), new FakePeer("m")];
  rendezvous.find("a");
  const detach = connectPeers(rendezvous, peer, { timeoutMs: 1_000 });
  assert.equal(peer.dialled.length, 1, "those that were known before, too");
  mock.timers.tick(1_000);
  assert.deepEqual(rendezvous.reports, ["-a"]);
  assert.equal(peer.dialled[0].closed, 1);
  detach();
  mock.timers.reset();
});

test("strangers who connect keep this page from dialling nobody, and there is a limit to them", () => {
  const [rendezvous, peer, opened] = [new FakeRendezvous(), new FakePeer("a"), []];
  const options = { limit: 3, inboundLimit: 10, onConnection: (connection) => opened.push(connection) };
  const detach = connectPeers(rendezvous, peer, options);
  const strangers = Array.from({ length: 12 }, (_, at) => new FakeConnection(`stranger-${at}`));
  for (const connection of strangers) {
    peer.emit("connection", connection);
    if (connection.closed === 0) connection.open();
  }
  assert.deepEqual(
    strangers.map(({ closed }) => closed),
    [...Array(10).fill(0), 1, 1],
  );
  rendezvous.find("b", "c", "d", "e");
  assert.deepEqual(
    peer.dialled.map(({ peer: peerId }) => peerId),
    ["b", "c", "d"],
  );
  // One that is to replace another, or that crosses a dial, is none more.
  const again = new FakeConnection("stranger-3");
  const crossing = new FakeConnection("c");
  for (const connection of [again, crossing]) {
    peer.emit("connection", connection);
    connection.open();
  }
  assert.deepEqual([again.closed, crossing.closed], [0, 0]);
  strangers[0].close();
  const next = new FakeConnection("next");
  peer.emit("connection", next);
  assert.equal(next.closed, 1, "c took that place");
  strangers[1].close();
  const last = new FakeConnection("last");
  peer.emit("connection", last);
  assert.equal(last.closed, 0);
  assert.deepEqual(rendezvous.hows.slice(0, 10), Array(10).fill(true));
  peer.dialled[0].open();
  assert.equal(rendezvous.hows.at(-1), false);
  detach();
});

/** As long as promises take that wait for nothing. */
const settle = () => new Promise((resolve) => setImmediate(resolve));
const ticketFor = (peerId) => JSON.stringify({ payload: { peerId } });

test("the caller's ticket comes with the call, and is kept; one that is bad or another's ends it", async () => {
  for (const [metadata, refusal, isAccepted, isAdded] of [
    [{ ticket: ticketFor("m") }, undefined, true, true],
    [{ ticket: ticketFor("m") }, "REVOKED_PUBLIC_KEY", false, true],
    [{ ticket: ticketFor("n") }, undefined, false, false],
    [{ ticket: "no JSON" }, undefined, false, false],
    [{ ticket: null }, undefined, false, false],
    [{ ticket: 5 }, undefined, false, false],
    [{}, undefined, true, false],
    [undefined, undefined, true, false],
    ["of the application's", undefined, true, false],
  ])
    for (const opensEarly of [false, true]) {
      const [rendezvous, peer, opened] = [new FakeRendezvous(), new FakePeer("a"), []];
      rendezvous.refusal = refusal;
      const detach = connectPeers(rendezvous, peer, { onConnection: (connection) => opened.push(connection) });
      rendezvous.find("b");
      assert.deepEqual(peer.dialled[0].metadata, { ticket: "my own ticket" });
      const incoming = new FakeConnection("m", metadata);
      peer.emit("connection", incoming);
      if (opensEarly) incoming.open();
      await settle();
      if (!opensEarly && incoming.closed === 0) incoming.open();
      await settle();
      const what = JSON.stringify([metadata, refusal, opensEarly]);
      assert.deepEqual([opened.length === 1, incoming.closed === 0], [isAccepted, isAccepted], what);
      assert.deepEqual(rendezvous.added, isAdded ? [metadata.ticket] : [], what);
      assert.deepEqual(rendezvous.reports, isAccepted ? ["+m"] : [], what);
      detach();
    }
});

test("without a ticket nobody comes in where keys are trusted, or one is required", async () => {
  for (const [hasTrustedKeys, requireTicket, isAccepted] of [
    [true, undefined, false],
    [true, false, true],
    [false, true, false],
    [false, undefined, true],
  ]) {
    const [rendezvous, peer] = [new FakeRendezvous(), new FakePeer("a")];
    rendezvous.hasTrustedKeys = hasTrustedKeys;
    const detach = connectPeers(rendezvous, peer, { requireTicket });
    const incoming = new FakeConnection("m");
    peer.emit("connection", incoming);
    await settle();
    assert.equal(incoming.closed === 0, isAccepted);
    detach();
  }
});

test("a ticket that cannot be had, or comes late, keeps nobody from dialling", async () => {
  for (const ticket of [() => Promise.reject(new Error("locked")), async () => undefined]) {
    const [rendezvous, peer] = [new FakeRendezvous(), new FakePeer("a")];
    rendezvous.ticket = ticket;
    const detach = connectPeers(rendezvous, peer, { limit: 2 });
    rendezvous.find("b", "c", "d");
    await settle();
    assert.deepEqual(
      peer.dialled.map(({ peer: peerId, metadata }) => [peerId, metadata.ticket]),
      [
        ["b", undefined],
        ["c", undefined],
      ],
    );
    rendezvous.find("e");
    detach();
    await settle();
    assert.equal(peer.dialled.length, 2, "it was given up meanwhile");
  }
});

test("a call that never opens, or is refused, says nothing of the peer whose name it used", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const [rendezvous, peer] = [new FakeRendezvous(), new FakePeer("a")];
  const detach = connectPeers(rendezvous, peer, { timeoutMs: 1_000, limit: 1 });
  rendezvous.find("x");
  const silent = new FakeConnection("m");
  peer.emit("connection", silent);
  mock.timers.tick(1_000);
  assert.equal(silent.closed, 1);
  const refused = new FakeConnection("m", { ticket: ticketFor("n") });
  peer.emit("connection", refused);
  await settle();
  assert.equal(refused.closed, 1);
  assert.deepEqual(rendezvous.reports, ["-x"], "the one that was dialled");

  // Unless it was there before: then it is lost with the last.
  const [good, next] = [new FakeConnection("m"), new FakeConnection("m", { ticket: ticketFor("n") })];
  peer.emit("connection", good);
  good.open();
  peer.emit("connection", next);
  good.close();
  assert.deepEqual(rendezvous.reports, ["-x", "+m"]);
  await settle();
  assert.deepEqual(rendezvous.reports, ["-x", "+m", "-m"]);
  detach();
  mock.timers.reset();
});
