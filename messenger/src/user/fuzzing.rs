//! What fuzzers call (`messenger/fuzz/`): records as somebody may have written them who has the passphrase, or another version.

use super::account::User;
use super::error::UserError;
use super::record::{
    AccountRecord, CancelledRecord, CodeRecord, CorrespondentRecord, DepositRecord, DueRecord, InboxRecord,
    IncomingRecord, MailboxRecord, OutgoingRecord, PeerRecord, ProfileRecord, SeenBody, SeenMessage, SessionRecord,
};
use crate::vault::{Record, Rows, VaultError};

/// Reads and writes records of one type.
struct Kind {
    put: fn(&Rows<'_>, &[u8]) -> Result<(), VaultError>,
    all: fn(&Rows<'_>) -> Result<Vec<String>, VaultError>,
}

const fn kind<R: Record>() -> Kind {
    Kind { put: put_one::<R>, all: all_of::<R> }
}

/// Lists all types, each of which is named by a letter, from A on.
const KINDS: [Kind; 15] = [
    kind::<AccountRecord>(),
    kind::<ProfileRecord>(),
    kind::<PeerRecord>(),
    kind::<CodeRecord>(),
    kind::<SessionRecord>(),
    kind::<CancelledRecord>(),
    kind::<OutgoingRecord>(),
    kind::<IncomingRecord>(),
    kind::<InboxRecord>(),
    kind::<SeenBody>(),
    kind::<SeenMessage>(),
    kind::<DueRecord>(),
    kind::<MailboxRecord>(),
    kind::<CorrespondentRecord>(),
    kind::<DepositRecord>(),
];

fn put_one<R: Record>(rows: &Rows<'_>, json: &[u8]) -> Result<(), VaultError> {
    match serde_json::from_slice::<R>(json) {
        Ok(record) => rows.put(&record),
        Err(_) => Ok(()),
    }
}

fn all_of<R: Record>(rows: &Rows<'_>) -> Result<Vec<String>, VaultError> {
    Ok(rows.all::<R>()?.iter().filter_map(|record| serde_json::to_string(record).ok()).collect())
}

/// Writes records, a line each: the letter of its type, and its JSON. Other lines are passed over.
///
/// # Errors
/// [`UserError::Vault`].
pub fn put(user: &mut User, lines: &[u8]) -> Result<(), UserError> {
    user.vault.change(|rows| {
        for line in lines.split(|byte| *byte == b'\n') {
            let Some((letter, json)) = line.split_first() else { continue };
            let kind = letter.checked_sub(b'A').and_then(|at| KINDS.get(usize::from(at)));
            if let Some(kind) = kind {
                (kind.put)(rows, json)?;
            }
        }
        Ok(())
    })
}

/// Returns all records, as [`put`] takes them.
///
/// # Errors
/// [`UserError::Vault`].
pub fn records(user: &User) -> Result<Vec<String>, UserError> {
    user.vault.read(|rows| {
        let mut lines = Vec::new();
        for (letter, kind) in ('A'..).zip(&KINDS) {
            lines.extend((kind.all)(rows)?.into_iter().map(|json| format!("{letter}{json}")));
        }
        Ok(lines)
    })
}
