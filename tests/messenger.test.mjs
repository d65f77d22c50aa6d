// The program `rendezvous`, as a binary, with relays that are the native program, and with relays that lie.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, createPrivateKey, createPublicKey, randomBytes, sign } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, open, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ROOT } from "../tools/steps.mjs";
import { serveWire } from "./correspondent.mjs";
import { NATIVE } from "./hosts.mjs";
import { eventually } from "./http.mjs";
import { PATIENCE_MS, SILENCE_MS } from "./patience.mjs";
import { freePort } from "./ports.mjs";
import { MESSENGER, finished, requireMessenger } from "./program.mjs";

/** A site opens ten mailboxes in a day: after so many others are started. */
const OPENINGS_MAX = 8;

let scratch;
/** @type {import("./hosts.mjs").RunningHost[]} */
let relays = [];
/** @type {import("./hosts.mjs").RunningHost[]} */
const started = [];
let openings = 0;

/** Sees to it that another mailbox can be opened at the relays. */
async function makeRoom() {
  if (openings++ % OPENINGS_MAX === 0) relays = await Promise.all([NATIVE.start(), NATIVE.start()]);
  started.push(...relays.filter((relay) => !started.includes(relay)));
}

before(async () => {
  requireMessenger();
  scratch = await mkdtemp(join(tmpdir(), "messenger-test-"));
});
after(async () => {
  await Promise.all(started.map((relay) => relay.stop()));
  await rm(scratch, { recursive: true, force: true });
});

/** @returns {Promise<string>} A new empty directory. */
const newDirectory = () => mkdtemp(join(scratch, "case-"));

/**
 * Somebody with a store of their own, who runs the program.
 *
 * @param {Record<string, string>} [variables]
 */
async function newUser(variables = {}) {
  const home = await newDirectory();
  const store = join(home, "store");
  const start = (...args) => spawn(MESSENGER, args, { cwd: home, env: { RENDEZVOUS_STORE: store, PATH: process.env.PATH, ...variables }, timeout: PATIENCE_MS });
  /** Runs the program with this on its standard input. */
  const runWith = async (input, ...args) => {
    const child = start(...args);
    // A program that does not read what it is given closes the pipe.
    child.stdin.on("error", () => {}).end(input);
    return finished(child);
  };
  const run = (...args) => runWith("", ...args);
  /** Runs it with --json, and reads what it prints; an exit code other than `code` fails. */
  const json = async (code, input, ...args) => {
    const ended = await runWith(input, ...args, "--json");
    assert.equal(ended.code, code, `${args.join(" ")}: ${ended.stdout}${ended.stderr}`);
    const lines = ended.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    return Object.assign(lines.at(-1), { lines: lines.slice(0, -1), stderr: ended.stderr });
  };
  return { home, store, start, run, runWith, json };
}

/**
 * Somebody with a mailbox, and somebody with an invite to it.
 *
 * @param {{ at?: (relays: string[]) => string[], invite?: string[] }} [options]
 */
async function newPair({ at: choose = (urls) => urls, invite = [] } = {}) {
  await makeRoom();
  const at = choose(relays.map(({ url }) => url));
  const [bob, alice] = await Promise.all([newUser(), newUser()]);
  const opened = await bob.json(0, "", "mailbox", "open", ...at.flatMap((url) => ["--relay", url]));
  const text = (await bob.json(0, "", "mailbox", "invite", "new", "alice", ...invite)).invite;
  await alice.json(0, text, "contact", "add", "bob");
  return { alice, bob, invite: text, mailbox: opened.mailbox };
}

/** Leaves bytes that are sealed to nobody, signed with the slot key of an invite. */
async function depositGarbage(url, mailbox, seed, sequence) {
  const key = createPrivateKey({ key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]), format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32).toString("base64");
  const sealed = randomBytes(2_048);
  const contentId = createHash("sha256").update(sealed).digest("base64");
  const issuedAt = Date.now();
  const payload = { contentId, expiresAt: issuedAt + 7_200_000, issuedAt, mailbox, sequence, size: sealed.length };
  const signature = sign(null, Buffer.from(`rendezvous-mailbox-v1:deposit\n${JSON.stringify(payload)}`), key).toString("base64");
  const deposit = { algorithm: "ed25519", payload, publicKey, signature, version: 1 };
  const body = JSON.stringify({ deposit, sealed: sealed.toString("base64") });
  const answer = await fetch(`${url}/v1/mailboxes/${mailbox}/messages`, { method: "POST", body });
  assert.equal(answer.status, 201, await answer.text());
}

const leave = (user, text, ...args) => user.json(0, text, "mailbox", "deposit", "bob", ...args);
const contents = async (directory) =>
  (await Promise.all((await readdir(directory)).sort().map((name) => readFile(join(directory, name), "utf8")))).sort();

