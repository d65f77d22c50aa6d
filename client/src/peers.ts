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
//    long as the ticket lives that it gave, or until it gives its whole list without it.
// 3. The key that came first. 4. The order of the tickets' bytes.
//
// To have come first is worth little at the beginning, or a lying source would only have to be the quickest: in the first
// three minutes, in which every source that works answers, 2 takes precedence. After that, or if it is remembered from a visit
// before, a key gives way in 2 only to the votes of two sources: no single one moves what others gave.
// To two it does give way, or a key that came while its rival was away would keep that one out for ever. With one voice
// against one nobody can tell which is right, but the page: it gets all the keys, and who answers proves one of them.
//
// Whom to dial first is never a matter of dates, which are whatever is signed: sources take turns. Each dial counts for the
// source whose turn it was, and the next turn is of the one with the least. So a source that makes peers up gets its own
// share of the dials, however many it gives and however fresh, and one whose peers only fail gets less.

import { CLOCK_SKEW_MS, TICKET_MAX_LIFETIME_MS, type Ticket, type Tickets, count, isTime, isTimely } from "./ticket.js";

/** A peer whose ticket was verified. */
export interface Peer {
  readonly peerId: string;
  /** The application's name for the user, as the peer itself says it: show it as text only. */
  readonly userId: string;
  /** What the peer says of itself, in the application's own form; undefined if nothing. Anybody may say anything. */
  readonly data: string | undefined;
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
  /**
   * `live`: its ticket is good now, and some source that gave it has not said since that it is gone. `recently-seen`: it
   * was; to be tried after the live ones.
   */
  readonly state: "live" | "recently-seen";
  /** The URL of the beacon or capsule that it came from, `cache`, or `peer`: it was handed to `add`. */
  readonly source: string;
}

/** Best first: those connected now, then in turns of the sources, each with those first to which a connection worked. */
export interface PeerList {
  readonly live: Peer[];
  readonly recentlySeen: Peer[];
}

/** What has become of the live peers; each is in one of the lists at most. */
export interface PeerChanges {
  /** Live now, and not before. */
  readonly appeared: Peer[];
  /** Live before, and not now. */
  readonly gone: Peer[];
  /** Announced again. */
  readonly renewed: Peer[];
  /** With another key, `userId` or `data`, or the key is contested by others than before. */
  readonly changed: Peer[];
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
  /** `issuedAt` of the peer's own word that it has left: no older ticket counts any more. */
  leftAt?: number;
  /** `issuedAt` when it was last handed out, -1 for not yet. */
  offered: number;
  offeredLive: boolean;
  /** Whether it failed since then, gave way to another key, or was not handed out at all. */
  retry: boolean;
  /** Its place among those of one source: which answer it came in, and where in a draw of that answer's. */
  readonly place: number;
  /** Of the source in whose turn it is. */
  turns?: Turns;
  /** As it was shown last, and what there was to say then. */
  shown?: Peer;
  mark?: string;
}

/** What became of the peers that were dialled in one source's turns. */
interface Turns {
  /** What those dials cost. */
  spent: number;
  /** Dials since the last one that led to a connection. */
  fruitless: number;
  /** Decides between sources that have spent the same. */
  readonly draw: number;
}

/** A peer to which a connection is open. */
interface Link {
  /** The key that was proved, if one was. */
  readonly publicKey: string | undefined;
  /** Whether it was the peer that dialled. */
  readonly inbound: boolean;
}

