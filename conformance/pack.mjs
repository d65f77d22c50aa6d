// Puts the vectors that the package needs into it: the specification's own, which stand once in the repository.

import { cpSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { VECTOR_FILES } from "./src/vectors.mjs";

mkdirSync(fileURLToPath(new URL("vectors", import.meta.url)), { recursive: true });
for (const file of VECTOR_FILES) {
  const [from, to] = [`../tests/vectors/${file}`, `vectors/${file}`].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  cpSync(from, to);
}
