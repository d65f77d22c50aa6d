//! The wire of hivemind-rendezvous' users (section 22 of the specification): payloads that wait for whoever has an RSA key.
//!
//! In scope: requests, what of them is signed, [`state::Mailbox`], what one relay keeps for one key, and [`room::Room`], the
//! room of all mailboxes that nobody has opened. Out of scope: RSA itself, which is the host's, HTTP and statuses, and what is
//! in a payload.
//!
//! These clients acknowledge nothing and prove who they are by a timestamp that they sign. So a proof is good for one
//! hand-over, the very same request gets the very same messages again for a minute, in case its answer was lost, and a proof
//! that came with a deposit hands over nothing at all.

pub mod key;
pub mod limits;
pub mod proof;
pub mod refused;
pub mod request;
pub mod room;
mod row;
pub mod state;
