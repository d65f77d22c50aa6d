// Section 21 of the specification: registrations, as far as they go without a mail.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { newEmail, payloadOf, press, register, registration, sendForm } from "../registration.mjs";
import { SMALL_ORDER, base64, malleate, newKey } from "../signing.mjs";
import { Skip } from "../trial.mjs";

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

const add = (id, title, run, attack) => cases.push({ id: `registration.${id}`, spec: "21", title, level: "full", attack, run });

const MINUTE_MS = 60_000;

const isPage = ({ status, headers, text }, expected) => {
  assert.equal(status, expected, text.slice(0, 300));
  assert.match(headers["content-type"] ?? "", /^text\/html/);
};

/** A beacon sends few mails a day, and counts an asking as one. */
function isTaken({ status, json, text }) {
  if (status === 429) throw new Skip("this network, or everybody, has had its mails of the day");
  assert.deepEqual([status, json?.ok, Number.isSafeInteger(json?.serverTime)], [202, true, true], text.slice(0, 300));
}

// What is refused, and by which name

const refused = (id, code, title, make, attack) =>
  add(
    `refused.${id}`,
    `refuses ${title}: ${code}`,
    async (trial) => {
      const made = await make(trial);
      trial.isRefused(await (typeof made === "string" ? register(trial, undefined, { body: made }) : register(trial, made)), code);
    },
    attack,
  );
const payload = (id, title, overrides, attack) => refused(id, "MALFORMED", title, (trial) => registration(trial, overrides), attack);

for (const field of ["audience", "community", "email", "issuedAt"])
  payload(`without.${field}`, `a registration without ${field}`, { [field]: undefined });
for (const field of ["version", "algorithm", "publicKey", "signature", "payload"])
  refused(`without.${field}`, "MALFORMED", `a registration without ${field}`, (trial) => registration(trial, {}, { envelope: { [field]: undefined } }));
payload("null", "null in a registration", { email: null });
payload("unknown-field", "an unknown field", { comment: "" }, "confusion");
refused("unknown-field-around", "MALFORMED", "an unknown field beside the payload", (trial) =>
  registration(trial, {}, { envelope: { comment: "" } }),
);
refused(
  "twice",
  "MALFORMED",
  "a key that stands twice",
  (trial) => JSON.stringify({ registration: registration(trial) }).replace('"email":', '"email":"other@conformance.invalid","email":'),
  "confusion",
);
refused("no-json", "MALFORMED", "what is not JSON", () => "{");
refused("no-registration", "MALFORMED", "a body without a registration", () => "{}");
refused("bare", "MALFORMED", "a registration without what is around it", (trial) => JSON.stringify(registration(trial)));
refused("too-large", "BODY_TOO_LARGE", "a body of more than 4,096 bytes", () => " ".repeat(4_097), "exhaustion");
refused("key-short", "MALFORMED", "a key of 31 bytes", (trial) => registration(trial, {}, { envelope: { publicKey: base64(31) } }));
payload("community", "a community that nobody can have", { community: "a b" });
payload("audience", "an audience with a slash at its end", { audience: "https://beacon.example/" });
payload("issued-fraction", "a time with a fraction", { issuedAt: 1.5 });
for (const [id, email] of Object.entries({
  empty: "",
  "no-at": "conformance.invalid",
  "two-at": "a@b@conformance.invalid",
  space: "a b@conformance.invalid",
  "line-end": "a@conformance.invalid\r\nBcc: b@conformance.invalid",
  "line-feed": "a@conformance.invalid\n",
  zero: "a\u0000@conformance.invalid",
  brackets: "<a@conformance.invalid>",
  "two-recipients": "a@conformance.invalid,b@conformance.invalid",
  quoted: '"a"@conformance.invalid',
  comment: "a(b)@conformance.invalid",
  "address-literal": "a@[192.0.2.1]",
  address: "a@192.0.2.1",
  port: "a@conformance.invalid:25",
  "one-label": "a@invalid",
  "two-dots": "a..b@conformance.invalid",
  "dot-before": ".a@conformance.invalid",
  "dot-behind": "a@conformance.invalid.",
  hyphen: "a@-conformance.invalid",
  "beyond-ascii": "zo\u00eb@conformance.invalid",
  "local-65": `${"a".repeat(65)}@conformance.invalid`,
  "label-64": `a@${"b".repeat(64)}.invalid`,
  "bytes-255": `a@${Array(4).fill("b".repeat(60)).join(".")}.invalid12`,
}))
  payload(`email.${id}`, "an address that is not one", { email }, /line|recipients|brackets/.test(id) ? "confusion" : undefined);
refused("version-two", "UNSUPPORTED_VERSION", "another version", (trial) => registration(trial, {}, { envelope: { version: 2 } }));
refused("algorithm", "UNSUPPORTED_ALGORITHM", "another algorithm", (trial) => registration(trial, {}, { envelope: { algorithm: "rsa" } }));
refused("audience-other", "MISDIRECTED_REQUEST", "what was signed for another beacon", (trial) => registration(trial, { audience: "https://other.invalid" }), "replay");
refused("future", "NOT_YET_VALID", "one of a minute ahead", (trial) => registration(trial, { issuedAt: trial.now() + MINUTE_MS }), "future");
refused("old", "EXPIRED", "one of 16 minutes ago", (trial) => registration(trial, { issuedAt: trial.now() - 16 * MINUTE_MS }), "replay");

