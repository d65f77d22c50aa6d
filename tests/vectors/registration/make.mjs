// Makes the vectors of registration: `node tests/vectors/registration/make.mjs` writes them again.
//
// Written from protocol/README.md, with node:crypto and nothing of the Rust code, so that it is a second opinion on it.
// Keys and times are fixed, and Ed25519 is deterministic: the same script makes the same bytes.

import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { canonical } from "../../ticket.mjs";
import { key } from "../key.mjs";

const NOW = 1_700_000_000_000;
const LIFETIME = 900_000;
const BEACON = "https://beacon.example";

const [peer, stranger] = [61, 62].map(key);
const bytes = (length, byte) => Buffer.alloc(length, byte).toString("base64");

const good = () => ({ audience: BEACON, community: "chess.blitz", email: "o'neil@a.example", issuedAt: NOW - 1_000 });

/** An envelope; `domain` is what the signed bytes begin with, `envelope` replaces fields after signing. */
function seal(payload, { domain = "rendezvous-registration-v1:register\n", envelope = {} } = {}) {
  for (const [field, value] of Object.entries(payload)) if (value === undefined) delete payload[field];
  const signature = peer.sign(`${domain}${canonical(payload)}`);
  return { version: 1, algorithm: "ed25519", publicKey: peer.text, signature, payload, ...envelope };
}

