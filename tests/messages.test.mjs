// Messages by the program `rendezvous`: as its users and their scripts run it, with retalk's own programs at the other end,
// over relays that lie, and killed at any moment.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { seeded } from "../client/test/world.mjs";
import { PROGRAM } from "../tools/native.mjs";
import { VERSIONS, ensureRetalk } from "../tools/retalk.mjs";
import { ROOT } from "../tools/steps.mjs";
import { Correspondent, messageKey, serveBetween, serveWire } from "./correspondent.mjs";
import { serve } from "./hostile.mjs";
import { HOSTS, NATIVE } from "./hosts.mjs";
import { announce, eventually } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { freePort } from "./ports.mjs";
import { CAPSULE, MESSENGER, finished, requireCapsule, requireMessenger } from "./program.mjs";
import { Program, User } from "./retalk.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const IS_LONG = process.env.LONG_TESTS === "1";
const KILLS = IS_LONG ? 500 : 60;
const KILLS_BY_MAILBOX = IS_LONG ? 100 : 20;
/** What is drawn in a run. SEED=… plays it again, as far as the machine's own timing is not part of it. */
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));

const MANY = { NETWORK_REQUESTS_PER_MINUTE: "100000", ADDRESS_REQUESTS_PER_MINUTE: "100000" };

let scratch;
let directory;
let beacon;
let url;

before(async () => {
  requireMessenger();
  scratch = await mkdtemp(join(tmpdir(), "messages-test-"));
});
after(() => rm(scratch, { recursive: true, force: true }));
beforeEach(async () => {
  directory = await mkdtemp(join(scratch, "case-"));
  url = `http://127.0.0.1:${await freePort()}`;
  beacon = undefined;
});
afterEach(() => beacon?.stop());

/** Starts the relay; `also` are other addresses that users may write. */
const startRelay = (...also) => startRelayAt(NATIVE, ...also);

async function startRelayAt(host, ...also) {
  const vars = { DOORS: "v1,retalk", EXTERNAL_URLS: url, ...(also.length > 0 ? { RETALK_AUDIENCES: also.join() } : {}), ...MANY };
  beacon = await host.start({ vars, port: Number(new URL(url).port), state: join(directory, "state") });
}

const newUser = (name, at = url) => new Correspondent({ directory, url: at, name });

/** Two who know each other, and have published keys. */
async function newPair(at = url) {
  const [alice, bob] = [newUser("alice", at), newUser("bob", at)];
  await Promise.all([alice.init(), bob.init()]);
  await Promise.all([alice.add(bob), bob.add(alice)]);
  return [alice, bob];
}

/** Two who have written to each other: each has offered the other a slot of their mailbox. */
async function newPairWithMailboxes(at = url) {
  const [alice, bob] = await newPair(at);
  await alice.send(bob, "hello");
  assert.deepEqual(await bob.receive(), ["alice: hello"]);
  assert.deepEqual(await alice.receive(), []);
  await bob.send(alice, "hi");
  assert.deepEqual(await alice.receive(), ["bob: hi"]);
  assert.deepEqual(await bob.receive(), []);
  return [alice, bob];
}

/** Everything that is in the relay's storage, as bytes. */
async function stored(state = join(directory, "state")) {
  const files = await readdir(state);
  return Buffer.concat(await Promise.all(files.map((file) => readFile(join(state, file)))));
}

describe("the two-minute demo, with this project's programs under retalk's names", () => {
  test("says what retalk says, and the relay keeps ciphertext", async () => {
    const links = join(directory, "bin");
    await mkdir(links);
    await symlink(MESSENGER, join(links, "retalk"));
    await symlink(PROGRAM, join(links, "retalk-server"));
    const port = new URL(url).port;
    const env = { PATH: `${links}:${process.env.PATH}`, HOME: directory };
    const server = spawn("retalk-server", [], { cwd: directory, env: { ...env, SERVER_AUDIENCE: url, SERVER_PORT: port }, stdio: ["ignore", "pipe", "inherit"] });
    try {
      for await (const line of createInterface({ input: server.stdout })) if (line.includes('"listening"')) break;
      const script = `
        set -eu
        export SERVER_URL=${url}
        ALICE_ID=$(PICKLE_SECRET=alice-secret retalk init ./alice --name alice)
        BOB_ID=$(PICKLE_SECRET=bob-secret retalk init ./bob --name bob)
        PICKLE_SECRET=alice-secret retalk add bob "$BOB_ID" -s ./alice
        PICKLE_SECRET=bob-secret retalk add alice "$ALICE_ID" -s ./bob
        PICKLE_SECRET=bob-secret retalk receive -s ./bob
        PICKLE_SECRET=alice-secret retalk send bob "hello bob" -s ./alice
        cp -r server.db.d waiting
        PICKLE_SECRET=bob-secret retalk receive -s ./bob
        PICKLE_SECRET=bob-secret retalk send alice "hi alice, got it" -s ./bob
        PICKLE_SECRET=alice-secret retalk receive -s ./alice
        RETALK_PASSPHRASE=alice-secret retalk contacts --dir ./alice
        RETALK_PASSPHRASE=alice-secret retalk send --peer bob "once more" --dir ./alice
        RETALK_PASSPHRASE=bob-secret retalk receive --all --dir ./bob
        echo "$ALICE_ID" "$BOB_ID"`;
      const { code, stdout, stderr } = await finished(spawn("sh", ["-c", script], { cwd: directory, env, stdio: ["ignore", "pipe", "pipe"] }));
      assert.equal(code, 0, stderr);
      const lines = stdout.trimEnd().split("\n");
      const [shown, answer, contact, sent, received, ids] = lines;
      assert.deepEqual([shown, answer], ["alice: hello bob", "bob: hi alice, got it"]);
      assert.match(ids, /^[0-9a-f]{32} [0-9a-f]{32}$/);
      const [alice, bob] = ids.split(" ");
      assert.equal(contact, `bob\t${bob}\tverified`);
      assert.equal(JSON.parse(sent).to, bob, "0.3.0 prints that where the peer is named by --peer");
      assert.equal(JSON.parse(received).text, "once more");
      assert.ok(stderr.includes(`using alice (${alice}) from ./alice`), stderr);
      const waiting = await stored(join(directory, "waiting"));
      assert.ok(waiting.includes(alice) && !waiting.includes("hello bob"), "ciphertext alone");
    } finally {
      server.kill("SIGTERM");
      await once(server, "close");
    }
  });
});

for (const host of HOSTS) describe(`with retalk's own programs at the other end, at ${host.name}`, () => {
  const pythons = {};
  before(async () => {
    for (const version of VERSIONS) pythons[version] = await ensureRetalk(version);
  });
  beforeEach(() => startRelayAt(host));

  const theirs = (version, name) => new Program({ version, python: pythons[version], directory, url, name });

  for (const version of VERSIONS) {
    for (const isFirst of [true, false]) {
      test(`${isFirst ? "rendezvous begins" : "retalk begins"}, ${version}: both read, and both are acknowledged`, async () => {
        const [alice, bob] = isFirst ? [newUser("alice"), theirs(version, "bob")] : [theirs(version, "alice"), newUser("bob")];
        await alice.init();
        await bob.init();
        await alice.add(bob);
        await bob.add(alice);
        assert.deepEqual(await bob.receive(), [], "it has published its keys");
        await alice.send(bob, "hello bob, é 😀");
        assert.deepEqual(await bob.receive(), ["alice: hello bob, é 😀"]);
        assert.deepEqual(await bob.receive(), []);
        await bob.send(alice, "hi alice, got it");
        assert.deepEqual(await alice.receive(), ["bob: hi alice, got it"]);
        assert.equal(await alice.waiting(), 0, "an acknowledgement came with it");
        await alice.send(bob, "and again");
        assert.deepEqual(await bob.receive(), ["alice: and again"]);
        assert.equal(await bob.waiting(), 0);
      });
    }

    // 0.0.1 keeps a single session with each peer, and does not get over two that cross.
    if (version !== "0.0.1") test(`both begin at once, ${version}`, async () => {
      const [alice, bob] = [newUser("alice"), theirs(version, "bob")];
      await alice.init();
      await bob.init();
      await alice.add(bob);
      await bob.add(alice);
      await bob.receive();
      await alice.send(bob, "from alice");
      await bob.send(alice, "from bob");
      assert.deepEqual(await alice.receive(), ["bob: from bob"]);
      assert.deepEqual(await bob.receive(), ["alice: from alice"]);
      await alice.send(bob, "then alice");
      await bob.send(alice, "then bob");
      assert.deepEqual(await alice.receive(), ["bob: then bob"]);
      assert.deepEqual(await bob.receive(), ["alice: then alice"]);
      await alice.receive();
      assert.equal(await alice.waiting(), 0);
    });

    test(`an identity of ${version} goes on in the middle of a conversation`, async () => {
      const [old, bob] = [theirs(version, "alice"), newUser("bob")];
      await old.init();
      await bob.init();
      await old.add(bob);
      await bob.add(old);
      await old.send(bob, "with retalk");
      assert.deepEqual(await bob.receive(), ["alice: with retalk"]);
      await bob.send(old, "in flight");
      const alice = newUser("imported");
      alice.env.RENDEZVOUS_SECRET = old.env.PICKLE_SECRET;
      await alice.init("--import-retalk", old.store);
      assert.equal(alice.id, old.id);
      const [shown] = await alice.receive();
      assert.match(shown, /^(~?bob|[0-9a-f]{32}): in flight$/);
      await alice.expect(0, ["send", bob.id, "with rendezvous"]);
      assert.deepEqual(await bob.receive(), ["alice: with rendezvous"]);
      assert.equal(await bob.waiting(), 0);
    });
  }
});

