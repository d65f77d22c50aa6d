// What an application says, checked once, with errors that name the option.

import { type Bytes, base64, readPublicKey } from "./bytes.js";
import type { IdentitySigner } from "./identity.js";
import { TICKET_MAX_LIFETIME_MS, isCommunity, isPeerId, isUserId } from "./ticket.js";

export interface RendezvousOptions {
  /** Whom to find: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  community: string;
  /**
   * Where this peer can be reached, as PeerJS and others call it: 1 to 128 of printable ASCII without `" \ < > &`, no
   * space at either end.
   */
  peerId: string;
  /** The application's name for the user, seen by everybody: 1 to 128 bytes of UTF-8. Default: the `peerId`. */
  userId?: string;
  /** URLs of beacons. */
  beacons?: readonly string[];
  /**
   * Capsules: the URL of `peers.json`, and the publisher's public key, in base64 or PEM. The signature is at the URL
   * with `.sig` appended to its path.
   */
  capsules?: readonly { url: string; publicKey: string }[];
  /** The key that signs: default one that is made on first use and kept in IndexedDB, non-extractable. */
  identity?: CryptoKeyPair | IdentitySigner;
  /** Lists are refreshed while fewer connections than this are reported. Default 3. */
  minActivePeers?: number;
  /**
   * Life of this peer's tickets in milliseconds, 135,000 to 180,000: for as long, beacons list a peer that vanished.
   * Default 180,000.
   */
  ticketLifetimeMs?: number;
  /** The longest that a source may take to answer, in milliseconds. Default 10,000. */
  timeoutMs?: number;
  /** Public keys (base64 or PEM) whose tickets are believed. Default: all. */
  trustedKeys?: readonly string[];
}

export interface Settings {
  community: string;
  peerId: string;
  userId: string;
  beacons: string[];
  capsules: { url: string; publicKey: Bytes }[];
  identity: CryptoKeyPair | IdentitySigner | undefined;
  minActivePeers: number;
  ticketLifetimeMs: number;
  timeoutMs: number;
  trustedKeys: Set<string> | undefined;
}

function demand(holds: unknown, option: string, rule: string): asserts holds {
  if (!holds) throw new TypeError(`${option} must be ${rule}`);
}

/** @throws TypeError that names the option. */
export function readOptions(options: RendezvousOptions): Settings {
  const { community, peerId, userId = peerId, identity, trustedKeys } = options;
  demand(isCommunity(community), "community", "1 to 64 of A-Z a-z 0-9 . _ -");
  demand(isPeerId(peerId), "peerId", '1 to 128 of printable ASCII without " \\ < > &');
  demand(isUserId(userId), "userId", "1 to 128 bytes of UTF-8");
  demand(
    !identity || "privateKey" in identity || identity.publicKey?.length === 32,
    "identity",
    "a CryptoKeyPair or a signer",
  );
  const number = (
    option: "minActivePeers" | "ticketLifetimeMs" | "timeoutMs",
    usual: number,
    least: number,
    most: number,
  ): number => {
    const value = options[option] ?? usual;
    demand(value >= least && value <= most, option, `${least} to ${most}`);
    return value;
  };
  const beacons = list(options, "beacons", (url, option) => httpUrl(url, option).replace(/\/*(\?.*)?$/, ""));
  const capsules = list(options, "capsules", (capsule, option) => ({
    url: httpUrl(capsule?.url, `${option}.url`),
    publicKey: key(capsule?.publicKey, `${option}.publicKey`),
  }));
  demand(beacons.length + capsules.length, "beacons or capsules", "given");
  return {
    community,
    peerId,
    userId,
    identity,
    beacons: [...new Set(beacons)],
    capsules,
    minActivePeers: number("minActivePeers", 3, 0, 1_000),
    ticketLifetimeMs: number("ticketLifetimeMs", TICKET_MAX_LIFETIME_MS, 135_000, TICKET_MAX_LIFETIME_MS),
    timeoutMs: number("timeoutMs", 10_000, 100, 120_000),
    trustedKeys: trustedKeys && new Set(list(options, "trustedKeys", (text, option) => base64(key(text, option)))),
  };
}

function list<Option extends "beacons" | "capsules" | "trustedKeys", Value>(
  options: RendezvousOptions,
  name: Option,
  read: (item: NonNullable<RendezvousOptions[Option]>[number], option: string) => Value,
): Value[] {
  const items = options[name] ?? [];
  demand(Array.isArray(items), name, "an array");
  return items.map((item, at) => read(item, `${name}[${at}]`));
}

function key(text: unknown, option: string): Bytes {
  const bytes = readPublicKey(String(text));
  demand(bytes, option, "a public key in base64 or PEM");
  return bytes;
}

function httpUrl(value: string | undefined, option: string): string {
  let url: URL | undefined;
  try {
    url = new URL(value as string, globalThis.location?.href);
  } catch {
    // Said below.
  }
  demand(typeof value === "string" && /^http/.test(url?.protocol as string), option, "an http(s) URL");
  return (url as URL).href.replace(/#.*/, "");
}
