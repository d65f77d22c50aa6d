//! Mailboxes: messages for those who are not online (section 17 of the specification), under `/v1/`.
//!
//! Two halves. What any process does with a request is a [`MailboxStep`]: shapes, times and signatures, before an object is
//! asked. An [`Object`] is the one place in the world where a mailbox is, or the count of all mailboxes. What goes between
//! them is an [`ObjectCall`], as text where the two are not in one process; what the object wants done are [`Effects`], and
//! its answer goes out when these are durable.

mod call;
mod listening;
mod object;
mod openings;
mod request;
mod unread;

pub use call::{MailboxCall, ObjectCall, ObjectName, OpeningsCall};
pub use listening::{ListenCall, ListenerConnection, ListenerOutput, News, NewsPush, OpenListener, VerifyListener};
pub(crate) use object::to_writes;
pub use object::{Effects, Found, Handover, Object, ObjectAnswer, Write};
pub use request::{AskObject, MailboxStep, ReadRecords, VerifyRecords};
pub(crate) use request::{CountedAs, Routed, requests_of_body, route};
pub use unread::{NoRoom, UnreadAnswer, UnreadAnswers};
