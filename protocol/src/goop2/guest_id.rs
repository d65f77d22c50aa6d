//! The names of guests: libp2p's peer ids.

use std::fmt;

use crate::key::PublicKey;

/// Characters of the base58btc of an Ed25519 identity, which has 38 bytes.
const GUEST_ID_CHARACTERS: usize = 52;

/// What comes before the 32 bytes of the key: an identity multihash of 36 bytes, and libp2p's protobuf of an Ed25519 key
/// (libp2p, peer ids).
const IDENTITY_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Holds the name of a guest: libp2p's peer id of an Ed25519 key that is a point, and not one of small order.
///
/// Who publishes a name need not have its key. libp2p's handshake asks for it when peers connect.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestId {
    key: PublicKey,
    text: Box<str>,
}

impl GuestId {
    /// Takes the base58btc of an Ed25519 identity.
    pub fn new(text: &str) -> Option<Self> {
        Self::trusted(text).filter(|id| id.key.is_usable())
    }

    /// Takes a name that was taken before: whether its key can sign is not asked again.
    pub(crate) fn trusted(text: &str) -> Option<Self> {
        let key = PublicKey::from_bytes(*decode(text)?.strip_prefix(&IDENTITY_PREFIX)?.first_chunk()?);
        Some(Self { key, text: text.into() })
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the key in it.
    pub const fn public_key(&self) -> PublicKey {
        self.key
    }
}

impl fmt::Display for GuestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for GuestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GuestId({self})")
    }
}

/// Decodes the base58btc of 38 bytes. The length is fixed, so every value has one text.
fn decode(text: &str) -> Option<[u8; 38]> {
    if text.len() != GUEST_ID_CHARACTERS {
        return None;
    }
    let mut bytes = [0; 38];
    for character in text.bytes() {
        let digit = BASE58.iter().position(|known| *known == character)?;
        let mut carry = u32::try_from(digit).ok()?;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::PrivateKey;

    /// Encodes as the alphabet's inventor described it: by long division.
    fn encode(bytes: &[u8]) -> String {
        let mut digits = Vec::new();
        let mut number = bytes.to_vec();
        while number.iter().any(|byte| *byte > 0) {
            let mut remainder = 0_u32;
            for byte in &mut number {
                let value = remainder * 256 + u32::from(*byte);
                *byte = (value / 58) as u8;
                remainder = value % 58;
            }
            digits.push(BASE58[remainder as usize]);
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        digits.extend(std::iter::repeat_n(b'1', zeros));
        digits.reverse();
        String::from_utf8(digits).unwrap()
    }

    pub(crate) fn id_text(key: &[u8]) -> String {
        encode(&[&IDENTITY_PREFIX, key].concat())
    }

    pub(crate) fn id(seed: u8) -> GuestId {
        GuestId::new(&id_text(PrivateKey::from_seed(&[seed; 32]).public_key().as_bytes())).unwrap()
    }

    #[test]
    fn a_name_is_that_of_an_ed25519_key() {
        // The key of RFC 8032, section 7.1, test 1, as go-libp2p names it.
        let key = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
            0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ];
        let text = id_text(&key);
        assert!(text.starts_with("12D3KooW"), "{text}");
        let id = GuestId::new(&text).unwrap();
        assert_eq!((id.public_key().as_bytes(), id.as_str()), (&key, text.as_str()));
        for wrong in [
            "",
            "12D3KooW",
            text.trim_start_matches('1'),
            &format!("1{text}"),
            &format!("{text}1"),
            &text.replace('D', "0"),
            // The hash of an RSA key.
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            &encode(&[&[0x00, 0x24, 0x08, 0x02, 0x12, 0x20], &key[..]].concat()),
        ] {
            assert_eq!(GuestId::new(wrong), None, "{wrong}");
        }
        let small_order = [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }];
        for key in small_order {
            assert_eq!(GuestId::new(&id_text(&key)), None);
        }
        let mut no_point = [0; 32];
        no_point[0] = 2;
        assert_eq!(GuestId::new(&id_text(&no_point)), None);
    }

    proptest! {
        #[test]
        fn every_identity_has_one_text(key in any::<[u8; 32]>(), other in "[1-9A-HJ-NP-Za-km-z]{52}") {
            let bytes = [&IDENTITY_PREFIX, &key[..]].concat();
            prop_assert_eq!(decode(&encode(&bytes)).map(|bytes| bytes.to_vec()), Some(bytes));
            if let Some(bytes) = decode(&other) && bytes.starts_with(&IDENTITY_PREFIX) {
                prop_assert_eq!(encode(&bytes), other);
            }
        }
    }
}
