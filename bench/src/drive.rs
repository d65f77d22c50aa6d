//! `drive`: requests over connections that stay open.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use memchr::memmem::Finder;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Failure;
use crate::schedule::Schedule;
use crate::summary::{Summary, Tally};
use crate::workload::{self, Kind};

#[derive(Args)]
pub(crate) struct DriveArguments {
    /// Where to: http, host, port and path.
    #[arg(long)]
    url: String,
    /// What to send.
    #[arg(long)]
    kind: Kind,
    /// Most requests to send.
    #[arg(long)]
    requests: usize,
    /// Longest time to send them in.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Requests a second at fixed times; without it, as fast as answers come.
    #[arg(long)]
    rate: Option<f64>,
    /// Connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Makes a connection for each request, for servers that end it with the answer and do not say so.
    #[arg(long)]
    connect_each: bool,
    /// Networks that the requests say they come from, in turn.
    #[arg(long, default_value_t = 1_000)]
    networks: usize,
    /// Communities that the requests are for, in turn: `NAME-0` and so on. Without it the URL says.
    #[arg(long)]
    communities: Option<usize>,
    /// NAME of the communities.
    #[arg(long, default_value = "bench")]
    community: String,
    /// Targets, in turn: in the URL, VARIANT becomes a number of five digits, from 10000 on.
    #[arg(long, conflicts_with = "communities")]
    variants: Option<usize>,
    /// Tickets in one body, for hand-over.
    #[arg(long, default_value_t = 1)]
    tickets_per_body: usize,
    /// How long the tickets live.
    #[arg(long, default_value_t = 180_000)]
    lifetime_ms: u64,
    /// Counts the answers with this text in them.
    #[arg(long, default_value = "")]
    expect: String,
    /// Prints the last answer too.
    #[arg(long)]
    with_answer: bool,
}

/// Holds everything that the connections share.
struct Run {
    schedule: Schedule,
    tally: RefCell<Tally>,
    bodies: Vec<Bytes>,
    /// One for each community.
    targets: Vec<Uri>,
    authority: String,
    host: HeaderValue,
    addresses: Vec<HeaderValue>,
    expect: Finder<'static>,
    get: bool,
    connect_each: bool,
}

pub(crate) fn run(arguments: &DriveArguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = runtime.block_on(LocalSet::new().run_until(drive(arguments)))?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}

async fn drive(arguments: &DriveArguments) -> Result<Summary, Failure> {
    let uri: Uri = arguments.url.parse().map_err(|_| Failure::Address(arguments.url.clone()))?;
    let authority = uri.authority().ok_or_else(|| Failure::Address(arguments.url.clone()))?.to_string();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let targets = match (arguments.communities, arguments.variants) {
        (None, None) => vec![target(path)?],
        (None, Some(count)) => (0..count)
            .map(|number| target(&path.replace("VARIANT", &(10_000 + number).to_string())))
            .collect::<Result<_, _>>()?,
        (Some(count), _) => (0..count)
            .map(|number| {
                let separator = if path.contains('?') { '&' } else { '?' };
                target(&format!("{path}{separator}community={}-{number}", arguments.community))
            })
            .collect::<Result<_, _>>()?,
    };
    let lifetime = Duration::from_millis(arguments.lifetime_ms);
    let bodies = workload::bodies(arguments.kind, arguments.requests, arguments.tickets_per_body, lifetime)?;
    let finder = Finder::new(arguments.expect.as_bytes()).into_owned();
    let host = HeaderValue::from_str(&authority).map_err(|_| Failure::Address(authority.clone()))?;
    let addresses = (0..arguments.networks.max(1)).map(workload::address);
    let addresses = addresses.map(|address| HeaderValue::from_str(&address).map_err(|_| Failure::Address(address)));
    let addresses: Vec<_> = addresses.collect::<Result<_, _>>()?;
    let plan = |schedule| Run {
        schedule,
        tally: RefCell::default(),
        bodies: bodies.clone(),
        targets: targets.clone(),
        authority: authority.clone(),
        host: host.clone(),
        addresses: addresses.clone(),
        expect: finder.clone(),
        get: arguments.kind == Kind::Get,
        connect_each: arguments.connect_each,
    };
    if arguments.kind == Kind::Repost {
        // Each once, so that every further time is a repetition.
        let first = Rc::new(plan(Schedule::closed(bodies.len(), Duration::from_secs(60))));
        send_all(&first, arguments.connections).await?;
    }
    let limit = Duration::from_secs_f64(arguments.seconds);
    let schedule = match arguments.rate {
        None => Schedule::closed(arguments.requests, limit),
        Some(_) => Schedule::open(arguments.requests, limit),
    };
    let run = Rc::new(plan(schedule));
    let (started, ran_before) = (Instant::now(), processor_time());
    let (sent, lateness) = tokio::join!(send_all(&run, arguments.connections), async {
        match arguments.rate {
            None => Vec::new(),
            Some(rate) => run.schedule.tick(rate).await,
        }
    });
    sent?;
    let (took, ran) = (started.elapsed(), processor_time().saturating_sub(ran_before));
    let tally = Tally { lateness, ..run.tally.take() };
    Ok(Summary::new(tally, took, ran, arguments.with_answer))
}

/// Returns how long this thread has run so far; zero where the kernel does not say.
pub(crate) fn processor_time() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = schedstat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn target(path: &str) -> Result<Uri, Failure> {
    path.parse().map_err(|_| Failure::Address(path.to_owned()))
}

async fn send_all(run: &Rc<Run>, connections: usize) -> Result<(), Failure> {
    let tasks: Vec<_> = (0..connections.max(1))
        .map(|_| {
            let run = Rc::clone(run);
            tokio::task::spawn_local(async move { run.connection().await })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|_| Failure::Thread)??;
    }
    Ok(())
}

impl Run {
    /// Sends requests over one connection, and over another when that breaks, until there are no more.
    async fn connection(&self) -> Result<(), Failure> {
        let mut sender = self.connect().await?;
        while let Some((number, due)) = self.schedule.next().await {
            if self.connect_each {
                sender = self.connect().await?;
            }
            match self.send(&mut sender, number).await {
                Ok((status, body)) => self.count(status, &body, due),
                Err(Failure::Http(error)) => {
                    self.tally.borrow_mut().count_break(&error);
                    sender = self.connect().await?;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    async fn send(&self, sender: &mut SendRequest<Full<Bytes>>, number: usize) -> Result<(u16, Bytes), Failure> {
        let body = turn(&self.bodies, number).cloned().unwrap_or_default();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = if self.get { Method::GET } else { Method::POST };
        *request.uri_mut() = turn(&self.targets, number).cloned().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(address) = turn(&self.addresses, number) {
            headers.insert(HeaderName::from_static("cf-connecting-ip"), address.clone());
        }
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    fn count(&self, status: u16, body: &Bytes, due: Instant) {
        let is_matching = self.expect.find(body).is_some();
        self.tally.borrow_mut().count(status, body, is_matching, due.elapsed());
    }
}

/// Returns item `number`, around and around.
fn turn<T>(items: &[T], number: usize) -> Option<&T> {
    items.get(number.checked_rem(items.len())?)
}
