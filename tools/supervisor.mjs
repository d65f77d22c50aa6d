// A beacon that can be killed and started again: at the same address, with the state that it had stored.

/**
 * @typedef {object} Started
 * @property {string} url Where it answers, without a slash at the end.
 * @property {Promise<string>} ended How it ended, in words.
 * @property {() => Promise<unknown>} crash Kills it outright.
 * @property {() => Promise<unknown>} stop
 *
 * @typedef {object} Supervised
 * @property {string} url
 * @property {"running" | "killed" | "starting" | "stopped"} state
 * @property {Promise<string>} ended How it ended, in words, if nobody asked for that.
 * @property {() => Promise<void>} kill One that is not running stays as it is.
 * @property {() => Promise<void>} start One that was not killed stays as it is. Rejects where it cannot start.
 * @property {() => Promise<void>} stop For good.
 */

/**
 * @param {(port: number) => Promise<Started>} launch
 * @param {number} port 0 for any that is free, which it then keeps.
 * @returns {Promise<Supervised>}
 */
export async function supervise(launch, port) {
  let current = await launch(port);
  /** @type {Supervised["state"]} */
  let state = "running";
  const { url } = current;
  let reportEnd;
  const ended = new Promise((resolve) => (reportEnd = resolve));
  const watch = (watched) => void watched.ended.then((how) => watched === current && state === "running" && reportEnd(how));
  watch(current);

  /** Settles when the last of what was asked for is done. */
  let turn = Promise.resolve();
  const inTurn = (work) => {
    const done = turn.then(work);
    turn = done.catch(() => {});
    return done;
  };
  return {
    url,
    ended,
    get state() {
      return state;
    },
    kill: () =>
      inTurn(async () => {
        if (state !== "running") return;
        state = "killed";
        await current.crash();
      }),
    start: () =>
      inTurn(async () => {
        if (state !== "killed") return;
        state = "starting";
        try {
          current = await launch(Number(new URL(url).port) || 80);
          state = "running";
          watch(current);
        } finally {
          if (state === "starting") state = "killed";
        }
      }),
    stop: () =>
      inTurn(async () => {
        const isRunning = state === "running";
        state = "stopped";
        if (isRunning) await current.stop();
      }),
  };
}
