//! Registrations on disk.

use std::path::Path;

use rendezvous_protocol::registration::RegistrationWrite;

use crate::database::{Schema, StorageError};
use crate::row_storage::{RowStorage, RowTransaction, TABLE};

const SCHEMA: Schema = Schema {
    file: "registration.sqlite",
    // "rvrg": marks the file as this program's.
    application_id: 0x7276_7267,
    layout: 1,
    create: TABLE,
    synchronous: "FULL",
    log_bytes: 4 * 1_024 * 1_024,
    if_unusable: "move the file away with its -wal and -shm, and bring back those of the three that a copy has; without a copy, \
        everybody has to register again",
};

/// The rows of registrations. Addresses of people are in them.
#[derive(Debug)]
pub(crate) struct RegistrationStorage(RowStorage);

impl RegistrationStorage {
    /// Makes the database where there is none. The directory is this process's.
    pub(crate) fn open(directory: &Path) -> Result<Self, StorageError> {
        RowStorage::open(directory, &SCHEMA).map(Self)
    }

    /// Opens the database beside the beacon that has it.
    pub(crate) fn open_beside(directory: &Path) -> Result<Self, StorageError> {
        RowStorage::open_beside(directory, &SCHEMA).map(Self)
    }

    /// Begins a transaction: until it ends, neither the beacon nor the operator's command writes.
    pub(crate) fn begin(&mut self) -> Result<RegistrationTransaction<'_>, StorageError> {
        self.0.begin().map(RegistrationTransaction)
    }
}

/// Reads and writes registrations that nobody else writes in the meantime.
#[derive(Debug)]
pub(crate) struct RegistrationTransaction<'a>(RowTransaction<'a>);

impl RegistrationTransaction<'_> {
    /// Returns everything that is stored.
    pub(crate) fn read(&self) -> Result<Vec<(String, String)>, StorageError> {
        self.0.read()
    }

    /// Returns a number that changes when another connection has written.
    pub(crate) fn version(&self) -> Result<i64, StorageError> {
        self.0.version()
    }

    /// Makes all writes, or none.
    pub(crate) fn commit(self, writes: &[RegistrationWrite]) -> Result<(), StorageError> {
        self.0.commit(writes.iter().map(|write| (write.name.as_str(), write.row.as_deref())))
    }
}

/// Names a row that cannot be read.
pub(super) fn unreadable(directory: &Path, error: &rendezvous_protocol::registration::UnreadableRow) -> StorageError {
    StorageError::Unreadable {
        path: directory.join(SCHEMA.file).display().to_string(),
        what: format!("the row {}", error.0),
        hint: SCHEMA.if_unusable,
    }
}
