// `npm run login [-- arguments]`: wrangler login, which takes a newer Node than many machines have.

import { execute, main } from "./steps.mjs";
import { PROGRAMS, ensureToolchain } from "./toolchain.mjs";

await main(async () => {
  await ensureToolchain();
  await execute(process.execPath, [PROGRAMS.wrangler, "login", ...process.argv.slice(2)], { interactive: true });
});
