// Which source file of a Rust crate imports from which other, and whether any do so in a circle.
//
// Paths are resolved as the compiler resolves them, as far as this project's code goes: `crate`, `self`, `super`, modules
// in files and in blocks, and what another module imports or re-exports, so that a file depends on the one that defines
// what it names and not on the one that passes it on. A parent that only declares a module does not import from it. What
// is compiled for tests alone does not count.

import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";

/**
 * @typedef {object} Module
 * @property {string} file
 * @property {Module} [parent]
 * @property {Map<string, Module>} children
 * @property {{ name: string, path: string[] }[]} imports What `use` gives a name to; "*" is everything.
 * @property {string[][]} paths Everything that is named by path.
 */

/**
 * @param {string} root The crate's first file.
 * @returns {string[][]} The files of each circle, in the order of imports. The first is not repeated.
 */
export function circles(root) {
  const modules = [];
  readModule(root, undefined, modules);
  /** @type {Map<string, Set<string>>} */
  const imports = new Map();
  for (const module of modules) {
    const files = imports.get(module.file) ?? new Set();
    imports.set(module.file, files);
    for (const path of [...module.imports.map(({ path }) => path), ...module.paths]) {
      const file = definedIn(module, path);
      if (file !== undefined && file !== module.file) files.add(file);
    }
  }
  const base = dirname(root);
  return findCircles(imports).map((files) => files.map((file) => relative(base, file)));
}

/**
 * @param {string} file
 * @param {Module | undefined} parent
 * @param {Module[]} modules Gets the module and those below it.
 * @returns {Module}
 */
function readModule(file, parent, modules) {
  const tokens = withoutTests(tokensOf(readFileSync(file, "utf8")));
  const name = basename(file, ".rs");
  const isRoot = parent === undefined || ["lib", "main", "mod"].includes(name);
  const directory = isRoot ? dirname(file) : join(dirname(file), name);
  return readItems(tokens, { file, directory, parent }, modules);
}

/**
 * @param {string[]} tokens
 * @param {{ file: string, directory: string, parent?: Module }} place
 * @param {Module[]} modules
 * @returns {Module}
 */
function readItems(tokens, { file, directory, parent }, modules) {
  /** @type {Module} */
  const module = { file, parent, children: new Map(), imports: [], paths: [] };
  modules.push(module);
  for (let at = 0; at < tokens.length; at += 1) {
    const [token, name, then] = tokens.slice(at, at + 3);
    if (token === "mod" && then === ";") {
      const file = [join(directory, `${name}.rs`), join(directory, name, "mod.rs")].find(existsSync);
      if (file === undefined) throw new Error(`${module.file} declares ${name}, of which there is no file`);
      module.children.set(name, readModule(file, module, modules));
      at += 2;
    } else if (token === "mod" && then === "{") {
      const end = closing(tokens, at + 2);
      const block = tokens.slice(at + 3, end);
      module.children.set(name, readItems(block, { file, directory: join(directory, name), parent: module }, modules));
      at = end;
    } else if (token === "use" && name !== "<") {
      const end = tokens.indexOf(";", at);
      module.imports.push(...readUse(tokens.slice(at + 1, end)));
      at = end;
    } else if (isName(token) && name === "::" && !["::", "."].includes(tokens[at - 1])) {
      const path = [token];
      while (tokens[at + 1] === "::" && isName(tokens[at + 2])) {
        path.push(tokens[at + 2]);
        at += 2;
      }
      module.paths.push(path);
    }
  }
  return module;
}

/**
 * @param {string[]} tokens Between `use` and `;`.
 * @param {string[]} [prefix]
 * @returns {Module["imports"]}
 */
function readUse(tokens, prefix = []) {
  const path = [...prefix];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (token === "{") {
      return split(tokens.slice(at + 1, closing(tokens, at))).flatMap((part) => readUse(part, path));
    }
    if (token === "as") return [{ name: tokens[at + 1], path }];
    if (token === "*") return [{ name: "*", path }];
    if (token !== "::" && !(token === "self" && path.length > 0)) path.push(token);
  }
  return path.length > prefix.length || tokens.includes("self") ? [{ name: path.at(-1), path }] : [];
}

/**
 * @param {string[]} tokens Separated by commas, outside of further braces.
 * @returns {string[][]}
 */
function split(tokens) {
  const parts = [[]];
  let depth = 0;
  for (const token of tokens) {
    depth += { "{": 1, "}": -1 }[token] ?? 0;
    if (token === "," && depth === 0) parts.push([]);
    else parts.at(-1).push(token);
  }
  return parts.filter(({ length }) => length > 0);
}

