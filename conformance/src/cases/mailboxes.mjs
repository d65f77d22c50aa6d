// Section 17 of the specification: a mailbox at a relay, through its door.

import assert from "node:assert/strict";
import { DAY_MS, HOUR_MS, Mailbox, SIZES, addressOf, contentIdOf, dayOf, sequencesOf, signRecord, solve } from "../mailbox.mjs";
import { base64, newKey } from "../signing.mjs";
import { Socket } from "../socket.mjs";

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

const add = (id, title, run, attack) => cases.push({ id: `mailboxes.${id}`, spec: "17", title, level: "full", attack, run });

const isOk = (reply, status = 200) => {
  assert.equal(reply.status, status, reply.text.slice(0, 300));
  assert.equal(reply.json.ok, true);
  return reply.json;
};

add("relay", "GET /v1/relay says for which origins it is, by which doors, and its limits", async (trial) => {
  const { audiences, doors, limits } = isOk(await trial.request("/v1/relay"));
  assert.ok(audiences.includes(trial.beacon.audience), `audiences are ${audiences}, --audience is ${trial.beacon.audience}`);
  assert.ok(doors.includes("v1"));
  assert.equal(typeof limits, "object");
});

// Opening

add("open", "a card and a policy open a mailbox: 201", async (trial) => {
  const mailbox = new Mailbox(trial);
  const { revision, policyRevision } = isOk(await mailbox.put(), 201);
  trial.after(() => mailbox.close());
  assert.deepEqual([revision, policyRevision], [1, 1]);
});
add("card", "everybody is shown the card, which caches may keep for a minute", async (trial) => {
  const [mailbox] = await Mailbox.open(trial);
  const reply = await mailbox.ask("");
  const { card } = isOk(reply);
  assert.equal(card.payload.mailbox, mailbox.address);
  assert.equal(reply.headers["cache-control"], "public, max-age=60");
});
add(
  "policy-is-secret",
  "nobody is shown the policy",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial);
    assert.ok(!(await mailbox.ask("")).text.includes(slot.publicKey));
  },
  "mail-theft",
);
add("unknown", "a mailbox that nobody has opened is MAILBOX_UNKNOWN to everybody", async (trial) => {
  const mailbox = new Mailbox(trial);
  mailbox.revision = 1;
  const slot = newKey();
  for (const reply of [
    await mailbox.ask(""),
    await mailbox.deposit(mailbox.message(slot)),
    await mailbox.collect(),
    await mailbox.slot(slot),
    await mailbox.claim(slot),
    await mailbox.close(),
  ]) {
    trial.isRefused(reply, "MAILBOX_UNKNOWN");
  }
});
for (const [name, address] of [
  ["63-digits", "0".repeat(63)],
  ["65-digits", "0".repeat(65)],
  ["upper-case", "A".repeat(64)],
  ["no-digit", "g".repeat(64)],
]) {
  add(`address.${name}`, "an address that is not 64 lower-case hexadecimal digits is MALFORMED", async (trial) =>
    trial.isRefused(await trial.request(`/v1/mailboxes/${address}`), "MALFORMED"),
  );
}
add("revision.higher", "a higher revision replaces", async (trial) => {
  const [mailbox] = await Mailbox.open(trial);
  mailbox.revision = 7;
  const card = mailbox.card();
  assert.equal(isOk(await mailbox.putRecords(card, mailbox.policy())).revision, 7);
  assert.deepEqual((await mailbox.ask("")).json.card, card);
});
add("revision.same", "the very same again changes nothing", async (trial) => {
  const mailbox = new Mailbox(trial);
  mailbox.revision = 1;
  const records = [mailbox.card(), mailbox.policy()];
  isOk(await mailbox.putRecords(...records), 201);
  trial.after(() => mailbox.close());
  isOk(await mailbox.putRecords(...records));
});
add(
  "revision.lower",
  "a lower revision is STALE_REVISION, with the record that stands",
  async (trial) => {
    const mailbox = new Mailbox(trial);
    mailbox.revision = 3;
    const card = mailbox.card();
    isOk(await mailbox.putRecords(card, mailbox.policy()), 201);
    trial.after(() => mailbox.close());
    mailbox.revision = 2;
    const reply = await mailbox.putRecords(mailbox.card(), mailbox.policy());
    trial.isRefused(reply, "STALE_REVISION");
    assert.deepEqual(reply.json.record, card);
    mailbox.revision = 3;
  },
  "replay",
);
add(
  "revision.equal",
  "another record of the same revision is STALE_REVISION",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial);
    trial.isRefused(await mailbox.putRecords(mailbox.card({ readers: [] }), mailbox.policy()), "STALE_REVISION");
  },
  "replay",
);
add(
  "struck-off",
  "a key that a policy leaves out writes no more, and is never listed again",
  async (trial) => {
    const [mailbox, ann, bob] = await Mailbox.open(trial, [32, 32]);
    await mailbox.leave(ann, 1);
    isOk(await mailbox.put([bob]));
    trial.isRefused(await mailbox.deposit(mailbox.message(ann, 2)), "SLOT_UNKNOWN");
    trial.isRefused(await mailbox.put([ann, bob]), "SLOT_STRUCK_OFF");
    assert.equal(await mailbox.pending(), 1, "what waits of it stays");
  },
  "mail-forgery",
);

/** Refuses records by which a mailbox would be opened. */
const opening = (id, code, title, make, attack) =>
  add(
    `open.refused.${id}`,
    `${title}: ${code}`,
    async (trial) => {
      const mailbox = new Mailbox(trial);
      mailbox.revision = 1;
      trial.isRefused(await mailbox.putRecords(...make(mailbox, trial)), code);
      trial.isRefused(await mailbox.ask(""), "MAILBOX_UNKNOWN");
    },
    attack,
  );
