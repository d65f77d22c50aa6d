// One request whose answer may be anything: bounded in time by its signal, and in size while it is read.

import type { Bytes } from "./bytes.js";
import type { Cancel } from "./host.js";
import { Refusal, demand } from "./ticket.js";

export interface Reply {
  status: number;
  /** As the header `Content-Type` has it; null where there is none. */
  contentType: string | null;
  body: Bytes;
}

/**
 * Settles as `promise` does, or rejects with the signal's reason as soon as that is aborted, or was before. What is called
 * may ignore the signal, or never settle. Leaves no listener behind.
 *
 * @param setLimit Sets a timer whose end rejects with `TIMEOUT`.
 */
export function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  setLimit?: (expire: () => void) => Cancel,
): Promise<T> {
  let end!: () => void;
  const ended = new Promise<never>((_, reject) => {
    const abort = (): void => reject(signal.reason);
    const cancel = setLimit?.(() => reject(new Refusal("TIMEOUT")));
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    end = () => {
      cancel?.();
      signal.removeEventListener("abort", abort);
    };
  });
  return Promise.race([promise, ended]).finally(end);
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
  const reader = response.body?.getReader();
  let body: Bytes = new Uint8Array(reader ? [] : await response.arrayBuffer());
  if (reader) {
    const chunks: Bytes[] = [];
    let length = 0;
    // What is left unread ends with the signal.
    for (let part; (part = await reader.read()).value; chunks.push(part.value as Bytes)) {
      length += part.value.length;
      demand(length <= maxBytes, "TOO_LARGE");
    }
    body = new Uint8Array(await new Blob(chunks).arrayBuffer());
  }
  // React Native has no streams: there the bytes are counted when they are here.
  demand(body.length <= maxBytes, "TOO_LARGE");
  return { status: response.status, contentType: response.headers.get("Content-Type"), body };
}

/** For an {@link ask}. */
const TIMEOUT_MS = 10_000;

/**
 * Makes one request by `fetch`, for what works without a `Host`.
 *
 * @param signal Ends the request: it rejects with the signal's reason.
 * @throws Refusal as {@link request}, and `TIMEOUT`.
 */
export function ask(url: string, maxBytes: number, signal?: AbortSignal, init?: RequestInit): Promise<Reply> {
  const abort = new AbortController();
  const end = (): void => abort.abort(signal?.reason);
  const timer = setTimeout(() => abort.abort(new Refusal("TIMEOUT")), TIMEOUT_MS);
  signal?.addEventListener("abort", end, abort);
  if (signal?.aborted) end();
  return request(fetch, url, abort.signal, maxBytes, init).finally(() => {
    clearTimeout(timer);
    // What is left of the answer is not read, and no listener stays.
    abort.abort();
  });
}
