//! Connections of `GET /v1/mailboxes/{address}/live`: carries out what each wants done.
//!
//! The client's end is here, as that of `GET /live` is. But the object is asked once the client has said who it is: until
//! then the connection is nobody else's.

use std::cell::RefCell;

use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use rendezvous_service::call::OBJECT_TIMEOUT;
use rendezvous_service::mailbox::{ListenerConnection, ListenerOutput, News, OpenListener, VerifyListener};
use slab::Slab;
use worker::Env;
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::Response;

use crate::environment::millis;
use crate::isolate::with_known_edge;
use crate::live::event;
use crate::runtime::{self, Relay};

struct Listening {
    connection: ListenerConnection,
    env: Env,
    /// The signature that is being verified.
    verifying: Option<VerifyListener>,
}

thread_local! {
    static CONNECTIONS: RefCell<Slab<Listening>> = const { RefCell::new(Slab::new()) };
    static TAKE: Closure<runtime::Take> = Closure::new(take);
}

/// Serves a connection, and returns the answer to its client.
pub(crate) fn serve(now: UnixMillis, env: &Env, open: OpenListener) -> Result<Response, JsValue> {
    let listening = Listening { connection: open.open(now), env: env.clone(), verifying: None };
    let id = CONNECTIONS.with_borrow_mut(|connections| connections.insert(listening));
    let served = TAKE.with(|take| runtime::serve_listener(take, id, ListenerConnection::MOST));
    if served.is_err() {
        CONNECTIONS.with_borrow_mut(|connections| connections.try_remove(id));
    }
    served
}

/// Takes what has happened to a connection. Returns when the next [`event::DUE`] is due.
fn take(relay: Relay, id: usize, what: u32, value: JsValue, now: f64) -> Result<f64, JsValue> {
    let now = UnixMillis::saturating(now as u64);
    CONNECTIONS.with_borrow_mut(|connections| {
        let listening = connections.get_mut(id).ok_or("there is no such connection")?;
        let Listening { connection, verifying, .. } = listening;
        match what {
            event::TEXT => connection.receive(now, &value.as_string().unwrap_or_default()),
            event::BINARY => connection.refuse(CloseCode::Unsupported),
            event::TOO_LONG => connection.refuse(CloseCode::TooLong),
            event::PUSHED => connection.take(News::Text(value.as_string().unwrap_or_default())),
            event::OBJECT_ENDED => {
                let code = CloseCode::from_u16(value.as_f64().unwrap_or_default() as u16);
                connection.take(News::Close(code));
            }
            event::VERIFIED => {
                if let Some(verify) = verifying.take() {
                    connection.verified(verify, value.is_truthy());
                }
            }
            event::DUE => connection.handle_timeout(now),
            event::GONE => {
                connections.remove(id);
                return Ok(f64::INFINITY);
            }
            // That it is open, and that the client reads.
            _ => {}
        }
        match carry_out(&relay, listening) {
            Ok(None) => Ok(listening.connection.next_deadline().as_u64() as f64),
            Ok(Some(code)) => {
                with_known_edge(|edge| edge.close_listener(now, &listening.connection, code));
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

/// Does what a connection wants done, up to its end, of which the code is returned.
fn carry_out(relay: &Relay, listening: &mut Listening) -> Result<Option<CloseCode>, JsValue> {
    while let Some(output) = listening.connection.next_output() {
        match output {
            ListenerOutput::Text(text) => relay.send(&text)?,
            ListenerOutput::Verify(verify) => {
                relay.verify(&verify.to_bytes())?;
                listening.verifying = Some(verify);
            }
            ListenerOutput::Listen(call) => {
                let (object, what) = (call.object().to_string(), call.to_path());
                let patience_ms = millis(saturating_millis(OBJECT_TIMEOUT));
                let opened = runtime::open_listener(&listening.env, &object, &what, patience_ms)?;
                relay.listen_to(&opened);
            }
            ListenerOutput::Close(code) => return Ok(Some(code)),
        }
    }
    Ok(None)
}
