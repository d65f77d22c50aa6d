//! Why a user's mailbox does not do what it is asked. No message is ever refused: see [`state`](super::state).

use crate::code::Code;

/// Says why a mailbox refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request was served before. Clients look for the first word.
    #[error("replayed request: its nonce was used before")]
    Replayed,
    /// Nobody of this name has published keys here.
    #[error("unknown peer or no published keys: {peer}")]
    UnknownPeer {
        /// The name, as it was asked for.
        peer: String,
    },
    /// All one-time keys are claimed, or this claimer has had its part, and there is no fallback.
    #[error("no prekey is left of this peer, who has published no fallback")]
    NoPrekey,
    /// Who asks has published nothing here, so there is nothing to change.
    #[error("publish keys first: there is no mailbox of this user here")]
    NotPublished,
    /// More requests than are remembered came within five minutes.
    #[error("too many requests for this mailbox, try again in five minutes")]
    TooMany,
}

impl Refused {
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Replayed => Code::Replayed.as_str(),
            Self::UnknownPeer { .. } | Self::NotPublished => Code::MailboxUnknown.as_str(),
            Self::NoPrekey => Code::PrekeysUnknown.as_str(),
            Self::TooMany => Code::Throttled.as_str(),
        }
    }
}
