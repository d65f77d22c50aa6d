// JSON, read as it was written: `JSON.parse` takes `1.0` and `1e3` for integers and forgets that a key stood twice, and
// two readers that differ there differ about what was signed.
//
// Integers are the only numbers of the wire formats. Anything else is NaN, which no check for a type takes, and the rest
// of the text can still be read.

/** NaN stands for a number that is not written as an integer, and for the value of a key that is there twice. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
/** A Map, because no key of it can be mistaken for something that every object has. */
export interface JsonObject extends Map<string, Json> {}

// The text is known to be JSON when this is used: commas, colons and white space say nothing any more.
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]]|[^\s,:{}[\]"]+/g;
const MAX_DEPTH = 64;

/** @throws SyntaxError for anything that is not JSON, or is nested deeper than any format here. */
export function readJson(text: string): Json {
  JSON.parse(text);
  const tokens = text.match(TOKENS) ?? [];
  let at = 0;
  const read = (depth: number): Json => {
    const token = tokens[at++] as string;
    if (depth > MAX_DEPTH) throw new SyntaxError();
    if (token === "{") {
      const fields: JsonObject = new Map();
      while (tokens[at] !== "}") {
        const key = read(depth) as string;
        const value = read(depth + 1);
        fields.set(key, fields.has(key) ? NaN : value);
      }
      at++;
      return fields;
    }
    if (token === "[") {
      const items: Json[] = [];
      while (tokens[at] !== "]") items.push(read(depth + 1));
      at++;
      return items;
    }
    return /^-|^\d+\D/.test(token) ? NaN : (JSON.parse(token) as Json);
  };
  return read(0);
}

/** As it would be read. What is undefined is left out. */
export function jsonOf(fields: Record<string, Json | undefined>): JsonObject {
  return new Map(Object.entries(fields).filter(([, value]) => value !== undefined) as [string, Json][]);
}

/**
 * The one function that makes the bytes to sign: keys sorted, no white space, strings as `JSON.stringify` writes them.
 * Sorted by UTF-16 unit, which for the keys of every signed format is the order of their bytes.
 */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!(value instanceof Map)) return JSON.stringify(value);
  const keys = [...value.keys()].sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value.get(key) as Json)}`).join()}}`;
}
