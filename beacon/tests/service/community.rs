//! When an object writes, erases, is woken and has a timer; what it makes of what it finds.

use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::limits::{
    ANSWER_MAX_BYTES, DATA_MAX_BYTES, KEPT_LISTS_MAX_BYTES, NONCE_MAX_BYTES, PEER_ID_MAX_BYTES, ROSTER_CAPACITY,
    SNAPSHOT_LOSS, TICKET_MAX_BYTES, USER_ID_MAX_BYTES,
};
use rendezvous_protocol::network::{Client, read_address};
use rendezvous_protocol::peer_list::PeerList;
use rendezvous_protocol::roster::Excluded;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Nonce, PeerData, PeerId, Purpose, UserId, VerifiedTicket};
use rendezvous_protocol::upkeep::{SNAPSHOT_BURST, SNAPSHOT_INTERVAL};
use rendezvous_service::answer::{Answer, Content};
use rendezvous_service::call::{Call, CallError, Handed};
use rendezvous_service::community::{CommunityObject, Effects, Found};
use rendezvous_service::note::{Details, Note};
use serde_json::json;

use crate::host::{Peer, at, config, json, problem};

const PEERS: [&str; 12] = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal", "ida", "jim", "kay", "leo"];

fn peer(number: usize) -> Peer {
    Peer(PEERS[number], number as u8 + 1)
}

fn ticket(peer: Peer, issued_at: u64) -> String {
    peer.unsigned(issued_at, |_| {})
}

fn goodbye(peer: Peer, issued_at: u64) -> String {
    peer.unsigned(issued_at, |payload| payload.purpose = Purpose::Leave)
}

fn restore(now: u64, is_open: bool, found: Found) -> (CommunityObject, Effects) {
    CommunityObject::restore(at(now), &config(&[]), is_open, found, Secret::from_bytes([9; 16]))
}

fn new(is_open: bool) -> CommunityObject {
    let (object, effects) = restore(0, is_open, Found::nothing());
    assert_eq!(effects, Effects::default(), "starting costs nothing");
    object
}

fn stored(text: &str) -> Found {
    Found { stored: Ok(Some(text.to_owned())), ..Found::nothing() }
}

fn call(ticket: &str, purpose: Purpose, address: &str) -> Call {
    Call::Ticket(Box::new(Handed {
        community: "mainnet".parse().unwrap(),
        network: Client { address: read_address(address), autonomous_system: None }.hand_over(),
        ticket: VerifiedTicket::trusted(ticket, purpose).unwrap(),
    }))
}

fn announce_from(object: &mut CommunityObject, now: u64, peer: Peer, address: &str) -> (Answer, Effects) {
    object.handle(at(now), call(&ticket(peer, now), Purpose::Presence, address), 0)
}

fn announce(object: &mut CommunityObject, now: u64, peer: Peer) -> (Answer, Effects) {
    announce_from(object, now, peer, "192.0.2.1")
}

fn leave(object: &mut CommunityObject, now: u64, peer: Peer) -> (Answer, Effects) {
    object.handle(at(now), call(&goodbye(peer, now), Purpose::Leave, "192.0.2.1"), 0)
}

/// The tickets that an object would hand out.
fn listed(object: &mut CommunityObject, now: u64) -> Vec<String> {
    let (answer, _) = object.handle(at(now), Call::List, 0);
    assert_eq!((answer.status, answer.content, &answer.headers[..]), (200, Content::Json, &[][..]));
    let mut list = PeerList::decode(&answer.body).unwrap();
    list.expire(at(now));
    let peers = format!("[{}]", list.answer(200, Excluded::Nobody).peers);
    let peers: Vec<serde_json::Value> = serde_json::from_str(&peers).unwrap();
    let mut tickets: Vec<_> = peers.iter().map(ToString::to_string).collect();
    tickets.sort();
    tickets
}