describe("a dead drop", () => {
  test("a message over an invite, its receipt, and the next one over a slot of the sender's own", async () => {
    const { alice, bob } = await newPair();
    const inbox = join(bob.home, "inbox");
    const first = await leave(alice, "one");
    assert.deepEqual(first.relays, relays.map(({ url }) => url));
    const waiting = await alice.json(3, "", "outbox");
    assert.equal(waiting.messages[0].state, "waiting");

    const collected = await bob.json(0, "", "mailbox", "collect", "--output", inbox);
    assert.deepEqual([collected.new, collected.left], [1, 0], "both relays have it, and it comes once");
    assert.equal(collected.lines[0].text, "one");
    assert.equal(collected.lines[0].contact, "alice");
    assert.deepEqual(await contents(inbox), ["one"]);

    const read = await alice.json(0, "", "outbox");
    assert.deepEqual(read.messages.map(({ state, contentId }) => [state, contentId]), [["read", first.contentId]]);

    const second = await leave(alice, "two");
    const slots = (user) => user.json(0, "", "mailbox", "show").then(({ slots }) => slots);
    assert.deepEqual((await slots(bob)).map(({ inviteEndsAt }) => inviteEndsAt !== undefined), [true, false]);
    const next = await bob.json(0, "", "mailbox", "collect", "--output", inbox);
    assert.equal(next.lines[0].contentId, second.contentId);
    assert.notEqual(next.lines[0].slot, collected.lines[0].slot);
    assert.equal(next.lines[0].from, collected.lines[0].from);
    assert.deepEqual((await slots(bob)).map(({ name }) => name), ["alice"], "the invite is struck off");
    assert.deepEqual(await contents(inbox), ["one", "two"]);
    assert.equal((await alice.json(0, "", "outbox")).messages[0].state, "read");
    assert.equal((await bob.json(0, "", "mailbox", "collect", "--output", inbox)).new, 0);
  });

  test("what is shown stays until it is acknowledged", async () => {
    const { alice, bob } = await newPair();
    const { contentId } = await leave(alice, "shown");
    for (let round = 0; round < 2; round++) {
      const shown = await bob.json(0, "", "mailbox", "collect");
      assert.deepEqual(shown.lines.map(({ text }) => text), ["shown"]);
    }
    await alice.json(3, "", "outbox");
    const { acknowledged } = await bob.json(0, "", "mailbox", "ack", contentId);
    assert.deepEqual(acknowledged, [contentId]);
    assert.equal((await alice.json(0, "", "outbox")).messages[0].state, "read");
    assert.equal((await bob.json(0, "", "mailbox", "collect")).new, 0);
    assert.equal((await bob.run("mailbox", "ack", contentId)).code, 2);
  });

  test("any bytes, of every size that fits, and not one more", async () => {
    const { alice, bob } = await newPair();
    const inbox = join(bob.home, "inbox");
    const readme = await readFile(join(ROOT, "README.md"), "utf8");
    const most = Number(readme.match(/any content of up to ([\d,]+) bytes/)[1].replaceAll(",", ""));
    const sent = [Buffer.alloc(0), randomBytes(698), randomBytes(699), randomBytes(30_000), randomBytes(most)];
    for (const [at, content] of sent.entries()) {
      await writeFile(join(alice.home, "content"), content);
      await alice.json(0, "", "mailbox", "deposit", "bob", "content");
      // The room of a slot is an eighth of the mailbox's.
      const { lines } = await bob.json(0, "", "mailbox", "collect", "--output", inbox);
      assert.deepEqual(Buffer.from(lines[0].content, "base64"), content, `${at}`);
      assert.deepEqual(await readFile(lines[0].file.startsWith("/") ? lines[0].file : join(bob.home, lines[0].file)), content);
      assert.equal((await stat(lines[0].file)).mode & 0o777, 0o600);
      if (at === 0) await alice.json(0, "", "outbox");
    }
    // Once Alice has a slot of her own, the seal does not have to name it: 32 bytes more.
    const tooLong = await alice.runWith(randomBytes(most + 33), "mailbox", "deposit", "bob");
    assert.equal(tooLong.code, 2);
    assert.match(tooLong.stderr, /more than a message has room for/);
    assert.ok((await readdir(join(alice.store, "outbox"))).length < sent.length);
  });

  test("--wait ends with the receipt", async () => {
    const { alice, bob } = await newPair();
    const child = alice.start("mailbox", "deposit", "bob", "--wait", "100s", "--json");
    child.stdin.end("answer me");
    const sent = finished(child);
    let collected;
    do collected = await bob.json(0, "", "mailbox", "collect", "--output", "inbox");
    while (collected.new === 0);
    const { code, stdout } = await sent;
    assert.equal(code, 0, stdout);
    assert.equal(JSON.parse(stdout).read, true);
    const hurried = await alice.json(3, "nobody is there", "mailbox", "deposit", "bob", "--wait", "1ms");
    assert.deepEqual([hurried.taken, hurried.read], [true, false]);
  });

  test("as many wait as the recipient allows; the next one waits in the outbox", async () => {
    const { alice, bob } = await newPair({ invite: ["--limit", "1"] });
    const inbox = join(bob.home, "inbox");
    await leave(alice, "one");
    const second = await alice.json(3, "two", "mailbox", "deposit", "bob");
    assert.deepEqual([second.taken, second.problem], [false, "UNACKNOWLEDGED_LIMIT"]);
    await bob.json(0, "", "mailbox", "collect", "--output", inbox);
    const { messages } = await alice.json(3, "", "outbox");
    assert.deepEqual(messages.map(({ state, relays }) => [state, relays.length]), [["read", 2], ["waiting", 2]]);
    await bob.json(0, "", "mailbox", "collect", "--output", inbox);
    assert.deepEqual(await contents(inbox), ["one", "two"]);
    await alice.json(0, "", "outbox");
  });

  test("runs at the same time use no number twice", async () => {
    const { alice, bob } = await newPair();
    const texts = ["a", "b", "c", "d", "e", "f"];
    await Promise.all(texts.map((text) => leave(alice, text, "--quiet")));
    const { lines } = await bob.json(0, "", "mailbox", "collect", "--output", "inbox");
    assert.deepEqual(lines.map(({ text }) => text).sort(), texts);
    assert.deepEqual(lines.map(({ sequence }) => sequence).sort(), [1, 2, 3, 4, 5, 6]);
  });

  test("a mailbox that is closed takes nothing, and opens again under its name", async () => {
    const { alice, bob, mailbox } = await newPair();
    assert.equal((await bob.run("mailbox", "close")).code, 2);
    assert.deepEqual((await bob.json(0, "", "mailbox", "close", "--yes")).missing, []);
    const refused = await alice.json(3, "too late", "mailbox", "deposit", "bob").catch((error) => error);
    assert.match(String(refused.message ?? refused.problem), /no relay has given the card|MAILBOX_CLOSED/);
    for (const command of [["collect"], ["policy"], ["ack", "--all"]]) {
      const { code, stderr } = await bob.run("mailbox", ...command);
      assert.equal(code, 2, "no other command opens it again");
      assert.match(stderr, /the mailbox is closed: `rendezvous mailbox open`/);
    }
    for (const { url } of relays) assert.equal((await fetch(`${url}/v1/mailboxes/${mailbox}`)).status, 410);
    assert.deepEqual((await bob.json(0, "", "mailbox", "close", "--yes")).missing, []);
    assert.equal((await bob.json(0, "", "mailbox", "open")).mailbox, mailbox);
    await leave(alice, "in time");
  });
});

