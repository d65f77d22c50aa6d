//! Whatever beacons say, none of them says more than its share: section 8 of the specification, as properties.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rendezvous_protocol::answer::Listed;
use rendezvous_protocol::base64;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::merge::{
    Disagreement, Merged, SHORT_LIST, Shares, all_claims, merge_shares, newest_of_claims,
};
use rendezvous_protocol::ticket::{PeerId, Purpose, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

/// What a beacon says with one ticket: peerId, key, time, and since when the claim is present.
type Line = (u16, u16, u16, Option<u16>);

fn peer_id(peer: u16) -> String {
    format!("peer-{peer}")
}

fn key_bytes(key: u16) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&key.to_be_bytes());
    bytes
}

fn key(key: u16) -> PublicKey {
    PublicKey::from_bytes(key_bytes(key))
}

/// A ticket of the right shape. Only good ones come to be merged, so nobody signs these.
fn ticket(peer: u16, key: u16, issued_at: u16) -> VerifiedTicket {
    let (peer, key, signature) = (peer_id(peer), base64::encode(&key_bytes(key)), base64::encode(&[0; 64]));
    let json = format!(
        r#"{{"algorithm":"ed25519","payload":{{"expiresAt":100000,"issuedAt":{issued_at},"nonce":"AAAAAAAAAAAAAAAA","peerId":"{peer}","userId":"user"}},"publicKey":"{key}","signature":"{signature}","version":1}}"#
    );
    VerifiedTicket::trusted(&json, Purpose::Presence).unwrap()
}

/// An answer as a reader has it: one ticket a claim, newest first.
fn answer(lines: &[Line]) -> Vec<Listed> {
    let mut newest: BTreeMap<(u16, u16), Line> = BTreeMap::new();
    for line in lines {
        let held = newest.entry((line.0, line.1)).or_insert(*line);
        if line.2 > held.2 {
            *held = *line;
        }
    }
    let listed = |(peer, key, issued_at, since): Line| Listed {
        ticket: ticket(peer, key, issued_at),
        since: since.map(u64::from).map(UnixMillis::saturating),
    };
    let mut answer: Vec<_> = newest.into_values().map(listed).collect();
    answer.sort_by_key(|listed| Reverse(rank(&listed.ticket)));
    answer
}

fn rank(ticket: &VerifiedTicket) -> (UnixMillis, String) {
    (ticket.payload().issued_at, ticket.as_json().to_owned())
}

fn answers(lists: &[Vec<Line>]) -> Vec<Vec<Listed>> {
    lists.iter().map(|lines| answer(lines)).collect()
}

/// Answers of beacons that say nothing about since when.
fn silent(lists: &[Vec<(u16, u16, u16)>]) -> Vec<Vec<Listed>> {
    let lines = |list: &Vec<_>| list.iter().map(|(peer, key, issued_at)| (*peer, *key, *issued_at, None)).collect();
    answers(&lists.iter().map(lines).collect::<Vec<_>>())
}

fn peer_ids(merged: &Merged) -> Vec<&str> {
    merged.entries.iter().map(|entry| entry.ticket.peer_id().as_str()).collect()
}

/// The key in the result for a peerId.
fn chosen(merged: &Merged, peer: u16) -> Option<PublicKey> {
    let entry = merged.entries.iter().find(|entry| entry.ticket.peer_id().as_str() == peer_id(peer));
    entry.map(|entry| entry.ticket.public_key())
}

fn with_list(answers: &[Vec<Listed>]) -> usize {
    answers.iter().filter(|listed| !listed.is_empty()).count()
}

fn since() -> impl Strategy<Value = Option<u16>> + Clone {
    option::weighted(0.8, 0_u16..100)
}

/// What a beacon may say: real names with real and false keys, several for one name, names of its own with times in the
/// future, little, a great deal, nothing.
fn list() -> impl Strategy<Value = Vec<Line>> {
    let known = (0_u16..12, 0_u16..3, 0_u16..50, since());
    let honest = vec((0_u16..12, Just(0), 0_u16..50, since()), 0..12);
    let invented = (100_u16..400, 0_u16..3, 900_u16..1_000, since());
    prop_oneof![
        3 => honest,
        2 => vec(known.clone(), 0..24),
        1 => vec(known.clone(), 1..2),
        1 => vec(invented, 1..60),
        1 => vec((0_u16..12, 1_u16..3, 900_u16..1_000, Just(Some(0))), 1..20),
        1 => vec((0_u16..2, 0_u16..256, 0_u16..50, since()), 1..40),
        1 => Just(Vec::new()),
    ]
}

