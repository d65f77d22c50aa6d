//! The directory with a user's keys, mailbox, contacts and outbox: readable by its owner alone, changed by one run at a
//! time, each file replaced at once or not at all.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rendezvous_capsule::environment::{self, Environment};
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::files::{open_lock, read_file, replace_private};
use rendezvous_capsule::keys::{self, KeyFileError};
use rendezvous_capsule::log::Log;
use rendezvous_capsule::secret;
use rendezvous_protocol::key::{KeyError, PrivateKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::name::Name;

/// Bytes of a file of the store. The largest, a message in the outbox, has its sealed bytes and its content in base64.
const FILE_MAX_BYTES: usize = 4 * 1024 * 1024;

const OWNER_KEY: &str = "owner-key.pem";
const MAILBOX: &str = "mailbox.json";
const CONTACTS: &str = "contacts";
const OUTBOX: &str = "outbox";
const LOCK: &str = "lock";
const JSON: &str = ".json";

/// The store of those who name none.
const DEFAULT: &str = "default";

/// Says why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Nowhere to look for it.
    #[error(
        "there is no home directory to keep keys and mail in: name a directory with --store DIR, or set RENDEZVOUS_STORE"
    )]
    NoHome,
    /// Nothing there.
    #[error("there is no mailbox and no key in {}: `rendezvous mailbox open --relay URL` makes them", secret::path(.path))]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// No mailbox yet.
    #[error("no mailbox is open in this store: `rendezvous mailbox open --relay URL` opens one")]
    NoMailbox,
    /// No mailbox any more.
    #[error("the mailbox is closed: `rendezvous mailbox open` opens it again, under the same address")]
    MailboxClosed,
    /// Not made, opened or listed.
    #[error("{} cannot be used: {error}", secret::path(.path))]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others can look into it.
    #[error("others can look into {path}, where private keys are: chmod 700 {path}", path = secret::path(.path))]
    Open {
        /// The directory.
        path: PathBuf,
    },
    /// A file that this program did not write, or not so.
    #[error("{} is not what this program wrote, or a newer version's: {reason}", secret::path(.path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The system gave none.
    #[error("the system has no randomness to make a key of: {0}")]
    Randomness(getrandom::Error),
    /// The key has no text.
    #[error("the key cannot be encoded: {0}")]
    Key(KeyError),
}

impl Cause for StoreError {}

/// Returns random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(StoreError::Randomness)?;
    Ok(bytes)
}

/// The directory, which no other run changes meanwhile.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    lock: File,
}

/// Returns where the store is: the directory or the user-level name that was given, that of a variable, or the user's own.
pub(crate) fn directory(
    directory: Option<&Path>,
    user_level: Option<&Name>,
    environment: &Environment,
) -> Result<PathBuf, Failure> {
    if let Some(path) = directory {
        return Ok(path.to_owned());
    }
    if let Some(name) = user_level {
        return Ok(user_directory(name.as_str())?);
    }
    if let Some(path) = environment.value(environment::STORE).or_else(|| environment.value(environment::RETALK_STORE)) {
        return Ok(path.into());
    }
    let name = environment.parsed(environment::RETALK_USER, str::parse::<Name>)?;
    Ok(user_directory(name.as_ref().map_or(DEFAULT, Name::as_str))?)
}

/// Returns whether there is a contact of that name in a directory.
pub(crate) fn has_contact(directory: &Path, name: &Name) -> Result<bool, StoreError> {
    is_there(&directory.join(CONTACTS).join(format!("{name}{JSON}")))
}

/// Returns the directory of that name among the user's data.
fn user_directory(name: &str) -> Result<PathBuf, StoreError> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    Ok(data.ok_or(StoreError::NoHome)?.join("rendezvous").join(name))
}

impl Store {
    /// Returns whether there is one.
    pub(crate) fn is_in(directory: &Path) -> Result<bool, StoreError> {
        is_there(&directory.join(OWNER_KEY))
    }

    /// Opens the store.
    pub(crate) fn open(directory: PathBuf, log: &Log) -> Result<Self, StoreError> {
        if !Self::is_in(&directory)? {
            return Err(StoreError::Absent { path: directory });
        }
        Self::lock(directory, log)
    }