describe("relays come and go", () => {
  test("a message that no relay takes waits, and leaves as it was sealed", async () => {
    const state = await newDirectory();
    const port = await freePort();
    const relay = await NATIVE.start({ state, port });
    const { alice, bob } = await newPair({ at: () => [relay.url] });
    await leave(alice, "one");
    await relay.stop();
    const kept = await alice.json(3, "two", "mailbox", "deposit", "bob");
    assert.deepEqual([kept.taken, kept.problem], [false, "NO_CONNECTION"]);
    assert.equal((await bob.run("mailbox", "collect")).code, 1);
    const again = await NATIVE.start({ state, port });
    try {
      const { messages } = await alice.json(3, "", "outbox");
      assert.deepEqual(messages.map(({ contentId }) => contentId).at(-1), kept.contentId);
      await bob.json(0, "", "mailbox", "collect", "--output", "inbox");
      assert.deepEqual(await contents(join(bob.home, "inbox")), ["one", "two"]);
    } finally {
      await again.stop();
    }
  });

  test("whenever a sender is killed, no number is used for two messages, and what was written down arrives", async () => {
    const { alice, bob } = await newPair();
    const texts = Array.from({ length: 6 }, (_, at) => `killed ${at}`);
    for (const [at, text] of texts.entries()) {
      const child = alice.start("mailbox", "deposit", "bob", "--quiet");
      const ended = finished(child);
      child.stdin.on("error", () => {}).end(text);
      // Each at another moment, whichever that is on this machine.
      setTimeout(() => child.kill("SIGKILL"), 10 * at);
      await ended;
    }
    await leave(alice, "the last");
    const { messages } = await alice.json(3, "", "outbox");
    assert.deepEqual(messages.map(({ problem }) => problem), messages.map(() => null));
    const { lines } = await bob.json(0, "", "mailbox", "collect", "--output", "inbox");
    const places = lines.map(({ slot, sequence }) => `${slot} ${sequence}`);
    assert.equal(new Set(places).size, places.length);
    const read = lines.map(({ text }) => text);
    assert.equal(read.at(-1), "the last");
    assert.deepEqual(read.filter((text) => !texts.includes(text)), ["the last"]);
    assert.equal(new Set(read).size, read.length);
    assert.equal(lines.length, messages.length);
  });

  test("one of two relays is enough for everything", async () => {
    const second = await NATIVE.start();
    const { alice, bob } = await newPair({ at: ([first]) => [second.url, first] });
    await second.stop();
    assert.deepEqual((await leave(alice, "one")).relays, [relays[0].url]);
    const { new: count } = await bob.json(0, "", "mailbox", "collect", "--output", "inbox");
    assert.equal(count, 1);
    assert.equal((await alice.json(0, "", "outbox")).messages[0].state, "read");
  });

  test("a mailbox moves: senders find it by its newest card", async () => {
    const { alice, bob } = await newPair({ at: ([first]) => [first] });
    await bob.json(0, "", "mailbox", "open", ...relays.flatMap(({ url }) => ["--relay", url]));
    assert.equal((await leave(alice, "one")).relays.length, 2);
  });
});