function makeRegistrations() {
  const cases = [];
  const push = (name, expect, registration, more = {}) => {
    const json = typeof registration === "string" ? registration : JSON.stringify(registration);
    const signed = expect === "MALFORMED" ? {} : { canonical: `rendezvous-registration-v1:register\n${canonical(JSON.parse(json).payload)}` };
    cases.push({ name, expect, now: NOW, ...more, ...signed, json });
  };
  /** A payload that a program which signs makes too, or refuses as a beacon does. */
  const takes = (name, overrides) => push(name, "ok", seal({ ...good(), ...overrides }), { signs: true });
  const refuses = (name, overrides) => push(name, "MALFORMED", seal({ ...good(), ...overrides }), { signs: false });

  takes("good", {});
  const json = JSON.stringify(seal(good()));
  push("in_another_layout", "ok", JSON.stringify(Object.fromEntries(Object.entries(seal(good())).reverse()), null, "\t"));
  for (const [field, value] of Object.entries({ audience: "https://second.example", community: "chess", email: "o-neil@a.example", issuedAt: NOW - 999 }))
    push(`changed_${field}`, "SIGNATURE_INVALID", seal(good(), { envelope: { payload: { ...good(), [field]: value } } }));
  push("under_another_key", "SIGNATURE_INVALID", seal(good(), { envelope: { publicKey: stranger.text } }));
  push("signed_as_an_entry_of_the_directory", "SIGNATURE_INVALID", seal(good(), { domain: "rendezvous-directory-v1:entry\n" }));
  push("signed_without_its_purpose", "SIGNATURE_INVALID", seal(good(), { domain: "rendezvous-registration-v1:\n" }));
  push("signed_without_domain", "SIGNATURE_INVALID", seal(good(), { domain: "" }));
  push("by_the_key_of_small_order", "SIGNATURE_INVALID", seal(good(), {
    envelope: {
      publicKey: Buffer.from([1, ...Buffer.alloc(31)]).toString("base64"),
      signature: Buffer.from([1, ...Buffer.alloc(63)]).toString("base64"),
    },
  }));
  push("version_2", "UNSUPPORTED_VERSION", seal(good(), { envelope: { version: 2 } }));
  push("another_algorithm", "UNSUPPORTED_ALGORITHM", seal(good(), { envelope: { algorithm: "rsa" } }));
  push("version_2_of_another_algorithm", "UNSUPPORTED_VERSION", seal(good(), { envelope: { version: 2, algorithm: "rsa" } }));
  push("for_another_beacon", "MISDIRECTED_REQUEST", seal({ ...good(), audience: "https://elsewhere.example" }));
  push("for_the_beacons_other_origin", "ok", seal({ ...good(), audience: "https://second.example" }), { signs: true });
  push("signed_15_seconds_ahead", "ok", seal({ ...good(), issuedAt: NOW + 15_000 }), { signs: true });
  push("signed_too_far_ahead", "NOT_YET_VALID", seal({ ...good(), issuedAt: NOW + 15_001 }));
  push("in_its_last_millisecond", "ok", seal({ ...good(), issuedAt: NOW - LIFETIME + 1 }), { signs: true });
  push("fifteen_minutes_old", "EXPIRED", seal({ ...good(), issuedAt: NOW - LIFETIME }));
  push("for_another_beacon_and_old", "MISDIRECTED_REQUEST", seal({ ...good(), audience: "https://elsewhere.example", issuedAt: 0 }));
  push("old_and_changed", "EXPIRED", seal(good(), { envelope: { payload: { ...good(), issuedAt: 0 } } }));

  const malformed = (name, text) => push(name, "MALFORMED", text);
  malformed("no_json", "{");
  malformed("as_an_array", JSON.stringify(Object.values(seal(good()))));
  malformed("payload_as_an_array", seal(good(), { envelope: { payload: Object.values(good()) } }));
  malformed("unknown_field", seal({ ...good(), comment: "" }));
  malformed("unknown_field_in_the_envelope", seal(good(), { envelope: { comment: "" } }));
  malformed("signature_of_63_bytes", seal(good(), { envelope: { signature: bytes(63, 1) } }));
  malformed("signature_without_padding", json.replace("==", ""));
  malformed("key_of_31_bytes", seal(good(), { envelope: { publicKey: bytes(31, 1) } }));
  for (const field of ["version", "algorithm", "publicKey", "signature", "payload"])
    malformed(`without_${field}`, seal(good(), { envelope: { [field]: undefined } }));
  for (const field of Object.keys(good())) {
    malformed(`${field}_missing`, seal({ ...good(), [field]: undefined }));
    malformed(`${field}_null`, seal({ ...good(), [field]: null }));
    malformed(`${field}_true`, seal({ ...good(), [field]: true }));
    malformed(`${field}_twice`, json.replace('"payload":{', `"payload":{"${field}":${JSON.stringify(good()[field])},`));
  }
  malformed("issuedAt_with_a_fraction", json.replace(/"issuedAt":\d+/, '"issuedAt":1.0'));
  malformed("issuedAt_too_large", seal({ ...good(), issuedAt: 2 ** 53 }));
  malformed("issuedAt_as_a_text", seal({ ...good(), issuedAt: `${NOW}` }));

  refuses("community_empty", { community: "" });
  refuses("community_with_a_space", { community: "a b" });
  refuses("community_of_65_characters", { community: "x".repeat(65) });
  takes("community_of_64_characters", { community: "x".repeat(64) });
  refuses("audience_empty", { audience: "" });
  refuses("audience_with_a_slash", { audience: `${BEACON}/` });
  refuses("audience_with_a_path", { audience: `${BEACON}/register` });
  refuses("audience_in_upper_case", { audience: "https://BEACON.example" });
  refuses("audience_with_the_usual_port", { audience: `${BEACON}:443` });
  refuses("audience_without_scheme", { audience: "beacon.example" });

  const label = "y".repeat(60);
  const at = (length) => `${"x".repeat(10)}@${[label, label, label].join(".")}.${"z".repeat(length - 194)}`;
  for (const [name, email] of Object.entries({
    of_two_letters: "a@b.example",
    with_dots_and_a_plus: "First.Last+tag@Sub.B.example",
    with_every_other_character: "o'neil!#$%&*-/=?^_`{|}~@b.example",
    of_254_bytes: at(254),
    of_64_bytes_before_the_at: `${"x".repeat(64)}@b.example`,
    of_a_label_of_63: `a@${"x".repeat(63)}.example`,
    of_a_name_in_punycode: "a@xn--bcher-kva.example",
  }))
    takes(`email_${name}`, { email });
  for (const [name, email] of Object.entries({
    empty: "",
    without_at: "a",
    without_local_part: "@b.example",
    without_name: "a@",
    of_one_label: "a@b",
    with_two_at: "a@b@c.example",
    with_a_space: "a b@c.example",
    with_a_space_before: " a@b.example",
    with_a_space_behind: "a@b.example ",
    with_another_header: "a@b.example\r\nBcc: everybody@c.example",
    with_a_line_feed: "a@b.example\n",
    with_a_zero: "a\u0000@b.example",
    in_angle_brackets: "<a@b.example>",
    of_two_recipients: "a@b.example,c@d.example",
    with_a_semicolon: "a@b.example;c",
    quoted: '"a b"@c.example',
    with_a_comment: "a(b)@c.example",
    at_an_address_literal: "a@[192.0.2.1]",
    at_an_address: "a@192.0.2.1",
    with_a_port: "a@b.example:25",
    beginning_with_a_dot: ".a@b.example",
    with_a_dot_before_the_at: "a.@b.example",
    with_two_dots: "a..b@c.example",
    with_an_empty_label: "a@b..example",
    with_a_dot_behind: "a@b.example.",
    with_a_label_that_begins_with_a_hyphen: "a@-b.example",
    with_a_label_that_ends_with_a_hyphen: "a@b-.example",
    beyond_ascii: "zo\u00eb@b.example",
    at_a_name_beyond_ascii: "a@zo\u00eb.example",
    of_65_bytes_before_the_at: `${"x".repeat(65)}@b.example`,
    of_a_label_of_64: `a@${"x".repeat(64)}.example`,
    of_255_bytes: at(255),
  }))
    refuses(`email_${name}`, { email });
  return cases;
}

/** Each file's name, and its text. */
export const files = () => [["registration/registrations.json", `${JSON.stringify(makeRegistrations(), null, 1)}\n`]];

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href)
  for (const [name, text] of files()) writeFileSync(new URL(`../${name}`, import.meta.url), text);
