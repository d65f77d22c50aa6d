//! The rules one by one, where a literal says more than a model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::mailbox::limits::{SEALED_BYTES, STRUCK_OFF_MAX};
use rendezvous_protocol::mailbox::proof::{Proof, day_of};
use rendezvous_protocol::mailbox::record::{Close, Invite, Policy, Requests};
use rendezvous_protocol::mailbox::refused::Refused;
use rendezvous_protocol::mailbox::state::{Change, Collected, Deposited, Mailbox, Pending, RefusedSlot};
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::time::UnixMillis;

use crate::world::{
    CLOSED_TO_STRANGERS, DAY, Disk, HOUR, OPEN_TO_STRANGERS, Relay, SECRET, START, ack, address, at, card, claim, code,
    collect, content, deposit, network, origins, owner, policy, prekey, prekeys, question, reader, sender, trusted,
};

const SMALL: u32 = SEALED_BYTES[0];

fn contacts<const N: usize>(limits: [(u32, u8); N]) -> BTreeMap<u32, u8> {
    limits.into()
}

fn leave(relay: &mut Relay, now: UnixMillis, of: u32, sequence: u64) -> Result<Deposited, Refused> {
    let deposit = deposit(now, of, sequence, 0, SMALL, DAY);
    relay.call(|mailbox| mailbox.deposit(now, &deposit, None, network(1, 1)))
}

fn acknowledge(relay: &mut Relay, now: UnixMillis, of: u32, through: u64, missing: &[u64]) -> Result<usize, Refused> {
    let ack = ack(reader(), of, through, &missing.iter().copied().collect());
    relay.call(|mailbox| mailbox.acknowledge(now, &ack))
}

fn ask(relay: &mut Relay, now: UnixMillis, collector: u8, nonce: u64) -> Collected {
    let collect = collect(reader(), now, (collector, 100, 1 << 40), nonce);
    relay.call(|mailbox| mailbox.collect(now, &collect)).unwrap()
}

fn put(relay: &mut Relay, now: UnixMillis, revision: u64, limits: &BTreeMap<u32, u8>) -> Result<bool, Refused> {
    let (card, policy) = (card(revision, now, CLOSED_TO_STRANGERS), policy(revision, now, limits));
    relay.call(|mailbox| mailbox.put(now, card, policy, &origins(), SECRET))
}

fn close(relay: &mut Relay, now: UnixMillis, revision: u64) -> Result<(), Refused> {
    let close = trusted(&Close { mailbox: address(), revision }, owner());
    relay.call(|mailbox| mailbox.close(now, &close))
}

#[test]
fn asking_for_a_mailbox_that_does_not_exist_creates_nothing() {
    let mut relay = Relay::new();
    assert_eq!(leave(&mut relay, START, 0, 1), Err(Refused::MailboxUnknown));
    assert_eq!(acknowledge(&mut relay, START, 0, 1, &[]), Err(Refused::MailboxUnknown));
    let (claim, question) = (claim(0, START, 0), question(0, START));
    let (collect, prekeys) = (collect(owner(), START, (0, 1, 0), 0), prekeys(1, START, 0..1));
    relay.call(|mailbox| {
        assert_eq!(mailbox.card(START), Err(Refused::MailboxUnknown));
        assert_eq!(mailbox.claim(START, &claim, None, network(1, 1)), Err(Refused::MailboxUnknown));
        assert_eq!(mailbox.slot(START, &question), Err(Refused::MailboxUnknown));
        assert_eq!(mailbox.collect(START, &collect), Err(Refused::MailboxUnknown));
        assert_eq!(mailbox.put_prekeys(START, &prekeys), Err(Refused::MailboxUnknown));
        assert_eq!(mailbox.next_deadline(), None);
    });
    assert_eq!(close(&mut relay, START, 1), Err(Refused::MailboxUnknown));
    assert_eq!(relay.disk, Disk::default());
    assert!(relay.mailbox.is_absent());
}

