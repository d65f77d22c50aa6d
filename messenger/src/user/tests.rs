//! The rules, one by one: what retalk's own tests show of retalk, and what this adds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::Method;
use rendezvous_capsule::fetch::FetchError;
use rendezvous_protocol::base64;
use rendezvous_protocol::mailbox::envelope::Verified;
use rendezvous_protocol::mailbox::limits::{COLLECT_MAX_MESSAGES, CONTACT_LIMIT_MAX};
use rendezvous_protocol::mailbox::record::Deposit;
use rendezvous_protocol::mailbox::sealed::Place;
use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::time::UnixMillis;
use serde_json::value::RawValue;
use tempfile::TempDir;

use super::hostile_relay::{Fault, HostileRelay};
use super::mailbox::ciphertext_of;
use super::record::{InboxRecord, MailboxRecord, SessionRecord};
use super::*;
use crate::seal::open;
use crate::transport::{Answer, Relay, RelayError};
use crate::vault::KeyDerivation;

pub(super) const START: UnixMillis = UnixMillis::saturating(1_700_006_400_000);
const DAY: Duration = Duration::from_secs(86_400);
const URL: &str = "http://127.0.0.1:8766";
/// As cheap as it can be.
const CHEAP: KeyDerivation = KeyDerivation { memory_kib: 8, passes: 1 };

/// A directory in memory where there is one: every commit waits for the disk.
pub(super) fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub(super) struct Somebody {
    pub(super) user: User,
    pub(super) directory: TempDir,
    /// What was shown, in this order.
    pub(super) shown: Vec<Message>,
}

impl Somebody {
    pub(super) fn new(name: &str) -> Self {
        let directory = directory();
        let user = User::create(
            &directory.path().join("store"),
            name,
            &NewUser { name, derivation: CHEAP, ..NewUser::default() },
        );
        Self { user: user.unwrap(), directory, shown: Vec::new() }
    }

    pub(super) fn store(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }

    pub(super) fn reopened(&self) -> User {
        let name = self.user.profile().unwrap().name;
        User::open(&self.store(), &name).unwrap()
    }

    pub(super) fn reopen(&mut self) {
        self.user = self.reopened();
    }

    pub(super) fn id(&self) -> UserId {
        self.user.id()
    }

    /// Shows everything in the inbox.
    fn show(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        self.user
            .deliver(&[], |message| {
                assert!(!message.redelivered);
                let Content::Text(text) = &message.content else { panic!("a text") };
                texts.push(format!("{}: {text}", message.shown_name()));
                Disposition::Taken
            })
            .unwrap();
        texts
    }

    /// Does what a program does that receives, and shows.
    fn round(&mut self, relay: &HostileRelay, now: UnixMillis) -> Vec<String> {
        let relay = &Relay::new(relay.url(), relay).unwrap();
        self.user.receive(relay, now).unwrap();
        let texts = self.show();
        self.user.acknowledge(relay, now).unwrap();
        texts
    }

    fn send(&mut self, relay: &HostileRelay, to: UserId, text: &str, now: UnixMillis) -> OutgoingState {
        self.user.send(&Relay::new(relay.url(), relay).unwrap(), to, text, now).unwrap().state
    }

    fn maintain(&mut self, relay: &HostileRelay, now: UnixMillis) -> Maintained {
        self.user.maintain(&Relay::new(relay.url(), relay).unwrap(), now).unwrap()
    }
}

/// Has the relay look at what was brought to the mailboxes of these: their owners open it.
pub(super) fn look_into_deposits(relay: &HostileRelay, people: &[&Somebody]) {
    for body in relay.take_brought() {
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&body).unwrap();
        let deposit = Verified::<Deposit>::trusted(fields["deposit"].get()).unwrap();
        let sealed: String = serde_json::from_str(fields["sealed"].get()).unwrap();
        let sealed = base64::decode(&sealed).unwrap();
        let Deposit { mailbox, sequence, expires_at, .. } = *deposit.payload();
        let place = Place { mailbox, slot: deposit.public_key(), sequence, expires_at };
        let opened = people.iter().find_map(|somebody| {
            let record = somebody.user.vault.read(|rows| rows.get::<MailboxRecord>("")).unwrap()?;
            open(&sealed, &place, &record.own.sealing).ok()
        });
        let ciphertext = ciphertext_of(&opened.unwrap().written.content).unwrap();
        relay.look_at(ciphertext.mtype, &ciphertext.body);
    }
}

/// Two who know each other, and both have published.
fn pair() -> (Somebody, Somebody, HostileRelay) {
    let (mut alice, mut bob, relay) = (Somebody::new("alice"), Somebody::new("bob"), HostileRelay::new(URL, START));
    alice.user.add("bob", bob.id(), None).unwrap();
    bob.user.add("alice", alice.id(), None).unwrap();
    assert!(alice.round(&relay, START).is_empty() && bob.round(&relay, START).is_empty());
    (alice, bob, relay)
}

fn later(relay: &HostileRelay, time: Duration) -> UnixMillis {
    let now = START.after(time);
    relay.set_now(now);
    now
}

#[test]
fn two_users_write_to_each_other_and_the_relay_sees_no_text() {
    let (mut alice, mut bob, relay) = pair();
    assert_eq!(alice.send(&relay, bob.id(), "hello bob", START), OutgoingState::Stored);
    assert_eq!(bob.round(&relay, START), ["alice: hello bob"]);
    assert!(bob.round(&relay, START).is_empty());
    assert_eq!(bob.send(&relay, alice.id(), "hi alice, got it", START), OutgoingState::Stored);
    assert_eq!(alice.round(&relay, START), ["bob: hi alice, got it"]);
    assert!(alice.user.outbox().unwrap().is_empty(), "it is acknowledged");
    assert!(bob.round(&relay, START).is_empty());
    assert!(bob.user.outbox().unwrap().is_empty());
    assert_eq!((relay.waiting(alice.id()), relay.waiting(bob.id())), (0, 0), "what was handed over is deleted");
    assert!(!relay.has_seen("hello bob") && !relay.has_seen("got it"));
}

#[test]
fn a_name_that_the_sender_chose_is_marked() {
    let (mut alice, mut bob, relay) = pair();
    bob.user.remove(alice.id()).unwrap();
    alice.send(&relay, bob.id(), "x", START);
    assert_eq!(bob.round(&relay, START), ["~alice: x"]);
}

#[test]
fn an_answer_that_is_lost_costs_no_message_key() {
    let (mut alice, mut bob, relay) = pair();
    relay.set_faults([Fault::None, Fault::AnswerLost], Fault::None);
    assert!(matches!(alice.send(&relay, bob.id(), "one", START), OutgoingState::Failed { .. }));
    // The relay looks at the keys.
    assert_eq!(alice.send(&relay, bob.id(), "two", START), OutgoingState::Stored);
    assert_eq!(bob.round(&relay, START), ["alice: one", "alice: two"]);
}

#[test]
fn a_relay_that_cannot_be_reached_keeps_the_message_in_the_outbox() {
    let (mut alice, mut bob, relay) = pair();
    relay.set_faults([], Fault::RequestLost);
    let state = alice.send(&relay, bob.id(), "one", START);
    assert_eq!(state.to_string(), "the relay cannot be reached: no connection: it broke off");
    relay.set_faults([], Fault::None);
    let now = later(&relay, Duration::from_secs(121));
    assert_eq!(alice.maintain(&relay, now).resent, 1);
    assert_eq!(bob.round(&relay, now), ["alice: one"]);
}

#[test]
fn what_was_written_while_the_relay_was_away_comes_in_its_order() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "zero", START);
    relay.set_faults([], Fault::RequestLost);
    for text in ["one", "two", "three"] {
        assert_ne!(alice.send(&relay, bob.id(), text, START), OutgoingState::Stored);
    }
    relay.set_faults([], Fault::None);
    // As a program does that sends: first what is due, seconds after it was tried.
    let now = later(&relay, Duration::from_secs(2));
    assert_eq!(alice.maintain(&relay, now).resent, 3);
    assert_eq!(alice.send(&relay, bob.id(), "four", now), OutgoingState::Stored);
    let texts = ["zero", "one", "two", "three", "four"].map(|text| format!("alice: {text}"));
    assert_eq!(bob.round(&relay, now), texts);
}

