// The few lines between PeerJS and the client: dials the peers that are handed out, and reports what became of it.

import type { Rendezvous } from "./rendezvous.js";

/** What is needed of PeerJS's `DataConnection`. */
export interface PeerJsConnection {
  readonly peer: string;
  /** What the side that dialled has sent with it. */
  readonly metadata?: unknown;
  on(event: "open" | "close" | "error", listener: () => void): unknown;
  close(): void;
}

/** What is needed of PeerJS's `PeerError`. */
export interface PeerJsError {
  readonly type: string;
  readonly message: string;
}

/** What is needed of PeerJS's `Peer`. */
export interface PeerJsPeer {
  readonly id: string;
  /** Undefined while PeerJS is disconnected from its server. */
  connect(peerId: string, options?: { metadata?: unknown }): PeerJsConnection | undefined;
  // Its connections are of the type that `connect` gives, which a parameter here cannot say.
  on(event: "connection", listener: (connection: any) => void): unknown;
  off(event: "connection", listener: (connection: any) => void): unknown;
  on(event: "error", listener: (error: PeerJsError) => void): unknown;
  off(event: "error", listener: (error: PeerJsError) => void): unknown;
}

/** The connections of a peer. */
export type ConnectionOf<Peer extends PeerJsPeer> = NonNullable<ReturnType<Peer["connect"]>>;

export interface ConnectPeersOptions<Connection> {
  /** Gets each connection, dialled or accepted, once it is open; one that it replaces is closed before. */
  onConnection?: (connection: Connection) => void;
  /** No more are dialled while this many that were dialled are open, or may soon be. Default 8. */
  limit?: number;
  /**
   * No more are accepted while this many that were accepted are open, or may soon be. They are counted apart: strangers
   * who connect keep this page from dialling nobody. Default 32.
   */
  inboundLimit?: number;
  /**
   * Whether a connection is refused with which no ticket comes: by a page that does not use this adapter, or one of version
   * 0.1.0. Default: whether `rendezvous` has `trustedKeys`. One with a bad ticket, or another's, is refused in any case.
   */
  requireTicket?: boolean;
  /** How long a connection may take to open, in milliseconds. Default 15,000. */
  timeoutMs?: number;
}

/** All that PeerJS says of which peer its server does not know. */
const UNKNOWN_PEER = "Could not connect to peer ";

/** How long a dial waits for this peer's ticket. */
const TICKET_PATIENCE_MS = 1_000;

/** Whether a text says that it is the ticket of a peer. */
function isOf(ticket: unknown, peerId: string): boolean {
  try {
    return JSON.parse(ticket as string).payload.peerId === peerId;
  } catch {
    return false;
  }
}

/** Connections that are not open yet, by peer. */
type Attempts<Connection> = Map<string, { connection: Connection; timer: ReturnType<typeof setTimeout> }>;

/**
 * Keeps a PeerJS peer connected to the peers that `rendezvous` finds. Whom a connection reaches is the word of PeerJS's
 * server: which key they have is the page's to ask, and to report with `rendezvous.connected(peerId, publicKey)`.
 *
 * @param peer One that is open: its `id` is the `peerId` of `rendezvous`.
 * @returns Stops dialling, accepting and reporting; only connections that are open stay.
 */
