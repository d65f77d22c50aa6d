//! What can be wrong with a request about the directory.

use std::time::Duration;

use rendezvous_protocol::code::Code;
use rendezvous_protocol::community::CommunityInvalid;
use rendezvous_protocol::directory::exchange::ExchangeRefused;
use rendezvous_protocol::directory::record::RecordError;
use rendezvous_protocol::directory::state::Refused;
use rendezvous_protocol::rate_limit::RateLimited;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::{Answer, retry_after_header};
use crate::problem::rfc9457::{answer_with_facts, request_status};

/// After this time there may be room in a hub: records go after 30 days.
const HUB_FULL_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// A peer that asks too often has asked 60 times in two minutes.
const EXCHANGE_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Says why a request about the directory is not served. Apart from [`Problem`], so that a host without a hub has nothing of
/// it.
#[derive(Clone, Debug)]
pub(crate) enum HubProblem {
    Request(RequestError),
    /// What is in the path is not a name.
    Name(CommunityInvalid),
    /// What is in the query cannot be meant.
    Query(String),
    MethodNotAllowed {
        /// The methods of this path.
        allow: &'static str,
    },
    RateLimited(RateLimited),
    Record(RecordError),
    /// A record of another name than the one in the path.
    OtherName {
        /// The name in the record.
        found: String,
    },
    Refused(Refused),
    /// A hub that this one was not told to trust.
    NotAPeer,
    Exchange(ExchangeRefused),
    /// The cause is in the log, and only there.
    Internal,
}

impl From<RecordError> for HubProblem {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl HubProblem {
    const fn code(&self) -> &'static str {
        match self {
            Self::Request(error) => error.code(),
            Self::Name(_) => Code::CommunityInvalid.as_str(),
            Self::Query(_) | Self::OtherName { .. } => Code::Malformed.as_str(),
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed.as_str(),
            Self::RateLimited(_) | Self::Exchange(ExchangeRefused::TooOften) => Code::Throttled.as_str(),
            Self::Record(error) => error.code(),
            Self::Refused(refused) => refused.code(),
            Self::NotAPeer => Code::UntrustedPublicKey.as_str(),
            Self::Exchange(ExchangeRefused::Replayed) => Code::Replayed.as_str(),
            Self::Internal => Code::Internal.as_str(),
        }
    }

    const fn status(&self) -> u16 {
        match self {
            Self::Request(error) => request_status(error),
            Self::Record(RecordError::BodyTooLarge) => 413,
            Self::Record(RecordError::SignatureInvalid) | Self::Refused(Refused::OriginMismatch) | Self::NotAPeer => {
                403
            }
            Self::Record(RecordError::Misdirected { .. }) => 421,
            Self::Name(_) | Self::Query(_) | Self::OtherName { .. } | Self::Record(_) => 400,
            Self::MethodNotAllowed { .. } => 405,
            Self::Refused(Refused::StaleEntry { .. }) | Self::Exchange(ExchangeRefused::Replayed) => 409,
            Self::RateLimited(_)
            | Self::Refused(Refused::OriginFull { .. } | Refused::HubFull { .. })
            | Self::Exchange(ExchangeRefused::TooOften) => 429,
            Self::Internal => 500,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Request(error) => error.to_string(),
            Self::Name(error) => error.to_string(),
            Self::Query(what) => what.clone(),
            Self::MethodNotAllowed { allow } => format!("this path takes {allow}"),
            Self::RateLimited(limited) => limited.to_string(),
            Self::Record(error) => error.to_string(),
            Self::OtherName { found } => format!("the record is of the name {found}, not of the one in the path"),
            Self::Refused(refused) => refused.to_string(),
            Self::NotAPeer => {
                "this hub was not told to trust the key that signed the exchange: its operator lists peers \
                in HUB_PEERS"
                    .to_owned()
            }
            Self::Exchange(ExchangeRefused::Replayed) => "this exchange was answered before".to_owned(),
            Self::Exchange(ExchangeRefused::TooOften) => "this hub is asked too often".to_owned(),
            Self::Internal => "the hub failed; its operator finds the cause in the log".to_owned(),
        }
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request(error) => error.retry_after(),
            Self::RateLimited(limited) => Some(limited.retry_after()),
            Self::Refused(Refused::OriginFull { .. } | Refused::HubFull { .. }) => Some(HUB_FULL_RETRY_AFTER),
            Self::Exchange(ExchangeRefused::TooOften) => Some(EXCHANGE_RETRY_AFTER),
            _ => None,
        }
    }

    /// Returns the answer.
    pub(crate) fn answer(&self, now: UnixMillis) -> Answer {
        let facts = match self {
            Self::Refused(Refused::StaleEntry { standing }) => format!(r#""standing":{standing},"#),
            _ => String::new(),
        };
        let mut headers = Vec::from_iter(self.retry_after().map(retry_after_header));
        if let Self::MethodNotAllowed { allow } = self {
            headers.push(("Allow", (*allow).to_owned()));
        }
        let about = (self.status(), self.code(), self.retry_after());
        answer_with_facts(now, about, &self.detail(), &facts).with_headers(headers)
    }
}

/// Returns the answer of a hub that could not do its work: the cause is for the log, and only for it.
pub fn hub_failed(now: UnixMillis) -> Answer {
    HubProblem::Internal.answer(now)
}
