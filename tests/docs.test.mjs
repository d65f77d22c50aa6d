// The documents: every link leads somewhere, as Markdown in the repository and as pages of the site, and the code in them is
// code.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, normalize, relative } from "node:path";
import { describe, test } from "node:test";
import { PAGES, pageOf, readDocument, writeSite } from "../tools/site.mjs";
import { ROOT } from "../tools/steps.mjs";

const FILES = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], { cwd: ROOT, encoding: "utf8" })
  .trim()
  .split("\n")
  .filter((file) => existsSync(join(ROOT, file)));

/** @type {Map<string, import("../tools/site.mjs").Document>} */
const documents = new Map(FILES.map((file) => [file, readDocument(readFileSync(join(ROOT, file), "utf8"))]));

describe("links in the repository", () => {
  for (const [file, { links, anchors }] of documents) {
    test(file, () => {
      const broken = links.filter((href) => {
        if (/^(https?|mailto):/.test(href)) return false;
        const [path, anchor] = href.split("#");
        const target = path === "" ? file : normalize(join(dirname(file), path));
        if (!existsSync(join(ROOT, target))) return true;
        return anchor !== undefined && !(documents.get(target)?.anchors ?? []).includes(anchor);
      });
      assert.deepEqual(broken, []);
      assert.equal(new Set(anchors).size, anchors.length);
    });
  }
});

test("a link that leads nowhere is found", () => {
  const { links, anchors, title } = readDocument("# One `and` \"two\"\n\n[a](#one-and-two) [b](../x.md#y)\n\n## One\n\n## One\n\n```ts\n[c](d)\n```");
  assert.deepEqual(links, ["#one-and-two", "../x.md#y"]);
  assert.deepEqual(anchors, ["one-and-two", "one", "one-1"]);
  assert.equal(title, 'One and "two"');
});

test("every link of the site leads to a page of it with that anchor, or out of it; nothing is loaded from elsewhere", async () => {
  const out = await mkdtemp(join(tmpdir(), "docs-test-"));
  try {
    await writeSite(out);
    const pages = new Map(await Promise.all(PAGES.map(async ([file]) => [pageOf(file), await readFile(join(out, pageOf(file)), "utf8")])));
    const broken = [];
    for (const [page, html] of pages) {
      for (const [, href] of html.matchAll(/<a href="([^"]*)"/g)) {
        if (/^(https|mailto|http):/.test(href)) continue;
        const [path, anchor] = href.split("#");
        const target = path === "" ? page : normalize(join(dirname(page), path));
        const isThere = pages.has(target) && (anchor === undefined || pages.get(target).includes(` id="${anchor}"`));
        if (!isThere) broken.push(`${page}: ${href}`);
      }
      const loaded = [...html.matchAll(/<(?:link|script|img|iframe)\b[^>]*(?:src|href)="([^"]*)"/g)].map(([, url]) => url);
      assert.deepEqual(loaded.map((url) => normalize(join(dirname(page), url))), ["style.css"], page);
      assert.doesNotMatch(html, /<script|javascript:| on\w+="/);
    }
    assert.deepEqual(broken, []);
    // What a link to the repository names is there.
    const outside = [...pages.values()].flatMap((html) => [...html.matchAll(/href="https:\/\/github\.com\/rendezvous-beacon\/rendezvous-beacon\/blob\/main\/([^"#]*)/g)]);
    for (const [, path] of outside) assert.ok(existsSync(join(ROOT, path)), path);
  } finally {
    await rm(out, { recursive: true });
  }
});

test("the documents of the program for one machine are pages of the site, under the same names", () => {
  const source = readFileSync(join(ROOT, "beacon/src/documents.rs"), "utf8");
  const served = [...source.matchAll(/Document::new\("([^"]+)", "[^"]*", "([^"]+)"\)/g)].map(([, file, name]) => [file, name]);
  assert.ok(served.length >= 15);
  const known = new Set(PAGES.map(String));
  assert.deepEqual(served.filter((document) => !known.has(String(document))), []);
});

test("the code in docs/ is what the packages' types take", () => {
  // In the client's folder, so that packages are found.
  const scratch = mkdtempSync(join(ROOT, "client/.made-docs-"));
  try {
    const blocks = [...documents].flatMap(([file, { code }]) =>
      file.startsWith("docs/") ? code.filter(({ language }) => language === "ts").map(({ text }, at) => [`${file.replace(/\W/g, "-")}-${at}.ts`, text]) : [],
    );
    assert.ok(blocks.length >= 5);
    for (const [name, text] of blocks) writeFileSync(join(scratch, name), `${text}\nexport {};\n`);
    // It comes without types.
    writeFileSync(join(scratch, "y-webrtc.d.ts"), 'declare module "y-webrtc" { export const WebrtcConn: any; export const WebrtcProvider: any; }');
    // One by one, because a folder whose name begins with a dot is left out otherwise.
    const files = [...blocks.map(([name]) => name), "y-webrtc.d.ts"];
    const names = ["live", "peerjs", "trystero", "webrtc", "y-webrtc"];
    const dist = (name) => [relative(scratch, join(ROOT, `client/dist/${name}.d.ts`))];
    const paths = { "rendezvous-beacon": dist("index"), ...Object.fromEntries(names.map((name) => [`rendezvous-beacon/${name}`, dist(name)])) };
    const compilerOptions = { rootDir: "..", noEmit: true, skipLibCheck: true, noUnusedLocals: false, noUnusedParameters: false, isolatedModules: false, paths };
    writeFileSync(join(scratch, "tsconfig.json"), JSON.stringify({ extends: "../tsconfig.json", include: [], files, compilerOptions }));
    try {
      execFileSync(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "--project", scratch], { encoding: "utf8", stdio: "pipe" });
    } catch (error) {
      assert.fail(error.stdout);
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }
});
