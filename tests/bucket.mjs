// A bucket with S3's interface, as far as workerd's cluster mode uses it: objects in memory, conditional writes, lists. Whoever
// asks is believed: signatures are the business of the store that an operator chooses.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/** What one list has at most, as S3's. */
const LIST_MOST = 1_000;

/**
 * @returns {Promise<{ url: string, objects: Map<string, Buffer>, counts: Record<string, number>, stop: () => Promise<void> }>}
 */
export async function startBucket() {
  /** By the path, which begins with the bucket's name. */
  const objects = new Map();
  /** Requests by method. */
  const counts = {};
  const server = createServer(async (request, response) => {
    counts[request.method] = (counts[request.method] ?? 0) + 1;
    const { pathname, searchParams } = new URL(request.url, "http://bucket");
    const path = decodeURIComponent(pathname);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const answer = (status, headers = {}, body = "") => {
      response.writeHead(status, { "Content-Length": Buffer.byteLength(body), ...headers });
      response.end(request.method === "HEAD" ? undefined : body);
    };
    const found = objects.get(path);
    if (request.method === "PUT") {
      const [isNew, isOf] = [request.headers["if-none-match"], request.headers["if-match"]];
      const fails = (isNew !== undefined && found) || (isOf !== undefined && (!found || tag(found) !== isOf));
      if (fails) return answer(412, { "Content-Type": "application/xml" }, error("PreconditionFailed"));
      const content = unpacked(Buffer.concat(chunks), request.headers);
      objects.set(path, content);
      return answer(200, { ETag: tag(content) });
    }
    if (request.method === "DELETE") {
      if (request.headers["if-match"] !== undefined && (!found || tag(found) !== request.headers["if-match"])) {
        return answer(412, { "Content-Type": "application/xml" }, error("PreconditionFailed"));
      }
      objects.delete(path);
      return answer(204);
    }
    if (request.method === "GET" && searchParams.get("list-type") === "2") {
      return answer(200, { "Content-Type": "application/xml" }, list(objects, path.split("/")[1], searchParams));
    }
    if (request.method === "GET" || request.method === "HEAD") {
      if (!found) return answer(404, { "Content-Type": "application/xml" }, error("NoSuchKey"));
      const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
      const [start, end] = range ? [Number(range[1]), range[2] === "" ? found.length : Number(range[2]) + 1] : [0, found.length];
      const part = found.subarray(start, end);
      const headers = { ETag: tag(found), "Last-Modified": new Date(0).toUTCString(), "Content-Type": "application/octet-stream" };
      if (range) headers["Content-Range"] = `bytes ${start}-${start + part.length - 1}/${found.length}`;
      return answer(range ? 206 : 200, headers, part);
    }
    return answer(501, { "Content-Type": "application/xml" }, error("NotImplemented"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    objects,
    counts,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** @param {Buffer} content */
function tag(content) {
  return `"${createHash("md5").update(content).digest("hex")}"`;
}

/** A body that is signed in chunks has a line before each of them (Signature Version 4, "aws-chunked"). */
function unpacked(body, headers) {
  if (!/aws-chunked|STREAMING-/.test(`${headers["content-encoding"]} ${headers["x-amz-content-sha256"]}`)) return body;
  const parts = [];
  for (let at = 0; ; ) {
    const end = body.indexOf("\r\n", at);
    const length = Number.parseInt(body.subarray(at, end).toString(), 16);
    if (!(length > 0)) return Buffer.concat(parts);
    parts.push(body.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
}

function error(code) {
  return `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
}

function list(objects, bucket, query) {
  const text = (value) => value.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
  const [prefix, delimiter] = [query.get("prefix") ?? "", query.get("delimiter")];
  const after = query.get("continuation-token") ?? query.get("start-after") ?? "";
  const base = `/${bucket}/`;
  const keys = [...objects.keys()].filter((path) => path.startsWith(base + prefix)).map((path) => path.slice(base.length));
  const folders = new Set();
  const found = keys.sort().filter((key) => {
    const end = delimiter ? key.indexOf(delimiter, prefix.length) : -1;
    if (end >= 0) folders.add(key.slice(0, end + 1));
    return end < 0 && key > after;
  });
  const most = Math.min(Number(query.get("max-keys") ?? LIST_MOST), LIST_MOST);
  const page = found.slice(0, most);
  const contents = page.map((key) => {
    const content = objects.get(base + key);
    return `<Contents><Key>${text(key)}</Key><LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>${text(tag(content))}</ETag><Size>${content.length}</Size></Contents>`;
  });
  const prefixes = [...folders].sort().map((folder) => `<CommonPrefixes><Prefix>${text(folder)}</Prefix></CommonPrefixes>`);
  const more = found.length > most;
  const next = more ? `<NextContinuationToken>${text(page.at(-1))}</NextContinuationToken>` : "";
  return `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>${bucket}</Name><Prefix>${text(prefix)}</Prefix><KeyCount>${page.length}</KeyCount><MaxKeys>${most}</MaxKeys><IsTruncated>${more}</IsTruncated>${next}${contents.join("")}${prefixes.join("")}</ListBucketResult>`;
}