/// Up to six beacons, and which of them are hostile.
fn beacons() -> impl Strategy<Value = Vec<(Vec<Line>, bool)>> {
    vec((list(), any::<bool>()), 0..7)
}

/// For each key that claims a peerId, who lists it, and since when.
type Keys = BTreeMap<PublicKey, BTreeMap<usize, Option<UnixMillis>>>;

fn said(answers: &[Vec<Listed>]) -> BTreeMap<PeerId, Keys> {
    let mut said: BTreeMap<PeerId, Keys> = BTreeMap::new();
    for (beacon, listed) in answers.iter().enumerate() {
        for Listed { ticket, since } in listed {
            let keys = said.entry(ticket.peer_id().clone()).or_default();
            keys.entry(ticket.public_key()).or_default().insert(beacon, *since);
        }
    }
    said
}

/// The key that more than half of `count` beacons prefer to each of the others, from all pairs.
fn preferred(keys: &Keys, count: usize) -> Option<PublicKey> {
    let beacons: BTreeSet<usize> = keys.values().flat_map(BTreeMap::keys).copied().collect();
    let prefers = |beacon: usize, one: &PublicKey, other: &PublicKey| {
        let (one, other) = (keys[one].get(&beacon), keys[other].get(&beacon));
        let is_longer = matches!((one, other), (Some(Some(one)), Some(Some(other))) if one < other);
        (one.is_some() && other.is_none()) || is_longer
    };
    let wins = |one: &PublicKey, other: &PublicKey| {
        beacons.iter().filter(|beacon| prefers(**beacon, one, other)).count() * 2 > count
    };
    keys.keys().copied().find(|one| keys.keys().all(|other| other == one || wins(one, other)))
}

/// The key with which a beacon can be given a peerId.
fn key_given(keys: &Keys, beacon: usize, count: usize) -> Option<PublicKey> {
    if let Some(preferred) = preferred(keys, count) {
        return keys[&preferred].contains_key(&beacon).then_some(preferred);
    }
    let mut listed: Vec<_> = keys
        .iter()
        .filter_map(|(key, since)| Some((since.get(&beacon)?.map_or(u64::MAX, UnixMillis::as_u64), *key)))
        .collect();
    listed.sort_unstable();
    listed.first().map(|(_, key)| *key)
}

/// Whether more than half of `count` beacons list the key that most prefer.
fn is_of_majority(keys: &Keys, count: usize) -> bool {
    preferred(keys, count).is_some_and(|key| keys[&key].len() * 2 > count)
}

/// For each peerId whether most list it, and the beacons that can be given it.
fn given(answers: &[Vec<Listed>]) -> Vec<(bool, BTreeSet<usize>)> {
    let count = with_list(answers);
    let beacons = |keys: &Keys| (0..answers.len()).filter(|beacon| key_given(keys, *beacon, count).is_some()).collect();
    said(answers).values().map(|keys| (is_of_majority(keys, count), beacons(keys))).collect()
}

/// The beacons that share, and those whose list is so short that they only add.
fn sharing_and_short(answers: &[Vec<Listed>]) -> (Vec<usize>, Vec<usize>) {
    let given = given(answers);
    let length = |beacon: usize| given.iter().filter(|(_, beacons)| beacons.contains(&beacon)).count();
    let with_list: Vec<usize> = (0..answers.len()).filter(|beacon| !answers[*beacon].is_empty()).collect();
    let mut lengths: Vec<_> = with_list.iter().map(|beacon| length(*beacon)).collect();
    lengths.sort_unstable();
    let is_short =
        |beacon: &usize| length(*beacon) < SHORT_LIST && length(*beacon) * 2 < lengths[(lengths.len() - 1) / 2];
    let (short, sharing) = with_list.into_iter().partition(is_short);
    (sharing, short)
}

