//! What an object says of itself: the trend against a plain log of who was there, and the day's work against what clients
//! and storage got.

use proptest::prelude::*;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::peer_list::{ObjectFigures, PeerList};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Purpose, VerifiedTicket};
use rendezvous_service::answer::Outcome;
use rendezvous_service::call::{Call, Handed};
use rendezvous_service::community::{CommunityObject, Found};
use rendezvous_service::edge::Upgrade;
use serde_json::{Value, json};

use crate::host::{START, at, config};
use crate::live::{World, bind, peer};

/// From the tests' beginning to the first whole five minutes in UTC, and to midnight.
const FIRST_COUNT: u64 = 300_000 - START % 300_000;
const MIDNIGHT: u64 = 86_400_000 - START % 86_400_000;

fn object(now: u64) -> CommunityObject {
    CommunityObject::restore(at(now), &config(&[]), false, Found::nothing(), Secret::from_bytes([9; 16])).0
}

fn figures(object: &mut CommunityObject, now: u64) -> ObjectFigures {
    let (answer, _) = object.handle(at(now), Call::List, 0);
    PeerList::decode(&answer.body).unwrap().figures().clone()
}

fn parsed(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap() }
}

fn trend(object: &mut CommunityObject, now: u64) -> Value {
    parsed(&figures(object, now).trend)
}

fn activity(object: &mut CommunityObject, now: u64) -> Value {
    parsed(&figures(object, now).activity)
}

fn hand(object: &mut CommunityObject, now: u64, number: u8, purpose: Purpose) -> bool {
    let ticket = peer(number).unsigned(now, |payload| payload.purpose = purpose);
    let handed = Handed {
        community: "mainnet".parse().unwrap(),
        network: Client::default().hand_over(),
        ticket: VerifiedTicket::trusted(&ticket, purpose).unwrap(),
    };
    let (answer, _) = object.handle(at(now), Call::Ticket(Box::new(handed)), 0);
    answer.outcome == Outcome::Accepted || answer.body.contains("\"left\":true")
}

