// The browser client in real Chromium: pages with profiles of their own find each other through a beacon, a capsule, or
// what they remember, and talk over data channels that are made through beacons alone. All is on 127.0.0.1.
//
// The pages are the example's, so that it is tested too; the adapter for PeerJS has pages and a signalling server of its
// own. It takes a built client and capsule program (CAPSULE_BIN names another than target/debug/capsule).

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { startBeacon } from "../tools/beacon.mjs";
import { ADVICE, CHROMIUM_ARGUMENTS, findChromium } from "../tools/chromium.mjs";
import { servePages } from "../tools/pages.mjs";
import { ROOT } from "../tools/steps.mjs";
import { serve } from "./hostile.mjs";
import { announce, peerIds, peers } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { freePort } from "./ports.mjs";
import { CAPSULE, requireCapsule } from "./program.mjs";
import { startSignalling } from "./signalling.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const COMMUNITY = "browsers";

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
  [signalling, pages, beacon] = await Promise.all([startSignalling(), servePages(), startResidents({ port: await freePort() })]);
  running.push(signalling, pages, beacon);
  resident = await visit({ beacon: beacon.url });
  await resident.page.getByText("listed by 1 beacon").waitFor();
});

/** @param {{ port?: number }} [options] */
function startResidents(options) {
  return startBeacon({ vars: { COMMUNITIES: "*", PEERS_MAX_AGE_SECONDS: "0" }, staysAwake: true, ...options });
}

after(async () => {
  while (running.length > 0) await running.pop().stop();
  if (scratch) await rm(scratch, { recursive: true, force: true, maxRetries: 5 });
});

/**
 * A browser of its own with a profile of its own, showing the example page.
 *
 * @param {Record<string, string | string[]>} query
 * @param {{ profile?: string, address?: string, viewport?: { width: number, height: number } }} [options] A profile
 *   of a visit before: it remembers.
 */
async function visit(query, { profile, address = `${pages.url}/client/example/`, viewport } = {}) {
  profile ??= await mkdtemp(join(scratch, "profile-"));
  const browser = await chromium.launchPersistentContext(profile, { executablePath: findChromium(), args: CHROMIUM_ARGUMENTS, viewport });
  const stop = () => browser.close();
  running.push({ stop });
  browser.setDefaultTimeout(PATIENCE_MS);
  browser.on("weberror", (error) => mishaps.push(String(error.error())));
  browser.on("console", (message) => {
    if (/Content.Security.Policy|Trusted/.test(message.text())) mishaps.push(message.text());
  });
  browser.on("request", (request) => {
    if (!/^(http:\/\/127\.0\.0\.1:|file:|data:)/.test(request.url())) mishaps.push(`asked for ${request.url()}`);
  });
  const page = browser.pages()[0] ?? (await browser.newPage());
  await page.goto(`${address}?${new URLSearchParams(Object.entries({ community: COMMUNITY, ...query }).flatMap(([name, values]) => [values].flat().map((value) => [name, value])))}`);
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

/** A page's own ID, once its key is there. */
async function idOf(page) {
  await page.locator("#self-id").filter({ hasText: ":" }).waitFor({ state: "attached" });
  return textOf(page, "self-id");
}

const person = (page, id) => page.locator(`[data-key="${id}"]`);
const isIn = (page, id, state) => person(page, id).getByText(state, { exact: true }).waitFor();

async function says(page, words) {
  await page.getByLabel("Message to all").fill(words);
  await page.keyboard.press("Enter");
}

const hears = (page, words) => page.locator("#messages .message").getByText(words, { exact: true }).waitFor();

/** Waits until a page is connected to the resident, and lets the two talk. */
async function meet(context, how, { page }) {
  const residentId = await idOf(resident.page);
  const ownId = await idOf(page);
  await isIn(page, residentId, "connected");
  await isIn(resident.page, ownId, "connected");
  for (const [from, to, greeting] of [[page, resident.page, `hello from ${ownId}`], [resident.page, page, `hello to ${ownId}`]]) {
    await says(from, greeting);
    await hears(to, greeting);
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
    const before = await idOf(visitor.page);
    await visitor.page.reload();
    assert.notEqual(await idOf(visitor.page), before);
    // What a page remembers is there before any beacon's answer.
    assert.equal((await meet(t, "after a reload", visitor)).from, "from the last visit");
    await visitor.leave();
    await until(async () => peerIds(await peers(beacon.url, { community: COMMUNITY })).length === 1, "the visitor is still listed");
  });

  test("a newcomer sees them in a capsule when the beacon is dead, and calls them when it is back", async (t) => {
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
    await isWithoutBeacon(rememberer, "capsule");
    await startAgain(rememberer);
    assert.equal((await meet(t, "in a capsule, the beacon dead", rememberer)).from, "from the capsule");
    await rememberer.leave();
  });

  test("and what the browser remembers does, when the capsule's host is gone too", async (t) => {
    await capsules.stop();
    await beacon.crash();
    const again = await visit(query, { profile: rememberer.profile });
    await isWithoutBeacon(again, "last visit");
    await again.page.locator(`[data-key="${query.capsule}"]`).getByText("does not answer").waitFor();
    await startAgain(again);
    assert.equal((await meet(t, "remembered, beacon and capsule gone", again)).from, "from the last visit");
    await again.leave();
  });

  /** It sees the resident, and that nobody can be called now. */
  async function isWithoutBeacon({ page }, source) {
    await person(page, await idOf(resident.page)).getByText(`found through the ${source}`).waitFor();
    await page.locator(`[data-key="${beacon.url}"]`).getByText("does not answer").waitFor();
    await page.getByText("No beacon lists you").waitFor();
  }

  /** Where it was, knowing nobody. The browsers say that the network is back: else pages ask again after up to a minute. */
  async function startAgain(visitor) {
    beacon = await startResidents({ port: Number(new URL(beacon.url).port) });
    running.push(beacon);
    for (const { page } of [resident, visitor]) await page.evaluate(() => dispatchEvent(new Event("online")));
  }
});