opening(
  "another-relay",
  "MISDIRECTED_REQUEST",
  "a card that does not list this relay",
  (box) => [box.card({ relays: ["https://other.example"] }), box.policy()],
  "replay",
);
opening("no-relay", "MISDIRECTED_REQUEST", "a card without relays", (box) => [box.card({ relays: [] }), box.policy()]);
opening("card-by-another", "NOT_THE_OWNER", "a card by another key", (box) => [box.card({ by: newKey() }), box.policy()], "mail-forgery");
opening(
  "policy-by-another",
  "NOT_THE_OWNER",
  "a policy by another key",
  (box) => [box.card(), box.policy([], { by: newKey() })],
  "mail-forgery",
);
opening(
  "policy-by-reader",
  "NOT_THE_OWNER",
  "a policy by a reader",
  (box) => [box.card(), box.policy([], { by: box.reader })],
  "mail-forgery",
);
opening(
  "card-forged",
  "SIGNATURE_INVALID",
  "a card with a wrong signature",
  (box) => [box.card({ envelope: { signature: base64(64) } }), box.policy()],
  "mail-forgery",
);
opening(
  "policy-forged",
  "SIGNATURE_INVALID",
  "a policy with a wrong signature",
  (box) => [box.card(), box.policy([], { envelope: { signature: base64(64) } })],
  "mail-forgery",
);
opening(
  "purpose",
  "SIGNATURE_INVALID",
  "a policy that was signed as something else",
  (box) => {
    const { payload } = box.policy();
    return [box.card(), signRecord("close", box.owner, payload)];
  },
  "confusion",
);
opening("unknown-field", "MALFORMED", "a card with an unknown field", (box) => [box.card({ comment: "" }), box.policy()], "confusion");
opening("null", "MALFORMED", "null in a card", (box) => [box.card({ readers: null }), box.policy()]);
opening("no-policy", "MALFORMED", "a card without a policy", (box) => [box.card(), undefined]);
opening("revision-zero", "MALFORMED", "revision 0", (box) => [box.card({ revision: 0 }), box.policy()]);
opening("nine-readers", "MALFORMED", "nine readers", (box) => [
  box.card({ readers: Array.from({ length: 9 }, () => newKey().publicKey) }),
  box.policy(),
]);
opening("five-relays", "MALFORMED", "five relays", (box) => [
  box.card({ relays: [box.audience, 1, 2, 3, 4].map((at) => (at === box.audience ? at : `https://r${at}.example`)) }),
  box.policy(),
]);
opening("relay-with-path", "MALFORMED", "a relay that is not an origin", (box) => [
  box.card({ relays: [box.audience, "https://r.example/path"] }),
  box.policy(),
]);
opening("no-sealing-key", "MALFORMED", "a card without a sealing key", (box) => [box.card({ sealing: [] }), box.policy()]);
opening("limit-33", "MALFORMED", "a contact's limit of 33", (box) => [
  box.card(),
  box.policy([{ publicKey: newKey().publicKey, limit: 33 }]),
]);
opening("contact-twice", "MALFORMED", "a contact twice", (box) => {
  const { publicKey } = newKey();
  return [box.card(), box.policy([{ publicKey }, { publicKey }])];
});
opening(
  "of-another-mailbox",
  "MALFORMED",
  "a policy of another mailbox",
  (box, trial) => {
    const other = new Mailbox(trial);
    other.revision = 1;
    return [box.card(), other.policy()];
  },
  "confusion",
);
opening(
  "too-long",
  "LIFETIME_TOO_LONG",
  "a card of 91 days",
  (box, trial) => [box.card({ issuedAt: trial.now(), expiresAt: trial.now() + 91 * DAY_MS }), box.policy()],
  "future",
);
opening(
  "not-yet",
  "NOT_YET_VALID",
  "a card of later",
  (box, trial) => [box.card({ issuedAt: trial.now() + 60_000 }), box.policy()],
  "future",
);
opening(
  "expired",
  "EXPIRED",
  "a policy that has expired",
  (box, trial) => [box.card(), box.policy([], { issuedAt: trial.now() - 2 * HOUR_MS, expiresAt: trial.now() - HOUR_MS })],
  "replay",
);
opening("version", "UNSUPPORTED_VERSION", "version 2", (box) => [box.card({ envelope: { version: 2 } }), box.policy()]);
opening("algorithm", "UNSUPPORTED_ALGORITHM", "another algorithm", (box) => [box.card({ envelope: { algorithm: "rsa" } }), box.policy()]);

// Deposits

