//! The door for hivemind-rendezvous' users (section 22 of the specification): `GET /pubkey`, `POST /deposit` and
//! `POST /retrieve`.
//!
//! Kept apart from mailboxes of the project's own: what comes in here is in a [`HivemindObject`], one a key, and one that
//! counts the room of all that nobody has opened. [`HivemindDoor`] is what a host that has the door needs to know, and
//! [`HivemindStep`] what a request needs next. Whether an RSA signature fits the host says. Statuses and shapes are
//! hivemind-rendezvous'.

mod object;
mod refusal;
mod request;

#[cfg(test)]
pub(crate) use object::RETRIEVAL_MOST_BYTES;
pub use object::{HivemindCall, HivemindFigures, HivemindName, HivemindObject};
pub use request::{AskHivemind, HivemindDoor, HivemindNext, HivemindStep, ReadHivemind, Recipient, VerifyHivemind};
pub(crate) use request::{Routed, answers_unread, failed, route, too_many};
