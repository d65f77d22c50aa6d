//! One client of the door that listens, where the client is.
//!
//! Every limit is applied before anything is waited for. Nothing is kept for a client that does not read: the host drops
//! what it cannot hand over.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rendezvous_protocol::goop2::{CircuitRelay, GUEST_MESSAGES, GuestId, Presence};
use rendezvous_protocol::limits::{
    GUEST_BODY_MAX_BYTES, GUEST_SOCKET_PING, GUEST_SOCKET_SILENCE, LIVE_MALFORMED_MESSAGES, LIVE_STREAM_PING,
};
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::network::NetworkHash;
use rendezvous_protocol::time::UnixMillis;

use crate::goop2::room::GuestPushed;

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
    Tell(Box<Presence>),
    /// To end the connection, and to read nothing more of it. There is no output after this.
    Close {
        /// The number.
        code: u16,
        /// The reason.
        reason: &'static str,
    },
}

/// Holds one connection.
pub struct GuestConnection {
    kind: GuestKind,
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
        address: Option<IpAddr>,
        address_hash: NetworkHash,
        relay: Option<Arc<CircuitRelay>>,
    ) -> Self {
        let first = match kind {
            GuestKind::Stream => Some(GuestOutput::Text(": ok\n\n".to_owned())),
            GuestKind::Probe => Some(GuestOutput::Close { code: 1000, reason: "probe-ok" }),
            GuestKind::Socket(_) => None,
        };
        Self {
            is_closed: kind == GuestKind::Probe,
            closed_by: None,
            kind,
            address,
            address_hash,
            relay,
            full_at: 0,
            malformed: 0,
            heard_at: now,
            sent_at: now,
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
                self.outputs.push_back(GuestOutput::Tell(Box::new(presence)));
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
            GuestPushed::Messages(messages) => {
                self.sent_at = now;
                let is_stream = self.kind == GuestKind::Stream;
                self.outputs.extend(messages.iter().map(|text| {
                    GuestOutput::Text(if is_stream { format!("data: {text}\n\n") } else { text.to_string() })
                }));
            }
            // Not for this kind of connection.
            GuestPushed::Guests(_) => {}
            GuestPushed::Close(code) => self.close(code),
        }
    }

    /// Returns when [`GuestConnection::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> UnixMillis {
        match self.kind {
            GuestKind::Stream => self.sent_at.after(LIVE_STREAM_PING),
            GuestKind::Socket(_) | GuestKind::Probe => {
                self.sent_at.after(GUEST_SOCKET_PING).min(self.heard_at.after(GUEST_SOCKET_SILENCE))
            }
        }
    }

    /// Does what is due: an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: UnixMillis) {
        // A clock that has jumped back puts nothing off.
        (self.heard_at, self.sent_at) = (self.heard_at.min(now), self.sent_at.min(now));
        if self.is_closed || now < self.next_deadline() {
            return;
        }
        match self.kind {
            GuestKind::Stream => {
                self.sent_at = now;
                self.outputs.push_back(GuestOutput::Text(": ping\n\n".to_owned()));
            }
            GuestKind::Socket(_) | GuestKind::Probe if self.heard_at.after(GUEST_SOCKET_SILENCE) <= now => {
                self.close(CloseCode::Again);
            }
            GuestKind::Socket(_) | GuestKind::Probe => {
                self.sent_at = now;
                self.outputs.push_back(GuestOutput::Ping);
            }
        }
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