for (const size of SIZES) {
  add(`deposit.${size}-bytes`, `a message of ${size} bytes is taken, and handed over as it came`, async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial);
    const message = mailbox.message(slot, 1, { size });
    const { accepted, contentId, unacknowledged, limit, endsAt } = isOk(await mailbox.deposit(message), 201);
    const { payload } = message.deposit;
    assert.deepEqual(
      { accepted, contentId, unacknowledged, limit, endsAt },
      { accepted: true, contentId: payload.contentId, unacknowledged: 1, limit: 32, endsAt: payload.expiresAt },
    );
    const [handed] = isOk(await mailbox.collect()).messages;
    assert.deepEqual([handed.deposit, handed.sealed], [message.deposit, message.sealed]);
  });
}
add(
  "deposit.again",
  "the same again, while it waits, is a duplicate",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial, [1]);
    const [message] = await mailbox.leave(slot, 1);
    const { accepted, duplicate, unacknowledged } = isOk(await mailbox.deposit(message));
    assert.deepEqual([accepted, duplicate, unacknowledged], [false, true, 1]);
    assert.equal(await mailbox.pending(), 1);
  },
  "replay",
);
add(
  "deposit.sequence-taken",
  "another message under a number that waits is SEQUENCE_TAKEN: the first stands",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial);
    const [first] = await mailbox.leave(slot, 1);
    const reply = await mailbox.deposit(mailbox.message(slot, 1));
    trial.isRefused(reply, "SEQUENCE_TAKEN");
    assert.equal(reply.json.contentId, first.deposit.payload.contentId);
  },
  "mail-forgery",
);
add(
  "deposit.window",
  "beyond the window it is UNACKNOWLEDGED_LIMIT, with what a sender needs and no Retry-After",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial, [2]);
    await mailbox.leave(slot, 1, 2);
    const reply = await mailbox.deposit(mailbox.message(slot, 3));
    trial.isRefused(reply, "UNACKNOWLEDGED_LIMIT");
    const { unacknowledged, limit, through, missing } = reply.json;
    assert.deepEqual({ unacknowledged, limit, through, missing }, { unacknowledged: 2, limit: 2, through: 0, missing: [] });
    assert.equal(reply.headers["retry-after"], undefined);
  },
  "exhaustion",
);
add("deposit.window.skipped", "a number that is skipped keeps its place in the window", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial, [2]);
  await mailbox.leave(slot, 2);
  trial.isRefused(await mailbox.deposit(mailbox.message(slot, 3)), "UNACKNOWLEDGED_LIMIT");
  await mailbox.leave(slot, 1);
});
add(
  "deposit.at-once",
  "of many at once each number is taken once",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial, [4]);
    const replies = await Promise.all(Array.from({ length: 16 }, (_, at) => mailbox.deposit(mailbox.message(slot, 1 + (at % 8)))));
    assert.equal(replies.filter(({ status }) => status === 201).length, 4);
    assert.equal(await mailbox.pending(), 4);
  },
  "exhaustion",
);
add(
  "deposit.slot-has-an-eighth",
  "a slot has an eighth of the room, then it is MAILBOX_FULL",
  async (trial) => {
    const [mailbox, ann, bob] = await Mailbox.open(trial, [32, 32]);
    isOk(await mailbox.deposit(mailbox.message(ann, 1, { size: SIZES[3] })), 201);
    const reply = await mailbox.deposit(mailbox.message(ann, 2));
    trial.isRefused(reply, "MAILBOX_FULL");
    assert.ok(Number(reply.headers["retry-after"]) > 0);
    await mailbox.leave(bob, 1);
  },
  "exhaustion",
);
add("deposit.refused-is-told", "the recipient is told which slots were refused", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial, [1]);
  await mailbox.leave(slot, 1);
  await mailbox.deposit(mailbox.message(slot, 2));
  const { refused } = isOk(await mailbox.collect());
  assert.deepEqual(
    refused.map(({ slot: key, count }) => [key, count]),
    [[slot.publicKey, 1]],
  );
});
add("deposit.invite", "an invite lets in until it ends", async (trial) => {
  const [invited, late] = [newKey(), newKey()];
  const invites = [
    { expiresAt: trial.now() + HOUR_MS, key: invited.publicKey, limit: 1 },
    { expiresAt: trial.now() - 1, key: late.publicKey, limit: 1 },
  ];
  const [mailbox] = await Mailbox.open(trial, [], { policy: { invites } });
  await mailbox.leave(invited, 1);
  trial.isRefused(await mailbox.deposit(mailbox.message(late, 1)), "SLOT_UNKNOWN");
});

/** Refuses a deposit by name, and nothing waits afterwards. */
const depositing = (id, code, title, make, attack) =>
  add(
    `deposit.refused.${id}`,
    `${title}: ${code}`,
    async (trial) => {
      const [mailbox, slot] = await Mailbox.open(trial);
      trial.isRefused(await mailbox.deposit(await make(mailbox, slot, trial)), code);
      assert.equal(await mailbox.pending(), 0);
    },
    attack,
  );
