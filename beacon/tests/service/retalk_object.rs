//! The door for retalk's users where mailboxes are objects in other processes: what goes between is text, alarms are stored, and
//! an object that nobody asks is forgotten.

use std::collections::BTreeMap;

use rendezvous_protocol::base64;
use rendezvous_protocol::network::read_address;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::Answer;
use rendezvous_service::call::{CallError, ObjectError};
use rendezvous_service::config::{Config, MailDoor};
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::mail_object::{MailCall, MailName, MailObject};
use rendezvous_service::mailbox::{Effects, Found};
use rendezvous_service::own_names::OwnNames;
use rendezvous_service::platform::Platform;
use rendezvous_service::retalk::{AskRetalk, Door, RetalkCall, RetalkStep};
use serde_json::{Value, json};

use crate::host::given;
use crate::mailbox::{DAY, Disk};
use crate::places::SECRET;
use crate::retalk::{RELAY, User, fits};

/// A host whose objects have a name each, rows and an alarm, and are in memory for a while.
struct World {
    now: u64,
    config: Config,
    edge: Edge,
    objects: BTreeMap<String, MailObject>,
    disks: BTreeMap<String, Disk>,
    nonce: u64,
    /// The objects that were asked.
    asked: Vec<String>,
    /// Rows that were written, and alarms that were set.
    written: (usize, usize),
    /// What the next calls come to, in the place of an object's answer.
    failures: Vec<ObjectError>,
}

impl World {
    fn new(variables: &[(&str, &str)]) -> Self {
        let variables = [&[("DOORS", "v1,retalk"), ("EXTERNAL_URLS", RELAY)], variables].concat();
        let config = Config::parse_for(&MailDoor::ON_CLOUDFLARE, given(&variables)).unwrap();
        let names = OwnNames::new(&config, "127.0.0.1".parse().unwrap());
        let door = Door::parse(&config, &names, given(&variables)).unwrap().unwrap();
        let edge = Edge::new(config.clone(), Platform::CLOUDFLARE, SECRET, 1).with_retalk(door);
        Self {
            now: 1_700_006_400_000,
            config,
            edge,
            objects: BTreeMap::new(),
            disks: BTreeMap::new(),
            nonce: 0,
            asked: Vec::new(),
            written: (0, 0),
            failures: Vec::new(),
        }
    }

    fn at(&self) -> UnixMillis {
        UnixMillis::saturating(self.now)
    }

    fn carry_out(&mut self, name: &str, effects: &Effects) {
        self.written.0 += effects.writes.len();
        self.written.1 += usize::from(effects.wake_at.is_some());
        self.disks.entry(name.to_owned()).or_default().carry_out(effects);
    }

    /// The object of a name, made of what is stored if it is not in memory.
    fn object(&mut self, name: &str, known: Option<MailName>) -> Option<MailObject> {
        if let Some(object) = self.objects.remove(name) {
            return Some(object);
        }
        let found = self.disks.entry(name.to_owned()).or_default().found();
        let (object, effects) = MailObject::restore(self.at(), &self.config, known, found, SECRET).unwrap()?;
        self.carry_out(name, &effects);
        Some(object)
    }

    fn ask(&mut self, name: &str, text: &str) -> Result<Answer, ObjectError> {
        self.asked.push(name.to_owned());
        if let Some(failure) = self.failures.pop() {
            return Err(failure);
        }
        let call = MailCall::parse(text).unwrap();
        let mut object = self.object(name, Some(call.object())).unwrap();
        let (answer, effects) = object.handle(self.at(), call).unwrap();
        let bodies = &self.disks[name].messages;
        let answer = answer.join(|number| Ok::<_, ()>(bodies[&number].1.clone())).unwrap();
        self.carry_out(name, &effects);
        self.objects.insert(name.to_owned(), object);
        AskRetalk::outcome(answer.status).map(|()| answer)
    }

