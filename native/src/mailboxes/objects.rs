//! The mailboxes of one event loop: their objects in memory, and what is due when.
//!
//! An object's answer waits until everything before it is on disk. Until then memory is ahead of the disk, and what is
//! handed over may be in an order that is still under way. If a change cannot be written, or an object panics, memory has
//! what the disk has not, or is broken: such an object answers nothing more, and when nothing of it is under way any more it
//! is made anew from the disk.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::secret::Secret;
use rendezvous_service::answer::Answer;
use rendezvous_service::config::Config;
use rendezvous_service::hivemind::HivemindFigures;
use rendezvous_service::live::ConnectionId;
use rendezvous_service::mailbox::{
    BatchText, Effects, ListenCall, News, NewsPush, ObjectAnswer, ObjectName, Peers, Write,
};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;

use crate::clock::Moment;
use crate::journal;
use crate::mailboxes::object::{MailCall, MailName, MailObject};
use crate::mailboxes::replication::Batch;
use crate::mailboxes::storage::{Committed, MailOrder, MailReader};

/// Objects in the memory of a process. One with 512 messages and 288 slots takes about 400 kB, most take a few.
const MOST_IN_MEMORY: usize = 2_048;

/// An object that was not called for so long is dropped from memory.
const IDLE: Duration = Duration::from_secs(300);

/// Alarms are not stored. After a start every object has one, spread over this time, so that not all are read at once.
const FIRST_ALARMS: Duration = Duration::from_secs(3_600);

/// Who waits for an answer, or for why there is none.
pub(crate) type Asked = oneshot::Sender<Result<Answer, String>>;

/// Holds the mailboxes that one event loop owns.
pub(crate) struct Mailboxes {
    config: Arc<Config>,
    reader: MailReader,
    orders: Sender<MailOrder>,
    committed: UnboundedSender<Committed>,
    most_in_memory: usize,
    slots: HashMap<MailName, Slot>,
    in_memory: usize,
    deadlines: BTreeSet<(Instant, Due, MailName)>,
    /// Absent where there are none.
    peers: Option<Arc<Peers>>,
    /// What waits to be pushed, of mailboxes of which anything does.
    pushes: HashMap<MailName, usize>,
    /// What is to be told to the threads of peers.
    fresh: Vec<(Address, usize)>,
    ended: u64,
    hivemind: HivemindFigures,
    /// Of the object that was last made.
    life: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Alarm,
    /// A look at whether the object may be dropped from memory.
    Idle,
}

#[derive(Default)]
struct Slot {
    present: Option<Present>,
    alarm_at: Option<Instant>,
}

/// An object in memory.
struct Present {
    object: MailObject,
    life: u64,
    called_at: Instant,
    look_at: Instant,
    /// What is not known to be on disk yet, the oldest first.
    under_way: VecDeque<Arc<[Write]>>,
    is_broken: bool,
    /// Where what there is for each connection goes.
    listeners: HashMap<ConnectionId, mpsc::Sender<News>>,
}

impl Present {
    /// Returns whether a new object, made from what is on disk, would be this one.
    fn is_settled(&self) -> bool {
        self.under_way.is_empty() && self.listeners.is_empty() && self.object.is_settled()
    }

    /// Returns the body of a message that is still under way.
    fn body_under_way(&self, number: u64) -> Option<&str> {
        let mut writes = self.under_way.iter().rev().flat_map(|writes| writes.iter());
        writes.find_map(|write| match write {
            Write::PutMessage { number: found, body, .. } if *found == number => Some(body.as_str()),
            _ => None,
        })
    }
}

impl Mailboxes {
    /// Makes the mailboxes of one of `loops` event loops. `stored` are the objects of which there is something on disk.
    pub(crate) fn new(
        config: Arc<Config>,
        reader: MailReader,
        orders: Sender<MailOrder>,
        committed: UnboundedSender<Committed>,
        loops: usize,
        stored: Vec<MailName>,
    ) -> Self {
        let mut mailboxes = Self {
            config,
            reader,
            orders,
            committed,
            most_in_memory: (MOST_IN_MEMORY / loops.max(1)).max(1),
            slots: HashMap::new(),
            in_memory: 0,
            deadlines: BTreeSet::new(),
            peers: None,
            pushes: HashMap::new(),
            fresh: Vec::new(),
            ended: 0,
            hivemind: HivemindFigures::default(),
            life: 0,
        };
        let step = FIRST_ALARMS / u32::try_from(stored.len()).unwrap_or(u32::MAX).max(1);
        let mut at = Instant::now();
        for name in stored {
            at += step;
            mailboxes.set_alarm(name, at);
        }
        mailboxes
    }

