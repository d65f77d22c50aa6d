//! Who gets a connection when there are more clients than connections.
//!
//! The path decides, as it does in the roster: a household, a site and a provider have a part each, and where all
//! connections are taken the largest share pays for the newcomer. Only a viewer has to go: a connection that is bound to a
//! listed claim is a peer's.

use crate::live::places::Admission::{Admitted, Full, InPlaceOf};
use crate::network::NetworkPath;
use crate::roster::surplus_of;
use crate::secret::Secret;
use crate::time::UnixMillis;

/// A site has so many times the connections of a household.
const HOUSEHOLDS_IN_A_SITE: usize = 2;

/// A provider has this part of all connections.
const PROVIDERS: usize = 4;

/// Holds what an operator may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveLimits {
    /// Connections of one community.
    pub connections: usize,
    /// Of these, of one household.
    pub connections_per_household: usize,
}

impl LiveLimits {
    /// Returns whether a household and its site have as many connections as they may.
    pub const fn are_taken(self, of_household: usize, of_site: usize) -> bool {
        let most = self.connections_per_household;
        of_household >= most || of_site >= most.saturating_mul(HOUSEHOLDS_IN_A_SITE)
    }
}

/// Says where a connection counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The path, hashed by the object's secret.
    pub path: NetworkPath,
    /// Whether the connection is bound to a claim that is listed.
    pub is_bound: bool,
}

/// Says whether a newcomer gets a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Admitted,
    /// It does, and the connection at this position has to go.
    InPlaceOf(usize),
    /// It does not.
    Full,
}

/// Decides whether a newcomer from `path` gets a connection beside those that there are, the oldest first.
pub fn admit(seats: &[Seat], path: NetworkPath, limits: LiveLimits, now: UnixMillis, secret: &Secret) -> Admission {
    let count = |is_there: &dyn Fn(&NetworkPath) -> bool| seats.iter().filter(|seat| is_there(&seat.path)).count();
    let of_provider = (limits.connections / PROVIDERS).max(limits.connections_per_household);
    if limits.are_taken(count(&|other| other.household == path.household), count(&|other| other.site == path.site))
        || count(&|other| other.provider == path.provider) >= of_provider
    {
        return Full;
    }
    if seats.len() < limits.connections {
        return Admitted;
    }
    let (viewers, paths): (Vec<_>, Vec<_>) = seats
        .iter()
        .enumerate()
        .filter(|(_, seat)| !seat.is_bound)
        .map(|(position, seat)| (position, seat.path))
        .chain([(seats.len(), path)])
        .unzip();
    match surplus_of(paths, limits.connections, now, secret).and_then(|surplus| viewers.get(surplus).copied()) {
        Some(position) if position < seats.len() => InPlaceOf(position),
        _ => Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Client, read_address};

    const SECRET: Secret = Secret::from_bytes([3; 16]);
    const LIMITS: LiveLimits = LiveLimits { connections: 64, connections_per_household: 4 };

    fn path(address: &str) -> NetworkPath {
        let address = Some(read_address(address).unwrap());
        Client { address, autonomous_system: None }.hand_over().hashed(&SECRET)
    }

    fn now() -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000)
    }

    /// Lets clients in, one after the other, and returns who is in then.
    fn let_in(seats: &mut Vec<(String, Seat)>, address: String, is_bound: bool) -> Admission {
        let of: Vec<_> = seats.iter().map(|(_, seat)| *seat).collect();
        let path = path(&address);
        let admission = admit(&of, path, LIMITS, now(), &SECRET);
        match admission {
            Admitted => {}
            InPlaceOf(position) => {
                seats.remove(position);
            }
            Full => return Full,
        }
        seats.push((address, Seat { path, is_bound }));
        admission
    }

    #[test]
    fn a_household_a_site_and_a_provider_have_a_part_each() {
        let fill = |address: &dyn Fn(usize) -> String| {
            let mut seats = Vec::new();
            (0..300).filter(|number| let_in(&mut seats, address(*number), false) != Full).count()
        };
        assert_eq!(fill(&|_| "192.0.2.1".to_owned()), 4);
        assert_eq!(fill(&|number| format!("192.0.2.{}", number % 250)), 8);
        assert_eq!(fill(&|number| format!("198.51.{}.1", number % 250)), 16);
        assert_eq!(fill(&|number| format!("2001:db8:{number:x}::1")), 16, "one /29");
    }

    #[test]
    fn where_all_are_taken_the_largest_share_pays_and_a_bound_connection_goes_last() {
        let mut seats = Vec::new();
        // Twenty peers, each of a provider of its own, and three providers with viewers that take all they can, of two
        // sites each.
        for number in 0..20 {
            assert_eq!(let_in(&mut seats, format!("10.{number}.0.1"), true), Admitted);
        }
        for provider in 0..3 {
            for number in 0..16 {
                let_in(&mut seats, format!("172.{}.{}.{}", 16 + provider, number / 8, 1 + number % 8 / 4), false);
            }
        }
        assert_eq!(seats.len(), 64);
        for number in 0..20 {
            let address = format!("11.{number}.0.1");
            assert!(matches!(let_in(&mut seats, address, false), InPlaceOf(_)), "{number}");
        }
        assert_eq!(seats.len(), 64);
        assert_eq!(seats.iter().filter(|(_, seat)| seat.is_bound).count(), 20);
        let newcomers = seats.iter().filter(|(address, _)| address.starts_with("11.")).count();
        assert_eq!(newcomers, 20);
    }

    #[test]
    fn bound_connections_alone_let_nobody_else_in() {
        let mut seats = Vec::new();
        for number in 0..64 {
            assert_eq!(let_in(&mut seats, format!("10.{number}.0.1"), true), Admitted);
        }
        assert_eq!(let_in(&mut seats, "11.0.0.1".to_owned(), false), Full);
    }
}
