// One relay of a mailbox, as a client asks it: bounded in time and size, and never believed. What it hands over is still
// to be verified.

import { base64 } from "./bytes.js";
import type { Host } from "./host.js";
import { type Json, type JsonObject, canonical, jsonOf } from "./json.js";
import { isCode } from "./reason.js";
import { signRecord } from "./record.js";
import { request } from "./request.js";
import { type Fields, Refusal, type Signer, isTime, readObject } from "./ticket.js";

/** Of an answer with messages: base64 of what is asked for and one message more, and what is signed around each. */
const RELAY_ANSWER_MAX_BYTES = 1024 * 1024;
const TIMEOUT_MS = 10_000;

/** What mailboxes need of the place that they run in. */
export type MailboxHost = Pick<Host, "now" | "random" | "setTimer" | "fetch">;

/** Gives the base64 of 16 bytes that nobody can guess. */
export const newNonce = (): string => base64(crypto.getRandomValues(new Uint8Array(16)));

/** A relay's refusal: the code is its own. */
export interface RelayRefusal extends Refusal {
  readonly status: number;
}

export class Relay {
  /** How far its clock is ahead of this machine's, in milliseconds. */
  #aheadMs = 0;

  constructor(
    readonly host: MailboxHost,
    /** As browsers write it. */
    readonly origin: string,
  ) {}

  /**
   * Asks about a mailbox.
   *
   * @param path What comes after the mailbox in the URL.
   * @param body JSON.
   * @throws RelayRefusal; Refusal `TIMEOUT`, `TOO_LARGE` or `MALFORMED`; whatever `fetch` has for a network that fails.
   */
  async ask(method: string, address: string, path: string, body?: string): Promise<Fields> {
    const { host, origin } = this;
    const abort = new AbortController();
    const init = { method, ...(body && { body, headers: { "Content-Type": "application/json" } }) };
    const url = `${origin}/v1/mailboxes/${address}${path}`;
    const cancel = host.setTimer(() => abort.abort(new Refusal("TIMEOUT")), TIMEOUT_MS);
    try {
      const { status, body } = await request(host.fetch, url, abort.signal, RELAY_ANSWER_MAX_BYTES, init);
      const isGood = status < 300;
      const said = readObject(body, isGood ? undefined : `HTTP_${status}`);
      const { serverTime, code } = said;
      // Whatever it says counts for what is signed for it alone.
      if (isTime(serverTime)) this.#aheadMs = serverTime - host.now();
      if (!isGood || said.ok !== true)
        throw Object.assign(new Refusal(isCode(code) ? code : `HTTP_${status}`), { status });
      return said;
    } finally {
      cancel();
      // What is left of the answer is not read.
      abort.abort();
    }
  }

  /** Signs a record that is good here, and for a moment. */
  #sign(purpose: string, fields: Record<string, Json>, signer: Signer): Promise<JsonObject> {
    const issuedAt = this.host.now() + this.#aheadMs;
    return signRecord(purpose, { audience: this.origin, issuedAt, nonce: newNonce(), ...fields }, signer);
  }

  /** Asks by such a record, which stands at a path of its name; once more, where this machine's clock is wrong and the answer tells the time. */
  async askSigned(
    purpose: string,
    fields: { mailbox: string } & Record<string, Json>,
    signer: Signer,
  ): Promise<Fields> {
    const ask = async (): Promise<Fields> => {
      const record = await this.#sign(purpose, fields, signer);
      return this.ask("POST", fields.mailbox, `/${purpose}`, canonical(jsonOf({ [purpose]: record })));
    };
    return ask().catch((error) => {
      if (!/^(NOT_YET_VALID|EXPIRED)$/.test((error as Error).message)) throw error;
      return ask();
    });
  }
}

/** Makes what does one thing after the other. */
export function inTurn(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work);
    last = done.catch(() => {});
    return done;
  };
}

/**
 * Does the same at several relays at once.
 *
 * @param onFailure Gets what one of them did not do.
 * @throws Refusal `STORE_FAILED`, which is no relay's failure.
 */
export async function atEach(
  origins: readonly string[],
  work: (origin: string) => Promise<unknown>,
  onFailure: (error: unknown, origin: string) => void = () => {},
): Promise<void> {
  const done = origins.map((origin) =>
    work(origin).catch((error) => {
      if ((error as Error).message === "STORE_FAILED") throw error;
      onFailure(error, origin);
    }),
  );
  await Promise.all(done);
}
