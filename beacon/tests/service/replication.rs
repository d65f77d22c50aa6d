//! Relays that push to one another: what authors bring to one is at the other once, and what a hostile peer brings changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use rendezvous_protocol::base64;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::bytes::{Address, Bytes, ContentId};
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::proof::{Proof, day_of};
use rendezvous_protocol::mailbox::record::{Close, Collect, Contact, Deposit, Replicate};
use rendezvous_protocol::mailbox::replica::digest_of;
use rendezvous_protocol::network::read_address;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::Answer;
use rendezvous_service::config::Config;
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::mailbox::{
    BatchText, Effects, MailboxStep, Object, ObjectCall, ObjectName, PUSH_ROWS, PeerLimits, Peers, PushAnswer,
    push_body,
};
use rendezvous_service::platform::Platform;
use serde_json::{Value, json};

use crate::host::{START, at, json as json_of, problem};
use crate::mailbox::{DAY, Disk, ack, address, card, deposit_of, owner, policy, reader, sealed, sign, slot, stranger};

const ORIGINS: [&str; 3] = ["https://a.example", "https://b.example", "https://c.example"];

fn relay_key(relay: usize) -> PrivateKey {
    PrivateKey::from_seed(&[u8::try_from(50 + relay).unwrap(); 32])
}

/// One of the relays, each of which has all others for peers.
struct Relay {
    number: usize,
    now: u64,
    config: Config,
    peers: Arc<Peers>,
    edge: Edge,
    limits: PeerLimits,
    object: Option<Object>,
    disk: Disk,
}

impl Relay {
    fn new(number: usize) -> Self {
        let others = (0..ORIGINS.len()).filter(|other| *other != number);
        let named: Vec<_> =
            others.map(|other| format!("{}={}", ORIGINS[other], relay_key(other).public_key())).collect();
        let (named, key) = (named.join(","), relay_key(number).to_pem().unwrap());
        let variables = |name: &str| match name {
            "EXTERNAL_URLS" => Some(ORIGINS[number].to_owned()),
            "RELAY_PEERS" => Some(named.clone()),
            "RELAY_PRIVATE_KEY" => Some(key.clone()),
            "NETWORK_REQUESTS_PER_MINUTE" | "ADDRESS_REQUESTS_PER_MINUTE" => Some("100000".to_owned()),
            _ => None,
        };
        let config = Config::parse(variables).unwrap();
        let peers = Arc::new(Peers::parse(&config, variables).unwrap().unwrap());
        let edge = Edge::new(config.clone(), Platform::of_program(1), Secret::from_bytes([7; 16]), 7);
        let edge = edge.with_replication(Arc::clone(&peers));
        let limits = PeerLimits::new(&peers);
        Self { number, now: 0, config, peers, edge, limits, object: None, disk: Disk::default() }
    }

    /// The number that this relay has for another one.
    fn peer(&self, relay: usize) -> usize {
        (0..self.peers.len()).find(|peer| self.peers.origin(*peer).unwrap().as_str() == ORIGINS[relay]).unwrap()
    }

    fn object(&mut self) -> &mut Object {
        if self.object.is_none() {
            let name = Some(ObjectName::Mailbox(address()));
            let restored =
                Object::restore(at(self.now), &self.config, name, self.disk.found(), Secret::from_bytes([9; 16]));
            let (mut object, effects) = restored.unwrap().unwrap();
            self.disk.carry_out(&effects);
            let effects = object.replicate_to(at(self.now), Arc::clone(&self.peers)).unwrap();
            self.disk.carry_out(&effects);
            self.object = Some(object);
        }
        self.object.as_mut().unwrap()
    }

    fn restart(&mut self) {
        self.object = None;
    }

    /// Writes what is to be written. Returns the messages that were there before.
    fn carry_out(&mut self, effects: &Effects) -> BTreeMap<u64, (String, String)> {
        let before = self.disk.messages.clone();
        self.disk.carry_out(effects);
        let stored = self.disk.rows.keys().filter(|name| name.starts_with(PUSH_ROWS)).count();
        assert_eq!(self.object().waiting(), stored, "what waits is what is stored");
        before
    }

