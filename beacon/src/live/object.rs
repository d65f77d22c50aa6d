//! The object's half: which connections there are, and what is pushed to them.

use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::code::Code;
use rendezvous_protocol::limits::{LIVE_ACK_TIMEOUT, LIVE_RECORDS_KEPT};
use rendezvous_protocol::live::{
    Admission, Attachment, BeaconMessage, Changes, Claim, CloseCode, DeliveredMessage, ErrorMessage, FrameRate,
    LiveLimits, LogHead, Position, Seat, SignalBudget, Urgency, admit,
};
use rendezvous_protocol::network::NetworkPath;
use rendezvous_protocol::roster::{Departed, Record, Roster};
use rendezvous_protocol::snapshot::SnapshotError;
use rendezvous_protocol::ticket::VerifiedTicket;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};

use crate::config::Viewers;
use crate::live::call::{ConnectionId, LiveFull, Opening, Push, Pushed, SignalCall};

/// Holds the connections of one community, and what has changed for them.
#[derive(Debug)]
pub(crate) struct LiveObject {
    limits: LiveLimits,
    viewers: Viewers,
    changes: Changes,
    rate: FrameRate,
    /// The position of the last frame for all.
    sent: Position,
    /// The oldest first.
    connections: Vec<Entry>,
    /// Whether connections keep what the object needs to be made anew.
    is_kept: bool,
    /// Connections whose attachments have changed.
    changed: Vec<ConnectionId>,
    has_given_up: bool,
    /// Which connection asks for the frame that waits, and when.
    asker: Option<(ConnectionId, UnixMillis)>,
}

/// Holds how many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionCounts {
    /// WebSockets, those that are bound too.
    pub(crate) sockets: usize,
    /// Of these, such as are bound to a claim.
    pub(crate) bound: usize,
    /// Event streams.
    pub(crate) streams: usize,
}

#[derive(Debug)]
struct Entry {
    id: ConnectionId,
    path: NetworkPath,
    bound: Option<Claim>,
    /// Whose records the connection keeps, or what is remembered of one that has ended: that of its own claim, and up to two
    /// of connections that have ended.
    keeps: Vec<Claim>,
    is_stream: bool,
    /// What it may be sent of signals.
    signals: SignalBudget,
    /// Whether its client reads what it is sent. An object that is made anew takes it to read: whoever acknowledges nothing
    /// is closed after [`LIVE_ACK_TIMEOUT`], and is sent no more until then than `signals` has.
    reads: bool,
}

impl Entry {
    fn new(id: ConnectionId, path: NetworkPath, is_stream: bool) -> Self {
        let (bound, keeps, signals) = (None, Vec::new(), SignalBudget::default());
        Self { id, path, bound, keeps, is_stream, signals, reads: true }
    }

    /// Returns whether the connection can keep another's record, beside its own, which may be still to come.
    fn has_room(&self) -> bool {
        let others = self.keeps.iter().filter(|kept| self.bound.as_ref() != Some(*kept));
        others.count() + 1 < LIVE_RECORDS_KEPT
    }

    /// Returns whether the connection is bound to a claim that is listed.
    fn is_peer(&self, roster: &Roster) -> bool {
        self.bound.as_ref().is_some_and(|claim| roster.holds(&claim.peer_id, &claim.public_key))
    }
}

/// Says why a signal is not handed on.
enum NotDelivered {
    /// The sender is bound to no claim that is listed.
    NotBound,
    /// It says that it is from another claim than the sender's.
    AnotherPeer,
    /// Whom it is for is not listed, or has no bound connection.
    Absent,
    /// Whom it is for is sent too many signals, or does not read: after this time there may be room.
    Busy(Duration),
}

impl LiveObject {
    /// Makes the half of an object that starts at `now` with this roster. No connection of an object before it is known.
    /// `is_kept` says whether connections outlive the object, and keep a text for it.
    pub(crate) fn new(now: UnixMillis, limits: LiveLimits, viewers: Viewers, roster: &Roster, is_kept: bool) -> Self {
        let changes = Changes::new(roster.secret().live_epoch(now), now, roster);
        Self::of(limits, viewers, changes, is_kept)
    }

