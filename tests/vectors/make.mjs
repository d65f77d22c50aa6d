// Makes roots.json, trust.json, spellings.json, signals.json and message-addresses.json, the cases of tickets.json whose names
// begin with `data_`, and the field `canonical` of tickets.json, capsules.json and trust.json: `node tests/vectors/make.mjs`
// writes them again.
//
// Written from protocol/README.md, with node:crypto and nothing of the Rust code, so that it is a second opinion on it.
// Keys, times and nonces are fixed, and Ed25519 is deterministic: the same script makes the same bytes.

import { createHash, createPublicKey } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { canonical, readPrivateKey, signTicket } from "../ticket.mjs";
import { key } from "./key.mjs";

const NOW = 1_700_000_000_000;
const DAY = 86_400_000;

const [r1, r2, r3, r4, r5, r6] = [1, 2, 3, 4, 5, 6].map(key);
const [p1, p2, p3, stranger] = [11, 12, 13, 14].map(key);
const [t1, t2, t3] = [21, 22, 23].map(key);

/** The neutral element, for which a plain verification takes any message as signed by this. */
const identity = {
  text: Buffer.from([1, ...Buffer.alloc(31)]).toString("base64"),
  line: () => `${identity.text} ${Buffer.from([1, ...Buffer.alloc(63)]).toString("base64")}\n`,
};

const PAGE = "<!doctype html>\n<title>Nothing here</title>\n";

/** Lines by each of `keys` over `message`. */
const lines = (message, ...keys) => keys.map((each) => each.line(message)).join("");

const role = (threshold, ...keys) => ({ threshold, keys: keys.map(({ text }) => text) });

/** The fields of a root: three root keys of which two have to sign, and one publisher. */
function rootFields(overrides = {}) {
  return {
    type: "root",
    version: 1,
    community: "mainnet",
    rootVersion: 1,
    expiresAt: NOW + 365 * DAY,
    rootKeys: role(2, r1, r2, r3),
    publisherKeys: role(1, p1),
    ...overrides,
  };
}

const root = (overrides) => `${JSON.stringify(rootFields(overrides))}\n`;

