//! Any sequence of requests, clocks and crashes, between any two changes too, against a model that remembers everything.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::hivemind::limits::{HANDED_LASTS, MESSAGE_LASTS, PROOFS_MAX};
use rendezvous_protocol::hivemind::refused::Refused;
use rendezvous_protocol::hivemind::state::{Deposited, Incoming, Retrieved};
use rendezvous_protocol::time::UnixMillis;

use crate::world::{DAY, World, content, incoming, mailbox_of, proof};

#[derive(Clone, Debug)]
enum Deed {
    Deposit { number: u32, site: u8, key: Option<u8>, seconds: u64, breaks: Option<usize> },
    Burst { site: u8 },
    Retrieve { proof: u32, opens: bool, breaks: Option<usize> },
    Note { proof: u32 },
    Pass { seconds: u64 },
    Alarm { breaks: Option<usize> },
    Crash,
}

fn deed() -> impl Strategy<Value = Deed> {
    let breaks = || prop_oneof![4 => Just(None), 1 => (0_usize..5).prop_map(Some)];
    let deposit = (0_u32..60, 0_u8..3, proptest::option::of(0_u8..2), prop_oneof![1_u64..200, Just(700_000)], breaks());
    let seconds = prop_oneof![8 => 1_u64..40, 1 => Just(3_600), 1 => Just(86_400 * 3), 1 => Just(86_400 * 31)];
    prop_oneof![
        8 => deposit.prop_map(|(number, site, key, seconds, breaks)| Deed::Deposit { number, site, key, seconds, breaks }),
        2 => (0_u8..5).prop_map(|site| Deed::Burst { site }),
        6 => (0_u32..8, prop::bool::weighted(0.8), breaks())
            .prop_map(|(proof, opens, breaks)| Deed::Retrieve { proof, opens, breaks }),
        1 => (0_u32..8).prop_map(|proof| Deed::Note { proof }),
        4 => seconds.prop_map(|seconds| Deed::Pass { seconds }),
        2 => breaks().prop_map(|breaks| Deed::Alarm { breaks }),
        1 => Just(Deed::Crash),
    ]
}

/// A message that is here.
struct Kept {
    number: u32,
    site: u8,
    key: Option<u8>,
    ends_at: UnixMillis,
    /// The proof that it was handed over to.
    handed: Option<u32>,
}

/// What a proof has served for.
struct Used {
    at: UnixMillis,
    until: UnixMillis,
    hands: bool,
}

impl Used {
    fn ends_at(&self) -> UnixMillis {
        if self.hands { self.until.max(self.at.after(HANDED_LASTS)) } else { self.until }
    }
}

#[derive(Default)]
struct Model {
    opened_at: Option<UnixMillis>,
    kept: Vec<Kept>,
    used: BTreeMap<u32, Used>,
    /// When each proof counts no more, from when it was made, which is before it is first used.
    made: BTreeMap<u32, UnixMillis>,
    /// How often each client has made a proof.
    proofs: BTreeMap<u32, u32>,
}

impl Model {
    fn end(&mut self, now: UnixMillis) {
        let used = &self.used;
        self.kept.retain(|kept| now < kept.ends_at && kept.handed.is_none_or(|proof| now < used[&proof].ends_at()));
    }

    fn is_absent(&self, now: UnixMillis) -> bool {
        self.kept.is_empty() && self.used.values().all(|used| used.ends_at() <= now)
    }

    /// The proof that a client has, or a new one where that counts no more.
    fn proof_of(&mut self, client: u32, world: &World) -> u32 {
        let count = self.proofs.entry(client).or_default();
        let number = |count: u32| client * 1_000 + count;
        if self.made.get(&number(*count)).is_some_and(|until| *until <= world.now) {
            *count += 1;
        }
        self.made.entry(number(*count)).or_insert_with(|| world.until());
        number(*count)
    }

