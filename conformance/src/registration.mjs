// Who registers a key (section 21 of the specification): what is signed, and what is asked.

import { canonical, newKey, signText } from "./signing.mjs";

const FORM = { "Content-Type": "application/x-www-form-urlencoded" };

/** An address that no mail reaches (RFC 2606, section 2). */
export const newEmail = () => `conformance-${Math.floor(Math.random() * 2 ** 40).toString(36)}@conformance.invalid`;

/** A good payload, but for what is overridden. */
export const payloadOf = (trial, overrides = {}) => ({
  audience: trial.beacon.audience,
  community: trial.community,
  email: newEmail(),
  issuedAt: trial.now(),
  ...overrides,
});

/** A signed registration; a field of the payload that is `undefined` is left out, `envelope` replaces what is around the payload. */
export function sealRegistration(fields, { signer = newKey(), as = "rendezvous-registration-v1:register\n", envelope = {} } = {}) {
  const payload = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const signature = signText(`${as}${canonical(payload)}`, signer);
  return { version: 1, algorithm: "ed25519", publicKey: signer.publicKey, signature, payload, ...envelope };
}

/** A good registration, but for what is overridden. */
export const registration = (trial, overrides, options) => sealRegistration(payloadOf(trial, overrides), options);

/** Asks for a link; `body` is sent in the place of the registration. */
export const register = (trial, signed, { body = JSON.stringify({ registration: signed }), ...options } = {}) =>
  trial.request("/register", { method: "POST", body, ...options });

/** Sends the form of the page, with these fields; a header that is `undefined` is left out. */
export function sendForm(trial, path, fields, headers = {}) {
  const all = Object.entries({ ...FORM, ...headers }).filter(([, value]) => value !== undefined);
  return trial.request(path, { method: "POST", body: `${new URLSearchParams(fields)}`, headers: Object.fromEntries(all) });
}

/** Presses the button of the page of a link, as a browser does there. */
export const press = (trial, fields, headers = {}) =>
  sendForm(trial, "/verify", fields, { Origin: trial.beacon.audience, "Sec-Fetch-Site": "same-origin", ...headers });
