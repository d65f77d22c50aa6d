// Serves the browser client, its example page and the test vectors to browsers on this machine. Read anew for every
// request, so that a reload shows what was changed.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { ROOT } from "./steps.mjs";

const HOST = "127.0.0.1";
const SERVED = ["/client/example/", "/client/dist/", "/client/build/", "/client/test/", "/tests/vectors/"];
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
};

/**
 * @typedef {{ status?: number, headers: Record<string, string>, body?: string | Uint8Array }} Answer
 *
 * @param {object} [options]
 * @param {number} [options.preferredPort] Any other where that one is in use.
 * @param {Record<string, () => Answer | Promise<Answer>>} [options.made] By path, what is no file. Only without a query.
 * @returns {Promise<{ url: string, stop: () => Promise<void> }>} `url` is that of the checkout, without a slash at the end.
 */
export async function servePages({ preferredPort = 0, made = {} } = {}) {
  const server = createServer((request, response) => answer(request, response, made));
  server.listen(preferredPort, HOST);
  try {
    await once(server, "listening");
  } catch (error) {
    if (error.code !== "EADDRINUSE") throw error;
    server.listen(0, HOST);
    await once(server, "listening");
  }
  return {
    url: `http://${HOST}:${server.address().port}`,
    async stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 * @param {Record<string, () => Answer | Promise<Answer>>} made
 */
async function answer(request, response, made) {
  // `new URL` has resolved every `..`.
  const { pathname } = new URL(request.url, "http://localhost");
  const file = pathname.endsWith("/") ? `${pathname}index.html` : pathname;
  try {
    if (Object.hasOwn(made, request.url)) {
      const { status = 200, headers, body } = await made[request.url]();
      response.writeHead(status, { ...headers, "Cache-Control": "no-store" });
      return void response.end(body);
    }
    if (!SERVED.some((folder) => file.startsWith(folder)) || /[%\\]/.test(file)) throw new Error("not served");
    const content = await readFile(join(ROOT, file));
    response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream", "Cache-Control": "no-store" });
    response.end(content);
  } catch {
    response.writeHead(404, { "Content-Type": "text/plain" });
    response.end("Not found\n");
  }
}
