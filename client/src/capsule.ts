// Capsules: signed snapshots of who is online, from any static host (protocol/README.md, section 5).
//
// The signature beside the file covers its exact bytes, and is checked before anything is parsed. A capsule outlives its
// tickets: each has to be good when the capsule was issued, and the reader learns which are good now too.

import { type Bytes, readBase64, utf8 } from "./bytes.js";
import { type Json, canonical } from "./json.js";
import {
  CLOCK_SKEW_MS,
  Refusal,
  type TicketRules,
  type Tickets,
  demandSupported,
  isTime,
  readObject,
  verifyTickets,
} from "./ticket.js";

/** Bytes of a capsule file. */
export const CAPSULE_MAX_BYTES = 1024 * 1024;
/** Tickets in a capsule. */
const CAPSULE_MAX_PEERS = 1_000;

export interface CapsuleRules extends TicketRules {
  /** The publisher's. */
  readonly publicKey: Bytes;
  /** `issuedAt` of the newest capsule seen from this key for this community. */
  readonly newestSeen?: number | undefined;
}

export interface Capsule extends Tickets {
  issuedAt: number;
  expiresAt: number;
}

/**
 * @param signature The bytes of `peers.json.sig`; none where there is no such file.
 * @throws Refusal for the first rule that the capsule breaks. A bad ticket in it is no error.
 */
export async function readCapsule(
  file: Bytes,
  signature: Bytes | undefined,
  rules: CapsuleRules,
  now: number,
): Promise<Capsule> {
  if (file.length > CAPSULE_MAX_BYTES) throw new Refusal("MALFORMED");
  const check = async (text: unknown, message: Bytes): Promise<void> => {
    const bytes = readBase64(text);
    if (bytes?.length !== 64 || !(await rules.verify(rules.publicKey, bytes, message)))
      throw new Refusal("SIGNATURE_INVALID");
  };
  await check(signature && String.fromCharCode(...signature.subarray(0, 90)).replace(/\n$/, ""), file);

  const fields = readObject(file);
  const [version, community, issuedAt, expiresAt, peers, embedded, algorithm] = [
    "version",
    "community",
    "issuedAt",
    "expiresAt",
    "peers",
    "signature",
    "algorithm",
  ].map((name) => fields.get(name));
  if (
    !isTime(version) ||
    typeof community !== "string" ||
    !isTime(issuedAt) ||
    !isTime(expiresAt) ||
    issuedAt >= expiresAt ||
    !Array.isArray(peers) ||
    peers.length > CAPSULE_MAX_PEERS ||
    typeof embedded !== "string" ||
    typeof algorithm !== "string"
  ) {
    throw new Refusal("MALFORMED");
  }
  demandSupported(version, algorithm);
  if (community !== rules.community) throw new Refusal("COMMUNITY_MISMATCH");
  const signed = new Map<string, Json>(Object.entries({ community, expiresAt, issuedAt, peers, version }));
  await check(embedded, utf8(canonical(signed)));
  if (rules.newestSeen !== undefined && issuedAt < rules.newestSeen) throw new Refusal("ROLLBACK");
  // It would make every right one look rolled back.
  if (issuedAt > now + CLOCK_SKEW_MS) throw new Refusal("NOT_YET_VALID");
  if (expiresAt <= now) throw new Refusal("EXPIRED");

  const { tickets, refused } = await verifyTickets(peers, rules, issuedAt);
  const seen = new Set<string>();
  const first = tickets.filter(({ peerId }) => !seen.has(peerId) && seen.add(peerId));
  if (first.length < tickets.length) refused.DUPLICATE = tickets.length - first.length;
  return { issuedAt, expiresAt, tickets: first, refused };
}
