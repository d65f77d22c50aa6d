//! Every layout that is signed, sent or stored, pinned by a literal, and the normal form of tickets.
//!
//! A literal here changes only together with a version number: other implementations, and files and rows that exist,
//! have the old one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "a test stops where it fails")]

use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::beacon_url::BeaconUrl;
use rendezvous_protocol::canonical::canonical;
use rendezvous_protocol::capsule::{
    self, Capsule, CapsuleBytes, CapsuleFiles, CapsuleRules, Contents, Origins, TicketStatus, Trust,
};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::merge::Entry;
use rendezvous_protocol::network::{Client, NetworkPath};
use rendezvous_protocol::peer_list::{ObjectFigures, PeerList};
use rendezvous_protocol::revocation::Revocations;
use rendezvous_protocol::roster::{Counts, Departed, Departure, Excluded, Record, Roster, RosterLimits};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::snapshot::{Snapshot, SnapshotError};
use rendezvous_protocol::ticket::{
    Nonce, Payload, PeerData, PeerId, Purpose, Ticket, TicketRules, UserId, VerifiedTicket,
};
use rendezvous_protocol::time::UnixMillis;
use rendezvous_protocol::{base64, limits};
use serde_json::Value;

/// Key `a` of the vectors.
const PRIVATE_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIKrFWKg7uhrlwvzA1M3ugs+5scN51eoVMEoC475mTNpv";
const PUBLIC_KEY: &str = "AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=";

/// The payload of the vector `plain`, and its ticket as every beacon gives it back.
const SIGNED_BYTES: &str = r#"{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"}"#;
const TICKET: &str = r#"{"algorithm":"ed25519","payload":{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"CGCXsm6UAcOyUREKPHqZIJfEvRpZB3KbCz3zE5BtALgfHwDPelbwca5RYubNV5aCmx5CUD7ANxypX/nooy+GCw==","version":1}"#;

/// With `community` and `leave`, and a name that has to be escaped.
const LEAVE_SIGNED_BYTES: &str = r#"{"community":"mainnet","expiresAt":1700000180000,"issuedAt":1700000000000,"leave":true,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"\"é\\/ 𝄞"}"#;
const LEAVE_TICKET: &str = r#"{"algorithm":"ed25519","payload":{"community":"mainnet","expiresAt":1700000180000,"issuedAt":1700000000000,"leave":true,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"\"é\\/ 𝄞"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"TEMiFiBKXsGYsxxSPxJNnQ0d7zhHYbZQ1BigQcFab7sWJoMqjVvWKKwUOI1p4cvIg5AbLrNTSv7dvHXY5PY1DQ==","version":1}"#;

/// The payload of the vector `data_after_community`, and its normal form.
const DATA_SIGNED_BYTES: &str = r#"{"community":"mainnet","data":"x","expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"}"#;
const DATA_TICKET: &str = r#"{"algorithm":"ed25519","payload":{"community":"mainnet","data":"x","expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"4+ulSpj529zRGsqyNAU1sQ8Oqm+sq2HrABaUYy9y96INt+jys52G65x5qtXNFcduJr+OrHzvmAlnl6aXEX/fAQ==","version":1}"#;

/// The capsule of [`TICKET`]. What is signed inside it is that of the vector `good`, and so is that signature.
const CAPSULE: &str = r#"{"version":1,"community":"mainnet","issuedAt":1700000010000,"expiresAt":1700001810000,
"peers":[
{"algorithm":"ed25519","payload":{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"CGCXsm6UAcOyUREKPHqZIJfEvRpZB3KbCz3zE5BtALgfHwDPelbwca5RYubNV5aCmx5CUD7ANxypX/nooy+GCw==","version":1}
],
"signature":"Vx/FknuqMcceAOm3lnIX8qzBu+2njaxFMY1Fg72B/Xx91ILGtzy2/eBJ4X8CSeTsoqi4VWwb8TR/AzJ1e8EDDQ==","algorithm":"ed25519"}
"#;
const CAPSULE_SIGNATURE: &str =
    "2GrwtUIpWQW3+B/ZtS7dovj0BD/l4FuR4lFfspMrYcGUg0Uex7f1bUVWd7kD9GA7jDPhqRmVV52JXBDSQ707Bg==\n";
