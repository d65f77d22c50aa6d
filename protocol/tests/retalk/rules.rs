//! One rule a test, on a mailbox and a disk.

use std::time::Duration;

use rendezvous_protocol::retalk::refused::Refused;
use rendezvous_protocol::retalk::state::{Mailbox, NotStored, Reply, Sent};
use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::time::UnixMillis;
use serde_json::json;

use crate::world::{HOUR, OWNER, START, User, World, body, hex, unpadded};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

fn stored(sent: &Sent) -> u64 {
    match sent {
        Sent::Stored { number, .. } => *number,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_written_for_who_has_published_nothing() {
    let mut world = World::new();
    assert_eq!(world.send(User(1), 1, 1), Sent::NotStored(NotStored::MailboxUnknown));
    assert!(world.read().is_empty());
    let counted = world.ask(OWNER, "count_keys", &json!({}), 0);
    assert_eq!(counted, Ok(Reply::Counted { unclaimed: 0, has_fallback: false }));
    assert!(matches!(world.claim(User(1), 1), Err(Refused::UnknownPeer { .. })));
    let nack = json!({"hash": "ab".repeat(32), "sig": unpadded(&[0; 64])});
    assert_eq!(world.ask(OWNER, "nack", &nack, 0), Err(Refused::NotPublished));
    world.mailbox.correspond(world.now, User(1).id());
    assert_eq!(world.write(), 0);
    assert!(world.rows.is_empty() && world.messages.is_empty() && world.mailbox.next_deadline().is_none());
}

#[test]
fn a_request_is_served_once_also_after_a_crash() {
    let mut world = World::new();
    world.publish(0..3, Some(0));
    let send = world.next_request(
        User(1),
        "send_message",
        &json!({"to": OWNER.id().to_string(), "mtype": 1, "body": body(1)}),
    );
    let claim = world.next_request(User(1), "claim_key", &json!({"peer": OWNER.id().to_string()}));
    assert!(world.handle(&send, 1).is_ok() && world.handle(&claim, 1).is_ok());
    let read = world.next_request(OWNER, "read_messages", &json!({}));
    assert!(matches!(world.handle(&read, 0), Ok(Reply::Read(numbers)) if numbers.len() == 1));
    for crashes in [false, true] {
        if crashes {
            world.crash();
        }
        for request in [&send, &claim, &read] {
            assert_eq!(world.handle(request, 2), Err(Refused::Replayed));
        }
    }
    // A nonce is one user's.
    let other = User(2).request("claim_key", &json!({"peer": OWNER.id().to_string()}), world.now, 2);
    assert!(world.handle(&other, 2).is_ok());
}

#[test]
fn the_nonce_of_a_read_that_found_nothing_is_written_within_a_minute_and_erased_when_it_is_over() {
    let mut world = World::new();
    world.publish(0..1, None);
    let rows = world.rows.len();
    let read = world.next_request(OWNER, "read_messages", &json!({}));
    world.mailbox.handle(world.now, &read, crate::world::network(0)).unwrap();
    assert_eq!(world.write(), 0, "such reads come every other second");
    assert_eq!(world.mailbox.next_deadline(), Some(world.now.after(SECOND * 60)));
    world.pass(SECOND * 60);
    world.mailbox.expire(world.now);
    assert_eq!(world.write(), 1);
    world.crash();
    assert_eq!(world.handle(&read, 0), Err(Refused::Replayed));
    world.pass(SECOND * 91);
    assert_eq!(world.mailbox.next_deadline(), Some(world.now));
    world.mailbox.expire(world.now);
    world.write();
    assert_eq!(world.rows.len(), rows - 1, "that of the publication has ended, too");
}

#[test]
fn nonces_of_reads_that_found_nothing_are_written_and_erased_in_one_row() {
    let mut world = World::new();
    world.mailbox.write_nonces_within(SECOND * 9);
    world.publish(0..1, None);
    world.pass(SECOND * 200);
    world.mailbox.expire(world.now);
    world.write();
    let rows = world.rows.clone();
    let mut reads = Vec::new();
    for _ in 0..2 {
        for _ in 0..4 {
            reads.push(world.next_request(OWNER, "read_messages", &json!({})));
            world.mailbox.handle(world.now, reads.last().unwrap(), crate::world::network(0)).unwrap();
            assert_eq!(world.write(), 0);
            world.pass(SECOND * 2);
        }
        assert_eq!(world.mailbox.next_deadline(), Some(world.now.after(SECOND)));
        world.pass(SECOND);
        world.mailbox.expire(world.now);
        assert_eq!(world.write(), 1);
    }
    assert_eq!(world.rows.len(), rows.len() + 2);
    world.crash();
    for read in &reads {
        assert_eq!(world.handle(read, 0), Err(Refused::Replayed));
    }
    // A row goes with the last of its nonces.
    world.pass(SECOND * 138);
    world.mailbox.expire(world.now);
    assert_eq!(world.write(), 0);
    world.pass(SECOND);
    world.mailbox.expire(world.now);
    assert_eq!(world.write(), 1);
    world.crash();
    world.pass(SECOND * 9);
    assert_eq!(world.mailbox.next_deadline(), Some(world.now));
    world.mailbox.expire(world.now);
    assert_eq!(world.write(), 1);
    assert_eq!(world.rows, rows);
    for broken in ["-", "x", ""] {
        let rows = world.rows.iter().map(|(name, row)| (name.clone(), row.clone()));
        let rows = rows.chain([("nonces 3".to_owned(), broken.to_owned())]);
        assert!(Mailbox::restore(OWNER.id(), *world.mailbox.secret(), rows, []).is_err(), "{broken:?}");
    }
}

#[test]
fn each_nonce_ends_in_its_own_time_and_one_of_a_clock_that_was_ahead_with_that() {
    let mut world = World::new();
    world.publish(0..1, None);
    let [first, second] = [100, 100].map(|seconds| {
        world.pass(SECOND * seconds);
        let read = world.next_request(OWNER, "read_messages", &json!({}));
        assert!(world.handle(&read, 0).is_ok());
        read
    });
    world.pass(SECOND * 50);
    for request in [&first, &second] {
        assert_eq!(world.handle(request, 0), Err(Refused::Replayed), "151 s have not passed");
    }
    world.pass(SECOND);
    assert!(world.handle(&first, 0).is_ok(), "that it is stale, its reader has said before");
    assert_eq!(world.handle(&second, 0), Err(Refused::Replayed));
    world.now = UnixMillis::saturating(START.as_u64() - 200_000);
    assert_eq!(world.handle(&second, 0), Err(Refused::Replayed));
    world.pass(SECOND * 449);
    assert_eq!(world.handle(&second, 0), Err(Refused::Replayed));
    world.pass(SECOND);
    assert_eq!(world.handle(&second, 0), Ok(Reply::Read(Vec::new())), "nothing counts for longer from now");
}

#[test]
fn a_row_of_nonces_stays_while_any_of_them_counts_also_where_the_clock_was_set_back_and_the_relay_crashed() {
    let mut world = World::new();
    world.publish(0..1, None);
    let reads = [0, 8].map(|seconds| {
        world.pass(SECOND * seconds);
        let read = world.next_request(OWNER, "read_messages", &json!({}));
        world.mailbox.handle(world.now, &read, crate::world::network(0)).unwrap();
        read
    });
    world.pass(SECOND * 60);
    world.mailbox.expire(world.now);
    assert_eq!(world.write(), 1, "both in one row");
    // The second ends later now than a request of now may, the first does not.
    world.now = UnixMillis::saturating(START.as_u64() + 8_000 - 300_000);
    world.mailbox.expire(world.now);
    world.write();
    for crashes in [false, true] {
        if crashes {
            world.crash();
        }
        for read in &reads {
            assert_eq!(world.handle(read, 0), Err(Refused::Replayed), "crashed: {crashes}");
        }
    }
    // And goes with the last of them.
    world.pass(SECOND * 450);
    assert_eq!(world.mailbox.next_deadline(), Some(world.now));
    let rows = world.rows.len();
    world.mailbox.expire(world.now);
    world.write();
    assert_eq!(world.rows.len(), rows - 2, "with that of the publication");
}

#[test]
fn a_read_that_was_held_back_gets_nothing_that_came_later() {
    let mut world = World::new();
    world.publish(0..1, None);
    let read = world.next_request(OWNER, "read_messages", &json!({}));
    world.pass(SECOND * 30);
    let early = stored(&world.send(User(1), 1, 1));
    world.pass(SECOND * 2);
    let late = stored(&world.send(User(1), 2, 1));
    assert_eq!(world.handle(&read, 0), Ok(Reply::Read(vec![early])));
    assert_eq!(world.read(), [late]);
}

#[test]
fn reading_deletes_unless_it_is_asked_not_to_and_one_sender_may_be_chosen() {
    let mut world = World::new();
    world.publish(0..1, None);
    let numbers = [1, 2, 1].map(|user| {
        world.pass(SECOND);
        let number = world.now.as_u64();
        stored(&world.send(User(user), u32::try_from(number % 1_000_000).unwrap(), user))
    });
    assert!(numbers.is_sorted());
    let of = |user: u8| json!({"peer": User(user).id().to_string(), "peek": true});
    assert_eq!(world.ask(OWNER, "read_messages", &of(1), 0), Ok(Reply::Read(vec![numbers[0], numbers[2]])));
    assert_eq!(world.ask(OWNER, "read_messages", &json!({"peer": "nobody"}), 0), Ok(Reply::Read(Vec::new())));
    let second = json!({"peer": User(2).id().to_string()});
    assert_eq!(world.ask(OWNER, "read_messages", &second, 0), Ok(Reply::Read(vec![numbers[1]])));
    assert_eq!((world.read(), world.read()), (vec![numbers[0], numbers[2]], Vec::new()));
    assert!(world.messages.is_empty());
}

#[test]
fn the_same_message_is_the_same_while_it_waits_and_a_new_one_after_that() {
    let mut world = World::new();
    world.publish(0..1, None);
    let sent = world.send(User(1), 1, 1);
    let (number, at) = (stored(&sent), world.now);
    world.pass(HOUR);
    assert_eq!(world.send(User(1), 1, 1), Sent::Duplicate { number, at });
    assert!(stored(&world.send(User(2), 1, 2)) != number, "another's");
    world.read();
    assert!(stored(&world.send(User(1), 1, 1)) > number);
}

#[test]
fn a_sender_a_site_and_strangers_have_a_part_and_correspondents_the_rest() {
    let mut world = World::new();
    world.publish(0..1, None);
    for number in 0..32 {
        stored(&world.send(User(1), number, 1));
    }
    assert_eq!(world.send(User(1), 32, 1), Sent::NotStored(NotStored::SenderLimit));
    for (user, number) in (2..=4).flat_map(|user| (0..32).map(move |number| (user, number))) {
        stored(&world.send(User(user), number, 1));
    }
    assert_eq!(world.send(User(5), 0, 1), Sent::NotStored(NotStored::MailboxFull), "128 are of this site");
    for (user, number) in (5..=12).flat_map(|user| (0..32).map(move |number| (user, number))) {
        stored(&world.send(User(user), number, user));
    }
    assert_eq!(world.send(User(13), 0, 13), Sent::NotStored(NotStored::MailboxFull), "384 wait");
    world.mailbox.correspond(world.now, User(13).id());
    world.write();
    world.crash();
    for number in 0..32 {
        stored(&world.send(User(13), number, 13));
    }
    assert_eq!(world.send(User(14), 0, 14), Sent::NotStored(NotStored::MailboxFull));
    assert_eq!(world.read().len(), 416);
}

#[test]
fn strangers_who_use_up_what_a_mailbox_remembers_silence_no_correspondent() {
    let mut world = World::new();
    world.publish(0..2, Some(0));
    let throttled = Sent::NotStored(NotStored::Throttled);
    let mut number = 0;
    // 384 at a time, which the owner reads: twelve strangers, from as many sites.
    while world.send(User(100), number, 100) != throttled {
        number += 1;
        for _ in 0..31 {
            let _ = world.send(User(100), number, 100);
            number += 1;
        }
        for user in 101..112 {
            for _ in 0..32 {
                let _ = world.send(User(user), number, user);
                number += 1;
            }
        }
        world.read();
    }
    assert!(number > 4_096, "{number}");
    assert_eq!(world.send(User(1), 0, 1), throttled);
    for user in 1..=3 {
        world.mailbox.correspond(world.now, User(user).id());
    }
    world.write();
    world.crash();
    let mut is_fallback = |user: u8| world.claim(User(user), user).map(|(_, is_fallback)| is_fallback);
    assert_eq!([is_fallback(3), is_fallback(100)], [Ok(false), Ok(true)]);
    for user in 1..=2 {
        for number in 0..32 {
            stored(&world.send(User(user), number, user));
        }
        world.read();
        // Nor does one of them silence another.
        assert_eq!(world.send(User(user), 32, user), throttled);
    }
    assert_eq!(world.send(User(112), 0, 112), throttled);
    world.pass(SECOND * 302);
    stored(&world.send(User(112), 0, 112));
}

#[test]
fn bytes_have_the_same_parts() {
    let mut world = World::new();
    world.publish(0..1, None);
    let send = |world: &mut World, user: u8, site: u8, size: usize| {
        world.pass(SECOND);
        let number = u32::try_from(world.now.as_u64() % 1_000_000_000).unwrap();
        let text = body(number).replace('=', "A").repeat(size / 8);
        let args = json!({"to": OWNER.id().to_string(), "mtype": 1, "body": text});
        match world.ask(User(user), "send_message", &args, site) {
            Ok(Reply::Sent(sent)) => sent,
            other => panic!("{other:?}"),
        }
    };
    let large = 131_072;
    for _ in 0..4 {
        stored(&send(&mut world, 1, 1, large));
    }
    assert_eq!(send(&mut world, 1, 1, 8), Sent::NotStored(NotStored::SenderLimit), "an eighth of 4 MiB");
    for _ in 0..4 {
        stored(&send(&mut world, 2, 1, large));
    }
    assert_eq!(send(&mut world, 3, 1, 8), Sent::NotStored(NotStored::MailboxFull), "a quarter");
    for user in (3..7).flat_map(|user| [user; 4]) {
        stored(&send(&mut world, user, user, large));
    }
    assert_eq!(send(&mut world, 8, 8, 8), Sent::NotStored(NotStored::MailboxFull), "three quarters");
}

#[test]
fn one_time_keys_go_once_then_the_fallback_and_never_an_error_while_there_is_one() {
    let mut world = World::new();
    assert_eq!(world.publish(0..30, Some(1)), Reply::Published { one_time_keys_added: 30, is_fallback_set: true });
    let fallback = ("3-001".to_owned(), true);
    for number in 0..3 {
        assert_eq!(world.claim(User(1), 1), Ok((format!("2-{number:03}"), false)));
    }
    assert_eq!(world.claim(User(1), 2), Ok(fallback.clone()), "three of one user");
    for user in 2..9 {
        assert!(!world.claim(User(user), 1).unwrap().1);
    }
    assert_eq!(world.claim(User(9), 1), Ok(fallback.clone()), "ten of one site");
    assert!(!world.claim(User(9), 2).unwrap().1);
    world.crash();
    assert_eq!(world.claim(User(1), 3), Ok(fallback.clone()), "it is remembered");
    world.pass(HOUR);
    assert!(!world.claim(User(1), 1).unwrap().1);
    assert_eq!(world.publish(0..13, None), Reply::Published { one_time_keys_added: 0, is_fallback_set: false });
    let counted = world.ask(OWNER, "count_keys", &json!({}), 0);
    assert_eq!(counted, Ok(Reply::Counted { unclaimed: 18, has_fallback: true }));
    assert_eq!(world.publish(30..229, None), Reply::Published { one_time_keys_added: 182, is_fallback_set: false });

    let mut world = World::new();
    world.publish(0..1, None);
    assert!(world.claim(User(1), 1).is_ok());
    assert_eq!(world.claim(User(1), 1), Err(Refused::NoPrekey));
}

#[test]
fn a_body_that_is_refused_is_answered_with_the_recipients_signature_for_a_week() {
    let mut world = World::new();
    world.publish(0..1, None);
    let number = stored(&world.send(User(1), 7, 1));
    assert_eq!(world.read(), [number]);
    let hash = rendezvous_protocol::mailbox::bytes::ContentId::of(body(7).as_bytes()).0;
    let signature = unpadded(&[5; 64]);
    let nack = json!({"hash": hex(&hash), "sig": signature});
    assert_eq!(world.ask(OWNER, "nack", &nack, 0), Ok(Reply::BodyRefused));
    world.crash();
    let refused = Sent::BodyRefused { hash, signature };
    assert_eq!(world.send(User(1), 7, 1), refused);
    world.pass(DAY * 6);
    assert_eq!(world.ask(OWNER, "nack", &nack, 0), Ok(Reply::BodyRefused), "its time is renewed");
    world.pass(DAY * 6);
    assert_eq!(world.send(User(1), 7, 1), refused);
    world.pass(DAY);
    stored(&world.send(User(1), 7, 1));
}

#[test]
fn messages_end_after_a_week_and_a_mailbox_after_ninety_days_without_its_owner() {
    let mut world = World::new();
    world.publish(0..1, None);
    stored(&world.send(User(1), 1, 1));
    world.pass(DAY * 7);
    assert!(world.read().is_empty(), "it has ended, alarm or not");
    assert!(world.messages.is_empty());
    world.pass(DAY * 89);
    world.mailbox.expire(world.now);
    world.write();
    assert!(!world.mailbox.is_absent());
    world.pass(DAY);
    world.crash();
    world.mailbox.expire(world.now);
    world.write();
    assert!(world.mailbox.is_absent() && world.rows.is_empty());
}

#[test]
fn what_cannot_be_read_is_named_and_no_mailbox_is_made_of_the_rest() {
    let mut world = World::new();
    world.publish(0..2, Some(0));
    stored(&world.send(User(1), 1, 1));
    world.claim(User(1), 1).unwrap();
    world.mailbox.correspond(START, User(3).id());
    world.write();
    let restore = |rows: &std::collections::BTreeMap<String, String>, messages: Vec<(u64, String)>| {
        let secret = rendezvous_protocol::secret::Secret::from_bytes([9; 16]);
        rendezvous_protocol::retalk::state::Mailbox::restore(OWNER.id(), secret, rows.clone(), messages)
    };
    assert!(restore(&world.rows, Vec::new()).is_ok());
    for name in world.rows.keys() {
        let mut rows = world.rows.clone();
        rows.insert(name.clone(), "?".to_owned());
        let error = restore(&rows, Vec::new()).unwrap_err().to_string();
        assert!(error.contains(name.as_str()), "{error}");
    }
    let mut rows = world.rows.clone();
    rows.remove("keys");
    assert!(restore(&rows, Vec::new()).unwrap_err().to_string().contains("keys"));
    assert!(restore(&world.rows, vec![(5, "?".to_owned())]).unwrap_err().to_string().contains('5'));
    let mut rows = world.rows.clone();
    rows.insert("later".to_owned(), String::new());
    assert!(restore(&rows, Vec::new()).is_err(), "a row that nobody knows");
    assert!("0".repeat(31).parse::<UserId>().is_err());
}
