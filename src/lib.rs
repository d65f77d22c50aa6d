//! The edge beacon: a Cloudflare Worker, and one Durable Object for each community.
//!
//! A thin shell over `rendezvous-protocol`, which decides. The Worker runs at every edge and does what can be done
//! anywhere: parsing, limits, signatures, and lists from its own short memory. A community's object runs once in the
//! world and does only what needs one place: its roster.

mod answer;
mod body;
mod community;
mod config;
mod journal;
mod listings;
mod problem;
mod rescue;
mod router;
mod signature;
mod throttle;

use worker::{Context, Env, event, web_sys};

#[event(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| {
        console_error_panic_hook::hook(panic);
        rescue::after_panic();
    }));
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, _context: Context) -> worker::Result<web_sys::Response> {
    router::respond(request, &env).await
}
