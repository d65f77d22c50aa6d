//! Why a request of goop2's peers is not served, with goop2's statuses: the only file that knows them. Bodies are text.

use std::time::Duration;

use rendezvous_protocol::code::Code;
use rendezvous_protocol::goop2::{GuestRefused, NotListening, PresenceError};
use rendezvous_protocol::limits::GUEST_BODY_MAX_BYTES;
use rendezvous_protocol::request::RequestError;

use crate::answer::{Answer, Content, Outcome, retry_after_header};

/// After this time a connection, or a guest, may have a place.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Says why a request is not served.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Presence(#[from] PresenceError),
    #[error("the body is longer than {GUEST_BODY_MAX_BYTES} bytes")]
    BodyTooLarge,
    #[error("{0}")]
    Body(RequestError),
    #[error("{0}")]
    Guest(#[from] GuestRefused),
    #[error("{0}")]
    NotListening(#[from] NotListening),
    /// `peer_id` is not a name that goop2 makes.
    #[error("peer_id must be the base58btc of an Ed25519 identity")]
    PeerId,
    /// `/ws` without an upgrade to a WebSocket.
    #[error("this path takes an upgrade to a WebSocket of version 13")]
    UpgradeRequired,
    /// A page publishes, or opens a socket: it would use its visitor's network.
    #[error("a page is no guest: goop2's own programs send no Origin")]
    OfPage,
    #[error("there is no place for another connection, here or for this network")]
    ConnectionsFull,
    #[error("too many requests")]
    TooMany { retry_after: Duration },
    #[error("not found")]
    NotFound,
    #[error("this path takes {allow}")]
    MethodNotAllowed { allow: &'static str },
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        match error {
            // It speaks of the limit of tickets.
            RequestError::BodyTooLarge => Self::BodyTooLarge,
            error => Self::Body(error),
        }
    }
}

impl Refusal {
    const fn status(&self) -> u16 {
        match self {
            Self::Presence(_) | Self::PeerId => 400,
            Self::Body(RequestError::BodyTimeout) => 408,
            Self::Body(RequestError::BodiesFull) => 429,
            Self::BodyTooLarge => 413,
            Self::Body(_) => 400,
            Self::OfPage => 421,
            Self::Guest(GuestRefused::Held) | Self::NotListening(NotListening::Held) => 409,
            Self::NotListening(NotListening::Early) => 425,
            Self::UpgradeRequired => 426,
            Self::Guest(GuestRefused::Full | GuestRefused::TooFast { .. })
            | Self::ConnectionsFull
            | Self::TooMany { .. } => 429,
            Self::NotFound => 404,
            Self::MethodNotAllowed { .. } => 405,
        }
    }

    /// Returns the code by which the operator's figures count the refusal.
    const fn code(&self) -> Code {
        match self {
            Self::Body(RequestError::BodiesFull) => Code::Throttled,
            Self::Presence(_) | Self::PeerId | Self::BodyTooLarge | Self::Body(_) => Code::Malformed,
            Self::Guest(GuestRefused::Held) | Self::NotListening(NotListening::Held) => Code::AnotherPeer,
            Self::NotListening(NotListening::Early) => Code::NotListed,
            Self::OfPage => Code::MisdirectedRequest,
            Self::UpgradeRequired => Code::UpgradeRequired,
            Self::Guest(GuestRefused::Full) | Self::ConnectionsFull => Code::LiveFull,
            Self::Guest(GuestRefused::TooFast { .. }) | Self::TooMany { .. } => Code::Throttled,
            Self::NotFound => Code::NotFound,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
        }
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Body(error) => error.retry_after(),
            Self::Guest(GuestRefused::TooFast { retry_after }) | Self::TooMany { retry_after } => Some(*retry_after),
            Self::Guest(GuestRefused::Full) | Self::ConnectionsFull => Some(FULL_RETRY_AFTER),
            _ => None,
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        let mut answer = text(self.status(), &self.to_string());
        answer.headers.extend(self.retry_after().map(retry_after_header));
        match self {
            Self::MethodNotAllowed { allow } => answer.headers.push(("Allow", (*allow).to_owned())),
            Self::UpgradeRequired => {
                answer.headers.push(("Upgrade", "websocket".to_owned()));
                answer.headers.push(("Sec-WebSocket-Version", "13".to_owned()));
            }
            _ => {}
        }
        answer.with_outcome(Outcome::Refused(self.code().as_str()))
    }
}

/// Makes an answer that is a line of text.
pub(crate) fn text(status: u16, line: &str) -> Answer {
    let headers = vec![("Content-Type", "text/plain; charset=utf-8".to_owned())];
    Answer { status, content: Content::Nothing, outcome: Outcome::Served, headers, body: line.to_owned() }
}