export function makeRoots() {
  const cases = [];
  const FIRST = root();
  const push = (name, expect, chain, { rootVersion, trusted = FIRST, now = NOW } = {}) =>
    cases.push({ name, expect, now, trusted, chain, ...(expect === "ok" ? { rootVersion } : {}) });
  /** A step, signed by the first two root keys unless others are named. */
  const step = (text, ...keys) => ({ root: text, signatures: lines(text, ...(keys.length > 0 ? keys : [r1, r2])) });
  const next = (overrides) => root({ rootVersion: 2, ...overrides });
  const good = step(next());

  push("nothing_there", "ok", [], { rootVersion: 1 });
  push("no_successor", "ok", [{ root: null, signatures: null }], { rootVersion: 1 });
  push("two_of_three_signed", "ok", [good], { rootVersion: 2 });
  push("all_three_signed", "ok", [step(next(), r1, r2, r3)], { rootVersion: 2 });
  push("walk_ends_after_the_newest", "ok", [good, { root: null, signatures: null }], { rootVersion: 2 });
  push("three_steps", "ok", [good, step(root({ rootVersion: 3 }), r2, r3), step(root({ rootVersion: 4 }), r1, r3)], {
    rootVersion: 4,
  });
  push("begins_at_a_later_root", "ok", [step(root({ rootVersion: 8 }))], {
    trusted: root({ rootVersion: 7 }),
    rootVersion: 8,
  });
  push("every_root_key_replaced", "ok", [step(next({ rootKeys: role(2, r4, r5, r6) }), r1, r2, r4, r5)], {
    rootVersion: 2,
  });
  push(
    "every_root_key_replaced_and_the_new_ones_sign_the_next",
    "ok",
    [
      step(next({ rootKeys: role(2, r4, r5, r6) }), r1, r2, r4, r5),
      step(root({ rootVersion: 3, rootKeys: role(2, r4, r5, r6) }), r4, r6),
    ],
    { rootVersion: 3 },
  );
  push("one_root_key_replaced", "ok", [step(next({ rootKeys: role(2, r1, r2, r4) }))], { rootVersion: 2 });
  push("publisher_replaced", "ok", [step(next({ publisherKeys: role(2, p2, p3) }))], { rootVersion: 2 });
  push("a_publisher_becomes_a_root_key", "ok", [
    step(next({ rootKeys: role(2, r1, r2, p1), publisherKeys: role(1, p2) })),
  ], { rootVersion: 2 });
  push("threshold_raised", "ok", [step(next({ rootKeys: role(3, r1, r2, r3) }), r1, r2, r3)], { rootVersion: 2 });
  push("threshold_lowered", "ok", [step(next({ rootKeys: role(1, r1, r2, r3) }))], { rootVersion: 2 });
  push("another_layout", "ok", [
    step(`\n${JSON.stringify(Object.fromEntries(Object.entries(rootFields({ rootVersion: 2 })).reverse()), null, "\t")}`),
  ], { rootVersion: 2 });
  push("line_by_a_key_that_nobody_asks_for", "ok", [step(next(), stranger, r1, r2, p1)], { rootVersion: 2 });
  push("line_that_does_not_fit_beside_enough_that_do", "ok", [
    { root: next(), signatures: r3.line("another") + lines(next(), r1, r2) },
  ], { rootVersion: 2 });
  push("key_with_a_wrong_line_and_a_right_one", "ok", [
    { root: next(), signatures: r1.line("another") + lines(next(), r1, r2) },
  ], { rootVersion: 2 });
  const sixteen = (first) => Array.from({ length: 16 }, (_, at) => key(first + at));
  push("sixteen_keys_in_each_role", "ok", [
    step(next({ rootKeys: role(16, ...sixteen(100)), publisherKeys: role(16, ...sixteen(120)) }), r1, r2, ...sixteen(100)),
  ], { rootVersion: 2 });
  push("sixty_four_lines", "ok", [{ root: next(), signatures: r1.line(next()).repeat(63) + r2.line(next()) }], {
    rootVersion: 2,
  });
  const padded = (bytes) => next().padEnd(bytes, " ");
  push("as_long_as_allowed", "ok", [step(padded(16_384))], { rootVersion: 2 });

  // The walk ends: hosts that have no such file, and those that say so with a page.
  push("page_for_every_path", "ok", [{ root: PAGE, signatures: PAGE }], { rootVersion: 1 });
  push("long_page_for_every_path", "ok", [{ root: PAGE.repeat(500), signatures: PAGE.repeat(500) }], { rootVersion: 1 });
  push("page_for_the_signatures_only", "ok", [{ root: next(), signatures: PAGE }], { rootVersion: 1 });
  push("page_after_a_good_one", "ok", [good, { root: PAGE, signatures: PAGE }], { rootVersion: 2 });
  push("signatures_missing", "ok", [{ root: next(), signatures: null }], { rootVersion: 1 });
  push("root_missing", "ok", [{ root: null, signatures: good.signatures }], { rootVersion: 1 });
  push("nothing_after_a_gap", "ok", [{ root: null, signatures: null }, step(root({ rootVersion: 3 }))], { rootVersion: 1 });

  // A signatures file may have more or less white space; what else is there and no page is refused.
  const beside = (signatures) => [{ root: next(), signatures }];
  const reads = (name, signatures) => push(name, "ok", beside(signatures), { rootVersion: 2 });
  const refused = (name, signatures) => push(name, "MALFORMED", beside(signatures));
  refused("signatures_empty", "");
  refused("signatures_of_one_blank_line", "\n");
  reads("signatures_without_the_last_line_feed", good.signatures.slice(0, -1));
  reads("signatures_with_carriage_returns", good.signatures.replaceAll("\n", "\r\n"));
  reads("signatures_with_a_blank_line", `${good.signatures}\n`);
  reads("signatures_with_two_spaces", good.signatures.replaceAll(" ", "  "));
  reads("signatures_with_a_tab", good.signatures.replaceAll(" ", "\t"));
  refused("signatures_with_one_that_is_cut_off", good.signatures.replace("==\n", "\n"));
  refused("sixty_five_lines", good.signatures + r1.line(next()).repeat(63));
  reads("signatures_with_a_byte_order_mark", `\ufeff${good.signatures}`);
  reads("signatures_with_blank_lines_and_spaces_around", `\n \r\n${good.signatures.replaceAll("\n", " \n\t")}`);
  refused("signatures_with_a_comment", `# by hand\n${good.signatures}`);
  refused("signatures_with_a_byte_order_mark_inside", good.signatures.replace("\n", "\n\ufeff"));
  refused("signatures_with_a_no_break_space", good.signatures.replace(" ", "\u00a0"));
  refused("signatures_with_carriage_returns_alone", good.signatures.replaceAll("\n", "\r"));
  refused("signatures_with_key_and_signature_in_two_lines", good.signatures.replaceAll(" ", "\n"));
  refused("signatures_of_words", "Not found\n");
  refused("signatures_too_long", good.signatures.padEnd(16_385, "\n"));
  push("signatures_of_words_without_a_root", "MALFORMED", [{ root: null, signatures: "Not found\n" }]);
  push("page_with_white_space_before_it", "ok", beside(`\ufeff\r\n ${PAGE}`), { rootVersion: 1 });

  // Expiry: only the newest one's counts.
  const expired = { expiresAt: NOW - 1 };
  push("expired_without_successor", "ROOT_EXPIRED", [], { trusted: root(expired) });
  push("expires_in_this_millisecond", "ROOT_EXPIRED", [], { trusted: root({ expiresAt: NOW }) });
  push("expires_in_the_next_millisecond", "ok", [], { trusted: root({ expiresAt: NOW + 1 }), rootVersion: 1 });
  push("newest_expired", "ROOT_EXPIRED", [step(next(expired))]);
  push("expired_with_a_successor", "ok", [good], { trusted: root(expired), rootVersion: 2 });
  push("expired_on_the_way", "ok", [step(next(expired)), step(root({ rootVersion: 3 }))], { rootVersion: 3 });
  push("expired_and_its_successor_is_hidden_by_a_page", "ROOT_EXPIRED", [{ root: PAGE, signatures: PAGE }], {
    trusted: root(expired),
  });

  // Signed by too few.
  const tooFew = (name, ...chain) => push(name, "THRESHOLD_NOT_MET", chain);
  tooFew("one_of_three_signed", step(next(), r1));
  tooFew("one_signed_twice", step(next(), r1, r1));
  tooFew("signed_by_publishers", step(next(), p1, p2));
  tooFew("signed_by_one_root_key_and_a_publisher", step(next(), r1, p1));
  tooFew("signed_by_strangers", step(next(), r4, r5));
  tooFew("changed_by_one_byte_after_signing", { root: `${next()} `, signatures: good.signatures });
  tooFew("signatures_of_another_root", { root: next(), signatures: lines(FIRST, r1, r2) });
  tooFew("new_root_keys_without_the_old_ones", step(next({ rootKeys: role(2, r4, r5, r6) }), r4, r5, r6));
  tooFew("old_root_keys_without_the_new_ones", step(next({ rootKeys: role(2, r4, r5, r6) }), r1, r2, r3));
  tooFew("its_own_threshold_is_higher", step(next({ rootKeys: role(3, r1, r2, r3) }), r1, r2));
  tooFew("signed_by_keys_that_were_taken_out_before", step(next({ rootKeys: role(2, r4, r5, r6) }), r1, r2, r4, r5),
    step(root({ rootVersion: 3 }), r1, r2, r3));
  tooFew("refused_at_the_second_step", good, step(root({ rootVersion: 3 }), r1));
  tooFew("no_json_and_not_signed", { root: "{", signatures: lines("another", r1, r2) });
  push("key_of_small_order", "THRESHOLD_NOT_MET", [
    step(next({ rootKeys: role(2, r1, r2, identity) }), r1, identity),
  ], { trusted: root({ rootKeys: role(2, r1, r2, identity) }) });

  // Signed, and wrong.
  const malformed = (name, text) => push(name, "MALFORMED", [step(text)]);
  malformed("too_long", padded(16_385));
  push("too_long_and_not_signed", "MALFORMED", [step(padded(16_385), stranger)]);
  malformed("no_json", "{");
  malformed("empty", "");
  malformed("array_for_the_root", JSON.stringify(Object.values(rootFields({ rootVersion: 2 }))));
  for (const field of Object.keys(rootFields())) malformed(`${field}_missing`, next({ [field]: undefined }));
  for (const field of Object.keys(rootFields())) malformed(`${field}_null`, next({ [field]: null }));
  malformed("type_is_another", next({ type: "capsule" }));
  malformed("unknown_field", next({ comment: "" }));
  malformed("field_twice", next().replace("{", '{"version":1,'));
  malformed("version_as_text", next({ version: "1" }));
  malformed("community_empty", next({ community: "" }));
  malformed("root_version_zero", next({ rootVersion: 0 }));
  malformed("root_version_negative", next({ rootVersion: -1 }));
  malformed("root_version_with_a_fraction", next().replace('"rootVersion":2', '"rootVersion":2.0'));
  malformed("root_version_with_an_exponent", next().replace('"rootVersion":2', '"rootVersion":2e0'));
  malformed("root_version_too_large", next().replace('"rootVersion":2', '"rootVersion":9007199254740992'));
  malformed("expires_at_too_large", next({ expiresAt: 2 ** 53 }));
  malformed("threshold_zero", next({ rootKeys: role(0, r1, r2, r3) }));
  malformed("threshold_above_the_number_of_keys", next({ rootKeys: role(4, r1, r2, r3) }));
  malformed("threshold_of_publishers_zero", next({ publisherKeys: role(0, p1) }));
  malformed("threshold_of_publishers_above_their_number", next({ publisherKeys: role(2, p1) }));
  malformed("threshold_as_text", next({ publisherKeys: { ...role(1, p1), threshold: "1" } }));
  malformed("no_root_keys", next({ rootKeys: role(1) }));
  malformed("no_publisher_keys", next({ publisherKeys: role(1) }));
  malformed("seventeen_keys", next({ publisherKeys: role(1, ...sixteen(100), p1) }));
  malformed("key_twice_in_a_role", next({ rootKeys: role(2, r1, r2, r2) }));
  malformed("key_in_both_roles", next({ publisherKeys: role(1, r3) }));
  malformed("key_in_pem", next({ publisherKeys: role(1, { text: createPublicKey(p1.privateKey).export({ type: "spki", format: "pem" }) }) }));
  malformed("key_without_padding", next({ publisherKeys: role(1, { text: p1.text.replace("=", "") }) }));
  malformed("key_of_31_bytes", next({ publisherKeys: role(1, { text: Buffer.alloc(31, 1).toString("base64") }) }));
  malformed("key_as_number", next({ publisherKeys: { threshold: 1, keys: [1] } }));
  malformed("unknown_field_in_a_role", next({ publisherKeys: { ...role(1, p1), name: "" } }));
  malformed("array_for_the_publisher_keys", next({ publisherKeys: [1, [p1.text]] }));
  malformed("array_for_the_root_keys", next({ rootKeys: [2, [r1.text, r2.text]] }));

  push("version_2", "UNSUPPORTED_VERSION", [step(next({ version: 2 }))]);
  push("version_2_of_another_community", "UNSUPPORTED_VERSION", [step(next({ version: 2, community: "testnet" }))]);
  push("another_community", "COMMUNITY_MISMATCH", [step(next({ community: "testnet" }))]);
  push("community_in_other_case", "COMMUNITY_MISMATCH", [step(next({ community: "Mainnet" }))]);
  push("another_community_out_of_sequence", "COMMUNITY_MISMATCH", [step(root({ rootVersion: 3, community: "testnet" }))]);
  push("same_root_version_again", "ROOT_OUT_OF_SEQUENCE", [step(root({ rootVersion: 1 }))]);
  push("root_version_skipped", "ROOT_OUT_OF_SEQUENCE", [step(root({ rootVersion: 3 }))]);
  push("older_root_in_the_place_of_the_next", "ROOT_OUT_OF_SEQUENCE", [good, good]);
  push("out_of_sequence_and_not_signed_by_itself", "ROOT_OUT_OF_SEQUENCE", [
    step(root({ rootVersion: 3, rootKeys: role(2, r4, r5) }), r1, r2),
  ]);
  return cases;
}

const ISSUED_AT = NOW + 10_000;
const READ_AT = NOW + 20_000;