#[test]
fn a_sender_gets_its_receipt_and_a_re_deposit_changes_nothing() {
    let mut relay = Relay::opened(&contacts([(0, 2)]), CLOSED_TO_STRANGERS);
    let ends_at = START.after(DAY);
    assert_eq!(
        leave(&mut relay, START, 0, 1),
        Ok(Deposited::Accepted { number: 1, unacknowledged: 1, limit: 2, ends_at })
    );
    let before = relay.disk.clone();
    assert_eq!(leave(&mut relay, START, 0, 1), Ok(Deposited::Duplicate { unacknowledged: 1, ends_at }));
    assert_eq!(relay.disk, before);
    assert_eq!(acknowledge(&mut relay, START, 0, 1, &[]), Ok(1));
    let ack = ack(reader(), 0, 1, &BTreeSet::new()).as_json().to_owned();
    assert_eq!(leave(&mut relay, START, 0, 1), Ok(Deposited::Acknowledged { ack: ack.clone() }));
    let question = question(0, START);
    let status = relay.call(|mailbox| mailbox.slot(START, &question)).unwrap();
    assert_eq!((status.ack, status.highest, status.unacknowledged, status.limit), (Some(ack), 1, 0, 2));
    // The same acknowledgement again writes nothing.
    let before = relay.disk.clone();
    assert_eq!(acknowledge(&mut relay, START, 0, 1, &[]), Ok(0));
    assert_eq!(relay.disk, before);
}

#[test]
fn what_ended_unread_is_said_to_have_ended_and_frees_its_number() {
    let mut relay = Relay::opened(&contacts([(0, 1)]), CLOSED_TO_STRANGERS);
    leave(&mut relay, START, 0, 1).unwrap();
    assert_eq!(code(&leave(&mut relay, START, 0, 2)), "UNACKNOWLEDGED_LIMIT");
    let later = START.after(DAY);
    assert_eq!(relay.mailbox.next_deadline(), Some(later));
    let again = deposit(later, 0, 1, 1, SMALL, DAY);
    assert_eq!(relay.call(|mailbox| mailbox.deposit(later, &again, None, network(1, 1))), Ok(Deposited::Ended));
    assert!(matches!(leave(&mut relay, later, 0, 2), Ok(Deposited::Accepted { number: 2, .. })));
    let question = question(0, later);
    assert_eq!(relay.call(|mailbox| mailbox.slot(later, &question)).unwrap().ack, None);
}

#[test]
fn a_refusal_says_what_it_waits_for_and_the_owner_hears_of_it() {
    let mut relay = Relay::opened(&contacts([(0, 2)]), CLOSED_TO_STRANGERS);
    for sequence in [1, 2] {
        leave(&mut relay, START, 0, sequence).unwrap();
    }
    acknowledge(&mut relay, START, 0, 2, &[1]).unwrap();
    // 1 and 3 are open: 1 waits.
    leave(&mut relay, START, 0, 3).unwrap();
    let refused = Refused::UnacknowledgedLimit { unacknowledged: 2, limit: 2, through: 2, missing: vec![1] };
    assert_eq!(leave(&mut relay, START, 0, 4), Err(refused));
    let refused = RefusedSlot { slot: sender(0), count: 1, since: START };
    let collected = ask(&mut relay, START, 0, 0);
    assert_eq!(collected.refused, [refused]);
    assert_eq!(collected.pending, Pending { messages: 2, bytes: 2 * u64::from(SMALL), requests: 0 });
    acknowledge(&mut relay, START, 0, 2, &[]).unwrap();
    assert_eq!(ask(&mut relay, START, 0, 1).refused, []);
    leave(&mut relay, START, 0, 4).unwrap();
}

#[test]
fn the_first_message_under_a_number_stands_and_nobody_keeps_anothers_out() {
    let mut relay = Relay::opened(&contacts([(0, 2), (1, 2)]), CLOSED_TO_STRANGERS);
    leave(&mut relay, START, 0, 1).unwrap();
    let second = deposit(START, 0, 1, 1, SMALL, DAY);
    let outcome = relay.call(|mailbox| mailbox.deposit(START, &second, None, network(1, 1)));
    assert_eq!(outcome, Err(Refused::SequenceTaken { content_id: content(0, 1, 0) }));
    // The very bytes that another slot left are taken from this one too.
    let mut payload = *deposit(START, 1, 1, 0, SMALL, DAY).payload();
    payload.content_id = content(0, 1, 0);
    let copy = trusted(&payload, sender(1));
    let outcome = relay.call(|mailbox| mailbox.deposit(START, &copy, None, network(1, 1)));
    assert!(matches!(outcome, Ok(Deposited::Accepted { number: 2, .. })));
}

