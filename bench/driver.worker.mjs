// A Worker that hands tickets straight to an object, one call after the other, so that what is measured is the object
// and the call to it, not the checks before. What it says in its calls is what src/community.rs says in `hand_over`.

/** So many networks announce, in turn. */
const NETWORKS = 1_000;
let calls = 0;

export default {
  async fetch(request, env) {
    const stub = env.OBJECT.get(env.OBJECT.idFromName("bench"));
    let answer;
    for (const ticket of (await request.text()).split("\n")) {
      calls += 1;
      const response = await stub.fetch("https://community/announce", {
        method: "POST",
        headers: { "X-Community": "bench", "X-Network": network(calls % NETWORKS) },
        body: ticket,
      });
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
