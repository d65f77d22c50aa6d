//! A proof of who somebody is: a timestamp, signed with the key that names a mailbox, for one relay.
//!
//! ```abnf
//! signed  = "hivemind-rendezvous-v1" %x00 key %x00 relay-name %x00 seconds    ; the key as sent
//! seconds = "0" / ( %x31-39 *11DIGIT )                                        ; the number, however it was sent
//! ```
//!
//! RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes (RFC 8017, section 8.1). The host checks it.

use std::time::Duration;

use super::key::RsaKey;
use super::limits::{SECONDS_MAX_DIGITS, SIGNATURE_MAX_BYTES, TIMESTAMP_SKEW_SECONDS};
use crate::base64;
use crate::mailbox::bytes::{Bytes, sha256};
use crate::time::UnixMillis;

const DOMAIN: &[u8] = b"hivemind-rendezvous-v1";

/// Names a proof: the SHA-256 of its signature.
pub type ProofId = Bytes<32>;

/// Holds a proof, whose signature may not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    key: RsaKey,
    seconds: u64,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Proof {
    /// Takes what a client sent. Absent is a signature that is not base64.
    pub(super) fn new(key: RsaKey, seconds: u64, signature: &str, relay_name: &str) -> Option<Self> {
        let signature = base64::decode(signature).filter(|_| signature.len() <= SIGNATURE_MAX_BYTES)?;
        let digits = seconds.to_string();
        let parts = [DOMAIN, key.as_text().as_bytes(), relay_name.as_bytes(), digits.as_bytes()];
        Some(Self { message: parts.join(&0), key, seconds, signature })
    }

    /// Returns the key that it has to be by.
    pub const fn key(&self) -> &RsaKey {
        &self.key
    }

    /// Returns the bytes that are signed.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Returns the signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Returns its name.
    pub fn id(&self) -> ProofId {
        Bytes(sha256(&[&self.signature]))
    }

    /// Returns when it counts no more, whatever the clock says before that.
    pub fn ends_at(&self) -> UnixMillis {
        // To the end of the second.
        let until = self.seconds.saturating_add(TIMESTAMP_SKEW_SECONDS).saturating_add(1);
        UnixMillis::saturating(0).after(Duration::from_secs(until))
    }
}

/// Returns whether a proof of this second counts now.
pub(super) const fn is_current(seconds: u64, now: UnixMillis) -> bool {
    (now.as_u64() / 1_000).abs_diff(seconds) <= TIMESTAMP_SKEW_SECONDS
}

/// Reads a number of seconds: a whole number, or one as text.
pub(super) fn seconds_of(text: &str) -> Option<u64> {
    let is_number = (1..=SECONDS_MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}
