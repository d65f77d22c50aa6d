// Section 4 of the specification: who is listed, who stays, and what nobody can take from others.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { newPeer } from "../ticket.mjs";

const INTERVAL_MS = 45_000;
const PLACES = 200;
const ANSWER = 50;

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

const add = (id, title, run, { attack, level = "basic" } = {}) => cases.push({ id: `roster.${id}`, spec: "4", title, level, attack, run });

const claimsIn = ({ json }) => json.peers.map(({ payload, publicKey }) => `${payload.peerId} ${publicKey}`);
const claimOf = ({ payload, publicKey }) => `${payload.peerId} ${publicKey}`;
const has = (reply, ticket) => claimsIn(reply).includes(claimOf(ticket));

// Rules 2 and 3: a claim's own tickets.

add("repeat.accepted", "the very same ticket again is not accepted anew, and is listed", async (trial) => {
  const { ticket } = await trial.join();
  for (let times = 0; times < 3; times += 1) {
    const { status, json } = await trial.announce(ticket);
    assert.deepEqual([status, json.ok, json.accepted, json.listed], [200, true, false, true]);
  }
});
add("repeat.order", "the very same ticket again does not move its peer forward", async (trial) => {
  const first = await trial.join();
  const second = await trial.join();
  await trial.announce(first.ticket);
  const order = claimsIn(await trial.look()).filter((claim) => [first, second].some(({ ticket }) => claimOf(ticket) === claim));
  assert.deepEqual(order, [claimOf(second.ticket), claimOf(first.ticket)]);
});
add("repeat.other-layout", "the same ticket in another layout is the same ticket", async (trial) => {
  const { ticket } = await trial.join();
  const { json } = await trial.announce(JSON.stringify(ticket, null, 1));
  assert.deepEqual([json.ok, json.accepted, json.listed], [true, false, true]);
});
add(
  "stale.equal",
  "another ticket of the same issuedAt is STALE_TICKET",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    const reply = await trial.announce(trial.ticket(peer, { issuedAt: ticket.payload.issuedAt }));
    trial.isRefused(reply, "STALE_TICKET");
    assert.equal(reply.json.listed, true, "listed must say that the ticket before is");
  },
  { attack: "replay" },
);
add(
  "stale.older",
  "an older ticket is STALE_TICKET",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    trial.isRefused(await trial.announce(trial.ticket(peer, { issuedAt: ticket.payload.issuedAt - 1_000 })), "STALE_TICKET");
    trial.hasNormalForm(await trial.look(), ticket);
  },
  { attack: "replay" },
);
add("stale.before-too-soon", "a ticket that is older and too soon is STALE_TICKET", async (trial) => {
  const { ticket, peer } = await trial.join();
  trial.isRefused(await trial.announce(trial.ticket(peer, { issuedAt: ticket.payload.issuedAt - 1 })), "STALE_TICKET");
});
add("too-soon.code", "a new ticket within 45 s is ANNOUNCE_TOO_SOON", async (trial) => {
  const { ticket, peer } = await trial.join();
  const reply = await trial.announce(trial.ticket(peer));
  trial.isRefused(reply, "ANNOUNCE_TOO_SOON");
  assert.equal(reply.json.listed, true);
  trial.hasNormalForm(await trial.look(), ticket);
});
add("too-soon.wait", "ANNOUNCE_TOO_SOON says how long to wait, counted from the last accepted ticket", async (trial) => {
  const { peer } = await trial.join();
  const ask = async () => (await trial.announce(trial.ticket(peer))).json;
  await delay(1_000);
  const first = await ask();
  const { retryAfterMs } = first;
  assert.ok(
    Number.isSafeInteger(retryAfterMs) && retryAfterMs > INTERVAL_MS - 15_000 && retryAfterMs <= INTERVAL_MS,
    `retryAfterMs is ${retryAfterMs}`,
  );
  const second = await ask();
  const moved = second.retryAfterMs + second.serverTime - (first.retryAfterMs + first.serverTime);
  assert.ok(Math.abs(moved) < 500, `a refused ticket must not prolong the wait, which ends ${moved} ms later than was said`);
});
add(
  "too-soon.other-claims",
  "the wait is a claim's own: another name of the same key, and another key of the same name, are taken",
  async (trial) => {
    const { peer } = await trial.join();
    await trial.join({ ...peer, peerId: newPeer().peerId });
    await trial.join(newPeer({ peerId: peer.peerId }));
  },
);
add(
  "too-soon.after-expiry",
  "the wait holds after a ticket that ended early",
  async (trial) => {
    const { peer, untilExpired } = await trial.joinBriefly();
    await untilExpired();
    const reply = await trial.announce(trial.ticket(peer));
    trial.isRefused(reply, "ANNOUNCE_TOO_SOON");
    assert.equal(reply.json.listed, false, "nothing of it is listed");
  },
  { attack: "exhaustion" },
);
add(
  "stale.after-expiry",
  "issuedAt only moves forward, also after a ticket that ended early",
  async (trial) => {
    const { peer, ticket, untilExpired } = await trial.joinBriefly();
    const older = trial.ticket(peer, { issuedAt: ticket.payload.issuedAt - 10 });
    await untilExpired();
    trial.isRefused(await trial.announce(older), "STALE_TICKET");
  },
  { attack: "resurrection" },
);
add(
  "renewal",
  "a new ticket after 45 s takes the place of the one before, with the tenure of its peer",
  async (trial) => {
    const { peer, ticket } = await trial.join();
    const before = await trial.look();
    const { json } = await trial.announce(trial.ticket(peer));
    await delay(json.retryAfterMs + 100);
    const renewed = trial.ticket(peer);
    trial.isAccepted(await trial.announce(renewed));
    const after = await trial.look();
    assert.ok(has(after, renewed) && !after.text.includes(ticket.signature), "the ticket before is still listed");
    const since = (reply) => reply.json.since[claimsIn(reply).indexOf(claimOf(ticket))];
    assert.equal(since(after), since(before));
  },
  { level: "slow" },
);
add(
  "expired.unlisted",
  "an expired ticket is in no answer, and not counted",
  async (trial) => {
    const { ticket, untilExpired } = await trial.joinBriefly();
    const before = await trial.look();
    await untilExpired();
    const after = await trial.look();
    assert.ok(!has(after, ticket), "listed after its end");
    const isCounted = has(before, ticket);
    assert.equal(after.json.total, before.json.total + (isCounted ? 0 : 1), "one has come, one has ended");
  },
  { attack: "replay" },
);

