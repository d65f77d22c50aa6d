//! `respond`: the trivial native server, with which the generator shows its own ceiling.

use std::convert::Infallible;
use std::io::{self, Read as _};

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
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
}

pub(crate) fn run(arguments: &RespondArguments) -> Result<(), Failure> {
    let answer = Bytes::from(vec![b' '; arguments.bytes]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(async {
        let listener = listen().await?;
        println!("http://{}", listener.local_addr()?);
        exit_with_input();
        serve(listener, answer).await
    }))
}

/// Makes a listener on a free port of this machine.
pub(crate) async fn listen() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await
}

/// Reads every request to its end and gives every one the same answer.
pub(crate) async fn serve(listener: TcpListener, answer: Bytes) -> Result<(), Failure> {
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
                    let response = Response::builder().header("Content-Type", "application/json");
                    Ok::<_, Infallible>(response.body(Full::new(answer)).unwrap_or_default())
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
