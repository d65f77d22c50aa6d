//! Mail on disk: a database of its own, in which every commit is on the disk before anybody is told.
//!
//! Every event loop reads by itself. One thread writes: it puts what is waiting into one transaction, whose end waits for the
//! disk once for all (WAL, `synchronous=FULL`), and then hands out the answers. So what a client was told outlives a kill
//! and a power failure.
//!
//! A change that cannot be made takes nothing from those that were put into a transaction with it: they are made one by one.
//! But what is built on it is not made either: an object says by a number which of its lives a change is of, and a life of
//! which one change has failed gets no other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rendezvous_service::answer::Answer;
use rendezvous_service::mailbox::{Found, PUSH_ROWS, Write};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::database::{Database, Schema, StorageError, close_log};
use crate::mailboxes::object::MailName;

const SCHEMA: Schema = Schema {
    file: "mail.sqlite",
    // "rvml": marks the file as this program's.
    application_id: 0x7276_6d6c,
    layout: 1,
    create: "
        CREATE TABLE IF NOT EXISTS item (
            object TEXT NOT NULL, name TEXT NOT NULL, row TEXT NOT NULL, PRIMARY KEY (object, name)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS message (
            object TEXT NOT NULL, number INTEGER NOT NULL, row TEXT NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (object, number)
        ) STRICT;
        CREATE TABLE IF NOT EXISTS own (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
    ",
    synchronous: "FULL",
    log_bytes: 16 * 1_024 * 1_024,
    if_unusable: "move the file away with its -wal and -shm, and bring back those of the three that a copy has; without a copy, what \
        waits in mailboxes here is lost",
};

const NAMES: &str = "SELECT DISTINCT object FROM item";
/// The names of the rows begin with [`PUSH_ROWS`].
const PUSHES: &str = "SELECT object, count(*) FROM item WHERE substr(name, 1, length(?1)) = ?1 GROUP BY object";
const READ_ROWS: &str = "SELECT name, row FROM item WHERE object = ?1";
const READ_MESSAGES: &str = "SELECT number, row FROM message WHERE object = ?1";
const READ_BODY: &str = "SELECT body FROM message WHERE object = ?1 AND number = ?2";
const PUT: &str = "INSERT INTO item (object, name, row) VALUES (?1, ?2, ?3) \
    ON CONFLICT (object, name) DO UPDATE SET row = excluded.row";
const ERASE: &str = "DELETE FROM item WHERE object = ?1 AND name = ?2";
const PUT_MESSAGE: &str = "INSERT INTO message (object, number, row, body) VALUES (?1, ?2, ?3, ?4)";
const ERASE_MESSAGE: &str = "DELETE FROM message WHERE object = ?1 AND number = ?2";
const ERASE_ITEMS: &str = "DELETE FROM item WHERE object = ?1";
const ERASE_MESSAGES: &str = "DELETE FROM message WHERE object = ?1";

const PUT_OWN: &str = "INSERT OR IGNORE INTO own (name, text) VALUES (?1, ?2)";
const READ_OWN: &str = "SELECT text FROM own WHERE name = ?1";

/// Under what the relay's name is kept for which users of hivemind-rendezvous sign.
const HIVEMIND_NAME: &str = "hivemind";

/// Orders in one transaction. The largest message is 175 kB, so one takes 11 MB of the log.
const BATCH: usize = 64;

/// The database of mail.
#[derive(Debug)]
pub(crate) struct MailStorage(Database);

impl MailStorage {
    /// Makes the database where there is none. The directory is this process's.
    pub(crate) fn open(directory: &Path) -> Result<Self, StorageError> {
        Database::open(directory, &SCHEMA).map(Self)
    }

    /// Returns the names of all objects of which there is anything.
    pub(crate) fn names(&self) -> Result<Vec<String>, StorageError> {
        let connection = self.0.connect()?;
        let names = connection
            .prepare(NAMES)
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>, _>>());
        self.0.checked(names)
    }

    /// Returns the names of all objects of which something is to be pushed to peers, and how much.
    pub(crate) fn pushes(&self) -> Result<Vec<(String, usize)>, StorageError> {
        let connection = self.0.connect()?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs() as usize));
        let pushes = connection
            .prepare(PUSHES)
            .and_then(|mut statement| statement.query_map([PUSH_ROWS], read)?.collect::<Result<Vec<_>, _>>());
        self.0.checked(pushes)
    }

    /// Returns the relay's name for which users of hivemind-rendezvous sign, which stays what it was first made to be.
    pub(crate) fn hivemind_name(&self, new: &str) -> Result<String, StorageError> {
        let connection = self.0.connect()?;
        self.0.checked(connection.execute(PUT_OWN, [HIVEMIND_NAME, new]))?;
        self.0.checked(connection.query_row(READ_OWN, [HIVEMIND_NAME], |row| row.get(0)))
    }

    /// Opens a connection that reads.
    pub(crate) fn reader(&self) -> Result<MailReader, StorageError> {
        self.0.connect().map(MailReader)
    }

    /// Starts the thread that writes. It ends when nobody can order anything any more.
    pub(crate) fn start_writer(&self) -> Result<(Sender<MailOrder>, JoinHandle<()>), StorageError> {
        let connection = self.0.connect()?;
        let (orders, received) = channel();
        let writer = std::thread::Builder::new().name("mail".to_owned());
        let thread = writer.spawn(move || write_all(connection, &received)).map_err(StorageError::NoThread)?;
        Ok((orders, thread))
    }
}

