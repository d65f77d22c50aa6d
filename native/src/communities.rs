//! The communities of one event loop: their objects in memory, their rows, and what is due when.
//!
//! An object that nobody has called for a while is dropped from memory once everything of it is written, and restored
//! when it is called or due. How many there are is bounded twice: at most [`MOST_IN_MEMORY`] objects of at most 200
//! tickets each in a process, of which connections keep half in communities that anybody may have invented; and a row goes
//! when its alarm comes and nobody is left, so that rows are those of the communities that somebody was in during the last
//! minutes. Who may invent communities, and how fast, is the service's.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::TICKET_MAX_LIFETIME;
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::Answer;
use rendezvous_service::call::Call;
use rendezvous_service::community::{CommunityObject, Effects, Found};
use rendezvous_service::config::Config;
use rendezvous_service::live::{ConnectionId, LiveCall, LiveFull, Push, Pushed};
use rendezvous_service::problem::internal;
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::Moment;
use crate::journal;
use crate::live::{LiveMail, Mailbox};
use crate::storage::{Change, Done, Order, Reader};

/// Objects in the memory of a process. Full ones take about 200 kB each, so all together 410 MB; where every ticket is the
/// longest that there is, about 750 kB and 1.5 GB. The log of changes takes up to as much again, in an object that has had
/// a connection.
const MOST_IN_MEMORY: usize = 2_048;

/// An object that was not called for so long is dropped from memory: by then its tickets have expired.
const IDLE: Duration = TICKET_MAX_LIFETIME;

/// After this time an object that is new in memory, or could not be dropped, is looked at: its write has come by then.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Alarms are not stored. After a start every row has one, spread over this time, so that not all are read at once.
const FIRST_ALARMS: Duration = TICKET_MAX_LIFETIME;

/// Holds the communities that one event loop owns.
pub(crate) struct Communities {
    config: Arc<Config>,
    reader: Reader,
    orders: Sender<Order>,
    done: UnboundedSender<Done>,
    most_in_memory: usize,
    slots: HashMap<Rc<str>, Slot>,
    in_memory: usize,
    deadlines: BTreeSet<(Instant, Due, Rc<str>)>,
    counts: Counts,
}

/// How often things have happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) evicted: u64,
    pub(crate) restored: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Timer,
    Alarm,
    /// A look at whether the object may be dropped from memory.
    Idle,
}

/// What there is of a community.
#[derive(Default)]
struct Slot {
    present: Option<Present>,
    alarm_at: Option<Instant>,
}

/// An object in memory.
struct Present {
    object: CommunityObject,
    /// When it was last called; absent where it was only restored to be tidied up.
    called_at: Option<Instant>,
    /// When it is looked at next.
    look_at: Instant,
    /// Whether a change of its row is under way. The next one waits, so that a newer one takes the place of an older.
    is_under_way: bool,
    next_change: Option<Change>,
    /// Whether the last change failed, so that memory has what the row has not.
    has_failed: bool,
    /// Holds what waits for each connection that the object knows.
    mailboxes: HashMap<ConnectionId, Arc<Mailbox>>,
}

impl Present {
    /// Returns whether a new object, made from the row, would be this one.
    fn is_settled(&self) -> bool {
        !self.is_under_way
            && self.next_change.is_none()
            && !self.object.has_unwritten()
            && self.object.connections() == 0
    }
}

impl Communities {
    /// Makes the communities of one of `loops` event loops. `stored` are the names of those that have a row.
    pub(crate) fn new(
        config: Arc<Config>,
        reader: Reader,
        orders: Sender<Order>,
        done: UnboundedSender<Done>,
        loops: usize,
        stored: Vec<String>,
    ) -> Self {
        let mut communities = Self {
            config,
            reader,
            orders,
            done,
            most_in_memory: (MOST_IN_MEMORY / loops.max(1)).max(1),
            slots: HashMap::new(),
            in_memory: 0,
            deadlines: BTreeSet::new(),
            counts: Counts::default(),
        };
        let step = FIRST_ALARMS / u32::try_from(stored.len()).unwrap_or(u32::MAX).max(1);
        let mut at = Instant::now();
        for name in stored {
            at += step;
            communities.set_alarm(&name.into(), at);
        }
        communities
    }

