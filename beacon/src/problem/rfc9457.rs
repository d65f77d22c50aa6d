//! How a problem is written (RFC 9457), and what is the same whatever the request is about.

use std::time::Duration;

use rendezvous_protocol::canonical::quoted;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};

use crate::answer::{Answer, Content, Outcome};

/// Writes RFC 9457 with a status, a code and after what time it may be otherwise, and with what a client needs to know to go
/// on: fields, each with a comma behind it.
pub(super) fn answer_with_facts(
    now: UnixMillis,
    (status, code, retry_after): (u16, &'static str, Option<Duration>),
    detail: &str,
    facts: &str,
) -> Answer {
    let detail = quoted(detail);
    let retry_after = retry_after.map(|wait| format!(r#""retryAfterMs":{},"#, saturating_millis(wait)));
    let retry_after = retry_after.unwrap_or_default();
    let title = title(status);
    // As text at once: a derived serialiser is more code.
    let body = format!(
        r#"{{"code":"{code}","detail":{detail},{facts}"ok":false,{retry_after}"serverTime":{now},"status":{status},"title":"{title}","type":"about:blank"}}"#
    );
    Answer { status, content: Content::Problem, ..Answer::of_json(body) }.with_outcome(Outcome::Refused(code))
}

pub(super) fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// Returns the status of a request that cannot be read, whatever it is about.
pub(super) const fn request_status(error: &RequestError) -> u16 {
    match error {
        RequestError::CommunityUnknown(_) => 404,
        RequestError::BodyTimeout => 408,
        RequestError::BodyTooLarge => 413,
        RequestError::BodiesFull => 429,
        _ => 400,
    }
}
