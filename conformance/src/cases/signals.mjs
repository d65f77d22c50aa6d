// Section 16 of the specification: what a beacon does with signals.

import assert from "node:assert/strict";
import { Live, joinLive, signSignal } from "../live.mjs";
import { base64 } from "../signing.mjs";
import { newPeer } from "../ticket.mjs";

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

const add = (id, title, run, attack) => cases.push({ id: `signals.${id}`, spec: "16", title, level: "live", attack, run });

/** Two peers with connections, each in a network of its own where that can be. */
const pair = async (trial) => [await joinLive(trial), await joinLive(trial, { address: trial.beacon.newAddress() })];

const isSignal = ({ t }) => t === "signal";

for (const [kind, more] of [
  ["offer", {}],
  ["answer", { re: base64(32) }],
  ["candidate", { re: base64(32) }],
]) {
  add(`delivered.${kind}`, `${/^[ao]/.test(kind) ? "an" : "a"} ${kind} is handed on and answered delivered`, async (trial) => {
    const [a, b] = await pair(trial);
    const signal = signSignal(trial, a.peer, b.peer, { kind, ...more });
    assert.deepEqual(await a.signal(signal), { t: "delivered", re: signal.id });
    assert.deepEqual(await b.socket.until(({ messages }) => messages.find(isSignal), "the signal"), signal);
  });
}
add("as-it-came", "a signal is handed on as it came, byte for byte", async (trial) => {
  const [a, b] = await pair(trial);
  const text = JSON.stringify(signSignal(trial, a.peer, b.peer, { data: `v=0\r\n${'é𝄞"\\'.repeat(500)}` }), null, 1);
  assert.equal((await a.signal(text)).t, "delivered");
  await b.socket.until(({ texts }) => texts.includes(text), "the same text");
});
add("data.8192-bytes", "data of 8,192 bytes is handed on", async (trial) => {
  const [a, b] = await pair(trial);
  assert.equal((await a.signal(signSignal(trial, a.peer, b.peer, { data: "d".repeat(8_192) }))).t, "delivered");
});
add("with-ticket", "a signal may have its sender's ticket in it", async (trial) => {
  const [a, b] = await pair(trial);
  const signal = { ...signSignal(trial, a.peer, b.peer), ticket: trial.ticket(a.peer) };
  assert.equal((await a.signal(signal)).t, "delivered");
  assert.deepEqual(await b.socket.until(({ messages }) => messages.find(isSignal), "the signal"), signal);
});
add(
  "to-nobody-else",
  "a signal comes to its receiver alone",
  async (trial) => {
    const [a, b] = await pair(trial);
    const third = await joinLive(trial, { address: trial.beacon.newAddress() });
    await a.signal(signSignal(trial, a.peer, b.peer));
    await b.socket.until(({ messages }) => messages.find(isSignal), "the signal");
    third.socket.send("ping");
    await third.socket.until(({ messages }) => messages.includes("pong"), "pong");
    assert.ok(![...third.messages, ...a.messages].some(isSignal));
  },
  "signal-forgery",
);
add(
  "to-one-claim",
  "of two keys with one name the one that is meant gets it",
  async (trial) => {
    const [a, b] = await pair(trial);
    const namesake = await joinLive(trial, { peer: newPeer({ peerId: b.peer.peerId }), address: trial.beacon.newAddress() });
    await a.signal(signSignal(trial, a.peer, b.peer));
    await b.socket.until(({ messages }) => messages.find(isSignal), "the signal");
    assert.ok(!namesake.messages.some(isSignal));
  },
  "signal-forgery",
);

/** Refuses a signal by name, and hands nothing on. */
const refused = (id, code, title, make, attack) =>
  add(
    `refused.${id}`,
    `${title} is ${code}`,
    async (trial) => {
      const [a, b] = await pair(trial);
      const signal = await make({ trial, a: a.peer, b: b.peer, live: a });
      const error = await a.signal(signal);
      assert.deepEqual([error.t, error.code, error.re], ["error", code, signal.id]);
      b.socket.send("ping");
      await b.socket.until(({ messages }) => messages.includes("pong"), "pong");
      assert.ok(!b.messages.some(isSignal), "it was handed on all the same");
    },
    attack,
  );
refused(
  "another-name",
  "ANOTHER_PEER",
  "a signal in another's name",
  ({ trial, a, b }) => signSignal(trial, { ...a, peerId: "another" }, b),
  "signal-forgery",
);
refused(
  "another-key",
  "ANOTHER_PEER",
  "a signal with another's key",
  ({ trial, a, b }) => signSignal(trial, { ...a, publicKey: b.publicKey }, b),
  "signal-forgery",
);
refused("handed-on", "ANOTHER_PEER", "another's signal, handed on", ({ trial, b }) => signSignal(trial, newPeer(), b), "signal-forgery");
refused("old", "SIGNAL_TIME", "a signal of 32 s ago", ({ trial, a, b }) => signSignal(trial, a, b, { at: trial.now() - 32_000 }), "replay");
refused(
  "ahead",
  "SIGNAL_TIME",
  "a signal 38 s ahead",
  ({ trial, a, b }) => signSignal(trial, a, b, { at: trial.now() + 38_000 }),
  "future",
);
refused("to-nobody", "PEER_ABSENT", "a signal to nobody", ({ trial, a }) => signSignal(trial, a, newPeer()));
refused(
  "to-another-key",
  "PEER_ABSENT",
  "a signal to another key of the name",
  ({ trial, a, b }) => signSignal(trial, a, { ...b, publicKey: newPeer().publicKey }),
  "signal-forgery",
);
refused("to-unbound", "PEER_ABSENT", "a signal to a peer that has no connection", async ({ trial, a }) =>
  signSignal(trial, a, (await trial.join()).peer),
);
add(
  "refused.unbound",
  "a signal over a connection that is not bound is NOT_BOUND",
  async (trial) => {
    const receiver = await joinLive(trial);
    const peer = newPeer();
    const live = await Live.open(trial);
    await live.announce(trial.ticket(peer));
    assert.equal((await live.signal(signSignal(trial, peer, receiver.peer))).code, "NOT_BOUND");
  },
  "signal-forgery",
);
add("refused.after-leaving", "whoever has left is not bound any more", async (trial) => {
  const [a, b] = await pair(trial);
  await a.leave(trial.goodbye(a.peer));
  assert.equal((await a.signal(signSignal(trial, a.peer, b.peer))).code, "NOT_BOUND");
});
add("refused.unbound-before-another-peer", "NOT_BOUND comes before ANOTHER_PEER", async (trial) => {
  const live = await Live.open(trial);
  assert.equal((await live.signal(signSignal(trial, newPeer(), newPeer()))).code, "NOT_BOUND");
});

