// The browser of the tests: Chromium as the system has it. CHROMIUM names another.

import { ensurePackage, findRunnable } from "./debian.mjs";

const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

export const ADVICE =
  "The tests in a browser need Chromium: apt install chromium (Debian), dnf install chromium (Fedora), or Chrome from\n" +
  "https://www.google.com/chrome. CHROMIUM=/path/to/it names one that is elsewhere.";

/** What it is started with. */
export const CHROMIUM_ARGUMENTS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Data channels on this machine, also where it has no network that they could take, or none with multicast, by which
  // the names that stand for local addresses are looked up.
  "--allow-loopback-in-peer-connection",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
];

/** @returns {string | undefined} */
export const findChromium = () => findRunnable(process.env.CHROMIUM ? [process.env.CHROMIUM] : PLACES);

/** Installs it where that needs no questions. Elsewhere says what to do, and the tests will fail. */
export async function ensureChromium() {
  if (process.env.CHROMIUM && !findChromium()) return console.error(ADVICE);
  await ensurePackage({ name: "chromium", takes: "about 1 minute, once", advice: ADVICE, find: findChromium });
}
