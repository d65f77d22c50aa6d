// The conformance suite: both hosts keep the protocol by it, so does a beacon that was written from the specification alone,
// and whatever is broken in that one on purpose is found.

import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { sign as signWith } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { CASES, LEVELS, attacksIn, run, runAlone, sectionOf, select } from "../conformance/src/suite.mjs";
import { ensurePython } from "../tools/python.mjs";
import { ROOT } from "../tools/steps.mjs";
import { newKey } from "../conformance/src/signing.mjs";
import { pkcs8 } from "./directory.mjs";
import { HOSTS, NATIVE, withHost } from "./hosts.mjs";
import { ADDRESS_HEADER } from "./http.mjs";
import { freePort } from "./ports.mjs";
import { CAPSULE, requireCapsule } from "./program.mjs";
import { canonical, newPeer, signTicket } from "./ticket.mjs";

const PROGRAM = join(ROOT, "conformance/rendezvous-conformance.mjs");
const BEACON = join(ROOT, "examples/beacon.py");
/** Each a change of examples/beacon.py, and the cases that have to fail for it. */
const FAULTS = JSON.parse(readFileSync(join(ROOT, "tests/faults.json"), "utf8"));
/** A beacon that conforms does so every time. `npm test -- --long` asks for all of twenty. */
const RUNS = process.env.LONG_TESTS === "1" ? 20 : 3;
const FAULTS_AT_ONCE = 2;
/** A client on a busy machine has time to show what it believes. */
const PATIENT = ["--wait", "60"];
/** Of every network there is, and as many mailboxes as there are cases. */
const VARS = { COMMUNITIES: "*", MAILBOXES: "20000" };
/** Sections of what the program for one machine alone has. */
const OF_PROGRAM = ["directory", "registration", "hivemind"];
/** Opens registration; no mail goes out, because nobody listens there. */
const registrationAt = (url) => ({ EXTERNAL_URLS: url, SMTP_HOST: "127.0.0.1", SMTP_PORT: "9", SMTP_FROM: "beacon@conformance.invalid" });

/** Codes for which there is no case, and why. */
const WITHOUT = {
  BIND_REQUIRED: "only where `LIVE_VIEWERS` is `bound`",
  CROSS_SITE: "the operator's own figures",
  HUB_FULL: "only where an origin, or a peer, has all its places in a hub",
  INTERNAL: "a beacon that fails",
  LIVE_FULL: "only where all connections are taken",
  PASSWORD_WRONG: "the operator's own figures",
  REGISTRATION_REQUIRED: "only where a community lists registered keys alone",
  REVOKED_PUBLIC_KEY: "only where a key is revoked",
  UNAVAILABLE: "only where a community cannot be reached",
};

/** How the beacon in Python judges the specification's tickets. It has no list of trusted keys. */
const VECTORS = `
import json, pathlib
from beacon import Refusal, Ticket, read_json

cases, wrong = json.loads(pathlib.Path("../tests/vectors/tickets.json").read_bytes()), []
for case in cases:
    try:
        Ticket(read_json(case["ticket"]), False).check(case["community"], case["now"], [])
        found = "ok"
    except Refusal as refusal:
        found = refusal.code
    except (TypeError, ValueError):
        found = "MALFORMED"
    if found not in case["expect"].replace("UNTRUSTED_PUBLIC_KEY", "ok").split("|"):
        wrong.append(f'{case["name"]}: {found}')
print(json.dumps({"cases": len(cases), "wrong": wrong}))
`;

let python;
let scratch;
before(async () => {
  // The interpreter itself, where what is on the path only looks for it.
  python = execFileSync(await ensurePython(), ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).trim();
  scratch = await mkdtemp(join(tmpdir(), "conformance-test-"));
});
after(() => rm(scratch, { recursive: true, force: true }));

/** Starts the beacon in Python, or a copy of it. */
async function startPython(file = BEACON, args = ["--community", "*", "--address-header", ADDRESS_HEADER]) {
  const child = spawn(python, [file, "--port", "0", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
  });
  const closed = once(child, "close");
  const [line] = await Promise.race([once(createInterface({ input: child.stdout }), "line"), closed.then(() => [""])]);
  assert.match(line, /^listening on /, `${file} does not start`);
  return {
    url: line.slice("listening on ".length),
    async stop() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

/** Runs the program. */
function program(...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], { maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      resolve({ code: error ? error.code : 0, stdout, stderr });
    });
  });
}

