//! Live presence: viewers on connections that break, stall and resume, against the list that everybody gets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::limits::{LIVE_FRAME_INTERVAL, LIVE_RENEWAL_GRACE};
use rendezvous_protocol::live::{Binding, Claim, CloseCode, Frame};
use rendezvous_protocol::network::{Client, read_address};
use rendezvous_protocol::peer_list::PeerList;
use rendezvous_protocol::roster::Excluded;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Purpose, VerifiedTicket};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use rendezvous_service::answer::Outcome;
use rendezvous_service::call::{Call, Handed, ObjectError};
use rendezvous_service::community::{CommunityObject, Effects, Found};
use rendezvous_service::config::Config;
use rendezvous_service::edge::{Edge, Head, OpenLive, Step, Upgrade};
use rendezvous_service::live::{
    Connection, ConnectionId, LiveCall, LiveFull, Opening, Output, Push, Pushed, SignalCall,
};
use rendezvous_service::platform::Platform;
use rendezvous_service::registration::RegistrationDoor;
use serde_json::{Value, json};

use crate::host::{Peer, at, config};

static NAMES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| (0..=255).map(|number| &*Box::leak(format!("peer-{number:03}").into_boxed_str())).collect());

pub(crate) fn peer(number: u8) -> Peer {
    Peer(NAMES[usize::from(number)], number)
}

/// What a client holds, by the rules of the specification alone.
#[derive(Debug, Default)]
pub(crate) struct Viewer {
    /// Tickets by claim.
    tickets: BTreeMap<(String, String), Value>,
    position: Option<String>,
    is_whole: bool,
    frames: usize,
    messages: Vec<Value>,
    closed: Option<CloseCode>,
}

fn sequence(position: &str) -> (String, u64) {
    let (epoch, sequence) = position.split_once('-').unwrap();
    (epoch.to_owned(), sequence.parse().unwrap())
}

fn claim_of(ticket: &Value) -> (String, String) {
    (ticket["payload"]["peerId"].as_str().unwrap().to_owned(), ticket["publicKey"].as_str().unwrap().to_owned())
}

impl Viewer {
    fn take_frame(&mut self, frame: &Frame) {
        assert!(frame.text.len() <= 65_536, "{} bytes", frame.text.len());
        let message: Value = serde_json::from_str(&frame.text).unwrap();
        let position = message["position"].as_str().unwrap().to_owned();
        match message["t"].as_str().unwrap() {
            "snapshot" => {
                self.tickets.clear();
                for ticket in message["peers"].as_array().unwrap() {
                    self.tickets.insert(claim_of(ticket), ticket.clone());
                }
            }
            "delta" => {
                let (epoch, previous) = sequence(message["previous"].as_str().unwrap());
                let (own_epoch, own) = sequence(self.position.as_ref().unwrap());
                assert!(epoch == own_epoch && previous <= own, "a change was left out: {previous} after {own}");
                let all = |field: &str| message[field].as_array().cloned().unwrap_or_default();
                for ticket in all("put") {
                    self.tickets.insert(claim_of(&ticket), ticket);
                }
                for ticket in all("left") {
                    assert_eq!(ticket["payload"]["leave"], true);
                    self.tickets.remove(&claim_of(&ticket));
                }
                for claim in all("out") {
                    let [peer_id, key] = [&claim[0], &claim[1]].map(|text| text.as_str().unwrap().to_owned());
                    self.tickets.remove(&(peer_id, key));
                }
            }
            other => panic!("not a frame: {other}"),
        }
        self.is_whole = message.get("more").is_none();
        self.position = Some(position);
        self.frames += 1;
    }

    /// The tickets that have not ended.
    fn live(&self, now: u64) -> BTreeMap<(String, String), Value> {
        let live = |ticket: &Value| ticket["payload"]["expiresAt"].as_u64().unwrap() > at(now).as_u64();
        self.tickets
            .iter()
            .filter(|(_, ticket)| live(ticket))
            .map(|(claim, ticket)| (claim.clone(), ticket.clone()))
            .collect()
    }
}

pub(crate) struct Connected {
    connection: Connection,
    viewer: Viewer,
    /// Pushed, and not taken by the connection.
    held: Option<Vec<Pushed>>,
    pub(crate) acknowledges: bool,
}

/// An object, an edge, and clients with connections; a clock that is set.
pub(crate) struct World {
    pub(crate) now: u64,
    config: Config,
    edge: Edge,
    pub(crate) object: CommunityObject,
    pub(crate) clients: BTreeMap<ConnectionId, Connected>,
    opened: u64,
    timers: Vec<u64>,
    /// What connections keep, where they outlive the object.
    attachments: Option<BTreeMap<ConnectionId, String>>,
    stored: Option<String>,
    rows: usize,
    wake_at: Option<u64>,
    /// Of the clients that open connections.
    pub(crate) address: String,
}

impl World {
    pub(crate) fn new(variables: &[(&str, &str)]) -> Self {
        let own = [
            ("LIVE_CONNECTIONS_PER_HOUSEHOLD", "64"),
            ("ADDRESS_REQUESTS_PER_MINUTE", "60000"),
            ("NETWORK_REQUESTS_PER_MINUTE", "60000"),
        ];
        let config = config(&[&own, variables].concat());
        let edge = Edge::new(config.clone(), Platform::of_program(1), Secret::from_bytes([1; 16]), 1).with_turn();
        let object = CommunityObject::restore(at(0), &config, false, Found::nothing(), Secret::from_bytes([9; 16])).0;
        Self {
            now: 0,
            config,
            edge,
            object,
            clients: BTreeMap::new(),
            opened: 0,
            timers: Vec::new(),
            attachments: None,
            stored: None,
            rows: 0,
            wake_at: None,
            address: "192.0.2.1".to_owned(),
        }
    }

    /// The same, of a host that registers keys.
    pub(crate) fn with_registration(self, door: Arc<RegistrationDoor>) -> Self {
        Self { edge: self.edge.with_registration(door), ..self }
    }

    /// One on a platform that hibernates objects.
    pub(crate) fn hibernating(variables: &[(&str, &str)]) -> Self {
        let mut world = Self { attachments: Some(BTreeMap::new()), ..Self::new(variables) };
        let found = Found { connections: Some(Vec::new()), ..Found::nothing() };
        world.object = CommunityObject::restore(at(0), &world.config, false, found, Secret::from_bytes([9; 16])).0;
        world
    }

    /// Makes the object anew, of what is in storage and what connections keep; while something waits there is no
    /// hibernation.
    pub(crate) fn hibernate(&mut self) {
        if self.timers.is_empty() && self.is_hibernating() {
            self.make_anew(None);
        }
    }

    /// Whether connections outlive the object.
    pub(crate) fn is_hibernating(&self) -> bool {
        self.attachments.is_some()
    }

    /// The object panics between two events.
    fn panic(&mut self) {
        let rescued = self.object.unwritten(at(self.now));
        self.timers.clear();
        self.make_anew(rescued);
    }

    fn make_anew(&mut self, rescued: Option<String>) {
        // An object does not start in the millisecond in which the one before it was called.
        self.now += 1;
        let connections = self.attachments.clone().map(|attachments| attachments.into_iter().collect());
        let found = Found { stored: Ok(self.stored.clone()), rescued, connections };
        let secret = Secret::from_bytes([8; 16]);
        let (object, effects) = CommunityObject::restore(at(self.now), &self.config, false, found, secret);
        self.object = object;
        assert_eq!(self.object.connections(), self.attachments.as_ref().map_or(0, BTreeMap::len));
        self.carry_out(effects);
    }

