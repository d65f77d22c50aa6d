// `capsule publish` over many beacons, against verifying the same tickets in batches and nothing else.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT, interruption } from "../../tools/steps.mjs";
import { startNative } from "../load.mjs";
import { compare, inTurns } from "../measurement.mjs";

export const capsule = {
  name: "capsule",
  programs: ["rendezvous-capsule"],
  /** @param {import("../bench.mjs").Context} context */
  async run({ quick, rounds, say }) {
    const [beacons, tickets] = quick ? [5, 20] : [50, 200];
    const row = `capsule, ${beacons} beacons × ${tickets} tickets`;
    say(row);
    const threads = availableParallelism();
    const scratch = await mkdtemp(join(tmpdir(), "bench-capsule-"));
    const native = await startNative({
      quick,
      role: undefined,
      args: ["beacons", "--beacons", String(beacons), "--tickets", String(tickets), "--threads", String(threads)],
    });
    try {
      const urls = JSON.parse(await native.nextLine());
      const { privateKey } = generateKeyPairSync("ed25519");
      const key = join(scratch, "key.pem");
      await writeFile(key, privateKey.export({ format: "pem", type: "pkcs8" }));
      const program = join(ROOT, "target", quick ? "debug" : "release", "capsule");
      const args = ["publish", "--json", "--quiet", "--key", key, "--out", join(scratch, "out")];
      args.push("--ticket-max-lifetime", "2h", ...urls.flatMap((url) => ["--beacon", url]));

      const publish = async () => {
        const started = performance.now();
        const { stdout } = await promisify(execFile)(program, args, { env: {}, signal: interruption });
        const took = performance.now() - started;
        const found = JSON.parse(stdout).beacons.reduce((sum, beacon) => sum + beacon.tickets, 0);
        assert.equal(found, beacons * tickets, row);
        return took;
      };
      const verify = async (how) => {
        native.say(how);
        return Number(await native.nextLine()) / 1000;
      };
      const sides = [publish, () => verify("batch"), () => verify("singly")];
      for (const side of sides) await side();
      const [ours, theirs, singly] = await inTurns(rounds, sides);
      const baselineName = `verify_batch on ${threads} threads`;
      return [
        { row, unit: "ms", ...compare(ours, theirs), goal: { atMost: 1.3 }, baselineName },
        { row: "  … the same tickets by the one acceptance rule", unit: "ms", ...compare(singly, theirs), baselineName },
      ];
    } finally {
      await native.stop();
      await rm(scratch, { recursive: true, force: true });
    }
  },
};
