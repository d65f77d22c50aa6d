//! Mail on disk: a database of its own, in which every commit is on the disk before anybody is told.
//!
//! Every event loop reads by itself. One thread writes: it puts what is waiting into one transaction, whose end waits for the
//! disk once for all (WAL, `synchronous=FULL`), and then hands out the answers. So what a client was told outlives a kill
//! and a power failure.
//!
//! What is built on a change that could not be made is not made either: an object says by a number which of its lives a
//! change is of, and a life of which one change has failed gets no other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rendezvous_service::answer::Answer;
use rendezvous_service::mailbox::{Found, Write};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
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
    ",
    synchronous: "FULL",
    log_bytes: 16 * 1_024 * 1_024,
    if_unusable: "bring the file back from a copy; without one move it away, and what waits in mailboxes here is lost",
};

const NAMES: &str = "SELECT DISTINCT object FROM item";
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
    // The lives that have ended because a change could not be made.
    let mut failed: HashMap<MailName, u64> = HashMap::new();
    while let Ok(first) = orders.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = orders.try_recv()
        {
            batch.push(next);
        }
        let is_dead = |order: &MailOrder| failed.get(&order.object).is_some_and(|life| order.life <= *life);
        let (dead, alive): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_dead);
        for order in dead {
            conclude(order, Err("a change before this one could not be written".to_owned()));
        }
        let outcome = commit(&mut connection, &alive).map_err(|error| error.to_string());
        for order in alive {
            if outcome.is_err() {
                failed.insert(order.object, order.life);
            } else if !failed.is_empty() {
                failed.remove(&order.object);
            }
            conclude(order, outcome.clone());
        }
    }
    close_log(&connection);
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
