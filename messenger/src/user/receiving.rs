//! The inbox: from what a relay hands over to what the program has taken.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::PathBuf;

use rendezvous_capsule::files::open_lock;
use rendezvous_protocol::mailbox::bytes::sha256;
use rendezvous_protocol::retalk::limits::MESSAGE_LASTS;
use rendezvous_protocol::retalk::request::Tool;
use rendezvous_protocol::retalk::user::{UserId, hex, refusal_text};
use rendezvous_protocol::time::UnixMillis;
use serde::de::IgnoredAny;

use super::account::User;
use super::conversation::{Decrypted, decrypt};
use super::error::UserError;
use super::introduction::{is_any_good, redeem};
use super::mailbox::{detach, offer_again, take_offer};
use super::message::Message;
use super::payload::Payload;
use super::problem::{Problem, ProblemCause};
use super::profile::Admission;
use super::record::{
    Ciphertext, DueRecord, InboxRecord, IncomingRecord, OutgoingRecord, ProfileRecord, SeenBody, SeenMessage, peer,
};
use super::sending::begin_anew;
use crate::transport::{HandedOver, Relay, RelayError};
use crate::vault::{Rows, VaultError};

/// Messages in the inbox that the program has not taken. With more, nothing is read: it stays at the relay.
const INBOX_MAX: usize = 10_000;

/// Messages that are kept although they could not be opened yet, because their senders' keys could not be had.
const INCOMING_MAX: usize = 1_024;

/// Requests about messages that cannot be opened, of each kind and in one look: keys that are asked for, and refusals. Strangers
/// can leave as many as a mailbox holds, and their recipient shares a rate limit with its household.
const REQUESTS_AT_ONCE: usize = 16;

/// Characters of the base64 of a message: what retalk's own relay takes in a request.
const CIPHERTEXT_MAX_BYTES: usize = 1024 * 1024;

/// The file whose lock keeps two programs from showing one message at the same time.
const LOCK: &str = "inbox.lock";

/// Says what came of a look at the relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveReport {
    /// Messages that are in the inbox now.
    pub taken_in: usize,
    /// Messages of the outbox that were acknowledged.
    pub acknowledged: usize,
    /// Copies of what came before.
    pub duplicates: usize,
    /// Who has become a contact by a code of the user's.
    pub redeemed: Vec<UserId>,
    /// Whether nothing was read because the inbox is full.
    pub is_inbox_full: bool,
    /// What could not be used. It does not stop the rest.
    pub problems: Vec<Problem>,
}

/// Says what a program did with a message that it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The program has the message.
    Taken,
    /// The program may have shown the message, and does not have it.
    Kept,
    /// The program has not shown the message, and wants no other.
    Declined,
}

/// Says what became of a message that a relay handed over.
enum Step {
    TakenIn,
    Acknowledged,
    Duplicate,
    /// A request, which is taken.
    Granted,
    /// Another program has seen to it.
    Gone,
    NeedsKeys,
    /// Not sent by whom it is said to be: dropped without a word, which could be turned against whoever has sent it.
    NotTheirs,
    Refuse(ProblemCause),
}

/// Counts what a look has asked the relay beside the messages themselves.
#[derive(Default)]
struct Look {
    /// Whose keys could not be had. A relay may invent as many senders as it likes.
    without_keys: BTreeSet<UserId>,
    /// Whose keys were asked for.
    fetched: usize,
    /// Messages to be refused, after all others.
    refused: Vec<(IncomingRecord, ProblemCause)>,
    /// Whether the relay does not answer any more.
    is_unreached: bool,
}

