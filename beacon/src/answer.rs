//! Answers: JSON and the headers that every one of them has.

use std::fmt::Write as _;

use rendezvous_protocol::peer_list::Excerpt;
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

/// Holds an answer that is not yet in the hands of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What the body is.
    pub content: Content,
    /// The headers that this answer has besides those of [`EVERY_ANSWER`], or in their place.
    pub headers: Vec<(&'static str, String)>,
    /// The body, empty where there is none.
    pub body: String,
}

/// Says what a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// There is no body.
    Nothing,
    /// JSON.
    Json,
    /// A problem (RFC 9457).
    Problem,
}

impl Content {
    /// Returns the value of `Content-Type`, if there is a body.
    pub const fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Json => Some("application/json; charset=utf-8"),
            Self::Problem => Some("application/problem+json; charset=utf-8"),
        }
    }
}

/// The headers of every answer. A page of any origin may read them all: there are no cookies and no accounts, so there
/// is nothing to protect from it.
pub const EVERY_ANSWER: [(&str, &str); 5] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "ETag, Retry-After"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
    // What does not say that it is cacheable is not: an announce, an error.
    ("Cache-Control", "no-store"),
];

impl Answer {
    /// Makes an answer of `fields`, a JSON object, and of `since` and `peers` after them.
    pub(crate) fn new(status: u16, content: Content, fields: &impl Serialize, peers: Option<&Excerpt>) -> Self {
        // Texts, numbers and their like can always be written.
        let fields = serde_json::to_string(fields).unwrap_or_default();
        Self { status, content, headers: Vec::new(), body: with_peers(fields, peers) }
    }

    /// Makes a 200.
    pub(crate) fn ok(fields: &impl Serialize, peers: Option<&Excerpt>) -> Self {
        Self::new(200, Content::Json, fields, peers)
    }

    /// Makes an answer without a body.
    pub(crate) const fn empty(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        Self { status, content: Content::Nothing, headers, body: String::new() }
    }

    /// Returns the same answer with these headers.
    pub(crate) fn with_headers(self, headers: Vec<(&'static str, String)>) -> Self {
        Self { headers, ..self }
    }

    /// Writes the answer's own headers as lines, a name and then its value.
    pub fn header_lines(&self) -> String {
        let mut lines = String::new();
        for (name, value) in &self.headers {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{name}\n{value}");
        }
        lines
    }
}

/// Returns a JSON object with two fields more, if there are `peers`.
fn with_peers(fields: String, peers: Option<&Excerpt>) -> String {
    let Some(Excerpt { peers, since }) = peers else { return fields };
    let fields = fields.strip_suffix('}').unwrap_or(&fields);
    [fields, ",\"since\":[", since, "],\"peers\":[", peers, "]}"].concat()
}

/// The answer to an announce that is not refused.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnnounceFields<'a> {
    pub(crate) ok: bool,
    pub(crate) accepted: bool,
    pub(crate) listed: bool,
    pub(crate) community: &'a str,
    pub(crate) server_time: UnixMillis,
    pub(crate) expires_at: UnixMillis,
    pub(crate) announce_after_ms: u64,
    /// Everybody who is listed, the caller too.
    pub(crate) total: usize,
}
