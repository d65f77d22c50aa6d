// How long tests wait. None says how fast a machine is.

/** For what is waited for until it is there, on a machine that has much else to do: only a test that fails waits so long. */
export const PATIENCE_MS = 120_000;

/**
 * What programs are told to wait for an answer where one of those asked never gives any: the others have to answer within it,
 * on such a machine too, and the test lasts as long.
 */
export const SILENCE_MS = 20_000;

/** After this time what was announced outlives a crash, which may cost 10 s: timers of a busy machine are late. */
export const SAFE_AFTER_MS = 15_000;