#[test]
fn a_message_is_leased_to_one_collector_for_a_minute() {
    let mut relay = Relay::opened(&contacts([(0, 3)]), CLOSED_TO_STRANGERS);
    let now = at(Duration::from_millis(61_999));
    leave(&mut relay, now, 0, 1).unwrap();
    let first = ask(&mut relay, now, 1, 0);
    assert_eq!(first.lease_until, now.after(Duration::from_secs(60)));
    assert_eq!(first.messages[0].received_at, at(Duration::from_secs(60)));
    leave(&mut relay, now, 0, 2).unwrap();
    let numbers = |collected: &Collected| collected.messages.iter().map(|it| it.number).collect::<Vec<u64>>();
    assert_eq!(numbers(&ask(&mut relay, now, 2, 1)), [2]);
    assert_eq!(numbers(&ask(&mut relay, now, 1, 2)), [1]);
    relay.restart(now);
    assert_eq!(numbers(&ask(&mut relay, now, 3, 3)), [] as [u64; 0]);
    let over = now.after(Duration::from_secs(60));
    assert_eq!(numbers(&ask(&mut relay, over, 3, 4)), [1, 2]);
    // A clock that jumped back prolongs no lease beyond a minute.
    assert_eq!(numbers(&ask(&mut relay, START, 4, 5)), [] as [u64; 0]);
    assert_eq!(numbers(&ask(&mut relay, at(Duration::from_secs(60)), 4, 6)), [1, 2]);
}

#[test]
fn an_empty_poll_writes_nothing_and_one_large_message_blocks_nothing() {
    let mut relay = Relay::opened(&contacts([(0, 3)]), CLOSED_TO_STRANGERS);
    ask(&mut relay, START, 0, 0);
    let before = relay.disk.clone();
    assert_eq!(ask(&mut relay, START, 0, 1).messages, []);
    assert_eq!(relay.disk, before);
    let large = deposit(START, 0, 1, 0, SEALED_BYTES[3], DAY);
    relay.call(|mailbox| mailbox.deposit(START, &large, None, network(1, 1))).unwrap();
    let tiny = collect(reader(), START, (0, 100, 1), 2);
    let collected = relay.call(|mailbox| mailbox.collect(START, &tiny)).unwrap();
    assert_eq!((collected.messages.len(), collected.more), (1, false));
    assert_eq!(relay.call(|mailbox| mailbox.collect(START, &tiny)), Err(Refused::Replayed));
    let of_stranger = collect(sender(7), START, (0, 1, 0), 3);
    assert_eq!(relay.call(|mailbox| mailbox.collect(START, &of_stranger)), Err(Refused::NotAReader));
}

#[test]
fn a_mailbox_grows_after_collects_on_three_days() {
    let mut relay = Relay::opened(&contacts([(0, 3)]), CLOSED_TO_STRANGERS);
    let large = |now, sequence| deposit(now, 0, sequence, 0, SEALED_BYTES[3], DAY * 3);
    let leave = |relay: &mut Relay, now, sequence| {
        let deposit = large(now, sequence);
        code(&relay.call(|mailbox| mailbox.deposit(now, &deposit, None, network(1, 1))))
    };
    assert_eq!(leave(&mut relay, START, 1), "ok");
    assert_eq!(leave(&mut relay, START, 2), "MAILBOX_FULL");
    for day in 0..3 {
        ask(&mut relay, START.after(DAY * day), 0, u64::from(day));
        relay.restart(START.after(DAY * day));
    }
    assert_eq!(leave(&mut relay, START.after(DAY * 2), 2), "ok");
}

#[test]
fn a_slot_leaves_eight_times_its_limit_in_a_day() {
    let mut relay = Relay::opened(&contacts([(0, 1)]), CLOSED_TO_STRANGERS);
    for sequence in 1..=8 {
        leave(&mut relay, START, 0, sequence).unwrap();
        acknowledge(&mut relay, START, 0, sequence, &[]).unwrap();
        relay.restart(START);
    }
    assert_eq!(leave(&mut relay, at(HOUR), 0, 9), Err(Refused::TooManyDeposits { retry_after: HOUR * 23 }));
    assert_eq!(code(&leave(&mut relay, at(DAY), 0, 9)), "ok");
}

