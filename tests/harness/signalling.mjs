// A PeerJS signalling server on this machine, in a thread of its own: its timers never end, the thread does.

import { once } from "node:events";
import { Worker, isMainThread, parentPort } from "node:worker_threads";

const HOST = "127.0.0.1";

/** @returns {Promise<{ url: string, stop: () => Promise<unknown> }>} */
export async function startSignalling() {
  const thread = new Worker(new URL(import.meta.url));
  // Rejects with what went wrong in the thread.
  const [port] = await once(thread, "message");
  return { url: `http://${HOST}:${port}/`, stop: () => thread.terminate() };
}

if (!isMainThread) {
  const { PeerServer } = await import("peer");
  PeerServer({ host: HOST, port: 0 }, (server) => parentPort.postMessage(server.address().port));
}