// Goodbyes.

add("leave.removes", "a goodbye takes its claim off the list", async (trial) => {
  const { ticket, peer } = await trial.join();
  const { status, json } = await trial.leave(trial.goodbye(peer));
  assert.deepEqual([status, json.ok, json.left], [200, true, true]);
  await trial.isListed(ticket, false);
});
add("leave.twice", "a second goodbye finds nobody", async (trial) => {
  const { peer } = await trial.join();
  await trial.leave(trial.goodbye(peer));
  const { status, json } = await trial.leave(trial.goodbye(peer));
  assert.deepEqual([status, json.ok, json.left], [200, true, false]);
});
add("leave.unknown", "a goodbye of a claim that is not listed is answered left: false", async (trial) => {
  const { status, json } = await trial.leave(trial.goodbye(newPeer()));
  assert.deepEqual([status, json.ok, json.left], [200, true, false]);
});
add(
  "leave.equal",
  "a goodbye that is not newer than what is listed takes nobody off",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    const { json } = await trial.leave(trial.goodbye(peer, { issuedAt: ticket.payload.issuedAt }));
    assert.equal(json.left, false);
    await trial.isListed(ticket);
  },
  { attack: "replay" },
);
add(
  "leave.older",
  "an older goodbye takes nobody off, and the ticket goes on",
  async (trial) => {
    const peer = newPeer();
    const goodbye = trial.goodbye(peer);
    const { ticket } = await trial.join(peer);
    assert.equal((await trial.leave(goodbye)).json.left, false);
    await trial.isListed(ticket);
  },
  { attack: "replay" },
);
add(
  "leave.by-another-key",
  "a goodbye by another key for the same name takes nobody off",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    const { json } = await trial.leave(trial.goodbye(newPeer({ peerId: peer.peerId })));
    assert.equal(json.left, false);
    await trial.isListed(ticket);
  },
  { attack: "squatting" },
);
add(
  "leave.forged",
  "a goodbye with a wrong signature is refused, and takes nobody off",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    const forged = trial.goodbye({ ...newPeer({ peerId: peer.peerId }), publicKey: peer.publicKey });
    trial.isRefused(await trial.leave(forged), "SIGNATURE_INVALID");
    await trial.isListed(ticket);
  },
  { attack: "forgery" },
);
add(
  "leave.expired",
  "a goodbye that has expired is refused",
  async (trial) => {
    trial.isRefused(await trial.leave(trial.goodbye(newPeer(), { issuedAt: trial.now() - 200_000 })), "EXPIRED");
  },
  { attack: "replay" },
);
add(
  "leave.of-the-future",
  "a goodbye of later is refused",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    trial.isRefused(await trial.leave(trial.goodbye(peer, { issuedAt: trial.now() + 60_000 })), "NOT_YET_VALID");
    await trial.isListed(ticket);
  },
  { attack: "future" },
);
add(
  "leave.too-long",
  "a goodbye of a too long life is refused",
  async (trial) => {
    trial.isRefused(await trial.leave(trial.goodbye(newPeer(), { expiresAt: 2 ** 53 - 1 })), "LIFETIME_TOO_LONG");
  },
  { attack: "future" },
);
add(
  "leave.other-community",
  "a goodbye for another community is refused",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    trial.isRefused(await trial.leave(trial.goodbye(peer, { community: "another-one" })), "COMMUNITY_MISMATCH");
    await trial.isListed(ticket);
  },
  { attack: "replay" },
);
add(
  "leave.no-return-of-the-old",
  "after a goodbye the ticket of before is STALE_TICKET, and not listed",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    await trial.leave(trial.goodbye(peer));
    const reply = await trial.announce(ticket);
    trial.isRefused(reply, "STALE_TICKET");
    assert.equal(reply.json.listed, false);
    await trial.isListed(ticket, false);
  },
  { attack: "resurrection" },
);
add(
  "leave.overtakes",
  "a goodbye that overtakes its announce is remembered",
  async (trial) => {
    const peer = newPeer();
    const ticket = trial.ticket(peer);
    await trial.leave(trial.goodbye(peer));
    trial.isRefused(await trial.announce(ticket), "STALE_TICKET");
    await trial.isListed(ticket, false);
  },
  { attack: "resurrection" },
);
add(
  "leave.not-newer-than-goodbye",
  "after a goodbye a ticket of its issuedAt is STALE_TICKET",
  async (trial) => {
    const { peer } = await trial.join();
    const goodbye = trial.goodbye(peer);
    await trial.leave(goodbye);
    trial.isRefused(await trial.announce(trial.ticket(peer, { issuedAt: goodbye.payload.issuedAt })), "STALE_TICKET");
  },
  { attack: "resurrection" },
);
add(
  "leave.older-goodbye-forgets-nothing",
  "an older goodbye after a newer one does not make an old ticket good",
  async (trial) => {
    const peer = newPeer();
    const early = trial.goodbye(peer);
    const between = trial.ticket(peer);
    await trial.leave(trial.goodbye(peer));
    await trial.leave(early);
    trial.isRefused(await trial.announce(between), "STALE_TICKET");
  },
  { attack: "resurrection" },
);
add(
  "leave.another-key-has-the-name",
  "the ticket of before does not come back when another key has its name",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    await trial.leave(trial.goodbye(peer));
    await trial.join(newPeer({ peerId: peer.peerId }));
    trial.isRefused(await trial.announce(ticket), "STALE_TICKET");
  },
  { attack: "resurrection" },
);
add(
  "leave.strangers-goodbyes",
  "goodbyes of a thousand strangers make nobody forgotten who was listed",
  async (trial) => {
    const { ticket, peer } = await trial.join();
    await trial.leave(trial.goodbye(peer));
    const leave = async () => {
      const address = trial.beacon.newAddress();
      for (let times = 0; times < 20; times += 1) await trial.leave(trial.goodbye(newPeer()), { address });
    };
    for (let networks = 0; networks < 12; networks += 1) await leave();
    trial.isRefused(await trial.announce(ticket), "STALE_TICKET");
  },
  { attack: "resurrection" },
);
add("leave.comes-back", "a claim that has left may come back at once, as a page does that is loaded anew", async (trial) => {
  const { peer } = await trial.join();
  await trial.leave(trial.goodbye(peer));
  const { ticket } = await trial.join(peer);
  await trial.isListed(ticket);
});
add("leave.comes-back-with-its-tenure", "whoever comes back has the tenure of before", async (trial) => {
  const { peer, ticket } = await trial.join();
  const since = async () => {
    const reply = await trial.look();
    return reply.json.since[claimsIn(reply).indexOf(claimOf(ticket))];
  };
  const before = await since();
  await trial.leave(trial.goodbye(peer));
  await delay(20);
  await trial.join(peer);
  assert.equal(await since(), before);
});
add(
  "leave.comes-back-once",
  "a second time it has to wait",
  async (trial) => {
    const { peer } = await trial.join();
    await trial.leave(trial.goodbye(peer));
    await trial.join(peer);
    await trial.leave(trial.goodbye(peer));
    const reply = await trial.announce(trial.ticket(peer));
    trial.isRefused(reply, "ANNOUNCE_TOO_SOON");
    assert.equal(reply.json.listed, false);
  },
  { attack: "exhaustion" },
);
add("leave.returned-may-not-renew", "whoever came back has to wait for a new ticket like everybody", async (trial) => {
  const { peer } = await trial.join();
  await trial.leave(trial.goodbye(peer));
  await trial.join(peer);
  trial.isRefused(await trial.announce(trial.ticket(peer)), "ANNOUNCE_TOO_SOON");
});