#[test]
fn a_clock_that_was_ahead_uses_up_no_other_day() {
    let mut relay = Relay::opened(&contacts([(0, 1)]), CLOSED_TO_STRANGERS);
    let ahead = START.after(DAY * 2);
    let exchange = |relay: &mut Relay, now, sequence| {
        let left = leave(relay, now, 0, sequence);
        acknowledge(relay, now, 0, sequence, &[]).unwrap();
        left
    };
    for sequence in 1..=8 {
        exchange(&mut relay, ahead, sequence).unwrap();
    }
    assert_eq!(code(&leave(&mut relay, ahead, 0, 9)), "THROTTLED");
    // Set right, the clock counts a day of its own, which is bounded as any other.
    for sequence in 9..=16 {
        relay.restart(START);
        exchange(&mut relay, START, sequence).unwrap();
    }
    assert_eq!(leave(&mut relay, START, 0, 17), Err(Refused::TooManyDeposits { retry_after: DAY }));
}

#[test]
fn acknowledgements_of_slots_that_are_not_listed_are_not_kept() {
    let mut relay = Relay::opened(&contacts([]), OPEN_TO_STRANGERS);
    leave(&mut relay, START, 7, 1).unwrap();
    assert_eq!(acknowledge(&mut relay, START, 7, 1, &[]), Ok(1));
    assert_eq!(relay.disk.rows.keys().collect::<Vec<_>>(), ["open"]);
    let question = question(7, START);
    assert_eq!(relay.call(|mailbox| mailbox.slot(START, &question)), Err(Refused::SlotUnknown));
    // So the very same request comes in again.
    assert_eq!(code(&leave(&mut relay, START, 7, 1)), "ok");
}

#[test]
fn more_missing_than_may_wait_is_refused() {
    let mut relay = Relay::opened(&contacts([(0, 1)]), CLOSED_TO_STRANGERS);
    assert_eq!(acknowledge(&mut relay, START, 0, 3, &[1, 2]), Err(Refused::TooManyMissing { limit: 1 }));
    assert_eq!(acknowledge(&mut relay, START, 0, 3, &[2]), Ok(0));
}

#[test]
fn a_request_needs_an_open_mailbox_a_proof_and_a_small_message() {
    let requests = Requests { difficulty: 8, open: true };
    let mut relay = Relay::opened(&contacts([(0, 1)]), requests);
    let day = day_of(START);
    let request = deposit(START, 7, 1, 0, SMALL, DAY);
    let mut leave = |deposit: &_, proof| relay.call(|mailbox| mailbox.deposit(START, deposit, proof, network(1, 1)));
    assert_eq!(leave(&request, None), Err(Refused::ProofRequired { difficulty: 8, day }));
    let solve = |subject: String| {
        (0..).map(|solution| Proof { day, solution }).find(|proof| proof.holds(address(), &subject, 8, START))
    };
    let proof = solve(content(7, 1, 0).to_string());
    assert_eq!(code(&leave(&deposit(START, 7, 1, 1, SMALL, DAY), proof)), "PROOF_REQUIRED");
    let large = deposit(START, 7, 2, 0, SEALED_BYTES[2], DAY);
    assert_eq!(leave(&large, solve(content(7, 2, 0).to_string())), Err(Refused::RequestTooLarge));
    assert_eq!(code(&leave(&request, proof)), "ok");
    let third = deposit(START, 7, 3, 0, SMALL, DAY);
    assert_eq!(code(&leave(&third, solve(content(7, 3, 0).to_string()))), "UNACKNOWLEDGED_LIMIT");
    // Once listed, the stranger is a contact, and its message that of one.
    assert_eq!(ask(&mut relay, START, 0, 0).pending.requests, 1);
    put(&mut relay, START, 2, &contacts([(0, 1), (7, 1)])).unwrap();
    let collected = ask(&mut relay, START, 0, 1);
    assert_eq!((collected.pending.requests, collected.messages[0].is_request), (0, false));
    let closed = deposit(START, 8, 1, 0, SMALL, DAY);
    assert_eq!(relay.call(|mailbox| mailbox.deposit(START, &closed, None, network(1, 1))), Err(Refused::SlotUnknown));
}

