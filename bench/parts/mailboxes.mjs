// What mailboxes cost to which nobody writes: memory and disk on one machine, rows and alarms on Cloudflare.

import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Mailbox, RELAY } from "../../tests/mailbox.mjs";
import { newPeer } from "../../tests/ticket.mjs";
import { privateBytes } from "../machine.mjs";
import { startProgram } from "../programs.mjs";
import { startCounted } from "../workers.mjs";

/** As many as a relay may have by far: each of a site of its own, of a hundred providers. */
const MAILBOXES = 10_000;
/** What a mailbox writes does not hang on how many there are. */
const COUNTED = 100;
/** Contacts of each. */
const CONTACTS = 8;
const CONNECTIONS = 32;
const VARIABLES = {
  EXTERNAL_URLS: RELAY,
  MAILBOXES: "20000",
  ADDRESS_REQUESTS_PER_MINUTE: "100000",
  NETWORK_REQUESTS_PER_MINUTE: "100000",
};
const MEMORY_GOAL_BYTES = 4_096;

export const mailboxes = {
  name: "mailboxes",
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    return [...(await onOneMachine(context)), ...(await onCloudflare(context))];
  },
};

/** @param {string} url @param {number} count */
async function open(url, count) {
  let next = 0;
  const work = async () => {
    for (let number = next++; number < count; number = next++) {
      const mailbox = new Mailbox(url, { from: `10.${number % 100}.${Math.floor(number / 100)}.1` });
      const { status, text } = await mailbox.put(Array.from({ length: CONTACTS }, newPeer));
      assert.equal(status, 201, text);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, work));
}

/** @param {import("../bench.mjs").Context} context */
async function onOneMachine(context) {
  const { quick, say } = context;
  const count = quick ? 20 : MAILBOXES;
  say(`${count} idle mailboxes on one machine`);
  const state = await mkdtemp(join(tmpdir(), "rendezvous-bench-"));
  const started = async (work) => {
    const program = await startProgram(context, VARIABLES, state);
    return work(program).finally(() => program.stop());
  };
  try {
    const none = await started(({ pid }) => privateBytes(pid));
    await started(({ url }) => open(url, count));
    // After a start none is in memory; but each is to be looked at once a day.
    const bytes = (await started(({ pid }) => privateBytes(pid))) - none;
    const { size } = await stat(join(state, "mail.sqlite"));
    const row = `${count} idle mailboxes of ${CONTACTS} contacts`;
    return [
      { row: `${row}: native memory for each`, unit: "bytes", subject: bytes / count, goal: quick ? undefined : { valueAtMost: MEMORY_GOAL_BYTES } },
      { row: "  … disk for each", unit: "bytes", subject: size / count },
    ];
  } finally {
    await rm(state, { recursive: true, force: true });
  }
}

/** @param {import("../bench.mjs").Context} context */
async function onCloudflare({ quick, say }) {
  const count = quick ? 5 : COUNTED;
  say(`${count} mailboxes on Cloudflare`);
  const server = await startCounted({ ...VARIABLES, DOORS: "v1" });
  try {
    await open(server.url, count);
    const { mailboxes: counters } = await (await fetch(`${server.url}/counters`)).json();
    const all = Object.entries(counters).filter(([name]) => name.startsWith("v1:"));
    assert.equal(all.length, count);
    const mean = (field) => all.reduce((sum, [, counts]) => sum + counts[field], 0) / count;
    return [
      { row: "a mailbox opened: its object's rows written, those of its tables too", unit: "rows", subject: mean("rowsWritten"), goal: { valueAtMost: 6 } },
      { row: "  … alarms set", unit: "alarms", subject: mean("alarmsSet"), goal: { valueAtMost: 1 } },
    ];
  } finally {
    await server.stop();
  }
}
