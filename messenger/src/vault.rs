//! One file of SQLite in which every value is sealed: XChaCha20-Poly1305, under a key that Argon2id makes of a passphrase.
//!
//! A record has a kind, a name, perhaps a peer, and a place among those of its kind. Name and peer are in the file as keyed
//! hashes; all four are associated data of the seal, so that no record can be put in another's place. Whoever has the file
//! sees how many records of each kind there are, their sizes and their order. Whoever can write the file can bring back an
//! older copy of it, or of a record, unseen: a store must never be copied back from a backup while it is in use, because Olm
//! would encrypt with keys that it has used.
//!
//! Every change is one transaction, begun with the right to write, so that two programs on one file never decide on the same
//! state. There is no write-ahead log: a store is one file, and a transaction that returned is on the disk.

use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use rendezvous_capsule::failure::Cause;
use rendezvous_capsule::files::{FileError, create_private};
use rendezvous_capsule::secret;
use rendezvous_protocol::mailbox::bytes::sha256;
use rendezvous_protocol::retalk::user::UserId;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// Marks the file as this program's: "RNDV".
const APPLICATION_ID: i64 = 0x524E_4456;

/// The layout of the tables and records.
const LAYOUT: i64 = 1;

/// How long another program may hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// KiB of memory that a file may ask for to make its key: 256 MiB, four times as much as this version does. Whoever can write
/// the file makes every command take so much before the passphrase is tried.
const MEMORY_MAX_KIB: u32 = 256 * 1024;

/// Passes that a file may ask for to make its key: four times as many as this version does.
const PASSES_MAX: u32 = 12;

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;

/// What a header seals, which opens under the right passphrase alone.
const PROOF: &[u8] = b"rendezvous-messenger";

const TABLES: &str = "
    CREATE TABLE header(
        id INTEGER PRIMARY KEY CHECK (id = 1), memory_kib INTEGER NOT NULL, passes INTEGER NOT NULL,
        salt BLOB NOT NULL, proof BLOB NOT NULL
    ) STRICT;
    CREATE TABLE record(
        kind TEXT NOT NULL, name BLOB NOT NULL, peer BLOB NOT NULL, place INTEGER NOT NULL, sealed BLOB NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX record_by_place ON record(kind, peer, place);
";

/// Says how a passphrase becomes a key. It stands in the file, so that another default leaves older files as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDerivation {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for KeyDerivation {
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3 }
    }
}

/// Says why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No such file.
    #[error("there is no identity in {}", secret::path(.path))]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// A file is there already.
    #[error("{} is there already, and is not overwritten", secret::path(.path))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not made, opened, read or written.
    #[error("{} cannot be used: {reason}", secret::path(.path))]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Others can look into the directory.
    #[error("others can look into {path}, where private keys are: chmod 700 {path}", path = secret::path(.path))]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
    },
    /// A file of 0 bytes.
    #[error("{} is empty: the keys that were in it are lost, unless there is a copy", secret::path(.path))]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Another program's file.
    #[error("{} is another program's file", secret::path(.path))]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file of a newer version.
    #[error("{} is a newer version's (layout {layout}, and this program knows {LAYOUT}): use that", secret::path(.path))]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        layout: i64,
    },
    /// A file that is torn, or was changed by another program.
    #[error("{} is damaged: {reason}", secret::path(.path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Another passphrase than the one the file was made with.
    #[error("this is not the passphrase of {}", secret::path(.path))]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// Another program holds the file.
    #[error("another program holds {}, for more than {} s", secret::path(.path), BUSY_TIMEOUT.as_secs())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A key cannot be made with these costs.
    #[error("no key can be made of the passphrase: {reason}")]
    Derivation {
        /// Why.
        reason: String,
    },
    /// The system gave no randomness.
    #[error("the system has no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl Cause for VaultError {}

/// Returns random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(VaultError::Randomness)?;
    Ok(bytes)
}

/// Is something that is kept.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// Names all records of this type.
    const KIND: &'static str;

    /// Names the record among those of its kind.
    fn name(&self) -> String;

    /// Returns the peer to whom the record belongs, if it belongs to one.
    fn peer(&self) -> Option<UserId>;

    /// Returns where the record stands among those of its kind.
    fn place(&self) -> u64;
}

