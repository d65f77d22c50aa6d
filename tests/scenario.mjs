// The whole path once: peers announce to three beacons, one of which is killed half way and one of which lies; a
// capsule is published from what is left, and verified; the killed beacon comes back.
//
// It does and reports; what has to hold is asserted in scenario.test.mjs. `npm run demo` tells it to a person.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WORKER } from "./hosts.mjs";
import { announce, call, peers } from "./http.mjs";
import { SAFE_AFTER_MS } from "./patience.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

/** One address of each of five networks. */
const NETWORKS = ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8:1::1", "2001:db8:2::1"];
const COMMUNITY = "demo";
const EARLY = 120;
const LATE = 10;
const AFTER_THE_CRASH = 120;
/** Some of the early peers announce only this much presence: over by the time the killed beacon is back. */
const BRIEF_MS = 26_000;
const AT_ONCE = 8;

/** So that everything can be seen: whole rosters in every answer, and no pause for so many peers on one machine. */
const VARS = { COMMUNITIES: COMMUNITY, ANSWER_LIMIT: "200", PEERS_MAX_AGE_SECONDS: "0", NETWORK_REQUESTS_PER_MINUTE: "1000000" };

/**
 * @typedef {object} Outcome
 * @property {import("./ticket.mjs").Ticket[]} honest Every ticket that an honest peer announced.
 * @property {{ early: string[], brief: string[], late: string[] }} beforeCrash The peerIds that the killed beacon had.
 * @property {number[]} totals How many peers the two living beacons held at the end.
 * @property {any[]} forged What the lying beacon made up.
 * @property {any} published What `capsule publish --json` says.
 * @property {any} verified What `capsule verify --json` says.
 * @property {any} capsule The capsule.
 * @property {any[]} listed The tickets that the honest beacons listed at the end.
 * @property {{ peers: any[], serverTime: number, total: number }} afterCrash The killed beacon's first list.
 */

/**
 * @param {string} capsule The program.
 * @param {(text: string) => void} [tell] Gets the story, line by line.
 * @param {import("./hosts.mjs").Host} [host] What the beacons are.
 * @returns {Promise<Outcome>}
 */
