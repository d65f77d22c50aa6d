// The door for retalk's users on one machine, against retalk's own server: a message sent, and read by its recipient.

import assert from "node:assert/strict";
import { RELAY } from "../../tests/mailbox.mjs";
import { User } from "../../tests/retalk.mjs";
import { startRetalkServer } from "../comparators.mjs";
import { processTime } from "../machine.mjs";
import { compare, inTurns } from "../measurement.mjs";
import { startProgram } from "../programs.mjs";

const VARIABLES = {
  DOORS: "v1,retalk",
  EXTERNAL_URLS: RELAY,
  ADDRESS_REQUESTS_PER_MINUTE: "100000",
  NETWORK_REQUESTS_PER_MINUTE: "100000",
};
/** So many at a time, each with a recipient of its own: the original says that its database is locked if there are more. */
const [PAIRS, PAIRS_OF_ORIGINAL] = [32, 1];
const [MESSAGES_PER_SECOND, MESSAGES_PER_SECOND_OF_ORIGINAL] = [640, 20];
/** As long as what Olm makes of some words. */
const BODY = "x".repeat(300);

export const messages = {
  name: "messages",
  /** @param {import("../bench.mjs").Context} context */
  async run(context) {
    const { quick, rounds, seconds, say } = context;
    const row = "native, retalk's door: a message sent and read";
    say(row);
    const program = await startProgram(context, VARIABLES);
    let original;
    try {
      // Where nothing is compared, tests show that it works.
      if (!quick) original = await startRetalkServer(RELAY);
      const side = async ({ url, pid }, count, perSecond) => {
        const pairs = await meet(url, count);
        return () => exchange(pid, pairs, quick ? 2 * count : perSecond * seconds);
      };
      const sides = [await side(program, PAIRS, MESSAGES_PER_SECOND)];
      if (original) sides.push(await side(original, PAIRS_OF_ORIGINAL, MESSAGES_PER_SECOND_OF_ORIGINAL));
      const [ours, theirs] = await inTurns(rounds, sides);
      if (theirs === undefined) return [{ row: `${row}, against retalk-server: left out`, unit: "" }];
      const per = (key) => compare(ours.map((one) => one[key]), theirs.map((one) => one[key]));
      const baselineName = "one process of Python, one message at a time, no limits by network";
      return [
        { row: `${row}, against retalk-server`, unit: "messages/s", ...per("perSecond"), goal: { atLeast: 20 }, baselineName },
        { row: "  … processor time", unit: "µs", ...per("micros"), goal: { atMost: 1 / 20 } },
      ];
    } finally {
      await original?.stop();
      await program.stop();
    }
  },
};

/**
 * Users who have published their keys, in pairs, each user in a network of its own.
 *
 * @param {string} url
 * @param {number} count
 */
async function meet(url, count) {
  const users = Array.from({ length: 2 * count }, (_, number) => new User(url, { audience: RELAY, from: `10.${number}.0.1` }));
  for (const user of users) {
    const { status, text } = await user.publish(1);
    assert.equal(status, 200, text);
  }
  return Array.from({ length: count }, (_, number) => users.slice(2 * number, 2 * number + 2));
}

/**
 * One turn: each pair sends and reads one message after the other. All requests are signed before.
 *
 * @param {number} pid
 * @param {User[][]} pairs
 * @param {number} count
 */
async function exchange(pid, pairs, count) {
  const each = Math.ceil(count / pairs.length);
  const body = Buffer.from(BODY).toString("base64");
  const signed = pairs.map(([sender, recipient]) =>
    Array.from({ length: each }, (_, number) => [
      sender.request("send_message", { to: recipient.id, mtype: 1, body: `${String(number).padStart(8, "0")}${body.slice(8)}` }),
      recipient.request("read_messages"),
    ]),
  );
  const [started, before] = [performance.now(), await processTime(pid)];
  await Promise.all(
    pairs.map(async ([sender, recipient], pair) => {
      for (const [sent, read] of signed[pair]) {
        const { status, json } = await sender.post(sent);
        assert.ok(status === 200 && json.message_id > 0, JSON.stringify(json));
        const { json: waiting } = await recipient.post(read);
        assert.equal(waiting.length, 1, JSON.stringify(waiting));
      }
    }),
  );
  const exchanged = each * pairs.length;
  const seconds = (performance.now() - started) / 1_000;
  return { perSecond: exchanged / seconds, micros: ((await processTime(pid)) - before) / exchanged };
}
