//! What can be wrong with a request about registration.

use std::time::Duration;

use rendezvous_protocol::code::Code;
use rendezvous_protocol::rate_limit::RateLimited;
use rendezvous_protocol::registration::{NotConfirmed, RegistrationError, TooManyMails};
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::{Answer, retry_after_header};
use crate::problem::rfc9457::{answer_with_facts, request_status};
use crate::registration::problem_page;

/// Says why a request about registration is not served. Apart from [`Problem`], so that a host without it has nothing of it.
#[derive(Clone, Debug)]
pub(crate) enum RegistrationProblem {
    Request(RequestError),
    MethodNotAllowed {
        /// The methods of this path.
        allow: &'static str,
    },
    RateLimited(RateLimited),
    Registration(RegistrationError),
    TooManyMails(TooManyMails),
    /// A link without its token, or with a part of it.
    LinkBroken,
    /// Another form than the page has, or none.
    OtherForm,
    NotConfirmed(NotConfirmed),
    /// A page of elsewhere presses the button.
    CrossSite,
    /// The cause is in the log, and only there.
    Internal,
}

impl RegistrationProblem {
    const fn code(&self) -> &'static str {
        match self {
            Self::Request(error) => error.code(),
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed.as_str(),
            Self::Registration(error) => error.code(),
            Self::RateLimited(_)
            | Self::TooManyMails(_)
            | Self::NotConfirmed(NotConfirmed::MailboxFull | NotConfirmed::Full) => Code::Throttled.as_str(),
            Self::LinkBroken | Self::OtherForm => Code::Malformed.as_str(),
            Self::NotConfirmed(NotConfirmed::Ended) => Code::Expired.as_str(),
            // Not a code of the protocol: only a browser gets it.
            Self::CrossSite => "CROSS_SITE",
            Self::Internal => Code::Internal.as_str(),
        }
    }

    const fn status(&self) -> u16 {
        match self {
            Self::Request(error) => request_status(error),
            Self::Registration(RegistrationError::BodyTooLarge) => 413,
            Self::Registration(RegistrationError::SignatureInvalid) | Self::CrossSite => 403,
            Self::Registration(RegistrationError::Misdirected { .. }) => 421,
            Self::Registration(_) | Self::LinkBroken | Self::OtherForm => 400,
            Self::MethodNotAllowed { .. } => 405,
            Self::NotConfirmed(NotConfirmed::Ended) => 410,
            Self::RateLimited(_)
            | Self::TooManyMails(_)
            | Self::NotConfirmed(NotConfirmed::MailboxFull | NotConfirmed::Full) => 429,
            Self::Internal => 500,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Request(error) => error.to_string(),
            Self::MethodNotAllowed { allow } => format!("this path takes {allow}"),
            Self::RateLimited(limited) => limited.to_string(),
            Self::Registration(error) => error.to_string(),
            Self::TooManyMails(error) => error.to_string(),
            Self::LinkBroken => {
                "the link is not whole: copy all of it out of the mail, up to the end of its line".to_owned()
            }
            Self::OtherForm => {
                "this is not the form of the page: open the page again, and press its button there".to_owned()
            }
            Self::NotConfirmed(error) => error.to_string(),
            Self::CrossSite => {
                "a page of another site asks: open the link of the mail, and press the button there".to_owned()
            }
            Self::Internal => "the beacon failed; its operator finds the cause in the log".to_owned(),
        }
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request(error) => error.retry_after(),
            Self::RateLimited(limited) => Some(limited.retry_after()),
            Self::TooManyMails(TooManyMails { retry_after }) => Some(*retry_after),
            _ => None,
        }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::from_iter(self.retry_after().map(retry_after_header));
        if let Self::MethodNotAllowed { allow } = self {
            headers.push(("Allow", (*allow).to_owned()));
        }
        headers
    }

    /// Returns the answer to a program.
    pub(crate) fn answer(&self, now: UnixMillis) -> Answer {
        let about = (self.status(), self.code(), self.retry_after());
        answer_with_facts(now, about, &self.detail(), "").with_headers(self.headers())
    }

    /// Returns the answer to a person.
    pub(crate) fn page(&self) -> Answer {
        let mut answer = problem_page(self.status(), self.code(), &self.detail());
        answer.headers.extend(self.headers());
        answer
    }
}

/// Returns the answer of a beacon that could not do its work for a registration: the cause is for the log, and only for it.
pub fn registration_failed(now: UnixMillis) -> Answer {
    RegistrationProblem::Internal.answer(now)
}
