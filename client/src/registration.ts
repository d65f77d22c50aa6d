// Registration of this peer's key with an address of e-mail (protocol/README.md, section 21): an entry point of its own.

import type { Bytes } from "./bytes.js";
import { type IdentitySigner, loadIdentity } from "./identity.js";
import { type Json, type JsonObject, canonical, jsonOf } from "./json.js";
import { isCode, reasonOf } from "./reason.js";
import { signRecord } from "./record.js";
import { ask } from "./request.js";
import { memoryStore, openDurableStore } from "./store.js";
import { type Fields, Refusal, type Signer, isCommunity, isTime, readObject } from "./ticket.js";

export type { IdentitySigner } from "./identity.js";
export type { Reason } from "./reason.js";

const EMAIL_MAX_BYTES = 254;
const REGISTER_ANSWER_MAX_BYTES = 16 * 1024;

/** A dot-atom of at most 64, and a name of two labels at least, the last of which is not a number. */
const EMAIL =
  /^(?=.{1,64}@)[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@((?!-)[a-z\d-]{1,63}(?<!-)\.)+[a-z]([a-z\d-]{0,61}[a-z\d])?$/i;

export interface RegisterOptions {
  /** Where the key is to be listed. */
  community: string;
  /** Where the link goes: at most 254 bytes of ASCII, without quotes and white space. Only the beacon and its operator see it. */
  email: string;
  /** The key that is registered: that of the tickets. Default: the one that `Rendezvous` keeps in IndexedDB. */
  identity?: CryptoKeyPair | Pick<IdentitySigner, "publicKey" | "sign">;
  /** Ends the request: it rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Why a beacon has not taken a registration. The message is a `Reason`. */
export class RegisterError extends Refusal {
  /**
   * @param reason The beacon's code, or this library's.
   * @param retryAfterMs When the beacon may take it, in milliseconds from now, where the beacon says so.
   */
  constructor(
    reason: string,
    readonly retryAfterMs?: number,
  ) {
    super(reason);
  }
}

function demand(holds: unknown, option: string, rule: string): asserts holds {
  if (!holds) throw new TypeError(`${option} must be ${rule}`);
}

async function loadSigner(given: RegisterOptions["identity"]): Promise<Signer> {
  if (given && "sign" in given) return given;
  const { indexedDB } = globalThis;
  // A key that nobody keeps could not sign tickets afterwards.
  demand(given || indexedDB, "identity", "given where there is no IndexedDB");
  const failed = (): never => {
    throw new RegisterError("STORE_FAILED");
  };
  const store = given ? memoryStore() : await openDurableStore(() => indexedDB).catch(failed);
  return loadIdentity(given, { update: (key, change) => store.update(key, change).catch(failed) }, globalThis.crypto?.subtle);
}

/**
 * Signs a registration for the beacon at `url`.
 *
 * @throws TypeError that names what is not as it must be, {@link RegisterError}.
 */
export async function signRegistration(
  url: string,
  { community, email }: Pick<RegisterOptions, "community" | "email">,
  issuedAt: number,
  signer: Signer,
): Promise<JsonObject> {
  const { protocol, origin: audience } = URL.canParse(url) ? new URL(url) : { protocol: "", origin: "" };
  demand(/^https?:$/.test(protocol), "beacon", "an http(s) URL");
  demand(isCommunity(community), "community", "1 to 64 of A-Z a-z 0-9 . _ -");
  // Not what is there instead: it may be most of somebody's address.
  demand(EMAIL.test(email) && email.length <= EMAIL_MAX_BYTES, "email", "such as name@a.example, in ASCII");
  return signRecord("register", { audience, community, email, issuedAt }, signer, "rendezvous-registration-v1").catch(() => {
    throw new RegisterError("SIGN_FAILED");
  });
}

/**
 * Registers this peer's key at a beacon: the beacon sends a link to the address, and the key is registered when somebody
 * presses the button on the page that the link leads to. The answer is the same for every address.
 *
 * @param beacon URL of the beacon. What is signed is for its origin alone.
 * @throws TypeError for an option, {@link RegisterError}, or the signal's reason.
 */
export async function register(beacon: string, options: RegisterOptions): Promise<void> {
  const { identity, signal } = options;
  signal?.throwIfAborted();
  const signer = await loadSigner(identity);
  const send = async (issuedAt: number, isAgain: boolean): Promise<RegisterError | undefined> => {
    const registration = await signRegistration(beacon, options, issuedAt, signer);
    // As text, for which no browser asks beforehand.
    const init = { method: "POST", body: canonical(jsonOf({ registration })) };
    const url = `${beacon.replace(/\/+$/, "")}/register`;
    const { status, body } = await ask(url, REGISTER_ANSWER_MAX_BYTES, signal, init).catch(
      (error: unknown) => {
        signal?.throwIfAborted();
        throw new RegisterError(reasonOf(error));
      },
    );
    const { ok, code, retryAfterMs, serverTime } = read(status, body);
    if (status === 202 && ok === true) return undefined;
    // This clock is wrong, or the beacon's. The time is for the beacon alone, so that the beacon's counts. Once: a beacon that
    // says another time at every answer would have the key sign for ever.
    if (isOfClock(code) && isTime(serverTime) && !isAgain) return send(serverTime, true);
    return new RegisterError(isCode(code) ? code : reasonOfStatus(status), isTime(retryAfterMs) ? retryAfterMs : undefined);
  };
  const refused = await send(Date.now(), false);
  if (refused) throw refused;
}

const isOfClock = (code: Json | undefined): boolean => code === "NOT_YET_VALID" || code === "EXPIRED";

/** Where the path is not there, nobody is registered: any host says that by this status. */
const reasonOfStatus = (status: number): string => (status === 404 ? "NOT_FOUND" : `HTTP_${status}`);

/** What is not JSON may be a proxy's page for the status. */
function read(status: number, body: Bytes): Fields {
  try {
    return readObject(body);
  } catch {
    throw new RegisterError(reasonOfStatus(status));
  }
}
