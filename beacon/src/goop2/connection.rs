//! One client of the door that listens, where the client is.
//!
//! Every limit is applied before anything is waited for. Little is kept for a client that does not read: a host that waits
//! for it drops what comes meanwhile, and for one that does not wait what may be unread is bounded here.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rendezvous_protocol::goop2::{CircuitRelay, GUEST_MESSAGES, GuestId, Presence};
use rendezvous_protocol::limits::{
    GUEST_BODY_MAX_BYTES, GUEST_SOCKET_PING, GUEST_SOCKET_SILENCE, GUEST_UNREAD_MAX_BYTES, LIVE_ACK_TIMEOUT,
    LIVE_MALFORMED_MESSAGES, LIVE_STREAM_PING,
};
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::network::NetworkHash;
use rendezvous_protocol::time::UnixMillis;

use crate::goop2::call::{GuestCall, split};
use crate::goop2::room::GuestPushed;
use crate::live::Pushed;

/// Says what a client reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GuestKind {
    /// The socket of a guest.
    Socket(GuestId),
    /// An event stream.
    Stream,
    /// A socket that only finds out whether there are sockets.
    Probe,
}

/// Says what the host is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum GuestOutput {
    /// To send a message: of an event stream, what is written there.
    Text(String),
    /// To send a ping of the WebSocket's own (RFC 6455, section 5.5.2).
    Ping,
    /// To tell the room.
    Tell(GuestCall),
    /// To end the connection, and to read nothing more of it. There is no output after this.
    Close {
        /// The number.
        code: u16,
        /// The reason.
        reason: &'static str,
    },
}

/// Holds what the host of a connection can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuestHost {
    /// Whether it sends pings of the WebSocket's own.
    pub(crate) pings: bool,
    /// After how many pushes of the room a connection ends, so that its client opens another one; absent, it does not.
    pub(crate) most_pushes: Option<u32>,
}

/// Holds one connection.
pub struct GuestConnection {
    kind: GuestKind,
    host: GuestHost,
    /// Of the client: for the addresses in messages, and for nothing else.
    address: Option<IpAddr>,
    /// Where the client is remembered if it has to be refused.
    address_hash: NetworkHash,
    relay: Option<Arc<CircuitRelay>>,
    /// When the bucket of messages is full, in milliseconds as [`UnixMillis`]. Pongs count too.
    full_at: u64,
    malformed: u32,
    heard_at: UnixMillis,
    sent_at: UnixMillis,
    /// Pushes of the room.
    pushes: u32,
    /// Bytes that may be unread.
    unread: usize,
    /// When the first was sent of what may be unread, on a stream, whose host says when it is read.
    unread_since: Option<UnixMillis>,
    outputs: VecDeque<GuestOutput>,
    is_closed: bool,
    /// Absent where it is open, and for a probe.
    closed_by: Option<CloseCode>,
}

