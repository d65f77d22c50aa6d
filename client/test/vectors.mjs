// The vectors in tests/vectors/, which the Rust code is held to as well. Nothing of Node is used here, so that the same
// module runs in a browser: hand it the parsed files and the built internals.

/** Counted, so that a file that lost its cases cannot pass. */
export const CASES = { tickets: 93, capsules: 16 };

/**
 * @param {{ tickets: any[], capsules: any[] }} files
 * @param {typeof import("../build/internals.js")} internals
 * @returns {Promise<string[]>} What is wrong, a line each.
 */
export async function checkVectors({ tickets, capsules }, internals) {
  const { readCapsule, readJson, parseTicket, verifyTicket, strict, webCryptoVerify, readPublicKey, utf8 } = internals;
  const verify = strict(webCryptoVerify(crypto.subtle));
  const wrong = [];
  const outcome = async (run) => {
    try {
      return await run();
    } catch (error) {
      return error instanceof internals.Refusal
        ? error.message
        : error instanceof SyntaxError
          ? "MALFORMED"
          : `threw ${error}`;
    }
  };
  if (tickets.length !== CASES.tickets || capsules.length !== CASES.capsules)
    wrong.push(`${tickets.length} and ${capsules.length} cases`);

  for (const { name, expect, now, community, allow, ticket } of tickets) {
    const rules = { community, verify, trustedKeys: allow && new Set(allow) };
    const read = async (text) => {
      const parsed = parseTicket(readJson(text));
      await verifyTicket(parsed, rules, now);
      return parsed.json;
    };
    const found = await outcome(async () => {
      const normal = await read(ticket);
      // A good one has to come back out of its normal form, which is what beacons give to the next reader.
      return (await read(normal)) === normal ? "ok" : "changed in its normal form";
    });
    if (!expect.split("|").includes(found)) wrong.push(`${name}: expected ${expect}, got ${found}`);
  }

  for (const { name, expect, now, community, publicKey, file, sig, newestSeen, ...counts } of capsules) {
    const rules = { community, verify, publicKey: readPublicKey(publicKey), newestSeen };
    const found = await outcome(async () => {
      const capsule = await readCapsule(utf8(file), sig ? utf8(sig) : undefined, rules, now);
      const live = capsule.tickets.filter((ticket) => internals.isTimely(ticket, now)).length;
      const refused = Object.values(capsule.refused).reduce((sum, count) => sum + count, 0);
      const all = { live, recentlySeen: capsule.tickets.length - live, refused };
      for (const [field, count] of Object.entries(counts)) if (all[field] !== count) return `${field}: ${all[field]}`;
      return "ok";
    });
    if (!expect.split("|").includes(found)) wrong.push(`${name}: expected ${expect}, got ${found}`);
  }
  return wrong;
}
