//! The door for retalk's users: an edge and mailboxes in virtual time, on a disk that may be full.

use std::collections::BTreeMap;

use rendezvous_protocol::base64;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::mailbox::bytes::ContentId;
use rendezvous_protocol::network::read_address;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::retalk::user::{Identity, UserId};
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::Answer;
use rendezvous_service::call::ObjectError;
use rendezvous_service::config::{Config, MailDoor};
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::own_names::OwnNames;
use rendezvous_service::platform::Platform;
use rendezvous_service::retalk::{AskRetalk, Door, RetalkCall, RetalkObject, RetalkStep};
use serde_json::{Value, json};

use crate::host::given;
use crate::mailbox::Disk;
use crate::places::{Places, SECRET};

pub(crate) const RELAY: &str = "https://relay.example";

pub(crate) fn unpadded(bytes: &[u8]) -> String {
    base64::encode(bytes).trim_end_matches('=').to_owned()
}

/// Whether a signature fits, as a host says it that has something faster.
pub(crate) fn fits(bytes: &[u8]) -> bool {
    let (key, rest) = bytes.split_first_chunk().unwrap();
    let (signature, message) = rest.split_first_chunk().unwrap();
    PublicKey::from_bytes(*key).verify(message, signature).is_ok()
}

/// A user, by a number.
#[derive(Clone, Copy)]
pub(crate) struct User(pub(crate) u8);

impl User {
    pub(crate) fn identity(self) -> Identity {
        let signing_key = unpadded(PrivateKey::from_seed(&[self.0; 32]).public_key().as_bytes());
        Identity::parse(&unpadded(&[self.0; 32]), &signing_key).unwrap()
    }

    pub(crate) fn id(self) -> UserId {
        self.identity().user_id()
    }

    /// What the user publishes: a key for when there is no other.
    pub(crate) fn publication(self) -> Value {
        let identity = self.identity();
        json!({
            "fallback_key": {"f": unpadded(&[9; 32])},
            "identity_key": identity.identity_key(),
            "one_time_keys": {},
            "signing_key": identity.signing_key(),
        })
    }

    /// What is sent to the user.
    pub(crate) fn message(self, text: &str) -> Value {
        json!({"body": base64::encode(text.as_bytes()), "mtype": 1, "to": self.id().to_string()})
    }

    pub(crate) fn request(self, now: u64, tool: &str, args: &Value, nonce: u64) -> String {
        // Plain texts in the order of their names are what Python writes, too.
        let hash: String =
            ContentId::of(args.to_string().as_bytes()).0.iter().map(|byte| format!("{byte:02x}")).collect();
        let (id, seconds, nonce) = (self.id(), now / 1_000, format!("{nonce:032x}"));
        let text = format!("{tool}|{RELAY}|{id}|{seconds}|{nonce}|{hash}");
        let (identity, mut args) = (self.identity(), args.clone());
        args["auth"] = json!({
            "user_id": id.to_string(),
            "identity_key": identity.identity_key(),
            "signing_key": identity.signing_key(),
            "ts": seconds.to_string(),
            "nonce": nonce,
            "sig": unpadded(&PrivateKey::from_seed(&[self.0; 32]).sign(text.as_bytes())),
        });
        json!({"tool": tool, "args": args}).to_string()
    }
}

/// A host that makes every object anew for every call, as after a crash.
struct World {
    now: u64,
    edge: Edge,
    places: Places,
    disks: BTreeMap<UserId, Disk>,
    is_disk_full: bool,
    nonce: u64,
    /// The longest that the last answer might have been, if it deleted what is in it.
    deletes: Option<usize>,
    /// Requests whose signatures were checked.
    verified: usize,
    /// Signatures that were.
    signatures: usize,
    /// The host that requests name, and the path.
    named: (&'static str, &'static str),
}

impl World {
    fn new(variables: &[(&str, &str)]) -> Self {
        let variables = [&[("DOORS", "retalk"), ("EXTERNAL_URLS", RELAY)], variables].concat();
        let config = Config::parse_for(&MailDoor::ALL, given(&variables)).unwrap();
        let names = OwnNames::new(&config, "127.0.0.1".parse().unwrap());
        let door = Door::parse(&config, &names, given(&variables)).unwrap().unwrap();
        let edge = Edge::new(config.clone(), Platform::of_program(1), SECRET, 1).with_retalk(door);
        let (places, disks) = (Places::new(config), BTreeMap::new());
        Self {
            now: 1_700_006_400_000,
            edge,
            places,
            disks,
            is_disk_full: false,
            nonce: 0,
            deletes: None,
            verified: 0,
            signatures: 0,
            named: ("relay.example", "/"),
        }
    }