#[test]
fn what_is_unacknowledged_for_two_minutes_is_sent_again_and_shown_once() {
    let (mut alice, mut bob, relay) = pair();
    relay.set_faults([Fault::None, Fault::Swallows], Fault::None);
    assert_eq!(alice.send(&relay, bob.id(), "one", START), OutgoingState::Stored);
    assert_eq!(alice.maintain(&relay, later(&relay, Duration::from_secs(119))).resent, 0);
    let now = later(&relay, Duration::from_secs(120));
    assert_eq!(alice.maintain(&relay, now).resent, 1);
    bob.user.receive(&Relay::new(URL, &relay).unwrap(), now).unwrap();
    assert_eq!(bob.show(), ["alice: one"]);
    // The acknowledgement is lost, and so the message comes once more.
    relay.set_faults([], Fault::Swallows);
    assert_eq!(bob.user.acknowledge(&Relay::new(URL, &relay).unwrap(), now).unwrap(), 1);
    relay.set_faults([], Fault::None);
    let now = later(&relay, Duration::from_secs(240));
    assert_eq!(alice.maintain(&relay, now).resent, 1);
    assert!(bob.round(&relay, now).is_empty());
    assert!(alice.round(&relay, now).is_empty());
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn a_full_mailbox_is_told_and_costs_nothing() {
    let (mut alice, mut bob, relay) = pair();
    relay.set_faults([], Fault::HasNoRoom);
    let full = OutgoingState::NotStored { code: "MAILBOX_FULL".to_owned() };
    assert_eq!(alice.send(&relay, bob.id(), "one", START), full);
    assert_eq!(alice.send(&relay, bob.id(), "two", START), OutgoingState::Queued, "one after the other");
    relay.set_faults([], Fault::None);
    let now = later(&relay, Duration::from_secs(121));
    assert_eq!(alice.maintain(&relay, now), Maintained { unclaimed: 100, resent: 2, ..Maintained::default() });
    assert_eq!(bob.round(&relay, now), ["alice: one", "alice: two"]);
}

#[test]
fn of_more_messages_than_may_wait_none_is_lost_and_all_come_in_order() {
    let (mut alice, mut bob, relay) = pair();
    let texts: Vec<_> = (0..57).map(|number| format!("alice: m{number}")).collect();
    for number in 0..57 {
        let expected = if number < 32 { OutgoingState::Stored } else { OutgoingState::Queued };
        assert_eq!(alice.send(&relay, bob.id(), &format!("m{number}"), START), expected, "{number}");
    }
    assert_eq!(bob.round(&relay, START), texts[..32]);
    alice.round(&relay, START);
    assert_eq!(alice.maintain(&relay, START).resent, 25);
    assert_eq!(bob.round(&relay, START), texts[32..]);
    alice.round(&relay, START);
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn twenty_five_unread_with_resends_are_shown_once_each() {
    let (mut alice, mut bob, relay) = pair();
    let texts: Vec<_> = (0..25).map(|number| format!("alice: m{number}")).collect();
    for number in 0..25 {
        alice.send(&relay, bob.id(), &format!("m{number}"), START);
    }
    for minutes in 1..4 {
        let now = later(&relay, Duration::from_secs(minutes * 121));
        assert_eq!(alice.maintain(&relay, now).resent, 25);
    }
    assert_eq!(bob.round(&relay, later(&relay, Duration::from_secs(400))), texts);
}

#[test]
fn substituted_keys_are_refused_by_sender_and_recipient() {
    let (mut alice, mut bob, relay) = pair();
    relay.set_faults([], Fault::SwapsKeys);
    let error = alice.user.send(&Relay::new(URL, &relay).unwrap(), bob.id(), "one", START).unwrap_err();
    assert!(error.to_string().starts_with(&format!("PIN MISMATCH for peer '{}'", bob.id())), "{error}");
    assert!(alice.user.outbox().unwrap().is_empty() && alice.user.status().unwrap().sessions == 0);
    relay.set_faults([], Fault::None);
    assert_eq!(alice.send(&relay, bob.id(), "one", START), OutgoingState::Stored);
    relay.set_faults([Fault::None], Fault::SwapsKeys);
    let report = bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    let problem = Problem { peer: Some(alice.id()), cause: ProblemCause::PinMismatch };
    assert_eq!(report, ReceiveReport { problems: vec![problem], ..ReceiveReport::default() });
    // The relay has deleted the message. It is here, and opens when the relay tells the truth.
    relay.set_faults([], Fault::None);
    assert_eq!(bob.round(&relay, START), ["alice: one"]);
}

#[test]
fn a_pin_that_the_keys_do_not_have_is_refused() {
    let (mut alice, bob, relay) = pair();
    let relay = &Relay::new(URL, &relay).unwrap();
    let (own, theirs) =
        (alice.user.identity().identity_key().to_owned(), bob.user.identity().identity_key().to_owned());
    alice.user.add("bob", bob.id(), Some(&own)).unwrap();
    assert!(matches!(alice.user.verify(relay, bob.id(), START), Err(UserError::PinMismatch { .. })));
    alice.user.add("bob", bob.id(), Some(&theirs)).unwrap();
    let contact = alice.user.verify(relay, bob.id(), START).unwrap();
    assert_eq!(contact.identity.as_ref(), Some(bob.user.identity()));
    assert!(matches!(alice.user.add("bob", bob.id(), Some(&own)), Err(UserError::PinMismatch { .. })));
    assert!(matches!(alice.user.add("bob", bob.id(), Some("x")), Err(UserError::PinInvalid)));
}

#[test]
fn when_all_one_time_keys_are_claimed_sessions_begin_with_the_fallback() {
    let (mut alice, mut bob, relay) = pair();
    let via = &Relay::new(URL, &relay).unwrap();
    for _ in 0..34 {
        // Three an hour are a claimer's share.
        let mut stranger = Somebody::new("stranger");
        for _ in 0..3 {
            stranger.user.claim(via, bob.id(), START).unwrap();
        }
    }
    alice.send(&relay, bob.id(), "by the fallback", START);
    assert_eq!(bob.round(&relay, START), ["alice: by the fallback"]);
    let maintained = bob.maintain(&relay, START);
    assert_eq!((maintained.unclaimed, maintained.published), (0, 100), "there are keys again");
    assert_eq!(bob.maintain(&relay, START).unclaimed, 100);
    // The fallback is good for the first message of others, and that again for nobody.
    relay.set_faults([Fault::Replays], Fault::None);
    assert!(bob.round(&relay, START).is_empty());
}

#[test]
fn a_fallback_is_rotated_daily_and_messages_on_their_way_decrypt() {
    let (mut alice, mut bob, relay) = pair();
    let via = &Relay::new(URL, &relay).unwrap();
    for _ in 0..34 {
        let mut stranger = Somebody::new("stranger");
        for _ in 0..3 {
            stranger.user.claim(via, bob.id(), START).unwrap();
        }
    }
    assert_eq!(alice.send(&relay, bob.id(), "on its way", START), OutgoingState::Stored);
    let now = later(&relay, DAY);
    let maintained = bob.maintain(&relay, now);
    assert!(maintained.is_fallback_rotated && maintained.published == 100);
    assert_eq!(bob.user.status().unwrap().fallback_made_at, Some(now));
    assert!(!bob.maintain(&relay, now).is_fallback_rotated);
    assert_eq!(bob.round(&relay, now), ["alice: on its way"]);
}

#[test]
fn a_relay_that_says_that_no_key_is_left_does_not_push_out_those_that_are_claimed() {
    let (_, mut bob, relay) = pair();
    let mut made = 100;
    for _ in 0..20 {
        relay.lose_everything();
        made += bob.maintain(&relay, START).published;
    }
    assert_eq!(made, 1_000);
    relay.lose_everything();
    let now = later(&relay, DAY);
    assert_eq!(bob.maintain(&relay, now).published, 100);
}

#[test]
fn a_fresh_relay_is_given_the_keys_and_the_outbox() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "zero", START);
    assert_eq!(bob.round(&relay, START).len(), 1);
    alice.round(&relay, START);
    assert_eq!(alice.send(&relay, bob.id(), "one", START), OutgoingState::Stored);
    let other = HostileRelay::new("https://other.example/relay", START);
    let now = later(&other, Duration::from_secs(120));
    assert!(bob.round(&other, now).is_empty());
    assert_eq!(alice.maintain(&other, now).resent, 1);
    assert_eq!(bob.round(&other, now), ["alice: one"]);
    bob.send(&other, alice.id(), "two", now);
    assert_eq!(alice.round(&other, now), ["bob: two"]);
    assert!(alice.user.outbox().unwrap().is_empty());
    // The same address, and nothing behind it any more.
    other.lose_everything();
    alice.maintain(&other, now);
    bob.maintain(&other, now);
    alice.send(&other, bob.id(), "three", now);
    assert_eq!(bob.round(&other, now), ["alice: three"]);
}

#[test]
fn sessions_that_cross_go_on_both() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "a1", START);
    bob.send(&relay, alice.id(), "b1", START);
    alice.send(&relay, bob.id(), "a2", START);
    assert_eq!(alice.round(&relay, START), ["bob: b1"]);
    assert_eq!(bob.round(&relay, START), ["alice: a1", "alice: a2"]);
    for number in 0..4 {
        alice.send(&relay, bob.id(), &format!("a{number}"), START);
        bob.send(&relay, alice.id(), &format!("b{number}"), START);
        assert_eq!(alice.round(&relay, START), [format!("bob: b{number}")]);
        assert_eq!(bob.round(&relay, START), [format!("alice: a{number}")]);
    }
    alice.round(&relay, START);
    assert!(alice.user.outbox().unwrap().is_empty() && bob.user.outbox().unwrap().is_empty());
}

#[test]
fn a_replay_is_known_for_one() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "one", START);
    bob.round(&relay, START);
    relay.set_faults([], Fault::Replays);
    let report = bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    assert_eq!(report, ReceiveReport { duplicates: 1, ..ReceiveReport::default() });
    assert_eq!(bob.user.status().unwrap().acknowledgements_due, 1, "the first may have been lost");
    // An acknowledgement that comes twice changes nothing.
    for _ in 0..2 {
        alice.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    }
}