    /// Lets objects keep what authors bring until these peers have it. `waiting` are the objects of which something is left
    /// to be pushed, and how much.
    pub(crate) fn replicate_to(&mut self, peers: Arc<Peers>, waiting: Vec<(MailName, usize)>) {
        for (name, _) in &waiting {
            if let MailName::Own(ObjectName::Mailbox(mailbox)) = name {
                self.fresh.extend((0..peers.len()).map(|peer| (*mailbox, peer)));
            }
        }
        self.pushes = waiting.into_iter().collect();
        self.peers = Some(peers);
    }

    /// Returns the mailboxes of which something is to be pushed since this was last called, each with a peer.
    pub(crate) fn take_fresh(&mut self) -> Vec<(Address, usize)> {
        std::mem::take(&mut self.fresh)
    }

    /// Counts what waits to be pushed, and what has ended unpushed.
    pub(crate) fn push_counts(&self) -> (usize, u64) {
        (self.pushes.values().sum(), self.ended)
    }

    /// Counts what became of messages of hivemind-rendezvous' users.
    pub(crate) const fn hivemind_figures(&self) -> HivemindFigures {
        self.hivemind
    }

    /// Returns what a peer is pushed next. Why an object cannot say is in the log.
    pub(crate) fn batch(&mut self, now: Moment, name: MailName, peer: usize) -> Result<Batch, ()> {
        let read = self.with_object(now, name, |object| object.batch(peer)).and_then(|batch| {
            let text = |what: BatchText| match what {
                BatchText::Ready(text) => Ok(text),
                BatchText::Message { number, rest } => {
                    self.body(name, number).map(|body| ["{", &body, &rest, "}"].concat())
                }
            };
            let (entries, texts): (Vec<_>, Vec<_>) = batch.into_iter().map(|item| (item.entry, item.what)).unzip();
            Ok((entries, texts.into_iter().map(text).collect::<Result<_, _>>()?))
        });
        self.forget_if_unstored(name);
        read.map_err(|cause| journal::failure("push_failed", &cause))
    }

    /// Takes that a peer has what these entries are of, or does not want it.
    pub(crate) fn settle(&mut self, now: Moment, name: MailName, peer: usize, entries: &[u64]) {
        match self.with_object(now, name, |object| object.settle(now.unix, peer, entries)) {
            Ok(effects) => self.carry_out(now, name, effects, None),
            // The peer is pushed the same again.
            Err(cause) => journal::failure("push_failed", &cause),
        }
    }

    /// Calls an object, which is restored if it is not in memory. `asked` is told when what it says is on disk.
    pub(crate) fn call(&mut self, now: Moment, call: MailCall, asked: Asked) {
        let name = call.object();
        match self.with_object(now, name, |object| object.handle(now.unix, call)).flatten() {
            Ok((answer, effects)) => {
                if let Some(present) = self.present(name) {
                    present.called_at = now.instant;
                    let figures = present.object.take_hivemind_figures();
                    self.hivemind.add(figures);
                }
                match self.join(name, answer) {
                    Ok(answer) => self.carry_out(now, name, effects, Some((answer, asked))),
                    Err(cause) => {
                        // Handing over may be deleting: nothing of the call is carried out.
                        self.break_object(name);
                        let _ = asked.send(Err(cause));
                    }
                }
            }
            Err(cause) => drop(asked.send(Err(cause))),
        }
    }

    /// Tells an object of a connection. What there is for that goes into `sender`, which is let go of at its end.
    pub(crate) fn listen(&mut self, now: Moment, id: ConnectionId, call: &ListenCall, sender: mpsc::Sender<News>) {
        let name = MailName::Own(call.object());
        match self.with_object(now, name, |object| object.listen(now.unix, id, call)) {
            Ok(effects) => {
                if let Some(present) = self.present(name) {
                    present.called_at = now.instant;
                    present.listeners.insert(id, sender);
                }
                self.carry_out(now, name, effects, None);
            }
            Err(cause) => journal::failure("request_failed", &cause),
        }
    }

