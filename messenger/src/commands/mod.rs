//! The commands: each with its arguments and its help, and what it does.

pub(crate) mod ack;
pub(crate) mod check;
pub(crate) mod close;
pub(crate) mod collect;
pub(crate) mod contact;
pub(crate) mod deposit;
pub(crate) mod invite;
pub(crate) mod open;
pub(crate) mod outbox;
pub(crate) mod policy;
pub(crate) mod readers;
pub(crate) mod shell;
pub(crate) mod show;