/// For every set of these beacons, how many they are, and how many of the peers there are with which one of them can be
/// given.
fn sets(beacons: &[usize], peers: &[&BTreeSet<usize>]) -> Vec<(usize, usize)> {
    let bits = |peer: &BTreeSet<usize>| -> usize {
        beacons.iter().enumerate().filter(|(_, beacon)| peer.contains(beacon)).map(|(bit, _)| 1 << bit).sum()
    };
    let peers: Vec<usize> = peers.iter().map(|peer| bits(peer)).collect();
    (0_usize..1 << beacons.len())
        .map(|set| (set.count_ones() as usize, peers.iter().filter(|peer| **peer & set != 0).count()))
        .collect()
}

/// The rounds that there are where there is room for everything, by Hall's theorem instead of a search: every set of
/// beacons that share has to find, among all that they list together, enough for each of them.
fn rounds(answers: &[Vec<Listed>]) -> usize {
    let (sharing, _) = sharing_and_short(answers);
    let given = given(answers);
    let sets = sets(&sharing, &given.iter().map(|(_, beacons)| beacons).collect::<Vec<_>>());
    sets.iter().filter(|(members, _)| *members > 0).map(|(members, peers)| peers / members).min().unwrap_or(0)
}

/// The most that can be given out in `rounds` of what most do not list, by the same theorem.
fn most_of_others(answers: &[Vec<Listed>], rounds: usize) -> usize {
    let (sharing, short) = sharing_and_short(answers);
    let all: Vec<usize> = sharing.into_iter().chain(short).collect();
    let given = given(answers);
    let others: Vec<_> =
        given.iter().filter(|(is_of_majority, _)| !is_of_majority).map(|(_, beacons)| beacons).collect();
    sets(&all, &others).iter().map(|(members, peers)| peers + rounds * (all.len() - members)).min().unwrap_or(0)
}

/// What honest beacons say where somebody announces their peers' names everywhere, and what hostile ones say. All honest
/// ones list the same owners, some of them also peers that only they know; strangers came later than the owners.
fn squatted() -> impl Strategy<Value = (Vec<Vec<Line>>, Vec<Vec<Line>>)> {
    let owners = vec((0_u16..12, Just(0), 0_u16..50), 1..12);
    let since = vec(0_u16..50, 12);
    let strangers = vec((0_u16..12, 1_u16..4, 0_u16..1_000, (50_u16..100).prop_map(Some)), 0..30);
    let own = vec((20_u16..40, Just(0), 0_u16..50, since_ever()), 0..5);
    let hostile = prop_oneof![
        list(),
        vec((0_u16..40, 0_u16..4, 0_u16..1_000, since_ever()), 0..60),
        vec((0_u16..12, Just(1), 0_u16..1_000, Just(Some(0))), 0..30),
    ];
    (owners, vec((since, strangers, own), 1..5), vec(hostile, 0..4)).prop_map(|(owners, honest, hostile)| {
        let names: BTreeSet<u16> = owners.iter().map(|owner| owner.0).collect();
        let list = |(since, strangers, own): (Vec<u16>, Vec<Line>, Vec<Line>)| {
            let owners = owners.iter().map(|(peer, key, at)| (*peer, *key, *at, Some(since[usize::from(*peer)])));
            owners.chain(strangers.into_iter().filter(|line| names.contains(&line.0))).chain(own).collect()
        };
        (honest.into_iter().map(list).collect(), hostile)
    })
}

