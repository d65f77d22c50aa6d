// Section 22 of the specification: the door for the users of hivemind-rendezvous.

import assert from "node:assert/strict";
import { createHash, createPublicKey, randomBytes } from "node:crypto";
import { anyNode, asDepositor, deposit, isDone, isRefused, nameOf, newNode, payloadOf, post, prove, retrieve, secondsOf } from "../hivemind.mjs";

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

const add = (id, title, run, attack) => cases.push({ id: `hivemind.${id}`, spec: "22", title, level: "full", attack, run });

// The relay's name, and the paths

add("name", "GET /pubkey gives a name in the form of a key of 2,048 bits, the same each time", async (trial) => {
  const name = await nameOf(trial);
  const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey(name);
  assert.deepEqual([asymmetricKeyType, asymmetricKeyDetails.modulusLength], ["rsa", 2_048]);
  assert.equal(await nameOf(trial), name);
});
for (const [path, method] of [["/pubkey", "POST"], ["/deposit", "GET"], ["/retrieve", "GET"], ["/retrieve", "PUT"]])
  add(`methods.${path.slice(1)}-${method.toLowerCase()}`, "another method is 404 not_found", async (trial) =>
    isRefused(await trial.request(path, { method, ...(method === "GET" ? {} : { body: "{}" }) }), 404, "not_found"),
  );

// Bodies, of both

for (const path of ["/deposit", "/retrieve"]) {
  const body = (id, status, word, title, text, attack) =>
    add(`body.${path.slice(1)}.${id}`, `refuses ${title}: ${word}`, async (trial) => isRefused(await post(trial, path, undefined, text), status, word), attack);
  body("empty", 400, "empty_body", "no bytes", "");
  body("too-large", 413, "payload_too_large", "more than 262,144 bytes", " ".repeat(262_145), "exhaustion");
  body("no-json", 400, "invalid_json", "what is not JSON", "{");
  body("array", 400, "invalid_body", "JSON of something else than an object", "[]");
  body("no-fields", 400, "missing_fields", "an object without fields", "{}");
}

// What may not be left

const refused = (id, status, word, title, make, attack) =>
  add(
    `deposit.${id}`,
    `refuses ${title}: ${word}`,
    async (trial) => {
      const node = await anyNode(trial);
      isRefused(await deposit(trial, node, await make(node, trial)), status, word);
    },
    attack,
  );
for (const field of ["payload", "target_pubkey"])
  for (const [id, value] of Object.entries({ absent: undefined, null: null, empty: "" }))
    refused(`${field}.${id}`, 400, "missing_fields", `${field} that is ${id}`, () => ({ [field]: value }));
refused("payload.number", 400, "invalid_body", "a payload that is a number", () => ({ payload: 1 }));
add("deposit.twice", "refuses a field that stands twice: invalid_body", async (trial) => {
  const node = await anyNode(trial);
  const text = JSON.stringify({ payload: payloadOf("one"), target_pubkey: node.publicKey });
  isRefused(await post(trial, "/deposit", undefined, text.replace("{", '{"payload":"{}",')), 400, "invalid_body");
}, "confusion");
for (const [id, ttl] of Object.entries({ zero: 0, negative: -1, fraction: 1.5, text: "many", "thirteen-digits": "1000000000000" }))
  refused(`ttl.${id}`, 400, "invalid_ttl", "a lifetime that is not a number of seconds from 1", () => ({ ttl }));
refused("key.text", 400, "invalid_pubkey", "a key that is none", () => ({ target_pubkey: "somebody" }));
refused("key.short", 400, "invalid_pubkey", "a key of 1,024 bits", async () => ({ target_pubkey: (await newNode(1_024)).publicKey }), "weak-keys");
refused("depositor.type", 400, "invalid_body", "a depositor's field of another type", () => ({ depositor_pubkey: 1 }));
const byDepositor = (id, title, options, attack) =>
  refused(`depositor.${id}`, 401, "invalid_depositor_signature", title, async (node, trial) => asDepositor(await prove(trial, node, options(trial))), attack);
