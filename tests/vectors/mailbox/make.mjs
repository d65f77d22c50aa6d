// Makes the vectors of mailboxes: `node tests/vectors/mailbox/make.mjs` writes them again.
//
// Written from protocol/README.md, with node:crypto and nothing of the Rust code, so that it is a second opinion on it.
// Keys, times and nonces are fixed, and Ed25519 is deterministic: the same script makes the same bytes.

import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { canonical } from "../../ticket.mjs";
import { key } from "../key.mjs";
import { makeInvites, makeSealed, makeSizes } from "./seals.mjs";

const NOW = 1_700_000_040_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const RELAY = "https://relay.example";

const [owner, reader, slot, stranger] = [31, 32, 33, 34].map(key);
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
const addressOf = ({ text }) => sha256("rendezvous-mailbox-v1\0", Buffer.from(text, "base64")).toString("hex");
const ADDRESS = addressOf(owner);
/** An origin of so many bytes. */
const originOf = (length) => `https://${"a.".repeat(length).slice(0, length - 9)}a`;
const bytes = (length, byte) => Buffer.alloc(length, byte).toString("base64");
const [SMALL, MEDIUM] = [Buffer.alloc(2_048, 1), Buffer.alloc(8_192, 2)];

/** An envelope; `as` is the purpose that is signed, if it is another one, `envelope` replaces fields after signing. */
function seal(purpose, signer, payload, { as = purpose, envelope = {} } = {}) {
  for (const [field, value] of Object.entries(payload)) if (value === undefined) delete payload[field];
  const signature = signer.sign(`rendezvous-mailbox-v1:${as}\n${canonical(payload)}`);
  return { version: 1, algorithm: "ed25519", publicKey: signer.text, signature, payload, ...envelope };
}

const prekey = (kind, id, byte) => {
  const fields = { id, key: bytes(32, byte), since: NOW - HOUR };
  const message = ["rendezvous-prekey-v1", ADDRESS, bytes(32, 9), id, fields.key, kind, fields.since].join("\n");
  return { ...fields, signature: owner.sign(message) };
};

const portable = { issuedAt: NOW - MINUTE, mailbox: ADDRESS, expiresAt: NOW + 30 * DAY };
const bound = { audience: RELAY, issuedAt: NOW, mailbox: ADDRESS, nonce: bytes(16, 5) };

/** What each record is when nothing is wrong with it, who signs it, and what it is called in signed bytes. */
const RECORDS = {
  card: [owner, () => ({
    ...portable,
    readers: [reader.text],
    relays: [RELAY, "https://other.example:8443"],
    requests: { difficulty: 20, open: true },
    revision: 1,
    sealing: [{ expiresAt: NOW + 29 * DAY, key: bytes(32, 7), suite: 0 }, { expiresAt: NOW + 9 * DAY, key: bytes(1_216, 8), suite: 1 }],
  })],
  policy: [owner, () => ({
    ...portable,
    contacts: [{ key: slot.text, limit: 32 }],
    invites: [{ expiresAt: NOW + DAY, key: stranger.text, limit: 1 }],
    revision: 7,
  })],
  deposit: [slot, () => ({
    contentId: sha256(SMALL).toString("base64"),
    expiresAt: NOW + 7 * DAY - MINUTE,
    issuedAt: NOW - MINUTE,
    mailbox: ADDRESS,
    sequence: 1,
    size: 2_048,
  })],
  ack: [reader, () => ({ at: NOW, mailbox: ADDRESS, missing: [2, 4], slot: slot.text, through: 5 })],
  prekeys: [owner, () => ({
    ...portable,
    curve25519: bytes(32, 9),
    fallback: prekey("fallback", "AAAAAAAAAAE", 11),
    oneTime: [prekey("one-time", "AAAAAAAAAAI", 12), prekey("one-time", "a+/_-", 13)],
    revision: 3,
  })],
  close: [owner, () => ({ mailbox: ADDRESS, revision: 2 ** 53 - 1 })],
  collect: [reader, () => ({ ...bound, collector: bytes(16, 6), limit: 100, maxBytes: 1_048_576 })],
  claim: [slot, () => ({ ...bound })],
  slot: [slot, () => ({ ...bound })],
  live: [slot, () => ({ ...bound })],
};
const BOUND = ["collect", "claim", "slot", "live", "replicate"];

/** What relays sign. No client reads it. */
const RELAY_RECORDS = {
  replicate: [stranger, () => ({ ...bound, items: sha256('[{"card":{}}]').toString("base64") })],
};