#[test]
fn what_changes_after_a_quiet_time_is_written_before_the_answer_goes_out() {
    let mut object = new(false);
    let (answer, effects) = announce(&mut object, 0, peer(0));
    assert_eq!(answer.status, 200);
    let Effects { write: Some(text), .. } = &effects else { panic!("{effects:?}") };
    let expected = Effects {
        write: Some(text.clone()),
        erase: None,
        // Nothing is to be tidied up before the ticket has ended.
        wake_at: Some(at(180_000)),
        timer: None,
        push_after: None,
        attach: Vec::new(),
        push: Vec::new(),
        notes: Vec::new(),
    };
    assert_eq!(effects, expected);
    let (mut restored, effects) = restore(1, false, stored(text));
    let note = Note::info("roster_restored", Details { peers: Some(1), ..Details::default() });
    assert_eq!(effects, Effects { notes: vec![note], ..Effects::default() });
    assert_eq!(listed(&mut restored, 1), listed(&mut object, 1));
    let (early, effects) = announce(&mut restored, 2, peer(0));
    assert_eq!((problem(&early), effects), ((429, "ANNOUNCE_TOO_SOON".to_owned()), Effects::default()));
}

#[test]
fn what_changes_nothing_is_not_written_and_wakes_nobody() {
    let mut object = new(false);
    let (answer, effects) = object.handle(at(0), Call::List, 0);
    assert_eq!((answer.status, effects), (200, Effects::default()));
    let repeated = ticket(peer(0), 0);
    let _ = announce(&mut object, 0, peer(0));
    for (ticket, purpose) in [
        (repeated, Purpose::Presence),
        (ticket(peer(0), 1), Purpose::Presence),
        (peer(0).unsigned(0, |payload| payload.expires_at = at(9)), Purpose::Presence),
        (goodbye(peer(0), 0), Purpose::Leave),
    ] {
        let (_, effects) = object.handle(at(1), call(&ticket, purpose, "192.0.2.1"), 0);
        assert_eq!(effects, Effects::default(), "{ticket}");
    }
    let (answer, effects) = leave(&mut object, 2, peer(0));
    assert_eq!(json(&answer)["left"], true);
    assert!(effects.timer.is_some(), "a goodbye is remembered");
    let (answer, effects) = leave(&mut new(false), 0, peer(0));
    assert_eq!(json(&answer)["left"], false);
    assert!(effects.write.is_some(), "also one of whom nobody has heard");
}

#[test]
fn a_newcomer_without_a_place_gets_the_list_and_the_usual_pace_and_nothing_is_stored() {
    let mut object = new(false);
    let peers = |number| Peer("ann", number);
    for number in 0..200 {
        assert_eq!(json(&announce(&mut object, number.into(), peers(number)).0)["listed"], true);
    }
    let (answer, effects) = announce(&mut object, 200, peers(200));
    let fields = json(&answer);
    assert_eq!((answer.status, &fields["ok"]), (200, &json!(true)));
    assert_eq!((&fields["accepted"], &fields["listed"], &fields["total"]), (&json!(false), &json!(false), &json!(200)));
    assert_eq!((&fields["announceAfterMs"], fields["peers"].as_array().unwrap().len()), (&json!(45_000), 50));
    assert_eq!(effects, Effects::default());
}

#[test]
fn when_the_bucket_is_empty_the_first_change_starts_a_timer_and_no_other_does() {
    let mut object = new(false);
    let mut number = 0;
    let mut announce_next = |object: &mut CommunityObject| {
        number += 1;
        announce(object, 0, peer(number - 1)).1
    };
    assert!(announce_next(&mut object).write.is_some());
    let effects = announce_next(&mut object);
    assert_eq!(effects, Effects { timer: Some(SNAPSHOT_INTERVAL), ..Effects::default() });
    assert_eq!(announce_next(&mut object), Effects::default());
    let due = u64::try_from(SNAPSHOT_INTERVAL.as_millis()).unwrap();
    assert_eq!(object.handle_timer(at(due - 1)), Effects::default(), "early");
    let effects = object.handle_timer(at(due));
    let (mut restored, _) = restore(due, false, stored(effects.write.as_ref().unwrap()));
    assert_eq!(listed(&mut restored, due).len(), 3);
    assert_eq!(effects, Effects { write: effects.write.clone(), ..Effects::default() });
    assert_eq!(object.handle_timer(at(due)), Effects::default(), "repeated");
    // The rows that a quiet time leaves in the bucket pay for a burst.
    let later = due + u64::from(SNAPSHOT_BURST) * due;
    for number in 3..3 + SNAPSHOT_BURST as usize {
        assert!(announce(&mut object, later, peer(number)).1.write.is_some(), "{number}");
    }
    assert!(announce(&mut object, later, peer(11)).1.timer.is_some());
}