/// Seals and opens values, and hashes what is looked up.
struct Keys {
    cipher: XChaCha20Poly1305,
    lookup: Zeroizing<[u8; 32]>,
}

impl Keys {
    fn derive(passphrase: &str, salt: &[u8], derivation: KeyDerivation) -> Result<Self, VaultError> {
        let KeyDerivation { memory_kib, passes } = derivation;
        if memory_kib > MEMORY_MAX_KIB || passes > PASSES_MAX {
            return Err(VaultError::Derivation {
                reason: format!(
                    "it would take {memory_kib} KiB of memory and {passes} passes, and {MEMORY_MAX_KIB} KiB and {PASSES_MAX} \
                     passes are the most"
                ),
            });
        }
        let failed = |error: argon2::Error| VaultError::Derivation { reason: error.to_string() };
        let mut bytes = Zeroizing::new([0; 64]);
        let costs = Params::new(derivation.memory_kib, derivation.passes, 1, Some(bytes.len())).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, costs);
        argon2.hash_password_into(passphrase.as_bytes(), salt, bytes.as_mut_slice()).map_err(failed)?;
        let mut lookup = Zeroizing::new([0; 32]);
        let (key, rest) = bytes.split_at(32);
        lookup.copy_from_slice(rest);
        let key = Key::try_from(key).map_err(|error| VaultError::Derivation { reason: error.to_string() })?;
        Ok(Self { cipher: XChaCha20Poly1305::new(&key), lookup })
    }

    /// Returns what stands for a name or a peer in the file.
    fn hash(&self, kind: &str, what: &str, text: &str) -> [u8; 32] {
        sha256(&[self.lookup.as_slice(), kind.as_bytes(), b"\0", what.as_bytes(), b"\0", text.as_bytes()])
    }

    fn seal(&self, aad: &[u8], value: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce = random::<NONCE_BYTES>()?;
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), Payload { msg: value, aad });
        let sealed = sealed.map_err(|error| VaultError::Derivation { reason: error.to_string() })?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        self.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad }).ok().map(Zeroizing::new)
    }
}

/// Returns the associated data of the header.
fn header_aad(salt: &[u8], derivation: KeyDerivation) -> Vec<u8> {
    [
        &LAYOUT.to_le_bytes(),
        derivation.memory_kib.to_le_bytes().as_slice(),
        derivation.passes.to_le_bytes().as_slice(),
        salt,
    ]
    .concat()
}

/// Is the open file.
pub(crate) struct Vault {
    connection: Connection,
    keys: Keys,
    path: PathBuf,
    /// How many more transactions are committed before all fail, as after a crash.
    #[cfg(test)]
    pub(crate) commits_left: Option<u32>,
}

