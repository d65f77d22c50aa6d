// Section 15 of the specification: presence that is pushed.

import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { Live, joinLive } from "../live.mjs";
import { base64 } from "../signing.mjs";
import { NotOpened, PATIENCE_MS, Socket } from "../socket.mjs";
import { newPeer } from "../ticket.mjs";

const POSITION = /^[0-9a-f]{8}-(0|[1-9]\d{0,15})$/;

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

const add = (id, title, run, { attack, level = "live" } = {}) => cases.push({ id: `live.${id}`, spec: "15", title, level, attack, run });

add("offered", "GET /live makes a WebSocket", async (trial) => void (await Live.open(trial)));

// What is said first

const hello = (id, title, check) => add(`hello.${id}`, title, async (trial) => check((await Live.open(trial)).hello, trial));
hello("first", "the first message is hello, of version 1", ({ t, version }) => assert.deepEqual([t, version], ["hello", 1]));
hello("community", "hello names the community", ({ community }, trial) => assert.equal(community, trial.community));
hello("server-time", "hello has the beacon's time", ({ serverTime }, trial) => assert.ok(Math.abs(serverTime - trial.now()) < 60_000));
hello("challenge", "hello has a challenge of 16 bytes", ({ challenge }) => {
  assert.equal(Buffer.from(challenge, "base64").length, 16);
  assert.equal(Buffer.from(challenge, "base64").toString("base64"), challenge);
});
hello("ack-bytes", "hello says how many bytes may be outstanding", ({ ackBytes }) => assert.equal(ackBytes, 262_144));
add(
  "hello.challenge-is-new",
  "no two connections have the same challenge",
  async (trial) => {
    const [one, other] = [await Live.open(trial), await Live.open(trial)];
    assert.notEqual(one.hello.challenge, other.hello.challenge);
  },
  { attack: "relayed-challenge" },
);

// Frames

add("snapshot.first", "the first frame is a snapshot of who is there", async (trial) => {
  const { ticket } = await trial.join();
  const { messages } = await Live.open(trial);
  assert.equal(messages[1].t, "snapshot");
  assert.deepEqual(
    messages[1].peers.find(({ publicKey }) => publicKey === ticket.publicKey),
    ticket,
  );
});
add("snapshot.position", "a frame has a position", async (trial) => assert.match((await Live.open(trial)).messages[1].position, POSITION));
add("snapshot.total", "a snapshot has the number of those who are listed", async (trial) => {
  await trial.join();
  const { messages } = await Live.open(trial);
  assert.ok(messages[1].total >= 1 && messages[1].total >= messages[1].peers.length);
});
add("delta.put", "whoever comes is told within a second, as its ticket", async (trial) => {
  const live = await Live.open(trial);
  const { ticket } = await trial.join();
  await live.sees(ticket);
  const delta = live.messages.find(({ t, put }) => t === "delta" && put?.some(({ signature }) => signature === ticket.signature));
  assert.deepEqual(
    delta.put.find(({ signature }) => signature === ticket.signature),
    ticket,
  );
});
add(
  "delta.left",
  "whoever leaves is taken off by its own signed goodbye",
  async (trial) => {
    const live = await Live.open(trial);
    const { ticket, peer } = await trial.join();
    await live.sees(ticket);
    const goodbye = trial.goodbye(peer);
    await trial.leave(goodbye);
    await live.sees(ticket, false);
    assert.ok(live.messages.some(({ left }) => left?.some(({ signature }) => signature === goodbye.signature)));
  },
  { attack: "forgery" },
);
add("delta.fits", "a delta fits: previous is no later than the position before it, and of its epoch", async (trial) => {
  const live = await Live.open(trial);
  const before = live.position;
  const { ticket } = await trial.join();
  await live.sees(ticket);
  const delta = live.messages.find(({ t }) => t === "delta");
  assert.match(delta.previous, POSITION);
  const [[epoch, previous], [own, number], [, next]] = [delta.previous, before, delta.position].map((position) => position.split("-"));
  assert.ok(
    epoch === own && Number(previous) <= Number(number) && Number(next) > Number(number),
    `${delta.previous} to ${delta.position} after ${before}`,
  );
});
add(
  "delta.two-claims",
  "two keys of one name are two claims here too",
  async (trial) => {
    const live = await Live.open(trial);
    const owner = await trial.join();
    const other = await trial.join(newPeer({ peerId: owner.peer.peerId }));
    await live.sees(owner.ticket);
    await live.sees(other.ticket);
    await trial.leave(trial.goodbye(other.peer));
    await live.sees(other.ticket, false);
    assert.ok([...live.tickets.values()].some(({ signature }) => signature === owner.ticket.signature));
  },
  { attack: "squatting" },
);

