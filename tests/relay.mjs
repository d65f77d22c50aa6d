// The relay of libp2p's that runs beside the beacon (RELAY_PORT), in the program that is built with it: two peers of js-libp2p reach
// each other through it, and within its limits. RELAY_BIN names the program.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ensureHelia } from "../tools/helia.mjs";
import { startNative } from "../tools/native.mjs";
import { ROOT } from "../tools/steps.mjs";
import { call, eventually } from "./http.mjs";
import { freePort } from "./ports.mjs";
import { finished } from "./program.mjs";

const PROGRAM = process.env.RELAY_BIN ?? join(ROOT, "target/relay/debug/rendezvous-beacon");
const PROTOCOL = "/rendezvous-test/echo/1";
/** Of a circuit, both ways together. */
const MOST_BYTES = 1024 * 1024;
const MOST_CONNECTIONS_OF_A_HOUSEHOLD = 16;

let directory;
let load;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "relay-test-"));
  load = await ensureHelia();
});
after(() => rm(directory, { recursive: true, force: true }));

/** @param {import("node:test").TestContext} context */
async function startBeacon(context, port) {
  const key = join(directory, "keys/relay.key");
  const environment = { PORT: "0", STATE: join(directory, "state"), RELAY_PORT: String(port), RELAY_KEY_FILE: key };
  const beacon = await startNative({ environment, command: [PROGRAM, ["serve"]] });
  context.after(() => beacon.stop());
  return { ...beacon, key };
}

/**
 * A peer that listens where it is told to.
 *
 * @param {import("node:test").TestContext} context
 * @param {string[]} listen
 * @param {object} [more] Options of libp2p's.
 */
async function startPeer(context, listen, more = {}) {
  const names = ["libp2p", "@libp2p/tcp", "@libp2p/noise", "@libp2p/yamux", "@libp2p/identify", "@libp2p/circuit-relay-v2"];
  const [{ createLibp2p }, { tcp }, { noise }, { yamux }, { identify }, { circuitRelayTransport }] = await Promise.all(names.map(load));
  const peer = await createLibp2p({
    addresses: { listen },
    transports: [tcp(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // Circuits are what is to be seen here.
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify(), key: ({ privateKey }) => ({ privateKey }) },
    ...more,
  });
  context.after(() => peer.stop());
  return peer;
}

test("two peers reach each other through it, over an encrypted connection that ends with the circuit's bytes", async (context) => {
  const { multiaddr } = await load("@multiformats/multiaddr");
  const port = await freePort();
  const { url, key } = await startBeacon(context, port);
  const { json } = await call(url, "/relay");
  assert.deepEqual(json.addrs, [`/ip4/127.0.0.1/tcp/${port}/p2p/${json.peer_id}`]);
  assert.equal((await stat(key)).mode & 0o777, 0o600);
  const [relay] = json.addrs;

  const ann = await startPeer(context, [`${relay}/p2p-circuit`]);
  const bob = await startPeer(context, []);
  await ann.handle(PROTOCOL, async (stream) => {
    for await (const part of stream) stream.send(part);
  }, { runOnLimitedConnection: true });
  const circuit = `${relay}/p2p-circuit/p2p/${ann.peerId}`;
  await eventually(async () => ann.getMultiaddrs().map(String), (addresses) => addresses.includes(circuit));

  const connection = await bob.dial(multiaddr(circuit));
  assert.ok(connection.remotePeer.equals(ann.peerId));
  // What is left of it after the handshake.
  const left = Number(connection.limits.bytes);
  assert.ok(left <= MOST_BYTES && left > MOST_BYTES / 2, `${left}`);
  const stream = await connection.newStream(PROTOCOL, { runOnLimitedConnection: true });
  stream.send(new TextEncoder().encode("hello ann"));
  let heard = "";
  for await (const part of stream) {
    heard += new TextDecoder().decode(part.subarray());
    if (heard.length >= "hello ann".length) break;
  }
  assert.equal(heard, "hello ann");

  // More than a circuit carries never comes back whole.
  const closed = new Promise((resolve) => connection.addEventListener("close", resolve, { once: true }));
  const part = new Uint8Array(16 * 1024);
  const flood = await connection.newStream(PROTOCOL, { runOnLimitedConnection: true });
  let returned = 0;
  const reading = (async () => {
    for await (const answer of flood) returned += answer.byteLength;
  })().catch(() => {});
  for (let sent = 0; sent < 4 * MOST_BYTES && connection.status === "open"; sent += part.byteLength) {
    try {
      if (!flood.send(part)) await flood.onDrain();
    } catch {
      break;
    }
  }
  await closed;
  await reading;
  assert.ok(returned < MOST_BYTES, `${returned}`);
});

test("a key that is none, and a port that is taken, are named before anything is served", async (context) => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  context.after(() => taken.close());
  const noKey = join(directory, "no.key");
  await writeFile(noKey, "-----BEGIN PRIVATE KEY-----");
  const start = (variables) => {
    const env = { PORT: "0", STATE: join(directory, "refused"), RELAY_KEY_FILE: join(directory, "refused.key"), ...variables };
    return finished(spawn(PROGRAM, ["serve"], { env, stdio: ["ignore", "pipe", "pipe"] }));
  };
  const withoutKey = await start({ RELAY_PORT: String(await freePort()), RELAY_KEY_FILE: noKey });
  assert.deepEqual([withoutKey.code, withoutKey.stdout], [2, ""]);
  assert.match(withoutKey.stderr, /^error: RELAY_KEY_FILE: .*no\.key is not a private key/);
  const shared = await freePort();
  await startBeacon(context, shared);
  for (const port of [taken.address().port, shared]) {
    const withoutPort = await start({ RELAY_PORT: String(port) });
    assert.deepEqual([withoutPort.code, withoutPort.stdout], [1, ""]);
    assert.match(withoutPort.stderr, new RegExp(`^error: RELAY_PORT: 127\\.0\\.0\\.1:${port} cannot be listened on: .*\\nhint: end what listens there`));
  }
});

