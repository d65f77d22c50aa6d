//! The door for goop2's peers, under `/goop2/<community>/` (section 18 of the specification).
//!
//! Kept apart from everything else: guests are in a [`GuestRoom`] of their own, not in a roster, and nothing that they
//! say gets into a list, a capsule or an answer of the beacon's own. [`Door`] is what the operator opens,
//! [`GuestConnection`] one client, and [`GuestStep`] what a request needs next. Statuses and shapes are goop2's.

mod call;
mod connection;
mod door;
mod object;
mod refusal;
mod request;
mod room;

pub(crate) use call::KeptGuest;
pub use call::{GuestCall, GuestOpening, RoomCall};
pub(crate) use connection::GuestHost;
pub use connection::{GuestConnection, GuestOutput};
pub use door::{Door, VARIABLES};
pub(crate) use object::GuestObject;
pub use request::{AskRoom, GuestStep, OpenGuest, ReadPresence};
pub(crate) use request::{Asked, Routed, needs_headers, route, too_many};
pub use room::{GuestEffects, GuestPush, GuestPushed, GuestRefusal, GuestRoom, GuestsTo};
