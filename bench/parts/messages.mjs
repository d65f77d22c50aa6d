// The door for retalk's users on one machine, against retalk's own server: a message sent, and read by its recipient.

import assert from "node:assert/strict";
import { RELAY } from "../../tests/mailbox.mjs";
import { User } from "../../tests/retalk.mjs";
import { startRetalkServer } from "../comparators.mjs";
import { play } from "../load.mjs";
import { processTime } from "../machine.mjs";
import { compare, inTurns } from "../measurement.mjs";
import { startProgram } from "../programs.mjs";

const VARIABLES = {
  DOORS: "v1,retalk",
  EXTERNAL_URLS: RELAY,
  MAILBOXES: "20000",
  ADDRESS_REQUESTS_PER_MINUTE: "100000",
  NETWORK_REQUESTS_PER_MINUTE: "100000",
};
/** So many at a time, each with a recipient of its own: the original says that its database is locked if there are more. */
const [PAIRS, PAIRS_OF_ORIGINAL] = [32, 1];
const [MESSAGES_PER_SECOND, MESSAGES_PER_SECOND_OF_ORIGINAL] = [2_400, 120];
/** As long as what Olm makes of some words. */
const BODY = Buffer.from("x".repeat(300)).toString("base64");

export const messages = {
  name: "messages",
  programs: ["rendezvous-native"],
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
      const side = (server, pairs, perSecond, connectEach) => () =>
        exchange(server, { quick, pairs, count: quick ? 2 * pairs : perSecond * seconds, connectEach });
      const sides = [side(program, PAIRS, MESSAGES_PER_SECOND, false)];
      // It ends each connection with the answer.
      if (original) sides.push(side(original, PAIRS_OF_ORIGINAL, MESSAGES_PER_SECOND_OF_ORIGINAL, true));
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

let turns = 0;

/**
 * Users who have published their keys, in pairs, each user in a network of its own.
 *
 * @param {string} url
 * @param {number} count
 */
async function meet(url, count) {
  turns += 1;
  const address = (number) => `10.${number}.${turns}.1`;
  const users = Array.from({ length: 2 * count }, (_, number) => new User(url, { audience: RELAY, from: address(number) }));
  for (const user of users) {
    const { status, text } = await user.publish(1);
    assert.equal(status, 200, text);
  }
  return Array.from({ length: count }, (_, number) => users.slice(2 * number, 2 * number + 2));
}

/**
 * One turn: each pair sends and reads one message after the other. All requests are signed before.
 *
 * @param {{ url: string, pid: number }} server
 * @param {{ quick: boolean, pairs: number, count: number, connectEach: boolean }} options
 */
async function exchange({ url, pid }, { quick, pairs, count, connectEach }) {
  const each = Math.ceil(count / pairs);
  const request = ({ from }, signed, expect) => ({ path: "/", from, body: JSON.stringify(signed), expect });
  const connections = (await meet(url, pairs)).map(([sender, recipient]) =>
    Array.from({ length: each }, (_, number) => {
      const body = `${String(number).padStart(8, "0")}${BODY.slice(8)}`;
      return [
        request(sender, sender.request("send_message", { to: recipient.id, mtype: 1, body }), "message_id"),
        request(recipient, recipient.request("read_messages"), body),
      ];
    }).flat(),
  );
  const before = await processTime(pid);
  const { statuses, requests, seconds } = await play({ quick, url, connections, connectEach });
  assert.deepEqual([statuses, requests], [{ 200: requests }, 2 * each * pairs]);
  const exchanged = each * pairs;
  return { perSecond: exchanged / seconds, micros: ((await processTime(pid)) - before) / exchanged };
}
