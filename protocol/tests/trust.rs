//! Chains of roots, and capsules under a root, against simple models: sets of who has signed.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use rendezvous_protocol::base64;
use rendezvous_protocol::beacon_url::BeaconUrl;
use rendezvous_protocol::capsule::{self, Capsule, CapsuleBytes, CapsuleRules, Contents, Trust};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::merge::Entry;
use rendezvous_protocol::revocation::Revocations;
use rendezvous_protocol::root::{Role, Root, RootError, RootInvalid, Signed};
use rendezvous_protocol::root_walk::{FoundFile, RootWalk, Wanted};
use rendezvous_protocol::signatures::Signatures;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, TicketRules, UserId, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

const NOW: u64 = 1_700_000_000_000;

/// The numbers of keys from which root keys are taken; publishers have higher ones.
const ROOT_KEYS: u8 = 5;
const PUBLISHERS: u8 = 4;

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed(&[number + 1; 32])
}

fn public_keys(numbers: &BTreeSet<u8>) -> BTreeSet<PublicKey> {
    numbers.iter().map(|number| key(*number).public_key()).collect()
}

fn mainnet() -> Community {
    Community::new("mainnet").unwrap()
}

fn at(millis: u64) -> UnixMillis {
    UnixMillis::saturating(millis)
}

fn sign(message: &[u8], numbers: impl IntoIterator<Item = u8>) -> Signatures {
    let mut signatures = Signatures::default();
    for number in numbers {
        signatures.add(key(number).public_key(), key(number).sign(message));
    }
    signatures
}

/// Who has to sign: numbers of keys, and how many of them.
type Numbers = (BTreeSet<u8>, usize);

fn role_of(keys: std::ops::Range<u8>) -> impl Strategy<Value = Numbers> {
    btree_set(keys, 1..=3).prop_flat_map(|keys| {
        let most = keys.len();
        (Just(keys), 1..=most)
    })
}

fn role((keys, threshold): &Numbers) -> Role {
    Role::new(*threshold, public_keys(keys)).unwrap()
}

fn publisher() -> Role {
    Role::new(1, public_keys(&BTreeSet::from([50]))).unwrap()
}

fn root(root_version: u64, root_keys: &Numbers) -> Root {
    Root::new(mainnet(), root_version, at(NOW), role(root_keys), publisher()).unwrap()
}

/// A file of which the host does not say what it is.
fn file(bytes: &[u8]) -> Option<FoundFile<'_>> {
    Some(FoundFile { bytes, media_type: None })
}

/// One step of a walk.
fn walk(from: &Root, signatures: &[u8], json: &[u8]) -> Result<Option<Root>, RootError> {
    let mut walk = RootWalk::new(from.clone());
    walk.take(file(signatures))?;
    Ok(walk.take(file(json))?.map(|passed| passed.root))
}