const EMPTY_CAPSULE: &str = r#"{"version":1,"community":"mainnet","issuedAt":1700000010000,"expiresAt":1700001810000,
"peers":[],
"signature":"hQzUvGnSj3psmbSUddIj8Y/3S2XSqFQvzJpP59PHbbL7UpSu3O+6P6IhjYbaT6mGsDi1D2NFqsDnafhRj3RRBg==","algorithm":"ed25519"}
"#;

/// One peer that is here, having come back, one that left, and one of whom only the goodbye came.
const SNAPSHOT: &str = r#"{"version":2,"takenAt":1700000003000,"secret":"MDEyMzQ1Njc4OWFiY2RlZg==","records":[{"acceptedAt":1700000001000,"since":1700000000100,"returned":true,"path":"AQIDBAUGBwgRERERERERESEhISEhISEh","broughtAt":1700000001500,"ticket":{"algorithm":"ed25519","payload":{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"CGCXsm6UAcOyUREKPHqZIJfEvRpZB3KbCz3zE5BtALgfHwDPelbwca5RYubNV5aCmx5CUD7ANxypX/nooy+GCw==","version":1}}],"departed":[{"peerId":"peer-left","publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","issuedAt":1700000000500,"path":"AQIDBAUGBwgRERERERERESEhISEhISEh","broughtAt":1700000000000,"forgetAt":1700000180500,"last":{"acceptedAt":1700000000000,"since":1700000000000,"mayReturn":true}},{"peerId":"peer-unseen","publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","issuedAt":1700000000600,"path":"AQIDBAUGBwgRERERERERESEhISEhISEh","broughtAt":1700000000600,"forgetAt":1700000180600}]}"#;

/// The same as beacons of version 0.1.0 wrote it, less what those did not know.
const FIRST_SNAPSHOT: &str = r#"{"version":1,"takenAt":1700000003000,"salt":"MDEyMzQ1Njc4OWFiY2RlZg==","records":[{"acceptedAt":1700000001000,"network":"AQIDBAUGBwg=","ticket":{"algorithm":"ed25519","payload":{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"CGCXsm6UAcOyUREKPHqZIJfEvRpZB3KbCz3zE5BtALgfHwDPelbwca5RYubNV5aCmx5CUD7ANxypX/nooy+GCw==","version":1}}],"departed":[{"peerId":"peer-left","publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","issuedAt":1700000000500,"acceptedAt":1700000000000,"forgetAt":1700000180500}]}"#;

/// What the community's object hands to the Worker; during a deploy the two may be of different versions.
const LISTING: &str = r#"{"tag":"1700000002000-0","seed":7974311037003001972,"records":[{"acceptedAt":1700000001000,"since":1700000000100,"path":"AQIDBAUGBwgRERERERERESEhISEhISEh","ticket":{"algorithm":"ed25519","payload":{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"CGCXsm6UAcOyUREKPHqZIJfEvRpZB3KbCz3zE5BtALgfHwDPelbwca5RYubNV5aCmx5CUD7ANxypX/nooy+GCw==","version":1}}]}"#;

fn key() -> PrivateKey {
    PrivateKey::from_text(PRIVATE_KEY).unwrap()
}

fn mainnet() -> Community {
    Community::new("mainnet").unwrap()
}

fn at(millis: u64) -> UnixMillis {
    UnixMillis::new(millis).unwrap()
}

fn plain() -> Payload {
    Payload {
        peer_id: PeerId::new("peer-abc").unwrap(),
        user_id: UserId::new("user-1").unwrap(),
        data: None,
        issued_at: at(1_700_000_000_000),
        expires_at: at(1_700_000_180_000),
        nonce: Nonce::new(base64::decode("hfjbZu02ymbpkJK1").unwrap()).unwrap(),
        community: None,
        purpose: Purpose::Presence,
    }
}

fn leave() -> Payload {
    Payload {
        user_id: UserId::new("\"é\\/\u{2028}𝄞").unwrap(),
        community: Some(mainnet()),
        purpose: Purpose::Leave,
        ..plain()
    }
}

fn with_data() -> Payload {
    Payload { community: Some(mainnet()), data: PeerData::new("x"), ..plain() }
}

