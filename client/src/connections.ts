// Connections to present peers, made by signals: who calls whom, which of two calls that cross stands, who may come in,
// and what proves that the right peer is at the other end. What WebRTC does is an Endpoint's, which this module does not
// know.
//
// An attempt ends open and confirmed, or not at all. Whoever is called decides before an endpoint is made, so that a
// stranger learns no address; strangers have four attempts under way and wait in turns of the sources that listed them,
// so that one source that makes peers up cannot keep those of another out.

import { type Bytes, base64 } from "./bytes.js";
import type { Identity } from "./identity.js";
import { type Json, canonical } from "./json.js";
import type { SignalCarrier } from "./live.js";
import type { Peer, PeerList } from "./peers.js";
import { type Reason, isCode, reasonOf } from "./reason.js";
import type { Rendezvous } from "./rendezvous.js";
import {
  CANDIDATES_MAX,
  type Claim,
  SeenSignals,
  type Signal,
  type SignalKind,
  confirmationBytes,
  digestOf,
  readCandidates,
  readDescription,
  readSignal,
  signalBytes,
  verifySignal,
  writeSignal,
} from "./signal.js";
import { Refusal, type TicketRules, count, demand } from "./ticket.js";

export interface ConnectionsOptions<Channel> {
  /** Gets each connection, dialled or accepted, once it is open and confirmed; one that it replaces is closed. */
  onConnection?: (connection: Connection<Channel>) => void;
  /**
   * Whether a peer that calls may come in, before any address of this machine's is gathered for it. Its ticket is
   * verified, and its signal signed with the ticket's key. Default: everybody whose ticket is good, which with
   * `trustedKeys` are those.
   */
  accept?: (peer: Peer) => boolean | Promise<boolean>;
  /**
   * Live peers are dialled, as they are found, while fewer than this many that were dialled are open, or may soon be.
   * Default 0: nobody is dialled but by `connect`.
   */
  limit?: number;
  /** No more are accepted while this many that were accepted are open, or may soon be. Default 32. */
  inboundLimit?: number;
  /** STUN and TURN servers, or `"beacon"`: those that the beacons name. Default none. */
  iceServers?: readonly RTCIceServer[] | "beacon";
  /** Whether connections go through TURN servers alone, so that peers do not see each other's addresses. Default false. */
  relayOnly?: boolean;
  /** How long a connection may take to open, in milliseconds. Default 15,000. */
  timeoutMs?: number;
}

/** A connection that is open, to a peer that has proved its key. */
export interface Connection<Channel> extends Claim {
  readonly channel: Channel;
  /** Whether it was the peer that called. */
  readonly inbound: boolean;
}

export interface ConnectionsStatus {
  /** How many are on their way. */
  readonly pending: number;
  /** How many signals were refused, by reason. */
  readonly refusedSignals: Record<string, number>;
  /** How many connections, dialled or accepted, came to nothing, by reason. */
  readonly failures: Record<string, number>;
}

/** Why a connection was not made. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  /** What `explain` puts into words. */
  readonly reason: Reason;

  constructor(reason: Reason) {
    super(reason);
    this.reason = reason;
  }
}

/** What an {@link Endpoint} tells. */
export interface EndpointEvents {
  /** More ways to reach it, after its description. */
  onCandidates(candidates: string[]): void;
  onOpen(): void;
  /** The first message of the other side. */
  onConfirmation(data: unknown): void;
  onClose(): void;
}

/** How an {@link Endpoint} is made. */
export interface EndpointOptions {
  readonly peer: Claim;
  readonly iceServers: readonly RTCIceServer[];
  readonly relayOnly: boolean;
}