// Rule 1: claims.

add(
  "claims.two-keys",
  "two keys that claim one peerId are both listed, each with its ticket",
  async (trial) => {
    const owner = await trial.join();
    const other = await trial.join(newPeer({ peerId: owner.peer.peerId }));
    const list = await trial.look();
    trial.hasNormalForm(list, owner.ticket);
    trial.hasNormalForm(list, other.ticket);
  },
  { attack: "squatting" },
);
add(
  "claims.first-comer",
  "whoever claims a name first keeps it from nobody",
  async (trial) => {
    const squatter = await trial.join();
    const owner = await trial.join(newPeer({ peerId: squatter.peer.peerId }));
    await trial.isListed(owner.ticket);
  },
  { attack: "squatting" },
);
add(
  "claims.own-left-out",
  "an answer leaves out the caller's claim alone, not its namesakes",
  async (trial) => {
    const owner = await trial.join();
    const { reply, ticket } = await trial.join(newPeer({ peerId: owner.peer.peerId }));
    assert.ok(has(reply, owner.ticket), "the namesake is not in the answer");
    assert.ok(!has(reply, ticket), "the caller is in its own answer");
  },
  { attack: "squatting" },
);
add(
  "claims.namesake-leaves",
  "a namesake's goodbye is its own",
  async (trial) => {
    const owner = await trial.join();
    const other = await trial.join(newPeer({ peerId: owner.peer.peerId }));
    assert.equal((await trial.leave(trial.goodbye(other.peer))).json.left, true);
    await trial.isListed(owner.ticket);
    await trial.isListed(other.ticket, false);
  },
  { attack: "squatting" },
);
add(
  "claims.stale-is-a-claims-own",
  "what one key has signed makes no other key's ticket stale",
  async (trial) => {
    const squatter = await trial.join(newPeer(), { issuedAt: trial.now() + 10_000 });
    await trial.join(newPeer({ peerId: squatter.peer.peerId }));
  },
  { attack: "squatting" },
);
add(
  "claims.goodbye-is-a-claims-own",
  "what one key's goodbye says makes no other key's ticket stale",
  async (trial) => {
    const owner = newPeer();
    await trial.leave(trial.goodbye(newPeer({ peerId: owner.peerId }), { issuedAt: trial.now() + 10_000 }));
    const { ticket } = await trial.join(owner);
    await trial.isListed(ticket);
  },
  { attack: "squatting" },
);
add("claims.several-names-of-a-key", "one key may claim several names", async (trial) => {
  const one = await trial.join();
  const two = await trial.join({ ...one.peer, peerId: newPeer().peerId });
  await trial.isListed(one.ticket);
  await trial.isListed(two.ticket);
});
add(
  "communities.apart",
  "who is present in one community is not in another",
  async (trial) => {
    const other = trial.otherCommunity();
    const { ticket } = await trial.join();
    const { json } = await trial.announce(trial.ticket(newPeer(), { community: other }), { community: other });
    assert.ok(json.peers.every((peer) => claimOf(peer) !== claimOf(ticket)));
  },
  { attack: "replay" },
);
add(
  "communities.carried",
  "a ticket that names its community cannot be carried to another",
  async (trial) => {
    const other = trial.otherCommunity();
    const { ticket } = await trial.join();
    trial.isRefused(await trial.announce(ticket, { community: other }), "COMMUNITY_MISMATCH");
  },
  { attack: "replay" },
);
add(
  "communities.goodbye-carried",
  "nor can a goodbye",
  async (trial) => {
    const other = trial.otherCommunity();
    const peer = newPeer();
    const { ticket } = await trial.join(peer);
    await trial.announce(trial.ticket(peer, { community: other }), { community: other });
    trial.isRefused(await trial.leave(trial.goodbye(peer, { community: other })), "COMMUNITY_MISMATCH");
    await trial.isListed(ticket);
  },
  { attack: "replay" },
);

