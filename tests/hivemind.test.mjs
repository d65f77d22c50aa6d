// The door for hivemind-rendezvous' users: with the package's own functions, as docs/from-hivemind.md has them, and with requests
// that are signed by node:crypto and nothing of the Rust code. Rules are tested in virtual time, in protocol/tests/hivemind/.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ensureHivemind } from "../tools/hivemind.mjs";
import { ROOT } from "../tools/steps.mjs";
import { NATIVE, withHost } from "./hosts.mjs";
import { Node, now, payloadOf } from "./hivemind.mjs";
import { call } from "./http.mjs";
import { finished } from "./program.mjs";

const VARS = { DOORS: "v1,hivemind", NETWORK_REQUESTS_PER_MINUTE: "100000", ADDRESS_REQUESTS_PER_MINUTE: "100000" };

let sites = 0;
/** An address of a site that no other test knows. */
const newSite = () => `198.${18 + (sites >> 8)}.${(sites += 1) & 255}.1`;

/** A relay under test, with what its users do. */
class Relay {
  constructor({ url }, name) {
    Object.assign(this, { url, name });
  }

  static async of(host) {
    const { json } = await call(host.url, "/pubkey");
    return new Relay(host, json.pubkey);
  }

  post(path, json, address = newSite()) {
    return call(this.url, path, { json, address });
  }

  async deposit(to, text, { address, ...fields } = {}) {
    const { status, json } = await this.post("/deposit", { payload: payloadOf(text), target_pubkey: to.publicKey, ...fields }, address);
    assert.deepEqual([status, json.status], [200, "ok"], JSON.stringify(json));
    return json.deposit_id;
  }

  async retrieve(node, proof = node.prove(this.name)) {
    const { status, json } = await this.post("/retrieve", proof, node.address);
    assert.deepEqual([status, json.status], [200, "ok"], JSON.stringify(json));
    return json.messages.map((message) => JSON.parse(message).payload.ciphertext);
  }
}

const refused = ({ status, text, json }, expected, reason) => {
  assert.equal(status, expected, text);
  assert.deepEqual(json, { status: "error", reason });
};

