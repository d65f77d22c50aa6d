//! Rosters on disk: one SQLite database, one row for each community that is worth one.
//!
//! Every event loop reads by itself; one thread writes, and puts what is waiting into one transaction. The log of SQLite
//! (WAL, `synchronous=NORMAL`) keeps what was committed over the end of the process in any way. Over a power failure it
//! keeps the database whole, and what was committed before the last checkpoint.
//!
//! A row has the salt of its networks' hashes in it, by which whoever reads the file could find the addresses. So nobody
//! but the user of this program can.
//!
//! In scope: the directory, the lock on it, reading, writing. Not in scope: what a row says, and when it is written.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rendezvous_service::note::Note;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use rustix::fs::OFlags;
use tokio::sync::mpsc::UnboundedSender;

use crate::database::{Database, Schema, StorageError, close_log};

/// The file that is locked while a process has the directory. Not the database: SQLite has locks of its own on that.
const LOCK: &str = "lock";

const SCHEMA: Schema = Schema {
    file: "beacon.sqlite",
    // "rvbn": marks the file as this program's.
    application_id: 0x7276_626e,
    layout: 1,
    create: "CREATE TABLE IF NOT EXISTS roster (object TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT",
    // Over a power failure peers announce themselves again.
    synchronous: "NORMAL",
    log_bytes: 4 * 1_024 * 1_024,
    if_unusable: "move the file away with its -wal and -shm, or set STATE to another directory: peers announce themselves \
        again within minutes",
};

const NAMES: &str = "SELECT object FROM roster";
const COUNT: &str = "SELECT count(*) FROM roster";
const READ: &str = "SELECT state FROM roster WHERE object = ?1";
const WRITE: &str =
    "INSERT INTO roster (object, state) VALUES (?1, ?2) ON CONFLICT (object) DO UPDATE SET state = excluded.state";
const ERASE: &str = "DELETE FROM roster WHERE object = ?1";

/// Opens the file that is locked, and makes it where there is none. A symbolic link in its place is not followed: the file
/// would be made wherever somebody else wants it.
fn open_lock(directory: &Path) -> Result<File, StorageError> {
    let path = directory.join(LOCK);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options.open(&path).map_err(|error| {
        if path.is_symlink() {
            StorageError::LockIsLink { path: path.display().to_string() }
        } else {
            StorageError::NotWritable { path: directory.display().to_string(), error }
        }
    })
}

/// Changes in one transaction. A full roster is about 100 kB, so one takes 6 MB of the log; 500 kB and 32 MB, where all its
/// tickets are the longest that there are.
const BATCH: usize = 64;

/// The directory of the state, which is this process's until it ends.
#[derive(Debug)]
pub(crate) struct Storage {
    database: Database,
    _lock: File,
}

impl Storage {
    /// Takes the directory, and makes it and the database where there is none.
    pub(crate) fn open(directory: &Path) -> Result<Self, StorageError> {
        let path = || directory.display().to_string();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| StorageError::NoDirectory { path: path(), error })?;
        let lock = open_lock(directory)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StorageError::InUse { path: path() }),
            Err(TryLockError::Error(error)) => return Err(StorageError::NotWritable { path: path(), error }),
        }
        Ok(Self { database: Database::open(directory, &SCHEMA)?, _lock: lock })
    }

    /// Returns the names of all objects that have a row.
    pub(crate) fn names(&self) -> Result<Vec<String>, StorageError> {
        let connection = self.database.connect()?;
        let names = connection
            .prepare(NAMES)
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>, _>>());
        self.database.checked(names)
    }

    /// Opens a connection that reads.
    pub(crate) fn reader(&self) -> Result<Reader, StorageError> {
        self.database.connect().map(Reader)
    }

    /// Starts the thread that writes. It ends when nobody can order anything any more, and returns of how many objects the
    /// last change could not be made.
    pub(crate) fn start_writer(&self) -> Result<(Sender<Order>, JoinHandle<usize>), StorageError> {
        let connection = self.database.connect()?;
        let (orders, received) = channel();
        let writer = std::thread::Builder::new().name("storage".to_owned());
        let thread = writer.spawn(move || write_all(connection, &received)).map_err(StorageError::NoThread)?;
        Ok((orders, thread))
    }
}

/// Reads rows.
#[derive(Debug)]
pub(crate) struct Reader(Connection);

impl Reader {
    /// Returns what was written last for an object, or why that cannot be read.
    pub(crate) fn read(&self, object: &str) -> Result<Option<String>, String> {
        let read = || self.0.prepare_cached(READ)?.query_row([object], |row| row.get(0)).optional();
        read().map_err(|error: rusqlite::Error| error.to_string())
    }

    /// Returns how many rows there are.
    pub(crate) fn count(&self) -> Result<u64, String> {
        let count: rusqlite::Result<i64> = self.0.query_row(COUNT, [], |row| row.get(0));
        count.map(i64::unsigned_abs).map_err(|error| error.to_string())
    }
}

/// What is to be done with an object's row.
#[derive(Debug)]
pub(crate) enum Change {
    /// This text takes its place.
    Write(String),
    /// It goes; then the note is for the log.
    Erase(Note),
}

/// A change that is to be made. Whoever orders has at most one of an object under way, so that what waits is bounded by
/// the objects in memory.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) object: String,
    pub(crate) change: Change,
    /// Who hears of it.
    pub(crate) done: UnboundedSender<Done>,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) object: String,
    /// The note of an erasure, or why nothing has changed.
    pub(crate) outcome: Result<Option<Note>, String>,
}

fn write_all(mut connection: Connection, orders: &Receiver<Order>) -> usize {
    let mut failed = BTreeSet::new();
    while let Ok(first) = orders.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = orders.try_recv()
        {
            batch.push(next);
        }
        let outcome = commit(&mut connection, &batch).map_err(|error| error.to_string());
        for Order { object, change, done } in batch {
            let note = match change {
                Change::Write(_) => None,
                Change::Erase(note) => Some(note),
            };
            if outcome.is_ok() {
                failed.remove(&object);
            } else {
                failed.insert(object.clone());
            }
            // Nobody hears it any more where the program is about to end.
            let _ = done.send(Done { object, outcome: outcome.clone().map(|()| note) });
        }
    }
    close_log(&connection);
    failed.len()
}

fn commit(connection: &mut Connection, batch: &[Order]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for Order { object, change, .. } in batch {
        match change {
            Change::Write(state) => transaction.prepare_cached(WRITE)?.execute([object, state])?,
            Change::Erase(_) => transaction.prepare_cached(ERASE)?.execute([object])?,
        };
    }
    transaction.commit()
}
