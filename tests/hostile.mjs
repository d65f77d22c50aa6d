// Servers for tests on 127.0.0.1: good ones, and every kind of bad one that a program on the network meets.

import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { connect, createServer as createTcpServer } from "node:net";

/**
 * @typedef {object} Server
 * @property {string} url Without a slash at the end.
 * @property {import("node:http").IncomingMessage[]} requests Those of an HTTP server, in order.
 * @property {() => Promise<void>} stop Ends its connections too.
 */

/**
 * Starts servers for one test and stops them after it.
 *
 * @param {import("node:test").TestContext} context
 * @param {...Promise<{ stop(): Promise<unknown> }>} servers
 */
export async function started(context, ...servers) {
  const all = await Promise.all(servers);
  context.after(() => Promise.all(all.map((server) => server.stop())));
  return all;
}

/**
 * @param {import("node:http").RequestListener} handle
 * @returns {Promise<Server>}
 */
export async function serve(handle) {
  const requests = [];
  const server = createHttpServer((request, response) => {
    requests.push(request);
    handle(request, response);
  });
  return { ...(await listen(server, () => server.closeAllConnections())), requests };
}

/**
 * Answers over TLS.
 *
 * @param {{ key: string, cert: string }} credentials In PEM.
 * @param {import("node:http").RequestListener} handle
 * @returns {Promise<Server>}
 */
export async function serveTls(credentials, handle) {
  const server = createHttpsServer(credentials, handle);
  // Clients hang up when they see the certificate.
  server.on("tlsClientError", () => {});
  const { url, ...rest } = await listen(server, () => server.closeAllConnections());
  return { ...rest, url: url.replace("http:", "https:") };
}

/**
 * A server that speaks whatever it likes.
 *
 * @param {(socket: import("node:net").Socket) => void} handle
 * @returns {Promise<Server>}
 */
export async function serveRaw(handle) {
  const sockets = new Set();
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    // Clients hang up on these servers all the time.
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    handle(socket);
  });
  return listen(server, () => sockets.forEach((socket) => socket.destroy()));
}

async function listen(server, closeConnections) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests: [],
    async stop() {
      const closed = once(server, "close");
      server.close();
      closeConnections();
      await closed;
    },
  };
}

/**
 * Answers every request with the same JSON.
 *
 * @param {unknown} value
 * @param {{ status?: number, headers?: Record<string, string> }} [options]
 */
export function serveJson(value, { status = 200, headers = {} } = {}) {
  const body = JSON.stringify(value);
  return serve((_, response) => response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(body));
}

/** Nobody listens: the port is that of a client, so that it is nobody else's as long as the test lasts. */
export async function serveDead() {
  const server = await serveRaw(() => {});
  const client = connect(Number(new URL(server.url).port), "127.0.0.1");
  client.on("error", () => {});
  await once(client, "connect");
  return { ...server, url: `http://127.0.0.1:${client.localPort}` };
}

/** Takes the request and never says a word. */
export function serveSilence() {
  return serveRaw((socket) => socket.resume());
}

/** Begins an answer and goes on with a byte now and then, for ever. */
export function serveDrip() {
  return serve((_, response) => {
    response.writeHead(200, { "Content-Type": "application/json" }).write('{"peers":[');
    const timer = setInterval(() => response.write(" "), 20);
    response.on("close", () => clearInterval(timer));
  });
}

/** Sends a header that never ends. */
export function serveEndlessHeader() {
  return serveRaw((socket) => {
    socket.write("HTTP/1.1 200 OK\r\n");
    pour(socket, "X-More: and more\r\n");
  });
}

/** Sends a body that never ends, as fast as it is read. */
export function serveEndlessBody() {
  return serve((_, response) => {
    response.writeHead(200, { "Content-Type": "application/json" });
    pour(response, `{"peers":[${'{"version":1},'.repeat(1_000)}`);
  });
}

/** Promises more than it sends, and ends its side of the connection. */
export function serveHalf() {
  return serveRaw((socket) => {
    socket.end('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"peers":[');
  });
}

/** Answers in another protocol. */
export function serveNonsense() {
  return serveRaw((socket) => socket.end("220 mail.example.org ESMTP\r\n"));
}

/** @param {number} [status] */
export function serveHtml(status = 200) {
  const page = "<!doctype html>\n<title>Welcome to the hotel</title>\n<p>Accept our terms to go on.\n";
  return serve((_, response) => response.writeHead(status, { "Content-Type": "text/html" }).end(page));
}

/**
 * @param {import("node:stream").Writable} stream
 * @param {string} text
 */
function pour(stream, text) {
  const more = () => {
    while (!stream.destroyed && stream.write(text));
  };
  stream.on("drain", more);
  more();
}
