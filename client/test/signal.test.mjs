// What signals carry, and what a receiver remembers of them. Their own form is in the vectors.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeenSignals, readCandidates, readDescription, trimDescription } from "../build/internals.js";
import { seeded } from "./world.mjs";

const outcome = (run) => {
  try {
    run();
    return "ok";
  } catch (error) {
    return error.message;
  }
};

describe("a description", () => {
  const FINGERPRINT = `a=fingerprint:sha-256 ${Array(32).fill("0F").join(":")}`;
  const MEDIA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel";
  const CANDIDATE = "a=candidate:1 1 udp 2113937151 192.0.2.1 50000 typ host";
  const read = (...lines) => outcome(() => readDescription(["v=0", ...lines, ""].join("\r\n")));

  test("is of one data channel with one fingerprint, of SHA-256", () => {
    assert.equal(read(MEDIA, FINGERPRINT), "ok");
    // As Firefox has it: for the whole session, and in any case.
    assert.equal(read(FINGERPRINT.replace("sha-256", "SHA-256").replaceAll("0F", "0f"), MEDIA), "ok");
    for (const lines of [
      [MEDIA],
      [FINGERPRINT],
      [MEDIA, MEDIA, FINGERPRINT],
      [MEDIA, "m=audio 9 UDP/TLS/RTP/SAVPF 111", FINGERPRINT],
      [MEDIA.replace("application", "audio"), FINGERPRINT],
      [MEDIA.replace("DTLS/", ""), FINGERPRINT],
      [MEDIA, FINGERPRINT, FINGERPRINT],
      [MEDIA, FINGERPRINT, FINGERPRINT.replace("0F", "0E")],
      [MEDIA, FINGERPRINT, FINGERPRINT.replace("a=f", "a=F")],
      [MEDIA, FINGERPRINT.replace("sha-256", "sha-1")],
      [MEDIA, FINGERPRINT.slice(0, -3)],
      [MEDIA, `${FINGERPRINT}:0F`],
      [MEDIA, `${FINGERPRINT} `],
    ]) {
      assert.equal(read(...lines), "DESCRIPTION_INVALID", JSON.stringify(lines));
    }
  });

  test("has at most 16 candidates, and so have those that come after it", () => {
    const many = (count) => Array(count).fill(CANDIDATE);
    assert.equal(read(MEDIA, FINGERPRINT, ...many(16)), "ok");
    assert.equal(read(MEDIA, FINGERPRINT, ...many(17)), "DESCRIPTION_INVALID");
    assert.equal(read(MEDIA, FINGERPRINT, CANDIDATE + "x".repeat(512)), "DESCRIPTION_INVALID");
    const lines = (count) => many(count).map((line) => line.slice(2)).join("\n");
    assert.equal(readCandidates(lines(16)).length, 16);
    for (const data of [lines(17), "", "\n", `${lines(1)}\n`, CANDIDATE, "candidate:é"]) {
      assert.equal(outcome(() => readCandidates(data)), "DESCRIPTION_INVALID", JSON.stringify(data));
    }
  });

  test("is sent without what nobody could use", () => {
    const tcp = "a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active";
    const useful = (count) => Array.from({ length: count }, (_, at) => CANDIDATE.replace("50000", 50_000 + at));
    const sdp = ["v=0", MEDIA, FINGERPRINT, tcp, ...useful(20), ""].join("\r\n");
    assert.equal(trimDescription(sdp), ["v=0", MEDIA, FINGERPRINT, ...useful(16), ""].join("\r\n"));
  });
});

describe("memory of signals", () => {
  test("is as that of a list which forgets nothing too early, and holds no more than it may", () => {
    const random = seeded(7);
    const seen = new SeenSignals();
    /** `[key, id, until]`. */
    let model = [];
    let now = 1_700_000_000_000;
    const outcomes = new Set();
    for (let step = 0; step < 20_000; step++) {
      now += Math.floor(random() * 90);
      // A few talk much, and many little.
      const fromKey = random() < 0.3 ? `key-${Math.floor(random() * 3)}` : `key-${Math.floor(random() * 4_000)}`;
      const id = `id-${Math.floor(random() * 200)}`;
      model = model.filter(([, , until]) => until > now);
      const expected = model.some(([key, name]) => key === fromKey && name === id)
        ? "DUPLICATE"
        : model.length >= 1_024 || model.filter(([key]) => key === fromKey).length >= 64
          ? "TOO_FAST"
          : "ok";
      if (expected === "ok") model.push([fromKey, id, now + 90_000]);
      assert.equal(outcome(() => seen.take({ fromKey, id }, now)), expected);
      outcomes.add(expected);
    }
    assert.deepEqual([...outcomes].sort(), ["DUPLICATE", "TOO_FAST", "ok"]);
  });
});
