//! Why a retalk user cannot be taken over.

use std::path::PathBuf;

use rendezvous_capsule::failure::Cause;
use rendezvous_capsule::secret;

/// The file in which retalk keeps a user, in the user's directory.
pub(super) const FILE: &str = "store.db";

/// Says why a retalk user cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No such file.
    #[error("there is no retalk identity in {}: it would have a {FILE}", secret::path(.path))]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// Not a file of SQLite with retalk's tables.
    #[error("{} is not a retalk identity: {reason}", secret::path(.path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Another passphrase.
    #[error("this is not the passphrase of the retalk identity in {}", secret::path(.path))]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
}

impl Cause for ImportError {}
