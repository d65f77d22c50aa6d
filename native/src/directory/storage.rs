//! A hub on disk.

use std::path::Path;

use rendezvous_protocol::directory::state::HubWrite;

use crate::database::{Schema, StorageError};
use crate::row_storage::{RowStorage, TABLE};

const SCHEMA: Schema = Schema {
    file: "directory.sqlite",
    // "rvdr": marks the file as this program's.
    application_id: 0x7276_6472,
    layout: 1,
    create: TABLE,
    synchronous: "FULL",
    log_bytes: 4 * 1_024 * 1_024,
    if_unusable: "move the file away with its -wal and -shm, and bring back those of the three that a copy has; without a copy, \
        origins have to put their entries again",
};

/// The rows of a hub.
#[derive(Debug)]
pub(crate) struct HubStorage(RowStorage);

impl HubStorage {
    /// Makes the database where there is none. The directory is this process's.
    pub(crate) fn open(directory: &Path) -> Result<Self, StorageError> {
        RowStorage::open(directory, &SCHEMA).map(Self)
    }

    /// Returns everything that is stored.
    pub(crate) fn read(&self) -> Result<Vec<(String, String)>, StorageError> {
        self.0.read()
    }

    /// Makes all writes, or none.
    pub(crate) fn commit(&mut self, writes: &[HubWrite]) -> Result<(), StorageError> {
        self.0.commit(writes.iter().map(|write| match write {
            HubWrite::Put { name, row } => (name.as_str(), Some(row.as_str())),
            HubWrite::Erase { name } => (name.as_str(), None),
        }))
    }
}