describe("handing on", () => {
  test("--exec gets the message as it is, and what fails comes again", async () => {
    const { alice, bob } = await newPair();
    const text = "$(touch made) `touch made` ; touch made\n\u001b[2J";
    await leave(alice, text);
    const failed = await bob.run("mailbox", "collect", "--json", "--exec", "false");
    assert.equal(failed.code, 3, failed.stderr);
    assert.match(failed.stdout, /"left":1,"new":0/);
    await alice.json(3, "", "outbox");
    const script = join(bob.home, "on-message");
    await writeFile(script, `#!/bin/sh\ncat >"$1"; printf '%s %s' "$RENDEZVOUS_CONTACT" "$RENDEZVOUS_SEQUENCE" >who\n"${MESSENGER}" mailbox show >shown\n`, { mode: 0o755 });
    const { code, stderr } = await bob.run("mailbox", "collect", "--json", "--exec", script, "got it");
    assert.equal(code, 0, stderr);
    assert.equal(await readFile(join(bob.home, "got it"), "utf8"), text);
    assert.equal(await readFile(join(bob.home, "who"), "utf8"), "alice 1");
    assert.match(await readFile(join(bob.home, "shown"), "utf8"), /alice/, "the command may use the store");
    assert.deepEqual((await readdir(bob.home)).filter((name) => name === "made"), []);
    assert.equal((await alice.json(0, "", "outbox")).messages[0].state, "read");
  });

  test("what a stranger writes cannot move a terminal's cursor", async () => {
    const { alice, bob } = await newPair();
    await leave(alice, "a\u001b[2Jb\u009bc\u202ed\re\n");
    const { stdout } = await bob.run("mailbox", "collect");
    assert.match(stdout, /a\\u\{1b\}\[2Jb\\u\{9b\}c\\u\{202e\}d\\re\n/);
    assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
  });

  test("what looks like a key is handed on as it is, and the JSON stays JSON", async () => {
    const { alice, bob } = await newPair();
    const texts = [`-----BEGIN PRIVATE KEY-----" x`, `MII${"A".repeat(64)}`, `rendezvous:${"e".repeat(64)}`, "at a:b@c"];
    for (const text of texts) await leave(alice, text);
    const certificate = Buffer.concat([Buffer.from([0x30, 0x82, 1, 0x22]), Buffer.alloc(200, 1)]);
    await leave(alice, certificate);
    const { lines } = await bob.json(0, "", "mailbox", "collect");
    assert.deepEqual(lines.map(({ text }) => text).slice(0, 4), texts);
    assert.equal(lines[4].content, certificate.toString("base64"));
  });

  test("a message that cannot be written to the standard output is an error", { skip: !existsSync("/dev/full") }, async () => {
    const { alice, bob } = await newPair();
    await leave(alice, "one");
    const full = await open("/dev/full", "w");
    const child = spawn(MESSENGER, ["mailbox", "collect", "--json"], { env: { RENDEZVOUS_STORE: bob.store }, stdio: ["ignore", full.fd, "ignore"] });
    assert.deepEqual(await once(child, "close"), [2, null]);
    await full.close();
    assert.equal((await bob.json(0, "", "mailbox", "ack", "--all")).acknowledged.length, 0, "it was not shown");
  });

  test("what cannot be read keeps nothing after it from being collected", async () => {
    const relay = await NATIVE.start({ vars: { NETWORK_REQUESTS_PER_MINUTE: "100000" } });
    started.push(relay);
    const { alice, bob, mailbox } = await newPair({ at: () => [relay.url] });
    for (let number = 0; number < 13; number++) {
      const { invite } = await bob.json(0, "", "mailbox", "invite", "new", `spam${number}`);
      const seed = Buffer.from(JSON.parse(Buffer.from(invite.slice("rendezvous:".length), "base64url").toString()).k, "base64");
      for (let sequence = 1; sequence <= 8; sequence++) await depositGarbage(relay.url, mailbox, seed, sequence);
    }
    await leave(alice, "one");
    const { lines, left } = await bob.json(3, "", "mailbox", "collect", "--output", "inbox");
    assert.equal(left, 104);
    assert.deepEqual(lines.filter(({ error }) => error === null).map(({ text }) => text), ["one"]);
  });

  test("--follow ends by a signal, after the message at hand, with 130", async () => {
    const { alice, bob } = await newPair();
    const script = join(bob.home, "slow");
    await writeFile(script, `#!/bin/sh\necho begun >&2\nwhile [ ! -e "${bob.home}/go" ]; do sleep 0.1; done\ncat >>done\n`, { mode: 0o755 });
    await leave(alice, "one");
    await leave(alice, "two");
    const child = bob.start("mailbox", "collect", "--follow", "1h", "--exec", script);
    child.stdin.end();
    const ended = finished(child);
    await new Promise((resolve) => child.stderr.on("data", (text) => text.includes("begun") && resolve(undefined)));
    child.kill("SIGTERM");
    await writeFile(join(bob.home, "go"), "");
    const { code, stderr } = await ended;
    assert.equal(code, 130, stderr);
    assert.equal(await readFile(join(bob.home, "done"), "utf8"), "one");
    const rest = await bob.json(0, "", "mailbox", "collect", "--output", "inbox");
    assert.deepEqual(rest.lines.map(({ text }) => text), ["two"], "the first is acknowledged, the second is not lost");
  });

  test("a file that an earlier run wrote is the same message, another one is not overwritten", async () => {
    const { alice, bob } = await newPair();
    const file = ({ contentId }, at) => `alice-${at}-${Buffer.from(contentId, "base64").toString("hex").slice(0, 32)}`;
    const name = file(await leave(alice, "one"), 1);
    const inbox = join(bob.home, "inbox");
    await bob.run("mailbox", "collect", "--output", inbox);
    assert.deepEqual(await readdir(inbox), [name]);

    const taken = await leave(alice, "two");
    const after = await leave(alice, "three");
    for (const at of [1, 2]) await writeFile(join(inbox, file(taken, at)), "precious");
    const refused = await bob.run("mailbox", "collect", "--output", inbox);
    assert.equal(refused.code, 3, "it keeps that message alone from being written");
    assert.match(refused.stderr, /is there already, and is not this message/);
    assert.ok((await readdir(inbox)).some((name) => [1, 2, 3].some((at) => name === file(after, at))));
  });
});

describe("secrets and files", () => {
  test("nobody else can look into the store", async () => {
    const { alice, bob } = await newPair();
    await leave(alice, "one");
    for (const { store } of [alice, bob])
      for (const entry of await readdir(store, { recursive: true, withFileTypes: true })) {
        const { mode } = await stat(join(entry.parentPath, entry.name));
        assert.equal(mode & 0o777, entry.isDirectory() ? 0o700 : 0o600, entry.name);
      }
    const pem = await readFile(join(bob.store, "owner-key.pem"), "utf8");
    const raw = createPublicKey(createPrivateKey(pem)).export({ format: "der", type: "spki" }).subarray(-32).toString("base64");
    assert.equal((await bob.json(0, "", "mailbox", "show")).owner, raw);
  });

  test("an invite is not an argument, and is not repeated", async () => {
    const { bob, invite } = await newPair();
    const carol = await newUser();
    const { code, stdout, stderr } = await carol.run("contact", "add", "bob", invite);
    assert.equal(code, 2);
    assert.match(stderr, /is an invite itself/);
    for (const text of [stdout, stderr, (await bob.run("mailbox", "show")).stdout]) assert.ok(!text.includes(invite.slice(11, 60)));
    assert.equal((await carol.runWith(invite.slice(0, -9), "contact", "add", "bob")).code, 2);
    assert.equal((await bob.runWith(invite, "contact", "add", "me")).code, 2, "one's own");
  });

  test("a key is encrypted with a passphrase, and used with no other", async () => {
    await makeRoom();
    const user = await newUser();
    for (const [name, text] of [["right", "swordfish\n"], ["wrong", "tunafish\n"]])
      await writeFile(join(user.home, name), text, { mode: 0o600 });
    await user.json(0, "", "mailbox", "open", "--relay", relays[0].url, "--passphrase-file", "right");
    assert.match(await readFile(join(user.store, "owner-key.pem"), "utf8"), /ENCRYPTED/);
    await user.json(0, "", "mailbox", "show", "--passphrase-file", "right");
    for (const args of [["--passphrase-file", "wrong"], []]) assert.equal((await user.run("mailbox", "show", ...args)).code, 2);
  });

  test("no key and no mailbox is made by accident", async () => {
    const user = await newUser();
    for (const args of [["mailbox", "show"], ["mailbox", "collect"], ["outbox"], ["mailbox", "invite", "new", "a"], ["mailbox", "open"]]) {
      const { code, stderr } = await user.run(...args);
      assert.equal(code, 2, args.join(" "));
      assert.match(stderr, /--relay/);
    }
    for (const named of [["ftp://relay.example"], ["https://relay.example/v1"], [1, 2, 3, 4, 5].map((at) => `https://r${at}.example`)]) {
      const args = ["mailbox", "open", ...named.flatMap((relay) => ["--relay", relay])];
      assert.equal((await user.run(...args)).code, 2, args.join(" "));
      assert.equal(existsSync(user.store), false, "nothing is made for relays that are none");
    }
    const { code, stderr } = await (await newUser({ RENDEZVOUS_RELAYES: "https://relay.example" })).run("mailbox", "show");
    assert.equal(code, 2);
    assert.match(stderr, /RENDEZVOUS_RELAYS/);
  });

  test("whoever has mailboxes alone and sends a message is told how to leave one", async () => {
    const { alice } = await newPair();
    const refused = await alice.run("send", "bob", "hi");
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /rendezvous mailbox deposit NAME/);
    const both = await newUser({ RENDEZVOUS_SECRET: "a", RENDEZVOUS_STORE: alice.store });
    assert.equal((await both.run("init", alice.store)).code, 0);
    assert.match((await both.run("send", "bob", "hi")).stderr, /rendezvous mailbox deposit bob/);
  });

  test("two invites of one name, limits that are none, names that are none", async () => {
    const { bob } = await newPair();
    for (const args of [
      ["mailbox", "invite", "new", "alice"],
      ["mailbox", "invite", "new", "../alice"],
      ["mailbox", "invite", "new", "carol", "--limit", "9"],
      ["mailbox", "policy", "--limit", "alice=9"],
      ["mailbox", "policy", "--limit", "nobody=1"],
      ["mailbox", "policy", "--remove", "nobody"],
      ["mailbox", "deposit", "nobody"],
      ["mailbox", "deposit", "alice", "--ttl", "1m"],
    ]) {
      assert.equal((await bob.run(...args)).code, 2, args.join(" "));
    }
    await writeFile(join(bob.home, "taken"), "");
    assert.equal((await bob.run("mailbox", "invite", "new", "carol", "--out", "taken")).code, 2);
    await bob.json(0, "", "mailbox", "invite", "new", "carol", "--out", "free");
  });
});

