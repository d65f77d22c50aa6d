// The sender's side: messages for one mailbox, from the moment that they are stored until their recipient has signed that
// it has them, or their life is over.
//
// A number is given to one message and never again, and stands in storage with the sealed bytes before any of them leaves
// this machine. A relay's word settles nothing but that nobody takes a message in: that it was read is the recipient's.

import { type Bytes, concat, longBase64, readKey, utf8 } from "./bytes.js";
import type { Verify } from "./ed25519.js";
import { type Invite, type SlotKey, signerOf, slotKeyOf } from "./invite.js";
import { type Json, type JsonObject, canonical, jsonOf } from "./json.js";
import { type Reason, reasonOf } from "./reason.js";
import {
  ACK,
  CARD,
  CONTACT_LIMIT_MAX,
  DEPOSIT_MAX_LIFETIME_MS,
  DEPOSIT_MIN_LIFETIME_MS,
  contentIdOf,
  readRecord,
  signRecord,
  verifyRecord,
} from "./record.js";
import { type MailboxHost, type Relay, type RelayRefusal, atEach, inTurn } from "./relay.js";
import { SUITE, seal } from "./sealed.js";
import type { Store } from "./store.js";
import { type Fields, type Signer, demand } from "./ticket.js";

/** At how many relays a message lies. */
const COPIES = 2;
/** What is good everywhere is dated back, so that it is good where the clock is behind this machine's. */
export const DATED_BACK_MS = 10 * 60_000;
const WAITING_MAX = CONTACT_LIMIT_MAX;
/** In characters, of all bodies that wait: about what a mailbox keeps of one slot. */
const WAITING_MAX_LENGTH = 2 * 1024 * 1024;
/** Of so many, the newest, is told what became of them. */
const TOLD_MAX = 32;
/** For how long a card is taken for the newest without asking for another. */
const CARD_MAX_AGE_MS = 10 * 60_000;
/** How long before its end a message must have been acknowledged to count as read: to the minute, and clocks differ. */
const RECEIPT_MARGIN_MS = 90_000;
/** Slot keys of one mailbox: those of the last two invites, and what was made for each. */
const SLOTS_MAX = 4;

/**
 * `waiting`: nothing is known yet. `read`: the recipient has signed that it has the message. `ended`: its life is over, and
 * the recipient has not signed in that time that it has it. `refused`: no relay has taken it in, and none will.
 */
export type ReceiptState = "waiting" | "read" | "ended" | "refused";

/** What is known of a message that was sent. */
export interface Outcome {
  /** Base64 of the SHA-256 of the sealed bytes. */
  readonly contentId: string;
  readonly state: ReceiptState;
  /** Origins of the relays that have said that they hold it. */
  readonly relays: readonly string[];
  /** Why the last relay that did not take it has not; undefined where none has refused. */
  readonly reason: Reason | undefined;
  /** When its life is over, in milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

export interface Receipt extends Outcome {
  /** Settles when the message does not wait any more, and this page looks. Never rejects. */
  readonly settled: Promise<Outcome>;
}

export interface SendOptions {
  /** How long the message is kept for the recipient, from an hour to 7 days. Default 7 days. */
  lifetimeMs?: number;
}

/** A message that was sent, as it is stored. */
interface Sent extends Outcome {
  readonly slot: string;
  readonly sequence: number;
  /** What goes to relays, as JSON; undefined where it does not wait any more. */
  readonly body: string | undefined;
}

interface AckPayload {
  readonly mailbox: string;
  readonly slot: string;
  readonly through: number;
  readonly missing: readonly number[];
  readonly at: number;
}

interface Slot extends SlotKey {
  /** The number of the next message. */
  readonly next: number;
}

interface ContactState {
  /** Base64. */
  readonly owner: string;
  readonly relays: readonly string[];
  /** What the newest says that was seen. */
  readonly card: Fields | undefined;
  /** When it was asked for, in milliseconds since the Unix epoch. */
  readonly cardAt: number;
  /** In pairs: an invite's, and that which is introduced over it. */
  readonly slots: readonly Slot[];
  /** Whether the last of them is listed, as far as this is known. */
  readonly isListed: boolean;
  readonly sent: readonly Sent[];
}