#[test]
fn revisions_go_upward_and_what_is_struck_off_never_comes_back() {
    let mut relay = Relay::opened(&contacts([(0, 2), (1, 2)]), CLOSED_TO_STRANGERS);
    leave(&mut relay, START, 0, 1).unwrap();
    leave(&mut relay, START, 1, 1).unwrap();
    acknowledge(&mut relay, START, 0, 1, &[]).unwrap();
    let stands = Some(card(1, START, CLOSED_TO_STRANGERS).as_json().to_owned());
    assert_eq!(
        put(&mut relay, at(HOUR), 1, &contacts([])),
        Err(Refused::StaleRevision { standing: 1, record: stands })
    );
    assert_eq!(put(&mut relay, START, 2, &contacts([(1, 2)])), Ok(false));
    assert_eq!(relay.disk.rows.keys().collect::<Vec<_>>(), ["open"], "the slot's row went with it");
    assert_eq!(put(&mut relay, START, 3, &contacts([(0, 2)])), Err(Refused::SlotStruckOff { key: sender(0) }));
    assert_eq!(leave(&mut relay, START, 0, 2), Err(Refused::SlotUnknown));
    // What waits of a contact that is struck off is handed over all the same.
    assert_eq!(put(&mut relay, START, 4, &contacts([])), Ok(false));
    assert_eq!(ask(&mut relay, START, 0, 0).messages.len(), 1);
    let elsewhere = [Origin::parse("https://other.example").unwrap()];
    let (card, policy) = (card(5, START, CLOSED_TO_STRANGERS), policy(5, START, &contacts([])));
    assert_eq!(
        relay.call(|mailbox| mailbox.put(START, card, policy, &elsewhere, SECRET)),
        Err(Refused::RelayNotListed)
    );
}

#[test]
fn keys_are_struck_off_as_long_as_all_are_remembered() {
    let mut relay = Relay::opened(&contacts([]), CLOSED_TO_STRANGERS);
    let mut revision = 1;
    for round in 0..=(STRUCK_OFF_MAX as u32 / 256) {
        let many = (0..256).map(|number| (round * 256 + number, 1)).collect();
        revision += 1;
        let outcome = put(&mut relay, START, revision, &many);
        // The last round lists more, which would strike the round before off; then there is no more room.
        assert_eq!(outcome, Ok(false), "{round}");
    }
    assert_eq!(put(&mut relay, START, revision + 1, &contacts([])), Err(Refused::StruckOffFull));
}

#[test]
fn card_policy_and_invites_count_inside_their_time() {
    let mut relay = Relay::new();
    let card = card(1, START, OPEN_TO_STRANGERS);
    let key = sender(5);
    let policy = Policy {
        contacts: Vec::new(),
        expires_at: START.after(DAY * 2),
        invites: vec![Invite { expires_at: START.after(DAY), key, limit: 2 }],
        issued_at: START,
        mailbox: address(),
        revision: 1,
    };
    let policy = trusted(&policy, owner());
    relay.call(|mailbox| mailbox.put(START, card.clone(), policy, &origins(), SECRET)).unwrap();
    assert!(matches!(leave(&mut relay, START, 5, 1), Ok(Deposited::Accepted { limit: 2, .. })));
    assert_eq!(leave(&mut relay, START.after(DAY), 5, 2), Err(Refused::SlotUnknown));
    relay.call(|mailbox| assert_eq!(mailbox.card(START), Ok(card.as_json())));
    // The reader of a card that has ended reads nothing, its owner does, and strangers write nothing.
    let later = START.after(DAY * 89);
    let by = |key: PublicKey, nonce| collect(key, later, (0, 1, 0), nonce);
    assert_eq!(relay.call(|mailbox| mailbox.collect(later, &by(owner(), 0))).map(|it| it.messages.len()), Ok(0));
    let later = START.after(DAY * 90);
    let by_reader = collect(reader(), later, (0, 1, 0), 1);
    assert_eq!(relay.call(|mailbox| mailbox.collect(later, &by_reader)), Err(Refused::NotAReader));
    assert_eq!(relay.call(|mailbox| mailbox.card(later).map(str::to_owned)), Err(Refused::MailboxUnknown));
    assert_eq!(leave(&mut relay, later, 9, 1), Err(Refused::SlotUnknown));
}

