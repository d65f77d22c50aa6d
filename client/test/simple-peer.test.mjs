// The end of a connection that simple-peer makes, with a peer that notes what it is told.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { SimplePeerEndpoint } from "../dist/simple-peer.js";

test("candidates that are there before the peer wait for it, and come after the offer", async () => {
  const told = [];
  class Noting extends EventEmitter {
    signal(data) {
      told.push(data);
      if (data.type === "offer") this.emit("signal", { type: "answer", sdp: "the answer" });
    }
  }
  const events = { onCandidates() {}, onOpen() {}, onConfirmation() {}, onClose() {} };
  const options = { peer: { peerId: "ann", publicKey: "" }, iceServers: [], relayOnly: false };
  const endpoint = new SimplePeerEndpoint(events, options, () => new Noting());
  endpoint.addCandidates(["candidate:1", "candidate:2"]);
  assert.deepEqual(told, []);
  assert.equal(await endpoint.describe("the offer"), "the answer");
  endpoint.addCandidates(["candidate:3"]);
  const candidates = [1, 2, 3].map((number) => ({ candidate: { candidate: `candidate:${number}`, sdpMLineIndex: 0 } }));
  assert.deepEqual(told, [{ type: "offer", sdp: "the offer" }, ...candidates]);
});
