// Data channels between pages, with nothing but beacons: `rendezvous-beacon/webrtc` in real Chromium, each page in a
// browser and a profile of its own, against the native program; what a newcomer does first, against both hosts.
//
// Where a test has to come between two pages, as somebody on the way could, signals go through this process.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build, transform } from "esbuild";
import { chromium } from "playwright-core";
import { ADVICE, CHROMIUM_ARGUMENTS, findChromium } from "../tools/chromium.mjs";
import { servePages } from "../tools/pages.mjs";
import { ROOT } from "../tools/steps.mjs";
import { HOSTS, NATIVE } from "./hosts.mjs";
import { announce, eventually } from "./http.mjs";
import { PATIENCE_MS, SILENCE_MS } from "./patience.mjs";
import { canonical, newPeer, signTicket } from "./ticket.mjs";

const IMPORTS = {
  "rendezvous-beacon": "/client/dist/index.js",
  ...Object.fromEntries(["live", "simple-peer", "trystero", "webrtc", "y-webrtc"].map((name) => [`rendezvous-beacon/${name}`, `/client/dist/${name}.js`])),
};

/** Packages as pages load them. */
const PACKAGES = {
  "simple-peer": `export { default } from "simple-peer/simplepeer.min.js";`,
  trystero: `export * from "@trystero-p2p/core";`,
  "y-webrtc": `export * from "y-webrtc"; export { Doc } from "yjs";`,
};

/** For calls that nobody answers: as long as the one who is called may need to refuse. */
const UNANSWERED = `timeoutMs: ${SILENCE_MS},`;

/** What makes `connections` in a page, by entry point; `OPTIONS` is code. */
const SETUPS = {
  webrtc: `
    import { Connections } from "rendezvous-beacon/webrtc";
    window.connections = new Connections(rendezvous, carrier, {
      onConnection: ({ peerId, channel, inbound }) => {
        opened.push([peerId, inbound]);
        channel.addEventListener("message", ({ data }) => received.push(peerId + ": " + data));
        channel.addEventListener("close", () => ended.push(peerId));
      },
      timeoutMs: ${PATIENCE_MS},
      OPTIONS
    });`,
  "simple-peer": `
    import SimplePeer from "/packages/simple-peer.js";
    import { Connections } from "rendezvous-beacon/simple-peer";
    window.connections = new Connections(rendezvous, carrier, SimplePeer, {
      onConnection: ({ peerId, channel, inbound }) => {
        opened.push([peerId, inbound]);
        channel.on("data", (data) => received.push(peerId + ": " + data));
        channel.on("close", () => ended.push(peerId));
      },
      timeoutMs: ${PATIENCE_MS},
      OPTIONS
    });`,
  "y-webrtc": `
    import { Doc, WebrtcConn, WebrtcProvider } from "/packages/y-webrtc.js";
    import { connectProvider } from "rendezvous-beacon/y-webrtc";
    window.doc = new Doc();
    window.provider = new WebrtcProvider("room", doc, { signaling: [], filterBcConns: false, OPTIONS });
    window.stop = await connectProvider(rendezvous, carrier, provider, { WebrtcConn }).catch((error) => (window.failure = String(error)));`,
};

let scratch, pages, beacon;
const browsers = [];
let communities = 0;
/** A community that no other test knows. */
const newCommunity = () => `webrtc-${(communities += 1)}`;

before(async () => {
  assert.ok(findChromium(), ADVICE);
  assert.ok(existsSync(join(ROOT, "client/dist/webrtc.js")), "the client is not built: npm run build --workspace client");
  scratch = await mkdtemp(join(tmpdir(), "webrtc-test-"));
  const launch = async (name) =>
    browsers.push(await chromium.launchPersistentContext(join(scratch, name), { executablePath: findChromium(), args: CHROMIUM_ARGUMENTS }));
  const made = Object.fromEntries(
    Object.entries(PACKAGES).map(([name, contents]) => [
      `/packages/${name}.js`,
      async () => {
        const bundle = { stdin: { contents, resolveDir: ROOT }, bundle: true, format: "esm", write: false, logLevel: "warning" };
        const [{ text: body }] = (await build(bundle)).outputFiles;
        return { headers: { "Content-Type": "text/javascript" }, body };
      },
    ]),
  );
  [pages, beacon] = await Promise.all([servePages({ made }), startBeacon(), launch("one"), launch("other")]);
  for (const browser of browsers) browser.setDefaultTimeout(PATIENCE_MS);
});

after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await Promise.all([pages?.stop(), beacon?.stop()]);
  if (scratch) await rm(scratch, { recursive: true, force: true, maxRetries: 5 });
});

function startBeacon() {
  const names = Array.from({ length: 60 }, (_, number) => `webrtc-${number + 1}`);
  return NATIVE.start({ vars: { COMMUNITIES: ["mainnet", ...names].join(), PEERS_MAX_AGE_SECONDS: "0" } });
}

/** What carries signals in a page where this process is between it and the others. */
const CARRIED_HERE = `{
  iceServers: async () => [],
  sendSignal: async (id, text) => {
    const refusal = await carry(text);
    if (refusal) throw new Error(refusal);
  },
  onSignal: (listener) => {
    window.deliver = listener;
    return () => delete window.deliver;
  },
}`;

/** The pages whose signals go through this process. */
class Way {
  /** By key. */
  pages = new Map();
  /** Every signal, in the order in which it was sent. */
  sent = [];
  /** What is said of one that is not delivered. */
  refusal = "PEER_ABSENT";
  /** What becomes of one: the texts that are delivered. */
  onSignal = (signal, text) => [text];

  async carry(text) {
    const signal = JSON.parse(text);
    this.sent.push(signal);
    let isDelivered = false;
    for (const passed of await this.onSignal(signal, text)) {
      const page = this.pages.get(JSON.parse(passed).toKey);
      if (page) isDelivered = true;
      await page?.evaluate((text) => window.deliver?.(text), passed);
    }
    return isDelivered ? undefined : this.refusal;
  }

  /** Waits until so many were sent. */
  has(count) {
    return eventually(() => this.sent.length, (sent) => sent >= count);
  }

  kinds() {
    return this.sent.map(({ from, kind }) => `${from} ${kind}`);
  }
}

/** A page that can import the client. */
async function openBlank(browser) {
  const page = await browser.newPage();
  await page.goto(`${pages.url}/client/example/example.css`);
  await page.setContent(`<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>`);
  return page;
}

