// What the Worker asks of the runtime, each in one call.
//
// A call out of WebAssembly costs about as much as what is called, and every string is copied and decoded on its way.
// So what belongs together is one function here. Nothing is decided in this file: the rest of src/ does.

/**
 * What a request says of itself, a line each, empty where it says nothing: its method, its URL, the client's address, the
 * number of the client's autonomous system, and If-None-Match.
 *
 * @param {Request} request
 * @param {string | undefined} addressHeader Has the client's address where CF-Connecting-IP is absent.
 */
export function describeRequest(request, addressHeader) {
  const { method, url, headers } = request;
  const address = headers.get("CF-Connecting-IP") ?? (addressHeader && headers.get(addressHeader)) ?? "";
  const autonomousSystem = headers.has("CF-Connecting-IP") ? (request.cf?.asn ?? "") : "";
  const known = method === "POST" ? "" : (headers.get("If-None-Match") ?? "");
  return `${method}\n${url}\n${address}\n${autonomousSystem}\n${known}`;
}

/**
 * A promise of a request's body, of which little more than `most` bytes are kept in memory. Where it has more than that,
 * more than `most` bytes may come back, but need not all come.
 *
 * @param {Request} request
 * @param {number} most
 * @param {number} mostRead Of a body that is too long, so much is read.
 * @returns {Promise<ArrayBuffer | Uint8Array>}
 */
export function readBody(request, most, mostRead) {
  // HTTP ends a body where its length says. So one that is short by that is read whole, which takes fewer steps.
  const length = request.headers.get("Content-Length");
  return length !== null && Number(length) <= most ? request.arrayBuffer() : readCounted(request, most, mostRead);
}

async function readCounted(request, most, mostRead) {
  const body = new Uint8Array(most + 1);
  let read = 0;
  for await (const chunk of request.body ?? []) {
    body.set(chunk.subarray(0, Math.max(0, body.length - read)), Math.min(read, body.length));
    read += chunk.length;
    // A client that is still sending when the answer comes sees a broken connection, not the answer. So what is somewhat
    // too long is read to its end.
    if (read > mostRead) break;
  }
  return body.subarray(0, read);
}

/**
 * @param {number} status
 * @param {Headers} headers Shared by many answers.
 * @param {string | undefined} more Headers of this answer alone: a name and its value, a line each.
 * @param {Uint8Array} body In WebAssembly's memory: `Response` takes a copy (Fetch, "extract a body").
 */
export function respond(status, headers, more, body) {
  const all = more === undefined ? headers : extend(headers, more);
  return new Response(body.length > 0 ? body : null, { status, headers: all });
}

/**
 * The same, with a body that the garbage collector knows of.
 *
 * It does not see what a `Response` copies. So under load it lets thousands of them lie, and then destroys them in one
 * go, for which everyone waits. A buffer of JavaScript it counts, and comes sooner.
 */
export function respondCounted(status, headers, more, body) {
  return respond(status, headers, more, body.slice());
}

/** The last that were put together: one list is answered with many times. */
let extended = { headers: undefined, more: undefined, result: undefined };

function extend(headers, more) {
  if (extended.headers !== headers || extended.more !== more) {
    const result = new Headers(headers);
    const lines = more.split("\n");
    for (let line = 0; line + 1 < lines.length; line += 2) result.set(lines[line], lines[line + 1]);
    extended = { headers, more, result };
  }
  return extended.result;
}

/**
 * A promise of what `resume` makes of what this promise comes to.
 *
 * @param {Promise<unknown>} promise
 * @param {(waiting: number, value: unknown, failed: boolean) => unknown} resume
 * @param {number} waiting Who waits.
 */
export function settle(promise, resume, waiting) {
  return promise.then(
    (value) => resume(waiting, value, false),
    (error) => resume(waiting, error, true),
  );
}

/**
 * Whether a signature is one by this key over this message: a promise of a boolean.
 *
 * @param {Uint8Array} bytes In WebAssembly's memory: 32 of the key, 64 of the signature, the message.
 */
export function verifyEd25519(bytes) {
  // The key is read at once, the rest after a wait, in which that memory may change.
  const rest = bytes.slice(32);
  return crypto.subtle
    .importKey("raw", bytes.subarray(0, 32), "Ed25519", false, ["verify"])
    .then((key) => crypto.subtle.verify("Ed25519", key, rest.subarray(0, 64), rest.subarray(64)));
}

/**
 * Calls the community's object. The host is of no consequence: the name picks the object.
 *
 * @param {{ COMMUNITY: DurableObjectNamespace }} env
 * @param {string} community
 * @param {string} what A path and a query. All is said in the URL: headers and a body are more to make and to read.
 */
export function callObject(env, community, what) {
  return env.COMMUNITY.getByName(community).fetch(`https://community${what}`);
}
