// What a beacon answered, read by somebody who does not believe it. The tickets in it are still to be verified: first
// the clock is set by `serverTime`.

import type { Bytes } from "./bytes.js";
import type { Json } from "./json.js";
import { type Reason, isCode } from "./reason.js";
import { demand, isTime, readObject } from "./ticket.js";

/** Bytes of a beacon's whole answer. */
export const ANSWER_MAX_BYTES = 512 * 1024;
/** Tickets that are looked at in one answer. */
const ANSWER_MAX_TICKETS = 200;

export interface Answer {
  /** Of a refusal, whatever its status; else undefined. */
  code: Reason | undefined;
  /** Whether an announce has a place in the roster now. Beacons of version 0.1.0 do not say so: they list all they take. */
  listed: boolean;
  serverTime?: number;
  /** How many claims the beacon lists in all, the caller's own counted in. */
  total?: number;
  announceAfterMs?: number;
  retryAfterMs?: number;
  tickets: Json[];
  /**
   * Of each ticket, since when the beacon lists its claim, in milliseconds since the Unix epoch. Empty where it does not
   * say so, or not for each of them: it is only its word, and no reason to lose the list.
   */
  since: number[];
}

/** @throws Refusal for what is not the answer of a beacon to this community. */
export function readAnswer(status: number, body: Bytes, asked: string): Answer {
  // What is not JSON may be a proxy's page for the status.
  const fields = readObject(body, status === 200 ? undefined : `HTTP_${status}`);
  const { ok, code, community, listed = true, peers, since } = fields;
  demand((community ?? asked) === asked, "COMMUNITY_MISMATCH");
  demand(status !== 200 || (typeof ok === "boolean" && Array.isArray(peers)));
  const isGood = status === 200 && ok;
  const tickets = Array.isArray(peers) ? peers : [];
  return {
    // The times, as far as they are some.
    ...Object.fromEntries(Object.entries(fields).filter(([, value]) => isTime(value))),
    code: isGood ? undefined : isCode(code) ? code : `HTTP_${status}`,
    listed: listed === true,
    tickets: tickets.slice(0, ANSWER_MAX_TICKETS),
    since: Array.isArray(since) && since.length === tickets.length && since.every(isTime) ? since : [],
  };
}
