// `npm run example`: the example page of the browser client with all that it needs on this machine: a beacon, a PeerJS
// signalling server, and a server for the page. PORT (8790) is the page's; if that is in use, it takes another.

import { once } from "node:events";
import { startBeacon } from "./beacon.mjs";
import { buildWorker } from "./build.mjs";
import { servePages } from "./pages.mjs";
import { startSignalling } from "./signalling.mjs";
import { execute, interruption, main, step } from "./steps.mjs";
import { ensureToolchain } from "./toolchain.mjs";

await main(
  async () => {
    await ensureToolchain();
    await buildWorker();
    await step("Building the browser client", { takes: "a few seconds" }, () => execute(process.execPath, ["client/build.mjs"]));
    const [beacon, signalling, pages] = await Promise.all([
      startBeacon({ log: (line) => console.error(line) }),
      startSignalling(),
      servePages({ preferredPort: Number(process.env.PORT) || 8790 }),
    ]);
    try {
      const query = new URLSearchParams({ beacon: beacon.url, signalling: signalling.url });
      console.log(`\nOpen this in two tabs (Ctrl-C stops it):\n\n    ${pages.url}/client/example/?${query}\n`);
      if (!interruption.aborted) await once(interruption, "abort");
    } finally {
      await Promise.allSettled([beacon.stop(), signalling.stop(), pages.stop()]);
    }
  },
  { interruptedExitCode: 0 },
);
