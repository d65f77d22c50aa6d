//! An event loop: one thread with connections, and with the communities that it owns.
//!
//! A request is served by the loop of its connection. The call of an object goes to the loop that owns the community:
//! as a function call where that is the same one, else as a message. So an object is never shared, and no lock is taken
//! but that of one of several edges.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::secret::Secret;
use rendezvous_service::admin::Refusals;
use rendezvous_service::answer::Answer;
use rendezvous_service::bodies::ArrivingBodies;
use rendezvous_service::call::{Call, ObjectError};
use rendezvous_service::config::Config;
use rendezvous_service::edge::Edge;
use rendezvous_service::goop2::RoomCall;
use rendezvous_service::hivemind::HivemindDoor;
use rendezvous_service::live::ConnectionId;
use rendezvous_service::mailbox::{ListenCall, News, UnreadAnswers};
use rendezvous_service::own_names::OwnNames;
use rendezvous_service::platform::{AddressSource, Platform};
use rendezvous_service::templates::Catalogue;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;

use crate::admission::{Admission, Admitted};
use crate::clock::Moment;
use crate::communities::Communities;
use crate::connections::Connections;
use crate::directory::HubHandle;
use crate::envelopes::Envelopes;
use crate::goop2::{GuestMail, Rooms};
use crate::journal;
use crate::live::{LiveMail, LiveTasks};
use crate::mailboxes::{Asked, Batch, MailCall, MailName, Mailboxes, Replication};
use crate::measurements::{LoopFigures, Measurements};
use crate::registration::RegistrationHandle;
use crate::settings::NativeDoors;

/// What a loop is sent.
pub(crate) enum Mail {
    /// A connection to serve.
    Connection { stream: TcpStream, client: IpAddr, admitted: Admitted },
    /// A call of an object that the loop owns.
    Call { object: String, call: Call, answer: oneshot::Sender<Answer> },
    /// A call of an object of mailboxes that the loop owns.
    AskMailbox { call: MailCall, asked: Asked },
    /// What a peer is pushed next of an object that the loop owns is wanted.
    TakeBatch { object: MailName, peer: usize, asked: oneshot::Sender<Result<Batch, ()>> },
    /// A peer has what these entries are of, or does not want it.
    Settle { object: MailName, peer: usize, entries: Vec<u64> },
    /// A connection that listens at an object of mailboxes that the loop owns.
    Listen { id: ConnectionId, call: ListenCall, news: mpsc::Sender<News> },
    /// One that does so no more.
    StopListening { object: MailName, id: ConnectionId },
    /// Something of a connection of `GET /live`, for an object that the loop owns.
    Live { object: String, id: ConnectionId, mail: LiveMail },
    /// Something for a room that the loop owns.
    Guest { community: String, mail: GuestMail },
    /// What the loop has counted is wanted.
    Figures(oneshot::Sender<LoopFigures>),
    /// Connections are to end when their requests are answered. Said back when all have.
    Drain(oneshot::Sender<()>),
    /// Whatever is not written is to be ordered to be, and the loop to end.
    End,
}

/// What is there only where the operator has opened it.
#[derive(Default)]
pub(crate) struct Doors {
    pub(crate) opened: NativeDoors,
    /// The hub of the directory.
    pub(crate) hub: Option<HubHandle>,
    /// What pushes to peers.
    pub(crate) replication: Option<Replication>,
    /// Who has another fleet's envelopes.
    pub(crate) envelopes: Option<Envelopes>,
    /// Who remembers registrations.
    pub(crate) registration: Option<RegistrationHandle>,
    /// What is known of the door for hivemind-rendezvous' users.
    pub(crate) hivemind: Option<Arc<HivemindDoor>>,
    /// What is offered for download.
    pub(crate) templates: Option<Arc<Catalogue>>,
}

/// What all loops share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) doors: Doors,
    pub(crate) platform: Platform,
    pub(crate) names: OwnNames,
    /// Each counts some of the clients, whatever loop serves them.
    edges: Box<[Mutex<Edge>]>,
    /// Of all edges.
    secret: Secret,
    /// Answers about mailboxes that wait for their clients, whatever loop serves them.
    pub(crate) unread: UnreadAnswers,
    /// Bodies of which something is still to come, whatever loop reads them.
    pub(crate) bodies: ArrivingBodies,
    loops: Box<[UnboundedSender<Mail>]>,
    owners: RandomState,
    pub(crate) admission: Arc<Admission>,
}