    /// Makes the half of an object that was forgotten while it had these connections. What was waiting to be sent, because
    /// the object has panicked, is due.
    pub(crate) fn restore(
        now: UnixMillis,
        limits: LiveLimits,
        viewers: Viewers,
        roster: &Roster,
        found: Vec<(ConnectionId, Attachment)>,
    ) -> Option<Self> {
        let newest = found.iter().map(|(_, attachment)| attachment.head);
        let newest = newest.max_by_key(|head| (head.position.sequence, head.sent))?;
        let floor = found.iter().map(|(_, attachment)| attachment.head.floor).fold(newest.floor, u64::max);
        let known = |record: &Record| {
            let all = found.iter().flat_map(|(_, attachment)| &attachment.records);
            all.filter(|(_, kept)| kept.ticket == record.ticket).map(|(sequence, _)| *sequence).max()
        };
        let changes = Changes::restore(LogHead { floor, ..newest }, roster, known);
        let mut object = Self::of(limits, viewers, changes, true);
        for (id, Attachment { path, bound, is_stream, records, departed, .. }) in found {
            let listed = records.iter().map(|(_, record)| Claim::of(&record.ticket));
            let gone = departed.into_iter().map(|Departed { public_key, peer_id, .. }| Claim { public_key, peer_id });
            let keeps = listed.chain(gone).collect();
            let position = object.connections.partition_point(|entry| entry.id < id);
            object.connections.insert(position, Entry { bound, keeps, ..Entry::new(id, path, is_stream) });
        }
        object.sent.sequence = newest.sent;
        if newest.sent < newest.position.sequence {
            // The bucket is full, so that it is due at once.
            object.rate.changed(now, Urgency::Urgent);
        }
        Some(object)
    }

    fn of(limits: LiveLimits, viewers: Viewers, changes: Changes, is_kept: bool) -> Self {
        Self {
            limits,
            viewers,
            rate: FrameRate::default(),
            sent: changes.position(),
            changes,
            connections: Vec::new(),
            is_kept,
            changed: Vec::new(),
            has_given_up: false,
            asker: None,
        }
    }

    /// Notes that the attachment of a connection has changed.
    fn attach(&mut self, id: ConnectionId) {
        if self.is_kept && !self.changed.contains(&id) {
            self.changed.push(id);
        }
    }

    /// Notes that the log of changes has: the oldest connection keeps how far it has come.
    fn attach_head(&mut self) {
        if let Some(oldest) = self.connections.first().map(|entry| entry.id) {
            self.attach(oldest);
        }
    }

    /// Notes that a claim is not listed any more.
    fn give_up(&mut self, claim: &Claim) {
        let mut keepers = Vec::new();
        for entry in self.connections.iter_mut().filter(|entry| entry.keeps.contains(claim)) {
            entry.keeps.retain(|kept| kept != claim);
            keepers.push(entry.id);
        }
        keepers.into_iter().for_each(|id| self.attach(id));
        self.attach_head();
    }

    /// Takes a connection off, and lets others keep what it kept. There are connections that come back every half an hour:
    /// a row for each would be most of a day's rows.
    fn remove(&mut self, roster: &Roster, position: usize) -> ConnectionId {
        let gone = self.connections.remove(position);
        self.changed.retain(|changed| *changed != gone.id);
        let is_needed = |Claim { public_key, peer_id }: &Claim| {
            roster.holds(peer_id, public_key) || roster.departure(peer_id, public_key).is_some()
        };
        for entry in &mut self.connections {
            // An expiry tells nobody. What no rule needs any more takes the room of nothing that one needs.
            entry.keeps.retain(is_needed);
        }
        for claim in gone.keeps {
            if !is_needed(&claim) {
                continue;
            }
            let keeps = |entry: &&mut Entry| entry.keeps.contains(&claim);
            let keeper = match self.connections.iter_mut().find(keeps) {
                Some(keeper) => Some(keeper),
                None => self.connections.iter_mut().find(|entry| entry.has_room()),
            };
            match keeper {
                Some(keeper) => {
                    keeper.keeps.retain(|kept| *kept != claim);
                    keeper.keeps.push(claim);
                    let id = keeper.id;
                    self.attach(id);
                }
                None => self.has_given_up = true,
            }
        }
        self.attach_head();
        gone.id
    }

