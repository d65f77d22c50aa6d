// The beacon under test, as any client sees it: requests, its clock, its communities, and networks to ask from.

import { request as httpRequest, Agent as HttpAgent } from "node:http";
import { request as httpsRequest, Agent as HttpsAgent } from "node:https";
import { setTimeout as delay } from "node:timers/promises";

/** More than any answer has: 200 of the longest tickets. */
const ANSWER_MAX_BYTES = 4 * 1024 * 1024;
const ANSWER_TIMEOUT_MS = 60_000;
/** How often the time is asked for: the quickest answer tells it best. */
const CLOCK_PROBES = 3;
/** How many communities cases take in turns where each could have one: as many as run at once, and another for each. */
const SHARED_COMMUNITIES = 16;
/** The longest wait that a rate limit may ask for before this gives up. */
const PATIENCE_MS = 90_000;

/** The beacon cannot be asked at all. */
export class Unreachable extends Error {}

/**
 * @typedef {object} Reply
 * @property {number} status
 * @property {Record<string, string | undefined>} headers By lower-case names.
 * @property {string} text
 * @property {any} json Undefined where the body is not JSON.
 */

export class Beacon {
  /** What to add to this machine's clock. */
  clockOffset = 0;
  /** Whether any name is a community. */
  isOpen = false;
  /** @type {string[]} Communities that no case uses at the moment. */
  #free = [];
  #waiting = [];
  #done = new Map();
  #networks = Math.floor(Math.random() * 40_000);
  #names = 0;
  #run = Math.floor(Math.random() * 2 ** 40).toString(36);

