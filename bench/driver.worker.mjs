// A Worker that hands tickets straight to an object, one call after the other, so that what is measured is the object
// and the call to it, not the checks before. It calls as the beacon does.

import { callObject } from "../src/runtime.js";

/** So many networks announce, in turn. */
const NETWORKS = 1_000;
let calls = 0;

export default {
  async fetch(request, env) {
    let answer;
    for (const ticket of (await request.text()).split("\n")) {
      calls += 1;
      const response = await callObject(env, "bench", `/announce?bench&${network(calls % NETWORKS)}&${btoa(ticket)}`);
      answer = await response.arrayBuffer();
      if (response.status !== 200) return new Response(answer, { status: 502 });
    }
    return new Response(answer);
  },
};

/**
 * @param {number} number
 * @returns {string} The base64 of an IPv4 /24.
 */
function network(number) {
  return btoa(String.fromCharCode(10, number >> 8, number & 255));
}
