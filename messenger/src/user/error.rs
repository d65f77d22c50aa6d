//! Why a user cannot do what it is asked.

use rendezvous_capsule::failure::{Cause, Exit};
use rendezvous_capsule::text;
use rendezvous_protocol::retalk::user::UserId;

use super::import_error::ImportError;
use super::naming::NAME_MAX_CHARS;
use super::problem::ProblemCause;
use crate::own::OwnError;
use crate::transport::RelayError;
use crate::vault::VaultError;

/// Says why a user cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The store.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The relay.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// Another program's store.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A relay serves keys that are not those of the id, or not the pinned one.
    #[error("PIN MISMATCH for peer '{peer}': the relay serves other keys than this peer's. No session is begun")]
    PinMismatch {
        /// Whose keys were asked for.
        peer: UserId,
    },
    /// A relay serves a prekey that is none.
    #[error("the relay serves a prekey of {peer} that is none")]
    PrekeyInvalid {
        /// Whose.
        peer: UserId,
    },
    /// The store has no account.
    #[error("the store has no keys: it was not made by this program")]
    AccountAbsent,
    /// The keys in the store are not keys.
    #[error("the keys in the store cannot be used")]
    AccountInvalid,
    /// Nothing to send.
    #[error("a message has at least one character")]
    TextEmpty,
    /// More than one message can carry.
    #[error("a message of {bytes} bytes is too long: one has {most} at most, as JSON")]
    TextTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// The text cannot be written.
    #[error("the message cannot be written as JSON: {reason}")]
    TextUnwritable {
        /// Why.
        reason: String,
    },
    /// To oneself.
    #[error("a user cannot write to itself")]
    ToOneself,
    /// Too many messages wait.
    #[error("{most} messages wait in the outbox: cancel some, or wait until they are acknowledged")]
    OutboxFull {
        /// How many may wait.
        most: usize,
    },
    /// Not a name.
    #[error(
        "a name has 1 to {NAME_MAX_CHARS} printable characters, begins and ends with none that is blank, begins with no ~, \
         and is no id"
    )]
    NameInvalid,
    /// Another contact has the name.
    #[error("{} is the name of another contact", text::printable(.name))]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Another contact has a name that nobody could tell from it.
    #[error("{} looks like {}, which is the name of another contact", text::printable(.name), text::printable(.other))]
    NameConfusable {
        /// The name.
        name: String,
        /// That of the other contact.
        other: String,
    },
    /// Not an invite code.
    #[error("an invite code is a text without spaces, as `rendezvous invite new` prints it on the other side")]
    CodeInvalid,
    /// Too many codes that are good.
    #[error("{most} invite codes can still be redeemed: revoke some first")]
    CodesFull {
        /// How many there may be.
        most: usize,
    },
    /// The own mailbox.
    #[error(transparent)]
    Mailbox(#[from] OwnError),
    /// Not a key.
    #[error("a pin is a peer's identity key: 32 bytes in base64")]
    PinInvalid,
}

impl UserError {
    /// Says that another contact has a name that looks like this one, or is the same.
    pub(super) fn of_taken_name(name: &str, other: String) -> Self {
        let name = name.to_owned();
        if other == name { Self::NameTaken { name } } else { Self::NameConfusable { name, other } }
    }

    /// Returns what this is where it is about one peer, and does not stop what is done for others.
    pub(super) fn into_cause(self) -> Result<ProblemCause, Self> {
        match self {
            Self::Relay(error) => Ok(ProblemCause::Relay(error)),
            Self::PinMismatch { .. } => Ok(ProblemCause::PinMismatch),
            Self::PrekeyInvalid { .. } => Ok(ProblemCause::PrekeyInvalid),
            other => Err(other),
        }
    }
}

impl Cause for UserError {
    fn exit(&self) -> Exit {
        match self {
            Self::Vault(error) => error.exit(),
            Self::Relay(error) => error.exit(),
            Self::PinMismatch { .. } | Self::PrekeyInvalid { .. } => Exit::Refused,
            _ => Exit::Usage,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Vault(error) => error.code(),
            Self::Relay(error) => error.code(),
            Self::PinMismatch { .. } => Some("PIN_MISMATCH"),
            Self::PrekeyInvalid { .. } => Some("PREKEY_INVALID"),
            _ => None,
        }
    }
}
