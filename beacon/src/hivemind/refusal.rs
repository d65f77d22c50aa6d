//! Why a request of hivemind-rendezvous' users is not served, with its shape: the only file that knows these statuses.

use std::time::Duration;

use rendezvous_protocol::code::Code;
use rendezvous_protocol::hivemind::limits::TIMESTAMP_SKEW_SECONDS;
use rendezvous_protocol::hivemind::refused::Refused;
use rendezvous_protocol::request::RequestError as BodyError;

use crate::answer::{Answer, Outcome, retry_after_header};
use crate::problem::ANSWERS_UNREAD_RETRY_AFTER;

/// Says why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Request(Refused),
    Body(BodyFailure),
    TooMany {
        retry_after: Duration,
    },
    /// Clients of a network, or of all, have too much of their answers still to read.
    AnswersUnread,
    /// There is no place for another mailbox.
    NoPlace {
        retry_after: Duration,
    },
    /// A page asks: it would use its visitor's network.
    OfPage,
    NotFound,
    Internal,
}

/// Says why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFailure {
    Late,
    BrokenOff,
    /// Too many bodies of this network, or in all, are arriving.
    NoRoom,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Request(refused)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::BodyTooLarge => Self::Request(Refused::BodyTooLarge),
            BodyError::BodyTimeout => Self::Body(BodyFailure::Late),
            BodyError::BodiesFull => Self::Body(BodyFailure::NoRoom),
            _ => Self::Body(BodyFailure::BrokenOff),
        }
    }
}

impl Refusal {
    const fn status(self) -> u16 {
        match self {
            Self::Request(Refused::BodyTooLarge) => 413,
            Self::Request(
                Refused::DepositorInvalid | Refused::TimestampInvalid | Refused::Replayed | Refused::SignatureInvalid,
            ) => 401,
            Self::Request(Refused::Full) => 507,
            Self::Body(BodyFailure::Late) => 408,
            Self::Request(Refused::TooManyProofs)
            | Self::Body(BodyFailure::NoRoom)
            | Self::TooMany { .. }
            | Self::AnswersUnread
            | Self::NoPlace { .. } => 429,
            Self::Request(_) | Self::Body(BodyFailure::BrokenOff) => 400,
            Self::OfPage => 421,
            Self::NotFound => 404,
            Self::Internal => 500,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Request(refused) => refused.reason(),
            Self::Body(BodyFailure::Late) => "body_timeout",
            Self::Body(BodyFailure::BrokenOff) => Refused::BodyMalformed.reason(),
            Self::Body(BodyFailure::NoRoom) | Self::TooMany { .. } | Self::AnswersUnread | Self::NoPlace { .. } => {
                Refused::TooManyProofs.reason()
            }
            Self::OfPage => "misdirected_request",
            Self::NotFound => "not_found",
            Self::Internal => "storage_error",
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Request(refused) => refused.code(),
            Self::Body(BodyFailure::Late) => Code::BodyTimeout.as_str(),
            Self::Body(BodyFailure::BrokenOff) => Code::Malformed.as_str(),
            Self::Body(BodyFailure::NoRoom) | Self::TooMany { .. } | Self::AnswersUnread | Self::NoPlace { .. } => {
                Code::Throttled.as_str()
            }
            Self::OfPage => Code::MisdirectedRequest.as_str(),
            Self::NotFound => Code::NotFound.as_str(),
            Self::Internal => Code::Internal.as_str(),
        }
    }

    pub(crate) fn answer(self) -> Answer {
        let reason = self.reason();
        let mut answer = Answer::of_json(format!(r#"{{"status":"error","reason":"{reason}"}}"#));
        answer.status = self.status();
        let retry_after = match self {
            Self::TooMany { retry_after } | Self::NoPlace { retry_after } => Some(retry_after),
            Self::AnswersUnread => Some(ANSWERS_UNREAD_RETRY_AFTER),
            // By then every proof has ended, one that is dated ahead too.
            Self::Request(Refused::TooManyProofs) => Some(Duration::from_secs(2 * TIMESTAMP_SKEW_SECONDS + 1)),
            _ => None,
        };
        answer.headers.extend(retry_after.map(retry_after_header));
        answer.with_outcome(Outcome::Refused(self.code()))
    }
}
