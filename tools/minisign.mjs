// minisign, which checks capsules' signatures and knows nothing of this project. MINISIGN names another.

import { ensurePackage, findOnPath, findRunnable } from "./debian.mjs";

export const ADVICE =
  "The tests of peers.json.minisig need minisign: apt install minisign (Debian), dnf install minisign (Fedora), brew\n" +
  "install minisign (macOS). MINISIGN=/path/to/it names one that is elsewhere.";

/** @returns {string | undefined} */
export const findMinisign = () =>
  process.env.MINISIGN ? findRunnable([process.env.MINISIGN]) : findOnPath("minisign");

export async function ensureMinisign() {
  if (process.env.MINISIGN && !findMinisign()) return console.error(ADVICE);
  await ensurePackage({ name: "minisign", takes: "some seconds, once", advice: ADVICE, find: findMinisign });
}
