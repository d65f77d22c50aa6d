//! The room of one community's guests, and who listens there. It is in memory alone, and in one place.
//!
//! A call comes in, and what is to be sent to connections goes out. A connection that cannot take a message loses it: all
//! are sent again within 15 s.

use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::goop2::{
    GuestId, Guests, Presence, PresenceFields, PresenceKind, Published, SocketId, viewers_messages,
};
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::{
    GUEST_CONNECTIONS, GUEST_CONNECTIONS_PER_HOUSEHOLD, GUEST_REPETITION, GUEST_VIEW_BYTES_PER_SECOND,
};
use rendezvous_protocol::live::{Admission, CloseCode, LiveLimits, Seat, admit};
use rendezvous_protocol::network::NetworkPath;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use crate::answer::Answer;
use crate::goop2::call::{GuestOpening, KeptGuest, RoomCall};
use crate::goop2::refusal::Refusal;
use crate::live::ConnectionId;

const LIMITS: LiveLimits =
    LiveLimits { connections: GUEST_CONNECTIONS, connections_per_household: GUEST_CONNECTIONS_PER_HOUSEHOLD };

/// Says why a room has no place for a connection.
#[derive(Clone, Debug)]
pub struct GuestRefusal(pub(crate) Refusal);

/// Says whom something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestsTo {
    /// One connection, of whatever kind.
    One(ConnectionId),
    /// Every connection that was opened here.
    Listeners,
    /// Every connection of `GET /live` that watches.
    Viewers,
}

/// Holds what a room has for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPush {
    /// Whom it is for.
    pub to: GuestsTo,
    /// What it is.
    pub what: GuestPushed,
}

/// Says what a room has for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestPushed {
    /// Messages.
    Messages(Arc<[Arc<str>]>),
    /// Messages for a connection of `GET /live`.
    Guests(Arc<[String]>),
    /// The end.
    Close(CloseCode),
}

/// Holds what the host is to send, in this order.
pub type GuestEffects = Vec<GuestPush>;

/// Holds the guests of one community, and their connections.
#[derive(Debug)]
pub struct GuestRoom {
    guests: Guests,
    /// The oldest first.
    connections: Vec<Listener>,
    /// Connections of `GET /live` that watch.
    viewers: Vec<ConnectionId>,
    /// Up to where they know.
    told: u64,
    /// Before that they are told nothing new.
    view_at: UnixMillis,
}

/// Holds what is known of a connection that was opened here.
#[derive(Debug)]
struct Listener {
    id: ConnectionId,
    path: NetworkPath,
    /// Whose socket it is; absent where it only listens.
    guest: Option<GuestId>,
}

impl GuestRoom {
    /// Makes an empty room. `secret` is secure randomness.
    pub fn new(secret: Secret) -> Self {
        let (connections, viewers) = (Vec::new(), Vec::new());
        Self { guests: Guests::new(secret), connections, viewers, told: 0, view_at: UnixMillis::saturating(0) }
    }

    /// Makes the room of which these are left: connections that were opened here, each with where it counts and whose socket
    /// it is, and those of `GET /live` that watch.
    pub(crate) fn restore(
        secret: Secret,
        listeners: impl Iterator<Item = (ConnectionId, NetworkPath, Option<GuestId>)>,
        viewers: Vec<ConnectionId>,
    ) -> Self {
        let mut connections: Vec<Listener> = Vec::new();
        for (id, path, guest) in listeners {
            let position = connections.partition_point(|listener| listener.id < id);
            connections.insert(position, Listener { id, path, guest });
        }
        // Whatever they were told may not be so any more.
        Self { connections, viewers, told: u64::MAX, ..Self::new(secret) }
    }

    /// Returns whether nobody is there, and nobody listens.
    pub fn is_empty(&self) -> bool {
        self.guests.is_empty() && self.connections.is_empty() && self.viewers.is_empty()
    }

    /// Answers a request. `is_listed` says whether a ticket of a key is listed: whoever signs is no guest.
    pub fn handle(
        &mut self,
        now: UnixMillis,
        call: RoomCall,
        is_listed: impl Fn(&PublicKey) -> bool,
    ) -> (Answer, GuestEffects) {
        let mut effects = Vec::new();
        let answer = match call {
            RoomCall::Publish { presence, network } => {
                let path = network.hashed(self.guests.secret());
                let published = if self.signs(now, &presence, is_listed) {
                    Ok(Published::Gone)
                } else {
                    self.guests.publish(now, *presence, path)
                };
                match published {
                    Ok(_) => Answer::empty(204, Vec::new()),
                    Err(refused) => Refusal::from(refused).answer(),
                }
            }
            RoomCall::List => self.list(),
        };
        self.tell(now, &mut effects);
        (answer, effects)
    }