describe("the owner decides", () => {
  test("somebody who is struck off writes no more, and what waits is still read", async () => {
    const { alice, bob } = await newPair();
    await leave(alice, "before");
    await bob.json(0, "", "mailbox", "policy", "--remove", "alice");
    const refused = await alice.json(3, "after", "mailbox", "deposit", "bob");
    assert.equal(refused.problem, "SLOT_UNKNOWN");
    const { lines } = await bob.json(0, "", "mailbox", "collect", "--output", "inbox");
    assert.deepEqual(lines.map(({ text }) => text), ["before"]);
  });

  test("readers stand in the card", async () => {
    const { bob, mailbox } = await newPair();
    const key = randomBytes(32).toString("base64");
    const card = async () => (await (await fetch(`${relays[0].url}/v1/mailboxes/${mailbox}`)).json()).card.payload;
    const before = await card();
    await bob.json(0, "", "mailbox", "readers", "--add", key);
    const after = await card();
    assert.deepEqual(after.readers, [key]);
    assert.ok(after.revision > before.revision);
    await bob.json(0, "", "mailbox", "readers", "--remove", key);
    assert.deepEqual((await card()).readers, []);
  });

  test("an older copy of a store goes on above what relays have", async () => {
    const { bob } = await newPair();
    const path = join(bob.store, "mailbox.json");
    const copy = await readFile(path);
    for (let round = 0; round < 3; round++) await bob.json(0, "", "mailbox", "open");
    await writeFile(path, copy, { mode: 0o600 });
    assert.deepEqual((await bob.json(0, "", "mailbox", "open")).missing, []);
  });
});

