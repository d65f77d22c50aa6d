// Keeps this peer announced and a list of verified peers: asks every source when it is due, believes none, and goes on
// through the loss of any of them.
//
// What to decide, and when, is in the modules beside it, which have no I/O; here it is done. Everything waits for one timer.
// What an application, a browser's storage or a network may never settle is waited for within a limit, or until `stop()`.

import { Announcement, type CurrentTicket } from "./announcement.js";
import { ANSWER_MAX_BYTES, type Answer, readAnswer } from "./answer.js";
import { base64 } from "./bytes.js";
import {
  CAPSULE_MAX_BYTES,
  CAPSULE_TICKET_MAX_LIFETIME_MS,
  type Place,
  type Publishers,
  type Trust,
  readCapsule,
} from "./capsule.js";
import { Clock, TOLERANCE_MS, aheadOf } from "./clock.js";
import type { Inside } from "./connection.js";
import { strict } from "./ed25519.js";
import { type Cancel, type Host, type Lock, defaultHost } from "./host.js";
import { type Identity, loadIdentity } from "./identity.js";
import { type Json, readJson } from "./json.js";
import { type RendezvousOptions, type Settings, readOptions, readProfile } from "./options.js";
import { CACHE, HANDED, LIST_MAX_AGE_MS, type PeerChanges, type PeerList, Peers, type StoredPeer, changesBetween } from "./peers.js";
import { type Reason, reasonOf } from "./reason.js";
import { type Memory, readMemory } from "./revocation.js";
import { type Reply, abortable, request } from "./request.js";
import { untilNext } from "./schedule.js";
import { Source, type SourceStatus } from "./source.js";
import type { Store } from "./store.js";
import {
  type Profile,
  Refusal,
  type Ticket,
  type TicketRules,
  TICKET_MAX_LIFETIME_MS,
  type Tickets,
  dropDuplicates,
  parseTicket,
  verifyTicket,
  verifyTickets,
} from "./ticket.js";

/** What `status()` says. Times are milliseconds. Nothing of it is sent anywhere. */
export interface RendezvousStatus {
  /** Between `start()` and `stop()`. */
  readonly running: boolean;
  /** Whether a beacon lists this peer, as far as is known. */
  readonly announced: boolean;
  /** Whether another page of this browser announces the same peerId; this one takes over when that one goes. */
  readonly waiting: boolean;
  /** What is added to this machine's clock, because most beacons, two at least, say that it is wrong. */
  readonly clockOffsetMs: number;
  /** From `start()` to the first peer handed out; undefined until then. */
  readonly timeToFirstPeerMs: number | undefined;
  /** Peers by outcome: handed out; reported as connected; failed without having been connected; lost after it. */
  readonly outcomes: {
    readonly offered: number;
    readonly connected: number;
    readonly failed: number;
    readonly lost: number;
  };
  /** Beacons, then capsules, as in the options. */
  readonly sources: SourceStatus[];
}

/** The events of {@link Rendezvous}. */
export interface RendezvousEvents {
  /** Peers to connect to: those not handed out before, come back to life, or announced again since they failed. */
  peers: CustomEvent<PeerList>;
  /** A source was asked: `status()` has changed. */
  status: Event;
  /** `peers()` or `status()` gives another object than before. Once for all that has changed at once. */
  change: CustomEvent<PeerChanges>;
}

type Listener<Event> = ((event: Event) => void) | { handleEvent(event: Event): void } | null;

