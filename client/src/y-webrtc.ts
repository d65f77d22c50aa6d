// y-webrtc without signalling servers: an entry point of its own. Its provider gets connections to the peers that
// `rendezvous` finds, each to a peer that has proved its key.

import { Connections as ConnectionsBy, type ConnectionsOptions } from "./connections.js";
import type { SignalCarrier } from "./live.js";
import type { Rendezvous } from "./rendezvous.js";
import { type SimplePeer, SimplePeerEndpoint } from "./simple-peer.js";

export type { SignalCarrier } from "./live.js";

/** What is needed of y-webrtc's `WebrtcConn`. */
export interface YWebrtcConnection {
  readonly peer: SimplePeer;
}

/** What is needed of y-webrtc's `WebrtcProvider`. */
export interface YWebrtcProvider {
  readonly maxConns: number;
  readonly connected: boolean;
  /** Settles with the key that the password gives, or null. */
  readonly key: PromiseLike<unknown>;
  readonly room: { readonly webrtcConns: Map<string, any>; readonly bcConns: Set<string> } | null;
  peerOpts: any;
  emit(event: any, details: any): unknown;
}

export interface ConnectProviderOptions extends Omit<ConnectionsOptions<SimplePeer>, "onConnection" | "limit" | "inboundLimit"> {
  /** The class `WebrtcConn` that y-webrtc exports. */
  WebrtcConn: new (signaling: any, initiator: boolean, remotePeerId: string, room: any) => YWebrtcConnection;
}

/** It publishes to signalling servers, of which there are none. */
const SILENT = { send() {} };

/**
 * Keeps a provider connected to the peers of `rendezvous`, up to its `maxConns`: all of the community that are there, so a
 * community stands for a room. The provider is made with `signaling: []`.
 *
 * @returns Ends that, and closes the connections: to be called before the provider is destroyed. Rejects with a TypeError
 *   if the provider has a password: y-webrtc hides its signals with it, which these are not; `trustedKeys`, or `accept`,
 *   says who may be here.
 */
export async function connectProvider(
  rendezvous: Rendezvous,
  carrier: SignalCarrier,
  provider: YWebrtcProvider,
  { WebrtcConn, accept = () => true, ...options }: ConnectProviderOptions,
): Promise<() => void> {
  if (await provider.key) throw new TypeError("provider must have no password: see trustedKeys and accept");
  const room = provider.room;
  if (!room) throw new TypeError("provider must have a room");
  let count = 0;
  const hasRoom = (): boolean => provider.connected && room.webrtcConns.size < provider.maxConns;

  const connections = new ConnectionsBy<SimplePeer>(
    rendezvous,
    carrier,
    { ...options, limit: provider.maxConns, accept: async (peer) => hasRoom() && (await accept(peer)) },
    (events, endpointOptions) => {
      // A name of its own each time: y-webrtc forgets by name what has closed.
      const name = `${endpointOptions.peer.peerId} ${(count += 1)}`;
      let connection: YWebrtcConnection;
      const endpoint = new SimplePeerEndpoint(events, endpointOptions, ({ initiator, ...peerOptions }: { initiator?: boolean }) => {
        provider.peerOpts = { ...provider.peerOpts, ...peerOptions };
        connection = new WebrtcConn(SILENT, !!initiator, name, room);
        return connection.peer;
      });
      const release = endpoint.release.bind(endpoint);
      endpoint.release = () => {
        room.webrtcConns.set(name, connection);
        const webrtcPeers = [...room.webrtcConns.keys()];
        provider.emit("peers", [{ added: [name], removed: [], webrtcPeers, bcPeers: [...room.bcConns] }]);
        return release();
      };
      return endpoint;
    },
  );

  return () => connections.stop();
}