#[test]
fn a_change_waits_for_as_long_as_the_operator_lets_it() {
    for (millis, millis_text) in [(1_000, "1000"), (60_000, "60000")] {
        let config = config(&[("SNAPSHOT_INTERVAL_MS", millis_text)]);
        let secret = Secret::from_bytes([9; 16]);
        let (mut object, _) = CommunityObject::restore(at(0), &config, false, Found::nothing(), secret);
        assert!(announce(&mut object, 0, peer(0)).1.write.is_some());
        assert_eq!(announce(&mut object, 0, peer(1)).1.timer, Some(Duration::from_millis(millis)));
        assert_eq!(object.handle_timer(at(millis - 1)).write, None);
        assert!(object.handle_timer(at(millis)).write.is_some());
    }
}

#[test]
fn a_write_that_fails_is_said_once_until_one_succeeds() {
    let mut object = new(false);
    let full = || Err("the disk is full".to_owned());
    let note = Note::failure("snapshot_not_written", &"the disk is full");
    assert_eq!(object.written(full()), Some(note.clone()));
    assert_eq!(object.written(full()), None);
    assert_eq!(object.written(Ok(())), None);
    assert_eq!(object.written(full()), Some(note));
}

#[test]
fn what_cannot_be_read_is_said_and_left_aside() {
    let unreadable = Found { stored: Err("no such table".to_owned()), ..Found::nothing() };
    let (mut object, effects) = restore(0, false, unreadable);
    assert_eq!(effects.notes, [Note::failure("storage_unreadable", &"no such table")]);
    assert!(announce(&mut object, 0, peer(0)).1.write.is_some(), "it mends itself");
    for text in ["no", "", "{}", "\u{0}"] {
        let (mut object, effects) = restore(0, false, stored(text));
        let [note] = &effects.notes[..] else { panic!("{effects:?}") };
        assert_eq!(
            (note.event, &effects),
            ("snapshot_unreadable", &Effects { notes: vec![note.clone()], ..Effects::default() })
        );
        assert_eq!(listed(&mut object, 0).len(), 0);
    }
}

/// 2 MB are the most that a row of a Durable Object's SQLite may have.
const ROW_MAX_BYTES: usize = 2_000_000;

/// The longest ticket, and the longest goodbye, of the peer with this number.
fn longest(number: usize, issued_at: u64, purpose: Purpose) -> String {
    let [user_id, data] = [USER_ID_MAX_BYTES, DATA_MAX_BYTES].map(|most| "\"".repeat(most));
    Peer("peer", number as u8).unsigned(issued_at, |payload| {
        payload.peer_id = PeerId::new(&format!("{number:0PEER_ID_MAX_BYTES$}")).unwrap();
        payload.user_id = UserId::new(&user_id).unwrap();
        payload.data = PeerData::new(&data).filter(|_| purpose == Purpose::Presence);
        payload.nonce = Nonce::new(vec![0; NONCE_MAX_BYTES]).unwrap();
        payload.purpose = purpose;
    })
}

