// The attacks on repositories that The Update Framework lists (specification 1.0.33, section 1.5.2), by its names, played
// by the host of a capsule, with and without stolen keys, against both readers: the capsule program and the client.
//
// "Extraneous dependencies" has no counterpart: a capsule names nothing that a reader would fetch. "Wrong software
// installation" is here the capsule of another community.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Rendezvous, Root, defaultHost, memoryStore } from "../client/build/internals.js";
import { serve, serveDrip, serveEndlessBody, serveHtml, started } from "./hostile.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { requireCapsule, runCapsule } from "./program.mjs";
import { newKey, signCapsule, signRoot } from "./publisher.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const COMMUNITY = "attacked";
/** For what a host never ends: nobody else is asked then. */
const BRIEF_MS = 2_000;

const [rootA, rootB, rootC, publisher, cosigner, stranger] = Array.from({ length: 6 }, newKey);
const roles = { community: COMMUNITY, rootKeys: [rootA, rootB, rootC], rootThreshold: 2, publisherKeys: [publisher] };
const FIRST = signRoot([rootA, rootB], roles);
const GIVEN = FIRST["1.root.json"];
const peer = newPeer();
const ticket = () => signTicket(peer, { community: COMMUNITY });
const capsule = (keys, fields) => signCapsule(keys, { community: COMMUNITY, peers: [ticket()], ...fields });

let scratch;
before(async () => {
  requireCapsule();
  scratch = await mkdtemp(join(tmpdir(), "attacks-test-"));
});
after(() => rm(scratch, { recursive: true, force: true }));

/**
 * @param {Record<string, string>} files What the host serves, by name; it may be changed.
 */
async function host(context, files) {
  const serving = serve(({ url }, response) => {
    const file = files[url.slice(1).replace(/\?.*/, "")];
    response.writeHead(file === undefined ? 404 : 200).end(file ?? "not found");
  });
  const [server] = await started(context, serving);
  return server;
}

/** A browser, with what it remembers from visit to visit. */
class Browser {
  #store = memoryStore();

  /** One visit: until every capsule was asked. */
  async read(...urls) {
    return this.readWithin(PATIENCE_MS, ...urls);
  }