    /// Calls an object, which is restored if it is not in memory.
    pub(crate) fn call(&mut self, now: Moment, name: &str, call: Call) -> Answer {
        let random = fastrand::u32(..);
        let called = self.with_object(now, name, |object| object.handle(now.unix, call, random));
        let Some((answer, effects)) = called else { return internal(now.unix) };
        if let Some(present) = self.present(name) {
            present.called_at = Some(now.instant);
        }
        self.carry_out(now, name, effects);
        answer
    }

    /// Tells an object something of a connection. One that is to be opened restores the object if it is not in memory.
    pub(crate) fn take_live(&mut self, now: Moment, name: &str, id: ConnectionId, mail: LiveMail) {
        match mail {
            LiveMail::Open { opening, mailbox, answer } => {
                if !self.may_pin(name) {
                    let _ = answer.send(Err(LiveFull));
                    return;
                }
                let Some((outcome, effects)) =
                    self.with_object(now, name, |object| object.open_live(now.unix, id, &opening))
                else {
                    return;
                };
                if let Some(present) = self.present(name) {
                    present.called_at = Some(now.instant);
                    if outcome.is_ok() {
                        present.mailboxes.insert(id, mailbox);
                    }
                }
                // Whoever asked may have gone away, and says so by itself.
                let _ = answer.send(outcome);
                self.carry_out(now, name, effects);
            }
            LiveMail::Call(call) => {
                let Some(present) = self.present(name) else { return };
                if call == LiveCall::Closed {
                    present.mailboxes.remove(&id);
                }
                let random = fastrand::u32(..);
                if let Some(effects) =
                    self.with_object(now, name, |object| object.handle_live(now.unix, id, call, random))
                {
                    self.carry_out(now, name, effects);
                }
            }
        }
    }

    /// Returns whether a ticket of this key is listed in a community. One whose object is not in memory lists nobody.
    pub(crate) fn lists(&self, now: UnixMillis, name: &str, key: &PublicKey) -> bool {
        let present = self.slots.get(name).and_then(|slot| slot.present.as_ref());
        present.is_some_and(|present| present.object.lists(now, key))
    }

    /// Does what is due.
    pub(crate) fn handle_deadlines(&mut self, now: Moment) {
        while let Some((at, _, _)) = self.deadlines.first()
            && *at <= now.instant
            && let Some((_, due, name)) = self.deadlines.pop_first()
        {
            match due {
                Due::Timer => self.timer(now, &name),
                Due::Alarm => self.alarm(now, &name),
                Due::Idle => self.idle(now, &name),
            }
        }
    }

    /// Takes what became of a change.
    pub(crate) fn changed(&mut self, done: Done) {
        let Done { object, outcome } = done;
        let Some(present) = self.slots.get_mut(object.as_str()).and_then(|slot| slot.present.as_mut()) else { return };
        present.is_under_way = false;
        present.has_failed = outcome.is_err();
        let (erased, written) = match outcome {
            Ok(note) => (note, Ok(())),
            Err(cause) => (None, Err(cause)),
        };
        journal::write(erased);
        journal::write(present.object.written(written));
        if let Some(change) = present.next_change.take() {
            order(&self.orders, &self.done, present, object, change);
        }
    }

    /// Writes everything that is not written yet: the process is about to end.
    pub(crate) fn write_all(&mut self, now: Moment) {
        for (name, slot) in &mut self.slots {
            let Some(present) = &mut slot.present else { continue };
            let unwritten = present.object.unwritten(now.unix).map(Change::Write);
            for change in present.next_change.take().into_iter().chain(unwritten) {
                // One after the other though one is under way: nobody orders after these.
                order(&self.orders, &self.done, present, name.to_string(), change);
            }
        }
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the names of the objects in memory, and how many are listed in each.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&str, usize)> {
        self.slots.iter().filter_map(|(name, slot)| Some((&**name, slot.present.as_ref()?.object.live())))
    }

