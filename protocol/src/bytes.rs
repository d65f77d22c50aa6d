//! The values of which records are made: bytes in base64, and the address of a mailbox.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::base64;
use crate::key::PublicKey;

/// Holds exactly `N` bytes, base64 on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes<const N: usize>(pub [u8; N]);

/// Holds the name of sealed bytes: their SHA-256.
pub type ContentId = Bytes<32>;

impl<const N: usize> fmt::Display for Bytes<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&base64::encode(&self.0))
    }
}

impl<const N: usize> fmt::Debug for Bytes<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Bytes({self})")
    }
}

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        base64::decode_array(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format_args!("not the base64 of {N} bytes")))
    }
}

impl ContentId {
    /// Names sealed bytes.
    pub fn of(sealed: &[u8]) -> Self {
        Self(sha256(&[sealed]))
    }
}

/// Writes bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    // Names of objects and rows are written so several times a request: not by the formatter, byte for byte.
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    let mut text = String::with_capacity(2 * bytes.len());
    text.extend(digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)));
    text
}

/// Hashes `parts`, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// Holds the address of a mailbox, which is made of its owner's key: 64 characters of lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 32]);

impl Address {
    /// Returns the address of the owner's mailbox.
    pub fn of(owner: &PublicKey) -> Self {
        Self(sha256(&[b"rendezvous-mailbox-v1\0", owner.as_bytes()]))
    }

    /// Returns the address that a hash stands for, of something that takes a mailbox's place and has no owner key.
    pub const fn of_hash(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// Returns the 32 bytes that it stands for.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Says that a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address of a mailbox is 64 characters of 0-9 a-f")]
pub struct AddressInvalid;

/// Reads exactly `N` bytes of lower-case hexadecimal.
pub fn bytes_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; N];
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Implements, for a type around an array of bytes, that it is written and read as lower-case hexadecimal. The second type says
/// that a text is not one.
#[macro_export]
macro_rules! text_is_hex {
    ($type:ident, $invalid:ident) => {
        impl std::str::FromStr for $type {
            type Err = $invalid;

            fn from_str(text: &str) -> Result<Self, $invalid> {
                $crate::bytes::bytes_of_hex(text).map(Self).ok_or($invalid)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&$crate::bytes::hex(&self.0))
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, concat!(stringify!($type), "({})"), self)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
text_is_hex!(Address, AddressInvalid);
