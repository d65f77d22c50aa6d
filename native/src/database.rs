//! A database of SQLite: the file, whether it is ours, and connections to it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

/// How long SQLite waits for another connection of this process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of SQLite's pages where nothing else was asked for.
const PAGE_BYTES: i64 = 4_096;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    #[error("the directory {path} cannot be made: {error}")]
    NoDirectory { path: String, error: io::Error },
    #[error("the state in {path} cannot be written: {error}")]
    NotWritable { path: String, error: io::Error },
    #[error("{path} is a symbolic link, which is not followed")]
    LockIsLink { path: String },
    #[error("another process uses the state in {path}")]
    InUse { path: String },
    #[error("{path} is empty, and no database of this program ever is")]
    Empty { path: String, hint: &'static str },
    #[error("{path} is missing, and its log, {path}-wal, is there")]
    LogAlone { path: String, hint: &'static str },
    #[error("{path} is not a database of this program")]
    NotOurs { path: String, hint: &'static str },
    #[error("{path} was written by a later version of this program, in layout {found}; this one knows {known}")]
    TooNew { path: String, found: i32, known: i32 },
    #[error("the file system of {path} cannot share memory, which the log of SQLite needs: its mode is {mode}")]
    NoLog { path: String, mode: String },
    #[error("{path} cannot be used: {error}")]
    Database { path: String, error: rusqlite::Error, hint: &'static str },
    #[error("{path}: {what} cannot be read")]
    Unreadable { path: String, what: String, hint: &'static str },
    #[error("{path} is not there")]
    Absent { path: String },
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
            Self::LockIsLink { .. } => "remove it",
            Self::InUse { .. } => "end the other beacon, or give this one a STATE of its own",
            Self::Empty { hint, .. }
            | Self::LogAlone { hint, .. }
            | Self::NotOurs { hint, .. }
            | Self::Database { hint, .. }
            | Self::Unreadable { hint, .. } => hint,
            Self::TooNew { .. } => "run the later version, or set STATE to another directory",
            Self::NoLog { .. } => "set STATE to a directory on a disk of this machine",
            Self::Absent { .. } => {
                "set STATE, in the environment or in the file that --config names, to the directory that the beacon has; the \
                 file is there once that beacon was started with SMTP_HOST"
            }
            Self::NoThread(_) => "raise the limit of threads",
        }
    }
}

/// Says what is in a database, and how it is kept.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The name of the file, in the directory of the state.
    pub(crate) file: &'static str,
    pub(crate) application_id: i32,
    /// The number of the layout.
    pub(crate) layout: i32,
    /// What makes the tables where there are none.
    pub(crate) create: &'static str,
    /// SQLite's `synchronous`: whether what was committed outlives a power failure.
    pub(crate) synchronous: &'static str,
    /// How long the log gets before its content is brought into the database, and what it keeps of the disk after that. A page
    /// that is written again before is brought there once.
    pub(crate) log_bytes: i64,
    /// What to do where the file cannot be used.
    pub(crate) if_unusable: &'static str,
}

/// A database that was opened.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    schema: &'static Schema,
}

impl Database {
    /// Makes the database where there is none, and sees to it that it is ours and can be written.
    pub(crate) fn open(directory: &Path, schema: &'static Schema) -> Result<Self, StorageError> {
        let database = Self { path: directory.join(schema.file), schema };
        let in_error = |error| StorageError::NotWritable { path: directory.display().to_string(), error };
        match fs::metadata(&database.path) {
            Ok(found) if found.len() == 0 => {
                return Err(StorageError::Empty { path: database.path(), hint: schema.if_unusable });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let log = fs::metadata(database.beside("-wal"));
                // What is in the log would be taken for changes of the new database.
                if log.is_ok_and(|log| log.len() > 0) {
                    return Err(StorageError::LogAlone { path: database.path(), hint: schema.if_unusable });
                }
                database.create(directory, in_error)?;
            }
            Err(error) => return Err(in_error(error)),
        }
        database.check()?;
        database.lay_out()?;
        Ok(database)
    }

