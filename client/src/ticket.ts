// Presence tickets: "this peer is here until then", signed by the peer itself (protocol/README.md, section 3).
//
// Parsing settles the shape; verifying everything that depends on the verifier: its clock, the community it asked for,
// its list of keys, the signature.

import { type Bytes, base64, readBase64, readUtf8, utf8 } from "./bytes.js";
import type { Verify } from "./ed25519.js";
import { type Json, type JsonObject, canonical, readJson } from "./json.js";

/** Longest life of a ticket, in milliseconds. */
export const TICKET_MAX_LIFETIME_MS = 180_000;
/** How far a time may lie in the verifier's future, in milliseconds: honest clocks differ. */
export const CLOCK_SKEW_MS = 15_000;
const USER_ID_MAX_BYTES = 128;
const NONCE_BYTES = 12;
const NONCE_MAX_BYTES = 32;

/** Why something is not believed or not had. The message is one of the wire formats' codes, or one of this library's. */
export class Refusal extends Error {}

/** @throws Refusal `code` for what is not an object in JSON in UTF-8. */
export function readObject(bytes: Bytes, code = "MALFORMED"): JsonObject {
  try {
    const value = readJson(readUtf8(bytes));
    if (value instanceof Map) return value;
  } catch {
    // The same code.
  }
  throw new Refusal(code);
}

export interface Ticket {
  readonly peerId: string;
  readonly userId: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly community: string | undefined;
  /** Base64 of the 32 bytes. */
  readonly publicKey: string;
  /** The normal form. */
  readonly json: string;
  readonly key: Bytes;
  readonly signature: Bytes;
  readonly signed: string;
}

export interface TicketRules {
  readonly community: string;
  /** The only keys allowed, in base64; any, where absent. */
  readonly trustedKeys?: ReadonlySet<string> | undefined;
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
export function isUserId(text: unknown): text is string {
  return typeof text === "string" && /^[^\p{Cc}\p{Cs}]+$/u.test(text) && utf8(text).length <= USER_ID_MAX_BYTES;
}

export function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** @throws Refusal for a version or algorithm that is not the only one there is. */
export function demandSupported(version: number, algorithm: string): void {
  if (version !== 1) throw new Refusal("UNSUPPORTED_VERSION");
  if (algorithm !== "ed25519") throw new Refusal("UNSUPPORTED_ALGORITHM");
}

/** The values of these fields, of an object that has no others. */
function fieldsOf(value: Json | undefined, names: string[]): (Json | undefined)[] {
  if (!(value instanceof Map)) throw new Refusal("MALFORMED");
  // What is missing shows in the check of its type; a field of another name shows here.
  if (names.filter((name) => value.has(name)).length !== value.size) throw new Refusal("MALFORMED");
  return names.map((name) => value.get(name));
}

/**
 * A ticket to be listed, in any layout and order of keys.
 *
 * @throws Refusal `MALFORMED`, then `UNSUPPORTED_VERSION` and `UNSUPPORTED_ALGORITHM`.
 */
export function parseTicket(value: Json): Ticket {
  const [version, algorithm, publicKey, signatureText, payload] = fieldsOf(value, [
    "version",
    "algorithm",
    "publicKey",
    "signature",
    "payload",
  ]);
  // A ticket to leave must never be taken for one that says "I am here": `leave` is unknown here.
  const [peerId, userId, issuedAt, expiresAt, nonce, community] = fieldsOf(payload, [
    "peerId",
    "userId",
    "issuedAt",
    "expiresAt",
    "nonce",
    "community",
  ]);
  const key = readBase64(publicKey);
  const signature = readBase64(signatureText);
  const nonceBytes = readBase64(nonce)?.length ?? 0;
  if (
    !isTime(version) ||
    typeof algorithm !== "string" ||
    key?.length !== 32 ||
    signature?.length !== 64 ||
    !isPeerId(peerId) ||
    !isUserId(userId) ||
    !isTime(issuedAt) ||
    !isTime(expiresAt) ||
    issuedAt >= expiresAt ||
    nonceBytes < NONCE_BYTES ||
    nonceBytes > NONCE_MAX_BYTES ||
    !(community === undefined || isCommunity(community))
  ) {
    throw new Refusal("MALFORMED");
  }
  demandSupported(version, algorithm);
  return {
    peerId,
    userId,
    issuedAt,
    expiresAt,
    community,
    key,
    signature,
    publicKey: publicKey as string,
    json: canonical(value),
    signed: canonical(payload as Json),
  };
}

/** Whether a ticket is good at `now`, as far as clocks go. */
export function isTimely({ issuedAt, expiresAt }: { issuedAt: number; expiresAt: number }, now: number): boolean {
  return issuedAt <= now + CLOCK_SKEW_MS && expiresAt > now;
}

/** @throws Refusal for the first rule that the ticket breaks at `now`; the signature, the dear one, is the last. */
export async function verifyTicket(ticket: Ticket, rules: TicketRules, now: number): Promise<void> {
  const { issuedAt, expiresAt, community, publicKey } = ticket;
  if (community !== undefined && community !== rules.community) throw new Refusal("COMMUNITY_MISMATCH");
  if (expiresAt - issuedAt > TICKET_MAX_LIFETIME_MS) throw new Refusal("LIFETIME_TOO_LONG");
  if (!isTimely(ticket, now)) throw new Refusal(expiresAt > now ? "NOT_YET_VALID" : "EXPIRED");
  if (rules.trustedKeys && !rules.trustedKeys.has(publicKey)) throw new Refusal("UNTRUSTED_PUBLIC_KEY");
  if (!rules.isKnown?.(ticket) && !(await rules.verify(ticket.key, ticket.signature, utf8(ticket.signed))))
    throw new Refusal("SIGNATURE_INVALID");
}

export interface Tickets {
  /** The good ones. */
  tickets: Ticket[];
  /** How many others there were, by code. */
  refused: Record<string, number>;
}

/** Checks each ticket by itself: a bad one costs only itself. */
export async function verifyTickets(values: Json[], rules: TicketRules, now: number): Promise<Tickets> {
  const found = await Promise.all(
    values.map(async (value) => {
      try {
        const ticket = parseTicket(value);
        await verifyTicket(ticket, rules, now);
        return ticket;
      } catch (error) {
        return error instanceof Refusal ? error.message : "MALFORMED";
      }
    }),
  );
  const checked: Tickets = { tickets: [], refused: {} };
  for (const ticket of found) {
    if (typeof ticket === "string") checked.refused[ticket] = (checked.refused[ticket] ?? 0) + 1;
    else checked.tickets.push(ticket);
  }
  return checked;
}

export interface Signer {
  /** The 32 bytes of an Ed25519 public key. */
  readonly publicKey: Uint8Array;
  /** The 64 bytes of a signature of `message`. */
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

export interface Claims {
  peerId: string;
  userId: string;
  community: string;
  issuedAt: number;
  expiresAt: number;
}

/** Signs a ticket, to be listed or to leave, and gives its normal form. */
export async function signTicket(claims: Claims, leave: boolean, signer: Signer): Promise<string> {
  const nonce = base64(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  const payload: Json = new Map(Object.entries({ ...claims, nonce, ...(leave && { leave }) }));
  const signature = await signer.sign(utf8(canonical(payload)));
  const envelope = {
    version: 1,
    algorithm: "ed25519",
    publicKey: base64(signer.publicKey),
    signature: base64(signature),
    payload,
  };
  return canonical(new Map<string, Json>(Object.entries(envelope)));
}
