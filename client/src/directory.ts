// Communities and their beacons, as hubs list them: an entry point of its own.
//
// Hubs are not believed: every entry is signed by its origin. A hub can leave entries out, which is why several are asked.

import { concat, readBase64, sha256, utf8 } from "./bytes.js";
import { type Verify, strict, webCryptoVerify } from "./ed25519.js";
import { type Json, type JsonObject, canonical } from "./json.js";
import type { Live } from "./live.js";
import { type Reason, reasonOf } from "./reason.js";
import type { Rendezvous } from "./rendezvous.js";
import { ask } from "./request.js";
import type { Source } from "./source.js";
import {
  CLOCK_SKEW_MS,
  type Fields,
  Refusal,
  demand,
  demandSupported,
  fieldsOf,
  isText,
  isTime,
  readObject,
} from "./ticket.js";

export type { Reason } from "./reason.js";

const ENTRY_MAX_LIFETIME_MS = 30 * 86_400_000;
const ENTRY_MAX_BYTES = 4_096;
const DESCRIPTION_MAX_BYTES = 280;
const ADDRESS_MAX_BYTES = 300;
const HOST_MAX_BYTES = 253;
const BEACONS_MAX = 32;
const CAPSULES_MAX = 8;
const TAGS_MAX = 8;
/** Entries in an answer. */
const ANSWER_MAX_ENTRIES = 100;
/** An entry more, for what is around them: 101 · 4,096. */
const HUB_ANSWER_MAX_BYTES = 413_696;
const BEACONS_USED = 3;

const ADDRESS =
  /^https:\/\/((?:(?!-)[a-z\d-]{1,63}(?<!-)\.)+[a-z](?:[a-z\d-]{0,61}[a-z\d])?)(?::(?!443\b)([1-9]\d{0,4}))?(?:\/(?!\.\.?(?:\/|$))[\w.~-]+)*$/;

/** What an origin says of a community. */
export interface Community {
  /** The origin's public key, in base64. A name alone says nothing: other origins may use it too. */
  readonly origin: string;
  readonly name: string;
  readonly access: "open" | "invite-only";
  readonly beacons: readonly { readonly id: string; readonly url: string }[];
  /** Addresses of capsules. */
  readonly capsules: readonly string[];
  readonly description: string;
  readonly tags: readonly string[];
  /**
   * The SHA-256, in base64, of the root file that readers of the capsules begin with, and the key that says so. It counts
   * where that is one of the root's `publisherKeys`.
   */
  readonly root: { readonly sha256: string; readonly publicKey: string } | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly updated: number;
  readonly expiresAt: number;
}

export interface FindOptions {
  /** Only communities of this name, of whatever origin. */
  name?: string;
  /** Only those of this origin. With the name, as a link holds both: others cannot crowd it out. */
  origin?: string;
  /** Only those that have this tag. */
  tag?: string;
  /** Only those in whose name, description or tags a hub finds this. */
  text?: string;
  /** Ends the search: it rejects with the signal's reason. */
  signal?: AbortSignal;
}

export interface Found {
  /** Of each origin and name the newest entry. Origins take turns. */
  readonly communities: Community[];
  /** Why hubs have not answered, by their URLs as they were given. */
  readonly problems: ReadonlyMap<string, Reason>;
}

type Is = (value: Json | undefined) => boolean;

const isBase64 =
  (length: number): Is =>
  (value) =>
    readBase64(value)?.length === length;

const isAddress: Is = (value) => {
  const [, host, port = 0] = (typeof value === "string" && value.length <= ADDRESS_MAX_BYTES && ADDRESS.exec(value)) || [];
  return !!host && host.length <= HOST_MAX_BYTES && +port < 65_536;
};

/** The 32 bytes of a key or of a SHA-256. */
const is32Bytes = isBase64(32);

const fits =
  (pattern: RegExp): Is =>
  (value) =>
    typeof value === "string" && pattern.test(value);

/** Nobody can ask for `.` and `..`: they are taken out of a URL. */
const isName = fits(/^(?!\.\.?$)[\w.-]{1,64}$/);

const isTag = fits(/^[a-z\d-]{1,32}$/);

const hasFields = (value: Json | undefined, fields: Record<string, Is>): value is JsonObject =>
  value instanceof Map &&
  value.size === Object.keys(fields).length &&
  Object.entries(fields).every(([name, is]) => is(value.get(name)));

/** At most so many, none twice. */
const areDistinct = (value: Json | undefined, most: number, is: Is): value is Json[] =>
  Array.isArray(value) && value.length <= most && value.every(is) && new Set(value).size === value.length;

