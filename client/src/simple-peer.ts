// simple-peer's connections between present peers: an entry point of its own. Signals go through the beacons, and both
// sides confirm their keys before an application gets the peer.

import {
  type Connection as ConnectionTo,
  Connections as ConnectionsBy,
  type ConnectionsOptions,
  type Endpoint,
  type EndpointEvents,
  type EndpointOptions,
  GATHERING_MS,
  Inbox,
} from "./connections.js";
import type { SignalCarrier } from "./live.js";
import type { Rendezvous } from "./rendezvous.js";
import { trimDescription } from "./signal.js";
import { Refusal } from "./ticket.js";

export { ConnectionError } from "./connections.js";
export type { ConnectionsStatus } from "./connections.js";
export type { SignalCarrier } from "./live.js";
export type { Claim } from "./signal.js";

/** What is needed of simple-peer's `Peer`. */
export interface SimplePeer {
  on(event: string, listener: (detail: any) => void): unknown;
  removeListener(event: string, listener: (detail: any) => void): unknown;
  // Of the type that `on` takes, which the declarations of an emitter do not say.
  listeners(event: string): any[];
  signal(data: any): void;
  send(data: any): void;
  pause(): unknown;
  resume(): unknown;
  unshift(chunk: any): unknown;
  destroy(): unknown;
}

export interface SimplePeerOptions<Peer extends SimplePeer> extends ConnectionsOptions<Peer> {
  /** More options of simple-peer's, such as `wrtc`. */
  peerOptions?: object;
}

export type Connection<Peer extends SimplePeer> = ConnectionTo<Peer>;

/**
 * Makes simple-peer's connections to peers, and takes those of peers that call. Descriptions are whole, without trickle:
 * what is found after a second is not told. Renegotiation, as for media that are added later, is the application's: it
 * has simple-peer's event `signal` and a channel to send it over.
 */
export class Connections<Peer extends SimplePeer> extends ConnectionsBy<Peer> {
  /**
   * @param carrier The client of live presence: it carries the signals.
   * @param SimplePeer The class that simple-peer exports.
   */
  constructor(
    rendezvous: Rendezvous,
    carrier: SignalCarrier,
    SimplePeer: new (options: any) => Peer,
    options: SimplePeerOptions<Peer> = {},
  ) {
    const create = (peerOptions: object): Peer => new SimplePeer({ ...options.peerOptions, ...peerOptions });
    super(rendezvous, carrier, options, (events, endpointOptions) => new SimplePeerEndpoint(events, endpointOptions, create));
  }
}

/** @internal */
export class SimplePeerEndpoint<Peer extends SimplePeer> implements Endpoint<Peer> {
  readonly #events: EndpointEvents;
  readonly #options: EndpointOptions;
  readonly #create: (peerOptions: object) => Peer;
  readonly #inbox: Inbox<string | Uint8Array>;
  #peer: Peer | undefined;
  /** Candidates that came before there was a peer. */
  #early: string[] = [];
  /** What listens to the peer already, and is not to hear from it until both sides have confirmed. */
  #listeners: ((data: unknown) => void)[] = [];
  /** What was sent on it meanwhile. */
  readonly #unsent: unknown[] = [];
  readonly #take = (data: string | Uint8Array): void => this.#inbox.take(data);
  #isClosed = false;

  constructor(events: EndpointEvents, options: EndpointOptions, create: (peerOptions: object) => Peer) {
    this.#events = events;
    this.#options = options;
    this.#create = create;
    this.#inbox = new Inbox(
      (data) => events.onConfirmation(typeof data === "string" ? data : new TextDecoder().decode(data)),
      () => this.close(),
    );
  }

  describe(offer?: string): Promise<string> {
    const { iceServers, relayOnly } = this.#options;
    const peer = (this.#peer = this.#create({
      initiator: offer === undefined,
      trickle: false,
      iceCompleteTimeout: GATHERING_MS,
      config: { iceServers, iceTransportPolicy: relayOnly ? "relay" : "all" },
    }));
    this.#listeners = peer.listeners("data");
    for (const listener of this.#listeners) peer.removeListener("data", listener);
    peer.send = (data) => this.#unsent.push(data);
    peer.on("data", this.#take);
    peer.on("connect", () => this.#events.onOpen());
    peer.on("close", () => this.close());
    // It is closed then, which says the same.
    peer.on("error", () => {});
    const described = new Promise<string>((resolve, reject) => {
      peer.on("signal", ({ sdp }) => typeof sdp === "string" && resolve(trimDescription(sdp)));
      peer.on("close", () => reject(new Refusal("CONNECTION_FAILED")));
    });
    if (offer !== undefined) peer.signal({ type: "offer", sdp: offer });
    this.addCandidates(this.#early);
    return described;
  }

  async take(answer: string): Promise<void> {
    this.#peer?.signal({ type: "answer", sdp: answer });
  }

  addCandidates(candidates: string[]): void {
    if (!this.#peer) this.#early.push(...candidates);
    else for (const candidate of candidates) this.#peer.signal({ candidate: { candidate, sdpMLineIndex: 0 } });
  }

  #send(data: unknown): void {
    const peer = this.#peer as Peer;
    (Object.getPrototypeOf(peer) as Peer).send.call(peer, data);
  }

  confirm(text: string): void {
    this.#send(text);
  }

  release(): Peer {
    const peer = this.#peer as Peer;
    peer.pause();
    peer.removeListener("data", this.#take);
    for (const listener of this.#listeners) peer.on("data", listener);
    delete (peer as Partial<Peer>).send;
    for (const data of this.#unsent) this.#send(data);
    // Whoever waits for the peer has had a chance to listen by then.
    setTimeout(() => {
      for (const data of this.#inbox.held.reverse()) peer.unshift(data);
      peer.resume();
    });
    return peer;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#peer?.destroy();
    this.#events.onClose();
  }
}