/** The cases that every kind of these records has, and what makes more. */
function makeCommon(records) {
  const cases = [];
  const text = (record) => (typeof record === "string" ? record : JSON.stringify(record));
  const push = (record, name, expect, json, now = NOW) =>
    cases.push({
      name: `${record}_${name}`,
      record,
      expect,
      now,
      ...(expect === "MALFORMED" ? {} : { canonical: `rendezvous-mailbox-v1:${record}\n${canonical(JSON.parse(text(json)).payload)}` }),
      json: text(json),
    });

  for (const [record, [signer, make]] of Object.entries(records)) {
    const good = (overrides = {}, options) => seal(record, signer, { ...make(), ...overrides }, options);
    const json = JSON.stringify(good());
    push(record, "good", "ok", good());
    push(record, "in_another_layout", "ok", JSON.stringify(Object.fromEntries(Object.entries(good()).reverse()), null, "\t"));
    push(record, "changed", "SIGNATURE_INVALID", good({}, { envelope: { payload: { ...make(), ...(BOUND.includes(record) ? { nonce: bytes(16, 66) } : record === "ack" ? { through: 6 } : record === "deposit" ? { sequence: 2 } : { revision: 9 }) } } }));
    push(record, "signed_as_another_record", "SIGNATURE_INVALID", good({}, { as: record === "slot" ? "claim" : "slot" }));
    push(record, "signed_without_its_purpose", "SIGNATURE_INVALID", { ...good(), signature: signer.sign(canonical(make())) });
    push(record, "by_the_key_of_small_order", ["card", "policy", "prekeys", "close"].includes(record) ? "NOT_THE_OWNER" : "SIGNATURE_INVALID", {
      ...good(),
      publicKey: Buffer.from([1, ...Buffer.alloc(31)]).toString("base64"),
      signature: Buffer.from([1, ...Buffer.alloc(63)]).toString("base64"),
    });
    push(record, "version_2", "UNSUPPORTED_VERSION", good({}, { envelope: { version: 2 } }));
    push(record, "another_algorithm", "UNSUPPORTED_ALGORITHM", good({}, { envelope: { algorithm: "rsa" } }));
    const malformed = (name, overrides) => push(record, name, "MALFORMED", typeof overrides === "string" ? overrides : good(overrides));
    malformed("no_json", "{");
    malformed("as_an_array", JSON.stringify(Object.values(good())));
    malformed("payload_as_an_array", JSON.stringify({ ...good(), payload: Object.values(make()) }));
    malformed("unknown_field", { comment: "" });
    malformed("unknown_field_in_the_envelope", JSON.stringify({ ...good(), comment: "" }));
    malformed("signature_of_63_bytes", JSON.stringify({ ...good(), signature: bytes(63, 1) }));
    malformed("key_without_padding", JSON.stringify({ ...good(), publicKey: signer.text.replace("=", "") }));
    malformed("mailbox_in_upper_case", { mailbox: ADDRESS.toUpperCase() });
    malformed("mailbox_too_short", { mailbox: ADDRESS.slice(2) });
    for (const field of Object.keys(make())) {
      malformed(`${field}_missing`, { [field]: undefined });
      malformed(`${field}_null`, { [field]: null });
      malformed(`${field}_true`, { [field]: true });
      malformed(`${field}_twice`, json.replace('"payload":{', `"payload":{"${field}":${JSON.stringify(make()[field])},`));
    }
    if ("revision" in make()) {
      malformed("revision_zero", { revision: 0 });
      malformed("revision_too_large", { revision: 2 ** 53 });
      malformed("revision_with_a_fraction", json.replace(/"revision":\d+/, '"revision":1.0'));
    }
    if ("expiresAt" in make()) {
      malformed("ends_when_it_begins", { expiresAt: make().issuedAt });
      const longest = record === "deposit" ? 7 * DAY : 90 * DAY;
      const lives = (milliseconds, more = {}) => good({ issuedAt: NOW, expiresAt: NOW + milliseconds, ...(record === "card" ? { sealing: make().sealing.slice(0, 1) } : {}), ...more });
      push(record, "lives_as_long_as_allowed", "ok", lives(longest));
      push(record, "lives_too_long", "LIFETIME_TOO_LONG", lives(longest + 1));
      push(record, "begins_15_seconds_ahead", "ok", lives(2 * HOUR), NOW - 15_000);
      push(record, "begins_too_far_ahead", "NOT_YET_VALID", lives(2 * HOUR), NOW - 15_001);
      push(record, "in_its_last_millisecond", "ok", lives(2 * HOUR), NOW + 2 * HOUR - 1);
      push(record, "ended", "EXPIRED", lives(2 * HOUR), NOW + 2 * HOUR);
    }
    if (["card", "policy", "prekeys", "close"].includes(record))
      push(record, "by_another_key_than_the_owners", "NOT_THE_OWNER", seal(record, stranger, make()));
    if (BOUND.includes(record)) {
      push(record, "a_minute_ahead", "ok", good(), NOW - MINUTE);
      push(record, "more_than_a_minute_ahead", "NOT_YET_VALID", good(), NOW - MINUTE - 1);
      push(record, "a_minute_old", "ok", good(), NOW + MINUTE);
      push(record, "more_than_a_minute_old", "EXPIRED", good(), NOW + MINUTE + 1);
      push(record, "for_another_relay", "MISDIRECTED_REQUEST", good({ audience: "https://other.example" }));
      malformed("audience_with_a_slash", { audience: `${RELAY}/` });
      malformed("audience_of_301_bytes", { audience: originOf(301) });
      malformed("audience_in_another_spelling", { audience: "https://Relay.example:443" });
      malformed("nonce_of_15_bytes", { nonce: bytes(15, 5) });
      malformed("nonce_without_padding", { nonce: bytes(16, 5).replaceAll("=", "") });
    }
  }

  return { cases, push };
}

