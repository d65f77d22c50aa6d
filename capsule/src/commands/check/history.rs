//! The file that remembers the outcomes of the last 15 minutes from one run to the next.

use std::io;
use std::path::{Path, PathBuf};

use rendezvous_protocol::success_rate::{Alert, SUCCESS_RATE_MAX_BYTES, SuccessRate, SuccessRateError};
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use crate::failure::{Cause, Failure};
use crate::files::{self, read_file};
use crate::text;

/// Why the file is of no use. Begun anew without a word, it would keep an alert from being raised.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// It is there, and cannot be read.
    #[error("the history {} cannot be read: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It holds something else.
    #[error("{} is not a history of --history: {}. Name another file, or move it away", .path.display(), text::printable(&.error.to_string()))]
    NotAHistory {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: SuccessRateError,
    },
}

impl Cause for HistoryError {}

/// The rate, when an outcome has been added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SuccessReport {
    /// Not known after the first outcome.
    pub(super) per_cent: Option<u64>,
    #[serde(skip)]
    pub(super) alert: Alert,
}

/// Reads the file. One that is not there yet is a history without outcomes.
pub(super) fn read(path: &Path) -> Result<SuccessRate, HistoryError> {
    let json = match read_file(path, SUCCESS_RATE_MAX_BYTES) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SuccessRate::default()),
        Err(error) => return Err(HistoryError::File { path: path.to_owned(), error }),
    };
    SuccessRate::parse(&json).map_err(|error| HistoryError::NotAHistory { path: path.to_owned(), error })
}

/// Adds an outcome to the file.
pub(super) fn record(path: &Path, now: UnixMillis, good: usize, all: usize) -> Result<SuccessReport, Failure> {
    // Another run may have added one since this one began.
    let _lock = files::lock(files::directory_of(path));
    let mut rate = read(path)?;
    let alert = rate.record(now, good, all);
    files::replace(path, rate.to_json().as_bytes())?;
    Ok(SuccessReport { per_cent: rate.per_cent(now), alert })
}
