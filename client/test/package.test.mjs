// The package as it is published: packed, unpacked elsewhere, and used by its name.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const CLIENT = fileURLToPath(new URL("..", import.meta.url));

test("the package has all that its users need, and nothing else", () => {
  const scratch = mkdtempSync(join(tmpdir(), "package-test-"));
  try {
    execFileSync("npm", ["pack", "--offline", "--pack-destination", scratch], { cwd: CLIENT, stdio: "pipe" });
    const [tarball] = readdirSync(scratch);
    const home = join(scratch, "node_modules/rendezvous-beacon");
    mkdirSync(home, { recursive: true });
    execFileSync("tar", ["-xzf", join(scratch, tarball), "-C", home, "--strip-components=1"]);

    const { exports } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
    for (const file of Object.values(exports).flatMap(Object.values)) assert.ok(existsSync(join(home, file)), file);
    assert.deepEqual(readdirSync(home).sort(), ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist", "package.json"]);
    for (const licence of ["LICENSE-APACHE", "LICENSE-MIT"]) {
      assert.equal(readFileSync(join(home, licence), "utf8"), readFileSync(join(CLIENT, "..", licence), "utf8"));
      assert.ok(!existsSync(join(CLIENT, licence)), "the copy is gone");
    }
    assert.ok(readdirSync(join(home, "dist")).every((file) => /^(index|peerjs|root)\.js$|\.d\.ts$/.test(file)));

    const program = `
      import { Rendezvous } from "rendezvous-beacon";
      import { connectPeers } from "rendezvous-beacon/peerjs";
      import { Root } from "rendezvous-beacon/root";
      console.log(typeof Rendezvous, typeof connectPeers, typeof Root);`;
    const run = ["--input-type=module", "--eval", program];
    assert.equal(execFileSync(process.execPath, run, { cwd: scratch, encoding: "utf8" }), "function function function\n");
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});
