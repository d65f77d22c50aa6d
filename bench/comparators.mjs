// Other people's servers, each as its own documentation says it is fastest, on the core of the servers.
//
// None is needed for anything but the table: `find()` says what is there, and what is not is left out.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { guardAgainstOrphan } from "../tools/beacon.mjs";
import { ensurePackage, findOnPath, findRunnable } from "../tools/debian.mjs";
import { ensureRetalk } from "../tools/retalk.mjs";
import { Failure, ROOT, execute, step } from "../tools/steps.mjs";
import { ensureVirtualEnvironment } from "../tools/virtual-environment.mjs";
import { pinned, run } from "./machine.mjs";

const HOST = "127.0.0.1";
/** How long a server may take until it accepts a connection. */
const START_MS = 20_000;
/** npm packages that are only compared with: nobody who does not run the benchmarks has to install them. */
const NPM_DIRECTORY = join(ROOT, "target/comparators");
const BITTORRENT_TRACKER = { name: "bittorrent-tracker", version: "11.2.3" };

/**
 * @typedef {object} Comparator
 * @property {number} pid
 * @property {number} port
 * @property {string} url
 * @property {() => Promise<void>} stop
 */

const findNginx = () => findOnPath("nginx") ?? findRunnable(["/usr/sbin/nginx"]);
const findRedis = () => findOnPath("redis-benchmark") && findOnPath("redis-cli") && findOnPath("redis-server");
const findOpentracker = () => findOnPath("opentracker");
/** The server alone: the package's own program loads its client too, which needs a native module. */
const bittorrentTracker = join(NPM_DIRECTORY, "node_modules", BITTORRENT_TRACKER.name, "server.js");
const RUN_BITTORRENT_TRACKER = `
const [, file, port, host] = process.argv;
const { default: Server } = await import(file);
new Server({ http: true, udp: false, ws: false, stats: false }).listen(Number(port), host);`;
const wsPackage = join(ROOT, "node_modules/ws/wrapper.mjs");
/** What it is sent by POST goes to every socket, as the one frame that `ws` makes of it for all. */
const RUN_WS = `
const [, file, port, host] = process.argv;
const { createServer } = await import("node:http");
const { WebSocketServer } = await import(file);
const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk)).on("end", () => {
    const data = Buffer.concat(chunks);
    for (const client of sockets.clients) if (client.path === request.url) client.send(data, { binary: false });
    response.end();
  });
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on("connection", (client, { url }) => {
  client.path = url;
  client.on("message", () => {});
});
server.listen(Number(port), host);`;
const NCHAN = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const findNchan = () => (existsSync(NCHAN) ? NCHAN : undefined);
const findBittorrentTracker = () => (existsSync(bittorrentTracker) ? bittorrentTracker : undefined);

/** Installs what can be installed without questions. What cannot be is left out of the table, which says so. */
export async function installComparators() {
  const takes = "under a minute, once";
  const wanted = [
    ["nginx-light", findNginx],
    ["libnginx-mod-nchan", findNchan],
    ["redis-server", findRedis],
    ["opentracker", findOpentracker],
  ];
  for (const [name, find] of wanted) {
    const advice = `Without ${name} its rows are left out. To have them: apt-get install ${name}, or your system's package.`;
    await ensurePackage({ name, takes, advice, find });
  }
  if (findBittorrentTracker()) return;
  const { name, version } = BITTORRENT_TRACKER;
  const flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional", "--prefix", NPM_DIRECTORY];
  try {
    await step(`Installing ${name}`, { takes }, () => execute("npm", ["install", ...flags, `${name}@${version}`]));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.error(`Without ${name} its row is left out: ${error.message}`);
  }
}

/**
 * nginx, which serves one file from memory that the system maps: one process, no log, the file kept open.
 *
 * @param {string} body
 * @returns {Promise<Comparator | undefined>}
 */