// What an answer has while all fit into it.

add("answer.freshest-first", "while all fit, whoever was accepted last is first", async (trial) => {
  const joined = [];
  for (let times = 0; times < 4; times += 1) joined.push(await trial.join());
  const expected = joined.map(({ ticket }) => claimOf(ticket)).reverse();
  assert.deepEqual(
    claimsIn(await trial.look()).filter((claim) => expected.includes(claim)),
    expected,
  );
});
add(
  "answer.order-is-not-by-date",
  "the order goes by when tickets were accepted, not by what they say",
  async (trial) => {
    const ahead = await trial.join(newPeer(), { issuedAt: trial.now() + 10_000 });
    const plain = await trial.join();
    const expected = [plain, ahead].map(({ ticket }) => claimOf(ticket));
    assert.deepEqual(
      claimsIn(await trial.look()).filter((claim) => expected.includes(claim)),
      expected,
    );
  },
  { attack: "future" },
);
add("answer.since", "since says, in the order of peers, since when each is present", async (trial) => {
  const start = trial.now();
  const joined = [];
  for (let times = 0; times < 3; times += 1) {
    joined.push(await trial.join());
    await delay(5);
  }
  const reply = await trial.look();
  assert.equal(reply.json.since.length, reply.json.peers.length);
  const own = joined.map(({ ticket }) => reply.json.since[claimsIn(reply).indexOf(claimOf(ticket))]);
  assert.ok(
    own.every((time) => Number.isSafeInteger(time) && time >= start - 5_000 && time <= reply.json.serverTime),
    `since is ${own}`,
  );
  assert.deepEqual(
    own,
    [...own].sort((one, other) => one - other),
    "since is not in the order of arrival",
  );
});
add(
  "answer.since-is-no-date-of-the-ticket",
  "since is when the beacon listed a peer, not issuedAt",
  async (trial) => {
    const { ticket } = await trial.join(newPeer(), { issuedAt: trial.now() - 100_000 });
    const reply = await trial.look();
    const since = reply.json.since[claimsIn(reply).indexOf(claimOf(ticket))];
    assert.ok(since > reply.json.serverTime - 30_000, "a ticket's date was taken for its peer's tenure");
  },
  { attack: "future" },
);
add("answer.total", "total counts the claims that are listed, the caller's too", async (trial) => {
  const first = (await trial.look()).json.total;
  await trial.join();
  assert.equal((await trial.look()).json.total, first + 2);
});
add("answer.total-after-leaving", "whoever leaves is not counted", async (trial) => {
  const { peer, reply } = await trial.join();
  await trial.leave(trial.goodbye(peer));
  assert.equal((await trial.look()).json.total, reply.json.total);
});

