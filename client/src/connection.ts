// One beacon's `GET /live` (protocol/README.md, section 15): a WebSocket, else an event stream, else none for a while.
//
// A beacon is believed no more here than where it is asked. Tickets go the way of all others. That a peer is gone counts as
// far as this beacon goes, as where it gives a whole list without it; by the peer's own ticket to leave, it counts for all.
// Whatever a beacon sends is bounded before it is read, and every wait that it names is clamped.

import type { CurrentTicket } from "./announcement.js";
import { readBase64, utf8 } from "./bytes.js";
import { aheadOf } from "./clock.js";
import type { Cancel, Host } from "./host.js";
import type { Identity } from "./identity.js";
import { type Json, type JsonObject, canonical, jsonOf, readJson } from "./json.js";
import type { Peers } from "./peers.js";
import { type Reason, isCode, reasonOf } from "./reason.js";
import { PRIVATE } from "./request.js";
import type { Source } from "./source.js";
import {
  type Profile,
  Refusal,
  type Ticket,
  type TicketRules,
  type Tickets,
  demand,
  isTime,
  parseTicket,
  verifyTicket,
} from "./ticket.js";

/** What a connection works on: the client's own. */
export interface Inside {
  readonly host: Host;
  readonly sources: readonly Source[];
  readonly peers: Peers;
  readonly profile: Profile;
  /** Undefined while it does not run. */
  readonly run: Readonly<{ identity?: Identity; rules?: TicketRules; presence?: AbortController | undefined }> | undefined;
  /** The community's time. */
  now(): number;
  /** Verifies and merges. Rejects if the client is stopped meanwhile, or that takes too long. */
  take(values: Json[], source: string, goneAfterMs?: number): Promise<Tickets>;
}

