// A client of `GET /live`, by the rules of the specification alone: a WebSocket or an event stream, and what it holds.

import assert from "node:assert/strict";
import { randomUUID, sign } from "node:crypto";
import { once } from "node:events";
import { ADDRESS_HEADER } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { canonical, signTicket } from "./ticket.mjs";

const claimOf = (ticket) => `${ticket.payload.peerId} ${ticket.publicKey}`;

/** What a viewer holds of one beacon. */
export class View {
  /** @type {Map<string, import("./ticket.mjs").Ticket>} */
  tickets = new Map();
  /** @type {string | undefined} */
  position;
  isWhole = false;

  take(message) {
    if (message.t === "snapshot") {
      this.tickets = new Map(message.peers.map((ticket) => [claimOf(ticket), ticket]));
    } else if (message.t === "delta") {
      const [[epoch, previous], [own, ownNumber]] = [message.previous, this.position].map((position) => position.split("-"));
      assert.ok(epoch === own && Number(previous) <= Number(ownNumber), `${message.previous} leaves out what came after ${this.position}`);
      for (const ticket of message.put ?? []) this.tickets.set(claimOf(ticket), ticket);
      for (const ticket of message.left ?? []) this.tickets.delete(claimOf(ticket));
      for (const [peerId, publicKey] of message.out ?? []) this.tickets.delete(`${peerId} ${publicKey}`);
    } else {
      return;
    }
    this.position = message.position;
    this.isWhole = !message.more;
  }

  /** The names of those whose tickets have not ended, sorted. */
  get peerIds() {
    const live = [...this.tickets.values()].filter((ticket) => ticket.payload.expiresAt > Date.now());
    return live.map((ticket) => ticket.payload.peerId).sort();
  }
}

export class Live {
  /**
   * @param {string} url Where a beacon answers.
   * @param {{ community?: string, since?: string, guests?: string, address?: string, origin?: string, acknowledge?: boolean }} [options]
   */
  constructor(url, { community, since, guests, address = "127.0.0.1", origin, acknowledge = true } = {}) {
    const query = new URLSearchParams(Object.entries({ community, since, guests }).filter(([, value]) => value !== undefined));
    const headers = { [ADDRESS_HEADER]: address, ...(origin && { Origin: origin }) };
    this.view = new View();
    this.view.position = since;
    /** Every message, in order. */
    this.messages = [];
    this.url = url;
    this.community = community ?? "mainnet";
    this.askedAt = Date.now();
    this.socket = new WebSocket(`${url.replace("http", "ws")}/live?${query}`, { headers });
    this.opened = new Promise((resolve, reject) => {
      this.socket.addEventListener("open", () => resolve(this));
      this.socket.addEventListener("error", () => reject(new Error("the socket did not open")));
    });
    this.opened.catch(() => {});
    /** @type {Promise<{ code: number, reason: string }>} */
    this.closed = once(this.socket, "close").then(([{ code, reason }]) => ({ code, reason }));
    this.socket.addEventListener("message", ({ data }) => {
      const message = data === "pong" ? data : JSON.parse(data);
      this.messages.push(message);
      this.view.take(message);
      if (acknowledge && message.position) this.send({ t: "ack", seq: Number(message.position.split("-")[1]) });
      this.wake?.();
    });
    this.closed.then(() => this.wake?.());
  }

  send(message) {
    this.socket.send(typeof message === "string" || message instanceof Uint8Array ? message : JSON.stringify(message));
  }

  /** Waits until what this has taken is as expected. */
  async until(isExpected) {
    const deadline = AbortSignal.timeout(PATIENCE_MS);
    for (;;) {
      const found = isExpected(this);
      if (found) return found;
      assert.ok(!deadline.aborted, `still ${JSON.stringify([this.view.peerIds, this.messages.slice(-3)]).slice(0, 2_000)}`);
      await new Promise((resolve) => {
        this.wake = resolve;
        deadline.addEventListener("abort", resolve, { once: true });
      });
    }
  }