#[test]
fn a_full_roster_of_the_longest_tickets_fits_into_its_row_and_its_answers() {
    let config = config(&[("ANSWER_LIMIT", "200")]);
    let mut object = CommunityObject::restore(at(0), &config, false, Found::nothing(), Secret::from_bytes([9; 16])).0;
    let address = |number: usize| format!("{}.{}.1.1", 20 + number / 250, number % 250);
    // As many as are listed, and as many as are remembered to have left.
    for number in 0..2 * ROSTER_CAPACITY {
        let ticket = longest(number, 0, Purpose::Presence);
        assert!(ticket.len() <= TICKET_MAX_BYTES);
        let (answer, _) = object.handle(at(1), call(&ticket, Purpose::Presence, &address(number)), 0);
        assert_eq!((answer.status, &json(&answer)["listed"]), (200, &json!(true)), "{number}");
        if number < ROSTER_CAPACITY {
            let goodbye = longest(number, 1, Purpose::Leave);
            let (answer, _) = object.handle(at(2), call(&goodbye, Purpose::Leave, &address(number)), 0);
            assert_eq!(json(&answer)["left"], true, "{number}");
        }
    }
    let row = object.unwritten(at(3)).unwrap();
    assert!(row.len() < ROW_MAX_BYTES / 2, "{} bytes", row.len());
    let (mut restored, _) = restore(3, false, stored(&row));
    assert_eq!(listed(&mut restored, 3), listed(&mut object, 3));
    assert_eq!(listed(&mut object, 3).len(), ROSTER_CAPACITY);

    let last = longest(2 * ROSTER_CAPACITY - 1, 0, Purpose::Presence);
    let (answer, _) = object.handle(at(3), call(&last, Purpose::Presence, &address(2 * ROSTER_CAPACITY - 1)), 0);
    let peers = json(&answer)["peers"].as_array().map(Vec::len);
    assert_eq!((answer.status, peers), (200, Some(ROSTER_CAPACITY - 1)));
    assert!(answer.body.len() < ANSWER_MAX_BYTES, "{} bytes", answer.body.len());
    let (list, _) = object.handle(at(3), Call::List, 0);
    let list = PeerList::decode(&list.body).unwrap();
    assert!(list.bytes() < KEPT_LISTS_MAX_BYTES / 4, "{} bytes", list.bytes());
}

#[test]
fn the_alarm_erases_what_nobody_is_in_and_else_is_set_again() {
    let mut object = new(false);
    let _ = announce(&mut object, 0, peer(0));
    let _ = announce(&mut object, 100_000, peer(1));
    assert_eq!(object.handle_alarm(at(180_000)), Effects { wake_at: Some(at(360_000)), ..Effects::default() });
    let cause = Some("nobody is present".to_owned());
    let erase = Some(Note::info("roster_deleted", Details { cause, ..Details::default() }));
    assert_eq!(object.handle_alarm(at(360_000)), Effects { erase, ..Effects::default() });
    assert!(announce(&mut object, 400_000, peer(2)).1.write.is_some());
}

#[test]
fn an_alarm_that_does_not_come_is_set_again() {
    let mut object = new(false);
    assert_eq!(announce(&mut object, 0, peer(0)).1.wake_at, Some(at(180_000)));
    assert_eq!(announce(&mut object, 179_000, peer(1)).1.wake_at, None);
    assert_eq!(announce(&mut object, 240_000, peer(2)).1.wake_at, Some(at(420_000)));
}

#[test]
fn of_an_open_community_in_one_site_nothing_is_stored_and_nothing_wakes_it() {
    let mut object = new(true);
    for (number, address) in ["192.0.2.1", "192.0.2.2", "192.0.2.3"].into_iter().enumerate() {
        let (answer, effects) = announce_from(&mut object, 0, peer(number), address);
        assert_eq!((json(&answer)["total"].as_u64(), effects), (Some(number as u64 + 1), Effects::default()));
    }
    let rescued = object.unwritten(at(1));
    assert!(rescued.is_some(), "what is not worth a row is worth this");
    let (mut restored, effects) = restore(1, true, Found { rescued, ..Found::nothing() });
    let notes = vec![Note::info("roster_restored", Details { peers: Some(3), ..Details::default() })];
    assert_eq!(effects, Effects { notes, ..Effects::default() });
    assert_eq!(listed(&mut restored, 1).len(), 3);
    let (_, effects) = announce_from(&mut object, 1, peer(3), "198.51.100.1");
    let text = effects.write.clone().unwrap();
    assert_eq!(effects.wake_at, Some(at(180_001)), "somebody can be found");
    let (mut restored, _) = restore(2, true, stored(&text));
    assert_eq!(listed(&mut restored, 2).len(), 4, "all that there was");
    // Only those of one site go on: the next alarm takes away what is stored.
    let _ = announce_from(&mut object, 170_000, peer(0), "192.0.2.1");
    let cause = Some("all are in one site".to_owned());
    let erase = Some(Note::info("roster_deleted", Details { cause, ..Details::default() }));
    assert_eq!(object.handle_alarm(at(190_000)), Effects { erase, ..Effects::default() });
    assert_eq!(announce_from(&mut object, 230_000, peer(0), "192.0.2.1").1, Effects::default());
    // Of a community that its operator has named one site is worth keeping.
    assert!(announce(&mut new(false), 0, peer(0)).1.write.is_some());
}

