//! The door for retalk's users (section 19 of the specification): `POST` to `/` and to any path that is no other route.
//!
//! Kept apart from mailboxes of the project's own: what comes in here is in a [`RetalkObject`], one a user. [`Door`] is what
//! the operator opens, and [`RetalkStep`] what a request needs next. Statuses and shapes are retalk's.

mod call;
mod door;
mod object;
mod refusal;
mod renewals;
mod request;

pub use call::RetalkCall;
pub(crate) use door::host_of;
pub use door::{Door, VARIABLES};
#[cfg(test)]
pub(crate) use object::READ_MOST_BYTES;
pub use object::RetalkObject;
pub(crate) use renewals::Renewals;
pub use request::{AskRetalk, ReadRetalk, RetalkStep, VerifyRetalk};
pub(crate) use request::{Limited, Routed, answers_unread, route};