/** What a user has in `contacts`, by id: the name. */
async function names(user) {
  const { stdout } = await user.expect(0, ["contacts", "--json"]);
  const contacts = stdout.trimEnd().split("\n").filter(Boolean).map((line) => JSON.parse(line));
  return Object.fromEntries(contacts.map(({ fingerprint, name }) => [fingerprint, name]));
}

const jsonLines = ({ stdout }) => stdout.trimEnd().split("\n").filter(Boolean).map((line) => JSON.parse(line));

describe("invite codes", () => {
  beforeEach(() => startRelay());

  const retalk = async (name) => {
    const user = new Program({ version: "0.3.0", python: await ensureRetalk("0.3.0"), directory, url, name });
    await user.init();
    assert.deepEqual(await user.receive(), [], "it has published its keys");
    return user;
  };
  const ours = async (name) => {
    const user = newUser(name);
    await user.init();
    return user;
  };

  test("of rendezvous, redeemed by retalk 0.3.0", async () => {
    const [alice, bob] = [await ours("alice"), await retalk("bob")];
    const { stdout, stderr } = await alice.expect(0, ["invite", "new"]);
    const code = stdout.trim();
    assert.match(stderr, new RegExp(`^ +rendezvous request ${alice.id} --code ${code}$`, "m"));
    const asked = await bob.run("request", alice.id, "--code", code, "--peer", "alice", "--dir", bob.store);
    assert.equal(JSON.parse(asked.stdout).to, alice.id);
    const [accepted, ...more] = jsonLines(await alice.expect(0, ["invite", "watch", "--json"]));
    assert.deepEqual([accepted.kind, accepted.code, accepted.from, accepted.name], ["contact_accepted", code, bob.id, "bob"]);
    assert.deepEqual([accepted.card.fingerprint, accepted.card.verified, more], [bob.id, true, []]);
    assert.deepEqual(jsonLines(await alice.expect(0, ["invite", "watch", "--json"])), [], "it is told once");
    assert.deepEqual(await bob.receive(), []);
    assert.equal(await bob.waiting(), 0, "it is acknowledged");
    await alice.send(bob, "welcome");
    assert.deepEqual(await bob.receive(), ["alice: welcome"]);
    await bob.send(alice, "thanks");
    assert.deepEqual(await alice.receive(), ["bob: thanks"]);
    const [listed] = jsonLines(await alice.expect(0, ["invite", "list", "--json"]));
    assert.deepEqual([listed.code, listed.kind, listed.uses, listed.used_by, listed.active], [code, "single", 1, [bob.id], false]);

    // It is used: somebody else's program gives up once it has heard so.
    const mallory = await retalk("mallory");
    await mallory.run("request", alice.id, "--code", code, "--dir", mallory.store);
    const [rejected] = jsonLines(await alice.expect(0, ["invite", "watch", "--json"]));
    assert.deepEqual(rejected, { kind: "contact_request_rejected", from: mallory.id, reason: "consumed" });
    await mallory.evaluate(["user.flush_outbox()"]);
    assert.equal(await mallory.waiting(), 0);
    assert.deepEqual(Object.keys(await names(alice)), [bob.id]);
  });

  test("of retalk 0.3.0, redeemed by rendezvous", async () => {
    const [alice, bob] = [await ours("alice"), await retalk("bob")];
    const made = JSON.parse((await bob.run("invite", "new", "--peer", "allie", "--dir", bob.store)).stdout);
    const asked = await alice.expect(0, ["request", bob.id, "--code", "-", "--peer", "bob", "--json"], { input: `${made.code}\n` });
    assert.deepEqual([JSON.parse(asked.stdout).to, JSON.parse(asked.stdout).state], [bob.id, "stored"]);
    assert.equal(await alice.waiting(), 1);
    const accepted = JSON.parse((await bob.run("invite", "watch", "--dir", bob.store)).stdout);
    assert.deepEqual([accepted.kind, accepted.from, accepted.name], ["contact_accepted", alice.id, "allie"]);
    assert.deepEqual(await alice.receive(), []);
    assert.equal(await alice.waiting(), 0, "its acceptance is an acknowledgement");
    await bob.send({ name: "allie" }, "welcome");
    assert.deepEqual(await alice.receive(), ["bob: welcome"]);
    await alice.send(bob, "thanks");
    assert.deepEqual(await bob.receive(), ["allie: thanks"]);
    // A code that is none: the refusal comes with the same signature as any other.
    const carol = await ours("carol");
    await carol.expect(0, ["request", bob.id, "--code", "none"]);
    assert.equal(JSON.parse((await bob.run("invite", "watch", "--dir", bob.store)).stdout).reason, "unknown-code");
    assert.match((await carol.expect(0, ["sync"])).stdout, /^sent again {2,}1$/m);
  });

  test("between two of its users: whatever fetches the request takes it, and what is beside it is kept", async () => {
    const [alice, bob, carol] = [await ours("alice"), await ours("bob"), await ours("carol")];
    const once = (await alice.expect(0, ["invite", "new", "--expires", "1h"])).stdout.trim();
    const many = JSON.parse((await alice.expect(0, ["invite", "new", "--permanent", "--peer", "friend", "--json"])).stdout);
    assert.deepEqual([many.kind, many.expires, many.peer], ["permanent", null, "friend"]);
    await bob.expect(0, ["request", alice.id, "--code", once, "--peer", "alice"]);
    await bob.send(alice, "hi");
    const { stdout, stderr } = await alice.expect(0, ["receive"]);
    assert.equal(stdout, "bob: hi\n");
    assert.match(stderr, new RegExp(`^bob \\(${bob.id}\\) has redeemed a code, and is a contact from now on$`, "m"));
    await carol.expect(0, ["request", alice.id, "--code", many.code]);
    await carol.expect(0, ["send", alice.id, "hello"]);
    // It tells of both, of whom nobody was told by it yet; the message stays for the one who reads messages.
    assert.equal((await alice.expect(0, ["invite", "watch"])).stdout, `bob: ${bob.id} is a contact from now on\nfriend: ${carol.id} is a contact from now on\n`);
    assert.deepEqual(await alice.receive(), ["friend: hello"]);
    assert.deepEqual(await names(carol), { [alice.id]: alice.id });
    await alice.expect(0, ["invite", "revoke", many.code]);
    const dave = await ours("dave");
    await dave.expect(0, ["request", alice.id, "--code", many.code]);
    assert.match((await alice.expect(0, ["receive"])).stderr, /a request to be made a contact was refused: its code was revoked/);
    assert.match((await alice.expect(0, ["invite", "list"])).stdout, /^.* single +consumed +uses=1 +peer=-\n.* permanent +revoked +uses=1 +peer=friend$/m);
    await carol.receive();
    assert.equal(await carol.waiting(), 0);
    for (const args of [["invite", "revoke", "none"], ["request", "bob", "--code", once], ["request", alice.id, "--code", "a b"], ["request", dave.id], ["invite", "new", "--peer", "bob"]])
      await alice.expect(2, args);
  });

  test("watch --follow tells of whoever comes, until a signal ends it", async () => {
    const [alice, bob] = [await ours("alice"), await ours("bob")];
    const code = (await alice.expect(0, ["invite", "new"])).stdout.trim();
    const child = alice.start(["invite", "watch", "--follow", "--interval", "0.1", "--json"]);
    const ended = finished(child);
    await bob.expect(0, ["request", alice.id, "--code", code]);
    await once(child.stdout, "data");
    child.kill("SIGTERM");
    const { code: exit, stdout, stderr } = await ended;
    assert.deepEqual([exit, JSON.parse(stdout).from], [130, bob.id], stderr);
    await bob.receive();
    assert.equal(await bob.waiting(), 0);
  });

  test("what nobody reads of it is told again: the standard output is closed", async () => {
    const [alice, bob] = [await ours("alice"), await ours("bob")];
    const code = (await alice.expect(0, ["invite", "new"])).stdout.trim();
    await bob.expect(0, ["request", alice.id, "--code", code]);
    const child = alice.start(["invite", "watch"]);
    child.stdout.destroy();
    child.stderr.resume();
    assert.deepEqual(await once(child, "close"), [2, null]);
    assert.equal((await alice.expect(0, ["invite", "watch"])).stdout, `bob: ${bob.id} is a contact from now on\n`);
  });

  test("codes that retalk 0.3.0 has given out are redeemed after its identity was taken over", async () => {
    const [old, bob] = [await retalk("alice"), await ours("bob")];
    const { code } = JSON.parse((await old.run("invite", "new", "--dir", old.store)).stdout);
    const alice = newUser("imported");
    alice.env.RENDEZVOUS_SECRET = old.env.PICKLE_SECRET;
    await alice.init("--import-retalk", old.store);
    await bob.expect(0, ["request", alice.id, "--code", code, "--peer", "alice"]);
    assert.equal(jsonLines(await alice.expect(0, ["invite", "watch", "--json"]))[0].from, bob.id);
  });
});

