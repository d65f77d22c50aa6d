// The list of peers: what is merged, which key of a peerId is handed out, in which order, and when again. No I/O.
//
// A ticket is one key's claim to a peerId, and anybody may claim any. Whose it is only the peers can prove to each other,
// when they connect. Until then this list decides, for each peerId with live tickets of several keys:
//
// 1. A key to which a connection was reported, now or on a visit before, stays. It is the only one of which this page
//    knows more than what sources say. While several keys claim the peerId only a proof counts: without one nobody can
//    tell which of them has answered.
// 2. The key that more sources prefer: a source prefers one key to another if it lists that one and not the other, or both
//    and that one longer. Each has one vote, so how early a time one of them makes up is of no use to it. Anybody may
//    claim a name everywhere; so to count who lists a key, and only then how long, would let one lying source decide
//    that leaves out the owner. A beacon shows a part of its roster at a time, so that it counts as listing a key for as
//    long as the ticket lives that it gave.
// 3. The key that came first. 4. The order of the tickets' bytes.
//
// To have come first is worth little at the beginning, or a lying source would only have to be the quickest: in the first
// three minutes, in which every source that works answers, 2 takes precedence. After that, or if it is remembered from a visit
// before, a key gives way in 2 only to the votes of two sources: no single one moves what others gave.
// To two it does give way, or a key that came while its rival was away would keep that one out for ever. With one voice
// against one nobody can tell which is right, but the page: it gets all the keys, and who answers proves one of them.

import { TICKET_MAX_LIFETIME_MS, type Ticket, type Tickets, count, isTime, isTimely } from "./ticket.js";

/** A peer whose ticket was verified. */
export interface Peer {
  readonly peerId: string;
  /** The application's name for the user, as the peer itself says it: show it as text only. */
  readonly userId: string;
  /** Base64 of the 32 bytes of the Ed25519 key that signed the ticket. */
  readonly publicKey: string;
  /** Whether live tickets of several keys claim this `peerId`. Let the peer prove its key before you believe which it is. */
  readonly contested: boolean;
  /** The other keys with live tickets for it, in base64. */
  readonly otherKeys: readonly string[];
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

/** What is remembered of a claim between two visits. */
export interface StoredPeer {
  ticket: string;
  connectedAt: number;
  failedAt: number;
}

/** One key's claim to a peerId, by its newest ticket. */
interface Claim extends Ticket {
  /** Whence that ticket came. */
  source: string;
  /** What each source says of it. */
  readonly listings: Map<string, Listing>;
  /** Milliseconds since the Unix epoch, 0 for never. */
  connectedAt: number;
  failedAt: number;
  /** `issuedAt` when it was last handed out, -1 for not yet. */
  offered: number;
  offeredLive: boolean;
  /** Whether it failed since then, gave way to another key, or was not handed out at all. */
  retry: boolean;
}

/** What one source says of a claim, in milliseconds since the Unix epoch. */
interface Listing {
  /** The end of the last of the tickets that it gave. What is remembered is no source: 0. */
  readonly until: number;
  /** Since when it lists the claim, as it says. */
  readonly since: number | undefined;
}

/** A peerId. */
interface Name {
  /** By key. */
  readonly claims: Map<string, Claim>;
  /** The one that is handed out, and since when. */
  chosen?: Claim;
  chosenAt: number;
  /** Those with live tickets. */
  live: Claim[];
}

/** The source of what is remembered of the last visit. */
export const CACHE = "cache";
/** Claims kept of each source. */
const MOST = 200;
/** Claims kept for the next visit. */
const STORED = 100;
const MAX_AGE_MS = 86_400_000;
/** After this time a key that is handed out gives way to the votes of two sources only. */
const SETTLED_MS = TICKET_MAX_LIFETIME_MS;

export class Peers {
  readonly #own: string;
  /** This peer's key, as soon as it is known. */
  ownKey: string | undefined;
  readonly #names = new Map<string, Name>();
  /** Those to which a connection is reported, with the key that was proved, if one was. */
  readonly linked = new Map<string, string | undefined>();
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
  has(ticket: Ticket): boolean {
    return this.#claimOf(ticket)?.json === ticket.json;
  }