depositing("stranger", "SLOT_UNKNOWN", "a stranger's message", (box) => box.message(newKey()), "mail-forgery");
depositing(
  "forged",
  "SIGNATURE_INVALID",
  "a contact's message with a wrong signature",
  (box, slot) => box.message(slot, 1, { envelope: { signature: base64(64) } }),
  "mail-forgery",
);
depositing(
  "by-another",
  "SIGNATURE_INVALID",
  "a message in a contact's name",
  (box, slot) => box.message(slot, 1, { by: newKey(), envelope: { publicKey: slot.publicKey } }),
  "mail-forgery",
);
depositing(
  "purpose",
  "SIGNATURE_INVALID",
  "a deposit that was signed as something else",
  (box, slot) => {
    const message = box.message(slot);
    return { ...message, deposit: signRecord("ack", slot, message.deposit.payload) };
  },
  "confusion",
);
depositing(
  "another-mailbox",
  "MALFORMED",
  "a message for another mailbox",
  (_, slot, trial) => new Mailbox(trial).message(slot),
  "mail-theft",
);
depositing(
  "moved",
  "SIGNATURE_INVALID",
  "a message that was signed for another mailbox",
  (box, slot, trial) => {
    const { deposit, sealed } = new Mailbox(trial).message(slot);
    return { sealed, deposit: { ...deposit, payload: { ...deposit.payload, mailbox: box.address } } };
  },
  "mail-theft",
);
depositing(
  "sequence-changed",
  "SIGNATURE_INVALID",
  "a number changed after signing",
  (box, slot) => {
    const { deposit, sealed } = box.message(slot);
    return { sealed, deposit: { ...deposit, payload: { ...deposit.payload, sequence: 2 } } };
  },
  "tampering",
);
depositing(
  "content",
  "CONTENT_MISMATCH",
  "other bytes than were signed",
  (box, slot) => ({ ...box.message(slot), sealed: base64(SIZES[0]) }),
  "tampering",
);
depositing(
  "content-id",
  "CONTENT_MISMATCH",
  "another content id",
  (box, slot) => box.message(slot, 1, { contentId: contentIdOf("another") }),
  "tampering",
);
depositing("size", "SIZE_NOT_A_BUCKET", "a size that is not one of four", (box, slot) =>
  box.message(slot, 1, { sealed: Buffer.alloc(2_047) }),
);
depositing("size-lies", "SIZE_NOT_A_BUCKET", "another size than that of the bytes", (box, slot) => ({
  ...box.message(slot, 1, { size: SIZES[1] }),
  sealed: base64(SIZES[0]),
}));
depositing("sequence-zero", "MALFORMED", "sequence 0", (box, slot) => box.message(slot, 0));
depositing("unknown-field", "MALFORMED", "an unknown field", (box, slot) => box.message(slot, 1, { comment: "" }), "confusion");
depositing(
  "unknown-beside",
  "MALFORMED",
  "an unknown field beside the record",
  (box, slot) => ({ ...box.message(slot), more: 1 }),
  "confusion",
);
depositing("not-base64", "MALFORMED", "sealed bytes that are not base64", (box, slot) => ({ ...box.message(slot), sealed: "*" }));
depositing(
  "too-long",
  "LIFETIME_TOO_LONG",
  "a message of more than 7 days",
  (box, slot, trial) => box.message(slot, 1, { issuedAt: trial.now(), expiresAt: trial.now() + 7 * DAY_MS + 1_000 }),
  "future",
);
depositing("too-short", "LIFETIME_TOO_SHORT", "a message of less than an hour", (box, slot, trial) =>
  box.message(slot, 1, { issuedAt: trial.now(), expiresAt: trial.now() + HOUR_MS - 1_000 }),
);
depositing(
  "not-yet",
  "NOT_YET_VALID",
  "a message of later",
  (box, slot, trial) => box.message(slot, 1, { issuedAt: trial.now() + 60_000, expiresAt: trial.now() + DAY_MS }),
  "future",
);
depositing(
  "expired",
  "EXPIRED",
  "a message that has expired",
  (box, slot, trial) => box.message(slot, 1, { issuedAt: trial.now() - DAY_MS, expiresAt: trial.now() - 1_000 }),
  "replay",
);
depositing("version", "UNSUPPORTED_VERSION", "version 2", (box, slot) => box.message(slot, 1, { envelope: { version: 2 } }));
depositing("algorithm", "UNSUPPORTED_ALGORITHM", "another algorithm", (box, slot) =>
  box.message(slot, 1, { envelope: { algorithm: "rsa" } }),
);
add(
  "deposit.too-large",
  "a body of more than 262,144 bytes is BODY_TOO_LARGE",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial);
    const body = JSON.stringify(mailbox.message(slot)).padEnd(262_145);
    trial.isRefused(await mailbox.ask("/messages", undefined, { method: "POST", body }), "BODY_TOO_LARGE");
  },
  "exhaustion",
);

// Collecting

add("collect.empty", "an empty mailbox hands over nothing, and says so", async (trial) => {
  const [mailbox] = await Mailbox.open(trial);
  const { messages, more, refused, pending, oneTimeKeys, released } = isOk(await mailbox.collect());
  assert.deepEqual(
    { messages, more, refused, pending, oneTimeKeys, released },
    { messages: [], more: false, refused: [], pending: { messages: 0, bytes: 0, requests: 0 }, oneTimeKeys: 0, released: 0 },
  );
});
add("collect.oldest-first", "the oldest is handed over first, up to the limit", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  await mailbox.leave(slot, 1, 2, 3);
  const reply = await mailbox.collect({ limit: 2 });
  assert.deepEqual([sequencesOf(reply), reply.json.more], [[1, 2], true]);
});
add("collect.lease", "what one collector was handed is not handed to another, and to the first one again", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  await mailbox.leave(slot, 1, 2);
  const collector = base64(16);
  assert.deepEqual(sequencesOf(await mailbox.collect({ collector, limit: 1 })), [1]);
  assert.deepEqual(sequencesOf(await mailbox.collect()), [2]);
  assert.deepEqual(sequencesOf(await mailbox.collect({ collector })), [1]);
});
add("collect.lease-time", "a lease is for 60 s", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  await mailbox.leave(slot, 1);
  const [{ leaseUntil }] = isOk(await mailbox.collect()).messages;
  assert.ok(Math.abs(leaseUntil - trial.now() - 60_000) < 30_000, `leaseUntil is ${leaseUntil}`);
});
add(
  "collect.arrival",
  "when a message came is told to the minute",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial);
    await mailbox.leave(slot, 1);
    const [{ receivedAt, lane }] = isOk(await mailbox.collect()).messages;
    assert.deepEqual([receivedAt % 60_000, lane], [0, "contact"]);
  },
  "mail-theft",
);
add("collect.one-at-least", "one message at least is handed over, whatever maxBytes says", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  await mailbox.leave(slot, 1, 2);
  const reply = await mailbox.collect({ maxBytes: 0 });
  assert.deepEqual([sequencesOf(reply), reply.json.more], [[1], true]);
});
add("collect.deletes-nothing", "collecting deletes nothing", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  await mailbox.leave(slot, 1);
  await mailbox.collect();
  assert.equal(await mailbox.pending(), 1);
});
add("collect.by-owner", "the owner collects as a reader does", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  await mailbox.leave(slot, 1);
  assert.deepEqual(sequencesOf(await mailbox.collect({ by: mailbox.owner })), [1]);
});
const collecting = (id, code, title, make, attack) =>
  add(
    `collect.refused.${id}`,
    `${title}: ${code}`,
    async (trial) => {
      const [mailbox, slot] = await Mailbox.open(trial);
      await mailbox.leave(slot, 1);
      trial.isRefused(await mailbox.ask("/collect", { collect: await make(mailbox, slot, trial) }), code);
    },
    attack,
  );
