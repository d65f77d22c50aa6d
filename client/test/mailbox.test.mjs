// A mailbox of this browser's own and contacts, with relays in memory: what becomes of a message, whatever relays do.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Mailbox, canonical, jsonOf, memoryStore, readInvite, readJson, signRecord, signerOf, slotKeyOf, writeInvite } from "../build/internals.js";
import { Relays, addressOf } from "./relay.mjs";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const ORIGINS = ["https://one.example", "https://two.example", "https://three.example"];
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

/** Relays, and Ann's and Bob's mailboxes; Ann has an invite of Bob's. */
async function setting({ count = 2, annsHost, bobsHost } = {}) {
  const world = new Relays();
  const origins = ORIGINS.slice(0, count);
  const relays = origins.map((origin) => world.add(origin));
  const [annsStore, bobsStore] = [memoryStore(), memoryStore()];
  const openAnn = () => Mailbox.open({ store: annsStore }, world.host(annsHost));
  const openBob = () => Mailbox.open({ relays: origins, store: bobsStore }, world.host(bobsHost));
  const [ann, bob] = [await openAnn(), await openBob()];
  const invite = await bob.invite();
  const contact = await ann.contact(invite);
  return { world, origins, relays, annsStore, bobsStore, openAnn, openBob, ann, bob, invite, contact };
}

/** What a mailbox collects, as text. */
async function textsOf(mailbox) {
  const texts = [];
  await mailbox.collect(({ text }) => void texts.push(text));
  return texts;
}
const states = async (contact) => (await contact.receipts()).map(({ state }) => state);

