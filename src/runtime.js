// The Worker's calls of the runtime.
//
// A call out of WebAssembly costs about as much as the called function, and every string is copied and decoded on its
// way. Work that belongs together is therefore one function here. Nothing is decided in this file.

/**
 * Describes a request in six lines, empty where it says nothing: its method, its URL, the client's address, the number
 * of the client's autonomous system, If-None-Match or, of a POST, Origin, and of a request with a body Content-Length.
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
  const length = method === "POST" || method === "PUT" ? headers.get("Content-Length") : "";
  return `${method}\n${url}\n${address}\n${autonomousSystem}\n${more ?? ""}\n${length ?? ""}`;
}

/**
 * Reads the body, keeping at most `most` bytes, as long as there is room for them.
 *
 * @param {Request} request
 * @param {number} most
 * @param {number} mostRead The bytes that are read of a body that is not kept.
 * @param {number} timeoutMs
 * @param {number} room The bytes for which there is room.
 * @param {(number: number, bytes: number) => number} grow Asks for room for so many bytes of a body. Returns for how many there
 *   is. It is not asked for more than `most`.
 * @param {number} number Which body it is.
 * @returns {Promise<ArrayBuffer | Uint8Array | number | null | undefined>} A number of bytes where the body was not kept: more
 *   than `most`, or more than there is room for. Null where the client went away, undefined where the body did not arrive in
 *   time.
 */
export function readBody(request, most, mostRead, timeoutMs, room, grow, number) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    const end = (body) => {
      clearTimeout(timer);
      resolve(body);
    };
    const length = Number(request.headers.get("Content-Length") ?? Infinity);
    if (length > room && length <= most) room = grow(number, room + 1);
    // HTTP ends a body where its length says. A body that is short by its length is read whole, which takes fewer steps.
    const isShort = length <= Math.min(most, room);
    const body = isShort ? request.arrayBuffer() : readCounted(request, most, mostRead, room, (bytes) => grow(number, bytes));
    // Only the client can make it fail.
    body.then(end, () => end(null));
  });
}

async function readCounted(request, most, mostRead, room, grow) {
  // Room for what has come, not for what may: whoever sends nothing more holds no more.
  let body = new Uint8Array(0);
  let read = 0;
  let isKept = true;
  for await (const chunk of request.body ?? []) {
    const length = read + chunk.length;
    if (isKept && length > room && length <= most) room = grow(length);
    isKept &&= length <= Math.min(most, room);
    if (!isKept) body = undefined;
    else {
      if (length > body.length) body = grown(body, Math.min(Math.max(length, 2 * body.length), most, room));
      body.set(chunk, read);
    }
    read = length;
    // A client that is still sending when the answer comes sees a broken connection, not the answer. A body that is
    // somewhat too long, or has no room, is therefore read to its end.
    if (read > mostRead) break;
  }
  return isKept ? body.subarray(0, read) : read;
}

function grown(bytes, length) {
  const more = new Uint8Array(length);
  more.set(bytes);
  return more;
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

/** Returns what an error, or whatever else was thrown, says. */
export function describe(error) {
  return String(error);
}

/** Returns a promise that is kept after so many milliseconds. */
export function delay(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Lets a promise that nobody waits for come to something after the answer. */
export function waitUntil(context, promise) {
  context.waitUntil(promise);
}

/**
 * Lets the runtime call an object's `alarm` at a time in milliseconds. Returns a promise.
 *
 * @param {DurableObjectState} state
 * @param {number} at
 */
export function setAlarm(state, at) {
  return state.storage.setAlarm(at);
}

/** Does the same where no time is set. No other event comes between: the runtime holds them back while it reads. */
export function setLostAlarm(state, at) {
  return state.storage.getAlarm().then((set) => (set === null ? setAlarm(state, at) : undefined));
}

/** Returns the rows that a query finds: the texts of all their columns, one after the other. */
export function readTexts(sql, query) {
  return sql.exec(query).raw().toArray().flat().map(String);
}

/**
 * Runs statements as one transaction: all of them are made, or none.
 *
 * @param {DurableObjectState} state
 * @param {[string, ...unknown[]][]} statements Of each its text, and its values.
 */
export function transact({ storage }, statements) {
  storage.transactionSync(() => {
    for (const [query, ...values] of statements) storage.sql.exec(query, ...values);
  });
}

/** Erases everything that an object has in storage, its alarm too. Returns a promise. */
export function eraseAll(state) {
  return Promise.all([state.storage.deleteAlarm(), state.storage.deleteAll()]);
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
 * Verifies some signatures. Returns a promise of whether each of them fits.
 *
 * @param {Uint8Array[]} all Of each what {@link verifyEd25519} takes, in JavaScript's memory.
 */
export function verifyEachEd25519(all) {
  return Promise.all(all.map(verifyEd25519));
}

/**
 * Returns a promise of what an object answers, or, where that takes too long, of an error with `timedOut`: a runtime that cannot
 * reach an object may wait for it for ever. A late answer is dropped.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @returns {Promise<T>}
 */
function inTime(promise, ms) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(Object.assign(new Error("no answer in time"), { timedOut: true })), ms);
    const settled = (settle) => (outcome) => {
      clearTimeout(timer);
      settle(outcome);
    };
    promise.then(settled(resolve), settled(reject));
  });
}

