// The limits of the client are those of the protocol: each constant of protocol/src/limits.rs is compared with the one of
// the same name in client/src, or it is said here why the client has none. Of mailboxes, most limits are a relay's alone: those
// that the client has are compared.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { isCommunity, isPeerId } from "../build/internals.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ROSTER = "what a beacon holds and how it shares its places: a client takes the list as it is";
const RATE = "a beacon's rate limit, which a client hears of as THROTTLED";
const PACE = "a beacon says with each answer when to announce again; a client believes it within bounds of its own";
const BODY = "what a beacon reads of a request; a client writes far less";
const OTHERS = "for publishers and beacons alone";
const GUEST = "of the door for goop2's peers, which are not this client's";
const LIVE = "of the beacon's side of GET /live";

const SIGNAL = "a beacon's limit of signals, which a client hears of as SIGNAL_TIME, TOO_FAST or PEER_BUSY";

const WITHOUT = {
  ROSTER_CAPACITY: ROSTER,
  NETWORK_YIELDS_AFTER: ROSTER,
  ANSWER_LIMIT: ROSTER,
  ANNOUNCE_AFTER_MIN: PACE,
  ANNOUNCE_AFTER_MAX: PACE,
  PEERS_MAX_AGE: OTHERS,
  NETWORK_REQUESTS_PER_MINUTE: RATE,
  ADDRESSES_IN_A_NETWORK: RATE,
  NETWORKS_IN_A_SITE: RATE,
  RATE_LIMIT_NETWORKS: RATE,
  NEW_COMMUNITIES_PER_NETWORK_AND_MINUTE: RATE,
  NEW_COMMUNITIES_PER_MINUTE: RATE,
  RECENT_COMMUNITIES_AGE: RATE,
  RECENT_COMMUNITIES: RATE,
  SIGNATURE_CACHE_TICKETS: OTHERS,
  BODY_MAX_BYTES: BODY,
  BODY_MAX_READ_BYTES: BODY,
  BODY_TIMEOUT: BODY,
  BODIES_FULL_RETRY_AFTER: BODY,
  KEPT_LISTS_MAX_BYTES: OTHERS,
  TICKET_MAX_BYTES: "what beacons and publishers make room for; a client reads tickets in any layout",
  COMMUNITY_MAX_BYTES: "part of a regular expression, which is tried below",
  PEER_ID_MAX_BYTES: "part of a regular expression, which is tried below",
  SNAPSHOT_LOSS: OTHERS,
  REVOCATIONS_MAX_BYTES: OTHERS,
  FRESHNESS_MIN_SLACK: OTHERS,
  LIVE_RECORDS_KEPT: LIVE,
  LIVE_CONNECTIONS: LIVE,
  LIVE_CONNECTIONS_PER_HOUSEHOLD: LIVE,
  LIVE_OPENING_REQUESTS: LIVE,
  LIVE_CLIENT_MESSAGE_MAX_BYTES: LIVE,
  LIVE_MESSAGE_MAX_BYTES: LIVE,
  LIVE_ACK_BYTES: LIVE,
  LIVE_ACK_TIMEOUT: LIVE,
  LIVE_FRAME_INTERVAL: LIVE,
  LIVE_RENEWAL_GRACE: LIVE,
  LIVE_RENEWAL_MARGIN: LIVE,
  LIVE_FRAMES_AT_ONCE: LIVE,
  LIVE_URGENT_WITHIN: LIVE,
  LIVE_MESSAGES_AT_ONCE: LIVE,
  LIVE_MESSAGE_INTERVAL: LIVE,
  LIVE_SILENCE: LIVE,
  LIVE_FIRST_SILENCE: LIVE,
  LIVE_STREAM_PING: LIVE,
  LIVE_STREAM_DURATION: LIVE,
  LIVE_MALFORMED_MESSAGES: LIVE,
  LIVE_RECORDS_KEPT: LIVE,
  LIVE_PENALTY: LIVE,
  LIVE_SIGNAL_SKEW: SIGNAL,
  LIVE_SIGNALS_AT_ONCE: SIGNAL,
  LIVE_SIGNAL_INTERVAL: SIGNAL,
  LIVE_SIGNALS_RECEIVED_AT_ONCE: SIGNAL,
  LIVE_SIGNALS_FOR_NEW_SITES: SIGNAL,
  LIVE_SIGNAL_RECEIVED_INTERVAL: SIGNAL,
  LIVE_SIGNALS_OF_SITE_AT_ONCE: SIGNAL,
  LIVE_SIGNAL_OF_SITE_INTERVAL: SIGNAL,
  LIVE_SIGNAL_SITE_FORGOTTEN: SIGNAL,
  LIVE_ID_MIN_BYTES: LIVE,
  LIVE_ID_MAX_BYTES: LIVE,
  LIVE_WORDS: LIVE,
  GUESTS: GUEST,
  GUESTS_PER_HOUSEHOLD: GUEST,
  GUEST_CONNECTIONS: GUEST,
  GUEST_CONNECTIONS_PER_HOUSEHOLD: GUEST,
  GUEST_BODY_MAX_BYTES: GUEST,
  GUEST_CONTENT_MAX_BYTES: GUEST,
  GUEST_FIELD_MAX_BYTES: GUEST,
  GUEST_ADDRESSES_READ: GUEST,
  GUEST_ADDRESSES: GUEST,
  GUEST_ADDRESS_MAX_BYTES: GUEST,
  GUEST_MESSAGE_INTERVAL: GUEST,
  GUEST_MESSAGES_AT_ONCE: GUEST,
  GUEST_SILENCE: GUEST,
  GUEST_REPETITION: GUEST,
  GUEST_SOCKET_PING: GUEST,
  GUEST_SOCKET_SILENCE: GUEST,
  GUEST_UNREAD_MAX_BYTES: GUEST,
  GUEST_VIEW_BYTES_PER_SECOND: GUEST,
};

