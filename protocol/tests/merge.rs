//! Whatever beacons say, none of them says more than its share: section 8 of the specification, as properties.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use rendezvous_protocol::base64;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::merge::{Disagreement, Merged, Shares, merge_shares, newest_of_each_peer};
use rendezvous_protocol::ticket::{PeerId, Purpose, VerifiedTicket};

/// What one ticket says: peerId, key and time.
type Line = (u16, u8, u16);

fn peer_id(peer: u16) -> String {
    format!("peer-{peer}")
}

fn key(key: u8) -> PublicKey {
    PublicKey::from_bytes([key; 32])
}

/// A ticket of the right shape. Only good ones come to be merged, so nobody signs these.
fn ticket((peer, key, issued_at): Line) -> VerifiedTicket {
    let (peer, key, signature) = (peer_id(peer), base64::encode(&[key; 32]), base64::encode(&[0; 64]));
    let json = format!(
        r#"{{"algorithm":"ed25519","payload":{{"expiresAt":100000,"issuedAt":{issued_at},"nonce":"AAAAAAAAAAAAAAAA","peerId":"{peer}","userId":"user"}},"publicKey":"{key}","signature":"{signature}","version":1}}"#
    );
    VerifiedTicket::trusted(&json, Purpose::Presence).unwrap()
}

/// An answer as a reader has it: one ticket a peerId, newest first.
fn answer(lines: &[Line]) -> Vec<VerifiedTicket> {
    newest_of_each_peer(lines.iter().copied().map(ticket))
}

fn answers(lists: &[Vec<Line>]) -> Vec<Vec<VerifiedTicket>> {
    lists.iter().map(|lines| answer(lines)).collect()
}

fn peer_ids(merged: &Merged) -> Vec<&str> {
    merged.entries.iter().map(|entry| entry.ticket.peer_id().as_str()).collect()
}

/// What a beacon may say: real names with real and false keys, names of its own with times in the future, little, a
/// great deal, nothing.
fn list() -> impl Strategy<Value = Vec<Line>> {
    let known = (0_u16..12, 0_u8..3, 0_u16..50);
    let honest = vec((0_u16..12, Just(0), 0_u16..50), 0..12);
    let invented = (100_u16..400, 0_u8..3, 900_u16..1_000);
    prop_oneof![
        3 => honest,
        2 => vec(known.clone(), 0..12),
        1 => vec(known.clone(), 1..2),
        1 => vec(invented, 1..60),
        1 => vec((0_u16..12, 1_u8..3, 900_u16..1_000), 1..20),
        1 => Just(Vec::new()),
    ]
}

/// Up to six beacons, and which of them are hostile.
fn beacons() -> impl Strategy<Value = Vec<(Vec<Line>, bool)>> {
    vec((list(), any::<bool>()), 0..7)
}

/// Who lists which key for which peerId.
fn said(answers: &[Vec<VerifiedTicket>]) -> BTreeMap<PeerId, BTreeMap<PublicKey, BTreeSet<usize>>> {
    let mut said: BTreeMap<PeerId, BTreeMap<PublicKey, BTreeSet<usize>>> = BTreeMap::new();
    for (beacon, tickets) in answers.iter().enumerate() {
        for ticket in tickets {
            let keys = said.entry(ticket.peer_id().clone()).or_default();
            keys.entry(ticket.public_key()).or_default().insert(beacon);
        }
    }
    said
}