test("it ends with a circuit that is open", async (context) => {
  const { multiaddr } = await load("@multiformats/multiaddr");
  const port = await freePort();
  const beacon = await startBeacon(context, port);
  const [relay] = (await call(beacon.url, "/relay")).json.addrs;
  const ann = await startPeer(context, [`${relay}/p2p-circuit`]);
  const bob = await startPeer(context, []);
  const circuit = `${relay}/p2p-circuit/p2p/${ann.peerId}`;
  await eventually(async () => ann.getMultiaddrs().map(String), (addresses) => addresses.includes(circuit));
  const connection = await bob.dial(multiaddr(circuit));
  const closed = new Promise((resolve) => connection.addEventListener("close", resolve, { once: true }));
  await beacon.stop();
  assert.equal(await beacon.ended, "ended with exit code 0");
  await closed;
});

test("one name has two reservations", async (context) => {
  const { url } = await startBeacon(context, await freePort());
  const [relay] = (await call(url, "/relay")).json.addrs;
  const start = async (more) => {
    const peer = await startPeer(context, [`${relay}/p2p-circuit`], more);
    await eventually(async () => peer.getMultiaddrs().length, (addresses) => addresses > 0);
    return peer.services.key;
  };
  const { privateKey } = await start();
  await start({ privateKey });
  await assert.rejects(start({ privateKey }), /RESOURCE_LIMIT_EXCEEDED/);
});

test("its name outlives a restart, and nobody has all of its connections", async (context) => {
  const port = await freePort();
  const first = await startBeacon(context, port);
  const named = (await call(first.url, "/relay")).json.peer_id;
  await first.stop();
  const { url } = await startBeacon(context, port);
  assert.equal((await call(url, "/relay")).json.peer_id, named);

  // On a machine that is slow enough, the first are given up before the last are there.
  await eventually(
    async () => {
      const sockets = Array.from({ length: MOST_CONNECTIONS_OF_A_HOUSEHOLD + 1 }, () => connect(port, "127.0.0.1"));
      const isServed = sockets.map((socket) => {
        socket.on("error", () => {}).write("\x13/multistream/1.0.0\n");
        const refused = () => false;
        return Promise.race([once(socket, "data").then(() => true, refused), once(socket, "close").then(refused, refused)]);
      });
      const served = (await Promise.all(isServed)).filter(Boolean).length;
      sockets.forEach((socket) => socket.destroy());
      return served;
    },
    (served) => served === MOST_CONNECTIONS_OF_A_HOUSEHOLD,
  );
  assert.equal((await call(url, "/healthz")).status, 200, "the beacon goes on");
});
