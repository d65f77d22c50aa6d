//! What an edge has to know of its host: where addresses come from, which names are its own, who shares the process.
//!
//! A beacon on somebody's own machine must not be read by whatever page that person opens. A page reaches it in two ways:
//! by a name of the page's own that it lets point to 127.0.0.1 (DNS rebinding), against which names are checked, and by
//! the machine's own name, against which origins are. A beacon on Cloudflare is only ever reached by its names.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use rendezvous_protocol::limits::{
    NETWORKS_IN_A_SITE, NEW_COMMUNITIES_PER_MINUTE, NEW_COMMUNITIES_PER_NETWORK_AND_MINUTE,
};
use rendezvous_protocol::origin::Origin;

use crate::config::Config;
use crate::problem::Problem;

/// Where a client's address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSource<'a> {
    /// In a header of this name.
    Header(&'a str),
    /// The client is the other end of the connection.
    Connection,
}

/// Holds what the host knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Where the client's address is unless the configuration says otherwise.
    address_source: AddressSource<'static>,
    /// The names that requests have to be for, where the platform does not see to that.
    names: Option<OwnNames>,
    /// How many edges share the process.
    edges: u32,
}

impl Platform {
    /// Makes the platform of Cloudflare Workers: a header has the client's address, the runtime knows the autonomous
    /// system, an isolate has one edge, and no request gets here but by a name that is routed here.
    pub const CLOUDFLARE: Self =
        Self { address_source: AddressSource::Header("CF-Connecting-IP"), names: None, edges: 1 };

    /// Makes the platform of a program that listens on an address by itself, and in which so many edges share clients
    /// out among them.
    pub fn of_program(config: &Config, listens_on: IpAddr, edges: u32) -> Self {
        let names = Some(OwnNames::new(config, listens_on));
        Self { address_source: AddressSource::Connection, names, edges: edges.max(1) }
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

    /// Returns how many new communities a minute one edge lets through: its part of what one process may, but never less
    /// than what a single site may name.
    pub(crate) fn new_communities_per_minute(&self) -> u32 {
        let of_a_site = NEW_COMMUNITIES_PER_NETWORK_AND_MINUTE.saturating_mul(NETWORKS_IN_A_SITE);
        (NEW_COMMUNITIES_PER_MINUTE / self.edges.max(1)).max(of_a_site)
    }

    /// Checks that a request is for this beacon, and may come from the page that sends it.
    pub(crate) fn answers_to(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), Problem> {
        self.names.as_ref().map_or(Ok(()), |names| names.check(host, origin))
    }
}

/// The names of one beacon.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnNames {
    /// Those of `EXTERNAL_URLS`.
    configured: BTreeSet<String>,
    /// Whether other machines reach it by its address. An address is no name that a page could let point elsewhere.
    is_reached_by_address: bool,
    /// The origins of the pages that may ask it by a name of the own machine, besides pages of that machine. Absent where
    /// a proxy asks, which may use such a name for everybody.
    pages: Option<BTreeSet<Origin>>,
}

impl OwnNames {
    fn new(config: &Config, listens_on: IpAddr) -> Self {
        let is_proxied = config.client_address_header.is_some();
        let origins = || config.origins.iter().flatten().chain(&config.external_urls).cloned().collect();
        Self {
            configured: config.external_urls.iter().map(|url| url.host().to_owned()).collect(),
            is_reached_by_address: !listens_on.to_canonical().is_loopback(),
            pages: (!is_proxied).then(origins),
        }
    }

    fn check(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), Problem> {
        let name = host.and_then(name_of).ok_or(Problem::HostMissing)?;
        if self.configured.contains(&name) {
            return Ok(());
        }
        if is_own_machine(&name, self.is_reached_by_address) {
            return match (&self.pages, origin) {
                (Some(pages), Some(origin)) if !is_welcome(pages, origin) => Err(Problem::OriginForeign),
                _ => Ok(()),
            };
        }
        let is_address = address_of(&name).is_some();
        if is_address && self.is_reached_by_address { Ok(()) } else { Err(Problem::HostUnknown) }
    }
}

fn is_welcome(pages: &BTreeSet<Origin>, origin: &str) -> bool {
    Origin::parse(origin).is_some_and(|origin| is_own_machine(origin.host(), false) || pages.contains(&origin))
}

/// Returns the name or the address of a `Host` header, without the port, in lower case and without the dot of a name
/// that is written out in full.
fn name_of(host: &str) -> Option<String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    let is_host = (name.starts_with('[') || !name.contains(':'))
        && Origin::parse(&format!("http://{name}")).is_some()
        && port.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.strip_suffix('.').unwrap_or(name);
    (is_host && !name.is_empty()).then(|| name.to_ascii_lowercase())
}

fn address_of(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok(),
    }
}

