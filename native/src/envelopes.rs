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
use rendezvous_service::mesh::{EnvelopeCall, EnvelopeDoor, EnvelopeEffects, EnvelopeStore, EnvelopeWrite, Stored};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::clock::unix_now;
use crate::database::{Database, Schema, StorageError, close_log};
use crate::journal;

const SCHEMA: Schema = Schema {
    file: "envelopes.sqlite",
    // "rven": marks the file as this program's.
    application_id: 0x7276_656e,
    layout: 1,
    create: "CREATE TABLE IF NOT EXISTS envelope (number INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;",
    synchronous: "FULL",
    log_bytes: 4 * 1_024 * 1_024,
    if_unusable: "move the file away with its -wal and -shm: what waits in it, for an hour at most, is lost",
};

const READ: &str = "SELECT number, row FROM envelope";
const PUT: &str = "INSERT INTO envelope (number, row) VALUES (?1, ?2)";
const ERASE: &str = "DELETE FROM envelope WHERE number = ?1";

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
        let database = Database::open(directory, &SCHEMA)?;
        let connection = database.connect()?;
        let rows = database.checked(read(&connection))?;
        let store = EnvelopeStore::restore(door, rows);
        let store = store.map_err(|number| StorageError::Unreadable {
            path: directory.join(SCHEMA.file).display().to_string(),
            what: format!("envelope {number}"),
            hint: SCHEMA.if_unusable,
        })?;
        let (orders, received) = channel();
        let thread = std::thread::Builder::new().name("envelopes".to_owned());
        let thread = thread.spawn(move || run(connection, store, &received)).map_err(StorageError::NoThread)?;
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

fn read(connection: &Connection) -> rusqlite::Result<Vec<Stored>> {
    let mut statement = connection.prepare(READ)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))?;
    rows.collect()
}

fn run(mut connection: Connection, mut store: EnvelopeStore, orders: &Receiver<Order>) {
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
        match write(&mut connection, &effects) {
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
    close_log(&connection);
}

fn write(connection: &mut Connection, effects: &EnvelopeEffects) -> rusqlite::Result<()> {
    if effects.is_empty() {
        return Ok(());
    }
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for effect in effects {
        match effect {
            EnvelopeWrite::Put((number, row)) => transaction.prepare_cached(PUT)?.execute((signed(*number), row))?,
            EnvelopeWrite::Erase(number) => transaction.prepare_cached(ERASE)?.execute([signed(*number)])?,
        };
    }
    transaction.commit()
}
