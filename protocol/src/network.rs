//! Networks: what an attacker cannot mint, unlike keys.
//!
//! Places and rate limits go by network, not by key. Where a client is has several levels, because what is cheap to
//! have differs with the level: an IPv6 customer holds a /56 or a /48 whole, somebody who rents servers has thousands
//! of IPv4 addresses of few providers. For places the levels are provider, site and household ([`NetworkPath`]); the
//! rate limit has its own ([`RatePath`]).
//!
//! Networks are only ever kept as hashes under a secret: a hash says "the same network as before" where it was made,
//! and nothing anywhere else.

use std::net::IpAddr;

use crate::base64;
use crate::secret::{HashPurpose, Secret};

/// Describes a client as the host that ends its connection sees it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Client {
    /// Its address. All clients without one count as one household, so that hiding an address gains nothing.
    pub address: Option<IpAddr>,
    /// The number of the autonomous system that the address is in, where the host knows it.
    pub autonomous_system: Option<u32>,
}

/// Says where a client counts: three levels, each in the one before, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkPath {
    /// The autonomous system; where it is unknown, an IPv4 /16 or an IPv6 /29, the least that a registry gives a
    /// provider.
    pub provider: NetworkHash,
    /// An IPv4 /24 or an IPv6 /48.
    pub site: NetworkHash,
    /// An IPv4 address or an IPv6 /56.
    pub household: NetworkHash,
}

/// Says which addresses and networks the rate limit counts a client's request for, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RatePath {
    /// An IPv4 address or an IPv6 /64.
    pub address: NetworkHash,
    /// An IPv4 /24 or an IPv6 /56.
    pub network: NetworkHash,
    /// An IPv6 /48.
    pub site: Option<NetworkHash>,
}

/// Stands for a network, as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkHash(u64);

impl NetworkHash {
    /// Takes back the 8 bytes of [`NetworkHash::to_bytes`].
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// Returns the 8 bytes.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(crate) const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The key under which a path is handed from the process that ends connections to a community's object. The key is
/// not a secret: whoever has such a hash finds the address by trying them all. It keeps addresses from standing in the URL of
/// a call, which a platform may write down. The object hashes again, under its own secret.
const HAND_OVER: Secret = Secret::from_bytes(*b"rendezvous-path1");

impl Client {
    /// Returns where the client counts, in the form in which an object is told so.
    pub fn hand_over(self) -> HandedOver {
        let Self { address, autonomous_system } = self;
        let level = |v4, v6| HAND_OVER.network(address, v4, v6);
        let provider = match autonomous_system {
            Some(number) => {
                NetworkHash(HAND_OVER.hash(HashPurpose::Network, &[b"autonomous system", &number.to_be_bytes()]))
            }
            None => level(16, 29),
        };
        HandedOver(NetworkPath { provider, site: level(24, 48), household: level(32, 56) })
    }

    /// Returns what the rate limit counts the client's requests for.
    pub fn rate_path(self, secret: &Secret) -> RatePath {
        let level = |v4, v6| secret.network(self.address, v4, v6);
        let site = matches!(self.address.map(|address| address.to_canonical()), Some(IpAddr::V6(_)));
        RatePath { address: level(32, 64), network: level(24, 56), site: site.then(|| level(24, 48)) }
    }
}

/// Holds a path on its way to an object, which hashes it under its own secret before it remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver(NetworkPath);

impl HandedOver {
    /// Writes 24 bytes in base64.
    pub fn to_text(self) -> String {
        base64::encode(&self.0.to_bytes())
    }

    /// Reads what [`HandedOver::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        base64::decode_array(text).map(NetworkPath::from_bytes).map(Self)
    }

    /// Returns the path as the object with this secret remembers it.
    pub fn hashed(self, secret: &Secret) -> NetworkPath {
        let again = |NetworkHash(hash)| NetworkHash(secret.hash(HashPurpose::Network, &[&u64::to_be_bytes(hash)]));
        let Self(NetworkPath { provider, site, household }) = self;
        NetworkPath { provider: again(provider), site: again(site), household: again(household) }
    }
}

