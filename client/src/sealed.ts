// Sealed bytes: what a relay holds of a message and cannot read (protocol/README.md, section 17).
//
// They are of one of four lengths. Slot, number and end of the message are bound to the seal, so that no relay can move it
// to another place, and whoever wrote it has signed it inside: the slot key around it says nothing of that.

import { type Bytes, base64, concat, readKey, sha256, utf8 } from "./bytes.js";
import { TAG_BYTES } from "./chacha20-poly1305.js";
import type { Verify } from "./ed25519.js";
import { KEY_BYTES, type KemKeyPair, newKemKeyPair, openWith, sealTo } from "./hpke.js";
import { SEALED_BYTES } from "./record.js";
import { type Signer, demand } from "./ticket.js";

/** HPKE by X25519, HKDF-SHA256 and ChaCha20Poly1305: the one suite that there is here. */
export const SUITE = 0;
const LAST_SUITE = 1;
const KEY_ID_BYTES = 8;
/** The suite, which key it is sealed to, and the encapsulated key. */
const FRAME_BYTES = 1 + KEY_ID_BYTES + KEY_BYTES;
const LENGTH_BYTES = 4;
/** Of a body: its kind, the sender, the mailbox, the slot and the number. */
const HEAD_BYTES = 1 + 32 + 32 + 32 + 8;
const SIGNATURE_BYTES = 64;
const MESSAGE = 0;
const INTRODUCTION = 1;
const DOMAIN = utf8("rendezvous-mailbox-v1:body\n");

/** Where and for how long a message lies. */
export interface Place {
  /** Of the mailbox. */
  readonly address: string;
  /** The slot key, in base64. */
  readonly slot: string;
  readonly sequence: number;
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

/** What somebody has written. */
export interface Written {
  /** Base64 of a slot key that the sender has made for this mailbox, in what it writes over an invite. */
  readonly introduces: string | undefined;
  readonly content: Bytes;
}

export interface Opened extends Written {
  /** The owner key of the sender's mailbox, in base64, which has signed it. */
  readonly from: string;
}

/** The highest byte first. */
const number = (value: number): Bytes => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
};

const keyBytes = (key: string): Bytes => readKey(key) as Bytes;

/** What is bound to the seal, and not in it. */
const boundTo = ({ address, slot, sequence, expiresAt }: Place): [info: Bytes, aad: Bytes] => [
  utf8(`rendezvous-mailbox-v1/seal\0${address}`),
  concat(keyBytes(slot), number(sequence), number(expiresAt)),
];

const headOf = (kind: number, from: Uint8Array, { address, slot, sequence }: Place): Bytes => {
  const to = Uint8Array.from(address.match(/../g) as string[], (byte) => parseInt(byte, 16));
  return concat([kind], from, to, keyBytes(slot), number(sequence));
};

const keyIdOf = async (publicKey: Bytes): Promise<Bytes> =>
  (await sha256(publicKey)).slice(0, KEY_ID_BYTES);

const isSame = (one: Bytes, other: Bytes): boolean => one.every((byte, at) => byte === other[at]);

/**
 * Signs and seals, into the smallest of the four lengths that has room for it.
 *
 * @param from The owner key of the sender's mailbox.
 * @param publicKey A sealing key of the recipient's.
 * @param ephemeral For this message alone.
 * @throws Refusal `TOO_LARGE`; `SEALING_KEY_UNKNOWN` for what is not a key to which anything can be sealed.
 */
export async function seal(
  { introduces, content }: Written,
  place: Place,
  from: Signer,
  publicKey: Bytes,
  ephemeral?: KemKeyPair,
): Promise<Bytes> {
  const head = headOf(introduces ? INTRODUCTION : MESSAGE, from.publicKey, place);
  const whole = introduces ? concat(keyBytes(introduces), content) : content;
  const room = (size: number): number => size - FRAME_BYTES - TAG_BYTES;
  const length = HEAD_BYTES + SIGNATURE_BYTES + whole.length;
  const size = SEALED_BYTES.find((size) => LENGTH_BYTES + length <= room(size));
  demand(size, "TOO_LARGE");
  const signature = await from.sign(concat(DOMAIN, head, whole));
  const plaintext = new Uint8Array(room(size));
  plaintext.set(concat(number(length).slice(8 - LENGTH_BYTES), head, signature, whole));
  const [info, aad] = boundTo(place);
  const own = ephemeral ?? (await newKemKeyPair());
  const sealed = await sealTo(publicKey, info, aad, plaintext, own).catch(() => undefined);
  demand(sealed, "SEALING_KEY_UNKNOWN");
  return concat([SUITE], await keyIdOf(publicKey), sealed);
}

/**
 * Opens sealed bytes by whichever of `keys` they are sealed to.
 *
 * @throws Refusal `SIZE_NOT_A_BUCKET`, `SUITE_UNKNOWN`, `SEALING_KEY_UNKNOWN`, `SEAL_BROKEN`, `PADDING_INVALID`,
 *   `BODY_MALFORMED`, `BODY_MISDIRECTED`, `SIGNATURE_INVALID`: the first that holds.
 */
export async function unseal(
  sealed: Bytes,
  place: Place,
  keys: readonly KemKeyPair[],
  verify: Verify,
): Promise<Opened> {
  demand(SEALED_BYTES.includes(sealed.length), "SIZE_NOT_A_BUCKET");
  const [suite] = sealed;
  demand((suite as number) <= LAST_SUITE, "SUITE_UNKNOWN");
  const keyId = sealed.slice(1, 1 + KEY_ID_BYTES);
  let pair: KemKeyPair | undefined;
  for (const each of suite === SUITE ? keys : []) if (isSame(await keyIdOf(each.publicKey), keyId)) pair = each;
  demand(pair, "SEALING_KEY_UNKNOWN");
  const [info, aad] = boundTo(place);
  const plaintext = await openWith(pair, info, aad, sealed.subarray(1 + KEY_ID_BYTES));
  demand(plaintext, "SEAL_BROKEN");
  const end = LENGTH_BYTES + new DataView(plaintext.buffer).getUint32(0);
  demand(end <= plaintext.length && plaintext.subarray(end).every((byte) => byte === 0), "PADDING_INVALID");
  const body = plaintext.subarray(LENGTH_BYTES, end);
  const [kind] = body;
  const head = body.slice(0, HEAD_BYTES);
  const whole = body.slice(HEAD_BYTES + SIGNATURE_BYTES);
  const keyLength = kind === INTRODUCTION ? KEY_BYTES : 0;
  demand((kind === MESSAGE || keyLength) && body.length >= HEAD_BYTES + SIGNATURE_BYTES + keyLength, "BODY_MALFORMED");
  const from = head.slice(1, 33);
  demand(isSame(headOf(kind as number, from, place), head), "BODY_MISDIRECTED");
  const signature = base64(body.subarray(HEAD_BYTES, HEAD_BYTES + SIGNATURE_BYTES));
  demand(await verify(base64(from), signature, concat(DOMAIN, head, whole)), "SIGNATURE_INVALID");
  return {
    from: base64(from),
    introduces: keyLength ? base64(whole.subarray(0, keyLength)) : undefined,
    content: whole.slice(keyLength),
  };
}
