// Serves the browser client, its example page and the test vectors to browsers on this machine. Read anew for every
// request, so that a reload shows what was changed.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { ROOT } from "./steps.mjs";

const HOST = "127.0.0.1";
/** A name that somebody else's page made point here (DNS rebinding) is none of them. */
const OWN_NAMES = /^(127\.0\.0\.1|localhost)(:\d+)?$/;
const SERVED = ["/client/example/", "/client/dist/", "/client/build/", "/client/test/", "/tests/vectors/"];
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
};
/** A page here runs what is served here, shows text, and asks whatever beacons it is told of. Nobody else frames it. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src data:",
  "connect-src http: https: ws: wss:",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

/**
 * @typedef {{ status?: number, headers: Record<string, string>, body?: string | Uint8Array }} Answer
 *
 * @typedef {(request: import("node:http").IncomingMessage) => Answer | undefined | Promise<Answer | undefined>} Handler
 *   Undefined where the file at this path, if there is one, is the answer.
 *
 * @param {object} [options]
 * @param {number} [options.preferredPort] Any other where that one is in use.
 * @param {Record<string, Handler>} [options.made] By path, what is not a file.
 * @returns {Promise<{ url: string, stop: () => Promise<void> }>} `url` is that of the checkout, without a slash at the end.
 */
export async function servePages({ preferredPort = 0, made = {} } = {}) {
  const server = createServer(async (request, response) => {
    const { status = 200, headers, body } = await answer(request, made).catch(() => text(500, "This server has failed"));
    const policy = headers["Content-Type"]?.startsWith("text/html") ? { "Content-Security-Policy": POLICY } : {};
    response.writeHead(status, { ...headers, ...policy, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff" });
    response.end(request.method === "HEAD" ? undefined : body);
  });
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
 * @param {Record<string, Handler>} made
 * @returns {Promise<Answer>}
 */
async function answer(request, made) {
  if (!OWN_NAMES.test(request.headers.host ?? "")) return text(421, "This server answers to 127.0.0.1 and localhost");
  // `new URL` resolves every `..`; a path like `//` is not one.
  const { pathname } = URL.parse(request.url, "http://localhost") ?? {};
  if (pathname === undefined) return text(400, "Not a path");
  const answered = Object.hasOwn(made, pathname) ? await made[pathname](request) : undefined;
  return answered ?? readServed(pathname.endsWith("/") ? `${pathname}index.html` : pathname);
}

/**
 * @param {string} file
 * @returns {Promise<Answer>}
 */
async function readServed(file) {
  if (!SERVED.some((folder) => file.startsWith(folder)) || /[%\\]/.test(file)) return text(404, "Not found");
  try {
    const body = await readFile(join(ROOT, file));
    return { headers: { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }, body };
  } catch {
    return text(404, "Not found");
  }
}

/**
 * @param {number} status
 * @param {string} line
 * @returns {Answer}
 */
function text(status, line) {
  return { status, headers: { "Content-Type": "text/plain" }, body: `${line}\n` };
}
