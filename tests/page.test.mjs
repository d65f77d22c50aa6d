// The beacon's page in real Chromium, as both hosts serve it: what it shows, who comes and goes, and its own announce.
//
// A violation of the page's policy, an error in its scripts or a request to anywhere else fails the tests.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { ADVICE, findChromium } from "../tools/chromium.mjs";
import { ROOT } from "../tools/steps.mjs";
import { newSigner, sign, verify } from "../public/ticket.js";
import { HOSTS, NATIVE, withHost } from "./hosts.mjs";
import { announce, call, eventually, peerIds, peers } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const HOSTILE = '<img src=x onerror="document.title=1">';

let browser;
before(async () => {
  assert.ok(findChromium(), ADVICE);
  browser = await chromium.launch({ executablePath: findChromium(), args: ["--no-sandbox", "--disable-gpu", "--disable-quic"] });
});
after(() => browser?.close());

for (const host of HOSTS) describe(host.name, () => {
  let beacon;
  const mishaps = [];
  before(async () => {
    const vars = {
      COMMUNITIES: "mainnet,chess",
      LISTED_COMMUNITIES: "mainnet,chess",
      SHOW_PEERS: "on",
      OPERATOR_NAME: HOSTILE,
      PEERS_MAX_AGE_SECONDS: "1",
    };
    beacon = await host.start({ vars });
  });
  after(() => beacon.stop());

  async function open({ prepare, ...options } = {}) {
    const page = await browser.newPage(options);
    await prepare?.(page);
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => mishaps.push(String(error)));
    page.on("console", (message) => message.type() === "error" && mishaps.push(message.text()));
    page.on("request", (request) => request.url().startsWith(beacon.url) || mishaps.push(`asked for ${request.url()}`));
    await page.goto(`${beacon.url}/`);
    return page;
  }

  test("it shows people, joins and leaves, and what peers write stays text", async () => {
    const resident = newPeer({ userId: HOSTILE });
    await announce(beacon.url, signTicket(resident));
    const page = await open();
    const people = page.getByRole("region", { name: "People in mainnet" });
    await people.getByText(HOSTILE, { exact: true }).waitFor();
    await people.getByText("verified", { exact: true }).waitFor();
    await page.getByText("Nobody is here at the moment.").filter({ visible: true }).waitFor();
    const guest = newPeer({ userId: "a guest" });
    const issuedAt = Date.now();
    await announce(beacon.url, signTicket(guest, { issuedAt }));
    await page.getByRole("log").getByText("a guest joined mainnet").waitFor();
    const goodbye = signTicket(guest, { issuedAt: issuedAt + 1, leave: true });
    assert.equal((await call(beacon.url, "/leave", { json: { ticket: goodbye } })).json.left, true);
    await page.getByRole("log").getByText("a guest left mainnet").waitFor();
    assert.equal(await page.locator("img:not([src='/icon.svg'])").count(), 0);
    assert.equal(await page.title(), `Who is online? · ${HOSTILE}`);
    await page.close();
    assert.deepEqual(mishaps, []);
  });

  test("it draws the last hour as the beacon has counted it, and goes on with what it sees", async () => {
    // The beacon's own counts take five minutes each.
    const until = Date.now() - 60_000;
    const trend = { until, everyMs: 300_000, live: [9, 7, 4, 3, 0, 0, 1, 2, 5, 6, 8, 8] };
    const prepare = (page) => page.route("**/.well-known/rendezvous-beacon", async (route) => {
      const response = await route.fetch();
      const info = await response.json();
      Object.assign(info.communities.find(({ name }) => name === "chess"), { trend });
      await route.fulfill({ response, json: info });
    });
    const page = await open({ prepare });
    const card = page.locator("article", { has: page.getByRole("heading", { name: "chess" }) });
    const [from] = await page.evaluate((at) => [new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })], until - 11 * 300_000);
    await card.getByText(`0 to 9 since ${from}`, { exact: true }).waitFor();
    const corners = (await card.locator("polyline").getAttribute("points")).split(" ").map((corner) => corner.split(",").map(Number));
    assert.ok(corners.length >= 13, "what was counted, and what is seen now");
    assert.deepEqual([corners[0][0], corners.at(-1)[0]], [0, 240]);
    const [heights, expected] = [corners.slice(0, 12).map(([, y]) => y), trend.live.map((live) => 41 - (live / 9) * 36)];
    heights.forEach((height, index) => assert.ok(Math.abs(height - expected[index]) < 0.1, `${heights}`));
    await page.close();
    assert.deepEqual(mishaps, []);
  });

  for (const [width, colorScheme] of [[360, "light"], [1_280, "dark"]]) {
    test(`it says beside the field what is wrong with a name, ${width} wide and ${colorScheme}`, async () => {
      const page = await open({ viewport: { width, height: 800 }, colorScheme });
      const announced = [];
      page.on("request", (request) => request.method() === "POST" && announced.push(request.url()));
      const field = page.getByLabel("Name, for everybody to read");
      const problem = page.locator("#try-name-problem");
      for (const [name, said] of [
        ["", "write one"],
        ["   ", "write one"],
        ["x".repeat(41), "at most 40 characters"],
        ["\u2602".repeat(10_000), "at most 40 characters"],
        ["a\u0007b", "a control character"],
      ]) {
        // As a paste is: typing goes by another way.
        await field.evaluate((input, text) => Object.assign(input, { value: text }), name);
        await page.getByRole("button", { name: "Announce this page" }).click();
        await problem.filter({ hasText: said }).waitFor();
        assert.equal(await field.getAttribute("aria-invalid"), "true");
        assert.equal(await field.evaluate((input) => input === document.activeElement), true);
        const [of, at] = await Promise.all([field.boundingBox(), problem.boundingBox()]);
        assert.ok(at.y >= of.y + of.height && at.y < of.y + of.height + 24 && at.x >= 0 && at.x + at.width <= width, JSON.stringify([of, at]));
      }
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
      assert.deepEqual(announced, []);
      await field.fill("x".repeat(40));
      assert.equal(await problem.textContent(), "");
      await page.keyboard.press("Enter");
      await page.getByText("Listed", { exact: true }).waitFor();
      await page.getByRole("button", { name: "Leave" }).click();
      await page.getByText("You have left.").waitFor();
      await page.close();
      assert.deepEqual(mishaps, []);
    });
  }

  test("a query or a fragment that means nothing here changes nothing", async () => {
    const page = await browser.newPage();
    page.on("pageerror", (error) => mishaps.push(String(error)));
    page.on("console", (message) => message.type() === "error" && mishaps.push(message.text()));
    await page.goto(`${beacon.url}/?community=${encodeURIComponent(HOSTILE)}&limit=-1&${"x".repeat(2_000)}#${encodeURIComponent(HOSTILE)}`);
    await page.getByRole("heading", { name: "mainnet" }).waitFor();
    assert.equal(await page.locator("#problem").isHidden(), true);
    await page.close();
    assert.deepEqual(mishaps, []);
  });

  test("it announces itself by keyboard, is listed, leaves, and says goodbye when it is closed", async () => {
    const page = await open({ viewport: { width: 390, height: 844 } });
    await page.getByLabel("Community").selectOption("chess");
    await page.getByLabel("Name, for everybody to read").fill("a visitor");
    await page.keyboard.press("Enter");
    const people = page.getByRole("region", { name: "People in chess" });
    await people.getByText("this page", { exact: true }).waitFor();
    await page.getByText("Listed", { exact: true }).waitFor();
    const [peerId] = peerIds(await peers(beacon.url, { community: "chess" }));
    assert.match(peerId, /^page-[0-9a-f]{12}$/);
    const list = () => peers(beacon.url, { community: "chess" });
    const isEmpty = (reply) => reply.json.total === 0;
    await page.getByRole("button", { name: "Leave" }).click();
    await page.getByText("You have left.").waitFor();
    await eventually(list, isEmpty);
    await page.getByRole("button", { name: "Announce this page" }).click();
    await people.getByText("this page", { exact: true }).waitFor();
    await page.goto("about:blank");
    await eventually(list, isEmpty);
    await page.close();
    assert.deepEqual(mishaps, []);
  });
});

