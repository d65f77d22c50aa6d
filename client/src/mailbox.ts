// Messages for those who are not there: an entry point of its own. A mailbox of this browser's own, and those of others.
//
// Relays keep the messages and are not believed: what they hand over is opened by this browser's keys and signed by
// whoever wrote it, and what they say of messages that were sent counts if the recipient has signed it.

import { base64 } from "./bytes.js";
import { Contact, type Outcome, type Sender } from "./contact.js";
import { strict, webCryptoVerify } from "./ed25519.js";
import type { IdentitySigner } from "./identity.js";
import { Inbox, type Message, type Unread } from "./inbox.js";
import { readInvite } from "./invite.js";
import type { Reason } from "./reason.js";
import { CONTACTS_MAX, DAY_MS, RELAYS_MAX, addressOf, isOrigin, list } from "./record.js";
import { type MailboxHost, Relay, inTurn } from "./relay.js";
import { type Store, openDurableStore } from "./store.js";
import { Refusal, type Signer, demand } from "./ticket.js";

export type { Contact, Outcome, Receipt, ReceiptState, SendOptions } from "./contact.js";
export type { Message, Unread } from "./inbox.js";
export type { Reason } from "./reason.js";
export type { IdentitySigner } from "./identity.js";
export type { Store } from "./store.js";

export interface MailboxOptions {
  /** Origins of the relays that are to keep this mailbox, at most 4; without any it can only send. */
  relays?: readonly string[];
  /**
   * The owner key, which must not sign presence tickets: an Ed25519 key pair, or what signs by one. Default: one that is
   * made on first use and cannot be taken out of the browser.
   */
  identity?: CryptoKeyPair | Pick<IdentitySigner, "publicKey" | "sign">;
  /**
   * Where keys, numbers and messages that wait are kept. `update` has to reject where it has not stored the value, and to
   * keep what structured clones can hold. Default: IndexedDB, or memory where there is none.
   */
  store?: Store;
}

/** The events of {@link Mailbox}. */
export interface MailboxEvents {
  /** A message that was sent does not wait any more. */
  receipt: CustomEvent<{ contact: Contact; outcome: Outcome }>;
  /** A message that has come is not handed over, or was not dealt with. */
  unread: CustomEvent<Unread>;
}

type Listener<Event> = ((event: Event) => void) | { handleEvent(event: Event): void } | null;

export interface Mailbox {
  addEventListener<Name extends keyof MailboxEvents>(
    type: Name,
    listener: Listener<MailboxEvents[Name]>,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof MailboxEvents>(
    type: Name,
    listener: Listener<MailboxEvents[Name]>,
    options?: boolean | EventListenerOptions,
  ): void;
}

const OWNER = "mailbox owner";
const CONTACTS = "mailbox contacts";
const RELAYS_WRONG = "relays: 1-4 URLs";
const INVITE_LIFETIME_MS = 30 * DAY_MS;
const INVITE_MAX_LIFETIME_MS = 90 * DAY_MS;
/** Between two looks at the relays, and up to as much again. */
const INTERVAL_MS = 15_000;

/** A browser's page or worker, or Node. */
const HOST: MailboxHost = {
  now: Date.now,
  random: Math.random,
  setTimer(callback, ms) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  fetch: (url, init) => fetch(url, init),
};

/** A store whose `update` rejects with `STORE_FAILED` where it has not stored. */
async function openStore(given: Store | undefined): Promise<Store> {
  const open = async (): Promise<Store> => given ?? openDurableStore(() => globalThis.indexedDB);
  const failed = (): never => {
    throw new Refusal("STORE_FAILED");
  };
  const store = await open().catch(failed);
  return { update: (key, change) => store.update(key, change).catch(failed) };
}

/** The given owner key, or the stored one, which is made where there is none. */
async function loadOwner(given: MailboxOptions["identity"], store: Store): Promise<Signer> {
  if (given && "sign" in given) return { publicKey: given.publicKey, sign: given.sign.bind(given) };
  const { subtle } = crypto;
  const make = async (): Promise<unknown> => {
    const made = await subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    return store.update(OWNER, (value) => (value === undefined ? made : undefined));
  };
  const { privateKey, publicKey } = (given ?? (await make())) as CryptoKeyPair;
  return {
    publicKey: new Uint8Array(await subtle.exportKey("raw", publicKey)),
    sign: async (message) => new Uint8Array(await subtle.sign("Ed25519", privateKey, message as Uint8Array<ArrayBuffer>)),
  };
}

/**
 * A mailbox of this browser's own, at relays that keep what others leave in it, and the contacts to whose mailboxes it
 * can send.
 *
 * Events: see {@link MailboxEvents}.
 */
export class Mailbox extends EventTarget {
  readonly #sender: Sender;
  readonly #inbox: Inbox;
  readonly #inTurn = inTurn();
  /** By address. */
  readonly #contacts = new Map<string, Contact>();

  private constructor(sender: Sender, inbox: Inbox) {
    super();
    this.#sender = { ...sender, tell: (contact, outcome) => this.#dispatch("receipt", { contact, outcome }) };
    this.#inbox = inbox;
  }

