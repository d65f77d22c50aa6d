// Sections 1 to 3 and 13 of the specification: which tickets a beacon takes, and by which name it refuses the others.

import {
  SMALL_ORDER,
  SMALL_ORDER_RESPELLED,
  base64,
  canonical,
  fitsNobody,
  malleate,
  signText,
  signWithIdentity,
  signatureOfNobody,
} from "../signing.mjs";
import { LIFETIME_MS, envelopeOf, newPeer, payloadOf } from "../ticket.mjs";

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

const add = (id, spec, title, run, attack) => cases.push({ id: `tickets.${id}`, spec, title, level: "basic", attack, run });

/** Takes the first byte of a base64 text for another one. */
function flipped(text, at = 0) {
  const bytes = Buffer.from(text, "base64");
  bytes[at] ^= 1;
  return bytes.toString("base64");
}

const withoutPadding = (text) => text.replace(/=+$/, "");
const inBase64url = (length) =>
  Buffer.alloc(length, 0xfb)
    .toString("base64url")
    .padEnd(Math.ceil(length / 3) * 4, "=");
/** The same bytes with a last character in which bits are left over. */
const withTrailingBits = (text) =>
  text.replace(
    /.(=+)$/,
    (end, padding) =>
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".indexOf(end[0]) + 1
      ] + padding,
  );

// What is taken. Each is listed afterwards, in its normal form.

/**
 * @param {Record<string, unknown> | ((trial: import("../trial.mjs").Trial) => Record<string, unknown>)} fields
 * @param {(ticket: object) => string} [write] How the ticket is laid out.
 */
function takes(id, title, fields, write = JSON.stringify) {
  add(`takes.${id}`, "3", `takes ${title}, and gives it back in the normal form`, async (trial) => {
    const ticket = trial.ticket(newPeer(), typeof fields === "function" ? fields(trial) : fields);
    trial.isAccepted(await trial.announce(write(ticket)));
    trial.hasNormalForm(await trial.look(), ticket);
  });
}

const reversed = (value) =>
  value === null || typeof value !== "object"
    ? JSON.stringify(value)
    : `{${Object.keys(value)
        .sort()
        .reverse()
        .map((key) => `${JSON.stringify(key)}:${reversed(value[key])}`)
        .join()}}`;
const asEscapes = (ticket) => JSON.stringify(ticket).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

takes("plain", "a ticket as any client makes it", {});
takes("pretty-printed", "white space between its tokens", {}, (ticket) => JSON.stringify(ticket, null, 2));
takes("other-order", "its fields in any order", {}, reversed);
takes("ascii-escapes", "text that is written as \\u escapes", { userId: "Zoë ☂ 𝄞", data: "é" }, asEscapes);
takes("user-id.non-ascii", "a userId beyond ASCII", { userId: "Zoë ☂ 𝄞" });
takes("user-id.escapes", "a userId that needs escapes", { userId: 'a "quoted" \\ /' });
takes("user-id.one-byte", "a userId of one byte", { userId: "u" });
takes("user-id.128-bytes", "a userId of 128 bytes", { userId: "é".repeat(64) });
takes("user-id.line-separator", "U+2028 in a userId, unescaped", { userId: "a\u2028b" });
takes("peer-id.one-byte", "a peerId of one character", { peerId: "~" });
takes("peer-id.128-bytes", "a peerId of 128 characters", { peerId: "p".repeat(128) });
takes("peer-id.every-character", "every character that a peerId may have", {
  peerId: Array.from({ length: 94 }, (_, at) => String.fromCharCode(0x21 + at))
    .filter((char) => !'"&<>\\'.includes(char))
    .join(""),
});
takes("peer-id.inner-space", "a space inside a peerId", { peerId: "a b  c" });
takes("nonce.12-bytes", "a nonce of 12 bytes", { nonce: base64(12) });
takes("nonce.32-bytes", "a nonce of 32 bytes", { nonce: base64(32) });
takes("lifetime.longest", "a life of exactly 180,000 ms", {});
takes("lifetime.short", "a life of ten seconds", (trial) => {
  const issuedAt = trial.issueTime();
  return { issuedAt, expiresAt: issuedAt + 10_000 };
});
takes("issued-at.ahead", "an issuedAt that is up to 15 s ahead", (trial) => ({ issuedAt: trial.now() + 13_000 }));
takes("issued-at.old", "a ticket near its end", (trial) => ({ issuedAt: trial.now() - LIFETIME_MS + 20_000 }));
takes("community.absent", "a ticket that signs no community", { community: undefined });
takes("data.plain", "data", { data: "state=away" });
takes("data.json", "data that is JSON, as the text that it is", { data: '{"a":[1,"b"]}' });
takes("data.512-bytes", "data of 512 bytes before escaping", { data: '"'.repeat(512) });
takes("data.one-space", "data of one space", { data: " " });
takes("data.not-normalised", "a letter with a combining mark in data, not normalised", { data: "e\u0301" });
takes("data.noncharacters", "noncharacters and private use in data", { data: "\ufffe\u{1ffff}\ue000\u200b" });
takes("longest", "the longest ticket that there is", {
  peerId: "p".repeat(128),
  userId: '"'.repeat(128),
  data: '"'.repeat(512),
  nonce: base64(32),
});

