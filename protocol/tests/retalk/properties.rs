//! Any sequence of requests, clocks and crashes, against a model that remembers everything.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::retalk::refused::Refused;
use rendezvous_protocol::retalk::request::Verified;
use rendezvous_protocol::retalk::state::{NotStored, Sent};
use rendezvous_protocol::time::UnixMillis;
use serde_json::json;

use crate::world::{OWNER, User, World, network};

#[derive(Clone, Debug)]
enum Deed {
    Publish { from: u8, count: u8, fallback: bool },
    Send { from: u8, number: u32, site: u8 },
    Burst { from: u8, site: u8 },
    Read,
    Claim { by: u8, site: u8 },
    Correspond { with: u8 },
    Pass { seconds: u64 },
    Alarm,
    Crash,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => (0_u8..200, 0_u8..40, any::<bool>()).prop_map(|(from, count, fallback)| Deed::Publish { from, count, fallback }),
        8 => (1_u8..6, 0_u32..60, 0_u8..3).prop_map(|(from, number, site)| Deed::Send { from, number, site }),
        3 => (1_u8..20, 0_u8..6).prop_map(|(from, site)| Deed::Burst { from, site }),
        2 => Just(Deed::Read),
        4 => (1_u8..6, 0_u8..3).prop_map(|(by, site)| Deed::Claim { by, site }),
        1 => (1_u8..20).prop_map(|with| Deed::Correspond { with }),
        3 => prop_oneof![1_u64..100, Just(3_600), Just(86_400 * 3)].prop_map(|seconds| Deed::Pass { seconds }),
        1 => Just(Deed::Alarm),
        2 => Just(Deed::Crash),
    ]
}

struct Waiting {
    from: u8,
    number: u32,
    site: u8,
    id: u64,
    at: UnixMillis,
}

#[derive(Default)]
struct Model {
    is_open: bool,
    has_fallback: bool,
    waiting: Vec<Waiting>,
    correspondents: BTreeSet<u8>,
    served: BTreeSet<String>,
    pool: Vec<String>,
    claims: Vec<(u8, u8, UnixMillis)>,
}

impl Model {
    fn send(&self, from: u8, number: u32, site: u8) -> Option<NotStored> {
        let count = |is_it: &dyn Fn(&Waiting) -> bool| self.waiting.iter().filter(|waiting| is_it(waiting)).count();
        let most = if self.correspondents.contains(&from) { 512 } else { 384 };
        if !self.is_open {
            Some(NotStored::MailboxUnknown)
        } else if self.waiting.iter().any(|waiting| (waiting.from, waiting.number) == (from, number)) {
            None
        } else if count(&|waiting| waiting.from == from) >= 32 {
            Some(NotStored::SenderLimit)
        } else if count(&|waiting| waiting.site == site) >= 128 || self.waiting.len() >= most {
            Some(NotStored::MailboxFull)
        } else {
            None
        }
    }
}

