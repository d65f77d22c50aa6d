//! `capsule root`: who may publish for a community, made, changed, signed and checked, on files that may travel on a
//! stick. Section 6 of the protocol has the rules; here are the files and what people get to read.

mod change;
mod init;
mod report;
mod sign;
mod verify;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::SIGNATURES_MAX_BYTES;
use rendezvous_protocol::root::{Root, RootInvalid};
use rendezvous_protocol::signatures::{Signatures, SignaturesError};
use rendezvous_protocol::time::UnixMillis;

use crate::arguments::RootCommand;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::files::with_suffix;
use crate::keys::{self, KeyFileError};
use crate::outcome::{Failure, Outcome};
use crate::refusal::Refusal;
use crate::source::{SourceError, read_file};
use crate::text;

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

const fn advice_on_parts(error: &RootInvalid) -> &'static str {
    match error {
        RootInvalid::KeyCount { .. } => "name fewer keys, or at least one",
        RootInvalid::Threshold { .. } => "change it with --root-threshold or --publisher-threshold",
        RootInvalid::KeyInBothRoles { .. } => "make another one for publishing: capsule keygen",
        RootInvalid::RootVersion { .. } => "there is no version after this one",
    }
}

/// Runs the command.
pub(crate) fn root(command: &RootCommand, environment: &Environment, clock: &Clock) -> Result<Outcome, Failure> {
    match command {
        RootCommand::Init(arguments) => init::init(arguments, environment, clock),
        RootCommand::AddKey(arguments) => change::add_key(arguments, clock),
        RootCommand::RemoveKey(arguments) => change::remove_key(arguments, clock),
        RootCommand::Renew(arguments) => change::renew(arguments, clock),
        RootCommand::Sign(arguments) => sign::sign(arguments, environment, clock),
        RootCommand::Verify(arguments) => verify::verify(arguments, clock),
    }
}

/// The file with a root's signatures.
fn signatures_path(path: &Path) -> PathBuf {
    with_suffix(path, ".sigs")
}

/// Reads the signatures beside a root; none where there is no file.
fn read_signatures(path: &Path) -> Result<Result<Signatures, SignaturesError>, SourceError> {
    let path = signatures_path(path);
    match read_file(&path, SIGNATURES_MAX_BYTES) {
        Ok(bytes) => Ok(Signatures::parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(Signatures::default())),
        Err(error) => Err(SourceError::File { path, error }),
    }
}

/// What is refused because of the signatures beside a root.
fn signatures_refused(source: &impl Display, error: SignaturesError) -> Refusal {
    let advice = "remove that file, and have the root signed again: capsule root sign";
    Refusal::new(source, error.code(), &error, &advice)
}

/// Keys from arguments, each a key or the name of a file with one.
fn public_keys(arguments: &[String]) -> Result<Vec<PublicKey>, KeyFileError> {
    arguments.iter().map(|argument| keys::public_key(argument)).collect()
}

/// Adds a key, once.
fn insert(keys: &mut BTreeSet<PublicKey>, added: &[PublicKey]) -> Result<(), RootCommandError> {
    for key in added {
        if !keys.insert(*key) {
            return Err(RootCommandError::KeyThere { key: *key });
        }
    }
    Ok(())
}

/// A root's life, as people read it.
fn life(root: &Root, now: UnixMillis) -> String {
    format!("{} ({})", text::date(root.expires_at()), text::distance(root.expires_at(), now))
}