impl Vault {
    /// Makes the file, and the directory where it is not there, readable by their owner alone. `first` is in it from the
    /// beginning: there is never a file without.
    pub(crate) fn create<E: From<VaultError>>(
        directory: &Path,
        file: &str,
        passphrase: &str,
        derivation: KeyDerivation,
        first: impl FnOnce(&Rows<'_>) -> Result<(), E>,
    ) -> Result<Self, E> {
        make_directory(directory)?;
        let path = directory.join(file);
        if is_there(&path)? {
            return Err(VaultError::Exists { path }.into());
        }
        let salt = random::<SALT_BYTES>()?;
        let keys = Keys::derive(passphrase, &salt, derivation)?;
        let proof = keys.seal(&header_aad(&salt, derivation), PROOF)?;
        let failed = |error| explain(&path, &error);
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        connection.execute_batch(TABLES).map_err(failed)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        connection.pragma_update(None, "user_version", LAYOUT).map_err(failed)?;
        connection
            .execute(
                "INSERT INTO header(id, memory_kib, passes, salt, proof) VALUES(1, ?, ?, ?, ?)",
                params![derivation.memory_kib, derivation.passes, salt, proof],
            )
            .map_err(failed)?;
        {
            let transaction = connection.transaction().map_err(failed)?;
            let rows = Rows { transaction, keys: &keys, path: &path };
            first(&rows)?;
            rows.transaction.commit().map_err(failed)?;
        }
        let bytes = connection.serialize("main").map_err(failed)?;
        create_private(&path, &bytes).map_err(|error| match error {
            FileError::Exists { path } => VaultError::Exists { path },
            other => VaultError::Unusable { path: path.clone(), reason: other.to_string() },
        })?;
        Ok(Self::open(directory, file, passphrase)?)
    }

    /// Opens the file.
    pub(crate) fn open(directory: &Path, file: &str, passphrase: &str) -> Result<Self, VaultError> {
        let path = directory.join(file);
        let unusable = |error: io::Error| VaultError::Unusable { path: path.clone(), reason: error.to_string() };
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() == 0 => return Err(VaultError::Empty { path }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(VaultError::Absent { path: directory.to_owned() });
            }
            Err(error) => return Err(unusable(error)),
        }
        check_private(directory)?;
        let failed = |error| explain(&path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        // First who wrote it: nothing of another program's file is changed.
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
        if pragma("application_id")? != APPLICATION_ID {
            return Err(VaultError::Foreign { path });
        }
        match pragma("user_version")? {
            LAYOUT => {}
            layout => return Err(VaultError::Newer { path, layout }),
        }
        // EXTRA: a commit is the removal of the journal, which has to be on the disk too. A ratchet that a power cut turned
        // back would encrypt with a key that it has used.
        connection.pragma_update(None, "synchronous", "EXTRA").map_err(failed)?;
        // What is deleted, keys that were used among it, is overwritten.
        connection.pragma_update(None, "secure_delete", "ON").map_err(failed)?;
        let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if check != "ok" {
            return Err(VaultError::Damaged { path, reason: check });
        }
        let keys = unlock(&connection, &path, passphrase)?;
        Ok(Self {
            connection,
            keys,
            path,
            #[cfg(test)]
            commits_left: None,
        })
    }

    /// Reads, in one transaction.
    pub(crate) fn read<T, E: From<VaultError>>(&self, act: impl FnOnce(&Rows<'_>) -> Result<T, E>) -> Result<T, E> {
        let transaction = self.connection.unchecked_transaction().map_err(|error| explain(&self.path, &error))?;
        act(&Rows { transaction, keys: &self.keys, path: &self.path })
    }

    /// Reads and writes, in one transaction. Where `act` fails nothing is written.
    pub(crate) fn change<T, E: From<VaultError>>(
        &mut self,
        act: impl FnOnce(&Rows<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        #[cfg(test)]
        match &mut self.commits_left {
            Some(0) => return Err(VaultError::Damaged { path: self.path.clone(), reason: "crash".to_owned() }.into()),
            Some(left) => *left -= 1,
            None => {}
        }
        let failed = |error| explain(&self.path, &error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let rows = Rows { transaction, keys: &self.keys, path: &self.path };
        let done = act(&rows)?;
        rows.transaction.commit().map_err(failed)?;
        Ok(done)
    }

    /// Returns the directory of the file.
    pub(crate) fn directory(&self) -> &Path {
        rendezvous_capsule::files::directory_of(&self.path)
    }
}

fn unlock(connection: &Connection, path: &Path, passphrase: &str) -> Result<Keys, VaultError> {
    let header = "SELECT memory_kib, passes, salt, proof FROM header WHERE id = 1";
    let header = connection
        .query_row(header, [], |row| {
            let derivation = KeyDerivation { memory_kib: row.get(0)?, passes: row.get(1)? };
            Ok((derivation, row.get::<_, Vec<u8>>(2)?, row.get::<_, Vec<u8>>(3)?))
        })
        .optional();
    let damaged = |reason: &str| VaultError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let header = header.map_err(|error| explain(path, &error))?;
    let (derivation, salt, proof) = header.ok_or_else(|| damaged("it has no header"))?;
    if salt.len() != SALT_BYTES {
        return Err(damaged("its header has no salt"));
    }
    let keys = Keys::derive(passphrase, &salt, derivation)?;
    let opened = keys.open(&header_aad(&salt, derivation), &proof);
    if opened.is_some_and(|proof| proof.as_slice() == PROOF) {
        Ok(keys)
    } else {
        Err(VaultError::WrongPassphrase { path: path.to_owned() })
    }
}

fn explain(path: &Path, error: &rusqlite::Error) -> VaultError {
    let (path, reason) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => VaultError::Foreign { path },
        Some(ErrorCode::DatabaseCorrupt) => VaultError::Damaged { path, reason },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => VaultError::Busy { path },
        Some(_) => VaultError::Unusable { path, reason },
        // Of another type, or not there, although the file is this program's.
        None => VaultError::Damaged { path, reason },
    }
}

/// Returns whether there is such a file. Where that cannot be told there may be one.
pub(crate) fn is_there(path: &Path) -> Result<bool, VaultError> {
    path.try_exists().map_err(|error| VaultError::Unusable { path: path.to_owned(), reason: error.to_string() })
}

fn make_directory(path: &Path) -> Result<(), VaultError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| VaultError::Unusable { path: path.to_owned(), reason: error.to_string() })?;
    check_private(path)
}

#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), VaultError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(path)
        .map_err(|error| VaultError::Unusable { path: path.to_owned(), reason: error.to_string() })?;
    let is_private = metadata.permissions().mode() & 0o077 == 0;
    if is_private { Ok(()) } else { Err(VaultError::OpenToOthers { path: path.to_owned() }) }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on other systems")]
fn check_private(_path: &Path) -> Result<(), VaultError> {
    Ok(())
}

/// Is one transaction.
pub(crate) struct Rows<'a> {
    transaction: Transaction<'a>,
    keys: &'a Keys,
    path: &'a Path,
}

