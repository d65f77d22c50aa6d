// Beacons of the local network: `serve --lan`, and the programs that find it, as two machines of a network of their own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { PROGRAM, startNative } from "../tools/native.mjs";
import { ROOT } from "../tools/steps.mjs";
import { ADDRESSES, startLocalNetwork } from "./local-network.mjs";
import { PATIENCE_MS, SILENCE_MS } from "./patience.mjs";
import { CAPSULE, finished, requireCapsule } from "./program.mjs";

const keys = JSON.parse(await readFile(join(ROOT, "tests/vectors/keys.json"), "utf8"));
const KEY = { RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: keys.a.privateKey };
const OTHER_KEY = { RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: keys.b.privateKey };

let scratch;
let network;
/** The machine of the beacon, and that of the peer. */
let machine;
let peer;
before(async () => {
  requireCapsule();
  assert.ok(existsSync(PROGRAM), `${PROGRAM} is not there: cargo build --package rendezvous-native`);
  scratch = await mkdtemp(join(tmpdir(), "lan-test-"));
  network = await startLocalNetwork();
  [machine, peer] = network.machines;
});
after(async () => {
  network?.stop();
  await rm(scratch, { recursive: true, force: true });
});

/** Starts a beacon on a machine, which ends with the test at the latest. */
async function serve(context, where, { args = ["--lan"], vars = {} } = {}) {
  const environment = { PORT: "0", STATE: await mkdtemp(join(scratch, "state-")), THREADS: "1", PEERS_MAX_AGE_SECONDS: "0", ...vars };
  const beacon = await startNative({ environment, command: where.command(PROGRAM, ["serve", ...args]) });
  context.after(() => beacon.stop());
  return { ...beacon, port: new URL(beacon.url).port };
}

/** Runs the program on the peer's machine. */
function capsule(args, env = {}) {
  return finished(spawn(...peer.command(CAPSULE, args), { cwd: scratch, env, stdio: ["ignore", "pipe", "pipe"], timeout: PATIENCE_MS }));
}

const node = (peerId, ...args) => ["announce", "--peer-id", peerId, "--json", ...args];

/** Looks for beacons until there are as many as wanted: one says its name three times before it answers to it. */
async function who(wanted, ...args) {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const { code, stdout, stderr } = await capsule(["who", "--lan", "--json", ...args]);
    const found = code === 0 ? JSON.parse(stdout) : { source: "", peers: [] };
    if (wanted(found)) return { ...found, stderr };
    assert.ok(performance.now() < deadline, `${code} ${stdout} ${stderr}`);
  }
}

/** Asks from the peer's machine, with this `Host`. */
async function status(url, host) {
  const script = `import("node:http").then(({ get }) => get(${JSON.stringify(url)}, { headers: { host: ${JSON.stringify(host)} } }, ({ statusCode }) => { console.log(statusCode); process.exit(); }))`;
  const { stdout } = await peer.execute(process.execPath, ["--eval", script]);
  return Number(stdout);
}

/** What answers to a question in the local network: text, as far as names in it are. */
async function packet() {
  const script = `
    const socket = require("node:dgram").createSocket("udp4");
    const question = Buffer.from("123400000001000000000000" + "0b5f72656e64657a766f7573045f746370056c6f63616c00" + "000c0001", "hex");
    socket.on("message", (message) => { console.log(message.toString("hex")); process.exit(); });
    socket.bind(0, ${JSON.stringify(ADDRESSES[1])}, () => {
      socket.setMulticastInterface(${JSON.stringify(ADDRESSES[1])});
      setInterval(() => socket.send(question, 5353, "224.0.0.251"), 200);
    });`;
  const { stdout } = await peer.execute(process.execPath, ["--eval", script], { timeout: PATIENCE_MS });
  return Buffer.from(stdout.trim(), "hex");
}

test("a peer is announced to the beacon that it is given and to that of its network, and readers see one list", async (context) => {
  const local = await serve(context, machine);
  const given = await serve(context, peer, { args: [] });
  const url = `http://${ADDRESSES[0]}:${local.port}`;

  const [program, args] = peer.command(CAPSULE, node("node", "--lan", "--beacon", given.url));
  const announcing = spawn(program, args, { env: KEY, stdio: ["ignore", "pipe", "pipe"] });
  context.after(() => announcing.kill("SIGKILL"));
  const listed = new Set();
  for await (const line of createInterface({ input: announcing.stdout })) {
    const { event, beacon } = JSON.parse(line);
    if (event === "listed") listed.add(beacon);
    if (listed.size === 2) break;
  }
  assert.deepEqual([...listed].sort(), [url, given.url].sort());

  // Another peer is known to the local beacon alone.
  const once = await capsule(node("neighbour", "--once", "--beacon", url), OTHER_KEY);
  assert.equal(once.code, 0, once.stderr);
  const found = await who(({ source }) => source.includes(ADDRESSES[0]), given.url);
  assert.equal(found.source, `${given.url}, ${url}`);
  assert.deepEqual(found.peers.map(({ peerId }) => peerId).sort(), ["neighbour", "node"]);
  const alone = await capsule(["who", given.url, "--json"]);
  assert.deepEqual(JSON.parse(alone.stdout).peers.map(({ peerId }) => peerId), ["node"]);

  announcing.kill("SIGTERM");
  const left = await who(({ peers }) => peers.length === 1, given.url);
  assert.equal(left.peers[0].peerId, "neighbour", "it has left both");
});

