//! The wire of retalk's users (section 19 of the specification): end-to-end encrypted messages with Olm, of which a relay
//! keeps public keys and ciphertext.
//!
//! In scope: the requests in both dialects, what of them is signed, and [`state::Mailbox`], what one relay keeps for one
//! user. Out of scope: Olm itself, HTTP and statuses, and mailboxes of the project's own, with which this shares limits and
//! nothing else.
//!
//! Two rules are not what a relay would do that does not know these clients. A well-signed message is never refused with an
//! error for want of room or for haste: a client that gets an error encrypts its next message with the same message key. And
//! reading deletes, without a lease: some clients fail on an acknowledgement that comes a second time, and lose what comes
//! with it. What is lost on the way the sender's outbox brings again.

pub mod limits;
mod python_json;
pub mod refused;
pub mod request;
mod row;
pub mod state;
pub mod user;