/**
 * A page with a client of its own, that is started. It has `rendezvous` and `connections`, and in `received` what came
 * over its channels.
 *
 * @param {string} peerId
 * @param {string} community
 * @param {{ way?: Way, browser?: number, library?: keyof SETUPS, rendezvous?: string, options?: string, beacons?: string[] }} [setup] `rendezvous` and
 *   `options` are code: more of the client's options, and those of the connections.
 */
async function open(peerId, community, { way, browser = 0, library = "webrtc", rendezvous = "", options = "", beacons = [beacon.url] } = {}) {
  const page = await openBlank(browsers[browser]);
  const mishaps = [];
  page.on("pageerror", (error) => mishaps.push(String(error)));
  if (way) await page.exposeFunction("carry", (text) => way.carry(text));
  await page.addScriptTag({
    type: "module",
    content: `
      import { Rendezvous } from "rendezvous-beacon";
      ${way ? "" : `import { live } from "rendezvous-beacon/live";`}
      Object.assign(window, { received: [], opened: [], ended: [] });
      window.rendezvous = new Rendezvous({
        community: "${community}", peerId: "${peerId}", beacons: ${JSON.stringify(beacons)},
        identity: await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]), ${rendezvous}
      });
      window.carrier = ${way ? CARRIED_HERE : "live(rendezvous)"};
      ${SETUPS[library].replace("OPTIONS", options)}
      await rendezvous.start();
      window.isReady = true;`,
  });
  await page.waitForFunction(() => window.isReady && rendezvous.status().announced);
  const publicKey = await page.evaluate(() => rendezvous.publicKey);
  way?.pages.set(publicKey, page);
  return {
    page,
    peerId,
    publicKey,
    mishaps,
    knows: (other) => page.waitForFunction((peerId) => rendezvous.peers().live.some((peer) => peer.peerId === peerId), other),
    /** Calls a peer, and gives how that ended: `open`, or the reason. */
    connect: (peerId) =>
      page.evaluate(async (peerId) => {
        const peer = rendezvous.peers().live.find((live) => live.peerId === peerId);
        try {
          window.channel = await connections.connect(peer);
          return channel.readyState;
        } catch (error) {
          return error.reason ?? String(error);
        }
      }, peerId),
    /** Says something to everybody it is connected to. */
    say: (text) => page.evaluate((text) => connections.open.forEach(({ channel }) => channel.send(text)), text),
    hears: (text) => page.waitForFunction((text) => received.includes(text), text),
    status: () => page.evaluate(() => connections.status()),
    opened: () => page.evaluate(() => opened),
    deliver: (text) => page.evaluate((text) => deliver(text), text),
    close: async () => {
      assert.deepEqual(mishaps, []);
      await page.close();
    },
  };
}

/** Both know each other, each from the beacon's list. */
async function openPair(community, setup = {}, other = setup) {
  const ann = await open("ann", community, { ...setup, browser: 0 });
  const bob = await open("bob", community, { ...other, browser: 1 });
  await bob.knows("ann");
  // A page that was there first asks again only later.
  await ann.page.evaluate(async (url) => {
    const { peers } = await (await fetch(url)).json();
    for (const ticket of peers) await rendezvous.add(JSON.stringify(ticket));
  }, `${beacon.url}/peers?community=${community}`);
  await ann.knows("bob");
  return [ann, bob];
}

/** Lets both talk. */
async function talk(one, other) {
  await one.say("hello");
  await other.hears(`${one.peerId}: hello`);
  await other.say("hello yourself");
  await one.hears(`${other.peerId}: hello yourself`);
}

const closeAll = (...all) => Promise.all(all.map((each) => each.close()));

const sha256 = (text) => createHash("sha256").update(text).digest("base64");

/** The description of a data channel that nobody has. */
const DESCRIPTION = [
  "v=0",
  "o=- 1 2 IN IP4 127.0.0.1",
  "s=-",
  "t=0 0",
  "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
  "c=IN IP4 0.0.0.0",
  `a=fingerprint:sha-256 ${Array(32).fill("A0").join(":")}`,
  "",
].join("\r\n");

/** Signs a signal anew, as whoever has the key of `signer` can. */
function signSignal(signal, signer, community) {
  const { ticket: _, signature: __, t, ...fields } = { ...signal, from: signer.peerId, fromKey: signer.publicKey };
  const signed = `rendezvous-live-v1:signal\n${canonical({ ...fields, community })}`;
  const signature = sign(null, Buffer.from(signed), signer.privateKey).toString("base64");
  return { digest: sha256(signed), text: JSON.stringify({ t, ...fields, signature, ticket: signTicket(signer, { community }) }) };
}

const digestOf = ({ t, signature, ticket, ...fields }, community) => sha256(`rendezvous-live-v1:signal\n${canonical({ ...fields, community })}`);

/** @param {keyof SETUPS} library */
async function refusesMallory(library) {
  const community = newCommunity();
  const way = new Way();
  const [ann, bob] = await openPair(community, { way, library });
  // Mallory is a peer like others: both have its ticket, and may well talk to it.
  const mallory = newPeer({ peerId: "mallory" });
  await announce(beacon.url, signTicket(mallory, { community }), { community });
  for (const page of [ann, bob]) {
    await page.page.evaluate((ticket) => rendezvous.add(ticket), JSON.stringify(signTicket(mallory, { community })));
    await page.knows("mallory");
  }
  // Bob calls Mallory, who offers Ann the same description, and gives her answer to Bob: the channel is from one to the
  // other, and each takes the other for Mallory.
  let original, passedOn;
  way.onSignal = (signal) => {
    if (signal.toKey !== mallory.publicKey) return [JSON.stringify(signal)];
    if (signal.kind === "offer") {
      original = digestOf(signal, community);
      passedOn = signSignal({ ...signal, to: "ann", toKey: ann.publicKey }, mallory, community);
      return [passedOn.text];
    }
    assert.equal(signal.re, passedOn.digest);
    return [signSignal({ ...signal, to: "bob", toKey: bob.publicKey, re: original }, mallory, community).text];
  };
  assert.equal(await bob.connect("mallory"), "CONFIRMATION_INVALID");
  assert.deepEqual(way.kinds(), ["bob offer", "ann answer"], "it came as far as a channel");
  for (const page of [ann, bob]) {
    await page.page.waitForFunction(() => connections.status().failures.CONFIRMATION_INVALID === 1);
    assert.deepEqual(await page.opened(), []);
  }
  await closeAll(ann, bob);
}

/** Until a page has a connection that is bound at so many beacons. */
const bound = ({ page }, count) => page.waitForFunction((count) => carrier.status().filter(({ bound }) => bound).length === count, count);

