// The cases of sealed.json and invites.json: what is inside a message, its seal of suite 0, and invites as text.

import { createHash } from "node:crypto";
import { encrypt, publicOf } from "./hpke.mjs";

const join = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest();
const raw = ({ text }) => Buffer.from(text, "base64");
const uint64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};
const uint32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

const SIZES = [2_048, 8_192, 32_768, 131_072];
/** Octets of a sealed message that are not of the plaintext: suite, key-id, enc and tag. */
const AROUND = { 0: 1 + 8 + 32 + 16, 1: 1 + 8 + 1_120 + 16 };
/** Octets of a body that are not of the content. */
const HEAD = 1 + 32 + 32 + 32 + 8 + 64;
const [MESSAGE, INTRODUCTION] = [0, 1];

/** The private key to which all is sealed, and one that is nobody's. */
const [SEALING, OTHER] = [Buffer.alloc(32, 41), Buffer.alloc(32, 42)];
/** What the ephemeral key is made of. */
const IKM = Buffer.alloc(32, 43);

function bodyOf({ kind = MESSAGE, from, to, slot, sequence, content, signer = from, signed = content, fresh = Buffer.alloc(0) }) {
  const head = join([kind], raw(from), Buffer.from(to, "hex"), raw(slot), uint64(sequence));
  const signature = signer.sign(join("rendezvous-mailbox-v1:body\n", head, fresh, signed));
  return join(head, Buffer.from(signature, "base64"), fresh, content);
}

/** The smallest of the four sizes into which a body fits. */
const sizeFor = (suite, bodyLength) => SIZES.find((size) => size - AROUND[suite] - 4 >= bodyLength);

function seal(body, { mailbox, slot, sequence, expiresAt, recipient = publicOf(SEALING), suite = 0, length = body.length, padding = 0 }) {
  const plaintext = Buffer.alloc(sizeFor(0, body.length) - AROUND[0], padding);
  join(uint32(length), body).copy(plaintext);
  const info = join("rendezvous-mailbox-v1/seal\0", mailbox);
  const aad = join(raw(slot), uint64(sequence), uint64(expiresAt));
  return join([suite], sha256(recipient).subarray(0, 8), encrypt({ recipient, ikm: IKM, info, aad, plaintext }));
}

