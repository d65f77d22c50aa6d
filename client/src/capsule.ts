// Capsules: signed snapshots of who is online, from any static host (protocol/README.md, section 5).
//
// The signature beside the file covers its exact bytes, and is checked before anything is parsed. A capsule outlives its
// tickets: each has to be good when the capsule was issued, and the reader learns which are good now too.

import { type Bytes, readBase64, utf8 } from "./bytes.js";
import { type Json, canonical } from "./json.js";
import {
  type TicketRules,
  type Tickets,
  demand,
  demandSupported,
  demandTimely,
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
  demand(file.length <= CAPSULE_MAX_BYTES);
  const check = async (text: unknown, message: Bytes): Promise<void> => {
    const bytes = readBase64(text);
    demand(bytes?.length === 64 && (await rules.verify(rules.publicKey, bytes, message)), "SIGNATURE_INVALID");
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
  demand(
    isTime(version) &&
      typeof community === "string" &&
      isTime(issuedAt) &&
      isTime(expiresAt) &&
      issuedAt < expiresAt &&
      Array.isArray(peers) &&
      peers.length <= CAPSULE_MAX_PEERS &&
      typeof embedded === "string" &&
      typeof algorithm === "string",
  );
  demandSupported(version, algorithm);
  demand(community === rules.community, "COMMUNITY_MISMATCH");
  const signed = new Map<string, Json>(Object.entries({ community, expiresAt, issuedAt, peers, version }));
  await check(embedded, utf8(canonical(signed)));
  demand(rules.newestSeen === undefined || issuedAt >= rules.newestSeen, "ROLLBACK");
  // One from the future would make every right one look rolled back.
  demandTimely({ issuedAt, expiresAt }, now);

  const { tickets, refused } = await verifyTickets(peers, rules, issuedAt);
  const seen = new Set<string>();
  const first = tickets.filter(({ peerId }) => !seen.has(peerId) && seen.add(peerId));
  if (first.length < tickets.length) refused.DUPLICATE = tickets.length - first.length;
  return { issuedAt, expiresAt, tickets: first, refused };
}
