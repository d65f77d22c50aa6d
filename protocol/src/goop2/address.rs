//! Which addresses of a guest are passed on.
//!
//! Whoever reads an address dials it. So a guest may name only the address that it publishes from, and circuits of the
//! relay that the operator chose: else one message would make every reader knock at a stranger's door. A name of the DNS
//! is whoever's it points to, so there are none; nor is there an address that means another machine to each reader.

use std::net::IpAddr;

use crate::goop2::endpoint::{Endpoint, Host};
use crate::goop2::guest_id::GuestId;
use crate::goop2::relay::CircuitRelay;
use crate::limits::GUEST_ADDRESSES;

/// Keeps those of a guest's addresses that may be passed on, the first few of them.
pub(super) fn keep_addresses(
    addresses: Vec<String>,
    publisher: Option<IpAddr>,
    own: &GuestId,
    relay: Option<&CircuitRelay>,
) -> Vec<String> {
    let mut kept = Vec::new();
    for address in addresses {
        let may_stay = is_own(&address, publisher, own) || relay.is_some_and(|relay| is_circuit(&address, own, relay));
        if may_stay && kept.len() < GUEST_ADDRESSES && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}

/// Returns whether an address is a port of the publisher's own public address.
fn is_own(address: &str, publisher: Option<IpAddr>, own: &GuestId) -> bool {
    Endpoint::read(address).is_some_and(|Endpoint { host, peer }| {
        let publisher = publisher.map(|publisher| publisher.to_canonical());
        let is_host = matches!(host, Host::Ip(host) if publisher == Some(host) && is_public(host));
        is_host && peer.is_none_or(|peer| peer == own.as_str())
    })
}

/// Returns whether an address is a circuit to the guest by the relay.
fn is_circuit(address: &str, own: &GuestId, relay: &CircuitRelay) -> bool {
    let by_name = format!("/p2p/{}", relay.id());
    let rest = relay
        .addresses()
        .iter()
        .map(String::as_str)
        .chain([by_name.as_str()])
        .find_map(|relay| address.strip_prefix(relay)?.strip_prefix("/p2p-circuit"));
    match rest {
        Some("") => true,
        Some(rest) => rest.strip_prefix("/p2p/") == Some(own.as_str()),
        None => false,
    }
}

/// Returns whether an address means the same machine to everybody.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            // Of a carrier's own customers (RFC 6598).
            let is_shared = first == 100 && second & 0xc0 == 64;
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_broadcast()
                || is_shared
                || first == 0
                || first >= 224)
        }
        // Global unicast (RFC 4291, section 2.4); whatever else there is has a meaning of its own in each network.
        IpAddr::V6(address) => address.segments()[0] & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goop2::guest_id::tests::id;

    fn kept(address: &str, publisher: &str) -> bool {
        let relay = CircuitRelay::new(vec![format!("/ip4/203.0.113.9/tcp/4001/p2p/{}", id(9))]).unwrap();
        let publisher = Some(publisher.parse().unwrap());
        !keep_addresses(vec![address.to_owned()], publisher, &id(1), Some(&relay)).is_empty()
    }

    #[test]
    fn an_address_leads_to_the_publisher_or_to_a_circuit_of_the_relay() {
        let (own, relay, other) = (id(1), id(9), id(2));
        for (address, publisher) in [
            ("/ip4/203.0.113.7/tcp/4001".to_owned(), "203.0.113.7"),
            ("/ip4/203.0.113.7/tcp/4001".to_owned(), "::ffff:203.0.113.7"),
            (format!("/ip4/203.0.113.7/udp/4001/quic-v1/p2p/{own}"), "203.0.113.7"),
            (
                "/ip4/203.0.113.7/udp/4001/quic-v1/webtransport/certhash/uEiA_x-y/certhash/uEiB".to_owned(),
                "203.0.113.7",
            ),
            ("/ip6/2001:db8::7/tcp/443/tls/ws".to_owned(), "2001:db8::7"),
            (format!("/ip4/203.0.113.9/tcp/4001/p2p/{relay}/p2p-circuit"), "203.0.113.7"),
            (format!("/ip4/203.0.113.9/tcp/4001/p2p/{relay}/p2p-circuit/p2p/{own}"), "203.0.113.7"),
            (format!("/p2p/{relay}/p2p-circuit"), "10.0.0.1"),
        ] {
            assert!(kept(&address, publisher), "{address}");
        }
        for (address, publisher) in [
            // Another machine.
            ("/ip4/203.0.113.8/tcp/4001".to_owned(), "203.0.113.7"),
            ("/ip6/2001:db8::8/tcp/4001".to_owned(), "2001:db8::7"),
            ("/dns4/victim.example/tcp/443".to_owned(), "203.0.113.7"),
            ("/dnsaddr/victim.example".to_owned(), "203.0.113.7"),
            // Another circuit, or another peer at the end of it.
            (format!("/ip4/203.0.113.8/tcp/4001/p2p/{relay}/p2p-circuit"), "203.0.113.7"),
            (format!("/ip4/203.0.113.9/tcp/4001/p2p/{other}/p2p-circuit"), "203.0.113.7"),
            (format!("/ip4/203.0.113.9/tcp/4001/p2p/{relay}/p2p-circuit/p2p/{other}"), "203.0.113.7"),
            (format!("/ip4/203.0.113.9/tcp/4001/p2p/{relay}/p2p-circuit/ip4/203.0.113.8"), "203.0.113.7"),
            (format!("/ip4/203.0.113.7/tcp/4001/p2p/{other}"), "203.0.113.7"),
            (format!("/ip4/203.0.113.7/tcp/4001/p2p/{own}/p2p-circuit"), "203.0.113.7"),
            // An address that means another machine to each reader.
            ("/ip4/127.0.0.1/tcp/4001".to_owned(), "127.0.0.1"),
            ("/ip4/10.0.0.1/tcp/4001".to_owned(), "10.0.0.1"),
            ("/ip4/172.16.0.1/tcp/4001".to_owned(), "172.16.0.1"),
            ("/ip4/192.168.0.1/tcp/4001".to_owned(), "192.168.0.1"),
            ("/ip4/169.254.0.1/tcp/4001".to_owned(), "169.254.0.1"),
            ("/ip4/100.64.0.1/tcp/4001".to_owned(), "100.64.0.1"),
            ("/ip4/0.0.0.0/tcp/4001".to_owned(), "0.0.0.0"),
            ("/ip4/224.0.0.1/tcp/4001".to_owned(), "224.0.0.1"),
            ("/ip6/::1/tcp/4001".to_owned(), "::1"),
            ("/ip6/fe80::1/tcp/4001".to_owned(), "fe80::1"),
            ("/ip6/fd00::1/tcp/4001".to_owned(), "fd00::1"),
            ("/ip6/::ffff:203.0.113.7/tcp/4001".to_owned(), "203.0.113.7"),
            // Not an address.
            (String::new(), "203.0.113.7"),
            ("ip4/203.0.113.7/tcp/4001".to_owned(), "203.0.113.7"),
            ("/ip4/203.0.113.7".to_owned(), "203.0.113.7"),
            ("/ip4/203.0.113.7/tcp/0".to_owned(), "203.0.113.7"),
            ("/ip4/203.0.113.7/tcp/65536".to_owned(), "203.0.113.7"),
            ("/ip4/203.0.113.7/sctp/4001".to_owned(), "203.0.113.7"),
            ("/ip4/203.0.113.7/tcp/4001/".to_owned(), "203.0.113.7"),
            ("/ip4/203.0.113.7/tcp/4001/http/<script>".to_owned(), "203.0.113.7"),
            ("/ip6/fe80::1%25eth0/tcp/4001".to_owned(), "fe80::1"),
        ] {
            assert!(!kept(&address, publisher), "{address}");
        }
    }

    #[test]
    fn the_first_few_are_kept_each_once_and_none_of_a_publisher_without_an_address() {
        let addresses = |count: u16| (1..=count).map(|port| format!("/ip4/203.0.113.7/tcp/{port}")).collect::<Vec<_>>();
        let twice = [addresses(1), addresses(20)].concat();
        let publisher = Some("203.0.113.7".parse().unwrap());
        assert_eq!(keep_addresses(twice.clone(), publisher, &id(1), None), addresses(8));
        assert!(keep_addresses(twice, None, &id(1), None).is_empty());
    }
}
