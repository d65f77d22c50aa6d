// No file imports, directly or through others, a file that imports it: whoever reads one can stop somewhere. Re-exports
// are followed to the file that has what is imported; a `mod` line alone is no import.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const ROOMS = ["protocol/src", "beacon/src", "src", "native/src", "capsule/src", "messenger/src"];

/** @returns {string[]} The paths in a tree like `a::{b, c::{self, d as e}}`. */
function paths(tree) {
  const open = tree.indexOf("{");
  if (open === -1) return [tree.trim()];
  const parts = [];
  let depth = 0;
  let part = "";
  for (const character of tree.slice(open + 1, tree.lastIndexOf("}"))) {
    if (character === "{") depth += 1;
    if (character === "}") depth -= 1;
    if (character === "," && depth === 0) {
      parts.push(part);
      part = "";
    } else {
      part += character;
    }
  }
  const before = tree.slice(0, open).trim();
  return [...parts, part].filter((one) => one.trim() !== "").flatMap((one) => paths(one).map((path) => before + path));
}

/** @returns The modules of a crate by their names: what each file imports, and the names that it hands on. */
async function readModules(directory) {
  const modules = new Map();
  const files = (await readdir(directory, { recursive: true })).filter((file) => file.endsWith(".rs"));
  for (const file of files) {
    const parts = relative(directory, join(directory, file)).slice(0, -".rs".length).split(sep);
    if (parts.at(-1) === "mod" || (parts.length === 1 && ["main", "lib"].includes(parts[0]))) parts.pop();
    const text = await readFile(join(directory, file), "utf8");
    // Tests may look at what is above them.
    const code = text.split(/^#\[cfg\(test\)\]\nmod tests/m)[0].replaceAll(/\/\/.*$/gm, "");
    const imports = new Set();
    const names = new Map();
    for (const [, tree] of code.matchAll(/^(?:pub(?:\([^)]*\))?\s+)?use\s+([^;]+);/gm)) {
      for (const found of paths(tree)) {
        const [path, alias] = found.split(/\s+as\s+/);
        const whole = path.replaceAll(/\s/g, "").replace(/::self$/, "");
        imports.add(whole);
        names.set(alias ?? whole.split("::").at(-1), whole);
      }
    }
    for (const [path] of code.matchAll(/\b(?:crate|self|super)(?:::\w+)+/g)) imports.add(path);
    modules.set(["crate", ...parts].join("::"), { imports, names });
  }
  return modules;
}

/** @returns {string | undefined} The module that has what a path names; nothing for another crate's. */
function resolve(modules, from, path) {
  const parts = path.split("::");
  let at = from.split("::");
  if (parts[0] === "crate") at = [parts.shift()];
  else if (parts[0] === "self") parts.shift();
  else if (parts[0] !== "super") return undefined;
  while (parts[0] === "super") {
    parts.shift();
    at.pop();
  }
  let module = at.join("::");
  for (const part of parts) {
    const below = `${module}::${part}`;
    const handedOn = modules.get(module)?.names.get(part);
    if (modules.has(below)) module = below;
    else if (handedOn === undefined) return module;
    else {
      const elsewhere = resolve(modules, module, handedOn);
      if (elsewhere === undefined || elsewhere === module) return elsewhere;
      module = elsewhere;
    }
  }
  return module;
}

/** @returns {string[][]} The modules of each circle. */
function circles(modules) {
  const imported = new Map();
  for (const [name, { imports }] of modules) {
    const found = [...imports].map((path) => resolve(modules, name, path));
    imported.set(name, new Set(found.filter((module) => module !== name && modules.has(module))));
  }
  const reach = (start) => {
    const reached = new Set();
    const left = [...imported.get(start)];
    while (left.length > 0) {
      const module = left.pop();
      if (reached.has(module)) continue;
      reached.add(module);
      left.push(...imported.get(module));
    }
    return reached;
  };
  const reached = new Map([...imported.keys()].map((name) => [name, reach(name)]));
  const circle = (name) => [...reached.keys()].filter((other) => reached.get(name).has(other) && reached.get(other).has(name));
  const found = [...reached.keys()].map(circle).filter((circle) => circle.length > 0);
  return [...new Map(found.map((circle) => [circle.join(), circle])).values()];
}

describe("imports", () => {
  for (const room of ROOMS.filter((room) => existsSync(join(ROOT, room)))) {
    test(`of ${room} go round in no circle`, async () => {
      const modules = await readModules(join(ROOT, room));
      assert.ok(modules.size > 1);
      assert.deepEqual(circles(modules), []);
    });
  }

  test("that go round are found, through what hands them on", () => {
    const module = (...imports) => ({
      imports: new Set(imports),
      names: new Map(imports.map((path) => [path.split("::").at(-1), path])),
    });
    const modules = new Map([
      ["crate", module("self::a::Thing", "std::fmt")],
      ["crate::a", module("crate::b::c")],
      ["crate::b", module("self::c::Other")],
      ["crate::b::c", module("super::super::Thing")],
      ["crate::d", module("crate::b::Other", "crate::Thing")],
    ]);
    assert.deepEqual(circles(modules), [["crate::a", "crate::b::c"]]);
    assert.deepEqual(paths("a::{b, c::{self, d as e}}"), ["a::b", "a::c::self", "a::c::d as e"]);
  });
});
