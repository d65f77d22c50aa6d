//! The door for goop2's peers: the rooms that one event loop owns, and the tasks of connections.

mod connection;
mod rooms;

pub(crate) use connection::GuestTask;
pub(crate) use rooms::{GuestMail, Rooms};