    /// Lets an object do something, and restores it before that if it is not in memory. If it panics it is dropped: a
    /// new one is made of the row, which knows everything but the last seconds.
    fn with_object<T>(&mut self, now: Moment, name: &str, work: impl FnOnce(&mut CommunityObject) -> T) -> Option<T> {
        if self.present(name).is_none() {
            self.restore(now, name)?;
        }
        let present = self.present(name)?;
        let object = &mut present.object;
        let done = catch_unwind(AssertUnwindSafe(|| work(object)));
        if done.is_err() {
            journal::failure("request_failed", &"the object of a community has panicked, and starts anew");
            self.drop_object(name);
        }
        done.ok()
    }

    fn present(&mut self, name: &str) -> Option<&mut Present> {
        self.slots.get_mut(name)?.present.as_mut()
    }

    fn restore(&mut self, now: Moment, name: &str) -> Option<()> {
        if self.in_memory >= self.most_in_memory {
            self.make_room();
        }
        let found = Found { stored: self.reader.read(name), rescued: None, connections: None };
        if matches!(found.stored, Ok(Some(_))) {
            self.counts.restored += 1;
        }
        let mut secret = [0; 16];
        if let Err(error) = getrandom::fill(&mut secret) {
            journal::failure("request_failed", &format_args!("no randomness: {error}"));
            return None;
        }
        let is_open = self.is_open(name);
        let restored = catch_unwind(AssertUnwindSafe(|| {
            CommunityObject::restore(now.unix, &self.config, is_open, found, Secret::from_bytes(secret))
        }));
        let Ok((object, effects)) = restored else {
            journal::failure("request_failed", &"the object of a community could not be restored");
            return None;
        };
        let (called_at, look_at) = (None, now.instant + LOOK_AGAIN);
        let present = Present {
            object,
            called_at,
            look_at,
            is_under_way: false,
            next_change: None,
            has_failed: false,
            mailboxes: HashMap::new(),
        };
        let name: Rc<str> = name.into();
        self.slots.entry(Rc::clone(&name)).or_default().present = Some(present);
        self.in_memory += 1;
        self.deadlines.insert((look_at, Due::Idle, Rc::clone(&name)));
        self.carry_out(now, &name, effects);
        Some(())
    }

    fn carry_out(&mut self, now: Moment, name: &str, effects: Effects) {
        let Effects { write, erase, wake_at, timer, push_after, attach: _, push, notes } = effects;
        journal::write(notes);
        self.push(name, push);
        let timers = [timer, push_after];
        if write.is_none() && erase.is_none() && wake_at.is_none() && timers == [None; 2] {
            return;
        }
        let Some((name, _)) = self.slots.get_key_value(name) else { return };
        let name = Rc::clone(name);
        for after in timers.into_iter().flatten() {
            self.deadlines.insert((now.instant + after, Due::Timer, Rc::clone(&name)));
        }
        if let Some(at) = wake_at {
            self.set_alarm(&name, now.instant + at.since(now.unix));
        }
        for change in write.map(Change::Write).into_iter().chain(erase.map(Change::Erase)) {
            let Some(present) = self.slots.get_mut(&name).and_then(|slot| slot.present.as_mut()) else { return };
            if present.is_under_way {
                present.next_change = Some(change);
            } else {
                order(&self.orders, &self.done, present, name.to_string(), change);
            }
        }
    }

    /// Puts what an object has for its connections where they find it.
    fn push(&mut self, name: &str, pushes: Vec<Push>) {
        let Some(present) = self.present(name) else { return };
        for Push { to, what } in pushes {
            for id in to {
                if let Some(mailbox) = present.mailboxes.get(&id) {
                    mailbox.put(what.clone());
                }
                if matches!(what, Pushed::Close(_)) {
                    present.mailboxes.remove(&id);
                }
            }
        }
    }