/** What a contact needs of the mailbox of its sender. */
export interface Sender {
  readonly host: MailboxHost;
  readonly store: Store;
  /** The owner key. */
  readonly owner: Signer;
  readonly verify: Verify;
  relay(origin: string): Relay;
  /** Tells of a message that does not wait any more. */
  tell(contact: Contact, outcome: Outcome): void;
}

const storedAs = (address: string): string => `mailbox contact ${address}`;
const isWaiting = ({ state }: Sent): boolean => state === "waiting";
/** The last invite's slot, and that which is introduced over it. */
const lastOf = ({ slots }: ContactState): [invite: Slot, own: Slot] => slots.slice(-2) as [Slot, Slot];
/** Whether a relay will not take it in later either: what is wrong is the message, its number or the whole mailbox. */
const isFinal = (error: unknown): boolean =>
  [400, 409, 410].includes((error as RelayRefusal).status) && (error as Error).message !== "NOT_YET_VALID";

/** Somebody's mailbox, in which messages can be left. */
export class Contact {
  readonly #sender: Sender;
  readonly #inTurn = inTurn();
  /** Messages that this page has seen waiting, by content id. */
  readonly #waiting = new Map<string, { settled: Promise<Outcome>; settle: (outcome: Outcome) => void }>();

  /** @internal */
  constructor(
    sender: Sender,
    /** Of the mailbox: 64 characters. */
    readonly address: string,
    /** The key of its owner, in base64: what messages from there are `from`. */
    readonly owner: string,
  ) {
    this.#sender = sender;
  }

  /** @internal Takes an invite. One to a mailbox that is known is another way to it. */
  static async add(sender: Sender, { address, owner, seed, relays }: Invite): Promise<Contact> {
    const keys = [await slotKeyOf(seed), await slotKeyOf(crypto.getRandomValues(new Uint8Array(32)))];
    await sender.store.update(storedAs(address), (value) => {
      const state = value as ContactState | undefined;
      if (state?.slots.some(({ publicKey }) => publicKey === keys[0]?.publicKey)) return undefined;
      const slots = keys.map((key): Slot => ({ ...key, next: 1 }));
      return {
        owner,
        relays,
        card: state?.card,
        cardAt: 0,
        slots: [...(state?.slots ?? []), ...slots].slice(-SLOTS_MAX),
        isListed: false,
        sent: state?.sent ?? [],
      } satisfies ContactState;
    });
    return new Contact(sender, address, owner);
  }

  /** @internal One that was added before, by this page or another. */
  static async load(sender: Sender, address: string): Promise<Contact> {
    const { owner } = (await sender.store.update(storedAs(address), () => undefined)) as ContactState;
    return new Contact(sender, address, owner);
  }

