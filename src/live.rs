//! Connections of `GET /live`: carries out what each wants done.
//!
//! The client's end is here, and a second socket goes on to the object, which may hibernate meanwhile. What is pushed comes
//! from there as text: its first line is read here, and a frame goes on to the client as it came.

use std::cell::RefCell;
use std::collections::VecDeque;

use rendezvous_protocol::limits::{LIVE_ACK_TIMEOUT, LIVE_SIGNAL_MESSAGE_MAX_BYTES};
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use rendezvous_service::edge::OpenLive;
use rendezvous_service::live::{
    Connection, FRAME_EVENT_END, Output, Pushed, STREAM_HEADERS, Verify, frame_event_start, stream_event,
};
use slab::Slab;
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::{Request, Response};

use crate::environment::{Failure, millis};
use crate::isolate::with_known_edge;
use crate::runtime::{self, Relay};
use crate::{journal, respond};

/// What has happened to a connection: the numbers that `runtime.js` gives these events.
pub(crate) mod event {
    pub(crate) const OPENED: u32 = 0;
    pub(crate) const TEXT: u32 = 1;
    pub(crate) const BINARY: u32 = 2;
    pub(crate) const TOO_LONG: u32 = 3;
    pub(crate) const PUSHED: u32 = 4;
    pub(crate) const OBJECT_ENDED: u32 = 5;
    pub(crate) const VERIFIED: u32 = 6;
    pub(crate) const READ: u32 = 7;
    pub(crate) const DUE: u32 = 8;
    /// The client has gone.
    pub(crate) const GONE: u32 = 9;
}

struct Live {
    connection: Connection,
    is_socket: bool,
    /// Signatures that are being verified, in this order.
    verifying: VecDeque<Verify>,
}

thread_local! {
    static CONNECTIONS: RefCell<Slab<Live>> = const { RefCell::new(Slab::new()) };
    static TAKE: Closure<runtime::Take> = Closure::new(take);
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
    let connection = open.admitted(now, challenge);
    let live = Live { connection, is_socket, verifying: VecDeque::new() };
    let id = CONNECTIONS.with_borrow_mut(|connections| connections.insert(live));
    let served = TAKE.with(|take| {
        if is_socket {
            return runtime::serve_socket(opened, take, id, LIVE_SIGNAL_MESSAGE_MAX_BYTES);
        }
        let patience_ms = millis(saturating_millis(LIVE_ACK_TIMEOUT));
        runtime::serve_stream(
            opened,
            take,
            id,
            &respond::bare_headers()?,
            &respond::lines(&STREAM_HEADERS),
            patience_ms,
            request,
        )
    });
    if served.is_err() {
        // Unless it has ended meanwhile.
        CONNECTIONS.with_borrow_mut(|connections| connections.try_remove(id));
    }
    Ok(served?)
}

/// Takes what has happened to a connection. Returns when the next [`event::DUE`] is due.
fn take(relay: Relay, id: usize, what: u32, value: JsValue, now: f64) -> Result<f64, JsValue> {
    let now = UnixMillis::saturating(now as u64);
    CONNECTIONS.with_borrow_mut(|connections| {
        let live = connections.get_mut(id).ok_or("there is no such connection")?;
        let Live { connection, verifying, .. } = live;
        match what {
            event::OPENED => {}
            event::TEXT => {
                let text = value.as_string().unwrap_or_default();
                with_known_edge(|edge| connection.receive(&mut edge.checks(), now, &text));
            }
            event::BINARY => connection.refuse(CloseCode::Unsupported),
            event::TOO_LONG => connection.refuse(CloseCode::TooLong),
            event::PUSHED => with_known_edge(|edge| connection.take(&mut edge.checks(), now, pushed(&value))),
            event::OBJECT_ENDED => {
                let code = CloseCode::from_u16(value.as_f64().unwrap_or_default() as u16);
                with_known_edge(|edge| connection.take(&mut edge.checks(), now, Pushed::Close(code)));
            }
            event::VERIFIED => {
                if let Some(verify) = verifying.pop_front() {
                    with_known_edge(|edge| connection.verified(&mut edge.checks(), verify, value.is_truthy()));
                }
            }
            event::READ => connection.read(now),
            event::DUE => connection.handle_timeout(now),
            event::GONE => {
                connections.remove(id);
                return Ok(f64::INFINITY);
            }
            _ => {
                connections.remove(id);
                return Err("there is no such event".into());
            }
        }
        match carry_out(&relay, live) {
            Ok(None) => Ok(live.connection.next_deadline().as_u64() as f64),
            Ok(Some(code)) => {
                with_known_edge(|edge| edge.close_live(now, &live.connection, code));
                relay.end(code.as_u16(), code.reason());
                connections.remove(id);
                Ok(f64::INFINITY)
            }
            Err(error) => {
                connections.remove(id);
                Err(error)
            }
        }
    })
}

fn pushed(value: &JsValue) -> Pushed {
    Pushed::parse(&value.as_string().unwrap_or_default()).unwrap_or_else(|error| {
        journal::failure("request_failed", &error);
        Pushed::Close(CloseCode::Internal)
    })
}

/// Does what a connection wants done, up to its end, of which the code is returned.
fn carry_out(relay: &Relay, live: &mut Live) -> Result<Option<CloseCode>, JsValue> {
    while let Some(output) = live.connection.next_output() {
        match &output {
            Output::Ask(call) => {
                if let Some(text) = call.to_text() {
                    relay.ask(&text)?;
                }
            }
            Output::Frame(_) if live.is_socket => relay.pass("", "")?,
            Output::Frame(frame) => relay.pass(&frame_event_start(frame), FRAME_EVENT_END)?,
            Output::Text(text) if live.is_socket => relay.send(text)?,
            Output::Close(code) if live.is_socket => return Ok(Some(*code)),
            Output::Verify(verify) => {
                relay.verify(&verify.to_bytes())?;
                if let Output::Verify(verify) = output {
                    live.verifying.push_back(verify);
                }
            }
            Output::Text(_) | Output::StreamPing | Output::Close(_) => {
                if let Some(event) = stream_event(&output) {
                    relay.send(&event)?;
                }
                if let Output::Close(code) = output {
                    return Ok(Some(code));
                }
            }
        }
    }
    Ok(None)
}
