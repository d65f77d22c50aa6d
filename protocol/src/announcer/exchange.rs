//! Requests to a beacon, and what its answers mean.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::fields::json_detail;
use crate::object::Object;
use crate::ticket::Ticket;
use crate::time::UnixMillis;

/// Characters of a `detail` that are kept.
const DETAIL_MAX_CHARS: usize = 300;

/// Characters of a `code`.
const CODE_MAX_CHARS: usize = 40;

/// The code of a refusal that names none.
pub const REFUSED: &str = "REFUSED";

/// A request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `GET /healthz`, for the beacon's time.
    Time,
    /// `POST /announce`, with a ticket.
    Announce(Ticket),
    /// `POST /leave`, with a ticket to leave.
    Leave(Ticket),
}

impl Request {
    /// Returns the body to send, if there is one.
    pub fn body(&self) -> Option<String> {
        match self {
            Self::Time => None,
            Self::Announce(ticket) | Self::Leave(ticket) => Some(format!("{{\"ticket\":{}}}", ticket.to_json())),
        }
    }
}

/// Says why a request did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestProblem {
    /// A name for scripts: one of a beacon's codes, or one of the host's.
    pub code: String,
    /// A text for people. Where a beacon wrote it, a stranger did.
    pub detail: String,
}

/// Says what came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The beacon said something.
    Reply(Reply),
    /// Nobody knows whether the beacon did what it was asked: there was no connection, no whole answer, or one that the
    /// beacon failed.
    Failed {
        /// How the request failed.
        problem: RequestProblem,
        /// The time after which the server wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
}

/// Holds what a beacon said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The beacon's clock.
    pub server_time: Option<UnixMillis>,
    /// Whether the beacon did what it was asked.
    pub verdict: Verdict,
}

/// Says whether a beacon did what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The beacon did it.
    Done {
        /// The time after which it wants the next announce.
        announce_after: Option<Duration>,
        /// After an announce: whether the peer has a place in its list.
        listed: bool,
        /// After a request to leave: whether there was somebody to remove.
        left: Option<bool>,
    },
    /// The beacon refused.
    Refused {
        /// Why it refused.
        problem: RequestProblem,
        /// The time after which it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
}

/// A body that is not an answer of a beacon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a beacon's: {0}")]
pub struct NotAReply(String);

/// Every field but `ok` is optional. One with the wrong type counts as absent, except `listed`: only absent, as version
/// 0.1.0 has it, or `true` is a place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReplyFields {
    ok: bool,
    #[serde(default)]
    server_time: Value,
    #[serde(default)]
    announce_after_ms: Value,
    #[serde(default)]
    listed: Value,
    #[serde(default)]
    left: Value,
    #[serde(default)]
    code: Value,
    #[serde(default)]
    detail: Value,
    #[serde(default)]
    retry_after_ms: Value,
}

impl Reply {
    /// Reads the body of any answer of a beacon, errors included. The peers in it are not looked at.
    ///
    /// # Errors
    /// [`NotAReply`], if the body is not JSON with an `ok`.
    pub fn parse(body: &[u8]) -> Result<Self, NotAReply> {
        let Object(fields): Object<ReplyFields> =
            serde_json::from_slice(body).map_err(|error| NotAReply(json_detail(&error)))?;
        let millis = |value: &Value| value.as_u64().map(Duration::from_millis);
        let verdict = if fields.ok {
            Verdict::Done {
                announce_after: millis(&fields.announce_after_ms),
                listed: fields.listed.is_null() || fields.listed.as_bool() == Some(true),
                left: fields.left.as_bool(),
            }
        } else {
            let is_code = |code: &&str| {
                code.len() <= CODE_MAX_CHARS && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            };
            let code = fields.code.as_str().filter(is_code).unwrap_or(REFUSED);
            let detail = fields.detail.as_str().unwrap_or("it does not say why");
            let problem =
                RequestProblem { code: code.to_owned(), detail: detail.chars().take(DETAIL_MAX_CHARS).collect() };
            Verdict::Refused { problem, retry_after: millis(&fields.retry_after_ms) }
        };
        Ok(Self { server_time: fields.server_time.as_u64().and_then(UnixMillis::new), verdict })
    }

    /// Returns whether the beacon refused.
    pub const fn is_refusal(&self) -> bool {
        matches!(self.verdict, Verdict::Refused { .. })
    }

    /// Returns the same reply, with the time of a `Retry-After` header where the body of a refusal has none.
    #[must_use]
    pub fn or_retry_after(mut self, header: Option<Duration>) -> Self {
        if let Verdict::Refused { retry_after, .. } = &mut self.verdict {
            *retry_after = retry_after.or(header);
        }
        self
    }

    /// Makes the reply for an answer that is a refusal, although not a beacon's.
    pub fn refused(code: &str, detail: String, retry_after: Option<Duration>) -> Self {
        let problem = RequestProblem { code: code.to_owned(), detail };
        Self { server_time: None, verdict: Verdict::Refused { problem, retry_after } }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::ANNOUNCE_INTERVAL;

    #[test]
    fn replies_are_read_leniently() {
        let parse = |text: &str| Reply::parse(text.as_bytes());
        let refused = |code: &str, detail: &str| Reply::refused(code, detail.to_owned(), None).verdict;
        let done = |listed| Verdict::Done { announce_after: None, listed, left: None };
        assert_eq!(
            parse(r#"{"ok":true,"accepted":true,"serverTime":7,"announceAfterMs":45000,"peers":[{}]}"#).unwrap(),
            Reply {
                server_time: UnixMillis::new(7),
                verdict: Verdict::Done { announce_after: Some(ANNOUNCE_INTERVAL), listed: true, left: None },
            }
        );
        for (text, verdict) in [
            (r#"{"ok":false,"code":"EXPIRED","detail":"it ended"}"#, refused("EXPIRED", "it ended")),
            (r#"{"ok":false,"code":"<b>","detail":7}"#, refused("REFUSED", "it does not say why")),
            (r#"{"ok":true,"serverTime":9007199254740992}"#, done(true)),
            (r#"{"ok":true,"serverTime":"7","left":1}"#, done(true)),
            (r#"{"ok":true,"listed":true}"#, done(true)),
            (r#"{"ok":true,"listed":null}"#, done(true)),
            (r#"{"ok":true,"accepted":false,"listed":false}"#, done(false)),
            (r#"{"ok":true,"listed":"true"}"#, done(false)),
            (r#"{"ok":false,"listed":true,"code":"STALE_TICKET","detail":"old"}"#, refused("STALE_TICKET", "old")),
        ] {
            assert_eq!(parse(text).unwrap(), Reply { server_time: None, verdict }, "{text}");
        }
        let long = format!(r#"{{"ok":false,"code":"{}","detail":"{}"}}"#, "A".repeat(41), "é".repeat(5_000));
        assert_eq!(parse(&long).unwrap().verdict, refused("REFUSED", &"é".repeat(DETAIL_MAX_CHARS)));
        for text in ["", "[]", "null", "{}", r#"{"ok":1}"#, r#"{"ok":true,"ok":true}"#, "<html>", r#"[true]"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_reply_is_read_or_refused_whatever_it_is(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reply::parse(&body);
        }
    }
}