/** What is needed of a WebSocket. */
export interface LiveSocket {
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** How a beacon tells: over a WebSocket, an event stream, or when it is asked. */
export type Transport = "socket" | "stream" | "polling";

/** For so long a relay opens at least as long again with what the beacon has given, in milliseconds. */
const RELAY_FRESH_MS = 300_000;
/** UTF-16 units of one message; none has more bytes. */
const MESSAGE_MAX_LENGTH = 65_536;
/** Claims that one series of frames speaks of: a whole roster that goes, and another one that comes. */
const WORDS_MAX = 400;
/** Frames that wait to be taken. */
const QUEUE_MAX = 32;
/** Units after which they are acknowledged: with the longest message after it, what waits is well below `ackBytes`. */
const ACKNOWLEDGE_LENGTH = 16_384;
const HELLO_PATIENCE_MS = 10_000;
/** How long an answer is waited for, where nobody says otherwise. */
const ANSWER_PATIENCE_MS = 10_000;
/** How long a call waits for a beacon to name its relay anew. */
const RELAY_PATIENCE_MS = 2_000;
/** How long an application's own `verify` may take for the goodbyes of one frame. */
const VERIFY_PATIENCE_MS = 5_000;
const LIVE_PING_AFTER_MS = 50_000;
const PONG_PATIENCE_MS = 10_000;
/** An event stream says something every 25 s. */
const STREAM_SILENCE_MS = 60_000;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const MAX_WAIT_MS = 300_000;
/** A connection that ends sooner counts as one that failed, whatever it says. */
const SHORT_LIFE_MS = 10_000;
/** All that a source gave before this moment is gone if it does not give it now. */
const AT_ONCE_MS = -1;

/** What close codes say; others are about the network. */
const REASONS: Readonly<Record<number, Reason>> = {
  1003: "MALFORMED",
  1009: "TOO_LARGE",
  1011: "INTERNAL",
  4108: "SLOW",
  4129: "TOO_FAST",
  4153: "LIVE_FULL",
  4209: "REPLACED",
  4500: "MALFORMED",
  4503: "UNTRUSTED_PUBLIC_KEY",
};
/** What an answer says that is no event stream. */
const REFUSALS: Readonly<Record<number, Reason>> = {
  403: "BIND_REQUIRED",
  404: "NOT_FOUND",
  426: "UPGRADE_REQUIRED",
  429: "THROTTLED",
  503: "LIVE_FULL",
};

/**
 * How long to wait before the next connection, in milliseconds.
 *
 * @param code How the last one was closed (section 15).
 * @param failures Those before it that failed, in a row.
 * @param random From 0 up to 1.
 */
export function waitAfterClose(code: number, failures: number, random: number): number {
  if (code === 4209) return Infinity;
  if (code === 1003 || code === 1009 || Math.floor(code / 100) === 45) return HOUR_MS;
  if (code === 4100) return random * 5_000;
  if (code === 4108) return 10_000 + random * 5_000;
  if (code === 4129 || code === 4153) return MINUTE_MS + random * 15_000;
  return Math.min(MINUTE_MS, (1_000 + random * 14_000) * 2 ** failures);
}

/**
 * The same after an answer that is no event stream.
 *
 * @param retryAfterMs What it asked for.
 */
export function waitAfterRefusal(status: number, retryAfterMs: number, failures: number, random: number): number {
  if (status === 404 || status === 426) return HOUR_MS;
  const least = status === 503 || status === 403 ? MINUTE_MS : 0;
  const asked = Math.min(retryAfterMs || 0, MAX_WAIT_MS);
  return Math.max(least, asked) + waitAfterClose(0, failures, random);
}

/** A position in a beacon's log of changes. */
interface Position {
  readonly text: string;
  readonly epoch: string;
  readonly sequence: number;
}

/** @throws Refusal `MALFORMED`. */
function readPosition(text: unknown): Position {
  const [, epoch, digits] = /^([0-9a-f]{8})-(0|[1-9]\d{0,15})$/.exec(text as string) ?? [];
  const sequence = Number(digits);
  demand(typeof text === "string" && epoch && isTime(sequence));
  return { text, epoch, sequence };
}

/** @throws Refusal `MALFORMED`. */
function listOf(value: Json | undefined): Json[] {
  demand(value === undefined || Array.isArray(value));
  return value ?? [];
}

/** A claim that a ticket, or a pair, speaks of. What cannot be one is refused, or matches nothing. */
function claimIn(ticket: Json): [string, string] {
  const [peerId, publicKey] = Array.isArray(ticket)
    ? ticket
    : [((ticket as JsonObject).get("payload") as JsonObject).get("peerId"), (ticket as JsonObject).get("publicKey")];
  demand(typeof peerId === "string" && typeof publicKey === "string");
  return [peerId, publicKey];
}

/** The last word of a series of frames about a claim. */
interface Word {
  /** Where it stands in a frame. */
  readonly field: "peers" | "put" | "left" | "out";
  readonly value: Json;
}

/** What there is from dialling to the end. */
interface Attempt {
  readonly end: AbortController;
  readonly dialledAt: number;
  /** Undefined in an event stream. */
  socket?: LiveSocket;
  challenge?: string;
  /** Of the last frame that was taken, whole or not. */
  position?: Position;
  /** Since the last acknowledgement. */
  length: number;
  queued: number;
  /** The listed ticket for which it was last to be bound. */
  boundBy?: CurrentTicket | undefined;
  /** Whether this peer was announced again because the beacon had lost it. */
  hasInsisted?: boolean;
  /** Of the timer that finds out whether it is alive. */
  cancelBeat?: Cancel;
  /** Whether that was asked, and nothing came since. */
  isAsked?: boolean;
}

export class Connection {
  transport: Transport = "polling";
  isBound = false;
  /** Whether what this beacon says is whole, and nothing is missing. */
  isWhole = false;
  /** Why there is none, or none over a socket, or why that is not bound. */
  reason: Reason | undefined;
  /** Milliseconds from dialling to the beacon's first message. */
  #latencyMs: number | undefined;
  /** How far the beacon's clock is ahead of this machine's wall clock, and that one of its steady one, at the first message. */
  #aheadMs = 0;
  #wallAheadMs = 0;
  #attempt: Attempt | undefined;
  #relay: Json | undefined;
  #rebinding: Promise<void> | undefined;
  #boundAt = 0;
  #since: Position | undefined;
  #failures = 0;
  /** When the next may be dialled, by the steady clock. */
  #dialAt = 0;
  #cancelDial: Cancel | undefined;
  #series: { isSnapshot: boolean; words: Map<string, Word> } | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  /** What settles those that wait for an answer, by `id`. */
  readonly #questions = new Map<string, (outcome: JsonObject | Refusal) => void>();
  /** The last `id`: one has 8 characters at least. */
  #asked = 10_000_000;
  readonly #waiting = new Set<() => void>();

