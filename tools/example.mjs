// The example page of the browser client with what it needs beside a beacon, on this machine: a server for the page, and
// a PeerJS signalling server.

import { join } from "node:path";
import { build } from "esbuild";
import { servePages } from "./pages.mjs";
import { startSignalling } from "./signalling.mjs";
import { ROOT } from "./steps.mjs";

const PAGE = "/client/example/";
const CLIENT = join(ROOT, "client");

/**
 * @param {object} options
 * @param {string[]} options.beacons The URLs of the beacons that the page announces to.
 * @param {number} [options.preferredPort] The page's; the next one is for signalling. Any other where one is in use.
 * @returns {Promise<{ url: string, stop: () => Promise<unknown> }>}
 */
export async function startExample({ beacons, preferredPort = 0 }) {
  // The same from run to run, if possible: a tab that is still open finds it again.
  const signalling = await startSignalling({ preferredPort: preferredPort && (preferredPort + 1) % 65_536 });
  const sources = [...beacons.map((beacon) => ["beacon", beacon]), ["signalling", signalling.url]];
  const location = `${PAGE}?${new URLSearchParams(sources)}`;
  const pages = await servePages({
    preferredPort,
    made: {
      "/": () => ({ status: 302, headers: { Location: location } }),
      [PAGE]: () => ({ status: 302, headers: { Location: location } }),
      "/client/dist/example.js": async () => ({ headers: { "Content-Type": "text/javascript" }, body: await bundle() }),
    },
  });
  return { url: pages.url, stop: () => Promise.allSettled([pages.stop(), signalling.stop()]) };
}

/** From the sources, in a moment: nobody has to build the package first, or after a change. */
async function bundle() {
  const { outputFiles } = await build({
    absWorkingDir: CLIENT,
    entryPoints: ["example/example.ts"],
    alias: {
      "rendezvous-beacon": join(CLIENT, "src/index.ts"),
      "rendezvous-beacon/peerjs": join(CLIENT, "src/peerjs.ts"),
    },
    bundle: true,
    write: false,
    format: "iife",
    target: "es2022",
    sourcemap: "inline",
    logLevel: "warning",
  });
  return outputFiles[0].contents;
}
