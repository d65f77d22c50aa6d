//! Every layout that is signed, sent or stored, pinned by a literal, and the normal form of tickets.
//!
//! A literal here changes only together with a version number: other implementations, and files and rows that exist,
//! have the old one.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::canonical::canonical;
use rendezvous_protocol::capsule::{
    self, Capsule, CapsuleBytes, CapsuleFiles, CapsuleRules, Contents, Origins, Standing, Trust,
};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::merge::Entry;
use rendezvous_protocol::network::{Network, NetworkHash, NetworkSalt};
use rendezvous_protocol::revocation::Revocations;
use rendezvous_protocol::roster::{Departed, Record, Roster, RosterLimits};
use rendezvous_protocol::snapshot::{Listing, Snapshot, SnapshotError};
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, TicketRules, UserId, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;
use rendezvous_protocol::{base64, limits};
use serde_json::Value;

/// Key `a` of the vectors.
const PRIVATE_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIKrFWKg7uhrlwvzA1M3ugs+5scN51eoVMEoC475mTNpv";
const PUBLIC_KEY: &str = "AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=";

/// The payload of the vector `plain`, and its ticket as every beacon gives it back.
const SIGNED_BYTES: &str = r#"{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"}"#;
const TICKET: &str = r#"{"algorithm":"ed25519","payload":{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"CGCXsm6UAcOyUREKPHqZIJfEvRpZB3KbCz3zE5BtALgfHwDPelbwca5RYubNV5aCmx5CUD7ANxypX/nooy+GCw==","version":1}"#;

/// With both optional fields, and a name that has to be escaped.
const LEAVE_SIGNED_BYTES: &str = r#"{"community":"mainnet","expiresAt":1700000180000,"issuedAt":1700000000000,"leave":true,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"\"é\\/ 𝄞"}"#;
const LEAVE_TICKET: &str = r#"{"algorithm":"ed25519","payload":{"community":"mainnet","expiresAt":1700000180000,"issuedAt":1700000000000,"leave":true,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"\"é\\/ 𝄞"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"TEMiFiBKXsGYsxxSPxJNnQ0d7zhHYbZQ1BigQcFab7sWJoMqjVvWKKwUOI1p4cvIg5AbLrNTSv7dvHXY5PY1DQ==","version":1}"#;

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

/// One peer that is here and one that left.
const SNAPSHOT: &str = r#"{"version":1,"takenAt":1700000003000,"salt":"MDEyMzQ1Njc4OWFiY2RlZg==","records":[{"acceptedAt":1700000001000,"network":"AQIDBAUGBwg=","ticket":{"algorithm":"ed25519","payload":{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"CGCXsm6UAcOyUREKPHqZIJfEvRpZB3KbCz3zE5BtALgfHwDPelbwca5RYubNV5aCmx5CUD7ANxypX/nooy+GCw==","version":1}}],"departed":[{"peerId":"peer-left","publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","issuedAt":1700000000500,"acceptedAt":1700000000000,"forgetAt":1700000180500}]}"#;

/// What the community's object hands to the Worker; during a deploy the two may be of different versions.
const LISTING: &str = r#"{"total":1,"tag":"1700000002000-1","records":[{"acceptedAt":1700000001000,"network":"AQIDBAUGBwg=","ticket":{"algorithm":"ed25519","payload":{"expiresAt":1700000180000,"issuedAt":1700000000000,"nonce":"hfjbZu02ymbpkJK1","peerId":"peer-abc","userId":"user-1"},"publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","signature":"CGCXsm6UAcOyUREKPHqZIJfEvRpZB3KbCz3zE5BtALgfHwDPelbwca5RYubNV5aCmx5CUD7ANxypX/nooy+GCw==","version":1}}]}"#;

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

fn verified(json: &str, purpose: Purpose) -> VerifiedTicket {
    Ticket::parse(json, purpose).unwrap().verify(&TicketRules::new(&mainnet()), at(1_700_000_000_000)).unwrap()
}

#[test]
fn the_signed_bytes_of_a_ticket_are_unchanged() {
    assert_eq!(plain().signed_bytes(), SIGNED_BYTES);
    assert_eq!(leave().signed_bytes(), LEAVE_SIGNED_BYTES);
}

