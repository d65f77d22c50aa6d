// A WebSocket to the beacon under test, with everything that came over it.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import WebSocket from "ws";

/** For what a beacon, or a client of it, does on a busy machine at last: only a case that fails waits so long. */
export const PATIENCE_MS = 60_000;

/** The beacon does not make a connection of the request. */
export class NotOpened extends Error {
  constructor(status, json) {
    super(`no WebSocket: status ${status}, ${json?.code ?? "no code"}`);
    Object.assign(this, { status, json });
  }
}

export class Socket {
  /** Every message, in order: parsed, but for `pong`. */
  messages = [];
  /** The same as they came. */
  texts = [];
  #wake = () => {};

  /**
   * Opens a connection, and waits where the rate limit asks for it.
   *
   * @param {import("./trial.mjs").Trial} trial
   * @param {string} path
   * @param {{ address?: string, isPatient?: boolean }} [options]
   */
  static async open(trial, path, { address = trial.address, isPatient = true } = {}) {
    for (;;) {
      const socket = new Socket(trial.beacon, path, address);
      const refusal = await socket.#opened;
      if (!refusal) {
        trial.after(() => socket.#socket.terminate());
        return socket;
      }
      const { code, retryAfterMs } = refusal.json ?? {};
      if (!isPatient || code !== "THROTTLED" || !(retryAfterMs < 70_000)) throw refusal;
      await delay(retryAfterMs + 20);
    }
  }

  #socket;
  #opened;

  constructor(beacon, path, address) {
    const headers = address !== undefined && beacon.addressHeader ? { [beacon.addressHeader]: address } : {};
    const options = { headers, perMessageDeflate: false, handshakeTimeout: PATIENCE_MS, maxPayload: 1_048_576 };
    this.#socket = new WebSocket(beacon.url.replace(/^http/, "ws") + path, options);
    this.#opened = new Promise((resolve) => {
      this.#socket.on("open", () => resolve(undefined));
      this.#socket.on("error", (error) => resolve(new NotOpened(0, { code: error.message })));
      this.#socket.on("unexpected-response", (request, response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part) => (text += part));
        response.on("end", () => {
          request.destroy();
          resolve(new NotOpened(response.statusCode, parse(text)));
        });
      });
    });
    /** @type {Promise<{ code: number, reason: string }>} */
    this.closed = new Promise((resolve) => {
      this.#socket.on("close", (code, reason) => {
        resolve({ code, reason: String(reason) });
        this.isClosed = true;
        this.#wake();
      });
    });
    this.#socket.on("message", (data, isBinary) => {
      assert.ok(!isBinary, "a beacon sends text");
      const text = String(data);
      this.texts.push(text);
      const message = text === "pong" ? text : parse(text);
      this.messages.push(message);
      this.onMessage?.(message);
      this.#wake();
    });
  }

  /** @param {unknown} message Text and bytes as they are, everything else as JSON. */
  send(message) {
    this.#socket.send(typeof message === "string" || message instanceof Uint8Array ? message : JSON.stringify(message));
  }

  /**
   * Waits until something is found.
   *
   * @template T
   * @param {(socket: this) => T} find
   * @param {string} what
   * @returns {Promise<NonNullable<T>>}
   */
  async until(find, what, withinMs = PATIENCE_MS) {
    const deadline = AbortSignal.timeout(withinMs);
    for (;;) {
      const found = find(this);
      if (found) return found;
      assert.ok(
        !deadline.aborted && !this.isClosed,
        `${what}: not in ${withinMs} ms${this.isClosed ? ", and the connection has ended" : ""}; last came ${(this.texts.at(-1) ?? "nothing").slice(0, 200)}`,
      );
      await new Promise((resolve) => {
        this.#wake = resolve;
        deadline.addEventListener("abort", resolve, { once: true });
      });
    }
  }

  /** Asserts how the connection ends. */
  async endsWith(code, reason, withinMs = PATIENCE_MS) {
    const closed = await Promise.race([this.closed, delay(withinMs, undefined, { ref: false })]);
    assert.ok(closed, `the connection goes on, where ${code} ${reason} should have ended it`);
    assert.deepEqual(closed, { code, reason });
  }

  async close(code) {
    this.#socket.close(code);
    return this.closed;
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
