//! End-to-end encrypted messages between users who have each other's ids: a [`User`] over one sealed file.
//!
//! In scope: Olm's sessions, the outbox, the inbox, contacts, and the requests of retalk's door (section 19 of the
//! specification), whose rules are in `rendezvous_protocol::retalk`. Out of scope: commands and terminals, and the mailboxes
//! of section 17, which the program `rendezvous` beside this library works with.
//!
//! ```no_run
//! use rendezvous_messenger::{HttpTransport, Relay, User, user::{Disposition, NewUser, UserError}};
//! use rendezvous_protocol::{retalk::user::UserId, time::UnixMillis};
//!
//! fn talk(transport: &HttpTransport, bob: UserId, now: UnixMillis) -> Result<(), UserError> {
//!     let relay = Relay::new("https://relay.example", transport)?;
//!     let new = NewUser { name: "alice", ..NewUser::default() };
//!     let mut alice = User::create("alice".as_ref(), "a passphrase", &new)?;
//!     println!("my id is {}", alice.id());
//!     alice.add("bob", bob, None)?;
//!     let sent = alice.send(&relay, bob, "hello bob", now)?;
//!     println!("it is {}", sent.state);
//!     alice.receive(&relay, now)?;
//!     alice.deliver(&[], |message| {
//!         println!("{:?}: {:?}", message.shown_name(), message.content);
//!         Disposition::Taken
//!     })?;
//!     alice.acknowledge(&relay, now)?;
//!     alice.maintain(&relay, now)?;
//!     Ok(())
//! }
//! ```
//!
//! The relay is a stranger: it sees who writes to whom, when and how much, and may withhold, delay, repeat and reorder. What
//! it answers is checked, and what it loses comes again from the outbox.
#![forbid(unsafe_code)]

pub mod polling;
pub mod transport;
pub mod user;
pub mod vault;

pub use transport::{HttpTransport, Relay, Transport};
pub use user::User;
