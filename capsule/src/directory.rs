//! The directory that a capsule is published from: two files that readers may fetch at any moment.
//!
//! Each file is replaced at once or not at all: written to a temporary file in the same directory, synced, renamed. Both
//! together cannot be: no system renames two files in one step. The signature goes first, so that a reader that fetches
//! `peers.json` and then `peers.json.sig`, as all do, finds a pair whenever its first file is the new one. In between,
//! or after a crash in between, it sees the old capsule with the new signature: they do not fit, so it refuses them,
//! and keeps the last good capsule that it has. Readers that know only the embedded signature see no gap at all.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rendezvous_protocol::capsule::{Capsule, CapsuleBytes, CapsuleError, CapsuleFiles, CapsuleRules};
use rendezvous_protocol::limits::CAPSULE_MAX_BYTES;
use rendezvous_protocol::time::UnixMillis;
use tempfile::NamedTempFile;

use crate::signals::HeldSignals;
use crate::source::{SIGNATURE_MAX_BYTES, read_file};

/// The capsule's file name.
const CAPSULE: &str = "peers.json";
/// The signature's file name.
const SIGNATURE: &str = "peers.json.sig";

/// What can go wrong with the directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// It is not there and cannot be made.
    #[error("the directory {} cannot be made: {error}", .path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The capsule in it cannot be read, so that nobody knows what would be replaced.
    #[error("the file {}, which is to be replaced, cannot be read: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nothing can be written.
    #[error("the file {} cannot be written: {error}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The directory, which exists.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Makes it, and those above it, where it is not there yet.
    pub(crate) fn create(path: &Path) -> Result<Self, DirectoryError> {
        std::fs::create_dir_all(path).map_err(|error| DirectoryError::Create { path: path.to_owned(), error })?;
        Ok(Self(path.to_owned()))
    }

    /// Where the capsule is.
    pub(crate) fn capsule(&self) -> PathBuf {
        self.0.join(CAPSULE)
    }

    /// Where its signature is.
    pub(crate) fn signature(&self) -> PathBuf {
        self.0.join(SIGNATURE)
    }

    /// Waits until no other run writes here.
    pub(crate) fn lock(&self) -> LockedDirectory<'_> {
        // Not every file system knows locks, and not every system opens a directory. Without one, two runs that end in
        // the same moment may leave the capsule of one and the signature of the other, until the next run.
        let handle = File::open(&self.0).and_then(|handle| handle.lock().map(|()| handle)).ok();
        LockedDirectory { directory: self, _handle: handle }
    }
}

/// The directory, while nobody else writes to it.
#[derive(Debug)]
pub(crate) struct LockedDirectory<'a> {
    directory: &'a Directory,
    _handle: Option<File>,
}

impl LockedDirectory<'_> {
    /// When the capsule in the directory was issued, if that is after `now` and it is one by the same key for the same
    /// community. Readers that have seen it refuse everything older.
    pub(crate) fn issued_after(
        &self,
        now: UnixMillis,
        rules: &CapsuleRules<'_>,
    ) -> Result<Option<UnixMillis>, DirectoryError> {
        let json = read_if_there(&self.directory.capsule(), CAPSULE_MAX_BYTES)?;
        let signature = read_if_there(&self.directory.signature(), SIGNATURE_MAX_BYTES)?;
        let Some(json) = json else { return Ok(None) };
        // Times are checked after the signatures, so that this one is the publisher's own, far in the future as it is.
        // One that has expired was issued before now; one that fails otherwise binds no reader.
        let files = CapsuleBytes { json: &json, signature: signature.as_deref(), cosignatures: None };
        Ok(match Capsule::verify(files, rules, now) {
            Ok(Capsule { issued_at, .. }) | Err(CapsuleError::NotYetValid { issued_at, .. }) => {
                Some(issued_at).filter(|issued_at| *issued_at > now)
            }
            Err(_) => None,
        })
    }

    /// Replaces the capsule and its signature.
    pub(crate) fn replace(&self, files: &CapsuleFiles) -> Result<(), DirectoryError> {
        let [capsule, signature] = [self.directory.capsule(), self.directory.signature()];
        // From here to the end takes milliseconds: a signal to stop can wait, and finds both files or none of them, and
        // no temporary one.
        let _held = HeldSignals::new().map_err(|error| DirectoryError::Write { path: capsule.clone(), error })?;
        let new_capsule = self.write_beside(&capsule, &files.json)?;
        let new_signature = self.write_beside(&signature, &files.signature)?;
        rename(new_signature, &signature)?;
        rename(new_capsule, &capsule)?;
        // The names are in the directory, which is synced like a file, on systems that can.
        #[cfg(unix)]
        File::open(&self.directory.0)
            .and_then(|handle| handle.sync_all())
            .map_err(|error| DirectoryError::Write { path: self.directory.0.clone(), error })?;
        Ok(())
    }

    fn write_beside(&self, path: &Path, content: &str) -> Result<NamedTempFile, DirectoryError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".peers.json.");
        // Temporary files are private by default, but a web server, often another user, is to read these. (The umask
        // still applies.)
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder
            .tempfile_in(&self.directory.0)
            .and_then(|mut file| {
                file.write_all(content.as_bytes())?;
                file.as_file().sync_all()?;
                Ok(file)
            })
            .map_err(|error| DirectoryError::Write { path: path.to_owned(), error })
    }
}

