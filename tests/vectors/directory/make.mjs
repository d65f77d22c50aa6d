// Makes the vectors of the directory: `node tests/vectors/directory/make.mjs` writes them again.
//
// Written from protocol/README.md, with node:crypto and nothing of the Rust code, so that it is a second opinion on it.
// Keys and times are fixed, and Ed25519 is deterministic: the same script makes the same bytes.

import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { canonical } from "../../ticket.mjs";
import { key } from "../key.mjs";

const NOW = 1_700_000_040_000;
const DAY = 86_400_000;
const HUB = "https://hub.example";

const [origin, publisher, stranger, hub] = [51, 52, 53, 54].map(key);
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
const bytes = (length, byte) => Buffer.alloc(length, byte).toString("base64");
const many = (count, make) => Array.from({ length: count }, (_, at) => make(at));

/** An envelope; `as` is the purpose that is signed, if it is another one, `envelope` replaces fields after signing. */
function seal(purpose, signer, payload, { as = purpose, envelope = {} } = {}) {
  for (const [field, value] of Object.entries(payload)) if (value === undefined) delete payload[field];
  const signature = signer.sign(`rendezvous-directory-v1:${as}\n${canonical(payload)}`);
  return { version: 1, algorithm: "ed25519", publicKey: signer.text, signature, payload, ...envelope };
}

const beacon = (at, overrides = {}) => ({ id: bytes(16, at), url: `https://b${at}.example`, ...overrides });
const entry = () => ({
  access: "open",
  beacons: [beacon(1), beacon(2, { url: "https://beacon.example.org:8443/eu" })],
  capsules: ["https://static.example/peers.json"],
  description: "Chess, \"blitz\" and slow \u{1f642}",
  expiresAt: NOW + 7 * DAY,
  name: "chess.blitz",
  tags: ["chess", "de-at"],
  updated: NOW - 60_000,
});

/** The same entry with a root, endorsed as `by` says. */
function withRoot(payload, { by = publisher, of = origin, as = "endorsement", named = by, root = {} } = {}) {
  const plain = { publicKey: named.text, sha256: sha256("root").toString("base64") };
  const signature = by.sign(`rendezvous-directory-v1:${as}\n${of.text}\n${canonical({ ...payload, root: plain })}`);
  return { ...payload, root: { ...plain, signature, ...root } };
}

const RECORDS = {
  entry: [origin, entry],
  tombstone: [origin, () => ({ name: "chess.blitz", updated: NOW - 60_000 })],
  exchange: [hub, () => ({ audience: HUB, issuedAt: NOW, nonce: bytes(16, 5), since: "0badcafe-17" })],
};

