// The beacon on several machines, as docs/cluster.md says it is run: two instances of workerd with the configuration in
// contrib/, the packed Worker, one bucket, and the sudden end of the instance that has a community.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { guardAgainstOrphan } from "../tools/beacon.mjs";
import { ROOT } from "../tools/steps.mjs";
import { startBucket } from "./bucket.mjs";
import { announce, eventually, peerIds, peers } from "./http.mjs";
import { Mailbox, RELAY, namesOf } from "./mailbox.mjs";
import { SAFE_AFTER_MS } from "./patience.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

let scratch;
let bucket;
const instances = [];

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), "cluster-test-"));
  const modules = join(scratch, "node_modules/rendezvous-beacon");
  await promisify(execFile)(process.execPath, [join(ROOT, "tools/package.mjs"), "--out", modules]);
  await cp(join(ROOT, "contrib/cluster.capnp"), join(scratch, "cluster.capnp"));
  await writeFile(join(scratch, "cluster.key"), randomBytes(32).toString("hex"));
  bucket = await startBucket();
});
after(async () => {
  await Promise.all(instances.map(({ stop }) => stop()));
  await bucket?.stop();
  await rm(scratch, { recursive: true, force: true, maxRetries: 5 });
});

/**
 * @param {string} name Of the folder with its own copies.
 * @returns {Promise<{ url: string, stop: (signal?: NodeJS.Signals) => Promise<void> }>}
 */
async function startInstance(name) {
  await mkdir(join(scratch, name));
  const child = spawn(
    createRequire(import.meta.url)("workerd").default,
    [
      "serve",
      "--experimental",
      "cluster.capnp",
      "--import-path=node_modules",
      "--directory-path=page=node_modules/rendezvous-beacon/worker/page",
      `--directory-path=state=${name}`,
      "--socket-addr=http=127.0.0.1:0",
      "--cluster-addr=127.0.0.1:0",
      "--control-fd=3",
    ],
    {
      cwd: scratch,
      env: {
        AWS_ENDPOINT_URL: bucket.url,
        AWS_REGION: "auto",
        AWS_ACCESS_KEY_ID: "test",
        AWS_SECRET_ACCESS_KEY: "test",
        EXTERNAL_URLS: RELAY,
        PEERS_MAX_AGE_SECONDS: "0",
      },
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      // A signal to whoever runs the tests does not reach it by itself.
      detached: true,
    },
  );
  const guard = guardAgainstOrphan(child.pid);
  const said = [];
  for (const input of [child.stdout, child.stderr]) createInterface({ input }).on("line", (line) => said.push(line));
  const ended = new Promise((resolve) => child.once("close", (code, signal) => resolve(signal ?? `exit code ${code}`)));
  const stop = async (signal = "SIGTERM") => {
    child.kill(signal);
    await ended;
    guard.kill();
  };
  const instance = { url: "", stop };
  instances.push(instance);
  const listening = new Promise((resolve) => {
    createInterface({ input: child.stdio[3] }).on("line", (line) => {
      const { event, socket, port } = JSON.parse(line);
      if (event === "listen" && socket === "http") resolve(port);
    });
  });
  const port = await Promise.race([listening, ended]);
  assert.equal(typeof port, "number", `workerd ended with ${port}:\n${said.join("\n")}`);
  instance.url = `http://127.0.0.1:${port}`;
  return instance;
}

test("what a cluster has outlives the sudden end of the instance that had it, and there is an answer meanwhile", async () => {
  const [first, second] = [await startInstance("first"), await startInstance("second")];
  const [ann, bob] = [newPeer(), newPeer()];
  const both = [ann.peerId, bob.peerId].sort();
  // Whoever is asked first takes the community, and the mailbox.
  assert.equal((await announce(first.url, signTicket(ann), { address: "192.0.2.1" })).json.listed, true);
  assert.equal((await announce(second.url, signTicket(bob), { address: "198.51.100.1" })).json.listed, true);
  const sender = newPeer();
  const mailbox = new Mailbox(first.url);
  assert.equal((await mailbox.put([sender])).status, 201);
  assert.deepEqual(peerIds(await peers(second.url)).sort(), both);
  await delay(SAFE_AFTER_MS);
  // Unlike presence, what was acknowledged is safe at once.
  mailbox.url = second.url;
  assert.equal((await mailbox.deposit(mailbox.message(sender, 1))).status, 201);
  await first.stop("SIGKILL");
  const statuses = new Set();
  const back = await eventually(
    async () => {
      const reply = await peers(second.url);
      statuses.add(reply.status);
      if (reply.status === 503) {
        assert.deepEqual([reply.json.code, reply.headers.get("Retry-After")], ["UNAVAILABLE", "5"]);
        assert.deepEqual(peerIds(reply).sort(), both, "the list at hand");
      }
      return reply;
    },
    ({ status }) => status === 200,
  );
  assert.deepEqual([...statuses], [503, 200], "not available until the lease has expired, and nothing else");
  assert.deepEqual(peerIds(back).sort(), both);
  const collected = await eventually(() => mailbox.collect(), ({ status }) => status === 200);
  assert.deepEqual(namesOf(collected), [`${sender.publicKey} 1`]);
});