impl Shared {
    /// Makes what loops that have these mailboxes share.
    pub(crate) fn new(
        config: Arc<Config>,
        doors: Doors,
        names: OwnNames,
        edges: usize,
        secret: Secret,
        loops: Box<[UnboundedSender<Mail>]>,
        most_connections: usize,
    ) -> Self {
        let platform = Platform::of_program(u32::try_from(edges).unwrap_or(u32::MAX));
        let edges = (0..edges).map(|_| Mutex::new(new_edge(&config, &doors, platform, secret))).collect();
        let admission = Admission::new(most_connections, platform.address_source(&config) == AddressSource::Connection);
        let (unread, bodies) = (UnreadAnswers::new(secret), ArrivingBodies::new(&platform, secret));
        let owners = RandomState::new();
        Self { config, doors, platform, names, edges, secret, unread, bodies, loops, owners, admission }
    }

    /// Returns how many loops there are.
    pub(crate) fn loops(&self) -> usize {
        self.loops.len()
    }

    /// Returns the index of the loop that owns an object.
    pub(crate) fn owner(&self, object: &str) -> usize {
        let loops = self.loops.len().max(1) as u64;
        usize::try_from(self.owners.hash_one(object) % loops).unwrap_or_default()
    }

    /// Returns the index of the edge that counts a client.
    pub(crate) fn edge_of(&self, address: Option<IpAddr>) -> usize {
        if self.edges.len() < 2 {
            return 0;
        }
        Client { address, autonomous_system: None }.rate_path(&self.secret).shard(self.edges.len())
    }

    /// Lets an edge do something.
    pub(crate) fn with_edge<T>(&self, index: usize, work: impl FnOnce(&mut Edge) -> T) -> Option<T> {
        let make = || new_edge(&self.config, &self.doors, self.platform, self.secret);
        Some(with_edge(self.edges.get(index)?, make, work))
    }

    /// Lets the edge of [`Shared::operator_edge`] do something.
    pub(crate) fn with_operator_edge<T>(&self, edge: &Mutex<Edge>, work: impl FnOnce(&mut Edge) -> T) -> T {
        with_edge(edge, || self.operator_edge(), work)
    }

    /// Calls an object where it is.
    pub(crate) async fn call(&self, object: String, call: Call) -> Result<Answer, ObjectError> {
        let ended = || ObjectError::Runtime("the event loop of the community has ended".to_owned());
        let owner = self.owner(&object);
        let (sender, answer) = oneshot::channel();
        if !self.send(owner, Mail::Call { object, call, answer: sender }) {
            return Err(ended());
        }
        answer.await.map_err(|_| ended())
    }

    /// Takes what all edges have counted of refusals.
    pub(crate) fn take_refusals(&self) -> Vec<Refusals> {
        (0..self.edges.len()).filter_map(|index| self.with_edge(index, Edge::take_refusals)).collect()
    }

    /// Makes an edge that is not one of those that clients are shared out among.
    pub(crate) fn operator_edge(&self) -> Edge {
        new_edge(&self.config, &Doors::default(), self.platform.for_operator(), self.secret)
    }

    /// Sends the loop that owns an object something. One that has ended lets go of it.
    pub(crate) fn send_to_owner(&self, object: MailName, mail: Mail) {
        self.send(self.owner(&object.to_string()), mail);
    }

    fn send(&self, index: usize, mail: Mail) -> bool {
        self.loops.get(index).is_some_and(|mailbox| mailbox.send(mail).is_ok())
    }

    /// Sends every loop something.
    pub(crate) fn broadcast(&self, mail: impl Fn() -> Mail) {
        for mailbox in &self.loops {
            // One that has ended has nothing to do any more.
            let _ = mailbox.send(mail());
        }
    }

    /// Asks every loop for something, and waits for those that answer.
    pub(crate) async fn ask_all<T>(&self, mail: impl Fn(oneshot::Sender<T>) -> Mail) -> Vec<T> {
        let mut answers = Vec::new();
        for mailbox in &self.loops {
            let (sender, answer) = oneshot::channel();
            if mailbox.send(mail(sender)).is_ok() {
                answers.push(answer);
            }
        }
        let mut all = Vec::new();
        for answer in answers {
            all.extend(answer.await.ok());
        }
        all
    }

    /// Hands a connection to a loop.
    pub(crate) fn hand_over(&self, index: usize, mail: Mail) {
        self.send(index % self.loops.len().max(1), mail);
    }
}

/// Lets an edge do something. One in which code has panicked may be in any state, and is replaced.
fn with_edge<T>(edge: &Mutex<Edge>, make: impl FnOnce() -> Edge, work: impl FnOnce(&mut Edge) -> T) -> T {
    let mut locked = edge.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
        let mut locked = poisoned.into_inner();
        *locked = make();
        edge.clear_poison();
        locked
    });
    let (done, notes) = (work(&mut locked), locked.take_notes());
    drop(locked);
    journal::write(notes);
    done
}