/// Every field as long as it can be, and `data` and `userId` of a character that is escaped.
fn longest() -> Payload {
    Payload {
        peer_id: PeerId::new(&"p".repeat(limits::PEER_ID_MAX_BYTES)).unwrap(),
        user_id: UserId::new(&"\"".repeat(limits::USER_ID_MAX_BYTES)).unwrap(),
        data: Some(PeerData::new(&"\"".repeat(limits::DATA_MAX_BYTES)).unwrap()),
        issued_at: at(UnixMillis::MAX.as_u64() - 180_000),
        expires_at: UnixMillis::MAX,
        nonce: Nonce::new(vec![0; limits::NONCE_MAX_BYTES]).unwrap(),
        community: Some(Community::new(&"c".repeat(limits::COMMUNITY_MAX_BYTES)).unwrap()),
        purpose: Purpose::Presence,
    }
}

fn verified(json: &str, purpose: Purpose) -> VerifiedTicket {
    Ticket::parse(json, purpose).unwrap().verify(&TicketRules::new(&mainnet()), at(1_700_000_000_000)).unwrap()
}

#[test]
fn the_signed_bytes_of_a_ticket_are_unchanged() {
    assert_eq!(plain().signed_bytes(), SIGNED_BYTES);
    assert_eq!(leave().signed_bytes(), LEAVE_SIGNED_BYTES);
    assert_eq!(with_data().signed_bytes(), DATA_SIGNED_BYTES);
}

proptest! {
    #[test]
    fn the_signed_bytes_of_any_ticket_are_canonical(
        peer_id in "[!-~]{1,40}".prop_filter_map("no peerId", |text| PeerId::new(&text)),
        user_id in "\\PC{1,32}".prop_filter_map("no userId", |text| UserId::new(&text)),
        community in proptest::option::of("[A-Za-z0-9._-]{1,64}".prop_map(|name| Community::new(&name).unwrap())),
        data in data(),
        purpose in prop_oneof![Just(Purpose::Presence), Just(Purpose::Leave)],
    ) {
        let data = data.filter(|_| purpose == Purpose::Presence);
        let payload = Payload { peer_id, user_id, data, community, purpose, ..plain() };
        let bytes = payload.signed_bytes();
        let value: Value = serde_json::from_str(&bytes).unwrap();
        prop_assert_eq!(canonical(&value), bytes);
        prop_assert_eq!(value["peerId"].as_str(), Some(payload.peer_id.as_str()));
        prop_assert_eq!(value["userId"].as_str(), Some(payload.user_id.as_str()));
        prop_assert_eq!(value["data"].as_str(), payload.data.as_ref().map(PeerData::as_str));
        prop_assert_eq!(value["community"].as_str(), payload.community.as_ref().map(Community::as_str));
    }
}

#[test]
fn the_normal_form_of_a_ticket_is_unchanged() {
    assert_eq!(Ticket::sign(plain(), &key()).to_json(), TICKET);
    assert_eq!(Ticket::sign(leave(), &key()).to_json(), LEAVE_TICKET);
    assert_eq!(verified(TICKET, Purpose::Presence).as_json(), TICKET);
    assert_eq!(verified(LEAVE_TICKET, Purpose::Leave).as_json(), LEAVE_TICKET);
    assert_eq!(Ticket::sign(with_data(), &key()).to_json(), DATA_TICKET);
    assert_eq!(verified(DATA_TICKET, Purpose::Presence).as_json(), DATA_TICKET);
}

/// What is stored and sent by the hundred is bounded by this.
#[test]
fn the_longest_ticket_has_1842_bytes() {
    let longest = Ticket::sign(longest(), &key()).to_json();
    assert_eq!(longest.len(), 1_842);
    assert!(longest.len() <= limits::TICKET_MAX_BYTES);
}

#[test]
fn a_goodbye_has_no_data() {
    let goodbye = Payload { data: PeerData::new("x"), ..leave() };
    let error = Ticket::parse(&Ticket::sign(goodbye, &key()).to_json(), Purpose::Leave).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        ("MALFORMED", "payload.data must be absent in a ticket to leave".to_owned())
    );
}

fn capsule_of(entries: &[Entry], beacons: &[BeaconUrl], revocations: &Revocations) -> CapsuleFiles {
    contents_of(entries, beacons, revocations, |contents| capsule::sign(contents, &key()))
}