#[test]
fn a_trend_begins_with_the_first_whole_five_minutes_and_has_twelve_counts() {
    let mut object = object(0);
    hand(&mut object, FIRST_COUNT - 2, 1, Purpose::Presence);
    hand(&mut object, FIRST_COUNT - 1, 2, Purpose::Presence);
    assert_eq!(figures(&mut object, FIRST_COUNT - 1).trend, "", "there is nothing to say yet");
    let expected = |until: u64, live: &[usize]| json!({ "until": START + until, "everyMs": 300_000, "live": live });
    assert_eq!(trend(&mut object, FIRST_COUNT), expected(FIRST_COUNT, &[2]));
    assert_eq!(trend(&mut object, FIRST_COUNT + 299_999), expected(FIRST_COUNT, &[2]));
    let last = FIRST_COUNT + 12 * 300_000;
    hand(&mut object, last - 1, 3, Purpose::Presence);
    assert_eq!(trend(&mut object, last), expected(last, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
    let much_later = last + 30 * 300_000;
    assert_eq!(trend(&mut object, much_later + 1), expected(much_later, &[0; 12]));
}

#[test]
fn a_clock_that_jumps_back_leaves_no_count_with_the_wrong_time() {
    let mut object = object(FIRST_COUNT);
    hand(&mut object, FIRST_COUNT + 299_999, 1, Purpose::Presence);
    assert_eq!(trend(&mut object, FIRST_COUNT + 300_000)["live"], json!([1]));
    assert_eq!(trend(&mut object, FIRST_COUNT), Value::Null);
    assert_eq!(activity(&mut object, FIRST_COUNT)["since"], START + FIRST_COUNT);
}

#[test]
fn a_day_begins_at_midnight_utc_or_when_the_object_starts() {
    let mut object = object(5);
    hand(&mut object, 10, 1, Purpose::Presence);
    let work = |since: u64, rows: u64, alarms: u64| {
        let (sockets, since) = (0, START + since);
        json!({
            "sockets": sockets, "bound": 0, "streams": 0, "since": since, "rows": rows, "alarms": alarms, "frames": 0,
        })
    };
    assert_eq!(activity(&mut object, 11), work(5, 1, 1));
    assert_eq!(activity(&mut object, MIDNIGHT - 1)["rows"], 1);
    assert_eq!(activity(&mut object, MIDNIGHT), work(MIDNIGHT, 0, 0));
    hand(&mut object, MIDNIGHT + 1, 1, Purpose::Presence);
    assert_eq!(activity(&mut object, MIDNIGHT + 2)["rows"], 1);
}

#[test]
fn connections_are_told_by_kind_and_frames_and_rows_are_those_that_were_sent_and_written() {
    for mut world in [World::new(&[]), World::hibernating(&[])] {
        let ann = world.open(Default::default());
        let viewer = world.open(Default::default());
        let stream = world.open_as(Default::default(), Upgrade::None).unwrap();
        world.bring(&peer(1).ticket(0), Purpose::Presence, "10.1.0.1");
        world.announce(2, 180_000);
        bind(&mut world, ann, peer(1), |_| {});
        world.wait(10_500);
        let told = |world: &mut World| activity(&mut world.object, world.now);
        let before = told(&mut world);
        let frames: usize = [ann, viewer, stream].iter().map(|id| world.frames(*id)).sum();
        assert!(frames >= 6, "each has the list and those who came: {frames}");
        assert_eq!([&before["frames"], &before["rows"]], [frames, world.rows()]);
        assert_eq!([&before["sockets"], &before["bound"], &before["streams"]], [2, 1, 1]);
        world.hibernate();
        if world.is_hibernating() {
            let after = told(&mut world);
            assert_eq!([&after["sockets"], &after["bound"], &after["streams"]], [2, 1, 1]);
            assert_eq!([&after["since"], &after["frames"]], [START + world.now, 0], "these ended with the object");
        }
        world.drop_client(stream);
        world.drop_client(ann);
        let after = told(&mut world);
        assert_eq!([&after["sockets"], &after["bound"], &after["streams"]], [1, 0, 0]);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Announce(u8),
    Leave(u8),
    Timer,
    Alarm,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_u8..6).prop_map(Act::Announce),
        2 => (0_u8..6).prop_map(Act::Leave),
        1 => Just(Act::Timer),
        1 => Just(Act::Alarm),
    ]
}

proptest! {
    /// The model remembers from when to when each ticket was listed, and counts names.
    #[test]
    fn a_trend_counts_who_was_there_whether_the_object_slept_or_not(
        acts in prop::collection::vec((prop_oneof![0_u64..90_000, 0_u64..900_000], act()), 1..40),
        rest in 0_u64..600_000,
    ) {
        let (mut object, mut now) = (object(0), 0);
        let mut listed: Vec<(u8, u64, u64)> = Vec::new();
        for (gap, act) in acts {
            now += gap;
            match act {
                Act::Announce(number) => {
                    if hand(&mut object, now, number, Purpose::Presence) {
                        listed.push((number, now, now + 180_000));
                    }
                }
                Act::Leave(number) => {
                    if hand(&mut object, now, number, Purpose::Leave) {
                        let left = listed.iter_mut().filter(|(other, _, _)| *other == number);
                        left.for_each(|(_, _, until)| *until = (*until).min(now + 1));
                    }
                }
                Act::Timer => drop(object.handle_timer(at(now))),
                Act::Alarm => drop(object.handle_alarm(at(now))),
            }
        }
        now += rest;
        let counts: Vec<_> = (0..).map(|number| FIRST_COUNT + number * 300_000).take_while(|count| *count <= now).collect();
        let live = |count: u64| {
            let there = |number: u8| listed.iter().any(|(of, from, until)| *of == number && *from < count && count < *until);
            (0_u8..6).filter(|number| there(*number)).count()
        };
        let expected: Vec<_> = counts.iter().skip(counts.len().saturating_sub(12)).map(|count| live(*count)).collect();
        let told = trend(&mut object, now);
        prop_assert_eq!(&told["live"], &if expected.is_empty() { Value::Null } else { json!(expected) });
        if let Some(until) = counts.last() {
            prop_assert_eq!(&told["until"], START + until);
        }
    }
}
