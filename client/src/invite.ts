// Invites: the text by which somebody may leave messages in a mailbox, and the slot key that is in it. And slot keys.

import { type Bytes, base64, concat, readBase64, readKey, utf8 } from "./bytes.js";
import { RELAYS_MAX, addressOf, isAddress, isOrigin, list } from "./record.js";
import { type Signer, demand, readObject } from "./ticket.js";

const SCHEME = "rendezvous:";
const INVITE_MAX_LENGTH = 2_048;
/** PKCS#8 of an Ed25519 key (RFC 8410), up to its 32 bytes. */
const PKCS8 = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

export interface Invite {
  /** Of the mailbox. */
  readonly address: string;
  /** The owner's key, in base64. */
  readonly owner: string;
  /** What the slot key is made of: 32 bytes. */
  readonly seed: Bytes;
  /** Origins. */
  readonly relays: readonly string[];
}

/** A slot key, which signs deposits for one mailbox. It cannot be taken out of the browser. */
export interface SlotKey {
  readonly privateKey: CryptoKey;
  /** Base64 of the 32 bytes. */
  readonly publicKey: string;
}

/** Gives the bytes, or undefined for what is not base64url without padding. */
const readBase64Url = (text: string): Bytes | undefined =>
  readBase64(text.replaceAll("-", "+").replaceAll("_", "/") + "=".repeat(-text.length & 3));

export async function slotKeyOf(seed: Bytes): Promise<SlotKey> {
  const { subtle } = crypto;
  const make = (isExtractable: boolean): Promise<CryptoKey> =>
    subtle.importKey("pkcs8", concat(PKCS8, seed), "Ed25519", isExtractable, ["sign"]);
  // Only one that can be taken out tells its public key: that one is not kept.
  const { x } = await subtle.exportKey("jwk", await make(true));
  return { privateKey: await make(false), publicKey: base64(readBase64Url(x as string) as Bytes) };
}

export function signerOf({ privateKey, publicKey }: SlotKey): Signer {
  return {
    publicKey: readKey(publicKey) as Bytes,
    sign: async (message) => new Uint8Array(await crypto.subtle.sign("Ed25519", privateKey, message as Bytes)),
  };
}

export function writeInvite({ address, owner, seed, relays }: Invite): string {
  // Canonical: the order of the keys is that of their bytes, and no text here has to be escaped.
  const json = JSON.stringify({ k: base64(seed), m: address, o: owner, r: relays });
  return SCHEME + base64(utf8(json)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @throws Refusal `MALFORMED`. */
export async function readInvite(text: string): Promise<Invite> {
  const trimmed = text.trim();
  const encoded = trimmed.slice(SCHEME.length);
  demand(trimmed.startsWith(SCHEME) && trimmed.length <= INVITE_MAX_LENGTH && /^[\w-]+$/.test(encoded));
  const bytes = readBase64Url(encoded);
  demand(bytes);
  const { k, m, o, r, ...others } = readObject(bytes);
  const seed = readKey(k);
  demand(
    seed &&
      isAddress(m) &&
      readKey(o) &&
      list(RELAYS_MAX, isOrigin, undefined, 1)(r) &&
      !Object.keys(others)[0] &&
      (await addressOf(o as string)) === m,
  );
  return { address: m, owner: o as string, seed, relays: r as string[] };
}
