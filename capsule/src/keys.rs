//! Keys in files.
//!
//! What is given as an argument stands in process lists and shell histories, so a private key never is: only the name of
//! its file. One that is given by mistake is refused, and not repeated in the error.
//!
//! A passphrase comes from a file (`--passphrase-file`), or is asked for where there is a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use pkcs8::der::pem::LineEnding;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};
use rendezvous_protocol::key::{KeyError, PrivateKey, PublicKey, encrypted_der};
use rendezvous_protocol::safe_text::{is_key_or_invite, is_secret, looks_like_key};

use crate::environment::{self, Environment};
use crate::failure::Cause;
use crate::files::read_file;
use crate::log::Log;
use crate::secret;
use crate::terminal::ask_passphrase;

/// Bytes of a key file. PEM has about 120; the rest is room for comments that tools leave.
const KEY_FILE_MAX_BYTES: usize = 16 * 1024;

/// Bytes of a file with a passphrase.
const PASSPHRASE_FILE_MAX_BYTES: u64 = 4 * 1024;

/// The label of an encrypted private key in PEM.
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// What can be wrong with a key that is, or should be, in a file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("the key file {} cannot be read: {error}", secret::path(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file holds no such key.
    #[error("the key file {} holds something else: {error}{}", secret::path(.path), advice(*.error, .path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        error: KeyError,
    },
    /// Neither a key nor a file. It is not repeated: it may be a private key.
    #[error("that is neither a public key nor the name of a file that is there: {error}")]
    NoPublicKey {
        /// What is wrong with it as a key.
        error: KeyError,
    },
    /// A variable that holds no such key.
    #[error("{name} is not a key: {error}{}", advice(*.error, Path::new("FILE")))]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it should hold.
        error: KeyError,
    },
    /// Nobody to ask for the passphrase.
    #[error(
        "{what} is encrypted, and there is no terminal to ask for its passphrase: put that into a file that only you \
         can read, and name it with --passphrase-file FILE, or set RENDEZVOUS_PASSPHRASE_FILE to its name"
    )]
    NoPassphrase {
        /// The file, or the variable.
        what: String,
    },
    /// The file with the passphrase cannot be read.
    #[error("the file {} with the passphrase cannot be read: {error}", secret::path(.path))]
    PassphraseFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The terminal did not give one.
    #[error("the passphrase cannot be read from the terminal: {0}")]
    Terminal(io::Error),
    /// Two that should be one.
    #[error("the two passphrases differ: no key is made")]
    PassphrasesDiffer,
    /// Another passphrase, or another encryption.
    #[error(
        "{what} cannot be decrypted: the passphrase is wrong, or it is encrypted in a way that is not supported (PBES2 \
         with AES is: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW)"
    )]
    Decryption {
        /// The file, or the variable.
        what: String,
    },
    /// The library refuses to encrypt.
    #[error("the key cannot be encrypted: {0}")]
    Encryption(pkcs8::Error),
    /// There is something in the way of a new file.
    #[error(
        "{path} is there already, and a private key is never overwritten. Choose another file with --out, \
         or see its public key with `capsule keygen --public-of {path}`",
        path = secret::path(.path)
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The new file cannot be written.
    #[error("the key file {} cannot be written: {error}", secret::path(.path))]
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

impl Cause for KeyFileError {}

/// The command that helps, for each thing that a file with a private key may hold instead, or that with a public one.
fn advice(error: KeyError, path: &Path) -> String {
    let path = secret::path(path);
    match error {
        KeyError::Public => {
            ". This one may be given to anybody. Name the file with its private half, which is the one whose \
                             public half is the same: capsule keygen --public-of FILE"
                .to_owned()
        }
        KeyError::Private => format!(". Print its public half with: capsule keygen --public-of {path}"),
        KeyError::Bare | KeyError::OtherAlgorithm { .. } | KeyError::OtherPem => {
            ". Make one with: capsule keygen --out FILE (or openssl genpkey -algorithm ed25519 -out FILE)".to_owned()
        }
        KeyError::OpenSsh => format!(
            ". Convert a copy of it with: ssh-keygen -p -m PKCS8 -f COPY (OpenSSH 9.6 or later), or make a new one with: \
             capsule keygen --out FILE; {path} stays as it is"
        ),
        KeyError::Several => ". Leave one of them in it".to_owned(),
        KeyError::CutOff => ". Copy it again, to its last line".to_owned(),
        KeyError::Encrypted | KeyError::Empty | KeyError::OtherBase64 | KeyError::PublicKey | KeyError::PrivateKey => {
            String::new()
        }
    }
}

