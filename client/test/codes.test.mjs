// The codes of the client are those of the protocol: each code of protocol/src/code.rs is one that a beacon's answer is read
// with, and has an explanation, or it is said here why not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { explain } from "../dist/index.js";
import { isBeaconCode } from "../build/internals.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PUBLISHER = "for the publisher's program: neither a beacon nor a capsule tells a client";
const JUDGED = "what a reader finds wrong with a capsule, a root or a list: no beacon says so of itself";
const LIVE = "of live presence, for which this library does not ask";

const NOT_EXPLAINED = {
  ANOTHER_PEER: LIVE,
  ANSWER_TOO_LARGE: PUBLISHER,
  BIND_REQUIRED: LIVE,
  LIFETIME_TOO_SHORT: PUBLISHER,
  LIVE_FULL: LIVE,
  NOT_BOUND: LIVE,
  NOT_LISTED: LIVE,
  PEER_ABSENT: LIVE,
  PEER_BUSY: LIVE,
  SIGNAL_TIME: LIVE,
  SINCE_INVALID: LIVE,
  TOO_FAST: LIVE,
  TOO_MANY: PUBLISHER,
  UPGRADE_REQUIRED: LIVE,
};
const NOT_ANSWERED = {
  ...NOT_EXPLAINED,
  DUPLICATE: JUDGED,
  ROLLBACK: JUDGED,
  ROOT_EXPIRED: JUDGED,
  ROOT_OUT_OF_SEQUENCE: JUDGED,
  THRESHOLD_NOT_MET: JUDGED,
};
const ONLY_OURS = {
  NETWORK: "a request of this library's",
  NOT_RUNNING: "this library's state",
  OWN_PEER_ID: "this page's own name",
  PEER_ID_TAKEN: "what beacons of version 0.1.0 answer",
  REVOKED_BEACON: "a beacon that this library does not ask",
  SIGN_FAILED: "the application's signer",
  TIMEOUT: "a request of this library's",
  TOO_LARGE: "a request of this library's",
};

/** How `text` spells codes, each time that `pattern` matches. */
const spelt = (file, pattern) => [...readFileSync(`${ROOT}/${file}`, "utf8").matchAll(pattern)].map(([, code]) => code);

const rust = spelt("protocol/src/code.rs", /^ +Self::\w+ => "([A-Z_\d]+)",$/gm);
const explained = spelt("client/src/explain.ts", /^ +([A-Z_\d]+): "/gm);

test("every code of the protocol's is explained, or it is said why not", () => {
  assert.ok(rust.length >= 30, "all of them are read");
  assert.deepEqual(
    rust.filter((code) => !explained.includes(code)),
    Object.keys(NOT_EXPLAINED),
  );
  for (const code of explained) assert.doesNotMatch(explain(code), /status/, code);
});

test("every code that a beacon answers is read as itself", () => {
  assert.deepEqual(
    rust.filter((code) => !isBeaconCode(code)),
    Object.keys(NOT_ANSWERED).filter((code) => rust.includes(code)).sort(),
  );
});

test("every code beside the protocol's is one that this library knows from elsewhere", () => {
  assert.deepEqual(
    explained.filter((code) => !rust.includes(code)).sort(),
    Object.keys(ONLY_OURS),
  );
});
