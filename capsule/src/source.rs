//! A capsule in a file or behind a URL, and the signature beside it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rendezvous_protocol::safe_text::hide_users;
use ureq::http::StatusCode;

use crate::failure::{Cause, Exit};
use crate::fetch::{FetchError, Fetched, Fetcher, parse_url};
use crate::files::{self, read_file};
use crate::secret;
use crate::text;

/// Bytes of a signature's file, of which 89 are needed.
pub(crate) const SIGNATURE_MAX_BYTES: usize = 256;

/// Where something is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// An `http` or `https` address.
    Url(String),
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Content {
    /// At most one byte more than the limit.
    pub(crate) bytes: Vec<u8>,
    /// What the host calls it, where a host says something.
    pub(crate) content_type: Option<String>,
}

/// Why it could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The file is not there, or not readable.
    #[error("{} cannot be read: {error}", secret::path(.path))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The address gave nothing.
    #[error("{} could not be fetched: {error}", text::printable(&hide_users(.url)))]
    Fetch {
        /// The address.
        url: String,
        /// Why.
        error: FetchError,
    },
}

impl Cause for SourceError {
    fn exit(&self) -> Exit {
        match self {
            Self::File { .. } | Self::Fetch { error: FetchError::BadUrl { .. }, .. } => Exit::Usage,
            Self::Fetch { .. } => Exit::Unreachable,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => None,
            Self::Fetch { error, .. } => Some(error.code()),
        }
    }
}

impl SourceError {
    /// Whether the answer is that there is no such thing, and not that it could not be asked for.
    pub(crate) fn is_absent(&self) -> bool {
        match self {
            Self::File { error, .. } => error.kind() == io::ErrorKind::NotFound,
            Self::Fetch { error: FetchError::Status { status, .. }, .. } => {
                matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE)
            }
            Self::Fetch { .. } => false,
        }
    }
}

impl Source {
    /// Takes what looks like a URL for one, and everything else for a file.
    pub(crate) fn new(text: &str) -> Self {
        if text.contains("://") { Self::Url(text.to_owned()) } else { Self::File(text.into()) }
    }

    /// Where the signature is.
    pub(crate) fn signature(&self) -> Self {
        self.with_suffix(".sig")
    }

    /// Where further signatures are.
    pub(crate) fn signatures(&self) -> Self {
        self.with_suffix(".sigs")
    }

    /// What is added to the file's name, or to the path of the URL, before its query.
    fn with_suffix(&self, suffix: &str) -> Self {
        match self {
            Self::File(path) => Self::File(files::with_suffix(path, suffix)),
            Self::Url(url) => {
                let (path, query) = path_and_query(url);
                Self::Url(format!("{path}{suffix}{query}"))
            }
        }
    }

    /// The file of that name in the same directory.
    pub(crate) fn beside(&self, name: &str) -> Self {
        match self {
            Self::File(path) => Self::File(path.with_file_name(name)),
            Self::Url(url) => {
                let (path, query) = path_and_query(url);
                // The last slash of a URL without a path is that before its host.
                let directory = match path.rsplit_once('/') {
                    Some((directory, _)) if !directory.ends_with('/') => directory,
                    _ => path,
                };
                Self::Url(format!("{directory}/{name}{query}"))
            }
        }
    }

    /// The file of that name below this directory.
    pub(crate) fn below(&self, name: &str) -> Self {
        match self {
            Self::File(path) => Self::File(path.join(name)),
            Self::Url(url) => {
                let (path, query) = path_and_query(url);
                Self::Url(format!("{}/{name}{query}", path.trim_end_matches('/')))
            }
        }
    }

    /// Reads at most `max_bytes`, and one more where there is more.
    pub(crate) fn read(&self, max_bytes: usize, fetcher: &Fetcher, timeout: Duration) -> Result<Content, SourceError> {
        match self {
            Self::File(path) => {
                let bytes = read_file(path, max_bytes);
                let bytes = bytes.map_err(|error| SourceError::File { path: path.clone(), error })?;
                Ok(Content { bytes, content_type: None })
            }
            Self::Url(url) => {
                let failed = |error| SourceError::Fetch { url: url.clone(), error };
                parse_url(url).map_err(failed)?;
                let Fetched { body, content_type, .. } = fetcher.get(url, max_bytes, timeout);
                Ok(Content { bytes: body.map_err(failed)?, content_type })
            }
        }
    }
}

/// Without a user and a password, which an address that is refused for them may have, and without a name that may be a key.
impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => formatter.write_str(&secret::path(path)),
            Self::Url(url) => formatter.write_str(&hide_users(url)),
        }
    }
}

/// A URL without its fragment, before its query and from there on.
fn path_and_query(url: &str) -> (&str, &str) {
    let url = url.split('#').next().unwrap_or_default();
    url.find('?').map_or((url, ""), |position| url.split_at(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_beside_the_capsule() {
        for (capsule, signature) in [
            ("peers.json", "peers.json.sig"),
            ("a?b/peers.json", "a?b/peers.json.sig"),
            ("https://example.org/peers.json", "https://example.org/peers.json.sig"),
            ("https://example.org/peers.json?token=a.b", "https://example.org/peers.json.sig?token=a.b"),
            ("https://example.org/peers.json#top", "https://example.org/peers.json.sig"),
        ] {
            assert_eq!(Source::new(capsule).signature().to_string(), signature);
        }
    }

    #[test]
    fn a_neighbour_is_in_the_same_directory_and_gets_the_same_query() {
        for (capsule, neighbour) in [
            ("peers.json", "2.root.json"),
            ("a/peers.json", "a/2.root.json"),
            ("https://example.org/peers.json", "https://example.org/2.root.json"),
            ("https://example.org", "https://example.org/2.root.json"),
            ("https://example.org/a/?token=a/b#top", "https://example.org/a/2.root.json?token=a/b"),
        ] {
            assert_eq!(Source::new(capsule).beside("2.root.json").to_string(), neighbour);
        }
        for (directory, file) in [
            ("a", "a/2.root.json"),
            ("https://example.org", "https://example.org/2.root.json"),
            ("https://example.org/a/?x", "https://example.org/a/2.root.json?x"),
        ] {
            assert_eq!(Source::new(directory).below("2.root.json").to_string(), file);
        }
    }
}