impl User {
    /// Takes from a relay what waits there, into the inbox. Nothing is acknowledged yet.
    ///
    /// # Errors
    /// [`UserError::Relay`], if the relay does not answer or refuses, and [`UserError::Vault`]. What is wrong with one message
    /// is in [`ReceiveReport::problems`].
    pub fn receive(&mut self, relay: &Relay<'_>, now: UnixMillis) -> Result<ReceiveReport, UserError> {
        self.ensure_published(relay, now)?;
        let mut report = ReceiveReport {
            is_inbox_full: self.vault.read(|rows| rows.count::<InboxRecord>())? >= INBOX_MAX,
            ..ReceiveReport::default()
        };
        if !report.is_inbox_full {
            // First what came by the mailbox: whatever a sender has by the other door since then is younger.
            self.collect(relay, now, &mut report.problems)?;
            let handed_over: Vec<HandedOver> = self.ask(relay, &Tool::ReadMessages { peer: None, keep: None }, now)?;
            self.write_down(handed_over, now, &mut report)?;
        }
        let (mut look, mut place) = (Look::default(), 0);
        while let Some(incoming) = self.vault.read(|rows| rows.after::<IncomingRecord>(place))? {
            place = incoming.number;
            self.take_in(relay, incoming, now, &mut look, &mut report)?;
        }
        for (incoming, cause) in std::mem::take(&mut look.refused) {
            if !look.is_unreached {
                self.refuse(relay, &incoming, cause, now, &mut look, &mut report)?;
            }
        }
        self.vault.change(|rows| rows.keep_last::<IncomingRecord>(INCOMING_MAX))?;
        self.open_mailbox(relay, now)?;
        Ok(report)
    }

    /// Writes down what the relay has deleted by now.
    fn write_down(
        &mut self,
        handed_over: Vec<HandedOver>,
        now: UnixMillis,
        report: &mut ReceiveReport,
    ) -> Result<(), UserError> {
        self.vault.change(|rows| {
            let mut number = rows.next_place::<IncomingRecord>()?;
            for message in handed_over {
                let header = message.header().filter(|_| message.body.len() <= CIPHERTEXT_MAX_BYTES);
                let Some((from, kind)) = header else {
                    report.problems.push(Problem { peer: None, cause: ProblemCause::NoMessage });
                    continue;
                };
                let hash = hex(&sha256(&[message.body.as_bytes()]));
                let ciphertext = Ciphertext { mtype: kind.number(), body: message.body };
                rows.put(&IncomingRecord { number, from, ciphertext, hash, received_at: now })?;
                offer_again(rows, from)?;
                number = number.saturating_add(1);
            }
            Ok(())
        })
    }

    /// Does with a message what is to be done, but for refusing it.
    fn take_in(
        &mut self,
        relay: &Relay<'_>,
        incoming: IncomingRecord,
        now: UnixMillis,
        look: &mut Look,
        report: &mut ReceiveReport,
    ) -> Result<(), UserError> {
        let from = incoming.from;
        if look.without_keys.contains(&from) {
            return Ok(());
        }
        let mut step = self.settle(&incoming, now, report)?;
        if matches!(step, Step::NeedsKeys) {
            // The rest is there the next time.
            if look.is_unreached || look.fetched >= REQUESTS_AT_ONCE {
                return Ok(());
            }
            look.fetched += 1;
            match self.fetch_keys(relay, from, now) {
                Ok(_) => step = self.settle(&incoming, now, report)?,
                Err(error) => {
                    look.without_keys.insert(from);
                    let cause = error.into_cause()?;
                    look.is_unreached |= matches!(cause, ProblemCause::Relay(RelayError::Unreached { .. }));
                    report.problems.push(Problem { peer: Some(from), cause });
                    if now.since(incoming.received_at) > MESSAGE_LASTS {
                        report.problems.push(Problem { peer: Some(from), cause: ProblemCause::GivenUp });
                        self.forget(&incoming)?;
                    }
                    return Ok(());
                }
            }
        }
        match step {
            Step::TakenIn => report.taken_in += 1,
            Step::Acknowledged => report.acknowledged += 1,
            Step::Duplicate => report.duplicates += 1,
            Step::Granted | Step::Gone | Step::NeedsKeys => {}
            Step::NotTheirs => self.forget(&incoming)?,
            Step::Refuse(cause) if look.refused.len() < REQUESTS_AT_ONCE => look.refused.push((incoming, cause)),
            Step::Refuse(_) => {}
        }
        Ok(())
    }

