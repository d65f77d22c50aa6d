//! Two users over a hostile relay, in any order of events, with crashes between any two writes, by one door or by both: nothing
//! is lost, nothing is shown twice unmarked, and no message key encrypts two texts (the relay looks, also at what is sealed, which
//! its recipient opens for it).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::time::UnixMillis;

use super::hostile_relay::{Fault, HostileRelay};
use super::tests::{START, Somebody, look_into_deposits};
use super::*;
use crate::transport::Relay;

const URL: &str = "https://relay.example";

#[derive(Clone, Debug)]
enum Deed {
    Send,
    Receive,
    /// Answers to one message after the other, and takes those for which no answer is left.
    Deliver(Vec<Disposition>),
    Acknowledge,
    Maintain,
    Block(bool),
    /// The relay opens its door for mailboxes, with nothing in them, or closes it.
    Mailboxes(bool),
}

#[derive(Clone, Debug)]
struct Event {
    who: usize,
    deed: Deed,
    faults: Vec<Fault>,
    /// The program is killed after so many writes.
    crash_after: Option<u32>,
    seconds: u64,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::RequestLost),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::Swallows),
        1 => Just(Fault::HasNoRoom),
        1 => Just(Fault::Reorders),
        1 => Just(Fault::Replays),
        1 => Just(Fault::Corrupts),
        1 => Just(Fault::SwapsKeys),
        1 => Just(Fault::SwapsOneTimeKey),
        1 => Just(Fault::Refuses),
        1 => Just(Fault::Babbles),
    ]
}

fn disposition() -> impl Strategy<Value = Disposition> {
    prop_oneof![4 => Just(Disposition::Taken), 3 => Just(Disposition::Kept), 1 => Just(Disposition::Declined)]
}

fn event() -> impl Strategy<Value = Event> {
    let deed = prop_oneof![
        5 => Just(Deed::Send),
        4 => Just(Deed::Receive),
        3 => proptest::collection::vec(disposition(), 0..6).prop_map(Deed::Deliver),
        2 => Just(Deed::Acknowledge),
        2 => Just(Deed::Maintain),
        1 => any::<bool>().prop_map(Deed::Block),
        1 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Deed::Mailboxes),
    ];
    let faults = proptest::collection::vec(fault(), 0..6);
    let seconds = prop_oneof![Just(0), Just(1), Just(130), Just(90_000)];
    (0..2_usize, deed, faults, proptest::option::weighted(0.25, 0..12_u32), seconds)
        .prop_map(|(who, deed, faults, crash_after, seconds)| Event { who, deed, faults, crash_after, seconds })
}

struct World {
    now: UnixMillis,
    relay: HostileRelay,
    people: [Somebody; 2],
    /// The texts that each has certainly sent, and those of which the program was killed before it said so.
    sent: [BTreeSet<String>; 2],
    uncertain: [BTreeSet<String>; 2],
    count: usize,
}

impl World {
    fn new() -> Self {
        let people = [Somebody::new("alice"), Somebody::new("bob")];
        let mut world = Self {
            now: START,
            relay: HostileRelay::new(URL, START),
            people,
            sent: Default::default(),
            uncertain: Default::default(),
            count: 0,
        };
        for who in 0..2 {
            let other = world.people[1 - who].id();
            world.people[who].user.add("other", other, None).unwrap();
            world.act(who, &Deed::Receive).unwrap();
        }
        world
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.relay.set_now(self.now);
    }