export interface Rendezvous {
  addEventListener<Name extends keyof RendezvousEvents>(
    type: Name,
    listener: Listener<RendezvousEvents[Name]>,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof RendezvousEvents>(
    type: Name,
    listener: Listener<RendezvousEvents[Name]>,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** How long a goodbye may take, and whatever else is to be done before everything has stopped. */
const FAREWELL_MS = 3_000;
/** What a clock that was wrong explains. */
const UNTIMELY = /^(NOT_YET_VALID|EXPIRED|STALE_TICKET)$/;
/** Characters of a ticket that is handed over. The longest there is takes less than half, in its normal form. */
const TICKET_MAX_LENGTH = 4_096;
/** Once when the beacon has told its time, and once when another one has agreed with it. */
const MOST_REPEATS = 2;

/** A claim, as a beacon is told to leave it out. */
const claimOf = ({ peerId, publicKey }: Pick<Ticket, "peerId" | "publicKey">): string => `${peerId}:${publicKey}`;

/** What a source had. */
interface Found extends Tickets {
  /** What was refused, although there may be a list. */
  code?: Reason | undefined;
  failed?: boolean;
  retryAfterMs?: number | undefined;
  /** See {@link Peers.merge}. */
  goneAfterMs?: number | undefined;
  /** Of a capsule, from its `issuedAt` to its `expiresAt`. */
  lifeMs?: number;
}

/** What there is between start and stop. */
interface Run {
  readonly stop: AbortController;
  readonly startedAt: number;
  started: Promise<void>;
  identity?: Identity;
  rules?: TicketRules;
  /** While the page is there. */
  presence?: AbortController | undefined;
  lock?: Lock | undefined;
  /** Whether another page would take over. */
  heir?: boolean;
  cancel?: Cancel | undefined;
  /** The last write; those before are done when it is. */
  saving?: Promise<unknown> | undefined;
}

/**
 * Keeps this browser announced, and a list of verified peers.
 *
 * Events: see {@link RendezvousEvents}.
 */
export class Rendezvous extends EventTarget {
  readonly #settings: Settings;
  /** Tickets of another object are not announced any more. */
  #profile: Profile;
  readonly #host: Host;
  readonly #sources: Source[];
  readonly #peers: Peers;
  readonly #clock = new Clock();
  readonly #announcement: Announcement;
  #run: Run | undefined;
  #store: Store | undefined;
  /** The same for as long as the page lives, whatever becomes of the storage. */
  #identity: Identity | undefined;
  #stopped: Promise<void> = Promise.resolve();
  /** Held until the beacons know that this peer has left, or until it is back. */
  #lastLock: Lock | undefined;
  /** This peer's {@link claimOf}. */
  #own!: string;
  #timeToFirstPeerMs: number | undefined;
  #status: RendezvousStatus | undefined;
  /** What listeners to `change` know. */
  #told: { peers: PeerList; status?: RendezvousStatus };
  #isTelling = false;
  /** What was last stored, by {@link Peers.changes}. */
  #saved = 0;

  /** @throws TypeError that names the option that is wrong. */
  constructor(options: RendezvousOptions);
  /** @internal */
  constructor(options: RendezvousOptions, host: Host);
  constructor(options: RendezvousOptions, host: Host = defaultHost()) {
    super();
    this.#profile = readProfile(options);
    this.#settings = readOptions(options);
    this.#host = host;
    const { sources } = this.#settings;
    this.#sources = sources.map(({ url, trust }) => new Source(url, trust));
    this.#peers = new Peers(this.#profile.peerId, (key) => this.#isRevoked("ticketKeys", key), host.random);
    this.#announcement = this.#newAnnouncement();
    this.#told = { peers: this.peers() };
  }

  /**
   * Hands out the peers of the last visit, then asks every source. While it runs, further calls change nothing.
   *
   * @param options `signal` stops it, as {@link stop} does.
   * @returns Settles when the sources are being asked; it does not wait for their answers. Rejects with a
   *   {@link RendezvousError}, or the reason of the signal. A rejection that nobody waits for is not reported.
   */
  start({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    if (this.#run) return this.#run.started;
    const run = { stop: new AbortController(), startedAt: this.#host.elapsed() } as Run;
    this.#run = run;
    signal?.addEventListener("abort", () => void this.stop(), { signal: run.stop.signal });
    run.started = this.#open(run, signal).catch((error: unknown) => {
      if (this.#run === run) this.#run = undefined;
      run.stop.abort();
      this.#tell();
      throw error;
    });
    run.started.catch(() => {});
    this.#tell();
    return run.started;
  }

  /**
   * Says goodbye to the beacons and ends all requests and timers at once.
   *
   * @returns Settles when the beacons know, or after 3 seconds. Never rejects.
   */
  stop(): Promise<void> {
    const run = this.#run;
    if (run) {
      this.#run = undefined;
      run.stop.abort();
      this.#stopped = this.#sayGoodbye(run);
      this.#tell();
    }
    return this.#stopped;
  }

  /**
   * Changes what this peer says of itself. Beacons hear of it as soon as they take another ticket, 45 seconds after the one
   * before: of several changes in that time, the last.
   *
   * @param changes What is not in it stays as it is; what is undefined is as if it had never been given.
   * @throws TypeError that names what is wrong. Then nothing changes.
   */
  update(changes: Pick<RendezvousOptions, "userId" | "data">): void {
    const { community, peerId } = this.#profile;
    const profile = readProfile({ ...this.#profile, ...changes, community, peerId });
    if (JSON.stringify(profile) === JSON.stringify(this.#profile)) return;
    this.#profile = profile;
    for (const { schedule } of this.#sources) schedule.changed(this.#host.elapsed());
    if (this.#run) this.#step(this.#run);
  }

  /**
   * Reports that this page is dialling a peer, which settles the order of the next ones: sources take turns. Without it
   * that is settled when {@link connected} or {@link failed} reports what became of it, too late where many are dialled at
   * once.
   */
  dialling(peerId: string): void {
    this.#peers.dialling(peerId);
    this.#tell();
  }

  /**
   * Reports that a connection to a peer is open. The key that it speaks for keeps the `peerId` on this browser whenever it
   * has a live ticket, also on later visits.
   *
   * @param publicKey The key, in base64, that the peer has proved to have, if the page takes it for the right one. Without
   *   it a connection that this page dialled speaks for the key handed out while no other claims the `peerId`, and for
   *   none if it is contested; one that the peer dialled speaks for none.
   * @param how `inbound`: whether the peer has dialled. Such connections are not counted for `minActivePeers`: anybody can
   *   open as many as they like. Default: whether the peer was neither dialled nor handed out.
   */
  connected(peerId: string, publicKey?: string, { inbound }: { inbound?: boolean } = {}): void {
    this.#peers.connected(peerId, this.#now(), publicKey, inbound);
    this.#keep();
  }

  /** Reports that a peer could not be connected to, or that its connection is closed. */
  failed(peerId: string): void {
    this.#peers.failed(peerId, this.#now());
    this.#keep();
    if (this.#run && this.#isShort()) this.#hurry();
  }

  /** This peer's public key in base64; undefined until it is loaded, which `start()` does. */
  get publicKey(): string | undefined {
    return this.#peers.ownKey;
  }

  /** Whether only certain keys are believed. */
  get hasTrustedKeys(): boolean {
    return !!this.#settings.trustedKeys;
  }

  /**
   * Gives a ticket of this peer's, for somebody to whom it is connected or whom it dials, who can `add` it.
   *
   * @returns Its JSON; undefined while the client does not run. Rejects with what the application's signer throws, with
   *   `TIMEOUT` if that takes longer than half of `timeoutMs`, or with an `AbortError` if the client is stopped meanwhile.
   */
  async ticket(): Promise<string | undefined> {
    const run = this.#run;
    await run?.started;
    if (!run?.identity) return undefined;
    const made = this.#announcement.ticketFor(this.#profile, undefined, this.#now(), run.identity);
    return (await this.#within(made, run.stop.signal)).json;
  }

  /**
   * Takes a ticket that somebody has handed over, if it is as good as one of a beacon's. It says that its peer is there, and
   * not that whoever handed it over is that peer: tickets are public.
   *
   * @returns Why it was refused; undefined if it was taken. Never rejects.
   */
  async add(ticket: unknown): Promise<Reason | undefined> {
    const run = this.#run;
    await run?.started.catch(() => {});
    if (!run?.rules) return "NOT_RUNNING";
    let value: Json = null;
    try {
      if (typeof ticket === "string" && ticket.length <= TICKET_MAX_LENGTH) value = readJson(ticket);
    } catch {
      // No JSON is not a ticket.
    }
    const found = await this.#take([value], HANDED).catch(() => undefined);
    if (run.stop.signal.aborted) return "NOT_RUNNING";
    return found ? (Object.keys(found.refused)[0] as Reason | undefined) : "TIMEOUT";
  }

  /** Takes tickets that nobody was asked for. Rejects, and takes none, if it is stopped meanwhile, or that takes too long. */
  readonly #take: Inside["take"] = async (values, source, goneAfterMs) => {
    const run = this.#run as Run;
    const verified = verifyTickets(values, run.rules as TicketRules, this.#now());
    const found = await this.#within(verified, run.stop.signal);
    this.#merge(run, found, source, goneAfterMs);
    return found;
  };

  #merge(run: Run, found: Tickets, source: string, goneAfterMs?: number): void {
    this.#peers.merge(found, source, this.#now(), goneAfterMs);
    this.#offer(run);
    this.#keep();
  }

  /** @internal What `rendezvous-beacon/live` works on. */
  get inside(): Inside {
    return {
      sources: this.#sources,
      peers: this.#peers,
      host: this.#host,
      run: this.#run,
      profile: this.#profile,
      take: this.#take,
      now: this.#now,
    };
  }

  /** All peers that are known now, best first. The same object until something has changed. Needs no `this`. */
  readonly peers = (): PeerList => this.#peers.all(this.#now());

  /**
   * Calls `onChange` whenever `peers()` or `status()` gives another object, as the event `change` does. Needs no `this`.
   *
   * @returns Ends that.
   */
  readonly subscribe = (onChange: () => void): (() => void) => {
    const listener = () => onChange();
    this.addEventListener("change", listener);
    return () => this.removeEventListener("change", listener);
  };

  /** The same object until something has changed. Needs no `this`. */
  readonly status = (): RendezvousStatus => {
    const sources = this.#sources.map((source) => source.status(this.#nowAt(source)));
    const status: RendezvousStatus = {
      running: !!this.#run,
      announced: sources.some(({ announced }) => announced),
      waiting: !!this.#run?.presence && !this.#run.lock,
      clockOffsetMs: this.#clock.offsetMs,
      timeToFirstPeerMs: this.#timeToFirstPeerMs,
      outcomes: { ...this.#peers.outcomes },
      sources,
    };
    if (JSON.stringify(status) !== JSON.stringify(this.#status)) this.#status = status;
    return this.#status as RendezvousStatus;
  };

  /** Says what has changed, once for all that changes at once. */
  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    queueMicrotask(() => {
      this.#isTelling = false;
      const before = this.#told;
      this.#told = { peers: this.peers(), status: this.status() };
      if (before.peers === this.#told.peers && before.status === this.#told.status) return;
      this.dispatchEvent(new CustomEvent("change", { detail: changesBetween(before.peers, this.#told.peers) }));
    });
  }

  /** The community's time. */
  readonly #now = (): number => this.#nowAt({});

  /** The time by which tickets for a beacon are dated. */
  #nowAt({ aheadMs }: Partial<Source>): number {
    return Math.round(this.#host.now() + this.#clock.offsetFor(aheadMs));
  }

  #newAnnouncement(): Announcement {
    return new Announcement(this.#settings.ticketLifetimeMs);
  }

  /** One for all beacons, but for those whose clocks need tickets of their own. */
  #announcementFor(source: Source): Announcement {
    const isShared = this.#clock.offsetFor(source.aheadMs) === this.#clock.offsetMs;
    return isShared ? this.#announcement : (source.announcement ??= this.#newAnnouncement());
  }

  #isShort(): boolean {
    return this.#peers.dialled < this.#settings.minActivePeers;
  }

  async #open(run: Run, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    this.#lastLock?.release();
    const stopped = run.stop.signal;
    await abortable(this.#prepare(run), stopped).catch((error: unknown) => {
      // To have been stopped is not an error, unless by the signal.
      if (!stopped.aborted) throw error;
    });
    if (!stopped.aborted) {
      this.#host.listen(
        {
          online: () => this.#wake(run),
          offline: () => this.#sources.forEach(({ schedule }) => schedule.pause(this.#host.elapsed())),
          pagehide: () => this.#leave(run),
          pageshow: () => this.#enter(run),
        },
        stopped,
      );
      this.#offer(run);
      this.#enter(run);
    }
    signal?.throwIfAborted();
  }

  /** Brings back who this browser is, and what it knows. */
  async #prepare(run: Run): Promise<void> {
    const store = (this.#store ??= await this.#host.openStore());
    const identity = (this.#identity ??= await loadIdentity(this.#settings.identity, store, this.#host.subtle));
    if (run.stop.signal.aborted) return;
    run.identity = identity;
    const { community, peerId } = this.#profile;
    const publicKey = (this.#peers.ownKey = base64(identity.publicKey));
    this.#own = claimOf({ peerId, publicKey });
    const rules = (run.rules = {
      community,
      trustedKeys: this.#settings.trustedKeys,
      verify: strict(identity.verify),
      isKnown: (ticket: Ticket) => this.#peers.has(ticket),
      isRevoked: this.#peers.isRevoked,
      maxLifetimeMs: TICKET_MAX_LIFETIME_MS,
    });
    await Promise.all(this.#sources.map((source) => source.trust && this.#remember(store, source)));
    // Those of the last visit are not worth waiting for: the sources may have better ones.
    await this.#within(this.#recall(store, rules, run.stop.signal), run.stop.signal).catch(() => {});
  }

  /** The page is there: it asks for lists, and announces as soon as it has the lock. */
  #enter(run: Run): void {
    if (run.presence || run.stop.signal.aborted) return;
    const presence = (run.presence = new AbortController());
    this.#clock.reset();
    for (const { schedule } of this.#sources) schedule.begin(this.#host.elapsed());
    const { community, peerId } = this.#profile;
    this.#host.lock(`rendezvous-beacon:${community}:${peerId}`, presence.signal).then(
      (lock) => {
        if (presence.signal.aborted) return lock.release();
        run.lock = lock;
        this.#wake(run);
      },
      () => {},
    );
    this.#step(run);
  }

  /** The page goes, at once. It may come back. */
  #leave(run: Run): void {
    if (!run.presence) return;
    void this.#sayGoodbye(run);
    run.lock?.release();
    run.lock = undefined;
  }

  #end(run: Run): void {
    run.presence?.abort();
    run.presence = undefined;
    run.cancel?.();
    for (const source of this.#sources) {
      source.visit?.abort();
      source.accepted = source.sent = undefined;
    }
    // The next ticket has to be newer than the goodbye: those that there are have had their time.
    this.#profile = { ...this.#profile };
    this.#tell();
  }

  async #sayGoodbye(run: Run): Promise<void> {
    const lock = (this.#lastLock = run.lock);
    const abort = new AbortController();
    const limited = (promise: Promise<unknown>) => this.#within(promise, abort.signal, FAREWELL_MS);
    // Nobody is told if another page takes over.
    const told = this.#sources.filter(
      (source) => lock && !run.heir && (source.sent?.expiresAt as number) > this.#nowAt(source),
    );
    const sent = told.map((source) => {
      // The newest: the beacon may have got more than it has answered.
      const last = source.sent as CurrentTicket;
      const { current = last } = this.#announcementFor(source);
      const { farewell } = current.issuedAt < last.issuedAt ? last : current;
      // Outlives the page. A string needs no preflight, for which there would be no time; `sendBeacon` would take cookies
      // and the page along.
      const init: RequestInit = { method: "POST", body: `{"ticket":${farewell}}`, keepalive: true };
      const goodbye = this.#request(this.#url(source, "leave"), abort.signal, init);
      return (source.goodbye = limited(goodbye).catch(() => {}));
    });
    this.#end(run);
    await Promise.allSettled([...sent, limited(Promise.resolve(run.saving))]);
    abort.abort();
    lock?.release();
  }

  #url(source: Source, path: string): string {
    return `${source.url}/${path}?community=${this.#profile.community}`;
  }

  #request(url: string, signal: AbortSignal, init?: RequestInit, maxBytes = ANSWER_MAX_BYTES): Promise<Reply> {
    return request(this.#host.fetch, url, signal, maxBytes, init);
  }

  /** The network, the page, the lock or the right time is back. */
  #wake(run: Run): void {
    if (!run.presence) return;
    for (const { schedule } of this.#sources) schedule.renew();
    this.#hurry();
  }

  #hurry(): void {
    for (const { schedule } of this.#sources) schedule.hurry(this.#host.elapsed());
    if (this.#run) this.#step(this.#run);
  }

  /** Asks every source that is due, and sets the timer for the next. Calling it early or twice does no harm. */
  #step(run: Run): void {
    if (!run.presence) return;
    const elapsed = this.#host.elapsed();
    if (this.#clock.look(this.#host.now(), elapsed)) {
      this.#clock.reset();
      return this.#wake(run);
    }
    this.#offer(run);
    // Whoever was offered something may have stopped it.
    const { presence } = run;
    if (!presence) return;
    run.lock?.hasHeir().then(
      (heir) => (run.heir = heir),
      () => {},
    );
    this.#tell();
    let next = Infinity;
    for (const source of this.#sources) {
      if (!source.visit && source.schedule.dueAt <= elapsed) void this.#visit(run, presence, source);
      if (!source.visit) next = Math.min(next, source.schedule.dueAt);
    }
    const now = this.#now();
    run.cancel?.();
    run.cancel = this.#host.setTimer(
      () => this.#step(run),
      untilNext(elapsed, next, this.#peers.nextChange(now) - now),
    );
  }

  /** Never rejects. */
  async #visit(run: Run, presence: AbortController, source: Source): Promise<void> {
    const visit = (source.visit = new AbortController());
    const { signal } = visit;
    const { schedule } = source;
    const startedAt = this.#host.elapsed();
    schedule.asked(startedAt);
    try {
      const { trust } = source;
      const asked = trust ? this.#readCapsule(run, source, trust, signal) : this.#askBeacon(run, source, signal);
      const found = await this.#within(asked, signal, this.#settings.timeoutMs);
      this.#merge(run, found, source.url, found.goneAfterMs);
      if (found.failed) this.#fail(source, found.code as Reason, found.retryAfterMs ?? 0);
      else {
        const elapsed = this.#host.elapsed();
        source.succeeded(this.#host.now(), elapsed - startedAt, found.code, found.refused);
        schedule.succeeded(this.#isShort(), !!run.lock, found.lifeMs ?? 0, elapsed, this.#host.random());
      }
    } catch (error) {
      if (!presence.signal.aborted) {
        this.#fail(source, reasonOf(error));
        // One that refuses a ticket has told its time: only one that has no answer has no say about it.
        this.#clock.drop(source.url);
      }
    }
    visit.abort();
    source.visit = undefined;
    if (presence.signal.aborted) return;
    this.dispatchEvent(new Event("status"));
    this.#step(run);
  }

  #fail(source: Source, code: Reason, retryAfterMs?: number): void {
    source.failed(code, retryAfterMs !== undefined);
    source.schedule.failed(retryAfterMs, this.#host.elapsed(), this.#host.random());
  }

  /** @param ms By default half of what a source may take, so that after an application's function there is time for its list. */
  #within<T>(promise: Promise<T>, signal: AbortSignal, ms = this.#settings.timeoutMs / 2): Promise<T> {
    return abortable(promise, signal, (expire) => this.#host.setTimer(expire, ms));
  }

  /** @param repeats How often a ticket that was refused because of this machine's clock may be replaced at once. */
  async #askBeacon(run: Run, source: Source, signal: AbortSignal, repeats = MOST_REPEATS): Promise<Found> {
    if (this.#isRevoked("beacons", source.url)) {
      source.accepted = source.sent = undefined;
      throw new Refusal("REVOKED_BEACON");
    }
    let ticket: CurrentTicket | undefined;
    let unsigned: Reason | undefined;
    const announcement = this.#announcementFor(source);
    const offsetMs = this.#clock.offsetFor(source.aheadMs);
    if (run.lock && source.schedule.announces(this.#host.elapsed())) {
      // An announce that overtakes it would come too soon.
      await source.goodbye;
      signal.throwIfAborted();
      try {
        const made = announcement.ticketFor(
          this.#profile,
          source.accepted,
          this.#nowAt(source),
          run.identity as Identity,
        );
        ticket = source.sent = await this.#within(made, signal);
      } catch {
        signal.throwIfAborted();
        // The application's signer failed, or takes too long: without a ticket there is still a list.
        unsigned = "SIGN_FAILED";
        source.schedule.unsigned(this.#host.elapsed());
      }
    }
    const sentAt = this.#host.now();
    const { status, body } = await (ticket
      ? this.#request(this.#url(source, "announce"), signal, { method: "POST", body: `{"ticket":${ticket.json}}` })
      : this.#request(`${this.#url(source, "peers")}&exclude=${encodeURIComponent(this.#own)}`, signal));
    signal.throwIfAborted();
    const answer = readAnswer(status, body, this.#profile.community);
    if (answer.serverTime !== undefined) {
      source.aheadMs = aheadOf(answer.serverTime, sentAt, this.#host.now());
      if (this.#clock.observe(source.url, source.aheadMs)) {
        // What was only said by the wrong time is asked for again at once.
        for (const other of this.#sources) if (UNTIMELY.test(other.reason ?? "")) other.schedule.asked(-Infinity);
        this.#wake(run);
      }
    }
    const movedMs = Math.abs(this.#clock.offsetFor(source.aheadMs) - offsetMs);
    if (repeats > 0 && ticket && UNTIMELY.test(answer.code ?? "") && movedMs > TOLERANCE_MS) {
      // Unless another beacon has had it replaced.
      if (announcement.current === ticket) announcement.current = undefined;
      return this.#askBeacon(run, source, signal, repeats - 1);
    }
    // At once: it has taken the announce, however long its list takes to verify.
    const failed = !this.#settle(source, ticket, answer);
    const listed = await verifyTickets(answer.tickets, run.rules as TicketRules, this.#now(), answer.since);
    signal.throwIfAborted();
    // Where another page announces, its claim is this one's.
    const isListed = ticket ? answer.listed : !run.lock || (source.accepted?.expiresAt as number) > this.#nowAt(source);
    const found = dropDuplicates(listed, claimOf);
    // One of version 0.1.0 may list this peer to itself.
    const hidesOwn = isListed && !found.tickets.some((ticket) => claimOf(ticket) === this.#own);
    const goneAfterMs = answer.total === answer.tickets.length + +hidesOwn ? LIST_MAX_AGE_MS : undefined;
    const code = unsigned ?? answer.code;
    return { ...found, goneAfterMs, failed, code, retryAfterMs: answer.retryAfterMs };
  }

  /** Draws the conclusions of an answer for the next announce. Returns whether the beacon did what it is for. */
  #settle(source: Source, ticket: CurrentTicket | undefined, answer: Answer): boolean {
    const { schedule, accepted } = source;
    // A beacon has to have a newer one when a third of its life is left.
    const leftMs = (ticket?.expiresAt as number) - this.#settings.ticketLifetimeMs / 3 - this.#nowAt(source);
    if (!ticket || !schedule.announced(answer, leftMs, !!accepted, this.#host.elapsed(), this.#host.random())) return !answer.code;
    // It was on its way when that changed.
    if (ticket.profile !== this.#profile) schedule.changed(this.#host.elapsed());
    // A ticket that was accepted before stays listed when a newer one is refused.
    if (!answer.code) source.accepted = answer.listed ? ticket : undefined;
    // Another page, or this one before its clock was set right, was ahead of it.
    if (answer.code === "STALE_TICKET") this.#announcementFor(source).current = undefined;
    return true;
  }

  async #readCapsule(run: Run, source: Source, trust: Trust, signal: AbortSignal): Promise<Found> {
    const store = this.#store as Store;
    const rules = run.rules as TicketRules;
    const readFile: Place["readFile"] = async (suffix, maxBytes) => {
      const url = new URL(source.url);
      url.pathname += suffix;
      // Files that belong together: none may come from a cache that has not asked.
      const reply = await this.#request(url.href, signal, { cache: "no-cache" }, maxBytes);
      if (reply.status !== 200) throw new Refusal(`HTTP_${reply.status}`);
      return reply;
    };
    const [{ body: file }, { body: signature }, publishers] = await Promise.all([
      readFile("", CAPSULE_MAX_BYTES),
      readFile(".sig", 1_024),
      trust.publishers?.({ readFile, store, rules, now: this.#now() }) ?? (trust as Trust & Publishers),
    ]);
    // Another page may have read a newer one.
    const memory = await this.#remember(store, source);
    const capsule = await readCapsule(file, signature, { ...rules, publishers, memory }, this.#now());
    await this.#remember(store, source, capsule.memory);
    return capsule;
  }

  /** Obeys what capsules have revoked: those remembered, and the one just read. */
  async #remember(store: Store, source: Source, read = source.memory): Promise<Memory> {
    const stored = await store.update(`capsule/${this.#profile.community}/${source.trust?.label}`, (value) => {
      const held = readMemory(value);
      return read && (read.rootVersion - held.rootVersion || read.issuedAt - held.issuedAt) > 0 ? read : undefined;
    });
    source.memory = readMemory(stored);
    // They are due at once, to say so.
    for (const beacon of this.#sources) if (this.#isRevoked("beacons", beacon.url)) beacon.schedule.dueAt = 0;
    return source.memory;
  }

  #isRevoked(list: "ticketKeys" | "beacons", entry: string): boolean {
    return this.#sources.some(({ memory }) => memory?.[list].includes(entry));
  }

  #offer(run: Run): void {
    const detail = this.#peers.takeNew(this.#now());
    if (!detail.live[0] && !detail.recentlySeen[0]) return;
    this.#timeToFirstPeerMs ??= this.#host.elapsed() - run.startedAt;
    this.dispatchEvent(new CustomEvent("peers", { detail }));
  }

  /** Stores what has become of peers, and says so. */
  #keep(): void {
    this.#tell();
    const run = this.#run;
    if (!run || this.#saved === this.#peers.changes) return;
    this.#saved = this.#peers.changes;
    run.saving = this.#store?.update(`peers/${this.#profile.community}`, () => this.#peers.store());
  }

  /** The peers of the last visit. The storage is believed no more than a beacon. */
  async #recall(store: Store, rules: TicketRules, signal: AbortSignal): Promise<void> {
    const stored = await store.update(`peers/${rules.community}`, () => undefined);
    if (!Array.isArray(stored)) return;
    // A long one came from a capsule: no beacon's gets into the list.
    const lasting = { ...rules, maxLifetimeMs: CAPSULE_TICKET_MAX_LIFETIME_MS };
    const verified = stored.map(async (peer: StoredPeer) => {
      try {
        const ticket = parseTicket(readJson(peer.ticket));
        // It may be over, but not of the future.
        await verifyTicket(ticket, lasting, Math.min(ticket.issuedAt, this.#now()));
        return () => {
          this.#peers.merge({ tickets: [ticket], refused: {} }, CACHE, this.#now());
          this.#peers.note(ticket, peer);
        };
      } catch {
        // Written by another version, or by somebody else.
        return () => {};
      }
    });
    // In the order in which they were to be dialled then.
    for (const take of await Promise.all(verified)) if (!signal.aborted) take();
  }
}
