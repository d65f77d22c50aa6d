// What an application says, checked once, with errors that name the option.

import { base64, readPublicKey, readUrl } from "./bytes.js";
import type { Publishers, Trust } from "./capsule.js";
import type { IdentitySigner } from "./identity.js";
import type { Root } from "./root.js";
import {
  DATA_MAX_BYTES,
  type Profile,
  TICKET_MAX_LIFETIME_MS,
  USER_ID_MAX_BYTES,
  isCommunity,
  isPeerId,
  isText,
} from "./ticket.js";

export interface RendezvousOptions {
  /** Whom to find: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  community: string;
  /**
   * Where this peer can be reached, as PeerJS and others call it: 1 to 128 of printable ASCII without `" \ < > &`, no
   * space at either end.
   */
  peerId: string;
  /** The application's name for the user, seen by everybody: 1 to 128 bytes of UTF-8. Default: the `peerId`. */
  userId?: string | undefined;
  /**
   * What this peer says of itself to everybody, in a form of the application's own: 1 to 512 bytes of UTF-8 without
   * control characters. Verifiers of version 0.1.0 refuse tickets with it.
   */
  data?: string | undefined;
  /** URLs of beacons. */
  beacons?: readonly string[];
  /**
   * Capsules: the URL of `peers.json`, and the publisher's public key, in base64 or PEM, or a `Root` of
   * `rendezvous-beacon/root`, for keys that change. The signature is at the URL with `.sig` appended to its path. What
   * is wrong with them shows in `status()`: `REVOKED_PUBLIC_KEY` where the key has revoked itself, `THRESHOLD_NOT_MET`,
   * `ROOT_OUT_OF_SEQUENCE` and `ROOT_EXPIRED` with a root.
   */
  capsules?: readonly ({ url: string; publicKey: string } | { url: string; root: Root })[];
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
  /** Beacons, then capsules. */
  sources: { url: string; trust?: Trust | (Trust & Publishers) }[];
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
export function readProfile({ community, peerId, userId = peerId, data }: RendezvousOptions): Profile {
  demand(isCommunity(community), "community", "1 to 64 of A-Z a-z 0-9 . _ -");
  demand(peerId != null, "peerId", "given: PeerJS has none before its event `open`");
  demand(isPeerId(peerId), "peerId", '1 to 128 of ASCII without " \\ < > &');
  demand(isText(userId, USER_ID_MAX_BYTES), "userId", "1 to 128 bytes");
  demand(data === undefined || isText(data, DATA_MAX_BYTES), "data", "1 to 512 bytes");
  return { community, peerId, userId, data };
}

/** @throws TypeError that names the option. */
export function readOptions(options: RendezvousOptions): Settings {
  const { community, identity, trustedKeys } = options;
  demand(
    !identity || "privateKey" in identity || identity.publicKey?.length === 32,
    "identity",
    "a key pair or signer",
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
  const capsules = list(options, "capsules", (capsule: { url: string; publicKey?: string; root?: Root }, option) => {
    const url = httpUrl(capsule?.url, `${option}.url`);
    const { publicKey, root } = capsule;
    demand(!root || root.isFor?.(community), `${option}.root`, "a Root of the community");
    if (root) return { url, trust: root };
    const label = key(publicKey, `${option}.publicKey`);
    return { url, trust: { label, rootVersion: 0, keys: [label] } };
  });
  demand(beacons.length + capsules.length, "beacons or capsules", "given");
  return {
    identity,
    sources: [...[...new Set(beacons)].map((url) => ({ url })), ...capsules],
    minActivePeers: number("minActivePeers", 3, 0, 1_000),
    ticketLifetimeMs: number("ticketLifetimeMs", TICKET_MAX_LIFETIME_MS, 135_000, TICKET_MAX_LIFETIME_MS),
    timeoutMs: number("timeoutMs", 10_000, 100, 120_000),
    trustedKeys: trustedKeys && new Set(list(options, "trustedKeys", key)),
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

function key(text: unknown, option: string): string {
  const bytes = readPublicKey(String(text));
  demand(bytes, option, "a public key");
  return base64(bytes);
}

function httpUrl(value: string | undefined, option: string): string {
  const url = readUrl(value, globalThis.location?.href);
  demand(typeof value === "string" && /^http/.test(url as string), option, "an http(s) URL");
  return url as string;
}
