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
  /** Gets each connection, dialled or accepted, once it is open. */
  onConnection?: (connection: Connection) => void;
  /** No more are dialled while there are this many. Default 8. */
  limit?: number;
  /** How long a connection may take to open, in milliseconds. Default 15,000. */
  timeoutMs?: number;
}

/**
 * Keeps a PeerJS peer connected to the peers that `rendezvous` finds.
 *
 * @param peer One that is open: its `id` is the `peerId` of `rendezvous`.
 * @returns Stops dialling and reporting; open connections stay.
 */
export function connectPeers<Peer extends PeerJsPeer>(
  rendezvous: Rendezvous,
  peer: Peer,
  { onConnection, limit = 8, timeoutMs = 15_000 }: ConnectPeersOptions<ConnectionOf<Peer>> = {},
): () => void {
  type Connection = ConnectionOf<Peer>;
  const stop = new AbortController();
  const connections = new Map<string, Connection>();
  const tried = new Set<string>();
  /** Of the connections that are not open yet. */
  const timers = new Set<ReturnType<typeof setTimeout>>();

  const follow = (connection: Connection): void => {
    const { peer: peerId } = connection;
    connections.set(peerId, connection);
    const settle = (): void => {
      clearTimeout(timer);
      timers.delete(timer);
    };
    const lose = (): void => {
      settle();
      if (connections.get(peerId) !== connection || stop.signal.aborted) return;
      connections.delete(peerId);
      rendezvous.failed(peerId);
      dial();
    };
    const timer = setTimeout(() => {
      connection.close();
      lose();
    }, timeoutMs);
    timers.add(timer);
    connection.on("open", () => {
      settle();
      if (connections.get(peerId) !== connection || stop.signal.aborted) return;
      rendezvous.connected(peerId);
      onConnection?.(connection);
    });
    connection.on("close", lose);
    connection.on("error", lose);
  };

  const dial = (): void => {
    const { live, recentlySeen } = rendezvous.peers();
    for (const { peerId } of [...live, ...recentlySeen]) {
      if (connections.size >= limit) return;
      if (tried.has(peerId) || connections.has(peerId)) continue;
      const connection = peer.connect(peerId) as Connection | undefined;
      if (!connection) return;
      tried.add(peerId);
      follow(connection);
    }
  };

  const accept = (connection: Connection): void => {
    const dialled = connections.get(connection.peer);
    // Both have dialled: the connection of the one with the smaller name stays.
    if (dialled && peer.id < connection.peer) return connection.close();
    follow(connection);
    dialled?.close();
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
    timers.forEach(clearTimeout);
    peer.off("connection", accept);
  };
}
