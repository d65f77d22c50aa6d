// What is signed about a mailbox (protocol/README.md, section 17): shapes, lives, signers, signatures. No I/O.

import { type Bytes, base64, concat, readBase64, readKey, sha256, utf8 } from "./bytes.js";
import type { Verify } from "./ed25519.js";
import { type Json, type JsonObject, canonical, jsonOf } from "./json.js";
import { CLOCK_SKEW_MS, type Fields, type Signer, demand, demandSupported, fieldsOf, isTime } from "./ticket.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
/** The lengths that sealed bytes can have. */
export const SEALED_BYTES = [2_048, 8_192, 32_768, 131_072];
/** Longest life of a card, a policy and prekeys. */
export const RECORD_MAX_LIFETIME_MS = 90 * DAY_MS;
/** Longest life of a sealing key, from the `issuedAt` of its card. */
export const SEALING_KEY_MAX_LIFETIME_MS = 30 * DAY_MS;
export const DEPOSIT_MIN_LIFETIME_MS = HOUR_MS;
export const DEPOSIT_MAX_LIFETIME_MS = 7 * DAY_MS;
/** How far the `issuedAt` of a record for one relay may be from that relay's clock. */
const REQUEST_SKEW_MS = MINUTE_MS;
export const RELAYS_MAX = 4;
const READERS_MAX = 8;
const SEALING_KEYS_MAX = 3;
const DIFFICULTY_MAX = 28;
export const CONTACTS_MAX = 256;
export const INVITES_MAX = 32;
export const CONTACT_LIMIT_MAX = 32;
export const INVITE_LIMIT_MAX = 8;
export const MISSING_MAX = CONTACT_LIMIT_MAX;
const ONE_TIME_KEYS_MAX = 100;
const COLLECT_MAX_MESSAGES = 100;

/** By what a record is judged that does not stand in it. */
export interface RecordRules {
  readonly verify: Verify;
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
  /** The relay that a record for one relay has to name; none, where absent. */
  readonly audience?: string;
}

type Is = (value: Json | undefined) => boolean;

/** One kind of record. */
export interface RecordKind {
  readonly purpose: string;
  readonly isPayload: Is;
  /** Checks what hangs on the signer and the reader, but not the signature. */
  readonly check: (payload: Fields, publicKey: string, rules: RecordRules) => void | Promise<void>;
}

/** A record of the right shape. */
export interface SignedRecord {
  readonly payload: Fields;
  /** Base64 of the 32 bytes. */
  readonly publicKey: string;
  readonly signature: string;
  /** The bytes that are signed. */
  readonly signed: Bytes;
  /** All of it. */
  readonly value: JsonObject;
}

const from =
  (least: number, most = Number.MAX_SAFE_INTEGER): Is =>
  (value) =>
    isTime(value) && value >= least && value <= most;
const isBoolean: Is = (value) => typeof value === "boolean";
const isKey: Is = (value) => !!readKey(value);
const bytesOf =
  (length: number): Is =>
  (value) =>
    readBase64(value)?.length === length;
export const isAddress = (value: unknown): value is string => typeof value === "string" && /^[\da-f]{64}$/.test(value);

/** The origin of an `http:` or `https:` URL, as browsers write it, of at most 300 bytes. */
export function isOrigin(value: unknown): value is string {
  try {
    // Of all that begin with these letters only the two schemes have an origin.
    return /^http.{0,296}$/.test(value as string) && new URL(value as string).origin === value;
  } catch {
    return false;
  }
}

/** Exactly these fields. */
const object =
  (fields: Record<string, Is>): Is =>
  (value) =>
    value instanceof Map &&
    value.size === Object.keys(fields).length &&
    Object.entries(fields).every(([name, is]) => is(value.get(name)));

/** `least` to `most` items, of which no two have the same `keyOf`. */
export const list =
  (most: number, is: Is, keyOf: (item: Json) => unknown = (item) => item, least = 0): Is =>
  (value) =>
    Array.isArray(value) &&
    value.length >= least &&
    value.length <= most &&
    value.every(is) &&
    new Set(value.map(keyOf)).size === value.length;

const keyIn = (item: Json): unknown => (item as JsonObject).get("key");

/** With a life. */
const isLiving = (value: Json | undefined, fields: Record<string, Is>): boolean =>
  object({ expiresAt: isTime, issuedAt: isTime, mailbox: isAddress, ...fields })(value) &&
  ((value as JsonObject).get("issuedAt") as number) < ((value as JsonObject).get("expiresAt") as number);

