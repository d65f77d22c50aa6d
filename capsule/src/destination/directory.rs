//! The directory that a capsule is published from.
//!
//! The order in which its files are replaced, and what readers see in between, is the destination's (`mod.rs`).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rendezvous_protocol::limits::CAPSULE_MAX_BYTES;

use super::files::{CAPSULE, Files, Held, MINISIG, SIGNATURE};
use crate::failure::Cause;
use crate::files::{self, FileError, read_file};
use crate::source::SIGNATURE_MAX_BYTES;

/// What can go wrong with the directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// It cannot be made, or nothing can be written into it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The capsule in it cannot be read, so that nobody knows what would be replaced.
    #[error("the file {}, which is to be replaced, cannot be read: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Cause for DirectoryError {}

/// The directory, which exists.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Makes it, and those above it, where it is not there yet.
    pub(crate) fn create(path: &Path) -> Result<Self, DirectoryError> {
        files::create_directory(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the file of this name is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Locks it, unless another run writes here.
    pub(crate) fn try_lock(&self) -> Option<LockedDirectory<'_>> {
        Some(LockedDirectory { directory: self, _handle: Some(files::try_lock(&self.0)?) })
    }

    /// Waits until no other run writes here.
    pub(crate) fn lock(&self) -> LockedDirectory<'_> {
        LockedDirectory { directory: self, _handle: files::lock(&self.0) }
    }
}

/// The directory, while nobody else writes to it.
#[derive(Debug)]
pub(crate) struct LockedDirectory<'a> {
    directory: &'a Directory,
    _handle: Option<File>,
}

impl LockedDirectory<'_> {
    /// Reads the capsule that is there.
    pub(crate) fn held(&self) -> Result<Held, DirectoryError> {
        let read = |name: &str, max_bytes| read_if_there(&self.directory.file(name), max_bytes);
        Ok(Held { json: read(CAPSULE, CAPSULE_MAX_BYTES)?, signature: read(SIGNATURE, SIGNATURE_MAX_BYTES)? })
    }

    /// Removes what a run that was killed left beside the files.
    pub(crate) fn remove_leftovers(&self) -> Result<(), DirectoryError> {
        for name in [CAPSULE, SIGNATURE, MINISIG] {
            files::remove_leftovers(&self.directory.file(name))?;
        }
        Ok(())
    }

    /// Replaces it.
    pub(crate) fn replace(&self, files: &Files) -> Result<(), DirectoryError> {
        let files = files.in_order().map(|(name, content)| (self.directory.file(name), content));
        Ok(files::replace_all(files.iter().map(|(path, content)| (path.as_path(), content.as_bytes())))?)
    }
}

fn read_if_there(path: &Path, max_bytes: usize) -> Result<Option<Vec<u8>>, DirectoryError> {
    match read_file(path, max_bytes) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DirectoryError::Read { path: path.to_owned(), error }),
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::capsule::CapsuleFiles;

    use super::*;

    fn files(content: &str) -> Files {
        let capsule = CapsuleFiles { json: content.to_owned(), signature: format!("{content} signed") };
        Files { capsule, minisig: format!("{content} signed for minisign") }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn all_files_are_replaced_and_nothing_else_is_left() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::create(&temporary.path().join("a/b")).unwrap();
        for content in ["one", "two"] {
            let files = files(content);
            directory.lock().replace(&files).unwrap();
            for (name, content) in files.in_order() {
                assert_eq!(&std::fs::read_to_string(directory.file(name)).unwrap(), content);
            }
            let held = directory.lock().held().unwrap();
            assert_eq!(held.json.unwrap(), files.capsule.json.as_bytes());
            assert_eq!(held.signature.unwrap(), files.capsule.signature.as_bytes());
            assert_eq!(names(&directory.0), [CAPSULE, MINISIG, SIGNATURE]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_files_are_as_readable_as_any_new_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::create(temporary.path()).unwrap();
        directory.lock().replace(&files("")).unwrap();
        let other = temporary.path().join("other");
        std::fs::write(&other, "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        for name in [CAPSULE, SIGNATURE, MINISIG] {
            assert_eq!(mode(&directory.file(name)), mode(&other));
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_capsule_and_no_litter() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::create(temporary.path()).unwrap();
        // A directory in the place of the first file cannot be replaced by a file.
        std::fs::create_dir(directory.file(MINISIG)).unwrap();
        std::fs::write(directory.file(CAPSULE), "old").unwrap();
        assert!(matches!(directory.lock().replace(&files("new")), Err(DirectoryError::File(FileError::Write { .. }))));
        assert_eq!(std::fs::read_to_string(directory.file(CAPSULE)).unwrap(), "old");
        assert_eq!(names(temporary.path()), [CAPSULE, MINISIG]);
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let temporary = tempfile::NamedTempFile::new().unwrap();
        let error = Directory::create(&temporary.path().join("below-a-file")).unwrap_err();
        assert!(error.to_string().contains("below-a-file"), "{error}");
    }
}
