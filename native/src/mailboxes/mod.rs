//! Mailboxes: the objects that one event loop owns, and what is kept of them on disk.

mod listening;
mod object;
mod objects;
mod pushing;
mod replication;
mod storage;

pub(crate) use listening::ListenerTask;
pub(crate) use object::{MailCall, MailName};
pub(crate) use objects::{Asked, Mailboxes};
pub(crate) use pushing::start as start_replication;
pub(crate) use replication::{Batch, PushFigures, Replication};
pub(crate) use storage::{Committed, MailOrder, MailReader, MailStorage};
