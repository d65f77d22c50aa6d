//! A reader's walk from a root that it believes to the newest one (section 6 of the specification).
//!
//! The walk says which file it wants, and takes what the host has of that name. Out of scope: fetching, how long that may
//! take in all, and remembering the newest root.

use crate::limits::ROOT_MAX_STEPS;
use crate::root::{Root, RootError};
use crate::signatures::{Signatures, is_page};

/// Holds a walk between two files.
#[derive(Clone, Debug)]
pub struct RootWalk {
    newest: Root,
    next: Next,
    steps: usize,
}

#[derive(Clone, Debug)]
enum Next {
    Signatures,
    Root(Signatures),
    Nothing,
}

/// Names the file that a walk wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The signatures of the next root, in the file of this name beside the capsule.
    Signatures(String),
    /// The next root itself.
    Root(String),
}

/// Holds the file that a host has of a name.
#[derive(Clone, Copy, Debug)]
pub struct FoundFile<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its media type, where the host says one.
    pub media_type: Option<&'a str>,
}

/// Holds a root that the walk came to, with the signatures that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The root.
    pub root: Root,
    /// Its signatures file.
    pub signatures: Signatures,
}

impl RootWalk {
    /// Begins at a root that is believed.
    pub const fn new(root: Root) -> Self {
        Self { newest: root, next: Next::Signatures, steps: 0 }
    }

    /// Returns which file to look for, or `None` where the walk is over.
    pub fn wanted(&self) -> Option<Wanted> {
        let root = Root::file_name(self.newest.root_version().saturating_add(1));
        match self.next {
            Next::Signatures => Some(Wanted::Signatures(format!("{root}.sigs"))),
            Next::Root(_) => Some(Wanted::Root(root)),
            Next::Nothing => None,
        }
    }

    /// Takes the file that was wanted, or that there is none. Returns the root that the walk came to, if it did.
    ///
    /// A signatures file that is a page counts as absent: there are hosts that answer every path with one.
    ///
    /// # Errors
    /// [`RootError::SignaturesMalformed`], then those of [`Root::succeed`]: a successor that is there and is refused, or
    /// whose signatures cannot be read, is never passed over. The walk is over then.
    pub fn take(&mut self, file: Option<FoundFile<'_>>) -> Result<Option<Passed>, RootError> {
        match (std::mem::replace(&mut self.next, Next::Nothing), file) {
            (Next::Signatures, Some(FoundFile { bytes, media_type })) if !is_page(bytes, media_type) => {
                self.next = Next::Root(Signatures::parse(bytes)?);
                Ok(None)
            }
            (Next::Root(signatures), Some(FoundFile { bytes, .. })) => {
                let root = self.newest.succeed(bytes, &signatures)?;
                self.newest = root.clone();
                self.steps += 1;
                if self.steps < ROOT_MAX_STEPS {
                    self.next = Next::Signatures;
                }
                Ok(Some(Passed { root, signatures }))
            }
            _ => Ok(None),
        }
    }

    /// Ends the walk, and returns the newest root that it came to.
    pub fn into_newest(self) -> Root {
        self.newest
    }
}