    /// Tells the sender of a message, by the relay, that it is refused.
    fn refuse(
        &mut self,
        relay: &Relay<'_>,
        incoming: &IncomingRecord,
        cause: ProblemCause,
        now: UnixMillis,
        look: &mut Look,
        report: &mut ReceiveReport,
    ) -> Result<(), UserError> {
        let is_undecryptable = matches!(cause, ProblemCause::Undecryptable);
        let mut problem = |cause| report.problems.push(Problem { peer: Some(incoming.from), cause });
        problem(cause);
        let hash = sha256(&[incoming.ciphertext.body.as_bytes()]);
        let signature = self.signer.sign(refusal_text(self.id, &hash)).to_base64();
        match self.ask::<IgnoredAny>(relay, &Tool::Nack { hash, signature }, now) {
            // The relay does not know how to refuse, or has no room for it: the message is dropped all the same.
            Ok(_) | Err(UserError::Relay(RelayError::Refused { .. })) => self.vault.change(|rows| {
                if is_undecryptable {
                    begin_anew(rows, incoming.from, now)?;
                }
                remove(rows, incoming)
            })?,
            // It is refused the next time.
            Err(error) => {
                let cause = error.into_cause()?;
                look.is_unreached |= matches!(cause, ProblemCause::Relay(RelayError::Unreached { .. }));
                problem(cause);
            }
        }
        Ok(())
    }

    fn forget(&mut self, incoming: &IncomingRecord) -> Result<(), VaultError> {
        self.vault.change(|rows| remove(rows, incoming))
    }

    /// Decrypts a message into the inbox. All that it changes is written together.
    fn settle(
        &mut self,
        incoming: &IncomingRecord,
        now: UnixMillis,
        report: &mut ReceiveReport,
    ) -> Result<Step, UserError> {
        let IncomingRecord { from, hash, received_at, .. } = incoming;
        let from = *from;
        self.vault.change(|rows| {
            if !rows.has::<IncomingRecord>(&IncomingRecord::name_of(from, hash))? {
                return Ok(Step::Gone);
            }
            let sender = peer(rows, from)?;
            if sender.is_blocked {
                return Ok(Step::Refuse(ProblemCause::Blocked));
            }
            let profile = rows.get::<ProfileRecord>("")?.ok_or(UserError::AccountAbsent)?;
            let is_stranger = profile.admission == Admission::Contacts && sender.name.is_none();
            // Whoever was given a code is no contact yet.
            if is_stranger && !is_any_good(rows, now)? {
                return Ok(Step::Refuse(ProblemCause::Stranger));
            }
            if let Some(seen) = rows.get::<SeenBody>(hash)? {
                if seen.from.is_none_or(|seen_from| seen_from == from)
                    && let Some(message) = seen.message
                {
                    acknowledge_again(rows, from, &message)?;
                }
                remove(rows, incoming)?;
                return Ok(Step::Duplicate);
            }
            let plaintext = match decrypt(rows, incoming)? {
                Decrypted::Plain(plaintext) => plaintext,
                Decrypted::NeedsKeys => return Ok(Step::NeedsKeys),
                Decrypted::Never => return Ok(Step::Refuse(ProblemCause::Undecryptable)),
                Decrypted::NotTheirs => return Ok(Step::NotTheirs),
            };
            let Some((payload, offered)) = Payload::parse(&plaintext) else {
                return Ok(Step::Refuse(ProblemCause::Unreadable));
            };
            match &payload {
                Payload::ContactRequest { code, card, .. } => match redeem(rows, from, code, card.as_ref(), now)? {
                    Ok(is_redeemed) => report.redeemed.extend(is_redeemed.then_some(from)),
                    Err(refusal) => return Ok(Step::Refuse(ProblemCause::RequestRefused { refusal })),
                },
                _ if is_stranger => return Ok(Step::Refuse(ProblemCause::Stranger)),
                _ => {}
            }
            remove(rows, incoming)?;
            let (message, step) = match payload {
                Payload::Acknowledgement { id } => (None, acknowledged(rows, from, &id)?),
                Payload::ContactRequest { id, .. } => {
                    let name = InboxRecord::name_of(from, &id);
                    let step = if rows.has::<SeenMessage>(&name)? {
                        acknowledge_again(rows, from, &id)?;
                        Step::Duplicate
                    } else {
                        let number = rows.next_place::<SeenMessage>()?;
                        rows.put(&SeenMessage { from, id: id.clone(), number, is_dropped: false })?;
                        let number = rows.next_place::<DueRecord>()?;
                        rows.put(&DueRecord { to: from, message: id.clone(), number, is_repeated: false })?;
                        Step::Granted
                    };
                    (Some(id), step)
                }
                Payload::Message { id, claimed_name, content } => {
                    let seen = rows.get::<SeenMessage>(&InboxRecord::name_of(from, &id))?;
                    let step = if seen.as_ref().is_some_and(|seen| !seen.is_dropped) {
                        acknowledge_again(rows, from, &id)?;
                        Step::Duplicate
                    } else {
                        let number = rows.next_place::<SeenMessage>()?;
                        rows.put(&SeenMessage { from, id: id.clone(), number, is_dropped: false })?;
                        rows.put(&InboxRecord {
                            number: rows.next_place::<InboxRecord>()?,
                            id: id.clone(),
                            from,
                            claimed_name,
                            content,
                            received_at: *received_at,
                            is_offered: seen.is_some(),
                        })?;
                        Step::TakenIn
                    };
                    (Some(id), step)
                }
            };
            // After an acknowledgement has taken its message for read.
            if let Some(cause) = take_offer(rows, from, offered, now)? {
                report.problems.push(Problem { peer: Some(from), cause });
            }
            let number = rows.next_place::<SeenBody>()?;
            rows.put(&SeenBody { from: Some(from), hash: hash.clone(), message, number })?;
            Ok(step)
        })
    }

