//! An object's alarm that could not do its work: it comes again.
//!
//! Of one that throws, because setting it again failed or code has panicked, the runtime itself makes six attempts more, and then
//! drops it. A mailbox whose alarm was lost sets it again when it is asked for anything: see `mailbox.rs`. One that nobody asks any
//! more stays in storage, because nothing else wakes an object. What has ended there is still never handed over.

use std::time::Duration;

use worker::wasm_bindgen::JsValue;
use worker::worker_sys::DurableObjectState;

use crate::environment::{Failure, clock};
use crate::{journal, runtime};

/// What cannot be read or written now may be after this time.
const AGAIN: Duration = Duration::from_secs(3_600);

/// Ends an alarm with what came of it.
///
/// # Errors
/// Where the alarm could not be set again, for the runtime to call it again.
pub(crate) fn end(state: &DurableObjectState, outcome: Result<JsValue, Failure>) -> Result<JsValue, JsValue> {
    outcome.or_else(|failure| set_again(state, "alarm_failed", &failure))
}

/// Says why what an alarm is for was not done, and sets it again. Returns a promise.
pub(crate) fn set_again(
    state: &DurableObjectState,
    event: &'static str,
    failure: &Failure,
) -> Result<JsValue, JsValue> {
    journal::failure(event, failure);
    Ok(runtime::set_alarm(state, clock().after(AGAIN).as_u64() as f64)?.into())
}