    /// Opens the store, and makes it where there is none. Returns whether there was none.
    pub(crate) fn open_or_make(
        directory: PathBuf,
        environment: &Environment,
        log: &Log,
    ) -> Result<(Self, bool), Failure> {
        make_directory(&directory)?;
        let store = Self::lock(directory, log)?;
        for name in [CONTACTS, OUTBOX] {
            make_directory(&store.directory.join(name))?;
        }
        let path = store.directory.join(OWNER_KEY);
        if is_there(&path)? {
            return Ok((store, false));
        }
        let pem = PrivateKey::from_seed(&random()?).to_pem().map_err(StoreError::Key)?;
        let passphrase = keys::new_passphrase(environment, false)?;
        let pem = passphrase.as_deref().map_or(Ok(pem.clone()), |passphrase| keys::encrypt(&pem, passphrase))?;
        keys::create(&path, &pem)?;
        Ok((store, true))
    }

    fn lock(directory: PathBuf, log: &Log) -> Result<Self, StoreError> {
        check_private(&directory)?;
        let path = directory.join(LOCK);
        let unusable = |error| StoreError::Unusable { path: path.clone(), error };
        let file = open_lock(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                log.note(format_args!("waiting for another run that uses {}", secret::path(&directory)));
                file.lock().map_err(unusable)?;
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        Ok(Self { directory, lock: file })
    }

    /// Lets other runs use the store while this one does nothing but wait. What was read before is out of date afterwards.
    pub(crate) fn unlocked<T>(&self, wait: impl FnOnce() -> T) -> Result<T, StoreError> {
        let unusable = |error| StoreError::Unusable { path: self.directory.join(LOCK), error };
        self.lock.unlock().map_err(unusable)?;
        let waited = wait();
        self.lock.lock().map_err(unusable)?;
        Ok(waited)
    }

    /// Returns its directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads the owner's key.
    pub(crate) fn owner_key(&self, environment: &Environment) -> Result<PrivateKey, KeyFileError> {
        keys::read_private_key(&self.directory.join(OWNER_KEY), environment)
    }

    /// Reads what is known of the own mailbox, if one was opened.
    pub(crate) fn mailbox<T: DeserializeOwned>(&self) -> Result<Option<T>, StoreError> {
        read(&self.directory.join(MAILBOX))
    }

    /// Writes it.
    pub(crate) fn set_mailbox(&self, mailbox: &impl Serialize) -> Result<(), Failure> {
        write(&self.directory.join(MAILBOX), mailbox)
    }

    fn contact_path(&self, name: &Name) -> PathBuf {
        self.directory.join(CONTACTS).join(format!("{name}{JSON}"))
    }

    /// Reads what is known of a contact.
    pub(crate) fn contact<T: DeserializeOwned>(&self, name: &Name) -> Result<Option<T>, StoreError> {
        read(&self.contact_path(name))
    }

    /// Writes it.
    pub(crate) fn set_contact(&self, name: &Name, contact: &impl Serialize) -> Result<(), Failure> {
        write(&self.contact_path(name), contact)
    }

    /// Forgets a contact.
    pub(crate) fn remove_contact(&self, name: &Name) -> Result<(), StoreError> {
        remove(&self.contact_path(name))
    }

    /// Returns the names of all contacts, sorted.
    pub(crate) fn contacts(&self) -> Result<Vec<Name>, StoreError> {
        let names = file_names(&self.directory.join(CONTACTS))?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(JSON)?.parse().ok()).collect())
    }

    /// Returns the names of the files in the outbox, sorted.
    pub(crate) fn outbox(&self) -> Result<Vec<String>, StoreError> {
        let names = file_names(&self.directory.join(OUTBOX))?;
        Ok(names.into_iter().filter(|name| name.ends_with(JSON) && !name.starts_with('.')).collect())
    }

    /// Reads a file of the outbox.
    pub(crate) fn outgoing<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, StoreError> {
        read(&self.directory.join(OUTBOX).join(file))
    }

    /// Writes it.
    pub(crate) fn set_outgoing(&self, file: &str, outgoing: &impl Serialize) -> Result<(), Failure> {
        write(&self.directory.join(OUTBOX).join(file), outgoing)
    }

    /// Removes it.
    pub(crate) fn remove_outgoing(&self, file: &str) -> Result<(), StoreError> {
        remove(&self.directory.join(OUTBOX).join(file))
    }
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| StoreError::Unusable { path: path.to_owned(), error })
}