describe("the door for hivemind-rendezvous' users", () => {
  let host;
  let relay;
  let alice;
  let bob;
  before(async () => {
    host = await NATIVE.start({ vars: VARS });
    relay = await Relay.of(host);
    [alice, bob] = [new Node(newSite()), new Node(newSite())];
    assert.deepEqual(await relay.retrieve(bob), []);
  });
  after(() => host.stop());

  test("serves the package's own functions, called as the documents do", async () => {
    const python = await ensureHivemind();
    const document = await readFile(join(ROOT, "docs/from-hivemind.md"), "utf8");
    const blocks = [...document.matchAll(/```python\n(.*?)```/gs)].map(([, code]) => code);
    assert.equal(blocks.length, 2);
    const script = [
      ...blocks,
      "import sys",
      "from poorman_handshake.asymmetric.utils import create_RSA_key",
      "relay = sys.argv[1]",
      "pubkey, private_key = create_RSA_key()",
      'payloads = [json.dumps({"msg_type": "intercom", "payload": {"ciphertext": text}, "metadata": {}}, ensure_ascii=False) for text in ["one", "é\\n𝄞 two"]]',
      "before = retrieve(relay, private_key, pubkey)",
      "ids = [deposit(relay, payload, pubkey) for payload in payloads]",
      "fetched = retrieve(relay, private_key, pubkey)",
      "after = retrieve(relay, private_key, pubkey)",
      'print(json.dumps({"before": before, "same": fetched == payloads, "ids": ids, "after": after}))',
    ].join("\n");
    const { code, stdout, stderr } = await finished(spawn(python, ["-c", script, relay.url]));
    assert.equal(code, 0, stderr);
    const { ids, ...rest } = JSON.parse(stdout);
    assert.deepEqual(rest, { before: [], same: true, after: [] });
    for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test("hands over once, the oldest first, and the same again to the very same request alone", async () => {
    for (const text of ["one", "two"]) await relay.deposit(bob, text);
    const proof = bob.prove(relay.name);
    assert.deepEqual(await relay.retrieve(bob, proof), ["one", "two"]);
    await relay.deposit(bob, "three");
    assert.deepEqual(await relay.retrieve(bob, proof), ["one", "two"], "its own lost answer");
    assert.deepEqual(await relay.retrieve(bob), ["three"]);
    assert.deepEqual(await relay.retrieve(bob), []);
  });

  test("takes the same message twice for one", async () => {
    const text = randomBytes(8).toString("hex");
    const id = await relay.deposit(bob, text);
    assert.equal(await relay.deposit(bob, text), id);
    assert.deepEqual(await relay.retrieve(bob), [text]);
  });

  test("names a mailbox by its key, not by how that is written", async () => {
    const text = randomBytes(8).toString("hex");
    const pubkey = `${bob.publicKey.trim().replaceAll("\n", "\r\n")}\n\n`;
    await relay.deposit({ publicKey: pubkey }, text);
    assert.deepEqual(await relay.retrieve(bob), [text]);
    await relay.deposit(bob, `${text} again`);
    assert.deepEqual(await relay.retrieve(bob, bob.prove(relay.name, { pubkey })), [`${text} again`]);
  });

  test("hands over to all users of one household who ask in the same moment", async () => {
    const address = newSite();
    const household = Array.from({ length: 8 }, () => new Node(address));
    for (const [number, node] of household.entries()) await relay.deposit(node, `for ${number}`);
    const handed = await Promise.all(household.map((node) => relay.retrieve(node)));
    assert.deepEqual(handed, household.map((_, number) => [`for ${number}`]));
  });

  test("takes keys of 3,072 and 4,096 bits", async () => {
    for (const bits of [3_072, 4_096]) {
      const node = new Node(newSite(), bits);
      await relay.deposit(node, "long");
      assert.deepEqual(await relay.retrieve(node), ["long"]);
    }
  });

  test("does not let a depositor's proof retrieve the depositor's messages", async () => {
    assert.deepEqual(await relay.retrieve(alice), []);
    await relay.deposit(alice, "for alice");
    const proof = alice.prove(relay.name);
    const [depositor_pubkey, depositor_timestamp, depositor_signature] = Object.values(proof);
    const fields = { depositor_pubkey, depositor_timestamp, depositor_signature };
    const id = await relay.deposit(bob, "from alice", fields);
    refused(await relay.post("/retrieve", proof), 401, "replay_detected");
    assert.equal(await relay.deposit(bob, "from alice", fields), id, "but the deposit may be made again");
    assert.deepEqual(await relay.retrieve(bob), ["from alice"]);
    const own = alice.prove(relay.name);
    assert.deepEqual(await relay.retrieve(alice, own), ["for alice"]);
    const stolen = { depositor_pubkey: own.pubkey, depositor_timestamp: own.timestamp, depositor_signature: own.signature };
    const body = { payload: payloadOf("in alice's name"), target_pubkey: bob.publicKey, ...stolen };
    refused(await relay.post("/deposit", body), 401, "invalid_depositor_signature");
  });

  test("notes the proof of a depositor who has no mailbox, too", async () => {
    const carol = new Node(newSite());
    const { pubkey, timestamp, signature } = carol.prove(relay.name);
    const fields = { depositor_pubkey: pubkey, depositor_timestamp: timestamp, depositor_signature: signature };
    await relay.deposit(bob, "from carol", fields);
    await relay.deposit(carol, "for carol");
    refused(await relay.post("/retrieve", { pubkey, timestamp, signature }), 401, "replay_detected");
    assert.deepEqual(await relay.retrieve(carol), ["for carol"]);
    await relay.retrieve(bob);
  });

  test("says what is wrong with a deposit", async () => {
    const good = { payload: payloadOf("x"), target_pubkey: bob.publicKey };
    const inner = (payload) => ({ payload: JSON.stringify({ msg_type: "intercom", payload }) });
    for (const [fields, status, reason] of [
      [{ payload: "" }, 400, "missing_fields"],
      [{ target_pubkey: null }, 400, "missing_fields"],
      [{ payload: { msg_type: "intercom" } }, 400, "invalid_body"],
      [{ ttl: 0 }, 400, "invalid_ttl"],
      [{ ttl: "soon" }, 400, "invalid_ttl"],
      [{ target_pubkey: "-----BEGIN PUBLIC KEY-----" }, 400, "invalid_pubkey"],
      [{ target_pubkey: new Node(newSite(), 1_024).publicKey }, 400, "invalid_pubkey"],
      [{ ...alice.proveDeposit("another relay"), payload: "{}" }, 401, "invalid_depositor_signature"],
      [{ ...alice.proveDeposit(relay.name), payload: "{}" }, 400, "payload_must_be_intercom"],
      [{ payload: "[]" }, 400, "invalid_payload"],
      [inner({ recipient_fingerprint: 1 }), 400, "invalid_recipient_fingerprint"],
      [inner({ recipient_fingerprint: createHash("sha256").update("another").digest("base64") }), 400, "recipient_fingerprint_mismatch"],
      [{ payload: payloadOf("x".repeat(262_144)) }, 413, "payload_too_large"],
    ]) {
      refused(await relay.post("/deposit", { ...good, ...fields }), status, reason);
    }
    const raw = (body) => call(relay.url, "/deposit", { method: "POST", body, address: newSite() });
    refused(await raw(""), 400, "empty_body");
    refused(await raw("{"), 400, "invalid_json");
    refused(await raw("[]"), 400, "invalid_body");
    const fingerprint = createHash("sha256").update(bob.publicKey).digest("base64");
    await relay.post("/deposit", { ...good, ...inner({ ciphertext: "sealed", recipient_fingerprint: fingerprint }) });
    assert.deepEqual(await relay.retrieve(bob), ["sealed"], "and nothing else was taken");
  });

  test("says what is wrong with a retrieval", async () => {
    const good = bob.prove(relay.name);
    for (const [fields, status, reason] of [
      [{ signature: null }, 400, "missing_fields"],
      [{ pubkey: "x" }, 400, "invalid_pubkey"],
      [{ timestamp: {} }, 400, "invalid_body"],
      [bob.prove(relay.name, { timestamp: now() - 3_600 }), 401, "replay_detected"],
      [bob.prove(relay.name, { timestamp: now() + 3_600 }), 401, "replay_detected"],
      [{ signature: "?" }, 401, "invalid_signature"],
      [{ timestamp: good.timestamp - 1 }, 401, "invalid_signature"],
      [bob.prove(""), 401, "invalid_signature"],
      [{ pubkey: alice.publicKey }, 401, "invalid_signature"],
    ]) {
      refused(await relay.post("/retrieve", { ...good, ...fields }), status, reason);
    }
  });

  test("has three paths, and no page asks at them", async () => {
    for (const [method, path] of [["POST", "/pubkey"], ["GET", "/deposit"], ["GET", "/retrieve"], ["PUT", "/deposit"]]) {
      refused(await call(relay.url, path, { method }), 404, "not_found");
    }
    const headers = { Origin: "https://page.example" };
    refused(await call(relay.url, "/retrieve", { method: "POST", body: "{}", headers }), 421, "misdirected_request");
  });

  test("keeps little for a key whose owner has never come, and not much for one network", async () => {
    const stranger = new Node(newSite());
    for (const text of ["one", "two"]) await relay.deposit(stranger, text);
    refused(await relay.post("/deposit", { payload: payloadOf("three"), target_pubkey: stranger.publicKey }), 507, "mailbox_full");
    assert.deepEqual(await relay.retrieve(stranger), ["one", "two"]);
    const address = newSite();
    const statuses = [];
    for (let number = 0; number < 65; number += 1) {
      statuses.push((await relay.post("/deposit", { payload: payloadOf(`m${number}`), target_pubkey: stranger.publicKey }, address)).status);
    }
    assert.deepEqual(statuses, [...Array(64).fill(200), 507]);
    await relay.deposit(stranger, "from elsewhere");
    assert.equal((await relay.retrieve(stranger)).length, 65);
  });

  test("opens ten mailboxes a day for one network, and says so to others", async () => {
    const address = newSite();
    const nodes = Array.from({ length: 11 }, () => new Node(newSite()));
    const replies = [];
    for (const node of nodes) replies.push(await relay.post("/retrieve", node.prove(relay.name), address));
    assert.deepEqual(replies.map(({ status }) => status), [...Array(10).fill(200), 429]);
    refused(replies[10], 429, "rate_limit_exceeded");
    assert.ok(Number(replies[10].headers.get("Retry-After")) > 0);
    await relay.deposit(nodes[10], "all the same");
    assert.deepEqual(await relay.retrieve({ ...nodes[10], address }, nodes[10].prove(relay.name)), ["all the same"]);
  });
});

test("whoever asks too often is told so", async () => {
  await withHost(NATIVE, { vars: { ...VARS, ADDRESS_REQUESTS_PER_MINUTE: "3", NETWORK_REQUESTS_PER_MINUTE: "3" } }, async ({ url }) => {
    const ask = () => call(url, "/pubkey");
    for (let request = 0; request < 3; request += 1) assert.equal((await ask()).status, 200);
    const limited = await ask();
    refused(limited, 429, "rate_limit_exceeded");
    assert.ok(Number(limited.headers.get("Retry-After")) > 0);
  });
});

test("what was answered outlives a kill, what was handed over stays so, and the relay keeps its name", async () => {
  const state = await mkdtemp(join(tmpdir(), "hivemind-test-"));
  try {
    const [alice, bob] = [new Node(newSite()), new Node(newSite())];
    let name;
    const proofs = [];
    const noted = [];
    const run = async (work) => {
      const host = await NATIVE.start({ vars: VARS, state });
      try {
        const relay = await Relay.of(host);
        name ??= relay.name;
        assert.equal(relay.name, name);
        await work(relay);
        await host.kill();
      } finally {
        await host.stop();
      }
    };
    await run(async (relay) => {
      await relay.retrieve(bob);
      await relay.deposit(bob, "one");
      proofs.push(bob.prove(name));
      assert.deepEqual(await relay.retrieve(bob, proofs[0]), ["one"]);
      await relay.deposit(bob, "two");
      await relay.deposit(alice, "for alice");
      noted.push(alice.prove(name));
      const { pubkey, timestamp, signature } = noted[0];
      await relay.deposit(bob, "three", { depositor_pubkey: pubkey, depositor_timestamp: timestamp, depositor_signature: signature });
    });
    await run(async (relay) => {
      assert.deepEqual(await relay.retrieve(bob, proofs[0]), ["one"], "the same again, and nothing else");
      refused(await relay.post("/retrieve", noted[0]), 401, "replay_detected");
      proofs.push(bob.prove(name));
      assert.deepEqual(await relay.retrieve(bob, proofs[1]), ["two", "three"]);
    });
    await run(async (relay) => {
      assert.deepEqual(await relay.retrieve(bob, proofs[1]), ["two", "three"]);
      assert.deepEqual(await relay.retrieve(bob), []);
      assert.deepEqual(await relay.retrieve(alice), ["for alice"]);
    });
  } finally {
    await rm(state, { recursive: true });
  }
});

test("killed while messages come and go, it hands over each that was answered, and none twice", async () => {
  const state = await mkdtemp(join(tmpdir(), "hivemind-test-"));
  try {
    const bob = new Node(newSite());
    const [answered, handed, unheard] = [new Set(), new Map(), []];
    let number = 0;
    for (let round = 0; round < 6; round += 1) {
      const host = await NATIVE.start({ vars: VARS, state });
      const relay = await Relay.of(host);
      if (round === 0) await relay.retrieve(bob);
      // Whose answer was lost asks the very same again.
      for (const proof of unheard.splice(0)) {
        const reply = await relay.post("/retrieve", proof, bob.address);
        assert.equal(reply.status, 200, reply.text);
        note(reply.json.messages);
      }
      let isOver = false;
      const senders = Array.from({ length: 8 }, async () => {
        while (!isOver) {
          const text = `m${(number += 1)}`;
          const reply = await relay.post("/deposit", { payload: payloadOf(text), target_pubkey: bob.publicKey }).catch(() => undefined);
          if (reply?.status === 200) answered.add(text);
          else if (reply) assert.equal(reply.json.reason, "mailbox_full");
        }
      });
      const reader = (async () => {
        while (!isOver) {
          const seen = answered.size;
          while (!isOver && answered.size < seen + 3) await new Promise((resolve) => setImmediate(resolve));
          const proof = bob.prove(relay.name);
          const reply = await relay.post("/retrieve", proof, bob.address).catch(() => undefined);
          if (reply?.status === 200) note(reply.json.messages);
          else unheard.push(proof);
        }
      })();
      const wanted = answered.size + 20;
      while (answered.size < wanted) await new Promise((resolve) => setImmediate(resolve));
      isOver = true;
      await host.kill();
      await Promise.all([...senders, reader]);
    }
    await withHost(NATIVE, { vars: VARS, state }, async (host) => {
      const relay = await Relay.of(host);
      for (const proof of unheard) {
        const reply = await relay.post("/retrieve", proof, bob.address);
        if (reply.status === 200) note(reply.json.messages);
      }
      note((await relay.post("/retrieve", bob.prove(relay.name), bob.address)).json.messages);
    });
    for (const text of answered) assert.equal(handed.get(text), 1, text);
    for (const [text, count] of handed) assert.equal(count, 1, text);

    function note(messages) {
      for (const message of messages) {
        const text = JSON.parse(message).payload.ciphertext;
        handed.set(text, (handed.get(text) ?? 0) + 1);
      }
    }
  } finally {
    await rm(state, { recursive: true });
  }
});

test("is counted for whoever measures", async () => {
  let metrics;
  const log = (line) => (metrics = line.match(/"event":"metrics_listening","details":{"url":"([^"]*)"/)?.[1] ?? metrics);
  const host = await NATIVE.start({ vars: { ...VARS, METRICS_ADDRESS: "127.0.0.1:0" }, log });
  try {
    const [relay, bob] = [await Relay.of(host), new Node(newSite())];
    for (const text of ["one", "two", "two"]) await relay.deposit(bob, text);
    const proof = bob.prove(relay.name);
    for (let time = 0; time < 2; time += 1) await relay.retrieve(bob, proof);
    await relay.deposit(bob, "three");
    const text = await (await fetch(metrics)).text();
    assert.match(text, /^rendezvous_hivemind_deposited_total 3$/m);
    assert.match(text, /^rendezvous_hivemind_handed_over_total 2$/m);
  } finally {
    await host.stop();
  }
});

test("the door is not there where nobody has opened it", async () => {
  await withHost(NATIVE, {}, async ({ url }) => {
    for (const path of ["/deposit", "/retrieve"]) {
      const { status, json } = await call(url, path, { json: {} });
      assert.deepEqual([status, json.code], [404, "NOT_FOUND"]);
    }
    assert.equal((await call(url, "/pubkey")).status, 404);
  });
});
