//! Bodies that arrive in this isolate: the runtime asks for room for what it keeps of one.

use std::cell::RefCell;

use rendezvous_protocol::limits::BODY_TIMEOUT;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::bodies::{ArrivingBodies, FREE_BYTES, NumberedBodies};
use rendezvous_service::platform::Platform;
use worker::js_sys::{Promise, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::Request;

use crate::environment::{Failure, millis, random_secret};
use crate::runtime;

thread_local! {
    static BODIES: RefCell<Option<NumberedBodies>> = const { RefCell::new(None) };
    static GROW: Closure<runtime::Grow> = Closure::new(|body, bytes| {
        BODIES.with_borrow_mut(|bodies| bodies.as_mut().map_or(0, |bodies| bodies.grow_to(body, bytes)))
    });
}

/// Names a body that is being read.
pub(crate) struct Reading {
    most: usize,
    /// Absent where all of it is free.
    number: Option<u32>,
}

/// Reads the body of a request, of at most so many bytes; of one that is longer so many are read. Returns a promise of what
/// [`Reading::end`] takes.
pub(crate) fn read(
    now: UnixMillis,
    request: &Request,
    client: Client,
    (most, most_read): (usize, usize),
) -> Result<(Reading, Promise), Failure> {
    // A ticket's body is nothing that counts.
    let number = if most > FREE_BYTES { Some(begin(now, client)?) } else { None };
    let (timeout_ms, body) = (millis(BODY_TIMEOUT), number.unwrap_or_default());
    let promise = GROW.with(|grow| runtime::read_body(request, most, most_read, timeout_ms, FREE_BYTES, grow, body));
    Ok((Reading { most, number }, promise?))
}

fn begin(now: UnixMillis, client: Client) -> Result<u32, Failure> {
    BODIES.with_borrow_mut(|bodies| {
        let bodies = match bodies {
            Some(bodies) => bodies,
            None => {
                let counted = ArrivingBodies::new(&Platform::CLOUDFLARE, random_secret()?);
                bodies.insert(NumberedBodies::new(counted))
            }
        };
        Ok(bodies.begin(now, client))
    })
}

impl Reading {
    /// Returns the body, or why there is none.
    pub(crate) fn end(self, body: &JsValue) -> Result<Vec<u8>, RequestError> {
        if let Some(number) = self.number {
            BODIES.with_borrow_mut(|bodies| bodies.as_mut().map(|bodies| bodies.end(number)));
        }
        if body.is_null() {
            return Err(RequestError::BodyBrokenOff);
        }
        if body.is_undefined() {
            return Err(RequestError::BodyTimeout);
        }
        if let Some(read) = body.as_f64() {
            let is_too_large = read as usize > self.most;
            return Err(if is_too_large { RequestError::BodyTooLarge } else { RequestError::BodiesFull });
        }
        let body = Uint8Array::new(body);
        // Before it is copied: not every request has come over HTTP, which would have seen to its length.
        if body.length() as usize <= self.most { Ok(body.to_vec()) } else { Err(RequestError::BodyTooLarge) }
    }
}
