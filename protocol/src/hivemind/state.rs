//! The mailbox of one key at one relay: messages that wait, and proofs that have served.
//!
//! What was judged comes in with the time; a reply goes out, and with [`Mailbox::take_changes`] what is to be written. The host
//! writes all changes of one call together, and answers when they are durable. Any first part of them is a state that the
//! mailbox can go on from: what was handed over is erased before the proof that it was handed over to, so that no message ever
//! waits again.
//!
//! A mailbox is opened by its owner's first retrieval, and holds little before that: anybody can make a key up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::key::MailboxId;
use super::limits::{
    HANDED_LASTS, MESSAGE_LASTS, MESSAGES_MAX, OPENED_LASTS, PROOFS_MAX, ROOM, SHARE, UNOPENED_MESSAGE_LASTS,
    UNOPENED_MESSAGES_MAX, UNOPENED_ROOM,
};
use super::proof::ProofId;
use super::refused::Refused;
use super::row::{self, Message, Served, UsedProof};
use crate::mailbox::bytes::{Bytes, sha256};
use crate::mailbox::state::{Change, RestoreError};
use crate::network::HandedOver;
use crate::secret::Secret;
use crate::time::{DAY_SECONDS, UnixMillis};

/// How often it is written at most that the owner was here, and how far a clock that was ahead is believed.
const DAY: Duration = Duration::from_secs(DAY_SECONDS);

/// Holds a message that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The SHA-256 of its payload.
    pub content: Bytes<32>,
    /// The bytes that are handed over.
    pub size: u64,
    /// How long it is to wait.
    pub lifetime: Duration,
    /// Whose key has proved that it is its own, by the name of that key's mailbox.
    pub depositor: Option<MailboxId>,
    /// Where it comes from.
    pub network: HandedOver,
}

/// Names a deposit, in the form of a UUID (RFC 9562, version 8): of one payload in one mailbox always the same, and nobody
/// can compute it elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepositId([u8; 16]);

impl fmt::Display for DepositId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(formatter, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Says what became of a message that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deposited {
    /// It waits from now on.
    Stored(DepositId),
    /// The same is here already.
    Held(DepositId),
    /// Nobody has opened the mailbox: to be asked again once there is room for so many bytes among all that are unopened.
    NeedsRoom,
}

/// Says what became of a depositor's proof that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It hands over nothing.
    Done,
    /// There is nothing of this mailbox: to be asked again once there is room for it among all that are unopened.
    NeedsRoom,
}

/// Says what became of a retrieval that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retrieved {
    /// The numbers of the messages that are handed over, the oldest first, and whether they were before.
    Messages {
        /// The numbers.
        numbers: Vec<u64>,
        /// Whether it is the very request that got them before.
        is_again: bool,
    },
    /// There is nothing of this mailbox, and no place for it.
    NoPlace,
}

/// Holds the mailbox of one key.
#[derive(Debug)]
pub struct Mailbox {
    id: MailboxId,
    secret: Secret,
    /// When its owner last retrieved, to the day. Absent where nobody has proved to be the owner.
    opened: Option<UnixMillis>,
    messages: BTreeMap<u64, Message>,
    proofs: BTreeMap<ProofId, UsedProof>,
    /// The numbers of messages that were handed over, and are here for the very same request alone.
    handed: BTreeSet<u64>,
    last_number: u64,
    changes: Vec<Change>,
}

impl Mailbox {
    /// Makes the mailbox of what was written, in any order. `secret` is what networks are hashed under.
    ///
    /// # Errors
    /// [`RestoreError`] names what cannot be read. Never is a mailbox made of the rest.
    pub fn restore(
        id: MailboxId,
        secret: Secret,
        rows: impl IntoIterator<Item = (String, String)>,
        messages: impl IntoIterator<Item = (u64, String)>,
    ) -> Result<Self, RestoreError> {
        let mut mailbox = Self {
            id,
            secret,
            opened: None,
            messages: BTreeMap::new(),
            proofs: BTreeMap::new(),
            handed: BTreeSet::new(),
            last_number: 0,
            changes: Vec::new(),
        };
        let reason = || "not what is written there".to_owned();
        for (name, row) in rows {
            if mailbox.read_row(&name, &row).is_none() {
                return Err(RestoreError::Row { name, reason: reason() });
            }
        }
        for (number, row) in messages {
            let message = Message::parse(&row).ok_or_else(|| RestoreError::Message { number, reason: reason() })?;
            mailbox.messages.insert(number, message);
        }
        let numbers = mailbox.messages.keys().chain(&mailbox.handed).copied();
        mailbox.last_number = numbers.max().unwrap_or(0);
        Ok(mailbox)
    }