  /** Sends a message, and waits for the answer to it. */
  ask(message) {
    const id = `message-${(this.asked = (this.asked ?? 0) + 1)}`;
    this.send({ ...message, id });
    return this.until(() => this.messages.find(({ re }) => re === id));
  }

  announce(ticket) {
    return this.ask({ t: "announce", ticket });
  }

  leave(ticket) {
    return this.ask({ t: "leave", ticket });
  }

  /**
   * @param {import("./ticket.mjs").Peer} peer
   * @param {{ audience?: string, challenge?: string }} [overrides]
   */
  bind(peer, overrides = {}) {
    const { audience, challenge } = { audience: this.url, challenge: this.messages[0].challenge, ...overrides };
    return this.ask(signBinding(peer, { audience, challenge, community: this.community }));
  }

  /** Sends a signal, or the text of one, and waits for the answer to it. */
  signal(signal) {
    const { id } = typeof signal === "string" ? JSON.parse(signal) : signal;
    const before = this.messages.length;
    this.send(signal);
    return this.until(() => this.messages.slice(before).find(({ re }) => re === id));
  }

  async close() {
    this.socket.close();
    await this.closed;
  }
}

/**
 * The message that binds a connection.
 *
 * @param {import("./ticket.mjs").Peer} peer
 * @param {{ audience: string, challenge: string, community: string }} connection
 */
export function signBinding({ peerId, publicKey, privateKey }, { audience, challenge, community }) {
  const signed = `rendezvous-live-v1:bind\n${canonical({ audience, challenge, community, peerId })}`;
  return { t: "bind", audience, peerId, publicKey, signature: sign(null, Buffer.from(signed), privateKey).toString("base64") };
}

/**
 * A signal that is good now, unless the overrides make it a bad one. Fields are signed as overridden.
 *
 * @param {import("./ticket.mjs").Peer} from
 * @param {import("./ticket.mjs").Peer} to
 * @param {{ community?: string } & Record<string, unknown>} [overrides]
 */
export function signSignal(from, to, { community = "mainnet", ...overrides } = {}) {
  const fields = {
    id: randomUUID().slice(0, 13),
    kind: "offer",
    to: to.peerId,
    toKey: to.publicKey,
    from: from.peerId,
    fromKey: from.publicKey,
    at: Date.now(),
    data: "v=0",
    ...overrides,
  };
  const signed = `rendezvous-live-v1:signal\n${canonical({ ...fields, community })}`;
  return { t: "signal", ...fields, signature: sign(null, Buffer.from(signed), from.privateKey).toString("base64") };
}

/** Opens a socket of a peer that is listed and bound. */
export async function joinLive(url, peer, { community = "mainnet", ...options }) {
  const live = await openLive(url, { community, ...options });
  const { listed } = await live.announce(signTicket(peer, { community }));
  assert.ok(listed);
  assert.equal((await live.bind(peer)).t, "bound");
  return live;
}

/** Opens a socket, and waits until it holds what there is. */
export async function openLive(url, options) {
  const live = new Live(url, options);
  await live.opened;
  await live.until(({ view }) => view.isWhole);
  return live;
}

/** A frame of a client as it is on the wire (RFC 6455, section 5.2), for one that does what no library would. */
export function frameOf(text) {
  const payload = Buffer.from(text);
  assert.ok(payload.length < 65_536);
  const length = payload.length < 126 ? [0x80 | payload.length] : [0x80 | 126, payload.length >> 8, payload.length & 0xff];
  return Buffer.concat([Buffer.from([0x81, ...length, 0, 0, 0, 0]), payload]);
}

/** The code in a WebSocket's last frame, where that is a close. */
export function closeCode(bytes) {
  // A close of the server: FIN and opcode 8, a length below 126, two bytes of the code.
  const start = bytes.lastIndexOf(Buffer.from([0x88]));
  return start < 0 || start + 4 > bytes.length ? undefined : bytes.readUInt16BE(start + 2);
}

/** The request that makes a WebSocket of a connection. */
export function upgradeRequest(url, path, headers = {}) {
  const all = {
    Host: new URL(url).host,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": Buffer.alloc(16, 7).toString("base64"),
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== undefined);
  return `GET ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}
