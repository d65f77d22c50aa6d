//! One beacon: its address, its list of peers, and what it says to those who announce themselves.

use std::fmt;
use std::time::Duration;

use rendezvous_protocol::announcer::{Reply, Request, RequestOutcome, RequestProblem, Verdict};
use rendezvous_protocol::beacon_url::{BeaconUrl, BeaconUrlError};
use rendezvous_protocol::code::Code;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::ANSWER_MAX_BYTES;
use ureq::http::StatusCode;

use crate::fetch::{Attempted, Exchanged, FetchError, Fetcher, is_considered};
use crate::text;

/// Beacons, each of which is asked in a thread of its own.
pub(crate) const BEACONS_MAX: usize = 64;

/// The code of a command that needs a beacon, and to which none answers.
pub(crate) const NO_BEACON_ANSWERED: &str = "NO_BEACON_ANSWERED";

/// A beacon, by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon(BeaconUrl);

/// Says why a text is not the address of a beacon. What was given is not repeated: a password may be in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeaconInvalid {
    /// Not an address at all.
    #[error("must be the address of a beacon, like https://beacon.example.org: {0}")]
    Url(BeaconUrlError),
    /// More than an address.
    #[error("must be the address of a beacon without `?` or `#`: the program adds /peers and the community itself")]
    Query,
}

/// Says why a beacon has not told whom it lists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// Nothing came that is a beacon's.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The beacon says why not.
    #[error("refused, {}: {}", .problem.code, text::printable(&.problem.detail))]
    Refused {
        /// The status with it.
        status: StatusCode,
        /// What it says, in its own words.
        problem: RequestProblem,
    },
}

impl AskError {
    /// Returns a name for scripts: that of the beacon, where it gives one.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Fetch(error) => error.code(),
            Self::Refused { problem, .. } => &problem.code,
        }
    }

    /// Returns whether the beacon would say the same a moment later.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_answer(),
            Self::Refused { status, .. } => is_considered(*status),
        }
    }
}

/// Says what can be done where a beacon refuses to list anybody.
pub(crate) fn ask_advice(problem: &RequestProblem) -> &'static str {
    match Code::parse(&problem.code) {
        Some(Code::CommunityUnknown) => UNKNOWN_COMMUNITY_ADVICE,
        Some(Code::Throttled) => "ask again later, or ask another beacon",
        _ => "ask another beacon, or the operator of this one",
    }
}

/// Says what to do where a beacon does not serve the community that it was asked for.
pub(crate) const UNKNOWN_COMMUNITY_ADVICE: &str = "\
    is that how the community is spelt? If so, ask a beacon that serves it, or have the operator of this one add it to \
    COMMUNITIES";

/// Holds what came of asking a beacon for its list.
#[derive(Debug)]
pub(crate) struct BeaconAnswer {
    /// At most one byte more than an answer has, so that whoever reads it sees that it is too long.
    pub(crate) body: Result<Vec<u8>, AskError>,
    /// How often it was asked.
    pub(crate) attempts: u32,
    /// How long it took, waits included.
    pub(crate) took: Duration,
}

impl From<BeaconUrl> for Beacon {
    fn from(url: BeaconUrl) -> Self {
        Self(url)
    }
}

impl Beacon {
    /// Takes `https://host`, also with a port and a path, in any spelling.
    ///
    /// # Errors
    /// [`BeaconInvalid`].
    pub fn parse(text: &str) -> Result<Self, BeaconInvalid> {
        match BeaconUrl::parse(text) {
            Ok(url) => Ok(Self(url)),
            Err(BeaconUrlError::Query) => Err(BeaconInvalid::Query),
            Err(error) => Err(BeaconInvalid::Url(error)),
        }
    }

    /// Returns its address.
    pub(crate) const fn url(&self) -> &BeaconUrl {
        &self.0
    }

    /// Asks for the peers of `community`.
    pub(crate) fn ask(&self, community: &Community, fetcher: &Fetcher, timeout: Duration) -> BeaconAnswer {
        let Attempted { answer, attempts, took } =
            fetcher.get_any(&self.peers_url(community), ANSWER_MAX_BYTES, timeout);
        BeaconAnswer { body: answer.map_err(AskError::Fetch).and_then(list_in), attempts, took }
    }

    /// Makes one request of somebody who announces itself.
    pub(crate) fn send(
        &self,
        request: &Request,
        community: &Community,
        fetcher: &Fetcher,
        timeout: Duration,
    ) -> RequestOutcome {
        let url = match request {
            Request::Time => format!("{self}/healthz"),
            Request::Announce(_) => format!("{self}/announce?community={community}"),
            Request::Leave(_) => format!("{self}/leave?community={community}"),
        };
        match fetcher.exchange(&url, request.body().as_deref(), ANSWER_MAX_BYTES, timeout) {
            Ok(exchanged) => understand(&exchanged),
            Err(error) if error.is_answer() => {
                RequestOutcome::Reply(Reply::refused(error.code(), error.to_string(), None))
            }
            Err(error) => failed(&error, None),
        }
    }

    fn peers_url(&self, community: &Community) -> String {
        // A community's name has nothing in it that a query would have to escape.
        format!("{self}/peers?community={community}")
    }
}

/// Takes what may be a list, and from any other status what a beacon says with it.
fn list_in(exchanged: Exchanged) -> Result<Vec<u8>, AskError> {
    let Exchanged { status, retry_after, body, .. } = exchanged;
    if status == StatusCode::OK {
        return Ok(body);
    }
    match Reply::parse(&body) {
        Ok(Reply { verdict: Verdict::Refused { problem, .. }, .. }) if !status.is_server_error() => {
            Err(AskError::Refused { status, problem })
        }
        _ => Err(FetchError::Status { status, retry_after }.into()),
    }
}

