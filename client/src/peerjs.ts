// The few lines between PeerJS and the client: dials the peers that are handed out, and reports what became of it.

import type { Rendezvous } from "./rendezvous.js";

/** What is needed of PeerJS's `DataConnection`. */
export interface PeerJsConnection {
  readonly peer: string;
  on(event: "open" | "close" | "error", listener: () => void): unknown;
  close(): void;
}

/** What is needed of PeerJS's `Peer`. */
export interface PeerJsPeer {
  readonly id: string;
  /** Undefined while PeerJS is disconnected from its server. */
  connect(peerId: string): PeerJsConnection | undefined;
  // Its connections are of the type that `connect` gives, which a parameter here cannot say.
  on(event: "connection", listener: (connection: any) => void): unknown;
  off(event: "connection", listener: (connection: any) => void): unknown;
}

/** The connections of a peer. */
export type ConnectionOf<Peer extends PeerJsPeer> = NonNullable<ReturnType<Peer["connect"]>>;

export interface ConnectPeersOptions<Connection> {
  /** Gets each connection, dialled or accepted, once it is open. One to the same peer that it replaces is closed first. */
  onConnection?: (connection: Connection) => void;
  /** No more are dialled while there are this many. Default 8. */
  limit?: number;
  /** How long a connection may take to open, in milliseconds. Default 15,000. */
  timeoutMs?: number;
}

/** A connection that is not open yet. */
interface Attempt<Connection> {
  readonly connection: Connection;
  /** By this side. */
  readonly dialled: boolean;
  readonly timer: ReturnType<typeof setTimeout>;
}

/**
 * Keeps a PeerJS peer connected to the peers that `rendezvous` finds.
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
  /** At most one to each peer: to one that is in `open` too, it is to replace that connection. */
  const opening = new Map<string, Attempt<Connection>>();
  const tried = new Set<string>();

  const giveUp = (peerId: string): void => {
    const attempt = opening.get(peerId);
    if (!attempt) return;
    clearTimeout(attempt.timer);
    opening.delete(peerId);
    attempt.connection.close();
  };

  /** Says that a connection has ended, unless there is another, or may soon be. */
  const reportEnd = (peerId: string): void => {
    if (open.has(peerId) || opening.has(peerId) || stop.signal.aborted) return;
    rendezvous.failed(peerId);
    dial();
  };

  const follow = (connection: Connection, dialled: boolean): void => {
    const { peer: peerId } = connection;
    const fail = (): void => {
      if (opening.get(peerId)?.connection !== connection) return;
      giveUp(peerId);
      reportEnd(peerId);
    };
    giveUp(peerId);
    opening.set(peerId, { connection, dialled, timer: setTimeout(fail, timeoutMs) });
    connection.on("open", () => {
      const attempt = opening.get(peerId);
      if (attempt?.connection !== connection) return;
      clearTimeout(attempt.timer);
      opening.delete(peerId);
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
      if (new Set([...open.keys(), ...opening.keys()]).size >= limit) return;
      if (tried.has(peerId) || open.has(peerId) || opening.has(peerId)) continue;
      const connection = peer.connect(peerId) as Connection | undefined;
      if (!connection) return;
      tried.add(peerId);
      follow(connection, true);
    }
  };

  const accept = (connection: Connection): void => {
    // Both have dialled, and nothing is open: the connection of the one with the smaller name stays.
    if (opening.get(connection.peer)?.dialled && peer.id < connection.peer) return connection.close();
    // In every other case the other side has no connection, or has lost it: else it would not have dialled.
    follow(connection, false);
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
  dial();
  return () => {
    stop.abort();
    peer.off("connection", accept);
    for (const peerId of [...opening.keys()]) giveUp(peerId);
  };
}