impl fmt::Debug for GuestConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the client's address, which is for nobody to read.
        formatter.debug_struct("GuestConnection").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl GuestConnection {
    /// Opens a connection that the room has admitted.
    pub(crate) fn new(
        now: UnixMillis,
        kind: GuestKind,
        host: GuestHost,
        (address, address_hash): (Option<IpAddr>, NetworkHash),
        relay: Option<Arc<CircuitRelay>>,
    ) -> Self {
        let unread_since = (kind == GuestKind::Stream).then_some(now);
        let first = match kind {
            GuestKind::Stream => Some(GuestOutput::Text(": ok\n\n".to_owned())),
            GuestKind::Probe => Some(GuestOutput::Close { code: 1000, reason: "probe-ok" }),
            GuestKind::Socket(_) => None,
        };
        Self {
            is_closed: kind == GuestKind::Probe,
            closed_by: None,
            kind,
            host,
            address,
            address_hash,
            relay,
            full_at: 0,
            malformed: 0,
            heard_at: now,
            sent_at: now,
            pushes: 0,
            unread: 0,
            unread_since,
            outputs: first.into_iter().collect(),
        }
    }

    /// Returns what is to be done next, if anything is.
    pub fn next_output(&mut self) -> Option<GuestOutput> {
        self.outputs.pop_front()
    }

    /// Takes a text of the client, of at most [`GUEST_BODY_MAX_BYTES`].
    pub fn receive(&mut self, now: UnixMillis, text: &str) {
        if text.len() > GUEST_BODY_MAX_BYTES {
            return self.close(CloseCode::TooLong);
        }
        if !self.is_heard(now) {
            return;
        }
        let presence = Presence::parse(text.as_bytes(), self.address, self.relay.as_deref());
        match (presence, &self.kind) {
            (Ok(presence), GuestKind::Socket(own)) if presence.id == *own => {
                self.outputs.push_back(GuestOutput::Tell(GuestCall::Tell(Box::new(presence))));
            }
            // A socket speaks for the guest that opened it alone.
            _ => {
                self.malformed += 1;
                if self.malformed >= LIVE_MALFORMED_MESSAGES {
                    self.close(CloseCode::Malformed);
                }
            }
        }
    }

    /// Takes a ping or a pong of the WebSocket's own.
    pub fn receive_control(&mut self, now: UnixMillis) {
        self.is_heard(now);
    }

    /// Takes that the client has sent what no right one does: something binary, or a message that is too long.
    pub fn refuse(&mut self, code: CloseCode) {
        self.close(code);
    }

    /// Takes that the beacon is about to end.
    pub fn drain(&mut self) {
        self.close(CloseCode::GoingAway);
    }

    /// Takes what the room has for this connection.
    pub fn take(&mut self, now: UnixMillis, pushed: GuestPushed) {
        if self.is_closed {
            return;
        }
        match pushed {
            GuestPushed::Messages(messages) => self.take_messages(now, &messages),
            // Not for this kind of connection.
            GuestPushed::Guests(_) => {}
            GuestPushed::Close(code) => self.close(code),
        }
    }

    /// Takes what a room that is in a community's object has for this connection.
    pub fn take_pushed(&mut self, now: UnixMillis, pushed: Pushed) {
        match pushed {
            Pushed::Reply(messages) => self.take(now, GuestPushed::Messages(split(&messages))),
            Pushed::Close(code) => self.close(code),
            // For connections of `GET /live`.
            _ => {}
        }
    }

    /// Takes that everything that was sent has been read, or is where the host bounds it.
    pub const fn read(&mut self) {
        (self.unread, self.unread_since) = (0, None);
    }

    /// Returns when [`GuestConnection::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> UnixMillis {
        match self.kind {
            GuestKind::Stream => {
                let ping_at = self.sent_at.after(LIVE_STREAM_PING);
                self.slow_at().map_or(ping_at, |at| at.min(ping_at))
            }
            GuestKind::Socket(_) | GuestKind::Probe => {
                let silent_at = self.heard_at.after(GUEST_SOCKET_SILENCE);
                if self.host.pings { silent_at.min(self.sent_at.after(GUEST_SOCKET_PING)) } else { silent_at }
            }
        }
    }

    /// Does what is due: an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: UnixMillis) {
        // A clock that has jumped back puts nothing off.
        (self.heard_at, self.sent_at) = (self.heard_at.min(now), self.sent_at.min(now));
        self.unread_since = self.unread_since.map(|since| since.min(now));
        if self.is_closed || now < self.next_deadline() {
            return;
        }
        match self.kind {
            GuestKind::Stream if self.slow_at().is_some_and(|at| at <= now) => self.close(CloseCode::Slow),
            GuestKind::Stream => self.write(now, ": ping\n\n".to_owned()),
            GuestKind::Socket(_) | GuestKind::Probe if self.heard_at.after(GUEST_SOCKET_SILENCE) <= now => {
                self.close(CloseCode::Again);
            }
            GuestKind::Socket(_) | GuestKind::Probe => {
                self.sent_at = now;
                self.outputs.push_back(GuestOutput::Ping);
            }
        }
    }

    /// Returns when a stream ends whose client does not read: its place is another's.
    fn slow_at(&self) -> Option<UnixMillis> {
        self.unread_since.map(|since| since.after(LIVE_ACK_TIMEOUT))
    }

    fn write(&mut self, now: UnixMillis, text: String) {
        self.sent_at = now;
        if self.kind == GuestKind::Stream {
            self.unread_since.get_or_insert(now);
        }
        self.outputs.push_back(GuestOutput::Text(text));
    }

    fn take_messages(&mut self, now: UnixMillis, messages: &[Arc<str>]) {
        let is_stream = self.kind == GuestKind::Stream;
        if self.unread > GUEST_UNREAD_MAX_BYTES {
            // A stream loses these, and hears of all again once it has read.
            if !is_stream {
                self.end_for_another();
            }
            return;
        }
        for text in messages {
            self.unread += text.len();
            self.write(now, if is_stream { format!("data: {text}\n\n") } else { text.to_string() });
        }
        self.pushes = self.pushes.saturating_add(1);
        if self.host.most_pushes.is_some_and(|most| self.pushes >= most) {
            self.end_for_another();
        }
    }

    /// Ends the connection though its client has done nothing wrong. The guest stays: else all others were told that it went.
    fn end_for_another(&mut self) {
        self.outputs.push_back(GuestOutput::Tell(GuestCall::Returns));
        self.close(CloseCode::Again);
    }

    /// Returns what the connection was closed for, if anything, whether or not the client has let itself be told.
    pub(crate) const fn closed_by(&self) -> Option<CloseCode> {
        self.closed_by
    }

    /// Returns the client's address, as it is remembered where one is refused.
    pub(crate) const fn address_hash(&self) -> NetworkHash {
        self.address_hash
    }

    /// Notes that something was heard, and returns whether it is to be looked at.
    fn is_heard(&mut self, now: UnixMillis) -> bool {
        if self.is_closed {
            return false;
        }
        self.heard_at = now;
        let is_taken = GUEST_MESSAGES.take(&mut self.full_at, now.as_u64()).is_ok();
        if !is_taken {
            self.close(CloseCode::TooFast);
        }
        is_taken
    }

    fn close(&mut self, code: CloseCode) {
        if !self.is_closed {
            self.is_closed = true;
            self.closed_by = Some(code);
            self.outputs.push_back(GuestOutput::Close { code: code.as_u16(), reason: code.reason() });
        }
    }
}
