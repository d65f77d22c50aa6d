//! The commands: each with its arguments and its help, and what it does.

pub(crate) mod announce;
pub(crate) mod check;
pub(crate) mod communities;
pub(crate) mod completions;
pub(crate) mod cosign;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod keygen;
pub(crate) mod publish;
pub(crate) mod register;
pub(crate) mod root;
pub(crate) mod ticket;
pub(crate) mod verify;
pub(crate) mod watch;
pub(crate) mod who;
