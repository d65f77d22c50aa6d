// A client of GET /live (sections 15 and 16 of the specification).

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { canonical, signText } from "./signing.mjs";
import { Socket } from "./socket.mjs";
import { newPeer } from "./ticket.mjs";

const claimOf = ({ payload, publicKey }) => `${payload.peerId} ${publicKey}`;

export class Live {
  /** Who is present, by what came over this connection. */
  tickets = new Map();
  position = undefined;
  isWhole = false;
  #asked = 0;

  /** Opens a connection, and waits until it holds what there is. */
  static async open(trial, { community = trial.community, since, ...options } = {}) {
    const query = new URLSearchParams(Object.entries({ community, since }).filter(([, value]) => value !== undefined));
    const live = new Live(trial, await Socket.open(trial, `/live?${query}`, options));
    await live.socket.until(() => live.isWhole, "what there is");
    return live;
  }

  constructor(trial, socket) {
    Object.assign(this, { trial, socket });
    socket.messages.forEach((message) => this.#take(message));
    socket.onMessage = (message) => this.#take(message);
  }

  get hello() {
    return this.socket.messages[0];
  }

  get messages() {
    return this.socket.messages;
  }

  #take(message) {
    if (message?.t === "snapshot") this.tickets = new Map(message.peers.map((ticket) => [claimOf(ticket), ticket]));
    else if (message?.t === "delta") {
      for (const ticket of message.put ?? []) this.tickets.set(claimOf(ticket), ticket);
      for (const ticket of message.left ?? []) this.tickets.delete(claimOf(ticket));
      for (const [peerId, publicKey] of message.out ?? []) this.tickets.delete(`${peerId} ${publicKey}`);
    } else return;
    this.position = message.position;
    this.isWhole = !message.more;
    this.socket.send({ t: "ack", seq: Number(message.position.split("-")[1]) });
  }

  /** Waits until a ticket is there, or is not. */
  sees(ticket, expected = true) {
    return this.socket.until(() => this.tickets.has(claimOf(ticket)) === expected, expected ? "an arrival" : "a departure");
  }

  /** Sends a message, and waits for the answer to it. */
  ask(message) {
    const id = message.id ?? `question-${(this.#asked += 1)}`;
    const before = this.messages.length;
    this.socket.send({ ...message, id });
    return this.socket.until(() => this.messages.slice(before).find((other) => other?.re === id), `an answer to ${message.t}`);
  }

  announce(ticket) {
    return this.ask({ t: "announce", ticket });
  }

  leave(ticket) {
    return this.ask({ t: "leave", ticket });
  }

  bind(peer, changes = {}) {
    return this.ask(this.binding(peer, changes));
  }

  /** The message that binds this connection; `sent` changes it after it was signed. */
  binding(peer, { sent = {}, ...signed } = {}) {
    const { beacon, community } = this.trial;
    const fields = { audience: beacon.audience, challenge: this.hello.challenge, community, peerId: peer.peerId, ...signed };
    const signature = signText(`rendezvous-live-v1:bind\n${canonical(fields)}`, peer);
    return { t: "bind", audience: fields.audience, peerId: fields.peerId, publicKey: peer.publicKey, signature, ...sent };
  }

  /** Sends a signal, or the text of one, and waits for the answer to it. */
  async signal(signal) {
    const { id } = typeof signal === "string" ? JSON.parse(signal) : signal;
    const before = this.messages.length;
    this.socket.send(signal);
    return this.socket.until(() => this.messages.slice(before).find((other) => other?.re === id), "an answer to a signal");
  }

  /** Sends what cannot be read, and waits for the error. */
  async isMalformed(message) {
    const before = this.messages.length;
    this.socket.send(message);
    const error = await this.socket.until(() => this.messages.slice(before).find((other) => other?.t === "error"), "an error");
    assert.equal(error.code, "MALFORMED");
    return error;
  }
}

/** Opens the connection of a peer that is listed and bound. */
export async function joinLive(trial, { peer = newPeer(), ...options } = {}) {
  const live = await Live.open(trial, options);
  const announced = await live.announce(trial.ticket(peer));
  assert.equal(announced.listed, true, JSON.stringify(announced));
  const bound = await live.bind(peer);
  assert.equal(bound.t, "bound", `not bound: ${JSON.stringify(bound)}; --audience is ${trial.beacon.audience}`);
  return Object.assign(live, { peer });
}

/** A signal that is good now, but for these fields, which are signed as they are; `undefined` leaves one out. */
export function signSignal(trial, from, to, { sent = {}, ...changes } = {}) {
  const fields = {
    id: randomUUID().slice(0, 13),
    kind: "offer",
    to: to.peerId,
    toKey: to.publicKey,
    from: from.peerId,
    fromKey: from.publicKey,
    at: trial.now(),
    data: "v=0",
    ...changes,
  };
  for (const [name, value] of Object.entries(fields)) if (value === undefined) delete fields[name];
  const signed = `rendezvous-live-v1:signal\n${canonical({ ...fields, community: trial.community })}`;
  return { t: "signal", ...fields, signature: signText(signed, from), ...sent };
}
