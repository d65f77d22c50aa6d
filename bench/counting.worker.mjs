// The beacon's Worker and objects with everything counted that Cloudflare counts. The beacon itself is the built one,
// unchanged: it stands between two wrappers and notices neither.
//
// `GET /counters` answers with what has been counted so far.

import { linearMemoryBytes } from "./linear-memory.worker.mjs";
import beacon, * as built from "../src/entry.js";

/** Of objects by their names, and all of a kind in one Worker. */
const counters = { requests: 0, communities: {}, mailboxes: {} };

/** An object to which nothing has come for so long hibernates, or is evicted. */
const STAYS_MS = 10_000;

export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/counters") {
      return Response.json({ ...counters, linearMemoryBytes: linearMemoryBytes() });
    }
    counters.requests += 1;
    return beacon.fetch(request, env, ctx);
  },
};

export const Community = counted(built.Community, counters.communities);
export const Mailbox = counted(built.Mailbox, counters.mailboxes);

/**
 * @param {typeof built.Community} Inner
 * @param {Record<string, object>} counts
 */
function counted(Inner, counts) {
  return class {
    constructor(state, env) {
      this.meter = new Meter(counts, state.id.name);
      this.inner = new Inner(countedState(state, this.meter), env);
      this.meter.readCursors();
    }

    async fetch(request) {
      this.meter.counts.objectRequests += 1;
      return this.meter.during(() => this.inner.fetch(request));
    }

    webSocketMessage(socket, message) {
      this.meter.counts.socketMessages += 1;
      return this.meter.during(() => this.inner.webSocketMessage(socket, message));
    }

    webSocketClose(socket) {
      this.meter.counts.socketsClosed += 1;
      return this.meter.during(() => this.inner.webSocketClose(socket));
    }

    webSocketError(socket) {
      this.meter.counts.socketsClosed += 1;
      return this.meter.during(() => this.inner.webSocketError(socket));
    }

    async alarm() {
      // An alarm is billed as a request too.
      this.meter.counts.alarms += 1;
      return this.meter.during(() => this.inner.alarm());
    }
  };
}

/** Counts for one object. */
class Meter {
  #running = 0;
  #since = 0;
  #cursors = [];

  /**
   * @param {Record<string, object>} counts Of all objects of the kind.
   * @param {string} name
   */
  constructor(counts, name) {
    this.counts = counts[name] ??= {
      objectRequests: 0,
      socketMessages: 0,
      socketsClosed: 0,
      alarms: 0,
      alarmsSet: 0,
      rowsRead: 0,
      rowsWritten: 0,
      storedBytes: 0,
      waitedMs: 0,
      idleMs: 0,
      starts: 0,
    };
    if (this.counts.starts > 0) this.counts.idleMs += STAYS_MS;
    this.counts.starts += 1;
  }

  /**
   * Counts the time in which an object waits for something that keeps it from hibernating, such as a timer, and how long it
   * is in memory between that. The time in which it runs is in neither: in an event the clock of the runtime stands still.
   *
   * @param {() => Promise<unknown>} work
   */
  async during(work) {
    if (this.#running === 0) {
      const now = Date.now();
      if (this.#since > 0) this.counts.idleMs += Math.min(now - this.#since, STAYS_MS);
      this.#since = now;
    }
    this.#running += 1;
    try {
      return await work();
    } finally {
      this.readCursors();
      this.#running -= 1;
      // So that a reader of the counters sees a part of what still goes on.
      this.counts.waitedMs += Date.now() - this.#since;
      this.#since = Date.now();
    }
  }

  /** A cursor knows how many rows it took only once it has been read to its end. */
  watch(cursor) {
    this.#cursors.push(cursor);
    return cursor;
  }

  readCursors() {
    for (const { rowsRead, rowsWritten } of this.#cursors.splice(0)) {
      this.counts.rowsRead += rowsRead;
      this.counts.rowsWritten += rowsWritten;
    }
  }
}

/**
 * @param {DurableObjectState} state
 * @param {Meter} meter
 */
function countedState(state, meter) {
  const sql = intercept(state.storage.sql, {
    exec: (query, ...bindings) => {
      const cursor = meter.watch(state.storage.sql.exec(query, ...bindings));
      meter.counts.storedBytes = state.storage.sql.databaseSize;
      return cursor;
    },
  });
  const setAlarm = (time, options) => {
    meter.counts.alarmsSet += 1;
    return state.storage.setAlarm(time, options);
  };
  // A timer keeps an object from hibernating, and all of the beacon's timers are waited for here.
  const waitUntil = (promise) => state.waitUntil(meter.during(() => promise));
  return intercept(state, { storage: intercept(state.storage, { sql, setAlarm }), waitUntil });
}

/** `target` with some properties replaced. The runtime's own objects insist on being `this` themselves. */
function intercept(target, replaced) {
  return new Proxy(target, {
    get(_, key) {
      if (Object.hasOwn(replaced, key)) return replaced[key];
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