describe("by mailboxes", () => {
  /** By which door a message leaves, and why not by the other. */
  async function door(from, to, text) {
    const { door, why } = JSON.parse((await from.expect(0, ["send", to.name, text, "--json"])).stdout);
    return why === null ? door : `${door}: ${why}`;
  }

  test("two of its users go over to them by themselves, and what the relay then stores names nobody", async () => {
    await startRelay();
    const [alice, bob] = await newPairWithMailboxes();
    const keys = [];
    for (const user of [alice, bob]) {
      const { user_id, identity_key, signing_key } = JSON.parse((await user.expect(0, ["id", "--json"])).stdout);
      keys.push(user_id, identity_key, signing_key);
    }
    const count = (bytes, text) => bytes.toString("latin1").split(text).length - 1;
    const before = await stored();
    assert.equal(await door(alice, bob, "over the wall"), "mailbox");
    assert.equal(await door(bob, alice, "and back"), "mailbox");
    assert.match((await alice.expect(0, ["contacts"])).stdout, /^bob .* by mailbox$/m);
    assert.match((await alice.expect(3, ["outbox"])).stdout, /at the relay, not acknowledged, by mailbox, written/);
    const after = await stored();
    // What is there of them is what was there: published keys, and requests of the other door.
    for (const key of keys) assert.ok(count(after, key) <= count(before, key), "a message by mailbox names its sender");
    const sizes = [...after.toString("latin1").matchAll(/"size":(\d+)/g)].map(([, size]) => Number(size));
    assert.ok(sizes.length >= 2, "the deposits wait");
    for (const size of sizes) assert.ok([2_048, 8_192, 32_768, 131_072].includes(size), `${size}`);
    assert.deepEqual(await bob.receive(), ["alice: over the wall"]);
    assert.deepEqual(await alice.receive(), ["bob: and back"]);
    await bob.receive();
    assert.deepEqual([await alice.waiting(), await bob.waiting()], [0, 0]);
    const status = JSON.parse((await alice.expect(0, ["status", "--json"])).stdout);
    assert.deepEqual([status.contactsWithMailbox, status.mailbox.open, status.mailbox.refused], [1, true, null]);
  });

  for (const version of VERSIONS) {
    test(`a user of retalk ${version} is written to by the other door, and sees nothing of this`, async () => {
      await startRelay();
      const [alice, bob] = [newUser("alice"), new Program({ version, python: await ensureRetalk(version), directory, url, name: "bob" })];
      await alice.init();
      await bob.init();
      await alice.add(bob);
      await bob.add(alice);
      await bob.receive();
      for (const text of ["one", "two"]) {
        assert.equal(await door(alice, bob, text), "retalk: its recipient has offered no mailbox");
        assert.deepEqual(await bob.receive(), [`alice: ${text}`]);
        await bob.send(alice, `${text} too`);
        assert.deepEqual(await alice.receive(), [`bob: ${text} too`]);
      }
      assert.equal(await alice.waiting(), 0);
      assert.match((await alice.expect(0, ["contacts"])).stdout, /by the door for retalk's users, because its recipient has offered no mailbox/);
    });
  }

  describe("while --follow listens for news", () => {
    /** So seldom that what is shown was told of. */
    const SELDOM = ["--interval", "1h"];
    let wire;
    afterEach(() => wire.stop());

    /** Two with mailboxes at a relay to which all goes over a wire. */
    async function newPairOverWire(options) {
      wire = await serveWire(options);
      wire.port = Number(new URL(url).port);
      await startRelayBehindWire();
      return newPairWithMailboxes(wire.url);
    }

    async function startRelayBehindWire() {
      const vars = { DOORS: "v1,retalk", EXTERNAL_URLS: wire.url, ...MANY };
      beacon = await NATIVE.start({ vars, port: wire.port, state: join(directory, "state") });
    }

    function follow(user, ...args) {
      const child = user.start(["receive", "--follow", ...args]);
      const followed = { child, shown: "", said: "", ended: finished(child) };
      child.stdout.on("data", (text) => (followed.shown += text));
      child.stderr.on("data", (text) => (followed.said += text));
      return followed;
    }

    const asked = (what) => wire.requests.filter((line) => line.includes(what)).length;
    const isListening = (count) => eventually(() => asked("/live "), (times) => times >= count);

    test("what comes is shown without being asked for, and a signal ends it at once", async () => {
      const [alice, bob] = await newPairOverWire();
      wire.requests.length = 0;
      const followed = follow(bob, ...SELDOM);
      await isListening(1);
      const collects = asked("/collect ");
      await alice.send(bob, "one");
      await eventually(() => followed.shown, (shown) => shown === "alice: one\n");
      await alice.send(bob, "two");
      await eventually(() => followed.shown, (shown) => shown === "alice: one\nalice: two\n");
      assert.equal(asked("/collect "), collects + 2, "one question for each");
      followed.child.kill("SIGTERM");
      assert.equal((await followed.ended).code, 130);
      await alice.receive();
      assert.equal(await alice.waiting(), 0);
    });

    test("a relay that is killed and comes back loses nothing, and nothing is shown twice", async () => {
      const [alice, bob] = await newPairOverWire();
      wire.requests.length = 0;
      const followed = follow(bob, ...SELDOM);
      await isListening(1);
      await alice.send(bob, "before");
      await eventually(() => followed.shown, (shown) => shown === "alice: before\n");
      await beacon.kill();
      await eventually(() => followed.said, (said) => /connection for news.*: trying again in/.test(said));
      await alice.expect(3, ["send", "bob", "meanwhile"]);
      await startRelayBehindWire();
      await alice.expect(0, ["sync"]);
      await eventually(() => followed.shown, (shown) => shown.includes("meanwhile"));
      await alice.send(bob, "after");
      await eventually(() => followed.shown, (shown) => shown.includes("after"));
      followed.child.kill("SIGTERM");
      const { code, stdout, stderr } = await followed.ended;
      assert.deepEqual([code, stdout], [130, "alice: before\nalice: meanwhile\nalice: after\n"], stderr);
      assert.deepEqual(await bob.receive(), []);
    });

    test("a relay that tells no news is asked for messages as before, and that is said", async () => {
      const [alice, bob] = await newPairOverWire({ hasNews: false });
      const followed = follow(bob, "--interval", "0.1");
      await eventually(() => followed.said, (said) => said.includes("the relay tells no news of mailboxes (HTTP status 404"));
      await alice.send(bob, "one");
      await eventually(() => followed.shown, (shown) => shown === "alice: one\n");
      assert.equal(asked("/live "), 1);
      followed.child.kill("SIGINT");
      assert.equal((await followed.ended).code, 130);
    });
  });

  test("a relay that is killed, and one whose door for mailboxes is closed, lose nothing", async () => {
    await startRelay();
    const [alice, bob] = await newPairWithMailboxes();
    assert.equal(await door(alice, bob, "before"), "mailbox");
    await beacon.kill();
    assert.match((await alice.expect(3, ["send", "bob", "meanwhile"])).stderr, /waits in the outbox/);
    await startRelay();
    await alice.expect(0, ["sync"]);
    assert.deepEqual(await bob.receive(), ["alice: before", "alice: meanwhile"]);
    await alice.receive();
    assert.equal(await alice.waiting(), 0);
    await beacon.stop();
    const vars = { DOORS: "retalk", EXTERNAL_URLS: url, ...MANY };
    beacon = await NATIVE.start({ vars, port: Number(new URL(url).port), state: join(directory, "state") });
    assert.match(await door(alice, bob, "after"), /^retalk: the mailbox of its recipient refuses it: /);
    assert.deepEqual(await bob.receive(), ["alice: after"]);
    await alice.receive();
    assert.equal(await alice.waiting(), 0);
  });
});

describe("between two of its users", () => {
  test("what scripts read: ids, lines of JSON, exit codes", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    const { stdout } = await alice.expect(0, ["id", "--json"]);
    const me = JSON.parse(stdout);
    assert.deepEqual([me.user_id, me.name, me.relay], [alice.id, "alice", url]);
    assert.equal((await alice.expect(0, ["id"])).stdout, `${alice.id}\n`);
    const sent = JSON.parse((await alice.expect(0, ["send", "bob", "one", "--json"])).stdout);
    assert.deepEqual([sent.to, sent.state], [bob.id, "stored"]);
    const waiting = JSON.parse((await alice.expect(3, ["outbox", "--json"])).stdout);
    assert.deepEqual(waiting.messages.map(({ id, contact, state }) => [id, contact, state]), [[sent.id, "bob", "stored"]]);
    const [line] = await bob.receive("--json");
    const { receivedAt, ...message } = JSON.parse(line);
    assert.deepEqual(message, { id: sent.id, from: alice.id, name: "alice", text: "one" });
    assert.ok(Math.abs(receivedAt - Date.now()) < 600_000);
    assert.deepEqual(await alice.receive(), []);
    assert.equal((await alice.expect(0, ["outbox"])).stdout, "nothing waits\n");
    const contacts = (await alice.expect(0, ["contacts", "--json"])).stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(contacts.map(({ name, fingerprint, verified }) => [name, fingerprint, verified]), [["bob", bob.id, true]]);
    const status = JSON.parse((await alice.expect(0, ["status", "--json"])).stdout);
    assert.deepEqual([status.outbox, status.inbox, status.contacts, status.sessions], [0, 0, 1, 1]);
  });

  test("--wait ends with the acknowledgement", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    const sent = alice.expect(0, ["send", "bob", "answer me", "--wait", "100s", "--json"]);
    while ((await bob.receive()).length === 0);
    assert.equal(JSON.parse((await sent).stdout).state, "acknowledged");
    const { stderr } = await alice.expect(3, ["send", "bob", "nobody is there", "--wait", "1ms"]);
    assert.match(stderr, /not acknowledged within 1ms: [0-9a-f]{32} stays in the outbox/);
  });

  test("--wait sends what had to wait for others, and says what was given up", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    for (let number = 0; number < 32; number += 1) await alice.send(bob, `m${number}`);
    const last = alice.expect(0, ["send", "bob", "last", "--wait", "100s"]);
    await eventually(() => alice.waiting(), (waiting) => waiting === 33);
    const shown = [];
    while (!shown.includes("alice: last")) shown.push(...(await bob.receive()));
    await last;
    assert.equal(shown.length, 33);
    const given = alice.expect(2, ["send", "bob", "never mind", "--wait", "100s", "--json"]);
    await eventually(() => alice.waiting(), (waiting) => waiting === 1);
    const { messages } = JSON.parse((await alice.expect(3, ["outbox", "--json"])).stdout);
    await alice.expect(0, ["outbox", "--cancel", messages[0].id]);
    assert.deepEqual(JSON.parse((await given).stdout), { id: messages[0].id, to: bob.id, state: "cancelled" });
  });

  test("--exec: acknowledged if the command ends well, else it comes again, and says so", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    const command = join(directory, "command");
    await writeFile(command, `#!/bin/sh\nprintf '%s %s %s: ' "$RENDEZVOUS_FROM" "$RENDEZVOUS_CONTACT" "$RENDEZVOUS_AGAIN" >>"$1"\ncat >>"$1"\nexit $2\n`);
    await chmod(command, 0o700);
    const log = join(directory, "log");
    await alice.send(bob, "$(touch no) it");
    await bob.expect(3, ["receive", "--exec", command, log, "1"]);
    await alice.receive();
    assert.equal(await alice.waiting(), 1, "not acknowledged");
    await bob.expect(0, ["receive", "--exec", command, log, "0"]);
    assert.equal(await readFile(log, "utf8"), `${alice.id} alice : $(touch no) it${alice.id} alice 1: $(touch no) it`);
    assert.deepEqual(await bob.receive(), []);
    await alice.receive();
    assert.equal(await alice.waiting(), 0);
  });

  test("--follow shows what comes, and ends with a signal", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    for (const signal of ["SIGTERM", "SIGINT"]) {
      const child = bob.start(["receive", "--follow", "--interval", "0.1"]);
      const ended = finished(child);
      await alice.send(bob, `until ${signal}`);
      await once(child.stdout, "data");
      child.kill(signal);
      const { code, stdout, stderr } = await ended;
      assert.deepEqual([code, stdout], [130, `alice: until ${signal}\n`], stderr);
    }
    assert.deepEqual(await bob.receive(), []);
    await alice.receive();
    assert.equal(await alice.waiting(), 0);
  });

  test("a signal ends after the message at hand, and no other counts as shown", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    for (const text of ["one", "two", "three"]) await alice.send(bob, text);
    const gate = join(directory, "gate");
    const command = 'touch "$1.reached"; while [ ! -e "$1" ]; do sleep 0.05; done';
    const child = bob.start(["receive", "--exec", "sh", "-c", command, "sh", gate]);
    let said = "";
    child.stderr.on("data", (text) => (said += text));
    const ended = finished(child);
    await eventually(() => existsSync(`${gate}.reached`), Boolean);
    child.kill("SIGTERM");
    await eventually(() => said, (said) => said.includes("ending after the message at hand"));
    await writeFile(gate, "");
    assert.equal((await ended).code, 130);
    const left = (await bob.receive("--json")).map((line) => JSON.parse(line));
    assert.deepEqual(left.map(({ text, again }) => [text, again]), [["two", undefined], ["three", undefined]]);
  });

  test("a second signal is the command's too, which is waited for, and ended after that", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    await alice.send(bob, "one");
    const isThere = (id) => {
      try {
        return process.kill(id, 0);
      } catch {
        return false;
      }
    };
    /** Runs a command that says when it runs and what it got, and sends two signals. */
    const interrupt = async (command) => {
      const log = join(directory, `log-${Math.random()}`);
      await writeFile(log, "");
      const child = bob.start(["receive", "--exec", "sh", "-c", command, "sh", log]);
      let said = "";
      child.stderr.on("data", (text) => (said += text));
      const logged = () => readFile(log, "utf8");
      const group = Number((await eventually(logged, (text) => /runs \d+\n/.test(text))).match(/runs (\d+)/)[1]);
      try {
        const ended = once(child, "exit");
        child.kill("SIGTERM");
        await eventually(() => said, (said) => said.includes("ending after the message at hand"));
        child.kill("SIGTERM");
        assert.deepEqual(await ended, [130, null], said);
        await eventually(() => isThere(-group), (is) => !is);
      } finally {
        if (isThere(-group)) process.kill(-group, "SIGKILL");
      }
      return logged();
    };
    const says = 'trap "echo got it >>\\"$1\\"; exit $STATUS" TERM; echo "runs $$" >>"$1"; while :; do sleep 0.05; done';
    assert.match(await interrupt(`STATUS=1; ${says}`), /got it/);
    assert.match(await interrupt(`trap "" TERM; echo "runs $$" >>"$1"; while :; do sleep 0.05; done`), /runs/);
    await alice.receive();
    assert.equal(await alice.waiting(), 1, "not acknowledged");
    assert.match(await interrupt(`STATUS=0; ${says}`), /got it/);
    await bob.receive();
    await alice.receive();
    assert.equal(await alice.waiting(), 0, "a command that ends well all the same has the message");
  });

  test("what nobody read is not acknowledged: the standard output is closed", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    await alice.send(bob, "one");
    const child = bob.start(["receive", "--follow", "--interval", "0.1"]);
    child.stdout.destroy();
    child.stderr.resume();
    const [code] = await once(child, "close");
    assert.equal(code, 2);
    await alice.receive();
    assert.equal(await alice.waiting(), 1);
    assert.deepEqual(await bob.receive(), ["alice: one"]);
  });

  test("the program of --exec gets no secret, and one that is not there has shown nothing", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    await alice.send(bob, "one");
    const left = await bob.expect(3, ["receive", "--exec", join(directory, "nothing")]);
    assert.match(left.stderr, /could not be run/);
    const log = join(directory, "log");
    const env = { RETALK_PASSPHRASE: "x", PICKLE_SECRET: "y", RENDEZVOUS_SECRET_FILE: "" };
    await bob.expect(0, ["receive", "--exec", "sh", "-c", `env >${log}`], { env });
    const variables = await readFile(log, "utf8");
    assert.match(variables, /^RENDEZVOUS_AGAIN=$/m);
    assert.doesNotMatch(variables, /RENDEZVOUS_SECRET=|RETALK_PASSPHRASE|PICKLE_SECRET|secret of/);
  });

  test("names and texts: the saved name wins, a chosen one has a ~, and nothing of a stranger's moves the cursor", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    const mallory = newUser("mallory");
    mallory.id = (await mallory.expect(0, ["init", mallory.store, "--name", "bob"])).stdout.trim();
    const text = "\u001b[2J\u001b]0;title\u0007\nbob: forged\r\u009b31m\u202e";
    await mallory.expect(0, ["send", alice.id, text]);
    const [shown, ...more] = await alice.receive();
    assert.deepEqual(more, []);
    assert.match(shown, /^~bob: [ -~]*$/);
    await mallory.expect(0, ["send", alice.id, text]);
    const [line] = await alice.receive("--json");
    assert.match(line, /^[ -~]*$/);
    assert.deepEqual([JSON.parse(line).name, JSON.parse(line).text], ["~bob", text]);
    await alice.expect(0, ["add", "mallory", mallory.id]);
    await mallory.expect(0, ["send", alice.id, "hi"]);
    assert.deepEqual(await alice.receive(), ["mallory: hi"]);
    await bob.send(alice, "hi");
    assert.deepEqual(await alice.receive("--peer", "bob"), ["bob: hi"]);
  });

  test("texts of every size that fits, and not one more", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    assert.match((await alice.expect(2, ["send", "bob", ""])).stderr, /at least one character/);
    const { stderr } = await alice.expect(2, ["send", "bob", "-"], { input: "x".repeat(200_000) });
    const [, bytes, limit] = stderr.match(/of (\d+) bytes is too long: one has (\d+) at most/).map(Number);
    assert.ok((await readFile(join(ROOT, "README.md"), "utf8")).includes(`up to ${limit.toLocaleString("en")} bytes, written as`));
    // What is around the text, too.
    const most = limit - (bytes - 200_000);
    assert.equal(await alice.waiting(), 0, "what is refused is not kept");
    const text = "x".repeat(most);
    await alice.expect(0, ["send", "bob", "-"], { input: `${text}\n` });
    await alice.expect(2, ["send", "bob", "-"], { input: `${text}x` });
    const [line] = await bob.receive("--json");
    assert.equal(JSON.parse(line).text.length, most);
    await alice.expect(2, ["send", "bob", "-"], { input: Buffer.from([0xff, 0xfe]) });
  });

  test("of more messages than may be unacknowledged the rest waits, and all come in order", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    const texts = Array.from({ length: 34 }, (_, number) => `m${number}`);
    for (const [number, text] of texts.entries()) await alice.expect(number < 32 ? 0 : 3, ["send", "bob", text]);
    const shown = [];
    for (let round = 0; shown.length < texts.length; round += 1) {
      assert.ok(round < 5, `${shown}`);
      shown.push(...(await bob.receive()));
      await alice.receive();
      await alice.expect(0, ["sync"]);
    }
    assert.deepEqual(shown, texts.map((text) => `alice: ${text}`));
    await alice.receive();
    assert.equal(await alice.waiting(), 0);
  });

  test("programs that work with one store at one time lose nothing", async () => {
    const between = await serveBetween();
    try {
      await startRelay(between.url);
      between.upstream = url;
      const [alice, bob] = await newPair(between.url);
      const texts = Array.from({ length: 6 }, (_, number) => `at one time ${number}`);
      await Promise.all(texts.map((text) => alice.send(bob, text)));
      const shown = (await Promise.all([bob.receive(), bob.receive(), bob.receive()])).flat();
      assert.deepEqual(shown.sort(), texts.map((text) => `alice: ${text}`));
      requireFreshKeys(between.bodies);
    } finally {
      await between.stop();
    }
  });

  test("another relay, with nothing of the first: what was not acknowledged comes over it", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    await alice.send(bob, "one");
    assert.deepEqual(await bob.receive(), ["alice: one"]);
    await alice.send(bob, "two");
    await beacon.stop();
    await rm(join(directory, "state"), { recursive: true });
    url = `http://127.0.0.1:${await freePort()}`;
    await startRelay();
    for (const user of [alice, bob]) {
      delete user.env.RENDEZVOUS_RELAY;
      const { stdout } = await user.expect(0, ["register", "--server", url]);
      assert.match(stdout, /^one-time keys {2,}0 were there, 100 were added$/m);
    }
    await alice.expect(0, ["sync"]);
    assert.deepEqual(await bob.receive(), ["alice: two"]);
    await alice.receive();
    assert.equal(await alice.waiting(), 0);
  });

  test("who is blocked is not shown, and may write again after that", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    await bob.expect(0, ["block", "alice"]);
    assert.equal((await bob.expect(0, ["block", "--list"])).stdout.trim(), `${alice.id}  alice`);
    await alice.send(bob, "refused");
    assert.deepEqual(await bob.receive(), []);
    await bob.expect(0, ["block", "alice", "--remove"]);
    await bob.expect(0, ["block", "--strangers"]);
    const carol = newUser("carol");
    await carol.init();
    await carol.expect(0, ["send", bob.id, "refused too"]);
    await alice.expect(0, ["send", "bob", "taken"]);
    assert.deepEqual(await bob.receive(), ["alice: taken"]);
  });

  test("what waited in the inbox of one who is blocked is not acknowledged, and comes after that", async () => {
    const between = await serveBetween();
    try {
      await startRelay(between.url);
      between.upstream = url;
      const [alice, bob] = await newPair(between.url);
      await alice.send(bob, "kept for later");
      await bob.expect(3, ["receive", "--exec", "false"]);
      await bob.expect(0, ["block", "alice"]);
      await bob.expect(0, ["block", "alice", "--remove"]);
      const shown = [];
      for (let round = 0; shown.length === 0; round += 1) {
        assert.ok(round < 5, "it is lost");
        await alice.expect(0, ["sync"]);
        shown.push(...(await bob.receive("--json")));
        await alice.receive();
      }
      const { text, again } = JSON.parse(shown[0]);
      assert.deepEqual([shown.length, text, again], [1, "kept for later", true]);
      assert.equal(await alice.waiting(), 0);
      requireFreshKeys(between.bodies);
    } finally {
      await between.stop();
    }
  });
});

