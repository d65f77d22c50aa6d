// What the example page's buttons ask of this machine: to kill a beacon, and to start it again.
//
// Any page in the world can have its visitor's browser send requests here. So one that changes something has to come from
// a page of this origin, by its `Origin`, and to carry a token that only such a page can read; and it is JSON, which no
// other origin can send without having been allowed to.

import { randomBytes, timingSafeEqual } from "node:crypto";

const BODY_MAX_BYTES = 1_024;
const TOKEN_BYTES = 16;

/** What a page can ask for. */
const ACTIONS = {
  kill: { run: (beacon) => beacon.kill(), done: "killed" },
  start: { run: (beacon) => beacon.start(), done: "started again" },
};

/**
 * @param {import("./supervisor.mjs").Supervised[]} beacons
 * @returns {{ token: string, answer: (request: import("node:http").IncomingMessage) => Promise<import("./pages.mjs").Answer> }}
 *   `answer` of a GET has the beacons with their states; a POST with `{"token","beacon","action"}` changes one before.
 */
export function offerControl(beacons) {
  const token = randomBytes(TOKEN_BYTES).toString("base64url");
  const isToken = (text) =>
    typeof text === "string" && text.length === token.length && timingSafeEqual(Buffer.from(text), Buffer.from(token));

  const act = async (request) => {
    if (request.headers.origin !== `http://${request.headers.host}`) return refusal(403, "only a page of this origin may ask");
    if (request.headers["content-type"] !== "application/json") return refusal(415, "Content-Type must be application/json");
    const body = await readBody(request);
    if (body === undefined) return refusal(413, `at most ${BODY_MAX_BYTES} bytes`);
    const asked = parse(body);
    if (!isToken(asked.token)) return refusal(403, "the token is not that of this run: load the page again");
    const beacon = beacons.find(({ url }) => url === asked.beacon);
    if (!beacon) return refusal(404, "no such beacon");
    if (!Object.hasOwn(ACTIONS, asked.action)) return refusal(400, `action must be one of ${Object.keys(ACTIONS).join(", ")}`);
    const { run, done } = ACTIONS[asked.action];
    try {
      await run(beacon);
    } catch (error) {
      return refusal(500, error.message);
    }
    console.log(`The beacon at ${beacon.url} was ${done} from the page`);
    return undefined;
  };

  return {
    token,
    async answer(request) {
      if (request.method !== "GET" && request.method !== "POST") return refusal(405, "GET or POST", { Allow: "GET, POST" });
      const refused = request.method === "POST" ? await act(request) : undefined;
      return refused ?? json(200, { beacons: beacons.map(({ url, state }) => ({ url, state })) });
    },
  };
}

/**
 * @param {import("node:http").IncomingMessage} request
 * @returns {Promise<string | undefined>} Undefined where it is too large.
 */
async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** @param {string} body */
function parse(body) {
  try {
    return Object(JSON.parse(body));
  } catch {
    return {};
  }
}

/**
 * @param {number} status
 * @param {string} error
 * @param {Record<string, string>} [headers]
 */
function refusal(status, error, headers = {}) {
  const answer = json(status, { error });
  return { ...answer, headers: { ...answer.headers, ...headers } };
}

/**
 * @param {number} status
 * @param {object} value
 */
function json(status, value) {
  return { status, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) };
}