#[test]
fn a_first_message_by_the_fallback_is_not_shown_again_although_its_session_is_lost() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "one", START);
    bob.round(&relay, START);
    bob.user
        .vault
        .change(|rows| {
            for session in rows.all::<SessionRecord>()? {
                rows.remove::<SessionRecord>(&SessionRecord::name_of(session.with, &session.id))?;
            }
            Ok::<_, UserError>(())
        })
        .unwrap();
    relay.set_faults([Fault::Replays], Fault::None);
    assert!(bob.round(&relay, START).is_empty());
}

#[test]
fn a_blocked_peer_is_refused_and_told() {
    let (mut alice, mut bob, relay) = pair();
    assert!(bob.user.set_blocked(alice.id(), true).unwrap());
    assert!(!bob.user.set_blocked(alice.id(), true).unwrap());
    alice.send(&relay, bob.id(), "one", START);
    let report = bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    let problem = Problem { peer: Some(alice.id()), cause: ProblemCause::Blocked };
    assert_eq!(report, ReceiveReport { problems: vec![problem], ..ReceiveReport::default() });
    assert_eq!(bob.user.status().unwrap().sessions, 0, "nothing was decrypted");
    // Each time she begins anew, and the third time is the last.
    let mut refused = 0;
    for minutes in 1..6 {
        let now = later(&relay, Duration::from_secs(minutes * 121));
        refused = alice.maintain(&relay, now).refused;
        bob.user.receive(&Relay::new(URL, &relay).unwrap(), now).unwrap();
    }
    assert_eq!(refused, 1);
    assert_eq!(alice.user.outbox().unwrap()[0].state, OutgoingState::Refused);
    // No longer blocked.
    bob.user.set_blocked(alice.id(), false).unwrap();
    let now = later(&relay, Duration::from_secs(1_000));
    let id = alice.user.outbox().unwrap()[0].id.clone();
    let resent = alice.user.resend(&Relay::new(URL, &relay).unwrap(), &id, now).unwrap().unwrap();
    assert_eq!(resent.state, OutgoingState::Stored);
    assert_eq!(bob.round(&relay, now), ["alice: one"]);
}

