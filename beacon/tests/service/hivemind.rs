//! The door for hivemind-rendezvous' users: an edge and mailboxes in virtual time, with a verifier of the test's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::hivemind::key::{RsaKey, relay_name};
use rendezvous_protocol::hivemind::limits::PROOFS_MAX;
use rendezvous_protocol::mailbox::bytes::ContentId;
use rendezvous_protocol::network::read_address;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::{Answer, Outcome};
use rendezvous_service::call::ObjectError;
use rendezvous_service::config::{Config, MailDoor};
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::hivemind::{
    AskHivemind, HivemindCall, HivemindDoor, HivemindName, HivemindNext, HivemindObject, HivemindStep, Recipient,
};
use rendezvous_service::mailbox::{Found, Write};
use rendezvous_service::platform::Platform;
use serde_json::{Value, json};

use crate::host::given;
use crate::mailbox::Disk;
use crate::places::{Places, SECRET};

const NOW: u64 = 1_700_006_400_000;

/// A host that makes every object anew for every call, as after a crash.
struct World {
    now: u64,
    edge: Edge,
    places: Places,
    disks: BTreeMap<HivemindName, Disk>,
    is_disk_full: bool,
    /// Whom the last request asked, in words.
    asked: Vec<&'static str>,
    /// The longest that an answer that hands over may be.
    most: Option<usize>,
}

fn key(number: u8) -> String {
    relay_name([number; 256])
}

impl World {
    fn new(variables: &[(&str, &str)]) -> Self {
        let variables = [&[("DOORS", "hivemind")], variables].concat();
        let config = Config::parse_for(&MailDoor::ALL, given(&variables)).unwrap();
        assert!(config.opens(MailDoor::Hivemind) && !config.opens(MailDoor::V1));
        let door = Arc::new(HivemindDoor::new("the relay's name".to_owned()));
        let edge = Edge::new(config.clone(), Platform::of_program(1), SECRET, 1).with_hivemind(door);
        let (places, disks) = (Places::new(config), BTreeMap::new());
        Self { now: NOW, edge, places, disks, is_disk_full: false, asked: Vec::new(), most: None }
    }

    fn ask(&mut self, recipient: Recipient) -> Result<Answer, ObjectError> {
        let now = UnixMillis::saturating(self.now);
        match recipient {
            Recipient::Openings(call) => {
                self.asked.push("places");
                Ok(self.places.ask(now, call))
            }
            Recipient::Hivemind(call) => {
                let name = call.object();
                self.asked.push(if name == HivemindName::Room { "room" } else { "mailbox" });
                assert_eq!(name.to_string().parse::<HivemindName>().unwrap(), name);
                let disk = self.disks.entry(name).or_default();
                let (mut object, _) = HivemindObject::restore(name, disk.found(), SECRET).unwrap();
                let (answer, effects) = object.handle(now, call);
                if self.is_disk_full && !effects.writes.is_empty() {
                    return Err(ObjectError::Runtime("the disk is full".to_owned()));
                }
                let answer = answer.join(|number| Ok::<_, ()>(disk.messages[&number].1.clone())).unwrap();
                disk.carry_out(&effects);
                assert_eq!(object.is_stored(), !disk.rows.is_empty());
                Ok(answer)
            }
        }
    }

    fn ask_all(&mut self, mut ask: AskHivemind) -> Result<Answer, ObjectError> {
        loop {
            self.most = ask.hands_over();
            let answer = self.ask(ask.recipient())?;
            match ask.resume(answer) {
                HivemindNext::Ask(next) => ask = next,
                HivemindNext::Answer(answer) => return Ok(answer),
            }
        }
    }

    fn send(&mut self, head: &Head<'_>, body: Result<Vec<u8>, RequestError>) -> Answer {
        self.asked.clear();
        let now = UnixMillis::saturating(self.now);
        let mut step = self.edge.receive(now, head);
        loop {
            step = match step {
                Step::Answer(answer) => return answer,
                Step::Hivemind(hivemind) => match *hivemind {
                    HivemindStep::ReadBody(read) => {
                        assert_eq!(read.most(), 262_144);
                        self.edge.read_hivemind(now, read, body.clone())
                    }
                    HivemindStep::Verify(verify) => {
                        let fits = verify.proof().unwrap().signature().starts_with(b"good");
                        self.edge.hivemind_verified(verify, fits)
                    }
                    HivemindStep::Ask(ask) => match self.ask_all(ask) {
                        Ok(answer) => {
                            assert!(self.most.is_none_or(|most| answer.body.len() <= most));
                            return answer;
                        }
                        Err(error) => self.edge.hivemind_failed(&error),
                    },
                },
                other => panic!("{other:?}"),
            };
        }
    }

