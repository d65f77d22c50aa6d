// The vectors of the specification: those in the package, or in a checkout the repository's own.

import { existsSync, readFileSync } from "node:fs";

export const VECTOR_FILES = ["capsules.json", "trust.json"];

/** @param {string} file One of {@link VECTOR_FILES}. */
export function vectors(file) {
  const packed = new URL(`../vectors/${file}`, import.meta.url);
  return JSON.parse(readFileSync(existsSync(packed) ? packed : new URL(`../../tests/vectors/${file}`, import.meta.url), "utf8"));
}