function makeRecords() {
  const cases = [];
  const text = (record) => (typeof record === "string" ? record : JSON.stringify(record));
  const push = (record, name, expect, json, { now = NOW, hub: ofHub } = {}) =>
    cases.push({
      name: `${record}_${name}`,
      record,
      expect,
      // Where a hub decides otherwise than a reader.
      ...(ofHub ? { hub: ofHub } : {}),
      now,
      ...(expect === "MALFORMED" ? {} : { canonical: `rendezvous-directory-v1:${record}\n${canonical(JSON.parse(text(json)).payload)}` }),
      json: text(json),
    });

  for (const [record, [signer, make]] of Object.entries(RECORDS)) {
    const good = (overrides = {}, options) => seal(record, signer, { ...make(), ...overrides }, options);
    const json = JSON.stringify(good());
    const changed = record === "exchange" ? { nonce: bytes(16, 66) } : { name: "chess" };
    push(record, "good", "ok", good());
    push(record, "in_another_layout", "ok", JSON.stringify(Object.fromEntries(Object.entries(good()).reverse()), null, "\t"));
    push(record, "changed", "SIGNATURE_INVALID", good({}, { envelope: { payload: { ...make(), ...changed } } }));
    push(record, "under_another_key", "SIGNATURE_INVALID", good({}, { envelope: { publicKey: stranger.text } }));
    push(record, "signed_as_another_record", "SIGNATURE_INVALID", good({}, { as: record === "entry" ? "tombstone" : "entry" }));
    push(record, "signed_as_a_record_of_mailboxes", "SIGNATURE_INVALID", { ...good(), signature: signer.sign(`rendezvous-mailbox-v1:${record}\n${canonical(make())}`) });
    push(record, "signed_without_its_purpose", "SIGNATURE_INVALID", { ...good(), signature: signer.sign(canonical(make())) });
    push(record, "by_the_key_of_small_order", "SIGNATURE_INVALID", {
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
    for (const field of Object.keys(make())) {
      if (field !== "since") malformed(`${field}_missing`, { [field]: undefined });
      malformed(`${field}_null`, { [field]: null });
      malformed(`${field}_true`, { [field]: true });
      malformed(`${field}_twice`, json.replace('"payload":{', `"payload":{"${field}":${JSON.stringify(make()[field])},`));
    }
    if ("updated" in make()) {
      malformed("updated_with_a_fraction", json.replace(/"updated":\d+/, '"updated":1.0'));
      malformed("updated_too_large", { updated: 2 ** 53 });
      malformed("name_empty", { name: "" });
      malformed("name_of_65_characters", { name: "x".repeat(65) });
      malformed("name_with_a_space", { name: "a b" });
      malformed("name_of_a_dot", { name: "." });
      malformed("name_of_two_dots", { name: ".." });
      push(record, "name_of_three_dots", "ok", good({ name: "..." }));
      push(record, "name_of_64_characters", "ok", good({ name: "x".repeat(64) }));
      const later = record === "entry" ? { expiresAt: NOW + DAY } : {};
      push(record, "written_15_seconds_ahead", "ok", good({ ...later, updated: NOW + 15_000 }));
      push(record, "written_too_far_ahead", "NOT_YET_VALID", good({ ...later, updated: NOW + 15_001 }));
      const old = (more) => good({ updated: NOW - 30 * DAY + more, ...(record === "entry" ? { expiresAt: NOW + more } : {}) });
      push(record, "in_its_last_millisecond", "ok", old(1));
      push(record, "thirty_days_old", "EXPIRED", old(0));
    }
  }

  const of = (signer = origin) => ({
    ok: (name, overrides, more) => push("entry", name, "ok", seal("entry", signer, { ...entry(), ...overrides }), more),
    refuse: (name, expect, overrides, more) => push("entry", name, expect, seal("entry", signer, { ...entry(), ...overrides }), more),
    malformed: (name, overrides) => push("entry", name, "MALFORMED", seal("entry", signer, { ...entry(), ...overrides })),
  });
  const { ok, refuse, malformed } = of();
  ok("with_little", { access: "invite-only", beacons: [], capsules: [], description: "", tags: [] });
  ok("with_all_that_fits", {
    beacons: many(32, (at) => beacon(at, { url: `https://b${at}.example` })),
    capsules: many(8, (at) => `https://c${at}.example/peers.json`),
    description: "x".repeat(280),
    tags: many(8, (at) => `t${at}`),
  });
  malformed("ends_when_it_begins", { expiresAt: NOW - 60_000 });
  ok("lives_as_long_as_allowed", { expiresAt: NOW - 60_000 + 30 * DAY });
  refuse("lives_too_long", "LIFETIME_TOO_LONG", { expiresAt: NOW - 60_000 + 30 * DAY + 1 });
  refuse("ended", "EXPIRED", { expiresAt: NOW }, { hub: "ok" });
  malformed("access_of_another_kind", { access: "closed" });
  malformed("access_in_upper_case", { access: "Open" });
  malformed("33_beacons", { beacons: many(33, (at) => beacon(at)) });
  malformed("beacon_id_twice", { beacons: [beacon(1), beacon(2, { id: bytes(16, 1) })] });
  malformed("beacon_url_twice", { beacons: [beacon(1), beacon(2, { url: "https://b1.example" })] });
  malformed("beacon_id_of_15_bytes", { beacons: [beacon(1, { id: bytes(15, 1) })] });
  malformed("beacon_id_without_padding", { beacons: [beacon(1, { id: bytes(16, 1).replaceAll("=", "") })] });
  malformed("beacon_without_id", { beacons: [{ url: "https://b1.example" }] });
  malformed("beacon_with_another_field", { beacons: [beacon(1, { weight: 2 })] });
  malformed("beacon_as_a_text", { beacons: ["https://b1.example"] });
  malformed("beacon_as_an_array", { beacons: [[bytes(16, 1), "https://b1.example"]] });
  refuse("two_beacons_of_one_domain", "ok", { beacons: [beacon(1, { url: "https://a.beacon.example" }), beacon(2, { url: "https://b.beacon.example" })] }, { hub: "MALFORMED" });
  refuse("two_ports_of_one_name", "ok", { beacons: [beacon(1, { url: "https://b.example" }), beacon(2, { url: "https://b.example:8443" })] }, { hub: "MALFORMED" });
  ok("two_beacons_below_a_public_suffix", { beacons: [beacon(1, { url: "https://one.co.uk" }), beacon(2, { url: "https://two.co.uk" }), beacon(3, { url: "https://one.github.io" }), beacon(4, { url: "https://two.github.io" })] });
  const addresses = {
    over_http: "http://b.example",
    in_upper_case: "https://B.example",
    with_a_slash_at_its_end: "https://b.example/",
    with_a_user: "https://u@b.example",
    with_a_password: "https://u:p@b.example",
    with_a_query: "https://b.example/?q",
    with_a_fragment: "https://b.example/#f",
    with_the_usual_port: "https://b.example:443",
    with_port_0: "https://b.example:0",
    with_port_65536: "https://b.example:65536",
    with_an_empty_port: "https://b.example:",
    with_a_port_that_begins_with_0: "https://b.example:08443",
    with_an_ipv4_address: "https://203.0.113.7",
    with_a_short_ipv4_address: "https://127.1",
    with_a_hexadecimal_ipv4_address: "https://0x7f.0x1",
    with_an_ipv6_address: "https://[2001:db8::1]",
    with_one_label: "https://localhost",
    with_a_dot_at_its_end: "https://b.example.",
    with_an_empty_label: "https://b..example",
    with_a_label_that_begins_with_a_hyphen: "https://-b.example",
    with_a_label_that_ends_with_a_hyphen: "https://b-.example",
    with_a_label_of_64: `https://${"x".repeat(64)}.example`,
    with_an_underscore: "https://b_c.example",
    beyond_ascii: "https://b\u00fccher.example",
    with_dots_in_its_path: "https://b.example/a/../b",
    with_an_escape: "https://b.example/%61",
    with_an_empty_segment: "https://b.example//a",
    with_a_backslash: "https://b.example\\a",
    with_a_space: "https://b.example/a b",
    with_a_line_end: "https://b.example\n",
    of_301_bytes: `https://b.example/${"x".repeat(283)}`,
    of_a_name_of_254: `https://${many(4, () => "x".repeat(61)).join(".")}.example`,
  };
  for (const [name, url] of Object.entries(addresses)) malformed(`address_${name}`, { capsules: [], beacons: [beacon(1, { url })] });
  ok("address_of_300_bytes", { capsules: [], beacons: [beacon(1, { url: `https://b.example/${"x".repeat(282)}` })] });
  ok("address_in_punycode", { beacons: [beacon(1, { url: "https://xn--bcher-kva.example:1/A/b_c.d~e-f" })] });
  malformed("nine_capsules", { capsules: many(9, (at) => `https://c${at}.example`) });
  malformed("capsule_twice", { capsules: ["https://c.example", "https://c.example"] });
  malformed("capsule_over_http", { capsules: ["http://c.example"] });
  malformed("description_of_281_bytes", { description: `${"x".repeat(279)}\u00e9` });
  malformed("description_with_a_line_end", { description: "a\nb" });
  malformed("description_with_a_control_character", { description: "a\u0085b" });
  malformed("nine_tags", { tags: many(9, (at) => `t${at}`) });
  malformed("tag_twice", { tags: ["a", "a"] });
  malformed("tag_empty", { tags: [""] });
  malformed("tag_in_upper_case", { tags: ["Chess"] });
  malformed("tag_of_33_bytes", { tags: ["x".repeat(33)] });
  ok("tag_of_32_bytes", { tags: ["x".repeat(32)] });
  const large = { beacons: many(32, (at) => beacon(at, { url: `https://b${at}.example/${"x".repeat(60)}` })) };
  malformed("too_large", large);

  const rooted = (options) => withRoot(entry(), options);
  ok("with_a_root", rooted());
  refuse("with_a_root_that_another_key_endorsed", "SIGNATURE_INVALID", rooted({ by: stranger, named: publisher }));
  refuse("with_a_root_that_was_endorsed_for_another_origin", "SIGNATURE_INVALID", rooted({ of: stranger }));
  refuse("with_a_root_that_was_endorsed_as_an_entry", "SIGNATURE_INVALID", rooted({ as: "entry" }));
  refuse("with_a_root_that_was_endorsed_for_another_description", "SIGNATURE_INVALID", { ...rooted(), description: "else" });
  refuse("with_another_root_than_was_endorsed", "SIGNATURE_INVALID", rooted({ root: { sha256: bytes(32, 9) } }));
  malformed("with_a_root_without_signature", rooted({ root: { signature: undefined } }));
  malformed("with_a_root_without_key", rooted({ root: { publicKey: undefined } }));
  malformed("with_a_root_of_31_bytes", rooted({ root: { sha256: bytes(31, 9) } }));
  malformed("with_a_root_with_another_field", rooted({ root: { rootVersion: 1 } }));
  malformed("with_a_root_that_is_a_text", { root: bytes(32, 9) });

  const exchange = (overrides) => seal("exchange", hub, { ...RECORDS.exchange[1](), ...overrides });
  push("exchange", "from_the_beginning", "ok", exchange({ since: undefined }));
  push("exchange", "a_minute_ahead", "ok", exchange(), { now: NOW - 60_000 });
  push("exchange", "more_than_a_minute_ahead", "NOT_YET_VALID", exchange(), { now: NOW - 60_001 });
  push("exchange", "a_minute_old", "ok", exchange(), { now: NOW + 60_000 });
  push("exchange", "more_than_a_minute_old", "EXPIRED", exchange(), { now: NOW + 60_001 });
  push("exchange", "for_another_hub", "MISDIRECTED_REQUEST", exchange({ audience: "https://other.example" }));
  push("exchange", "audience_with_a_slash", "MALFORMED", exchange({ audience: `${HUB}/` }));
  push("exchange", "nonce_of_15_bytes", "MALFORMED", exchange({ nonce: bytes(15, 5) }));
  push("exchange", "since_in_upper_case", "MALFORMED", exchange({ since: "0BADCAFE-17" }));
  push("exchange", "since_with_a_zero_before", "MALFORMED", exchange({ since: "0badcafe-017" }));
  return cases;
}

/** The order in which the peers of a community use beacons, by their positions. */
function makePlacements() {
  const lists = { none: 0, one: 1, three: 3, thirty_two: 32 };
  return Object.entries(lists).flatMap(([name, count]) =>
    ["mainnet", "chess.blitz", "x".repeat(64)].map((community) => {
      const beacons = many(count, (at) => ({ id: sha256(`beacon ${at}`).subarray(0, 16).toString("base64"), url: `https://b${at}.example` }));
      const weight = ({ id }) => sha256(community, Buffer.from(id, "base64")).toString("hex");
      const order = many(count, (at) => at).sort((one, other) => (weight(beacons[one]) < weight(beacons[other]) ? 1 : -1));
      return { name: `${name}_of_${community.slice(0, 12)}`, community, beacons, order };
    }),
  );
}

/** Each file's name, and its text. */
export const files = () =>
  Object.entries({
    "directory/records.json": makeRecords(),
    "directory/placements.json": makePlacements(),
  }).map(([name, cases]) => [name, `${JSON.stringify(cases, null, 1)}\n`]);

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href)
  for (const [name, text] of files()) writeFileSync(new URL(`../${name}`, import.meta.url), text);
