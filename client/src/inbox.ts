// The recipient's side: a mailbox of this browser's own, at the relays that its card lists. Who may write to it, what has
// come, and what is acknowledged.
//
// A message is acknowledged when the page has dealt with it and that is stored, never before: so one may be handed over
// twice, where a page ends in between, and none is lost. What no slot of this mailbox has signed is nobody's message.

import { type Bytes, base64, readUtf8 } from "./bytes.js";
import { DATED_BACK_MS, type Sender } from "./contact.js";
import { type KemKeyPair, newKemKeyPair } from "./hpke.js";
import { slotKeyOf, writeInvite } from "./invite.js";
import { type Json, type JsonObject, canonical, jsonOf } from "./json.js";
import { NOTHING_RECEIVED, type Received, hasReceived, receive } from "./received.js";
import { type Reason, reasonOf } from "./reason.js";
import {
  CONTACTS_MAX,
  CONTACT_LIMIT_MAX,
  DAY_MS,
  DEPOSIT_MAX_LIFETIME_MS,
  INVITES_MAX,
  INVITE_LIMIT_MAX,
  RECORD_MAX_LIFETIME_MS,
  SEALING_KEY_MAX_LIFETIME_MS,
  readMessage,
  signRecord,
  verifySignature,
} from "./record.js";
import { atEach, newNonce } from "./relay.js";
import { SUITE, unseal } from "./sealed.js";
import { Refusal, demand, isTime } from "./ticket.js";

const MINUTE_MS = 60_000;
/** When a new sealing key takes the place of the last: early enough for a page that is opened once in two weeks. */
const RENEWED_AFTER_MS = 15 * DAY_MS;
/** Something sealed to a key, or written over an invite, may come so long after the end of that. */
const LATE_MS = DEPOSIT_MAX_LIFETIME_MS + DAY_MS;
/** As many as a relay remembers of those that were struck off: then it takes no policy that strikes off another. */
const KNOWN_MAX = 4_096;
const COLLECT_MAX_MESSAGES = 100;
/** Sealed bytes in one answer, so that it is no longer than what is read of one. */
const COLLECTED_MAX_BYTES = 512 * 1024;
/** Answers of one relay that are worked through before others have their turn. */
const ROUNDS_MAX = 16;
/** Acknowledgements in one request. */
const ACKS_MAX = 64;

/** A message that somebody has left. */
export interface Message {
  /** The owner key of the sender's mailbox, in base64: the sender has signed the message with it. */
  readonly from: string;
  readonly bytes: Uint8Array;
  /** The same as text; undefined where the bytes are not UTF-8. */
  readonly text: string | undefined;
  /** Base64 of the SHA-256 of the sealed bytes: the same for sender and recipient. */
  readonly contentId: string;
  /** When it came to a relay, by the relay's word and to the minute, in milliseconds since the Unix epoch. */
  readonly receivedAt: number;
}

/** Why a message is not handed over. */
export interface Unread {
  readonly contentId: string;
  readonly reason: Reason;
  /** What `handle` has thrown, or why it cannot be read. */
  readonly error: unknown;
}

interface SealingKey extends KemKeyPair {
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

/** A slot key that may write. */
interface Listed extends Received {
  /** Base64. */
  readonly key: string;
  readonly limit: number;
  /** Of an invite, when it ends; undefined of a contact. */
  readonly expiresAt?: number;
  /** Of a contact, the invite over which it came. */
  readonly invite?: string;
  /** Who writes, once something has come: nobody else may. */
  readonly from?: string;
  /** The deposit with the highest number that has come. */
  readonly last?: JsonObject;
}

interface InboxState {
  /** Of the card and policy that were signed last; 0 before the first. */
  readonly revision: number;
  readonly card?: JsonObject;
  readonly policy?: JsonObject;
  /** When the next sealing key is due, in milliseconds since the Unix epoch. */
  readonly renewAt: number;
  /** The newest first. */
  readonly sealing: readonly SealingKey[];
  readonly slots: readonly Listed[];
  /** Slot keys that are listed, or were: none is listed again. */
  readonly known: readonly string[];
  /** By origin: the revision that the relay has. */
  readonly published: Readonly<Record<string, number>>;
  /** Base64 of 16 bytes: the same for all pages, which take turns. */
  readonly collector: string;
}

/** A message whose signature, size and content id are good. */
interface Deposited {
  readonly sealed: Bytes;
  readonly slot: string;
  readonly contentId: string;
  readonly sequence: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** The relay's word. */
  readonly receivedAt: number;
  readonly deposit: JsonObject;
}

/** The owner's side of a mailbox. */
export class Inbox {
  readonly #sender: Sender;
  /** By origin: why a relay did not do what it was asked. */
  readonly #reasons = new Map<string, Reason>();