/// Reads a private key from its file.
pub fn read_private_key(path: &Path, environment: &Environment) -> Result<PrivateKey, KeyFileError> {
    let name = path.to_string_lossy();
    if is_secret(&name) {
        return Err(KeyFileError::SecretAsArgument);
    }
    let text = match read(path) {
        Err(KeyFileError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound && looks_like_key(&name) => {
            return Err(KeyFileError::SecretAsArgument);
        }
        text => text?,
    };
    let key = private_key(&text, &format!("the key file {}", secret::path(path)), environment)?;
    warn_of_others(path);
    key.map_err(|error| KeyFileError::Content { path: path.to_owned(), error })
}

/// Reads a private key from a variable.
pub fn private_key_in_variable(
    name: &'static str,
    environment: &Environment,
) -> Result<Option<PrivateKey>, KeyFileError> {
    let Some(text) = environment.value(name) else { return Ok(None) };
    let key = private_key(text, name, environment)?;
    key.map(Some).map_err(|error| KeyFileError::Variable { name, error })
}

fn private_key(
    text: &str,
    what: &str,
    environment: &Environment,
) -> Result<Result<PrivateKey, KeyError>, KeyFileError> {
    match (PrivateKey::from_text(text), encrypted_der(text)) {
        (Err(KeyError::Encrypted), Some(der)) => {
            let failed = || KeyFileError::Decryption { what: what.to_owned() };
            let encrypted = EncryptedPrivateKeyInfoRef::try_from(der.as_slice()).map_err(|_| failed())?;
            let passphrase = match passphrase_in_file(environment, environment::PASSPHRASE_FILE)? {
                Some(passphrase) => passphrase,
                None if io::stdin().is_terminal() => {
                    ask_passphrase(&format!("Passphrase of {what}: ")).map_err(KeyFileError::Terminal)?
                }
                None => return Err(KeyFileError::NoPassphrase { what: what.to_owned() }),
            };
            let plain = encrypted.decrypt(passphrase).map_err(|_| failed())?;
            Ok(PrivateKey::from_der(plain.as_bytes()))
        }
        (key, _) => Ok(key),
    }
}

/// The first line of the file with the passphrase, where the variable names one.
pub fn passphrase_in_file(environment: &Environment, variable: &str) -> Result<Option<String>, KeyFileError> {
    let Some(path) = environment.value(variable).map(PathBuf::from) else { return Ok(None) };
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(PASSPHRASE_FILE_MAX_BYTES).read_to_string(&mut text))
        .map_err(|error| KeyFileError::PassphraseFile { path: path.clone(), error })?;
    warn_of_others(&path);
    Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
}

/// The passphrase for a new key: from a file, or, where it is `offered`, from whoever sits at the terminal.
pub fn new_passphrase(environment: &Environment, offered: bool) -> Result<Option<String>, KeyFileError> {
    if let Some(passphrase) = passphrase_in_file(environment, environment::PASSPHRASE_FILE)? {
        return Ok(Some(passphrase));
    }
    if !offered || !io::stdin().is_terminal() {
        return Ok(None);
    }
    let ask = |prompt: &str| ask_passphrase(prompt).map_err(KeyFileError::Terminal);
    let passphrase = ask("Passphrase for the new key (none, if you press Enter): ")?;
    if passphrase.is_empty() {
        return Ok(None);
    }
    if ask("The same again: ")? == passphrase { Ok(Some(passphrase)) } else { Err(KeyFileError::PassphrasesDiffer) }
}

/// The PEM of a private key, encrypted with scrypt and AES-256, which openssl reads.
pub fn encrypt(key_pem: &str, passphrase: &str) -> Result<String, KeyFileError> {
    let (_, plain) = SecretDocument::from_pem(key_pem).map_err(|error| KeyFileError::Encryption(error.into()))?;
    let plain = PrivateKeyInfoRef::try_from(plain.as_bytes()).map_err(KeyFileError::Encryption)?;
    let encrypted = plain.encrypt(passphrase).map_err(KeyFileError::Encryption)?;
    let pem = encrypted.to_pem(ENCRYPTED_LABEL, LineEnding::LF);
    Ok(pem.map_err(|error| KeyFileError::Encryption(error.into()))?.as_str().to_owned())
}

