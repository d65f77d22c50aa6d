//! Every row of the tables of mailboxes' HTTP interface, what each request asks of its host, and what it writes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::mailbox::bytes::{Address, Bytes, ContentId};
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::proof::{Proof, day_of};
use rendezvous_protocol::mailbox::record::{
    Ack, Card, Claim, Close, Collect, Contact, Deposit, Live, Policy, Prekey, PrekeyKind, Prekeys, Record, Requests,
    SealingKey, SlotQuestion,
};
use rendezvous_protocol::network::read_address;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::{Answer, Content, Outcome};
use rendezvous_service::call::ObjectError;
use rendezvous_service::config::Config;
use rendezvous_service::edge::{Edge, Head, Step, Upgrade};
use rendezvous_service::live::ConnectionId;
use rendezvous_service::mailbox::{
    Effects, Found, ListenCall, ListenerConnection, ListenerOutput, MailboxCall, MailboxStep, News, NewsPush, Object,
    ObjectCall, ObjectName, OpeningsCall, Write,
};
use rendezvous_service::note::Level;
use rendezvous_service::platform::Platform;
use serde_json::{Value, json};

use crate::host::{START, at, config, header, json, problem};

const ORIGIN: &str = "https://beacon.example";
pub(crate) const HOUR: u64 = 3_600_000;
pub(crate) const DAY: u64 = 24 * HOUR;

pub(crate) fn owner() -> PrivateKey {
    PrivateKey::from_seed(&[1; 32])
}

pub(crate) fn reader() -> PrivateKey {
    PrivateKey::from_seed(&[2; 32])
}

pub(crate) fn slot() -> PrivateKey {
    PrivateKey::from_seed(&[3; 32])
}

pub(crate) fn stranger() -> PrivateKey {
    PrivateKey::from_seed(&[4; 32])
}

pub(crate) fn address() -> Address {
    Address::of(&owner().public_key())
}

/// What is stored of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) rows: BTreeMap<String, String>,
    pub(crate) messages: BTreeMap<u64, (String, String)>,
    pub(crate) wake_at: Option<UnixMillis>,
}

impl Disk {
    pub(crate) fn found(&self) -> Found {
        Found {
            rows: self.rows.clone().into_iter().collect(),
            messages: self.messages.iter().map(|(number, (row, _))| (*number, row.clone())).collect(),
            listeners: Vec::new(),
        }
    }

    pub(crate) fn carry_out(&mut self, effects: &Effects) {
        for write in effects.writes.clone() {
            match write {
                Write::Put { name, row } => drop(self.rows.insert(name, row)),
                Write::Erase { name } => {
                    assert!(self.rows.remove(&name).is_some(), "{name} is erased and was not there")
                }
                Write::PutMessage { number, row, body } => {
                    assert_eq!(self.messages.insert(number, (row, body)), None, "a number is used once");
                }
                Write::EraseMessage { number } => drop(self.messages.remove(&number).unwrap()),
                Write::EraseAll => *self = Self::default(),
            }
        }
        self.wake_at = effects.wake_at.or(self.wake_at);
    }
}

/// A relay: a clock that is set, objects in memory, and what they have stored.
struct Relay {
    now: u64,
    config: Config,
    edge: Edge,
    objects: BTreeMap<ObjectName, Object>,
    disks: BTreeMap<ObjectName, Disk>,
    /// What the next calls come to, in the place of an object's answer.
    failures: VecDeque<ObjectError>,
    /// The objects that the last request asked.
    asked: Vec<String>,
    /// How many signatures it had checked.
    signatures: usize,
    /// What the last call wanted done.
    effects: Effects,
    /// What all calls of the last request pushed.
    pushed: Vec<NewsPush>,
}

#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    path: String,
    address: &'static str,
    body: Result<Vec<u8>, RequestError>,
}

impl Request {
    fn from(self, address: &'static str) -> Self {
        Self { address, ..self }
    }
}

fn request(method: &'static str, path: &str, body: &str) -> Request {
    Request { method, path: path.to_owned(), address: "192.0.2.1", body: Ok(body.as_bytes().to_vec()) }
}

/// A request about the mailbox.
fn about(method: &'static str, rest: &str, body: &str) -> Request {
    request(method, &format!("/v1/mailboxes/{}{rest}", address()), body)
}

impl Relay {
    fn new(variables: &[(&str, &str)]) -> Self {
        let config = config(variables);
        Self {
            now: 0,
            edge: Edge::new(config.clone(), Platform::CLOUDFLARE, Secret::from_bytes([7; 16]), 7),
            config,
            objects: BTreeMap::new(),
            disks: BTreeMap::new(),
            failures: VecDeque::new(),
            asked: Vec::new(),
            signatures: 0,
            effects: Effects::default(),
            pushed: Vec::new(),
        }
    }

    /// A relay with the mailbox, which has one contact, with a limit of two.
    fn opened() -> Self {
        let mut relay = Self::new(&[]);
        assert_eq!(relay.serve(&put(1, |_| {}, |_| {})).status, 201);
        relay
    }

    fn serve(&mut self, request: &Request) -> Answer {
        let url = format!("{ORIGIN}{}", request.path);
        let address = read_address(request.address);
        let body_bytes = request.body.as_ref().ok().map(|body| body.len() as u64);
        let head = Head { method: request.method, url: &url, address, body_bytes, ..Head::default() };
        (self.asked, self.signatures, self.pushed) = (Vec::new(), 0, Vec::new());
        let mut step = self.edge.receive(at(self.now), &head);
        loop {
            step = match step {
                Step::Answer(answer) => return answer,
                Step::Mailbox(step) => match *step {
                    MailboxStep::ReadBody(read) => {
                        assert_eq!(read.most(), 262_144);
                        self.edge.read_records(at(self.now), read, request.body.clone())
                    }
                    MailboxStep::Verify(verify) => {
                        self.signatures = verify.to_bytes().len();
                        let fit = verify.verify_signatures();
                        self.edge.records_verified(at(self.now), verify, fit)
                    }
                    MailboxStep::Ask(ask) => match self.ask(ask.call().clone()) {
                        Ok(answer) => match ask.next(answer.status) {
                            Some(next) => Step::Mailbox(Box::new(MailboxStep::Ask(next))),
                            None => return answer,
                        },
                        Err(error) => self.edge.mailbox_failed(at(self.now), &error),
                    },
                    step => panic!("not a step of a request that is answered: {step:?}"),
                },
                other => panic!("not a step of a mailbox: {other:?}"),
            };
        }
    }

    fn ask(&mut self, call: ObjectCall) -> Result<Answer, ObjectError> {
        assert_eq!(ObjectCall::parse(&call.to_text()), Ok(call.clone()), "the text of a call is the call");
        let name = call.object();
        assert_eq!(name.to_string().parse(), Ok(name));
        self.asked.push(name.to_string());
        if let Some(failure) = self.failures.pop_front() {
            return Err(failure);
        }
        self.restore(name)?;
        let (object, disk) = (self.objects.get_mut(&name).unwrap(), self.disks.entry(name).or_default());
        let (answer, effects) = object.handle(at(self.now), call);
        disk.carry_out(&effects);
        assert_eq!(object.is_stored(), *disk != Disk::default());
        self.pushed.extend(effects.push.clone());
        self.effects = effects;
        answer.join(|number| Ok(disk.messages[&number].1.clone()))
    }

    fn restore(&mut self, name: ObjectName) -> Result<(), ObjectError> {
        if !self.objects.contains_key(&name) {
            let disk = self.disks.entry(name).or_default();
            let secret = Secret::from_bytes([9; 16]);
            let restored = Object::restore(at(self.now), &self.config, Some(name), disk.found(), secret)?;
            let (object, effects) = restored.unwrap();
            disk.carry_out(&effects);
            self.objects.insert(name, object);
        }
        Ok(())
    }

    /// Forgets what is in memory alone.
    fn restart(&mut self) {
        self.objects.clear();
    }

    fn disk(&self) -> &Disk {
        &self.disks[&ObjectName::Mailbox(address())]
    }
}

pub(crate) fn sign<T: Record>(payload: T, key: &PrivateKey) -> String {
    Signed::sign(payload, key).unwrap().to_json()
}

pub(crate) fn card(now: u64, revision: u64, change: impl FnOnce(&mut Card)) -> Card {
    let mut card = Card {
        expires_at: at(now + 90 * DAY),
        issued_at: at(now),
        mailbox: address(),
        readers: vec![reader().public_key()],
        relays: vec![ORIGIN.to_owned()],
        requests: Requests { difficulty: 0, open: false },
        revision,
        sealing: vec![SealingKey { expires_at: at(now + 30 * DAY), key: base64::encode(&[7; 32]), suite: 0 }],
    };
    change(&mut card);
    card
}

