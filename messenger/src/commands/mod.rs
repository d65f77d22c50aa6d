//! The commands: each with its arguments and its help, and what it does.

pub(crate) mod ack;
pub(crate) mod add;
pub(crate) mod block;
pub(crate) mod check;
pub(crate) mod close;
pub(crate) mod collect;
pub(crate) mod contact;
pub(crate) mod contacts;
pub(crate) mod deposit;
pub(crate) mod id;
pub(crate) mod init;
pub(crate) mod invite;
pub(crate) mod mailbox_invite;
pub(crate) mod open;
pub(crate) mod outbox;
pub(crate) mod policy;
pub(crate) mod readers;
pub(crate) mod receive;
pub(crate) mod request;
pub(crate) mod send;
pub(crate) mod shell;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod verify;
pub(crate) mod who;
