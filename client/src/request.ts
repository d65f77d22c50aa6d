// One request whose answer may be anything: bounded in time by its signal, and in size while it is read.

import type { Bytes } from "./bytes.js";
import { Refusal } from "./ticket.js";

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

/** @throws Refusal `NETWORK` and `TOO_LARGE`, and the signal's reason. */
export async function request(
  fetch: (url: string, init: RequestInit) => Promise<Response>,
  url: string,
  signal: AbortSignal,
  maxBytes: number,
  init?: RequestInit,
): Promise<Reply> {
  try {
    // Nobody needs to know who asks: no cookies, no page. And a list from a cache would tell an old time.
    const response = await fetch(url, {
      credentials: "omit",
      referrerPolicy: "no-referrer",
      cache: "no-store",
      signal,
      ...init,
    });
    return { status: response.status, body: await readBody(response, maxBytes) };
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal("NETWORK");
  }
}

async function readBody(response: Response, maxBytes: number): Promise<Bytes> {
  const reader = response.body?.getReader();
  const chunks: Bytes[] = [];
  let length = 0;
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    length += part.value.length;
    if (length > maxBytes) {
      reader?.cancel().catch(() => {});
      throw new Refusal("TOO_LARGE");
    }
    chunks.push(part.value as Bytes);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}
