// Ed25519 signatures under one acceptance rule, that of `ed25519_dalek::VerifyingKey::verify_strict`: `S < L`, no key and
// no `R` of small order, the equation without its cofactor.
//
// RFC 8032, which WebCrypto follows, has all of that but the small orders, which are refused here first: the identity as
// key, the identity as `R` and `S = 0` are a signature of every message, so who publishes that key can sign as anybody.

import { type Bytes, readBase64 } from "./bytes.js";

/** Whether `signature` is one of `message` by `publicKey`, as RFC 8032 says. */
export type Equation = (publicKey: Bytes, signature: Bytes, message: Bytes) => boolean | Promise<boolean>;
/** The same with key and signature in base64, under the strict rule. Never rejects. */
export type Verify = (publicKey: string, signature: unknown, message: Bytes) => Promise<boolean>;

/**
 * The points of small order are (0, 1), (0, -1), those two with y = 0, and the four whose double is one of the latter.
 * By the law of addition those have x^2 = -y^2; with d = -121665/121666, -x^2 + y^2 = 1 + d x^2 y^2 becomes the factor
 * with y^4. No other point of the curve has such a y. The sign of x, in the last bit, says nothing about the order, and y
 * may be spelled as y + P.
 */
function isOfSmallOrder(point: Bytes): boolean {
  const y = BigInt.asUintN(
    255,
    point.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n),
  );
  const q = y * y - 1n;
  return (y * q * ((121_665n * q - 2n) * q - 1n)) % (2n ** 255n - 19n) === 0n;
}

/** Puts the strict rule before `equation`. */
export function strict(equation: Equation): Verify {
  return async (publicKey, signature, message) => {
    try {
      const [key, bytes] = [readBase64(publicKey), readBase64(signature)] as [Bytes, Bytes];
      return (
        bytes.length === 64 &&
        ![key, bytes.subarray(0, 32)].some(isOfSmallOrder) &&
        (await equation(key, bytes, message))
      );
    } catch {
      // No base64, or a key that is not a point of the curve.
      return false;
    }
  };
}

export function webCryptoVerify(subtle: SubtleCrypto): Equation {
  return async (publicKey, signature, message) =>
    subtle.verify(
      "Ed25519",
      await subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]),
      signature,
      message,
    );
}
