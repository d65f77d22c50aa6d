//! The addresses in an entry. One grammar, so that every reader takes and refuses the same ones without a parser of URLs:
//! `https`, a name of the DNS, perhaps a port and a path, and nothing in another spelling.
//!
//! An entry sends every client of a community to its addresses. Without a user, a query and an address literal there is
//! little that such a request could do to whoever is not a beacon, and nothing to somebody's own network by its number.

use super::limits::ADDRESS_MAX_BYTES;

/// Characters of a label of the DNS.
const LABEL_MAX_BYTES: usize = 63;

/// Characters of a name of the DNS.
const NAME_MAX_BYTES: usize = 253;

/// Returns whether a text is an address as an entry has them.
pub fn is_address(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let (name, port) = authority.split_once(':').map_or((authority, None), |(name, port)| (name, Some(port)));
    text.len() <= ADDRESS_MAX_BYTES
        && is_name(name)
        && port.is_none_or(is_port)
        && path.is_none_or(|path| path.split('/').all(is_segment))
}

/// Returns the name of the DNS in an address.
pub fn host(address: &str) -> &str {
    let rest = address.strip_prefix("https://").unwrap_or(address);
    rest.split(['/', ':']).next().unwrap_or_default()
}

/// At least two labels, the last of which begins with a letter: no spelling of an IPv4 address does.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_MAX_BYTES).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    let last = name.rsplit_once('.').map(|(_, last)| last);
    name.len() <= NAME_MAX_BYTES
        && name.split('.').all(is_label)
        && last.is_some_and(|last| last.starts_with(|first: char| first.is_ascii_lowercase()))
}

fn is_port(port: &str) -> bool {
    !port.starts_with('0')
        && port != "443"
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

fn is_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        for (text, host) in [
            ("https://a.example", "a.example"),
            ("https://a.example:8443", "a.example"),
            ("https://a.example:1/b/C_~.-9", "a.example"),
            ("https://xn--bcher-kva.example/peers.json", "xn--bcher-kva.example"),
            ("https://1.2.3.x4", "1.2.3.x4"),
        ] {
            assert!(is_address(text), "{text}");
            assert_eq!(super::host(text), host);
            // The URL standard reads it as the same.
            assert_eq!(crate::beacon_url::BeaconUrl::parse(text).unwrap().as_str(), text);
        }
        let long = format!("https://a.example/{}", "x".repeat(ADDRESS_MAX_BYTES - 18));
        assert!(is_address(&long) && !is_address(&format!("{long}x")));
        let label = "x".repeat(LABEL_MAX_BYTES);
        assert!(is_address(&format!("https://{label}.example")) && !is_address(&format!("https://{label}x.example")));
        for text in [
            "",
            "http://a.example",
            "wss://a.example",
            "HTTPS://a.example",
            "https://A.example",
            "https://a.example/",
            "https://a.example//b",
            "https://a.example/b/",
            "https://a.example/../b",
            "https://a.example/./b",
            "https://a.example/%41",
            "https://a.example/b?c",
            "https://a.example/b#c",
            "https://a.example/b c",
            "https://u@a.example",
            "https://u:p@a.example",
            "https://a.example:443",
            "https://a.example:0",
            "https://a.example:08",
            "https://a.example:65536",
            "https://a.example:",
            "https://a.example:+1",
            "https://a.example.",
            "https://.example",
            "https://a..example",
            "https://-a.example",
            "https://a-.example",
            "https://localhost",
            "https://127.0.0.1",
            "https://127.1",
            "https://0x7f.1",
            "https://0x7f.0x1",
            "https://1.2.3.4.5",
            "https://[::1]",
            "https://b\u{fc}cher.example",
            "https://a_b.example",
            " https://a.example",
            "https://a.example\n",
        ] {
            assert!(!is_address(text), "{text}");
        }
    }
}