const isRevised = (value: Json | undefined, fields: Record<string, Is>): boolean =>
  isLiving(value, { revision: from(1), ...fields });

function demandLife({ issuedAt, expiresAt }: Fields, longestMs: number, now: number): void {
  const [begins, ends] = [issuedAt as number, expiresAt as number];
  demand(ends - begins <= longestMs, "LIFETIME_TOO_LONG");
  demand(begins <= now + CLOCK_SKEW_MS, "NOT_YET_VALID");
  demand(ends > now, "EXPIRED");
}

/** Gives the address of the mailbox of an owner, by its key in base64. */
export async function addressOf(owner: string): Promise<string> {
  const digest = await sha256(concat(utf8("rendezvous-mailbox-v1\0"), readKey(owner) as Bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Gives the base64 of the SHA-256 by which sealed bytes are named. */
export async function contentIdOf(sealed: Bytes): Promise<string> {
  return base64(await sha256(sealed));
}

async function demandOwner({ mailbox }: Fields, publicKey: string): Promise<void> {
  demand((await addressOf(publicKey)) === mailbox, "NOT_THE_OWNER");
}

const isSealingKey: Is = (value) =>
  object({ expiresAt: isTime, key: (key) => typeof key === "string", suite: from(0, 1) })(value) &&
  readBase64(keyIn(value as Json))?.length === ((value as JsonObject).get("suite") ? 1_216 : 32);

export const CARD: RecordKind = {
  purpose: "card",
  isPayload: (value) =>
    isRevised(value, {
      readers: list(READERS_MAX, isKey),
      relays: list(RELAYS_MAX, isOrigin),
      requests: object({ difficulty: from(0, DIFFICULTY_MAX), open: isBoolean }),
      sealing: list(SEALING_KEYS_MAX, isSealingKey, keyIn, 1),
    }),
  check: (payload, publicKey, { now }) => {
    demandLife(payload, RECORD_MAX_LIFETIME_MS, now);
    for (const key of payload.sealing as JsonObject[]) {
      const lives = (key.get("expiresAt") as number) - (payload.issuedAt as number);
      demand(lives <= SEALING_KEY_MAX_LIFETIME_MS, "LIFETIME_TOO_LONG");
    }
    return demandOwner(payload, publicKey);
  },
};

const checkOwned: RecordKind["check"] = (payload, publicKey, { now }) => {
  demandLife(payload, RECORD_MAX_LIFETIME_MS, now);
  return demandOwner(payload, publicKey);
};

const slots = ({ contacts, invites }: Fields): unknown[] => [...(contacts as Json[]), ...(invites as Json[])].map(keyIn);

export const POLICY: RecordKind = {
  purpose: "policy",
  isPayload: (value) =>
    isRevised(value, {
      contacts: list(CONTACTS_MAX, object({ key: isKey, limit: from(1, CONTACT_LIMIT_MAX) })),
      invites: list(INVITES_MAX, object({ expiresAt: isTime, key: isKey, limit: from(1, INVITE_LIMIT_MAX) })),
    }) &&
    ((keys) => new Set(keys).size === keys.length)(slots(fieldsOf(value))),
  check: checkOwned,
};

export const DEPOSIT: RecordKind = {
  purpose: "deposit",
  isPayload: (value) =>
    isLiving(value, { contentId: bytesOf(32), sequence: from(1), size: isTime }),
  check: (payload, _, { now }) => {
    demandLife(payload, DEPOSIT_MAX_LIFETIME_MS, now);
    const lives = (payload.expiresAt as number) - (payload.issuedAt as number);
    demand(lives >= DEPOSIT_MIN_LIFETIME_MS, "LIFETIME_TOO_SHORT");
  },
};

export const ACK: RecordKind = {
  purpose: "ack",
  isPayload: (value) => {
    const isIt = object({
      at: (at) => isTime(at) && at % MINUTE_MS === 0,
      mailbox: isAddress,
      missing: list(MISSING_MAX, from(1)),
      slot: isKey,
      through: from(1),
    })(value);
    if (!isIt) return false;
    const { missing, through } = fieldsOf(value) as { missing: number[]; through: number };
    return missing.every((sequence, at) => sequence < (missing[at + 1] ?? through));
  },
  // It never ends; who may acknowledge stands in the card.
  check: () => {},
};

const isPrekey: Is = (value) =>
  object({
    id: (id) => typeof id === "string" && /^[\w+/-]{1,32}$/.test(id),
    key: isKey,
    signature: bytesOf(64),
    since: isTime,
  })(value);

export const PREKEYS: RecordKind = {
  purpose: "prekeys",
  isPayload: (value) =>
    isRevised(value, {
      curve25519: isKey,
      fallback: isPrekey,
      oneTime: list(ONE_TIME_KEYS_MAX, isPrekey, keyIn),
    }),
  check: checkOwned,
};

export const CLOSE: RecordKind = {
  purpose: "close",
  isPayload: (value) => object({ mailbox: isAddress, revision: from(1) })(value),
  check: demandOwner,
};

/** Good at one relay, and for a moment. */
const bound = (purpose: string, more: () => Record<string, Is> = () => ({})): RecordKind => ({
  purpose,
  isPayload: (value) =>
    object({ audience: isOrigin, issuedAt: isTime, mailbox: isAddress, nonce: bytesOf(16), ...more() })(value),
  check: ({ audience, issuedAt }, _, rules) => {
    demand(audience === rules.audience, "MISDIRECTED_REQUEST");
    demand((issuedAt as number) <= rules.now + REQUEST_SKEW_MS, "NOT_YET_VALID");
    demand((issuedAt as number) + REQUEST_SKEW_MS >= rules.now, "EXPIRED");
  },
});

export const COLLECT: RecordKind = /* @__PURE__ */ bound("collect", () => ({
  collector: bytesOf(16),
  limit: from(1, COLLECT_MAX_MESSAGES),
  maxBytes: isTime,
}));
export const CLAIM: RecordKind = /* @__PURE__ */ bound("claim");
export const SLOT: RecordKind = /* @__PURE__ */ bound("slot");
export const LIVE: RecordKind = /* @__PURE__ */ bound("live");

/** The one function that makes the bytes to sign. */
const signedBytes = (purpose: string, payload: Json, domain = "rendezvous-mailbox-v1"): Bytes =>
  utf8(`${domain}:${purpose}\n${canonical(payload)}`);

/**
 * Reads a record of that kind, in any layout and order of keys.
 *
 * @throws Refusal `MALFORMED`, then `UNSUPPORTED_VERSION` and `UNSUPPORTED_ALGORITHM`.
 */
export function readRecord(kind: RecordKind, value: Json | undefined): SignedRecord {
  const { version, algorithm, publicKey, signature, payload } = fieldsOf(value);
  demand(
    isTime(version) &&
      typeof algorithm === "string" &&
      isKey(publicKey) &&
      bytesOf(64)(signature) &&
      kind.isPayload(payload) &&
      (value as JsonObject).size === 5,
  );
  demandSupported(version, algorithm);
  return {
    payload: fieldsOf(payload),
    publicKey: publicKey as string,
    signature: signature as string,
    signed: signedBytes(kind.purpose, payload as Json),
    value: value as JsonObject,
  };
}

/** @throws Refusal for the first rule that the record breaks; the signature, the dear one, is the last. */
export async function verifyRecord(kind: RecordKind, record: SignedRecord, rules: RecordRules): Promise<void> {
  await kind.check(record.payload, record.publicKey, rules);
  await verifySignature(record, rules.verify);
}

/** @throws Refusal `SIGNATURE_INVALID`. */
export async function verifySignature({ publicKey, signature, signed }: SignedRecord, verify: Verify): Promise<void> {
  demand(await verify(publicKey, signature, signed), "SIGNATURE_INVALID");
}

/**
 * Reads a message as it travels: a deposit, and the sealed bytes that it names.
 *
 * @throws Refusal as {@link readRecord}, `SIZE_NOT_A_BUCKET` and `CONTENT_MISMATCH`. The signature is not verified.
 */
export async function readMessage(value: Json): Promise<{ record: SignedRecord; sealed: Bytes }> {
  const { deposit, sealed: text } = fieldsOf(value);
  const record = readRecord(DEPOSIT, deposit);
  const { size, contentId } = record.payload;
  const sealed = readBase64(text);
  demand(sealed);
  demand(SEALED_BYTES.includes(size as number) && sealed.length === size, "SIZE_NOT_A_BUCKET");
  demand((await contentIdOf(sealed)) === contentId, "CONTENT_MISMATCH");
  return { record, sealed };
}

/** Signs a record, of a mailbox or of another domain, and gives its normal form as JSON. */
export async function signRecord(
  purpose: string,
  fields: Record<string, Json>,
  signer: Signer,
  domain?: string,
): Promise<JsonObject> {
  const payload = jsonOf(fields);
  const signature = await signer.sign(signedBytes(purpose, payload, domain));
  return jsonOf({
    version: 1,
    algorithm: "ed25519",
    publicKey: base64(signer.publicKey),
    signature: base64(signature),
    payload,
  });
}
