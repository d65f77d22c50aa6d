//! Files that others may read at any moment, and that are too dear to be half written.
//!
//! Each is replaced at once or not at all: written to a temporary file in the same directory, synced, renamed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rendezvous_protocol::safe_text;
use tempfile::NamedTempFile;

use crate::failure::Cause;
use crate::secret;

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is one of that name.
    #[error("{} is there already and is not overwritten: move it away, or choose another name with --out", secret::path(.path))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The name is a secret, which others would see in the directory.
    #[error(
        "the name of the file is a private key or an invite, which others can see in process lists and in your shell's \
         history: make a new one, and name a file"
    )]
    SecretAsName,
    /// Several files do not fit into one stream.
    #[error("- is the standard output, and several files are written: name a directory")]
    StandardAsDirectory,
    /// It cannot be written.
    #[error("the file {} cannot be written: {error}", secret::path(.path))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no directory for it.
    #[error("the directory {} cannot be made: {error}", secret::path(.path))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Cause for FileError {}

/// Random characters at the end of the name of a temporary file.
const TEMPORARY_RANDOM: usize = 6;

/// The name that stands for the standard input, and for the standard output.
pub const STANDARD: &str = "-";

/// Reads at most `max_bytes` of a file, and one more where there is more. `-` is the standard input.
pub fn read_file(path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    let most = max_bytes as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new(STANDARD) {
        io::stdin().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    /// All whom the umask does not keep out: what is written is for others.
    Everybody,
    /// Its owner alone.
    Owner,
}

/// Replaces the file, or makes it.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), FileError> {
    replace_all([(path, content)])
}

/// The same, readable by its owner alone.
pub fn replace_private(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let file = write_beside(path, content, Readers::Owner)?;
    file.persist(path).map_err(|error| FileError::Write { path: path.to_owned(), error: error.error })?;
    sync_directory_of(path)
}

/// Replaces the files of one directory, or makes them, in this order. All are written before the first is renamed, so
/// that a full disk changes nothing.
pub fn replace_all<'a>(files: impl IntoIterator<Item = (&'a Path, &'a [u8])>) -> Result<(), FileError> {
    let mut written = Vec::new();
    for (path, content) in files {
        written.push((write_beside(path, content, Readers::Everybody)?, path));
    }
    let last = written.last().map(|(_, path)| *path);
    for (file, path) in written {
        file.persist(path).map_err(|error| FileError::Write { path: path.to_owned(), error: error.error })?;
    }
    last.map_or(Ok(()), sync_directory_of)
}

/// Makes a file that is not there yet.
pub fn create(path: &Path, content: &[u8]) -> Result<(), FileError> {
    create_for(path, content, Readers::Everybody)
}

/// The same, readable by its owner alone.
pub fn create_private(path: &Path, content: &[u8]) -> Result<(), FileError> {
    create_for(path, content, Readers::Owner)
}

fn create_for(path: &Path, content: &[u8], readers: Readers) -> Result<(), FileError> {
    let renamed = write_beside(path, content, readers)?.persist_noclobber(path);
    renamed.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => FileError::Write { path: path.to_owned(), error: error.error },
    })?;
    sync_directory_of(path)
}

/// Makes a directory, and those above it, where it is not there yet.
pub fn create_directory(path: &Path) -> Result<(), FileError> {
    check_name(path)?;
    if path == Path::new(STANDARD) {
        return Err(FileError::StandardAsDirectory);
    }
    std::fs::create_dir_all(path).map_err(|error| FileError::Directory { path: path.to_owned(), error })
}

/// Keeps other runs of this program that ask for the same lock waiting, until it is dropped: for files that are read,
/// changed and replaced. Not every file system knows locks, and not every system opens a directory; without one, the
/// last of two such runs wins, and of several files it may be one's first and the other's second.
pub fn lock(directory: &Path) -> Option<File> {
    File::open(directory).and_then(|handle| handle.lock().map(|()| handle)).ok()
}

/// The same, unless another run has it.
pub fn try_lock(directory: &Path) -> Option<File> {
    File::open(directory).ok().filter(|handle| handle.try_lock().is_ok())
}

/// Opens a file whose lock keeps other runs waiting, and makes it, for its owner alone, where there is none. A symbolic link in
/// its place is not followed: the file would be made wherever somebody else wants it.
///
/// # Errors
/// Those of the system.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options.open(path).map_err(|error| {
        let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
        if is_link { io::Error::other("it is a symbolic link, which is not followed: remove it") } else { error }
    })
}