    /// Serves a request about the mailbox, or a push, from an address of its own for each relay.
    fn serve(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let host = ORIGINS[self.number].strip_prefix("https://");
        let head = Head { method, url: path, address: read_address("192.0.2.1"), host, ..Head::default() };
        let now = at(self.now);
        let body: Result<Vec<u8>, RequestError> = Ok(body.as_bytes().to_vec());
        let mut step = self.edge.receive(now, &head);
        loop {
            let mailbox = match step {
                Step::Answer(answer) => return answer,
                Step::Mailbox(mailbox) => *mailbox,
                other => panic!("not a step of a mailbox: {other:?}"),
            };
            step = match mailbox {
                MailboxStep::ReadBody(read) => self.edge.read_records(now, read, body.clone()),
                MailboxStep::Verify(verify) => {
                    let fit = verify.verify_signatures();
                    self.edge.records_verified(now, verify, fit)
                }
                MailboxStep::Ask(ask) => match ask.into_calls() {
                    // The count of mailboxes is another test's.
                    (ObjectCall::Openings(_), Some(next)) => Step::Mailbox(Box::new(MailboxStep::Ask(next))),
                    (call, _) => {
                        let (answer, effects) = self.object().handle(now, call);
                        let bodies = self.carry_out(&effects);
                        let body = |number| Ok::<_, ()>(bodies[&number].1.clone());
                        return answer.join(body).unwrap();
                    }
                },
                MailboxStep::Replicate(read) => {
                    let call = read.resume(now, body.clone()).and_then(|verify| {
                        let fits = verify.verify_signature();
                        verify.resume(now, fits, &mut self.limits)?.verify(now)
                    });
                    let call = match call {
                        Ok(call) => call,
                        Err(answer) => return answer,
                    };
                    assert_eq!(call.object(), ObjectName::Mailbox(address()));
                    let (answer, effects) = self.object().replicate(now, call);
                    self.carry_out(&effects);
                    return answer.join(|_| Err::<String, _>(())).unwrap();
                }
                MailboxStep::Listen(open) => panic!("not a request that is answered: {open:?}"),
            };
        }
    }

    fn about(&mut self, method: &str, rest: &str, body: &str) -> Answer {
        self.serve(method, &format!("/v1/mailboxes/{}{rest}", address()), body)
    }