/// Is where a record stands, as the file has it.
struct Slot {
    kind: &'static str,
    name: [u8; 32],
    peer: [u8; 32],
    place: i64,
}

impl Slot {
    fn aad(&self) -> Vec<u8> {
        [self.kind.as_bytes(), b"\0", &self.name, &self.peer, &self.place.to_le_bytes()].concat()
    }
}

impl Rows<'_> {
    fn name_hash<R: Record>(&self, name: &str) -> [u8; 32] {
        self.keys.hash(R::KIND, "name", name)
    }

    fn peer_hash<R: Record>(&self, peer: Option<UserId>) -> [u8; 32] {
        self.keys.hash(R::KIND, "peer", &peer.map(|peer| peer.to_string()).unwrap_or_default())
    }

    fn slot<R: Record>(&self, record: &R) -> Slot {
        Slot {
            kind: R::KIND,
            name: self.name_hash::<R>(&record.name()),
            peer: self.peer_hash::<R>(record.peer()),
            place: record.place().cast_signed(),
        }
    }

    fn failed(&self, error: &rusqlite::Error) -> VaultError {
        explain(self.path, error)
    }

    fn open<R: Record>(&self, row: &rusqlite::Row<'_>) -> Result<R, VaultError> {
        let read = || -> rusqlite::Result<(Slot, Vec<u8>)> {
            let slot = Slot { kind: R::KIND, name: row.get(0)?, peer: row.get(1)?, place: row.get(2)? };
            Ok((slot, row.get(3)?))
        };
        let (slot, sealed) = read().map_err(|error| self.failed(&error))?;
        let damaged = |reason: String| VaultError::Damaged { path: self.path.to_owned(), reason };
        let value = self.keys.open(&slot.aad(), &sealed);
        let value = value.ok_or_else(|| damaged(format!("a record of the kind {} was changed", R::KIND)))?;
        serde_json::from_slice(&value)
            .map_err(|error| damaged(format!("a record of the kind {} cannot be read: {error}", R::KIND)))
    }

    fn select<R: Record>(&self, rest: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<R>, VaultError> {
        let failed = |error| self.failed(&error);
        let text = format!("SELECT name, peer, place, sealed FROM record WHERE kind = ?1 {rest}");
        let mut statement = self.transaction.prepare(&text).map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut records = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            records.push(self.open(row)?);
        }
        Ok(records)
    }

    /// Returns the record of this name.
    pub(crate) fn get<R: Record>(&self, name: &str) -> Result<Option<R>, VaultError> {
        let found = self.select("AND name = ?2", &[&R::KIND, &self.name_hash::<R>(name)])?;
        Ok(found.into_iter().next())
    }

    /// Returns whether there is a record of this name.
    pub(crate) fn has<R: Record>(&self, name: &str) -> Result<bool, VaultError> {
        Ok(self.get::<R>(name)?.is_some())
    }

    /// Returns all records of the kind, in their places.
    pub(crate) fn all<R: Record>(&self) -> Result<Vec<R>, VaultError> {
        self.select("ORDER BY place, name", &[&R::KIND])
    }

    /// Returns the records of the kind that belong to a peer, in their places.
    pub(crate) fn of_peer<R: Record>(&self, peer: UserId) -> Result<Vec<R>, VaultError> {
        self.select("AND peer = ?2 ORDER BY place, name", &[&R::KIND, &self.peer_hash::<R>(Some(peer))])
    }

    /// Returns the first record of the kind in a place after this one.
    pub(crate) fn after<R: Record>(&self, place: u64) -> Result<Option<R>, VaultError> {
        let found = self.select("AND place > ?2 ORDER BY place LIMIT 1", &[&R::KIND, &place.cast_signed()])?;
        Ok(found.into_iter().next())
    }

    /// Writes a record, in the place of one of its name.
    pub(crate) fn put<R: Record>(&self, record: &R) -> Result<(), VaultError> {
        let slot = self.slot(record);
        let value = serde_json::to_vec(record).map(Zeroizing::new).map_err(|error| VaultError::Damaged {
            path: self.path.to_owned(),
            reason: format!("a record of the kind {} cannot be written: {error}", R::KIND),
        })?;
        let sealed = self.keys.seal(&slot.aad(), &value)?;
        self.transaction
            .execute(
                "INSERT OR REPLACE INTO record(kind, name, peer, place, sealed) VALUES(?, ?, ?, ?, ?)",
                params![slot.kind, slot.name, slot.peer, slot.place, sealed],
            )
            .map_err(|error| self.failed(&error))?;
        Ok(())
    }

    /// Removes the record of this name. Returns whether there was one.
    pub(crate) fn remove<R: Record>(&self, name: &str) -> Result<bool, VaultError> {
        let removed = self
            .transaction
            .execute("DELETE FROM record WHERE kind = ? AND name = ?", params![R::KIND, self.name_hash::<R>(name)])
            .map_err(|error| self.failed(&error))?;
        Ok(removed > 0)
    }

    /// Removes the records of the kind that have the lowest places, until at most so many are left.
    pub(crate) fn keep_last<R: Record>(&self, most: usize) -> Result<(), VaultError> {
        let excess = self.count::<R>()?.saturating_sub(most);
        if excess > 0 {
            self.transaction
                .execute(
                    "DELETE FROM record WHERE kind = ?1 AND name IN
                     (SELECT name FROM record WHERE kind = ?1 ORDER BY place, name LIMIT ?2)",
                    params![R::KIND, i64::try_from(excess).unwrap_or(i64::MAX)],
                )
                .map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Counts the records of the kind.
    pub(crate) fn count<R: Record>(&self) -> Result<usize, VaultError> {
        let count: i64 = self
            .transaction
            .query_row("SELECT count(*) FROM record WHERE kind = ?", [R::KIND], |row| row.get(0))
            .map_err(|error| self.failed(&error))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Returns the places of all records of the kind, ascending.
    pub(crate) fn places<R: Record>(&self) -> Result<Vec<u64>, VaultError> {
        let failed = |error| self.failed(&error);
        let text = "SELECT place FROM record WHERE kind = ? ORDER BY place";
        let mut statement = self.transaction.prepare(text).map_err(failed)?;
        let places = statement.query_map([R::KIND], |row| row.get::<_, i64>(0)).map_err(failed)?;
        places.map(|place| place.map(i64::cast_unsigned).map_err(failed)).collect()
    }

    /// Returns the place behind the last of the kind.
    pub(crate) fn next_place<R: Record>(&self) -> Result<u64, VaultError> {
        let last: Option<i64> = self
            .transaction
            .query_row("SELECT max(place) FROM record WHERE kind = ?", [R::KIND], |row| row.get(0))
            .map_err(|error| self.failed(&error))?;
        Ok(last.map_or(1, |last| last.cast_unsigned().saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde::Deserialize;
    use tempfile::TempDir;

    use super::*;

    const FILE: &str = "vault.db";
    const CHEAP: KeyDerivation = KeyDerivation { memory_kib: 8, passes: 1 };

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Note {
        name: String,
        place: u64,
        text: String,
    }

    impl Record for Note {
        const KIND: &'static str = "note";

        fn name(&self) -> String {
            self.name.clone()
        }

        fn peer(&self) -> Option<UserId> {
            None
        }

        fn place(&self) -> u64 {
            self.place
        }
    }

    fn note(name: &str, place: u64) -> Note {
        Note { name: name.to_owned(), place, text: format!("the text of {name}") }
    }

    fn made() -> (TempDir, PathBuf, Vault) {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("store");
        let first = |rows: &Rows<'_>| rows.put(&note("first", 1));
        let vault = Vault::create::<VaultError>(&directory, FILE, "secret", CHEAP, first).unwrap();
        (temporary, directory, vault)
    }

    fn open(directory: &Path) -> Result<Vault, VaultError> {
        Vault::open(directory, FILE, "secret")
    }

    fn notes(vault: &Vault) -> Result<Vec<Note>, VaultError> {
        vault.read(|rows| rows.all::<Note>())
    }

    #[test]
    fn what_is_written_is_read_and_only_by_its_owner() {
        let (_temporary, directory, mut vault) = made();
        vault.change(|rows| rows.put(&note("second", 7))).unwrap();
        vault.change(|rows| rows.put(&Note { text: "another".to_owned(), ..note("first", 9) })).unwrap();
        let places = |vault: &Vault| {
            notes(vault).unwrap().iter().map(|note| (note.place, note.text.clone())).collect::<Vec<_>>()
        };
        let expected = [(7, "the text of second".to_owned()), (9, "another".to_owned())];
        assert_eq!(places(&vault), expected);
        drop(vault);
        let vault = open(&directory).unwrap();
        assert_eq!(places(&vault), expected);
        assert_eq!(vault.read(|rows| rows.next_place::<Note>()).unwrap(), 10);
        assert_eq!(vault.read(|rows| rows.after::<Note>(7)).unwrap().unwrap().place, 9);
        let bytes = std::fs::read(directory.join(FILE)).unwrap();
        for text in ["the text", "second", "another"] {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o750)).unwrap();
            assert!(matches!(open(&directory), Err(VaultError::OpenToOthers { .. })));
        }
    }

    #[test]
    fn a_change_that_fails_leaves_nothing() {
        let (_temporary, _, mut vault) = made();
        let failed = vault.change(|rows| {
            rows.put(&note("second", 2))?;
            rows.remove::<Note>("first")?;
            Err::<(), _>(VaultError::Derivation { reason: "no".to_owned() })
        });
        assert!(failed.is_err());
        assert_eq!(notes(&vault).unwrap(), [note("first", 1)]);
    }

    #[test]
    fn only_the_last_are_kept() {
        let (_temporary, _, mut vault) = made();
        vault
            .change(|rows| {
                (2..10).try_for_each(|place| rows.put(&note(&place.to_string(), place)))?;
                rows.keep_last::<Note>(3)
            })
            .unwrap();
        let places: Vec<_> = notes(&vault).unwrap().iter().map(|note| note.place).collect();
        assert_eq!(places, [7, 8, 9]);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_an_error_by_name() {
        let (_temporary, directory, vault) = made();
        drop(vault);
        let path = directory.join(FILE);
        let good = std::fs::read(&path).unwrap();
        let opened = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            open(&directory).and_then(|vault| notes(&vault)).unwrap_err()
        };
        assert!(matches!(opened(&[]), VaultError::Empty { .. }));
        assert!(matches!(opened(b"not a file of SQLite, but something longer than its header, which has a hundred bytes and must be there whole"), VaultError::Foreign { .. }));
        for length in [good.len() / 2, good.len() - 4_096] {
            let error = opened(&good[..length]);
            assert!(matches!(error, VaultError::Damaged { .. }), "{error}");
        }
        std::fs::write(&path, &good).unwrap();
        assert!(matches!(Vault::open(&directory, FILE, "another"), Err(VaultError::WrongPassphrase { .. })));
        assert!(matches!(Vault::open(&directory, FILE, ""), Err(VaultError::WrongPassphrase { .. })));
        let first = |_: &Rows<'_>| Ok(());
        let again = Vault::create::<VaultError>(&directory, FILE, "secret", CHEAP, first);
        assert!(matches!(again, Err(VaultError::Exists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), good);
        let change = |text: &str| Connection::open(&path).unwrap().execute_batch(text).unwrap();
        change("PRAGMA user_version = 2");
        assert!(matches!(open(&directory), Err(VaultError::Newer { layout: 2, .. })));
        change("PRAGMA user_version = 1; PRAGMA application_id = 7");
        assert!(matches!(open(&directory), Err(VaultError::Foreign { .. })));
        std::fs::write(&path, &good).unwrap();
        for (memory_kib, passes) in [(4_000_000_000_u32, 1), (262_145, 1), (8, 13)] {
            change(&format!("UPDATE header SET memory_kib = {memory_kib}, passes = {passes}"));
            let error = open(&directory).err().unwrap();
            assert_eq!(
                error.to_string(),
                format!(
                    "no key can be made of the passphrase: it would take {memory_kib} KiB of memory and {passes} passes, and \
                     262144 KiB and 12 passes are the most"
                )
            );
        }
        std::fs::write(&path, &good).unwrap();
        change("DELETE FROM header");
        assert!(matches!(open(&directory), Err(VaultError::Damaged { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(open(&directory), Err(VaultError::Absent { .. })));
        assert!(!path.exists(), "nothing is made by looking");
    }

    #[test]
    fn records_cannot_change_places() {
        let (_temporary, directory, mut vault) = made();
        vault.change(|rows| rows.put(&note("second", 2))).unwrap();
        drop(vault);
        let path = directory.join(FILE);
        let good = std::fs::read(&path).unwrap();
        let sealed = "(SELECT sealed FROM record WHERE place = 2)";
        for text in [
            format!("UPDATE record SET sealed = {sealed} WHERE place = 1"),
            "UPDATE record SET place = 3 WHERE place = 1".to_owned(),
            "UPDATE record SET peer = zeroblob(32) WHERE place = 1".to_owned(),
            "UPDATE record SET name = zeroblob(32) WHERE place = 1".to_owned(),
            "UPDATE record SET sealed = zeroblob(8) WHERE place = 1".to_owned(),
            "UPDATE record SET peer = zeroblob(8) WHERE place = 1".to_owned(),
        ] {
            std::fs::write(&path, &good).unwrap();
            Connection::open(&path).unwrap().execute_batch(&text).unwrap();
            let vault = open(&directory).unwrap();
            let error = notes(&vault).unwrap_err();
            assert!(matches!(error, VaultError::Damaged { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn another_program_that_holds_the_file_is_waited_for() {
        let (_temporary, directory, mut vault) = made();
        let other = open(&directory).unwrap();
        vault.connection.busy_timeout(Duration::from_millis(10)).unwrap();
        other.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = vault.change(|rows| rows.put(&note("second", 2))).unwrap_err();
        assert!(matches!(error, VaultError::Busy { .. }), "{error}");
        other.connection.execute_batch("COMMIT").unwrap();
        vault.change(|rows| rows.put(&note("second", 2))).unwrap();
    }

    #[test]
    fn costs_of_another_default_are_read_from_the_file() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("store");
        for (number, passes) in [1, 2].into_iter().enumerate() {
            let file = format!("{number}.db");
            let derivation = KeyDerivation { memory_kib: 16, passes };
            drop(Vault::create::<VaultError>(&directory, &file, "secret", derivation, |_| Ok(())).unwrap());
            assert!(Vault::open(&directory, &file, "secret").is_ok());
        }
        assert_eq!(KeyDerivation::default(), KeyDerivation { memory_kib: 65_536, passes: 3 });
        let derivation = KeyDerivation { memory_kib: 0, passes: 0 };
        let error = Vault::create::<VaultError>(&directory, "2.db", "secret", derivation, |_| Ok(())).err().unwrap();
        assert!(matches!(error, VaultError::Derivation { .. }), "{error}");
    }
}
