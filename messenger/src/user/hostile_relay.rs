//! A relay by the rules of `rendezvous-protocol` that does what it is told to do wrong, and looks at every ciphertext.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;

use http::Method;
use rendezvous_capsule::fetch::FetchError;
use rendezvous_protocol::base64;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::mailbox::envelope::{AckWithDeposit, Signed};
use rendezvous_protocol::mailbox::record::RecordRules;
use rendezvous_protocol::mailbox::state::{self as rules, Change, Deposited};
use rendezvous_protocol::network::Client;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::retalk::request::{Tool, Unverified, Verified};
use rendezvous_protocol::retalk::state::{Mailbox, Reply, Sent};
use rendezvous_protocol::retalk::user::{UserId, hex};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use vodozemac::olm::OlmMessage;

use crate::transport::{Answer, Transport};

/// The last number that a record may have.
const HIGHEST_REVISION: u64 = (1 << 53) - 1;

/// What a relay does wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// It does not get the request.
    RequestLost,
    /// It serves the request, and its answer is lost.
    AnswerLost,
    /// It says that it has stored a message, and has not.
    Swallows,
    /// It says that it has no room for a message.
    HasNoRoom,
    /// It hands over what waits in another order.
    Reorders,
    /// It hands over again all that it ever had for the user.
    Replays,
    /// It hands over something else than it was given.
    Corrupts,
    /// It serves another user's keys.
    SwapsKeys,
    /// It serves a one-time key of its own.
    SwapsOneTimeKey,
    /// It answers with a refusal.
    Refuses,
    /// It answers with what is no answer.
    Babbles,
}

struct State {
    now: UnixMillis,
    mailboxes: BTreeMap<UserId, Mailbox>,
    /// What is handed over of each message.
    bodies: BTreeMap<(UserId, u64), Value>,
    /// All that was ever stored.
    archive: Vec<(UserId, Value)>,
    /// Each message key that was used, and for what.
    message_keys: BTreeMap<(String, u64), String>,
    /// What was brought to mailboxes since the last look into it.
    brought: Vec<String>,
    faults: VecDeque<Fault>,
    always: Fault,
    requests: u64,
    tools: Vec<&'static str>,
    plain: BTreeSet<String>,
    /// All bodies, in their order.
    log: Vec<String>,
    /// Requests to the door for mailboxes while it was closed.
    refused_mailboxes: usize,
    /// The mailboxes of section 17, where the door for them is open.
    drops: Option<BTreeMap<Address, Drop>>,
}

/// A mailbox of section 17, and what a host keeps beside its rules.
struct Drop {
    mailbox: rules::Mailbox,
    messages: BTreeMap<u64, (String, String)>,
}

pub(super) struct HostileRelay {
    url: String,
    state: Mutex<State>,
}

impl HostileRelay {
    pub(super) fn new(url: &str, now: UnixMillis) -> Self {
        let state = State {
            now,
            mailboxes: BTreeMap::new(),
            bodies: BTreeMap::new(),
            archive: Vec::new(),
            message_keys: BTreeMap::new(),
            brought: Vec::new(),
            faults: VecDeque::new(),
            always: Fault::None,
            requests: 0,
            tools: Vec::new(),
            plain: BTreeSet::new(),
            log: Vec::new(),
            refused_mailboxes: 0,
            drops: None,
        };
        Self { url: url.to_owned(), state: Mutex::new(state) }
    }

    /// Opens the door for mailboxes.
    pub(super) fn open_mailboxes(&self) {
        self.state.lock().unwrap().drops = Some(BTreeMap::new());
    }

    /// Closes it.
    pub(super) fn close_mailboxes(&self) {
        self.state.lock().unwrap().drops = None;
    }

    /// Returns how often it was asked for mailboxes while it had no door for them.
    pub(super) fn refused_mailboxes(&self) -> usize {
        self.state.lock().unwrap().refused_mailboxes
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Does these wrong, one a request, and then `always`.
    pub(super) fn set_faults(&self, faults: impl IntoIterator<Item = Fault>, always: Fault) {
        let mut state = self.state.lock().unwrap();
        (state.faults, state.always) = (faults.into_iter().collect(), always);
    }

    pub(super) fn set_now(&self, now: UnixMillis) {
        self.state.lock().unwrap().now = now;
    }

    /// Returns what was asked since the last call.
    pub(super) fn take_tools(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state.lock().unwrap().tools)
    }

    /// Returns the messages that wait for a user.
    pub(super) fn waiting(&self, user: UserId) -> usize {
        self.state.lock().unwrap().bodies.keys().filter(|(owner, _)| *owner == user).count()
    }

    /// Returns everything that it was ever sent as a text.
    pub(super) fn has_seen(&self, text: &str) -> bool {
        self.state.lock().unwrap().plain.iter().any(|body| body.contains(text))
    }

