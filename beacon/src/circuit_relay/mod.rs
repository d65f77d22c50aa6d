//! `GET /relay`: by which relay of libp2p's those peers reach each other that cannot connect directly, in goop2's shape.
//!
//! The operator names it, or has it run beside the beacon ([`OwnRelay`]), within the limits that are here. Whether one that
//! runs elsewhere is there, or is a relay, nobody asks: peers find out when they connect, and its name is the key that it has
//! to prove then.

mod limits;
mod own;

pub use limits::{
    CIRCUIT_DURATION, CIRCUIT_MAX_BYTES, CIRCUITS, CIRCUITS_PER_PEER, CONNECTIONS, CONNECTIONS_PER_PEER,
    RESERVATION_DURATION, RESERVATIONS, RESERVATIONS_PER_PEER, RelayConnection, RelayConnections, RelayRate, STREAMS,
};
pub use own::{OwnRelay, VARIABLES};
use rendezvous_protocol::goop2::CircuitRelay;
use serde::Serialize;

use crate::answer::Answer;

/// The path.
pub(crate) const PATH: &str = "/relay";

/// The relay's name and addresses.
#[derive(Serialize)]
struct RelayFields<'a> {
    peer_id: &'a str,
    addrs: &'a [String],
}

/// Makes the answer of a relay.
pub(crate) fn answer(relay: &CircuitRelay) -> Answer {
    Answer::ok(&RelayFields { peer_id: relay.id().as_str(), addrs: relay.addresses() }, None)
}
