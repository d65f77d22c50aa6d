// `rendezvous-beacon/mailbox` in real Chromium, each page in a browser and a profile of its own, against the program for one
// machine: messages for a page that is closed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { transform } from "esbuild";
import { chromium } from "playwright-core";
import { CASES } from "../client/test/mailbox-vectors.mjs";
import { ADVICE, CHROMIUM_ARGUMENTS, findChromium } from "../tools/chromium.mjs";
import { servePages } from "../tools/pages.mjs";
import { ROOT } from "../tools/steps.mjs";
import { NATIVE } from "./hosts.mjs";
import { eventually } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { MESSENGER, finished, requireMessenger } from "./program.mjs";

let scratch, pages, relays;
const browsers = [];

before(async () => {
  assert.ok(findChromium(), ADVICE);
  requireMessenger();
  assert.ok(existsSync(join(ROOT, "client/dist/mailbox.js")), "the client is not built: npm run build --workspace client");
  scratch = await mkdtemp(join(tmpdir(), "mailbox-page-test-"));
  const launch = async (name) =>
    browsers.push(await chromium.launchPersistentContext(join(scratch, name), { executablePath: findChromium(), args: CHROMIUM_ARGUMENTS }));
  [pages, relays] = await Promise.all([servePages(), Promise.all([0, 1].map(() => NATIVE.start({ vars: { DOORS: "v1" } }))), launch("ann"), launch("bob")]);
  for (const browser of browsers) browser.setDefaultTimeout(PATIENCE_MS);
});

after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await Promise.all([pages?.stop(), relays?.[1].stop()]);
  if (scratch) await rm(scratch, { recursive: true, force: true, maxRetries: 5 });
});

/** A page with a mailbox at these relays, as `mailbox`. */
async function open(browser, origins) {
  const page = await browsers[browser].newPage();
  await page.goto(`${pages.url}/client/example/example.css`);
  await page.evaluate(
    async ([url, relays]) => {
      const { Mailbox } = await import(url);
      window.mailbox = await Mailbox.open({ relays });
    },
    [`${pages.url}/client/dist/mailbox.js`, origins],
  );
  return page;
}

/** What a page collects, as text. */
const collect = (page) =>
  page.evaluate(async () => {
    const texts = [];
    await mailbox.collect(({ text }) => void texts.push(text));
    return texts;
  });

describe("two pages", () => {
  test("leave each other messages while the other one is closed, and know when they were read", async () => {
    const origins = relays.map(({ url }) => url);
    const first = await open(1, origins);
    const [invite, bob] = await first.evaluate(async () => [await mailbox.invite(), mailbox.publicKey]);
    await first.close();

    let ann = await open(0, []);
    const annsKey = await ann.evaluate(() => mailbox.publicKey);
    const sent = await ann.evaluate(async (invite) => {
      const contact = await mailbox.contact(invite);
      const { state, relays } = await contact.send("Are you there?");
      return { state, relays, owner: contact.owner };
    }, invite);
    assert.deepEqual([sent.state, [...sent.relays].sort(), sent.owner], ["waiting", [...origins].sort(), bob]);
    await ann.close();

    // Bob's page is opened anew, with what its browser has stored. One of the relays is gone for good.
    await relays[0].kill();
    const again = await open(1, origins);
    assert.equal(await again.evaluate(() => mailbox.publicKey), bob);
    const messages = await again.evaluate(async () => {
      const messages = [];
      await mailbox.collect(({ from, text }) => void messages.push([from, text]));
      return messages;
    });
    assert.deepEqual(messages, [[annsKey, "Are you there?"]]);
    assert.deepEqual(await collect(again), []);

    ann = await open(0, []);
    const heard = await ann.evaluate(async () => {
      const states = [];
      mailbox.addEventListener("receipt", ({ detail }) => states.push(detail.outcome.state));
      const [contact] = await mailbox.contacts();
      const [receipt] = await contact.receipts();
      await mailbox.refresh();
      return [receipt.state, (await receipt.settled).state, states];
    });
    assert.deepEqual(heard, ["waiting", "read", ["read"]]);

    // Now over a slot of her own, with an invite in the message; Bob's page looks by itself, and answers.
    const home = await open(0, [origins[1]]);
    await home.evaluate(async () => {
      const [contact] = await mailbox.contacts();
      await contact.send("Hello again");
      window.receipt = await contact.send(await mailbox.invite());
    });
    await again.evaluate(() => {
      window.texts = [];
      mailbox.subscribe(async ({ text }) => {
        if (text.startsWith("rendezvous:")) await (await mailbox.contact(text)).send("I am!");
        texts.push(text.slice(0, 11));
      });
    });
    await again.waitForFunction(() => texts.length === 2);
    assert.deepEqual(await again.evaluate(() => texts), ["Hello again", "rendezvous:"]);
    await home.evaluate(() => {
      window.texts = [];
      mailbox.subscribe(({ text }) => void texts.push(text));
    });
    await home.waitForFunction(() => texts.length === 1);
    assert.deepEqual(await home.evaluate(async () => [texts, (await receipt.settled).state]), [["I am!"], "read"]);
  });

  test("need no more than the lines of README.md to leave one, and to know that it was read", async () => {
    const [, lines] = [...(await readFile(join(ROOT, "README.md"), "utf8")).matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
    const { code } = await transform(lines.replace("rendezvous-beacon/mailbox", `${pages.url}/client/dist/mailbox.js`), { loader: "ts" });
    const bob = await open(1, [relays[1].url]);
    const ann = await browsers[0].newPage();
    const said = [];
    ann.on("console", (message) => said.push(message.text()));
    await ann.goto(`${pages.url}/client/example/example.css`);
    await ann.evaluate((invite) => void (window.invite = invite), await bob.evaluate(() => mailbox.invite()));
    await ann.addScriptTag({ type: "module", content: code });
    await eventually(() => collect(bob), (texts) => texts.includes("See you at eight"));
    await ann.evaluate(() => window.dispatchEvent(new Event("focus"))); // as when she comes back to the page
    await eventually(() => said, (said) => said.includes("read"));
    await Promise.all([ann, bob].map((page) => page.close()));
  });

  test("share what one browser has stored, and no number is given twice", async () => {
    const origins = [relays[1].url];
    const bob = await open(1, origins);
    const invite = await bob.evaluate(() => mailbox.invite());
    const tabs = await Promise.all([open(0, []), open(0, [])]);
    const sent = await Promise.all(
      tabs.map((page, at) =>
        page.evaluate(async ([invite, at]) => {
          const contact = await mailbox.contact(invite);
          const receipts = [];
          for (let each = 0; each < 3; each++) receipts.push(await contact.send(`${at}.${each}`));
          return receipts.map(({ relays, reason }) => [relays.length, reason]);
        }, [invite, at]),
      ),
    );
    assert.deepEqual(sent.flat(), Array(6).fill([1, undefined]));
    assert.deepEqual((await collect(bob)).sort(), ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]);
  });

  test("keep keys that nobody can take out of the browser", async () => {
    const page = await open(1, []);
    const kinds = await page.evaluate(async () => {
      const database = await new Promise((resolve) => {
        const request = indexedDB.open("rendezvous-beacon");
        request.onsuccess = () => resolve(request.result);
      });
      const all = await new Promise((resolve) => {
        const request = database.transaction("values").objectStore("values").getAll();
        request.onsuccess = () => resolve(request.result);
      });
      const found = [];
      const look = (value) => {
        if (value instanceof CryptoKey) found.push([value.type, value.algorithm.name, value.extractable]);
        else if (value && typeof value === "object") Object.values(value).forEach(look);
      };
      look(all);
      return found.filter(([type]) => type === "private");
    });
    assert.deepEqual([...new Set(kinds.map(([, name]) => name))].sort(), ["Ed25519", "X25519"]);
    assert.ok(kinds.every(([, , isExtractable]) => !isExtractable));
  });
});

