// What a reason means, in words. Only pages that show it load them.

import type { Code, LiveCode, Reason, SignalCode } from "./reason.js";

const EXPLANATIONS: Record<Code | LiveCode | SignalCode, string> = {
  ANNOUNCE_TOO_SOON: "The beacon takes a new ticket of this peer only later.",
  ANOTHER_PEER: "It is for another peer, or the connection belongs to one.",
  BIND_REQUIRED: "The beacon tells nobody but present peers who is there, and only over a WebSocket.",
  BODY_TIMEOUT: "The beacon has waited too long for the request.",
  BODY_TOO_LARGE: "The request is larger than the beacon reads.",
  COMMUNITY_INVALID: "No community can have this name.",
  COMMUNITY_MISMATCH: "It belongs to another community.",
  COMMUNITY_UNKNOWN: "The beacon does not serve this community.",
  CONFIRMATION_INVALID: "Whoever is at the other end has not proved the peer's key: somebody may be in the middle.",
  CONNECTION_FAILED: "No way to the peer worked, or the connection broke before it was confirmed.",
  DESCRIPTION_INVALID: "It does not describe one data channel with one SHA-256 fingerprint and at most 16 candidates.",
  DUPLICATE: "It came twice.",
  EXPIRED: "It is over, by the clock that it was judged by.",
  INTERNAL: "The beacon has failed.",
  LIFETIME_TOO_LONG: "The ticket is to live for longer than is allowed.",
  LIMIT_INVALID: "The beacon cannot list so many peers.",
  LIVE_FULL: "The beacon has no room for another connection.",
  MALFORMED: "It is not what the protocol says.",
  METHOD_NOT_ALLOWED: "The beacon does not take this kind of request.",
  MISDIRECTED_REQUEST: "The beacon does not answer to this name, or not to pages of this origin.",
  NETWORK: "There was no answer, or one that this page may not read: no network, no CORS, a redirect.",
  NOT_BOUND: "No beacon has bound a connection to this peer.",
  NOT_FOUND: "No beacon answers at this URL.",
  NOT_LISTED: "The beacon does not list this peer, or no ticket says that the other one is present.",
  NOT_YET_VALID: "It is dated in the future, by the clock that it was judged by.",
  NOT_RUNNING: "The client is not running.",
  OWN_PEER_ID: "It is another key's claim to this peer's own peerId.",
  PEER_ABSENT: "That peer has no connection to the beacon.",
  PEER_BUSY: "That peer is sent more than it takes.",
  PEER_ID_TAKEN: "A beacon of version 0.1.0 keeps this peerId for another key.",
  REFUSED: "This page does not accept the peer.",
  REPLACED: "Another client speaks for this peer there, with the same key.",
  REVOKED_BEACON: "A capsule says not to ask this beacon any more.",
  REVOKED_PUBLIC_KEY: "The key is revoked.",
  ROLLBACK: "The capsule is older than one that was seen before.",
  ROOT_EXPIRED: "The root is over, and the host has no newer one.",
  ROOT_OUT_OF_SEQUENCE: "The root is not the one after the last.",
  SIGNATURE_INVALID: "The signature is wrong, or not by a key that is trusted.",
  SIGNAL_TIME: "Its clock, or this one, is wrong, or it was under way for too long.",
  SIGN_FAILED: "The application's signer has failed.",
  STALE_TICKET: "The beacon has a newer ticket of this peer, or has heard it leave.",
  SLOW: "This page did not keep up with what the beacon told it.",
  THRESHOLD_NOT_MET: "Too few have signed it.",
  THROTTLED: "There were too many requests from this network.",
  TIMEOUT: "The answer took too long.",
  TOO_FAST: "There was too much at once.",
  TOO_LARGE: "The answer is larger than anything that is read.",
  UNSOLICITED: "It belongs to no call of this page's.",
  UPGRADE_REQUIRED: "Something on the way does not let a WebSocket pass.",
  UNSUPPORTED_ALGORITHM: "It needs a later version of this library.",
  UNSUPPORTED_VERSION: "It needs a later version of this library.",
  UNTRUSTED_PUBLIC_KEY: "The key is not among those that are trusted.",
};

/** Returns one sentence in English that says what a `reason` means. */
export function explain(reason: Reason): string {
  if (isExplained(reason)) return EXPLANATIONS[reason];
  return /^HTTP_/.test(reason) ? `The answer had the status ${reason.slice(5)}.` : `The beacon has answered ${reason}.`;
}

function isExplained(reason: Reason): reason is Code | LiveCode | SignalCode {
  return Object.hasOwn(EXPLANATIONS, reason);
}