describe("a message", () => {
  test("waits while its recipient is away, is handed over once, and its sender knows that it was read", async () => {
    const { relays, ann, bob, contact, origins } = await setting();
    const receipt = await contact.send("hello");
    assert.equal(receipt.state, "waiting");
    assert.deepEqual([...receipt.relays].sort(), origins);
    const heard = [];
    ann.addEventListener("receipt", ({ detail: { contact, outcome } }) => heard.push([contact.address, outcome.state]));
    await contact.refresh();
    assert.deepEqual([await states(contact), heard], [["waiting"], []]);
    const messages = [];
    assert.equal(await bob.collect((message) => void messages.push(message)), 1);
    const [{ from, bytes, text, contentId, receivedAt }] = messages;
    const minute = relays[0].now - (relays[0].now % 60_000);
    assert.deepEqual([from, text, contentId, receivedAt], [ann.publicKey, "hello", receipt.contentId, minute]);
    assert.deepEqual(bytes, new TextEncoder().encode("hello"));
    assert.deepEqual(await textsOf(bob), []);
    assert.deepEqual(relays.map(({ mailboxes }) => mailboxes.get(bob.address).messages.length), [0, 0]);
    await ann.refresh();
    assert.equal((await receipt.settled).state, "read");
    assert.deepEqual(heard, [[bob.address, "read"]]);
    assert.deepEqual(await states(contact), ["read"]);
    assert.equal((await (await contact.receipts())[0].settled).state, "read");
  });

  test("shows no relay who sent it, nor what is in it", async () => {
    const { relays, ann, bob, contact } = await setting();
    const seen = [];
    for (const relay of relays) relay.tamper = (answer, asked) => (seen.push(JSON.stringify(asked)), answer);
    await contact.send("a secret of Ann's");
    await textsOf(bob);
    await ann.refresh();
    assert.ok(seen.length > 4);
    for (const text of seen) {
      for (const word of [ann.publicKey, ann.address, "secret", Buffer.from("a secret").toString("base64").slice(0, 8)]) assert.ok(!text.includes(word), word);
    }
  });

  test("goes over a slot of the sender's own once the recipient has read the first, and the invite is struck off", async () => {
    const { world, relays, ann, bob, contact, invite } = await setting();
    const slot = (await slotKeyOf((await readInvite(invite)).seed)).publicKey;
    const sent = [await contact.send("one"), await contact.send("two")];
    assert.deepEqual(await textsOf(bob), ["one", "two"]);
    await ann.refresh();
    assert.deepEqual(await states(contact), ["read", "read"]);
    sent.push(await contact.send("three"));
    const keys = relays[0].mailboxes.get(bob.address).messages.map((message) => message.slot);
    assert.ok(keys.length === 1 && keys[0] !== slot);
    assert.ok(relays[0].mailboxes.get(bob.address).listed.has(slot), "the receipts over it can still be had");
    assert.deepEqual(await textsOf(bob), ["three"]);
    assert.deepEqual([...relays[0].mailboxes.get(bob.address).listed.keys()], keys);
    await ann.refresh();
    assert.deepEqual((await Promise.all(sent.map(({ settled }) => settled))).map(({ state }) => state), ["read", "read", "read"]);
    // Whoever finds the invite then writes in vain.
    const eve = await Mailbox.open({ store: memoryStore() }, world.host());
    const late = await (await eve.contact(invite)).send("me too");
    assert.deepEqual([late.state, late.relays, late.reason], ["waiting", [], "SLOT_UNKNOWN"]);
  });

  test("that came over the invite and was not dealt with comes again, and goes on over the invite until then", async () => {
    const { ann, bob, contact } = await setting();
    await contact.send("one");
    await contact.send("two");
    const fail = (failing) => bob.collect(({ text }) => assert.notEqual(text, failing));
    assert.equal(await fail("two"), 1);
    await ann.refresh();
    await contact.send("three");
    assert.equal(await fail("two"), 1);
    await ann.refresh();
    assert.deepEqual(await states(contact), ["read", "waiting", "read"]);
    assert.deepEqual(await textsOf(bob), ["two"]);
    await ann.refresh();
    assert.deepEqual(await states(contact), ["read", "read", "read"]);
  });

  test("of bytes, or of the longest, arrives as it was", async () => {
    const { bob, contact } = await setting();
    const longest = Uint8Array.from({ length: 130_000 }, (_, at) => at * 7);
    for (const data of [Uint8Array.of(255, 0, 254), new Uint8Array(0), longest]) await contact.send(data);
    await assert.rejects(contact.send(new Uint8Array(131_072)), { message: "TOO_LARGE" });
    const messages = [];
    await bob.collect((message) => void messages.push(message));
    assert.deepEqual(messages.map(({ bytes, text }) => [bytes.length, text]), [[3, undefined], [0, ""], [130_000, undefined]]);
    assert.deepEqual(messages[2].bytes, longest);
  });

  test("that is not dealt with comes again, and those behind it are not held up", async () => {
    const { ann, bob, contact } = await setting();
    for (let at = 0; at < 8; at++) await contact.send(`${at}`);
    const unread = [];
    bob.addEventListener("unread", ({ detail: { contentId, reason, error } }) => unread.push([contentId, reason, error.message]));
    const got = [];
    const count = await bob.collect(async ({ text }) => {
      if (text === "0" || text === "3") throw new Error("no room");
      got.push(text);
    });
    assert.deepEqual([count, got], [6, ["1", "2", "4", "5", "6", "7"]]);
    assert.deepEqual(unread.map(([, reason, error]) => [reason, error]), [["HANDLER_FAILED", "no room"], ["HANDLER_FAILED", "no room"]]);
    await ann.refresh();
    assert.deepEqual(await states(contact), ["waiting", "read", "read", "waiting", "read", "read", "read", "read"]);
    assert.deepEqual(await textsOf(bob), ["0", "3"]);
    await ann.refresh();
    assert.deepEqual([...new Set(await states(contact))], ["read"]);
  });

  test("comes although more than one answer holds is before it that no slot of the mailbox has signed", async () => {
    const { relays, bob, contact } = await setting({ count: 1 });
    await contact.send("newer");
    const { messages } = relays[0].mailboxes.get(bob.address);
    const [{ deposit, sealed, receivedAt, endsAt }] = messages;
    const foreign = (at) => ({ deposit: { ...deposit, signature: "AA" }, sealed, slot: "another", contentId: `${at}`, sequence: at, receivedAt, endsAt });
    messages.unshift(...Array.from({ length: 250 }, (_, at) => foreign(at)));
    assert.deepEqual(await textsOf(bob), ["newer"]);
  });

  test("that nobody has read in its life has ended, by the sender's clock", async () => {
    const { world, ann, bob, contact } = await setting();
    const receipt = await contact.send("for now", { lifetimeMs: HOUR });
    world.pass(HOUR);
    await ann.refresh();
    assert.equal((await receipt.settled).state, "ended");
    assert.deepEqual(await textsOf(bob), []);
  });

  test("counts as read if it was well before its end, as nobody can tell from an acknowledgement of that minute", async () => {
    const { world, relays, ann, bob, contact } = await setting();
    // To the minute, so that what is rounded down is known.
    world.pass(60_000 - (relays[0].now % 60_000));
    const life = HOUR - 10 * 60_000;
    for (const [left, state] of [[61_000, "read"], [60_000, "ended"]]) {
      const receipt = await contact.send("hello", { lifetimeMs: HOUR });
      world.pass(life - left);
      assert.deepEqual(await textsOf(bob), ["hello"]);
      await ann.refresh();
      assert.equal((await receipt.settled).state, state);
      world.pass(left);
    }
  });

  test("that has ended is not taken for read when later ones are", async () => {
    const { world, ann, bob, contact } = await setting();
    await contact.send("for an hour", { lifetimeMs: HOUR });
    const kept = await contact.send("for a week");
    world.pass(2 * HOUR);
    assert.deepEqual(await textsOf(bob), ["for a week"]);
    // Long after, the recipient counts it as gone, and its acknowledgement covers it.
    world.pass(8 * DAY);
    const [before] = [...(await contact.receipts())];
    assert.equal(before.state, "waiting");
    await ann.refresh();
    assert.deepEqual(await states(contact), ["ended", "read"]);
    assert.equal((await kept.settled).state, "read");
  });
});

