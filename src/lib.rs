//! The Worker.
use worker::*;

#[event(fetch)]
async fn fetch(_request: Request, _env: Env, _context: Context) -> Result<Response> {
    Response::ok("{\"ok\":true}")
}

/// One community.
#[durable_object]
pub struct Community {}

impl DurableObject for Community {
    fn new(_state: State, _env: Env) -> Self {
        Self {}
    }
    async fn fetch(&self, _request: Request) -> Result<Response> {
        Response::ok("{}")
    }
}