#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    let unusable = |error| StoreError::Unusable { path: path.to_owned(), error };
    let mode = std::fs::metadata(path).map_err(unusable)?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { Err(StoreError::Open { path: path.to_owned() }) }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on other systems")]
fn check_private(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// Returns whether there is such a file. Where that cannot be told there may be one.
fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|error| StoreError::Unusable { path: path.to_owned(), error })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let content = |reason: String| StoreError::Content { path: path.to_owned(), reason };
    let bytes = match read_file(path, FILE_MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::Unusable { path: path.to_owned(), error }),
    };
    if bytes.len() > FILE_MAX_BYTES {
        return Err(content(format!("it is longer than {FILE_MAX_BYTES} bytes")));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| content(error.to_string()))
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| StoreError::Content { path: path.to_owned(), reason: error.to_string() })?;
    Ok(replace_private(path, &text)?)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Unusable { path: path.to_owned(), error })
        }
        _ => Ok(()),
    }
}

fn file_names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let unusable = |error| StoreError::Unusable { path: directory.to_owned(), error };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unusable)? {
        // One that is not Unicode is not this program's.
        names.extend(entry.map_err(unusable)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn opened(directory: &Path) -> Store {
        let environment = Environment::none();
        Store::open_or_make(directory.to_owned(), &environment, &Log::new(true)).unwrap().0
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn all_of_it_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/store");
        let store = opened(&path);
        store.set_mailbox(&"mailbox").unwrap();
        store.set_contact(&"bob".parse().unwrap(), &"contact").unwrap();
        store.set_outgoing("bob.1.json", &"message").unwrap();
        for name in ["", CONTACTS, OUTBOX] {
            assert_eq!(mode(&path.join(name)), 0o700, "{name}");
        }
        for name in [OWNER_KEY, MAILBOX, LOCK, "contacts/bob.json", "outbox/bob.1.json"] {
            assert_eq!(mode(&path.join(name)), 0o600, "{name}");
        }
        assert_eq!(store.mailbox().unwrap(), Some("mailbox".to_owned()));
        assert_eq!(store.contacts().unwrap(), ["bob".parse().unwrap()]);
        assert_eq!(store.outbox().unwrap(), ["bob.1.json"]);
        let key = store.owner_key(&Environment::none()).unwrap().public_key();
        drop(store);
        assert_eq!(opened(&path).owner_key(&Environment::none()).unwrap().public_key(), key);
    }

    #[test]
    fn one_that_others_can_look_into_is_refused_and_one_that_is_not_there_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let error = Store::open(path.clone(), &Log::new(true)).unwrap_err();
        assert!(matches!(error, StoreError::Absent { .. }) && !path.exists(), "{error}");
        drop(opened(&path));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
        let error = Store::open(path, &Log::new(true)).unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{error}");
    }

    #[test]
    fn what_is_there_and_cannot_be_read_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = opened(&directory.path().join("store"));
        assert_eq!(store.mailbox::<String>().unwrap(), None);
        std::fs::write(store.directory().join(MAILBOX), "{").unwrap();
        let error = store.mailbox::<String>().unwrap_err().to_string();
        assert!(error.contains(MAILBOX), "{error}");
    }

    #[test]
    fn a_key_that_cannot_be_looked_for_is_not_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        drop(opened(&path));
        let key = path.join(OWNER_KEY);
        std::fs::remove_file(&key).unwrap();
        std::os::unix::fs::symlink(&key, &key).unwrap();
        let error = Store::open(path.clone(), &Log::new(true)).unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
        let made = Store::open_or_make(path, &Environment::none(), &Log::new(true));
        assert!(made.unwrap_err().to_string().contains(OWNER_KEY));
    }
}