describe("with beacons and nothing else", () => {
  test("two pages find each other and talk", async (t) => {
    const community = newCommunity();
    const rendezvous = `minActivePeers: 1,`;
    const ann = await open("ann", community, { rendezvous });
    await bound(ann, 1);
    const began = performance.now();
    const bob = await open("bob", community, { rendezvous, browser: 1 });
    await bob.knows("ann");
    await bound(bob, 1);
    const called = performance.now();
    assert.equal(await bob.connect("ann"), "open");
    const opened = performance.now();
    await ann.page.waitForFunction(() => connections.open.length === 1);
    await talk(ann, bob);
    t.diagnostic(`open and confirmed ${Math.round(opened - called)} ms after the call, ${Math.round(opened - began)} ms after the page was opened`);
    await closeAll(ann, bob);
  });

  for (const host of HOSTS) {
    test(`the first lines of README.md are all that it takes, with ${host.name}`, async () => {
      const files = ["README.md", "client/README.md"].map((name) => readFile(join(ROOT, name), "utf8"));
      const [lines, same] = (await Promise.all(files)).map((readme) => /^```ts\n(.*?)^```$/ms.exec(readme)[1]);
      assert.equal(lines, same);
      assert.equal(lines.trimEnd().split("\n").length, 10);
      // As it is delivered, but that the list of a moment ago may not be served.
      const delivered = await host.start({ vars: { PEERS_MAX_AGE_SECONDS: "0" } });
      try {
        const { code } = await transform(lines.replace("https://beacon.example", delivered.url), { loader: "ts" });
        const said = [];
        const visitors = await Promise.all(
          browsers.map(async (browser, at) => {
            const page = await openBlank(browser);
            page.on("console", (message) => said.push([at, message.text()]));
            await page.addScriptTag({ type: "module", content: code });
            return page;
          }),
        );
        await eventually(() => said.length, (count) => count === 2);
        assert.deepEqual(said.sort(), [[0, "hello"], [1, "hello"]]);
        await Promise.all(visitors.map((page) => page.close()));
      } finally {
        await delivered.stop();
      }
    });
  }

  test("through a second beacon, when the first is killed while they call", async (t) => {
    const community = newCommunity();
    const [first, second] = await Promise.all([startBeacon(), startBeacon()]);
    const setup = { beacons: [first.url, second.url] };
    const ann = await open("ann", community, setup);
    const bob = await open("bob", community, { ...setup, browser: 1 });
    for (const page of [ann, bob]) await bound(page, 2);
    await Promise.all([ann.knows("bob"), bob.knows("ann")]);
    const began = performance.now();
    const call = bob.connect("ann");
    await first.kill();
    assert.equal(await call, "open");
    await ann.page.waitForFunction(() => connections.open.length === 1);
    await talk(ann, bob);
    t.diagnostic(`open and confirmed ${Math.round(performance.now() - began)} ms after the call`);
    // With one that was dead before, too.
    await bob.page.evaluate(() => channel.close());
    for (const page of [ann, bob]) await page.page.waitForFunction(() => connections.open.length === 0);
    assert.equal(await ann.connect("bob"), "open");
    await second.stop();
    // The channel needs no beacon.
    await talk(ann, bob);
    await closeAll(ann, bob);
  });

  test("both call at once, twice, and have one connection each time", async () => {
    const community = newCommunity();
    const ann = await open("ann", community);
    const bob = await open("bob", community, { browser: 1 });
    for (const page of [ann, bob]) await bound(page, 1);
    await Promise.all([ann.knows("bob"), bob.knows("ann")]);
    for (let round = 1; round <= 2; round++) {
      assert.deepEqual(await Promise.all([ann.connect("bob"), bob.connect("ann")]), ["open", "open"]);
      for (const page of [ann, bob]) await page.page.waitForFunction((round) => connections.open.length === 1 && opened.length === round, round);
      await talk(ann, bob);
      await ann.page.evaluate(() => channel.close());
      for (const page of [ann, bob]) await page.page.waitForFunction(() => connections.open.length === 0);
    }
    await closeAll(ann, bob);
  });

  test("two pages of one browser, with one key, call each other at once", async () => {
    const community = newCommunity();
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const [jwk, spki] = [privateKey.export({ format: "jwk" }), publicKey.export({ format: "jwk" })].map((key) => JSON.stringify(key));
    const identity = `identity: {
      privateKey: await crypto.subtle.importKey("jwk", ${jwk}, "Ed25519", false, ["sign"]),
      publicKey: await crypto.subtle.importKey("jwk", ${spki}, "Ed25519", true, ["verify"]),
    },`;
    const ann = await open("ann", community, { rendezvous: identity });
    const bob = await open("bob", community, { rendezvous: identity, browser: 1 });
    assert.equal(ann.publicKey, bob.publicKey);
    for (const page of [ann, bob]) await bound(page, 1);
    await Promise.all([ann.knows("bob"), bob.knows("ann")]);
    assert.deepEqual(await Promise.all([ann.connect("bob"), bob.connect("ann")]), ["open", "open"]);
    for (const page of [ann, bob]) await page.page.waitForFunction(() => connections.open.length === 1);
    await talk(ann, bob);
    await closeAll(ann, bob);
  });

  test("a peer that is listed and has no connection is absent", async () => {
    const community = newCommunity();
    const ann = await open("ann", community);
    await bound(ann, 1);
    await announce(beacon.url, signTicket(newPeer({ peerId: "silent" }), { community }), { community });
    await ann.knows("silent");
    assert.equal(await ann.connect("silent"), "PEER_ABSENT");
    await ann.close();
  });
});