fn new_edge(config: &Config, doors: &Doors, platform: Platform, secret: Secret) -> Edge {
    let mut edge = Edge::new(config.clone(), platform, secret, fastrand::u64(..)).with_turn().with_documents();
    if let Some(door) = &doors.opened.goop2 {
        edge = edge.with_goop2(door.clone());
    }
    if let Some(door) = &doors.opened.retalk {
        edge = edge.with_retalk(door.clone());
    }
    if let Some(peers) = &doors.opened.peers {
        edge = edge.with_replication(Arc::clone(peers));
    }
    if let Some(door) = &doors.opened.envelopes {
        edge = edge.with_envelopes(Arc::clone(door));
    }
    if let Some(door) = &doors.hivemind {
        edge = edge.with_hivemind(Arc::clone(door));
    }
    if let Some(catalogue) = &doors.templates {
        edge = edge.with_templates(Arc::clone(catalogue));
    }
    if doors.hub.is_some() {
        edge = edge.with_directory();
    }
    if let Some(door) = &doors.opened.registration {
        edge = edge.with_registration(Arc::clone(door));
    }
    edge
}

/// A list that is on its way, and who waits for it.
type Waiting = Vec<oneshot::Sender<Rc<Result<String, ObjectError>>>>;

/// What the tasks of one loop share.
pub(crate) struct EventLoop {
    pub(crate) shared: Arc<Shared>,
    index: usize,
    pub(crate) communities: RefCell<Communities>,
    pub(crate) mailboxes: RefCell<Mailboxes>,
    pub(crate) connections: Connections,
    pub(crate) live: LiveTasks,
    rooms: RefCell<Rooms>,
    pub(crate) measurements: RefCell<Measurements>,
    lists: RefCell<HashMap<String, Waiting>>,
}

impl EventLoop {
    /// Makes the loop that owns these communities and mailboxes.
    pub(crate) fn new(shared: Arc<Shared>, index: usize, communities: Communities, mailboxes: Mailboxes) -> Self {
        Self {
            shared,
            index,
            communities: RefCell::new(communities),
            mailboxes: RefCell::new(mailboxes),
            connections: Connections::default(),
            live: LiveTasks::default(),
            rooms: RefCell::default(),
            measurements: RefCell::default(),
            lists: RefCell::default(),
        }
    }

    /// Returns what the loop has counted.
    pub(crate) fn figures(&self) -> LoopFigures {
        let communities = self.communities.borrow();
        LoopFigures {
            measurements: self.measurements.borrow().clone(),
            counts: communities.counts(),
            live_connections: self.live.open(),
            pushes: self.mailboxes.borrow().push_counts(),
            hivemind: self.mailboxes.borrow().hivemind_figures(),
            live: communities.live().map(|(name, live)| (name.to_owned(), live)).collect(),
        }
    }

    /// Calls an object, here or where it is.
    pub(crate) async fn call(&self, object: String, call: Call) -> Result<Answer, ObjectError> {
        let owner = self.shared.owner(&object);
        if owner == self.index {
            return Ok(self.communities.borrow_mut().call(Moment::now(), &object, call));
        }
        self.shared.call(object, call).await
    }

    /// Calls an object of mailboxes, here or where it is, and waits until what it says is on disk.
    pub(crate) async fn ask_mailbox(&self, call: MailCall) -> Result<Answer, ObjectError> {
        let owner = self.shared.owner(&call.object().to_string());
        let (asked, answer) = oneshot::channel();
        if owner == self.index {
            self.mailboxes.borrow_mut().call(Moment::now(), call, asked);
        } else {
            // A loop that has ended lets go of who asks.
            self.shared.send(owner, Mail::AskMailbox { call, asked });
        }
        let ended = |_| "the event loop of the mailbox, or the thread that writes, has ended".to_owned();
        answer.await.map_err(ended).flatten().map_err(ObjectError::Runtime)
    }

    /// Tells an object of mailboxes of a connection, here or where it is.
    pub(crate) fn listen(&self, id: ConnectionId, call: ListenCall, news: mpsc::Sender<News>) {
        let owner = self.shared.owner(&MailName::Own(call.object()).to_string());
        if owner == self.index {
            self.mailboxes.borrow_mut().listen(Moment::now(), id, &call, news);
        } else {
            // A loop that has ended lets go of the connection.
            self.shared.send(owner, Mail::Listen { id, call, news });
        }
    }

    /// Tells an object of mailboxes that a connection has ended, here or where it is.
    pub(crate) fn stop_listening(&self, object: MailName, id: ConnectionId) {
        let owner = self.shared.owner(&object.to_string());
        if owner == self.index {
            self.mailboxes.borrow_mut().stop_listening(object, id);
        } else {
            self.shared.send(owner, Mail::StopListening { object, id });
        }
    }