// Shape: MALFORMED.

/**
 * @param {string} id
 * @param {string} title
 * @param {(ticket: any, trial: import("../trial.mjs").Trial) => unknown} change Returns the ticket, or the text of one.
 */
function malformed(id, title, change, { attack, spec = "3" } = {}) {
  add(
    `malformed.${id}`,
    spec,
    `refuses ${title}`,
    async (trial) => {
      const changed = change(trial.ticket(newPeer()), trial);
      trial.isRefused(await trial.announce(changed), "MALFORMED", { isTicketless: true });
    },
    attack,
  );
}

/** Refuses a payload with these fields, which is signed as it is. */
const field = (id, title, fields, options) => malformed(id, title, (_, trial) => trial.ticket(newPeer(), fields), options);

/** Refuses a ticket whose text was changed; the signature is over the value that it seems to have. */
const text = (id, title, find, replace, options) =>
  malformed(
    id,
    title,
    (ticket) => {
      const before = JSON.stringify(ticket);
      const after = before.replace(find, typeof replace === "function" ? replace : () => replace);
      if (after === before) throw new Error(`nothing to change in ${before}`);
      return after;
    },
    options,
  );

for (const name of ["peerId", "userId", "issuedAt", "expiresAt", "nonce"]) {
  field(`${name}.missing`, `a payload without ${name}`, { [name]: undefined, ...(name === "issuedAt" ? {} : {}) });
  text(`${name}.null`, `null for ${name}`, new RegExp(`"${name}":("[^"]*"|\\d+)`), `"${name}":null`, { attack: "confusion" });
}
for (const name of ["algorithm", "payload", "publicKey", "signature", "version"]) {
  malformed(`${name}.missing`, `a ticket without ${name}`, (ticket) => ({ ...ticket, [name]: undefined }));
  malformed(`${name}.null`, `null for ${name}`, (ticket) => ({ ...ticket, [name]: null }));
}
for (const name of ["community", "data"])
  field(`${name}.null`, `null for ${name}, which is optional`, { [name]: null }, { attack: "confusion" });
field("leave.null", "null for leave", { leave: null }, { attack: "confusion" });
field("leave.true", "a ticket to leave, where one is announced", { leave: true }, { attack: "confusion" });
field("leave.false", "leave that is false", { leave: false });

text("expires-at.string", "a time as text", /"expiresAt":(\d+)/, (_, digits) => `"expiresAt":"${digits}"`);
text("expires-at.fraction", "a time written with a fraction", /"expiresAt":(\d+)/, (_, digits) => `"expiresAt":${digits}.0`, {
  attack: "confusion",
});
text("expires-at.exponent", "a time written with an exponent", /"expiresAt":(\d+)/, (_, digits) => `"expiresAt":${digits}e0`, {
  attack: "confusion",
});
text("issued-at.fraction", "issuedAt written with a fraction", /"issuedAt":(\d+)/, (_, digits) => `"issuedAt":${digits}.0`, {
  attack: "confusion",
});
text("expires-at.leading-zero", "a time with a leading zero", /"expiresAt":/, '"expiresAt":0');
field("expires-at.negative", "a negative time", { issuedAt: -2, expiresAt: -1 });
text("issued-at.minus-zero", "minus zero for a time", /"issuedAt":\d+/, '"issuedAt":-0', { spec: "2" });
field("expires-at.two-to-53", "a time of 2^53", { expiresAt: 2 ** 53 });
field("expires-at.before-issued-at", "a ticket that ends before it begins", { expiresAt: 1 });
malformed("expires-at.equals-issued-at", "a ticket that ends when it begins", (_, trial) => {
  const issuedAt = trial.now();
  return trial.ticket(newPeer(), { issuedAt, expiresAt: issuedAt });
});