/**
 * A relay that passes everything on, but for what `tamper` makes of an answer; 429 is a refusal.
 *
 * @param {(answer: any, asked: { method: string, path: string, body: any }) => any} tamper
 */
async function lyingRelay(tamper) {
  let behind;
  const server = createServer(async (asked, answer) => {
    const chunks = [];
    for await (const chunk of asked) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const { port } = new URL(behind.url);
    const passed = request({ port, method: asked.method, path: asked.url, headers: { ...asked.headers, connection: "close" } }, async (got) => {
      const parts = [];
      for await (const part of got) parts.push(part);
      const said = JSON.parse(Buffer.concat(parts).toString());
      const told = tamper(said, { method: asked.method, path: asked.url, body: body.length ? JSON.parse(body.toString()) : undefined });
      if (told === 429) answer.writeHead(429, { "Content-Type": "application/problem+json" }).end('{"code":"THROTTLED"}');
      else answer.writeHead(told === said ? got.statusCode : 200, { "Content-Type": "application/json" }).end(JSON.stringify(told));
    });
    passed.on("error", () => answer.destroy());
    passed.end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}`;
  behind = await NATIVE.start({ vars: { EXTERNAL_URLS: url } });
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await behind.stop();
  };
  return { url, stop };
}

describe("a relay that lies", () => {
  /** @type {Record<string, { tamper: (answer: any, asked: any) => any, act: (pair: any) => Promise<void> }>} */
  const LIES = {
    "about receipts is not believed": {
      tamper: (answer, { path, body }) => {
        if (!path.endsWith("/slot")) return answer;
        // Signed by the sender's own slot key, which the relay could have made too.
        const { payload, publicKey, signature } = body.slot;
        const ack = { at: 60_000, mailbox: payload.mailbox, missing: [], slot: publicKey, through: 1 };
        return { ...answer, ack: { algorithm: "ed25519", payload: ack, publicKey, signature, version: 1 } };
      },
      act: async ({ alice }) => {
        await leave(alice, "one");
        const { messages, stderr } = await alice.json(3, "", "outbox");
        assert.equal(messages[0].state, "waiting");
        assert.match(stderr, /signature does not fit|not by the owner/);
      },
    },
    "by other bytes shows nothing": {
      tamper: (answer, { path }) => {
        if (path.endsWith("/collect"))
          for (const message of answer.messages ?? []) message.sealed = Buffer.alloc(2_048, 1).toString("base64");
        return answer;
      },
      act: async ({ alice, bob }) => {
        await leave(alice, "one");
        const { lines, left, stderr } = await bob.json(3, "", "mailbox", "collect", "--output", "inbox");
        assert.deepEqual([lines.length, left], [0, 1]);
        assert.match(stderr, /contentId is not the SHA-256/);
      },
    },
    "by an old card changes nothing": {
      tamper: (() => {
        let old;
        return (answer, { method, path }) => {
          if (method !== "GET" || !answer.card) return answer;
          old ??= answer.card;
          return { ...answer, card: old };
        };
      })(),
      act: async ({ alice, bob }) => {
        await leave(alice, "one");
        await bob.json(0, "", "mailbox", "readers", "--add", randomBytes(32).toString("base64"));
        await leave(alice, "two");
        const { lines } = await bob.json(0, "", "mailbox", "collect", "--output", "inbox");
        assert.equal(lines.length, 2);
      },
    },
    "with a card of somebody else's is not written to": {
      tamper: (answer, { method }) => {
        if (method !== "GET" || !answer.card) return answer;
        return { ...answer, card: { ...answer.card, payload: { ...answer.card.payload, sealing: answer.card.payload.sealing.slice(1) } } };
      },
      act: async ({ alice }) => {
        const { code, stderr } = await alice.runWith("one", "mailbox", "deposit", "bob");
        assert.equal(code, 1);
        assert.match(stderr, /signature does not fit/);
        assert.match(stderr, /no relay has given the card/);
      },
    },
    "in terminal codes does not get through": {
      tamper: (answer, { path }) =>
        path.endsWith("/messages") ? { code: "\u001b[2J", detail: "\u009b" } : answer,
      act: async ({ alice }) => {
        const { stdout, stderr } = await alice.runWith("one", "mailbox", "deposit", "bob");
        assert.doesNotMatch(stdout + stderr, /[\u001b\u009b]/);
      },
    },
    "by handing one message over twice shows it once": {
      tamper: (answer, { path }) => {
        if (path.endsWith("/collect")) answer.messages = [...answer.messages, ...answer.messages];
        return answer;
      },
      act: async ({ alice, bob }) => {
        await leave(alice, "one");
        assert.equal((await bob.json(0, "", "mailbox", "collect", "--output", "inbox")).new, 1);
      },
    },
    "by handing over what it has let go shows nothing again": {
      tamper: (() => {
        let kept;
        return (answer, { path }) => {
          if (path.endsWith("/collect") && kept === undefined && answer.messages?.length) kept = answer.messages;
          else if (path.endsWith("/collect")) answer.messages = kept ?? [];
          return answer;
        };
      })(),
      act: async ({ alice, bob }) => {
        await leave(alice, "one");
        assert.equal((await bob.json(0, "", "mailbox", "collect", "--output", "inbox")).new, 1);
        assert.equal((await bob.json(0, "", "mailbox", "collect", "--output", "inbox")).new, 0);
      },
    },
  };
  for (const [name, { tamper, act }] of Object.entries(LIES)) {
    test(name, async () => {
      const relay = await lyingRelay(tamper);
      try {
        await act(await newPair({ at: () => [relay.url] }));
      } finally {
        await relay.stop();
      }
    });
  }
});

describe("a relay that refuses for a while", () => {
  test("does not end --follow", async () => {
    let refusals = 1;
    const relay = await lyingRelay((answer, { path }) => (path.endsWith("/collect") && refusals-- > 0 ? 429 : answer));
    try {
      const { alice, bob } = await newPair({ at: () => [relay.url] });
      await leave(alice, "one");
      const child = bob.start("mailbox", "collect", "--follow", "100ms", "--output", "inbox");
      const ended = finished(child);
      await new Promise((resolve) => {
        child.stdout.on("data", resolve);
        child.on("close", resolve);
      });
      child.kill("SIGTERM");
      const { code, stderr } = await ended;
      assert.equal(code, 130, stderr);
      assert.match(stderr, /refuses: THROTTLED/);
      assert.deepEqual(await contents(join(bob.home, "inbox")), ["one"]);
    } finally {
      await relay.stop();
    }
  });
});

describe("while mailbox collect --follow listens for news", () => {
  /** So seldom that what is handed on was told of. */
  const SELDOM = "1h";

  /** Somebody with a mailbox at a relay to which all goes over a wire, and at others, and somebody who writes to it. */
  async function newPairOverWire({ others = [], ...options } = {}) {
    const [wire, state] = [await serveWire(options), await newDirectory()];
    wire.port = await freePort();
    const start = () => NATIVE.start({ vars: { EXTERNAL_URLS: wire.url }, port: wire.port, state });
    const relay = { ...(await start()), start };
    started.push(relay);
    const pair = await newPair({ at: () => [wire.url, ...others] });
    const asked = (what) => wire.requests.filter((line) => line.includes(what)).length;
    return { ...pair, wire, relay, asked };
  }

  function follow(user, every) {
    const child = user.start("mailbox", "collect", "--follow", every, "--output", "inbox");
    child.stdin.end();
    const followed = { child, said: "", ended: finished(child) };
    child.stderr.on("data", (text) => (followed.said += text));
    return followed;
  }

  const inbox = async ({ home }) => {
    const directory = join(home, "inbox");
    if (!existsSync(directory)) return [];
    // One that is being written has another name.
    const names = (await readdir(directory)).filter((name) => !name.startsWith("."));
    return (await Promise.all(names.map((name) => readFile(join(directory, name), "utf8")))).sort();
  };
  const has = (user, ...texts) => eventually(() => inbox(user), (found) => texts.every((text) => found.includes(text)));

  test("what comes is handed on without being asked for, from whichever relay, and a signal ends it at once", async () => {
    const other = await NATIVE.start();
    started.push(other);
    const { alice, bob, wire, relay, asked } = await newPairOverWire({ others: [other.url] });
    try {
      const followed = follow(bob, SELDOM);
      await eventually(() => asked("/live "), (times) => times === 1);
      const collects = asked("/collect ");
      await leave(alice, "one");
      await has(bob, "one");
      await eventually(() => asked("/acks "), (times) => times >= 1);
      assert.ok(asked("/collect ") > collects);
      // One dies: the other still tells, and it is said of which that is so.
      await relay.kill();
      await eventually(() => followed.said, (said) => said.includes(`${wire.url}: `) && /connection for news.*: trying again in/.test(said));
      await leave(alice, "two");
      await has(bob, "one", "two");
      followed.child.kill("SIGTERM");
      assert.equal((await followed.ended).code, 130);
      assert.deepEqual(await inbox(bob), ["one", "two"]);
    } finally {
      wire.stop();
    }
  });

  test("a relay that is killed and comes back is listened to again", async () => {
    const { alice, bob, wire, relay, asked } = await newPairOverWire();
    try {
      const followed = follow(bob, SELDOM);
      await eventually(() => asked("/live "), (times) => times === 1);
      await relay.kill();
      await eventually(() => followed.said, (said) => /connection for news.*: trying again in/.test(said));
      started.push(await relay.start());
      await leave(alice, "one");
      await has(bob, "one");
      assert.ok(asked("/live ") >= 2);
      followed.child.kill("SIGINT");
      assert.equal((await followed.ended).code, 130);
    } finally {
      wire.stop();
    }
  });

  test("a relay that tells no news is asked for messages as before, and that is said", async () => {
    const { alice, bob, wire, asked } = await newPairOverWire({ hasNews: false });
    try {
      const followed = follow(bob, "100ms");
      await eventually(() => followed.said, (said) => said.includes("the relay tells no news of mailboxes (HTTP status 404"));
      await leave(alice, "one");
      await has(bob, "one");
      assert.equal(asked("/live "), 1);
      followed.child.kill("SIGTERM");
      assert.equal((await followed.ended).code, 130);
    } finally {
      wire.stop();
    }
  });
});

describe("a relay that is silent", () => {
  test("is waited for once in a run, whatever waits for it", async () => {
    const { alice, bob, invite } = await newPair({ at: ([first]) => [first] });
    let asked = 0;
    let isSilent = false;
    const silent = createServer(({ socket }) => {
      asked += 1;
      if (!isSilent) socket.destroy();
    });
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    try {
      const fields = JSON.parse(Buffer.from(invite.slice("rendezvous:".length), "base64url").toString());
      const both = { ...fields, r: [...fields.r, `http://127.0.0.1:${silent.address().port}`] };
      await alice.json(0, "", "contact", "remove", "bob");
      await alice.json(0, `rendezvous:${Buffer.from(JSON.stringify(both)).toString("base64url")}`, "contact", "add", "bob");
      for (const text of ["one", "two", "three"]) await leave(alice, text);
      [asked, isSilent] = [0, true];
      // Runs wait for the silent one so long, and the other has to answer within it on a busy machine too.
      const patience = ["--timeout", `${SILENCE_MS}ms`];
      assert.equal((await alice.json(3, "", "outbox", ...patience)).waiting, 3);
      assert.equal(asked, 1);
      await bob.json(0, "", "mailbox", "collect", "--output", "inbox");
      assert.equal((await alice.json(0, "", "outbox", ...patience)).waiting, 0);
    } finally {
      silent.closeAllConnections();
      silent.close();
    }
  });
});

