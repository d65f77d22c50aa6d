// coturn, a relay (TURN) that a beacon shares a secret with. TURNSERVER names another place.

import { ensurePackage, findRunnable } from "./debian.mjs";

const PLACES = ["/usr/bin/turnserver", "/usr/local/bin/turnserver", "/opt/homebrew/bin/turnserver"];

export const ADVICE =
  "The tests of the relay need coturn: apt install coturn (Debian), dnf install coturn (Fedora), brew install coturn\n" +
  "(macOS). TURNSERVER=/path/to/turnserver names one that is elsewhere.";

/** @returns {string | undefined} */
export const findCoturn = () => findRunnable(process.env.TURNSERVER ? [process.env.TURNSERVER] : PLACES);

export async function ensureCoturn() {
  if (process.env.TURNSERVER && !findCoturn()) return console.error(ADVICE);
  await ensurePackage({ name: "coturn", takes: "some seconds, once", advice: ADVICE, find: findCoturn });
}