/// Takes a public key, or reads it from the file of that name.
pub fn public_key(text_or_path: &str) -> Result<PublicKey, KeyFileError> {
    let error = match PublicKey::from_text(text_or_path) {
        Ok(key) => return Ok(key),
        Err(_) if is_secret(text_or_path) => return Err(KeyFileError::SecretAsArgument),
        Err(error) => error,
    };
    let path = Path::new(text_or_path);
    let text = match read(path) {
        Err(KeyFileError::Read { error: not_read, .. })
            if not_read.kind() == io::ErrorKind::NotFound && !is_meant_as_a_file(text_or_path) =>
        {
            return Err(KeyFileError::NoPublicKey { error });
        }
        text => text?,
    };
    PublicKey::from_text(&text).map_err(|error| KeyFileError::Content { path: path.to_owned(), error })
}

/// Whether a text has something that names of files have and keys have not, such as a dot. The rest may as well be a key
/// that is mistyped.
fn is_meant_as_a_file(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    !text.trim().is_empty() && !bare.bytes().all(is_base64)
}

/// Says that others can read a file which only its owner should.
fn warn_of_others(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        const READ_BY_OTHERS: u32 = 0o044;
        // Only of a file: what is behind /dev/fd, say, has no mode of its own.
        let is_open = |file: std::fs::Metadata| file.is_file() && file.mode() & READ_BY_OTHERS != 0;
        if std::fs::metadata(path).is_ok_and(is_open) {
            let path = secret::path(path);
            Log::new(false).note(format_args!("warning: others can read the secret in {path}: chmod 600 {path}"));
        }
    }
    #[cfg(not(unix))]
    let _ = (path, Log::new(false));
}

/// Writes a private key to a new file that only its owner can read.
pub fn create(path: &Path, key_pem: &str) -> Result<(), KeyFileError> {
    if is_key_or_invite(&path.to_string_lossy()) {
        return Err(KeyFileError::SecretAsArgument);
    }
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

fn read(path: &Path) -> Result<String, KeyFileError> {
    let failed = |error| KeyFileError::Read { path: path.to_owned(), error };
    let bytes = read_file(path, KEY_FILE_MAX_BYTES).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| failed(io::Error::other("it is not text")))
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
        assert_eq!(read_private_key(&path, &Environment::from([])).unwrap().public_key(), key().public_key());
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
            let errors = [
                read_private_key(Path::new(secret), &Environment::from([])).unwrap_err(),
                public_key(secret).unwrap_err(),
            ];
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
        assert!(matches!(error, KeyFileError::NoPublicKey { .. }), "{error}");
        std::fs::write(&path, key().to_pem().unwrap()).unwrap();
        assert!(matches!(public_key(path.to_str().unwrap()), Err(KeyFileError::Content { .. })));
    }

    #[test]
    fn an_encrypted_key_is_read_with_its_passphrase_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            create(&path, text).unwrap();
            path
        };
        let path = file("key.pem", &encrypt(&key().to_pem().unwrap(), "swordfish").unwrap());
        let read = |passphrase: &Path| {
            read_private_key(&path, &Environment::from([(environment::PASSPHRASE_FILE, passphrase.to_str().unwrap())]))
        };
        assert_eq!(read(&file("right", "swordfish\n")).unwrap().public_key(), key().public_key());
        assert!(matches!(read(&file("wrong", "tunafish\n")), Err(KeyFileError::Decryption { .. })));
        assert!(matches!(read(&directory.path().join("none")), Err(KeyFileError::PassphraseFile { .. })));
    }

    #[test]
    fn what_is_mistyped_is_told_from_the_name_of_a_file() {
        let text = key().public_key().to_string();
        for mistyped in [
            "",
            " ",
            text.trim_end_matches('='),
            &text.replace('+', "-"),
            text.get(..40).unwrap(),
            text.get(..20).unwrap(),
        ] {
            let error = public_key(mistyped).unwrap_err();
            assert!(matches!(error, KeyFileError::NoPublicKey { .. }), "{mistyped:?}: {error}");
        }
        for name in ["nowhere.pub", "no where", "/a/long/path/to/some/file/that/is/nowhere.pub"] {
            let error = public_key(name).unwrap_err();
            assert!(matches!(error, KeyFileError::Read { .. }), "{name}: {error}");
        }
    }
}
