//! The tasks of connections of `GET /live`: a WebSocket or an event stream each.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::channel::{Channel, Sender};
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rendezvous_protocol::limits::{LIVE_ACK_TIMEOUT, LIVE_CLIENT_MESSAGE_MAX_BYTES, LIVE_SIGNAL_MESSAGE_MAX_BYTES};
use rendezvous_protocol::live::CloseCode;
use rendezvous_service::call::ObjectError;
use rendezvous_service::edge::{Edge, OpenLive, Upgrade};
use rendezvous_service::live::{Connection, ConnectionId, LiveCall, LiveFull, Output, stream_event};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::clock::{unix_now, wait_until};
use crate::event_loop::{EventLoop, Shared, in_time};
use crate::goop2::GuestMail;
use crate::live::mailbox::{LiveMail, Mailbox};

/// Time in which a client has to take what is written. It is that in which it has to acknowledge.
pub(crate) const WRITE_TIMEOUT: Duration = LIVE_ACK_TIMEOUT;

/// Time in which a client has to answer a close.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client has sent over a socket.
pub(crate) enum Received {
    Text(Utf8Bytes),
    /// A ping or a pong, which tungstenite answers by itself.
    Control,
    /// What no connection takes, and the code with which it ends.
    Refused(CloseCode),
}

/// Returns what was read from a socket. It is absent where there is nothing more to read.
pub(crate) fn received(message: Result<Message, Error>) -> Option<Received> {
    match message {
        Ok(Message::Text(text)) => Some(Received::Text(text)),
        Ok(Message::Binary(_)) => Some(Received::Refused(CloseCode::Unsupported)),
        Ok(Message::Ping(_) | Message::Pong(_)) => Some(Received::Control),
        Err(Error::Capacity(_)) => Some(Received::Refused(CloseCode::TooLong)),
        Ok(Message::Close(_) | Message::Frame(_)) | Err(_) => None,
    }
}

/// Reads what a request wants its connection to become (RFC 6455, section 4.2.1).
pub(crate) fn upgrade_of(headers: &HeaderMap) -> Upgrade {
    let names = |name, token: &str| {
        let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY).is_some_and(|key| key.len() == 24);
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    match headers.contains_key(UPGRADE) {
        false => Upgrade::None,
        true if names(UPGRADE, "websocket") && names(CONNECTION, "upgrade") && key && version => Upgrade::WebSocket,
        true => Upgrade::Other,
    }
}

/// Returns the headers of the answer that makes a WebSocket of a connection.
pub(crate) fn handshake(headers: &HeaderMap) -> HeaderMap {
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut answer = HeaderMap::new();
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key)) {
        answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}

/// Counts a connection for as long as its task runs.
pub(crate) struct Counted(Rc<EventLoop>);

impl Counted {
    pub(crate) fn new(event_loop: &Rc<EventLoop>) -> Self {
        event_loop.live.count(1);
        Self(Rc::clone(event_loop))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.live.count(-1);
    }
}

/// Keeps a connection's place at its object until this is dropped: a client may go away at any time.
struct Place {
    event_loop: Rc<EventLoop>,
    object: String,
    id: ConnectionId,
    /// Whether a room of guests knows the connection too.
    watches_guests: bool,
}

impl Place {
    fn send(&self, mail: LiveMail) {
        self.event_loop.send_live(&self.object, self.id, mail);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.send(LiveMail::Call(LiveCall::Closed));
        if self.watches_guests {
            self.event_loop.send_guest(&self.object, GuestMail::Closed { id: self.id });
        }
    }
}

/// A connection for which the object has a place.
pub(crate) struct Live {
    place: Place,
    edge: usize,
    connection: Connection,
    mailbox: Arc<Mailbox>,
    _counted: Counted,
}

/// Why a connection could not be opened.
pub(crate) enum NotOpened {
    /// There is no place for it.
    Full(LiveFull),
    /// The object cannot be reached, or there is no randomness.
    Failed(ObjectError),
}

