//! End-to-end encrypted messages between users who have each other's ids: a [`User`] over one sealed file.
//!
//! In scope: Olm's sessions, the outbox, the inbox, contacts, the requests of retalk's door (section 19 of the specification),
//! whose rules are in `rendezvous_protocol::retalk`, and the mailboxes of section 17, by which two users of this library write
//! to each other. What a mailbox's owner and a sender remember ([`own`], [`recipient`]), the seal and the door's requests serve the
//! program `rendezvous` beside this library too. Out of scope: commands, terminals and the program's own files.
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
//! The relay is a stranger: by retalk's door it sees who writes to whom, when and how much, by mailboxes when alone and one of
//! four sizes. It may withhold, delay, repeat and reorder. What it answers is checked, and what it loses comes again from the
//! outbox.
#![forbid(unsafe_code)]

pub mod collecting;
pub mod following;
pub mod live;
pub mod name;
pub mod own;
pub mod publishing;
pub mod recipient;
pub mod relay;
pub mod seal;
mod stored;
pub mod transport;
pub mod user;
pub mod vault;

pub use transport::{HttpTransport, Relay, Transport};
pub use user::User;