/** A ticket: `peerId` is the key's, or another one. */
function ticket(by, peerId, { issuedAt = NOW, lifetime = 180_000, ...overrides } = {}) {
  const peer = { peerId, userId: "user", publicKey: by.text, privateKey: by.privateKey };
  const nonce = Buffer.alloc(12, peerId).toString("base64");
  return signTicket(peer, { issuedAt, expiresAt: issuedAt + lifetime, nonce, ...overrides });
}

const tickets = [ticket(t1, "peer-1"), ticket(t2, "peer-2")];

/** A capsule file: the embedded signature is by `by`, and covers what it has to. */
function capsule(by, overrides = {}) {
  const signed = { version: 1, community: "mainnet", issuedAt: ISSUED_AT, expiresAt: ISSUED_AT + 1_800_000, peers: tickets };
  const { signature, ...fields } = { ...signed, ...overrides };
  const { version, community, issuedAt, expiresAt, peers } = fields;
  const embedded = by.sign(canonical({ community, expiresAt, issuedAt, peers, version }));
  return `${JSON.stringify({ algorithm: "ed25519", ...fields, signature: signature ?? embedded })}\n`;
}

export function makeTrust() {
  const cases = [];
  const push = (name, expect, fields) => cases.push({ name, expect, now: READ_AT, community: "mainnet", ...fields });
  const sig = (by, file) => `${by.sign(file)}\n`;
  /** A reader that trusts the key of `p1`, which made both signatures. */
  const byKey = (name, expect, overrides, fields = {}) => {
    const file = capsule(p1, overrides);
    push(name, expect, { publicKey: p1.text, file, sig: sig(p1, file), ...fields });
  };
  const none = { ticketKeys: [], publisherKeys: [], beacons: [] };
  const texts = (...keys) => keys.map(({ text }) => text).sort();

  byKey("key", "ok", {}, { live: 2, recentlySeen: 0, refused: {}, publishers: [p1.text], revoked: none });
  byKey("key_revokes_nothing", "ok", { revoked: {} }, { live: 2, revoked: none });
  byKey("key_revokes_everything_there_is", "ok", {
    revoked: {
      beacons: ["https://beacon.example", "http://127.0.0.1:8787", "https://b.example:8443/path"],
      publisherKeys: [p3.text, p2.text],
      ticketKeys: [t1.text],
    },
  }, {
    live: 1,
    refused: { REVOKED_PUBLIC_KEY: 1 },
    revoked: {
      beacons: ["http://127.0.0.1:8787", "https://b.example:8443/path", "https://beacon.example"],
      publisherKeys: texts(p2, p3),
      ticketKeys: [t1.text],
    },
  });
  byKey("unknown_field_in_revoked", "ok", { revoked: { reason: { text: "stolen" } } }, { live: 2, revoked: none });
  byKey("same_key_revoked_twice", "ok", { revoked: { ticketKeys: [t1.text, t1.text] } }, {
    live: 1,
    revoked: { ...none, ticketKeys: [t1.text] },
  });
  const many = (count) => Array.from({ length: count }, (_, at) => Buffer.alloc(32, `key-${at}.`).toString("base64"));
  byKey("256_revoked_ticket_keys", "ok", { revoked: { ticketKeys: many(256) } }, { live: 2 });
  const longUrl = (bytes) => "https://beacon.example/".padEnd(bytes, "x");
  byKey("revoked_beacon_of_2048_bytes", "ok", { revoked: { beacons: [longUrl(2_048)] } }, { live: 2 });

  // What is remembered, and what the capsule says itself, add up.
  const remembered = (lists) => ({ ...none, ...lists });
  byKey("ticket_key_remembered", "ok", {}, {
    remembered: remembered({ ticketKeys: [t1.text] }),
    live: 1,
    refused: { REVOKED_PUBLIC_KEY: 1 },
    revoked: none,
  });
  byKey("ticket_key_remembered_and_another_revoked", "ok", { revoked: { ticketKeys: [t2.text] } }, {
    remembered: remembered({ ticketKeys: [t1.text] }),
    live: 0,
    refused: { REVOKED_PUBLIC_KEY: 2 },
    revoked: { ...none, ticketKeys: [t2.text] },
  });
  byKey("remembered_ticket_key_of_nobody_here", "ok", {}, { remembered: remembered({ ticketKeys: [t3.text] }), live: 2, refused: {} });
  byKey("revoked_publisher_key_is_no_ticket_key", "ok", { revoked: { publisherKeys: [t1.text] } }, { live: 2, refused: {} });
  byKey("revoked_ticket_key_is_no_publisher_key", "ok", { revoked: { ticketKeys: [p1.text] } }, { live: 2, refused: {} });
  const spoilt = { ...tickets[0], signature: tickets[1].signature };
  byKey("revoked_comes_before_the_ticket_s_signature", "ok", { revoked: { ticketKeys: [t1.text] }, peers: [spoilt] }, {
    live: 0,
    refused: { REVOKED_PUBLIC_KEY: 1 },
  });
  byKey("expiry_of_a_ticket_comes_before_revoked", "ok", {
    revoked: { ticketKeys: [t1.text] },
    peers: [ticket(t1, "peer-1", { issuedAt: NOW - 180_000 })],
  }, { live: 0, refused: { EXPIRED: 1 } });
  byKey("revoked_impostor_does_not_stand_in_for_the_peer", "ok", {
    revoked: { ticketKeys: [t3.text] },
    peers: [ticket(t3, "peer-1"), tickets[0]],
  }, { live: 1, refused: { REVOKED_PUBLIC_KEY: 1 } });

  // A single trusted key, and what it says of itself.
  byKey("key_revokes_itself", "ok", { revoked: { publisherKeys: [p1.text] } }, {
    live: 2,
    publishers: [p1.text],
    revoked: { ...none, publisherKeys: [p1.text] },
  });
  byKey("key_has_revoked_itself", "REVOKED_PUBLIC_KEY", {}, { remembered: remembered({ publisherKeys: [p1.text] }) });
  byKey("key_has_revoked_itself_and_the_signature_is_missing", "REVOKED_PUBLIC_KEY", {}, {
    remembered: remembered({ publisherKeys: [p1.text] }),
    sig: "",
  });
  byKey("key_has_revoked_another", "ok", {}, { remembered: remembered({ publisherKeys: [p2.text] }), live: 2 });
  byKey("key_of_a_reader_that_does_not_ask_for_cosignatures", "ok", {}, { sigs: PAGE, live: 2, publishers: [p1.text] });

  // Malformed revocations make the whole capsule malformed: whoever cannot read them must not act as if there were
  // none.
  const revokedMalformed = (name, revoked) => byKey(`revoked_${name}`, "MALFORMED", { revoked });
  revokedMalformed("is_null", null);
  revokedMalformed("is_a_list", [t1.text]);
  revokedMalformed("is_text", t1.text);
  revokedMalformed("list_is_null", { ticketKeys: null });
  revokedMalformed("list_is_text", { ticketKeys: t1.text });
  revokedMalformed("list_is_an_object", { beacons: {} });
  revokedMalformed("key_is_a_number", { publisherKeys: [1] });
  revokedMalformed("key_is_empty", { publisherKeys: [""] });
  revokedMalformed("key_has_31_bytes", { ticketKeys: [Buffer.alloc(31).toString("base64")] });
  revokedMalformed("key_has_no_padding", { ticketKeys: [t1.text.replace("=", "")] });
  revokedMalformed("has_257_keys", { ticketKeys: many(257) });
  revokedMalformed("has_257_publishers", { publisherKeys: many(257) });
  revokedMalformed("has_257_beacons", { beacons: many(257).map((_, at) => `https://${at}.example`) });
  revokedMalformed("beacon_is_no_url", { beacons: ["beacon.example"] });
  revokedMalformed("beacon_is_empty", { beacons: [""] });
  revokedMalformed("beacon_is_a_number", { beacons: [1] });
  revokedMalformed("beacon_has_a_slash_at_its_end", { beacons: ["https://beacon.example/"] });
  revokedMalformed("beacon_has_a_fragment", { beacons: ["https://beacon.example/a#b"] });
  revokedMalformed("beacon_has_capitals_in_its_host", { beacons: ["https://Beacon.example"] });
  revokedMalformed("beacon_has_its_default_port", { beacons: ["https://beacon.example:443"] });
  revokedMalformed("beacon_has_2049_bytes", { beacons: [longUrl(2_049)] });
  byKey("revoked_malformed_comes_before_the_version", "MALFORMED", { version: 2, revoked: null });
  {
    const file = capsule(p1).replace("{", `{"revoked":{},"revoked":{},`);
    push("revoked_twice", "MALFORMED", { publicKey: p1.text, file, sig: sig(p1, file) });
    const added = capsule(p1).replace("{", `{"revoked":{"ticketKeys":["${t1.text}"]},`);
    push("revoked_added_by_the_host", "SIGNATURE_INVALID", { publicKey: p1.text, file: added, sig: sig(p1, capsule(p1)) });
    const revoking = capsule(p1, { revoked: { ticketKeys: [t1.text] } });
    push("revoked_taken_out_by_the_host", "SIGNATURE_INVALID", { publicKey: p1.text, file: capsule(p1), sig: sig(p1, revoking) });
  }

  // Origins decide nothing.
  const beacons = ["https://one.example", "https://two.example"];
  byKey("origins", "ok", { origins: { beacons, peers: [[0, 1], []] } }, { live: 2, refused: {} });
  for (const [name, origins] of Object.entries({
    null: null,
    text: "x",
    empty: {},
    without_beacons: { peers: [[0], [0]] },
    of_too_few_peers: { beacons, peers: [[0]] },
    of_too_many_peers: { beacons, peers: [[0], [0], [0]] },
    position_beyond_the_list: { beacons, peers: [[0], [2]] },
    position_negative: { beacons, peers: [[0], [-1]] },
    position_with_a_fraction: { beacons, peers: [[0], [0.5]] },
    position_as_text: { beacons, peers: [["0"], []] },
    beacon_as_number: { beacons: [1, 2], peers: [[0], [1]] },
  }))
    byKey(`origins_malformed_${name}`, "ok", { origins }, { live: 2, refused: {} });

  // Long tickets.
  const long = (lifetime, issuedAt = NOW) => [ticket(t1, "stable", { lifetime, issuedAt })];
  byKey("ticket_of_seven_days", "ok", { peers: long(7 * DAY) }, { live: 1, recentlySeen: 0, refused: {} });
  byKey("ticket_of_seven_days_issued_six_days_ago", "ok", { peers: long(7 * DAY, NOW - 6 * DAY) }, { live: 1, refused: {} });
  byKey("ticket_of_seven_days_and_a_millisecond", "ok", { peers: long(7 * DAY + 1) }, { live: 0, refused: { LIFETIME_TOO_LONG: 1 } });
  byKey("ticket_of_seven_days_that_has_ended_since", "ok", { peers: long(7 * DAY, NOW - 7 * DAY + 15_000) }, {
    live: 0,
    recentlySeen: 1,
    refused: {},
  });
  byKey("ticket_of_seven_days_that_ended_before", "ok", { peers: long(7 * DAY, NOW - 7 * DAY) }, { live: 0, refused: { EXPIRED: 1 } });

  // A reader that trusts a root.
  const one = root();
  const twoOfThree = root({ publisherKeys: role(2, p1, p2, p3) });
  const threeOfThree = root({ publisherKeys: role(3, p1, p2, p3) });
  /** A capsule by `p1`, with further signatures by `others`. */
  const byRoot = (name, expect, text, others, overrides = {}, fields = {}) => {
    const file = capsule(p1, overrides);
    const sigs = others.length > 0 ? { sigs: lines(file, ...others) } : {};
    push(name, expect, { root: text, file, sig: sig(p1, file), ...sigs, ...fields });
  };
  const accepted = { live: 2, recentlySeen: 0, refused: {}, revoked: none };
  byRoot("root", "ok", one, [], {}, { ...accepted, publishers: [p1.text] });
  byRoot("root_expired", "ROOT_EXPIRED", root({ expiresAt: READ_AT - 1 }), []);
  byRoot("root_expires_in_this_millisecond", "ROOT_EXPIRED", root({ expiresAt: READ_AT }), []);
  byRoot("root_expires_in_the_next_millisecond", "ok", root({ expiresAt: READ_AT + 1 }), [], {}, accepted);
  byRoot("root_expired_and_the_signature_is_missing", "ROOT_EXPIRED", root({ expiresAt: READ_AT }), [], {}, { sig: "" });
  byRoot("root_and_no_signature", "SIGNATURE_INVALID", one, [], {}, { sig: "" });
  byRoot("root_and_a_cosignature_in_the_place_of_the_signature", "SIGNATURE_INVALID", one, [p1], {}, { sig: "" });
  byRoot("root_of_another_publisher", "SIGNATURE_INVALID", root({ publisherKeys: role(1, p2, p3) }), []);
  {
    const byRootKey = capsule(r1);
    push("root_key_is_no_publisher", "SIGNATURE_INVALID", { root: one, file: byRootKey, sig: sig(r1, byRootKey) });
    const bySecond = capsule(p2);
    push("any_publisher_of_the_root", "ok", {
      root: root({ publisherKeys: role(1, p1, p2, p3) }),
      file: bySecond,
      sig: sig(p2, bySecond),
      ...accepted,
      publishers: [p2.text],
    });
    push("embedded_signature_by_another_publisher_than_the_detached_one", "SIGNATURE_INVALID", {
      root: root({ publisherKeys: role(1, p1, p2) }),
      file: bySecond,
      sig: sig(p1, bySecond),
    });
    push("embedded_signature_by_another_publisher_who_signed_beside", "SIGNATURE_INVALID", {
      root: twoOfThree,
      file: bySecond,
      sig: sig(p1, bySecond),
      sigs: lines(bySecond, p2),
    });
  }
  const identityRoot = root({ publisherKeys: role(1, identity, p1) });
  {
    const file = capsule(stranger);
    const forged = `${Buffer.from([1, ...Buffer.alloc(63)]).toString("base64")}\n`;
    push("publisher_key_of_small_order", "SIGNATURE_INVALID", { root: identityRoot, file, sig: forged });
  }
  byRoot("one_publisher_named_beside_itself", "ok", one, [p1], {}, { ...accepted, publishers: [p1.text] });

  const two = { ...accepted, publishers: texts(p1, p2) };
  byRoot("two_of_three", "ok", twoOfThree, [p2], {}, two);
  byRoot("two_of_three_where_three_have_signed", "ok", twoOfThree, [p2, p3], {}, { ...accepted, publishers: texts(p1, p2, p3) });
  byRoot("two_of_three_with_a_stranger", "ok", twoOfThree, [stranger, p2, r1], {}, two);
  byRoot("two_of_three_with_repeated_lines", "ok", twoOfThree, [p2, p2, p1], {}, two);
  byRoot("three_of_three", "ok", threeOfThree, [p3, p2], {}, { ...accepted, publishers: texts(p1, p2, p3) });
  const notMet = (name, text, others, overrides, fields) => byRoot(name, "THRESHOLD_NOT_MET", text, others, overrides, fields);
  notMet("two_of_three_without_cosignatures", twoOfThree, []);
  notMet("two_of_three_with_the_publisher_s_own", twoOfThree, [p1]);
  notMet("two_of_three_with_strangers", twoOfThree, [stranger, r1, r2, r3]);
  notMet("three_of_three_where_one_signed_twice", threeOfThree, [p2, p2]);
  notMet("cosignature_of_other_bytes", twoOfThree, [], {}, { sigs: p2.line("another") });
  notMet("cosignature_of_the_embedded_bytes_only", twoOfThree, [], {}, {
    sigs: p2.line(canonical({ community: "mainnet", expiresAt: ISSUED_AT + 1_800_000, issuedAt: ISSUED_AT, peers: tickets, version: 1 })),
  });
  notMet("threshold_comes_before_the_shape", twoOfThree, [], { peers: null });
  byRoot("cosignature_that_fits_after_one_that_does_not", "ok", twoOfThree, [], {}, {
    sigs: p2.line("another") + p2.line(capsule(p1)),
    ...two,
  });
  for (const [name, text, expect = "MALFORMED"] of [
    ["empty", ""],
    ["page", PAGE],
    ["without_the_last_line_feed", p2.line(capsule(p1)).trimEnd(), "ok"],
    ["with_a_carriage_return", p2.line(capsule(p1)).replace("\n", "\r\n"), "ok"],
    ["with_a_blank_line", `${p2.line(capsule(p1))}\n`, "ok"],
    ["with_two_spaces", p2.line(capsule(p1)).replace(" ", "  "), "ok"],
    ["with_a_space_at_the_end", p2.line(capsule(p1)).replace("\n", " \n"), "ok"],
    ["with_key_and_signature_swapped", p2.line(capsule(p1)).replace(/(\S+) (\S+)/, "$2 $1")],
    ["with_the_signature_alone", `${p2.sign(capsule(p1))}\n`],
    ["with_a_bad_line_after_a_good_one", `${p2.line(capsule(p1))}x\n`],
    ["of_65_lines", p2.line(capsule(p1)).repeat(65)],
    ["too_long", p2.line(capsule(p1)).padEnd(16_385, "\n")],
    ["with_a_byte_order_mark", `\ufeff${p2.line(capsule(p1))}`, "ok"],
    ["with_a_comment", `# by hand\n${p2.line(capsule(p1))}`],
  ])
    byRoot(`cosignatures_${name}`, expect, twoOfThree, [], {}, { sigs: text, ...(expect === "ok" ? two : {}) });
  byRoot("cosignatures_malformed_where_none_is_needed", "MALFORMED", one, [], {}, { sigs: PAGE });
  byRoot("cosignatures_of_64_lines", "ok", twoOfThree, [], {}, { sigs: p2.line(capsule(p1)).repeat(64), ...two });
  byRoot("signature_comes_before_malformed_cosignatures", "SIGNATURE_INVALID", twoOfThree, [], {}, { sig: "", sigs: PAGE });

  // Publishers that were revoked count for nothing, from the next capsule on.
  const withoutP1 = { remembered: remembered({ publisherKeys: [p1.text] }) };
  const withoutP2 = { remembered: remembered({ publisherKeys: [p2.text] }) };
  byRoot("publisher_is_revoked", "SIGNATURE_INVALID", one, [], {}, withoutP1);
  byRoot("publisher_is_revoked_and_enough_others_have_signed", "SIGNATURE_INVALID", twoOfThree, [p2, p3], {}, withoutP1);
  notMet("cosigner_is_revoked", twoOfThree, [p2], {}, withoutP2);
  byRoot("cosigner_is_revoked_and_another_has_signed", "ok", twoOfThree, [p2, p3], {}, {
    ...withoutP2,
    ...accepted,
    publishers: texts(p1, p3),
  });
  byRoot("another_publisher_is_revoked", "ok", root({ publisherKeys: role(1, p1, p2) }), [], {}, { ...withoutP2, ...accepted });
  byRoot("capsule_revokes_its_own_publisher", "ok", one, [], { revoked: { publisherKeys: [p1.text] } }, {
    live: 2,
    publishers: [p1.text],
    revoked: { ...none, publisherKeys: [p1.text] },
  });
  byRoot("capsule_revokes_a_cosigner", "ok", twoOfThree, [p2], { revoked: { publisherKeys: [p2.text] } }, {
    live: 2,
    publishers: texts(p1, p2),
  });
  byRoot("root_and_a_ticket_key_remembered", "ok", one, [], {}, {
    remembered: remembered({ ticketKeys: [t1.text] }),
    live: 1,
    refused: { REVOKED_PUBLIC_KEY: 1 },
  });

  // As under a single key.
  byRoot("root_and_rollback", "ROLLBACK", one, [], {}, { newestSeen: ISSUED_AT + 1 });
  byRoot("root_and_the_newest_again", "ok", one, [], {}, { newestSeen: ISSUED_AT, ...accepted });
  byRoot("root_and_not_yet_valid", "NOT_YET_VALID", one, [], {}, { now: ISSUED_AT - 15_001 });
  byRoot("root_and_expired", "EXPIRED", one, [], {}, { now: ISSUED_AT + 1_800_000 });
  byRoot("root_and_malformed", "MALFORMED", one, [], { peers: null });
  byRoot("root_and_version_2", "UNSUPPORTED_VERSION", one, [], { version: 2 });
  byRoot("root_and_another_algorithm", "UNSUPPORTED_ALGORITHM", one, [], { algorithm: "rsa" });
  byRoot("root_and_another_community", "COMMUNITY_MISMATCH", one, [], { community: "testnet" });
  byRoot("root_itself_of_another_community", "COMMUNITY_MISMATCH", root({ community: "testnet" }), []);
  byRoot("root_and_an_embedded_signature_that_does_not_fit", "SIGNATURE_INVALID", one, [], { signature: p1.sign("another") });
  return cases;
}