describe("what is stored", () => {
  test("outlives the page: numbers, what waits, receipts, and what has come", async () => {
    const { bob, contact, openAnn, openBob, relays, invite } = await setting();
    for (const relay of relays) relay.isUp = false;
    const first = await contact.send("while all were down").catch((error) => error.message);
    assert.equal(first, "NO_SEALING_KEY", "nothing to seal it to was ever seen");
    for (const relay of relays) relay.isUp = true;
    await contact.send("one");
    for (const relay of relays) relay.isUp = false;
    const waiting = await contact.send("two");
    assert.deepEqual([waiting.state, waiting.relays, waiting.reason], ["waiting", [], "NETWORK"]);
    for (const relay of relays) relay.isUp = true;
    const again = await openAnn();
    assert.equal(again.publicKey.length, 44);
    const [known] = await again.contacts();
    assert.equal(known.address, bob.address);
    assert.equal(await again.contact(invite), known, "the same invite is the same contact");
    await again.refresh();
    await known.send("three");
    assert.deepEqual(await textsOf(await openBob()), ["one", "two", "three"]);
    assert.deepEqual(await textsOf(bob), []);
    await again.refresh();
    assert.deepEqual(await states(await (await openAnn()).contact(invite)), ["read", "read", "read"]);
  });

  test("is there before anything leaves this machine: a number is never given twice", async () => {
    const { annsStore, openAnn, invite, relays, contact } = await setting();
    await contact.send("one");
    const numbers = [];
    const stored = [];
    for (const relay of relays)
      relay.tamper = async (answer, { path, body }) => {
        if (path !== "/messages") return answer;
        numbers.push(body.deposit.payload.sequence);
        const { slots, sent } = await annsStore.update(`mailbox contact ${contact.address}`, () => undefined);
        stored.push([slots.some(({ next }) => next === body.deposit.payload.sequence + 1), sent.some((each) => each.contentId === body.deposit.payload.contentId)]);
        return answer;
      };
    // Two pages at once.
    const others = await Promise.all([openAnn(), openAnn()]);
    const contacts = await Promise.all(others.map((mailbox) => mailbox.contact(invite)));
    await Promise.all(contacts.map((each, at) => each.send(`from page ${at}`)));
    assert.deepEqual([...new Set(numbers)].sort(), [2, 3]);
    assert.deepEqual(stored.flat(), Array(2 * stored.length).fill(true));
  });

  test("that cannot be stored is an error, and nothing is sent", async () => {
    const { world, relays, invite, contact } = await setting();
    await contact.send("one");
    let isFull = false;
    const memory = memoryStore();
    const store = { update: (key, change) => (isFull ? Promise.reject(new Error("quota")) : memory.update(key, change)) };
    const eve = await Mailbox.open({ store }, world.host());
    const to = await eve.contact(invite);
    isFull = true;
    const count = relays[0].log.length;
    await assert.rejects(to.send("lost"), { message: "STORE_FAILED" });
    await assert.rejects(eve.collect(() => {}), { message: "STORE_FAILED" });
    assert.equal(relays[0].log.length, count);
    await assert.rejects(Mailbox.open({ store }, world.host()), { message: "STORE_FAILED" });
  });

  test("that has come but could not be stored is not acknowledged", async () => {
    const { world, relays, contact, bobsStore, bob, ann } = await setting();
    await contact.send("precious");
    let isFull = false;
    const store = { update: (key, change) => (isFull ? Promise.reject(new Error("quota")) : bobsStore.update(key, change)) };
    const page = await Mailbox.open({ relays: ORIGINS.slice(0, 2), store }, world.host());
    const collected = page.collect(() => void (isFull = true));
    await assert.rejects(collected, { message: "STORE_FAILED" });
    assert.ok(relays.every(({ log }) => !log.some((line) => line.includes("/acks"))));
    await ann.refresh();
    assert.deepEqual(await states(contact), ["waiting"]);
    assert.deepEqual(await textsOf(bob), ["precious"]);
  });

  test("is an owner key of its own, never the one that signs tickets, and the key that is handed in", async () => {
    const store = memoryStore();
    const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    await store.update("identity", () => pair);
    const mailbox = await Mailbox.open({ store });
    const own = Buffer.from(await crypto.subtle.exportKey("raw", pair.publicKey)).toString("base64");
    assert.notEqual(mailbox.publicKey, own);
    assert.equal(mailbox.address, addressOf(mailbox.publicKey));
    assert.equal((await Mailbox.open({ store })).publicKey, mailbox.publicKey);
    assert.equal((await Mailbox.open({ store, identity: pair })).publicKey, own);
  });
});

