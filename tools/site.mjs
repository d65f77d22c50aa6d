// The project's documents as a site: the Markdown that is in the repository, as pages that load nothing from elsewhere. A link to
// a file that is no page leads to the repository.

import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join, posix, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import GithubSlugger from "github-slugger";
import { Marked } from "marked";
import { Failure, ROOT, main, readOptions } from "./steps.mjs";

const USAGE = `npm run site [-- --out DIR]: writes the documents as pages into site/, or DIR.`;
const REPOSITORY = "https://github.com/rendezvous-beacon/rendezvous-beacon/blob/main/";

/** The pages, in the order in which the menu has them: each file with what it is called there. */
export const PAGES = [
  ["docs/README.md", "Documents"],
  ["README.md", "Overview"],
  ["docs/install.md", "Install"],
  ["docs/upgrade.md", "Upgrade"],
  ["docs/cluster.md", "Several machines"],
  ["client/README.md", "Browser client"],
  ["protocol/README.md", "Specification"],
  ["protocol/FIGURES.md", "Figures"],
  ["conformance/README.md", "Conformance suite"],
  ["bench/README.md", "Benchmarks"],
  ["docs/from-peerjs.md", "From PeerJS"],
  ["docs/from-trystero.md", "From Trystero"],
  ["docs/from-y-webrtc.md", "From y-webrtc"],
  ["docs/from-swarm-space.md", "From swarm-space"],
  ["docs/from-goop2.md", "From goop2"],
  ["docs/from-retalk.md", "From retalk"],
  ["docs/from-shadowbroker.md", "From ShadowBroker"],
  ["docs/from-hivemind.md", "From hivemind-rendezvous"],
  ["SECURITY.md", "Security"],
  ["CONTRIBUTING.md", "Contributing"],
  ["CHANGELOG.md", "Changelog"],
];
const FIRST = PAGES[0][0];

/**
 * @typedef {object} Document
 * @property {string} title
 * @property {string} html
 * @property {string[]} anchors What a link may name in it.
 * @property {string[]} links As they are written.
 * @property {{ language: string, text: string }[]} code
 */

/**
 * @param {string} text Markdown, as GitHub reads it.
 * @param {(href: string) => string} [rewrite] What a link becomes.
 * @returns {Document}
 */
export function readDocument(text, rewrite = (href) => href) {
  const slugger = new GithubSlugger();
  const document = { title: "", anchors: [], links: [], code: [] };
  const marked = new Marked({
    renderer: {
      heading({ tokens, depth }) {
        const plain = unescape(this.parser.parseInline(tokens, this.parser.textRenderer));
        if (document.title === "") document.title = plain;
        const id = slugger.slug(plain);
        document.anchors.push(id);
        return `<h${depth} id="${escape(id)}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
      },
      link({ href, tokens }) {
        document.links.push(href);
        return `<a href="${escape(rewrite(href))}">${this.parser.parseInline(tokens)}</a>`;
      },
      // Nothing is loaded from elsewhere: its text stands for a picture.
      image: ({ text }) => escape(text),
      code({ text, lang = "" }) {
        document.code.push({ language: lang, text });
        return `<pre><code>${escape(text)}</code></pre>\n`;
      },
      // Markdown may have markup in it; these documents have none that is meant as such.
      html: ({ text }) => escape(text),
    },
  });
  return { ...document, html: marked.parse(text), title: document.title };
}

/**
 * @param {string} file A page's source, relative to the root of the checkout, as are all.
 * @returns {string} Where the page is, relative to the site.
 */
export const pageOf = (file) =>
  file === FIRST ? "index.html" : file.replace(/^README\.md$/, "overview.md").replace(/README\.md$/, "index.md").replace(/\.md$/, ".html");

/**
 * @param {string} from A page's source.
 * @param {string} href
 * @returns {string}
 */
function rewriteLink(from, href) {
  if (/^[a-z]+:|^#/.test(href)) return href;
  const [path, anchor] = href.split("#");
  const target = posix.normalize(posix.join(posix.dirname(from), path));
  const hash = anchor === undefined ? "" : `#${anchor}`;
  if (!PAGES.some(([file]) => file === target)) return REPOSITORY + target + hash;
  return linkTo(from, target) + hash;
}

/**
 * @param {string} from
 * @param {string} to
 */
const linkTo = (from, to) => posix.relative(posix.dirname(pageOf(from)), pageOf(to));

/**
 * @param {string} out
 * @returns {Promise<void>}
 */
export async function writeSite(out) {
  await clear(out);
  for (const [file] of PAGES) {
    const { title, html } = readDocument(await readFile(join(ROOT, file), "utf8"), (href) => rewriteLink(file, href));
    const path = join(out, pageOf(file));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, layOut({ file, title, html }));
  }
  await copyFile(join(ROOT, "public/docs.css"), join(out, "style.css"));
}

/** Written first: a directory that has it is one that was written here, and may be written anew. */
const MARK = ".rendezvous-beacon-site";

/**
 * Empties a directory of the site that was there before, and of nothing else.
 *
 * @param {string} out
 */
async function clear(out) {
  const names = await readdir(out).catch((error) => {
    if (error.code === "ENOENT") return [];
    throw new Failure(`${out} cannot be read: ${error.code}`, 2);
  });
  if (names.length > 0 && !names.includes(MARK)) {
    throw new Failure(`${out} is not empty, and no site of this tool: name another directory, or empty it`, 2);
  }
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await writeFile(join(out, MARK), "");
}

/** @param {{ file: string, title: string, html: string }} page */
function layOut({ file, title, html }) {
  const items = PAGES.map(([other, name]) => {
    const here = other === file ? ' aria-current="page"' : "";
    return `<li><a href="${linkTo(file, other)}"${here}>${escape(name)}</a></li>`;
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<title>${escape(title)}</title>
<link rel="stylesheet" href="${posix.relative(posix.dirname(pageOf(file)), "style.css")}">
<nav aria-label="Documents"><ul>
${items.join("\n")}
</ul></nav>
<main>
${html}</main>
</html>
`;
}

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** @param {string} text */
const escape = (text) => text.replace(/[&<>"']/g, (character) => ENTITIES[character]);

/** @param {string} text */
const unescape = (text) =>
  Object.entries(ENTITIES).reverse().reduce((done, [character, entity]) => done.replaceAll(entity, character), text);

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main(async () => {
    const { out } = readOptions(USAGE, { out: { type: "string", default: join(ROOT, "site") } });
    await writeSite(resolve(out));
    console.log(`${PAGES.length} pages are in ${relative(process.cwd(), resolve(out)) || "."}; the first is index.html.`);
  });
}