test("one announce is enough where nobody gives a beacon", async (context) => {
  await serve(context, machine);
  await who(({ source }) => source !== "");
  const { code, stdout, stderr } = await capsule(node("node", "--once", "--lan"), KEY);
  assert.equal(code, 0, stderr);
  const { beacons } = JSON.parse(stdout);
  assert.equal(beacons.length, 1);
  assert.ok(beacons[0].listed && beacons[0].beacon.startsWith(`http://${ADDRESSES[0]}:`));
});

test("a beacon that is not asked to says nothing, and one that ends is gone", async (context) => {
  await serve(context, machine, { args: [], vars: { HOST: "0.0.0.0" } });
  const { code, stderr } = await capsule(["who", "--lan"]);
  assert.equal(code, 3);
  const said = /no beacon answers in the local network, which was asked by multicast DNS for 2s: .*`rendezvous-beacon serve --lan`/;
  assert.match(stderr, said);
  const once = await capsule(node("node", "--once", "--lan"), KEY);
  assert.deepEqual([once.code, JSON.parse(once.stdout).code], [3, "NO_BEACON_ANSWERED"]);
  for (const text of [once.stderr, JSON.parse(once.stdout).error]) assert.match(text, said);
  const people = await capsule(node("node", "--once", "--lan").filter((argument) => argument !== "--json"), KEY);
  assert.deepEqual([people.code, people.stdout], [3, ""]);
  assert.match(people.stderr, said);

  // With a beacon that is given it is a remark, and no more.
  const given = await serve(context, peer, { args: [] });
  const beside = await capsule(node("node", "--once", "--lan", "--beacon", given.url), KEY);
  assert.deepEqual([beside.code, JSON.parse(beside.stdout).beacons.length], [0, 1]);
  assert.match(beside.stderr, said);

  // Who goes on to ask says so once, and waits.
  const [program, args] = peer.command(CAPSULE, node("node", "--lan"));
  const waiting = spawn(program, args, { env: KEY, stdio: ["ignore", "pipe", "pipe"] });
  context.after(() => waiting.kill("SIGKILL"));
  for await (const line of createInterface({ input: waiting.stdout })) {
    const { event, problem } = JSON.parse(line);
    if (event !== "lan") continue;
    assert.match(problem, said);
    break;
  }
  waiting.kill("SIGTERM");

  const beacon = await serve(context, machine);
  await who(({ source }) => source.endsWith(`:${beacon.port}`));
  await beacon.stop();
  assert.equal((await capsule(["who", "--lan"])).code, 3);
});

test("a beacon that refuses to say whom it lists is told from one that cannot be reached", async (context) => {
  const beacon = await serve(context, machine, { vars: { COMMUNITIES: "chess", DEFAULT_COMMUNITY: "chess" } });
  await who(({ source }) => source.endsWith(`:${beacon.port}`), "--community", "chess");
  const { code, stderr } = await capsule(["who", "--lan", "--community", "unknown"]);
  assert.equal(code, 1, stderr);
  assert.match(stderr, /no beacon of the local network says whom it lists, .*:\d+/);
});

test("what is said is the version, the path, no TLS and the listed communities, and addresses of private networks alone", async (context) => {
  await machine.addAddress("203.0.113.5");
  const vars = { COMMUNITIES: "secret,chess", DEFAULT_COMMUNITY: "chess", LISTED_COMMUNITIES: "chess" };
  const beacon = await serve(context, machine, { vars });
  const answer = await packet();
  const text = answer.toString("latin1");
  for (const attribute of ["\x09txtvers=1", "\x06path=/", "\x06tls=no", "\x11communities=chess"]) {
    assert.ok(text.includes(attribute), `${attribute} in ${text}`);
  }
  assert.ok(!text.includes("secret"));
  const bytes = (address) => Buffer.from(address.split(".").map(Number)).toString("latin1");
  assert.ok(text.includes(bytes(ADDRESSES[0])) && !text.includes(bytes("203.0.113.5")));

  // It answers to the name that it has said, and to no other.
  const [name] = text.match(/rendezvous-beacon-[0-9a-f]{8}/);
  const url = `http://${ADDRESSES[0]}:${beacon.port}/peers`;
  for (const [host, expected] of [
    [`${name}.local:${beacon.port}`, 200],
    [`${ADDRESSES[0]}:${beacon.port}`, 200],
    [`rendezvous-beacon-00000000.local:${beacon.port}`, 421],
    [`${name}.local.rebound.example:${beacon.port}`, 421],
  ]) {
    assert.equal(await status(url, host), expected, host);
  }
});

