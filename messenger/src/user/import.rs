//! Takes over the identity of a retalk user, in mid-conversation: retalk keeps it in a file of SQLite, and what is secret in it
//! as encrypted pickles of Olm, under the SHA-256 of a passphrase.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rendezvous_protocol::mailbox::bytes::sha256;
use rendezvous_protocol::retalk::request::MessageKind;
use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};
use vodozemac::olm::{Account, AccountPickle, Session, SessionPickle};

use super::account::{User, identity_of};
use super::error::UserError;
use super::import_error::{FILE, ImportError};
use super::invite_code::InviteCode;
use super::naming::{is_name, is_saved_name};
use super::outgoing::OutgoingState;
use super::profile::{Admission, NewUser};
use super::record::{
    AccountRecord, Ciphertext, CodeRecord, OutgoingRecord, PeerRecord, ProfileRecord, SeenBody, SessionRecord, peer,
};
use crate::vault::Rows;

/// The passphrase of those who chose to have none.
const NO_PASSPHRASE: &str = "\0retalk:disabled-passphrase";

/// Counts what was taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Contacts and blocked peers.
    pub peers: usize,
    /// Sessions of Olm.
    pub sessions: usize,
    /// Messages that nobody has acknowledged.
    pub outgoing: usize,
    /// Invite codes.
    pub codes: usize,
}

impl User {
    /// Makes a user of a retalk user, whose directory is `from`: with the same id, contacts, blocked peers, sessions, outbox
    /// and invite codes. `their_passphrase` is retalk's, absent if it was made without. An empty name and an absent relay are taken over
    /// too. Groups and saved messages are not.
    ///
    /// Nothing is changed there; but retalk must not use it any more: two programs that do not know of each other would encrypt
    /// with the same keys.
    ///
    /// # Errors
    /// [`UserError::Import`], [`UserError::NameInvalid`] and [`UserError::Vault`].
    pub fn import_retalk(
        directory: &Path,
        passphrase: &str,
        new: &NewUser<'_>,
        from: &Path,
        their_passphrase: Option<&str>,
        now: UnixMillis,
    ) -> Result<(Self, Imported), UserError> {
        let source = Source::open(from, their_passphrase.unwrap_or(NO_PASSPHRASE))?;
        let account = source.account()?;
        let mut imported = Imported::default();
        let user = Self::create_with(directory, passphrase, new, |rows| {
            rows.put(&AccountRecord::unpublished(account.pickle()))?;
            source.profile(rows)?;
            imported.peers = source.peers(rows, &account)?;
            imported.sessions = source.sessions(rows)?;
            imported.outgoing = source.outbox(rows, now)?;
            imported.codes = source.codes(rows, now)?;
            source.seen(rows)?;
            Ok(())
        })?;
        Ok((user, imported))
    }
}

/// Is retalk's file.
struct Source {
    connection: Connection,
    path: PathBuf,
    key: [u8; 32],
}

