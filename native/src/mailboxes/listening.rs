//! The tasks of connections on which the news of a mailbox are told.

use std::rc::Rc;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use rendezvous_protocol::live::CloseCode;
use rendezvous_service::live::ConnectionId;
use rendezvous_service::mailbox::{ListenerConnection, ListenerOutput, News, OpenListener};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::clock::{unix_now, wait_until};
use crate::event_loop::EventLoop;
use crate::live::{CLOSE_TIMEOUT, Counted, Received, Socket, WRITE_TIMEOUT, close, received, socket_of};
use crate::mailboxes::object::MailName;

/// News that wait for a connection that is writing. One that has more begins anew, and is told how things are.
const WAITING: usize = 16;

/// Keeps a connection's place at its object until this is dropped: a client may go away at any time.
struct Place {
    event_loop: Rc<EventLoop>,
    object: MailName,
    id: ConnectionId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.event_loop.stop_listening(self.object, self.id);
    }
}

/// A connection.
pub(crate) struct ListenerTask {
    event_loop: Rc<EventLoop>,
    edge: usize,
    /// Absent until the client has said who it is.
    place: Option<Place>,
    connection: ListenerConnection,
    /// What the object is given to put news in. The object has it from when it is asked on.
    sender: Option<mpsc::Sender<News>>,
    news: mpsc::Receiver<News>,
    _counted: Counted,
}

impl ListenerTask {
    /// Opens a connection, of which no object knows yet.
    pub(crate) fn open(event_loop: &Rc<EventLoop>, edge: usize, open: OpenListener) -> Self {
        let (sender, news) = mpsc::channel(WAITING);
        Self {
            event_loop: Rc::clone(event_loop),
            edge,
            place: None,
            connection: open.open(unix_now()),
            sender: Some(sender),
            news,
            _counted: Counted::new(event_loop),
        }
    }

    /// Serves a WebSocket until it ends. `guard` is kept until then.
    pub(crate) async fn serve(mut self, upgrade: OnUpgrade, guard: impl Sized) {
        // A client that is gone before the answer has reached it.
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = socket_of(upgraded, ListenerConnection::MOST, ListenerConnection::MOST).await;
        let code = self.run(&mut socket).await;
        if let Some(code) = code {
            let connection = &self.connection;
            self.event_loop.shared.with_edge(self.edge, |edge| edge.close_listener(unix_now(), connection, code));
        }
        // The answer to the client's own close, if that is why.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.flush()).await;
        drop(self.place.take());
        if let Some(code) = code {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, close(&mut socket, code.as_u16(), code.reason())).await;
        }
        drop(guard);
    }

    /// Returns the code with which the socket is to be closed, unless it has ended by itself.
    async fn run(&mut self, socket: &mut Socket) -> Option<CloseCode> {
        loop {
            while let Some(output) = self.connection.next_output() {
                let text = match output {
                    ListenerOutput::Text(text) => text,
                    ListenerOutput::Verify(verify) => {
                        let holds = verify.verify_signature();
                        self.connection.verified(verify, holds);
                        continue;
                    }
                    ListenerOutput::Listen(call) => {
                        let id = self.event_loop.live.next_id(self.event_loop.index());
                        let event_loop = Rc::clone(&self.event_loop);
                        self.place = Some(Place { event_loop, object: MailName::Own(call.object()), id });
                        if let Some(sender) = self.sender.take() {
                            self.event_loop.listen(id, call, sender);
                        }
                        continue;
                    }
                    ListenerOutput::Close(code) => return Some(code),
                };
                match tokio::time::timeout(WRITE_TIMEOUT, socket.send(Message::text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return None,
                    Err(_) => return Some(CloseCode::Slow),
                }
            }
            tokio::select! {
                message = socket.next() => self.receive(message?)?,
                news = self.news.recv() => self.connection.take(news.unwrap_or(News::Close(CloseCode::Again))),
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
}
