//! Answers: JSON and the headers that every one of them has.

use std::fmt::Write as _;

use rendezvous_protocol::listing::Excerpt;
use serde::Serialize;
use worker::wasm_bindgen::JsValue;
use worker::web_sys::{Headers, Response};

use crate::runtime;

/// An answer, not yet in the hands of the runtime.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content: Content,
    /// What this answer has besides the headers of all, or in their place.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    Json,
    /// RFC 9457.
    Problem,
}

/// A page of any origin may read every answer: there are no cookies and no accounts, so there is nothing to protect
/// from it.
const EVERY_ANSWER: [(&str, &str); 5] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "ETag, Retry-After"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
    // What does not say that it is cacheable is not: an announce, an error.
    ("Cache-Control", "no-store"),
];

thread_local! {
    // Made once, because making them takes longer than all the rest of an answer.
    static HEADERS: Result<[Headers; 3], JsValue> = (|| {
        Ok([
            shared_headers(None)?,
            shared_headers(Some("application/json; charset=utf-8"))?,
            shared_headers(Some("application/problem+json; charset=utf-8"))?,
        ])
    })();
}

fn shared_headers(content_type: Option<&str>) -> Result<Headers, JsValue> {
    let headers = Headers::new()?;
    for (name, value) in EVERY_ANSWER.into_iter().chain(content_type.map(|value| ("Content-Type", value))) {
        headers.set(name, value)?;
    }
    Ok(headers)
}

impl Answer {
    /// An answer of `fields`, a JSON object, and of `since` and `peers` after them.
    pub(crate) fn new(status: u16, content: Content, fields: &impl Serialize, peers: Option<&Excerpt>) -> Self {
        // Texts, numbers and their like can always be written.
        let fields = serde_json::to_string(fields).unwrap_or_default();
        Self { status, content, headers: Vec::new(), body: with_peers(fields, peers) }
    }

    /// 200.
    pub(crate) fn ok(fields: &impl Serialize, peers: Option<&Excerpt>) -> Self {
        Self::new(200, Content::Json, fields, peers)
    }

    /// An answer without a body.
    pub(crate) const fn empty(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        Self { status, content: Content::Nothing, headers, body: String::new() }
    }

    /// The same answer with these headers.
    pub(crate) fn with_headers(self, headers: Vec<(&'static str, String)>) -> Self {
        Self { headers, ..self }
    }

    /// Hands the answer to the runtime.
    pub(crate) fn into_response(self) -> Result<Response, JsValue> {
        self.handed_to(runtime::respond)
    }

    /// The same with [`runtime::respond_counted`].
    pub(crate) fn into_counted_response(self) -> Result<Response, JsValue> {
        self.handed_to(runtime::respond_counted)
    }

    fn handed_to(
        self,
        respond: impl FnOnce(u16, &Headers, Option<&str>, &[u8]) -> Result<Response, JsValue>,
    ) -> Result<Response, JsValue> {
        let mut more = String::new();
        for (name, value) in &self.headers {
            // Writing to a string cannot fail.
            let _ = writeln!(more, "{name}\n{value}");
        }
        let more = Some(more.as_str()).filter(|more| !more.is_empty());
        HEADERS.with(|headers| {
            let [nothing, json, problem] = headers.as_ref().map_err(Clone::clone)?;
            let shared = match self.content {
                Content::Nothing => nothing,
                Content::Json => json,
                Content::Problem => problem,
            };
            respond(self.status, shared, more, self.body.as_bytes())
        })
    }
}

/// A JSON object with two fields more, if there are `peers`.
fn with_peers(fields: String, peers: Option<&Excerpt>) -> String {
    let Some(Excerpt { peers, since }) = peers else { return fields };
    let fields = fields.strip_suffix('}').unwrap_or(&fields);
    [fields, ",\"since\":[", since, "],\"peers\":[", peers, "]}"].concat()
}
