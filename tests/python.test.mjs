// The client in Python, examples/announce.py: it reads and signs as the vectors have it, and a beacon of this project lists
// it.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { before, test } from "node:test";
import { startBeacon } from "../tools/beacon.mjs";
import { ensurePython } from "../tools/python.mjs";
import { ROOT } from "../tools/steps.mjs";
import { announce, peers } from "./http.mjs";
import { newPeer, signTicket } from "./ticket.mjs";

const EXAMPLES = join(ROOT, "examples");

/** Nothing is written beside the example. */
const ENVIRONMENT = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" };

/** @type {string} */
let python;
before(async () => {
  python = await ensurePython();
});

const VECTORS = `
import base64, json, pathlib
from announce import canonical, is_good, read, sign

vectors = pathlib.Path("../tests/vectors")
cases = json.loads((vectors / "tickets.json").read_bytes())
keys = json.loads((vectors / "keys.json").read_bytes())
seed = base64.b64decode(keys["a"]["privateKey"])[-32:]
wrong, signed = [], 0
for case in cases:
    try:
        ticket = read(case["ticket"])
    except ValueError:
        ticket = None
    # The example has no list of trusted keys.
    expected = case["expect"] in ("ok", "UNTRUSTED_PUBLIC_KEY")
    if is_good(ticket, case["community"], case["now"]) != expected:
        wrong.append(f'{case["name"]}: not {case["expect"]}')
    if case["expect"] == "ok":
        if canonical(ticket["payload"]).decode() != case["canonical"]:
            wrong.append(f'{case["name"]}: another payload')
        if ticket["publicKey"] == keys["a"]["publicKey"]:
            signed += 1
            if sign(seed, ticket["payload"]) != ticket:
                wrong.append(f'{case["name"]}: another signature')
print(json.dumps({"cases": len(cases), "signed": signed, "wrong": wrong}))
`;

test("it reads, verifies and signs the vectors", () => {
  const output = execFileSync(python, ["-c", VECTORS], { cwd: EXAMPLES, encoding: "utf8", env: ENVIRONMENT });
  assert.deepEqual(JSON.parse(output), { cases: 128, signed: 25, wrong: [] });
});

test("a beacon lists it, it lists the others, and it leaves when interrupted", async (context) => {
  const beacon = await startBeacon({ vars: { PEERS_MAX_AGE_SECONDS: "0" } });
  context.after(beacon.stop);
  const directory = await mkdtemp(join(tmpdir(), "rendezvous-python-"));
  context.after(() => rm(directory, { recursive: true }));
  const other = newPeer({ peerId: "peer-other" });
  assert.equal((await announce(beacon.url, signTicket(other, { data: "state=away" }))).json.listed, true);

  const child = spawn(
    python,
    [join(EXAMPLES, "announce.py"), beacon.url, "--peer-id", "peer-python", "--seed", join(directory, "seed")],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const closed = once(child, "close");
  context.after(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value;
  assert.equal(await line(), 'present: ["peer-other", "user", "state=away"]');
  assert.equal(await line(), "listed");
  const names = async () => (await peers(beacon.url)).json.peers.map(({ payload }) => payload.peerId).sort();
  assert.deepEqual(await names(), ["peer-other", "peer-python"]);

  child.kill("SIGINT");
  assert.equal(await line(), "left");
  assert.deepEqual(await closed, [0, null]);
  assert.deepEqual(await names(), ["peer-other"]);
});