fn contents_of<T>(
    entries: &[Entry],
    beacons: &[BeaconUrl],
    revocations: &Revocations,
    make: impl FnOnce(&Contents<'_>) -> T,
) -> T {
    make(&Contents {
        community: &mainnet(),
        issued_at: at(1_700_000_010_000),
        lifetime: Duration::from_secs(1_800),
        entries,
        beacons,
        revocations,
    })
}

fn entry() -> Entry {
    Entry { ticket: verified(TICKET, Purpose::Presence), listed_by: vec![1] }
}

#[test]
fn a_capsule_file_is_unchanged() {
    let files = capsule_of(&[entry()], &[], &Revocations::default());
    assert_eq!(files.json, CAPSULE);
    assert_eq!(contents_of(&[entry()], &[], &Revocations::default(), |contents| contents.json_bytes()), CAPSULE.len());
    assert_eq!(files.signature, CAPSULE_SIGNATURE);
    assert!(files.json.contains(vector_signature()));
}

/// Two lines more, and the signature inside is the same: it covers neither.
#[test]
fn a_capsule_file_with_revocations_and_origins_is_unchanged() {
    let revocations = Revocations {
        beacons: ["https://three.example".to_owned()].into(),
        publisher_keys: [PublicKey::from_text(PUBLIC_KEY).unwrap()].into(),
        ..Revocations::default()
    };
    let beacons = ["https://one.example", "https://two.example"].map(|url| BeaconUrl::parse(url).unwrap());
    let files = capsule_of(&[entry()], &beacons, &revocations);
    let further = format!(
        r#""revoked":{{"beacons":["https://three.example"],"publisherKeys":["{PUBLIC_KEY}"],"ticketKeys":[]}},
"origins":{{"beacons":["https://one.example","https://two.example"],"peers":[[1]]}},
"signature":"#
    );
    assert_eq!(files.json, CAPSULE.replace(r#""signature":"Vx"#, &format!("{further}\"Vx")));
    let community = mainnet();
    let rules = CapsuleRules::new(Trust::Key(key().public_key()), &community);
    let bytes =
        CapsuleBytes { json: files.json.as_bytes(), signature: Some(files.signature.as_bytes()), cosignatures: None };
    let capsule = Capsule::verify(bytes, &rules, at(1_700_000_020_000)).unwrap();
    assert_eq!(capsule.revocations, revocations);
    assert_eq!(
        capsule.origins,
        Some(Ok(Origins { beacons: beacons.iter().map(ToString::to_string).collect(), listed_by: vec![vec![1]] }))
    );
}

/// The embedded signature of the vector `good`: the file is laid out differently there, the signed bytes are the same.
const fn vector_signature() -> &'static str {
    "Vx/FknuqMcceAOm3lnIX8qzBu+2njaxFMY1Fg72B/Xx91ILGtzy2/eBJ4X8CSeTsoqi4VWwb8TR/AzJ1e8EDDQ=="
}

#[test]
fn an_empty_capsule_file_is_unchanged() {
    let files = capsule_of(&[], &[], &Revocations::default());
    assert_eq!(files.json, EMPTY_CAPSULE);
}

#[test]
fn a_capsule_of_version_1_is_still_read() {
    let community = mainnet();
    let rules = CapsuleRules::new(Trust::Key(PublicKey::from_text(PUBLIC_KEY).unwrap()), &community);
    let files =
        CapsuleBytes { json: CAPSULE.as_bytes(), signature: Some(CAPSULE_SIGNATURE.as_bytes()), cosignatures: None };
    let capsule = Capsule::verify(files, &rules, at(1_700_000_020_000)).unwrap();
    assert_eq!(capsule.issued_at, at(1_700_000_010_000));
    assert_eq!(capsule.expires_at, at(1_700_001_810_000));
    assert_eq!(capsule.peers, [(verified(TICKET, Purpose::Presence), TicketStatus::Live)]);
    assert!(capsule.refused.is_empty());
}

fn secret() -> Secret {
    Secret::from_bytes(*b"0123456789abcdef")
}

fn path() -> NetworkPath {
    let mut bytes = [0x21; 24];
    bytes[..16].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 17, 17, 17, 17, 17, 17, 17, 17]);
    NetworkPath::from_bytes(bytes)
}

fn departed(peer_id: &str, issued_at: u64, brought_at: u64, last: Option<Departure>) -> Departed {
    Departed {
        peer_id: PeerId::new(peer_id).unwrap(),
        public_key: PublicKey::from_text(PUBLIC_KEY).unwrap(),
        issued_at: at(issued_at),
        last,
        counts: Counts { path: path(), brought_at: at(brought_at) },
        forget_at: at(issued_at + 180_000),
    }
}

