#!/usr/bin/env node
// The program: reads its arguments, runs cases, prints what they say, and ends with an exit code that says it too.

import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { Unreachable } from "./src/beacon.mjs";
import { readerCases } from "./src/cases/capsules.mjs";
import { clientCases } from "./src/hostile.mjs";
import { json, junit, summary, text } from "./src/report.mjs";
import { readKey } from "./src/signing.mjs";
import { CASES, LEVELS, run, runAlone, select } from "./src/suite.mjs";

const HELP = `rendezvous-conformance: does this beacon keep the protocol, and which attacks does it withstand?

Usage:
  rendezvous-conformance [options] URL
  rendezvous-conformance [options] --capsule PLACE --key KEY [URL]
  rendezvous-conformance [options] --reader COMMAND
  rendezvous-conformance [options] --client COMMAND
  rendezvous-conformance --list [URL | --reader COMMAND | --client COMMAND]

What is tested:
  URL                   a beacon. Use one that is for tests: peers are announced at
                        it, mailboxes opened, limits exhausted
  --capsule PLACE       a capsule, as its publisher has put it on a host: the URL or
                        the path of peers.json; --key is the key to believe
  --reader COMMAND      a reader of capsules, which is run for each vector, with
                        CAPSULE, PUBLIC_KEY, COMMUNITY, NOW (ms) and
                        SOURCE_DATE_EPOCH (s) in its environment. Exit code 0 takes
                        the capsule; else it prints the code of the refusal
  --client COMMAND      a client, which is run against a hostile beacon, with BEACON
                        (its URL) and COMMUNITY in its environment. It prints the
                        names of the peers that it believes; it may end by itself

Options:
  --level LEVEL         what the beacon has to have; what it does not offer then
                        fails. Without it, what is not offered is not tried
${Object.entries(LEVELS)
  .map(([name, what]) => `                          ${name.padEnd(7)} ${what}`)
  .join("\n")}
  --only ID[,ID...]     cases by identifier, or all that begin with it: roster,
                        roster.leave, tickets.signature.s-plus-order
  --list                print the cases, and try none
  --format FORMAT       text, json or junit                         [default: text]
  --output FILE         write the report there, and the text to the standard output
  --verbose             name the cases that passed too
  --community NAME      a community of tests that the beacon serves, more than once.
                        Without it: names that nobody uses, where the beacon serves
                        any; else the default one, and one case at a time
  --address-header NAME the header from which the beacon takes a client's address
                        (its CLIENT_ADDRESS_HEADER): cases then come from networks of
                        their own, and those about networks are tried. Faster, too
  --audience ORIGIN     the origin to which signatures are bound   [default: URL's]
  --origin-key FILE     a private key in PEM, of an origin whose entries the beacon's
                        directory takes (its HUB_ORIGINS): it is given entries,
                        and has them taken away
  --hub-key FILE        the same of a hub that it answers (its HUB_PEERS)
  --wait SECONDS        how long a client has to print names, once it has asked
                                                             [default: 10]
  --help                print this

A limit on requests is waited for: without --address-header, a beacon with the usual
limits takes some minutes.

Exit codes: 0 everything that was tried passed, 1 something failed, 2 wrong arguments,
nothing to try, or a beacon that does not answer.

Examples:
  rendezvous-conformance http://127.0.0.1:8787 --level basic
  rendezvous-conformance https://beacon.example --community tests --only live,signals
  rendezvous-conformance http://127.0.0.1:8787 --format junit --output report.xml
  rendezvous-conformance --reader 'capsule verify "$CAPSULE" --public-key "$PUBLIC_KEY" \\
    --community "$COMMUNITY"'
  rendezvous-conformance --client 'python3 announce.py "$BEACON" "$COMMUNITY" me'
`;

/** How many readers or clients run at the same time. */
const ALONE = 4;

class Usage extends Error {}

const FORMATS = { text, json, junit };