pub(crate) fn policy(now: u64, revision: u64, change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy {
        contacts: vec![Contact { key: slot().public_key(), limit: 2 }],
        expires_at: at(now + 90 * DAY),
        invites: Vec::new(),
        issued_at: at(now),
        mailbox: address(),
        revision,
    };
    change(&mut policy);
    policy
}

fn put(revision: u64, of_card: impl FnOnce(&mut Card), of_policy: impl FnOnce(&mut Policy)) -> Request {
    let card = sign(card(0, revision, of_card), &owner());
    let policy = sign(policy(0, revision, of_policy), &owner());
    about("PUT", "", &format!(r#"{{"card":{card},"policy":{policy}}}"#))
}

pub(crate) fn sealed(content: u8) -> Vec<u8> {
    vec![content; 2_048]
}

pub(crate) fn deposit_of(
    sealed: &[u8],
    now: u64,
    sequence: u64,
    change: impl FnOnce(&mut Deposit),
    key: &PrivateKey,
) -> String {
    let mut deposit = Deposit {
        content_id: ContentId::of(sealed),
        expires_at: at(now + DAY),
        issued_at: at(now),
        mailbox: address(),
        sequence,
        size: u32::try_from(sealed.len()).unwrap(),
    };
    change(&mut deposit);
    sign(deposit, key)
}

fn leave_of(sealed: &[u8], deposit: &str, proof: &str) -> Request {
    let sealed = base64::encode(sealed);
    about("POST", "/messages", &format!(r#"{{"deposit":{deposit},"sealed":"{sealed}"{proof}}}"#))
}

/// A contact's message.
fn leave(now: u64, sequence: u64, content: u8) -> Request {
    let sealed = sealed(content);
    leave_of(&sealed, &deposit_of(&sealed, now, sequence, |_| {}, &slot()), "")
}

pub(crate) fn ack(now: u64, through: u64, change: impl FnOnce(&mut Ack), key: &PrivateKey) -> String {
    let at = UnixMillis::saturating((START + now) / 60_000 * 60_000);
    let mut ack = Ack { at, mailbox: address(), missing: Vec::new(), slot: slot().public_key(), through };
    change(&mut ack);
    let of = deposit_of(&sealed(u8::try_from(through).unwrap()), now, through, |_| {}, &slot());
    format!(r#"{{"ack":{},"of":{of}}}"#, sign(ack, key))
}

fn collect(now: u64, nonce: u8, change: impl FnOnce(&mut Collect), key: &PrivateKey, acks: &[String]) -> Request {
    let mut collect = Collect {
        audience: ORIGIN.to_owned(),
        collector: Bytes([1; 16]),
        issued_at: at(now),
        limit: 10,
        mailbox: address(),
        max_bytes: 1_000_000,
        nonce: Bytes([nonce; 16]),
    };
    change(&mut collect);
    let collect = sign(collect, key);
    about("POST", "/collect", &format!(r#"{{"collect":{collect},"acks":[{}]}}"#, acks.join(",")))
}

fn acks(acks: &[String]) -> Request {
    about("POST", "/acks", &format!(r#"{{"acks":[{}]}}"#, acks.join(",")))
}

fn question(now: u64, key: &PrivateKey) -> Request {
    let question =
        SlotQuestion { audience: ORIGIN.to_owned(), issued_at: at(now), mailbox: address(), nonce: Bytes([0; 16]) };
    about("POST", "/slot", &format!(r#"{{"slot":{}}}"#, sign(question, key)))
}

fn prekey(number: u8, kind: PrekeyKind) -> Prekey {
    let mut prekey =
        Prekey { id: number.to_string(), key: Bytes([number; 32]), signature: Bytes([0; 64]), since: at(0) };
    let signed = Prekeys::prekey_signed_bytes(address(), &Bytes([5; 32]), kind, &prekey);
    prekey.signature = Bytes(owner().sign(signed.as_bytes()));
    prekey
}

fn put_prekeys(revision: u64, one_time: &[u8]) -> Request {
    let prekeys = Prekeys {
        curve25519: Bytes([5; 32]),
        expires_at: at(90 * DAY),
        fallback: prekey(0, PrekeyKind::Fallback),
        issued_at: at(0),
        mailbox: address(),
        one_time: one_time.iter().map(|number| prekey(*number, PrekeyKind::OneTime)).collect(),
        revision,
    };
    about("PUT", "/prekeys", &format!(r#"{{"prekeys":{}}}"#, sign(prekeys, &owner())))
}

fn claim(now: u64, nonce: u8, key: &PrivateKey) -> Request {
    let claim =
        Claim { audience: ORIGIN.to_owned(), issued_at: at(now), mailbox: address(), nonce: Bytes([nonce; 16]) };
    about("POST", "/prekeys/claim", &format!(r#"{{"claim":{}}}"#, sign(claim, key)))
}

fn close(revision: u64) -> Request {
    about("POST", "/close", &format!(r#"{{"close":{}}}"#, sign(Close { mailbox: address(), revision }, &owner())))
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_mailbox_is_opened_changed_and_shown() {
    let mut relay = Relay::new(&[]);
    let opened = relay.serve(&put(1, |_| {}, |_| {}));
    let name = format!("v1:{}", address());
    assert_eq!(relay.asked, ["openings", &name]);
    assert_eq!(relay.signatures, 2);
    assert_eq!(
        opened,
        Answer {
            status: 201,
            content: Content::Json,
            outcome: Outcome::Served,
            headers: Vec::new(),
            body: format!(r#"{{"ok":true,"revision":1,"policyRevision":1,"serverTime":{START}}}"#),
        }
    );
    for method in ["GET", "HEAD"] {
        let shown = relay.serve(&about(method, "", ""));
        let card = sign(card(0, 1, |_| {}), &owner());
        assert_eq!((shown.status, shown.body.as_str()), (200, &*format!(r#"{{"ok":true,"card":{card}}}"#)));
        assert_eq!(header(&shown, "Cache-Control"), Some("public, max-age=60"));
        assert_eq!((relay.asked.as_slice(), relay.signatures), ([name.clone()].as_slice(), 0));
        assert_eq!(relay.effects, Effects::default());
    }
    assert_eq!(relay.serve(&put(2, |_| {}, |_| {})).status, 200);
    let again = relay.serve(&put(2, |_| {}, |_| {}));
    assert_eq!((again.status, relay.effects.writes.as_slice()), (200, [].as_slice()));
    let stale = relay.serve(&put(1, |_| {}, |_| {}));
    assert_eq!(problem(&stale), refused(409, "STALE_REVISION"));
    let newest: Value = serde_json::from_str(&sign(card(0, 2, |_| {}), &owner())).unwrap();
    assert_eq!((&json(&stale)["standing"], &json(&stale)["record"]), (&json!(2), &newest));
    let struck = relay.serve(&put(3, |_| {}, |policy| policy.contacts.clear()));
    assert_eq!(struck.status, 200);
    let back = relay.serve(&put(4, |_| {}, |_| {}));
    assert_eq!(problem(&back), refused(409, "SLOT_STRUCK_OFF"));
    assert_eq!(json(&back)["slot"], slot().public_key().to_string());
}

#[test]
fn what_is_wrong_with_a_card_or_policy_is_said_before_an_object_is_asked() {
    let mut relay = Relay::new(&[]);
    let other = || PrivateKey::from_seed(&[8; 32]);
    let of = |card: &str, policy: &str| about("PUT", "", &format!(r#"{{"card":{card},"policy":{policy}}}"#));
    let good_policy = || sign(policy(0, 1, |_| {}), &owner());
    let good_card = || sign(card(0, 1, |_| {}), &owner());
    let changed = |signature: &str| good_card().replace(&signature_of(&good_card()), signature);
    let others = |card: &mut Card| card.mailbox = Address::of(&other().public_key());
    for (request, status, code) in [
        (of("{}", &good_policy()), 400, "MALFORMED"),
        (of(&good_card().replace("\"version\":1", "\"version\":2"), &good_policy()), 400, "UNSUPPORTED_VERSION"),
        (of(&good_card().replace("ed25519", "rsa"), &good_policy()), 400, "UNSUPPORTED_ALGORITHM"),
        (of(&sign(card(0, 1, others), &other()), &good_policy()), 400, "MALFORMED"),
        (
            of(&sign(card(0, 1, |card| card.expires_at = at(91 * DAY)), &owner()), &good_policy()),
            400,
            "LIFETIME_TOO_LONG",
        ),
        (of(&sign(card(16_000, 1, |_| {}), &owner()), &good_policy()), 400, "NOT_YET_VALID"),
        (of(&sign(card(0, 1, |_| {}), &other()), &good_policy()), 403, "NOT_THE_OWNER"),
        (of(&good_card(), &sign(policy(0, 1, |_| {}), &other())), 403, "NOT_THE_OWNER"),
        (of(&changed(&signature_of(&good_policy())), &good_policy()), 403, "SIGNATURE_INVALID"),
    ] {
        let answer = relay.serve(&request);
        assert_eq!(problem(&answer), refused(status, code));
        assert_eq!((relay.asked.len(), answer.outcome), (0, Outcome::Refused(code_of(code))));
    }
    // Not a place either: it would be held for months, and nobody could give it back.
    let elsewhere = put(1, |card| card.relays = vec!["https://other.example".to_owned()], |_| {});
    assert_eq!(problem(&relay.serve(&elsewhere)), refused(421, "MISDIRECTED_REQUEST"));
    assert_eq!((relay.asked.len(), relay.disks.len()), (0, 0));
}

/// The signature in an envelope.
fn signature_of(envelope: &str) -> String {
    let envelope: Value = serde_json::from_str(envelope).unwrap();
    envelope["signature"].as_str().unwrap().to_owned()
}

fn code_of(code: &str) -> &'static str {
    rendezvous_protocol::code::Code::parse(code).unwrap().as_str()
}

#[test]
fn of_a_mailbox_that_is_not_there_nothing_is_written() {
    let mut relay = Relay::new(&[]);
    for request in [
        about("GET", "", ""),
        leave(0, 1, 1),
        collect(0, 1, |_| {}, &owner(), &[]),
        acks(&[ack(0, 1, |_| {}, &owner())]),
        question(0, &slot()),
        put_prekeys(1, &[1]),
        claim(0, 1, &slot()),
        close(1),
    ] {
        assert_eq!(problem(&relay.serve(&request)), refused(404, "MAILBOX_UNKNOWN"));
        assert_eq!((relay.asked.len(), &relay.effects), (1, &Effects::default()));
    }
}

#[test]
fn a_message_is_left_once_and_waits_for_its_reader() {
    let mut relay = Relay::opened();
    let left = relay.serve(&leave(0, 1, 1));
    let content_id = ContentId::of(&sealed(1));
    let ends_at = START + DAY;
    assert_eq!((left.status, relay.signatures), (201, 1));
    assert_eq!(
        left.body,
        format!(
            r#"{{"ok":true,"accepted":true,"contentId":"{content_id}","unacknowledged":1,"limit":2,"endsAt":{ends_at},"serverTime":{START}}}"#
        )
    );
    let deposit = deposit_of(&sealed(1), 0, 1, |_| {}, &slot());
    let body = format!(r#""deposit":{deposit},"sealed":"{}""#, base64::encode(&sealed(1)));
    let [Write::PutMessage { number: 1, row: _, body: stored }] = relay.effects.writes.as_slice() else {
        panic!("one row: {:?}", relay.effects)
    };
    assert_eq!(*stored, body);
    relay.restart();
    let again = relay.serve(&leave(0, 1, 1));
    assert_eq!(
        (again.status, again.body.as_str()),
        (
            200,
            &*format!(
                r#"{{"ok":true,"accepted":false,"contentId":"{content_id}","duplicate":true,"unacknowledged":1,"endsAt":{ends_at},"serverTime":{START}}}"#
            )
        )
    );
    assert_eq!(relay.effects.writes, []);

    let received_at = START / 60_000 * 60_000;
    let lease_until = START + 60_000;
    let expected = |messages: &str, more: bool| {
        format!(
            r#"{{"ok":true,"messages":[{messages}],"more":{more},"refused":[],"pending":{{"messages":1,"bytes":2048,"requests":0}},"oneTimeKeys":0,"policyRevision":1,"released":0,"serverTime":{START}}}"#
        )
    };
    let message = format!(r#"{{{body},"receivedAt":{received_at},"leaseUntil":{lease_until},"lane":"contact"}}"#);
    let collected = relay.serve(&collect(0, 1, |_| {}, &reader(), &[]));
    assert_eq!((collected.status, collected.body.as_str()), (200, &*expected(&message, false)));
    let other = relay.serve(&collect(0, 2, |collect| collect.collector = Bytes([2; 16]), &reader(), &[]));
    assert_eq!((other.status, other.body.as_str()), (200, &*expected("", false)));
    assert_eq!(relay.serve(&collect(0, 3, |_| {}, &reader(), &[])).body, expected(&message, false));

    let status = relay.serve(&question(0, &slot()));
    assert_eq!(
        status.body,
        format!(r#"{{"ok":true,"ack":null,"highest":1,"unacknowledged":1,"limit":2,"serverTime":{START}}}"#)
    );
    let released = relay.serve(&acks(&[ack(0, 1, |_| {}, &reader())]));
    assert_eq!(released.body, format!(r#"{{"ok":true,"released":1,"serverTime":{START}}}"#));
    assert_eq!(relay.signatures, 2);
    let written: Vec<_> = relay.effects.writes.iter().map(kind_of).collect();
    assert_eq!(written, [format!("put slot {}", slot().public_key()), "erase 1".to_owned()]);
    let envelope = sign_ack(1);
    let receipt = relay.serve(&question(0, &slot()));
    assert_eq!(
        receipt.body,
        format!(r#"{{"ok":true,"ack":{envelope},"highest":1,"unacknowledged":0,"limit":2,"serverTime":{START}}}"#)
    );
    let late = relay.serve(&leave(0, 1, 1));
    assert_eq!(
        (late.status, late.body.as_str()),
        (
            200,
            &*format!(
                r#"{{"ok":true,"accepted":false,"contentId":"{content_id}","acknowledged":true,"ack":{envelope},"serverTime":{START}}}"#
            )
        )
    );
}

/// The envelope of the reader's acknowledgement.
pub(crate) fn sign_ack(through: u64) -> String {
    let at = UnixMillis::saturating(START / 60_000 * 60_000);
    sign(Ack { at, mailbox: address(), missing: Vec::new(), slot: slot().public_key(), through }, &reader())
}

fn kind_of(write: &Write) -> String {
    match write {
        Write::Put { name, .. } => format!("put {name}"),
        Write::Erase { name } => format!("erase {name}"),
        Write::PutMessage { number, .. } => format!("put {number}"),
        Write::EraseMessage { number } => format!("erase {number}"),
        Write::EraseAll => "erase all".to_owned(),
    }
}

#[test]
fn several_messages_stand_in_one_answer_with_what_their_collector_acknowledges() {
    let mut relay = Relay::opened();
    for sequence in [1, 2] {
        assert_eq!(relay.serve(&leave(0, u64::from(sequence), sequence)).status, 201);
    }
    let both = json(&relay.serve(&collect(0, 1, |_| {}, &owner(), &[])));
    let sequences: Vec<_> = both["messages"].as_array().unwrap().iter().map(sequence_of).collect();
    assert_eq!(sequences, [1, 2]);
    let one = json(&relay.serve(&collect(0, 2, |collect| collect.limit = 1, &owner(), &[ack(0, 1, |_| {}, &owner())])));
    assert_eq!(relay.signatures, 3);
    assert_eq!((&one["released"], &one["more"], sequence_of(&one["messages"][0])), (&json!(1), &json!(false), 2));
}

fn sequence_of(message: &Value) -> u64 {
    message["deposit"]["payload"]["sequence"].as_u64().unwrap()
}

#[test]
fn a_deposit_is_refused_by_the_first_rule_that_it_breaks() {
    let mut relay = Relay::opened();
    let sealed = sealed(9);
    let of =
        |change: fn(&mut Deposit), key: &PrivateKey| leave_of(&sealed, &deposit_of(&sealed, 0, 1, change, key), "");
    let with_body = |body: Result<Vec<u8>, RequestError>| Request { body, ..leave(0, 1, 9) };
    let other = Address::of(&reader().public_key());
    let elsewhere = deposit_of(&sealed, 0, 1, |deposit| deposit.mailbox = other, &slot());
    let unsigned = {
        let deposit = deposit_of(&sealed, 0, 1, |_| {}, &slot());
        leave_of(&sealed, &deposit.replace(&signature_of(&deposit), &signature_of(&elsewhere)), "")
    };
    for (request, status, code, asks) in [
        (with_body(Err(RequestError::BodyTooLarge)), 413, "BODY_TOO_LARGE", 0),
        (with_body(Ok(vec![b' '; 262_145])), 413, "BODY_TOO_LARGE", 0),
        (with_body(Err(RequestError::BodyTimeout)), 408, "BODY_TIMEOUT", 0),
        (with_body(Err(RequestError::BodyBrokenOff)), 400, "MALFORMED", 0),
        (with_body(Ok(b"{}".to_vec())), 400, "MALFORMED", 0),
        (leave_of(&sealed, &deposit_of(&sealed, 0, 1, |_| {}, &slot()), r#","proof":null"#), 400, "MALFORMED", 0),
        (leave_of(&[9; 2_049], &deposit_of(&sealed, 0, 1, |_| {}, &slot()), ""), 400, "SIZE_NOT_A_BUCKET", 0),
        (leave_of(&[8; 2_048], &deposit_of(&sealed, 0, 1, |_| {}, &slot()), ""), 400, "CONTENT_MISMATCH", 0),
        (leave_of(&sealed, &elsewhere, ""), 400, "MALFORMED", 0),
        (of(|deposit| deposit.expires_at = at(7 * DAY + 1), &slot()), 400, "LIFETIME_TOO_LONG", 0),
        (of(|deposit| deposit.expires_at = at(HOUR - 1), &slot()), 400, "LIFETIME_TOO_SHORT", 0),
        (
            of(|deposit| (deposit.issued_at, deposit.expires_at) = (at(15_001), at(DAY)), &slot()),
            400,
            "NOT_YET_VALID",
            0,
        ),
        (of(|deposit| (deposit.issued_at, deposit.expires_at) = (past(2 * HOUR), at(0)), &slot()), 400, "EXPIRED", 0),
        (unsigned, 403, "SIGNATURE_INVALID", 0),
        (of(|_| {}, &stranger()), 403, "SLOT_UNKNOWN", 1),
    ] {
        let answer = relay.serve(&request);
        assert_eq!(problem(&answer), refused(status, code), "{}", answer.body);
        assert_eq!((relay.asked.len(), answer.content), (asks, Content::Problem), "{code}");
        assert_eq!(header(&answer, "Retry-After"), None);
    }
    assert_eq!(relay.disk().messages.len(), 0);
}

/// The moment so many milliseconds before the tests' beginning.
fn past(millis: u64) -> UnixMillis {
    UnixMillis::saturating(START - millis)
}

#[test]
fn what_a_mailbox_refuses_says_what_its_sender_has_to_know() {
    let mut relay = Relay::opened();
    assert_eq!(relay.serve(&leave(0, 1, 1)).status, 201);
    let taken = relay.serve(&leave(0, 1, 2));
    assert_eq!(problem(&taken), refused(409, "SEQUENCE_TAKEN"));
    assert_eq!(json(&taken)["contentId"], ContentId::of(&sealed(1)).to_string());
    assert_eq!(relay.serve(&leave(0, 2, 2)).status, 201);
    let full = relay.serve(&leave(0, 3, 3));
    assert_eq!(
        full,
        Answer {
            status: 429,
            content: Content::Problem,
            outcome: Outcome::Refused("UNACKNOWLEDGED_LIMIT"),
            // Only the recipient frees it, so there is no time to come again.
            headers: Vec::new(),
            body: format!(
                concat!(
                    r#"{{"code":"UNACKNOWLEDGED_LIMIT","detail":"2 of at most 2 messages wait to be acknowledged","#,
                    r#""unacknowledged":2,"limit":2,"through":0,"missing":[],"ok":false,"serverTime":{},"#,
                    r#""status":429,"title":"Too Many Requests","type":"about:blank"}}"#
                ),
                START
            ),
        }
    );
    let told = json(&relay.serve(&collect(0, 1, |_| {}, &owner(), &[])));
    let expected = json!([{"slot": slot().public_key().to_string(), "count": 1, "since": START}]);
    assert_eq!(told["refused"], expected);

    // The slot's share of a young mailbox is one message of the largest size.
    let acked = ack(0, 2, |_| {}, &owner());
    assert_eq!(json(&relay.serve(&acks(&[acked])))["released"], 2);
    let large = |content: u8, sequence| {
        let sealed = vec![content; 131_072];
        leave_of(&sealed, &deposit_of(&sealed, 0, sequence, |_| {}, &slot()), "")
    };
    assert_eq!(relay.serve(&large(3, 3)).status, 201);
    let full = relay.serve(&large(4, 4));
    assert_eq!(problem(&full), refused(429, "MAILBOX_FULL"));
    assert_eq!((header(&full, "Retry-After"), &json(&full)["retryAfterMs"]), (Some("300"), &json!(300_000)));

    let missing = |ack: &mut Ack| ack.missing = vec![1, 2, 3];
    assert_eq!(problem(&relay.serve(&acks(&[ack(0, 9, missing, &owner())]))), refused(400, "MALFORMED"));
}

#[test]
fn a_slot_leaves_so_many_messages_a_day() {
    let mut relay = Relay::opened();
    for sequence in 1..=16_u8 {
        assert_eq!(relay.serve(&leave(0, sequence.into(), sequence)).status, 201);
        assert_eq!(relay.serve(&acks(&[ack(0, sequence.into(), |_| {}, &owner())])).status, 200);
    }
    let answer = relay.serve(&leave(0, 17, 17));
    assert_eq!(problem(&answer), refused(429, "THROTTLED"));
    let until_midnight = DAY - START % DAY;
    assert_eq!(json(&answer)["retryAfterMs"], until_midnight);
    assert_eq!(header(&answer, "Retry-After"), Some(until_midnight.div_ceil(1_000).to_string().as_str()));
    relay.now = until_midnight;
    assert_eq!(relay.serve(&leave(relay.now, 17, 17)).status, 201);
}

#[test]
fn a_strangers_message_needs_an_open_mailbox_and_a_proof() {
    let mut relay = Relay::new(&[]);
    let open = |card: &mut Card| card.requests = Requests { difficulty: 4, open: true };
    assert_eq!(relay.serve(&put(1, open, |_| {})).status, 201);
    let sealed = sealed(1);
    let deposit = deposit_of(&sealed, 0, 1, |_| {}, &stranger());
    let answer = relay.serve(&leave_of(&sealed, &deposit, ""));
    assert_eq!(problem(&answer), refused(403, "PROOF_REQUIRED"));
    let day = day_of(at(0));
    assert_eq!((&json(&answer)["difficulty"], &json(&answer)["day"]), (&json!(4), &json!(day)));
    let subject = ContentId::of(&sealed).to_string();
    let proof = (0..).map(|solution| Proof { day, solution }).find(|proof| proof.holds(address(), &subject, 4, at(0)));
    let Proof { solution, .. } = proof.unwrap();
    let proof = format!(r#","proof":{{"day":{day},"solution":{solution}}}"#);
    assert_eq!(relay.serve(&leave_of(&sealed, &deposit, &proof)).status, 201);
    let handed = json(&relay.serve(&collect(0, 1, |_| {}, &owner(), &[])));
    assert_eq!((&handed["messages"][0]["lane"], &handed["pending"]["requests"]), (&json!("request"), &json!(1)));
    let large = vec![2; 32_768];
    let deposit = deposit_of(&large, 0, 2, |_| {}, &stranger());
    let subject = ContentId::of(&large).to_string();
    let proof = (0..).map(|solution| Proof { day, solution }).find(|proof| proof.holds(address(), &subject, 4, at(0)));
    let proof = format!(r#","proof":{{"day":{day},"solution":{}}}"#, proof.unwrap().solution);
    assert_eq!(problem(&relay.serve(&leave_of(&large, &deposit, &proof))), refused(400, "SIZE_NOT_A_BUCKET"));
}

#[test]
fn only_owner_and_readers_collect_and_only_once_with_one_nonce_here_and_now() {
    let mut relay = Relay::opened();
    let elsewhere = |collect: &mut Collect| collect.audience = "https://other.example".to_owned();
    for (request, status, code, asks) in [
        (collect(0, 1, elsewhere, &owner(), &[]), 421, "MISDIRECTED_REQUEST", 0),
        (collect(0, 1, |collect| collect.issued_at = at(60_001), &owner(), &[]), 400, "NOT_YET_VALID", 0),
        (collect(0, 1, |collect| collect.issued_at = past(60_001), &owner(), &[]), 400, "EXPIRED", 0),
        (collect(0, 1, |_| {}, &slot(), &[]), 403, "NOT_A_READER", 1),
        (collect(0, 1, |_| {}, &owner(), &[ack(0, 1, |_| {}, &stranger())]), 403, "NOT_A_READER", 1),
        (acks(&[ack(0, 1, |_| {}, &stranger())]), 403, "NOT_A_READER", 1),
        (acks(&vec![ack(0, 1, |_| {}, &owner()); 65]), 400, "MALFORMED", 0),
    ] {
        let answer = relay.serve(&request);
        assert_eq!((problem(&answer), relay.asked.len()), (refused(status, code), asks), "{}", answer.body);
    }
    assert_eq!(relay.serve(&collect(0, 1, |_| {}, &owner(), &[])).status, 200);
    assert_eq!(problem(&relay.serve(&collect(0, 1, |_| {}, &owner(), &[]))), refused(409, "REPLAYED"));
    assert_eq!(problem(&relay.serve(&question(0, &stranger()))), refused(403, "SLOT_UNKNOWN"));
    let empty = relay.serve(&acks(&[]));
    assert_eq!((empty.status, relay.signatures), (200, 0));
}

#[test]
fn a_prekey_is_served_once_and_then_the_fallback() {
    let mut relay = Relay::opened();
    assert_eq!(problem(&relay.serve(&claim(0, 1, &slot()))), refused(404, "PREKEYS_UNKNOWN"));
    let put = relay.serve(&put_prekeys(1, &[1, 2]));
    assert_eq!(put.body, format!(r#"{{"ok":true,"oneTimeKeys":2,"serverTime":{START}}}"#));
    assert_eq!(problem(&relay.serve(&put_prekeys(1, &[3]))), refused(409, "STALE_REVISION"));
    let claimed = relay.serve(&claim(0, 1, &slot()));
    let [one_time, fallback] = [prekey(1, PrekeyKind::OneTime), prekey(0, PrekeyKind::Fallback)]
        .map(|prekey| serde_json::to_string(&prekey).unwrap());
    assert_eq!(
        claimed.body,
        format!(
            r#"{{"ok":true,"curve25519":"{}","oneTime":{one_time},"fallback":{fallback},"serverTime":{START}}}"#,
            Bytes([5; 32])
        )
    );
    relay.restart();
    assert_eq!(json(&relay.serve(&claim(0, 2, &slot())))["oneTime"]["id"], "2");
    assert_eq!(json(&relay.serve(&claim(0, 3, &slot())))["oneTime"], Value::Null);
    assert_eq!(problem(&relay.serve(&claim(0, 4, &stranger()))), refused(403, "SLOT_UNKNOWN"));
    assert_eq!(json(&relay.serve(&collect(0, 1, |_| {}, &owner(), &[])))["oneTimeKeys"], 0);
}

#[test]
fn a_mailbox_that_is_closed_says_so_for_30_days_and_frees_its_place() {
    let mut relay = Relay::new(&[("MAILBOXES", "1")]);
    assert_eq!(relay.serve(&put(1, |_| {}, |_| {})).status, 201);
    relay.serve(&leave(0, 1, 1));
    assert_eq!(problem(&relay.serve(&close(1))), refused(409, "STALE_REVISION"));
    assert_eq!(relay.asked.len(), 1);
    let other = other_mailbox(50, "192.0.2.1");
    let full = relay.serve(&other);
    assert_eq!(
        (problem(&full), relay.asked.as_slice()),
        (refused(429, "THROTTLED"), ["openings".to_owned()].as_slice())
    );
    assert!(json(&full)["detail"].as_str().unwrap().contains("has its 1 mailboxes"), "{}", full.body);
    assert_eq!(header(&full, "Retry-After"), Some("86400"));
    for _ in 0..2 {
        let closed = relay.serve(&close(2));
        assert_eq!(closed.body, format!(r#"{{"ok":true,"serverTime":{START}}}"#));
        assert_eq!(relay.asked.len(), 2);
    }
    assert_eq!(relay.disk().messages.len(), 0);
    assert_eq!(problem(&relay.serve(&about("GET", "", ""))), refused(410, "MAILBOX_CLOSED"));
    // It still counts for its day.
    assert_eq!(problem(&relay.serve(&other)), refused(429, "THROTTLED"));
    relay.now = DAY;
    assert_eq!(relay.serve(&other_mailbox_at(DAY, 50, "192.0.2.1")).status, 201);
    relay.now = 30 * DAY;
    assert_eq!(problem(&relay.serve(&about("GET", "", ""))), refused(404, "MAILBOX_UNKNOWN"));
}

fn other_mailbox(seed: u8, address: &'static str) -> Request {
    other_mailbox_at(0, seed, address)
}

/// Opens a mailbox of another owner.
fn other_mailbox_at(now: u64, seed: u8, from: &'static str) -> Request {
    let owner = PrivateKey::from_seed(&[seed; 32]);
    let address = Address::of(&owner.public_key());
    let card = sign(card(now, 1, |card| card.mailbox = address), &owner);
    let policy = sign(policy(now, 1, |policy| policy.mailbox = address), &owner);
    let body = format!(r#"{{"card":{card},"policy":{policy}}}"#);
    request("PUT", &format!("/v1/mailboxes/{address}"), &body).from(from)
}

#[test]
fn a_site_opens_ten_mailboxes_a_day_and_changes_them_as_it_likes() {
    let mut relay = Relay::new(&[]);
    for seed in 10..20 {
        assert_eq!(relay.serve(&other_mailbox(seed, "192.0.2.1")).status, 201);
    }
    relay.restart();
    relay.now = HOUR;
    let eleventh = relay.serve(&other_mailbox(20, "192.0.2.200"));
    assert_eq!(problem(&eleventh), refused(429, "THROTTLED"));
    assert_eq!(json(&eleventh)["retryAfterMs"], 23 * HOUR);
    assert_eq!(relay.effects.writes, []);
    // One that it has is no new one, and is not written again on the same day.
    assert_eq!(relay.serve(&other_mailbox(10, "192.0.2.1")).status, 200);
    assert_eq!(relay.disks[&ObjectName::Openings].rows.len(), 11);
    assert_eq!(relay.serve(&other_mailbox(20, "198.51.100.1")).status, 201);
    relay.now = DAY;
    assert_eq!(relay.serve(&other_mailbox_at(DAY, 21, "192.0.2.1")).status, 201);
}

#[test]
fn all_sites_of_a_provider_have_a_quarter_of_the_places_for_as_long_as_they_last() {
    let mut relay = Relay::new(&[("MAILBOXES", "48")]);
    for (seed, from) in (10..22).zip(std::iter::repeat_n("192.0.2.1", 6).chain(std::iter::repeat_n("192.0.3.1", 6))) {
        assert_eq!(relay.serve(&other_mailbox(seed, from)).status, 201);
    }
    for day in [0, 1, 96] {
        relay.now = day * DAY;
        relay.restart();
        let refusal = relay.serve(&other_mailbox_at(relay.now, 22, "192.0.4.1"));
        assert_eq!(problem(&refusal), refused(429, "THROTTLED"));
        assert!(json(&refusal)["detail"].as_str().unwrap().starts_with("12 mailboxes"), "{refusal:?}");
    }
    assert_eq!(relay.serve(&other_mailbox_at(relay.now, 23, "198.51.100.1")).status, 201);
    relay.now = 97 * DAY;
    assert_eq!(relay.serve(&other_mailbox_at(relay.now, 22, "192.0.4.1")).status, 201);
}

#[test]
fn a_place_ends_when_nothing_of_its_mailbox_can_count_any_more() {
    let mut relay = Relay::new(&[("MAILBOXES", "1")]);
    assert_eq!(relay.serve(&other_mailbox(10, "192.0.2.1")).status, 201);
    // Renewed by whoever puts records again.
    relay.now = 50 * DAY;
    let again = other_mailbox_at(0, 10, "192.0.2.1");
    assert_eq!(relay.serve(&again).status, 200);
    for (day, status) in [(97, 429), (50 + 96, 429), (50 + 97, 201)] {
        relay.now = day * DAY;
        relay.restart();
        assert_eq!(relay.serve(&other_mailbox_at(relay.now, 11, "198.51.100.1")).status, status, "{day}");
    }
    let names: Vec<_> = relay.disks[&ObjectName::Openings].rows.keys().cloned().collect();
    let other = Address::of(&PrivateKey::from_seed(&[11; 32]).public_key());
    assert_eq!(names, [other.to_string(), "object".to_owned()]);
}

#[test]
fn what_is_written_says_whose_it_is_and_when_it_is_to_be_woken() {
    let mut relay = Relay::new(&[]);
    relay.serve(&put(1, |_| {}, |_| {}));
    let written: Vec<_> = relay.effects.writes.iter().map(kind_of).collect();
    assert_eq!(written, ["put object", "put open"]);
    assert_eq!(relay.disk().rows["object"], format!("v1:{}", address()));
    assert_eq!(relay.disks[&ObjectName::Openings].rows["object"], "openings CQkJCQkJCQkJCQkJCQkJCQ==");
    // Nobody has collected for 90 days: within a day after that.
    let lapses_at = (START / DAY + 90) * DAY;
    let woken_at = relay.effects.wake_at.unwrap().as_u64();
    assert!((lapses_at..lapses_at + DAY).contains(&woken_at));
    relay.serve(&leave(0, 1, 1));
    let woken_at = relay.effects.wake_at.unwrap().as_u64();
    assert!((START + DAY..START + 2 * DAY).contains(&woken_at));
    relay.serve(&leave(0, 2, 2));
    assert_eq!(relay.effects.wake_at, None, "it is woken in time already");
    relay.restart();
    relay.serve(&acks(&[ack(0, 2, |_| {}, &owner())]));
    assert_eq!(relay.effects.wake_at, None, "too early does no harm");
    relay.restart();
    relay.serve(&leave(0, 3, 3));
    assert_eq!(relay.effects.wake_at.map(UnixMillis::as_u64), Some(woken_at));

    let name = ObjectName::Mailbox(address());
    let object = relay.objects.get_mut(&name).unwrap();
    assert_eq!(object.next_alarm().map(UnixMillis::as_u64), Some(woken_at));
    let effects = object.handle_alarm(UnixMillis::saturating(woken_at));
    let written: Vec<_> = effects.writes.iter().map(kind_of).collect();
    assert_eq!(written, [format!("put slot {}", slot().public_key()), "erase 1".to_owned()]);
    assert!((lapses_at..lapses_at + DAY).contains(&effects.wake_at.unwrap().as_u64()));
    relay.disks.get_mut(&name).unwrap().carry_out(&effects);

    // Woken without a name, as a host may: the rows say which it is.
    let lapsed = relay.disk().wake_at.unwrap();
    let (mut object, effects) =
        Object::restore(lapsed, &relay.config, None, relay.disk().found(), Secret::from_bytes([1; 16]))
            .unwrap()
            .unwrap();
    assert_eq!(object.name(), name);
    relay.disks.get_mut(&name).unwrap().carry_out(&effects);
    assert_eq!(relay.disk().rows.keys().collect::<Vec<_>>(), ["closed", "object"]);
    let over = object.next_alarm().unwrap();
    assert!(over >= lapsed.after(Duration::from_millis(90 * DAY)));
    assert_eq!(object.handle_alarm(over), Effects { writes: vec![Write::EraseAll], ..Effects::default() });
    assert!(!object.is_stored());
    assert_eq!(object.handle_alarm(over), Effects::default());
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_it() {
    let mut relay = Relay::opened();
    relay.serve(&leave(0, 1, 1));
    let good = relay.disk().found();
    let name = ObjectName::Mailbox(address());
    let restore = |name, found: Found| {
        let restored = Object::restore(at(0), &relay.config, name, found, Secret::from_bytes([1; 16]));
        restored.map(|restored| restored.is_some()).map_err(|error| error.to_string())
    };
    assert_eq!(restore(None, good.clone()), Ok(true));
    assert_eq!(restore(None, Found::default()), Ok(false));
    let with = |row: &str, text: &str| {
        let mut found = good.clone();
        found.rows.retain(|(name, _)| name != row);
        found.rows.push((row.to_owned(), text.to_owned()));
        found
    };
    let without = |row: &str| {
        let mut found = good.clone();
        found.rows.retain(|(name, _)| name != row);
        found
    };
    let mut bad_message = good.clone();
    bad_message.messages = vec![(1, "{".to_owned())];
    for (named, found, expected) in [
        (Some(name), with("open", "{"), "\"open\""),
        (Some(name), with("other", "{}"), "\"other\""),
        (Some(name), bad_message, "message 1"),
        (Some(name), without("object"), "\"object\""),
        (Some(ObjectName::Openings), good.clone(), "another object's"),
        (None, with("object", "v2:x"), "\"object\""),
        (None, with("object", "openings"), "no secret"),
        (None, with("object", "openings CQkJCQkJCQkJCQkJCQkJCQ=="), "\"open\""),
    ] {
        let error = restore(named, found).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    // The relay fails, and says so to its operator alone.
    let disk = relay.disks.get_mut(&name).unwrap();
    disk.rows.insert("open".to_owned(), "{".to_owned());
    relay.restart();
    let answer = relay.serve(&about("GET", "", ""));
    assert_eq!(problem(&answer), refused(500, "INTERNAL"));
    let failures = relay.edge.take_notes().into_iter().filter(|note| note.level == Level::Error);
    assert_eq!(failures.map(|note| note.event).collect::<Vec<_>>(), ["request_failed"]);
    relay.failures.push_back(ObjectError::Runtime("lost".to_owned()));
    assert_eq!(problem(&relay.serve(&leave(0, 2, 2))), refused(500, "INTERNAL"));
}

#[test]
fn a_path_takes_its_methods_and_a_door_that_is_closed_is_not_there() {
    let mut relay = Relay::new(&[]);
    let all = ["GET", "HEAD", "POST", "PUT", "DELETE"];
    for (rest, allowed, allow) in [
        ("", &["GET", "HEAD", "PUT"][..], "GET, HEAD, PUT, OPTIONS"),
        ("/messages", &["POST"], "POST, OPTIONS"),
        ("/collect", &["POST"], "POST, OPTIONS"),
        ("/acks", &["POST"], "POST, OPTIONS"),
        ("/slot", &["POST"], "POST, OPTIONS"),
        ("/prekeys", &["PUT"], "PUT, OPTIONS"),
        ("/prekeys/claim", &["POST"], "POST, OPTIONS"),
        ("/close", &["POST"], "POST, OPTIONS"),
    ] {
        for method in all {
            let answer = relay.serve(&about(method, rest, ""));
            if allowed.contains(&method) {
                assert_ne!(answer.status, 405, "{method} {rest}");
            } else {
                assert_eq!(problem(&answer), refused(405, "METHOD_NOT_ALLOWED"), "{method} {rest}");
                assert_eq!(header(&answer, "Allow"), Some(allow));
            }
        }
        let preflight = relay.serve(&about("OPTIONS", rest, ""));
        assert_eq!(preflight.status, 204);
        assert_eq!(header(&preflight, "Access-Control-Allow-Methods"), Some("GET, POST, PUT, OPTIONS"));
    }
    assert_eq!(problem(&relay.serve(&request("POST", "/v1/relay", ""))), refused(405, "METHOD_NOT_ALLOWED"));
    for path in ["/v1/", "/v1/relay/", "/v1/mailboxes", "/v1/replicate"] {
        assert_eq!(problem(&relay.serve(&request("GET", path, ""))), refused(404, "NOT_FOUND"), "{path}");
    }
    for rest in ["/", "/other", "/messages/"] {
        assert_eq!(problem(&relay.serve(&about("GET", rest, ""))), refused(404, "NOT_FOUND"), "{rest}");
    }
    let upper = address().to_string().to_uppercase();
    for name in ["", "x", &upper] {
        let answer = relay.serve(&request("GET", &format!("/v1/mailboxes/{name}"), ""));
        let expected = if name.is_empty() { refused(404, "NOT_FOUND") } else { refused(400, "MALFORMED") };
        assert_eq!(problem(&answer), expected, "{name}");
    }
    let mut closed = Relay::new(&[("DOORS", "")]);
    for request in [about("GET", "", ""), request("GET", "/v1/relay", "")] {
        assert_eq!(problem(&closed.serve(&request)), refused(404, "NOT_FOUND"));
    }
}

#[test]
fn a_relay_says_what_it_is() {
    let relay =
        Relay::new(&[("EXTERNAL_URLS", "https://a.example,https://b.example")]).serve(&request("GET", "/v1/relay", ""));
    assert_eq!(
        relay.body,
        format!(
            concat!(
                r#"{{"ok":true,"audiences":["https://a.example","https://b.example"],"doors":["v1"],"limits":{{"bodyBytes":262144,"#,
                r#""sealedBytes":[2048,8192,32768,131072],"messages":512,"bytesAtFirst":1048576,"bytes":8388608,"#,
                r#""lifetimeMs":604800000,"shortestLifetimeMs":3600000,"recordLifetimeMs":7776000000,"skewMs":60000,"#,
                r#""leaseMs":60000,"collectMessages":100,"collectBytes":2097152,"requests":12,"requestBytes":8192,"#,
                r#""oneTimeKeys":200}},"serverTime":{}}}"#
            ),
            START
        )
    );
    let dialled = json(&Relay::new(&[]).serve(&request("GET", "/v1/relay", "")));
    assert_eq!(dialled["audiences"], json!([ORIGIN]));
}

#[test]
fn requests_about_mailboxes_are_counted_as_all_others() {
    let mut relay = Relay::new(&[("NETWORK_REQUESTS_PER_MINUTE", "2"), ("ADDRESS_REQUESTS_PER_MINUTE", "2")]);
    for _ in 0..2 {
        assert_eq!(relay.serve(&about("GET", "", "")).status, 404);
    }
    let limited = relay.serve(&leave(0, 1, 1));
    assert_eq!((problem(&limited), relay.asked.len()), (refused(429, "THROTTLED"), 0));
    assert!(header(&limited, "Retry-After").is_some());
    // What is about a mailbox has no community's list.
    assert_eq!(json(&limited).get("peers"), None);
}

#[test]
fn a_request_counts_for_the_bytes_of_its_body_and_for_the_signatures_in_it() {
    let served = |request: &Request| {
        let mut relay = Relay::new(&[("ADDRESS_REQUESTS_PER_MINUTE", "100")]);
        (0..1_000).take_while(|_| problem(&relay.serve(request)) != refused(429, "THROTTLED")).count()
    };
    let signed = |count: usize| acks(&vec![ack(0, 1, |_| {}, &reader()); count]);
    let spaces = |count: usize| about("POST", "/acks", &" ".repeat(count));
    assert_eq!([16_383, 16_384, 262_144, 1_000_000].map(|count| served(&spaces(count))), [100, 50, 5, 5]);
    assert_eq!([0, 3, 4, 64].map(|count| served(&signed(count))), [100, 100, 50, 5]);
    // One that does not say how long it is may be the longest.
    let body_of_unknown_length = Request { body: Err(RequestError::BodyBrokenOff), ..spaces(0) };
    assert_eq!(served(&body_of_unknown_length), 5);

    // For signatures that are too many no key is looked at, and small requests go on.
    let mut relay = Relay::new(&[("ADDRESS_REQUESTS_PER_MINUTE", "25")]);
    relay.serve(&signed(64));
    assert_eq!(relay.signatures, 128);
    let limited = relay.serve(&signed(64));
    assert_eq!((problem(&limited), relay.signatures, relay.asked.len()), (refused(429, "THROTTLED"), 0, 0));
    assert!(json(&limited)["retryAfterMs"].as_u64().unwrap() > 2_400);
    assert_eq!(relay.serve(&about("GET", "", "")).status, 404);
}

#[test]
fn a_household_and_a_site_have_so_many_connections_at_all_mailboxes_together() {
    let mut relay = on_program_with(&[
        ("EXTERNAL_URLS", ORIGIN),
        ("ADDRESS_REQUESTS_PER_MINUTE", "10000"),
        ("NETWORK_REQUESTS_PER_MINUTE", "10000"),
    ]);
    let mut open = |from: &str, number: usize| {
        let url = format!("/v1/mailboxes/{number:064x}/live");
        match relay.edge.receive(at(0), &Head { address: read_address(from), ..live_head(&url) }) {
            Step::Mailbox(step) => match *step {
                MailboxStep::Listen(open) => Ok(open.open(at(0))),
                other => panic!("not a connection: {other:?}"),
            },
            Step::Answer(answer) => Err(answer),
            other => panic!("not a connection: {other:?}"),
        }
    };
    let mut first: Vec<_> = (0..16).map(|number| open("192.0.2.1", number).unwrap()).collect();
    let full = open("192.0.2.1", 16).unwrap_err();
    assert_eq!((problem(&full), header(&full, "Retry-After")), (refused(503, "LIVE_FULL"), Some("60")));
    let neighbours: Vec<_> = (0..15).map(|number| open("192.0.2.2", number).unwrap()).collect();
    let neighbour = open("192.0.2.3", 0).unwrap();
    assert_eq!(problem(&open("192.0.2.3", 0).unwrap_err()), refused(503, "LIVE_FULL"), "of one site");
    drop(open("192.0.3.1", 0).unwrap());
    // Whichever way one ends, its place is free again.
    first.pop();
    first.push(open("192.0.2.1", 16).unwrap());
    open("192.0.2.1", 17).unwrap_err();
    drop((first, neighbours, neighbour));
    assert_eq!((0..16).map(|number| open("192.0.2.2", number)).filter(Result::is_ok).count(), 16);
}

/// A request for a WebSocket to the mailbox.
fn live_head(url: &str) -> Head<'_> {
    let address = read_address("192.0.2.1");
    Head { method: "GET", url, address, upgrade: Upgrade::WebSocket, host: Some("beacon.example"), ..Head::default() }
}

impl Relay {
    /// Opens a connection, as a host does that describes every header.
    fn connect(&mut self) -> ListenerConnection {
        let url = format!("/v1/mailboxes/{}/live", address());
        match self.edge.receive(at(self.now), &live_head(&url)) {
            Step::Mailbox(step) => match *step {
                MailboxStep::Listen(open) => open.open(at(self.now)),
                other => panic!("not a connection: {other:?}"),
            },
            other => panic!("not a connection: {other:?}"),
        }
    }

    /// Opens a connection of a key, and lets the object have it.
    fn listen(&mut self, id: u64, key: &PrivateKey) -> (ListenerConnection, Effects) {
        let mut connection = self.connect();
        connection.receive(at(self.now), &live(self.now, |_| {}, key));
        let Some(ListenerOutput::Verify(verify)) = connection.next_output() else { panic!("no signature to check") };
        let holds = verify.verify_signature();
        assert_eq!(verify.to_bytes()[..32], *key.public_key().as_bytes());
        connection.verified(verify, holds);
        let Some(ListenerOutput::Listen(call)) = connection.next_output() else { panic!("nobody listens") };
        let url = format!("https://mailbox{}", call.to_path());
        assert_eq!(ListenCall::parse(&url), Some(Ok(call.clone())));
        assert_eq!(call.attachment(), key.public_key().to_string());
        self.restore(call.object()).unwrap();
        let effects = self.objects.get_mut(&call.object()).unwrap().listen(at(self.now), ConnectionId(id), &call);
        (connection, effects)
    }
}

fn on_program() -> Relay {
    on_program_with(&[("EXTERNAL_URLS", ORIGIN)])
}

fn on_program_with(variables: &[(&str, &str)]) -> Relay {
    let mut relay = Relay::new(variables);
    let (config, platform) = (relay.config.clone(), Platform::of_program(1));
    relay.edge = Edge::new(config, platform, Secret::from_bytes([7; 16]), 7);
    assert_eq!(relay.serve(&put(1, |_| {}, |_| {})).status, 201);
    relay
}

fn live(now: u64, change: impl FnOnce(&mut Live), key: &PrivateKey) -> String {
    let mut live = Live { audience: ORIGIN.to_owned(), issued_at: at(now), mailbox: address(), nonce: Bytes([0; 16]) };
    change(&mut live);
    sign(live, key)
}

fn text(to: &[u64], text: String) -> NewsPush {
    NewsPush { to: to.iter().copied().map(ConnectionId).collect(), what: News::Text(text) }
}

fn end(id: u64, code: CloseCode) -> NewsPush {
    NewsPush { to: vec![ConnectionId(id)], what: News::Close(code) }
}

fn messages(pending: usize) -> String {
    format!(r#"{{"event":"messages","pending":{pending}}}"#)
}

#[test]
fn readers_are_told_what_waits_and_a_slot_what_was_acknowledged() {
    let mut relay = on_program();
    assert_eq!(relay.listen(1, &owner()).1.push, [text(&[1], messages(0))]);
    assert_eq!(relay.listen(2, &slot()).1, Effects::default());
    assert_eq!(relay.listen(3, &reader()).1.push, [text(&[3], messages(0))]);
    relay.serve(&leave(0, 1, 1));
    assert_eq!(relay.effects.push, [text(&[1, 3], messages(1))]);
    relay.serve(&leave(0, 1, 1));
    assert_eq!(relay.effects.push, []);
    relay.serve(&collect(0, 1, |_| {}, &reader(), &[ack(0, 1, |_| {}, &reader())]));
    let receipt = format!(r#"{{"event":"ack","ack":{}}}"#, sign_ack(1));
    assert_eq!(relay.effects.push, [text(&[2], receipt.clone())]);
    // One that comes later is told at once, in the place of the one before it.
    assert_eq!(relay.listen(4, &slot()).1.push, [end(2, CloseCode::Replaced), text(&[4], receipt)]);
    let name = ObjectName::Mailbox(address());
    relay.objects.get_mut(&name).unwrap().stop_listening(ConnectionId(1));
    relay.serve(&leave(0, 2, 2));
    assert_eq!(relay.effects.push, [text(&[3], messages(1))]);
    relay.serve(&put(2, |card| card.readers.clear(), |policy| policy.contacts.clear()));
    let ended = NewsPush { to: vec![ConnectionId(3), ConnectionId(4)], what: News::Close(CloseCode::KeyRefused) };
    assert_eq!((relay.effects.push.as_slice(), relay.objects[&name].listeners()), ([ended].as_slice(), 0));
    assert_eq!(relay.listen(5, &owner()).1.push, [text(&[5], messages(1))]);
    relay.serve(&close(3));
    assert_eq!(relay.pushed, [end(5, CloseCode::KeyRefused)]);
}

#[test]
fn eight_readers_listen_and_the_ninth_takes_the_place_of_the_oldest() {
    let mut relay = on_program();
    relay.listen(0, &slot());
    for id in 1..=8 {
        assert_eq!(relay.listen(id, &reader()).1.push, [text(&[id], messages(0))]);
    }
    let push = relay.listen(9, &owner()).1.push;
    assert_eq!(push, [end(1, CloseCode::LiveFull), text(&[9], messages(0))]);
    // An object that is made anew is told which connections there are.
    let name = ObjectName::Mailbox(address());
    let key = reader().public_key().to_string();
    let listeners = vec![(ConnectionId(7), key), (ConnectionId(8), "x".to_owned())];
    let found = Found { listeners, ..relay.disk().found() };
    let restored = Object::restore(at(0), &relay.config, Some(name), found, Secret::from_bytes([1; 16]));
    let (object, effects) = restored.unwrap().unwrap();
    assert_eq!((object.listeners(), effects.push.as_slice()), (1, [end(8, CloseCode::Internal)].as_slice()));
}

#[test]
fn who_listens_says_so_soon_signed_and_for_this_relay() {
    let mut relay = on_program();
    let said = |connection: &mut ListenerConnection| {
        let mut outputs = Vec::new();
        while let Some(output) = connection.next_output() {
            outputs.push(match output {
                ListenerOutput::Text(text) => serde_json::from_str::<Value>(&text).map_or(text, |event| {
                    assert_eq!(event["event"], "error");
                    event["code"].as_str().unwrap().to_owned()
                }),
                ListenerOutput::Close(code) => code.reason().to_owned(),
                other => panic!("not said to the client: {other:?}"),
            });
        }
        outputs
    };
    let other = Address::of(&reader().public_key());
    let elsewhere = |live: &mut Live| live.audience = "https://other.example".to_owned();
    for (first, code) in [
        ("{}".to_owned(), "MALFORMED"),
        (live(0, |live| live.mailbox = other, &owner()), "MALFORMED"),
        (live(0, elsewhere, &owner()), "MISDIRECTED_REQUEST"),
        (live(0, |live| live.issued_at = past(60_001), &owner()), "EXPIRED"),
    ] {
        let mut connection = relay.connect();
        connection.receive(at(0), &first);
        assert_eq!(said(&mut connection), [code, "KEY_REFUSED"]);
        connection.receive(at(0), "ping");
        assert_eq!(said(&mut connection), Vec::<String>::new());
    }
    let mut connection = relay.connect();
    connection.receive(at(0), &live(0, |_| {}, &owner()));
    let Some(ListenerOutput::Verify(verify)) = connection.next_output() else { panic!("no signature to check") };
    connection.verified(verify, false);
    assert_eq!(said(&mut connection), ["SIGNATURE_INVALID", "KEY_REFUSED"]);

    // Whoever is no listener hears so from the object.
    let (mut connection, effects) = relay.listen(1, &stranger());
    let [NewsPush { what: refusal, .. }, NewsPush { what: end, .. }] = effects.push.as_slice() else {
        panic!("{effects:?}")
    };
    connection.take(refusal.clone());
    connection.take(end.clone());
    assert_eq!(said(&mut connection), ["SLOT_UNKNOWN", "KEY_REFUSED"]);

    let mut connection = relay.connect();
    connection.receive(at(9_000), "ping");
    assert_eq!(said(&mut connection), ["pong"]);
    connection.handle_timeout(at(9_999));
    assert_eq!((connection.next_deadline(), said(&mut connection)), (at(10_000), Vec::new()));
    connection.handle_timeout(at(10_000));
    assert_eq!(said(&mut connection), ["AGAIN"]);

    let (mut connection, _) = relay.listen(2, &owner());
    connection.receive(at(60_000), "ping");
    connection.receive_control(at(100_000));
    assert_eq!(connection.next_deadline(), at(220_000));
    connection.receive(at(100_000), &live(0, |_| {}, &owner()));
    assert_eq!(said(&mut connection), ["pong", "MALFORMED", "KEY_REFUSED"]);

    let (mut connection, _) = relay.listen(3, &owner());
    for _ in 0..1_000 {
        connection.receive(at(0), "ping");
    }
    assert_eq!(said(&mut connection).last().unwrap(), "TOO_FAST");
    relay.edge.close_listener(at(0), &connection, CloseCode::TooFast);
    let url = format!("/v1/mailboxes/{}/live", address());
    let Step::Answer(answer) = relay.edge.receive(at(0), &live_head(&url)) else { panic!("it may not") };
    assert_eq!(problem(&answer), refused(429, "THROTTLED"));
}

#[test]
fn a_connection_to_a_mailbox_is_a_websocket() {
    let mut relay = on_program();
    let url = format!("/v1/mailboxes/{}/live", address());
    for upgrade in [Upgrade::None, Upgrade::Other] {
        let step = relay.edge.receive(at(0), &Head { upgrade, ..live_head(&url) });
        let Step::Answer(answer) = step else { panic!("it may not: {step:?}") };
        assert_eq!(problem(&answer), refused(426, "UPGRADE_REQUIRED"));
        assert_eq!(header(&answer, "Upgrade"), Some("websocket"));
    }
    let answer = relay.serve(&about("POST", "/live", ""));
    assert_eq!(
        (problem(&answer), header(&answer, "Allow")),
        (refused(405, "METHOD_NOT_ALLOWED"), Some("GET, OPTIONS"))
    );
    // A host that is asked for headers when they matter.
    let mut relay = Relay::new(&[]);
    let url = format!("{ORIGIN}{url}");
    for (upgrade, is_opened) in [("websocket", true), ("h2c", false)] {
        let head = Head { method: "GET", url: &url, address: read_address("192.0.2.1"), ..Head::default() };
        let Step::ReadHeaders(read) = relay.edge.receive(at(0), &head) else { panic!("no headers are asked for") };
        let step = read.resume(&mut relay.edge, at(0), |name| (name == "Upgrade").then(|| upgrade.to_owned()));
        assert_eq!(matches!(step, Step::Mailbox(_)), is_opened);
    }
}

#[test]
fn what_is_no_call_is_not_read_as_one() {
    let name = format!("v1:{}", address());
    let network = "A".repeat(32);
    let free = format!("openings\nfree {}", address());
    let take = format!("openings\ntake {} {network}", address());
    assert_eq!(ObjectCall::parse(&free), Ok(ObjectCall::Openings(OpeningsCall::Free { address: address() })));
    let renew = ObjectCall::Openings(OpeningsCall::Renew { address: address() });
    assert_eq!(renew.to_text(), format!("openings\nrenew {}", address()));
    assert_eq!(ObjectCall::parse(&renew.to_text()), Ok(renew));
    assert!(matches!(ObjectCall::parse(&take), Ok(ObjectCall::Openings(OpeningsCall::Take { .. }))));
    assert_eq!(ObjectCall::parse(&format!("{name}\ncard")), Ok(ObjectCall::Mailbox(address(), MailboxCall::Card)));
    for text in [
        "",
        "openings",
        "openings\ntake",
        "other\ncard",
        &format!("{free} x"),
        &format!("{free}\n"),
        &format!("{take} x"),
        &name,
        &format!("{name}\n"),
        &format!("{name}\nnothing"),
        &format!("{name}\ncard x"),
        &format!("{name}\ncard\n"),
        &format!("{name}\nput https://a.example"),
        &format!("{name}\nput a b\n{{}}\n{{}}"),
        &format!("{name}\ndeposit {network}"),
        &format!("{name}\ndeposit {network} -\n{{}}\nAAAA"),
        &format!("{name}\nclaim {network} 1"),
        &format!("{name}\nclose\n{{}}"),
    ] {
        assert!(ObjectCall::parse(text).is_err(), "{text}");
    }
}