proptest! {
    #[test]
    fn the_signed_bytes_of_any_ticket_are_canonical(
        peer_id in "[!-~]{1,40}".prop_filter_map("no peerId", |text| PeerId::new(&text)),
        user_id in "\\PC{1,32}".prop_filter_map("no userId", |text| UserId::new(&text)),
        community in proptest::option::of("[A-Za-z0-9._-]{1,64}".prop_map(|name| Community::new(&name).unwrap())),
        purpose in prop_oneof![Just(Purpose::Presence), Just(Purpose::Leave)],
    ) {
        let payload = Payload { peer_id, user_id, community, purpose, ..plain() };
        let bytes = payload.signed_bytes();
        let value: Value = serde_json::from_str(&bytes).unwrap();
        prop_assert_eq!(canonical(&value), bytes);
        prop_assert_eq!(value["peerId"].as_str(), Some(payload.peer_id.as_str()));
        prop_assert_eq!(value["userId"].as_str(), Some(payload.user_id.as_str()));
        prop_assert_eq!(value["community"].as_str(), payload.community.as_ref().map(Community::as_str));
    }
}

#[test]
fn the_normal_form_of_a_ticket_is_unchanged() {
    assert_eq!(Ticket::sign(plain(), &key()).to_json(), TICKET);
    assert_eq!(Ticket::sign(leave(), &key()).to_json(), LEAVE_TICKET);
    assert_eq!(verified(TICKET, Purpose::Presence).as_json(), TICKET);
    assert_eq!(verified(LEAVE_TICKET, Purpose::Leave).as_json(), LEAVE_TICKET);
}

fn capsule_of(entries: &[Entry], beacons: &[String], revocations: &Revocations) -> CapsuleFiles {
    let contents = Contents {
        community: &mainnet(),
        issued_at: at(1_700_000_010_000),
        lifetime: Duration::from_secs(1_800),
        entries,
        beacons,
        revocations,
    };
    capsule::sign(&contents, &key())
}

fn entry() -> Entry {
    Entry { ticket: verified(TICKET, Purpose::Presence), listed_by: vec![1] }
}

#[test]
fn a_capsule_file_is_unchanged() {
    let files = capsule_of(&[entry()], &[], &Revocations::default());
    assert_eq!(files.json, CAPSULE);
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
    let beacons = ["https://one.example".to_owned(), "https://two.example".to_owned()];
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
    assert_eq!(capsule.origins, Some(Ok(Origins { beacons: beacons.to_vec(), listed_by: vec![vec![1]] })));
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
    assert_eq!(capsule.peers, [(verified(TICKET, Purpose::Presence), Standing::Live)]);
    assert!(capsule.refused.is_empty());
}

fn salt() -> NetworkSalt {
    NetworkSalt::from_bytes(*b"0123456789abcdef")
}

fn roster() -> Roster {
    let record = Record {
        ticket: verified(TICKET, Purpose::Presence),
        accepted_at: at(1_700_000_001_000),
        network: NetworkHash::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]),
    };
    let departed = Departed {
        peer_id: PeerId::new("peer-left").unwrap(),
        public_key: PublicKey::from_text(PUBLIC_KEY).unwrap(),
        issued_at: at(1_700_000_000_500),
        accepted_at: at(1_700_000_000_000),
        forget_at: at(1_700_000_180_500),
    };
    Roster::restore(RosterLimits::default(), at(1_700_000_002_000), [record], [departed])
}

#[test]
fn a_snapshot_is_unchanged() {
    assert_eq!(Snapshot::encode(at(1_700_000_003_000), &salt(), &roster()).unwrap(), SNAPSHOT);
}

#[test]
fn a_snapshot_of_version_1_is_still_read() {
    let snapshot = Snapshot::decode(SNAPSHOT, RosterLimits::default(), at(1_700_000_003_000)).unwrap();
    assert_eq!(snapshot.taken_at, at(1_700_000_003_000));
    assert_eq!(snapshot.salt.as_bytes(), salt().as_bytes());
    assert!(snapshot.roster.records().eq(roster().records()));
    assert!(snapshot.roster.departed().eq(roster().departed()));
}

