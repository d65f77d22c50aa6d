//! What holds whatever comes in whatever order, with crashes between any two writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::mailbox::limits::{
    CLAIMS_PER_KEY, CLAIMS_PER_SITE, MESSAGES_MAX, ONE_TIME_KEYS_HELD, REQUEST_MAX_BYTES, REQUESTS_MAX, SEALED_BYTES,
};
use rendezvous_protocol::mailbox::refused::Refused;
use rendezvous_protocol::mailbox::state::{Collected, Deposited, Mailbox};
use rendezvous_protocol::time::UnixMillis;

use crate::model::Model;
use crate::world::{
    CLOSED_TO_STRANGERS, DAY, HOUR, OPEN_TO_STRANGERS, Relay, SECRET, START, ack, card, claim, code, collect, content,
    deposit, network, origins, owner, policy, prekeys, reader, sender, waiting,
};

/// More than any script's sequences.
const MOST: u64 = 64;

#[derive(Clone, Debug)]
enum Step {
    Deposit { of: u32, sequence: u64, variant: u8, size: u32, life: Duration },
    Acknowledge { by: u8, of: u32, through: u64, missing: BTreeSet<u64> },
    Collect { collector: u8, limit: u32, max_bytes: u64 },
    Policy { revision: u64, contacts: BTreeMap<u32, u8> },
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => Just(SEALED_BYTES[0]), 1 => Just(SEALED_BYTES[3])];
    let deposit = (0_u32..4, 1_u64..10, prop_oneof![6 => Just(0_u8), 1 => Just(1)], size, 1_u32..200);
    let acknowledge = (0_u8..5, 0_u32..4, 1_u64..10, prop::collection::btree_set(1_u64..9, 0..3));
    let contacts = prop::collection::btree_map(0_u32..4, 1_u8..5, 0..4);
    prop_oneof![
        8 => deposit.prop_map(|(of, sequence, variant, size, hours)| {
            Step::Deposit { of, sequence, variant, size, life: HOUR * hours }
        }),
        3 => acknowledge.prop_map(|(by, of, through, missing)| {
            Step::Acknowledge { by, of, through, missing: missing.into_iter().filter(|it| *it < through).collect() }
        }),
        3 => (0_u8..3, 1_u32..5, 0_u64..300_000)
            .prop_map(|(collector, limit, max_bytes)| Step::Collect { collector, limit, max_bytes }),
        1 => (1_u64..12, contacts).prop_map(|(revision, contacts)| Step::Policy { revision, contacts }),
        3 => prop_oneof![
            Just(Duration::from_millis(59_999)),
            Just(Duration::from_secs(60)),
            // Sixty of them are less than the 90 days after which a policy ends.
            (1_u32..30).prop_map(|hours| HOUR * hours),
        ].prop_map(Step::Wait),
    ]
}

/// The owner and a reader may read; a contact, a stranger and the last policy's contact may not.
fn signer(number: u8) -> (PublicKey, bool) {
    match number {
        0 => (owner(), true),
        1 | 2 => (reader(), true),
        3 => (sender(0), false),
        _ => (sender(99), false),
    }
}

/// What a step came to, said so that the machine's and the model's compare.
#[derive(Debug, PartialEq)]
enum Outcome {
    Code(&'static str),
    Handed(Vec<(u32, u64)>),
}

fn deposited(outcome: &Result<Deposited, Refused>) -> &'static str {
    match outcome {
        Ok(Deposited::Accepted { .. }) => "accepted",
        Ok(Deposited::Duplicate { .. }) => "duplicate",
        Ok(Deposited::Acknowledged { .. }) => "acknowledged",
        Ok(Deposited::Ended) => "ended",
        Err(refused) => refused.code(),
    }
}

/// Which messages these are, by what the disk says of their numbers.
fn handed(rows: &BTreeMap<u64, String>, collected: &Collected) -> Vec<(u32, u64)> {
    let name = |key: PublicKey| (0..4).find(|number| sender(*number) == key).unwrap();
    let of = |number: u64| {
        let (key, sequence, _) = waiting(&rows[&number]);
        (name(key), sequence)
    };
    collected.messages.iter().map(|handed| of(handed.number)).collect()
}

