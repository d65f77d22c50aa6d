// Signals: offers, answers and candidates that two present peers send each other through a beacon, each signed by its
// sender (protocol/README.md, section 16). No I/O.
//
// A beacon hands a signal on as it came: it can drop one, and it sees what is in it, but it cannot forge an offer, nor
// put another fingerprint into one. That does not tell two peers that they talk to each other: a third may pass an
// offer on as its own (RFC 8844). So each side sends a confirmation first, which names both descriptions and both keys.

import { type Bytes, base64, readBase64, readKey, utf8 } from "./bytes.js";
import type { Verify } from "./ed25519.js";
import { canonical, jsonOf } from "./json.js";
import { demand, isPeerId, isTime, readObject } from "./ticket.js";

/** Longest text of a signal, in bytes of UTF-8. */
const LIVE_SIGNAL_MESSAGE_MAX_BYTES = 12_288;
const LIVE_SIGNAL_DATA_MAX_BYTES = 8_192;
/** How far `at` may be from the receiver's clock, in milliseconds. */
const LIVE_SIGNAL_SKEW_RECEIVED_MS = 45_000;
/** How long an `id` is remembered, in milliseconds: as long as `at` could be good. */
const LIVE_SIGNAL_REPLAY_MS = 90_000;
/** Signals that are remembered of one key: a beacon takes ten at once and one in 3 s, 40 in that time. */
const LIVE_SIGNALS_REMEMBERED_OF_KEY = 64;
const LIVE_SIGNALS_REMEMBERED = 1_024;
/** Candidates of one end, in its description and after it. */
export const CANDIDATES_MAX = 16;
const CANDIDATE_MAX_LENGTH = 512;

export type SignalKind = "offer" | "answer" | "candidate";

/** One key's claim to a peerId. */
export interface Claim {
  readonly peerId: string;
  /** Base64 of the 32 bytes. */
  readonly publicKey: string;
}

/** What of a signal is signed, beside the community. */
export interface SignalFields {
  /** 8 to 32 of `A-Z a-z 0-9 _ -`. */
  readonly id: string;
  readonly kind: SignalKind;
  /** Base64 of the SHA-256 of the offer's signed bytes; undefined in an offer. */
  readonly re: string | undefined;
  readonly to: string;
  readonly toKey: string;
  readonly from: string;
  readonly fromKey: string;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
  /** 1 to 8,192 bytes of UTF-8. */
  readonly data: string;
}

/** A signal of the right shape, of which nothing else is known. */
export interface Signal extends SignalFields {
  readonly signature: string;
  /** The sender's ticket in its normal form, not parsed yet. */
  readonly ticket: string | undefined;
}

/** Bytes to sign; a domain of their own keeps them apart from tickets and from each other. */
const inDomain = (purpose: string, fields: object): Bytes =>
  utf8(`rendezvous-live-v1:${purpose}\n${canonical(jsonOf(fields as never))}`);

/** Gives the bytes that a sender signs. */
export function signalBytes(community: string, { id, kind, re, to, toKey, from, fromKey, at, data }: SignalFields): Bytes {
  return inDomain("signal", { at, community, data, from, fromKey, id, kind, re, to, toKey });
}

/** What a confirmation says: base64 of the SHA-256 of both signals' signed bytes, and both keys. */
export interface Confirmation {
  readonly offer: string;
  readonly answer: string;
  /** Of whoever signs. */
  readonly key: string;
  /** Of the other. */
  readonly peerKey: string;
}

/** Gives the bytes whose signature is the first message of each side on the channel. */
export function confirmationBytes(community: string, { offer, answer, key, peerKey }: Confirmation): Bytes {
  return inDomain("confirm", { answer, community, key, offer, peerKey });
}

