// `rendezvous mcp`, with the reference client of the Model Context Protocol at the other end of its standard input and output.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, before, beforeEach, describe, test } from "node:test";
import { ensureTestPackages } from "../tools/test-packages.mjs";
import { Correspondent, serveBetween } from "./correspondent.mjs";
import { NATIVE } from "./hosts.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { freePort } from "./ports.mjs";
import { finished, requireMessenger } from "./program.mjs";

const MANY = { NETWORK_REQUESTS_PER_MINUTE: "100000", ADDRESS_REQUESTS_PER_MINUTE: "100000" };

describe("an agent with the tools of rendezvous mcp", () => {
  let load;
  let directory;
  let beacon;
  /** Another address of the beacon's, at which answers are changed. */
  let between;
  let [alice, bob] = [];
  const agents = [];
  before(async () => {
    requireMessenger();
    const what = { folder: "mcp", version: "2.4.0", title: "A client of the Model Context Protocol", advice: "The test of `rendezvous mcp` needs it." };
    load = createRequire(join(await ensureTestPackages(what), "package.json"));
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "mcp-test-"));
    between = await serveBetween();
    await start();
    between.upstream = beacon.url;
    [alice, bob] = ["alice", "bob"].map((name) => new Correspondent({ directory, url: beacon.url, name }));
    await Promise.all([alice.init(), bob.init()]);
    await Promise.all([alice.add(bob), bob.add(alice)]);
  });
  afterEach(async () => {
    await Promise.all(agents.splice(0).map((agent) => agent.close()));
    await between.stop();
    await beacon.stop();
    await rm(directory, { recursive: true, force: true });
  });

  async function start() {
    const port = beacon === undefined ? await freePort() : Number(new URL(beacon.url).port);
    const vars = { DOORS: "v1,retalk", EXTERNAL_URLS: `http://127.0.0.1:${port}`, RETALK_AUDIENCES: between.url, ...MANY };
    beacon = await NATIVE.start({ vars, port, state: join(directory, "state") });
  }

  /** An agent that acts as this user. */
  async function agentOf({ program, env }) {
    const { Client } = load("@modelcontextprotocol/client");
    const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");
    const agent = new Client({ name: "test", version: "1" });
    await agent.connect(new StdioClientTransport({ command: program, args: ["mcp"], env, stderr: "ignore" }), { timeout: PATIENCE_MS });
    agents.push(agent);
    const call = async (name, args = {}) => {
      const { isError, structuredContent, content } = await agent.callTool({ name, arguments: args }, { timeout: PATIENCE_MS });
      return isError ? { error: content[0].text } : structuredContent;
    };
    return { agent, call };
  }

  test("sends, receives, and acknowledges what it has dealt with", async () => {
    const { agent, call } = await agentOf(bob);
    const { tools } = await agent.listTools();
    assert.deepEqual(tools.map(({ name }) => name), ["contacts", "send", "receive"]);
    const { contacts } = await call("contacts");
    assert.deepEqual(contacts.map(({ name, fingerprint }) => [name, fingerprint]), [["alice", alice.id]]);
    await alice.send(bob, "what time is it?");
    const { messages, problems } = await call("receive");
    const [{ id, receivedAt, ...message }] = messages;
    assert.deepEqual([message, problems], [{ from: alice.id, name: "alice", text: "what time is it?" }, []]);
    assert.ok(receivedAt > 0);
    const sent = await call("send", { to: "alice", text: "noon" });
    assert.deepEqual([sent.to, sent.state], [alice.id, "stored"]);
    assert.deepEqual(await alice.receive(), ["bob: noon"]);
    assert.equal(await alice.waiting(), 1, "nothing is acknowledged before the agent says so");
    const [again] = (await call("receive")).messages;
    assert.deepEqual([again.id, again.again], [id, true]);
    assert.deepEqual((await call("receive", { done: [id] })).messages, []);
    await alice.receive();
    assert.equal(await alice.waiting(), 0);
  });

  test("has what an agent before it was offered and had not dealt with, also where no relay answers", async () => {
    await alice.send(bob, "one");
    const first = await agentOf(bob);
    assert.equal((await first.call("receive")).messages.length, 1);
    await first.agent.close();
    await beacon.kill();
    const second = await agentOf(bob);
    const { messages, problems } = await second.call("receive");
    assert.deepEqual(messages.map(({ text, again }) => [text, again]), [["one", true]]);
    assert.match(problems.join(), /cannot be reached/);
    const { state, detail } = await second.call("send", { to: "alice", text: "later" });
    assert.deepEqual([state, /cannot be reached/.test(detail)], ["waiting", true], detail);
    await start();
    assert.deepEqual((await second.call("receive", { done: [messages[0].id] })).problems, []);
    assert.deepEqual(await alice.receive(), ["bob: later"]);
    assert.equal(await alice.waiting(), 0);
  });

  test("is told what is wrong with a call", async () => {
    const { agent, call } = await agentOf(bob);
    assert.match((await call("send", { to: "nobody", text: "hi" })).error, /nobody is known as nobody/);
    assert.match((await call("send", { to: "alice" })).error, /missing field `text`/);
    assert.match((await call("send", { to: "alice", text: "" })).error, /at least one character/);
    assert.match((await call("receive", { done: "all" })).error, /invalid type/);
    assert.match((await call("send", { to: "alice", text: "x".repeat(200_000) })).error, /of \d+ bytes is too long/);
    assert.match((await call("send", { to: "\u001b[2J\n", text: "hi" })).error, /nobody is known as \\u\{1b\}\[2J\\n:/);
    await assert.rejects(agent.callTool({ name: "delete", arguments: {} }), /no such tool/);
    assert.equal(await bob.waiting(), 0, "what was refused is not kept");
  });

  test("is told what could not be done", async () => {
    const { call } = await agentOf(bob);
    await bob.expect(0, ["block", "alice"]);
    await alice.send(bob, "hello?");
    const { messages, problems } = await call("receive");
    assert.deepEqual([messages, problems], [[], [`${alice.id}: a message was refused: its sender is blocked`]]);
  });

  test("gets long messages a few at a time, and each once it has dealt with those before", async () => {
    const { call } = await agentOf(bob);
    const texts = ["a", "b", "c"].map((letter) => letter.repeat(40_000));
    for (const text of texts) await alice.send(bob, text);
    const first = (await call("receive")).messages;
    assert.deepEqual(first.map(({ text }) => text), texts.slice(0, 2));
    const second = (await call("receive", { done: first.map(({ id }) => id) })).messages;
    assert.deepEqual(second.map(({ text, again }) => [text, again]), [[texts[2], undefined]]);
  });

  test("gets what is new first, although it never says what it has dealt with, and is told how much waits beside", async () => {
    const carol = new Correspondent({ directory, url: beacon.url, name: "carol" });
    await carol.init();
    await carol.add(bob);
    const { call } = await agentOf(bob);
    const send = async (who, texts) => {
      const sender = await agentOf(who);
      for (const text of texts) assert.equal((await sender.call("send", { to: "bob", text })).state, "stored");
    };
    const texts = Array.from({ length: 35 }, (_, number) => `m${number}`);
    const receive = async () => {
      const { messages, more } = await call("receive");
      const [fresh, again] = [false, true].map((is) => messages.filter(({ again = false }) => again === is).map(({ text }) => text));
      assert.deepEqual(messages.map(({ text }) => text), [...fresh, ...again]);
      return { fresh, again, more };
    };
    // No sender has more than 32 that are not acknowledged.
    await send(alice, texts.slice(0, 20));
    assert.deepEqual(await receive(), { fresh: texts.slice(0, 20), again: [], more: 0 });
    await send(carol, texts.slice(20));
    assert.deepEqual(await receive(), { fresh: texts.slice(20), again: texts.slice(0, 17), more: 3 });
    // Those that had no turn then are the next.
    const { fresh, again, more } = await receive();
    assert.deepEqual([fresh, again.slice(0, 3), again.length, more], [[], texts.slice(17, 20), 32, 3]);
  });

  test("deals with what it was offered, by no id that a sender chose", async () => {
    const { call } = await agentOf(bob);
    const { id: chosen } = JSON.parse((await alice.expect(0, ["send", "bob", "one", "--json"])).stdout);
    const none = await call("receive", { done: [chosen] });
    assert.deepEqual([none.messages.length, none.problems], [1, ["1 id is in `done` of no message that was offered and waits: nothing is taken for it"]]);
    const [{ id }] = none.messages;
    assert.notEqual(id, chosen);
    assert.deepEqual((await call("receive", { done: [chosen, `${id}0`, id.split("-")[0]] })).messages.map(({ text, again }) => [text, again]), [["one", true]]);
    assert.deepEqual(await call("receive", { done: [id] }), { messages: [], more: 0, problems: [] });
  });

  test("is answered while another program shows messages, and told what to do", async () => {
    await alice.send(bob, "one");
    await alice.send(bob, "two");
    const { call } = await agentOf(bob);
    const { messages } = await call("receive");
    const done = messages.map(({ id }) => id);
    const shows = createServer().listen(0, "127.0.0.1");
    await once(shows, "listening");
    const script = `require("node:net").connect(${shows.address().port}, "127.0.0.1").on("close", () => process.exit(1))`;
    const other = bob.start(["receive", "--exec", process.execPath, "-e", script]);
    const ended = finished(other);
    shows.on("connection", (socket) => socket.on("error", () => {}));
    const [shown] = await once(shows, "connection");
    const held = await call("receive", { done });
    assert.deepEqual([held.messages, held.more, held.problems.length], [[], 2, 1]);
    assert.match(held.problems[0], /another program, such as `rendezvous receive`, shows this identity's messages now: .* same `done`/);
    assert.equal((await call("contacts")).contacts.length, 1);
    assert.equal((await call("send", { to: "alice", text: "meanwhile" })).state, "stored");
    other.kill("SIGTERM");
    shown.destroy();
    assert.equal((await ended).code, 130);
    shows.close();
    assert.deepEqual(await call("receive", { done }), { messages: [], more: 0, problems: [] });
    await alice.receive();
    assert.equal(await alice.waiting(), 0);
  });

  test("is told of many problems how many it is not told of", async () => {
    const none = { from: "nobody", mtype: 0, body: "" };
    between.change = ({ tool }, answer) => (tool === "read_messages" ? [...answer, ...Array(1_000).fill(none)] : answer);
    const { call } = await agentOf({ ...bob, env: { ...bob.env, RENDEZVOUS_RELAY: between.url } });
    const { problems } = await call("receive");
    assert.deepEqual(problems, [...Array(32).fill("the relay handed over what is no message"), "968 more problems are left out"]);
  });

  /** The program, with lines of the protocol written by hand. */
  async function byHand(env = {}) {
    const child = bob.start(["mcp"], { stdin: "pipe", env });
    const ended = finished(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const say = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
    const ask = async (id, method, params) => {
      say({ id, method, params });
      return JSON.parse((await lines.next()).value);
    };
    const params = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } };
    assert.equal((await ask(0, "initialize", params)).result.serverInfo.name, "rendezvous");
    say({ method: "notifications/initialized" });
    return { child, ended, ask, say };
  }

  test("whatever others write, the standard output has lines of the protocol alone", async () => {
    const text = "\u001b[2J\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\r\u009b31m\u202e";
    await alice.send(bob, text);
    const { child, ended, ask } = await byHand();
    const { result } = await ask(1, "tools/call", { name: "receive", arguments: {} });
    assert.deepEqual(result.structuredContent.messages.map(({ text }) => text), [text]);
    assert.equal((await ask(2, "tools/call", { name: "send", arguments: { to: "alice", text } })).result.structuredContent.state, "stored");
    child.stdin.end();
    const { code, stdout, stderr } = await ended;
    assert.equal(code, 0, stderr);
    assert.deepEqual(stdout.trimEnd().split("\n").map((line) => JSON.parse(line).id), [0, 1, 2]);
    assert.equal(stderr, `using bob (${bob.id}) from ${bob.store}\n`);
    assert.equal(JSON.parse(await alice.receive("--json")).text, text);
  });

  test("what is called off is done all the same, and what was offered before a signal is not lost", async () => {
    await alice.send(bob, "one");
    const { child, ended, ask, say } = await byHand();
    say({ id: 1, method: "tools/call", params: { name: "send", arguments: { to: "alice", text: "called off" } } });
    say({ method: "notifications/cancelled", params: { requestId: 1 } });
    const [{ text }] = (await ask(2, "tools/call", { name: "receive", arguments: {} })).result.structuredContent.messages;
    assert.equal(text, "one");
    assert.deepEqual(await alice.receive(), ["bob: called off"]);
    child.kill("SIGTERM");
    assert.deepEqual([(await ended).code, (await ended).signal], [130, null]);
    const [line] = await bob.receive("--json");
    assert.deepEqual([JSON.parse(line).text, JSON.parse(line).again], ["one", true]);
  });

  test("a signal ends it after the call at hand, which is answered", async () => {
    for (const signal of ["SIGTERM", "SIGINT"]) {
      let [asked, answer] = [];
      const isAsked = new Promise((resolve) => (asked = resolve));
      const mayAnswer = new Promise((resolve) => (answer = resolve));
      between.before = async ({ tool }) => {
        if (tool !== "send_message") return;
        asked();
        await mayAnswer;
      };
      const { child, ended, ask } = await byHand({ RENDEZVOUS_RELAY: between.url });
      const sent = ask(1, "tools/call", { name: "send", arguments: { to: "alice", text: signal } });
      await Promise.race([isAsked, sent]);
      child.kill(signal);
      answer();
      assert.equal((await sent).result.structuredContent.state, "stored");
      const { code, stdout, stderr } = await ended;
      assert.deepEqual([code, stdout.trimEnd().split("\n").map((line) => JSON.parse(line).id)], [130, [0, 1]], stderr);
      assert.deepEqual(await alice.receive(), [`bob: ${signal}`]);
    }
    // Also where nobody has spoken yet.
    const child = bob.start(["mcp"], { stdin: "pipe" });
    const ended = finished(child);
    await once(child.stderr, "data");
    child.kill("SIGTERM");
    assert.equal((await ended).code, 130);
  });

  test("where nobody speaks the protocol, or nobody can be acted as, it says so and ends", async () => {
    // Whoever starts it by hand, and whoever begins with something else and keeps the standard input open.
    for (const say of [(input) => input.end("hello\n"), (input) => input.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')]) {
      const child = bob.start(["mcp"], { stdin: "pipe" });
      say(child.stdin.on("error", () => {}));
      const { code, stdout, stderr } = await finished(child);
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, /nobody speaks the Model Context Protocol on the standard input/);
    }
    for (const [env, expected] of [
      [{ RENDEZVOUS_STORE: join(directory, "nobody") }, /there is no identity/],
      [{ RENDEZVOUS_SECRET: "wrong" }, /not the passphrase/],
      [{ RENDEZVOUS_SECRET: "" }, /there is no passphrase, and no terminal to ask for it/],
      [{ RENDEZVOUS_RELAY: "relay.example" }, /a relay.s address begins with https:/],
    ]) {
      const refused = await bob.expect(2, ["mcp"], { env, input: "" });
      assert.equal(refused.stdout, "");
      assert.match(refused.stderr, expected);
    }
  });
});
