//! Clients' connections that stay, of whatever kind: which one something has happened to, and what comes of that.
//!
//! The client's end is here, and a second socket goes on to an object, which may hibernate meanwhile. What is pushed comes
//! from there as text.

use std::cell::RefCell;

use rendezvous_protocol::time::UnixMillis;
use slab::Slab;
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::Response;

use crate::runtime::{self, Relay};

/// What has happened to a connection: the numbers that `runtime.js` gives these events.
pub(crate) mod event {
    // 0 is that it is open.
    pub(crate) const TEXT: u32 = 1;
    pub(crate) const BINARY: u32 = 2;
    pub(crate) const TOO_LONG: u32 = 3;
    pub(crate) const PUSHED: u32 = 4;
    pub(crate) const OBJECT_ENDED: u32 = 5;
    pub(crate) const VERIFIED: u32 = 6;
    pub(crate) const READ: u32 = 7;
    pub(crate) const DUE: u32 = 8;
    /// The client has gone.
    pub(super) const GONE: u32 = 9;
}

/// Is a connection of one kind.
pub(crate) trait Served {
    /// Takes what has happened to it: one of the numbers of [`event`], of which those that mean nothing to it are left
    /// aside.
    fn take(&mut self, now: UnixMillis, what: u32, value: &JsValue);

    /// Does what it wants done, up to its end, of which the number and the reason are returned.
    fn carry_out(&mut self, now: UnixMillis, relay: &Relay) -> Result<Option<(u16, &'static str)>, JsValue>;

    /// Returns when the next [`event::DUE`] is due.
    fn next_deadline(&self) -> UnixMillis;
}

thread_local! {
    static CONNECTIONS: RefCell<Slab<Box<dyn Served>>> = const { RefCell::new(Slab::new()) };
    static TAKE: Closure<runtime::Take> = Closure::new(take);
}

/// Serves a connection: `begin` lets the runtime tell of it under a number. Returns the answer to its client.
pub(crate) fn serve(
    served: Box<dyn Served>,
    begin: impl FnOnce(&Closure<runtime::Take>, usize) -> Result<Response, JsValue>,
) -> Result<Response, JsValue> {
    let id = CONNECTIONS.with_borrow_mut(|connections| connections.insert(served));
    let answer = TAKE.with(|take| begin(take, id));
    if answer.is_err() {
        // Unless it has ended meanwhile.
        CONNECTIONS.with_borrow_mut(|connections| connections.try_remove(id));
    }
    answer
}

/// Takes what has happened to a connection. Returns when the next [`event::DUE`] is due.
fn take(relay: Relay, id: usize, what: u32, value: JsValue, now: f64) -> Result<f64, JsValue> {
    let now = UnixMillis::saturating(now as u64);
    CONNECTIONS.with_borrow_mut(|connections| {
        let served = connections.get_mut(id).ok_or("there is no such connection")?;
        let outcome = if what == event::GONE {
            Ok(None)
        } else {
            served.take(now, what, &value);
            match served.carry_out(now, &relay) {
                Ok(None) => return Ok(served.next_deadline().as_u64() as f64),
                outcome => outcome,
            }
        };
        connections.try_remove(id);
        if let Some((code, reason)) = outcome? {
            relay.end(code, reason);
        }
        Ok(f64::INFINITY)
    })
}