// Going on

add("since.delta", "a connection goes on after the position that it had", async (trial) => {
  const first = await Live.open(trial);
  const { position } = first;
  await first.socket.close();
  const { ticket } = await trial.join();
  const { messages } = await Live.open(trial, { since: position });
  assert.deepEqual([messages[1].t, messages[1].previous], ["delta", position]);
  assert.ok(messages[1].put.some(({ signature }) => signature === ticket.signature));
});
add("since.of-elsewhere", "a position of elsewhere gets a snapshot", async (trial) => {
  const { ticket } = await trial.join();
  const live = await Live.open(trial, { since: "00000001-1700000000000" });
  assert.equal(live.messages[1].t, "snapshot");
  await live.sees(ticket);
});
for (const [name, since] of [
  ["number", "5"],
  ["empty", ""],
  ["upper-case", "ABCDEF00-1"],
  ["leading-zero", "00000001-01"],
  ["too-large", "00000001-99999999999999999"],
]) {
  add(`since.invalid.${name}`, `since=${since} is SINCE_INVALID`, async (trial) => {
    trial.isRefused(await trial.request(`/live?community=${trial.community}&since=${since}`), "SINCE_INVALID");
  });
}

// Announcing and leaving over the socket

const announcing = (id, title, run, options) => add(`announce.${id}`, title, async (trial) => run(await Live.open(trial), trial), options);
announcing("answer", "an announce is answered announced, with what POST /announce says", async (live, trial) => {
  const ticket = trial.ticket();
  const { t, accepted, listed, bound, expiresAt } = await live.announce(ticket);
  assert.deepEqual([t, accepted, listed, bound, expiresAt], ["announced", true, true, false, ticket.payload.expiresAt]);
});
announcing("pace", "a ticket is to be renewed 18 s before it ends, or up to a ninth of the time until then earlier", async (live, trial) => {
  const { announceAfterMs } = await live.announce(trial.ticket());
  assert.ok(announceAfterMs >= 140_000 && announceAfterMs <= 162_000, `announceAfterMs is ${announceAfterMs}`);
});
announcing("before-its-delta", "the answer comes before the delta that has the ticket", async (live, trial) => {
  const ticket = trial.ticket();
  await live.announce(ticket);
  await live.sees(ticket);
  const kinds = live.messages.map(({ t }) => t);
  assert.ok(kinds.indexOf("announced") < kinds.indexOf("delta"));
});
announcing("listed", "whoever is announced over a socket is in the list", async (live, trial) => {
  const ticket = trial.ticket();
  await live.announce(ticket);
  await trial.isListed(ticket);
});
announcing("repeat", "the same ticket again is not accepted anew", async (live, trial) => {
  const ticket = trial.ticket();
  await live.announce(ticket);
  const { accepted, listed } = await live.announce(ticket);
  assert.deepEqual([accepted, listed], [false, true]);
});
for (const [code, make] of Object.entries({
  ANNOUNCE_TOO_SOON: (trial, peer) => trial.ticket(peer),
  STALE_TICKET: (trial, peer, { payload }) => trial.ticket(peer, { issuedAt: payload.issuedAt }),
  SIGNATURE_INVALID: (trial, peer) => trial.ticket(peer, { envelope: { signature: base64(64) } }),
  COMMUNITY_MISMATCH: (trial, peer) => trial.ticket(peer, { community: "another-one" }),
  LIFETIME_TOO_LONG: (trial, peer) => trial.ticket(peer, { expiresAt: 2 ** 53 - 1 }),
  NOT_YET_VALID: (trial, peer) => trial.ticket(peer, { issuedAt: trial.now() + 60_000 }),
  EXPIRED: (trial, peer) => trial.ticket(peer, { issuedAt: 1_700_000_000_000 }),
  UNSUPPORTED_VERSION: (trial, peer) => trial.ticket(peer, { envelope: { version: 2 } }),
})) {
  announcing(
    `refused.${code}`,
    `${code} is said over a socket as by POST /announce`,
    async (live, trial) => {
      const peer = newPeer();
      const ticket = trial.ticket(peer);
      assert.equal((await live.announce(ticket)).listed, true);
      const error = await live.announce(make(trial, peer, ticket));
      assert.deepEqual([error.t, error.code], ["error", code]);
      assert.equal(error.retryAfterMs > 0, code === "ANNOUNCE_TOO_SOON");
    },
    { attack: code === "SIGNATURE_INVALID" ? "forgery" : undefined },
  );
}
announcing(
  "another-peer",
  "a connection is for one claim: another gets ANOTHER_PEER",
  async (live, trial) => {
    await live.announce(trial.ticket());
    assert.equal((await live.announce(trial.ticket())).code, "ANOTHER_PEER");
  },
  { attack: "exhaustion" },
);
announcing("leave", "a goodbye over a socket is answered left, and takes the peer off", async (live, trial) => {
  const peer = newPeer();
  const ticket = trial.ticket(peer);
  await live.announce(ticket);
  const { t, left } = await live.leave(trial.goodbye(peer));
  assert.deepEqual([t, left], ["left", true]);
  await trial.isListed(ticket, false);
});

