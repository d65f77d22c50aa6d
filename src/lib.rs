//! The edge beacon: a Cloudflare Worker, and one Durable Object for each community.
//!
//! A thin shell over `rendezvous-protocol`, which decides. The Worker runs at every edge and does what can be done
//! anywhere: parsing, limits, signatures, and lists from its own short memory. A community's object runs once in the
//! world and does only what needs one place: its roster.

mod answer;
mod community;
mod config;
mod journal;
mod lists;
mod objects;
mod problem;
mod rate_limit;
mod rescue;
mod router;
mod runtime;
mod signature;

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
    router::respond(request, env, context)
}
