// Crowds of peers in networks of the test's choosing, and what they find of each other at one beacon.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { startWorkerd, workerOptions } from "../tools/beacon.mjs";
import { ROOT } from "../tools/steps.mjs";
import { NATIVE } from "./hosts.mjs";
import { call } from "./http.mjs";
import { openLive } from "./live.mjs";
import { runCapsule } from "./program.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

/** The first is the main module of a beacon that is counted. */
const COUNTING = ["counting.worker.mjs", "linear-memory.worker.mjs"];
/** Requests on their way at a time. */
const AT_ONCE = 16;

let readers = 0;

/**
 * @typedef {object} Place Where a client is.
 * @property {string} address
 * @property {string} provider
 * @property {string} site
 *
 * @typedef {object} Member
 * @property {import("./ticket.mjs").Peer} peer
 * @property {Place} at
 * @property {import("./ticket.mjs").Ticket} ticket
 */

/** @returns {Place} An IPv4 address: its provider is a /16, its site a /24. */
const ipv4 = (...octets) => ({
  address: octets.join("."),
  provider: octets.slice(0, 2).join("."),
  site: octets.slice(0, 3).join("."),
});

/** @returns {Place} An IPv6 address of the provider 2001:db8::/29, the site a /48 and the household a /56 in it. */
const ipv6 = (site, household) => ({
  address: `2001:db8:${site.toString(16)}:${(household << 8).toString(16)}::1`,
  provider: "2001:db8::/29",
  site: `2001:db8:${site.toString(16)}`,
});

const times = (count, make) => Array.from({ length: count }, (_, index) => make(index));

/** Networks that somebody may have. Two kinds, or two first octets, have no provider in common. */
export const networks = {
  /** The 256 addresses of one IPv4 /24. */
  oneSlash24: () => times(256, (host) => ipv4(203, 0, 113, host)),
  /** One address in each /56 of an IPv6 /48. */
  oneSlash48: () => times(256, (household) => ipv6(0, household)),
  /** One address in each of 1,000 IPv6 /48s of a /29. */
  oneSlash29: () => times(1_000, (site) => ipv6(site, 0)),
  /** So many addresses in each of so many IPv4 /24s, which lie in turns in so many /16s. */
  slash24s: ({ octet, sites, providers, addresses = 1 }) =>
    times(sites * addresses, (index) => {
      const site = index % sites;
      return ipv4(octet, site % providers, Math.floor(site / providers), 1 + Math.floor(index / sites));
    }),
};

/**
 * @template T
 * @param {T[]} items
 * @param {(item: T, position: number) => Promise<unknown>} work
 */
export async function inTurns(items, work) {
  let next = 0;
  const worker = async () => {
    for (let position = next++; position < items.length; position = next++) await work(items[position], position);
  };
  await Promise.all(times(AT_ONCE, worker));
}

/**
 * @typedef {object} Stage
 * @property {string} url Of a beacon.
 * @property {(community: string) => Promise<import("./ticket.mjs").Ticket[]>} roster All that a roster holds, which no answer has.
 * @property {() => Promise<void>} stop Done after the test, if not before.
 */

/**
 * Starts a beacon that serves every community, unless `vars` name some, and ends it after the test.
 *
 * @param {import("./hosts.mjs").Host} host
 * @param {import("node:test").TestContext} context
 * @param {Record<string, string>} [vars]
 * @param {{ persist?: string }} [options] The directory that keeps the beacon's state.
 * @returns {Promise<Stage>}
 */
export async function openStage(host, context, vars = {}, { persist } = {}) {
  const all = { COMMUNITIES: "*", NETWORK_REQUESTS_PER_MINUTE: "1000000", ADDRESS_REQUESTS_PER_MINUTE: "1000000", ...vars };
  const { stop, ...stage } = await (host === NATIVE ? openNative : openWorker)(all, persist);
  let stopped;
  const stopOnce = () => (stopped ??= stop());
  context.after(stopOnce);
  return { ...stage, stop: stopOnce };
}

/** From a network of its own: one may not ask for many communities that the beacon does not know yet. */
const newReader = () => `203.0.${(readers += 1) % 256}.1`;

/** A second Worker before the same objects lists all that they hold. */
async function openWorker(all, persist) {
  const build = join(ROOT, "build");
  const beacon = await workerOptions(build, all);
  const view = await workerOptions(build, { ...all, ANSWER_LIMIT: "200", PEERS_MAX_AGE_SECONDS: "0" });
  const objects = Object.entries(view.durableObjects).map(([name, object]) => [name, { ...object, scriptName: beacon.name }]);
  const sockets = { unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] };
  const { miniflare, stop } = await startWorkerd({
    host: "127.0.0.1",
    port: 0,
    durableObjectsPersist: persist ?? false,
    handleStructuredLogs: () => {},
    workers: [
      { ...beacon, ...sockets },
      { ...view, ...sockets, name: "view", durableObjects: Object.fromEntries(objects) },
    ],
  });
  const [url, viewed] = await Promise.all([beacon.name, "view"].map((name) => miniflare.unsafeGetDirectURL(name)));
  const roster = async (community) => {
    const query = new URLSearchParams({ community, limit: "200" });
    const { status, json } = await call(viewed.origin, `/peers?${query}`, { address: newReader() });
    if (status !== 200) throw new Error(`a reader is answered ${status} ${json?.code}`);
    return json.peers;
  };
  return { url: url.origin, roster, stop };
}

