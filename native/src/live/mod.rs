//! Connections of `GET /live`: a WebSocket or an event stream for each, and what its object pushes to it.

mod connection;
mod mailbox;
mod tasks;

pub(crate) use connection::{
    CLOSE_TIMEOUT, Counted, Live, NotOpened, Received, Socket, WRITE_TIMEOUT, body_of, close, handshake, received,
    socket_of, upgrade_of,
};
pub(crate) use mailbox::{LiveMail, Mailbox};
pub(crate) use tasks::LiveTasks;