function isPayload(value: Json | undefined): value is JsonObject {
  const isRoot: Is = (root) =>
    hasFields(root, { publicKey: is32Bytes, sha256: is32Bytes, signature: isBase64(64) });
  const isBeacon: Is = (beacon) => hasFields(beacon, { id: isBase64(16), url: isAddress });
  return (
    value instanceof Map &&
    hasFields(value, {
      access: (access) => access === "open" || access === "invite-only",
      beacons: (beacons) =>
        areDistinct(beacons, BEACONS_MAX, isBeacon) &&
        // No id is a URL.
        areDistinct(beacons.flatMap((it) => [...(it as JsonObject).values()]), 2 * BEACONS_MAX, () => true),
      capsules: (capsules) => areDistinct(capsules, CAPSULES_MAX, isAddress),
      description: (text) => text === "" || isText(text, DESCRIPTION_MAX_BYTES),
      expiresAt: isTime,
      name: isName,
      ...(value.has("root") && { root: isRoot }),
      tags: (tags) => areDistinct(tags, TAGS_MAX, isTag),
      updated: isTime,
    }) &&
    (value.get("updated") as number) < (value.get("expiresAt") as number)
  );
}

/** The one function that makes the bytes to sign. */
const signedBytes = (purpose: string, payload: JsonObject) =>
  utf8(`rendezvous-directory-v1:${purpose}\n${canonical(payload)}`);

/**
 * Reads an entry, and verifies it.
 *
 * @throws Refusal for the first rule that it breaks; the signatures, the dear ones, are the last.
 */
export async function readEntry(value: Json | undefined, now: number, verify: Verify): Promise<Community> {
  const envelope = fieldsOf(value);
  const { version, algorithm, publicKey, signature, payload } = envelope;
  demand(
    isTime(version) &&
      typeof algorithm === "string" &&
      is32Bytes(publicKey) &&
      isBase64(64)(signature) &&
      isPayload(payload) &&
      Object.keys(envelope).length === 5,
  );
  demandSupported(version, algorithm);
  demand(utf8(canonical(value as Json)).length <= ENTRY_MAX_BYTES);
  const { beacons, root, ...fields } = fieldsOf(payload) as unknown as Community & Fields;
  const { updated, expiresAt } = fields;
  demand(expiresAt - updated <= ENTRY_MAX_LIFETIME_MS, "LIFETIME_TOO_LONG");
  demand(updated <= now + CLOCK_SKEW_MS, "NOT_YET_VALID");
  // So `updated` is less than 30 days ago.
  demand(expiresAt > now, "EXPIRED");
  const origin = publicKey as string;
  demand(await verify(origin, signature, signedBytes("entry", payload)), "SIGNATURE_INVALID");
  const { publicKey: publisher, sha256, signature: endorsement } = root ? fieldsOf(root as unknown as Json) : ({} as Fields);
  if (root) {
    const plain = new Map(root as unknown as JsonObject);
    plain.delete("signature");
    const endorsed = signedBytes(`endorsement\n${origin}`, new Map(payload).set("root", plain));
    demand(await verify(publisher as string, endorsement, endorsed), "SIGNATURE_INVALID");
  }
  return {
    ...(fields as Omit<Community, "beacons" | "root" | "origin">),
    origin,
    beacons: (beacons as unknown as JsonObject[]).map((beacon) => Object.fromEntries(beacon) as { id: string; url: string }),
    root: root && { sha256: sha256 as string, publicKey: publisher as string },
  };
}

/** Of the lists of several hubs the newest of each origin and name, in turns between origins. */
function merge(lists: Community[][]): Community[] {
  const origins = new Map<string, Map<string, Community>>();
  for (const community of lists.flat()) {
    const { origin, name, updated } = community;
    const names = origins.get(origin) ?? new Map<string, Community>();
    origins.set(origin, names);
    if ((names.get(name)?.updated ?? 0) <= updated) names.set(name, community);
  }
  const turns = [...origins.values()].map((names) => [...names.values()]);
  const most = Math.max(0, ...turns.map(({ length }) => length));
  return Array.from({ length: most }, (_, turn) => turns.flatMap((each) => each[turn] ?? [])).flat();
}

/**
 * Asks hubs for communities, and verifies what they say.
 *
 * @param hubs URLs of hubs (`https://hub.example`).
 * @returns Rejects with an error whose message is a code where no hub has answered: why the first has not.
 */
