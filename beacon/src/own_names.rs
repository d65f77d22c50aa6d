//! The names that are a beacon's own: the origins that what is signed for it names, and, on one machine, the hosts that it
//! answers to.
//!
//! A beacon on somebody's own machine must not be read by whatever page that person opens. A page reaches it in two ways:
//! by a name of the page's own that it lets point to 127.0.0.1 (DNS rebinding), against which names are checked, and by
//! the machine's own name, against which origins are. A platform that routes requests by name, as Cloudflare does, needs
//! nothing of these checks.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::sorted_set::SortedSet;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::config::Config;
use crate::edge::Head;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::query::origin_of;

/// Holds the names of one beacon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNames {
    /// Those of `EXTERNAL_URLS`, and those that the host has given itself.
    configured: SortedSet<String>,
    /// Whether other machines reach it by its address. An address is not a name that a page could let point elsewhere.
    is_reached_by_address: bool,
    /// The origins of the pages that may ask it by a name of the own machine, besides pages of that machine. Absent where
    /// a proxy asks, which may use such a name for everybody.
    pages: Option<SortedSet<Origin>>,
}

impl OwnNames {
    /// Makes the names of a beacon that listens on this address.
    pub fn new(config: &Config, listens_on: IpAddr) -> Self {
        let is_proxied = config.client_address_header.is_some();
        let origins = || config.origins.iter().flatten().chain(&config.external_urls).cloned().collect();
        Self {
            configured: config.external_urls.iter().map(|url| url.host().to_owned()).collect(),
            is_reached_by_address: !listens_on.to_canonical().is_loopback(),
            pages: (!is_proxied).then(origins),
        }
    }

    /// Returns the same with a name that the host has given itself, in lower case, and that no page far away can let point
    /// elsewhere.
    #[must_use]
    pub fn with(mut self, name: String) -> Self {
        self.configured.insert(name);
        self
    }

    /// Returns the answer to a request that is not for this beacon, or may not come from the page that sends it. `host` is
    /// the one that the request names, with its port; absent where it names none, or several.
    pub fn refuse(&self, now: UnixMillis, host: Option<&str>, origin: Option<&str>) -> Option<Answer> {
        self.check(host, origin).err().map(|problem| problem.answer_without_list(now))
    }

    /// Returns whether requests for this host, with its port, are for this beacon.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        self.check(Some(host), None).is_ok()
    }

    fn check(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), Problem> {
        let name = host.and_then(name_of).ok_or(Problem::HostMissing)?;
        if self.configured.iter().any(|own| *own == *name) {
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

/// Returns the origins that are this beacon's: those that are configured. Where none are, the one that the client
/// dialled, if nobody can have written another one there: on a platform that routes by name over TLS, or on the own
/// machine, as `Host` has it, where only somebody on that machine could.
pub(crate) fn audiences(config: &Config, platform: &Platform, head: &Head<'_>) -> Vec<Origin> {
    if !config.external_urls.is_empty() {
        return config.external_urls.clone();
    }
    if platform.routes_by_name()
        && let Some(origin) = origin_of(head.url, "https://")
    {
        return vec![origin];
    }
    // Where the host gives an absolute URL, `Host` is in it.
    let dialled = match head.host {
        Some(host) => Origin::parse(&format!("http://{host}")),
        None => origin_of(head.url, "http://"),
    };
    dialled.filter(|origin| is_own_machine(origin.host(), false)).into_iter().collect()
}

fn is_welcome(pages: &SortedSet<Origin>, origin: &str) -> bool {
    Origin::parse(origin).is_some_and(|origin| is_own_machine(origin.host(), false) || pages.contains(&origin))
}

/// Returns the name or the address of a `Host` header, without the port, in lower case and without the dot of a name
/// that is written out in full.
pub(crate) fn name_of(host: &str) -> Option<Cow<'_, str>> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    let is_name = if name.starts_with('[') {
        address_of(name).is_some()
    } else {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if !is_name || name.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

fn address_of(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok(),
    }
}

/// Returns whether a name is one for the machine on which it is looked up (RFC 6761, section 6.3). `0.0.0.0` and `::`,
/// too, lead there, where anything listens on all addresses.
pub(crate) fn is_own_machine(name: &str, listens_on_all: bool) -> bool {
    match address_of(name).map(|address| address.to_canonical()) {
        Some(address) => address.is_loopback() || (listens_on_all && address.is_unspecified()),
        None => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Outcome;
    use crate::config::given;

    const LOOPBACK: &str = "127.0.0.1";
    const ALL: &str = "0.0.0.0";

    fn program(variables: &[(&str, &str)], listens_on: &str) -> OwnNames {
        OwnNames::new(&Config::parse(given(variables)).unwrap(), listens_on.parse().unwrap())
    }

    fn code(names: &OwnNames, host: &str, origin: Option<&str>) -> &'static str {
        match names.refuse(UnixMillis::saturating(0), Some(host), origin).map(|answer| (answer.status, answer.outcome))
        {
            None => "",
            Some((400 | 421, Outcome::Refused(code))) => code,
            Some(other) => panic!("{other:?}"),
        }
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
    fn a_name_of_the_local_network_is_one_once_the_host_has_it() {
        let names = program(&[], ALL);
        assert_eq!(code(&names, "beacon-1.local:8787", None), "MISDIRECTED_REQUEST");
        let names = names.with("beacon-1.local".to_owned());
        for host in ["beacon-1.local:8787", "BEACON-1.local.", "192.168.1.5:8787"] {
            assert_eq!(code(&names, host, Some("https://app.example")), "", "{host}");
        }
        for host in ["beacon-2.local", "a.beacon-1.local", "beacon-1.local.rebound.example"] {
            assert_eq!(code(&names, host, None), "MISDIRECTED_REQUEST", "{host}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let names = program(&[], LOOPBACK);
        for host in ["", ":8787", ".", "a b", "user@127.0.0.1", "127.0.0.1:80x", "[::1", "127.0.0.1/x", "127.0.0.1:1:2"]
        {
            assert_eq!(code(&names, host, None), "MALFORMED", "{host}");
        }
        assert!(names.refuse(UnixMillis::saturating(0), None, None).is_some());
    }

    #[test]
    fn a_page_of_elsewhere_does_not_read_a_beacon_on_the_own_machine() {
        let variables = [("ORIGINS", "https://app.example"), ("EXTERNAL_URLS", "https://beacon.example")];
        let may_ask = |variables: &[(&str, &str)], listens_on| {
            let names = program(variables, listens_on);
            move |host, origin| code(&names, host, Some(origin)).is_empty()
        };
        for listens_on in [LOOPBACK, ALL] {
            let may = may_ask(&variables, listens_on);
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
        assert!(!may_ask(&[], ALL)("0.0.0.0:8787", "https://evil.example"));
        assert!(may_ask(&[], ALL)("192.0.2.1", "https://any.example"));
        let behind_a_proxy = may_ask(&[("CLIENT_ADDRESS_HEADER", "X-Real-IP")], LOOPBACK);
        assert!(behind_a_proxy("127.0.0.1:8787", "https://any.example"));
    }
}
