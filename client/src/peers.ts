// The list of peers: what is merged, in which order it is handed out, and when a peer is handed out again. No I/O.

import { type Ticket, isTimely } from "./ticket.js";

/** A peer whose ticket was verified. */
export interface Peer {
  readonly peerId: string;
  /** The application's name for the user, as the peer itself says it: show it as text only. */
  readonly userId: string;
  /** Base64 of the 32 bytes of the Ed25519 key that signed the ticket. */
  readonly publicKey: string;
  /** Milliseconds since the Unix epoch. */
  readonly issuedAt: number;
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
  /** `live`: its ticket is good now. `recently-seen`: it was; to be tried after the live ones. */
  readonly state: "live" | "recently-seen";
  /** The URL of the beacon or capsule that it came from, or `cache`. */
  readonly source: string;
}

/** Best first. */
export interface PeerList {
  readonly live: Peer[];
  readonly recentlySeen: Peer[];
}

/** What is remembered of a peer between two visits. */
export interface StoredPeer {
  ticket: string;
  connectedAt: number;
  failedAt: number;
}

interface Entry {
  ticket: Ticket;
  source: string;
  /** Milliseconds since the Unix epoch, 0 for never. */
  connectedAt: number;
  failedAt: number;
  /** `issuedAt` when it was last handed out, -1 for not yet. */
  offered: number;
  offeredLive: boolean;
  /** Whether it failed since then. */
  retry: boolean;
}

/** Peers kept of each source. */
const MOST = 200;
/** Peers kept for the next visit. */
const STORED = 100;
const MAX_AGE_MS = 86_400_000;

export class Peers {
  readonly #own: string;
  readonly #entries = new Map<string, Entry>();
  /** Those to which a connection is reported. */
  readonly connected = new Set<string>();
  /** By outcome, since the beginning. */
  readonly outcomes = { offered: 0, connected: 0, failed: 0, lost: 0 };

  constructor(own: string) {
    this.#own = own;
  }

  /** Whether this very ticket is in the list. */
  has({ peerId, json }: Ticket): boolean {
    return this.#entries.get(peerId)?.ticket.json === json;
  }

  /** Takes verified tickets: the newest of each peer stays. */
  merge(tickets: Ticket[], source: string, now: number): void {
    for (const ticket of tickets) {
      const held = this.#entries.get(ticket.peerId);
      if (ticket.peerId === this.#own || (held && held.ticket.issuedAt >= ticket.issuedAt)) continue;
      // Another key is another peer, whatever it calls itself.
      const known =
        held?.ticket.publicKey === ticket.publicKey
          ? held
          : { connectedAt: 0, failedAt: 0, offered: -1, offeredLive: false, retry: false };
      this.#entries.set(ticket.peerId, { ...known, ticket, source });
    }
    // The worst of this source go: one that lies can only push out what it gave itself.
    const given = this.#sorted().filter((entry) => entry.source === source);
    for (const [at, { ticket }] of given.entries())
      if (at >= MOST || ticket.expiresAt < now - MAX_AGE_MS) this.#entries.delete(ticket.peerId);
  }

  /** Peers to hand out now: new ones, ones that came back to life, and failed ones that have announced since. */
  takeNew(now: number): PeerList {
    return this.#list(now, (entry, live) => {
      const { offered, offeredLive, retry, ticket } = entry;
      if (!live) entry.offeredLive = false;
      if (this.connected.has(ticket.peerId)) return false;
      if (offered >= 0 && !(live && !offeredLive) && !(retry && ticket.issuedAt > offered)) return false;
      Object.assign(entry, { offered: ticket.issuedAt, offeredLive: live, retry: false });
      this.outcomes.offered++;
      return true;
    });
  }

  all(now: number): PeerList {
    return this.#list(now, () => true);
  }

  #list(now: number, choose: (entry: Entry, live: boolean) => boolean): PeerList {
    const list: PeerList = { live: [], recentlySeen: [] };
    for (const entry of this.#sorted()) {
      const live = isTimely(entry.ticket, now);
      if (!choose(entry, live)) continue;
      const { ticket, source } = entry;
      list[live ? "live" : "recentlySeen"].push({ ...ticket.facts, state: live ? "live" : "recently-seen", source });
    }
    return list;
  }

  /** Those to whom a connection worked last come first, those to whom it failed last come last, newer before older. */
  #sorted(): Entry[] {
    const rank = ({ connectedAt, failedAt }: Entry) => Math.sign(connectedAt - failedAt);
    return [...this.#entries.values()].sort(
      (one, other) => rank(other) - rank(one) || other.ticket.issuedAt - one.ticket.issuedAt,
    );
  }

  reportConnected(peerId: string, now: number): void {
    if (!this.connected.has(peerId)) this.outcomes.connected++;
    this.connected.add(peerId);
    const entry = this.#entries.get(peerId);
    if (entry) entry.connectedAt = now;
  }

  reportFailed(peerId: string, now: number): void {
    const lost = this.connected.delete(peerId);
    this.outcomes[lost ? "lost" : "failed"]++;
    const entry = this.#entries.get(peerId);
    if (!entry) return;
    // A connection that worked and ended speaks for the peer; it is handed out again when it announces again.
    entry.failedAt = now;
    entry.retry = true;
    if (lost) entry.connectedAt = now + 1;
  }

  store(): StoredPeer[] {
    return this.#sorted()
      .slice(0, STORED)
      .map(({ ticket, connectedAt, failedAt }) => ({ ticket: ticket.json, connectedAt, failedAt }));
  }

  /** What {@link store} gave is known of a peer that was merged since. */
  restore(peerId: string, { connectedAt, failedAt }: StoredPeer): void {
    const entry = this.#entries.get(peerId);
    if (entry) Object.assign(entry, { connectedAt: Number(connectedAt) || 0, failedAt: Number(failedAt) || 0 });
  }
}