    fn at(&self) -> UnixMillis {
        UnixMillis::saturating(self.now)
    }

    fn call(&mut self, ask: AskRetalk) -> Result<Answer, ObjectError> {
        let now = self.at();
        if let Some(place) = ask.place() {
            let answer = self.places.ask(now, place);
            if answer.status != 200 {
                return Ok(AskRetalk::no_place(&answer.body));
            }
        }
        let (call, then) = ask.into_calls();
        let mut answered = None;
        for call in [Some(call), then].into_iter().flatten() {
            let written = call.to_text();
            assert_eq!(RetalkCall::parse(&written), Some(Ok(call.clone())), "it is the same where it goes as text");
            let disk = self.disks.entry(call.object()).or_default();
            let (mut object, _) = RetalkObject::restore(call.object(), disk.found(), SECRET).unwrap();
            let (answer, effects) = object.handle(now, call);
            if self.is_disk_full && !effects.writes.is_empty() {
                return Err(ObjectError::Runtime("the disk is full".to_owned()));
            }
            let answer = answer.join(|number| Ok::<_, ()>(disk.messages[&number].1.clone())).unwrap();
            disk.carry_out(&effects);
            answered.get_or_insert(answer);
        }
        Ok(answered.unwrap())
    }

    fn post(&mut self, body: Result<Vec<u8>, RequestError>, address: &str) -> Answer {
        let body_bytes = body.as_ref().ok().map(|body| body.len() as u64);
        let (host, url) = self.named;
        let address = read_address(address);
        let head = Head { method: "POST", url, host: Some(host), address, body_bytes, ..Head::default() };
        let now = self.at();
        let mut step = self.edge.receive(now, &head);
        loop {
            step = match step {
                Step::Answer(answer) => return answer,
                Step::Retalk(retalk) => match *retalk {
                    RetalkStep::ReadBody(read) => self.edge.read_retalk(now, read, body.clone()),
                    RetalkStep::Verify(verify) => {
                        self.verified += 1;
                        self.signatures += verify.to_bytes().len();
                        let fit = verify.verify_signatures();
                        let each: Vec<_> = verify.to_bytes().iter().map(|bytes| fits(bytes)).collect();
                        assert_eq!(verify.fit(&each), fit, "it is the same where the host verifies");
                        self.edge.retalk_verified(now, verify, fit)
                    }
                    RetalkStep::Ask(ask) => {
                        let (is_send, deletes) = (ask.is_send(), ask.deletes());
                        match self.call(ask) {
                            Ok(answer) => {
                                self.deletes = deletes;
                                return answer;
                            }
                            Err(error) => self.edge.retalk_failed(now, is_send, &error),
                        }
                    }
                },
                other => panic!("{other:?}"),
            };
        }
    }