collecting("stranger", "NOT_A_READER", "a stranger", (box) => box.question({ by: newKey() }), "mail-theft");
collecting("sender", "NOT_A_READER", "a sender", (box, slot) => box.question({ by: slot }), "mail-theft");
collecting(
  "forged",
  "SIGNATURE_INVALID",
  "a question with a wrong signature",
  (box) => box.question({ envelope: { signature: base64(64) } }),
  "mail-theft",
);
collecting(
  "another-relay",
  "MISDIRECTED_REQUEST",
  "a question that was signed for another relay",
  (box) => box.question({ audience: "https://other.example" }),
  "replay",
);
collecting("old", "EXPIRED", "a question of 65 s ago", (box, _, trial) => box.question({ issuedAt: trial.now() - 65_000 }), "replay");
collecting(
  "ahead",
  "NOT_YET_VALID",
  "a question of 75 s ahead",
  (box, _, trial) => box.question({ issuedAt: trial.now() + 75_000 }),
  "future",
);
collecting("limit-zero", "MALFORMED", "a limit of 0", (box) => box.question({ limit: 0 }));
collecting("limit-101", "MALFORMED", "a limit of 101", (box) => box.question({ limit: 101 }), "exhaustion");
collecting(
  "purpose",
  "SIGNATURE_INVALID",
  "a question that was signed for a slot",
  (box) => signRecord("slot", box.reader, box.question().payload),
  "confusion",
);
add(
  "collect.replayed",
  "the same question again is REPLAYED",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial);
    const collect = mailbox.question();
    isOk(await mailbox.ask("/collect", { collect }));
    trial.isRefused(await mailbox.ask("/collect", { collect }), "REPLAYED");
  },
  "replay",
);
add(
  "collect.no-readers",
  "with a card without readers it is the owner's alone",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial, [32], { card: { readers: [] } });
    await mailbox.leave(slot, 1);
    trial.isRefused(await mailbox.collect(), "NOT_A_READER");
    trial.isRefused(await mailbox.acknowledge([mailbox.ack(slot, 1)]), "NOT_A_READER");
  },
  "mail-theft",
);

// Acknowledgements

add("ack.releases", "an acknowledgement releases what it covers, and what is missing stays", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial, [4]);
  await mailbox.leave(slot, 1, 2, 3, 4);
  assert.equal(isOk(await mailbox.acknowledge([mailbox.ack(slot, 3, { missing: [2] })])).released, 2);
  assert.deepEqual(sequencesOf(await mailbox.collect()), [2, 4]);
});
add("ack.again", "the same again releases nothing", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  await mailbox.leave(slot, 1);
  const ack = mailbox.ack(slot, 1);
  isOk(await mailbox.acknowledge([ack]));
  assert.equal(isOk(await mailbox.acknowledge([ack])).released, 0);
});
add("ack.receipt", "the sender gets the acknowledgement as its receipt", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  const [message] = await mailbox.leave(slot, 1);
  const ack = mailbox.ack(slot, 1);
  await mailbox.acknowledge([ack]);
  const { accepted, acknowledged, ack: receipt } = isOk(await mailbox.deposit(message));
  assert.deepEqual([accepted, acknowledged, receipt], [false, true, ack.ack]);
  const { ack: asked, highest, unacknowledged, limit } = isOk(await mailbox.slot(slot));
  assert.deepEqual({ asked, highest, unacknowledged, limit }, { asked: ack.ack, highest: 1, unacknowledged: 0, limit: 32 });
});
add("ack.frees-the-window", "an acknowledgement frees the window", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial, [1]);
  await mailbox.leave(slot, 1);
  await mailbox.acknowledge([mailbox.ack(slot, 1)]);
  await mailbox.leave(slot, 2);
});
add("ack.with-collect", "an acknowledgement may travel with a collect, and frees before that looks", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  await mailbox.leave(slot, 1, 2);
  const reply = await mailbox.collect({ acks: [mailbox.ack(slot, 1)] });
  assert.deepEqual([sequencesOf(reply), reply.json.released], [[2], 1]);
});
add("ack.beyond", "an acknowledgement of what never came here closes what is below", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial, [2]);
  const elsewhere = mailbox.message(slot, 9);
  isOk(await mailbox.acknowledge([mailbox.ack(slot, 9)]));
  assert.equal(isOk(await mailbox.deposit(elsewhere)).acknowledged, true);
  assert.equal(isOk(await mailbox.deposit(mailbox.message(slot, 5))).acknowledged, true);
});
add(
  "ack.unlisted",
  "that of a slot that is not listed is not kept",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial);
    const stranger = newKey();
    mailbox.message(stranger, 1);
    assert.equal(isOk(await mailbox.acknowledge([mailbox.ack(stranger, 1)])).released, 0);
    trial.isRefused(await mailbox.slot(stranger), "SLOT_UNKNOWN");
  },
  "exhaustion",
);