export async function findCommunities(hubs: readonly string[], options: FindOptions = {}): Promise<Found> {
  const { name, origin, tag, text, signal } = options;
  if (name !== undefined && !isName(name)) throw new TypeError("name");
  if (origin !== undefined && !is32Bytes(origin)) throw new TypeError("origin");
  const verify = strict(webCryptoVerify(crypto.subtle));
  const query = new URLSearchParams({ limit: `${ANSWER_MAX_ENTRIES}`, ...(origin && { origin }), ...(tag && { tag }), ...(text && { q: text }) });
  const list = async (hub: string): Promise<Community[]> => {
    const url = `${hub.replace(/\/+$/, "")}/v1/communities${name ? `/${name}` : ""}?${query}`;
    const { status, body } = await ask(url, HUB_ANSWER_MAX_BYTES, signal);
    demand(status === 200, `HTTP_${status}`);
    const { entries } = readObject(body);
    demand(Array.isArray(entries));
    // What is not as it should be costs only itself.
    const read = entries.slice(0, ANSWER_MAX_ENTRIES).map((entry) => readEntry(entry, Date.now(), verify).catch(() => undefined));
    const isWanted = (it: Community | undefined): it is Community =>
      !!it && (!name || it.name === name) && (!origin || it.origin === origin) && (!tag || it.tags.includes(tag));
    return (await Promise.all(read)).filter(isWanted);
  };
  const outcomes = await Promise.allSettled(hubs.map(list));
  signal?.throwIfAborted();
  const problems = new Map<string, Reason>();
  const lists: Community[][] = [];
  outcomes.forEach((outcome, at) => {
    if (outcome.status === "fulfilled") lists.push(outcome.value);
    else problems.set(hubs[at] as string, reasonOf(outcome.reason));
  });
  if (!lists[0]) throw new Refusal(problems.get(hubs[0] as string) ?? "NETWORK");
  return { communities: merge(lists), problems };
}

/**
 * Gives the URLs of the beacons that a community's peers use, the first first: by rendezvous hashing, so that all peers use
 * the same ones, and one that comes or goes moves its own share alone. Where one cannot be reached, the next takes its place.
 *
 * @param count How many; all, where it is more than there are.
 */
export async function beaconsOf(
  { name, beacons }: Pick<Community, "name" | "beacons">,
  count = BEACONS_USED,
): Promise<string[]> {
  const weigh = async ({ id, url }: { id: string; url: string }): Promise<[string, string]> => {
    const weight = await sha256(concat(utf8(name), readBase64(id) ?? []));
    return [String.fromCharCode(...weight), url];
  };
  const weighed = await Promise.all(beacons.map(weigh));
  return weighed
    .sort(([one], [other]) => (one < other ? 1 : -1))
    .slice(0, count)
    .map(([, url]) => url);
}

export interface FailOverOptions {
  /** How many are used at a time. Default 3. */
  used?: number;
  /** What `live(rendezvous)` has given: a beacon whose connection ends is asked at once whether it is there. */
  live?: Live;
}

/**
 * Lets a client use the first beacons of its list, which {@link beaconsOf} has given whole, and the next in the place of each
 * that fails. One that has failed is tried again beside those, ever more seldom, and has its place again when it answers; the
 * one that stood in for it then rests. Which source's peers are dialled next is settled as it always is.
 *
 * @param rendezvous Its capsules are read as before. One call is for as long as it lives.
 */
export function failOver(rendezvous: Rendezvous, { used = BEACONS_USED, live }: FailOverOptions = {}): void {
  const { host, sources } = rendezvous.inside;
  const beacons = sources.filter(({ trust }) => !trust);
  const isSpare = (source: Source): boolean =>
    beacons.slice(0, beacons.indexOf(source)).filter(({ schedule }) => !schedule.failuresInARow).length >= used;
  for (const source of beacons) {
    let { dueAt } = source.schedule;
    Object.defineProperty(source, "isSpare", { get: () => isSpare(source) });
    // Due, as it would be, from when it is used.
    Object.defineProperty(source.schedule, "dueAt", {
      get: () => (isSpare(source) ? Infinity : dueAt),
      set: (at: number) => (dueAt = at),
    });
  }
  if (!live) return;
  const connected = new Set<string>();
  rendezvous.addEventListener("status", () => {
    for (const { url, transport } of live.status()) {
      if (transport !== "polling") connected.add(url);
      else if (connected.delete(url)) beacons.find((source) => source.url === url)?.schedule.hurry(host.elapsed());
    }
  });
}