    /// Opens a connection, and sends it who is there.
    ///
    /// # Errors
    /// [`GuestRefusal`], if there is no place for it.
    pub fn open(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        opening: &GuestOpening,
    ) -> (Result<(), GuestRefusal>, GuestEffects) {
        let mut effects = Vec::new();
        let outcome = self.admit(now, id, opening, &mut effects);
        if outcome.is_ok() {
            let messages = self.guests.messages();
            if !messages.is_empty() {
                effects.push(GuestPush { to: GuestsTo::One(id), what: GuestPushed::Messages(messages.into()) });
            }
        }
        self.tell(now, &mut effects);
        (outcome.map_err(GuestRefusal), effects)
    }

    /// Takes a message of a guest's socket. The socket hears it again if it counts, or would if whoever has the key did not
    /// sign: so each side knows that the other is there.
    pub fn receive(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        presence: Presence,
        is_listed: impl Fn(&PublicKey) -> bool,
    ) -> GuestEffects {
        let mut effects = Vec::new();
        let path = self.connections.iter().find(|listener| listener.id == id).map(|listener| listener.path);
        if let Some(path) = path {
            let echo = if self.signs(now, &presence, is_listed) {
                (presence.kind != PresenceKind::Offline).then(|| presence.to_text().into())
            } else {
                let guest = presence.id.clone();
                match self.guests.publish(now, presence, path) {
                    Ok(Published::Present(text)) => {
                        // It may have been gone, and come back by this. No other connection is this guest's.
                        let _ = self.guests.listen(now, &guest, path, SocketId(id.0));
                        Some(text)
                    }
                    Ok(Published::Gone) | Err(_) => None,
                }
            };
            if let Some(text) = echo {
                effects.push(GuestPush { to: GuestsTo::One(id), what: GuestPushed::Messages(Arc::new([text])) });
            }
        }
        self.tell(now, &mut effects);
        effects
    }

    /// Tells a connection of `GET /live` who is there, now and whenever that changes.
    pub fn watch(&mut self, now: UnixMillis, id: ConnectionId) -> GuestEffects {
        let mut effects = Vec::new();
        self.tell(now, &mut effects);
        self.viewers.push(id);
        effects.push(GuestPush { to: GuestsTo::One(id), what: GuestPushed::Guests(self.view()) });
        effects
    }

    /// Takes that a connection has ended.
    pub fn closed(&mut self, now: UnixMillis, id: ConnectionId) -> GuestEffects {
        let mut effects = Vec::new();
        self.forget(id);
        self.viewers.retain(|viewer| *viewer != id);
        self.guests.closed(now, SocketId(id.0));
        self.tell(now, &mut effects);
        effects
    }

    /// Takes that a connection ends whose client is about to open another one: the end of its socket is not that of a guest.
    pub fn returns(&mut self, now: UnixMillis, id: ConnectionId) -> GuestEffects {
        self.guests.detach(SocketId(id.0));
        self.closed(now, id)
    }

    /// Returns the connections that were opened here, the oldest first.
    pub(crate) fn listeners(&self) -> impl DoubleEndedIterator<Item = ConnectionId> {
        self.connections.iter().map(|listener| listener.id)
    }

    /// Returns the connections of `GET /live` that watch.
    pub(crate) fn viewers(&self) -> impl Iterator<Item = ConnectionId> {
        self.viewers.iter().copied()
    }

    /// Returns what a connection that was opened here is to keep for [`GuestRoom::restore`].
    pub(crate) fn kept(&self, id: ConnectionId) -> Option<KeptGuest> {
        let listener = self.connections.iter().find(|listener| listener.id == id)?;
        let Listener { path, guest, .. } = listener;
        Some(KeptGuest { secret: *self.guests.secret(), path: *path, guest: guest.clone() })
    }

    /// Returns when [`GuestRoom::handle_timeout`] is to be called next, if ever.
    pub(crate) fn next_deadline(&self) -> Option<UnixMillis> {
        self.guests.next_deadline().into_iter().chain(self.waits_to_tell().then_some(self.view_at)).min()
    }