/** @returns {Map<string, string>} Expressions by name. */
function constants(text, pattern) {
  return new Map([...text.matchAll(pattern)].map(([, name, expression]) => [name, expression]));
}

const RUST = /^pub const ([A-Z\d_]+): (?:usize|u8|u32|u64|Duration) = ([^;]+);/gm;
const rust = constants(readFileSync(`${ROOT}/protocol/src/limits.rs`, "utf8"), RUST);
const units = constants(readFileSync(`${ROOT}/protocol/src/time.rs`, "utf8"), RUST);
const sources = readdirSync(`${ROOT}/client/src`).map((name) => readFileSync(`${ROOT}/client/src/${name}`, "utf8"));
const client = constants(sources.join("\n"), /^(?:export )?const ([A-Z\d_]+) = ([^;]+);/gm);

/** A sum of products of integers and of constants, or a duration in milliseconds. */
function valueOf(expression, names) {
  const duration = /^Duration::from_(secs|millis)\((.+)\)$/.exec(expression);
  if (duration) return valueOf(duration[2], names) * (duration[1] === "secs" ? 1_000 : 1);
  const valueOfFactor = (factor) => {
    if (/^\d[\d_]*$/.test(factor)) return Number(factor.replaceAll("_", ""));
    const seconds = /^(\w+)\.as_secs\(\)$/.exec(factor);
    const name = seconds ? seconds[1] : factor;
    assert.ok(names.has(name), `${factor} in ${expression}`);
    return valueOf(names.get(name), names) / (seconds ? 1_000 : 1);
  };
  const products = expression.split("+").map((product) => product.split("*").map((factor) => valueOfFactor(factor.trim())));
  return products.reduce((sum, factors) => sum + factors.reduce((product, factor) => product * factor), 0);
}

const isDuration = (name) => rust.get(name).startsWith("Duration") || valueIsDuration(rust.get(name));
const valueIsDuration = (expression) => rust.get(expression)?.startsWith("Duration") ?? false;

test("every limit is the protocol's, or the client has no use for it", () => {
  const text = readFileSync(`${ROOT}/protocol/src/limits.rs`, "utf8");
  assert.equal(rust.size, text.match(/^pub const /gm).length, "all of them are read");
  const compared = [];
  for (const [name, expression] of rust) {
    const ours = isDuration(name) ? `${name}_MS` : name;
    assert.notEqual(client.has(ours), Object.hasOwn(WITHOUT, name), `${ours} is in client/src, or there is a reason`);
    if (!client.has(ours)) continue;
    assert.equal(valueOf(client.get(ours), client), valueOf(expression, new Map([...units, ...rust])), name);
    compared.push(name);
  }
  assert.ok(compared.length >= 16, compared.join());
  for (const name of Object.keys(WITHOUT)) assert.ok(rust.has(name), `${name} is no limit any more`);
});

for (const [room, least] of [["mailbox", 17], ["registration", 1]])
  test(`every limit of ${room} that the client has is the protocol's`, () => {
    const text = readFileSync(`${ROOT}/protocol/src/${room}/limits.rs`, "utf8").replaceAll(/ as \w+/g, "");
    const limits = constants(text, RUST);
    const compared = [];
    for (const [name, expression] of limits) {
      const ours = expression.startsWith("Duration") ? `${name}_MS` : name;
      // A name that limits.rs has too is compared with that one.
      if (!client.has(ours) || rust.has(name)) continue;
      assert.equal(valueOf(client.get(ours), client), valueOf(expression, new Map([...units, ...rust, ...limits])), name);
      compared.push(name);
    }
    assert.ok(compared.length >= least, compared.join());
  });

test("those within a regular expression are, too", () => {
  for (const [isName, limit] of [
    [isCommunity, "COMMUNITY_MAX_BYTES"],
    [isPeerId, "PEER_ID_MAX_BYTES"],
  ]) {
    const most = valueOf(rust.get(limit), rust);
    assert.deepEqual([isName("a".repeat(most)), isName("a".repeat(most + 1))], [true, false], limit);
  }
});
