//! A beacon that runs, and a client that writes what it likes.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, UserId};
use rendezvous_protocol::time::UnixMillis;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// More than anything takes on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The program with these variables, and none of those that the tests run with.
pub(crate) fn program(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rendezvous-beacon"));
    command.env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

/// What becomes of the program where it ends by itself.
pub(crate) fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A beacon on a free port.
pub(crate) struct Beacon {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Option<SocketAddr>,
    log: Receiver<String>,
}

impl Beacon {
    pub(crate) fn start(state: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = program(&[("PORT", "0"), ("STATE", state.to_str().unwrap())]);
        command.envs(variables.iter().copied()).arg("serve");
        Self::of(command)
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (lines, log) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let mut beacon = Self { child, address: SocketAddr::from(([0; 4], 0)), metrics: None, log };
        loop {
            let note = beacon.note();
            let url = || note["details"]["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
            if note["event"] == "metrics_listening" {
                beacon.metrics = Some(url().strip_suffix("/metrics").unwrap().parse().unwrap());
            }
            if note["event"] == "listening" {
                beacon.address = url().parse().unwrap();
                return beacon;
            }
        }
    }

    /// The next line of the log.
    pub(crate) fn note(&self) -> Value {
        serde_json::from_str(&self.log.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    /// The notes from now on, up to one of this event.
    pub(crate) fn until(&self, event: &str) -> Value {
        loop {
            let note = self.note();
            if note["event"] == event {
                return note;
            }
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.connect().request("GET", path, &[], "")
    }

    pub(crate) fn announce(&self, peer: &str) -> Response {
        self.connect().request("POST", "/announce", &[], &body(&ticket(peer, "mainnet")))
    }

    /// The names of the peers that are listed.
    pub(crate) fn peers(&self, path: &str) -> Vec<String> {
        let list = self.get(path).json();
        let peers = list["peers"].as_array().unwrap();
        let mut peers: Vec<_> =
            peers.iter().map(|ticket| ticket["payload"]["peerId"].as_str().unwrap().to_owned()).collect();
        peers.sort();
        peers
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = Client::new(self.metrics.unwrap()).request("GET", "/metrics", &[], "").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    /// Waits until a metric has this value.
    pub(crate) fn await_metric(&self, name: &str, expected: f64) {
        eventually(name, || self.metric(name) == Some(expected));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait().code(), Some(0));
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tries until it holds. Nothing is assumed of how long that takes.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < until, "{what} does not hold");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A good ticket of now.
pub(crate) fn ticket(peer: &str, community: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let payload = Payload {
        peer_id: PeerId::new(peer).unwrap(),
        user_id: UserId::new("user").unwrap(),
        data: None,
        issued_at: UnixMillis::saturating(now),
        expires_at: UnixMillis::saturating(now + 180_000),
        nonce: Nonce::new(vec![0; 12]).unwrap(),
        community: Some(community.parse().unwrap()),
        purpose: Purpose::Presence,
    };
    let mut seed = [0; 32];
    seed.iter_mut().zip(peer.bytes()).for_each(|(seed, byte)| *seed = byte);
    Ticket::sign(payload, &PrivateKey::from_seed(&seed)).to_json()
}

pub(crate) fn body(ticket: &str) -> String {
    format!("{{\"ticket\":{ticket}}}")
}

/// A connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Status and code.
    pub(crate) fn problem(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream), host: address.to_string() }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Host")) {
            head += &format!("Host: {}\r\n", self.host);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        self.write(head + "\r\n" + body)
    }

    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        self.send(method, path, headers, body).unwrap();
        self.response(method).unwrap().expect("the connection was closed without an answer")
    }

    /// The status of the next response, of which nothing is read but its beginning.
    pub(crate) fn peek_status(&mut self) -> u16 {
        let beginning = self.stream.fill_buf().unwrap();
        str::from_utf8(&beginning[9..12]).unwrap().parse().unwrap()
    }

    /// The next response, if one comes before the connection is closed.
    pub(crate) fn response(&mut self, method: &str) -> io::Result<Option<Response>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut response = Response { status, headers, body: String::new() };
        let length = response.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" {
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            response.body = String::from_utf8(body).unwrap();
        }
        Ok(Some(response))
    }

    /// Waits until the beacon asks for the body of a request that expects to be asked.
    pub(crate) fn await_continue(&mut self) {
        for expected in ["HTTP/1.1 100 Continue\r\n", "\r\n"] {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            assert_eq!(line, expected);
        }
    }

    /// Whether the beacon closes the connection, without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}