    /// Returns what it was sent as texts after the first so many, and how many there are.
    pub(super) fn seen_since(&self, count: usize) -> (Vec<String>, usize) {
        let state = self.state.lock().unwrap();
        (state.log.iter().skip(count).cloned().collect(), state.log.len())
    }

    /// Returns how many messages wait in mailboxes of section 17.
    pub(super) fn deposited(&self) -> usize {
        self.state.lock().unwrap().drops.iter().flatten().map(|(_, drop)| drop.messages.len()).sum()
    }

    /// Returns what was brought to mailboxes since the last call, whatever became of it.
    pub(super) fn take_brought(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().brought)
    }

    /// Looks at what was in a deposit, which it cannot open itself.
    pub(super) fn look_at(&self, kind: u8, body: &str) {
        self.state.lock().unwrap().look_at(kind, body);
    }

    /// Forgets everything.
    pub(super) fn lose_everything(&self) {
        let mut state = self.state.lock().unwrap();
        state.mailboxes.clear();
        state.bodies.clear();
        state.drops.iter_mut().for_each(BTreeMap::clear);
    }
}

impl Transport for HostileRelay {
    fn send(&self, method: Method, url: &str, body: &str, _: usize) -> Result<Answer, FetchError> {
        // Mailboxes are at the origin, wherever the other door is.
        if let Some((_, path)) = url.split_once("/v1/") {
            let path = &format!("/v1/{path}");
            return self.state.lock().unwrap().serve_mailbox(&self.url, &method, path, body);
        }
        assert_eq!((method, url), (Method::POST, self.url.as_str()));
        let mut state = self.state.lock().unwrap();
        let fault = state.faults.pop_front().unwrap_or(state.always);
        state.plain.insert(body.to_owned());
        state.log.push(body.to_owned());
        state.look_at_request(body);
        let lost = || FetchError::Connection { reason: "it broke off".to_owned() };
        match fault {
            Fault::RequestLost => return Err(lost()),
            Fault::Refuses => return Ok(error("stale timestamp: it is 3600 s behind this relay's clock")),
            Fault::Babbles => return Ok(Answer { status: 200, retry_after: None, body: b"\"\x1b[2J".to_vec() }),
            _ => {}
        }
        let answer = state.serve(&self.url, body, fault);
        if fault == Fault::AnswerLost { Err(lost()) } else { Ok(answer) }
    }
}

fn refusal(code: &str) -> Answer {
    Answer { status: 400, retry_after: None, body: json!({ "code": code }).to_string().into_bytes() }
}

fn error(text: &str) -> Answer {
    Answer { status: 400, retry_after: None, body: json!({ "error": text }).to_string().into_bytes() }
}

impl State {
    fn serve(&mut self, url: &str, body: &str, fault: Fault) -> Answer {
        let request = Unverified::parse(body.as_bytes()).and_then(|request| request.check(self.now));
        let verified = request.and_then(|request| {
            let fits = request.verify_signatures(&[url.to_owned()]);
            request.accept(fits)
        });
        let request = match verified {
            Ok(request) => request,
            Err(refused) => return error(&refused.to_string()),
        };
        self.tools.push(request.tool().name());
        if let Tool::SendMessage { .. } = request.tool() {
            match fault {
                Fault::Swallows => return answer(&json!({"message_id": 1, "ts": 1.5})),
                Fault::HasNoRoom => {
                    return answer(&json!({"message_id": 0, "ts": 1.5, "stored": false, "code": "MAILBOX_FULL"}));
                }
                _ => {}
            }
        }
        let Some(owner) = request.mailbox() else { return error("unknown peer or no published keys: nobody") };
        self.requests += 1;
        let site = u8::try_from(self.requests % 200).unwrap_or_default();
        let client = Client { address: Some(IpAddr::from([10, 0, site, 1])), autonomous_system: None };
        let mailbox = self
            .mailboxes
            .entry(owner)
            .or_insert_with(|| Mailbox::restore(owner, Secret::from_bytes([9; 16]), [], []).unwrap());
        let reply = match mailbox.handle(self.now, &request, client.hand_over()) {
            Ok(reply) => reply,
            Err(refused) => return error(&refused.to_string()),
        };
        let value = self.value(owner, &request, reply, fault);
        let mailbox = self.mailboxes.get_mut(&owner).unwrap();
        for change in mailbox.take_changes() {
            if let Change::EraseMessage { number } = change {
                self.bodies.remove(&(owner, number));
            }
        }
        answer(&value)
    }

