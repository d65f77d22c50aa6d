// Who this browser is: an Ed25519 key that cannot be taken out of it.

import type { Bytes } from "./bytes.js";
import { type Equation, webCryptoVerify } from "./ed25519.js";
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
  readonly verify: Equation;
}

/** Key of the store. */
const STORED = "identity";

export async function loadIdentity(
  given: CryptoKeyPair | IdentitySigner | undefined,
  store: Store,
  subtle: SubtleCrypto | undefined,
): Promise<Identity> {
  const own = given && "sign" in given ? given : undefined;
  const verify = own?.verify ? own.verify.bind(own) : await probe(subtle);
  if (own) return { publicKey: own.publicKey, sign: own.sign.bind(own), verify };
  const crypto = subtle as SubtleCrypto;
  const { publicKey, privateKey } = (given as CryptoKeyPair | undefined) ?? (await storedPair(store, crypto));
  return {
    publicKey: new Uint8Array(await crypto.exportKey("raw", publicKey)),
    sign: async (message) => new Uint8Array(await crypto.sign("Ed25519", privateKey, message as Bytes)),
    verify,
  };
}

/** WebCrypto, if it knows Ed25519: then it takes 32 times 6 for a key, which is a point of the curve of prime order. */
async function probe(subtle: SubtleCrypto | undefined): Promise<Equation> {
  try {
    await (subtle as SubtleCrypto).importKey("raw", new Uint8Array(32).fill(6), "Ed25519", false, ["verify"]);
    return webCryptoVerify(subtle as SubtleCrypto);
  } catch {
    throw new RendezvousError("Ed25519 needs https:// and a current browser");
  }
}

/** The stored key. One is made each time, in less time than storage takes, and the first one stays, for all pages. */
async function storedPair(store: Store, subtle: SubtleCrypto): Promise<CryptoKeyPair> {
  const made = await subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const stored = await store.update(STORED, (value) => (value === undefined ? made : undefined));
  if (await isPair(stored, subtle)) return stored as CryptoKeyPair;
  // Damaged: who it was cannot be known any more.
  await store.update(STORED, () => made);
  return made;
}

/** Whether what one key signs is by the other. */
async function isPair(value: unknown, subtle: SubtleCrypto): Promise<boolean> {
  try {
    const { privateKey, publicKey } = value as CryptoKeyPair;
    const message = new Uint8Array(32);
    const signature = await subtle.sign("Ed25519", privateKey, message);
    return await subtle.verify("Ed25519", publicKey, signature, message);
  } catch {
    return false;
  }
}