/** @param {{ now: number, owner: any, addressOf: (owner: any) => string, key: (byte: number) => any }} world */
export function makeSealed({ now, owner, addressOf, key }) {
  const [slot, stranger, from, fresh] = [33, 34, 35, 36].map(key);
  const mailbox = addressOf(owner);
  const outer = { mailbox, slot, sequence: 5, expiresAt: now + 86_400_000 };
  const inner = { from, to: mailbox, slot, sequence: 5, content: Buffer.from("A message, left until you are back.\n") };
  const cases = [];

  /** `said` is what the reader holds the seal against: the deposit around it. */
  function push(name, expect, sealed, body, { said = outer, opened = inner, introduces, reader = SEALING } = {}) {
    const { slot, ...deposit } = said;
    const isGood = expect === "ok";
    cases.push({
      name,
      expect,
      suite: sealed[0],
      sealingPrivateKey: base64(reader),
      sealingKey: base64(publicOf(reader)),
      ...deposit,
      slot: slot.text,
      ...(isGood && { randomness: base64(IKM), from: opened.from.text, content: base64(opened.content) }),
      ...(isGood && introduces && { introduces: introduces.text }),
      ...(body && { body: base64(body) }),
      sealed: base64(sealed),
    });
  }
  const good = (name, content, more = {}) => {
    const opened = { ...inner, content };
    const body = bodyOf({ ...opened, ...(more.introduces && { kind: INTRODUCTION, fresh: raw(more.introduces) }) });
    push(name, "ok", seal(body, outer), body, { opened, ...more });
  };
  const room = (size) => size - AROUND[0] - 4 - HEAD;
  good("a_message", inner.content);
  good("nothing", Buffer.alloc(0));
  good("every_octet", Buffer.from(Array.from({ length: 256 }, (_, at) => at)));
  good("all_that_fits_into_the_smallest_size", Buffer.alloc(room(2_048), 7));
  good("an_octet_more", Buffer.alloc(room(2_048) + 1, 7));
  good("an_introduction", inner.content, { introduces: fresh });
  good("an_introduction_with_nothing", Buffer.alloc(0), { introduces: fresh });

  const body = bodyOf(inner);
  const sealed = seal(body, outer);
  const changed = (at, bytes = sealed) => {
    const copy = Buffer.from(bytes);
    copy[at < 0 ? copy.length + at : at] ^= 1;
    return copy;
  };
  push("an_octet_too_short", "SIZE_NOT_A_BUCKET", sealed.subarray(0, -1));
  push("an_octet_too_long", "SIZE_NOT_A_BUCKET", join(sealed, [0]));
  push("nothing_at_all", "SIZE_NOT_A_BUCKET", Buffer.from([]));
  push("of_suite_2", "SUITE_UNKNOWN", seal(body, { ...outer, suite: 2 }));
  push("to_another_key", "SEALING_KEY_UNKNOWN", seal(body, { ...outer, recipient: publicOf(OTHER) }));
  push("key_id_changed", "SEALING_KEY_UNKNOWN", changed(8));
  push("ephemeral_key_changed", "SEAL_BROKEN", changed(9));
  push("ephemeral_key_of_small_order", "SEAL_BROKEN", join(sealed.subarray(0, 9), Buffer.alloc(32), sealed.subarray(41)));
  push("ciphertext_changed", "SEAL_BROKEN", changed(41));
  push("padding_changed_on_its_way", "SEAL_BROKEN", changed(-17));
  push("tag_changed", "SEAL_BROKEN", changed(-1));
  push("moved_to_another_slot", "SEAL_BROKEN", sealed, body, { said: { ...outer, slot: stranger } });
  push("moved_to_another_sequence", "SEAL_BROKEN", sealed, body, { said: { ...outer, sequence: 6 } });
  push("given_another_life", "SEAL_BROKEN", sealed, body, { said: { ...outer, expiresAt: outer.expiresAt + 1 } });
  push("moved_to_another_mailbox", "SEAL_BROKEN", sealed, body, { said: { ...outer, mailbox: addressOf(stranger) } });

  const fullLength = 2_048 - AROUND[0] - 4;
  push("length_beyond_the_end", "PADDING_INVALID", seal(body, { ...outer, length: fullLength + 1 }));
  push("length_of_4_gigabytes", "PADDING_INVALID", seal(body, { ...outer, length: 2 ** 32 - 1 }));
  push("padding_not_zero", "PADDING_INVALID", seal(body, { ...outer, padding: 1 }));
  push("length_one_too_few", "PADDING_INVALID", seal(body, { ...outer, length: body.length - 1 }));

  const refused = (name, expect, overrides) => {
    const other = bodyOf({ ...inner, ...overrides });
    push(name, expect, seal(other, outer), other);
  };
  push("no_body", "BODY_MALFORMED", seal(Buffer.alloc(0), outer), Buffer.alloc(0));
  push("body_cut_off", "BODY_MALFORMED", seal(body.subarray(0, HEAD - 1), outer), body.subarray(0, HEAD - 1));
  refused("of_kind_2", "BODY_MALFORMED", { kind: 2 });
  refused("an_introduction_of_31_octets", "BODY_MALFORMED", { kind: INTRODUCTION, content: Buffer.alloc(31) });
  refused("written_to_another_mailbox", "BODY_MISDIRECTED", { to: addressOf(stranger) });
  refused("written_for_another_slot", "BODY_MISDIRECTED", { slot: stranger });
  refused("written_for_another_sequence", "BODY_MISDIRECTED", { sequence: 4 });
  refused("signed_by_another", "SIGNATURE_INVALID", { signer: stranger });
  refused("signed_by_the_slot_key", "SIGNATURE_INVALID", { signer: slot });
  refused("of_other_content", "SIGNATURE_INVALID", { signed: Buffer.from("another") });
  const small = Buffer.from(body);
  join([1], Buffer.alloc(31)).copy(small, 1);
  join([1], Buffer.alloc(63)).copy(small, HEAD - 64);
  push("from_a_key_of_small_order", "SIGNATURE_INVALID", seal(small, outer), small);
  return cases;
}

