// Clients that were there before: they sign no community, take every status but 2xx for an outage, read nothing of its
// body, and give a beacon up for good after three such cycles. Whatever they do, they get 2xx, and find the others. And
// a page of the project's own client that is loaded anew.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { HOSTS } from "./hosts.mjs";
import { announce, call, peers } from "./http.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const COMMUNITY = "mainnet";

/** One page of such an application. */
class OldClient {
  /** What each cycle was answered: the status, and the code where the beacon says one. */
  answers = [];

  /**
   * @param {string} url
   * @param {{ peer?: import("./ticket.mjs").Peer, aheadMs?: number, lifetimeMs?: number }} [options] `aheadMs` is what its clock is wrong by.
   */
  constructor(url, { peer = newPeer(), aheadMs = 0, lifetimeMs = 180_000 } = {}) {
    Object.assign(this, { url, peer, aheadMs, lifetimeMs });
  }

  /**
   * Announces with a new ticket.
   *
   * @returns {Promise<{ found: string[], expiresAt: number }>} The peerIds that it finds: none where it takes the answer for an outage.
   */
  async cycle() {
    const issuedAt = Date.now() + this.aheadMs;
    const expiresAt = issuedAt + this.lifetimeMs;
    const response = await fetch(`${this.url}/announce?community=${COMMUNITY}`, {
      method: "POST",
      headers: { Accept: "application/json", "Content-Type": "application/json", Origin: "https://app.example" },
      body: JSON.stringify({ ticket: signTicket(this.peer, { issuedAt, expiresAt }), community: COMMUNITY }),
    });
    const body = await response.json();
    this.answers.push([response.status, body.code].filter(Boolean).join(" "));
    return { found: response.ok ? body.peers.map(({ payload }) => payload.peerId) : [], expiresAt };
  }
}

async function beaconOf(host, context, vars = {}) {
  const beacon = await host.start({ vars: { PEERS_MAX_AGE_SECONDS: "0", ...vars } });
  context.after(beacon.stop);
  return beacon.url;
}

/** Two peers that are there all the time. */
async function others(url) {
  const present = [newPeer(), newPeer()];
  for (const peer of present) assert.equal((await announce(url, signTicket(peer))).json.accepted, true);
  return present.map(({ peerId }) => peerId).sort();
}

/** Announces, and finds these. */
async function finds(client, expected) {
  const { found } = await client.cycle();
  assert.deepEqual(found.sort(), expected, client.answers.at(-1));
}

for (const host of HOSTS) describe(host.name, () => {
  test("an old client comes sooner than it may, again and again, and finds the others each time", async (t) => {
    // A fifth of the usual 45 s and 180 s, and of its own 30 s.
    const url = await beaconOf(host, t, {
      ANNOUNCE_INTERVAL_MS: "9000",
      ANNOUNCE_AFTER_MIN_MS: "9000",
      ANNOUNCE_AFTER_MAX_MS: "15000",
      TICKET_MAX_LIFETIME_MS: "36000",
    });
    const pair = [0, 1].map(() => new OldClient(url, { lifetimeMs: 36_000 }));
    await pair[0].cycle();
    const start = performance.now();
    for (let cycle = 0; cycle < 5; cycle += 1) {
      await finds(pair[1], [pair[0].peer.peerId]);
      await finds(pair[0], [pair[1].peer.peerId]);
      await delay(start + (cycle + 1) * 6_000 - performance.now());
    }
    const { answers } = pair[1];
    assert.deepEqual([...new Set(answers)].sort(), ["200", "200 ANNOUNCE_TOO_SOON"], "not the pattern that is meant");
  });

  test("an old client's page is loaded anew 2 s after it was loaded", async (t) => {
    const url = await beaconOf(host, t);
    const present = await others(url);
    const client = new OldClient(url);
    await finds(client, present);
    await delay(2_000);
    for (let reload = 0; reload < 3; reload += 1) await finds(client, present);
    assert.deepEqual(client.answers, ["200", ...Array(3).fill("200 ANNOUNCE_TOO_SOON")]);
  });

  test("an old client finds peers that say something of themselves", async (t) => {
    const url = await beaconOf(host, t);
    const other = newPeer();
    assert.equal((await announce(url, signTicket(other, { data: "state=away" }))).json.listed, true);
    await finds(new OldClient(url), [other.peerId]);
  });

  test("an old client has a new key and its old peerId", async (t) => {
    const url = await beaconOf(host, t);
    const present = await others(url);
    const client = new OldClient(url);
    await finds(client, present);
    const { peerId } = client.peer;
    client.peer = newPeer({ peerId });
    // Its other claim is not its own any more.
    await finds(client, [...present, peerId].sort());
    assert.deepEqual(client.answers, ["200", "200"]);
  });

  test("a stranger takes an old client's peerId in the instant in which its ticket ends", async (t) => {
    const url = await beaconOf(host, t, {
      ANNOUNCE_INTERVAL_MS: "500",
      ANNOUNCE_AFTER_MIN_MS: "500",
      ANNOUNCE_AFTER_MAX_MS: "1000",
      TICKET_MAX_LIFETIME_MS: "180000",
    });
    const present = await others(url);
    const client = new OldClient(url, { lifetimeMs: 5_000 });
    const { peerId } = client.peer;
    const { expiresAt } = await client.cycle();
    while (Date.now() < expiresAt) await delay(expiresAt - Date.now());
    const stranger = await announce(url, signTicket(newPeer({ peerId })), { address: "203.0.113.1" });
    assert.equal(stranger.json.accepted, true);
    await finds(client, [...present, peerId].sort());
    assert.deepEqual(client.answers, ["200", "200"]);
  });

  for (const [aheadMs, expected] of [
    [60_000, "200 NOT_YET_VALID"],
    [-60_000, "200"],
    [-240_000, "200 EXPIRED"],
  ]) {
    test(`an old client's clock is wrong by ${aheadMs / 1_000} s`, async (t) => {
      const url = await beaconOf(host, t);
      const present = await others(url);
      const client = new OldClient(url, { aheadMs });
      await finds(client, present);
      assert.deepEqual(client.answers, [expected]);
    });
  }

  test("a page of the project's own client that is loaded anew is listed again at once, with its tenure", async (t) => {
    const url = await beaconOf(host, t);
    const peer = newPeer();
    const community = COMMUNITY;
    const issuedAt = Date.now();
    const listed = async () => {
      const { json } = await peers(url, { community });
      return json.peers.map(({ payload }, place) => [payload.peerId, payload.issuedAt, json.since[place]]);
    };
    const hello = (after) => announce(url, signTicket(peer, { community, issuedAt: issuedAt + after }), { community });
    assert.equal((await hello(0)).json.listed, true);
    const [[, , since]] = await listed();
    await delay(50);

    const start = performance.now();
    const goodbye = signTicket(peer, { community, issuedAt: issuedAt + 1, leave: true });
    assert.equal((await call(url, "/leave", { json: { ticket: goodbye, community } })).json.left, true);
    assert.deepEqual(await listed(), []);
    const back = await hello(2);
    assert.deepEqual([back.status, back.json.accepted, back.json.listed], [200, true, true]);
    assert.deepEqual(await listed(), [[peer.peerId, issuedAt + 2, since]]);
    t.diagnostic(`listed again ${Math.round(performance.now() - start)} ms after it began to leave`);
  });
});
