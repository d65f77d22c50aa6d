//! Why a mailbox refuses.

use std::time::Duration;

use super::bytes::ContentId;
use super::limits::{REQUEST_MAX_BYTES, STRUCK_OFF_MAX};
use crate::code::Code;
use crate::key::PublicKey;
use crate::time::saturating_millis;

/// Says why a mailbox refuses. [`Refused::code`] is the name of each on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody has opened it here, or it is over.
    #[error("there is no such mailbox here")]
    MailboxUnknown,
    /// The owner has closed it.
    #[error("the owner has closed this mailbox")]
    MailboxClosed,
    /// The record is about another mailbox.
    #[error("the record is about another mailbox than the one in the path")]
    OtherMailbox,
    /// The card does not list this relay.
    #[error("the relays of the card do not name this relay")]
    RelayNotListed,
    /// A revision that is not higher than those before it.
    #[error("the revision must exceed {standing}")]
    StaleRevision {
        /// The highest before it.
        standing: u64,
        /// The record that stands, in its normal form, where there is one to show.
        record: Option<String>,
    },
    /// A policy lists a key that an earlier one had struck off.
    #[error("the slot key {key} was struck off, and cannot be listed again")]
    SlotStruckOff {
        /// The key.
        key: PublicKey,
    },
    /// A policy strikes off more keys than are remembered.
    #[error("no more than {STRUCK_OFF_MAX} slot keys of a mailbox can be struck off")]
    StruckOffFull,
    /// Neither owner nor reader.
    #[error("the key is neither the owner's nor that of a reader")]
    NotAReader,
    /// A request that was served before.
    #[error("this nonce was used before")]
    Replayed,
    /// Neither a contact nor an invite, and requests are closed.
    #[error("the slot key is not listed, and this mailbox takes no requests")]
    SlotUnknown,
    /// A request without a good proof of work.
    #[error("the slot key is not listed, and a request needs a proof of work of {difficulty} bits")]
    ProofRequired {
        /// The zero bits.
        difficulty: u8,
        /// Today, in days since the Unix epoch.
        day: u64,
    },
    /// A request that is too large for its lane.
    #[error("a request has at most {REQUEST_MAX_BYTES} sealed bytes")]
    RequestTooLarge,
    /// The message ended between its check and this call.
    #[error("the message has ended")]
    Expired,
    /// A sequence that is not open.
    #[error("{unacknowledged} of at most {limit} messages wait to be acknowledged")]
    UnacknowledgedLimit {
        /// Messages of the slot that wait.
        unacknowledged: usize,
        /// How many may.
        limit: u8,
        /// The highest sequence that is acknowledged or has ended.
        through: u64,
        /// The sequences below it that are not.
        missing: Vec<u64>,
    },
    /// Too many messages of the slot in one day.
    #[error("the slot has left enough messages for today, the next is taken in {} ms", saturating_millis(*.retry_after))]
    TooManyDeposits {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Another message waits under the same number: the first stands.
    #[error("another message waits under this sequence: {content_id}")]
    SequenceTaken {
        /// What waits.
        content_id: ContentId,
    },
    /// There is no room.
    #[error("the mailbox, or this slot's part of it, is full")]
    MailboxFull,
    /// More missing than may wait of the slot.
    #[error("missing has more sequences than the {limit} that may wait of the slot")]
    TooManyMissing {
        /// How many may.
        limit: u8,
    },
    /// Nobody has put prekeys here, or they are over.
    #[error("there are no prekeys of this mailbox here")]
    PrekeysUnknown,
}

impl Refused {
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MailboxUnknown => Code::MailboxUnknown.as_str(),
            Self::MailboxClosed => Code::MailboxClosed.as_str(),
            Self::OtherMailbox | Self::TooManyMissing { .. } => Code::Malformed.as_str(),
            Self::RelayNotListed => Code::MisdirectedRequest.as_str(),
            Self::StaleRevision { .. } => Code::StaleRevision.as_str(),
            Self::SlotStruckOff { .. } => Code::SlotStruckOff.as_str(),
            Self::NotAReader => Code::NotAReader.as_str(),
            Self::Replayed => Code::Replayed.as_str(),
            Self::SlotUnknown => Code::SlotUnknown.as_str(),
            Self::ProofRequired { .. } => Code::ProofRequired.as_str(),
            Self::RequestTooLarge => Code::SizeNotABucket.as_str(),
            Self::Expired => Code::Expired.as_str(),
            Self::UnacknowledgedLimit { .. } => Code::UnacknowledgedLimit.as_str(),
            Self::TooManyDeposits { .. } => Code::Throttled.as_str(),
            Self::SequenceTaken { .. } => Code::SequenceTaken.as_str(),
            Self::MailboxFull | Self::StruckOffFull => Code::MailboxFull.as_str(),
            Self::PrekeysUnknown => Code::PrekeysUnknown.as_str(),
        }
    }
}
