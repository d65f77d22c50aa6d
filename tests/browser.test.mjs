// The browser client in real Chromium: pages with profiles of their own find each other and talk over a data channel,
// through a beacon, a capsule, or what they remember. Peers, signalling, beacon and pages are all on 127.0.0.1.
//
// The pages are the example's, so that it is tested too. It takes a built client and capsule program (CAPSULE_BIN names
// another than target/debug/capsule).

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { startBeacon } from "../tools/beacon.mjs";
import { ADVICE, findChromium } from "../tools/chromium.mjs";
import { servePages } from "../tools/pages.mjs";
import { startSignalling } from "../tools/signalling.mjs";
import { ROOT } from "../tools/steps.mjs";
import { serve } from "./hostile.mjs";
import { announce, peerIds, peers } from "./http.mjs";
import { CAPSULE, requireCapsule } from "./program.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const COMMUNITY = "browsers";
/** For whatever is waited for: it ends as soon as that is there. */
const PATIENCE_MS = 30_000;

const ARGUMENTS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Data channels on this machine, also where it has no network that they could take, or none with multicast, by which
  // the names that stand for local addresses are looked up.
  "--allow-loopback-in-peer-connection",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
];

let scratch, signalling, pages, beacon, resident;
/** What must not happen in any page. */
const mishaps = [];
/** Started last, stopped first. */
const running = [];

before(async () => {
  const executable = findChromium();
  assert.ok(executable, ADVICE);
  for (const file of ["client/dist/example.js", "client/build/internals.js"]) {
    assert.ok(existsSync(join(ROOT, file)), `${file} is not there: npm run build --workspace client`);
  }
  requireCapsule();
  scratch = await mkdtemp(join(tmpdir(), "browser-test-"));
  [signalling, pages, beacon] = await Promise.all([startSignalling(), servePages(), startBeacon({ vars: { COMMUNITIES: "*", PEERS_MAX_AGE_SECONDS: "0" }, staysAwake: true })]);
  running.push(signalling, pages, beacon);
  resident = await visit({ beacon: beacon.url });
  await resident.page.getByText("listed by 1 beacon").waitFor();
});

after(async () => {
  while (running.length > 0) await running.pop().stop();
  if (scratch) await rm(scratch, { recursive: true, force: true, maxRetries: 5 });
});

/**
 * A browser of its own with a profile of its own, showing the example page.
 *
 * @param {Record<string, string>} query
 * @param {{ profile?: string, address?: string, viewport?: { width: number, height: number } }} [options] A profile
 *   of a visit before: it remembers.
 */
async function visit(query, { profile, address = `${pages.url}/client/example/`, viewport } = {}) {
  profile ??= await mkdtemp(join(scratch, "profile-"));
  const browser = await chromium.launchPersistentContext(profile, { executablePath: findChromium(), args: ARGUMENTS, viewport });
  const stop = () => browser.close();
  running.push({ stop });
  browser.setDefaultTimeout(PATIENCE_MS);
  browser.on("weberror", (error) => mishaps.push(String(error.error())));
  browser.on("request", (request) => {
    if (!/^(http:\/\/127\.0\.0\.1:|file:|data:)/.test(request.url())) mishaps.push(`asked for ${request.url()}`);
  });
  const page = browser.pages()[0] ?? (await browser.newPage());
  await page.goto(`${address}?${new URLSearchParams({ community: COMMUNITY, signalling: signalling.url, ...query })}`);
  return {
    page,
    profile,
    /** Goes as a person does: the page has a moment to say goodbye. */
    async leave() {
      await page.goto("about:blank");
      await stop();
    },
  };
}

const textOf = (page, id) => page.locator(`#${id}`).textContent();

/** Waits until a page is connected to the resident, and lets the two talk. */
async function meet(context, how, { page }) {
  const residentId = await textOf(resident.page, "self-id");
  const ownId = await textOf(page, "self-id");
  await page.locator(`[data-key="${residentId}"]`).getByText("connected", { exact: true }).waitFor();
  await resident.page.locator(`[data-key="${ownId}"]`).getByText("connected", { exact: true }).waitFor();
  for (const [from, to, greeting] of [[page, resident.page, `hello from ${ownId}`], [resident.page, page, `hello to ${ownId}`]]) {
    await from.getByLabel("Message to all").fill(greeting);
    await from.keyboard.press("Enter");
    await to.locator("#messages .message").getByText(greeting, { exact: true }).waitFor();
  }
  const found = { after: await textOf(page, "first-peer"), from: await textOf(page, "first-peer-from") };
  context.diagnostic(`first peer ${how}: ${found.after} after start(); first open data channel: ${await textOf(page, "first-connection")} after the page's script`);
  return found;
}