function readArguments() {
  const string = { type: "string" };
  const flag = { type: "boolean", default: false };
  let parsed;
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: {
        level: string,
        only: { type: "string", multiple: true },
        list: flag,
        format: { type: "string", default: "text" },
        output: string,
        verbose: flag,
        community: { type: "string", multiple: true, default: [] },
        "address-header": string,
        audience: string,
        "origin-key": string,
        "hub-key": string,
        capsule: string,
        key: string,
        reader: string,
        client: string,
        wait: { type: "string", default: "10" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new Usage(error.message);
  }
  const { values, positionals } = parsed;
  const [url, ...more] = positionals;
  if (more.length > 0) throw new Usage(`one URL, not ${positionals.length}: ${more.join(" ")}`);
  if (!(values.format in FORMATS)) throw new Usage(`--format ${values.format}: text, json or junit`);
  if (values.level !== undefined && !(values.level in LEVELS))
    throw new Usage(`--level ${values.level}: ${Object.keys(LEVELS).join(", ")}`);
  const only = (values.only ?? [])
    .flatMap((ids) => ids.split(","))
    .map((id) => id.trim())
    .filter(Boolean);
  if (values.only && only.length === 0) throw new Usage("--only names no case");
  for (const [name, value] of Object.entries({ URL: url, "--audience": values.audience })) {
    if (value === undefined) continue;
    const parts = URL.canParse(value) ? new URL(value) : undefined;
    if (!parts || !/^https?:$/.test(parts.protocol)) throw new Usage(`${name} must begin with http:// or https://, not ${value}`);
    if (name === "--audience" && parts.origin !== value) throw new Usage(`--audience must be an origin, such as ${parts.origin}`);
  }
  for (const name of values.community)
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(name)) throw new Usage(`--community ${name}: 1 to 64 of A-Z a-z 0-9 . _ -`);
  if (values["address-header"] !== undefined && !/^[A-Za-z0-9-]+$/.test(values["address-header"]))
    throw new Usage("--address-header is not the name of a header");
  if ((values.capsule === undefined) !== (values.key === undefined)) throw new Usage("--capsule and --key go together");
  if (values.key !== undefined && !/^[A-Za-z0-9+/]{43}=$/.test(values.key)) throw new Usage("--key must be the base64 of 32 bytes");
  const waitMs = Number(values.wait) * 1_000;
  if (!(waitMs > 0 && waitMs <= 600_000)) throw new Usage(`--wait ${values.wait}: seconds, up to 600`);
  const targets = [url ?? values.capsule, values.reader, values.client].filter((target) => target !== undefined);
  if (
    values.client === undefined &&
    values.reader === undefined &&
    url === undefined &&
    values.capsule === undefined &&
    !values.list &&
    !values.help
  ) {
    throw new Usage("what is to be tested? A URL, --capsule, --reader or --client");
  }
  if (targets.length > 1) throw new Usage("one of these at a time: a beacon or a capsule, --reader, --client");
  return { ...values, url, only, waitMs };
}

/** The key in the file that an option names. */
async function keyOf(option, path) {
  if (path === undefined) return undefined;
  const pem = await readFile(path, "utf8").catch(({ code }) => {
    throw new Usage(`--${option} ${path} cannot be read: ${code}`);
  });
  try {
    return readKey(pem);
  } catch {
    throw new Usage(`--${option} ${path} is not a private key of Ed25519 in PEM, as openssl genpkey -algorithm ed25519 writes it`);
  }
}

/** The cases that are asked for, before any is tried. */
function casesOf({ url, only, level, reader, client, capsule, waitMs }) {
  const isAsked = ({ id }) => only.length === 0 || only.some((part) => id === part || id.startsWith(`${part}.`));
  if (reader !== undefined) return readerCases(reader).filter(isAsked);
  if (client !== undefined) return clientCases(client, { waitMs }).filter(isAsked);
  const cases = select({ only, level, hasCapsule: capsule !== undefined || url === undefined });
  return url === undefined && capsule !== undefined ? cases.filter(({ id }) => id.startsWith("capsules.")) : cases;
}

async function main() {
  const options = readArguments();
  if (options.help) {
    process.exitCode = 0;
    return void process.stdout.write(HELP);
  }
  const cases = casesOf(options);
  if (cases.length === 0) {
    const known = [...new Set(CASES.map(({ id }) => id.split(".")[0]))].join(", ");
    throw new Usage(`no case is named ${options.only.join(" or ")}: they begin with ${known}; --list has all`);
  }
  if (options.list) {
    for (const { id, spec, level, title } of cases)
      process.stdout.write(`${id.padEnd(44)} ${spec.padEnd(4)} ${level.padEnd(5)} ${title}\n`);
    process.exitCode = 0;
    return void process.stderr.write(`${cases.length} cases\n`);
  }
  const { url, level, reader, client, community, audience, capsule: place, key } = options;
  const capsule = place && { place, publicKey: key, community: community[0] };
  const [originKey, hubKey] = [await keyOf("origin-key", options["origin-key"]), await keyOf("hub-key", options["hub-key"])];
  const target = url ?? place ?? reader ?? client;
  if (options.output !== undefined) {
    // Before the run, which would else be for nothing.
    await writeFile(options.output, "").catch(({ code }) => {
      throw new Usage(`--output ${options.output} cannot be written: ${code}`);
    });
  }
  const shared = { cases, capsule, onResult: progress(cases.length) };
  const results =
    url === undefined
      ? await runAlone({ ...shared, concurrency: ALONE })
      : await run({
          ...shared,
          url,
          communities: community,
          audience,
          originKey,
          hubKey,
          addressHeader: options["address-header"],
          isStrict: level !== undefined,
        });
  const report = FORMATS[options.format](results, { target, isVerbose: options.verbose });
  if (options.output === undefined) process.stdout.write(report);
  else {
    await writeFile(options.output, report);
    process.stdout.write(text(results, { target, isVerbose: options.verbose }));
  }
  const { passed, failed } = summary(results);
  process.exitCode = failed > 0 ? 1 : passed > 0 ? 0 : 2;
}

/** Says on a terminal how far it is. */
function progress(total) {
  let done = 0;
  if (!process.stderr.isTTY) return () => {};
  return () => {
    done += 1;
    process.stderr.write(done === total ? "\r\u001b[K" : `\r${done} of ${total}`);
  };
}

// Until there is a report: a run that comes to nothing has not passed.
process.exitCode = 2;
main().catch((error) => {
  if (!(error instanceof Usage || error instanceof Unreachable)) throw error;
  process.stderr.write(`${error.message}\n${error instanceof Usage ? "rendezvous-conformance --help says how.\n" : ""}`);
  process.exitCode = 2;
});
