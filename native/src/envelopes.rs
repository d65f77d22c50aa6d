//! Envelopes of that fleet's relays on disk: a database of its own, and the thread that has what waits in memory.
//!
//! One thread decides and writes, one call after the other: there are few, a second's worth of one peer is one. An answer
//! goes out when what it says is on the disk.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rendezvous_service::answer::Answer;
use rendezvous_service::mesh::{EnvelopeCall, EnvelopeDoor, EnvelopeEffects, EnvelopeStore, EnvelopeWrite};
use tokio::sync::oneshot;

use crate::clock::unix_now;
use crate::database::{Schema, StorageError};
use crate::journal;
use crate::row_storage::{RowStorage, TABLE};

const SCHEMA: Schema = Schema {
    file: "envelopes.sqlite",
    // "rven": marks the file as this program's.
    application_id: 0x7276_656e,
    layout: 2,
    create: TABLE,
    synchronous: "FULL",
    log_bytes: 4 * 1_024 * 1_024,
    if_unusable: "move the file away with its -wal and -shm: what waits in it, for an hour at most, is lost",
};

/// How often what has ended is taken away where nobody asks.
const TIDY: Duration = Duration::from_secs(60);

/// A call, and who waits for its answer.
type Order = (EnvelopeCall, oneshot::Sender<Answer>);

/// Hands calls to the thread.
#[derive(Debug)]
pub(crate) struct Envelopes(Mutex<Option<Sender<Order>>>);

impl Envelopes {
    /// Opens the database, and starts the thread, which ends with [`Envelopes::end`].
    pub(crate) fn start(directory: &Path, door: &EnvelopeDoor) -> Result<(Self, JoinHandle<()>), StorageError> {
        let storage = RowStorage::open(directory, &SCHEMA)?;
        let unreadable = |name: String| StorageError::Unreadable {
            path: directory.join(SCHEMA.file).display().to_string(),
            what: format!("envelope {name}"),
            hint: SCHEMA.if_unusable,
        };
        let numbered = |(name, row): (String, String)| match name.parse() {
            Ok(number) => Ok((number, row)),
            Err(_) => Err(unreadable(name)),
        };
        let rows = storage.read()?.into_iter().map(numbered).collect::<Result<_, _>>()?;
        let store = EnvelopeStore::restore(door, rows).map_err(|number| unreadable(number.to_string()))?;
        let (orders, received) = channel();
        let thread = std::thread::Builder::new().name("envelopes".to_owned());
        let thread = thread.spawn(move || run(storage, store, &received)).map_err(StorageError::NoThread)?;
        Ok((Self(Mutex::new(Some(orders))), thread))
    }

    /// Asks the store. Absent is an answer that nobody gives any more, or that could not be made durable.
    pub(crate) async fn ask(&self, call: EnvelopeCall) -> Option<Answer> {
        let (asked, answer) = oneshot::channel();
        let orders = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        orders?.send((call, asked)).ok()?;
        answer.await.ok()
    }

    /// Lets the thread end when it has done what it was asked.
    pub(crate) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn run(mut storage: RowStorage, mut store: EnvelopeStore, orders: &Receiver<Order>) {
    // What could not be erased yet.
    let mut left = EnvelopeEffects::new();
    loop {
        let order = match orders.recv_timeout(TIDY) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let (effects, answer) = match order {
            Some((call, asked)) => {
                let (answer, effects) = store.handle(unix_now(), call);
                (effects, Some((answer, asked)))
            }
            None => (store.expire(unix_now()), None),
        };
        let effects: EnvelopeEffects = left.drain(..).chain(effects).collect();
        match write(&mut storage, &effects) {
            Ok(()) => {
                if let Some((answer, asked)) = answer {
                    // Whoever asked may have gone away.
                    let _ = asked.send(answer);
                }
            }
            Err(error) => {
                journal::failure("envelopes_not_written", &error);
                // Of what the disk has not nothing is said, so that whoever asks again is not told that it is there.
                store.forget(&effects);
                left = effects.into_iter().filter(|effect| matches!(effect, EnvelopeWrite::Erase(_))).collect();
            }
        }
    }
}

fn write(storage: &mut RowStorage, effects: &EnvelopeEffects) -> Result<(), StorageError> {
    let named = |effect: &EnvelopeWrite| match effect {
        EnvelopeWrite::Put((number, row)) => (number.to_string(), Some(row.clone())),
        EnvelopeWrite::Erase(number) => (number.to_string(), None),
    };
    let rows: Vec<_> = effects.iter().map(named).collect();
    storage.commit(rows.iter().map(|(name, row)| (name.as_str(), row.as_deref())))
}