describe("with two beacons", () => {
  test("two people go on to talk, and a third joins them, when the first beacon is killed", async () => {
    const [first, second] = [await startResidents(), await startResidents()];
    running.push(first, second);
    const query = { beacon: [first.url, second.url], community: "killed" };
    const [one, other] = [await visit(query), await visit(query)];
    const [oneId, otherId] = [await idOf(one.page), await idOf(other.page)];
    await isIn(one.page, otherId, "connected");
    await isIn(other.page, oneId, "connected");
    await says(one.page, "before");
    await hears(other.page, "before");
    await first.crash();
    await other.page.locator(`[data-key="${first.url}"]`).getByText("does not answer").waitFor();
    await says(other.page, "after");
    await hears(one.page, "after");
    assert.equal(await one.page.locator("#messages .note").count(), 1, "nobody has left or come again");
    const third = await visit(query);
    const thirdId = await idOf(third.page);
    for (const { page } of [one, other]) await isIn(page, thirdId, "connected");
    await says(third.page, "all of you");
    for (const { page } of [one, other]) await hears(page, "all of you");
    await Promise.all([one, other, third].map((visitor) => visitor.leave()));
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
    for (const userId of names) await visitor.page.locator("#people .name").getByText(userId, { exact: true }).waitFor();
    assert.equal(await visitor.page.locator("#people img").count(), 0);
    assert.equal(await visitor.page.evaluate(() => document.documentElement.scrollWidth), 360);
    await visitor.leave();
  });

  for (const [width, colorScheme] of [[360, "light"], [1_280, "dark"]]) {
    test(`says beside a setting of its address what is wrong with it, ${width} wide and ${colorScheme}`, async () => {
      for (const [wrong, field, said] of [
        [{ community: "two words" }, "community", "community must be 1 to 64 of"],
        [{ community: "x".repeat(65) }, "community", "community must be 1 to 64 of"],
        [{ beacon: "ftp://a.example" }, "beacon", "beacons[0] must be an http(s) URL"],
        [{ beacon: "" }, "beacon", "beacons or capsules must be given"],
        [{ capsule: "http://127.0.0.1:1/peers.json" }, "capsule-key", "capsules[0].publicKey must be a public key"],
        [{ capsule: "data:," }, "capsule", "capsules[0].url must be an http(s) URL"],
        [{ capsuleKey: "A".repeat(2_000) }, "capsule-key", "capsuleKey must be given once for each capsule"],
        [{ limit: "-1" }, "limit", "limit must be a whole number below 1,000"],
        [{ limit: "9".repeat(500) }, "limit", "limit must be a whole number below 1,000"],
      ]) {
        const visitor = await visit({ beacon: beacon.url, community: "settings", ...wrong }, { viewport: { width, height: 800 } });
        const { page } = visitor;
        await page.emulateMedia({ colorScheme });
        await page.locator(`#wrong-${field}`).getByText(said).waitFor();
        assert.equal(await page.locator(".wrong:not(:empty)").count(), 1);
        assert.equal(await page.locator(`#set-${field}`).getAttribute("aria-invalid"), "true");
        assert.ok((await textOf(page, "problem")).includes(said));
        assert.equal(await page.locator("main").isHidden(), true, "what could only be sent is not shown");
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
        await visitor.leave();
      }
    });
  }

  test("says beside the field of a name what is wrong with it", async () => {
    const visitor = await visit({ beacon: beacon.url, community: "wrong-names" });
    const { page } = visitor;
    await page.getByText("listed by 1 beacon").waitFor();
    const field = page.getByLabel("Your name");
    const before = await field.inputValue();
    for (const [name, said] of [["", "write one"], ["  ", "write one"], ["\u2602".repeat(5_000), "at most 128 bytes"], ["a\u0007b", "no control characters"]]) {
      await field.evaluate((input, text) => Object.assign(input, { value: text }), name);
      await page.getByRole("button", { name: "Save" }).click();
      await page.locator("#rename-state").getByText(said).waitFor();
      assert.equal(await field.getAttribute("aria-invalid"), "true");
    }
    await field.fill(before);
    await page.keyboard.press("Enter");
    await until(async () => (await textOf(page, "rename-state")) === "", "it is the name that it has");
    await visitor.leave();
  });

  test("has one state for each person, in words", async () => {
    const community = "states";
    const states = (page) => page.locator("#people .state");
    const nobody = newPeer({ peerId: "nobody", userId: "Nobody" });
    const nobodyId = `nobody:${nobody.publicKey}`;
    await announce(beacon.url, signTicket(nobody, { community }), { community });
    const shy = await visit({ beacon: beacon.url, community, limit: "0" });
    await isIn(shy.page, nobodyId, "reachable");
    await shy.leave();
    const [one, other] = [await visit({ beacon: beacon.url, community }), await visit({ beacon: beacon.url, community })];
    const otherId = await idOf(other.page);
    await isIn(one.page, nobodyId, "not reachable");
    await person(one.page, nobodyId).getByText("That peer has no connection to the beacon").waitFor();
    await isIn(one.page, otherId, "connected");
    await other.leave();
    await isIn(one.page, otherId, "left");
    assert.equal(await states(one.page).count(), await one.page.locator("#people > li").count());
    await one.leave();
  });

  test("has the name that somebody chooses, at once for whoever is connected, and in the beacon's list", async () => {
    const community = "names";
    const [one, other] = [await visit({ beacon: beacon.url, community }), await visit({ beacon: beacon.url, community })];
    const oneId = await idOf(one.page);
    const shown = person(other.page, oneId);
    await shown.getByText("connected", { exact: true }).waitFor();
    const chosen = "Ada <b>Lovelace</b>";
    await one.page.getByLabel("Your name").fill(chosen);
    await one.page.keyboard.press("Enter");
    await shown.locator(".name").getByText(chosen, { exact: true }).waitFor();
    const listedName = async () => (await peers(beacon.url, { community })).json.peers.find(({ payload }) => oneId.startsWith(payload.peerId))?.payload.userId;
    // Nobody is lost by it, and the name is still there after a reload.
    await says(one.page, "it is me");
    await hears(other.page, "it is me");
    assert.equal(await other.page.locator("#messages .note").count(), 1);
    await until(async () => (await listedName()) === chosen, "the list has the old name", 2 * PATIENCE_MS);
    await one.page.reload();
    assert.equal(await one.page.getByLabel("Your name").inputValue(), chosen);
    await Promise.all([one.leave(), other.leave()]);
  });

  test("connects to somebody by an ID that is typed in, and calls nobody else where it is told so", async () => {
    const query = { beacon: beacon.url, community: "calls", limit: "0" };
    const [one, other] = [await visit(query), await visit(query)];
    const [oneId, otherId] = [await idOf(one.page), await idOf(other.page)];
    for (const { page } of [one, other]) await page.getByText("Online, listed by 1 beacon").waitFor();
    await one.page.getByText("Somebody is missing?").click();
    const call = async (id, words) => {
      await one.page.getByLabel("Their ID").fill(id);
      await one.page.keyboard.press("Enter");
      await one.page.locator("#call-state").getByText(words).waitFor();
    };
    await call("nobody", "An ID ends with a colon and a key");
    await call(oneId, "This is your own ID");
    const absent = `not-there:${newPeer().publicKey}`;
    await call(absent, "not-ther… cannot be reached. That peer has no connection to the beacon.");
    await isIn(one.page, absent, "not reachable");
    await isIn(one.page, otherId, "reachable");
    await call(otherId, "is connected.");
    for (const [{ page }, id] of [[one, otherId], [other, oneId]]) await isIn(page, id, "connected");
    await call(otherId, "You are connected already.");
    await Promise.all([one.leave(), other.leave()]);
  });

  test("has people and talk before everything else on a phone, and beside each other where there is room", async () => {
    const visitor = await visit({ beacon: beacon.url, community: "layout" }, { viewport: { width: 390, height: 844 } });
    // All at one time: what comes of the beacon moves what is below it.
    const tops = (...names) =>
      visitor.page.evaluate((names) => names.map((name) => document.querySelector(`section.${name}`).getBoundingClientRect().y), names);
    const onPhone = await tops("people", "talk", "sources", "figures");
    assert.deepEqual(onPhone, [...onPhone].sort((one, other) => one - other));
    assert.equal(await visitor.page.evaluate(() => document.documentElement.scrollWidth), 390);
    await visitor.page.setViewportSize({ width: 1280, height: 800 });
    const [people, talk] = await tops("people", "talk");
    assert.equal(people, talk);
    await visitor.leave();
  });

  test("has a name for every control, and the keyboard reaches each", async () => {
    const visitor = await visit({ beacon: beacon.url, community: "keyboard" });
    await visitor.page.getByText("listed by 1 beacon").waitFor();
    await visitor.page.getByText("Somebody is missing?").click();
    await visitor.page.getByText("Settings", { exact: true }).click();
    const nameless = await visitor.page.evaluate(() =>
      [...document.querySelectorAll("input, textarea, button")]
        .filter((control) => !control.labels?.length && !control.ariaLabel && control.textContent.trim() === "")
        .map(({ outerHTML }) => outerHTML),
    );
    assert.deepEqual(nameless, []);
    const all = await visitor.page.locator("input, textarea, button, summary, a").count();
    const reached = new Set();
    await visitor.page.locator("h1").click();
    for (let pressed = 0; pressed < 2 * all; pressed++) {
      await visitor.page.keyboard.press("Tab");
      reached.add(await visitor.page.evaluate(() => [...document.querySelectorAll("input, textarea, button, summary, a")].indexOf(document.activeElement)));
    }
    reached.delete(-1);
    assert.equal(reached.size, all);
    await visitor.leave();
  });

  test("names a parameter that is wrong", async () => {
    const visitor = await visit({ beacon: "ftp://127.0.0.1/" });
    await visitor.page.getByRole("alert").getByText("beacons[0] must be an http(s) URL").waitFor();
    await visitor.leave();
  });
});

