//! Beacons of the local network: what an answer says, who has a place, and what nobody gains.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use rendezvous_protocol::beacon_url::{BeaconUrl, BeaconUrlError};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::lan::{
    ATTRIBUTE_MAX_BYTES, BEACONS_PER_RESPONDER, Change, LOCAL_BEACONS_MAX, LocalBeacon, LocalBeaconError, LocalBeacons,
    RESPONDERS_MAX, Round, SILENT_ROUNDS, attributes, is_listened_to, is_local, is_on_link,
};
use rendezvous_protocol::secret::Secret;

const PLAIN: [&str; 3] = ["txtvers=1", "path=/", "tls=no"];

/// An attribute as it is on the wire, taken apart.
fn pair(attribute: &[u8]) -> (&[u8], Option<&[u8]>) {
    match attribute.iter().position(|byte| *byte == b'=') {
        Some(at) => (&attribute[..at], Some(&attribute[at + 1..])),
        None => (attribute, None),
    }
}

fn read(from: &str, port: u16, attributes: &[&str]) -> Result<String, LocalBeaconError> {
    LocalBeacon::read(from.parse().unwrap(), port, attributes.iter().map(|text| pair(text.as_bytes())))
        .map(|beacon| beacon.url().to_string())
}

fn beacon(from: IpAddr, port: u16) -> LocalBeacon {
    LocalBeacon::read(from, port, PLAIN.iter().map(|text| pair(text.as_bytes()))).unwrap()
}

fn url(text: &str) -> BeaconUrl {
    BeaconUrl::parse(text).unwrap()
}

#[test]
fn what_a_beacon_says_of_itself_is_read_as_its_address() {
    let names: Vec<_> = ["chess", "mainnet"].iter().map(|name| Community::new(name).unwrap()).collect();
    let written: Vec<_> = attributes(names.iter()).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(written, ["txtvers=1", "path=/", "tls=no", "communities=chess,mainnet"]);
    let written: Vec<_> = written.iter().map(String::as_str).collect();
    assert_eq!(read("192.168.1.5", 8787, &written), Ok("http://192.168.1.5:8787".to_owned()));
    assert_eq!(attributes([].into_iter()).len(), 3, "nothing is said of communities that are not listed");
    let long: Vec<_> = (0..16).map(|number| Community::new(&format!("{number:064}")).unwrap()).collect();
    let attribute = attributes(long.iter()).pop().unwrap();
    assert!(attribute.0.len() + 1 + attribute.1.len() <= ATTRIBUTE_MAX_BYTES);
    assert!(attribute.1.split(',').all(|name| name.len() == 64), "each whole: {attribute:?}");
}

#[test]
fn an_answer_is_read_as_the_standard_says_or_refused_by_name() {
    use LocalBeaconError::{Address, NotLocal, PathNotAbsolute, PathNotText, Tls, Version};
    for (from, port, attributes, expected) in [
        ("10.1.2.3", 80, &PLAIN[..], Ok("http://10.1.2.3")),
        ("169.254.7.8", 8787, &["TXTVERS=1"], Ok("http://169.254.7.8:8787")),
        ("fd12::5", 8787, &["txtvers=1", "path=/a/", "unknown", "path=/b"], Ok("http://[fd12::5]:8787/a")),
        ("::ffff:10.1.2.3", 8787, &PLAIN, Ok("http://10.1.2.3:8787")),
        ("10.1.2.3", 8787, &["txtvers=1", "path=//evil.example"], Ok("http://10.1.2.3:8787//evil.example")),
        ("203.0.113.5", 8787, &PLAIN, Err(NotLocal)),
        ("10.1.2.3", 8787, &[], Err(Version)),
        ("10.1.2.3", 8787, &["txtvers"], Err(Version)),
        ("10.1.2.3", 8787, &["txtvers=2", "txtvers=1"], Err(Version)),
        ("10.1.2.3", 8787, &["txtvers=1", "tls=yes"], Err(Tls)),
        ("10.1.2.3", 8787, &["txtvers=1", "tls="], Err(Tls)),
        ("10.1.2.3", 0, &PLAIN, Err(Address(BeaconUrlError::HostOrPort))),
        ("10.1.2.3", 8787, &["txtvers=1", "path=@evil.example/"], Err(PathNotAbsolute)),
        ("10.1.2.3", 8787, &["txtvers=1", "path="], Err(PathNotAbsolute)),
        ("10.1.2.3", 8787, &["txtvers=1", "path=/?a"], Err(Address(BeaconUrlError::Query))),
        ("10.1.2.3", 8787, &["txtvers=1", "path=/a b"], Err(Address(BeaconUrlError::NotAUrl))),
    ] {
        assert_eq!(read(from, port, attributes), expected.map(str::to_owned), "{from} {port} {attributes:?}");
    }
    let path = [&b"txtvers=1"[..], b"path=/\xff"];
    assert_eq!(LocalBeacon::read("10.1.2.3".parse().unwrap(), 8787, path.into_iter().map(pair)), Err(PathNotText));
}

