// Presence that is pushed: who comes and goes is known within a second, over a connection to each beacon that offers one.
//
// The client goes on as it is: what it asks of a beacon is answered here while that beacon tells by itself, and goes its
// usual way else. So there is one list of peers, one schedule and one state, whichever way a beacon is reached.

import { BeaconError, Connection, type LiveSocket, type Transport } from "./connection.js";
import type { JsonObject } from "./json.js";
import { type Reason, reasonOf } from "./reason.js";
import type { Rendezvous } from "./rendezvous.js";
import { Refusal, demand } from "./ticket.js";

export interface LiveOptions {
  /**
   * Makes WebSockets. Default: the global one, which Node has from version 22 on. Without any, or with `null`, beacons tell
   * over event streams, and no signals are carried.
   */
  WebSocket?: (new (url: string) => LiveSocket) | null;
}

/** How one beacon tells who is there. */
export interface LiveStatus {
  readonly url: string;
  /** `polling`: it is asked, as without `live`, until a connection is possible. */
  readonly transport: Transport;
  /** Whether it has bound the connection to this peer, so that signals can be sent and come. */
  readonly bound: boolean;
  /** Why it is asked, or has not bound the connection; undefined where it does both, or was not dialled yet. */
  readonly reason: Reason | undefined;
}

/** What carries signals between two present peers. */
export interface SignalCarrier {
  /**
   * Sends a signal through every bound connection.
   *
   * @param id The signal's.
   * @param text The signal as it goes over the wire.
   * @returns Settles when one beacon has delivered it. Rejects with an error whose message is a code: `NOT_BOUND` where no
   *   connection is bound, `TOO_FAST` where more is sent than beacons take (10 at once and one in 3 s), what a beacon has
   *   said, or `TIMEOUT` after 10 s. Of several it is one that may pass, if there is one.
   */
  sendSignal(id: string, text: string): Promise<void>;
  /**
   * Hands over each signal that comes, unverified. The same text comes once, however many beacons deliver it. Whether two
   * that differ are one signal is for whoever verifies them: a beacon could else keep one back by forging another.
   *
   * @returns Ends that.
   */
  onSignal(listener: (text: string) => void): () => void;
  /** Gives what beacons say of ICE servers for this peer, unread. Never rejects. */
  iceServers(): Promise<unknown[]>;
}

export interface Live extends SignalCarrier {
  /** Each beacon, as in the options of `rendezvous`. The event `status` of `rendezvous` says when it may have changed. */
  status(): readonly LiveStatus[];
  /** Closes all connections: beacons are asked again. The peers stay. */
  stop(): void;
}

/** How long the first announce waits for a connection that it could go over. */
const PATIENCE_MS = 1_500;
/** How long a goodbye waits for its answer before it goes as a request. */
const LEAVE_PATIENCE_MS = 1_000;
/** The same of an announce, which then goes as a request: below what a beacon may take, so that there is time for that. */
const ANNOUNCE_PATIENCE_MS = 5_000;
/** UTF-16 units of a signal. */
const SIGNAL_MAX_LENGTH = 12_288;
/** What a beacon may hand over of signals at once, and how long until it may hand over one more. */
const SIGNALS_AT_ONCE = 20;
const SIGNAL_INTERVAL_MS = 1_000;
/** What a beacon takes of signals at once over one connection, and how long until it takes one more. */
const SENT_AT_ONCE = 10;
const SENT_INTERVAL_MS = 3_000;
/** Codes after which a signal may be sent again: of several that beacons say, one of these is told. */
const PASSING = /^(TOO_FAST|NOT_BOUND|PEER_)/;
/** Signals that are remembered. */
const SIGNALS_KNOWN = 64;

/** Those that are connected: of two at once, one would answer what the other's connections are for. */
const connected = new WeakSet<Rendezvous>();

/**
 * Connects a client to its beacons, so that they tell it who comes and goes.
 *
 * @param rendezvous Running or not. Connections are there between its `start()` and `stop()`.
 * @throws TypeError for a client that has been connected, until that is stopped.
 */