  #claimOf({ peerId, publicKey }: Pick<Ticket, "peerId" | "publicKey">): Claim | undefined {
    return this.#names.get(peerId)?.claims.get(publicKey);
  }

  /**
   * Takes verified tickets: the newest of each claim stays.
   *
   * This peer's own peerId is never handed out, whoever claims it: who dials it reaches itself. Another key's claim to it
   * is counted as `OWN_PEER_ID`.
   */
  merge({ tickets, refused }: Tickets, source: string, now: number): void {
    for (const { since, ...ticket } of tickets) {
      const { peerId, publicKey, issuedAt, expiresAt } = ticket;
      if (peerId === this.#own) {
        if (publicKey !== this.ownKey) count(refused, "OWN_PEER_ID");
        continue;
      }
      let name = this.#names.get(peerId);
      if (!name) this.#names.set(peerId, (name = { claims: new Map(), chosenAt: now, live: [] }));
      let claim = name.claims.get(publicKey);
      if (!claim) {
        const connectedAt = this.linked.get(peerId) === publicKey ? now : 0;
        const history = { connectedAt, failedAt: 0, offered: -1, offeredLive: false, retry: true };
        name.claims.set(publicKey, (claim = { ...ticket, ...history, source, listings: new Map() }));
      } else if (issuedAt > claim.issuedAt) Object.assign(claim, ticket, { source });
      const until = source === CACHE ? 0 : Math.max(expiresAt, claim.listings.get(source)?.until ?? 0);
      claim.listings.set(source, { until, since });
    }
    this.#forget(source, now);
  }

  /**
   * Forgets the worst claims of a source, by when they end, or the long tickets would be the first to go. A claim stays
   * as long as another source has given it: one that lies can only push out what nobody but itself gave.
   */
  #forget(source: string, now: number): void {
    let given = 0;
    for (const claim of sorted(this.#claims(), "expiresAt")) {
      const { peerId, publicKey, expiresAt, listings } = claim;
      if (listings.has(source) && (given++ >= MOST || expiresAt < now - MAX_AGE_MS)) listings.delete(source);
      const [other] = listings.keys();
      if (!listings.has(claim.source)) claim.source = other as string;
      if (other === undefined || this.isRevoked(publicKey)) this.#drop(peerId, publicKey);
    }
  }