test("the page's own check of a signed ticket agrees with the vectors", async () => {
  const vectors = JSON.parse(await readFile(join(ROOT, "tests/vectors/tickets.json"), "utf8"));
  // Shapes, and how long a ticket may live, the beacon has checked before it lists one.
  const codes = ["ok", "SIGNATURE_INVALID", "EXPIRED", "NOT_YET_VALID", "COMMUNITY_MISMATCH"];
  const seen = new Set();
  for (const { name, expect, now, community, ticket, allow } of vectors) {
    if (!codes.includes(expect) || allow !== undefined) continue;
    assert.equal(await verify(JSON.parse(ticket), community, now), expect === "ok", name);
    seen.add(expect);
  }
  assert.deepEqual([...seen].sort(), codes.sort());
});

test("what the page signs, a beacon accepts", async () => {
  await withHost(HOSTS[0], {}, async ({ url }) => {
    const issuedAt = Date.now();
    const fields = { peerId: "page-1", userId: "a ☂", community: "mainnet", issuedAt, expiresAt: issuedAt + 180_000 };
    const ticket = await sign(await newSigner(), fields);
    assert.equal((await announce(url, ticket)).json.accepted, true);
    assert.equal(await verify(ticket, "mainnet", issuedAt), true);
    assert.equal(await verify({ ...ticket, payload: { ...ticket.payload, userId: "b" } }, "mainnet", issuedAt), false);
  });
});

