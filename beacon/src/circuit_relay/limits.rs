//! What the relay that runs beside the beacon does for whom.
//!
//! It is for peers that meet: over a circuit they agree on a direct connection, or say little to each other where none comes
//! about. Names of libp2p's are keys, which anybody may make, so what keeps one client from the others' places is counted by
//! network. A reservation and a circuit need a connection: whoever has few of these has few of those.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rendezvous_protocol::limits::RATE_LIMIT_NETWORKS;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::rate_limit::RateLimit;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_protocol::token_bucket::TokenBucket;

use crate::network_shares::{HeldThere, NetworkShare, NetworkShares};

/// Connections at once, those that are being made among them.
pub const CONNECTIONS: usize = 256;

/// Streams of one connection at once: circuits to its peer, those that its peer has asked for, and some for questions. What a
/// stream brings waits in memory until it is read, up to a window of 256 KiB, which is the least that the protocol allows:
/// 8 MiB for a connection, 2 GiB for all.
pub const STREAMS: usize = 32;

/// Of these, connections of one IPv4 address or IPv6 /56. A /24 or /48 has twice that, a provider a quarter of all, as on
/// `GET /live`.
const CONNECTIONS_PER_HOUSEHOLD: usize = 16;

/// Connections at once of one name.
pub const CONNECTIONS_PER_PEER: u32 = 4;

/// Reservations at once, by which peers are reached. It is less than the connections, so that there are some to reach them
/// by, and more than those of two providers: where all are taken, nobody can renew one.
pub const RESERVATIONS: usize = 192;

/// Reservations at once of one name.
pub const RESERVATIONS_PER_PEER: usize = 2;

/// How long a reservation lasts. Its peer renews it before.
pub const RESERVATION_DURATION: Duration = Duration::from_secs(60 * 60);

/// Circuits at once.
pub const CIRCUITS: usize = 256;

/// Circuits at once of one name that asks for one more, those to it among them. It is more than there are to one name, so that
/// whoever has these may ask for others.
pub const CIRCUITS_PER_PEER: usize = 16;

/// How long a circuit lasts.
pub const CIRCUIT_DURATION: Duration = Duration::from_secs(2 * 60);

/// Bytes that go over one circuit, both ways together.
pub const CIRCUIT_MAX_BYTES: u64 = 1024 * 1024;

/// Reservations that an IPv4 address or IPv6 /64 may ask for in a minute, and circuits in [`CIRCUIT_MINUTES`].
const PER_ADDRESS_AND_MINUTE: u32 = 6;

/// Those that an IPv4 /24 or IPv6 /56 may ask for; an IPv6 /48 four times as many.
const PER_NETWORK_AND_MINUTE: u32 = 24;

/// So many minutes count as one where circuits are asked for. So an address has at most 6 + 2 of them at once, fewer than
/// there may be to one name.
const CIRCUIT_MINUTES: u64 = 6;

/// One new circuit in this time for everybody together: 2 MiB each second at most, 170 GiB a day, in and out.
const CIRCUIT_INTERVAL: Duration = Duration::from_millis(500);

/// New circuits that may come at once.
const CIRCUITS_AT_ONCE: u64 = 120;

/// Says who may connect to the relay.
pub struct RelayConnections {
    secret: Secret,
    shares: NetworkShares,
}

/// Stands for one connection to the relay, which counts for as long as this is there.
#[derive(Debug)]
pub struct RelayConnection {
    _share: NetworkShare,
}

impl RelayConnections {
    /// Makes the rule of a relay without connections. Networks are remembered as hashes under the secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, shares: NetworkShares::default() }
    }

    /// Lets a client connect, if there is a place for it.
    pub fn admit(&self, address: Option<IpAddr>) -> Option<RelayConnection> {
        let path = Client { address, autonomous_system: None }.hand_over().hashed(&self.secret);
        let has_place = |HeldThere { household, site, provider, all }| {
            household < CONNECTIONS_PER_HOUSEHOLD
                && site < 2 * CONNECTIONS_PER_HOUSEHOLD
                && provider < CONNECTIONS / 4
                && all < CONNECTIONS
        };
        self.shares.take(path, 1, has_place).map(|share| RelayConnection { _share: share })
    }
}

impl fmt::Debug for RelayConnections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RelayConnections").finish_non_exhaustive()
    }
}

/// Limits how often something is asked of the relay.
pub struct RelayRate {
    secret: Secret,
    networks: RateLimit,
    /// How much slower the time of networks goes.
    slower: u64,
    /// For everybody together, and when its bucket is full.
    all: Option<(TokenBucket, u64)>,
}

impl RelayRate {
    /// Makes the limit of reservations.
    pub fn of_reservations(secret: Secret) -> Self {
        let networks = RateLimit::new(PER_ADDRESS_AND_MINUTE, PER_NETWORK_AND_MINUTE, RATE_LIMIT_NETWORKS);
        Self { secret, networks, slower: 1, all: None }
    }

