// `rendezvous mcp`, with the reference client of the Model Context Protocol at the other end of its standard input and output.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, before, beforeEach, describe, test } from "node:test";
import { ensureTestPackages } from "../tools/test-packages.mjs";
import { Correspondent } from "./correspondent.mjs";
import { NATIVE } from "./hosts.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { freePort } from "./ports.mjs";
import { finished, requireMessenger } from "./program.mjs";

const MANY = { NETWORK_REQUESTS_PER_MINUTE: "100000", ADDRESS_REQUESTS_PER_MINUTE: "100000" };

describe("an agent with the tools of rendezvous mcp", () => {
  let load;
  let directory;
  let beacon;
  let [alice, bob] = [];
  const agents = [];
  before(async () => {
    requireMessenger();
    const what = { folder: "mcp", version: "2.4.0", title: "A client of the Model Context Protocol", advice: "The test of `rendezvous mcp` needs it." };
    load = createRequire(join(await ensureTestPackages(what), "package.json"));
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "mcp-test-"));
    await start();
    [alice, bob] = ["alice", "bob"].map((name) => new Correspondent({ directory, url: beacon.url, name }));
    await Promise.all([alice.init(), bob.init()]);
    await Promise.all([alice.add(bob), bob.add(alice)]);
  });
  afterEach(async () => {
    await Promise.all(agents.splice(0).map((agent) => agent.close()));
    await beacon.stop();
    await rm(directory, { recursive: true, force: true });
  });

  async function start() {
    const port = beacon === undefined ? await freePort() : Number(new URL(beacon.url).port);
    beacon = await NATIVE.start({ vars: { DOORS: "v1,retalk", EXTERNAL_URLS: `http://127.0.0.1:${port}`, ...MANY }, port, state: join(directory, "state") });
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
    const { messages, problem } = await call("receive");
    const [{ id, receivedAt, ...message }] = messages;
    assert.deepEqual([message, problem], [{ from: alice.id, name: "alice", text: "what time is it?" }, null]);
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
    const { messages, problem } = await second.call("receive");
    assert.deepEqual(messages.map(({ text, again }) => [text, again]), [["one", true]]);
    assert.match(problem, /cannot be reached/);
    assert.equal((await second.call("send", { to: "alice", text: "later" })).state, "failed");
    await start();
    assert.deepEqual((await second.call("receive", { done: [messages[0].id] })).problem, null);
    assert.deepEqual(await alice.receive(), ["bob: later"]);
    assert.equal(await alice.waiting(), 0);
  });

  test("is told what is wrong with a call", async () => {
    const { agent, call } = await agentOf(bob);
    assert.match((await call("send", { to: "nobody", text: "hi" })).error, /nobody is known as nobody/);
    assert.match((await call("send", { to: "alice" })).error, /missing field `text`/);
    assert.match((await call("send", { to: "alice", text: "" })).error, /at least one character/);
    assert.match((await call("receive", { done: "all" })).error, /invalid type/);
    await assert.rejects(agent.callTool({ name: "delete", arguments: {} }), /no such tool/);
    // Whoever starts it by hand.
    const child = bob.start(["mcp"], { stdin: "pipe" });
    child.stdin.end("hello\n");
    const { code, stdout, stderr } = await finished(child);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /nobody speaks the Model Context Protocol on the standard input/);
  });
});
