// One at a time: a lock between processes that work on the same checkout, kept as a directory.
//
// The directory holds one file named after the owner's process id. It appears in one rename, complete, and a rename
// over a directory that is not empty fails: so there is no moment at which two processes both hold it, and none at
// which it is there without saying whose it is.

import { rmSync, rmdirSync } from "node:fs";
import { mkdir, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { interruption } from "./steps.mjs";

const POLL_MS = 250;
/** An owner touches its file this often ... */
const HEARTBEAT_MS = 10_000;
/** ... and one that has not for this long is gone, even where its process id lives on as another program. */
const STALE_MS = 60_000;

/**
 * Waits for the lock, does the work, releases the lock.
 *
 * @template T
 * @param {string} path The lock's directory.
 * @param {() => Promise<T>} work
 * @param {{ busy?: (owner: string) => Error }} [options] `busy` makes what is thrown, in place of waiting, where a process
 *   has the lock.
 * @returns {Promise<T>}
 */
export async function withLock(path, work, { busy } = {}) {
  const owner = String(process.pid);
  const file = join(path, owner);
  await acquire(path, owner, busy);
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => {});
  }, HEARTBEAT_MS).unref();
  const release = () => {
    rmSync(file, { force: true });
    try {
      rmdirSync(path);
    } catch {
      // Somebody else has taken it already.
    }
  };
  process.once("exit", release);
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    process.removeListener("exit", release);
    release();
  }
}

/**
 * @param {string} path
 * @param {string} owner
 * @param {(owner: string) => Error} [busy]
 */
async function acquire(path, owner, busy) {
  const prepared = `${path}.${owner}`;
  await mkdir(dirname(path), { recursive: true });
  await rm(prepared, { recursive: true, force: true });
  await mkdir(prepared);
  await writeFile(join(prepared, owner), "");
  try {
    await renameOnceFree(prepared, path, busy);
  } finally {
    await rm(prepared, { recursive: true, force: true });
  }
}

/**
 * @param {string} prepared
 * @param {string} path
 * @param {(owner: string) => Error} [busy]
 */
async function renameOnceFree(prepared, path, busy) {
  let waitingFor;
  for (;;) {
    try {
      return await rename(prepared, path);
    } catch (error) {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    }
    for (const holder of await readdir(path).catch(() => [])) {
      if (await isStale(join(path, holder), holder)) {
        // Only the entry that was judged goes: a lock that somebody else has taken since keeps its own.
        await rm(join(path, holder), { force: true });
      } else if (busy !== undefined) {
        throw busy(holder);
      } else if (holder !== waitingFor) {
        waitingFor = holder;
        console.error(`==> Waiting for process ${holder}, which is setting up or building in this checkout`);
      }
    }
    await delay(POLL_MS, undefined, { signal: interruption });
  }
}

/**
 * @param {string} file
 * @param {string} holder
 * @returns {Promise<boolean>}
 */
async function isStale(file, holder) {
  // A process of ours holds no lock while it waits for one: this is an earlier process with the same id.
  if (holder === String(process.pid)) return true;
  try {
    process.kill(Number(holder), 0);
  } catch (error) {
    if (error.code === "ESRCH") return true;
  }
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() }));
  return Date.now() - mtimeMs > STALE_MS;
}
