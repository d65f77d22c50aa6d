//! Beacons in the local network: what one says of itself there, and which of those that answer are used.
//!
//! A beacon announces itself by DNS-SD over multicast DNS (RFC 6763, RFC 6762); section 23 of the specification has the
//! service and its attributes. Anybody in that network may answer a question for beacons, as often as they like and before
//! everybody else. What an answer gains is one place among few, beside the beacons that are configured and never in the
//! place of one:
//! 1. A beacon is where its answer is from, whatever addresses the answer has: nobody points a reader at a third machine, be
//!    it one in that network or the reader itself.
//! 2. The address is one that means a machine of this network alone. Link-local addresses of IPv6 are not: they need a zone,
//!    which a URL has no place for (RFC 9844 took it away from browsers, too).
//! 3. Responders take turns, in an order that a secret of the reader decides. Nothing depends on who answers first, and an
//!    answer that comes twice is one.
//!
//! Out of scope: packets and sockets. Who has several addresses in the network is several responders here, which nothing in
//! such a network can tell apart.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::backoff::Backoff;
use crate::beacon_url::{BeaconUrl, BeaconUrlError};
use crate::community::Community;
use crate::secret::Secret;

/// The service's type, in the domain of multicast DNS.
pub const SERVICE: &str = "_rendezvous._tcp.local";

/// The most beacons of the local network that are used beside those that are configured.
pub const LOCAL_BEACONS_MAX: usize = 8;

/// The most responders that are remembered in a round.
pub const RESPONDERS_MAX: usize = 32;

/// The most beacons of one responder. One machine seldom runs more than one.
pub const BEACONS_PER_RESPONDER: usize = 4;

/// The most bytes of one attribute, its name and the `=` counted (RFC 6763, section 6.1).
pub const ATTRIBUTE_MAX_BYTES: usize = 255;

/// Rounds in which a beacon may be silent before its place is free.
pub const SILENT_ROUNDS: u8 = 3;

/// When the network is asked again: soon after the start, and then once a minute (RFC 6762, section 5.2, asks for intervals
/// that at least double).
pub const ROUND_BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), most: Duration::from_secs(60) };

/// The version of the attributes, under the name that RFC 6763, section 6.7, has for it.
const VERSION: (&str, &str) = ("txtvers", "1");
const PATH: &str = "path";
const TLS: &str = "tls";
const COMMUNITIES: &str = "communities";

/// Returns whether an address means a machine of the local network alone: of the private networks of RFC 1918 and RFC 4193,
/// or link-local in IPv4.
pub const fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_local_v4(address),
        IpAddr::V6(address) => is_local_v6(address),
    }
}

const fn is_local_v4(address: Ipv4Addr) -> bool {
    address.is_private() || address.is_link_local()
}

const fn is_local_v6(address: Ipv6Addr) -> bool {
    match address.to_ipv4_mapped() {
        Some(address) => is_local_v4(address),
        None => address.is_unique_local(),
    }
}

/// Returns whether who listens at `listened` is reached at a machine's own `address`, by which it may be announced.
pub fn is_listened_to(address: IpAddr, listened: IpAddr) -> bool {
    match listened {
        IpAddr::V4(listened) if listened.is_unspecified() => address.is_ipv4(),
        IpAddr::V6(listened) if listened.is_unspecified() => true,
        listened => listened.to_canonical() == address.to_canonical(),
    }
}

