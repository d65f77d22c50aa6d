// A hostile beacon for any client program: it answers what no beacon should, and watches what the client believes and sends.
//
// What a client believes shows on its standard output: every ticket here has a name that is nowhere else, and a name that is
// printed was believed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import {
  SMALL_ORDER,
  base64,
  canonical,
  fitsNobody,
  isSigned,
  malleate,
  signText,
  signWithIdentity,
  signatureOfNobody,
} from "./signing.mjs";
import { PATIENCE_MS } from "./socket.mjs";
import { LIFETIME_MS, envelopeOf, newPeer, payloadOf } from "./ticket.mjs";
import { Skip } from "./trial.mjs";

const ANSWER_MAX_BYTES = 524_288;
const TICKETS_MAX = 200;
const SKEW_MS = 15_000;
/** What may lie in buffers between two programs when one of them stops reading, and what is sent at most. */
const BUFFERED_BYTES = 16 * 1_048_576;
const ENDLESS_BYTES = 64 * 1_048_576;
const GRACE_MS = 2_000;

/** What a program prints that did not expect what it was told. */
const CRASH =
  /Traceback \(most recent call last\)|panicked at|UnhandledPromiseRejection|Uncaught|^ +at .+:\d+:\d+\)?$|^goroutine \d+ \[|Segmentation fault/m;

/** Tickets that nobody may believe: what is wrong with each, and how it is made. */
const BAD = {
  forged: [
    "by another key than it says",
    (make) => {
      const ticket = make();
      return { ...ticket, signature: envelopeOf(newPeer(), ticket.payload).signature };
    },
  ],
  renamed: [
    "whose peerId was changed after signing",
    (make, peer) => {
      const ticket = make({ peerId: "another" });
      return { ...ticket, payload: { ...ticket.payload, peerId: peer.peerId } };
    },
  ],
  prolonged: [
    "whose end was changed after signing",
    (make, _, now) => {
      const ticket = make({ issuedAt: now - 60_000, expiresAt: now + 60_000 });
      return { ...ticket, payload: { ...ticket.payload, expiresAt: now + 90_000 } };
    },
  ],
  "data-added": [
    "to which data was added after signing",
    (make) => {
      const ticket = make();
      return { ...ticket, payload: { ...ticket.payload, data: "a" } };
    },
  ],
  expired: ["that has expired", (make, _, now) => make({ issuedAt: now - LIFETIME_MS - 30_000 })],
  future: ["that begins in a minute", (make, _, now) => make({ issuedAt: now + 60_000 })],
  "too-long": ["that lives longer than a beacon's may", (make, _, now) => make({ expiresAt: now + 604_000_000 })],
  "other-community": ["of another community", (make) => make({ community: "another-one" })],
  goodbye: ["to leave", (make) => make({ leave: true })],
  version: ["of version 2", (make) => ({ ...make(), version: 2 })],
  algorithm: ["of another algorithm", (make) => ({ ...make(), algorithm: "rsa" })],
  "unknown-field": ["with an unknown field", (make) => make({ more: 1 })],
  "unknown-envelope-field": ["with an unknown field around the payload", (make) => ({ ...make(), more: 1 })],
  "null-field": ["with null for a field", (make) => make({ data: null })],
  "missing-field": ["without a nonce", (make) => make({ nonce: undefined })],
  "short-nonce": ["with a nonce of eleven bytes", (make) => make({ nonce: base64(11) })],
  "control-character": ["with a control character in its userId", (make) => make({ userId: "a\u0085" })],
  "long-data": ["with data of 513 bytes", (make) => make({ data: "d".repeat(513) })],
  unpadded: [
    "with base64 without padding",
    (make) => {
      const ticket = make();
      return { ...ticket, publicKey: ticket.publicKey.replace(/=+$/, "") };
    },
  ],
  "s-plus-order": [
    "with S + L in its signature",
    (make) => {
      const ticket = make();
      return { ...ticket, signature: malleate(ticket.signature) };
    },
  ],
  "r-of-small-order": [
    "with an R of small order",
    (make, peer) => {
      const ticket = make();
      return { ...ticket, signature: signWithIdentity(canonical(ticket.payload), peer) };
    },
  ],
  ...Object.fromEntries(
    [0, 3, 4].map((at) => [
      `small-order-${at}`,
      [
        "by a key of small order",
        (make) => {
          const [publicKey, signature] = [SMALL_ORDER[at].toString("base64"), signatureOfNobody()];
          for (;;) {
            const ticket = { ...make(), publicKey, signature };
            if (fitsNobody(canonical(ticket.payload), publicKey, signature)) return ticket;
          }
        },
      ],
    ]),
  ),
  unsorted: [
    "that is signed over unsorted keys",
    (make, peer) => {
      const ticket = make();
      return { ...ticket, signature: signText(JSON.stringify({ userId: ticket.payload.userId, ...ticket.payload }), peer) };
    },
  ],
};

/** Bad tickets as text, which a lenient parser takes for good ones. */
const BAD_TEXTS = {
  "field-twice": ["with a field twice", (text) => text.replace('"userId":', '"userId":"another","userId":')],
  fraction: ["with a time that is written with a fraction", (text) => text.replace(/"expiresAt":(\d+)/, '"expiresAt":$1.0')],
  exponent: ["with a time that is written with an exponent", (text) => text.replace(/"issuedAt":(\d+)/, '"issuedAt":$1e0')],
};

/** Tickets that a client must not miss among all these. */
const GOOD = {
  plain: ["as any client makes it", {}],
  "without-community": ["that signs no community", { community: undefined }],
  data: ["with data", { data: 'a "b" \u2028 é' }],
  "user-id": ["with a userId beyond ASCII", { userId: "Zoë 𝄞 </>&" }],
  "long-nonce": ["with a nonce of 32 bytes", { nonce: base64(32) }],
};

/**
 * Runs the command once, against a beacon that answers by `respond`.
 *
 * @param {object} options
 * @param {string} options.command For the shell, with BEACON (a URL) and COMMUNITY.
 * @param {(request: object, response: import("node:http").ServerResponse, seen: object[]) => void} options.respond
 * @param {(state: { output: string, seen: object[] }) => boolean} [options.isOver]
 * @param {number} options.waitMs
 */
async function observe({ command, respond, isOver = () => false, waitMs }) {
  const seen = [];
  const server = createServer(async (request, response) => {
    response.on("error", () => {});
    const parts = [];
    try {
      for await (const part of request) parts.push(part);
    } catch {
      return;
    }
    const { method, url, headers } = request;
    const body = Buffer.concat(parts);
    const { pathname, searchParams } = new URL(url, "http://beacon");
    const entry = {
      method,
      path: pathname,
      community: searchParams.get("community"),
      headers,
      body,
      at: Date.now(),
      json: parse(body.toString()),
    };
    seen.push(entry);
    respond(entry, response, seen);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const environment = { ...process.env, BEACON: `http://127.0.0.1:${server.address().port}`, COMMUNITY };
  const child = spawn("sh", ["-c", command], { env: environment, stdio: ["ignore", "pipe", "pipe"], detached: true });
  const state = { output: "", errors: "", seen, exit: undefined };
  child.stdout.setEncoding("utf8").on("data", (text) => (state.output = (state.output + text).slice(-4_000_000)));
  child.stderr.setEncoding("utf8").on("data", (text) => (state.errors = (state.errors + text).slice(-100_000)));
  const ended = new Promise((resolve) => {
    child.on("error", (error) => resolve({ code: error.message }));
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  ended.then((exit) => (state.exit ??= exit));
  const started = Date.now();
  const until = () => (seen.length > 0 ? seen[0].at + waitMs : started + PATIENCE_MS);
  while (state.exit === undefined && Date.now() < until() && !isOver(state)) await delay(25);
  state.endedItself = state.exit !== undefined;
  const signal = (name) => {
    try {
      process.kill(-child.pid, name);
    } catch {
      // It has ended.
    }
  };
  if (!state.endedItself) {
    signal("SIGTERM");
    await Promise.race([ended, delay(GRACE_MS)]);
  }
  signal("SIGKILL");
  await ended;
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  return state;
}

export const COMMUNITY = "conformance";

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const send = (response, fields, { status = 200, headers = {} } = {}) =>
  response
    .writeHead(status, { "Content-Type": "application/json; charset=utf-8", "Access-Control-Allow-Origin": "*", ...headers })
    .end(typeof fields === "string" || Buffer.isBuffer(fields) ? fields : JSON.stringify(fields));

/** What a beacon answers that lists these tickets, which are texts. */
function listing(tickets, { time = () => Date.now(), since } = {}) {
  return ({ path, json }, response) => {
    const serverTime = time();
    if (path === "/healthz") return send(response, { ok: true, version: "0.0.0", serverTime });
    if (path === "/leave") return send(response, { ok: true, left: true, serverTime });
    if (path !== "/announce" && path !== "/peers") return send(response, { ok: false, code: "NOT_FOUND", serverTime }, { status: 404 });
    const own =
      path === "/announce" ? { accepted: true, listed: true, expiresAt: json?.ticket?.payload?.expiresAt, announceAfterMs: 60_000 } : {};
    const head = JSON.stringify({
      ok: true,
      ...own,
      community: COMMUNITY,
      serverTime,
      total: tickets.length + 1,
      since: since ?? tickets.map(() => serverTime),
    });
    send(response, `${head.slice(0, -1)},"peers":[${tickets.join()}]}`);
  };
}

const announces = ({ seen }) => seen.filter(({ path, method }) => path === "/announce" && method === "POST");
const isHealthy = ({ output, errors, exit, endedItself }) => {
  assert.doesNotMatch(output + errors, CRASH, "the client crashed");
  assert.ok(!endedItself || !["SIGSEGV", "SIGABRT", "SIGILL", "SIGBUS"].includes(exit.signal), `the client ended by ${exit.signal}`);
};

/**
 * The cases of one client program.
 *
 * @param {string} command
 * @param {{ waitMs?: number }} [options] How long the client has to show what it believes.
 * @returns {import("./suite.mjs").Case[]}
 */
export function clientCases(command, { waitMs = 10_000 } = {}) {
  const cases = [];
  const add = (id, title, run, attack, spec = "14") => cases.push({ id: `client.${id}`, spec, title, level: "basic", attack, run });
  const watch = (options) => observe({ command, waitMs, ...options });

  let observation;
  /** One run in which the client is told of all good and bad tickets at once. */
  const told = () => (observation ??= tell());
  const names = new Map();
  async function tell() {
    const now = Date.now();
    const one = (id, change) => {
      const peer = newPeer();
      names.set(id, peer.peerId);
      const make = (fields = {}) => envelopeOf(peer, payloadOf(peer, { community: COMMUNITY, issuedAt: now - 1_000, ...fields }));
      return change(make, peer);
    };
    const bad = Object.entries(BAD).map(([id, [, change]]) => one(id, (make, peer) => JSON.stringify(change(make, peer, now))));
    const texts = Object.entries(BAD_TEXTS).map(([id, [, change]]) => one(id, (make) => change(JSON.stringify(make()))));
    const good = Object.entries(GOOD).map(([id, [, fields]]) => one(id, (make) => JSON.stringify(make(fields))));
    // Good ones last: what is bad costs only itself.
    const tickets = [...bad, "null", "7", "[]", ...texts, ...good];
    const isOver = ({ output }) => Object.keys(GOOD).every((id) => output.includes(names.get(id)));
    return watch({ respond: listing(tickets), isOver });
  }

  for (const [id, [what]] of Object.entries(GOOD)) {
    add(`shows.${id}`, `shows a peer with a ticket ${what}, whatever else is in the list`, async () => {
      const { output, errors, seen } = await told();
      assert.ok(seen.length > 0, `the client has asked nothing: ${errors.slice(0, 300)}`);
      assert.ok(output.includes(names.get(id)), `its name is not in what the client prints: ${output.slice(-300)}${errors.slice(-300)}`);
    });
  }
  for (const [id, [what]] of Object.entries({ ...BAD, ...BAD_TEXTS })) {
    const attack = /^(small|r-of)/.test(id)
      ? "weak-keys"
      : /^s-plus/.test(id)
        ? "malleability"
        : /^(expired|other|goodbye)/.test(id)
          ? "replay"
          : /^(future|too-long)/.test(id)
            ? "future"
            : id in BAD_TEXTS || /field|null|short|control|long-data|unpadded/.test(id)
              ? "confusion"
              : "forgery";
    add(
      `believes-no.${id}`,
      `does not believe a ticket ${what}`,
      async () => {
        const { output } = await told();
        assert.ok(output.includes(names.get("plain")), "the client shows nobody, so that nothing can be said");
        assert.ok(!output.includes(names.get(id)), "its name is in what the client prints");
      },
      attack,
      "3",
    );
  }

  /** Holds for the first announce of the client. */
  const announced = (id, title, check) =>
    add(
      `announces.${id}`,
      title,
      async () => {
        const [first] = announces(await told());
        if (!first) throw new Skip("the client announces nothing");
        check(first, first.json?.ticket);
      },
      undefined,
      "11",
    );
  announced("body", "announces with one JSON object of a ticket, of at most 4,096 bytes", ({ json, body }) => {
    assert.ok(json && typeof json === "object" && json.ticket, "no ticket");
    assert.ok(
      Object.keys(json).every((key) => key === "ticket" || key === "community"),
      Object.keys(json).join(),
    );
    assert.ok(body.length <= 4_096);
  });
  announced("signature", "signs its ticket over the canonical payload", (_, { payload, publicKey, signature }) =>
    assert.ok(isSigned(canonical(payload), publicKey, signature)),
  );
  announced("community", "signs the community", (_, { payload }) => assert.equal(payload.community, COMMUNITY));
  announced("lifetime", "signs a life of at most 180,000 ms", (_, { payload }) =>
    assert.ok(payload.expiresAt > payload.issuedAt && payload.expiresAt - payload.issuedAt <= LIFETIME_MS),
  );
  announced("dates", "dates its ticket by the beacon's clock", ({ at }, { payload }) =>
    assert.ok(Math.abs(payload.issuedAt - at) < SKEW_MS, `${payload.issuedAt - at} ms from the beacon's clock`),
  );
  announced("nonce", "makes a nonce of 12 to 32 bytes", (_, { payload }) => {
    const { length } = Buffer.from(payload.nonce, "base64");
    assert.ok(length >= 12 && length <= 32);
  });

  const survives = (id, title, respond, { check = () => {}, attack = "exhaustion" } = {}) =>
    add(
      `survives.${id}`,
      title,
      async () => {
        const state = await watch({ respond, isOver: ({ seen }) => seen.length > 0 && Date.now() - seen[0].at > 2_500 });
        assert.ok(state.seen.length > 0, `the client has asked nothing: ${state.errors.slice(0, 300)}`);
        isHealthy(state);
        await check(state);
      },
      attack,
    );
  const always = (text, options) => (_, response) => send(response, text, options);
  survives("no-json", "survives an answer that is not JSON", always("hello"));
  survives(
    "page",
    "survives a page for every path",
    always("<!doctype html><title>Welcome</title>", { headers: { "Content-Type": "text/html" } }),
  );
  survives("empty", "survives an empty answer", always(""));
  survives("array", "survives an array for an answer", always("[]"));
  survives("deep", "survives JSON that is nested without end", always(`{"ok":true,"peers":${"[".repeat(200_000)}`));
  survives("not-utf-8", "survives an answer that is not UTF-8", (_, response) =>
    send(response, Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])),
  );
  survives(
    "wrong-types",
    "takes what has the wrong type for absent",
    always({
      ok: true,
      accepted: 1,
      listed: "yes",
      expiresAt: "soon",
      announceAfterMs: -5,
      serverTime: "now",
      total: {},
      since: null,
      peers: { length: 3 },
    }),
  );
  survives("server-error", "survives a beacon that fails", always({ ok: false, code: "INTERNAL" }, { status: 500 }));
  survives(
    "refused",
    "survives codes that it does not know",
    always({ ok: false, code: "SOMETHING_NEW", serverTime: Date.now() }, { status: 400 }),
  );
  survives("hangs-up", "survives a connection that ends before the answer", (_, response) => response.destroy());
  survives("half", "survives half an answer", (_, response) => {
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": "1000" });
    response.write('{"ok":true,"peers":[', () => response.destroy());
  });
  survives(
    "wait-for-ever",
    "is not sent away for good by a number",
    always({ ok: false, code: "THROTTLED", retryAfterMs: Number.MAX_SAFE_INTEGER, serverTime: Date.now() }, { status: 429 }),
  );

  add(
    "bounds.endless",
    "reads no answer without end: 524,288 bytes at most",
    async () => {
      let most = 0;
      const chunk = `{"ok":true,"peers":[${'{"version":1},'.repeat(2_000)}`;
      const state = await watch({
        respond(_, response) {
          response.writeHead(200, { "Content-Type": "application/json" });
          let written = 0;
          const pour = () => {
            while (!response.destroyed && written < ENDLESS_BYTES) {
              written += chunk.length;
              most = Math.max(most, written);
              if (!response.write(chunk)) return void response.once("drain", pour);
            }
            response.end();
          };
          pour();
        },
        isOver: ({ seen }) => seen.length > 0 && Date.now() - seen[0].at > 3_000,
      });
      assert.ok(state.seen.length > 0, "the client has asked nothing");
      isHealthy(state);
      assert.ok(most <= ANSWER_MAX_BYTES + BUFFERED_BYTES, `it took ${most} bytes of an answer`);
    },
    "exhaustion",
  );
  add(
    "bounds.tickets",
    "reads 200 tickets of a list at most",
    async () => {
      const peers = Array.from({ length: TICKETS_MAX + 60 }, () => newPeer());
      const now = Date.now();
      const tickets = peers.map((peer) => JSON.stringify(envelopeOf(peer, payloadOf(peer, { community: COMMUNITY, issuedAt: now }))));
      const { output } = await watch({ respond: listing(tickets), isOver: ({ output }) => output.includes(peers[TICKETS_MAX - 1].peerId) });
      await delay(100);
      const shown = peers.filter(({ peerId }) => output.includes(peerId)).length;
      assert.ok(shown > 0, "the client shows nobody");
      assert.ok(shown <= TICKETS_MAX, `${shown} are shown`);
    },
    "exhaustion",
  );
  add(
    "redirects",
    "follows no redirect",
    async () => {
      let followed = 0;
      const trap = createServer((_, response) => {
        followed += 1;
        send(response, { ok: true });
      });
      await new Promise((resolve) => trap.listen(0, "127.0.0.1", resolve));
      const Location = `http://127.0.0.1:${trap.address().port}/peers`;
      const state = await watch({
        respond: always("", { status: 302, headers: { Location } }),
        isOver: ({ seen }) => seen.length > 0 && Date.now() - seen[0].at > 1_500,
      });
      trap.closeAllConnections();
      await new Promise((resolve) => trap.close(resolve));
      assert.ok(state.seen.length > 0, "the client has asked nothing");
      assert.equal(followed, 0, `${followed} redirects were followed`);
    },
    "replay",
  );
  for (const [id, title, ahead] of [
    ["hour-ahead", "an hour ahead", 3_600_000],
    ["year-ahead", "a year ahead", 31_536_000_000],
  ]) {
    add(
      `clock.${id}`,
      `dates no ticket later than its own clock and 15 s for one beacon whose clock is ${title}`,
      async () => {
        const state = await watch({
          respond: listing([], { time: () => Date.now() + ahead }),
          isOver: (state) => announces(state).length >= 2 || (announces(state).length > 0 && Date.now() - state.seen[0].at > 2_500),
        });
        const all = announces(state);
        if (all.length === 0) throw new Skip("the client announces nothing");
        for (const { at, json } of all) {
          const { issuedAt } = json.ticket.payload;
          assert.ok(issuedAt <= at + SKEW_MS + 1_000, `a ticket is dated ${issuedAt - at} ms ahead`);
        }
      },
      "future",
      "11",
    );
  }
  add(
    "repeats",
    "sends the very same ticket again where no answer came",
    async () => {
      const state = await observe({
        command,
        waitMs: Math.max(waitMs, 8_000),
        respond: ({ path }, response) => (path === "/announce" ? response.destroy() : listing([])({ path }, response)),
        isOver: (state) => announces(state).length >= 2,
      });
      const [first, second] = announces(state);
      if (!second) throw new Skip("the client announces once, or not again in this time");
      assert.deepEqual(second.json.ticket, first.json.ticket);
    },
    undefined,
    "11",
  );
  return cases;
}