    fn step(&mut self, url: &str, upgrade: Upgrade) -> Step {
        let head = Head {
            method: "GET",
            url,
            address: read_address(&self.address),
            upgrade,
            host: Some("localhost:8787"),
            ..Head::default()
        };
        self.edge.receive(at(self.now), &head)
    }

    fn open_step(&mut self, url: &str, upgrade: Upgrade) -> Box<OpenLive> {
        match self.step(url, upgrade) {
            Step::OpenLive(open) => open,
            other => panic!("{other:?}"),
        }
    }

    fn try_open(&mut self, viewer: Viewer) -> Result<ConnectionId, LiveFull> {
        self.open_as(viewer, Upgrade::WebSocket)
    }

    pub(crate) fn open_as(&mut self, viewer: Viewer, upgrade: Upgrade) -> Result<ConnectionId, LiveFull> {
        let since = viewer.position.as_ref().map(|position| format!("&since={position}")).unwrap_or_default();
        let open = self.open_step(&format!("/live?community=mainnet{since}"), upgrade);
        assert_eq!(open.object(), "mainnet");
        self.opened += 1;
        let id = ConnectionId(self.opened);
        let (outcome, effects) = self.object.open_live(at(self.now), id, open.opening());
        outcome?;
        let connection = open.admitted(at(self.now), [u8::try_from(self.opened).unwrap_or_default(); 16]);
        self.clients
            .insert(id, Connected { connection, viewer, held: None, acknowledges: upgrade == Upgrade::WebSocket });
        self.run(id);
        self.carry_out(effects);
        Ok(id)
    }

    pub(crate) fn open(&mut self, viewer: Viewer) -> ConnectionId {
        self.try_open(viewer).unwrap()
    }

    /// Ends a connection without a word, and returns what its client holds.
    pub(crate) fn drop_client(&mut self, id: ConnectionId) -> Option<Viewer> {
        let client = self.clients.remove(&id)?;
        self.ended(id);
        Some(client.viewer)
    }

    /// The object hears that a connection has ended.
    fn ended(&mut self, id: ConnectionId) {
        self.attachments.as_mut().and_then(|attachments| attachments.remove(&id));
        let effects = self.object.handle_live(at(self.now), id, LiveCall::Closed, 0);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        let timers = [effects.timer, effects.push_after].into_iter().flatten();
        self.timers.extend(timers.map(|after| self.now + u64::try_from(after.as_millis()).unwrap()));
        self.rows += usize::from(effects.write.is_some());
        self.stored = effects.write.or(self.stored.take()).filter(|_| effects.erase.is_none());
        let millis = |at: UnixMillis| at.as_u64() - crate::host::at(0).as_u64();
        self.wake_at = effects.wake_at.map(millis).or(self.wake_at);
        if let Some(attachments) = &mut self.attachments {
            for id in effects.attach {
                let Some(text) = self.object.attachment(at(self.now), id).unwrap() else { continue };
                assert!(text.len() <= 8_192, "{} bytes", text.len());
                attachments.insert(id, text);
            }
        }
        for push in effects.push {
            for id in push.to {
                if let (Some(attachments), Pushed::Close(_)) = (&mut self.attachments, &push.what) {
                    attachments.remove(&id);
                }
                let Some(client) = self.clients.get_mut(&id) else { continue };
                match &mut client.held {
                    Some(held) => held.push(push.what.clone()),
                    None => {
                        client.connection.take(&mut self.edge.checks(), at(self.now), push.what.clone());
                        self.run(id);
                    }
                }
            }
        }
    }

    /// Does what a connection wants done.
    fn run(&mut self, id: ConnectionId) {
        while let Some(client) = self.clients.get_mut(&id)
            && let Some(output) = client.connection.next_output()
        {
            match output {
                Output::Text(text) => {
                    client.viewer.messages.push(serde_json::from_str(&text).unwrap_or(Value::String(text)))
                }
                Output::Frame(frame) => {
                    client.viewer.take_frame(&frame);
                    if client.acknowledges {
                        let seq = frame.position.sequence;
                        self.send(id, &format!("{{\"t\":\"ack\",\"seq\":{seq}}}"));
                    }
                }
                Output::StreamPing => {}
                Output::Verify(verify) => {
                    let holds = verify.verify_signature();
                    client.connection.verified(&mut self.edge.checks(), verify, holds);
                }
                Output::Ask(call) => {
                    let effects = self.object.handle_live(at(self.now), id, call, 0);
                    self.carry_out(effects);
                }
                Output::Close(code) => {
                    client.viewer.closed = Some(code);
                    self.edge.close_live(at(self.now), &client.connection, code);
                    self.ended(id);
                }
            }
        }
    }

    pub(crate) fn send(&mut self, id: ConnectionId, text: &str) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.connection.receive(&mut self.edge.checks(), at(self.now), text);
            self.run(id);
        }
    }

    fn stall(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.held.get_or_insert_default();
        }
    }

    /// Lets a connection that stalled go on: without the frames, which its host did not keep.
    fn go_on(&mut self, id: ConnectionId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Some(held) = client.held.take() else { return };
        for pushed in held {
            if !matches!(pushed, Pushed::Frame(_) | Pushed::CaughtUp(_)) {
                client.connection.take(&mut self.edge.checks(), at(self.now), pushed);
            }
        }
        client.connection.missed();
        self.run(id);
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            let open = self.clients.iter().filter(|(_, client)| client.viewer.closed.is_none());
            let deadlines = open.map(|(id, client)| (client.connection.next_deadline(), Some(*id)));
            let timers = self.timers.iter().map(|timer| (at(*timer), None));
            let Some((due, of)) = timers.chain(deadlines).min().filter(|(due, _)| *due <= at(end)) else { break };
            self.now = self.now.max(due.as_u64() - at(0).as_u64());
            match of {
                Some(id) => {
                    self.clients.get_mut(&id).unwrap().connection.handle_timeout(at(self.now));
                    self.run(id);
                }
                None => {
                    self.timers.retain(|timer| at(*timer) != due);
                    let effects = self.object.handle_timer(at(self.now));
                    self.carry_out(effects);
                }
            }
        }
        self.now = end;
        if self.wake_at.take_if(|at| *at <= end).is_some() {
            let effects = self.object.handle_alarm(at(end));
            self.carry_out(effects);
        }
    }

    pub(crate) fn bring(&mut self, ticket: &str, purpose: Purpose, address: &str) -> Outcome {
        let client = Client { address: read_address(address), autonomous_system: None };
        let ticket = VerifiedTicket::trusted(ticket, purpose).unwrap();
        let handed = Handed { community: "mainnet".parse().unwrap(), network: client.hand_over(), ticket };
        let (answer, effects) = self.object.handle(at(self.now), Call::Ticket(Box::new(handed)), 0);
        self.carry_out(effects);
        answer.outcome
    }

    pub(crate) fn announce(&mut self, number: u8, lifetime: u64) -> Outcome {
        let now = self.now;
        let ticket = peer(number).unsigned(now, |payload| payload.expires_at = at(now + lifetime));
        self.bring(&ticket, Purpose::Presence, &format!("10.{number}.0.1"))
    }

    fn leave(&mut self, number: u8) {
        let ticket = peer(number).unsigned(self.now, |payload| payload.purpose = Purpose::Leave);
        self.bring(&ticket, Purpose::Leave, &format!("10.{number}.0.1"));
    }

    /// Hands a ticket to the object as a connection does.
    fn ask_ticket(&mut self, id: ConnectionId, ticket: &str, purpose: Purpose) {
        let ticket = Box::new(VerifiedTicket::trusted(ticket, purpose).unwrap());
        let call = LiveCall::Ticket { id: None, ticket };
        let effects = self.object.handle_live(at(self.now), id, LiveCall::parse(&call.to_text().unwrap()).unwrap(), 0);
        self.carry_out(effects);
    }

    /// The process of the object ends and begins anew; every connection ends with it.
    fn restart(&mut self) {
        // A process does not start in the millisecond in which the one before it ended.
        self.now += 1;
        let ids: Vec<_> = self.clients.keys().copied().collect();
        let viewers: Vec<_> = ids.into_iter().filter_map(|id| Some(self.clients.remove(&id)?.viewer)).collect();
        let found = Found { rescued: self.object.unwritten(at(self.now)), ..Found::nothing() };
        let is_saved = found.rescued.is_some();
        let secret = Secret::from_bytes([9; 16]);
        if is_saved {
            self.object = CommunityObject::restore(at(self.now), &self.config, false, found, secret).0;
        }
        for viewer in viewers {
            self.open(viewer);
        }
    }

    /// What `GET /peers?limit=200` lists.
    fn list(&mut self) -> BTreeMap<(String, String), Value> {
        let (answer, effects) = self.object.handle(at(self.now), Call::List, 0);
        self.carry_out(effects);
        let mut list = PeerList::decode(&answer.body).unwrap();
        list.expire(at(self.now));
        let peers = list.answer(200, Excluded::Nobody).peers.clone();
        let peers: Vec<Value> = serde_json::from_str(&format!("[{peers}]")).unwrap();
        peers.into_iter().map(|ticket| (claim_of(&ticket), ticket)).collect()
    }

    /// Lets everything arrive, and compares what every client holds with the list.
    fn assert_all_see_the_list(&mut self) {
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for id in &ids {
            self.clients.get_mut(id).unwrap().acknowledges = true;
            self.go_on(*id);
        }
        // When the last frame of renewals is due at the latest, and a moment for it to be handed over.
        self.wait(saturating_millis(LIVE_FRAME_INTERVAL + LIVE_RENEWAL_GRACE) + 500);
        for id in &ids {
            self.send(*id, r#"{"t":"ack","seq":9007199254740991}"#);
        }
        let (list, now) = (self.list(), self.now);
        for client in self.clients.values().filter(|client| client.viewer.closed.is_none()) {
            assert!(client.viewer.is_whole);
            let live = client.viewer.live(now);
            assert!(live == list, "{:?}\n{:?}", live.keys().collect::<Vec<_>>(), list.keys().collect::<Vec<_>>());
        }
    }

    pub(crate) fn frames(&self, id: ConnectionId) -> usize {
        self.clients[&id].viewer.frames
    }

    /// How many rows were written.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn messages(&self, id: ConnectionId) -> &[Value] {
        &self.clients[&id].viewer.messages
    }

    pub(crate) fn last(&self, id: ConnectionId) -> Value {
        self.messages(id).last().cloned().unwrap_or_default()
    }

    pub(crate) fn closed(&self, id: ConnectionId) -> Option<CloseCode> {
        self.clients[&id].viewer.closed
    }
}

