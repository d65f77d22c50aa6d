// What publishers revoke (protocol/README.md, section 7), and what a reader remembers of the capsules that it has read.

import { readKey, readUrl } from "./bytes.js";
import type { Json } from "./json.js";
import { type Fields, demand, isTime } from "./ticket.js";

/** Entries of one list. */
const REVOCATIONS_MAX = 256;
const BEACON_URL_MAX_BYTES = 2_048;

export interface Revoked {
  /** In base64: whose tickets are refused, wherever they come from. */
  readonly ticketKeys: readonly string[];
  /** In base64: whose signatures of capsules count for nothing any more. */
  readonly publisherKeys: readonly string[];
  /** The URLs of beacons that are not to be asked. */
  readonly beacons: readonly string[];
}

/** @throws Refusal `MALFORMED`. */
export function readRevoked({ ticketKeys = [], publisherKeys = [], beacons = [] }: Fields): Revoked {
  const list = (entries: Json, isEntry: (entry: Json) => unknown): string[] => {
    demand(Array.isArray(entries) && entries.length <= REVOCATIONS_MAX && entries.every(isEntry));
    return entries as string[];
  };
  return {
    ticketKeys: list(ticketKeys, readKey),
    publisherKeys: list(publisherKeys, readKey),
    // In its one spelling, which is also without a slash at its end.
    beacons: list(
      beacons,
      (url) => readUrl(url)?.replace(/\/+$/, "") === url && (url as string).length <= BEACON_URL_MAX_BYTES,
    ),
  };
}

/**
 * What the newest capsule of one publisher, or of one root, leaves behind: it outlives the capsule. Of publishers' keys
 * only those that count here are in it.
 */
export interface Memory extends Revoked {
  /** Of the root that it was read with; 0 for a publisher's key. */
  readonly rootVersion: number;
  readonly issuedAt: number;
}

/** From the storage, where there may be anything; earlier versions stored `issuedAt` alone. */
export function readMemory(stored: unknown): Memory {
  try {
    const { rootVersion = 0, issuedAt = stored, ...revoked } = Object(stored);
    demand(isTime(rootVersion) && isTime(issuedAt));
    return { ...readRevoked(revoked), rootVersion, issuedAt };
  } catch {
    return readMemory(0);
  }
}