    fn read_row(&mut self, name: &str, row: &str) -> Option<()> {
        if name == row::OPENED {
            self.opened = Some(row::parse_time(row)?);
        } else {
            let proof = row::parse_proof(name.strip_prefix(row::PROOF)?)?;
            let used = UsedProof::parse(row)?;
            if let Served::HandedOver { numbers, .. } = &used.served {
                self.handed.extend(numbers);
            }
            self.proofs.insert(proof, used);
        }
        Some(())
    }

    /// Returns whether there is nothing of it.
    pub fn is_absent(&self) -> bool {
        self.opened.is_none() && self.messages.is_empty() && self.proofs.is_empty()
    }

    /// Returns the secret under which networks are hashed.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Takes what is to be written since this was last called.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Returns when something ends.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        let messages = self.messages.values().map(|message| message.ends_at).min();
        let proofs = self.proofs.values().map(ends_at).min();
        let lapses = self.opened.map(|at| at.after(OPENED_LASTS));
        [messages, proofs, lapses].into_iter().flatten().min()
    }

    /// Takes away what has ended. Early or repeated, nothing happens.
    pub fn expire(&mut self, now: UnixMillis) {
        self.end(now);
        if self.opened.is_some_and(|at| at.after(OPENED_LASTS) <= now) {
            self.opened = None;
            self.changes.push(Change::Erase { name: row::OPENED.to_owned() });
        }
    }

    fn end(&mut self, now: UnixMillis) {
        // What came while the clock was ahead ends with what comes now.
        let has_ended = |message: &Message| message.ends_at <= now || message.received_at > now.after(MESSAGE_LASTS);
        let ended: Vec<_> = self.messages.iter().filter(|(_, it)| has_ended(it)).map(|(number, _)| *number).collect();
        for number in ended {
            self.remove(number);
        }
        let is_over = |used: &UsedProof| ends_at(used) <= now || ends_at(used) > now.after(DAY);
        let over: Vec<_> = self.proofs.iter().filter(|(_, used)| is_over(used)).map(|(proof, _)| *proof).collect();
        for proof in over {
            let Some(used) = self.proofs.remove(&proof) else { continue };
            if let Served::HandedOver { numbers, .. } = used.served {
                for number in numbers {
                    self.handed.remove(&number);
                    self.remove(number);
                }
            }
            // After its messages: else a crash between the two would let them wait again.
            self.changes.push(Change::Erase { name: row::proof_name(proof) });
        }
    }

    fn remove(&mut self, number: u64) {
        if self.messages.remove(&number).is_some() {
            self.changes.push(Change::EraseMessage { number });
        }
    }

    fn is_opened(&self, now: UnixMillis) -> bool {
        self.opened.is_some_and(|at| now < at.after(OPENED_LASTS))
    }

    /// Returns what waits, and was not handed over.
    fn waiting(&self) -> impl Iterator<Item = (&u64, &Message)> {
        self.messages.iter().filter(|(number, _)| !self.handed.contains(number))
    }

    /// Returns what names a payload here.
    fn deposit_id(&self, content: &Bytes<32>) -> DepositId {
        let parts: [&[u8]; 4] =
            [b"rendezvous-hivemind-deposit\0", self.secret.as_bytes(), self.id.as_bytes(), &content.0];
        let mut id: [u8; 16] = sha256(&parts).first_chunk().copied().unwrap_or_default();
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
        *version = *version & 0x0f | 0x80;
        *variant = *variant & 0x3f | 0x80;
        DepositId(id)
    }

    /// Takes a message in. `has_room` says whether there is room for it among all mailboxes that nobody has opened.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn deposit(&mut self, now: UnixMillis, incoming: Incoming, has_room: bool) -> Result<Deposited, Refused> {
        self.end(now);
        let Incoming { content, size, lifetime, depositor, network } = incoming;
        let id = self.deposit_id(&content);
        if self.messages.values().any(|message| message.content == content) {
            return Ok(Deposited::Held(id));
        }
        let site = Bytes(network.hashed(&self.secret).site.to_bytes());
        let is_opened = self.is_opened(now);
        let longest = if is_opened { MESSAGE_LASTS } else { UNOPENED_MESSAGE_LASTS };
        let ends_at = now.after(lifetime.min(longest));
        let message = Message { received_at: now, ends_at, content, size, site, depositor };
        if !self.has_room_for(&message, is_opened) {
            return Err(Refused::Full);
        }
        if !is_opened && !has_room {
            return Ok(Deposited::NeedsRoom);
        }
        // The time, so that no number is given twice although none is written.
        let number = now.as_u64().max(self.last_number.saturating_add(1));
        self.last_number = number;
        self.messages.insert(number, message);
        self.changes.push(Change::PutMessage { number, row: message.to_text() });
        Ok(Deposited::Stored(id))
    }

    fn has_room_for(&self, new: &Message, is_opened: bool) -> bool {
        let sum = |is_it: &dyn Fn(&Message) -> bool| {
            let found = self.waiting().filter(|(_, message)| is_it(message));
            found.fold((1, new.size), |(count, bytes), (_, message)| (count + 1, bytes + message.size))
        };
        let (count, bytes) = sum(&|_| true);
        if !is_opened {
            return count <= UNOPENED_MESSAGES_MAX && bytes <= UNOPENED_ROOM && self.messages.len() < MESSAGES_MAX;
        }
        let share = MESSAGES_MAX / SHARE as usize;
        let (of_site, bytes_of_site) = sum(&|message| message.site == new.site);
        let (of_key, _) = sum(&|message| message.depositor == new.depositor);
        // What was handed over is here for a while yet.
        let (here, bytes_here) =
            self.messages.values().fold((1, new.size), |(count, bytes), message| (count + 1, bytes + message.size));
        count <= MESSAGES_MAX
            && bytes <= ROOM
            && of_site <= share
            && bytes_of_site <= ROOM / SHARE
            && (new.depositor.is_none() || of_key <= share)
            && here <= 2 * MESSAGES_MAX
            && bytes_here <= 2 * ROOM
    }

    /// Notes that a proof by the owner came with a deposit: the same bytes would hand over the owner's own messages. `until` is
    /// when it counts no more, `has_room` as with [`Mailbox::deposit`].
    ///
    /// # Errors
    /// [`Refused`], where it has handed something over, or too many are remembered.
    pub fn note_deposit(
        &mut self,
        now: UnixMillis,
        proof: ProofId,
        until: UnixMillis,
        has_room: bool,
    ) -> Result<Noted, Refused> {
        self.end(now);
        match self.proofs.get(&proof).map(|used| &used.served) {
            Some(Served::Deposit) => return Ok(Noted::Done),
            Some(Served::HandedOver { .. }) => return Err(Refused::DepositorInvalid),
            None if self.proofs.len() >= PROOFS_MAX => return Err(Refused::TooManyProofs),
            None if self.is_absent() && !has_room => return Ok(Noted::NeedsRoom),
            None => {}
        }
        self.remember(proof, UsedProof { until, served: Served::Deposit });
        Ok(Noted::Done)
    }

    /// Hands over what waits to whoever has proved to be the owner. `until` is when the proof counts no more, `opens` whether
    /// there is a place for the mailbox among all that are open.
    ///
    /// # Errors
    /// [`Refused`], where the proof has served, or too many are remembered.
    pub fn retrieve(
        &mut self,
        now: UnixMillis,
        proof: ProofId,
        until: UnixMillis,
        opens: bool,
    ) -> Result<Retrieved, Refused> {
        self.end(now);
        match self.proofs.get(&proof).map(|used| &used.served) {
            Some(Served::HandedOver { at, numbers })
                if now < at.after(HANDED_LASTS) && *at <= now.after(HANDED_LASTS) =>
            {
                let numbers = numbers.iter().filter(|number| self.messages.contains_key(number)).copied().collect();
                return Ok(Retrieved::Messages { numbers, is_again: true });
            }
            Some(_) => return Err(Refused::Replayed),
            None if self.proofs.len() >= PROOFS_MAX => return Err(Refused::TooManyProofs),
            None if self.is_absent() && !opens => return Ok(Retrieved::NoPlace),
            None => {}
        }
        if opens && self.opened.is_none_or(|at| now < at || now.since(at) >= DAY) {
            self.opened = Some(now);
            self.changes.push(Change::Put { name: row::OPENED.to_owned(), row: now.to_string() });
        }
        let numbers: Vec<_> = self.waiting().map(|(number, _)| *number).collect();
        self.handed.extend(&numbers);
        self.remember(proof, UsedProof { until, served: Served::HandedOver { at: now, numbers: numbers.clone() } });
        Ok(Retrieved::Messages { numbers, is_again: false })
    }

    fn remember(&mut self, proof: ProofId, used: UsedProof) {
        self.changes.push(Change::Put { name: row::proof_name(proof), row: used.to_text() });
        self.proofs.insert(proof, used);
    }
}

/// Returns when a proof, and what was handed over for it, is needed no more.
fn ends_at(used: &UsedProof) -> UnixMillis {
    match &used.served {
        Served::Deposit => used.until,
        Served::HandedOver { at, .. } => used.until.max(at.after(HANDED_LASTS)),
    }
}
