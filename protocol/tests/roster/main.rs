//! The roster against a model that is obviously right, and its rules one by one.
//!
//! Out of scope: how many peers an attack leaves, which is counted in `tests/figures`, and what a call costs, which the
//! benchmarks measure.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

mod model;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use model::{Model, paths, quarter};
use proptest::prelude::*;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::{ANNOUNCE_INTERVAL, CLOCK_SKEW, TICKET_MAX_LIFETIME};
use rendezvous_protocol::network::NetworkPath;
use rendezvous_protocol::peer_list::{Excerpt, ObjectFigures, PeerList};
use rendezvous_protocol::roster::{Announced, Excluded, Left, Record, Refused, Roster, RosterLimits};
use rendezvous_protocol::ticket::{PeerId, Purpose, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;
use script::{
    Call, Outcome, Player, SECRET, SMALL, START, Size, Step, apply, at, limits, lone_network, network, peer_name, play,
    presence, reload, roster, script, ticket,
};

/// A script may be played in many sizes of roster, most of them always full.
const CAPACITIES: RangeInclusive<usize> = 1..=12;

/// More than any script has records.
const EVERYONE: usize = usize::MAX;

// ---- Against the model ----

/// Everything that can be seen from outside, without telling the roster what time it is.
fn compare_state(roster: &Roster, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(roster.records().collect::<Vec<_>>(), model.records.iter().collect::<Vec<_>>());
    prop_assert_eq!(roster.departed().collect::<Vec<_>>(), model.departed.iter().collect::<Vec<_>>());
    prop_assert_eq!(roster.len(), model.records.len());
    prop_assert_eq!(roster.is_empty(), model.records.is_empty() && model.departed.is_empty());
    prop_assert_eq!(roster.next_deadline(), model.next_deadline());
    let sites: BTreeSet<_> = paths(model.records.iter().map(|record| &record.counts))
        .into_iter()
        .chain(paths(model.departed.iter().map(|departed| &departed.counts)))
        .map(|path| path.site)
        .collect();
    prop_assert_eq!(roster.is_of_one_site(), sites.len() <= 1);
    Ok(())
}

/// With the seed for everybody, and with one of the claims' own.
fn compare_answers(
    roster: &mut Roster,
    model: &mut Model,
    now: UnixMillis,
    answer_limits: &[usize],
) -> Result<(), TestCaseError> {
    let caller = model.records.first().map(|record| record.ticket.clone());
    let key = caller.as_ref().map(VerifiedTicket::public_key);
    let claim = caller.as_ref().zip(key.as_ref());
    let excluded = [
        Excluded::Nobody,
        Excluded::PeerId("peer-1"),
        Excluded::PeerId("nobody"),
        claim.map_or(Excluded::Nobody, |(ticket, key)| Excluded::Claim(ticket.peer_id().as_str(), key)),
    ];
    for seed in [roster.seed(now, None), roster.seed(now, caller.as_ref())] {
        for limit in answer_limits {
            for excluded in excluded {
                prop_assert_eq!(
                    roster.answer(now, *limit, excluded, seed),
                    model.answer(now, *limit, excluded, seed.as_u64()),
                    "limit {}, {:?}",
                    limit,
                    excluded
                );
            }
        }
    }
    Ok(())
}

fn call_model(model: &mut Model, limits: RosterLimits, now: UnixMillis, call: &Call) -> Outcome {
    match call {
        Call::Announce(ticket, from) => Outcome::Announced(model.announce(now, ticket.clone(), *from)),
        Call::Leave(ticket, from) => Outcome::Left(model.leave(now, ticket, *from)),
        Call::Expire => {
            model.expire(now);
            Outcome::Nothing
        }
        Call::Reload => {
            *model = Model::restore(limits, SECRET, now, model.records.clone(), model.departed.clone());
            Outcome::Nothing
        }
    }
}

fn follow_the_model(limits: RosterLimits, script: &[Step], answer_limits: &[usize]) -> Result<(), TestCaseError> {
    let (mut roster, mut model, mut player) = (roster(limits), Model::new(limits, SECRET), Player::new());
    for step in script {
        for call in player.calls(step) {
            // No answer is asked for in between: that would tell both what time it is before the next call does.
            let (outcome, expected) =
                (apply(&mut roster, limits, player.now(), &call), call_model(&mut model, limits, player.now(), &call));
            prop_assert_eq!(outcome, expected, "{:?}", call);
            compare_state(&roster, &model)?;
        }
        if !matches!(step, Step::Wait(_) | Step::Set(_)) {
            compare_answers(&mut roster, &mut model, player.now(), answer_limits)?;
            compare_state(&roster, &model)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_small_roster_follows_the_model(capacity in CAPACITIES, script in script(SMALL)) {
        follow_the_model(limits(capacity), &script, &[0, 1, 2, 3, 5, 9, 50, EVERYONE])?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, ..ProptestConfig::with_cases(6) })]
    #[test]
    fn a_roster_of_200_follows_the_model(
        script in script(Size { peers: 400, networks: 120, flood: 60, steps: 300, haste: 40 }),
    ) {
        let full = (0..120).map(|network| Step::Flood { network, peers: 2 });
        // The clock is only set in the small rosters: one that is set ahead empties this one.
        let script: Vec<_> = full.chain(script.into_iter().filter(|step| !matches!(step, Step::Set(_)))).collect();
        follow_the_model(RosterLimits::default(), &script, &[1, 50])?;
    }
}

proptest! {
    #[test]
    fn restoring_into_another_capacity_follows_the_model(
        (capacity, other) in (CAPACITIES, CAPACITIES),
        script in script(SMALL),
        wait in -100_000..200_000_i64,
    ) {
        let (mut roster, mut player) = (roster(limits(capacity)), Player::new());
        for step in &script {
            for call in player.calls(step) {
                apply(&mut roster, limits(capacity), player.now(), &call);
            }
        }
        let now = at(player.now().as_u64().saturating_add_signed(wait));
        let (records, departed) = (roster.records().cloned(), roster.departed().cloned());
        let mut model = Model::restore(limits(other), SECRET, now, records, departed);
        let mut restored = reload(&roster, limits(other), now);
        compare_state(&restored, &model)?;
        compare_answers(&mut restored, &mut model, now, &[1, 3, EVERYONE])?;
    }
}

// ---- Rule by rule ----

type Claim = (PeerId, PublicKey);

fn claim(ticket: &VerifiedTicket) -> Claim {
    (ticket.peer_id().clone(), ticket.public_key())
}

fn claims<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Claim> {
    records.into_iter().map(|record| claim(&record.ticket)).collect()
}

fn everyone(roster: &mut Roster, now: UnixMillis) -> Vec<Claim> {
    let seed = roster.seed(now, None);
    claims(roster.answer(now, EVERYONE, Excluded::Nobody, seed))
}

/// Accepts or panics: for stories whose point is elsewhere.
fn accept(roster: &mut Roster, now: u64, ticket: &VerifiedTicket, from: u8) {
    assert_eq!(roster.announce(at(now), ticket.clone(), network(from)), Ok(Announced::Accepted));
}

fn farewell(peer: u16, key: u8, issued_at: u64) -> VerifiedTicket {
    ticket(peer, key, issued_at, 180_000, Purpose::Leave)
}

/// The script without its jumps back: after one, a roster cannot know what it forgot while the clock was ahead.
fn never_back(script: Vec<Step>) -> Vec<Step> {
    script.into_iter().filter(|step| !matches!(step, Step::Wait(i64::MIN..0) | Step::Set(_))).collect()
}

/// How many of these count in each share.
fn shares(model: &Model, paths: &[NetworkPath]) -> BTreeMap<u64, usize> {
    let mut shares = BTreeMap::new();
    for path in paths {
        *shares.entry(model.share(path)).or_default() += 1;
    }
    shares
}

fn record_paths(roster: &Roster) -> Vec<NetworkPath> {
    paths(roster.records().map(|record| &record.counts))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Rules 5 and 7.
    #[test]
    fn a_roster_is_never_over_its_capacity(capacity in CAPACITIES, script in script(SMALL)) {
        play(limits(capacity), &script, |roster, now, _, _| {
            prop_assert!(roster.len() <= capacity);
            prop_assert!(roster.records().count() <= capacity);
            prop_assert!(roster.departed().count() <= capacity);
            prop_assert!(everyone(roster, now).len() <= capacity);
            Ok(())
        })?;
    }

    /// What is listed was announced here and accepted, by the key that it names, and has neither left nor ended.
    #[test]
    fn no_expired_and_no_foreign_ticket_is_ever_listed(capacity in CAPACITIES, script in script(SMALL)) {
        let mut accepted: BTreeMap<Claim, VerifiedTicket> = BTreeMap::new();
        play(limits(capacity), &script, |roster, now, call, outcome| {
            match (call, outcome) {
                (Call::Announce(ticket, _), Outcome::Announced(Ok(Announced::Accepted))) => {
                    accepted.insert(claim(ticket), ticket.clone());
                }
                (Call::Leave(ticket, _), Outcome::Left(Left::Left)) => {
                    accepted.remove(&claim(ticket));
                }
                _ => {}
            }
            let seed = roster.seed(now, None);
            for record in roster.answer(now, EVERYONE, Excluded::Nobody, seed) {
                prop_assert!(record.ticket.payload().expires_at > now);
                prop_assert_eq!(Some(&record.ticket), accepted.get(&claim(&record.ticket)));
            }
            Ok(())
        })?;
    }

    /// Rule 1. What other keys do for the same name changes nothing but who has to go for room, which needs a full
    /// roster.
    #[test]
    fn no_key_keeps_another_from_a_name(script in script(SMALL), keys in 1..4_u8) {
        let mine: Vec<_> = script
            .iter()
            .filter(|step| match step {
                Step::Announce { key, .. } | Step::LeaveOf { key, .. } => *key == 0,
                Step::Wait(_) | Step::Set(_) | Step::Expire => true,
                _ => false,
            })
            .cloned()
            .collect();
        let (mut alone, mut crowded) = (roster(limits(1_000)), roster(limits(1_000)));
        let mut player = Player::new();
        for step in &mine {
            for call in player.calls(step) {
                let now = player.now();
                let expected = apply(&mut alone, limits(1_000), now, &call);
                if let Call::Announce(ticket, from) | Call::Leave(ticket, from) = &call {
                    let peer = ticket.peer_id().as_str().strip_prefix("peer-").unwrap().parse().unwrap();
                    for key in 1..=keys {
                        let _ = crowded.announce(now, presence(peer, key, now.as_u64()), *from);
                    }
                }
                prop_assert_eq!(apply(&mut crowded, limits(1_000), now, &call), expected);
            }
        }
    }

    /// Rule 6.
    #[test]
    fn an_answer_is_as_long_as_asked_without_whom_it_excludes_and_nobody_twice(
        capacity in CAPACITIES,
        script in script(SMALL),
        limit in 0..14_usize,
        excluded in 0..3_u16,
    ) {
        let excluded = peer_name(excluded);
        play(limits(capacity), &script, |roster, now, _, _| {
            let everyone = everyone(roster, now);
            let seed = roster.seed(now, None);
            let others: BTreeSet<_> =
                everyone.iter().filter(|(peer_id, _)| peer_id.as_str() != excluded).cloned().collect();
            let answer = claims(roster.answer(now, limit, Excluded::PeerId(&excluded), seed));
            prop_assert_eq!(answer.len(), limit.min(others.len()));
            let answered: BTreeSet<_> = answer.iter().cloned().collect();
            prop_assert_eq!(answered.len(), answer.len());
            prop_assert!(answered.is_subset(&others));
            // Of one claim, the others of its name stay.
            if let Some((peer_id, key)) = everyone.first() {
                let rest = claims(roster.answer(now, EVERYONE, Excluded::Claim(peer_id.as_str(), key), seed));
                prop_assert_eq!(rest, everyone.get(1..).unwrap_or_default());
            }
            Ok(())
        })?;
    }

    /// Rule 6. While all fit, in the order of acceptance, whoever is here how long.
    #[test]
    fn while_all_fit_an_answer_is_freshest_first(capacity in CAPACITIES, script in script(SMALL)) {
        let mut order: Vec<Claim> = Vec::new();
        play(limits(capacity), &never_back(script), |roster, now, call, outcome| {
            if let (Call::Announce(ticket, _), Outcome::Announced(Ok(Announced::Accepted))) = (call, outcome) {
                order.retain(|other| *other != claim(ticket));
                order.insert(0, claim(ticket));
            }
            let seed = roster.seed(now, None);
            let accepted_at: BTreeMap<_, _> =
                roster.records().map(|record| (claim(&record.ticket), record.accepted_at)).collect();
            let answer = claims(roster.answer(now, capacity, Excluded::Nobody, seed));
            let place = |of: &Claim| order.iter().position(|other| other == of);
            for pair in answer.windows(2) {
                // Of one millisecond, either may come first.
                prop_assert!(place(&pair[0]) < place(&pair[1]) || accepted_at[&pair[0]] == accepted_at[&pair[1]]);
            }
            Ok(())
        })?;
    }

    /// Rule 6. With fewer than eight places a provider has one share: each is shown before any is shown twice.
    #[test]
    fn a_drawn_answer_shows_as_many_providers_as_fit_and_the_longest_present(
        script in script(Size { networks: 100, peers: 60, ..SMALL }),
        limit in 1..8_usize,
    ) {
        play(limits(40), &script, |roster, now, _, _| {
            let present: Vec<_> = roster.records().map(|record| (claim(&record.ticket), record.counts.path)).collect();
            roster.expire(now);
            if roster.len() <= limit {
                return Ok(());
            }
            for moment in 0..20 {
                let seed = roster.seed(at(now.as_u64() + moment * 5_000), None);
                let answer = claims(roster.answer(now, limit, Excluded::Nobody, seed));
                let provider = |of: &Claim| present.iter().find(|(claim, _)| claim == of).map(|(_, path)| path.provider);
                let mut shown: BTreeMap<_, usize> = BTreeMap::new();
                for claim in &answer {
                    *shown.entry(provider(claim)).or_default() += 1;
                }
                let providers: BTreeSet<_> = roster.records().map(|record| record.counts.path.provider).collect();
                prop_assert_eq!(shown.len(), providers.len().min(limit));
                let longest = claim(&roster.records().next().unwrap().ticket);
                prop_assert!(answer.contains(&longest));
            }
            Ok(())
        })?;
    }

    /// Rule 3. A claim that rule 5 removed in between may come back at once, so no roster is full here.
    #[test]
    fn a_claim_gets_one_new_ticket_in_45_seconds_and_one_more_after_a_goodbye(
        script in script(Size { flood: 1, ..SMALL }),
    ) {
        let mut accepted: BTreeMap<Claim, Vec<UnixMillis>> = BTreeMap::new();
        let mut left: BTreeSet<Claim> = BTreeSet::new();
        play(limits(100), &never_back(script), |_, now, call, outcome| {
            match (call, outcome) {
                (Call::Announce(ticket, _), Outcome::Announced(Ok(Announced::Accepted))) => {
                    let times = accepted.entry(claim(ticket)).or_default();
                    if times.last().is_some_and(|last| now.since(*last) < ANNOUNCE_INTERVAL) {
                        prop_assert!(left.contains(&claim(ticket)), "without a goodbye");
                    }
                    times.push(now);
                    left.remove(&claim(ticket));
                    let in_interval = times.iter().filter(|time| now.since(**time) < ANNOUNCE_INTERVAL).count();
                    prop_assert!(in_interval <= 2);
                }
                (Call::Announce(ticket, _), Outcome::Announced(Err(Refused::AnnounceTooSoon { retry_after }))) => {
                    let last = *accepted[&claim(ticket)].last().unwrap();
                    prop_assert_eq!(now.since(last) + retry_after, ANNOUNCE_INTERVAL);
                }
                (Call::Leave(ticket, _), Outcome::Left(Left::Left)) => {
                    left.insert(claim(ticket));
                }
                _ => {}
            }
            Ok(())
        })?;
    }

    /// Rule 2: whatever other keys do, as long as an older ticket could be good it is stale. Not more claims leave here
    /// than a roster remembers.
    #[test]
    fn nothing_that_is_older_than_the_newest_ticket_or_goodbye_of_a_claim_is_ever_accepted(
        script in script(Size { flood: 1, ..SMALL }),
    ) {
        let mut newest: BTreeMap<Claim, UnixMillis> = BTreeMap::new();
        let mut gone: BTreeMap<Claim, UnixMillis> = BTreeMap::new();
        play(limits(100), &never_back(script), |roster, now, call, outcome| {
            match (call, outcome) {
                (Call::Announce(ticket, _), Outcome::Announced(Ok(Announced::Accepted))) => {
                    let issued_at = ticket.payload().issued_at;
                    let before = newest.insert(claim(ticket), issued_at);
                    prop_assert!(before.is_none_or(|before| before < issued_at));
                }
                (Call::Announce(ticket, _), Outcome::Announced(Err(Refused::StaleTicket { newest: told }))) => {
                    prop_assert_eq!(Some(&told), newest.get(&claim(ticket)));
                    prop_assert!(ticket.payload().issued_at <= told);
                }
                (Call::Leave(ticket, _), Outcome::Left(Left::Left | Left::Remembered)) => {
                    let issued_at = ticket.payload().issued_at;
                    let before = newest.insert(claim(ticket), issued_at);
                    prop_assert!(before.is_none_or(|before| before < issued_at));
                    gone.insert(claim(ticket), issued_at);
                }
                _ => {}
            }
            let seed = roster.seed(now, None);
            for record in roster.answer(now, EVERYONE, Excluded::Nobody, seed) {
                let goodbye = gone.get(&claim(&record.ticket));
                prop_assert!(goodbye.is_none_or(|goodbye| record.ticket.payload().issued_at > *goodbye));
            }
            Ok(())
        })?;
    }

    /// The very same ticket again from where it counts: nothing changes, so no limit is used up.
    #[test]
    fn a_ticket_that_is_posted_again_changes_nothing(capacity in CAPACITIES, script in script(SMALL)) {
        play(limits(capacity), &script, |roster, now, _, _| {
            roster.expire(now);
            let before: Vec<_> = roster.records().map(|record| (record.ticket.clone(), record.since)).collect();
            let revision = roster.revision();
            let held: Vec<_> =
                roster.records().map(|record| (record.ticket.clone(), record.counts.path)).collect();
            for (ticket, path) in held {
                prop_assert_eq!(roster.announce(now, ticket, path), Ok(Announced::Repeated));
            }
            let after: Vec<_> = roster.records().map(|record| (record.ticket.clone(), record.since)).collect();
            prop_assert_eq!(before, after);
            prop_assert_eq!(roster.revision(), revision);
            Ok(())
        })?;
    }

    /// What is refused or not listed changes nothing but where a claim counts.
    #[test]
    fn a_refusal_changes_nothing(capacity in CAPACITIES, script in script(SMALL)) {
        let (mut roster, mut player) = (roster(limits(capacity)), Player::new());
        let seen = |roster: &Roster| {
            let records: Vec<_> = roster
                .records()
                .map(|record| (record.ticket.clone(), record.accepted_at, record.since, record.returned))
                .collect();
            let departed: Vec<_> = roster
                .departed()
                .map(|departed| (departed.peer_id.clone(), departed.issued_at, departed.last, departed.forget_at))
                .collect();
            (records, departed, roster.revision())
        };
        for step in &script {
            for call in player.calls(step) {
                roster.expire(player.now());
                let places = |roster: &Roster| {
                    let departed = roster.departed().map(|departed| departed.counts).collect::<Vec<_>>();
                    (roster.records().map(|record| record.counts).collect::<Vec<_>>(), departed)
                };
                let (before, places_before) = (seen(&roster), places(&roster));
                let outcome = apply(&mut roster, limits(capacity), player.now(), &call);
                match outcome {
                    Outcome::Announced(Ok(Announced::NotListed) | Err(Refused::StaleTicket { .. } | Refused::Expired)) => {
                        prop_assert_eq!((seen(&roster), places(&roster)), (before, places_before));
                    }
                    Outcome::Announced(Err(_)) | Outcome::Left(Left::Ignored) => {
                        prop_assert_eq!(seen(&roster), before);
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn an_early_or_repeated_expire_changes_nothing(capacity in CAPACITIES, script in script(SMALL), early in any::<u64>()) {
        play(limits(capacity), &script, |roster, now, _, _| {
            roster.expire(now);
            let everything = |roster: &Roster| {
                (roster.records().cloned().collect::<Vec<_>>(), roster.departed().cloned().collect::<Vec<_>>())
            };
            let before = everything(roster);
            roster.expire(now);
            prop_assert_eq!(&everything(roster), &before);
            if let Some(deadline) = roster.next_deadline() {
                prop_assert!(deadline > now);
                roster.expire(at(deadline.as_u64() - 1));
                roster.expire(at(early % deadline.as_u64()));
                prop_assert_eq!(&everything(roster), &before);
                // At the deadline there is something to do. Done to a copy: the story goes on at its own time.
                let mut copy = reload(roster, limits(capacity), now);
                let copied = everything(&copy);
                copy.expire(deadline);
                prop_assert_ne!(everything(&copy), copied);
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
        let (mut original, mut player) = (roster(limits), Player::new());
        // Times that a clock which was ahead has left behind are cut off: see the story of that.
        for call in never_back(before).iter().flat_map(|step| player.calls(step)).collect::<Vec<_>>() {
            apply(&mut original, limits, player.now(), &call);
        }
        original.expire(player.now());
        let mut restored = reload(&original, limits, player.now());
        // The same to look at, and the same in all that it does from now on.
        for step in &never_back(after) {
            for call in player.calls(step) {
                prop_assert!(original.records().eq(restored.records()));
                prop_assert!(original.departed().eq(restored.departed()));
                let now = player.now();
                prop_assert_eq!(apply(&mut original, limits, now, &call), apply(&mut restored, limits, now, &call));
                let seed = original.seed(now, None);
                prop_assert_eq!(restored.seed(now, None), seed);
                let answer = |roster: &mut Roster| claims(roster.answer(now, 3, Excluded::Nobody, seed));
                prop_assert_eq!(answer(&mut original), answer(&mut restored));
            }
        }
    }

    #[test]
    fn a_listing_gives_the_same_answers(capacity in 1..=20_usize, script in script(SMALL), limit in 1..8_usize) {
        play(limits(capacity), &script, |roster, now, _, _| {
            let mut list = PeerList::decode(&PeerList::encode(roster, now, at(START), &ObjectFigures::default()).unwrap()).unwrap();
            prop_assert_eq!(list.total(), roster.len());
            let seed = roster.seed(now, None);
            let everyone = everyone(roster, now);
            let (peer_id, key) = everyone.first().map_or(("nobody", None), |(peer_id, key)| (peer_id.as_str(), Some(key)));
            let claim = key.map_or(Excluded::Nobody, |key| Excluded::Claim(peer_id, key));
            for excluded in [Excluded::Nobody, claim, Excluded::PeerId(peer_id), Excluded::PeerId("nobody"), Excluded::Nobody] {
                for limit in [limit, 50, limit] {
                    let expected = Excerpt::of_records(&roster.answer(now, limit, excluded, seed));
                    prop_assert_eq!(list.answer(limit, excluded).into_owned(), expected);
                }
            }
            Ok(())
        })?;
    }
}

// ---- Who has to go, and who is carried ----

/// Who announces: a new peer each time, from one of many networks, most of them in few providers.
fn crowd(announces: usize) -> impl Strategy<Value = Vec<u8>> {
    let network = prop_oneof![3 => 0..8_u8, 2 => 0..40_u8, 1 => 0..=u8::MAX];
    prop::collection::vec(network, 1..announces)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Rule 5, all in one instant of one epoch: the safe stay, and no share loses a place to one that has more.
    #[test]
    fn a_newcomer_takes_no_safe_place_and_none_of_a_smaller_share(capacity in 1..=32_usize, crowd in crowd(160)) {
        let (mut roster, model) = (roster(limits(capacity)), Model::new(limits(capacity), SECRET));
        for (peer, from) in (0..).zip(crowd) {
            let newcomer = presence(peer, 0, START);
            let (paths_before, before) = (record_paths(&roster), claims(roster.records()));
            let outcome = roster.announce(at(START), newcomer.clone(), network(from)).unwrap();
            let after = claims(roster.records());
            for position in model.safe(&paths_before) {
                prop_assert!(after.contains(&before[position]));
            }
            let with_newcomer: Vec<_> = paths_before.iter().copied().chain([network(from)]).collect();
            let sizes = shares(&model, &with_newcomer);
            let gone: Vec<_> = before.iter().zip(&paths_before).filter(|(claim, _)| !after.contains(claim)).collect();
            prop_assert!(gone.len() <= 1);
            for (_, path) in gone {
                prop_assert!(sizes[&model.share(path)] >= sizes[&model.share(&network(from))]);
                // The first of a share goes last.
                let first = paths_before.iter().zip(&before).find(|(other, _)| model.share(other) == model.share(path));
                prop_assert!(sizes[&model.share(path)] == 1 || first.is_some_and(|(_, first)| after.contains(first)));
            }
            prop_assert_eq!(after.contains(&claim(&newcomer)), outcome == Announced::Accepted);
            prop_assert_eq!(after.len(), with_newcomer.len().min(capacity));
        }
        // The first to come have kept one place a share.
        prop_assert!(model.safe(&record_paths(&roster)).len() <= quarter(capacity));
    }

    /// Rule 5: within an epoch nothing depends on how often or when somebody who is present announces.
    #[test]
    fn announcing_often_or_late_wins_nothing(
        capacity in 1..=32_usize,
        crowd in crowd(160),
        busy in prop::collection::vec(any::<prop::sample::Index>(), 160),
    ) {
        let (mut quiet, mut hurried) = (roster(limits(capacity)), roster(limits(capacity)));
        // Long tickets in a short time, and an interval that does not get in the way.
        let quick = |roster: &mut Roster| *roster = Roster::restore(
            RosterLimits { announce_interval: std::time::Duration::ZERO, ..limits(capacity) },
            *roster.secret(), at(START), [], [],
        );
        quick(&mut quiet);
        quick(&mut hurried);
        for (number, from) in crowd.into_iter().enumerate() {
            let (peer, now) = (u16::try_from(number).unwrap(), START + number as u64);
            let from = network(from);
            prop_assert_eq!(
                quiet.announce(at(now), presence(peer, 0, now), from),
                hurried.announce(at(now), presence(peer, 0, now), from)
            );
            let present: Vec<_> =
                hurried.records().map(|record| (record.ticket.peer_id().clone(), record.counts.path)).collect();
            let (peer_id, path) = &present[busy[number].index(present.len())];
            let peer = peer_id.as_str().strip_prefix("peer-").unwrap().parse().unwrap();
            // Later than whatever it has announced before.
            hurried.announce(at(now), presence(peer, 0, now + 1_000 + number as u64), *path).unwrap();
            prop_assert_eq!(claims(quiet.records()), claims(hurried.records()));
            let seed = quiet.seed(at(now), None);
            prop_assert_eq!(hurried.seed(at(now), None), seed);
            let drawn = |roster: &mut Roster| claims(roster.answer(at(now), 5, Excluded::Nobody, seed));
            if quiet.len() > 5 {
                prop_assert_eq!(drawn(&mut quiet), drawn(&mut hurried));
            }
        }
    }

    /// Rule 4. Whoever carries tickets that are listed, from wherever: nobody goes, nobody loses a safe place of its
    /// own, no share is left without a record, and each record that moves has fewer beside it than before.
    #[test]
    fn carrying_tickets_costs_their_owners_nothing(
        capacity in 1..=32_usize,
        crowd in crowd(100),
        carried in prop::collection::vec((any::<prop::sample::Index>(), 0..=u8::MAX), 1..60),
    ) {
        let (mut roster, model) = (roster(limits(capacity)), Model::new(limits(capacity), SECRET));
        for (peer, from) in (0..).zip(crowd) {
            roster.announce(at(START), presence(peer, 0, START), network(from)).unwrap();
        }
        for (which, from) in carried {
            let (paths_before, before) = (record_paths(&roster), claims(roster.records()));
            let position = which.index(before.len());
            let carried = roster.records().nth(position).unwrap().ticket.clone();
            prop_assert_eq!(roster.announce(at(START + 1_000), carried, network(from)), Ok(Announced::Repeated));
            let after = record_paths(&roster);
            prop_assert_eq!(claims(roster.records()), before);
            let moved: Vec<_> = (0..after.len()).filter(|place| after[*place] != paths_before[*place]).collect();
            if moved.is_empty() {
                continue;
            }
            prop_assert_eq!(&moved, &[position]);
            let was_safe = model.safe(&paths_before).contains(&position);
            prop_assert!(!was_safe || model.safe(&after).contains(&position), "the carried record was safe");
            let (sizes_before, sizes) = (shares(&model, &paths_before), shares(&model, &after));
            prop_assert!(sizes_before.keys().all(|share| sizes.contains_key(share)));
            let (was, is) = (model.share(&paths_before[position]), model.share(&after[position]));
            if was == is {
                let beside = |paths: &[NetworkPath], of: &NetworkPath| {
                    let site = paths.iter().filter(|path| path.site == of.site).count();
                    (site, paths.iter().filter(|path| *path == of).count())
                };
                prop_assert!(beside(&after, &after[position]) < beside(&paths_before, &paths_before[position]));
            } else {
                prop_assert!(sizes[&is] <= sizes_before[&was]);
            }
        }
    }

    /// Rule 7. One share's goodbyes push out no departure of a share that has fewer.
    #[test]
    fn departures_of_one_share_push_out_only_its_own(capacity in 1..=32_usize, crowd in crowd(160)) {
        let (mut roster, model) = (roster(limits(capacity)), Model::new(limits(capacity), SECRET));
        for (peer, from) in (0..).zip(crowd) {
            let remembered = |roster: &Roster| -> Vec<_> {
                roster.departed().map(|departed| (departed.peer_id.clone(), departed.counts.path)).collect()
            };
            let before = remembered(&roster);
            prop_assert_eq!(roster.leave(at(START), &farewell(peer, 0, START), network(from)), Left::Remembered);
            let after = remembered(&roster);
            let mut all: Vec<_> = before.iter().map(|(_, path)| *path).collect();
            all.push(network(from));
            let sizes = shares(&model, &all);
            for (_, path) in before.iter().filter(|departed| !after.contains(departed)) {
                prop_assert!(sizes[&model.share(path)] >= sizes[&model.share(&network(from))]);
            }
            prop_assert_eq!(after.len(), all.len().min(capacity));
        }
    }

    /// While there is room no network is limited.
    #[test]
    fn one_household_may_have_the_whole_roster(capacity in 1..=24_u16) {
        let mut roster = roster(limits(usize::from(capacity)));
        for peer in 0..capacity {
            accept(&mut roster, START, &presence(peer, 0, START), 0);
        }
        prop_assert_eq!(roster.records().count(), usize::from(capacity));
    }
}

// ---- Memory ----

/// Rule 7. A roster's debug text shows everything that it keeps, so it grows with whatever a roster forgets to forget.
#[test]
fn memory_is_bounded_under_a_flood() {
    const CAPACITY: usize = 20;
    let mut roster = roster(limits(CAPACITY));
    let mut now = START;
    let mut largest_at_first = 0;
    for peer in 0..10_000_u16 {
        // New peers from ever new networks; each third one leaves, each fifth one has a ticket that ends at once.
        let lifetime = if peer % 5 == 0 { 10 } else { 180_000 };
        let from = lone_network(u32::from(peer / 2));
        roster.announce(at(now), ticket(peer, 0, now, lifetime, Purpose::Presence), from).unwrap();
        now += 7;
        if peer % 3 == 0 {
            roster.leave(at(now), &farewell(peer, 0, now), from);
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
    let mut roster = roster(limits(8));
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
    let mut roster = roster(limits(8));
    accept(&mut roster, START, &presence(0, 0, START), 0);
    let other = ticket(0, 0, START, 179_999, Purpose::Presence);
    let stale = Err(Refused::StaleTicket { newest: at(START) });
    assert_eq!(roster.announce(at(START + 45_000), other, network(0)), stale);
}

#[test]
fn a_ticket_does_not_come_back_when_its_peer_has_left() {
    let mut roster = roster(limits(8));
    let held = presence(0, 0, START);
    accept(&mut roster, START, &held, 0);
    assert_eq!(roster.leave(at(START + 1), &farewell(0, 0, START + 1), network(0)), Left::Left);
    // Nor when another key claims the name in between.
    accept(&mut roster, START + 2, &presence(0, 1, START + 2), 3);
    for now in [START + 1, START + 50_000, START + 179_999] {
        let stale = Err(Refused::StaleTicket { newest: at(START + 1) });
        assert_eq!(roster.announce(at(now), held.clone(), network(1)), stale, "{now}");
    }
}

#[test]
fn a_goodbye_that_overtakes_its_announce_is_remembered() {
    let mut roster = roster(limits(8));
    // Both signed by a clock that is ahead by as much as is allowed.
    let (held, ahead) = (presence(0, 0, START + 15_000), START + 15_001);
    assert_eq!(roster.leave(at(START), &farewell(0, 0, ahead), network(0)), Left::Remembered);
    assert_eq!(roster.leave(at(START), &farewell(0, 0, ahead), network(0)), Left::Ignored);
    assert!(!roster.is_empty());
    for now in [START, START + 100_000, START + 194_999] {
        let stale = Err(Refused::StaleTicket { newest: at(ahead) });
        assert_eq!(roster.announce(at(now), held.clone(), network(0)), stale, "{now}");
    }
    accept(&mut roster, START + 15_002, &presence(0, 0, START + 15_002), 0);
}

/// As a page does that is loaded anew: at once, and with its tenure; but only once, or it would be a way around the
/// interval.
#[test]
fn who_has_left_may_come_back_once_without_waiting_and_keeps_its_tenure() {
    let mut roster = roster(limits(8));
    accept(&mut roster, START, &presence(0, 0, START), 0);
    accept(&mut roster, START + 1_000, &presence(1, 0, START + 1_000), 1);
    assert_eq!(roster.leave(at(START + 2_000), &farewell(0, 0, START + 2_000), network(0)), Left::Left);
    accept(&mut roster, START + 2_500, &presence(0, 0, START + 2_500), 0);
    assert_eq!(roster.records().next().map(|record| record.since), Some(at(START)));
    assert_eq!(roster.leave(at(START + 3_000), &farewell(0, 0, START + 3_000), network(0)), Left::Left);
    for now in [START + 3_500, START + 47_499] {
        let too_soon = roster.announce(at(now), presence(0, 0, now), network(0)).unwrap_err();
        assert_eq!(too_soon, Refused::AnnounceTooSoon { retry_after: at(START + 47_500).since(at(now)) });
    }
    accept(&mut roster, START + 47_500, &presence(0, 0, START + 47_500), 0);
    assert_eq!(roster.records().next().map(|record| record.since), Some(at(START)));
    // And once more, because it has waited.
    assert_eq!(roster.leave(at(START + 48_000), &farewell(0, 0, START + 48_000), network(0)), Left::Left);
    accept(&mut roster, START + 48_500, &presence(0, 0, START + 48_500), 0);
}

#[test]
fn a_short_ticket_that_ends_is_no_way_around_the_interval() {
    let mut roster = roster(limits(8));
    accept(&mut roster, START, &ticket(0, 0, START, 1_000, Purpose::Presence), 0);
    let too_soon = roster.announce(at(START + 2_000), presence(0, 0, START + 2_000), network(0)).unwrap_err();
    assert_eq!(too_soon.code(), "ANNOUNCE_TOO_SOON");
    accept(&mut roster, START + 45_000, &presence(0, 0, START + 45_000), 0);
    assert_eq!(roster.records().next().map(|record| record.since), Some(at(START + 45_000)), "it begins anew");
}

#[test]
fn only_its_own_key_with_a_newer_ticket_removes_a_claim() {
    let mut roster = roster(limits(8));
    accept(&mut roster, START, &presence(0, 0, START), 0);
    for (key, issued_at, left) in [
        (1, START + 1, Left::Remembered),
        (0, START, Left::Ignored),
        (0, START + 1, Left::Left),
        (0, START + 2, Left::Remembered),
        (0, START + 2, Left::Ignored),
    ] {
        assert_eq!(roster.leave(at(START + 2), &farewell(0, key, issued_at), network(0)), left);
    }
    let over = ticket(1, 0, START, 1, Purpose::Leave);
    assert_eq!(roster.leave(at(START + 1), &over, network(0)), Left::Ignored);
}

/// Its owner's network brings its tickets again and again, so it stays there, however often others carry them; when the
/// owner has moved, its new network has it after three minutes.
#[test]
fn a_network_that_brings_no_more_tickets_yields() {
    let mut roster = roster(limits(8));
    accept(&mut roster, START, &presence(0, 0, START), 0);
    let path = |roster: &Roster| record_paths(roster)[0];
    let mut now = START;
    for _ in 0..5 {
        now += 60_000;
        let ticket = presence(0, 0, now);
        // Be it first.
        accept(&mut roster, now, &ticket, 100);
        assert_eq!(roster.announce(at(now), ticket, network(0)), Ok(Announced::Repeated));
        assert_eq!(path(&roster), network(0));
    }
    for (after, expected) in [(60_000, 0), (120_000, 0), (179_999, 0), (180_000, 100)] {
        let ticket = presence(0, 0, now + after);
        let _ = roster.announce(at(now + after), ticket, network(100));
        assert_eq!(path(&roster), network(expected), "{after}");
    }
}

/// Who is in a crowd gets out of it with its own next ticket, refused as too soon or not.
#[test]
fn a_record_that_counts_in_a_crowd_is_fetched_back_by_its_owner() {
    let mut roster = roster(limits(8));
    for peer in 1..4 {
        accept(&mut roster, START, &presence(peer, 0, START), 100);
    }
    // Carried here before its owner could announce it.
    accept(&mut roster, START, &presence(0, 0, START), 100);
    let too_soon = roster.announce(at(START + 1), presence(0, 0, START + 1), network(0)).unwrap_err();
    assert_eq!(too_soon.code(), "ANNOUNCE_TOO_SOON");
    assert_eq!(record_paths(&roster)[3], network(0));
    // Back into the crowd it is not carried.
    assert_eq!(roster.announce(at(START + 2), presence(0, 0, START), network(100)), Ok(Announced::Repeated));
    assert_eq!(record_paths(&roster)[3], network(0));
}

/// After a restart with less room, what has ended makes way before anything live does.
#[test]
fn restoring_into_less_room_drops_what_has_ended_first() {
    let mut roster = roster(limits(3));
    accept(&mut roster, START, &ticket(1, 0, START, 60_000, Purpose::Presence), 0);
    accept(&mut roster, START, &ticket(2, 0, START, 60_000, Purpose::Presence), 0);
    accept(&mut roster, START, &presence(0, 0, START), 0);
    let restored = reload(&roster, limits(1), at(START + 60_000));
    assert_eq!(restored.records().map(|record| &record.ticket).collect::<Vec<_>>(), [&presence(0, 0, START)]);
}

/// A clock that was ahead for a moment must not decide for ever who is present longest, nor keep what it has written.
#[test]
fn times_of_a_clock_that_was_ahead_end_with_a_restart() {
    let mut roster = roster(limits(8));
    let year = 31_536_000_000;
    accept(&mut roster, START + year, &presence(0, 0, START + year), 0);
    assert_eq!(roster.leave(at(START + year), &farewell(1, 0, START + year), network(1)), Left::Remembered);
    let restored = reload(&roster, limits(8), at(START));
    let latest = at(START).after(TICKET_MAX_LIFETIME).after(CLOCK_SKEW);
    let record = restored.records().next().unwrap();
    assert_eq!([record.since, record.accepted_at, record.counts.brought_at], [latest; 3]);
    let departed = restored.departed().next().unwrap();
    assert_eq!([departed.forget_at, departed.issued_at, departed.counts.brought_at], [latest; 3]);
}

#[test]
fn every_change_of_an_answer_shows_in_the_revision() {
    let mut roster = roster(limits(8));
    let mut last = roster.revision();
    let mut changed = |roster: &Roster| std::mem::replace(&mut last, roster.revision()) != roster.revision();
    accept(&mut roster, START, &presence(0, 0, START), 0);
    assert!(changed(&roster));
    roster.announce(at(START), presence(0, 0, START), network(0)).unwrap();
    everyone(&mut roster, at(START));
    assert!(!changed(&roster));
    accept(&mut roster, START + 45_000, &presence(0, 0, START + 45_000), 0);
    assert!(changed(&roster));
    everyone(&mut roster, at(START + 300_000));
    assert!(changed(&roster));
    assert_eq!(roster.leave(at(START + 300_000), &farewell(5, 0, START + 300_000), network(0)), Left::Remembered);
    assert!(!changed(&roster), "nobody's answer is another");
}

/// Two newcomers do not get the same peers, nor does one a little later; readers do, for a moment.
#[test]
fn an_answer_is_drawn_for_its_caller_and_its_moment() {
    let mut roster = roster(limits(200));
    for peer in 0..200 {
        let from = lone_network(u32::from(peer));
        roster.announce(at(START), presence(peer, 0, START), from).unwrap();
    }
    let (one, other) = (presence(1_000, 0, START), presence(1_001, 0, START));
    let mut answer = |now, caller: Option<&VerifiedTicket>| {
        let seed = roster.seed(at(now), caller);
        claims(roster.answer(at(now), 50, Excluded::Nobody, seed))
    };
    // A multiple of five seconds.
    let moment = START;
    assert_eq!(answer(moment, None), answer(moment + 4_999, None));
    assert_ne!(answer(moment, None), answer(moment + 5_000, None));
    assert_ne!(answer(moment, Some(&one)), answer(moment, Some(&other)));
    assert_ne!(answer(moment, Some(&one)), answer(moment, None));
    // The longest present are in each, but not always in front.
    let longest: BTreeSet<_> = (0..12).map(|peer| claim(&presence(peer, 0, START))).collect();
    let answers: Vec<_> = (0..30).map(|number| answer(moment + number * 5_000, None)).collect();
    assert!(answers.iter().all(|answer| longest.is_subset(&answer.iter().cloned().collect())));
    let in_front = answers.iter().filter(|answer| longest.contains(&answer[0])).count();
    assert!((1..30).contains(&in_front), "{in_front}");
}