const failures = (results) => results.filter(({ outcome }) => outcome === "fail").map(({ case: { id }, reason }) => `${id}: ${reason}`);
const skipped = (results) => results.filter(({ outcome }) => outcome === "skip").map((result) => result.case.id);

describe("the cases", () => {
  test("are three hundred at least, each with an identifier, a requirement and a section of its own", () => {
    assert.ok(CASES.length >= 300, `${CASES.length}`);
    assert.equal(new Set(CASES.map(({ id }) => id)).size, CASES.length);
    for (const { id, title, spec, level, run } of CASES) {
      assert.match(id, /^[a-z]+(\.[\w-]+)+$/, id);
      assert.ok(title.length > 5 && spec.length > 0 && level in LEVELS && typeof run === "function", id);
    }
  });

  test("have every code of the tables, but for those that depend on how a beacon is set up", async () => {
    const read = (path) => readFileSync(join(ROOT, path), "utf8");
    const rows = ["README.md", "protocol/README.md"].flatMap((path) => read(path).match(/^\| [45]\d\d(?:, \d+)* \| .*$/gm));
    const codes = new Set(
      rows.flatMap((row) => [...row.replace(/\([^)]*\)/g, "").matchAll(/`([A-Z]+(?:_[A-Z]+)*)`/g)].map(([, code]) => code)),
    );
    assert.ok(codes.size > 40, [...codes].join());
    const names = await readdir(join(ROOT, "conformance/src/cases"));
    const cases = names.map((name) => read(`conformance/src/cases/${name}`)).join();
    const isTried = (code) => new RegExp(`\\b${code}\\b`).test(cases);
    assert.deepEqual([...codes].filter((code) => !isTried(code)).sort(), Object.keys(WITHOUT).sort());
  });

  test("have every section of the specification that they are for", () => {
    const sections = new Set(CASES.map(sectionOf));
    assert.deepEqual([...sections].sort(), ["capsules", "directory", "hivemind", "http", "live", "mailboxes", "registration", "roster", "signals", "tickets"]);
  });
});

for (const host of HOSTS) {
  test(`${host.name} keeps the whole protocol, and withstands every attack`, async () => {
    const [originKey, hubKey] = [newKey(), newKey()];
    // Nobody listens there: it is a peer that asks.
    const hub = { HUB_ORIGINS: originKey.publicKey, HUB_PEERS: `http://127.0.0.1:9=${hubKey.publicKey}`, HUB_KEY: pkcs8(newPeer()) };
    const isProgram = host === NATIVE;
    const cases = select().filter((each) => isProgram || !OF_PROGRAM.includes(sectionOf(each)));
    const port = await freePort();
    const more = isProgram && { ...hub, ...registrationAt(`http://127.0.0.1:${port}`), DOORS: "v1,hivemind" };
    await withHost(host, { vars: { ...VARS, ...more }, port }, async ({ url }) => {
      const results = await run({ url, cases, originKey, hubKey, addressHeader: ADDRESS_HEADER, isStrict: true });
      assert.deepEqual(failures(results), []);
      assert.deepEqual(skipped(results), ["http.community.unknown"]);
      assert.ok(attacksIn(results).every(({ outcome }) => outcome === "withstood"));
    });
  });
}

describe("a hub", () => {
  const cases = select({ only: ["directory"], level: "slow" });

  test("that is right passes with its keys, also what takes its time, and by the program", async () => {
    const [originKey, hubKey] = [newKey(), newKey()];
    const vars = {
      HUB_ORIGINS: originKey.publicKey,
      HUB_PEERS: `http://127.0.0.1:9=${hubKey.publicKey}`,
      HUB_KEY: pkcs8(newPeer()),
      ADDRESS_REQUESTS_PER_MINUTE: "600",
    };
    await withHost(NATIVE, { vars }, async ({ url }) => {
      const results = await run({ url, cases, originKey, hubKey, addressHeader: ADDRESS_HEADER, isStrict: true });
      assert.deepEqual([...failures(results), ...skipped(results)], []);
      const files = await Promise.all(
        Object.entries({ originKey, hubKey }).map(async ([name, { privateKey }]) => {
          await writeFile(join(scratch, name), privateKey.export({ format: "pem", type: "pkcs8" }));
          return join(scratch, name);
        }),
      );
      const args = [url, "--address-header", ADDRESS_HEADER, "--level", "full", "--only", "directory"];
      const { code, stdout } = await program(...args, "--origin-key", files[0], "--hub-key", files[1]);
      assert.equal(code, 0, stdout);
      // What has to be known to be tried is said, where it is not known.
      const unknown = await program(...args, "--verbose");
      assert.equal(unknown.code, 0, unknown.stdout);
      assert.match(unknown.stdout, /--origin-key FILE/);
      assert.equal((await program(...args, "--hub-key", join(ROOT, "package.json"))).code, 2);
    });
  });

  test("that takes everything is caught, or one that refuses everything, by every case", async () => {
    const taken = [200, { ok: true, accepted: true, entries: [], more: false, position: "0", records: [], ways: [], total: -1 }];
    assert.deepEqual(await missedBy([taken, [400, { ok: false, code: "MALFORMED" }]], cases), []);
  });
});