function makeRelayRecords() {
  const { cases, push } = makeCommon(RELAY_RECORDS);
  const [signer, make] = RELAY_RECORDS.replicate;
  push("replicate", "items_of_31_bytes", "MALFORMED", seal("replicate", signer, { ...make(), items: bytes(31, 1) }));
  return cases;
}

function makeRecords() {
  const { cases, push } = makeCommon(RECORDS);
  const of = (record) => {
    const [signer, make] = RECORDS[record];
    return {
      ok: (name, overrides) => push(record, name, "ok", seal(record, signer, { ...make(), ...overrides })),
      refuse: (name, expect, overrides) => push(record, name, expect, seal(record, signer, { ...make(), ...overrides })),
      malformed: (name, overrides) => push(record, name, "MALFORMED", seal(record, signer, { ...make(), ...overrides })),
    };
  };
  const many = (count, make) => Array.from({ length: count }, (_, at) => make(at));
  const numbered = (at) => sha256(`key ${at}`).toString("base64");

  const card = of("card");
  const sealing = (overrides) => ({ expiresAt: NOW + DAY, key: bytes(32, 7), suite: 0, ...overrides });
  card.ok("with_nobody_but_the_owner", { readers: [], relays: [], requests: { difficulty: 0, open: false } });
  card.ok("with_all_that_fits", { readers: many(8, numbered), relays: many(4, (at) => `https://r${at}.example`), requests: { difficulty: 28, open: true }, sealing: many(3, (at) => sealing({ key: numbered(at) })) });
  card.malformed("nine_readers", { readers: many(9, numbered) });
  card.malformed("reader_twice", { readers: [reader.text, reader.text] });
  card.malformed("reader_of_31_bytes", { readers: [bytes(31, 1)] });
  card.malformed("five_relays", { relays: many(5, (at) => `https://r${at}.example`) });
  card.ok("relays_of_300_bytes", { relays: [originOf(300), originOf(300).replace("https", "http") + "a"] });
  card.malformed("relay_of_301_bytes", { relays: [originOf(301)] });
  card.malformed("relay_twice", { relays: [RELAY, RELAY] });
  card.malformed("relay_with_a_path", { relays: [`${RELAY}/v1`] });
  card.malformed("relay_in_another_spelling", { relays: ["https://Relay.example"] });
  card.malformed("difficulty_29", { requests: { difficulty: 29, open: true } });
  card.malformed("difficulty_negative", { requests: { difficulty: -1, open: true } });
  card.malformed("requests_as_an_array", { requests: [20, true] });
  card.malformed("requests_without_open", { requests: { difficulty: 20 } });
  card.malformed("no_sealing_key", { sealing: [] });
  card.malformed("four_sealing_keys", { sealing: many(4, (at) => sealing({ key: numbered(at) })) });
  card.malformed("sealing_key_twice", { sealing: [sealing(), sealing({ expiresAt: NOW + 2 * DAY })] });
  card.malformed("sealing_key_of_another_suites_length", { sealing: [sealing({ suite: 1 })] });
  card.malformed("sealing_key_of_an_unknown_suite", { sealing: [sealing({ suite: 2 })] });
  card.malformed("sealing_key_as_an_array", { sealing: [[NOW + DAY, bytes(32, 7), 0]] });
  card.ok("sealing_key_of_30_days", { sealing: [sealing({ expiresAt: NOW - MINUTE + 30 * DAY })] });
  card.refuse("sealing_key_of_more_than_30_days", "LIFETIME_TOO_LONG", { sealing: [sealing({ expiresAt: NOW - MINUTE + 30 * DAY + 1 })] });

  const policy = of("policy");
  policy.ok("of_nobody", { contacts: [], invites: [] });
  policy.ok("with_all_that_fits", { contacts: many(256, (at) => ({ key: numbered(at), limit: 1 })), invites: many(32, (at) => ({ expiresAt: NOW, key: numbered(1_000 + at), limit: 8 })) });
  policy.malformed("with_257_contacts", { contacts: many(257, (at) => ({ key: numbered(at), limit: 1 })) });
  policy.malformed("with_33_invites", { invites: many(33, (at) => ({ expiresAt: NOW, key: numbered(at), limit: 1 })) });
  policy.malformed("contact_with_limit_0", { contacts: [{ key: slot.text, limit: 0 }] });
  policy.malformed("contact_with_limit_33", { contacts: [{ key: slot.text, limit: 33 }] });
  policy.malformed("contact_as_an_array", { contacts: [[slot.text, 1]] });
  policy.malformed("contact_with_an_unknown_field", { contacts: [{ key: slot.text, limit: 1, name: "" }] });
  policy.malformed("invite_with_limit_9", { invites: [{ expiresAt: NOW, key: stranger.text, limit: 9 }] });
  policy.malformed("invite_without_an_end", { invites: [{ key: stranger.text, limit: 1 }] });
  policy.malformed("contact_twice", { contacts: [{ key: slot.text, limit: 1 }, { key: slot.text, limit: 2 }] });
  policy.malformed("key_is_contact_and_invite", { invites: [{ expiresAt: NOW, key: slot.text, limit: 1 }] });

  const deposit = of("deposit");
  deposit.ok("of_the_last_sequence", { sequence: 2 ** 53 - 1 });
  deposit.malformed("sequence_zero", { sequence: 0 });
  deposit.malformed("sequence_too_large", { sequence: 2 ** 53 });
  deposit.malformed("sequence_as_text", { sequence: "1" });
  deposit.malformed("content_id_of_31_bytes", { contentId: bytes(31, 1) });
  deposit.malformed("content_id_in_base64url", { contentId: Buffer.alloc(32, 251).toString("base64url") });
  deposit.malformed("size_negative", { size: -1 });
  deposit.ok("lives_an_hour", { issuedAt: NOW, expiresAt: NOW + HOUR });
  deposit.refuse("lives_less_than_an_hour", "LIFETIME_TOO_SHORT", { issuedAt: NOW, expiresAt: NOW + HOUR - 1 });

  const ack = of("ack");
  ack.ok("of_one", { missing: [], through: 1 });
  ack.ok("with_32_missing", { missing: many(32, (at) => at + 1), through: 33 });
  ack.malformed("through_zero", { missing: [], through: 0 });
  ack.malformed("with_33_missing", { missing: many(33, (at) => at + 1), through: 34 });
  ack.malformed("missing_not_ascending", { missing: [4, 2] });
  ack.malformed("one_sequence_missing_twice", { missing: [2, 2] });
  ack.malformed("missing_zero", { missing: [0] });
  ack.malformed("missing_through_itself", { missing: [5] });
  ack.malformed("missing_above_through", { missing: [6] });
  ack.malformed("at_in_the_middle_of_a_minute", { at: NOW + 1 });

  const prekeys = of("prekeys");
  prekeys.ok("with_a_fallback_alone", { oneTime: [] });
  const oneTime = (at) => ({ id: `${at}`, key: numbered(at), signature: bytes(64, 1), since: NOW });
  prekeys.ok("with_100_one_time_keys", { oneTime: many(100, oneTime) });
  prekeys.malformed("with_101_one_time_keys", { oneTime: many(101, oneTime) });
  prekeys.malformed("one_time_key_twice", { oneTime: [oneTime(1), { ...oneTime(1), id: "2" }] });
  prekeys.malformed("id_empty", { oneTime: [{ ...oneTime(1), id: "" }] });
  prekeys.malformed("id_of_33_characters", { oneTime: [{ ...oneTime(1), id: "a".repeat(33) }] });
  prekeys.malformed("id_with_a_line_feed", { fallback: { ...oneTime(1), id: "a\nb" } });
  prekeys.malformed("one_time_key_without_since", { oneTime: [{ id: "1", key: numbered(1), signature: bytes(64, 1) }] });
  prekeys.malformed("fallback_as_an_array", { fallback: Object.values(oneTime(1)) });
  prekeys.malformed("curve25519_of_33_bytes", { curve25519: bytes(33, 9) });

  const collect = of("collect");
  collect.ok("of_one_message", { limit: 1, maxBytes: 0 });
  collect.malformed("limit_zero", { limit: 0 });
  collect.malformed("limit_101", { limit: 101 });
  collect.malformed("max_bytes_too_large", { maxBytes: 2 ** 53 });
  collect.malformed("collector_of_17_bytes", { collector: bytes(17, 6) });
  return cases;
}

