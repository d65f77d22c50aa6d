//! What a mailbox and the room of all unopened ones do, case by case.

use std::collections::BTreeMap;

use rendezvous_protocol::hivemind::limits::{
    MESSAGES_MAX, PROOFS_MAX, ROOM, UNOPENED_IN_ALL, UNOPENED_MESSAGES_MAX, UNOPENED_PER_SITE, UNOPENED_ROOM,
};
use rendezvous_protocol::hivemind::refused::Refused;
use rendezvous_protocol::hivemind::room::Room;
use rendezvous_protocol::hivemind::state::{Deposited, Incoming, Noted, Retrieved};
use rendezvous_protocol::mailbox::state::Change;

use crate::world::{DAY, HOUR, SECOND, SECRET, START, World, incoming, mailbox_of, network, proof};

fn stored(deposited: Result<Deposited, Refused>) -> String {
    match deposited {
        Ok(Deposited::Stored(id)) => id.to_string(),
        other => panic!("{other:?}"),
    }
}

fn opened() -> World {
    let mut world = World::new();
    assert!(world.retrieve().is_empty());
    world
}

#[test]
fn a_proof_hands_over_once_and_the_same_request_gets_the_same_again_for_a_minute() {
    let mut world = opened();
    stored(world.deposit(incoming(1, 1)));
    let first = world.retrieve_with(proof(1)).unwrap();
    assert_eq!(first.len(), 1);
    stored(world.deposit(incoming(2, 1)));
    world.crash();
    world.pass(59 * SECOND);
    assert_eq!(world.retrieve_with(proof(1)), Ok(first), "its own lost answer, and nothing that came later");
    let second = world.retrieve();
    assert_eq!(second.len(), 1);
    world.pass(SECOND);
    assert_eq!(world.retrieve_with(proof(1)), Err(Refused::Replayed));
    world.pass(3 * SECOND);
    assert!(world.expire());
    assert_eq!(world.messages.keys().copied().collect::<Vec<_>>(), second, "the first is gone");
    assert!(world.retrieve().is_empty());
}

#[test]
fn a_depositors_proof_hands_over_nothing() {
    let mut world = opened();
    stored(world.deposit(incoming(1, 1)));
    assert_eq!(world.note(proof(1), false), Ok(Noted::Done));
    world.crash();
    assert_eq!(world.retrieve_with(proof(1)), Err(Refused::Replayed));
    assert_eq!(world.note(proof(1), false), Ok(Noted::Done), "a deposit may be made twice");
    assert_eq!(world.retrieve().len(), 1);
    world.retrieve_with(proof(2)).unwrap();
    assert_eq!(world.note(proof(2), false), Err(Refused::DepositorInvalid));
}

#[test]
fn nothing_is_kept_of_a_mailbox_of_which_there_is_nothing_without_room_or_a_place() {
    let mut world = World::new();
    assert_eq!(world.try_deposit(incoming(1, 1), false), Some(Ok(Deposited::NeedsRoom)));
    assert_eq!(world.note(proof(1), false), Ok(Noted::NeedsRoom));
    assert_eq!(world.try_retrieve(proof(2), false), Some(Ok(Retrieved::NoPlace)));
    assert!(world.rows.is_empty() && world.messages.is_empty());
    assert_eq!(world.note(proof(1), true), Ok(Noted::Done));
    assert_eq!(world.retrieve_with(proof(1)), Err(Refused::Replayed));
    world.pass(62 * SECOND);
    assert!(world.expire() && world.rows.is_empty(), "it counts no more");
    // What waits is handed over without a place, but that opens nothing.
    stored(world.deposit(incoming(1, 1)));
    let Some(Ok(Retrieved::Messages { numbers, .. })) = world.try_retrieve(proof(3), false) else { panic!() };
    assert_eq!(numbers.len(), 1);
    world.pass(2 * 60 * SECOND);
    assert!(world.expire() && world.rows.is_empty() && world.messages.is_empty());
}