#[test]
fn what_waits_in_the_inbox_of_one_who_is_blocked_comes_after_that() {
    let (mut alice, mut bob, relay) = pair();
    for text in ["shown", "offered", "untouched"] {
        alice.send(&relay, bob.id(), text, START);
    }
    bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    let mut answers = [Disposition::Taken, Disposition::Kept, Disposition::Declined].into_iter();
    assert_eq!(bob.user.deliver(&[], |_| answers.next().unwrap()).unwrap(), 1);
    bob.user.set_blocked(alice.id(), true).unwrap();
    assert_eq!(bob.user.deliver(&[], |_| panic!("it is dropped")).unwrap(), 0);
    bob.user.set_blocked(alice.id(), false).unwrap();
    let mut shown = Vec::new();
    for minutes in 1..4 {
        let now = later(&relay, Duration::from_secs(minutes * 121));
        let via = &Relay::new(URL, &relay).unwrap();
        alice.maintain(&relay, now);
        bob.user.receive(via, now).unwrap();
        let note = |message: &Message| {
            shown.push((message.content.clone(), message.redelivered));
            Disposition::Taken
        };
        bob.user.deliver(&[], note).unwrap();
        bob.user.acknowledge(via, now).unwrap();
        alice.round(&relay, now);
    }
    let text = |text: &str| Content::Text(text.to_owned());
    assert_eq!(shown, [(text("offered"), true), (text("untouched"), false)]);
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn whoever_takes_messages_of_contacts_alone_refuses_others() {
    let (mut alice, mut bob, relay) = pair();
    let mut profile = bob.user.profile().unwrap();
    profile.admission = Admission::Contacts;
    bob.user.set_profile(&profile).unwrap();
    let mut carol = Somebody::new("carol");
    carol.send(&relay, bob.id(), "one", START);
    alice.send(&relay, bob.id(), "two", START);
    let report = bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    assert_eq!(report.problems, [Problem { peer: Some(carol.id()), cause: ProblemCause::Stranger }]);
    assert_eq!(bob.show(), ["alice: two"]);
}

/// Asks for the contact of whoever has made this code.
fn request(who: &mut Somebody, relay: &HostileRelay, of: UserId, code: &InviteCode, now: UnixMillis) -> OutgoingState {
    let relay = &Relay::new(URL, relay).unwrap();
    who.user.request_contact(relay, of, &code.code, None, now).unwrap().state
}

fn told(user: &mut User) -> Vec<(String, UserId)> {
    let redeemed = user.redeemed().unwrap();
    redeemed.iter().for_each(|redeemed| user.note_told(redeemed).unwrap());
    redeemed.into_iter().map(|Redeemed { code, by }| (code, by)).collect()
}

fn name_of(user: &User, id: UserId) -> Option<String> {
    user.contact(&id.to_string()).unwrap().unwrap().name
}

fn refusals(report: &ReceiveReport) -> Vec<(UserId, RequestRefusal)> {
    let refusal = |problem: &Problem| match problem.cause {
        ProblemCause::RequestRefused { refusal } => Some((problem.peer.unwrap(), refusal)),
        _ => None,
    };
    report.problems.iter().filter_map(refusal).collect()
}

#[test]
fn a_code_makes_each_a_contact_of_the_other_once_and_the_relay_never_sees_it() {
    let (_, mut bob, relay) = pair();
    let (mut carol, mut dave) = (Somebody::new("carol"), Somebody::new("dave"));
    let via = &Relay::new(URL, &relay).unwrap();
    let code = bob.user.new_code(&NewCode { lasts: Some(DAY), ..NewCode::default() }, START).unwrap();
    assert_eq!(code.expires_at, Some(START.after(DAY)));
    assert_eq!(request(&mut carol, &relay, bob.id(), &code, START), OutgoingState::Stored);
    assert_eq!(name_of(&carol.user, bob.id()), Some(bob.id().to_string()), "nobody has said what he is called");
    let report = bob.user.receive(via, START).unwrap();
    assert_eq!(report, ReceiveReport { redeemed: vec![carol.id()], ..ReceiveReport::default() });
    assert!(bob.show().is_empty(), "it is no message");
    assert_eq!(bob.user.acknowledge(via, START).unwrap(), 1);
    carol.round(&relay, START);
    assert!(carol.user.outbox().unwrap().is_empty(), "she knows that he has taken it");
    // Of whom nobody has noted it are told of again.
    assert_eq!(bob.user.redeemed().unwrap().len(), 1);
    assert_eq!(told(&mut bob.user), [(code.code.clone(), carol.id())]);
    assert!(told(&mut bob.user).is_empty());
    carol.send(&relay, bob.id(), "hi", START);
    assert_eq!(bob.round(&relay, START), ["carol: hi"]);
    bob.send(&relay, carol.id(), "hello", START);
    assert_eq!(carol.round(&relay, START), [format!("{}: hello", bob.id())]);
    // Her again, by the same: she is one, and is told so. Somebody else: no.
    request(&mut carol, &relay, bob.id(), &code, START);
    request(&mut dave, &relay, bob.id(), &code, START);
    let report = bob.user.receive(via, START).unwrap();
    assert_eq!((refusals(&report), report.redeemed), (vec![(dave.id(), RequestRefusal::CodeUsed)], vec![]));
    bob.user.acknowledge(via, START).unwrap();
    carol.round(&relay, START);
    assert!(carol.user.outbox().unwrap().is_empty());
    assert_eq!(name_of(&bob.user, dave.id()), None);
    // He is told by the refusal that he has signed for.
    for minutes in 1..4 {
        let now = later(&relay, Duration::from_secs(minutes * 121));
        dave.maintain(&relay, now);
        bob.user.receive(via, now).unwrap();
    }
    assert_eq!(dave.user.outbox().unwrap()[0].state, OutgoingState::Refused);
    assert!(!relay.has_seen(&code.code));
}

#[test]
fn a_code_that_is_none_or_over_makes_nobody_a_contact_but_a_contact_need_not_be_made_one() {
    let (mut alice, mut bob, relay) = pair();
    let via = &Relay::new(URL, &relay).unwrap();
    let new = |bob: &mut User| bob.new_code(&NewCode { lasts: Some(DAY), ..NewCode::default() }, START).unwrap();
    let (revoked, ended) = (new(&mut bob.user), new(&mut bob.user));
    assert!(bob.user.revoke_code(&revoked.code).unwrap() && !bob.user.revoke_code("none").unwrap());
    let unknown = InviteCode { code: "none".to_owned(), ..ended.clone() };
    let now = later(&relay, DAY + Duration::from_secs(1));
    for (code, refusal) in [
        (&revoked, RequestRefusal::CodeRevoked),
        (&ended, RequestRefusal::CodeExpired),
        (&unknown, RequestRefusal::CodeUnknown),
    ] {
        let mut carol = Somebody::new("carol");
        request(&mut carol, &relay, bob.id(), code, now);
        assert_eq!(refusals(&bob.user.receive(via, now).unwrap()), [(carol.id(), refusal)]);
        request(&mut alice, &relay, bob.id(), code, now);
        assert_eq!(bob.user.receive(via, now).unwrap(), ReceiveReport::default());
    }
    bob.user.acknowledge(via, now).unwrap();
    alice.round(&relay, now);
    assert!(alice.user.outbox().unwrap().is_empty() && told(&mut bob.user).is_empty());
    let request = |user: &mut User, code: &str, to| user.request_contact(via, to, code, None, now);
    let alices = alice.id();
    assert!(matches!(request(&mut alice.user, "a b", bob.id()), Err(UserError::CodeInvalid)));
    assert!(matches!(request(&mut alice.user, "code", alices), Err(UserError::ToOneself)));
}

#[test]
fn a_card_of_somebody_else_makes_nobody_a_contact() {
    let (alice, mut bob, relay) = pair();
    let mut mallory = Somebody::new("mallory");
    let via = &Relay::new(URL, &relay).unwrap();
    let code = bob.user.new_code(&NewCode::default(), START).unwrap();
    let card = payload::Card::new("alice", alice.user.identity());
    mallory
        .user
        .post(via, bob.id(), START, |id, mailbox| payload::contact_request(id, &code.code, &card, mailbox))
        .unwrap();
    assert_eq!(refusals(&bob.user.receive(via, START).unwrap()), [(mallory.id(), RequestRefusal::CardMismatch)]);
    assert_eq!(bob.user.codes().unwrap(), [code], "it is not used up");
}

#[test]
fn whoever_has_a_code_is_heard_although_strangers_are_refused_and_nothing_else_of_theirs_is() {
    let (_, mut bob, relay) = pair();
    let via = &Relay::new(URL, &relay).unwrap();
    let profile = Profile { admission: Admission::Contacts, ..bob.user.profile().unwrap() };
    bob.user.set_profile(&profile).unwrap();
    let code = bob.user.new_code(&NewCode { name: Some("dana"), ..NewCode::default() }, START).unwrap();
    let (mut carol, mut dave) = (Somebody::new("carol"), Somebody::new("dave"));
    dave.send(&relay, bob.id(), "let me in", START);
    request(&mut carol, &relay, bob.id(), &code, START);
    carol.send(&relay, bob.id(), "hi", START);
    let report = bob.user.receive(via, START).unwrap();
    assert_eq!(report.problems, [Problem { peer: Some(dave.id()), cause: ProblemCause::Stranger }]);
    assert_eq!((report.redeemed, bob.show()), (vec![carol.id()], vec!["dana: hi".to_owned()]));
    // No code is good any more: what a stranger sends is not even decrypted.
    let sessions = bob.user.status().unwrap().sessions;
    Somebody::new("eve").send(&relay, bob.id(), "let me in", START);
    bob.user.receive(via, START).unwrap();
    assert_eq!(bob.user.status().unwrap().sessions, sessions);
}

#[test]
fn a_code_for_many_gives_no_name_twice_and_lets_nobody_take_that_of_another() {
    let (alice, mut bob, relay) = pair();
    let via = &Relay::new(URL, &relay).unwrap();
    let taken = bob.user.new_code(&NewCode { name: Some("alice"), ..NewCode::default() }, START);
    assert!(matches!(taken, Err(UserError::NameTaken { .. })));
    let new = NewCode { name: Some("dana"), is_permanent: true, lasts: None };
    let code = bob.user.new_code(&new, START).unwrap();
    let mut names = Vec::new();
    for name in ["one", "two", "alice", "\u{430}lice", "~three", ""] {
        let mut somebody = Somebody::new(name);
        request(&mut somebody, &relay, bob.id(), &code, START);
        bob.user.receive(via, START).unwrap();
        let name = name_of(&bob.user, somebody.id()).unwrap();
        names.push(if name == somebody.id().to_string() { "id".to_owned() } else { name });
    }
    assert_eq!(names, ["dana", "two", "id", "id", "id", "id"]);
    assert_eq!(name_of(&bob.user, alice.id()).as_deref(), Some("alice"));
    assert_eq!(told(&mut bob.user).len(), 6);
    assert_eq!(bob.user.codes().unwrap()[0].redeemed_by.len(), 6);
}

#[test]
fn a_program_that_is_killed_at_any_write_makes_a_contact_by_a_code_once() {
    for crash_after in 0..12 {
        let (_, mut bob, relay) = pair();
        let mut carol = Somebody::new("carol");
        let via = &Relay::new(URL, &relay).unwrap();
        let code = bob.user.new_code(&NewCode::default(), START).unwrap();
        request(&mut carol, &relay, bob.id(), &code, START);
        let mut told = Vec::new();
        bob.user.vault.commits_left = Some(crash_after);
        let mut now = START;
        for minutes in 1..4 {
            let mut act = || -> Result<(), UserError> {
                bob.user.receive(via, now)?;
                for redeemed in bob.user.redeemed()? {
                    told.push(redeemed.by);
                    bob.user.note_told(&redeemed)?;
                }
                bob.user.acknowledge(via, now).map(drop)
            };
            if let Err(error) = act() {
                assert!(error.to_string().ends_with("is damaged: crash"), "{error}");
            }
            bob.reopen();
            now = later(&relay, Duration::from_secs(minutes * 121));
            carol.maintain(&relay, now);
            carol.round(&relay, now);
        }
        assert_eq!(bob.user.codes().unwrap()[0].redeemed_by, [carol.id()], "{crash_after}");
        assert_eq!(name_of(&bob.user, carol.id()).as_deref(), Some("carol"));
        assert!(carol.user.outbox().unwrap().is_empty(), "{crash_after}");
        // One told of and not written down is told of again.
        assert!(told.len() == 1 || (told.len() == 2 && told[0] == told[1]), "{crash_after}: {told:?}");
    }
}

#[test]
fn a_refusal_that_its_recipient_has_not_signed_changes_nothing() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "one", START);
    struct Liar<'a>(&'a HostileRelay);
    impl crate::transport::Transport for Liar<'_> {
        fn send(&self, method: Method, url: &str, body: &str, max_bytes: usize) -> Result<Answer, FetchError> {
            if body.contains("send_message") {
                let sig = "A".repeat(86);
                let body = format!(r#"{{"refused":true,"hash":"00","sig":"{sig}"}}"#).into_bytes();
                return Ok(crate::transport::Answer { status: 200, retry_after: None, body });
            }
            self.0.send(method, url, body, max_bytes)
        }
    }
    let now = later(&relay, Duration::from_secs(121));
    let liar = Liar(&relay);
    let maintained = alice.user.maintain(&Relay::new(URL, &liar).unwrap(), now).unwrap();
    assert_eq!((maintained.waiting, maintained.refused, maintained.problems.len()), (1, 0, 1));
    assert_eq!(bob.round(&relay, now), ["alice: one"]);
    alice.round(&relay, now);
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn a_prekey_of_the_relays_own_costs_time_and_no_message() {
    let (mut alice, mut bob, relay) = pair();
    relay.set_faults([Fault::SwapsOneTimeKey], Fault::None);
    assert_eq!(alice.send(&relay, bob.id(), "one", START), OutgoingState::Stored);
    let report = bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    assert_eq!(report.problems, [Problem { peer: Some(alice.id()), cause: ProblemCause::Undecryptable }]);
    let now = later(&relay, Duration::from_secs(120));
    assert_eq!(alice.maintain(&relay, now).resent, 1, "encrypted anew");
    assert_eq!(bob.round(&relay, now), ["alice: one"]);
    alice.round(&relay, now);
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn acknowledgements_that_cannot_be_opened_keep_no_message_in_the_outbox() {
    let (mut alice, mut bob, relay) = pair();
    let (one, other) = (alice.id(), bob.id());
    bob.send(&relay, one, "hello", START);
    alice.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    // Bob refuses what Alice writes until she gives up all of her sessions with him.
    bob.user.set_blocked(one, true).unwrap();
    alice.send(&relay, other, "hi", START);
    for minutes in 1..4 {
        let now = later(&relay, Duration::from_secs(minutes * 130));
        bob.user.receive(&Relay::new(URL, &relay).unwrap(), now).unwrap();
        alice.maintain(&relay, now);
    }
    assert_eq!(alice.user.outbox().unwrap()[0].state, OutgoingState::Refused);
    bob.user.set_blocked(one, false).unwrap();
    // And the relay has her acknowledge by a session that Bob has not.
    assert_eq!(alice.show(), ["bob: hello"]);
    relay.set_faults([Fault::SwapsOneTimeKey], Fault::None);
    let now = later(&relay, Duration::from_secs(600));
    assert_eq!(alice.user.acknowledge(&Relay::new(URL, &relay).unwrap(), now).unwrap(), 1);
    for minutes in 6..9 {
        let now = later(&relay, Duration::from_secs(minutes * 130));
        bob.maintain(&relay, now);
        bob.round(&relay, now);
        assert!(alice.round(&relay, now).is_empty(), "it was shown before");
    }
    assert!(bob.user.outbox().unwrap().is_empty());
}

#[test]
fn two_programs_send_from_one_store() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "zero", START);
    let mut other = alice.reopened();
    let via = &Relay::new(URL, &relay).unwrap();
    for number in 0..4 {
        alice.send(&relay, bob.id(), &format!("a{number}"), START);
        other.send(via, bob.id(), &format!("b{number}"), START).unwrap();
    }
    let expected = ["zero", "a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"].map(|text| format!("alice: {text}"));
    assert_eq!(bob.round(&relay, START), expected);
    other.receive(via, START).unwrap();
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn programs_that_send_from_one_store_at_one_time_lose_nothing() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "zero", START);
    let to = bob.id();
    std::thread::scope(|scope| {
        for program in 0..4 {
            let (relay, mut user) = (&relay, alice.reopened());
            scope.spawn(move || {
                for number in 0..5 {
                    user.send(&Relay::new(URL, relay).unwrap(), to, &format!("{program} {number}"), START).unwrap();
                }
            });
        }
    });
    let mut texts = bob.round(&relay, START);
    texts.sort();
    let programs = (0..4).flat_map(|program| (0..5).map(move |number| format!("alice: {program} {number}")));
    assert_eq!(texts, programs.chain(["alice: zero".to_owned()]).collect::<Vec<_>>());
}