describe("relays", () => {
  test("lie at two of them, and one that is dead costs nothing", async () => {
    const { relays, ann, bob, contact } = await setting({ count: 3 });
    relays[0].isUp = false;
    const receipt = await contact.send("hello");
    assert.deepEqual([...receipt.relays].sort(), ORIGINS.slice(1).sort());
    relays[1].isUp = false;
    assert.deepEqual(await textsOf(bob), ["hello"]);
    assert.deepEqual([...bob.status()].sort(), [[ORIGINS[0], "NETWORK"], [ORIGINS[1], "NETWORK"]]);
    await ann.refresh();
    assert.equal((await receipt.settled).state, "read");
    // The one that has slept hands it over again, and hears that it has come.
    relays[1].isUp = true;
    assert.deepEqual(await textsOf(bob), []);
    assert.equal(relays[1].mailboxes.get(bob.address).messages.length, 0);
  });

  test("that were away when the mailbox changed hear of it later", async () => {
    const { relays, bob } = await setting();
    relays[1].isUp = false;
    await bob.invite();
    const [newer, older] = relays.map(({ mailboxes }) => mailboxes.get(bob.address).revision);
    assert.ok(newer > older);
    relays[1].isUp = true;
    await textsOf(bob);
    assert.equal(relays[1].mailboxes.get(bob.address).revision, relays[0].mailboxes.get(bob.address).revision);
    for (const relay of relays) relay.isUp = false;
    await assert.rejects(bob.invite(), { message: "NETWORK" });
  });

  test("that have lost the mailbox get it again", async () => {
    const { relays, bob, contact } = await setting();
    relays[0].mailboxes.clear();
    await textsOf(bob);
    await textsOf(bob);
    assert.equal(relays[0].mailboxes.size, 1);
    assert.deepEqual([...(await contact.send("hello")).relays].sort(), ORIGINS.slice(0, 2));
  });

  test("that know of a higher revision, as after storage was lost, are exceeded", async () => {
    const world = new Relays();
    const relay = world.add(ORIGINS[0]);
    const identity = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const open = () => Mailbox.open({ relays: [ORIGINS[0]], identity, store: memoryStore() }, world.host());
    const before = await open();
    for (let at = 0; at < 4; at++) await before.invite();
    const revision = () => relay.mailboxes.get(before.address).revision;
    const highest = revision();
    world.pass(1_000);
    const invite = await (await open()).invite();
    assert.ok(revision() > highest);
    assert.equal((await readInvite(invite)).address, before.address);
  });

  test("may have clocks of their own, and so may this machine", async () => {
    for (const aheadMs of [4 * 60_000, -4 * 60_000]) {
      const { relays, ann, bob, contact } = await setting({ annsHost: { aheadMs }, bobsHost: { aheadMs: 4 * 60_000 } });
      relays[1].aheadMs = 50_000;
      const receipt = await contact.send("hello");
      assert.deepEqual([...receipt.relays].sort(), ORIGINS.slice(0, 2), String(aheadMs));
      assert.deepEqual(await textsOf(bob), ["hello"]);
      await ann.refresh();
      assert.equal((await receipt.settled).state, "read", String(aheadMs));
    }
  });

  test("hold no more of a sender than its limit, and take the rest when the recipient has read", async () => {
    const { relays, ann, bob, contact } = await setting();
    const sent = [];
    for (let at = 0; at < 10; at++) sent.push(await contact.send(`${at}`));
    assert.deepEqual(sent.map(({ relays }) => relays.length), [...Array(8).fill(2), 0, 0]);
    assert.equal(sent[9].reason, "UNACKNOWLEDGED_LIMIT");
    assert.equal(relays[0].mailboxes.get(bob.address).messages.length, 8);
    assert.equal((await textsOf(bob)).length, 8);
    await ann.refresh();
    assert.deepEqual(await textsOf(bob), ["8", "9"]);
    await ann.refresh();
    for (let at = 10; at < 42; at++) await contact.send(`${at}`);
    await assert.rejects(contact.send("too much"), { message: "TOO_MANY" });
  });

  test("that refuse for good make a message refused", async () => {
    const { relays, contact } = await setting();
    await contact.send("one");
    for (const relay of relays) relay.tamper = ({ answer }) => ({ status: 410, answer: { ...answer, ok: false, code: "MAILBOX_CLOSED" } });
    const receipt = await contact.send("two");
    assert.deepEqual([receipt.state, receipt.reason], ["refused", "MAILBOX_CLOSED"]);
    assert.equal((await receipt.settled).state, "refused");
  });
});