#[test]
fn an_unopened_mailbox_holds_little_for_a_day() {
    let mut world = World::new();
    for number in 0..UNOPENED_MESSAGES_MAX as u32 {
        stored(world.deposit(incoming(number, 1)));
    }
    assert_eq!(world.deposit(incoming(9, 2)), Err(Refused::Full));
    assert_eq!(world.try_deposit(incoming(0, 1), false).map(|it| matches!(it, Ok(Deposited::Held(_)))), Some(true));
    world.pass(DAY);
    assert!(world.expire() && world.messages.is_empty());
    assert_eq!(world.deposit(Incoming { size: UNOPENED_ROOM + 1, ..incoming(1, 1) }), Err(Refused::Full));
    stored(world.deposit(Incoming { size: UNOPENED_ROOM, ..incoming(1, 1) }));
}

#[test]
fn a_site_and_a_key_have_a_quarter_and_all_have_so_much() {
    let mut world = opened();
    let share = MESSAGES_MAX as u32 / 4;
    for number in 0..share {
        stored(world.deposit(incoming(number, 1)));
    }
    assert_eq!(world.deposit(incoming(1_000, 1)), Err(Refused::Full));
    let by = |number, site, key| Incoming { depositor: Some(mailbox_of(key)), ..incoming(number, site) };
    for number in share..2 * share {
        stored(world.deposit(by(number, 2 + u8::try_from(number % 2).unwrap(), 7)));
    }
    assert_eq!(world.deposit(by(1_000, 4, 7)), Err(Refused::Full), "one key from many sites");
    for number in 2 * share..4 * share {
        stored(world.deposit(by(
            number,
            4 + u8::try_from(number % 8).unwrap(),
            100 + u8::try_from(number % 100).unwrap(),
        )));
    }
    assert_eq!(world.deposit(incoming(1_000, 99)), Err(Refused::Full));
    assert_eq!(world.retrieve().len(), MESSAGES_MAX);
    // What was handed over is on the disk yet.
    for number in 1_000..1_000 + 4 * share {
        stored(world.deposit(incoming(number, u8::try_from(number % 100).unwrap())));
    }
    assert_eq!(world.retrieve().len(), MESSAGES_MAX);
    assert_eq!(world.deposit(incoming(2_000, 99)), Err(Refused::Full), "so much is there twice, and not three times");
    world.pass(62 * SECOND);
    stored(world.deposit(incoming(2_000, 99)));

    let mut world = opened();
    let large = |number, site| Incoming { size: ROOM / 8, ..incoming(number, site) };
    for number in 0..8 {
        stored(world.deposit(large(number, u8::try_from(number / 2).unwrap())));
    }
    assert_eq!(world.deposit(Incoming { size: 1, ..incoming(99, 20) }), Err(Refused::Full));
    world.retrieve();
    stored(world.deposit(large(10, 1)));
    stored(world.deposit(large(11, 1)));
    assert_eq!(world.deposit(Incoming { size: 1, ..incoming(99, 1) }), Err(Refused::Full), "bytes of one site");
}

#[test]
fn a_message_ends_when_it_says_and_a_mailbox_after_thirty_days() {
    let mut world = opened();
    stored(world.deposit(Incoming { lifetime: HOUR, ..incoming(1, 1) }));
    stored(world.deposit(incoming(2, 1)));
    world.pass(HOUR);
    assert_eq!(world.retrieve().len(), 1, "nobody has taken the other away yet");
    world.pass(23 * DAY);
    stored(world.deposit(incoming(3, 1)));
    world.pass(7 * DAY - HOUR);
    assert!(world.expire());
    assert!(world.rows.is_empty() && world.messages.len() == 1, "what waits is kept to its end");
    world.pass(HOUR);
    assert!(world.expire() && world.messages.is_empty());
}

#[test]
fn a_clock_that_was_ahead_loses_nothing_and_keeps_nothing_for_ever() {
    let mut world = opened();
    let right = world.now;
    world.pass(HOUR);
    stored(world.deposit(incoming(1, 1)));
    let first = world.retrieve_with(proof(1)).unwrap();
    stored(world.deposit(incoming(2, 1)));
    world.now = right;
    world.crash();
    assert_eq!(world.retrieve_with(proof(1)), Err(Refused::Replayed));
    let second = world.retrieve();
    assert!(second.len() == 1 && second > first, "numbers ascend all the same");
    world.now = right.after(400 * DAY);
    stored(world.deposit(incoming(3, 1)));
    world.retrieve_with(proof(3)).unwrap();
    stored(world.deposit(incoming(4, 1)));
    world.now = right;
    assert!(world.expire());
    assert!(world.messages.is_empty() && !world.rows.keys().any(|name| name.starts_with("proof")));
}