function makeBodies() {
  const cases = [];
  const push = (kind, name, expect, body) =>
    cases.push({ name: `${kind}_${name}`, kind, expect, now: NOW, body: typeof body === "string" ? body : JSON.stringify(body) });
  const record = (name, overrides = {}) => seal(name, RECORDS[name][0], { ...RECORDS[name][1](), ...overrides });
  const both = { card: record("card"), policy: record("policy") };
  const message = (overrides = {}, more = {}) => ({ deposit: record("deposit", overrides), sealed: SMALL.toString("base64"), ...more });
  const acked = (ack = {}, of = {}) => ({ ack: record("ack", ack), of: record("deposit", { sequence: 5, ...of }) });
  const proof = { day: Math.floor(NOW / DAY), solution: 5 };

  push("put", "good", "ok", both);
  push("put", "without_policy", "MALFORMED", { card: both.card });
  push("put", "with_a_card_for_the_policy", "MALFORMED", { card: both.card, policy: both.card });
  push("put", "with_another_field", "MALFORMED", { ...both, prekeys: record("prekeys") });
  push("deposit", "good", "ok", message());
  push("deposit", "of_the_next_size", "ok", message({ contentId: sha256(MEDIUM).toString("base64"), size: 8_192 }, { sealed: MEDIUM.toString("base64") }));
  push("deposit", "with_proof", "ok", message({}, { proof }));
  push("deposit", "proof_null", "MALFORMED", message({}, { proof: null }));
  push("deposit", "proof_as_an_array", "MALFORMED", message({}, { proof: [proof.day, proof.solution] }));
  push("deposit", "proof_with_a_negative_solution", "MALFORMED", message({}, { proof: { ...proof, solution: -1 } }));
  push("deposit", "without_sealed", "MALFORMED", { deposit: record("deposit") });
  push("deposit", "sealed_without_padding", "MALFORMED", message({}, { sealed: SMALL.toString("base64").replaceAll("=", "") }));
  push("deposit", "sealed_as_number", "MALFORMED", message({}, { sealed: 1 }));
  push("deposit", "size_of_other_bytes", "SIZE_NOT_A_BUCKET", message({ size: 8_192 }));
  push("deposit", "size_that_is_none", "SIZE_NOT_A_BUCKET", message({ size: 2_047 }, { sealed: SMALL.subarray(1).toString("base64") }));
  push("deposit", "sealed_empty", "SIZE_NOT_A_BUCKET", message({ size: 0 }, { sealed: "" }));
  push("deposit", "of_other_bytes", "CONTENT_MISMATCH", message({}, { sealed: Buffer.alloc(2_048, 3).toString("base64") }));
  push("deposit", "twice", "MALFORMED", JSON.stringify(message()).replace("{", `{"sealed":"",`));
  push("collect", "good", "ok", { collect: record("collect") });
  push("collect", "with_acks", "ok", { collect: record("collect"), acks: [acked(), acked({ missing: [] })] });
  push("collect", "acks_null", "MALFORMED", { collect: record("collect"), acks: null });
  push("acks", "good", "ok", { acks: [acked()] });
  push("acks", "none", "ok", { acks: [] });
  push("acks", "without_the_deposit", "MALFORMED", { acks: [{ ack: record("ack") }] });
  push("acks", "without_anything_around", "MALFORMED", { acks: [record("ack")] });
  push("acks", "of_another_sequence", "MALFORMED", { acks: [acked({}, { sequence: 6 })] });
  push("acks", "of_another_mailbox", "MALFORMED", { acks: [acked({}, { mailbox: addressOf(stranger) })] });
  push("acks", "of_another_slot", "MALFORMED", { acks: [{ ...acked(), of: seal("deposit", stranger, { ...RECORDS.deposit[1](), sequence: 5 }) }] });
  push("acks", "of_a_deposit_that_has_ended", "ok", { acks: [acked({}, { issuedAt: NOW - 9 * DAY, expiresAt: NOW - 3 * DAY })] });
  push("acks", "of_a_deposit_that_nobody_signed", "SIGNATURE_INVALID", { acks: [{ ...acked(), of: { ...acked().of, signature: bytes(64, 7) } }] });
  push("acks", "that_nobody_signed", "SIGNATURE_INVALID", { acks: [{ ...acked(), ack: { ...acked().ack, signature: bytes(64, 7) } }] });
  push("slot", "good", "ok", { slot: record("slot") });
  push("slot", "with_a_claim", "SIGNATURE_INVALID", { slot: record("claim") });
  push("claim", "good", "ok", { claim: record("claim") });
  push("claim", "with_proof", "ok", { claim: record("claim"), proof });
  push("prekeys", "good", "ok", { prekeys: record("prekeys") });
  push("close", "good", "ok", { close: record("close") });
  push("close", "as_an_array", "MALFORMED", [record("close")]);
  push("close", "null", "MALFORMED", { close: null });
  return cases;
}