impl NetworkPath {
    /// Takes back the 24 bytes of [`NetworkPath::to_bytes`].
    pub fn from_bytes(bytes: [u8; 24]) -> Self {
        let [mut provider, mut site, mut household] = [[0; 8]; 3];
        let levels = [&mut provider, &mut site, &mut household];
        levels.into_iter().zip(bytes.as_chunks::<8>().0).for_each(|(level, bytes)| *level = *bytes);
        let [provider, site, household] = [provider, site, household].map(NetworkHash::from_bytes);
        Self { provider, site, household }
    }

    /// Returns the 24 bytes: provider, site, household.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let levels = [self.provider, self.site, self.household].map(NetworkHash::to_bytes);
        bytes.as_chunks_mut::<8>().0.iter_mut().zip(levels).for_each(|(to, from)| *to = from);
        bytes
    }
}

impl Secret {
    /// Hashes the first `v4` bits of an IPv4 address, or `v6` of an IPv6 address. An IPv4 address in IPv6 clothes
    /// (`::ffff:a.b.c.d`) is an IPv4 address.
    fn network(&self, address: Option<IpAddr>, v4: u32, v6: u32) -> NetworkHash {
        let hash = |family: u8, bits: u32, octets: &[u8]| {
            // The length is part of it: 10.0.0.0/16 is not 10.0.0.0/24.
            self.hash(HashPurpose::Network, &[&[family], &bits.to_be_bytes(), octets])
        };
        NetworkHash(match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => {
                let kept = u32::MAX.checked_shl(32 - v4).unwrap_or(0);
                hash(4, v4, &(address.to_bits() & kept).to_be_bytes())
            }
            Some(IpAddr::V6(address)) => {
                let kept = u128::MAX.checked_shl(128 - v6).unwrap_or(0);
                hash(6, v6, &(address.to_bits() & kept).to_be_bytes())
            }
            None => hash(0, v6, &[]),
        })
    }
}