/** What one source says of a claim, in milliseconds since the Unix epoch. */
interface Listing {
  /**
   * The end of the last of the tickets that it gave, or 0 if it has said since that the peer is gone. What is remembered
   * is not a source: 0.
   */
  until: number;
  /** When it gave the last of them. */
  readonly heardAt: number;
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

/** How old a list may be that comes from a cache on the way: what was heard since is newer. */
export const LIST_MAX_AGE_MS = 10_000;
/** The source of what is remembered of the last visit. */
export const CACHE = "cache";
/** The source of what peers have handed over themselves. It has no vote on names: everybody can be one of them. */
export const HANDED = "peer";
/** Claims kept of each source. */
const MOST = 200;
/** Claims kept for the next visit. */
const STORED = 100;
const MAX_AGE_MS = 86_400_000;
/** After this time a key that is handed out gives way to the votes of two sources only. */
const SETTLED_MS = TICKET_MAX_LIFETIME_MS;
/**
 * A dial that fails costs as much again for each so many before it that failed too, up to four times. So many in a row
 * fail by chance, of peers of which half can be reached, once in 256 times.
 */
const FRUITLESS_DIALS = 8;
const MAX_SURCHARGE = 3;

export class Peers {
  readonly #own: string;
  readonly #random: () => number;
  /** This peer's key, as soon as it is known. */
  declare ownKey: string | undefined;
  readonly #names = new Map<string, Name>();
  /** By peerId. */
  readonly #links = new Map<string, Link>();
  /** Those that are being dialled, with the turns that it is in. */
  readonly #dials = new Map<string, Turns | undefined>();
  /** By source, as soon as it gave something. */
  readonly #turns = new Map<string, Turns>();
  #answers = 0;
  /** Counts whatever may change the list or its order, but for time. */
  changes = 0;
  /** The claims in the list. */
  #listed!: Record<keyof PeerList, Claim[]>;
  #all: PeerList = { live: [], recentlySeen: [] };
  /**
   * For which changes the list was made, and from when until when nothing in it ends or begins by itself, in milliseconds
   * since the Unix epoch. To make it anew for each event would keep a page busy.
   */
  #madeFor = { changes: -1, from: 0, until: 0 };
  /** By outcome, since the beginning. */
  readonly outcomes = { offered: 0, connected: 0, failed: 0, lost: 0 };

  constructor(
    own: string,
    /** Whether a key has no place in the list. */
    readonly isRevoked: (publicKey: string) => boolean,
    /** From 0 up to 1. */
    random: () => number,
  ) {
    this.#own = own;
    this.#random = random;
  }