    fn ask(&mut self, user: User, tool: &str, args: &Value) -> (u16, Value) {
        self.nonce += 1;
        let body = user.request(self.now, tool, args, self.nonce).into_bytes();
        let answer = self.post(Ok(body), &format!("10.0.{}.1", user.0));
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    fn publish(&mut self, user: User) -> (u16, Value) {
        self.ask(user, "publish_keys", &user.publication())
    }

    fn send(&mut self, from: User, to: User, text: &str) -> (u16, Value) {
        self.ask(from, "send_message", &to.message(text))
    }
}

const ALICE: User = User(1);
const BOB: User = User(2);

#[test]
fn messages_go_from_one_to_another_though_every_call_is_of_a_new_object() {
    let mut world = World::new(&[]);
    assert_eq!(world.publish(BOB).0, 200);
    let (status, sent) = world.send(ALICE, BOB, "one");
    assert_eq!((status, &sent["ts"]), (200, &json!(1_700_006_400.0)));
    world.now += 1;
    world.send(ALICE, BOB, "two");
    let (_, read) = world.ask(BOB, "read_messages", &json!({}));
    let bodies: Vec<_> = read.as_array().unwrap().iter().map(|message| message["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, [base64::encode(b"one"), base64::encode(b"two")]);
    assert_eq!(read[0]["from"], ALICE.id().to_string());
    assert_eq!(world.ask(BOB, "read_messages", &json!({})).1, json!([]));
}

#[test]
fn what_a_read_deletes_has_a_longest_answer_before_it_is_made() {
    let mut world = World::new(&[]);
    world.publish(BOB);
    assert_eq!(world.deletes, None);
    // All that waits of one sender, as long as may be.
    for number in 0..8 {
        let (status, sent) = world.send(ALICE, BOB, &format!("{number}{}", "x".repeat(49_000)));
        assert!(status == 200 && sent["stored"] != false, "{sent}");
    }
    world.ask(BOB, "read_messages", &json!({"peek": true}));
    assert_eq!(world.deletes, None);
    for args in [json!({}), json!({"peek": false}), json!({"peer": ALICE.id().to_string()})] {
        let (_, read) = world.ask(BOB, "read_messages", &args);
        let most = world.deletes.unwrap();
        assert!(read.to_string().len() <= most);
        let around = read
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message.to_string().len() + ",".len() - message["body"].as_str().unwrap().len());
        assert!(around.max().unwrap_or_default() <= (most - 4 * 1024 * 1024) / 512);
    }
}

#[test]
fn paths_of_registration_are_not_the_doors_where_the_beacon_registers_nobody() {
    let mut world = World::new(&[]);
    for (method, url) in [("POST", "/register"), ("POST", "/verify"), ("GET", "/register"), ("GET", "/verify?token=x")]
    {
        let head = Head { method, url, address: read_address("10.0.0.1"), ..Head::default() };
        let Step::Answer(answer) = world.edge.receive(world.at(), &head) else { panic!("{method} {url}") };
        let said: Value = serde_json::from_str(&answer.body).unwrap();
        let said = (answer.status, said["code"].as_str().unwrap(), said["detail"].as_str().unwrap());
        assert_eq!(said, (404, "NOT_FOUND", "this beacon registers nobody"), "{method} {url}");
    }
}

#[test]
fn who_was_written_to_is_remembered_where_the_writer_has_a_mailbox() {
    let mut world = World::new(&[]);
    world.publish(BOB);
    world.send(ALICE, BOB, "one");
    assert!(world.disks[&ALICE.id()].rows.is_empty(), "Alice has published nothing");
    world.publish(ALICE);
    world.send(ALICE, BOB, "two");
    assert!(world.disks[&ALICE.id()].rows.contains_key(&format!("correspondent {}", BOB.id())));
}

#[test]
fn a_message_is_answered_as_taken_where_it_cannot_be_written_and_nothing_else_is() {
    let mut world = World::new(&[]);
    world.publish(BOB);
    world.is_disk_full = true;
    let (status, sent) = world.send(ALICE, BOB, "one");
    assert_eq!((status, &sent["stored"], &sent["code"]), (200, &json!(false), &json!("INTERNAL")));
    let (status, published) = world.publish(BOB);
    assert_eq!((status, &published["code"]), (500, &json!("INTERNAL")));
    assert_eq!(world.edge.take_notes().len(), 2, "the operator is told");
    world.is_disk_full = false;
    let (status, sent) = world.send(ALICE, BOB, "one");
    assert!(status == 200 && sent["message_id"].as_u64().unwrap() > 0);
}

#[test]
fn a_body_that_does_not_come_is_answered_in_the_doors_own_shape() {
    let mut world = World::new(&[]);
    for (error, status, code) in [
        (RequestError::BodyTooLarge, 413, "BODY_TOO_LARGE"),
        (RequestError::BodyTimeout, 408, "BODY_TIMEOUT"),
        (RequestError::BodyBrokenOff, 400, "MALFORMED"),
    ] {
        let answer = world.post(Err(error), "10.0.0.1");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)));
        assert!(body["error"].is_string());
    }
}

#[test]
fn a_mailbox_whose_owner_reads_keeps_its_place() {
    const DAY: u64 = 86_400_000;
    let mut world = World::new(&[("MAILBOXES", "1")]);
    assert_eq!(world.publish(BOB).0, 200);
    for _ in 0..4 {
        // Nobody has to publish while there are keys left.
        world.now += 60 * DAY;
        assert_eq!(world.ask(BOB, "read_messages", &json!({})).0, 200);
        assert_eq!(world.publish(ALICE).0, 429);
    }
    let places = world.places.rows().clone();
    world.now += DAY / 2;
    assert_eq!(world.ask(BOB, "read_messages", &json!({})).0, 200);
    assert_eq!(*world.places.rows(), places, "once a day is enough");
    assert_eq!(world.ask(ALICE, "read_messages", &json!({})).1, json!([]), "reading takes no place");
    assert_eq!(*world.places.rows(), places);
    world.now += 97 * DAY;
    assert_eq!(world.publish(ALICE).0, 200);
}

