// What goes over the network, and where to: against servers of our own, with the host that pages have.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { Rendezvous, request } from "../build/internals.js";
import { newPeer } from "../../tests/ticket.mjs";
import { Beacon, World } from "./world.mjs";

const COMMUNITY = "my-app";

async function serve(answer) {
  const server = createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, stop };
}

test("no source sends a page, or its tickets, to others: redirects are not followed", async () => {
  const asked = [];
  const victim = await serve((message, response) => {
    asked.push(message.url);
    response.end("{}");
  });
  const statuses = [301, 302, 303, 307, 308];
  const sources = await Promise.all(
    statuses.map((status) =>
      serve((message, response) => {
        response.writeHead(status, { location: `${victim.url}${message.url}` });
        response.end();
      }),
    ),
  );
  const { publicKey } = newPeer();
  const ann = new Rendezvous({
    community: COMMUNITY,
    peerId: "ann",
    beacons: sources.map(({ url }) => url),
    capsules: sources.map(({ url }) => ({ url: `${url}/peers.json`, publicKey })),
  });
  try {
    await ann.start();
    while (ann.status().sources.some(({ state }) => state === "waiting")) await once(ann, "status");
    assert.deepEqual(
      ann.status().sources.map(({ state, reason }) => `${state} ${reason}`),
      Array(2 * statuses.length).fill("failing NETWORK"),
    );
    await ann.stop();
    assert.deepEqual(asked, []);
  } finally {
    await ann.stop();
    for (const server of [victim, ...sources]) server.stop();
  }
});

test("the goodbye of a page that goes outlives it, and says nothing of who asks, or where", async () => {
  const world = new World();
  const beacon = new Beacon(world, "https://one.example");
  const host = world.host();
  const { fetch } = host;
  const seen = [];
  host.fetch = (url, init) => {
    if (url.includes("/leave")) seen.push(init);
    return fetch(url, init);
  };
  const ann = new Rendezvous({ community: COMMUNITY, peerId: "ann", beacons: [beacon.origin] }, host);
  await ann.start();
  await world.pass(1_000);
  host.events("pagehide");
  host.events("pageshow");
  await world.pass(5_000);
  void ann.stop();
  await world.pass(5_000);
  assert.equal(seen.length, 2);
  for (const { signal, body, ...init } of seen) {
    assert.deepEqual(init, {
      credentials: "omit",
      referrerPolicy: "no-referrer",
      cache: "no-store",
      redirect: "error",
      method: "POST",
      keepalive: true,
    });
    assert.equal(JSON.parse(body).ticket.payload.leave, true);
  }
});

test("an answer without a stream, as in React Native, is read, and has the same limit", async () => {
  const answer = (text) => async () => ({
    status: 200,
    headers: new Headers(),
    body: undefined,
    arrayBuffer: async () => new TextEncoder().encode(text).buffer,
  });
  const { signal } = new AbortController();
  const { status, body } = await request(answer("1234"), "https://one.example", signal, 4);
  assert.deepEqual([status, new TextDecoder().decode(body)], [200, "1234"]);
  await assert.rejects(request(answer("12345"), "https://one.example", signal, 4), { message: "TOO_LARGE" });
});