/** Refuses what is not of the shape of a signal, without `re`. */
const malformed = (id, title, change) =>
  add(`malformed.${id}`, `${title} is MALFORMED`, async (trial) => {
    const live = await Live.open(trial);
    const error = await live.isMalformed(change(trial));
    assert.equal(error.re, undefined, "what cannot be read has no answer to an id");
  });
const signal = (trial, changes) => signSignal(trial, newPeer(), newPeer(), changes);
for (const name of ["id", "kind", "to", "toKey", "from", "fromKey", "at", "data"]) {
  malformed(`without.${name}`, `a signal without ${name}`, (trial) => signal(trial, { [name]: undefined }));
}
malformed("without.signature", "a signal without signature", (trial) => signal(trial, { sent: { signature: undefined } }));
malformed("unknown-field", "a signal with an unknown field", (trial) => signal(trial, { more: 1 }));
malformed("id.7-characters", "an id of seven characters", (trial) => signal(trial, { id: "seven-7" }));
malformed("id.33-characters", "an id of 33 characters", (trial) => signal(trial, { id: "i".repeat(33) }));
malformed("kind.unknown", "an unknown kind", (trial) => signal(trial, { kind: "hangup" }));
malformed("offer.with-re", "an offer with re", (trial) => signal(trial, { re: base64(32) }));
malformed("answer.without-re", "an answer without re", (trial) => signal(trial, { kind: "answer" }));
malformed("candidate.without-re", "a candidate without re", (trial) => signal(trial, { kind: "candidate" }));
malformed("re.31-bytes", "a re of 31 bytes", (trial) => signal(trial, { kind: "answer", re: base64(31) }));
malformed("data.empty", "empty data", (trial) => signal(trial, { data: "" }));
malformed("data.8193-bytes", "data of 8,193 bytes", (trial) => signal(trial, { data: "d".repeat(8_193) }));
malformed("data.object", "an object for data", (trial) => signal(trial, { data: {} }));
malformed("key.31-bytes", "a key of 31 bytes", (trial) => signal(trial, { toKey: base64(31) }));
malformed("signature.63-bytes", "a signature of 63 bytes", (trial) => signal(trial, { sent: { signature: base64(63) } }));
malformed("at.text", "a time as text", (trial) => signal(trial, { at: "now" }));
malformed("ticket.null", "null for the ticket", (trial) => signal(trial, { sent: { ticket: null } }));

add(
  "too-long",
  "a signal of more than 12,288 bytes ends the connection with 1009",
  async (trial) => {
    const live = await joinLive(trial, { address: trial.newAddress() });
    live.socket.send(signSignal(trial, live.peer, newPeer(), { data: "d".repeat(12_288) }));
    await live.socket.endsWith(1009, "TOO_LONG");
  },
  "exhaustion",
);
add(
  "too-fast",
  "more than ten at once are TOO_FAST, with a wait of three seconds at most",
  async (trial) => {
    const live = await joinLive(trial);
    const burst = Array.from({ length: 14 }, () => signSignal(trial, live.peer, newPeer()));
    for (const each of burst) live.socket.send(each);
    await live.socket.until(({ messages }) => burst.every(({ id }) => messages.some(({ re }) => re === id)), "an answer to each");
    const tooFast = live.messages.filter(({ code }) => code === "TOO_FAST");
    assert.ok(
      tooFast.length > 0 && tooFast.every(({ retryAfterMs }) => retryAfterMs > 0 && retryAfterMs <= 3_000),
      `${tooFast.length} are TOO_FAST`,
    );
  },
  "signal-forgery",
);
add(
  "flood.one-site",
  "one site sends a peer four at once, and another site's come through",
  async (trial) => {
    const receiver = await joinLive(trial);
    const site = trial.newAddress();
    const crowd = [];
    for (let at = 1; at <= 4; at += 1) crowd.push(await joinLive(trial, { address: site.replace(/\d+$/, String(at)) }));
    const answers = [];
    for (const live of crowd)
      for (let times = 0; times < 3; times += 1) answers.push(await live.signal(signSignal(trial, live.peer, receiver.peer)));
    const busy = answers.filter(({ code }) => code === "PEER_BUSY");
    assert.ok(answers.length - busy.length <= 6, `${answers.length - busy.length} of twelve came through`);
    assert.ok(busy.every(({ retryAfterMs }) => retryAfterMs > 0 && retryAfterMs <= 10_000));
    const other = await joinLive(trial, { address: trial.newAddress() });
    assert.equal((await other.signal(signSignal(trial, other.peer, receiver.peer))).t, "delivered");
  },
  "signal-forgery",
);