#[test]
fn no_more_proofs_are_remembered_than_there_may_be() {
    let mut world = opened();
    for number in 1..PROOFS_MAX as u32 {
        world.retrieve_with(proof(number)).unwrap();
    }
    assert_eq!(world.retrieve_with(proof(0)), Err(Refused::TooManyProofs));
    assert_eq!(world.note(proof(0), true), Err(Refused::TooManyProofs));
    assert_eq!(world.retrieve_with(proof(1)), Ok(vec![]));
    world.pass(62 * SECOND);
    assert_eq!(world.retrieve_with(proof(0)), Ok(vec![]));
}

#[test]
fn a_deposit_is_named_by_what_it_is() {
    let mut world = opened();
    let id = stored(world.deposit(incoming(1, 1)));
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'8'), "{id}");
    assert_eq!(
        world.deposit(incoming(1, 2)).map(|it| matches!(it, Deposited::Held(held) if held.to_string() == id)),
        Ok(true)
    );
    assert_ne!(stored(world.deposit(incoming(2, 1))), id);
    assert_eq!(world.retrieve().len(), 2);
    assert!(matches!(world.deposit(incoming(1, 1)), Ok(Deposited::Held(_))), "it was handed over just now");
    world.pass(62 * SECOND);
    assert_eq!(stored(world.deposit(incoming(1, 1))), id);
}

#[test]
fn what_is_left_in_unopened_mailboxes_is_counted_by_site_provider_and_in_all() {
    let mut rows = BTreeMap::new();
    let mut room = Room::restore(SECRET, []).unwrap();
    let mut write = |room: &mut Room| {
        for change in room.take_changes() {
            match change {
                Change::Put { name, row } => drop(rows.insert(name, row)),
                Change::Erase { name } => assert!(rows.remove(&name).is_some()),
                other => panic!("{other:?}"),
            }
        }
        *room = Room::restore(SECRET, rows.clone()).unwrap();
    };
    for _ in 0..UNOPENED_PER_SITE / 1_024 {
        room.take(START, network(1), 1).unwrap();
        write(&mut room);
    }
    assert_eq!(room.take(START, network(1), 1), Err(Refused::Full));
    let network = |provider: u8, site: u8| {
        let address = Some([10, provider, site, 1].into());
        rendezvous_protocol::network::Client { address, autonomous_system: None }.hand_over()
    };
    let sites = UNOPENED_IN_ALL / 4 / UNOPENED_PER_SITE;
    for provider in 1..5 {
        for site in 0..u8::try_from(sites).unwrap() {
            // The first of them is one short.
            let bytes = if (provider, site) == (1, 0) { 1_024 } else { UNOPENED_PER_SITE };
            let taken = room.take(START.after(HOUR), network(provider, site), bytes);
            assert_eq!(taken.is_ok(), (provider, site) != (4, 15) || sites != 16, "{provider} {site}");
        }
        assert_eq!(room.take(START.after(HOUR), network(provider, 200), UNOPENED_PER_SITE), Err(Refused::Full));
    }
    write(&mut room);
    assert_eq!(room.take(START.after(HOUR), network(9, 1), UNOPENED_PER_SITE), Err(Refused::Full), "in all");
    assert_eq!(room.next_deadline(), Some(START.after(DAY)));
    room.take(START.after(DAY), network(0, 1), UNOPENED_PER_SITE).unwrap();
    room.expire(START.after(DAY + HOUR));
    write(&mut room);
    assert!(!room.is_absent());
    room.expire(START.after(2 * DAY));
    write(&mut room);
    assert!(room.is_absent() && room.next_deadline().is_none());
    assert!(Room::restore(SECRET, [("site".to_owned(), "1 2 3".to_owned())]).is_err());
}
