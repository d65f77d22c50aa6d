//! The roster against a model that is obviously right, and its rules one by one.
//!
//! Out of scope: that an announce costs O(log n). Nothing that a test can count shows it without measuring time; the
//! benchmarks do that.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod model;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use model::Model;
use proptest::prelude::*;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::{ANNOUNCE_INTERVAL, TICKET_MAX_LIFETIME};
use rendezvous_protocol::network::NetworkHash;
use rendezvous_protocol::roster::{Announced, Record, Refused, Roster, RosterLimits};
use rendezvous_protocol::ticket::{PeerId, Purpose, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;
use script::{
    Call, Outcome, Player, SMALL, START, Size, Step, apply, at, limits, network, peer_name, play, presence, reload,
    script, ticket,
};

/// A script may be played in many sizes of roster, most of them always full.
const CAPACITIES: RangeInclusive<usize> = 1..=8;

/// More than any script has records.
const EVERYONE: usize = usize::MAX;

// ---- Against the model ----

/// Everything that can be seen from outside, without telling the roster what time it is.
fn compare_state(roster: &Roster, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(roster.records().collect::<Vec<_>>(), model.records.iter().collect::<Vec<_>>());
    prop_assert_eq!(roster.departed().cloned().collect::<Vec<_>>(), model.departed());
    prop_assert_eq!(roster.len(), model.records.len());
    prop_assert_eq!(roster.is_empty(), model.records.is_empty() && model.departed.is_empty());
    prop_assert_eq!(roster.next_deadline(), model.next_deadline());
    Ok(())
}

fn compare_answers(
    roster: &mut Roster,
    model: &mut Model,
    now: UnixMillis,
    answer_limits: &[usize],
    excluded: &[Option<String>],
) -> Result<(), TestCaseError> {
    for limit in answer_limits {
        for exclude in excluded {
            let exclude = exclude.as_deref();
            prop_assert_eq!(
                roster.fresh(now, *limit, exclude),
                model.fresh(now, *limit, exclude),
                "limit {}, exclude {:?}",
                limit,
                exclude
            );
        }
    }
    Ok(())
}

fn call_model(model: &mut Model, limits: RosterLimits, now: UnixMillis, call: &Call) -> Outcome {
    match call {
        Call::Announce(ticket, network) => Outcome::Announced(model.announce(now, ticket.clone(), *network)),
        Call::Leave(ticket) => Outcome::Left(model.leave(now, ticket)),
        Call::Expire => {
            model.expire(now);
            Outcome::Nothing
        }
        Call::Reload => {
            *model = Model::restore(limits, now, model.records.clone(), model.departed());
            Outcome::Nothing
        }
    }
}

fn follow_the_model(
    limits: RosterLimits,
    script: &[Step],
    answer_limits: &[usize],
    excluded: &[Option<String>],
) -> Result<(), TestCaseError> {
    let (mut roster, mut model, mut player) = (Roster::new(limits), Model::new(limits), Player::new());
    for step in script {
        for call in player.calls(step) {
            // No answer is asked for in between: that would tell both what time it is before the next call does.
            let (outcome, expected) =
                (apply(&mut roster, limits, player.now(), &call), call_model(&mut model, limits, player.now(), &call));
            prop_assert_eq!(outcome, expected, "{:?}", call);
            compare_state(&roster, &model)?;
        }
        if !matches!(step, Step::Wait(_) | Step::Set(_)) {
            compare_answers(&mut roster, &mut model, player.now(), answer_limits, excluded)?;
            compare_state(&roster, &model)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_small_roster_follows_the_model(capacity in CAPACITIES, script in script(SMALL)) {
        let excluded = [None, Some(peer_name(0)), Some(peer_name(1)), Some("nobody".to_owned())];
        follow_the_model(limits(capacity), &script, &[0, 1, 2, 3, 5, 50, usize::MAX], &excluded)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, ..ProptestConfig::with_cases(6) })]
    #[test]
    fn a_roster_of_200_follows_the_model(
        script in script(Size { peers: 400, networks: 30, flood: 60, steps: 500, haste: 40 }),
    ) {
        let full = (0..30).map(|network| Step::Flood { network, peers: 8 });
        // The clock is only set in the small rosters: one that is set ahead empties this one.
        let script: Vec<_> = full.chain(script.into_iter().filter(|step| !matches!(step, Step::Set(_)))).collect();
        follow_the_model(RosterLimits::default(), &script, &[1, 50], &[None, Some(peer_name(0))])?;
    }
}

proptest! {
    #[test]
    fn restoring_into_another_capacity_follows_the_model(
        (capacity, other) in (CAPACITIES, CAPACITIES),
        script in script(SMALL),
        wait in -100_000..200_000_i64,
    ) {
        let (mut roster, mut player) = (Roster::new(limits(capacity)), Player::new());
        for step in &script {
            for call in player.calls(step) {
                apply(&mut roster, limits(capacity), player.now(), &call);
            }
        }
        let model = || {
            let (records, departed) = (roster.records().cloned(), roster.departed().cloned());
            Model::restore(limits(other), at(player.now().as_u64().saturating_add_signed(wait)), records, departed)
        };
        let restored = reload(&roster, limits(other), at(player.now().as_u64().saturating_add_signed(wait)));
        compare_state(&restored, &model())?;
    }
}

// ---- Rule by rule ----

fn peer_ids<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<PeerId> {
    records.into_iter().map(|record| record.ticket.peer_id().clone()).collect()
}

/// How many records each network has.
fn shares<'a>(records: impl IntoIterator<Item = &'a Record>) -> BTreeMap<NetworkHash, usize> {
    let mut shares = BTreeMap::new();
    for record in records {
        *shares.entry(record.network).or_default() += 1;
    }
    shares
}