describe("with somebody on the way", () => {
  test("a page calls another, and both talk; two signals make the connection", async (t) => {
    const way = new Way();
    const [ann, bob] = await openPair(newCommunity(), { way });
    const began = performance.now();
    assert.equal(await bob.connect("ann"), "open");
    t.diagnostic(`open and confirmed ${Math.round(performance.now() - began)} ms after the call`);
    await ann.page.waitForFunction(() => connections.open.length === 1);
    await talk(ann, bob);
    assert.deepEqual(way.kinds(), ["bob offer", "ann answer"]);
    assert.deepEqual([await ann.opened(), await bob.opened()], [[["bob", true]], [["ann", false]]]);
    assert.equal(await bob.connect("ann"), "open", "one that is open is the one that is given");
    assert.equal(way.sent.length, 2);
    // Whoever closes a channel closes the connection, on both sides.
    await bob.page.evaluate(() => channel.close());
    await ann.page.waitForFunction(() => connections.open.length === 0);
    assert.equal(await bob.page.evaluate(() => connections.open.length), 0);
    await closeAll(ann, bob);
  });

  test("what is sent at once waits for whoever awaits the channel", async () => {
    const way = new Way();
    const options = `onConnection: ({ channel }) => ["one", "two", "three"].forEach((text) => channel.send(text)),`;
    const [ann, bob] = await openPair(newCommunity(), { way, options });
    const heard = await bob.page.evaluate(async () => {
      const channel = await connections.connect(rendezvous.peers().live[0]);
      return new Promise((resolve) => {
        const heard = [];
        channel.onmessage = ({ data }) => heard.push(data) === 3 && resolve(heard);
      });
    });
    assert.deepEqual(heard, ["one", "two", "three"]);
    await closeAll(ann, bob);
  });

  test("of two calls that cross, that of the smaller key stands", async () => {
    const way = new Way();
    const community = newCommunity();
    const [ann, bob] = await openPair(community, { way });
    // Neither offer arrives before both are sent.
    let release;
    const both = new Promise((resolve) => (release = resolve));
    way.onSignal = async ({ kind }, text) => {
      if (kind === "offer" && way.sent.filter((signal) => signal.kind === "offer").length === 2) release();
      if (kind === "offer") await both;
      return [text];
    };
    assert.deepEqual(await Promise.all([ann.connect("bob"), bob.connect("ann")]), ["open", "open"]);
    await talk(ann, bob);
    const isAnnSmaller = Buffer.compare(Buffer.from(ann.publicKey, "base64"), Buffer.from(bob.publicKey, "base64")) < 0;
    assert.deepEqual(way.kinds().filter((kind) => kind.endsWith("answer")), [isAnnSmaller ? "bob answer" : "ann answer"]);
    for (const page of [ann, bob]) assert.equal((await page.opened()).length, 1);
    await closeAll(ann, bob);
  });

  test("a call whose own offer gets nowhere is taken over by the one that crosses it", async () => {
    const way = new Way();
    const [ann, bob] = await openPair(newCommunity(), { way });
    const [small, large] = [ann, bob].sort((one, other) => Buffer.compare(...[one, other].map(({ publicKey }) => Buffer.from(publicKey, "base64"))));
    let release;
    const crossed = new Promise((resolve) => (release = resolve));
    way.onSignal = async ({ kind, from }, text) => {
      if (kind !== "offer" || from !== small.peerId) return [text];
      await crossed;
      return [];
    };
    const calls = [small.connect(large.peerId)];
    await way.has(1);
    calls.push(large.connect(small.peerId));
    await way.has(2);
    // It has been verified as soon as the next one is.
    await small.deliver("{}");
    await small.page.waitForFunction(() => connections.status().refusedSignals.MALFORMED === 1);
    release();
    assert.deepEqual(await Promise.all(calls), ["open", "open"]);
    await talk(ann, bob);
    await closeAll(ann, bob);
  });

  test("a third one who passes both signals on as its own is refused by both sides", () => refusesMallory("webrtc"));

  test("another's key in the place of the peer's gets no connection", async () => {
    const community = newCommunity();
    const way = new Way();
    const [ann, bob] = await openPair(community, { way, options: UNANSWERED });
    const mallory = newPeer({ peerId: "mallory" });
    const [annByName, bobByName] = ["ann", "bob"].map((peerId) => ({ ...mallory, peerId }));
    let original;
    way.onSignal = (signal) => {
      if (signal.kind === "answer") return [signSignal({ ...signal, toKey: bob.publicKey, re: original }, annByName, community).text];
      original = digestOf(signal, community);
      return [signSignal(signal, bobByName, community).text];
    };
    assert.equal(await bob.connect("ann"), "TIMEOUT");
    // Ann answers whoever has this key and calls itself Bob. Bob has called another key than that which answers.
    assert.deepEqual((await bob.status()).refusedSignals, { UNSOLICITED: 1 });
    assert.deepEqual(await bob.opened(), []);
    await closeAll(ann, bob);
  });

  test("forged, changed, replayed, misdirected and late signals are refused", async () => {
    const community = newCommunity();
    const way = new Way();
    const [ann, bob] = await openPair(community, { way });
    way.onSignal = () => [];
    way.refusal = "ANOTHER_PEER";
    assert.equal(await bob.connect("ann"), "ANOTHER_PEER");
    const [offer] = way.sent;
    const mallory = newPeer({ peerId: "mallory" });
    const resigned = (changes, signer = mallory) => JSON.parse(signSignal({ ...offer, ...changes }, signer, community).text);
    const wrong = {
      SIGNATURE_INVALID: [
        { ...offer, data: offer.data.replace(/(?<=fingerprint:sha-256 )../, (byte) => (byte === "00" ? "01" : "00")) },
        { ...offer, at: offer.at + 1 },
        { ...resigned({}), from: "bob", fromKey: bob.publicKey },
      ],
      // The ticket in it comes before the signature.
      COMMUNITY_MISMATCH: [JSON.parse(signSignal(offer, mallory, "mainnet").text)],
      ANOTHER_PEER: [resigned({ to: "bob" }), resigned({ toKey: bob.publicKey })],
      NOT_LISTED: [{ ...resigned({}), ticket: undefined }, { ...resigned({}), ticket: offer.ticket }],
      SIGNAL_TIME: [resigned({ at: offer.at - 60_000 })],
      MALFORMED: [{ ...offer, more: 1 }, { ...offer, kind: "goodbye" }, { ...offer, re: sha256("") }, "no signal"],
      UNSOLICITED: [resigned({ kind: "answer", re: sha256(""), id: "answer-1" }), resigned({ kind: "candidate", re: sha256(""), data: "candidate:1 1 udp 1 192.0.2.1 9 typ host", id: "candidate-1" })],
      DESCRIPTION_INVALID: [
        resigned({ id: "sdp-0001", data: offer.data.replace("m=application", "m=audio") }),
        resigned({ id: "sdp-0002", data: `${offer.data}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n` }),
        resigned({ id: "sdp-0003", data: offer.data.replace(/a=fingerprint:.*\r\n/, "$&$&") }),
        resigned({ id: "sdp-0004", data: offer.data.replace("sha-256", "sha-1") }),
        resigned({ id: "sdp-0005", data: offer.data + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(17) }),
      ],
    };
    const expected = {};
    for (const [code, signals] of Object.entries(wrong)) {
      for (const signal of signals) await ann.deliver(typeof signal === "string" ? signal : JSON.stringify(signal));
      expected[code] = signals.length;
    }
    const sum = Object.values(expected).reduce((all, each) => all + each, 0);
    const refused = async () => (await ann.status()).refusedSignals;
    const refusedAll = (all) => (codes) => Object.values(codes).reduce((sum, each) => sum + each, 0) === all;
    assert.deepEqual(await eventually(refused, refusedAll(sum)), expected);
    assert.equal(way.sent.length, 1, "none of them was answered");
    // The very offer is good once.
    await ann.deliver(JSON.stringify(offer));
    await ann.deliver(JSON.stringify(offer));
    assert.deepEqual(await eventually(refused, refusedAll(sum + 1)), { ...expected, DUPLICATE: 1 });
    await way.has(2);
    assert.deepEqual(way.kinds(), ["bob offer", "ann answer"]);
    await closeAll(ann, bob);
  });

  for (const refusal of ["PEER_BUSY", "TOO_FAST"])
    test(`a signal that is refused with ${refusal} is sent again, and only once more`, async () => {
      const way = new Way();
      const [ann, bob] = await openPair(newCommunity(), { way });
      way.onSignal = (_, text) => (way.sent.length === 1 || way.sent.length === 3 ? [] : [text]);
      way.refusal = refusal;
      assert.equal(await bob.connect("ann"), "open");
      assert.deepEqual(way.kinds(), ["bob offer", "bob offer", "ann answer", "ann answer"]);
      assert.equal(way.sent[0].id, way.sent[1].id);
      assert.equal(way.sent[2].id, way.sent[3].id);
      await closeAll(ann, bob);
    });

  test("of many peers eight are dialled at a time, and nobody is held for dead of whom too much was asked", async () => {
    const community = newCommunity();
    const way = new Way();
    way.onSignal = () => [];
    way.refusal = "TOO_FAST";
    const crowd = Array.from({ length: 12 }, (_, at) => newPeer({ peerId: `crowd-${at}` }));
    for (const [at, peer] of crowd.entries()) await announce(beacon.url, signTicket(peer, { community }), { community, address: `10.${at}.0.1` });
    const ann = await open("ann", community, { way, options: "limit: 16, timeoutMs: 2_000," });
    for (const { peerId } of crowd) await ann.knows(peerId);
    await way.has(8);
    assert.equal((await ann.status()).pending, 8);
    await ann.page.waitForFunction(() => connections.status().failures.TOO_FAST >= 8);
    // Those are tried again.
    await way.has(16);
    await ann.close();
  });

  test("a server that no browser takes costs no connection", async () => {
    const way = new Way();
    const [ann, bob] = await openPair(newCommunity(), { way, options: 'iceServers: "beacon",' });
    const urls = ["turn:x", "stun:127.0.0.1:99999", "stun:127.0.0.1?transport=udp", "turn:127.0.0.1?transport=tls", "stun:", "http://x", ""];
    const named = urls.flatMap((urls) => [{ urls }, { urls: [urls], username: "", credential: "" }, { urls, username: "a", credential: 5 }]);
    for (const page of [ann, bob])
      await page.page.evaluate((named) => {
        // A few of each beacon's are taken.
        const wrong = named.map((server) => [server]);
        carrier.iceServers = async () => [...wrong, [{ urls: [] }, {}, null, 5], undefined, {}, [{ urls: "stun:127.0.0.1:9" }]];
        const Real = RTCPeerConnection;
        window.RTCPeerConnection = class extends Real {
          constructor(configuration) {
            super(configuration);
            window.iceServers = configuration.iceServers;
          }
        };
      }, named);
    assert.equal(await bob.connect("ann"), "open");
    assert.deepEqual(await bob.page.evaluate(() => iceServers), [{ urls: "stun:127.0.0.1:9" }]);
    await closeAll(ann, bob);
  });

  test("a caller is asked about once, and answered by the last offer", async () => {
    const community = newCommunity();
    const way = new Way();
    const options = "accept: (peer) => new Promise((resolve) => (window.asked ??= []).push(resolve)),";
    const [ann, bob] = await openPair(community, { way, options });
    const caller = newPeer({ peerId: "caller" });
    const data = await bob.page.evaluate(async () => {
      const connection = new RTCPeerConnection();
      connection.createDataChannel("rendezvous-beacon", { negotiated: true, id: 0 });
      return (await connection.createOffer()).sdp;
    });
    const signal = { t: "signal", kind: "offer", to: "ann", toKey: ann.publicKey, data };
    const offers = [1, 2].map((at) => signSignal({ ...signal, id: `call-number-${at}`, at: Date.now() }, caller, community));
    for (const { text } of offers) await ann.deliver(text);
    await ann.deliver("{}");
    await ann.page.waitForFunction(() => connections.status().refusedSignals.MALFORMED === 1);
    assert.equal(await ann.page.evaluate(() => asked.length), 1);
    await ann.page.evaluate(() => asked[0](true));
    await way.has(1);
    assert.deepEqual([way.sent[0].kind, way.sent[0].re], ["answer", offers[1].digest]);
    await closeAll(ann, bob);
  });

  test("all that a peer sends at once is there, and a peer of connections that stop is connected no more", async () => {
    const way = new Way();
    const options = `onConnection: ({ channel }) => Array.from({ length: 500 }, (_, at) => channel.send(String(at))),`;
    const [ann, bob] = await openPair(newCommunity(), { way, options });
    const heard = await bob.page.evaluate(async () => {
      const channel = await connections.connect(rendezvous.peers().live[0]);
      return new Promise((resolve) => {
        const heard = [];
        channel.onmessage = ({ data }) => heard.push(data) === 500 && resolve(heard);
      });
    });
    assert.deepEqual(heard, Array.from({ length: 500 }, (_, at) => String(at)));
    const lost = () => bob.page.evaluate(() => rendezvous.status().outcomes.lost);
    assert.equal(await lost(), 0);
    await bob.page.evaluate(() => connections.stop());
    assert.equal(await lost(), 1);
    await closeAll(ann, bob);
  });

  test("whoever is called decides first: who is refused learns nothing", async () => {
    const way = new Way();
    const options = `${UNANSWERED} accept: ({ peerId, publicKey }) => ((window.asked ??= []).push([peerId, publicKey]), false),`;
    const [ann, bob] = await openPair(newCommunity(), { way, options });
    assert.equal(await bob.connect("ann"), "TIMEOUT");
    assert.deepEqual(way.kinds(), ["bob offer"]);
    assert.deepEqual(await ann.page.evaluate(() => asked), [["bob", bob.publicKey]]);
    assert.deepEqual((await ann.status()).failures, { REFUSED: 1 });
    await closeAll(ann, bob);
  });

  test("of strangers four are looked at at a time, in turns of whoever listed them", async () => {
    const community = newCommunity();
    const way = new Way();
    const second = await startBeacon();
    const options = "accept: (peer) => new Promise((resolve) => (window.asked ??= []).push({ peerId: peer.peerId, resolve })),";
    // One beacon has made up a crowd; another has one peer.
    const crowd = Array.from({ length: 22 }, (_, at) => newPeer({ peerId: `crowd-${at}` }));
    const honest = newPeer({ peerId: "honest" });
    for (const [at, peer] of crowd.entries()) await announce(beacon.url, signTicket(peer, { community }), { community, address: `10.${at}.0.1` });
    await announce(second.url, signTicket(honest, { community }), { community });
    const ann = await open("ann", community, { way, options, beacons: [beacon.url, second.url] });
    for (const peerId of ["honest", ...crowd.map((peer) => peer.peerId)]) await ann.knows(peerId);
    for (const [at, peer] of [...crowd, honest].entries()) {
      const signal = { t: "signal", id: `call-number-${at}`, kind: "offer", to: "ann", toKey: ann.publicKey, at: Date.now(), data: DESCRIPTION };
      await ann.deliver(signSignal(signal, peer, community).text);
    }
    const asked = () => ann.page.evaluate(() => (window.asked ?? []).map(({ peerId }) => peerId));
    const four = crowd.slice(0, 4).map(({ peerId }) => peerId);
    // Sixteen of the others wait; of three more the newest of the crowd had to go.
    await ann.page.waitForFunction(() => connections.status().refusedSignals.TOO_FAST === 3);
    assert.deepEqual(await asked(), four);
    await ann.page.evaluate(() => window.asked[0].resolve(false));
    assert.deepEqual(await eventually(asked, ({ length }) => length === 5), [...four, "honest"]);
    assert.deepEqual(way.sent, []);
    await ann.close();
    await second.stop();
  });

  test("candidates that come late are sent after the description, and found by the peer", async (t) => {
    const community = newCommunity();
    const way = new Way();
    const stun = await startStun();
    t.after(() => stun.close());
    const options = `iceServers: [{ urls: "stun:127.0.0.1:${stun.port}" }],`;
    const [ann, bob] = await openPair(community, { way, options });
    let release;
    const later = new Promise((resolve) => (release = resolve));
    let passed = 0;
    way.onSignal = async ({ kind, from }, text) => {
      // One that comes when both are connected already belongs to no call any more.
      if (kind === "candidate" && (from === "ann" || passed++ > 0)) return [];
      // The answer waits until a candidate was sent after its offer.
      if (kind === "candidate") release();
      if (kind === "answer") await later;
      return [text];
    };
    const call = bob.connect("ann");
    await way.has(1);
    stun.answer();
    assert.equal(await call, "open");
    const [offer] = way.sent;
    const late = way.sent.find(({ kind, from }) => kind === "candidate" && from === "bob");
    assert.doesNotMatch(offer.data, /typ srflx/);
    assert.match(late.data, /typ srflx/);
    assert.equal(late.re, digestOf(offer, community));
    for (const page of [ann, bob]) assert.deepEqual((await page.status()).refusedSignals, {});
    await closeAll(ann, bob);
  });

  test("with relayOnly no address is told, and without a relay nobody is reached", async () => {
    const way = new Way();
    const [ann, bob] = await openPair(newCommunity(), { way, options: `relayOnly: true, ${UNANSWERED}` });
    assert.equal(await bob.connect("ann"), "TIMEOUT");
    assert.ok(way.sent.length >= 1);
    for (const { data } of way.sent) assert.doesNotMatch(data, /candidate:/);
    await closeAll(ann, bob);
  });

  test("keys that are not trusted are neither called nor let in", async () => {
    const community = newCommunity();
    const way = new Way();
    const friend = newPeer();
    const trusted = `trustedKeys: ["${friend.publicKey}"],`;
    const ann = await open("ann", community, { way, rendezvous: trusted });
    const bob = await open("bob", community, { way, browser: 1, options: UNANSWERED });
    await bob.knows("ann");
    assert.equal(await bob.connect("ann"), "TIMEOUT");
    assert.deepEqual((await ann.status()).refusedSignals, { UNTRUSTED_PUBLIC_KEY: 1 });
    const claim = { peerId: "bob", publicKey: bob.publicKey };
    const reason = await ann.page.evaluate((claim) => connections.connect(claim).catch(({ reason }) => reason), claim);
    assert.equal(reason, "UNTRUSTED_PUBLIC_KEY");
    await closeAll(ann, bob);
  });

  test("when the client stops its connections close, and a call says why it ended", async () => {
    const way = new Way();
    const [ann, bob] = await openPair(newCommunity(), { way });
    assert.equal(await bob.connect("ann"), "open");
    await ann.page.waitForFunction(() => connections.open.length === 1);
    await ann.page.evaluate(() => rendezvous.stop());
    await bob.page.waitForFunction(() => ended[0] === "ann");
    assert.equal(await ann.page.evaluate(() => connections.open.length), 0);
    way.onSignal = () => new Promise(() => {});
    const reason = await bob.page.evaluate(async () => {
      const call = connections.connect(rendezvous.peers().live[0] ?? rendezvous.peers().recentlySeen[0]);
      connections.stop();
      return call.catch(({ reason }) => reason);
    });
    assert.equal(reason, "NOT_RUNNING");
    await closeAll(ann, bob);
  });
});