#[test]
fn a_closed_mailbox_says_so_for_a_month_and_is_remembered_for_three() {
    let mut relay = Relay::opened(&contacts([(0, 2)]), CLOSED_TO_STRANGERS);
    leave(&mut relay, START, 0, 1).unwrap();
    ask(&mut relay, START, 0, 0);
    let first_prekeys = prekeys(7, START, 0..3);
    relay.call(|mailbox| mailbox.put_prekeys(START, &first_prekeys)).unwrap();
    assert_eq!(close(&mut relay, START, 7), Err(Refused::StaleRevision { standing: 7, record: None }));
    assert_eq!(close(&mut relay, START, 8), Ok(()));
    assert_eq!(close(&mut relay, START, 8), Ok(()), "the same once more");
    assert_eq!(relay.disk.rows.keys().collect::<Vec<_>>(), ["closed"]);
    assert!(relay.disk.messages.is_empty());
    assert_eq!(leave(&mut relay, START, 0, 1), Err(Refused::MailboxClosed));
    let month = START.after(DAY * 30);
    assert_eq!(leave(&mut relay, month, 0, 1), Err(Refused::MailboxUnknown));
    // Nothing from before rises again: neither records nor prekeys.
    assert_eq!(put(&mut relay, month, 8, &contacts([])), Err(Refused::StaleRevision { standing: 8, record: None }));
    assert_eq!(relay.mailbox.next_deadline(), Some(START.after(DAY * 90)));
    let mut reopened = Relay { mailbox: relay.disk.restore(month), disk: relay.disk.clone() };
    assert_eq!(put(&mut reopened, month, 9, &contacts([])), Ok(true));
    reopened.restart(month);
    assert_eq!(code(&reopened.call(|mailbox| mailbox.put_prekeys(month, &first_prekeys))), "STALE_REVISION");
    relay.call(|mailbox| mailbox.expire(START.after(DAY * 90)));
    assert_eq!(relay.disk, Disk::default());
    assert!(relay.mailbox.is_absent());
}

#[test]
fn a_crash_leaves_a_mailbox_open_or_closed_and_nothing_in_between() {
    let mut relay = Relay::opened(&contacts([(0, 4), (1, 4)]), CLOSED_TO_STRANGERS);
    for of in [0, 1] {
        for sequence in 1..=3 {
            leave(&mut relay, START, of, sequence).unwrap();
        }
        acknowledge(&mut relay, START, of, 1, &[]).unwrap();
    }
    ask(&mut relay, START, 0, 0);
    let keys = prekeys(1, START, 0..3);
    relay.call(|mailbox| mailbox.put_prekeys(START, &keys)).unwrap();
    let open = relay.disk;
    let lapsed = START.after(DAY * 90);
    let signed = trusted(&Close { mailbox: address(), revision: 2 }, owner());
    for now in [START, lapsed] {
        let end = |mailbox: &mut Mailbox| {
            if now == START {
                return mailbox.close(now, &signed);
            }
            mailbox.expire(now);
            Ok(())
        };
        let mut restored = open.restore(START);
        assert_eq!(end(&mut restored), Ok(()));
        let writes = restored.take_changes().len();
        assert_eq!(writes, 2 + 4 + 2 + 1 + 1, "closed and open, messages, slots, prekeys, leases");
        for crash_after in 0..=writes {
            let mut relay = Relay { mailbox: open.restore(START), disk: open.clone() };
            let answer = relay.call_and_crash(START, crash_after, end);
            if crash_after == 0 {
                assert_eq!(relay.disk, open);
                continue;
            }
            assert_eq!(answer, (crash_after == writes).then_some(Ok(())));
            assert_eq!(relay.disk.rows.keys().collect::<Vec<_>>(), ["closed"], "{crash_after}");
            assert!(relay.disk.messages.is_empty());
            // Opened again, with a crash after each write, it has nothing of what was before.
            for crash_after in 0..3 {
                let disk = relay.disk.clone();
                let mut relay = Relay { mailbox: disk.restore(now), disk };
                let (card, policy) = (card(3, now, CLOSED_TO_STRANGERS), policy(3, now, &contacts([(0, 4)])));
                relay.call_and_crash(now, crash_after, |mailbox| mailbox.put(now, card, policy, &origins(), SECRET));
                let expected = if crash_after == 0 { "closed" } else { "open" };
                assert_eq!(relay.disk.rows.keys().collect::<Vec<_>>(), [expected], "{crash_after}");
            }
        }
    }
}

