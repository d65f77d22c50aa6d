//! Request bodies, bounded while they are read.

use futures_util::StreamExt as _;
use rendezvous_protocol::limits::{BODY_MAX_BYTES, BODY_MAX_READ_BYTES};
use rendezvous_protocol::request::RequestError;
use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::{JsCast as _, JsValue};
use worker::{Request, web_sys};

/// A body that has been read at once.
pub(crate) fn whole(bytes: JsValue) -> Result<Vec<u8>, RequestError> {
    let bytes: Uint8Array = bytes.unchecked_into();
    if bytes.length() as usize <= BODY_MAX_BYTES { Ok(bytes.to_vec()) } else { Err(RequestError::BodyTooLarge) }
}

/// Reads a body whose length is not known, and keeps no more of it than a body may have.
pub(crate) async fn counted(request: web_sys::Request) -> worker::Result<Result<Vec<u8>, RequestError>> {
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
