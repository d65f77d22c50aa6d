//! A message that its recipient has not acknowledged: where it is, and by which door it leaves.

use std::fmt;

use rendezvous_protocol::code::Code;
use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// Holds a message that its recipient has not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The id, which the recipient sees too.
    pub id: String,
    /// To whom it goes.
    pub to: UserId,
    /// When it was put into the outbox.
    pub created_at: UnixMillis,
    /// When it was last sent to a relay.
    pub tried_at: Option<UnixMillis>,
    /// Where it is.
    pub state: OutgoingState,
    /// By which door it left, or was tried last.
    pub door: Option<Door>,
}

/// Says where a message in the outbox is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutgoingState {
    /// Here, not encrypted: earlier messages to the same peer come first.
    Queued,
    /// Here, encrypted; no relay has answered yet.
    Encrypted,
    /// At a relay, which has taken it.
    Stored,
    /// Here: the relay has not stored it, for the reason that it names, such as that it has no room.
    NotStored {
        /// The relay's name for the reason.
        code: String,
    },
    /// Here: the relay could not be reached, or has refused the request.
    Failed {
        /// Why.
        reason: String,
    },
    /// Here for good: the recipient has refused it three times.
    Refused,
}

impl fmt::Display for OutgoingState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued => formatter.write_str("waits for earlier messages"),
            Self::Encrypted => formatter.write_str("no relay has answered yet"),
            Self::Stored => formatter.write_str("at the relay, not acknowledged"),
            Self::NotStored { code } => match Code::parse(code) {
                Some(Code::MailboxUnknown) => {
                    write!(
                        formatter,
                        "the relay does not know its recipient any more, who has to come there again: {code}"
                    )
                }
                Some(Code::MailboxFull | Code::UnacknowledgedLimit) => {
                    write!(formatter, "the relay has no room for it: {code}")
                }
                _ => write!(formatter, "the relay has not stored it: {code}"),
            },
            Self::Failed { reason } => formatter.write_str(reason),
            Self::Refused => formatter.write_str("its recipient refuses it"),
        }
    }
}

/// Says by which door of the relay a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// The recipient's mailbox: the relay sees a key that nobody else knows, one of four sizes, and when.
    Mailbox,
    /// The door for retalk's users: the relay sees who writes to whom, how much, and when.
    Retalk {
        /// Why not by the other.
        why: RetalkReason,
    },
}

impl Door {
    /// Returns what scripts call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Retalk { .. } => "retalk",
        }
    }

    /// Returns why it is not the mailbox, where it is not.
    pub const fn why(&self) -> Option<&RetalkReason> {
        match self {
            Self::Mailbox => None,
            Self::Retalk { why } => Some(why),
        }
    }
}

/// Says why a message does not go by its recipient's mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RetalkReason {
    /// The recipient's program has offered none.
    #[error("its recipient has offered no mailbox")]
    NotOffered,
    /// It is not at the relay that the user goes by.
    #[error("the mailbox of its recipient is at another relay")]
    OtherRelay,
    /// Another one, which is not acknowledged yet, went by this door: nothing overtakes it.
    #[error("an earlier message is on its way by this door")]
    EarlierMessage,
    /// More than the largest of the four sizes.
    #[error("it is too long for a mailbox")]
    TooLong,
    /// There is no key to seal to.
    #[error("there is no key to seal to: {reason}")]
    NoKey {
        /// Why.
        reason: String,
    },
    /// What the relay says is the mailbox's card is not one, or another mailbox's.
    #[error("the card of its recipient's mailbox is refused: {reason}")]
    CardRefused {
        /// Why.
        reason: String,
    },
    /// The slot in the mailbox has no number left.
    #[error("all numbers of the slot in its recipient's mailbox are used up")]
    NoNumberLeft,
    /// It could not be sealed to the mailbox's key.
    #[error("it could not be sealed: {reason}")]
    NotSealed {
        /// Why.
        reason: String,
    },
    /// As many messages as are remembered for one mailbox are not acknowledged.
    #[error("too many messages in the mailbox of its recipient are not acknowledged")]
    TooManyUnacknowledged,
    /// The mailbox is full, closed or gone.
    #[error("the mailbox of its recipient refuses it: {code}")]
    Refused {
        /// The relay's name for the reason.
        code: String,
    },
    /// It ended in the mailbox before anybody read it.
    #[error("it ended unread in the mailbox of its recipient")]
    EndedUnread,
    /// The relay answers, and says neither that the mailbox has it nor why not.
    #[error("the relay does not say that the mailbox of its recipient has it")]
    NotTaken,
    /// What answers is not a relay with mailboxes.
    #[error("the relay of its recipient's mailbox does not answer as a relay does")]
    NotARelay,
    /// The mailbox cannot be reached.
    #[error("the mailbox of its recipient cannot be reached: {reason}")]
    Unreached {
        /// Why.
        reason: String,
    },
    /// The mailbox took it, and its recipient has not acknowledged it: it is not taken out of there, or was refused, which
    /// cannot be known there.
    #[error("its recipient has not acknowledged what the mailbox took")]
    NotAcknowledged,
}