  /** The same, waiting for so long for each file. */
  async readWithin(timeoutMs, ...urls) {
    const capsules = urls.map((url) => ({ url: `${url}/peers.json`, root: new Root(GIVEN) }));
    const options = { community: COMMUNITY, peerId: "reader", capsules, timeoutMs };
    const rendezvous = new Rendezvous(options, { ...defaultHost(), openStore: async () => this.#store });
    const asked = () => rendezvous.status().sources.every(({ successes, failures }) => successes + failures > 0);
    await rendezvous.start();
    while (!asked()) await once(rendezvous, "status");
    const { live } = rendezvous.peers();
    const sources = rendezvous.status().sources;
    await rendezvous.stop();
    return { codes: sources.map(({ reason }) => reason ?? "ok"), live: live.map(({ peerId }) => peerId), sources };
  }
}

/** The program, with the root in a file and what else a reader remembers in arguments. */
async function program(url, args = []) {
  const root = join(scratch, "1.root.json");
  await writeFile(root, GIVEN);
  const given = ["--json", "--community", COMMUNITY, "--root", root];
  const run = await runCapsule(["verify", `${url}/peers.json`, ...given, ...args]);
  const report = JSON.parse(run.stdout);
  return { exit: run.code, code: report.ok ? "ok" : report.code, report };
}

/** Both readers, who know nothing but the first root, refuse what is at the address, each with its code. */
async function refused(url, code, { client = code } = {}) {
  const read = await new Browser().read(url);
  assert.deepEqual({ codes: read.codes, live: read.live }, { codes: [client], live: [] });
  const verified = await program(url);
  assert.equal(verified.code, code);
  assert.notEqual(verified.exit, 0);
}

/** Both accept it: an attack that is refused for another reason would show nothing. */
async function accepted(url) {
  const read = await new Browser().read(url);
  assert.deepEqual({ codes: read.codes, live: read.live }, { codes: ["ok"], live: [peer.peerId] });
  assert.equal((await program(url)).code, "ok");
}

test("no attack: the capsule is accepted", async (t) => {
  const { url } = await host(t, capsule([publisher]));
  await accepted(url);
});

test("arbitrary installation: a capsule by a key of the host's own, a root by keys of its own", async (t) => {
  const files = capsule([stranger]);
  const { url } = await host(t, files);
  await refused(url, "SIGNATURE_INVALID");
  const keys = [newKey(), newKey()];
  Object.assign(files, signRoot(keys, { ...roles, rootVersion: 2, rootKeys: keys, publisherKeys: [stranger] }));
  await refused(url, "THRESHOLD_NOT_MET");
});

test("endless data: a file that does not end is given up at its limit", async (t) => {
  const [{ url }] = await started(t, serveEndlessBody());
  const files = capsule([publisher]);
  const padded = await host(t, { ...files, "peers.json": files["peers.json"].padEnd(1_048_577) });
  for (const endless of [url, padded.url]) {
    const read = await new Browser().read(endless);
    assert.deepEqual(read.codes, ["TOO_LARGE"]);
    const verified = await program(endless);
    assert.deepEqual([verified.exit, verified.code], [1, "MALFORMED"]);
  }
});

test("fast-forward: dates and numbers far ahead are refused, and a new root forgets what was a little ahead", async (t) => {
  const files = capsule([publisher], { issuedAt: Date.now() + 86_400_000 });
  const { url } = await host(t, files);
  await refused(url, "NOT_YET_VALID");

  const jumped = signRoot([rootA, rootB], { ...roles, rootVersion: 1_000_000 });
  const [json, lines] = Object.values(jumped);
  Object.assign(files, capsule([publisher]), { "2.root.json": json, "2.root.json.sigs": lines });
  await refused(url, "ROOT_OUT_OF_SEQUENCE");

  // As far ahead as clocks may differ.
  const browser = new Browser();
  const ahead = Date.now() + 10_000;
  Object.assign(files, capsule([publisher], { issuedAt: ahead }));
  delete files["2.root.json.sigs"];
  assert.deepEqual((await browser.read(url)).codes, ["ok"]);
  Object.assign(files, capsule([publisher]));
  assert.deepEqual((await browser.read(url)).codes, ["ROLLBACK"]);
  assert.equal((await program(url, ["--newest-seen", String(ahead)])).code, "ROLLBACK");
  Object.assign(files, signRoot([rootA, rootB], { ...roles, rootVersion: 2, publisherKeys: [cosigner] }), capsule([cosigner]));
  assert.deepEqual((await browser.read(url)).codes, ["ok"]);
});

test("indefinite freeze: an old capsule ends, and so does a root whose successor is hidden", async (t) => {
  const frozen = capsule([publisher], { issuedAt: Date.now() - 3_600_000, expiresAt: Date.now() - 1 });
  await refused((await host(t, frozen)).url, "EXPIRED");

  const files = {
    ...capsule([publisher]),
    ...signRoot([rootA, rootB], { ...roles, rootVersion: 2, expiresAt: Date.now() - 1 }),
  };
  await refused((await host(t, files)).url, "ROOT_EXPIRED");
});

test("malicious mirrors: one that has nothing, or a page, or an old copy, costs only itself", async (t) => {
  const good = await host(t, capsule([publisher]));
  const old = await host(t, capsule([publisher], { expiresAt: Date.now() - 1, issuedAt: Date.now() - 2 }));
  const [empty, [page]] = [await host(t, {}), await started(t, serveHtml())];
  const read = await new Browser().read(empty.url, page.url, old.url, good.url);
  assert.deepEqual(read.codes, ["HTTP_404", "SIGNATURE_INVALID", "EXPIRED", "ok"]);
  assert.deepEqual(read.live, [peer.peerId]);
  const codes = [];
  for (const { url } of [empty, page, old, good]) codes.push((await program(url)).code);
  assert.deepEqual(codes, ["HTTP_STATUS", "SIGNATURE_INVALID", "EXPIRED", "ok"]);
});

test("mix-and-match: a file and a signature, cosignature or root that do not belong together", async (t) => {
  const two = { ...roles, rootVersion: 2, publisherKeys: [publisher, cosigner], publisherThreshold: 2 };
  const root = signRoot([rootA, rootB], two);
  const [one, other] = [capsule([publisher, cosigner]), capsule([publisher, cosigner], { issuedAt: Date.now() - 1_000 })];
  await accepted((await host(t, { ...root, ...one })).url);
  await refused((await host(t, { ...root, ...one, "peers.json.sig": other["peers.json.sig"] })).url, "SIGNATURE_INVALID");
  await refused((await host(t, { ...root, ...one, "peers.json.sigs": other["peers.json.sigs"] })).url, "THRESHOLD_NOT_MET");
  // The root of another community, by the same keys.
  const elsewhere = signRoot([rootA, rootB], { ...two, community: "another" });
  await refused((await host(t, { ...elsewhere, ...one })).url, "COMMUNITY_MISMATCH");
});

test("rollback: an older capsule, and an older root, than were seen before", async (t) => {
  const browser = new Browser();
  const newest = capsule([publisher]);
  const files = { ...newest };
  const { url } = await host(t, files);
  assert.deepEqual((await browser.read(url)).codes, ["ok"]);
  Object.assign(files, capsule([publisher], { issuedAt: Date.now() - 60_000 }));
  assert.deepEqual((await browser.read(url)).codes, ["ROLLBACK"]);
  const { issuedAt } = JSON.parse(newest["peers.json"]);
  assert.equal((await program(url, ["--newest-seen", String(issuedAt)])).code, "ROLLBACK");

  // The publisher's key is taken out by the second root; then the host serves what was there before.
  Object.assign(files, signRoot([rootA, rootB], { ...roles, rootVersion: 2, publisherKeys: [cosigner] }), capsule([cosigner]));
  assert.deepEqual((await browser.read(url)).codes, ["ok"]);
  for (const name of Object.keys(files)) delete files[name];
  Object.assign(files, capsule([publisher]));
  assert.deepEqual((await browser.read(url)).codes, ["SIGNATURE_INVALID"]);
});

test("slow retrieval: a byte now and then is not waited for", async (t) => {
  const [{ url }] = await started(t, serveDrip());
  const read = await new Browser().readWithin(BRIEF_MS, url);
  assert.deepEqual(read.codes, ["TIMEOUT"]);
  const verified = await program(url, ["--timeout", `${BRIEF_MS}ms`]);
  assert.deepEqual([verified.exit, verified.code], [3, "TIMED_OUT"]);
});

test("key compromise: fewer keys than the threshold sign nothing, and what is stolen can be taken out", async (t) => {
  // One root key of two.
  const alone = signRoot([rootC], { ...roles, rootVersion: 2, publisherKeys: [stranger] });
  await refused((await host(t, { ...alone, ...capsule([stranger]) })).url, "THRESHOLD_NOT_MET");

  // One publisher of two.
  const two = { ...roles, rootVersion: 2, publisherKeys: [publisher, cosigner], publisherThreshold: 2 };
  const stolen = capsule([publisher, stranger]);
  await refused((await host(t, { ...signRoot([rootA, rootB], two), ...stolen })).url, "THRESHOLD_NOT_MET");

  // The one publisher there is: until the next root.
  const files = capsule([publisher]);
  const { url } = await host(t, files);
  await accepted(url);
  Object.assign(files, signRoot([rootA, rootB], { ...roles, rootVersion: 2, publisherKeys: [cosigner] }));
  await refused(url, "SIGNATURE_INVALID");

  // At once, by another publisher of the same root.
  const either = signRoot([rootA, rootB], { ...roles, rootVersion: 2, publisherKeys: [publisher, cosigner] });
  const browser = new Browser();
  const revoked = { publisherKeys: [publisher.text], ticketKeys: [peer.publicKey] };
  for (const name of Object.keys(files)) delete files[name];
  Object.assign(files, either, capsule([cosigner], { revoked }));
  // And with it, a ticket key that was stolen.
  const read = await browser.read(url);
  assert.deepEqual({ codes: read.codes, live: read.live }, { codes: ["ok"], live: [] });
  assert.deepEqual(read.sources[0].refusedTickets, { REVOKED_PUBLIC_KEY: 1 });
  assert.deepEqual((await program(url)).report.refused, { REVOKED_PUBLIC_KEY: 1 });
  Object.assign(files, capsule([publisher]));
  assert.deepEqual((await browser.read(url)).codes, ["SIGNATURE_INVALID"]);
  const remembered = join(scratch, "revoked.json");
  await writeFile(remembered, JSON.stringify(revoked));
  assert.equal((await program(url, ["--revoked", remembered])).code, "SIGNATURE_INVALID");
});

test("wrong software installation: the capsule of another community, by the same keys", async (t) => {
  const { url } = await host(t, signCapsule([publisher], { community: "another", peers: [ticket()] }));
  await refused(url, "COMMUNITY_MISMATCH");
});