    /// Decides who is handed a signal, and takes it off what the receiver may be sent.
    fn deliver(
        &mut self,
        now: UnixMillis,
        roster: &Roster,
        id: ConnectionId,
        from: &Claim,
        to: &Claim,
    ) -> Result<ConnectionId, NotDelivered> {
        let sender = self.connections.iter().find(|entry| entry.id == id && entry.is_peer(roster));
        let sender = sender.ok_or(NotDelivered::NotBound)?;
        if sender.bound.as_ref() != Some(from) {
            return Err(NotDelivered::AnotherPeer);
        }
        let site = sender.path.site;
        let receiver = self.connections.iter_mut().find(|entry| entry.bound.as_ref() == Some(to));
        let receiver = receiver.filter(|entry| entry.is_peer(roster)).ok_or(NotDelivered::Absent)?;
        if !receiver.reads {
            return Err(NotDelivered::Busy(LIVE_ACK_TIMEOUT));
        }
        receiver.signals.take(now, site).map_err(NotDelivered::Busy)?;
        Ok(receiver.id)
    }

    fn changed(&mut self, now: UnixMillis, urgency: Urgency) -> Option<Duration> {
        if self.connections.is_empty() {
            return None;
        }
        // Where connections outlive the object, one of them asks.
        self.rate.changed(now, urgency).filter(|_| !self.is_kept)
    }

    /// Sees to it that a frame that waits is asked for, unless something else comes before. A timer of the object's would keep it from
    /// hibernating, in a full community all day, which is billed; where the connections are, waiting costs nothing.
    fn arrange_to_be_asked(&mut self, now: UnixMillis, push: &mut Vec<Push>) {
        let Some(latest_at) = self.rate.latest_at().filter(|_| self.is_kept) else { return };
        let is_there = |id| self.connections.iter().any(|entry| entry.id == id);
        if self.asker.is_some_and(|(id, at)| now < at && at <= latest_at && is_there(id)) {
            return;
        }
        // The newest one: where connections end after so many frames, most are left to it.
        let Some(newest) = self.connections.last().map(|entry| entry.id) else { return };
        self.asker = Some((newest, latest_at));
        push.push(Push { to: vec![newest], what: Pushed::FrameWaits(latest_at.since(now)) });
    }

    /// Returns whether a connection is sent who is present. A claim that is not listed any more is not a peer's.
    fn sees(&self, entry: &Entry, roster: &Roster) -> bool {
        self.viewers == Viewers::Everybody || entry.is_peer(roster)
    }
}

impl LiveObject {
    /// Returns how many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Returns how many connections of each kind there are.
    pub(crate) fn counts(&self) -> ConnectionCounts {
        let mut counts = ConnectionCounts::default();
        for entry in &self.connections {
            counts.sockets += usize::from(!entry.is_stream);
            counts.bound += usize::from(entry.bound.is_some());
            counts.streams += usize::from(entry.is_stream);
        }
        counts
    }

    /// Opens a connection at `path`, and pushes what it missed.
    pub(crate) fn open(
        &mut self,
        now: UnixMillis,
        roster: &mut Roster,
        id: ConnectionId,
        path: NetworkPath,
        opening: &Opening,
        push: &mut Vec<Push>,
    ) -> Result<(), LiveFull> {
        let seat = |entry: &Entry| Seat { path: entry.path, is_bound: entry.is_peer(roster) };
        let seats: Vec<_> = self.connections.iter().map(seat).collect();
        match admit(&seats, path, self.limits, now, roster.secret()) {
            Admission::Admitted => {}
            Admission::InPlaceOf(position) => {
                let gone = self.remove(roster, position);
                push.push(Push { to: vec![gone], what: Pushed::Close(CloseCode::LiveFull) });
            }
            Admission::Full => return Err(LiveFull),
        }
        if self.connections.is_empty() {
            self.sent = self.changes.position();
        }
        self.connections.push(Entry::new(id, path, opening.is_stream));
        self.attach(id);
        if self.viewers == Viewers::Everybody {
            self.catch_up(now, roster, id, opening.since, push);
        }
        Ok(())
    }