#[test]
fn whoever_is_over_the_limit_costs_no_signature_and_a_message_is_answered_as_taken() {
    let mut world = World::new(&[("ADDRESS_REQUESTS_PER_MINUTE", "40"), ("NETWORK_REQUESTS_PER_MINUTE", "40")]);
    world.publish(BOB);
    // 131 kB count as nine requests.
    let longest = "x".repeat(98_000);
    let mut answers = Vec::new();
    for number in 0..5 {
        answers.push(world.send(ALICE, BOB, &format!("{number}{longest}")).1["code"].clone());
    }
    assert_eq!(answers[4], "THROTTLED", "{answers:?}");
    assert!(answers[..4].iter().all(|code| code != "THROTTLED"), "{answers:?}");
    let verified = world.verified;
    let forged = ALICE.request(world.now, "send_message", &BOB.message(&longest), 1_000).replace("eHh4", "eHh5");
    let answer = world.post(Ok(forged.into_bytes()), "10.0.1.1");
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&answer["stored"], &answer["code"]), (&json!(false), &json!("THROTTLED")));
    assert_eq!(world.verified, verified, "nothing was verified");
    // What needs fewer is served, until there are none.
    let counted: Vec<_> = (0..6).map(|_| world.ask(ALICE, "count_keys", &json!({})).0).collect();
    assert_eq!(counted, [200, 200, 200, 200, 429, 429]);
    assert_eq!(world.verified, verified + 4);
}

#[test]
fn of_many_addresses_those_of_the_host_that_is_asked_are_tried_first_and_others_count() {
    let origins: Vec<_> = (0..7).map(|number| format!("https://r{number}.example")).chain([RELAY.to_owned()]).collect();
    let origins = origins.join(",");
    let vars = [("EXTERNAL_URLS", &*origins), ("ADDRESS_REQUESTS_PER_MINUTE", "40")];
    // Of a user, of one behind a proxy that names another of the beacon's hosts, and of one that names none of them.
    for (host, signatures, requests) in [("relay.example", 3, 1), ("r0.example", 3 + 21, 1 + 3), ("127.0.0.1", 24, 4)] {
        let mut world = World::new(&vars);
        world.named = (host, "/some/path");
        let served = (0..41).take_while(|_| world.ask(ALICE, "count_keys", &json!({})).0 == 200).count();
        assert_eq!(served, 40 / requests, "{host}");
        assert_eq!(world.signatures, signatures * served, "{host}");
    }
    // Whoever signs nothing has no more of them checked than in as many requests.
    for host in ["relay.example", "127.0.0.1"] {
        let mut world = World::new(&vars);
        world.named = (host, "/some/path");
        let body = |text: &str, nonce| ALICE.request(1_700_006_400_000, "send_message", &BOB.message(text), nonce);
        let forged = |nonce| body("one", nonce).replace(&base64::encode(b"one"), &base64::encode(b"two"));
        let answers: Vec<_> = (0..40).map(|nonce| world.post(Ok(forged(nonce).into_bytes()), "10.0.1.1")).collect();
        assert_eq!(answers.iter().filter(|answer| answer.status == 403).count(), 10, "{host}");
        let last: Value = serde_json::from_str(&answers[39].body).unwrap();
        assert_eq!((answers[39].status, &last["code"]), (200, &json!("THROTTLED")), "{host}");
        assert!(world.signatures <= 8 * 40, "{host}: {}", world.signatures);
    }
}

#[test]
fn there_are_as_many_mailboxes_as_there_may_be() {
    let mut world = World::new(&[("MAILBOXES", "1")]);
    assert_eq!(world.publish(BOB).0, 200);
    let (status, refused) = world.publish(ALICE);
    assert_eq!((status, &refused["code"]), (429, &json!("THROTTLED")));
    assert!(refused["error"].as_str().unwrap().contains("has its 1 mailboxes"), "{refused}");
    assert_eq!(world.publish(BOB).0, 200, "whoever has a place keeps it");
}
