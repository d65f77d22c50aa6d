//! Web origins: which pages may announce for a community.
//!
//! A page's browser says in the header `Origin` where the page is from, and no page can say otherwise. Whoever is no
//! browser sends no such header, or any: this keeps pages of others from lending their visitors' networks, and nothing
//! else.

use serde::Serialize;

use crate::sorted_set::SortedSet;

/// Holds an origin (RFC 6454): a scheme, a host, and a port unless it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin(String);

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`, in any case, and nothing more: no path, no wildcard, no user.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let authority = rest.strip_prefix("//")?;
        let mut letters = scheme.bytes();
        let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        // The colon of a port comes after the bracket of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let host = host.to_ascii_lowercase();
        let is_host = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
            // A name beyond ASCII is told in its ASCII form by browsers.
            None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
        };
        if !is_scheme || !is_host {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let port = match port {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse::<u16>().ok()?),
            Some(_) => return None,
            None => None,
        };
        let own = match scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        };
        let port = port.filter(|port| Some(*port) != own).map(|port| format!(":{port}")).unwrap_or_default();
        Some(Self(format!("{scheme}://{host}{port}")))
    }

    /// Returns the origin as browsers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        let authority = self.0.split_once(':').map_or("", |(_, rest)| rest.trim_start_matches('/'));
        match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => authority,
        }
    }
}

/// Returns whether a page of another origin than those `allowed` sent a request with this `Origin` header. Where
/// nothing is said of origins none is foreign, and neither is a request without the header. `null`, which browsers send
/// for a page that hides its origin, is.
pub fn is_foreign(allowed: Option<&SortedSet<Origin>>, header: Option<&str>) -> bool {
    match (allowed, header) {
        (Some(allowed), Some(header)) => !Origin::parse(header).is_some_and(|origin| allowed.contains(&origin)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for (text, expected) in [
            ("https://a.example", "https://a.example"),
            ("HTTPS://A.Example:443", "https://a.example"),
            ("http://a.example:80", "http://a.example"),
            ("http://a.example:443", "http://a.example:443"),
            ("https://a.example:08443", "https://a.example:8443"),
            ("http://[::1]:8790", "http://[::1]:8790"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ] {
            assert_eq!(Origin::parse(text), Some(Origin(expected.to_owned())), "{text}");
        }
        for (text, host) in
            [("http://A.example:8080", "a.example"), ("https://a.example", "a.example"), ("http://[::1]:8790", "[::1]")]
        {
            assert_eq!(Origin::parse(text).unwrap().host(), host);
        }
        for text in [
            "",
            "null",
            "*",
            "a.example",
            "https://",
            "https://*",
            "https://*.a.example",
            "https://a.example/",
            "https://a.example/page",
            "https://a.example?query",
            "https://user@a.example",
            "https://a.example:",
            "https://a.example:port",
            "https://a.example:65536",
            "https://a.example:+1",
            "https://a.example:1:2",
            "https://[a.example]",
            "https://[::1",
            "https://ä.example",
            "https://a example",
            "://a.example",
            "1s://a.example",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_foreign() {
        let allowed: SortedSet<_> =
            ["https://a.example", "https://b.example:8443"].into_iter().filter_map(Origin::parse).collect();
        for (header, expected) in [
            (None, false),
            (Some("https://a.example"), false),
            (Some("https://b.example:8443"), false),
            (Some("https://b.example"), true),
            (Some("http://a.example"), true),
            (Some("https://a.example.evil.example"), true),
            (Some("null"), true),
            (Some(""), true),
        ] {
            assert_eq!(is_foreign(Some(&allowed), header), expected, "{header:?}");
            assert!(!is_foreign(None, header));
        }
    }
}
