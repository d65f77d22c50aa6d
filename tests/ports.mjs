// Ports of this machine for what has to be known before it runs, or has to answer where it did before it was ended.

import { once } from "node:events";
import { createServer } from "node:net";

/**
 * Below those that systems hand out by themselves (from 32768 on Linux, 49152 elsewhere): such a one may be another
 * process's as soon as nobody listens at it.
 */
const [LEAST, MOST] = [20_000, 32_000];

/** What this process was given is given to nobody in it once more. */
const given = new Set();

/** @returns {Promise<number>} A port at which nobody listens, and nobody will who does not ask for it by number. */
export async function freePort() {
  for (;;) {
    const port = LEAST + Math.floor(Math.random() * (MOST - LEAST));
    if (given.has(port)) continue;
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(() => true, ({ code }) => {
      if (code === "EADDRINUSE") return false;
      throw new Error(`no port can be had: ${code}`);
    });
    if (!isFree) continue;
    given.add(port);
    server.close();
    await once(server, "close");
    return port;
  }
}