fn since_ever() -> impl Strategy<Value = Option<u16>> {
    (0_u16..100).prop_map(Some)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Who looks sees every claim once, by the newest ticket that anybody has of it.
    #[test]
    fn every_claim_is_shown_once(lists in beacons()) {
        let answers = answers(&lists.into_iter().map(|(list, _)| list).collect::<Vec<_>>());
        let mut expected = BTreeMap::<_, (_, Vec<usize>)>::new();
        for (beacon, listed) in answers.iter().enumerate() {
            for Listed { ticket, .. } in listed {
                let claim = (ticket.peer_id().clone(), ticket.public_key());
                let (newest, listed_by) = expected.entry(claim).or_insert_with(|| (rank(ticket), Vec::new()));
                *newest = rank(ticket).max(newest.clone());
                listed_by.push(beacon);
            }
        }
        let shown = all_claims(&answers);
        prop_assert!(shown.windows(2).all(|pair| rank(&pair[0].ticket) >= rank(&pair[1].ticket)));
        let shown: Vec<_> = shown.into_iter().map(|entry| {
            ((entry.ticket.peer_id().clone(), entry.ticket.public_key()), (rank(&entry.ticket), entry.listed_by))
        }).collect();
        prop_assert_eq!(shown.len(), expected.len());
        prop_assert_eq!(shown.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }

    #[test]
    fn each_claim_is_there_once_by_its_newest_ticket_wherever_it_was_said(
        lines in prop::collection::vec((0_u16..4, 0_u16..3, 0_u16..6), 0..40),
    ) {
        let said = lines.iter().enumerate().map(|(at, (peer, key, issued_at))| (ticket(*peer, *key, *issued_at), at));
        let shown = newest_of_claims(said);
        // By hand: who came first, and of its tickets the first of the newest.
        let mut order = Vec::new();
        for (peer, key, _) in &lines {
            if !order.contains(&(*peer, *key)) {
                order.push((*peer, *key));
            }
        }
        let expected: Vec<_> = order.iter().map(|claim| {
            let own = || lines.iter().enumerate().filter(|(_, line)| (line.0, line.1) == *claim);
            let newest = own().map(|(_, line)| line.2).max().unwrap();
            own().find(|(_, line)| line.2 == newest).unwrap().0
        }).collect();
        prop_assert_eq!(shown.iter().map(|(_, at)| *at).collect::<Vec<_>>(), expected);
        for (ticket_of, at) in &shown {
            let (peer, key, issued_at) = lines[*at];
            prop_assert_eq!(ticket_of, &ticket(peer, key, issued_at));
        }
    }

    #[test]
    fn no_hostile_beacon_has_more_than_an_honest_one_that_shares(beacons in beacons(), limit in 0_usize..80) {
        let (lists, hostile): (Vec<_>, Vec<_>) = beacons.into_iter().unzip();
        let answers = answers(&lists);
        let merged = merge_shares(&answers, limit, Shares::Equal);
        let count = with_list(&answers);
        let bad = answers.iter().zip(&hostile).filter(|(tickets, hostile)| **hostile && !tickets.is_empty()).count();
        let is_honest = |beacon: &usize| !hostile[*beacon];
        let honest = merged.entries.iter().filter(|entry| entry.listed_by.iter().any(is_honest)).count();
        // What more than half of the beacons list is in, and nobody can know whether all of those lie.
        let said = said(&answers);
        let by_a_hostile_majority = merged.entries.iter().filter(|entry| {
            is_of_majority(&said[entry.ticket.peer_id()], count) && !entry.listed_by.iter().any(is_honest)
        }).count();
        prop_assert!(bad * 2 > count || by_a_hostile_majority == 0);
        let false_ones = merged.entries.len() - honest - by_a_hostile_majority;
        let (sharing, short) = sharing_and_short(&answers);
        let honest_sharing = sharing.iter().filter(|beacon| is_honest(beacon)).count();
        prop_assert!(honest * bad >= false_ones * honest_sharing, "{honest} of {merged:?}");
        if !short.iter().any(is_honest) && by_a_hostile_majority == 0 {
            prop_assert!(honest * count >= merged.entries.len() * (count - bad), "{honest} of {merged:?}");
        }
    }

    #[test]
    fn whoever_most_list_is_in(beacons in beacons(), limit in 0_usize..80, available in any::<bool>()) {
        let lists: Vec<_> = beacons.into_iter().map(|(lines, _)| lines).collect();
        let answers = answers(&lists);
        let merged = merge_shares(&answers, limit, if available { Shares::Available } else { Shares::Equal });
        let said = said(&answers);
        let is_of_majority = |peer_id: &PeerId| is_of_majority(&said[peer_id], with_list(&answers));
        let all = said.keys().filter(|peer_id| is_of_majority(peer_id)).count();
        let found = merged.entries.iter().filter(|entry| is_of_majority(entry.ticket.peer_id())).count();
        prop_assert_eq!(found, all.min(limit));
    }

    /// A list that is far shorter than most never costs the others anything.
    #[test]
    fn a_short_list_only_adds(beacons in vec(vec((0_u16..60, Just(0), 0_u16..50, since()), 30..60), 2..5), short in list(), limit in 1_usize..300) {
        let short: Vec<Line> = short.into_iter().take(5).collect();
        let without = answers(&beacons);
        let with = answers(&beacons.into_iter().chain([short]).collect::<Vec<_>>());
        prop_assume!(sharing_and_short(&with).0.len() == without.len());
        let merged = merge_shares(&with, limit, Shares::Equal);
        prop_assert!(merged.limited_by != Some(without.len()));
        prop_assert!(merged.entries.len() + 5 >= limit.min(rounds(&with) * without.len()));
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
        let sorted = merged.entries.is_sorted_by(|one, other| rank(&one.ticket) > rank(&other.ticket));
        prop_assert!(sorted);
        let (said, with_share) = (said(&answers), with_list(&answers));
        for entry in &merged.entries {
            // It is what these beacons say, as new as any of them has it.
            let (peer_id, key) = (entry.ticket.peer_id(), entry.ticket.public_key());
            let keys = &said[peer_id];
            prop_assert_eq!(&entry.listed_by, &keys[&key].keys().copied().collect::<Vec<_>>());
            let tickets = answers.iter().flatten().map(|listed| &listed.ticket);
            let newest = tickets.filter(|ticket| ticket.peer_id() == peer_id && ticket.public_key() == key).max_by_key(|ticket| rank(ticket));
            prop_assert_eq!(Some(&entry.ticket), newest);
            // And the key that most prefer to all others, or that a beacon lists longest where there is none.
            let given: BTreeSet<_> = (0..answers.len()).filter_map(|beacon| key_given(keys, beacon, with_share)).collect();
            prop_assert!(given.contains(&key), "{key} is not of {given:?}");
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
        let merged = merge_shares(&answers, 10_000, Shares::Equal);
        let (said, count, rounds) = (said(&answers), with_list(&answers), rounds(&answers));
        let majority = said.values().filter(|keys| is_of_majority(keys, count)).count();
        // And what most list needs nobody's share.
        prop_assert_eq!(merged.entries.len(), majority + most_of_others(&answers, rounds));
        prop_assert_eq!(merged.limited_by.is_some(), merged.entries.len() < said.len());
        // Where there is less room no place of a whole round stays empty.
        let bounded = merge_shares(&answers, limit, Shares::Equal);
        prop_assert!(bounded.entries.len() <= merged.entries.len());
        if bounded.entries.len() < merged.entries.len() {
            prop_assert!(bounded.entries.len() + 2 * count > limit, "{bounded:?}");
        }
        if bounded.limited_by.is_some() {
            prop_assert!(bounded.entries.len() < said.len().min(limit));
        }
    }

    #[test]
    fn where_all_agree_everything_that_fits_is_in(lines in vec((0_u16..40, Just(0), 0_u16..50, since()), 1..40), count in 1_usize..7, limit in 1_usize..50) {
        let answers = vec![answer(&lines); count];
        let merged = merge_shares(&answers, limit, Shares::Equal);
        prop_assert_eq!(merged.entries.len(), answers[0].len().min(limit));
        prop_assert!(merged.disagreements.is_empty() && merged.limited_by.is_none());
        // And with one beacon it is its list, as far as it fits.
        let alone = merge_shares(&answers[..1], limit, Shares::Equal);
        let tickets: Vec<_> = alone.entries.iter().map(|entry| &entry.ticket).collect();
        prop_assert_eq!(tickets, answers[0].iter().take(limit).map(|listed| &listed.ticket).collect::<Vec<_>>());
    }

    /// Nobody gets into the place of an owner that all honest beacons list longest, whatever fewer than half of the
    /// beacons say; and where half of them are hostile, owners still have the honest ones' shares.
    #[test]
    fn owners_keep_their_names_from_those_who_claim_them_later(
        (honest, hostile) in squatted(),
        order in any::<prop::sample::Index>(),
        limit in 0_usize..80,
        available in any::<bool>(),
    ) {
        let owners: BTreeSet<String> = honest[0].iter().filter(|line| line.0 < 12).map(|line| peer_id(line.0)).collect();
        let mut lists: Vec<(Vec<Line>, bool)> = honest.into_iter().map(|list| (list, false)).collect();
        lists.extend(hostile.into_iter().map(|list| (list, true)));
        let count = lists.len();
        lists.rotate_left(order.index(count));
        let (lists, is_hostile): (Vec<_>, Vec<bool>) = lists.into_iter().unzip();
        let answers = answers(&lists);
        let with_share = with_list(&answers);
        let bad = answers.iter().zip(&is_hostile).filter(|(listed, is_hostile)| **is_hostile && !listed.is_empty()).count();
        let shares = if available { Shares::Available } else { Shares::Equal };
        let merged = merge_shares(&answers, limit, shares);
        let is_owner = |ticket: &VerifiedTicket| ticket.public_key() == key(0);
        if bad * 2 < with_share {
            let named = |peer_id: &PeerId| owners.contains(peer_id.as_str());
            prop_assert!(merged.entries.iter().all(|entry| is_owner(&entry.ticket) || !named(entry.ticket.peer_id())));
        }
        let (_, short) = sharing_and_short(&answers);
        if bad * 2 <= with_share && !available && short.iter().all(|beacon| is_hostile[*beacon]) {
            let real = merged.entries.iter().filter(|entry| is_owner(&entry.ticket)).count();
            prop_assert!(real * with_share >= merged.entries.len() * (with_share - bad), "{real} of {merged:?}");
        }
    }
}

#[test]
fn a_beacon_with_few_peers_limits_everybody_and_is_named() {
    let of = |peers: std::ops::Range<u16>| peers.map(|peer| (peer, 0, peer)).collect::<Vec<_>>();
    let answers = silent(&[of(0..8), of(20..24), Vec::new(), of(40..48)]);
    let merged = merge_shares(&answers, 100, Shares::Equal);
    assert_eq!((merged.entries.len(), merged.limited_by), (12, Some(1)));
    let merged = merge_shares(&answers, 100, Shares::Available);
    assert_eq!((merged.entries.len(), merged.limited_by), (20, None));
    // Full for another reason.
    assert_eq!(merge_shares(&answers, 3, Shares::Equal).limited_by, None);
}

/// Two list the same peers, the third has just been started, or lies.
#[test]
fn a_short_list_does_not_gut_the_result() {
    let many: Vec<_> = (0..50).map(|peer| (peer, 0, peer)).collect();
    for short in [vec![(90, 0, 99)], vec![(7, 0, 7)], (90..109).map(|peer| (peer, 0, 99)).collect()] {
        let answers = silent(&[many.clone(), short.clone(), many.clone()]);
        let merged = merge_shares(&answers, 100, Shares::Equal);
        let new = short.iter().filter(|line| line.0 >= 50).count();
        assert_eq!((merged.entries.len(), merged.limited_by), (50 + new, None));
        // Where places are few, whoever most list has them.
        let full = merge_shares(&answers, 50, Shares::Equal);
        assert!(full.entries.iter().all(|entry| entry.listed_by.len() >= 2), "{full:?}");
    }
    // Half of the beacons cannot make the lists of the others too short.
    let invented: Vec<_> = (100..300).map(|peer| (peer, 9, 999)).collect();
    let answers = silent(&[vec![(1, 0, 1), (2, 0, 2), (3, 0, 3)], invented]);
    let merged = merge_shares(&answers, 100, Shares::Equal);
    assert_eq!((merged.entries.len(), merged.limited_by), (6, Some(0)));
}

/// What a beacon that lists nothing but others gets is no more than what those who agree would have.
#[test]
fn what_most_list_counts_for_the_shares_of_those_who_list_it() {
    let agreed: Vec<_> = (0..50).map(|peer| (peer, 0, peer)).collect();
    let alone: Vec<_> = (100..150).map(|peer| (peer, 0, peer)).collect();
    let answers = silent(&[agreed.clone(), agreed, alone]);
    let merged = merge_shares(&answers, 100, Shares::Equal);
    let of_the_third = merged.entries.iter().filter(|entry| entry.listed_by == [2]).count();
    assert_eq!((merged.entries.len(), of_the_third), (75, 25));
    let merged = merge_shares(&answers, 60, Shares::Equal);
    let of_the_third = merged.entries.iter().filter(|entry| entry.listed_by == [2]).count();
    assert_eq!((merged.entries.len(), of_the_third), (60, 10));
}

#[test]
fn beacons_that_share_peers_do_not_run_out_before_they_have_to() {
    // Taken greedily, the first beacon takes the only peer of the second.
    let answers = silent(&[vec![(1, 0, 9), (2, 0, 1)], vec![(1, 0, 9)]]);
    let merged = merge_shares(&answers, 100, Shares::Equal);
    assert_eq!(peer_ids(&merged), ["peer-1", "peer-2"]);
    assert_eq!(merged.limited_by, None);
}

#[test]
fn what_all_know_needs_nobodys_share() {
    let answers = silent(&[vec![(1, 0, 1), (2, 0, 9)], vec![(2, 0, 8), (3, 0, 2)]]);
    assert_eq!(peer_ids(&merge_shares(&answers, 3, Shares::Equal)), ["peer-2", "peer-3", "peer-1"]);
    // Without room for both.
    assert_eq!(peer_ids(&merge_shares(&answers, 2, Shares::Equal)), ["peer-2", "peer-3"]);
}

#[test]
fn a_false_key_is_left_out_where_most_know_better_and_reported_in_any_case() {
    let lists = [vec![(1, 0, 5), (2, 0, 5)], vec![(1, 0, 7), (3, 0, 4)], vec![(1, 9, 99), (4, 9, 99)]];
    let merged = merge_shares(&silent(&lists), 100, Shares::Equal);
    let keys = vec![(key(0), vec![0, 1]), (key(9), vec![2])];
    let peer_id = PeerId::new("peer-1").unwrap();
    assert_eq!(merged.disagreements, [Disagreement { peer_id: peer_id.clone(), keys, chosen: Some(key(0)) }]);
    let entry = merged.entries.iter().find(|entry| *entry.ticket.peer_id() == peer_id).unwrap();
    assert_eq!((entry.ticket.payload().issued_at.as_u64(), entry.listed_by.as_slice()), (7, [0, 1].as_slice()));
    // Two against two: nobody knows, and each has its share.
    let lists = [vec![(1, 0, 5)], vec![(1, 9, 7)]];
    let merged = merge_shares(&silent(&lists), 100, Shares::Equal);
    assert!(merged.entries.is_empty());
    assert_eq!(merged.disagreements[0].chosen, None);
    let merged = merge_shares(&silent(&lists), 100, Shares::Available);
    assert_eq!(merged.disagreements[0].chosen, Some(key(0)));
}

/// Owners announce to all beacons, then a stranger announces their names to all of them, with the freshest tickets.
#[test]
fn a_stranger_who_claims_every_name_everywhere_gets_none() {
    let list: Vec<Line> = (0..20).flat_map(|peer| [(peer, 0, 10, Some(10)), (peer, 9, 999, Some(11))]).collect();
    for count in 1..=5 {
        let merged = merge_shares(&answers(&vec![list.clone(); count]), 100, Shares::Equal);
        assert_eq!(merged.entries.len(), 20);
        assert!((0..20).all(|peer| chosen(&merged, peer) == Some(key(0))), "{count} beacons");
        // It is said in any case.
        assert_eq!(merged.disagreements.len(), 20);
        let all: Vec<usize> = (0..count).collect();
        assert_eq!(merged.disagreements[0].keys, [(key(0), all.clone()), (key(9), all)]);
    }
}

/// More beacons list the stranger than the owner. Only one of three prefers it.
#[test]
fn a_hostile_beacon_does_not_tip_the_scales_for_a_stranger() {
    let honest: Vec<Line> = (0..20).flat_map(|peer| [(peer, 0, 10, Some(10)), (peer, 9, 999, Some(11))]).collect();
    let hidden: Vec<Line> = (0..20).map(|peer| (peer, 9, 999, None)).collect();
    let lied: Vec<Line> = (0..20).flat_map(|peer| [(peer, 0, 10, Some(10)), (peer, 9, 999, Some(0))]).collect();
    for hostile in [hidden, lied] {
        let three = answers(&[honest.clone(), hostile.clone(), honest.clone()]);
        let merged = merge_shares(&three, 100, Shares::Available);
        assert!((0..20).all(|peer| chosen(&merged, peer) == Some(key(0))), "{merged:?}");
        // One that says nothing but what most contradict limits nobody.
        let equal = merge_shares(&three, 100, Shares::Equal);
        assert_eq!((equal.entries.len(), equal.limited_by), (20, None));
        // One of two has its share and no more.
        let merged = merge_shares(&answers(&[honest.clone(), hostile]), 100, Shares::Equal);
        let owners = (0..20).filter(|peer| chosen(&merged, *peer) == Some(key(0))).count();
        assert_eq!((owners, merged.entries.len()), (10, 20));
    }
}

#[test]
fn a_key_that_one_beacon_lists_among_others_counts_as_listed_there() {
    // A stranger was first at one beacon. The others know better, and the beacon's share does not become smaller.
    let lists = [
        vec![(1, 0, 5, Some(9)), (1, 9, 99, Some(1))],
        vec![(1, 0, 5, Some(1)), (2, 0, 6, Some(1))],
        vec![(1, 0, 5, Some(1)), (3, 0, 7, Some(1))],
    ];
    let merged = merge_shares(&answers(&lists), 100, Shares::Equal);
    assert_eq!(peer_ids(&merged), ["peer-3", "peer-2", "peer-1"]);
    assert_eq!(chosen(&merged, 1), Some(key(0)));
    assert_eq!(merged.entries[2].listed_by, [0, 1, 2]);
}

#[test]
fn where_preferences_go_in_a_circle_each_beacon_has_its_share() {
    let lists: Vec<Vec<Line>> = [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
        .into_iter()
        .map(|order| {
            (0..3)
                .flat_map(|peer| {
                    order.map(|key| (peer, key, 1, order.iter().position(|one| *one == key).map(|at| at as u16)))
                })
                .collect()
        })
        .collect();
    let merged = merge_shares(&answers(&lists), 100, Shares::Equal);
    let keys: BTreeSet<_> = merged.entries.iter().map(|entry| entry.ticket.public_key()).collect();
    assert_eq!((merged.entries.len(), keys), (3, BTreeSet::from([key(0), key(1), key(2)])));
}

#[test]
fn a_beacon_that_does_not_say_since_when_gets_the_lowest_key_for_its_own_share_alone() {
    let said: Vec<Line> = vec![(1, 8, 5, Some(1)), (1, 9, 5, Some(2))];
    let unsaid: Vec<Line> = vec![(1, 9, 99, None), (1, 7, 5, None), (1, 8, 5, None)];
    let merged = merge_shares(&answers(std::slice::from_ref(&unsaid)), 100, Shares::Equal);
    assert_eq!(chosen(&merged, 1), Some(key(7)));
    let merged = merge_shares(&answers(&[said.clone(), unsaid.clone(), said]), 100, Shares::Equal);
    assert_eq!(chosen(&merged, 1), Some(key(8)));
}

#[test]
fn the_newest_peers_are_preferred() {
    let lists = [vec![(1, 0, 10), (2, 0, 20), (3, 0, 30)], vec![(4, 0, 5), (5, 0, 6), (6, 0, 7)]];
    assert_eq!(peer_ids(&merge_shares(&silent(&lists), 4, Shares::Equal)), ["peer-3", "peer-2", "peer-6", "peer-5"]);
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
        (0..64).map(|beacon: u16| (0..200).map(|peer| (beacon * 15 + peer, 0, peer, None)).collect()).collect();
    let answers = answers(&lists);
    let merged = merge_shares(&answers, 1_000, Shares::Equal);
    assert_eq!(merged.entries.len(), 960);
    assert_eq!(merge_shares(&answers, 1_000, Shares::Available).entries.len(), 1_000);
}

/// The most beacons, each with as many keys for one name as it can have tickets: to compare each with each would take
/// very long.
#[test]
fn the_most_keys_for_one_name_are_merged() {
    let list = |beacon: u16| -> Vec<Line> {
        let known = (0..100).map(|key| (1, key, 1, Some(key + 1)));
        known.chain((0..100).map(|key| (1, 100 + beacon * 100 + key, 1, Some(0)))).collect()
    };
    let merged = merge_shares(&answers(&(0..64).map(list).collect::<Vec<_>>()), 1_000, Shares::Equal);
    assert_eq!((merged.entries.len(), chosen(&merged, 1)), (1, Some(key(0))));
    assert_eq!(merged.disagreements[0].keys.len(), 6_500);
}
