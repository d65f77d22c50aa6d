// The vectors that a script makes are those that are there.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { files } from "./vectors/make.mjs";

for (const [name, text] of files()) {
  test(`tests/vectors/make.mjs makes ${name}, byte for byte`, async () => {
    assert.equal(await readFile(new URL(`vectors/${name}`, import.meta.url), "utf8"), text);
  });
}
