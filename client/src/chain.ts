// Roots and signatures files: who may publish for a community, and what several sign together (protocol/README.md,
// sections 5 and 6). No I/O.

import { type Bytes, readBase64, readKey } from "./bytes.js";
import type { Publishers } from "./capsule.js";
import type { Verify } from "./ed25519.js";
import { type Fields, demand, fieldsOf, isCommunity, isTime, readObject } from "./ticket.js";

/** Bytes of a root file. */
export const ROOT_MAX_BYTES = 16_384;
/** Bytes of a signatures file. */
export const SIGNATURES_MAX_BYTES = 16_384;
/** Signatures in one file. */
const SIGNATURES_MAX_LINES = 64;
/** Keys in one role. */
const ROLE_MAX_KEYS = 16;

interface Role {
  readonly threshold: number;
  /** In base64. */
  readonly keys: readonly string[];
}

export interface RootDocument {
  readonly community: string;
  readonly rootVersion: number;
  readonly expiresAt: number;
  readonly rootKeys: Role;
  readonly publisherKeys: Role;
}

/** The lines of a signatures file: a key and a signature by it, both in base64. None of them is checked yet. */
type Signatures = readonly (readonly [key: string, signature: string])[];

/** @throws Refusal `MALFORMED` for fields that are not exactly these. */
function exactly(fields: Fields, count: number): void {
  // All of those asked for are there, or the checks of their types fail: so there are no others.
  demand(Object.keys(fields).length === count);
}

function readRole(value: Fields[string]): Role {
  const fields = fieldsOf(value);
  const { threshold, keys } = fields;
  exactly(fields, 2);
  demand(Array.isArray(keys) && keys.length <= ROLE_MAX_KEYS && keys.every(readKey) && new Set(keys).size === keys.length);
  demand(isTime(threshold) && threshold >= 1 && threshold <= keys.length);
  return { threshold, keys: keys as string[] };
}

/**
 * A root that is believed: given beforehand, remembered, or signed by enough.
 *
 * @throws Refusal `MALFORMED`, then `UNSUPPORTED_VERSION`.
 */
export function readRoot(file: Bytes): RootDocument {
  demand(file.length <= ROOT_MAX_BYTES);
  const fields = readObject(file);
  const { type, version, community, rootVersion, expiresAt } = fields;
  exactly(fields, 7);
  const [rootKeys, publisherKeys] = [readRole(fields.rootKeys), readRole(fields.publisherKeys)];
  demand(
    type === "root" &&
      isTime(version) &&
      isCommunity(community) &&
      isTime(rootVersion) &&
      rootVersion >= 1 &&
      isTime(expiresAt) &&
      // A key that is used every day would open the safe.
      !rootKeys.keys.some((key) => publisherKeys.keys.includes(key)),
  );
  demand(version === 1, "UNSUPPORTED_VERSION");
  return { community, rootVersion, expiresAt, rootKeys, publisherKeys };
}

/**
 * Tells a page from a signatures file: there are hosts that answer every path with one. A page begins like HTML, which no
 * signatures file does, and is not said to be something else.
 *
 * @param contentType The header's value; null where the host gave none.
 */
export function isPage(file: Bytes, contentType: string | null): boolean {
  const beginsLikeHtml = /^(\xef\xbb\xbf)?[ \t\r\n\f]*</.test(String.fromCharCode(...file.subarray(0, SIGNATURES_MAX_BYTES)));
  return beginsLikeHtml && (contentType === null || /^\s*text\/html\s*(;|$)/i.test(contentType));
}

/**
 * White space more or less changes nothing: files pass through editors.
 *
 * @throws Refusal `MALFORMED` for anything else than signatures.
 */
export function readSignatures(file: Bytes): Signatures {
  demand(file.length <= SIGNATURES_MAX_BYTES);
  const text = String.fromCharCode(...file).replace(/^\xef\xbb\xbf/, "");
  const lines = text.split("\n").map((line) => line.split(/[ \t\r\f]+/).filter(Boolean) as [string, string]);
  const pairs = lines.filter((words) => words.length);
  demand(pairs.length >= 1 && pairs.length <= SIGNATURES_MAX_LINES);
  demand(pairs.every(({ length, 0: key, 1: text }) => length === 2 && readKey(key) && readBase64(text)?.length === 64));
  return pairs;
}

/** Those of `keys` by which there is a signature of `message`, each once, whatever lines repeat it. */
async function signersOf(
  message: Bytes,
  signatures: Signatures,
  keys: readonly string[],
  verify: Verify,
): Promise<Set<string>> {
  const signers = new Set<string>();
  for (const [key, signature] of signatures)
    if (keys.includes(key) && (await verify(key, signature, message)))
      signers.add(key);
  return signers;
}

/** @throws Refusal for the first rule by which the root in `file` is not the one after `root`. */
export async function succeed(
  root: RootDocument,
  file: Bytes,
  signatures: Signatures,
  verify: Verify,
): Promise<RootDocument> {
  const demandSigned = async ({ keys, threshold }: Role): Promise<void> => {
    const { size } = await signersOf(file, signatures, keys, verify);
    demand(size >= threshold, "THRESHOLD_NOT_MET");
  };
  demand(file.length <= ROOT_MAX_BYTES);
  // Nothing is parsed that is not signed.
  await demandSigned(root.rootKeys);
  const next = readRoot(file);
  demand(next.community === root.community, "COMMUNITY_MISMATCH");
  demand(next.rootVersion === root.rootVersion + 1, "ROOT_OUT_OF_SEQUENCE");
  await demandSigned(next.rootKeys);
  return next;
}

/** @param cosignatures The bytes of `peers.json.sigs`, where there are any. */
export function publishersOf(root: RootDocument, cosignatures: Bytes | undefined, verify: Verify): Publishers {
  const { keys, threshold } = root.publisherKeys;
  return {
    rootVersion: root.rootVersion,
    keys,
    async confirm(file, trusted, signer) {
      const signatures = cosignatures ? readSignatures(cosignatures) : [];
      const signers = (await signersOf(file, signatures, trusted, verify)).add(signer);
      demand(signers.size >= threshold, "THRESHOLD_NOT_MET");
      return [...signers];
    },
  };
}
