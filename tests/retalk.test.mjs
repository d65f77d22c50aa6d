// The door for retalk's users: its own programs, of both dialects and mixed, as their users run them, and requests that no
// program makes. Rules are tested in virtual time, in protocol/tests/retalk/.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { VERSIONS, ensureRetalk } from "../tools/retalk.mjs";
import { HOSTS, NATIVE, WORKER } from "./hosts.mjs";
import { ADDRESS_HEADER, call, eventually, raw } from "./http.mjs";
import { freePort } from "./ports.mjs";
import { Program, User, pythonJson } from "./retalk.mjs";

const MANY = { NETWORK_REQUESTS_PER_MINUTE: "100000", ADDRESS_REQUESTS_PER_MINUTE: "100000" };

let sites = 0;
/** An address of a site that no other test knows. */
const newSite = () => `198.${18 + (sites >> 8)}.${(sites += 1) & 255}.1`;

/** Everything that is in storage, as bytes. */
async function stored(state) {
  const entries = await readdir(state, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return Buffer.concat(await Promise.all(files.map((file) => readFile(file))));
}

for (const host of HOSTS) {
  describe(`${host.name}, retalk's own programs`, () => {
    /** @type {Record<string, string>} */
    const pythons = {};
    let directory;
    let beacon;
    let url;
    before(async () => {
      for (const version of VERSIONS) pythons[version] = await ensureRetalk(version);
    });
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), "retalk-test-"));
      url = `http://127.0.0.1:${await freePort()}`;
      await start();
    });
    afterEach(async () => {
      await beacon?.stop();
      await rm(directory, { recursive: true, force: true });
    });

    async function start() {
      const vars = { DOORS: "v1,retalk", EXTERNAL_URLS: url, ...MANY };
      beacon = await host.start({ vars, port: Number(new URL(url).port), state: join(directory, "state") });
    }

    /** Two users who know each other, of these versions. */
    async function pair(...versions) {
      const [alice, bob] = ["alice", "bob"].map((name, at) => {
        const version = versions[at];
        return new Program({ version, python: pythons[version], directory, url, name });
      });
      await Promise.all([alice.init(), bob.init()]);
      await alice.add(bob);
      await bob.add(alice);
      return [alice, bob];
    }

    for (const versions of VERSIONS.flatMap((one) => VERSIONS.map((other) => [one, other]))) {
      test(`${versions.join(" and ")} write to each other`, async () => {
        const [alice, bob] = await pair(...versions);
        assert.match(alice.id, /^[0-9a-f]{32}$/);
        assert.deepEqual(await bob.receive(), [], "it has published its keys");
        await alice.send(bob, "hello bob");
        assert.equal(await alice.waiting(), 1);
        const bytes = await stored(join(directory, "state"));
        assert.ok(bytes.includes(bob.id) && !bytes.includes("hello bob"), "ciphertext alone");
        assert.deepEqual(await bob.receive(), ["alice: hello bob"]);
        assert.deepEqual(await bob.receive(), [], "what was handed over is gone");
        await bob.send(alice, "hi alice, got it");
        assert.deepEqual(await alice.receive(), ["bob: hi alice, got it"]);
        assert.equal(await alice.waiting(), 0, "an acknowledgement came with it");
        assert.deepEqual(await bob.receive(), []);
        assert.equal(await bob.waiting(), 0);
      });
    }

    for (const version of VERSIONS) {
      test(`${version}: of more messages than may wait none is lost, and all come in order`, async () => {
        const [alice, bob] = await pair(version, version);
        await bob.receive();
        const texts = Array.from({ length: 36 }, (_, number) => `m${number}`);
        await alice.evaluate(["user.publish()", `for number in range(36): user.send("${bob.id}", f"m{number}")`]);
        const show = version === "0.0.1" ? "[text for _, _, text in user.receive()]" : '[message["text"] for message in user.receive()]';
        const receive = () => bob.evaluate([`print(json.dumps(${show}))`]);
        assert.deepEqual(await receive(), texts.slice(0, 32));
        await alice.evaluate(["user.receive()", "user.flush_outbox()"]);
        assert.deepEqual(await receive(), texts.slice(32));
        await alice.evaluate(["user.receive()"]);
        assert.equal(await alice.waiting(), 0);
      });

      test(`${version}: when all one-time keys are claimed, sessions begin with the fallback`, async () => {
        const [alice, bob] = await pair(version, version);
        await bob.receive();
        let fallbacks = 0;
        for (let site = 0; site < 11; site += 1) {
          const from = newSite();
          for (let one = 0; one < 10; one += 1) {
            const { json } = await new User(url, { from }).ask("claim_key", { peer: bob.id });
            assert.ok(json.one_time_key, JSON.stringify(json));
            fallbacks += json.fallback ? 1 : 0;
          }
        }
        assert.equal(fallbacks, 10, "it had published 100");
        await alice.send(bob, "by the fallback");
        assert.deepEqual(await bob.receive(), ["alice: by the fallback"]);
        await bob.send(alice, "and back");
        assert.deepEqual(await alice.receive(), ["bob: and back"]);
      });
    }

    test("two programs that write from one store at one time lose nothing", async () => {
      const [alice, bob] = await pair("0.3.0", "0.0.1");
      await bob.receive();
      const texts = Array.from({ length: 4 }, (_, number) => `at one time ${number}`);
      await Promise.all(texts.map((text) => alice.send(bob, text)));
      assert.deepEqual((await bob.receive()).sort(), texts.map((text) => `alice: ${text}`));
    });

    test("a relay that was killed goes on where it was", async () => {
      const [alice, bob] = await pair("0.0.1", "0.3.0");
      await bob.receive();
      await alice.send(bob, "before");
      await beacon.kill();
      await start();
      await alice.send(bob, "after");
      assert.deepEqual(await bob.receive(), ["alice: before", "alice: after"]);
    });
  });

  describe(`${host.name}, requests that no program makes`, () => {
    const RELAY = "https://relay.example";
    let beacon;
    let url;
    before(async () => {
      beacon = await host.start({ vars: { DOORS: "v1,retalk", EXTERNAL_URLS: RELAY, RETALK_AUDIENCES: "HTTPS://Relay.example", ...MANY } });
      url = beacon.url;
    });
    after(() => beacon.stop());

    const newUser = (options = {}) => new User(url, { audience: RELAY, from: newSite(), ...options });
    async function published(count = 3, options = {}) {
      const user = newUser(options);
      const { status, json } = await user.publish(count);
      assert.deepEqual([status, json], [200, { ok: true, fingerprint: user.id, user_id: user.id, one_time_keys_added: count, fallback_key_set: true }]);
      return user;
    }

    for (const dialect of ["0.0.1", "0.3.0"]) {
      test(`every tool, in the dialect of ${dialect}`, async () => {
        const bob = newUser({ dialect });
        assert.deepEqual((await bob.ask("count_keys")).json, { unclaimed: 0, has_fallback: false });
        await bob.publish(2);
        const alice = newUser({ dialect });
        const keys = { identity_key: bob.identityKey, signing_key: bob.signingKey };
        assert.deepEqual((await alice.ask("get_keys", { peer: bob.id })).json, keys);
        const { json: claimed } = await alice.ask("claim_key", { peer: bob.id });
        assert.deepEqual({ ...claimed, one_time_key: "" }, { ...keys, key_id: "key0", one_time_key: "", fallback: false });
        assert.deepEqual((await bob.ask("count_keys")).json, { unclaimed: 1, has_fallback: true });
        const { json: sent } = await alice.send(bob, "hello");
        assert.ok(Number.isInteger(sent.message_id) && Math.abs(sent.ts - Date.now() / 1_000) < 60);
        assert.deepEqual((await alice.send(bob, "hello")).json, { ...sent, duplicate: true });
        assert.deepEqual(await bob.read({ peek: true }), [[alice.id, "hello"]]);
        const { json: read } = await bob.ask("read_messages", { peer: alice.id });
        assert.deepEqual(read, [{ ...sent, from: alice.id, mtype: 1, body: "aGVsbG8=" }]);
        assert.deepEqual(await bob.read(), []);
        assert.deepEqual((await bob.refuse("hello")).json, { ok: true });
        const { json: refused } = await alice.send(bob, "hello");
        assert.equal(refused.refused, true);
        assert.equal(refused.sig, bob.sign(`nack|${bob.id}|${refused.hash}`));
        for (const tool of ["get_keys", "claim_key"]) {
          const { status, json } = await alice.ask(tool, { peer: "é\u{7f}𝄞" });
          assert.deepEqual([status, json.code], [404, "MAILBOX_UNKNOWN"]);
          assert.match(json.error, /^unknown peer or no published keys: /);
        }
      });
    }

    test("a request is good once, here, and now", async () => {
      const [alice, bob] = [newUser(), await published()];
      const refused = ({ status, json }, expected, word) => {
        assert.deepEqual([status, json.code], expected);
        assert.ok(json.error.includes(word), json.error);
      };
      for (const [user, tool, args] of [
        [alice, "send_message", { to: bob.id, mtype: 0, body: "aGk=" }],
        [alice, "claim_key", { peer: bob.id }],
        [alice, "get_keys", { peer: bob.id }],
        [bob, "read_messages", {}],
        [bob, "read_messages", {}],
        [bob, "count_keys", {}],
      ]) {
        const request = user.request(tool, args);
        assert.equal((await user.post(request)).status, 200);
        refused(await user.post(request, { from: newSite() }), [409, "REPLAYED"], "replay");
      }
      const seconds = Math.floor(Date.now() / 1_000);
      refused(await bob.ask("read_messages", {}, { seconds: seconds - 3_600 }), [400, "EXPIRED"], "stale timestamp: it is 360");
      refused(await bob.ask("read_messages", {}, { seconds: seconds + 3_600 }), [400, "NOT_YET_VALID"], "stale");
      refused(await bob.ask("read_messages", {}, { audience: "https://other.example" }), [403, "SIGNATURE_INVALID"], "signature");
      for (const audience of [`${RELAY}/`, "HTTPS://Relay.example"]) assert.equal((await bob.ask("count_keys", {}, { audience })).status, 200);
      const path = "/some/path?x=y";
      assert.equal((await bob.ask("count_keys", {}, { audience: RELAY + path, path })).status, 200);
      refused(await bob.ask("count_keys", {}, { audience: `${RELAY}/some`, path }), [403, "SIGNATURE_INVALID"], "signature");
      const stolen = alice.request("read_messages");
      Object.assign(stolen.args.auth, { fingerprint: bob.id });
      refused(await alice.post(stolen), [403, "NOT_THE_OWNER"], "id in auth");
    });

    test("a message that is well signed is never answered with an error, for room or for haste", async () => {
      const bob = await published();
      const alice = newUser();
      for (let number = 0; number < 32; number += 1) assert.ok((await alice.send(bob, `m${number}`)).json.message_id > 0);
      const notStored = async (sent, code) => {
        const { status, json } = await sent;
        assert.deepEqual([status, { ...json, ts: 0 }], [200, { message_id: 0, ts: 0, stored: false, code }]);
      };
      await notStored(alice.send(bob, "one more"), "UNACKNOWLEDGED_LIMIT");
      await notStored(alice.send(newUser(), "to nobody"), "MAILBOX_UNKNOWN");
      await notStored(alice.send({ id: "not an id" }, "to nobody"), "MAILBOX_UNKNOWN");
      assert.equal((await bob.read()).length, 32);
      assert.ok((await alice.send(bob, "one more")).json.message_id > 0);
    });

    test("whoever asks too often is told so, unless it is with a message", async (context) => {
      const beacon = await host.start({
        vars: { DOORS: "retalk", EXTERNAL_URLS: RELAY, NETWORK_REQUESTS_PER_MINUTE: "4", ADDRESS_REQUESTS_PER_MINUTE: "4" },
      });
      context.after(() => beacon.stop());
      const here = (options) => new User(beacon.url, { audience: RELAY, ...options });
      const [bob, alice] = [here({ from: newSite() }), here({ from: newSite() })];
      assert.equal((await bob.publish(1)).status, 200);
      const statuses = [];
      for (let request = 0; request < 5; request += 1) statuses.push((await alice.ask("get_keys", { peer: bob.id })).status);
      assert.deepEqual(statuses, [200, 200, 200, 200, 429]);
      const { status, json } = await alice.send(bob, "in haste");
      assert.deepEqual([status, json.stored, json.code], [200, false, "THROTTLED"]);
      const forged = alice.request("send_message", { to: bob.id, mtype: 1, body: "aGk=" }, { audience: "https://other.example" });
      // That it is, nobody looks at.
      const unread = await alice.post(forged);
      assert.deepEqual([unread.status, unread.json.stored, unread.json.code], [200, false, "THROTTLED"]);
      const refused = await alice.ask("count_keys");
      assert.deepEqual([refused.status, refused.json.code], [429, "THROTTLED"]);
      assert.ok(Number(refused.headers.get("Retry-After")) > 0);
      assert.deepEqual(await bob.read(), []);
    });

    test("users of one household who read in the same moment are all answered", async () => {
      const from = newSite();
      const alice = newUser();
      const household = [];
      for (let number = 0; number < 8; number += 1) {
        const bob = new User(url, { audience: RELAY, from });
        assert.equal((await bob.publish(1)).status, 200);
        assert.ok((await alice.send(bob, `for ${number}`)).json.message_id > 0);
        household.push(bob);
      }
      const read = await Promise.all(household.map((bob) => bob.read()));
      assert.deepEqual(read, household.map((_, number) => [[alice.id, `for ${number}`]]));
    });

    // Cloudflare keeps answers itself, and lets nobody count them: what is lost on the way comes again from its sender's outbox.
    if (host.keepsAnswers) test("nothing is deleted for a network that does not read its answers, and all of it is there later", async (context) => {
      const bob = await published();
      // As much as strangers may leave: an answer of 3.1 MB.
      for (let sender = 0; sender < 6; sender += 1) {
        const alice = newUser();
        for (let number = 0; number < 8; number += 1) {
          const { json } = await alice.send(bob, `${number}${"x".repeat(49_000)}`);
          assert.ok(json.message_id > 0, JSON.stringify(json));
        }
      }
      const { hostname, port, host: named } = new URL(url);
      const sockets = [];
      context.after(() => sockets.forEach((socket) => socket.destroy()));
      /** Of each connection the system takes some MB, whatever its client reads. So it asks for more than that. */
      const askAndReadNothing = () => {
        const socket = connect(Number(port), hostname).on("error", () => {});
        sockets.push(socket);
        for (let request = 0; request < 6; request += 1) {
          const body = JSON.stringify(bob.request("read_messages", { peek: true }));
          socket.write(`POST / HTTP/1.1\r\nHost: ${named}\r\n${ADDRESS_HEADER}: ${bob.from}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        }
      };
      let refusals = 0;
      const isFull = async () => {
        for (let turn = 0; turn < 20 && refusals < 5; turn += 1) {
          const { status } = await bob.ask("read_messages", { peek: true });
          assert.ok([200, 429].includes(status), String(status));
          refusals = status === 429 ? refusals + 1 : 0;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        return refusals === 5;
      };
      do {
        assert.ok(sockets.length < 8, "there is room for everything");
        askAndReadNothing();
      } while (!(await isFull()));
      const refused = await bob.ask("read_messages");
      assert.deepEqual([refused.status, refused.json.code, refused.headers.get("Retry-After")], [429, "THROTTLED", "10"]);
      assert.equal((await bob.ask("count_keys")).status, 200, "what is short is answered");
      sockets.forEach((socket) => socket.destroy());
      let read;
      await eventually(async () => (read = await bob.ask("read_messages")).status, (status) => status === 200);
      assert.equal(read.json.length, 48);
      assert.deepEqual(await bob.read(), []);
    });

    test("a network opens ten mailboxes in a day", async () => {
      const from = newSite();
      for (let count = 0; count < 10; count += 1) await published(1, { from });
      const { status, json } = await newUser({ from }).publish(1);
      assert.deepEqual([status, json.code], [429, "THROTTLED"]);
      assert.match(json.error, /too many mailboxes were opened from this network today/);
    });

    test("errors have retalk's shape, and other routes are as before", async () => {
      const [bob, user] = [await published(), newUser()];
      const error = async (reply, status, code) => {
        const { status: found, json, headers } = await reply;
        assert.deepEqual([found, json.code, typeof json.error], [status, code, "string"]);
        assert.match(headers.get("Content-Type"), /^application\/json/);
      };
      const post = (body, options = {}) => call(url, "/", { method: "POST", body, address: newSite(), ...options });
      await error(post("not json"), 400, "MALFORMED");
      await error(post("{}"), 400, "MALFORMED");
      await error(post("x".repeat(262_145)), 413, "BODY_TOO_LARGE");
      await error(user.ask("drop_tables"), 400, "MALFORMED");
      await error(user.ask("send_message", { to: bob.id, mtype: 2, body: "aGk=" }), 400, "MALFORMED");
      await error(user.ask("read_messages", { peek: 1 }), 400, "MALFORMED");
      await error(user.ask("nack", { hash: "ab".repeat(32), sig: user.sign("something else") }), 403, "SIGNATURE_INVALID");
      // By a connection of its own: to 421 fetch() asks again by a new one, and fails where the body was sent already.
      const ofPage = JSON.stringify(user.request("count_keys"));
      const head = `POST / HTTP/1.1\r\nHost: ${new URL(url).host}\r\nOrigin: https://page.example\r\nConnection: close\r\nContent-Length: ${ofPage.length}`;
      assert.match(await raw(url, `${head}\r\n\r\n${ofPage}`), /^HTTP\/1\.1 421 .*\r\n\r\n.*"error":"[^"]+","code":"MISDIRECTED_REQUEST"/s);
      await error(call(url, "/admin", { method: "POST", body: "x" }), 404, "NOT_FOUND");
      assert.deepEqual((await call(url, "/info")).json, { max_group_size: 100 });
      assert.deepEqual((await call(url, "/some/path/info")).json, { max_group_size: 100 });
      assert.equal((await call(url, "/nothing/here")).json.code, "NOT_FOUND");
      assert.match((await call(url, "/", { headers: { Accept: "text/html" } })).headers.get("Content-Type"), /^text\/html/);
      assert.equal((await call(url, "/peers", { method: "POST", body: "x" })).status, 405);
      assert.deepEqual((await call(url, "/v1/relay")).json.doors, ["v1", "retalk"]);
    });

    test("over kills nothing is lost that was said to wait, nothing comes twice, and no request is good again", async (context) => {
      const state = await mkdtemp(join(tmpdir(), "retalk-test-"));
      context.after(() => rm(state, { recursive: true }));
      const start = () => host.start({ vars: { DOORS: "retalk", EXTERNAL_URLS: RELAY, ...MANY }, state });
      let beacon = await start();
      context.after(() => beacon.stop());
      const [bob, ...senders] = Array.from({ length: 9 }, () => newUser());
      const all = [bob, ...senders];
      const move = () => all.forEach((user) => Object.assign(user, { url: beacon.url }));
      move();
      await bob.publish(1);
      for (let round = 0; round < 6; round += 1) {
        const [waits, unknown] = [new Set(), new Set()];
        let answers = 0;
        const killAfter = 1 + Math.floor(Math.random() * 40);
        const { promise: enough, resolve } = Promise.withResolvers();
        const sending = senders.map(async (sender, at) => {
          for (let number = 0; number < 8; number += 1) {
            const text = `${round} ${at} ${number}`;
            try {
              const { json } = await sender.send(bob, text);
              if (json.message_id > 0) waits.add(text);
            } catch {
              // It may have come in, or not: nobody was told.
              unknown.add(text);
            }
            if ((answers += 1) === killAfter) resolve();
          }
        });
        await enough;
        await beacon.kill();
        await Promise.all(sending);
        beacon = await start();
        move();
        const request = bob.request("read_messages");
        const { json } = await bob.post(request);
        const texts = json.map(({ body }) => Buffer.from(body, "base64").toString());
        assert.equal(new Set(texts).size, texts.length, "each once");
        assert.ok([...waits].every((text) => texts.includes(text)), "what was said to wait is there");
        assert.ok(texts.every((text) => waits.has(text) || unknown.has(text)), "and nothing of before");
        await beacon.kill();
        beacon = await start();
        move();
        assert.equal((await bob.post(request)).status, 409);
        assert.deepEqual(await bob.read(), []);
      }
    });

    test("nor is a read that found nothing, once that it was there is in storage", async (context) => {
      const state = await mkdtemp(join(tmpdir(), "retalk-test-"));
      context.after(() => rm(state, { recursive: true }));
      const start = () => host.start({ vars: { DOORS: "retalk", EXTERNAL_URLS: RELAY, ...MANY }, state });
      let beacon = await start();
      context.after(() => beacon.stop());
      const bob = new User(beacon.url, { audience: RELAY, from: newSite() });
      await bob.publish(1);
      // Signed by a clock that is ahead, it is good for longer than this takes.
      const request = bob.request("read_messages", {}, { seconds: Math.floor(Date.now() / 1_000) + 100 });
      assert.deepEqual((await bob.post(request)).json, []);
      const nonce = createHash("sha256").update(request.args.auth.nonce).digest().subarray(0, 16).toString("base64");
      await eventually(async () => (await stored(state)).includes(nonce), (isStored) => isStored);
      await beacon.kill();
      beacon = await start();
      Object.assign(bob, { url: beacon.url });
      assert.equal((await bob.post(request)).status, 409);
    });

    test("nobody's address is in storage", async (context) => {
      const state = await mkdtemp(join(tmpdir(), "retalk-test-"));
      context.after(() => rm(state, { recursive: true }));
      const beacon = await host.start({ vars: { DOORS: "retalk", EXTERNAL_URLS: RELAY, ...MANY }, state });
      const [alice, bob] = ["203.0.113.77", "203.0.113.78"].map((from) => new User(beacon.url, { audience: RELAY, from }));
      await bob.publish(1);
      await alice.ask("claim_key", { peer: bob.id });
      await alice.send(bob, "hello");
      await beacon.stop();
      const bytes = await stored(state);
      assert.ok(bytes.includes(alice.id) && bytes.includes("aGVsbG8=") && !bytes.includes("203.0.113"));
    });
  });
}

test("a door without an address is refused by the name of what is missing", async () => {
  const cases = [
    [{ DOORS: "v1,retalk" }, /EXTERNAL_URLS/],
    [{ DOORS: "retalk", EXTERNAL_URLS: "https://relay.example", RETALK_AUDIENCES: "https://other.example" }, /RETALK_AUDIENCES/],
    [{ RETALK_AUDIENCES: "https://relay.example" }, /RETALK_AUDIENCES/],
  ];
  for (const [vars, named] of cases) {
    await assert.rejects(NATIVE.start({ vars }), named);
    const log = [];
    const worker = await WORKER.start({ vars, log: (line) => log.push(line) });
    try {
      assert.equal((await call(worker.url, "/peers")).json.code, "INTERNAL");
      assert.ok(log.some((line) => named.test(line)), log.join("\n"));
    } finally {
      await worker.stop();
    }
  }
});

test("JSON is written as Python writes it", () => {
  assert.equal(pythonJson({ b: "é\u{7f}𝄞\n\"/", a: null, A: 1 }), '{"A":1,"a":null,"b":"\\u00e9\\u007f\\ud834\\udd1e\\n\\"/"}');
});
