// Requests to a beacon, as a browser would make them, with a network of the test's choosing.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { PATIENCE_MS } from "./patience.mjs";

/** What Cloudflare says the client's address in. Every host of the tests reads it there. */
export const ADDRESS_HEADER = "CF-Connecting-IP";

/** For how long the clock of a runtime may stand still. */
const CLOCK_STANDS_MS = 5_000;

/**
 * @typedef {object} Reply
 * @property {number} status
 * @property {Headers} headers
 * @property {string} text
 * @property {any} json Undefined where the body is not JSON.
 * @property {number} askedAt When the request was sent.
 * @property {number} answeredAt When the whole answer was there.
 */

/**
 * @param {string} url Where a beacon answers.
 * @param {string} path
 * @param {RequestInit & { address?: string, json?: unknown }} [request] `address` is the client's, by default this
 *   machine's; `json` becomes the body of a POST.
 * @returns {Promise<Reply>}
 */
export async function call(url, path, { address = "127.0.0.1", json, ...request } = {}) {
  const headers = new Headers(request.headers);
  if (!headers.has(ADDRESS_HEADER)) headers.set(ADDRESS_HEADER, address);
  const body = json === undefined ? {} : { method: "POST", body: JSON.stringify(json) };
  const askedAt = Date.now();
  const response = await fetch(url + path, { ...body, ...request, headers });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parse(text), askedAt, answeredAt: Date.now() };
}

/**
 * @param {string} url
 * @param {import("./ticket.mjs").Ticket} ticket
 * @param {{ community?: string, address?: string, headers?: HeadersInit }} [options]
 */
export function announce(url, ticket, { community, address, headers } = {}) {
  return call(url, "/announce", { address, headers, json: { ticket, community } });
}

/**
 * @param {string} url
 * @param {Record<string, string | number>} [query]
 */
export function peers(url, query = {}) {
  return call(url, `/peers?${new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)]))}`);
}

/**
 * @param {Reply} reply
 * @returns {string[]}
 */
export function peerIds(reply) {
  return reply.json.peers.map((ticket) => ticket.payload.peerId);
}

/**
 * What a beacon answers on a connection of its own, until the connection ends.
 *
 * @param {string} url
 * @param {string} sent
 * @param {(socket: import("node:net").Socket) => void} [then]
 */
export async function raw(url, sent, then = () => {}) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let answer = "";
  socket.setEncoding("utf8").on("data", (text) => (answer += text));
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(sent);
  then(socket);
  if (!socket.destroyed) await once(socket, "close");
  return answer;
}

/**
 * Asks again until the answer is the one waited for, and fails with the last one if it never is. The longer it waits, the
 * less often it asks: what one address may ask in a minute is enough for all of it.
 *
 * @template T
 * @param {() => Promise<T>} ask
 * @param {(answer: T) => boolean} isExpected
 */
export async function eventually(ask, isExpected) {
  const started = Date.now();
  let answer = await ask();
  while (!isExpected(answer)) {
    const waited = Date.now() - started;
    assert.ok(waited < PATIENCE_MS, `still ${JSON.stringify(answer)}`);
    await delay(Math.max(50, waited / 20));
    answer = await ask();
  }
  return answer;
}

/**
 * Asserts that a beacon's time is that of this machine when it answered.
 *
 * @param {number} time
 * @param {{ askedAt: number, answeredAt: number }} reply
 */
export function assertTime(time, { askedAt, answeredAt }) {
  // A runtime's clock may stand still while it computes.
  assert.ok(time >= askedAt - CLOCK_STANDS_MS && time <= answeredAt, `${time} is not from ${askedAt} to ${answeredAt}`);
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