#[test]
fn a_rescued_roster_is_written_unless_storage_has_a_later_one() {
    let mut object = new(false);
    let early = announce(&mut object, 0, peer(0)).1.write.unwrap();
    assert_eq!(object.unwritten(at(0)), None, "nothing to lose");
    let _ = announce(&mut object, 0, peer(1));
    let rescued = object.unwritten(at(5)).unwrap();
    let late = object.handle_timer(at(20_000)).write.unwrap();

    let found = Found { stored: Ok(Some(early)), rescued: Some(rescued.clone()), ..Found::nothing() };
    let (mut restored, effects) = restore(6, false, found);
    assert_eq!(listed(&mut restored, 6).len(), 2);
    // Storage was written at 0, which may have emptied the bucket.
    let timer = SNAPSHOT_INTERVAL - Duration::from_millis(6);
    let notes = vec![Note::info("roster_restored", Details { peers: Some(2), ..Details::default() })];
    assert_eq!(effects, Effects { timer: Some(timer), notes, ..Effects::default() });

    let found = Found { rescued: Some(rescued.clone()), ..Found::nothing() };
    assert!(restore(6, false, found).1.write.is_some(), "at once, where nothing was written yet");

    let found = Found { stored: Ok(Some(late)), rescued: Some(rescued), ..Found::nothing() };
    let (mut restored, effects) = restore(20_001, false, found);
    assert_eq!((listed(&mut restored, 20_001).len(), effects.write, effects.timer), (2, None, None));
}

#[test]
fn a_call_that_is_none_is_a_failure_that_only_the_log_explains() {
    let mut object = new(false);
    let good = call(&ticket(peer(0), 0), Purpose::Presence, "192.0.2.1").to_path();
    let cases = [
        ("/".to_owned(), CallError::Unknown),
        (good.replace("/announce", "/announces"), CallError::Unknown),
        ("/announce".to_owned(), CallError::Malformed("not three parts")),
        (format!("{good}&"), CallError::Malformed("not three parts")),
        (good.replace("mainnet", "a b"), CallError::Malformed("no community")),
        (good.replace("?mainnet&", "?mainnet&A"), CallError::Malformed("no network")),
        (format!("{good}A"), CallError::Malformed("the ticket is not base64 of text")),
    ];
    for (path, expected) in cases {
        let url = format!("https://object{path}");
        assert_eq!(Call::parse(&url), Err(expected.clone()), "{path}");
        let (answer, effects) = object.receive(at(0), &url, 0);
        assert_eq!(problem(&answer), (500, "INTERNAL".to_owned()));
        let notes = vec![Note::failure("request_failed", &expected)];
        assert_eq!(effects, Effects { notes, ..Effects::default() });
    }
    let other = good.replace("/announce", "/leave");
    assert!(matches!(Call::parse(&format!("https://object{other}")), Err(CallError::Ticket(_))));
    let (answer, _) = object.receive(at(0), &format!("https://object{good}"), 0);
    assert_eq!(json(&answer)["accepted"], json!(true));
}

