// `npm run deploy [-- arguments]`: wrangler deploy, from a fresh checkout too.
//
// Only sees to it that wrangler is there: wrangler.toml's [build] makes wrangler build the Worker itself.

import { execute, main } from "./steps.mjs";
import { PROGRAMS, ensureToolchain } from "./toolchain.mjs";

await main(async () => {
  await ensureToolchain();
  await execute(PROGRAMS.wrangler, ["deploy", ...process.argv.slice(2)], { interactive: true });
});
