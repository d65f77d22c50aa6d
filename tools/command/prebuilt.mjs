// What lies in the package beside the command: the prebuilt Worker, and what is to be known of it.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KnownVariables } from "../known-variables.mjs";
import { Failure, ROOT } from "../steps.mjs";

/** The Worker's folder, of which package.mjs is the only author. */
export const WORKER = join(ROOT, "worker");

/**
 * @typedef {object} Description
 * @property {string} compatibilityDate
 * @property {Record<string, string>} variables The default of each variable that the Worker has.
 * @property {Record<string, import("../known-variables.mjs").Kind>} kinds
 * @property {string[]} nativeNames
 * @property {object} runtime The lock file by which npm fetches workerd, and nothing but what it names.
 */

/** @type {Description | undefined} */
let description;

/** @returns {Description} */
export function describeWorker() {
  return (description ??= JSON.parse(readFileSync(join(WORKER, "description.json"), "utf8")));
}

export const KNOWN = new KnownVariables(describeWorker().kinds, describeWorker().nativeNames);

/** @param {string[]} problems */
export function refuse(problems) {
  if (problems.length > 0) throw new Failure([...problems, KNOWN.advice].join("\n"), 2);
}
