// Fills corpus/ with the cases of tests/vectors/, so that fuzzing starts from what parses: node protocol/fuzz/seed.mjs
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const read = (name) => JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}`, import.meta.url), "utf8"));

function write(target, seeds) {
  const folder = new URL(`corpus/${target}/`, import.meta.url);
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of seeds) {
    writeFileSync(new URL(name, folder), text);
  }
}

const tickets = read("tickets.json").map(({ name, ticket }) => [name, ticket]);
write("ticket", tickets);
write("announce_body", [
  ...tickets.map(([name, ticket]) => [name, `{"ticket":${ticket}}`]),
  ...tickets.map(([name, ticket]) => [`${name}_community`, `{"community":"mainnet","ticket":${ticket}}`]),
]);
write(
  "capsule",
  [...read("capsules.json"), ...read("trust.json")].map(({ name, file }) => [name, file]),
);
const guest = { type: "online", peerId: "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X", ts: 1_700_000_000_000 };
const addrs = ["/ip4/203.0.113.7/tcp/4001", "/ip4/203.0.113.7/udp/4001/quic-v1/webtransport/certhash/uEiA", "/dns4/a.example/tcp/443"];
write("presence", [
  ["shortest", JSON.stringify(guest)],
  ["full", JSON.stringify({ ...guest, content: "a", avatarHash: "b", videoDisabled: true, activeTemplate: "c", addrs, publicKey: "d", encryptionSupported: true, goopClientVersion: "e" })],
]);
write(
  "signal",
  read("signals.json").flatMap(({ name, signal }) => (signal === undefined ? [] : [[name, signal]])),
);
write(
  "root",
  read("roots.json").flatMap(({ name, trusted, chain }) => [
    [`${name}_trusted`, trusted],
    ...chain.flatMap(({ root, signatures }, at) => [
      [`${name}_${at}`, root ?? ""],
      [`${name}_${at}_signatures`, signatures ?? ""],
    ]),
  ]),
);
write("mailbox_record", [...read("mailbox/records.json"), ...read("mailbox/relay-records.json")].map(({ name, json }) => [name, json]));
write("mailbox_body", read("mailbox/bodies.json").map(({ name, body }) => [name, body]));
const auth = {
  fingerprint: "",
  identity_key: "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
  signing_key: "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI",
  timestamp: "1700000000",
  nonce: "0123456789abcdef",
  signature: "A".repeat(86),
};
auth.fingerprint = createHash("sha256").update(`${auth.identity_key}|${auth.signing_key}`).digest("hex").slice(0, 32);
const { fingerprint: user_id, timestamp: ts, signature: sig, ...both } = auth;
const to = auth.fingerprint;
write("retalk_request", Object.entries({
  count_keys: {},
  claim_key: { peer: to },
  nack: { hash: "ab".repeat(32), sig },
  publish_keys: { identity_key: auth.identity_key, signing_key: auth.signing_key, one_time_keys: { a: auth.identity_key }, fallback_key: { b: auth.signing_key } },
  read_messages: { peer: to, peek: true },
  send_message: { to, mtype: 0, body: "aGk=" },
}).flatMap(([tool, args]) => [
  [tool, JSON.stringify({ tool, args: { ...args, auth } })],
  [`${tool}_first`, JSON.stringify({ tool, args: { ...args, auth: { ...both, user_id, ts, sig } } })],
]));
const hivemind = read("hivemind/proofs.json").proofs.map(({ name, body }) => [name, body]);
const { pubkey } = JSON.parse(hivemind[0][1]);
const payload = JSON.stringify({ msg_type: "intercom", payload: { ciphertext: "aGk=", recipient_fingerprint: createHash("sha256").update(pubkey).digest("base64") } });
write("hivemind_request", [
  ...hivemind,
  ...hivemind.map(([name, body]) => {
    const { pubkey: depositor_pubkey, timestamp: depositor_timestamp, signature: depositor_signature } = JSON.parse(body);
    return [`deposit_${name}`, JSON.stringify({ payload, target_pubkey: pubkey, ttl: 60, depositor_pubkey, depositor_timestamp, depositor_signature })];
  }),
]);
const records = read("directory/records.json");
write("directory_exchange", records.map(({ name, record, json }) =>
  record === "exchange" ? [name, `{"exchange":${json}}`] : [name, `{"more":false,"ok":true,"position":"00000001-1","records":[{"${record}":${json}}],"serverTime":1}`],
));
write("replication", [
  ...read("mailbox/records.json").filter(({ record }) => ["card", "policy"].includes(record)).map(({ name, record, json }) => [name, `[{"${record}":${json}}]`]),
  ...read("mailbox/bodies.json").filter(({ kind }) => kind === "deposit").map(({ name, body }) => [name, `[${body}]`]),
  ...read("mailbox/bodies.json").filter(({ kind }) => kind === "acks").map(({ name, body }) => [name, body.replace(/^\{"acks":/, "").replace(/\}$/, "")]),
]);