/**
 * Calls an object, without a limit on the time. The host is of no consequence: the name picks the object.
 *
 * @param {DurableObjectNamespace} namespace
 * @param {string} object Its name.
 * @param {string} what A path and a query.
 * @param {RequestInit} [init]
 */
function call(namespace, object, what, init) {
  return namespace.getByName(object).fetch(`https://object${what}`, init);
}

/**
 * Calls the object of a community.
 *
 * @param {{ COMMUNITY: DurableObjectNamespace }} env
 * @param {string} object Its name.
 * @param {string} what A path and a query. All is said in the URL: headers and a body are more to make and to read.
 * @param {number} patienceMs
 */
export function callObject(env, object, what, patienceMs) {
  return inTime(call(env.COMMUNITY, object, what), patienceMs);
}

/**
 * Asks an object by a text that may be more than a URL may be.
 *
 * @param {Record<string, DurableObjectNamespace>} env
 * @param {string} binding Of its class.
 * @param {string} object Its name.
 * @param {string} what A path and a query.
 * @param {string} body
 * @param {number} patienceMs
 */
export function askObject(env, binding, object, what, body, patienceMs) {
  return inTime(call(env[binding], object, what, { method: "POST", body }), patienceMs);
}

/**
 * Opens a connection at an object. Returns a promise of its answer, which has a WebSocket if its status is 101.
 *
 * @param {Record<string, DurableObjectNamespace>} env
 * @param {string} binding Of its class.
 * @param {string} object Its name.
 * @param {string} what A path and a query.
 * @param {number} patienceMs
 */