    fn post(&mut self, url: &str, body: &Value, address: &str) -> (u16, Value) {
        let body = body.to_string().into_bytes();
        let body_bytes = Some(body.len() as u64);
        let head = Head { method: "POST", url, address: read_address(address), body_bytes, ..Head::default() };
        let answer = self.send(&head, Ok(body));
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer.outcome == Outcome::Served, answer.status == 200);
        assert_eq!(json["status"], if answer.status == 200 { "ok" } else { "error" });
        (answer.status, json)
    }

    fn deposit(&mut self, to: u8, text: &str, more: Value) -> (u16, Value) {
        let payload = json!({"msg_type": "intercom", "payload": {"ciphertext": text}}).to_string();
        let mut body = json!({"payload": payload, "target_pubkey": key(to)});
        more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        self.post("/deposit", &body, "10.9.9.1")
    }

    fn proof(&self, of: u8, name: &str) -> Value {
        let signature = base64::encode(format!("good {name}").as_bytes());
        json!({"pubkey": key(of), "timestamp": self.now / 1_000, "signature": signature})
    }

    fn retrieve(&mut self, proof: &Value) -> (u16, Vec<String>) {
        let (status, json) = self.post("/retrieve", proof, "10.1.1.1");
        let text = |message: &Value| {
            let message: Value = serde_json::from_str(message.as_str().unwrap()).unwrap();
            message["payload"]["ciphertext"].as_str().unwrap().to_owned()
        };
        let messages = json["messages"].as_array().map(|messages| messages.iter().map(text).collect());
        (status, messages.unwrap_or_default())
    }
}

/// The fields of a depositor's proof.
fn of_depositor(proof: &Value) -> Value {
    json!({
        "depositor_pubkey": proof["pubkey"],
        "depositor_timestamp": proof["timestamp"],
        "depositor_signature": proof["signature"],
    })
}

#[test]
fn messages_go_from_one_to_another_though_every_call_is_of_a_new_object() {
    let mut world = World::new(&[]);
    let (status, sent) = world.deposit(1, "one", json!({}));
    assert_eq!((status, sent["deposit_id"].as_str().map(str::len)), (200, Some(36)));
    assert_eq!(world.asked, ["mailbox", "room", "mailbox"], "nobody has opened it");
    world.now += 1;
    world.deposit(1, "two \"é\n", json!({}));
    let first = world.proof(1, "a");
    assert_eq!(world.retrieve(&first), (200, vec!["one".to_owned(), "two \"é\n".to_owned()]));
    assert_eq!(world.asked, ["places", "mailbox"]);
    world.deposit(1, "three", json!({}));
    assert_eq!(world.asked, ["mailbox"]);
    assert_eq!(world.retrieve(&first).1.len(), 2, "the same again");
    assert_eq!(world.retrieve(&world.proof(1, "b")), (200, vec!["three".to_owned()]));
    assert_eq!(world.retrieve(&world.proof(1, "c")), (200, vec![]));
    world.now += 60_000;
    assert_eq!(world.retrieve(&first).0, 401);
}

#[test]
fn a_depositors_proof_is_noted_before_the_message_is_taken() {
    let mut world = World::new(&[]);
    world.deposit(2, "for two", json!({}));
    let proof = world.proof(2, "a");
    assert_eq!(world.deposit(1, "x", of_depositor(&proof)).0, 200);
    assert_eq!(world.asked, ["mailbox", "mailbox", "room", "mailbox"]);
    assert_eq!(world.retrieve(&proof).0, 401);
    // Of one who has nothing here it takes room.
    let proof = world.proof(3, "a");
    assert_eq!(world.deposit(1, "y", of_depositor(&proof)).0, 200);
    assert_eq!(world.asked, ["mailbox", "room", "mailbox", "mailbox", "room", "mailbox"]);
    assert_eq!(world.retrieve(&proof).0, 401);
    let forged = json!({"pubkey": key(2), "timestamp": world.now / 1_000, "signature": "AAAA"});
    let (status, refused) = world.deposit(1, "z", of_depositor(&forged));
    assert_eq!((status, &refused["reason"]), (401, &json!("invalid_depositor_signature")));
    assert!(world.asked.is_empty());
    let (status, refused) = world.post("/retrieve", &forged, "10.1.1.1");
    assert_eq!((status, &refused["reason"]), (401, &json!("invalid_signature")));
}