  readonly #inside: () => Inside;
  readonly #newSocket: ((url: string) => LiveSocket) | null | undefined;
  readonly #onChange: () => void;
  readonly #onSignal: (text: string) => void;

  /**
   * @param newSocket Opens a WebSocket, where there are any.
   * @param onChange Something of what is public here has changed.
   * @param onSignal Gets each signal as it came.
   */
  constructor(
    readonly source: Source,
    inside: () => Inside,
    newSocket: ((url: string) => LiveSocket) | null | undefined,
    onChange: () => void,
    onSignal: (text: string) => void,
  ) {
    this.#inside = inside;
    this.#newSocket = newSocket;
    this.#onChange = onChange;
    this.#onSignal = onSignal;
  }

  get #isStopped(): boolean {
    return this.#inside().run?.presence?.signal.aborted !== false;
  }

  get #host(): Host {
    return this.#inside().host;
  }

  /** Dials, unless it is connected, or has to wait. */
  open(): void {
    if (this.#attempt || this.#isStopped) return;
    const waitMs = this.#dialAt - this.#host.elapsed();
    this.#cancelDial?.();
    if (waitMs > 0) {
      // What never ends needs no timer; and what is longer than a timer can be does not occur.
      if (waitMs < Infinity) this.#cancelDial = this.#host.setTimer(() => this.open(), waitMs);
      return;
    }
    const attempt: Attempt = {
      end: new AbortController(),
      dialledAt: this.#host.now(),
      length: 0,
      queued: 0,
    };
    this.#attempt = attempt;
    if (this.#newSocket) this.#dialSocket(attempt, this.#newSocket);
    else void this.#readStream(attempt);
  }

  /** The network is back, perhaps: forgets a wait that was about it, and tries what may be dead. */
  askNow(): void {
    if (this.#attempt) return this.#probe(this.#attempt);
    if (this.reason !== "NETWORK") return;
    this.#dialAt = Math.min(this.#dialAt, this.#host.elapsed() + this.#host.random() * 1_000);
    this.open();
  }

  /** Ends it. It is dialled again when the client asks this beacon next. */
  close(): void {
    this.#cancelDial?.();
    // To be asked again is not to come back by itself.
    if (this.#dialAt === Infinity) this.#dialAt = 0;
    if (this.#attempt) this.#end(undefined);
  }

  /** Settles when nothing waits for an answer any more, or after `ms`. */
  async idle(ms: number): Promise<void> {
    if (this.#questions.size > 0) await this.#wait(ms);
  }

  /** Settles when it is known how this beacon tells, or after `ms`. */
  async settled(ms: number): Promise<void> {
    if (this.#attempt && this.transport === "polling") await this.#wait(ms);
  }

  async #wait(ms: number): Promise<void> {
    let cancel!: Cancel;
    await new Promise<void>((resolve) => {
      cancel = this.#host.setTimer(resolve, ms);
      this.#waiting.add(resolve);
    });
    cancel();
  }

  /** The beacon's time; undefined where this machine's clocks have parted since it was told. */
  get serverTime(): number | undefined {
    const now = this.#host.now();
    const movedMs = Math.abs(now - this.#host.elapsed() - this.#wallAheadMs);
    return movedMs > 1_000 ? undefined : Math.round(now + this.#aheadMs);
  }

  /**
   * Sends a message with an `id`, and settles with the answer to it.
   *
   * @throws Refusal with the code of the beacon's error, `NETWORK` where the connection ended, or `TIMEOUT`.
   */
  ask(id: string, text: string, patienceMs = ANSWER_PATIENCE_MS): Promise<JsonObject> {
    return new Promise((resolve, reject) => {
      const cancel = this.#host.setTimer(() => this.#answer(id, new Refusal("TIMEOUT")), patienceMs);
      this.#questions.set(id, (outcome) => {
        cancel();
        if (outcome instanceof Map) resolve(outcome);
        else reject(outcome);
      });
      try {
        this.#send(this.#attempt, text);
      } catch {
        this.#answer(id, new Refusal("NETWORK"));
      }
    });
  }

  /** Announces or leaves with the body of the request that says the same. */
  carry(t: "announce" | "leave", body: string, patienceMs: number): Promise<JsonObject> {
    const id = `${++this.#asked}`;
    return this.ask(id, `{"t":"${t}","id":"${id}",${body.slice(1)}`, patienceMs);
  }

  /** What answers nothing is passed over. */
  #answer(id: string, outcome: JsonObject | Refusal): void {
    const settle = this.#questions.get(id);
    this.#questions.delete(id);
    settle?.(outcome);
    if (this.#questions.size === 0) this.#wake();
  }

  /** @throws Where there is no socket that takes it. */
  #send(attempt: Attempt | undefined, text: string): void {
    (attempt?.socket as LiveSocket).send(text);
    // What was asked by a ping waits for its answer, whatever else is sent.
    if (!attempt?.isAsked) this.#beat(attempt as Attempt);
  }

  /** Looks whether the socket is alive, after a silence of this side's: what nothing comes from is ended by the beacon. */
  #beat(attempt: Attempt): void {
    attempt.isAsked = false;
    this.#limit(attempt, LIVE_PING_AFTER_MS, () => this.#probe(attempt));
  }

  /** Sets the timer of what is to happen next, in the place of the one before. */
  #limit(attempt: Attempt, ms: number, expire: () => void): void {
    attempt.cancelBeat?.();
    attempt.cancelBeat = this.#host.setTimer(expire, ms);
  }

  #probe(attempt: Attempt): void {
    if (this.transport !== "socket" || attempt.isAsked) return;
    attempt.isAsked = true;
    this.#limit(attempt, PONG_PATIENCE_MS, () => this.#lost(attempt, 1006));
    attempt.socket?.send("ping");
  }

  #url(scheme: string): string {
    const since = this.#since ? `&since=${this.#since.text}` : "";
    return `${this.source.url.replace(/^http/, scheme)}/live?community=${this.#inside().profile.community}${since}`;
  }

  #dialSocket(attempt: Attempt, newSocket: (url: string) => LiveSocket): void {
    // A page may not open one, by its policy; or the beacon is not to be had by one.
    const instead = (): void => {
      if (this.#attempt !== attempt) return;
      // One was bound here: the beacon is down, and a stream, over which nobody can signal, would last if it came back now.
      if (this.#boundAt) return this.#lost(attempt, 1006);
      this.#drop(attempt);
      void this.#readStream(attempt);
    };
    try {
      const socket = (attempt.socket = newSocket(this.#url("ws")));
      // Chromium closes nothing that a policy has kept from opening.
      socket.onerror = () => attempt.challenge || instead();
      // A code of the protocol's is an answer, also before the first message.
      socket.onclose = ({ code }) => (attempt.challenge || code > 4_000 ? this.#lost(attempt, code) : instead());
      socket.onmessage = ({ data }) => this.#hear(attempt, data);
      this.#limit(attempt, HELLO_PATIENCE_MS, instead);
    } catch {
      instead();
    }
  }

  /** Lets go of a socket, whatever it still has to say. */
  #drop(attempt: Attempt): void {
    const { socket } = attempt;
    if (!socket) return;
    // A listener stays, without which some throw what is an event for others.
    socket.onclose = socket.onmessage = socket.onerror = () => {};
    delete attempt.socket;
    try {
      socket.close(1000);
    } catch {
      // It is gone already.
    }
  }

  async #readStream(attempt: Attempt): Promise<void> {
    const { signal } = attempt.end;
    const wake = (): void => this.#limit(attempt, STREAM_SILENCE_MS, () => attempt.end.abort());
    let code = 1006;
    try {
      wake();
      const headers = { Accept: "text/event-stream" };
      const response = await this.#host.fetch(this.#url("http"), { ...PRIVATE, headers, signal });
      const { status } = response;
      const isStream = status === 200 && /^text\/event-stream/.test(response.headers.get("Content-Type") ?? "");
      // React Native reads no stream: it asks, as if the beacon had none.
      if (!isStream || !response.body) return this.#refused(attempt, status === 200 ? 404 : status, response.headers.get("Retry-After"));
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      let text = "";
      for (let part; !(part = await reader.read()).done; ) {
        if (this.#attempt !== attempt) return;
        wake();
        text += decoder.decode(part.value, { stream: true });
        const blocks = text.split("\n\n");
        text = blocks.pop() as string;
        demand(text.length <= 2 * MESSAGE_MAX_LENGTH, "TOO_LARGE");
        for (const block of blocks) {
          if (/^event: again$/m.test(block)) code = 4100;
          const [, data] = /^data: ?(.*)$/m.exec(block) ?? [];
          if (data && code !== 4100) this.#hear(attempt, data);
        }
      }
    } catch (error) {
      if (error instanceof Refusal) return this.#broken(attempt, error);
      // It has ended.
    }
    this.#lost(attempt, code);
  }

  /** @param retryAfter In seconds. */
  #refused(attempt: Attempt, status: number, retryAfter: string | null): void {
    if (this.#attempt !== attempt) return;
    // What else the request had to offer is right: it is the position that this beacon does not take.
    if (status === 400) this.#since = undefined;
    const waitMs = waitAfterRefusal(status, Number(retryAfter) * 1_000, this.#failures++, this.#host.random());
    this.#again(waitMs, REFUSALS[status] ?? `HTTP_${status}`);
  }

  /** @param code How it was closed. */
  #lost(attempt: Attempt, code: number): void {
    if (this.#attempt !== attempt) return;
    const isShort = this.#host.now() - attempt.dialledAt < SHORT_LIFE_MS;
    // Nobody gets to have it dialled over and over.
    const counted = code === 4100 && isShort ? 1006 : code;
    const waitMs = waitAfterClose(counted, this.#failures, this.#host.random());
    if (isShort || counted === 1006) this.#failures++;
    this.#again(waitMs, REASONS[code] ?? "NETWORK");
  }

  /** It sent what no beacon does. */
  #broken(attempt: Attempt, error: unknown): void {
    if (this.#attempt !== attempt) return;
    this.#since = undefined;
    this.#again(HOUR_MS, error instanceof Refusal ? error.message : "MALFORMED");
  }

  #again(waitMs: number, reason: Reason): void {
    this.#dialAt = this.#host.elapsed() + waitMs;
    this.#end(reason);
    this.open();
  }

  #end(reason: Reason | undefined): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    this.reason = reason;
    this.transport = "polling";
    this.isBound = this.isWhole = false;
    this.#series = undefined;
    if (attempt) {
      attempt.cancelBeat?.();
      this.#drop(attempt);
      attempt.end.abort();
    }
    for (const id of [...this.#questions.keys()]) this.#answer(id, new Refusal("NETWORK"));
    this.#wake();
    this.#onChange();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #hear(attempt: Attempt, data: unknown): void {
    if (this.#attempt !== attempt) return;
    // Whatever comes shows that it is alive.
    if (attempt.isAsked) this.#beat(attempt);
    if (data === "pong") return;
    try {
      demand(typeof data === "string");
      demand(data.length <= MESSAGE_MAX_LENGTH, "TOO_LARGE");
      const message = readJson(data);
      demand(message instanceof Map);
      const t = message.get("t");
      if (this.transport === "polling") {
        if (t === "hello") this.#greet(attempt, message);
      } else if (t === "snapshot" || t === "delta") this.#enqueue(attempt, message, data.length);
      else if (t === "signal") {
        this.#onSignal(data);
        this.#acknowledge(attempt, data.length);
      }
      else this.#settle(message);
    } catch (error) {
      this.#broken(attempt, error);
    }
  }

  #greet(attempt: Attempt, hello: JsonObject): void {
    const { profile } = this.#inside();
    const serverTime = hello.get("serverTime");
    const challenge = hello.get("challenge");
    demand(hello.get("version") === 1, "UNSUPPORTED_VERSION");
    demand(hello.get("community") === profile.community, "COMMUNITY_MISMATCH");
    demand(isTime(serverTime) && (!attempt.socket || readBase64(challenge)?.length === 16));
    const now = this.#host.now();
    this.#aheadMs = aheadOf(serverTime, attempt.dialledAt, now);
    this.#wallAheadMs = now - this.#host.elapsed();
    this.#latencyMs = now - attempt.dialledAt;
    this.reason = undefined;
    if (attempt.socket) {
      attempt.challenge = challenge as string;
      this.transport = "socket";
      this.#beat(attempt);
      this.bind();
    } else this.transport = "stream";
    this.#wake();
    this.#onChange();
  }

  /**
   * The ICE servers that the beacon names to this peer, in its own words. Those that may end soon are asked for again, once
   * for all who wait for them, and the old ones stand in for those that do not come.
   */
  async relay(): Promise<Json | undefined> {
    if (this.#host.elapsed() - this.#boundAt > RELAY_FRESH_MS)
      await (this.#rebinding ??= this.#bind(this.#attempt as Attempt, true).finally(() => (this.#rebinding = undefined)));
    return this.isBound ? this.#relay : undefined;
  }

  /** Binds it, once for each ticket that the beacon has listed, whichever way it took that. */
  bind(): void {
    const attempt = this.#attempt;
    const { accepted } = this.source;
    if (!attempt?.challenge || attempt.boundBy === accepted) return;
    attempt.boundBy = accepted;
    if (accepted) void this.#bind(attempt);
  }

  /** Never rejects: without it nobody can signal, and that is all. */
  async #bind(attempt: Attempt, isAgain = false): Promise<void> {
    const { peers, profile, run } = this.#inside();
    if (this.isBound !== isAgain || !run?.identity) return;
    const { community, peerId } = profile;
    const { challenge } = attempt;
    // With the name of this beacon in it, so that it is of no use at another one.
    const audience = new URL(this.source.url).origin;
    const signed = canonical(jsonOf({ audience, challenge, community, peerId }));
    try {
      const bytes = await run.identity.sign(utf8(`rendezvous-live-v1:bind\n${signed}`));
      if (this.#attempt !== attempt || this.isBound !== isAgain) return;
      const id = `${++this.#asked}`;
      const signature = btoa(String.fromCharCode(...bytes));
      const body = { t: "bind", id, audience, peerId, publicKey: peers.ownKey, signature };
      this.#relay = (await this.ask(id, JSON.stringify(body), isAgain ? RELAY_PATIENCE_MS : undefined)).get("iceServers");
      this.#boundAt = this.#host.elapsed();
      this.isBound = true;
      this.reason = undefined;
      this.#onChange();
    } catch (error) {
      if (this.#attempt !== attempt || isAgain) return;
      this.reason = reasonOf(error);
      this.#onChange();
      // A beacon that was started again may have lost the last announces.
      if (attempt.hasInsisted || this.reason !== "NOT_LISTED") return;
      attempt.hasInsisted = true;
      this.source.accepted = attempt.boundBy = undefined;
      this.source.schedule.renew();
      this.source.schedule.hurry(this.#host.elapsed());
    }
  }

  #settle(message: JsonObject): void {
    const code = message.get("code");
    this.#answer(message.get("re") as string, message.get("t") === "error" ? new BeaconError(isCode(code) ? code : "INTERNAL", message) : message);
  }

  /** Frames are taken one after the other: the tickets of one may take a while to verify. */
  #enqueue(attempt: Attempt, frame: JsonObject, length: number): void {
    demand(++attempt.queued <= QUEUE_MAX, "TOO_LARGE");
    this.#queue = this.#queue
      .then(() => (this.#attempt === attempt ? this.#takeFrame(attempt, frame, length) : undefined))
      .catch((error: unknown) => this.#broken(attempt, error))
      .finally(() => attempt.queued--);
  }

  async #takeFrame(attempt: Attempt, frame: JsonObject, length: number): Promise<void> {
    const position = readPosition(frame.get("position"));
    const isSnapshot = frame.get("t") === "snapshot";
    if (!isSnapshot) {
      const previous = readPosition(frame.get("previous"));
      const held = attempt.position ?? this.#since;
      if (previous.epoch !== held?.epoch || previous.sequence > held.sequence) {
        // Of a beacon that cannot go on from there, everything.
        if (!attempt.position) this.#since = undefined;
        return this.#lost(attempt, 4100);
      }
    }
    attempt.position = position;
    if (isSnapshot) this.#series = { isSnapshot, words: new Map() };
    const series = (this.#series ??= { isSnapshot, words: new Map() });
    for (const field of ["peers", "put", "left", "out"] as const)
      for (const value of listOf(frame.get(field))) series.words.set(claimIn(value).join(), { field, value });
    demand(series.words.size <= WORDS_MAX, "TOO_LARGE");
    if (frame.get("more") !== true) {
      this.#series = undefined;
      if (!(await this.#apply(attempt, series.isSnapshot, [...series.words.values()]))) return;
      this.#since = position;
    }
    this.#acknowledge(attempt, length);
  }

  #acknowledge(attempt: Attempt, length: number): void {
    attempt.length += length;
    if (!attempt.socket || !attempt.position || attempt.length < ACKNOWLEDGE_LENGTH) return;
    attempt.length = 0;
    try {
      this.#send(attempt, `{"t":"ack","seq":${attempt.position.sequence}}`);
    } catch {
      // It has ended, and says so next.
    }
  }

  /** Hands over what a whole series of frames says. Returns whether it is still connected. */
  async #apply(attempt: Attempt, isSnapshot: boolean, words: Word[]): Promise<boolean> {
    const { source } = this;
    const { peers, take, run, now } = this.#inside();
    // The client may have stopped, and the connection stays for the answer to its goodbye alone.
    if (this.#isStopped || !run?.rules) return false;
    const { rules } = run;
    const said = (fields: RegExp): Json[] => words.filter(({ field }) => fields.test(field)).map(({ value }) => value);
    const verified = Promise.all(said(/left/).map((value) => readLeave(value, rules, now())));
    let cancel!: Cancel;
    // Without the peer's own word, a beacon's counts.
    const late = new Promise<[]>((resolve) => (cancel = this.#host.setTimer(() => resolve([]), VERIFY_PATIENCE_MS)));
    const left = await Promise.race([verified, late]);
    cancel();
    if (this.#attempt !== attempt) return false;
    for (const ticket of left) if (ticket) peers.gone(ticket, undefined, ticket.issuedAt);
    for (const value of said(/^[lo]/)) {
      const [peerId, publicKey] = claimIn(value);
      peers.gone({ peerId, publicKey }, source.url);
    }
    let found: Tickets;
    try {
      found = await take(said(/^p/), source.url, isSnapshot ? AT_ONCE_MS : undefined);
    } catch {
      // An own `verify` takes too long: it is tried again from where this began.
      if (!this.#isStopped) this.#lost(attempt, 1006);
      return false;
    }
    // A list does not say that this peer is listed now, if it was refused.
    const reason = source.accepted ? undefined : source.reason;
    source.succeeded(this.#host.now(), this.#latencyMs as number, reason, found.refused);
    if (this.#attempt !== attempt) return false;
    this.#failures = 0;
    this.isWhole = true;
    this.#onChange();
    return true;
  }
}

/** What a beacon has refused, with all that it said. */
export class BeaconError extends Refusal {
  constructor(
    code: string,
    readonly answer: JsonObject,
  ) {
    super(code);
  }
}

/** A ticket to leave that is good now; undefined for one that is not. */
async function readLeave(value: Json, rules: TicketRules, now: number): Promise<Ticket | undefined> {
  try {
    const envelope = value as JsonObject;
    const payload = envelope.get("payload") as JsonObject;
    const { leave, ...rest } = Object.fromEntries(payload);
    demand(leave === true && rest["data"] === undefined);
    const ticket = { ...parseTicket(new Map(envelope).set("payload", jsonOf(rest))), signed: canonical(payload) };
    // Nothing may be taken for known here: without `leave` it looks like the ticket that is listed, which anybody can copy.
    await verifyTicket(ticket, { ...rules, isKnown: undefined }, now);
    return ticket;
  } catch {
    return undefined;
  }
}
