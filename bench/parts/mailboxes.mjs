// What mailboxes cost: memory and disk of idle ones on one machine, and what each request comes to on Cloudflare.

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
/** Messages by which requests are counted: as many as one contact may leave that nobody has acknowledged. */
const MESSAGES = 32;
/** Billed of objects. Setting an alarm is a row written, and an alarm a request. */
const BILLED = {
  "requests to objects": ({ objectRequests, alarms }) => objectRequests + alarms,
  "rows read": ({ rowsRead }) => rowsRead,
  "rows written, an alarm that is set among them": ({ rowsWritten, alarmsSet }) => rowsWritten + alarmsSet,
};
/** How often those ask in a day, while nothing comes, who follow their mail by asking. */
const ASKED_A_DAY = { "who asks each 2 s, as retalk's program does": 43_200, "who asks each 10 s, as rendezvous does at most": 8_640 };

export const mailboxes = {
  name: "mailboxes",
  programs: ["rendezvous-native"],
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
    const all = Object.entries(await countersOf(server)).filter(([name]) => name.startsWith("v1:"));
    assert.equal(all.length, count);
    const mean = (field) => all.reduce((sum, [, counts]) => sum + counts[field], 0) / count;
    return [
      { row: "a mailbox opened: its object's rows written, those of its tables too", unit: "rows", subject: mean("rowsWritten"), goal: { valueAtMost: 6 } },
      { row: "  … alarms set", unit: "alarms", subject: mean("alarmsSet"), goal: { valueAtMost: 1 } },
      ...(await requestsOnCloudflare(server, quick ? 2 : MESSAGES)),
    ];
  } finally {
    await server.stop();
  }
}

/** @returns {Promise<Record<string, Record<string, number>>>} Of each object of mailboxes. */
async function countersOf({ url }) {
  return (await (await fetch(`${url}/counters`)).json()).mailboxes;
}

/**
 * What each request about messages comes to, in all objects together.
 *
 * @param {import("../workers.mjs").Server} server
 * @param {number} count
 */
async function requestsOnCloudflare(server, count) {
  const [mailbox, slot] = [new Mailbox(server.url, { from: "172.16.0.1" }), newPeer()];
  const times = async (work) => {
    for (let number = 1; number <= count; number += 1) {
      const { status, text } = await work(number);
      assert.ok(status === 200 || status === 201, text);
    }
  };
  const billed = async () => {
    const all = Object.values(await countersOf(server));
    return Object.entries(BILLED).map(([what, of]) => [what, all.reduce((sum, counts) => sum + of(counts), 0)]);
  };
  const counted = async (work) => {
    const before = await billed();
    await times(work);
    return (await billed()).map(([what, after], index) => [what, (after - before[index][1]) / count]);
  };
  await mailbox.put([slot]);
  const requests = {
    "an empty collect": await counted(() => mailbox.collect()),
    "a message left": await counted((number) => mailbox.deposit(mailbox.message(slot, number))),
    "a message collected": await counted(() => mailbox.collect({ limit: 1 })),
    "a message acknowledged": await counted((number) => mailbox.acknowledge([mailbox.ack(slot, number)])),
    "a socket opened, on which news is told, and closed": await counted(async () => {
      const listener = await mailbox.listen(mailbox.greeting(mailbox.reader));
      await listener.until({ event: "messages", pending: 0 });
      await listener.close();
      return { status: 200 };
    }),
  };
  return [
    ...Object.entries(requests).flatMap(([row, all]) =>
      all.map(([what, subject], index) => ({ row: index === 0 ? `${row}: ${what}` : `  … ${what}`, unit: "", subject }))),
    ...Object.entries(ASKED_A_DAY).map(([who, times]) => ({
      row: `${who}, a day without mail: requests, and as many to objects`,
      unit: "",
      subject: times * requests["an empty collect"][0][1],
    })),
  ];
}
