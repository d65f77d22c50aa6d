//! How libp2p writes where a port is (multiaddr), as far as guests and relays are reached so.

use std::net::IpAddr;

/// What may follow a port: how libp2p speaks over it.
const PROTOCOLS: [&str; 7] = ["quic", "quic-v1", "tls", "webrtc-direct", "webtransport", "ws", "wss"];

/// Holds what an address of a port says: `/ip4/203.0.113.7/udp/4001/quic-v1`, with `/p2p/` and a name at the end or not.
pub(super) struct Endpoint<'a> {
    pub(super) host: Host,
    /// Who is there, where the address says so.
    pub(super) peer: Option<&'a str>,
}

/// Says where a port is.
pub(super) enum Host {
    Ip(IpAddr),
    /// At a name of the DNS.
    Name,
}

impl<'a> Endpoint<'a> {
    /// Reads an address of a port. It is absent where the text is none.
    pub(super) fn read(address: &'a str) -> Option<Self> {
        let mut parts = address.strip_prefix('/')?.split('/');
        let (family, host, transport, port) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let host = match family {
            "ip4" => Host::Ip(IpAddr::V4(host.parse().ok()?)),
            "ip6" => Host::Ip(IpAddr::V6(host.parse().ok()?)),
            "dns" | "dns4" | "dns6" if is_name(host) => Host::Name,
            _ => return None,
        };
        if !matches!(transport, "tcp" | "udp") || !is_port(port) {
            return None;
        }
        while let Some(part) = parts.next() {
            match part {
                "certhash" => parts.next().filter(|hash| is_multibase(hash)).map(|_| ())?,
                // Nothing comes after it.
                "p2p" => {
                    let peer = Some(parts.next()?);
                    return parts.next().is_none().then_some(Self { host, peer });
                }
                protocol if PROTOCOLS.contains(&protocol) => {}
                _ => return None,
            }
        }
        Some(Self { host, peer: None })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

/// Returns whether a text is a port as it is written: with digits alone, and none to spare.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0) && text.starts_with(|first: char| matches!(first, '1'..='9'))
}

fn is_multibase(text: &str) -> bool {
    text.starts_with('u') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