/// For every set of beacons with a share, how many they are, and how many peers they list together with a key that no
/// majority contradicts. Only peers that `counts` says yes to.
fn sets(
    answers: &[Vec<VerifiedTicket>],
    counts: impl Fn(&BTreeMap<PublicKey, BTreeSet<usize>>) -> bool,
) -> Vec<(usize, usize)> {
    let with_share: Vec<usize> = (0..answers.len()).filter(|beacon| !answers[*beacon].is_empty()).collect();
    let count = with_share.len();
    let said = said(answers);
    let lists = |beacon: usize, keys: &BTreeMap<PublicKey, BTreeSet<usize>>| {
        let majority = keys.values().find(|listed_by| listed_by.len() * 2 > count);
        majority.map_or_else(
            || keys.values().any(|listed_by| listed_by.contains(&beacon)),
            |listed_by| listed_by.contains(&beacon),
        )
    };
    let members = |set: usize| with_share.iter().enumerate().filter(move |(bit, _)| set >> bit & 1 == 1);
    (0_usize..1 << count)
        .map(|set| {
            let listed = |keys: &&BTreeMap<_, _>| counts(keys) && members(set).any(|(_, beacon)| lists(*beacon, keys));
            (members(set).count(), said.values().filter(listed).count())
        })
        .collect()
}

/// The rounds that there are, by Hall's theorem instead of a search: every set of beacons has to find, among all that
/// they list together, enough for each of them.
fn rounds(answers: &[Vec<VerifiedTicket>], limit: usize) -> usize {
    let sets = sets(answers, |_| true);
    let count = answers.iter().filter(|tickets| !tickets.is_empty()).count();
    let enough = sets.iter().filter(|(members, _)| *members > 0).map(|(members, peers)| peers / members);
    enough.min().map_or(0, |rounds| rounds.min(limit / count))
}