#[test]
fn an_address_that_means_another_machine_elsewhere_is_local_and_no_other() {
    for local in ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.255.1", "169.254.0.1", "fc00::1", "fdff::1"] {
        assert!(is_local(local.parse().unwrap()), "{local}");
    }
    for other in [
        "127.0.0.1",
        "0.0.0.0",
        "8.8.8.8",
        "100.64.0.1",
        "172.32.0.1",
        "192.0.2.1",
        "224.0.0.251",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "2001:db8::1",
        "fe80::1",
        "ff02::fb",
    ] {
        assert!(!is_local(other.parse().unwrap()), "{other}");
    }
}

#[test]
fn what_came_through_a_router_is_not_of_the_network() {
    for (address, own, prefix, expected) in [
        ("10.1.2.3", "10.1.2.9", 24, true),
        ("10.1.3.3", "10.1.2.9", 24, false),
        ("10.1.3.3", "10.1.2.9", 16, true),
        ("10.1.2.3", "10.1.2.9", 32, false),
        ("10.1.2.9", "10.1.2.9", 32, true),
        ("10.1.2.3", "192.168.0.1", 0, true),
        ("::ffff:10.1.2.3", "10.1.2.9", 24, true),
        ("fd00::1:2", "fd00::2", 64, true),
        ("fd00:0:0:1::2", "fd00::2", 64, false),
        ("fd00::2", "fd00::2", 200, true),
        ("fd00::2", "10.1.2.9", 0, false),
    ] {
        assert_eq!(is_on_link(address.parse().unwrap(), own.parse().unwrap(), prefix), expected, "{address} {prefix}");
    }
}

#[test]
fn an_address_is_announced_where_somebody_listens() {
    for (address, listened, expected) in [
        ("10.0.0.5", "0.0.0.0", true),
        ("fd00::5", "0.0.0.0", false),
        ("10.0.0.5", "::", true),
        ("fd00::5", "::", true),
        ("10.0.0.5", "10.0.0.5", true),
        ("10.0.0.5", "::ffff:10.0.0.5", true),
        ("10.0.0.6", "10.0.0.5", false),
        ("fd00::5", "fd00::5", true),
        ("10.0.0.5", "fd00::5", false),
        ("10.0.0.5", "127.0.0.1", false),
    ] {
        let [address, listens] = [address, listened].map(|text| text.parse().unwrap());
        assert_eq!(is_listened_to(address, listens), expected, "{address} {listened}");
    }
}

#[test]
fn a_beacon_keeps_its_place_while_it_is_heard_or_good_for_something() {
    let mut beacons = LocalBeacons::new(vec![url("http://10.0.0.1:8787")]);
    let [configured, one, two] = ["http://10.0.0.1:8787", "http://10.0.0.2:8787", "http://10.0.0.3:8787"].map(url);
    let begin = |place, beacon: &BeaconUrl| Change::Begin { place, beacon: beacon.clone() };
    let idle = |_| false;
    assert_eq!(beacons.heard(&[configured, one.clone(), one.clone()], idle), [begin(0, &one)]);
    assert_eq!(beacons.heard(&[two.clone(), one.clone()], idle), [begin(1, &two)]);
    for _ in 1..SILENT_ROUNDS {
        assert_eq!(beacons.heard(std::slice::from_ref(&two), idle), []);
    }
    assert_eq!(beacons.heard(std::slice::from_ref(&two), |place| place == 0), [], "one that still answers is not left");
    assert_eq!(beacons.heard(std::slice::from_ref(&two), idle), [Change::End { place: 0 }]);
    assert_eq!(beacons.heard(&[two.clone(), one.clone()], idle), [begin(0, &one)]);
    assert_eq!(beacons.used().collect::<Vec<_>>(), [&one, &two]);
}