#[test]
fn a_relay_that_invents_senders_is_asked_for_the_keys_of_each_once() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "one", START);
    alice.send(&relay, bob.id(), "two", START);
    relay.take_tools();
    relay.set_faults([Fault::None], Fault::SwapsKeys);
    let report = bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    assert_eq!((relay.take_tools(), report.problems.len()), (vec!["read_messages", "get_keys"], 1));
    relay.set_faults([], Fault::None);
    assert_eq!(bob.round(&relay, START), ["alice: one", "alice: two"]);
    relay.take_tools();
    assert!(bob.round(&relay, START).is_empty());
    assert_eq!(relay.take_tools(), ["read_messages"]);
}

/// A relay that changes its answers, by the request.
struct Changing<'a, F>(&'a HostileRelay, F);

impl<F: Fn(&str, serde_json::Value) -> serde_json::Value> crate::transport::Transport for Changing<'_, F> {
    fn send(&self, method: Method, url: &str, body: &str, max_bytes: usize) -> Result<Answer, FetchError> {
        let answer = self.0.send(method, url, body, max_bytes)?;
        let changed = (self.1)(body, serde_json::from_slice(&answer.body).unwrap());
        Ok(crate::transport::Answer { body: changed.to_string().into_bytes(), ..answer })
    }
}

#[test]
fn a_peer_whose_prekey_is_none_stops_nobody_elses_messages() {
    let (mut alice, mut bob, relay) = pair();
    let mut mallory = Somebody::new("mallory");
    mallory.round(&relay, START);
    alice.user.add("mallory", mallory.id(), None).unwrap();
    relay.set_faults([], Fault::RequestLost);
    alice.send(&relay, mallory.id(), "to mallory", START);
    alice.send(&relay, bob.id(), "to bob", START);
    relay.set_faults([], Fault::None);
    let id = mallory.id().to_string();
    let zeros = Changing(&relay, |request: &str, mut answer: serde_json::Value| {
        if request.contains("claim_key") && request.contains(&id) {
            answer["one_time_key"] = "A".repeat(43).into();
        }
        answer
    });
    let via = &Relay::new(URL, &zeros).unwrap();
    let maintained = alice.user.maintain(via, START).unwrap();
    let invalid = Problem { peer: Some(mallory.id()), cause: ProblemCause::PrekeyInvalid };
    assert_eq!((maintained.problems, maintained.resent), (vec![invalid], 1));
    assert_eq!(bob.round(&relay, START), ["alice: to bob"]);
    assert!(matches!(alice.user.send(via, mallory.id(), "more", START), Err(UserError::PrekeyInvalid { .. })));
    // Nor is an acknowledgement to such a peer in the way of others.
    mallory.send(&relay, alice.id(), "hello", START);
    bob.send(&relay, alice.id(), "hello", START);
    alice.user.receive(via, START).unwrap();
    assert_eq!(alice.show().len(), 2);
    alice.user.acknowledge(via, START).unwrap();
    bob.round(&relay, START);
    assert!(bob.user.outbox().unwrap().is_empty());
    // With a good key all goes on.
    alice.maintain(&relay, START);
    assert_eq!(mallory.round(&relay, START), ["~alice: to mallory"]);
}

#[test]
fn what_cannot_be_opened_costs_few_requests_and_no_other_message() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "one", START);
    bob.round(&relay, START);
    alice.round(&relay, START);
    alice.send(&relay, bob.id(), "two", START);
    let junk = Changing(&relay, |request: &str, mut answer: serde_json::Value| {
        let Some(messages) = answer.as_array_mut().filter(|_| request.contains("read_messages")) else { return answer };
        let Some(last) = messages.pop() else { return answer };
        let bytes = rendezvous_protocol::base64::decode(last["body"].as_str().unwrap()).unwrap();
        for number in 0..400_u16 {
            let mut message = last.clone();
            let [one, other] = number.to_be_bytes();
            let mut body = bytes.clone();
            // The code that authenticates is at the end.
            let end = body.len() - 2;
            (body[end], body[end + 1]) = (body[end] ^ other, body[end + 1] ^ (one | 0x80));
            message["body"] = rendezvous_protocol::base64::encode(&body).into();
            // Of the sender, and of strangers, of whom nothing is known.
            if number % 4 != 0 {
                message["from"] = format!("{number:032x}").into();
            }
            messages.push(message);
        }
        messages.push(last);
        answer
    });
    relay.take_tools();
    let report = bob.user.receive(&Relay::new(URL, &junk).unwrap(), START).unwrap();
    assert_eq!((report.taken_in, bob.show()), (1, vec!["alice: two".to_owned()]));
    let tools = relay.take_tools();
    assert_eq!((tools.len(), tools.iter().filter(|tool| **tool == "nack").count()), (17, 16), "{tools:?}");
    // The rest is refused in its turn, unless the relay does not answer.
    relay.set_faults([Fault::None], Fault::RequestLost);
    bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    assert_eq!(relay.take_tools(), ["read_messages"]);
    relay.set_faults([], Fault::None);
    for _ in 0..6 {
        bob.round(&relay, START);
    }
    assert_eq!(bob.user.status().unwrap().incoming, 0);
}

#[test]
fn a_message_whose_kind_or_sender_a_relay_changes_is_not_refused() {
    let (mut alice, mut bob, relay) = pair();
    let carol = Somebody::new("carol");
    bob.user.add("carol", carol.id(), None).unwrap();
    let carols = carol.id().to_string();
    alice.send(&relay, bob.id(), "one", START);
    let (mut seconds, mut now) = (0, START);
    for field in ["mtype", "from", "mtype", "from"] {
        let changing = Changing(&relay, |request: &str, mut answer: serde_json::Value| {
            if request.contains("read_messages") {
                for message in answer.as_array_mut().unwrap() {
                    message[field] = if field == "from" { carols.clone().into() } else { 1.into() };
                }
            }
            answer
        });
        relay.take_tools();
        let report = bob.user.receive(&Relay::new(URL, &changing).unwrap(), now).unwrap();
        assert_eq!(report.taken_in, 0);
        assert!(!relay.take_tools().contains(&"nack"), "{field}");
        seconds += 120;
        now = later(&relay, Duration::from_secs(seconds));
        assert_eq!(alice.maintain(&relay, now).resent, 1);
    }
    assert_eq!(bob.round(&relay, now), ["alice: one"]);
}

#[test]
fn a_message_that_is_not_taken_is_not_acknowledged_and_comes_again() {
    let (mut alice, mut bob, relay) = pair();
    alice.send(&relay, bob.id(), "one", START);
    alice.send(&relay, bob.id(), "two", START);
    bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    let is_one = |message: &Message| message.content == Content::Text("one".to_owned());
    let all_but_one = |message: &Message| if is_one(message) { Disposition::Kept } else { Disposition::Taken };
    assert_eq!(bob.user.deliver(&[], all_but_one).unwrap(), 1);
    assert_eq!(bob.user.acknowledge(&Relay::new(URL, &relay).unwrap(), START).unwrap(), 1);
    // Also when a copy comes.
    relay.set_faults([Fault::Replays], Fault::None);
    let report = bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    assert_eq!(report.duplicates, 2);
    assert_eq!(bob.user.acknowledge(&Relay::new(URL, &relay).unwrap(), START).unwrap(), 1);
    let mut again = Vec::new();
    let note = |message: &Message| {
        again.push((is_one(message), message.redelivered));
        Disposition::Taken
    };
    bob.user.deliver(&[], note).unwrap();
    assert_eq!(again, [(true, true)]);
    assert_eq!(bob.user.deliver(&[], |_| panic!("all are taken")).unwrap(), 0);
}

#[test]
fn a_message_that_is_declined_counts_as_not_offered_and_ends_the_delivery() {
    let (mut alice, mut bob, relay) = pair();
    for text in ["one", "two", "three"] {
        alice.send(&relay, bob.id(), text, START);
    }
    bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    let mut answers = [Disposition::Kept, Disposition::Declined].into_iter();
    assert_eq!(bob.user.deliver(&[], |_| answers.next().unwrap()).unwrap(), 0);
    // One that was kept before stays one that may have been shown.
    assert_eq!(bob.user.deliver(&[], |_| Disposition::Declined).unwrap(), 0);
    let mut offered = Vec::new();
    let note = |message: &Message| {
        offered.push(message.redelivered);
        Disposition::Taken
    };
    assert_eq!(bob.user.deliver(&[], note).unwrap(), 3);
    assert_eq!(offered, [true, false, false]);
}

