//! What goes into a capsule, and whether it is written.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::answer::Listed;
use rendezvous_protocol::capsule::{CapsuleBytes, CapsuleFiles, CapsuleRules, Contents, Frame, Trust, sign};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::merge::Shares;
use rendezvous_protocol::publication::{
    Composition, KEPT_PART, MIN_PEERS, NodeRefused, Nodes, NotWritten, RoundFindings, WriteRules, compose,
    compose_to_fit, held_capsule, mend,
};
use rendezvous_protocol::revocation::Revocations;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerData, PeerId, Purpose, Ticket, UserId, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

const NOW: u64 = 1_700_000_000_000;

fn at(millis: u64) -> UnixMillis {
    UnixMillis::saturating(millis)
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

fn ticket(peer: &str, seed: u8) -> VerifiedTicket {
    let payload = Payload {
        peer_id: PeerId::new(peer).unwrap(),
        user_id: UserId::new("user").unwrap(),
        data: None,
        issued_at: at(NOW),
        expires_at: at(NOW + 1_000),
        nonce: Nonce::new(vec![0; 12]).unwrap(),
        community: None,
        purpose: Purpose::Presence,
    };
    VerifiedTicket::trusted(&Ticket::sign(payload, &key(seed)).to_json(), Purpose::Presence).unwrap()
}

fn answer(peers: &[&str]) -> Vec<Listed> {
    peers.iter().map(|peer| Listed { ticket: ticket(peer, 1), since: None }).collect()
}

#[test]
fn nodes_come_first_in_their_order_and_cost_no_beacon_a_place() {
    let mut nodes = Nodes::new(2);
    assert_eq!(nodes.include(ticket("silent", 2), false), Err(NodeRefused::Silent));
    assert_eq!(nodes.include(ticket("z", 2), true), Ok(()));
    assert_eq!(nodes.include(ticket("z", 3), true), Err(NodeRefused::Duplicate));
    assert_eq!(nodes.include(ticket("silent", 2), true), Err(NodeRefused::Duplicate));
    assert_eq!(nodes.include(ticket("a", 2), true), Ok(()));
    assert_eq!(nodes.include(ticket("b", 2), true), Err(NodeRefused::NoRoom));
    assert!(nodes.has_seen(&PeerId::new("b").unwrap()) && !nodes.has_seen(&PeerId::new("c").unwrap()));

    // The second beacon lists nothing but a node, and is no source of anything.
    let answers = vec![answer(&["a", "p"]), answer(&["z"]), Vec::new(), answer(&["p", "q", "a"])];
    let composed = compose(&nodes, answers, 10, Shares::Equal);
    let entries: Vec<_> = composed
        .entries
        .iter()
        .map(|entry| (entry.ticket.peer_id().as_str(), entry.ticket.public_key(), entry.listed_by.as_slice()))
        .collect();
    let [node, listed] = [2, 1].map(|seed| key(seed).public_key());
    let (one, two): (&[usize], &[usize]) = (&[1], &[0, 1]);
    assert_eq!(entries[..2], [("z", node, [].as_slice()), ("a", node, &[])]);
    assert_eq!(
        entries[2..].iter().copied().collect::<BTreeSet<_>>(),
        BTreeSet::from([("p", listed, two), ("q", listed, one)])
    );
    assert_eq!((composed.sources, composed.good_beacons, composed.listed), (vec![0, 3], 3, 3));
    assert_eq!((composed.disagreements, composed.limited_by), (Vec::new(), None));
}

/// Peers that a minority invents do not make a capsule of the others too small; those of half of the beacons count.
/// One whose ticket has this much data.
fn listed_with_data(peer: &str, bytes: usize) -> Listed {
    let payload = Payload { data: PeerData::new(&"x".repeat(bytes)), ..ticket(peer, 1).payload().clone() };
    let json = Ticket::sign(payload, &key(1)).to_json();
    Listed { ticket: VerifiedTicket::trusted(&json, Purpose::Presence).unwrap(), since: None }
}

fn bytes_of(composed: &Composition) -> usize {
    composed.entries.iter().map(|entry| entry.ticket.as_json().len()).sum()
}

proptest! {
    #[test]
    fn what_does_not_fit_is_left_out_of_every_share_and_counted(
        sizes in prop::collection::vec(prop::collection::vec(0_usize..=512, 1..12), 1..4),
        nodes in 0_usize..3,
        limit in 1_usize..20,
        room in 0_usize..12_000,
    ) {
        let mut included = Nodes::new(limit);
        for node in 0..nodes.min(limit) {
            included.include(ticket(&format!("node-{node}"), 2), true).unwrap();
        }
        let of_beacon = |(beacon, sizes): (usize, &Vec<usize>)| -> Vec<Listed> {
            let peer = |(at, bytes): (usize, &usize)| listed_with_data(&format!("peer-{beacon}-{at}"), *bytes);
            sizes.iter().enumerate().map(peer).collect()
        };
        let answers: Vec<Vec<Listed>> = sizes.iter().enumerate().map(of_beacon).collect();
        let fit = |composed: &Composition| bytes_of(composed) <= room;
        let whole = compose(&included, answers.clone(), limit, Shares::Equal);
        let (composed, left_out) = compose_to_fit(&included, &answers, limit, Shares::Equal, fit);
        prop_assert_eq!(composed.entries.len() + left_out, whole.entries.len());
        // Nodes are few, and the last to go.
        prop_assert!(fit(&composed) || composed.entries.len() == nodes.min(limit));
        prop_assert_eq!(left_out == 0, fit(&whole) || whole.entries.len() == nodes.min(limit));
        // It is what a smaller limit gives, so that whatever holds for shares holds here.
        let is_composed = |smaller| compose(&included, answers.clone(), smaller, Shares::Equal) == composed;
        prop_assert!((composed.entries.len()..=limit).any(is_composed));
    }
}

/// The usual case: one beacon lists nothing but the longest, and everybody is left out of alike.
#[test]
fn whoever_lists_the_longest_tickets_pushes_out_nobody_elses_peers() {
    let list = |beacon: &str, bytes| (0..30).map(|at| listed_with_data(&format!("{beacon}-{at}"), bytes)).collect();
    let answers: [Vec<Listed>; 2] = [list("honest", 1), list("other", 512)];
    let room = 20_000;
    let (composed, left_out) =
        compose_to_fit(&Nodes::new(100), &answers, 100, Shares::Equal, |composed| bytes_of(composed) <= room);
    let names = composed.entries.iter().map(|entry| entry.ticket.peer_id().as_str());
    let honest = names.clone().filter(|name| name.starts_with("honest")).count();
    let other = names.count() - honest;
    assert_eq!((honest, honest + other + left_out), (other, 60));
    // No more would have fitted.
    assert!(bytes_of(&composed) > room - 2 * 1_000 && honest > 10, "{honest}");
}

#[test]
fn the_longest_lists_of_a_minority_do_not_count() {
    let list = |from: usize, to: usize| (from..to).map(|peer| format!("peer-{peer}")).collect::<Vec<_>>();
    let listed = |lists: &[Vec<String>]| {
        let answers = lists.iter().map(|list| answer(&list.iter().map(String::as_str).collect::<Vec<_>>()));
        compose(&Nodes::new(10), answers.collect(), 100, Shares::Equal).listed
    };
    for (lists, expected) in [
        (vec![], 0),
        (vec![list(0, 7)], 7),
        (vec![list(0, 7), list(5, 30)], 30),
        (vec![list(0, 7), list(50, 90), list(5, 9)], 9),
        (vec![list(0, 7), list(50, 90), Vec::new(), list(5, 9)], 9),
        (vec![list(0, 7), list(50, 90), list(20, 40), list(5, 9)], 29),
    ] {
        assert_eq!(listed(&lists), expected, "{lists:?}");
    }
}

fn held(seed: u8, issued_at: u64, revoked: &[PublicKey]) -> CapsuleFiles {
    let contents = Contents {
        community: &Community::new("mainnet").unwrap(),
        issued_at: at(issued_at),
        lifetime: Duration::from_secs(60),
        entries: &[],
        beacons: &[],
        revocations: &Revocations { publisher_keys: revoked.iter().copied().collect(), ..Revocations::default() },
    };
    sign(&contents, &key(seed))
}

fn found(files: &CapsuleFiles, now: u64) -> Option<Frame> {
    let community = Community::new("mainnet").unwrap();
    let rules = CapsuleRules::new(Trust::Key(key(1).public_key()), &community);
    let signature = Some(files.signature.as_bytes()).filter(|signature| !signature.is_empty());
    held_capsule(CapsuleBytes { json: files.json.as_bytes(), signature, cosignatures: None }, &rules, at(now))
}

#[test]
fn a_publishers_own_capsule_is_known_however_old_and_however_far_ahead() {
    for now in [NOW, NOW + 59_999, NOW + 60_000, NOW + 3_600_000, NOW - 1, NOW - 15_001, NOW - 3_600_000, 0] {
        // Also its last one.
        for revoked in [&[][..], &[key(1).public_key()]] {
            let issued_at = found(&held(1, NOW, revoked), now).map(|frame| frame.issued_at);
            assert_eq!(issued_at, Some(at(NOW)), "{now}");
        }
    }
}

#[test]
fn what_binds_no_reader_is_not_a_publishers_own() {
    assert_eq!(found(&held(2, NOW, &[]), NOW), None);
    let own = held(1, NOW, &[]);
    assert_eq!(found(&CapsuleFiles { json: own.json.clone() + " ", ..own.clone() }, NOW), None);
    assert_eq!(found(&CapsuleFiles { signature: String::new(), ..own }, NOW), None);
}

fn rules() -> impl Strategy<Value = WriteRules> {
    (prop::option::of(1_usize..50), 1_usize..100, 0_usize..4, 0_u64..200, any::<bool>(), prop::bool::weighted(0.1))
        .prop_map(|(min_peers, max_peers, min_beacons, gap, has_beacons, farewell)| WriteRules {
            min_peers,
            max_peers,
            min_beacons,
            gap: Duration::from_secs(gap),
            has_beacons,
            farewell,
        })
}

fn findings() -> impl Strategy<Value = RoundFindings> {
    (any::<bool>(), 0_usize..5, 0_usize..100, 0_usize..100)
        .prop_map(|(answered, good_beacons, listed, peers)| RoundFindings { answered, good_beacons, listed, peers })
}

proptest! {
    #[test]
    fn what_was_found_is_enough_or_it_is_said_what_is_missing(rules in rules(), found in findings()) {
        let result = rules.check_found(&found);
        let default = if found.listed >= MIN_PEERS { MIN_PEERS.min(rules.max_peers) } else { 1 };
        let least = rules.min_peers.unwrap_or(default);
        prop_assert_eq!(rules.least_peers(&found), least);
        let is_enough = found.good_beacons >= rules.min_beacons && found.peers >= least;
        prop_assert_eq!(result.is_ok(), rules.farewell || is_enough && !(rules.has_beacons && !found.answered && rules.min_beacons > 0));
        match result {
            Err(NotWritten::NoBeaconAnswered) => prop_assert!(!found.answered && rules.has_beacons),
            Err(NotWritten::TooFewBeacons) => prop_assert!(found.good_beacons < rules.min_beacons),
            Err(NotWritten::TooFewPeers { least }) => prop_assert!(found.peers < least),
            Err(other) => prop_assert!(false, "{other:?}"),
            Ok(()) => {}
        }
    }

    /// A live capsule stays if readers would refuse the new one, or be left with less than a third of its peers.
    #[test]
    fn a_live_capsule_keeps_its_peers_from_one_with_far_fewer(
        rules in rules(),
        found in findings(),
        (held_peers, issued_at, lifetime) in (0_usize..100, 0_u64..200, 1_u64..200),
        is_last in prop::bool::weighted(0.1),
    ) {
        let own = key(1).public_key();
        let revoked = if is_last { vec![own] } else { Vec::new() };
        let held = Frame {
            issued_at: at(NOW + 1_000 * issued_at),
            expires_at: at(NOW + 1_000 * (issued_at + lifetime)),
            peers: held_peers,
            revocations: Revocations { publisher_keys: revoked.into_iter().collect(), ..Revocations::default() },
        };
        let now = at(NOW + 100_000);
        let result = rules.check_held(&found, &held, own, now);
        let outlives = held.expires_at > now.after(rules.gap);
        let only_nodes = rules.has_beacons && !found.answered;
        let expected = if held.issued_at > now {
            Err(NotWritten::ClockWentBack { held: held.issued_at })
        } else if rules.farewell {
            Ok(())
        } else if is_last {
            Err(NotWritten::KeyRevoked)
        } else if outlives && only_nodes {
            Err(NotWritten::NoBeaconAnswered)
        } else if outlives && found.peers * KEPT_PART < held_peers {
            Err(NotWritten::FarFewerPeers { held: held_peers, until: held.expires_at })
        } else {
            Ok(())
        };
        prop_assert_eq!(result, expected);
    }
}

#[test]
fn a_capsule_beside_the_signature_of_another_one_is_signed_anew_unless_it_revokes_what_its_publisher_does_not() {
    let community = Community::new("mainnet").unwrap();
    let revokes =
        |seed: u8| Revocations { ticket_keys: BTreeSet::from([key(seed).public_key()]), ..Revocations::default() };
    let signed = |revocations: &Revocations| {
        let contents = Contents {
            community: &community,
            issued_at: at(NOW),
            lifetime: Duration::from_secs(60),
            entries: &[],
            beacons: &[],
            revocations,
        };
        sign(&contents, &key(1))
    };
    let rules = CapsuleRules::new(Trust::Key(key(1).public_key()), &community);
    let torn = signed(&revokes(3));
    let (files, frame) = mend(torn.json.as_bytes(), &key(1), &rules, &revokes(3)).unwrap();
    assert_eq!((files, frame.issued_at), (torn.clone(), at(NOW)));
    // The signature in the file does not cover the list: somebody may have put it there.
    let planted = torn.json.replace(&key(3).public_key().to_string(), &key(4).public_key().to_string());
    assert_ne!(planted, torn.json);
    assert_eq!(mend(planted.as_bytes(), &key(1), &rules, &revokes(3)), None);
    assert_eq!(mend(torn.json.as_bytes(), &key(1), &rules, &Revocations::default()), None);
    // Another publisher's, another community's, and no capsule.
    assert_eq!(
        mend(
            torn.json.as_bytes(),
            &key(2),
            &CapsuleRules::new(Trust::Key(key(2).public_key()), &community),
            &revokes(3)
        ),
        None
    );
    let other = Community::new("testnet").unwrap();
    assert_eq!(
        mend(torn.json.as_bytes(), &key(1), &CapsuleRules::new(Trust::Key(key(1).public_key()), &other), &revokes(3)),
        None
    );
    assert_eq!(
        mend(torn.json.as_bytes().split_last().unwrap().1, &key(1), &rules, &revokes(3)).map(|(_, frame)| frame.peers),
        Some(0)
    );
    assert_eq!(mend(b"{}", &key(1), &rules, &revokes(3)), None);
}