export async function startNginx(body) {
  const program = findNginx();
  if (program === undefined) return undefined;
  return withDirectory(async (directory) => {
    const port = await freePort();
    const temporary = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"].map((kind) => `${kind}_temp_path ${directory};`);
    await writeFile(join(directory, "peers"), body);
    await writeFile(
      join(directory, "nginx.conf"),
      `daemon off; master_process off; pid ${directory}/pid; error_log stderr crit;
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 600s;
  open_file_cache max=16 inactive=600s; open_file_cache_valid 600s; default_type application/json;
  ${temporary.join(" ")}
  server { listen ${HOST}:${port} backlog=1024; root ${directory}; }
}`,
    );
    return start(program, ["-e", "stderr", "-c", join(directory, "nginx.conf")], port);
  });
}

/**
 * nginx with nchan, which hands what is sent to `/CHANNEL` by POST to every socket there, keeping nothing.
 *
 * @returns {Promise<Comparator | undefined>}
 */
export async function startNchan() {
  const [program, module_] = [findNginx(), findNchan()];
  if (program === undefined || module_ === undefined) return undefined;
  return withDirectory(async (directory) => {
    const port = await freePort();
    const temporary = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"].map((kind) => `${kind}_temp_path ${directory};`);
    await writeFile(
      join(directory, "nginx.conf"),
      `load_module ${module_};
daemon off; master_process off; pid ${directory}/pid; error_log stderr crit;
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 4096; }
http {
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 600s; ${temporary.join(" ")}
  server {
    listen ${HOST}:${port} backlog=1024;
    location ~ ^/(.+)$ { nchan_pubsub; nchan_channel_id $1; nchan_store_messages off; }
  }
}`,
    );
    return start(program, ["-e", "stderr", "-c", join(directory, "nginx.conf")], port);
  });
}

/**
 * The package `ws`, on Node's own HTTP server: a relay of what is sent to a path by POST to every socket of that path.
 *
 * @returns {Promise<Comparator | undefined>}
 */
export async function startWs() {
  if (!existsSync(wsPackage)) return undefined;
  const port = await freePort();
  return start(process.execPath, ["--input-type=module", "--eval", RUN_WS, wsPackage, String(port), HOST], port);
}

/**
 * Redis, with nothing written to disk.
 *
 * @returns {Promise<Comparator & { load: (script: string) => Promise<string>, drive: (options: object) => Promise<{ perSecond: number, requests: number }> } | undefined>}
 */
export async function startRedis() {
  const program = findRedis();
  if (!program) return undefined;
  const port = await freePort();
  const address = ["-h", HOST, "-p", String(port)];
  const silent = ["--loglevel", "warning", "--logfile", "/dev/null"];
  const server = await start(program, ["--bind", HOST, "--port", String(port), "--save", "", "--appendonly", "no", ...silent], port);
  return {
    ...server,
    /** Keeps a script, and returns the name that it is called by. */
    async load(script) {
      return (await run("redis-cli", [...address, "script", "load", script])).stdout.trim();
    },
    /** Calls a command as fast as answers come; `__rand_int__` in it becomes twelve digits, others each time. */
    async drive({ requests, connections, command }) {
      const flags = [...address, "-c", String(connections), "-n", String(requests), "-r", "100000000", "--csv"];
      const [wrapped, args] = await pinned("load", "redis-benchmark", [...flags, ...command]);
      const { stdout } = await run(wrapped, args);
      const perSecond = Number(stdout.trim().split("\n").at(-1).match(/^".*?","([\d.]+)"/)?.[1]);
      if (!(perSecond > 0)) throw new Failure(`redis-benchmark says no rate: ${stdout.slice(0, 200)}`);
      return { perSecond, requests };
    },
  };
}

/**
 * opentracker, over HTTP.
 *
 * @param {string} torrent The hash that it is asked for, in hexadecimal digits.
 * @returns {Promise<Comparator | undefined>}
 */