  /** How many of the connections that are open this page has dialled: anybody can have as many others as they like. */
  get dialled(): number {
    return [...this.#links.values()].filter(({ inbound }) => !inbound).length;
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
   *
   * @param goneAfterMs Those that the source gave so long ago, and does not give now, are gone, as far as it goes.
   */
  merge({ tickets, refused }: Tickets, source: string, now: number, goneAfterMs = Infinity): void {
    const listed = new Set<Claim>();
    this.#answers++;
    this.changes++;
    if (!this.#turns.has(source)) this.#turns.set(source, { spent: 0, fruitless: 0, draw: this.#random() });
    for (const { since, ...ticket } of tickets) {
      const { peerId, publicKey, issuedAt, expiresAt } = ticket;
      if (peerId === this.#own) {
        if (publicKey !== this.ownKey) count(refused, "OWN_PEER_ID");
        continue;
      }
      let name = this.#names.get(peerId);
      if (!name) this.#names.set(peerId, (name = { claims: new Map(), chosenAt: now, live: [] }));
      let claim = name.claims.get(publicKey);
      if (issuedAt <= (claim?.leftAt as number)) continue;
      if (!claim) {
        const connectedAt = this.#links.get(peerId)?.publicKey === publicKey ? now : 0;
        const place = this.#answers + this.#random();
        const history = { connectedAt, failedAt: 0, offered: -1, offeredLive: false, retry: true, place };
        name.claims.set(publicKey, (claim = { ...ticket, ...history, source, listings: new Map() }));
      } else if (issuedAt > claim.issuedAt) Object.assign(claim, ticket, { source });
      const before = claim.listings.get(source);
      const until = source === CACHE ? 0 : Math.max(expiresAt, before?.until ?? 0);
      claim.listings.set(source, { until, since: since ?? before?.since, heardAt: now });
      listed.add(claim);
    }
    for (const claim of this.#claims()) {
      const listing = claim.listings.get(source);
      if (listing && !listed.has(claim) && now - listing.heardAt > goneAfterMs) listing.until = 0;
    }
    this.#forget(source, now);
  }

  /**
   * Notes that a claim is gone.
   *
   * @param source As far as this one goes. Undefined: by a ticket of its own, in which it leaves.
   * @param leftAt That ticket's `issuedAt`.
   */
  gone(claim: Pick<Ticket, "peerId" | "publicKey">, source: string | undefined, leftAt = 0): void {
    const held = this.#claimOf(claim);
    if (!held || (leftAt && leftAt <= held.issuedAt)) return;
    this.changes++;
    held.leftAt = Math.max(held.leftAt ?? 0, leftAt);
    for (const [name, listing] of held.listings) if (leftAt || name === source) listing.until = 0;
  }

  /**
   * Forgets the worst claims of a source. A claim stays as long as another source has given it: one that lies can only
   * push out what nobody but itself gave.
   */
  #forget(source: string, now: number): void {
    let given = 0;
    for (const claim of this.#claims().sort(forLater)) {
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
    const all = [...name.claims.values()];
    if (all[1]) all.sort((one, other) => (one.json < other.json ? -1 : 1));
    name.live = all.filter((claim) => isLive(claim, now));
    // The usual case.
    if (!all[1] && name.chosen === all[0]) return all[0] as Claim;
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
    this.#refresh(now);
    return this.#show((claim, isLive) => {
      const isNew =
        !this.#links.has(claim.peerId) &&
        ((isLive && !claim.offeredLive) || (claim.retry && claim.issuedAt > claim.offered));
      claim.offeredLive = isLive && (isNew || claim.offeredLive);
      if (isNew) {
        claim.offered = claim.issuedAt;
        claim.retry = false;
        this.outcomes.offered++;
        this.changes++;
      }
      return isNew;
    });
  }

  /** The same object until something has changed. */
  all(now: number): PeerList {
    this.#refresh(now);
    return this.#all;
  }

  /** When the list may change by itself, in milliseconds since the Unix epoch. */
  nextChange(now: number): number {
    this.#refresh(now);
    return this.#madeFor.until;
  }

  /** Makes the list, unless the last one is still right. */
  #refresh(now: number): void {
    const made = this.#madeFor;
    if (made.changes === this.changes && made.from <= now && now < made.until) return;
    let until = Infinity;
    const live: Claim[] = [];
    const recentlySeen: Claim[] = [];
    for (const name of this.#names.values()) {
      const claim = this.#choose(name, now);
      (name.live.includes(claim) ? live : recentlySeen).push(claim);
      for (const { issuedAt, expiresAt, listings } of name.claims.values()) {
        const ends = [...listings.values()].map((listing) => listing.until);
        // The last listing that ends takes the peer away; those before it only have votes on a contested name.
        for (const at of [issuedAt - CLOCK_SKEW_MS, expiresAt, ...(name.live[1] ? ends : [Math.max(...ends)])])
          if (at > now && at < until) until = at;
      }
    }
    this.#madeFor = { changes: this.changes, from: now, until };
    this.#listed = { live: this.#deal(live, forNow), recentlySeen: this.#deal(recentlySeen, forNow) };
    const list = this.#show(() => true);
    const flat = ({ live, recentlySeen }: PeerList) => [...live, undefined, ...recentlySeen];
    const before = flat(this.#all);
    const peers = flat(list);
    if (peers.length !== before.length || peers.some((peer, at) => peer !== before[at])) this.#all = list;
  }

  #show(isWanted: (claim: Claim, isLive: boolean) => boolean): PeerList {
    const show = (claims: Claim[], isLive: boolean): Peer[] =>
      claims.filter((claim) => isWanted(claim, isLive)).map((claim) => this.#peerOf(claim, isLive));
    return { live: show(this.#listed.live, true), recentlySeen: show(this.#listed.recentlySeen, false) };
  }

  /** The same object as the last time, if it says the same. */
  #peerOf(claim: Claim, live: boolean): Peer {
    const { peerId, userId, data, publicKey, issuedAt, expiresAt, source } = claim;
    const others = (this.#names.get(peerId) as Name).live.filter((other) => other !== claim);
    const otherKeys = others.map((other) => other.publicKey).sort();
    // Of one claim two tickets are never of one time.
    const mark = [issuedAt, live, source, ...otherKeys].join();
    if (claim.mark !== mark) {
      claim.mark = mark;
      claim.shown = {
        peerId,
        userId,
        data,
        publicKey,
        contested: !!others[0],
        otherKeys,
        issuedAt,
        expiresAt,
        state: live ? "live" : "recently-seen",
        source,
      };
    }
    return claim.shown as Peer;
  }

  /**
   * Puts claims in the order in which they are to be dialled. Those that are connected, or are being dialled, come first,
   * as they take no turn any more.
   *
   * @param order Of those that one source gave, the first first.
   */
  #deal(claims: Claim[], order: (one: Claim, other: Claim) => number): Claim[] {
    const dealt = new Set(claims.filter(({ peerId }) => this.#links.has(peerId) || this.#dials.has(peerId)));
    // Last first: they are taken from the end.
    const rest = claims.filter((claim) => !dealt.has(claim)).sort((one, other) => order(other, one));
    const queues = [...this.#turns].map(([source, turns]) => ({
      turns,
      own: rest.filter(({ listings }) => listings.has(source)),
      spent: turns.spent,
    }));
    for (;;) {
      let next: (typeof queues)[number] | undefined;
      for (const queue of queues) {
        while (queue.own[0] && dealt.has(queue.own.at(-1) as Claim)) queue.own.pop();
        const before = next ? queue.spent - next.spent || queue.turns.draw - next.turns.draw : -1;
        if (queue.own[0] && before < 0) next = queue;
      }
      const claim = next?.own.pop();
      if (!next || !claim) return [...dealt];
      dealt.add(claim);
      if (order === forNow) claim.turns = next.turns;
      next.spent += costOf(next.turns);
    }
  }

  dialling(peerId: string): void {
    this.changes++;
    const turns = this.#names.get(peerId)?.chosen?.turns;
    if (!this.#dials.has(peerId) && turns) turns.spent++;
    this.#dials.set(peerId, turns);
  }

  /** Charges for the end of a dial. One that was not reported when it began is charged for now. */
  #endDial(peerId: string, isFruitless: boolean): void {
    const isReported = this.#dials.has(peerId);
    const turns = isReported ? this.#dials.get(peerId) : this.#names.get(peerId)?.chosen?.turns;
    this.#dials.delete(peerId);
    if (!turns) return;
    turns.spent += (isFruitless ? costOf(turns) : 1) - +isReported;
    turns.fruitless = isFruitless ? turns.fruitless + 1 : 0;
  }

  /**
   * @param publicKey The key that the peer has proved.
   * @param inbound Whether it was the peer that dialled; without a word, whoever was neither dialled nor handed out.
   */
  connected(peerId: string, now: number, publicKey?: string, inbound?: boolean): void {
    this.changes++;
    const claims = [...(this.#names.get(peerId)?.claims.values() ?? [])];
    inbound ??= !this.#dials.has(peerId) && !claims.some(({ offered }) => offered >= 0);
    if (!this.#links.has(peerId)) this.outcomes.connected++;
    if (!inbound && (this.#dials.has(peerId) || !this.#links.has(peerId))) this.#endDial(peerId, false);
    // Nothing more may be said of a dial that was given up for it.
    this.#dials.delete(peerId);
    this.#links.set(peerId, { publicKey, inbound });
    // What was reported of other keys without a proof was not true of them.
    if (publicKey !== undefined) for (const claim of claims) claim.connectedAt = 0;
    Object.assign(this.#connectedClaim(peerId) ?? {}, { connectedAt: now });
  }

  failed(peerId: string, now: number): void {
    this.changes++;
    const lost = this.#links.has(peerId);
    const chosen = this.#names.get(peerId)?.chosen;
    this.outcomes[lost ? "lost" : "failed"]++;
    // It is handed out again when it announces again.
    Object.assign(chosen ?? {}, { retry: true }, !lost && { failedAt: now });
    if (!lost) this.#endDial(peerId, true);
    this.#dials.delete(peerId);
    // A connection that worked and ended speaks for the peer.
    if (lost) Object.assign(this.#connectedClaim(peerId) ?? {}, { connectedAt: now });
    this.#links.delete(peerId);
  }

  /** The claim of which an open connection says that it is right. */
  #connectedClaim(peerId: string): Claim | undefined {
    const name = this.#names.get(peerId);
    const { publicKey, inbound } = this.#links.get(peerId) as Link;
    if (publicKey !== undefined) return name?.claims.get(publicKey);
    // Without a proof it may be any of them; and whoever dials calls itself what it likes.
    return inbound || name?.live[1] ? undefined : name?.chosen;
  }

  /** What the next visit is to know: the claims that are handed out, and those that have proved good. */
  store(): StoredPeer[] {
    const kept = this.#claims().filter(
      (claim) => claim.connectedAt > 0 || claim === this.#names.get(claim.peerId)?.chosen,
    );
    return this.#deal(kept, forLater)
      .slice(0, STORED)
      .map(({ json, connectedAt, failedAt }) => ({ ticket: json, connectedAt, failedAt }));
  }

  /** Notes what was stored of a claim. A value that is not a time counts as 0. */
  note(ticket: Ticket, { connectedAt, failedAt }: Omit<StoredPeer, "ticket">): void {
    this.changes++;
    Object.assign(this.#claimOf(ticket) ?? {}, { connectedAt: timeOf(connectedAt), failedAt: timeOf(failedAt) });
  }
}

function timeOf(stored: unknown): number {
  return isTime(stored) ? stored : 0;
}

/** What remembers, and is not a source, cannot say that a peer is gone, and nothing else that it is there. */
function isLive(claim: Claim, now: number): boolean {
  const { listings } = claim;
  const isListed = [...listings.values()].some(({ until }) => until > now);
  return isTimely(claim, now) && (isListed || (listings.size === 1 && listings.has(CACHE)));
}

/** Tells what has become of live peers between two lists. */
export function changesBetween(before: PeerList, now: PeerList): PeerChanges {
  const byName = ({ live }: PeerList) => new Map(live.map((peer) => [peer.peerId, peer]));
  const [old, current] = [byName(before), byName(now)];
  const changes: PeerChanges = { appeared: [], gone: [], renewed: [], changed: [] };
  const same = ({ userId, data, publicKey, otherKeys }: Peer) => JSON.stringify([userId, data, publicKey, otherKeys]);
  for (const [peerId, peer] of current) {
    const former = old.get(peerId);
    if (former === peer) continue;
    if (!former) changes.appeared.push(peer);
    else if (same(former) !== same(peer)) changes.changed.push(peer);
    else if (former.issuedAt !== peer.issuedAt) changes.renewed.push(peer);
  }
  for (const [peerId, peer] of old)
    if (!current.has(peerId)) changes.gone.push(now.recentlySeen.find((one) => one.peerId === peerId) ?? peer);
  return changes;
}

/** Puts those to whom a connection worked last first, and those to whom it failed last at the end. */
function byRank(one: Claim, other: Claim): number {
  const rank = ({ connectedAt, failedAt }: Claim) => Math.sign(connectedAt - failedAt);
  return rank(other) - rank(one);
}

/** The order of what is worth keeping: by when it ends, or the long tickets would be the first to go. */
function forLater(one: Claim, other: Claim): number {
  return byRank(one, other) || other.expiresAt - one.expiresAt;
}

/** The order of dialling: those last that are to announce first. */
function forNow(one: Claim, other: Claim): number {
  const waiting = +isWaiting(one) - +isWaiting(other);
  return waiting || byRank(one, other) || one.failedAt - other.failedAt || one.place - other.place;
}

/** Whether it was dialled, perhaps connected, and is handed out again only when it has announced since. */
function isWaiting({ offered, retry }: Claim): boolean {
  return retry && offered >= 0;
}

/** What a dial in these turns costs if it fails. */
function costOf({ fruitless }: Turns): number {
  return 1 + Math.min(MAX_SURCHARGE, Math.floor(fruitless / FRUITLESS_DIALS));
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
      return source !== HANDED && until > now && (!theirs || theirs.until <= now || since < (theirs.since ?? NaN));
    }).length;
  const mine = votes(claim, other);
  return mine > votes(other, claim) && mine >= least;
}
