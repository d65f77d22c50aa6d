//! The edge beacon: a Cloudflare Worker, and one Durable Object for each community and for each mailbox.
//!
//! A host of `rendezvous-service`, which decides what happens: here its steps and effects are carried out. The Worker
//! runs at every edge and does what can be done anywhere. A community's object runs once in the world.

mod alarm;
mod bodies;
mod community;
mod connections;
mod edge;
mod environment;
#[cfg(feature = "fault-injection")]
mod faults;
mod guests;
mod isolate;
mod journal;
mod listening;
mod live;
mod mailbox;
mod rescue;
mod respond;
mod runtime;
mod sockets;
mod waiting;

use worker::wasm_bindgen::prelude::*;
use worker::{Env, event, web_sys};

#[event(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| {
        console_error_panic_hook::hook(panic);
        rescue::after_panic();
    }));
}

/// Answers a request, with a `Response` or with a promise of one.
///
/// It is exported as it stands, not by `worker`'s macro, which makes a promise of every answer. `entry.js` calls it.
#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
pub fn fetch(request: web_sys::Request, env: Env, context: JsValue) -> Result<JsValue, JsValue> {
    edge::respond(request, env, context)
}
