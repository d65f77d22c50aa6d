//! Waiting for a promise, in one call of the runtime.
//!
//! A future would read better, but its executor takes a microtask for every step. And a closure of its own for every
//! wait would be one more thing for the garbage collector of JavaScript to finalise.

use std::cell::RefCell;

use rendezvous_protocol::time::UnixMillis;
use slab::Slab;
use worker::js_sys::Promise;
use worker::wasm_bindgen::prelude::*;

use crate::environment::Failure;
use crate::{respond, runtime};

type Continuation = Box<dyn FnOnce(UnixMillis, Result<JsValue, JsValue>) -> Result<JsValue, JsValue>>;

thread_local! {
    static WAITING: RefCell<Slab<Continuation>> = const { RefCell::new(Slab::new()) };
    static RESUME: Closure<runtime::Resume> = Closure::new(|waiting, value, failed, now: f64| {
        let next = WAITING.with_borrow_mut(|continuations| continuations.try_remove(waiting));
        let next = next.ok_or_else(|| JsValue::from("nobody waits for this"))?;
        next(UnixMillis::saturating(now as u64), if failed { Err(value) } else { Ok(value) })
    });
}

/// Returns a promise of what `next` makes of what `promise` comes to, and of the time when it does.
pub(crate) fn after(
    promise: &Promise,
    next: impl FnOnce(UnixMillis, Result<JsValue, JsValue>) -> Result<JsValue, Failure> + 'static,
) -> Result<JsValue, Failure> {
    let next = move |now, value| answered(now, next(now, value));
    let waiting = WAITING.with_borrow_mut(|continuations| continuations.insert(Box::new(next)));
    Ok(RESUME.with(|resume| runtime::settle(promise, resume, waiting))?)
}

/// Returns the answer, or the one that says that there is none.
pub(crate) fn answered(now: UnixMillis, answer: Result<JsValue, Failure>) -> Result<JsValue, JsValue> {
    answer.or_else(|failure| Ok(respond::with_failure(now, &failure)?.into()))
}