function makeProofs() {
  const cases = [];
  const day = Math.floor(NOW / DAY);
  const subject = sha256(SMALL).toString("base64");
  const zeroBits = (address, of, on, solution) => {
    const hash = sha256(["rendezvous-pow-v1", address, of, on, solution].join("\0")).readBigUInt64BE();
    return 64 - hash.toString(2).length * Number(hash > 0n);
  };
  const solve = (difficulty, on = day, of = subject, address = ADDRESS) => {
    let solution = 0;
    while (zeroBits(address, of, on, solution) < difficulty) solution++;
    return solution;
  };
  const push = (name, holds, overrides = {}) =>
    cases.push({ name, holds, address: ADDRESS, subject, difficulty: 12, now: NOW, day, solution: solve(12), ...overrides });
  push("today", true);
  push("yesterday", true, { day: day - 1, solution: solve(12, day - 1) });
  push("the_day_before", false, { day: day - 2, solution: solve(12, day - 2) });
  push("tomorrow", false, { day: day + 1, solution: solve(12, day + 1) });
  push("of_another_day", false, { day: day - 1 });
  push("for_another_mailbox", false, { address: addressOf(stranger) });
  push("for_another_message", false, { subject: sha256(MEDIUM).toString("base64") });
  push("of_a_claim", true, { subject: bytes(16, 5), solution: solve(12, day, bytes(16, 5)) });
  push("with_a_bit_too_few", false, { difficulty: 1 + zeroBits(ADDRESS, subject, day, solve(12)) });
  push("with_just_enough_bits", true, { difficulty: zeroBits(ADDRESS, subject, day, solve(12)) });
  push("of_nothing", true, { difficulty: 0, solution: 2 ** 53 - 1 });
  return cases;
}

