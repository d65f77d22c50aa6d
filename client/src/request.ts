// One request whose answer may be anything: bounded in time by its signal, and in size while it is read.

import type { Bytes } from "./bytes.js";
import { demand } from "./ticket.js";

export interface Reply {
  status: number;
  body: Bytes;
}

/**
 * Settles with `promise`, or rejects as soon as `signal` aborts: also where what is called ignores the signal, which is
 * to be aborted in the end in any case.
 */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return Promise.race([
    promise,
    new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  ]);
}

/**
 * What all requests have: nobody needs to know who asks, so no cookies, no page. A list from a cache would tell an old
 * time. And a source has no right to send those who ask it to others, with the tickets that they carry.
 */
export const PRIVATE: RequestInit = {
  credentials: "omit",
  referrerPolicy: "no-referrer",
  cache: "no-store",
  redirect: "error",
};

/** @throws Refusal `TOO_LARGE`, the signal's reason, and whatever `fetch` has for a network that fails. */
export async function request(
  fetch: (url: string, init: RequestInit) => Promise<Response>,
  url: string,
  signal: AbortSignal,
  maxBytes: number,
  init?: RequestInit,
): Promise<Reply> {
  const response = await fetch(url, { ...PRIVATE, signal, ...init });
  if (!response.body) {
    // React Native has no streams: there it is counted when it is here.
    const body = new Uint8Array(await response.arrayBuffer());
    demand(body.length <= maxBytes, "TOO_LARGE");
    return { status: response.status, body };
  }
  const reader = response.body.getReader();
  const chunks: Bytes[] = [];
  let length = 0;
  // What is left unread ends with the signal.
  for (let part; (part = await reader.read()).value; chunks.push(part.value as Bytes)) {
    length += part.value.length;
    demand(length <= maxBytes, "TOO_LARGE");
  }
  return { status: response.status, body: new Uint8Array(await new Blob(chunks).arrayBuffer()) };
}
