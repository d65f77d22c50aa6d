// Data channels between present peers, by the platform's own WebRTC: an entry point of its own.

import {
  GATHERING_MS,
  Inbox,
  type Connection as ConnectionTo,
  Connections as ConnectionsBy,
  type ConnectionsOptions,
  type Endpoint,
  type EndpointEvents,
  type EndpointOptions,
} from "./connections.js";
import type { SignalCarrier } from "./live.js";
import type { Rendezvous } from "./rendezvous.js";
import { CANDIDATES_MAX, isUseful, readDescription, trimDescription } from "./signal.js";
import { Refusal } from "./ticket.js";

export { ConnectionError } from "./connections.js";
export type { ConnectionsStatus } from "./connections.js";
export type { SignalCarrier } from "./live.js";
export type { Claim } from "./signal.js";

export type WebRtcOptions = ConnectionsOptions<RTCDataChannel>;
export type Connection = ConnectionTo<RTCDataChannel>;

/** How long a candidate that is late waits for others, in milliseconds. */
const BATCH_MS = 300;

/**
 * Makes data channels to peers, and takes those of peers that call: signals go through the beacons, and nothing else is
 * needed.
 */
export class Connections extends ConnectionsBy<RTCDataChannel> {
  /** @param carrier The client of live presence: it carries the signals. */
  constructor(rendezvous: Rendezvous, carrier: SignalCarrier, options: WebRtcOptions = {}) {
    super(rendezvous, carrier, options, (events, endpointOptions) => new NativeEndpoint(events, endpointOptions));
  }
}

class NativeEndpoint implements Endpoint<RTCDataChannel> {
  readonly #connection: RTCPeerConnection;
  readonly #channel: RTCDataChannel;
  readonly #events: EndpointEvents;
  /** Candidates that were found and not told; undefined until the description has told those before. */
  #late: string[] | undefined;
  #told = 0;
  #batch: ReturnType<typeof setTimeout> | undefined;
  /** Settles when the other's description is there. */
  readonly #described: Promise<void>;
  #setDescribed!: () => void;
  readonly #inbox: Inbox<string | ArrayBuffer>;
  #isClosed = false;

  constructor(events: EndpointEvents, { iceServers, relayOnly }: EndpointOptions) {
    this.#events = events;
    this.#inbox = new Inbox<string | ArrayBuffer>(events.onConfirmation, () => this.close());
    this.#described = new Promise((resolve) => (this.#setDescribed = resolve));
    const connection = new RTCPeerConnection({
      iceServers: iceServers as RTCIceServer[],
      iceTransportPolicy: relayOnly ? "relay" : "all",
    });
    this.#connection = connection;
    // The same on both sides, so that nothing has to be told of it.
    const channel = connection.createDataChannel("rendezvous-beacon", { negotiated: true, id: 0 });
    this.#channel = channel;
    channel.binaryType = "arraybuffer";
    channel.addEventListener("open", () => events.onOpen());
    channel.addEventListener("message", this.#hold);
    channel.addEventListener("close", () => this.close());
    connection.addEventListener("connectionstatechange", () => {
      if (/failed|closed/.test(connection.connectionState)) this.close();
    });
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (!this.#late || !candidate || !isUseful(candidate.candidate)) return;
      this.#late.push(candidate.candidate);
      this.#batch ??= setTimeout(() => this.#tellLate(), BATCH_MS);
    });
  }

  async describe(offer?: string): Promise<string> {
    const connection = this.#connection;
    if (offer !== undefined) {
      await connection.setRemoteDescription({ type: "offer", sdp: offer }).catch(() => {
        throw new Refusal("DESCRIPTION_INVALID");
      });
      this.#setDescribed();
    }
    await connection.setLocalDescription();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, GATHERING_MS);
      const look = (): void => {
        if (connection.iceGatheringState !== "complete" && !this.#isClosed) return;
        clearTimeout(timer);
        resolve();
      };
      connection.addEventListener("icegatheringstatechange", look);
      look();
    });
    this.#late = [];
    const description = trimDescription(connection.localDescription?.sdp ?? "");
    this.#told = readDescription(description).candidates.length;
    return description;
  }

  #tellLate(): void {
    this.#batch = undefined;
    const candidates = (this.#late ?? []).splice(0).slice(0, Math.max(0, CANDIDATES_MAX - this.#told));
    this.#told += candidates.length;
    if (candidates[0] && !this.#isClosed) this.#events.onCandidates(candidates);
  }

  async take(answer: string): Promise<void> {
    await this.#connection.setRemoteDescription({ type: "answer", sdp: answer });
    this.#setDescribed();
  }

  addCandidates(candidates: string[]): void {
    void this.#described.then(() => {
      for (const candidate of candidates) {
        // One that cannot be used leaves the others.
        this.#connection.addIceCandidate({ candidate, sdpMLineIndex: 0 }).catch(() => {});
      }
    });
  }

  confirm(text: string): void {
    this.#channel.send(text);
  }

  readonly #hold = (event: MessageEvent): void => {
    event.stopImmediatePropagation();
    this.#inbox.take(event.data);
  };

  release(): RTCDataChannel {
    const channel = this.#channel;
    // Whoever waits for the channel has had a chance to listen by then.
    setTimeout(() => {
      channel.removeEventListener("message", this.#hold);
      for (const data of this.#inbox.held) channel.dispatchEvent(new MessageEvent("message", { data }));
    });
    return channel;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#batch);
    this.#connection.close();
    this.#events.onClose();
  }
}