/// What happens to an object. Times are since what happened before.
#[derive(Clone, Debug)]
enum Event {
    Announce {
        peer: usize,
        after: u64,
    },
    Leave {
        peer: usize,
        after: u64,
    },
    /// The process is killed, and the object restored from storage alone.
    Kill {
        after: u64,
    },
    /// Code panics, and what is not in storage is rescued.
    Panic {
        after: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let after = || prop_oneof![4 => 0_u64..3_000, 1 => 0_u64..60_000];
    prop_oneof![
        6 => (0..PEERS.len(), after()).prop_map(|(peer, after)| Event::Announce { peer, after }),
        1 => (0..PEERS.len(), after()).prop_map(|(peer, after)| Event::Leave { peer, after }),
        1 => after().prop_map(|after| Event::Kill { after }),
        1 => after().prop_map(|after| Event::Panic { after }),
    ]
}

/// A host that does what an object wants, and nothing else.
#[derive(Default)]
struct Host {
    stored: Option<String>,
    timers: Vec<u64>,
}

impl Host {
    fn carry_out(&mut self, now: u64, effects: Effects) {
        self.stored = effects.write.or(self.stored.take());
        self.timers.extend(effects.timer.map(|delay| now + u64::try_from(delay.as_millis()).unwrap()));
    }

    fn run_until(&mut self, object: &mut CommunityObject, end: u64) {
        while let Some(next) = self.timers.iter().copied().filter(|at| *at <= end).min() {
            self.timers.retain(|at| *at != next);
            let effects = object.handle_timer(at(next));
            self.carry_out(next, effects);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens when: a kill loses no more than the last ten seconds, a panic nothing, and nobody is listed who
    /// was not.
    #[test]
    fn no_crash_costs_more_than_it_may(events in prop::collection::vec(event(), 1..60)) {
        let mut object = new(false);
        let mut host = Host::default();
        let mut now = 0;
        // Lists after each change, with its time.
        let mut history: Vec<(u64, Vec<String>)> = vec![(0, Vec::new())];
        for event in events {
            let (Event::Announce { after, .. } | Event::Leave { after, .. } | Event::Kill { after } | Event::Panic { after }) = event;
            now += after;
            host.run_until(&mut object, now);
            match event {
                Event::Announce { peer: number, .. } => {
                    let (_, effects) = announce(&mut object, now, peer(number));
                    host.carry_out(now, effects);
                }
                Event::Leave { peer: number, .. } => {
                    let (_, effects) = leave(&mut object, now, peer(number));
                    host.carry_out(now, effects);
                }
                Event::Kill { .. } => {
                    host.timers.clear();
                    let (restored, effects) = restore(now, false, Found { stored: Ok(host.stored.clone()), ..Found::nothing() });
                    object = restored;
                    host.carry_out(now, effects);
                    let is_live = |ticket: &String| {
                        let ticket: serde_json::Value = serde_json::from_str(ticket).unwrap();
                        ticket["payload"]["expiresAt"].as_u64().unwrap() > at(now).as_u64()
                    };
                    let list = listed(&mut object, now);
                    let loss = u64::try_from(SNAPSHOT_LOSS.as_millis()).unwrap();
                    let settled = history.iter().rposition(|(changed, _)| changed + loss <= now).unwrap_or(0);
                    let possible = history[settled..].iter().map(|(_, list)| list.iter().filter(|ticket| is_live(ticket)).cloned().collect::<Vec<_>>());
                    prop_assert!(possible.into_iter().any(|possible| possible == list), "at {}: {:?}", now, list);
                }
                Event::Panic { .. } => {
                    host.timers.clear();
                    let before = listed(&mut object, now);
                    let found = Found { stored: Ok(host.stored.clone()), rescued: object.unwritten(at(now)), ..Found::nothing() };
                    let (restored, effects) = restore(now, false, found);
                    object = restored;
                    host.carry_out(now, effects);
                    prop_assert_eq!(listed(&mut object, now), before);
                }
            }
            let list = listed(&mut object, now);
            history.push((now, list));
        }
    }
}
