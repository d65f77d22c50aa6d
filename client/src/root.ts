// Roots, an entry point of its own: who needs them imports them, and the core stays small. It asks a root who may
// publish; the rules are in chain.ts, here is the way to the files.

import { readUtf8, utf8 } from "./bytes.js";
import type { Place, Publishers } from "./capsule.js";
import {
  ROOT_MAX_BYTES,
  type RootDocument,
  SIGNATURES_MAX_BYTES,
  isPage,
  publishersOf,
  readRoot,
  readSignatures,
  succeed,
} from "./chain.js";
import { canonical, readJson } from "./json.js";
import type { Reply } from "./request.js";
import { demand } from "./ticket.js";

/** Successors that are looked for at a time. */
const ROOT_MAX_STEPS = 64;
/** Bytes of a page that may be in the place of a signatures file. */
const PAGE_MAX_BYTES = 1_048_576;

/** Undefined where the host says that there is no such file. */
async function optional(file: Promise<Reply>): Promise<Reply | undefined> {
  try {
    return await file;
  } catch (error) {
    if (/^HTTP_4(04|10)$/.test((error as Error).message)) return undefined;
    throw error;
  }
}

/**
 * A root that a page was given beforehand, with its own code: it is believed. From then on the keys that sign capsules,
 * and the root's own, can be replaced at the capsule's host, by `N.root.json` and `N.root.json.sigs` beside it.
 */
export class Root {
  /** @internal What was given, so that a page that is given another one begins anew. */
  readonly label: string;
  readonly #given: RootDocument;

  /**
   * @param document The root file: its text, or its JSON parsed.
   * @throws TypeError if it is not a root.
   */
  constructor(document: string | object) {
    try {
      const text = typeof document === "string" ? document : JSON.stringify(document);
      this.#given = readRoot(utf8(text));
      this.label = canonical(readJson(text));
    } catch (error) {
      throw new TypeError(`root must be the text or the JSON of a root: ${(error as Error).message}`);
    }
  }

  /** @internal Whether it is a root of this community. */
  isFor(community: string): boolean {
    return this.#given.community === community;
  }

  /** @internal Who may publish, by the newest root that the host has. It goes on where it was the last time. */
  async publishers({ readFile, store, rules: { verify }, now }: Place): Promise<Publishers> {
    let newest = this.#newerOf(await store.update(this.#stored, () => undefined)) ?? this.#given;
    for (let step = 0; step < ROOT_MAX_STEPS; step++) {
      const path = `/../${newest.rootVersion + 1}.root.json`;
      const beside = await optional(readFile(`${path}.sigs`, PAGE_MAX_BYTES));
      if (!beside || isPage(beside.body, beside.contentType)) break;
      // Signatures that cannot be read are no reason to go on believing the keys that they replace.
      const signatures = readSignatures(beside.body);
      const file = (await optional(readFile(path, ROOT_MAX_BYTES)))?.body;
      if (!file) break;
      const next = await succeed(newest, file, signatures, verify);
      newest = next;
      // At once: what was walked needs not be walked again, whatever comes next. Another page may have come further.
      await store.update(this.#stored, (value) =>
        (this.#newerOf(value)?.rootVersion ?? 0) < next.rootVersion ? readUtf8(file) : undefined,
      );
    }
    demand(newest.expiresAt > now, "ROOT_EXPIRED");
    // Not asked for where one signature is enough.
    const needed = newest.publisherKeys.threshold > 1;
    const cosignatures = needed ? await optional(readFile(".sigs", SIGNATURES_MAX_BYTES)) : undefined;
    return publishersOf(newest, cosignatures?.body, verify);
  }

  get #stored(): string {
    return `root/${this.label}`;
  }

  /**
   * A root that was verified before it was stored, if it is there and newer than the one given. Its signatures are not:
   * whoever can write this storage can replace the script that reads it.
   */
  #newerOf(stored: unknown): RootDocument | undefined {
    try {
      const root = readRoot(utf8(stored as string));
      return this.isFor(root.community) && root.rootVersion > this.#given.rootVersion ? root : undefined;
    } catch {
      // None yet, or by another version.
      return undefined;
    }
  }
}
