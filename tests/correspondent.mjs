// A user of the program `rendezvous`, with a store and variables of their own, and a relay in between that sees, and may
// change, what they say to the real one.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { serve } from "./hostile.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { MESSENGER, finished } from "./program.mjs";

export class Correspondent {
  /**
   * @param {{ directory: string, url: string, name: string, program?: string }} who `directory` is everything that this user
   *   has.
   */
  constructor({ directory, url, name, program = MESSENGER }) {
    Object.assign(this, { name, program, store: join(directory, name) });
    this.env = {
      PATH: process.env.PATH,
      HOME: directory,
      RENDEZVOUS_STORE: this.store,
      RENDEZVOUS_SECRET: `secret of ${name}`,
      RENDEZVOUS_RELAY: url,
    };
  }

  /** Starts the program. */
  start(args, { env = {}, stdin = "ignore" } = {}) {
    return spawn(this.program, args, { env: { ...this.env, ...env }, stdio: [stdin, "pipe", "pipe"], timeout: PATIENCE_MS });
  }

  /** Runs the program, with `input` on its standard input. */
  attempt(args, { input, env } = {}) {
    const child = this.start(args, { env, stdin: input === undefined ? "ignore" : "pipe" });
    // A program that does not read what it is given closes the pipe.
    child.stdin?.on("error", () => {}).end(input);
    return finished(child);
  }

  /** Runs the program, which has to end with this code. */
  async expect(code, args, options) {
    const ended = await this.attempt(args, options);
    assert.equal(ended.code, code, `${args.map((arg) => arg.slice(0, 80)).join(" ")}: ${ended.stdout}${ended.stderr}`);
    return ended;
  }

  async init(...args) {
    this.id = (await this.expect(0, ["init", this.store, "--name", this.name, ...args])).stdout.trim();
  }

  add({ name, id }) {
    return this.expect(0, ["add", name, id]);
  }

  send({ name }, text) {
    return this.expect(0, ["send", name, text]);
  }

  /** The messages that the program shows, as `name: text`. */
  async receive(...args) {
    const { stdout } = await this.expect(0, ["receive", ...args]);
    return stdout === "" ? [] : stdout.trimEnd().split("\n");
  }

  /** How many messages nobody has acknowledged. */
  async waiting() {
    const { stdout } = await this.attempt(["outbox", "--json"]);
    return JSON.parse(stdout).waiting;
  }
}

/**
 * A relay between users and the real one.
 *
 * @param {(request: { tool: string, args: any }) => Promise<{ status?: number, json: unknown } | undefined> | { status?: number, json: unknown } | undefined} [before]
 *   Answers in the place of the real one, or does not.
 */
export async function serveBetween(before = () => undefined) {
  const between = { upstream: "", before, bodies: [], change: (_, answer) => answer };
  const server = await serve(async (request, response) => {
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      // Its client was killed while it asked.
      return;
    }
    const body = Buffer.concat(chunks);
    const asked = JSON.parse(body.toString());
    if (asked.tool === "send_message") between.bodies.push({ from: asked.args.auth.fingerprint ?? asked.args.auth.user_id, ...asked.args });
    const instead = await between.before(asked);
    let { status = 200, json } = instead ?? {};
    try {
      if (!instead) {
        const answer = await fetch(between.upstream, { method: "POST", headers: { "Content-Type": "application/json" }, body });
        status = answer.status;
        json = between.change(asked, await answer.json());
      }
    } catch {
      // There is no relay behind it, for now.
      return response.destroy();
    }
    // Whoever was killed does not read the answer.
    response.on("error", () => {}).writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(json));
  });
  return Object.assign(between, { url: server.url, stop: server.stop });
}

/**
 * A wire between users and a relay, over which connections for news go too. Each request of the program has a connection of its
 * own.
 *
 * @param {{ hasNews?: boolean }} [options] Without news, who asks for them is answered as by a relay that has none.
 */
export async function serveWire({ hasNews = true } = {}) {
  const wire = { port: 0, /** The first line of each request. */ requests: [], url: "", stop: () => {} };
  const sockets = new Set();
  const keep = (socket) => sockets.add(socket.on("error", () => {}).on("close", () => sockets.delete(socket)));
  const server = createServer((client) => {
    keep(client);
    client.once("data", (head) => {
      const [line] = head.toString("latin1").split("\r\n", 1);
      wire.requests.push(line);
      if (!hasNews && line.includes("/live ")) {
        return client.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      }
      const relay = connect(wire.port, "127.0.0.1");
      keep(relay);
      relay.write(head);
      client.pipe(relay).on("close", () => client.destroy());
      relay.pipe(client).on("close", () => relay.destroy());
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  wire.url = `http://127.0.0.1:${server.address().port}`;
  wire.stop = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return wire;
}

/** Under which message key an Olm message is encrypted: the ratchet key and the index in its chain. */
export function messageKey({ mtype, body }) {
  let bytes = Buffer.from(body, "base64");
  if (mtype === 0) bytes = fields(bytes).get(4);
  const inner = fields(bytes);
  return `${inner.get(1).toString("base64")} ${inner.get(2)}`;
}

/** The fields of a message of Olm, version 3, by number: bytes, or a number. */
function fields(bytes) {
  assert.equal(bytes[0], 3);
  const found = new Map();
  let at = 1;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  // The ciphertext, or the message inside, is the last; after it comes the authentication code.
  while (!found.has(4)) {
    assert.ok(at < bytes.length, "it ends before its last field");
    const tag = bytes[at++];
    if ((tag & 7) === 0) found.set(tag >> 3, number());
    else {
      const length = number();
      found.set(tag >> 3, bytes.subarray(at, (at += length)));
    }
  }
  return found;
}
