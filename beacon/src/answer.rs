//! Answers: JSON and the headers that every one of them has.

use std::fmt::Write as _;
use std::time::Duration;

use rendezvous_protocol::peer_list::Excerpt;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use serde::Serialize;

/// Holds an answer that is not yet in the hands of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What the body is.
    pub content: Content,
    /// What became of the request, for whoever counts.
    pub outcome: Outcome,
    /// The headers that this answer has besides those of its [`Content`], or in their place.
    pub headers: Vec<(&'static str, String)>,
    /// The body, empty where there is none.
    pub body: String,
}

/// Says what became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, and nothing new is listed.
    Served,
    /// A ticket was listed.
    Accepted,
    /// It was refused, with this code.
    Refused(&'static str),
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
    /// A page or a part of one, which is for a browser's window and not for another page's script. Its type is among the
    /// answer's own headers.
    Page,
}

impl Content {
    /// All of them, for a host that makes their headers once.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Json, Self::Problem, Self::Page];

    /// Returns the headers of every answer with such a body.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Nothing => &[SECURE, NO_SNIFFING, OPEN, EXPOSED, NOT_KEPT],
            Self::Json => &[SECURE, NO_SNIFFING, OPEN, EXPOSED, NOT_KEPT, JSON],
            Self::Problem => &[SECURE, NO_SNIFFING, OPEN, EXPOSED, NOT_KEPT, PROBLEM],
            // A page of the beacon loads its own files, asks its own beacon, and is in no frame, search engine or referrer.
            // What peers write into their tickets cannot become a script or a style.
            Self::Page => &[
                SECURE,
                NO_SNIFFING,
                (
                    "Content-Security-Policy",
                    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                ),
                ("Cross-Origin-Opener-Policy", "same-origin"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
                ("Referrer-Policy", "no-referrer"),
                ("X-Robots-Tag", "noindex"),
                ("Cache-Control", "no-cache"),
            ],
        }
    }
}

const SECURE: (&str, &str) = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains");
const NO_SNIFFING: (&str, &str) = ("X-Content-Type-Options", "nosniff");
// A page of any origin may read these answers: there are no cookies and no accounts, so there is nothing to protect from it.
const OPEN: (&str, &str) = ("Access-Control-Allow-Origin", "*");
const EXPOSED: (&str, &str) = ("Access-Control-Expose-Headers", "ETag, Retry-After");
// What does not say that it is cacheable is not: an announce, an error.
const NOT_KEPT: (&str, &str) = ("Cache-Control", "no-store");
const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");
const PROBLEM: (&str, &str) = ("Content-Type", "application/problem+json; charset=utf-8");

impl Answer {
    /// Makes an answer of `fields`, a JSON object, and of `since` and `peers` after them.
    pub(crate) fn new(status: u16, content: Content, fields: &impl Serialize, peers: Option<&Excerpt>) -> Self {
        // Texts, numbers and their like can always be written.
        let fields = serde_json::to_string(fields).unwrap_or_default();
        Self { status, content, outcome: Outcome::Served, headers: Vec::new(), body: with_peers(fields, peers) }
    }

    /// Makes a 200.
    pub(crate) fn ok(fields: &impl Serialize, peers: Option<&Excerpt>) -> Self {
        Self::new(200, Content::Json, fields, peers)
    }

    /// Makes an answer without a body.
    pub(crate) const fn empty(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        Self { status, content: Content::Nothing, outcome: Outcome::Served, headers, body: String::new() }
    }

    /// Makes a 200 of what is JSON already.
    pub(crate) const fn of_json(body: String) -> Self {
        Self { status: 200, content: Content::Json, outcome: Outcome::Served, headers: Vec::new(), body }
    }

    /// Returns the same answer with this outcome.
    pub(crate) fn with_outcome(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
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

/// Returns the header that says after what time to ask again: in whole seconds, and none too few (RFC 9110, section 10.2.3).
pub(crate) fn retry_after_header(wait: Duration) -> (&'static str, String) {
    ("Retry-After", saturating_millis(wait).div_ceil(1_000).to_string())
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
