//! Rosters on disk: one SQLite database, one row for each community that is worth one.
//!
//! Every event loop reads by itself; one thread writes, and puts what is waiting into one transaction. The log of SQLite
//! (WAL, `synchronous=NORMAL`) keeps what was committed over the end of the process in any way. Over a power failure it
//! keeps the database whole, and what was committed before the last checkpoint.
//!
//! A row has the salt of its networks' hashes in it, by which whoever reads the file could find the addresses. So nobody
//! but the user of this program can.
//!
//! In scope: the file, the lock on it, reading, writing. Not in scope: what a row says, and when it is written.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rendezvous_service::note::Note;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior};
use tokio::sync::mpsc::UnboundedSender;

/// The database, in the directory of the state.
const DATABASE: &str = "beacon.sqlite";
/// The file that is locked while a process has the directory. Not the database: SQLite has locks of its own on that.
const LOCK: &str = "lock";

/// "rvbn": marks the file as this program's.
const APPLICATION_ID: i32 = 0x7276_626e;
/// The layout of the database.
const LAYOUT: i32 = 1;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS roster (object TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT";
const NAMES: &str = "SELECT object FROM roster";
const COUNT: &str = "SELECT count(*) FROM roster";
const READ: &str = "SELECT state FROM roster WHERE object = ?1";
const WRITE: &str =
    "INSERT INTO roster (object, state) VALUES (?1, ?2) ON CONFLICT (object) DO UPDATE SET state = excluded.state";
const ERASE: &str = "DELETE FROM roster WHERE object = ?1";

/// How long SQLite waits for another connection of this process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Changes in one transaction. A full roster is about 100 kB, so one takes 6 MB of the log; 500 kB and 32 MB, where all its
/// tickets are the longest that there are.
const BATCH: usize = 64;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    #[error("the directory {path} cannot be made: {error}")]
    NoDirectory { path: String, error: io::Error },
    #[error("the state in {path} cannot be written: {error}")]
    NotWritable { path: String, error: io::Error },
    #[error("another process uses the state in {path}")]
    InUse { path: String },
    #[error("{path} is not a database of this program")]
    NotOurs { path: String },
    #[error("{path} was written by a later version of this program, in layout {found}; this one knows {LAYOUT}")]
    TooNew { path: String, found: i32 },
    #[error("the file system of {path} cannot share memory, which the log of SQLite needs: its mode is {mode}")]
    NoLog { path: String, mode: String },
    #[error("{path} cannot be used: {error}")]
    Database { path: String, error: rusqlite::Error },
    #[error("the thread that writes the state cannot be started: {0}")]
    NoThread(io::Error),
}

impl StorageError {
    /// What to do about it.
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::NoDirectory { .. } | Self::NotWritable { .. } => {
                "set STATE to a directory that this user may write to"
            }
            Self::InUse { .. } => "end the other beacon, or give this one a STATE of its own",
            Self::NotOurs { .. } | Self::Database { .. } => {
                "move the file away, or set STATE to another directory: peers announce themselves again within minutes"
            }
            Self::TooNew { .. } => "run the later version, or move the file away: peers announce themselves again",
            Self::NoLog { .. } => "set STATE to a directory on a disk of this machine",
            Self::NoThread(_) => "raise the limit of threads",
        }
    }
}

/// The directory of the state, which is this process's until it ends.
#[derive(Debug)]
pub(crate) struct Storage {
    database: PathBuf,
    _lock: File,
}

impl Storage {
    /// Takes the directory, and makes it and the database where there is none.
    pub(crate) fn open(directory: &Path) -> Result<Self, StorageError> {
        let path = || directory.display().to_string();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| StorageError::NoDirectory { path: path(), error })?;
        let open = |name| {
            let file =
                OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(directory.join(name));
            file.map_err(|error| StorageError::NotWritable { path: path(), error })
        };
        let lock = open(LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StorageError::InUse { path: path() }),
            Err(TryLockError::Error(error)) => return Err(StorageError::NotWritable { path: path(), error }),
        }
        // SQLite gives its other files the mode of this one.
        open(DATABASE)?;
        let storage = Self { database: directory.join(DATABASE), _lock: lock };
        storage.prepare()?;
        Ok(storage)
    }

    /// Sees to it that the database is ours and can be written.
    fn prepare(&self) -> Result<(), StorageError> {
        let mut connection = self.connect()?;
        let application: i32 = self.of_database(connection.query_row("PRAGMA application_id", [], |row| row.get(0)))?;
        let layout: i32 = self.of_database(connection.query_row("PRAGMA user_version", [], |row| row.get(0)))?;
        let tables: i64 =
            self.of_database(connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)))?;
        if application != APPLICATION_ID && (application != 0 || layout != 0 || tables != 0) {
            return Err(StorageError::NotOurs { path: self.path() });
        }
        if layout > LAYOUT {
            return Err(StorageError::TooNew { path: self.path(), found: layout });
        }
        let mode = self.of_database((|| {
            let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(CREATE, [])?;
            // Written anew, so that a file that can only be read is noticed now.
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", LAYOUT)?;
            transaction.commit()?;
            Ok(mode)
        })())?;
        if mode == "wal" { Ok(()) } else { Err(StorageError::NoLog { path: self.path(), mode }) }
    }

    /// Returns the names of all objects that have a row.
    pub(crate) fn names(&self) -> Result<Vec<String>, StorageError> {
        let connection = self.connect()?;
        let names = connection
            .prepare(NAMES)
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>, _>>());
        self.of_database(names)
    }

    /// Opens a connection that reads.
    pub(crate) fn reader(&self) -> Result<Reader, StorageError> {
        self.connect().map(Reader)
    }

    /// Starts the thread that writes. It ends when nobody can order anything any more, and returns of how many objects the
    /// last change could not be made.
    pub(crate) fn start_writer(&self) -> Result<(Sender<Order>, JoinHandle<usize>), StorageError> {
        let connection = self.connect()?;
        let (orders, received) = channel();
        let writer = std::thread::Builder::new().name("storage".to_owned());
        let thread = writer.spawn(move || write_all(connection, &received)).map_err(StorageError::NoThread)?;
        Ok((orders, thread))
    }

    fn connect(&self) -> Result<Connection, StorageError> {
        let connection = self.of_database(Connection::open(&self.database))?;
        self.of_database((|| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            // What the log keeps of the disk once its content is in the database.
            connection.pragma_update(None, "journal_size_limit", 4 * 1_024 * 1_024)
        })())?;
        Ok(connection)
    }

    fn of_database<T>(&self, outcome: rusqlite::Result<T>) -> Result<T, StorageError> {
        outcome.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => StorageError::NotOurs { path: self.path() },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                StorageError::NotWritable { path: self.path(), error: io::Error::other(error) }
            }
            _ => StorageError::Database { path: self.path(), error },
        })
    }

    fn path(&self) -> String {
        self.database.display().to_string()
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
    // So that the directory holds one whole file, for whoever copies it. What fails here is done at the next start.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
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