export async function play(capsule, tell = () => {}, host = WORKER) {
  const directory = await mkdtemp(join(tmpdir(), "rendezvous-demo-"));
  const running = [];
  const start = async (name) => {
    const beacon = await host.start({ vars: VARS, state: join(directory, name) });
    running.push(beacon);
    return beacon;
  };
  try {
    const [a, b, c] = await Promise.all(["a", "b", "c"].map((name) => start(name)));
    const liar = await startLiar(c.url);
    running.push(liar);
    tell(`Three beacons: A ${a.url}, B ${b.url}, C ${c.url}`);
    tell(`C's operator lies: who asks at ${liar.url} gets C's list with forged tickets in it`);

    const honest = [];
    const arrive = async (count, beacons, lifetime) => {
      const tickets = Array.from({ length: count }, () => {
        const issuedAt = Date.now();
        const ends = lifetime === undefined ? {} : { expiresAt: issuedAt + lifetime };
        return signTicket(newPeer(), { issuedAt, community: COMMUNITY, ...ends });
      });
      await inTurns(tickets, async (ticket, position) => {
        const address = NETWORKS[position % NETWORKS.length];
        const replies = await Promise.all(beacons.map(({ url }) => announce(url, ticket, { community: COMMUNITY, address })));
        for (const { json, text } of replies) if (json?.ok !== true) throw new Error(`refused: ${text}`);
      });
      honest.push(...tickets);
      return tickets.map(({ payload }) => payload.peerId);
    };

    const brief = await arrive(EARLY / 10, [a, b, c], BRIEF_MS);
    const briefEnds = Date.now() + BRIEF_MS;
    const early = await arrive(EARLY - brief.length, [a, b, c]);
    tell(`${EARLY} peers from ${NETWORKS.length} networks announce to all three, ${brief.length} of them for ${BRIEF_MS / 1_000} s only`);
    tell(`${SAFE_AFTER_MS / 1_000} s pass, so that a crash must not cost any of these ...`);
    await until(Date.now() + SAFE_AFTER_MS);
    const late = await arrive(LATE, [a, b, c]);
    await a.kill();
    tell(`${LATE} more announce, and at this moment A is killed (SIGKILL)`);
    await arrive(AFTER_THE_CRASH, [b, c]);
    const lists = await Promise.all([b, c].map(({ url }) => peers(url, { community: COMMUNITY })));
    const totals = lists.map(({ json }) => json.total);
    tell(`${AFTER_THE_CRASH} more announce to B and C, ${honest.length} in all; B holds ${totals[0]}, C ${totals[1]}`);

    const key = join(directory, "key.pem");
    const out = join(directory, "capsules");
    await run(capsule, ["keygen", "--out", key]);
    const publicKey = (await run(capsule, ["keygen", "--public-of", key, "--json"])).json.publicKey;
    const beacons = [a.url, b.url, liar.url].flatMap((url) => ["--beacon", url]);
    const publish = ["publish", ...beacons, "--community", COMMUNITY, "--key", key, "--out", out, "--max-peers", "200"];
    const published = await run(capsule, [...publish, "--json"]);
    const file = join(out, "peers.json");
    const written = JSON.parse(await readFile(file, "utf8"));
    const verify = ["verify", file, "--public-key", publicKey, "--community", COMMUNITY];
    const verified = await run(capsule, [...verify, "--json"]);
    // Once more, for whoever reads along: a brief ticket may be over by now.
    tell("\n$ capsule publish, with A dead and C lying:");
    tell(await again(capsule, publish));
    tell("$ capsule verify:");
    tell((await run(capsule, verify)).stdout);

    await until(briefEnds);
    const back = await start("a");
    const afterCrash = (await peers(back.url, { community: COMMUNITY })).json;
    tell(`A is started again: of ${early.length + LATE} live peers that it knew it lists ${afterCrash.total}`);

    return {
      honest,
      beforeCrash: { early, brief, late },
      totals,
      forged: liar.forged,
      published: published.json,
      verified: verified.json,
      capsule: written,
      listed: lists.flatMap(({ json }) => json.peers),
      afterCrash,
    };
  } finally {
    await Promise.allSettled(running.map((beacon) => beacon.stop()));
    await rm(directory, { recursive: true, force: true });
  }

  /** The same for people. The beacons are still as they were. */
  async function again(program, args) {
    return (await run(program, [...args, "--quiet"])).stdout;
  }
}

/**
 * A beacon whose operator lies: every third ticket in its lists has another peerId, every third another user, and
 * before them come tickets by the operator's own key for the wrong community, the past, and too long a life.
 *
 * @param {string} url The honest beacon behind it.
 */
async function startLiar(url) {
  const forged = [];
  const operator = newPeer();
  const server = createServer(async (request, response) => {
    const reply = await call(url, request.url);
    const now = Date.now();
    const list = reply.json;
    const real = list.peers.map((ticket, position) => {
      if (position % 3 === 0) return ticket;
      const field = position % 3 === 1 ? "peerId" : "userId";
      const lie = { ...ticket, payload: { ...ticket.payload, [field]: `forged-${position}` } };
      forged.push(lie);
      return lie;
    });
    const own = [
      signTicket(operator, { peerId: "forged-community", community: "elsewhere" }),
      signTicket(operator, { peerId: "forged-past", issuedAt: now - 200_000 }),
      signTicket(operator, { peerId: "forged-life", issuedAt: now, expiresAt: now + 86_400_000 }),
    ];
    forged.push(...own);
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ ...list, peers: [...own, ...real].slice(0, 200) }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    forged,
    async stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * @template T
 * @param {T[]} items
 * @param {(item: T, position: number) => Promise<void>} work
 */
async function inTurns(items, work) {
  let next = 0;
  const worker = async () => {
    for (let position = next++; position < items.length; position = next++) await work(items[position], position);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** @param {number} time Milliseconds since the epoch. */
async function until(time) {
  while (Date.now() < time) await new Promise((resolve) => setTimeout(resolve, time - Date.now()));
}

/**
 * @param {string} program
 * @param {string[]} args
 */
async function run(program, args) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`capsule ${args[0]} ended with exit code ${code}:\n${stdout}${stderr}`);
  return { stdout, json: args.includes("--json") ? JSON.parse(stdout) : undefined };
}