#[test]
fn what_was_given_up_is_told_from_what_was_acknowledged() {
    let (mut alice, mut bob, relay) = pair();
    let via = &Relay::new(URL, &relay).unwrap();
    let read = alice.user.send(via, bob.id(), "one", START).unwrap().id;
    bob.round(&relay, START);
    alice.round(&relay, START);
    let given_up = alice.user.send(via, bob.id(), "two", START).unwrap().id;
    assert!(!alice.user.is_cancelled(&given_up).unwrap());
    assert!(alice.user.cancel(&given_up).unwrap());
    assert!(!alice.user.cancel(&read).unwrap());
    let is_cancelled = |id: &str| alice.user.is_cancelled(id).unwrap();
    assert_eq!((is_cancelled(&read), is_cancelled(&given_up)), (false, true));
}

#[test]
fn messages_of_one_sender_are_delivered_alone() {
    let (mut alice, mut bob, relay) = pair();
    let mut carol = Somebody::new("carol");
    carol.send(&relay, bob.id(), "of carol", START);
    alice.send(&relay, bob.id(), "of alice", START);
    bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    let mut texts = Vec::new();
    let note = |message: &Message| {
        texts.push(message.content.clone());
        Disposition::Taken
    };
    bob.user.deliver(&[alice.id()], note).unwrap();
    assert_eq!(texts, [Content::Text("of alice".to_owned())]);
    assert_eq!(bob.show(), ["~carol: of carol"]);
}

#[test]
fn a_clock_that_is_wrong_is_told_with_the_number() {
    let (mut alice, bob, relay) = pair();
    relay.set_now(START.after(Duration::from_secs(3_600)));
    let error = alice.user.send(&Relay::new(URL, &relay).unwrap(), bob.id(), "one", START).unwrap_err();
    assert!(error.to_string().contains("3600 s behind"), "{error}");
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn what_a_relay_says_cannot_move_a_cursor() {
    let (_, mut bob, relay) = pair();
    relay.set_faults([], Fault::Babbles);
    let error = bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap_err();
    assert!(matches!(error, UserError::Relay(RelayError::Unreadable { tool: "read_messages", .. })), "{error}");
    assert!(!error.to_string().contains('\u{1b}'));
}

#[test]
fn what_is_no_message_and_to_whom_none_can_go_is_an_error_by_name() {
    let (mut alice, bob, relay) = pair();
    let (own, theirs) = (alice.id(), bob.id());
    let via = &Relay::new(URL, &relay).unwrap();
    let mut send = |to, text: &str| alice.user.send(via, to, text, START).map(|sent| sent.state);
    assert!(matches!(send(theirs, ""), Err(UserError::TextEmpty)));
    assert!(matches!(send(theirs, &"x".repeat(200_000)), Err(UserError::TextTooLong { .. })));
    assert!(matches!(send(own, "x"), Err(UserError::ToOneself)));
    let nobody = "0123456789abcdef0123456789abcdef".parse().unwrap();
    assert!(matches!(send(nobody, "x"), Err(UserError::Relay(RelayError::PeerUnknown { .. }))));
    assert_eq!(send(theirs, &"x".repeat(146_000)).unwrap(), OutgoingState::Stored, "the longest that a relay takes");
    assert_eq!(alice.user.outbox().unwrap().len(), 1);
}

#[test]
fn names_are_printable_and_nobody_elses() {
    let (mut alice, bob, _) = pair();
    let carol = Somebody::new("carol");
    let long = "x".repeat(65);
    let id = carol.id().to_string();
    for bad in ["", " x", "a\n", "a\u{1b}[2J", "\u{202e}x", "~bob", &long, &id] {
        assert!(matches!(alice.user.add(bad, carol.id(), None), Err(UserError::NameInvalid)), "{bad:?}");
    }
    assert!(matches!(alice.user.add("bob", carol.id(), None), Err(UserError::NameTaken { .. })));
    alice.user.add("Robert", bob.id(), None).unwrap();
    alice.user.add("bob", carol.id(), None).unwrap();
    let names: Vec<_> = alice.user.contacts().unwrap().into_iter().map(|contact| contact.name.unwrap()).collect();
    assert_eq!(names, ["Robert", "bob"]);
    assert_eq!(alice.user.contact("Robert").unwrap().unwrap().id, bob.id());
    assert_eq!(alice.user.contact("nobody").unwrap(), None);
    assert_eq!(alice.user.contact(&bob.id().to_string().to_uppercase()).unwrap().unwrap().id, bob.id());
}

#[test]
fn a_full_inbox_leaves_at_the_relay_what_is_there() {
    let (mut alice, mut bob, relay) = pair();
    bob.user
        .vault
        .change(|rows| {
            for number in 0..10_000 {
                let content = Content::Text(String::new());
                let (id, from) = (number.to_string(), alice.id());
                rows.put(&InboxRecord {
                    number,
                    id,
                    from,
                    claimed_name: None,
                    content,
                    received_at: START,
                    is_offered: false,
                })?;
            }
            Ok::<_, UserError>(())
        })
        .unwrap();
    alice.send(&relay, bob.id(), "one", START);
    let report = bob.user.receive(&Relay::new(URL, &relay).unwrap(), START).unwrap();
    assert!(report.is_inbox_full && relay.waiting(bob.id()) == 1);
}

#[test]
fn a_request_says_who_asks_and_what_once() {
    let (mut alice, bob, relay) = pair();
    relay.take_tools();
    alice.send(&relay, bob.id(), "one", START);
    assert_eq!(relay.take_tools(), ["claim_key", "send_message"]);
    alice.send(&relay, bob.id(), "two", START);
    assert_eq!(relay.take_tools(), ["send_message"]);
    alice.round(&relay, START);
    assert_eq!(relay.take_tools(), ["read_messages"]);
    assert_eq!(alice.maintain(&relay, START).published, 0);
    assert_eq!(relay.take_tools(), ["count_keys"]);
}

/// Two who have written to each other, so that each has the other's mailbox.
fn pair_with_mailboxes() -> (Somebody, Somebody, HostileRelay) {
    let (mut alice, mut bob, relay) = pair();
    relay.open_mailboxes();
    alice.send(&relay, bob.id(), "hello", START);
    assert_eq!(bob.round(&relay, START), ["alice: hello"]);
    assert!(alice.round(&relay, START).is_empty());
    bob.send(&relay, alice.id(), "hi", START);
    assert_eq!(alice.round(&relay, START), ["bob: hi"]);
    assert!(bob.round(&relay, START).is_empty());
    (alice, bob, relay)
}

fn sent_by(somebody: &mut Somebody, relay: &HostileRelay, to: UserId, text: &str, now: UnixMillis) -> Option<Door> {
    somebody.user.send(&Relay::new(relay.url(), relay).unwrap(), to, text, now).unwrap().door
}

fn by_retalk(why: RetalkReason) -> Option<Door> {
    Some(Door::Retalk { why })
}

#[test]
fn two_of_these_programs_go_over_to_mailboxes_by_themselves_and_the_relay_sees_neither() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    let (_, before) = relay.seen_since(0);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "from alice", START), Some(Door::Mailbox));
    assert_eq!((relay.deposited(), relay.waiting(bob.id())), (1, 0));
    assert_eq!(sent_by(&mut bob, &relay, alice.id(), "from bob", START), Some(Door::Mailbox));
    let (mut bodies, _) = relay.seen_since(before);
    // A card is asked for once, with nothing that says who asks.
    bodies.retain(|body| !body.is_empty());
    assert_eq!(bodies.len(), 2, "a message is one request");
    for body in bodies {
        for keys in [alice.user.identity(), bob.user.identity()] {
            for secret in [keys.user_id().to_string().as_str(), keys.identity_key(), keys.signing_key()] {
                assert!(!body.contains(secret));
            }
        }
        let sealed = serde_json::from_str::<serde_json::Value>(&body).unwrap()["sealed"].as_str().unwrap().to_owned();
        assert_eq!(rendezvous_protocol::base64::decode(&sealed).unwrap().len(), 2_048);
    }
    assert_eq!(bob.round(&relay, START), ["alice: from alice"]);
    assert_eq!(alice.round(&relay, START), ["bob: from bob"]);
    bob.round(&relay, START);
    assert!(alice.user.outbox().unwrap().is_empty() && bob.user.outbox().unwrap().is_empty());
    assert_eq!((relay.waiting(alice.id()), relay.waiting(bob.id())), (0, 0));
    let status = alice.user.status().unwrap();
    assert_eq!((status.contacts_with_mailbox, status.mailbox.unwrap().is_open), (1, true));
    assert_eq!(alice.user.contacts().unwrap()[0].door, Door::Mailbox);
}

#[test]
fn where_the_relay_has_no_mailboxes_all_goes_by_the_other_door_and_says_so() {
    let (mut alice, mut bob, relay) = pair();
    for text in ["one", "two"] {
        assert_eq!(sent_by(&mut alice, &relay, bob.id(), text, START), by_retalk(RetalkReason::NotOffered));
        assert_eq!(bob.round(&relay, START), [format!("alice: {text}")]);
        bob.send(&relay, alice.id(), "answer", START);
        assert_eq!(alice.round(&relay, START), ["bob: answer"]);
    }
    assert_eq!(bob.user.status().unwrap().mailbox.unwrap().refused.as_deref(), Some("NOT_FOUND"));
}