#[test]
fn a_walk_ends_where_a_file_is_absent_or_a_page_or_after_the_most_steps() {
    let (key, numbers) = (key(1), (BTreeSet::from([1]), 1));
    let signatures = |root: &Root| {
        let mut signatures = Signatures::default();
        signatures.add(key.public_key(), key.sign(root.to_json().as_bytes()));
        signatures.to_text()
    };
    let second_signed = signatures(&root(2, &numbers));
    let [wants_signatures, wants_root] =
        [Wanted::Signatures("2.root.json.sigs".to_owned()), Wanted::Root("2.root.json".to_owned())];
    for (sigs, json) in [
        (None, None),
        (file(b"\xef\xbb\xbf <html>"), None),
        (Some(FoundFile { bytes: b"<html>", media_type: Some("text/html; charset=utf-8") }), None),
        (file(second_signed.as_bytes()), Some(None)),
    ] {
        let mut walk = RootWalk::new(root(1, &numbers));
        assert_eq!(walk.wanted(), Some(wants_signatures.clone()));
        assert_eq!(walk.take(sigs), Ok(None));
        if let Some(json) = json {
            assert_eq!(walk.wanted(), Some(wants_root.clone()));
            assert_eq!(walk.take(json), Ok(None));
        }
        assert_eq!(walk.wanted(), None);
        assert_eq!(walk.into_newest().root_version(), 1);
    }
    // What is there and cannot be read is an error, and ends it.
    let mut walk = RootWalk::new(root(1, &numbers));
    let broken = FoundFile { bytes: b"<html>", media_type: Some("text/plain") };
    assert!(matches!(walk.take(Some(broken)), Err(RootError::SignaturesMalformed(_))));
    assert_eq!(walk.wanted(), None);

    let mut walk = RootWalk::new(root(1, &numbers));
    let mut steps = 0;
    while let Some(wanted) = walk.wanted() {
        let next = root(steps + 2, &numbers);
        match wanted {
            Wanted::Signatures(name) => {
                assert_eq!(name, format!("{}.root.json.sigs", steps + 2));
                assert_eq!(walk.take(file(signatures(&next).as_bytes())), Ok(None));
            }
            Wanted::Root(name) => {
                assert_eq!(name, Root::file_name(steps + 2));
                let passed = walk.take(file(next.to_json().as_bytes())).unwrap().unwrap();
                assert_eq!((passed.root, passed.signatures.to_text()), (next.clone(), signatures(&next)));
                steps += 1;
            }
        }
    }
    assert_eq!((steps, walk.into_newest().root_version()), (64, 65));
}

fn enough(signers: &BTreeSet<u8>, (keys, threshold): &Numbers) -> bool {
    signers.intersection(keys).count() >= *threshold
}

proptest! {
    // Signing takes most of the time.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_chain_is_accepted_if_enough_of_the_old_and_of_the_new_keys_signed(
        first in role_of(0..ROOT_KEYS),
        steps in vec((role_of(0..ROOT_KEYS), btree_set(0..ROOT_KEYS + 1, 1..=4), prop_oneof![4 => Just(1_u64), 1 => 0_u64..3]), 0..4),
    ) {
        let mut newest = root(1, &first);
        let mut trusted = first;
        for (keys, signers, distance) in steps {
            let next = root((newest.root_version() + distance).max(1), &keys);
            let json = next.to_json();
            let signatures = sign(json.as_bytes(), signers.iter().copied());
            let found = walk(&newest, signatures.to_text().as_bytes(), json.as_bytes());
            let expected = if !enough(&signers, &trusted) {
                Err("THRESHOLD_NOT_MET")
            } else if next.root_version() != newest.root_version() + 1 {
                Err("ROOT_OUT_OF_SEQUENCE")
            } else if !enough(&signers, &keys) {
                Err("THRESHOLD_NOT_MET")
            } else {
                Ok(Some(next.clone()))
            };
            prop_assert_eq!(found.map_err(|error| error.code()), expected.clone());
            if let Ok(Some(next)) = expected {
                newest = next;
                trusted = keys;
            }
        }
    }

    #[test]
    fn a_capsule_under_a_root_needs_enough_publishers_that_are_not_revoked(
        (publishers, threshold) in role_of(0..PUBLISHERS),
        signer in 0..PUBLISHERS,
        cosigners in vec(0..PUBLISHERS + 1, 0..5),
        revoked in btree_set(0..PUBLISHERS, 0..3),
        revokes in btree_set(0..PUBLISHERS, 0..3),
    ) {
        let root_keys = Role::new(1, public_keys(&BTreeSet::from([60]))).unwrap();
        let root = Root::new(mainnet(), 1, at(NOW + 1), root_keys, role(&(publishers.clone(), threshold))).unwrap();
        let community = mainnet();
        let revocations = Revocations { publisher_keys: public_keys(&revokes), ..Revocations::default() };
        let contents = Contents {
            community: &community,
            issued_at: at(NOW),
            lifetime: Duration::from_secs(60),
            entries: &[],
            beacons: &[],
            revocations: &revocations,
        };
        let files = capsule::sign(&contents, &key(signer));
        // Lines may repeat a key, which is then counted once.
        let lines: String = cosigners
            .iter()
            .map(|number| format!("{} {}\n", key(*number).public_key(), base64::encode(&key(*number).sign(files.json.as_bytes()))))
            .collect();
        let bytes = CapsuleBytes {
            json: files.json.as_bytes(),
            signature: Some(files.signature.as_bytes()),
            cosignatures: (!lines.is_empty()).then_some(lines.as_bytes()),
        };
        let remembered = Revocations { publisher_keys: public_keys(&revoked), ..Revocations::default() };
        let rules = CapsuleRules { revoked: Some(&remembered), ..CapsuleRules::new(Trust::Root(&root), &community) };
        let found = Capsule::verify(bytes, &rules, at(NOW));

        // What it revokes itself counts from the next one on.
        let trusted: BTreeSet<u8> = publishers.difference(&revoked).copied().collect();
        let counted: BTreeSet<u8> = cosigners.iter().copied().chain([signer]).filter(|number| trusted.contains(number)).collect();
        let expected = if !trusted.contains(&signer) {
            Err("SIGNATURE_INVALID")
        } else if counted.len() < threshold {
            Err("THRESHOLD_NOT_MET")
        } else {
            Ok((public_keys(&counted), revocations.clone()))
        };
        prop_assert_eq!(found.map(|capsule| (capsule.publishers, capsule.revocations)).map_err(|error| error.code()), expected);
    }
}

