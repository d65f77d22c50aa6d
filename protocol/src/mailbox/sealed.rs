//! The frame of sealed bytes: what stands around the ciphertext, and what binds it to the deposit around that.
//!
//! No cryptography is here: whoever seals or opens brings HPKE (RFC 9180), and gets from here what it takes in and where
//! what comes out of it stands. What is inside is in `plaintext.rs`.

use super::bytes::{Address, sha256};
use super::limits::SEALED_BYTES;
use crate::key::PublicKey;
use crate::time::UnixMillis;

/// Octets by which a sealing key is found.
pub const KEY_ID_BYTES: usize = 8;

/// Octets of the tag at the end of every ciphertext.
pub const TAG_BYTES: usize = 16;

/// Names the algorithms of a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// Suite 0: `DHKEM(X25519, HKDF-SHA256)`, HKDF-SHA256, ChaCha20Poly1305.
    X25519,
    /// Suite 1: X-Wing, TurboSHAKE128, ChaCha20Poly1305. What is recorded today is not opened by a quantum computer later.
    XWing,
}

impl Suite {
    /// Returns the suite with that number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::X25519),
            1 => Some(Self::XWing),
            _ => None,
        }
    }

    /// Returns its number, as cards and sealed bytes have it.
    pub const fn number(self) -> u8 {
        match self {
            Self::X25519 => 0,
            Self::XWing => 1,
        }
    }

    /// Returns the octets of `enc`, by which the recipient comes to the key.
    pub const fn enc_bytes(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1_120,
        }
    }

    /// Returns the octets of sealed bytes that are not the plaintext's.
    const fn bytes_around(self) -> usize {
        1 + KEY_ID_BYTES + self.enc_bytes() + TAG_BYTES
    }

    /// Returns the length of the plaintext that makes the smallest sealed bytes of this suite in which a plaintext of
    /// `least` octets has room. `None`: it has room in none.
    pub fn plaintext_bytes(self, least: usize) -> Option<usize> {
        let sizes = SEALED_BYTES.iter().filter_map(|size| usize::try_from(*size).ok());
        sizes.filter_map(|size| size.checked_sub(self.bytes_around())).find(|room| *room >= least)
    }
}

/// Says why sealed bytes are not shown to anybody. [`SealedError::code`] is the name of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// A length that none have.
    #[error("sealed bytes have 2048, 8192, 32768 or 131072 octets, and these have {found}")]
    Size {
        /// How many.
        found: usize,
    },
    /// A suite of later times.
    #[error("the suite {found} is not known, only 0 and 1")]
    Suite {
        /// What it says.
        found: u8,
    },
    /// Sealed to a key that the reader does not have.
    #[error("it is sealed to a key that is not here, or not any more")]
    KeyUnknown,
    /// Not opened by the key: changed on its way, or for another deposit.
    #[error("the seal does not open: it was changed, or moved from another mailbox, slot, number or life")]
    Broken,
    /// A length that does not fit, or something after the body.
    #[error("the padding is not zero, or the length does not fit")]
    Padding,
    /// Not a body.
    #[error("what is inside is neither a message nor an introduction")]
    Body,
    /// Written for another place.
    #[error("what is inside was written to another mailbox, or for another slot or number")]
    Misdirected,
    /// Not by the key that it says.
    #[error("the signature inside does not fit the sender's key")]
    Signature,
}

impl SealedError {
    /// Returns the name that the specification has for it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Size { .. } => "SIZE_NOT_A_BUCKET",
            Self::Suite { .. } => "SUITE_UNKNOWN",
            Self::KeyUnknown => "SEALING_KEY_UNKNOWN",
            Self::Broken => "SEAL_BROKEN",
            Self::Padding => "PADDING_INVALID",
            Self::Body => "BODY_MALFORMED",
            Self::Misdirected => "BODY_MISDIRECTED",
            Self::Signature => "SIGNATURE_INVALID",
        }
    }
}

/// Holds what a seal is bound to: the deposit around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The mailbox.
    pub mailbox: Address,
    /// The slot key.
    pub slot: PublicKey,
    /// The number of the message in its slot.
    pub sequence: u64,
    /// When the message ends.
    pub expires_at: UnixMillis,
}

impl Place {
    /// Returns what HPKE takes as `info`.
    pub fn info(&self) -> Vec<u8> {
        format!("rendezvous-mailbox-v1/seal\0{}", self.mailbox).into_bytes()
    }

    /// Returns what HPKE takes as `aad`.
    pub fn aad(&self) -> Vec<u8> {
        let Self { slot, sequence, expires_at, .. } = self;
        [slot.as_bytes().as_slice(), &sequence.to_be_bytes(), &expires_at.as_u64().to_be_bytes()].concat()
    }
}

/// Returns what stands for a sealing key in sealed bytes.
pub fn key_id(sealing_key: &[u8]) -> [u8; KEY_ID_BYTES] {
    sha256(&[sealing_key]).first_chunk().copied().unwrap_or_default()
}

/// Holds sealed bytes, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// The algorithms.
    pub suite: Suite,
    /// Which key it is sealed to, by [`key_id`].
    pub key_id: [u8; KEY_ID_BYTES],
    /// By what the recipient comes to the key.
    pub enc: &'a [u8],
    /// The ciphertext with its tag.
    pub ciphertext: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Takes sealed bytes apart.
    ///
    /// # Errors
    /// [`SealedError::Size`] and [`SealedError::Suite`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SealedError> {
        let size = SealedError::Size { found: bytes.len() };
        if !u32::try_from(bytes.len()).is_ok_and(|length| SEALED_BYTES.contains(&length)) {
            return Err(size);
        }
        let (number, rest) = bytes.split_first().ok_or(size)?;
        let suite = Suite::from_number(*number).ok_or(SealedError::Suite { found: *number })?;
        let (key_id, rest) = rest.split_first_chunk().ok_or(size)?;
        let (enc, ciphertext) = rest.split_at_checked(suite.enc_bytes()).ok_or(size)?;
        Ok(Self { suite, key_id: *key_id, enc, ciphertext })
    }

    /// Puts sealed bytes together.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { suite, key_id, enc, ciphertext } = self;
        [[suite.number()].as_slice(), key_id, enc, ciphertext].concat()
    }
}