/// Returns whether a name is one for the machine on which it is looked up (RFC 6761, section 6.3). `0.0.0.0` and `::`,
/// too, lead there, where anything listens on all addresses.
fn is_own_machine(name: &str, listens_on_all: bool) -> bool {
    match address_of(name).map(|address| address.to_canonical()) {
        Some(address) => address.is_loopback() || (listens_on_all && address.is_unspecified()),
        None => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1";
    const ALL: &str = "0.0.0.0";

    fn config(variables: &[(&str, &str)]) -> Config {
        Config::parse(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
            .unwrap()
    }

    fn code(platform: &Platform, host: &str, origin: Option<&str>) -> &'static str {
        platform.answers_to(Some(host), origin).map_or_else(|problem| problem.code(), |()| "")
    }

    fn program(variables: &[(&str, &str)], listens_on: &str) -> Platform {
        Platform::of_program(&config(variables), listens_on.parse().unwrap(), 1)
    }

    #[test]
    fn a_name_is_the_own_machines_or_configured() {
        let configured = [("EXTERNAL_URLS", "https://beacon.example/,http://[2001:db8::1]:8787")];
        for (host, on_loopback, on_all) in [
            ("127.0.0.1:8787", true, true),
            ("127.0.0.1", true, true),
            ("127.8.8.8", true, true),
            ("localhost:8787", true, true),
            ("LOCALHOST.", true, true),
            ("a.localhost", true, true),
            ("[::1]:8787", true, true),
            ("[::ffff:127.0.0.1]", true, true),
            ("beacon.example", true, true),
            ("BEACON.example.:8787", true, true),
            ("[2001:db8::1]", true, true),
            ("192.0.2.1:8787", false, true),
            ("[2001:db8::2]:8787", false, true),
            ("0.0.0.0:8787", false, true),
            ("rebound.example:8787", false, false),
            ("localhost.rebound.example", false, false),
            ("127.0.0.1.rebound.example", false, false),
            ("xlocalhost", false, false),
            ("a.beacon.example", false, false),
        ] {
            let expected = |is_fine| if is_fine { "" } else { "MISDIRECTED_REQUEST" };
            assert_eq!(code(&program(&configured, LOOPBACK), host, None), expected(on_loopback), "{host}");
            assert_eq!(code(&program(&configured, ALL), host, None), expected(on_all), "{host}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let platform = program(&[], LOOPBACK);
        for host in ["", ":8787", ".", "a b", "user@127.0.0.1", "127.0.0.1:80x", "[::1", "127.0.0.1/x", "127.0.0.1:1:2"]
        {
            assert_eq!(code(&platform, host, None), "MALFORMED", "{host}");
        }
        assert!(platform.answers_to(None, None).is_err());
        assert!(Platform::CLOUDFLARE.answers_to(None, Some("https://any.example")).is_ok());
    }

    #[test]
    fn a_page_of_elsewhere_does_not_read_a_beacon_on_the_own_machine() {
        let variables = [("ORIGINS", "https://app.example"), ("EXTERNAL_URLS", "https://beacon.example")];
        let names = |variables: &[(&str, &str)], listens_on| {
            let platform = program(variables, listens_on);
            move |host, origin| code(&platform, host, Some(origin)).is_empty()
        };
        for listens_on in [LOOPBACK, ALL] {
            let may = names(&variables, listens_on);
            for host in ["127.0.0.1:8787", "localhost"] {
                for origin in
                    ["http://localhost:3000", "http://127.0.0.1:8790", "https://app.example", "https://beacon.example"]
                {
                    assert!(may(host, origin), "{host} {origin}");
                }
                for origin in
                    ["https://evil.example", "null", "", "http://localhost.evil.example", "file://", "http://0.0.0.0"]
                {
                    assert!(!may(host, origin), "{host} {origin}");
                }
            }
            assert!(may("beacon.example", "https://evil.example"), "what has a name is for everybody");
        }
        assert!(!names(&[], ALL)("0.0.0.0:8787", "https://evil.example"));
        assert!(names(&[], ALL)("192.0.2.1", "https://any.example"));
        let behind_a_proxy = names(&[("CLIENT_ADDRESS_HEADER", "X-Real-IP")], LOOPBACK);
        assert!(behind_a_proxy("127.0.0.1:8787", "https://any.example"));
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
            assert_eq!(source(&program(&[], LOOPBACK), header), owned(in_a_program));
        }
    }

    #[test]
    fn edges_share_what_a_process_may_start() {
        let per_minute =
            |edges| Platform::of_program(&config(&[]), LOOPBACK.parse().unwrap(), edges).new_communities_per_minute();
        assert_eq!([per_minute(0), per_minute(1), per_minute(8), per_minute(64)], [600, 600, 75, 40]);
    }
}