  /**
   * Loads or makes the keys. Asks no relay: the mailbox is opened by its first {@link invite}.
   *
   * @returns Rejects with a `TypeError` that names a wrong option, with `STORE_FAILED` as the message where storage does
   *   not work, and as WebCrypto does where it has no Ed25519 or X25519.
   */
  static async open(options?: MailboxOptions): Promise<Mailbox>;
  /** @internal */
  static async open(options: MailboxOptions, host: MailboxHost): Promise<Mailbox>;
  static async open(
    { relays = [], identity, store: given }: MailboxOptions = {},
    host: MailboxHost = HOST,
  ): Promise<Mailbox> {
    const origins = relays.map((relay) => (URL.canParse(relay) ? new URL(relay).origin : ""));
    if (!list(RELAYS_MAX, isOrigin)(origins)) throw new TypeError(RELAYS_WRONG);
    const store = await openStore(given);
    const owner = await loadOwner(identity, store);
    const known = new Map<string, Relay>();
    const relay = (origin: string): Relay => {
      const found = known.get(origin) ?? new Relay(host, origin);
      known.set(origin, found);
      return found;
    };
    const sender = { host, store, owner, verify: strict(webCryptoVerify(crypto.subtle)), relay, tell: () => {} };
    return new Mailbox(sender, new Inbox(sender, await addressOf(base64(owner.publicKey)), origins));
  }

  /** The name of this mailbox: 64 characters, made of the owner key. */
  get address(): string {
    return this.#inbox.address;
  }

  /** The owner key, in base64: what messages sent from here are `from`. */
  get publicKey(): string {
    return base64(this.#sender.owner.publicKey);
  }

  /**
   * Opens this mailbox where it is not open yet, and makes a text by which one sender may write to it. Whoever has the text
   * may: hand it over by a way that you trust.
   *
   * @returns Rejects with an error whose message is a code: why the relays did not take it, if none did; `TOO_MANY` (32
   *   invites are open).
   */
  invite({ lifetimeMs = INVITE_LIFETIME_MS }: { lifetimeMs?: number } = {}): Promise<string> {
    if (!(lifetimeMs > 0 && lifetimeMs <= INVITE_MAX_LIFETIME_MS))
      throw new TypeError("lifetimeMs: at most 90 days");
    if (!this.#inbox.relays[0]) throw new TypeError(RELAYS_WRONG);
    return this.#inbox.invite(Math.floor(lifetimeMs));
  }

  /**
   * Gives the contact of an invite, which is kept: the same invite again is the same contact.
   *
   * @returns Rejects with an error whose message is a code: `MALFORMED`, `TOO_MANY` (256 contacts), `STORE_FAILED`.
   */
  async contact(invite: string): Promise<Contact> {
    const read = await readInvite(invite);
    const { address } = read;
    demand((await this.#addresses((known) => known)).filter((each) => each !== address).length < CONTACTS_MAX, "TOO_MANY");
    const added = await Contact.add(this.#sender, read);
    await this.#addresses((known) => (known.includes(address) ? known : [...known, address]));
    return this.#keep(added);
  }

  /** Gives all contacts whose invites were taken, on this page or before. */
  async contacts(): Promise<Contact[]> {
    const loaded = (await this.#addresses((known) => known)).map((address) => Contact.load(this.#sender, address));
    return (await Promise.all(loaded)).map((contact) => this.#keep(contact));
  }

  async #addresses(change: (known: string[]) => string[]): Promise<string[]> {
    return (await this.#sender.store.update(CONTACTS, (value = []) => change(value as string[]))) as string[];
  }

  /** One contact is one object, which does one thing after the other. */
  #keep(contact: Contact): Contact {
    const found = this.#contacts.get(contact.address) ?? contact;
    this.#contacts.set(contact.address, found);
    return found;
  }

  /**
   * Hands over what waits in this mailbox, one message after the other. Each is acknowledged when `handle` has dealt with
   * it, so that its sender knows; one for which it throws or rejects comes again with a later call. A page that ends in
   * between gets a message twice. `handle` must not wait for another `collect`, which waits for this one.
   *
   * @returns How many were dealt with. Rejects with `STORE_FAILED` as the message.
   */
  collect(handle: (message: Message) => unknown): Promise<number> {
    const work = (): Promise<number> => this.#inbox.collect(handle, (unread) => this.#dispatch("unread", unread));
    const locks = globalThis.navigator?.locks as LockManager | undefined;
    // Of the pages of this browser one at a time. Where there are no locks, a message may be handed to several.
    return this.#inTurn(async () => (locks ? ((await locks.request(`mailbox ${this.address}`, work)) as number) : work()));
  }

  /** Asks what became of the messages that were sent, and brings those that wait to relays that do not have them. */
  async refresh(): Promise<void> {
    for (const contact of await this.contacts()) await contact.refresh();
  }

  /**
   * Collects and refreshes by itself: now, every 15 to 30 s, and when the page is back online or gets the focus.
   *
   * @returns Ends that.
   */
  subscribe(handle: (message: Message) => unknown): () => void {
    const { host } = this.#sender;
    const stop = new AbortController();
    const { signal } = stop;
    let cancel = (): void => {};
    let isBusy = false;
    const look = async (): Promise<void> => {
      if (isBusy || signal.aborted) return;
      isBusy = true;
      cancel();
      try {
        await this.collect(handle);
        await this.refresh();
      } catch (error) {
        this.#dispatch("unread", { contentId: "", reason: (error as Error).message, error });
      }
      isBusy = false;
      if (!signal.aborted) cancel = host.setTimer(() => void look(), INTERVAL_MS * (1 + host.random()));
    };
    // Node's global object is no EventTarget.
    for (const type of ["online", "focus"]) globalThis.addEventListener?.(type, () => void look(), { signal });
    void look();
    return () => {
      stop.abort();
      cancel();
    };
  }

  /** Takes everybody off the list who has written as `from`, an owner key in base64: relays take in no more of them. */
  block(from: string): Promise<void> {
    return this.#inbox.block(from);
  }

  /** Gives by origin why relays of this mailbox have not done what they were asked the last time. */
  status(): ReadonlyMap<string, Reason> {
    return this.#inbox.status();
  }

  #dispatch(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
