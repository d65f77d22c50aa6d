// The browser of the tests: Chromium as the system has it. CHROMIUM names another.

import { accessSync, constants, readFileSync } from "node:fs";
import { Failure, execute, interruption, step } from "./steps.mjs";

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
export function findChromium() {
  return [process.env.CHROMIUM || PLACES].flat().find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Installs it where that needs no questions: as root on Debian. Elsewhere says what to do, and the tests will fail. */
export async function ensureChromium() {
  if (findChromium()) return;
  if (process.env.CHROMIUM || process.getuid?.() !== 0 || !isDebian()) return console.error(ADVICE);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  try {
    await step("Installing Chromium", { takes: "about 1 minute, once", advice: ADVICE }, async () => {
      await execute("apt-get", ["update", "--quiet"], { environment });
      await execute("apt-get", ["install", "--yes", "--quiet", "--no-install-recommends", "chromium"], { environment });
    });
  } catch (error) {
    if (interruption.aborted || !(error instanceof Failure)) throw error;
    console.error(error.message);
  }
}

function isDebian() {
  try {
    return /^ID=debian$/m.test(readFileSync("/etc/os-release", "utf8"));
  } catch {
    return false;
  }
}