    /// Hands over what is in the inbox, the oldest first; of these senders alone, unless there are none. A message that is
    /// [`Taken`](Disposition::Taken) is gone from the inbox, and its acknowledgement is due. One that is
    /// [`Kept`](Disposition::Kept) stays for the next time. One that is [`Declined`](Disposition::Declined) stays as if it had
    /// not been offered, and ends the delivery. Returns how many were taken.
    ///
    /// That a message is offered is written down before `take` is called, and that it was taken after: one whose program was
    /// killed in between is offered again, as [`Message::redelivered`]. Another program that delivers from this store at the
    /// same time waits.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn deliver(
        &mut self,
        from: &[UserId],
        mut take: impl FnMut(&Message) -> Disposition,
    ) -> Result<usize, UserError> {
        let _lock = self.lock_inbox()?;
        let mut taken: Option<InboxRecord> = None;
        let (mut place, mut count) = (0, 0);
        loop {
            let offered = self.vault.change(|rows| {
                if let Some(taken) = taken.take() {
                    note_taken(rows, &taken)?;
                }
                offer(rows, from, &mut place)
            })?;
            let Some((record, message)) = offered else { return Ok(count) };
            match take(&message) {
                Disposition::Taken => {
                    taken = Some(record);
                    count += 1;
                }
                Disposition::Kept => {}
                Disposition::Declined => {
                    self.vault.change(|rows| withdraw(rows, &record))?;
                    return Ok(count);
                }
            }
        }
    }

    /// Returns whether another program delivers from this store now: [`User::deliver`] would wait for it.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn is_delivering(&self) -> Result<bool, UserError> {
        Ok(self.try_lock_inbox()?.is_none())
    }

    /// Returns nothing where another program delivers from this store now.
    pub(super) fn try_lock_inbox(&self) -> Result<Option<File>, VaultError> {
        let (path, file) = self.open_lock()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(VaultError::Unusable { path, reason: error.to_string() }),
        }
    }

    fn lock_inbox(&self) -> Result<File, VaultError> {
        let (path, file) = self.open_lock()?;
        match file.lock() {
            Ok(()) => Ok(file),
            Err(error) => Err(VaultError::Unusable { path, reason: error.to_string() }),
        }
    }

    fn open_lock(&self) -> Result<(PathBuf, File), VaultError> {
        let path = self.vault.directory().join(LOCK);
        match open_lock(&path) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(VaultError::Unusable { path, reason: error.to_string() }),
        }
    }
}

fn remove(rows: &Rows<'_>, incoming: &IncomingRecord) -> Result<(), VaultError> {
    rows.remove::<IncomingRecord>(&IncomingRecord::name_of(incoming.from, &incoming.hash)).map(drop)
}