/** Whoever opens `GET /live` is told of all. */
async function openNative(all, persist) {
  const { url, stop } = await NATIVE.start({ vars: all, state: persist });
  const roster = async (community) => {
    const live = await openLive(url, { community, address: newReader() });
    await live.close();
    return [...live.view.tickets.values()].filter(({ payload }) => payload.expiresAt > Date.now());
  };
  return { url, roster, stop };
}

/**
 * Starts a beacon, configured as wrangler.toml says but for `vars`, with what Cloudflare would bill counted at
 * `GET /counters`, and ends it after the test.
 *
 * @param {import("node:test").TestContext} context
 * @param {Record<string, string>} [vars]
 * @returns {Promise<{ url: string }>}
 */
export async function openCounted(context, vars = {}) {
  const beacon = await workerOptions(join(ROOT, "build"), vars);
  const wrappers = COUNTING.map((file) => ({ type: "ESModule", path: join(ROOT, "bench", file) }));
  const worker = { ...beacon, modules: [...wrappers, ...beacon.modules] };
  const { url, stop } = await startWorkerd({ host: "127.0.0.1", port: 0, handleStructuredLogs: () => {}, workers: [worker] });
  context.after(stop);
  return { url };
}

/** One community at a beacon. */
export class Scene {
  /**
   * @param {Stage} stage
   * @param {string} community
   */
  constructor(stage, community) {
    this.stage = stage;
    this.community = community;
  }

  /**
   * A peer with a key of its own in each place.
   *
   * @param {Place[]} places
   * @param {(position: number) => string | undefined} [peerId] By default every peer has a name of its own.
   * @returns {Member[]}
   */
  members(places, peerId = () => undefined) {
    return places.map((at, position) => {
      const peer = newPeer({ peerId: peerId(position) });
      return { peer, at, ticket: this.ticket(peer) };
    });
  }

  /**
   * @param {import("./ticket.mjs").Peer} peer
   * @param {Parameters<typeof signTicket>[1]} [overrides]
   */
  ticket(peer, overrides = {}) {
    return signTicket(peer, { community: this.community, ...overrides });
  }

  /**
   * Brings a ticket.
   *
   * @param {Member} member
   * @param {{ at?: Place, origin?: string, ticket?: import("./ticket.mjs").Ticket }} [by] By default its owner does.
   */
  bring({ at, ticket }, by = {}) {
    const headers = by.origin === undefined ? {} : { Origin: by.origin };
    const json = { ticket: by.ticket ?? ticket, community: this.community };
    return call(this.stage.url, "/announce", { address: (by.at ?? at).address, json, headers });
  }

  /**
   * Brings everybody's tickets, and returns what is answered, in their order.
   *
   * @param {Member[]} members
   * @param {(member: Member, position: number) => Parameters<Scene["bring"]>[1]} [by]
   */
  async bringAll(members, by = () => ({})) {
    const replies = [];
    await inTurns(members, async (member, position) => {
      replies[position] = await this.bring(member, by(member, position));
    });
    return replies;
  }

  /** @param {Member} member */
  leave({ peer, at, ticket }, overrides = {}) {
    const goodbye = this.ticket(peer, { issuedAt: ticket.payload.issuedAt + 1, leave: true, ...overrides });
    return call(this.stage.url, "/leave", { address: at.address, json: { ticket: goodbye, community: this.community } });
  }

  /** @returns {Promise<Set<string>>} The keys of all that the roster holds. */
  async roster() {
    return keys(await this.stage.roster(this.community));
  }

  /**
   * Newcomers, one after the other, each from a provider of its own: they announce, and leave once they are answered.
   *
   * @param {number} count
   * @returns {Promise<Set<string>[]>} The keys that each was told of.
   */
  async newcomers(count) {
    const told = [];
    for (const member of this.members(networks.slash24s({ octet: 198, sites: count, providers: count }))) {
      const { status, json } = await this.bring(member);
      if (status !== 200) throw new Error(`a newcomer is answered ${status} ${json?.code}`);
      told.push(keys(json.peers));
      await this.leave(member);
    }
    return told;
  }

  /** @returns {Promise<Set<string>>} The keys in a capsule that is published now. */
  async capsule() {
    const out = await mkdtemp(join(tmpdir(), "crowd-test-"));
    try {
      const key = join(out, "key.pem");
      await succeeded(["keygen", "--out", key]);
      await succeeded(["publish", "--key", key, "--out", out, "--beacon", this.stage.url, "--community", this.community]);
      return keys(JSON.parse(await readFile(join(out, "peers.json"), "utf8")).peers);
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  }
}

/** @param {import("./ticket.mjs").Ticket[]} tickets */
function keys(tickets) {
  return new Set(tickets.map(({ publicKey }) => publicKey));
}

async function succeeded(args) {
  const { code, stdout, stderr } = await runCapsule(args);
  if (code !== 0) throw new Error(`capsule ${args[0]} ended with ${code}: ${stderr}${stdout}`);
}

/**
 * How many of these are among the keys.
 *
 * @param {Set<string>} listed
 * @param {Member[]} members
 */
export function count(listed, members) {
  return members.filter(({ peer }) => listed.has(peer.publicKey)).length;
}

/**
 * How many sites of each provider have a member among the keys.
 *
 * @param {Set<string>} listed
 * @param {Member[]} members
 * @returns {number[]}
 */
export function sitesByProvider(listed, members) {
  const providers = new Map();
  for (const { peer, at } of members) {
    if (!listed.has(peer.publicKey)) continue;
    if (!providers.has(at.provider)) providers.set(at.provider, new Set());
    providers.get(at.provider).add(at.site);
  }
  return [...providers.values()].map(({ size }) => size);
}