field("peer-id.empty", "an empty peerId", { peerId: "" });
field("peer-id.129-bytes", "a peerId of 129 characters", { peerId: "p".repeat(129) });
for (const [name, char] of [
  ["quote", '"'],
  ["ampersand", "&"],
  ["less-than", "<"],
  ["greater-than", ">"],
  ["backslash", "\\"],
]) {
  field(`peer-id.${name}`, `${char} in a peerId`, { peerId: `a${char}b` });
}
field("peer-id.leading-space", "a peerId that begins with a space", { peerId: " a" });
field("peer-id.trailing-space", "a peerId that ends with a space", { peerId: "a " });
field("peer-id.non-ascii", "a peerId beyond ASCII", { peerId: "ä" });
field("peer-id.line-feed", "a line feed at the end of a peerId", { peerId: "a\n" });
field("peer-id.delete", "U+007F in a peerId", { peerId: "a\u007f" });
field("peer-id.number", "a number for a peerId", { peerId: 7 });

field("user-id.empty", "an empty userId", { userId: "" });
field("user-id.129-bytes", "a userId of 129 bytes", { userId: "u".repeat(129) });
field("user-id.130-bytes-in-65-characters", "a userId that is too long in bytes, not in characters", { userId: "é".repeat(65) });
field("user-id.control", "a control character in a userId", { userId: "a\u0001" });
field("user-id.tab", "a tab in a userId", { userId: "a\tb" });
field("user-id.delete", "U+007F in a userId", { userId: "a\u007f" });
field("user-id.c1-control", "U+0085 in a userId", { userId: "a\u0085" });
field("user-id.lone-surrogate", "half a surrogate pair in a userId", { userId: "\ud800" });
field("user-id.number", "a number for a userId", { userId: 7 });
field("user-id.array", "an array for a userId", { userId: ["a"] });

field("nonce.11-bytes", "a nonce of 11 bytes", { nonce: base64(11) });
field("nonce.33-bytes", "a nonce of 33 bytes", { nonce: base64(33) });
field("nonce.number", "a number for a nonce", { nonce: 123456789012 });
field("nonce.base64url", "the other base64 alphabet in a nonce", { nonce: inBase64url(12) }, { spec: "1" });
field("nonce.unpadded", "base64 without its padding", { nonce: withoutPadding(base64(13)) }, { spec: "1", attack: "confusion" });
field(
  "nonce.trailing-bits",
  "base64 with bits left over that are not zero",
  { nonce: withTrailingBits(Buffer.alloc(13).toString("base64")) },
  { spec: "1", attack: "confusion" },
);
field("nonce.white-space", "white space in base64", { nonce: `${base64(12)} ` }, { spec: "1" });
field("nonce.line-feed", "a line feed at the end of base64", { nonce: `${base64(12)}\n` }, { spec: "1" });
field("nonce.excess-padding", "padding where none belongs", { nonce: `${base64(12)}====` }, { spec: "1" });

