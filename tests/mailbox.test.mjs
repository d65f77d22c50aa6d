// Mailboxes as their clients see them: opened, written to, collected from and closed, and what is refused. One suite for
// every host of the service, each asked by URL alone.

import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, randomBytes, sign } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { HOSTS, withHost } from "./hosts.mjs";
import { ADDRESS_HEADER, announce, assertTime, call, eventually, raw } from "./http.mjs";
import { upgradeRequest } from "./live.mjs";
import { BUCKETS, Mailbox, RELAY, addressOf, contentIdOf, dayOf, namesOf, prekeyText, signRecord, solve } from "./mailbox.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { newPeer, rawPublicKey, signTicket } from "./ticket.mjs";

const PROBLEM = "application/problem+json; charset=utf-8";
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Everything that these tests ask for, from wherever. */
const VARS = { EXTERNAL_URLS: RELAY, ADDRESS_REQUESTS_PER_MINUTE: "100000", NETWORK_REQUESTS_PER_MINUTE: "100000" };

let addresses = 0;
/** A network that no other test knows. */
const newAddress = () => `10.${(addresses += 1)}.0.1`;

/** Asserts an error in full: status, code, form and headers. */
function assertProblem(reply, status, code, detail = /./) {
  assert.deepEqual([reply.status, reply.json?.code], [status, code], reply.text);
  assert.equal(reply.headers.get("Content-Type"), PROBLEM);
  assert.equal(reply.json.ok, false);
  assert.match(reply.json.detail, detail);
  assertTime(reply.json.serverTime, reply);
}

/** Asserts a success, and returns what it says beside that. */
function answered(reply, status = 200) {
  assert.equal(reply.status, status, reply.text);
  const { ok, serverTime, ...rest } = reply.json;
  assert.equal(ok, true);
  assertTime(serverTime, reply);
  return rest;
}

describe("what this suite signs", () => {
  const vectors = async (name) => JSON.parse(await readFile(new URL(`vectors/mailbox/${name}`, import.meta.url), "utf8"));
  /** The vectors' keys: a seed of 32 times the same byte. */
  const keys = [31, 32, 33, 34].map((byte) => {
    const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, byte)]);
    const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    return { publicKey: rawPublicKey(createPublicKey(privateKey)), privateKey };
  });
  const keyOf = (publicKey) => keys.find((key) => key.publicKey === publicKey);

  test("is what the vectors have", async () => {
    const good = (await vectors("records.json")).filter(({ name }) => name.endsWith("_good"));
    assert.equal(good.length, 10);
    for (const { record, json } of good) {
      const expected = JSON.parse(json);
      assert.deepEqual(signRecord(record, keyOf(expected.publicKey), expected.payload), expected);
      if (record === "card") assert.equal(addressOf(expected), expected.payload.mailbox);
    }
    for (const { message, publicKey, signature, ...prekey } of await vectors("prekeys.json")) {
      assert.equal(prekeyText(prekey), message);
      assert.equal(sign(null, Buffer.from(message), keyOf(publicKey).privateKey).toString("base64"), signature);
    }
    const [deposit] = (await vectors("bodies.json")).filter(({ name }) => name === "deposit_good");
    const body = JSON.parse(deposit.body);
    assert.equal(contentIdOf(Buffer.from(body.sealed, "base64")), body.deposit.payload.contentId);
    for (const { name, address: mailbox, subject, difficulty, day, solution } of await vectors("proofs.json")) {
      if (["today", "yesterday", "of_a_claim"].includes(name)) assert.deepEqual(solve({ mailbox, subject, difficulty, day }), { day, solution });
    }
  });
});