#[derive(Clone, Debug)]
enum Act {
    Announce(u8, u64),
    Leave(u8),
    Wait(u64),
    Open,
    Drop(usize),
    Resume,
    Stall(usize),
    GoOn(usize),
    Deaf(usize),
    Restart,
    AnnounceOver(usize, u8, u64),
    LeaveOver(usize),
    Hibernate,
    Panic,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0_u8..12, prop_oneof![Just(180_000_u64), 1_000_u64..60_000]).prop_map(|(peer, life)| Act::Announce(peer, life)),
        4 => (0_u8..12).prop_map(Act::Leave),
        6 => prop_oneof![0_u64..500, 500_u64..30_000].prop_map(Act::Wait),
        2 => Just(Act::Open),
        2 => (0_usize..6).prop_map(Act::Drop),
        3 => Just(Act::Resume),
        2 => (0_usize..6).prop_map(Act::Stall),
        2 => (0_usize..6).prop_map(Act::GoOn),
        1 => (0_usize..6).prop_map(Act::Deaf),
        1 => Just(Act::Restart),
    ]
}

/// Acts of a platform that hibernates objects, where peers announce over their connections, too.
fn hibernating_act() -> impl Strategy<Value = Act> {
    let plain = act().prop_map(|act| if matches!(act, Act::Restart) { Act::Hibernate } else { act });
    prop_oneof![
        12 => plain,
        6 => (0_usize..6, 0_u8..12, prop_oneof![Just(180_000_u64), 1_000_u64..60_000])
            .prop_map(|(slot, peer, life)| Act::AnnounceOver(slot, peer, life)),
        2 => (0_usize..6).prop_map(Act::LeaveOver),
        8 => Just(Act::Hibernate),
        1 => Just(Act::Panic),
    ]
}

