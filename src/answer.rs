//! Answers: JSON and the headers that every one of them has.
//!
//! Every call from here into JavaScript costs time, and `worker::Response` makes a dozen of them for each answer. So the
//! headers that hardly differ are one JavaScript object, made once.

use serde_json::Value;
use worker::js_sys::{Object, Reflect, Uint8Array};
use worker::web_sys;

/// Tickets in their normal form, each by itself or some already joined by commas. They are copied into answers as they
/// are.
pub(crate) type Peers<'a> = [&'a str];

/// An answer, not yet in the hands of the runtime.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
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

const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");

thread_local! {
    static EMPTY_HEADERS: Object = record(EVERY_ANSWER);
    static JSON_HEADERS: Object = record(EVERY_ANSWER.into_iter().chain([JSON]));
}

impl Answer {
    /// An answer of `fields`, a JSON object, and of `peers` after them.
    pub(crate) fn new(
        status: u16,
        headers: Vec<(&'static str, String)>,
        fields: &Value,
        peers: Option<&Peers<'_>>,
    ) -> Self {
        let mut body = fields.to_string();
        if let Some(peers) = peers {
            body.pop();
            body.push_str(",\"peers\":[");
            for (position, peer) in peers.iter().enumerate() {
                if position > 0 {
                    body.push(',');
                }
                body.push_str(peer);
            }
            body.push_str("]}");
        }
        Self { status, headers, body }
    }

    /// 200.
    pub(crate) fn ok(fields: &Value, peers: Option<&Peers<'_>>) -> Self {
        Self::new(200, Vec::new(), fields, peers)
    }

    /// An answer without a body.
    pub(crate) const fn empty(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        Self { status, headers, body: String::new() }
    }

    /// Hands the answer to the runtime.
    pub(crate) fn into_response(self) -> worker::Result<web_sys::Response> {
        let init = web_sys::ResponseInit::new();
        init.set_status(self.status);
        init.set_headers_record_from_str_to_str(&self.all_headers());
        let body = (!self.body.is_empty()).then(|| Uint8Array::from(self.body.as_bytes()));
        Ok(web_sys::Response::new_with_opt_js_u8_array_and_init(body.as_ref(), &init)?)
    }

    fn all_headers(&self) -> Object {
        let common = if self.body.is_empty() { &EMPTY_HEADERS } else { &JSON_HEADERS };
        common.with(|common| {
            if self.headers.is_empty() {
                return common.clone();
            }
            let headers = Object::assign(&Object::new(), common);
            for (name, value) in &self.headers {
                set(&headers, name, value);
            }
            headers
        })
    }
}

/// Headers in the form that `Response` and `Request` take: a plain object.
pub(crate) fn record<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Object {
    let record = Object::new();
    for (name, value) in headers {
        set(&record, name, value);
    }
    record
}

fn set(record: &Object, name: &str, value: &str) {
    // Setting a property of a plain object cannot fail.
    let _ = Reflect::set(record, &name.into(), &value.into());
}