/// Accepts or panics: for stories whose point is elsewhere.
fn accept(roster: &mut Roster, now: u64, ticket: &VerifiedTicket, from: u8) {
    assert_eq!(roster.announce(at(now), ticket.clone(), network(from)), Ok(Announced::Accepted));
}

/// The script without its jumps back: after one, a roster cannot know what it forgot while the clock was ahead.
fn never_back(script: Vec<Step>) -> Vec<Step> {
    script.into_iter().filter(|step| !matches!(step, Step::Wait(i64::MIN..0) | Step::Set(_))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_roster_is_never_over_its_capacity(capacity in CAPACITIES, script in script(SMALL)) {
        play(limits(capacity), &script, |roster, now, _, _| {
            prop_assert!(roster.len() <= capacity);
            prop_assert!(roster.records().count() <= capacity);
            prop_assert!(roster.fresh(now, EVERYONE, None).len() <= capacity);
            Ok(())
        })?;
    }

    /// What is listed was announced here and accepted, by the key that it names, and has neither left nor ended.
    #[test]
    fn no_expired_and_no_foreign_ticket_is_ever_listed(capacity in CAPACITIES, script in script(SMALL)) {
        let mut accepted: BTreeMap<PeerId, VerifiedTicket> = BTreeMap::new();
        play(limits(capacity), &script, |roster, now, call, outcome| {
            match (call, outcome) {
                (Call::Announce(ticket, _), Outcome::Announced(Ok(Announced::Accepted))) => {
                    accepted.insert(ticket.peer_id().clone(), ticket.clone());
                }
                (Call::Leave(ticket), Outcome::Left(true)) => {
                    accepted.remove(ticket.peer_id());
                }
                _ => {}
            }
            for record in roster.fresh(now, EVERYONE, None) {
                prop_assert!(record.ticket.payload().expires_at > now);
                prop_assert_eq!(Some(&record.ticket), accepted.get(record.ticket.peer_id()));
            }
            Ok(())
        })?;
    }

    /// Freshest is who was accepted last, whatever the clock and the tickets say.
    #[test]
    fn answers_are_freshest_first_and_at_most_as_long_as_asked(
        capacity in CAPACITIES,
        script in script(SMALL),
        limit in 0..10_usize,
        excluded in 0..3_u16,
    ) {
        let mut order: Vec<PeerId> = Vec::new();
        let excluded = peer_name(excluded);
        play(limits(capacity), &script, |roster, now, call, outcome| {
            if let (Call::Announce(ticket, _), Outcome::Announced(Ok(Announced::Accepted))) = (call, outcome) {
                order.retain(|peer_id| peer_id != ticket.peer_id());
                order.insert(0, ticket.peer_id().clone());
            }
            let everyone = peer_ids(roster.fresh(now, EVERYONE, None));
            let present: BTreeSet<_> = everyone.iter().collect();
            prop_assert_eq!(&everyone, &order.iter().filter(|peer| present.contains(peer)).cloned().collect::<Vec<_>>());
            let others: Vec<_> = everyone.iter().filter(|peer_id| peer_id.as_str() != excluded).collect();
            let answer = peer_ids(roster.fresh(now, limit, Some(&excluded)));
            prop_assert_eq!(answer.len(), limit.min(others.len()));
            let mut rest = others.into_iter();
            // In the same order, with some left out.
            prop_assert!(answer.iter().all(|peer_id| rest.any(|other| other == peer_id)));
            Ok(())
        })?;
    }

    /// With one network, fairness has nothing to share out.
    #[test]
    fn with_one_network_an_answer_is_plain_freshest_first(script in script(Size { networks: 1, ..SMALL }), limit in 0..10_usize) {
        play(limits(8), &script, |roster, now, _, _| {
            let mut everyone = peer_ids(roster.fresh(now, EVERYONE, None));
            everyone.truncate(limit);
            prop_assert_eq!(peer_ids(roster.fresh(now, limit, None)), everyone);
            Ok(())
        })?;
    }

    /// Rule 3. A peer that rule 4 removed in between may come back at once, so no roster is full here.
    #[test]
    fn a_peer_gets_one_new_ticket_in_45_seconds(script in script(Size { flood: 1, ..SMALL })) {
        let mut last: BTreeMap<PeerId, UnixMillis> = BTreeMap::new();
        play(limits(100), &never_back(script), |_, now, call, outcome| {
            let Call::Announce(ticket, _) = call else { return Ok(()) };
            let since = last.get(ticket.peer_id()).map(|last| now.since(*last));
            match outcome {
                Outcome::Announced(Ok(Announced::Accepted)) => {
                    prop_assert!(since.is_none_or(|since| since >= ANNOUNCE_INTERVAL));
                    last.insert(ticket.peer_id().clone(), now);
                }
                Outcome::Announced(Err(Refused::AnnounceTooSoon { retry_after })) => {
                    prop_assert_eq!(since.map(|since| since + retry_after), Some(ANNOUNCE_INTERVAL));
                }
                _ => {}
            }
            Ok(())
        })?;
    }

    /// Rule 1.
    #[test]
    fn peer_id_taken_as_long_as_another_keys_ticket_lives_and_no_longer(capacity in CAPACITIES, script in script(SMALL)) {
        let mut listed: BTreeMap<PeerId, (PublicKey, UnixMillis)> = BTreeMap::new();
        play(limits(capacity), &script, |roster, now, call, outcome| {
            if let (Call::Announce(ticket, _), Outcome::Announced(outcome)) = (call, outcome) {
                let holder = listed.get(ticket.peer_id()).filter(|(_, expires_at)| *expires_at > now);
                let other_key = holder.is_some_and(|(key, _)| *key != ticket.public_key());
                let dead = ticket.payload().expires_at <= now;
                prop_assert_eq!(outcome == Err(Refused::PeerIdTaken), other_key && !dead);
            }
            listed = roster
                .records()
                .map(|record| &record.ticket)
                .map(|ticket| (ticket.peer_id().clone(), (ticket.public_key(), ticket.payload().expires_at)))
                .collect();
            Ok(())
        })?;
    }

    /// Rule 2, with one key a peer: as long as an older ticket could be good it is stale.
    #[test]
    fn stale_ticket_for_whatever_is_not_newer_than_the_newest(script in script(Size { flood: 1, ..SMALL })) {
        let mut newest: BTreeMap<PeerId, UnixMillis> = BTreeMap::new();
        let script: Vec<_> = never_back(script)
            .into_iter()
            .map(|step| match step {
                Step::Announce { peer, network, age, lifetime, .. } => {
                    Step::Announce { peer, key: 0, network, age, lifetime }
                }
                Step::LeaveOf { peer, age, .. } => Step::LeaveOf { peer, key: 0, age },
                step => step,
            })
            .collect();
        play(limits(100), &script, |_, _, call, outcome| {
            match (call, outcome) {
                (Call::Announce(ticket, _), Outcome::Announced(Ok(Announced::Accepted))) => {
                    let issued_at = ticket.payload().issued_at;
                    let before = newest.insert(ticket.peer_id().clone(), issued_at);
                    prop_assert!(before.is_none_or(|before| before < issued_at));
                }
                (Call::Announce(ticket, _), Outcome::Announced(Err(Refused::StaleTicket { newest: told }))) => {
                    prop_assert_eq!(Some(&told), newest.get(ticket.peer_id()));
                    prop_assert!(ticket.payload().issued_at <= told);
                }
                (Call::Leave(ticket), Outcome::Left(true)) => {
                    newest.insert(ticket.peer_id().clone(), ticket.payload().issued_at);
                }
                _ => {}
            }
            Ok(())
        })?;
    }

    /// The very same ticket again: nothing changes, so no limit is used up.
    #[test]
    fn a_ticket_that_is_posted_again_changes_nothing(capacity in CAPACITIES, script in script(SMALL), other in 0..4_u8) {
        play(limits(capacity), &script, |roster, now, _, _| {
            roster.expire(now);
            let before = format!("{roster:?}");
            let held: Vec<_> = roster.records().map(|record| record.ticket.clone()).collect();
            for ticket in held {
                prop_assert_eq!(roster.announce(now, ticket, network(other)), Ok(Announced::Repeated));
            }
            prop_assert_eq!(format!("{roster:?}"), before);
            Ok(())
        })?;
    }

    /// Nothing that is refused changes anything.
    #[test]
    fn a_refusal_changes_nothing(capacity in CAPACITIES, script in script(SMALL)) {
        let (mut roster, mut player) = (Roster::new(limits(capacity)), Player::new());
        for step in &script {
            for call in player.calls(step) {
                roster.expire(player.now());
                let before = format!("{roster:?}");
                let outcome = apply(&mut roster, limits(capacity), player.now(), &call);
                if matches!(outcome, Outcome::Announced(Err(_)) | Outcome::Left(false)) {
                    prop_assert_eq!(format!("{roster:?}"), before);
                }
            }
        }
    }

    #[test]
    fn an_early_or_repeated_expire_changes_nothing(capacity in CAPACITIES, script in script(SMALL), early in any::<u64>()) {
        play(limits(capacity), &script, |roster, now, _, _| {
            roster.expire(now);
            let before = format!("{roster:?}");
            roster.expire(now);
            prop_assert_eq!(&format!("{roster:?}"), &before);
            if let Some(deadline) = roster.next_deadline() {
                prop_assert!(deadline > now);
                roster.expire(at(deadline.as_u64() - 1));
                roster.expire(at(early % deadline.as_u64()));
                prop_assert_eq!(&format!("{roster:?}"), &before);
                // At the deadline there is something to do. Done to a copy: the story goes on at its own time.
                let mut copy = reload(roster, limits(capacity), now);
                let copied = format!("{copy:?}");
                copy.expire(deadline);
                prop_assert_ne!(format!("{copy:?}"), copied);
                prop_assert!(copy.next_deadline().is_none_or(|next| next > deadline));
            }
            Ok(())
        })?;
    }

    #[test]
    fn snapshot_then_restore_is_the_identity(
        capacity in CAPACITIES,
        before in script(SMALL),
        after in script(SMALL),
    ) {
        let limits = limits(capacity);
        let (mut roster, mut player) = (Roster::new(limits), Player::new());
        for call in before.iter().flat_map(|step| player.calls(step)).collect::<Vec<_>>() {
            apply(&mut roster, limits, player.now(), &call);
        }
        roster.expire(player.now());
        let mut restored = reload(&roster, limits, player.now());
        // The same to look at, and the same in all that it does from now on.
        for step in &after {
            for call in player.calls(step) {
                let same = Model::restore(limits, UnixMillis::saturating(0), restored.records().cloned(), restored.departed().cloned());
                compare_state(&roster, &same)?;
                let now = player.now();
                prop_assert_eq!(apply(&mut roster, limits, now, &call), apply(&mut restored, limits, now, &call));
                prop_assert_eq!(roster.fresh(now, 3, None), restored.fresh(now, 3, None));
            }
        }
    }

    #[test]
    fn an_excerpt_gives_the_same_answers(capacity in 1..=20_usize, script in script(Size { networks: 10, ..SMALL }), limit in 0..8_usize) {
        play(limits(capacity), &script, |roster, now, _, _| {
            let excerpt: Vec<Record> = roster.excerpt(now, limit).into_iter().cloned().collect();
            prop_assert!(excerpt.len() <= 2 * (limit + 2));
            let mut restored = Roster::restore(limits(capacity), now, excerpt, []);
            let everyone = peer_ids(roster.records());
            for exclude in everyone.iter().map(|peer_id| Some(peer_id.as_str())).chain([None, Some("nobody")]) {
                for limit in 0..=limit {
                    prop_assert_eq!(roster.fresh(now, limit, exclude), restored.fresh(now, limit, exclude));
                }
            }
            Ok(())
        })?;
    }
}

// ---- Fairness ----

/// Who announces, one new peer each time: mostly one network, which mints as many keys as it likes.
fn flood(networks: u8) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![3 => Just(0), 2 => 0..networks], 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Rule 4. Whoever floods, and whoever was first: every network keeps what it announced, up to its fair share.
    #[test]
    fn a_flood_never_pushes_a_network_below_its_fair_share_of_the_roster(
        capacity in 1..=24_usize,
        (networks, announces) in (1..=6_u8).prop_flat_map(|networks| (Just(networks), flood(networks))),
    ) {
        let mut roster = Roster::new(limits(capacity));
        let mut announced: BTreeMap<NetworkHash, usize> = BTreeMap::new();
        for (peer, from) in (0..).zip(announces) {
            accept(&mut roster, START, &presence(peer, 0, START), from);
            *announced.entry(network(from)).or_default() += 1;
            let (held, share) = (shares(roster.records()), capacity / usize::from(networks));
            for (network, announced) in &announced {
                prop_assert!(held.get(network).copied().unwrap_or(0) >= share.min(*announced));
            }
        }
    }

    /// Rule 5. The same in an answer: every network has what it has in the roster, up to its fair share.
    #[test]
    fn a_flood_never_pushes_a_network_below_its_fair_share_of_an_answer(
        capacity in 1..=48_usize,
        limit in 1..=24_usize,
        excluded in prop::option::of(0..120_u16),
        (networks, announces) in (1..=6_u8).prop_flat_map(|networks| (Just(networks), flood(networks))),
    ) {
        let mut roster = Roster::new(limits(capacity));
        let excluded = excluded.map(peer_name);
        for (peer, from) in (0..).zip(announces) {
            accept(&mut roster, START, &presence(peer, 0, START), from);
        }
        let others = |record: &&Record| Some(record.ticket.peer_id().as_str()) != excluded.as_deref();
        let held = shares(roster.records().filter(others));
        let answered = shares(roster.fresh(at(START), limit, excluded.as_deref()));
        for (network, held) in held {
            let share = (limit / usize::from(networks)).min(held);
            prop_assert!(answered.get(&network).copied().unwrap_or(0) >= share);
        }
    }

    /// While there is room no network is limited.
    #[test]
    fn one_network_may_have_the_whole_roster(capacity in 1..=24_u16) {
        let mut roster = Roster::new(limits(usize::from(capacity)));
        for peer in 0..capacity {
            accept(&mut roster, START, &presence(peer, 0, START), 0);
        }
        prop_assert_eq!(roster.records().count(), usize::from(capacity));
    }
}