/// The most that can be given out in `rounds` of what not all agree on, by the same theorem.
fn most_without_agreed(answers: &[Vec<VerifiedTicket>], rounds: usize) -> usize {
    let count = answers.iter().filter(|tickets| !tickets.is_empty()).count();
    let sets = sets(answers, |keys| keys.len() > 1 || keys.values().any(|listed_by| listed_by.len() < count));
    sets.iter().map(|(members, peers)| peers + rounds * (count - members)).min().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn honest_beacons_have_their_share(beacons in beacons(), limit in 0_usize..80) {
        let (lists, hostile): (Vec<_>, Vec<_>) = beacons.into_iter().unzip();
        let answers = answers(&lists);
        let merged = merge_shares(&answers, limit, Shares::Equal);
        let with_share = answers.iter().filter(|tickets| !tickets.is_empty()).count();
        let bad = answers.iter().zip(&hostile).filter(|(tickets, hostile)| **hostile && !tickets.is_empty()).count();
        let honest = merged.entries.iter().filter(|entry| entry.listed_by.iter().any(|beacon| !hostile[*beacon])).count();
        prop_assert!(honest * with_share >= merged.entries.len() * (with_share - bad), "{honest} of {merged:?}");
    }

    #[test]
    fn the_result_is_of_one_form(beacons in beacons(), limit in 0_usize..80, available in any::<bool>()) {
        let lists: Vec<_> = beacons.into_iter().map(|(lines, _)| lines).collect();
        let answers = answers(&lists);
        let shares = if available { Shares::Available } else { Shares::Equal };
        let merged = merge_shares(&answers, limit, shares);
        prop_assert_eq!(&merge_shares(&answers, limit, shares), &merged);
        prop_assert!(merged.entries.len() <= limit);
        prop_assert_eq!(peer_ids(&merged).into_iter().collect::<BTreeSet<_>>().len(), merged.entries.len());
        let rank = |ticket: &VerifiedTicket| (ticket.payload().issued_at, ticket.as_json().to_owned());
        let sorted = merged.entries.is_sorted_by(|one, other| rank(&one.ticket) > rank(&other.ticket));
        prop_assert!(sorted);
        let said = said(&answers);
        for entry in &merged.entries {
            // It is what these beacons say, as new as any of them has it.
            let listed_by = &said[entry.ticket.peer_id()][&entry.ticket.public_key()];
            prop_assert_eq!(&entry.listed_by.iter().copied().collect::<BTreeSet<_>>(), listed_by);
            let newest = answers.iter().flatten().filter(|ticket| {
                ticket.peer_id() == entry.ticket.peer_id() && ticket.public_key() == entry.ticket.public_key()
            }).map(|ticket| ticket.payload().issued_at).max();
            prop_assert_eq!(Some(entry.ticket.payload().issued_at), newest);
            // And nothing else is said by more than half.
            let with_share = answers.iter().filter(|tickets| !tickets.is_empty()).count();
            let contradicted = said[entry.ticket.peer_id()]
                .iter()
                .any(|(key, listed_by)| *key != entry.ticket.public_key() && listed_by.len() * 2 > with_share);
            prop_assert!(!contradicted);
        }
        let disputed: Vec<&PeerId> = said.iter().filter(|(_, keys)| keys.len() > 1).map(|(peer_id, _)| peer_id).collect();
        prop_assert_eq!(merged.disagreements.iter().map(|dispute| &dispute.peer_id).collect::<Vec<_>>(), disputed);
        for Disagreement { peer_id, keys, chosen } in &merged.disagreements {
            let entry = merged.entries.iter().find(|entry| entry.ticket.peer_id() == peer_id);
            prop_assert_eq!(*chosen, entry.map(|entry| entry.ticket.public_key()));
            prop_assert_eq!(keys.len(), said[peer_id].len());
        }
        if available {
            // Everything that fits is in.
            prop_assert_eq!(merged.entries.len(), said.len().min(limit));
        }
    }

    #[test]
    fn there_are_as_many_rounds_as_possible(beacons in beacons(), limit in 0_usize..80) {
        let lists: Vec<_> = beacons.into_iter().map(|(lines, _)| lines).collect();
        let answers = answers(&lists);
        let merged = merge_shares(&answers, limit, Shares::Equal);
        let with_share = answers.iter().filter(|tickets| !tickets.is_empty()).count();
        let dealt = rounds(&answers, limit) * with_share;
        let said = said(&answers);
        let agreed = |peer_id: &PeerId| {
            said[peer_id].len() == 1 && said[peer_id].values().all(|listed_by| listed_by.len() == with_share)
        };
        prop_assert!(merged.entries.len() >= dealt);
        prop_assert!(merged.entries.iter().filter(|entry| !agreed(entry.ticket.peer_id())).count() <= dealt);
        // Places stay empty only where nothing is left that all agree on.
        let all_agreed = said.keys().filter(|peer_id| agreed(peer_id)).count();
        let agreed_in = merged.entries.iter().filter(|entry| agreed(entry.ticket.peer_id())).count();
        prop_assert!(merged.entries.len() == limit || agreed_in == all_agreed);
        // And what all agree on needs nobody's share.
        let most = all_agreed + most_without_agreed(&answers, rounds(&answers, limit));
        prop_assert_eq!(merged.entries.len(), most.min(limit));
        if merged.limited_by.is_some() {
            prop_assert!(dealt + with_share <= limit);
            prop_assert!(merged.entries.len() < said.len());
        }
    }

    #[test]
    fn where_all_agree_everything_that_fits_is_in(lines in vec((0_u16..40, Just(0), 0_u16..50), 1..40), count in 1_usize..7, limit in 1_usize..50) {
        let answers = vec![answer(&lines); count];
        let merged = merge_shares(&answers, limit, Shares::Equal);
        prop_assert_eq!(merged.entries.len(), answers[0].len().min(limit));
        prop_assert!(merged.disagreements.is_empty() && merged.limited_by.is_none());
        // And with one beacon it is its list, as far as it fits.
        let alone = merge_shares(&answers[..1], limit, Shares::Equal);
        let tickets: Vec<_> = alone.entries.iter().map(|entry| &entry.ticket).collect();
        prop_assert_eq!(tickets, answers[0].iter().take(limit).collect::<Vec<_>>());
    }
}

#[test]
fn a_beacon_with_one_peer_limits_everybody_and_is_named() {
    let many: Vec<Line> = (0..20).map(|peer| (peer, 0, peer)).collect();
    let answers = answers(&[many.clone(), vec![(50, 0, 1)], Vec::new(), many]);
    let merged = merge_shares(&answers, 100, Shares::Equal);
    assert_eq!(peer_ids(&merged), ["peer-19", "peer-18", "peer-50"]);
    assert_eq!(merged.limited_by, Some(1));
    let merged = merge_shares(&answers, 100, Shares::Available);
    assert_eq!((merged.entries.len(), merged.limited_by), (21, None));
    // Full for another reason.
    assert_eq!(merge_shares(&answers, 3, Shares::Equal).limited_by, None);
}

