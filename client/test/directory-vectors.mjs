// The vectors in tests/vectors/directory/, which the Rust code is held to as well. Nothing of Node is used here, so that the
// same module runs in a browser: hand it the parsed files and the built internals.

/** Counted, so that a file that lost its cases cannot pass. Of records the entries alone: clients read no others. */
export const CASES = { records: 140, placements: 12 };

/**
 * @param {Record<keyof typeof CASES, any[]>} files
 * @param {typeof import("../build/internals.js")} internals
 * @returns {Promise<string[]>} What is wrong, a line each.
 */
export async function checkDirectoryVectors({ records, placements }, internals) {
  const { Refusal, beaconsOf, canonical, readEntry, readJson, strict, webCryptoVerify } = internals;
  const verify = strict(webCryptoVerify(crypto.subtle));
  const wrong = [];
  const expectThat = (name, expect, found) => {
    if (expect !== found) wrong.push(`${name}: expected ${expect}, got ${found}`);
  };
  const entries = records.filter(({ record }) => record === "entry");
  for (const [name, cases] of Object.entries({ records: entries, placements }))
    if (cases.length !== CASES[name]) wrong.push(`${cases.length} cases of ${name}`);
  const judge = async (json, now) => {
    try {
      const value = readJson(json);
      await readEntry(value, now, verify);
      await readEntry(readJson(canonical(value)), now, verify);
      return "ok";
    } catch (error) {
      return error instanceof Refusal ? error.message : error instanceof SyntaxError ? "MALFORMED" : `threw ${error}`;
    }
  };
  for (const { name, expect, now, json } of entries) expectThat(name, expect, await judge(json, now));
  // Nothing else is an entry.
  for (const { name, record, now, json } of records)
    if (record !== "entry" && (await judge(json, now)) === "ok") wrong.push(`${name} is taken for an entry`);
  for (const { name, community, beacons, order } of placements) {
    const urls = await beaconsOf({ name: community, beacons }, beacons.length);
    expectThat(name, order.map((at) => beacons[at].url).join(), urls.join());
    expectThat(`${name}, the first`, urls.slice(0, 3).join(), (await beaconsOf({ name: community, beacons })).join());
  }
  return wrong;
}
