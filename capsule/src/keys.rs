//! Keys in files.
//!
//! What is given as an argument stands in process lists and shell histories, so a private key never is: only the name of
//! its file. One that is given by mistake is refused, and not repeated in the error.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rendezvous_protocol::key::{KeyError, PrivateKey, PublicKey};

/// Bytes of a key file. PEM has about 120; the rest is room for comments that tools leave.
const KEY_FILE_MAX_BYTES: u64 = 16 * 1024;

/// What can be wrong with a key that is, or should be, in a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// The file cannot be read.
    #[error("the key file {} cannot be read: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file holds no such key.
    #[error("the key file {} holds something else: {error}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        error: KeyError,
    },
    /// There is something in the way of a new file.
    #[error(
        "{path} is there already, and a private key is never overwritten. Choose another file with --out, \
         or see its public key with `capsule keygen --public-of {path}`",
        path = .path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The new file cannot be written.
    #[error("the key file {} cannot be written: {error}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A private key where only a name or a public key belongs.
    #[error(
        "that is a private key itself, which others can see in process lists and in your shell's history: \
         make a new one. To use a key, give the name of its file, or set the variable for it that --help names"
    )]
    SecretAsArgument,
}

/// Reads a private key from its file.
pub(crate) fn read_private_key(path: &Path) -> Result<PrivateKey, KeyFileError> {
    refuse_secret(&path.to_string_lossy())?;
    let text = read(path)?;
    PrivateKey::from_text(&text).map_err(|error| KeyFileError::Content { path: path.to_owned(), error })
}

/// Takes a public key, or reads it from the file of that name.
pub(crate) fn public_key(text_or_path: &str) -> Result<PublicKey, KeyFileError> {
    refuse_secret(text_or_path)?;
    if let Ok(key) = PublicKey::from_text(text_or_path) {
        return Ok(key);
    }
    let path = Path::new(text_or_path);
    let text = match read(path) {
        // Nobody means a file by this name: the key is mistyped.
        Err(KeyFileError::Read { error, .. })
            if error.kind() == io::ErrorKind::NotFound && text_or_path.ends_with('=') =>
        {
            return Err(KeyFileError::Content { path: path.to_owned(), error: KeyError::PublicKey });
        }
        text => text?,
    };
    PublicKey::from_text(&text).map_err(|error| KeyFileError::Content { path: path.to_owned(), error })
}

/// Writes a private key to a new file that only its owner can read.
pub(crate) fn create(path: &Path, key_pem: &str) -> Result<(), KeyFileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Write { path: path.to_owned(), error },
    };
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(key_pem.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // A part of a key is of no use, and would be in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

fn refuse_secret(argument: &str) -> Result<(), KeyFileError> {
    match PrivateKey::from_text(argument) {
        Ok(_) => Err(KeyFileError::SecretAsArgument),
        Err(_) => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, KeyFileError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(KEY_FILE_MAX_BYTES).read_to_string(&mut text))
        .map_err(|error| KeyFileError::Read { path: path.to_owned(), error })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PrivateKey {
        PrivateKey::from_seed(&[7; 32])
    }

    #[test]
    fn a_new_key_file_is_its_owners_alone_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        create(&path, &key().to_pem().unwrap()).unwrap();
        assert_eq!(read_private_key(&path).unwrap().public_key(), key().public_key());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nothing_is_overwritten_not_even_through_a_link_to_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(create(&path, "new"), Err(KeyFileError::Exists { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        #[cfg(unix)]
        {
            let link = directory.path().join("link");
            std::os::unix::fs::symlink(directory.path().join("nowhere"), &link).unwrap();
            assert!(matches!(create(&link, "new"), Err(KeyFileError::Exists { .. })));
            assert!(!directory.path().join("nowhere").exists());
        }
    }

    #[test]
    fn a_private_key_is_no_argument() {
        let pem = key().to_pem().unwrap();
        let der = pem.lines().nth(1).unwrap();
        for secret in [pem.as_str(), der] {
            let errors = [read_private_key(Path::new(secret)).unwrap_err(), public_key(secret).unwrap_err()];
            for error in errors {
                assert!(matches!(error, KeyFileError::SecretAsArgument));
                assert!(!error.to_string().contains(der));
            }
        }
    }

    #[test]
    fn a_public_key_is_text_or_a_file_with_either_form() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pub");
        let text = key().public_key().to_string();
        std::fs::write(&path, format!("{text}\n")).unwrap();
        assert_eq!(public_key(&text).unwrap(), key().public_key());
        assert_eq!(public_key(path.to_str().unwrap()).unwrap(), key().public_key());
        let error = public_key(text.strip_prefix(char::is_alphanumeric).unwrap()).unwrap_err();
        assert!(matches!(error, KeyFileError::Content { .. }), "{error}");
        std::fs::write(&path, key().to_pem().unwrap()).unwrap();
        assert!(matches!(public_key(path.to_str().unwrap()), Err(KeyFileError::Content { .. })));
    }
}