for (const host of HOSTS) describe(host.name, () => {
  let relay;
  let url;
  const log = [];
  before(async () => {
    relay = await host.start({ vars: { ...VARS, MAILBOXES: "1000" }, log: (line) => log.push(line) });
    url = relay.url;
  });
  after(() => relay.stop());

  const newMailbox = (options) => new Mailbox(url, { from: newAddress(), ...options });

  /** A mailbox that is open, to a contact for each limit. */
  async function openMailbox(limits = [32], { card, policy } = {}) {
    const mailbox = newMailbox();
    const slots = limits.map((limit) => ({ ...newPeer(), limit }));
    answered(await mailbox.put(slots, { card, policy }), 201);
    return [mailbox, ...slots];
  }

  /** Leaves messages with these sequences, and returns their bodies. */
  async function leave(mailbox, slot, ...sequences) {
    const messages = sequences.map((sequence) => mailbox.message(slot, sequence));
    for (const message of messages) answered(await mailbox.deposit(message), 201);
    return messages;
  }

  test("GET /v1/relay says by which origins and doors the relay is reached, and its limits", async () => {
    const reply = await call(url, "/v1/relay");
    const { audiences, doors, limits } = answered(reply);
    assert.deepEqual([audiences, doors], [[RELAY], ["v1"]]);
    assert.equal(typeof limits, "object");
  });

  describe("opening", () => {
    test("201, then the card for everybody, and the policy for nobody", async () => {
      const mailbox = newMailbox();
      const slot = newPeer();
      mailbox.revision = 1;
      const card = mailbox.card();
      const opened = answered(await mailbox.putRecords(card, mailbox.policy([slot])), 201);
      assert.deepEqual(opened, { revision: 1, policyRevision: 1 });
      const reply = await mailbox.ask("");
      assert.deepEqual([reply.status, reply.json], [200, { ok: true, card }], "which caches may keep, so it has no time");
      assert.equal(reply.headers.get("Cache-Control"), "public, max-age=60");
      assert.equal(reply.headers.get("Access-Control-Allow-Origin"), "*");
      assert.ok(!reply.text.includes(slot.publicKey));
      const head = await mailbox.ask("", undefined, { method: "HEAD" });
      assert.deepEqual([head.status, head.text], [200, ""]);
    });

    test("a higher revision replaces, the very same again changes nothing, a lower one is stale and gets the one that stands", async () => {
      const mailbox = newMailbox();
      mailbox.revision = 3;
      const [card, policy] = [mailbox.card(), mailbox.policy()];
      answered(await mailbox.putRecords(card, policy), 201);
      assert.deepEqual(answered(await mailbox.putRecords(card, policy)), { revision: 3, policyRevision: 3 });
      mailbox.revision = 2;
      const stale = await mailbox.putRecords(mailbox.card(), mailbox.policy());
      assertProblem(stale, 409, "STALE_REVISION", /exceed 3/);
      assert.deepEqual(stale.json.record, card);
      mailbox.revision = 3;
      assertProblem(await mailbox.putRecords(mailbox.card({ relays: [RELAY, "https://other.example"] }), policy), 409, "STALE_REVISION");
      assert.deepEqual((await mailbox.ask("")).json.card, card);
      mailbox.revision = 4;
      const newer = mailbox.card();
      assert.deepEqual(answered(await mailbox.putRecords(newer, policy)), { revision: 4, policyRevision: 3 });
      assert.deepEqual((await mailbox.ask("")).json.card, newer);
    });

    test("two devices of an owner that race for one revision: the first stands, and the other is told", async () => {
      const [mailbox] = await openMailbox();
      mailbox.revision = 2;
      const cards = [1, 2, 3, 4].map(() => mailbox.card());
      const policy = mailbox.policy();
      const replies = await Promise.all(cards.map((card) => mailbox.putRecords(card, policy)));
      const won = replies.findIndex(({ status }) => status === 200);
      for (const [position, reply] of replies.entries()) {
        if (position === won) continue;
        assertProblem(reply, 409, "STALE_REVISION");
        assert.deepEqual(reply.json.record, cards[won]);
      }
      assert.deepEqual((await mailbox.ask("")).json.card, cards[won]);
    });

    test("only by the owner, for this relay, within its life, and with nothing unknown in it", async () => {
      const mailbox = newMailbox();
      mailbox.revision = 1;
      const other = newMailbox();
      other.revision = 1;
      const now = Date.now();
      const cases = [
        [421, "MISDIRECTED_REQUEST", mailbox.card({ relays: ["https://other.example"] }), mailbox.policy()],
        [421, "MISDIRECTED_REQUEST", mailbox.card({ relays: [] }), mailbox.policy()],
        [403, "NOT_THE_OWNER", signRecord("card", other.owner, mailbox.card().payload), mailbox.policy()],
        [403, "NOT_THE_OWNER", mailbox.card(), signRecord("policy", other.owner, mailbox.policy().payload)],
        [403, "SIGNATURE_INVALID", { ...mailbox.card(), signature: other.card().signature }, mailbox.policy()],
        [403, "SIGNATURE_INVALID", mailbox.card(), { ...mailbox.policy(), signature: other.card().signature }],
        [400, "MALFORMED", other.card(), mailbox.policy()],
        [400, "MALFORMED", mailbox.card(), other.policy()],
        [400, "MALFORMED", mailbox.card({ comment: "" }), mailbox.policy()],
        [400, "MALFORMED", mailbox.card(), undefined],
        [400, "MALFORMED", mailbox.card({ revision: 0 }), mailbox.policy()],
        [400, "LIFETIME_TOO_LONG", mailbox.card({ issuedAt: now, expiresAt: now + 91 * DAY_MS }), mailbox.policy()],
        [400, "NOT_YET_VALID", mailbox.card({ issuedAt: now + 60_000 }), mailbox.policy()],
        [400, "EXPIRED", mailbox.card(), mailbox.policy([], { issuedAt: now - 2 * HOUR_MS, expiresAt: now - HOUR_MS })],
        [400, "UNSUPPORTED_VERSION", { ...mailbox.card(), version: 2 }, mailbox.policy()],
        [400, "UNSUPPORTED_ALGORITHM", { ...mailbox.card(), algorithm: "rsa" }, mailbox.policy()],
      ];
      for (const [status, code, card, policy] of cases) assertProblem(await mailbox.putRecords(card, policy), status, code);
      assertProblem(await mailbox.ask(""), 404, "MAILBOX_UNKNOWN");
    });

    test("a policy that leaves a contact out strikes its key off, and it is never listed again", async () => {
      const [mailbox, ann, bob] = await openMailbox([32, 32]);
      await leave(mailbox, ann, 1);
      answered(await mailbox.put([bob]));
      assertProblem(await mailbox.deposit(mailbox.message(ann, 2)), 403, "SLOT_UNKNOWN");
      await leave(mailbox, bob, 1);
      const back = await mailbox.put([ann, bob]);
      assertProblem(back, 409, "SLOT_STRUCK_OFF");
      const names = namesOf(await mailbox.collect());
      assert.deepEqual(names, [`${ann.publicKey} 1`, `${bob.publicKey} 1`], "what waited of it stays");
    });

    test("an address is 64 lower-case hexadecimal digits", async () => {
      for (const address of ["0".repeat(63), "0".repeat(65), "A".repeat(64), "g".repeat(64), "%30".repeat(64)]) {
        for (const rest of ["", "/messages"]) {
          const reply = await call(url, `/v1/mailboxes/${address}${rest}`, rest && { method: "POST" });
          assertProblem(reply, 400, "MALFORMED", /64/);
        }
      }
    });
  });

  test("a mailbox that nobody has opened is unknown to everybody, and asking makes none", async () => {
    await withHost(host, { vars: { ...VARS, MAILBOXES: "1" } }, async ({ url: own }) => {
      for (let times = 0; times < 3; times += 1) {
        const mailbox = new Mailbox(own, { from: newAddress() });
        const slot = newPeer();
        const message = mailbox.message(slot, 1);
        mailbox.revision = 1;
        for (const reply of [
          await mailbox.ask(""),
          await mailbox.deposit(message),
          await mailbox.collect(),
          await mailbox.acknowledge([mailbox.ack(slot, 1)]),
          await mailbox.slot(slot),
          await mailbox.putPrekeys(mailbox.prekeys(1)),
          await mailbox.claim(slot),
          await mailbox.close(),
        ]) {
          assertProblem(reply, 404, "MAILBOX_UNKNOWN");
        }
      }
      const first = new Mailbox(own, { from: newAddress() });
      answered(await first.put(), 201);
      const second = new Mailbox(own, { from: newAddress() });
      assertProblem(await second.put(), 429, "THROTTLED", /1 mailboxes/);
      assertProblem(await second.ask(""), 404, "MAILBOX_UNKNOWN");
      answered(await first.put(), 200);
    });
  });

  describe("a deposit", () => {
    for (const size of BUCKETS) {
      test(`of ${size} bytes is handed over as it came`, async () => {
        const [mailbox, slot] = await openMailbox();
        const message = mailbox.message(slot, 1, { size });
        const { contentId, expiresAt } = message.deposit.payload;
        assert.deepEqual(answered(await mailbox.deposit(message), 201), { accepted: true, contentId, unacknowledged: 1, limit: 32, endsAt: expiresAt });
        const reply = await mailbox.collect();
        const collected = answered(reply);
        const [handed] = collected.messages;
        const { receivedAt, leaseUntil } = handed;
        assert.deepEqual(handed, { deposit: message.deposit, sealed: message.sealed, receivedAt, leaseUntil, lane: "contact" });
        assert.equal(receivedAt % 60_000, 0, "an arrival is told to the minute");
        assert.ok(receivedAt <= Date.now() && receivedAt > Date.now() - 60_000 - PATIENCE_MS);
        assertTime(leaseUntil - 60_000, reply);
        const { messages, ...rest } = collected;
        assert.deepEqual(rest, {
          more: false,
          refused: [],
          pending: { messages: 1, bytes: size, requests: 0 },
          oneTimeKeys: 0,
          policyRevision: 1,
          released: 0,
        });
      });
    }

    test("again, while it waits, is a duplicate that costs nothing", async () => {
      const [mailbox, slot] = await openMailbox([1]);
      const [message] = await leave(mailbox, slot, 1);
      for (let times = 0; times < 3; times += 1) {
        const { accepted, duplicate, unacknowledged } = answered(await mailbox.deposit(message));
        assert.deepEqual([accepted, duplicate, unacknowledged], [false, true, 1]);
      }
      // The same content signed anew, under another number, is the same message.
      const again = mailbox.message(slot, 2, { sealed: Buffer.from(message.sealed, "base64") });
      assert.equal(answered(await mailbox.deposit(again)).duplicate, true);
      assert.equal(answered(await mailbox.collect()).pending.messages, 1);
    });

    test("of the bytes of another sender's is a message of its own", async () => {
      const [mailbox, ann, bob] = await openMailbox([1, 1]);
      const [message] = await leave(mailbox, ann, 1);
      const copy = mailbox.message(bob, 1, { sealed: Buffer.from(message.sealed, "base64") });
      assert.equal(answered(await mailbox.deposit(copy), 201).accepted, true);
    });

    test("is refused for what it is first, then for whom it is, the signature between", async () => {
      // Each is wrong in everything that those before it were wrong in, and in one thing more.
      const unknown = newMailbox();
      const slot = newPeer();
      const now = Date.now();
      const wrong = {};
      const refuse = async (status, code, more) => {
        Object.assign(wrong, more);
        assertProblem(await unknown.deposit(unknown.message(slot, 99, wrong)), status, code);
      };
      await refuse(404, "MAILBOX_UNKNOWN", {});
      await refuse(403, "SIGNATURE_INVALID", { envelope: { signature: Buffer.alloc(64, 7).toString("base64") } });
      await refuse(400, "LIFETIME_TOO_SHORT", { issuedAt: now - 1_000, expiresAt: now + HOUR_MS - 1_001 });
      await refuse(400, "EXPIRED", { issuedAt: now - HOUR_MS, expiresAt: now - 1 });
      await refuse(400, "NOT_YET_VALID", { issuedAt: now + 60_000, expiresAt: now + 60_001 });
      await refuse(400, "LIFETIME_TOO_LONG", { expiresAt: now + 60_001 + 7 * DAY_MS });
      await refuse(400, "CONTENT_MISMATCH", { contentId: contentIdOf(Buffer.from("another")) });
      await refuse(400, "SIZE_NOT_A_BUCKET", { size: 2_047 });
      await refuse(400, "UNSUPPORTED_ALGORITHM", { envelope: { ...wrong.envelope, algorithm: "rsa" } });
      await refuse(400, "UNSUPPORTED_VERSION", { envelope: { ...wrong.envelope, version: 2 } });
      await refuse(400, "MALFORMED", { comment: "" });
      const body = JSON.stringify(unknown.message(slot, 99, wrong)).padEnd(262_145);
      const tooLarge = await unknown.ask("/messages", undefined, { method: "POST", body });
      assertProblem(tooLarge, 413, "BODY_TOO_LARGE");
    });

    test("is refused for the window before its number, and for its number before room", async () => {
      const [mailbox, slot] = await openMailbox([2]);
      const [first] = await leave(mailbox, slot, 1);
      const taken = await mailbox.deposit(mailbox.message(slot, 1, { size: BUCKETS[3] }));
      assertProblem(taken, 409, "SEQUENCE_TAKEN", /first|waits/);
      assert.equal(taken.json.contentId, first.deposit.payload.contentId);
      await leave(mailbox, slot, 2);
      // Numbers 1 and 2 are open: whoever leaves another one under them is told that these are taken.
      assertProblem(await mailbox.deposit(mailbox.message(slot, 2)), 409, "SEQUENCE_TAKEN");
      const closed = await mailbox.deposit(mailbox.message(slot, 3));
      assertProblem(closed, 429, "UNACKNOWLEDGED_LIMIT");
      const { unacknowledged, limit, through, missing } = closed.json;
      assert.deepEqual({ unacknowledged, limit, through, missing }, { unacknowledged: 2, limit: 2, through: 0, missing: [] });
      assert.equal(closed.headers.get("Retry-After"), null, "only the recipient frees it");
      // Both ends know of what was refused.
      const { refused } = answered(await mailbox.collect());
      assert.deepEqual(refused.map(({ slot: key, count }) => [key, count]), [[slot.publicKey, 1]]);
      assert.ok(Math.abs(refused[0].since - Date.now()) < 60_000);
      assertProblem(await mailbox.deposit(mailbox.message(newPeer(), 1)), 403, "SLOT_UNKNOWN");
    });

    test("for which there is no room gets MAILBOX_FULL, and a slot has an eighth of the room", async () => {
      const [mailbox, ann, bob] = await openMailbox([32, 32]);
      answered(await mailbox.deposit(mailbox.message(ann, 1, { size: BUCKETS[3] })), 201);
      const full = await mailbox.deposit(mailbox.message(ann, 2));
      assertProblem(full, 429, "MAILBOX_FULL");
      assert.equal(full.headers.get("Retry-After"), "300");
      await leave(mailbox, bob, 1);
      const { refused } = answered(await mailbox.collect());
      assert.deepEqual(refused.map(({ slot, count }) => [slot, count]), [[ann.publicKey, 1]]);
    });

    test("by an invite comes in until the invite ends", async () => {
      const [invited, late] = [newPeer(), newPeer()];
      const now = Date.now();
      const invites = [
        { expiresAt: now + HOUR_MS, key: invited.publicKey, limit: 1 },
        { expiresAt: now - 1, key: late.publicKey, limit: 1 },
      ];
      const [mailbox] = await openMailbox([], { policy: { invites } });
      await leave(mailbox, invited, 1);
      assertProblem(await mailbox.deposit(mailbox.message(late, 1)), 403, "SLOT_UNKNOWN");
    });

    test("for another mailbox than the one in the path is malformed", async () => {
      const [mailbox, slot] = await openMailbox();
      const other = newMailbox();
      assertProblem(await mailbox.deposit(other.message(slot, 1)), 400, "MALFORMED");
    });

    test("many at once: each number is taken once, and no more wait than may", async () => {
      const [mailbox, slot] = await openMailbox([4]);
      const messages = Array.from({ length: 24 }, (_, number) => mailbox.message(slot, 1 + (number % 8)));
      const replies = await Promise.all(messages.map((message) => mailbox.deposit(message)));
      const count = (code) => replies.filter(({ status, json }) => (status === 201 ? "" : json.code) === code).length;
      assert.deepEqual([count(""), count("SEQUENCE_TAKEN"), count("UNACKNOWLEDGED_LIMIT")], [4, 8, 12]);
      assert.equal(answered(await mailbox.collect()).messages.length, 4);
    });
  });

  describe("collecting", () => {
    test("hands over the oldest first, keeps it from other collectors, and gives the same collector its own again", async () => {
      const [mailbox, ann, bob] = await openMailbox([32, 32]);
      for (const sequence of [1, 2, 3]) for (const slot of [ann, bob]) await leave(mailbox, slot, sequence);
      const all = [1, 2, 3].flatMap((sequence) => [ann, bob].map((slot) => `${slot.publicKey} ${sequence}`));
      const [one, other] = [randomBytes(16), randomBytes(16)].map((bytes) => bytes.toString("base64"));
      const first = await mailbox.collect({ collector: one, limit: 4 });
      assert.deepEqual([namesOf(first), first.json.more], [all.slice(0, 4), true]);
      // Its answer was lost: the same question, signed anew.
      assert.deepEqual(namesOf(await mailbox.collect({ collector: one, limit: 4 })), all.slice(0, 4));
      const second = await mailbox.collect({ collector: other, by: mailbox.owner });
      assert.deepEqual([namesOf(second), second.json.more], [all.slice(4), false]);
      assert.deepEqual(namesOf(await mailbox.collect({ collector: one })), all.slice(0, 4));
      assert.deepEqual(namesOf(await mailbox.collect()), [], "a third one finds nothing");
      assert.equal(answered(await mailbox.collect()).pending.messages, 6, "and nothing is deleted");
    });

    test("by many collectors at once hands each message to one of them", async () => {
      const [mailbox, slot] = await openMailbox();
      await leave(mailbox, slot, ...Array.from({ length: 12 }, (_, number) => number + 1));
      const replies = await Promise.all(Array.from({ length: 6 }, () => mailbox.collect({ limit: 3 })));
      const names = replies.flatMap(namesOf);
      assert.deepEqual([names.length, new Set(names).size], [12, 12]);
    });

    test("hands over one message at least, whatever maxBytes says", async () => {
      const [mailbox, ann, bob] = await openMailbox([32, 32]);
      const large = mailbox.message(ann, 1, { size: BUCKETS[2] });
      answered(await mailbox.deposit(large), 201);
      await leave(mailbox, bob, 1);
      const reply = await mailbox.collect({ maxBytes: 0 });
      assert.deepEqual([namesOf(reply), reply.json.more], [[`${ann.publicKey} 1`], true]);
    });

    test("is for the owner and the readers of the card, once for each nonce, at this relay and now", async () => {
      const [mailbox, slot] = await openMailbox();
      await leave(mailbox, slot, 1);
      assertProblem(await mailbox.collect({ by: slot }), 403, "NOT_A_READER");
      assertProblem(await mailbox.collect({ by: newPeer() }), 403, "NOT_A_READER");
      const collect = mailbox.question();
      assert.equal(answered(await mailbox.ask("/collect", { collect })).messages.length, 1);
      assertProblem(await mailbox.ask("/collect", { collect }), 409, "REPLAYED");
      assertProblem(await mailbox.collect({ audience: "https://other.example" }), 421, "MISDIRECTED_REQUEST");
      assertProblem(await mailbox.collect({ issuedAt: Date.now() - 70_000 }), 400, "EXPIRED");
      assertProblem(await mailbox.collect({ issuedAt: Date.now() + 70_000 }), 400, "NOT_YET_VALID");
      assertProblem(await mailbox.collect({ limit: 0 }), 400, "MALFORMED");
      const forged = { ...mailbox.question(), signature: collect.signature };
      assertProblem(await mailbox.ask("/collect", { collect: forged }), 403, "SIGNATURE_INVALID");
      const asSlot = signRecord("slot", mailbox.reader, mailbox.question().payload);
      assertProblem(await mailbox.ask("/collect", { collect: asSlot }), 403, "SIGNATURE_INVALID");
    });

    test("with a card without readers is the owner's alone", async () => {
      const [mailbox, slot] = await openMailbox([32], { card: { readers: [] } });
      await leave(mailbox, slot, 1);
      assertProblem(await mailbox.collect(), 403, "NOT_A_READER");
      assertProblem(await mailbox.acknowledge([mailbox.ack(slot, 1)]), 403, "NOT_A_READER");
      assert.equal(answered(await mailbox.collect({ by: mailbox.owner })).messages.length, 1);
    });
  });

  describe("an acknowledgement", () => {
    test("releases what it covers, and is the sender's receipt", async () => {
      const [mailbox, slot] = await openMailbox([4]);
      const messages = await leave(mailbox, slot, 1, 2, 3, 4);
      assert.deepEqual(answered(await mailbox.slot(slot)), { ack: null, highest: 4, unacknowledged: 4, limit: 4 });
      const ack = mailbox.ack(slot, 3, { missing: [2] });
      assert.deepEqual(answered(await mailbox.acknowledge([ack])), { released: 2 });
      assert.deepEqual(answered(await mailbox.acknowledge([ack])), { released: 0 }, "the same again");
      assert.deepEqual(answered(await mailbox.slot(slot)), { ack: ack.ack, highest: 4, unacknowledged: 2, limit: 4 });
      const { acknowledged, accepted, ack: receipt } = answered(await mailbox.deposit(messages[0]));
      assert.deepEqual([acknowledged, accepted, receipt], [true, false, ack.ack]);
      assert.deepEqual(namesOf(await mailbox.collect()), [2, 4].map((sequence) => `${slot.publicKey} ${sequence}`));
      await leave(mailbox, slot, 5, 6);
      assertProblem(await mailbox.deposit(mailbox.message(slot, 7)), 429, "UNACKNOWLEDGED_LIMIT");
    });

    test("travels with a collect too, and frees before that looks", async () => {
      const [mailbox, slot] = await openMailbox([2]);
      await leave(mailbox, slot, 1, 2);
      const reply = await mailbox.collect({ acks: [mailbox.ack(slot, 1)] });
      assert.deepEqual(namesOf(reply), [`${slot.publicKey} 2`]);
      assert.deepEqual([reply.json.released, reply.json.pending.messages], [1, 1]);
    });

    test("may be carried by anybody, and made by the owner and the readers alone", async () => {
      const [mailbox, slot] = await openMailbox();
      await leave(mailbox, slot, 1);
      assertProblem(await mailbox.acknowledge([mailbox.ack(slot, 1, { by: slot })]), 403, "NOT_A_READER");
      assertProblem(await mailbox.acknowledge([mailbox.ack(slot, 1, { by: newPeer() })]), 403, "NOT_A_READER");
      assert.equal(answered(await mailbox.collect()).messages.length, 1);
      const carried = await mailbox.acknowledge([mailbox.ack(slot, 1, { by: mailbox.owner })], { from: newAddress() });
      assert.deepEqual(answered(carried), { released: 1 });
    });

    test("with another deposit than the one that it reaches up to, or with none, is malformed, and nothing goes", async () => {
      const [mailbox, slot, other] = await openMailbox([32, 32]);
      await leave(mailbox, slot, 1, 2);
      await leave(mailbox, other, 2);
      const { ack } = mailbox.ack(slot, 2);
      const { of: ofAnother } = mailbox.ack(other, 2);
      const { of: ofLower } = mailbox.ack(slot, 1);
      for (const of of [undefined, null, ofAnother, ofLower]) {
        assertProblem(await mailbox.acknowledge([{ ack, of }]), 400, "MALFORMED");
      }
      const forged = { ...mailbox.ack(slot, 2).of, signature: ofLower.signature };
      assertProblem(await mailbox.acknowledge([{ ack, of: forged }]), 403, "SIGNATURE_INVALID");
      assert.equal(answered(await mailbox.collect()).pending.messages, 3);
    });

    test("beyond the highest number that came needs a deposit that the sender signed, and then closes what is below", async () => {
      const [mailbox, slot] = await openMailbox([2]);
      await leave(mailbox, slot, 1);
      const far = mailbox.ack(slot, 2 ** 53 - 1, { of: mailbox.ack(slot, 1).of });
      assertProblem(await mailbox.acknowledge([far]), 400, "MALFORMED");
      // At another relay the recipient has seen more of this sender.
      const elsewhere = mailbox.message(slot, 9);
      assert.deepEqual(answered(await mailbox.acknowledge([mailbox.ack(slot, 9)])), { released: 1 });
      assert.equal(answered(await mailbox.deposit(elsewhere)).acknowledged, true, "an acknowledgement may come before its deposit");
      assert.equal(answered(await mailbox.deposit(mailbox.message(slot, 5))).acknowledged, true);
      assert.equal(answered(await mailbox.slot(slot)).highest, 9);
      await leave(mailbox, slot, 10, 11);
    });

    test("with more missing than may wait of the slot is malformed", async () => {
      const [mailbox, slot] = await openMailbox([2]);
      mailbox.message(slot, 9);
      assertProblem(await mailbox.acknowledge([mailbox.ack(slot, 9, { missing: [1, 2, 3] })]), 400, "MALFORMED");
      assertProblem(await mailbox.acknowledge(Array(65).fill(mailbox.ack(slot, 9))), 400, "MALFORMED");
    });

    test("of a slot that is not listed is not kept", async () => {
      const [mailbox] = await openMailbox();
      const stranger = newPeer();
      mailbox.message(stranger, 1);
      assert.deepEqual(answered(await mailbox.acknowledge([mailbox.ack(stranger, 1)])), { released: 0 });
      assertProblem(await mailbox.slot(stranger), 403, "SLOT_UNKNOWN");
    });
  });

  describe("prekeys", () => {
    test("are served once each, oldest first, and then the fallback alone", async () => {
      const [mailbox, slot] = await openMailbox();
      const prekeys = mailbox.prekeys(2);
      assert.deepEqual(answered(await mailbox.putPrekeys(prekeys)), { oneTimeKeys: 2 });
      const { curve25519, fallback, oneTime } = prekeys.payload;
      for (const key of [...oneTime, null]) {
        assert.deepEqual(answered(await mailbox.claim(slot)), { curve25519, fallback, oneTime: key });
      }
      assert.equal(answered(await mailbox.collect()).oneTimeKeys, 0);
    });

    test("are added by revision, and one slot key gets three in an hour", async () => {
      const [mailbox, slot, other] = await openMailbox([32, 32]);
      const first = mailbox.prekeys(3, { name: "first" });
      answered(await mailbox.putPrekeys(first));
      assert.deepEqual(answered(await mailbox.putPrekeys(first)), { oneTimeKeys: 3 }, "the same again");
      assertProblem(await mailbox.putPrekeys(mailbox.prekeys(1)), 409, "STALE_REVISION");
      const second = mailbox.prekeys(3, { name: "second", revision: 2 });
      assert.deepEqual(answered(await mailbox.putPrekeys(second)), { oneTimeKeys: 6 });
      for (let times = 0; times < 3; times += 1) assert.ok(answered(await mailbox.claim(slot)).oneTime);
      const fourth = answered(await mailbox.claim(slot));
      assert.deepEqual([fourth.oneTime, fourth.fallback], [null, second.payload.fallback]);
      assert.deepEqual(answered(await mailbox.claim(other)).oneTime, second.payload.oneTime[0]);
    });

    test("claimed at once are each served to one", async () => {
      const [mailbox, ...slots] = await openMailbox(Array(8).fill(1));
      answered(await mailbox.putPrekeys(mailbox.prekeys(8)));
      const claimed = await Promise.all(slots.map((slot) => mailbox.claim(slot, { from: newAddress() })));
      assert.equal(new Set(claimed.map((reply) => answered(reply).oneTime.id)).size, 8);
    });

    test("are not there before the owner has put some, nor for strangers of whom none is asked", async () => {
      const [mailbox, slot] = await openMailbox();
      assertProblem(await mailbox.claim(slot), 404, "PREKEYS_UNKNOWN");
      answered(await mailbox.putPrekeys(mailbox.prekeys(1)));
      assertProblem(await mailbox.claim(newPeer()), 403, "SLOT_UNKNOWN");
      assertProblem(await mailbox.claim(slot, { audience: "https://other.example" }), 421, "MISDIRECTED_REQUEST");
      const stolen = signRecord("prekeys", newPeer(), mailbox.prekeys(1, { revision: 2 }).payload);
      assertProblem(await mailbox.putPrekeys(stolen), 403, "NOT_THE_OWNER");
    });
  });

  describe("requests, where the card opens them", () => {
    const DIFFICULTY = 8;
    const open = { card: { requests: { difficulty: DIFFICULTY, open: true } } };
    const ask = (mailbox, from, message = mailbox.message(newPeer(), 1)) => {
      const proof = mailbox.proofOf(message, DIFFICULTY);
      return mailbox.deposit({ ...message, proof }, { from });
    };

    test("take a proof of work of today, for this message and this mailbox", async () => {
      const [mailbox] = await openMailbox([], open);
      const message = mailbox.message(newPeer(), 1);
      const proof = mailbox.proofOf(message, DIFFICULTY);
      const without = await mailbox.deposit(message);
      assertProblem(without, 403, "PROOF_REQUIRED", /8 bits/);
      const today = dayOf(Date.now());
      assert.equal(without.json.difficulty, DIFFICULTY);
      assert.ok([today, today + 1].includes(without.json.day));
      // Of the numbers below the least solution none is one.
      const weak = { ...proof, solution: proof.solution - 1 };
      if (weak.solution >= 0) assertProblem(await mailbox.deposit({ ...message, proof: weak }), 403, "PROOF_REQUIRED");
      const old = solve({ mailbox: mailbox.address, subject: message.deposit.payload.contentId, difficulty: DIFFICULTY, day: proof.day - 3 });
      assertProblem(await mailbox.deposit({ ...message, proof: old }), 403, "PROOF_REQUIRED");
      assertProblem(await mailbox.deposit({ ...message, proof: { day: "today" } }), 400, "MALFORMED");
      assert.equal(answered(await mailbox.deposit({ ...message, proof }), 201).limit, 2);
      const { messages, pending } = answered(await mailbox.collect());
      assert.deepEqual([messages.map(({ lane }) => lane), pending.requests], [["request"], 1]);
    });

    test("have two messages of a key, of at most 8,192 bytes", async () => {
      const [mailbox] = await openMailbox([], open);
      const stranger = newPeer();
      const large = await ask(mailbox, undefined, mailbox.message(stranger, 1, { size: BUCKETS[2] }));
      assertProblem(large, 400, "SIZE_NOT_A_BUCKET");
      for (const sequence of [1, 2]) answered(await ask(mailbox, undefined, mailbox.message(stranger, sequence, { size: BUCKETS[1] })), 201);
      assertProblem(await ask(mailbox, undefined, mailbox.message(stranger, 3)), 429, "UNACKNOWLEDGED_LIMIT");
    });

    test("a flood from one network takes no other network's place, and no contact's", async () => {
      const [mailbox, contact] = await openMailbox([32], open);
      const quiet = newPeer();
      answered(await ask(mailbox, "198.51.100.1", mailbox.message(quiet, 1)), 201);
      let refused = 0;
      for (let host = 1; host <= 30; host += 1) {
        const reply = await ask(mailbox, `203.0.113.${host}`);
        if (reply.status === 201) continue;
        assertProblem(reply, 429, "MAILBOX_FULL");
        refused += 1;
      }
      assert.ok(refused > 0, "a flood was never refused");
      answered(await ask(mailbox, "192.0.2.1"), 201);
      await leave(mailbox, contact, ...Array.from({ length: 32 }, (_, number) => number + 1));
      const { messages, pending } = answered(await mailbox.collect());
      assert.equal(pending.requests, 12);
      const names = messages.map(({ deposit, lane }) => `${lane} ${deposit.publicKey}`);
      assert.ok(names.includes(`request ${quiet.publicKey}`), "the flood took another network's place");
      assert.equal(names.filter((name) => name === `contact ${contact.publicKey}`).length, 32);
    });

    test("a stranger claims the fallback alone, by a proof of work", async () => {
      const [mailbox] = await openMailbox([], open);
      const prekeys = mailbox.prekeys(5);
      answered(await mailbox.putPrekeys(prekeys));
      assertProblem(await mailbox.claim(newPeer()), 403, "PROOF_REQUIRED");
      const claimed = answered(await mailbox.claim(newPeer(), { difficulty: DIFFICULTY }));
      assert.deepEqual([claimed.oneTime, claimed.fallback], [null, prekeys.payload.fallback]);
    });

    test("are refused where it does not", async () => {
      const [mailbox] = await openMailbox();
      assertProblem(await ask(mailbox), 403, "SLOT_UNKNOWN");
    });
  });

  describe("news", () => {
    const pending = (count) => ({ event: "messages", pending: count });

    test("is told to readers when a message comes, and to a sender when one is acknowledged", async () => {
      const [mailbox, ann, bob] = await openMailbox([32, 32]);
      await leave(mailbox, ann, 1);
      const listeners = await Promise.all([mailbox.reader, mailbox.owner].map((key) => mailbox.listen(mailbox.greeting(key))));
      const [sender, other] = await Promise.all([ann, bob].map((key) => mailbox.listen(mailbox.greeting(key))));
      for (const listener of listeners) await listener.until(pending(1));
      await leave(mailbox, bob, 1);
      for (const listener of listeners) await listener.until(pending(2));
      const ack = mailbox.ack(ann, 1);
      answered(await mailbox.acknowledge([ack]));
      await sender.until({ event: "ack", ack: ack.ack });
      sender.socket.send("ping");
      await sender.until("pong");
      assert.deepEqual(other.messages, [], "what is another sender's");
      // Whoever comes later is told at once.
      const late = await mailbox.listen(mailbox.greeting(ann));
      await late.until({ event: "ack", ack: ack.ack });
      assert.deepEqual(await sender.closed, { code: 4209, reason: "REPLACED" });
      await Promise.all([...listeners, late, other].map((listener) => listener.close()));
    });

    test("is told to nobody else: the first message says who listens, signed, for this relay and now", async () => {
      const [mailbox, slot] = await openMailbox();
      const elsewhere = newMailbox();
      const cases = [
        ["SLOT_UNKNOWN", mailbox, mailbox.greeting(newPeer())],
        ["SIGNATURE_INVALID", mailbox, { ...mailbox.greeting(slot), signature: mailbox.greeting(newPeer()).signature }],
        ["SIGNATURE_INVALID", mailbox, signRecord("slot", slot, mailbox.greeting(slot).payload)],
        ["MISDIRECTED_REQUEST", mailbox, mailbox.greeting(slot, { audience: "https://other.example" })],
        ["EXPIRED", mailbox, mailbox.greeting(slot, { issuedAt: Date.now() - 70_000 })],
        ["MALFORMED", mailbox, elsewhere.greeting(slot)],
        ["MALFORMED", mailbox, "{"],
        ["MAILBOX_UNKNOWN", elsewhere, elsewhere.greeting(slot)],
      ];
      for (const [code, target, first] of cases) {
        const listener = await target.listen(first, { from: newAddress() });
        assert.deepEqual(await listener.closed, { code: 4503, reason: "KEY_REFUSED" }, code);
        assert.deepEqual(listener.messages.map(({ event, code }) => [event, code]), [["error", code]]);
      }
    });

    test("ends for a key that is struck off, for all when the mailbox is closed, and for the oldest of nine readers", async () => {
      const [mailbox, ann, bob] = await openMailbox([32, 32]);
      const [struck, kept] = await Promise.all([ann, bob].map((key) => mailbox.listen(mailbox.greeting(key))));
      const readers = [];
      for (let number = 0; number < 9; number += 1) {
        readers.push(await mailbox.listen(mailbox.greeting(mailbox.reader), { from: newAddress() }));
        await readers.at(-1).until(pending(0));
      }
      assert.deepEqual((await readers[0].closed).reason, "LIVE_FULL");
      answered(await mailbox.put([bob]));
      assert.deepEqual(await struck.closed, { code: 4503, reason: "KEY_REFUSED" });
      await leave(mailbox, bob, 1);
      for (const reader of readers.slice(1)) await reader.until(pending(1));
      answered(await mailbox.close());
      for (const listener of [kept, ...readers.slice(1)]) assert.equal((await listener.closed).reason, "KEY_REFUSED");
    });

    test("a household has sixteen connections at all mailboxes together", async () => {
      const from = newAddress();
      const mailboxes = Array.from({ length: 17 }, () => newMailbox({ from }));
      const last = mailboxes.pop();
      const listeners = await Promise.all(mailboxes.map((mailbox) => mailbox.listen()));
      const handshake = upgradeRequest(url, `/v1/mailboxes/${last.address}/live`, { [ADDRESS_HEADER]: from });
      const ask = () => raw(url, handshake, (socket) => socket.once("data", () => socket.destroy()));
      assert.match(await ask(), /^HTTP\/1\.1 503 [^]*\r\nretry-after: 60\r\n/i);
      await listeners.pop().close();
      await eventually(ask, (answer) => answer.startsWith("HTTP/1.1 101 "));
      await Promise.all(listeners.map((listener) => listener.close()));
    });

    test("a connection on which nobody says who listens ends after ten seconds, whatever is pinged", async () => {
      const mailbox = newMailbox();
      const started = Date.now();
      const silent = await mailbox.listen();
      silent.socket.send("ping");
      await silent.until("pong");
      assert.deepEqual(await silent.closed, { code: 4100, reason: "AGAIN" });
      assert.ok(Date.now() - started > 9_000);
    });
  });

  describe("closing", () => {
    test("deletes everything, says so, and nothing older rises again", async () => {
      const [mailbox, slot] = await openMailbox();
      const [message] = await leave(mailbox, slot, 1);
      const [card, policy] = [mailbox.card(), mailbox.policy([slot])];
      assertProblem(await mailbox.close({ revision: 1 }), 409, "STALE_REVISION");
      const stolen = { close: signRecord("close", mailbox.reader, { mailbox: mailbox.address, revision: 9 }) };
      assertProblem(await mailbox.ask("/close", stolen), 403, "NOT_THE_OWNER");
      answered(await mailbox.close({ revision: 5 }));
      answered(await mailbox.close({ revision: 5 }));
      for (const reply of [await mailbox.ask(""), await mailbox.deposit(message), await mailbox.collect(), await mailbox.slot(slot)]) {
        assertProblem(reply, 410, "MAILBOX_CLOSED");
      }
      assertProblem(await mailbox.putRecords(card, policy), 409, "STALE_REVISION");
      mailbox.revision = 5;
      answered(await mailbox.put([slot]), 201);
      assert.deepEqual(namesOf(await mailbox.collect()), []);
    });
  });

  describe("the HTTP interface", () => {
    const PATHS = {
      "": "GET, HEAD, PUT, OPTIONS",
      "/messages": "POST, OPTIONS",
      "/collect": "POST, OPTIONS",
      "/acks": "POST, OPTIONS",
      "/slot": "POST, OPTIONS",
      "/prekeys": "PUT, OPTIONS",
      "/prekeys/claim": "POST, OPTIONS",
      "/close": "POST, OPTIONS",
    };

    test("a page of any origin may ask: preflights get 204", async () => {
      const mailbox = newMailbox();
      for (const rest of Object.keys(PATHS)) {
        const { status, headers, text } = await mailbox.ask(rest, undefined, { method: "OPTIONS" });
        assert.deepEqual([status, text], [204, ""], rest);
        assert.equal(headers.get("Access-Control-Allow-Origin"), "*");
        const methods = headers.get("Access-Control-Allow-Methods").split(", ");
        for (const method of ["GET", "POST", "PUT"]) assert.ok(methods.includes(method), `${rest}: ${methods}`);
      }
    });

    test("another method is 405 with those that there are, another path 404", async () => {
      const mailbox = newMailbox();
      for (const [rest, allow] of Object.entries(PATHS)) {
        const reply = await mailbox.ask(rest, undefined, { method: "DELETE" });
        assertProblem(reply, 405, "METHOD_NOT_ALLOWED");
        assert.equal(reply.headers.get("Allow"), allow, rest);
      }
      for (const rest of ["/", "/message", "/messages/1", "/prekeys/claim/1"]) {
        assertProblem(await mailbox.ask(rest), 404, "NOT_FOUND");
      }
    });

    test("what is not JSON, or not UTF-8, is malformed, and an answer may be read by any page", async () => {
      const mailbox = newMailbox();
      for (const body of ["", "{", "[]", "null", Buffer.from([0xff, 0xfe])]) {
        for (const rest of ["/messages", "/collect", "/acks", "/slot", "/prekeys/claim", "/close"]) {
          const reply = await mailbox.ask(rest, undefined, { method: "POST", body });
          assertProblem(reply, 400, "MALFORMED");
          assert.equal(reply.headers.get("Access-Control-Allow-Origin"), "*");
        }
      }
    });

    test("too many requests of one address are told when to come again", async () => {
      await withHost(host, { vars: { EXTERNAL_URLS: RELAY, ADDRESS_REQUESTS_PER_MINUTE: "3" } }, async ({ url: own }) => {
        const mailbox = new Mailbox(own, { from: "192.0.2.1" });
        answered(await mailbox.put(), 201);
        for (let times = 0; times < 2; times += 1) answered(await mailbox.collect());
        for (const reply of [await mailbox.collect(), await mailbox.deposit(mailbox.message(newPeer(), 1)), await mailbox.ask("")]) {
          assertProblem(reply, 429, "THROTTLED");
          assert.ok(Number(reply.headers.get("Retry-After")) > 0);
        }
        answered(await mailbox.collect({ from: "198.51.100.1" }));
      });
    });

    test("a request counts as more for a long body, for many signatures, and where it does not say how long it is", async () => {
      const mailbox = newMailbox();
      const slot = newPeer();
      mailbox.message(slot, 1);
      const acks = JSON.stringify({ acks: Array(64).fill(mailbox.ack(slot, 1)) });
      const bodies = {
        "192.0.2.1": [400, () => ({ body: " ".repeat(262_144) })],
        "192.0.2.2": [404, () => ({ body: acks })],
        "192.0.2.3": [400, () => ({ body: new Blob(["{}"]).stream(), duplex: "half" })],
      };
      await withHost(host, { vars: { EXTERNAL_URLS: RELAY, ADDRESS_REQUESTS_PER_MINUTE: "20" } }, async ({ url: own }) => {
        mailbox.url = own;
        for (const [from, [status, body]] of Object.entries(bodies)) {
          const ask = () => mailbox.ask("/acks", undefined, { method: "POST", from, ...body() });
          assert.equal((await ask()).status, status, from);
          assertProblem(await ask(), 429, "THROTTLED");
          assertProblem(await mailbox.ask("", undefined, { from }), 404, "MAILBOX_UNKNOWN");
        }
      });
    });

    test("bodies that never end take so much memory, and no more from one household", async (context) => {
      const relay = await host.start({ vars: { ...VARS, DOORS: "v1,retalk" } });
      context.after(() => relay.stop());
      const { hostname, port, host: named } = new URL(relay.url);
      const length = 262_144;
      const paths = ["/", `/v1/mailboxes/${"a".repeat(64)}/messages`];
      /** Begins 40 bodies, through each door, with and without a length. */
      const stall = () =>
        Array.from({ length: 40 }, (_, number) => {
          const socket = connect(Number(port), hostname).on("error", () => {});
          context.after(() => socket.destroy());
          const head = `POST ${paths[number % 2]} HTTP/1.1\r\nHost: ${named}\r\n${ADDRESS_HEADER}: 192.0.2.1\r\n`;
          const framing = number % 4 < 2 ? `Content-Length: ${length}\r\n\r\n` : `Transfer-Encoding: chunked\r\n\r\n${length.toString(16)}\r\n`;
          let answer = "";
          socket.setEncoding("utf8").on("data", (text) => (answer += text));
          socket.write(head + framing + " ".repeat(length - 1));
          return { socket, status: () => answer.slice(9, 12) };
        });
      const whole = async (address, path = paths[1]) =>
        (await call(relay.url, path, { method: "POST", body: " ".repeat(length), address })).status;
      const isFull = () =>
        eventually(
          () => Promise.all(paths.map((path) => whole("192.0.2.1", path))),
          (statuses) => statuses.every((status) => status === 429),
        );
      const hasRoom = () => eventually(() => whole("192.0.2.1"), (status) => status === 400);
      const stalled = stall();
      await isFull();
      // Others, and what is short, are served.
      for (const path of paths) assert.equal(await whole("198.51.100.1", path), 400);
      assert.equal((await announce(relay.url, signTicket(newPeer()), { address: "192.0.2.1" })).status, 200);
      await eventually(async () => stalled.map(({ status }) => status()), (statuses) => statuses.every((status) => status === "408"));
      await hasRoom();
      const broken = stall();
      await isFull();
      broken.forEach(({ socket }) => socket.destroy());
      await hasRoom();
    });

    test("one network opens ten mailboxes a day", async () => {
      await withHost(host, { vars: VARS }, async ({ url: own }) => {
        const open = (from) => new Mailbox(own, { from }).put();
        for (let number = 0; number < 10; number += 1) answered(await open("192.0.2.1"), 201);
        const refused = await open("192.0.2.1");
        assertProblem(refused, 429, "THROTTLED");
        answered(await open("198.51.100.1"), 201);
      });
    });
  });

  test("what waits, who may write and what was acknowledged outlive a restart, whether or not anybody asks for one", async () => {
    const state = await mkdtemp(join(tmpdir(), "mailbox-test-"));
    const [ann, bob] = [newPeer(), newPeer()];
    const mailbox = new Mailbox(undefined, { from: newAddress() });
    const collector = randomBytes(16).toString("base64");
    try {
      let receipt;
      await withHost(host, { vars: VARS, state }, async (running) => {
        mailbox.url = running.url;
        answered(await mailbox.put([ann, bob]), 201);
        await leave(mailbox, ann, 1, 2, 3);
        await leave(mailbox, bob, 1);
        receipt = mailbox.ack(ann, 1);
        answered(await mailbox.acknowledge([receipt]));
        answered(await mailbox.putPrekeys(mailbox.prekeys(2)));
        assert.equal(namesOf(await mailbox.collect({ collector, limit: 1 })).length, 1);
        assert.ok(answered(await mailbox.claim(ann)).oneTime);
        await running.kill();
      });
      await withHost(host, { vars: VARS, state }, async (running) => {
        mailbox.url = running.url;
        assert.deepEqual(answered(await mailbox.slot(ann)), { ack: receipt.ack, highest: 3, unacknowledged: 2, limit: 32 });
        const others = namesOf(await mailbox.collect());
        assert.deepEqual(others, [`${ann.publicKey} 3`, `${bob.publicKey} 1`], "what another was given stays kept for it");
        assert.deepEqual(namesOf(await mailbox.collect({ collector })), [`${ann.publicKey} 2`]);
        assert.equal(answered(await mailbox.collect()).oneTimeKeys, 1);
        await leave(mailbox, bob, 2);
      });
      await withHost(host, { vars: VARS, state }, async (running) => {
        mailbox.url = running.url;
        assert.equal(answered(await mailbox.collect()).pending.messages, 4);
        answered(await mailbox.close());
        await running.kill();
      });
      await withHost(host, { vars: VARS, state }, async (running) => {
        mailbox.url = running.url;
        assertProblem(await mailbox.ask(""), 410, "MAILBOX_CLOSED");
      });
    } finally {
      await rm(state, { recursive: true, force: true, maxRetries: 5 });
    }
  });

  test("the log has nothing of all this, no address and no key", () => {
    const lines = log.filter((line) => ![...host.notes, ...host.asides].some((event) => line.includes(`"event":"${event}"`)));
    assert.deepEqual(lines, []);
  });
});