/// Removes the temporary files of this file, which a run that was killed leaves. Only while it is locked: another run may
/// be writing one.
pub fn remove_leftovers(path: &Path) -> Result<(), FileError> {
    let directory = directory_of(path);
    let failed = |error| FileError::Write { path: directory.to_owned(), error };
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_temporary(path.file_name().unwrap_or_default(), &entry.file_name()) {
            std::fs::remove_file(entry.path()).map_err(|error| FileError::Write { path: entry.path(), error })?;
        }
    }
    Ok(())
}

/// Whether a name is that of a temporary file of `of`, as `write_beside` makes them.
fn is_temporary(of: &OsStr, name: &OsStr) -> bool {
    let Some(random) = name.to_str().zip(of.to_str()).and_then(|(name, of)| {
        name.strip_prefix('.').and_then(|name| name.strip_prefix(of)).and_then(|name| name.strip_prefix('.'))
    }) else {
        return false;
    };
    random.len() == TEMPORARY_RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The directory that a file is in.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The file's name with `suffix` added.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(suffix);
    path.into()
}

/// Checks that what stands where the name of a file belongs is not a secret.
fn check_name(path: &Path) -> Result<(), FileError> {
    let name = path.to_string_lossy();
    if safe_text::is_key_or_invite(&name) { Err(FileError::SecretAsName) } else { Ok(()) }
}

fn write_beside(path: &Path, content: &[u8], readers: Readers) -> Result<NamedTempFile, FileError> {
    check_name(path)?;
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).rand_bytes(TEMPORARY_RANDOM);
    // Temporary files are private by default. (The umask still applies.)
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(match readers {
        Readers::Everybody => 0o666,
        Readers::Owner => 0o600,
    }));
    #[cfg(not(unix))]
    let _ = readers;
    builder
        .tempfile_in(directory_of(path))
        .and_then(|mut file| {
            file.write_all(content)?;
            file.as_file().sync_all()?;
            Ok(file)
        })
        .map_err(|error| FileError::Write { path: path.to_owned(), error })
}

/// The name is in the directory, which is synced like a file, on systems that can.
#[cfg(unix)]
fn sync_directory_of(path: &Path) -> Result<(), FileError> {
    let directory = directory_of(path);
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(|error| FileError::Write { path: directory.to_owned(), error })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on other systems")]
fn sync_directory_of(_path: &Path) -> Result<(), FileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for content in ["one", "two"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            assert_eq!(names(directory.path()), ["file"]);
        }
    }

    #[test]
    fn a_new_file_takes_nobodys_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        create(&path, b"precious").unwrap();
        let error = create(&path, b"new").unwrap_err();
        assert!(matches!(error, FileError::Exists { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn a_secret_is_not_the_name_of_a_file_nor_is_the_standard_output_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let key = "MC4CAQAwBQYDK2VwBCIEIB8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8f";
        for name in [key, &format!("-----BEGIN PRIVATE KEY-----\n{key}")] {
            let path = directory.path().join(name);
            for error in [
                replace(&path, b"").unwrap_err(),
                create(&path, b"").unwrap_err(),
                create_directory(&path).unwrap_err(),
            ] {
                assert!(matches!(error, FileError::SecretAsName) && !error.to_string().contains(key), "{error}");
            }
        }
        assert_eq!(names(directory.path()), [""; 0]);
        assert!(matches!(create_directory(Path::new("-")), Err(FileError::StandardAsDirectory)));
    }

    #[test]
    fn only_what_a_killed_run_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers.json");
        let killed = write_beside(&path, b"half", Readers::Everybody).unwrap().keep().unwrap().1;
        let others =
            ["peers.json", ".peers.json.sig.aBcD12", ".peers.json.1234567", ".peers.json.12-456", ".other.aBcD12"];
        for name in others {
            std::fs::write(directory.path().join(name), name).unwrap();
        }
        std::fs::create_dir(directory.path().join(".peers.json.aBcD13")).unwrap();
        remove_leftovers(&path).unwrap();
        assert!(!killed.exists());
        let mut left = names(directory.path());
        left.sort();
        let mut expected = [others.as_slice(), &[".peers.json.aBcD13"]].concat();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }

    #[test]
    fn a_name_without_a_directory_is_in_this_one() {
        assert_eq!(directory_of(Path::new("file")), Path::new("."));
        assert_eq!(directory_of(Path::new("a/file")), Path::new("a"));
        assert_eq!(with_suffix(Path::new("a/file.x"), ".sigs"), Path::new("a/file.x.sigs"));
    }

    #[test]
    fn a_file_is_read_up_to_the_byte_that_shows_it_is_too_long() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_file(&path, 5).unwrap(), b"12345");
        assert_eq!(read_file(&path, 3).unwrap(), b"1234");
    }
}
