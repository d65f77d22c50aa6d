//! Who a user is: a fingerprint of two public keys.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rendezvous_presence::text_is_hex;

use crate::key::PublicKey;
pub use crate::mailbox::bytes::hex;
use crate::mailbox::bytes::{Address, sha256};

/// Base64 as Olm's libraries write keys and signatures: without padding. With padding, it is read all the same.
const UNPADDED: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes exactly `N` bytes.
pub(super) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    UNPADDED.decode(text).ok()?.try_into().ok()
}

/// Names a user: 32 characters of lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId([u8; 16]);

/// Says that a text is not a user's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user's id is 32 characters of 0-9 a-f")]
pub struct UserIdInvalid;

impl UserId {
    /// Returns under which address the user's mailbox counts among all mailboxes of a relay. No owner key has it.
    pub fn place(&self) -> Address {
        Address::of_hash(sha256(&[b"rendezvous-retalk-place\0", &self.0]))
    }
}

text_is_hex!(UserId, UserIdInvalid);

/// Returns what a user signs to refuse a body, of which `hash` is the SHA-256 of its text.
pub fn refusal_text(user: UserId, hash: &[u8; 32]) -> String {
    format!("nack|{user}|{}", hex(hash))
}

/// Holds a user's two keys, as the user wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    curve25519: String,
    ed25519: String,
    signing_key: PublicKey,
}

impl Identity {
    /// Takes two keys in base64. Absent is what is not 32 bytes each.
    pub fn parse(curve25519: &str, ed25519: &str) -> Option<Self> {
        decode_array::<32>(curve25519)?;
        let signing_key = PublicKey::from_bytes(decode_array(ed25519)?);
        Some(Self { curve25519: curve25519.to_owned(), ed25519: ed25519.to_owned(), signing_key })
    }

    /// Returns the identity key of Olm.
    pub fn identity_key(&self) -> &str {
        &self.curve25519
    }

    /// Returns the key that signs, as text.
    pub fn signing_key(&self) -> &str {
        &self.ed25519
    }

    /// Returns the key that signs.
    pub(super) const fn public_key(&self) -> &PublicKey {
        &self.signing_key
    }

    /// Returns whether a signature, in base64, is this user's word that a body is refused, of which `hash` is the SHA-256.
    pub fn has_refused(&self, hash: &[u8; 32], signature: &str) -> bool {
        decode_array(signature).is_some_and(|signature| {
            self.signing_key.verify(refusal_text(self.user_id(), hash).as_bytes(), &signature).is_ok()
        })
    }

    /// Returns whose keys these are: the beginning of the hash of both as they are written, so that another spelling is
    /// another user.
    pub fn user_id(&self) -> UserId {
        let hash = sha256(&[self.curve25519.as_bytes(), b"|", self.ed25519.as_bytes()]);
        UserId(hash.first_chunk().copied().unwrap_or_default())
    }
}