/** Refuses an acknowledgement, and nothing goes. */
const acknowledging = (id, code, title, make, attack) =>
  add(
    `ack.refused.${id}`,
    `${title}: ${code}`,
    async (trial) => {
      const [mailbox, slot, other] = await Mailbox.open(trial, [32, 32]);
      await mailbox.leave(slot, 1, 2);
      await mailbox.leave(other, 2);
      trial.isRefused(await mailbox.acknowledge(make(mailbox, slot, other)), code);
      assert.equal(await mailbox.pending(), 3);
    },
    attack,
  );
acknowledging(
  "stranger",
  "NOT_A_READER",
  "an acknowledgement by a stranger",
  (box, slot) => [box.ack(slot, 1, { by: newKey() })],
  "mail-theft",
);
acknowledging("sender", "NOT_A_READER", "an acknowledgement by the sender", (box, slot) => [box.ack(slot, 1, { by: slot })], "mail-theft");
acknowledging(
  "without-deposit",
  "MALFORMED",
  "an acknowledgement without the deposit that it reaches up to",
  (box, slot) => [{ ack: box.ack(slot, 2).ack }],
  "mail-theft",
);
acknowledging(
  "lower-deposit",
  "MALFORMED",
  "one with a lower deposit",
  (box, slot) => [{ ack: box.ack(slot, 2).ack, of: box.ack(slot, 1).of }],
  "mail-theft",
);
acknowledging(
  "anothers-deposit",
  "MALFORMED",
  "one with another slot's deposit",
  (box, slot, other) => [{ ack: box.ack(slot, 2).ack, of: box.ack(other, 2).of }],
  "mail-theft",
);
acknowledging(
  "forged-deposit",
  "SIGNATURE_INVALID",
  "one with a forged deposit",
  (box, slot) => {
    const { ack, of } = box.ack(slot, 2);
    return [{ ack, of: { ...of, signature: base64(64) } }];
  },
  "mail-theft",
);
acknowledging(
  "for-ever",
  "MALFORMED",
  "one up to a number that no sender signed",
  (box, slot) => [box.ack(slot, 2 ** 53 - 1, { of: box.ack(slot, 1).of })],
  "mail-theft",
);
acknowledging("missing-not-ascending", "MALFORMED", "missing numbers out of order", (box, slot) => [box.ack(slot, 2, { missing: [1, 1] })]);
acknowledging("missing-beyond", "MALFORMED", "a missing number that is not below through", (box, slot) => [
  box.ack(slot, 2, { missing: [2] }),
]);
acknowledging("not-a-minute", "MALFORMED", "a time that is not a whole minute", (box, slot) => [
  box.ack(slot, 2, { at: 1_700_000_000_001 }),
]);
acknowledging("sixty-five", "MALFORMED", "65 of them", (box, slot) => Array(65).fill(box.ack(slot, 1)), "exhaustion");

// Prekeys

add(
  "prekeys.once",
  "a one-time key is served once, the oldest first, and then the fallback alone",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial);
    const prekeys = mailbox.prekeys(2);
    assert.equal(isOk(await mailbox.putPrekeys(prekeys)).oneTimeKeys, 2);
    const { oneTime, fallback } = prekeys.payload;
    for (const expected of [...oneTime, null]) {
      const claimed = isOk(await mailbox.claim(slot));
      assert.deepEqual([claimed.oneTime, claimed.fallback], [expected, fallback]);
    }
  },
  "replay",
);
add(
  "prekeys.at-once",
  "keys that are claimed at once are each served to one",
  async (trial) => {
    const [mailbox, ...slots] = await Mailbox.open(trial, Array(6).fill(1));
    await mailbox.putPrekeys(mailbox.prekeys(6));
    const claimed = await Promise.all(slots.map((slot) => mailbox.claim(slot)));
    assert.equal(new Set(claimed.map((reply) => isOk(reply).oneTime?.id)).size, 6);
  },
  "replay",
);
add(
  "prekeys.three-an-hour",
  "beyond three an hour a key gets the fallback alone",
  async (trial) => {
    const [mailbox, slot, other] = await Mailbox.open(trial, [32, 32]);
    await mailbox.putPrekeys(mailbox.prekeys(5));
    for (let times = 0; times < 3; times += 1) assert.ok(isOk(await mailbox.claim(slot)).oneTime);
    assert.equal(isOk(await mailbox.claim(slot)).oneTime, null);
    assert.ok(isOk(await mailbox.claim(other)).oneTime);
  },
  "exhaustion",
);
add("prekeys.revision", "prekeys are put by revision, strictly upward, and are added", async (trial) => {
  const [mailbox] = await Mailbox.open(trial);
  await mailbox.putPrekeys(mailbox.prekeys(2, { name: "first" }));
  trial.isRefused(await mailbox.putPrekeys(mailbox.prekeys(1)), "STALE_REVISION");
  assert.equal(isOk(await mailbox.putPrekeys(mailbox.prekeys(2, { name: "second", revision: 2 }))).oneTimeKeys, 4);
});
add("prekeys.unknown", "before there are any it is PREKEYS_UNKNOWN", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  trial.isRefused(await mailbox.claim(slot), "PREKEYS_UNKNOWN");
});
add(
  "prekeys.stranger",
  "a stranger of whom none is asked claims none",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial);
    await mailbox.putPrekeys(mailbox.prekeys(1));
    trial.isRefused(await mailbox.claim(newKey()), "SLOT_UNKNOWN");
  },
  "exhaustion",
);
add(
  "prekeys.by-another",
  "prekeys by another key are NOT_THE_OWNER",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial);
    trial.isRefused(await mailbox.putPrekeys(mailbox.prekeys(1, { by: newKey() })), "NOT_THE_OWNER");
  },
  "mail-forgery",
);
add(
  "prekeys.another-relay",
  "a claim that was signed for another relay is MISDIRECTED_REQUEST",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial);
    await mailbox.putPrekeys(mailbox.prekeys(1));
    trial.isRefused(await mailbox.claim(slot, { audience: "https://other.example" }), "MISDIRECTED_REQUEST");
  },
  "replay",
);

