//! The relay's key: a file in libp2p's own form (protobuf), which other relays of libp2p's write, too.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use libp2p_identity::Keypair;

/// Bytes of a key's file. An Ed25519 key takes 68.
const KEY_MAX_BYTES: u64 = 4_096;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayKeyError {
    #[error("{path} cannot be read: {error}")]
    Unreadable { path: String, error: io::Error },
    #[error("{path} is not a private key of libp2p's, Ed25519 in protobuf; move it away for a new one")]
    NotAKey { path: String },
    #[error("{path} cannot be made: {error}")]
    NotMade { path: String, error: io::Error },
}

/// Reads the key, or makes one where the file is absent.
pub(super) fn open(path: &Path) -> Result<Keypair, RelayKeyError> {
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path).map_err(|error| RelayKeyError::NotMade { path: name(path), error })
        }
        Err(error) => Err(RelayKeyError::Unreadable { path: name(path), error }),
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn read(path: &Path, file: File) -> Result<Keypair, RelayKeyError> {
    let mut bytes = Vec::new();
    file.take(KEY_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| RelayKeyError::Unreadable { path: name(path), error })?;
    let not_a_key = || RelayKeyError::NotAKey { path: name(path) };
    if bytes.len() as u64 > KEY_MAX_BYTES {
        return Err(not_a_key());
    }
    // Without what the library says, which may have part of the file in it.
    Keypair::from_protobuf_encoding(&bytes).map_err(|_| not_a_key())
}

/// Makes a key for this user alone. The file is there whole or not at all, and never in the place of another.
fn make(path: &Path) -> io::Result<Keypair> {
    let key = Keypair::generate_ed25519();
    let bytes = key.to_protobuf_encoding().map_err(io::Error::other)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // Of a start that was killed.
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    linked?;
    File::open(folder)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("of/the/relay.key");
        let key = open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(directory.path().join("of").metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1);
        fs::write(directory.path().join("of/the/relay.key.new"), "half of one").unwrap();
        assert_eq!(open(&path).unwrap().public(), key.public());
        fs::remove_file(&path).unwrap();
        assert_ne!(open(&path).unwrap().public(), key.public());
    }

    #[test]
    fn the_form_is_that_of_other_relays() {
        let bytes: Vec<u8> = [8, 1, 18, 64].into_iter().chain(ed25519()).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        fs::write(&path, bytes).unwrap();
        let name = open(&path).unwrap().public().to_peer_id().to_string();
        assert!(name.starts_with("12D3KooW"), "{name}");
    }

    /// The seed of ones, and its public key.
    fn ed25519() -> Vec<u8> {
        let key = libp2p_identity::ed25519::SecretKey::try_from_bytes([1; 32]).unwrap();
        libp2p_identity::ed25519::Keypair::from(key).to_bytes().to_vec()
    }

    #[test]
    fn what_is_there_and_is_no_key_is_named_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        let long = vec![8; 5_000];
        for content in [&b""[..], b"-----BEGIN PRIVATE KEY-----\nMC4CAQAw", &[8, 1, 18, 64, 1, 1], &long] {
            fs::write(&path, content).unwrap();
            let error = open(&path).unwrap_err().to_string();
            assert!(error.contains("relay.key is not a private key") && !error.contains("MC4C"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        assert!(open(directory.path()).unwrap_err().to_string().contains("cannot be read"));
        assert!(open(&path.join("below")).unwrap_err().to_string().contains("relay.key/below cannot be read"));
        let link = directory.path().join("link");
        symlink(directory.path().join("nowhere"), &link).unwrap();
        assert!(open(&link).unwrap_err().to_string().contains("link cannot be made"));
        assert!(!directory.path().join("nowhere").exists());
    }
}