/** Each prekey's own signature. */
const makePrekeys = () => {
  const { curve25519, fallback, oneTime } = RECORDS.prekeys[1]();
  return [...oneTime.map((it) => ["one-time", it]), ["fallback", fallback]].map(([kind, { signature, ...it }]) => ({
    name: `${kind}_${it.id}`,
    kind,
    mailbox: ADDRESS,
    curve25519,
    ...it,
    message: ["rendezvous-prekey-v1", ADDRESS, curve25519, it.id, it.key, kind, it.since].join("\n"),
    publicKey: owner.text,
    signature,
  }));
};

const world = { now: NOW, owner, addressOf, key, canonical, originOf };

/** Each file's name, and its text. */
export const files = () =>
  Object.entries({
    "mailbox/records.json": makeRecords(),
    "mailbox/relay-records.json": makeRelayRecords(),
    "mailbox/bodies.json": makeBodies(),
    "mailbox/proofs.json": makeProofs(),
    "mailbox/prekeys.json": makePrekeys(),
    "mailbox/sealed.json": makeSealed(world),
    "mailbox/sizes.json": makeSizes(),
    "mailbox/invites.json": makeInvites(world),
  }).map(([name, cases]) => [name, `${JSON.stringify(cases, null, 1)}\n`]);

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href)
  for (const [name, text] of files()) writeFileSync(new URL(`../${name}`, import.meta.url), text);
