// Who uses the door for hivemind-rendezvous (section 22 of the specification): keys, proofs, and what is asked.

import assert from "node:assert/strict";
import { constants, generateKeyPair, sign } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

const generate = promisify(generateKeyPair);
const PEM = { publicKeyEncoding: { type: "spki", format: "pem" }, privateKeyEncoding: { type: "pkcs8", format: "pem" } };
/** The longest wait that the rate limit may ask for before this gives up. */
const PATIENCE_MS = 90_000;

/** Somebody with a key of RSA. */
export const newNode = (modulusLength = 2_048) => generate("rsa", { modulusLength, ...PEM });

/** One that every case may speak of, because nothing becomes of it. */
export const anyNode = (trial) => trial.beacon.once("hivemind node", () => newNode());

const ask = async (trial, path, options) => {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const reply = await trial.request(path, options);
    const waitMs = 1_000 * Number(reply.headers["retry-after"]);
    if (reply.json?.reason !== "rate_limit_exceeded" || !(waitMs > 0) || Date.now() + waitMs > until) return reply;
    await delay(waitMs);
  }
};

/** The relay's name. */
export async function nameOf(trial) {
  const { status, json, text } = await ask(trial, "/pubkey");
  assert.deepEqual([status, typeof json?.pubkey], [200, "string"], text.slice(0, 300));
  return json.pubkey;
}

/** The payload of a message with this text. */
export const payloadOf = (text, fields = {}) => JSON.stringify({ msg_type: "intercom", payload: { ciphertext: text }, ...fields });

export const post = (trial, path, json, body = JSON.stringify(json)) => ask(trial, path, { method: "POST", body });

/** Leaves a message that is good, but for what is overridden. */
export const deposit = (trial, to, fields = {}) =>
  post(trial, "/deposit", { payload: payloadOf("conformance"), target_pubkey: to.publicKey, ...fields });

/** The relay's clock, in seconds. */
export const secondsOf = (trial) => Math.floor(trial.now() / 1_000);

/**
 * A proof that is good, but for what is overridden; `relay` is whom it is for, `saltLength` of the signature.
 *
 * @param {import("./trial.mjs").Trial} trial
 */
export async function prove(trial, node, { relay, timestamp = secondsOf(trial), pubkey = node.publicKey, saltLength = 32 } = {}) {
  const message = ["hivemind-rendezvous-v1", pubkey, relay ?? (await nameOf(trial)), String(timestamp)].join("\0");
  const key = { key: node.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
  return { pubkey, timestamp, signature: sign("sha256", Buffer.from(message), key).toString("base64") };
}

export const retrieve = (trial, proof) => post(trial, "/retrieve", proof);

/** The proof of a depositor, as it comes with a deposit. */
export const asDepositor = ({ pubkey, timestamp, signature }) => ({
  depositor_pubkey: pubkey,
  depositor_timestamp: timestamp,
  depositor_signature: signature,
});

/** Asserts that something was done, and returns what was said. */
export function isDone({ status, json, text }) {
  assert.deepEqual([status, json?.status], [200, "ok"], text.slice(0, 300));
  return json;
}

/** Asserts a refusal by status and word. */
export function isRefused({ status, json, text }, expected, reason) {
  assert.deepEqual([status, json], [expected, { status: "error", reason }], text.slice(0, 300));
}