/// The newcomer never pays itself, or a full roster of many networks would be closed to new ones.
#[test]
fn among_networks_of_equal_size_the_oldest_record_goes() {
    let mut roster = Roster::new(limits(3));
    for peer in 0..4 {
        accept(&mut roster, START, &presence(peer, 0, START), u8::try_from(peer).unwrap());
    }
    assert_eq!(
        peer_ids(roster.records()),
        peer_ids(roster.fresh(at(START), 3, None)).into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(roster.records().map(|record| record.network).collect::<Vec<_>>(), [network(1), network(2), network(3)]);
}

// ---- Memory ----

/// Rule 6. A roster's debug text shows every index that it keeps, so it grows with whatever a roster forgets to forget.
#[test]
fn memory_is_bounded_under_a_flood() {
    const CAPACITY: usize = 20;
    let mut roster = Roster::new(limits(CAPACITY));
    let mut now = START;
    let mut largest_at_first = 0;
    for peer in 0..10_000_u16 {
        // New peers from ever new networks; each third one leaves, each fifth one has a ticket that ends at once.
        let lifetime = if peer % 5 == 0 { 10 } else { 180_000 };
        let from = NetworkHash::from_bytes(u64::from(peer / 2).to_be_bytes());
        roster.announce(at(now), ticket(peer, 0, now, lifetime, Purpose::Presence), from).unwrap();
        now += 7;
        if peer % 3 == 0 {
            roster.leave(at(now), &ticket(peer, 0, now, 180_000, Purpose::Leave));
        }
        assert!(roster.len() <= CAPACITY && roster.departed().count() <= CAPACITY);
        let size = format!("{roster:?}").len();
        if usize::from(peer) < 10 * CAPACITY {
            largest_at_first = largest_at_first.max(size);
        }
        // A tenth more, for numbers that get longer.
        assert!(size <= largest_at_first + largest_at_first / 10, "{size} after {peer}, {largest_at_first} at first");
    }
    roster.expire(at(now).after(TICKET_MAX_LIFETIME));
    assert!(roster.is_empty());
    assert_eq!(roster.next_deadline(), None);
    let empty = format!("{roster:?}");
    assert!(!empty.contains("peer-") && !empty.contains("NetworkHash"), "{empty}");
}

// ---- Stories ----

/// A ticket that ends early must not make room for the one before it, which anybody may have kept.
#[test]
fn an_older_ticket_does_not_come_back_when_a_short_newer_one_ends() {
    let mut roster = Roster::new(limits(8));
    let long = presence(0, 0, START);
    accept(&mut roster, START, &long, 0);
    let later = START + 60_000;
    accept(&mut roster, later, &ticket(0, 0, later, 1_000, Purpose::Presence), 0);
    let stale = Err(Refused::StaleTicket { newest: at(later) });
    for now in [later, later + 1_000, later + 50_000, START + 179_999] {
        assert_eq!(roster.announce(at(now), long.clone(), network(1)), stale, "{now}");
    }
}

#[test]
fn another_ticket_of_the_same_moment_is_stale() {
    let mut roster = Roster::new(limits(8));
    accept(&mut roster, START, &presence(0, 0, START), 0);
    let other = ticket(0, 0, START, 179_999, Purpose::Presence);
    let stale = Err(Refused::StaleTicket { newest: at(START) });
    assert_eq!(roster.announce(at(START + 45_000), other, network(0)), stale);
}

#[test]
fn a_ticket_does_not_come_back_when_its_peer_has_left() {
    let mut roster = Roster::new(limits(8));
    let held = presence(0, 0, START);
    accept(&mut roster, START, &held, 0);
    assert!(roster.leave(at(START + 1), &ticket(0, 0, START + 1, 180_000, Purpose::Leave)));
    for now in [START + 1, START + 50_000, START + 179_999] {
        let stale = Err(Refused::StaleTicket { newest: at(START + 1) });
        assert_eq!(roster.announce(at(now), held.clone(), network(1)), stale, "{now}");
    }
}

#[test]
fn leaving_is_no_way_around_the_interval() {
    let mut roster = Roster::new(limits(8));
    accept(&mut roster, START, &presence(0, 0, START), 0);
    assert!(roster.leave(at(START + 1), &ticket(0, 0, START + 1, 180_000, Purpose::Leave)));
    // Nor is another key.
    for key in [0, 1] {
        let too_soon = roster.announce(at(START + 44_999), presence(0, key, START + 44_999), network(0)).unwrap_err();
        assert_eq!(too_soon.code(), "ANNOUNCE_TOO_SOON");
    }
    accept(&mut roster, START + 45_000, &presence(0, 1, START + 45_000), 0);
}

#[test]
fn only_its_own_key_with_a_newer_ticket_removes_a_peer() {
    let mut roster = Roster::new(limits(8));
    accept(&mut roster, START, &presence(0, 0, START), 0);
    for (key, issued_at, left) in
        [(1, START + 1, false), (0, START, false), (0, START + 1, true), (0, START + 2, false)]
    {
        assert_eq!(roster.leave(at(START + 2), &ticket(0, key, issued_at, 180_000, Purpose::Leave)), left);
    }
}

/// After a restart with less room, what has ended makes way before anything live does.
#[test]
fn restoring_into_less_room_drops_what_has_ended_first() {
    let mut roster = Roster::new(limits(3));
    accept(&mut roster, START, &presence(0, 0, START), 0);
    accept(&mut roster, START, &ticket(1, 0, START, 60_000, Purpose::Presence), 0);
    accept(&mut roster, START, &ticket(2, 0, START, 60_000, Purpose::Presence), 0);
    let restored = reload(&roster, limits(1), at(START + 60_000));
    assert_eq!(restored.records().map(|record| &record.ticket).collect::<Vec<_>>(), [&presence(0, 0, START)]);
}

#[test]
fn every_change_of_an_answer_shows_in_the_revision() {
    let mut roster = Roster::new(limits(8));
    let mut last = roster.revision();
    let mut changed = |roster: &Roster| std::mem::replace(&mut last, roster.revision()) != roster.revision();
    accept(&mut roster, START, &presence(0, 0, START), 0);
    assert!(changed(&roster));
    roster.announce(at(START), presence(0, 0, START), network(0)).unwrap();
    roster.fresh(at(START), 50, None);
    assert!(!changed(&roster));
    accept(&mut roster, START + 45_000, &presence(0, 0, START + 45_000), 0);
    assert!(changed(&roster));
    roster.fresh(at(START + 300_000), 50, None);
    assert!(changed(&roster));
}