    /// Forgets a connection. What it keeps of the roster another one keeps from now on, if one can.
    pub(crate) fn close(&mut self, roster: &Roster, id: ConnectionId) {
        if let Some(position) = self.connections.iter().position(|entry| entry.id == id) {
            self.remove(roster, position);
        }
        if self.connections.is_empty() {
            self.rate.stop();
        }
    }

    /// Returns whether the connection is there, and where it counts.
    pub(crate) fn path(&self, id: ConnectionId) -> Option<NetworkPath> {
        self.connections.iter().find(|entry| entry.id == id).map(|entry| entry.path)
    }

    /// Lets a connection keep the record of a claim. Returns whether it does: where connections end with the process that
    /// holds the roster, none keeps anything.
    pub(crate) fn keep(&mut self, id: ConnectionId, claim: &Claim) -> bool {
        if !self.is_kept || self.path(id).is_none() {
            return false;
        }
        for entry in &mut self.connections {
            entry.keeps.retain(|kept| kept != claim);
            if entry.id == id {
                entry.keeps.push(claim.clone());
            }
        }
        self.attach(id);
        true
    }

    /// Takes that a connection asks for the frame that waits. By the object's clock it may be early.
    pub(crate) fn asked(&mut self, id: ConnectionId) {
        self.asker.take_if(|(asker, _)| *asker == id);
    }

