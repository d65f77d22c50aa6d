//! Networks: what an attacker cannot mint, unlike keys.
//!
//! Fairness and budgets go by network, not by key. A network is an IPv4 /24 or an IPv6 /56, the smallest blocks that
//! one customer of a provider commonly holds whole. It is only ever kept as a salted hash: the salt is random and
//! stays where it was made, so that a hash says "the same network as before" there and nothing anywhere else.

use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::base64;

/// A client's network: the leading bits of its address, the rest cut off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// An IPv4 /24.
    V4([u8; 3]),
    /// An IPv6 /56.
    V6([u8; 7]),
    /// No address is known. All such clients share one network, so that hiding an address gains nothing.
    Unknown,
}

impl Network {
    /// The network of an address. An IPv4 address in IPv6 clothes (`::ffff:a.b.c.d`) is an IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        }
    }

    /// Reads the value of a header that should hold one address; anything else is [`Network::Unknown`].
    pub fn from_header(value: Option<&str>) -> Self {
        value.and_then(|text| text.trim().parse().ok()).map_or(Self::Unknown, Self::of)
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(prefix) => prefix,
            Self::V6(prefix) => prefix,
            Self::Unknown => &[],
        }
    }

    /// The form in which a network is handed from the Worker to a community's object, and forgotten there.
    pub fn to_text(self) -> String {
        base64::encode(self.as_bytes())
    }

    /// Reads what [`Network::to_text`] wrote; anything else is [`Network::Unknown`].
    pub fn from_text(text: &str) -> Self {
        let bytes = base64::decode(text).unwrap_or_default();
        match *bytes.as_slice() {
            [a, b, c] => Self::V4([a, b, c]),
            [a, b, c, d, e, f, g] => Self::V6([a, b, c, d, e, f, g]),
            _ => Self::Unknown,
        }
    }
}

/// What makes hashes of networks useless to whoever does not have it: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NetworkSalt([u8; 16]);

impl fmt::Debug for NetworkSalt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NetworkSalt(secret)")
    }
}

impl NetworkSalt {
    /// Takes 16 bytes from a secure source of randomness.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, for the storage of the object that made them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The salted hash of a network: SipHash-2-4, a pseudo-random function whose key is the salt, because nobody without
    /// the salt may tell which network a hash is of, or choose networks whose hashes collide. A collision merges two
    /// networks, nothing more.
    pub fn hash(&self, network: Network) -> NetworkHash {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(network.as_bytes());
        NetworkHash(hasher.finish())
    }
}

/// A network as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkHash(u64);

impl NetworkHash {
    /// Takes back the 8 bytes of [`NetworkHash::to_bytes`].
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// The 8 bytes.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> String {
        let network = Network::from_header(Some(address));
        assert!(Network::from_text(&network.to_text()) == network);
        network.to_text()
    }

    #[test]
    fn groups_by_ipv4_24_and_ipv6_56() {
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1:100::1"), of("2001:db8:1:1ff:ffff::1"));
        assert_ne!(of("2001:db8:1:100::1"), of("2001:db8:1:200::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.1"));
    }

    #[test]
    fn whatever_is_no_address_is_one_network() {
        for header in ["", "unknown", "192.0.2.1, 192.0.2.2", "192.0.2.256", "2001:db8::1%eth0"] {
            assert!(Network::from_header(Some(header)) == Network::Unknown, "{header}");
        }
        assert!(Network::from_header(None) == Network::Unknown);
    }

    #[test]
    fn another_salt_gives_another_hash() {
        let network = Network::V4([192, 0, 2]);
        let hash = NetworkSalt::from_bytes([1; 16]).hash(network);
        assert_eq!(hash, NetworkSalt::from_bytes([1; 16]).hash(network));
        assert_ne!(hash, NetworkSalt::from_bytes([2; 16]).hash(network));
    }
}
