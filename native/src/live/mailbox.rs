//! What goes between a connection and its object, which may be another loop's.
//!
//! What is pushed goes into a [`Mailbox`], which the object's loop fills and the connection's task empties. It holds few
//! frames: a client that reads slowly misses some, and its connection then asks for everything since. Of what is told of
//! guests it holds the newest alone, which takes the place of all before. So one that does not read costs what it has not
//! read, up to the window, and nothing more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::live::{Checks, Connection, LiveCall, LiveFull, Opening, Pushed};
use tokio::sync::{Notify, oneshot};

/// Frames that a mailbox holds. A full roster of the largest tickets has six.
const MAILBOX_FRAMES: usize = 16;

/// What else a mailbox holds: answers, of which there is one for each message that was read, and signals, of which there
/// are 40 in the time in which a client has to read: 20 at once, and one in a second.
const MAILBOX_REPLIES: usize = 64;

/// What an object has for one connection, until the connection takes it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    held: Mutex<Held>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Held {
    pushed: VecDeque<Pushed>,
    frames: usize,
    /// Shared with all that are told the same.
    guests: Option<Arc<[String]>>,
    /// Whether frames were dropped.
    has_missed: bool,
    close: Option<CloseCode>,
}

impl Mailbox {
    /// Puts something in. A frame for which there is no room is dropped, and so are those that wait: one answer with
    /// everything since takes their place.
    pub(crate) fn put(&self, pushed: Pushed) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_frame = matches!(pushed, Pushed::Frame(_) | Pushed::CaughtUp(_));
        match pushed {
            Pushed::Close(code) => {
                held.close.get_or_insert(code);
            }
            _ if is_frame && held.frames >= MAILBOX_FRAMES => {
                held.pushed.retain(|pushed| !matches!(pushed, Pushed::Frame(_) | Pushed::CaughtUp(_)));
                held.frames = 0;
                held.has_missed = true;
            }
            pushed => {
                if held.pushed.len() - held.frames >= MAILBOX_REPLIES {
                    held.close.get_or_insert(CloseCode::Slow);
                } else {
                    held.frames += usize::from(is_frame);
                    held.pushed.push_back(pushed);
                }
            }
        }
        drop(held);
        self.notify.notify_one();
    }

    /// Puts in what is told of guests.
    pub(crate) fn put_guests(&self, texts: Arc<[String]>) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).guests = Some(texts);
        self.notify.notify_one();
    }

    /// Empties the mailbox into a connection.
    pub(super) fn empty_into(&self, checks: &mut Checks<'_>, connection: &mut Connection, now: UnixMillis) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for pushed in held.pushed {
            connection.take(checks, now, pushed);
        }
        if held.has_missed {
            connection.missed();
        }
        for text in held.guests.iter().flat_map(|texts| texts.iter()) {
            // In the window it is what a signal is.
            connection.take(checks, now, Pushed::Signal(text.clone()));
        }
        if let Some(code) = held.close {
            connection.take(checks, now, Pushed::Close(code));
        }
    }

    /// Returns with what the connection is to be closed, if with anything.
    #[cfg(test)]
    pub(crate) fn close(&self) -> Option<CloseCode> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).close
    }

    /// Waits until something was put in.
    pub(super) async fn filled(&self) {
        self.notify.notified().await;
    }
}

/// What the loop that owns an object is told of a connection.
#[derive(Debug)]
pub(crate) enum LiveMail {
    /// One is to be opened.
    Open { opening: Opening, mailbox: Arc<Mailbox>, answer: oneshot::Sender<Result<(), LiveFull>> },
    /// One asks for something.
    Call(LiveCall),
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::limits::{LIVE_ACK_BYTES, LIVE_ACK_TIMEOUT};
    use rendezvous_protocol::secret::Secret;
    use rendezvous_service::config::Config;
    use rendezvous_service::edge::{Edge, Head, Step, Upgrade};
    use rendezvous_service::live::Output;
    use rendezvous_service::platform::Platform;

    use super::*;

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + millis)
    }

    fn connection(edge: &mut Edge) -> Connection {
        let address = Some("203.0.113.7".parse().unwrap());
        let head = Head { method: "GET", url: "/live", address, upgrade: Upgrade::WebSocket, ..Head::default() };
        let Step::OpenLive(open) = edge.receive(at(0), &head) else { panic!("no connection") };
        let mut connection = open.admitted(at(0), [0; 16]);
        assert!(matches!(connection.next_output(), Some(Output::Text(hello)) if hello.contains("hello")));
        connection
    }

    fn edge() -> Edge {
        let config = Config::parse(|_| None).unwrap();
        Edge::new(config, Platform::of_program(1), Secret::from_bytes([1; 16]), 1)
    }

    fn texts(connection: &mut Connection) -> Vec<String> {
        let outputs = std::iter::from_fn(|| connection.next_output());
        outputs.filter_map(|output| if let Output::Text(text) = output { Some(text) } else { None }).collect()
    }

    #[test]
    fn of_what_is_told_of_guests_a_mailbox_holds_the_newest() {
        let mailbox = Mailbox::default();
        for number in 0..1_000 {
            mailbox.put_guests([format!("{number}, first"), format!("{number}, last")].into());
        }
        mailbox.put(Pushed::Reply("reply".to_owned()));
        let mut edge = edge();
        let mut connection = connection(&mut edge);
        mailbox.empty_into(&mut edge.checks(), &mut connection, at(0));
        assert_eq!(texts(&mut connection), ["reply", "999, first", "999, last"]);
        mailbox.empty_into(&mut edge.checks(), &mut connection, at(0));
        assert_eq!(texts(&mut connection), [""; 0]);
    }

    #[test]
    fn what_is_told_of_guests_counts_in_the_window_until_the_client_acknowledges() {
        let (mailbox, mut edge) = (Mailbox::default(), edge());
        let mut connection = connection(&mut edge);
        let view: Arc<[String]> = [" ".repeat(LIVE_ACK_BYTES / 4)].into();
        let tell = |edge: &mut Edge, connection: &mut Connection, now| {
            mailbox.put_guests(Arc::clone(&view));
            mailbox.empty_into(&mut edge.checks(), connection, now);
        };
        (0..4).for_each(|_| tell(&mut edge, &mut connection, at(1_000)));
        connection.receive(&mut edge.checks(), at(2_000), r#"{"t":"ack","seq":0}"#);
        (0..4).for_each(|_| tell(&mut edge, &mut connection, at(3_000)));
        assert_eq!(texts(&mut connection).len(), 8);
        let slow_at = at(3_000).after(LIVE_ACK_TIMEOUT);
        assert_eq!(connection.next_deadline(), slow_at);
        connection.handle_timeout(slow_at);
        assert!(matches!(connection.next_output(), Some(Output::Close(CloseCode::Slow))));
    }
}
