//! Named rows on disk: a database of its own for what one thread decides, in which every commit is on the disk before anybody
//! is told.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::database::{Database, Schema, StorageError, close_log};

/// What makes the one table.
pub(crate) const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS item (name TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID";

const READ: &str = "SELECT name, row FROM item";
const PUT: &str = "INSERT INTO item (name, row) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET row = excluded.row";
const ERASE: &str = "DELETE FROM item WHERE name = ?1";
const VERSION: &str = "PRAGMA data_version";

/// The database, and the one connection to it.
#[derive(Debug)]
pub(crate) struct RowStorage {
    database: Database,
    connection: Connection,
}

impl RowStorage {
    /// Makes the database where there is none. The directory is this process's.
    pub(crate) fn open(directory: &Path, schema: &'static Schema) -> Result<Self, StorageError> {
        let database = Database::open(directory, schema)?;
        let connection = database.connect()?;
        Ok(Self { database, connection })
    }

    /// Opens the database beside the process that has the directory.
    pub(crate) fn open_beside(directory: &Path, schema: &'static Schema) -> Result<Self, StorageError> {
        let database = Database::open_beside(directory, schema)?;
        let connection = database.connect()?;
        Ok(Self { database, connection })
    }

    /// Returns everything that is stored.
    pub(crate) fn read(&self) -> Result<Vec<(String, String)>, StorageError> {
        self.database.checked(read(&self.connection))
    }

    /// Makes all writes, or none: the text of each name, or that there is none any more.
    pub(crate) fn commit<'a>(
        &mut self,
        writes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(), StorageError> {
        let mut writes = writes.into_iter().peekable();
        if writes.peek().is_none() { Ok(()) } else { self.begin()?.commit(writes) }
    }

    /// Begins a transaction: until it ends, nobody else writes.
    pub(crate) fn begin(&mut self) -> Result<RowTransaction<'_>, StorageError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        Ok(RowTransaction { transaction: self.database.checked(transaction)?, database: &self.database })
    }
}

/// Reads and writes rows that nobody else writes in the meantime. Dropped, it has changed nothing.
#[derive(Debug)]
pub(crate) struct RowTransaction<'a> {
    database: &'a Database,
    transaction: Transaction<'a>,
}

impl RowTransaction<'_> {
    /// Returns everything that is stored.
    pub(crate) fn read(&self) -> Result<Vec<(String, String)>, StorageError> {
        self.database.checked(read(&self.transaction))
    }

    /// Returns a number that changes when another connection has written.
    pub(crate) fn version(&self) -> Result<i64, StorageError> {
        self.database.checked(self.transaction.query_row(VERSION, [], |row| row.get(0)))
    }

    /// Makes all writes, or none: the text of each name, or that there is none any more.
    pub(crate) fn commit<'a>(
        self,
        writes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(), StorageError> {
        let Self { database, transaction } = self;
        database.checked((|| {
            for (name, row) in writes {
                match row {
                    Some(row) => transaction.prepare_cached(PUT)?.execute((name, row))?,
                    None => transaction.prepare_cached(ERASE)?.execute([name])?,
                };
            }
            transaction.commit()
        })())
    }
}

fn read(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare_cached(READ)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

impl Drop for RowStorage {
    fn drop(&mut self) {
        close_log(&self.connection);
    }
}