// Binding

const binding = (id, title, run, attack) =>
  add(
    `bind.${id}`,
    title,
    async (trial) => {
      const peer = newPeer();
      const live = await Live.open(trial);
      await live.announce(trial.ticket(peer));
      await run(live, peer, trial);
    },
    { attack },
  );
binding("bound", "a listed peer binds its connection", async (live, peer) => assert.equal((await live.bind(peer)).t, "bound"));
add("bind.not-listed", "a claim that is not listed is NOT_LISTED", async (trial) => {
  assert.equal((await (await Live.open(trial)).bind(newPeer())).code, "NOT_LISTED");
});
binding(
  "audience",
  "a binding for another origin is MISDIRECTED_REQUEST",
  async (live, peer) => {
    assert.equal((await live.bind(peer, { audience: "https://evil.example" })).code, "MISDIRECTED_REQUEST");
  },
  "relayed-challenge",
);
binding(
  "challenge",
  "a binding over another challenge is SIGNATURE_INVALID",
  async (live, peer) => {
    assert.equal((await live.bind(peer, { challenge: base64(16) })).code, "SIGNATURE_INVALID");
  },
  "relayed-challenge",
);
binding(
  "challenge-of-another-connection",
  "a binding cannot be used on another connection",
  async (live, peer, trial) => {
    const other = await Live.open(trial);
    assert.equal((await other.ask(live.binding(peer))).code, "SIGNATURE_INVALID");
  },
  "replay",
);
binding(
  "community",
  "a binding for another community is SIGNATURE_INVALID",
  async (live, peer) => {
    assert.equal((await live.bind(peer, { community: "another-one" })).code, "SIGNATURE_INVALID");
  },
  "replay",
);
binding(
  "key",
  "a binding by another key is SIGNATURE_INVALID",
  async (live, peer) => {
    const { signature } = live.binding({ ...newPeer(), peerId: peer.peerId });
    assert.equal((await live.bind(peer, { sent: { signature } })).code, "SIGNATURE_INVALID");
  },
  "forgery",
);
binding("replaced", "a newer bound connection of a claim closes the older one with 4209", async (live, peer, trial) => {
  assert.equal((await live.bind(peer)).t, "bound");
  const newer = await Live.open(trial);
  assert.equal((await newer.bind(peer)).t, "bound");
  await live.socket.endsWith(4209, "REPLACED");
});

// What no client sends

const malformed = (id, title, message) =>
  add(`malformed.${id}`, `${title} is MALFORMED`, async (trial) => (await Live.open(trial)).isMalformed(message(trial)));
malformed("not-json", "what is not JSON", () => "hello");
malformed("array", "an array", () => "[]");
malformed("without-kind", "an object without t", () => "{}");
malformed("unknown-kind", "an unknown message", () => ({ t: "subscribe", id: "question-1" }));
malformed("unknown-field", "an unknown field", (trial) => ({ t: "announce", id: "question-1", ticket: trial.ticket(), more: 1 }));
malformed("id.short", "an id of seven characters", (trial) => ({ t: "announce", id: "seven-7", ticket: trial.ticket() }));
malformed("id.long", "an id of 33 characters", (trial) => ({ t: "announce", id: "i".repeat(33), ticket: trial.ticket() }));
malformed("id.character", "an id with a space", (trial) => ({ t: "announce", id: "with a space", ticket: trial.ticket() }));
malformed("field-twice", "a field twice", () => '{"t":"ack","t":"ack","seq":1}');

