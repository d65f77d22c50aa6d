// Keeps this peer announced and a list of verified peers: asks every source when it is due, believes none, and goes on
// through the loss of any of them.
//
// What to decide is in the modules beside it, which have no I/O; here is when. Everything waits for one timer.

import { Announcement, type CurrentTicket } from "./announcement.js";
import { ANSWER_MAX_BYTES, type Answer, readAnswer } from "./answer.js";
import { type Bytes, base64 } from "./bytes.js";
import { CAPSULE_MAX_BYTES, readCapsule } from "./capsule.js";
import { Clock } from "./clock.js";
import { strict } from "./ed25519.js";
import { type Cancel, type Host, type Lock, defaultHost } from "./host.js";
import { type Identity, loadIdentity } from "./identity.js";
import { readJson } from "./json.js";
import { type RendezvousOptions, type Settings, readOptions } from "./options.js";
import { type PeerList, Peers, type StoredPeer } from "./peers.js";
import { type Reply, abortable, request } from "./request.js";
import { Source, type SourceStatus } from "./source.js";
import type { Store } from "./store.js";
import {
  CLOCK_SKEW_MS,
  Refusal,
  type TicketRules,
  type Tickets,
  isTime,
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
  /** What is added to this machine's clock, because beacons say that it is wrong. */
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

/** The longest time without a look at the clocks. */
const TICK_MS = 10_000;
/** Clocks that part by this much, or a timer this late: the machine slept, or its clock was set. */
const JUMP_MS = 5_000;
const GAP_MS = 90_000;
/** How long beacons wait for the lock before they are asked for lists only. */
const LOCK_PATIENCE_MS = 100;
/** How long a goodbye may take. */
const FAREWELL_MS = 3_000;
/** While the browser says that it is offline, which is not always right. */
const OFFLINE_PAUSE_MS = 60_000;
/** Between two looks at lists while there are too few peers: at first, and how often that is doubled. */
const POLL_MS = { beacon: 15_000, capsule: 60_000 };
const MAX_POLL_DOUBLINGS = 3;
/** How soon a source may be asked again, whatever it says. */
const MIN_PAUSE_MS = 2_000;
/** What a beacon may ask for between two announces. */
const MIN_ANNOUNCE_MS = 10_000;
const USUAL_ANNOUNCE_MS = 60_000;
const TAKEN_PAUSE_MS = 30_000;
const STALE_PAUSE_MS = 5_000;

/** What a source had. */
interface Found extends Tickets {
  /** What was refused, although there may be a list. */
  code?: string | undefined;
  failed?: boolean;
  retryAfterMs?: number | undefined;
}

/** What there is between start and stop. */
interface Run {
  readonly stop: AbortController;
  readonly startedAt: number;
  started: Promise<void>;
  store?: Store;
  identity?: Identity;
  rules?: TicketRules;
  /** While the page is there. */
  presence?: AbortController | undefined;
  lock?: Lock | undefined;
  /** Whether another page would take over. */
  heir: boolean;
  cancelTimer?: Cancel | undefined;
  /** The last write; those before are done when it is. */
  saving?: Promise<unknown>;
}

/**
 * Keeps this browser announced, and a list of verified peers.
 *
 * Events: see {@link RendezvousEvents}.
 */
export class Rendezvous extends EventTarget {
  readonly #settings: Settings;
  readonly #host: Host;
  readonly #sources: Source[];
  readonly #peers: Peers;
  readonly #clock = new Clock();
  readonly #announcement: Announcement;
  #run: Run | undefined;
  #store: Store | undefined;
  #stopped: Promise<void> = Promise.resolve();
  #last = { now: 0, elapsed: 0 };
  #timeToFirstPeerMs: number | undefined;

  /** @throws TypeError that names the option that is wrong. */
  constructor(options: RendezvousOptions);
  /** @internal */
  constructor(options: RendezvousOptions, host: Host);
  constructor(options: RendezvousOptions, host: Host = defaultHost()) {
    super();
    this.#settings = readOptions(options);
    this.#host = host;
    const { community, peerId, userId, beacons, capsules, ticketLifetimeMs } = this.#settings;
    this.#sources = [
      ...beacons.map((url) => new Source(url)),
      ...capsules.map(({ url, publicKey }) => new Source(url, publicKey)),
    ];
    this.#peers = new Peers(peerId);
    this.#announcement = new Announcement({ community, peerId, userId }, ticketLifetimeMs);
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
    const run: Run = {
      stop: new AbortController(),
      startedAt: this.#host.elapsed(),
      started: Promise.resolve(),
      heir: false,
    };
    this.#run = run;
    signal?.addEventListener("abort", () => void this.stop(), { signal: run.stop.signal });
    run.started = this.#open(run, signal).catch((error: unknown) => {
      if (this.#run === run) this.#run = undefined;
      run.stop.abort();
      throw error;
    });
    run.started.catch(() => {});
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
    }
    return this.#stopped;
  }

  /** Reports that a connection to a peer is open, whoever opened it. */
  connected(peerId: string): void {
    this.#peers.reportConnected(peerId, this.#now());
    this.#save();
  }

  /** Reports that a peer could not be connected to, or that its connection is closed. */
  failed(peerId: string): void {
    this.#peers.reportFailed(peerId, this.#now());
    this.#save();
    if (this.#run && this.#isShort()) this.#hurry();
  }

  /** All peers that are known now, best first. */
  peers(): PeerList {
    return this.#peers.all(this.#now());
  }

  status(): RendezvousStatus {
    const sources = this.#sources.map((source) => source.status(this.#now()));
    return {
      running: this.#run !== undefined,
      announced: sources.some(({ announced }) => announced),
      waiting: this.#run?.presence !== undefined && !this.#run.lock,
      clockOffsetMs: this.#clock.offsetMs,
      timeToFirstPeerMs: this.#timeToFirstPeerMs,
      outcomes: { ...this.#peers.outcomes },
      sources,
    };
  }

  /** The community's time. */
  #now(): number {
    return Math.round(this.#host.now() + this.#clock.offsetMs);
  }

  #isShort(): boolean {
    return this.#peers.connected.size < this.#settings.minActivePeers;
  }

  async #open(run: Run, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    await this.#stopped;
    run.store = this.#store ??= await this.#host.openStore();
    run.identity = await loadIdentity(this.#settings.identity, run.store, this.#host.subtle);
    const { community, trustedKeys } = this.#settings;
    run.rules = {
      community,
      trustedKeys,
      verify: strict(run.identity.verifyEquation),
      isKnown: (ticket) => this.#peers.has(ticket),
    };
    await this.#recall(run, run.rules);
    if (!run.stop.signal.aborted) {
      this.#host.listen(
        {
          wake: () => this.#wake(run),
          offline: () => this.#pause(),
          hide: () => this.#leave(run),
          show: () => this.#enter(run),
        },
        run.stop.signal,
      );
      this.#offer(run);
      this.#enter(run);
    }
    signal?.throwIfAborted();
  }

  /** The page is there: it asks for lists, and announces as soon as it has the lock. */
  #enter(run: Run): void {
    if (run.presence || run.stop.signal.aborted) return;
    const presence = (run.presence = new AbortController());
    const elapsed = this.#host.elapsed();
    this.#last = { now: this.#host.now(), elapsed };
    for (const source of this.#sources) {
      source.renewAt = 0;
      source.dueAt = elapsed + (source.kind === "beacon" ? LOCK_PATIENCE_MS : 0);
    }
    const { community, peerId } = this.#settings;
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
    for (const [url, body] of this.#farewells(run)) this.#host.sendLast(url, body);
    this.#end(run);
    run.lock?.release();
    run.lock = undefined;
  }

  #end(run: Run): void {
    run.presence?.abort();
    run.presence = undefined;
    run.cancelTimer?.();
    for (const source of this.#sources) {
      source.visit?.abort();
      source.accepted = source.sent = undefined;
    }
    this.#announcement.discard();
  }

  async #sayGoodbye(run: Run): Promise<void> {
    const { lock } = run;
    const abort = new AbortController();
    const cancel = this.#host.setTimer(() => abort.abort(), FAREWELL_MS);
    const sent = this.#farewells(run).map(([url, body]) =>
      abortable(this.#request(url, abort.signal, { method: "POST", body, keepalive: true }), abort.signal),
    );
    this.#end(run);
    await Promise.allSettled([...sent, run.saving]);
    cancel();
    abort.abort();
    lock?.release();
  }

  /** None if another page takes over. */
  #farewells(run: Run): [string, string][] {
    const now = this.#now();
    const sent = this.#sources.filter((source) => run.lock && !run.heir && (source.sent?.expiresAt ?? 0) > now);
    return sent.map((source) => {
      // The newest: the beacon may have got more than it has answered.
      const { farewell } = this.#announcement.current ?? (source.sent as CurrentTicket);
      return [this.#url(source, "leave"), `{"ticket":${farewell}}`];
    });
  }

  #url(source: Source, path: string): string {
    return `${source.url}/${path}?community=${this.#settings.community}`;
  }

  #request(url: string, signal: AbortSignal, init?: RequestInit, maxBytes = ANSWER_MAX_BYTES): Promise<Reply> {
    return request(this.#host.fetch, url, signal, maxBytes, init);
  }

  /** The network, the page, the lock or the right time is back. */
  #wake(run: Run): void {
    if (!run.presence) return;
    for (const source of this.#sources) source.renewAt = 0;
    this.#hurry();
  }

  #hurry(): void {
    const elapsed = this.#host.elapsed();
    for (const source of this.#sources) {
      source.polls = 0;
      source.hurry(elapsed);
    }
    if (this.#run) this.#step(this.#run);
  }

  #pause(): void {
    const elapsed = this.#host.elapsed();
    for (const source of this.#sources) source.dueAt = elapsed + OFFLINE_PAUSE_MS;
  }

  /** Asks every source that is due, and sets the timer for the next. Calling it early or twice is no harm. */
  #step(run: Run): void {
    if (!run.presence) return;
    run.cancelTimer?.();
    const now = this.#host.now();
    const elapsed = this.#host.elapsed();
    const [wall, steady] = [now - this.#last.now, elapsed - this.#last.elapsed];
    this.#last = { now, elapsed };
    if (Math.abs(wall - steady) > JUMP_MS || steady > GAP_MS) return this.#wake(run);
    this.#offer(run);
    run.lock?.hasHeir().then(
      (heir) => (run.heir = heir),
      () => {},
    );
    let next = elapsed + TICK_MS;
    for (const source of this.#sources) {
      if (!source.visit && source.dueAt <= elapsed) void this.#visit(run, run.presence, source);
      if (!source.visit) next = Math.min(next, source.dueAt);
    }
    run.cancelTimer = this.#host.setTimer(() => this.#step(run), next - elapsed);
  }

  /** Never rejects. */
  async #visit(run: Run, presence: AbortController, source: Source): Promise<void> {
    const visit = (source.visit = new AbortController());
    const { signal } = visit;
    const cancel = this.#host.setTimer(() => visit.abort(new Refusal("TIMEOUT")), this.#settings.timeoutMs);
    const startedAt = this.#host.elapsed();
    source.begin(startedAt);
    try {
      const { url, publicKey } = source;
      const asked = publicKey ? this.#readCapsule(run, url, publicKey, signal) : this.#askBeacon(run, source, signal);
      const found = await abortable(asked, signal);
      this.#peers.merge(found.tickets, source.url, this.#now());
      this.#offer(run);
      this.#save();
      if (found.failed) this.#fail(source, found.code as string, found.retryAfterMs ?? 0);
      else {
        const elapsed = this.#host.elapsed();
        source.succeeded(this.#host.now(), elapsed - startedAt, found.code, found.refused);
        // A list again while there are too few peers, ever more seldom; an announce again when it is time.
        const doublings = Math.min(source.polls++, MAX_POLL_DOUBLINGS);
        const poll = elapsed + POLL_MS[source.kind] * 2 ** doublings * (1 + this.#host.random() / 2);
        const next = Math.min(run.lock && !publicKey ? source.renewAt : Infinity, this.#isShort() ? poll : Infinity);
        source.dueAt = Math.max(elapsed + MIN_PAUSE_MS, next);
      }
    } catch (error) {
      if (!presence.signal.aborted) this.#fail(source, error instanceof Refusal ? error.message : "FAILED");
    }
    cancel();
    visit.abort();
    source.visit = undefined;
    if (presence.signal.aborted) return;
    this.dispatchEvent(new Event("status"));
    this.#step(run);
  }

  #fail(source: Source, code: string, retryAfterMs?: number): void {
    source.failed(code, this.#host.elapsed(), this.#host.random(), retryAfterMs);
    this.#clock.drop(source.url);
  }

  async #askBeacon(run: Run, source: Source, signal: AbortSignal): Promise<Found> {
    let ticket: CurrentTicket | undefined;
    let unsigned: string | undefined;
    if (run.lock && this.#host.elapsed() >= source.renewAt) {
      try {
        ticket = source.sent = await this.#announcement.ticketFor(
          source.accepted,
          this.#now(),
          run.identity as Identity,
        );
      } catch {
        // The application's signer failed: without a ticket there is still a list.
        unsigned = "SIGN_FAILED";
        source.renewAt = this.#host.elapsed() + TAKEN_PAUSE_MS;
      }
    }
    const sentAt = this.#host.now();
    const { status, body } = await (ticket
      ? this.#request(this.#url(source, "announce"), signal, { method: "POST", body: `{"ticket":${ticket.json}}` })
      : this.#request(`${this.#url(source, "peers")}&exclude=${encodeURIComponent(this.#settings.peerId)}`, signal));
    const answer = readAnswer(status, body, this.#settings.community);
    let moved = false;
    if (answer.serverTime !== undefined) {
      source.clockOffsetMs = Math.round(answer.serverTime - (sentAt + this.#host.now()) / 2);
      moved = this.#clock.observe(source.url, source.clockOffsetMs);
      if (moved) this.#wake(run);
    }
    const checked = await verifyTickets(answer.tickets, run.rules as TicketRules, this.#now());
    signal.throwIfAborted();
    const failed = !this.#settle(source, ticket, answer, moved);
    return { ...checked, failed, code: unsigned ?? answer.code, retryAfterMs: answer.retryAfterMs };
  }

  /** Draws the conclusions of an answer for the next announce. Returns whether the beacon did what it is for. */
  #settle(source: Source, ticket: CurrentTicket | undefined, answer: Answer, moved: boolean): boolean {
    const { code, announceAfterMs = USUAL_ANNOUNCE_MS, retryAfterMs = 0 } = answer;
    const elapsed = this.#host.elapsed();
    if (code === undefined) {
      if (ticket) {
        source.accepted = ticket;
        const after = Math.max(announceAfterMs, MIN_ANNOUNCE_MS) * (1 + this.#host.random() / 10);
        source.renewAt = elapsed + Math.min(after, Math.max(ticket.renewBy - this.#now(), MIN_ANNOUNCE_MS));
      }
      return true;
    }
    const pauses: Record<string, number> = {
      ANNOUNCE_TOO_SOON: Math.min(retryAfterMs, USUAL_ANNOUNCE_MS) + 1_000,
      PEER_ID_TAKEN: TAKEN_PAUSE_MS,
      STALE_TICKET: STALE_PAUSE_MS,
    };
    const pause = ticket && pauses[code];
    if (!pause) return moved && /^(NOT_YET_VALID|EXPIRED)$/.test(code);
    source.renewAt = elapsed + pause * (1 + this.#host.random() / 10);
    // Another page, or this one before its clock was set right, was ahead of it.
    if (code === "STALE_TICKET" && this.#announcement.current === ticket) this.#announcement.discard();
    return true;
  }

  async #readCapsule(run: Run, url: string, publicKey: Bytes, signal: AbortSignal): Promise<Found> {
    const signatureUrl = new URL(url);
    signatureUrl.pathname += ".sig";
    const get = async (address: string, maxBytes: number) => {
      // Two files that belong together: neither may come from a cache that has not asked.
      const { status, body } = await this.#request(address, signal, { cache: "no-cache" }, maxBytes);
      if (status !== 200) throw new Refusal(`HTTP_${status}`);
      return body;
    };
    const [file, signature] = await Promise.all([get(url, CAPSULE_MAX_BYTES), get(signatureUrl.href, 1_024)]);
    const [store, rules] = [run.store as Store, run.rules as TicketRules];
    const name = `capsule/${rules.community}/${base64(publicKey)}`;
    const seen = await store.update(name, () => undefined);
    const capsuleRules = { ...rules, publicKey, newestSeen: isTime(seen) ? seen : undefined };
    const capsule = await readCapsule(file, signature, capsuleRules, this.#now());
    await store.update(name, (value) => (isTime(value) && value >= capsule.issuedAt ? undefined : capsule.issuedAt));
    return capsule;
  }

  #offer(run: Run): void {
    const detail = this.#peers.takeNew(this.#now());
    if (detail.live.length + detail.recentlySeen.length === 0) return;
    this.#timeToFirstPeerMs ??= this.#host.elapsed() - run.startedAt;
    this.dispatchEvent(new CustomEvent("peers", { detail }));
  }

  #storeName(): string {
    return `peers/${this.#settings.community}`;
  }

  #save(): void {
    const run = this.#run;
    if (run?.store) run.saving = run.store.update(this.#storeName(), () => this.#peers.store());
  }

  /** The peers of the last visit. The storage is believed no more than a beacon. */
  async #recall(run: Run, rules: TicketRules): Promise<void> {
    const stored = await (run.store as Store).update(this.#storeName(), () => undefined);
    if (!Array.isArray(stored)) return;
    await Promise.all(
      stored.map(async (peer: StoredPeer) => {
        try {
          const ticket = parseTicket(readJson(peer.ticket));
          await verifyTicket(ticket, rules, ticket.issuedAt);
          if (ticket.issuedAt > this.#now() + CLOCK_SKEW_MS) return;
          this.#peers.merge([ticket], "cache", this.#now());
          this.#peers.restore(ticket.peerId, peer);
        } catch {
          // Written by another version, or by somebody else.
        }
      }),
    );
  }
}