/// Returns whether an address is in the network of one's own address, of which `prefix` bits say which network it is. What
/// comes from elsewhere came through a router, and does not count (RFC 6762, section 11).
pub fn is_on_link(address: IpAddr, own: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (address.to_canonical(), own.to_canonical()) {
        (IpAddr::V4(address), IpAddr::V4(own)) => {
            (address.to_bits() ^ own.to_bits()).checked_shr(Ipv4Addr::BITS.saturating_sub(prefix)).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(own)) => {
            (address.to_bits() ^ own.to_bits()).checked_shr(Ipv6Addr::BITS.saturating_sub(prefix)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Returns the attributes of a beacon that is served at `/` without TLS, as names with values. Of the communities that are
/// listed it names, in their order, as many as one attribute has room for; the attribute is left out where none is.
pub fn attributes<'a>(listed: impl Iterator<Item = &'a Community>) -> Vec<(&'static str, String)> {
    let mut names = String::new();
    for community in listed {
        let comma = if names.is_empty() { "" } else { "," };
        if COMMUNITIES.len() + 1 + names.len() + comma.len() + community.as_str().len() > ATTRIBUTE_MAX_BYTES {
            break;
        }
        names.push_str(comma);
        names.push_str(community.as_str());
    }
    let mut attributes = vec![(VERSION.0, VERSION.1.to_owned()), (PATH, "/".to_owned()), (TLS, "no".to_owned())];
    if !names.is_empty() {
        attributes.push((COMMUNITIES, names));
    }
    attributes
}

/// Says why a beacon that answers is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalBeaconError {
    /// The answer is from outside the network.
    #[error("the answer is not from a private address")]
    NotLocal,
    /// The attributes are of another version, or do not say of which.
    #[error("the attributes are not of version {}", VERSION.1)]
    Version,
    /// The beacon is behind TLS, whose certificates are not for addresses.
    #[error("the beacon is not one without TLS")]
    Tls,
    /// The path is not text in UTF-8.
    #[error("the path is not UTF-8")]
    PathNotText,
    /// The path does not begin with a slash, and would be the end of the port, or of a host.
    #[error("the path does not begin with a slash")]
    PathNotAbsolute,
    /// The port and the path make an address that is not one of a beacon.
    #[error("the port and the path are not those of a beacon: {0}")]
    Address(#[from] BeaconUrlError),
}

/// Holds a beacon that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalBeacon {
    responder: IpAddr,
    url: BeaconUrl,
}

impl LocalBeacon {
    /// Reads an answer that came from this address: the port, and the attributes, each a name, perhaps with a value. Of
    /// attributes of one name the first counts (RFC 6763, section 6.4), and unknown ones are ignored.
    ///
    /// # Errors
    /// See [`LocalBeaconError`].
    pub fn read<'a>(
        responder: IpAddr,
        port: u16,
        attributes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<Self, LocalBeaconError> {
        let responder = responder.to_canonical();
        if !is_local(responder) {
            return Err(LocalBeaconError::NotLocal);
        }
        let [mut version, mut path, mut tls] = [None; 3];
        for (name, value) in attributes {
            for (known, first) in [(VERSION.0, &mut version), (PATH, &mut path), (TLS, &mut tls)] {
                if name.eq_ignore_ascii_case(known.as_bytes()) {
                    // One without a value says something, and nothing that is understood.
                    first.get_or_insert(value.unwrap_or_default());
                }
            }
        }
        if version != Some(VERSION.1.as_bytes()) {
            return Err(LocalBeaconError::Version);
        }
        if tls.is_some_and(|tls| tls != b"no") {
            return Err(LocalBeaconError::Tls);
        }
        let path = std::str::from_utf8(path.unwrap_or(b"/")).map_err(|_| LocalBeaconError::PathNotText)?;
        if !path.starts_with('/') {
            return Err(LocalBeaconError::PathNotAbsolute);
        }
        let host = match responder {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        Ok(Self { responder, url: BeaconUrl::parse(&format!("http://{host}:{port}{path}"))? })
    }

    /// Returns its address.
    pub const fn url(&self) -> &BeaconUrl {
        &self.url
    }
}

/// Collects what is answered in one round.
#[derive(Debug)]
pub struct Round {
    secret: Secret,
    /// By their rank, so that those who go are those of the highest ranks, whenever they came.
    responders: BTreeMap<(u64, IpAddr), Vec<BeaconUrl>>,
}

impl Round {
    /// Begins a round. A reader keeps its secret, so that those who are first stay so from round to round.
    pub const fn new(secret: Secret) -> Self {
        Self { secret, responders: BTreeMap::new() }
    }

    /// Takes a beacon that answered.
    pub fn take(&mut self, beacon: LocalBeacon) {
        let LocalBeacon { responder, url } = beacon;
        let rank = self.secret.responder(responder);
        let beacons = self.responders.entry((rank, responder)).or_default();
        if beacons.len() < BEACONS_PER_RESPONDER && !beacons.contains(&url) {
            beacons.push(url);
        }
        if self.responders.len() > RESPONDERS_MAX {
            self.responders.pop_last();
        }
    }

    /// Returns the beacons: the first of each responder, then the second of each.
    pub fn in_turns(&self) -> Vec<BeaconUrl> {
        let turn = |number: usize| self.responders.values().filter_map(move |beacons| beacons.get(number)).cloned();
        (0..BEACONS_PER_RESPONDER).flat_map(turn).collect()
    }
}

/// Says what becomes of one place for beacons of the local network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A beacon takes it.
    Begin {
        /// The place, below [`LOCAL_BEACONS_MAX`].
        place: usize,
        /// The beacon.
        beacon: BeaconUrl,
    },
    /// Its beacon is not used any more.
    End {
        /// The place.
        place: usize,
    },
}

/// A beacon that has a place.
#[derive(Clone, Debug)]
struct Used {
    beacon: BeaconUrl,
    silent_rounds: u8,
}

/// Holds the beacons of the local network that are used, each in its place, from round to round.
#[derive(Clone, Debug)]
pub struct LocalBeacons {
    configured: Vec<BeaconUrl>,
    places: [Option<Used>; LOCAL_BEACONS_MAX],
}

impl LocalBeacons {
    /// Begins with none. Those that are configured take no place.
    pub fn new(configured: Vec<BeaconUrl>) -> Self {
        Self { configured, places: Default::default() }
    }

    /// Takes what a round found, in turns, and returns what changes, in order. `is_busy` says of a place whether its beacon
    /// is still good for something, or still to answer: then silence does not end it.
    pub fn heard(&mut self, found: &[BeaconUrl], is_busy: impl Fn(usize) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        for (place, content) in self.places.iter_mut().enumerate() {
            let Some(used) = content else { continue };
            used.silent_rounds = if found.contains(&used.beacon) { 0 } else { used.silent_rounds.saturating_add(1) };
            if used.silent_rounds >= SILENT_ROUNDS && !is_busy(place) {
                *content = None;
                changes.push(Change::End { place });
            }
        }
        for beacon in found {
            if self.configured.contains(beacon) || self.used().any(|used| used == beacon) {
                continue;
            }
            let free = self.places.iter_mut().enumerate().find(|(_, content)| content.is_none());
            let Some((place, content)) = free else { break };
            *content = Some(Used { beacon: beacon.clone(), silent_rounds: 0 });
            changes.push(Change::Begin { place, beacon: beacon.clone() });
        }
        changes
    }

    /// Returns the beacons that are used.
    pub fn used(&self) -> impl Iterator<Item = &BeaconUrl> {
        self.places.iter().flatten().map(|used| &used.beacon)
    }
}
