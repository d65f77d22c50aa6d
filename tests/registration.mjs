// What a test of registration needs: registrations by the specification alone, a real server for mail, an operator's program
// that is told, and the operator's command.

import { execFileSync, spawn } from "node:child_process";
import { createHmac, sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PROGRAM } from "../tools/native.mjs";
import { ROOT } from "../tools/steps.mjs";
import { eventually } from "./http.mjs";
import { finished } from "./program.mjs";
import { canonical } from "./ticket.mjs";

export const USERNAME = "beacon@a.example";
export const PASSWORD = "a password with spaces";
export const WEBHOOK_SECRET = "sesame sesame sesame";

/**
 * A registration that is good now, unless the overrides make it a bad one; fields of the payload are signed as overridden.
 *
 * @param {import("./ticket.mjs").Peer} peer
 * @param {{ audience: string, email: string } & Record<string, unknown>} payload
 */
export function signRegistration(peer, { audience, email, community = "mainnet", issuedAt = Date.now(), ...more }) {
  const payload = { audience, community, email, issuedAt, ...more };
  const message = `rendezvous-registration-v1:register\n${canonical(payload)}`;
  const signature = sign(null, Buffer.from(message), peer.privateKey).toString("base64");
  return { version: 1, algorithm: "ed25519", publicKey: peer.publicKey, signature, payload };
}

/**
 * Makes an authority, and a certificate by it for this machine.
 *
 * @param {string} directory
 */
export function makeCertificates(directory) {
  const openssl = (...args) => execFileSync("openssl", args, { cwd: directory, stdio: ["ignore", "ignore", "pipe"] });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  for (const name of ["authority", "other"]) {
    openssl("req", "-x509", ...key, "-keyout", `${name}.key`, "-out", `${name}.pem`, "-subj", `/CN=${name}`, "-days", "2");
  }
  openssl(
    ...["req", "-x509", ...key, "-keyout", "server.key", "-out", "server.pem", "-subj", "/CN=server", "-days", "2"],
    ...["-CA", "authority.pem", "-CAkey", "authority.key"],
    ...["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"],
  );
  const path = (name) => join(directory, name);
  return { authority: path("authority.pem"), other: path("other.pem"), certificate: path("server.pem"), key: path("server.key") };
}

/**
 * Starts the server for mail.
 *
 * @param {string} python
 * @param {{ certificate: string, key: string }} certificates
 */
export async function startSmtp(python, { certificate, key }) {
  const args = [join(ROOT, "tests/smtp.py"), certificate, key, USERNAME, PASSWORD];
  const child = spawn(python, args, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(JSON.parse(line)));
  const [{ port }] = await eventually(async () => lines, (lines) => lines.length > 0);
  return {
    port,
    /** Everything that it has said since. */
    said: () => lines.slice(1),
    /** Waits for the mail to this address. */
    async mailTo(email) {
      const find = async () => lines.find(({ recipients }) => recipients?.includes(email));
      return eventually(find, (mail) => mail !== undefined);
    },
    async stop() {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, "close");
    },
  };
}

/** @param {{ text: string }} mail */
export const linkIn = (mail) => mail.text.match(/^https?:\/\/\S+\/verify\?token=[0-9a-f]{64}$/m)[0];

/** Starts an operator's program. It answers with the statuses that it is given, one after the other, and then with 200. */
export async function startWebhook() {
  const told = [];
  const statuses = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const { "rendezvous-time": time, "rendezvous-signature": signature } = request.headers;
    const expected = createHmac("sha256", WEBHOOK_SECRET).update(`${time}.${body}`).digest("hex");
    told.push({ path: request.url, method: request.method, isGenuine: signature === expected, time: Number(time), json: JSON.parse(body) });
    const status = statuses.shift() ?? 200;
    response.writeHead(status, status === 307 ? { Location: "/elsewhere" } : {}).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/hook`, told, statuses, close: () => server.close() };
}

/**
 * Runs `rendezvous-beacon registrations`.
 *
 * @param {string} state
 * @param {string[]} args
 */
export function registrations(state, ...args) {
  return finished(spawn(PROGRAM, ["registrations", ...args], { env: { STATE: state }, stdio: ["ignore", "pipe", "pipe"] }));
}
