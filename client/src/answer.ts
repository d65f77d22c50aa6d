// What a beacon answered, read by somebody who does not believe it. The tickets in it are still to be verified: first
// the clock is set by `serverTime`.

import type { Bytes } from "./bytes.js";
import type { Json } from "./json.js";
import { demand, isTime, readObject } from "./ticket.js";

/** Bytes of a beacon's whole answer. */
export const ANSWER_MAX_BYTES = 256 * 1024;
/** Tickets that are looked at in one answer. */
const ANSWER_MAX_TICKETS = 200;

export interface Answer {
  /** Of a refusal; else undefined. */
  code: string | undefined;
  serverTime?: number;
  announceAfterMs?: number;
  retryAfterMs?: number;
  tickets: Json[];
}

/** @throws Refusal for what is no answer of a beacon to this community. */
export function readAnswer(status: number, body: Bytes, asked: string): Answer {
  const ok = status === 200;
  // What is not JSON may be a proxy's page for the status.
  const fields = readObject(body, ok ? undefined : `HTTP_${status}`);
  const { code, community, peers } = fields;
  demand((community ?? asked) === asked, "COMMUNITY_MISMATCH");
  demand(!ok || Array.isArray(peers));
  return {
    // The times, as far as they are some.
    ...Object.fromEntries(Object.entries(fields).filter(([, value]) => isTime(value))),
    code: ok ? undefined : typeof code === "string" && /^[A-Z_]{1,40}$/.test(code) ? code : `HTTP_${status}`,
    tickets: Array.isArray(peers) ? peers.slice(0, ANSWER_MAX_TICKETS) : [],
  };
}
