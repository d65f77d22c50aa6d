//! What could not be done for one peer, while the rest was.

use std::fmt;

use rendezvous_protocol::retalk::user::UserId;

use super::invite_code::RequestRefusal;
use crate::transport::RelayError;

/// Says what could not be done for one peer. The rest was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whom it is about, if it is about one peer.
    pub peer: Option<UserId>,
    /// What it is.
    pub cause: ProblemCause,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(formatter, "{peer}: {}", self.cause),
            None => write!(formatter, "{}", self.cause),
        }
    }
}

/// Says why something could not be done for a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemCause {
    /// A relay serves keys that are not those of the id, or not the pinned one.
    #[error(
        "PIN MISMATCH: the relay serves other keys than this peer's; its messages wait until the relay serves the right ones"
    )]
    PinMismatch,
    /// The relay serves a prekey that is none.
    #[error("the relay serves a prekey that is none")]
    PrekeyInvalid,
    /// A message of a blocked peer was refused.
    #[error("a message was refused: its sender is blocked")]
    Blocked,
    /// A message of somebody who is no contact was refused.
    #[error("a message was refused: its sender is no contact")]
    Stranger,
    /// A request to be made a contact was refused.
    #[error("a request to be made a contact was refused: {refusal}")]
    RequestRefused {
        /// Why.
        refusal: RequestRefusal,
    },
    /// A message was refused that no session opens.
    #[error("a message was refused that no session opens; its sender is told, and may send it again in a new one")]
    Undecryptable,
    /// A message was refused that opened, and is none.
    #[error("a message was refused that no known client writes")]
    Unreadable,
    /// A relay handed over what is no message.
    #[error("the relay handed over what is no message")]
    NoMessage,
    /// A peer has refused a message for good.
    #[error("a message was refused by its recipient for the third time, and is not sent again")]
    Refused,
    /// A message was given up, because its sender's keys could not be had.
    #[error("a message was given up: for a week no relay had the keys of its sender")]
    GivenUp,
    /// A peer's program has offered a mailbox, and the offer breaks the rules.
    #[error("the offer of a mailbox cannot be read: messages to it go on by the door for retalk's users")]
    OfferUnreadable,
    /// The own mailbox could not be looked into.
    #[error("the own mailbox: {reason}")]
    Mailbox {
        /// Why.
        reason: String,
    },
    /// A message waits in the own mailbox over a slot that this store does not know.
    #[error(
        "the own mailbox has a message of a contact whom a newer copy of this store listed: it comes by the other door"
    )]
    SlotUnknown,
    /// The relay.
    #[error("{0}")]
    Relay(RelayError),
}
