// The relay for real: coturn, opened by what a beacon gives to a bound peer, between two connections in Chromium that may use
// nothing else.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { ADVICE as CHROMIUM_ADVICE, findChromium } from "../tools/chromium.mjs";
import { ADVICE, findCoturn } from "../tools/coturn.mjs";
import { servePages } from "../tools/pages.mjs";
import { HOSTS } from "./hosts.mjs";
import { eventually } from "./http.mjs";
import { openLive } from "./live.mjs";
import { PATIENCE_MS } from "./patience.mjs";
import { freePort } from "./ports.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const SECRET = "north west south east";
const COMMUNITY = "relayed";

/** Started last, stopped first. */
const running = [];
let browser, page, pages, address;

async function startCoturn() {
  const executable = findCoturn();
  assert.ok(executable, ADVICE);
  const port = await freePort();
  const log = [];
  const child = spawn(
    executable,
    [
      ...["-n", "--log-file=stdout", "--pidfile=", "--no-cli", "--no-tls", "--no-dtls", "--realm=test.example"],
      ...["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", `--listening-port=${port}`, "--allow-loopback-peers"],
      ...["--use-auth-secret", `--static-auth-secret=${SECRET}`, "--user-quota=4", "--total-quota=100"],
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  for (const output of [child.stdout, child.stderr]) output.setEncoding("utf8").on("data", (text) => log.push(text));
  const ended = once(child, "exit");
  running.push({
    async stop() {
      child.kill();
      await ended;
    },
  });
  const answers = () =>
    new Promise((resolve) => {
      assert.equal(child.exitCode, null, log.join(""));
      const socket = connect(port, "127.0.0.1", () => resolve(socket.end() && true)).on("error", () => resolve(false));
    });
  await eventually(answers, (does) => does);
  return `turn:127.0.0.1:${port}?transport=udp`;
}

before(async () => {
  const executablePath = findChromium();
  assert.ok(executablePath, CHROMIUM_ADVICE);
  address = await startCoturn();
  const args = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--allow-loopback-in-peer-connection"];
  browser = await chromium.launch({ executablePath, args });
  running.push({ stop: () => browser.close() });
  page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  pages = await servePages();
  running.push(pages);
});

after(async () => {
  while (running.length > 0) await running.pop().stop();
});

/** What a peer is told of the relay when it binds its connection. */
async function iceServers(url, network) {
  const peer = newPeer();
  const live = await openLive(url, { community: COMMUNITY, address: network });
  assert.ok((await live.announce(signTicket(peer, { community: COMMUNITY }))).listed);
  const bound = await live.bind(peer);
  await live.close();
  assert.equal(bound.t, "bound");
  return bound.iceServers;
}

/**
 * Connects two ends of one page over the relay alone.
 *
 * @param {RTCIceServer[][]} servers Of either end.
 * @returns {Promise<{ heard?: string, kinds?: string[], errors: number[] }>} What came over it, the kinds of the candidates
 *   that it goes by, or the errors for which there are none.
 */
const relay = (servers) =>
  page.evaluate(async ([servers, patienceMs]) => {
    const ends = servers.map((iceServers) => new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" }));
    const [one, other] = ends;
    const errors = [];
    const failed = ends.map(
      (end) =>
        new Promise((resolve) => {
          const found = [];
          end.onicecandidateerror = ({ errorCode }) => errors.push(errorCode);
          end.onicecandidate = ({ candidate }) => {
            if (candidate?.candidate) found.push(candidate);
            if (candidate) ends.find((peer) => peer !== end).addIceCandidate(candidate);
            else if (found.length === 0) resolve({ errors });
          };
        }),
    );
    const heard = new Promise((resolve) => {
      other.ondatachannel = ({ channel }) => (channel.onmessage = ({ data }) => resolve(data));
    });
    const channel = one.createDataChannel("relayed");
    channel.onopen = () => channel.send("over the relay");
    const talk = async () => {
      await one.setLocalDescription();
      const offer = one.localDescription;
      await other.setRemoteDescription(offer);
      await other.setLocalDescription();
      await one.setRemoteDescription(other.localDescription);
      const text = await heard;
      // The end that is called hears before it knows which pair the other has chosen.
      const kindOf = async (end, until) => {
        const stats = [...(await end.getStats()).values()];
        const pair = stats.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
        if (pair !== undefined) return stats.find(({ id }) => id === pair.localCandidateId).candidateType;
        if (performance.now() > until) return "none";
        await new Promise((resolve) => setTimeout(resolve, 50));
        return kindOf(end, until);
      };
      const kinds = await Promise.all(ends.map((end) => kindOf(end, performance.now() + patienceMs)));
      return { heard: text, kinds, errors: [] };
    };
    const outcome = await Promise.race([talk(), ...failed]);
    for (const end of ends) end.close();
    return outcome;
  }, [servers, PATIENCE_MS]);

/** Credentials of somebody who has a secret, that end so many seconds from now. */
function credentials(seconds, secret = SECRET) {
  const username = `${Math.floor(Date.now() / 1_000) + seconds}:somebody`;
  return [{ urls: [address], username, credential: createHmac("sha1", secret).update(username).digest("base64") }];
}

for (const host of HOSTS) describe(host.name, () => {
  let beacon, url;
  before(async () => {
    const vars = { COMMUNITIES: COMMUNITY, DEFAULT_COMMUNITY: COMMUNITY, TURN_URLS: address, TURN_SECRET: SECRET };
    beacon = await host.start({ vars });
    url = beacon.url;
  });
  after(() => beacon?.stop());

  test("two peers connect over the relay alone, by what the beacon gives each", async () => {
    const servers = [await iceServers(url, "10.1.0.1"), await iceServers(url, "10.2.0.1")];
    for (const [{ urls, username, credential }] of servers) {
      assert.deepEqual(urls, [address]);
      const [ends] = username.split(":");
      const remaining = Number(ends) - Date.now() / 1_000;
      assert.ok(remaining > 0 && remaining <= 600, `${remaining} s`);
      assert.equal(credential, createHmac("sha1", SECRET).update(username).digest("base64"));
    }
    assert.notEqual(servers[0][0].username, servers[1][0].username);
    assert.deepEqual(await relay(servers), { heard: "over the relay", kinds: ["relay", "relay"], errors: [] });
  });

  test("two clients connect over the relay that the beacon names, if they say so", async () => {
    const clients = await Promise.all(["ann", "bob"].map(async (peerId) => {
      const page = await browser.newPage();
      page.setDefaultTimeout(PATIENCE_MS);
      await page.goto(`${pages.url}/client/example/example.css`);
      await page.evaluate(async ([peerId, community, beacon]) => {
        const load = (name) => import(`/client/dist/${name}.js`);
        const [{ Rendezvous }, { live }, { Connections }] = await Promise.all(["index", "live", "webrtc"].map(load));
        const identity = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
        window.rendezvous = new Rendezvous({ community, peerId, beacons: [beacon], identity });
        window.carrier = live(rendezvous);
        window.connect = (peerId, options) => {
          window.connections?.stop();
          window.connections = new Connections(rendezvous, carrier, { relayOnly: true, timeoutMs: 5_000, ...options });
          const peer = rendezvous.peers().live.find((live) => live.peerId === peerId);
          return peer && connections.connect(peer).then(({ readyState }) => readyState, ({ reason }) => reason);
        };
        await rendezvous.start();
      }, [peerId, COMMUNITY, url]);
      return page;
    }));
    const [ann, bob] = clients;
    for (const [page, other] of [[ann, "bob"], [bob, "ann"]]) {
      await page.waitForFunction((other) => carrier.status()[0].bound && rendezvous.peers().live.some(({ peerId }) => peerId === other), other);
    }
    const call = async (options) => {
      await ann.evaluate((options) => void connect(undefined, options), options);
      return bob.evaluate((options) => connect("ann", options), options);
    };
    assert.equal(await call({ iceServers: "beacon", timeoutMs: PATIENCE_MS }), "open");
    await ann.waitForFunction(() => connections.open.length === 1);
    // What a beacon names is not used without that word.
    assert.equal(await call({}), "TIMEOUT");
    await Promise.all(clients.map((page) => page.close()));
  });

  test("the fifth of a site at once is given none", async () => {
    const given = [];
    for (let household = 1; household <= 5; household += 1) given.push(await iceServers(url, `10.3.0.${household}`));
    assert.deepEqual(given.map((servers) => servers !== undefined), [true, true, true, true, false]);
  });
});

test("credentials open nothing once they have ended, nor with another secret", async () => {
  const good = credentials(60);
  assert.equal((await relay([good, good])).heard, "over the relay");
  for (const bad of [credentials(-60), credentials(60, "another secret altogether")]) {
    const { heard, errors } = await relay([bad, bad]);
    assert.equal(heard, undefined);
    assert.ok(errors.includes(401), `${errors}`);
  }
});