describe("two browsers find each other and talk", () => {
  let capsules, query, rememberer;

  test("through one beacon, and again after a reload", async (t) => {
    const visitor = await visit({ beacon: beacon.url });
    const from = `from ${new URL(beacon.url).host}`;
    assert.equal((await meet(t, "through a beacon", visitor)).from, from);
    const before = await textOf(visitor.page, "self-id");
    await visitor.page.reload();
    assert.notEqual(await textOf(visitor.page, "self-id"), before);
    // What a page remembers is there before any beacon's answer.
    assert.equal((await meet(t, "after a reload", visitor)).from, "from the last visit");
    await visitor.leave();
    await until(async () => peerIds(await peers(beacon.url, { community: COMMUNITY })).length === 1, "the visitor is still listed");
  });

  test("through a capsule, when the beacon is dead", async (t) => {
    const key = join(scratch, "key.pem");
    const out = join(scratch, "capsules");
    const capsule = promisify(execFile).bind(undefined, CAPSULE);
    await capsule(["keygen", "--out", key]);
    const { publicKey } = JSON.parse((await capsule(["keygen", "--public-of", key, "--json"])).stdout);
    await capsule(["publish", "--beacon", beacon.url, "--community", COMMUNITY, "--key", key, "--out", out]);
    capsules = await serve(async (request, response) => {
      response.setHeader("Access-Control-Allow-Origin", "*");
      response.end(await readFile(join(out, request.url.endsWith(".sig") ? "peers.json.sig" : "peers.json")));
    });
    running.push(capsules);
    await beacon.crash();

    query = { beacon: beacon.url, capsule: `${capsules.url}/peers.json`, capsuleKey: publicKey };
    rememberer = await visit(query);
    const { from } = await meet(t, "through a capsule, the beacon dead", rememberer);
    assert.equal(from, `from ${new URL(capsules.url).host}/peers.json`);
    await rememberer.page.locator(`[data-key="${beacon.url}"]`).getByText("failing").waitFor();
    await rememberer.leave();
  });

  test("from what the browser remembers, when the capsule's host is gone too", async (t) => {
    await capsules.stop();
    const again = await visit(query, { profile: rememberer.profile });
    const { from } = await meet(t, "remembered, beacon and capsule gone", again);
    assert.equal(from, "from the last visit");
    for (const url of [query.beacon, query.capsule]) {
      await again.page.locator(`[data-key="${url}"]`).getByText("failing").waitFor();
    }
    await again.leave();
  });
});

describe("the example page", () => {
  let beacon;
  before(async () => {
    beacon = await startBeacon({ vars: { COMMUNITIES: "*" }, staysAwake: true });
    running.push(beacon);
  });

  test("works as a file", async () => {
    const address = pathToFileURL(join(ROOT, "client/example/index.html")).href;
    const visitor = await visit({ beacon: beacon.url, community: "files" }, { address });
    await visitor.page.getByText("listed by 1 beacon").waitFor();
    const databases = await visitor.page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name));
    assert.deepEqual(databases, ["rendezvous-beacon"]);
    await visitor.leave();
  });

  test("shows what strangers call themselves as text, on a phone too", async () => {
    const names = ['<img src="x" onerror="document.title=1">', "W".repeat(128), "\u202eemordnilap"];
    for (const userId of names) await announce(beacon.url, signTicket(newPeer({ userId }), { community: "strangers" }), { community: "strangers" });
    const visitor = await visit({ beacon: beacon.url, community: "strangers" }, { viewport: { width: 360, height: 740 } });
    for (const userId of names) await visitor.page.locator("#peers .name").getByText(userId, { exact: true }).waitFor();
    assert.equal(await visitor.page.locator("#peers img").count(), 0);
    assert.equal(await visitor.page.evaluate(() => document.documentElement.scrollWidth), 360);
    await visitor.leave();
  });

  test("names a parameter that is wrong", async () => {
    const visitor = await visit({ beacon: "ftp://127.0.0.1/" });
    await visitor.page.getByRole("alert").getByText("beacons[0] must be an http(s) URL").waitFor();
    await visitor.leave();
  });
});

