//! How many connections of `GET /live`, and of goop2's door, one event loop has, and their common end.

use std::cell::Cell;

use rendezvous_service::live::ConnectionId;
use tokio::sync::Notify;

/// The connections whose tasks run in one event loop.
#[derive(Default)]
pub(crate) struct LiveTasks {
    open: Cell<usize>,
    opened: Cell<u32>,
    is_draining: Cell<bool>,
    drain: Notify,
}

impl LiveTasks {
    /// Returns how many connections there are.
    pub(crate) const fn open(&self) -> usize {
        self.open.get()
    }

    /// Asks every connection to end.
    pub(crate) fn drain(&self) {
        self.is_draining.set(true);
        self.drain.notify_waiters();
    }

    /// Waits until they are asked to.
    pub(crate) async fn drained(&self) {
        let drained = self.drain.notified();
        if !self.is_draining.get() {
            drained.await;
        }
    }

    /// Counts connections that are there, or there no more.
    pub(super) fn count(&self, change: isize) {
        self.open.set(self.open.get().saturating_add_signed(change));
    }

    /// Returns a number that no other connection of the process has.
    pub(crate) fn next_id(&self, loop_index: usize) -> ConnectionId {
        let number = self.opened.get();
        self.opened.set(number.wrapping_add(1));
        ConnectionId(u64::try_from(loop_index).unwrap_or_default() << 32 | u64::from(number))
    }
}