// Rules 4 to 6: many keys, few networks. Each of these makes a crowd of its own.

/** Lets peers join, one after the other, and returns their tickets with whether each was listed. */
async function crowd(trial, addresses) {
  const outcomes = [];
  const join = async (address) => {
    const ticket = trial.ticket();
    const reply = await trial.announce(ticket, { address });
    assert.equal(reply.status, 200, reply.text.slice(0, 200));
    outcomes.push({ ticket, address, listed: reply.json.listed, reply });
  };
  for (const address of addresses) await join(address);
  return outcomes;
}

/** Who of these is listed, told by the same ticket again, which changes nothing. */
async function listedOf(trial, outcomes) {
  const replies = [];
  for (const { ticket, address } of outcomes) replies.push((await trial.announce(ticket, { address })).json);
  return replies.filter(({ listed, ok, accepted }) => ok && listed && accepted === false).length;
}

const hosts = (address, count) => Array.from({ length: count }, (_, at) => address.replace(/\d+$/, String(1 + (at % 250))));

/**
 * A crowd that several cases look at: made once where there are communities enough, else by each case for itself.
 *
 * @param {import("../trial.mjs").Trial} trial
 * @param {string} name
 * @param {() => Promise<object>} make
 */
async function shared(trial, name, make) {
  const { beacon, community } = trial;
  if (beacon.communities.length > 0) return make();
  const found = await beacon.once(name, async () => ({ community, crowd: await make() }));
  trial.community = found.community;
  return found.crowd;
}