/// Plays a history. With a `crowd` the roster is full, and every newcomer takes somebody's place.
fn play(mut world: World, crowd: bool, acts: Vec<Act>) {
    world.open(Viewer::default());
    if crowd {
        // Two in each site, so that some can go.
        for number in 20..220_u8 {
            let ticket = peer(number).unsigned(0, |payload| payload.expires_at = at(180_000));
            world.bring(&ticket, Purpose::Presence, &format!("10.{}.0.{number}", number / 4));
        }
    }
    let mut gone: VecDeque<Viewer> = VecDeque::new();
    for act in acts {
        let id = |slot: usize, world: &World| world.clients.keys().copied().nth(slot);
        match act {
            Act::Announce(number, lifetime) => {
                world.announce(number, lifetime);
            }
            Act::Leave(number) => world.leave(number),
            Act::Wait(millis) => world.wait(millis),
            Act::Open if world.clients.len() < 6 => {
                world.open(Viewer::default());
            }
            Act::Drop(slot) => {
                if let Some(id) = id(slot, &world) {
                    gone.extend(world.drop_client(id).filter(|viewer| viewer.is_whole));
                }
            }
            Act::Resume => {
                if let Some(mut viewer) = gone.pop_front() {
                    viewer.closed = None;
                    world.open(viewer);
                }
            }
            Act::Stall(slot) => {
                if let Some(id) = id(slot, &world) {
                    world.stall(id);
                }
            }
            Act::GoOn(slot) => {
                if let Some(id) = id(slot, &world) {
                    world.go_on(id);
                }
            }
            Act::Deaf(slot) => {
                if let Some(id) = id(slot, &world) {
                    world.clients.get_mut(&id).unwrap().acknowledges = false;
                }
            }
            Act::Restart => world.restart(),
            Act::AnnounceOver(slot, number, lifetime) => {
                if let Some(id) = id(slot, &world) {
                    let ticket =
                        peer(number).unsigned(world.now, |payload| payload.expires_at = at(world.now + lifetime));
                    world.ask_ticket(id, &ticket, Purpose::Presence);
                }
            }
            Act::LeaveOver(slot) => {
                if let Some(id) = id(slot, &world) {
                    let number = u8::try_from(slot).unwrap();
                    let ticket = peer(number).unsigned(world.now, |payload| payload.purpose = Purpose::Leave);
                    world.ask_ticket(id, &ticket, Purpose::Leave);
                }
            }
            Act::Hibernate => world.hibernate(),
            Act::Panic => world.panic(),
            Act::Open => {}
        }
    }
    for viewer in gone {
        world.open(viewer);
    }
    world.assert_all_see_the_list();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_viewer_holds_what_the_list_has_after_any_history(acts in prop::collection::vec(act(), 0..60)) {
        play(World::new(&[]), false, acts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn and_where_newcomers_take_the_places_of_others(acts in prop::collection::vec(act(), 0..40)) {
        play(World::new(&[]), true, acts);
    }

    #[test]
    fn and_where_newcomers_take_the_places_of_others_while_the_object_hibernates(
        acts in prop::collection::vec(hibernating_act(), 0..40),
    ) {
        play(World::hibernating(&[]), true, acts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    #[test]
    fn and_where_the_object_hibernates_in_the_midst_of_it(acts in prop::collection::vec(hibernating_act(), 0..80)) {
        play(World::hibernating(&[]), false, acts);
    }
}

#[test]
fn peers_that_announce_over_their_connections_need_no_row_and_no_timer_and_a_goodbye_has_its_row_at_once() {
    let mut world = World::hibernating(&[]);
    let ids: Vec<_> = (0..40).map(|_| world.open(Viewer::default())).collect();
    for round in 0..4_u64 {
        for (number, id) in (0..).zip(&ids) {
            let ticket = peer(number).ticket(world.now);
            world.ask_ticket(*id, &ticket, Purpose::Presence);
            world.wait(if round == 0 { 1_000 } else { 3_750 });
            world.hibernate();
        }
    }
    assert_eq!((world.rows, &world.stored, world.wake_at), (0, &None, None));
    assert_eq!(world.list().len(), 40);

    // Connections end and begin again, as they do where each has so many frames: nobody's record is lost by that.
    for id in &ids[..20] {
        let viewer = world.drop_client(*id).unwrap();
        world.hibernate();
        world.open(viewer);
        world.hibernate();
    }
    assert_eq!((world.rows, world.list().len()), (0, 40));

    world.ask_ticket(ids[30], &peer(30).goodbye(world.now), Purpose::Leave);
    assert_eq!(world.rows, 1, "a goodbye outlives hibernation");
    assert!(world.wake_at.is_some(), "and is tidied up");
    world.hibernate();
    assert_eq!(world.list().len(), 39);
    world.assert_all_see_the_list();

    // With the last connection goes what it keeps: a row has it from then on.
    let rest: Vec<_> = world.clients.keys().copied().collect();
    for id in rest {
        world.drop_client(id);
    }
    world.wait(10_000);
    world.hibernate();
    assert_eq!(world.list().len(), 39);
    assert!(world.rows <= 10, "{} rows", world.rows);
}

/// How many tickets a client holds that were issued at this time or later.
fn issued_since(world: &World, id: ConnectionId, since: u64) -> usize {
    let live = world.clients[&id].viewer.live(world.now);
    live.values().filter(|ticket| ticket["payload"]["issuedAt"].as_u64().unwrap() >= at(since).as_u64()).count()
}

#[test]
fn what_waits_for_a_frame_keeps_no_object_awake_and_comes_in_time_whoever_was_to_ask_for_it() {
    let mut world = World::hibernating(&[]);
    let ids: Vec<_> = (0..12).map(|_| world.open(Viewer::default())).collect();
    let announce_all = |world: &mut World| {
        for (number, id) in (0..).zip(&ids) {
            let ticket = peer(number).ticket(world.now);
            world.ask_ticket(*id, &ticket, Purpose::Presence);
        }
    };
    let [viewer, .., newest] = ids[..] else { panic!("{ids:?}") };
    announce_all(&mut world);
    assert_eq!(issued_since(&world, viewer, 0), 6, "as many as there are frames");
    assert!(world.timers.is_empty());
    world.wait(999);
    assert_eq!(issued_since(&world, viewer, 0), 6);
    world.wait(1);
    assert_eq!(issued_since(&world, viewer, 0), 12, "who comes is seen within a second");

    world.wait(100_000);
    let renewed = world.now;
    announce_all(&mut world);
    assert_eq!(issued_since(&world, viewer, renewed), 6);
    world.wait(5_000);
    // Whoever was to ask goes.
    world.drop_client(newest);
    assert!(world.timers.is_empty());
    world.wait(10_999);
    assert_eq!(issued_since(&world, viewer, renewed), 6);
    world.wait(1);
    assert_eq!(issued_since(&world, viewer, renewed), 12, "a renewal is seen within sixteen");

    // Where something else comes, that is soon enough.
    world.wait(100_000);
    let renewed = world.now;
    announce_all(&mut world);
    world.wait(13_999);
    assert_eq!(issued_since(&world, viewer, renewed), 6);
    world.wait(1);
    world.list();
    assert_eq!(issued_since(&world, viewer, renewed), 11);
    assert_eq!(world.rows, 0);
}

#[test]
fn whoever_asks_for_a_frame_too_early_by_the_clock_of_the_object_asks_again() {
    let mut world = World::hibernating(&[]);
    let [ann, bob] = [world.open(Viewer::default()), world.open(Viewer::default())];
    for round in 0..7 {
        world.ask_ticket(ann, &peer(round).ticket(world.now), Purpose::Presence);
    }
    let early = world.object.handle_live(at(999), bob, LiveCall::FrameDue, 0);
    let again = Push { to: vec![bob], what: Pushed::FrameWaits(Duration::from_millis(1)) };
    assert_eq!((early.push, early.push_after), (vec![again], None));
    let another = world.object.handle_live(at(999), ann, LiveCall::FrameDue, 0);
    assert_eq!(another.push, [], "it was not the one to ask");
    let due = world.object.handle_live(at(1_000), bob, LiveCall::FrameDue, 0);
    assert!(matches!(&due.push[..], [Push { what: Pushed::Frame(_), .. }]), "{:?}", due.push);
}

#[test]
fn a_connection_keeps_its_own_record_and_two_of_others_and_the_next_has_a_row() {
    let mut world = World::hibernating(&[]);
    let announced = |world: &mut World, number: u8| {
        let id = world.open(Viewer::default());
        let ticket = peer(number).ticket(world.now);
        world.ask_ticket(id, &ticket, Purpose::Presence);
        id
    };
    let keeper = announced(&mut world, 0);
    bind(&mut world, keeper, peer(0), |_| {});
    for (number, rows) in [(1, 0), (2, 0), (3, 1)] {
        let id = announced(&mut world, number);
        world.drop_client(id);
        world.wait(10_000);
        assert_eq!(world.rows, rows, "after {number}");
        world.hibernate();
        assert_eq!(world.list().len(), usize::from(number) + 1);
    }
}

#[test]
fn who_resumes_after_a_hibernation_gets_what_changed_and_who_missed_a_departure_everything() {
    let mut world = World::hibernating(&[]);
    let [ann, bob, viewer] =
        [world.open(Viewer::default()), world.open(Viewer::default()), world.open(Viewer::default())];
    world.ask_ticket(ann, &peer(1).ticket(0), Purpose::Presence);
    let known = world.clients[&viewer].viewer.position.clone();
    world.wait(1_000);
    world.ask_ticket(bob, &peer(2).ticket(1_000), Purpose::Presence);
    world.drop_client(viewer);
    world.hibernate();
    let resumed = world.open(Viewer { position: known.clone(), ..Viewer::default() });
    assert_eq!(world.clients[&resumed].viewer.live(world.now).len(), 1, "the one of two that is new");
    world.wait(1_000);
    world.ask_ticket(ann, &peer(1).goodbye(2_000), Purpose::Leave);
    world.hibernate();
    let resumed = world.open(Viewer { position: known, ..Viewer::default() });
    let message = &world.clients[&resumed].viewer;
    assert_eq!(message.live(world.now).len(), 1);
    world.assert_all_see_the_list();
}

#[test]
fn no_hibernation_makes_room_for_an_older_ticket_than_one_that_ended_early() {
    let until = |issued_at, ends_at| peer(1).unsigned(issued_at, |payload| payload.expires_at = at(ends_at));
    let older = until(0, 180_000);
    for (has_row, ends) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut world = World::hibernating(&[]);
        let [ann, bob] = [world.open(Viewer::default()), world.open(Viewer::default())];
        if has_row {
            world.bring(&older, Purpose::Presence, "10.1.0.1");
        } else {
            world.ask_ticket(ann, &older, Purpose::Presence);
        }
        world.wait(45_000);
        world.ask_ticket(ann, &until(45_000, 46_000), Purpose::Presence);
        world.wait(1_000);
        // What the oldest connection keeps is written anew, or goes to another one, and the record has ended.
        world.ask_ticket(bob, &peer(2).ticket(46_000), Purpose::Presence);
        if ends {
            world.drop_client(ann);
        }
        for _ in 0..2 {
            world.hibernate();
            let listed: Vec<_> = world.list().into_keys().map(|(peer_id, _)| peer_id).collect();
            assert_eq!(listed, ["peer-002"], "a row {has_row}, ends {ends}");
            assert_eq!(world.bring(&older, Purpose::Presence, "10.9.0.1"), Outcome::Refused("STALE_TICKET"));
        }
        assert_eq!(world.rows(), usize::from(has_row), "what connections keep needs no row");
        world.assert_all_see_the_list();
    }
}

#[test]
fn whoever_had_to_go_for_a_newcomer_is_not_listed_again_when_the_newcomer_has_ended_and_the_object_hibernated() {
    let mut world = World::hibernating(&[]);
    let viewer = world.open(Viewer::default());
    for number in 20..220_u8 {
        let ticket = peer(number).unsigned(0, |payload| payload.expires_at = at(180_000));
        world.bring(&ticket, Purpose::Presence, &format!("10.{}.0.{number}", number / 4));
    }
    world.wait(20_000);
    let rows = world.rows();
    let newcomer = peer(0).unsigned(20_000, |payload| payload.expires_at = at(40_000));
    world.ask_ticket(viewer, &newcomer, Purpose::Presence);
    world.wait(10_000);
    assert_eq!(world.rows(), rows + 1, "the row has who is there now");
    assert_eq!(world.list().len(), 200);
    world.wait(10_000);
    world.hibernate();
    assert_eq!(world.list().len(), 199);
    world.assert_all_see_the_list();
}

#[test]
fn a_bound_connection_is_bound_after_a_hibernation_and_one_that_keeps_nothing_readable_is_closed() {
    let mut world = World::hibernating(&[]);
    let [ann, other, broken] =
        [world.open(Viewer::default()), world.open(Viewer::default()), world.open(Viewer::default())];
    world.ask_ticket(ann, &peer(1).ticket(0), Purpose::Presence);
    bind(&mut world, ann, peer(1), |_| {});
    world.hibernate();
    bind(&mut world, other, peer(1), |_| {});
    assert_eq!(world.closed(ann), Some(CloseCode::Replaced));

    let attachments = world.attachments.as_mut().unwrap();
    attachments.insert(broken, "?".to_owned());
    let connections = Some(attachments.clone().into_iter().collect());
    let found = Found { stored: Ok(None), rescued: None, connections };
    let (object, effects) = CommunityObject::restore(at(1), &world.config, false, found, Secret::from_bytes([8; 16]));
    assert_eq!(effects.notes[0].event, "attachment_unreadable");
    let [push] = &effects.push[..] else { panic!("{:?}", effects.push) };
    assert_eq!((&push.to, &push.what), (&vec![broken], &Pushed::Close(CloseCode::Internal)));
    assert_eq!(object.connections(), 1);
}

#[test]
fn what_goes_between_a_connection_and_its_object_is_pinned_and_read_as_it_is_written() {
    let position = "0a1b2c3d-17".parse().unwrap();
    let claim = Claim {
        public_key: peer(1).key().public_key(),
        peer_id: rendezvous_protocol::ticket::PeerId::new("ann with space").unwrap(),
    };
    let key = claim.public_key;
    let (presence, goodbye) = (peer(1).ticket(0), peer(1).goodbye(0));
    let ticket = |json: &str, purpose| Box::new(VerifiedTicket::trusted(json, purpose).unwrap());
    for (call, text) in [
        (
            LiveCall::Ticket { id: Some("announce-1".to_owned()), ticket: ticket(&presence, Purpose::Presence) },
            format!("Pannounce-1\n{presence}"),
        ),
        (LiveCall::Ticket { id: None, ticket: ticket(&goodbye, Purpose::Leave) }, format!("L\n{goodbye}")),
        (
            LiveCall::Bind { id: None, claim: claim.clone(), since: Some(position) },
            format!("B\n0a1b2c3d-17\n{key}\nann with space"),
        ),
        (LiveCall::Bind { id: None, claim: claim.clone(), since: None }, format!("B\n\n{key}\nann with space")),
        (LiveCall::CatchUp(Some(position)), "C0a1b2c3d-17".to_owned()),
        (LiveCall::CatchUp(None), "C".to_owned()),
        (LiveCall::FrameDue, "D".to_owned()),
        (LiveCall::Reads(true), "R1".to_owned()),
        (LiveCall::Reads(false), "R0".to_owned()),
        (
            LiveCall::Signal(Box::new(SignalCall {
                id: "signal-1".to_owned(),
                from: claim.clone(),
                to: Claim { public_key: peer(2).key().public_key(), ..claim.clone() },
                text: "{\n}".to_owned(),
            })),
            format!("Ssignal-1\n{key}\nann with space\n{}\nann with space\n{{\u{b}}}", peer(2).key().public_key()),
        ),
    ] {
        assert_eq!(call.to_text().as_ref(), Some(&text));
        assert_eq!(LiveCall::parse(&text), Ok(call));
    }
    assert_eq!(LiveCall::Closed.to_text(), None);
    for text in ["", "X", "é", "P", "P\n{}", "B\n\nkey", "C5", "B\n5\nkey\nann", "R", "R2", "R1\n", "C\n", "D1"] {
        assert!(LiveCall::parse(text).is_err(), "{text}");
    }

    let delta = Arc::new(Frame { previous: Some(position), position, more: true, bytes: 2, text: "{}".to_owned() });
    let snapshot = Arc::new(Frame { previous: None, more: false, ..(*delta).clone() });
    for (pushed, text) in [
        (Pushed::Reply("{}".to_owned()), "R{}"),
        (Pushed::Bound(Some("abcdefgh".to_owned())), "Babcdefgh"),
        (Pushed::Bound(None), "B"),
        (Pushed::Signal("{\n}".to_owned()), "S{\u{b}}"),
        (Pushed::Frame(delta), "F0a1b2c3d-17 0a1b2c3d-17 1 2\n{}"),
        (Pushed::CaughtUp(snapshot), "C 0a1b2c3d-17 0 2\n{}"),
        (Pushed::FrameWaits(Duration::from_millis(9_999)), "W9999"),
    ] {
        assert_eq!(pushed.to_text().as_deref(), Some(text));
        let line = text.split('\n').next().unwrap();
        let beside = |frame: &Frame| Arc::new(Frame { text: String::new(), ..frame.clone() });
        let expected = match &pushed {
            Pushed::Frame(frame) => Pushed::Frame(beside(frame)),
            Pushed::CaughtUp(frame) => Pushed::CaughtUp(beside(frame)),
            other => other.clone(),
        };
        assert_eq!(Pushed::parse(line), Ok(expected));
    }
    assert_eq!(Pushed::Close(CloseCode::Again).to_text(), None);
    let frames = ["F", "F  1 2", "F 0a1b2c3d-17 1", "F 0a1b2c3d-17 1 x", "F 0a1b2c3d-17 2 3", "F 0a1b2c3d-17 1 2 3"];
    for line in ["", "X", "W", "W-1"].into_iter().chain(frames) {
        assert!(Pushed::parse(line).is_err(), "{line}");
    }

    let opening = Opening {
        network: Client { address: read_address("192.0.2.1"), autonomous_system: None }.hand_over(),
        since: Some(position),
        is_stream: false,
        watches_guests: false,
    };
    let path = opening.to_path();
    assert_eq!(path, format!("/live?{}&0a1b2c3d-17", opening.network.to_text()));
    let stream = Opening { is_stream: true, ..opening.clone() };
    assert_eq!(stream.to_path(), format!("{path}&stream"));
    let watching = Opening { watches_guests: true, ..opening.clone() };
    assert_eq!(watching.to_path(), format!("{path}&guests"));
    for opening in [opening.clone(), stream, watching, Opening { since: None, is_stream: true, ..opening }] {
        assert_eq!(Opening::parse(&format!("https://community{}", opening.to_path())), Some(Ok(opening)));
    }
    assert!(matches!(Opening::parse(&format!("{path}&other")), Some(Err(_))));
    assert_eq!(Opening::parse("/listing"), None);
    assert!(matches!(Opening::parse("/live?a"), Some(Err(_))));
    let full = LiveFull.answer(at(0)).status;
    assert_eq!([101, full].map(Opening::outcome), [Ok(Ok(())), Ok(Err(LiveFull))]);
    assert_eq!(Opening::outcome(500), Err(ObjectError::Status { status: 500 }));
}

#[test]
fn who_comes_and_goes_is_seen_at_once_and_a_renewal_within_fourteen_seconds() {
    let mut world = World::new(&[]);
    let viewer = world.open(Viewer::default());
    assert_eq!(world.clients[&viewer].viewer.frames, 1, "a snapshot of nobody");
    world.announce(1, 180_000);
    assert_eq!(world.clients[&viewer].viewer.live(0).len(), 1);
    world.wait(1);
    world.leave(1);
    assert_eq!(world.clients[&viewer].viewer.live(1).len(), 0);
    for number in 2..40 {
        world.announce(number, 180_000);
    }
    world.wait(1_000);
    let frames = world.clients[&viewer].viewer.frames;
    assert_eq!(world.clients[&viewer].viewer.live(1_001).len(), 38);
    assert!(frames <= 8, "{frames} frames, where six go at once and the rest together");
    world.wait(45_000);
    let before = world.clients[&viewer].viewer.frames;
    for number in 2..40 {
        world.announce(number, 180_000);
        world.wait(10);
    }
    world.wait(14_000);
    assert!(world.clients[&viewer].viewer.frames <= before + 6);
    world.assert_all_see_the_list();
}

#[test]
fn a_ticket_that_ends_before_an_older_one_does_not_leave_the_older_one_with_whoever_missed_it() {
    for leaves in [false, true] {
        let mut world = World::new(&[]);
        world.announce(1, 180_000);
        let viewer = world.open(Viewer::default());
        world.stall(viewer);
        world.wait(45_000);
        if leaves {
            world.leave(1);
            world.wait(1);
        }
        world.announce(1, 1_000);
        world.wait(1_000);
        world.assert_all_see_the_list();
        assert_eq!(world.clients[&viewer].viewer.live(world.now).len(), 0);
    }
}

#[test]
fn a_position_of_elsewhere_or_of_the_future_gets_a_snapshot_and_a_known_one_a_delta() {
    let mut world = World::new(&[]);
    let id = world.open(Viewer::default());
    world.announce(1, 180_000);
    let viewer = world.drop_client(id).unwrap();
    let known = viewer.position.clone().unwrap();
    let (epoch, number) = sequence(&known);
    world.announce(2, 180_000);
    let first_frame = |world: &mut World, since: &str| {
        let open = world.open_step(&format!("/live?since={since}"), Upgrade::WebSocket);
        world.opened += 1;
        let (outcome, effects) = world.object.open_live(at(world.now), ConnectionId(world.opened), open.opening());
        outcome.unwrap();
        let frame = effects.push.into_iter().find_map(|push| match push.what {
            Pushed::CaughtUp(frame) => Some(frame),
            _ => None,
        });
        serde_json::from_str::<Value>(&frame.unwrap().text).unwrap()
    };
    let delta = first_frame(&mut world, &known);
    assert_eq!((&delta["t"], &delta["previous"]), (&json!("delta"), &json!(known)));
    assert_eq!(delta["put"].as_array().unwrap().len(), 1);
    for since in [format!("{epoch}-{}", number + 1_000_000), format!("0000000f-{number}"), format!("{epoch}-0")] {
        let message = first_frame(&mut world, &since);
        let expected = if since.ends_with("-0") { "delta" } else { "snapshot" };
        assert_eq!(message["t"], expected, "{since}");
    }
    assert!(
        matches!(world.step("/live?since=1", Upgrade::WebSocket), Step::Answer(answer) if answer.body.contains("SINCE_INVALID"))
    );
}

#[test]
fn two_hundred_largest_tickets_come_in_messages_of_at_most_64_kib_and_wait_for_acknowledgements() {
    let mut world = World::new(&[]);
    for number in 0..200_u8 {
        let ticket = peer(number).unsigned(0, |payload| {
            payload.peer_id =
                rendezvous_protocol::ticket::PeerId::new(&format!("{number:03}{}", "p".repeat(125))).unwrap();
            payload.user_id = rendezvous_protocol::ticket::UserId::new(&"\"".repeat(128)).unwrap();
        });
        world.bring(&ticket, Purpose::Presence, &format!("10.{number}.0.1"));
    }
    let id = world.open(Viewer::default());
    let frames = world.clients[&id].viewer.frames;
    assert!(frames >= 2, "{frames}");
    assert_eq!(world.clients[&id].viewer.live(0).len(), 200);
    world.assert_all_see_the_list();
}

#[test]
fn who_never_acknowledges_is_closed_and_is_sent_no_more_than_the_window() {
    let mut world = World::new(&[]);
    let id = world.open(Viewer::default());
    world.clients.get_mut(&id).unwrap().acknowledges = false;
    let mut number = 0_u8;
    while world.clients[&id].connection.next_deadline() > at(world.now + 20_000) {
        world.announce(number % 200, 100_000);
        world.send(id, "ping");
        number = number.wrapping_add(1);
        world.wait(2_000);
        assert!(world.now < 20_000_000);
    }
    assert_eq!(world.closed(id), None);
    let frames = world.clients[&id].viewer.frames;
    for other in 0..8_u8 {
        world.announce(200 + other, 100_000);
        world.send(id, "ping");
        world.wait(1_000);
    }
    assert_eq!(world.clients[&id].viewer.frames, frames, "what it does not read does not queue up");
    world.wait(20_000);
    assert_eq!(world.closed(id), Some(CloseCode::Slow));
}

#[test]
fn a_connection_announces_binds_and_leaves_and_the_answer_comes_before_its_own_frame() {
    let mut world = World::new(&[]);
    let [ann, other] = [world.open(Viewer::default()), world.open(Viewer::default())];
    let before = world.clients[&ann].viewer.frames;
    world.clients.get_mut(&ann).unwrap().acknowledges = false;
    let ticket = peer(1).ticket(0);
    let message = format!("{{\"t\":\"announce\",\"id\":\"announce-1\",\"ticket\":{ticket}}}");
    let client = world.clients.get_mut(&ann).unwrap();
    client.connection.receive(&mut world.edge.checks(), at(0), &message);
    let Some(Output::Verify(verify)) = client.connection.next_output() else { panic!("a signature is verified") };
    assert!(verify.verify_signature());
    client.connection.verified(&mut world.edge.checks(), verify, true);
    let Some(Output::Ask(call)) = client.connection.next_output() else { panic!("the object is asked") };
    let effects = world.object.handle_live(at(0), ann, call, 7);
    let kinds: Vec<_> = effects.push.iter().map(|push| matches!(push.what, Pushed::Reply(_))).collect();
    assert_eq!(kinds, [true, false], "first the answer, then the frame");
    world.carry_out(effects);
    assert_eq!(
        world.last(ann),
        json!({
            "t": "announced", "re": "announce-1", "accepted": true, "listed": true, "bound": false,
            "expiresAt": at(180_000).as_u64(), "announceAfterMs": 144_007,
        })
    );
    assert_eq!(world.clients[&ann].viewer.frames, before + 1);
    assert_eq!(world.clients[&other].viewer.live(0).len(), 1);

    bind(&mut world, ann, peer(1), |_| {});
    assert_eq!(world.last(ann), json!({"t": "bound"}));
    world.send(ann, &message);
    assert_eq!(
        (&world.last(ann)["accepted"], &world.last(ann)["bound"]),
        (&json!(false), &json!(true)),
        "the same ticket"
    );

    // A newer connection of the same claim takes the place of the older one.
    bind(&mut world, other, peer(1), |_| {});
    assert_eq!(world.closed(ann), Some(CloseCode::Replaced));
    world.now = 1;
    world.send(other, &format!("{{\"t\":\"leave\",\"ticket\":{}}}", peer(1).goodbye(1)));
    assert_eq!(world.last(other), json!({"t": "left", "left": true}));
    assert_eq!(world.clients[&other].viewer.live(1).len(), 0);
    world.send(other, &format!("{{\"t\":\"announce\",\"ticket\":{}}}", peer(2).ticket(1)));
    assert_eq!(world.last(other)["code"], "ANOTHER_PEER");
}

#[test]
fn a_ticket_that_is_sent_again_is_to_be_renewed_before_it_ends_as_well() {
    let mut world = World::new(&[]);
    let ann = world.open(Viewer::default());
    let message = format!("{{\"t\":\"announce\",\"ticket\":{}}}", peer(1).ticket(0));
    world.send(ann, &message);
    world.wait(50_000);
    world.send(ann, &message);
    let answer = world.last(ann);
    assert_eq!((&answer["t"], &answer["accepted"]), (&json!("announced"), &json!(false)));
    assert!((99_000..=112_000).contains(&answer["announceAfterMs"].as_u64().unwrap()), "{answer}");
}

/// Writes a binding by this peer, signed with something changed.
fn binding_message(peer: Peer, challenge: &[u8; 16], change: impl FnOnce(&mut Binding)) -> String {
    let mut binding = Binding {
        audience: "http://localhost:8787".to_owned(),
        challenge: *challenge,
        community: "mainnet".parse().unwrap(),
        peer_id: rendezvous_protocol::ticket::PeerId::new(peer.0).unwrap(),
        public_key: peer.key().public_key(),
        signature: [0; 64],
    };
    change(&mut binding);
    let signature = rendezvous_protocol::base64::encode(&peer.key().sign(binding.signed_bytes().as_bytes()));
    let message = json!({
        "t": "bind", "audience": binding.audience, "peerId": binding.peer_id.as_str(),
        "publicKey": binding.public_key.to_string(), "signature": signature,
    });
    message.to_string()
}

/// Sends a binding by this peer, signed with something changed.
pub(crate) fn bind(world: &mut World, id: ConnectionId, peer: Peer, change: impl FnOnce(&mut Binding)) {
    let challenge = world.messages(id)[0]["challenge"].as_str().unwrap().to_owned();
    let challenge = rendezvous_protocol::base64::decode_array(&challenge).unwrap();
    world.send(id, &binding_message(peer, &challenge, change));
}

#[test]
fn a_binding_that_another_beacon_hands_on_or_of_another_connection_or_of_who_is_not_listed_binds_nothing() {
    let mut world = World::new(&[("EXTERNAL_URLS", "https://beacon.example")]);
    world.bring(&peer(1).ticket(0), Purpose::Presence, "10.1.0.1");
    let id = world.open(Viewer::default());
    let mut refused = |change: &dyn Fn(&mut Binding), number: u8, code: &str| {
        bind(&mut world, id, peer(number), |binding| {
            binding.audience = "https://beacon.example".to_owned();
            change(binding);
        });
        assert_eq!(world.last(id)["code"], code);
    };
    refused(&|binding| binding.audience = "http://localhost".to_owned(), 1, "MISDIRECTED_REQUEST");
    refused(&|binding| binding.audience = "https://evil.example".to_owned(), 1, "MISDIRECTED_REQUEST");
    refused(&|binding| binding.audience = "http://beacon.example".to_owned(), 1, "MISDIRECTED_REQUEST");
    refused(&|binding| binding.challenge = [77; 16], 1, "SIGNATURE_INVALID");
    refused(&|binding| binding.community = "testnet".parse().unwrap(), 1, "SIGNATURE_INVALID");
    refused(&|_| {}, 2, "NOT_LISTED");
    let id = world.open(Viewer::default());
    bind(&mut world, id, peer(1), |binding| binding.audience = "https://beacon.example".to_owned());
    assert_eq!(world.last(id), json!({"t": "bound"}));
}

#[test]
fn where_requests_come_by_name_over_tls_that_name_is_the_beacons_unless_others_are_configured() {
    for (variables, url, audience, is_own) in [
        (&[][..], "https://beacon.example/live?community=mainnet", "https://beacon.example", true),
        (&[], "https://beacon.example:8443/live?community=mainnet", "https://beacon.example:8443", true),
        (&[], "https://beacon.example/live?community=mainnet", "https://evil.example", false),
        (&[], "http://beacon.example/live?community=mainnet", "http://beacon.example", false),
        (&[], "http://127.0.0.1:8787/live?community=mainnet", "http://127.0.0.1:8787", true),
        (
            &[("EXTERNAL_URLS", "https://beacon.example")],
            "https://other.example/live?community=mainnet",
            "https://other.example",
            false,
        ),
        (
            &[("EXTERNAL_URLS", "https://beacon.example")],
            "https://other.example/live?community=mainnet",
            "https://beacon.example",
            true,
        ),
    ] {
        let config = config(variables);
        let mut edge = Edge::new(config, Platform::CLOUDFLARE, Secret::from_bytes([1; 16]), 1);
        let host = url.split('/').nth(2).unwrap();
        let head = Head { method: "GET", url, address: read_address("192.0.2.1"), ..Head::default() };
        let Step::ReadHeaders(read) = edge.receive(at(0), &head) else { panic!("{url}") };
        let header = |name: &str| match name {
            "Upgrade" => Some("websocket".to_owned()),
            "Host" => Some(host.to_owned()),
            _ => None,
        };
        let Step::OpenLive(open) = read.resume(&mut edge, at(0), header) else { panic!("{url}") };
        let mut connection = open.admitted(at(0), [7; 16]);
        assert!(matches!(connection.next_output(), Some(Output::Text(hello)) if hello.contains("hello")));
        let message = binding_message(peer(1), &[7; 16], |binding| binding.audience = audience.to_owned());
        connection.receive(&mut edge.checks(), at(0), &message);
        let is_verified = matches!(connection.next_output(), Some(Output::Verify(_)));
        assert_eq!(is_verified, is_own, "{url} for {audience}");
    }
}

#[test]
fn where_viewers_are_off_only_a_bound_peer_sees_who_is_there() {
    let mut world = World::new(&[("LIVE_VIEWERS", "bound")]);
    assert!(matches!(world.step("/live", Upgrade::None), Step::Answer(answer) if answer.status == 403));
    world.bring(&peer(1).ticket(0), Purpose::Presence, "10.1.0.1");
    let [ann, other] = [world.open(Viewer::default()), world.open(Viewer::default())];
    world.announce(2, 180_000);
    world.wait(20_000);
    for id in [ann, other] {
        assert_eq!(world.clients[&id].viewer.frames, 0);
    }
    bind(&mut world, ann, peer(1), |_| {});
    world.announce(3, 180_000);
    world.wait(20_000);
    assert_eq!(world.clients[&ann].viewer.live(40_000).len(), 3);
    assert_eq!(world.clients[&other].viewer.frames, 0);
    world.bring(&peer(1).goodbye(world.now), Purpose::Leave, "10.1.0.1");
    let frames = world.clients[&ann].viewer.frames;
    world.announce(4, 180_000);
    world.wait(20_000);
    assert_eq!(world.clients[&ann].viewer.frames, frames, "who has left is a peer no more");
}

#[test]
fn a_flood_ends_the_connection_and_its_address_is_refused_for_a_minute() {
    let mut world = World::new(&[]);
    let id = world.open(Viewer::default());
    for _ in 0..31 {
        world.send(id, &format!("{{\"t\":\"announce\",\"ticket\":{}}}", peer(1).ticket(0)));
    }
    assert_eq!(world.last(id)["code"], "TOO_FAST");
    assert_eq!(world.closed(id), Some(CloseCode::TooFast));
    let said = world.messages(id).len();
    world.send(id, "ping");
    assert_eq!(world.messages(id).len(), said, "nothing more is read");
    assert!(matches!(world.step("/live", Upgrade::WebSocket), Step::Answer(answer) if answer.status == 429));
    world.now = 60_000;
    world.open(Viewer::default());
}

#[test]
fn three_messages_that_cannot_be_read_end_the_connection() {
    let mut world = World::new(&[]);
    let id = world.open(Viewer::default());
    for message in ["{}", "hello", r#"{"t":"ack","seq":1,"more":1}"#] {
        assert_eq!(world.closed(id), None);
        world.send(id, message);
        assert_eq!(world.last(id)["code"], "MALFORMED");
    }
    assert_eq!(world.closed(id), Some(CloseCode::Malformed));
    let id = {
        world.now = 60_000;
        world.open(Viewer::default())
    };
    world.send(id, &"a".repeat(4_097));
    assert_eq!(world.closed(id), Some(CloseCode::TooLong));
}

#[test]
fn a_connection_from_which_nothing_comes_ends_and_pings_keep_it() {
    let mut world = World::new(&[]);
    let [quiet, alive] = [world.open(Viewer::default()), world.open(Viewer::default())];
    for _ in 0..3 {
        world.wait(50_000);
        world.send(alive, "ping");
        assert_eq!(world.last(alive), json!("pong"));
    }
    assert_eq!((world.closed(quiet), world.closed(alive)), (Some(CloseCode::Again), None));
}

#[test]
fn frames_that_are_used_up_end_the_connection_and_the_next_one_goes_on_where_it_ended() {
    let mut world = World::new(&[("LIVE_FRAMES", "3")]);
    let id = world.open(Viewer::default());
    assert_eq!(world.messages(id)[0]["reconnectAfterFrames"], 3);
    world.announce(1, 180_000);
    world.announce(2, 180_000);
    assert_eq!(world.closed(id), Some(CloseCode::Again));
    world.announce(3, 180_000);
    let mut viewer = world.drop_client(id).unwrap();
    viewer.closed = None;
    let id = world.open(viewer);
    assert_eq!(world.clients[&id].viewer.live(0).len(), 3);
}

#[test]
fn a_household_has_its_part_of_the_connections_and_the_rest_is_refused() {
    let mut world = World::new(&[("LIVE_CONNECTIONS_PER_HOUSEHOLD", "3")]);
    let ids: Vec<_> = (0..3).map(|_| world.open(Viewer::default())).collect();
    assert_eq!(world.try_open(Viewer::default()), Err(LiveFull));
    world.drop_client(ids[1]);
    world.open(Viewer::default());
    assert_eq!(world.object.connections(), 3);
}

#[test]
fn openings_have_a_rate_limit_of_their_own() {
    let mut world = World::new(&[("NETWORK_REQUESTS_PER_MINUTE", "600"), ("ADDRESS_REQUESTS_PER_MINUTE", "150")]);
    for _ in 0..15 {
        assert!(matches!(world.step("/live", Upgrade::WebSocket), Step::OpenLive(_)));
    }
    assert!(matches!(world.step("/live", Upgrade::WebSocket), Step::Answer(answer) if answer.status == 429));
    assert!(matches!(world.step("/peers", Upgrade::None), Step::FetchList(_)), "reading goes on");
}

#[test]
fn another_upgrade_and_another_method_are_refused() {
    let mut world = World::new(&[]);
    let Step::Answer(answer) = world.step("/live", Upgrade::Other) else { panic!() };
    assert_eq!(answer.status, 426);
    assert!(answer.headers.contains(&("Sec-WebSocket-Version", "13".to_owned())));
    let post = Head { method: "POST", url: "/live", ..Head::default() };
    assert!(matches!(world.edge.receive(at(0), &post), Step::Answer(answer) if answer.status == 405));
}

#[test]
fn where_headers_are_not_described_the_host_is_asked_for_them() {
    let config = config(&[("ORIGINS", "https://a.example")]);
    let mut edge = Edge::new(config, Platform::CLOUDFLARE, Secret::from_bytes([1; 16]), 1);
    let mut open = |headers: &[(&str, &str)]| {
        let get = Head { method: "GET", url: "/live?community=mainnet", ..Head::default() };
        let Step::ReadHeaders(read) = edge.receive(at(0), &get) else { panic!("headers are read") };
        read.resume(&mut edge, at(0), |name| {
            headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let Step::OpenLive(socket) = open(&[("Upgrade", "WebSocket")]) else { panic!("a socket") };
    assert!(socket.is_socket() && socket.opening().since.is_none());
    let Step::OpenLive(stream) = open(&[("Last-Event-ID", "0000000f-5")]) else { panic!("an event stream") };
    assert!(!stream.is_socket() && stream.opening().since.is_some());
    assert!(matches!(open(&[("Upgrade", "h2c")]), Step::Answer(answer) if answer.status == 426));
}

#[test]
fn an_event_stream_begins_after_the_last_event_and_ends_after_ten_minutes() {
    let mut world = World::new(&[]);
    world.announce(1, 180_000);
    let head = |last_event_id| Head {
        method: "GET",
        url: "/live?since=00000000-1",
        address: read_address("192.0.2.1"),
        last_event_id,
        ..Head::default()
    };
    let Step::OpenLive(open) = world.edge.receive(at(0), &head(Some("0000000f-5"))) else { panic!() };
    assert!(!open.is_socket());
    assert_eq!(open.opening().since.unwrap().to_string(), "0000000f-5");
    let mut connection = open.admitted(at(0), [0; 16]);
    let Some(Output::Text(hello)) = connection.next_output() else { panic!() };
    assert!(!hello.contains("challenge") && !hello.contains("ackBytes"));
    let mut pings = 0;
    loop {
        let deadline = connection.next_deadline();
        connection.handle_timeout(deadline);
        match connection.next_output() {
            Some(Output::StreamPing) => pings += 1,
            Some(Output::Close(code)) => {
                assert_eq!((code, deadline, pings), (CloseCode::Again, at(600_000), 23));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}