  /**
   * @param {string} url
   * @param {{ addressHeader?: string, communities?: string[], audience?: string,
   *   originKey?: import("./signing.mjs").Key, hubKey?: import("./signing.mjs").Key }} [options]
   */
  constructor(url, { addressHeader, communities = [], audience, originKey, hubKey } = {}) {
    const parsed = new URL(url);
    this.url = parsed.href.replace(/\/$/, "");
    this.addressHeader = addressHeader;
    this.audience = audience ?? parsed.origin;
    this.communities = communities;
    this.originKey = originKey;
    this.hubKey = hubKey;
    const isTls = parsed.protocol === "https:";
    this.#send = isTls ? httpsRequest : httpRequest;
    this.agent = new (isTls ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 24 });
  }

  #send;

  /** The beacon's time, in milliseconds. */
  now() {
    return Date.now() + this.clockOffset;
  }

  /** An address in a network of its own provider, or nothing where the beacon sees the connection's. */
  newAddress() {
    if (this.addressHeader === undefined) return undefined;
    this.#networks = (this.#networks + 1) % 50_000;
    return `${20 + (this.#networks >> 8)}.${this.#networks & 255}.0.1`;
  }

  /**
   * Sets the clock, and finds out which communities there are to work in.
   *
   * @throws {Unreachable}
   */
  async meet() {
    let quickestMs = Infinity;
    for (let asked = 0; asked < CLOCK_PROBES; asked += 1) {
      const sentAt = Date.now();
      const health = await this.request("/healthz").catch((error) => {
        throw new Unreachable(`${this.url} does not answer: ${error.message}`);
      });
      const tookMs = Date.now() - sentAt;
      const { serverTime } = health.json ?? {};
      if (health.status !== 200 || !Number.isSafeInteger(serverTime)) {
        throw new Unreachable(`${this.url}/healthz is not a beacon's answer: status ${health.status}, ${health.text.slice(0, 80)}`);
      }
      if (tookMs >= quickestMs) continue;
      [quickestMs, this.clockOffset] = [tookMs, Math.round(serverTime - sentAt - tookMs / 2)];
    }
    if (this.communities.length === 0) {
      const open = await this.request(`/peers?community=${this.#newName()}`, { address: this.newAddress() });
      this.isOpen = open.status === 200;
      // Where every client has one network, new communities are rationed: some few are used in turn.
      if (this.isOpen) this.communities = this.addressHeader ? [] : Array.from({ length: SHARED_COMMUNITIES }, () => this.#newName());
      else this.communities = [(await this.request("/peers")).json?.community ?? "mainnet"];
    }
    this.#free = [...this.communities];
  }

  #newName() {
    return `conformance-${this.#run}-${(this.#names += 1)}`;
  }

  /**
   * Does something once a run.
   *
   * @template T
   * @param {string} name
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  once(name, work) {
    if (!this.#done.has(name)) this.#done.set(name, work());
    return this.#done.get(name);
  }

  /** A community that nobody else uses until it is given back. */
  async takeCommunity() {
    if (this.communities.length === 0) return this.#newName();
    return this.#free.pop() ?? new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** @returns {string | undefined} Another one, where there is one now. */
  takeAnother() {
    return this.communities.length === 0 ? this.#newName() : this.#free.pop();
  }

  giveBack(community) {
    if (this.communities.length === 0) return;
    const next = this.#waiting.shift();
    if (next) next(community);
    else this.#free.push(community);
  }

  /**
   * @param {string} path
   * @param {object} [options]
   * @param {string} [options.method] By default GET, and POST where there is a body.
   * @param {unknown} [options.json] What becomes the body.
   * @param {string | Buffer} [options.body]
   * @param {(string | Buffer)[]} [options.chunks] A body without a length.
   * @param {Record<string, string>} [options.headers]
   * @param {string} [options.address] The client's, where there is a header for it.
   * @param {boolean} [options.isPatient] Whether to wait where the rate limit asks for it, and ask again.
   * @returns {Promise<Reply>}
   */
  async request(path, options = {}) {
    const until = Date.now() + PATIENCE_MS;
    for (;;) {
      const reply = await this.#ask(path, options);
      const { code, retryAfterMs } = reply.json ?? {};
      const isLimited = code === "THROTTLED" && Number.isFinite(retryAfterMs) && Date.now() + retryAfterMs < until;
      if (options.isPatient === false || !isLimited) return reply;
      await delay(retryAfterMs + 20);
    }
  }

  async #ask(path, options, again = true) {
    try {
      return await this.#once(path, options);
    } catch (error) {
      // A connection that was kept may end as the next request begins.
      if (again && error.isReused) return this.#ask(path, options, false);
      throw error;
    }
  }

  #once(path, { method, json, body = json === undefined ? undefined : JSON.stringify(json), chunks, headers = {}, address }) {
    const all = { ...headers };
    if (address !== undefined && this.addressHeader !== undefined) all[this.addressHeader] = address;
    if (body !== undefined) all["Content-Length"] ??= String(Buffer.byteLength(body));
    if (chunks) all["Transfer-Encoding"] = "chunked";
    const base = new URL(this.url);
    return new Promise((resolve, reject) => {
      const request = this.#send({
        agent: this.agent,
        hostname: base.hostname.replace(/^\[|\]$/g, ""),
        port: base.port,
        path: base.pathname.replace(/\/$/, "") + path,
        method: method ?? (body !== undefined || chunks ? "POST" : "GET"),
        headers: all,
        timeout: ANSWER_TIMEOUT_MS,
      });
      const fail = (error) => reject(Object.assign(error, { isReused: request.reusedSocket && error.code === "ECONNRESET" }));
      request.on("error", fail);
      request.on("timeout", () => request.destroy(new Error(`no answer to ${request.method} ${path} in ${ANSWER_TIMEOUT_MS} ms`)));
      request.on("response", (response) => {
        const parts = [];
        let length = 0;
        response.on("error", fail);
        response.on("data", (part) => {
          parts.push(part);
          length += part.length;
          if (length > ANSWER_MAX_BYTES) request.destroy(new Error(`the answer to ${path} has more than ${ANSWER_MAX_BYTES} bytes`));
        });
        response.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          resolve({ status: response.statusCode, headers: response.headers, text, json: parse(text) });
        });
      });
      for (const chunk of chunks ?? []) request.write(chunk);
      request.end(body);
    });
  }

  close() {
    this.agent.destroy();
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
