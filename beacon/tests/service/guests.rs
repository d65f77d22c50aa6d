//! The door for goop2's peers, with clients that behave as goop2's own do, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::network::read_address;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::secret::Secret;
use rendezvous_service::answer::Answer;
use rendezvous_service::edge::{Edge, Head, Step, Upgrade};
use rendezvous_service::goop2::{
    Door, GuestCall, GuestConnection, GuestEffects, GuestOutput, GuestPushed, GuestRoom, GuestStep, GuestsTo, OpenGuest,
};
use rendezvous_service::live::ConnectionId;
use rendezvous_service::platform::Platform;
use serde_json::{Value, json};

use crate::host::{at, config, given};

const RELAY: &str = "/ip4/203.0.113.9/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
pub(crate) const HOME: &str = "203.0.113.7";
pub(crate) const ELSEWHERE: &str = "198.51.100.9";

/// goop2's client gives a socket up after so many milliseconds without anything.
pub(crate) const PATIENCE: u64 = 15_000;

/// goop2's client forgets a peer of which it hears nothing for so long.
pub(crate) const TTL: u64 = 20_000;

pub(crate) const HEARTBEAT: u64 = 5_000;

fn key(seed: u8) -> PublicKey {
    PrivateKey::from_seed(&[seed; 32]).public_key()
}

/// The base58btc of an Ed25519 identity, by big numbers.
pub(crate) fn name(seed: u8) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits = vec![0_u32];
    for byte in [0x24, 0x08, 0x01, 0x12, 0x20].into_iter().chain(*key(seed).as_bytes()) {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += *digit * 256;
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    let digits = digits.iter().rev().map(|digit| char::from(ALPHABET[*digit as usize]));
    std::iter::once('1').chain(digits).collect()
}

pub(crate) fn message(kind: &str, seed: u8, ts: u64) -> Value {
    json!({"type": kind, "peerId": name(seed), "content": format!("peer {seed}"), "ts": ts})
}

/// One connection of a client, and what it has heard.
struct Client {
    connection: GuestConnection,
    heard_at: u64,
    heard: Vec<String>,
    pings: usize,
    closed: Option<(u16, &'static str)>,
}

impl Client {
    fn messages(&self) -> Vec<Value> {
        let text =
            |text: &String| text.strip_prefix("data: ").map_or_else(|| text.clone(), |text| text.trim().to_owned());
        self.heard.iter().filter_map(|heard| serde_json::from_str(&text(heard)).ok()).collect()
    }

    /// Who is there, for this client.
    fn sees(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for message in self.messages() {
            let name = message["peerId"].as_str().unwrap().to_owned();
            if message["type"] == "offline" {
                names.remove(&name)
            } else {
                names.insert(name)
            };
        }
        names
    }
}

struct World {
    now: u64,
    edge: Edge,
    room: GuestRoom,
    clients: BTreeMap<ConnectionId, Client>,
    opened: u64,
    /// Whose hosts have no room for what is pushed.
    deaf: BTreeSet<ConnectionId>,
    /// What viewers of `GET /live` were told.
    views: Vec<(GuestsTo, Vec<String>)>,
    /// Whose tickets are listed.
    listed: BTreeSet<PublicKey>,
}

impl World {
    fn new() -> Self {
        let variables = [
            ("COMMUNITIES", "friends,others"),
            ("GOOP2_COMMUNITIES", "friends"),
            ("GOOP2_RELAY", RELAY),
            ("NETWORK_REQUESTS_PER_MINUTE", "60000"),
            ("ADDRESS_REQUESTS_PER_MINUTE", "600"),
        ];
        let config = config(&variables);
        let door = Door::parse(&config, given(&variables)).unwrap().unwrap();
        let edge = Edge::new(config, Platform::of_program(1), Secret::from_bytes([1; 16]), 1).with_goop2(door);
        let room = GuestRoom::new(Secret::from_bytes([2; 16]));
        Self {
            now: 0,
            edge,
            room,
            clients: BTreeMap::new(),
            opened: 0,
            deaf: BTreeSet::new(),
            views: Vec::new(),
            listed: BTreeSet::new(),
        }
    }

    fn step(&mut self, method: &str, path: &str, address: Option<IpAddr>, upgrade: Upgrade) -> Step {
        let url = format!("/goop2/friends{path}");
        let head = Head { method, url: &url, address, upgrade, ..Head::default() };
        self.edge.receive(at(self.now), &head)
    }

