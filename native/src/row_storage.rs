//! Named rows on disk: a database of its own for what one thread decides, in which every commit is on the disk before anybody
//! is told.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

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

    /// Opens the database beside the process that has the directory; absent, where there is none.
    pub(crate) fn open_beside(directory: &Path, schema: &'static Schema) -> Result<Option<Self>, StorageError> {
        let Some(database) = Database::open_beside(directory, schema)? else { return Ok(None) };
        let connection = database.connect()?;
        Ok(Some(Self { database, connection }))
    }

    /// Returns everything that is stored.
    pub(crate) fn read(&self) -> Result<Vec<(String, String)>, StorageError> {
        let rows = self.connection.prepare_cached(READ).and_then(|mut statement| {
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<_>, _>>()
        });
        self.database.checked(rows)
    }

    /// Makes all writes, or none: the text of each name, or that there is none any more.
    pub(crate) fn commit<'a>(
        &mut self,
        writes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(), StorageError> {
        let mut writes = writes.into_iter().peekable();
        if writes.peek().is_none() {
            return Ok(());
        }
        let outcome = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (name, row) in writes {
                match row {
                    Some(row) => transaction.prepare_cached(PUT)?.execute((name, row))?,
                    None => transaction.prepare_cached(ERASE)?.execute([name])?,
                };
            }
            transaction.commit()
        })();
        self.database.checked(outcome)
    }

    /// Returns a number that changes when somebody else has written.
    pub(crate) fn version(&self) -> Result<i64, StorageError> {
        self.database.checked(self.connection.query_row(VERSION, [], |row| row.get(0)))
    }
}

impl Drop for RowStorage {
    fn drop(&mut self) {
        close_log(&self.connection);
    }
}