describe("a door that the operator opens", () => {
  /** What two beacons answer that judge nothing: one takes everything, the other refuses everything. */
  const careless = {
    registration: [[202, { ok: true }], [400, { ok: false, code: "MALFORMED" }], [403, { ok: false, code: "SIGNATURE_INVALID" }]],
    hivemind: [
      [200, { status: "ok", deposit_id: "00000000-0000-8000-8000-000000000000", messages: ["{}"], pubkey: "name" }],
      [400, { status: "error", reason: "invalid_body" }],
    ],
  };
  for (const [section, answers] of Object.entries(careless)) {
    test(`for ${section}, and that judges nothing, is caught by every case`, async () => {
      assert.deepEqual(await missedBy(answers, select({ only: [section] })), []);
    });
  }

  test("is not tried where nobody has opened it, and missed where it has to be there", async () => {
    const cases = select({ only: ["registration.form", "hivemind.name"] });
    await withHost(NATIVE, { vars: VARS }, async ({ url }) => {
      assert.deepEqual(skipped(await run({ url, cases })), cases.map(({ id }) => id));
      assert.equal(failures(await run({ url, cases, isStrict: true })).length, cases.length);
    });
  });
});

/** The cases that no beacon fails which gives one of these answers, a status and fields, to everything. */
async function missedBy(answers, cases) {
  const missed = new Set(cases.map(({ id }) => id));
  for (const [status, fields] of answers) {
    const server = createServer((request, response) => {
      request.resume();
      const isHealth = request.url === "/healthz";
      response.writeHead(isHealth ? 200 : status, { "Content-Type": "application/json" });
      response.end(JSON.stringify({ ...(isHealth ? { ok: true } : fields), ...((isHealth || "ok" in fields) && { serverTime: Date.now() }) }));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const url = `http://127.0.0.1:${server.address().port}`;
      const results = await run({ url, cases, originKey: newKey(), hubKey: newKey(), communities: ["tests"], isStrict: true });
      for (const result of results) if (result.outcome === "fail") missed.delete(result.case.id);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }
  return [...missed];
}

describe("a beacon in Python, from the specification alone", () => {
  const basic = select({ level: "basic" });

  test("has 600 lines at most, and needs nothing but Python and one package", () => {
    const text = readFileSync(BEACON, "utf8");
    assert.ok(text.trimEnd().split("\n").length <= 600);
    const packages = [...text.matchAll(/^(?:from (\w+)|import (.+))/gm)].flatMap(([, from, names]) => from ?? names.split(", "));
    const standard = execFileSync(python, ["-c", "import sys; print(*sys.stdlib_module_names)"], { encoding: "utf8" }).trim().split(" ");
    const roots = packages.map((name) => name.split(".")[0].trim());
    assert.deepEqual([...new Set(roots.filter((name) => !standard.includes(name)))], ["cryptography"]);
  });

  test(`passes its level ${RUNS} times of ${RUNS}`, async () => {
    const { url, stop } = await startPython();
    try {
      for (let times = 0; times < RUNS; times += 1) {
        const results = await run({ url, cases: basic, addressHeader: ADDRESS_HEADER, isStrict: true });
        assert.deepEqual(failures(results), [], `in run ${times + 1}`);
        assert.deepEqual(skipped(results), ["http.community.unknown"]);
      }
    } finally {
      await stop();
    }
  });

  test("passes too where it serves one community, and all clients have one address", async () => {
    const { url, stop } = await startPython(BEACON, ["--community", "tests"]);
    try {
      const cases = select({ level: "basic", only: ["roster.leave.comes-back", "roster.claims", "http.community", "http.peers.exclude"] });
      const results = await run({ url, cases });
      assert.deepEqual(failures(results), []);
      assert.deepEqual(skipped(results), ["http.community.contradiction"], "which takes two communities");
    } finally {
      await stop();
    }
  });

  test("reads and judges the vectors", () => {
    const options = { cwd: join(ROOT, "examples"), encoding: "utf8", env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" } };
    assert.deepEqual(JSON.parse(execFileSync(python, ["-c", VECTORS], options)), { cases: 128, wrong: [] });
  });

  test("refuses arguments that it cannot read, by name", () => {
    for (const args of [
      ["--community", "a b"],
      ["--revoked", "AAAA"],
      ["--port", "none"],
      ["--communities", "a"],
    ]) {
      assert.throws(
        () => execFileSync(python, [BEACON, ...args], { encoding: "utf8", stdio: "pipe" }),
        ({ status, stderr }) => status === 2 && stderr.includes(args[0]),
      );
    }
  });

  test("refuses a revoked key", async () => {
    const stolen = newPeer();
    const { url, stop } = await startPython(BEACON, ["--revoked", stolen.publicKey]);
    try {
      const body = JSON.stringify({ ticket: signTicket(stolen, { community: "mainnet" }) });
      const answer = await fetch(`${url}/announce`, { method: "POST", body });
      assert.deepEqual([answer.status, (await answer.json()).code], [403, "REVOKED_PUBLIC_KEY"]);
    } finally {
      await stop();
    }
  });

  describe("with one fault", () => {
    test("there are fifty at least, in every section of its level", () => {
      assert.ok(FAULTS.length >= 50);
      const sections = new Set(FAULTS.flatMap(({ caught }) => caught.map((id) => id.split(".")[0])));
      assert.deepEqual([...sections].sort(), [...new Set(basic.map(sectionOf))].sort());
      const known = new Set(basic.map(({ id }) => id));
      for (const { name, caught } of FAULTS) assert.ok(caught.length > 0 && caught.every((id) => known.has(id)), name);
    });

    test("is caught, whatever the fault", async () => {
      const source = await readFile(BEACON, "utf8");
      const missed = [];
      const waiting = [...FAULTS.entries()];
      const judge = async ([at, { name, find, replace, caught }]) => {
        assert.equal(source.split(find).length, 2, `"${name}" has no one place in the beacon`);
        const file = join(scratch, `beacon-${at}.py`);
        await writeFile(
          file,
          source.replace(find, () => replace),
        );
        const { url, stop } = await startPython(file);
        try {
          const results = await run({ url, cases: select({ only: caught }), addressHeader: ADDRESS_HEADER, isStrict: true });
          const failed = results.filter(({ outcome }) => outcome === "fail").map((result) => result.case.id);
          for (const id of caught) if (!failed.includes(id)) missed.push(`${name}: ${id} passes`);
        } finally {
          await stop();
        }
      };
      const worker = async () => {
        while (waiting.length > 0) await judge(waiting.shift());
      };
      await Promise.all(Array.from({ length: FAULTS_AT_ONCE }, worker));
      assert.deepEqual(missed, []);
    });
  });
});

describe("a capsule", () => {
  const publisher = newPeer();
  const capsules = select({ only: ["capsules"], hasCapsule: true });
  const sign = (bytes) => signWith(null, Buffer.from(bytes), publisher.privateKey).toString("base64");

  /** Writes a capsule of two peers, changed in some way, and returns the cases that fail for it. */
  async function failuresOf({ change = (fields) => fields, changeText = (text) => text, sigOf = (text) => `${sign(text)}\n`, sigs } = {}) {
    const issuedAt = Date.now();
    const peers = [newPeer(), newPeer()].map((peer) => signTicket(peer, { issuedAt, community: "mainnet" }));
    const {
      revoked,
      origins,
      signature,
      algorithm = "ed25519",
      ...signed
    } = change({ community: "mainnet", expiresAt: issuedAt + 600_000, issuedAt, peers, version: 1 });
    const file = changeText(JSON.stringify({ ...signed, signature: signature ?? sign(canonical(signed)), algorithm, revoked, origins }));
    const directory = await mkdtemp(join(scratch, "capsule-"));
    const place = join(directory, "peers.json");
    await writeFile(place, file);
    const sig = sigOf(file);
    if (sig !== undefined) await writeFile(`${place}.sig`, sig);
    if (sigs !== undefined) await writeFile(`${place}.sigs`, sigs);
    const results = await runAlone({ cases: capsules, capsule: { place, publicKey: publisher.publicKey, community: "mainnet" } });
    return { place, failed: results.filter(({ outcome }) => outcome === "fail").map((result) => result.case.id) };
  }

  test("that is right passes, by the program too", async () => {
    const { place, failed } = await failuresOf();
    assert.deepEqual(failed, []);
    const { code, stdout } = await program("--capsule", place, "--key", publisher.publicKey, "--community", "mainnet");
    assert.equal(code, 0, stdout);
    assert.match(stdout, new RegExp(`: ${capsules.length} passed, 0 failed\n$`));
    assert.equal((await program("--capsule", place, "--key", newPeer().publicKey)).code, 1);
  });

  const faults = {
    "capsules.detached.form": { sigOf: (text) => sign(text) },
    "capsules.detached.signature": { sigOf: (text) => `${sign(`${text} `)}\n` },
    "capsules.embedded.signature": { change: (fields) => ({ ...fields, signature: sign("another") }) },
    "capsules.version": { change: (fields) => ({ ...fields, version: 2 }) },
    "capsules.algorithm": { change: (fields) => ({ ...fields, algorithm: "rsa" }) },
    "capsules.community": { change: (fields) => ({ ...fields, community: "elsewhere" }) },
    "capsules.times": { change: (fields) => ({ ...fields, expiresAt: fields.issuedAt }) },
    "capsules.times.written": { changeText: (text) => text.replace(/"issuedAt":(\d+),"peers"/, '"issuedAt":$1.0,"peers"') },
    "capsules.not-ahead": { change: (fields) => ({ ...fields, issuedAt: fields.issuedAt + 60_000 }) },
    "capsules.not-expired": { change: (fields) => ({ ...fields, issuedAt: fields.issuedAt - 90_000, expiresAt: fields.issuedAt - 1_000 }) },
    "capsules.peers.once": { change: (fields) => ({ ...fields, peers: [...fields.peers, fields.peers[0]] }) },
    "capsules.peers.good": { change: (fields) => ({ ...fields, peers: [{ ...fields.peers[0], signature: fields.peers[1].signature }] }) },
    "capsules.peers.no-goodbye": {
      change: (fields) => ({ ...fields, peers: [signTicket(newPeer(), { issuedAt: fields.issuedAt, leave: true })] }),
    },
    "capsules.peers.count": { change: (fields) => ({ ...fields, peers: Array(1_001).fill(fields.peers[0]) }) },
    "capsules.size": { changeText: (text) => text.padEnd(1_048_577) },
    "capsules.json": { changeText: () => "[]" },
    "capsules.peers.size": {
      change: (fields) => ({ ...fields, peers: [signTicket(newPeer(), { issuedAt: fields.issuedAt, data: "d".repeat(2_000) })] }),
    },
    "capsules.revoked.shape": { change: (fields) => ({ ...fields, revoked: { ticketKeys: ["AAAA"] } }) },
    "capsules.revoked.obeyed": { change: (fields) => ({ ...fields, revoked: { ticketKeys: [fields.peers[0].publicKey] } }) },
    "capsules.origins": { change: (fields) => ({ ...fields, origins: { beacons: [], peers: [[0], []] } }) },
    "capsules.cosignatures": { sigs: "# a comment\n" },
  };
  for (const [id, fault] of Object.entries(faults)) {
    test(`with a fault is caught by ${id}`, async () => {
      const { failed } = await failuresOf(fault);
      assert.ok(failed.includes(id), `only ${failed}`);
    });
  }
});

describe("a reader of capsules", () => {
  test("of this project takes and refuses as the vectors say", async () => {
    requireCapsule();
    const reader = `${CAPSULE} verify "$CAPSULE" --public-key "$PUBLIC_KEY" --community "$COMMUNITY"`;
    const { code, stdout } = await program("--reader", reader);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /: [5-9]\d passed, 0 failed\n$/);
  });

  test("that takes everything is caught, and so is one that takes nothing", async () => {
    for (const [reader, outcomes] of [
      ["true", /refuses/],
      ["echo MALFORMED; false", /takes/],
    ]) {
      const { code, stdout } = await program("--reader", reader);
      assert.equal(code, 1);
      assert.match(stdout, outcomes);
    }
  });
});

describe("a client", () => {
  const announce = (file) => `"${python}" "${file}" "$BEACON" "$COMMUNITY" me`;

  test("of this project believes nothing that a hostile beacon says", async () => {
    const { code, stdout } = await program("--client", announce(join(ROOT, "examples/announce.py")), ...PATIENT, "--format", "json");
    const { cases, passed } = JSON.parse(stdout);
    assert.deepEqual(
      cases.filter(({ outcome }) => outcome !== "pass").map(({ id, reason }) => `${id}: ${reason}`),
      [],
    );
    assert.equal(code, 0);
    assert.ok(passed >= 50, `${passed}`);
  });

  test("that verifies nothing is caught, case by case", async () => {
    // It is in a folder of its own: it imports the beacon's judgement of tickets from the file beside it.
    const folder = await mkdtemp(join(scratch, "credulous-"));
    for (const [name, strict, lax] of [
      ["announce.py", "dict(pairs) if len(dict(pairs)) == len(pairs) else None", "dict(pairs)"],
      ["beacon.py", /^ +Ed25519PublicKey\.from_public_bytes\(self\.key\)\.verify\(.*\n/m, ""],
    ]) {
      const text = await readFile(join(ROOT, "examples", name), "utf8");
      const changed = text.replace(strict, lax);
      assert.notEqual(changed, text);
      await writeFile(join(folder, name), changed);
    }
    const file = join(folder, "announce.py");
    const { code, stdout } = await program("--client", announce(file), ...PATIENT, "--only", "client.believes-no", "--format", "json");
    assert.equal(code, 1);
    const failed = JSON.parse(stdout)
      .cases.filter(({ outcome }) => outcome === "fail")
      .map(({ id }) => id);
    for (const id of ["forged", "renamed", "s-plus-order", "unsorted", "field-twice"])
      assert.ok(failed.includes(`client.believes-no.${id}`), id);
    assert.ok(!failed.includes("client.believes-no.expired"));
  });

  test("that dies of nonsense is caught", async () => {
    const file = join(scratch, "fragile.mjs");
    await writeFile(
      file,
      "const { peers } = await (await fetch(`${process.env.BEACON}/peers`)).json();\nfor (const { payload } of peers) console.log(payload.peerId);\n",
    );
    const { code, stdout } = await program(
      "--client",
      `"${process.execPath}" "${file}"`,
      "--only",
      "client.survives.no-json,client.survives.wrong-types,client.redirects",
      "--format",
      "json",
    );
    assert.equal(code, 1);
    assert.deepEqual(
      JSON.parse(stdout).cases.map(({ outcome }) => outcome),
      ["fail", "fail", "fail"],
    );
  });
});

describe("the program", () => {
  test("teaches, and lists its cases", async () => {
    const help = await program("--help");
    assert.equal(help.code, 0);
    for (const word of [
      "--level",
      "--only",
      "--client",
      "--reader",
      "--capsule",
      "--address-header",
      "Exit codes",
      "Examples",
      ...Object.keys(LEVELS),
    ]) {
      assert.ok(help.stdout.includes(word), word);
    }
    const list = await program("--list", "--level", "slow");
    assert.equal(list.stdout.trim().split("\n").length, CASES.length);
    assert.match((await program("--list", "--only", "roster.leave")).stdout, /^(roster\.leave\..*\n)+$/);
  });

  test("refuses what it cannot read with exit code 2, and says what to do", async () => {
    for (const [args, message] of [
      [[], /URL, --capsule, --reader or --client/],
      [["ftp://127.0.0.1"], /http:\/\//],
      [["http://127.0.0.1:1", "http://127.0.0.1:2"], /one URL/],
      [["http://127.0.0.1:1", "--level", "some"], /basic, live, full, slow/],
      [["http://127.0.0.1:1", "--format", "yaml"], /text, json or junit/],
      [["http://127.0.0.1:1", "--only", "nothing.such"], /tickets, roster, http/],
      [["http://127.0.0.1:1", "--community", "a b"], /a b/],
      [["http://127.0.0.1:1", "--audience", "https://a.example/b"], /https:\/\/a\.example/],
      [["http://127.0.0.1:1", "--colour"], /--colour/],
      [["--capsule", "peers.json"], /--key/],
      [["--client", "true", "--wait", "soon"], /soon/],
      [["--client", "true", "--reader", "true"], /one of these/],
      [["http://127.0.0.1:1"], /does not answer/],
      [["http://127.0.0.1:1", "--output", "/nowhere/report.json"], /report\.json cannot be written: ENOENT/],
    ]) {
      const { code, stderr, stdout } = await program(...args);
      assert.deepEqual([code, stdout], [2, ""], args.join(" "));
      assert.match(stderr, message);
    }
  });

  test("reports as text, JSON and JUnit, and its exit code says whether all passed", async () => {
    const source = await readFile(BEACON, "utf8");
    const file = join(scratch, "beacon-of-reports.py");
    await writeFile(file, source.replace('(self.value["version"] != 1,', "(False,"));
    const { url, stop } = await startPython(file);
    try {
      const args = [url, "--address-header", ADDRESS_HEADER, "--only", "tickets.version,tickets.algorithm.another"];
      const asText = await program(...args, "--verbose");
      assert.equal(asText.code, 1);
      assert.match(asText.stdout, /FAILED tickets\.version\.two \(section 3\): refuses version 2/);
      assert.match(asText.stdout, /passed tickets\.algorithm\.another/);
      assert.match(asText.stdout, /: 1 passed, 2 failed\n$/);
      const asJson = JSON.parse((await program(...args, "--format", "json")).stdout);
      assert.deepEqual([asJson.passed, asJson.failed, asJson.skipped], [1, 2, 0]);
      assert.deepEqual(
        asJson.cases.map(({ id, outcome }) => [id, outcome]),
        [
          ["tickets.version.two", "fail"],
          ["tickets.version.zero", "fail"],
          ["tickets.algorithm.another", "pass"],
        ],
      );
      const output = join(scratch, "report.xml");
      await program(...args, "--format", "junit", "--output", output);
      const parsed = execFileSync(
        python,
        [
          "-c",
          "import sys, xml.etree.ElementTree as tree; root = tree.parse(sys.argv[1]).getroot(); print(root.get('tests'), root.get('failures'), len(root.findall('.//failure')))",
          output,
        ],
        { encoding: "utf8" },
      );
      assert.equal(parsed.trim(), "3 2 2");
      assert.equal((await program(...args.slice(0, 3), "--only", "tickets.algorithm.another")).code, 0);
    } finally {
      await stop();
    }
  });

  test("says which attacks a beacon does not withstand", async () => {
    const source = await readFile(BEACON, "utf8");
    const file = join(scratch, "beacon-of-attacks.py");
    await writeFile(file, source.replace("for point in (self.key, self.signature[:32])", "for point in ()"));
    const { url, stop } = await startPython(file);
    try {
      const { code, stdout } = await program(url, "--address-header", ADDRESS_HEADER, "--only", "tickets.weak-key,tickets.signature");
      assert.equal(code, 1);
      assert.match(stdout, /not withstood weak-keys/);
      assert.match(stdout, / withstood +tampering/);
    } finally {
      await stop();
    }
  });

  test("is whole in its package, vectors and all", async () => {
    const home = join(scratch, "package");
    await mkdir(home);
    const packed = execFileSync("npm", ["pack", "--offline", "--pack-destination", scratch], {
      cwd: join(ROOT, "conformance"),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    execFileSync("tar", ["-xzf", join(scratch, packed.trim().split("\n").at(-1)), "-C", home, "--strip-components=1"]);
    const files = (await readdir(home)).sort();
    assert.deepEqual(files, ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json", "rendezvous-conformance.mjs", "src", "vectors"]);
    // What npm would install beside it.
    await mkdir(join(home, "node_modules"));
    const { dependencies } = JSON.parse(await readFile(join(home, "package.json"), "utf8"));
    assert.deepEqual(Object.keys(dependencies), ["ws"]);
    const installed = [join(ROOT, "conformance/node_modules/ws"), join(ROOT, "node_modules/ws")].find(existsSync);
    await symlink(installed, join(home, "node_modules/ws"));
    const own = execFileSync(process.execPath, [join(home, "rendezvous-conformance.mjs"), "--list", "--reader", "true"], {
      encoding: "utf8",
      stdio: "pipe",
    });
    assert.ok(own.includes("reader.good "));
    for (const left of ["vectors", "LICENSE-MIT"]) assert.ok(!(await readdir(join(ROOT, "conformance"))).includes(left), `${left} is left`);
  });
});
