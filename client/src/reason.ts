// Why something was refused or could not be had: the codes of the protocol and of this library.

/** What a beacon of this version can answer. */
type BeaconCode =
  | "ANNOUNCE_TOO_SOON"
  | "BODY_TIMEOUT"
  | "BODY_TOO_LARGE"
  | "COMMUNITY_INVALID"
  | "COMMUNITY_MISMATCH"
  | "COMMUNITY_UNKNOWN"
  | "EXPIRED"
  | "INTERNAL"
  | "LIFETIME_TOO_LONG"
  | "LIMIT_INVALID"
  | "MALFORMED"
  | "METHOD_NOT_ALLOWED"
  | "MISDIRECTED_REQUEST"
  | "NOT_FOUND"
  | "NOT_YET_VALID"
  | "PEER_ID_TAKEN"
  | "REGISTRATION_REQUIRED"
  | "REVOKED_PUBLIC_KEY"
  | "SIGNATURE_INVALID"
  | "STALE_TICKET"
  | "THROTTLED"
  | "UNAVAILABLE"
  | "UNSUPPORTED_ALGORITHM"
  | "UNSUPPORTED_VERSION"
  | "UNTRUSTED_PUBLIC_KEY";

/** A code of the protocol's or of this library's. */
export type Code =
  | BeaconCode
  | "DUPLICATE"
  | "NETWORK"
  | "NOT_RUNNING"
  | "OWN_PEER_ID"
  | "REVOKED_BEACON"
  | "ROLLBACK"
  | "ROOT_EXPIRED"
  | "ROOT_OUT_OF_SEQUENCE"
  | "SIGN_FAILED"
  | "THRESHOLD_NOT_MET"
  | "TIMEOUT"
  | "TOO_LARGE";

/** Why a beacon does not push, or has not taken what was sent over a connection. */
export type LiveCode =
  | "ANOTHER_PEER"
  | "BIND_REQUIRED"
  | "LIVE_FULL"
  | "NOT_BOUND"
  | "NOT_LISTED"
  | "PEER_ABSENT"
  | "PEER_BUSY"
  | "REPLACED"
  | "SIGNAL_TIME"
  | "SLOW"
  | "TOO_FAST"
  | "UPGRADE_REQUIRED";

/** Why a signal was refused, or a connection was not made. */
export type SignalCode =
  | "CONFIRMATION_INVALID"
  | "CONNECTION_FAILED"
  | "DESCRIPTION_INVALID"
  | "REFUSED"
  | "UNSOLICITED";

/** Why a message was not left, not read or not handed over, or a relay did not do what it was asked. */
export type MailboxCode =
  | "BODY_MALFORMED"
  | "BODY_MISDIRECTED"
  | "CONTENT_MISMATCH"
  | "HANDLER_FAILED"
  | "LIFETIME_TOO_SHORT"
  | "MAILBOX_CLOSED"
  | "MAILBOX_FULL"
  | "MAILBOX_UNKNOWN"
  | "NOT_A_READER"
  | "NOT_THE_OWNER"
  | "NO_SEALING_KEY"
  | "PADDING_INVALID"
  | "PROOF_REQUIRED"
  | "REPLAYED"
  | "SEALING_KEY_UNKNOWN"
  | "SEAL_BROKEN"
  | "SEQUENCE_TAKEN"
  | "SIZE_NOT_A_BUCKET"
  | "SLOT_STRUCK_OFF"
  | "SLOT_UNKNOWN"
  | "STALE_REVISION"
  | "STORE_FAILED"
  | "SUITE_UNKNOWN"
  | "TOO_MANY"
  | "UNACKNOWLEDGED_LIMIT";

/** Code of what was wrong, which may be one of a later version's, or the status of an answer without a code. */
export type Reason = Code | LiveCode | MailboxCode | SignalCode | `HTTP_${number}` | (string & {});

/** Whether a beacon's word has the form of a code. None looks like the status of an answer. */
export function isCode(text: unknown): text is string {
  return typeof text === "string" && /^[A-Z_]{1,64}$/.test(text);
}

/** Gives what a refusal of this library's says; of other errors, as `fetch` has them, `NETWORK`. */
export function reasonOf(error: unknown): Reason {
  // By its name: an entry point of its own has a class of its own.
  const { name, message } = error as Error;
  return name === "Refusal" ? (message as Reason) : "NETWORK";
}