#[test]
fn a_relay_that_refuses_the_mailbox_keeps_it_from_no_other_relay() {
    let (mut alice, mut bob, first) = pair();
    alice.send(&first, bob.id(), "one", START);
    bob.round(&first, START);
    bob.send(&first, alice.id(), "two", START);
    alice.round(&first, START);
    assert_eq!(bob.user.status().unwrap().mailbox.unwrap().refused.as_deref(), Some("NOT_FOUND"));

    let second = HostileRelay::new("http://127.0.0.1:8767", START);
    second.open_mailboxes();
    bob.maintain(&second, START);
    let mailbox = bob.user.status().unwrap().mailbox.unwrap();
    assert_eq!((mailbox.is_open, mailbox.refused), (true, None));
    // Back at the first one its refusal is not asked for again before its time either.
    let seen = first.refused_mailboxes();
    bob.maintain(&first, START);
    assert_eq!(first.refused_mailboxes(), seen + 1, "another relay is one question");
    bob.maintain(&first, START);
    assert_eq!(first.refused_mailboxes(), seen + 1);
}

#[test]
fn a_stranger_is_offered_nothing_and_offers_in_vain() {
    let (mut alice, mut bob, relay) = pair();
    relay.open_mailboxes();
    bob.user.remove(alice.id()).unwrap();
    for _ in 0..3 {
        alice.send(&relay, bob.id(), "x", START);
        bob.round(&relay, START);
        alice.round(&relay, START);
    }
    assert_eq!(bob.user.status().unwrap().mailbox, None);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "y", START), by_retalk(RetalkReason::NotOffered));
    assert_eq!(sent_by(&mut bob, &relay, alice.id(), "z", START), by_retalk(RetalkReason::NotOffered));
}

#[test]
fn a_mailbox_that_refuses_keeps_no_message_back_and_none_overtakes() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    alice.send(&relay, bob.id(), "one", START);
    // The mailbox refuses the second, and the other door takes it.
    relay.set_faults([Fault::HasNoRoom], Fault::None);
    let full = RetalkReason::Refused { code: "MAILBOX_FULL".to_owned() };
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "two", START), by_retalk(full));
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "three", START), by_retalk(RetalkReason::EarlierMessage));
    assert_eq!(bob.round(&relay, START), ["alice: one", "alice: two", "alice: three"]);
    alice.round(&relay, START);
    assert!(alice.user.outbox().unwrap().is_empty());
    // What was not taken is brought all the same: without its number the mailbox would wait for it.
    alice.maintain(&relay, START);
    assert_eq!(relay.deposited(), 1);
    assert!(bob.round(&relay, START).is_empty(), "a copy");
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "four", START), Some(Door::Mailbox));
    relay.close_mailboxes();
    let closed = RetalkReason::Refused { code: "NOT_FOUND".to_owned() };
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "five", START), by_retalk(closed));
}

#[test]
fn an_answer_of_the_mailbox_that_is_lost_shows_no_message_twice() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    relay.set_faults([Fault::AnswerLost], Fault::None);
    let door = sent_by(&mut alice, &relay, bob.id(), "once", START);
    assert!(matches!(door, Some(Door::Retalk { why: RetalkReason::Unreached { .. } })), "{door:?}");
    assert_eq!((relay.deposited(), relay.waiting(bob.id())), (1, 1), "it is at both doors");
    assert_eq!(bob.round(&relay, START), ["alice: once"]);
    assert!(alice.round(&relay, START).is_empty());
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn what_is_longer_than_the_largest_size_goes_by_the_other_door() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    let long = "x".repeat(131_072);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), &long, START), by_retalk(RetalkReason::TooLong));
    assert_eq!(bob.round(&relay, START), [format!("alice: {long}")]);
}

#[test]
fn what_was_taken_out_of_the_mailbox_and_not_acknowledged_comes_by_the_other_door() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    alice.send(&relay, bob.id(), "shown to nobody", START);
    bob.user.receive(&Relay::new(relay.url(), &relay).unwrap(), START).unwrap();
    assert_eq!(relay.deposited(), 0);
    let now = later(&relay, Duration::from_secs(130));
    alice.maintain(&relay, now);
    assert_eq!(alice.user.outbox().unwrap()[0].door, Some(Door::Mailbox), "it has time");
    let now = later(&relay, Duration::from_secs(760));
    alice.maintain(&relay, now);
    assert_eq!(alice.user.outbox().unwrap()[0].door, by_retalk(RetalkReason::NotAcknowledged));
    assert_eq!(bob.round(&relay, now), ["alice: shown to nobody"]);
    alice.round(&relay, now);
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn a_message_that_ended_in_the_mailbox_is_left_there_anew() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    alice.send(&relay, bob.id(), "patient", START);
    let now = later(&relay, 8 * DAY);
    alice.maintain(&relay, now);
    assert_eq!(alice.user.outbox().unwrap()[0].door, Some(Door::Mailbox));
    assert_eq!(bob.round(&relay, now), ["alice: patient"]);
    alice.round(&relay, now);
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn who_is_blocked_has_no_slot_any_more_and_gets_another_one_later() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    bob.user.set_blocked(alice.id(), true).unwrap();
    bob.maintain(&relay, START);
    let struck_off = RetalkReason::Refused { code: "SLOT_UNKNOWN".to_owned() };
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "hello?", START), by_retalk(struck_off));
    assert!(bob.round(&relay, START).is_empty());
    bob.user.set_blocked(alice.id(), false).unwrap();
    bob.maintain(&relay, START);
    bob.send(&relay, alice.id(), "you may", START);
    assert_eq!(alice.round(&relay, START), ["bob: you may"]);
    alice.maintain(&relay, later(&relay, Duration::from_secs(130)));
    let now = later(&relay, Duration::from_secs(260));
    bob.round(&relay, now);
    alice.round(&relay, now);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "thanks", now), Some(Door::Mailbox));
}

#[test]
fn who_is_no_contact_any_more_has_no_slot_and_is_offered_none() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    assert!(bob.user.remove(alice.id()).unwrap());
    bob.maintain(&relay, START);
    let struck_off = RetalkReason::Refused { code: "SLOT_UNKNOWN".to_owned() };
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "hello?", START), by_retalk(struck_off.clone()));
    assert_eq!(bob.round(&relay, START).len(), 1);
    alice.round(&relay, START);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "and now?", START), by_retalk(struck_off));
}

#[test]
fn a_relay_that_has_lost_the_mailbox_gets_another_one() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    alice.send(&relay, bob.id(), "lost", START);
    relay.lose_everything();
    for seconds in [0, 130, 260, 390, 520] {
        let now = later(&relay, Duration::from_secs(seconds));
        for somebody in [&mut bob, &mut alice] {
            // It has none of the keys any more either.
            let relay = &Relay::new(relay.url(), &relay).unwrap();
            somebody.user.maintain(relay, now).unwrap();
            somebody.user.receive(relay, now).unwrap();
            let shown = somebody.show();
            assert!(shown.is_empty() || shown == ["alice: lost"], "{shown:?}");
            somebody.user.acknowledge(relay, now).unwrap();
        }
    }
    assert!(alice.user.outbox().unwrap().is_empty());
    let now = later(&relay, Duration::from_secs(650));
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "again", now), Some(Door::Mailbox));
    assert_eq!(bob.round(&relay, now), ["alice: again"]);
}

#[test]
fn new_sealing_keys_are_made_in_time_and_found() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    for day in (5..60).step_by(5) {
        let now = later(&relay, day * DAY);
        bob.maintain(&relay, now);
        assert_eq!(sent_by(&mut alice, &relay, bob.id(), "x", now), Some(Door::Mailbox), "day {day}");
        assert_eq!(bob.round(&relay, now), ["alice: x"]);
        alice.round(&relay, now);
    }
    // One that nobody has looked after for as long as a key lasts: nothing is sealed to what has ended.
    let now = later(&relay, 130 * DAY);
    let door = sent_by(&mut alice, &relay, bob.id(), "y", now);
    assert!(matches!(door, Some(Door::Retalk { .. })), "{door:?}");
    assert_eq!(bob.round(&relay, now), ["alice: y"]);
}

/// Copies the files of a store, to which nobody writes meanwhile.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    // A store that is open to others is refused.
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

impl Somebody {
    /// Keeps a copy of the store as it is now.
    fn back_up(&self) -> TempDir {
        let kept = directory();
        copy(&self.store(), kept.path());
        kept
    }

    /// Goes on with a store of an earlier time.
    fn restore(&mut self, kept: &TempDir) {
        let name = self.user.profile().unwrap().name;
        let directory = directory();
        let store = directory.path().join("store");
        copy(kept.path(), &store);
        self.user = User::open(&store, &name).unwrap();
        self.directory = directory;
    }

    /// Does what a program does that looks after its messages. Returns what it shows.
    fn look(&mut self, relay: &HostileRelay, now: UnixMillis) -> Vec<String> {
        self.maintain(relay, now);
        self.round(relay, now)
    }
}

#[test]
#[should_panic(expected = "encrypts two texts")]
fn a_store_that_was_copied_back_is_seen_to_use_a_message_key_twice_also_where_the_first_use_was_lost() {
    let (mut alice, bob, relay) = pair();
    alice.send(&relay, bob.id(), "zero", START);
    let kept = alice.back_up();
    relay.set_faults([], Fault::RequestLost);
    alice.send(&relay, bob.id(), "one", START);
    alice.restore(&kept);
    alice.send(&relay, bob.id(), "two", START);
}

