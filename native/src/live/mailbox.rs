//! What goes between a connection and its object, which may be another loop's.
//!
//! What is pushed goes into a [`Mailbox`], which the object's loop fills and the connection's task empties. It holds few
//! frames: a client that reads slowly misses some, and its connection then asks for everything since. So one that does
//! not read costs what it has not read, up to the window, and nothing more.

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

    /// Empties the mailbox into a connection.
    pub(super) fn empty_into(&self, checks: &mut Checks<'_>, connection: &mut Connection, now: UnixMillis) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for pushed in held.pushed {
            connection.take(checks, now, pushed);
        }
        if held.has_missed {
            connection.missed();
        }
        if let Some(code) = held.close {
            connection.take(checks, now, Pushed::Close(code));
        }
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
