//! Connections of the door for goop2's peers: carries out what each wants done.

use rendezvous_protocol::limits::GUEST_BODY_MAX_BYTES;
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::goop2::{GuestConnection, GuestOutput, OpenGuest};
use rendezvous_service::live::Pushed;
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::{Request, Response};

use crate::connections::{self, Served, event};
use crate::isolate::with_known_edge;
use crate::live::{code_of, pushed, serve_stream};
use crate::runtime::{self, Relay};

struct Guest(GuestConnection);

/// Serves a connection for which the room has a place, where it has to have one; `opened` is then its answer. Returns the
/// answer to the client, who asked for it by `request`.
pub(crate) fn serve(
    now: UnixMillis,
    request: &Request,
    open: OpenGuest,
    opened: Option<&Response>,
) -> Result<Response, JsValue> {
    let is_socket = open.is_socket();
    connections::serve(Box::new(Guest(open.admitted(now))), |take, id| match opened {
        Some(opened) if is_socket => runtime::serve_socket(opened, take, id, GUEST_BODY_MAX_BYTES),
        Some(opened) => serve_stream(request, opened, take, id),
        None => runtime::serve_unopened(take, id, GUEST_BODY_MAX_BYTES),
    })
}

impl Served for Guest {
    fn take(&mut self, now: UnixMillis, what: u32, value: &JsValue) {
        let Self(connection) = self;
        match what {
            event::TEXT => connection.receive(now, &value.as_string().unwrap_or_default()),
            event::BINARY => connection.refuse(CloseCode::Unsupported),
            event::TOO_LONG => connection.refuse(CloseCode::TooLong),
            event::PUSHED => connection.take_pushed(now, pushed(value)),
            event::OBJECT_ENDED => connection.take_pushed(now, Pushed::Close(code_of(value))),
            event::READ => connection.read(),
            event::DUE => connection.handle_timeout(now),
            _ => {}
        }
    }

    fn carry_out(&mut self, now: UnixMillis, relay: &Relay) -> Result<Option<(u16, &'static str)>, JsValue> {
        let Self(connection) = self;
        while let Some(output) = connection.next_output() {
            match output {
                GuestOutput::Text(text) => relay.send(&text)?,
                GuestOutput::Tell(call) => relay.ask(&call.to_text())?,
                // The runtime has no means to send one, and the service knows.
                GuestOutput::Ping => {}
                GuestOutput::Close { code, reason } => {
                    with_known_edge(|edge| edge.close_guest(now, connection));
                    return Ok(Some((code, reason)));
                }
            }
        }
        Ok(None)
    }

    fn next_deadline(&self) -> UnixMillis {
        self.0.next_deadline()
    }
}
