//! A user: a pair of keys whose fingerprint is the id, contacts, sessions of Olm, an inbox and an outbox, in one sealed file.
//!
//! What holds, also where the program is killed at any moment and the relay is hostile:
//!
//! - **No message key encrypts two texts.** The session that has moved on and the message in the outbox are written in one
//!   transaction, before a byte leaves.
//! - **No message is lost.** One stays in the outbox, and is sent again, until its recipient's encrypted acknowledgement
//!   comes. One that the recipient refuses, signed, because it cannot decrypt it, is encrypted anew in a new session; the
//!   third refusal is final, and told. What a relay hands over is written down before it is looked at, because the relay has
//!   deleted it by then.
//! - **None is handed over twice unknowingly.** Copies are known by the hash of the ciphertext and by the message's id. A
//!   message is *offered* to the program, which takes it: both are written down, and the acknowledgement is due after the
//!   second. One that was offered, and of which nobody knows whether it was shown because the program was killed in between,
//!   is offered again, and says so ([`Message::redelivered`]).
//! - **Between two whose programs are both of this project the relay learns little**: messages go sealed and padded from mailbox
//!   to mailbox, and to everybody else by the door for retalk's users ([`Door`]). Olm stands inside by either.
//! - **A code makes a contact, or nothing.** Whoever brings an invite code that the user has made is saved, the code is used, and
//!   the acknowledgement is due in one transaction ([`User::new_code`], [`User::request_contact`]).
//! - **A relay cannot put its keys in a peer's place**: the id is the keys' hash. Prekeys are not signed on this wire: with a
//!   swapped one the recipient cannot decrypt the message, and refuses it.
//!
//! Two programs may work with one store. Time comes in as an argument; keys, nonces and ids are drawn from the system, by Olm
//! itself where they are Olm's.

mod account;
mod batch;
mod contacts;
mod conversation;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(test)]
mod hostile_relay;
mod import;
mod import_error;
mod introduction;
mod invite_code;
mod mailbox;
mod message;
mod naming;
mod outgoing;
mod payload;
mod problem;
mod profile;
mod receiving;
mod record;
mod sending;
#[cfg(test)]
mod simulation;
mod status;
#[cfg(test)]
mod tests;
mod upkeep;

pub use self::account::User;
pub use self::batch::{Batch, Turns};
pub use self::contacts::Contact;
pub use self::error::UserError;
pub use self::import::Imported;
pub use self::import_error::ImportError;
pub use self::introduction::Redeemed;
pub use self::invite_code::{InviteCode, NewCode, RequestRefusal};
pub use self::mailbox::MailboxStatus;
pub use self::message::{Content, Message};
pub use self::outgoing::{Door, Outgoing, OutgoingState, RetalkReason};
pub use self::problem::{Problem, ProblemCause};
pub use self::profile::{Admission, NewUser, Profile};
pub use self::receiving::{Disposition, ReceiveReport};
pub use self::status::Status;
pub use self::upkeep::Maintained;
