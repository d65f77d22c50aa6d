//! Request bodies, bounded while they are read.

use futures_util::StreamExt as _;
use rendezvous_protocol::limits::{BODY_MAX_BYTES, BODY_MAX_READ_BYTES};
use rendezvous_protocol::request::RequestError;
use worker::Request;

/// Reads a body, whatever its `Content-Length` says, and keeps no more of it than a body may have.
pub(crate) async fn read(request: &mut Request) -> worker::Result<Result<Vec<u8>, RequestError>> {
    let mut body = Vec::new();
    if request.inner().body().is_none() {
        return Ok(Ok(body));
    }
    let mut read = 0_usize;
    let mut chunks = request.stream()?;
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