fn understand(Exchanged { status, retry_after, body, .. }: &Exchanged) -> RequestOutcome {
    let (status, retry_after) = (*status, *retry_after);
    let error = FetchError::Status { status, retry_after };
    // Whoever fails may have done what it was asked to all the same.
    if status.is_server_error() {
        return failed(&error, retry_after);
    }
    match Reply::parse(body) {
        Ok(reply) if status == StatusCode::OK || reply.is_refusal() => {
            RequestOutcome::Reply(reply.or_retry_after(retry_after))
        }
        Err(_) if status == StatusCode::TOO_MANY_REQUESTS => failed(&error, retry_after),
        Err(reason) if status == StatusCode::OK => {
            let hint = if looks_like_html(body) { HTML_HINT } else { "" };
            RequestOutcome::Reply(Reply::refused(Code::Malformed.as_str(), format!("{reason}{hint}"), None))
        }
        _ => RequestOutcome::Reply(Reply::refused(error.code(), error.to_string(), retry_after)),
    }
}

fn failed(error: &FetchError, retry_after: Option<Duration>) -> RequestOutcome {
    let problem = RequestProblem { code: error.code().to_owned(), detail: error.to_string() };
    RequestOutcome::Failed { problem, retry_after }
}

/// The commonest reason why an answer is no JSON, which the parser's "expected value at line 1 column 1" hides.
pub(crate) const HTML_HINT: &str = " (it is HTML: is this the address of a beacon?)";

/// Returns whether that is the reason.
pub(crate) fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

impl fmt::Display for Beacon {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_below_the_address() {
        let community = Community::new("a.b_c-D").unwrap();
        for (address, url) in [
            ("https://beacon.example", "https://beacon.example/peers?community=a.b_c-D"),
            ("https://beacon.example/", "https://beacon.example/peers?community=a.b_c-D"),
            ("http://[::1]:8787/eu//", "http://[::1]:8787/eu/peers?community=a.b_c-D"),
        ] {
            assert_eq!(Beacon::parse(address).unwrap().peers_url(&community), url);
        }
    }

    #[test]
    fn what_is_no_beacons_answer_is_told_from_a_failure() {
        let answer = |status: u16, retry_after: Option<u64>, body: &str| {
            let retry_after = retry_after.map(Duration::from_secs);
            let status = StatusCode::from_u16(status).unwrap();
            match understand(&Exchanged { status, retry_after, content_type: None, body: body.into() }) {
                RequestOutcome::Failed { problem, retry_after } => {
                    (false, problem.code, retry_after.map(|wait| wait.as_secs()))
                }
                RequestOutcome::Reply(Reply { verdict: Verdict::Refused { problem, retry_after }, .. }) => {
                    (true, problem.code, retry_after.map(|wait| wait.as_secs()))
                }
                RequestOutcome::Reply(_) => (true, "OK".to_owned(), None),
            }
        };
        let refusal = r#"{"ok":false,"code":"THROTTLED"}"#;
        let asks = r#"{"ok":false,"code":"THROTTLED","retryAfterMs":3000}"#;
        for (status, retry_after, body, answered, code, wait) in [
            (200, None, r#"{"ok":true}"#, true, "OK", None),
            (200, None, asks, true, "THROTTLED", Some(3)),
            (429, Some(7), refusal, true, "THROTTLED", Some(7)),
            (429, Some(7), asks, true, "THROTTLED", Some(3)),
            (429, Some(7), "busy", false, "HTTP_STATUS", Some(7)),
            (500, None, r#"{"ok":false,"code":"INTERNAL"}"#, false, "HTTP_STATUS", None),
            (503, Some(9), "<html>", false, "HTTP_STATUS", Some(9)),
            (404, None, "<html>", true, "HTTP_STATUS", None),
            (403, None, r#"{"ok":true}"#, true, "HTTP_STATUS", None),
            (200, None, "<html>", true, "MALFORMED", None),
        ] {
            assert_eq!(answer(status, retry_after, body), (answered, code.to_owned(), wait), "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_to_list_is_told_in_the_words_of_the_beacon_and_nothing_else_is_taken_for_one() {
        let unknown = r#"{"ok":false,"code":"COMMUNITY_UNKNOWN","detail":"no \u001b[2Jchess here"}"#;
        let throttled = r#"{"ok":false,"code":"THROTTLED","detail":"slower"}"#;
        for (status, body, code, is_answer, line) in [
            (404, unknown, "COMMUNITY_UNKNOWN", true, "refused, COMMUNITY_UNKNOWN: no \\u{1b}[2Jchess here"),
            (429, throttled, "THROTTLED", false, "refused, THROTTLED: slower"),
            (404, "<html>", "HTTP_STATUS", true, "HTTP status 404 Not Found"),
            (404, r#"{"ok":true}"#, "HTTP_STATUS", true, "HTTP status 404 Not Found"),
            (503, unknown, "HTTP_STATUS", false, "HTTP status 503 Service Unavailable"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Exchanged { status, retry_after: None, content_type: None, body: body.into() };
            let error = list_in(answer).unwrap_err();
            let found = (error.code(), error.is_answer(), error.to_string());
            assert_eq!(found, (code, is_answer, line.to_owned()), "{status} {body}");
        }
        let status = StatusCode::OK;
        let answer = Exchanged { status, retry_after: None, content_type: None, body: unknown.into() };
        assert_eq!(list_in(answer), Ok(unknown.into()), "which no list is in: that is said of it where it is read");
    }

    #[test]
    fn an_address_is_all_that_it_takes() {
        for bad in [
            "",
            "beacon.example",
            "https://beacon.example/?x",
            "https://beacon.example/#x",
            "https://u:p@beacon.example",
        ] {
            let error = Beacon::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