  #drop(peerId: string, publicKey: string): void {
    const { claims } = this.#names.get(peerId) as Name;
    claims.delete(publicKey);
    if (claims.size === 0) this.#names.delete(peerId);
  }

  #claims(): Claim[] {
    return [...this.#names.values()].flatMap(({ claims }) => [...claims.values()]);
  }

  /** Gives the claim to a name that is to be handed out, by the rules at the top of this file. */
  #choose(name: Name, now: number): Claim {
    const all = [...name.claims.values()].sort((one, other) => (one.json < other.json ? -1 : 1));
    name.live = all.filter((claim) => isTimely(claim, now));
    const present = name.live[0] ? name.live : all;
    const known = present.filter(({ connectedAt }) => connectedAt > 0);
    const candidates = known[0] ? known : present;
    const first = candidates.find((claim) => claim === name.chosen);
    const isSettled = first && (first.listings.has(CACHE) || now - name.chosenAt >= SETTLED_MS);
    const better = first
      ? candidates.filter((claim) => claim !== first && isBetter(claim, first, now, isSettled ? 2 : 1))
      : candidates;
    // They may have no order: of three keys each can be listed longer than another.
    const best = better.reduce((one, other) => (isBetter(other, one, now) ? other : one), better[0] ?? (first as Claim));
    if (best !== name.chosen) {
      // If that one is chosen again, it is handed out again once it has announced.
      if (name.chosen) name.chosen.retry = true;
      name.chosenAt = now;
    }
    return (name.chosen = best);
  }

  /** Peers to hand out now: new ones, ones that came back to life, and failed ones that have announced since. */
  takeNew(now: number): PeerList {
    return this.#list(now, (claim, live) => {
      const { peerId, issuedAt, offered, offeredLive, retry } = claim;
      const isNew = !this.linked.has(peerId) && ((live && !offeredLive) || (retry && issuedAt > offered));
      claim.offeredLive = live && (isNew || offeredLive);
      if (isNew) {
        claim.offered = issuedAt;
        claim.retry = false;
        this.outcomes.offered++;
      }
      return isNew;
    });
  }

  all(now: number): PeerList {
    return this.#list(now, () => true);
  }

  #list(now: number, isWanted: (claim: Claim, live: boolean) => boolean): PeerList {
    const list: PeerList = { live: [], recentlySeen: [] };
    const names = [...this.#names.values()];
    for (const claim of sorted(names.map((name) => this.#choose(name, now)))) {
      const live = isTimely(claim, now);
      if (!isWanted(claim, live)) continue;
      const { facts, source, peerId } = claim;
      const others = (this.#names.get(peerId) as Name).live.filter((other) => other !== claim);
      list[live ? "live" : "recentlySeen"].push({
        ...facts,
        contested: others.length > 0,
        otherKeys: others.map(({ publicKey }) => publicKey),
        state: live ? "live" : "recently-seen",
        source,
      });
    }
    return list;
  }

  /** @param publicKey The key that the peer has proved. */
  reportConnected(peerId: string, now: number, publicKey?: string): void {
    if (!this.linked.has(peerId)) this.outcomes.connected++;
    this.linked.set(peerId, publicKey);
    // What was reported of other keys without a proof was not true of them.
    if (publicKey !== undefined)
      for (const claim of this.#names.get(peerId)?.claims.values() ?? []) claim.connectedAt = 0;
    Object.assign(this.#connectedClaim(peerId) ?? {}, { connectedAt: now });
  }

  reportFailed(peerId: string, now: number): void {
    const lost = this.linked.has(peerId);
    this.outcomes[lost ? "lost" : "failed"]++;
    // It is handed out again when it announces again.
    Object.assign(this.#names.get(peerId)?.chosen ?? {}, { retry: true }, !lost && { failedAt: now });
    // A connection that worked and ended speaks for the peer.
    if (lost) Object.assign(this.#connectedClaim(peerId) ?? {}, { connectedAt: now });
    this.linked.delete(peerId);
  }

  /** The claim of which an open connection says that it is right. */
  #connectedClaim(peerId: string): Claim | undefined {
    const name = this.#names.get(peerId);
    const proved = this.linked.get(peerId);
    if (proved !== undefined) return name?.claims.get(proved);
    // Without a proof it may be any of them.
    return name?.live[1] ? undefined : name?.chosen;
  }

  /** What the next visit is to know: the claims that are handed out, and those that have proved good. */
  store(): StoredPeer[] {
    return sorted(this.#claims(), "expiresAt")
      .filter((claim) => claim.connectedAt > 0 || claim === this.#names.get(claim.peerId)?.chosen)
      .slice(0, STORED)
      .map(({ json, connectedAt, failedAt }) => ({ ticket: json, connectedAt, failedAt }));
  }

  /** Notes what was stored of a claim. What is no time is as good as 0. */
  note(ticket: Ticket, { connectedAt, failedAt }: Omit<StoredPeer, "ticket">): void {
    Object.assign(this.#claimOf(ticket) ?? {}, { connectedAt: timeOf(connectedAt), failedAt: timeOf(failedAt) });
  }
}

function timeOf(stored: unknown): number {
  return isTime(stored) ? stored : 0;
}

/** Those to whom a connection worked last come first, those to whom it failed last come last, then the later ones. */
function sorted(claims: Claim[], time: "issuedAt" | "expiresAt" = "issuedAt"): Claim[] {
  const rank = ({ connectedAt, failedAt }: Claim) => Math.sign(connectedAt - failedAt);
  return claims.sort((one, other) => rank(other) - rank(one) || other[time] - one[time]);
}

/**
 * Tells whether more sources prefer a claim to another one to the same name.
 *
 * @param least Votes that this takes.
 */
function isBetter(claim: Claim, other: Claim, now: number, least = 1): boolean {
  const votes = (one: Claim, another: Claim) =>
    [...one.listings].filter(([source, { until, since = NaN }]) => {
      const theirs = another.listings.get(source);
      return until > now && (!theirs || theirs.until <= now || since < (theirs.since ?? NaN));
    }).length;
  const mine = votes(claim, other);
  return mine > votes(other, claim) && mine >= least;
}