fn rename(file: NamedTempFile, path: &Path) -> Result<(), DirectoryError> {
    let renamed = file.persist(path);
    renamed.map(drop).map_err(|error| DirectoryError::Write { path: path.to_owned(), error: error.error })
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
    use std::time::Duration;

    use rendezvous_protocol::capsule::{self, Contents, Trust};
    use rendezvous_protocol::community::Community;
    use rendezvous_protocol::key::PrivateKey;
    use rendezvous_protocol::revocation::Revocations;

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(millis)
    }

    fn files(seed: u8, issued_at: u64) -> CapsuleFiles {
        let community = Community::new("mainnet").unwrap();
        let contents = Contents {
            community: &community,
            issued_at: at(issued_at),
            lifetime: Duration::from_secs(60),
            entries: &[],
            beacons: &[],
            revocations: &Revocations::default(),
        };
        capsule::sign(&contents, &PrivateKey::from_seed(&[seed; 32]))
    }

    fn issued_after(directory: &Directory, now: u64) -> Option<u64> {
        let community = Community::new("mainnet").unwrap();
        let public_key = PrivateKey::from_seed(&[1; 32]).public_key();
        let rules = CapsuleRules::new(Trust::Key(public_key), &community);
        directory.lock().issued_after(at(now), &rules).unwrap().map(UnixMillis::as_u64)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn both_files_are_replaced_and_nothing_else_is_left() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::create(&temporary.path().join("a/b")).unwrap();
        for issued_at in [NOW, NOW + 1] {
            let files = files(1, issued_at);
            directory.lock().replace(&files).unwrap();
            assert_eq!(std::fs::read_to_string(directory.capsule()).unwrap(), files.json);
            assert_eq!(std::fs::read_to_string(directory.signature()).unwrap(), files.signature);
            assert_eq!(names(&directory.0), [CAPSULE, SIGNATURE]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_files_are_as_readable_as_any_new_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::create(temporary.path()).unwrap();
        directory.lock().replace(&files(1, NOW)).unwrap();
        let other = temporary.path().join("other");
        std::fs::write(&other, "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&directory.capsule()), mode(&other));
        assert_eq!(mode(&directory.signature()), mode(&other));
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_capsule_and_no_litter() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::create(temporary.path()).unwrap();
        // A directory in the place of the signature cannot be replaced by a file.
        std::fs::create_dir(directory.signature()).unwrap();
        std::fs::write(directory.capsule(), "old").unwrap();
        assert!(matches!(directory.lock().replace(&files(1, NOW)), Err(DirectoryError::Write { .. })));
        assert_eq!(std::fs::read_to_string(directory.capsule()).unwrap(), "old");
        assert_eq!(names(temporary.path()), [CAPSULE, SIGNATURE]);
    }

    #[test]
    fn sees_a_newer_capsule_of_its_own_key_however_far_ahead() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::create(temporary.path()).unwrap();
        assert_eq!(issued_after(&directory, NOW), None);
        directory.lock().replace(&files(1, NOW)).unwrap();
        assert_eq!(issued_after(&directory, NOW), None);
        for clock_went_back_by in [1, 14_000, 3_600_000] {
            assert_eq!(issued_after(&directory, NOW - clock_went_back_by), Some(NOW));
        }
        // Expired, and so before now.
        assert_eq!(issued_after(&directory, NOW + 3_600_000), None);
        // By somebody else.
        directory.lock().replace(&files(2, NOW)).unwrap();
        assert_eq!(issued_after(&directory, NOW - 1), None);
        // Tampered with.
        directory.lock().replace(&files(1, NOW)).unwrap();
        std::fs::write(directory.capsule(), files(1, NOW).json + " ").unwrap();
        assert_eq!(issued_after(&directory, NOW - 1), None);
        std::fs::remove_file(directory.signature()).unwrap();
        assert_eq!(issued_after(&directory, NOW - 1), None);
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let temporary = tempfile::NamedTempFile::new().unwrap();
        let error = Directory::create(&temporary.path().join("below-a-file")).unwrap_err();
        assert!(error.to_string().contains("below-a-file"), "{error}");
    }
}