#[test]
fn beacons_that_share_peers_do_not_run_out_before_they_have_to() {
    // Taken greedily, the first beacon takes the only peer of the second.
    let answers = answers(&[vec![(1, 0, 9), (2, 0, 1)], vec![(1, 0, 9)]]);
    let merged = merge_shares(&answers, 100, Shares::Equal);
    assert_eq!(peer_ids(&merged), ["peer-1", "peer-2"]);
    assert_eq!(merged.limited_by, None);
}

#[test]
fn what_all_know_needs_nobody_s_share() {
    let answers = answers(&[vec![(1, 0, 1), (2, 0, 9)], vec![(2, 0, 8), (3, 0, 2)]]);
    assert_eq!(peer_ids(&merge_shares(&answers, 3, Shares::Equal)), ["peer-2", "peer-3", "peer-1"]);
    // Without room for it the newest are in.
    assert_eq!(peer_ids(&merge_shares(&answers, 2, Shares::Equal)), ["peer-2", "peer-3"]);
}

#[test]
fn a_false_key_is_left_out_where_most_know_better_and_reported_in_any_case() {
    let lists = [vec![(1, 0, 5), (2, 0, 5)], vec![(1, 0, 7), (3, 0, 4)], vec![(1, 9, 99), (4, 9, 99)]];
    let merged = merge_shares(&answers(&lists), 100, Shares::Equal);
    let keys = vec![(key(0), vec![0, 1]), (key(9), vec![2])];
    let peer_id = PeerId::new("peer-1").unwrap();
    assert_eq!(merged.disagreements, [Disagreement { peer_id: peer_id.clone(), keys, chosen: Some(key(0)) }]);
    let entry = merged.entries.iter().find(|entry| *entry.ticket.peer_id() == peer_id).unwrap();
    assert_eq!((entry.ticket.payload().issued_at.as_u64(), entry.listed_by.as_slice()), (7, [0, 1].as_slice()));
    // Two against two: nobody knows, and each has its share.
    let lists = [vec![(1, 0, 5)], vec![(1, 9, 7)]];
    let merged = merge_shares(&answers(&lists), 100, Shares::Equal);
    assert!(merged.entries.is_empty());
    assert_eq!(merged.disagreements[0].chosen, None);
    let merged = merge_shares(&answers(&lists), 100, Shares::Available);
    assert_eq!(merged.disagreements[0].chosen, Some(key(0)));
}

#[test]
fn the_newest_peers_are_preferred() {
    let lists = [vec![(1, 0, 10), (2, 0, 20), (3, 0, 30)], vec![(4, 0, 5), (5, 0, 6), (6, 0, 7)]];
    assert_eq!(peer_ids(&merge_shares(&answers(&lists), 4, Shares::Equal)), ["peer-3", "peer-2", "peer-6", "peer-5"]);
}

#[test]
fn nobody_has_no_peers() {
    assert_eq!(merge_shares(&[], 10, Shares::Equal), Merged::default());
    assert_eq!(merge_shares(&[Vec::new()], 10, Shares::Available), Merged::default());
}

/// The most beacons, and the longest answers: a search that went down instead of along would end here.
#[test]
fn the_largest_input_is_merged() {
    let lists: Vec<Vec<Line>> =
        (0..64).map(|beacon: u16| (0..200).map(|peer| (beacon * 15 + peer, 0, peer)).collect()).collect();
    let answers = answers(&lists);
    let merged = merge_shares(&answers, 1_000, Shares::Equal);
    assert_eq!(merged.entries.len(), 960);
    assert_eq!(merge_shares(&answers, 1_000, Shares::Available).entries.len(), 1_000);
}
