//! What goes between a connection and its object.

use std::sync::Arc;

use rendezvous_protocol::live::{Claim, CloseCode, Frame, Position};
use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::ticket::VerifiedTicket;

/// Names a connection, by a number that a host uses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Holds what an object is told of a connection that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Where the client counts.
    pub network: HandedOver,
    /// How far the client has come, on a connection before.
    pub since: Option<Position>,
}

/// Says what a connection asks of its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveCall {
    /// To list whoever signed the ticket, or to let it leave, as the ticket says.
    Ticket {
        /// The `id` of the client's message.
        id: Option<String>,
        /// The ticket, which was verified.
        ticket: Box<VerifiedTicket>,
    },
    /// To bind the connection to a claim, of which a signature has been verified.
    Bind {
        /// The `id` of the client's message.
        id: Option<String>,
        /// The claim.
        claim: Claim,
        /// How far the client has come.
        since: Option<Position>,
    },
    /// To hand a signal on.
    Signal(Box<SignalCall>),
    /// To hand on no signals to the connection while its client does not read (`false`), and to do so again (`true`).
    Reads(bool),
    /// To tell what changed since this position, or everything.
    CatchUp(Option<Position>),
    /// To forget the connection, which has ended.
    Closed,
}

/// Holds a signal on its way from one connection to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalCall {
    /// The `id` of the client's message.
    pub id: String,
    /// Whom it says that it is from.
    pub from: Claim,
    /// Whom it is for.
    pub to: Claim,
    /// The message as it came.
    pub text: String,
}

/// Holds what an object has for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Whom it is for.
    pub to: Vec<ConnectionId>,
    /// What it is.
    pub what: Pushed,
}

/// Says what an object has for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// A message, whatever else is sent.
    Reply(String),
    /// The connection is bound, and this message says so.
    Bound(String),
    /// A signal of another peer's: the message as it came.
    Signal(String),
    /// A frame that is sent to all viewers.
    Frame(Arc<Frame>),
    /// A frame that the connection asked for. Where there is more, it asks again.
    CaughtUp(Arc<Frame>),
    /// The end.
    Close(CloseCode),
}

/// Says that there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no place for another connection, in this community or for this network")]
pub struct LiveFull;