    /// Does what is due: an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: UnixMillis, is_listed: impl Fn(&PublicKey) -> bool) -> GuestEffects {
        let mut effects = Vec::new();
        if self.is_due(now) {
            let keys: Vec<_> = self.guests.all().map(|(presence, ..)| presence.id.public_key()).collect();
            keys.iter().filter(|key| is_listed(key)).for_each(|key| self.guests.end(now, key));
            self.tell(now, &mut effects);
        }
        effects
    }

    /// Returns whether [`GuestRoom::handle_timeout`] has something to do.
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.guests.is_due(now) || (self.waits_to_tell() && self.may_tell(now))
    }

    /// Returns whether viewers do not know all.
    const fn waits_to_tell(&self) -> bool {
        self.told != self.guests.changes() && !self.viewers.is_empty()
    }

    /// Returns whether viewers may be told. A clock that has jumped back puts nothing off.
    fn may_tell(&self, now: UnixMillis) -> bool {
        self.view_at <= now || self.view_at.since(now) > GUEST_REPETITION
    }

    /// Returns whether whoever has the key of the name signs, and then ends the guest.
    fn signs(&mut self, now: UnixMillis, presence: &Presence, is_listed: impl Fn(&PublicKey) -> bool) -> bool {
        let key = presence.id.public_key();
        let signs = is_listed(&key);
        if signs {
            self.guests.end(now, &key);
        }
        signs
    }

    fn admit(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        opening: &GuestOpening,
        effects: &mut GuestEffects,
    ) -> Result<(), Refusal> {
        let path = opening.network.hashed(self.guests.secret());
        if let Some(guest) = &opening.guest {
            self.guests.may_listen(now, guest, path)?;
        }
        // Its older socket makes room for this one.
        let (mut ending, mut others, mut seats) = (Vec::new(), Vec::new(), Vec::new());
        for &Listener { id, path, ref guest } in &self.connections {
            if guest.is_some() && *guest == opening.guest {
                ending.push((id, CloseCode::Replaced));
            } else {
                others.push(id);
                seats.push(Seat { path, is_bound: self.guests.holds(SocketId(id.0)) });
            }
        }
        match admit(&seats, path, LIMITS, now, self.guests.secret()) {
            Admission::Admitted => {}
            Admission::InPlaceOf(position) => {
                if let Some(gone) = others.get(position) {
                    ending.push((*gone, CloseCode::LiveFull));
                }
            }
            Admission::Full => return Err(Refusal::ConnectionsFull),
        }
        if let Some(guest) = &opening.guest {
            self.guests.listen(now, guest, path, SocketId(id.0))?;
        }
        for (id, code) in ending {
            self.forget(id);
            effects.push(GuestPush { to: GuestsTo::One(id), what: GuestPushed::Close(code) });
        }
        self.connections.push(Listener { id, path, guest: opening.guest.clone() });
        Ok(())
    }

    fn forget(&mut self, id: ConnectionId) {
        self.connections.retain(|listener| listener.id != id);
    }

    /// Sends everybody what is due.
    fn tell(&mut self, now: UnixMillis, effects: &mut GuestEffects) {
        let messages = self.guests.take_due(now);
        if !messages.is_empty() && !self.connections.is_empty() {
            effects.push(GuestPush { to: GuestsTo::Listeners, what: GuestPushed::Messages(messages.into()) });
        }
        if self.viewers.is_empty() {
            self.told = self.guests.changes();
        } else if self.waits_to_tell() && self.may_tell(now) {
            self.told = self.guests.changes();
            let messages = self.view();
            let bytes = messages.iter().map(String::len).sum::<usize>();
            let pause = Duration::from_millis((bytes * 1_000 / GUEST_VIEW_BYTES_PER_SECOND) as u64);
            self.view_at = now.after(pause.min(GUEST_REPETITION));
            effects.push(GuestPush { to: GuestsTo::Viewers, what: GuestPushed::Guests(messages) });
        }
    }

    fn view(&self) -> Arc<[String]> {
        viewers_messages(self.guests.all().map(|(presence, ..)| presence)).into()
    }

    fn list(&self) -> Answer {
        let mut rows: Vec<Row<'_>> = Vec::new();
        for row in self.guests.all().map(Row::new) {
            let is_before = |other: &Row<'_>| (other.kind, row.last_seen) <= (row.kind, other.last_seen);
            rows.insert(rows.partition_point(is_before), row);
        }
        Answer::ok(&rows, None)
    }
}

/// A row of `/peers.json`. What goop2 counts of bytes is not counted here.
#[derive(Serialize)]
struct Row<'a> {
    peer_id: &'a str,
    #[serde(rename = "type", serialize_with = "spelt")]
    kind: PresenceKind,
    content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    avatar_hash: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    active_template: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    public_key: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    encryption_supported: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    addrs: &'a [String],
    ts: i64,
    last_seen: UnixMillis,
    verified: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ws_connected: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn spelt<S: serde::Serializer>(kind: &PresenceKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

impl<'a> Row<'a> {
    fn new((presence, last_seen, ws_connected): (&'a Presence, UnixMillis, bool)) -> Self {
        let Presence { kind, id, fields, ts } = presence;
        let PresenceFields { content, avatar_hash, active_template, addrs, public_key, encryption_supported, .. } =
            fields;
        Self {
            peer_id: id.as_str(),
            kind: *kind,
            content,
            avatar_hash,
            active_template,
            public_key,
            encryption_supported: *encryption_supported,
            addrs,
            ts: *ts,
            last_seen,
            verified: false,
            ws_connected,
        }
    }
}
