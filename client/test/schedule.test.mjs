// When sources are asked: no client, no network, no clock.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Clock, Schedule, untilNext } from "../build/internals.js";
import { seeded } from "./world.mjs";

const MINUTE = 60_000;
const beacon = () => new Schedule(false);
const capsule = () => new Schedule(true);

describe("a source is asked again", () => {
  test("after a failure: 2 s, doubled to 16 s for the life of a ticket, then up to 5 minutes, by a quarter more or less", () => {
    for (const random of [0, 0.5, 1]) {
      const schedule = beacon();
      const jitter = 0.75 + random / 2;
      const waits = Array.from({ length: 16 }, (_, at) => {
        schedule.failed(undefined, at * MINUTE, random);
        return (schedule.dueAt - at * MINUTE) / jitter / 1_000;
      });
      assert.deepEqual(waits.map(Math.round), [2, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16, 16, 32, 64, 128, 256]);
      schedule.failed(undefined, 0, random);
      schedule.failed(undefined, 0, random);
      assert.equal(schedule.dueAt, 300_000 * jitter);
      assert.equal(schedule.failuresInARow, 18);
      schedule.succeeded(false, false, 0, 0, random);
      assert.equal(schedule.failuresInARow, 0);
      schedule.failed(undefined, 0, random);
      assert.equal(schedule.dueAt, 2_000 * jitter);
    }
  });

  test("when it says, but not later than in 5 minutes and not sooner than by itself", () => {
    for (const [asked, granted] of [
      [0, 2_000],
      [1_000, 2_000],
      [60_000, 60_000],
      [86_400_000, 300_000],
    ]) {
      const schedule = beacon();
      schedule.failed(asked, 1_000, 0.5);
      assert.equal(schedule.dueAt - 1_000, granted);
    }
  });

  test("while there are too few peers ever more seldom, and soon again when one is lost, but not at once twice", () => {
    const schedule = beacon();
    const waits = [0, 1, 2, 3, 4].map(() => (schedule.succeeded(true, false, 0, 0, 0), schedule.dueAt / 1_000));
    assert.deepEqual(waits, [15, 30, 60, 120, 120]);
    schedule.asked(100_000);
    schedule.succeeded(true, false, 0, 100_000, 0);
    schedule.hurry(101_000);
    assert.equal(schedule.dueAt, 103_000, "3 s after it was asked");
    schedule.hurry(110_000);
    assert.equal(schedule.dueAt, 103_000, "it is due");
    schedule.succeeded(true, false, 0, 110_000, 0);
    assert.equal(schedule.dueAt, 125_000, "from the beginning");
    schedule.asked(110_000);
    schedule.asked(-Infinity);
    schedule.hurry(110_001);
    assert.equal(schedule.dueAt, 110_001);
  });

  test("with enough peers only to announce, and a beacon where another page announces not at all", () => {
    const schedule = beacon();
    assert.equal(schedule.announces(0), true);
    assert.equal(schedule.announced({ announceAfterMs: 50_000 }, 120_000, false, 1_000, 0), true);
    assert.deepEqual([schedule.announces(50_999), schedule.announces(51_000)], [false, true]);
    schedule.succeeded(false, true, 0, 1_000, 0);
    assert.equal(schedule.dueAt, 51_000);
    schedule.succeeded(false, false, 0, 1_000, 0);
    assert.equal(schedule.dueAt, Infinity);
    schedule.renew();
    schedule.succeeded(false, true, 0, 1_000, 0);
    assert.equal(schedule.dueAt, 3_000, "never twice in 2 s");
  });

  test("a capsule within half its life, however many peers there are, but not more often than every 30 s", () => {
    const random = seeded(1);
    for (const life of [0, 10_000, 4 * MINUTE, 30 * MINUTE, 7 * 24 * 60 * MINUTE])
      for (let round = 0; round < 100; round++) {
        const schedule = capsule();
        schedule.succeeded(false, true, life, 5, random());
        const wait = schedule.dueAt - 5;
        assert.ok(wait >= 30_000 && wait <= Math.max(30_000, life / 2), `${life}: ${wait}`);
        const short = capsule();
        short.succeeded(true, true, life, 5, random());
        assert.ok(short.dueAt - 5 <= 90_000, "and more often while there are too few");
      }
  });

  test("when the page is back: capsules at once, beacons when the lock has had its time; offline a minute later", () => {
    const [one, other] = [beacon(), capsule()];
    one.announced({}, 120_000, false, 0, 0);
    one.begin(1_000);
    other.begin(1_000);
    assert.deepEqual([one.dueAt, other.dueAt, one.announces(1_000)], [1_100, 1_000, true]);
    one.pause(2_000);
    assert.equal(one.dueAt, 62_000);
  });
});

