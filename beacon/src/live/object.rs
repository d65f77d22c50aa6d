//! The object's half: which connections there are, and what is pushed to them.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::code::Code;
use rendezvous_protocol::limits::LIVE_ACK_TIMEOUT;
use rendezvous_protocol::live::{
    Admission, BeaconMessage, BoundMessage, Changes, Claim, CloseCode, DeliveredMessage, ErrorMessage, FrameRate,
    LiveLimits, Position, Seat, SignalBudget, Urgency, admit,
};
use rendezvous_protocol::network::NetworkPath;
use rendezvous_protocol::roster::{Record, Roster};
use rendezvous_protocol::ticket::VerifiedTicket;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};

use crate::config::Viewers;
use crate::live::call::{ConnectionId, LiveFull, Push, Pushed, SignalCall};

/// Does what an object needs done for its connections. By a table of functions: a host that opens no connection does not
/// carry the code of what it never does, and for a Worker every byte counts.
pub(crate) trait LiveSide: Debug {
    /// Returns how many connections there are.
    fn len(&self) -> usize;

    /// Opens a connection, and pushes what it missed.
    fn open(
        &mut self,
        now: UnixMillis,
        roster: &mut Roster,
        id: ConnectionId,
        path: NetworkPath,
        since: Option<Position>,
        push: &mut Vec<Push>,
    ) -> Result<(), LiveFull>;

    /// Forgets a connection.
    fn close(&mut self, id: ConnectionId);

    /// Returns whether the connection is there, and where it counts.
    fn path(&self, id: ConnectionId) -> Option<NetworkPath>;

    /// Returns whether the connection is bound to this claim.
    fn is_bound(&self, id: ConnectionId, claim: &Claim) -> bool;

    /// Binds a connection to a claim that is listed. Another one that is bound to it has to go. `asked` is the `id` of the
    /// message, and how far the client has come.
    fn bind(
        &mut self,
        now: UnixMillis,
        roster: &mut Roster,
        id: ConnectionId,
        claim: Claim,
        asked: (Option<&str>, Option<Position>),
        push: &mut Vec<Push>,
    );

    /// Hands a signal on to the connection of the claim that it is for, or pushes to its sender why not.
    fn signal(&mut self, now: UnixMillis, roster: &Roster, id: ConnectionId, signal: SignalCall, push: &mut Vec<Push>);

    /// Notes whether the client of a connection reads.
    fn reads(&mut self, id: ConnectionId, reads: bool);

    /// Pushes to one connection what changed since a position, or everything. Whoever may not see it gets nothing.
    fn catch_up(
        &self,
        now: UnixMillis,
        roster: &mut Roster,
        id: ConnectionId,
        since: Option<Position>,
        push: &mut Vec<Push>,
    );

    /// Notes that a ticket is listed, and whose record had to go for it. Returns after which time [`LiveSide::flush`] is to
    /// be called, besides now.
    fn put(
        &mut self,
        now: UnixMillis,
        claim: Claim,
        expires_at: UnixMillis,
        displaced: Option<&Record>,
    ) -> Option<Duration>;

    /// Notes that a claim left. Returns after which time [`LiveSide::flush`] is to be called, besides now.
    fn left(&mut self, now: UnixMillis, ticket: &VerifiedTicket, max_lifetime: Duration) -> Option<Duration>;

    /// Pushes what has changed to everybody, if that is due.
    fn flush(&mut self, now: UnixMillis, roster: &mut Roster, push: &mut Vec<Push>);
}

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
}

#[derive(Debug)]
struct Entry {
    id: ConnectionId,
    path: NetworkPath,
    bound: Option<Claim>,
    /// What it may be sent of signals.
    signals: SignalBudget,
    /// Whether its client reads what it is sent.
    reads: bool,
}

impl Entry {
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
    pub(crate) fn new(now: UnixMillis, limits: LiveLimits, viewers: Viewers, roster: &Roster) -> Self {
        let changes = Changes::new(roster.secret().live_epoch(now), now, roster);
        Self { limits, viewers, rate: FrameRate::default(), sent: changes.position(), changes, connections: Vec::new() }
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
        if self.connections.is_empty() { None } else { self.rate.changed(now, urgency) }
    }