    /// Serves the door for mailboxes, of which a request or an answer may be lost, and all may be refused.
    fn serve_mailbox(&mut self, url: &str, method: &Method, path: &str, body: &str) -> Result<Answer, FetchError> {
        if path.ends_with("/messages") {
            self.brought.push(body.to_owned());
        }
        let Some(drops) = &mut self.drops else {
            self.refused_mailboxes += 1;
            return Ok(refusal(Code::NotFound.as_str()));
        };
        let fault = self.faults.pop_front().unwrap_or(self.always);
        let lost = || FetchError::Connection { reason: "it broke off".to_owned() };
        match fault {
            Fault::RequestLost => return Err(lost()),
            Fault::Refuses => return Ok(refusal(Code::Throttled.as_str())),
            Fault::Babbles => return Ok(Answer { status: 200, retry_after: None, body: b"\"\x1b[2J".to_vec() }),
            _ => {}
        }
        self.plain.insert(body.to_owned());
        self.log.push(body.to_owned());
        let rest = path.strip_prefix("/v1/mailboxes/").unwrap();
        let (address, end) = rest.split_at(64);
        let address: Address = serde_json::from_value(address.into()).unwrap();
        let drop = drops.entry(address).or_insert_with(|| Drop {
            mailbox: rules::Mailbox::restore(address, self.now, [], []).unwrap(),
            messages: BTreeMap::new(),
        });
        let served = drop.serve(url, method, end, body, self.now, fault);
        let answer = served.map_or_else(refusal, |value| answer(&value));
        if fault == Fault::AnswerLost { Err(lost()) } else { Ok(answer) }
    }

    /// Looks at a message before anything becomes of it: what is lost on its way was seen on its way.
    fn look_at_request(&mut self, body: &str) {
        let asked: Value = serde_json::from_str(body).unwrap();
        if asked["tool"] == "send_message" {
            let Value::Object(args) = &asked["args"] else { panic!("a message has arguments") };
            let kind = args["mtype"].as_u64().unwrap().try_into().unwrap();
            self.look_at(kind, args["body"].as_str().unwrap());
        }
    }

    /// One message key, one ciphertext: whatever is sent again is the same to the last byte.
    fn look_at(&mut self, kind: u8, body: &str) {
        let bytes = base64::decode(body).unwrap();
        let message = OlmMessage::from_parts(kind.into(), &bytes).unwrap();
        let message = match &message {
            OlmMessage::PreKey(message) => message.message(),
            OlmMessage::Normal(message) => message,
        };
        let key = (message.ratchet_key().to_base64(), message.chain_index());
        let first = self.message_keys.entry(key.clone()).or_insert_with(|| body.to_owned());
        assert_eq!(first, body, "the message key {key:?} encrypts two texts");
    }

    fn value(&mut self, owner: UserId, request: &Verified, reply: Reply, fault: Fault) -> Value {
        match reply {
            Reply::Published { one_time_keys_added, is_fallback_set } => {
                json!({"ok": true, "one_time_keys_added": one_time_keys_added, "fallback_key_set": is_fallback_set})
            }
            Reply::Counted { unclaimed, has_fallback } => json!({"unclaimed": unclaimed, "has_fallback": has_fallback}),
            Reply::Keys { identity_key, signing_key } => {
                let identity_key = if fault == Fault::SwapsKeys { swapped() } else { identity_key };
                json!({"identity_key": identity_key, "signing_key": signing_key})
            }
            Reply::Claimed { identity_key, signing_key, prekey, is_fallback } => {
                let identity_key = if fault == Fault::SwapsKeys { swapped() } else { identity_key };
                let key = if fault == Fault::SwapsOneTimeKey { swapped() } else { prekey.key };
                json!({
                    "identity_key": identity_key, "signing_key": signing_key,
                    "key_id": prekey.id, "one_time_key": key, "fallback": is_fallback,
                })
            }
            Reply::Sent(Sent::Stored { number, .. }) => {
                let Tool::SendMessage { kind, body, .. } = request.tool() else { panic!("a message is stored") };
                let from = request.user().to_string();
                let message =
                    json!({"message_id": number, "ts": 1.5, "from": from, "mtype": kind.number(), "body": body});
                self.archive.push((owner, message.clone()));
                self.bodies.insert((owner, number), message);
                json!({"message_id": number, "ts": 1.5})
            }
            Reply::Sent(Sent::Duplicate { number, .. }) => json!({"message_id": number, "ts": 1.5, "duplicate": true}),
            Reply::Sent(Sent::BodyRefused { hash, signature }) => {
                json!({"refused": true, "hash": hex(&hash), "sig": signature})
            }
            Reply::Sent(Sent::NotStored(reason)) => {
                json!({"message_id": 0, "ts": 1.5, "stored": false, "code": reason.code()})
            }
            Reply::Read(numbers) => {
                let mut messages: Vec<Value> = match fault {
                    Fault::Replays => {
                        let archive = self.archive.iter().filter(|(user, _)| *user == owner);
                        archive.map(|(_, message)| message.clone()).collect()
                    }
                    _ => numbers.iter().map(|number| self.bodies[&(owner, *number)].clone()).collect(),
                };
                match fault {
                    Fault::Reorders => messages.reverse(),
                    Fault::Corrupts => messages.iter_mut().for_each(corrupt),
                    _ => {}
                }
                Value::Array(messages)
            }
            Reply::BodyRefused => json!({"ok": true}),
        }
    }
}