/// Reads what was committed.
#[derive(Debug)]
pub(crate) struct MailReader(Connection);

impl MailReader {
    /// Returns what there is of an object, or why that cannot be read.
    pub(crate) fn read(&self, object: MailName) -> Result<Found, String> {
        let name = object.to_string();
        let read = || {
            let rows = self
                .0
                .prepare_cached(READ_ROWS)?
                .query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let messages = self
                .0
                .prepare_cached(READ_MESSAGES)?
                .query_map([&name], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            Ok(Found { rows, messages, listeners: Vec::new() })
        };
        read().map_err(|error: rusqlite::Error| error.to_string())
    }

    /// Returns the body of a message.
    pub(crate) fn body(&self, object: MailName, number: u64) -> Result<String, String> {
        let read = || {
            let mut statement = self.0.prepare_cached(READ_BODY)?;
            statement.query_row((object.to_string(), signed(number)), |row| row.get(0)).optional()
        };
        let body: Option<String> = read().map_err(|error: rusqlite::Error| error.to_string())?;
        body.ok_or_else(|| "a message has no body".to_owned())
    }
}

/// A change that is to be made, and who waits for it. An order without writes only waits for those before it.
#[derive(Debug)]
pub(crate) struct MailOrder {
    pub(crate) object: MailName,
    /// Which of its lives in memory the object is in.
    pub(crate) life: u64,
    pub(crate) writes: Arc<[Write]>,
    /// The answer, and who is told when the change is durable.
    pub(crate) answer: Option<(Answer, oneshot::Sender<Result<Answer, String>>)>,
    /// Who hears of it besides.
    pub(crate) committed: UnboundedSender<Committed>,
}

/// What became of an order. Those of one object are told in their order.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) object: MailName,
    pub(crate) life: u64,
    pub(crate) outcome: Result<(), String>,
}

fn write_all(mut connection: Connection, orders: &Receiver<MailOrder>) {
    let mut failed = FailedLives::default();
    while let Ok(first) = orders.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = orders.try_recv()
        {
            batch.push(next);
        }
        make_all(&mut connection, &mut failed, batch);
    }
    close_log(&connection);
}

/// Makes changes in one transaction, or one by one where one of them cannot be made, and says what became of each.
fn make_all(connection: &mut Connection, failed: &mut FailedLives, orders: Vec<MailOrder>) {
    let (dead, alive): (Vec<_>, Vec<_>) = orders.into_iter().partition(|order| failed.has(order));
    for order in dead {
        conclude(order, Err("a change before this one could not be written".to_owned()));
    }
    match commit(connection, &alive) {
        // Nothing was made, and which of them is to blame SQLite does not say in every case. While another process writes,
        // each alone would only wait again.
        Err(error) if alive.len() > 1 && error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => {
            for order in alive {
                make_all(connection, failed, vec![order]);
            }
        }
        outcome => {
            let outcome = outcome.map_err(|error| error.to_string());
            for order in alive {
                failed.note(&order, outcome.is_ok());
                conclude(order, outcome.clone());
            }
        }
    }
}

