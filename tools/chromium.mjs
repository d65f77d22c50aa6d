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

/** @returns {string | undefined} */
export const findChromium = () => findRunnable(process.env.CHROMIUM ? [process.env.CHROMIUM] : PLACES);

/** Installs it where that needs no questions. Elsewhere says what to do, and the tests will fail. */
export async function ensureChromium() {
  if (process.env.CHROMIUM && !findChromium()) return console.error(ADVICE);
  await ensurePackage({ name: "chromium", takes: "about 1 minute, once", advice: ADVICE, find: findChromium });
}