/** One end of a connection. */
export interface Endpoint<Channel> {
  /** Gives this end's description, an offer, or the answer to one. */
  describe(offer?: string): Promise<string>;
  /** Takes the answer to its offer. */
  take(answer: string): Promise<void>;
  /** Never rejects. Those that come before the other's description wait for it. */
  addCandidates(candidates: string[]): void;
  /** Sends the first message. */
  confirm(text: string): void;
  /** Hands the channel over, and after that what has come on it behind the first message. */
  release(): Channel;
  close(): void;
}

/** How long a description waits for all its candidates, in milliseconds. */
export const GATHERING_MS = 1_000;
/** What may come behind the first message before an application listens, and what each message counts beside its own bytes. */
const HELD_MAX_BYTES = 1_048_576;
const HELD_MESSAGE_BYTES = 256;

/** What comes on a channel before an application has it: the other's confirmation, and some messages behind it. */
export class Inbox<Data extends string | { readonly byteLength: number }> {
  readonly held: Data[] = [];
  readonly #onConfirmation: (data: Data) => void;
  readonly #onOverflow: () => void;
  #isConfirmed = false;
  #bytes = 0;

  constructor(onConfirmation: (data: Data) => void, onOverflow: () => void) {
    this.#onConfirmation = onConfirmation;
    this.#onOverflow = onOverflow;
  }

  take(data: Data): void {
    if (!this.#isConfirmed) {
      this.#isConfirmed = true;
      return this.#onConfirmation(data);
    }
    this.#bytes += HELD_MESSAGE_BYTES + (typeof data === "string" ? data.length : data.byteLength);
    this.held.push(data);
    if (this.#bytes > HELD_MAX_BYTES) this.#onOverflow();
  }
}

export type CreateEndpoint<Channel> = (events: EndpointEvents, options: EndpointOptions) => Endpoint<Channel>;

interface Session {
  readonly community: string;
  readonly own: Claim;
  readonly identity: Identity;
  readonly rules: TicketRules;
}

/** An offer that was verified. */
interface Offer {
  readonly digest: string;
  readonly sdp: string;
  readonly at: number;
  readonly peer: Peer;
  /** How many candidates are in it. */
  readonly candidates: number;
  /** Those that came after it, while it was not looked at. */
  readonly late: string[];
}

/** A connection on its way. */
interface Attempt<Channel> extends Claim {
  /** Whether the offer is the peer's. */
  inbound: boolean;
  /** Whether this page has asked for it. */
  isAsked: boolean;
  /** Why the last signal has not been delivered yet. */
  obstacle?: Reason;
  endpoint?: Endpoint<Channel>;
  /** The digests of both signals, as they become known. */
  offer?: string;
  answer?: string;
  /** How many the peer has given. */
  candidates: number;
  /** The peer's offer: one that is not accepted yet, or that had to give way to this page's own. */
  theirs?: Offer;
  readonly timer: ReturnType<typeof setTimeout>;
  readonly promise: Promise<Channel>;
  readonly resolve: (channel: Channel) => void;
  readonly reject: (error: ConnectionError) => void;
}

/**
 * How long a signal waits before it is sent again, in milliseconds: until this page, or a peer that has just announced, is
 * bound; and while a peer is sent, or this one sends, too much.
 */
const PASSING: Readonly<Record<string, number>> = { NOT_BOUND: 250, PEER_ABSENT: 1_000, PEER_BUSY: 3_000, TOO_FAST: 3_000 };
/** How often a peer may be absent that may still come: one without a connection never does. */
const ABSENCES_MAX = 2;
/** Those on their way that were asked for, from which on nobody is dialled without a word: beacons take ten offers at once. */
const DIALLED_MAX = 8;
/** Strangers whose connections are on their way. */
const PENDING_MAX = 4;
/** Strangers who wait for that. */
const WAITING_MAX = 16;
/** ICE servers that are taken of a beacon, and URLs of each. */
const ICE_SERVERS_MAX = 4;
/** What every browser takes: for one URL that it does not take it refuses them all. STUN servers are asked for nothing. */
const ICE_URL =
  /^(?:stun|(turn))s?:(?:\w[\w.-]{0,252}|\[[\da-fA-F:.]{2,45}\])(?::([1-9]\d{0,4}))?(\?transport=(?:udp|tcp))?$/;
/** Signals that wait to be verified. */
const UNREAD_MAX = 64;

const nameOf = ({ peerId, publicKey }: Claim): string => `${peerId}:${publicKey}`;

/** The order of keys is that of their bytes, which their base64 does not have; claims of one key are in that of their names. */
const orderOf = ({ peerId, publicKey }: Claim): string => atob(publicKey) + peerId;

export class Connections<Channel> {
  readonly #rendezvous: Rendezvous;
  readonly #carrier: SignalCarrier;
  readonly #options: ConnectionsOptions<Channel>;
  readonly #createEndpoint: CreateEndpoint<Channel>;
  readonly #timeoutMs: number;
  /** By claim. One that is open may have an attempt beside it that is to replace it. */
  readonly #open = new Map<string, Connection<Channel> & { readonly endpoint: Endpoint<Channel> }>();
  readonly #attempts = new Map<string, Attempt<Channel>>();
  /** By claim: offers that have not been looked at, in the order in which they came. */
  readonly #waiting = new Map<string, Offer>();
  /** Peers that were dialled as they were found, and have not been handed out since. */
  readonly #tried = new Set<string>();
  /** By source: when a peer of it was last looked at, in turns. */
  readonly #turns = new Map<string, number>();
  #turn = 0;
  readonly #seen = new SeenSignals();
  readonly #refused: Record<string, number> = {};
  readonly #failures: Record<string, number> = {};
  #unread = 0;
  #read: Promise<void> = Promise.resolve();
  readonly #detach: (() => void)[];
  #isStopped = false;