fn roster() -> Roster {
    let record = Record {
        ticket: verified(TICKET, Purpose::Presence),
        accepted_at: at(1_700_000_001_000),
        since: at(1_700_000_000_100),
        returned: true,
        counts: Counts { path: path(), brought_at: at(1_700_000_001_500) },
    };
    let start = at(1_700_000_000_000);
    let last = Departure { accepted_at: start, since: Some(start), may_return: true };
    let left = departed("peer-left", 1_700_000_000_500, 1_700_000_000_000, Some(last));
    let unseen = departed("peer-unseen", 1_700_000_000_600, 1_700_000_000_600, None);
    Roster::restore(RosterLimits::default(), secret(), at(1_700_000_002_000), [record], [left, unseen])
}

fn read_snapshot(text: &str) -> Result<Snapshot, SnapshotError> {
    Snapshot::decode(text, RosterLimits::default(), at(1_700_000_003_000))
}

#[test]
fn a_snapshot_is_unchanged_and_read() {
    assert_eq!(Snapshot::encode(at(1_700_000_003_000), &roster()).unwrap(), SNAPSHOT);
    let snapshot = read_snapshot(SNAPSHOT).unwrap();
    assert_eq!(snapshot.taken_at, at(1_700_000_003_000));
    assert_eq!(snapshot.roster.secret().as_bytes(), secret().as_bytes());
    assert!(snapshot.roster.records().eq(roster().records()));
    assert!(snapshot.roster.departed().eq(roster().departed()));
}

