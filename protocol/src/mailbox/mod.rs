//! Mailboxes: a dead drop for those who are not online.
//!
//! A sender leaves sealed bytes, the recipient collects and acknowledges them, and the sender learns of it by the
//! recipient's own signature. A relay cannot read, forge or widen anything: every rule hangs on records that their authors
//! signed (`record.rs`, `envelope.rs`), and the cap of a sender is one that each relay checks alone (`window.rs`).
//!
//! In scope: the records and the requests that carry them, proof of work, [`state::Mailbox`], the state machine of one
//! mailbox at one relay, the frame of sealed bytes and what is in it, invites, and what a relay pushes to another. Out of
//! scope: HTTP, the cryptography of the seal, other systems' clients, when relays push.

pub mod body;
pub mod envelope;
pub mod invite;
pub mod limits;
pub mod plaintext;
pub mod prekeys;
pub mod proof;
pub mod record;
pub mod refused;
pub mod relays;
pub mod replica;
mod row;
pub mod sealed;
pub mod state;
pub mod window;

pub use crate::bytes;