byDepositor("late", "a depositor's proof of more than a minute ago", (trial) => ({ timestamp: secondsOf(trial) - 70 }), "replay");
byDepositor("early", "a depositor's proof of more than a minute ahead", (trial) => ({ timestamp: secondsOf(trial) + 70 }), "future");
byDepositor("other-relay", "a depositor's proof for another relay", () => ({ relay: "another" }), "replay");
refused("depositor.forged", 401, "invalid_depositor_signature", "a depositor's proof by another key", async (node, trial) => {
  const proof = await prove(trial, node);
  return asDepositor({ ...proof, pubkey: (await newNode()).publicKey });
}, "forgery");
for (const [id, payload] of Object.entries({ "no-json": "hello", array: "[]", text: '"intercom"' }))
  refused(`payload.${id}`, 400, "invalid_payload", "a payload that is not the text of a JSON object", () => ({ payload }));
refused("payload.other-type", 400, "payload_must_be_intercom", "another kind of message", () => ({ payload: payloadOf("x", { msg_type: "bus" }) }));
refused("payload.hollow", 400, "payload_must_be_intercom", "a message without a payload", () => ({ payload: JSON.stringify({ msg_type: "intercom" }) }));
refused("payload.inner", 400, "invalid_payload", "an inner text that begins as an object and is none", () => ({ payload: payloadOf("", { payload: "{" }) }));
const fingerprint = (value) => ({ payload: { ciphertext: "x", recipient_fingerprint: value } });
refused("fingerprint.type", 400, "invalid_recipient_fingerprint", "a fingerprint that is not a text", () => ({ payload: payloadOf("", fingerprint(1)) }));
refused("fingerprint.other", 400, "recipient_fingerprint_mismatch", "the fingerprint of another key", () => ({
  payload: payloadOf("", fingerprint(randomBytes(32).toString("base64"))),
}), "confusion");

// What may not be retrieved

const kept = (id, status, word, title, make, attack) =>
  add(
    `retrieve.${id}`,
    `refuses ${title}: ${word}`,
    async (trial) => isRefused(await retrieve(trial, await make(await anyNode(trial), trial)), status, word),
    attack,
  );
for (const field of ["pubkey", "timestamp", "signature"])
  kept(`without-${field}`, 400, "missing_fields", `a retrieval without ${field}`, async (node, trial) => ({ ...(await prove(trial, node)), [field]: undefined }));
kept("key", 400, "invalid_pubkey", "a key that is none", async (node, trial) => ({ ...(await prove(trial, node)), pubkey: "somebody" }));
kept("late", 401, "replay_detected", "a proof of more than a minute ago", (node, trial) => prove(trial, node, { timestamp: secondsOf(trial) - 70 }), "replay");
kept("early", 401, "replay_detected", "a proof of more than a minute ahead", (node, trial) => prove(trial, node, { timestamp: secondsOf(trial) + 70 }), "future");
kept("other-relay", 401, "invalid_signature", "a proof for another relay", (node, trial) => prove(trial, node, { relay: "another" }), "replay");
kept("salt", 401, "invalid_signature", "a signature with another salt", (node, trial) => prove(trial, node, { saltLength: 20 }));
kept("no-base64", 401, "invalid_signature", "a signature that is not base64", async (node, trial) => ({ ...(await prove(trial, node)), signature: "?" }));
kept("forged", 401, "invalid_signature", "a proof by another key", async (node, trial) => ({ ...(await prove(trial, await newNode())), pubkey: node.publicKey }), "mail-theft");
kept("changed", 401, "invalid_signature", "a proof whose time was changed", async (node, trial) => {
  const proof = await prove(trial, node);
  return { ...proof, timestamp: proof.timestamp + 1 };
}, "tampering");