describe("a relay that lies", () => {
  /** Lets the first relay change answers on a path. */
  const lie = (relay, path, change) => (relay.tamper = ({ status, answer }, asked) => (asked.path === path ? { status: 200, answer: change(answer, asked) } : { status, answer }));

  test("cannot say that a message was read", async () => {
    const { relays, ann, bob, contact } = await setting();
    const receipt = await contact.send("hello");
    const stranger = signerOf(await slotKeyOf(new Uint8Array(32).fill(9)));
    const slot = relays[0].mailboxes.get(bob.address).messages[0].slot;
    const at = relays[0].now - (relays[0].now % 60_000);
    const fields = { at, mailbox: bob.address, missing: [], slot, through: 1 };
    const signed = async (signer, more = {}) => JSON.parse(canonical(await signRecord("ack", { ...fields, ...more }, signer)));
    // The owner's own, of numbers that Ann has never given, of another slot, and of another mailbox: made by its key.
    const pair = await (await import("node:crypto")).webcrypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    const forged = [
      await signed(stranger),
      { ...(await signed(stranger)), publicKey: bob.publicKey },
      { ...(await signed(stranger)), publicKey: Buffer.from([1, ...new Uint8Array(31)]).toString("base64"), signature: Buffer.from([1, ...new Uint8Array(63)]).toString("base64") },
      null,
      [],
      "read",
      { ack: await signed(stranger) },
    ];
    assert.ok(pair);
    for (const ack of forged) {
      for (const relay of relays) {
        lie(relay, "/slot", (answer) => ({ ...answer, ack }));
        const slotLie = relay.tamper;
        relay.tamper = (answer, asked) => (asked.path === "/messages" ? { status: 200, answer: { ok: true, accepted: false, acknowledged: true, ack, serverTime: relay.now } } : slotLie(answer, asked));
      }
      await ann.refresh();
      await contact.send("another").catch(() => {});
      assert.deepEqual([...new Set(await states(contact))], ["waiting"], JSON.stringify(ack));
    }
    assert.equal(receipt.state, "waiting");
  });

  test("cannot use what the owner has signed for more than it says", async () => {
    const world = new Relays();
    const relay = world.add(ORIGINS[0]);
    const identity = signerOf(await slotKeyOf(new Uint8Array(32).fill(3)));
    const bob = await Mailbox.open({ relays: [ORIGINS[0]], identity, store: memoryStore() }, world.host());
    const [ann, eve] = await Promise.all([1, 2].map(() => Mailbox.open({ store: memoryStore() }, world.host())));
    const contact = await ann.contact(await bob.invite());
    const other = await eve.contact(await bob.invite());
    await other.send("Eve's");
    await contact.send("Ann's");
    const [evesSlot, annsSlot] = relay.mailboxes.get(bob.address).messages.map((message) => message.slot);
    const at = relay.now - (relay.now % 60_000);
    const good = { at, mailbox: bob.address, missing: [], slot: annsSlot, through: 1 };
    const outcomeOf = async (fields) => {
      const ack = JSON.parse(canonical(await signRecord("ack", { ...good, ...fields }, identity)));
      lie(relay, "/slot", (answer) => ({ ...answer, ack }));
      await ann.refresh();
      return states(contact);
    };
    assert.deepEqual(await outcomeOf({ slot: evesSlot }), ["waiting"], "of another's slot");
    assert.deepEqual(await outcomeOf({ mailbox: ann.address }), ["waiting"], "of another mailbox");
    assert.deepEqual(await outcomeOf({ through: 2 }), ["waiting"], "of a number that was never given");
    assert.deepEqual(await outcomeOf({ missing: [1], through: 2 }), ["waiting"], "of one that is missing");
    assert.deepEqual(await outcomeOf({}), ["read"]);
  });

  test("cannot bring an older card back, nor one of another owner", async () => {
    const { world, relays, ann, bob, contact } = await setting();
    await contact.send("one");
    assert.deepEqual(await textsOf(bob), ["one"]);
    await ann.refresh();
    const older = relays.map(({ mailboxes }) => mailboxes.get(bob.address).card);
    world.pass(16 * DAY);
    await textsOf(bob);
    const renewed = relays[0].mailboxes.get(bob.address).card.payload;
    assert.notEqual(renewed.sealing[0].key, older[0].payload.sealing[0].key);
    await contact.send("two");
    await ann.refresh();
    const stored = async () => JSON.stringify(await contact.receipts());
    const before = await stored();
    const other = await Mailbox.open({ relays: ORIGINS.slice(0, 2), store: memoryStore() }, world.host());
    await other.invite();
    const others = relays[0].mailboxes.get(other.address).card;
    for (const card of [older[0], others, { ...renewed }, null, 5]) {
      for (const relay of relays) lie(relay, "", (answer) => ({ ...answer, card }));
      world.pass(HOUR);
      await ann.refresh();
    }
    for (const relay of relays) relay.tamper = (answer) => answer;
    assert.equal(await stored(), before);
    const receipt = await contact.send("three");
    assert.equal(receipt.relays.length, 2);
    assert.deepEqual(await textsOf(bob), ["two", "three"]);
  });

  test("cannot have a message shown that nobody wrote there, or twice", async () => {
    const { relays, ann, bob, contact, world } = await setting();
    const contacts = [contact, await ann.contact(await bob.invite())];
    assert.equal(contacts[1].address, contact.address);
    await contact.send("one");
    await contact.send("two");
    const carol = await Mailbox.open({ relays: ORIGINS.slice(0, 2), store: memoryStore() }, world.host());
    await (await ann.contact(await carol.invite())).send("Carol's");
    const foreign = relays[0].mailboxes.get(carol.address).messages[0];
    const own = relays[0].mailboxes.get(bob.address).messages;
    const undated = { deposit: own[1].deposit, sealed: own[1].sealed, receivedAt: "today" };
    const bad = [
      null, 7, {}, { deposit: own[0].deposit }, { ...own[0], sealed: "" },
      { deposit: own[0].deposit, sealed: own[1].sealed },
      { deposit: { ...own[0].deposit, payload: { ...own[0].deposit.payload, sequence: 3 } }, sealed: own[0].sealed },
      { deposit: { ...own[0].deposit, signature: own[1].deposit.signature }, sealed: own[0].sealed },
      foreign, undated,
    ];
    const unread = [];
    bob.addEventListener("unread", ({ detail }) => unread.push(detail.reason));
    for (const relay of relays) lie(relay, "/collect", (answer) => ({ ...answer, messages: [...bad, ...answer.messages, ...answer.messages], more: true }));
    assert.deepEqual(await textsOf(bob), ["one", "two"]);
    assert.deepEqual(await textsOf(bob), []);
    // As one that kept what was acknowledged would.
    for (const relay of relays) lie(relay, "/collect", (answer) => ({ ...answer, messages: own }));
    assert.deepEqual(await textsOf(bob), []);
    assert.deepEqual(unread, []);
  });

  test("that answers anything at all costs no more than itself", async () => {
    const { relays, ann, bob, contact } = await setting();
    const answers = [
      "", "{", "[]", "null", "<html>", "5", JSON.stringify({ ok: true }), JSON.stringify({ ok: true, messages: {} }),
      JSON.stringify({ ok: true, messages: Array(101).fill({}) }), `{"ok":true,"messages":[${"[".repeat(500)}${"]".repeat(500)}]}`,
      JSON.stringify({ ok: true, padding: "x".repeat(1024 * 1024) }), JSON.stringify({ ok: false, code: "x".repeat(100) }),
      JSON.stringify({ ok: true, ended: true, acknowledged: true, serverTime: 2 ** 52, ack: {}, card: {}, policyRevision: -1 }),
    ];
    for (const [at, answer] of answers.entries()) {
      for (const status of [200, 201, 404, 409, 500]) {
        relays[0].tamper = () => ({ status, answer });
        await contact.refresh();
        if (status === 200) {
          await contact.send(`${at}`);
          assert.deepEqual(await textsOf(bob), [`${at}`], answer.slice(0, 50));
          await ann.refresh();
          assert.ok(bob.status().get(ORIGINS[0]), answer.slice(0, 50));
          assert.deepEqual([...new Set(await states(contact))], ["read"], answer.slice(0, 50));
        }
      }
    }
  });

  test("that is slow is given up", async () => {
    const { world, relays, bob, contact } = await setting();
    let isAsked;
    const asked = new Promise((resolve) => (isAsked = resolve));
    relays[0].tamper = () => (isAsked(), new Promise(() => {}));
    const sent = contact.send("hello");
    await asked;
    // Its card, then what is left there.
    const passing = (async () => {
      while (!(await Promise.race([sent, new Promise((resolve) => setImmediate(resolve))]))) world.pass(1_000);
    })();
    const receipt = await sent;
    await passing;
    assert.deepEqual([receipt.relays, receipt.reason], [[ORIGINS[1]], "TIMEOUT"]);
    relays[0].tamper = (answer) => answer;
    assert.deepEqual(await textsOf(bob), ["hello"]);
  });
});