    /// Returns whether a connection is sent who is present. A claim that is not listed any more is not a peer's.
    fn sees(&self, entry: &Entry, roster: &Roster) -> bool {
        self.viewers == Viewers::Everybody || entry.is_peer(roster)
    }
}

impl LiveSide for LiveObject {
    fn len(&self) -> usize {
        self.connections.len()
    }

    fn open(
        &mut self,
        now: UnixMillis,
        roster: &mut Roster,
        id: ConnectionId,
        path: NetworkPath,
        since: Option<Position>,
        push: &mut Vec<Push>,
    ) -> Result<(), LiveFull> {
        let seat = |entry: &Entry| Seat { path: entry.path, is_bound: entry.is_peer(roster) };
        let seats: Vec<_> = self.connections.iter().map(seat).collect();
        match admit(&seats, path, self.limits, now, roster.secret()) {
            Admission::Admitted => {}
            Admission::InPlaceOf(position) => {
                let gone = self.connections.remove(position);
                push.push(Push { to: vec![gone.id], what: Pushed::Close(CloseCode::LiveFull) });
            }
            Admission::Full => return Err(LiveFull),
        }
        if self.connections.is_empty() {
            self.sent = self.changes.position();
        }
        self.connections.push(Entry { id, path, bound: None, signals: SignalBudget::default(), reads: true });
        if self.viewers == Viewers::Everybody {
            self.catch_up(now, roster, id, since, push);
        }
        Ok(())
    }

    fn close(&mut self, id: ConnectionId) {
        self.connections.retain(|entry| entry.id != id);
        if self.connections.is_empty() {
            self.rate.stop();
        }
    }

    fn path(&self, id: ConnectionId) -> Option<NetworkPath> {
        self.connections.iter().find(|entry| entry.id == id).map(|entry| entry.path)
    }

    fn is_bound(&self, id: ConnectionId, claim: &Claim) -> bool {
        self.connections.iter().any(|entry| entry.id == id && entry.bound.as_ref() == Some(claim))
    }

    fn bind(
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
            let gone = self.connections.remove(position);
            push.push(Push { to: vec![gone.id], what: Pushed::Close(CloseCode::Replaced) });
        }
        let Some(entry) = self.connections.iter_mut().find(|entry| entry.id == id) else { return };
        let is_first = entry.bound.replace(claim).is_none();
        push.push(Push { to: vec![id], what: Pushed::Bound(BoundMessage { re }.to_text()) });
        if is_first && self.viewers == Viewers::Bound {
            self.catch_up(now, roster, id, since, push);
        }
    }

    fn signal(&mut self, now: UnixMillis, roster: &Roster, id: ConnectionId, signal: SignalCall, push: &mut Vec<Push>) {
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

    fn reads(&mut self, id: ConnectionId, reads: bool) {
        if let Some(entry) = self.connections.iter_mut().find(|entry| entry.id == id) {
            entry.reads = reads;
        }
    }

    fn catch_up(
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

    fn put(
        &mut self,
        now: UnixMillis,
        claim: Claim,
        expires_at: UnixMillis,
        displaced: Option<&Record>,
    ) -> Option<Duration> {
        if let Some(displaced) = displaced {
            self.changes.out(now, displaced);
        }
        let is_new = self.changes.put(now, claim, expires_at);
        self.changed(now, if is_new { Urgency::Urgent } else { Urgency::Renewal })
    }

    fn left(&mut self, now: UnixMillis, ticket: &VerifiedTicket, max_lifetime: Duration) -> Option<Duration> {
        self.changes.left(now, ticket, ticket.payload().issued_at.after(max_lifetime));
        self.changed(now, Urgency::Urgent)
    }

    fn flush(&mut self, now: UnixMillis, roster: &mut Roster, push: &mut Vec<Push>) {
        if !self.rate.take(now) {
            return;
        }
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