const misbehaving = (id, code, reason, title, act) =>
  add(
    `ends.${id}`,
    `${title} ends the connection with ${code} ${reason}, and its address waits`,
    async (trial) => {
      // The address waits afterwards, so that it has to be one that no other case has.
      trial.address = trial.newAddress();
      const live = await Live.open(trial);
      act(live.socket);
      await live.socket.endsWith(code, reason);
      const reply = await trial.request(`/live?community=${trial.community}`, {
        isPatient: false,
        headers: { Accept: "text/event-stream" },
      });
      trial.isRefused(reply, "THROTTLED");
      assert.ok(Number(reply.headers["retry-after"]) > 0 && Number(reply.headers["retry-after"]) <= 60);
    },
    { attack: "exhaustion" },
  );
misbehaving("binary", 1003, "UNSUPPORTED", "a binary message", (socket) => socket.send(new Uint8Array(3)));
misbehaving("too-long", 1009, "TOO_LONG", "a message of 4,097 bytes", (socket) => socket.send("a".repeat(4_097)));
misbehaving("too-fast", 4129, "TOO_FAST", "a flood", (socket) => {
  for (let sent = 0; sent < 40; sent += 1) socket.send({ t: "leave", ticket: {} });
});
misbehaving("malformed", 4500, "MALFORMED", "three messages that cannot be read", (socket) =>
  ["{}", "[]", "hello"].forEach((text) => socket.send(text)),
);
add("ends.by-client", "a client that closes is answered with its code", async (trial) => {
  const live = await Live.open(trial);
  assert.equal((await live.socket.close(4_000)).code, 4_000);
});
add(
  "ends.silent",
  "a socket from which nothing comes for 60 s in the beginning ends",
  async (trial) => {
    const socket = await Socket.open(trial, `/live?community=${trial.community}`);
    const closed = await Promise.race([socket.closed, delay(75_000)]);
    assert.equal(closed?.code, 4100);
  },
  { level: "slow", attack: "exhaustion" },
);
add("ping", "ping is answered pong", async (trial) => {
  const live = await Live.open(trial);
  live.socket.send("ping");
  await live.socket.until(({ messages }) => messages.includes("pong"), "pong");
});
add("ack", "an acknowledgement is taken without a word, also of the same number again", async (trial) => {
  const live = await Live.open(trial);
  const seq = Number(live.position.split("-")[1]);
  for (let times = 0; times < 3; times += 1) live.socket.send({ t: "ack", seq });
  live.socket.send("ping");
  await live.socket.until(({ messages }) => messages.includes("pong"), "pong");
  assert.ok(live.messages.every(({ t }) => t !== "error"));
});

// Refused before there is a connection

add("refused.community-invalid", "an opening for a name that is none is COMMUNITY_INVALID", async (trial) => {
  trial.isRefused(await trial.request("/live?community=!"), "COMMUNITY_INVALID");
  await assert.rejects(Socket.open(trial, "/live?community=!"), (error) => error instanceof NotOpened && error.status === 400);
});
add("refused.method", "POST /live is METHOD_NOT_ALLOWED", async (trial) =>
  trial.isRefused(await trial.request("/live", { method: "POST", body: "" }), "METHOD_NOT_ALLOWED"),
);
add("refused.other-version", "a WebSocket of another version is refused", async (trial) => {
  const headers = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "8", "Sec-WebSocket-Key": base64(16) };
  const { status } = await trial.request(`/live?community=${trial.community}`, { headers });
  assert.ok(status === 426 || status === 400, `the status is ${status}`);
});
add(
  "limit.openings",
  "openings are limited: a tenth of an address's requests",
  async (trial) => {
    const address = trial.newAddress();
    let refused;
    for (let opened = 0; opened < 70 && !refused; opened += 1) {
      const reply = await trial.request("/live?community=!", { address, isPatient: false });
      if (reply.status !== 400) refused = reply;
    }
    assert.ok(refused, "seventy openings at once are all served");
    trial.isRefused(refused, "THROTTLED");
  },
  { attack: "exhaustion" },
);