describe("senders", () => {
  test("of one invite are one: another who has found it is not shown", async () => {
    const { world, bob, contact, invite } = await setting();
    const eve = await (await Mailbox.open({ store: memoryStore() }, world.host())).contact(invite);
    await contact.send("Ann's");
    assert.deepEqual(await textsOf(bob), ["Ann's"]);
    const unread = [];
    bob.addEventListener("unread", ({ detail }) => unread.push(detail.reason));
    await eve.send("Eve's").catch(() => {});
    await eve.send("Eve's second");
    assert.deepEqual(await textsOf(bob), []);
    assert.deepEqual([...new Set(unread)], ["ANOTHER_PEER"]);
  });

  test("cannot keep another's message out by leaving the same bytes", async () => {
    const { world, relays, bob, contact } = await setting({ count: 1 });
    await contact.send("Ann's");
    const [{ sealed, contentId, deposit }] = relays[0].mailboxes.get(bob.address).messages;
    const slot = await slotKeyOf((await readInvite(await bob.invite())).seed);
    const { payload } = deposit;
    const copied = JSON.parse(canonical(await signRecord("deposit", { ...payload, issuedAt: payload.issuedAt + 1 }, signerOf(slot))));
    const body = JSON.stringify({ deposit: copied, sealed });
    const init = { method: "POST", body, signal: new AbortController().signal };
    const answer = await world.host().fetch(`${ORIGINS[0]}/v1/mailboxes/${bob.address}/messages`, init);
    assert.equal(answer.status, 201);
    const unread = [];
    bob.addEventListener("unread", ({ detail }) => unread.push([detail.contentId, detail.reason]));
    assert.deepEqual(await textsOf(bob), ["Ann's"]);
    assert.deepEqual(unread, [[contentId, "SEAL_BROKEN"]]);
  });

  test("cannot have a key listed that is listed already, or was struck off: no relay would take the policy", async () => {
    const { world, bob, relays } = await setting({ count: 1 });
    const invites = await Promise.all([bob.invite(), bob.invite()]);
    const keys = await Promise.all(invites.map(async (invite) => (await slotKeyOf((await readInvite(invite)).seed)).publicKey));
    /** As somebody who introduces whatever key it likes. */
    const introduce = async (at, key) => {
      const store = memoryStore();
      const eve = await Mailbox.open({ store }, world.host());
      const contact = await eve.contact(invites[at]);
      await store.update(`mailbox contact ${bob.address}`, (state) => ({ ...state, slots: state.slots.map((slot, each) => (each === 1 ? { ...slot, publicKey: key } : slot)) }));
      await contact.send("hello");
      await textsOf(bob);
      return eve.publicKey;
    };
    for (const key of [keys[0], keys[1]]) await introduce(0, key);
    await bob.block(await introduce(1, "A".repeat(43) + "="));
    assert.deepEqual([...bob.status()], []);
    invites.push(await bob.invite());
    for (const key of [keys[1], "A".repeat(43) + "="]) {
      await introduce(2, key);
      assert.deepEqual([...bob.status()], []);
    }
    await bob.invite();
    assert.equal(relays[0].mailboxes.get(bob.address).policy.payload.contacts.length, 0);
  });

  test("can be answered and blocked while their message is dealt with", async () => {
    const { ann, bob, contact, relays } = await setting();
    await contact.send("who are you?");
    await contact.send("never mind");
    const invites = [];
    await bob.collect(async ({ from, text }) => {
      if (text === "never mind") await bob.block(from);
      else invites.push(await bob.invite(), bob.invite());
    });
    assert.deepEqual((await Promise.all(invites)).map((invite) => invite.startsWith("rendezvous:")), [true, true]);
    // The two new invites: Ann's slots are gone, with what had come over them.
    assert.equal(relays[0].mailboxes.get(bob.address).listed.size, 2);
    await ann.refresh();
    await (await ann.contact(await invites[1])).send("and now?");
    assert.deepEqual(await textsOf(bob), ["and now?"]);
    assert.deepEqual([...bob.status()], []);
  });

  test("that are blocked are heard no more", async () => {
    const { ann, bob, contact, relays } = await setting();
    await contact.send("one");
    await textsOf(bob);
    await ann.refresh();
    await contact.send("two");
    await bob.block(ann.publicKey);
    assert.equal(relays[0].mailboxes.get(bob.address).listed.size, 0);
    assert.deepEqual(await textsOf(bob), []);
    const receipt = await contact.send("three");
    assert.deepEqual([receipt.state, receipt.relays, receipt.reason], ["waiting", [], "SLOT_UNKNOWN"]);
  });

  test("can be told apart by nothing but what they have signed, and answer over an invite of their own", async () => {
    const { ann, bob, contact, world } = await setting();
    const annsRelays = await Mailbox.open({ relays: [ORIGINS[0]], store: memoryStore() }, world.host());
    await contact.send("no answer to this");
    const [message] = await (async () => {
      const messages = [];
      await bob.collect((each) => void messages.push(each));
      return messages;
    })();
    assert.equal(message.from, ann.publicKey);
    const back = await bob.contact(await annsRelays.invite());
    await back.send("an answer");
    assert.deepEqual(await textsOf(annsRelays), ["an answer"]);
  });
});