describe("simple-peer", () => {
  test("a page calls another, and both talk, once both have confirmed", async () => {
    const way = new Way();
    const [ann, bob] = await openPair(newCommunity(), { way, library: "simple-peer" });
    assert.equal(await bob.page.evaluate(async () => (window.channel = await connections.connect(rendezvous.peers().live[0])).connected), true);
    await ann.page.waitForFunction(() => connections.open.length === 1);
    await talk(ann, bob);
    assert.deepEqual(way.kinds(), ["bob offer", "ann answer"]);
    assert.deepEqual([await ann.opened(), await bob.opened()], [[["bob", true]], [["ann", false]]]);
    await bob.page.evaluate(() => channel.destroy());
    await ann.page.waitForFunction(() => ended[0] === "bob" && connections.open.length === 0);
    await closeAll(ann, bob);
  });

  test("what is sent at once waits for whoever awaits the peer", async () => {
    const way = new Way();
    const options = `onConnection: ({ channel }) => ["one", "two", "three"].forEach((text) => channel.send(text)),`;
    const [ann, bob] = await openPair(newCommunity(), { way, library: "simple-peer", options });
    const heard = await bob.page.evaluate(async () => {
      const peer = await connections.connect(rendezvous.peers().live[0]);
      return new Promise((resolve) => {
        const heard = [];
        peer.on("data", (data) => heard.push(String(data)) === 3 && resolve(heard));
      });
    });
    assert.deepEqual(heard, ["one", "two", "three"]);
    await closeAll(ann, bob);
  });

  test("a third one who passes both signals on as its own is refused by both sides", () => refusesMallory("simple-peer"));
});