#[test]
fn a_root_file_is_unchanged() {
    let keys = |numbers: [u8; 2]| public_keys(&BTreeSet::from(numbers));
    let root_keys = Role::new(2, keys([0, 1])).unwrap();
    let publisher_keys = Role::new(1, keys([2, 3])).unwrap();
    let root = Root::new(mainnet(), 7, at(NOW), root_keys, publisher_keys).unwrap();
    let json = root.to_json();
    assert_eq!(
        json,
        r#"{"type":"root","version":1,"community":"mainnet","rootVersion":7,"expiresAt":1700000000000,
"rootKeys":{"threshold":2,"keys":[
"gTl3Dqh9F19Wo1Rmw0x+zMuNipG07jeiXfYPW4/Js5Q=",
"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
]},
"publisherKeys":{"threshold":1,"keys":[
"ypOsFwUYcHHWe4PH/w7+gQjo7EUwV113JoeTM9vavnw=",
"7UkoxijRwsbq6QM4kFmVYSlZJzpcY/k2NsFGFKyHN9E="
]}}
"#
    );
    assert_eq!(Root::parse(json.as_bytes()), Ok(root));
}

#[test]
fn parts_that_make_no_root_are_named() {
    let keys = |count: u8| public_keys(&(0..count).collect());
    assert_eq!(Role::new(1, keys(0)), Err(RootInvalid::KeyCount { count: 0 }));
    assert_eq!(Role::new(1, keys(17)), Err(RootInvalid::KeyCount { count: 17 }));
    assert_eq!(Role::new(0, keys(2)), Err(RootInvalid::Threshold { threshold: 0, keys: 2 }));
    assert_eq!(Role::new(3, keys(2)), Err(RootInvalid::Threshold { threshold: 3, keys: 2 }));
    let role = |numbers: [u8; 2]| Role::new(2, public_keys(&BTreeSet::from(numbers))).unwrap();
    let root = |root_version, publishers| Root::new(mainnet(), root_version, at(NOW), role([0, 1]), role(publishers));
    assert_eq!(root(0, [2, 3]), Err(RootInvalid::RootVersion { root_version: 0 }));
    assert_eq!(root(1 << 53, [2, 3]), Err(RootInvalid::RootVersion { root_version: 1 << 53 }));
    assert_eq!(root(1, [1, 2]), Err(RootInvalid::KeyInBothRoles { key: key(1).public_key() }));
    root((1 << 53) - 1, [2, 3]).unwrap();
}

