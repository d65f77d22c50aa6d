// A capsule on IPFS: the line of README.md publishes to a Helia node, and the program and the client read it through a
// gateway's path.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ensureHelia } from "../tools/helia.mjs";
import { ROOT } from "../tools/steps.mjs";
import { serveJson, started } from "./hostile.mjs";
import { CAPSULE, finished, requireCapsule, runCapsule } from "./program.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

/** Does what Kubo's program of this name does for the arguments in README.md, at the node that $NODE names. */
const IPFS = `#!/bin/bash
set -eu
case "$1 $2" in
  "add -rQ") exec curl --silent --show-error --fail --get --data-urlencode "directory=$3" "$NODE/add" ;;
  "name publish")
    [[ "$3 $4" == "--ttl 5m" ]]
    exec curl --silent --show-error --fail --get --data-urlencode "root=$5" "$NODE/publish" ;;
esac
exit 1
`;
const TTL_MS = 300_000;

let scratch;
let load;
before(async () => {
  requireCapsule();
  scratch = await mkdtemp(join(tmpdir(), "ipfs-test-"));
  load = await ensureHelia();
});
after(() => rm(scratch, { recursive: true, force: true }));

/** Starts a node, what the program above asks of it, and a gateway to it. */
async function startNode(context) {
  const [{ createHeliaLight }, { ipns }, { unixfs }, { CID }] = await Promise.all(
    ["helia", "@helia/ipns", "@helia/unixfs", "multiformats"].map(load),
  );
  const node = await createHeliaLight();
  await node.start();
  context.after(() => node.stop());
  const [files, names] = [unixfs(node), ipns(node)];
  let sayItIsPublished;
  const isPublished = new Promise((resolve) => (sayItIsPublished = resolve));
  let publicKey;

  const add = async (directory) => {
    let root = await files.addDirectory();
    for (const name of await readdir(directory)) root = await files.cp(await files.addBytes(await readFile(join(directory, name))), root, name);
    return `${root}\n`;
  };
  const publish = async (root) => {
    const published = await names.publish("self", CID.parse(root), { ttl: TTL_MS, offline: true });
    publicKey = published.publicKey;
    sayItIsPublished(String(published.name));
    return "";
  };
  const read = async (path) => {
    // Whoever asks names what was published, by the key.
    const [, name, file] = /^(\/ipns\/[^/]+)\/([^/]+)$/.exec(path);
    assert.equal(name, await isPublished);
    for await (const { record } of names.resolve(publicKey, { offline: true })) {
      const root = CID.parse(Buffer.from(record.value).toString().replace("/ipfs/", ""));
      const parts = [];
      for await (const part of files.cat(root, { path: file })) parts.push(part);
      return Buffer.concat(parts);
    }
    return undefined;
  };
  const server = createServer(async ({ url }, response) => {
    const { pathname, searchParams } = new URL(url, "http://node");
    const answer = { "/add": () => add(searchParams.get("directory")), "/publish": () => publish(searchParams.get("root")) }[pathname];
    try {
      const content = await (answer ?? (() => read(pathname)))();
      response.writeHead(200, { "Access-Control-Allow-Origin": "*", "Content-Type": "application/json", "X-Ipfs-Path": pathname }).end(content);
    } catch {
      response.writeHead(404, { "Access-Control-Allow-Origin": "*" }).end();
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => server.close());
  return { url: `http://127.0.0.1:${server.address().port}`, isPublished };
}

test("is published by the line of README.md, and read through a gateway's path", async (context) => {
  const [, line] = /`capsule (watch [^`]*ipfs name publish[^`]*)`/.exec((await readFile(join(ROOT, "README.md"), "utf8")).replaceAll("\n", " "));
  const [, options, command] = /^(.*) --run '([^']+)'$/.exec(line);
  const node = await startNode(context);
  const bin = join(scratch, "bin");
  await mkdir(bin);
  await writeFile(join(bin, "ipfs"), IPFS, { mode: 0o755 });

  const peer = newPeer();
  const tickets = { ok: true, community: "mainnet", serverTime: Date.now(), total: 1, peers: [signTicket(peer, { community: "mainnet" })] };
  const [beacon] = await started(context, serveJson(tickets));
  const keys = JSON.parse(await readFile(join(ROOT, "tests/vectors/keys.json"), "utf8"));
  const watch = spawn(CAPSULE, [...options.split(" "), "--run", command, "--beacon", beacon.url, "--out", join(scratch, "capsules")], {
    env: { RENDEZVOUS_CAPSULE_PRIVATE_KEY: keys.a.privateKey, PATH: `${bin}:${process.env.PATH}`, NODE: node.url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  context.after(() => watch.kill("SIGKILL"));
  const ended = finished(watch);
  const name = await Promise.race([node.isPublished, ended.then(({ stderr }) => assert.fail(stderr))]);
  watch.kill("SIGTERM");
  await ended;

  assert.match(name, /^\/ipns\/k51/);
  const url = `${node.url}${name}/peers.json`;
  const { code, stdout } = await runCapsule(["verify", url, "--public-key", keys.a.publicKey, "--json"]);
  assert.equal(code, 0, stdout);
  assert.deepEqual(JSON.parse(stdout).peers.map(({ peerId }) => peerId), [peer.peerId]);

  const { Rendezvous } = await import("../client/dist/index.js");
  const rendezvous = new Rendezvous({ community: "mainnet", peerId: "reader", capsules: [{ url, publicKey: keys.a.publicKey }] });
  context.after(() => rendezvous.stop());
  const isFound = new Promise((resolve) => {
    rendezvous.subscribe(() => rendezvous.peers().live.some(({ peerId }) => peerId === peer.peerId) && resolve(undefined));
  });
  await rendezvous.start();
  await isFound;
});
