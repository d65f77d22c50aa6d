//! Guests: the peers of another system, goop2, for which a beacon may open a door.
//!
//! In scope: the messages of goop2's peers, which of their addresses are passed on, and who is a guest (section 18 of the
//! specification). Out of scope: connections and statuses, which are the service's.
//!
//! A guest signs nothing, so nothing of a guest is believed or gets into what is signed. What protects both sides is a
//! bound on everything, the network that a name was first published from, and addresses that lead to the publisher alone.

mod address;
mod guest_id;
mod guests;
mod presence;
mod relay;

pub use guest_id::GuestId;
pub use guests::{GUEST_MESSAGES, GuestRefused, Guests, NotListening, Published, SocketId};
pub use presence::{Presence, PresenceError, PresenceFields, PresenceKind, viewers_messages};
pub use relay::{CircuitRelay, CircuitRelayInvalid};
