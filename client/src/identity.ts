// Who this browser is: an Ed25519 key that cannot be taken out of it.

import type { Bytes } from "./bytes.js";
import { type Verify, webCryptoVerify } from "./ed25519.js";
import type { Store } from "./store.js";
import type { Signer } from "./ticket.js";

/** Why {@link Rendezvous.start} cannot go on. */
export class RendezvousError extends Error {
  /** There is no WebCrypto here, or one without Ed25519, and no `identity` that brings its own. */
  readonly code = "ED25519_UNSUPPORTED";
}

/** An application's own Ed25519, for keys that live elsewhere and for browsers that lack it. */
export interface IdentitySigner extends Signer {
  /**
   * Whether `signature` is one of `message` by `publicKey`, as RFC 8032 says: `S` below the order, no cofactor. Needed
   * only where WebCrypto has no Ed25519.
   */
  verify?(publicKey: Uint8Array, signature: Uint8Array, message: Uint8Array): boolean | Promise<boolean>;
}

export interface Identity extends Signer {
  readonly verifyEquation: Verify;
}

/** Key of the store. */
const STORED = "identity";

export async function loadIdentity(
  given: CryptoKeyPair | IdentitySigner | undefined,
  store: Store,
  subtle: SubtleCrypto | undefined,
): Promise<Identity> {
  const own = given && "sign" in given ? given : undefined;
  const verifyEquation = own?.verify ? own.verify.bind(own) : await probe(subtle);
  if (own) return { publicKey: own.publicKey, sign: (message) => own.sign(message), verifyEquation };
  const crypto = subtle as SubtleCrypto;
  const { publicKey, privateKey } = (given as CryptoKeyPair | undefined) ?? (await storedPair(store, crypto));
  return {
    publicKey: new Uint8Array(await crypto.exportKey("raw", publicKey)),
    sign: async (message) => new Uint8Array(await crypto.sign("Ed25519", privateKey, message as Bytes)),
    verifyEquation,
  };
}

/** WebCrypto, if it knows Ed25519: then it takes the base point for a key. */
async function probe(subtle: SubtleCrypto | undefined): Promise<Verify> {
  try {
    await subtle?.importKey("raw", new Uint8Array(32).fill(0x66).fill(0x58, 0, 1), "Ed25519", false, ["verify"]);
    if (subtle) return webCryptoVerify(subtle);
  } catch {
    // The same error.
  }
  throw new RendezvousError(
    "Ed25519 needs https:// or localhost, and a current browser or the option identity",
  );
}

/** The stored key; another page that makes one at the same time gets the same. */
async function storedPair(store: Store, subtle: SubtleCrypto): Promise<CryptoKeyPair> {
  const stored = await store.update(STORED, () => undefined);
  if (isPair(stored)) return stored;
  const made = (await subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
  const kept = await store.update(STORED, (value) => (isPair(value) ? undefined : made));
  return isPair(kept) ? kept : made;
}

function isPair(value: unknown): value is CryptoKeyPair {
  // Node's have no prototype.
  return Boolean((value as CryptoKeyPair | undefined)?.privateKey);
}