/** Ten quiet peers in one network, then a flood from another. */
const flooded = (trial) =>
  shared(trial, "flood", async () => ({
    quiet: await crowd(trial, hosts(trial.newAddress(), 10)),
    flood: await crowd(trial, hosts(trial.newAddress(), 250)),
  }));

add(
  "flood.one-network",
  "keys without number from one /24 push out nobody of another network",
  async (trial) => {
    const { quiet, flood } = await flooded(trial);
    assert.equal(await listedOf(trial, quiet), 10);
    assert.ok(
      flood.some(({ listed }) => !listed),
      "a full roster listed everybody",
    );
  },
  { attack: "flood" },
);
add(
  "flood.no-place",
  "a newcomer without a place is answered accepted: false, listed: false, with the list and the usual pace",
  async (trial) => {
    const { flood } = await flooded(trial);
    const refused = flood.filter(({ listed }) => !listed);
    assert.ok(refused.length > 0, "a full roster listed everybody");
    for (const { reply } of refused) {
      assert.deepEqual([reply.json.ok, reply.json.accepted, reply.json.peers.length], [true, false, ANSWER]);
      assert.ok(reply.json.announceAfterMs > 0);
    }
  },
);
add("flood.no-place.no-wait", "who was not listed waits for nothing", async (trial) => {
  const { flood } = await flooded(trial);
  const { ticket, address } = flood.find(({ listed }) => !listed);
  const again = await trial.announce(ticket, { address });
  assert.deepEqual([again.status, again.json.ok], [200, true]);
});

/** Fifty peers in fifty networks, then two hundred and fifty in as many. */
const crowded = (trial) =>
  shared(trial, "crowd", async () => ({
    first: await crowd(
      trial,
      Array.from({ length: 50 }, () => trial.newAddress()),
    ),
    late: await crowd(
      trial,
      Array.from({ length: 250 }, () => trial.newAddress()),
    ),
  }));

/** What a newcomer of another network is answered, be it listed or not. */
const newcomer = async (trial) => {
  const ticket = trial.ticket();
  return { ticket, reply: await trial.announce(ticket, { address: trial.newAddress() }) };
};