const forged = (id, title, make, attack = "forgery") => refused(`signature.${id}`, "SIGNATURE_INVALID", title, make, attack);
forged("random", "a signature of nobody", (trial) => registration(trial, {}, { envelope: { signature: base64(64) } }));
forged("another-key", "one under another key", (trial) => registration(trial, {}, { envelope: { publicKey: newKey().publicKey } }));
forged(
  "changed",
  "one whose address was changed",
  (trial) => registration(trial, {}, { envelope: { payload: payloadOf(trial) } }),
  "tampering",
);
forged("domain", "one that was signed as an entry of a directory", (trial) => registration(trial, {}, { as: "rendezvous-directory-v1:entry\n" }), "confusion");
forged("payload-alone", "one that was signed without its domain", (trial) => registration(trial, {}, { as: "" }), "confusion");
forged(
  "s-plus-order",
  "S + L in the place of S",
  (trial) => {
    const signed = registration(trial);
    return { ...signed, signature: malleate(signed.signature) };
  },
  "malleability",
);
forged(
  "small-order",
  "a key of small order",
  (trial) => {
    const [point] = SMALL_ORDER;
    const envelope = { publicKey: point.toString("base64"), signature: Buffer.concat([point, Buffer.alloc(32)]).toString("base64") };
    return registration(trial, {}, { envelope });
  },
  "weak-keys",
);

// In which order

const order = (id, code, title, make) => refused(`order.${id}`, code, title, make);
order("shape", "MALFORMED", "the shape before the version", (trial) => registration(trial, { email: "a" }, { envelope: { version: 2 } }));
order("version", "UNSUPPORTED_VERSION", "the version before the algorithm", (trial) => registration(trial, {}, { envelope: { version: 2, algorithm: "rsa" } }));
order("audience", "MISDIRECTED_REQUEST", "whom it is for before its time", (trial) => registration(trial, { audience: "https://other.invalid", issuedAt: 0 }));
order("time", "EXPIRED", "its time before the signature", (trial) => registration(trial, { issuedAt: 0 }, { envelope: { signature: base64(64) } }));

// What is taken

add("taken", "a good registration is taken, in any layout, and what it says is the same whoever asks again", async (trial) => {
  const [signer, email] = [newKey(), newEmail()];
  const signed = registration(trial, { email }, { signer });
  const first = await register(trial, signed);
  isTaken(first);
  const turned = Object.fromEntries(Object.entries(signed).reverse());
  const again = await register(trial, undefined, { body: JSON.stringify({ registration: turned }, null, "\t") });
  isTaken(again);
  assert.deepEqual(Object.keys(again.json).sort(), Object.keys(first.json).sort());
});
add("form.page", "GET /register is a page with a form that has the field `registration`", async (trial) => {
  const reply = await trial.request("/register");
  isPage(reply, 200);
  assert.match(reply.text, /<form[^>]*method="?post/i);
  assert.match(reply.text, /name="?registration/i);
});
add("form.refused", "to a form, a refusal is a page", async (trial) => {
  isPage(await sendForm(trial, "/register", { registration: "{" }), 400);
  isPage(await sendForm(trial, "/register", { registration: JSON.stringify(registration(trial, {}, { as: "" })) }), 403);
});
add("form.twice", "a form with two registrations is refused", async (trial) => {
  const text = JSON.stringify(registration(trial, {}, { as: "" }));
  isPage(await sendForm(trial, "/register", [["registration", text], ["registration", text]]), 400);
}, "confusion");
for (const [path, allowed] of [["/register", ["GET", "POST"]], ["/verify", ["GET", "POST"]]])
  add(`methods.${path.slice(1)}`, "another method is 405, with those that there are", async (trial) => {
    const { status, headers } = await trial.request(path, { method: "PUT", body: "{}" });
    assert.equal(status, 405);
    const allow = headers.allow.split(/, */);
    for (const one of allowed) assert.ok(allow.includes(one), allow.join());
  });

// Links, of which nobody here has one

const unknown = () => randomBytes(32).toString("hex");
add("link.unknown", "a link that never was has ended: a page, 410", async (trial) => isPage(await trial.request(`/verify?token=${unknown()}`), 410));
add("link.broken", "a link without its token, or with a part of it, is 400", async (trial) => {
  for (const query of ["", "?token=", `?token=${unknown().slice(1)}`, `?token=${unknown().toUpperCase().replace(/^./, "A")}`])
    isPage(await trial.request(`/verify${query}`), 400);
});
add("button.unknown", "the button of such a link is 410", async (trial) => isPage(await press(trial, { token: unknown() }), 410));
for (const [id, headers] of Object.entries({
  "no-origin": { Origin: undefined },
  "other-origin": { Origin: "https://other.invalid" },
  "null-origin": { Origin: "null" },
  "cross-site": { "Sec-Fetch-Site": "cross-site" },
  "same-site": { "Sec-Fetch-Site": "same-site" },
}))
  add(`button.${id}`, "the button confirms nothing but from its own page: 403", async (trial) => isPage(await press(trial, { token: unknown() }, headers), 403), "forgery");
add("button.type", "what is not the form of the page confirms nothing", async (trial) => {
  for (const type of ["text/plain", "application/json", "multipart/form-data; boundary=x"])
    isPage(await press(trial, { token: unknown() }, { "Content-Type": type }), 400);
}, "forgery");
add("button.twice", "a form with two tokens confirms nothing", async (trial) => {
  isPage(await press(trial, [["token", unknown()], ["token", unknown()]]), 400);
}, "confusion");