/// Plays one step at the relay; `None` if it crashed in the middle, after so many writes.
fn play(relay: &mut Relay, now: UnixMillis, step: &Step, number: u64, crash_after: Option<usize>) -> Option<Outcome> {
    macro_rules! call {
        ($call:expr) => {
            match crash_after {
                Some(writes) => relay.call_and_crash(now, writes, $call)?,
                None => relay.call($call),
            }
        };
    }
    Some(match step {
        Step::Deposit { of, sequence, variant, size, life } => {
            let deposit = deposit(now, *of, *sequence, *variant, *size, *life);
            let outcome = call!(|mailbox| mailbox.deposit(now, &deposit, None, network(1, 1)));
            if let Ok(Deposited::Accepted { unacknowledged, limit, ends_at, .. }) = &outcome {
                assert!(*unacknowledged <= usize::from(*limit), "property 1");
                assert!(*ends_at <= now.after(DAY * 7), "property 6");
            }
            Outcome::Code(deposited(&outcome))
        }
        Step::Acknowledge { by, of, through, missing } => {
            let ack = ack(signer(*by).0, *of, *through, missing);
            Outcome::Code(code(&call!(|mailbox| mailbox.acknowledge(now, &ack))))
        }
        Step::Collect { collector, limit, max_bytes } => {
            let collect = collect(reader(), now, (*collector, *limit, *max_bytes), number);
            let rows = relay.disk.messages.clone();
            let collected = call!(|mailbox| mailbox.collect(now, &collect)).unwrap();
            assert!(collected.messages.is_sorted_by_key(|handed| handed.number));
            Outcome::Handed(handed(&rows, &collected))
        }
        Step::Policy { revision, contacts } => {
            // Of one revision there is one policy, as long as an owner is careful.
            let policy = policy(*revision, START, contacts);
            let card = card(1, START, CLOSED_TO_STRANGERS);
            let put = call!(|mailbox| mailbox.put(now, card, policy, &origins(), SECRET));
            assert_ne!(put, Ok(true));
            Outcome::Code(code(&put))
        }
        Step::Wait(_) => {
            call!(|mailbox| mailbox.expire(now));
            Outcome::Code("ok")
        }
    })
}

fn play_in_model(model: &mut Model, now: UnixMillis, step: &Step) -> Outcome {
    match step {
        Step::Deposit { of, sequence, variant, size, life } => {
            Outcome::Code(model.deposit(now, (*of, *sequence, *variant), *size, *life))
        }
        Step::Acknowledge { by, of, through, missing } => {
            Outcome::Code(model.acknowledge(now, signer(*by).1, *of, *through, missing))
        }
        Step::Collect { collector, limit, max_bytes } => {
            Outcome::Handed(model.collect(now, *collector, *limit as usize, *max_bytes))
        }
        Step::Policy { revision, contacts } => Outcome::Code(model.put_policy(now, *revision, contacts)),
        Step::Wait(_) => {
            model.expire(now);
            Outcome::Code("ok")
        }
    }
}

