//! From an answer to the runtime's `Response`.

use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::{Answer, Content, EVERY_ANSWER};
use rendezvous_service::problem::internal;
use worker::wasm_bindgen::JsValue;
use worker::web_sys::{Headers, Response};

use crate::environment::Failure;
use crate::{journal, runtime};

thread_local! {
    // Made once, because making them takes longer than all the rest of an answer.
    static HEADERS: Result<[Headers; 3], JsValue> = (|| {
        Ok([shared_headers(Content::Nothing)?, shared_headers(Content::Json)?, shared_headers(Content::Problem)?])
    })();
}

fn shared_headers(content: Content) -> Result<Headers, JsValue> {
    let headers = Headers::new()?;
    let content_type = content.media_type().map(|value| ("Content-Type", value));
    for (name, value) in EVERY_ANSWER.into_iter().chain(content_type) {
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
        let [nothing, json, problem] = headers.as_ref().map_err(Clone::clone)?;
        let shared = match answer.content {
            Content::Nothing => nothing,
            Content::Json => json,
            Content::Problem => problem,
        };
        respond(answer.status, shared, more.as_deref(), answer.body.as_bytes())
    })
}
