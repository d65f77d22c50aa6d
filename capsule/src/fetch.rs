//! Fetching over HTTP from servers that may be slow, broken or hostile.
//!
//! Bounded in time and in bytes, whatever the server does: the time counts from the first look-up of a name to the last
//! byte of the last attempt, and the bytes are counted while they arrive. Redirects are not followed, because what is
//! checked and shown is the address that was given; the error names the other address.

use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use rendezvous_protocol::backoff::Backoff;
use rendezvous_protocol::time::DAY_SECONDS;
use ureq::http::header::{CONTENT_TYPE, LOCATION, ORIGIN, RETRY_AFTER};
use ureq::http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri};
use ureq::tls::TlsConfig;
use ureq::{Agent, Proxy};

use crate::network::{Network, NetworkError, has_port_or_none};
use crate::page::Page;
use crate::text;

/// Attempts at one address: the first, and two more where the failure may be a passing one.
const ATTEMPTS: u32 = 3;

/// The waits between attempts.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(400), most: Duration::from_secs(2) };

/// The time for one address, all attempts together, where nobody says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest time that can be asked for. One that is far longer overflows the clocks of some systems.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(DAY_SECONDS);

/// Bytes of the answer's header.
const HEADER_MAX_BYTES: usize = 16 * 1024;

const USER_AGENT: &str = concat!("rendezvous-capsule/", env!("CARGO_PKG_VERSION"));

/// Why nothing was fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// An address that cannot be fetched from.
    #[error("{reason}")]
    BadUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// No connection.
    #[error("no connection: {reason}")]
    Connection {
        /// What the system says.
        reason: String,
    },
    /// Something else than TLS at an https address.
    #[error("the server does not speak TLS: is it http://?")]
    NotTls,
    /// The answer was not there in time, or not to its end.
    #[error("no whole answer in time (--timeout allows more)")]
    TimedOut,
    /// The answer broke off or is not HTTP.
    #[error("the answer broke off or is not HTTP: {reason}")]
    Broken {
        /// What did not fit.
        reason: String,
    },
    /// Another status than 200.
    #[error("HTTP status {status}{}", come_back(*.retry_after))]
    Status {
        /// The status.
        status: StatusCode,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// A redirect.
    #[error("it redirects to {}: if you trust that, give that address", text::printable(.location))]
    Redirect {
        /// Where to.
        location: String,
    },
}

fn come_back(retry_after: Option<Duration>) -> String {
    retry_after.map(|wait| format!(", come back in {}", text::duration(wait))).unwrap_or_default()
}

impl FetchError {
    /// A name for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "BAD_URL",
            Self::Connection { .. } | Self::NotTls => "NO_CONNECTION",
            Self::TimedOut => "TIMED_OUT",
            Self::Broken { .. } => "BROKEN_ANSWER",
            Self::Status { .. } => "HTTP_STATUS",
            Self::Redirect { .. } => "REDIRECT",
        }
    }

    /// Whether the server could be reached, and what it said is its considered answer. What may pass is not.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Status { status, .. } => is_considered(*status),
            Self::Redirect { .. } => true,
            _ => false,
        }
    }

    fn may_pass(&self) -> bool {
        !self.is_answer() && !matches!(self, Self::BadUrl { .. } | Self::NotTls)
    }
}

/// Returns whether a server that answers with this status would answer the same a moment later.
pub fn is_considered(status: StatusCode) -> bool {
    !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// At most one byte more than the limit, so that whoever reads it sees that it is too long.
    pub(crate) body: Result<Vec<u8>, FetchError>,
    /// What the server calls it, where there is a body.
    pub(crate) content_type: Option<String>,
}

/// How it went, whatever the status of the last answer.
#[derive(Debug)]
pub(crate) struct Attempted {
    /// The last answer.
    pub(crate) answer: Result<Exchanged, FetchError>,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// How long it took, waits included.
    pub(crate) took: Duration,
}

/// What a server answered, whatever its status.
#[derive(Debug)]
pub(crate) struct Exchanged {
    /// The status, which is not a redirect's.
    pub(crate) status: StatusCode,
    /// When the server wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
    /// What the server calls it.
    pub(crate) content_type: Option<String>,
    /// At most one byte more than the limit, so that whoever reads it sees that it is too long.
    pub(crate) body: Vec<u8>,
}

