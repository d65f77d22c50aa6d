// What stands before the beacon of `npm start`: it says where a request comes from, as Cloudflare does, whatever the
// client says. Miniflare believes clients that say so themselves, in CF-Connecting-IP and in headers of its own.

import { once } from "node:events";
import { Agent, createServer, request as httpRequest } from "node:http";

/** Of one connection, not of what is sent on it (RFC 9110, section 7.6.1). Node adds its own. */
const OF_THE_CONNECTION = new Set(["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"]);

/**
 * @param {object} options
 * @param {string} options.host
 * @param {number} options.port 0 for any that is free.
 * @param {string} options.target Where the beacon answers.
 * @param {boolean} [options.believesClients] Leaves CF-Connecting-IP as it comes: something that sets it is in front.
 * @returns {Promise<{ url: string, stop: () => Promise<void> }>}
 */
export async function startFront({ host, port, target, believesClients = false }) {
  const agent = new Agent({ keepAlive: true });
  const { hostname, port: targetPort } = new URL(target);
  const headersOf = (request) => {
    const headers = Object.fromEntries(
      Object.entries(request.headers).filter(([name]) => !OF_THE_CONNECTION.has(name) && !name.startsWith("mf-")),
    );
    if (!believesClients) headers["cf-connecting-ip"] = request.socket.remoteAddress;
    return headers;
  };
  const server = createServer((request, response) => {
    const { method, url: path } = request;
    const onward = httpRequest({ host: hostname, port: targetPort, agent, method, path, headers: headersOf(request) });
    onward.on("response", (answer) => {
      const kept = Object.entries(answer.headers).filter(([name]) => !OF_THE_CONNECTION.has(name));
      response.writeHead(answer.statusCode, Object.fromEntries(kept));
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    onward.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  const sockets = new Set();
  server.on("upgrade", (request, socket, first) => {
    const { method, url: path } = request;
    const headers = { ...headersOf(request), connection: "Upgrade", upgrade: request.headers.upgrade };
    const onward = httpRequest({ host: hostname, port: targetPort, method, path, headers });
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      sockets.delete(socket);
      onward.destroy();
    });
    onward.on("upgrade", (answer, other, firstOfOther) => {
      socket.write(headOf(answer, answer.rawHeaders));
      socket.write(firstOfOther);
      other.write(first);
      other.on("error", () => socket.destroy());
      other.on("close", () => socket.destroy());
      socket.on("close", () => other.destroy());
      other.pipe(socket).pipe(other);
    });
    onward.on("response", (answer) => {
      const kept = Object.entries(answer.headers).filter(([name]) => !OF_THE_CONNECTION.has(name) && name !== "transfer-encoding");
      socket.write(headOf(answer, [...kept.flat(), "connection", "close"]));
      answer.pipe(socket);
    });
    onward.on("error", () => socket.destroy());
    onward.end();
  });
  server.listen({ host: host === "*" ? "::" : host, port });
  await once(server, "listening");
  const name = host === "*" ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${name}:${server.address().port}`,
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      for (const socket of sockets) socket.destroy();
      agent.destroy();
      await closed;
    },
  };
}

/**
 * Writes the head of an answer as it is sent.
 *
 * @param {import("node:http").IncomingMessage} answer
 * @param {string[]} headers Names and values, one after the other.
 */
function headOf({ statusCode, statusMessage }, headers) {
  let head = `HTTP/1.1 ${statusCode} ${statusMessage}\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  return `${head}\r\n`;
}
