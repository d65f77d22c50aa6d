// What the library needs of the place that it runs in: clocks, timers, the network, storage, locks, the page's life.
//
// Everything else is written against this, so that tests bring a place of their own and drive its time.

import { type Store, openStore } from "./store.js";

/** Stops a timer. Calling it twice does no harm. */
export type Cancel = () => void;

/** The right to announce, among all pages of this browser that want to announce the same peerId. */
export interface Lock {
  /** Whether another page waits for it. */
  hasHeir(): Promise<boolean>;
  release(): void;
}

/** The events of the window of that name. */
export interface PageEvents {
  /** The network is back; or the page, which was not to be seen. */
  online(): void;
  offline(): void;
  /** The page goes, perhaps to come back. */
  pagehide(): void;
  pageshow(): void;
}

export interface Host {
  /** Milliseconds since the Unix epoch. May jump. */
  now(): number;
  /** Milliseconds since some moment. Never goes back; may stand still while the machine sleeps. */
  elapsed(): number;
  /** From 0 up to 1. */
  random(): number;
  setTimer(callback: () => void, ms: number): Cancel;
  fetch(url: string, init: RequestInit): Promise<Response>;
  openStore(): Promise<Store>;
  lock(name: string, signal: AbortSignal): Promise<Lock>;
  listen(events: PageEvents, signal: AbortSignal): void;
  /** Undefined outside secure contexts. */
  subtle: SubtleCrypto | undefined;
}

/** A browser's page or worker, or Node. */
export function defaultHost(): Host {
  const scope = globalThis as typeof globalThis & { document?: Document };
  return {
    now: Date.now,
    elapsed: () => performance.now(),
    random: Math.random,
    setTimer(callback, ms) {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
    fetch: (url, init) => fetch(url, init),
    openStore: () => openStore(() => scope.indexedDB),
    lock: (name, signal) => lockIn(() => scope.navigator?.locks, name, signal),
    listen(events, signal) {
      // Node's global object is no EventTarget.
      const on = (target: EventTarget | undefined, type: string, listener: () => void) =>
        target?.addEventListener?.(type, listener, { signal });
      for (const type in events) on(scope, type, events[type as keyof PageEvents]);
      on(scope.document, "visibilitychange", () => scope.document?.hidden || events.online());
    },
    subtle: scope.crypto?.subtle,
  };
}

/**
 * Where there are no locks, or a page may not use them, each page is alone.
 *
 * @param getLocks To ask is an error where a page may have none.
 */
function lockIn(getLocks: () => LockManager | undefined, name: string, signal: AbortSignal): Promise<Lock> {
  return new Promise((resolve) => {
    let locks: LockManager | undefined;
    const hold = (release: () => void): void =>
      resolve({
        hasHeir: async () => (await locks?.query())?.pending?.some((request) => request.name === name) ?? false,
        release,
      });
    const request = async (): Promise<void> => {
      locks = getLocks();
      // Fails where there are none.
      await (locks as LockManager).request(name, { signal }, () => new Promise<void>(hold));
    };
    // Aborted: then nobody waits for it any more. Anything else: there are none, or they are not allowed here.
    request().catch(() => hold(() => {}));
  });
}