#[test]
fn a_snapshot_of_version_1_is_still_read() {
    let Snapshot { taken_at, roster } = read_snapshot(FIRST_SNAPSHOT).unwrap();
    assert_eq!(taken_at, at(1_700_000_003_000));
    assert_eq!(roster.secret().as_bytes(), secret().as_bytes());
    let record = roster.records().next().unwrap();
    assert_eq!(record.ticket, verified(TICKET, Purpose::Presence));
    assert_eq!([record.accepted_at, record.since], [at(1_700_000_001_000); 2]);
    let network = [1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(record.counts.path.to_bytes(), [network, network, network].concat().as_slice());
    let departed = roster.departed().next().unwrap();
    assert_eq!((departed.peer_id.as_str(), departed.issued_at), ("peer-left", at(1_700_000_000_500)));
    assert_eq!(departed.forget_at, at(1_700_000_180_500));
}

#[test]
fn a_snapshot_of_another_version_is_refused() {
    let next = SNAPSHOT.replacen(r#""version":2"#, r#""version":3"#, 1);
    let error = read_snapshot(&next).unwrap_err();
    assert!(matches!(error, SnapshotError::Version(3)), "{error}");
}

#[test]
fn a_snapshot_with_a_broken_field_is_refused_by_its_name() {
    let key = r#""publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","issuedAt""#;
    for (snapshot, whole, broken, field) in [
        (SNAPSHOT, "MDEyMzQ1Njc4OWFiY2RlZg==", "MDEyMzQ1Njc4OWFiY2RlZg", "secret"),
        (SNAPSHOT, "AQIDBAUGBwgRERERERERESEhISEhISEh", "AQIDBAUGBwgRERERERERESEhISEhIQ==", "path"),
        (SNAPSHOT, r#""algorithm":"ed25519""#, r#""algorithm":"rsa""#, "ticket"),
        (SNAPSHOT, r#""peerId":"peer-left""#, r#""peerId":"<""#, "peerId"),
        (SNAPSHOT, key, r#""publicKey":"","issuedAt""#, "publicKey"),
        (FIRST_SNAPSHOT, "MDEyMzQ1Njc4OWFiY2RlZg==", "MDEyMzQ1Njc4OWFiY2RlZg", "salt"),
        (FIRST_SNAPSHOT, "AQIDBAUGBwg=", "AQIDBAUGBw==", "network"),
        (FIRST_SNAPSHOT, r#""algorithm":"ed25519""#, r#""algorithm":"rsa""#, "ticket"),
    ] {
        assert!(snapshot.contains(whole));
        let error = read_snapshot(&snapshot.replace(whole, broken)).unwrap_err();
        assert!(matches!(error, SnapshotError::Field(found) if found == field), "{field}: {error}");
    }
}

#[test]
fn a_listing_is_unchanged_and_read() {
    let now = at(1_700_000_003_000);
    let text = PeerList::encode(&mut roster(), now, at(1_700_000_002_000), &ObjectFigures::default()).unwrap();
    assert_eq!(text, LISTING);
    let mut list = PeerList::decode(&text).unwrap();
    list.expire(now);
    assert_eq!((list.total(), list.tag(1)), (1, "1700000002000-0-1".to_owned()));
    assert_eq!(list.answer(50, Excluded::Nobody).peers, TICKET);
    assert_eq!(list.answer(50, Excluded::Nobody).since, "1700000000100");
    assert!(list.bytes() > TICKET.len());
    list.expire(at(1_700_000_180_000));
    assert_eq!((list.total(), list.tag(1)), (0, "1700000002000-0-0".to_owned()));
    assert_eq!(list.answer(50, Excluded::Nobody).peers, "");
    assert_eq!(*list.figures(), ObjectFigures::default());
}

#[test]
fn what_an_object_says_of_itself_comes_with_its_listing_as_it_is() {
    let [trend, activity] = [r#"{"live":[0,2]}"#, r#"{ "rows": 1 }"#].map(str::to_owned);
    for figures in [
        ObjectFigures { trend: trend.clone(), activity: activity.clone() },
        ObjectFigures { trend: String::new(), activity: activity.clone() },
        ObjectFigures { trend, activity: String::new() },
    ] {
        let text = PeerList::encode(&mut roster(), at(1_700_000_003_000), at(1_700_000_002_000), &figures).unwrap();
        assert!(text.starts_with(LISTING.strip_suffix('}').unwrap()), "{text}");
        let list = PeerList::decode(&text).unwrap();
        assert_eq!((list.total(), list.figures()), (1, &figures));
    }
}

/// While all fit, a tag says nothing of when the list was made; once they are drawn, it says of which draw it is.
#[test]
fn the_tag_of_a_listing_has_the_seed_in_it_only_where_there_is_a_draw() {
    let mut roster = roster();
    let other = Payload { peer_id: PeerId::new("peer-other").unwrap(), ..plain() };
    let other = verified(&Ticket::sign(other, &key()).to_json(), Purpose::Presence);
    roster.announce(at(1_700_000_003_000), other, path()).unwrap();
    let mut tags = |now| {
        let list = PeerList::decode(
            &PeerList::encode(&mut roster, at(now), at(1_700_000_002_000), &ObjectFigures::default()).unwrap(),
        )
        .unwrap();
        (list.tag(2), list.tag(1))
    };
    let (first, again, later) = (tags(1_700_000_003_000), tags(1_700_000_004_999), tags(1_700_000_005_000));
    assert_eq!(first, again);
    assert_eq!(first.0, later.0);
    assert_ne!(first.1, later.1);
}

/// Stored records name networks by these hashes: others would make every network a new one.
#[test]
fn the_hashes_of_networks_are_unchanged() {
    for (address, autonomous_system, path) in [
        (Some("192.0.2.1"), None, "4MPVY8tfTBHUACAzD5Zkdo2aXhaJh3+e"),
        (Some("192.0.2.1"), Some(64_496), "nIgIvKWSzQXUACAzD5Zkdo2aXhaJh3+e"),
        (Some("2001:db8::1"), None, "Y7ivG2diOqn1zTpMKkQ9f3qjtK5FbZ+6"),
        (None, None, "hRlo86QHUbBFumdwRmLsR2GYoI8kpsj0"),
    ] {
        let address = address.map(|address| address.parse().unwrap());
        let hashed = Client { address, autonomous_system }.hand_over().hashed(&secret());
        assert_eq!(base64::encode(&hashed.to_bytes()), path, "{address:?}");
    }
}

/// JSON text with white space and the keys in the order that `random` gives.
fn scrambled(value: &Value, random: &mut impl FnMut() -> u32) -> String {
    let mut space = String::new();
    for _ in 0..random() % 3 {
        space.push([' ', '\t', '\n', '\r'].into_iter().nth(random() as usize % 4).unwrap());
    }
    let parts = match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(key, item)| (random(), key, scrambled(item, random))).collect();
            fields.sort();
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(_, key, item)| format!("{space}{}{space}:{item}", Value::from(key.as_str())))
                .collect();
            format!("{{{}{space}}}", fields.join(","))
        }
        Value::String(text) => escaped(text, random),
        other => other.to_string(),
    };
    format!("{space}{parts}{space}")
}

/// A JSON string in which any character may be written as an escape.
fn escaped(text: &str, random: &mut impl FnMut() -> u32) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\') || random().is_multiple_of(4) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                json.push_str(&format!("\\u{unit:04X}"));
            }
        } else {
            json.push(character);
        }
    }
    json.push('"');
    json
}

