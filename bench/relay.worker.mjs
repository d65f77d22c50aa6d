// The least that passes a text on to all who hold a socket, over the same two sockets each: a Worker that ends the client's,
// and an object that hibernates at the other end of the second one. It reads nothing, limits nothing, and holds nobody.

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const answer = await env.ROOM.getByName(pathname).fetch(request);
    const { webSocket: room } = answer;
    if (!room) return answer;
    const { 0: client, 1: server } = new WebSocketPair();
    server.addEventListener("message", () => {});
    server.addEventListener("close", () => room.close());
    room.addEventListener("message", ({ data }) => server.send(data));
    room.addEventListener("close", () => server.close());
    server.accept();
    room.accept();
    return new Response(null, { status: 101, webSocket: client });
  },
};

export class Room {
  constructor(state) {
    this.state = state;
  }

  async fetch(request) {
    if (request.method === "POST") {
      const text = await request.text();
      for (const socket of this.state.getWebSockets()) socket.send(text);
      return new Response();
    }
    const { 0: client, 1: server } = new WebSocketPair();
    this.state.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }

  webSocketMessage() {}

  webSocketClose(socket) {
    socket.close();
  }
}
