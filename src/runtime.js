// The Worker's calls of the runtime.
//
// A call out of WebAssembly costs about as much as the called function, and every string is copied and decoded on its
// way. Work that belongs together is therefore one function here. Nothing is decided in this file.

/**
 * Describes a request in five lines, empty where it says nothing: its method, its URL, the client's address, the number
 * of the client's autonomous system, and If-None-Match or, of a POST, Origin.
 *
 * @param {Request} request
 * @param {string | undefined} addressHeader The only header that has the client's address. Where that is Cloudflare's
 *   own, Cloudflare says the autonomous system too.
 */
export function describeRequest(request, addressHeader) {
  const { method, url, headers } = request;
  const address = headers.get(addressHeader ?? "CF-Connecting-IP") ?? "";
  const autonomousSystem = addressHeader === undefined ? (request.cf?.asn ?? "") : "";
  // An empty Origin is not an absent one.
  const origin = () => headers.get("Origin") || (headers.has("Origin") ? "null" : "");
  const more = method === "POST" ? origin() : headers.get("If-None-Match");
  return `${method}\n${url}\n${address}\n${autonomousSystem}\n${more ?? ""}`;
}

/**
 * Reads the body, keeping at most `most + 1` bytes. A longer result means *too large*; its content is then meaningless.
 *
 * @param {Request} request
 * @param {number} most
 * @param {number} mostRead The bytes that are read of a body that is too long.
 * @param {number} timeoutMs
 * @returns {Promise<ArrayBuffer | Uint8Array | null | undefined>} Null where the client went away, undefined where the
 *   body did not arrive in time.
 */
export function readBody(request, most, mostRead, timeoutMs) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    const end = (body) => {
      clearTimeout(timer);
      resolve(body);
    };
    // HTTP ends a body where its length says. A body that is short by its length is read whole, which takes fewer steps.
    const length = request.headers.get("Content-Length");
    const isShort = length !== null && Number(length) <= most;
    const body = isShort ? request.arrayBuffer() : readCounted(request, most, mostRead);
    // Only the client can make it fail.
    body.then(end, () => end(null));
  });
}

async function readCounted(request, most, mostRead) {
  const body = new Uint8Array(most + 1);
  let read = 0;
  for await (const chunk of request.body ?? []) {
    body.set(chunk.subarray(0, Math.max(0, body.length - read)), Math.min(read, body.length));
    read += chunk.length;
    // A client that is still sending when the answer comes sees a broken connection, not the answer. A body that is
    // somewhat too long is therefore read to its end.
    if (read > mostRead) break;
  }
  return body.subarray(0, read);
}

/**
 * Makes an answer.
 *
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
 * Makes an answer whose body the garbage collector accounts for.
 *
 * The collector does not account for bytes that a `Response` copies, so under load thousands pile up until one long
 * pause. A buffer of JavaScript is accounted for, and collected sooner.
 */
export function respondCounted(status, headers, more, body) {
  return respond(status, headers, more, body.slice());
}

/** The headers that were put together last: one list is answered with many times. */
let extended = { headers: undefined, more: undefined, result: undefined };

function extend(headers, more) {
  if (extended.headers !== headers || extended.more !== more) {
    extended = { headers, more, result: withLines(new Headers(headers), more) };
  }
  return extended.result;
}

function withLines(headers, more) {
  const lines = more.split("\n");
  for (let line = 0; line + 1 < lines.length; line += 2) headers.set(lines[line], lines[line + 1]);
  return headers;
}

/**
 * Answers with a file of the page. Returns a promise of the answer.
 *
 * @param {{ ASSETS: Fetcher }} env
 * @param {string} file Its name.
 * @param {string} headers All of them: a name and its value, a line each.
 */
export function respondWithAsset(env, file, headers) {
  const all = withLines(new Headers(), headers);
  return env.ASSETS.fetch(`https://assets/${file}`).then((found) => {
    if (!found.ok) throw new Error(`the file ${file} of the page is not there: ${found.status}`);
    return new Response(found.body, { headers: all });
  });
}

/**
 * Returns a promise of what `resume` makes of this promise's outcome and of the time when it comes.
 *
 * @param {Promise<unknown>} promise
 * @param {(waiting: number, value: unknown, failed: boolean, now: number) => unknown} resume
 * @param {number} waiting Who waits.
 */
export function settle(promise, resume, waiting) {
  return promise.then(
    (value) => resume(waiting, value, false, Date.now()),
    (error) => resume(waiting, error, true, Date.now()),
  );
}

/**
 * Verifies a signature by this key over this message. Returns a promise of whether it fits.
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
 * Calls an object. The host is of no consequence: the name picks the object.
 *
 * @param {{ COMMUNITY: DurableObjectNamespace }} env
 * @param {string} object Its name.
 * @param {string} what A path and a query. All is said in the URL: headers and a body are more to make and to read.
 */
export function callObject(env, object, what) {
  return env.COMMUNITY.getByName(object).fetch(`https://community${what}`);
}

/** The lists that are on their way, by the name of the object. */
const underway = new Map();

/**
 * Fetches the list of an object. Returns a promise of the list, or of the status that the object answered instead.
 *
 * @param {{ COMMUNITY: DurableObjectNamespace }} env
 * @param {ExecutionContext} context
 * @param {string} object Its name.
 * @param {string} what A path.
 * @param {number} patienceMs How long a reader waits for a list that is on its way to another. 0: it asks by itself.
 * @returns {Promise<string | number>}
 */
export function fetchList(env, context, object, what, patienceMs) {
  const read = (response) => (response.status === 200 ? response.text() : response.status);
  const ask = () => callObject(env, object, what).then(read);
  if (patienceMs === 0) return ask();
  const awaited = underway.get(object);
  if (awaited !== undefined) {
    return new Promise((resolve, reject) => {
      // The runtime may end the other request, and with it what is awaited. Of its own this one has the timer.
      const timer = setTimeout(() => {
        forget(object, awaited);
        resolve(ask());
      }, patienceMs);
      awaited.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
  const list = ask().finally(() => forget(object, list));
  underway.set(object, list);
  // A reader who goes away does not take along what others wait for.
  context.waitUntil(list.catch(() => {}));
  return list;
}

function forget(object, list) {
  if (underway.get(object) === list) underway.delete(object);
}

/**
 * Returns the identifier of the object with this name.
 *
 * @param {{ COMMUNITY: DurableObjectNamespace }} env
 * @param {string} object
 */
export function objectIdentifier(env, object) {
  return env.COMMUNITY.idFromName(object).toString();
}
