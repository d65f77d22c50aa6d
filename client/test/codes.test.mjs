// The codes of the client are those of the protocol: each code of protocol/src/code.rs has the form by which a beacon's
// answer is read, and an explanation, or it is said here why not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { explain } from "../dist/index.js";
import { isCode } from "../build/internals.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PUBLISHER = "for the publisher's program: neither a beacon nor a capsule tells a client";
const LIVE = "what this library never sends over a connection to a beacon";
const MAILBOX = "of prekeys, for which this library does not ask";

const DIRECTORY = "for who puts entries into a directory, which this library does not";

const NOT_EXPLAINED = {
  ANSWER_TOO_LARGE: PUBLISHER,
  HUB_FULL: DIRECTORY,
  ORIGIN_MISMATCH: DIRECTORY,
  PREKEYS_UNKNOWN: MAILBOX,
  SINCE_INVALID: LIVE,
  STALE_ENTRY: DIRECTORY,
};
const MESSAGE = "a message that this library opens, or has not sent";
const CONNECTION = "a connection of this page's, of which no beacon knows";
const ONLY_OURS = {
  BODY_MALFORMED: MESSAGE,
  BODY_MISDIRECTED: MESSAGE,
  CONFIRMATION_INVALID: CONNECTION,
  CONNECTION_FAILED: CONNECTION,
  DESCRIPTION_INVALID: CONNECTION,
  HANDLER_FAILED: MESSAGE,
  NETWORK: "a request of this library's",
  NOT_RUNNING: "this library's state",
  NO_SEALING_KEY: MESSAGE,
  OWN_PEER_ID: "this page's own name",
  PADDING_INVALID: MESSAGE,
  PEER_ID_TAKEN: "what beacons of version 0.1.0 answer",
  REFUSED: CONNECTION,
  REPLACED: "the reason of a close",
  REVOKED_BEACON: "a beacon that this library does not ask",
  SEALING_KEY_UNKNOWN: MESSAGE,
  SEAL_BROKEN: MESSAGE,
  SIGN_FAILED: "the application's signer",
  SLOW: "the reason of a close",
  STORE_FAILED: MESSAGE,
  SUITE_UNKNOWN: MESSAGE,
  TIMEOUT: "a request of this library's",
  TOO_LARGE: "a request of this library's",
  UNSOLICITED: CONNECTION,
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

test("every code is read as itself, and nothing else as one", () => {
  assert.deepEqual(rust.filter((code) => !isCode(code)), []);
  for (const other of ["", "ok", "HTTP_200", "A".repeat(65), "NO CODE", ["EXPIRED"], 5, null, undefined]) assert.equal(isCode(other), false, String(other));
});

test("every code beside the protocol's is one that this library knows from elsewhere", () => {
  assert.deepEqual(
    explained.filter((code) => !rust.includes(code)).sort(),
    Object.keys(ONLY_OURS),
  );
});
