// Requests to a beacon, as a browser would make them, with a network of the test's choosing.

/**
 * @typedef {object} Reply
 * @property {number} status
 * @property {Headers} headers
 * @property {string} text
 * @property {any} json Undefined where the body is not JSON.
 */

/**
 * @param {string} url Where a beacon answers.
 * @param {string} path
 * @param {RequestInit & { address?: string, json?: unknown }} [request] `address` is the client's, which Cloudflare
 *   would say in this header; `json` becomes the body of a POST.
 * @returns {Promise<Reply>}
 */
export async function call(url, path, { address, json, ...request } = {}) {
  const headers = new Headers(request.headers);
  if (address !== undefined) headers.set("CF-Connecting-IP", address);
  const body = json === undefined ? {} : { method: "POST", body: JSON.stringify(json) };
  const response = await fetch(url + path, { ...body, ...request, headers });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parse(text) };
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

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