export function openSocket(env, binding, object, what, patienceMs) {
  return inTime(call(env[binding], object, what, { headers: { Upgrade: "websocket" } }), patienceMs);
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
 * @param {number} leftMs How long it waits in all.
 * @returns {Promise<string | number>}
 */
export function fetchList(env, context, object, what, patienceMs, leftMs) {
  const read = (response) => (response.status === 200 ? response.text() : response.status);
  const ask = (ms) => inTime(call(env.COMMUNITY, object, what).then(read), ms);
  if (patienceMs === 0) return ask(leftMs);
  const awaited = underway.get(object);
  if (awaited !== undefined) {
    return new Promise((resolve, reject) => {
      // The runtime may end the other request, and with it what is awaited. Of its own this one has the timer.
      const timer = setTimeout(() => {
        forget(object, awaited);
        resolve(ask(leftMs - patienceMs));
      }, patienceMs);
      awaited.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
  const list = ask(leftMs).finally(() => forget(object, list));
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

/** What has happened to a connection: the numbers of `connections.rs`. */
const OPENED = 0;
const TEXT = 1;
const BINARY = 2;
const TOO_LONG = 3;
const PUSHED = 4;
const OBJECT_ENDED = 5;
const VERIFIED = 6;
const READ = 7;
const DUE = 8;
const GONE = 9;

/** The code of a connection that the beacon has failed. */
const INTERNAL = 1011;

/** Codes that stand for the absence of one, and that nobody may send (RFC 6455, section 7.4.1). */
const ABSENT = new Set([1005, 1006, 1015]);

function close(socket, code, reason) {
  try {
    if (ABSENT.has(code)) socket.close();
    else socket.close(code, reason);
  } catch {
    // It is closed.
  }
}

/** Stands between a client and an object, from one socket to the other. What is done with an event `take` says. */
class Relay {
  #object;
  #take;
  #connection;
  #hasEnded = false;
  /** What is handed on as it comes: all but the first line of what the object pushed last. */
  #pushed = "";
  /** The signatures are verified one after the other, because that is how their order stays that of the messages. */
  #verified = Promise.resolve();
  #dueAt = Infinity;
  #timer;

  /**
   * @param {(relay: Relay, connection: number, event: number, value: unknown, now: number) => number} take
   * @param {number} connection
   */
  constructor(take, connection) {
    this.#take = take;
    this.#connection = connection;
  }

  /** @param {WebSocket} [object] Absent where the object is not asked yet. */
  start(object) {
    this.happened(OPENED);
    if (object !== undefined) this.#hear(object);
  }

  /** @param {WebSocket} object */
  #hear(object) {
    this.#object = object;
    object.accept();
    object.addEventListener("message", ({ data }) => {
      const end = data.indexOf("\n");
      this.#pushed = data.slice(end + 1);
      this.happened(PUSHED, end < 0 ? data : data.slice(0, end));
    });
    object.addEventListener("close", ({ code }) => this.happened(OBJECT_ENDED, code));
    object.addEventListener("error", () => this.happened(OBJECT_ENDED, INTERNAL));
  }

  /** @param {Promise<Response>} opened The answer of an object that is asked only now. */
  listenTo(opened) {
    const fail = () => this.happened(OBJECT_ENDED, INTERNAL);
    opened.then(({ webSocket }) => {
      if (webSocket === null) return fail();
      this.#hear(webSocket);
      // The client has gone meanwhile.
      if (this.#hasEnded) this.#close();
    }).catch(fail);
  }

  happened(event, value) {
    if (this.#hasEnded) return;
    try {
      // Memory in which code has panicked may be in any state.
      if (globalThis.__worker_init_state.criticalError) throw new Error("code has panicked");
      const dueAt = this.#take(this, this.#connection, event, value, Date.now());
      if (dueAt < this.#dueAt && !this.#hasEnded) this.#wait(dueAt);
    } catch {
      this.end(INTERNAL, "INTERNAL");
    }
  }

  #wait(dueAt) {
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => {
      this.#dueAt = Infinity;
      this.happened(DUE);
    }, dueAt - Date.now());
  }

  /** The client has gone. */
  gone() {
    this.happened(GONE);
    this.#close();
  }

  /** The client has gone, but what it sent before counts: its last word may be a goodbye, whose signature is being verified. */
  goneOnceVerified() {
    this.#verified = this.#verified.then(() => this.gone());
  }

  pass(before, after) {
    this.send(before + this.#pushed + after);
  }

  ask(text) {
    this.#object.send(text);
  }

  verify(bytes) {
    // In WebAssembly's memory, which may change meanwhile.
    const copy = bytes.slice();
    this.#verified = this.#verified
      .then(() => verifyEd25519(copy))
      .then((holds) => this.happened(VERIFIED, holds), () => this.happened(OBJECT_ENDED, INTERNAL));
  }

  end(code, reason) {
    if (this.#hasEnded) return;
    this.#close();
    this.closeClient(code, reason);
  }

  #close() {
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    if (this.#object !== undefined) close(this.#object, 1000);
  }
}

class SocketRelay extends Relay {
  #client;
  #hasClientClosed = false;
  #end = new AbortController();

  constructor(take, connection, client, most) {
    super(take, connection);
    this.#client = client;
    const listen = (type, listener) => client.addEventListener(type, listener, { signal: this.#end.signal });
    listen("message", ({ data }) => {
      if (typeof data !== "string") this.happened(BINARY);
      // No text has fewer bytes than this has units.
      else if (data.length > most) this.happened(TOO_LONG);
      else this.happened(TEXT, data);
    });
    const gone = () => {
      this.#hasClientClosed = true;
      this.goneOnceVerified();
    };
    listen("close", ({ code, reason }) => {
      close(client, code, reason);
      gone();
    });
    listen("error", gone);
    client.accept();
  }

  send(text) {
    if (!this.#hasClientClosed) this.#client.send(text);
  }

  closeClient(code, reason) {
    this.#end.abort();
    close(this.#client, code, reason);
  }
}

const encoder = new TextEncoder();

class StreamRelay extends Relay {
  #writer;
  #unread = 0;
  #patienceMs;

  constructor(take, connection, writer, patienceMs) {
    super(take, connection);
    this.#writer = writer;
    this.#patienceMs = patienceMs;
    writer.closed.catch(() => this.gone());
  }

  send(event) {
    this.#unread += 1;
    this.#writer.write(encoder.encode(event)).then(
      () => {
        this.#unread -= 1;
        if (this.#unread === 0) this.happened(READ);
      },
      () => this.gone(),
    );
  }

  closeClient() {
    const timer = setTimeout(() => this.#writer.abort().catch(() => {}), this.#patienceMs);
    const end = () => clearTimeout(timer);
    this.#writer.close().then(end, end);
  }
}

/**
 * Serves a WebSocket. Returns the answer that makes one of the client's connection.
 *
 * @param {Response} opened The object's answer.
 * @param {(relay: Relay, connection: number, event: number, value: unknown, now: number) => number} take Takes what
 *   happens, and returns when it wants to be called next at the latest.
 * @param {number} connection Which one it is.
 * @param {number} most The bytes of a message of the client.
 */
export function serveSocket(opened, take, connection, most) {
  return serveClient(opened.webSocket, take, connection, most);
}

/** Serves a WebSocket of a client before its object is asked: see {@link Relay#listenTo}. The rest is as above. */
export function serveUnopened(take, connection, most) {
  return serveClient(undefined, take, connection, most);
}

function serveClient(object, take, connection, most) {
  const { 0: client, 1: server } = new WebSocketPair();
  new SocketRelay(take, connection, server, most).start(object);
  return new Response(null, { status: 101, webSocket: client });
}

/**
 * Serves an event stream. Returns the answer with it.
 *
 * @param {Response} opened
 * @param {(relay: Relay, connection: number, event: number, value: unknown, now: number) => number} take
 * @param {number} connection
 * @param {Headers} headers
 * @param {string} more Headers of this answer alone: a name and its value, a line each.
 * @param {number} patienceMs How long the client may take to read what is written when the stream ends.
 * @param {Request} request Says when the client is gone, which the stream does not before the next write.
 */
export function serveStream(opened, take, connection, headers, more, patienceMs, request) {
  const { readable, writable } = new IdentityTransformStream();
  const relay = new StreamRelay(take, connection, writable.getWriter(), patienceMs);
  request.signal.addEventListener("abort", () => relay.gone());
  relay.start(opened.webSocket);
  return new Response(readable, { headers: withLines(headers, more) });
}

/**
 * Accepts a socket of an object that may hibernate while it is open. Returns the answer with its other end.
 *
 * @param {DurableObjectState} state
 * @param {string} connection Its name.
 */
export function acceptSocket(state, connection) {
  const { 0: client, 1: server } = new WebSocketPair();
  state.acceptWebSocket(server, [connection]);
  return new Response(null, { status: 101, webSocket: client });
}

/** Returns the name of a socket. */
export function connectionOf(state, socket) {
  return state.getTags(socket)[0];
}

/** Returns what every socket keeps that is open: its name, and a text, one after the other. */
export function attachments(state) {
  const open = state.getWebSockets().filter(({ readyState }) => readyState === WebSocket.OPEN);
  return open.flatMap((socket) => [connectionOf(state, socket), socket.deserializeAttachment() ?? ""]);
}

/** Lets a socket keep a text. */
export function attach(state, connection, text) {
  for (const socket of state.getWebSockets(connection)) socket.serializeAttachment(text);
}

/**
 * Sends a text to sockets.
 *
 * @param {DurableObjectState} state
 * @param {string} connections Their names, with commas between.
 * @param {string} text
 */
export function push(state, connections, text) {
  for (const connection of connections.split(",")) {
    for (const socket of state.getWebSockets(connection)) {
      try {
        socket.send(text);
      } catch {
        // It is closed, and says so by itself.
      }
    }
  }
}

/** Closes sockets, named as those of {@link push} are. */
export function closeSockets(state, connections, code, reason) {
  for (const connection of connections.split(",")) {
    for (const socket of state.getWebSockets(connection)) close(socket, code, reason);
  }
}