// Event streams

/** Reads an event stream until something is found in it. */
async function stream(trial, find, headers = {}) {
  const { beacon } = trial;
  const send = beacon.url.startsWith("https:") ? httpsRequest : httpRequest;
  const all = {
    Accept: "text/event-stream",
    ...headers,
    ...(beacon.addressHeader && trial.address && { [beacon.addressHeader]: trial.address }),
  };
  const request = send(`${beacon.url}/live?community=${trial.community}`, { headers: all, agent: false });
  trial.after(() => request.destroy());
  const response = await new Promise((resolve, reject) => request.on("response", resolve).on("error", reject).end());
  let text = "";
  const found = new Promise((resolve, reject) => {
    response.setEncoding("utf8").on("data", (part) => {
      text += part;
      const events = text
        .split("\n\n")
        .slice(0, -1)
        .map((block) =>
          Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()])),
        );
      if (find(events)) resolve(events);
    });
    response.on("error", reject).on("end", () => reject(new Error(`the stream has ended: ${text.slice(0, 200)}`)));
  });
  const events = await Promise.race([
    found,
    delay(PATIENCE_MS, undefined, { ref: false }).then(() => Promise.reject(new Error(`not in the stream: ${text.slice(0, 300)}`))),
  ]);
  return { events, response };
}
const isWhole = (events) => events.some(({ event }) => event === "snapshot" || event === "delta");
add("stream.type", "without an upgrade it is an event stream, for any origin and for no cache", async (trial) => {
  const { response } = await stream(trial, isWhole);
  assert.match(response.headers["content-type"], /^text\/event-stream/);
  assert.deepEqual([response.headers["cache-control"], response.headers["access-control-allow-origin"]], ["no-store", "*"]);
});
add("stream.begins", "a stream begins with retry: 3000 and hello, which has no challenge", async (trial) => {
  const { events } = await stream(trial, isWhole);
  assert.equal(events[0].retry, "3000");
  const first = events.find(({ event }) => event);
  assert.equal(first.event, "hello");
  assert.equal(JSON.parse(first.data).challenge, undefined);
});
add("stream.snapshot", "then a snapshot, with its position as id", async (trial) => {
  const { ticket } = await trial.join();
  const { events } = await stream(trial, isWhole);
  const frame = events.find(({ event }) => event === "snapshot");
  const data = JSON.parse(frame.data);
  assert.equal(frame.id, data.position);
  assert.ok(data.peers.some(({ signature }) => signature === ticket.signature));
});
add("stream.last-event-id", "a stream goes on after Last-Event-ID", async (trial) => {
  const { events } = await stream(trial, isWhole);
  const { id } = events.find(({ event }) => event === "snapshot");
  const { ticket } = await trial.join();
  const again = await stream(trial, isWhole, { "Last-Event-ID": id });
  const frame = again.events.find(({ event }) => event === "delta" || event === "snapshot");
  assert.equal(frame.event, "delta");
  assert.ok(JSON.parse(frame.data).put.some(({ signature }) => signature === ticket.signature));
});
add("stream.last-event-id.invalid", "a Last-Event-ID that is not a position is SINCE_INVALID", async (trial) => {
  trial.isRefused(await trial.request(`/live?community=${trial.community}`, { headers: { "Last-Event-ID": "5" } }), "SINCE_INVALID");
});
add("same-as-list", "what a viewer holds is what the list has", async (trial) => {
  const live = await Live.open(trial);
  const joined = [];
  for (let times = 0; times < 4; times += 1) joined.push(await trial.join());
  await trial.leave(trial.goodbye(joined[1].peer));
  await live.sees(joined[3].ticket);
  await live.sees(joined[1].ticket, false);
  const reply = await trial.look();
  for (const { ticket } of joined) {
    const isListed = reply.json.peers.some(({ signature }) => signature === ticket.signature);
    assert.equal(
      [...live.tickets.values()].some(({ signature }) => signature === ticket.signature),
      isListed,
    );
  }
});
add("leaves-presence", "a connection that ends takes nobody off the list", async (trial) => {
  const live = await joinLive(trial);
  await live.socket.close();
  const { json } = await trial.look();
  assert.ok(json.peers.some(({ publicKey }) => publicKey === live.peer.publicKey));
});
