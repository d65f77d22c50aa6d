// A PeerJS signalling server on this machine, in a thread of its own: its timers never end, the thread does.

import { once } from "node:events";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

const HOST = "127.0.0.1";

/**
 * @param {{ preferredPort?: number }} [options] Any other where that one is in use.
 * @returns {Promise<{ url: string, stop: () => Promise<unknown> }>}
 */
export async function startSignalling({ preferredPort = 0 } = {}) {
  const thread = new Worker(new URL(import.meta.url), { workerData: preferredPort });
  let port;
  try {
    // Rejects with what went wrong in the thread.
    [port] = await once(thread, "message");
  } catch (error) {
    if (error.code !== "EADDRINUSE") throw error;
    return startSignalling();
  }
  return { url: `http://${HOST}:${port}/`, stop: () => thread.terminate() };
}

if (!isMainThread) {
  const { PeerServer } = await import("peer");
  PeerServer({ host: HOST, port: workerData }, (server) => parentPort.postMessage(server.address().port));
}
