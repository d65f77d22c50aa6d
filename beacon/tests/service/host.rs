//! The host: a clock that is set, objects in memory, and a list of all that was asked of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::network::read_address;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, UserId};
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::Answer;
use rendezvous_service::call::{Call, ObjectError};
use rendezvous_service::community::{CommunityObject, Found};
use rendezvous_service::config::Config;
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::note::Note;
use rendezvous_service::platform::Platform;
use serde_json::Value;

pub(crate) const START: u64 = 1_700_000_000_000;

/// The moment so many milliseconds after the tests' beginning.
pub(crate) fn at(millis: u64) -> UnixMillis {
    UnixMillis::saturating(START + millis)
}

/// Gives variables as a host does. Of two with one name the later one counts.
pub(crate) fn given(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> + Copy {
    move |name| variables.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

pub(crate) fn config(variables: &[(&str, &str)]) -> Config {
    Config::parse(given(variables)).unwrap()
}

/// A peer: its name, and the seed of its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) &'static str, pub(crate) u8);

impl Peer {
    pub(crate) fn key(self) -> PrivateKey {
        PrivateKey::from_seed(&[self.1; 32])
    }

    /// A ticket of three minutes that signs the community `mainnet`.
    pub(crate) fn ticket(self, issued_at: u64) -> String {
        self.signed(issued_at, |_| {})
    }

    pub(crate) fn goodbye(self, issued_at: u64) -> String {
        self.signed(issued_at, |payload| payload.purpose = Purpose::Leave)
    }

    /// The ticket of a client that signs no community.
    pub(crate) fn old_ticket(self, issued_at: u64) -> String {
        self.signed(issued_at, |payload| payload.community = None)
    }

    pub(crate) fn signed(self, issued_at: u64, change: impl FnOnce(&mut Payload)) -> String {
        Ticket::sign(self.payload(issued_at, change), &self.key()).to_json()
    }

    /// The ticket with a signature that fits nothing: objects get what has been verified, and signing takes time.
    pub(crate) fn unsigned(self, issued_at: u64, change: impl FnOnce(&mut Payload)) -> String {
        let payload = self.payload(issued_at, change).signed_bytes();
        let [key, signature] = [&[self.1; 32][..], &[0; 64]].map(base64::encode);
        format!(
            r#"{{"algorithm":"ed25519","payload":{payload},"publicKey":"{key}","signature":"{signature}","version":1}}"#
        )
    }

    fn payload(self, issued_at: u64, change: impl FnOnce(&mut Payload)) -> Payload {
        let mut payload = Payload {
            peer_id: PeerId::new(self.0).unwrap(),
            user_id: UserId::new("user").unwrap(),
            data: None,
            issued_at: at(issued_at),
            expires_at: at(issued_at + 180_000),
            nonce: Nonce::new(vec![0; 12]).unwrap(),
            community: Some("mainnet".parse().unwrap()),
            purpose: Purpose::Presence,
        };
        change(&mut payload);
        payload
    }
}

/// A request with its body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) address: &'static str,
    pub(crate) if_none_match: String,
    pub(crate) origin: Option<&'static str>,
    /// Those that a step reads.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Result<Vec<u8>, RequestError>,
}

pub(crate) fn get(path: &str) -> Request {
    Request {
        method: "GET",
        path: path.to_owned(),
        address: "192.0.2.1",
        if_none_match: String::new(),
        origin: None,
        headers: Vec::new(),
        body: Ok(Vec::new()),
    }
}

pub(crate) fn post(path: &str, body: &str) -> Request {
    Request { method: "POST", body: Ok(body.as_bytes().to_vec()), ..get(path) }
}

pub(crate) fn announce(ticket: &str) -> Request {
    post("/announce", &format!("{{\"ticket\":{ticket}}}"))
}

pub(crate) fn leave(ticket: &str) -> Request {
    post("/leave", &format!("{{\"ticket\":{ticket}}}"))
}

impl Request {
    pub(crate) fn from(self, address: &'static str) -> Self {
        Self { address, ..self }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn of_page(self, origin: &'static str) -> Self {
        Self { origin: Some(origin), ..self }
    }
}

/// What was asked of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Body,
    Signature,
    /// The named object's answer.
    Answer(String),
    /// The named object's list, and for how long to wait for another's.
    List(String, Duration),
}

pub(crate) struct Beacon {
    pub(crate) now: u64,
    pub(crate) config: Config,
    pub(crate) edge: Edge,
    pub(crate) objects: BTreeMap<String, CommunityObject>,
    /// What the next calls come to, in the place of an object's answer.
    pub(crate) failures: VecDeque<ObjectError>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) notes: Vec<Note>,
}

