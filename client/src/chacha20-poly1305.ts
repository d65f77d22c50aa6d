// ChaCha20-Poly1305 (RFC 8439), which WebCrypto does not have: the cipher of sealed messages.
//
// ChaCha20 is additions, exclusive ors and rotations of 32-bit words, the same ones for every key and text. Poly1305 is
// over BigInt, whose time may depend a little on the numbers: each of its keys is for one message alone, and tags are
// compared as a whole.

//
// Words and numbers are read as the machine has them, the lowest byte first, as every machine does that browsers run on.

import { type Bytes, concat, utf8 } from "./bytes.js";

export const TAG_BYTES = 16;
const BLOCK_BYTES = 64;
const PRIME = 2n ** 130n - 5n;
/** Bits of the first half of a Poly1305 key that count (RFC 8439, section 2.5). */
const CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn;
const CONSTANTS = utf8("expand 32-byte k");
/** The words of each quarter round: four columns, then four diagonals. */
const ROUNDS = Uint8Array.from("048c159d26ae37bf05af16bc278d349e", (word) => parseInt(word, 16));

/** Gives `text` under the key stream that begins with block `counter`. The same again gives `text` back. */
function chacha20(key: Uint8Array, nonce: Uint8Array, text: Uint8Array, counter: number): Bytes {
  const state = new Uint32Array(concat(CONSTANTS, key, [counter, 0, 0, 0], nonce).buffer);
  const x = new Uint32Array(BLOCK_BYTES / 4);
  const stream = new Uint8Array(x.buffer);
  const mix = (at: number, other: number, into: number, bits: number): void => {
    const sum = (x[at] = x[at]! + x[other]!);
    const word = x[into]! ^ sum;
    x[into] = (word << bits) | (word >>> (32 - bits));
  };
  const result = text.slice() as Bytes;
  for (let at = 0; at < text.length; at++) {
    if (at % BLOCK_BYTES === 0) {
      x.set(state);
      for (let turn = 0; turn < 10 * ROUNDS.length; turn += 4) {
        const from = turn % ROUNDS.length;
        const [a, b, c, d] = [ROUNDS[from]!, ROUNDS[from + 1]!, ROUNDS[from + 2]!, ROUNDS[from + 3]!];
        mix(a, b, d, 16);
        mix(c, d, b, 12);
        mix(a, b, d, 8);
        mix(c, d, b, 7);
      }
      state.forEach((word, each) => (x[each]! += word));
      state[12]!++;
    }
    result[at]! ^= stream[at % BLOCK_BYTES]!;
  }
  return result;
}

/** A number of at most 16 bytes. */
function numberOf(bytes: Uint8Array): bigint {
  const [low, high] = new BigUint64Array(concat(bytes, new Uint8Array(16 - bytes.length)).buffer);
  return (high! << 64n) | low!;
}

/** The lowest 16 bytes of a number. */
const bytesOf = (number: bigint): Bytes => new Uint8Array(BigUint64Array.of(number, number >> 64n).buffer);

/** The Poly1305 of all that is to be authentic, each part padded with zeros to whole blocks. */
function tagOf(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): Bytes {
  const oneTime = chacha20(key, nonce, new Uint8Array(32), 0);
  const r = numberOf(oneTime.subarray(0, 16)) & CLAMP;
  const lengths = bytesOf((BigInt(ciphertext.length) << 64n) | BigInt(aad.length));
  let sum = 0n;
  for (const part of [aad, ciphertext, lengths])
    for (let at = 0; at < part.length; at += 16)
      sum = ((sum + numberOf(part.subarray(at, at + 16)) + (1n << 128n)) * r) % PRIME;
  return bytesOf(sum + numberOf(oneTime.subarray(16)));
}

/**
 * Encrypts.
 *
 * @param key 32 bytes.
 * @param nonce 12 bytes, used once with this key.
 * @returns The ciphertext, with the tag behind it.
 */
export function encrypt(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Bytes {
  const ciphertext = chacha20(key, nonce, plaintext, 1);
  return concat(ciphertext, tagOf(key, nonce, aad, ciphertext));
}

/** Gives the plaintext, or undefined where the tag is not that of these bytes. */
export function decrypt(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Bytes | undefined {
  const end = sealed.length - TAG_BYTES;
  if (end < 0) return undefined;
  const ciphertext = sealed.subarray(0, end);
  const tag = tagOf(key, nonce, aad, ciphertext);
  // All of it, so that the time does not tell where it differs.
  const difference = tag.reduce((found, byte, at) => found | (byte ^ sealed[end + at]!), 0);
  return difference ? undefined : chacha20(key, nonce, ciphertext, 1);
}