    /// Returns the connections whose attachments have changed since this was last called.
    pub(crate) fn take_changed(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.changed)
    }

    /// Returns whether a record was given up by its connection since this was last called, and no other one keeps it.
    pub(crate) fn take_given_up(&mut self) -> bool {
        std::mem::take(&mut self.has_given_up)
    }

    /// Writes what a connection keeps.
    pub(crate) fn attachment(
        &self,
        now: UnixMillis,
        roster: &Roster,
        id: ConnectionId,
    ) -> Result<Option<String>, SnapshotError> {
        let Some(entry) = self.connections.iter().find(|entry| entry.id == id) else { return Ok(None) };
        let record =
            |claim: &Claim| Some((self.changes.sequence_of(claim)?, roster.record(&claim.peer_id, &claim.public_key)?));
        let records: Vec<_> = entry.keeps.iter().filter_map(record).collect();
        // One that ended early must not make room for an older ticket, which may be in storage.
        let departure = |claim: &Claim| roster.departure(&claim.peer_id, &claim.public_key);
        let departed: Vec<_> = entry.keeps.iter().filter_map(departure).collect();
        let (head, bound, kept) = (self.changes.head(now, self.sent), entry.bound.as_ref(), (&*records, &*departed));
        Attachment::encode(now, entry.path, head, bound, entry.is_stream, roster, kept).map(Some)
    }

    /// Returns whether the connection is bound to this claim.
    pub(crate) fn is_bound(&self, id: ConnectionId, claim: &Claim) -> bool {
        self.connections.iter().any(|entry| entry.id == id && entry.bound.as_ref() == Some(claim))
    }

    /// Binds a connection to a claim that is listed. Another one that is bound to it has to go. `asked` is the `id` of the
    /// message, and how far the client has come.
    pub(crate) fn bind(
        &mut self,
        now: UnixMillis,
        roster: &mut Roster,
        id: ConnectionId,
        claim: Claim,
        asked: (Option<&str>, Option<Position>),
        push: &mut Vec<Push>,
    ) {
        let (re, since) = asked;
        let older = self.connections.iter().position(|entry| entry.id != id && entry.bound.as_ref() == Some(&claim));
        if let Some(position) = older {
            let gone = self.remove(roster, position);
            push.push(Push { to: vec![gone], what: Pushed::Close(CloseCode::Replaced) });
        }
        let Some(entry) = self.connections.iter_mut().find(|entry| entry.id == id) else { return };
        let is_first = entry.bound.replace(claim).is_none();
        self.attach(id);
        push.push(Push { to: vec![id], what: Pushed::Bound(re.map(str::to_owned)) });
        if is_first && self.viewers == Viewers::Bound {
            self.catch_up(now, roster, id, since, push);
        }
    }

    /// Hands a signal on to the connection of the claim that it is for, or pushes to its sender why not.
    pub(crate) fn signal(
        &mut self,
        now: UnixMillis,
        roster: &Roster,
        id: ConnectionId,
        signal: SignalCall,
        push: &mut Vec<Push>,
    ) {
        let SignalCall { id: re, from, to, text } = signal;
        let reply = match self.deliver(now, roster, id, &from, &to) {
            Ok(receiver) => {
                push.push(Push { to: vec![receiver], what: Pushed::Signal(text) });
                DeliveredMessage { re: &re }.to_text()
            }
            Err(refused) => {
                let (code, detail, retry_after_ms) = match refused {
                    NotDelivered::NotBound => (Code::NotBound, "the connection's claim is not listed: announce", None),
                    NotDelivered::AnotherPeer => (Code::AnotherPeer, "the connection is bound to another claim", None),
                    NotDelivered::Absent => (Code::PeerAbsent, "that peer has no bound connection here", None),
                    NotDelivered::Busy(wait) => {
                        let detail = "that peer is sent too many signals, or does not read";
                        (Code::PeerBusy, detail, Some(saturating_millis(wait)))
                    }
                };
                ErrorMessage { re: Some(&re), code: code.as_str(), detail: detail.to_owned(), retry_after_ms }.to_text()
            }
        };
        push.push(Push { to: vec![id], what: Pushed::Reply(reply) });
    }

    /// Notes whether the client of a connection reads.
    pub(crate) fn reads(&mut self, id: ConnectionId, reads: bool) {
        if let Some(entry) = self.connections.iter_mut().find(|entry| entry.id == id) {
            entry.reads = reads;
        }
    }

    /// Pushes to one connection what changed since a position, or everything. Whoever may not see it gets nothing.
    pub(crate) fn catch_up(
        &self,
        now: UnixMillis,
        roster: &mut Roster,
        id: ConnectionId,
        since: Option<Position>,
        push: &mut Vec<Push>,
    ) {
        if self.connections.iter().any(|entry| entry.id == id && self.sees(entry, roster)) {
            let frame = self.changes.frame(now, roster, since);
            push.push(Push { to: vec![id], what: Pushed::CaughtUp(Arc::new(frame)) });
        }
    }

    /// Notes that a ticket is listed, and whose record had to go for it. Returns after which time [`LiveObject::flush`] is to
    /// be called, besides now.
    pub(crate) fn put(
        &mut self,
        now: UnixMillis,
        claim: Claim,
        expires_at: UnixMillis,
        displaced: Option<&Record>,
    ) -> Option<Duration> {
        if let Some(displaced) = displaced {
            self.changes.out(now, displaced);
            self.give_up(&Claim::of(&displaced.ticket));
        }
        let is_new = self.changes.put(now, claim, expires_at);
        self.attach_head();
        self.changed(now, if is_new { Urgency::Urgent } else { Urgency::Renewal })
    }

    /// Notes that a claim left. Returns after which time [`LiveObject::flush`] is to be called, besides now.
    pub(crate) fn left(
        &mut self,
        now: UnixMillis,
        ticket: &VerifiedTicket,
        max_lifetime: Duration,
    ) -> Option<Duration> {
        self.changes.left(now, ticket, ticket.payload().issued_at.after(max_lifetime));
        self.give_up(&Claim::of(ticket));
        self.changed(now, Urgency::Urgent)
    }

    /// Pushes what has changed to everybody, if that is due.
    pub(crate) fn flush(&mut self, now: UnixMillis, roster: &mut Roster, push: &mut Vec<Push>) {
        if !self.rate.take(now) {
            return self.arrange_to_be_asked(now, push);
        }
        self.asker = None;
        self.attach_head();
        let to: Vec<_> =
            self.connections.iter().filter(|entry| self.sees(entry, roster)).map(|entry| entry.id).collect();
        if to.is_empty() {
            self.sent = self.changes.position();
            return;
        }
        loop {
            let frame = self.changes.frame(now, roster, Some(self.sent));
            self.sent = frame.position;
            let more = frame.more;
            push.push(Push { to: to.clone(), what: Pushed::Frame(Arc::new(frame)) });
            if !more {
                return;
            }
        }
    }
}