    /// Makes the limit of new circuits.
    pub fn of_circuits(secret: Secret) -> Self {
        let all = Some((TokenBucket::new(CIRCUIT_INTERVAL, CIRCUITS_AT_ONCE), 0));
        Self { slower: CIRCUIT_MINUTES, all, ..Self::of_reservations(secret) }
    }

    /// Returns whether a client may have one more. The time may begin anywhere.
    pub fn take(&mut self, now: UnixMillis, address: Option<IpAddr>) -> bool {
        let path = Client { address, autonomous_system: None }.rate_path(&self.secret);
        let of_networks = UnixMillis::saturating(now.as_u64() / self.slower);
        self.networks.take(of_networks, path).is_ok()
            && self.all.as_mut().is_none_or(|(bucket, full_at)| bucket.take(full_at, now.as_u64()).is_ok())
    }
}

impl fmt::Debug for RelayRate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RelayRate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn secret() -> Secret {
        Secret::from_bytes([1; 16])
    }

    #[test]
    fn no_network_has_all_connections_and_each_gets_its_own_back() {
        let connections = RelayConnections::new(secret());
        let mut held = Vec::new();
        let mut admitted = |address: Option<IpAddr>| {
            let admitted = connections.admit(address);
            let is_admitted = admitted.is_some();
            held.extend(admitted);
            is_admitted
        };
        let count = |admitted: &mut dyn FnMut(Option<IpAddr>) -> bool, prefix: &str, addresses: u32| {
            let of_each = |last: u32| (0..64).filter(|_| admitted(address(&format!("{prefix}{last}")))).count();
            (1..=addresses).map(of_each).sum::<usize>()
        };
        assert_eq!(count(&mut admitted, "192.0.2.", 1), 16, "of a household");
        assert_eq!(count(&mut admitted, "192.0.2.", 9), 16, "of the rest of its site");
        let provider: usize = (3..30).map(|site| count(&mut admitted, &format!("192.0.{site}."), 9)).sum();
        assert_eq!(provider, 256 / 4 - 32, "of the rest of its provider");
        let others: usize = (1..9)
            .map(|part| (0..9).map(|site| count(&mut admitted, &format!("10.{part}.{site}."), 9)).sum::<usize>())
            .sum();
        assert_eq!(others, 256 - 256 / 4);
        assert!(!admitted(address("2001:db8::1")) && !admitted(None));
        held.clear();
        assert!(connections.admit(address("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_asks_seldom_and_so_does_everybody() {
        let at = |millis| UnixMillis::saturating(millis);
        let mut reservations = RelayRate::of_reservations(secret());
        let mut taken =
            |address: Option<IpAddr>, millis| (0..99).filter(|_| reservations.take(at(millis), address)).count();
        assert_eq!(taken(address("192.0.2.1"), 0), 6);
        assert_eq!(taken(address("192.0.2.1"), 10_000), 1);
        assert_eq!((2..9).map(|last| taken(address(&format!("192.0.2.{last}")), 10_000)).sum::<usize>(), 24 + 4 - 7);
        let mut circuits = RelayRate::of_circuits(secret());
        let mut taken = |millis| (0..99).filter(|_| circuits.take(at(millis), address("192.0.2.1"))).count();
        assert_eq!([taken(0), taken(59_999), taken(60_000), taken(120_000)], [6, 0, 1, 1]);
        let mut circuits = RelayRate::of_circuits(secret());
        let mut taken = |millis| {
            let sites = (0..=255).map(|site| address(&format!("10.0.{site}.1")));
            sites.filter(|address| circuits.take(at(millis), *address)).count()
        };
        assert_eq!([taken(0), taken(499), taken(500), taken(10_000)], [120, 0, 1, 19]);
    }

    #[test]
    fn the_readme_says_the_limits_that_there_are() {
        let readme = include_str!("../../../README.md");
        let (_, section) = readme.split_once("### A relay of libp2p's\n").unwrap();
        let (section, _) = section.split_once("\n### ").unwrap();
        let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
        for sentence in [
            format!("{CONNECTIONS} connections, {CONNECTIONS_PER_HOUSEHOLD} of one household"),
            format!("{CONNECTIONS_PER_PEER} of one name"),
            format!("{RESERVATIONS} reservations of {} minutes", RESERVATION_DURATION.as_secs() / 60),
            format!("{RESERVATIONS_PER_PEER} of one name"),
            format!("{CIRCUITS} circuits, {CIRCUITS_PER_PEER} of one name"),
            format!("{} minutes and {} MiB", CIRCUIT_DURATION.as_secs() / 60, CIRCUIT_MAX_BYTES >> 20),
            format!("{PER_ADDRESS_AND_MINUTE} a minute for one address, {PER_NETWORK_AND_MINUTE} for one /24 or /56"),
            format!("of circuits as many in {CIRCUIT_MINUTES} minutes"),
            format!("{STREAMS} streams of 256 KiB, {} GiB", CONNECTIONS * STREAMS / (4 * 1024)),
            format!("{CIRCUITS_AT_ONCE} circuits at once and then two a second"),
        ] {
            assert!(section.contains(&sentence), "{sentence} in {section}");
        }
    }
}
