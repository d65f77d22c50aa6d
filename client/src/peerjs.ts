// The few lines between PeerJS and the client: dials the peers that are handed out, and reports what became of it.

import type { Rendezvous } from "./rendezvous.js";

/** What is needed of PeerJS's `DataConnection`. */
export interface PeerJsConnection {
  readonly peer: string;
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
  connect(peerId: string): PeerJsConnection | undefined;
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
  /** No more are dialled while there are this many. Default 8. */
  limit?: number;
  /** How long a connection may take to open, in milliseconds. Default 15,000. */
  timeoutMs?: number;
}

/** All that PeerJS says of which peer its server does not know. */
const UNKNOWN_PEER = "Could not connect to peer ";

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
  { onConnection, limit = 8, timeoutMs = 15_000 }: ConnectPeersOptions<ConnectionOf<Peer>> = {},
): () => void {
  type Connection = ConnectionOf<Peer>;
  const stop = new AbortController();
  const open = new Map<string, Connection>();
  /** Not open yet. To a peer that is in `open` too, they are to replace that connection. */
  const dialled: Attempts<Connection> = new Map();
  const accepted: Attempts<Connection> = new Map();
  const tried = new Set<string>();

  const held = (): Set<string> => new Set([...open.keys(), ...dialled.keys(), ...accepted.keys()]);

  const giveUp = (attempts: Attempts<Connection>, peerId: string): void => {
    const attempt = attempts.get(peerId);
    if (!attempt) return;
    clearTimeout(attempt.timer);
    attempts.delete(peerId);
    attempt.connection.close();
  };

  /** Says that a connection has ended, unless there is another, or may soon be. */
  const reportEnd = (peerId: string): void => {
    if (stop.signal.aborted || held().has(peerId)) return;
    rendezvous.failed(peerId);
    dial();
  };

  const follow = (attempts: Attempts<Connection>, connection: Connection): void => {
    const { peer: peerId } = connection;
    const fail = (): void => {
      if (attempts.get(peerId)?.connection !== connection) return;
      giveUp(attempts, peerId);
      reportEnd(peerId);
    };
    giveUp(attempts, peerId);
    attempts.set(peerId, { connection, timer: setTimeout(fail, timeoutMs) });
    connection.on("open", () => {
      const attempt = attempts.get(peerId);
      if (attempt?.connection !== connection) return;
      clearTimeout(attempt.timer);
      attempts.delete(peerId);
      if (attempts === dialled) giveUp(accepted, peerId);
      const replaced = open.get(peerId);
      open.set(peerId, connection);
      replaced?.close();
      rendezvous.connected(peerId);
      onConnection?.(connection);
    });
    connection.on("close", () => {
      fail();
      if (open.get(peerId) !== connection) return;
      open.delete(peerId);
      reportEnd(peerId);
    });
    // It ends nothing that is open: the error may be a message that is too long.
    connection.on("error", fail);
  };

  const dial = (): void => {
    const { live, recentlySeen } = rendezvous.peers();
    for (const { peerId } of [...live, ...recentlySeen]) {
      const taken = held();
      if (taken.size >= limit) return;
      if (tried.has(peerId) || taken.has(peerId)) continue;
      const connection = peer.connect(peerId) as Connection | undefined;
      if (!connection) return;
      tried.add(peerId);
      follow(dialled, connection);
    }
  };

  const accept = (connection: Connection): void => {
    // The other side has no connection, or has lost it: else it would not have dialled. If both have, what the one with
    // the smaller name dialled is to stay; the other's waits, because this dial may have reached nobody.
    if (peer.id > connection.peer) giveUp(dialled, connection.peer);
    follow(accepted, connection);
  };

  // It is said of a peer, not of a connection: what was dialled may be open by now.
  const giveUpUnknown = ({ type, message }: PeerJsError): void => {
    const peerId = message.slice(UNKNOWN_PEER.length);
    if (type !== "peer-unavailable" || !message.startsWith(UNKNOWN_PEER) || !dialled.has(peerId)) return;
    giveUp(dialled, peerId);
    reportEnd(peerId);
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
    peer.off("connection", accept);
    peer.off("error", giveUpUnknown);
    for (const attempts of [dialled, accepted]) for (const peerId of [...attempts.keys()]) giveUp(attempts, peerId);
  };
}
