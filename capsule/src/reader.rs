//! What a reader of capsules fetches: the file, its signatures, and the roots beside it.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rendezvous_protocol::capsule::CapsuleBytes;
use rendezvous_protocol::limits::{CAPSULE_MAX_BYTES, ROOT_MAX_BYTES, SIGNATURES_MAX_BYTES};
use rendezvous_protocol::root::{Root, RootError};
use rendezvous_protocol::root_walk::{FoundFile, Passed, RootWalk, Wanted};
use rendezvous_protocol::signatures::{Signatures, is_page};

use crate::failure::{Cause, Exit, Failure};
use crate::fetch::{DEFAULT_TIMEOUT, FetchError, Fetcher};
use crate::files::read_file;
use crate::network::NetworkError;
use crate::page::Page;
use crate::refusal::Refusal;
use crate::source::{Content, SIGNATURE_MAX_BYTES, Source, SourceError};
use crate::values::parse_duration;

/// How many times as long as one file all roots together may take.
const WALK_MAX_TIMEOUTS: u32 = 4;

/// A file that should be a root.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a root: {error}", .path.display())]
pub(crate) struct NotARoot {
    /// The file.
    pub(crate) path: PathBuf,
    /// Why.
    pub(crate) error: RootError,
}

impl Cause for NotARoot {
    fn exit(&self) -> Exit {
        Exit::Refused
    }
}

/// Reads a root that is believed, with its bytes.
pub(crate) fn read_root(path: &Path) -> Result<(Vec<u8>, Root), Failure> {
    let json = read_file(path, ROOT_MAX_BYTES).map_err(|error| SourceError::File { path: path.to_owned(), error })?;
    let root = Root::parse(&json).map_err(|error| NotARoot { path: path.to_owned(), error })?;
    Ok((json, root))
}

/// What is refused because of a root.
pub(crate) fn root_refused(source: &impl Display, error: &RootError) -> Refusal {
    let advice = match error {
        RootError::SignaturesMalformed(_) => {
            "readers refuse every capsule until it is put right: remove that file, and have the root signed again with \
             capsule root sign, or put back the file that it wrote"
        }
        RootError::TooLarge | RootError::Malformed(_) | RootError::Invalid(_) => {
            "make it anew from the root before it: capsule root add-key, remove-key or renew"
        }
        RootError::ThresholdNotMet { .. } => "have it signed by more of those keys: capsule root sign",
        RootError::UnsupportedVersion { .. } => "use a newer version of this program",
        RootError::CommunityMismatch { .. } => "look for the root of the right community",
        RootError::OutOfSequence { .. } => "give every version in between, none left out",
        RootError::Expired { .. } => "ask for its successor, or make one: capsule root renew",
    };
    Refusal::new(source, error.code(), error, &advice)
}

/// How long one address may take.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TimeoutArguments {
    /// Longest time to spend on each address, all attempts together. [default: 20s; of announce 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

impl TimeoutArguments {
    /// Returns what is asked for, or the usual time.
    pub(crate) fn duration(self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }
}

/// How files are read: from the network in bounded time.
#[derive(Debug)]
pub(crate) struct Reader {
    fetcher: Fetcher,
    timeout: Duration,
}

/// The three files of a capsule, as they were found.
#[derive(Debug)]
pub(crate) struct CapsuleParts {
    /// `peers.json`.
    pub(crate) json: Vec<u8>,
    /// `peers.json.sig`, if it is there.
    pub(crate) signature: Option<Vec<u8>>,
    /// `peers.json.sigs`, if it is there.
    pub(crate) signatures: Option<Vec<u8>>,
}

impl CapsuleParts {
    /// As they are verified.
    pub(crate) fn bytes(&self) -> CapsuleBytes<'_> {
        let Self { json, signature, signatures } = self;
        CapsuleBytes { json, signature: signature.as_deref(), cosignatures: signatures.as_deref() }
    }
}

/// Why a walk did not come to its end.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// A file could not be read.
    Source(SourceError),
    /// There is a successor, and it is refused.
    Refused {
        /// Where it is.
        source: Source,
        /// Why.
        error: RootError,
    },
}