/** The DER of a key by its prefix, as RFC 8410 has it, and 32 bytes. */
const der = (prefix, bytes) => Buffer.concat([Buffer.from(prefix, "hex"), bytes]).toString("base64");

/** Texts that are keys, as tools leave them, and texts that are none. */
export function makeSpellings() {
  const cases = [];
  const SEED = Buffer.alloc(32, 31);
  const publicKey = key(31).text;
  const bytes = Buffer.from(publicKey, "base64");
  const push = (kind, name, text, isKey) => cases.push({ name: `${kind}_${name}`, kind, text, publicKey: isKey ? publicKey : null });
  const pem = (label, body) => `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
  const CERTIFICATE = pem("CERTIFICATE", "MIIBAA==");
  const FORMS = {
    public: ["PUBLIC KEY", der("302a300506032b6570032100", bytes)],
    private: ["PRIVATE KEY", der("302e020100300506032b657004220420", SEED)],
  };
  for (const [kind, [label, body]] of Object.entries(FORMS)) {
    const block = pem(label, body);
    const reads = (name, text) => push(kind, name, text, true);
    const refuses = (name, text) => push(kind, name, text, false);
    reads("der", body);
    reads("der_with_white_space", ` ${body.slice(0, 32)}\r\n\t${body.slice(32)} \n`);
    reads("der_with_a_byte_order_mark", `\ufeff${body}`);
    reads("der_with_line_ends_written_out", `${body}\\r\\n`);
    reads("pem", block);
    reads("pem_with_carriage_returns", block.replaceAll("\n", "\r\n"));
    reads("pem_with_carriage_returns_alone", block.replaceAll("\n", "\r"));
    reads("pem_with_line_ends_written_out", block.replaceAll("\n", "\\n"));
    reads("pem_without_line_ends", block.replaceAll("\n", ""));
    reads("pem_in_spaces_for_line_ends", block.replaceAll("\n", " "));
    reads("pem_with_trailing_spaces", block.replaceAll("\n", "  \n"));
    reads("pem_with_a_blank_line_inside", block.replace("-----\n", "-----\n\n"));
    reads("pem_wrapped_at_32", pem(label, body.replace(/.{32}/g, "$&\n").trimEnd()));
    reads("pem_with_a_byte_order_mark", `\ufeff${block}`);
    reads("pem_with_text_before_it", `Bag Attributes\n    friendlyName: capsule\nKey Attributes: <No Attributes>\n${block}`);
    reads("pem_with_text_after_it", `${block}ED25519 Key:\n    51:a1:f9:8e\n`);
    reads("pem_in_quotes", `"${block}"`);
    reads("pem_after_a_certificate", `${CERTIFICATE}${block}`);
    refuses("empty", "");
    refuses("white_space", " \r\n\t");
    refuses("pem_twice", block.repeat(2));
    refuses("pem_without_its_end", block.slice(0, block.indexOf("-----END")));
    refuses("pem_without_its_beginning", block.slice(block.indexOf("\n") + 1));
    refuses("pem_of_a_certificate", CERTIFICATE);
    refuses("pem_with_another_label", pem("SOMETHING", body));
    refuses("pem_with_a_character_that_is_not_base64", block.replace("M", "*"));
    refuses("pem_with_a_no_break_space", block.replace("M", "\u00a0M"));
    refuses("pem_of_an_empty_block", pem(label, ""));
    refuses("der_with_a_byte_more", Buffer.concat([Buffer.from(body, "base64"), Buffer.of(0)]).toString("base64"));
    refuses("der_with_a_byte_less", Buffer.from(body, "base64").subarray(0, -1).toString("base64"));
    refuses("der_of_x25519", body.replace("K2Vw", "K2Vu"));
    refuses("pem_of_x25519", block.replace("K2Vw", "K2Vu"));
  }
  const base64url = publicKey.replaceAll("+", "-").replaceAll("/", "_");
  push("public", "bytes", publicKey, true);
  push("public", "bytes_with_white_space", ` ${publicKey.slice(0, 20)}\n${publicKey.slice(20)}\r\n`, true);
  push("public", "bytes_with_a_byte_order_mark", `\ufeff${publicKey}\n`, true);
  push("public", "bytes_without_padding", publicKey.replace("=", ""), false);
  push("public", "bytes_in_base64url", base64url, false);
  push("public", "bytes_in_hexadecimal", bytes.toString("hex"), false);
  push("public", "bytes_in_pem", pem("PUBLIC KEY", publicKey), false);
  push("public", "bytes_one_less", bytes.subarray(1).toString("base64"), false);
  push("public", "bytes_twice", publicKey.repeat(2), false);
  push("public", "of_a_private_key", FORMS.private[1], false);
  push("public", "of_a_private_key_in_pem", pem(...FORMS.private), false);
  push("public", "of_a_private_key_under_its_label", pem("PUBLIC KEY", FORMS.private[1]), false);
  push("private", "of_a_public_key", publicKey, false);
  push("private", "of_a_public_key_in_pem", pem(...FORMS.public), false);
  push("private", "with_its_public_key", der("3051020101300506032b657004220420", Buffer.concat([SEED, Buffer.from("812100", "hex"), bytes])), true);
  return cases;
}

/** Tickets with `data`, by the key `a`, in the layout of the other cases. */
function makeData() {
  const { publicKey, privateKey } = JSON.parse(readFileSync(new URL("keys.json", import.meta.url), "utf8")).a;
  const peer = { peerId: "peer-abc", userId: "user-1", publicKey, privateKey: readPrivateKey(privateKey) };
  const signed = (overrides) => signTicket(peer, { issuedAt: NOW, nonce: "hfjbZu02ymbpkJK1", ...overrides });
  const cases = [];
  const push = (name, expect, ticket, community = "mainnet") =>
    cases.push({ name: `data_${name}`, expect, now: NOW + 1_000, community, ticket });
  const text = (ticket) => JSON.stringify(ticket);
  const good = (name, data, more = {}) => push(name, "ok", text(signed({ data, ...more })), more.community);
  const bad = (name, data) => push(name, "MALFORMED", text(signed({ data })));

  good("present", "state=away;/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooWQ");
  good("after_community", "x", { community: "mainnet" });
  good("of_json", '{"name":"Zo\\u00eb","n":1}');
  good("needs_escapes", 'a"b\\c/d');
  good("non_ascii", "Zoë ☂ 𝄞 \u2028\u2029");
  good("of_a_letter_and_a_combining_mark", "e\u0301");
  good("of_noncharacters", "\ufdd0\uffff\u{10ffff}");
  good("of_private_use_and_format_characters", "\ue000\u00ad\u200b\u202e\ufeff");
  good("of_one_space", " ");
  good("of_512_bytes", "é".repeat(256));
  good("longest_ticket", '"'.repeat(512), {
    community: "c".repeat(64),
    nonce: Buffer.alloc(32, 1).toString("base64"),
    peerId: "p".repeat(128),
    userId: '"'.repeat(128),
  });
  push("written_as_escapes", "ok", text(signed({ data: "é𝄞/" })).replace("é𝄞/", "\\u00E9\\ud834\\uDD1E\\/"));
  bad("empty", "");
  bad("of_513_bytes", "x".repeat(513));
  bad("of_257_characters_in_514_bytes", "é".repeat(257));
  bad("of_129_characters_in_516_bytes", "𝄞".repeat(129));
  bad("null_character", "a\0b");
  bad("line_feed", "a\nb");
  bad("tab", "\t");
  bad("delete_character", "a\u007fb");
  bad("c1_control", "a\u0085b");
  bad("last_c1_control", "\u009f");
  push("lone_surrogate", "MALFORMED", text(signed({ data: "x" })).replace('"data":"x"', '"data":"\\udc00"'));
  push("surrogates_in_the_wrong_order", "MALFORMED", text(signed({ data: "x" })).replace('"data":"x"', '"data":"\\udd1e\\ud834"'));
  bad("null", null);
  bad("number", 1);
  bad("array", ["x"]);
  bad("object", { x: "x" });
  push("twice", "MALFORMED", text(signed({ data: "x" })).replace('"data":"x"', '"data":"x","data":"x"'));
  push("in_the_envelope", "MALFORMED", text(signed({ envelope: { data: "x" } })));
  push("in_a_leave", "MALFORMED", text(signed({ data: "x", leave: true })));
  push("changed", "SIGNATURE_INVALID", text(signed({ data: "x" })).replace('"data":"x"', '"data":"y"'));
  push("normalised_after_signing", "SIGNATURE_INVALID", text(signed({ data: "e\u0301" })).replace("e\u0301", "\u00e9"));
  push("added_unsigned", "SIGNATURE_INVALID", text(signed({})).replace('"nonce"', '"data":"x","nonce"'));
  push("signed_then_removed", "SIGNATURE_INVALID", text(signed({ data: "x" })).replace('"data":"x"', "").replace(/,(?=\})/, ""));
  return cases;
}

/** Cases of signals from one peer, `ann`, to another, `bob`, and of what both confirm. */
export function makeSignals() {
  const cases = [];
  const [ann, bob, eve] = [t1, t2, t3].map((each, at) => ({ ...each, peerId: ["ann", "bob", "eve"][at] }));
  const COMMUNITY = "mainnet";
  const claim = ({ peerId, text }) => [peerId, text];
  const hash = (text) => createHash("sha256").update(text).digest("base64");
  const bytes = ({ at, community, data, from, fromKey, id, kind, re, to, toKey }) => {
    const signed = { at, community, data, from, fromKey, id, kind, ...(re !== undefined && { re }), to, toKey };
    return `rendezvous-live-v1:signal\n${canonical(signed)}`;
  };
  /** A signal as it is sent. What is overridden is signed so; what is in `after` is put in after signing. */
  const make = (overrides = {}, { after = {}, by = ann, community = COMMUNITY } = {}) => {
    const fields = {
      id: "offer-0001",
      kind: "offer",
      to: bob.peerId,
      toKey: bob.text,
      from: ann.peerId,
      fromKey: ann.text,
      at: NOW,
      data: "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n",
      ...overrides,
    };
    const text = bytes({ ...fields, community });
    return { text, sent: { t: "signal", ...fields, signature: by.sign(text), ...after } };
  };
  const ticketOf = (peer, overrides = {}) => {
    const fixed = { userId: "user", issuedAt: NOW - 1_000, nonce: Buffer.alloc(12, 1).toString("base64"), community: COMMUNITY };
    return signTicket({ ...peer, publicKey: peer.text }, { ...fixed, ...overrides });
  };
  const offer = make();
  const OFFER = hash(offer.text);
  const answerFields = { id: "answer-001", kind: "answer", re: OFFER, to: ann.peerId, toKey: ann.text, from: bob.peerId, fromKey: bob.text };
  const answer = make(answerFields, { by: bob });

  /**
   * @param {string} name
   * @param {string} expect
   * @param {{ text?: string, sent: object | string }} signal
   */
  const push = (name, expect, { text, sent }, { own = bob, present = [ann], seen = [], community = COMMUNITY, now = NOW } = {}) =>
    cases.push({
      name,
      expect,
      now,
      community,
      own: claim(own),
      present: present.map(claim),
      seen: seen.map(([id, { text }]) => [id, text]),
      ...(expect === "MALFORMED" ? {} : { canonical: text, sha256: hash(text) }),
      signal: typeof sent === "string" ? sent : JSON.stringify(sent),
    });
  const good = (name, signal, options) => push(name, "ok", signal, options);

  good("offer", offer);
  good("answer", answer, { own: ann, present: [bob] });
  good("candidate_of_whoever_offered", make({ id: "candidate_1", kind: "candidate", re: OFFER, data: "candidate:1 1 UDP 1 192.0.2.1 9 typ host" }));
  good("candidate_of_whoever_answers", make({ ...answerFields, id: "candidate-2", kind: "candidate", data: "x" }, { by: bob }), { own: ann, present: [bob] });
  good("as_a_beacon_hands_it_on_in_another_order", { ...offer, sent: Object.fromEntries(Object.entries(offer.sent).reverse()) });
  good("with_white_space", { ...offer, sent: JSON.stringify(offer.sent, null, " ") });
  good("data_that_needs_escapes", make({ data: '"\\/\b\f\n\r\t\u0000\u001f\u007f\u2028é𝄞<>&' }));
  const escaped = make({ data: "é𝄞/" });
  good("data_written_as_escapes", { ...escaped, sent: JSON.stringify(escaped.sent).replace("é𝄞/", "\\u00E9\\ud834\\uDD1E\\/") });
  good("data_of_8192_bytes", make({ data: "é".repeat(4_096) }));
  good("shortest_id", make({ id: "aZ09_-aa" }));
  good("longest_id", make({ id: "a".repeat(32) }));
  good("45_s_old", make({ at: NOW - 45_000 }));
  good("45_s_ahead", make({ at: NOW + 45_000 }));
  good("sender_known_by_the_ticket_in_it", make({}, { after: { ticket: ticketOf(ann) } }), { present: [] });
  good("ticket_that_is_not_needed", make({}, { after: { ticket: ticketOf(ann) } }));
  good("same_id_of_another_sender_seen", offer, { seen: [[offer.sent.id, eve]] });
  good("sender_with_the_receivers_name", make({ from: bob.peerId }), { present: [{ ...ann, peerId: bob.peerId }] });

  const bad = (name, code, signal, options) => push(name, code, signal, options);
  bad("for_another_name", "ANOTHER_PEER", make({ to: "bobby" }));
  bad("for_another_key", "ANOTHER_PEER", make({ toKey: eve.text }));
  bad("own_signal_handed_back", "ANOTHER_PEER", offer, { own: ann, present: [ann, bob] });
  bad("receiver_changed_after_signing", "SIGNATURE_INVALID", make({ to: eve.peerId, toKey: eve.text }, { after: { to: bob.peerId, toKey: bob.text } }));
  bad("signed_for_another_community", "SIGNATURE_INVALID", make({}, { community: "testnet" }));
  bad("replayed_in_another_community", "SIGNATURE_INVALID", offer, { community: "testnet" });
  bad("signed_by_another_key", "SIGNATURE_INVALID", make({}, { by: eve }));
  bad("another_senders_name", "NOT_LISTED", make({ from: "annie" }));
  bad("another_senders_key", "NOT_LISTED", make({ fromKey: eve.text }, { by: eve }));
  bad("sender_not_present", "NOT_LISTED", offer, { present: [eve] });
  bad("fingerprint_changed_on_the_way", "SIGNATURE_INVALID", make({ data: "a=fingerprint:sha-256 00" }, { after: { data: "a=fingerprint:sha-256 01" } }));
  bad("id_changed_on_the_way", "SIGNATURE_INVALID", make({}, { after: { id: "offer-0002" } }));
  bad("time_changed_on_the_way", "SIGNATURE_INVALID", make({}, { after: { at: NOW + 1 } }));
  bad("answer_made_a_candidate", "SIGNATURE_INVALID", make(answerFields, { by: bob, after: { kind: "candidate" } }), { own: ann, present: [bob] });
  bad("answer_to_another_offer", "SIGNATURE_INVALID", make(answerFields, { by: bob, after: { re: hash("") } }), { own: ann, present: [bob] });
  bad("signed_as_a_ticket_is", "SIGNATURE_INVALID", make({}, { after: { signature: ann.sign(offer.text.split("\n")[1]) } }));
  bad("signed_as_a_confirmation_is", "SIGNATURE_INVALID", make({}, { after: { signature: ann.sign(offer.text.replace(":signal", ":confirm")) } }));
  bad("key_of_small_order", "SIGNATURE_INVALID", make({ fromKey: identity.text }, { after: { signature: identity.line().trim().split(" ")[1] } }), {
    present: [{ ...identity, peerId: ann.peerId }],
  });
  bad("more_than_45_s_old", "SIGNAL_TIME", make({ at: NOW - 45_001 }));
  bad("more_than_45_s_ahead", "SIGNAL_TIME", make({ at: NOW + 45_001 }));
  bad("seen_before", "DUPLICATE", offer, { seen: [[offer.sent.id, ann]] });
  bad("seen_before_with_other_data", "DUPLICATE", make({ data: "other" }), { seen: [[offer.sent.id, ann]] });
  const withTicket = (ticket) => make({}, { after: { ticket } });
  bad("ticket_of_another", "NOT_LISTED", withTicket(ticketOf(eve)), { present: [] });
  bad("ticket_of_another_name", "NOT_LISTED", withTicket(ticketOf({ ...ann, peerId: "annie" })), { present: [] });
  bad("ticket_that_has_ended", "EXPIRED", withTicket(ticketOf(ann, { issuedAt: NOW - 180_000 })), { present: [] });
  bad("ticket_for_another_community", "COMMUNITY_MISMATCH", withTicket(ticketOf(ann, { community: "testnet" })), { present: [] });
  bad("ticket_to_leave", "MALFORMED", withTicket(ticketOf(ann, { leave: true })), { present: [] });
  bad("ticket_forged", "SIGNATURE_INVALID", withTicket({ ...ticketOf(ann), signature: ticketOf(eve).signature }), { present: [] });
  // Two faults each: whether the sender is present comes before the signature.
  const bySomebodyElse = (ticket) => make({}, { by: eve, after: { ticket } });
  bad("ticket_of_another_and_signed_by_another_key", "NOT_LISTED", bySomebodyElse(ticketOf(eve)), { present: [] });
  bad("ticket_that_has_ended_and_signed_by_another_key", "EXPIRED", bySomebodyElse(ticketOf(ann, { issuedAt: NOW - 180_000 })), { present: [] });

  const shape = (name, change) => bad(name, "MALFORMED", { sent: change(structuredClone(offer.sent)) });
  for (const field of ["id", "kind", "to", "toKey", "from", "fromKey", "at", "data", "signature"])
    shape(`without_${field}`, ({ [field]: _, ...rest }) => rest);
  const set = (name, fields) => shape(name, (sent) => ({ ...sent, ...fields }));
  set("unknown_field", { seq: 1 });
  set("ticket_null", { ticket: null });
  set("ticket_as_text", { ticket: "{}" });
  set("id_of_7", { id: "a".repeat(7) });
  set("id_of_33", { id: "a".repeat(33) });
  set("id_with_a_space", { id: "offer 0001" });
  set("id_null", { id: null });
  set("kind_unknown", { kind: "hangup" });
  set("kind_in_capitals", { kind: "Offer" });
  set("offer_with_re", { re: OFFER });
  set("offer_with_re_null", { re: null });
  set("answer_without_re", { kind: "answer" });
  set("candidate_without_re", { kind: "candidate" });
  set("re_of_31_bytes", { kind: "answer", re: Buffer.alloc(31).toString("base64") });
  set("re_in_base64url", { kind: "answer", re: Buffer.alloc(32, 255).toString("base64url") });
  set("re_in_hexadecimal", { kind: "answer", re: "0".repeat(64) });
  set("name_of_nothing", { to: "" });
  set("name_that_no_ticket_has", { from: "a<b" });
  set("key_of_31_bytes", { toKey: Buffer.alloc(31).toString("base64") });
  set("key_without_padding", { fromKey: ann.text.slice(0, -1) });
  set("signature_of_63_bytes", { signature: Buffer.alloc(63).toString("base64") });
  set("time_as_text", { at: String(NOW) });
  set("time_with_a_fraction", { at: NOW + 0.5 });
  set("time_of_2_to_the_53", { at: 2 ** 53 });
  set("data_of_nothing", { data: "" });
  set("data_of_8193_bytes", { data: "x".repeat(8_193) });
  set("data_of_8194_bytes_in_4097_characters", { data: "é".repeat(4_097) });
  set("data_as_an_object", { data: {} });
  shape("data_with_a_lone_surrogate", (sent) => JSON.stringify({ ...sent, data: "x" }).replace('"data":"x"', '"data":"\\ud834"'));
  shape("field_twice", (sent) => JSON.stringify(sent).replace('"kind":', '"kind":"offer","kind":'));
  shape("array", (sent) => JSON.stringify(Object.values(sent)));
  shape("of_12289_bytes", (sent) => JSON.stringify(sent).padEnd(12_289, " "));

  /** @param {{ key?: typeof ann, peer?: typeof bob, by?: typeof ann, changed?: object }} [options] */
  const confirm = (name, expect, { key = ann, peer = bob, by = key, changed = {} } = {}) => {
    const fields = { answer: hash(answer.text), community: COMMUNITY, key: key.text, offer: OFFER, peerKey: peer.text };
    const signature = by.sign(`rendezvous-live-v1:confirm\n${canonical(fields)}`);
    const said = { ...fields, ...changed };
    const text = `rendezvous-live-v1:confirm\n${canonical(said)}`;
    cases.push({ name, expect, canonical: text, confirm: said, signature });
  };
  confirm("confirmed_by_whoever_offered", "ok");
  confirm("confirmed_by_whoever_answered", "ok", { key: bob, peer: ann });
  confirm("confirmed_to_a_third_one", "SIGNATURE_INVALID", { changed: { peerKey: eve.text } });
  confirm("confirmed_by_a_third_one", "SIGNATURE_INVALID", { by: eve });
  confirm("confirmation_handed_back", "SIGNATURE_INVALID", { changed: { key: bob.text, peerKey: ann.text } });
  confirm("confirmed_of_another_offer", "SIGNATURE_INVALID", { changed: { offer: hash("") } });
  confirm("confirmed_of_another_answer", "SIGNATURE_INVALID", { changed: { answer: hash("") } });
  confirm("confirmed_offer_and_answer_exchanged", "SIGNATURE_INVALID", { changed: { offer: hash(answer.text), answer: OFFER } });
  confirm("confirmed_in_another_community", "SIGNATURE_INVALID", { changed: { community: "testnet" } });
  return cases;
}

/** What the `data` of a ticket says of where messages can be left, beside words of other applications. */
export function makeMessageAddresses() {
  const cases = [];
  const USER = "f1041c25c87351d8550b31cc6b13ab04";
  const MAILBOX = "a812668d162aefa9cc070646b7046c9209f6f0bef12efb5528902fa293f49a5b";
  const [ONE, TWO, THREE, FOUR, FIVE] = ["one", "two", "three", "four", "five"].map((name) => `https://${name}.example`);
  const user = (...relays) => ["rendezvous-user=" + USER, ...relays].join();
  const mailbox = (...relays) => ["rendezvous-mailbox=" + MAILBOX, ...relays].join();
  /** `said` are the relays of each that is named. */
  const ok = (name, data, { user: ofUser, mailbox: ofMailbox } = {}) =>
    cases.push({
      name,
      expect: "ok",
      data,
      ...(ofUser ? { user: { user: USER, relays: ofUser } } : {}),
      ...(ofMailbox ? { mailbox: { mailbox: MAILBOX, relays: ofMailbox } } : {}),
    });
  const refuse = (name, data) => cases.push({ name, expect: "MALFORMED", data });

  ok("user_alone", user(), { user: [] });
  ok("user_at_a_relay", user(ONE), { user: [ONE] });
  ok("user_at_four_relays", user(ONE, TWO, THREE, FOUR), { user: [ONE, TWO, THREE, FOUR] });
  ok("mailbox_at_a_relay", mailbox(ONE), { mailbox: [ONE] });
  ok("mailbox_at_four_relays", mailbox(ONE, TWO, THREE, FOUR), { mailbox: [ONE, TWO, THREE, FOUR] });
  ok("both", `${user(ONE)} ${mailbox(ONE, TWO)}`, { user: [ONE], mailbox: [ONE, TWO] });
  ok("both_in_the_other_order", `${mailbox(ONE)} ${user(TWO)}`, { user: [TWO], mailbox: [ONE] });
  ok("between_words_of_others", `state=busy ${user(ONE)} {"at":[1,2]} ${mailbox(TWO)} é`, { user: [ONE], mailbox: [TWO] });
  ok("between_many_spaces", `  ${user(ONE)}   ${mailbox(TWO)} `, { user: [ONE], mailbox: [TWO] });
  ok("relay_with_a_port", user("http://127.0.0.1:8787"), { user: ["http://127.0.0.1:8787"] });
  ok("relay_with_an_address_of_version_6", mailbox("http://[::1]:8787"), { mailbox: ["http://[::1]:8787"] });
  ok("nothing_of_the_kind", "state=busy");
  ok("one_space", " ");
  ok("in_json_of_another_application", JSON.stringify({ at: user(ONE) }));
  ok("another_word_with_its_beginning", `rendezvous-users=${USER} rendezvous-user ${USER}`);
  ok("in_the_middle_of_a_word", `x-${user(ONE)} =${mailbox(ONE)}`);
  ok("in_capitals", `Rendezvous-User=${USER}`);
  ok("after_a_space_that_is_no_break", `x\u00a0${user(ONE)}`);

  refuse("user_without_an_id", "rendezvous-user=");
  refuse("user_of_31_digits", `rendezvous-user=${USER.slice(1)}`);
  refuse("user_of_33_digits", `rendezvous-user=${USER}0`);
  refuse("user_in_capitals", `rendezvous-user=${USER.toUpperCase()}`);
  refuse("user_twice", `${user(ONE)} ${user(ONE)}`);
  refuse("user_with_the_relay_first", `rendezvous-user=${ONE},${USER}`);
  refuse("user_with_a_space_after_the_comma", `${user()}, ${ONE}`);
  refuse("user_at_a_relay_that_is_empty", `${user()},`);
  refuse("user_at_five_relays", user(ONE, TWO, THREE, FOUR, FIVE));
  refuse("user_at_one_relay_twice", user(ONE, TWO, ONE));
  refuse("relay_with_a_slash_at_its_end", user(`${ONE}/`));
  refuse("relay_with_a_path", user(`${ONE}/relay`));
  refuse("relay_with_the_scheme_s_own_port", user(`${ONE}:443`));
  refuse("relay_in_capitals", user(ONE.toUpperCase()));
  refuse("relay_with_another_scheme", user("wss://one.example"));
  refuse("relay_without_a_scheme", user("one.example"));
  refuse("relay_with_a_name_and_a_password", user("https://user:password@one.example"));
  refuse("relay_of_301_bytes", user(`https://${"a".repeat(293)}`));
  refuse("mailbox_without_a_relay", mailbox());
  refuse("mailbox_without_an_address", `rendezvous-mailbox=,${ONE}`);
  refuse("mailbox_of_63_digits", `rendezvous-mailbox=${MAILBOX.slice(1)},${ONE}`);
  refuse("mailbox_of_a_user_s_id", `rendezvous-mailbox=${USER},${ONE}`);
  refuse("mailbox_in_capitals", `rendezvous-mailbox=${MAILBOX.toUpperCase()},${ONE}`);
  refuse("mailbox_twice", `${mailbox(ONE)} ${mailbox(TWO)}`);
  refuse("mailbox_at_five_relays", mailbox(ONE, TWO, THREE, FOUR, FIVE));
  refuse("good_user_and_bad_mailbox", `${user(ONE)} rendezvous-mailbox=x`);
  return cases;
}

