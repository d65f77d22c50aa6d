//! The room of one community's guests, and who listens there. It is in memory alone, and in one place.
//!
//! A call comes in, and what is to be sent to connections goes out. A connection that cannot take a message loses it: all
//! are sent again within 15 s.

use std::collections::BTreeSet;
use std::sync::Arc;

use rendezvous_protocol::goop2::{
    GuestId, Guests, Presence, PresenceFields, PresenceKind, Published, SocketId, viewers_messages,
};
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::{GUEST_CONNECTIONS, GUEST_CONNECTIONS_PER_HOUSEHOLD};
use rendezvous_protocol::live::{Admission, CloseCode, LiveLimits, Seat, admit};
use rendezvous_protocol::network::{HandedOver, NetworkPath};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use crate::answer::Answer;
use crate::goop2::refusal::Refusal;
use crate::live::ConnectionId;

const LIMITS: LiveLimits =
    LiveLimits { connections: GUEST_CONNECTIONS, connections_per_household: GUEST_CONNECTIONS_PER_HOUSEHOLD };

/// Says what a room is asked by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomCall {
    /// To take a message.
    Publish {
        /// The message.
        presence: Box<Presence>,
        /// Where it comes from.
        network: HandedOver,
    },
    /// To say who is there.
    List,
}

/// Holds what a room is told of a connection that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestOpening {
    /// Where the client counts.
    pub network: HandedOver,
    /// Whose socket it is; absent where it only listens.
    pub guest: Option<GuestId>,
}

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
    viewers: BTreeSet<ConnectionId>,
    /// Up to where they know.
    told: u64,
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
        Self { guests: Guests::new(secret), connections: Vec::new(), viewers: BTreeSet::new(), told: 0 }
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
            let echo = echo.map(|text| GuestPushed::Messages(Arc::new([text])));
            effects.extend(echo.map(|what| GuestPush { to: GuestsTo::One(id), what }));
        }
        self.tell(now, &mut effects);
        effects
    }

    /// Tells a connection of `GET /live` who is there, now and whenever that changes.
    pub fn watch(&mut self, now: UnixMillis, id: ConnectionId) -> GuestEffects {
        let mut effects = Vec::new();
        self.tell(now, &mut effects);
        self.viewers.insert(id);
        effects.push(self.view(GuestsTo::One(id)));
        effects
    }

    /// Takes that a connection has ended.
    pub fn closed(&mut self, now: UnixMillis, id: ConnectionId) -> GuestEffects {
        let mut effects = Vec::new();
        self.connections.retain(|listener| listener.id != id);
        self.viewers.remove(&id);
        self.guests.closed(now, SocketId(id.0));
        self.tell(now, &mut effects);
        effects
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
        self.guests.is_due(now)
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
        let is_older = |listener: &&Listener| listener.guest.is_some() && listener.guest == opening.guest;
        let (older, others): (Vec<_>, Vec<_>) = self.connections.iter().partition(is_older);
        let seat =
            |listener: &&Listener| Seat { path: listener.path, is_bound: self.guests.holds(SocketId(listener.id.0)) };
        let seats: Vec<_> = others.iter().map(seat).collect();
        let gone = match admit(&seats, path, LIMITS, now, self.guests.secret()) {
            Admission::Admitted => None,
            Admission::InPlaceOf(position) => others.get(position).map(|listener| listener.id),
            Admission::Full => return Err(Refusal::ConnectionsFull),
        };
        let older: Vec<_> = older.iter().map(|listener| listener.id).collect();
        if let Some(guest) = &opening.guest {
            self.guests.listen(now, guest, path, SocketId(id.0))?;
        }
        gone.into_iter().for_each(|gone| self.end(gone, CloseCode::LiveFull, effects));
        older.into_iter().for_each(|older| self.end(older, CloseCode::Replaced, effects));
        self.connections.push(Listener { id, path, guest: opening.guest.clone() });
        Ok(())
    }

    fn end(&mut self, id: ConnectionId, code: CloseCode, effects: &mut GuestEffects) {
        self.connections.retain(|listener| listener.id != id);
        effects.push(GuestPush { to: GuestsTo::One(id), what: GuestPushed::Close(code) });
    }

    /// Sends everybody what is due.
    fn tell(&mut self, now: UnixMillis, effects: &mut GuestEffects) {
        let messages = self.guests.take_due(now);
        if !messages.is_empty() && !self.connections.is_empty() {
            effects.push(GuestPush { to: GuestsTo::Listeners, what: GuestPushed::Messages(messages.into()) });
        }
        let changes = self.guests.changes();
        if std::mem::replace(&mut self.told, changes) != changes && !self.viewers.is_empty() {
            effects.push(self.view(GuestsTo::Viewers));
        }
    }

    fn view(&self, to: GuestsTo) -> GuestPush {
        let messages = viewers_messages(self.guests.all().map(|(presence, ..)| presence));
        GuestPush { to, what: GuestPushed::Guests(messages.into()) }
    }

    fn list(&self) -> Answer {
        let mut rows: Vec<_> = self.guests.all().map(Row::new).collect();
        rows.sort_by_key(|row| (row.kind, std::cmp::Reverse(row.last_seen)));
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