describe("check", () => {
  test("a relay that does all of it is good", async () => {
    await makeRoom();
    const user = await newUser();
    const { steps } = await user.json(0, "", "check", relays[0].url);
    assert.deepEqual([...new Set(steps.map(({ result }) => result))], ["good"]);
    assert.deepEqual(await readdir(user.home), [], "it leaves nothing behind");
  });

  test("a relay that forges says so", async () => {
    const relay = await lyingRelay((answer, { path }) => (path.endsWith("/slot") ? { ...answer, ack: null } : answer));
    try {
      const { code, stdout } = await (await newUser()).run("check", relay.url);
      assert.equal(code, 2, stdout);
      assert.match(stdout, /gives the receipt +it has no receipt\ncloses the mailbox +not tried/);
    } finally {
      await relay.stop();
    }
  });

  test("whether it takes messages is said, and is an error for who requires it", async () => {
    await makeRoom();
    const user = await newUser();
    const closed = await user.json(0, "", "check", relays[0].url);
    assert.deepEqual([closed.ok, closed.takesMessages], [true, false]);
    assert.match((await user.run("check", relays[0].url)).stdout, /takes messages +no: .*DOORS=v1,retalk/);
    assert.equal((await user.json(2, "", "check", relays[0].url, "--messages")).ok, false);
  });

  test("nobody there, and somebody else", async () => {
    const user = await newUser();
    const page = createServer((_, answer) => answer.writeHead(404, { "Content-Type": "text/html" }).end("<html>"));
    page.listen(0, "127.0.0.1");
    await once(page, "listening");
    const url = `http://127.0.0.1:${page.address().port}`;
    assert.equal((await user.run("check", url)).code, 2);
    page.close();
    assert.equal((await user.run("check", url)).code, 1);
    assert.equal((await user.run("check", "relay.example")).code, 2);
  });
});
