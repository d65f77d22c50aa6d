//! Addresses of beacons. One beacon has one spelling: two spellings would be two shares of a capsule, two voices about
//! the time, and a revocation that matches nothing.

use std::fmt;

use url::Url;

use crate::limits::BEACON_URL_MAX_BYTES;

/// The address of a beacon, in its one spelling: `http` or `https`, a host, perhaps a port and a path, without a user, a
/// query, a fragment, or a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BeaconUrl(String);

/// Why a text is not the address of a beacon. The text is not repeated: a password may be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeaconUrlError {
    /// Not a URL.
    #[error("it is no URL")]
    NotAUrl,
    /// Another scheme than `http` and `https`, or none.
    #[error("it must begin with https:// or http://")]
    Scheme,
    /// A user's name or a password.
    #[error("it must not have a user or a password in it")]
    User,
    /// No host, or something else than a port after it.
    #[error("it must have a host in it, and after a colon a port from 1 to 65535")]
    HostOrPort,
    /// More than an address.
    #[error("it must be without `?` or `#`")]
    Query,
    /// Longer than a list of revocations could carry.
    #[error("it must be of at most {BEACON_URL_MAX_BYTES} bytes")]
    TooLong,
}

impl BeaconUrl {
    /// Reads an address in any spelling.
    ///
    /// # Errors
    /// See [`BeaconUrlError`].
    pub fn parse(text: &str) -> Result<Self, BeaconUrlError> {
        // The URL standard forgives white space, backslashes and missing slashes. Whoever wrote those meant something
        // else, and would be shown another address than the one that was given.
        if text.is_empty() || text.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return Err(BeaconUrlError::NotAUrl);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BeaconUrlError::Scheme)?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(BeaconUrlError::Scheme);
        }
        let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(BeaconUrlError::User);
        }
        if authority.is_empty() || authority.ends_with(':') {
            return Err(BeaconUrlError::HostOrPort);
        }
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::InvalidPort | url::ParseError::EmptyHost => BeaconUrlError::HostOrPort,
            _ => BeaconUrlError::NotAUrl,
        })?;
        if url.port() == Some(0) {
            return Err(BeaconUrlError::HostOrPort);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BeaconUrlError::Query);
        }
        normal_form(url).map(Self).ok_or(BeaconUrlError::TooLong)
    }

    /// Returns the address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BeaconUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Returns whether a text is the one spelling under which a beacon may be revoked: the URL standard's, without fragment
/// and without slashes at its end, of any scheme.
pub(crate) fn is_normal(text: &str) -> bool {
    Url::parse(text).ok().and_then(normal_form).as_deref() == Some(text)
}

fn normal_form(mut url: Url) -> Option<String> {
    url.set_fragment(None);
    let normal = url.as_str().trim_end_matches('/');
    (1..=BEACON_URL_MAX_BYTES).contains(&normal.len()).then(|| normal.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_becomes_one() {
        for (text, normal) in [
            ("https://beacon.example", "https://beacon.example"),
            ("https://beacon.example/", "https://beacon.example"),
            ("https://beacon.example///", "https://beacon.example"),
            ("HTTPS://Beacon.Example:443/a/../b/", "https://beacon.example/b"),
            ("http://LOCALHOST:8787", "http://localhost:8787"),
            ("http://localhost:08787/", "http://localhost:8787"),
            ("http://127.1:8787", "http://127.0.0.1:8787"),
            ("http://[0:0::1]:8787/eu//", "http://[::1]:8787/eu"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
        ] {
            let url = BeaconUrl::parse(text).unwrap();
            assert_eq!(url.as_str(), normal);
            assert_eq!(BeaconUrl::parse(normal), Ok(url));
            assert!(is_normal(normal), "{normal}");
            assert_eq!(is_normal(text), text == normal, "{text}");
        }
    }

    #[test]
    fn whatever_is_more_or_less_than_an_address_is_refused() {
        for (text, error) in [
            ("", BeaconUrlError::NotAUrl),
            ("https://a b.example", BeaconUrlError::NotAUrl),
            (" https://a.example", BeaconUrlError::NotAUrl),
            ("https://a.example\n", BeaconUrlError::NotAUrl),
            ("https://[::1", BeaconUrlError::NotAUrl),
            ("beacon.example", BeaconUrlError::Scheme),
            ("localhost:8787", BeaconUrlError::Scheme),
            ("https:/a.example", BeaconUrlError::Scheme),
            ("https:a.example", BeaconUrlError::Scheme),
            ("ftp://a.example", BeaconUrlError::Scheme),
            ("https://u:p@a.example", BeaconUrlError::User),
            ("https://u@a.example", BeaconUrlError::User),
            ("https://@a.example", BeaconUrlError::User),
            ("https://", BeaconUrlError::HostOrPort),
            ("https:///path", BeaconUrlError::HostOrPort),
            ("https://:80", BeaconUrlError::HostOrPort),
            ("https://a.example:", BeaconUrlError::HostOrPort),
            ("https://a.example:0", BeaconUrlError::HostOrPort),
            ("https://a.example:99999", BeaconUrlError::HostOrPort),
            ("https://a.example:x", BeaconUrlError::HostOrPort),
            ("https://a.example/?x", BeaconUrlError::Query),
            ("https://a.example/#x", BeaconUrlError::Query),
            ("https://a.example/?", BeaconUrlError::Query),
            (&format!("https://a.example/{}", "x".repeat(2_031)), BeaconUrlError::TooLong),
        ] {
            assert_eq!(BeaconUrl::parse(text), Err(error), "{text}");
        }
        assert!(BeaconUrl::parse(&format!("https://a.example/{}", "x".repeat(2_030))).is_ok());
    }
}
