// `npm run demo`: the scenario of tests/scenario.mjs, told to a person. The same path is a test.

import { join } from "node:path";
import { play } from "../tests/scenario.mjs";
import { buildWorker } from "./build.mjs";
import { ROOT, execute, main, readOptions, step } from "./steps.mjs";
import { TOOL_ENVIRONMENT, ensureToolchain } from "./toolchain.mjs";

const USAGE = `npm run demo: 250 peers, three beacons, of which one dies and one lies, and a capsule made of what they say.`;

await main(async () => {
  readOptions(USAGE);
  await ensureToolchain();
  await buildWorker();
  await step("Building the capsule program", { takes: "about 1 minute, once" }, () =>
    execute("cargo", ["build", "--package", "rendezvous-capsule", "--locked"], { environment: TOOL_ENVIRONMENT }),
  );
  const { honest, forged, capsule, afterCrash, beforeCrash } = await play(join(ROOT, "target/debug/capsule"), console.log);
  console.log(`
In short:
  ${honest.length} peers announced, with keys and signatures of their own
  ${capsule.peers.length} of them are in the capsule, which two of three beacons were enough for
  0 of ${forged.length} forged tickets are in it
  ${afterCrash.total} of ${beforeCrash.early.length + beforeCrash.late.length} live peers survived SIGKILL in beacon A: all but those of the last seconds`);
});
