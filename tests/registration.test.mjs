// Registration end to end: a real server for mail with STARTTLS and a login, real Chromium for the link, an operator's program
// that is told, and what goes wrong. Rules are tested in virtual time, in protocol/tests/registration/ and
// beacon/tests/service/registration.rs.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { ensureAiosmtpd } from "../tools/aiosmtpd.mjs";
import { ADVICE, CHROMIUM_ARGUMENTS, findChromium } from "../tools/chromium.mjs";
import { servePages } from "../tools/pages.mjs";
import { ROOT } from "../tools/steps.mjs";
import { KNOWN, NATIVE_NAMES } from "../tools/variables.mjs";
import { pkcs8 } from "./directory.mjs";
import { NATIVE } from "./hosts.mjs";
import { announce, call, eventually } from "./http.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { freePort } from "./ports.mjs";
import { requireCapsule, runCapsule } from "./program.mjs";
import { PASSWORD, USERNAME, WEBHOOK_SECRET, linkIn, makeCertificates, registrations, signRegistration, startSmtp, startWebhook } from "./registration.mjs";
import { newPeer, signTicket as sign } from "./ticket.mjs";

let directory;
let certificates;
let smtp;
let python;
const running = [];
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "registration-test-"));
  certificates = makeCertificates(directory);
  python = await ensureAiosmtpd();
  smtp = await startSmtp(python, certificates);
});
after(async () => {
  // Those that a failed test has left.
  await Promise.all(running.map((beacon) => beacon.stop()));
  await smtp?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Starts a beacon that registers keys, with a state of its own that stays. */
async function start(vars = {}, { state, port } = {}) {
  const own = state ?? (await mkdtemp(join(directory, "state-")));
  const free = port ?? (await freePort());
  const log = [];
  const external = `http://127.0.0.1:${free}`;
  const beacon = await NATIVE.start({
    vars: {
      EXTERNAL_URLS: external,
      SMTP_HOST: "localhost",
      SMTP_PORT: String(smtp.port),
      SMTP_USERNAME: USERNAME,
      SMTP_PASSWORD: PASSWORD,
      SMTP_CA_FILE: certificates.authority,
      REGISTRATION_REQUIRED: "mainnet",
      MAILS_PER_DAY: "1000",
      ...vars,
    },
    port: free,
    state: own,
    log: (line) => log.push(line),
  });
  running.push(beacon);
  return { ...beacon, url: external, port: free, state: own, log };
}

/** Everything that is on the disk of registrations, as text. */
async function stored(state) {
  const names = (await readdir(state)).filter((name) => name.startsWith("registration.sqlite"));
  return (await Promise.all(names.map((name) => readFile(join(state, name), "latin1")))).join();
}

/** A ticket of a client that reads statuses: one that signs its community. */
const signTicket = (peer) => sign(peer, { community: "mainnet" });

const register = (url, peer, email, more = {}) =>
  call(url, "/register", { json: { registration: signRegistration(peer, { audience: url, email, ...more }) } });

/** Presses the button of the page that a link leads to, as a browser does. */
const press = (link, headers = {}) =>
  fetch(new URL("/verify", link), {
    method: "POST",
    body: new URL(link).searchParams,
    headers: { Origin: new URL(link).origin, "Sec-Fetch-Site": "same-origin", ...headers },
  });

describe("a beacon that lists registered keys alone", () => {
  let beacon;
  let browser;
  let webhook;
  before(async () => {
    webhook = await startWebhook();
    beacon = await start({ REGISTRATION_WEBHOOK: webhook.url, REGISTRATION_WEBHOOK_SECRET: WEBHOOK_SECRET });
    assert.ok(findChromium(), ADVICE);
    browser = await chromium.launch({ executablePath: findChromium(), args: ["--no-sandbox", ...CHROMIUM_ARGUMENTS] });
  });
  after(async () => {
    await browser?.close();
    await beacon?.stop();
    webhook?.close();
  });

  async function open(url) {
    const mishaps = [];
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => mishaps.push(String(error)));
    page.on("console", (message) => message.type() === "error" && mishaps.push(message.text()));
    page.on("request", (request) => request.url().startsWith(beacon.url) || mishaps.push(`asked for ${request.url()}`));
    await page.goto(url);
    return { page, mishaps };
  }

  test("a person presses the button, the key is listed, the operator is told, lists it and removes it", async () => {
    const [peer, stranger] = [newPeer(), newPeer()];
    const email = "o'neil+x@a.example";
    const refused = await announce(beacon.url, signTicket(peer));
    assert.deepEqual([refused.status, refused.json.code], [403, "REGISTRATION_REQUIRED"], refused.text);
    const asked = await register(beacon.url, peer, email);
    assert.deepEqual([asked.status, asked.json.ok], [202, true], asked.text);

    const mail = await smtp.mailTo(email);
    assert.deepEqual([mail.sender, mail.recipients, mail.tls, mail.login], [USERNAME, [email], true, true]);
    assert.equal(mail.greeting, "[127.0.0.1]");
    const headers = Object.fromEntries(mail.headers);
    assert.equal(headers.Subject, "Confirm your address for mainnet at 127.0.0.1");
    assert.deepEqual([headers.From, headers.To, headers["Auto-Submitted"]], [USERNAME, email, "auto-generated"]);
    assert.ok(Math.abs(Date.parse(headers.Date) - Date.now()) < 60_000, headers.Date);
    assert.match(headers["Message-ID"], /^<[0-9a-f]{32}@127\.0\.0\.1>$/);
    const link = linkIn(mail);
    assert.ok(link.startsWith(`${beacon.url}/verify?token=`), "of the configured address");

    const { page, mishaps } = await open(link);
    for (const text of [email, "mainnet", peer.publicKey]) await page.getByText(text, { exact: true }).waitFor();
    assert.equal((await announce(beacon.url, signTicket(peer))).status, 403, "looking is nothing");
    await page.getByRole("button", { name: "Yes, it is mine" }).click();
    await page.getByRole("heading", { name: "Confirmed" }).waitFor();
    await page.close();
    assert.deepEqual(mishaps, []);

    const listed = await announce(beacon.url, signTicket(peer));
    assert.deepEqual([listed.status, listed.json.listed], [200, true], listed.text);
    assert.equal((await announce(beacon.url, signTicket(stranger))).json.code, "REGISTRATION_REQUIRED");
    assert.ok(!(await call(beacon.url, "/peers")).text.includes("o'neil"), "no address is in a list");

    const [told] = await eventually(async () => webhook.told, (told) => told.length === 1);
    assert.deepEqual([told.method, told.path, told.isGenuine], ["POST", "/hook", true]);
    const { verifiedAt, ...fields } = told.json;
    assert.deepEqual(fields, { type: "registered", community: "mainnet", email, publicKey: peer.publicKey });
    assert.ok(Math.abs(told.time - verifiedAt) < PATIENCE_MS);

    const all = await registrations(beacon.state, "list");
    assert.deepEqual([all.code, all.stdout], [0, `${JSON.stringify({ community: "mainnet", email, publicKey: peer.publicKey, verifiedAt })}\n`], all.stderr);
    const nobody = await registrations(beacon.state, "remove", "--email", "nobody@a.example");
    assert.deepEqual([nobody.code, nobody.stderr], [1, "error: nothing of that is registered\n"]);
    const removed = await registrations(beacon.state, "remove", "--key", peer.publicKey, "--community", "mainnet");
    assert.deepEqual([removed.code, removed.stdout], [0, "removed 1\n"], removed.stderr);
    await eventually(() => announce(beacon.url, signTicket(peer)), ({ json }) => json.code === "REGISTRATION_REQUIRED");
    assert.equal((await registrations(beacon.state, "list")).stdout, "");
  });

  test("what an application has signed is pasted into the form", async () => {
    const peer = newPeer();
    const { page, mishaps } = await open(`${beacon.url}/register`);
    const registration = signRegistration(peer, { audience: beacon.url, email: "form@a.example" });
    await page.getByLabel("Registration").fill(JSON.stringify(registration, null, 2));
    await page.getByRole("button", { name: "Send me the link" }).click();
    await page.getByRole("heading", { name: "Look into your mail" }).waitFor();
    await page.goto(linkIn(await smtp.mailTo("form@a.example")));
    await page.getByRole("button", { name: "Yes, it is mine" }).click();
    await page.getByRole("heading", { name: "Confirmed" }).waitFor();
    await page.close();
    assert.deepEqual(mishaps, []);
  });

  test("the library registers the key that Rendezvous keeps in this browser", async () => {
    assert.ok(existsSync(join(ROOT, "client/dist/registration.js")), "the client is not built: npm run build --workspace client");
    const pages = await servePages();
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    try {
      await page.goto(`${pages.url}/client/example/example.css`);
      const reasonOf = (url, beacon, options) =>
        page.evaluate(
          async ([url, beacon, options]) => {
            const { register } = await import(url);
            return register(beacon, options).then(() => "sent", ({ message }) => message);
          },
          [`${url}/client/dist/registration.js`, beacon, options],
        );
      const whom = { community: "mainnet", email: "page@a.example" };
      assert.equal(await reasonOf(pages.url, beacon.url, { ...whom, community: "other" }), "COMMUNITY_UNKNOWN");
      assert.match(await reasonOf(pages.url, beacon.url, { ...whom, email: "page" }), /^email must be/);
      assert.equal(await reasonOf(pages.url, beacon.url, whom), "sent");
      assert.equal((await press(linkIn(await smtp.mailTo(whom.email)))).status, 200);
      const listed = await page.evaluate(
        async ([url, beacon]) => {
          const { Rendezvous } = await import(url);
          const rendezvous = new Rendezvous({ community: "mainnet", peerId: "page", beacons: [beacon] });
          const isSettled = () => rendezvous.status().announced || rendezvous.status().sources[0].reason;
          await rendezvous.start();
          while (!isSettled()) await new Promise((resolve) => rendezvous.addEventListener("status", resolve, { once: true }));
          const status = JSON.stringify(rendezvous.status().sources);
          const { publicKey } = rendezvous;
          await rendezvous.stop();
          return { publicKey, status };
        },
        [`${pages.url}/client/dist/index.js`, beacon.url],
      );
      const { stdout } = await registrations(beacon.state, "list");
      assert.ok(stdout.includes(listed.publicKey), stdout);
      assert.match(listed.status, /"announced":true/);
    } finally {
      await page.close();
      await pages.stop();
    }
  });

  test("capsule register asks for the link, says what comes next, and its key is listed then", async () => {
    requireCapsule();
    const peer = newPeer();
    const env = { RENDEZVOUS_ANNOUNCE_PRIVATE_KEY: pkcs8(peer), NO_PROXY: "*" };
    const run = (...args) => runCapsule(args, { env, cwd: directory });
    const email = "capsule@a.example";
    const announced = () => run("announce", "--once", "--json", "--peer-id", "server", "--beacon", beacon.url);
    const before = await announced();
    assert.deepEqual([before.code, before.stdout.includes("REGISTRATION_REQUIRED")], [1, true], before.stdout);

    const asked = await run("register", beacon.url, "--email", email);
    assert.equal(asked.code, 0, asked.stderr);
    assert.match(asked.stdout, /^registration +taken$/m);
    assert.match(asked.stdout, /Open it within an hour/);
    assert.ok(!asked.stdout.includes(email) && !asked.stderr.includes(email), "what is printed may be in a log");
    assert.equal((await press(linkIn(await smtp.mailTo(email)))).status, 200);
    const after = await announced();
    assert.equal(after.code, 0, after.stdout + after.stderr);

    const other = await run("register", beacon.url, "--email", email, "--community", "other", "--json");
    const { error, issuedAt, ...said } = JSON.parse(other.stdout);
    assert.deepEqual([other.code, said], [1, { ok: false, beacon: beacon.url, community: "other", publicKey: peer.publicKey, code: "COMMUNITY_UNKNOWN", retryAfterMs: null }]);
    assert.ok(error.length > 10 && Math.abs(issuedAt - Date.now()) < PATIENCE_MS, other.stdout);
    // By another name it is another beacon.
    const elsewhere = await run("register", beacon.url.replace("127.0.0.1", "localhost"), "--email", email, "--json");
    assert.deepEqual([elsewhere.code, JSON.parse(elsewhere.stdout).code], [1, "MISDIRECTED_REQUEST"]);
    const nobody = await run("register", "http://127.0.0.1:9", "--email", email, "--json");
    assert.deepEqual([nobody.code, JSON.parse(nobody.stdout).ok], [3, false]);
    for (const [args, expected] of [
      [["--email", "a@b.example\nBcc: c@d.example"], /must be an address such as name@a\.example/],
      [["--email", email, "--community", "a b"], /must be a community/],
      [["--email", email, "--key", "missing.pem"], /missing\.pem/],
      [[], /--email <ADDRESS>/],
    ]) {
      const wrong = await run("register", beacon.url, ...args);
      assert.equal(wrong.code, 2, args.join(" "));
      assert.match(wrong.stderr, expected);
    }
  });

  test("a page of elsewhere cannot press the button for its visitor", async () => {
    await register(beacon.url, newPeer(), "victim@a.example");
    const link = linkIn(await smtp.mailTo("victim@a.example"));
    const evil = createServer().listen(0, "127.0.0.1");
    await once(evil, "listening");
    const html = `<form method="post" action="${beacon.url}/verify"><input name="token" value="${new URL(link).searchParams.get("token")}"><button>x</button></form>`;
    evil.on("connection", (socket) => socket.end(`HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${html.length}\r\nConnection: close\r\n\r\n${html}`));
    const page = await browser.newPage();
    await page.goto(`http://localhost:${evil.address().port}/`);
    const [response] = await Promise.all([page.waitForResponse(`${beacon.url}/verify`), page.getByRole("button").click()]);
    assert.equal(response.status(), 403);
    await page.getByText("a page of another site asks").waitFor();
    await page.close();
    evil.close();
    assert.equal((await press(link, { "Sec-Fetch-Site": "cross-site" })).status, 403);
    assert.equal((await press(link)).status, 200, "the link is good still");
  });

  test("programs that follow every link confirm nothing, and a link is good once", async () => {
    const peer = newPeer();
    await register(beacon.url, peer, "scanned@a.example");
    const link = linkIn(await smtp.mailTo("scanned@a.example"));
    for (let scan = 0; scan < 5; scan += 1) {
      assert.equal((await fetch(link)).status, 200);
      assert.equal((await fetch(link, { method: "HEAD" })).status, 200);
      // Without what every browser says of where a form is from.
      assert.equal((await fetch(new URL("/verify", link), { method: "POST", body: new URL(link).searchParams })).status, 403);
    }
    assert.equal((await announce(beacon.url, signTicket(peer))).status, 403);
    assert.equal((await press(link)).status, 200);
    const again = await press(link);
    assert.equal(again.status, 410);
    assert.match(await again.text(), /this link was used before, or has ended/);
    assert.equal((await fetch(link)).status, 410);
  });

  test("nothing in an address reaches a header, a second recipient or a page", async () => {
    const before = smtp.said().length;
    for (const email of [
      "a@b.example\r\nBcc: everybody@c.example",
      "a@b.example\nSubject: x",
      "a@b.example,c@d.example",
      "<a@b.example>",
      '"a b"@c.example',
      "a@[127.0.0.1]",
      `${"a".repeat(250)}@b.example`,
      "a@b.example\u0000",
      "<script>@b.example",
    ]) {
      const reply = await register(beacon.url, newPeer(), email);
      assert.deepEqual([reply.status, reply.json.code], [400, "MALFORMED"], email);
      assert.ok(!reply.text.includes("everybody"), reply.text);
    }
    await register(beacon.url, newPeer(), "last@a.example");
    await smtp.mailTo("last@a.example");
    assert.equal(smtp.said().length, before + 1);
  });

  test("a redirect of the operator's program is not followed, and it is told again", async () => {
    webhook.told.length = 0;
    webhook.statuses.push(307);
    const peer = newPeer();
    await register(beacon.url, peer, "hook@a.example");
    await press(linkIn(await smtp.mailTo("hook@a.example")));
    const told = await eventually(async () => webhook.told, (told) => told.length === 2);
    assert.deepEqual(told.map(({ path, isGenuine }) => [path, isGenuine]), [["/hook", true], ["/hook", true]]);
    assert.deepEqual(told[0].json, told[1].json);
    assert.ok(told[1].time > told[0].time);
    assert.ok(beacon.log.some((line) => line.includes("REGISTRATION_WEBHOOK answers 307")), beacon.log.join("\n"));
  });

  test("a mail that a server refuses is not tried again, and no log has an address", async () => {
    for (const [email, status] of [["refused1@a.example", 550], ["later1@a.example", 451]]) {
      assert.equal((await register(beacon.url, newPeer(), email)).status, 202);
      await eventually(async () => beacon.log, (log) => log.some((line) => line.includes(`answers ${status}`)));
    }
    assert.equal(beacon.log.filter((line) => line.includes("mail_not_sent")).length, 1, "only the one that is refused for good");
    const again = await smtp.mailTo("later1@a.example");
    assert.match(linkIn(again), /token=/, "at the second try");
    for (const line of beacon.log) assert.ok(!line.includes("@") && !line.includes("token"), line);
  });

  test("what is on the disk is for its owner alone, and has no secret of a link", async () => {
    await register(beacon.url, newPeer(), "disk@a.example");
    const token = new URL(linkIn(await smtp.mailTo("disk@a.example"))).searchParams.get("token");
    for (const name of (await readdir(beacon.state)).filter((name) => name.startsWith("registration.sqlite"))) {
      assert.equal((await stat(join(beacon.state, name))).mode & 0o077, 0, name);
      const bytes = await readFile(join(beacon.state, name));
      assert.ok(!bytes.includes(token) && !bytes.includes(Buffer.from(token, "hex")), name);
    }
  });
});

test("a mail that was not sent when the beacon was killed is sent by the next one, and one that was is not", async () => {
  const tarpit = createServer().listen(0, "127.0.0.1");
  await once(tarpit, "listening");
  const sockets = [];
  tarpit.on("connection", (socket) => sockets.push(socket.on("error", () => {})));
  const first = await start({ SMTP_PORT: String(tarpit.address().port) });
  const [peer, other] = [newPeer(), newPeer()];
  assert.equal((await register(first.url, peer, "killed@a.example")).status, 202);
  await eventually(async () => sockets.length, (count) => count > 0);
  await first.kill();
  sockets.forEach((socket) => socket.destroy());
  tarpit.close();

  const second = await start({}, first);
  const link = linkIn(await smtp.mailTo("killed@a.example"));
  assert.equal((await press(link)).status, 200);
  assert.equal((await register(second.url, other, "sent@a.example")).status, 202);
  const sent = linkIn(await smtp.mailTo("sent@a.example"));
  // Until then it was perhaps not sent, and the next beacon would send another link.
  await eventually(() => stored(second.state), (rows) => /"email":"sent@a\.example"[^}]*"mailed":true/.test(rows));
  await second.kill();
  const third = await start({}, first);
  assert.equal((await announce(third.url, signTicket(peer))).json.listed, true, "what was confirmed stays");
  assert.equal((await press(sent)).status, 200, "a link is good over a restart");
  assert.equal((await announce(third.url, signTicket(other))).json.listed, true);
  await third.stop();
});

