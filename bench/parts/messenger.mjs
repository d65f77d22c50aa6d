// The program `rendezvous` against retalk's own, over one relay: each message sent by a run of the program, and fetched by
// another.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Correspondent } from "../../tests/correspondent.mjs";
import { freePort } from "../../tests/ports.mjs";
import { Program } from "../../tests/retalk.mjs";
import { ensureRetalk } from "../../tools/retalk.mjs";
import { compare, inTurns } from "../measurement.mjs";
import { programOf, startProgram } from "../programs.mjs";

const VERSION = "0.3.0";
const VARIABLES = { DOORS: "v1,retalk", ADDRESS_REQUESTS_PER_MINUTE: "100000", NETWORK_REQUESTS_PER_MINUTE: "100000" };
/** Messages of one turn: fewer than a relay keeps of one sender. In 40 turns, 1,000. */
const MESSAGES = 25;

export const messenger = {
  name: "messenger",
  programs: ["rendezvous-native", "rendezvous-messenger"],
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    const { quick, rounds, say } = context;
    const row = "the program: a message sent";
    say(row);
    const directory = await mkdtemp(join(tmpdir(), "rendezvous-bench-"));
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const relay = await startProgram(context, { ...VARIABLES, EXTERNAL_URLS: url, PORT: String(port) });
    try {
      const program = programOf(quick, "rendezvous");
      const newUser = (name) => new Correspondent({ directory, url, name, program });
      const pairs = [await meet(newUser("alice"), newUser("bob"))];
      // Where nothing is compared, tests show that it works.
      if (!quick) {
        const python = await ensureRetalk(VERSION);
        const original = (name) => new Program({ version: VERSION, python, directory, url, name });
        pairs.push(await meet(original("carol"), original("dave")));
      }
      const [ours, theirs] = await inTurns(rounds, pairs.map((pair) => () => exchange(pair, quick ? 2 : MESSAGES)));
      if (theirs === undefined) return [];
      const per = (what, key) => compare(ours.map((one) => one[what][key]), theirs.map((one) => one[what][key]));
      const baselineName = `retalk ${VERSION} in Python, over the same relay`;
      return [
        { row, unit: "ms", ...per("sent", "millis"), baselineName },
        { row: "  … processor time", unit: "ms", ...per("sent", "processorMillis") },
        { row: `the program: ${MESSAGES} messages received at once`, unit: "ms", ...per("received", "millis"), baselineName },
        { row: "  … processor time", unit: "ms", ...per("received", "processorMillis") },
      ];
    } finally {
      await relay.stop();
      await rm(directory, { recursive: true, force: true });
    }
  },
};

/**
 * Two who know each other, have published keys, and have written to each other.
 *
 * @template {Correspondent | Program} T
 * @param {T} one
 * @param {T} other
 * @returns {Promise<T[]>}
 */
async function meet(one, other) {
  for (const user of [one, other]) await user.init();
  await one.add(other);
  await other.add(one);
  for (const user of [one, other]) await user.receive();
  for (const [from, to] of [[one, other], [other, one]]) {
    await from.send(to, "hello");
    assert.deepEqual(await to.receive(), [`${from.name}: hello`]);
  }
  await one.receive();
  return [one, other];
}

/**
 * One turn: the first sends so many messages, one by one, and the other fetches them at once. The acknowledgements are
 * fetched when the time was taken.
 *
 * @param {(Correspondent | Program)[]} pair
 * @param {number} count
 */
async function exchange([sender, recipient], count) {
  const texts = Array.from({ length: count }, (_, number) => `message ${number}`);
  const sent = await timed(async () => {
    for (const text of texts) await sender.send(recipient, text);
  });
  const received = await timed(async () => {
    assert.deepEqual(await recipient.receive(), texts.map((text) => `${sender.name}: ${text}`));
  });
  await sender.receive();
  assert.equal(await sender.waiting(), 0);
  return { sent: { millis: sent.millis / count, processorMillis: sent.processorMillis / count }, received };
}

/** @param {() => Promise<void>} work What runs programs to their end. */
async function timed(work) {
  const [started, before] = [performance.now(), await childrenMillis()];
  await work();
  return { millis: performance.now() - started, processorMillis: (await childrenMillis()) - before };
}

/** The processor time of all children of this process that have ended, in steps of a clock tick, which is 10 ms on Linux. */
async function childrenMillis() {
  const stat = await readFile("/proc/self/stat", "utf8");
  // The name, in parentheses, may have spaces in it.
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(13, 15).map(Number);
  return (user + system) * 10;
}
