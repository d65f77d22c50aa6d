//! `play`: requests that whoever started this program has made and signed, each connection's in their order.

use std::cell::RefCell;
use std::io::{self, BufRead as _};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Failure;
use crate::drive::processor_time;
use crate::summary::{Summary, Tally};

#[derive(Args)]
pub(crate) struct PlayArguments {
    /// Where to: http, host and port.
    #[arg(long)]
    url: String,
    /// Makes a connection for each request, for servers that end it with the answer.
    #[arg(long)]
    connect_each: bool,
}

/// Holds a request as a line of input has it.
#[derive(Deserialize)]
struct Planned {
    path: String,
    /// The address that the request says it comes from.
    from: String,
    body: String,
    /// What an answer that is as it should be has in it.
    expect: String,
}

/// A request that is ready to be sent.
struct Prepared {
    target: Uri,
    from: HeaderValue,
    body: Bytes,
    expect: Vec<u8>,
}

/// Reads one line of JSON a connection, a list of its requests, to the end of input; sends them, and prints what came back
/// as one line of JSON.
pub(crate) fn run(arguments: &PlayArguments) -> Result<(), Failure> {
    let lines = io::stdin().lock().lines();
    let plans: Vec<Vec<_>> = lines.map(|line| prepare(&line?)).collect::<Result<_, Failure>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = runtime.block_on(LocalSet::new().run_until(play(arguments, plans)))?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}

fn prepare(line: &str) -> Result<Vec<Prepared>, Failure> {
    let planned: Vec<Planned> = serde_json::from_str(line)?;
    let prepare = |Planned { path, from, body, expect }| {
        Ok(Prepared {
            target: path.parse().map_err(|_| Failure::Address(path))?,
            from: HeaderValue::from_str(&from).map_err(|_| Failure::Address(from))?,
            body: body.into(),
            expect: expect.into_bytes(),
        })
    };
    planned.into_iter().map(prepare).collect()
}

async fn play(arguments: &PlayArguments, plans: Vec<Vec<Prepared>>) -> Result<Summary, Failure> {
    let in_error = || Failure::Address(arguments.url.clone());
    let uri: Uri = arguments.url.parse().map_err(|_| in_error())?;
    let authority: Rc<str> = uri.authority().ok_or_else(in_error)?.as_str().into();
    let mut connections = Vec::new();
    for plan in plans {
        connections.push((connect(&authority).await?, plan));
    }
    let tally = Rc::new(RefCell::new(Tally::default()));
    let (started, ran_before) = (Instant::now(), processor_time());
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|(sender, plan)| {
            let (authority, tally) = (Rc::clone(&authority), Rc::clone(&tally));
            tokio::task::spawn_local(send_all(authority, sender, plan, arguments.connect_each, tally))
        })
        .collect();
    for task in tasks {
        task.await.map_err(|_| Failure::Thread)??;
    }
    let (took, ran) = (started.elapsed(), processor_time().saturating_sub(ran_before));
    Ok(Summary::new(tally.take(), took, ran, false))
}

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// Sends requests one after the other, up to an answer that is not as it should be.
async fn send_all(
    authority: Rc<str>,
    mut sender: SendRequest<Full<Bytes>>,
    plan: Vec<Prepared>,
    connect_each: bool,
    tally: Rc<RefCell<Tally>>,
) -> Result<(), Failure> {
    let host = HeaderValue::from_str(&authority).map_err(|_| Failure::Address(authority.to_string()))?;
    for (number, Prepared { target, from, body, expect }) in plan.into_iter().enumerate() {
        let due = Instant::now();
        if connect_each && number > 0 {
            sender = connect(&authority).await?;
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        headers.insert(HOST, host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static("cf-connecting-ip"), from);
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        if memmem::find(&body, &expect).is_none() {
            return Err(Failure::Unexpected { status, body: String::from_utf8_lossy(&body).into_owned() });
        }
        tally.borrow_mut().count(status, &body, true, due.elapsed());
    }
    Ok(())
}