impl Beacon {
    pub(crate) fn new(variables: &[(&str, &str)]) -> Self {
        Self::on(Platform::CLOUDFLARE, variables)
    }

    pub(crate) fn on(platform: Platform, variables: &[(&str, &str)]) -> Self {
        let config = config(variables);
        let edge = Edge::new(config.clone(), platform, Secret::from_bytes([7; 16]), 7);
        Self {
            now: 0,
            config,
            edge,
            objects: BTreeMap::new(),
            failures: VecDeque::new(),
            asked: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Serves a request, and notes what it asked for in the place of what those before it did.
    pub(crate) fn serve(&mut self, request: &Request) -> Answer {
        self.asked.clear();
        let step = self.receive(request);
        self.finish(step, request)
    }

    /// The first step of a request.
    pub(crate) fn receive(&mut self, request: &Request) -> Step {
        let Request { method, path, address, if_none_match, origin, .. } = request;
        let url = format!("https://beacon.example{path}");
        let address = read_address(address);
        let head = Head {
            method,
            url: &url,
            address,
            autonomous_system: "",
            if_none_match,
            origin: *origin,
            ..Head::default()
        };
        self.edge.receive(at(self.now), &head)
    }

    /// Carries out all steps from this one on.
    pub(crate) fn finish(&mut self, mut step: Step, request: &Request) -> Answer {
        let answer = loop {
            step = match step {
                Step::Answer(answer) => break answer,
                Step::Asset(asset) => break asset.answer(asset.file.to_owned()),
                Step::ReadHeaders(read) => read.resume(&mut self.edge, at(self.now), |name| {
                    let lines = request.headers.iter().filter(|(header, _)| *header == name);
                    lines.map(|(_, line)| line.clone()).reduce(|all, line| all + ", " + &line)
                }),
                Step::ReadBody(read) => {
                    self.asked.push(Asked::Body);
                    read.resume(&mut self.edge, at(self.now), request.body.clone())
                }
                Step::Verify(verify) => {
                    self.asked.push(Asked::Signature);
                    let holds = verify.ticket().verify_signature();
                    verify.resume(&mut self.edge, at(self.now), holds)
                }
                Step::Relay(relay) => {
                    self.asked.push(Asked::Answer(relay.object()));
                    match self.call(&relay.object(), relay.call()) {
                        Ok(answer) => break answer,
                        Err(error) => relay.failed(&mut self.edge, at(self.now), &error),
                    }
                }
                Step::FetchList(fetch) => {
                    self.asked.push(Asked::List(fetch.object(), fetch.patience()));
                    let list = self.call(&fetch.object(), fetch.call()).and_then(|answer| match answer.status {
                        200 => Ok(answer.body),
                        status => Err(ObjectError::Status { status }),
                    });
                    fetch.resume(&mut self.edge, at(self.now), || list)
                }
                other @ (Step::OpenLive(_)
                | Step::Guest(_)
                | Step::Mailbox(_)
                | Step::Retalk(_)
                | Step::Hivemind(_)
                | Step::Directory(_)
                | Step::Registration(_)
                | Step::Envelope(_)
                | Step::Template(_)) => {
                    panic!("not a request that is answered: {other:?}")
                }
            };
        };
        self.notes.extend(self.edge.take_notes());
        answer
    }

    pub(crate) fn call(&mut self, object: &str, call: &Call) -> Result<Answer, ObjectError> {
        if let Some(failure) = self.failures.pop_front() {
            return Err(failure);
        }
        let url = format!("https://object{}", call.to_path());
        assert_eq!(Call::parse(&url).as_ref(), Ok(call), "the text of a call is the call");
        let (config, now) = (&self.config, at(self.now));
        let object = self.objects.entry(object.to_owned()).or_insert_with(|| {
            let secret = Secret::from_bytes([9; 16]);
            CommunityObject::restore(now, config, false, Found::nothing(), secret).0
        });
        let (answer, effects) = object.receive(now, &url, 0);
        self.notes.extend(effects.notes);
        Ok(answer)
    }

    pub(crate) fn events(&self) -> Vec<&'static str> {
        self.notes.iter().map(|note| note.event).collect()
    }
}

pub(crate) fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

/// The names of the peers in an answer, in order.
pub(crate) fn peers(answer: &Answer) -> Vec<String> {
    let peers = json(answer)["peers"].as_array().unwrap().clone();
    peers.iter().map(|ticket| ticket["payload"]["peerId"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_str())
}

/// Status and code.
pub(crate) fn problem(answer: &Answer) -> (u16, String) {
    (answer.status, json(answer)["code"].as_str().unwrap_or_default().to_owned())
}