// Requests of strangers

const DIFFICULTY = 8;
const open = { card: { requests: { difficulty: DIFFICULTY, open: true } } };
add("requests.proof", "a stranger's first message is taken with a proof of work", async (trial) => {
  const [mailbox] = await Mailbox.open(trial, [], open);
  const message = mailbox.message(newKey());
  isOk(await mailbox.deposit({ ...message, proof: mailbox.proofOf(message, DIFFICULTY) }), 201);
  const { messages, pending } = isOk(await mailbox.collect());
  assert.deepEqual([messages[0].lane, pending.requests], ["request", 1]);
});
add(
  "requests.without-proof",
  "without one it is PROOF_REQUIRED, with difficulty and day",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial, [], open);
    const reply = await mailbox.deposit(mailbox.message(newKey()));
    trial.isRefused(reply, "PROOF_REQUIRED");
    assert.deepEqual([reply.json.difficulty, Math.abs(reply.json.day - dayOf(trial.now())) <= 1], [DIFFICULTY, true]);
  },
  "exhaustion",
);
const proving = (id, title, change) =>
  add(
    `requests.proof.${id}`,
    `${title} is PROOF_REQUIRED`,
    async (trial) => {
      const [mailbox] = await Mailbox.open(trial, [], open);
      const message = mailbox.message(newKey());
      trial.isRefused(await mailbox.deposit({ ...message, proof: change(mailbox, message, trial) }), "PROOF_REQUIRED");
    },
    "exhaustion",
  );
/** A number that proves nothing: one of those that the search passed over, or a far one. */
const solved = (mailbox, subject, day) => solve({ mailbox, subject, difficulty: DIFFICULTY, day });
proving("of-another-message", "the proof of another message", (box, message, trial) => {
  for (;;) {
    const proof = solved(box.address, base64(32), dayOf(trial.now()));
    if (solved(box.address, message.deposit.payload.contentId, proof.day).solution !== proof.solution) return proof;
  }
});
proving("old", "a proof of three days ago", (box, message, trial) => box.proofOf(message, DIFFICULTY, { day: dayOf(trial.now()) - 3 }));
proving("ahead", "a proof of a day to come", (box, message, trial) => box.proofOf(message, DIFFICULTY, { day: dayOf(trial.now()) + 3 }));
add(
  "requests.two",
  "a stranger has two numbers",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial, [], open);
    const stranger = newKey();
    for (const sequence of [1, 2, 3]) {
      const message = mailbox.message(stranger, sequence);
      const reply = await mailbox.deposit({ ...message, proof: mailbox.proofOf(message, DIFFICULTY) });
      if (sequence < 3) isOk(reply, 201);
      else trial.isRefused(reply, "UNACKNOWLEDGED_LIMIT");
    }
  },
  "exhaustion",
);
add(
  "requests.small",
  "a stranger's message has at most 8,192 bytes",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial, [], open);
    const message = mailbox.message(newKey(), 1, { size: SIZES[2] });
    trial.isRefused(await mailbox.deposit({ ...message, proof: mailbox.proofOf(message, DIFFICULTY) }), "SIZE_NOT_A_BUCKET");
  },
  "exhaustion",
);
add(
  "requests.flood",
  "strangers of one network take no other's place, and no contact's",
  async (trial) => {
    const [mailbox, contact] = await Mailbox.open(trial, [8], open);
    const ask = async (slot, address) => {
      const message = mailbox.message(slot);
      return mailbox.deposit({ ...message, proof: mailbox.proofOf(message, DIFFICULTY) }, { address });
    };
    const quiet = newKey();
    isOk(await ask(quiet, trial.newAddress()), 201);
    const site = trial.newAddress();
    for (let host = 1; host <= 25; host += 1) await ask(newKey(), site.replace(/\d+$/, String(host)));
    isOk(await ask(newKey(), trial.newAddress()), 201);
    await mailbox.leave(contact, 1, 2, 3, 4, 5, 6, 7, 8);
    const { messages, pending } = isOk(await mailbox.collect());
    assert.ok(pending.requests <= 12, `${pending.requests} requests wait`);
    assert.ok(messages.some(({ deposit }) => deposit.publicKey === quiet.publicKey));
  },
  "flood",
);

// The end

add("close.closed", "what was closed is MAILBOX_CLOSED to everybody", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  const [message] = await mailbox.leave(slot, 1);
  isOk(await mailbox.close());
  for (const reply of [await mailbox.ask(""), await mailbox.deposit(message), await mailbox.collect(), await mailbox.slot(slot)])
    trial.isRefused(reply, "MAILBOX_CLOSED");
});
add("close.again", "the same close again is taken", async (trial) => {
  const [mailbox] = await Mailbox.open(trial);
  isOk(await mailbox.close({ revision: 5 }));
  isOk(await mailbox.close({ revision: 5 }));
});
add(
  "close.nothing-rises",
  "nothing older rises again, and a newer one opens anew, empty",
  async (trial) => {
    const [mailbox, slot] = await Mailbox.open(trial);
    await mailbox.leave(slot, 1);
    const [card, policy] = [mailbox.card(), mailbox.policy([slot])];
    isOk(await mailbox.close({ revision: 5 }));
    trial.isRefused(await mailbox.putRecords(card, policy), "STALE_REVISION");
    mailbox.revision = 5;
    isOk(await mailbox.put([slot]), 201);
    assert.equal(await mailbox.pending(), 0);
  },
  "resurrection",
);
add(
  "close.lower",
  "a close of no higher revision is STALE_REVISION",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial);
    trial.isRefused(await mailbox.close({ revision: 1 }), "STALE_REVISION");
  },
  "replay",
);
add(
  "close.by-reader",
  "a reader closes nothing",
  async (trial) => {
    const [mailbox] = await Mailbox.open(trial);
    trial.isRefused(await mailbox.close({ by: mailbox.reader }), "NOT_THE_OWNER");
  },
  "mail-forgery",
);

