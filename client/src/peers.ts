// The list of peers: what is merged, in which order it is handed out, and when a peer is handed out again. No I/O.

import { type Ticket, type Tickets, count, isTimely } from "./ticket.js";

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

interface Entry extends Ticket {
  source: string;
  /** Milliseconds since the Unix epoch, 0 for never. */
  connectedAt: number;
  failedAt: number;
  /** `issuedAt` when it was last handed out, -1 for not yet. */
  offered: number;
  offeredLive: boolean;
  /** Whether it failed since then, or was not handed out at all. */
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
  readonly linked = new Set<string>();
  /** By outcome, since the beginning. */
  readonly outcomes = { offered: 0, connected: 0, failed: 0, lost: 0 };

  constructor(
    own: string,
    /** Whether a key has no place in the list. */
    readonly isRevoked: (publicKey: string) => boolean,
  ) {
    this.#own = own;
  }

  /** Whether this very ticket is in the list. */
  has({ peerId, json }: Ticket): boolean {
    return this.#entries.get(peerId)?.json === json;
  }

  /**
   * Takes verified tickets: the newest of each peer stays.
   *
   * As at a beacon, the first key to hold a live peerId keeps it until its tickets end. Otherwise whoever lies could
   * replace every peer by a newer ticket of its own for the same peerId, whenever it likes. Like this it has to be the
   * first to answer, and then keeps the peer out: only two sources that agree on a key could tell which one lies, and
   * most pages have no third. What is lost is one peer for one page, and it shows in what is refused of the others.
   */
  merge({ tickets, refused }: Tickets, source: string, now: number): void {
    for (const ticket of tickets) {
      const { peerId, publicKey, issuedAt } = ticket;
      const held = this.#entries.get(peerId);
      const isOther = held?.publicKey !== publicKey;
      if (held && isOther && isTimely(held, now) && !this.isRevoked(held.publicKey)) count(refused, "PEER_ID_TAKEN");
      else if (peerId !== this.#own && !(held && held.issuedAt >= issuedAt))
        this.#entries.set(peerId, {
          // Another key is another peer, whatever it calls itself.
          ...(isOther ? { connectedAt: 0, failedAt: 0, offered: -1, offeredLive: false, retry: true } : held),
          ...ticket,
          source,
        });
    }
    // The worst of this source go, by when they end, or the long tickets would be the first: one that lies can only push
    // out what it gave itself.
    let given = 0;
    for (const entry of this.#sorted("expiresAt"))
      if (
        this.isRevoked(entry.publicKey) ||
        (entry.source === source && (given++ >= MOST || entry.expiresAt < now - MAX_AGE_MS))
      )
        this.#entries.delete(entry.peerId);
  }

  /** Peers to hand out now: new ones, ones that came back to life, and failed ones that have announced since. */
  takeNew(now: number): PeerList {
    return this.#list(now, (entry, live) => {
      const { peerId, issuedAt, offered, offeredLive, retry } = entry;
      const isNew = !this.linked.has(peerId) && ((live && !offeredLive) || (retry && issuedAt > offered));
      entry.offeredLive = live && (isNew || offeredLive);
      if (isNew) {
        entry.offered = issuedAt;
        entry.retry = false;
        this.outcomes.offered++;
      }
      return isNew;
    });
  }

  all(now: number): PeerList {
    return this.#list(now, () => true);
  }

  #list(now: number, choose: (entry: Entry, live: boolean) => boolean): PeerList {
    const list: PeerList = { live: [], recentlySeen: [] };
    for (const entry of this.#sorted()) {
      const live = isTimely(entry, now);
      if (!choose(entry, live)) continue;
      const { facts, source } = entry;
      list[live ? "live" : "recentlySeen"].push({ ...facts, state: live ? "live" : "recently-seen", source });
    }
    return list;
  }

  /** Those to whom a connection worked last come first, those to whom it failed last come last, then the later ones. */
  #sorted(time: "issuedAt" | "expiresAt" = "issuedAt"): Entry[] {
    const rank = ({ connectedAt, failedAt }: Entry) => Math.sign(connectedAt - failedAt);
    return [...this.#entries.values()].sort(
      (one, other) => rank(other) - rank(one) || other[time] - one[time],
    );
  }

  reportConnected(peerId: string, now: number): void {
    if (!this.linked.has(peerId)) this.outcomes.connected++;
    this.linked.add(peerId);
    this.note(peerId, { connectedAt: now });
  }

  reportFailed(peerId: string, now: number): void {
    const lost = this.linked.delete(peerId);
    this.outcomes[lost ? "lost" : "failed"]++;
    // A connection that worked and ended speaks for the peer; it is handed out again when it announces again.
    this.note(peerId, { failedAt: now, retry: true, ...(lost && { connectedAt: now + 1 }) });
  }

  store(): StoredPeer[] {
    return this.#sorted("expiresAt")
      .slice(0, STORED)
      .map(({ json, connectedAt, failedAt }) => ({ ticket: json, connectedAt, failedAt }));
  }

  /** What is known of a peer, if it is in the list. What is no time is only sorted as if it were none. */
  note(peerId: string, known: Partial<Entry>): void {
    Object.assign(this.#entries.get(peerId) ?? {}, known);
  }
}