/**
 * @param {Module} module Where the path is written.
 * @param {string[]} path
 * @param {Set<Module["imports"][number]>} [followed] The imports that led here.
 * @returns {string | undefined} The file that defines what the path names; undefined for another crate's.
 */
function definedIn(module, path, followed = new Set()) {
  const [first, ...rest] = path;
  if (first === "crate") return definedBelow(rootOf(module), rest, followed);
  if (first === "self") return definedBelow(module, rest, followed);
  if (first === "super" || module.children.has(first)) return definedBelow(module, path, followed);
  return imported(module, path, followed);
}

/**
 * @param {Module} module
 * @param {string[]} path Relative to the module.
 * @param {Set<Module["imports"][number]>} followed
 * @returns {string | undefined}
 */
function definedBelow(module, path, followed) {
  const [first, ...rest] = path;
  if (first === undefined) return module.file;
  if (first === "super") return module.parent && definedBelow(module.parent, rest, followed);
  const child = module.children.get(first);
  if (child !== undefined) return definedBelow(child, rest, followed);
  if (module.imports.some(({ name }) => name === first)) return imported(module, path, followed);
  return module.file;
}

/**
 * @param {Module} module
 * @param {string[]} path Begins with a name that the module may have by import.
 * @param {Set<Module["imports"][number]>} followed
 * @returns {string | undefined}
 */
function imported(module, [first, ...rest], followed) {
  for (const found of module.imports) {
    if (found.name !== first || followed.has(found)) continue;
    // A name may be imported twice, as a type and as a function.
    const file = definedIn(module, [...found.path, ...rest], new Set(followed).add(found));
    if (file !== undefined) return file;
  }
  return undefined;
}

/** @param {Module} module */
const rootOf = (module) => (module.parent === undefined ? module : rootOf(module.parent));

/**
 * @param {Map<string, Set<string>>} imports
 * @returns {string[][]} For every file that imports itself in the end, the shortest way, each circle once.
 */
function findCircles(imports) {
  const found = new Map();
  for (const start of imports.keys()) {
    const circle = shortestWayBack(imports, start);
    if (circle === undefined) continue;
    const first = circle.indexOf([...circle].sort()[0]);
    const turned = [...circle.slice(first), ...circle.slice(0, first)];
    found.set(turned.join(), turned);
  }
  return [...found.values()];
}

/**
 * @param {Map<string, Set<string>>} imports
 * @param {string} start
 */
function shortestWayBack(imports, start) {
  const before = new Map();
  const queue = [start];
  for (const file of queue) {
    for (const next of imports.get(file) ?? []) {
      if (next === start) {
        const way = [file];
        while (way[0] !== start) way.unshift(before.get(way[0]));
        return way;
      }
      if (!before.has(next)) {
        before.set(next, file);
        queue.push(next);
      }
    }
  }
  return undefined;
}

/**
 * What is compiled for tests alone is left out: items behind `#[cfg(test)]`.
 *
 * @param {string[]} tokens
 */
function withoutTests(tokens) {
  const kept = [];
  for (let at = 0; at < tokens.length; at += 1) {
    if (tokens.slice(at, at + 7).join("") !== "#[cfg(test)]") {
      kept.push(tokens[at]);
      continue;
    }
    // Up to the end of the item: a semicolon, or a block that comes before that and is not the list of a `use`.
    at += 7;
    const isUse = tokens.indexOf("use", at) < tokens.indexOf("{", at) && tokens.indexOf("use", at) !== -1;
    while (tokens[at] !== ";" && (isUse || tokens[at] !== "{")) at += 1;
    if (tokens[at] === "{") at = closing(tokens, at);
  }
  return kept;
}

/**
 * @param {string[]} tokens
 * @param {number} open Where a brace opens.
 * @returns {number} Where it closes.
 */
function closing(tokens, open) {
  let depth = 0;
  for (let at = open; at < tokens.length; at += 1) {
    depth += { "{": 1, "}": -1 }[tokens[at]] ?? 0;
    if (depth === 0) return at;
  }
  throw new Error("a brace is never closed");
}

/** Comments, strings and characters are no tokens; a lifetime must not be taken for the start of a character. */
const TOKEN =
  /\/\/[^\n]*|\/\*[^]*?\*\/|\bb?c?r(#*)"[^]*?"\1|"(?:\\[^]|[^"\\])*"|'(?:\\[^][^']*|[^\\'])'|'\w+|(r#)?[A-Za-z_]\w*|::|[^\s]/g;

/** @param {string} text */
function tokensOf(text) {
  return [...text.matchAll(TOKEN)].map(([token]) => token).filter((token) => !/^(\/\/|\/\*|b?c?r#*"|"|')/.test(token));
}

/** @param {string | undefined} token */
const isName = (token) => token !== undefined && /^[A-Za-z_]/.test(token);