describe("this peer announces again", () => {
  const after = (reply, { leftMs = 1_000_000, wasListed = true, random = 0, schedule = beacon() } = {}) => {
    const isDone = schedule.announced(reply, leftMs, wasListed, 0, random);
    if (!isDone) return undefined;
    let [low, high] = [0, 2_000_000];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (schedule.announces(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  };

  test("when the beacon says, at 10 s the soonest, a minute where it does not, and before the ticket is old", () => {
    assert.equal(after({ announceAfterMs: 45_000 }), 45_000);
    assert.equal(after({ announceAfterMs: 45_000 }, { random: 0.999 }), 49_496);
    assert.equal(after({ announceAfterMs: 0 }), 10_000);
    assert.equal(after({}), 60_000);
    assert.equal(after({ announceAfterMs: 86_400_000 }, { leftMs: 90_000 }), 90_000);
    assert.equal(after({ announceAfterMs: 45_000 }, { leftMs: -1 }), 5_000, "whose ticket is old already, not at once");
  });

  test("after ANNOUNCE_TOO_SOON once at once, if nothing is known to be listed there; then when it says", () => {
    const code = "ANNOUNCE_TOO_SOON";
    const schedule = beacon();
    const reply = { code, retryAfterMs: 20_000 };
    assert.equal(after(reply, { schedule, wasListed: false }), 2_000);
    assert.equal(after(reply, { schedule, wasListed: false }), 21_000);
    schedule.begin(0);
    assert.equal(after(reply, { schedule, wasListed: false }), 2_000);
    assert.equal(after(reply, { wasListed: true }), 21_000);
    assert.equal(after({ code, retryAfterMs: 86_400_000 }), 61_000);
  });

  test("5 s after STALE_TICKET; any other refusal is a failure of the source", () => {
    assert.equal(after({ code: "STALE_TICKET" }), 5_000);
    for (const code of ["THROTTLED", "INTERNAL", "MALFORMED", "HTTP_500", "toString", "constructor"])
      assert.equal(after({ code }), undefined, code);
  });

  test("half a minute after a signer failed", () => {
    const schedule = beacon();
    schedule.unsigned(1_000);
    assert.deepEqual([schedule.announces(30_999), schedule.announces(31_000)], [false, true]);
  });
});

test("the timer is for what is due first: a source, the end of a ticket, or a look at the clocks", () => {
  assert.equal(untilNext(1_000, 4_000, Infinity), 3_000);
  assert.equal(untilNext(1_000, 4_000, 500), 500);
  assert.equal(untilNext(1_000, Infinity, Infinity), 10_000);
});

test("clocks that part by more than 5 s have jumped, once for each time", () => {
  const clock = new Clock();
  assert.equal(clock.look(1_000_000, 0), false, "the first look");
  assert.equal(clock.look(1_060_000, 60_000), false);
  assert.equal(clock.look(1_070_001, 65_000), true, "the machine slept");
  assert.equal(clock.look(1_075_001, 70_000), false);
  assert.equal(clock.look(1_070_000, 75_000), true, "its clock was set back");
  clock.reset();
  assert.equal(clock.look(9_000_000, 76_000), false);
  assert.equal(clock.look(9_005_000, 76_000), false);
  assert.equal(clock.look(9_010_001, 76_000), true);
});