describe("y-webrtc", () => {
  test("two documents become one, without a signalling server", async () => {
    const way = new Way();
    const community = newCommunity();
    const [ann, bob] = await openPair(community, { way, library: "y-webrtc" });
    for (const page of [ann, bob]) await page.page.waitForFunction(() => provider.room.webrtcConns.size === 1);
    await ann.page.evaluate(() => doc.getText("text").insert(0, "written by Ann"));
    await bob.page.waitForFunction(() => doc.getText("text").toString() === "written by Ann");
    await bob.page.evaluate(() => doc.getText("text").insert(0, "read by Bob, "));
    await ann.page.waitForFunction(() => doc.getText("text").toString() === "read by Bob, written by Ann");
    // One that comes later gets all that there is.
    const cid = await open("cid", community, { way, library: "y-webrtc" });
    await cid.page.waitForFunction(() => doc.getText("text").toString() === "read by Bob, written by Ann");
    await cid.page.evaluate(() => stop());
    for (const page of [ann, bob]) await page.page.waitForFunction(() => provider.room.webrtcConns.size === 1);
    await closeAll(ann, bob, cid);
  });

  test("a provider with a password, which signals here are not hidden by, is refused", async () => {
    const ann = await open("ann", newCommunity(), { way: new Way(), library: "y-webrtc", options: `password: "secret"` });
    assert.match(await ann.page.evaluate(() => failure), /^TypeError: provider must have no password/);
    await ann.close();
  });
});