/// Makes the acknowledgement of a message due, unless the program has not taken the message yet.
fn acknowledge_again(rows: &Rows<'_>, from: UserId, message: &str) -> Result<(), VaultError> {
    if rows.has::<InboxRecord>(&InboxRecord::name_of(from, message))? {
        return Ok(());
    }
    // One that has not left yet is not repeated.
    if rows.has::<DueRecord>(&InboxRecord::name_of(from, message))? {
        return Ok(());
    }
    let number = rows.next_place::<DueRecord>()?;
    rows.put(&DueRecord { to: from, message: message.to_owned(), number, is_repeated: true })
}

/// Takes a message out of the outbox, if it went to the peer who acknowledges it.
fn acknowledged(rows: &Rows<'_>, by: UserId, message: &str) -> Result<Step, VaultError> {
    let is_theirs = rows.get::<OutgoingRecord>(message)?.is_some_and(|outgoing| outgoing.to == by);
    if is_theirs {
        rows.remove::<OutgoingRecord>(message)?;
        detach(rows, by, message, true)?;
    }
    Ok(if is_theirs { Step::Acknowledged } else { Step::Duplicate })
}

/// Returns the next message of these senders, which is written down as offered.
fn offer(rows: &Rows<'_>, from: &[UserId], place: &mut u64) -> Result<Option<(InboxRecord, Message)>, UserError> {
    while let Some(record) = rows.after::<InboxRecord>(*place)? {
        *place = record.number;
        if from.is_empty() || from.contains(&record.from) {
            if !record.is_offered {
                rows.put(&InboxRecord { is_offered: true, ..record.clone() })?;
            }
            let message = message_of(rows, &record)?;
            return Ok(Some((record, message)));
        }
    }
    Ok(None)
}

/// Returns a message as it is handed over.
pub(super) fn message_of(rows: &Rows<'_>, record: &InboxRecord) -> Result<Message, VaultError> {
    Ok(Message {
        id: record.id.clone(),
        from: record.from,
        saved_name: peer(rows, record.from)?.name,
        claimed_name: record.claimed_name.clone(),
        content: record.content.clone(),
        received_at: record.received_at,
        redelivered: record.is_offered,
        handle: record.handle(),
    })
}

/// Drops what is in the inbox of a peer. Nothing remembers it for a copy of what was taken: when it is sent again, it is
/// taken in again, else it would be acknowledged and never shown.
pub(super) fn drop_inbox(rows: &Rows<'_>, from: UserId) -> Result<(), VaultError> {
    let mut dropped = BTreeSet::new();
    for message in rows.of_peer::<InboxRecord>(from)? {
        let name = InboxRecord::name_of(from, &message.id);
        rows.remove::<InboxRecord>(&name)?;
        match rows.get::<SeenMessage>(&name)? {
            Some(seen) if message.is_offered => rows.put(&SeenMessage { is_dropped: true, ..seen })?,
            _ => drop(rows.remove::<SeenMessage>(&name)?),
        }
        dropped.insert(message.id);
    }
    for body in rows.of_peer::<SeenBody>(from)? {
        if body.message.as_ref().is_some_and(|message| dropped.contains(message)) {
            rows.remove::<SeenBody>(&body.hash)?;
        }
    }
    Ok(())
}

/// Writes down that a message was not offered, unless it was before.
fn withdraw(rows: &Rows<'_>, offered: &InboxRecord) -> Result<(), VaultError> {
    // One that is gone was dropped with its sender meanwhile.
    if rows.has::<InboxRecord>(&InboxRecord::name_of(offered.from, &offered.id))? {
        rows.put(offered)?;
    }
    Ok(())
}

pub(super) fn note_taken(rows: &Rows<'_>, taken: &InboxRecord) -> Result<(), VaultError> {
    if rows.remove::<InboxRecord>(&InboxRecord::name_of(taken.from, &taken.id))? {
        let number = rows.next_place::<DueRecord>()?;
        rows.put(&DueRecord { to: taken.from, message: taken.id.clone(), number, is_repeated: false })?;
    }
    Ok(())
}