const around = (id, title, change, options) => malformed(id, title, (ticket) => ({ ...ticket, ...change(ticket) }), options);
around("public-key.31-bytes", "a key of 31 bytes", () => ({ publicKey: base64(31) }));
around("public-key.33-bytes", "a key of 33 bytes", () => ({ publicKey: base64(33) }));
around("public-key.hexadecimal", "a key in hexadecimal", ({ publicKey }) => ({
  publicKey: Buffer.from(publicKey, "base64").toString("hex"),
}));
around("public-key.unpadded", "a key without its padding", ({ publicKey }) => ({ publicKey: withoutPadding(publicKey) }), { spec: "1" });
around("public-key.number", "a number for a key", () => ({ publicKey: 7 }));
around("signature.63-bytes", "a signature of 63 bytes", () => ({ signature: base64(63) }));
around("signature.65-bytes", "a signature of 65 bytes", () => ({ signature: base64(65) }));
around("signature.empty", "an empty signature", () => ({ signature: "" }));
around("signature.number", "a number for a signature", () => ({ signature: 7 }));
around("signature.unpadded", "a signature without its padding", ({ signature }) => ({ signature: withoutPadding(signature) }), {
  spec: "1",
  attack: "malleability",
});
around("signature.trailing-bits", "a signature with bits left over", ({ signature }) => ({ signature: withTrailingBits(signature) }), {
  spec: "1",
  attack: "malleability",
});
around("version.string", "a version as text", () => ({ version: "1" }));
text("version.fraction", "a version of 1.0", '"version":1', '"version":1.0', { attack: "confusion" });
around("algorithm.number", "a number for the algorithm", () => ({ algorithm: 1 }));

field("unknown-field.in-payload", "an unknown field in the payload", { more: 1 }, { attack: "confusion" });
around("unknown-field.in-envelope", "an unknown field around the payload", () => ({ more: 1 }), { attack: "confusion" });
text("twice.in-payload", "a field twice in the payload", '"userId":', '"userId":"another","userId":', { attack: "confusion" });
text("twice.in-envelope", "a field twice around the payload", '"version":1', '"version":1,"version":1', { attack: "confusion" });
text("twice.written-as-escape", "a field twice, once written with an escape", '"userId":', '"user\\u0049d":"another","userId":', {
  attack: "confusion",
});

field("community.empty", "an empty community", { community: "" });
field("community.65-characters", "a community of 65 characters", { community: "c".repeat(65) });
field("community.character", "a character that no community has", { community: "a b" });
field("community.number", "a number for a community", { community: 7 });

malformed("payload.array", "an array for the payload", (ticket) => ({ ...ticket, payload: Object.values(ticket.payload) }), {
  attack: "confusion",
});
malformed("payload.string", "the payload as text", (ticket) => ({ ...ticket, payload: canonical(ticket.payload) }));
malformed("ticket.array", "an array for the ticket", (ticket) => Object.values(ticket), { attack: "confusion" });
malformed("ticket.null", "null for the ticket", () => "null");
malformed("ticket.string", "text for the ticket", () => '"ticket"');
malformed("ticket.number", "a number for the ticket", () => "7");

field("data.empty", "empty data", { data: "" });
field("data.513-bytes", "data of 513 bytes", { data: "d".repeat(513) });
field("data.514-bytes-in-257-characters", "data that is too long in bytes, not in characters", { data: "é".repeat(257) });
field("data.null-character", "U+0000 in data", { data: "a\0" });
field("data.line-feed", "a line feed in data", { data: "a\nb" });
field("data.delete", "U+007F in data", { data: "a\u007f" });
field("data.c1-control", "U+009F in data", { data: "a\u009f" });
field("data.lone-surrogate", "half a surrogate pair in data", { data: "\udc00" });
field("data.number", "a number for data", { data: 7 });
field("data.array", "an array for data", { data: ["a"] });
field("data.object", "an object for data", { data: { a: "b" } });
text("data.twice", "data twice", '"userId":', '"data":"a","data":"a","userId":', { attack: "confusion" });
around("data.in-envelope", "data around the payload", () => ({ data: "a" }), { attack: "tampering" });

add("malformed.data.in-goodbye", "3", "refuses data in a ticket to leave", async (trial) => {
  trial.isRefused(await trial.leave(trial.goodbye(newPeer(), { data: "a" })), "MALFORMED");
});
add(
  "malformed.leave.missing",
  "3",
  "refuses, where one leaves, a ticket without leave",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    trial.isRefused(await trial.leave(ticket), "MALFORMED");
    trial.isRefused(await trial.leave(trial.ticket(peer)), "MALFORMED");
    await trial.isListed(ticket);
  },
  "squatting",
);
add("malformed.leave.text", "3", "refuses leave that is not true", async (trial) => {
  for (const leave of ["true", 1, false]) trial.isRefused(await trial.leave(trial.goodbye(newPeer(), { leave })), "MALFORMED");
});
add("malformed.status", "HTTP", "answers 400 to a malformed ticket that signs its community", async (trial) => {
  const { status, text } = await trial.announce(trial.ticket(newPeer(), { peerId: "<b>" }));
  if (status !== 400) throw new Error(`the status is ${status}: ${text.slice(0, 200)}`);
});