export async function startOpentracker(torrent) {
  const program = findOpentracker();
  if (program === undefined) return undefined;
  return withDirectory(async (directory) => {
    const port = await freePort();
    // As root it changes to a user who may do nothing, and Debian's serves only what is on a list.
    await chmod(directory, 0o755);
    await writeFile(join(directory, "served"), `${torrent}\n`);
    const options = ["-i", HOST, "-p", String(port), "-P", String(port), "-d", "/", "-w", join(directory, "served")];
    return start(program, options, port);
  });
}

/**
 * bittorrent-tracker from npm, over HTTP.
 *
 * @returns {Promise<Comparator | undefined>}
 */
export async function startBittorrentTracker() {
  const file = findBittorrentTracker();
  if (file === undefined) return undefined;
  const port = await freePort();
  const options = ["--input-type=module", "--eval", RUN_BITTORRENT_TRACKER, file, String(port), HOST];
  return start(process.execPath, options, port);
}

/**
 * PeerJS's signalling server from npm.
 *
 * @returns {Promise<Comparator & { register: (id: string) => Promise<import("node:net").Socket> } | undefined>}
 */
export async function startPeerServer() {
  const script = join(ROOT, "node_modules/peer/dist/bin/peerjs.js");
  if (!existsSync(script)) return undefined;
  const port = await freePort();
  const options = ["--host", HOST, "--port", String(port), "--allow_discovery", "--concurrent_limit", "5000"];
  const server = await start(process.execPath, [script, ...options], port);
  return { ...server, register: (id) => register(port, id) };
}

/**
 * retalk's own server, without the limits that it has.
 *
 * @param {string} audience What its users write as its address.
 * @returns {Promise<Comparator>}
 */
export async function startRetalkServer(audience) {
  const program = join(dirname(await ensureRetalk("0.3.0")), "retalk-server");
  return withDirectory(async (directory) => {
    const port = await freePort();
    // Its option for the database comes too late for the tables, which are made as it is loaded.
    const database = `RETALK_SERVER_DB=${join(directory, "server.db")}`;
    return start("env", [database, program, "--host", HOST, "--port", String(port), "--audience", audience], port);
  });
}

/** Its own server, without its limit on what one address leaves in a minute. */
const RUN_HIVEMIND = `
import sys
from hivemind_rendezvous.server import run_server
run_server(host=sys.argv[2], port=int(sys.argv[1]), node_pubkey="relay", deposit_rate_limit=10**9)`;

/**
 * hivemind-rendezvous' own server, which has one thread and ends each connection with its answer.
 *
 * @returns {Promise<Comparator | undefined>}
 */
export async function startHivemindServer() {
  // What the package asks for together cannot be installed; this is what its server loads. Some of it comes as sources alone.
  const options = ["--no-deps", "--no-binary", "combo-lock"];
  const python = await findPython("hivemind-rendezvous-server-0.1.1a1", "hivemind-server-requirements.txt", options);
  if (python === undefined) return undefined;
  return withDirectory(async (directory) => {
    const port = await freePort();
    const homes = ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"].map((name) => `${name}=${directory}`);
    return start("env", [...homes, python, "-c", RUN_HIVEMIND, String(port), HOST], port);
  });
}

/**
 * The server by which magic-wormhole's clients find each other.
 *
 * @returns {Promise<Comparator & { add: (options: { clients: number, count: number, bytes: number }) => Promise<{ perSecond: number }> } | undefined>}
 */
export async function startWormholeServer() {
  const python = await findPython("magic-wormhole-mailbox-server-0.8.0", "wormhole-requirements.txt", []);
  if (python === undefined) return undefined;
  return withDirectory(async (directory) => {
    const port = await freePort();
    const options = [`--port=tcp:${port}:interface=${HOST}`, `--channel-db=${join(directory, "relay.sqlite")}`];
    const server = await start(python, ["-m", "twisted", "--log-level=error", "wormhole-mailbox", ...options], port);
    return { ...server, add: (options) => addToMailboxes(port, options) };
  });
}

/**
 * @param {string} name
 * @param {string} requirements
 * @param {string[]} options
 * @returns {Promise<string | undefined>} The interpreter, if what is required can be installed.
 */
