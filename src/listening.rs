//! Connections of `GET /v1/mailboxes/{address}/live`: carries out what each wants done.
//!
//! The object is asked once the client has said who it is: until then the connection is nobody else's.

use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::call::OBJECT_TIMEOUT;
use rendezvous_service::mailbox::{ListenerConnection, ListenerOutput, News, OpenListener, VerifyListener};
use worker::Env;
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::Response;

use crate::connections::{self, Served, event};
use crate::environment::millis;
use crate::isolate::with_known_edge;
use crate::live::code_of;
use crate::runtime::{self, MAILBOX, Relay};

struct Listening {
    connection: ListenerConnection,
    env: Env,
    /// The signature that is being verified.
    verifying: Option<VerifyListener>,
}

/// Serves a connection, and returns the answer to its client.
pub(crate) fn serve(now: UnixMillis, env: &Env, open: OpenListener) -> Result<Response, JsValue> {
    let listening = Listening { connection: open.open(now), env: env.clone(), verifying: None };
    connections::serve(Box::new(listening), |take, id| runtime::serve_unopened(take, id, ListenerConnection::MOST))
}

impl Served for Listening {
    fn take(&mut self, now: UnixMillis, what: u32, value: &JsValue) {
        let Self { connection, verifying, .. } = self;
        match what {
            event::TEXT => connection.receive(now, &value.as_string().unwrap_or_default()),
            event::BINARY => connection.refuse(CloseCode::Unsupported),
            event::TOO_LONG => connection.refuse(CloseCode::TooLong),
            event::PUSHED => connection.take(News::Text(value.as_string().unwrap_or_default())),
            event::OBJECT_ENDED => connection.take(News::Close(code_of(value))),
            event::VERIFIED => {
                if let Some(verify) = verifying.take() {
                    connection.verified(verify, value.is_truthy());
                }
            }
            event::DUE => connection.handle_timeout(now),
            _ => {}
        }
    }

    fn carry_out(&mut self, now: UnixMillis, relay: &Relay) -> Result<Option<(u16, &'static str)>, JsValue> {
        while let Some(output) = self.connection.next_output() {
            match output {
                ListenerOutput::Text(text) => relay.send(&text)?,
                ListenerOutput::Verify(verify) => {
                    relay.verify(&verify.to_bytes())?;
                    self.verifying = Some(verify);
                }
                ListenerOutput::Listen(call) => {
                    let (object, what) = (call.object().to_string(), call.to_path());
                    let opened = runtime::open_socket(&self.env, MAILBOX, &object, &what, millis(OBJECT_TIMEOUT))?;
                    relay.listen_to(&opened);
                }
                ListenerOutput::Close(code) => {
                    with_known_edge(|edge| edge.close_listener(now, &self.connection, code));
                    return Ok(Some((code.as_u16(), code.reason())));
                }
            }
        }
        Ok(None)
    }

    fn next_deadline(&self) -> UnixMillis {
        self.connection.next_deadline()
    }
}