impl Live {
    /// Asks the object for a place. If there is none, the step says so to the client.
    pub(crate) async fn open(
        event_loop: &Rc<EventLoop>,
        edge: usize,
        step: Box<OpenLive>,
    ) -> Result<Self, (Box<OpenLive>, NotOpened)> {
        let mut challenge = [0; 16];
        if let Err(error) = getrandom::fill(&mut challenge) {
            return Err((step, NotOpened::Failed(ObjectError::Runtime(format!("no randomness: {error}")))));
        }
        let counted = Counted::new(event_loop);
        let id = event_loop.live.next_id(event_loop.index());
        let object = step.object().to_owned();
        let place = Place { event_loop: Rc::clone(event_loop), object, id, watches_guests: step.watches_guests() };
        let mailbox = Arc::new(Mailbox::default());
        let (answer, admitted) = oneshot::channel();
        place.send(LiveMail::Open { opening: step.opening().clone(), mailbox: Arc::clone(&mailbox), answer });
        let ended = |_| ObjectError::Runtime("the object of the community has ended".to_owned());
        match in_time(step.time_left(), async { admitted.await.map_err(ended) }).await {
            Ok(Ok(())) => {}
            Ok(Err(full)) => return Err((step, NotOpened::Full(full))),
            Err(error) => return Err((step, NotOpened::Failed(error))),
        }
        if step.watches_guests() {
            let mail = GuestMail::Watch { id, mailbox: Arc::clone(&mailbox) };
            event_loop.send_guest(step.object(), mail);
        }
        let connection = step.admitted(unix_now(), challenge);
        Ok(Self { place, edge, connection, mailbox, _counted: counted })
    }

