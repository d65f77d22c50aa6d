//! Connections on which something else than requests goes, opened as requests are: through the same proxy, with the same
//! authorities, and bounded in time.
//!
//! ureq has no other way to hand out the connection that it has opened, so a connector keeps it and says that there is none.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::Uri;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport, TransportAdapter,
};
use ureq::{Agent, Timeout};

use crate::fetch::{FetchError, Fetcher, TIMEOUT_MAX, explain, parse_url};

/// Holds a connection to a server, over TLS where the address is `https`.
pub struct Stream(TransportAdapter);

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    /// Sets how long reading and writing may take from now on, all together. After that both fail as
    /// [`io::ErrorKind::WouldBlock`], and go on where they were once they have time again.
    pub fn set_timeout(&mut self, time: Duration) {
        self.0.set_timeout(NextTimeout {
            after: time.into(),
            reason: Timeout::Global,
            per_read: None,
            per_write: None,
        });
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(timed_out)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(timed_out)
    }
}

/// Tells the end of the time from other failures.
fn timed_out(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    match inner {
        Some(ureq::Error::Timeout(_)) => io::ErrorKind::WouldBlock.into(),
        _ => error,
    }
}

/// Says that a connection was opened and is kept.
#[derive(Debug, thiserror::Error)]
#[error("the connection is handed out")]
struct HandedOut;

/// Keeps the connection to one server instead of having a request go over it.
#[derive(Debug)]
struct KeepConnection {
    connector: DefaultConnector,
    server: Uri,
    kept: Arc<Mutex<Option<Stream>>>,
}

impl Connector<()> for KeepConnection {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        let connected = self.connector.connect(details, chained)?;
        let is_server =
            details.uri.scheme() == self.server.scheme() && details.uri.authority() == self.server.authority();
        // The connection to a proxy is opened here as well.
        let transport = match connected {
            Some(transport) if is_server => transport,
            other => return Ok(other),
        };
        if details.needs_tls() && !transport.is_tls() {
            return Err(ureq::Error::TlsRequired);
        }
        let stream = Stream(TransportAdapter::new(transport, Arc::clone(&details.current_time)));
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        Err(ureq::Error::Other(HandedOut.into()))
    }
}

impl Fetcher {
    /// Opens a connection to the host of an address, in at most `limit`. Nothing is sent on it.
    ///
    /// # Errors
    /// [`FetchError`], as for a request.
    pub fn connect(&self, url: &str, limit: Duration) -> Result<Stream, FetchError> {
        let server = parse_url(url)?;
        let kept = Arc::new(Mutex::new(None));
        let connector =
            KeepConnection { connector: DefaultConnector::new(), server: server.clone(), kept: Arc::clone(&kept) };
        let config = self.agent(server.host()).config().clone();
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        let asked = agent.get(url).config().timeout_global(Some(limit.min(TIMEOUT_MAX))).build().call();
        let stream = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (stream, asked) {
            (Some(stream), _) => Ok(stream),
            (None, Err(error)) => Err(explain(error)),
            (None, Ok(_)) => Err(FetchError::Broken { reason: "the connection is not there".to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;
    use crate::network::Network;

    const LONG: Duration = Duration::from_secs(60);

    /// Answers the first line of one client by the same line, and hangs up when the client does.
    fn serve_one_line(listener: TcpListener) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(client.try_clone().unwrap()).read_line(&mut line).unwrap();
            client.write_all(line.as_bytes()).unwrap();
            let _ = io::copy(&mut client, &mut io::sink());
        })
    }

    fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    fn talk(stream: &mut Stream) -> String {
        stream.set_timeout(LONG);
        stream.write_all(b"hello\n").unwrap();
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    }

    #[test]
    fn what_is_sent_arrives_and_reading_goes_on_after_a_time_out() {
        let (listener, address) = listen();
        let server = serve_one_line(listener);
        let mut stream = Fetcher::new().unwrap().connect(&format!("http://{address}"), LONG).unwrap();
        stream.set_timeout(Duration::from_millis(20));
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        assert_eq!(talk(&mut stream), "hello\n");
        drop(stream);
        server.join().unwrap();
    }

    #[test]
    fn a_proxy_is_gone_through() {
        let (listener, address) = listen();
        let (proxy, proxy_address) = listen();
        let server = serve_one_line(listener);
        let asked = thread::spawn(move || {
            let (mut client, _) = proxy.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let mut upstream = TcpStream::connect(&target).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let up = thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            let _ = io::copy(&mut upstream, &mut client);
            up.join().unwrap();
            target
        });
        let network = Network::new(|name| (name == "ALL_PROXY").then(|| format!("http://{proxy_address}").into()));
        let fetcher = Fetcher::of_network(network.unwrap(), "test");
        let mut stream = fetcher.connect(&format!("http://{address}"), LONG).unwrap();
        assert_eq!(talk(&mut stream), "hello\n");
        drop(stream);
        assert_eq!(asked.join().unwrap(), address);
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error_by_name() {
        let (listener, address) = listen();
        drop(listener);
        let error = Fetcher::new().unwrap().connect(&format!("http://{address}"), LONG).unwrap_err();
        assert!(matches!(error, FetchError::Connection { .. }), "{error}");
    }
}