    /// Takes that a connection has ended.
    pub(crate) fn stop_listening(&mut self, name: MailName, id: ConnectionId) {
        if let Some(present) = self.present(name) {
            present.object.stop_listening(id);
            present.listeners.remove(&id);
        }
    }

    /// Does what is due.
    pub(crate) fn handle_deadlines(&mut self, now: Moment) {
        while let Some((at, ..)) = self.deadlines.first()
            && *at <= now.instant
            && let Some((_, due, name)) = self.deadlines.pop_first()
        {
            match due {
                Due::Alarm => self.alarm(now, name),
                Due::Idle => self.idle(now, name),
            }
        }
    }

    /// Takes what became of the oldest order of an object that is under way.
    pub(crate) fn committed(&mut self, Committed { object: name, life, outcome }: Committed) {
        let Some(present) = self.present(name).filter(|present| present.life == life) else { return };
        present.under_way.pop_front();
        if let Err(cause) = outcome
            && !std::mem::replace(&mut present.is_broken, true)
        {
            journal::failure("mail_not_written", &cause);
        }
        if present.under_way.is_empty() && (present.is_broken || !present.object.is_stored()) {
            self.drop_object(name);
        }
    }

    fn present(&mut self, name: MailName) -> Option<&mut Present> {
        self.slots.get_mut(&name)?.present.as_mut()
    }

    /// Lets an object do something, and restores it before that if it is not in memory.
    fn with_object<T>(
        &mut self,
        now: Moment,
        name: MailName,
        work: impl FnOnce(&mut MailObject) -> T,
    ) -> Result<T, String> {
        if self.present(name).is_none() {
            self.restore(now, name)?;
        }
        let present = self.present(name).filter(|present| !present.is_broken);
        let present = present.ok_or("the mailbox is being made anew after a failure")?;
        let object = &mut present.object;
        let done = catch_unwind(AssertUnwindSafe(|| work(object)));
        if done.is_err() {
            self.break_object(name);
        }
        done.map_err(|_| "the object of a mailbox has panicked, and starts anew".to_owned())
    }

    /// Lets an object answer nothing more: it is made anew from the disk once nothing of it is under way.
    fn break_object(&mut self, name: MailName) {
        let Some(present) = self.present(name) else { return };
        present.is_broken = true;
        if present.under_way.is_empty() {
            self.drop_object(name);
        }
    }

