// The first thing that every npm script loads: refuses a Node that the rest cannot run on, in words instead of a
// syntax error. Keep to syntax that Node 12 parses, and to no dependency: nothing is installed yet.
"use strict";

// What miniflare's and wrangler's own dependencies ask for.
var required = require("../package.json").engines.node.match(/\d+/g).map(Number);
var found = process.versions.node.split(".").map(Number);
var firstDifference = [0, 1, 2].filter(function (part) {
  return found[part] !== required[part];
})[0];

if (firstDifference !== undefined && found[firstDifference] < required[firstDifference]) {
  console.error(
    [
      "This project needs Node " + required.join(".") + " or later (20 and 22 are tested); this is Node " + process.versions.node + ".",
      "",
      "  with nvm:            nvm install 22 && nvm use 22",
      "  on Debian 13:        apt install nodejs npm",
      "  everywhere else:     https://nodejs.org/en/download",
    ].join("\n"),
  );
  process.exit(1);
}