// What becomes of messages

/** Leaves a message, and returns its payload and its identifier. */
async function leave(trial, to, text, fields) {
  const payload = payloadOf(text);
  const { deposit_id: id } = isDone(await deposit(trial, to, { payload, ...fields }));
  assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  return { payload, id };
}
const messagesOf = async (trial, proof) => isDone(await retrieve(trial, proof)).messages;

add("handed-over", "a message is handed over as it was left, the oldest first, and once", async (trial) => {
  const node = await newNode();
  assert.deepEqual(await messagesOf(trial, await prove(trial, node)), []);
  const left = [await leave(trial, node, "one"), await leave(trial, node, "\u00e9\n\ud834\udd1e two")];
  const proof = await prove(trial, node, { timestamp: secondsOf(trial) + 1 });
  const payloads = left.map(({ payload }) => payload);
  assert.deepEqual(await messagesOf(trial, proof), payloads);
  assert.deepEqual(await messagesOf(trial, proof), payloads, "to the very same proof the same again");
  assert.deepEqual(await messagesOf(trial, await prove(trial, node, { timestamp: secondsOf(trial) + 2 })), []);
}, "replay");
add("same", "the same payload is one message, with one identifier", async (trial) => {
  const node = await newNode();
  const [first, second] = [await leave(trial, node, "same"), await leave(trial, node, "same", { ttl: 60 })];
  assert.equal(first.id, second.id);
  assert.deepEqual(await messagesOf(trial, await prove(trial, node)), [first.payload]);
});
add("spelling", "a mailbox is its key's, however the key is written", async (trial) => {
  const node = await newNode();
  const pkcs1 = createPublicKey(node.publicKey).export({ type: "pkcs1", format: "pem" });
  const one = await leave(trial, { publicKey: pkcs1 }, "one");
  const two = await leave(trial, { publicKey: `\n${node.publicKey}\n\n` }, "two");
  assert.deepEqual(await messagesOf(trial, await prove(trial, node, { pubkey: `${node.publicKey}\n` })), [one.payload, two.payload]);
});
add("numbers", "a number of seconds may be a text", async (trial) => {
  const node = await newNode();
  const { payload } = await leave(trial, node, "text", { ttl: "3600" });
  const { timestamp, ...proof } = await prove(trial, node);
  assert.deepEqual(await messagesOf(trial, { ...proof, timestamp: String(timestamp) }), [payload]);
});
add("fingerprint", "a message with the fingerprint of its recipient's key is taken", async (trial) => {
  const node = await newNode();
  const of = createHash("sha256").update(node.publicKey).digest("base64");
  isDone(await deposit(trial, node, { payload: payloadOf("", fingerprint(of)) }));
});
add("incomplete-depositor", "not all of a depositor's three fields are as if none", async (trial) => {
  const node = await newNode();
  await leave(trial, node, "one", { depositor_pubkey: "nobody", depositor_signature: "?" });
});
add("depositor", "a depositor's proof lets nobody retrieve", async (trial) => {
  const [from, to] = await Promise.all([newNode(), newNode()]);
  const { payload } = await leave(trial, from, "for the depositor");
  const proof = await prove(trial, from);
  await leave(trial, to, "by the depositor", asDepositor(proof));
  isRefused(await retrieve(trial, proof), 401, "replay_detected");
  assert.deepEqual(await messagesOf(trial, await prove(trial, from, { timestamp: proof.timestamp + 1 })), [payload]);
}, "mail-theft");
add("not-opened", "a mailbox that nobody has opened keeps two messages", async (trial) => {
  const node = await newNode();
  const left = [await leave(trial, node, "one"), await leave(trial, node, "two")];
  isRefused(await deposit(trial, node, { payload: payloadOf("three") }), 507, "mailbox_full");
  assert.deepEqual(await messagesOf(trial, await prove(trial, node)), left.map(({ payload }) => payload));
}, "exhaustion");