    /// Serves a WebSocket until it ends. `guard` is kept until then.
    pub(crate) async fn serve_socket(mut self, upgrade: OnUpgrade, guard: impl Sized) {
        // A client that is gone before the answer has reached it.
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = socket_of(upgraded, LIVE_SIGNAL_MESSAGE_MAX_BYTES, 2 * LIVE_CLIENT_MESSAGE_MAX_BYTES).await;
        let code = self.run_socket(&mut socket).await;
        // What it was to be closed for counts, too, where the client did not let itself be told.
        let untold = std::iter::from_fn(|| self.connection.next_output()).find_map(|output| match output {
            Output::Close(code) => Some(code),
            _ => None,
        });
        for code in code.into_iter().chain(untold) {
            self.shared().with_edge(self.edge, |edge| edge.close_live(unix_now(), &self.connection, code));
        }
        // The answer to the client's own close, if that is why.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.flush()).await;
        if let Some(code) = code {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, close(&mut socket, code.as_u16(), code.reason())).await;
        }
        drop(guard);
    }

    /// Returns the code with which the socket is to be closed, unless it has ended by itself.
    async fn run_socket(&mut self, socket: &mut Socket) -> Option<CloseCode> {
        loop {
            while let Some(output) = self.connection.next_output() {
                let message = match output {
                    Output::Text(text) => Message::text(text),
                    Output::Frame(frame) => Message::text(frame.text.as_str()),
                    Output::StreamPing => continue,
                    Output::Verify(verify) => {
                        let holds = verify.verify_signature();
                        let connection = &mut self.connection;
                        let shared = &self.place.event_loop.shared;
                        shared.with_edge(self.edge, |edge| connection.verified(&mut edge.checks(), verify, holds))?;
                        continue;
                    }
                    Output::Ask(call) => {
                        self.place.send(LiveMail::Call(call));
                        continue;
                    }
                    Output::Close(code) => return Some(code),
                };
                match tokio::time::timeout(WRITE_TIMEOUT, socket.send(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return None,
                    Err(_) => return Some(CloseCode::Slow),
                }
            }
            tokio::select! {
                message = socket.next() => self.receive(message?)?,
                () = self.mailbox.filled() => self.empty_mailbox()?,
                () = wait_until(self.connection.next_deadline()) => self.connection.handle_timeout(unix_now()),
                () = self.drained() => self.connection.drain(),
            }
        }
    }

    /// Takes what the object has for the connection. It is absent where there is no edge to go on with.
    fn empty_mailbox(&mut self) -> Option<()> {
        let Self { place, connection, mailbox, .. } = self;
        let take = |edge: &mut Edge| mailbox.empty_into(&mut edge.checks(), connection, unix_now());
        place.event_loop.shared.with_edge(self.edge, take)
    }

    /// Takes what was read. It is absent where there is nothing more to read.
    fn receive(&mut self, message: Result<Message, Error>) -> Option<()> {
        let now = unix_now();
        match received(message)? {
            Received::Text(text) => {
                let connection = &mut self.connection;
                let shared = &self.place.event_loop.shared;
                shared.with_edge(self.edge, |edge| connection.receive(&mut edge.checks(), now, text.as_str()))?;
            }
            Received::Control => self.connection.receive_control(now),
            Received::Refused(code) => self.connection.refuse(code),
        }
        Some(())
    }

    /// Serves an event stream until it ends, and returns its body at once. `guard` is kept until then.
    pub(crate) fn serve_stream(self, guard: impl Sized + 'static) -> Channel<Bytes, Infallible> {
        body_of(|sender| self.run_stream(sender), guard)
    }

    async fn run_stream(mut self, mut sender: Sender<Bytes, Infallible>) {
        loop {
            while let Some(output) = self.connection.next_output() {
                let is_end = matches!(output, Output::Close(_));
                if let Output::Ask(call) = output {
                    self.place.send(LiveMail::Call(call));
                    continue;
                }
                let Some(event) = stream_event(&output) else { continue };
                match tokio::time::timeout(WRITE_TIMEOUT, sender.send_data(Bytes::from(event))).await {
                    Ok(Ok(())) if !is_end => self.connection.read(unix_now()),
                    Ok(_) | Err(_) => return,
                }
            }
            tokio::select! {
                () = self.mailbox.filled() => if self.empty_mailbox().is_none() { return },
                () = wait_until(self.connection.next_deadline()) => self.connection.handle_timeout(unix_now()),
                () = self.drained() => self.connection.drain(),
            }
        }
    }

    fn shared(&self) -> &Shared {
        &self.place.event_loop.shared
    }

    async fn drained(&self) {
        self.place.event_loop.live.drained().await;
    }
}

/// The beacon's end of a WebSocket.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Makes a WebSocket of a connection. A message of more than `most` bytes is refused before it is whole.
pub(crate) async fn socket_of(upgraded: Upgraded, most: usize, read_buffer: usize) -> Socket {
    let config = WebSocketConfig::default()
        .max_message_size(Some(most))
        .max_frame_size(Some(most))
        .read_buffer_size(read_buffer)
        .write_buffer_size(0);
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await
}

/// Returns the body of an event stream, which a task of its own writes. `guard` is kept until that has ended.
pub(crate) fn body_of<Run: Future<Output = ()> + 'static>(
    run: impl FnOnce(Sender<Bytes, Infallible>) -> Run,
    guard: impl Sized + 'static,
) -> Channel<Bytes, Infallible> {
    let (sender, body) = Channel::new(1);
    let run = run(sender);
    tokio::task::spawn_local(async move {
        run.await;
        drop(guard);
    });
    body
}

/// Says the end, and waits for the client to say so too, reading nothing else.
pub(crate) async fn close(socket: &mut Socket, code: u16, reason: &'static str) {
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    if socket.send(Message::Close(Some(frame))).await.is_err() {
        return;
    }
    // A flood that goes on is read to the end of the time, and dropped.
    while let Some(Ok(_)) = socket.next().await {}
}
