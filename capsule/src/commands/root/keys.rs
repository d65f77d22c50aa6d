//! Keys that are put into a root.

use std::collections::BTreeSet;

use rendezvous_protocol::key::PublicKey;

use super::error::RootCommandError;
use crate::keys::{self, KeyFileError};

/// Keys from arguments, each a key or the name of a file with one.
pub(super) fn public_keys(arguments: &[String]) -> Result<Vec<PublicKey>, KeyFileError> {
    arguments.iter().map(|argument| keys::public_key(argument)).collect()
}

/// Adds a key, once.
pub(super) fn insert(keys: &mut BTreeSet<PublicKey>, added: &[PublicKey]) -> Result<(), RootCommandError> {
    for key in added {
        if !keys.insert(*key) {
            return Err(RootCommandError::KeyThere { key: *key });
        }
    }
    Ok(())
}