/** How many octets of content go into which size; `null`: into none. */
export const makeSizes = () =>
  [0, 1].flatMap((suite) => {
    const room = SIZES.map((size) => size - AROUND[suite] - 4 - HEAD);
    return [0, ...room.flatMap((length) => [length, length + 1])].map((content) => ({
      name: `suite_${suite}_with_${content}`,
      suite,
      content,
      size: sizeFor(suite, content + HEAD) ?? null,
    }));
  });

/** @param {{ owner: any, addressOf: (owner: any) => string, key: (byte: number) => any, canonical: (value: unknown) => string }} world */
export function makeInvites({ owner, addressOf, key, canonical, originOf }) {
  const seed = Buffer.alloc(32, 33);
  const good = { k: base64(seed), m: addressOf(owner), o: owner.text, r: ["https://relay.example", "https://other.example:8443"] };
  const cases = [];
  const text = (fields) => `rendezvous:${Buffer.from(typeof fields === "string" ? fields : canonical(fields)).toString("base64url")}`;
  const push = (name, expect, invite, fields) =>
    cases.push({ name, expect, text: invite, ...(expect === "ok" && { owner: fields.o, mailbox: fields.m, relays: fields.r, slot: key(33).text, seed: fields.k }) });
  const ok = (name, overrides = {}) => push(name, "ok", text({ ...good, ...overrides }), { ...good, ...overrides });
  const malformed = (name, fields) => push(name, "MALFORMED", typeof fields === "string" ? fields : text(fields));
  const without = (field) => Object.fromEntries(Object.entries(good).filter(([name]) => name !== field));
  ok("good");
  ok("of_one_relay", { r: ["https://relay.example"] });
  ok("of_four_relays", { r: [1, 2, 3, 4].map((at) => `https://r${at}.example`) });
  push("with_line_feed_and_space_around", "ok", ` ${text(good)}\r\n`, good);
  malformed("empty", "");
  malformed("of_another_scheme", text(good).replace("rendezvous:", "https:"));
  malformed("in_upper_case", text(good).replace("rendezvous:", "RENDEZVOUS:"));
  malformed("with_padding", `${text({ ...good, r: ["https://relay.example:1"] })}=`);
  malformed("in_the_other_alphabet", `${text(good)}+/`);
  malformed("cut_off", text(good).slice(0, -8));
  malformed("twice", `${text(good)} ${text(good)}`);
  malformed("no_json", text("{"));
  malformed("as_an_array", text(JSON.stringify(Object.values(good))));
  for (const field of Object.keys(good)) {
    malformed(`${field}_missing`, without(field));
    malformed(`${field}_null`, { ...good, [field]: null });
    malformed(`${field}_twice`, text(canonical(good).replace("{", `{"${field}":${JSON.stringify(good[field])},`)));
  }
  malformed("unknown_field", { ...good, x: 1 });
  malformed("seed_of_31_bytes", { ...good, k: base64(Buffer.alloc(31)) });
  malformed("of_another_owner", { ...good, o: key(34).text });
  malformed("no_relay", { ...good, r: [] });
  malformed("five_relays", { ...good, r: [1, 2, 3, 4, 5].map((at) => `https://r${at}.example`) });
  ok("relay_of_300_bytes", { r: [originOf(300)] });
  malformed("relay_of_301_bytes", { ...good, r: [originOf(301)] });
  malformed("relay_twice", { ...good, r: ["https://relay.example", "https://relay.example"] });
  malformed("relay_with_a_path", { ...good, r: ["https://relay.example/v1"] });
  malformed("relay_in_another_spelling", { ...good, r: ["https://Relay.example"] });
  malformed("relay_of_another_scheme", { ...good, r: ["ftp://relay.example"] });
  malformed("too_long", text({ ...good, r: ["https://" + "a".repeat(2_048)] }));
  return cases;
}
