//! `GET /admin`, on an address of its own: what is the operator's alone is never where everybody asks.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rendezvous_service::answer::Answer;
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::problem::internal;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::clock::unix_now;
use crate::event_loop::{Shared, text_of};
use crate::journal;
use crate::page;
use crate::request::{header, to_response};

/// The most connections. A browser has six.
const CONNECTIONS_MAX: usize = 16;

/// Time for a request's head, and between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the operator for as long as the program runs.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let edge = Arc::new(Mutex::new(shared.operator_edge()));
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        let Ok((stream, client)) = listener.accept().await else {
            // Of one connection, or of the system, which the other listener says.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (shared, edge) = (Arc::clone(&shared), Arc::clone(&edge));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (shared, edge) = (Arc::clone(&shared), Arc::clone(&edge));
                async move { Ok::<_, Infallible>(respond(&request, client.ip(), &shared, &edge).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(16 * 1_024);
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

async fn respond(
    request: &Request<Incoming>,
    client: IpAddr,
    shared: &Shared,
    edge: &Mutex<Edge>,
) -> Response<Full<Bytes>> {
    to_response(answer(request, client, shared, edge).await)
}

async fn answer(request: &Request<Incoming>, client: IpAddr, shared: &Shared, edge: &Mutex<Edge>) -> Answer {
    let head = Head {
        method: request.method().as_str(),
        url: request.uri().path_and_query().map_or("/", |url| url.as_str()),
        // Whoever is in front of this address is the operator's affair: no header is believed here.
        address: Some(client),
        ..Head::default()
    };
    let refusals = shared.take_refusals();
    let mut step = with_edge(shared, edge, |edge| {
        refusals.iter().for_each(|refusals| edge.add_refusals(refusals));
        edge.receive(unix_now(), &head)
    });
    loop {
        step = match step {
            Step::Answer(answer) => return answer,
            Step::Asset(asset) => return asset.answer(page::content(asset.file).to_owned()),
            Step::ReadHeaders(read) => {
                with_edge(shared, edge, |edge| read.resume(edge, unix_now(), |name| header(request.headers(), name)))
            }
            Step::FetchList(fetch) => {
                let list = shared.call(fetch.object(), fetch.call().clone()).await.and_then(text_of);
                with_edge(shared, edge, |edge| fetch.resume(edge, unix_now(), || list))
            }
            // An edge for the operator asks for nothing else.
            Step::ReadBody(_) | Step::Verify(_) | Step::Relay(_) | Step::OpenLive(_) => return internal(unix_now()),
        };
    }
}

/// Lets the edge do something. One in which code has panicked may be in any state, and is replaced.
fn with_edge(shared: &Shared, edge: &Mutex<Edge>, work: impl FnOnce(&mut Edge) -> Step) -> Step {
    let mut locked = edge.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
        let mut locked = poisoned.into_inner();
        *locked = shared.operator_edge();
        edge.clear_poison();
        locked
    });
    let (step, notes) = (work(&mut locked), locked.take_notes());
    drop(locked);
    journal::write(notes);
    step
}