    /// Sets an object's alarm, in the place of an earlier one.
    fn set_alarm(&mut self, name: &Rc<str>, at: Instant) {
        let slot = self.slots.entry(Rc::clone(name)).or_default();
        if let Some(before) = slot.alarm_at.replace(at) {
            self.deadlines.remove(&(before, Due::Alarm, Rc::clone(name)));
        }
        self.deadlines.insert((at, Due::Alarm, Rc::clone(name)));
    }

    fn timer(&mut self, now: Moment, name: &str) {
        // One that is not in memory has nothing to write.
        if self.present(name).is_some()
            && let Some(effects) = self.with_object(now, name, |object| object.handle_timer(now.unix))
        {
            self.carry_out(now, name, effects);
        }
    }

    fn alarm(&mut self, now: Moment, name: &str) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.alarm_at = None;
        }
        if let Some(effects) = self.with_object(now, name, |object| object.handle_alarm(now.unix)) {
            self.carry_out(now, name, effects);
        }
    }

    fn idle(&mut self, now: Moment, name: &Rc<str>) {
        let Some(present) = self.present(name) else { return };
        let idle_at = present.called_at.map_or(now.instant, |called_at| called_at + IDLE);
        if idle_at <= now.instant && present.is_settled() && !present.has_failed {
            self.counts.evicted += 1;
            self.drop_object(name);
        } else {
            present.look_at = idle_at.max(now.instant + LOOK_AGAIN);
            let look_at = present.look_at;
            self.deadlines.insert((look_at, Due::Idle, Rc::clone(name)));
        }
    }

    /// Returns whether anybody may have invented the community.
    fn is_open(&self, name: &str) -> bool {
        // A spare object's name is not a community's, and there are none here.
        Community::new(name).is_ok_and(|community| self.config.is_open(&community))
    }

    /// Returns whether a connection may keep this object in memory: while there is one it cannot be dropped. Of all that
    /// fit, half can be kept so by communities that anybody may have invented, or whoever invents them would take the memory
    /// of all; those that the operator names are few, and always can.
    fn may_pin(&self, name: &str) -> bool {
        let has_connection =
            |slot: &Slot| slot.present.as_ref().is_some_and(|present| present.object.connections() > 0);
        let is_kept = self.slots.get(name).is_some_and(has_connection);
        let kept = || self.slots.iter().filter(|(name, slot)| has_connection(slot) && self.is_open(name)).count();
        is_kept || !self.is_open(name) || kept() < self.most_in_memory.div_ceil(2)
    }

    /// Drops the object that was not called for the longest time, if one can be dropped without a loss; else one whose
    /// row cannot be written; else none, for what is under way is written within seconds.
    fn make_room(&mut self) {
        let objects = self.slots.iter().filter_map(|(name, slot)| Some((name, slot.present.as_ref()?)));
        let droppable = objects.filter(|(_, present)| present.is_settled());
        let oldest = droppable.min_by_key(|(_, present)| (present.has_failed, present.called_at));
        if let Some(name) = oldest.map(|(name, _)| Rc::clone(name)) {
            self.counts.evicted += 1;
            self.drop_object(&name);
        }
    }

    fn drop_object(&mut self, name: &str) {
        let Some((name, _)) = self.slots.get_key_value(name) else { return };
        let name = Rc::clone(name);
        let Some(slot) = self.slots.get_mut(&name) else { return };
        if let Some(present) = slot.present.take() {
            self.in_memory -= 1;
            self.deadlines.remove(&(present.look_at, Due::Idle, Rc::clone(&name)));
            // There are some only where the object has panicked.
            for mailbox in present.mailboxes.values() {
                mailbox.put(Pushed::Close(CloseCode::Internal));
            }
        }
        if slot.alarm_at.is_none() {
            self.slots.remove(&name);
        }
    }
}