// Every other check, by its code.

/** @param {(trial: import("../trial.mjs").Trial) => unknown} make */
function refuses(id, code, title, make, { attack, spec = "3", isUnlisted = false } = {}) {
  add(
    id,
    spec,
    `refuses ${title}: ${code}`,
    async (trial) => {
      const ticket = make(trial);
      trial.isRefused(await trial.announce(ticket), code);
      if (isUnlisted) await trial.isListed(ticket, false);
    },
    attack,
  );
}

const envelope = (change) => (trial) => trial.ticket(newPeer(), { envelope: change });
refuses("version.two", "UNSUPPORTED_VERSION", "version 2", envelope({ version: 2 }));
refuses("version.zero", "UNSUPPORTED_VERSION", "version 0", envelope({ version: 0 }));
refuses("algorithm.another", "UNSUPPORTED_ALGORITHM", "another algorithm", envelope({ algorithm: "rsa" }));
refuses("algorithm.upper-case", "UNSUPPORTED_ALGORITHM", "the algorithm in capitals", envelope({ algorithm: "Ed25519" }));
refuses("algorithm.empty", "UNSUPPORTED_ALGORITHM", "an empty algorithm", envelope({ algorithm: "" }));
refuses(
  "community.another",
  "COMMUNITY_MISMATCH",
  "a ticket for another community",
  (trial) => trial.ticket(newPeer(), { community: "another-one" }),
  { attack: "replay", isUnlisted: true },
);
refuses(
  "community.case",
  "COMMUNITY_MISMATCH",
  "a community in other case",
  (trial) => trial.ticket(newPeer(), { community: trial.community.toUpperCase() }),
  { attack: "replay" },
);
refuses(
  "lifetime.one-ms-too-long",
  "LIFETIME_TOO_LONG",
  "a life of 180,001 ms",
  (trial) => {
    const issuedAt = trial.now();
    return trial.ticket(newPeer(), { issuedAt, expiresAt: issuedAt + LIFETIME_MS + 1 });
  },
  { attack: "future" },
);
refuses(
  "lifetime.seven-days",
  "LIFETIME_TOO_LONG",
  "a long ticket, which is for capsules alone",
  (trial) => {
    const issuedAt = trial.now();
    return trial.ticket(newPeer(), { issuedAt, expiresAt: issuedAt + 604_800_000 });
  },
  { attack: "future", isUnlisted: true, spec: "5" },
);
refuses("lifetime.for-ever", "LIFETIME_TOO_LONG", "a life until 2^53 − 1", (trial) => trial.ticket(newPeer(), { expiresAt: 2 ** 53 - 1 }), {
  attack: "future",
});
refuses(
  "not-yet-valid.a-minute",
  "NOT_YET_VALID",
  "an issuedAt a minute ahead",
  (trial) => trial.ticket(newPeer(), { issuedAt: trial.now() + 60_000 }),
  { attack: "future", isUnlisted: true },
);
refuses(
  "not-yet-valid.just",
  "NOT_YET_VALID",
  "an issuedAt 20 s ahead",
  (trial) => trial.ticket(newPeer(), { issuedAt: trial.now() + 20_000 }),
  { attack: "future" },
);
refuses("expired.long-ago", "EXPIRED", "a ticket of long ago", (trial) => trial.ticket(newPeer(), { issuedAt: 1_700_000_000_000 }), {
  attack: "replay",
});
refuses(
  "expired.just",
  "EXPIRED",
  "a ticket that ended 2 s ago",
  (trial) => trial.ticket(newPeer(), { issuedAt: trial.now() - LIFETIME_MS - 2_000 }),
  { attack: "replay", isUnlisted: true },
);

