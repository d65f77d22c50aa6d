//! What an edge has to know of its host: where addresses come from, and how many edges share the process.

use rendezvous_protocol::limits::{
    NETWORKS_IN_A_SITE, NEW_COMMUNITIES_PER_MINUTE, NEW_COMMUNITIES_PER_NETWORK_AND_MINUTE,
};

use crate::config::Config;

/// Where a client's address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSource<'a> {
    /// In a header of this name.
    Header(&'a str),
    /// The client is the other end of the connection.
    Connection,
}

/// What an edge serves at the address to which its host binds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doors {
    /// Everything: there is one address.
    All,
    /// All but what is the operator's alone.
    Everybody,
    /// What is the operator's alone.
    Operator,
}

/// Holds what the host knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Where the client's address is unless the configuration says otherwise.
    address_source: AddressSource<'static>,
    /// How many edges share the process.
    edges: u32,
    doors: Doors,
    /// Frames after which a connection of `GET /live` ends, unless the configuration says otherwise. 0: it does not.
    live_frames: u32,
    /// Whether the host sends pings of a WebSocket's own.
    pings: bool,
    /// Whether requests are described to the edge with every header that it may ask for.
    describes_headers: bool,
    /// Bytes of all bodies of requests that are in memory while they arrive.
    bodies_max_bytes: usize,
    /// Whether a request over TLS comes by a name that is the beacon's own, whatever its sender writes there.
    routes_by_name: bool,
}

/// The free plan gives each run of a Worker 10 ms of processor time, and a connection is one run: 15 to 30 µs a frame.
const FRAMES_OF_A_RUN: u32 = 200;

impl Platform {
    /// Is Cloudflare Workers: a header has the client's address, the runtime knows the autonomous system, an isolate has
    /// one edge.
    pub const CLOUDFLARE: Self = Self {
        address_source: AddressSource::Header("CF-Connecting-IP"),
        edges: 1,
        doors: Doors::All,
        live_frames: FRAMES_OF_A_RUN,
        pings: false,
        describes_headers: false,
        // A quarter of what an isolate has.
        bodies_max_bytes: 32 * 1024 * 1024,
        routes_by_name: true,
    };

    /// Makes the platform of a program that listens by itself, and in which so many edges share clients out among them.
    pub fn of_program(edges: u32) -> Self {
        Self {
            address_source: AddressSource::Connection,
            edges: edges.max(1),
            doors: Doors::Everybody,
            live_frames: 0,
            pings: true,
            describes_headers: true,
            bodies_max_bytes: 64 * 1024 * 1024,
            routes_by_name: false,
        }
    }

    /// Returns the platform of the edge of that program which serves the operator, at an address of its own.
    #[must_use]
    pub const fn for_operator(self) -> Self {
        Self { doors: Doors::Operator, ..self }
    }

    /// Returns what an edge serves.
    pub(crate) const fn doors(&self) -> Doors {
        self.doors
    }

    /// Returns where the client's address is. A header that the configuration names is the only one that counts.
    pub fn address_source<'a>(&self, config: &'a Config) -> AddressSource<'a> {
        match config.client_address_header.as_deref() {
            Some(name) if !self.is_own_header(name) => AddressSource::Header(name),
            _ => self.address_source,
        }
    }

    /// Returns whether the host says the autonomous system of a client: where it says the address.
    pub fn says_autonomous_system(&self, config: &Config) -> bool {
        matches!(self.address_source, AddressSource::Header(_)) && self.address_source(config) == self.address_source
    }

    fn is_own_header(&self, name: &str) -> bool {
        matches!(self.address_source, AddressSource::Header(own) if own.eq_ignore_ascii_case(name))
    }

    /// Returns after how many frames a connection of `GET /live` ends, if it does.
    pub(crate) fn live_frames(&self, config: &Config) -> Option<u32> {
        Some(config.live_frames.unwrap_or(self.live_frames)).filter(|frames| *frames > 0)
    }

    /// Returns whether the host sends pings of a WebSocket's own (RFC 6455, section 5.5.2).
    pub(crate) const fn pings(&self) -> bool {
        self.pings
    }

    /// Returns whether requests are described with every header that may matter, or the host is to be asked for those of
    /// which few requests have need.
    pub(crate) const fn describes_headers(&self) -> bool {
        self.describes_headers
    }

    /// Returns how many bytes of bodies may be in memory while they arrive.
    pub(crate) const fn bodies_max_bytes(&self) -> usize {
        self.bodies_max_bytes
    }

    /// Returns how many edges share the process.
    pub(crate) const fn edges(&self) -> u32 {
        self.edges
    }

    /// Returns whether the host of an `https` URL is one of the beacon's own names.
    pub(crate) const fn routes_by_name(&self) -> bool {
        self.routes_by_name
    }

    /// Returns how many new communities a minute one edge lets through: its part of what one process may, but never less
    /// than what a single site may name.
    pub(crate) fn new_communities_per_minute(&self) -> u32 {
        let of_a_site = NEW_COMMUNITIES_PER_NETWORK_AND_MINUTE.saturating_mul(NETWORKS_IN_A_SITE);
        (NEW_COMMUNITIES_PER_MINUTE / self.edges.max(1)).max(of_a_site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::given;

    fn config(variables: &[(&str, &str)]) -> Config {
        Config::parse(given(variables)).unwrap()
    }

    #[test]
    fn an_address_is_the_platforms_unless_the_configuration_names_a_header() {
        let source = |platform: &Platform, header: &str| {
            let config = config(&[("CLIENT_ADDRESS_HEADER", header)]);
            let source = match platform.address_source(&config) {
                AddressSource::Header(name) => name.to_owned(),
                AddressSource::Connection => "connection".to_owned(),
            };
            (source, platform.says_autonomous_system(&config))
        };
        for (header, on_cloudflare, in_a_program) in [
            ("", ("CF-Connecting-IP", true), ("connection", false)),
            ("cf-connecting-ip", ("CF-Connecting-IP", true), ("cf-connecting-ip", false)),
            ("X-Real-IP", ("X-Real-IP", false), ("X-Real-IP", false)),
        ] {
            let owned = |(source, says): (&str, bool)| (source.to_owned(), says);
            assert_eq!(source(&Platform::CLOUDFLARE, header), owned(on_cloudflare));
            assert_eq!(source(&Platform::of_program(1), header), owned(in_a_program));
        }
    }

    #[test]
    fn a_connection_ends_after_as_many_frames_as_the_configuration_says_or_suit_the_host() {
        for (value, on_cloudflare, in_a_program) in [("", Some(200), None), ("0", None, None), ("7", Some(7), Some(7))]
        {
            let config = config(&[("LIVE_FRAMES", value)]);
            assert_eq!(Platform::CLOUDFLARE.live_frames(&config), on_cloudflare, "{value}");
            assert_eq!(Platform::of_program(1).live_frames(&config), in_a_program, "{value}");
        }
    }

    #[test]
    fn edges_share_what_a_process_may_start() {
        let per_minute = |edges| Platform::of_program(edges).new_communities_per_minute();
        assert_eq!([per_minute(0), per_minute(1), per_minute(8), per_minute(64)], [600, 600, 75, 40]);
    }
}
