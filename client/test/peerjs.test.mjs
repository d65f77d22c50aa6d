// The adapter against a PeerJS of our own: both ends in one process, opening when the test says so.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { mock, test } from "node:test";
import { connectPeers } from "rendezvous-beacon/peerjs";

class FakeConnection extends EventEmitter {
  closed = 0;
  constructor(peer) {
    super();
    this.peer = peer;
  }
  close() {
    this.closed++;
    this.emit("close");
  }
}

class FakePeer extends EventEmitter {
  dialled = [];
  constructor(id) {
    super();
    this.id = id;
  }
  connect(peerId) {
    const connection = new FakeConnection(peerId);
    this.dialled.push(connection);
    return connection;
  }
}

class FakeRendezvous extends EventTarget {
  reports = [];
  list = { live: [], recentlySeen: [] };
  peers = () => this.list;
  connected = (peerId) => this.reports.push(`+${peerId}`);
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
  peer.dialled[0].emit("open");
  peer.dialled[1].emit("error");
  peer.dialled[1].emit("close");
  assert.deepEqual(rendezvous.reports, ["+a", "-b"]);
  assert.deepEqual(opened, ["a"]);
  assert.deepEqual(
    peer.dialled.map(({ peer: peerId }) => peerId),
    ["a", "b", "c"],
  );
  peer.dialled[2].emit("close");
  assert.equal(peer.dialled.length, 3, "b has been tried");
  rendezvous.find("b");
  assert.equal(peer.dialled.length, 4, "b was handed out again");
  detach();
  rendezvous.find("d");
  peer.dialled[3].emit("close");
  peer.emit("connection", new FakeConnection("e"));
  assert.equal(peer.dialled.length, 4);
  assert.deepEqual(rendezvous.reports, ["+a", "-b", "-c"]);
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
    for (const connection of [dialled, incoming]) connection.emit("open");
    assert.deepEqual(opened, [keeps === "dialled" ? dialled : incoming]);
    assert.deepEqual([dialled.closed, incoming.closed], keeps === "dialled" ? [0, 1] : [1, 0]);
    assert.deepEqual(rendezvous.reports, ["+m"]);
    detach();
  }
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
