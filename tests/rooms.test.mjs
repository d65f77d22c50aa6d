// What each room of the project may import. No circle between files, so that every file can be read after those that it
// imports from.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve, sep } from "node:path";
import { describe, test } from "node:test";
import { ROOT } from "../tools/steps.mjs";
import { circles } from "./imports.mjs";

describe("no file imports from one that imports from it", () => {
  for (const root of ["protocol/src/presence.rs", "protocol/src/lib.rs", "beacon/src/lib.rs", "src/lib.rs", "native/src/main.rs", "capsule/src/lib.rs", "messenger/src/lib.rs", "messenger/src/main.rs"]) {
    test(root, () => assert.deepEqual(circles(join(ROOT, root)), []));
  }
});

test("the conformance suite imports nothing of what it judges", async () => {
  const room = join(ROOT, "conformance");
  const names = (await readdir(room, { recursive: true })).filter((name) => name.endsWith(".mjs") && !name.startsWith("node_modules"));
  assert.ok(names.length > 15);
  const { dependencies } = JSON.parse(await readFile(join(room, "package.json"), "utf8"));
  for (const name of names) {
    const text = await readFile(join(room, name), "utf8");
    const statements = text.matchAll(/^(?:import|export)\b[^"=]*"([^"]+)";$|\bimport\(\s*"([^"]+)"/gm);
    const imported = [...statements].map(([, what, dynamic]) => what ?? dynamic);
    for (const what of imported.filter((what) => !what.startsWith("node:") && !(what in dependencies))) {
      assert.ok(what.startsWith("."), `${name} imports ${what}`);
      assert.ok(resolve(dirname(join(room, name)), what).startsWith(room + sep), `${name} imports ${what}`);
    }
  }
});

describe("a circle is found", () => {
  /** A crate of these files has these circles. */
  const cases = {
    "between two files": [
      {
        "lib.rs": "mod one; mod two;",
        "one.rs": "use crate::two::Two; pub struct One(Two);",
        "two.rs": "use crate::one; pub struct Two(Box<one::One>);",
      },
      [["one.rs", "two.rs"]],
    ],
    "by a path without `use`": [
      { "lib.rs": "mod one; mod two;", "one.rs": "fn f() { crate::two::g() }", "two.rs": "pub fn g() { super::one::f() }" },
      [["one.rs", "two.rs"]],
    ],
    "with the parent that defines something": [
      { "lib.rs": "mod parent;", "parent/mod.rs": "mod child; use child::Child; struct Shared;", "parent/child.rs": "use super::Shared;" },
      [["parent/child.rs", "parent/mod.rs"]],
    ],
    "through what others pass on": [
      {
        "main.rs": "mod facade; mod one; mod two; use facade::Renamed as Alias;",
        "facade.rs": "pub use crate::one::One as Renamed;",
        "one.rs": "use crate::two::{self, Two}; pub struct One;",
        "two.rs": "use crate::Alias; pub struct Two;",
      },
      [["one.rs", "two.rs"]],
    ],
    "of three, once": [
      {
        "lib.rs": "mod a; mod b; mod c;",
        "a.rs": "use crate::{c::{C as Other, self}, std}; pub struct A;",
        "b.rs": "use crate::a::A; pub struct B;",
        "c.rs": "mod inner { use super::super::b::B; } pub struct C;",
      },
      [["a.rs", "c.rs", "b.rs"]],
    ],
    "but none where a parent only declares": [
      { "lib.rs": "mod one; pub struct Shared;", "one.rs": "use crate::Shared;" },
      [],
    ],
    "nor where names are passed on": [
      {
        "lib.rs": "mod parent;",
        "parent.rs": "mod one; mod two; pub use one::One; pub use two::Two;",
        "parent/one.rs": "use super::Two; pub struct One;",
        "parent/two.rs": "pub struct Two;",
      },
      [],
    ],
    "nor in tests, comments, texts": [
      {
        "lib.rs": "mod one; mod two;",
        "one.rs": "pub struct One; #[cfg(test)] use crate::two::{Two}; #[cfg(test)] mod tests { use crate::two::Two; }",
        "two.rs": `use crate::one::One; pub struct Two; // crate::two::Two
          const TEXTS: [&str; 3] = ["\\" crate::one", r#" " use crate::one "#, '\\'']; fn f<'a>(x: &'a str) {}`,
      },
      [],
    ],
  };
  for (const [name, [files, expected]] of Object.entries(cases)) {
    test(name, async () => {
      const directory = await mkdtemp(join(tmpdir(), "rooms-test-"));
      try {
        for (const [file, text] of Object.entries(files)) {
          await mkdir(dirname(join(directory, file)), { recursive: true });
          await writeFile(join(directory, file), text);
        }
        assert.deepEqual(circles(join(directory, Object.keys(files)[0])), expected);
      } finally {
        await rm(directory, { recursive: true });
      }
    });
  }
});
