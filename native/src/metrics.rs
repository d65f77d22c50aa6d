//! `GET /metrics`, on an address of its own: who may read it is for whoever chooses that address.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

use crate::event_loop::{Mail, Shared};
use crate::mailboxes::Replication;
use crate::measurements;
use crate::side_listener;
use crate::storage::Storage;

/// Time between two requests of a connection, and for a head. Collectors come once or more a minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Serves what is measured, for as long as the program runs.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, storage: Arc<Storage>) {
    side_listener::serve(listener, HEAD_TIMEOUT, move |request, _| {
        let (shared, storage) = (Arc::clone(&shared), Arc::clone(&storage));
        async move { respond(&request, &shared, &storage).await }
    })
    .await;
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
    let pushes = shared.doors.replication.as_ref().map(Replication::figures);
    let (named, has_hivemind) = (shared.config.named_communities(), shared.doors.hivemind.is_some());
    measurements::write(&figures, &named, rows, shared.admission.open(), pushes, has_hivemind)
}
