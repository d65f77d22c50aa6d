// Bytes and their two spellings on the wire: UTF-8 and base64, both strictly. And URLs, which have one spelling.

export type Bytes = Uint8Array<ArrayBuffer>;

export function utf8(text: string): Bytes {
  return new TextEncoder().encode(text) as Bytes;
}

/** @throws TypeError for bytes that are not UTF-8. A byte order mark stays, so that JSON refuses it. */
export function readUtf8(bytes: Bytes): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

export function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/**
 * Standard alphabet, padded, no white space, no stray bits: `atob` allows all of those, so what it gave is encoded again.
 * For short texts only.
 */
export function readBase64(text: unknown): Bytes | undefined {
  try {
    const binary = atob(text as string);
    return btoa(binary) === text ? Uint8Array.from(binary, (unit) => unit.charCodeAt(0)) : undefined;
  } catch {
    return undefined;
  }
}

/** As {@link base64}, for bytes of any number. */
export function longBase64(bytes: Uint8Array): string {
  let text = "";
  // A multiple of three has no padding.
  for (let at = 0; at < bytes.length; at += 3_072) text += base64(bytes.subarray(at, at + 3_072));
  return text;
}

export async function sha256(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

export function concat(...parts: ArrayLike<number>[]): Bytes {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A URL in the spelling of its standard, without fragment. */
export function readUrl(text: unknown, base?: string): string | undefined {
  try {
    return new URL(text as string, base).href.replace(/#.*/, "");
  } catch {
    return undefined;
  }
}

/** A public key: the base64 of its 32 bytes. */
export function readKey(text: unknown): Bytes | undefined {
  const key = readBase64(text);
  return key?.length === 32 ? key : undefined;
}

/**
 * A public key in any spelling of protocol/README.md, section 10: the base64 of its 32 bytes, or SPKI, whose base64 ends
 * with the key (RFC 8410), in PEM or bare.
 */
export function readPublicKey(text: string): Bytes | undefined {
  const [, body, ...more] = text.split(/-----BEGIN PUBLIC KEY-----([^]*?)-----END PUBLIC KEY-----/);
  const inPem = body !== undefined;
  if (inPem ? more.length > 1 : /-----/.test(text)) return undefined;
  const base64 = (body ?? text.replace(/^\ufeff/, "")).replace(/\\[rn]|[ \t\n\f\r]/g, "");
  const key = base64.replace(/^MCowBQYDK2VwAyEA(?=.{44}$)/, "");
  return inPem && key === base64 ? undefined : readKey(key);
}