#[test]
fn a_mailbox_that_nobody_collects_from_lapses() {
    let mut relay = Relay::opened(&contacts([(0, 2)]), CLOSED_TO_STRANGERS);
    ask(&mut relay, START.after(DAY), 0, 0);
    let lapsed = START.after(DAY * 91);
    assert_eq!(relay.mailbox.next_deadline(), Some(lapsed));
    assert_eq!(leave(&mut relay, lapsed, 0, 1), Err(Refused::MailboxUnknown));
    assert_eq!(relay.disk.rows.keys().collect::<Vec<_>>(), ["closed"]);
    assert_eq!(code(&put(&mut relay, lapsed, 1, &contacts([]))), "STALE_REVISION");
    assert_eq!(put(&mut relay, lapsed, 2, &contacts([])), Ok(true));
}

#[test]
fn strangers_get_the_fallback_alone() {
    let mut relay = Relay::opened(&contacts([(0, 2)]), OPEN_TO_STRANGERS);
    let ask = |relay: &mut Relay, of: u32, nonce| {
        let claim = claim(of, START, nonce);
        relay.call(|mailbox| mailbox.claim(START, &claim, None, network(1, 1)))
    };
    assert_eq!(ask(&mut relay, 0, 0), Err(Refused::PrekeysUnknown));
    let first = prekeys(1, START, 0..5);
    assert_eq!(relay.call(|mailbox| mailbox.put_prekeys(START, &first)), Ok(5));
    assert_eq!(relay.call(|mailbox| mailbox.put_prekeys(START, &first)), Ok(5), "the same once more");
    assert_eq!(ask(&mut relay, 7, 1).unwrap().one_time, None);
    // The oldest first, and the same claim gets no second one.
    assert_eq!(ask(&mut relay, 0, 2).unwrap().one_time, Some(prekey(0)));
    assert_eq!(ask(&mut relay, 0, 2).unwrap().one_time, None);
    assert_eq!(ask(&mut relay, 0, 3).unwrap().one_time, Some(prekey(1)));
    // What was served does not come back with the owner's next keys.
    let next = prekeys(2, START, 0..6);
    assert_eq!(relay.call(|mailbox| mailbox.put_prekeys(START, &next)), Ok(4));
    let ended = START.after(DAY * 90);
    let late = claim(0, ended, 4);
    let outcome = relay.call(|mailbox| {
        mailbox.expire(START);
        mailbox.claim(START.after(DAY * 89), &late, None, network(1, 1))
    });
    assert_eq!(outcome.unwrap().fallback, prekey(u64::MAX));
    put(&mut relay, START, 2, &contacts([])).unwrap();
    assert_eq!(ask(&mut relay, 7, 5), Err(Refused::SlotUnknown));
}

#[test]
fn a_record_of_another_mailbox_is_refused() {
    let mut relay = Relay::opened(&contacts([(0, 2)]), CLOSED_TO_STRANGERS);
    let mut payload = *deposit(START, 0, 1, 0, SMALL, DAY).payload();
    payload.mailbox = Address::of(&sender(1));
    let other = trusted(&payload, sender(0));
    let outcome = relay.call(|mailbox| mailbox.deposit(START, &other, None, network(1, 1)));
    assert_eq!(outcome, Err(Refused::OtherMailbox));
}

