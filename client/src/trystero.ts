// Trystero's rooms over present peers: an entry point of its own. A room's signals go over data channels between peers that
// have proved their keys, and the beacons carry only what makes those channels.
//
// A channel is one end of a small publish-subscribe system: each side says which of Trystero's topics it listens to, and is
// sent what the other one publishes there. So who is in another room hears nothing, and an offer reaches one peer alone.

import type { ConnectionsOptions } from "./connections.js";
import type { SignalCarrier } from "./live.js";
import type { Rendezvous } from "./rendezvous.js";
import type { Claim } from "./signal.js";
import { type Connection, Connections } from "./webrtc.js";

export type { SignalCarrier } from "./live.js";

/** What is needed of `@trystero-p2p/core`. */
export interface TrysteroCore<JoinRoom> {
  readonly selfId: string;
  // Of the types that its functions infer, which a parameter here cannot say.
  createTopicStrategy(adapter: any): JoinRoom;
}

export interface JoinRooms<JoinRoom> {
  /** Trystero's `joinRoom(config, roomId, callbacks?)`. */
  readonly joinRoom: JoinRoom;
  /** The key that a peer of a room has proved, in base64; undefined once it is not connected any more. */
  keyOf(peerId: string): string | undefined;
  /** Closes the channels, so that nobody joins any more: to be called after the rooms are left. */
  stop(): void;
}

type OnMessage = (topic: string, message: Record<string, unknown>) => unknown;
type Handshake = (peerId: string, send: (data: string) => Promise<void>, receive: () => Promise<{ data: unknown }>, isInitiator: boolean) => Promise<void>;

interface Channel extends Claim {
  readonly channel: RTCDataChannel;
  /** What its peer listens to. */
  readonly topics: Set<string>;
}

/** Of a frame: an offer, which is the longest, has some thousands. */
const FRAME_MAX_LENGTH = 65_536;
const TOPIC_MAX_LENGTH = 128;
/** Two for each room. */
const TOPICS_MAX = 64;
const PEERS = 32;

/** Reads a frame or a message, a JSON object; an empty one stands for whatever else was sent. */
function read(text: unknown): Record<string, unknown> {
  try {
    return typeof text === "string" && text.length <= FRAME_MAX_LENGTH ? Object(JSON.parse(text)) : {};
  } catch {
    return {};
  }
}

/**
 * Gives Trystero rooms whose peers find each other and connect through the beacons of `rendezvous`, each to peers that have
 * proved their keys.
 *
 * @param rendezvous One whose `peerId` is Trystero's `selfId`.
 * @param core The exports of `@trystero-p2p/core`.
 * @param options `limit`: how many peers of the community are dialled. Default 32.
 * @throws TypeError where the `peerId` is another one.
 */
export function joinRooms<JoinRoom extends (config: any, roomId: string, callbacks?: any) => any>(
  rendezvous: Rendezvous,
  carrier: SignalCarrier,
  { selfId, createTopicStrategy }: TrysteroCore<JoinRoom>,
  options: Omit<ConnectionsOptions<RTCDataChannel>, "onConnection"> = {},
): JoinRooms<JoinRoom> {
  if (rendezvous.inside.profile.peerId !== selfId) throw new TypeError("peerId must be Trystero's selfId");
  /** By `peerId`: whoever is first to prove a key holds the name here, as long as the channel is open. */
  const channels = new Map<string, Channel>();
  const listeners = new Map<string, Set<OnMessage>>();
  /** By topic: what says that this page is in a room, for those who come to listen later. */
  const announced = new Map<string, string>();

  const send = ({ channel }: Channel, frame: object): void => {
    if (channel.readyState === "open") channel.send(JSON.stringify(frame));
  };
  const sendAll = (frame: object): void => channels.forEach((channel) => send(channel, frame));

  const take = (from: Channel, data: unknown): void => {
    const { subscribe, unsubscribe, topic, message } = read(data);
    if (typeof unsubscribe === "string") from.topics.delete(unsubscribe);
    if (typeof subscribe === "string" && subscribe.length <= TOPIC_MAX_LENGTH && from.topics.size < TOPICS_MAX) {
      from.topics.add(subscribe);
      const known = announced.get(subscribe);
      if (known !== undefined) send(from, { topic: subscribe, message: known });
    }
    if (typeof topic !== "string") return;
    // `peer` is for strategies within one page.
    const { peer: _, ...signal } = read(message);
    // Nobody speaks for another.
    if (signal.peerId !== from.peerId) return;
    for (const listener of listeners.get(topic) ?? []) listener(topic, signal);
  };

  const open = ({ peerId, publicKey, channel }: Connection): void => {
    const held = channels.get(peerId);
    if (held && held.publicKey !== publicKey) return channel.close();
    const opened = { peerId, publicKey, channel, topics: new Set<string>() };
    channels.set(peerId, opened);
    channel.addEventListener("message", ({ data }) => take(opened, data));
    channel.addEventListener("close", () => channels.get(peerId) === opened && channels.delete(peerId));
    for (const topic of listeners.keys()) send(opened, { subscribe: topic });
  };

  const connections = new Connections(rendezvous, carrier, { limit: PEERS, ...options, onConnection: open });

  const join = createTopicStrategy({
    init: () => true,
    subscribeTopic(_relay: unknown, topic: string, listener: OnMessage) {
      const all = listeners.get(topic) ?? new Set();
      listeners.set(topic, all.add(listener));
      if (all.size === 1) sendAll({ subscribe: topic });
      return () => {
        all.delete(listener);
        if (all.size > 0 || listeners.get(topic) !== all) return;
        listeners.delete(topic);
        announced.delete(topic);
        sendAll({ unsubscribe: topic });
      };
    },
    publishTopic(_relay: unknown, topic: string, message: string, { kind }: { kind: string }) {
      if (kind === "announce") announced.set(topic, message);
      for (const channel of channels.values()) if (channel.topics.has(topic)) send(channel, { topic, message });
    },
    unpublishTopic: (_relay: unknown, topic: string) => void announced.delete(topic),
  });

  /**
   * Each side says over the new connection between whom it is. An offer and an answer that a peer has passed on as its own
   * connect two others, who take each other for that peer.
   */
  const confirm: Handshake = async (peerId, send, receive) => {
    const key = channels.get(peerId)?.publicKey;
    await send(JSON.stringify([rendezvous.publicKey, key]));
    const { data } = await receive();
    if (!key || data !== JSON.stringify([key, rendezvous.publicKey])) throw new Error("CONFIRMATION_INVALID");
  };

  return {
    joinRoom: ((config, roomId, callbacks) => {
      const { onPeerHandshake }: { onPeerHandshake?: Handshake } = callbacks ?? {};
      return join(config, roomId, {
        ...callbacks,
        onPeerHandshake: async (...handshake: Parameters<Handshake>) => {
          await confirm(...handshake);
          await onPeerHandshake?.(...handshake);
        },
      });
    }) as JoinRoom,
    keyOf: (peerId) => channels.get(peerId)?.publicKey,
    stop: () => connections.stop(),
  };
}
