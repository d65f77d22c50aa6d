//! Why a request of retalk's users is not served, with retalk's shape: the only file that knows these statuses.

use std::time::Duration;

use rendezvous_protocol::canonical::quoted;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::request::RequestError as BodyError;
use rendezvous_protocol::retalk::refused::Refused;
use rendezvous_protocol::retalk::request::RequestError;
use rendezvous_protocol::time::saturating_millis;

use crate::answer::{Answer, Outcome, retry_after_header};
use crate::problem::ANSWERS_UNREAD_RETRY_AFTER;

/// Says why a request is not served. Clients print the text, and look for some of its words.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("{0}")]
    Body(BodyError),
    #[error("{0}")]
    Mailbox(#[from] Refused),
    #[error("too many requests from this address or network, the next is served in {} ms", saturating_millis(*retry_after))]
    TooMany { retry_after: Duration },
    /// Clients of a network, or of all, have too much of their answers still to read.
    #[error("clients of this network have too much of their answers still to read: the same is there later")]
    AnswersUnread,
    /// There is no place for another mailbox.
    #[error("{detail}")]
    NoPlace { detail: String },
    /// A page asks: it would use its visitor's network.
    #[error("a page is no client of this door: its own programs send no Origin")]
    OfPage,
    #[error("not found")]
    NotFound,
    #[error("the relay failed; its operator finds the cause in the log")]
    Internal,
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            // It speaks of the limit of tickets.
            BodyError::BodyTooLarge => Self::Request(RequestError::BodyTooLarge),
            error => Self::Body(error),
        }
    }
}

impl Refusal {
    const fn status(&self) -> u16 {
        match self {
            Self::Request(RequestError::BodyTooLarge) => 413,
            Self::Request(RequestError::SignatureInvalid | RequestError::NotTheOwner) => 403,
            Self::OfPage => 421,
            Self::Body(BodyError::BodyTimeout) => 408,
            Self::Body(BodyError::BodiesFull) => 429,
            Self::Request(_) | Self::Body(_) => 400,
            Self::Mailbox(Refused::Replayed) => 409,
            Self::Mailbox(Refused::UnknownPeer { .. } | Refused::NoPrekey | Refused::NotPublished) | Self::NotFound => {
                404
            }
            Self::Mailbox(Refused::TooMany) | Self::TooMany { .. } | Self::AnswersUnread | Self::NoPlace { .. } => 429,
            Self::Internal => 500,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Request(error) => error.code(),
            Self::Body(error) => error.code(),
            Self::Mailbox(refused) => refused.code(),
            Self::TooMany { .. } | Self::AnswersUnread | Self::NoPlace { .. } => Code::Throttled.as_str(),
            Self::OfPage => Code::MisdirectedRequest.as_str(),
            Self::NotFound => Code::NotFound.as_str(),
            Self::Internal => Code::Internal.as_str(),
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        let (text, code) = (quoted(&self.to_string()), self.code());
        let mut answer = Answer::of_json(format!(r#"{{"error":{text},"code":"{code}"}}"#));
        answer.status = self.status();
        let retry_after = match self {
            Self::Body(error) => error.retry_after(),
            Self::TooMany { retry_after } => Some(*retry_after),
            Self::AnswersUnread => Some(ANSWERS_UNREAD_RETRY_AFTER),
            _ => None,
        };
        answer.headers.extend(retry_after.map(retry_after_header));
        answer.with_outcome(Outcome::Refused(code))
    }
}