  constructor(
    sender: Sender,
    readonly address: string,
    readonly relays: readonly string[],
  ) {
    this.#sender = sender;
  }

  status(): ReadonlyMap<string, Reason> {
    return new Map(this.#reasons);
  }

  /**
   * Opens the mailbox where it is not open, lists a new slot, and gives the text by which somebody may write.
   *
   * @throws Refusal: why the last of the relays did not take it, if none did; `TOO_MANY`.
   */
  async invite(lifetimeMs: number): Promise<string> {
    const { owner, host } = this.#sender;
    this.#reasons.clear();
    const seed = crypto.getRandomValues(new Uint8Array(32));
    const { publicKey: key } = await slotKeyOf(seed);
    await this.#renew();
    await this.#revise((state) => {
      demand(state.slots.filter(({ expiresAt }) => expiresAt).length < INVITES_MAX, "TOO_MANY");
      const listed = { ...NOTHING_RECEIVED, key, limit: INVITE_LIMIT_MAX, expiresAt: host.now() + lifetimeMs };
      return { ...state, slots: [...state.slots, listed] };
    });
    const { revision, published } = await this.#publish();
    demand(Object.values(published).includes(revision), [...this.#reasons.values()][0]);
    return writeInvite({ address: this.address, owner: base64(owner.publicKey), seed, relays: this.relays });
  }

  /** Takes everybody off the list who has written as `from`: relays take in nothing more of them. */
  async block(from: string): Promise<void> {
    await this.#revise((state) => ({ ...state, slots: state.slots.filter((slot) => slot.from !== from) }));
    await this.#publish();
  }

  /**
   * Hands over all that waits at the relays, one after the other, and acknowledges each that was dealt with.
   *
   * @param handle Gets each message. One for which it throws, or rejects, is handed over again by a later call.
   * @param onUnread Gets those that nobody can read, or that were not dealt with. They stay until their lives are over.
   * @returns How many were dealt with.
   * @throws Refusal `STORE_FAILED`.
   */
  async collect(
    handle: (message: Message) => unknown,
    onUnread: (unread: Unread) => void,
  ): Promise<number> {
    this.#reasons.clear();
    if (!(await this.#read()).revision) return 0;
    await this.#renew();
    await this.#publish();
    let count = 0;
    const tried = new Set<string>();
    for (let round = 0, isMore = true; isMore && round < ROUNDS_MAX; round++) {
      const found = new Map<string, Deposited>();
      isMore = false;
      await this.#askAll(async (origin) => {
        // What is left there is leased to the name by which it was collected: by another one, what is behind it comes.
        const [deposits, more] = await this.#ask(origin, round ? newNonce() : undefined);
        // Of each slot: else whoever saw a message pass could keep it out by leaving the same bytes.
        for (const each of deposits) found.set(each.slot + each.contentId, each);
        // A relay that says so for ever has as many rounds as the others.
        isMore ||= more;
      });
      const acknowledged = new Set<string>();
      const ordered = [...found].sort(([, a], [, b]) => a.issuedAt - b.issuedAt || a.sequence - b.sequence);
      for (const [name, deposited] of ordered) {
        const slot = (await this.#read()).slots.find(({ key }) => key === deposited.slot);
        // Struck off since, or nobody whom this mailbox knows.
        if (!slot) continue;
        try {
          if (!hasReceived(slot, deposited.sequence)) {
            if (tried.has(name)) continue;
            tried.add(name);
            await this.#take(deposited, slot, handle);
            count++;
          }
          acknowledged.add(slot.key);
        } catch (error) {
          const reason = error instanceof Refusal ? error.message : "HANDLER_FAILED";
          if (reason === "STORE_FAILED") throw error;
          onUnread({ contentId: deposited.contentId, reason, error });
        }
      }
      await this.#acknowledge(acknowledged);
    }
    return count;
  }

  /** Opens a message, hands it over, and stores that it has come. */
  async #take(deposited: Deposited, slot: Listed, handle: (message: Message) => unknown): Promise<void> {
    const { verify, host } = this.#sender;
    const { sealed, contentId, sequence, receivedAt, deposit } = deposited;
    const place = { ...deposited, address: this.address };
    const { from, introduces, content } = await unseal(sealed, place, (await this.#read()).sealing, verify);
    demand((slot.from ?? from) === from, "ANOTHER_PEER");
    let text: string | undefined;
    try {
      text = readUtf8(content);
    } catch {
      // Bytes.
    }
    await handle({
      ...{ from, bytes: content, text },
      ...{ contentId, receivedAt },
    });
    await this.#update((state) => ({
      ...state,
      slots: state.slots.map((each) => {
        if (each.key !== slot.key) return each;
        const received = receive(each, sequence, each.limit, host.now());
        return { ...each, ...received, from, ...(received.through > each.through && { last: deposit }) };
      }),
    }));
    await this.#revise((state) => {
      // Blocked by `handle`: what was struck off is never listed again.
      if (!state.slots.some(({ key }) => key === slot.key)) return state;
      const contacts = state.slots.filter(({ expiresAt }) => expiresAt === undefined);
      // Over an invite comes one contact, and no relay takes a key twice, or one that was struck off.
      const isKnown = state.known.includes(introduces as string) || contacts.some(({ invite }) => invite === slot.key);
      if (introduces !== undefined && slot.expiresAt !== undefined && !isKnown && contacts.length < CONTACTS_MAX) {
        const listed = { ...NOTHING_RECEIVED, key: introduces, limit: CONTACT_LIMIT_MAX, invite: slot.key, from };
        return { ...state, slots: [...state.slots, listed] };
      }
      // Whoever writes over a slot of its own has had all receipts over the invite.
      const isUsedUp = ({ key }: Listed): boolean => key === slot.invite;
      return state.slots.some(isUsedUp) ? { ...state, slots: state.slots.filter((each) => !isUsedUp(each)) } : state;
    });
    await this.#publish();
  }

  /** What a relay hands over, as far as it is what slots of this mailbox have signed. */
  async #ask(origin: string, collector: string | undefined): Promise<[deposits: Deposited[], isMore: boolean]> {
    const { owner, verify } = this.#sender;
    const state = await this.#read();
    const fields = {
      ...{ collector: collector ?? state.collector, mailbox: this.address },
      ...{ limit: COLLECT_MAX_MESSAGES, maxBytes: COLLECTED_MAX_BYTES },
    };
    const asked = this.#sender.relay(origin).askSigned("collect", fields, owner);
    const { messages, more, policyRevision } = await asked.catch(async (error) => {
      // Perhaps it has lost the mailbox, and gets it again next time.
      await this.#setPublished(origin, 0);
      throw error;
    });
    demand(Array.isArray(messages) && messages.length <= COLLECT_MAX_MESSAGES);
    if (policyRevision !== state.revision) await this.#setPublished(origin, 0);
    const deposits = messages.map(async (message) => {
      const { record, sealed } = await readMessage(message);
      const { payload, publicKey: slot, value: deposit } = record;
      demand(payload.mailbox === this.address && state.slots.some(({ key }) => key === slot));
      // However old it is: that it lives is the relay's concern.
      await verifySignature(record, verify);
      const receivedAt = (message as JsonObject).get("receivedAt");
      demand(isTime(receivedAt));
      return { ...(payload as unknown as Deposited), sealed, slot, deposit, receivedAt };
    });
    const good = (await Promise.allSettled(deposits)).flatMap((each) => (each.status === "fulfilled" ? each.value : []));
    return [good, more === true && messages.length > 0];
  }

  /** Tells every relay what has come of these slots. One that does not hear of it hands it over again. */
  async #acknowledge(keys: ReadonlySet<string>): Promise<void> {
    const { owner, host } = this.#sender;
    const now = host.now();
    const at = now - (now % MINUTE_MS);
    const { slots } = await this.#read();
    const acks: JsonObject[] = [];
    for (const { key, through, missing, last } of slots) {
      if (!keys.has(key) || last === undefined) continue;
      const fields = { at, mailbox: this.address, missing: missing.map(([each]) => each), slot: key, through };
      acks.push(jsonOf({ ack: await signRecord("ack", fields, owner), of: last }));
    }
    while (acks.length) {
      const body = canonical(jsonOf({ acks: acks.splice(0, ACKS_MAX) }));
      await this.#askAll((origin) => this.#sender.relay(origin).ask("POST", this.address, "/acks", body));
    }
  }

  /** Makes a new sealing key and new records, where they are due, and forgets what nothing can come for any more. */
  async #renew(): Promise<void> {
    const { host } = this.#sender;
    const now = host.now();
    const { renewAt } = await this.#read();
    if (renewAt > now && renewAt <= now + RENEWED_AFTER_MS) return;
    const pair = await newKemKeyPair();
    await this.#revise((state) => {
      // Another page was faster.
      if (state.renewAt !== renewAt) return state;
      const isLive = ({ expiresAt = Infinity }: { expiresAt?: number }): boolean => expiresAt + LATE_MS > now;
      return {
        ...state,
        renewAt: now + RENEWED_AFTER_MS,
        sealing: [
          { ...pair, expiresAt: now - DATED_BACK_MS + SEALING_KEY_MAX_LIFETIME_MS },
          ...state.sealing.filter(isLive),
        ],
        slots: state.slots.filter(isLive),
      };
    });
  }

  /** Changes who may write, or the keys, and signs card and policy anew. */
  async #revise(change: (state: InboxState) => InboxState): Promise<void> {
    const { owner, host } = this.#sender;
    for (;;) {
      const before = await this.#read();
      const after = change(before);
      if (after === before) return;
      const known = [...new Set([...before.known, ...after.slots.map(({ key }) => key)])].slice(-KNOWN_MAX);
      const issuedAt = host.now() - DATED_BACK_MS;
      // Above those of before storage was lost, too.
      const revision = Math.max(before.revision + 1, host.now());
      const common = { expiresAt: issuedAt + RECORD_MAX_LIFETIME_MS, issuedAt, mailbox: this.address, revision };
      const [newest] = after.sealing as [SealingKey];
      const sealing = jsonOf({ expiresAt: newest.expiresAt, key: base64(newest.publicKey), suite: SUITE });
      const requests = jsonOf({ difficulty: 0, open: false });
      const relays = [...this.relays];
      const listed = (isInvite: boolean): Json[] =>
        after.slots
          .filter(({ expiresAt }) => (expiresAt !== undefined) === isInvite)
          .map(({ key, limit, expiresAt }) => jsonOf({ key, limit, expiresAt: expiresAt as number }));
      const card = await signRecord("card", { ...common, readers: [], relays, requests, sealing: [sealing] }, owner);
      const policy = await signRecord("policy", { ...common, contacts: listed(false), invites: listed(true) }, owner);
      const stored = await this.#update((state) =>
        // Another page may have been faster. What has come meanwhile changes nothing of what was signed.
        state.revision === before.revision ? { ...change(state), known, revision, card, policy } : undefined,
      );
      if (stored.card === card) return;
    }
  }

  /** Brings card and policy to the relays that do not have the newest. */
  async #publish(): Promise<InboxState> {
    await this.#askAll(async (origin) => {
      const { revision, card, policy, published } = await this.#read();
      if (published[origin] === revision) return;
      const body = canonical(jsonOf({ card, policy }));
      await this.#sender.relay(origin).ask("PUT", this.address, "", body);
      await this.#setPublished(origin, revision);
    });
    return this.#read();
  }

  async #setPublished(origin: string, revision: number): Promise<void> {
    await this.#update((state) => ({ ...state, published: { ...state.published, [origin]: revision } }));
  }

  /** Does the same at every relay, and notes why one has not. */
  #askAll(work: (origin: string) => Promise<unknown>): Promise<void> {
    return atEach(this.relays, work, (error, origin) => this.#reasons.set(origin, reasonOf(error)));
  }

  #read(): Promise<InboxState> {
    return this.#update(() => undefined);
  }

  async #update(change: (state: InboxState) => InboxState | undefined): Promise<InboxState> {
    const first: InboxState = { revision: 0, renewAt: 0, sealing: [], slots: [], known: [], published: {}, collector: newNonce() };
    const stored = await this.#sender.store.update(`mailbox ${this.address}`, (value) => {
      const state = value as InboxState | undefined;
      return change(state ?? first) ?? (state ? undefined : first);
    });
    return stored as InboxState;
  }
}