add(
  "crowd.late-networks",
  "two hundred and fifty networks that come late push out nobody of the first fifty",
  async (trial) => {
    const { first } = await crowded(trial);
    assert.equal(await listedOf(trial, first), 50);
  },
  { attack: "crowd" },
);
add(
  "crowd.roster-is-bounded",
  "a roster has 200 records at most",
  async (trial) => {
    const { late } = await crowded(trial);
    assert.ok(
      late.every(({ reply }) => reply.json.total <= PLACES),
      "total is above 200",
    );
    assert.equal(late.at(-1).reply.json.total, PLACES);
  },
  { attack: "exhaustion" },
);
add(
  "crowd.answer-has-those-present-longest",
  "twelve of an answer are of those who are present longest",
  async (trial) => {
    const { first } = await crowded(trial);
    const { reply } = await newcomer(trial);
    assert.equal(first.slice(0, 12).filter(({ ticket }) => has(reply, ticket)).length, 12, "those who came first are not in the answer");
  },
  { attack: "crowd" },
);
add(
  "crowd.answer-is-bounded",
  "an answer has 50 peers at most, each once, and never the caller",
  async (trial) => {
    await crowded(trial);
    for (let times = 0; times < 5; times += 1) {
      const { reply, ticket } = await newcomer(trial);
      const claims = claimsIn(reply);
      assert.equal(claims.length, ANSWER);
      assert.equal(new Set(claims).size, ANSWER, "one claim twice");
      assert.ok(!claims.includes(claimOf(ticket)), "the caller is in its own answer");
      assert.equal(reply.json.since.length, ANSWER);
    }
  },
  { attack: "exhaustion" },
);
add("crowd.newcomers-differ", "two newcomers do not get the same fifty", async (trial) => {
  await crowded(trial);
  const [one, other] = [await newcomer(trial), await newcomer(trial)];
  assert.notDeepEqual(claimsIn(one.reply).sort(), claimsIn(other.reply).sort());
});
add(
  "crowd.shuffled",
  "an answer that is drawn is shuffled, those present longest too",
  async (trial) => {
    const { first, late } = await crowded(trial);
    const order = new Map([...first, ...late].map(({ ticket }, at) => [claimOf(ticket), at]));
    const positions = claimsIn((await newcomer(trial)).reply).map((claim) => order.get(claim) ?? order.size);
    const sorted = [...positions].sort((one, other) => one - other);
    assert.notDeepEqual(positions, sorted, "in the order of arrival");
    assert.notDeepEqual(positions, sorted.reverse(), "freshest first, by which freshness would pay");
  },
  { attack: "flood" },
);
add(
  "crowd.answer-is-shared-out",
  "a network with most of the keys does not have most of an answer",
  async (trial) => {
    const quiet = await crowd(
      trial,
      Array.from({ length: 15 }, () => trial.newAddress()),
    );
    await crowd(trial, hosts(trial.newAddress(), 60));
    const { reply } = await newcomer(trial);
    assert.equal(quiet.filter(({ ticket }) => has(reply, ticket)).length, 15, "one network's keys crowd out the others from an answer");
  },
  { attack: "flood" },
);
add(
  "crowd.carrier",
  "whoever carries others' tickets from one network takes none of their places",
  async (trial) => {
    const first = await crowd(
      trial,
      Array.from({ length: 40 }, () => trial.newAddress()),
    );
    const carrier = trial.newAddress();
    for (const { ticket } of first) await trial.announce(ticket, { address: carrier });
    await crowd(
      trial,
      Array.from({ length: 180 }, () => trial.newAddress()),
    );
    assert.equal(await listedOf(trial, first), 40);
  },
  { attack: "crowd" },
);
add(
  "crowd.redrawn",
  "an answer is drawn anew after five seconds",
  async (trial) => {
    await crowded(trial);
    const peers = async () =>
      claimsIn(await trial.request(`/peers?community=${trial.community}&limit=20`))
        .sort()
        .join();
    const first = await peers();
    const until = Date.now() + 20_000;
    while ((await peers()) === first) {
      assert.ok(Date.now() < until, "the same answer for twenty seconds");
      await delay(1_000);
    }
  },
  { level: "slow" },
);