fn data() -> impl Strategy<Value = Option<PeerData>> {
    // At most 128 characters of at most 4 bytes.
    prop::option::of("\\PC{1,128}".prop_map(|text| PeerData::new(&text).unwrap()))
}

fn payload() -> impl Strategy<Value = Payload> {
    (
        "[!#-%'-;=?-\\[\\]-~]([ !#-%'-;=?-\\[\\]-~]{0,126}[!#-%'-;=?-\\[\\]-~])?",
        // At most 32 characters of at most 4 bytes.
        "\\PC{1,32}",
        (0..(1_u64 << 53) - 1, 1..=u64::MAX),
        prop::collection::vec(any::<u8>(), limits::NONCE_MIN_BYTES..=limits::NONCE_MAX_BYTES),
        prop::option::of("[A-Za-z0-9._-]{1,64}"),
        data(),
        prop::bool::ANY,
    )
        .prop_map(|(peer_id, user_id, (issued_at, lifetime), nonce, community, data, leave)| Payload {
            peer_id: PeerId::new(&peer_id).unwrap(),
            user_id: UserId::new(&user_id).unwrap(),
            data: data.filter(|_| !leave),
            issued_at: at(issued_at),
            expires_at: UnixMillis::saturating(issued_at.saturating_add(lifetime)),
            nonce: Nonce::new(nonce).unwrap(),
            community: community.map(|community| Community::new(&community).unwrap()),
            purpose: if leave { Purpose::Leave } else { Purpose::Presence },
        })
}

proptest! {
    /// By the clause: 1 to 512 bytes of UTF-8, none of U+0000 to U+001F and U+007F to U+009F.
    #[test]
    fn data_is_any_text_of_512_bytes_without_control_characters(
        text in prop_oneof![".{0,200}", "\\PC{0,600}", "[ -~]{505,520}", "[\u{80}-\u{ffff}]{160,260}"],
    ) {
        let has_control = text.chars().any(|one| matches!(u32::from(one), 0..=0x1f | 0x7f..=0x9f));
        let fits = !text.is_empty() && text.len() <= 512 && !has_control;
        prop_assert_eq!(PeerData::new(&text).is_some(), fits);
        let mut fields: Value = serde_json::from_str(TICKET).unwrap();
        fields["payload"]["data"] = text.clone().into();
        let parsed = Ticket::parse(&fields.to_string(), Purpose::Presence);
        match parsed {
            Ok(ticket) => prop_assert_eq!(ticket.payload().data.as_ref().map(PeerData::as_str), Some(text.as_str())),
            Err(error) => prop_assert!(!fits && error.code() == "MALFORMED", "{}", error),
        }
    }

    /// Whatever the layout, the order of keys and the escapes: one ticket has one normal form, and it is a ticket.
    #[test]
    fn a_ticket_has_one_normal_form(payload in payload(), seed: u32, signature in prop::array::uniform32(any::<u8>())) {
        let mut state = seed | 1;
        let mut random = || {
            // xorshift32 (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        let purpose = payload.purpose;
        let envelope = serde_json::json!({
            "version": 1,
            "algorithm": "ed25519",
            "publicKey": base64::encode(&signature),
            "signature": base64::encode(&[signature, signature].concat()),
            "payload": serde_json::from_str::<Value>(&payload.signed_bytes()).unwrap(),
        });
        let ticket = Ticket::parse(&scrambled(&envelope, &mut random), purpose).unwrap();
        prop_assert_eq!(ticket.payload(), &payload);
        let normal = ticket.to_json();
        prop_assert_eq!(&normal, &canonical(&envelope));
        prop_assert_eq!(&Ticket::parse(&normal, purpose).unwrap(), &ticket);
        prop_assert_eq!(&Ticket::parse(&scrambled(&envelope, &mut random), purpose).unwrap().to_json(), &normal);
        // Neither purpose is ever taken for the other.
        let other = if purpose == Purpose::Leave { Purpose::Presence } else { Purpose::Leave };
        prop_assert_eq!(Ticket::parse(&normal, other).unwrap_err().code(), "MALFORMED");
    }
}