#[test]
fn a_refusal_says_who_is_missing() {
    let first = root(1, &(BTreeSet::from([0, 1]), 2));
    let next = root(2, &(BTreeSet::from([2, 3]), 2)).to_json();
    let by_old = first.succeed(next.as_bytes(), &sign(next.as_bytes(), [0, 1, 2])).unwrap_err();
    assert_eq!(by_old.to_string(), "1 of its own root keys have signed the root, 2 have to");
    assert!(format!("{by_old:?}").contains(&format!("{:?}", Signed::ByItself)));
    let by_new = first.succeed(next.as_bytes(), &sign(next.as_bytes(), [0, 2, 3])).unwrap_err();
    assert_eq!(by_new.to_string(), "1 of the root keys of the root before it have signed the root, 2 have to");
}

/// Origins are told of the tickets that are left, whatever was refused before them.
#[test]
fn origins_stay_with_their_tickets() {
    let community = mainnet();
    let listed_by = [vec![0], vec![1], vec![0, 1], vec![]];
    let entries: Vec<Entry> = (20_u8..)
        .zip(&listed_by)
        .map(|(number, listed_by)| Entry { ticket: ticket(number), listed_by: listed_by.clone() })
        .collect();
    let beacons = ["https://one.example", "https://two.example"].map(|url| BeaconUrl::parse(url).unwrap());
    let contents = Contents {
        community: &community,
        issued_at: at(NOW),
        lifetime: Duration::from_secs(60),
        entries: &entries,
        beacons: &beacons,
        revocations: &Revocations::default(),
    };
    let files = capsule::sign(&contents, &key(2));
    let bytes =
        CapsuleBytes { json: files.json.as_bytes(), signature: Some(files.signature.as_bytes()), cosignatures: None };
    // One by what the reader remembers, one by its own rules.
    let (remembered, own) = (BTreeSet::from([20]), public_keys(&BTreeSet::from([22])).into_iter().collect());
    let remembered = Revocations { ticket_keys: public_keys(&remembered), ..Revocations::default() };
    let rules = CapsuleRules::new(Trust::Key(key(2).public_key()), &community);
    let tickets = TicketRules { revoked_keys: Some(&own), ..rules.tickets };
    let rules = CapsuleRules { revoked: Some(&remembered), tickets, ..rules };
    let capsule = Capsule::verify(bytes, &rules, at(NOW)).unwrap();
    assert_eq!(capsule.refused, [("REVOKED_PUBLIC_KEY", 2)].into());
    assert_eq!(capsule.origins.unwrap().unwrap().listed_by, [vec![1], vec![]]);
}

fn ticket(number: u8) -> VerifiedTicket {
    let payload = Payload {
        peer_id: PeerId::new(&format!("peer-{number}")).unwrap(),
        user_id: UserId::new("user").unwrap(),
        data: None,
        issued_at: at(NOW),
        expires_at: at(NOW + 1),
        nonce: Nonce::new(vec![0; 12]).unwrap(),
        community: None,
        purpose: Purpose::Presence,
    };
    Ticket::sign(payload, &key(number)).verify(&TicketRules::new(&mainnet()), at(NOW)).unwrap()
}

#[test]
fn an_empty_capsule_with_everything_in_it_is_unchanged() {
    let revocations = Revocations {
        ticket_keys: public_keys(&BTreeSet::from([0])),
        publisher_keys: public_keys(&BTreeSet::from([1])),
        beacons: BTreeSet::from(["https://beacon.example".to_owned()]),
    };
    let community = mainnet();
    let contents = Contents {
        community: &community,
        issued_at: at(NOW),
        lifetime: Duration::from_secs(60),
        entries: &[],
        beacons: &[BeaconUrl::parse("https://one.example").unwrap()],
        revocations: &revocations,
    };
    let files = capsule::sign(&contents, &key(2));
    let lines: Vec<&str> = files.json.lines().collect();
    assert_eq!(
        lines[1..4],
        [
            r#""peers":[],"#,
            r#""revoked":{"beacons":["https://beacon.example"],"publisherKeys":["gTl3Dqh9F19Wo1Rmw0x+zMuNipG07jeiXfYPW4/Js5Q="],"ticketKeys":["iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="]},"#,
            r#""origins":{"beacons":["https://one.example"],"peers":[]},"#,
        ]
    );
}
