//! What all event loops share of replication: the peers, what these have used of their budgets, and what was counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_service::mailbox::{PeerLimits, Peers, PushAnswer};

/// What is pushed: the numbers of entries, and the texts of their items.
pub(crate) type Batch = (Vec<u64>, Vec<String>);

/// Holds the peers, what they have used of their budgets, and what was counted.
#[derive(Debug)]
pub(crate) struct Replication {
    pub(crate) peers: Arc<Peers>,
    limits: Mutex<PeerLimits>,
    threads: Box<[Sender<Address>]>,
    counts: PushCounts,
}

/// Counts pushes.
#[derive(Debug, Default)]
struct PushCounts {
    taken: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
}

/// Holds what was counted of pushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PushFigures {
    /// Items that peers have.
    pub(crate) taken: u64,
    /// Items that peers refused.
    pub(crate) rejected: u64,
    /// Requests that came to nothing.
    pub(crate) failed: u64,
}

/// Waits for addresses of mailboxes, one for each peer.
pub(crate) type Waiting = Vec<Receiver<Address>>;

impl Replication {
    /// Makes what all loops share of replication, and what its threads wait for.
    pub(crate) fn new(peers: Arc<Peers>) -> (Self, Waiting) {
        let (threads, waiting): (Vec<_>, Vec<_>) = (0..peers.len()).map(|_| channel()).unzip();
        let limits = Mutex::new(PeerLimits::new(&peers));
        let this = Self { peers, limits, threads: threads.into(), counts: PushCounts::default() };
        (this, waiting)
    }

    /// Lets the peers' budgets do something. Where code has panicked in there, they begin anew.
    pub(crate) fn with_limits<T>(&self, work: impl FnOnce(&mut PeerLimits) -> T) -> T {
        let mut locked = self.limits.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut locked = poisoned.into_inner();
            *locked = PeerLimits::new(&self.peers);
            self.limits.clear_poison();
            locked
        });
        work(&mut locked)
    }

    /// Says that something of a mailbox is to be pushed to a peer.
    pub(crate) fn wake(&self, peer: usize, mailbox: Address) {
        if let Some(thread) = self.threads.get(peer) {
            // One that has ended does so with the program, and what waits is on disk.
            let _ = thread.send(mailbox);
        }
    }

    /// Counts what came of a push.
    pub(crate) fn count(&self, answer: &PushAnswer) {
        let PushCounts { taken, rejected, failed } = &self.counts;
        let add = |count: &AtomicU64, more: usize| count.fetch_add(more as u64, Ordering::Relaxed);
        match answer {
            PushAnswer::Settled { taken: more, rejected: refused } => {
                add(taken, *more);
                add(rejected, *refused);
            }
            PushAnswer::Failed { .. } => {
                add(failed, 1);
            }
        }
    }

    /// Returns what was counted.
    pub(crate) fn figures(&self) -> PushFigures {
        let PushCounts { taken, rejected, failed } = &self.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PushFigures { taken: read(taken), rejected: read(rejected), failed: read(failed) }
    }
}
