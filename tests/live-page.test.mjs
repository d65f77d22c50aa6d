// `rendezvous-beacon/live` in real Chromium: pages with profiles of their own see each other come and go, through the
// native program. It takes a built client.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { ADVICE, findChromium } from "../tools/chromium.mjs";
import { servePages } from "../tools/pages.mjs";
import { ROOT } from "../tools/steps.mjs";
import { NATIVE } from "./hosts.mjs";
import { eventually, peerIds, peers } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";

const VARS = { COMMUNITIES: "*", PEERS_MAX_AGE_SECONDS: "0" };
const ARGUMENTS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

let scratch, pages, beacon;
/** What must not happen in any page. */
const mishaps = [];
/** Started last, stopped first. */
const running = [];

before(async () => {
  assert.ok(findChromium(), ADVICE);
  assert.ok(existsSync(join(ROOT, "client/dist/live.js")), "client/dist/live.js is not there: npm run build --workspace client");
  scratch = await mkdtemp(join(tmpdir(), "live-page-test-"));
  [pages, beacon] = await Promise.all([servePages(), NATIVE.start({ vars: VARS })]);
  running.push(pages, beacon);
});

after(async () => {
  while (running.length > 0) await running.pop().stop();
  if (scratch) await rm(scratch, { recursive: true, force: true, maxRetries: 5 });
});

/** A browser of its own with a profile of its own. */
async function launch() {
  const profile = await mkdtemp(join(scratch, "profile-"));
  const browser = await chromium.launchPersistentContext(profile, { executablePath: findChromium(), args: ARGUMENTS });
  running.push({ stop: () => browser.close() });
  browser.setDefaultTimeout(PATIENCE_MS);
  browser.on("weberror", (error) => mishaps.push(String(error.error())));
  return browser;
}

/**
 * A page with a client of its own, which notes when peers came and went, and what was asked of beacons.
 *
 * @param {import("playwright-core").BrowserContext} browser
 * @param {{ community: string, peerId: string, beacons?: string[], policy?: string }} options `policy` is the page's own
 *   Content-Security-Policy.
 */
async function open(browser, { community, peerId, beacons = [beacon.url], policy }) {
  const page = await browser.newPage();
  const requests = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (beacons.includes(url.origin)) requests.push(`${request.method()} ${url.pathname}`);
  });
  await page.goto(`${pages.url}/client/example/example.css`);
  if (policy) await page.setContent(`<meta http-equiv="Content-Security-Policy" content="${policy}">`);
  await page.evaluate(async (options) => {
    const [{ Rendezvous }, { live }] = await Promise.all([import("/client/dist/index.js"), import("/client/dist/live.js")]);
    const rendezvous = new Rendezvous(options);
    Object.assign(window, { rendezvous, connections: live(rendezvous), came: {}, went: {} });
    rendezvous.addEventListener("change", ({ detail }) => {
      for (const { peerId } of detail.appeared) window.came[peerId] = Date.now();
      for (const { peerId } of detail.gone) window.went[peerId] = Date.now();
    });
    window.startedAt = Date.now();
    await rendezvous.start();
  }, { community, peerId, beacons });
  return { page, requests };
}

const isBound = ({ page }) => page.waitForFunction(() => window.connections.status().every(({ bound }) => bound));
const transports = ({ page }) => page.evaluate(() => window.connections.status().map(({ transport }) => transport));
const cameAt = ({ page }, peerId) => page.waitForFunction((peerId) => window.came[peerId], peerId).then((handle) => handle.jsonValue());
const wentAt = ({ page }, peerId) => page.waitForFunction((peerId) => window.went[peerId], peerId).then((handle) => handle.jsonValue());

test("a page sees another one come, leave, and vanish, and asks nobody", async (t) => {
  const community = "coming";
  const [one, other] = await Promise.all([launch(), launch()]);
  const ann = await open(one, { community, peerId: "ann" });
  await isBound(ann);
  const bob = await open(other, { community, peerId: "bob" });
  const came = (await cameAt(ann, "bob")) - (await bob.page.evaluate(() => window.startedAt));
  await cameAt(bob, "ann");
  await isBound(bob);
  const leftAt = await bob.page.evaluate(() => {
    const now = Date.now();
    void window.rendezvous.stop();
    return now;
  });
  const left = (await wentAt(ann, "bob")) - leftAt;
  await bob.page.close();
  const cid = await open(other, { community, peerId: "cid" });
  await cameAt(ann, "cid");
  await isBound(cid);
  const closedAt = Date.now();
  await cid.page.close({ runBeforeUnload: false });
  const closed = (await wentAt(ann, "cid")) - closedAt;
  t.diagnostic(`known ${came} ms after start(), gone ${left} ms after stop() and ${closed} ms after the page was closed`);
  // Sooner than by asking: a client asks again after 45 s, and a ticket lasts 180 s.
  for (const ms of [came, left, closed]) assert.ok(ms < 45_000, `${[came, left, closed]}`);
  assert.deepEqual(ann.requests.concat(bob.requests), [], "all went over sockets");
  await eventually(async () => peerIds(await peers(beacon.url, { community })), (ids) => ids.join() === "ann");
  await ann.page.close();
  await eventually(async () => peerIds(await peers(beacon.url, { community })), (ids) => ids.length === 0);
});

test("a page that may open no socket is told over a stream", async () => {
  const community = "streams";
  const browser = await launch();
  const ann = await open(browser, { community, peerId: "ann", policy: "connect-src http:" });
  await ann.page.waitForFunction(() => window.connections.status()[0].transport === "stream");
  const bob = await open(browser, { community, peerId: "bob" });
  await cameAt(ann, "bob");
  await cameAt(bob, "ann");
  assert.deepEqual([await transports(ann), await transports(bob)], [["stream"], ["socket"]]);
  await bob.page.close();
  await wentAt(ann, "bob");
  assert.deepEqual(ann.requests, ["GET /live", "POST /announce"]);
  await ann.page.close();
});

test("a page that comes back goes on where it was left", async () => {
  const community = "returns";
  const browser = await launch();
  const [ann, bob] = [await open(browser, { community, peerId: "ann" }), await open(browser, { community, peerId: "bob" })];
  await Promise.all([isBound(ann), isBound(bob)]);
  await cameAt(ann, "bob");
  // As a browser does with a page that it keeps while another is shown in its place.
  await bob.page.evaluate(() => window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
  await wentAt(ann, "bob");
  assert.deepEqual(await transports(bob), ["polling"]);
  await ann.page.evaluate(() => delete window.came.bob);
  await bob.page.evaluate(() => window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  await isBound(bob);
  await cameAt(ann, "bob");
  await Promise.all([ann.page.close(), bob.page.close()]);
});

test("no page has failed", () => {
  assert.deepEqual(mishaps, []);
});
