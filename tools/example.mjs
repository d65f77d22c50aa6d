// The server of the browser client's example page, which needs nothing else beside the beacons.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { offerControl } from "./control.mjs";
import { servePages } from "./pages.mjs";
import { ROOT } from "./steps.mjs";

const PAGE = "/client/example/";
const CLIENT = join(ROOT, "client");
const CAPSULE = "/capsule/peers.json";

/**
 * @param {object} options
 * @param {import("./supervisor.mjs").Supervised[]} options.beacons Those that the page announces to, and can kill.
 * @param {string} options.community
 * @param {import("./capsule.mjs").Place} options.capsule Served as it is there.
 * @param {number} [options.preferredPort] Any other where that one is in use.
 * @returns {Promise<{ url: string, capsuleUrl: string, stop: () => Promise<unknown> }>}
 */
export async function startExample({ beacons, community, capsule, preferredPort = 0 }) {
  const control = offerControl(beacons);
  const terms = [
    ["community", community],
    ...beacons.map(({ url }) => ["beacon", url]),
    ["capsule", CAPSULE],
    ["capsuleKey", capsule.publicKey],
  ];
  const toPage = () => ({ status: 302, headers: { Location: `${PAGE}?${new URLSearchParams(terms)}` } });
  const pages = await servePages({
    preferredPort,
    made: {
      "/": toPage,
      [PAGE]: (request) => (request.url.includes("?") ? page(control.token) : toPage()),
      "/client/dist/example.js": async () => ({ headers: { "Content-Type": "text/javascript" }, body: await bundle() }),
      "/beacons": control.answer,
      [CAPSULE]: () => capsuleFile(capsule.folder, "peers.json", "application/json"),
      [`${CAPSULE}.sig`]: () => capsuleFile(capsule.folder, "peers.json.sig", "text/plain"),
    },
  });
  return { url: pages.url, capsuleUrl: `${pages.url}${CAPSULE}`, stop: pages.stop };
}

/** @param {string} token What the page's buttons need, and no other origin can read. */
async function page(token) {
  const html = await readFile(join(CLIENT, "example/index.html"), "utf8");
  const body = html.replace("</head>", `<meta name="beacon-control" content="${token}" />\n  </head>`);
  return { headers: { "Content-Type": "text/html; charset=utf-8" }, body };
}

/**
 * @param {string} folder
 * @param {string} name
 * @param {string} type
 */
async function capsuleFile(folder, name, type) {
  try {
    const body = await readFile(join(folder, name));
    return { headers: { "Content-Type": type, "Access-Control-Allow-Origin": "*" }, body };
  } catch {
    // Nobody has been online yet, or the program is still being built.
    return { status: 404, headers: { "Content-Type": "text/plain" }, body: "There is no capsule yet\n" };
  }
}

/** From the sources, in a moment: nobody has to build the package first, or after a change. */
async function bundle() {
  const { outputFiles } = await build({
    absWorkingDir: CLIENT,
    entryPoints: ["example/example.ts"],
    alias: {
      "rendezvous-beacon": join(CLIENT, "src/index.ts"),
      "rendezvous-beacon/live": join(CLIENT, "src/live.ts"),
      "rendezvous-beacon/webrtc": join(CLIENT, "src/webrtc.ts"),
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
