//! End-to-end encrypted messages between users who have each other's ids: a [`User`] over one sealed file.
//!
//! In scope: Olm's sessions, the outbox, the inbox, contacts, and the requests of retalk's door (section 19 of the
//! specification), whose rules are in `rendezvous_protocol::retalk`. Out of scope: commands and terminals, and the mailboxes
//! of section 17, which the program `rendezvous` beside this library works with.
//!
//! The relay is a stranger: it sees who writes to whom, when and how much, and may withhold, delay, repeat and reorder. What
//! it answers is checked, and what it loses comes again from the outbox.
#![forbid(unsafe_code)]

pub mod transport;
pub mod user;
pub mod vault;

pub use transport::{HttpTransport, Relay, Transport};
pub use user::User;