test("without TLS to the server that is meant nothing is sent: no password, no address", async () => {
  const heard = [];
  const plain = createServer((socket) => {
    socket.on("error", () => {}).setEncoding("utf8");
    socket.write("220 plain ESMTP\r\n");
    socket.on("data", (text) => {
      heard.push(text);
      socket.write(/^EHLO/i.test(text) ? "250-plain\r\n250 AUTH PLAIN LOGIN\r\n" : "502 no\r\n");
    });
  }).listen(0, "127.0.0.1");
  await once(plain, "listening");
  for (const vars of [{ SMTP_PORT: String(plain.address().port) }, { SMTP_CA_FILE: certificates.other }, { SMTP_HOST: "127.0.0.1" }]) {
    const beacon = await start(vars);
    const before = smtp.said().length;
    assert.equal((await register(beacon.url, newPeer(), "nobody@a.example")).status, 202);
    await eventually(async () => beacon.log, (log) => log.some((line) => line.includes("mail_failed")));
    await beacon.stop();
    assert.equal(smtp.said().length, before, JSON.stringify(vars));
  }
  plain.close();
  assert.ok(heard.length > 0 && heard.every((text) => /^(EHLO|QUIT|STARTTLS)/i.test(text)), heard.join(""));
});

test("what cannot be used is named at the start, and no secret is shown", async () => {
  const tooLong = join(directory, "too-long.pem");
  const certificate = await readFile(certificates.authority, "utf8");
  await writeFile(tooLong, certificate.repeat(Math.ceil(1_048_577 / certificate.length)));
  for (const [vars, expected] of [
    [{ SMTP_CA_FILE: "/missing.pem" }, /SMTP_CA_FILE: \/missing\.pem cannot be used/],
    [{ SMTP_CA_FILE: tooLong }, /it is longer than 1048576 bytes/],
    [{ SMTP_CA_FILE: certificates.key }, /there is no -----BEGIN CERTIFICATE----- in it/],
    [{ SMTP_HOST: "" }, /SMTP_HOST is "": it must be the name of a server for mail/],
    [{ SMTP_PASSWORD: "" }, /SMTP_PASSWORD is "": it must be set where SMTP_USERNAME is/],
    [{ REGISTRATION_REQUIRED: "other" }, /REGISTRATION_REQUIRED is "other"/],
    [{ REGISTRATION_WEBHOOK: "https://a.example/x" }, /REGISTRATION_WEBHOOK_SECRET is ""/],
    [{ SMTP_PASWORD: "x" }, /SMTP_PASWORD is not a setting of this program: SMTP_PASSWORD is/],
  ]) {
    await assert.rejects(start(vars), (error) => {
      assert.match(error.message, expected);
      assert.ok(!error.message.includes(PASSWORD), error.message);
      return true;
    });
  }
});

test("where no beacon has registered anybody, list and remove name the file that is not there", async () => {
  const state = await mkdtemp(join(directory, "empty-"));
  const listed = await registrations(state, "list");
  assert.deepEqual([listed.code, listed.stdout, await readdir(state)], [1, "", []]);
  assert.ok(listed.stderr.startsWith(`error: ${join(state, "registration.sqlite")} is not there\nhint: set STATE`), listed.stderr);
  assert.equal((await registrations(state, "remove", "--email", "a@b.example")).code, 1);
  for (const args of [["remove"], ["remove", "--email", "x"], ["remove", "--key", "x"], ["remove", "--community", "mainnet"], []]) {
    assert.equal((await registrations(state, ...args)).code, 2, args.join(" "));
  }
});

test("the Worker refuses each of these variables by its name", () => {
  const names = NATIVE_NAMES.filter((name) => /^(SMTP|REGISTRATION|MAILS)_/.test(name));
  assert.equal(names.length, 10);
  for (const name of names) {
    assert.deepEqual(KNOWN.problemsOf("wrangler.toml", { [name]: "x" }), [
      `wrangler.toml: ${name} is a variable of the program for one machine alone.`,
    ]);
  }
});