export function connectPeers<Peer extends PeerJsPeer>(
  rendezvous: Rendezvous,
  peer: Peer,
  { onConnection, limit = 8, inboundLimit = 32, requireTicket, timeoutMs = 15_000 }: ConnectPeersOptions<ConnectionOf<Peer>> = {},
): () => void {
  type Connection = ConnectionOf<Peer>;
  const stop = new AbortController();
  const open = new Map<string, Connection>();
  /** Not open yet. To a peer that is in `open` too, they are to replace that connection. */
  const dialled: Attempts<Connection> = new Map();
  const accepted: Attempts<Connection> = new Map();
  /** Those of the open ones that the other side has dialled. */
  const inbound = new Set<string>();
  /** Those of which a connection was reported, and not its end. */
  const reported = new Set<string>();
  const tried = new Set<string>();
  let waiting: ReturnType<typeof setTimeout> | undefined;

  const held = (): Set<string> => new Set([...open.keys(), ...dialled.keys(), ...accepted.keys()]);
  const outboundSize = (): number =>
    new Set([...dialled.keys(), ...[...open.keys()].filter((peerId) => !inbound.has(peerId))]).size;

  const giveUp = (attempts: Attempts<Connection>, peerId: string): void => {
    const attempt = attempts.get(peerId);
    if (!attempt) return;
    clearTimeout(attempt.timer);
    attempts.delete(peerId);
    attempt.connection.close();
  };

  /**
   * Says that a connection has ended, unless there is another, or may soon be. Of a call that never opened it says nothing:
   * whoever calls may use any name.
   */
  const reportEnd = (peerId: string, isDialled: boolean): void => {
    if (stop.signal.aborted || held().has(peerId)) return;
    if (reported.delete(peerId) || isDialled) rendezvous.failed(peerId);
    dial();
  };

  /** @param admitted Whether the peer may be here, if that is still to be found out. */
  const follow = (attempts: Attempts<Connection>, connection: Connection, admitted?: Promise<boolean>): void => {
    const { peer: peerId } = connection;
    const fail = (): void => {
      if (attempts.get(peerId)?.connection !== connection) return;
      giveUp(attempts, peerId);
      reportEnd(peerId, attempts === dialled);
    };
    giveUp(attempts, peerId);
    attempts.set(peerId, { connection, timer: setTimeout(fail, timeoutMs) });
    void admitted?.then((isAdmitted) => isAdmitted || refuse(attempts, connection));
    connection.on("open", async () => {
      if (admitted && !(await admitted)) return;
      const attempt = attempts.get(peerId);
      if (attempt?.connection !== connection) return;
      clearTimeout(attempt.timer);
      attempts.delete(peerId);
      if (attempts === dialled) giveUp(accepted, peerId);
      const replaced = open.get(peerId);
      open.set(peerId, connection);
      const isInbound = attempts === accepted;
      if (isInbound) inbound.add(peerId);
      else inbound.delete(peerId);
      replaced?.close();
      reported.add(peerId);
      rendezvous.connected(peerId, undefined, { inbound: isInbound });
      onConnection?.(connection);
    });
    connection.on("close", () => {
      fail();
      if (open.get(peerId) !== connection) return;
      open.delete(peerId);
      inbound.delete(peerId);
      reportEnd(peerId, true);
    });
    // It ends nothing that is open: the error may be a message that is too long.
    connection.on("error", fail);
  };

  const refuse = (attempts: Attempts<Connection>, connection: Connection): void => {
    if (attempts.get(connection.peer)?.connection === connection) giveUp(attempts, connection.peer);
    else connection.close();
    reportEnd(connection.peer, false);
  };

  /** Whether a caller may be here; undefined where there is nothing to find out. */
  const admit = ({ peer: peerId, metadata }: PeerJsConnection): Promise<boolean> | undefined => {
    const { ticket } = Object(metadata);
    if (ticket === undefined) return requireTicket ?? rendezvous.hasTrustedKeys ? Promise.resolve(false) : undefined;
    return isOf(ticket, peerId) ? rendezvous.add(ticket).then((reason) => !reason) : Promise.resolve(false);
  };

  // The ticket comes first: a peer that is dialled knows by it who calls. One that is late keeps nobody from dialling.
  const dial = (): void => {
    if (waiting || outboundSize() >= limit) return;
    const go = (ticket?: string): void => {
      if (!waiting) return;
      clearTimeout(waiting);
      waiting = undefined;
      dialWith(ticket);
    };
    waiting = setTimeout(go, TICKET_PATIENCE_MS);
    rendezvous.ticket().then(go, () => go());
  };

  const dialWith = (ticket: string | undefined): void => {
    if (stop.signal.aborted) return;
    const { live, recentlySeen } = rendezvous.peers();
    for (const { peerId } of [...live, ...recentlySeen]) {
      if (outboundSize() >= limit) return;
      if (tried.has(peerId) || held().has(peerId)) continue;
      const connection = peer.connect(peerId, { metadata: { ticket } }) as Connection | undefined;
      if (!connection) return;
      tried.add(peerId);
      rendezvous.dialling(peerId);
      follow(dialled, connection);
    }
  };

  const accept = (connection: Connection): void => {
    // The other side has no connection, or has lost it: else it would not have dialled. If both have, what the one with
    // the smaller name dialled is to stay; the other's waits, because this dial may have reached nobody.
    const isKnown = held().has(connection.peer);
    if (!isKnown && new Set([...inbound, ...accepted.keys()]).size >= inboundLimit) return connection.close();
    if (peer.id > connection.peer) giveUp(dialled, connection.peer);
    follow(accepted, connection, admit(connection));
  };

  // It is said of a peer, not of a connection: what was dialled may be open by now.
  const giveUpUnknown = ({ type, message }: PeerJsError): void => {
    const peerId = message.slice(UNKNOWN_PEER.length);
    if (type !== "peer-unavailable" || !message.startsWith(UNKNOWN_PEER) || !dialled.has(peerId)) return;
    giveUp(dialled, peerId);
    reportEnd(peerId, true);
  };

  rendezvous.addEventListener(
    "peers",
    ({ detail }) => {
      for (const { peerId } of [...detail.live, ...detail.recentlySeen]) tried.delete(peerId);
      dial();
    },
    { signal: stop.signal },
  );
  peer.on("connection", accept);
  peer.on("error", giveUpUnknown);
  dial();
  return () => {
    stop.abort();
    clearTimeout(waiting);
    peer.off("connection", accept);
    peer.off("error", giveUpUnknown);
    for (const attempts of [dialled, accepted]) for (const peerId of [...attempts.keys()]) giveUp(attempts, peerId);
  };
}