export function live(rendezvous: Rendezvous, { WebSocket = globalThis.WebSocket }: LiveOptions = {}): Live {
  if (connected.has(rendezvous)) throw new TypeError("live already");
  connected.add(rendezvous);
  const inside = () => rendezvous.inside;
  const { host, sources } = inside();
  const ask = host.fetch;
  const stop = new AbortController();
  const newSocket = WebSocket && ((url: string): LiveSocket => new WebSocket(url));
  const listeners = new Set<(text: string) => void>();
  const known = new Set<string>();

  const tell = () => rendezvous.dispatchEvent(new Event("status"));
  /** A token bucket. @returns What takes one, and says whether there was one. */
  const bucket = (most: number, intervalMs: number) => {
    let spentUntil = 0;
    return (): boolean => {
      const from = Math.max(spentUntil, host.elapsed());
      const isThere = from - host.elapsed() <= (most - 1) * intervalMs;
      if (isThere) spentUntil = from + intervalMs;
      return isThere;
    };
  };
  /** @returns What takes a beacon's signals, as many as one may send. */
  const signals = () => {
    const takes = bucket(SIGNALS_AT_ONCE, SIGNAL_INTERVAL_MS);
    return (text: string): void => {
      if (text.length > SIGNAL_MAX_LENGTH || !takes() || known.has(text)) return;
      known.add(text);
      const [oldest] = known;
      if (known.size > SIGNALS_KNOWN) known.delete(oldest as string);
      for (const listener of [...listeners]) listener(text);
    };
  };
  const beacons = sources.filter(({ trust }) => !trust);
  const connections = beacons.map((source) => new Connection(source, inside, newSocket, tell, signals()));
  const buckets = connections.map(() => bucket(SENT_AT_ONCE, SENT_INTERVAL_MS));

  /** An answer as the beacon gives it to a request, without a list: that is told by itself. */
  const reply = (connection: Connection, ok: boolean, answer?: JsonObject): Response => {
    const said = Object.fromEntries(answer ?? []);
    return new Response(JSON.stringify({ ...said, ok, serverTime: connection.serverTime, peers: [] }));
  };

  /** Undefined where it is to go its usual way. */
  const answer = async (connection: Connection, path: string, init: RequestInit): Promise<Response | undefined> => {
    const body = init.body as string;
    if (path === "leave") {
      // A page that goes has no time for an answer: its goodbye is a request that outlives it.
      if (connection.transport !== "socket" || rendezvous.status().running) return undefined;
      const left = connection.carry("leave", body, LEAVE_PATIENCE_MS);
      return left.then((said) => reply(connection, true, said)).catch(() => undefined);
    }
    // This machine slept, or its clock was set: a new connection tells the time.
    if (connection.transport !== "polling" && connection.serverTime === undefined) connection.close();
    connection.open();
    if (path === "peers") {
      // Only a list says which of several keys a beacon has listed longer.
      const isTold = connection.isWhole && !rendezvous.peers().live.some(({ contested }) => contested);
      return isTold ? reply(connection, true) : undefined;
    }
    await connection.settled(PATIENCE_MS);
    init.signal?.throwIfAborted();
    if (connection.transport !== "socket") return undefined;
    try {
      return reply(connection, true, await connection.carry("announce", body, ANNOUNCE_PATIENCE_MS));
    } catch (error) {
      init.signal?.throwIfAborted();
      if (error instanceof BeaconError) return reply(connection, false, error.answer);
      // A socket that answers nothing may be dead. The same ticket is the same announce, whichever way it comes.
      connection.askNow();
      return undefined;
    }
  };

  host.fetch = async (url, init) => {
    const [asked = "", path] = /\/(announce|leave|peers)\?/.exec(url) ?? [];
    const connection = path && connections.find(({ source }) => url.startsWith(source.url + asked));
    const isOurs = connection && !stop.signal.aborted;
    if (isOurs) inside().run?.presence?.signal.addEventListener("abort", leave);
    return (isOurs && (await answer(connection, path, init))) || ask(url, init);
  };

  /** The client has stopped, or its page goes: what is still to be said is said first. */
  const leave = (): void => {
    // It may have been started again meanwhile.
    for (const connection of connections) void connection.idle(LEAVE_PATIENCE_MS).then(() => inside().run?.presence || connection.close());
  };

  host.listen(
    {
      online: () => connections.forEach((connection) => connection.askNow()),
      offline() {},
      pagehide: () => connections.forEach((connection) => connection.close()),
      pageshow() {},
    },
    stop.signal,
  );
  rendezvous.addEventListener(
    "status",
    () => {
      for (const connection of connections) {
        if (connection.source.isSpare || connection.source.reason === "REVOKED_BEACON") connection.close();
        connection.bind();
      }
    },
    { signal: stop.signal },
  );

  return {
    status: () =>
      connections.map(({ source: { url }, transport, isBound: bound, reason }) => ({ url, transport, bound, reason })),
    stop() {
      connected.delete(rendezvous);
      stop.abort();
      connections.forEach((connection) => connection.close());
    },
    async sendSignal(id, text) {
      let refusal: Reason = "";
      const sent = connections.map(async (connection, at) => {
        demand(connection.isBound);
        try {
          demand(buckets[at]?.(), "TOO_FAST");
          await connection.ask(id, text);
        } catch (error) {
          const code = reasonOf(error);
          if (!PASSING.test(refusal)) refusal = code;
          if (code === "NOT_BOUND") {
            connection.isBound = false;
            tell();
          }
          throw error;
        }
      });
      await Promise.any(sent).catch(() => {
        throw new Refusal(refusal || "NOT_BOUND");
      });
    },
    iceServers: () => Promise.all(connections.map((connection) => connection.relay())),
    onSignal(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