    fn deposit(
        &mut self,
        world: &mut World,
        number: u32,
        site: u8,
        key: Option<u8>,
        seconds: u64,
    ) -> Result<(), TestCaseError> {
        let lifetime = Duration::from_secs(seconds).min(MESSAGE_LASTS);
        let arrival = Incoming { lifetime, depositor: key.map(mailbox_of), ..incoming(number, site) };
        let is_opened = self.opened_at.is_some_and(|at| world.now < at.after(30 * DAY));
        let is_held = self.kept.iter().any(|kept| kept.number == number);
        let waiting = |is_it: &dyn Fn(&Kept) -> bool| {
            self.kept.iter().filter(|kept| kept.handed.is_none() && is_it(kept)).count()
        };
        let has_room = if is_opened {
            waiting(&|_| true) < 256
                && waiting(&|kept| kept.site == site) < 64
                && (key.is_none() || waiting(&|kept| kept.key == key) < 64)
                && self.kept.len() < 512
        } else {
            waiting(&|_| true) < 2 && self.kept.len() < 256
        };
        match world.try_deposit(arrival, true) {
            Some(Ok(Deposited::Held(_))) => prop_assert!(is_held),
            Some(Ok(Deposited::Stored(_))) => prop_assert!(!is_held && has_room),
            Some(Ok(Deposited::NeedsRoom)) => prop_assert!(false, "there is room"),
            Some(Err(refused)) => prop_assert!(refused == Refused::Full && !is_held && !has_room),
            // Whether it came so far the disk knows.
            None => {}
        }
        // Another one of it may have ended, and not be erased yet.
        let arrived = format!("{} ", world.now);
        let is_here =
            world.messages.values().any(|row| row.starts_with(&arrived) && row.contains(&content(number).to_string()));
        if is_here && !is_held {
            let longest = if is_opened { MESSAGE_LASTS } else { DAY };
            let ends_at = world.now.after(lifetime.min(longest));
            self.kept.push(Kept { number, site, key, ends_at, handed: None });
        }
        Ok(())
    }

    fn retrieve(&mut self, world: &mut World, number: u32, opens: bool) -> Result<(), TestCaseError> {
        let now = world.now;
        let is_nothing =
            self.is_absent(now) && self.opened_at.is_none_or(|at| !world.rows.contains_key("opened") || at > now);
        let retrieved = world.retrieve_until(proof(number), self.made[&number], opens);
        if opens && world.rows.get("opened") == Some(&now.to_string()) {
            self.opened_at = Some(now);
        }
        let is_used = self.used.contains_key(&number);
        let is_written = world.rows.keys().any(|name| name.ends_with(&proof(number).to_string()));
        if is_written && !is_used {
            self.used.insert(number, Used { at: now, until: self.made[&number], hands: true });
        }
        let mut expected = Vec::new();
        for kept in &mut self.kept {
            if is_written && !is_used {
                kept.handed = kept.handed.or(Some(number));
            }
            if kept.handed == Some(number) {
                expected.push(kept.number);
            }
        }
        let used = self.used.get(&number);
        match retrieved {
            // Whether it came so far the disk knows.
            None => {}
            Some(Ok(Retrieved::NoPlace)) => prop_assert!(!opens && is_nothing && used.is_none()),
            Some(Ok(Retrieved::Messages { numbers, is_again })) => {
                prop_assert!(used.is_some_and(|used| used.hands && now < used.at.after(HANDED_LASTS)));
                prop_assert_eq!(is_again, is_used);
                prop_assert!(numbers.is_sorted(), "the oldest first");
                prop_assert_eq!(numbers.len(), expected.len());
                for (found, number) in numbers.iter().zip(&expected) {
                    prop_assert!(world.messages[found].contains(&content(*number).to_string()));
                }
            }
            Some(Err(refused)) => {
                prop_assert_eq!(refused, Refused::Replayed);
                prop_assert!(is_used && used.is_some_and(|used| !used.hands || now >= used.at.after(HANDED_LASTS)));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_mailbox_is_as_its_model(deeds in proptest::collection::vec(deed(), 1..100)) {
        let (mut world, mut model) = (World::new(), Model::default());
        let mut bursts = 50_000;
        for deed in deeds {
            model.end(world.now);
            match deed {
                Deed::Deposit { number, site, key, seconds, breaks } => {
                    world.breaks_after = breaks;
                    model.deposit(&mut world, number, site, key, seconds)?;
                }
                Deed::Burst { site } => {
                    for _ in 0..30 {
                        bursts += 1;
                        model.deposit(&mut world, bursts, site, None, 700_000)?;
                    }
                }
                Deed::Retrieve { proof: client, opens, breaks } => {
                    world.breaks_after = breaks;
                    let number = model.proof_of(client, &world);
                    model.retrieve(&mut world, number, opens)?;
                }
                Deed::Note { proof: client } => {
                    let number = model.proof_of(client, &world);
                    let until = model.made[&number];
                    let noted = world.mailbox.note_deposit(world.now, proof(number), until, true);
                    prop_assert!(world.write());
                    let used = model.used.entry(number).or_insert(Used { at: world.now, until, hands: false });
                    prop_assert_eq!(noted.is_ok(), !used.hands);
                }
                Deed::Pass { seconds } => world.pass(Duration::from_secs(seconds)),
                Deed::Alarm { breaks } => {
                    world.breaks_after = breaks;
                    world.expire();
                }
                Deed::Crash => world.crash(),
            }
            world.breaks_after = None;
            prop_assert!(world.messages.len() <= 512 && world.rows.len() <= PROOFS_MAX + 1);
        }
        // In the end nothing is left.
        world.pass(40 * DAY);
        prop_assert!(world.expire());
        prop_assert!(world.rows.is_empty() && world.messages.is_empty());
    }
}