// The order of the checks: what is wrong twice is refused for the first.

const order = (id, code, title, make) => refuses(`order.${id}`, code, title, make);
order("malformed-before-version", "MALFORMED", "a malformed ticket of version 2", (trial) =>
  trial.ticket(newPeer(), { peerId: "", envelope: { version: 2 } }),
);
order("version-before-algorithm", "UNSUPPORTED_VERSION", "version 2 with another algorithm", envelope({ version: 2, algorithm: "rsa" }));
order(
  "version-before-signature",
  "UNSUPPORTED_VERSION",
  "version 2 with a wrong signature",
  envelope({ version: 2, signature: base64(64) }),
);
order("algorithm-before-community", "UNSUPPORTED_ALGORITHM", "another algorithm for another community", (trial) =>
  trial.ticket(newPeer(), { community: "another-one", envelope: { algorithm: "rsa" } }),
);
order("community-before-lifetime", "COMMUNITY_MISMATCH", "a too long life in another community", (trial) =>
  trial.ticket(newPeer(), { community: "another-one", expiresAt: 2 ** 53 - 1 }),
);
order("lifetime-before-not-yet-valid", "LIFETIME_TOO_LONG", "a too long life that begins later", (trial) =>
  trial.ticket(newPeer(), { issuedAt: trial.now() + 60_000, expiresAt: 2 ** 53 - 1 }),
);
order("lifetime-before-expired", "LIFETIME_TOO_LONG", "a too long life that has ended", (trial) =>
  trial.ticket(newPeer(), { issuedAt: 1, expiresAt: 1_000_000 }),
);
order("not-yet-valid-before-signature", "NOT_YET_VALID", "a ticket of later with a wrong signature", (trial) =>
  trial.ticket(newPeer(), { issuedAt: trial.now() + 60_000, envelope: { signature: base64(64) } }),
);
order("expired-before-signature", "EXPIRED", "a ticket of before with a wrong signature", (trial) =>
  trial.ticket(newPeer(), { issuedAt: 1_700_000_000_000, envelope: { signature: base64(64) } }),
);

// Signatures.

/** Refuses a ticket that was changed after it was signed. */
const forged = (id, title, change, attack = "tampering") =>
  refuses(
    `signature.${id}`,
    "SIGNATURE_INVALID",
    title,
    (trial) => {
      const ticket = trial.ticket(newPeer(), { data: "e\u0301" });
      return { ...ticket, ...change(ticket, trial) };
    },
    { attack, isUnlisted: true },
  );

const inPayload = (id, title, fields) => forged(id, title, ({ payload }) => ({ payload: { ...payload, ...fields(payload) } }));
forged("by-another-key", "a signature by another key", () => ({ publicKey: newPeer().publicKey }), "forgery");
forged(
  "of-another-ticket",
  "the signature of another ticket of this key's owner",
  (_, trial) => ({ signature: trial.ticket(newPeer()).signature }),
  "forgery",
);
forged("all-zero", "a signature of nothing but zero", () => ({ signature: Buffer.alloc(64).toString("base64") }), "forgery");
forged("r-flipped", "a bit changed in R", ({ signature }) => ({ signature: flipped(signature) }));
forged("s-flipped", "a bit changed in S", ({ signature }) => ({ signature: flipped(signature, 32) }));
forged("s-plus-order", "S + L in the place of S", ({ signature }) => ({ signature: malleate(signature) }), "malleability");
inPayload("peer-id-changed", "a peerId changed after signing", () => ({ peerId: "another" }));
inPayload("user-id-changed", "a userId changed after signing", () => ({ userId: "another" }));
inPayload("expires-at-changed", "expiresAt changed after signing", ({ expiresAt }) => ({ expiresAt: expiresAt - 1 }));
inPayload("issued-at-changed", "issuedAt changed after signing", ({ issuedAt }) => ({ issuedAt: issuedAt + 1 }));
inPayload("nonce-changed", "a nonce changed after signing", () => ({ nonce: base64(12) }));
inPayload("data-changed", "data changed after signing", () => ({ data: "another" }));
inPayload("data-removed", "data taken out after signing", () => ({ data: undefined }));
inPayload("data-normalised", "data normalised after signing", ({ data }) => ({ data: data.normalize("NFC") }));
refuses(
  "signature.data-added",
  "SIGNATURE_INVALID",
  "data put in after signing",
  (trial) => {
    const ticket = trial.ticket(newPeer());
    return { ...ticket, payload: { ...ticket.payload, data: "a" } };
  },
  { attack: "tampering" },
);
refuses(
  "signature.community-added",
  "SIGNATURE_INVALID",
  "a community put in after signing",
  (trial) => {
    const ticket = trial.ticket(newPeer(), { community: undefined });
    return { ...ticket, payload: { ...ticket.payload, community: trial.community } };
  },
  { attack: "replay", isUnlisted: true },
);
add(
  "signature.community-removed",
  "3",
  "refuses a community taken out after signing: SIGNATURE_INVALID",
  async (trial) => {
    const ticket = trial.ticket();
    const changed = { ...ticket, payload: { ...ticket.payload, community: undefined } };
    trial.isRefused(await trial.announce(changed), "SIGNATURE_INVALID", { isTicketless: true });
    await trial.isListed(ticket, false);
  },
  "replay",
);

