//! The secret of one community's object: what nobody outside may predict, choose or recognise hangs on it.
//!
//! Hashes are SipHash-2-4, a pseudo-random function, under one key of 16 random bytes that stays where it was made. The
//! purpose is part of what is hashed, so that a value of one kind says nothing about a value of another. `mix` has no key:
//! it spreads out what is secret already.

use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::key::PublicKey;
use crate::time::UnixMillis;

/// Says what a value is used for. Snapshots hold hashes, so the numbers never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum HashPurpose {
    /// A hash that stands for a part of the network.
    Network = 1,
    /// Who of equals has to go in an epoch.
    Rank = 2,
    /// The seed of a drawn answer.
    Seed = 4,
    /// Whether two texts are equal.
    Comparison = 5,
    /// The epoch of a log of changes.
    Live = 6,
    /// What stands for a key where nobody is to recognise it.
    Pseudonym = 7,
    /// Which origin's turn comes first in a list.
    Turn = 8,
    /// Which responder of the local network is heard before others.
    Responder = 9,
}

/// Mixes a number that nobody outside knows into one that looks unlike it: the output function of SplitMix64, a
/// bijection. Whoever knows the one knows the other.
pub(crate) const fn mix(secret: u64) -> u64 {
    let mixed = (secret ^ (secret >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Maps evenly distributed numbers evenly onto those below `bound`, which is at most 2^32: without the division that a
/// remainder takes.
pub(crate) const fn below(bound: u64, mixed: u64) -> u64 {
    ((mixed >> 32) * bound) >> 32
}

/// Holds a key of 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl Secret {
    /// Takes 16 bytes from a secure source of randomness.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes, for the storage of the object that made them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns whether two texts are equal, by their hashes: how long that takes says nothing of where they differ, because
    /// nobody outside can choose or predict a hash.
    pub fn are_equal(&self, one: &[u8], other: &[u8]) -> bool {
        self.hash(HashPurpose::Comparison, &[one]) == self.hash(HashPurpose::Comparison, &[other])
    }

    /// Returns the epoch of the log of changes that began at `since`.
    pub fn live_epoch(&self, since: UnixMillis) -> u32 {
        (self.hash(HashPurpose::Live, &[&since.as_u64().to_be_bytes()]) >> 32) as u32
    }

    /// Returns a number that stands for a key, and by which nobody recognises the key who does not have this secret.
    pub fn pseudonym(&self, key: &PublicKey) -> u64 {
        self.hash(HashPurpose::Pseudonym, &[key.as_bytes()])
    }

    /// Returns the number by which an origin's turn comes in a list of that epoch, the lowest first.
    pub fn turn(&self, epoch: u64, origin: &PublicKey) -> u64 {
        self.hash(HashPurpose::Turn, &[&epoch.to_be_bytes(), origin.as_bytes()])
    }

    /// Returns the number by which a responder of the local network is heard, the lowest first.
    pub fn responder(&self, address: IpAddr) -> u64 {
        let octets = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        self.hash(HashPurpose::Responder, &[&octets])
    }

    /// Hashes `parts`, one after the other. Where their lengths differ from call to call, the caller tells them apart.
    pub(crate) fn hash(&self, purpose: HashPurpose, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&[purpose as u8]);
        for part in parts {
            hasher.write(part);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_equal_and_others_are_not() {
        let secret = Secret::from_bytes([1; 16]);
        assert!(secret.are_equal(b"", b"") && secret.are_equal(b"correct horse", b"correct horse"));
        for other in ["", "correct hors", "correct horse ", "correct horsf", "Correct horse"] {
            assert!(!secret.are_equal(b"correct horse", other.as_bytes()), "{other}");
        }
    }
}