describe("npm start", () => {
  let npm, said, occupied;

  before(async () => {
    occupied = await serve((_request, response) => response.end());
    running.push(occupied);
    const environment = { PORT: "0", EXAMPLE_PORT: new URL(occupied.url).port, STATE: join(scratch, "state") };
    npm = spawn("npm", ["start"], { cwd: ROOT, env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
    running.push({ stop });
    said = "";
    for (const stream of [npm.stdout, npm.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
    await until(async () => /example page.*\n\n.*\n/.test(said) || npm.exitCode !== null, "no example page", 300_000);
  });

  async function stop() {
    if (npm.exitCode !== null || npm.signalCode !== null) return;
    npm.kill("SIGTERM");
    await once(npm, "exit");
  }

  test("offers the example page, whose tabs find each other and talk, with nothing else running", async () => {
    assert.match(said, /The beacon is ready at http:\/\/127\.0\.0\.1:\d+ /);
    const [, url, port] = /^ +(http:\/\/127\.0\.0\.1:\d+) {2}\(port (\d+) is in use\)$/m.exec(said) ?? assert.fail(said);
    assert.equal(port, new URL(occupied.url).port);
    const context = resident.page.context();
    const tabs = [await context.newPage(), await context.newPage()];
    for (const tab of tabs) await tab.goto(url);
    const ids = await Promise.all(tabs.map((tab) => textOf(tab, "self-id")));
    for (const [at, tab] of tabs.entries()) {
      const other = 1 - at;
      await tab.locator(`[data-key="${ids[other]}"]`).getByText("connected", { exact: true }).waitFor();
      await tab.getByText("listed by 2 beacons").waitFor();
      await tab.getByLabel("Message to all").fill(`hello from ${at}`);
      await tab.keyboard.press("Enter");
      await tabs[other].locator("#messages .message").getByText(`hello from ${at}`, { exact: true }).waitFor();
    }
    await Promise.all(tabs.map((tab) => tab.close()));
    await stop();
    assert.equal(npm.exitCode, 0);
    await assert.rejects(fetch(url));
  });
});

test("the lines in client/README.md are all that it takes", async () => {
  const readme = await readFile(join(ROOT, "client/README.md"), "utf8");
  const [client, adapter] = [...readme.matchAll(/^```[jt]s\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.ok(client.trim().split("\n").length <= 10);
  const own = await startBeacon({ vars: { COMMUNITIES: "*" }, staysAwake: true });
  running.push(own);
  // Its names stand for what an application has: two beacons (the second one is down), a capsule (there is none).
  const lines = Object.entries({
    "https://beacon1.example": own.url,
    "https://beacon2.example": beacon.url,
    "https://my-app.example": pages.url,
    '"…"': JSON.stringify(newPeer().publicKey),
  }).reduce((text, [name, ours]) => {
    assert.ok(text.includes(name), name);
    return text.replaceAll(name, ours);
  }, client);
  const open = () =>
    openApplication(
      `${lines}
      ${adapter}
      peer.on("connection", (connection) => connection.on("data", (data) => (window.received = data)));
      function connect({ peerId }) {
        window.found = peerId;
      }`,
    );
  const first = await open();
  await until(async () => peerIds(await peers(own.url, { community: "my-app" })).length === 1, "not announced");
  const second = await open();
  await first.waitForFunction(() => window.received === "hello");
  assert.equal(await second.evaluate(() => window.found), await first.evaluate(() => peer.id));
  await Promise.all([first.close(), second.close()]);
});

describe("the PeerJS adapter", () => {
  let beacon;
  /** One that has all the time in the world for whom it dials, and, by default, room for one. */
  const open = (community, peerId, limit = 1) =>
    openApplication(
      `import { Rendezvous } from "rendezvous-beacon";
      import { connectPeers } from "rendezvous-beacon/peerjs";
      const rendezvous = new Rendezvous({ community: "${community}", peerId: peer.id, beacons: ["${beacon.url}"] });
      connectPeers(rendezvous, peer, {
        limit: ${limit},
        timeoutMs: 600_000,
        onConnection(connection) {
          connection.on("data", (data) => (window.received = data));
          connection.send("hello from " + peer.id);
        },
      });
      await rendezvous.start();`,
      peerId,
    );
  const listed = async (community) => peerIds(await peers(beacon.url, { community }));
  /** Each gets the other's greeting, on a connection that is new. */
  const meet = async (...people) => {
    for (const [{ page }, { peerId }] of [people, [...people].reverse()]) {
      await page.waitForFunction((greeting) => window.received === greeting, `hello from ${peerId}`);
      await page.evaluate(() => delete window.received);
    }
  };

  before(async () => {
    beacon = await startBeacon({ vars: { COMMUNITIES: "*", PEERS_MAX_AGE_SECONDS: "0" }, staysAwake: true });
    running.push(beacon);
  });

  test("takes the next peer when the signalling server does not know one", async () => {
    const community = "absence";
    // It only accepts: the other has to get there by itself.
    const first = { peerId: "first", page: await open(community, "first", 0) };
    await until(async () => (await listed(community)).length === 1, "not announced");
    await announce(beacon.url, signTicket(newPeer({ peerId: "nobody" }), { community }), { community });
    assert.deepEqual(await listed(community), ["nobody", "first"], "the freshest is dialled first");
    const second = { peerId: "second", page: await open(community, "second") };
    await meet(first, second);
    await Promise.all([first.page.close(), second.page.close()]);
  });

  for (const [stayerId, returnerId] of [
    ["a-stays", "b-returns"],
    ["b-stays", "a-returns"],
  ]) {
    test(`connects a page again with one that is loaded anew: ${stayerId}, ${returnerId}`, async () => {
      const community = returnerId;
      const stayer = { peerId: stayerId, page: await open(community, stayerId) };
      await until(async () => (await listed(community)).length === 1, "not announced");
      const returner = { peerId: returnerId, page: await open(community, returnerId) };
      await meet(stayer, returner);
      await returner.page.close();
      returner.page = await open(community, returnerId);
      await meet(stayer, returner);
      await Promise.all([stayer.page.close(), returner.page.close()]);
    });
  }
});

test("every vector has the expected outcome in the browser", async () => {
  const wrong = await resident.page.evaluate(async () => {
    const [internals, { CASES, checkVectors }] = await Promise.all([
      import("/client/build/internals.js"),
      import("/client/test/vectors.mjs"),
    ]);
    const read = async (name) => [name, await (await fetch(`/tests/vectors/${name}.json`)).json()];
    return checkVectors(Object.fromEntries(await Promise.all(Object.keys(CASES).map(read))), internals);
  });
  assert.deepEqual(wrong, []);
});

test("no page has failed, or asked anybody else", () => {
  assert.deepEqual(mishaps, []);
});

/**
 * A page with an application of its own, a module that has PeerJS's open `peer`.
 *
 * @param {string} application
 * @param {string} [peerId]
 */
async function openApplication(application, peerId) {
  const { hostname: host, port } = new URL(signalling.url);
  const page = await resident.page.context().newPage();
  await page.goto(`${pages.url}/client/example/example.css`);
  const imports = { "rendezvous-beacon": "/client/dist/index.js", "rendezvous-beacon/peerjs": "/client/dist/peerjs.js" };
  await page.setContent(`<script type="importmap">${JSON.stringify({ imports })}</script>`);
  await page.addScriptTag({ path: join(ROOT, "node_modules/peerjs/dist/peerjs.min.js") });
  await page.evaluate(
    ([peerId, options, patienceMs]) =>
      new Promise((resolve, reject) => {
        const open = () => {
          window.peer = new Peer(peerId, options);
          peer.on("open", resolve);
          // The server may not know yet that the page before this one has gone.
          const again = ({ type }) => type === "unavailable-id" && performance.now() < patienceMs;
          peer.on("error", (error) => (again(error) ? open() : reject(error)));
        };
        open();
      }),
    [peerId, { host, port: Number(port), path: "/", config: { iceServers: [] } }, PATIENCE_MS],
  );
  await page.addScriptTag({ type: "module", content: application });
  return page;
}

/**
 * @param {() => Promise<boolean>} condition
 * @param {string} otherwise
 * @param {number} [withinMs]
 */
async function until(condition, otherwise, withinMs = PATIENCE_MS) {
  for (const deadline = performance.now() + withinMs; !(await condition()); ) {
    assert.ok(performance.now() < deadline, otherwise);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