  /**
   * Leaves a message, text or bytes: about 130,000 at most.
   *
   * @returns Settles when the message is stored here and relays were asked to take it in, whether they have or not. Rejects
   *   where there is nothing to send, with an error whose message is a code: `TOO_LARGE`, `TOO_MANY` (32 messages
   *   wait), `NO_SEALING_KEY` (no relay gives one that is good), `STORE_FAILED`.
   */
  async send(
    data: string | Uint8Array,
    { lifetimeMs = DEPOSIT_MAX_LIFETIME_MS }: SendOptions = {},
  ): Promise<Receipt> {
    if (!(lifetimeMs >= DEPOSIT_MIN_LIFETIME_MS && lifetimeMs <= DEPOSIT_MAX_LIFETIME_MS))
      throw new TypeError("lifetimeMs: an hour to 7 days");
    // A copy: what is signed must not change meanwhile.
    const content = typeof data === "string" ? utf8(data) : concat(data);
    return this.#inTurn(async () => {
      await this.#askForCard();
      const contentId = await this.#add(content, Math.floor(lifetimeMs));
      await this.#deposit(contentId);
      return this.#receiptOf((await this.#read()).sent.find((sent) => sent.contentId === contentId) as Sent);
    });
  }

  /** Gives what is known of the messages that wait, and of the last 32, the oldest first. */
  async receipts(): Promise<Receipt[]> {
    return (await this.#read()).sent.map((sent) => this.#receiptOf(sent));
  }

  /** Asks what became of what waits, and brings it to relays that do not have it. Rejects with `STORE_FAILED`. */
  refresh(): Promise<void> {
    return this.#inTurn(async () => {
      if (!(await this.#read()).sent.some(isWaiting)) return;
      await this.#askForCard();
      await this.#askForAcks();
      await this.#deposit();
    });
  }

  #read(): Promise<ContactState> {
    return this.#update(() => undefined);
  }

  async #update(change: (state: ContactState) => ContactState | undefined): Promise<ContactState> {
    const { store } = this.#sender;
    const state = (await store.update(storedAs(this.address), (value) => change(value as ContactState))) as ContactState;
    for (const sent of state.sent) {
      const found = this.#waiting.get(sent.contentId);
      if (isWaiting(sent) && !found) {
        let settle!: (outcome: Outcome) => void;
        const settled = new Promise<Outcome>((resolve) => (settle = resolve));
        this.#waiting.set(sent.contentId, { settled, settle });
      }
      // Another page may have found that out.
      if (isWaiting(sent) || !found) continue;
      this.#waiting.delete(sent.contentId);
      const outcome = this.#receiptOf(sent);
      found.settle(outcome);
      this.#sender.tell(this, outcome);
    }
    return state;
  }

  #receiptOf({ slot, sequence, body, ...outcome }: Sent): Receipt {
    return { ...outcome, settled: this.#waiting.get(outcome.contentId)?.settled ?? Promise.resolve(outcome) };
  }

  /** Changes messages that wait, and forgets old ones that do not any more. */
  #updateSent(change: (sent: Sent) => Partial<Sent>): Promise<ContactState> {
    return this.#update((state) => {
      const sent = state.sent.map((each) => {
        const next = isWaiting(each) ? { ...each, ...change(each) } : each;
        return isWaiting(next) ? next : { ...next, body: undefined };
      });
      return { ...state, sent: sent.filter((each, at) => isWaiting(each) || at >= sent.length - TOLD_MAX) };
    });
  }

  /** Asks for a newer card, if the newest is old. An older one than that is never taken again. */
  async #askForCard(): Promise<void> {
    const { host, verify } = this.#sender;
    const now = host.now();
    const state = await this.#read();
    if (state.card && Math.abs(now - state.cardAt) < CARD_MAX_AGE_MS) return;
    await atEach(state.relays, async (origin) => {
      const { card } = await this.#sender.relay(origin).ask("GET", this.address, "");
      const record = readRecord(CARD, card);
      await verifyRecord(CARD, record, { verify, now });
      const { payload: newest } = record;
      demand(newest.mailbox === this.address && (newest.relays as string[])[0]);
      await this.#update((state) => {
        const isOlder = (newest.revision as number) < ((state.card?.revision ?? 0) as number);
        return isOlder ? undefined : { ...state, card: newest, relays: newest.relays as string[], cardAt: now };
      });
    });
  }

  /** Seals, signs and stores a message. @returns Its content id. */
  async #add(content: Bytes, lifetimeMs: number): Promise<string> {
    const { host, owner } = this.#sender;
    const { address } = this;
    for (;;) {
      const state = await this.#read();
      const waiting = state.sent.filter(isWaiting);
      demand(waiting.length < WAITING_MAX && JSON.stringify(waiting).length < WAITING_MAX_LENGTH, "TOO_MANY");
      const { card } = state;
      const now = host.now();
      const isUsable = (key: JsonObject): boolean =>
        key.get("suite") === SUITE && (key.get("expiresAt") as number) > now && (card?.expiresAt as number) > now;
      const key = (card?.sealing as JsonObject[] | undefined)?.find(isUsable);
      demand(key, "NO_SEALING_KEY");
      const [invite, own] = lastOf(state);
      // The receipts over the invite are gone as soon as something comes over the other.
      const isOwn = state.isListed && !waiting.some(({ slot }) => slot === invite.publicKey);
      const signing = isOwn ? own : invite;
      const { publicKey: slot, next: sequence } = signing;
      const issuedAt = now - DATED_BACK_MS;
      const expiresAt = issuedAt + lifetimeMs;
      const introduces = isOwn ? undefined : own.publicKey;
      const place = { address, slot, sequence, expiresAt };
      const sealed = await seal({ introduces, content }, place, owner, readKey(key.get("key")) as Bytes);
      const contentId = await contentIdOf(sealed);
      const fields = { contentId, expiresAt, issuedAt, mailbox: address, sequence, size: sealed.length };
      const deposit = await signRecord("deposit", fields, signerOf(signing));
      const body = canonical(jsonOf({ deposit, sealed: longBase64(sealed) }));
      const sent: Sent = {
        ...{ contentId, slot, sequence, expiresAt, body },
        ...{ state: "waiting", relays: [], reason: undefined },
      };
      const { sent: stored } = await this.#update((state) => {
        const isNext = (each: Slot): boolean => each.publicKey === slot && each.next === sequence;
        // Another page may have taken that number meanwhile.
        if (!state.slots.some(isNext)) return undefined;
        const slots = state.slots.map((each) => (isNext(each) ? { ...each, next: sequence + 1 } : each));
        return { ...state, slots, sent: [...state.sent, sent] };
      });
      if (stored.some((each) => each.contentId === contentId)) return contentId;
    }
  }

  /** Brings what waits, or one message of it, to as many relays as are to have it. */
  async #deposit(only?: string): Promise<void> {
    const { sent } = await this.#read();
    await Promise.all(
      sent.map(async (each) => {
        if (!isWaiting(each) || (only !== undefined && each.contentId !== only)) return;
        const { relays } = await this.#read();
        const left = relays.filter((origin) => !each.relays.includes(origin));
        const taken = [...each.relays];
        let reason = each.reason;
        let final = 0;
        const bring = async (origin: string): Promise<void> => {
          const said = await this.#sender.relay(origin).ask("POST", this.address, "/messages", each.body);
          // By nobody's word but the recipient's it was read. One that has ended there may lie elsewhere.
          if (said.acknowledged) await this.#takeAck(said.ack, each.slot);
          else if (!said.ended) taken.push(origin);
        };
        const onFailure = (error: unknown): void => {
          reason = reasonOf(error);
          final += +isFinal(error);
        };
        const most = Math.min(COPIES, relays.length);
        while (left.length && taken.length < most) await atEach(left.splice(0, most - taken.length), bring, onFailure);
        const isRefused = !taken[0] && final > 0 && final === relays.length;
        await this.#updateSent(({ contentId }) =>
          contentId === each.contentId ? { relays: taken, reason, ...(isRefused && { state: "refused" }) } : {},
        );
      }),
    );
  }

  /** Asks every relay for the recipient's receipts, and ends what has ended without one. */
  async #askForAcks(): Promise<void> {
    const { address } = this;
    const state = await this.#read();
    const [, own] = lastOf(state);
    const asked = state.slots.filter(
      (slot) =>
        state.sent.some((each) => isWaiting(each) && each.slot === slot.publicKey) || (slot === own && !state.isListed),
    );
    for (const slot of asked) {
      await atEach(state.relays, async (origin) => {
        const said = await this.#sender.relay(origin).askSigned("slot", { mailbox: address }, signerOf(slot));
        // Whoever lists it has read the introduction, or lies: what is sent over it then waits.
        if (slot === own) await this.#update((state) => (state.isListed ? undefined : { ...state, isListed: true }));
        if (said.ack) await this.#takeAck(said.ack, slot.publicKey);
      });
    }
    const now = this.#sender.host.now();
    await this.#updateSent(({ expiresAt, relays }) =>
      expiresAt > now ? {} : { state: relays[0] ? "ended" : "refused" },
    );
  }

  /** Takes what a relay says is the recipient's receipt. @throws Refusal for what is not. */
  async #takeAck(value: Json | undefined, slot: string): Promise<void> {
    const { host, verify } = this.#sender;
    const record = readRecord(ACK, value);
    const { mailbox, slot: acknowledged, through, missing, at } = record.payload as unknown as AckPayload;
    const state = await this.#read();
    const { card } = state;
    const readers = card && (card.expiresAt as number) > host.now() ? (card.readers as string[]) : [];
    demand([state.owner, ...readers].includes(record.publicKey), "NOT_A_READER");
    const next = state.slots.find(({ publicKey }) => publicKey === slot)?.next ?? 0;
    // Of numbers that were never given, nobody can have anything.
    demand(mailbox === this.address && acknowledged === slot && through < next);
    await verifyRecord(ACK, record, { verify, now: host.now() });
    await this.#updateSent((sent) => {
      const isCovered = sent.slot === slot && sent.sequence <= through && !missing.includes(sent.sequence);
      // Numbers are given up when their messages have ended, and are then covered too.
      return isCovered ? { state: at < sent.expiresAt - RECEIPT_MARGIN_MS ? "read" : "ended" } : {};
    });
  }
}
