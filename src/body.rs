//! Request bodies, bounded while they are read.

use futures_util::StreamExt as _;
use rendezvous_protocol::limits::BODY_MAX_BYTES;
use rendezvous_protocol::request::RequestError;
use worker::Request;

/// Reads a body, whatever its `Content-Length` says, up to the first byte too many.
pub(crate) async fn read(request: &mut Request) -> worker::Result<Result<Vec<u8>, RequestError>> {
    let mut body = Vec::new();
    if request.inner().body().is_none() {
        return Ok(Ok(body));
    }
    let mut chunks = request.stream()?;
    while let Some(chunk) = chunks.next().await {
        body.extend(chunk?);
        if body.len() > BODY_MAX_BYTES {
            return Ok(Err(RequestError::BodyTooLarge));
        }
    }
    Ok(Ok(body))
}