async function findPython(name, requirements, options) {
  try {
    return await ensureVirtualEnvironment(name, await readFile(new URL(requirements, import.meta.url), "utf8"), options);
  } catch (error) {
    console.error(`Without ${name} its rows are left out: ${error.message}`);
    return undefined;
  }
}

let mailboxes = 0;

/**
 * Leaves messages in mailboxes of a magic-wormhole server, one of each client's after the other.
 *
 * @param {number} port
 * @param {{ clients: number, count: number, bytes: number }} options `count` of each client.
 */
async function addToMailboxes(port, { clients, count, bytes }) {
  const opened = await Promise.all(
    Array.from({ length: clients }, async () => {
      mailboxes += 1;
      const socket = new WebSocket(`ws://${HOST}:${port}/v1`);
      await once(socket, "open");
      const say = (message) => socket.send(JSON.stringify(message));
      let heard;
      socket.addEventListener("message", ({ data }) => {
        const { type, error } = JSON.parse(data);
        if (type === "error") heard?.reject(new Failure(`magic-wormhole-mailbox-server: ${error}`));
        if (type === "message") heard?.resolve();
      });
      const add = (message) => {
        heard = Promise.withResolvers();
        say({ type: "add", ...message });
        return heard.promise;
      };
      say({ type: "bind", appid: "bench", side: "one" });
      say({ type: "open", mailbox: `mailbox-${mailboxes}` });
      return { socket, add };
    }),
  );
  const body = "ab".repeat(bytes);
  const started = performance.now();
  await Promise.all(
    opened.map(async ({ add }) => {
      for (let number = 0; number < count; number += 1) await add({ phase: String(number), body });
    }),
  );
  const seconds = (performance.now() - started) / 1_000;
  for (const { socket } of opened) socket.close();
  return { perSecond: (clients * count) / seconds };
}

/**
 * Opens a WebSocket that a PeerJS server takes for a peer, and waits until it says so.
 *
 * @param {number} port
 * @param {string} id
 * @returns {Promise<import("node:net").Socket>}
 */
async function register(port, id) {
  const key = Buffer.from(id.padEnd(16).slice(0, 16)).toString("base64");
  const headers = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": 13, "Sec-WebSocket-Key": key };
  const path = `/peerjs?key=peerjs&id=${id}&token=bench&version=1.5.5`;
  const asked = request({ host: HOST, port, path, headers, agent: false });
  asked.end();
  const [, socket, head] = await once(asked, "upgrade");
  let text = head.toString();
  while (!text.includes('"OPEN"')) text += (await once(socket, "data"))[0].toString();
  return socket;
}

/**
 * Starts a server and waits until it takes connections.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {number} port
 * @returns {Promise<Comparator>}
 */
async function start(program, args, port) {
  const [command, commandArgs] = await pinned("server", program, args);
  const child = spawn(command, commandArgs, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (said = (said + text).slice(-2_000)));
  let failed;
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve((failed = error.message)));
    child.once("close", (code, signal) => resolve((failed = `ended with ${signal ?? `exit code ${code}`}`)));
  });
  const guard = child.pid === undefined ? undefined : guardAgainstOrphan(child.pid);
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
    guard?.kill();
  };
  const until = performance.now() + START_MS;
  while (!(await accepts(port))) {
    if (failed !== undefined || performance.now() > until) {
      await stop();
      throw new Failure(`${program} does not answer: ${said.trim() || failed}`);
    }
    await delay(50);
  }
  return { pid: child.pid, port, url: `http://${HOST}:${port}`, stop };
}

/** @param {number} port */
function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, HOST);
    const settle = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

/** @returns {Promise<number>} */
async function freePort() {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Gives a server a directory that goes when it stops.
 *
 * @template {Comparator} T
 * @param {(directory: string) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function withDirectory(work) {
  const directory = await mkdtemp(join(tmpdir(), "comparator-"));
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    const server = await work(directory);
    return { ...server, stop: () => server.stop().finally(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
}