  constructor(
    rendezvous: Rendezvous,
    carrier: SignalCarrier,
    options: ConnectionsOptions<Channel>,
    createEndpoint: CreateEndpoint<Channel>,
  ) {
    const { timeoutMs = 15_000 } = options;
    this.#rendezvous = rendezvous;
    this.#carrier = carrier;
    this.#options = options;
    this.#createEndpoint = createEndpoint;
    this.#timeoutMs = timeoutMs;
    const found = ({ detail }: CustomEvent<PeerList>): void => {
      for (const { peerId } of detail.live) this.#tried.delete(peerId);
      this.#dial();
    };
    rendezvous.addEventListener("peers", found);
    this.#detach = [
      carrier.onSignal((text) => this.#hear(text)),
      rendezvous.subscribe(() => this.#review()),
      () => rendezvous.removeEventListener("peers", found),
    ];
    this.#dial();
  }

  /** Those that are open and confirmed. */
  get open(): Connection<Channel>[] {
    return [...this.#open.values()].map(({ endpoint: _, ...connection }) => connection);
  }

  /** What became of all others, since the beginning. */
  status(): ConnectionsStatus {
    return { pending: this.#attempts.size, refusedSignals: { ...this.#refused }, failures: { ...this.#failures } };
  }

  /**
   * Connects to a peer: to whoever has this very key under this `peerId`. A connection that is open, or on its way from
   * either side, is that connection.
   *
   * @returns Its channel, open, once the peer has proved its key on it. Rejects with a {@link ConnectionError}.
   */
  async connect({ peerId, publicKey }: Claim): Promise<Channel> {
    const claim = { peerId, publicKey };
    const name = nameOf(claim);
    const open = this.#open.get(name);
    if (open) return open.channel;
    const refusal = this.#refusalOf(publicKey);
    if (refusal) throw new ConnectionError(refusal);
    let attempt = this.#attempts.get(name);
    if (!attempt) {
      const offer = this.#waiting.get(name);
      this.#waiting.delete(name);
      attempt = this.#begin(claim, !!offer);
      if (offer) this.#answer(attempt, offer);
      else void this.#describe(attempt);
    }
    if (!attempt.isAsked) this.#rendezvous.dialling(peerId);
    attempt.isAsked = true;
    return attempt.promise;
  }

  /** Who this page is, and whom it believes; undefined while the client, or this, does not run. */
  get #session(): Session | undefined {
    const { profile: { community, peerId }, run } = this.#rendezvous.inside;
    const { identity, rules } = run ?? {};
    if (this.#isStopped || !identity || !rules) return undefined;
    return { community, own: { peerId, publicKey: base64(identity.publicKey) }, identity, rules };
  }

  /** @throws Refusal `NOT_RUNNING`. */
  get #running(): Session {
    const session = this.#session;
    demand(session, "NOT_RUNNING");
    return session;
  }

  /** Dials whom `rendezvous` has found, best first, while there is room. */
  #dial(): void {
    const { limit = 0 } = this.#options;
    const attempts = [...this.#attempts.values()];
    const open = [...this.#open.values()];
    const held = new Set([...attempts, ...open].map(({ peerId }) => peerId));
    const asked = attempts.filter(({ isAsked }) => isAsked).length;
    let room = Math.min(DIALLED_MAX, limit - open.filter(({ inbound }) => !inbound).length) - asked;
    for (const peer of this.#session ? this.#rendezvous.peers().live : []) {
      if (room <= 0) return;
      if (this.#tried.has(peer.peerId) || held.has(peer.peerId)) continue;
      this.#tried.add(peer.peerId);
      room--;
      // Why one did not come about is in `status()`.
      this.connect(peer).catch(() => {});
    }
  }

  /** Closes every connection, and takes no more. */
  stop(): void {
    this.#isStopped = true;
    for (const detach of this.#detach) detach();
    this.#closeAll();
  }

  #closeAll(): void {
    this.#waiting.clear();
    for (const attempt of [...this.#attempts.values()]) this.#fail(attempt, "NOT_RUNNING");
    for (const { endpoint } of [...this.#open.values()]) endpoint.close();
  }

  /** Something has changed: whoever may not be here any more goes. */
  #review(): void {
    if (!this.#session) return this.#closeAll();
    for (const attempt of [...this.#attempts.values()]) {
      const refusal = this.#refusalOf(attempt.publicKey);
      if (refusal) this.#fail(attempt, refusal);
    }
    for (const { publicKey, endpoint } of [...this.#open.values()]) if (this.#refusalOf(publicKey)) endpoint.close();
  }

  /** Why nobody of this key may be connected; undefined if they may. */
  #refusalOf(publicKey: string): Reason | undefined {
    const session = this.#session;
    if (!session) return "NOT_RUNNING";
    const { isRevoked, trustedKeys } = session.rules;
    if (isRevoked(publicKey)) return "REVOKED_PUBLIC_KEY";
    return trustedKeys?.has(publicKey) ?? true ? undefined : "UNTRUSTED_PUBLIC_KEY";
  }

  #begin(claim: Claim, inbound: boolean): Attempt<Channel> {
    let resolve!: (channel: Channel) => void;
    let reject!: (error: ConnectionError) => void;
    const promise = new Promise<Channel>((...settle) => ([resolve, reject] = settle));
    // Nobody waits for those of others.
    promise.catch(() => {});
    const expire = (): void => this.#fail(attempt, attempt.obstacle ?? "TIMEOUT");
    const timer = setTimeout(expire, this.#timeoutMs);
    const attempt: Attempt<Channel> = { ...claim, inbound, isAsked: false, candidates: 0, timer, promise, resolve, reject };
    this.#attempts.set(nameOf(claim), attempt);
    return attempt;
  }

  #isCurrent(attempt: Attempt<Channel>, endpoint = attempt.endpoint): boolean {
    return this.#attempts.get(nameOf(attempt)) === attempt && attempt.endpoint === endpoint;
  }

  #fail(attempt: Attempt<Channel>, reason: Reason): void {
    if (!this.#isCurrent(attempt)) return;
    clearTimeout(attempt.timer);
    this.#attempts.delete(nameOf(attempt));
    count(this.#failures, reason);
    attempt.endpoint?.close();
    attempt.reject(new ConnectionError(reason));
    // That this page has sent too much says nothing of the peer.
    if (reason === "TOO_FAST") this.#tried.delete(attempt.peerId);
    // What was not asked for says nothing: anybody may call.
    else if (attempt.isAsked && !this.#open.has(nameOf(attempt))) this.#rendezvous.failed(attempt.peerId);
    this.#goOn();
  }

  async #iceServers(): Promise<readonly RTCIceServer[]> {
    const { iceServers = [] } = this.#options;
    return iceServers === "beacon" ? readIceServers(await this.#carrier.iceServers()) : iceServers;
  }

  #createEndpointFor(attempt: Attempt<Channel>, iceServers: readonly RTCIceServer[]): Endpoint<Channel> {
    const { relayOnly = false } = this.#options;
    const given = attempt.endpoint;
    delete attempt.endpoint;
    given?.close();
    let setConfirmed!: (confirming: Promise<void>) => void;
    const confirmed = new Promise<void>((resolve) => (setConfirmed = resolve));
    const endpoint: Endpoint<Channel> = this.#createEndpoint(
      {
        onCandidates: (candidates) => {
          if (!this.#isCurrent(attempt, endpoint)) return;
          // One that is lost leaves those in the description.
          this.#send(attempt, "candidate", candidates.join("\n")).catch(() => {});
        },
        onOpen: () => setConfirmed(this.#confirm(attempt, endpoint)),
        onConfirmation: (data) => void this.#conclude(attempt, endpoint, confirmed, data),
        onClose: () => this.#closed(attempt, endpoint),
      },
      { iceServers, relayOnly, peer: attempt },
    );
    return (attempt.endpoint = endpoint);
  }

  /** @returns Once the peer's connection has it. The digest of the signed bytes is known before. */
  async #send(
    attempt: Attempt<Channel>,
    kind: SignalKind,
    data: string,
    tell: (digest: string) => void = () => {},
  ): Promise<void> {
    const { community, own } = this.#running;
    const at = this.#rendezvous.inside.now();
    // As long as it may be.
    const id = crypto.randomUUID().slice(4);
    const re = kind === "offer" ? undefined : attempt.offer;
    const fields = { id, kind, re, to: attempt.peerId, toKey: attempt.publicKey, from: own.peerId, fromKey: own.publicKey, at, data };
    const bytes = signalBytes(community, fields);
    tell(await digestOf(bytes));
    // Whoever has not heard of this peer yet hears of it now; whoever has can do without.
    const ticket = kind === "candidate" ? undefined : await this.#rendezvous.ticket().catch(() => undefined);
    const signature = await this.#sign(bytes);
    await this.#carry(attempt, id, writeSignal({ ...fields, signature, ticket }));
  }

  /** Tries again what may pass, as long as the attempt lasts: a signal that comes twice is good once. */
  async #carry(attempt: Attempt<Channel>, id: string, text: string): Promise<void> {
    const { endpoint } = attempt;
    for (let absences = 0; ; ) {
      try {
        delete attempt.obstacle;
        return await this.#carrier.sendSignal(id, text);
      } catch (error) {
        const code = codeOf(error);
        const waitMs = PASSING[code];
        if (!waitMs || (code === "PEER_ABSENT" && ++absences > ABSENCES_MAX)) throw error;
        attempt.obstacle = code;
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        if (!this.#isCurrent(attempt, endpoint)) throw error;
      }
    }
  }

  async #sign(bytes: Bytes): Promise<string> {
    const { identity } = this.#running;
    try {
      return base64(await identity.sign(bytes));
    } catch {
      throw new Refusal("SIGN_FAILED");
    }
  }

  #answer(attempt: Attempt<Channel>, offer: Offer): void {
    attempt.inbound = true;
    attempt.offer = offer.digest;
    attempt.candidates = offer.candidates + offer.late.length;
    delete attempt.answer;
    delete attempt.theirs;
    void this.#describe(attempt, offer);
  }

  /** Sends an answer to an offer, or this page's own offer. */
  async #describe(attempt: Attempt<Channel>, offer?: Offer): Promise<void> {
    const kind = offer ? "answer" : "offer";
    let endpoint: Endpoint<Channel> | undefined;
    try {
      const iceServers = await this.#iceServers();
      // It may have given way to another offer meanwhile.
      if (!this.#isCurrent(attempt) || attempt.offer !== offer?.digest) return;
      endpoint = this.#createEndpointFor(attempt, iceServers);
      endpoint.addCandidates(offer?.late ?? []);
      const description = await endpoint.describe(offer?.sdp);
      if (!this.#isCurrent(attempt, endpoint)) return;
      await this.#send(attempt, kind, description, (digest) => this.#isCurrent(attempt, endpoint) && (attempt[kind] = digest));
    } catch (error) {
      // Answered meanwhile, an offer has come by another way; or the peer's own stands in for it.
      if (!this.#isCurrent(attempt, endpoint) || (!offer && attempt.answer !== undefined)) return;
      if (attempt.theirs) this.#answer(attempt, attempt.theirs);
      else this.#fail(attempt, codeOf(error));
    }
  }

  /** One after the other: a candidate must not overtake its offer. */
  #hear(text: string): void {
    if (this.#unread >= UNREAD_MAX) return count(this.#refused, "TOO_FAST");
    this.#unread++;
    this.#read = this.#read.then(async () => {
      try {
        await this.#take(text);
      } catch (error) {
        count(this.#refused, codeOf(error));
      }
      this.#unread--;
    });
  }

  async #take(text: string): Promise<void> {
    const signal = readSignal(text);
    const { community, own, rules } = this.#running;
    const bytes = await verifySignal(signal, {
      community,
      own,
      verify: rules.verify,
      isPresent: (claim) => !!this.#peerOf(claim),
      addTicket: (ticket) => this.#rendezvous.add(ticket),
      now: this.#rendezvous.inside.now,
      seen: this.#seen,
    });
    const claim = { peerId: signal.from, publicKey: signal.fromKey };
    if (signal.kind === "offer") return this.#takeOffer(own, claim, signal, await digestOf(bytes));
    const attempt = this.#attempts.get(nameOf(claim));
    const isOfAttempt = attempt?.endpoint && attempt.offer === signal.re;
    if (signal.kind === "candidate") {
      const candidates = readCandidates(signal.data);
      const offer = [attempt?.theirs, this.#waiting.get(nameOf(claim))].find((offer) => offer?.digest === signal.re);
      demand(isOfAttempt || offer, "UNSOLICITED");
      const known = isOfAttempt ? attempt.candidates : (offer?.candidates ?? 0) + (offer?.late.length ?? 0);
      demand(known + candidates.length <= CANDIDATES_MAX, "DESCRIPTION_INVALID");
      if (!isOfAttempt) return void offer?.late.push(...candidates);
      attempt.candidates += candidates.length;
      return attempt.endpoint?.addCandidates(candidates);
    }
    demand(isOfAttempt && !attempt.inbound && attempt.answer === undefined, "UNSOLICITED");
    const { sdp, candidates } = readDescription(signal.data);
    attempt.candidates += candidates.length;
    const { endpoint } = attempt;
    attempt.answer = await digestOf(bytes);
    endpoint?.take(sdp).catch(() => this.#isCurrent(attempt, endpoint) && this.#fail(attempt, "DESCRIPTION_INVALID"));
  }

  /** A live peer of this very claim. */
  #peerOf({ peerId, publicKey }: Claim): Peer | undefined {
    const peer = this.#rendezvous.peers().live.find((live) => live.peerId === peerId);
    if (peer?.publicKey === publicKey) return peer;
    if (!peer?.otherKeys.includes(publicKey)) return undefined;
    // Of the other keys no more is handed out: what the ticket of one says is not what that of another says.
    const otherKeys = [peer.publicKey, ...peer.otherKeys.filter((key) => key !== publicKey)].sort();
    return { ...peer, publicKey, otherKeys, userId: peerId, data: undefined };
  }

  #takeOffer(own: Claim, claim: Claim, { data, at }: Signal, digest: string): void {
    const { sdp, candidates } = readDescription(data);
    const peer = this.#peerOf(claim);
    demand(peer, "NOT_LISTED");
    const offer: Offer = { digest, sdp, at, peer, candidates: candidates.length, late: [] };
    const name = nameOf(claim);
    const attempt = this.#attempts.get(name);
    if (attempt && (attempt.isAsked || attempt.offer)) {
      // Of two offers that cross, that of the smaller claim stands. A peer that calls again has given its last one up.
      if (attempt.inbound || orderOf(own) > orderOf(claim)) this.#answer(attempt, offer);
      else attempt.theirs = offer;
      return;
    }
    // Whether it may come in is being asked already.
    if (attempt) {
      attempt.theirs = offer;
      return;
    }
    this.#waiting.delete(name);
    this.#waiting.set(name, offer);
    if (this.#waiting.size > WAITING_MAX) this.#dropWaiting();
    this.#admit();
  }

  /** The newest of the source that has most of those who wait goes. */
  #dropWaiting(): void {
    const offers = [...this.#waiting.values()].reverse();
    const shareOf = ({ peer }: Offer): number => offers.filter((offer) => offer.peer.source === peer.source).length;
    const [last] = offers.sort((one, other) => shareOf(other) - shareOf(one));
    if (last) this.#waiting.delete(nameOf(last.peer));
    count(this.#refused, "TOO_FAST");
  }

  /** Something has ended: there may be room for others. */
  #goOn(): void {
    this.#admit();
    this.#dial();
  }

  /** Looks at those who wait while there is room, in turns of their sources. */
  #admit(): void {
    const { inboundLimit = 32 } = this.#options;
    const strangers = (): number => [...this.#attempts.values()].filter(({ isAsked }) => !isAsked).length;
    const accepted = (): number => [...this.#open.values()].filter(({ inbound }) => inbound).length;
    while (this.#waiting.size > 0 && strangers() < PENDING_MAX && strangers() + accepted() < inboundLimit) {
      const lastTurnOf = ({ peer }: Offer): number => this.#turns.get(peer.source) ?? 0;
      const [next] = [...this.#waiting.values()].sort((one, other) => lastTurnOf(one) - lastTurnOf(other));
      if (!next) return;
      const { peer, at } = next;
      this.#waiting.delete(nameOf(peer));
      // Whoever called has given up by now.
      if (Math.abs(at - (this.#rendezvous.inside.now())) > this.#timeoutMs) continue;
      this.#turns.set(peer.source, ++this.#turn);
      void this.#consider(this.#begin(peer, true), next);
    }
  }

  /** Nothing is told to those who are refused. */
  async #consider(attempt: Attempt<Channel>, offer: Offer): Promise<void> {
    attempt.theirs = offer;
    const { accept = () => true } = this.#options;
    let isAccepted = false;
    try {
      isAccepted = await accept(offer.peer);
    } catch {
      // It has not said yes.
    }
    // This page may have called meanwhile.
    if (!this.#isCurrent(attempt) || attempt.offer) return;
    if (isAccepted || attempt.isAsked) this.#answer(attempt, attempt.theirs ?? offer);
    else this.#fail(attempt, "REFUSED");
  }

  async #confirm(attempt: Attempt<Channel>, endpoint: Endpoint<Channel>): Promise<void> {
    try {
      const text = await this.#sign(this.#confirmation(attempt, true));
      if (this.#isCurrent(attempt, endpoint)) endpoint.confirm(text);
    } catch (error) {
      if (this.#isCurrent(attempt, endpoint)) this.#fail(attempt, codeOf(error));
    }
  }

  #confirmation({ publicKey, offer = "", answer = "" }: Attempt<Channel>, isOwn: boolean): Bytes {
    const { community, own } = this.#running;
    const [key, peerKey] = isOwn ? [own.publicKey, publicKey] : [publicKey, own.publicKey];
    return confirmationBytes(community, { offer, answer, key, peerKey });
  }

  /** @param confirmed Settles when this page's own confirmation is sent: whoever gets the channel may send at once. */
  async #conclude(
    attempt: Attempt<Channel>,
    endpoint: Endpoint<Channel>,
    confirmed: Promise<void>,
    data: unknown,
  ): Promise<void> {
    await confirmed;
    const session = this.#session;
    if (!session || !this.#isCurrent(attempt, endpoint)) return;
    const { peerId, publicKey, inbound, isAsked } = attempt;
    const isRight = await session.rules.verify(publicKey, data, this.#confirmation(attempt, false));
    if (!this.#isCurrent(attempt, endpoint)) return;
    if (!isRight) return this.#fail(attempt, "CONFIRMATION_INVALID");
    const name = nameOf(attempt);
    clearTimeout(attempt.timer);
    this.#attempts.delete(name);
    const replaced = this.#open.get(name);
    const connection = { peerId, publicKey, channel: endpoint.release(), inbound: inbound && !isAsked };
    this.#open.set(name, { ...connection, endpoint });
    replaced?.endpoint.close();
    this.#rendezvous.connected(peerId, publicKey, { inbound: connection.inbound });
    attempt.resolve(connection.channel);
    this.#admit();
    this.#options.onConnection?.(connection);
  }

  #closed(attempt: Attempt<Channel>, endpoint: Endpoint<Channel>): void {
    if (this.#isCurrent(attempt, endpoint)) return this.#fail(attempt, "CONNECTION_FAILED");
    const name = nameOf(attempt);
    if (this.#open.get(name)?.endpoint !== endpoint) return;
    this.#open.delete(name);
    if (![...this.#open.values()].some(({ peerId }) => peerId === attempt.peerId)) {
      this.#rendezvous.failed(attempt.peerId);
    }
    this.#goOn();
  }
}

/** ICE servers as beacons name them, a few of each, as far as they can be read: what is wrong costs itself. */
function readIceServers(named: unknown[]): RTCIceServer[] {
  return named.flatMap((value) => {
    const servers: unknown = JSON.parse(canonical((value as Json) ?? null));
    return (Array.isArray(servers) ? servers.slice(0, ICE_SERVERS_MAX) : []).flatMap((server) => {
      const { urls, username, credential } = Object(server);
      const list = [urls].flat();
      const isGiven = [username, credential].every((text) => /^"[ -~]{1,500}"$/.test(JSON.stringify(text)));
      const isGood = (url: string): boolean => {
        const [isUrl, isTurn, port = 1, transport] = ICE_URL.exec(url) ?? [];
        return !!isUrl && +port <= 65_535 && (isTurn ? isGiven : !transport);
      };
      if (!list[0] || list.length > ICE_SERVERS_MAX || !list.every(isGood)) return [];
      return [{ urls, ...(isGiven && { username, credential }) }];
    });
  });
}

/** A code of a beacon's or this library's; of anything else, that WebRTC did not do what it should. */
function codeOf(error: unknown): Reason {
  const code = reasonOf(error);
  const { message } = error as Error;
  return code !== "NETWORK" ? code : isCode(message) ? message : "CONNECTION_FAILED";
}

