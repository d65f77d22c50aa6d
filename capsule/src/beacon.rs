//! One beacon: its address, and its list of peers.

use std::fmt;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::ANSWER_MAX_BYTES;

use crate::fetch::{FetchError, Fetched, Fetcher, parse_url};

/// The address of a beacon, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beacon(String);

/// No address of a beacon.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BeaconInvalid {
    /// No address at all. What was given is not repeated: there may be a password in it.
    #[error("must be the address of a beacon, like https://beacon.example.org: {0}")]
    Url(FetchError),
    /// More than an address.
    #[error("must be the address of a beacon without `?` or `#`: the program adds /peers and the community itself")]
    Query,
}

impl Beacon {
    /// Takes `https://host`, also with a port and a path.
    pub(crate) fn parse(text: &str) -> Result<Self, BeaconInvalid> {
        parse_url(text).map_err(BeaconInvalid::Url)?;
        if text.contains(['?', '#']) {
            return Err(BeaconInvalid::Query);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// Asks for the peers of `community`.
    pub(crate) fn ask(&self, community: &Community, fetcher: &Fetcher, timeout: Duration) -> Fetched {
        fetcher.get(&self.peers_url(community), ANSWER_MAX_BYTES, timeout)
    }

    fn peers_url(&self, community: &Community) -> String {
        // A community's name has nothing in it that a query would have to escape.
        format!("{self}/peers?community={community}")
    }
}

impl fmt::Display for Beacon {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_below_the_address() {
        let community = Community::new("a.b_c-D").unwrap();
        for (address, url) in [
            ("https://beacon.example", "https://beacon.example/peers?community=a.b_c-D"),
            ("https://beacon.example/", "https://beacon.example/peers?community=a.b_c-D"),
            ("http://[::1]:8787/eu//", "http://[::1]:8787/eu/peers?community=a.b_c-D"),
        ] {
            assert_eq!(Beacon::parse(address).unwrap().peers_url(&community), url);
        }
    }

    #[test]
    fn an_address_is_all_that_it_takes() {
        for bad in [
            "",
            "beacon.example",
            "https://beacon.example/?x",
            "https://beacon.example/#x",
            "https://u:p@beacon.example",
        ] {
            let error = Beacon::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
