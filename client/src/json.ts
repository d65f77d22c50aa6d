// JSON, read so that nothing of what was written is lost: `JSON.parse` takes `1.0` and `1e3` for integers and forgets
// that a key stood twice, and two readers that differ there differ about what was signed.
//
// Integers are the only numbers of the wire formats. Anything else is kept, but wrapped, so that no check for a type
// takes it, and the rest of the text can still be read.

/** A number that is not written as an integer, or the value of a key that stood before in the same object. */
export class Flawed {
  readonly value: Json;
  constructor(value: Json) {
    this.value = value;
  }
}

export type Json = null | boolean | number | string | Flawed | Json[] | JsonObject;
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
    if (depth > MAX_DEPTH) throw new SyntaxError("too deep");
    if (token === "{") {
      const fields: JsonObject = new Map();
      while (tokens[at] !== "}") {
        const key = JSON.parse(tokens[at++] as string) as string;
        const value = read(depth + 1);
        fields.set(key, fields.has(key) ? new Flawed(value) : value);
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
    const value = JSON.parse(token) as null | boolean | number | string;
    return typeof value === "number" && !/^\d+$/.test(token) ? new Flawed(value) : value;
  };
  return read(0);
}

/**
 * The one function that makes the bytes to sign: keys sorted, no white space, strings as `JSON.stringify` writes them.
 * Sorted by UTF-16 unit, which for the keys of every signed format is the order of their bytes.
 */
export function canonical(value: Json): string {
  if (value instanceof Flawed) return canonical(value.value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!(value instanceof Map)) return JSON.stringify(value);
  const keys = [...value.keys()].sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value.get(key) as Json)}`).join()}}`;
}
