//! The door for relays of ShadowBroker's fleet: `POST /api/mesh/dm/replicate-envelope`, in their shape, and
//! `POST /v1/tokens/collect` for whoever an envelope is for.
//!
//! It is there so that such a relay has one more place for envelopes. In scope: its MAC, its caps, and that what was
//! answered 200 is kept for its hour. Out of scope: pushing anything to that fleet, its own way of polling, and who sent an
//! envelope: the sender in it is a label that the pushing relay makes up. The MAC has neither time nor receiver, so whoever
//! sees a push can repeat it; what is held already is not counted again, and what was acknowledged comes back. Nothing of
//! all this gets into mailboxes.

mod door;
mod envelope;
mod request;
mod store;

pub use door::{EnvelopeDoor, VARIABLES};
pub(crate) use request::too_many;
pub use request::{EnvelopeCall, EnvelopeRequest, HMAC_HEADER, URL_HEADER};
pub use store::{EnvelopeEffects, EnvelopeStore, EnvelopeWrite, Stored};