    /// Serves a request that is answered.
    fn serve(&mut self, method: &str, path: &str, address: &str, body: Result<Vec<u8>, RequestError>) -> Answer {
        let mut step = self.step(method, path, read_address(address), Upgrade::None);
        loop {
            step = match step {
                Step::Answer(answer) => return answer,
                Step::Guest(guest) => match *guest {
                    GuestStep::ReadPresence(read) => self.edge.read_presence(read, body.clone()),
                    GuestStep::Ask(ask) => {
                        assert_eq!(ask.community().as_str(), "friends");
                        let listed = self.listed.clone();
                        let (answer, effects) =
                            self.room.handle(at(self.now), ask.into_call(), |key| listed.contains(key));
                        self.carry_out(effects);
                        return answer;
                    }
                    GuestStep::Open(open) => panic!("not a request that is answered: {open:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }

    fn get(&mut self, path: &str) -> Answer {
        self.serve("GET", path, HOME, Ok(Vec::new()))
    }

    fn publish(&mut self, message: &Value, address: &str) -> u16 {
        self.serve("POST", "/publish", address, Ok(message.to_string().into_bytes())).status
    }

    fn opening(&mut self, path: &str, address: &str, upgrade: Upgrade) -> Result<OpenGuest, u16> {
        match self.step("GET", path, read_address(address), upgrade) {
            Step::Answer(answer) => Err(answer.status),
            Step::Guest(guest) => match *guest {
                GuestStep::Open(open) => Ok(open),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, path: &str, address: &str, upgrade: Upgrade) -> Result<ConnectionId, u16> {
        let open = self.opening(path, address, upgrade)?;
        self.opened += 1;
        let id = ConnectionId(self.opened);
        let mut effects = Vec::new();
        if let Some(opening) = open.opening() {
            let (outcome, pushed) = self.room.open(at(self.now), id, &opening);
            if let Err(refusal) = outcome {
                self.carry_out(pushed);
                return Err(refusal.answer().status);
            }
            effects = pushed;
        }
        let connection = open.admitted(at(self.now));
        let client = Client { connection, heard_at: self.now, heard: Vec::new(), pings: 0, closed: None };
        self.clients.insert(id, client);
        self.run(id);
        self.carry_out(effects);
        Ok(id)
    }

    fn socket(&mut self, seed: u8, address: &str) -> Result<ConnectionId, u16> {
        self.open(&format!("/ws?peer_id={}", name(seed)), address, Upgrade::WebSocket)
    }

    fn stream(&mut self, address: &str) -> Result<ConnectionId, u16> {
        self.open("/events", address, Upgrade::None)
    }

    fn send(&mut self, id: ConnectionId, text: &str) {
        let now = at(self.now);
        self.client(id).connection.receive(now, text);
        self.run(id);
    }

    fn client(&mut self, id: ConnectionId) -> &mut Client {
        self.clients.get_mut(&id).unwrap()
    }

    /// Ends a connection without a word.
    fn cut(&mut self, id: ConnectionId) {
        self.clients.remove(&id);
        let effects = self.room.closed(at(self.now), id);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: GuestEffects) {
        for push in effects {
            let is_for = |id: &ConnectionId| match push.to {
                GuestsTo::One(to) => to == *id,
                GuestsTo::Listeners => !self.deaf.contains(id),
                GuestsTo::Viewers => false,
            };
            if let GuestPushed::Guests(texts) = &push.what {
                self.views.push((push.to, texts.to_vec()));
                continue;
            }
            let to: Vec<_> = self.clients.keys().copied().filter(is_for).collect();
            for id in to {
                let now = at(self.now);
                self.client(id).connection.take(now, push.what.clone());
                self.run(id);
            }
        }
    }

    fn run(&mut self, id: ConnectionId) {
        let now = self.now;
        while let Some(client) = self.clients.get_mut(&id)
            && let Some(output) = client.connection.next_output()
        {
            match output {
                GuestOutput::Text(text) => {
                    client.heard_at = now;
                    client.heard.push(text);
                    client.connection.read();
                }
                GuestOutput::Ping => {
                    client.heard_at = now;
                    client.pings += 1;
                    client.connection.receive_control(at(now));
                }
                GuestOutput::Tell(call) => {
                    let listed = self.listed.clone();
                    let effects = match call {
                        GuestCall::Tell(presence) => {
                            self.room.receive(at(now), id, *presence, |key| listed.contains(key))
                        }
                        GuestCall::Returns => self.room.returns(at(now), id),
                    };
                    self.carry_out(effects);
                }
                GuestOutput::Close { code, reason } => {
                    self.edge.close_guest(at(now), &client.connection);
                    client.closed = Some((code, reason));
                    let effects = self.room.closed(at(now), id);
                    self.carry_out(effects);
                }
            }
        }
    }

    /// Lets a second pass, at the end of which everything is done that is due.
    fn second(&mut self) {
        self.now += 1_000;
        let listed = self.listed.clone();
        let effects = self.room.handle_timeout(at(self.now), |key| listed.contains(key));
        self.carry_out(effects);
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for id in ids {
            let now = at(self.now);
            if self.client(id).connection.next_deadline() <= now {
                self.client(id).connection.handle_timeout(now);
                self.run(id);
            }
        }
    }
}

#[test]
fn a_client_that_beats_every_five_seconds_stays_connected_and_known() {
    let mut world = World::new();
    let mut sockets = BTreeMap::new();
    for seed in 1..=2 {
        assert_eq!(world.publish(&message("online", seed, 0), HOME), 204);
        sockets.insert(seed, world.socket(seed, HOME).unwrap());
    }
    let listener = world.stream(ELSEWHERE).unwrap();
    let mut last_heard = BTreeMap::<String, u64>::new();
    let mut taken = 0;
    for second in 1..=60 {
        world.second();
        for (seed, socket) in &sockets {
            if world.now.is_multiple_of(HEARTBEAT) {
                world.send(*socket, &message("online", *seed, world.now).to_string());
            }
            let client = &world.clients[socket];
            assert_eq!(client.closed, None);
            assert!(world.now - client.heard_at < PATIENCE, "it would give up");
        }
        let messages = world.clients[&listener].messages();
        for message in &messages[taken..] {
            assert_eq!(message["type"], "online");
            last_heard.insert(message["peerId"].as_str().unwrap().to_owned(), world.now);
        }
        taken = messages.len();
        if second > 1 {
            assert_eq!(last_heard.len(), 2);
            assert!(last_heard.values().all(|at| world.now - at < TTL), "it would be forgotten");
        }
    }
    // Each heartbeat comes back to who sent it; others hear of it once in 15 s.
    let of = |client: &Client, seed: u8| {
        client.messages().iter().filter(|message| message["peerId"] == name(seed).as_str()).count()
    };
    assert!(of(&world.clients[&sockets[&1]], 1) >= 60 / 5);
    assert!(of(&world.clients[&listener], 1) <= 2 + 60 / 15, "{}", of(&world.clients[&listener], 1));
}

#[test]
fn who_listens_without_a_word_is_pinged_and_a_dead_socket_ends_with_its_guest() {
    let mut world = World::new();
    world.publish(&message("online", 1, 0), HOME);
    let socket = world.socket(1, HOME).unwrap();
    let listener = world.stream(ELSEWHERE).unwrap();
    (0..14).for_each(|_| world.second());
    assert!(world.clients[&socket].pings >= 2);
    assert_eq!(world.clients[&socket].closed, None, "it answers pings");
    // The peer's own program is stuck: it answers pings, and says nothing.
    (0..17).for_each(|_| world.second());
    assert_eq!(world.clients[&listener].messages().last().unwrap()["type"], "offline");
    let stream: String = world.clients[&listener].heard.concat();
    assert!(stream.starts_with(": ok\n\ndata: {\"type\":\"online\""), "{stream}");
    (0..30).for_each(|_| world.second());
    assert!(world.clients[&listener].heard.concat().contains(": ping\n\n"));
}

#[test]
fn a_socket_comes_after_a_message_and_its_end_is_the_guests_unless_there_is_a_newer_one() {
    let mut world = World::new();
    assert_eq!(world.socket(1, HOME), Err(425));
    assert_eq!(world.publish(&message("online", 1, 0), HOME), 204);
    let listener = world.stream(ELSEWHERE).unwrap();
    let sockets: Vec<_> = (0..20).map(|_| world.socket(1, HOME).unwrap()).collect();
    for socket in &sockets[..19] {
        assert_eq!(world.clients[socket].closed, Some((4209, "REPLACED")));
        world.cut(*socket);
    }
    world.second();
    assert_eq!(world.clients[&listener].sees(), BTreeSet::from([name(1)]));
    world.cut(sockets[19]);
    world.second();
    assert_eq!(world.clients[&listener].sees(), BTreeSet::new());
    assert_eq!(world.socket(1, HOME), Err(425), "it has gone with its socket");
}

#[test]
fn a_guest_has_one_socket_though_it_went_in_between() {
    let mut world = World::new();
    let listener = world.stream(ELSEWHERE).unwrap();
    world.publish(&message("online", 1, 0), HOME);
    let older = world.socket(1, HOME).unwrap();
    world.publish(&message("offline", 1, 1), HOME);
    world.publish(&message("online", 1, 2), HOME);
    let newer = world.socket(1, HOME).unwrap();
    assert_eq!(world.clients[&older].closed, Some((4209, "REPLACED")));
    world.cut(older);
    world.second();
    assert_eq!(world.clients[&newer].closed, None);
    assert_eq!(world.clients[&listener].sees(), BTreeSet::from([name(1)]));
}

#[test]
fn where_all_connections_are_taken_no_guest_has_to_go() {
    let mut world = World::new();
    let home = |number: u8| format!("{}.1.0.1", 20 + number);
    let sockets: Vec<_> = (0..20)
        .map(|number| {
            assert_eq!(world.publish(&message("online", 1 + number, 0), &home(number)), 204);
            world.socket(1 + number, &home(number)).unwrap()
        })
        .collect();
    // Pages of elsewhere, in as many networks as it takes, and more than there are places.
    let streams = (0..160_u8).filter(|number| world.stream(&format!("{}.2.0.1", 60 + number)).is_ok()).count();
    assert!(streams > 108, "{streams}");
    let ended = world.clients.values().filter(|client| client.closed == Some((4153, "LIVE_FULL"))).count();
    assert_eq!(sockets.len() + streams - ended, 128);
    assert!(sockets.iter().all(|socket| world.clients[socket].closed.is_none()));
    let rows: Value = serde_json::from_str(&world.get("/peers.json").body).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 20);
}

#[test]
fn nobody_ends_or_changes_a_guest_from_elsewhere() {
    let mut world = World::new();
    let listener = world.stream(HOME).unwrap();
    world.publish(&message("online", 1, 0), HOME);
    for kind in ["online", "update", "offline"] {
        assert_eq!(world.publish(&message(kind, 1, 1), ELSEWHERE), 409);
    }
    assert_eq!(world.socket(1, ELSEWHERE), Err(409));
    world.second();
    assert_eq!(world.clients[&listener].sees(), BTreeSet::from([name(1)]));
    let own = world.publish(&message("online", 2, 0), ELSEWHERE);
    let foreign = world.socket(2, ELSEWHERE).unwrap();
    assert_eq!(own, 204);
    for _ in 0..3 {
        world.send(foreign, &message("offline", 1, 2).to_string());
    }
    assert_eq!(world.clients[&foreign].closed, Some((4500, "MALFORMED")), "a socket speaks for its own guest");
    world.second();
    assert!(world.clients[&listener].sees().contains(&name(1)));
}

#[test]
fn what_names_a_person_or_leads_elsewhere_is_told_to_nobody() {
    let mut world = World::new();
    let listener = world.stream(ELSEWHERE).unwrap();
    let mut told = message("online", 1, 7);
    told["email"] = json!("zoe@a.example");
    told["verificationToken"] = json!("token-1");
    told["verified"] = json!(true);
    told["publicKey"] = json!("a2V5");
    let own = "/ip4/203.0.113.7/tcp/4001";
    told["addrs"] =
        json!(["/ip4/192.168.1.5/tcp/4001", own, "/ip4/127.0.0.1/tcp/4001", "/dns4/victim.example/tcp/443"]);
    assert_eq!(world.publish(&told, HOME), 204);
    world.second();
    let rows = world.get("/peers.json");
    for text in [world.clients[&listener].heard.concat(), rows.body.clone()] {
        for dropped in ["zoe@", "token-1", "192.168", "127.0.0.1", "victim", "true"] {
            assert!(!text.contains(dropped), "{dropped} in {text}");
        }
    }
    let expected =
        json!({"type": "online", "peerId": name(1), "content": "peer 1", "addrs": [own], "publicKey": "a2V5", "ts": 7});
    assert_eq!(world.clients[&listener].messages(), [expected]);
    let expected = json!([{
        "peer_id": name(1), "type": "online", "content": "peer 1", "public_key": "a2V5", "addrs": [own], "ts": 7,
        "last_seen": at(0), "verified": false
    }]);
    assert_eq!(serde_json::from_str::<Value>(&rows.body).unwrap(), expected);
}

#[test]
fn whoever_signs_a_ticket_is_no_guest() {
    let mut world = World::new();
    let listener = world.stream(ELSEWHERE).unwrap();
    world.publish(&message("online", 1, 0), HOME);
    world.second();
    let socket = world.socket(1, HOME).unwrap();
    world.listed.insert(key(1));
    assert_eq!(world.publish(&message("online", 1, 1), HOME), 204);
    world.second();
    assert_eq!(world.clients[&listener].sees(), BTreeSet::new());
    let before = world.clients[&socket].heard.len();
    world.send(socket, &message("online", 1, 2).to_string());
    assert_eq!(world.clients[&socket].heard.len(), before + 1, "its socket is answered all the same");
    world.listed.clear();
    world.send(socket, &message("online", 1, 3).to_string());
    world.second();
    assert_eq!(world.clients[&listener].sees(), BTreeSet::from([name(1)]));
    world.cut(socket);
    world.second();
    assert_eq!(world.clients[&listener].sees(), BTreeSet::new());
}

#[test]
fn places_are_bounded() {
    let mut world = World::new();
    let statuses: Vec<_> = (1..=6).map(|seed| world.publish(&message("online", seed, 0), HOME)).collect();
    assert_eq!(statuses, [204, 204, 204, 204, 429, 429]);
    for seed in 10..130 {
        world.publish(&message("online", seed, 0), &format!("10.{seed}.0.1"));
    }
    let rows: Value = serde_json::from_str(&world.get("/peers.json").body).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 64);
    let streams: Vec<_> = (0..10).map(|_| world.stream(HOME)).collect();
    assert_eq!(streams.iter().filter(|stream| stream.is_ok()).count(), 8);
    assert!(streams.contains(&Err(429)));
    assert!(world.stream(ELSEWHERE).is_ok());
}

#[test]
fn what_a_socket_may_send_is_bounded() {
    let closed_by = |misbehave: &dyn Fn(&mut World, ConnectionId)| {
        let mut world = World::new();
        world.publish(&message("online", 1, 0), HOME);
        let socket = world.socket(1, HOME).unwrap();
        misbehave(&mut world, socket);
        world.clients[&socket].closed
    };
    let beat = message("online", 1, 0).to_string();
    assert_eq!(closed_by(&|world, socket| (0..59).for_each(|_| world.send(socket, &beat))), None);
    let flood = closed_by(&|world, socket| (0..2_000).for_each(|_| world.send(socket, &beat)));
    assert_eq!(flood, Some((4129, "TOO_FAST")));
    let malformed = closed_by(&|world, socket| (0..3).for_each(|_| world.send(socket, "{}")));
    assert_eq!(malformed, Some((4500, "MALFORMED")));
    assert_eq!(closed_by(&|world, socket| world.send(socket, &"x".repeat(16_385))), Some((1009, "TOO_LONG")));
}

#[test]
fn whoever_was_closed_for_what_it_sent_waits_before_it_opens_another() {
    let mut world = World::new();
    for seed in [1, 2] {
        world.publish(&message("online", seed, 0), HOME);
    }
    let socket = world.socket(1, HOME).unwrap();
    (0..3).for_each(|_| world.send(socket, "{}"));
    assert_eq!(world.clients[&socket].closed, Some((4500, "MALFORMED")));
    assert_eq!((world.socket(2, HOME), world.stream(HOME)), (Err(429), Err(429)));
    let head = Head {
        method: "GET",
        url: "/live?community=friends",
        address: read_address(HOME),
        upgrade: Upgrade::WebSocket,
        ..Head::default()
    };
    let answer = world.edge.receive(at(0), &head);
    assert!(matches!(answer, Step::Answer(answer) if answer.status == 429), "one wait for both doors");
    assert_eq!(world.publish(&message("online", 2, 0), HOME), 204, "to publish opens nothing");
    assert!(world.stream(ELSEWHERE).is_ok());
    world.now = 60_000;
    assert!(world.stream(HOME).is_ok());
    // What ends without a fault of the client's is no reason to wait.
    let quiet = World::new().open("/ws?probe=1", HOME, Upgrade::WebSocket);
    assert!(quiet.is_ok() && world.open("/ws?probe=1", HOME, Upgrade::WebSocket).is_ok());
}

#[test]
fn openings_cost_ten_times_what_a_request_does() {
    let mut world = World::new();
    let probes = (0..100).filter(|_| world.open("/ws?probe=1", HOME, Upgrade::WebSocket).is_ok()).count();
    assert_eq!(probes, 60, "of 600 requests a minute");
    assert_eq!((world.stream(HOME), world.get("/peers.json").status), (Err(429), 200));
}

#[test]
fn a_probe_learns_that_there_are_sockets_and_takes_no_place() {
    let mut world = World::new();
    for _ in 0..50 {
        let probe = world.open("/ws?probe=1", HOME, Upgrade::WebSocket).unwrap();
        assert_eq!(world.clients[&probe].closed, Some((1000, "probe-ok")));
    }
    assert!(world.room.is_empty());
    assert_eq!(world.open("/ws?probe=1", HOME, Upgrade::None), Err(426));
    assert_eq!(world.open("/ws?peer_id=peer", HOME, Upgrade::WebSocket), Err(400));
}

#[test]
fn every_path_answers_as_goop2s_own_does() {
    let mut world = World::new();
    let text = |answer: &Answer| (answer.status, answer.body.clone());
    assert_eq!(text(&world.get("/healthz")), (200, "ok".to_owned()));
    assert!(world.get("/healthz").headers.contains(&("Content-Type", "text/plain; charset=utf-8".to_owned())));
    let capabilities = json!({"encryption": false, "registration": false, "credits": false, "templates": false, "bridge": false, "relay": true});
    assert_eq!(serde_json::from_str::<Value>(&world.get("/api/capabilities").body).unwrap(), capabilities);
    let (_, relay) = RELAY.rsplit_once('/').unwrap();
    let expected = json!({"peer_id": relay, "addrs": [RELAY]});
    assert_eq!(serde_json::from_str::<Value>(&world.get("/relay").body).unwrap(), expected);
    for path in ["/register", "/store", "/api/templates", "/admin", "/", "/publish/"] {
        assert_eq!(world.get(path).status, 404, "{path}");
    }
    for (method, path) in [("GET", "/publish"), ("POST", "/healthz"), ("POST", "/ws"), ("DELETE", "/peers.json")] {
        let answer = world.serve(method, path, HOME, Ok(Vec::new()));
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.headers.iter().any(|(name, _)| *name == "Allow"));
    }
    assert_eq!(world.serve("OPTIONS", "/publish", HOME, Ok(Vec::new())).status, 204);
    for (body, status) in [
        (Ok(b"{".to_vec()), 400),
        (Ok(br#"{"type":"online","peerId":"peer"}"#.to_vec()), 400),
        (Err(RequestError::BodyTooLarge), 413),
        (Err(RequestError::BodyTimeout), 408),
        (Err(RequestError::BodyBrokenOff), 400),
    ] {
        assert_eq!(world.serve("POST", "/publish", HOME, body).status, status);
    }
    let too_large = world.serve("POST", "/publish", HOME, Err(RequestError::BodyTooLarge));
    assert_eq!(too_large.body, "the body is longer than 16384 bytes");
    let elsewhere = |world: &mut World, url: &str| {
        let head = Head { method: "GET", url, address: read_address(HOME), ..Head::default() };
        match world.edge.receive(at(0), &head) {
            Step::Answer(answer) => answer.status,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(elsewhere(&mut world, "/goop2/others/healthz"), 404, "this community has no door");
    assert_eq!(elsewhere(&mut world, "/goop2/friends"), 404);
    for (method, url) in [("POST", "/goop2/friends/publish"), ("GET", "/goop2/friends/ws?probe=1")] {
        let head =
            Head { method, url, address: read_address(HOME), origin: Some("https://a.example"), ..Head::default() };
        assert!(matches!(world.edge.receive(at(0), &head), Step::Answer(answer) if answer.status == 421), "{url}");
    }
    let limited = (0..700).map(|_| world.get("/peers.json").status).find(|status| *status != 200);
    assert_eq!(limited, Some(429));
}

#[test]
fn without_a_door_there_is_nothing_behind_it() {
    let config = config(&[]);
    let mut edge = Edge::new(config, Platform::of_program(1), Secret::from_bytes([1; 16]), 1);
    let head = Head { method: "GET", url: "/goop2/mainnet/healthz", address: read_address(HOME), ..Head::default() };
    assert!(matches!(edge.receive(at(0), &head), Step::Answer(answer) if answer.status == 404));
}

#[test]
fn a_guest_that_publishes_too_often_is_told_when_to_come_again() {
    let mut world = World::new();
    let statuses: Vec<_> = (0..62).map(|_| world.publish(&message("online", 1, 0), HOME)).collect();
    assert_eq!((statuses[59], statuses[60]), (204, 429));
    let body = message("online", 1, 0).to_string().into_bytes();
    let answer = world.serve("POST", "/publish", HOME, Ok(body));
    assert!(answer.headers.contains(&("Retry-After", "1".to_owned())), "{answer:?}");
}

#[test]
fn one_that_does_not_read_loses_messages_and_hears_of_all_again() {
    let mut world = World::new();
    let listener = world.stream(ELSEWHERE).unwrap();
    world.deaf.insert(listener);
    world.publish(&message("online", 1, 0), HOME);
    world.deaf.clear();
    assert_eq!(world.clients[&listener].sees(), BTreeSet::new());
    for second in 1..=15 {
        world.second();
        if second % 5 == 0 {
            world.publish(&message("online", 1, world.now), HOME);
        }
    }
    assert_eq!(world.clients[&listener].sees(), BTreeSet::from([name(1)]));
}

#[test]
fn a_household_that_has_all_its_connections_loses_no_guest_by_another() {
    let mut world = World::new();
    world.publish(&message("online", 1, 0), HOME);
    let streams: Vec<_> = (0..8).map(|_| world.stream(HOME).unwrap()).collect();
    assert_eq!(world.socket(1, HOME), Err(429));
    world.second();
    assert_eq!(world.clients[&streams[0]].sees(), BTreeSet::from([name(1)]));
}

#[test]
fn a_viewer_of_our_own_that_asks_for_guests_is_told_who_is_there_and_what_changes() {
    let mut world = World::new();
    let watch = |world: &mut World, id| {
        let effects = world.room.watch(at(world.now), ConnectionId(id));
        world.carry_out(effects);
        std::mem::take(&mut world.views)
    };
    let empty = vec![r#"{"t":"guests","guests":[]}"#.to_owned()];
    assert_eq!(watch(&mut world, 100), [(GuestsTo::One(ConnectionId(100)), empty.clone())]);
    world.publish(&message("online", 1, 0), HOME);
    let guest =
        format!(r#"{{"t":"guests","guests":[{{"peerId":"{}","content":"peer 1","verified":false}}]}}"#, name(1));
    let all = |text: &str| (GuestsTo::Viewers, vec![text.to_owned()]);
    assert_eq!(std::mem::take(&mut world.views), [all(&guest)]);
    for _ in 0..5 {
        (0..5).for_each(|_| world.second());
        world.publish(&message("online", 1, world.now), HOME);
    }
    assert_eq!(world.views, [], "nothing has changed");
    assert_eq!(watch(&mut world, 101), [(GuestsTo::One(ConnectionId(101)), vec![guest])]);
    world.publish(&message("offline", 1, 0), HOME);
    assert_eq!(std::mem::take(&mut world.views), [all(&empty[0])]);
    for id in [100, 101] {
        let effects = world.room.closed(at(world.now), ConnectionId(id));
        world.carry_out(effects);
    }
    assert!(world.room.is_empty());
}

#[test]
fn guests_are_told_over_a_socket_where_there_is_a_door_and_to_whoever_asks() {
    let World { mut edge, .. } = World::new();
    for (url, upgrade, expected) in [
        ("/live?community=friends&guests=1", Upgrade::WebSocket, true),
        ("/live?community=friends", Upgrade::WebSocket, false),
        ("/live?community=friends&guests=0", Upgrade::WebSocket, false),
        ("/live?community=friends&guests=1", Upgrade::None, false),
        ("/live?community=others&guests=1", Upgrade::WebSocket, false),
    ] {
        let head = Head { method: "GET", url, address: read_address(HOME), upgrade, ..Head::default() };
        assert!(
            matches!(edge.receive(at(0), &head), Step::OpenLive(open) if open.watches_guests() == expected),
            "{url}"
        );
    }
}
