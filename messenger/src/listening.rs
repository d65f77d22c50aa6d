//! Listens for the news of a mailbox on a WebSocket, in a thread of its own, and hands on what is heard. When to connect is decided
//! elsewhere, and so is what a message means.

use std::io;
use std::thread;
use std::time::Instant;

use rendezvous_capsule::fetch::{FetchError, is_considered};
use rendezvous_capsule::stream::Stream;
use rendezvous_messenger::following::Ended;
use rendezvous_messenger::live::{Heard, Listen, LiveConnection, LiveError, MESSAGE_MAX_BYTES};
use rendezvous_messenger::transport::HttpTransport;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::StatusCode;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket, client};

/// Says why there is no connection, or no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// No connection.
    #[error(transparent)]
    Unreached(#[from] FetchError),
    /// The relay has no sockets.
    #[error(
        "the relay tells no news of mailboxes (HTTP status {status}): it is asked for messages now and then instead"
    )]
    NotOffered {
        /// What it answers.
        status: StatusCode,
    },
    /// The relay has none for now.
    #[error("the relay tells no news for now: HTTP status {status}")]
    NotNow {
        /// What it answers.
        status: StatusCode,
    },
    /// No whole answer to the request for a WebSocket.
    #[error("the relay has not opened a WebSocket in time")]
    TimedOut,
    /// The relay has ended the connection.
    #[error("the relay has ended the connection for news")]
    Closed,
    /// What the relay says.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The connection.
    #[error("the connection for news has ended: {0}")]
    Broken(Box<tungstenite::Error>),
    /// The system has no thread left.
    #[error("no thread can be started to listen for news: {0}")]
    Thread(io::Error),
}

impl ListenError {
    /// Returns what that means for the next attempt.
    pub(crate) const fn ended(&self) -> Ended {
        match self {
            Self::NotOffered { .. } => Ended::NotOffered,
            _ => Ended::Broken,
        }
    }
}

impl From<tungstenite::Error> for ListenError {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => Self::Closed,
            error => Self::Broken(error.into()),
        }
    }
}

/// Opens a connection, and calls `tell` with what is heard on it until it ends. The thread ends with the connection, or with the
/// program.
///
/// # Errors
/// [`ListenError::Thread`].
pub(crate) fn listen(
    transport: HttpTransport,
    listen: Listen,
    mut tell: impl FnMut(Result<Heard, ListenError>) + Send + 'static,
) -> Result<(), ListenError> {
    let run = move || {
        let Err(error) = follow(&transport, &listen, |heard| tell(Ok(heard)));
        tell(Err(error));
    };
    thread::Builder::new().name("news".to_owned()).spawn(run).map_err(ListenError::Thread)?;
    Ok(())
}

fn follow(
    transport: &HttpTransport,
    listen: &Listen,
    mut tell: impl FnMut(Heard),
) -> Result<std::convert::Infallible, ListenError> {
    let mut socket = open(transport, &listen.url)?;
    socket.send(Message::text(&listen.first))?;
    let mut connection = LiveConnection::new(Instant::now());
    loop {
        let time = connection.next_deadline().saturating_duration_since(Instant::now());
        socket.get_mut().set_timeout(time);
        match socket.read() {
            Ok(Message::Text(text)) => tell(connection.take(&text)?),
            Ok(Message::Close(_)) => return Err(ListenError::Closed),
            Ok(_) => connection.note_sign_of_life(),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(ping) = connection.handle_timeout(Instant::now())? {
                    socket.get_mut().set_timeout(transport.timeout());
                    socket.send(Message::text(ping))?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn open(transport: &HttpTransport, url: &str) -> Result<WebSocket<Stream>, ListenError> {
    let mut stream = transport.connect(url)?;
    stream.set_timeout(transport.timeout());
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX_BYTES))
        .max_frame_size(Some(MESSAGE_MAX_BYTES))
        .read_buffer_size(MESSAGE_MAX_BYTES);
    // RFC 6455, section 3: the same address, by another scheme.
    let address = url.strip_prefix("http").map(|rest| format!("ws{rest}")).unwrap_or_default();
    match client::client_with_config(address, stream, Some(config)) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Interrupted(_)) => Err(ListenError::TimedOut),
        Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            let status = answer.status();
            Err(if is_considered(status) { ListenError::NotOffered { status } } else { ListenError::NotNow { status } })
        }
        Err(HandshakeError::Failure(error)) => Err(error.into()),
    }
}