impl Reader {
    /// Spends at most `timeout` on each file.
    pub(crate) fn new(timeout: Duration) -> Result<Self, NetworkError> {
        Ok(Self { fetcher: Fetcher::new()?, timeout })
    }

    /// Returns one that asks as this page would.
    #[must_use]
    pub(crate) fn for_page(self, page: Page) -> Self {
        Self { fetcher: self.fetcher.for_page(page), ..self }
    }

    /// Reads at most `max_bytes`, and one more where there is more.
    pub(crate) fn read(&self, source: &Source, max_bytes: usize) -> Result<Vec<u8>, SourceError> {
        Ok(source.read(max_bytes, &self.fetcher, self.timeout)?.bytes)
    }

    /// The same, or nothing where there is no such thing.
    pub(crate) fn read_if_there(&self, source: &Source, max_bytes: usize) -> Result<Option<Vec<u8>>, SourceError> {
        if_there(self.read(source, max_bytes))
    }

    /// The same, or nothing where the host has a page for every path that it does not have.
    pub(crate) fn read_unless_page(&self, source: &Source, max_bytes: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let content = if_there(source.read(max_bytes, &self.fetcher, self.timeout))?;
        let is_file = |content: &Content| !is_page(&content.bytes, content.content_type.as_deref());
        Ok(content.filter(is_file).map(|content| content.bytes))
    }

    /// The files of a capsule, the detached signature elsewhere if that is named; further signatures only for those to
    /// whom they say something.
    pub(crate) fn capsule(
        &self,
        capsule: &Source,
        signature: Option<&Source>,
        further: bool,
    ) -> Result<CapsuleParts, SourceError> {
        // In this order: a publisher that replaces them writes them the other way round.
        let json = self.read(capsule, CAPSULE_MAX_BYTES)?;
        let signature = match signature {
            // A capsule without its signature is refused. One whose signature was asked for by name and is not there is
            // a mistyped name.
            Some(named) => Some(self.read(named, SIGNATURE_MAX_BYTES)?),
            None => self.read_if_there(&capsule.signature(), SIGNATURE_MAX_BYTES)?,
        };
        let signatures = if further { self.read_if_there(&capsule.signatures(), SIGNATURES_MAX_BYTES)? } else { None };
        Ok(CapsuleParts { json, signature, signatures })
    }

    /// Walks, in bounded time, from `root` to the newest one that `find` leads to, and hands each on the way to `passed`.
    pub(crate) fn walk(
        &self,
        root: Root,
        find: impl Fn(&str) -> Source,
        mut passed: impl FnMut(&Source, &[u8], &Signatures, &Root),
    ) -> Result<Root, WalkError> {
        let mut walk = RootWalk::new(root);
        let begun = Instant::now();
        while let Some(wanted) = walk.wanted() {
            let (source, max_bytes) = match &wanted {
                Wanted::Signatures(name) => (find(name), SIGNATURES_MAX_BYTES),
                Wanted::Root(name) => (find(name), ROOT_MAX_BYTES),
            };
            // Each of many files may come in time, and all of them in hours.
            if let Source::Url(url) = &source
                && begun.elapsed() > self.timeout.saturating_mul(WALK_MAX_TIMEOUTS)
            {
                let late = SourceError::Fetch { url: url.clone(), error: FetchError::TimedOut };
                return Err(WalkError::Source(late));
            }
            let content = if_there(source.read(max_bytes, &self.fetcher, self.timeout)).map_err(WalkError::Source)?;
            let file = content
                .as_ref()
                .map(|content| FoundFile { bytes: &content.bytes, media_type: content.content_type.as_deref() });
            match walk.take(file) {
                Ok(None) => {}
                Ok(Some(Passed { root, signatures })) => {
                    let json = content.map(|content| content.bytes).unwrap_or_default();
                    passed(&source, &json, &signatures, &root);
                }
                Err(error) => return Err(WalkError::Refused { source, error }),
            }
        }
        Ok(walk.into_newest())
    }
}

/// Nothing where there is no such thing.
fn if_there<T>(read: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}
