// Why something was refused or could not be had: the codes of the protocol and of this library.

const CODES = [
  "ANNOUNCE_TOO_SOON",
  "COMMUNITY_MISMATCH",
  "COMMUNITY_UNKNOWN",
  "DUPLICATE",
  "EXPIRED",
  "INTERNAL",
  "LIFETIME_TOO_LONG",
  "MALFORMED",
  "NETWORK",
  "NOT_FOUND",
  "NOT_YET_VALID",
  "NOT_RUNNING",
  "OWN_PEER_ID",
  "PEER_ID_TAKEN",
  "REVOKED_BEACON",
  "REVOKED_PUBLIC_KEY",
  "ROLLBACK",
  "ROOT_EXPIRED",
  "ROOT_OUT_OF_SEQUENCE",
  "SIGNATURE_INVALID",
  "SIGN_FAILED",
  "STALE_TICKET",
  "THRESHOLD_NOT_MET",
  "THROTTLED",
  "TIMEOUT",
  "TOO_LARGE",
  "UNSUPPORTED_ALGORITHM",
  "UNSUPPORTED_VERSION",
  "UNTRUSTED_PUBLIC_KEY",
] as const;

/** A code of the protocol's or of this library's. */
export type Code = (typeof CODES)[number];

/** Code of what was wrong, or the status of an answer without a code. */
export type Reason = Code | `HTTP_${number}`;

export function isCode(text: unknown): text is Code {
  return CODES.includes(text as Code);
}

/** Gives what an error of this library's says; of other errors, as `fetch` has them, `NETWORK`. */
export function reasonOf(error: unknown): Reason {
  // By its form: an entry point of its own has a class of its own.
  const { message } = error as Error;
  return isCode(message) || /^HTTP_\d+$/.test(message) ? (message as Reason) : "NETWORK";
}
