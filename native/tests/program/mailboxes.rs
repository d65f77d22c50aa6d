//! Mailboxes: what was said to be taken in is there after a kill, and is handed over until it is acknowledged.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{SystemTime, UNIX_EPOCH};

use rendezvous_protocol::base64;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::bytes::{Address, Bytes, ContentId};
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::record::{
    Ack, Card, Collect, Contact, Deposit, Policy, Record, Requests, SealingKey,
};
use rendezvous_protocol::time::UnixMillis;
use rustix::process::Signal;

use crate::beacon::{Beacon, Client, Response, eventually};

const RELAY: &str = "https://relay.example";
const DAY: u64 = 86_400_000;

/// Senders that write at the same time.
const SENDERS: u8 = 8;

/// What one sender may leave unread.
const LIMIT: u8 = 32;

fn start(state: &Path) -> Beacon {
    let many = [("NETWORK_REQUESTS_PER_MINUTE", "100000"), ("ADDRESS_REQUESTS_PER_MINUTE", "100000")];
    Beacon::start(state, &[("EXTERNAL_URLS", RELAY), many[0], many[1]])
}

fn now() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMillis::saturating(u64::try_from(since_epoch.as_millis()).unwrap())
}

fn later(millis: u64) -> UnixMillis {
    UnixMillis::saturating(now().as_u64() + millis)
}

fn owner() -> PrivateKey {
    PrivateKey::from_seed(&[100; 32])
}

fn sender(number: u8) -> PrivateKey {
    PrivateKey::from_seed(&[number; 32])
}

fn address() -> Address {
    Address::of(&owner().public_key())
}

fn path(rest: &str) -> String {
    format!("/v1/mailboxes/{}{rest}", address())
}

fn sign<T: Record>(payload: T, key: &PrivateKey) -> String {
    Signed::sign(payload, key).unwrap().to_json()
}