describe("where somebody answers first, most, and with what is not theirs", () => {
  const LIARS = ["10.99.0.66", "10.99.0.67"];

  test("the honest beacon is found beside them, and nothing is asked of third machines", async (context) => {
    for (const address of [...LIARS, "203.0.113.66"]) await peer.addAddress(address);
    const honest = await serve(context, machine);
    await who(({ source }) => source === `http://${ADDRESSES[0]}:${honest.port}`);
    // At once, from three addresses, a hundred beacons each: of another machine's name and address, with bad attributes too.
    const script = `
      const { createSocket } = require("node:dgram");
      const name = (text) => Buffer.concat([...text.split(".").map((label) => Buffer.from([label.length, ...Buffer.from(label)])), Buffer.from([0])]);
      const record = (owner, type, data) => {
        const head = Buffer.alloc(10);
        head.writeUInt16BE(type, 0); head.writeUInt16BE(1, 2); head.writeUInt32BE(10, 4); head.writeUInt16BE(data.length, 8);
        return Buffer.concat([name(owner), head, data]);
      };
      const service = "_rendezvous._tcp.local";
      const answer = (id, port, attributes) => {
        const instance = "liar-" + port + "." + service;
        const header = Buffer.alloc(12);
        id.copy(header, 0, 0, 2); header.writeUInt16BE(0x8400, 2); header.writeUInt16BE(4, 6);
        const place = Buffer.alloc(6);
        place.writeUInt16BE(port, 4);
        const text = Buffer.concat(attributes.map((one) => Buffer.from([one.length, ...Buffer.from(one)])));
        return Buffer.concat([header, record(service, 12, name(instance)), record(instance, 33, Buffer.concat([place, name("liar.local")])),
          record(instance, 16, text), record("liar.local", 1, Buffer.from([10, 99, 0, 250]))]);
      };
      const out = ${JSON.stringify([...LIARS, "203.0.113.66"])}.map((address) => {
        const socket = createSocket("udp4");
        socket.bind(0, address);
        return socket;
      });
      const group = createSocket({ type: "udp4", reuseAddr: true });
      group.on("message", (message, { address, port }) => {
        for (let number = 1; number <= 100; number += 1) {
          const attributes = number % 10 === 0 ? ["txtvers=1", "path=@10.99.0.250/"] : ["txtvers=1"];
          for (const socket of out) socket.send(answer(message, number, attributes), port, address);
        }
      });
      group.bind(5353, () => { group.addMembership("224.0.0.251", ${JSON.stringify(ADDRESSES[1])}); console.log("ready"); });`;
    const liar = spawn(...peer.command(process.execPath, ["--eval", script]), { stdio: ["ignore", "pipe", "inherit"] });
    context.after(() => liar.kill("SIGKILL"));
    for await (const line of createInterface({ input: liar.stdout })) if (line === "ready") break;

    // An announce says of each beacon what came of it.
    const { stdout, stderr } = await capsule(node("node", "--once", "--lan", "--timeout", `${SILENCE_MS}ms`), KEY);
    const { beacons } = JSON.parse(stdout);
    assert.ok(beacons.find(({ beacon }) => beacon === `http://${ADDRESSES[0]}:${honest.port}`)?.listed, `${stdout} ${stderr}`);
    const hosts = beacons.map(({ beacon }) => new URL(beacon).hostname);
    assert.ok(hosts.length <= 8);
    for (const liar of LIARS) assert.ok(hosts.filter((host) => host === liar).length <= 4, stdout);
    assert.ok(LIARS.some((liar) => hosts.includes(liar)), "they were heard");
    assert.ok(hosts.every((host) => [ADDRESSES[0], ...LIARS].includes(host)), stdout);

    // Where liars alone are left, nobody has refused.
    await honest.stop();
    const left = await capsule(["who", "--lan", "--timeout", `${SILENCE_MS}ms`]);
    assert.equal(left.code, 3, left.stderr);
    assert.match(left.stderr, /no beacon of the local network can be asked/);
  });
});
