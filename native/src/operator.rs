//! `GET /admin`, on an address of its own: what is the operator's alone is never where everybody asks.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use rendezvous_service::answer::Answer;
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::problem::internal;
use tokio::net::TcpListener;

use crate::clock::unix_now;
use crate::event_loop::{Shared, in_time, text_of};
use crate::page;
use crate::request::{header, to_response};
use crate::side_listener;

/// Time for a request's head, and between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the operator for as long as the program runs.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let edge = Arc::new(Mutex::new(shared.operator_edge()));
    side_listener::serve(listener, HEAD_TIMEOUT, move |request, client| {
        let (shared, edge) = (Arc::clone(&shared), Arc::clone(&edge));
        async move { to_response(answer(&request, client, &shared, &edge).await) }
    })
    .await;
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
    let mut step = shared.with_operator_edge(edge, |edge| {
        refusals.iter().for_each(|refusals| edge.add_refusals(refusals));
        edge.receive(unix_now(), &head)
    });
    loop {
        step = match step {
            Step::Answer(answer) => return answer,
            Step::Asset(asset) => return asset.answer(page::content(asset.file).to_owned()),
            Step::ReadHeaders(read) => shared.with_operator_edge(edge, |edge| {
                read.resume(edge, unix_now(), |name| header(request.headers(), name).map(Cow::into_owned))
            }),
            Step::FetchList(fetch) => {
                let call = shared.call(fetch.object(), fetch.call().clone());
                let list = in_time(fetch.time_left(unix_now()), call).await.and_then(text_of);
                shared.with_operator_edge(edge, |edge| fetch.resume(edge, unix_now(), || list))
            }
            // An edge for the operator asks for nothing else.
            Step::ReadBody(_)
            | Step::Verify(_)
            | Step::Relay(_)
            | Step::OpenLive(_)
            | Step::Guest(_)
            | Step::Retalk(_)
            | Step::Directory(_)
            | Step::Registration(_)
            | Step::Mailbox(_)
            | Step::Hivemind(_)
            | Step::Envelope(_)
            | Step::Template(_) => {
                return internal(unix_now());
            }
        };
    }
}