fn order(orders: &Sender<Order>, done: &UnboundedSender<Done>, present: &mut Present, object: String, change: Change) {
    present.is_under_way = true;
    if orders.send(Order { object, change, done: done.clone() }).is_err() {
        // The thread that writes has ended, which it does only when the process is about to.
        present.is_under_way = false;
        present.has_failed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::thread::JoinHandle;

    use rendezvous_protocol::key::PrivateKey;
    use rendezvous_protocol::network::Client;
    use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, UserId, VerifiedTicket};
    use rendezvous_service::call::Handed;
    use rendezvous_service::live::Opening;
    use rendezvous_service::note::{Details, Note};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::sync::oneshot;

    use super::*;
    use crate::storage::Storage;

    const START: u64 = 1_700_000_000_000;
    const SECOND: Duration = Duration::from_secs(1);

    /// One loop's communities, and the thread that writes for them.
    struct Host {
        communities: Communities,
        done: UnboundedReceiver<Done>,
        reader: Reader,
        spare: Option<Reader>,
        started: Instant,
        /// Of every ticket.
        lifetime: Duration,
        writer: Option<JoinHandle<usize>>,
        _state: tempfile::TempDir,
    }

    impl Host {
        fn new(variables: &[(&str, &str)], loops: usize) -> Self {
            let state = tempfile::tempdir().unwrap();
            let storage = Storage::open(state.path()).unwrap();
            let (orders, writer) = storage.start_writer().unwrap();
            let (says_done, done) = unbounded_channel();
            let variable =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            let config = Arc::new(Config::parse(variable).unwrap());
            let reader = storage.reader().unwrap();
            let communities = Communities::new(Arc::clone(&config), reader, orders, says_done, loops, Vec::new());
            let (reader, started) = (storage.reader().unwrap(), Instant::now());
            let spare = storage.reader().ok();
            let lifetime = config.roster_limits().ticket_max_lifetime;
            Self { communities, done, reader, spare, started, lifetime, writer: Some(writer), _state: state }
        }

        fn at(&self, after: Duration) -> Moment {
            let unix = UnixMillis::saturating(START).after(after);
            Moment { unix, instant: self.started + after }
        }

        fn announce(&mut self, after: Duration, community: &str, peer: &str) -> Answer {
            let issued_at = self.at(after).unix;
            let payload = Payload {
                peer_id: PeerId::new(peer).unwrap(),
                user_id: UserId::new("user").unwrap(),
                data: None,
                issued_at,
                expires_at: issued_at.after(self.lifetime),
                nonce: Nonce::new(vec![0; 12]).unwrap(),
                community: None,
                purpose: Purpose::Presence,
            };
            let json = Ticket::sign(payload, &PrivateKey::from_seed(&[1; 32])).to_json();
            let ticket = VerifiedTicket::trusted(&json, Purpose::Presence).unwrap();
            let handed = Handed {
                community: Community::new(community).unwrap(),
                network: Client::default().hand_over(),
                ticket,
            };
            self.communities.call(self.at(after), community, Call::Ticket(Box::new(handed)))
        }

        fn open_live(&mut self, after: Duration, id: ConnectionId, community: &str) -> Result<(), LiveFull> {
            let (answer, mut outcome) = oneshot::channel();
            let opening = Opening {
                network: Client::default().hand_over(),
                since: None,
                is_stream: false,
                watches_guests: false,
            };
            let now = self.at(after);
            self.communities.take_live(now, community, id, LiveMail::Open { opening, mailbox: Arc::default(), answer });
            outcome.try_recv().unwrap()
        }

        fn list(&mut self, after: Duration, community: &str) -> String {
            self.communities.call(self.at(after), community, Call::List).body
        }

        /// Lets everything happen that is due, and waits for what is ordered.
        fn pass(&mut self, after: Duration) {
            let now = self.at(after);
            self.communities.handle_deadlines(now);
            while self.communities.slots.values().any(|slot| slot.present.as_ref().is_some_and(|it| it.is_under_way)) {
                let done = self.done.blocking_recv().unwrap();
                self.communities.changed(done);
            }
        }

        fn in_memory(&self) -> usize {
            let present = self.communities.slots.values().filter(|slot| slot.present.is_some()).count();
            assert_eq!(self.communities.in_memory, present);
            present
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let (orders, _) = std::sync::mpsc::channel();
            self.communities.orders = orders;
            self.writer.take().unwrap().join().unwrap();
        }
    }

    #[test]
    fn an_idle_object_is_dropped_when_all_is_written_and_comes_back_from_its_row() {
        let mut host = Host::new(&[("TICKET_MAX_LIFETIME_MS", "3600000")], 1);
        for number in 0..10 {
            host.announce(Duration::from_millis(number), "mainnet", &format!("peer-{number}"));
        }
        // Eight are written at once, the rest when the next row is there.
        host.pass(Duration::from_millis(20));
        assert!(!host.reader.read("mainnet").unwrap().unwrap().contains("peer-9"));
        host.pass(SECOND * 10);
        assert!(host.reader.read("mainnet").unwrap().unwrap().contains("peer-9"));
        host.pass(IDLE - SECOND);
        assert_eq!(host.in_memory(), 1);
        host.announce(IDLE - SECOND, "mainnet", "peer-10");
        host.pass(IDLE + SECOND * 10);
        assert_eq!(host.in_memory(), 1, "it was called meanwhile");
        host.pass(IDLE * 2);
        assert_eq!((host.in_memory(), host.communities.counts().evicted), (0, 1));
        assert!(host.list(IDLE * 2, "mainnet").contains("peer-10"));
        assert_eq!(host.communities.counts().restored, 1);
    }

    #[test]
    fn a_row_goes_when_nobody_is_left_and_nothing_stays_behind() {
        let mut host = Host::new(&[], 1);
        host.announce(Duration::ZERO, "mainnet", "ann");
        host.pass(SECOND);
        assert_eq!(host.reader.count(), Ok(1));
        for minute in 1..=20 {
            host.pass(SECOND * 60 * minute);
        }
        assert_eq!((host.reader.count(), host.in_memory()), (Ok(0), 0));
        assert!(host.communities.slots.is_empty() && host.communities.deadlines.is_empty());
    }

    #[test]
    fn rows_of_before_have_an_alarm_and_go_though_nobody_asks() {
        let mut host = Host::new(&[], 1);
        for community in ["a", "b", "c"] {
            host.announce(Duration::ZERO, community, "ann");
        }
        host.pass(SECOND);
        assert_eq!(host.reader.count(), Ok(3));
        // As after a restart: nothing in memory, and the rows.
        let Communities { config, orders, done, .. } = &host.communities;
        let (config, orders, done) = (Arc::clone(config), orders.clone(), done.clone());
        let stored = ["a", "b", "c"].map(str::to_owned).to_vec();
        let reader = host.spare.take().unwrap();
        host.communities = Communities::new(config, reader, orders, done, 1, stored);
        host.pass(TICKET_MAX_LIFETIME * 2);
        assert_eq!(host.reader.count(), Ok(0));
    }

    #[test]
    fn the_pages_say_the_bound_that_there_is() {
        let bound = format!("{},{:03}", MOST_IN_MEMORY / 1_000, MOST_IN_MEMORY % 1_000);
        for (page, sentence) in [
            (include_str!("../../README.md"), format!("of those in memory there are {bound} at most")),
            (include_str!("../../contrib/rendezvous-beacon.service"), format!("{bound} full communities")),
        ] {
            assert!(page.contains(&sentence), "{sentence}");
        }
    }

    #[test]
    fn memory_has_a_bound_and_the_longest_idle_goes() {
        let mut host = Host::new(&[("COMMUNITIES", "*")], MOST_IN_MEMORY / 4);
        assert_eq!(host.communities.most_in_memory, 4);
        let name = |number: u64| format!("c{number}");
        for number in 0..100 {
            host.announce(Duration::from_millis(number), &name(number), "ann");
            assert!(host.in_memory() <= 4);
        }
        let in_memory = |host: &Host, number| {
            host.communities.slots.get(name(number).as_str()).is_some_and(|slot| slot.present.is_some())
        };
        assert_eq!((in_memory(&host, 95), in_memory(&host, 96), in_memory(&host, 99)), (false, true, true));
        assert_eq!(host.communities.deadlines.len(), 4);
    }

    #[test]
    fn connections_keep_half_of_what_fits_in_memory_at_most_to_invented_communities() {
        let mut host = Host::new(&[("COMMUNITIES", "*")], MOST_IN_MEMORY / 4);
        let mut open =
            |id: u64, community: &str| host.open_live(Duration::from_millis(id), ConnectionId(id), community);
        assert_eq!([open(1, "a"), open(2, "b"), open(3, "a")], [Ok(()); 3]);
        assert_eq!([open(4, "c"), open(5, "b")], [Err(LiveFull), Ok(())]);
        assert_eq!(open(6, "mainnet"), Ok(()), "nobody has invented it");
        for number in 0..10 {
            host.announce(SECOND, &format!("c{number}"), "ann");
            assert!(host.in_memory() <= 4);
        }
    }

    #[test]
    fn what_cannot_be_written_is_said_once_stays_in_memory_and_is_served() {
        let mut host = Host::new(&[("TICKET_MAX_LIFETIME_MS", "3600000")], 1);
        host.announce(Duration::ZERO, "mainnet", "ann");
        let failed = || Done { object: "mainnet".to_owned(), outcome: Err("the disk is full".to_owned()) };
        host.done.blocking_recv().unwrap();
        host.communities.changed(failed());
        host.pass(IDLE * 3 / 2);
        assert_eq!(host.in_memory(), 1, "the row has not what it has");
        assert!(host.list(IDLE * 3 / 2, "mainnet").contains("ann"));
        // When the alarm comes nobody is left, and the row goes: then there is nothing to lose.
        for hour in 1..=4 {
            host.pass(SECOND * 3_600 * hour);
        }
        assert_eq!(host.in_memory(), 0);
    }

    #[test]
    fn of_the_changes_that_wait_for_one_under_way_the_last_counts() {
        let mut host = Host::new(&[], 1);
        let effects = |change: &str| Effects { write: Some(change.to_owned()), ..Effects::default() };
        host.list(Duration::ZERO, "mainnet");
        let now = host.at(SECOND);
        for change in ["first", "second", "third"] {
            host.communities.carry_out(now, "mainnet", effects(change));
        }
        let first = host.done.blocking_recv().unwrap();
        assert_eq!(host.reader.read("mainnet"), Ok(Some("first".to_owned())));
        host.communities.changed(first);
        let third = host.done.blocking_recv().unwrap();
        assert_eq!(host.reader.read("mainnet"), Ok(Some("third".to_owned())));
        host.communities.changed(third);
        let erase = Some(Note::info("roster_deleted", Details::default()));
        host.communities.carry_out(now, "mainnet", Effects { erase, ..Effects::default() });
        host.pass(SECOND);
        assert_eq!(host.reader.read("mainnet"), Ok(None));
    }

    #[test]
    fn an_object_that_panics_starts_anew_from_its_row() {
        let mut host = Host::new(&[], 1);
        host.announce(Duration::ZERO, "mainnet", "ann");
        host.pass(SECOND);
        let now = host.at(SECOND);
        let done: Option<()> = host.communities.with_object(now, "mainnet", |_| panic!("injected"));
        assert_eq!((done, host.in_memory()), (None, 0));
        assert!(host.list(SECOND, "mainnet").contains("ann"));
    }
}
