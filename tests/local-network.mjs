// A network of two machines that is nobody else's: two network namespaces of Linux with a cable between them. What is said
// in it by multicast stays in it, and there is one wherever the tests run.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The two machines' addresses. Each has further ones of its own network: see `addAddress`. */
export const ADDRESSES = ["10.99.0.1", "10.99.0.2"];
const PREFIX = "/24";

/** Who may not make a network makes one as the root of a namespace of users. */
const MAKE = process.getuid() === 0 ? ["unshare", "--net"] : ["unshare", "--user", "--map-root-user", "--net"];
const ENTER = process.getuid() === 0 ? [] : ["--user", "--preserve-credentials"];

/** A machine in the network. */
export class Machine {
  /** @param {import("node:child_process").ChildProcess} keeper The process whose network this is. */
  constructor(keeper) {
    this.keeper = keeper;
  }

  /** @returns {[string, string[]]} What runs a program on this machine, in the place of the shell that is asked to. */
  command(program, args) {
    return ["nsenter", ["--target", String(this.keeper.pid), "--net", ...ENTER, program, ...args]];
  }

  /** Runs a program on this machine to its end. */
  async execute(program, args, options = {}) {
    return run(...this.command(program, args), options);
  }

  async addAddress(address, prefix = PREFIX) {
    await this.execute("ip", ["address", "add", `${address}${prefix}`, "dev", "cable"]);
  }
}

/** Makes the two machines, and undoes them with the process. */
export async function startLocalNetwork() {
  const one = await keep(MAKE);
  const first = new Machine(one);
  const two = await keep([...first.command("unshare", ["--net"]).flat()]);
  const second = new Machine(two);
  await first.execute("ip", ["link", "add", "cable", "type", "veth", "peer", "name", "other"]);
  await first.execute("ip", ["link", "set", "other", "netns", String(two.pid)]);
  await second.execute("ip", ["link", "set", "other", "name", "cable"]);
  for (const [index, machine] of [first, second].entries()) {
    await machine.execute("ip", ["link", "set", "lo", "up"]);
    await machine.addAddress(ADDRESSES[index]);
    await machine.execute("ip", ["link", "set", "cable", "up"]);
  }
  return {
    machines: [first, second],
    stop() {
      for (const { keeper } of [second, first]) keeper.kill("SIGKILL");
    },
  };
}

/** Starts a process that does nothing but be where it is. It ends with its input, and so with this process. */
async function keep(made) {
  const [program, ...args] = [...made, "sh", "-c", "echo here; exec cat"];
  const keeper = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let error = "";
  keeper.stderr.setEncoding("utf8").on("data", (text) => (error += text));
  const said = await Promise.race([once(keeper.stdout, "data").then(([text]) => String(text)), once(keeper, "close")]);
  assert.equal(said, "here\n", `a network namespace is needed, with unshare, nsenter and ip: ${error}`);
  return keeper;
}
