//! From an answer to the runtime's `Response`.

use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::{Answer, Content};
use rendezvous_service::asset::Asset;
use rendezvous_service::problem::internal;
use worker::Env;
use worker::js_sys::Promise;
use worker::wasm_bindgen::JsValue;
use worker::web_sys::{Headers, Response};

use crate::environment::Failure;
use crate::{journal, runtime};

thread_local! {
    // Made once, because making them takes longer than all the rest of an answer.
    static HEADERS: Result<Vec<Headers>, JsValue> = Content::ALL.into_iter().map(shared_headers).collect();
}

fn shared_headers(content: Content) -> Result<Headers, JsValue> {
    let headers = Headers::new()?;
    for (name, value) in content.headers() {
        headers.set(name, value)?;
    }
    Ok(headers)
}

/// Hands an answer to the runtime.
pub(crate) fn with(answer: &Answer) -> Result<Response, JsValue> {
    hand_over(answer, runtime::respond)
}

/// Does the same with [`runtime::respond_counted`].
pub(crate) fn counted_with(answer: &Answer) -> Result<Response, JsValue> {
    hand_over(answer, runtime::respond_counted)
}

/// Returns the headers of an answer without a body.
pub(crate) fn bare_headers() -> Result<Headers, JsValue> {
    shared_headers(Content::Nothing)
}

/// Writes headers as lines, a name and then its value.
pub(crate) fn lines(headers: &[(&str, &str)]) -> String {
    headers.iter().flat_map(|(name, value)| [name, "\n", value, "\n"]).collect()
}

/// Lets the runtime answer with a file.
pub(crate) fn with_asset(env: &Env, asset: Asset) -> Result<Promise, JsValue> {
    let answer = asset.answer(String::new());
    let lines = lines(answer.content.headers()) + &answer.header_lines();
    runtime::respond_with_asset(env, asset.file, &lines)
}

/// Logs a failure in full and answers without detail.
pub(crate) fn with_failure(now: UnixMillis, failure: &Failure) -> Result<Response, JsValue> {
    journal::failure("request_failed", failure);
    with(&internal(now))
}

fn hand_over(
    answer: &Answer,
    respond: impl FnOnce(u16, &Headers, Option<&str>, &[u8]) -> Result<Response, JsValue>,
) -> Result<Response, JsValue> {
    let more = Some(answer.header_lines()).filter(|more| !more.is_empty());
    HEADERS.with(|headers| {
        let headers = headers.as_ref().map_err(Clone::clone)?;
        let shared = Content::ALL.into_iter().zip(headers).find(|(content, _)| *content == answer.content);
        let (_, shared) = shared.ok_or("an answer of another kind than all")?;
        respond(answer.status, shared, more.as_deref(), answer.body.as_bytes())
    })
}
