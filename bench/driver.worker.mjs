// A Worker that hands tickets straight to an object, one call after the other, so that what is measured is the object
// and the call to it, not the checks before. It calls as the beacon does.

import { callObject } from "../src/runtime.js";

/** So many networks announce, in turn. */
const NETWORKS = 1_000;
/** More than any call takes. */
const PATIENCE_MS = 60_000;
let calls = 0;

export default {
  async fetch(request, env) {
    let answer;
    for (const ticket of (await request.text()).split("\n")) {
      calls += 1;
      const response = await callObject(env, "bench", `/announce?bench&${network(calls % NETWORKS)}&${btoa(ticket)}`, PATIENCE_MS);
      answer = await response.arrayBuffer();
      if (response.status !== 200) return new Response(answer, { status: 502 });
    }
    return new Response(answer);
  },
};

/**
 * @param {number} number
 * @returns {string} What a Worker hands over in the place of an address: the base64 of three hashes of 8 bytes, of a
 *   provider, a site and a household.
 */
function network(number) {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  // Ten sites in each provider.
  [Math.floor(number / 10), number, number].forEach((level, position) => view.setUint32(8 * position, level + 1));
  return btoa(String.fromCharCode(...bytes));
}
