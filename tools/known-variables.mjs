// Which variables a beacon knows, and what is wrong with those that somebody has written. What no beacon knows is refused: a
// misspelt list of trusted keys would leave the door open, and nobody would be told.

/** @typedef {"Text" | "Number" | "List" | "Secret"} Kind */

export class KnownVariables {
  /**
   * @param {Record<string, Kind>} kinds By name, of all that any host of the beacon has.
   * @param {string[]} nativeNames What the program for one machine alone has.
   */
  constructor(kinds, nativeNames) {
    this.kinds = kinds;
    this.nativeNames = nativeNames;
    /** What both hosts have. */
    this.names = Object.keys(kinds).filter((name) => !nativeNames.includes(name));
  }

  /**
   * Judges a configuration of wrangler's: its variables, and those of each of its environments.
   *
   * @param {string} file
   * @param {{ vars?: Record<string, unknown>, env?: Record<string, { vars?: Record<string, unknown> }> }} configuration
   * @returns {string[]} What is wrong, each in one sentence.
   */
  problemsOfConfiguration(file, { vars, env = {} }) {
    const all = [["[vars]", vars], ...Object.entries(env).map(([name, { vars }]) => [`[env.${name}.vars]`, vars])];
    return all.flatMap(([table, vars]) => {
      const source = `${file}, ${table}`;
      return [...this.problemsOf(source, vars), ...this.#secretsIn(source, vars)];
    });
  }

  /**
   * @param {string} source
   * @param {Record<string, unknown>} [vars]
   * @returns {string[]}
   */
  problemsOf(source, vars = {}) {
    return Object.entries(vars).flatMap(([name, value]) => {
      if (this.nativeNames.includes(name)) {
        return [`${source}: ${name} is a variable of the program for one machine alone.`];
      }
      if (!this.names.includes(name)) {
        const meant = nearMiss(name, this.names);
        return [`${source}: ${name} is not a variable of the beacon${meant ? `. Did you mean ${meant}?` : "."}`];
      }
      const isList = this.kinds[name] === "List";
      const isRight = ["string", "number"].includes(typeof value) || (isList && Array.isArray(value) && value.every(isItem));
      const expected = isList ? "a text with commas, or a list of texts without" : "a text or a number";
      if (isRight || this.kinds[name] === "Secret") return [];
      return [`${source}: ${name} is ${JSON.stringify(value)}. It must be ${expected}.`];
    });
  }

  /**
   * Judges an environment, in which other names are somebody else's: only what is nearly one of the beacon's is wrong.
   *
   * @param {NodeJS.ProcessEnv} environment
   * @param {string[]} more Further names that are known.
   * @returns {string[]}
   */
  problemsOfEnvironment(environment, more) {
    const known = [...this.names, ...more];
    const misses = Object.keys(environment).map((name) => [name, nearMiss(name, known)]);
    return misses.filter(([, meant]) => meant).map(([name, meant]) => `The environment has ${name}: did you mean ${meant}?`);
  }

  /** Says which names would have been right. */
  get advice() {
    return `The beacon's variables are ${this.names.join(", ")}.`;
  }

  /**
   * A file that is in a repository, and in every copy of it, is not where a secret is.
   *
   * @param {string} source
   * @param {Record<string, unknown>} [vars]
   * @returns {string[]}
   */
  #secretsIn(source, vars = {}) {
    const secrets = Object.keys(vars).filter((name) => this.kinds[name] === "Secret" && this.names.includes(name));
    return secrets.map((name) => `${source}: ${name} is a secret. Take it out, and run: npx wrangler secret put ${name}`);
  }
}

/** @param {unknown} value */
const isItem = (value) => typeof value === "string" && value.trim() !== "" && !value.includes(",");

/**
 * The variable that a name which is not one was almost certainly meant to be. The rule is the service's own, which
 * `near_miss` in beacon/src/config/variable.rs explains.
 *
 * @param {string} name
 * @param {string[]} known
 * @returns {string | undefined}
 */
export function nearMiss(name, known) {
  if (known.includes(name)) return undefined;
  const upper = name.toUpperCase();
  const singular = (text) => (text.endsWith("IES") ? `${text.slice(0, -3)}Y` : text.replace(/S+$/, ""));
  return known.find((candidate) => {
    const most = candidate.length <= 5 ? 0 : candidate.length <= 9 ? 1 : 2;
    return distance(candidate, upper) <= most || (most > 0 && singular(candidate) === singular(upper));
  });
}

/**
 * The letters that have to be put in, taken out, replaced, or exchanged with their neighbour.
 *
 * @param {string} one
 * @param {string} other
 */
function distance(one, other) {
  const rows = [Array.from({ length: other.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= one.length; row += 1) {
    rows.push([row]);
    for (let column = 1; column <= other.length; column += 1) {
      const isSame = one[row - 1] === other[column - 1];
      const isExchanged = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      rows[row][column] = Math.min(
        rows[row - 1][column] + 1,
        rows[row][column - 1] + 1,
        rows[row - 1][column - 1] + (isSame ? 0 : 1),
        isExchanged ? rows[row - 2][column - 2] + 1 : Infinity,
      );
    }
  }
  return rows[one.length][other.length];
}
