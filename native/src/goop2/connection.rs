//! The tasks of connections: a WebSocket or an event stream each.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::channel::{Channel, Sender};
use hyper::upgrade::OnUpgrade;
use rendezvous_protocol::limits::GUEST_BODY_MAX_BYTES;
use rendezvous_protocol::live::CloseCode;
use rendezvous_service::answer::Answer;
use rendezvous_service::goop2::{GuestCall, GuestConnection, GuestOutput, GuestPushed, OpenGuest};
use rendezvous_service::live::ConnectionId;
use rendezvous_service::problem::internal;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::clock::{unix_now, wait_until};
use crate::event_loop::EventLoop;
use crate::goop2::rooms::GuestMail;
use crate::live::{CLOSE_TIMEOUT, Counted, Received, Socket, WRITE_TIMEOUT, body_of, close, received, socket_of};

/// What waits for a connection that is writing. Each is what all are sent at once, shared with all other connections.
const WAITING: usize = 16;

/// Keeps a connection's place in its room until this is dropped: a client may go away at any time.
struct Place {
    event_loop: Rc<EventLoop>,
    community: String,
    id: ConnectionId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.event_loop.send_guest(&self.community, GuestMail::Closed { id: self.id });
    }
}

/// A connection for which the room has a place.
pub(crate) struct GuestTask {
    event_loop: Rc<EventLoop>,
    edge: usize,
    /// Absent for a probe, which ends at once.
    place: Option<Place>,
    is_socket: bool,
    connection: GuestConnection,
    pushed: mpsc::Receiver<GuestPushed>,
    _counted: Counted,
}

impl GuestTask {
    /// Asks the room for a place. If there is none, the answer says so to the client.
    pub(crate) async fn open(event_loop: &Rc<EventLoop>, edge: usize, open: OpenGuest) -> Result<Self, Answer> {
        let counted = Counted::new(event_loop);
        let (sender, pushed) = mpsc::channel(WAITING);
        let mut place = None;
        if let Some(opening) = open.opening() {
            let id = event_loop.live.next_id(event_loop.index());
            let community = open.community().to_string();
            let asked = place.insert(Place { event_loop: Rc::clone(event_loop), community, id });
            let (answer, admitted) = oneshot::channel();
            event_loop.send_guest(&asked.community, GuestMail::Open { id, opening, pushed: sender, answer });
            match admitted.await {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => return Err(refusal.answer()),
                // The log has the cause.
                Err(_) => return Err(internal(unix_now())),
            }
        }
        let is_socket = open.is_socket();
        let connection = open.admitted(unix_now());
        Ok(Self { event_loop: Rc::clone(event_loop), edge, place, is_socket, connection, pushed, _counted: counted })
    }

    /// Returns whether the client reads from a WebSocket, not from an event stream.
    pub(crate) const fn is_socket(&self) -> bool {
        self.is_socket
    }

    /// Serves a WebSocket until it ends. `guard` is kept until then.
    pub(crate) async fn serve_socket(mut self, upgrade: OnUpgrade, guard: impl Sized) {
        // A client that is gone before the answer has reached it.
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = socket_of(upgraded, GUEST_BODY_MAX_BYTES, GUEST_BODY_MAX_BYTES).await;
        let end = self.run_socket(&mut socket).await;
        let connection = &self.connection;
        self.event_loop.shared.with_edge(self.edge, |edge| edge.close_guest(unix_now(), connection));
        // The answer to the client's own close, if that is why.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.flush()).await;
        // The guest goes now, not when the client has answered.
        drop(self.place.take());
        if let Some((code, reason)) = end {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, close(&mut socket, code, reason)).await;
        }
        drop(guard);
    }

    /// Returns with what the socket is to be closed, unless it has ended by itself.
    async fn run_socket(&mut self, socket: &mut Socket) -> Option<(u16, &'static str)> {
        loop {
            while let Some(output) = self.connection.next_output() {
                let message = match output {
                    GuestOutput::Text(text) => Message::text(text),
                    GuestOutput::Ping => Message::Ping(Bytes::new()),
                    GuestOutput::Tell(call) => {
                        self.tell(call);
                        continue;
                    }
                    GuestOutput::Close { code, reason } => return Some((code, reason)),
                };
                match tokio::time::timeout(WRITE_TIMEOUT, socket.send(message)).await {
                    Ok(Ok(())) => self.connection.read(),
                    Ok(Err(_)) => return None,
                    Err(_) => return Some((CloseCode::Slow.as_u16(), CloseCode::Slow.reason())),
                }
            }
            tokio::select! {
                message = socket.next() => self.receive(message?)?,
                pushed = self.pushed.recv() => self.take(pushed),
                () = wait_until(self.connection.next_deadline()) => self.connection.handle_timeout(unix_now()),
                () = self.event_loop.live.drained() => self.connection.drain(),
            }
        }
    }

    /// Takes what was read. It is absent where there is nothing more to read.
    fn receive(&mut self, message: Result<Message, Error>) -> Option<()> {
        match received(message)? {
            Received::Text(text) => self.connection.receive(unix_now(), text.as_str()),
            Received::Control => self.connection.receive_control(unix_now()),
            Received::Refused(code) => self.connection.refuse(code),
        }
        Some(())
    }

    /// Takes what the room has. It is absent where the room has ended.
    fn take(&mut self, pushed: Option<GuestPushed>) {
        self.connection.take(unix_now(), pushed.unwrap_or(GuestPushed::Close(CloseCode::Internal)));
    }

    fn tell(&self, call: GuestCall) {
        if let Some(Place { event_loop, community, id }) = &self.place {
            event_loop.send_guest(community, GuestMail::Tell { id: *id, call });
        }
    }

    /// Serves an event stream until it ends, and returns its body at once. `guard` is kept until then.
    pub(crate) fn serve_stream(self, guard: impl Sized + 'static) -> Channel<Bytes, Infallible> {
        body_of(|sender| self.run_stream(sender), guard)
    }

    async fn run_stream(mut self, mut sender: Sender<Bytes, Infallible>) {
        loop {
            while let Some(output) = self.connection.next_output() {
                let text = match output {
                    GuestOutput::Text(text) => text,
                    GuestOutput::Tell(call) => {
                        self.tell(call);
                        continue;
                    }
                    GuestOutput::Ping | GuestOutput::Close { .. } => return,
                };
                match tokio::time::timeout(WRITE_TIMEOUT, sender.send_data(Bytes::from(text))).await {
                    Ok(Ok(())) => self.connection.read(),
                    Ok(Err(_)) | Err(_) => return,
                }
            }
            tokio::select! {
                pushed = self.pushed.recv() => self.take(pushed),
                () = wait_until(self.connection.next_deadline()) => self.connection.handle_timeout(unix_now()),
                () = self.event_loop.live.drained() => self.connection.drain(),
            }
        }
    }
}
