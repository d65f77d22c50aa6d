// The least that refusing what somebody posted takes of any beacon, in plain JavaScript: reading the body, where
// `VERIFIES` is set importing a key and computing an equation that does not hold, and an answer with the headers that
// every answer has. Nothing is parsed, checked or put together.

/** RFC 8032, section 7.1, TEST 1: the signature is of an empty message. */
const KEY = Uint8Array.fromHex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
const SIGNATURE = Uint8Array.fromHex(
  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155" +
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
);
/** As long as what a ticket's signature is of. */
const MESSAGE = new Uint8Array(160);

/** Those that beacon/src/answer.rs gives every problem. */
const HEADERS = new Headers({
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Expose-Headers": "ETag, Retry-After",
  "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
  "X-Content-Type-Options": "nosniff",
  "Cache-Control": "no-store",
  "Content-Type": "application/problem+json; charset=utf-8",
});

let answer;

export default {
  async fetch(request, env) {
    answer ??= new TextEncoder().encode(env.ANSWER);
    await request.arrayBuffer();
    const holds = env.VERIFIES !== undefined && (await verify());
    return new Response(answer, { status: holds ? 500 : 200, headers: HEADERS });
  },
};

async function verify() {
  const key = await crypto.subtle.importKey("raw", KEY, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", key, SIGNATURE, MESSAGE);
}
