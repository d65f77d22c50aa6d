// Capsules: signed snapshots of who is online, from any static host (protocol/README.md, section 5).
//
// The signature beside the file covers its exact bytes, and is checked before anything is parsed. A capsule outlives its
// tickets: each has to be good when the capsule was issued, and the reader learns which are good now too.

import { type Bytes, utf8 } from "./bytes.js";
import type { Verify } from "./ed25519.js";
import { canonical, jsonOf } from "./json.js";
import { type Memory, readMemory, readRevoked } from "./revocation.js";
import type { Reply } from "./request.js";
import type { Store } from "./store.js";
import {
  Refusal,
  type TicketRules,
  type Tickets,
  demand,
  demandSupported,
  demandTimely,
  dropDuplicates,
  fieldsOf,
  isTime,
  readObject,
  verifyTickets,
} from "./ticket.js";

/** Bytes of a capsule file. */
export const CAPSULE_MAX_BYTES = 1024 * 1024;
/** Longest life of a ticket in a capsule, in milliseconds: 7 days, for stable nodes. */
export const CAPSULE_TICKET_MAX_LIFETIME_MS = 604_800_000;
/** Tickets in a capsule. */
const CAPSULE_MAX_PEERS = 1_000;

/** Who may publish. */
export interface Publishers {
  /** Of the root that says so; 0 where the reader trusts a key. */
  readonly rootVersion: number;
  /** In base64. */
  readonly keys: readonly string[];
  /**
   * Where one signature may not be enough.
   *
   * @param keys Those that are not revoked.
   * @param signer The one of them that has made the signature beside the file.
   * @throws Refusal `THRESHOLD_NOT_MET`.
   */
  confirm?(file: Bytes, keys: readonly string[], signer: string): Promise<unknown>;
}

/** What can be had beside a capsule, on its host and in the storage. */
export interface Place {
  /**
   * @param suffix Put to the path of the capsule's URL: `.sigs`, or `/../1.root.json`.
   * @throws Refusal, like `HTTP_404`.
   */
  readFile(suffix: string, maxBytes: number): Promise<Reply>;
  readonly store: Store;
  readonly rules: { readonly verify: Verify };
  readonly now: number;
}

/** Whom a reader believes. */
export interface Trust {
  /** What is remembered is stored under this name. */
  readonly label: string;
  /**
   * Of a root. One key is itself who may publish.
   *
   * @throws Refusal if it cannot be found out.
   */
  publishers?(place: Place): Promise<Publishers>;
}

export interface CapsuleRules extends TicketRules {
  readonly publishers: Publishers;
  /** What is remembered under the same trust. */
  readonly memory: Memory;
}

export interface Capsule extends Tickets {
  /** To be remembered. */
  memory: Memory;
  /** From `issuedAt` to `expiresAt`, in milliseconds. */
  lifeMs: number;
}

/**
 * @param signature The bytes of `peers.json.sig`.
 * @throws Refusal for the first rule that the capsule breaks. A bad ticket in it is not an error.
 */
export async function readCapsule(
  file: Bytes,
  signature: Bytes,
  rules: CapsuleRules,
  now: number,
): Promise<Capsule> {
  const { rootVersion, keys, confirm } = rules.publishers;
  // Another root is a new beginning, also for a publisher who dated a capsule too far ahead.
  const { publisherKeys, issuedAt: newestSeen } =
    rules.memory.rootVersion === rootVersion ? rules.memory : readMemory(0);
  const trusted = keys.filter((key) => !publisherKeys.includes(key));
  demand(rootVersion || trusted[0], "REVOKED_PUBLIC_KEY");
  const findSigner = async (candidates: readonly string[], text: unknown, message: Bytes): Promise<string> => {
    for (const key of candidates) if (await rules.verify(key, text, message)) return key;
    throw new Refusal("SIGNATURE_INVALID");
  };
  const text = String.fromCharCode(...signature).replace(/\n$/, "");
  const signer = await findSigner(trusted, text, file);
  await confirm?.(file, trusted, signer);

  const { version, community, issuedAt, expiresAt, peers, signature: embedded, algorithm, revoked } = readObject(file);
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
  const warning = readRevoked(revoked === undefined ? {} : fieldsOf(revoked));
  demandSupported(version, algorithm);
  demand(community === rules.community, "COMMUNITY_MISMATCH");
  const signed = jsonOf({ community, expiresAt, issuedAt, peers, version });
  await findSigner([signer], embedded, utf8(canonical(signed)));
  demand(issuedAt >= newestSeen, "ROLLBACK");
  // One from the future would make every right one look rolled back.
  demandTimely({ issuedAt, expiresAt }, now);

  const found = await verifyTickets(
    peers,
    {
      ...rules,
      isRevoked: (key) => warning.ticketKeys.includes(key) || rules.isRevoked(key),
      maxLifetimeMs: CAPSULE_TICKET_MAX_LIFETIME_MS,
    },
    issuedAt,
  );
  return {
    // A publisher has chosen one key of each peerId.
    ...dropDuplicates(found, ({ peerId }) => peerId),
    lifeMs: expiresAt - issuedAt,
    memory: {
      ...warning,
      rootVersion,
      issuedAt,
      // Once revoked, for ever, as far as this root goes. Of keys that do not count there is nothing to remember.
      publisherKeys: keys.filter((key) => [...publisherKeys, ...warning.publisherKeys].includes(key)),
    },
  };
}
