// The package as it is published: packed, unpacked elsewhere, and used by its name.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";

const CLIENT = fileURLToPath(new URL("..", import.meta.url));

test("the package has all that its users need, and nothing else", async () => {
  const scratch = mkdtempSync(join(tmpdir(), "package-test-"));
  try {
    execFileSync("npm", ["pack", "--offline", "--pack-destination", scratch], { cwd: CLIENT, stdio: "pipe" });
    const [tarball] = readdirSync(scratch);
    const home = join(scratch, "node_modules/rendezvous-beacon");
    mkdirSync(home, { recursive: true });
    execFileSync("tar", ["-xzf", join(scratch, tarball), "-C", home, "--strip-components=1"]);

    const { exports, bin, ...manifest } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
    // What `npx rendezvous-beacon` needs beyond the package, it finds or fetches when it is run: a page's project gets none of it.
    for (const kind of ["dependencies", "optionalDependencies", "peerDependencies", "bundleDependencies"]) assert.ok(!(kind in manifest), kind);
    const files = [...Object.values(exports), bin].flatMap((file) => (typeof file === "string" ? file : Object.values(file)));
    for (const file of files) assert.ok(existsSync(join(home, file)), file);
    assert.deepEqual(readdirSync(home).sort(), ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "bin", "dist", "package.json", "worker"]);
    for (const licence of ["LICENSE-APACHE", "LICENSE-MIT"]) {
      assert.equal(readFileSync(join(home, licence), "utf8"), readFileSync(join(CLIENT, "..", licence), "utf8"));
      assert.ok(!existsSync(join(CLIENT, licence)), "the copy is gone");
    }
    assert.deepEqual(readdirSync(join(home, "bin")), ["rendezvous-beacon.js"]);
    assert.deepEqual(readdirSync(join(home, "worker")).sort(), ["THIRD-PARTY.txt", "beacon.capnp", "deployment", "description.json", "index.d.ts", "index.js", "index_bg.wasm", "page"]);
    assert.ok(readdirSync(join(home, "dist")).every((file) => /^(directory|index|live|mailbox|peerjs|registration|root|simple-peer|trystero|webrtc|y-webrtc)\.js(\.map)?$|\.d\.ts$/.test(file)));

    // What a debugger shows: the code as it was written, or by its map.
    for (const name of ["directory", "index", "live", "mailbox", "peerjs", "registration", "root", "simple-peer", "trystero", "webrtc", "y-webrtc"]) {
      const code = readFileSync(join(home, `dist/${name}.js`), "utf8");
      assert.ok(code.endsWith(`\n//# sourceMappingURL=${name}.js.map\n`), name);
      assert.ok(Math.max(...code.split("\n").map((line) => line.length)) < 500, `${name}.js is readable`);
      const { sources, sourcesContent } = JSON.parse(readFileSync(join(home, `dist/${name}.js.map`), "utf8"));
      for (const [at, source] of sources.entries())
        assert.equal(sourcesContent[at], readFileSync(join(CLIENT, "dist", source), "utf8"), source);
    }

    const packed = readFileSync(join(scratch, tarball));
    const { messages } = await publint({ pack: { tarball: Uint8Array.from(packed).buffer }, strict: true });
    assert.deepEqual(messages, []);
    // The profile `esm-only` of attw: it is for bundlers and for programs in ECMAScript modules, and those in CommonJS cannot
    // load it, with types or without.
    const { types, problems } = await checkPackage(createPackageFromTarballData(new Uint8Array(packed)));
    assert.equal(types.kind, "included");
    const forOthers = /^node10$|^node16-cjs$/;
    assert.deepEqual(problems.filter(({ resolutionKind }) => !forOthers.test(resolutionKind)), []);

    const program = `
      import { Rendezvous } from "rendezvous-beacon";
      import { findCommunities } from "rendezvous-beacon/directory";
      import { live } from "rendezvous-beacon/live";
      import { Mailbox } from "rendezvous-beacon/mailbox";
      import { connectPeers } from "rendezvous-beacon/peerjs";
      import { register } from "rendezvous-beacon/registration";
      import { Root } from "rendezvous-beacon/root";
      import { Connections as SimplePeers } from "rendezvous-beacon/simple-peer";
      import { joinRooms } from "rendezvous-beacon/trystero";
      import { Connections } from "rendezvous-beacon/webrtc";
      import { connectProvider } from "rendezvous-beacon/y-webrtc";
      import about from "rendezvous-beacon/package.json" with { type: "json" };
      console.log(...[Rendezvous, findCommunities, live, Mailbox, connectPeers, register, Root, SimplePeers, joinRooms, Connections, connectProvider].map((each) => typeof each), about.name);`;
    const run = ["--input-type=module", "--eval", program];
    assert.equal(execFileSync(process.execPath, run, { cwd: scratch, encoding: "utf8" }), `${"function ".repeat(11)}rendezvous-beacon\n`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});
