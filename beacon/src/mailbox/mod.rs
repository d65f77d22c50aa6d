//! Mailboxes: messages for those who are not online (section 17 of the specification), under `/v1/`.
//!
//! Two halves. What any process does with a request is a [`MailboxStep`]: shapes, times and signatures, before an object is
//! asked. An [`Object`] is the one place in the world where a mailbox is, or the count of all mailboxes. What goes between
//! them is an [`ObjectCall`], as text where the two are not in one process; what the object wants done are [`Effects`], and
//! its answer goes out when these are durable.
//!
//! Where the operator names [`Peers`], an object keeps what authors brought until the peers that its card names have it, and
//! takes what peers push. A host without peers has nothing of that but a step that it never gets.

mod call;
mod listening;
mod object;
mod openings;
mod outbox;
mod own_row;
mod peers;
mod push;
mod replicate;
mod request;
mod unread;

pub use call::{MailboxCall, ObjectCall, ObjectName, OpeningsCall};
pub use listening::{ListenCall, ListenerConnection, ListenerOutput, News, NewsPush, OpenListener, VerifyListener};
pub(crate) use object::to_writes;
pub use object::{Effects, Found, Handover, Object, ObjectAnswer, PUSH_ROWS, Write};
pub use outbox::{BatchItem, BatchText};
pub(crate) use own_row::OwnRow;
pub use peers::{Peers, VARIABLES};
pub use push::{ANSWER_MAX_BYTES, PeerTurns, PushAnswer, REPLICATE, push_body};
pub use replicate::{PeerLimits, PushCall, ReadPush, VerifyItems, VerifyPush};
pub use request::{AskObject, MailboxStep, ReadRecords, VerifyRecords};
pub(crate) use request::{CountedAs, Routed, requests_of_body, requests_of_signatures, route};
pub use unread::{NoRoom, ROOM_AWAITED_FOR, ROOM_LOOKED_FOR_EVERY, UnreadAnswer, UnreadAnswers};