describe("where it cannot go on", () => {
  test("an identity is found where it was said, and none is made by accident", async () => {
    const user = newUser("alice");
    const run = (code, args, env = {}) => user.expect(code, args, { env: { RENDEZVOUS_STORE: "", RENDEZVOUS_RELAY: "", ...env } });
    for (const args of [["id"], ["send", "bob", "hi"], ["receive"], ["add", "bob", "0".repeat(32)], ["status"], ["contacts"], ["outbox"]]) {
      assert.match((await run(2, args)).stderr, /no identity/);
      await run(2, args, { RENDEZVOUS_STORE: join(directory, "nothing") });
    }
    await run(2, ["init"], { RENDEZVOUS_STORE: join(directory, "nothing") });
    assert.deepEqual(await readdir(directory), []);

    const places = {};
    for (const [name, args] of Object.entries({ default: ["-u"], work: ["-u", "work"], far: [join(directory, "far")], near: ["-s", join(directory, "near")] })) {
      places[name] = (await run(0, ["init", ...args])).stdout.trim();
    }
    assert.equal(new Set(Object.values(places)).size, 4);
    assert.ok(existsSync(join(directory, ".local/share/rendezvous/work/user.db")));
    assert.equal((await stat(join(directory, "far/user.db"))).mode & 0o777, 0o600);
    assert.match((await run(2, ["init", "-u"])).stderr, /is there already/);
    const [far, near] = [join(directory, "far"), join(directory, "near")];
    for (const [args, env, expected] of [
      [[], {}, "default"],
      [[], { RETALK_USER: "work" }, "work"],
      [[], { RETALK_USER: "work", STORE: far }, "far"],
      [[], { STORE: far, RENDEZVOUS_STORE: near }, "near"],
      [["-u", "work"], { RENDEZVOUS_STORE: near }, "work"],
      [["-s", far], { RENDEZVOUS_STORE: near }, "far"],
    ]) {
      assert.equal((await run(0, ["id", ...args], env)).stdout.trim(), places[expected], `${args} ${JSON.stringify(env)}`);
    }
    await run(2, ["id", "-u", "../work"]);
    await run(2, ["id", "-u", "work", "-s", far]);
  });

  test("Ctrl-C where the passphrase is asked for ends the program, and the terminal shows again what is typed", async () => {
    const script = `
import json, os, pty, sys, termios, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b""
while b": " not in said:
    said += os.read(terminal, 1000)
while termios.tcgetattr(terminal)[3] & termios.ECHO:
    time.sleep(0.01)
os.write(terminal, b"se\x03")
_, status = os.waitpid(child, 0)
shows = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
print(json.dumps({"code": os.waitstatus_to_exitcode(status), "shows": shows}))`;
    const at = join(directory, "nobody");
    const env = { PATH: process.env.PATH, HOME: directory };
    const asked = spawn("python3", ["-c", script, MESSENGER, "init", at, "--name", "nobody"], { env, timeout: PATIENCE_MS });
    const { stdout, stderr } = await finished(asked);
    // A shell says 130 of what a signal ended.
    assert.deepEqual(JSON.parse(stdout), { code: -2, shows: true }, stderr);
    assert.ok(!existsSync(at));
  });

  test("no name is saved that could be taken for that of another contact", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    const carol = "0123456789abcdef".repeat(2);
    for (const name of ["b\u043eb", "\u{1d41b}ob", "b\u03bfb"]) {
      const { stderr } = await alice.expect(2, ["add", name, carol]);
      assert.match(stderr, /^error: .* looks like bob, which is the name of another contact$/m);
    }
    assert.match((await alice.expect(2, ["add", "bob", carol])).stderr, /bob is the name of another contact/);
    await alice.expect(0, ["add", "b\u043eb", bob.id]);
    await alice.expect(2, ["add", "bob", carol]);
    for (const name of ["Bob", "bobby", "Боб"]) await alice.expect(0, ["add", name, carol]);
  });

  test("what is wrong with the arguments is said without what they could do to a terminal", async () => {
    const alice = newUser("alice");
    for (const args of [["send", "--\u001b[2J\nerror: forged"], ["send", "a", "b", "--wait=\u001b]0;x\u0007"], ["\u202esend"]]) {
      const { stderr } = await alice.expect(2, args);
      assert.match(stderr, /^error: /);
      assert.doesNotMatch(stderr, /[^\n -~]|^error: forged/m);
    }
  });

  test("the passphrase: from where, which, and none without a terminal", async () => {
    const user = newUser("alice");
    await user.init();
    const id = (code, env, ...args) => user.expect(code, ["id", ...args], { env: { RENDEZVOUS_SECRET: "", ...env } });
    assert.match((await id(2, {})).stderr, /RENDEZVOUS_SECRET_FILE/);
    const [right, wrong] = [join(directory, "right"), join(directory, "wrong")];
    await writeFile(right, "secret of alice\n", { mode: 0o600 });
    await writeFile(wrong, "secret of bob\n", { mode: 0o600 });
    for (const [env, args] of [
      [{ RENDEZVOUS_SECRET: "wrong", RENDEZVOUS_SECRET_FILE: right }, []],
      [{ RENDEZVOUS_SECRET: "secret of alice", RETALK_PASSPHRASE_FILE: wrong }, []],
      [{ RETALK_PASSPHRASE_FILE: right, RETALK_PASSPHRASE: "wrong" }, []],
      [{ RETALK_PASSPHRASE: "secret of alice", PICKLE_SECRET: "wrong" }, []],
      [{ PICKLE_SECRET: "secret of alice" }, []],
      [{ RENDEZVOUS_SECRET_FILE: wrong }, ["--passphrase-file", right]],
    ]) {
      assert.equal((await id(0, env, ...args)).stdout.trim(), user.id, JSON.stringify(env));
    }
    const { stdout, stderr } = await id(2, { RENDEZVOUS_SECRET: "secret of bob" });
    assert.match(stderr, /passphrase/);
    assert.equal(stdout, "");
    assert.ok(!stderr.includes("secret of bob"));
    const nothing = join(directory, "empty");
    await writeFile(nothing, "", { mode: 0o600 });
    assert.match((await id(2, {}, "--passphrase-file", nothing)).stderr, /passphrase from --passphrase-file or RENDEZVOUS_SECRET_FILE is empty/);
    assert.equal((await id(0, { RENDEZVOUS_PASSPHRASE_FILE: right })).stdout.trim(), user.id);
    assert.match((await id(2, { RENDEZVOUS_SECRET_FILE: join(directory, "none") })).stderr, /passphrase cannot be read/);
  });

  test("no relay: the message waits, and is sent later", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    await alice.send(bob, "there");
    assert.deepEqual(await bob.receive(), ["alice: there"]);
    await beacon.stop();
    assert.match((await alice.expect(3, ["send", "bob", "later"])).stderr, /waits in the outbox/);
    await bob.expect(1, ["receive"]);
    await alice.expect(2, ["send", "nobody", "hi"]);
    await startRelay();
    await alice.expect(0, ["sync"]);
    assert.deepEqual(await bob.receive(), ["alice: later"]);
    const { id } = JSON.parse((await alice.expect(0, ["send", "bob", "no", "--json"])).stdout);
    await alice.expect(0, ["outbox", "--cancel", id]);
    await alice.expect(2, ["outbox", "--cancel", id]);
  });

  test("what was written while the relay was away comes in its order", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    await alice.send(bob, "zero");
    await beacon.stop();
    for (const text of ["one", "two", "three"]) await alice.expect(3, ["send", "bob", text]);
    await startRelay();
    await alice.send(bob, "four");
    assert.deepEqual(await bob.receive(), ["zero", "one", "two", "three", "four"].map((text) => `alice: ${text}`));
  });

  test("what a relay refuses says what to do", async () => {
    await startRelay();
    const alice = newUser("alice");
    const elsewhere = url.replace("127.0.0.1", "localhost");
    const made = await alice.expect(2, ["init", alice.store, "--name", "alice"], { env: { RENDEZVOUS_RELAY: elsewhere } });
    assert.match(made.stdout, /^[0-9a-f]{32}\n$/);
    assert.match(made.stderr, /EXTERNAL_URLS there/);
    const nobody = "0123456789abcdef0123456789abcdef";
    assert.match((await alice.expect(2, ["send", nobody, "hi"])).stderr, /has no keys of 0123456789abcdef0123456789abcdef: they have not used it yet/);
    const unverified = await alice.expect(2, ["add", "x", nobody, "--verify"]);
    assert.doesNotMatch(unverified.stderr, /added/);
    await alice.expect(2, ["send", "x", "hi"]);
    await alice.expect(0, ["add", "bob", nobody]);
    assert.match((await alice.expect(0, ["add", "bob2", nobody])).stderr, /bob is called bob2 from now on/);
    assert.match((await alice.expect(2, ["add", "bob", "zzz"])).stderr, /zzz is no file with an invite, and no id/);
    const tls = await alice.expect(1, ["sync"], { env: { RENDEZVOUS_RELAY: url.replace("http:", "https:") } });
    assert.match(tls.stderr, /does not speak TLS: is it http:\/\/\?/);
    await beacon.stop();
    beacon = await NATIVE.start({ port: Number(new URL(url).port), state: join(directory, "closed") });
    assert.match((await alice.expect(2, ["receive"])).stderr, /takes no messages .*DOORS=v1,retalk/s);
  });

  test("other keys than the id stands for: PIN MISMATCH, and nothing is sent", async () => {
    const between = await serveBetween();
    try {
      await startRelay(between.url);
      between.upstream = url;
      const [alice, bob] = await newPair(between.url);
      const other = new User(url);
      between.change = ({ tool }, answer) =>
        ["get_keys", "claim_key"].includes(tool) ? { ...answer, identity_key: other.identityKey, signing_key: other.signingKey } : answer;
      assert.match((await alice.expect(2, ["send", "bob", "to whom?"])).stderr, /PIN MISMATCH/);
      assert.match((await alice.expect(2, ["verify", "bob"])).stderr, /PIN MISMATCH/);
      assert.deepEqual(between.bodies, []);
      between.upstream = "";
      await alice.expect(3, ["send", "bob", "written while no relay answered"]);
      between.upstream = url;
      assert.match((await alice.expect(2, ["sync"])).stderr, /PIN MISMATCH/);
      await alice.expect(2, ["register"]);
      assert.deepEqual(between.bodies, []);
      between.change = (_, answer) => answer;
      await alice.expect(0, ["sync"]);
      assert.deepEqual(await bob.receive(), ["alice: written while no relay answered"]);
      await alice.expect(0, ["verify", "bob"]);
      await alice.send(bob, "to bob");
      assert.deepEqual(await bob.receive(), ["alice: to bob"]);
    } finally {
      await between.stop();
    }
  });

  test("a clock that is an hour behind the relay's is named, with the number", async () => {
    const between = await serveBetween();
    try {
      await startRelay(between.url);
      between.upstream = url;
      const [alice] = await newPair(between.url);
      const { status, json } = await new User(url).ask("count_keys", {}, { seconds: Math.floor(Date.now() / 1_000) - 3_600 });
      assert.ok(status >= 400);
      between.before = () => ({ status, json });
      for (const args of [["send", "bob", "late"], ["receive"], ["sync"]]) {
        assert.match((await alice.expect(2, args)).stderr, /36\d\d s/);
      }
      between.before = () => undefined;
      assert.equal(await alice.waiting(), 0, "it was not kept");
    } finally {
      await between.stop();
    }
  });

  test("a relay without room: the message waits, and why is said", async () => {
    const between = await serveBetween();
    try {
      await startRelay(between.url);
      between.upstream = url;
      const [alice, bob] = await newPair(between.url);
      between.before = ({ tool }) =>
        tool === "send_message" ? { json: { message_id: 0, ts: Date.now() / 1_000, stored: false, code: "MAILBOX_FULL" } } : undefined;
      assert.match((await alice.expect(3, ["send", "bob", "when there is room"])).stderr, /MAILBOX_FULL/);
      const { waiting, refused } = JSON.parse((await alice.expect(3, ["sync", "--json"])).stdout);
      assert.deepEqual([waiting, refused], [1, 0]);
      await alice.expect(3, ["register"]);
      between.before = () => undefined;
      assert.match((await alice.expect(0, ["sync"])).stdout, /^waiting for a relay {2,}0$/m);
      assert.deepEqual(await bob.receive(), ["alice: when there is room"]);
      requireFreshKeys(between.bodies);
    } finally {
      await between.stop();
    }
  });
});