/// Responders are few, so that they meet, or many.
fn answers() -> impl Strategy<Value = Vec<(u8, u16)>> {
    prop_oneof![
        prop::collection::vec((0_u8..6, 1_u16..8), 0..40),
        prop::collection::vec((any::<u8>(), 1_u16..4), 0..300)
    ]
}

proptest! {
    /// The plain rule: those responders whose rank is lowest, each with its first few, in turns. The rank is the secret's
    /// alone, and is read off a round in which everybody has a place.
    #[test]
    fn who_answers_first_or_most_gains_nothing(answers in answers(), shift in 0_usize..300, secret in any::<[u8; 16]>()) {
        let round_of = |answers: &[(u8, u16)]| {
            let mut round = Round::new(Secret::from_bytes(secret));
            for (responder, port) in answers {
                round.take(beacon(IpAddr::from([10, 0, 0, *responder]), *port));
            }
            round.in_turns()
        };
        let found = round_of(&answers);
        let responder = |beacon: &BeaconUrl| beacon.as_str().split(':').nth(1).unwrap().to_owned();
        let mut counts = BTreeMap::<_, usize>::new();
        for beacon in &found {
            *counts.entry(responder(beacon)).or_default() += 1;
        }
        let everybody: BTreeSet<_> = answers.iter().map(|(responder, _)| *responder).collect();
        prop_assert_eq!(counts.len(), everybody.len().min(RESPONDERS_MAX));
        prop_assert!(counts.values().all(|count| *count <= BEACONS_PER_RESPONDER));
        prop_assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
        // As many turns as somebody has beacons, and in each nobody twice.
        let first: Vec<_> = found.iter().take(counts.len()).map(responder).collect();
        prop_assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), counts.len());

        // Whoever comes first, the same responders have the same turns.
        let mut moved = answers.clone();
        moved.rotate_left(shift % answers.len().max(1));
        let turns = |found: &[BeaconUrl]| found.iter().take(counts.len()).map(responder).collect::<Vec<_>>();
        prop_assert_eq!(turns(&round_of(&moved)), turns(&found));
        // Whoever answers a hundred times, too.
        if let Some(loud) = answers.first() {
            let repeated: Vec<_> = std::iter::repeat_n(*loud, 100).chain(answers.iter().copied()).collect();
            prop_assert_eq!(round_of(&repeated), found);
        }
    }

    #[test]
    fn places_are_few_never_a_configured_beacons_and_told_in_changes(
        rounds in prop::collection::vec((prop::collection::vec(0_u8..14, 0..14), any::<u8>()), 0..30),
    ) {
        let name = |number: u8| url(&format!("http://10.0.0.{number}:8787"));
        let mut beacons = LocalBeacons::new(vec![name(0), name(1)]);
        let mut places = BTreeMap::new();
        let mut silent = BTreeMap::<BeaconUrl, u8>::new();
        for (found, busy) in rounds {
            let found: Vec<_> = found.into_iter().map(name).collect();
            let is_busy = |place: usize| busy >> place & 1 == 1;
            for used in places.values() {
                let rounds = silent.entry(BeaconUrl::clone(used)).or_default();
                *rounds = if found.contains(used) { 0 } else { rounds.saturating_add(1) };
            }
            for change in beacons.heard(&found, is_busy) {
                match change {
                    Change::Begin { place, beacon } => {
                        prop_assert!(found.contains(&beacon) && beacon != name(0) && beacon != name(1));
                        silent.insert(beacon.clone(), 0);
                        prop_assert_eq!(places.insert(place, beacon), None);
                    }
                    Change::End { place } => {
                        let ended = places.remove(&place).unwrap();
                        prop_assert!(silent[&ended] >= SILENT_ROUNDS && !is_busy(place));
                    }
                }
            }
            prop_assert!(places.len() <= LOCAL_BEACONS_MAX && places.keys().all(|place| *place < LOCAL_BEACONS_MAX));
            prop_assert_eq!(places.values().collect::<Vec<_>>(), beacons.used().collect::<Vec<_>>());
            // Nobody waits while a place is free.
            let waits = found.iter().any(|one| *one != name(0) && *one != name(1) && !places.values().any(|used| used == one));
            prop_assert!(!waits || places.len() == LOCAL_BEACONS_MAX);
        }
    }
}