/**
 * The cases, each with the canonical JSON that its embedded signature is over, where it has the shape for it.
 *
 * @param {any[]} cases
 * @param {(vector: any) => unknown} signed
 */
function withCanonical(cases, signed) {
  return cases.map(({ canonical: _, name, expect, now, community, ...rest }) => ({
    name,
    expect,
    now,
    community,
    ...(expect === "MALFORMED" ? {} : { canonical: canonical(signed(rest)) }),
    ...rest,
  }));
}

/** @param {string} name */
const casesIn = (name) => JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));

const withCanonicalPayloads = () => {
  const others = casesIn("tickets.json").filter(({ name }) => !name.startsWith("data_"));
  return withCanonical([...others, ...makeData()], ({ ticket }) => JSON.parse(ticket).payload);
};

/** @param {any[]} cases Of capsules. */
const withCanonicalFields = (cases) =>
  withCanonical(cases, ({ file }) => {
    const { community, expiresAt, issuedAt, peers, version } = JSON.parse(file);
    return { community, expiresAt, issuedAt, peers, version };
  });

/** Each file's name, and its text. */
export const files = () =>
  Object.entries({
    "roots.json": makeRoots(),
    "trust.json": withCanonicalFields(makeTrust()),
    "spellings.json": makeSpellings(),
    "signals.json": makeSignals(),
    "message-addresses.json": makeMessageAddresses(),
    "tickets.json": withCanonicalPayloads(),
    "capsules.json": withCanonicalFields(casesIn("capsules.json")),
  }).map(([name, cases]) => [name, `${JSON.stringify(cases, null, 1)}\n`]);

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href)
  for (const [name, text] of files()) writeFileSync(new URL(name, import.meta.url), text);
