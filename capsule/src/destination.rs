//! Where a capsule is published: a directory, or a bucket. Either way three files that readers may fetch at any moment.
//!
//! **The order of the writes.** Nothing replaces several files in one step. The signatures go first and `peers.json`
//! last, so that a reader that fetches `peers.json` and then `peers.json.sig`, as all do, finds a pair whenever its
//! first file is the new one. In between, or after a crash in between, it sees the old capsule with the new signature:
//! they do not fit, so it refuses them, and keeps the last good capsule that it has. Readers that know only the
//! embedded signature see no gap at all.
//!
//! **The guard.** The capsule that is there is read first: nothing is written that readers of that one would refuse as
//! older, or as signed by a key that has revoked itself.

use rendezvous_protocol::capsule::CapsuleFiles;

use crate::bucket::{Bucket, BucketError};
use crate::directory::{Directory, DirectoryError, LockedDirectory};
use crate::fetch::Fetcher;
use crate::settings::Target;

/// The capsule's file name.
pub(crate) const CAPSULE: &str = "peers.json";
/// The signature's file name.
pub(crate) const SIGNATURE: &str = "peers.json.sig";
/// The file name of the signature in minisign's format.
pub(crate) const MINISIG: &str = "peers.json.minisig";

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// `peers.json` and `peers.json.sig`.
    pub(crate) capsule: CapsuleFiles,
    /// `peers.json.minisig`.
    pub(crate) minisig: String,
}

impl Files {
    /// Names and contents, in the order in which they are written.
    pub(crate) const fn in_order(&self) -> [(&'static str, &String); 3] {
        [(MINISIG, &self.minisig), (SIGNATURE, &self.capsule.signature), (CAPSULE, &self.capsule.json)]
    }
}

/// The capsule that is there, as far as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// `peers.json`.
    pub(crate) json: Option<Vec<u8>>,
    /// `peers.json.sig`.
    pub(crate) signature: Option<Vec<u8>>,
}

/// What can go wrong with the place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DestinationError {
    /// A directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

/// The place.
#[derive(Debug)]
pub(crate) enum Destination {
    /// A directory, which exists.
    Directory(Directory),
    /// A bucket, of which nothing is known before the first request.
    Bucket(Bucket),
}

impl Destination {
    /// Makes what can be made before anybody is asked for peers: what cannot be written to is better known at once.
    pub(crate) fn open(
        target: &Target,
        fetcher: &Fetcher,
        timeout: std::time::Duration,
    ) -> Result<Self, DestinationError> {
        Ok(match target {
            Target::Directory(path) => Self::Directory(Directory::create(path)?),
            Target::Bucket(address) => Self::Bucket(Bucket::open(address, fetcher, timeout)?),
        })
    }

    /// The place itself, as a path or an address.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Directory(directory) => directory.path().display().to_string(),
            Self::Bucket(bucket) => bucket.to_string(),
        }
    }

    /// Where a file of this name is, as a path or an address.
    pub(crate) fn file(&self, name: &str) -> String {
        match self {
            Self::Directory(directory) => directory.file(name).display().to_string(),
            Self::Bucket(bucket) => bucket.file(name),
        }
    }

    /// Waits until no other run writes here. (A bucket has no locks: it takes one publisher at a time.)
    pub(crate) fn lock(&self) -> LockedDestination<'_> {
        match self {
            Self::Directory(directory) => LockedDestination::Directory(directory.lock()),
            Self::Bucket(bucket) => LockedDestination::Bucket(bucket),
        }
    }
}

/// The place, while nobody else writes to it.
#[derive(Debug)]
pub(crate) enum LockedDestination<'a> {
    /// A directory.
    Directory(LockedDirectory<'a>),
    /// A bucket.
    Bucket(&'a Bucket),
}

impl LockedDestination<'_> {
    /// Reads the capsule that is there.
    pub(crate) fn held(&self) -> Result<Held, DestinationError> {
        Ok(match self {
            Self::Directory(directory) => directory.held()?,
            Self::Bucket(bucket) => bucket.held()?,
        })
    }

    /// Replaces it.
    pub(crate) fn replace(&self, files: &Files) -> Result<(), DestinationError> {
        match self {
            Self::Directory(directory) => directory.replace(files)?,
            Self::Bucket(bucket) => bucket.replace(files)?,
        }
        Ok(())
    }
}