describe("Trystero", () => {
  const APP = "an-app";

  /**
   * A page of Trystero's, which can enter rooms by `enter(name)`: in `joined`, `left` and `received` is what each has told.
   *
   * @param {{ browser?: number, options?: string, beacons?: string[] }} [setup] `options`: code, those of the channels.
   */
  async function openRooms(community, { browser = 0, options = "", beacons = [beacon.url] } = {}) {
    const page = await openBlank(browsers[browser]);
    const mishaps = [];
    page.on("pageerror", (error) => mishaps.push(String(error)));
    await page.addScriptTag({
      type: "module",
      content: `
        import * as core from "/packages/trystero.js";
        import { Rendezvous } from "rendezvous-beacon";
        import { live } from "rendezvous-beacon/live";
        import { joinRooms } from "rendezvous-beacon/trystero";
        Object.assign(window, { joined: [], left: [], received: [], errors: [], rooms: {}, peerId: core.selfId });
        window.rendezvous = new Rendezvous({
          community: "${community}", peerId: core.selfId, beacons: ${JSON.stringify(beacons)},
          identity: await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]),
        });
        window.carrier = live(rendezvous);
        window.trystero = joinRooms(rendezvous, carrier, core, { ${options} });
        window.enter = (name) => {
          const onJoinError = ({ error }) => errors.push(error);
          const onPeerHandshake = async (peerId, send, receive) => {
            await send("of the application");
            received.push(name + ": " + (await receive()).data);
          };
          const room = (rooms[name] = trystero.joinRoom({ appId: "${APP}", rtcConfig: { iceServers: [] } }, name, { onJoinError, onPeerHandshake }));
          const say = room.makeAction("say");
          say.onMessage = (data, { peerId }) => received.push(name + " " + peerId + ": " + data);
          room.onPeerJoin = (peerId) => joined.push(name + " " + peerId);
          room.onPeerLeave = (peerId) => left.push(name + " " + peerId);
          room.say = (text) => say.send(text);
        };
        await rendezvous.start();
        window.isReady = true;`,
    });
    await page.waitForFunction(() => window.isReady && rendezvous.status().announced);
    return {
      page,
      peerId: await page.evaluate(() => peerId),
      publicKey: await page.evaluate(() => rendezvous.publicKey),
      enter: (name) => page.evaluate((name) => enter(name), name),
      say: (name, text) => page.evaluate(([name, text]) => rooms[name].say(text), [name, text]),
      has: (list, entry) => page.waitForFunction(([list, entry]) => window[list].includes(entry), [list, entry]),
      read: (list) => page.evaluate((list) => window[list], list),
      close: async () => {
        assert.deepEqual(mishaps, []);
        await page.close();
      },
    };
  }

  /** A page with channels of its own, which knows the topics of a room; in `frames` is what came over them. */
  async function openRogue(community, room, peerId = "rogue") {
    const rogue = await open(peerId, community, {
      browser: 1,
      options: `onConnection: ({ peerId, channel }) => {
        channels[peerId] = channel;
        channel.addEventListener("message", ({ data }) => take(peerId, JSON.parse(data)));
      },`,
    });
    await rogue.page.addScriptTag({
      type: "module",
      content: `
        import { libName, sha1 } from "/packages/trystero.js";
        Object.assign(window, { channels: {}, frames: [], take: (from, frame) => frames.push({ from, ...frame }) });
        window.topicOf = (...rest) => sha1([libName, "${APP}", "${room}", ...rest].join("@"));
        window.tell = (to, frame) => channels[to].send(JSON.stringify(frame));
        window.hasTopics = true;`,
    });
    await rogue.page.waitForFunction(() => window.hasTopics);
    return rogue;
  }

  test("people of one room find each other and talk; those of another hear nothing; who they are is proved", async (t) => {
    const community = newCommunity();
    const own = await startBeacon();
    const beacons = [own.url];
    try {
      const [ann, bob] = [await openRooms(community, { beacons }), await openRooms(community, { browser: 1, beacons })];
      await ann.enter("lobby");
      const began = performance.now();
      await bob.enter("lobby");
      await ann.has("joined", `lobby ${bob.peerId}`);
      await bob.has("joined", `lobby ${ann.peerId}`);
      t.diagnostic(`in the room ${Math.round(performance.now() - began)} ms after entering it`);
      await bob.say("lobby", "hello");
      await ann.has("received", `lobby ${bob.peerId}: hello`);
      await ann.say("lobby", "hello yourself");
      await bob.has("received", `lobby ${ann.peerId}: hello yourself`);
      assert.ok((await ann.read("received")).includes("lobby: of the application"), "its own handshake comes after that of the keys");
      assert.equal(await ann.page.evaluate((peerId) => trystero.keyOf(peerId), bob.peerId), bob.publicKey);

      const cid = await openRooms(community, { beacons });
      await cid.enter("elsewhere");
      await cid.page.waitForFunction((all) => all.every((peerId) => trystero.keyOf(peerId)), [ann.peerId, bob.peerId]);
      // With the beacon gone their channels carry all that it takes to meet.
      await own.kill();
      await cid.enter("lobby");
      for (const page of [ann, bob]) await page.has("joined", `lobby ${cid.peerId}`);
      assert.deepEqual((await cid.read("joined")).sort(), [ann, bob].map(({ peerId }) => `lobby ${peerId}`).sort());
      await cid.page.evaluate(() => rooms.lobby.leave());
      for (const page of [ann, bob]) await page.has("left", `lobby ${cid.peerId}`);
      for (const page of [ann, bob, cid]) assert.deepEqual(await page.read("errors"), []);
      await closeAll(ann, bob, cid);
    } finally {
      await own.stop();
    }
  });

  test("nobody speaks for another, and what is no frame changes nothing", async () => {
    const community = newCommunity();
    const ann = await openRooms(community, { options: "limit: 0" });
    await ann.enter("lobby");
    const rogue = await openRogue(community, "lobby");
    await rogue.knows(ann.peerId);
    assert.equal(await rogue.connect(ann.peerId), "open");
    await rogue.page.waitForFunction((peerId) => channels[peerId], ann.peerId);
    const answered = await rogue.page.evaluate(async (ann) => {
      const [root, own, victim] = [await topicOf(), await topicOf("rogue"), await topicOf("victim")];
      for (const data of ["", "{", "null", "7", "[]", new Uint8Array(9), "x".repeat(70_000)]) channels[ann].send(data);
      for (const subscribe of [7, "x".repeat(129), root, own, victim]) tell(ann, { subscribe });
      for (const message of [7, "null", "[]", "{}", JSON.stringify({ peerId: 7 }), JSON.stringify({ peerId: "rogue", answer: "", peer: {} })]) tell(ann, { topic: root, message });
      tell(ann, { topic: root, message: JSON.stringify({ peerId: "victim" }) });
      tell(ann, { topic: root, message: JSON.stringify({ peerId: "rogue" }) });
      const to = (topic) => frames.filter((frame) => frame.topic === topic).length;
      while (to(own) === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      return { root: to(root), victim: to(victim) };
    }, ann.peerId);
    assert.ok(answered.root > 0, "who listens hears who is there");
    assert.equal(answered.victim, 0);
    await closeAll(ann, rogue);
  });

  test("a third one who passes both signals on as its own is refused by both sides", async () => {
    const community = newCommunity();
    const options = `limit: 0, accept: ({ peerId }) => peerId.endsWith("~")`;
    const [ann, bob] = [await openRooms(community, { options }), await openRooms(community, { options })];
    for (const page of [ann, bob]) await page.enter("lobby");
    // Between both: of two peers the one of the smaller name makes the offer.
    const [smaller] = [ann.peerId, bob.peerId].sort();
    const rogue = await openRogue(community, "lobby", `${smaller}~`);
    for (const { peerId } of [ann, bob]) {
      await rogue.knows(peerId);
      assert.equal(await rogue.connect(peerId), "open");
      await rogue.page.waitForFunction((peerId) => channels[peerId], peerId);
    }
    await rogue.page.evaluate(async ([both, name]) => {
      const [root, own] = [await topicOf(), await topicOf(name)];
      const selves = Object.fromEntries(await Promise.all(both.map(async (peerId) => [peerId, await topicOf(peerId)])));
      window.take = (from, { topic, message }) => {
        if (topic === undefined) return;
        const [other] = both.filter((peerId) => peerId !== from);
        tell(other, { topic: topic === root ? root : selves[other], message: JSON.stringify({ ...JSON.parse(message), peerId: name }) });
      };
      for (const peerId of both) for (const subscribe of [root, own]) tell(peerId, { subscribe });
    }, [[ann.peerId, bob.peerId], rogue.peerId]);
    for (const page of [ann, bob]) {
      await page.page.waitForFunction(() => errors.some((error) => error.includes("CONFIRMATION_INVALID")));
      assert.deepEqual(await page.read("joined"), []);
      assert.deepEqual(await page.read("received"), []);
    }
    await closeAll(ann, bob, rogue);
  });

  test("a client under another name is refused", async () => {
    const page = await openBlank(browsers[0]);
    const refusal = await page.evaluate(async () => {
      const [core, { Rendezvous }, { live }, { joinRooms }] = await Promise.all(
        ["/packages/trystero.js", "/client/dist/index.js", "/client/dist/live.js", "/client/dist/trystero.js"].map((file) => import(file)),
      );
      const rendezvous = new Rendezvous({ community: "mainnet", peerId: "somebody", beacons: ["http://127.0.0.1:9"] });
      try {
        joinRooms(rendezvous, live(rendezvous), core);
      } catch (error) {
        return String(error);
      }
    });
    assert.equal(refusal, "TypeError: peerId must be Trystero's selfId");
    await page.close();
  });
});

/** A STUN server (RFC 8489) that answers when it is told to, and says an address that is nowhere else. */
async function startStun() {
  const socket = createSocket("udp4");
  let isAnswering = false;
  const asked = [];
  const answer = ({ message, port, address }) => {
    const [magic, transaction] = [message.subarray(4, 8), message.subarray(8, 20)];
    const mapped = Buffer.alloc(8);
    mapped[1] = 1;
    mapped.writeUInt16BE((port + 1) % 65_536 ^ magic.readUInt16BE(0), 2);
    address.split(".").forEach((byte, at) => (mapped[4 + at] = Number(byte) ^ magic[at]));
    const header = Buffer.from([0x01, 0x01, 0, 12]);
    socket.send(Buffer.concat([header, magic, transaction, Buffer.from([0, 0x20, 0, 8]), mapped]), port, address);
  };
  socket.on("message", (message, { port, address }) => {
    if (message.readUInt16BE(0) !== 0x0001) return;
    if (isAnswering) answer({ message, port, address });
    else asked.push({ message, port, address });
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    port: socket.address().port,
    answer() {
      isAnswering = true;
      asked.forEach(answer);
    },
    close: () => socket.close(),
  };
}