describe("a mailbox", () => {
  test("takes origins of relays, at most four", async () => {
    for (const relays of [["nonsense"], ["ftp://relay.example"], Array(5).fill(0).map((_, at) => `https://r${at}.example`), ["https://a.example", "https://a.example/"]])
      await assert.rejects(Mailbox.open({ relays, store: memoryStore() }), { name: "TypeError", message: /^relays: / });
    const mailbox = await Mailbox.open({ relays: ["https://A.example:443/v1?x"], store: memoryStore() });
    assert.deepEqual([...mailbox.status()], []);
    const none = await Mailbox.open({ store: memoryStore() });
    assert.throws(() => none.invite(), { name: "TypeError", message: /^relays: / });
    assert.equal(await none.collect(() => {}), 0);
    await assert.rejects(none.contact("rendezvous:abc"), { message: "MALFORMED" });
    const invite = writeInvite({ ...(await readInvite(await (await setting()).invite)), owner: Buffer.alloc(32, 1).toString("base64") });
    await assert.rejects(none.contact(invite), { message: "MALFORMED" });
  });

  test("has 32 invites at most, which end", async () => {
    const { world, bob, relays } = await setting({ count: 1 });
    for (let at = 1; at < 32; at++) await bob.invite({ lifetimeMs: DAY });
    await assert.rejects(bob.invite(), { message: "TOO_MANY" });
    world.pass(40 * DAY);
    await bob.invite();
    assert.equal(relays[0].mailboxes.get(bob.address).listed.size, 1);
  });

  test("is looked at by itself, until that is ended", async () => {
    const { world, ann, bob, contact } = await setting();
    const texts = [];
    let heard;
    const next = () => new Promise((resolve) => (heard = resolve));
    const stop = bob.subscribe(({ text }) => {
      texts.push(text);
      heard?.();
    });
    const stopAnn = ann.subscribe(() => {});
    await contact.send("one");
    let waiting = next();
    const pass = async (until) => {
      let isDone = false;
      until.then(() => (isDone = true));
      while (!isDone) {
        world.pass(1_000);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    if (!texts[0]) await pass(waiting);
    const receipt = await contact.send("two");
    waiting = next();
    if (!texts[1]) await pass(waiting);
    await pass(receipt.settled);
    assert.deepEqual(texts, ["one", "two"]);
    assert.equal((await receipt.settled).state, "read");
    stop();
    stopAnn();
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(readJson(canonical(jsonOf({}))));
  });
});
