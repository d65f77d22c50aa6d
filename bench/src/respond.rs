//! `respond`: the trivial native server, with which the generator shows its own ceiling.

use std::convert::Infallible;
use std::io::{self, Read as _};

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::Failure;

#[derive(Args)]
pub(crate) struct RespondArguments {
    /// Bytes of each answer.
    #[arg(long)]
    bytes: usize,
    /// A header of each answer, besides `Content-Type`, `Content-Length` and `Date`. May be repeated.
    #[arg(long, value_name = "NAME:VALUE")]
    header: Vec<String>,
}

pub(crate) fn run(arguments: &RespondArguments) -> Result<(), Failure> {
    let mut answer = json_answer(vec![b' '; arguments.bytes]);
    for header in &arguments.header {
        let (name, value) = parse_header(header).ok_or_else(|| Failure::Header(header.clone()))?;
        answer.headers_mut().insert(name, value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(async {
        let listener = listen().await?;
        println!("http://{}", listener.local_addr()?);
        exit_with_input();
        serve(listener, answer).await
    }))
}

/// Makes an answer of what is JSON already.
pub(crate) fn json_answer(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn parse_header(header: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = header.split_once(':')?;
    Some((name.parse().ok()?, value.parse().ok()?))
}

/// Makes a listener on a free port of this machine.
pub(crate) async fn listen() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await
}

/// Reads every request to its end and gives every one the same answer.
pub(crate) async fn serve(listener: TcpListener, answer: Response<Full<Bytes>>) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    // A request that breaks off ends its connection by itself.
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(answer)
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Ends this process with the one that started it, however that ends.
fn exit_with_input() {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}
