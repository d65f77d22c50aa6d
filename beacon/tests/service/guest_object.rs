//! The door for goop2's peers where the room is in a community's object, which is forgotten while connections stay: what goes
//! between the two is text, and time passes at the connections alone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rendezvous_protocol::limits::{GUEST_UNREAD_MAX_BYTES, GUEST_VIEW_BYTES_PER_SECOND};
use rendezvous_protocol::network::{Client as NetworkClient, read_address};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Purpose, VerifiedTicket};
use rendezvous_protocol::time::saturating_millis;
use rendezvous_service::answer::Answer;
use rendezvous_service::call::{Call, Handed};
use rendezvous_service::community::{CommunityObject, Effects, Found};
use rendezvous_service::config::Config;
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::goop2::{
    Door, GuestCall, GuestConnection, GuestOpening, GuestOutput, GuestStep, OpenGuest, RoomCall,
};
use rendezvous_service::live::{ConnectionId, LiveCall, Opening, Pushed};
use rendezvous_service::platform::Platform;
use serde_json::Value;

use crate::guests::{ELSEWHERE, HEARTBEAT, HOME, PATIENCE, TTL, message, name};
use crate::host::{Peer, at, config};

/// After so many milliseconds without an event or a timer the runtime forgets the object.
const HIBERNATION: u64 = 10_000;

/// One connection of a client, which may be in another process than the room.
struct Client {
    connection: GuestConnection,
    /// Whether the host can say what is read, and it is.
    reads: bool,
    heard_at: u64,
    heard: Vec<String>,
    closed: Option<(u16, &'static str)>,
}

impl Client {
    fn messages(&self) -> Vec<Value> {
        let text = |text: &String| serde_json::from_str(text.strip_prefix("data: ").unwrap_or(text).trim()).ok();
        self.heard.iter().filter_map(text).collect()
    }

    /// Who is there, for this client.
    fn sees(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for message in self.messages() {
            let name = message["peerId"].as_str().unwrap().to_owned();
            let _ = if message["type"] == "offline" { names.remove(&name) } else { names.insert(name) };
        }
        names
    }
}

struct World {
    now: u64,
    config: Config,
    edge: Edge,
    object: CommunityObject,
    /// What the runtime keeps for each socket of the object.
    kept: BTreeMap<ConnectionId, String>,
    clients: BTreeMap<ConnectionId, Client>,
    opened: u64,
    /// When timers of the object end.
    timers: Vec<u64>,
    /// When the object was last asked something.
    asked_at: u64,
    /// What viewers of `GET /live` were told.
    views: BTreeMap<ConnectionId, Vec<String>>,
}

impl World {
    fn new(variables: &[(&str, &str)]) -> Self {
        let door =
            [("COMMUNITIES", "friends"), ("GOOP2_COMMUNITIES", "friends"), ("ADDRESS_REQUESTS_PER_MINUTE", "600")];
        let variables = [&door[..], variables].concat();
        let config = config(&variables);
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let door = Door::parse(&config, variable).unwrap().unwrap();
        let edge = Edge::new(config.clone(), Platform::CLOUDFLARE, Secret::from_bytes([1; 16]), 1).with_goop2(door);
        let object = Self::restored(0, &config, &BTreeMap::new(), 2);
        Self {
            now: 0,
            config,
            edge,
            object,
            kept: BTreeMap::new(),
            clients: BTreeMap::new(),
            opened: 0,
            timers: Vec::new(),
            asked_at: 0,
            views: BTreeMap::new(),
        }
    }

    fn restored(now: u64, config: &Config, kept: &BTreeMap<ConnectionId, String>, secret: u8) -> CommunityObject {
        let connections = Some(kept.iter().map(|(id, text)| (*id, text.clone())).collect());
        let found = Found { connections, ..Found::nothing() };
        let (object, effects) =
            CommunityObject::restore(at(now), config, false, found, Secret::from_bytes([secret; 16]));
        assert!(effects.push.iter().all(|push| !matches!(push.what, Pushed::Close(_))), "{effects:?}");
        object
    }