    /// Takes the database as it is, beside the process that has made it.
    pub(crate) fn open_beside(directory: &Path, schema: &'static Schema) -> Result<Self, StorageError> {
        let database = Self { path: directory.join(schema.file), schema };
        match database.path.try_exists() {
            Ok(true) => {
                database.check()?;
                Ok(database)
            }
            Ok(false) => Err(StorageError::Absent { path: database.path() }),
            Err(error) => Err(StorageError::NotWritable { path: directory.display().to_string(), error }),
        }
    }

    /// Makes the database under another name, and gives it its own when it is whole and on the disk: a crash leaves all of it
    /// or none.
    fn create(&self, directory: &Path, in_error: impl Fn(io::Error) -> StorageError) -> Result<(), StorageError> {
        let new = Self { path: self.beside(".new"), schema: self.schema };
        for ending in ["", "-wal", "-shm", "-journal"] {
            match fs::remove_file(new.beside(ending)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(in_error(error)),
                _ => {}
            }
        }
        // SQLite gives its other files the mode of this one.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new.path).map_err(&in_error)?;
        new.lay_out()?;
        if new.beside("-wal").exists() {
            return Err(in_error(io::Error::other("the log of the new database cannot be brought into it")));
        }
        let is_on_disk = File::open(&new.path).and_then(|file| {
            file.sync_all()?;
            fs::rename(&new.path, &self.path)?;
            File::open(directory)?.sync_all()
        });
        is_on_disk.map_err(in_error)
    }

    /// Checks that the database is this program's, of a layout that it knows.
    fn check(&self) -> Result<(), StorageError> {
        let Schema { application_id, layout, if_unusable: hint, .. } = *self.schema;
        let connection = self.connect()?;
        let number = |query: &str| self.checked(connection.query_row(query, [], |row| row.get::<_, i32>(0)));
        let (found_id, found_layout) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
        if found_id != application_id {
            return Err(StorageError::NotOurs { path: self.path(), hint });
        }
        if found_layout > layout {
            return Err(StorageError::TooNew { path: self.path(), found: found_layout, known: layout });
        }
        Ok(())
    }

    /// Makes the tables that are not there.
    fn lay_out(&self) -> Result<(), StorageError> {
        let Schema { application_id, layout, create, .. } = *self.schema;
        let mut connection = self.connect()?;
        let mode = self.checked((|| {
            let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(create)?;
            // Written anew, so that a file that can only be read is noticed now.
            transaction.pragma_update(None, "application_id", application_id)?;
            transaction.pragma_update(None, "user_version", layout)?;
            transaction.commit()?;
            Ok(mode)
        })())?;
        if mode == "wal" { Ok(()) } else { Err(StorageError::NoLog { path: self.path(), mode }) }
    }

    /// Returns the path with something behind it.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Result<Connection, StorageError> {
        let connection = self.checked(Connection::open(&self.path))?;
        self.checked((|| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "synchronous", self.schema.synchronous)?;
            connection.pragma_update(None, "journal_size_limit", self.schema.log_bytes)?;
            connection.pragma_update(None, "wal_autocheckpoint", self.schema.log_bytes / PAGE_BYTES)
        })())?;
        Ok(connection)
    }

    /// Names the database in an error.
    pub(crate) fn checked<T>(&self, outcome: rusqlite::Result<T>) -> Result<T, StorageError> {
        let hint = self.schema.if_unusable;
        outcome.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => StorageError::NotOurs { path: self.path(), hint },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                StorageError::NotWritable { path: self.path(), error: io::Error::other(error) }
            }
            _ => StorageError::Database { path: self.path(), error, hint },
        })
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }
}

/// Brings the log into the database, so that the directory holds one whole file, for whoever copies it. What fails here is
/// done at the next start.
pub(crate) fn close_log(connection: &Connection) {
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
}
