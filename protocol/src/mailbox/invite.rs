//! Invites: how a sender comes to a slot of somebody's mailbox.
//!
//! An invite is a secret. Whoever has it may write, until the owner reads what is written over it or it ends.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::bytes::{Address, Bytes};
use super::relays::{RelaysError, read_relays};
use crate::key::{PrivateKey, PublicKey};
use crate::object::Object;
use crate::origin::Origin;

/// What every invite begins with.
pub const INVITE_SCHEME: &str = "rendezvous:";

/// Characters of an invite.
pub const INVITE_MAX_CHARS: usize = 2_048;

/// Says that a text is not an invite. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// Something else.
    #[error("an invite begins with {INVITE_SCHEME}")]
    Scheme,
    /// More than an invite has.
    #[error("an invite has at most {INVITE_MAX_CHARS} characters")]
    TooLong,
    /// Changed or cut off.
    #[error("the invite was changed or cut off: copy the whole of it, from {INVITE_SCHEME} on")]
    Encoding,
    /// Not what an invite says.
    #[error("the invite does not say whose mailbox it is for, by which slot and at which relays")]
    Fields,
    /// The owner's key is not that of the mailbox.
    #[error("the invite names an owner's key to which the mailbox does not belong")]
    Owner,
    /// Nowhere to leave a message.
    #[error("the invite names no relay")]
    NoRelay,
    /// Something else than relays.
    #[error("in the invite {0}")]
    Relays(#[from] RelaysError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InviteFields {
    k: Bytes<32>,
    m: Address,
    o: PublicKey,
    r: Vec<String>,
}

/// Holds an invite. Its secret is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    seed: [u8; 32],
    owner: PublicKey,
    relays: Vec<Origin>,
}

impl Invite {
    /// Makes an invite to the slot whose key has this seed, 32 bytes from a secure source of randomness.
    ///
    /// # Errors
    /// [`InviteError::Relays`] and [`InviteError::NoRelay`].
    pub fn new(seed: [u8; 32], owner: PublicKey, relays: Vec<Origin>) -> Result<Self, InviteError> {
        Self::of_relays(seed, owner, relays.iter().map(Origin::as_str))
    }

    fn of_relays<'a>(
        seed: [u8; 32],
        owner: PublicKey,
        relays: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InviteError> {
        let relays = read_relays(relays)?;
        if relays.is_empty() { Err(InviteError::NoRelay) } else { Ok(Self { seed, owner, relays }) }
    }

    /// Reads an invite. White space around it changes nothing.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let text = text.trim_ascii();
        if text.len() > INVITE_MAX_CHARS {
            return Err(InviteError::TooLong);
        }
        let encoded = text.strip_prefix(INVITE_SCHEME).ok_or(InviteError::Scheme)?;
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| InviteError::Encoding)?;
        let Object(InviteFields { k, m, o, r }) = serde_json::from_slice(&json).map_err(|_| InviteError::Fields)?;
        if Address::of(&o) != m {
            return Err(InviteError::Owner);
        }
        Self::of_relays(k.0, o, r.iter().map(String::as_str))
    }

    /// Writes the text that the owner gives to the sender.
    ///
    /// # Errors
    /// [`InviteError::TooLong`], if the names of the relays are too long for one.
    pub fn to_text(&self) -> Result<String, InviteError> {
        let Self { seed, owner, relays } = self;
        let r = relays.iter().map(|relay| relay.as_str().to_owned()).collect();
        let fields = InviteFields { k: Bytes(*seed), m: self.mailbox(), o: *owner, r };
        let json = serde_json::to_vec(&fields).map_err(|_| InviteError::Fields)?;
        let text = format!("{INVITE_SCHEME}{}", URL_SAFE_NO_PAD.encode(json));
        if text.len() > INVITE_MAX_CHARS { Err(InviteError::TooLong) } else { Ok(text) }
    }

    /// Returns the key of the slot that the invite is for.
    pub fn slot(&self) -> PrivateKey {
        PrivateKey::from_seed(&self.seed)
    }

    /// Returns the seed of that key.
    pub const fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Returns the key of the mailbox's owner.
    pub const fn owner(&self) -> PublicKey {
        self.owner
    }

    /// Returns the mailbox.
    pub fn mailbox(&self) -> Address {
        Address::of(&self.owner)
    }

    /// Returns the relays at which the mailbox was open when the invite was made.
    pub fn relays(&self) -> &[Origin] {
        &self.relays
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Invite(to {})", self.mailbox())
    }
}