test("documents fit a phone and a desktop, by day and by night, and load nothing from elsewhere", async () => {
  await withHost(NATIVE, {}, async ({ url }) => {
    for (const [width, colorScheme] of [[360, "light"], [360, "dark"], [1_280, "light"], [1_280, "dark"]]) {
      const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
      const mishaps = [];
      page.on("console", (message) => message.type() === "error" && mishaps.push(message.text()));
      page.on("request", (request) => request.url().startsWith(url) || mishaps.push(`asked for ${request.url()}`));
      for (const [path, heading] of [["", "Documents"], ["protocol", "Announcing"], ["overview", "One machine"]]) {
        await page.goto(`${url}/docs/${path}`);
        await page.getByRole("heading", { name: heading }).first().waitFor();
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, path);
      }
      await page.getByRole("navigation").getByRole("link", { name: "Install" }).click();
      await page.getByRole("heading", { level: 1 }).waitFor();
      assert.equal(new URL(page.url()).pathname, "/docs/install");
      // Colours are the browser's own: its text is light where it paints the page dark.
      const text = await page.evaluate(() => getComputedStyle(document.documentElement).color);
      assert.equal(text, colorScheme === "dark" ? "rgb(255, 255, 255)" : "rgb(0, 0, 0)");
      await page.close();
      assert.deepEqual(mishaps, []);
    }
  });
});

test("templates fit a phone and a desktop, by day and by night, say what manifests say as text, and are downloaded", async () => {
  const folder = await mkdtemp(join(tmpdir(), "templates-test-"));
  try {
    const longest = "W".repeat(100);
    const manifests = { blog: { name: "A blog", description: "News.", category: "writing", icon: "✎" }, club: { name: HOSTILE }, long: { name: longest, description: longest.repeat(10) } };
    for (const [name, manifest] of Object.entries(manifests)) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, "manifest.json"), JSON.stringify(manifest));
    }
    await withHost(NATIVE, { vars: { TEMPLATES_DIR: folder } }, async ({ url }) => {
      for (const [width, colorScheme] of [[360, "light"], [360, "dark"], [1_280, "light"], [1_280, "dark"]]) {
        const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
        const mishaps = [];
        page.on("console", (message) => message.type() === "error" && mishaps.push(message.text()));
        page.on("request", (request) => request.url().startsWith(url) || mishaps.push(`asked for ${request.url()}`));
        await page.goto(`${url}/store`);
        await page.getByRole("heading", { name: "Templates" }).waitFor();
        await page.getByRole("heading", { name: HOSTILE }).waitFor();
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
        const [download] = await Promise.all([
          page.waitForEvent("download"),
          page.getByRole("link", { name: "Download blog.tar.gz" }).click(),
        ]);
        assert.equal(download.suggestedFilename(), "blog.tar.gz");
        const listed = execFileSync("tar", ["-tzf", await download.path()], { encoding: "utf8" });
        assert.equal(listed, "blog/manifest.json\n");
        const background = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
        assert.equal(background, colorScheme === "dark" ? "rgb(15, 20, 19)" : "rgb(246, 247, 246)");
        await page.close();
        assert.deepEqual(mishaps, []);
      }
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