/// What is stored is pinned, so that a later version reads it.
#[test]
fn rows_are_pinned() {
    let mut relay = Relay::opened(&contacts([(0, 2)]), OPEN_TO_STRANGERS);
    leave(&mut relay, START, 0, 1).unwrap();
    leave(&mut relay, START, 0, 2).unwrap();
    leave(&mut relay, START, 7, 1).unwrap();
    ask(&mut relay, START, 6, 0);
    acknowledge(&mut relay, START, 0, 1, &[]).unwrap();
    let keys = prekeys(1, START, 0..2);
    relay.call(|mailbox| mailbox.put_prekeys(START, &keys)).unwrap();
    let asked = claim(0, START, 1);
    relay.call(|mailbox| mailbox.claim(START, &asked, None, network(1, 1))).unwrap();
    let quoted = |json: &str| serde_json::to_string(json).unwrap();
    let [card, policy] =
        [quoted(card(1, START, OPEN_TO_STRANGERS).as_json()), quoted(policy(1, START, &contacts([(0, 2)])).as_json())];
    let key = sender(0);
    let ack = quoted(ack(reader(), 0, 1, &BTreeSet::new()).as_json());
    let open = format!(
        r#"{{"above":0,"card":{card},"collectDays":1,"collectedOn":19676,"policy":{policy},"secret":"CQkJCQkJCQkJCQkJCQkJCQ==","struckOff":[]}}"#
    );
    assert_eq!(relay.disk.rows["open"], open);
    assert_eq!(
        relay.disk.rows["leases"],
        r#"{"leases":[{"collector":"BgYGBgYGBgYGBgYGBgYGBg==","numbers":[1,2,3],"until":1700006460000}]}"#
    );
    assert_eq!(
        relay.disk.rows[&format!("slot {key}")],
        format!(
            r#"{{"ack":{ack},"day":19676,"deposits":1,"refused":0,"window":{{"acknowledged":{{"missing":[],"through":1}},"gone":{{"missing":[],"through":1}}}}}}"#
        )
    );
    let id = content(0, 2, 0);
    assert_eq!(
        relay.disk.messages[&2],
        format!(
            r#"{{"contentId":"{id}","endsAt":1700092800000,"receivedAt":1700006400000,"sequence":2,"size":2048,"slot":"{key}"}}"#
        )
    );
    let prekeys = &relay.disk.rows["prekeys"];
    for part in [
        r#"{"claims":[{"at":1700006400000,"key":""#,
        r#","oneTime":[{"id":"1","key":""#,
        r#","served":["AAAAAAAAAAA="],"#,
    ] {
        assert!(prekeys.contains(part), "{prekeys}");
    }
    close(&mut relay, START, 2).unwrap();
    assert_eq!(relay.disk.rows["closed"], r#"{"closedAt":1700006400000,"lapsed":false,"revision":2}"#);
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let mut relay = Relay::opened(&contacts([(0, 2)]), CLOSED_TO_STRANGERS);
    leave(&mut relay, START, 0, 1).unwrap();
    acknowledge(&mut relay, START, 0, 1, &[]).unwrap();
    leave(&mut relay, START, 0, 2).unwrap();
    ask(&mut relay, START, 0, 0);
    let keys = prekeys(1, START, 0..2);
    relay.call(|mailbox| mailbox.put_prekeys(START, &keys)).unwrap();
    let restore = |disk: &Disk| Mailbox::restore(address(), START, disk.rows.clone(), disk.messages.clone());
    assert!(restore(&relay.disk).is_ok());
    for name in relay.disk.rows.keys() {
        for row in ["", "{}", "null"] {
            let mut disk = relay.disk.clone();
            disk.rows.insert(name.clone(), row.to_owned());
            let error = restore(&disk).unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }
    for (name, row) in [("", "{}"), ("slots", "{}"), ("slot x", "{}"), ("closed", r#"{"closedAt":-1}"#)] {
        let mut disk = relay.disk.clone();
        disk.rows.insert(name.to_owned(), row.to_owned());
        assert!(restore(&disk).is_err(), "{name}");
    }
    let slot = format!("slot {}", sender(0));
    for window in [r#""missing":[5],"through":1"#, r#""missing":[2,1],"through":3"#, r#""missing":[0],"through":3"#] {
        let mut disk = relay.disk.clone();
        let row = disk.rows[&slot].replace(r#""missing":[],"through":1"#, window);
        disk.rows.insert(slot.clone(), row);
        assert!(restore(&disk).is_err(), "{window}");
    }
    let mut disk = relay.disk.clone();
    disk.messages.insert(2, "{}".to_owned());
    assert!(restore(&disk).unwrap_err().to_string().contains("message 2"));
}

#[test]
fn what_frees_a_number_is_written_before_its_message_goes() {
    let mut relay = Relay::opened(&contacts([(0, 2)]), CLOSED_TO_STRANGERS);
    leave(&mut relay, START, 0, 1).unwrap();
    let ack = ack(owner(), 0, 1, &BTreeSet::new());
    assert_eq!(relay.mailbox.acknowledge(START, &ack), Ok(1));
    let changes = relay.mailbox.take_changes();
    let name = format!("slot {}", sender(0));
    assert!(matches!(
        &changes[..],
        [Change::Put { name: first, .. }, Change::EraseMessage { number: 1 }] if *first == name
    ));
}
