//! The calls of the mailbox of one of retalk's users, and what they are as text.
//!
//! A text is lines. The first names the object, the second says what is asked, and from where or about whom; a request is in the
//! third.

use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::retalk::request::Verified;
use rendezvous_protocol::retalk::user::UserId;

use crate::call::CallError;

/// Comes before the id in the name of the object of a user of retalk.
const RETALK: &str = "retalk:";

const REQUEST: &str = "request";
const CORRESPOND: &str = "correspond";

/// Says what a mailbox is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetalkCall {
    /// What a user has signed.
    Request {
        /// Whose mailbox it is about.
        mailbox: UserId,
        /// The request.
        request: Box<Verified>,
        /// Where it comes from.
        network: HandedOver,
    },
    /// To note that its owner has written to somebody.
    Correspond {
        /// The owner.
        user: UserId,
        /// The other.
        with: UserId,
    },
}

impl RetalkCall {
    /// Returns whose mailbox is called.
    pub const fn object(&self) -> UserId {
        match self {
            Self::Request { mailbox, .. } => *mailbox,
            Self::Correspond { user, .. } => *user,
        }
    }

    /// Returns the name of the object.
    pub fn name(&self) -> String {
        format!("{RETALK}{}", self.object())
    }

    /// Writes the call as text.
    pub fn to_text(&self) -> String {
        let name = self.name();
        match self {
            Self::Request { request, network, .. } => {
                format!("{name}\n{REQUEST} {}\n{}", network.to_text(), request.to_body())
            }
            Self::Correspond { with, .. } => format!("{name}\n{CORRESPOND} {with}"),
        }
    }

    /// Reads what [`RetalkCall::to_text`] wrote. Absent is a text whose first line names no mailbox of one of retalk's users.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn parse(text: &str) -> Option<Result<Self, CallError>> {
        let (owner, rest) = text.strip_prefix(RETALK)?.split_once('\n')?;
        Some(Self::parse_asked(owner.parse().ok()?, rest))
    }

    fn parse_asked(owner: UserId, rest: &str) -> Result<Self, CallError> {
        let (line, body) = rest.split_once('\n').map_or((rest, None), |(line, body)| (line, Some(body)));
        match (line.split_once(' '), body) {
            (Some((REQUEST, network)), Some(body)) => {
                let network = HandedOver::from_text(network).ok_or(CallError::Malformed("no network"))?;
                let request =
                    Verified::trusted(body).map_err(|_| CallError::Malformed("no request of retalk's users"))?;
                Ok(Self::Request { mailbox: owner, request: Box::new(request), network })
            }
            (Some((CORRESPOND, with)), None) => {
                let with = with.parse().map_err(|_| CallError::Malformed("no user"))?;
                Ok(Self::Correspond { user: owner, with })
            }
            _ => Err(CallError::Unknown),
        }
    }
}