    /// Wakes objects whose alarm has come. The host does not know which they are.
    fn pass(&mut self, millis: u64) {
        self.now += millis;
        for name in self.disks.keys().cloned().collect::<Vec<_>>() {
            let disk = self.disks.get_mut(&name).unwrap();
            if disk.wake_at.is_none_or(|at| at.as_u64() > self.now) {
                continue;
            }
            disk.wake_at = None;
            let mut object = self.object(&name, None).unwrap();
            let effects = object.handle_alarm(self.at());
            self.carry_out(&name, &effects);
            self.objects.insert(name, object);
        }
    }

    /// Forgets every object.
    fn forget(&mut self) {
        self.objects.clear();
    }

    fn post(&mut self, body: &str, address: &str) -> (u16, Value) {
        let body_bytes = Some(body.len() as u64);
        let url = format!("{RELAY}/");
        let head = Head { method: "POST", url: &url, address: read_address(address), body_bytes, ..Head::default() };
        let now = self.at();
        let mut step = self.edge.receive(now, &head);
        let answer = loop {
            step = match step {
                Step::Answer(answer) => break answer,
                Step::Retalk(retalk) => match *retalk {
                    RetalkStep::ReadBody(read) => self.edge.read_retalk(now, read, Ok(body.as_bytes().to_vec())),
                    RetalkStep::Verify(verify) => {
                        let each: Vec<_> = verify.to_bytes().iter().map(|bytes| fits(bytes)).collect();
                        let fit = verify.fit(&each);
                        self.edge.retalk_verified(now, verify, fit)
                    }
                    RetalkStep::Ask(ask) => {
                        let is_send = ask.is_send();
                        match self.carry_out_ask(ask) {
                            Ok(answer) => break answer,
                            Err(error) => self.edge.retalk_failed(now, is_send, &error),
                        }
                    }
                },
                other => panic!("{other:?}"),
            };
        };
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    fn carry_out_ask(&mut self, ask: AskRetalk) -> Result<Answer, ObjectError> {
        if let Some(place) = ask.place() {
            let answer = self.ask(&place.object().to_string(), &place.to_text())?;
            if answer.status != 200 {
                return Ok(AskRetalk::no_place(&answer.body));
            }
        }
        let (call, then) = ask.into_calls();
        let answer = self.ask(&call.name(), &call.to_text())?;
        if let Some(then) = then {
            // Nobody waits for it.
            let _ = self.ask(&then.name(), &then.to_text());
        }
        Ok(answer)
    }

    fn request(&mut self, user: User, tool: &str, args: &Value) -> String {
        self.nonce += 1;
        user.request(self.now, tool, args, self.nonce)
    }

    fn call(&mut self, user: User, tool: &str, args: &Value) -> (u16, Value) {
        let body = self.request(user, tool, args);
        self.post(&body, &format!("10.0.{}.1", user.0))
    }

    fn publish(&mut self, user: User) -> (u16, Value) {
        self.call(user, "publish_keys", &user.publication())
    }

    fn send(&mut self, from: User, to: User, text: &str) -> Value {
        let (status, sent) = self.call(from, "send_message", &to.message(text));
        assert_eq!(status, 200, "{sent}");
        sent
    }

    fn read(&mut self, user: User) -> Vec<String> {
        let (status, read) = self.call(user, "read_messages", &json!({}));
        assert_eq!(status, 200, "{read}");
        let text =
            |message: &Value| String::from_utf8(base64::decode(message["body"].as_str().unwrap()).unwrap()).unwrap();
        read.as_array().unwrap().iter().map(text).collect()
    }

    fn disk(&self, user: User) -> &Disk {
        &self.disks[&name(user)]
    }
}

fn name(user: User) -> String {
    format!("retalk:{}", user.id())
}

const ALICE: User = User(1);
const BOB: User = User(2);

#[test]
fn mail_waits_in_storage_while_its_object_is_forgotten() {
    let mut world = World::new(&[]);
    assert_eq!(world.publish(BOB).0, 200);
    for text in ["one", "two"] {
        world.forget();
        assert!(world.send(ALICE, BOB, text)["message_id"].as_u64().unwrap() > 0);
        world.now += 1;
    }
    world.forget();
    assert_eq!(world.read(BOB), ["one", "two"]);
    assert!(world.disk(BOB).messages.is_empty());
    assert_eq!(world.read(BOB), Vec::<String>::new());
}

#[test]
fn nothing_is_stored_of_who_has_published_nothing() {
    let mut world = World::new(&[]);
    world.send(ALICE, BOB, "to nobody");
    world.call(BOB, "count_keys", &json!({}));
    world.call(ALICE, "claim_key", &json!({"peer": BOB.id().to_string()}));
    world.read(BOB);
    assert_eq!(world.written, (0, 0));
    for user in [ALICE, BOB] {
        assert_eq!(*world.disk(user), Disk::default());
    }
}

#[test]
fn an_object_that_is_only_woken_knows_which_it_is_and_tidies_up() {
    let mut world = World::new(&[]);
    world.publish(BOB);
    world.send(ALICE, BOB, "never read");
    world.forget();
    world.pass(151_000);
    assert!(world.disk(BOB).rows.keys().all(|name| !name.starts_with("nonce")), "{:?}", world.disk(BOB).rows);
    world.forget();
    world.pass(7 * DAY);
    assert!(world.disk(BOB).messages.is_empty() && !world.disk(BOB).rows.is_empty());
    world.forget();
    world.pass(83 * DAY);
    assert_eq!(*world.disk(BOB), Disk::default(), "its owner has not been there for 90 days");
    world.pass(DAY);
    world.publish(BOB);
    assert_eq!(world.read(BOB), Vec::<String>::new());
}

#[test]
fn no_request_is_good_again_though_its_object_was_forgotten_after_ten_seconds() {
    let mut world = World::new(&[]);
    world.publish(BOB);
    world.send(ALICE, BOB, "one");
    let reads = [(); 3].map(|()| {
        world.now += 2_000;
        let read = world.request(BOB, "read_messages", &json!({}));
        assert_eq!(world.post(&read, "10.0.2.1").0, 200);
        read
    });
    let send = world.request(ALICE, "send_message", &json!({"body": "eA==", "mtype": 1, "to": BOB.id().to_string()}));
    assert_eq!(world.post(&send, "10.0.1.1").0, 200);
    let last = world.request(BOB, "read_messages", &json!({}));
    assert_eq!(world.post(&last, "10.0.2.1").1.as_array().unwrap().len(), 1);
    let empty = world.request(BOB, "read_messages", &json!({}));
    world.post(&empty, "10.0.2.1");
    // Nobody asks, and the alarm comes before the object is forgotten.
    world.pass(9_000);
    world.forget();
    world.pass(1_000);
    for request in reads.iter().chain([&send, &last, &empty]) {
        let (status, refused) = world.post(request, "10.0.2.1");
        assert_eq!((status, &refused["code"]), (409, &json!("REPLAYED")));
    }
}

#[test]
fn an_alarm_that_is_set_is_not_set_again() {
    let mut world = World::new(&[]);
    world.publish(BOB);
    world.send(ALICE, BOB, "one");
    world.pass(200_000);
    let (rows, alarms) = world.written;
    for _ in 0..3 {
        world.forget();
        world.call(BOB, "read_messages", &json!({"peek": true}));
    }
    assert_eq!(world.written, (rows, alarms));
}

/// Of each one row is that of the nonce. The README has these numbers.
#[test]
fn a_request_writes_few_rows() {
    let mut world = World::new(&[]);
    let mut rows_of = |deed: &dyn Fn(&mut World)| {
        let before = world.written.0;
        deed(&mut world);
        world.written.0 - before
    };
    let published = rows_of(&|world| drop(world.publish(BOB)));
    assert_eq!(published, 4 + 2, "and two of the count of mailboxes, of which one says what it is");
    assert_eq!(rows_of(&|world| drop(world.publish(BOB))), 2);
    assert_eq!(rows_of(&|world| drop(world.publish(ALICE))), 4 + 1);
    assert_eq!(rows_of(&|world| drop(world.send(ALICE, BOB, "one"))), 2 + 1);
    assert_eq!(rows_of(&|world| drop(world.send(ALICE, BOB, "two"))), 2);
    assert_eq!(rows_of(&|world| drop(world.read(BOB))), 1 + 2);
    assert_eq!(rows_of(&|world| drop(world.read(BOB))), 0);
}

/// The free plan has 100,000 requests to objects and as many rows written in a day.
#[test]
fn who_asks_every_other_second_costs_a_request_each_time_and_few_rows() {
    let mut world = World::new(&[("ADDRESS_REQUESTS_PER_MINUTE", "600")]);
    world.publish(BOB);
    world.pass(200_000);
    let (before, asked) = (world.written, world.asked.len());
    for _ in 0..1_800 {
        world.pass(2_000);
        assert_eq!(world.read(BOB), Vec::<String>::new());
    }
    let (rows, alarms) = (world.written.0 - before.0, world.written.1 - before.1);
    // The place is renewed once more, or twice. Nonces go in one row each ten seconds, and it goes with the last of them. An
    // alarm that writes them sets one for their end, and the next read an earlier one.
    assert!((1_801..=1_802).contains(&(world.asked.len() - asked)), "{}", world.asked.len() - asked);
    assert!(rows <= 730 && alarms <= 730, "{rows} rows, {alarms} alarms");
}

#[test]
fn a_message_is_answered_as_taken_where_its_object_does_not_answer_and_nothing_else_is() {
    let failure = || ObjectError::Status { status: 500 };
    let mut world = World::new(&[]);
    world.publish(BOB);
    world.failures.push(failure());
    let sent = world.send(ALICE, BOB, "one");
    assert_eq!((&sent["stored"], &sent["code"]), (&json!(false), &json!("INTERNAL")));
    world.failures.push(failure());
    let (status, refused) = world.call(BOB, "count_keys", &json!({}));
    assert_eq!((status, &refused["code"], refused["error"].is_string()), (500, &json!("INTERNAL"), true));
    assert_eq!(AskRetalk::outcome(500), Err(failure()));
    for status in [200, 404, 409, 429] {
        assert_eq!(AskRetalk::outcome(status), Ok(()));
    }
    assert_eq!(world.read(BOB), Vec::<String>::new());
}

#[test]
fn there_are_as_many_mailboxes_as_there_may_be_those_of_both_kinds_together() {
    let mut world = World::new(&[("MAILBOXES", "1")]);
    assert_eq!(world.publish(BOB).0, 200);
    let (status, refused) = world.publish(ALICE);
    assert_eq!((status, &refused["code"]), (429, &json!("THROTTLED")));
    assert!(refused["error"].as_str().unwrap().contains("has its 1 mailboxes"), "{refused}");
    assert!(!world.asked.contains(&name(ALICE)), "its object is not asked");
}

#[test]
fn a_text_that_is_no_call_is_refused_and_so_is_a_call_of_another_object() {
    let user = BOB.id();
    for text in [
        format!("retalk:{user}\n"),
        format!("retalk:{user}\nrequest 4:10.0.0.1"),
        format!("retalk:{user}\nrequest nowhere\n{{}}"),
        format!("retalk:{user}\ncorrespond nobody"),
        format!("retalk:{user}\ncorrespond {user}\nmore"),
        format!("retalk:{user}"),
        "retalk:nobody\ncorrespond x".to_owned(),
        String::new(),
    ] {
        assert!(MailCall::parse(&text).is_err(), "{text:?}");
    }
    let call = RetalkCall::Correspond { user, with: ALICE.id() };
    assert_eq!(MailCall::parse(&call.to_text()), Ok(MailCall::Retalk(call.clone())));
    let config = World::new(&[]).config;
    let restore =
        |name| MailObject::restore(UnixMillis::saturating(0), &config, name, Found::default(), SECRET).unwrap();
    assert!(restore(None).is_none(), "nobody says which it is");
    let openings = MailCall::parse(&format!("openings\nfree {}", user.place())).unwrap();
    let (mut object, _) = restore(Some(openings.object())).unwrap();
    assert!(matches!(
        object.handle(UnixMillis::saturating(0), MailCall::Retalk(call)),
        Err(ObjectError::Unreadable(_))
    ));
    assert!(matches!(MailCall::parse("v1:x\ncard"), Err(CallError::Malformed(_))));
}