impl Source {
    fn open(directory: &Path, passphrase: &str) -> Result<Self, ImportError> {
        let path = directory.join(FILE);
        if !path.is_file() {
            return Err(ImportError::Absent { path: directory.to_owned() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags);
        let connection = connection.map_err(|error| unreadable(&path, &error))?;
        let key = sha256(&[passphrase.as_bytes()]);
        Ok(Self { connection, path, key })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> ImportError {
        unreadable(&self.path, error)
    }

    fn columns(&self, table: &str) -> Result<Vec<String>, ImportError> {
        let failed = |error| self.failed(&error);
        let mut statement = self.connection.prepare("SELECT name FROM pragma_table_info(?)").map_err(failed)?;
        let names = statement.query_map([table], |row| row.get(0)).map_err(failed)?;
        names.collect::<Result<_, _>>().map_err(failed)
    }

    /// Reads columns of a table, the first of each that it has, by an order; nothing where it has none of a column.
    fn rows<T>(
        &self,
        table: &str,
        columns: &[&[&str]],
        order: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, ImportError> {
        let failed = |error| self.failed(&error);
        let there = self.columns(table)?;
        if there.is_empty() {
            return Ok(Vec::new());
        }
        let chosen: Vec<&str> = columns
            .iter()
            .map(|names| {
                names.iter().find(|name| there.iter().any(|column| column == *name)).copied().unwrap_or("NULL")
            })
            .collect();
        let order = if there.iter().any(|column| column == order) { order } else { "rowid" };
        let text = format!("SELECT {} FROM {table} ORDER BY {order}", chosen.join(", "));
        let mut statement = self.connection.prepare(&text).map_err(failed)?;
        let rows = statement.query_map([], |row| read(row)).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    fn meta(&self, name: &str) -> Result<Option<String>, ImportError> {
        let value = self.connection.query_row("SELECT v FROM meta WHERE k = ?", [name], |row| row.get(0));
        value.optional().map_err(|error| self.failed(&error))
    }

    fn account(&self) -> Result<Account, ImportError> {
        let pickle = self.meta("account")?.ok_or_else(|| self.failed(&"it has no account"))?;
        let pickle = AccountPickle::from_encrypted(&pickle, &self.key);
        pickle.map(Account::from_pickle).map_err(|_| ImportError::WrongPassphrase { path: self.path.clone() })
    }

    fn profile(&self, rows: &Rows<'_>) -> Result<(), UserError> {
        let mut profile = rows.get::<ProfileRecord>("")?.ok_or(UserError::AccountAbsent)?;
        if profile.name.is_empty() {
            profile.name = self.meta("name")?.filter(|name| is_name(name)).unwrap_or_default();
        }
        if profile.relay.is_none() {
            profile.relay = self.meta("server_url")?.filter(|url| !url.is_empty());
        }
        if self.meta("receive_policy")?.as_deref() == Some("peers-only") {
            profile.admission = Admission::Contacts;
        }
        Ok(rows.put(&profile)?)
    }

    fn id(&self, text: &str) -> Result<UserId, ImportError> {
        text.to_ascii_lowercase().parse().map_err(|error| self.failed(&error))
    }

    fn peers(&self, rows: &Rows<'_>, account: &Account) -> Result<usize, UserError> {
        let columns: [&[&str]; 4] = [&["fingerprint", "id"], &["name"], &["identity_key", "pin"], &["signing_key"]];
        type Peer = (String, Option<String>, Option<String>, Option<String>);
        let read =
            |row: &Row<'_>| -> rusqlite::Result<Peer> { Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)) };
        let own = identity_of(account).map(|identity| identity.user_id());
        let mut names = BTreeSet::new();
        for (id, name, identity_key, signing_key) in self.rows("peers", &columns, "rowid", read)? {
            let id = self.id(&id)?;
            if Some(id) == own {
                continue;
            }
            // Those without a name are contacts too, and two may have the same.
            let name = name.filter(|name| is_saved_name(name) && names.insert(name.clone()));
            let name = name.unwrap_or_else(|| id.to_string());
            let mut peer = PeerRecord { name: Some(name), ..PeerRecord::new(id) };
            peer.keys = identity_key.clone().zip(signing_key);
            // Keys that are not the peer's were never checked.
            if peer.identity().is_none_or(|identity| identity.user_id() != id) {
                peer.keys = None;
            }
            peer.pin = identity_key;
            rows.put(&peer)?;
        }
        let blocked: Vec<String> = self.rows("blocked", &[&["fingerprint"]], "rowid", |row| row.get(0))?;
        for id in blocked {
            let peer = peer(rows, self.id(&id)?)?;
            rows.put(&PeerRecord { is_blocked: true, ..peer })?;
        }
        Ok(rows.count::<PeerRecord>()?)
    }

    fn sessions(&self, rows: &Rows<'_>) -> Result<usize, UserError> {
        let read = |row: &Row<'_>| -> rusqlite::Result<(String, String)> { Ok((row.get(0)?, row.get(1)?)) };
        for (peer, pickle) in self.rows("sessions", &[&["peer"], &["blob"]], "used", read)? {
            let pickle = SessionPickle::from_encrypted(&pickle, &self.key)
                .map_err(|_| self.failed(&"a session does not open under the passphrase of its account"))?;
            let session = Session::from_pickle(pickle);
            let used = rows.next_place::<SessionRecord>()?;
            rows.put(&SessionRecord::new(self.id(&peer)?, &session, used))?;
        }
        Ok(rows.count::<SessionRecord>()?)
    }

    fn outbox(&self, rows: &Rows<'_>, now: UnixMillis) -> Result<usize, UserError> {
        let columns: [&[&str]; 4] = [&["id"], &["peer"], &["mtype"], &["body"]];
        let read = |row: &Row<'_>| -> rusqlite::Result<(String, String, i64, String)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        for (id, to, mtype, body) in self.rows("outbox", &columns, "ts", read)? {
            let kind = u64::try_from(mtype).ok().and_then(MessageKind::of);
            let kind = kind.ok_or_else(|| self.failed(&"a message in its outbox has no kind"))?;
            rows.put(&OutgoingRecord {
                id,
                to: self.id(&to)?,
                number: rows.next_place::<OutgoingRecord>()?,
                plaintext: None,
                ciphertext: Some(Ciphertext { mtype: kind.number(), body }),
                created_at: now,
                tried_at: None,
                refusals: 0,
                state: OutgoingState::Encrypted,
                door: None,
            })?;
        }
        Ok(rows.count::<OutgoingRecord>()?)
    }

    /// Takes over the invite codes that were given out, also those that are over.
    fn codes(&self, rows: &Rows<'_>, now: UnixMillis) -> Result<usize, UserError> {
        let columns: [&[&str]; 7] =
            [&["code"], &["kind"], &["peer"], &["created"], &["expires"], &["used_by"], &["revoked"]];
        type Code = (String, String, Option<String>, Option<f64>, Option<f64>, Option<String>, Option<bool>);
        let read = |row: &Row<'_>| -> rusqlite::Result<Code> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
        };
        let columns = self.rows("invite_codes", &columns, "created", read)?;
        for (number, (code, kind, name, created, expires, used_by, revoked)) in (1..).zip(columns) {
            let used_by = used_by.filter(|ids| !ids.is_empty()).map(|ids| serde_json::from_str::<Vec<String>>(&ids));
            let used_by = used_by.transpose().map_err(|error| self.failed(&error))?.unwrap_or_default();
            let redeemed_by: Vec<_> = used_by.iter().map(|id| self.id(id)).collect::<Result<_, _>>()?;
            let code = InviteCode {
                code,
                name: name.filter(|name| is_saved_name(name)),
                is_permanent: kind == "permanent",
                created_at: created.map_or(now, millis),
                expires_at: expires.map(millis),
                is_revoked: revoked.unwrap_or_default(),
                redeemed_by,
            };
            // retalk has told of them.
            rows.put(&CodeRecord { number, told: code.redeemed_by.len(), code })?;
        }
        Ok(rows.count::<CodeRecord>()?)
    }

    /// Takes over which ciphertexts were decrypted.
    fn seen(&self, rows: &Rows<'_>) -> Result<(), UserError> {
        let read = |row: &Row<'_>| -> rusqlite::Result<(String, String)> { Ok((row.get(0)?, row.get(1)?)) };
        let processed = self.rows("processed", &[&["hash"], &["msg_id"]], "rowid", read)?;
        for (number, (hash, message)) in (1..).zip(processed) {
            rows.put(&SeenBody { from: None, hash, message: Some(message), number })?;
        }
        Ok(())
    }
}

/// Returns the time that Python's clock gives in seconds.
fn millis(seconds: f64) -> UnixMillis {
    let since = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    UnixMillis::saturating(saturating_millis(since))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> ImportError {
    ImportError::Unreadable { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::params;
    use vodozemac::olm::SessionConfig;

    use super::super::hostile_relay::HostileRelay;
    use super::super::tests::{START, Somebody, directory};
    use super::super::{Content, Disposition, payload};
    use super::*;
    use crate::transport::Relay;
    use crate::vault::KeyDerivation;

    const URL: &str = "http://127.0.0.1:8766";
    const FIRST: &str = "
        CREATE TABLE meta(k TEXT PRIMARY KEY, v TEXT);
        CREATE TABLE sessions(peer TEXT PRIMARY KEY, blob TEXT);
        CREATE TABLE outbox(id TEXT PRIMARY KEY, peer TEXT, mtype INT, body TEXT, ts REAL);
        CREATE TABLE processed(hash TEXT PRIMARY KEY, msg_id TEXT);
        CREATE TABLE peers(name TEXT PRIMARY KEY, id TEXT, pin TEXT);";
    const LAST: &str = "
        CREATE TABLE meta(k TEXT PRIMARY KEY, v TEXT);
        CREATE TABLE sessions(peer TEXT, sid TEXT, blob TEXT, used REAL, PRIMARY KEY(peer, sid));
        CREATE TABLE outbox(id TEXT PRIMARY KEY, peer TEXT, mtype INT, body TEXT, ts REAL, gid TEXT);
        CREATE TABLE processed(hash TEXT PRIMARY KEY, msg_id TEXT);
        CREATE TABLE peers(fingerprint TEXT PRIMARY KEY, name TEXT, identity_key TEXT, signing_key TEXT);
        CREATE TABLE blocked(fingerprint TEXT PRIMARY KEY);
        CREATE TABLE invite_codes(code TEXT PRIMARY KEY, kind TEXT, peer TEXT, created REAL, expires REAL, uses INT DEFAULT 0,
            used_by TEXT, revoked INT DEFAULT 0);
        INSERT INTO invite_codes VALUES
            ('first', 'single', 'dana', 1700006400.25, 1700611200.5, 1, '[\"00112233445566778899aabbccddeeff\"]', 1),
            ('second', 'permanent', NULL, 1700006401.0, NULL, 0, '[]', 0);";

    fn import(to: &Path, from: &Path, passphrase: Option<&str>) -> Result<(User, Imported), UserError> {
        let new = NewUser { derivation: KeyDerivation { memory_kib: 8, passes: 1 }, ..NewUser::default() };
        User::import_retalk(to, "ours", &new, from, passphrase, START)
    }

    /// One who has a session with bob by his fallback, and a message on its way to him.
    fn write(path: &Path, tables: &str, passphrase: &str, bob: UserId, session: &mut Session, account: &Account) {
        let key = sha256(&[passphrase.as_bytes()]);
        let connection = Connection::open(path.join(FILE)).unwrap();
        connection.execute_batch(tables).unwrap();
        let text =
            payload::message("0123456789abcdef0123456789abcdef", "alice", "on its way", &payload::Offer::new(None))
                .unwrap();
        let (mtype, body) = session.encrypt(text).unwrap().to_parts();
        let body = rendezvous_protocol::base64::encode(&body);
        let insert = |text: &str, parameters: &[&dyn rusqlite::ToSql]| {
            assert_eq!(connection.execute(text, parameters).unwrap(), 1, "{text}");
        };
        let meta = "INSERT INTO meta(k, v) VALUES(?, ?)";
        insert(meta, params!["account", account.pickle().encrypt(&key)]);
        insert(meta, params!["name", "alice"]);
        insert(meta, params!["server_url", URL]);
        insert(
            "INSERT INTO sessions(peer, blob) VALUES(?, ?)",
            params![bob.to_string(), session.pickle().encrypt(&key)],
        );
        insert(
            "INSERT INTO outbox(id, peer, mtype, body, ts) VALUES(?, ?, ?, ?, 1.5)",
            params!["0123456789abcdef0123456789abcdef", bob.to_string(), i64::try_from(mtype).unwrap(), body],
        );
        let column = if tables == FIRST { "id" } else { "fingerprint" };
        insert(&format!("INSERT INTO peers({column}, name) VALUES(?, ?)"), params![bob.to_string(), "bob"]);
    }

    #[test]
    fn a_user_of_each_version_goes_on_in_mid_conversation() {
        for (tables, passphrase) in [(FIRST, Some("theirs")), (LAST, Some("theirs")), (LAST, None)] {
            let relay = HostileRelay::new(URL, START);
            let relay = Relay::new(URL, &relay).unwrap();
            let mut bob = Somebody::new("bob");
            bob.user.receive(&relay, START).unwrap();
            let claimed = bob.user.vault.read(super::super::conversation::account).unwrap().fallback.unwrap();
            let account = Account::new();
            let key = |text: &str| vodozemac::Curve25519PublicKey::from_base64(text).unwrap();
            let mut session = account
                .create_outbound_session(
                    SessionConfig::version_1(),
                    key(bob.user.identity().identity_key()),
                    key(&claimed.key),
                )
                .unwrap();
            let temporary = directory();
            let theirs = temporary.path().join("theirs");
            std::fs::create_dir(&theirs).unwrap();
            write(&theirs, tables, passphrase.unwrap_or(NO_PASSPHRASE), bob.id(), &mut session, &account);
            let before = std::fs::read(theirs.join(FILE)).unwrap();

            let (mut alice, imported) = import(&temporary.path().join("ours"), &theirs, passphrase).unwrap();
            let codes = if tables == LAST { 2 } else { 0 };
            assert_eq!(imported, Imported { peers: 1, sessions: 1, outgoing: 1, codes });
            let expected = [
                InviteCode {
                    code: "first".to_owned(),
                    name: Some("dana".to_owned()),
                    is_permanent: false,
                    created_at: UnixMillis::saturating(1_700_006_400_250),
                    expires_at: Some(UnixMillis::saturating(1_700_611_200_500)),
                    is_revoked: true,
                    redeemed_by: vec!["00112233445566778899aabbccddeeff".parse().unwrap()],
                },
                InviteCode {
                    code: "second".to_owned(),
                    name: None,
                    is_permanent: true,
                    created_at: UnixMillis::saturating(1_700_006_401_000),
                    expires_at: None,
                    is_revoked: false,
                    redeemed_by: Vec::new(),
                },
            ];
            assert_eq!(alice.codes().unwrap(), expected[..codes]);
            assert!(alice.redeemed().unwrap().is_empty(), "retalk has told of them");
            assert_eq!(std::fs::read(theirs.join(FILE)).unwrap(), before);
            assert_eq!(alice.identity(), &identity_of(&account).unwrap());
            let profile = alice.profile().unwrap();
            assert_eq!((profile.name.as_str(), profile.relay.as_deref()), ("alice", Some(URL)));
            assert_eq!(alice.contact("bob").unwrap().unwrap().id, bob.id());

            alice.send(&relay, bob.id(), "after", START).unwrap();
            let mut texts = Vec::new();
            bob.user.receive(&relay, START).unwrap();
            let note = |message: &super::super::Message| {
                texts.push(message.content.clone());
                Disposition::Taken
            };
            bob.user.deliver(&[], note).unwrap();
            assert_eq!(texts, ["on its way", "after"].map(|text| Content::Text(text.to_owned())));
            bob.user.acknowledge(&relay, START).unwrap();
            alice.receive(&relay, START).unwrap();
            assert!(alice.outbox().unwrap().is_empty());
        }
    }

    #[test]
    fn what_is_no_retalk_user_is_an_error_by_name_and_makes_nothing() {
        let temporary = directory();
        let (ours, theirs) = (temporary.path().join("ours"), temporary.path().join("theirs"));
        std::fs::create_dir(&theirs).unwrap();
        let failed = |passphrase| match import(&ours, &theirs, Some(passphrase)) {
            Err(UserError::Import(error)) => error,
            other => panic!("{other:?}"),
        };
        assert!(matches!(failed("x"), ImportError::Absent { .. }));
        std::fs::write(
            theirs.join(FILE),
            "no file of SQLite, although it is long enough to have been one, that is a hundred bytes or more",
        )
        .unwrap();
        assert!(matches!(failed("x"), ImportError::Unreadable { .. }));
        std::fs::remove_file(theirs.join(FILE)).unwrap();
        let connection = Connection::open(theirs.join(FILE)).unwrap();
        connection.execute_batch(LAST).unwrap();
        assert!(matches!(failed("x"), ImportError::Unreadable { .. }));
        let pickle = Account::new().pickle().encrypt(&sha256(&[b"theirs"]));
        connection.execute("INSERT INTO meta(k, v) VALUES('account', ?)", [pickle]).unwrap();
        assert!(matches!(failed("x"), ImportError::WrongPassphrase { .. }));
        connection.execute("INSERT INTO peers(fingerprint) VALUES('no id')", []).unwrap();
        assert!(matches!(failed("theirs"), ImportError::Unreadable { .. }));
        assert!(!User::is_in(&ours).unwrap());
    }
}