/// Whether the disk is what the model says. Its leases show in what is handed over next.
fn is_like(relay: &Relay, model: &Model) -> bool {
    let revision = |row: &str| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let policy: serde_json::Value = serde_json::from_str(row["policy"].as_str().unwrap()).unwrap();
        policy["payload"]["revision"].as_u64()
    };
    relay.waiting() == model.waiting()
        && relay.windows(MOST) == model.windows(MOST)
        && revision(&relay.disk.rows["open"]) == Some(model.policy_revision)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Properties 1, 2, 4, 5 and 6, and of 9 what a script reaches: the machine does what the model does, and after a
    /// crash between any two writes of a call it is as if the call had been made, or had not; of what an
    /// acknowledgement of a slot that is not listed frees, a part may have gone.
    #[test]
    fn the_mailbox_is_what_the_model_is(
        steps in prop::collection::vec((step(), prop::option::weighted(0.3, 0_usize..4)), 1..60),
    ) {
        let first = BTreeMap::from([(0, 3), (1, 2), (2, 4)]);
        let mut relay = Relay::opened(&first, CLOSED_TO_STRANGERS);
        let mut model = Model { contacts: first, policy_revision: 1, ..Model::default() };
        let mut now = START;
        for (number, (step, crash_after)) in (0..).zip(&steps) {
            if let Step::Wait(duration) = step {
                now = now.after(*duration);
            }
            let mut after = model.clone();
            let expected = play_in_model(&mut after, now, step);
            match play(&mut relay, now, step, number, *crash_after) {
                Some(outcome) => {
                    prop_assert_eq!(outcome, expected, "{:?}", step);
                    model = after;
                }
                None => {
                    // Nobody heard an answer. The sender and the recipient will ask again.
                    model.expire(now);
                    model = match step {
                        // The day may have been noted; the lease comes last, so it was not.
                        Step::Collect { .. } => Model { days: noted_days(&relay, &model, &after), ..model },
                        // Nothing is kept of a slot that is not listed: its messages go one by one.
                        Step::Acknowledge { of, .. } if !model.contacts.contains_key(of) => {
                            model.released_in_part(&after, &relay.waiting())
                        }
                        _ if is_like(&relay, &after) => after,
                        _ => model,
                    };
                }
            }
            prop_assert!(is_like(&relay, &model), "{:?}\n{:?}\n{:?}", step, relay.disk, model);
            prop_assert!(relay.disk.messages.len() <= MESSAGES_MAX);
            prop_assert!(relay.disk.rows.len() <= 4 + model.contacts.len());
        }
    }

    /// Property 3: relays that saw the same deposits, acknowledgements and policies, in whatever order and however often,
    /// hold the same.
    #[test]
    fn relays_that_saw_the_same_hold_the_same(
        deposits in prop::collection::btree_set((0_u32..3, 1_u64..7), 0..18),
        acks in prop::collection::vec((0_u32..3, 1_u64..7, prop::collection::btree_set(1_u64..6, 0..3)), 0..6),
        limits in prop::collection::vec(2_u8..5, 3),
        seeds in prop::collection::vec(any::<u64>(), 2),
    ) {
        let first = BTreeMap::from([(0, 2), (1, 2), (2, 2)]);
        let second: BTreeMap<u32, u8> = (0..).zip(limits).collect();
        let items = deposits.len() + acks.len() + 1;
        let relays: Vec<Relay> = seeds.into_iter().map(|seed| {
            let mut relay = Relay::opened(&first, CLOSED_TO_STRANGERS);
            let mut order: Vec<usize> = (0..items).collect();
            order.sort_by_key(|item| (*item as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
            // Until nothing changes: who is refused comes again.
            loop {
                let before = relay.disk.clone();
                for item in &order {
                    if let Some((of, sequence)) = deposits.iter().nth(*item) {
                        let deposit = deposit(START, *of, *sequence, 0, SEALED_BYTES[0], DAY);
                        let _ = relay.call(|mailbox| mailbox.deposit(START, &deposit, None, network(1, 1)));
                    } else if let Some((of, through, missing)) = acks.get(item - deposits.len()) {
                        let missing = missing.iter().copied().filter(|missing| missing < through).collect();
                        let ack = ack(reader(), *of, *through, &missing);
                        relay.call(|mailbox| mailbox.acknowledge(START, &ack)).unwrap();
                    } else {
                        let (card, policy) = (card(1, START, CLOSED_TO_STRANGERS), policy(2, START, &second));
                        relay.call(|mailbox| mailbox.put(START, card, policy, &origins(), SECRET)).unwrap();
                    }
                }
                if relay.disk == before {
                    break relay;
                }
            }
        }).collect();
        let held = |relay: &Relay| relay.waiting().into_iter().collect::<BTreeSet<_>>();
        prop_assert_eq!(held(&relays[0]), held(&relays[1]));
        prop_assert_eq!(relays[0].windows(MOST), relays[1].windows(MOST));
    }

    /// Property 7: a one-time key is served once, a claim is never an error while there is a fallback, and no key and no
    /// site gets more than its part in an hour.
    #[test]
    fn a_one_time_key_is_served_once(
        steps in prop::collection::vec(
            (0_u8..10, 0_u32..6, 0_u8..3, 0_u64..40, prop::option::weighted(0.2, 0_usize..2), 0_u64..1_800),
            1..120,
        ),
    ) {
        let contacts = (0..6).map(|number| (number, 2)).collect();
        let mut relay = Relay::opened(&contacts, CLOSED_TO_STRANGERS);
        let (mut now, mut revision) = (START, 0);
        let mut served = Vec::new();
        for (number, (kind, of, site, first, crash_after, pause)) in (0..).zip(steps) {
            now = now.after(Duration::from_secs(pause));
            if kind == 0 || revision == 0 {
                revision += 1;
                let prekeys = prekeys(revision, now, first..first + 20);
                prop_assert!(relay.call(|mailbox| mailbox.put_prekeys(now, &prekeys)).unwrap() <= ONE_TIME_KEYS_HELD);
                continue;
            }
            // Some claims are sent again.
            let claim = claim(of, now, if kind == 1 { 0 } else { number });
            let ask = |mailbox: &mut Mailbox| {
                mailbox.claim(now, &claim, None, network(1, site))
            };
            let answer = match crash_after {
                Some(writes) => relay.call_and_crash(now, writes, ask),
                None => Some(relay.call(ask)),
            };
            if let Some(answer) = answer {
                let claimed = answer.unwrap();
                if let Some(prekey) = claimed.one_time {
                    served.push((now, of, site, prekey.key));
                }
            }
        }
        let keys: BTreeSet<_> = served.iter().map(|(.., key)| key).collect();
        prop_assert_eq!(keys.len(), served.len());
        for (start, of, site, _) in &served {
            let in_hour = || served.iter().filter(|(at, ..)| (*start..start.after(HOUR)).contains(at));
            prop_assert!(in_hour().filter(|(_, other, ..)| other == of).count() <= CLAIMS_PER_KEY);
            prop_assert!(in_hour().filter(|(_, _, other, _)| other == site).count() <= CLAIMS_PER_SITE);
        }
    }

    /// Property 8: a flood of the request lane from one provider takes nothing from other networks, and nothing from
    /// contacts.
    #[test]
    fn a_flood_from_one_network_changes_no_other_networks_share(
        honest in prop::collection::btree_set(2_u8..200, 1..9),
        flood in prop::collection::vec((any::<u8>(), 1_u64..4, 0_u64..30_000), 20..80),
        is_late in any::<bool>(),
        crash_after in prop::option::of(0_usize..2),
    ) {
        let contacts = BTreeMap::from([(0, 4)]);
        let mut relay = Relay::opened(&contacts, OPEN_TO_STRANGERS);
        let small = SEALED_BYTES[0];
        let of_contact: Vec<_> = (1..=4).map(|sequence| {
            let deposit = deposit(START, 0, sequence, 0, small, DAY);
            let outcome = relay.call(|mailbox| mailbox.deposit(START, &deposit, None, network(1, 1)));
            assert_eq!(deposited(&outcome), "accepted");
            content(0, sequence, 0)
        }).collect();
        let write = |relay: &mut Relay, now, number: u32, sequence, from| {
            let deposit = deposit(now, number, sequence, 0, small, DAY * 3);
            let ask = |mailbox: &mut Mailbox| mailbox.deposit(now, &deposit, None, from);
            match crash_after {
                Some(writes) => relay.call_and_crash(now, writes, ask).map(|outcome| deposited(&outcome)),
                None => Some(deposited(&relay.call(ask))),
            }
        };
        let mut now = START;
        let pour = |relay: &mut Relay, now: &mut UnixMillis| {
            for (number, (site, sequence, pause)) in (1_000..).zip(&flood) {
                *now = now.after(Duration::from_millis(*pause));
                write(relay, *now, number, *sequence, network(1, *site));
                assert!(relay.disk.messages.len() <= 4 + REQUESTS_MAX);
            }
        };
        if is_late { pour(&mut relay, &mut now); }
        for provider in &honest {
            // Whoever gets no answer asks again.
            let number = 100 + u32::from(*provider);
            let outcome = write(&mut relay, now, number, 1, network(*provider, 1))
                .or_else(|| {
                    let deposit = deposit(now, number, 1, 0, small, DAY * 3);
                    let outcome = relay.call(|mailbox| mailbox.deposit(now, &deposit, None, network(*provider, 1)));
                    Some(deposited(&outcome))
                });
            prop_assert!(matches!(outcome, Some("accepted" | "duplicate")), "{:?}", outcome);
        }
        pour(&mut relay, &mut now);
        let contents: BTreeSet<_> = relay.waiting().into_iter().map(|(.., content)| content).collect();
        prop_assert!(of_contact.iter().all(|content| contents.contains(content)));
        for provider in honest {
            prop_assert!(contents.contains(&content(100 + u32::from(provider), 1, 0)), "{}", provider);
        }
    }

    /// The window over several relays: whatever arrives where and when, with acknowledgements that are late, repeated and
    /// lost, nothing is lost, nothing is shown twice, and no relay holds more than the limit.
    #[test]
    fn over_several_relays_nothing_is_lost_and_nothing_comes_twice(
        limit in 2_u8..6,
        steps in prop::collection::vec((0_u8..4, 0_usize..3, any::<u64>()), 1..150),
    ) {
        const MESSAGES: u64 = 12;
        let contacts = BTreeMap::from([(0, limit)]);
        let mut relays: Vec<Relay> = (0..3).map(|_| Relay::opened(&contacts, CLOSED_TO_STRANGERS)).collect();
        let mut shown = Vec::new();
        let mut acks = Vec::new();
        let mut number = 0;
        let finish = (0..MESSAGES * 3).flat_map(|round| (0..3).flat_map(move |relay| {
            [(0, relay, round), (1, relay, 0), (2, relay, u64::MAX)]
        }));
        for (kind, at, choice) in steps.into_iter().chain(finish) {
            let relay = &mut relays[at];
            match kind {
                // The sender leaves any of its messages there; how far it is, it learns by being refused.
                0 => {
                    let deposit = deposit(START, 0, choice % MESSAGES + 1, 0, SEALED_BYTES[0], DAY);
                    let outcome = relay.call(|mailbox| mailbox.deposit(START, &deposit, None, network(1, 1)));
                    prop_assert!(matches!(
                        deposited(&outcome),
                        "accepted" | "duplicate" | "acknowledged" | "UNACKNOWLEDGED_LIMIT" | "THROTTLED"
                    ));
                    prop_assert!(relay.disk.messages.len() <= usize::from(limit));
                }
                // The recipient collects, drops what it has, and signs what it has.
                1 => {
                    number += 1;
                    let collect = collect(reader(), START, (0, 10, u64::MAX >> 12), number);
                    let collected = relay.call(|mailbox| mailbox.collect(START, &collect)).unwrap();
                    for (_, sequence) in handed(&relay.disk.messages.clone(), &collected) {
                        if !shown.contains(&sequence) {
                            shown.push(sequence);
                        }
                    }
                    let through = (1..=MESSAGES).rev().find(|through| {
                        shown.contains(through)
                            && (1..*through).filter(|missing| !shown.contains(missing)).count() <= usize::from(limit)
                    });
                    if let Some(through) = through {
                        let missing = (1..through).filter(|missing| !shown.contains(missing)).collect();
                        acks.push(ack(reader(), 0, through, &missing));
                    }
                }
                // Somebody carries any acknowledgement there, the newest or an old one.
                2 => {
                    if let Some(ack) = acks.get((choice % (acks.len() as u64).max(1)) as usize) {
                        relay.call(|mailbox| mailbox.acknowledge(START, ack)).unwrap();
                    }
                    if choice == u64::MAX && let Some(ack) = acks.last() {
                        relay.call(|mailbox| mailbox.acknowledge(START, ack)).unwrap();
                    }
                }
                _ => relay.restart(START),
            }
        }
        // Each once: `shown` drops by number, and a number has one content.
        shown.sort_unstable();
        prop_assert_eq!(shown, (1..=MESSAGES).collect::<Vec<_>>());
        for relay in &relays {
            prop_assert!(relay.disk.messages.is_empty());
        }
    }
}

/// An acknowledgement that was cut off after any of its erasures, which need no order and no row that goes before.
#[test]
fn an_acknowledgement_of_an_unlisted_slot_goes_on_after_a_crash() {
    for crash_after in 0..=3 {
        let mut relay = Relay::opened(&BTreeMap::from([(0, 3)]), CLOSED_TO_STRANGERS);
        for sequence in 1..=3 {
            let deposit = deposit(START, 0, sequence, 0, SEALED_BYTES[0], DAY);
            relay.call(|mailbox| mailbox.deposit(START, &deposit, None, network(1, 1))).unwrap();
        }
        let (card, policy) = (card(1, START, CLOSED_TO_STRANGERS), policy(2, START, &BTreeMap::new()));
        relay.call(|mailbox| mailbox.put(START, card, policy, &origins(), SECRET)).unwrap();
        let ack = ack(reader(), 0, 3, &BTreeSet::new());
        let answer = relay.call_and_crash(START, crash_after, |mailbox| mailbox.acknowledge(START, &ack));
        assert_eq!(answer, (crash_after == 3).then_some(Ok(3)));
        assert_eq!(relay.waiting().len(), 3 - crash_after);
        // Whoever heard no answer asks again.
        assert_eq!(relay.call(|mailbox| mailbox.acknowledge(START, &ack)), Ok(3 - crash_after));
        assert!(relay.waiting().is_empty());
    }
}

/// Days that the relay has noted, after a crash in a collect.
fn noted_days(relay: &Relay, before: &Model, after: &Model) -> BTreeSet<u64> {
    let row: serde_json::Value = serde_json::from_str(&relay.disk.rows["open"]).unwrap();
    if row["collectDays"].as_u64() == Some(after.days.len().min(3) as u64) {
        after.days.clone()
    } else {
        before.days.clone()
    }
}

#[test]
fn strangers_and_contacts_are_bounded_in_the_largest_mailbox() {
    // Property 9: 256 contacts and any number of strangers.
    let contacts: BTreeMap<u32, u8> = (0..256).map(|number| (number, 32)).collect();
    let mut relay = Relay::opened(&contacts, OPEN_TO_STRANGERS);
    for day in 0..3_u32 {
        let now = START.after(DAY * day);
        let collect = collect(owner(), now, (0, 1, 0), u64::from(day));
        relay.call(|mailbox| mailbox.collect(now, &collect)).unwrap();
    }
    let now = START.after(DAY * 3);
    let (mut accepted, mut full) = (0, 0);
    for number in 0..256 {
        for sequence in 1..=3 {
            let deposit = deposit(now, number, sequence, 0, SEALED_BYTES[0], DAY);
            match relay.call(|mailbox| mailbox.deposit(now, &deposit, None, network(1, 1))) {
                Ok(Deposited::Accepted { .. }) => accepted += 1,
                outcome => {
                    assert_eq!(deposited(&outcome), "MAILBOX_FULL");
                    full += 1;
                }
            }
        }
    }
    assert_eq!((accepted, full), (MESSAGES_MAX - REQUESTS_MAX, 256 * 3 - (MESSAGES_MAX - REQUESTS_MAX)));
    for number in 0..2_000_u32 {
        let [_, _, provider, site] = number.to_be_bytes();
        let deposit = deposit(now, 1_000 + number, 1, 0, REQUEST_MAX_BYTES, DAY);
        let _ = relay.call(|mailbox| mailbox.deposit(now, &deposit, None, network(provider, site)));
        assert!(relay.disk.messages.len() <= MESSAGES_MAX);
    }
    assert_eq!(relay.disk.messages.len(), MESSAGES_MAX);
    // The owner hears of those who were refused; an acknowledgement writes, and no other row was written for them.
    let collect = collect(owner(), now, (0, 1, 0), 9);
    let collected = relay.call(|mailbox| mailbox.collect(now, &collect)).unwrap();
    assert_eq!(collected.refused.iter().map(|refused| refused.count).sum::<u64>(), full as u64);
    assert_eq!(relay.disk.rows.keys().collect::<Vec<_>>(), ["leases", "open"]);
    assert_eq!(collected.pending.requests, REQUESTS_MAX);
}
