//! The sockets of an object, which stay while it hibernates. The runtime knows each by a tag, the number of its connection.

use std::cell::Cell;

use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::live::ConnectionId;
use worker::wasm_bindgen::JsValue;
use worker::web_sys::{Response, WebSocket};
use worker::worker_sys::DurableObjectState;

use crate::runtime;

/// Holds which connection of an object was opened last.
pub(crate) struct LastId(Cell<ConnectionId>);

impl LastId {
    /// Makes it of the connections that are still there.
    pub(crate) fn of(connections: &[(ConnectionId, String)]) -> Self {
        Self(Cell::new(connections.iter().map(|(id, _)| *id).max().unwrap_or(ConnectionId(0))))
    }

    /// Returns the next, which is later than every one before, those before a hibernation too.
    pub(crate) fn next(&self, now: UnixMillis) -> ConnectionId {
        let ConnectionId(last) = self.0.get();
        let id = ConnectionId(now.as_u64().max(last + 1));
        self.0.set(id);
        id
    }
}

/// Returns the connections that are still there, each with what it keeps.
pub(crate) fn connections(state: &DurableObjectState) -> Result<Vec<(ConnectionId, String)>, JsValue> {
    let mut texts = runtime::attachments(state)?.into_iter();
    let mut connections = Vec::new();
    while let (Some(id), Some(text)) = (texts.next(), texts.next()) {
        connections.push((connection_id(&id)?, text));
    }
    Ok(connections)
}

/// Returns which connection a socket is.
pub(crate) fn connection_of(state: &DurableObjectState, socket: &WebSocket) -> Result<ConnectionId, JsValue> {
    connection_id(&runtime::connection_of(state, socket)?)
}

/// Opens a connection. Returns the answer with its other end.
pub(crate) fn accept(state: &DurableObjectState, id: ConnectionId) -> Result<Response, JsValue> {
    runtime::accept_socket(state, &tag(id))
}

/// Lets a connection keep a text.
pub(crate) fn attach(state: &DurableObjectState, id: ConnectionId, text: &str) -> Result<(), JsValue> {
    runtime::attach(state, &tag(id), text)
}

/// Sends a text to connections.
pub(crate) fn push(state: &DurableObjectState, to: Vec<ConnectionId>, text: &str) -> Result<(), JsValue> {
    runtime::push(state, &tags(to), text)
}

/// Ends connections.
pub(crate) fn close(state: &DurableObjectState, to: Vec<ConnectionId>, code: CloseCode) -> Result<(), JsValue> {
    runtime::close_sockets(state, &tags(to), code.as_u16(), code.reason())
}

fn tags(ids: Vec<ConnectionId>) -> String {
    ids.into_iter().map(tag).collect::<Vec<_>>().join(",")
}

/// Reads what [`tag`] wrote.
fn connection_id(tag: &str) -> Result<ConnectionId, JsValue> {
    tag.parse().map(ConnectionId).map_err(|_| JsValue::from("the name of a socket is not a number"))
}

/// Returns the tag by which the runtime knows a connection's socket.
fn tag(ConnectionId(id): ConnectionId) -> String {
    id.to_string()
}
