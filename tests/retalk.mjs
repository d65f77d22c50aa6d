// A user of retalk, by the specification alone, with node:crypto and nothing of the Rust code: it signs whatever it is told
// to. And retalk's own programs, run as their users do.

import { createHash, randomBytes, sign } from "node:crypto";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { call } from "./http.mjs";
import { newPeer } from "./ticket.mjs";
import { finished } from "./program.mjs";

/** The names of the fields of `auth`, in each dialect. */
const DIALECTS = {
  "0.0.1": { who: "user_id", when: "ts", signature: "sig" },
  "0.3.0": { who: "fingerprint", when: "timestamp", signature: "signature" },
};

const unpadded = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

/** JSON as Python's `json.dumps(value, sort_keys=True, separators=(",", ":"))` writes it, of texts, integers and objects. */
export function pythonJson(value) {
  if (value === null || typeof value !== "object") {
    const escape = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
    return JSON.stringify(value).replace(/[^ -~]/g, escape);
  }
  const names = Object.keys(value).sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  return `{${names.map((name) => `${pythonJson(name)}:${pythonJson(value[name])}`).join()}}`;
}

export class User {
  #peer = newPeer();
  identityKey = unpadded(randomBytes(32));
  signingKey = unpadded(Buffer.from(this.#peer.publicKey, "base64"));
  id = sha256(`${this.identityKey}|${this.signingKey}`).slice(0, 32);

  /**
   * @param {string} url Where the relay answers.
   * @param {{ audience?: string, from?: string, dialect?: keyof typeof DIALECTS }} [options] `audience` is what the user wrote
   *   as the relay's address, `from` the user's own.
   */
  constructor(url, { audience = url, from = "127.0.0.1", dialect = "0.3.0" } = {}) {
    Object.assign(this, { url, audience, from, dialect });
  }

  sign(text) {
    return unpadded(sign(null, Buffer.from(text), this.#peer.privateKey));
  }

  /** The body of a request. `overrides` replace fields of `auth`, by the names of the newer dialect, before they are signed. */
  request(tool, args = {}, { audience = this.audience, seconds = Math.floor(Date.now() / 1_000), nonce = randomBytes(16).toString("hex") } = {}) {
    const { who, when, signature } = DIALECTS[this.dialect];
    const timestamp = String(seconds);
    const text = [tool, audience, this.id, timestamp, nonce, sha256(pythonJson(args))].join("|");
    const keys = { identity_key: this.identityKey, signing_key: this.signingKey };
    return { tool, args: { ...args, auth: { [who]: this.id, ...keys, [when]: timestamp, nonce, [signature]: this.sign(text) } } };
  }

  /** Sends a body. */
  post(json, { path = "/", from = this.from, ...rest } = {}) {
    return call(this.url, path, { address: from, method: "POST", json, ...rest });
  }

  ask(tool, args, options) {
    return this.post(this.request(tool, args, options), options);
  }

  /** Publishes so many one-time keys, and a fallback. */
  publish(count, { name = "key", fallback = true, ...options } = {}) {
    const prekeys = (names) => Object.fromEntries(names.map((name) => [name, unpadded(randomBytes(32))]));
    return this.ask(
      "publish_keys",
      {
        identity_key: this.identityKey,
        signing_key: this.signingKey,
        one_time_keys: prekeys(Array.from({ length: count }, (_, number) => `${name}${number}`)),
        fallback_key: fallback ? prekeys([`${name}fallback`]) : null,
      },
      options,
    );
  }

  send(to, text, options) {
    return this.ask("send_message", { to: to.id, mtype: 1, body: Buffer.from(text).toString("base64") }, options);
  }

  /** The texts that wait, which are then gone, each with its sender's id. */
  async read(args = {}, options) {
    const { json } = await this.ask("read_messages", args, options);
    return json.map(({ from, body }) => [from, Buffer.from(body, "base64").toString()]);
  }

  refuse(text, options) {
    const hash = sha256(Buffer.from(text).toString("base64"));
    return this.ask("nack", { hash, sig: this.sign(`nack|${this.id}|${hash}`) }, options);
  }
}

/** A user of retalk's own program, with a store of its own. */
export class Program {
  /**
   * @param {{ version: string, python: string, directory: string, url: string, name: string }} what `python` is the
   *   interpreter that has this version of the program.
   */
  constructor({ version, python, directory, url, name }) {
    Object.assign(this, { version, python, url, name, store: join(directory, name) });
    this.isFirst = version === "0.0.1";
    this.env = {
      PATH: process.env.PATH,
      HOME: directory,
      RETALK_HOME: join(directory, "home"),
      PICKLE_SECRET: `secret of ${name}`,
      RETALK_PASSPHRASE: `secret of ${name}`,
      SERVER_URL: url,
      RETALK_RELAY: url,
      PYTHONDONTWRITEBYTECODE: "1",
    };
  }

  /** Runs the program. What it says besides its results is in `stderr`. */
  async run(...args) {
    const child = spawn(this.python, ["-m", "retalk.cli", ...args], { env: this.env, stdio: ["ignore", "pipe", "pipe"] });
    const { code, stdout, stderr } = await finished(child);
    if (code !== 0) throw new Error(`retalk ${this.version} ${args[0]} ended with ${code}: ${stderr}`);
    return { stdout: stdout.trim(), stderr };
  }

  /** Runs lines of Python in which `user` is this user, and returns the JSON that they print. */
  async evaluate(lines) {
    const program = ["import json, os, sys", "from retalk.user import User", "user = User(*json.loads(sys.argv[1]))", ...lines].join("\n");
    const user = JSON.stringify([this.url, this.env.PICKLE_SECRET, this.name, join(this.store, "store.db")]);
    const { code, stdout, stderr } = await finished(spawn(this.python, ["-c", program, user], { env: this.env, stdio: ["ignore", "pipe", "pipe"] }));
    if (code !== 0) throw new Error(`retalk ${this.version}: ${stderr}`);
    return stdout.trim() === "" ? undefined : JSON.parse(stdout);
  }

  async init() {
    const { stdout } = this.isFirst
      ? await this.run("init", this.store, "--name", this.name)
      : await this.run("init", "--dir", this.store, "--display-name", this.name, "--no-register");
    this.id = stdout.split("\n").at(-1);
  }

  add({ name, id }) {
    return this.isFirst ? this.run("add", name, id, "-s", this.store) : this.run("add", id, "--peer", name, "--dir", this.store);
  }

  send({ name }, text) {
    return this.isFirst ? this.run("send", name, text, "-s", this.store) : this.run("send", "--peer", name, text, "--dir", this.store);
  }

  /** The messages that the program shows, as `name: text`. */
  async receive() {
    if (this.isFirst) {
      const { stdout } = await this.run("receive", "-s", this.store);
      return stdout === "" ? [] : stdout.split("\n");
    }
    const { stdout } = await this.run("receive", "--all", "--dir", this.store);
    const messages = stdout === "" ? [] : stdout.split("\n").map((line) => JSON.parse(line));
    return messages.map(({ name, text }) => `${name}: ${text}`);
  }

  /** How many messages nobody has acknowledged. */
  waiting() {
    return this.evaluate(['print(json.dumps(len(user._fetchall("SELECT id FROM outbox"))))']);
  }
}
