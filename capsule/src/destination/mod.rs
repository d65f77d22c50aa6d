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

mod bucket;
mod directory;
mod files;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use self::bucket::Address;
use self::bucket::Bucket;
use self::directory::{Directory, LockedDirectory};
pub(crate) use self::files::{CAPSULE, Files, Held, MINISIG, SIGNATURE};
use crate::failure::Failure;
use crate::fetch::Fetcher;
use crate::secret;

/// Where a capsule is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A directory.
    Directory(PathBuf),
    /// A bucket.
    Bucket(Address),
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
    pub(crate) fn open(target: &Target, fetcher: &Fetcher, timeout: Duration) -> Result<Self, Failure> {
        Ok(match target {
            Target::Directory(path) => Self::Directory(Directory::create(path)?),
            Target::Bucket(address) => Self::Bucket(Bucket::open(address, fetcher, timeout)?),
        })
    }

    /// The place itself, as a path or an address.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Directory(directory) => secret::path(directory.path()),
            Self::Bucket(bucket) => bucket.to_string(),
        }
    }

    /// Where a file of this name is, as a path or an address.
    pub(crate) fn file(&self, name: &str) -> String {
        match self {
            Self::Directory(directory) => secret::path(&directory.file(name)),
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
    pub(crate) fn held(&self) -> Result<Held, Failure> {
        Ok(match self {
            Self::Directory(directory) => directory.held()?,
            Self::Bucket(bucket) => bucket.held()?,
        })
    }

    /// Replaces it.
    pub(crate) fn replace(&self, files: &Files) -> Result<(), Failure> {
        match self {
            Self::Directory(directory) => directory.replace(files)?,
            Self::Bucket(bucket) => bucket.replace(files)?,
        }
        Ok(())
    }
}
