//! Answers: JSON and the headers that every one of them has.

use serde_json::Value;
use worker::{Headers, Response};

/// Tickets in their normal form. They are copied into answers as they are.
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
const EVERY_ANSWER: [(&str, &str); 4] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "ETag, Retry-After"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
];

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
    pub(crate) fn into_response(self) -> worker::Result<Response> {
        let headers = Headers::new();
        for (name, value) in EVERY_ANSWER {
            headers.set(name, value)?;
        }
        if !self.body.is_empty() {
            headers.set("Content-Type", "application/json; charset=utf-8")?;
        }
        // What is not said to be cacheable below is not: an announce, an error.
        headers.set("Cache-Control", "no-store")?;
        for (name, value) in &self.headers {
            headers.set(name, value)?;
        }
        let response = Response::builder().with_status(self.status).with_headers(headers);
        Ok(if self.body.is_empty() { response.empty() } else { response.fixed(self.body.into_bytes()) })
    }
}