test("a page and the program leave each other messages, and both know when theirs were read", async () => {
  const origins = [relays[1].url];
  const store = join(scratch, "program");
  /** Runs the program with this on its standard input, and gives the lines that it prints. */
  const run = async (input, ...args) => {
    const child = spawn(MESSENGER, [...args, "--json"], { cwd: scratch, env: { RENDEZVOUS_STORE: store, PATH: process.env.PATH } });
    child.stdin.on("error", () => {}).end(input);
    const { stdout, stderr } = await finished(child);
    assert.ok(stdout, stderr);
    return stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  };
  await run("", "mailbox", "open", "--relay", origins[0]);
  const [{ invite }] = await run("", "mailbox", "invite", "new", "page");
  const page = await open(0, origins);
  const send = (text) =>
    page.evaluate(async ([invite, text]) => {
      const contact = await mailbox.contact(invite);
      return (await contact.send(text)).relays;
    }, [invite, text]);
  const states = () =>
    page.evaluate(async (invite) => {
      await mailbox.refresh();
      return (await (await mailbox.contact(invite)).receipts()).map(({ state }) => state);
    }, invite);
  const inbox = join(scratch, "inbox");
  const collected = async () => (await run("", "mailbox", "collect", "--output", inbox)).slice(0, -1).map(({ text }) => text);

  // Over the invite, then over a slot that the page has made: the program strikes the invite off.
  assert.deepEqual(await send("Grüße"), origins);
  assert.deepEqual(await collected(), ["Grüße"]);
  assert.deepEqual(await states(), ["read"]);
  assert.deepEqual(await send("again"), origins);
  assert.deepEqual(await collected(), ["again"]);
  assert.deepEqual(await states(), ["read", "read"]);

  await run(await page.evaluate(() => mailbox.invite()), "contact", "add", "page");
  for (const text of ["and back", "over a slot of its own"]) {
    await run(text, "mailbox", "deposit", "page");
    assert.deepEqual(await collect(page), [text]);
    const [{ messages }] = await run("", "outbox");
    assert.deepEqual([...new Set(messages.map(({ state }) => state))], ["read"]);
  }
});

test("every vector of mailboxes has the expected outcome in Chromium too", async () => {
  const page = await open(1, []);
  const files = {};
  for (const name of Object.keys(CASES)) files[name] = JSON.parse(await readFile(join(ROOT, `tests/vectors/mailbox/${name}.json`), "utf8"));
  const wrong = await page.evaluate(
    async ([files, base]) => {
      const [internals, { checkMailboxVectors }] = await Promise.all([import(`${base}/client/build/internals.js`), import(`${base}/client/test/mailbox-vectors.mjs`)]);
      return checkMailboxVectors(files, internals);
    },
    [files, pages.url],
  );
  assert.deepEqual(wrong, []);
});
