// `capsule communities`: an origin's program against a real hub, and the list for a static host.

import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { list, pkcs8 } from "./directory.mjs";
import { NATIVE, withHost } from "./hosts.mjs";
import { requireCapsule, runCapsule } from "./program.mjs";
import { newPeer } from "./ticket.mjs";

const origin = newPeer();
const publisher = newPeer();
const CHESS = { name: "chess", access: "open", description: "Blitz", tags: ["games"], beacons: [{ url: "https://one.example" }, { url: "https://two.example" }] };

describe("capsule communities", () => {
  let directory;
  let hub;
  before(async () => {
    requireCapsule();
    directory = await mkdtemp(join(tmpdir(), "communities-test-"));
    hub = await NATIVE.start({ vars: { HUB_ORIGINS: origin.publicKey } });
  });
  after(async () => {
    await hub.stop();
    await rm(directory, { recursive: true, force: true });
  });
  const file = async (name, content) => {
    await writeFile(join(directory, name), typeof content === "string" ? content : JSON.stringify(content));
    return name;
  };
  const run = async (key, ...args) => {
    const env = { RENDEZVOUS_CAPSULE_PRIVATE_KEY: pkcs8(key), NO_PROXY: "*" };
    const { code, stdout, stderr } = await runCapsule(["communities", ...args, "--json"], { env, cwd: directory });
    return { code, stderr, said: stdout ? JSON.parse(stdout) : undefined };
  };

  test("an origin lists a community, says something else of it, and takes it off", async () => {
    const path = await file("chess.json", CHESS);
    const first = await run(origin, "put", path, "--hub", hub.url);
    assert.equal(first.code, 0, first.stderr);
    assert.deepEqual([first.said.ok, first.said.name, first.said.origin], [true, "chess", origin.publicKey]);
    assert.deepEqual(first.said.hubs, [{ hub: hub.url, ok: true, code: null, error: null }]);
    const [entry] = (await list(hub.url)).json.entries;
    assert.deepEqual(entry.payload.beacons.map(({ url }) => url), CHESS.beacons.map(({ url }) => url));
    assert.equal(entry.payload.expiresAt - entry.payload.updated, 30 * 86_400_000);

    // The ids were drawn once: a beacon's rank stays.
    const written = JSON.parse(await readFile(join(directory, path), "utf8"));
    assert.deepEqual(written.beacons, entry.payload.beacons);
    await file("chess.json", { ...written, description: "Slow" });
    assert.equal((await run(origin, "put", path, "--hub", hub.url, "--lifetime", "1h")).code, 0);
    const [changed] = (await list(hub.url)).json.entries;
    assert.deepEqual([changed.payload.description, changed.payload.beacons], ["Slow", entry.payload.beacons]);

    const removed = await run(origin, "remove", "chess", "--hub", hub.url);
    assert.equal(removed.code, 0, removed.stderr);
    assert.deepEqual((await list(hub.url)).json.entries, []);
  });

  test("each hub says for itself what it makes of a record", async () => {
    const path = await file("go.json", { name: "go", access: "invite-only" });
    const stranger = await run(newPeer(), "put", path, "--hub", hub.url);
    assert.deepEqual([stranger.code, stranger.said.ok, stranger.said.hubs[0].code], [1, false, "ORIGIN_MISMATCH"]);
    const both = await run(origin, "put", path, "--hub", hub.url, "--hub", "http://127.0.0.1:9");
    assert.equal(both.code, 3);
    assert.deepEqual(both.said.hubs.map(({ ok }) => ok), [true, false]);
    await withHost(NATIVE, {}, async ({ url }) => {
      const elsewhere = await run(origin, "put", path, "--hub", url);
      assert.deepEqual([elsewhere.code, elsewhere.said.hubs[0].code], [1, "NOT_FOUND"]);
    });
    assert.equal((await run(origin, "remove", "go", "--hub", hub.url)).code, 0);
  });

  test("what no hub would take is said before anybody is asked, and nothing is written", async () => {
    for (const [content, reason] of [
      ["{", /does not describe a community/],
      [{ access: "open" }, /name is missing/],
      [{ ...CHESS, access: "closed" }, /access must be/],
      [{ ...CHESS, beacons: [{ url: "http://one.example" }] }, /beacons must be/],
      [{ ...CHESS, beacons: [{ url: "https://a.one.example" }, { url: "https://b.one.example" }] }, /one registrable domain, one\.example/],
      [{ ...CHESS, updated: 1 }, /updated is what this program fills in/],
      [{ ...CHESS, more: 1 }, /no field more/],
      [{ ...CHESS, description: "x".repeat(281) }, /description must have/],
    ]) {
      const path = await file("wrong.json", content);
      const { code, stderr } = await run(origin, "put", path, "--hub", "http://127.0.0.1:9");
      assert.equal(code, 2, stderr);
      assert.match(stderr, reason);
      assert.equal(await readFile(join(directory, path), "utf8"), typeof content === "string" ? content : JSON.stringify(content));
    }
    assert.equal((await run(origin, "put", "absent.json", "--hub", hub.url)).code, 2);
    assert.equal((await run(origin, "put", "wrong.json", "--hub", "hub.example")).code, 2);
  });

  test("what hubs list is published as a signed file, and read by whoever trusts its key", async () => {
    assert.equal((await run(publisher, "publish", "--hub", hub.url, "--out", "site")).code, 1, "an empty hub empties no list");
    for (const name of ["one", "two"]) {
      const path = await file(`${name}.json`, { ...CHESS, name, beacons: [] });
      assert.equal((await run(origin, "put", path, "--hub", hub.url)).code, 0);
    }
    const published = await run(publisher, "publish", "--hub", `${hub.url},http://127.0.0.1:9`, "--out", "site");
    assert.equal(published.code, 0, published.stderr);
    assert.deepEqual([published.said.entries, published.said.refused, published.said.unreachable], [2, 0, 1]);
    assert.deepEqual((await readdir(join(directory, "site"))).sort(), ["communities.json", "communities.json.sig"]);
    const text = await readFile(join(directory, "site/communities.json"), "utf8");
    assert.ok(text.startsWith('{"type":"communities"'));

    const verify = (...args) => run(origin, "verify", "site/communities.json", "--public-key", publisher.publicKey, ...args);
    const { code, said } = await verify();
    assert.equal(code, 0);
    assert.deepEqual(said.entries.map(({ origin, entry }) => [origin, entry.name]).sort(), [[origin.publicKey, "one"], [origin.publicKey, "two"]]);
    assert.deepEqual(said.refused, {});
    const older = await verify("--newest-seen", String(said.issuedAt + 1));
    assert.deepEqual([older.code, older.said.code], [1, "ROLLBACK"]);
    const other = await run(origin, "verify", "site/communities.json", "--public-key", origin.publicKey);
    assert.deepEqual([other.code, other.said.code], [1, "SIGNATURE_INVALID"]);
    await file("site/communities.json", text.replace('"one"', '"eno"'));
    assert.deepEqual((await verify()).said.code, "SIGNATURE_INVALID");
    // It is not a capsule, whoever signed it.
    await file("site/communities.json", text);
    const { code: asCapsule, stdout } = await runCapsule(["verify", "site/communities.json", "--public-key", publisher.publicKey, "--json"], { cwd: directory });
    assert.deepEqual([asCapsule, JSON.parse(stdout).code], [1, "MALFORMED"]);
    const nobody = await run(publisher, "publish", "--hub", "http://127.0.0.1:9", "--out", "site");
    assert.equal(nobody.code, 3);
    assert.equal(await readFile(join(directory, "site/communities.json"), "utf8"), text, "what is there stays");
  });
});
