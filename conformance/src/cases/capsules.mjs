// Section 5 of the specification: a capsule as a publisher has put it on a host, and a reader that is handed capsules.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonical, isSigned } from "../signing.mjs";
import { PATIENCE_MS } from "../socket.mjs";
import { vectors } from "../vectors.mjs";

const MAX_BYTES = 1_048_576;
const SIGNATURES_MAX_BYTES = 16_384;
const LONG_LIFETIME_MS = 604_800_000;
const SKEW_MS = 15_000;

/** @type {import("../suite.mjs").Case[]} */
export const cases = [];

/** Reads a file of the capsule: nothing where there is none. */
async function file(place, suffix) {
  if (/^https?:/.test(place)) {
    const answer = await fetch(place + suffix, { redirect: "error", headers: { Origin: "https://conformance.example" } });
    if ([404, 410].includes(answer.status)) return undefined;
    assert.equal(answer.status, 200, `${place}${suffix} is answered ${answer.status}`);
    return { bytes: Buffer.from(await answer.arrayBuffer()), headers: answer.headers };
  }
  const bytes = await readFile(place + suffix).catch((error) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  return bytes && { bytes };
}

const add = (id, title, check, attack) =>
  cases.push({
    id: `capsules.${id}`,
    spec: "5",
    title,
    level: "basic",
    attack,
    async run(trial) {
      const { place, publicKey, community } = trial.capsule;
      const [capsule, sig, sigs] = await Promise.all(["", ".sig", ".sigs"].map((suffix) => file(place, suffix)));
      assert.ok(capsule, `there is no ${place}`);
      const text = capsule.bytes.toString("utf8");
      let json;
      try {
        json = JSON.parse(text);
      } catch {
        // The case about JSON says so.
      }
      await check({
        ...capsule,
        text,
        json: json ?? {},
        isJson: json !== undefined,
        sig,
        sigs,
        publicKey,
        community,
        now: Date.now(),
        place,
      });
    },
  });

add(
  "size",
  "a capsule has at most 1,048,576 bytes",
  ({ bytes }) => assert.ok(bytes.length <= MAX_BYTES, `${bytes.length} bytes`),
  "exhaustion",
);
add("json", "a capsule is a JSON object in UTF-8", ({ isJson, json, bytes, text }) => {
  assert.ok(isJson && !Array.isArray(json));
  assert.ok(Buffer.from(text).equals(bytes), "not UTF-8");
});
add("detached.form", "peers.json.sig is the base64 of 64 bytes, then a newline", ({ sig }) => {
  assert.ok(sig, "there is no peers.json.sig");
  assert.match(sig.bytes.toString("latin1"), /^[A-Za-z0-9+/]{86}==\n$/);
});
add(
  "detached.signature",
  "the detached signature is over the exact bytes, by the key",
  ({ sig, bytes, publicKey }) =>
    assert.ok(isSigned(bytes, publicKey, sig?.bytes.toString("latin1").trim() ?? ""), "the signature does not fit"),
  "forgery",
);
add(
  "embedded.signature",
  "the embedded signature is over the canonical JSON of five fields, by the same key",
  ({ json, publicKey }) => {
    const { community, expiresAt, issuedAt, peers, version, signature } = json;
    assert.ok(
      isSigned(canonical({ community, expiresAt, issuedAt, peers, version }), publicKey, String(signature)),
      "the signature does not fit",
    );
  },
  "forgery",
);
add("version", "its version is 1", ({ json }) => assert.equal(json.version, 1));
add("algorithm", "its algorithm is ed25519", ({ json }) => assert.equal(json.algorithm, "ed25519"));
add(
  "community",
  "it names its community",
  ({ json, community }) => {
    assert.match(String(json.community), /^[A-Za-z0-9._-]{1,64}$/);
    if (community) assert.equal(json.community, community);
  },
  "replay",
);
add("times", "issuedAt is before expiresAt, both below 2^53", ({ json }) => {
  assert.ok(
    Number.isSafeInteger(json.issuedAt) && Number.isSafeInteger(json.expiresAt) && json.issuedAt >= 0 && json.issuedAt < json.expiresAt,
  );
});
add("times.written", "times are written as plain integers", ({ text }) => {
  for (const name of ["issuedAt", "expiresAt"]) assert.doesNotMatch(text, new RegExp(`"${name}"\\s*:\\s*[-+]?\\d+[.eE]`));
});
add("not-ahead", "it is not dated more than 15 s ahead", ({ json, now }) => assert.ok(json.issuedAt <= now + SKEW_MS), "future");
add(
  "not-expired",
  "it has not expired",
  ({ json, now }) => assert.ok(json.expiresAt > now, `it ended ${now - json.expiresAt} ms ago`),
  "replay",
);
add(
  "peers.count",
  "it has at most 1,000 peers",
  ({ json }) => assert.ok(Array.isArray(json.peers) && json.peers.length <= 1_000),
  "exhaustion",
);
add(
  "peers.once",
  "no peerId is in it twice",
  ({ json }) => {
    const names = json.peers.map(({ payload }) => payload.peerId);
    assert.equal(new Set(names).size, names.length);
  },
  "squatting",
);
add(
  "peers.good",
  "every ticket was good when it was issued, with at most 7 days of life",
  ({ json }) => {
    for (const { version, algorithm, payload, publicKey, signature } of json.peers) {
      const who = payload?.peerId;
      assert.deepEqual([version, algorithm], [1, "ed25519"], who);
      assert.ok(payload.community === undefined || payload.community === json.community, `${who} is of another community`);
      assert.ok(payload.expiresAt - payload.issuedAt <= LONG_LIFETIME_MS, `${who} lives too long`);
      assert.ok(payload.issuedAt <= json.issuedAt + SKEW_MS && payload.expiresAt > json.issuedAt, `${who} was not good at issuedAt`);
      assert.ok(isSigned(canonical(payload), publicKey, signature), `${who} did not sign its ticket`);
    }
  },
  "forgery",
);
add(
  "peers.size",
  "no ticket has more than 1,900 bytes in its normal form",
  ({ json }) => {
    for (const ticket of json.peers) assert.ok(Buffer.byteLength(canonical(ticket)) <= 1_900, ticket.payload.peerId);
  },
  "exhaustion",
);
add("peers.no-goodbye", "no goodbye is in it", ({ json }) => assert.ok(json.peers.every(({ payload }) => payload.leave === undefined)));
add("revoked.shape", "what it revokes can be read: lists of keys and of beacons, 256 at most", ({ json }) => {
  if (json.revoked === undefined) return;
  for (const name of ["ticketKeys", "publisherKeys", "beacons"]) {
    const list = json.revoked[name] ?? [];
    assert.ok(Array.isArray(list) && list.length <= 256 && list.every((each) => typeof each === "string"), name);
    const isRight =
      name === "beacons"
        ? (url) => new URL(url).href.replace(/\/+$/, "") === url
        : (key) => Buffer.from(key, "base64").toString("base64") === key && Buffer.from(key, "base64").length === 32;
    assert.ok(list.every(isRight), `${name}: ${list}`);
  }
});
add(
  "revoked.obeyed",
  "no ticket is in it by a key that it revokes",
  ({ json }) => {
    const keys = new Set(json.revoked?.ticketKeys ?? []);
    assert.ok(json.peers.every(({ publicKey }) => !keys.has(publicKey)));
  },
  "replay",
);
add("origins", "origins, where there are any, fit the peers", ({ json }) => {
  if (json.origins === undefined) return;
  const { beacons, peers } = json.origins;
  assert.ok(Array.isArray(beacons) && beacons.every((url) => typeof url === "string"));
  assert.equal(peers.length, json.peers.length);
  assert.ok(peers.flat().every((at) => Number.isSafeInteger(at) && at >= 0 && at < beacons.length));
});
add("cosignatures", "peers.json.sigs, where there is one, is a signatures file of at most 16,384 bytes", ({ sigs }) => {
  if (!sigs) return;
  assert.ok(sigs.bytes.length <= SIGNATURES_MAX_BYTES);
  const lines = sigs.bytes
    .toString("utf8")
    .replace(/^\ufeff/, "")
    .split("\n")
    .map((line) => line.replace(/^[ \t\r\f]+|[ \t\r\f]+$/g, ""))
    .filter(Boolean);
  assert.ok(lines.length >= 1 && lines.length <= 64);
  for (const line of lines) assert.match(line, /^[A-Za-z0-9+/]{43}=[ \t\r\f]+[A-Za-z0-9+/]{86}==$/);
});
add("readable-by-pages", "pages of any origin may read it", ({ headers }) => {
  if (headers) assert.equal(headers.get("access-control-allow-origin"), "*");
});

/**
 * What a reader does with the vectors of the specification: those of one trusted key, without a memory.
 *
 * @param {string} command Run by the shell for each, with CAPSULE (the file), PUBLIC_KEY, COMMUNITY, SOURCE_DATE_EPOCH (in
 *   seconds) and NOW (in milliseconds). Exit code 0 takes the capsule; another one refuses it, with the code in what it prints.
 * @returns {import("../suite.mjs").Case[]}
 */
export function readerCases(command) {
  const seen = new Set();
  const all = ["capsules.json", "trust.json"].flatMap((name) => vectors(name));
  return all
    .filter(
      ({ name, publicKey, remembered, newestSeen, now }) =>
        publicKey && !remembered && newestSeen === undefined && now % 1_000 === 0 && !seen.has(name) && seen.add(name),
    )
    .map(({ name, expect, file: text, sig, sigs, publicKey, community, now }) => ({
      id: `reader.${name.replaceAll("_", "-")}`,
      spec: "5",
      title: expect === "ok" ? `takes: ${name.replaceAll("_", " ")}` : `refuses as ${expect}: ${name.replaceAll("_", " ")}`,
      level: "basic",
      attack: expect === "SIGNATURE_INVALID" ? "forgery" : undefined,
      async run() {
        const directory = await mkdtemp(join(tmpdir(), "conformance-"));
        try {
          const capsule = join(directory, "peers.json");
          await writeFile(capsule, text);
          if (sig !== "") await writeFile(`${capsule}.sig`, sig);
          if (sigs !== undefined) await writeFile(`${capsule}.sigs`, sigs);
          const environment = {
            CAPSULE: capsule,
            PUBLIC_KEY: publicKey,
            COMMUNITY: community,
            NOW: String(now),
            SOURCE_DATE_EPOCH: String(now / 1_000),
          };
          const { code, said } = await shell(command, environment);
          if (expect === "ok") return assert.equal(code, 0, `refused, with exit code ${code}: ${said.slice(0, 300)}`);
          assert.notEqual(code, 0, `taken: ${said.slice(0, 300)}`);
          assert.ok(
            expect.split("|").some((each) => said.includes(each)),
            `${expect} is not in what it says: ${said.slice(0, 300)}`,
          );
        } finally {
          await rm(directory, { recursive: true, force: true });
        }
      },
    }));
}

function shell(command, environment) {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...environment }, timeout: PATIENCE_MS, maxBuffer: 1 << 24 };
    execFile("sh", ["-c", command], options, (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? "none, it was killed") : 0, said: stdout + stderr });
    });
  });
}