    /// Lets the object be forgotten, and made anew of what its sockets keep.
    fn forget(&mut self) {
        self.object = Self::restored(self.now, &self.config, &self.kept, 99);
        self.timers.clear();
    }

    fn receive(&mut self, method: &str, path: &str, address: &str, headers: &[(&str, &str)]) -> Step {
        let url = format!("https://beacon.example/goop2/friends{path}");
        let head = Head { method, url: &url, address: read_address(address), ..Head::default() };
        let step = self.edge.receive(at(self.now), &head);
        let Step::ReadHeaders(read) = step else { return step };
        read.resume(&mut self.edge, at(self.now), |name| {
            headers.iter().find(|(header, _)| *header == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn ask(&mut self, call: &RoomCall) -> Answer {
        let url = format!("https://object{}", call.to_path());
        assert!(RoomCall::is_in(&url) && Opening::parse(&url).is_none() && GuestOpening::parse(&url).is_none());
        let (answer, effects) = self.object.receive_guest(at(self.now), &url, &call.to_body());
        self.carry_out(effects);
        answer
    }

    fn publish(&mut self, message: &Value, address: &str) -> u16 {
        let mut step = self.receive("POST", "/publish", address, &[]);
        loop {
            step = match step {
                Step::Answer(answer) => return answer.status,
                Step::Guest(guest) => match *guest {
                    GuestStep::ReadPresence(read) => {
                        self.edge.read_presence(read, Ok(message.to_string().into_bytes()))
                    }
                    GuestStep::Ask(ask) => return self.ask(&ask.into_call()).status,
                    GuestStep::Open(open) => panic!("{open:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }

    fn peers(&mut self) -> Value {
        serde_json::from_str(&self.ask(&RoomCall::List).body).unwrap()
    }

    fn opening(&mut self, path: &str, address: &str, headers: &[(&str, &str)]) -> Result<OpenGuest, u16> {
        match self.receive("GET", path, address, headers) {
            Step::Answer(answer) => Err(answer.status),
            Step::Guest(guest) => match *guest {
                GuestStep::Open(open) => Ok(open),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn next_id(&mut self) -> ConnectionId {
        self.opened += 1;
        ConnectionId(self.opened)
    }

    fn open(&mut self, path: &str, address: &str, headers: &[(&str, &str)]) -> Result<ConnectionId, u16> {
        let open = self.opening(path, address, headers)?;
        let id = self.next_id();
        let opening = open.opening().unwrap();
        let read = GuestOpening::parse(&format!("https://object{}", opening.to_path()));
        assert_eq!(read, Some(Ok(opening.clone())));
        let (outcome, effects) = self.object.open_guest(at(self.now), id, &opening);
        if let Err(refusal) = outcome {
            self.carry_out(effects);
            return Err(refusal.answer().status);
        }
        let connection = open.admitted(at(self.now));
        self.kept.insert(id, String::new());
        let client = Client {
            connection,
            reads: path.starts_with("/events"),
            heard_at: self.now,
            heard: Vec::new(),
            closed: None,
        };
        self.clients.insert(id, client);
        self.run(id);
        self.carry_out(effects);
        Ok(id)
    }

    fn socket(&mut self, seed: u8, address: &str) -> Result<ConnectionId, u16> {
        self.open(&format!("/ws?peer_id={}", name(seed)), address, &[("Upgrade", "websocket")])
    }

    fn stream(&mut self, address: &str) -> ConnectionId {
        self.open("/events", address, &[]).unwrap()
    }

    /// Opens a connection of `GET /live` that asks for guests.
    fn watch(&mut self) -> ConnectionId {
        let id = self.next_id();
        let network = NetworkClient { address: read_address(ELSEWHERE), autonomous_system: None }.hand_over();
        let opening = Opening { network, since: None, is_stream: false, watches_guests: true };
        let (outcome, effects) = self.object.open_live(at(self.now), id, &opening);
        assert!(outcome.is_ok());
        self.kept.insert(id, String::new());
        self.views.insert(id, Vec::new());
        self.carry_out(effects);
        id
    }

    /// What a viewer was told last.
    fn view(&self, id: ConnectionId) -> Value {
        serde_json::from_str::<Value>(self.views[&id].last().unwrap()).unwrap()["guests"].clone()
    }

    fn send(&mut self, id: ConnectionId, message: &Value) {
        let now = at(self.now);
        self.clients.get_mut(&id).unwrap().connection.receive(now, &message.to_string());
        self.run(id);
    }

    /// Ends a connection without a word.
    fn cut(&mut self, id: ConnectionId) {
        self.clients.remove(&id);
        self.ended(id);
    }

    fn ended(&mut self, id: ConnectionId) {
        self.kept.remove(&id);
        let effects = self.object.receive_text(at(self.now), id, None, 0).unwrap();
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        self.asked_at = self.now;
        assert_eq!((effects.write, effects.erase), (None, None), "guests are in memory alone");
        for id in effects.attach {
            if let Some(kept) = self.kept.get_mut(&id) {
                *kept = self.object.attachment(at(self.now), id).unwrap().unwrap();
            }
        }
        self.timers.extend([effects.timer, effects.push_after].into_iter().flatten().map(|wait| {
            let millis = saturating_millis(wait);
            assert!(millis > 0, "there is nothing to wait for");
            self.now + millis
        }));
        for push in effects.push {
            for id in push.to {
                if let Some(texts) = self.views.get_mut(&id) {
                    if let Pushed::Signal(text) = &push.what {
                        texts.push(text.clone());
                    }
                    continue;
                }
                let pushed = match (&push.what, push.what.to_text()) {
                    (_, Some(text)) => Pushed::parse(text.split('\n').next().unwrap()).unwrap(),
                    (other, None) => other.clone(),
                };
                if let Some(client) = self.clients.get_mut(&id) {
                    client.connection.take_pushed(at(self.now), pushed);
                    self.run(id);
                }
            }
        }
    }

    fn run(&mut self, id: ConnectionId) {
        while let Some(client) = self.clients.get_mut(&id)
            && let Some(output) = client.connection.next_output()
        {
            match output {
                GuestOutput::Text(text) => {
                    client.heard_at = self.now;
                    client.heard.push(text);
                    if client.reads {
                        client.connection.read();
                    }
                }
                GuestOutput::Ping => panic!("this host sends none"),
                GuestOutput::Tell(call) => {
                    let effects = self.object.receive_text(at(self.now), id, Some(&call.to_text()), 0).unwrap();
                    self.carry_out(effects);
                }
                GuestOutput::Close { code, reason } => {
                    self.edge.close_guest(at(self.now), &client.connection);
                    client.closed = Some((code, reason));
                    self.ended(id);
                }
            }
        }
    }

    /// Lets a second pass, at the end of which everything is done that somebody was asked to do by then.
    fn second(&mut self) {
        self.now += 1_000;
        let due = self.timers.extract_if(.., |timer| *timer <= self.now).count();
        for _ in 0..due {
            let effects = self.object.handle_timer(at(self.now));
            self.carry_out(effects);
        }
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for id in ids {
            let now = at(self.now);
            let Some(client) = self.clients.get_mut(&id) else { continue };
            if client.closed.is_none() && client.connection.next_deadline() <= now {
                client.connection.handle_timeout(now);
                self.run(id);
            }
        }
        if self.timers.is_empty() && self.now - self.asked_at >= HIBERNATION {
            self.forget();
        }
    }

    /// Lets seconds pass, in which each of these sockets beats, and checks that nobody gives up or forgets anybody.
    fn beat(&mut self, seconds: u64, guests: &[(u8, ConnectionId)], listener: ConnectionId) {
        let mut last_heard: BTreeMap<u8, u64> = guests.iter().map(|(seed, _)| (*seed, self.now)).collect();
        let mut taken = self.clients[&listener].messages().len();
        for _ in 0..seconds {
            self.second();
            for (seed, socket) in guests {
                if self.now.is_multiple_of(HEARTBEAT) {
                    self.send(*socket, &message("online", *seed, self.now));
                }
                let client = &self.clients[socket];
                assert_eq!(client.closed, None);
                assert!(self.now - client.heard_at < PATIENCE, "it would give up");
            }
            let messages = self.clients[&listener].messages();
            for told in &messages[taken..] {
                assert_eq!(told["type"], "online");
                let (seed, _) = guests.iter().find(|(seed, _)| told["peerId"] == name(*seed).as_str()).unwrap();
                last_heard.insert(*seed, self.now);
            }
            taken = messages.len();
            assert!(last_heard.values().all(|at| self.now - at < TTL), "it would be forgotten: {last_heard:?}");
        }
    }
}

/// Two guests with sockets, and one that listens.
fn company(world: &mut World) -> ([(u8, ConnectionId); 2], ConnectionId) {
    let guests = [1, 2].map(|seed| {
        assert_eq!(world.publish(&message("online", seed, 0), HOME), 204);
        (seed, world.socket(seed, HOME).unwrap())
    });
    let listener = world.stream(ELSEWHERE);
    (guests, listener)
}

#[test]
fn what_goes_between_a_worker_and_an_object_is_pinned() {
    let mut world = World::new(&[]);
    world.publish(&message("online", 1, 0), HOME);
    let socket = world.opening(&format!("/ws?peer_id={}", name(1)), HOME, &[("Upgrade", "websocket")]).unwrap();
    let opening = socket.opening().unwrap();
    let network = opening.network.to_text();
    assert_eq!(opening.to_path(), format!("/guests/live?{network}&{}", name(1)));
    let stream = world.opening("/events", HOME, &[]).unwrap().opening().unwrap();
    assert_eq!(stream.to_path(), format!("/guests/live?{network}&"));
    assert!(matches!(GuestOpening::parse("/guests/live?x&"), Some(Err(_))));
    assert_eq!(GuestOpening::parse("/guests"), None);

    let Step::Guest(step) = world.receive("POST", "/publish", HOME, &[]) else { panic!("no body is read") };
    let GuestStep::ReadPresence(read) = *step else { panic!("no body is read") };
    let said = message("update", 1, 7);
    let Step::Guest(step) = world.edge.read_presence(read, Ok(said.to_string().into_bytes())) else {
        panic!("refused")
    };
    let GuestStep::Ask(ask) = *step else { panic!("refused") };
    let call = ask.into_call();
    assert_eq!(call.to_path(), format!("/guests?{network}"));
    assert_eq!(serde_json::from_str::<Value>(&call.to_body()).unwrap(), said);
    let RoomCall::Publish { presence, .. } = call else { panic!("not a message") };
    assert_eq!(GuestCall::Tell(presence.clone()).to_text(), format!("T{}", presence.to_text()));
    assert_eq!(GuestCall::Returns.to_text(), "R");
    assert_eq!((RoomCall::List.to_path(), RoomCall::List.to_body()), ("/guests".to_owned(), String::new()));

    let id = world.socket(1, HOME).unwrap();
    let lines: Vec<_> = world.kept[&id].split('\n').collect();
    assert_eq!((lines[0], lines[1], lines[2].len(), lines[3]), ("guest", "AgICAgICAgICAgICAgICAg==", 32, &*name(1)));
    for wrong in ["", "X", "T", "T{}", "R1", "D"] {
        assert!(world.object.receive_text(at(0), id, Some(wrong), 0).is_err(), "{wrong}");
    }
    for (url, body) in [("/guests?x", "{}"), ("/guests?x", ""), (&*format!("/guests?{network}"), "{}")] {
        assert_eq!(world.object.receive_guest(at(0), url, body).0.status, 500, "{url}");
    }
}

#[test]
fn a_socket_is_opened_by_its_headers_and_not_for_a_page() {
    let mut world = World::new(&[]);
    world.publish(&message("online", 1, 0), HOME);
    let path = format!("/ws?peer_id={}", name(1));
    assert_eq!(world.opening(&path, HOME, &[]).unwrap_err(), 426);
    assert_eq!(world.opening(&path, HOME, &[("Upgrade", "h2c")]).unwrap_err(), 426);
    let of_page = [("Upgrade", "websocket"), ("Origin", "https://evil.example")];
    assert_eq!(world.opening(&path, HOME, &of_page).unwrap_err(), 421);
    assert_eq!(world.socket(2, HOME), Err(425));
    assert_eq!(world.socket(1, ELSEWHERE), Err(409));
    assert!(world.socket(1, HOME).is_ok());
    let probe = world.opening("/ws?probe=1", HOME, &[("Upgrade", "WebSocket")]).unwrap();
    assert_eq!(probe.opening(), None);
    let first = probe.admitted(at(0)).next_output();
    assert_eq!(first, Some(GuestOutput::Close { code: 1000, reason: "probe-ok" }));
}

#[test]
fn while_there_are_guests_the_object_has_a_timer_and_nobody_is_forgotten() {
    let mut world = World::new(&[]);
    let (guests, listener) = company(&mut world);
    world.beat(120, &guests, listener);
    assert!((1..=2).contains(&world.timers.len()), "{:?}", world.timers);
    let told = world.clients[&listener].messages().len();
    assert!(told <= 2 * (2 + 120 / 15), "{told} messages");
    world.cut(listener);
    let listener = world.stream(ELSEWHERE);
    world.beat(60, &guests, listener);
    for (_, socket) in guests {
        world.cut(socket);
    }
    world.second();
    assert_eq!(world.clients[&listener].sees(), BTreeSet::new());
    let heard = world.clients[&listener].heard.len();
    (0..16).for_each(|_| world.second());
    assert_eq!((world.clients[&listener].heard.len(), &world.timers[..]), (heard, &[][..]), "the object may hibernate");
}

proptest! {
    /// An object is forgotten at any time, in hibernation or by a panic.
    #[test]
    fn an_object_that_is_forgotten_loses_no_listener_and_has_each_guest_again(
        steps in prop::collection::vec((1_u64..12, any::<bool>()), 1..12),
    ) {
        let mut world = World::new(&[]);
        let (guests, listener) = company(&mut world);
        let viewer = world.watch();
        for (seconds, forgets) in steps {
            world.beat(seconds, &guests, listener);
            if forgets {
                world.forget();
            }
        }
        // In six seconds everybody has beaten, and what that changed is told.
        world.beat(6, &guests, listener);
        prop_assert_eq!(world.peers().as_array().unwrap().len(), 2);
        prop_assert_eq!(world.clients[&listener].sees().len(), 2);
        prop_assert_eq!(world.view(viewer).as_array().unwrap().len(), 2);
        let (_, socket) = guests[0];
        world.cut(socket);
        world.second();
        prop_assert_eq!(world.clients[&listener].sees(), BTreeSet::from([name(2)]));
        prop_assert_eq!(world.view(viewer).as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_guest_that_beats_slowly_holds_its_name() {
    let mut world = World::new(&[]);
    let (guests, listener) = company(&mut world);
    for second in 1..=130 {
        world.second();
        if second % 13 == 0 {
            guests.iter().for_each(|(seed, socket)| world.send(*socket, &message("online", *seed, world.now)));
        }
        assert_eq!(world.publish(&message("update", 1, world.now), ELSEWHERE), 409, "{second}");
        assert_eq!(world.clients[&listener].sees().len(), 2, "{second}");
    }
}

#[test]
fn an_event_stream_that_is_never_read_has_no_place_for_long() {
    let mut world = World::new(&[]);
    let streams: Vec<_> = (0..8).map(|_| world.stream(ELSEWHERE)).collect();
    assert_eq!(world.open("/events", ELSEWHERE, &[]), Err(429));
    let (unread, read) = streams.split_at(4);
    unread.iter().for_each(|id| world.clients.get_mut(id).unwrap().reads = false);
    world.publish(&message("online", 1, 0), HOME);
    (0..21).for_each(|_| world.second());
    let closed = |id: &ConnectionId| world.clients[id].closed;
    assert!(unread.iter().all(|id| closed(id) == Some((4108, "SLOW"))), "{:?}", closed(&unread[0]));
    assert!(read.iter().all(|id| closed(id).is_none()));
    // Without a message it is the ping that is not read.
    let silent = read[0];
    world.clients.get_mut(&silent).unwrap().reads = false;
    (0..46).for_each(|_| world.second());
    assert_eq!(world.clients[&silent].closed, Some((4108, "SLOW")));
    assert_eq!(world.clients[&read[1]].closed, None);
}

#[test]
fn a_viewer_whose_place_is_another_s_is_told_nothing_more() {
    let mut world = World::new(&[]);
    let (gone, stays) = (world.watch(), world.watch());
    let _ = world.object.handle_live(at(0), gone, LiveCall::Closed, 0);
    world.ended(gone);
    world.publish(&message("online", 1, 0), HOME);
    assert_eq!((world.view(gone).as_array().unwrap().len(), world.view(stays).as_array().unwrap().len()), (0, 1));
}

#[test]
fn many_guests_are_told_of_less_often_than_few() {
    let mut world = World::new(&[]);
    let viewer = world.watch();
    let said = |seed: u8, now: u64, content: &str| {
        let mut message = message("online", seed, now);
        message["content"] = content.repeat(500 / content.len()).into();
        message
    };
    for seed in 0..40 {
        assert_eq!(world.publish(&said(seed, 0, "x"), &format!("10.{seed}.0.1")), 204);
    }
    (0..4).for_each(|_| world.second());
    let bytes = |world: &World| world.views[&viewer].iter().map(String::len).sum::<usize>();
    let (before, seconds) = (bytes(&world), 60);
    for second in 0..seconds {
        let seed = u8::try_from(second).unwrap() % 40;
        assert_eq!(
            world.publish(&said(seed, world.now, ["y", "z"][usize::from(seed % 2)]), &format!("10.{seed}.0.1")),
            204
        );
        world.second();
    }
    let one = world.views[&viewer].last().unwrap().len();
    let told = bytes(&world) - before;
    assert!(told <= GUEST_VIEW_BYTES_PER_SECOND * seconds + 64 * one, "{told} bytes");
    // What came last is told without anything else.
    let last = said(39, world.now, "last");
    assert_eq!(world.publish(&last, "10.39.0.1"), 204);
    (0..4).for_each(|_| world.second());
    assert!(world.views[&viewer].iter().rev().take(8).any(|text| text.contains("lastlast")));
}

#[test]
fn a_guest_without_a_socket_keeps_the_object_until_it_is_silent() {
    let mut world = World::new(&[]);
    let viewer = world.watch();
    assert_eq!(world.view(viewer).as_array().unwrap().len(), 0);
    world.publish(&message("online", 1, 0), HOME);
    for second in 1..=29 {
        world.second();
        assert!(!world.timers.is_empty() && world.timers.len() <= 2, "{second}: {:?}", world.timers);
        assert_eq!(world.publish(&message("online", 1, 0), ELSEWHERE), 409, "held");
    }
    world.second();
    assert_eq!((world.peers().as_array().unwrap().len(), world.view(viewer).as_array().unwrap().len()), (0, 0));
    (0..3).for_each(|_| world.second());
    assert_eq!(world.timers, [0; 0]);
}

#[test]
fn a_connection_ends_after_so_many_pushes_and_its_guest_stays() {
    let mut world = World::new(&[("LIVE_FRAMES", "3")]);
    world.publish(&message("online", 1, 0), HOME);
    let listener = world.stream(ELSEWHERE);
    let socket = world.socket(1, HOME).unwrap();
    for beat in 1..=2 {
        world.send(socket, &message("online", 1, beat));
    }
    assert_eq!(world.clients[&socket].closed, Some((4100, "AGAIN")));
    assert_eq!(world.peers()[0]["ws_connected"], Value::Null);
    let newer = world.socket(1, HOME).unwrap();
    assert_eq!(world.peers()[0]["ws_connected"], true);
    assert!(world.clients[&listener].messages().iter().all(|message| message["type"] == "online"));
    // One that does not come back is gone when it has been silent.
    for beat in 1..=2 {
        world.send(newer, &message("online", 1, beat));
    }
    (0..30).for_each(|_| world.second());
    assert_eq!(world.peers().as_array().unwrap().len(), 0);
}

#[test]
fn what_may_be_unread_is_bounded() {
    let mut world = World::new(&[("LIVE_FRAMES", "0")]);
    world.publish(&message("online", 1, 0), HOME);
    let text = "x".repeat(4_096);
    let fit = GUEST_UNREAD_MAX_BYTES / text.len() + 1;
    let upgrade = [("Upgrade", "websocket")];
    let is_text = |output: &GuestOutput| matches!(output, GuestOutput::Text(text) if text.len() >= 4_096);
    let push = |connection: &mut GuestConnection, times: usize| {
        (0..times).for_each(|_| connection.take_pushed(at(0), Pushed::Reply(text.clone())));
        std::iter::from_fn(|| connection.next_output()).collect::<Vec<_>>()
    };
    let mut socket = world.opening(&format!("/ws?peer_id={}", name(1)), HOME, &upgrade).unwrap().admitted(at(0));
    let outputs = push(&mut socket, fit + 10);
    assert_eq!(outputs.iter().filter(|output| is_text(output)).count(), fit);
    let end = GuestOutput::Close { code: 4100, reason: "AGAIN" };
    assert_eq!(outputs[fit..], [GuestOutput::Tell(GuestCall::Returns), end]);
    // An event stream loses what is too much, and goes on once its client has read.
    let mut stream = world.opening("/events", HOME, &[]).unwrap().admitted(at(0));
    for _ in 0..2 {
        let outputs = push(&mut stream, fit + 10);
        assert_eq!(outputs.iter().filter(|output| is_text(output)).count(), fit);
        assert!(outputs.iter().all(|output| matches!(output, GuestOutput::Text(_))), "it does not end");
        stream.read();
    }
}

#[test]
fn whoever_signs_is_no_guest_here_either() {
    let mut world = World::new(&[]);
    let (guests, listener) = company(&mut world);
    let signer = Peer("signer", 1);
    let call = Call::Ticket(Box::new(Handed {
        community: "friends".parse().unwrap(),
        network: NetworkClient { address: read_address(HOME), autonomous_system: None }.hand_over(),
        ticket: VerifiedTicket::trusted(&signer.ticket(world.now), Purpose::Presence).unwrap(),
    }));
    let (answer, _) = world.object.handle(at(world.now), call, 0);
    assert!(answer.body.contains(r#""listed":true"#), "{}", answer.body);
    let (seed, socket) = guests[0];
    world.send(socket, &message("online", seed, 1));
    world.second();
    assert_eq!(world.clients[&listener].sees(), BTreeSet::from([name(2)]));
    assert_eq!(world.clients[&socket].closed, None);
}

#[test]
fn a_room_that_was_asked_and_is_empty_is_none() {
    let mut world = World::new(&[]);
    assert_eq!(world.peers(), Value::Array(Vec::new()));
    assert_eq!(world.publish(&message("offline", 1, 0), HOME), 204);
    assert_eq!((&world.timers[..], world.kept.len()), (&[][..], 0));
}
