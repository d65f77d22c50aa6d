//! The file with the signatures of a root, beside it.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use rendezvous_protocol::limits::SIGNATURES_MAX_BYTES;
use rendezvous_protocol::signatures::{Signatures, SignaturesError};

use crate::files::{read_file, with_suffix};
use crate::refusal::Refusal;
use crate::source::SourceError;

/// The file with a root's signatures.
pub(super) fn signatures_path(path: &Path) -> PathBuf {
    with_suffix(path, ".sigs")
}

/// Reads the signatures beside a root; none where there is no file.
pub(super) fn read_signatures(path: &Path) -> Result<Result<Signatures, SignaturesError>, SourceError> {
    let path = signatures_path(path);
    match read_file(&path, SIGNATURES_MAX_BYTES) {
        Ok(bytes) => Ok(Signatures::parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(Signatures::default())),
        Err(error) => Err(SourceError::File { path, error }),
    }
}

/// What is refused because of the signatures beside a root.
pub(super) fn signatures_refused(source: &impl Display, error: SignaturesError) -> Refusal {
    let advice = "remove that file, and have the root signed again: capsule root sign";
    Refusal::new(source, error.code(), &error, &advice)
}
