// The vectors in tests/vectors/, which the Rust code is held to as well. Nothing of Node is used here, so that the same
// module runs in a browser: hand it the parsed files and the built internals.

/** Counted, so that a file that lost its cases cannot pass. */
export const CASES = { tickets: 128, capsules: 16, roots: 125, trust: 124, signals: 97 };

/**
 * @param {Record<keyof typeof CASES, any[]>} files
 * @param {typeof import("../build/internals.js")} internals
 * @returns {Promise<string[]>} What is wrong, a line each.
 */
export async function checkVectors({ tickets, capsules, roots, trust, signals }, internals) {
  const { Root, readCapsule, readJson, parseTicket, verifyTicket, strict, webCryptoVerify, utf8 } = internals;
  const verify = strict(webCryptoVerify(crypto.subtle));
  const ticketRules = { verify, isRevoked: () => false, maxLifetimeMs: internals.TICKET_MAX_LIFETIME_MS };
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
  const expectThat = (name, expect, found) => {
    if (!expect.split("|").includes(found)) wrong.push(`${name}: expected ${expect}, got ${found}`);
  };
  for (const [name, cases] of Object.entries({ tickets, capsules, roots, trust, signals }))
    if (cases.length !== CASES[name]) wrong.push(`${cases.length} cases of ${name}`);

  for (const { name, expect, now, community, allow, ticket } of tickets) {
    const rules = { ...ticketRules, community, trustedKeys: allow && new Set(allow) };
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
    expectThat(name, expect, found);
  }

  /** Reads a capsule, and compares what is in it with what is said of it. */
  const checkCapsule = async (publishers, vector) => {
    const { now, community, file, sig, newestSeen = 0, remembered, live, recentlySeen, refused, revoked } = vector;
    const { rootVersion, keys } = publishers;
    const memory = { ...internals.readMemory(0), ...remembered, rootVersion, issuedAt: newestSeen };
    const isRevoked = (key) => memory.ticketKeys.includes(key);
    let counted = keys;
    const confirm = async (...args) => {
      counted = await publishers.confirm(...args);
    };
    const rules = {
      ...ticketRules,
      community,
      isRevoked,
      publishers: { ...publishers, ...(publishers.confirm && { confirm }) },
      memory,
    };
    const capsule = await readCapsule(utf8(file), utf8(sig), rules, now);
    const alive = capsule.tickets.filter((ticket) => internals.isTimely(ticket, now)).length;
    const codes = capsule.refused;
    const sorted = (texts) => [...new Set(texts)].sort();
    const found = {
      live: alive,
      recentlySeen: capsule.tickets.length - alive,
      refused: typeof refused === "number" ? Object.values(codes).reduce((sum, count) => sum + count, 0) : sorted(Object.entries(codes)),
      publishers: sorted(counted),
      ticketKeys: sorted(capsule.memory.ticketKeys),
      beacons: sorted(capsule.memory.beacons),
      publisherKeys: sorted(capsule.memory.publisherKeys),
    };
    const said = {
      live,
      recentlySeen,
      refused: typeof refused === "number" ? refused : refused && sorted(Object.entries(refused)),
      publishers: vector.publishers && sorted(vector.publishers),
      ticketKeys: revoked && sorted(revoked.ticketKeys),
      beacons: revoked && sorted(revoked.beacons),
      // A reader remembers those that could count, and those that it remembered.
      publisherKeys:
        revoked && sorted(keys.filter((key) => [...memory.publisherKeys, ...revoked.publisherKeys].includes(key))),
    };
    for (const [field, value] of Object.entries(said))
      if (value !== undefined && JSON.stringify(found[field]) !== JSON.stringify(value))
        return `${field}: ${JSON.stringify(found[field])}`;
    return "ok";
  };
  for (const vector of capsules) {
    const publishers = { rootVersion: 0, keys: [vector.publicKey] };
    expectThat(vector.name, vector.expect, await outcome(() => checkCapsule(publishers, vector)));
  }
  for (const vector of trust) {
    const found = await outcome(() => {
      const { root, sigs, publicKey, now, community } = vector;
      if (!root) return checkCapsule({ rootVersion: 0, keys: [publicKey] }, vector);
      // The options are where that is checked: before anything is asked for.
      internals.demand(new Root(root).isFor(community), "COMMUNITY_MISMATCH");
      const document = internals.readRoot(utf8(root));
      internals.demand(document.expiresAt > now, "ROOT_EXPIRED");
      const cosignatures = sigs === undefined ? undefined : utf8(sigs);
      return checkCapsule(internals.publishersOf(document, cosignatures, verify), vector);
    });
    expectThat(vector.name, vector.expect, found);
  }

  for (const { name, expect, now, trusted, chain, rootVersion } of roots) {
    const first = JSON.parse(trusted).rootVersion + 1;
    const readFile = async (suffix) => {
      const [, step, sigs] = /^\/\.\.\/(\d+)\.root\.json(\.sigs)?$/.exec(suffix) ?? [];
      const text = chain[step - first]?.[sigs ? "signatures" : "root"];
      if (text === undefined || text === null) throw new internals.Refusal("HTTP_404");
      return { status: 200, contentType: null, body: utf8(text) };
    };
    const found = await outcome(async () => {
      const store = internals.memoryStore();
      const newest = await new Root(trusted).publishers({ readFile, store, rules: { verify }, now });
      return newest.rootVersion === rootVersion ? "ok" : `root ${newest.rootVersion}`;
    });
    expectThat(name, expect, found);
  }
  for (const { name, expect, canonical, confirm, signature } of signals.filter(({ confirm }) => confirm)) {
    const bytes = internals.confirmationBytes(confirm.community, confirm);
    const isGood = await verify(confirm.key, signature, bytes);
    expectThat(name, expect, internals.readUtf8(bytes) !== canonical ? "changed" : isGood ? "ok" : "SIGNATURE_INVALID");
  }
  for (const vector of signals.filter(({ signal }) => signal !== undefined)) {
    const { name, expect, now, community, own, present, seen, canonical, sha256, signal } = vector;
    const claimOf = ([peerId, publicKey]) => `${peerId}:${publicKey}`;
    const claims = new Set(present.map(claimOf));
    const known = new internals.SeenSignals();
    for (const [id, fromKey] of seen) known.take({ id, fromKey }, now);
    const rules = {
      community,
      own: { peerId: own[0], publicKey: own[1] },
      verify,
      isPresent: ({ peerId, publicKey }) => claims.has(claimOf([peerId, publicKey])),
      addTicket: async (text) => {
        const { tickets, refused } = await internals.verifyTickets([readJson(text)], { ...ticketRules, community }, now);
        for (const { peerId, publicKey } of tickets) claims.add(claimOf([peerId, publicKey]));
        return Object.keys(refused)[0];
      },
      now: () => now,
      seen: known,
    };
    const found = await outcome(async () => {
      const read = internals.readSignal(signal);
      const bytes = await internals.verifySignal(read, rules);
      if (internals.readUtf8(bytes) !== canonical) return "other bytes were signed";
      if ((await internals.digestOf(bytes)) !== sha256) return "another digest";
      // A good one comes back out of the text in which this library sends it.
      const again = internals.readSignal(internals.writeSignal(read));
      return JSON.stringify(again) === JSON.stringify(read) ? "ok" : "changed in its own text";
    });
    expectThat(name, expect, found);
  }
  return wrong;
}
