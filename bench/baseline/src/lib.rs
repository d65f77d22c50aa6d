//! The baseline: what the runtime, the bindings and the sizes of body and answer cost by themselves.
//!
//! It is built by the same tools with the same settings as the beacon, and does what no beacon can leave out, nothing
//! else. `ANSWER` is the text of every answer; where `THROUGH_OBJECT` is set, the Worker reads the request's body and
//! hands it to an object that reads it too, and the answer comes from there. Out of scope: being of any use.

mod object;

use std::sync::OnceLock;

use worker::js_sys::{Reflect, Uint8Array};
use worker::{Context, Env, Method, Request, RequestInit, Response, Result, event};

const BINDING: &str = "EMPTY";

struct Settings {
    answer: Vec<u8>,
    through_object: bool,
}

/// Returns the settings, which are read once in the life of an isolate.
fn settings(env: &Env) -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let text = |name: &str| Reflect::get(env, &name.into()).ok()?.as_string();
        Settings {
            answer: text("ANSWER").unwrap_or_default().into_bytes(),
            through_object: text("THROUGH_OBJECT").is_some(),
        }
    })
}

fn constant(settings: &Settings) -> Response {
    Response::builder().fixed(settings.answer.clone())
}

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _context: Context) -> Result<Response> {
    let settings = settings(&env);
    if !settings.through_object {
        return Ok(constant(settings));
    }
    let body = request.bytes().await?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(Uint8Array::from(body.as_slice()).into()));
    let request = Request::new_with_init("https://empty/", &init)?;
    env.durable_object(BINDING)?.get_by_name("empty")?.fetch_with_request(request).await
}