    fn act(&mut self, who: usize, deed: &Deed) -> Result<(), UserError> {
        let now = self.now;
        let relay = &Relay::new(URL, &self.relay).unwrap();
        let to = self.people[1 - who].id();
        let Somebody { user, shown, .. } = &mut self.people[who];
        match deed {
            Deed::Send => {
                self.count += 1;
                let text = format!("text {}", self.count);
                match user.send(relay, to, &text, now) {
                    Ok(_) => drop(self.sent[who].insert(text)),
                    Err(error @ UserError::Vault(_)) => {
                        self.uncertain[who].insert(text);
                        return Err(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            Deed::Receive => drop(user.receive(relay, now)?),
            Deed::Deliver(turns) => {
                let mut turns = turns.iter().copied();
                user.deliver(&[], |message| {
                    let disposition = turns.next().unwrap_or(Disposition::Taken);
                    if disposition == Disposition::Taken {
                        shown.push(message.clone());
                    }
                    disposition
                })?;
            }
            Deed::Acknowledge => drop(user.acknowledge(relay, now)?),
            Deed::Maintain => drop(user.maintain(relay, now)?),
            Deed::Mailboxes(true) => self.relay.open_mailboxes(),
            Deed::Mailboxes(false) => self.relay.close_mailboxes(),
            Deed::Block(is_blocked) => drop(user.set_blocked(to, *is_blocked)?),
        }
        Ok(())
    }

    fn play(&mut self, event: &Event) {
        self.pass(event.seconds);
        self.relay.set_faults(event.faults.iter().copied(), Fault::None);
        self.people[event.who].user.vault.commits_left = event.crash_after;
        let acted = self.act(event.who, &event.deed);
        if let Err(UserError::Vault(error)) = acted {
            assert!(error.to_string().ends_with("is damaged: crash"), "{error}");
        }
        self.people[event.who].reopen();
        look_into_deposits(&self.relay, &self.people.each_ref());
    }

    /// What a user does who is told that a message was refused for good: the relay has served prekeys of its own three times.
    fn send_refused_again(&mut self, who: usize) {
        let relay = &Relay::new(URL, &self.relay).unwrap();
        let user = &mut self.people[who].user;
        for outgoing in user.outbox().unwrap() {
            if outgoing.state == OutgoingState::Refused {
                user.resend(relay, &outgoing.id, self.now).unwrap();
            }
        }
    }

    /// All works, for as long as it takes, and nobody is blocked any more.
    fn settle(&mut self) {
        for who in 0..2 {
            self.act(who, &Deed::Block(false)).unwrap();
        }
        for _ in 0..40 {
            self.relay.set_faults([], Fault::None);
            self.pass(130);
            for who in 0..2 {
                self.send_refused_again(who);
                for deed in [Deed::Maintain, Deed::Receive, Deed::Deliver(Vec::new()), Deed::Acknowledge] {
                    self.act(who, &deed).unwrap();
                }
            }
            look_into_deposits(&self.relay, &self.people.each_ref());
            let is_done = |somebody: &Somebody| {
                let status = somebody.user.status().unwrap();
                (status.outbox, status.inbox, status.incoming) == (0, 0, 0)
            };
            if self.people.iter().all(is_done) {
                return;
            }
        }
        let outboxes = self.people.each_ref().map(|somebody| somebody.user.outbox().unwrap());
        panic!("it does not come to rest: {outboxes:?}");
    }

    fn check(&self) {
        for who in 0..2 {
            let mut texts = BTreeMap::new();
            for message in &self.people[1 - who].shown {
                let Content::Text(text) = &message.content else { panic!("only texts were sent") };
                let times = texts.entry(text.clone()).or_insert(0);
                *times += 1;
                assert!(*times == 1 || message.redelivered, "{text} is shown twice and does not say so");
            }
            let shown: BTreeSet<String> = texts.into_keys().collect();
            let lost: Vec<_> = self.sent[who].difference(&shown).collect();
            assert!(lost.is_empty(), "{lost:?} are lost");
            let known: BTreeSet<String> = self.sent[who].union(&self.uncertain[who]).cloned().collect();
            assert!(shown.is_subset(&known));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nothing_is_lost_or_shown_twice_and_no_message_key_is_used_twice(events in proptest::collection::vec(event(), 1..60)) {
        let mut world = World::new();
        for event in &events {
            world.play(event);
        }
        world.settle();
        world.check();
    }
}
