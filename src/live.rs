//! Connections of `GET /live`: carries out what each wants done.
//!
//! What an object pushes has a first line, which is read here; a frame goes on to the client as it came.

use std::collections::VecDeque;

use rendezvous_protocol::limits::{LIVE_ACK_TIMEOUT, LIVE_SIGNAL_MESSAGE_MAX_BYTES};
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::edge::OpenLive;
use rendezvous_service::live::{
    Connection, FRAME_EVENT_END, Output, Pushed, STREAM_HEADERS, Verify, frame_event_start, stream_event,
};
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::{Request, Response};

use crate::connections::{self, Served, event};
use crate::environment::{Failure, millis};
use crate::isolate::with_known_edge;
use crate::runtime::{self, Relay};
use crate::{journal, respond};

struct Live {
    connection: Connection,
    is_socket: bool,
    /// Signatures that are being verified, in this order.
    verifying: VecDeque<Verify>,
}

/// Serves a connection for which the object has a place; `opened` is its answer. Returns the answer to the client,
/// who asked for it by `request`.
pub(crate) fn serve(
    now: UnixMillis,
    request: &Request,
    open: OpenLive,
    opened: &Response,
) -> Result<Response, Failure> {
    let mut challenge = [0; 16];
    getrandom::fill(&mut challenge)?;
    let is_socket = open.is_socket();
    let live = Live { connection: open.admitted(now, challenge), is_socket, verifying: VecDeque::new() };
    let served = connections::serve(Box::new(live), |take, id| {
        if is_socket {
            return runtime::serve_socket(opened, take, id, LIVE_SIGNAL_MESSAGE_MAX_BYTES);
        }
        serve_stream(request, opened, take, id)
    });
    Ok(served?)
}

/// Serves an event stream to the client who asked for it by `request`.
pub(crate) fn serve_stream(
    request: &Request,
    opened: &Response,
    take: &Closure<runtime::Take>,
    id: usize,
) -> Result<Response, JsValue> {
    let (headers, more) = (respond::bare_headers()?, respond::lines(&STREAM_HEADERS));
    runtime::serve_stream(opened, take, id, &headers, &more, millis(LIVE_ACK_TIMEOUT), request)
}

/// Returns what an object has pushed.
pub(crate) fn pushed(value: &JsValue) -> Pushed {
    Pushed::parse(&value.as_string().unwrap_or_default()).unwrap_or_else(|error| {
        journal::failure("request_failed", &error);
        Pushed::Close(CloseCode::Internal)
    })
}

/// Returns the code with which an object has ended a connection.
pub(crate) fn code_of(value: &JsValue) -> CloseCode {
    CloseCode::from_u16(value.as_f64().unwrap_or_default() as u16)
}

impl Served for Live {
    fn take(&mut self, now: UnixMillis, what: u32, value: &JsValue) {
        let Self { connection, verifying, .. } = self;
        match what {
            event::TEXT => {
                let text = value.as_string().unwrap_or_default();
                with_known_edge(|edge| connection.receive(&mut edge.checks(), now, &text));
            }
            event::BINARY => connection.refuse(CloseCode::Unsupported),
            event::TOO_LONG => connection.refuse(CloseCode::TooLong),
            event::PUSHED => with_known_edge(|edge| connection.take(&mut edge.checks(), now, pushed(value))),
            event::OBJECT_ENDED => {
                with_known_edge(|edge| connection.take(&mut edge.checks(), now, Pushed::Close(code_of(value))));
            }
            event::VERIFIED => {
                if let Some(verify) = verifying.pop_front() {
                    with_known_edge(|edge| connection.verified(&mut edge.checks(), verify, value.is_truthy()));
                }
            }
            event::READ => connection.read(now),
            event::DUE => connection.handle_timeout(now),
            _ => {}
        }
    }

    fn carry_out(&mut self, now: UnixMillis, relay: &Relay) -> Result<Option<(u16, &'static str)>, JsValue> {
        while let Some(output) = self.connection.next_output() {
            match &output {
                Output::Ask(call) => {
                    if let Some(text) = call.to_text() {
                        relay.ask(&text)?;
                    }
                }
                Output::Frame(_) if self.is_socket => relay.pass("", "")?,
                Output::Frame(frame) => relay.pass(&frame_event_start(frame), FRAME_EVENT_END)?,
                Output::Text(text) if self.is_socket => relay.send(text)?,
                Output::Verify(verify) => {
                    relay.verify(&verify.to_bytes())?;
                    if let Output::Verify(verify) = output {
                        self.verifying.push_back(verify);
                    }
                }
                Output::Text(_) | Output::StreamPing | Output::Close(_) => {
                    if !self.is_socket
                        && let Some(event) = stream_event(&output)
                    {
                        relay.send(&event)?;
                    }
                    if let Output::Close(code) = output {
                        with_known_edge(|edge| edge.close_live(now, &self.connection, code));
                        return Ok(Some((code.as_u16(), code.reason())));
                    }
                }
            }
        }
        Ok(None)
    }

    fn next_deadline(&self) -> UnixMillis {
        self.connection.next_deadline()
    }
}
