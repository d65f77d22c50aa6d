//! The rooms of one event loop. They are in memory alone: guests are back within seconds.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::Answer;
use rendezvous_service::goop2::{
    GuestCall, GuestEffects, GuestOpening, GuestPush, GuestPushed, GuestRefusal, GuestRoom, GuestsTo, RoomCall,
};
use rendezvous_service::live::{ConnectionId, Pushed};
use tokio::sync::{mpsc, oneshot};

use crate::journal;
use crate::live::Mailbox;

/// What the loop that owns a room is told.
#[derive(Debug)]
pub(crate) enum GuestMail {
    /// A request asks.
    Ask { call: RoomCall, answer: oneshot::Sender<Answer> },
    /// A connection is to be opened. What is sent to it goes into `pushed`, as far as there is room.
    Open {
        id: ConnectionId,
        opening: GuestOpening,
        pushed: mpsc::Sender<GuestPushed>,
        answer: oneshot::Sender<Result<(), GuestRefusal>>,
    },
    /// A connection has something to tell.
    Tell { id: ConnectionId, call: GuestCall },
    /// A connection of `GET /live` is to be told of guests.
    Watch { id: ConnectionId, mailbox: Arc<Mailbox> },
    /// A connection has ended.
    Closed { id: ConnectionId },
}

/// Holds the rooms that one event loop owns: of communities that the operator names, so they are few.
#[derive(Default)]
pub(crate) struct Rooms {
    rooms: HashMap<String, Room>,
}

struct Room {
    room: GuestRoom,
    connections: HashMap<ConnectionId, mpsc::Sender<GuestPushed>>,
    viewers: HashMap<ConnectionId, Arc<Mailbox>>,
}

impl Rooms {
    /// Takes what a room is told. `is_listed` says whether a ticket of a key is listed in the community.
    pub(crate) fn take(
        &mut self,
        now: UnixMillis,
        name: &str,
        mail: GuestMail,
        is_listed: impl Fn(&PublicKey) -> bool,
    ) {
        if !self.rooms.contains_key(name) {
            // Whoever has ended is in no room that is not there.
            if matches!(mail, GuestMail::Tell { .. } | GuestMail::Closed { .. }) {
                return;
            }
            let mut secret = [0; 16];
            if let Err(error) = getrandom::fill(&mut secret) {
                return journal::failure("request_failed", &format_args!("no randomness: {error}"));
            }
            let room = GuestRoom::new(Secret::from_bytes(secret));
            self.rooms.insert(name.to_owned(), Room { room, connections: HashMap::new(), viewers: HashMap::new() });
        }
        self.with_room(name, |Room { room, connections, viewers }| match mail {
            GuestMail::Ask { call, answer } => {
                let (answered, effects) = room.handle(now, call, is_listed);
                // Whoever asked may have gone away.
                let _ = answer.send(answered);
                effects
            }
            GuestMail::Open { id, opening, pushed, answer } => {
                let (outcome, effects) = room.open(now, id, &opening);
                if outcome.is_ok() {
                    connections.insert(id, pushed);
                }
                // Whoever asked may have gone away, and says so by itself.
                let _ = answer.send(outcome);
                effects
            }
            GuestMail::Tell { id, call } => match call {
                GuestCall::Tell(presence) => room.receive(now, id, *presence, is_listed),
                GuestCall::Returns => room.returns(now, id),
            },
            GuestMail::Watch { id, mailbox } => {
                viewers.insert(id, mailbox);
                room.watch(now, id)
            }
            GuestMail::Closed { id } => {
                connections.remove(&id);
                viewers.remove(&id);
                room.closed(now, id)
            }
        });
    }

    /// Does what is due.
    pub(crate) fn handle_deadlines(&mut self, now: UnixMillis, is_listed: impl Fn(&str, &PublicKey) -> bool) {
        let due = self.rooms.iter().filter(|(_, room)| room.room.is_due(now));
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.with_room(&name, |room| room.room.handle_timeout(now, |key| is_listed(&name, key)));
        }
    }

    /// Lets a room do something, and sends what comes of it. A room that panics is dropped, and all connections that it
    /// knows end with it: whoever comes back is told by the next one.
    fn with_room(&mut self, name: &str, work: impl FnOnce(&mut Room) -> GuestEffects) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        match catch_unwind(AssertUnwindSafe(|| work(room))) {
            Ok(effects) => {
                room.send(effects);
                if room.room.is_empty() {
                    self.rooms.remove(name);
                }
            }
            Err(_) => {
                journal::failure("request_failed", &"the room of a community's guests has panicked, and starts anew");
                let viewers = self.rooms.remove(name).map(|room| room.viewers).unwrap_or_default();
                viewers.values().for_each(|mailbox| mailbox.put(Pushed::Close(CloseCode::Internal)));
            }
        }
    }
}

impl Room {
    fn send(&mut self, effects: GuestEffects) {
        for GuestPush { to, what } in effects {
            match (to, what) {
                (GuestsTo::One(id), GuestPushed::Close(code)) => {
                    if let Some(pushed) = self.connections.remove(&id) {
                        // One that has no room for it ends all the same.
                        let _ = pushed.try_send(GuestPushed::Close(code));
                    }
                }
                (GuestsTo::One(id), GuestPushed::Guests(texts)) => {
                    self.viewers.get(&id).into_iter().for_each(|mailbox| mailbox.put_guests(Arc::clone(&texts)));
                }
                (_, GuestPushed::Guests(texts)) => {
                    self.viewers.values().for_each(|mailbox| mailbox.put_guests(Arc::clone(&texts)));
                }
                // A connection that has no room for messages loses them.
                (GuestsTo::One(id), what) => {
                    let _ = self.connections.get(&id).map(|pushed| pushed.try_send(what));
                }
                (_, what) => self.connections.values().for_each(|pushed| {
                    let _ = pushed.try_send(what.clone());
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_that_panics_ends_the_connections_of_its_viewers() {
        let now = UnixMillis::saturating(1_700_000_000_000);
        let mut rooms = Rooms::default();
        let mailbox = Arc::new(Mailbox::default());
        let mail = GuestMail::Watch { id: ConnectionId(1), mailbox: Arc::clone(&mailbox) };
        rooms.take(now, "friends", mail, |_| false);
        rooms.with_room("friends", |_| panic!("on purpose"));
        assert_eq!(mailbox.close(), Some(CloseCode::Internal));
        assert!(rooms.rooms.is_empty());
    }
}
