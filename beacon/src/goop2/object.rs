//! The room in a community's object, on a host where connections outlive the object.
//!
//! Guests are in memory alone. While there is one the object has a timer, up to the end of its silence, and so does not
//! hibernate: a guest with a socket says every 5 s that it is there, which would keep it awake as well. So where the object is
//! forgotten there is no guest, and what is left is who listens, of which each connection keeps its own part. After a panic the
//! guests are back with their next message.

use std::time::Duration;

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::goop2::call::{GuestCall, GuestOpening, KeptGuest, RoomCall, join};
use crate::goop2::room::{GuestEffects, GuestPush, GuestPushed, GuestRefusal, GuestRoom, GuestsTo};
use crate::live::{ConnectionId, Push, Pushed};

/// By so much a timer may end too early, by the clock that is read then.
const TIMER_EARLY: Duration = Duration::from_millis(50);

/// Holds the room, and who sees to it that what is due is done.
#[derive(Debug)]
pub(crate) struct GuestObject {
    room: GuestRoom,
    /// When the object's own timer ends, by the clock as it was when that was last read.
    timer_at: Option<UnixMillis>,
    seen_at: UnixMillis,
    /// The time after which there is to be one more.
    timer: Option<Duration>,
}

impl GuestObject {
    /// Makes an empty room. `secret` is secure randomness.
    pub(crate) fn new(secret: Secret) -> Self {
        Self::of(GuestRoom::new(secret))
    }

    /// Makes the room of which these connections are left, each with what it keeps, and these of `GET /live` that watch.
    /// `secret` is for one of which no connection of its own is. Absent where there are none.
    pub(crate) fn restore(
        kept: Vec<(ConnectionId, KeptGuest)>,
        viewers: Vec<ConnectionId>,
        secret: Secret,
    ) -> Option<Self> {
        if kept.is_empty() && viewers.is_empty() {
            return None;
        }
        let secret = kept.first().map_or(secret, |(_, kept)| kept.secret);
        let listeners = kept.into_iter().map(|(id, KeptGuest { path, guest, .. })| (id, path, guest));
        Some(Self::of(GuestRoom::restore(secret, listeners, viewers)))
    }

    fn of(room: GuestRoom) -> Self {
        Self { room, timer_at: None, seen_at: UnixMillis::saturating(0), timer: None }
    }

    /// Returns whether nobody is there, and nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.room.is_empty()
    }

    /// Returns whether the connection is one of the room's own.
    pub(crate) fn has(&self, id: ConnectionId) -> bool {
        self.room.kept(id).is_some()
    }

    /// Returns whether the connection is one of `GET /live` that watches.
    pub(crate) fn is_watched_by(&self, id: ConnectionId) -> bool {
        self.room.viewers().any(|viewer| viewer == id)
    }

    /// Writes what a connection of the room's own keeps.
    pub(crate) fn attachment(&self, id: ConnectionId) -> Option<String> {
        self.room.kept(id).map(|kept| kept.to_text())
    }

    /// Returns after which time [`GuestObject::handle_timeout`] is to be called, if it is, since this was last called.
    pub(crate) const fn take_timer(&mut self) -> Option<Duration> {
        self.timer.take()
    }

    /// Answers a request.
    pub(crate) fn handle(
        &mut self,
        now: UnixMillis,
        call: RoomCall,
        is_listed: &dyn Fn(&PublicKey) -> bool,
        push: &mut Vec<Push>,
    ) -> Answer {
        let (answer, effects) = self.room.handle(now, call, is_listed);
        self.carry_out(now, effects, push);
        answer
    }

    /// Opens a connection, and pushes to it who is there.
    pub(crate) fn open(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        opening: &GuestOpening,
        push: &mut Vec<Push>,
    ) -> Result<(), GuestRefusal> {
        let (outcome, effects) = self.room.open(now, id, opening);
        self.carry_out(now, effects, push);
        outcome
    }

    /// Takes what a connection of the room's own says.
    pub(crate) fn take(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        call: GuestCall,
        is_listed: &dyn Fn(&PublicKey) -> bool,
        push: &mut Vec<Push>,
    ) {
        let effects = match call {
            GuestCall::Tell(presence) => self.room.receive(now, id, *presence, is_listed),
            GuestCall::Returns => self.room.returns(now, id),
        };
        self.carry_out(now, effects, push);
    }

    /// Tells a connection of `GET /live` who is there, now and whenever that changes.
    pub(crate) fn watch(&mut self, now: UnixMillis, id: ConnectionId, push: &mut Vec<Push>) {
        let effects = self.room.watch(now, id);
        self.carry_out(now, effects, push);
    }

    /// Takes that a connection has ended, of either kind.
    pub(crate) fn closed(&mut self, now: UnixMillis, id: ConnectionId, push: &mut Vec<Push>) {
        let effects = self.room.closed(now, id);
        self.carry_out(now, effects, push);
    }

    /// Does what is due: an early or repeated call does nothing but wait on.
    pub(crate) fn handle_timeout(
        &mut self,
        now: UnixMillis,
        is_listed: &dyn Fn(&PublicKey) -> bool,
        push: &mut Vec<Push>,
    ) {
        // It may have been another timer that ended, or this one a little early.
        self.timer_at.take_if(|at| *at <= now.after(TIMER_EARLY));
        let effects = self.room.handle_timeout(now, is_listed);
        self.carry_out(now, effects, push);
    }

    fn carry_out(&mut self, now: UnixMillis, effects: GuestEffects, push: &mut Vec<Push>) {
        for GuestPush { to, what } in effects {
            let to: Vec<_> = match to {
                GuestsTo::One(id) => vec![id],
                GuestsTo::Listeners => self.room.listeners().collect(),
                GuestsTo::Viewers => self.room.viewers().collect(),
            };
            match what {
                GuestPushed::Messages(messages) => push.push(Push { to, what: Pushed::Reply(join(&messages)) }),
                // In the window it is what a signal is.
                GuestPushed::Guests(texts) => {
                    push.extend(texts.iter().map(|text| Push { to: to.clone(), what: Pushed::Signal(text.clone()) }))
                }
                GuestPushed::Close(code) => push.push(Push { to, what: Pushed::Close(code) }),
            }
        }
        self.wait(now);
    }

    /// Sees to it that what is due next is done.
    fn wait(&mut self, now: UnixMillis) {
        // A clock that was set back puts off what is due; a timer ends when it would have.
        self.timer_at.take_if(|_| now < self.seen_at);
        self.seen_at = now;
        let Some(due_at) = self.room.next_deadline() else { return };
        if self.timer_at.is_none_or(|at| at <= now || due_at < at) {
            (self.timer_at, self.timer) = (Some(due_at), Some(due_at.since(now)));
        }
    }
}
