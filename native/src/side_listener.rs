//! HTTP on an address beside the beacon's own, for few clients: the operator, and whoever collects figures.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::connections::HEAD_MAX_BYTES;

/// The most connections. A browser has six, and whoever collects has one.
const CONNECTIONS_MAX: usize = 16;

/// Answers by `respond`, which also gets the client's address, for as long as the program runs. `head_timeout` is for a
/// request's head, and between two.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    head_timeout: Duration,
    respond: impl Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + 'static,
) where
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        let Ok((stream, client)) = listener.accept().await else {
            // Of one connection, or of the system, which the other listener says.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let respond = respond.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = respond(request, client.ip());
                async move { Ok::<_, Infallible>(response.await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(HEAD_MAX_BYTES);
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}