fn open(beacon: &Beacon) -> Response {
    let card = Card {
        expires_at: later(DAY),
        issued_at: now(),
        mailbox: address(),
        readers: Vec::new(),
        relays: vec![RELAY.to_owned()],
        requests: Requests { difficulty: 0, open: false },
        revision: 1,
        sealing: vec![SealingKey { expires_at: later(DAY), key: base64::encode(&[7; 32]), suite: 0 }],
    };
    let contacts = (0..SENDERS).map(|number| Contact { key: sender(number).public_key(), limit: LIMIT }).collect();
    let policy = Policy {
        contacts,
        expires_at: later(DAY),
        invites: Vec::new(),
        issued_at: now(),
        mailbox: address(),
        revision: 1,
    };
    let body = format!(r#"{{"card":{},"policy":{}}}"#, sign(card, &owner()), sign(policy, &owner()));
    beacon.connect().request("PUT", &path(""), &[], &body)
}

fn sealed(number: u8, sequence: u64) -> Vec<u8> {
    sealed_of(2_048, number, sequence)
}

fn sealed_of(size: usize, number: u8, sequence: u64) -> Vec<u8> {
    let mut sealed = vec![number; size];
    sealed[..8].copy_from_slice(&sequence.to_be_bytes());
    sealed
}

fn deposit(number: u8, sequence: u64) -> String {
    deposit_of(&sealed(number, sequence), number, sequence)
}

fn deposit_of(sealed: &[u8], number: u8, sequence: u64) -> String {
    let deposit = Deposit {
        content_id: ContentId::of(sealed),
        expires_at: later(DAY),
        issued_at: now(),
        mailbox: address(),
        sequence,
        size: u32::try_from(sealed.len()).unwrap(),
    };
    sign(deposit, &sender(number))
}

fn message(number: u8, sequence: u64) -> String {
    message_of(&sealed(number, sequence), number, sequence)
}

fn message_of(sealed: &[u8], number: u8, sequence: u64) -> String {
    let (deposit, sealed) = (deposit_of(sealed, number, sequence), base64::encode(sealed));
    format!(r#"{{"deposit":{deposit},"sealed":"{sealed}"}}"#)
}

fn leave(beacon: &Beacon, number: u8, sequence: u64) -> Response {
    beacon.connect().request("POST", &path("/messages"), &[], &message(number, sequence))
}

/// The body of a collect. Who asks again under one name within a millisecond needs another `nonce`.
fn question(collector: u8, nonce: u8) -> String {
    let mut bytes = [nonce; 16];
    bytes[..8].copy_from_slice(&now().as_u64().to_be_bytes());
    bytes[8] = collector;
    let nonce = bytes;
    let collect = Collect {
        audience: RELAY.to_owned(),
        collector: Bytes([collector; 16]),
        issued_at: now(),
        limit: 100,
        mailbox: address(),
        max_bytes: 10_000_000,
        nonce: Bytes(nonce),
    };
    format!(r#"{{"collect":{}}}"#, sign(collect, &owner()))
}

/// The content ids of what one collect hands over, and whether there is more.
fn collect(beacon: &Beacon, collector: u8) -> (Vec<String>, bool) {
    let answer = beacon.connect().request("POST", &path("/collect"), &[], &question(collector, 0));
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let content_id = |message: &serde_json::Value| {
        let sealed = base64::decode(message["sealed"].as_str().unwrap()).unwrap();
        let content_id = ContentId::of(&sealed).to_string();
        assert_eq!(message["deposit"]["payload"]["contentId"], content_id);
        content_id
    };
    (answer["messages"].as_array().unwrap().iter().map(content_id).collect(), answer["more"] == true)
}

/// The content ids of everything that waits: each collector is handed what those before it were not.
fn waiting(beacon: &Beacon) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for collector in 0.. {
        let (content_ids, more) = collect(beacon, collector);
        all.extend(content_ids);
        if !more {
            break;
        }
    }
    all
}

fn acknowledge(beacon: &Beacon, number: u8, through: u64) -> Response {
    let at = UnixMillis::saturating(now().as_u64() / 60_000 * 60_000);
    let slot = sender(number).public_key();
    let ack = Ack { at, mailbox: address(), missing: Vec::new(), slot, through };
    let body = format!(r#"{{"acks":[{{"ack":{},"of":{}}}]}}"#, sign(ack, &owner()), deposit(number, through));
    beacon.connect().request("POST", &path("/acks"), &[], &body)
}

#[test]
fn a_message_outlives_restarts_and_kills_until_it_is_acknowledged() {
    let state = tempfile::tempdir().unwrap();
    let beacon = start(state.path());
    assert_eq!(open(&beacon).status, 201);
    assert_eq!(leave(&beacon, 0, 1).status, 201);
    beacon.kill();
    let expected = BTreeSet::from([ContentId::of(&sealed(0, 1)).to_string()]);
    let beacon = start(state.path());
    assert_eq!(waiting(&beacon), expected);
    beacon.signal(Signal::TERM);
    beacon.until("ended");
    drop(beacon);
    let beacon = start(state.path());
    let again = leave(&beacon, 0, 1);
    assert_eq!((again.status, &again.json()["duplicate"]), (200, &true.into()), "{again:?}");
    assert_eq!(acknowledge(&beacon, 0, 1).json()["released"], 1);
    beacon.kill();
    let beacon = start(state.path());
    assert_eq!(waiting(&beacon), BTreeSet::new());
    assert_eq!(leave(&beacon, 0, 1).json()["acknowledged"], true);
}

#[test]
fn of_what_senders_were_told_is_taken_in_a_kill_loses_nothing() {
    let state = tempfile::tempdir().unwrap();
    let mut told = BTreeSet::new();
    // Whatever is under way when the kill comes is taken in whole, or not: each sender goes on where it was told.
    let mut next = [1_u64; SENDERS as usize];
    for round in 0..4 {
        let beacon = start(state.path());
        if round == 0 {
            assert_eq!(open(&beacon).status, 201);
        }
        let (said, answers) = channel();
        let address = beacon.address;
        let senders = next.map(|_| said.clone()).into_iter().zip(0_u8..).map(|(said, number)| {
            let first = next[usize::from(number)];
            std::thread::spawn(move || {
                let mut client = Client::new(address);
                for sequence in first..=u64::from(LIMIT) {
                    let sent = client.send("POST", &path("/messages"), &[], &message(number, sequence));
                    let Ok(Some(answer)) = sent.and_then(|()| client.response("POST")) else { return };
                    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
                    if said.send((number, sequence)).is_err() {
                        return;
                    }
                }
            })
        });
        let senders: Vec<_> = senders.collect();
        drop(said);
        // In the middle of what they do.
        let heard: Vec<_> = answers.iter().take(40).collect();
        beacon.kill();
        for (number, sequence) in heard.into_iter().chain(answers.try_iter()) {
            told.insert(ContentId::of(&sealed(number, sequence)).to_string());
            next[usize::from(number)] = sequence + 1;
        }
        drop(answers);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    }
    let held = waiting(&start(state.path()));
    assert!(told.len() >= 100, "{}", told.len());
    assert_eq!(told.difference(&held).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn what_cannot_be_written_is_not_said_to_be_taken_in() {
    let state = tempfile::tempdir().unwrap();
    let beacon = start(state.path());
    assert_eq!(open(&beacon).status, 201);
    let other = rusqlite::Connection::open(state.path().join("mail.sqlite")).unwrap();
    // Whoever else writes makes the relay's own writes fail, for as long as that takes.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(leave(&beacon, 0, 1).problem(), (500, "INTERNAL".to_owned()));
    beacon.until("mail_not_written");
    other.execute_batch("COMMIT").unwrap();
    let left = leave(&beacon, 0, 1);
    assert_eq!(left.status, 201, "{left:?}");
    assert_eq!(waiting(&beacon).len(), 1);
}

#[test]
fn a_body_is_as_long_as_a_message_may_be_and_one_that_is_longer_is_answered() {
    let state = tempfile::tempdir().unwrap();
    let beacon = start(state.path());
    let mut client = beacon.connect();
    for (length, expected) in
        [(262_144, (400, "MALFORMED")), (262_145, (413, "BODY_TOO_LARGE")), (500_000, (413, "BODY_TOO_LARGE"))]
    {
        let answer = client.request("POST", &path("/messages"), &[], &" ".repeat(length));
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{length}");
    }
}

#[test]
fn of_one_household_so_much_waits_that_it_does_not_read_and_the_rest_is_refused_until_it_has() {
    let state = tempfile::tempdir().unwrap();
    let beacon = start(state.path());
    assert_eq!(open(&beacon).status, 201);
    // As many as a new mailbox has room for, but for what is set aside for strangers: an answer of 1.2 MB.
    for number in 0..7 {
        let message = message_of(&sealed_of(131_072, number, 1), number, 1);
        assert_eq!(beacon.connect().request("POST", &path("/messages"), &[], &message).status, 201);
    }
    // Of each connection the system takes some MB, whatever its client reads. So it asks for more than that.
    let unread = |connection: u8| {
        let mut client = beacon.connect();
        for number in 0..4 {
            client.send("POST", &path("/collect"), &[], &question(0, 4 * connection + number)).unwrap();
        }
        let status = client.peek_status();
        (client, status)
    };
    let mut connections = Vec::new();
    let refused = (0..16).find(|connection| {
        let (client, status) = unread(*connection);
        connections.push(client);
        assert!(matches!(status, 200 | 429), "{status}");
        status == 429
    });
    assert!(refused.is_some_and(|served| served >= 1), "{refused:?}");
    let mut again = connections.pop().unwrap();
    let answer = again.response("POST").unwrap().unwrap();
    assert_eq!((answer.problem(), answer.header("Retry-After")), ((429, "THROTTLED".to_owned()), Some("10")));
    // What asks for little is served meanwhile, and everything when the others have gone.
    assert_eq!(leave(&beacon, 0, 1).problem(), (409, "SEQUENCE_TAKEN".to_owned()));
    drop((connections, again));
    let ask = |nonce| beacon.connect().request("POST", &path("/collect"), &[], &question(0, nonce)).status;
    let mut nonces = 100..=u8::MAX;
    eventually("a collect", || ask(nonces.next().unwrap()) == 200);
}

#[test]
fn what_the_database_of_mail_looks_like_is_pinned() {
    let state = tempfile::tempdir().unwrap();
    let beacon = start(state.path());
    assert_eq!(open(&beacon).status, 201);
    assert_eq!(leave(&beacon, 0, 1).status, 201);
    beacon.end();
    let connection = rusqlite::Connection::open(state.path().join("mail.sqlite")).unwrap();
    let text = |query: &str| connection.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
    let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(text("PRAGMA journal_mode"), "wal");
    assert_eq!((number("PRAGMA application_id"), number("PRAGMA user_version")), (0x7276_6d6c, 1));
    let name = format!("v1:{}", address());
    assert_eq!(text("SELECT group_concat(DISTINCT object) FROM item WHERE object != 'openings'"), name);
    assert_eq!(text("SELECT group_concat(name) FROM item WHERE object != 'openings'"), "object,open");
    assert_eq!(text("SELECT object || ' ' || number FROM message"), format!("{name} 1"));
}

#[test]
fn a_mailbox_that_cannot_be_read_is_said_and_left_alone() {
    let state = tempfile::tempdir().unwrap();
    let beacon = start(state.path());
    assert_eq!(open(&beacon).status, 201);
    beacon.end();
    let connection = rusqlite::Connection::open(state.path().join("mail.sqlite")).unwrap();
    connection.execute_batch("UPDATE item SET row = '{' WHERE name = 'open'").unwrap();
    let beacon = start(state.path());
    assert_eq!(leave(&beacon, 0, 1).problem(), (500, "INTERNAL".to_owned()));
    assert!(beacon.until("request_failed")["details"]["cause"].as_str().unwrap().contains("\"open\""));
    let open: String = connection.query_row("SELECT row FROM item WHERE name = 'open'", [], |row| row.get(0)).unwrap();
    assert_eq!(open, "{");
}
