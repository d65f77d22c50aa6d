// A client that behaves as goop2's own does, as far as a beacon can tell: it publishes, opens a socket, beats every 5 s,
// and gives a socket up after 15 s without anything.

import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { ADDRESS_HEADER, call } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";

export const HEARTBEAT_MS = 5_000;
/** After this time without a word goop2's client gives its socket up. */
export const SILENT_MS = 15_000;
/** After this time goop2's client forgets a peer of which it hears nothing. */
export const TTL_MS = 20_000;

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** @param {Uint8Array} bytes */
function base58(bytes) {
  let number = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  let text = "";
  for (; number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros) + text;
}

/** The peer id of an Ed25519 key, as libp2p names it. */
export function guestId(publicKey) {
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  return base58(Buffer.concat([Buffer.from([0x00, 0x24, 0x08, 0x01, 0x12, 0x20]), raw]));
}

export class Guest {
  /**
   * @param {string} door Where goop2's users say that their rendezvous is.
   * @param {{ address: string, keys?: import("node:crypto").KeyPairKeyObjectResult, fields?: object }} options
   */
  constructor(door, { address, keys = generateKeyPairSync("ed25519"), fields = {} }) {
    Object.assign(this, { door, address, keys, fields, peerId: guestId(keys.publicKey) });
    /** Every message that the present socket, and those before it, have brought. */
    this.messages = [];
    this.reconnects = 0;
    this.closes = [];
  }

  message(type = "online", more = {}) {
    return { type, peerId: this.peerId, content: "hello", ...this.fields, ts: Date.now(), ...more };
  }

  /** @returns {Promise<number>} The status. */
  async publish(type, more) {
    return (await call(this.door, "/publish", { address: this.address, json: this.message(type, more) })).status;
  }

  /** @param {string} [query] */
  open(query = `peer_id=${this.peerId}`) {
    const socket = new WebSocket(`${this.door.replace("http", "ws")}/ws?${query}`, { headers: { [ADDRESS_HEADER]: this.address } });
    const opened = new Promise((resolve, reject) => {
      socket.addEventListener("open", () => resolve(socket));
      socket.addEventListener("error", () => reject(new Error("the socket did not open")));
    });
    socket.closed = once(socket, "close").then(([{ code, reason }]) => ({ code, reason }));
    socket.addEventListener("message", ({ data }) => {
      this.heardAt = Date.now();
      this.messages.push(JSON.parse(data));
      this.wake?.();
    });
    this.socket = socket;
    return opened;
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  /** Beats until it is told to end, and counts how often it has to connect anew. */
  async live(signal) {
    const sleep = (ms) => new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
    await this.publish();
    await this.open();
    this.heardAt = Date.now();
    while (!signal.aborted) {
      await sleep(HEARTBEAT_MS);
      if (signal.aborted) break;
      const isDead = this.socket.readyState !== WebSocket.OPEN || Date.now() - this.heardAt > SILENT_MS;
      if (isDead) {
        this.reconnects += 1;
        this.socket.close();
        await this.publish();
        await this.open();
        this.heardAt = Date.now();
      }
      this.send(this.message());
    }
  }

  /** Waits until what was heard is as expected. */
  async until(isExpected) {
    const deadline = AbortSignal.timeout(PATIENCE_MS);
    for (;;) {
      const found = isExpected(this.messages);
      if (found) return found;
      if (deadline.aborted) throw new Error(`still ${JSON.stringify(this.messages.slice(-3))}`);
      await new Promise((resolve) => {
        this.wake = resolve;
        deadline.addEventListener("abort", resolve, { once: true });
      });
    }
  }
}

/** Who is there, for one that has heard these messages. */
export function present(messages) {
  const peers = new Set();
  for (const { type, peerId } of messages) {
    if (type === "offline") peers.delete(peerId);
    else peers.add(peerId);
  }
  return peers;
}

/** The event stream of a door, as goop2's client reads it: lines of `data:`, whatever else there is. */
export async function listen(door, address) {
  const answer = await fetch(`${door}/events`, { headers: { [ADDRESS_HEADER]: address } });
  const stream = { status: answer.status, headers: answer.headers, lines: [], messages: [], end: () => {} };
  if (answer.status !== 200) {
    await answer.body?.cancel();
    return stream;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  stream.end = () => reader.cancel();
  let text = "";
  stream.next = async () => {
    while (!text.includes("\n")) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the stream has ended");
      text += value;
    }
    const line = text.slice(0, text.indexOf("\n"));
    text = text.slice(line.length + 1);
    stream.lines.push(line);
    if (line.startsWith("data:")) stream.messages.push(JSON.parse(line.slice("data:".length)));
    return line;
  };
  stream.until = async (isExpected) => {
    while (!isExpected(stream.messages)) await stream.next();
  };
  return stream;
}