/** Gives the base64 of the SHA-256, by which answers, candidates and confirmations name a signal. */
export async function digestOf(bytes: Bytes): Promise<string> {
  return base64(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

/** Writes a signal as it goes to a beacon. Its size is the sender's to keep. */
export function writeSignal({ ticket, ...signal }: Signal): string {
  const { id, kind, re, to, toKey, from, fromKey, at, data, signature } = signal;
  const text = canonical(jsonOf({ t: "signal", id, kind, re, to, toKey, from, fromKey, at, data, signature }));
  // The ticket is JSON already.
  const whole = ticket === undefined ? text : `${text.slice(0, -1)},"ticket":${ticket}}`;
  // Whoever needs it has it from a list, most of the time.
  return utf8(whole).length > LIVE_SIGNAL_MESSAGE_MAX_BYTES ? text : whole;
}

/** @throws Refusal `MALFORMED` for what is not a signal, in any order of its fields. */
export function readSignal(text: string): Signal {
  demand(text.length <= LIVE_SIGNAL_MESSAGE_MAX_BYTES);
  const bytes = utf8(text);
  demand(bytes.length <= LIVE_SIGNAL_MESSAGE_MAX_BYTES);
  const fields = readObject(bytes);
  const { t, id, kind, re, to, toKey, from, fromKey, at, data, signature, ticket } = fields;
  const isOffer = kind === "offer";
  demand(
    t === "signal" &&
      /^[\w-]{8,32}$/.test(id as string) &&
      (isOffer || kind === "answer" || kind === "candidate") &&
      (isOffer ? re === undefined : readKey(re)) &&
      isPeerId(to) &&
      readKey(toKey) &&
      isPeerId(from) &&
      readKey(fromKey) &&
      isTime(at) &&
      typeof data === "string" &&
      data !== "" &&
      !/\p{Cs}/u.test(data) &&
      utf8(data).length <= LIVE_SIGNAL_DATA_MAX_BYTES &&
      readBase64(signature)?.length === 64 &&
      (ticket === undefined || ticket instanceof Map) &&
      // All of these are there, so there are no others.
      Object.keys(fields).length === 10 + +!isOffer + +(ticket !== undefined),
  );
  const rest = { to, toKey, from, fromKey, at, data } as Pick<SignalFields, "to" | "toKey" | "from" | "fromKey" | "at" | "data">;
  return {
    ...rest,
    id: id as string,
    kind: kind as SignalKind,
    re: re as string | undefined,
    signature: signature as string,
    ticket: ticket && canonical(ticket),
  };
}

/** Who reads a signal, and when. */
export interface SignalRules {
  readonly community: string;
  /** The reader's own claim. */
  readonly own: Claim;
  readonly verify: Verify;
  /** Whether a verified ticket of this claim's is held that has not ended. */
  readonly isPresent: (claim: Claim) => boolean;
  /** Takes a ticket that came with a signal. Gives the reason if it is refused. */
  readonly addTicket: (ticket: string) => Promise<string | undefined>;
  /** The community's time, in milliseconds since the Unix epoch. */
  readonly now: () => number;
  readonly seen: SeenSignals;
}

/**
 * Verifies a signal, and remembers it, so that it is good once.
 *
 * @returns The signed bytes.
 * @throws Refusal `ANOTHER_PEER`, `SIGNAL_TIME`, `NOT_LISTED` or what is wrong with the ticket, `SIGNATURE_INVALID`,
 *   `DUPLICATE`, `TOO_FAST`.
 */
export async function verifySignal(signal: Signal, rules: SignalRules): Promise<Bytes> {
  const { community, own, seen } = rules;
  const isPresent = (): boolean => rules.isPresent({ peerId: signal.from, publicKey: signal.fromKey });
  demand(signal.to === own.peerId && signal.toKey === own.publicKey, "ANOTHER_PEER");
  demand(Math.abs(signal.at - rules.now()) <= LIVE_SIGNAL_SKEW_RECEIVED_MS, "SIGNAL_TIME");
  if (!isPresent()) {
    demand(signal.ticket, "NOT_LISTED");
    // Anybody may bring a good ticket: this peer keeps it whatever becomes of the signal.
    const reason = await rules.addTicket(signal.ticket);
    demand(!reason, reason);
    // It may have been another's.
    demand(isPresent(), "NOT_LISTED");
  }
  const bytes = signalBytes(community, signal);
  demand(await rules.verify(signal.fromKey, signal.signature, bytes), "SIGNATURE_INVALID");
  seen.take(signal, rules.now());
  return bytes;
}

/** Remembers which signals have come, for as long as each could come again. What it cannot remember is refused. */
export class SeenSignals {
  /** By key, then by `id`: until when, in milliseconds since the Unix epoch. */
  readonly #until = new Map<string, Map<string, number>>();

  /** @throws Refusal `DUPLICATE` and `TOO_FAST`. */
  take({ fromKey, id }: Pick<SignalFields, "fromKey" | "id">, now: number): void {
    let size = 0;
    for (const [key, ids] of this.#until) {
      for (const [id, until] of ids) if (until <= now) ids.delete(id);
      size += ids.size;
      if (!ids.size) this.#until.delete(key);
    }
    const ids = this.#until.get(fromKey) ?? new Map<string, number>();
    demand(!ids.has(id), "DUPLICATE");
    demand(ids.size < LIVE_SIGNALS_REMEMBERED_OF_KEY && size < LIVE_SIGNALS_REMEMBERED, "TOO_FAST");
    this.#until.set(fromKey, ids.set(id, now + LIVE_SIGNAL_REPLAY_MS));
  }
}

/** A candidate as it stands in a description, without `a=`. */
const CANDIDATE = /^candidate:[ -~]+$/;

/**
 * Reads the description of one data channel: one `m=application`, one fingerprint, of SHA-256, at most 16 candidates.
 *
 * @returns It, and its candidates.
 * @throws Refusal `DESCRIPTION_INVALID`.
 */
export function readDescription(sdp: string): { sdp: string; candidates: string[] } {
  const lines = sdp.split(/\r?\n/);
  const starting = (start: string): string[] => lines.filter((line) => line.startsWith(start));
  const candidates = starting("a=candidate:").map((line) => line.slice(2));
  const [media, ...otherMedia] = starting("m=");
  // Their case is not fixed (RFC 8866, section 9).
  const [fingerprint, ...otherFingerprints] = lines.filter((line) => /^a=fingerprint:/i.test(line));
  demand(
    /^m=application \d+ (UDP|TCP)\/DTLS\/SCTP webrtc-datachannel$/.test(media ?? "") &&
      !otherMedia[0] &&
      /^a=fingerprint:sha-256 ([\dA-F]{2}:){31}[\dA-F]{2}$/i.test(fingerprint ?? "") &&
      !otherFingerprints[0] &&
      areCandidates(candidates),
    "DESCRIPTION_INVALID",
  );
  return { sdp, candidates };
}

/** Says whether anybody could use a candidate: no browser can be called over TCP. */
export function isUseful(candidate: string): boolean {
  return candidate !== "" && !/^candidate:\S+ \d+ tcp /i.test(candidate);
}

/** Leaves out the candidates of a description that nobody could use, and those that are more than a reader takes. */
export function trimDescription(sdp: string): string {
  let count = 0;
  const isKept = (line: string): boolean =>
    !line.startsWith("a=candidate:") || (isUseful(line.slice(2)) && ++count <= CANDIDATES_MAX);
  return sdp.split("\r\n").filter(isKept).join("\r\n");
}

function areCandidates(candidates: string[]): boolean {
  return (
    candidates.length <= CANDIDATES_MAX &&
    candidates.every((line) => line.length <= CANDIDATE_MAX_LENGTH && CANDIDATE.test(line))
  );
}

/**
 * Reads the candidates of a signal, one a line.
 *
 * @throws Refusal `DESCRIPTION_INVALID`.
 */
export function readCandidates(data: string): string[] {
  const candidates = data.split("\n");
  demand(areCandidates(candidates), "DESCRIPTION_INVALID");
  return candidates;
}
