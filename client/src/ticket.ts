// Presence tickets: "this peer is here until then", signed by the peer itself (protocol/README.md, section 3).
//
// Parsing settles the shape; verifying everything that depends on the verifier: its clock, the community it asked for,
// its list of keys, the signature.

import { type Bytes, base64, readBase64, readKey, readUtf8, utf8 } from "./bytes.js";
import type { Verify } from "./ed25519.js";
import { type Json, type JsonObject, canonical, jsonOf, readJson } from "./json.js";

/** Longest life of a ticket, in milliseconds. */
export const TICKET_MAX_LIFETIME_MS = 180_000;
/** How far a time may lie in the verifier's future, in milliseconds: honest clocks differ. */
export const CLOCK_SKEW_MS = 15_000;
export const USER_ID_MAX_BYTES = 128;
export const DATA_MAX_BYTES = 512;
const NONCE_MIN_BYTES = 12;
const NONCE_MAX_BYTES = 32;

/** Why something is not believed or not had. The message is one of the wire formats' codes, or one of this library's. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** @throws Refusal `code`, unless it holds. */
export function demand(holds: unknown, code = "MALFORMED"): asserts holds {
  if (!holds) throw new Refusal(code);
}

/** What is missing is undefined, so that the check of its type finds it. */
export type Fields = Record<string, Json | undefined>;

/** @throws Refusal `code` for what is not an object. */
export function fieldsOf(value: Json | undefined, code?: string): Fields {
  demand(value instanceof Map, code);
  return Object.fromEntries(value);
}

/** @throws Refusal `code` for what is not an object in JSON in UTF-8. */
export function readObject(bytes: Bytes, code?: string): Fields {
  let value: Json | undefined;
  try {
    value = readJson(readUtf8(bytes));
  } catch {
    // The same code.
  }
  return fieldsOf(value, code);
}

export interface Ticket {
  readonly peerId: string;
  readonly userId: string;
  readonly data: string | undefined;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Base64 of the 32 bytes. */
  readonly publicKey: string;
  readonly community: string | undefined;
  /** The normal form. */
  readonly json: string;
  /** The signature. */
  readonly proof: string;
  readonly signed: string;
}

export interface TicketRules {
  readonly community: string;
  /** The only keys allowed, in base64; any, where absent. */
  readonly trustedKeys?: ReadonlySet<string> | undefined;
  /** Whether a key, in base64, is refused wherever its tickets come from. */
  readonly isRevoked: (publicKey: string) => boolean;
  /** Longest life of a ticket, in milliseconds. */
  readonly maxLifetimeMs: number;
  readonly verify: Verify;
  /** Tells a ticket whose signature was verified before. */
  readonly isKnown?: ((ticket: Ticket) => boolean) | undefined;
}

export function isCommunity(text: unknown): text is string {
  return typeof text === "string" && /^[\w.-]{1,64}$/.test(text);
}

