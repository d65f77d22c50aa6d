// Two relays of the program for one machine that push to each other, each killed and started again in turn: what is left
// at one is at the other once, what is acknowledged at one frees its sender at the other, and what a hostile peer brings
// changes nothing.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { NATIVE } from "./hosts.mjs";
import { call, eventually } from "./http.mjs";
import { Mailbox, namesOf, signRecord } from "./mailbox.mjs";
import { freePort } from "./ports.mjs";
import { newPeer, rawPublicKey } from "./ticket.mjs";

/** A relay, which its peers know before it runs. */
class Relay {
  #keys = generateKeyPairSync("ed25519");
  log = [];

  async prepare() {
    this.port = await freePort();
    this.origin = `http://127.0.0.1:${this.port}`;
    this.metricsPort = await freePort();
    this.state = await mkdtemp(join(tmpdir(), "replication-test-"));
    return this;
  }

  /** Whom this relay is to its peers. */
  get peer() {
    return { publicKey: rawPublicKey(this.#keys.publicKey), privateKey: this.#keys.privateKey };
  }

  async start(peers) {
    this.peers = peers;
    const vars = {
      EXTERNAL_URLS: this.origin,
      RELAY_PEERS: peers.map(({ origin, peer }) => `${origin}=${peer.publicKey}`).join(),
      RELAY_PRIVATE_KEY: this.#keys.privateKey.export({ format: "pem", type: "pkcs8" }),
      METRICS_ADDRESS: `127.0.0.1:${this.metricsPort}`,
      ADDRESS_REQUESTS_PER_MINUTE: "100000",
      NETWORK_REQUESTS_PER_MINUTE: "100000",
      // A peer comes by itself, and by no proxy that would write one.
      CLIENT_ADDRESS_HEADER: "",
    };
    this.running = await NATIVE.start({ vars, port: this.port, state: this.state, log: (line) => this.log.push(line) });
    assert.equal(this.running.url, this.origin);
  }

  async restart() {
    await this.running.kill();
    await this.start(this.peers);
  }

  async metric(name) {
    const { text } = await call(`http://127.0.0.1:${this.metricsPort}`, "/metrics");
    return Number(text.match(new RegExp(`^rendezvous_replication_${name} (\\d+)$`, "m"))[1]);
  }

  async end() {
    await this.running?.stop();
    await rm(this.state, { recursive: true, force: true });
  }
}

/** A push of these items to a relay, by whoever has the key. */
function push(relay, by, mailbox, items, overrides = {}) {
  const text = JSON.stringify(items);
  const fields = {
    audience: relay.origin,
    issuedAt: Date.now(),
    items: createHash("sha256").update(text).digest("base64"),
    mailbox: mailbox.address,
    nonce: randomBytes(16).toString("base64"),
    ...overrides,
  };
  const body = `{"relay":${JSON.stringify(signRecord("replicate", by, fields))},"items":${text}}`;
  return call(relay.origin, "/v1/replicate", { method: "POST", body });
}

describe("two relays", () => {
  let one;
  let two;
  before(async () => {
    [one, two] = await Promise.all([new Relay().prepare(), new Relay().prepare()]);
    await one.start([two]);
    await two.start([one]);
  });
  after(() => Promise.all([one?.end(), two?.end()]));

  /** A mailbox that is open at both, and how its people ask one of them. */
  async function openMailbox(limits = [32]) {
    const mailbox = new Mailbox(one.origin, { audience: one.origin });
    const at = (relay) => Object.assign(mailbox, { url: relay.origin, audience: relay.origin });
    const slots = limits.map((limit) => ({ ...newPeer(), limit }));
    mailbox.revision = 1;
    const records = [mailbox.card({ relays: [one.origin, two.origin] }), mailbox.policy(slots)];
    for (const relay of [one, two]) assert.equal((await at(relay).putRecords(...records)).status, 201);
    return { mailbox, at, slots };
  }

  /** What waits at a relay, once it is what is expected. */
  async function holds(at, relay, expected) {
    const sorted = (names) => [...names].sort();
    const read = async () => sorted(namesOf(await at(relay).collect({ collector: "AAAAAAAAAAAAAAAAAAAAAA==" })));
    await eventually(read, (names) => JSON.stringify(names) === JSON.stringify(sorted(expected)));
  }

  test("say by which key they push", async () => {
    for (const relay of [one, two]) assert.equal((await call(relay.origin, "/v1/relay")).json.key, relay.peer.publicKey);
  });

  test("have each message once, and an acknowledgement at one frees the sender at the other", async () => {
    const { mailbox, at, slots: [slot] } = await openMailbox([2]);
    const names = (...sequences) => sequences.map((sequence) => `${slot.publicKey} ${sequence}`);
    const [first, second, third] = [1, 2, 3].map((sequence) => mailbox.message(slot, sequence));
    assert.equal((await at(one).deposit(first)).status, 201);
    await holds(at, two, names(1));
    assert.equal((await at(two).deposit(second)).status, 201);
    await holds(at, one, names(1, 2));
    // The sender leaves everything at both, as its program does.
    for (const relay of [one, two]) {
      for (const message of [first, second]) assert.equal((await at(relay).deposit(message)).json.duplicate, true);
      assert.equal((await at(relay).deposit(third)).json.code, "UNACKNOWLEDGED_LIMIT");
    }
    assert.equal((await at(one).acknowledge([mailbox.ack(slot, 2)])).json.released, 2);
    await eventually(async () => (await at(two).deposit(third)).status, (status) => status === 201);
    assert.equal((await at(two).slot(slot)).json.ack.payload.through, 2, "the receipt is at the other too");
    await holds(at, one, names(3));
    await holds(at, two, names(3));
  });

  test("learn of a newer policy, by which a slot that is struck off leaves nothing more at either", async () => {
    const { mailbox, at, slots: [slot, kept] } = await openMailbox([4, 4]);
    mailbox.revision = 2;
    const records = [mailbox.card({ relays: [one.origin, two.origin] }), mailbox.policy([kept])];
    assert.equal((await at(one).putRecords(...records)).status, 200);
    const leave = async () => (await at(two).deposit(mailbox.message(slot, 1))).json.code;
    await eventually(leave, (code) => code === "SLOT_UNKNOWN");
    assert.deepEqual((await at(two).ask("")).json.card, records[0]);
  });

  test("lose nothing where each is killed in turn", async () => {
    const { mailbox, at, slots } = await openMailbox([32, 32]);
    const expected = [];
    let sequence = 0;
    for (const [running, killed] of [[one, two], [two, one], [one, two]]) {
      await killed.running.kill();
      sequence += 1;
      for (const slot of slots) {
        assert.equal((await at(running).deposit(mailbox.message(slot, sequence))).status, 201);
        expected.push(`${slot.publicKey} ${sequence}`);
      }
      await eventually(() => running.metric("push_error_total"), (failed) => failed > 0);
      assert.ok((await running.metric("waiting")) >= slots.length);
      // Whoever has something for the other is killed too, before it has brought it.
      await running.restart();
      assert.ok((await running.metric("waiting")) >= slots.length);
      await killed.start(killed.peers);
      await holds(at, killed, expected);
      await holds(at, running, expected);
      await eventually(() => running.metric("waiting"), (waiting) => waiting === 0);
    }
    // What was acknowledged while the other was away is freed there when it is back.
    await two.running.kill();
    for (const slot of slots) assert.equal((await at(one).acknowledge([mailbox.ack(slot, sequence)])).json.released, sequence);
    await two.start(two.peers);
    await holds(at, two, []);
    assert.ok((await one.metric("push_ok_total")) > 0);
    assert.equal(await one.metric("ended_total"), 0);
  });

  test("believe a peer nothing that authors have not signed", async () => {
    const { mailbox, at, slots: [slot] } = await openMailbox([2]);
    const [first, second] = [1, 2].map((sequence) => mailbox.message(slot, sequence));
    assert.equal((await at(two).deposit(first)).status, 201);
    const forged = (record) => ({ ...record, signature: randomBytes(64).toString("base64") });
    const stranger = newPeer();
    const ack = mailbox.ack(slot, 1);
    const newer = { card: mailbox.card({ revision: 9 }), policy: mailbox.policy([], { revision: 9 }) };
    const tried = [
      { ...second, deposit: forged(second.deposit) },
      { ...second, sealed: first.sealed },
      mailbox.message(stranger, 1),
      mailbox.message(slot, 3),
      { ...ack, ack: forged(ack.ack) },
      mailbox.ack(slot, 1, { by: one.peer }),
      { ...mailbox.ack(slot, 900, { of: mailbox.message(stranger, 900).deposit }) },
      { policy: forged(newer.policy) },
      { policy: signRecord("policy", one.peer, newer.policy.payload) },
      { card: forged(newer.card) },
      { close: {} },
    ];
    const { json } = await push(two, one.peer, mailbox, tried);
    assert.deepEqual(json.results, [
      "SIGNATURE_INVALID", "CONTENT_MISMATCH", "SLOT_UNKNOWN", "UNACKNOWLEDGED_LIMIT", "SIGNATURE_INVALID", "NOT_A_READER",
      "MALFORMED", "SIGNATURE_INVALID", "NOT_THE_OWNER", "SIGNATURE_INVALID", "MALFORMED",
    ]);
    const refused = async (status, code, ...args) => {
      const reply = await push(...args);
      assert.deepEqual([reply.status, reply.json.code], [status, code], reply.text);
    };
    await refused(403, "UNTRUSTED_PUBLIC_KEY", two, stranger, mailbox, [second]);
    await refused(421, "MISDIRECTED_REQUEST", two, one.peer, mailbox, [second], { audience: one.origin });
    await refused(400, "CONTENT_MISMATCH", two, one.peer, mailbox, [second], { items: randomBytes(32).toString("base64") });
    await refused(404, "MAILBOX_UNKNOWN", two, one.peer, new Mailbox(two.origin), [second]);
    const nonce = randomBytes(16).toString("base64");
    assert.deepEqual((await push(two, one.peer, mailbox, [first], { nonce })).json.results, ["duplicate"]);
    await refused(409, "REPLAYED", two, one.peer, mailbox, [first], { nonce });
    const long = await call(two.origin, "/v1/replicate", { method: "POST", body: " ".repeat(1024 * 1024 + 1) });
    assert.deepEqual([long.status, long.json.code], [413, "BODY_TOO_LARGE"]);
    // As if nothing of it had come.
    await holds(at, two, [`${slot.publicKey} 1`]);
    assert.equal((await at(two).deposit(second)).status, 201);
    assert.equal((await at(two).ask("")).json.card.payload.revision, 1);
  });

  test("log that a peer is away, and no failure of their own", () => {
    for (const { log } of [one, two]) {
      const notes = log.map((line) => JSON.parse(line));
      assert.deepEqual(notes.filter(({ level }) => level !== "info"), []);
      assert.ok(notes.some(({ event }) => event === "peer_unreached"));
    }
  });
});

test("a relay whose peers cannot be read does not start, and shows no key", async () => {
  const key = generateKeyPairSync("ed25519");
  const pem = key.privateKey.export({ format: "pem", type: "pkcs8" });
  const good = `https://peer.example=${newPeer().publicKey}`;
  const urls = { EXTERNAL_URLS: "https://own.example" };
  for (const [vars, named] of [
    [{ ...urls, RELAY_PEERS: "https://peer.example", RELAY_PRIVATE_KEY: pem }, /RELAY_PEERS is "https:\/\/peer\.example"/],
    [{ ...urls, RELAY_PEERS: good }, /RELAY_PRIVATE_KEY is ""/],
    [{ ...urls, RELAY_PEERS: good, RELAY_PRIVATE_KEY: pem.slice(0, 60) }, /RELAY_PRIVATE_KEY is "not shown"/],
    [{ ...urls, RELAY_PRIVATE_KEY: pem }, /RELAY_PRIVATE_KEY is "not shown": it must be nothing where RELAY_PEERS is/],
    [{ RELAY_PEERS: good, RELAY_PRIVATE_KEY: pem }, /RELAY_PEERS .* nothing where EXTERNAL_URLS is/],
    [{ ...urls, RELAY_PEER: good }, /RELAY_PEER is not a setting of this program: RELAY_PEERS is/],
  ]) {
    await assert.rejects(NATIVE.start({ vars }), (error) => {
      assert.match(error.message, named);
      assert.doesNotMatch(error.message, /PRIVATE KEY|MC4C/);
      return true;
    });
  }
});
