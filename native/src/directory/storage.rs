//! A hub on disk: a database of its own, in which every commit is on the disk before anybody is told.

use std::path::Path;

use rendezvous_protocol::directory::state::HubWrite;
use rusqlite::{Connection, TransactionBehavior};

use crate::database::{Database, Schema, StorageError, close_log};

const SCHEMA: Schema = Schema {
    file: "directory.sqlite",
    // "rvdr": marks the file as this program's.
    application_id: 0x7276_6472,
    layout: 1,
    create: "CREATE TABLE IF NOT EXISTS item (name TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID",
    synchronous: "FULL",
    log_bytes: 4 * 1_024 * 1_024,
    if_unusable: "move the file away with its -wal and -shm, and bring back those of the three that a copy has; without a copy, \
        origins have to put their entries again",
};

const READ: &str = "SELECT name, row FROM item";
const PUT: &str = "INSERT INTO item (name, row) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET row = excluded.row";
const ERASE: &str = "DELETE FROM item WHERE name = ?1";

/// The database of a hub, and the one connection to it.
#[derive(Debug)]
pub(crate) struct HubStorage {
    database: Database,
    connection: Connection,
}

impl HubStorage {
    /// Makes the database where there is none. The directory is this process's.
    pub(crate) fn open(directory: &Path) -> Result<Self, StorageError> {
        let database = Database::open(directory, &SCHEMA)?;
        let connection = database.connect()?;
        Ok(Self { database, connection })
    }

    /// Returns everything that is stored.
    pub(crate) fn read(&self) -> Result<Vec<(String, String)>, StorageError> {
        let rows = self.connection.prepare_cached(READ).and_then(|mut statement| {
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<_>, _>>()
        });
        self.database.checked(rows)
    }

    /// Makes all writes, or none.
    pub(crate) fn commit(&mut self, writes: &[HubWrite]) -> Result<(), StorageError> {
        if writes.is_empty() {
            return Ok(());
        }
        let outcome = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for write in writes {
                match write {
                    HubWrite::Put { name, row } => transaction.prepare_cached(PUT)?.execute((name, row))?,
                    HubWrite::Erase { name } => transaction.prepare_cached(ERASE)?.execute([name])?,
                };
            }
            transaction.commit()
        })();
        self.database.checked(outcome)
    }
}

impl Drop for HubStorage {
    fn drop(&mut self) {
        close_log(&self.connection);
    }
}
