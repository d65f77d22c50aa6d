// `npm run deploy [-- arguments]`: wrangler deploy, from a fresh checkout too.
//
// Only sees to it that wrangler is there, and that what it is told makes sense: wrangler.toml's [build] makes wrangler build
// the Worker itself, and look at wrangler.toml first.

import { execute, main } from "./steps.mjs";
import { PROGRAMS, ensureToolchain } from "./toolchain.mjs";
import { requireKnownNames } from "./variables.mjs";

await main(async () => {
  const options = process.argv.slice(2);
  requireKnownNames("--var", variablesIn(options));
  await ensureToolchain();
  await execute(process.execPath, [PROGRAMS.wrangler, "deploy", ...options], { interactive: true });
});

/**
 * The names that are given by `--var NAME:VALUE`, of which one option may have several, and by `--var=NAME:VALUE`.
 *
 * @param {string[]} options
 * @returns {string[]}
 */
function variablesIn(options) {
  const names = [];
  let isVariable = false;
  for (const option of options) {
    if (option.startsWith("-")) isVariable = /^--var(=|$)/.test(option);
    if (isVariable && option !== "--var") names.push(option.replace(/^--var=/, "").split(":")[0]);
  }
  return names;
}
