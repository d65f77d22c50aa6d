//! One client of the door that listens, where the client is.
//!
//! Every limit is applied before anything is waited for. Nothing is kept for a client that does not read: the host drops
//! what it cannot hand over.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rendezvous_protocol::goop2::{CircuitRelay, GuestId, Presence};
use rendezvous_protocol::limits::{
    GUEST_BODY_MAX_BYTES, GUEST_MESSAGE_INTERVAL, GUEST_MESSAGES_AT_ONCE, GUEST_SOCKET_PING, GUEST_SOCKET_SILENCE,
    LIVE_MALFORMED_MESSAGES, LIVE_STREAM_PING,
};
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_protocol::token_bucket::TokenBucket;

use crate::goop2::room::GuestPushed;

/// Messages that a socket may bring. Pongs count too.
const MESSAGES: TokenBucket = TokenBucket {
    interval: GUEST_MESSAGE_INTERVAL.as_millis() as u64,
    filling: GUEST_MESSAGE_INTERVAL.as_millis() as u64 * GUEST_MESSAGES_AT_ONCE,
};

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
    relay: Option<Arc<CircuitRelay>>,
    /// When the bucket of messages is full.
    full_at: UnixMillis,
    malformed: u32,
    heard_at: UnixMillis,
    sent_at: UnixMillis,
    outputs: VecDeque<GuestOutput>,
    is_closed: bool,
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
        relay: Option<Arc<CircuitRelay>>,
    ) -> Self {
        let first = match kind {
            GuestKind::Stream => Some(GuestOutput::Text(": ok\n\n".to_owned())),
            GuestKind::Probe => Some(GuestOutput::Close { code: 1000, reason: "probe-ok" }),
            GuestKind::Socket(_) => None,
        };
        Self {
            is_closed: kind == GuestKind::Probe,
            kind,
            address,
            relay,
            full_at: UnixMillis::saturating(0),
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

    /// Takes a text of the client, of at most
    /// [`GUEST_BODY_MAX_BYTES`](rendezvous_protocol::limits::GUEST_BODY_MAX_BYTES).
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

    /// Notes that something was heard, and returns whether it is to be looked at.
    fn is_heard(&mut self, now: UnixMillis) -> bool {
        if self.is_closed {
            return false;
        }
        self.heard_at = now;
        let missing = MESSAGES.missing(self.full_at.as_u64(), now.as_u64());
        if MESSAGES.wait(missing) > 0 {
            self.close(CloseCode::TooFast);
            return false;
        }
        self.full_at = UnixMillis::saturating(MESSAGES.taken(missing, now.as_u64()));
        true
    }

    fn close(&mut self, code: CloseCode) {
        if !self.is_closed {
            self.is_closed = true;
            self.outputs.push_back(GuestOutput::Close { code: code.as_u16(), reason: code.reason() });
        }
    }
}