    fn put(&mut self, revision: u64, contacts: &[(PrivateKey, u8)]) -> Answer {
        let (card, policy) = records(revision, contacts);
        self.about("PUT", "", &format!(r#"{{"card":{card},"policy":{policy}}}"#))
    }

    fn leave(&mut self, message: &str) -> Answer {
        self.about("POST", "/messages", message)
    }

    fn acknowledge(&mut self, ack: &str) -> Answer {
        self.about("POST", "/acks", &format!(r#"{{"acks":[{ack}]}}"#))
    }

    /// The content ids of all that waits.
    fn waiting(&mut self, nonce: u8) -> BTreeSet<String> {
        let collect = Collect {
            audience: ORIGINS[self.number].to_owned(),
            collector: Bytes([1; 16]),
            issued_at: at(self.now),
            limit: 100,
            mailbox: address(),
            max_bytes: 10_000_000,
            nonce: Bytes([nonce; 16]),
        };
        let answer = self.about("POST", "/collect", &format!(r#"{{"collect":{}}}"#, sign(collect, &reader())));
        assert_eq!(answer.status, 200, "{answer:?}");
        let messages = json_of(&answer)["messages"].as_array().unwrap().clone();
        let ids: Vec<_> =
            messages.iter().map(|it| it["deposit"]["payload"]["contentId"].as_str().unwrap().to_owned()).collect();
        let distinct: BTreeSet<_> = ids.iter().cloned().collect();
        assert_eq!(ids.len(), distinct.len(), "no message is there twice");
        distinct
    }

    /// What a push to another relay has: the numbers of entries, and the texts of items.
    fn batch(&mut self, relay: usize) -> (Vec<u64>, Vec<String>) {
        let peer = self.peer(relay);
        let batch = self.object().batch(peer);
        let text = |what: BatchText| match what {
            BatchText::Ready(text) => text,
            BatchText::Message { number, rest } => format!("{{{}{rest}}}", self.disk.messages[&number].1),
        };
        batch.into_iter().map(|item| (item.entry, text(item.what))).unzip()
    }
}

fn records(revision: u64, contacts: &[(PrivateKey, u8)]) -> (String, String) {
    let card = card(0, revision, |card| card.relays = ORIGINS.map(str::to_owned).to_vec());
    let policy = policy(0, revision, |policy| {
        policy.contacts =
            contacts.iter().map(|(key, limit)| Contact { key: key.public_key(), limit: *limit }).collect();
    });
    (sign(card, &owner()), sign(policy, &owner()))
}

fn of_slot() -> [(PrivateKey, u8); 1] {
    [(slot(), 2)]
}

fn message(sequence: u64, content: u8) -> String {
    signed_message(sequence, content, &slot())
}

fn signed_message(sequence: u64, content: u8, key: &PrivateKey) -> String {
    let bytes = sealed(content);
    let deposit = deposit_of(&bytes, 0, sequence, |_| {}, key);
    format!(r#"{{"deposit":{deposit},"sealed":"{}"}}"#, base64::encode(&bytes))
}

/// The first two of the relays, with the mailbox open at both.
fn two() -> [Relay; 2] {
    let mut relays = [Relay::new(0), Relay::new(1)];
    for relay in &mut relays {
        assert_eq!(relay.put(1, &of_slot()).status, 201);
    }
    relays
}

/// Pushes what one relay has for another, as a host does. Returns what the other answered, if there was anything.
fn push(relays: &mut [Relay], from: usize, to: usize, nonce: u8, is_heard: bool) -> Option<Value> {
    let (entries, items) = relays[from].batch(to);
    if entries.is_empty() {
        return None;
    }
    let peer = relays[from].peer(to);
    let now = at(relays[from].now);
    let body = push_body(&relays[from].peers, peer, now, address(), &items, [nonce; 16]).unwrap();
    let answer = relays[to].serve("POST", "/v1/replicate", &body);
    if !is_heard {
        return None;
    }
    let read = PushAnswer::read(answer.status, answer.body.as_bytes(), items.len());
    if let PushAnswer::Settled { .. } = read {
        let effects = relays[from].object().settle(now, peer, &entries);
        relays[from].carry_out(&effects);
    }
    Some(json_of(&answer))
}

#[test]
fn what_authors_bring_is_at_the_peer_once_and_goes_no_further() {
    let mut relays = two();
    let [a, b] = &mut relays;
    assert_eq!(a.leave(&message(1, 1)).status, 201);
    assert_eq!(b.leave(&message(2, 2)).status, 201);
    let answer = push(&mut relays, 0, 1, 1, true).unwrap();
    assert_eq!(answer["results"], json!(["duplicate", "duplicate", "accepted"]), "card, policy, message");
    let answer = push(&mut relays, 1, 0, 2, true).unwrap();
    assert_eq!(answer["results"], json!(["duplicate", "duplicate", "accepted"]), "not what came from there");
    assert_eq!((push(&mut relays, 0, 1, 3, true), push(&mut relays, 1, 0, 4, true)), (None, None));
    let [a, b] = &mut relays;
    assert_eq!(a.waiting(1), b.waiting(1));
    assert_eq!(a.waiting(2).len(), 2);
    // The third relay has not answered: what it does not have waits for it, and for it alone.
    assert_eq!(a.object().waiting(), 3);
    assert_eq!(a.batch(2).1.len(), 3);
}

#[test]
fn an_acknowledgement_at_one_relay_frees_the_window_at_the_other() {
    let mut relays = two();
    for sequence in [1, 2] {
        assert_eq!(relays[0].leave(&message(sequence, 1 + u8::try_from(sequence).unwrap())).status, 201);
    }
    push(&mut relays, 0, 1, 1, true);
    assert_eq!(problem(&relays[0].leave(&message(3, 9))), (429, "UNACKNOWLEDGED_LIMIT".to_owned()));
    let answer = relays[1].acknowledge(&acknowledgement(2));
    assert_eq!(json_of(&answer)["released"], 2);
    let answer = push(&mut relays, 1, 0, 2, true).unwrap();
    assert_eq!(answer["results"].as_array().unwrap().last(), Some(&json!("accepted")));
    assert_eq!(relays[0].waiting(1).len(), 0);
    assert_eq!(relays[0].leave(&message(3, 9)).status, 201);
    // What was released is not pushed any more, and an acknowledgement that says nothing new neither.
    assert_eq!(json_of(&relays[0].acknowledge(&acknowledgement(2)))["released"], 0);
    let (_, items) = relays[0].batch(1);
    assert_eq!(items.len(), 1, "{items:?}");
    assert!(items[0].contains(r#""sequence":3"#));
}

/// An acknowledgement through the message with this sequence, of the content that comes before it by one.
fn acknowledgement(through: u64) -> String {
    ack(0, through, |_| {}, &reader())
}

#[test]
fn a_policy_and_a_card_reach_the_peer_and_never_an_older_one() {
    let mut relays = two();
    push(&mut relays, 0, 1, 1, true);
    push(&mut relays, 1, 0, 2, true);
    assert_eq!(relays[0].put(3, &[(stranger(), 4)]).status, 200);
    let newer = relays[0].batch(1).1;
    assert_eq!(push(&mut relays, 0, 1, 3, true).unwrap()["results"], json!(["accepted", "accepted"]));
    assert_eq!(problem(&relays[1].leave(&message(1, 1))), (403, "SLOT_UNKNOWN".to_owned()));
    assert_eq!(relays[1].leave(&signed_message(1, 1, &stranger())).status, 201);
    // An older one that comes later, and the same again.
    let (card, policy) = records(2, &of_slot());
    let older = [format!(r#"{{"card":{card}}}"#), format!(r#"{{"policy":{policy}}}"#)];
    assert_eq!(results(&mut relays[1], 0, 10, &older), json!(["STALE_REVISION", "STALE_REVISION"]));
    assert_eq!(results(&mut relays[1], 0, 11, &newer), json!(["duplicate", "duplicate"]));
}

/// What relay `to` answers to a push of these items by another one.
fn send(to: &mut Relay, nonce: u8, items: &[String], change: impl FnOnce(&mut Replicate), key: &PrivateKey) -> Answer {
    let items = format!("[{}]", items.join(","));
    let mut payload = Replicate {
        audience: ORIGINS[to.number].to_owned(),
        issued_at: at(to.now),
        items: digest_of(&items),
        mailbox: address(),
        nonce: Bytes([nonce; 16]),
    };
    change(&mut payload);
    let relay = Signed::sign(payload, key).unwrap().to_json();
    to.serve("POST", "/v1/replicate", &format!(r#"{{"relay":{relay},"items":{items}}}"#))
}

fn results(to: &mut Relay, from: usize, nonce: u8, items: &[String]) -> Value {
    let answer = send(to, nonce, items, |_| {}, &relay_key(from));
    assert_eq!(answer.status, 200, "{answer:?}");
    json_of(&answer)["results"].clone()
}

fn changed(envelope: &str) -> String {
    let mut json: Value = serde_json::from_str(envelope).unwrap();
    json["signature"] = base64::encode(&[7; 64]).into();
    json.to_string()
}

#[test]
fn a_hostile_peer_changes_nothing() {
    let mut relays = two();
    let b = &mut relays[1];
    assert_eq!(b.leave(&message(1, 2)).status, 201);
    let before = b.disk.clone();
    let bytes = sealed(3);
    let text = base64::encode(&bytes);
    let deposit = |change: fn(&mut Deposit), key: &PrivateKey| deposit_of(&sealed(3), 0, 2, change, key);
    let leave = |deposit: String| format!(r#"{{"deposit":{deposit},"sealed":"{text}"}}"#);
    let (_, by_slot) = records(9, &of_slot());
    let mut by_slot: Value = serde_json::from_str(&by_slot).unwrap();
    by_slot["publicKey"] = slot().public_key().to_string().into();
    let ack_by = |key: &PrivateKey| ack(0, 1, |_| {}, key);
    let with_forged_deposit = {
        let mut ack: Value = serde_json::from_str(&ack(0, 200, |_| {}, &reader())).unwrap();
        ack["of"] = serde_json::from_str(&changed(&ack["of"].to_string())).unwrap();
        ack.to_string()
    };
    for (nonce, (item, expected)) in [
        (leave(changed(&deposit(|_| {}, &slot()))), "SIGNATURE_INVALID"),
        (leave(deposit(|it| it.content_id = Bytes([1; 32]), &slot())), "CONTENT_MISMATCH"),
        (leave(deposit(|it| it.expires_at = at(8 * DAY), &slot())), "LIFETIME_TOO_LONG"),
        (leave(deposit(|it| it.sequence = 4, &slot())), "UNACKNOWLEDGED_LIMIT"),
        (leave(deposit(|it| it.sequence = 1, &slot())), "SEQUENCE_TAKEN"),
        (message(1, 2), "duplicate"),
        (ack_by(&slot()), "NOT_A_READER"),
        (ack_by(&relay_key(0)), "NOT_A_READER"),
        (with_forged_deposit, "SIGNATURE_INVALID"),
        (format!(r#"{{"policy":{by_slot}}}"#), "NOT_THE_OWNER"),
        (format!(r#"{{"policy":{}}}"#, changed(&records(9, &of_slot()).1)), "SIGNATURE_INVALID"),
        (format!(r#"{{"card":{}}}"#, changed(&records(9, &of_slot()).0)), "SIGNATURE_INVALID"),
        (
            leave(deposit_of(&sealed(3), 0, 2, |it| it.mailbox = Address::of(&slot().public_key()), &slot())),
            "MALFORMED",
        ),
        (format!(r#"{{"close":{}}}"#, sign(Close { mailbox: address(), revision: 99 }, &owner())), "MALFORMED"),
        ("17".to_owned(), "MALFORMED"),
    ]
    .into_iter()
    .enumerate()
    {
        let nonce = u8::try_from(nonce).unwrap();
        assert_eq!(results(b, 0, nonce, std::slice::from_ref(&item)), json!([expected]), "{item}");
    }
    // As many keys as it likes: of none of them does the owner know.
    for round in 0..4_u8 {
        let labels: Vec<_> = (0..64_u8)
            .map(|label| {
                signed_message(1, 9, &PrivateKey::from_seed(&[label, 128 + round].repeat(16).try_into().unwrap()))
            })
            .collect();
        let expected: Vec<_> = labels.iter().map(|_| "SLOT_UNKNOWN").collect();
        assert_eq!(results(b, 0, 30 + round, &labels), json!(expected));
    }
    // Refusals of a contact are counted, and told to the owner with the next collect. Nothing else is another.
    assert_eq!(b.disk, before);

    // Whoever is not a peer, or says something else than it has signed.
    let item = [message(2, 3)];
    for (what, status, code) in [
        ("another key", 403, "UNTRUSTED_PUBLIC_KEY"),
        ("another relay", 421, "MISDIRECTED_REQUEST"),
        ("too old", 400, "EXPIRED"),
        ("other items", 400, "CONTENT_MISMATCH"),
        ("another mailbox", 404, "MAILBOX_UNKNOWN"),
    ] {
        let answer = match what {
            "another key" => send(b, 90, &item, |_| {}, &stranger()),
            "another relay" => send(b, 91, &item, |it| it.audience = ORIGINS[0].to_owned(), &relay_key(0)),
            "too old" => send(b, 92, &item, |it| it.issued_at = UnixMillis::saturating(START - 60_001), &relay_key(0)),
            "other items" => send(b, 93, &item, |it| it.items = Bytes([0; 32]), &relay_key(0)),
            _ => {
                let mut elsewhere = Relay::new(1);
                let answer = send(&mut elsewhere, 94, &item, |_| {}, &relay_key(0));
                assert_eq!(elsewhere.disk, Disk::default(), "of a mailbox that is not there nothing is written");
                answer
            }
        };
        assert_eq!(problem(&answer), (status, code.to_owned()), "{what}");
    }
    assert_eq!(b.disk, before);
    assert_eq!(problem(&b.serve("PUT", "/v1/replicate", "")), (405, "METHOD_NOT_ALLOWED".to_owned()));
}

#[test]
fn a_push_is_taken_once_and_a_peer_has_a_budget() {
    let mut relays = two();
    let b = &mut relays[1];
    let item = [message(1, 1)];
    assert_eq!(results(b, 0, 1, &item), json!(["accepted"]));
    let before = b.disk.clone();
    let again = send(b, 1, &item, |_| {}, &relay_key(0));
    assert_eq!(problem(&again), (409, "REPLAYED".to_owned()));
    let with = |it: &mut Replicate, number: u8| it.nonce = Bytes([number, 7].repeat(8).try_into().unwrap());
    for number in 0..118 {
        assert_eq!(send(b, 0, &item, |it| with(it, number), &relay_key(0)).status, 200);
    }
    let refused = send(b, 0, &item, |it| with(it, 200), &relay_key(0));
    assert_eq!(problem(&refused), (429, "THROTTLED".to_owned()));
    assert_eq!(json_of(&refused)["retryAfterMs"], 500);
    // Another peer has its own.
    assert_eq!(send(b, 0, &item, |it| with(it, 201), &relay_key(2)).status, 200);
    assert_eq!(b.disk, before);
    b.now += 500;
    assert_eq!(send(b, 0, &item, |it| with(it, 202), &relay_key(0)).status, 200);
}

#[test]
fn of_a_household_four_pushes_are_read_at_once() {
    let mut b = Relay::new(1);
    let begin = |relay: &mut Relay, address| {
        let address = read_address(address);
        let head = Head { method: "POST", url: "/v1/replicate", address, host: Some("b.example"), ..Head::default() };
        match relay.edge.receive(at(0), &head) {
            Step::Mailbox(step) => match *step {
                MailboxStep::Replicate(read) => Ok(read),
                other => panic!("not a push: {other:?}"),
            },
            Step::Answer(answer) => Err(answer),
            other => panic!("not a push: {other:?}"),
        }
    };
    let mut read: Vec<_> = (0..4).map(|_| begin(&mut b, "192.0.2.1").unwrap()).collect();
    let refused = begin(&mut b, "192.0.2.1").unwrap_err();
    assert_eq!(problem(&refused), (429, "THROTTLED".to_owned()));
    assert_eq!(json_of(&refused)["retryAfterMs"], 5_000);
    let _other = begin(&mut b, "198.51.100.1").unwrap();
    // One that was answered makes room, whatever the answer.
    read.pop().unwrap().resume(at(0), Ok(Vec::new())).unwrap_err();
    read.push(begin(&mut b, "192.0.2.1").unwrap());
    begin(&mut b, "192.0.2.1").unwrap_err();
}

#[test]
fn a_peer_that_the_card_does_not_name_learns_nothing_of_a_mailbox() {
    let mut b = Relay::new(1);
    let card = sign(card(0, 1, |card| card.relays = vec![ORIGINS[1].to_owned(), ORIGINS[2].to_owned()]), &owner());
    let body = format!(r#"{{"card":{card},"policy":{}}}"#, records(1, &of_slot()).1);
    assert_eq!(b.about("PUT", "", &body).status, 201);
    let before = b.disk.clone();
    let answer = send(&mut b, 1, &[message(1, 1)], |_| {}, &relay_key(0));
    assert_eq!(problem(&answer), (404, "MAILBOX_UNKNOWN".to_owned()));
    assert_eq!(b.disk, before);
    assert_eq!(results(&mut b, 2, 2, &[message(1, 1)]), json!(["accepted"]));
    // Nor is anything pushed to it.
    assert_eq!(b.leave(&message(2, 2)).status, 201);
    assert_eq!((b.batch(0).1.len(), b.batch(2).1.len()), (0, 3));
}

#[test]
fn what_waits_outlives_a_restart_and_goes_with_what_it_is_of() {
    let mut relays = two();
    for sequence in [1, 2] {
        assert_eq!(relays[0].leave(&message(sequence, u8::try_from(sequence).unwrap())).status, 201);
    }
    let before = relays[0].batch(1);
    assert_eq!(before.0.len(), 4);
    relays[0].restart();
    assert_eq!(relays[0].batch(1), before);
    // The answer to a push is lost: the same is pushed again, and is there once.
    assert_eq!(push(&mut relays, 0, 1, 1, false), None);
    relays[0].restart();
    let again = push(&mut relays, 0, 1, 2, true).unwrap();
    assert_eq!(again["results"], json!(["duplicate", "duplicate", "duplicate", "duplicate"]));
    // A message that is acknowledged is not pushed any more, to whom it has not been yet.
    assert_eq!(json_of(&relays[0].acknowledge(&acknowledgement(2)))["released"], 2);
    assert_eq!(relays[0].batch(2).1.len(), 3, "card, policy and the acknowledgement");
    relays[0].restart();
    // After seven days nothing of this is of use to anybody.
    relays[0].now += 7 * DAY;
    assert_eq!(relays[0].object().waiting(), 0);
    assert_eq!(relays[0].object().take_ended(), 3);
    // What cannot be read is an error that names it.
    relays[0].restart();
    relays[0].disk.rows.insert(format!("{PUSH_ROWS}7"), "soon".to_owned());
    let (disk, peers) = (relays[0].disk.found(), Arc::clone(&relays[0].peers));
    let name = Some(ObjectName::Mailbox(address()));
    let restored = Object::restore(at(7 * DAY), &relays[0].config, name, disk, Secret::from_bytes([9; 16]));
    let error = restored.unwrap().unwrap().0.replicate_to(at(7 * DAY), peers).unwrap_err();
    assert!(error.to_string().contains("\"push 7\""), "{error}");
}

#[test]
fn a_closed_mailbox_pushes_nothing_and_takes_nothing() {
    let mut relays = two();
    assert_eq!(relays[0].leave(&message(1, 1)).status, 201);
    let close = sign(Close { mailbox: address(), revision: 5 }, &owner());
    assert_eq!(relays[0].about("POST", "/close", &format!(r#"{{"close":{close}}}"#)).status, 200);
    assert_eq!((relays[0].object().waiting(), relays[0].batch(1).1.len()), (0, 0));
    let answer = send(&mut relays[0], 1, &[message(2, 2)], |_| {}, &relay_key(1));
    assert_eq!(problem(&answer), (410, "MAILBOX_CLOSED".to_owned()));
}

#[test]
fn a_strangers_message_travels_with_its_proof_which_is_checked_again() {
    let mut relays = [Relay::new(0), Relay::new(1)];
    let card = sign(
        card(0, 1, |card| {
            card.relays = ORIGINS.map(str::to_owned).to_vec();
            (card.requests.open, card.requests.difficulty) = (true, 8);
        }),
        &owner(),
    );
    let body = format!(r#"{{"card":{card},"policy":{}}}"#, records(1, &of_slot()).1);
    for relay in &mut relays {
        assert_eq!(relay.about("PUT", "", &body).status, 201);
    }
    let content_id = ContentId::of(&sealed(1)).to_string();
    let day = day_of(at(0));
    let solution = (0..).find(|solution| Proof { day, solution: *solution }.holds(address(), &content_id, 8, at(0)));
    let bare = signed_message(1, 1, &stranger());
    let proof = format!(r#","proof":{{"day":{day},"solution":{}}}}}"#, solution.unwrap());
    let message = format!("{}{proof}", bare.strip_suffix('}').unwrap());
    assert_eq!(relays[0].leave(&message).status, 201);
    let answer = push(&mut relays, 0, 1, 1, true).unwrap();
    assert_eq!(answer["results"], json!(["duplicate", "duplicate", "accepted"]));
    assert_eq!(relays[1].waiting(1).len(), 1);
    let without = [signed_message(2, 2, &stranger())];
    assert_eq!(results(&mut relays[1], 0, 2, &without), json!(["PROOF_REQUIRED"]));
}

#[derive(Clone, Debug)]
enum Deed {
    Leave { relay: usize, sequence: u8 },
    Acknowledge { relay: usize, through: u8 },
    Push { from: usize, to: usize, is_heard: bool },
    Restart { relay: usize },
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let relay = || 0..ORIGINS.len();
    let deed = prop_oneof![
        4 => (relay(), 1_u8..9).prop_map(|(relay, sequence)| Deed::Leave { relay, sequence }),
        2 => (relay(), 1_u8..9).prop_map(|(relay, through)| Deed::Acknowledge { relay, through }),
        4 => (relay(), relay(), any::<bool>()).prop_map(|(from, to, is_heard)| Deed::Push { from, to, is_heard }),
        1 => relay().prop_map(|relay| Deed::Restart { relay }),
    ];
    prop::collection::vec(deed, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    /// The model: who has taken what in, and up to which sequence anything was acknowledged anywhere.
    #[test]
    fn what_was_acknowledged_anywhere_is_nowhere_and_what_was_taken_in_is_lost_nowhere(deeds in deeds()) {
        let mut relays: Vec<_> = (0..ORIGINS.len()).map(Relay::new).collect();
        for relay in &mut relays {
            prop_assert_eq!(relay.put(1, &of_slot()).status, 201);
        }
        let (mut taken, mut acknowledged) = (BTreeSet::new(), 0);
        let mut nonces = 0..=u8::MAX;
        for deed in deeds {
            match deed {
                Deed::Leave { relay, sequence } => {
                    if relays[relay].leave(&message(sequence.into(), sequence)).status == 201 {
                        taken.insert((relay, sequence));
                    }
                }
                Deed::Acknowledge { relay, through } => {
                    // The recipient acknowledges what somebody has taken in, and all before it.
                    if taken.iter().any(|(_, sequence)| *sequence == through) {
                        prop_assert_eq!(relays[relay].acknowledge(&acknowledgement(through.into())).status, 200);
                        acknowledged = acknowledged.max(through);
                    }
                }
                Deed::Push { from, to, is_heard } => {
                    if from != to {
                        push(&mut relays, from, to, nonces.next().unwrap(), is_heard);
                    }
                }
                Deed::Restart { relay } => relays[relay].restart(),
            }
        }
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            push(&mut relays, from, to, nonces.next().unwrap(), true);
        }
        let id_of = |sequence: u8| ContentId::of(&sealed(sequence)).to_string();
        let left = |of: Option<usize>| -> BTreeSet<_> {
            let is_left = |(relay, sequence): &&(usize, u8)| {
                *sequence > acknowledged && of.is_none_or(|of| of == *relay)
            };
            taken.iter().filter(is_left).map(|(_, sequence)| id_of(*sequence)).collect()
        };
        for relay in &mut relays {
            prop_assert_eq!(relay.object().waiting(), 0);
            let held = relay.waiting(255);
            prop_assert!(held.len() <= 2, "the cap of the slot");
            prop_assert!(held.is_superset(&left(Some(relay.number))), "what this relay said it took in");
            prop_assert!(held.is_subset(&left(None)), "nothing that was acknowledged, or that nobody left");
        }
    }
}