describe("npm start", () => {
  /** The program asks again after a minute at the latest, and cargo, which looks whether it is current, waits for others. */
  const CAPSULE_MS = 300_000;
  let npm, said, occupied, url, tabs;

  const newTab = async () => {
    const tab = await resident.page.context().newPage();
    await tab.goto(url);
    return tab;
  };
  const areConnected = async (...tabs) => {
    const ids = await Promise.all(tabs.map(idOf));
    for (const [at, tab] of tabs.entries()) await isIn(tab, ids[1 - at], "connected");
  };

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
    const [, found, port] = /^ +(http:\/\/127\.0\.0\.1:\d+) {2}\(port (\d+) is in use\)$/m.exec(said) ?? assert.fail(said);
    url = found;
    assert.equal(port, new URL(occupied.url).port);
    tabs = [await newTab(), await newTab()];
    await areConnected(...tabs);
    for (const [at, tab] of tabs.entries()) {
      await tab.getByText("listed by 2 beacons").waitFor();
      await says(tab, `hello from ${at}`);
      await hears(tabs[1 - at], `hello from ${at}`);
    }
  });

  test("has a capsule, which the page reads", async () => {
    await until(async () => said.includes("A capsule, written anew every 60 s, is at "), "no capsule", CAPSULE_MS);
    const capsule = async () => (await fetch(`${url}/capsule/peers.json`)).json();
    assert.equal((await capsule()).community, "mainnet");
    // The first may be from before the second tab.
    const ids = await Promise.all(tabs.map(idOf));
    const listed = async () => (await capsule()).peers.map(({ payload, publicKey }) => `${payload.peerId}:${publicKey}`);
    await until(async () => new Set(ids).isSubsetOf(new Set(await listed())), "a tab is in no capsule", CAPSULE_MS);
    await tabs[0].locator('[data-key$="/capsule/peers.json"]').getByText("is there", { exact: true }).waitFor();
  });

  test("has buttons that kill both beacons: everybody is still here, a newcomer sees them, and comes in when other buttons start them again", async () => {
    const [first, second] = (await (await fetch(`${url}/beacons`)).json()).beacons.map((beacon) => beacon.url);
    const source = (tab, beacon = first) => tab.locator(`[data-key="${beacon}"]`);
    await source(tabs[0]).getByRole("button", { name: "Kill this beacon" }).click();
    for (const tab of tabs) {
      await tab.getByRole("status").getByText("Everybody is still here: you are connected to 1 person.").waitFor();
      await source(tab).getByText("killed", { exact: true }).waitFor();
    }
    await assert.rejects(fetch(`${first}/healthz`));
    assert.equal((await fetch(`${second}/healthz`)).status, 200);
    await tabs[0].getByText(`Newcomers still come in through ${new URL(second).host}.`).waitFor();
    await says(tabs[0], "still here");
    await hears(tabs[1], "still here");
    await source(tabs[1], second).getByRole("button", { name: "Kill this beacon" }).click();
    await tabs[0].getByText("Newcomers still see in the capsule who is here, and come in when a beacon is back.").waitFor();
    await assert.rejects(fetch(`${second}/healthz`));
    // In a browser that remembers nobody.
    const query = Object.fromEntries(new URL(tabs[0].url()).searchParams);
    const newcomer = await visit(query, { address: `${url}/client/example/` });
    const ids = await Promise.all(tabs.map(idOf));
    for (const id of ids) await person(newcomer.page, id).getByText("found through the capsule").waitFor();
    await newcomer.page.getByText("No beacon lists you").waitFor();
    for (const beacon of [first, second]) await source(tabs[1], beacon).getByRole("button", { name: "Start it again" }).click();
    for (const beacon of [first, second]) {
      for (const tab of tabs) await source(tab, beacon).getByText("lists you", { exact: true }).waitFor({ timeout: 2 * PATIENCE_MS });
      assert.equal((await fetch(`${beacon}/healthz`)).status, 200);
    }
    for (const id of ids) await isIn(newcomer.page, id, "connected");
    assert.equal(await textOf(newcomer.page, "first-peer-from"), "from the capsule");
    await newcomer.leave();
  });

  test("lets only its own page kill a beacon", async () => {
    const html = await (await fetch(`${url}/client/example/?community=mainnet`)).text();
    const [, token] = /<meta name="beacon-control" content="([\w-]+)"/.exec(html);
    const { beacons } = await (await fetch(`${url}/beacons`)).json();
    const [{ url: target }] = beacons;
    const good = { origin: url, "content-type": "application/json" };
    const body = { token, beacon: target, action: "kill" };
    for (const [status, headers, sent, host] of [
      [403, { ...good, origin: "http://evil.example" }, body],
      [403, { "content-type": "application/json" }, body],
      [403, good, { ...body, token: `${token.slice(1)}A` }],
      [403, good, { ...body, token: undefined }],
      [403, good, null],
      [415, { ...good, "content-type": "text/plain" }, body],
      [413, good, { ...body, more: "x".repeat(2_000) }],
      [404, good, { ...body, beacon: "http://127.0.0.1:1" }],
      [400, good, { ...body, action: "toString" }],
      // A name of an attacker's that points here.
      [421, { ...good, origin: "http://evil.example" }, body, "evil.example"],
    ]) {
      const answer = await post(`${url}/beacons`, { headers: host ? { ...headers, host } : headers, body: JSON.stringify(sent) });
      assert.equal(answer, status, JSON.stringify([headers, sent]).slice(0, 200));
    }
    assert.equal((await fetch(`${target}/healthz`)).status, 200);
  });

  test("ends when it is told to", async () => {
    await Promise.all(tabs.map((tab) => tab.close()));
    await stop();
    assert.equal(npm.exitCode, 0);
    await assert.rejects(fetch(url));
  });
});

test("the lines in client/README.md are all that it takes", async () => {
  const readme = await readFile(join(ROOT, "client/README.md"), "utf8");
  const [, client, adapter] = [...readme.matchAll(/^```[jt]s\n(.*?)^```$/gms)].map(([, code]) => code);
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
 * As anybody may, with whatever headers.
 *
 * @param {string} url
 * @param {{ headers: Record<string, string>, body: string }} sent
 * @returns {Promise<number>} The status.
 */
async function post(url, { headers, body }) {
  const sent = request(url, { method: "POST", headers });
  sent.end(body);
  const [answer] = await once(sent, "response");
  answer.resume();
  return answer.statusCode;
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