describe("presence and messages together", () => {
  before(requireCapsule);

  /** Keeps `data` announced by the real program until the test stops it. */
  async function announced(peerId, data) {
    const key = join(directory, `${peerId}.pem`);
    const made = await finished(spawn(CAPSULE, ["keygen", "--out", key], { env: {} }));
    assert.equal(made.code, 0, made.stderr);
    const child = spawn(CAPSULE, ["announce", "--key", key, "--peer-id", peerId, "--beacon", url, "--data", data], { env: {} });
    const ended = finished(child);
    return async () => {
      child.kill("SIGTERM");
      await ended;
    };
  }

  const who = async (user, ...args) => {
    const { stdout } = await user.expect(0, ["who", "mainnet", "--beacon", url, "--json", ...args]);
    return stdout.trimEnd().split("\n").filter(Boolean).map((line) => JSON.parse(line));
  };

  test("who lists verified peers, and what their tickets say of where to write to them", async () => {
    await startRelay();
    const [alice, bob] = [newUser("alice"), newUser("bob")];
    await Promise.all([alice.init(), bob.init()]);
    const data = (await bob.expect(0, ["id", "--data"])).stdout.trim();
    assert.equal(data, `rendezvous-user=${bob.id},${url}`);
    const stop = await announced("bob", `busy ${data}`);
    try {
      // What others say, in tickets of their own.
      const mailbox = `rendezvous-mailbox=${"a".repeat(64)},https://relay.example`;
      for (const [peerId, said] of [["quiet", undefined], ["drop", mailbox], ["odd", "rendezvous-user=nobody"]])
        assert.equal((await announce(url, signTicket(newPeer({ peerId }), { community: "mainnet", data: said }))).status, 200);
      const peers = await eventually(() => who(alice), (peers) => peers.length === 4);
      const by = Object.fromEntries(peers.map((peer) => [peer.peerId, peer]));
      assert.deepEqual(by.bob.user, { id: bob.id, relays: [url] });
      assert.deepEqual([by.bob.data, by.bob.listedBy], [`busy ${data}`, [url]]);
      assert.deepEqual([by.quiet.user, by.quiet.mailbox, by.quiet.problem], [undefined, undefined, undefined]);
      assert.deepEqual(by.drop.mailbox, { address: "a".repeat(64), relays: ["https://relay.example"] });
      assert.match(by.odd.problem, /^rendezvous-user= in the data of a ticket is followed by an id/);
      // A name that was seen is one command away from a contact.
      await alice.expect(0, ["add", "bob", by.bob.user.id]);
      const text = (await alice.expect(0, ["who", "mainnet"], { env: { RENDEZVOUS_BEACONS: url } })).stdout;
      assert.match(text, new RegExp(`^bob .* id ${bob.id} `, "m"));
      assert.match(text, /^4 present in mainnet, verified\nWrite: rendezvous add NAME ID/m);
    } finally {
      await stop();
    }
  });

  test("who shows no ticket that is not good, and says which beacon does not answer", async () => {
    const peer = (overrides) => signTicket(newPeer(), { community: "mainnet", data: "rendezvous-user=" + "a".repeat(32), ...overrides });
    const good = peer({});
    const forged = peer({});
    forged.payload.data = "rendezvous-user=" + "b".repeat(32);
    const liar = await serve((_, response) => response.end(JSON.stringify({ ok: true, community: "mainnet", peers: [good, forged] })));
    const alice = newUser("alice");
    const dead = `http://127.0.0.1:${await freePort()}`;
    try {
      const { stdout, stderr } = await alice.expect(0, ["who", "mainnet", "--beacon", `${liar.url},${dead}`, "--json"]);
      assert.deepEqual(stdout.trimEnd().split("\n").map((line) => JSON.parse(line).publicKey), [good.publicKey]);
      assert.match(stderr, /not shown: 1 SIGNATURE_INVALID/);
      assert.match(stderr, new RegExp(`^${dead}: no connection`, "m"));
    } finally {
      await liar.stop();
    }
    const none = await alice.expect(1, ["who", "mainnet", "--beacon", dead, "--json"]);
    assert.equal(JSON.parse(none.stdout).code, "NO_ANSWER");
    assert.match((await alice.expect(2, ["who", "mainnet"])).stderr, /no beacon to ask/);
    assert.match((await alice.expect(2, ["who", "no community", "--beacon", dead])).stderr, /must be a community/);
  });

  test("a link in the place of a lock is not followed", async () => {
    const alice = newUser("alice");
    await alice.init();
    const elsewhere = join(directory, "elsewhere");
    await rm(join(alice.store, "inbox.lock"), { force: true });
    await symlink(elsewhere, join(alice.store, "inbox.lock"));
    const { stderr } = await alice.expect(2, ["receive"]);
    assert.match(stderr, /inbox\.lock.*it is a symbolic link, which is not followed/);
    assert.ok(!existsSync(elsewhere), "nothing is made there");
  });

  test("who says why a beacon lists nobody, which is another thing than that none answers", async () => {
    await startRelay();
    const alice = newUser("alice");
    const dead = `http://127.0.0.1:${await freePort()}`;
    const { stdout, stderr } = await alice.expect(2, ["who", "chess", "--beacon", `${dead},${url}`, "--json"]);
    const { code, error } = JSON.parse(stdout);
    assert.equal(code, "COMMUNITY_UNKNOWN");
    for (const text of [error, stderr]) {
      assert.match(text, new RegExp(`${dead}: no connection`));
      assert.match(text, new RegExp(`${url}: refused, COMMUNITY_UNKNOWN: this beacon does not serve the community chess`));
      assert.match(text, /spelt.*COMMUNITIES/);
    }
  });

  test("--when-online: in the outbox at once, at the relay once the recipient is seen", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    const data = (await bob.expect(0, ["id", "--data"])).stdout.trim();
    const child = alice.start(["send", "bob", "are you there?", "--when-online", "--beacon", url, "--wait", "100s", "--json"]);
    let said = "";
    child.stderr.on("data", (text) => (said += text));
    const ended = finished(child);
    await eventually(() => said, (said) => said.includes("is in the outbox, and leaves once the beacon lists in mainnet a ticket that names bob"));
    assert.deepEqual(await bob.receive(), [], "nothing has left");
    const stop = await announced("bob", data);
    try {
      const shown = await eventually(() => bob.receive(), (shown) => shown.length > 0);
      assert.deepEqual(shown, ["alice: are you there?"]);
      const { code, stdout } = await ended;
      assert.deepEqual([code, JSON.parse(stdout).state], [0, "acknowledged"], said);
      assert.match(said, /bob is present/);
    } finally {
      await stop();
    }
  });

  test("--when-online: what a signal or --within ends is in the outbox, and leaves with the next command", async () => {
    await startRelay();
    const [alice, bob] = await newPair();
    const options = ["--when-online", "--beacon", url, "--json"];
    const late = await alice.expect(3, ["send", "bob", "one", ...options, "--within", "1ms"]);
    assert.match(late.stderr, /bob was not seen: [0-9a-f]{32} stays in the outbox/);
    for (const signal of ["SIGTERM", "SIGINT"]) {
      const child = alice.start(["send", "bob", signal, ...options]);
      let said = "";
      child.stderr.on("data", (text) => (said += text));
      const ended = finished(child);
      await eventually(() => said, (said) => said.includes("is in the outbox"));
      child.kill(signal);
      const { code, stdout } = await ended;
      assert.deepEqual([code, JSON.parse(stdout).state], [130, "waiting"], said);
      assert.match(said, /was not seen: [0-9a-f]{32} stays in the outbox/);
    }
    assert.deepEqual(await bob.receive(), []);
    await alice.expect(0, ["sync"]);
    assert.deepEqual(await bob.receive(), ["alice: one", "alice: SIGTERM", "alice: SIGINT"]);
    assert.match((await alice.expect(2, ["send", "bob", "x", "--when-online"])).stderr, /no beacon to ask/);
    assert.match((await alice.expect(2, ["send", "bob", "x", "--within", "1s"])).stderr, /--when-online/);
    await alice.receive();
    assert.equal(await alice.waiting(), 0, "what was refused is not kept");
  });
});