    fn restore(&mut self, now: Moment, name: MailName) -> Result<(), String> {
        if self.in_memory >= self.most_in_memory {
            self.make_room();
        }
        let found = self.reader.read(name)?;
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|error| format!("no randomness: {error}"))?;
        let secret = Secret::from_bytes(secret);
        let restored =
            catch_unwind(AssertUnwindSafe(|| MailObject::restore(now.unix, &self.config, name, found, secret)));
        let restored = restored.map_err(|_| "the object of a mailbox could not be restored".to_owned())?;
        let Some((mut object, effects)) = restored.map_err(|error| error.to_string())? else { return Ok(()) };
        let more = match &self.peers {
            Some(peers) => object.replicate_to(now.unix, Arc::clone(peers)).map_err(|error| error.to_string())?,
            None => Effects::default(),
        };
        self.life += 1;
        let look_at = now.instant + IDLE;
        let present = Present {
            object,
            life: self.life,
            called_at: now.instant,
            look_at,
            under_way: VecDeque::new(),
            is_broken: false,
            listeners: HashMap::new(),
        };
        self.slots.entry(name).or_default().present = Some(present);
        self.in_memory += 1;
        self.deadlines.insert((look_at, Due::Idle, name));
        for effects in [effects, more] {
            if effects != Effects::default() {
                self.carry_out(now, name, effects, None);
            }
        }
        self.note_pushes(name);
        Ok(())
    }

    /// Puts the messages that are handed over into an answer.
    fn join(&self, name: MailName, answer: ObjectAnswer) -> Result<Answer, String> {
        answer.join(|number| self.body(name, number))
    }

    /// Returns the body of a message, which may be under way.
    fn body(&self, name: MailName, number: u64) -> Result<String, String> {
        let present = self.slots.get(&name).and_then(|slot| slot.present.as_ref());
        match present.and_then(|present| present.body_under_way(number)) {
            Some(body) => Ok(body.to_owned()),
            None => self.reader.body(name, number),
        }
    }

    /// Lets go of an object that was only asked, and of which there is nothing.
    fn forget_if_unstored(&mut self, name: MailName) {
        let is_nothing =
            self.present(name).is_some_and(|present| present.under_way.is_empty() && !present.object.is_stored());
        if is_nothing {
            self.drop_object(name);
        }
    }

    /// Takes note of what an object has to push.
    fn note_pushes(&mut self, name: MailName) {
        let MailName::Own(ObjectName::Mailbox(mailbox)) = name else { return };
        if self.peers.is_none() {
            return;
        }
        let Some(Present { object: MailObject::Own(object), .. }) =
            self.slots.get_mut(&name).and_then(|slot| slot.present.as_mut())
        else {
            return;
        };
        self.fresh.extend(object.take_fresh().into_iter().map(|peer| (mailbox, peer)));
        self.ended += object.take_ended();
        match object.waiting() {
            0 => drop(self.pushes.remove(&name)),
            waiting => drop(self.pushes.insert(name, waiting)),
        }
    }

    /// Orders what is to be written, and sees to it that an answer goes out when that, and all before it, is on disk.
    fn carry_out(&mut self, now: Moment, name: MailName, effects: Effects, answer: Option<(Answer, Asked)>) {
        let Effects { writes, wake_at, push } = effects;
        self.push(name, push);
        self.note_pushes(name);
        if let Some(at) = wake_at {
            self.set_alarm(name, now.instant + at.since(now.unix));
        }
        let (orders, committed) = (&self.orders, &self.committed);
        let Some(present) = self.slots.get_mut(&name).and_then(|slot| slot.present.as_mut()) else { return };
        if writes.is_empty() && (present.under_way.is_empty() || answer.is_none()) {
            if let Some((answer, asked)) = answer {
                let _ = asked.send(Ok(answer));
            }
            if present.under_way.is_empty() && !present.object.is_stored() {
                self.drop_object(name);
            }
            return;
        }
        let writes: Arc<[Write]> = writes.into();
        present.under_way.push_back(Arc::clone(&writes));
        let order = MailOrder { object: name, life: present.life, writes, answer, committed: committed.clone() };
        if orders.send(order).is_err() {
            // The thread that writes has ended, which it does only when the process is about to. Who waits hears so.
            present.under_way.pop_back();
            present.is_broken = true;
        }
    }

    /// Puts what an object has for its connections where they find it.
    fn push(&mut self, name: MailName, pushes: Vec<NewsPush>) {
        let Some(present) = self.present(name) else { return };
        for NewsPush { to, what } in pushes {
            for id in to {
                let is_end = matches!(what, News::Close(_));
                let is_taken = present.listeners.get(&id).is_some_and(|sender| sender.try_send(what.clone()).is_ok());
                // One that has no room ends: when it comes again it is told how things are.
                if is_end || !is_taken {
                    present.listeners.remove(&id);
                    present.object.stop_listening(id);
                }
            }
        }
    }

    /// Sets an object's alarm, in the place of an earlier one.
    fn set_alarm(&mut self, name: MailName, at: Instant) {
        let slot = self.slots.entry(name).or_default();
        if let Some(before) = slot.alarm_at.replace(at) {
            self.deadlines.remove(&(before, Due::Alarm, name));
        }
        self.deadlines.insert((at, Due::Alarm, name));
    }

    fn alarm(&mut self, now: Moment, name: MailName) {
        if let Some(slot) = self.slots.get_mut(&name) {
            slot.alarm_at = None;
        }
        match self.with_object(now, name, |object| object.handle_alarm(now.unix)) {
            Ok(effects) => self.carry_out(now, name, effects, None),
            Err(cause) => {
                journal::failure("alarm_failed", &cause);
                // What cannot be read today may be tomorrow.
                self.set_alarm(name, now.instant + FIRST_ALARMS);
            }
        }
    }

    fn idle(&mut self, now: Moment, name: MailName) {
        let Some(present) = self.present(name) else { return };
        let idle_at = present.called_at + IDLE;
        if idle_at <= now.instant && present.is_settled() {
            self.drop_object(name);
        } else {
            present.look_at = idle_at.max(now.instant + IDLE / 10);
            let look_at = present.look_at;
            self.deadlines.insert((look_at, Due::Idle, name));
        }
    }

    /// Drops the object that was not called for the longest time, if there is one of which nothing is under way and on which
    /// nobody listens.
    fn make_room(&mut self) {
        let objects = self.slots.iter().filter_map(|(name, slot)| Some((name, slot.present.as_ref()?)));
        let droppable = objects.filter(|(_, present)| present.is_settled());
        let oldest = droppable.min_by_key(|(_, present)| present.called_at).map(|(name, _)| *name);
        oldest.into_iter().for_each(|name| self.drop_object(name));
    }

    fn drop_object(&mut self, name: MailName) {
        let Some(slot) = self.slots.get_mut(&name) else { return };
        if let Some(present) = slot.present.take() {
            self.in_memory -= 1;
            self.deadlines.remove(&(present.look_at, Due::Idle, name));
            if !present.object.is_stored()
                && !present.is_broken
                && let Some(at) = slot.alarm_at.take()
            {
                self.deadlines.remove(&(at, Due::Alarm, name));
            }
        }
        if slot.alarm_at.is_none() {
            self.slots.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread::JoinHandle;

    use rendezvous_protocol::base64;
    use rendezvous_protocol::key::PrivateKey;
    use rendezvous_protocol::mailbox::bytes::{Bytes, ContentId};
    use rendezvous_protocol::mailbox::envelope::{Signed, Verified};
    use rendezvous_protocol::mailbox::record::{
        Card, Collect, Contact, Deposit, Live, Policy, Record, Requests, SealingKey,
    };
    use rendezvous_protocol::network::Client;
    use rendezvous_protocol::origin::Origin;
    use rendezvous_protocol::time::UnixMillis;
    use rendezvous_service::mailbox::{MailboxCall, ObjectCall};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::mailboxes::storage::MailStorage;

    const START: UnixMillis = UnixMillis::saturating(1_700_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);
    const RELAY: &str = "https://relay.example";

    /// One loop's mailboxes. What they order waits until it is handed to the thread that writes.
    struct Host {
        mailboxes: Mailboxes,
        ordered: Receiver<MailOrder>,
        orders: Option<Sender<MailOrder>>,
        writer: Option<JoinHandle<()>>,
        committed: UnboundedReceiver<Committed>,
        storage: MailStorage,
        started: Instant,
        _directory: tempfile::TempDir,
    }

    type Answered = oneshot::Receiver<Result<Answer, String>>;

    impl Host {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let storage = MailStorage::open(directory.path()).unwrap();
            let (orders, writer) = storage.start_writer().unwrap();
            let (sender, ordered) = channel();
            let (committed, receiver) = unbounded_channel();
            let config = Arc::new(Config::parse(|_| None).unwrap());
            let stored = storage.names().unwrap().iter().map(|name| name.parse().unwrap()).collect();
            let mailboxes = Mailboxes::new(config, storage.reader().unwrap(), sender, committed, 1, stored);
            Self {
                mailboxes,
                ordered,
                orders: Some(orders),
                writer: Some(writer),
                committed: receiver,
                storage,
                started: Instant::now(),
                _directory: directory,
            }
        }

        fn at(&self, since_start: Duration) -> Moment {
            Moment { unix: START.after(since_start), instant: self.started + since_start }
        }

        fn call(&mut self, call: MailboxCall) -> Answered {
            let (asked, answered) = oneshot::channel();
            let now = self.at(Duration::ZERO);
            self.mailboxes.call(now, MailCall::Own(ObjectCall::Mailbox(address(), call)), asked);
            answered
        }

        /// Lets the thread write so many orders, and the mailboxes hear of it.
        fn write(&mut self, orders: usize) {
            for _ in 0..orders {
                self.orders.as_ref().unwrap().send(self.ordered.try_recv().unwrap()).unwrap();
            }
            for _ in 0..orders {
                let committed = self.committed.blocking_recv().unwrap();
                self.mailboxes.committed(committed);
            }
        }

        fn open(&mut self) {
            let mut answered = self.call(put());
            self.write(1);
            assert_eq!(status(&mut answered), 201);
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            self.orders.take();
            self.writer.take().map(JoinHandle::join);
        }
    }

    fn status(answered: &mut Answered) -> u16 {
        answered.try_recv().unwrap().unwrap().status
    }

    fn owner() -> PrivateKey {
        PrivateKey::from_seed(&[1; 32])
    }

    fn address() -> Address {
        Address::of(&owner().public_key())
    }

    fn slot() -> PrivateKey {
        PrivateKey::from_seed(&[2; 32])
    }

    fn signed<T: Record>(payload: T, key: &PrivateKey) -> Box<Verified<T>> {
        Box::new(Verified::trusted(&Signed::sign(payload, key).unwrap().to_json()).unwrap())
    }

    fn put() -> MailboxCall {
        let card = Card {
            expires_at: START.after(DAY * 90),
            issued_at: START,
            mailbox: address(),
            readers: Vec::new(),
            relays: vec![RELAY.to_owned()],
            requests: Requests { difficulty: 0, open: false },
            revision: 1,
            sealing: vec![SealingKey { expires_at: START.after(DAY), key: base64::encode(&[7; 32]), suite: 0 }],
        };
        let policy = Policy {
            contacts: vec![Contact { key: slot().public_key(), limit: 2 }],
            expires_at: START.after(DAY * 90),
            invites: Vec::new(),
            issued_at: START,
            mailbox: address(),
            revision: 1,
        };
        let origins = vec![Origin::parse(RELAY).unwrap()];
        MailboxCall::Put { card: signed(card, &owner()), policy: signed(policy, &owner()), origins }
    }

    fn deposit(sequence: u64) -> MailboxCall {
        let content_id = ContentId::of(&sequence.to_be_bytes());
        let expires_at = START.after(DAY);
        let deposit = Deposit { content_id, expires_at, issued_at: START, mailbox: address(), sequence, size: 2_048 };
        let network = Client::default().hand_over();
        MailboxCall::Deposit { deposit: signed(deposit, &slot()), sealed: "AAAA".to_owned(), proof: None, network }
    }

    fn collect(nonce: u8) -> MailboxCall {
        let collect = Collect {
            audience: RELAY.to_owned(),
            collector: Bytes([1; 16]),
            issued_at: START,
            limit: 10,
            mailbox: address(),
            max_bytes: 10_000,
            nonce: Bytes([nonce; 16]),
        };
        MailboxCall::Collect { collect: signed(collect, &owner()), acks: Vec::new() }
    }

    #[test]
    fn an_answer_waits_for_its_own_change_and_for_all_before_it() {
        let mut host = Host::new();
        host.open();
        let mut left = host.call(deposit(1));
        // Changes nothing, and yet says what only that change makes true.
        let mut again = host.call(deposit(1));
        let mut collected = host.call(collect(1));
        for waiting in [&mut left, &mut again, &mut collected] {
            assert_eq!(waiting.try_recv(), Err(TryRecvError::Empty));
        }
        host.write(1);
        assert_eq!(status(&mut left), 201);
        assert_eq!(again.try_recv(), Err(TryRecvError::Empty));
        host.write(2);
        assert_eq!(status(&mut again), 200);
        let body = collected.try_recv().unwrap().unwrap().body;
        assert!(body.contains(r#""sealed":"AAAA","receivedAt""#), "{body}");
        // Nothing is under way: what changes nothing is answered at once.
        assert_eq!(status(&mut host.call(deposit(1))), 200);
    }

    #[test]
    fn what_was_written_is_there_when_the_object_is_made_anew() {
        let mut host = Host::new();
        host.open();
        host.call(deposit(1));
        host.write(1);
        host.mailboxes.handle_deadlines(host.at(IDLE));
        assert_eq!(host.mailboxes.in_memory, 0);
        let mut collected = host.call(collect(1));
        host.write(1);
        let body = collected.try_recv().unwrap().unwrap().body;
        assert!(body.contains(r#""sealed":"AAAA","receivedAt""#), "{body}");
        let names: Vec<_> = host.storage.names().unwrap();
        assert_eq!(names, [format!("v1:{}", address())]);
    }

    #[test]
    fn of_a_life_in_which_a_change_was_not_written_nothing_after_it_is() {
        let mut host = Host::new();
        host.open();
        let other = rusqlite::Connection::open(host._directory.path().join("mail.sqlite")).unwrap();
        // A message under this number is there already, so that another cannot be written.
        let insert = "INSERT INTO message SELECT object, 1, 'x', 'x' FROM item WHERE name = 'object'";
        other.execute_batch(insert).unwrap();
        let mut left = host.call(deposit(1));
        let mut more = host.call(deposit(2));
        host.write(1);
        assert!(left.try_recv().unwrap().is_err());
        // Though the disk would take it now.
        other.execute_batch("DELETE FROM message").unwrap();
        assert!(host.call(deposit(3)).try_recv().unwrap().is_err(), "it is being made anew");
        host.write(1);
        assert!(more.try_recv().unwrap().is_err());
        assert_eq!(host.mailboxes.in_memory, 0);
        let mut again = host.call(deposit(1));
        host.write(1);
        assert_eq!(status(&mut again), 201, "it is not a duplicate of what was never written");
    }

    #[test]
    fn of_what_does_not_exist_nothing_stays_in_memory() {
        let mut host = Host::new();
        assert_eq!(status(&mut host.call(collect(1))), 404);
        assert_eq!((host.mailboxes.in_memory, host.mailboxes.slots.len(), host.mailboxes.deadlines.len()), (0, 0, 0));
    }

    #[test]
    fn an_alarm_tidies_up_what_is_not_in_memory() {
        let mut host = Host::new();
        host.open();
        host.call(deposit(1));
        host.write(1);
        host.mailboxes.handle_deadlines(host.at(IDLE));
        assert_eq!(host.mailboxes.in_memory, 0);
        host.mailboxes.handle_deadlines(host.at(DAY * 2));
        host.write(1);
        let found = host.storage.reader().unwrap().read(MailName::Own(ObjectName::Mailbox(address()))).unwrap();
        assert_eq!(found.messages, []);
        // Nobody collects: at the end nothing is left.
        for days in [91, 182] {
            host.mailboxes.handle_deadlines(host.at(DAY * days));
            host.write(1);
        }
        assert_eq!(host.storage.names().unwrap(), Vec::<String>::new());
        assert_eq!((host.mailboxes.slots.len(), host.mailboxes.deadlines.len()), (0, 0));
    }

    #[test]
    fn an_object_on_which_somebody_listens_stays_in_memory_and_whoever_does_not_read_is_let_go() {
        let mut host = Host::new();
        host.open();
        let live = Live { audience: RELAY.to_owned(), issued_at: START, mailbox: address(), nonce: Bytes([0; 16]) };
        let json = signed(live, &owner()).as_json().to_owned();
        let call = ListenCall::parse(&format!("/listen?{}", base64::encode(json.as_bytes()))).unwrap().unwrap();
        let (sender, mut news) = mpsc::channel(2);
        let now = host.at(Duration::ZERO);
        host.mailboxes.listen(now, ConnectionId(1), &call, sender);
        host.call(deposit(1));
        host.write(1);
        host.mailboxes.handle_deadlines(host.at(IDLE));
        assert_eq!(host.mailboxes.in_memory, 1);
        // There is no room for a third.
        host.call(deposit(2));
        host.write(1);
        let messages = |pending| Some(News::Text(format!(r#"{{"event":"messages","pending":{pending}}}"#)));
        assert_eq!(
            [news.blocking_recv(), news.blocking_recv(), news.blocking_recv()],
            [messages(0), messages(1), None]
        );
        host.mailboxes.handle_deadlines(host.at(IDLE * 2));
        assert_eq!(host.mailboxes.in_memory, 0);
    }

    #[test]
    fn no_more_objects_than_there_may_be_are_in_memory() {
        let mut host = Host::new();
        host.mailboxes.most_in_memory = 1;
        host.open();
        host.call(deposit(1));
        let (asked, _answered) = oneshot::channel();
        let call = ObjectCall::Mailbox(Address::of(&slot().public_key()), MailboxCall::Card);
        host.mailboxes.call(host.at(Duration::ZERO), MailCall::Own(call.clone()), asked);
        assert_eq!(host.mailboxes.in_memory, 1, "of the one something is under way");
        host.write(1);
        let (asked, _answered) = oneshot::channel();
        host.mailboxes.call(host.at(Duration::ZERO), MailCall::Own(call), asked);
        assert_eq!(host.mailboxes.in_memory, 0);
    }
}