impl Exchanged {
    /// Returns what is wrong, by its status alone.
    fn problem(&self) -> Option<FetchError> {
        let Self { status, retry_after, .. } = *self;
        (status != StatusCode::OK).then_some(FetchError::Status { status, retry_after })
    }

    fn good(self) -> Result<Self, FetchError> {
        self.problem().map_or(Ok(self), Err)
    }
}

/// Fetches, through the proxy that `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY` names, if one does.
#[derive(Clone, Debug)]
pub struct Fetcher {
    network: Network,
    /// Goes to the host itself, whatever proxy there is.
    direct: Agent,
    /// Goes through the proxy, if there is one.
    usual: Agent,
    /// The page as which it asks, if it does.
    page: Option<Page>,
}

impl Fetcher {
    /// Makes one as the variables of this process say. Those that cannot be obeyed are errors.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn new() -> Result<Self, NetworkError> {
        Self::of_program(USER_AGENT)
    }

    /// Makes one for a program of another name.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn of_program(user_agent: &str) -> Result<Self, NetworkError> {
        Ok(Self::of_network(Network::of_process()?, user_agent))
    }

    /// Makes one that reaches the network so.
    pub(crate) fn of_network(network: Network, user_agent: &str) -> Self {
        let agent = |proxy: Option<Proxy>| {
            Agent::config_builder()
                .user_agent(user_agent)
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .max_response_header_size(HEADER_MAX_BYTES)
                // A new connection for every attempt: the old one may be what was wrong.
                .max_idle_connections(0)
                .tls_config(TlsConfig::builder().root_certs(network.authorities.clone()).build())
                .proxy(proxy)
                .build()
                .new_agent()
        };
        Self { direct: agent(None), usual: agent(network.proxy.clone()), network, page: None }
    }

    /// Returns one that asks as this page would.
    #[must_use]
    pub(crate) fn for_page(&self, page: Page) -> Self {
        Self { page: Some(page), ..self.clone() }
    }

    /// Returns what asks this host.
    pub(crate) fn agent(&self, host: Option<&str>) -> &Agent {
        if host.is_some_and(|host| self.network.is_direct(host)) { &self.direct } else { &self.usual }
    }

    /// Fetches at most `max_bytes` (and one) in at most `timeout`.
    ///
    /// One attempt gets at most half of the time, so that a server that hangs once gets a second chance.
    pub(crate) fn get(&self, url: &str, max_bytes: usize, timeout: Duration) -> Fetched {
        match self.get_any(url, max_bytes, timeout).answer.and_then(Exchanged::good) {
            Ok(Exchanged { body, content_type, .. }) => Fetched { body: Ok(body), content_type },
            Err(error) => Fetched { body: Err(error), content_type: None },
        }
    }

    /// Fetches in the same way, and hands over the last answer whatever its status: a server may say why it refuses.
    pub(crate) fn get_any(&self, url: &str, max_bytes: usize, timeout: Duration) -> Attempted {
        let timeout = timeout.min(TIMEOUT_MAX);
        let begun = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let left = timeout.saturating_sub(begun.elapsed());
            let answer = self.exchange(url, None, max_bytes, left.min(timeout / 2));
            let error = match &answer {
                Ok(exchanged) => exchanged.problem(),
                Err(error) => Some(error.clone()),
            };
            if let Some(error) = &error
                && let left = timeout.saturating_sub(begun.elapsed())
                && let Some(wait) = wait_before_next(error, attempts, left, random_byte())
            {
                std::thread::sleep(wait);
            } else {
                return Attempted { answer, attempts, took: begun.elapsed() };
            }
        }
    }

    /// Whether a GET is answered with a status from 200 to 299. What else is said is not looked at.
    pub(crate) fn probe(&self, url: &str, timeout: Duration) -> Result<(), FetchError> {
        const LOOK_AT_BYTES: usize = 0;
        let Exchanged { status, retry_after, .. } = self.exchange(url, None, LOOK_AT_BYTES, timeout)?;
        if status.is_success() { Ok(()) } else { Err(FetchError::Status { status, retry_after }) }
    }

    /// Makes a request that somebody else has put together, and takes the answer whatever its status, redirects
    /// included: at most `max_bytes` in at most `limit`.
    pub fn send(
        &self,
        request: Request<Vec<u8>>,
        max_bytes: usize,
        limit: Duration,
    ) -> Result<Response<Vec<u8>>, FetchError> {
        let limit = Some(limit.min(TIMEOUT_MAX));
        let agent = self.agent(request.uri().host());
        let response = if request.body().is_empty() {
            // Some methods must not have a body, not even an empty one.
            let request = request.map(|_| ());
            agent.run(agent.configure_request(request).timeout_global(limit).build())
        } else {
            agent.run(agent.configure_request(request).timeout_global(limit).build())
        };
        let (parts, mut body) = response.map_err(explain)?.into_parts();
        let mut bytes = Vec::new();
        body.as_reader().take(max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(|error| broken(error.into()))?;
        if bytes.len() > max_bytes {
            return Err(FetchError::Broken { reason: format!("it is longer than {max_bytes} bytes") });
        }
        Ok(Response::from_parts(parts, bytes))
    }

    /// Makes one request, a POST if there is something to send, and takes the answer whatever its status: at most
    /// `max_bytes` (and one) in at most `limit`.
    pub(crate) fn exchange(
        &self,
        url: &str,
        sent: Option<&str>,
        max_bytes: usize,
        limit: Duration,
    ) -> Result<Exchanged, FetchError> {
        let limit = Some(limit.min(TIMEOUT_MAX));
        let uri = parse_url(url)?;
        let agent = self.agent(uri.host());
        let response = match sent {
            None => {
                let request = agent.get(url);
                let request = match &self.page {
                    Some(page) => request.header(ORIGIN, page.origin().as_str()),
                    None => request,
                };
                request.config().timeout_global(limit).build().call()
            }
            Some(body) => {
                let request = agent.post(url).header(CONTENT_TYPE, "application/json");
                request.config().timeout_global(limit).build().send(body)
            }
        };
        let mut response = response.map_err(explain)?;
        let status = response.status();
        if let Some(page) = &self.page {
            page.note(&uri, status, response.headers());
        }
        if status.is_redirection()
            && let Some(location) = header(response.headers(), LOCATION)
        {
            return Err(FetchError::Redirect { location: location.to_owned() });
        }
        let seconds = header(response.headers(), RETRY_AFTER).and_then(|text| text.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let content_type = header(response.headers(), CONTENT_TYPE).map(str::to_owned);
        let mut body = Vec::new();
        let mut reader = response.body_mut().as_reader().take(max_bytes as u64 + 1);
        reader.read_to_end(&mut body).map_err(|error: io::Error| broken(error.into()))?;
        Ok(Exchanged { status, retry_after, content_type, body })
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// For an answer that breaks off.
fn broken(error: ureq::Error) -> FetchError {
    match explain(error) {
        // The header was there: the connection was not what failed.
        FetchError::Connection { reason } => FetchError::Broken { reason },
        other => other,
    }
}

pub(crate) fn explain(error: ureq::Error) -> FetchError {
    match error {
        ureq::Error::Timeout(_) => FetchError::TimedOut,
        ureq::Error::HostNotFound => FetchError::Connection { reason: "there is no such host".to_owned() },
        ureq::Error::Io(error) => no_connection(error.to_string()),
        ureq::Error::Rustls(error) => no_connection(error.to_string()),
        ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            FetchError::Connection { reason: error.to_string() }
        }
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => FetchError::BadUrl { reason: error.to_string() },
        other => FetchError::Broken { reason: text::printable(&other.to_string()) },
    }
}

fn no_connection(reason: String) -> FetchError {
    // The library of TLS has no more than its text for it, wrapped once more where it came while reading.
    if reason.contains("InvalidContentType") { FetchError::NotTls } else { FetchError::Connection { reason } }
}

/// How long to wait before the next attempt, if there is to be one. `random` spreads those who failed together.
fn wait_before_next(error: &FetchError, attempts: u32, left: Duration, random: u8) -> Option<Duration> {
    if attempts >= ATTEMPTS || !error.may_pass() {
        return None;
    }
    let wait = BACKOFF.wait(attempts, random);
    let asked = match error {
        // (As seconds. The other form, a date, is not understood, and the usual wait taken.)
        FetchError::Status { retry_after, .. } => *retry_after,
        _ => None,
    };
    let wait = wait.max(asked.unwrap_or_default());
    (wait < left).then_some(wait)
}

/// To spread what would otherwise happen everywhere at once.
pub(crate) fn random_byte() -> u8 {
    let mut byte = [0];
    // Without randomness everybody waits equally long, which is not a reason to fail.
    let _ = getrandom::fill(&mut byte);
    u8::from_le_bytes(byte)
}

/// Takes an address to fetch from: `http` or `https`, a host, no user or password.
pub fn parse_url(text: &str) -> Result<Uri, FetchError> {
    let bad = |reason: &str| FetchError::BadUrl { reason: reason.to_owned() };
    let url: Uri = text.parse().map_err(|_| bad("it is no URL"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(bad("it must begin with https:// or http://"));
    }
    let authority = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    if authority.contains('@') {
        return Err(bad("it must not have a user or a password in it"));
    }
    if url.host().unwrap_or_default().is_empty() || !has_port_or_none(authority) {
        return Err(bad("it must have a host in it, and after a colon a port from 1 to 65535"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn status(status: u16, retry_after: Option<u64>) -> FetchError {
        let status = StatusCode::from_u16(status).unwrap();
        FetchError::Status { status, retry_after: retry_after.map(Duration::from_secs) }
    }

    fn refused() -> FetchError {
        FetchError::Connection { reason: "refused".to_owned() }
    }

    #[test]
    fn waits_double_and_are_spread() {
        let waits =
            |random| [1, 2].map(|attempts| wait_before_next(&refused(), attempts, LONG, random).unwrap().as_millis());
        assert_eq!(waits(0), [200, 400]);
        assert_eq!(waits(255), [400, 800]);
        assert_eq!(wait_before_next(&refused(), 3, LONG, 0), None);
    }

    #[test]
    fn tries_again_only_what_may_pass() {
        for error in [refused(), FetchError::TimedOut, status(500, None), status(503, None), status(429, None)] {
            assert!(wait_before_next(&error, 1, LONG, 0).is_some(), "{error}");
        }
        let redirect = FetchError::Redirect { location: "/".to_owned() };
        let bad_url = FetchError::BadUrl { reason: String::new() };
        for error in [status(404, None), status(400, None), status(204, None), redirect, bad_url] {
            assert_eq!(wait_before_next(&error, 1, LONG, 0), None, "{error}");
        }
    }

    #[test]
    fn comes_back_when_asked_to_unless_that_is_too_late() {
        let wait = |seconds| wait_before_next(&status(429, Some(seconds)), 1, LONG, 255);
        assert_eq!(wait(7), Some(Duration::from_secs(7)));
        assert_eq!(wait(0), wait_before_next(&refused(), 1, LONG, 255));
        assert_eq!(wait(60), None);
        assert_eq!(wait(u64::MAX), None);
        assert_eq!(wait_before_next(&refused(), 1, Duration::from_millis(150), 0), None);
    }

    #[test]
    fn a_server_without_tls_is_told_from_one_that_is_not_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            use std::io::Write as _;
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
            // Until the client hangs up: a reset would overtake the answer.
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        let attempted = Fetcher::new().unwrap().get_any(&url, 100, LONG);
        assert_eq!((attempted.answer.map(|_| ()), attempted.attempts), (Err(FetchError::NotTls), 1));
        server.join().unwrap();
    }

    #[test]
    fn urls_have_a_scheme_a_host_and_no_password() {
        for good in ["https://example.org", "http://127.0.0.1:8787/a?b=c", "https://[::1]:1/", "HTTPS://EXAMPLE.ORG"] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "example.org",
            "ftp://example.org",
            "https://",
            "https://u:p@example.org",
            "https://:80",
            "/a",
            "https://a:",
            "http://a:99999",
            "http://a:0",
            "http://[::1]:65536/",
        ] {
            assert!(matches!(parse_url(bad), Err(FetchError::BadUrl { .. })), "{bad}");
        }
    }
}