fn play(world: &mut World, model: &mut Model, from: u8, number: u32, site: u8) -> Result<(), TestCaseError> {
    let expected = model.send(from, number, site);
    match world.send(User(from), number, site) {
        Sent::Stored { number: id, at } => {
            prop_assert_eq!(expected, None);
            prop_assert!(model.waiting.iter().all(|waiting| waiting.id < id), "numbers ascend");
            model.waiting.push(Waiting { from, number, site, id, at });
        }
        Sent::Duplicate { number: id, at } => {
            let same = model.waiting.iter().find(|waiting| (waiting.from, waiting.number) == (from, number));
            prop_assert_eq!(same.map(|waiting| (waiting.id, waiting.at)), Some((id, at)));
        }
        Sent::NotStored(reason) => prop_assert_eq!(expected, Some(reason)),
        Sent::BodyRefused { .. } => prop_assert!(false, "nobody refuses"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_mailbox_is_as_its_model(deeds in proptest::collection::vec(deed(), 1..120)) {
        let (mut world, mut model) = (World::new(), Model::default());
        let mut bursts = 1_000;
        for deed in deeds {
            model.waiting.retain(|waiting| world.now < waiting.at.after(Duration::from_secs(7 * 86_400)));
            match deed {
                Deed::Publish { from, count, fallback } => {
                    world.publish(from..from + count, fallback.then_some(from));
                    model.is_open = true;
                    model.has_fallback |= fallback;
                    for number in from..from + count {
                        let name = format!("2-{number:03}");
                        if !model.served.contains(&name) && !model.pool.contains(&name) && model.pool.len() < 200 {
                            model.pool.push(name);
                        }
                    }
                }
                Deed::Send { from, number, site } => play(&mut world, &mut model, from, number, site)?,
                Deed::Burst { from, site } => {
                    for _ in 0..20 {
                        bursts += 1;
                        play(&mut world, &mut model, from, bursts, site)?;
                    }
                }
                Deed::Read => {
                    let expected: Vec<_> = model.waiting.drain(..).map(|waiting| waiting.id).collect();
                    prop_assert_eq!(world.read(), expected, "all that waits, once, the oldest first");
                }
                Deed::Claim { by, site } => {
                    model.claims.retain(|(.., at)| world.now < at.after(Duration::from_secs(3_600)));
                    let of = |is_it: &dyn Fn(u8, u8) -> bool| model.claims.iter().filter(|(by, site, _)| is_it(*by, *site)).count();
                    let may = of(&|other, _| other == by) < 3 && of(&|_, other| other == site) < 10;
                    match world.claim(User(by), site) {
                        Ok((name, false)) => {
                            prop_assert!(may && model.served.insert(name.clone()), "once, and within limits");
                            prop_assert_eq!(model.pool.remove(0), name, "the oldest");
                            model.claims.push((by, site, world.now));
                        }
                        Ok((_, true)) => prop_assert!(model.has_fallback && (model.pool.is_empty() || !may)),
                        Err(Refused::UnknownPeer { .. }) => prop_assert!(!model.is_open),
                        Err(refused) => {
                            prop_assert_eq!(refused, Refused::NoPrekey);
                            prop_assert!(!model.has_fallback && (model.pool.is_empty() || !may));
                        }
                    }
                }
                Deed::Correspond { with } => {
                    world.mailbox.correspond(world.now, User(with).id());
                    world.write();
                    if model.is_open {
                        model.correspondents.insert(with);
                    }
                }
                Deed::Pass { seconds } => world.pass(Duration::from_secs(seconds)),
                Deed::Alarm => {
                    world.mailbox.expire(world.now);
                    world.write();
                }
                Deed::Crash => world.crash(),
            }
            if world.mailbox.is_absent() && model.is_open {
                // Nobody was here for ninety days.
                model = Model::default();
            }
            prop_assert!(world.messages.len() <= 512 && world.rows.len() <= 4_096 * 2 + 2_100);
        }
        let counted = world.ask(OWNER, "count_keys", &json!({}), 0);
        prop_assert!(counted.is_ok());
    }
}

#[derive(Clone, Debug)]
enum Event {
    Read,
    Publish,
    Pass { seconds: u64 },
    SetBack { seconds: u64 },
    Alarm,
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Read),
        1 => Just(Event::Publish),
        4 => (1_u64..50).prop_map(|seconds| Event::Pass { seconds }),
        1 => (100_u64..500).prop_map(|seconds| Event::SetBack { seconds }),
        2 => Just(Event::Alarm),
        2 => Just(Event::Crash),
    ]
}

proptest! {
    /// The model remembers of each request for how long it counts, by every clock that there was since.
    #[test]
    fn no_request_is_good_again_while_it_counts_whatever_the_clock_was_and_whatever_crashed(
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut world = World::new();
        world.publish(0..1, None);
        let mut stored: Vec<(Verified, UnixMillis)> = Vec::new();
        let mut waiting = Vec::new();
        for event in events {
            match event {
                Event::Read | Event::Publish => {
                    let is_read = matches!(event, Event::Read);
                    let tool = if is_read { "read_messages" } else { "publish_keys" };
                    let publication = json!({
                        "identity_key": OWNER.identity_key(),
                        "signing_key": OWNER.signing_key(),
                        "one_time_keys": {},
                        "fallback_key": null,
                    });
                    let args = if is_read { json!({}) } else { publication };
                    let request = world.next_request(OWNER, tool, &args);
                    prop_assert!(world.handle(&request, 0).is_ok());
                    waiting.push((request.clone(), request.signed_at().after(Duration::from_secs(151))));
                }
                Event::Pass { seconds } => world.pass(Duration::from_secs(seconds)),
                Event::SetBack { seconds } => {
                    world.now = UnixMillis::saturating(world.now.as_u64() - 1_000 * seconds);
                }
                Event::Alarm => {
                    world.mailbox.expire(world.now);
                    world.write();
                }
                Event::Crash => {
                    world.crash();
                    waiting.clear();
                }
            }
            if world.mailbox.is_settled() {
                stored.append(&mut waiting);
            }
            for (_, until) in stored.iter_mut().chain(&mut waiting) {
                *until = (*until).min(world.now.after(Duration::from_secs(450)));
            }
            for requests in [&mut stored, &mut waiting] {
                requests.retain(|(_, until)| world.now < *until);
            }
            for (request, until) in stored.iter().chain(&waiting) {
                let again = world.mailbox.handle(world.now, request, network(0));
                prop_assert_eq!(again, Err(Refused::Replayed), "until {}, now {}", until, world.now);
            }
            world.write();
        }
    }
}