impl Drop {
    fn serve(
        &mut self,
        url: &str,
        method: &Method,
        end: &str,
        body: &str,
        now: UnixMillis,
        fault: Fault,
    ) -> Result<Value, &'static str> {
        let origins = [Origin::parse(url).unwrap()];
        let checks = RecordRules { now, audiences: &origins };
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(body).unwrap_or_default();
        let field = |name: &str| fields[name].get();
        let value = match (method, end) {
            (&Method::PUT, "") if fault == Fault::Corrupts => return Err(Code::StaleRevision.as_str()),
            (&Method::PUT, "") => {
                let card = Signed::parse(field("card")).unwrap().verify(&checks).unwrap();
                let policy = Signed::parse(field("policy")).unwrap().verify(&checks).unwrap();
                let secret = Secret::from_bytes([8; 16]);
                self.mailbox.put(now, card, policy, &origins, secret).map_err(|refused| refused.code())?;
                json!({ "ok": true })
            }
            (&Method::GET, "") => {
                let card = self.mailbox.card(now).map_err(|refused| refused.code())?;
                let mut card: Value = serde_json::from_str(card).unwrap();
                if fault == Fault::Corrupts {
                    card["payload"]["revision"] = json!(HIGHEST_REVISION);
                }
                json!({ "card": card })
            }
            (_, "/messages") => {
                let deposit = Signed::parse(field("deposit")).unwrap().verify(&checks).map_err(|error| error.code())?;
                match fault {
                    Fault::Swallows => return Ok(json!({ "accepted": true })),
                    Fault::HasNoRoom => return Err(Code::MailboxFull.as_str()),
                    _ => {}
                }
                let from = Client { address: Some(IpAddr::from([10, 0, 0, 1])), autonomous_system: None }.hand_over();
                match self.mailbox.deposit(now, &deposit, None, from).map_err(|refused| refused.code())? {
                    Deposited::Accepted { number, .. } => {
                        let sealed: String = serde_json::from_str(field("sealed")).unwrap();
                        self.messages.insert(number, (deposit.as_json().to_owned(), sealed));
                        json!({ "accepted": true })
                    }
                    Deposited::Duplicate { .. } => json!({ "duplicate": true }),
                    Deposited::Acknowledged { ack } => {
                        json!({ "acknowledged": true, "ack": serde_json::from_str::<Value>(&ack).unwrap() })
                    }
                    Deposited::Ended => json!({ "ended": true }),
                }
            }
            (_, "/collect") => {
                let collect = Signed::parse(field("collect")).unwrap().verify(&checks).unwrap();
                let collected = self.mailbox.collect(now, &collect).map_err(|refused| refused.code())?;
                let mut messages: Vec<Value> = collected
                    .messages
                    .iter()
                    .map(|handed| {
                        let (deposit, sealed) = &self.messages[&handed.number];
                        let deposit: Value = serde_json::from_str(deposit).unwrap();
                        json!({ "deposit": deposit, "sealed": sealed, "receivedAt": handed.received_at })
                    })
                    .collect();
                match fault {
                    Fault::Reorders => messages.reverse(),
                    Fault::Corrupts => {
                        messages.iter_mut().for_each(|message| message["sealed"] = base64::encode(&[0; 2_048]).into())
                    }
                    _ => {}
                }
                json!({ "messages": messages, "more": collected.more })
            }
            (_, "/acks") => {
                let acks: Vec<Box<RawValue>> = serde_json::from_str(field("acks")).unwrap();
                for ack in acks {
                    let ack = AckWithDeposit::parse(ack.get()).unwrap().verify().unwrap();
                    self.mailbox.acknowledge(now, ack.ack()).map_err(|refused| refused.code())?;
                }
                json!({ "released": 1 })
            }
            other => panic!("nothing asks for {other:?}"),
        };
        for change in self.mailbox.take_changes() {
            if let Change::EraseMessage { number } = change {
                self.messages.remove(&number);
            }
        }
        Ok(value)
    }
}

fn answer(value: &Value) -> Answer {
    Answer { status: 200, retry_after: None, body: value.to_string().into_bytes() }
}

/// Returns a key of the relay's own.
fn swapped() -> String {
    vodozemac::olm::Account::new().curve25519_key().to_base64()
}

fn corrupt(message: &mut Value) {
    let mut bytes = base64::decode(message["body"].as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    message["body"] = base64::encode(&bytes).into();
}
