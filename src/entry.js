// What the runtime calls: the built Worker, without what worker-build puts before every request.
//
// Its entry point is a class behind proxies that are made anew for each request, which takes longer than the beacon's own
// code takes to refuse a body. They are there for what comes after a panic: a new WebAssembly instance, and new objects.

import EntryPoint, { Community, Mailbox } from "../build/index.js";

const { fetch } = EntryPoint.prototype;
/** Of the crate `worker`: its `criticalError` says that code has panicked since. */
const state = globalThis.__worker_init_state;

export { Community, Mailbox };

export default {
  /**
   * @param {Request} request
   * @param {object} env
   * @param {ExecutionContext} ctx
   */
  fetch(request, env, ctx) {
    return state.criticalError ? new EntryPoint(ctx, env).fetch(request) : fetch.call({ env, ctx }, request);
  },
};