/** No message key was ever used for two plaintexts: what has the same key is the same message, sent again. */
function requireFreshKeys(bodies) {
  const seen = new Map();
  for (const message of bodies) {
    const key = `${message.from} ${message.to} ${messageKey(message)}`;
    assert.equal(seen.get(key) ?? message.body, message.body, "a message key for two messages");
    seen.set(key, message.body);
  }
  return seen.size;
}

/**
 * Has two users send and receive, whose programs are killed at any moment, and requires that nothing is lost or shown twice.
 *
 * @param {string[]} doors By which doors messages may go.
 */
async function sendAndKill([alice, bob], { kills: most, doors }) {
  const random = seeded(SEED);
  const shown = [];
  const promised = new Set();
  const counts = { kills: 0, runs: 0, byDoor: {} };

  /**
   * Runs the program, and kills it at a moment after it has unlocked its store; before that it does nothing. How long it takes
   * from there on depends on what else the machine does: what was killed would have taken longer, what has ended less.
   */
  const run = async (user, args, length) => {
    const child = user.start(args);
    const ended = finished(child);
    await once(child.stderr, "data");
    const unlocked = performance.now();
    if (length === undefined) return ended;
    if (length.ms === undefined) {
      await ended;
      length.ms = performance.now() - unlocked;
      return ended;
    }
    counts.runs += 1;
    await delay(random() * length.ms);
    const isKilled = child.exitCode === null && child.kill("SIGKILL");
    length.ms *= isKilled ? 1.2 : 0.7;
    if (isKilled) counts.kills += 1;
    return ended;
  };
  const receive = async (user, length) => {
    const { stdout, code, signal, stderr } = await run(user, ["receive", "--json"], length);
    assert.ok(code === 0 || signal === "SIGKILL", stderr);
    // The last line may be cut off: it is shown again, and says so.
    for (const line of stdout.split("\n").slice(0, -1)) shown.push({ to: user.name, ...JSON.parse(line) });
  };

  const [sending, receiving] = [{}, {}];
  let number = 0;
  while (counts.kills < most) {
    for (const [user, other] of [[alice, "bob"], [bob, "alice"]]) {
      const text = `m${(number += 1)}`;
      const { code, stdout } = await run(user, ["send", other, text, "--json"], sending);
      if (code !== 0 && code !== 3) continue;
      promised.add(text);
      const { door } = JSON.parse(stdout);
      counts.byDoor[door] = (counts.byDoor[door] ?? 0) + 1;
    }
    await receive(bob, receiving);
    await receive(alice, receiving);
  }
  for (let round = 0; (await alice.waiting()) + (await bob.waiting()) > 0; round += 1) {
    if (round === 20) {
      const left = await Promise.all([alice, bob].map(async (user) => (await user.attempt(["outbox", "--json"])).stdout));
      assert.fail(`it does not come to rest, seed ${SEED}: ${left.join("")}`);
    }
    for (const user of [alice, bob]) {
      await user.expect(0, ["sync"]);
      await receive(user);
    }
  }
  for (const user of [alice, bob]) await receive(user);

  const texts = new Set(shown.map(({ text }) => text));
  assert.deepEqual([...promised].filter((text) => !texts.has(text)), [], "lost");
  const fresh = shown.filter(({ again }) => !again).map(({ to, id }) => `${to} ${id}`);
  assert.equal(new Set(fresh).size, fresh.length, "shown twice");
  // About a third ends by itself: else all were killed before they had done anything.
  assert.ok(promised.size >= most / 20, `${promised.size} of ${number} were promised`);
  for (const door of doors) assert.ok(counts.byDoor[door] > 0, `none went by ${door}`);
  const again = shown.filter(({ again }) => again).length;
  const by = Object.entries(counts.byDoor).map(([door, count]) => `${count} by ${door}`).join(", ");
  return `${counts.kills} of ${counts.runs} killed, ${number} messages, ${promised.size} promised (${by}), ${texts.size} shown, ${again} again as such, seed ${SEED}`;
}

describe("of what is sent and received by programs that are killed nothing is lost or shown twice", () => {
  test(`${KILLS} times, by the door for retalk's users: and no message key is used for two`, async (t) => {
    const between = await serveBetween();
    try {
      await startRelay(between.url);
      between.upstream = url;
      const done = await sendAndKill(await newPair(between.url), { kills: KILLS, doors: ["retalk"] });
      const keys = requireFreshKeys(between.bodies);
      assert.ok(keys >= KILLS / 20, `${keys}: what was promised left with a key each`);
      t.diagnostic(`${done}, ${keys} message keys`);
    } finally {
      await between.stop();
    }
  });

  test(`${KILLS_BY_MAILBOX} times, by mailboxes and by that door`, async (t) => {
    await startRelay();
    t.diagnostic(await sendAndKill(await newPairWithMailboxes(), { kills: KILLS_BY_MAILBOX, doors: ["mailbox"] }));
  });
});