/// Holds the lives that have ended because a change could not be made, of each object the last.
#[derive(Debug, Default)]
struct FailedLives(HashMap<MailName, u64>);

impl FailedLives {
    fn has(&self, order: &MailOrder) -> bool {
        self.0.get(&order.object).is_some_and(|life| order.life <= *life)
    }

    /// Notes what became of an order. Of an object of which a later life was written nothing needs to be remembered.
    fn note(&mut self, order: &MailOrder, is_made: bool) {
        if !is_made {
            self.0.insert(order.object, order.life);
        } else if !self.0.is_empty() {
            self.0.remove(&order.object);
        }
    }
}

/// Tells everybody what became of an order.
fn conclude(order: MailOrder, outcome: Result<(), String>) {
    let MailOrder { object, life, writes: _, answer, committed } = order;
    if let Some((answer, sender)) = answer {
        // Whoever asked may have gone away.
        let _ = sender.send(outcome.clone().map(|()| answer));
    }
    // Nobody hears it any more where the program is about to end.
    let _ = committed.send(Committed { object, life, outcome });
}

fn commit(connection: &mut Connection, batch: &[MailOrder]) -> rusqlite::Result<()> {
    if batch.iter().all(|order| order.writes.is_empty()) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for MailOrder { object, writes, .. } in batch {
        let object = object.to_string();
        for write in writes.iter() {
            make(&transaction, &object, write)?;
        }
    }
    transaction.commit()
}

/// Returns a number as SQLite has them. An object counts its messages, and never comes so far.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn make(transaction: &Transaction<'_>, object: &str, write: &Write) -> rusqlite::Result<()> {
    let prepared = |text| transaction.prepare_cached(text);
    match write {
        Write::Put { name, row } => prepared(PUT)?.execute((object, name, row))?,
        Write::Erase { name } => prepared(ERASE)?.execute((object, name))?,
        Write::PutMessage { number, row, body } => {
            prepared(PUT_MESSAGE)?.execute((object, signed(*number), row, body))?
        }
        Write::EraseMessage { number } => prepared(ERASE_MESSAGE)?.execute((object, signed(*number)))?,
        Write::EraseAll => {
            prepared(ERASE_MESSAGES)?.execute([object])?;
            prepared(ERASE_ITEMS)?.execute([object])?
        }
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn object(number: u8) -> MailName {
        format!("v1:{}", format!("{number:02x}").repeat(32)).parse().unwrap()
    }

    /// Lets the thread find orders waiting all at once, each the first life of its object, and says what became of each.
    fn written(storage: &MailStorage, orders: Vec<(MailName, Vec<Write>)>) -> Vec<(MailName, bool)> {
        let (sender, received) = channel();
        let (committed, mut outcomes) = unbounded_channel();
        for (object, writes) in orders {
            let order =
                MailOrder { object, life: 1, writes: writes.into(), answer: None, committed: committed.clone() };
            sender.send(order).unwrap();
        }
        drop((sender, committed));
        write_all(storage.0.connect().unwrap(), &received);
        std::iter::from_fn(|| outcomes.try_recv().ok()).map(|it| (it.object, it.outcome.is_ok())).collect()
    }

    #[test]
    fn a_change_that_cannot_be_made_takes_nothing_from_other_objects() {
        let directory = tempfile::tempdir().unwrap();
        let storage = MailStorage::open(directory.path()).unwrap();
        let [one, bad, other] = [1, 2, 3].map(object);
        let put = |name: &str| Write::Put { name: name.to_owned(), row: "{}".to_owned() };
        let message = |number| Write::PutMessage { number, row: "{}".to_owned(), body: "AAAA".to_owned() };
        let outcomes = written(
            &storage,
            vec![
                (one, vec![put("before")]),
                // Twice the same number, in one order: of that nothing is to be left.
                (bad, vec![message(1), put("half"), message(1)]),
                (other, vec![message(1)]),
                (bad, vec![put("built on it")]),
                (one, vec![put("after")]),
            ],
        );
        assert_eq!(outcomes, [(one, true), (bad, false), (other, true), (bad, false), (one, true)]);
        let found = |object| {
            let found = storage.reader().unwrap().read(object).unwrap();
            (found.rows.len(), found.messages.len())
        };
        assert_eq!([found(one), found(bad), found(other)], [(2, 0), (0, 0), (0, 1)]);
    }
}
