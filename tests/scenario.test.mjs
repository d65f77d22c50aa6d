// What has to hold at the end of the scenario that `npm run demo` tells.

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../tools/steps.mjs";
import { HOSTS } from "./hosts.mjs";
import { play } from "./scenario.mjs";
import { canonical } from "./ticket.mjs";

const CAPSULE = process.env.CAPSULE_BIN ?? join(ROOT, "target/debug/capsule");

/** With WebCrypto's own library, and nothing of the code under test. */
function signatureFits({ publicKey, signature, payload }) {
  const x = Buffer.from(publicKey, "base64").toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return verify(null, Buffer.from(canonical(payload)), key, Buffer.from(signature, "base64"));
}

for (const host of HOSTS) test(`250 peers, three beacons of which one dies and one lies, one capsule: ${host.name}`, async () => {
  const { honest, beforeCrash, totals, forged, published, verified, capsule, listed, afterCrash } = await play(CAPSULE, undefined, host);
  const announced = new Set(honest.map(canonical));
  const byPeerId = new Map(honest.map((ticket) => [ticket.payload.peerId, ticket]));

  assert.equal(honest.length, 250);
  assert.deepEqual(totals, [200, 200], "a full roster holds 200");
  assert.equal(listed.length, 400);
  for (const ticket of listed) {
    assert.ok(signatureFits(ticket), `listed, but not signed: ${ticket.payload.peerId}`);
    assert.ok(announced.has(canonical(ticket)), `listed, but never announced: ${ticket.payload.peerId}`);
  }

  assert.ok(forged.length > 100, "the lying beacon lied");
  for (const ticket of capsule.peers) {
    assert.ok(announced.has(canonical(ticket)), `in the capsule, but never announced: ${ticket.payload.peerId}`);
    assert.ok(signatureFits(ticket));
  }
  assert.equal(capsule.community, "demo");
  const [dead, good, lying] = published.beacons;
  // Equal shares: the good beacon has as many places as the one that lists little that is true.
  assert.ok(lying.tickets > 60);
  assert.equal(published.peers, 2 * lying.tickets);
  assert.equal(capsule.peers.length, published.peers);
  assert.equal(dead.answered, false);
  assert.equal(good.answered, true);
  assert.equal(good.tickets, 200);
  assert.deepEqual(good.refused, {});
  assert.ok(lying.refused.SIGNATURE_INVALID > 100);
  for (const code of ["COMMUNITY_MISMATCH", "EXPIRED", "LIFETIME_TOO_LONG"]) assert.equal(lying.refused[code], 1, code);
  const { early, brief, late } = beforeCrash;
  assert.equal(verified.live + verified.recentlySeen, published.peers);
  assert.ok(verified.recentlySeen <= brief.length, "more were over than had been announced for seconds only");
  const back = afterCrash.peers.map(({ payload }) => payload.peerId);
  assert.deepEqual(back.filter((peerId) => !late.includes(peerId)).sort(), [...early].sort());
  assert.ok(back.every((peerId) => !brief.includes(peerId)), "an expired ticket came back");
  for (const ticket of afterCrash.peers) {
    assert.ok(ticket.payload.expiresAt > afterCrash.serverTime);
    assert.equal(canonical(ticket), canonical(byPeerId.get(ticket.payload.peerId)));
  }
});
