//! Why a root cannot be worked with.

use std::path::PathBuf;

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::root::RootInvalid;

use crate::failure::Cause;

/// Why a root cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootCommandError {
    /// The parts make no root.
    #[error("{error}: {}", advice_on_parts(.error))]
    Parts {
        /// What does not go together.
        error: RootInvalid,
    },
    /// A key that cannot be added.
    #[error("the key {key} is there already")]
    KeyThere {
        /// The key.
        key: PublicKey,
    },
    /// A key that cannot be removed.
    #[error("the key {key} is not there: `capsule root verify {}` shows those that are", .path.display())]
    KeyNotThere {
        /// The key.
        key: PublicKey,
        /// The root.
        path: PathBuf,
    },
    /// Roots are looked for in one place.
    #[error("with --from there is one directory to look in, not {count}: without it, name the roots themselves")]
    OneDirectory {
        /// How many were given.
        count: usize,
    },
    /// It would be good for nothing.
    #[error("the next root would have expired already, like {}: give --expires 365d", .path.display())]
    BornExpired {
        /// The root before it.
        path: PathBuf,
    },
}

impl Cause for RootCommandError {}

const fn advice_on_parts(error: &RootInvalid) -> &'static str {
    match error {
        RootInvalid::KeyCount { .. } => "name fewer keys, or at least one",
        RootInvalid::Threshold { .. } => "change it with --root-threshold or --publisher-threshold",
        RootInvalid::KeyInBothRoles { .. } => "make another one for publishing: capsule keygen",
        RootInvalid::RootVersion { .. } => "there is no version after this one",
    }
}
