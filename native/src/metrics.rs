//! `GET /metrics`, on an address of its own: who may read it is for whoever chooses that address.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::event_loop::{Mail, Shared};
use crate::measurements;
use crate::storage::Storage;

/// The most connections: whoever collects has one.
const CONNECTIONS_MAX: usize = 16;

/// Time between two requests of a connection, and for a head. Collectors come once or more a minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Serves what is measured, for as long as the program runs.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, storage: Arc<Storage>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // Of one connection, or of the system, which the other listener says.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (shared, storage) = (Arc::clone(&shared), Arc::clone(&storage));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (shared, storage) = (Arc::clone(&shared), Arc::clone(&storage));
                async move { Ok::<_, Infallible>(respond(&request, &shared, &storage).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(16 * 1_024);
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

async fn respond(request: &Request<Incoming>, shared: &Shared, storage: &Storage) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, text) = match request.uri().path() {
        "/metrics" if is_read => (StatusCode::OK, all(shared, storage).await),
        "/metrics" => (StatusCode::METHOD_NOT_ALLOWED, "this path takes GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "there is GET /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

async fn all(shared: &Shared, storage: &Storage) -> String {
    let figures = shared.ask_all(Mail::Figures).await;
    let rows = storage.reader().ok().and_then(|reader| reader.count().ok());
    measurements::write(&figures, &shared.config.named_communities(), rows, shared.admission.open())
}