#[test]
fn nothing_is_written_for_who_has_nothing_here_where_there_is_no_place() {
    let mut world = World::new(&[("MAILBOXES", "1")]);
    assert_eq!(world.retrieve(&world.proof(1, "a")), (200, vec![]));
    let (status, refused) = world.post("/retrieve", &world.proof(2, "a"), "10.2.1.1");
    assert_eq!((status, &refused["reason"]), (429, &json!("rate_limit_exceeded")));
    let name = HivemindName::Mailbox(RsaKey::parse(&key(2)).unwrap().mailbox());
    assert!(world.disks[&name].rows.is_empty());
    world.deposit(2, "all the same", json!({}));
    assert_eq!(world.retrieve(&world.proof(2, "b")), (200, vec!["all the same".to_owned()]));
    world.now += 200_000;
    let (mut object, _) = HivemindObject::restore(name, world.disks[&name].found(), SECRET).unwrap();
    let effects = object.handle_alarm(UnixMillis::saturating(world.now));
    assert_eq!(effects.writes, [Write::EraseAll]);
}

#[test]
fn what_goes_wrong_is_said_in_the_doors_own_shape() {
    let mut world = World::new(&[]);
    world.is_disk_full = true;
    let (status, refused) = world.deposit(1, "x", json!({}));
    assert_eq!((status, &refused["reason"]), (500, &json!("storage_error")));
    assert_eq!(world.edge.take_notes().len(), 1, "the operator is told");
    for (error, status, reason) in [
        (RequestError::BodyTooLarge, 413, "payload_too_large"),
        (RequestError::BodyTimeout, 408, "body_timeout"),
        (RequestError::BodyBrokenOff, 400, "invalid_body"),
        (RequestError::BodiesFull, 429, "rate_limit_exceeded"),
    ] {
        let head = Head { method: "POST", url: "/deposit", ..Head::default() };
        let answer = world.send(&head, Err(error));
        assert_eq!((answer.status, answer.body), (status, format!(r#"{{"status":"error","reason":"{reason}"}}"#)));
    }
    for (method, url, origin, status) in [
        ("GET", "/pubkey", None, 200),
        ("HEAD", "/pubkey", Some("https://page.example"), 200),
        ("POST", "/pubkey", None, 404),
        ("GET", "/deposit", None, 404),
        ("POST", "/retrieve", Some("https://page.example"), 421),
        ("OPTIONS", "/retrieve", Some("https://page.example"), 204),
    ] {
        let answer = world.send(&Head { method, url, origin, ..Head::default() }, Ok(Vec::new()));
        assert_eq!(answer.status, status, "{method} {url}");
    }
}

#[test]
fn whoever_asks_too_often_is_told_when_to_come_again() {
    let mut world = World::new(&[("ADDRESS_REQUESTS_PER_MINUTE", "40"), ("NETWORK_REQUESTS_PER_MINUTE", "40")]);
    // 131 kB count as nine requests.
    let long = "x".repeat(131_072);
    let statuses: Vec<_> = (0..5).map(|_| world.deposit(1, &long, json!({})).0).collect();
    assert_eq!(statuses, [507, 507, 507, 507, 429]);
    let address = read_address("10.9.9.1");
    let head = Head { method: "POST", url: "/retrieve", address, body_bytes: Some(0), ..Head::default() };
    let answers: Vec<_> = (0..6).map(|_| world.send(&head, Ok(Vec::new()))).collect();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [400, 400, 400, 400, 429, 429]);
    assert!(answers[5].headers.iter().any(|(name, _)| *name == "Retry-After"));
}

#[test]
fn who_has_more_proofs_than_are_remembered_is_told_when_to_come_again() {
    let mailbox = RsaKey::parse(&key(1)).unwrap().mailbox();
    let name = HivemindName::Mailbox(mailbox);
    let (mut object, _) = HivemindObject::restore(name, Found::default(), SECRET).unwrap();
    let now = UnixMillis::saturating(NOW);
    let mut note = |number: usize| {
        let proof = ContentId::of(&number.to_be_bytes());
        let call =
            HivemindCall::NoteDeposit { mailbox, proof, until: now.after(Duration::from_secs(60)), has_room: true };
        object.handle(now, call).0.answer
    };
    for number in 0..PROOFS_MAX {
        assert_eq!(note(number).status, 200);
    }
    let refused = note(PROOFS_MAX);
    assert_eq!(refused.status, 429);
    assert!(refused.headers.iter().any(|(name, seconds)| *name == "Retry-After" && seconds == "121"));
}

#[test]
fn an_object_is_made_of_its_own_rows_alone() {
    let name: HivemindName = format!("hivemind:{}", "ab".repeat(32)).parse().unwrap();
    for rows in
        [vec![("opened", "1")], vec![("object", "hivemind-room AAAAAAAAAAAAAAAAAAAAAA==")], vec![("object", "x")]]
    {
        let rows = rows.into_iter().map(|(name, row)| (name.to_owned(), row.to_owned())).collect();
        let found = Found { rows, ..Found::default() };
        assert!(HivemindObject::restore(name, found, SECRET).is_err());
    }
    for text in ["hivemind:", "hivemind:AB", "hivemind", "v1:x"] {
        assert!(text.parse::<HivemindName>().is_err(), "{text}");
    }
}
