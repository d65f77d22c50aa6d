// The vectors in tests/vectors/registration/, which the Rust code is held to as well. Nothing of Node is used here, so that
// the same module runs in a browser: hand it the parsed file and the built internals.

/** Counted, so that a file that lost its cases cannot pass. Those alone that a program signs. */
export const CASES = 53;

const fromHex = (text) => Uint8Array.from(text.match(/../g), (byte) => parseInt(byte, 16));

/** The key of the cases: its seed is 32 times 61. */
async function signerOf() {
  const pkcs8 = Uint8Array.from([...fromHex("302e020100300506032b657004220420"), ...new Uint8Array(32).fill(61)]);
  const key = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", key);
  const publicKey = Uint8Array.from(atob(x.replaceAll("-", "+").replaceAll("_", "/")), (unit) => unit.charCodeAt(0));
  return { publicKey, sign: async (message) => new Uint8Array(await crypto.subtle.sign("Ed25519", key, message)) };
}

/**
 * @param {any[]} registrations
 * @param {typeof import("../build/internals.js")} internals
 * @returns {Promise<string[]>} What is wrong, a line each.
 */
export async function checkRegistrationVectors(registrations, { canonical, readJson, signRegistration }) {
  const wrong = [];
  const cases = registrations.filter(({ signs }) => signs !== undefined);
  if (cases.length !== CASES) wrong.push(`${cases.length} cases`);
  const signer = await signerOf();
  for (const { name, signs, json } of cases) {
    const { audience, issuedAt, ...rest } = JSON.parse(json).payload;
    const made = await signRegistration(audience, rest, issuedAt, signer).then(canonical, (error) => error);
    if (signs) {
      if (made !== canonical(readJson(json))) wrong.push(`${name}: signed ${made}`);
      // Whatever the spelling of a beacon's address, what is signed is for the origin.
    } else if (name.startsWith("audience_") && typeof made === "string") {
      if (JSON.parse(made).payload.audience !== "https://beacon.example") wrong.push(`${name}: signed ${made}`);
    } else if (!(made instanceof TypeError) || made.message.includes("everybody")) wrong.push(`${name}: ${made}`);
  }
  return wrong;
}