/// Reads a header with a client's address, as proxies write it: of a list the last, which the nearest proxy added; a
/// port, brackets and a zone are taken off. `None` for anything else.
pub fn read_address(value: &str) -> Option<IpAddr> {
    let last = value.rsplit(',').next().unwrap_or(value).trim();
    let without_zone = |address: &str| match address.split_once('%') {
        Some((address, _)) => address.parse().ok().map(IpAddr::V6),
        None => address.parse().ok(),
    };
    let is_port = |text: &str| (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(bracketed) = last.strip_prefix('[') {
        let (address, after) = bracketed.split_once(']')?;
        let address = without_zone(address).filter(IpAddr::is_ipv6)?;
        return (after.is_empty() || after.strip_prefix(':').is_some_and(is_port)).then_some(address);
    }
    match last.split_once(':') {
        Some((address, port)) if is_port(port) && address.contains('.') => address.parse().ok().map(IpAddr::V4),
        _ => without_zone(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret::from_bytes([1; 16]);

    fn client(address: &str) -> Client {
        Client { address: Some(read_address(address).unwrap()), autonomous_system: None }
    }

    fn path(address: &str) -> NetworkPath {
        client(address).hand_over().hashed(&SECRET)
    }

    /// The levels that two addresses have in common.
    fn shared(one: &str, other: &str) -> [bool; 3] {
        let (one, other) = (path(one), path(other));
        [one.provider == other.provider, one.site == other.site, one.household == other.household]
    }

    #[test]
    fn a_path_is_provider_site_and_household() {
        assert_eq!(shared("192.0.2.1", "192.0.2.1"), [true, true, true]);
        assert_eq!(shared("192.0.2.1", "192.0.2.2"), [true, true, false]);
        assert_eq!(shared("192.0.2.1", "192.0.3.1"), [true, false, false]);
        assert_eq!(shared("192.0.2.1", "192.1.2.1"), [false, false, false]);
        assert_eq!(shared("2001:db8:1:100::1", "2001:db8:1:1ff:ffff::1"), [true, true, true]);
        assert_eq!(shared("2001:db8:1:100::1", "2001:db8:1:200::1"), [true, true, false]);
        assert_eq!(shared("2001:db8:1:100::1", "2001:db8:2:100::1"), [true, false, false]);
        assert_eq!(shared("2001:db8::1", "2001:dbf::1"), [true, false, false]);
        assert_eq!(shared("2001:db8::1", "2001:dc0::1"), [false, false, false]);
        assert_eq!(shared("::ffff:192.0.2.7", "192.0.2.7"), [true, true, true]);
        // The same bits at another length are another network.
        let path = path("10.0.0.0");
        assert!(path.provider != path.site && path.site != path.household);
    }

    #[test]
    fn an_autonomous_system_is_a_provider_whatever_the_addresses() {
        let of = |address, number| {
            let client = Client { autonomous_system: Some(number), ..client(address) };
            client.hand_over().hashed(&SECRET)
        };
        assert_eq!(of("192.0.2.1", 64_496).provider, of("2001:db8::1", 64_496).provider);
        assert_ne!(of("192.0.2.1", 64_496).provider, of("192.0.2.1", 64_497).provider);
        assert_eq!(of("192.0.2.1", 64_496).household, path("192.0.2.1").household);
    }

    #[test]
    fn the_rate_limit_has_levels_of_its_own() {
        let rate = |address| client(address).rate_path(&SECRET);
        let (one, other) = (rate("192.0.2.1"), rate("192.0.2.2"));
        assert!(one.address != other.address && one.network == other.network && one.site.is_none());
        let (one, other) = (rate("2001:db8:1:100::1"), rate("2001:db8:1:101::1"));
        assert!(one.address != other.address && one.network == other.network && one.site == other.site);
        let other = rate("2001:db8:1:200::1");
        assert!(one.network != other.network && one.site == other.site && one.site.is_some());
        assert_eq!(Client::default().rate_path(&SECRET), Client::default().rate_path(&SECRET));
    }

    #[test]
    fn clients_without_an_address_are_one_household() {
        let unknown = Client::default().hand_over().hashed(&SECRET);
        assert_eq!(unknown, Client::default().hand_over().hashed(&SECRET));
        assert_ne!(unknown.household, path("0.0.0.0").household);
        assert_ne!(unknown.household, path("::").household);
    }

    #[test]
    fn a_path_is_handed_over_in_32_characters_and_differs_with_the_secret() {
        let handed_over = client("192.0.2.1").hand_over();
        assert_eq!(handed_over.to_text().len(), 32);
        assert_eq!(HandedOver::from_text(&handed_over.to_text()), Some(handed_over));
        for text in ["", "AAAA", "192.0.2.1"] {
            assert_eq!(HandedOver::from_text(text), None);
        }
        let path = handed_over.hashed(&SECRET);
        assert_eq!(NetworkPath::from_bytes(path.to_bytes()), path);
        let other = handed_over.hashed(&Secret::from_bytes([2; 16]));
        assert!(path.provider != other.provider && path.site != other.site && path.household != other.household);
    }

    #[test]
    fn an_address_is_read_as_proxies_write_it() {
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1 ", "192.0.2.1"),
            ("192.0.2.1:1234", "192.0.2.1"),
            ("198.51.100.7, 192.0.2.1", "192.0.2.1"),
            ("unknown, 192.0.2.1:65535", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1%eth0", "2001:db8::1"),
            ("[fe80::1%25eth0]:443", "fe80::1"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
            // Eight groups, not seven and a port.
            ("2001:db8:0:0:0:0:0:443", "2001:db8::443"),
        ] {
            assert_eq!(read_address(value), Some(expected.parse().unwrap()), "{value}");
        }
        for value in [
            "",
            ",",
            "unknown",
            "192.0.2.1,",
            "192.0.2.256",
            "192.0.2.1:",
            "192.0.2.1:port",
            "192.0.2.1:123456",
            "192.0.2.1%eth0",
            "[192.0.2.1]",
            "[192.0.2.1]:80",
            "[2001:db8::1",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "2001:db8::1]",
            "::1::",
            "192.0.2.1 198.51.100.7",
            "localhost",
            "_hidden",
        ] {
            assert_eq!(read_address(value), None, "{value}");
        }
    }
}