export function isPeerId(text: unknown): text is string {
  return typeof text === "string" && /^(?! )[ !#-%'-;=?-[\]-~]{1,128}(?<! )$/.test(text);
}

/** Half of a surrogate pair has no UTF-8, and so no bytes that could have been signed. */
export function isText(text: unknown, maxBytes: number): text is string {
  return typeof text === "string" && /^[^\p{Cc}\p{Cs}]+$/u.test(text) && utf8(text).length <= maxBytes;
}

export function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** @throws Refusal for a version or algorithm that is not the only one there is. */
export function demandSupported(version: number, algorithm: string): void {
  demand(version === 1, "UNSUPPORTED_VERSION");
  demand(algorithm === "ed25519", "UNSUPPORTED_ALGORITHM");
}

/**
 * A ticket to be listed, in any layout and order of keys.
 *
 * @throws Refusal `MALFORMED`, then `UNSUPPORTED_VERSION` and `UNSUPPORTED_ALGORITHM`.
 */
export function parseTicket(value: Json): Ticket {
  const { version, algorithm, publicKey, signature, payload } = fieldsOf(value);
  const { peerId, userId, data, issuedAt, expiresAt, nonce, community } = fieldsOf(payload);
  const nonceBytes = readBase64(nonce)?.length as number;
  demand(
    isTime(version) &&
      typeof algorithm === "string" &&
      readKey(publicKey) &&
      readBase64(signature)?.length === 64 &&
      isPeerId(peerId) &&
      isText(userId, USER_ID_MAX_BYTES) &&
      isTime(issuedAt) &&
      isTime(expiresAt) &&
      issuedAt < expiresAt &&
      nonceBytes >= NONCE_MIN_BYTES &&
      nonceBytes <= NONCE_MAX_BYTES &&
      // All of these are there, so there are no others: a ticket to leave must never be taken for one that says "I am
      // here".
      (value as JsonObject).size === 5 &&
      (payload as JsonObject).size === 5 + +isCommunity(community) + +isText(data, DATA_MAX_BYTES),
  );
  demandSupported(version, algorithm);
  return {
    peerId,
    userId,
    data: data as string | undefined,
    publicKey: publicKey as string,
    issuedAt,
    expiresAt,
    community: community as string | undefined,
    proof: signature as string,
    json: canonical(value),
    signed: canonical(payload as Json),
  };
}

interface Lifetime {
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Whether a ticket or capsule is good at `now`, as far as clocks go. */
export function isTimely({ issuedAt, expiresAt }: Lifetime, now: number): boolean {
  return issuedAt <= now + CLOCK_SKEW_MS && expiresAt > now;
}

/** @throws Refusal `NOT_YET_VALID` or `EXPIRED`. */
export function demandTimely(lifetime: Lifetime, now: number): void {
  demand(isTimely(lifetime, now), lifetime.issuedAt > now + CLOCK_SKEW_MS ? "NOT_YET_VALID" : "EXPIRED");
}

/** @throws Refusal for the first rule that the ticket breaks at `now`; the signature, the dear one, is the last. */
export async function verifyTicket(ticket: Ticket, rules: TicketRules, now: number): Promise<void> {
  const { issuedAt, expiresAt, community, publicKey } = ticket;
  demand((community ?? rules.community) === rules.community, "COMMUNITY_MISMATCH");
  demand(expiresAt - issuedAt <= rules.maxLifetimeMs, "LIFETIME_TOO_LONG");
  demandTimely(ticket, now);
  demand(rules.trustedKeys?.has(publicKey) ?? true, "UNTRUSTED_PUBLIC_KEY");
  demand(!rules.isRevoked(publicKey), "REVOKED_PUBLIC_KEY");
  demand(
    rules.isKnown?.(ticket) || (await rules.verify(publicKey, ticket.proof, utf8(ticket.signed))),
    "SIGNATURE_INVALID",
  );
}

/** A good ticket, where a source listed it. */
export interface Listed extends Ticket {
  /** Milliseconds since the Unix epoch since when the source lists the claim, as it says; undefined where it does not. */
  readonly since?: number | undefined;
}

export interface Tickets {
  /** The good ones, in the order of the list. */
  tickets: Listed[];
  /** How many others there were, by code. */
  refused: Record<string, number>;
}

export function count(codes: Record<string, number>, code: string, more = 1): void {
  codes[code] = (codes[code] ?? 0) + more;
}

/**
 * Checks each ticket by itself: a bad one costs only itself.
 *
 * @param since Of each value, what {@link Listed.since} is to be.
 */
export async function verifyTickets(
  values: Json[],
  rules: TicketRules,
  now: number,
  since: readonly number[] = [],
): Promise<Tickets> {
  const refused: Record<string, number> = {};
  const tickets = await Promise.all(
    values.map(async (value, at) => {
      try {
        const ticket = parseTicket(value);
        await verifyTicket(ticket, rules, now);
        return [{ ...ticket, since: since[at] }];
      } catch (error) {
        count(refused, (error as Refusal).message);
        return [];
      }
    }),
  );
  return { tickets: tickets.flat(), refused };
}

/** Takes the first ticket of each `keyOf`, and counts the others as `DUPLICATE`. */
export function dropDuplicates({ tickets, refused }: Tickets, keyOf: (ticket: Ticket) => string): Tickets {
  const seen = new Set<string>();
  return {
    tickets: tickets.filter((ticket) => seen.size < seen.add(keyOf(ticket)).size || count(refused, "DUPLICATE")),
    refused,
  };
}

export interface Signer {
  /** The 32 bytes of an Ed25519 public key. */
  readonly publicKey: Uint8Array;
  /** The 64 bytes of a signature of `message`. */
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** What all tickets of this peer's own say. */
export interface Profile {
  readonly community: string;
  readonly peerId: string;
  readonly userId: string;
  /** Not in a ticket to leave. */
  readonly data: string | undefined;
}

/** What a ticket of this peer's own says; the nonce is made for each. */
export interface PayloadFields extends Profile {
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Signs a ticket, to be listed or to leave, and gives its normal form. */
export async function signTicket(fields: PayloadFields, leave: boolean, signer: Signer): Promise<string> {
  const nonce = base64(crypto.getRandomValues(new Uint8Array(NONCE_MIN_BYTES)));
  const payload = jsonOf({ ...fields, nonce, ...(leave && { leave, data: undefined }) });
  const signature = await signer.sign(utf8(canonical(payload)));
  return canonical(
    jsonOf({
      version: 1,
      algorithm: "ed25519",
      publicKey: base64(signer.publicKey),
      signature: base64(signature),
      payload,
    }),
  );
}