    /// Returns which of all loops this is.
    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    /// Tells an object something of a connection, here or where it is.
    pub(crate) fn send_live(&self, object: &str, id: ConnectionId, mail: LiveMail) {
        let owner = self.shared.owner(object);
        if owner == self.index {
            self.communities.borrow_mut().take_live(Moment::now(), object, id, mail);
        } else {
            // A loop that has ended has no connections any more.
            self.shared.send(owner, Mail::Live { object: object.to_owned(), id, mail });
        }
    }

    /// Tells a room something, here or where it is.
    pub(crate) fn send_guest(&self, community: &str, mail: GuestMail) {
        let owner = self.shared.owner(community);
        if owner == self.index {
            self.take_guest(Moment::now(), community, mail);
        } else {
            // A loop that has ended has no rooms any more.
            self.shared.send(owner, Mail::Guest { community: community.to_owned(), mail });
        }
    }

    /// Takes what a room is told that the loop owns.
    pub(crate) fn take_guest(&self, now: Moment, community: &str, mail: GuestMail) {
        let is_listed = |key: &PublicKey| self.communities.borrow().lists(now.unix, community, key);
        self.rooms.borrow_mut().take(now.unix, community, mail, is_listed);
    }

    /// Asks a room, here or where it is.
    pub(crate) async fn ask_room(&self, community: &str, call: RoomCall) -> Result<Answer, ObjectError> {
        let (answer, answered) = oneshot::channel();
        self.send_guest(community, GuestMail::Ask { call, answer });
        answered.await.map_err(|_| ObjectError::Runtime("the room of the community's guests has ended".to_owned()))
    }

    /// Does what is due in the rooms that the loop owns.
    pub(crate) fn handle_guests(&self, now: Moment) {
        let is_listed = |name: &str, key: &PublicKey| self.communities.borrow().lists(now.unix, name, key);
        self.rooms.borrow_mut().handle_deadlines(now.unix, is_listed);
    }

    /// Fetches an object's list, or waits for one that is on its way to another request.
    pub(crate) async fn fetch_list(
        self: &Rc<Self>,
        object: String,
        patience: Duration,
        left: Duration,
    ) -> Rc<Result<String, ObjectError>> {
        let asked = Instant::now();
        if patience.is_zero() || self.shared.owner(&object) == self.index {
            return Rc::new(self.list(object, left).await);
        }
        let (sender, list) = oneshot::channel();
        let is_first = {
            let mut lists = self.lists.borrow_mut();
            let waiting = lists.entry(object.clone()).or_default();
            waiting.push(sender);
            waiting.len() == 1
        };
        if is_first {
            // A reader who goes away does not take along what others wait for.
            let (this, object) = (Rc::clone(self), object.clone());
            tokio::task::spawn_local(async move {
                let list = Rc::new(this.list(object.clone(), left).await);
                for waiting in this.lists.borrow_mut().remove(&object).into_iter().flatten() {
                    let _ = waiting.send(Rc::clone(&list));
                }
            });
        }
        match tokio::time::timeout(patience, list).await {
            Ok(Ok(list)) => list,
            Ok(Err(_)) | Err(_) => Rc::new(self.list(object, left.saturating_sub(asked.elapsed())).await),
        }
    }

    async fn list(&self, object: String, left: Duration) -> Result<String, ObjectError> {
        in_time(left, self.call(object, Call::List)).await.and_then(text_of)
    }
}

/// Waits for an object's answer for as long as its request may.
pub(crate) async fn in_time<T>(
    left: Duration,
    answer: impl Future<Output = Result<T, ObjectError>>,
) -> Result<T, ObjectError> {
    tokio::time::timeout(left, answer).await.unwrap_or(Err(ObjectError::TimedOut))
}

/// Returns the text of a list.
pub(crate) fn text_of(answer: Answer) -> Result<String, ObjectError> {
    if answer.status == 200 { Ok(answer.body) } else { Err(ObjectError::Status { status: answer.status }) }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn who_asks_an_object_that_does_not_answer_waits_for_as_long_as_it_may() {
        let config = Arc::new(Config::parse(|_| None).unwrap());
        let names = OwnNames::new(&config, Ipv4Addr::LOCALHOST.into());
        // A loop that takes what it is sent, and does nothing with it.
        let (sender, mut taken) = mpsc::unbounded_channel();
        let secret = Secret::from_bytes([7; 16]);
        let shared = Shared::new(config, Doors::default(), names, 1, secret, [sender].into(), 16);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asked = in_time(Duration::from_millis(20), shared.call("mainnet".to_owned(), Call::List));
        assert_eq!(runtime.block_on(asked), Err(ObjectError::TimedOut));
        let Ok(Mail::Call { object, answer, .. }) = taken.try_recv() else { panic!("the loop was asked nothing") };
        assert_eq!((object.as_str(), answer.is_closed()), ("mainnet", true));
    }
}
