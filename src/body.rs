//! Request bodies, bounded while they are read.

use futures_util::StreamExt as _;
use rendezvous_protocol::limits::{BODY_MAX_BYTES, BODY_MAX_READ_BYTES};
use rendezvous_protocol::request::RequestError;
use worker::js_sys::Uint8Array;
use worker::js_sys::futures::JsFuture;
use worker::wasm_bindgen::JsCast as _;
use worker::{Request, web_sys};

use crate::runtime;

/// Reads a body that says that it has `length` bytes, and keeps no more of it than a body may have.
pub(crate) async fn read(
    request: web_sys::Request,
    length: Option<usize>,
) -> worker::Result<Result<Vec<u8>, RequestError>> {
    // HTTP ends a body where its length says. So one that is short by that is read whole, which takes fewer calls than a
    // stream, and is held to the limit all the same: not every request has come over HTTP.
    if length.is_some_and(|length| length <= BODY_MAX_BYTES) {
        let body: Uint8Array = JsFuture::from(runtime::read_body(&request)?).await?.unchecked_into();
        return Ok(if body.length() as usize <= BODY_MAX_BYTES {
            Ok(body.to_vec())
        } else {
            Err(RequestError::BodyTooLarge)
        });
    }
    read_counted(request).await
}

async fn read_counted(request: web_sys::Request) -> worker::Result<Result<Vec<u8>, RequestError>> {
    let mut body = Vec::new();
    if request.body().is_none() {
        return Ok(Ok(body));
    }
    let mut read = 0_usize;
    let mut chunks = Request::from(request).stream()?;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        read = read.saturating_add(chunk.len());
        if read <= BODY_MAX_BYTES {
            body.extend(chunk);
        } else if read > BODY_MAX_READ_BYTES {
            break;
        }
        // A client that is still sending when the answer comes sees a broken connection, not the answer. So what is
        // somewhat too long is read to its end.
    }
    Ok(if read <= BODY_MAX_BYTES { Ok(body) } else { Err(RequestError::BodyTooLarge) })
}