#[test]
fn a_snapshot_of_another_version_is_refused() {
    let next = SNAPSHOT.replacen(r#""version":1"#, r#""version":2"#, 1);
    let error = Snapshot::decode(&next, RosterLimits::default(), at(1_700_000_003_000)).unwrap_err();
    assert!(matches!(error, SnapshotError::Version(2)), "{error}");
}

#[test]
fn a_snapshot_with_a_broken_field_is_refused_by_its_name() {
    for (whole, broken, field) in [
        ("MDEyMzQ1Njc4OWFiY2RlZg==", "MDEyMzQ1Njc4OWFiY2RlZg", "salt"),
        ("AQIDBAUGBwg=", "AQIDBAUGBw==", "network"),
        (r#""algorithm":"ed25519""#, r#""algorithm":"rsa""#, "ticket"),
        (r#""peerId":"peer-left""#, r#""peerId":"<""#, "peerId"),
        (
            r#""publicKey":"AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=","issuedAt""#,
            r#""publicKey":"","issuedAt""#,
            "publicKey",
        ),
    ] {
        assert!(SNAPSHOT.contains(whole));
        let error = Snapshot::decode(&SNAPSHOT.replace(whole, broken), RosterLimits::default(), at(1_700_000_003_000))
            .unwrap_err();
        assert!(matches!(error, SnapshotError::Field(found) if found == field), "{field}: {error}");
    }
}

#[test]
fn a_listing_is_unchanged_and_read() {
    let now = at(1_700_000_003_000);
    let text = Listing::encode(&mut roster(), now, limits::ANSWER_LIMIT, at(1_700_000_002_000)).unwrap();
    assert_eq!(text, LISTING);
    let mut listing = Listing::decode(&text, RosterLimits::default(), now).unwrap();
    assert_eq!((listing.total(), listing.tag.as_str()), (1, "1700000002000-1"));
    assert!(listing.roster.records().eq(roster().records()));

    listing.roster.expire(at(1_700_000_180_000));
    assert_eq!(listing.total(), 0);
    let more = text.replace(r#""total":1"#, r#""total":200"#);
    assert_eq!(Listing::decode(&more, RosterLimits::default(), now).unwrap().total(), 200);
}

/// Put together once for all, they are still those of each question.
#[test]
fn the_tickets_of_a_listing_are_those_of_its_roster() {
    let now = at(1_700_000_003_000);
    let mut roster = Roster::new(RosterLimits::default());
    for number in 0..7 {
        let payload = Payload { peer_id: PeerId::new(&format!("peer-{number}")).unwrap(), ..plain() };
        let ticket = verified(&Ticket::sign(payload, &key()).to_json(), Purpose::Presence);
        roster.announce(now, ticket, NetworkHash::from_bytes([1; 8])).unwrap();
    }
    let text = Listing::encode(&mut roster, now, limits::ANSWER_LIMIT, now).unwrap();
    let mut listing = Listing::decode(&text, RosterLimits::default(), now).unwrap();
    let end = at(1_700_000_183_000);
    let questions = [(now, 50, Some("peer-3")), (now, 50, Some("nobody")), (now, 2, None), (end, 50, None)];
    for (now, limit, exclude) in questions.into_iter().flat_map(|question| [(now, 50, None), question, question]) {
        let expected: Vec<_> = roster.fresh(now, limit, exclude).iter().map(|record| record.ticket.as_json()).collect();
        assert_eq!(listing.tickets(now, limit, exclude), expected.join(","), "{limit}, {exclude:?}");
    }
}

/// Stored records name networks by this hash: another one would make every network a new one.
#[test]
fn the_hash_of_a_network_is_unchanged() {
    for (network, hash) in [
        (Network::from_header(Some("192.0.2.1")), "8CBj4JEQuQk="),
        (Network::from_header(Some("2001:db8::1")), "LcrZDX8hL3E="),
        (Network::Unknown, "rjLDitTdnrg="),
    ] {
        assert_eq!(base64::encode(&salt().hash(network).to_bytes()), hash);
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

fn payload() -> impl Strategy<Value = Payload> {
    (
        "[!#-%'-;=?-\\[\\]-~]([ !#-%'-;=?-\\[\\]-~]{0,126}[!#-%'-;=?-\\[\\]-~])?",
        // At most 32 characters of at most 4 bytes.
        "\\PC{1,32}",
        (0..(1_u64 << 53) - 1, 1..=u64::MAX),
        prop::collection::vec(any::<u8>(), limits::NONCE_MIN_BYTES..=limits::NONCE_MAX_BYTES),
        prop::option::of("[A-Za-z0-9._-]{1,64}"),
        prop::bool::ANY,
    )
        .prop_map(|(peer_id, user_id, (issued_at, lifetime), nonce, community, leave)| Payload {
            peer_id: PeerId::new(&peer_id).unwrap(),
            user_id: UserId::new(&user_id).unwrap(),
            issued_at: at(issued_at),
            expires_at: UnixMillis::saturating(issued_at.saturating_add(lifetime)),
            nonce: Nonce::new(nonce).unwrap(),
            community: community.map(|community| Community::new(&community).unwrap()),
            purpose: if leave { Purpose::Leave } else { Purpose::Presence },
        })
}

proptest! {
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