#[test]
#[should_panic(expected = "encrypts two texts")]
fn a_store_that_was_copied_back_is_seen_to_use_a_message_key_twice_in_a_mailbox() {
    let (mut alice, bob, relay) = pair_with_mailboxes();
    let kept = alice.back_up();
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "one", START), Some(Door::Mailbox));
    look_into_deposits(&relay, &[&alice, &bob]);
    alice.restore(&kept);
    alice.send(&relay, bob.id(), "two", START);
    look_into_deposits(&relay, &[&alice, &bob]);
}

#[test]
fn messages_in_a_mailbox_that_its_owner_has_lost_come_by_the_other_door() {
    let (mut alice, mut bob, relay) = pair();
    relay.open_mailboxes();
    alice.send(&relay, bob.id(), "hello", START);
    bob.round(&relay, START);
    alice.round(&relay, START);
    let kept = bob.back_up();
    bob.send(&relay, alice.id(), "hi", START);
    alice.round(&relay, START);
    bob.round(&relay, START);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "read", START), Some(Door::Mailbox));
    assert_eq!(bob.round(&relay, START), ["alice: read"]);
    alice.round(&relay, START);

    bob.restore(&kept);
    for count in 0..40 {
        alice.send(&relay, bob.id(), &count.to_string(), START);
    }
    let (mut shown, mut seconds) = (Vec::new(), 0);
    while shown.len() < 40 && seconds < 7_200 {
        let now = later(&relay, Duration::from_secs(seconds));
        alice.look(&relay, now);
        shown.extend(bob.look(&relay, now));
        seconds += 600;
    }
    assert_eq!(shown, (0..40).map(|count| format!("alice: {count}")).collect::<Vec<_>>());
    for _ in 0..4 {
        seconds += 600;
        let now = later(&relay, Duration::from_secs(seconds));
        alice.look(&relay, now);
        bob.look(&relay, now);
    }
    assert!(alice.user.outbox().unwrap().is_empty());
    let now = later(&relay, Duration::from_secs(seconds));
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "anew", now), Some(Door::Mailbox));
    assert_eq!(bob.round(&relay, now), ["alice: anew"]);
}

#[test]
fn an_acknowledgement_that_a_mailbox_has_lost_is_sent_again_by_the_other_door() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    assert_eq!(sent_by(&mut bob, &relay, alice.id(), "one", START), Some(Door::Mailbox));
    relay.set_faults([], Fault::Swallows);
    assert_eq!(alice.round(&relay, START), ["bob: one"]);
    relay.set_faults([], Fault::None);
    assert_eq!(bob.round(&relay, START), [""; 0]);
    assert_eq!(bob.user.outbox().unwrap().len(), 1);

    let (mut seconds, mut shown) = (0, Vec::new());
    while seconds < 7_200 && !bob.user.outbox().unwrap().is_empty() {
        seconds += 130;
        let now = later(&relay, Duration::from_secs(seconds));
        bob.look(&relay, now);
        shown.extend(alice.look(&relay, now));
        bob.look(&relay, now);
    }
    assert_eq!((bob.user.outbox().unwrap(), shown), (vec![], vec![]));
}

#[test]
fn an_acknowledgement_is_not_lost_with_a_program_that_is_killed_before_it_has_left() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "one", START), Some(Door::Mailbox));
    let at = &Relay::new(relay.url(), &relay).unwrap();
    bob.user.receive(at, START).unwrap();
    assert_eq!(bob.show(), ["alice: one"]);
    bob.user.vault.commits_left = Some(1);
    assert!(bob.user.acknowledge(at, START).is_err());
    bob.reopen();
    for _ in 0..3 {
        bob.look(&relay, START);
        alice.look(&relay, START);
    }
    assert!(alice.user.outbox().unwrap().is_empty());
}

#[test]
fn a_slot_that_an_older_store_does_not_know_is_told_and_struck_off() {
    let (mut alice, mut bob, relay) = (Somebody::new("alice"), Somebody::new("bob"), HostileRelay::new(URL, START));
    let mut carol = Somebody::new("carol");
    relay.open_mailboxes();
    for contact in [&mut alice, &mut carol] {
        let name = contact.user.profile().unwrap().name;
        contact.user.add("bob", bob.id(), None).unwrap();
        bob.user.add(&name, contact.id(), None).unwrap();
        contact.round(&relay, START);
    }
    bob.round(&relay, START);
    let write_to_each_other = |contact: &mut Somebody, bob: &mut Somebody| {
        contact.send(&relay, bob.id(), "hello", START);
        bob.round(&relay, START);
        contact.round(&relay, START);
        bob.send(&relay, contact.id(), "hi", START);
        contact.round(&relay, START);
        bob.round(&relay, START);
    };
    write_to_each_other(&mut carol, &mut bob);
    let kept = bob.back_up();
    write_to_each_other(&mut alice, &mut bob);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "read", START), Some(Door::Mailbox));
    assert_eq!(bob.round(&relay, START), ["alice: read"]);
    alice.round(&relay, START);

    bob.restore(&kept);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "one", START), Some(Door::Mailbox));
    let report = bob.user.receive(&Relay::new(relay.url(), &relay).unwrap(), START).unwrap();
    assert_eq!(report.problems, [Problem { peer: None, cause: ProblemCause::SlotUnknown }]);
    let now = later(&relay, Duration::from_secs(130));
    let struck_off = RetalkReason::Refused { code: "SLOT_UNKNOWN".to_owned() };
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "two", now), by_retalk(struck_off));
    // What the mailbox took waits there for its hour.
    let (mut shown, mut seconds) = (Vec::new(), 130);
    while seconds < 7_200 {
        let now = later(&relay, Duration::from_secs(seconds));
        alice.look(&relay, now);
        shown.extend(bob.look(&relay, now));
        seconds += 600;
    }
    shown.sort();
    assert_eq!(shown, ["alice: one", "alice: two"]);
    assert!(alice.user.outbox().unwrap().is_empty());
    let now = later(&relay, Duration::from_secs(seconds));
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "anew", now), Some(Door::Mailbox));
}

#[test]
fn what_cannot_be_taken_out_of_a_mailbox_keeps_nothing_newer_from_being_seen() {
    let (mut bob, relay) = (Somebody::new("bob"), HostileRelay::new(URL, START));
    relay.open_mailboxes();
    let befriend = |name: &str, bob: &mut Somebody| {
        let mut contact = Somebody::new(name);
        contact.user.add("bob", bob.id(), None).unwrap();
        bob.user.add(name, contact.id(), None).unwrap();
        for _ in 0..2 {
            contact.round(&relay, START);
            bob.round(&relay, START);
            contact.send(&relay, bob.id(), "hello", START);
            bob.round(&relay, START);
            bob.send(&relay, contact.id(), "hi", START);
        }
        contact.round(&relay, START);
        bob.round(&relay, START);
        contact
    };
    let mut alice = befriend("alice", &mut bob);
    let kept = bob.back_up();
    let strangers: Vec<_> = ["carol", "dave", "erin", "frank"].map(|name| befriend(name, &mut bob)).into();

    // Of slots that the older store does not know there is more than one answer holds.
    bob.restore(&kept);
    for mut stranger in strangers {
        for count in 0..CONTACT_LIMIT_MAX {
            assert_eq!(sent_by(&mut stranger, &relay, bob.id(), &count.to_string(), START), Some(Door::Mailbox));
        }
    }
    assert!(relay.deposited() > COLLECT_MAX_MESSAGES as usize);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "newer", START), Some(Door::Mailbox));
    assert_eq!(bob.round(&relay, START), ["alice: newer"]);
    // The same holds in the next run, when the relay still keeps what was left for those names.
    alice.round(&relay, START);
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "newer still", START), Some(Door::Mailbox));
    assert_eq!(bob.round(&relay, START), ["alice: newer still"]);
}

#[test]
fn no_relay_ends_a_mailbox_by_a_card_that_its_owner_has_not_signed() {
    let (mut alice, mut bob, relay) = pair_with_mailboxes();
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "sealed", START), Some(Door::Mailbox));
    assert_eq!(bob.round(&relay, START), ["alice: sealed"]);
    alice.round(&relay, START);

    // Who is blocked has no slot any more: new records, which the relay calls old ones.
    bob.user.set_blocked(alice.id(), true).unwrap();
    relay.set_faults([], Fault::Corrupts);
    bob.user.open_mailbox(&Relay::new(relay.url(), &relay).unwrap(), START).unwrap();
    relay.set_faults([], Fault::None);
    bob.user.set_blocked(alice.id(), false).unwrap();

    let now = later(&relay, Duration::from_secs(7_200));
    for text in ["one", "two"] {
        bob.look(&relay, now);
        alice.send(&relay, bob.id(), text, now);
        assert_eq!(bob.look(&relay, now), [format!("alice: {text}")]);
        bob.send(&relay, alice.id(), text, now);
        assert_eq!(alice.look(&relay, now), [format!("bob: {text}")]);
        bob.look(&relay, now);
    }
    assert_eq!(sent_by(&mut alice, &relay, bob.id(), "sealed again", now), Some(Door::Mailbox));
    assert_eq!(bob.look(&relay, now), ["alice: sealed again"]);
}