/** Refuses a good payload with a signature over other bytes. */
const over = (id, title, write) =>
  refuses(
    `signature.over.${id}`,
    "SIGNATURE_INVALID",
    title,
    (trial) => {
      const peer = newPeer();
      const ticket = trial.ticket(peer);
      return { ...ticket, signature: signText(write(ticket), peer) };
    },
    { spec: "2" },
  );
over("unsorted", "a signature over unsorted keys", ({ payload }) => JSON.stringify({ userId: payload.userId, ...payload }));
over("pretty-printed", "a signature over JSON with white space", ({ payload }) =>
  JSON.stringify(Object.fromEntries(Object.entries(payload).sort()), null, 1),
);
over("envelope", "a signature over more than the payload", ({ payload, publicKey }) => canonical({ payload, publicKey }));
over("line-feed", "a signature over the payload and a line feed", ({ payload }) => `${canonical(payload)}\n`);
over("as-a-binding", "what was signed with another prefix", ({ payload }) => `rendezvous-live-v1:bind\n${canonical(payload)}`);

/** A ticket that lenient verifiers take for one by a key of small order: by nobody, and so by everybody. */
function byNobody(trial, point) {
  const peer = { ...newPeer(), publicKey: point.toString("base64") };
  const signature = signatureOfNobody();
  for (;;) {
    const payload = payloadOf(peer, { issuedAt: trial.issueTime(), community: trial.community });
    if (fitsNobody(canonical(payload), peer.publicKey, signature))
      return { ...envelopeOf(newPeer(), payload), publicKey: peer.publicKey, signature };
  }
}
for (const [at, point] of [...SMALL_ORDER, ...SMALL_ORDER_RESPELLED].entries()) {
  const kind = at < SMALL_ORDER.length ? `point-${at + 1}` : `respelled-${at - SMALL_ORDER.length + 1}`;
  refuses(
    `weak-key.${kind}`,
    "MALFORMED|SIGNATURE_INVALID",
    `a key of small order, ${point.toString("hex").slice(0, 4)}…${point.toString("hex").slice(-2)}`,
    (trial) => byNobody(trial, point),
    { attack: "weak-keys", spec: "13", isUnlisted: true },
  );
}
refuses(
  "weak-key.r-of-small-order",
  "SIGNATURE_INVALID",
  "an R of small order with an S that fits",
  (trial) => {
    const peer = newPeer();
    const ticket = trial.ticket(peer);
    return { ...ticket, signature: signWithIdentity(canonical(ticket.payload), peer) };
  },
  { attack: "weak-keys", spec: "13", isUnlisted: true },
);
add("signature.canonical.data", "2", "verifies signatures over text as ECMAScript writes it", async (trial) => {
  // Every kind of character that writers differ in: escaped, and not.
  const data = '"\\/<>&\u2028\u2029\u00a0é𝄞\u200b\ue000+=';
  const { ticket } = await trial.join(newPeer({ userId: "/'`+<>&" }), { data });
  trial.hasNormalForm(await trial.look(), ticket);
});