// News

const listen = async (trial, mailbox, first) => {
  const socket = await Socket.open(trial, `/v1/mailboxes/${mailbox.address}/live`, { address: trial.beacon.newAddress() });
  if (first) socket.send(first);
  return socket;
};
add("news.reader", "a reader is told at once how many wait, and whenever one comes in", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  const socket = await listen(trial, mailbox, mailbox.greeting(mailbox.reader));
  await socket.until(({ messages }) => messages.find(({ event, pending }) => event === "messages" && pending === 0), "that nothing waits");
  await mailbox.leave(slot, 1);
  await socket.until(({ messages }) => messages.find(({ pending }) => pending === 1), "that one waits");
});
add("news.sender", "a sender is told of its receipt", async (trial) => {
  const [mailbox, slot] = await Mailbox.open(trial);
  const socket = await listen(trial, mailbox, mailbox.greeting(slot));
  await mailbox.leave(slot, 1);
  const ack = mailbox.ack(slot, 1);
  await mailbox.acknowledge([ack]);
  const told = await socket.until(({ messages }) => messages.find(({ event }) => event === "ack"), "the receipt");
  assert.deepEqual(told.ack, ack.ack);
});
for (const [id, code, make] of [
  ["stranger", "SLOT_UNKNOWN", (mailbox) => mailbox.greeting(newKey())],
  ["another-relay", "MISDIRECTED_REQUEST", (mailbox) => mailbox.greeting(mailbox.reader, { audience: "https://other.example" })],
  ["old", "EXPIRED", (mailbox, trial) => mailbox.greeting(mailbox.reader, { issuedAt: trial.now() - 70_000 })],
  ["forged", "SIGNATURE_INVALID", (mailbox) => ({ ...mailbox.greeting(mailbox.reader), signature: base64(64) })],
  ["malformed", "MALFORMED", () => "{"],
]) {
  add(
    `news.refused.${id}`,
    `who is ${id.replaceAll("-", " ")} is told ${code}, and nothing else`,
    async (trial) => {
      const [mailbox] = await Mailbox.open(trial);
      const socket = await listen(trial, mailbox, make(mailbox, trial));
      await socket.endsWith(4503, "KEY_REFUSED");
      assert.deepEqual(
        socket.messages.map(({ event, code: said }) => [event, said]),
        [["error", code]],
      );
    },
    id === "malformed" ? undefined : "mail-theft",
  );
}
add("news.upgrade", "news are told over a WebSocket: without one it is UPGRADE_REQUIRED", async (trial) => {
  const [mailbox] = await Mailbox.open(trial);
  trial.isRefused(await mailbox.ask("/live"), "UPGRADE_REQUIRED");
});

// The door

const PATHS = {
  "": "PUT",
  "/messages": "POST",
  "/collect": "POST",
  "/acks": "POST",
  "/slot": "POST",
  "/prekeys": "PUT",
  "/prekeys/claim": "POST",
  "/close": "POST",
};
for (const [rest, method] of Object.entries(PATHS)) {
  const name = rest.slice(1).replace("/", "-") || "card";
  add(`door.methods.${name}`, `another method than ${method} at …${rest} is METHOD_NOT_ALLOWED, with Allow`, async (trial) => {
    const reply = await new Mailbox(trial).ask(rest, undefined, { method: "DELETE" });
    trial.isRefused(reply, "METHOD_NOT_ALLOWED");
    assert.ok(reply.headers.allow?.split(/, */).includes(method), `Allow is ${reply.headers.allow}`);
  });
  add(`door.body.${name}`, `what is not JSON is MALFORMED at …${rest}, and any page may read that`, async (trial) => {
    for (const body of ["", "{", "[]", "null"]) {
      const reply = await new Mailbox(trial).ask(rest, undefined, { method, body });
      trial.isRefused(reply, "MALFORMED");
      assert.equal(reply.headers["access-control-allow-origin"], "*");
      assert.match(reply.headers["content-type"] ?? "", /^application\/problem\+json/);
    }
  });
  add(`door.preflight.${name}`, `OPTIONS …${rest} is 204 and lets any page ask`, async (trial) => {
    const { status, headers } = await new Mailbox(trial).ask(rest, undefined, { method: "OPTIONS" });
    assert.deepEqual([status, headers["access-control-allow-origin"]], [204, "*"]);
    assert.ok(headers["access-control-allow-methods"].split(/, */).includes(method));
  });
}
add("door.not-found", "another path is NOT_FOUND", async (trial) => {
  for (const rest of ["/", "/message", "/messages/1"]) trial.isRefused(await new Mailbox(trial).ask(rest), "NOT_FOUND");
});
add(
  "owner.address",
  "a mailbox is named after its owner: records under another address are refused",
  async (trial) => {
    const mailbox = new Mailbox(trial);
    mailbox.revision = 1;
    const records = [mailbox.card(), mailbox.policy()];
    mailbox.address = addressOf(newKey());
    trial.isRefused(await mailbox.putRecords(...records), "MALFORMED");
  },
  "mail-forgery",
);
