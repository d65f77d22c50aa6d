//! The state machine of one mailbox at one relay.
//!
//! Records come in verified, with the time; an answer goes out, and with [`Mailbox::take_changes`] what is to be written.
//! The host writes these changes in their order, and answers when they are durable. Between any two of them it may crash:
//! [`Mailbox::restore`] makes of the rows a state that the mailbox had before the call, after it, or would have had if part
//! of it had been asked. So what frees a sequence is written before the message goes, and what lists a mailbox before what
//! is in it.
//!
//! Nothing is written for a mailbox that does not exist: asking is free. The sealed bytes themselves never come here: the
//! host keeps them with a message's row, and hands them over by its number.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use super::bytes::{Address, Bytes};
use super::envelope::Verified;
use super::limits::{
    CLOSED_IS_SAID, COLLECT_MAX_BYTES, DEPOSIT_MAX_LIFETIME, DEPOSITS_PER_DAY, GROWS_AFTER_DAYS, LAPSES_AFTER_DAYS,
    LEASE, MESSAGES_MAX, NONCES_MAX, REQUEST_MAX_BYTES, REQUEST_ROOM, REQUEST_SKEW, REQUESTS_MAX, REQUESTS_PER_KEY,
    REVISION_IS_REMEMBERED, ROOM, ROOM_AT_FIRST, SLOT_SHARE, STRUCK_OFF_MAX,
};
use super::prekeys::{Claimed, Pool};
use super::proof::{Proof, day_of};
use super::record::{
    Ack, Card, Claim, Close, Collect, Deposit, Live, Policy, Prekeys, Record, RecordError, SlotQuestion, malformed,
};
use super::refused::Refused;
use super::row::{self, ClosedRow, Lease, LeasesRow, Message, OpenRow, SlotRow};
use super::window::Window;
use crate::fields::bytes_of;
use crate::key::PublicKey;
use crate::network::{HandedOver, NetworkPath};
use crate::origin::Origin;
use crate::roster::surplus_of;
use crate::secret::Secret;
use crate::sorted_map::SortedMap;
use crate::sorted_set::SortedSet;
use crate::time::{DAY_MILLIS, UnixMillis};

/// Says what is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A message is here: its row, and beside it the deposit and the sealed bytes, which the host has.
    PutMessage {
        /// The message's number, which no other has or had while it was here.
        number: u64,
        /// What [`Mailbox::restore`] takes.
        row: String,
    },
    /// A message is gone.
    EraseMessage {
        /// The message's number.
        number: u64,
    },
    /// A row is new or another.
    Put {
        /// The row's name.
        name: String,
        /// What [`Mailbox::restore`] takes.
        row: String,
    },
    /// A row is gone.
    Erase {
        /// The row's name.
        name: String,
    },
}

/// Says which part of storage cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A row.
    #[error("the mailbox's row {name:?} cannot be read: {reason}")]
    Row {
        /// The row's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The row of a message.
    #[error("the row of message {number} cannot be read: {reason}")]
    Message {
        /// The message's number.
        number: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Says what became of a deposit that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deposited {
    /// The message waits.
    Accepted {
        /// Its number, under which it is written.
        number: u64,
        /// Messages of the slot that wait.
        unacknowledged: usize,
        /// How many may.
        limit: u8,
        /// When the message ends here.
        ends_at: UnixMillis,
    },
    /// The same message of the same slot waits already.
    Duplicate {
        /// Messages of the slot that wait.
        unacknowledged: usize,
        /// When the message ends here.
        ends_at: UnixMillis,
    },
    /// The recipient has acknowledged the sequence.
    Acknowledged {
        /// The acknowledgement that reaches furthest, in its normal form.
        ack: String,
    },
    /// A message with that sequence ended here, unread.
    Ended,
}

/// Holds one message of an answer to a collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The message's number.
    pub number: u64,
    /// When it came, in whole minutes.
    pub received_at: UnixMillis,
    /// Whether it is a stranger's.
    pub is_request: bool,
}

/// Says of whom messages were refused since the recipient last acknowledged one of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedSlot {
    /// The slot key.
    pub slot: PublicKey,
    /// How many.
    pub count: u64,
    /// Since when.
    pub since: UnixMillis,
}

/// Counts what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Messages.
    pub messages: usize,
    /// Sealed bytes.
    pub bytes: u64,
    /// Messages of strangers.
    pub requests: usize,
}

/// Holds the answer to a collect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// In the order in which they came.
    pub messages: Vec<Handed>,
    /// Until then nobody else is given these.
    pub lease_until: UnixMillis,
    /// Whether there are more.
    pub more: bool,
    /// Whose messages were refused.
    pub refused: Vec<RefusedSlot>,
    /// What waits, these messages counted in.
    pub pending: Pending,
    /// One-time keys that are left.
    pub one_time_keys: usize,
    /// The policy's revision.
    pub policy_revision: u64,
}

/// Says to whom the news of a mailbox are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The owner or a reader, who is told what waits.
    Reader,
    /// A slot, which is told what was acknowledged.
    Slot,
}

/// Holds what a sender may know of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStatus {
    /// The acknowledgement that reaches furthest, in its normal form: the sender's receipt.
    pub ack: Option<String>,
    /// The highest sequence that came here.
    pub highest: u64,
    /// Messages that wait.
    pub unacknowledged: usize,
    /// How many may.
    pub limit: u8,
}

/// Holds one mailbox. The cost of a call is proportional to the number of messages.
#[derive(Debug)]
pub struct Mailbox {
    address: Address,
    state: State,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum State {
    Absent,
    Closed(ClosedRow),
    Open(Box<Open>),
}

#[derive(Debug)]
struct Open {
    card: Verified<Card>,
    policy: Verified<Policy>,
    /// Revisions of a mailbox that was here before end with this one.
    above: u64,
    struck_off: Vec<Bytes<8>>,
    secret: Secret,
    collected_on: u64,
    collect_days: u64,
    /// Of listed slots alone.
    slots: SortedMap<PublicKey, Slot>,
    /// By number, which is the order in which they came.
    messages: SortedMap<u64, Message>,
    next_number: u64,
    leases: Vec<Lease>,
    prekeys: Option<Pool>,
    /// Of collects, the oldest first.
    nonces: VecDeque<(Bytes<16>, UnixMillis)>,
}

#[derive(Debug, Default)]
struct Slot {
    window: Window,
    /// The one that reaches furthest.
    ack: Option<Verified<Ack>>,
    /// The day of `deposits`.
    day: u64,
    /// Messages that came on that day and do not wait any more.
    deposits: u64,
    refused: u64,
    refused_since: Option<UnixMillis>,
}

impl Slot {
    /// Notes that a message which came then does not wait any more.
    fn note_gone(&mut self, received_at: UnixMillis, today: u64) {
        // What a clock counted that was ahead is no other day's.
        if self.day > today {
            (self.day, self.deposits) = (today, 0);
        }
        let day = day_of(received_at).min(today);
        if day > self.day {
            (self.day, self.deposits) = (day, 0);
        }
        if day == self.day {
            self.deposits += 1;
        }
    }

    fn note_refused(&mut self, now: UnixMillis) {
        self.refused += 1;
        self.refused_since.get_or_insert(now);
    }

    fn put(&self, key: PublicKey) -> Change {
        let row = SlotRow {
            ack: self.ack.as_ref().map(|ack| Cow::Borrowed(ack.as_json())),
            day: self.day,
            deposits: self.deposits,
            refused: self.refused,
            refused_since: self.refused_since,
            window: Cow::Borrowed(&self.window),
        };
        Change::Put { name: slot_name(key), row: row::text(&row) }
    }
}

fn slot_name(key: PublicKey) -> String {
    format!("{}{key}", row::SLOT)
}

fn erase(name: &str) -> Change {
    Change::Erase { name: name.to_owned() }
}

fn beginning(key: PublicKey) -> Bytes<8> {
    Bytes(key.as_bytes().first_chunk().copied().unwrap_or_default())
}

fn is_owner(address: Address, key: &PublicKey) -> bool {
    Address::of(key) == address
}

const fn start_of_day(day: u64) -> UnixMillis {
    UnixMillis::saturating(day.saturating_mul(DAY_MILLIS))
}

impl Open {
    fn new(card: Verified<Card>, policy: Verified<Policy>, above: u64, secret: Secret, today: u64) -> Self {
        Self {
            card,
            policy,
            above,
            struck_off: Vec::new(),
            secret,
            collected_on: today,
            collect_days: 0,
            slots: SortedMap::new(),
            messages: SortedMap::new(),
            next_number: 1,
            leases: Vec::new(),
            prekeys: None,
            nonces: VecDeque::new(),
        }
    }

    fn card_counts(&self, now: UnixMillis) -> bool {
        self.card.payload().expires_at > now
    }

    /// Returns the limit of a slot in the newest policy, whether or not that counts now.
    fn listed_limit(&self, key: &PublicKey) -> Option<u8> {
        self.policy.payload().slots().find(|(slot, ..)| slot == key).map(|(_, limit, _)| limit)
    }

    /// Returns the limit of a slot that may be written to now.
    fn limit(&self, key: &PublicKey, now: UnixMillis) -> Option<u8> {
        let policy = self.policy.payload();
        let (_, limit, ends_at) = policy.slots().find(|(slot, ..)| slot == key)?;
        (policy.expires_at > now && ends_at.is_none_or(|ends_at| ends_at > now)).then_some(limit)
    }

    /// Checks what is asked of strangers.
    fn check_stranger(
        &self,
        now: UnixMillis,
        address: Address,
        key: &PublicKey,
        subject: &str,
        proof: Option<Proof>,
    ) -> Result<(), Refused> {
        let Card { requests, .. } = self.card.payload();
        if !requests.open || !self.card_counts(now) || self.listed_limit(key).is_some() {
            return Err(Refused::SlotUnknown);
        }
        let difficulty = requests.difficulty;
        if difficulty > 0 && !proof.is_some_and(|proof| proof.holds(address, subject, difficulty, now)) {
            return Err(Refused::ProofRequired { difficulty, day: day_of(now) });
        }
        Ok(())
    }

    fn may_read(&self, now: UnixMillis, address: Address, key: &PublicKey) -> Result<(), Refused> {
        let is_reader = self.card_counts(now) && self.card.payload().readers.contains(key);
        if is_reader || is_owner(address, key) { Ok(()) } else { Err(Refused::NotAReader) }
    }

    fn of_slot(&self, key: PublicKey) -> impl Iterator<Item = &Message> {
        self.messages.values().filter(move |message| message.slot == key)
    }

    /// Returns whether a message is in the lane of strangers. One whose key has been listed since is not.
    fn is_request(&self, message: &Message) -> bool {
        message.path.is_some() && self.listed_limit(&message.slot).is_none()
    }

    fn requests(&self) -> impl Iterator<Item = (u64, &Message)> {
        let requests = self.messages.iter().filter(|(_, message)| self.is_request(message));
        requests.map(|(number, message)| (*number, message))
    }

    fn pending(&self) -> Pending {
        Pending {
            messages: self.messages.len(),
            bytes: self.messages.values().map(|message| u64::from(message.size)).sum(),
            requests: self.requests().count(),
        }
    }

    const fn room(&self) -> u64 {
        if self.collect_days >= GROWS_AFTER_DAYS { ROOM } else { ROOM_AT_FIRST }
    }

    fn revision(&self) -> u64 {
        let prekeys = self.prekeys.as_ref().map_or(0, Pool::revision);
        self.card.payload().revision.max(self.policy.payload().revision).max(prekeys).max(self.above)
    }

    fn put(&self) -> Change {
        let row = OpenRow {
            above: self.above,
            card: Cow::Borrowed(self.card.as_json()),
            collect_days: self.collect_days,
            collected_on: self.collected_on,
            policy: Cow::Borrowed(self.policy.as_json()),
            secret: Bytes(*self.secret.as_bytes()),
            struck_off: Cow::Borrowed(&self.struck_off),
        };
        Change::Put { name: row::OPEN.to_owned(), row: row::text(&row) }
    }

    /// Takes the messages with these numbers away: first what is remembered of their slots, then the messages.
    fn remove(
        &mut self,
        now: UnixMillis,
        numbers: &[u64],
        ended: bool,
        changed: SortedSet<PublicKey>,
        changes: &mut Vec<Change>,
    ) {
        let mut changed = changed;
        for number in numbers {
            let Some(message) = self.messages.remove(number) else { continue };
            if self.listed_limit(&message.slot).is_some() {
                let slot = self.slots.get_or_default(message.slot);
                slot.note_gone(message.received_at, day_of(now));
                if ended {
                    slot.window.end(message.sequence);
                }
                changed.insert(message.slot);
            }
        }
        changes.extend(changed.iter().filter_map(|key| self.slots.get(key).map(|slot| slot.put(*key))));
        changes.extend(numbers.iter().map(|number| Change::EraseMessage { number: *number }));
    }

    /// Checks that the slot has not left its messages of a day: those that wait and those that do not any more.
    fn check_deposits_of_today(&self, now: UnixMillis, key: PublicKey, limit: u8) -> Result<(), Refused> {
        let today = day_of(now);
        let gone = self.slots.get(&key).filter(|slot| slot.day == today).map_or(0, |slot| slot.deposits);
        let held = self.of_slot(key).filter(|message| day_of(message.received_at) >= today).count();
        if gone.saturating_add(held as u64) < DEPOSITS_PER_DAY * u64::from(limit) {
            return Ok(());
        }
        let retry_after: Duration = start_of_day(today + 1).since(now);
        Err(Refused::TooManyDeposits { retry_after })
    }

    /// Checks that there is room for a contact's message.
    fn check_room(&self, key: PublicKey, size: u32) -> Result<(), Refused> {
        let size = u64::from(size);
        let contacts = || self.messages.values().filter(|message| !self.is_request(message));
        let bytes = contacts().map(|message| u64::from(message.size)).sum::<u64>();
        let of_slot = self.of_slot(key).map(|message| u64::from(message.size)).sum::<u64>();
        let is_full = contacts().count() >= MESSAGES_MAX - REQUESTS_MAX
            || bytes + size > self.room() - REQUEST_ROOM
            || of_slot + size > self.room() / SLOT_SHARE;
        if is_full { Err(Refused::MailboxFull) } else { Ok(()) }
    }

    /// Finds the strangers' messages that have to go for one more, by the roster's rule: the path with the most pays. If
    /// that is the newcomer's, it is refused.
    fn make_room(&self, now: UnixMillis, newcomer: NetworkPath) -> Result<Vec<u64>, Refused> {
        let mut lane: Vec<_> = self.requests().map(|(number, message)| (number, message.path)).collect();
        if self.messages.len() >= MESSAGES_MAX && lane.len() < REQUESTS_MAX {
            return Err(Refused::MailboxFull);
        }
        let mut gone = Vec::new();
        while lane.len() >= REQUESTS_MAX {
            let paths = lane.iter().filter_map(|(_, path)| path.map(|Bytes(path)| NetworkPath::from_bytes(path)));
            let position = surplus_of(paths.chain([newcomer]), REQUESTS_MAX, now, &self.secret);
            let Some(position) = position.filter(|position| *position < lane.len()) else {
                return Err(Refused::MailboxFull);
            };
            gone.push(lane.remove(position).0);
        }
        Ok(gone)
    }
}

/// Holds what rows say, before it is known which of them count.
#[derive(Default)]
struct Stored {
    open: Option<Box<Open>>,
    closed: Option<ClosedRow>,
    leases: Vec<Lease>,
    prekeys: Option<Pool>,
    slots: SortedMap<PublicKey, Slot>,
}

impl Stored {
    fn read(&mut self, name: &str, text: &str) -> Result<(), RecordError> {
        match name {
            row::OPEN => {
                let row = row::read(text, OpenRow::read)?;
                let (card, policy) = (Verified::trusted(&row.card)?, Verified::trusted(&row.policy)?);
                let secret = Secret::from_bytes(row.secret.0);
                let mut open = Open::new(card, policy, row.above, secret, row.collected_on);
                open.collect_days = row.collect_days;
                open.struck_off = row.struck_off.into_owned();
                self.open = Some(Box::new(open));
            }
            row::CLOSED => self.closed = Some(row::read(text, ClosedRow::read)?),
            row::LEASES => self.leases = row::read(text, LeasesRow::read)?.leases.into_owned(),
            row::PREKEYS => self.prekeys = Some(row::read(text, Pool::read)?),
            _ => {
                let key = name.strip_prefix(row::SLOT).ok_or_else(|| malformed("no row has this name"))?;
                let Bytes(key) = bytes_of(key, "slot")?;
                let SlotRow { ack, day, deposits, refused, refused_since, window } = row::read(text, SlotRow::read)?;
                if !window.is_sound() {
                    return Err(malformed("its sequences are none that a window has"));
                }
                let ack = ack.map(|ack| Verified::trusted(&ack)).transpose()?;
                let slot = Slot { window: window.into_owned(), ack, day, deposits, refused, refused_since };
                self.slots.insert(PublicKey::from_bytes(key), slot);
            }
        }
        Ok(())
    }
}

impl Mailbox {
    /// Makes a mailbox of the rows that the changes of an earlier one have left. Of no rows it makes one that does not
    /// exist. What a crash has left half done is finished: [`Mailbox::take_changes`] says what that takes.
    ///
    /// # Errors
    /// The row that cannot be read. A mailbox is never made of the others alone.
    pub fn restore(
        address: Address,
        now: UnixMillis,
        rows: impl IntoIterator<Item = (String, String)>,
        messages: impl IntoIterator<Item = (u64, String)>,
    ) -> Result<Self, RestoreError> {
        let mut stored = Stored::default();
        let mut names = Vec::new();
        for (name, text) in rows {
            let read = stored.read(&name, &text);
            read.map_err(|reason| RestoreError::Row { name: name.clone(), reason: reason.to_string() })?;
            names.push(name);
        }
        let Stored { open, closed, leases, prekeys, slots } = stored;
        let mut held = SortedMap::new();
        for (number, text) in messages {
            let mut message = row::read(&text, Message::read)
                .map_err(|reason| RestoreError::Message { number, reason: reason.to_string() })?;
            // What came while the clock was ahead does not stay for ever.
            message.ends_at = message.ends_at.min(now.after(DEPOSIT_MAX_LIFETIME));
            held.insert(number, message);
        }

        let mut mailbox = Self { address, state: State::Absent, changes: Vec::new() };
        match (open, closed) {
            (Some(mut open), closed) if closed.is_none_or(|closed| closed.revision < open.revision()) => {
                if closed.is_some() {
                    mailbox.changes.push(erase(row::CLOSED));
                }
                let numbers = || leases.iter().flat_map(|lease| lease.numbers.iter()).chain(held.keys());
                // Days of a clock that was ahead do not keep a mailbox for longer.
                open.collected_on = open.collected_on.min(day_of(now));
                open.next_number = numbers().max().map_or(1, |number| number.saturating_add(1));
                open.leases = leases;
                open.prekeys = prekeys;
                open.messages = held;
                for (key, slot) in slots {
                    if open.listed_limit(&key).is_some() {
                        open.slots.insert(key, slot);
                    } else {
                        mailbox.changes.push(erase(&slot_name(key)));
                    }
                }
                // A sequence is freed before its message goes.
                let is_gone = |message: &Message| {
                    open.slots.get(&message.slot).is_some_and(|slot| slot.window.gone().contains(message.sequence))
                };
                let gone: Vec<_> =
                    open.messages.iter().filter(|(_, message)| is_gone(message)).map(|(number, _)| *number).collect();
                for number in gone {
                    open.messages.remove(&number);
                    mailbox.changes.push(Change::EraseMessage { number });
                }
                mailbox.state = State::Open(open);
            }
            (_, closed) => {
                let left_over = names.iter().filter(|name| *name != row::CLOSED);
                mailbox.changes.extend(left_over.map(|name| erase(name)));
                mailbox.changes.extend(held.into_keys().map(|number| Change::EraseMessage { number }));
                mailbox.state = closed.map_or(State::Absent, State::Closed);
            }
        }
        mailbox.expire(now);
        Ok(mailbox)
    }

    /// Returns what is to be written since this was last asked, in this order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Returns whether nothing is known of the mailbox: its object may go.
    pub const fn is_absent(&self) -> bool {
        matches!(self.state, State::Absent)
    }

    /// Counts what is to be written since [`Mailbox::take_changes`] was last called.
    pub const fn change_count(&self) -> usize {
        self.changes.len()
    }

    /// Returns the card and the policy that stand, if the mailbox is open.
    pub fn records(&self) -> Option<(&Verified<Card>, &Verified<Policy>)> {
        let State::Open(open) = &self.state else { return None };
        Some((&open.card, &open.policy))
    }

    /// Returns the length of the sealed bytes of a message that waits.
    pub fn size_of(&self, number: u64) -> Option<u32> {
        let State::Open(open) = &self.state else { return None };
        open.messages.get(&number).map(|message| message.size)
    }

    /// Checks that the mailbox is open, and that its owner wants it at a relay with this origin too.
    ///
    /// # Errors
    /// [`Refused::MailboxUnknown`] and [`Refused::MailboxClosed`]: a relay that the card does not name learns of a mailbox
    /// no more than that.
    pub fn check_peer(&mut self, now: UnixMillis, peer: &Origin) -> Result<(), Refused> {
        self.expire(now);
        let (open, _) = self.open(now)?;
        if open.card_counts(now) && open.card.payload().names(std::slice::from_ref(peer)) {
            Ok(())
        } else {
            Err(Refused::MailboxUnknown)
        }
    }

    /// Counts what waits.
    pub fn pending(&self) -> Pending {
        let State::Open(open) = &self.state else { return Pending::default() };
        open.pending()
    }

    /// Returns whether this key is told news, and which. A card and a policy count only until they end.
    pub fn listener(&self, now: UnixMillis, key: &PublicKey) -> Option<Listener> {
        let State::Open(open) = &self.state else { return None };
        if open.may_read(now, self.address, key).is_ok() {
            return Some(Listener::Reader);
        }
        open.limit(key, now).map(|_| Listener::Slot)
    }

    /// Returns the acknowledgement of a slot's that reaches furthest, in its normal form.
    pub fn receipt(&self, slot: &PublicKey) -> Option<&str> {
        let State::Open(open) = &self.state else { return None };
        open.slots.get(slot)?.ack.as_ref().map(|ack| ack.as_json())
    }

    /// Checks that whoever signed this is told news.
    ///
    /// # Errors
    /// See [`Refused`]; [`Refused::SlotUnknown`] for a key that is neither a reader's nor listed.
    pub fn listen(&mut self, now: UnixMillis, question: &Verified<Live>) -> Result<Listener, Refused> {
        self.expire(now);
        self.check_address(question)?;
        self.open(now)?;
        self.listener(now, &question.public_key()).ok_or(Refused::SlotUnknown)
    }

    /// Returns when [`Mailbox::expire`] next has something to do.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        match &self.state {
            State::Absent => None,
            State::Closed(closed) => Some(closed.closed_at.after(REVISION_IS_REMEMBERED)),
            State::Open(open) => {
                let lapses_at = start_of_day(open.collected_on.saturating_add(LAPSES_AFTER_DAYS));
                open.messages.values().map(|message| message.ends_at).chain([lapses_at]).min()
            }
        }
    }

    /// Takes away what has ended by `now`. Calling it early, late or twice changes nothing else.
    pub fn expire(&mut self, now: UnixMillis) {
        match &mut self.state {
            State::Absent => {}
            State::Closed(closed) => {
                if closed.closed_at.after(REVISION_IS_REMEMBERED) <= now {
                    self.changes.push(erase(row::CLOSED));
                    self.state = State::Absent;
                }
            }
            State::Open(open) => {
                if start_of_day(open.collected_on.saturating_add(LAPSES_AFTER_DAYS)) <= now {
                    let revision = open.revision();
                    self.end(ClosedRow { closed_at: now, lapsed: true, revision });
                    return;
                }
                let ended = open.messages.iter().filter(|(_, message)| message.ends_at <= now);
                let ended: Vec<_> = ended.map(|(number, _)| *number).collect();
                open.remove(now, &ended, true, SortedSet::new(), &mut self.changes);
            }
        }
    }

    /// Deletes everything but that the mailbox is over.
    fn end(&mut self, closed: ClosedRow) {
        let State::Open(open) = std::mem::replace(&mut self.state, State::Closed(closed)) else { return };
        self.changes.push(Change::Put { name: row::CLOSED.to_owned(), row: row::text(&closed) });
        self.changes.push(erase(row::OPEN));
        self.changes.extend(open.messages.into_keys().map(|number| Change::EraseMessage { number }));
        self.changes.extend(open.slots.into_keys().map(|key| erase(&slot_name(key))));
        self.changes.extend(open.prekeys.map(|_| erase(row::PREKEYS)));
        if !open.leases.is_empty() {
            self.changes.push(erase(row::LEASES));
        }
    }

    fn check_address<T: Record>(&self, record: &Verified<T>) -> Result<(), Refused> {
        if record.payload().mailbox() == self.address { Ok(()) } else { Err(Refused::OtherMailbox) }
    }

    fn open(&mut self, now: UnixMillis) -> Result<(&mut Open, &mut Vec<Change>), Refused> {
        match &mut self.state {
            State::Open(open) => Ok((open, &mut self.changes)),
            State::Closed(closed) if !closed.lapsed && closed.closed_at.after(CLOSED_IS_SAID) > now => {
                Err(Refused::MailboxClosed)
            }
            State::Closed(_) | State::Absent => Err(Refused::MailboxUnknown),
        }
    }

    /// Opens the mailbox, or changes its card, its policy or both. Whichever is the very same again stays. `origins` are the
    /// relay's own; `secret` is for a mailbox that is new, from a secure source of randomness. Returns whether it is new.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had ended.
    pub fn put(
        &mut self,
        now: UnixMillis,
        card: Verified<Card>,
        policy: Verified<Policy>,
        origins: &[Origin],
        secret: Secret,
    ) -> Result<bool, Refused> {
        self.expire(now);
        self.check_address(&card)?;
        self.check_address(&policy)?;
        if !card.payload().names(origins) {
            return Err(Refused::RelayNotListed);
        }
        let (new_card, new_policy) = (card.payload().revision, policy.payload().revision);
        let State::Open(open) = &mut self.state else {
            let closed = if let State::Closed(closed) = &self.state { Some(*closed) } else { None };
            let above = closed.map_or(0, |closed| closed.revision);
            if new_card.min(new_policy) <= above {
                return Err(Refused::StaleRevision { standing: above, record: None });
            }
            let open = Box::new(Open::new(card, policy, above, secret, day_of(now)));
            self.changes.push(open.put());
            self.changes.extend(closed.map(|_| erase(row::CLOSED)));
            self.state = State::Open(open);
            return Ok(true);
        };
        let (is_same_card, is_same_policy) =
            (card.as_json() == open.card.as_json(), policy.as_json() == open.policy.as_json());
        let stale = |is_same: bool, revision: u64, standing: u64, json: &str| {
            let record = Some(json.to_owned());
            if is_same || revision > standing { Ok(()) } else { Err(Refused::StaleRevision { standing, record }) }
        };
        stale(is_same_card, new_card, open.card.payload().revision, open.card.as_json())?;
        stale(is_same_policy, new_policy, open.policy.payload().revision, open.policy.as_json())?;
        if is_same_card && is_same_policy {
            return Ok(false);
        }
        let listed: SortedSet<_> = policy.payload().slots().map(|(key, ..)| key).collect();
        if let Some(key) = listed.iter().find(|key| open.struck_off.contains(&beginning(**key))) {
            return Err(Refused::SlotStruckOff { key: *key });
        }
        let before = open.policy.payload().slots().map(|(key, ..)| key);
        let struck: Vec<_> = before.filter(|key| !listed.contains(key)).collect();
        if open.struck_off.len() + struck.len() > STRUCK_OFF_MAX {
            return Err(Refused::StruckOffFull);
        }
        open.struck_off.extend(struck.iter().map(|key| beginning(*key)));
        (open.card, open.policy) = (card, policy);
        self.changes.push(open.put());
        for key in struck {
            if open.slots.remove(&key).is_some() {
                self.changes.push(erase(&slot_name(key)));
            }
        }
        Ok(false)
    }

    /// Takes a newer card of a mailbox that is open, whose policy stands. Returns whether it is another one. `origins` are
    /// the relay's own.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had ended.
    pub fn put_card(&mut self, now: UnixMillis, card: Verified<Card>, origins: &[Origin]) -> Result<bool, Refused> {
        self.expire(now);
        let (open, _) = self.open(now)?;
        let (policy, secret) = (open.policy.clone(), open.secret);
        let is_another = card.as_json() != open.card.as_json();
        self.put(now, card, policy, origins, secret).map(|_| is_another)
    }

    /// Takes a newer policy of a mailbox that is open, whose card stands. Returns whether it is another one. `origins` are
    /// the relay's own.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had ended.
    pub fn put_policy(
        &mut self,
        now: UnixMillis,
        policy: Verified<Policy>,
        origins: &[Origin],
    ) -> Result<bool, Refused> {
        self.expire(now);
        let (open, _) = self.open(now)?;
        let (card, secret) = (open.card.clone(), open.secret);
        let is_another = policy.as_json() != open.policy.as_json();
        self.put(now, card, policy, origins, secret).map(|_| is_another)
    }

    /// Returns the card, in its normal form.
    ///
    /// # Errors
    /// [`Refused::MailboxUnknown`], also when the card has ended, and [`Refused::MailboxClosed`].
    pub fn card(&mut self, now: UnixMillis) -> Result<&str, Refused> {
        self.expire(now);
        let (open, _) = self.open(now)?;
        if open.card_counts(now) { Ok(open.card.as_json()) } else { Err(Refused::MailboxUnknown) }
    }

    /// Takes a message in. `proof` is a stranger's, `from` is where the message came from.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had ended, and what is counted of a contact's refusals.
    pub fn deposit(
        &mut self,
        now: UnixMillis,
        deposit: &Verified<Deposit>,
        proof: Option<Proof>,
        from: HandedOver,
    ) -> Result<Deposited, Refused> {
        self.expire(now);
        self.check_address(deposit)?;
        let address = self.address;
        let (open, changes) = self.open(now)?;
        let key = deposit.public_key();
        let Deposit { content_id, expires_at, sequence, size, .. } = *deposit.payload();
        if expires_at <= now {
            return Err(Refused::Expired);
        }
        let unacknowledged = open.of_slot(key).count();
        // Of the same slot: else whoever saw a message pass could keep it out by leaving it first.
        if let Some(held) = open.of_slot(key).find(|message| message.content_id == content_id) {
            return Ok(Deposited::Duplicate { unacknowledged, ends_at: held.ends_at });
        }
        let slot = open.slots.get(&key);
        if let Some(slot) = slot
            && slot.window.gone().contains(sequence)
        {
            let ack = slot.ack.as_ref().filter(|_| slot.window.acknowledged().contains(sequence));
            return Ok(ack.map_or(Deposited::Ended, |ack| Deposited::Acknowledged { ack: ack.as_json().to_owned() }));
        }
        let listed = open.limit(&key, now);
        if listed.is_none() {
            open.check_stranger(now, address, &key, &content_id.to_string(), proof)?;
            if size > REQUEST_MAX_BYTES {
                return Err(Refused::RequestTooLarge);
            }
        }
        let limit = listed.unwrap_or(REQUESTS_PER_KEY);
        let window = slot.map(|slot| slot.window.clone()).unwrap_or_default();
        let is_open = window.is_open(sequence, limit);
        if is_open && let Some(held) = open.of_slot(key).find(|message| message.sequence == sequence) {
            return Err(Refused::SequenceTaken { content_id: held.content_id });
        }
        // The window alone keeps the cap, but for a limit that was lowered.
        if !is_open || unacknowledged >= usize::from(limit) {
            if listed.is_some() {
                open.slots.get_or_default(key).note_refused(now);
            }
            let (through, missing) = (window.gone().through(), window.gone().missing().to_vec());
            return Err(Refused::UnacknowledgedLimit { unacknowledged, limit, through, missing });
        }
        let path = from.hashed(&open.secret);
        let gone = if listed.is_some() {
            open.check_deposits_of_today(now, key, limit)?;
            if let Err(refused) = open.check_room(key, size) {
                open.slots.get_or_default(key).note_refused(now);
                return Err(refused);
            }
            Vec::new()
        } else {
            open.make_room(now, path)?
        };
        let number = open.next_number;
        open.next_number = number.saturating_add(1);
        let ends_at = expires_at.min(now.after(DEPOSIT_MAX_LIFETIME));
        let path = listed.is_none().then(|| Bytes(path.to_bytes()));
        let message = Message { content_id, ends_at, path, received_at: now, sequence, size, slot: key };
        // Room first: a crash in between, however often, leaves no more than the lane holds.
        open.remove(now, &gone, false, SortedSet::new(), changes);
        changes.push(Change::PutMessage { number, row: row::text(&message) });
        open.messages.insert(number, message);
        Ok(Deposited::Accepted { number, unacknowledged: unacknowledged + 1, limit, ends_at })
    }

    /// Takes an acknowledgement, and returns how many messages it released. One of a slot that is not listed releases what
    /// waits, and is not kept.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had ended.
    pub fn acknowledge(&mut self, now: UnixMillis, ack: &Verified<Ack>) -> Result<usize, Refused> {
        self.expire(now);
        self.check_address(ack)?;
        let address = self.address;
        let (open, changes) = self.open(now)?;
        open.may_read(now, address, &ack.public_key())?;
        let Ack { missing, slot: key, .. } = ack.payload();
        let mut changed = SortedSet::new();
        if let Some(limit) = open.listed_limit(key) {
            if missing.len() > usize::from(limit) {
                return Err(Refused::TooManyMissing { limit });
            }
            let slot = open.slots.get_or_default(*key);
            if slot.window.acknowledge(ack.payload()) {
                (slot.refused, slot.refused_since) = (0, None);
                changed.insert(*key);
                // Which of two is kept must not hang on which came first.
                let reach = |ack: &Ack| (ack.through, Reverse(ack.missing.len()));
                if slot.ack.as_ref().is_none_or(|kept| reach(kept.payload()) < reach(ack.payload())) {
                    slot.ack = Some(ack.clone());
                }
            }
        }
        let is_released = |message: &Message| message.slot == *key && ack.payload().covers(message.sequence);
        let released: Vec<_> =
            open.messages.iter().filter(|(_, message)| is_released(message)).map(|(number, _)| *number).collect();
        open.remove(now, &released, false, changed, changes);
        Ok(released.len())
    }

    /// Hands over what waits, the oldest first, and keeps it from other collectors for [`LEASE`].
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had ended.
    pub fn collect(&mut self, now: UnixMillis, collect: &Verified<Collect>) -> Result<Collected, Refused> {
        self.expire(now);
        self.check_address(collect)?;
        let address = self.address;
        let (open, changes) = self.open(now)?;
        open.may_read(now, address, &collect.public_key())?;
        let Collect { collector, limit, max_bytes, nonce, .. } = *collect.payload();
        let good_for = REQUEST_SKEW * 2;
        open.nonces.retain(|(_, until)| *until >= now && *until <= now.after(good_for));
        if open.nonces.iter().any(|(used, _)| *used == nonce) {
            return Err(Refused::Replayed);
        }
        open.nonces.push_back((nonce, now.after(good_for)));
        if open.nonces.len() > NONCES_MAX {
            open.nonces.pop_front();
        }
        let today = day_of(now);
        if today > open.collected_on || open.collect_days == 0 {
            open.collected_on = today.max(open.collected_on);
            open.collect_days = GROWS_AFTER_DAYS.min(open.collect_days + 1);
            changes.push(open.put());
        }

        let lease_until = now.after(LEASE);
        // One from a clock that was ahead lasts no longer than one from now.
        open.leases.iter_mut().for_each(|lease| lease.until = lease.until.min(lease_until));
        open.leases.retain(|lease| lease.until > now);
        let of_others: SortedSet<u64> = open
            .leases
            .iter()
            .filter(|lease| lease.collector != collector)
            .flat_map(|lease| lease.numbers.iter().copied())
            .collect();
        let (most, mut bytes) = (max_bytes.min(COLLECT_MAX_BYTES), 0);
        let mut more = false;
        let mut messages = Vec::new();
        for (number, message) in open.messages.iter().filter(|(number, _)| !of_others.contains(number)) {
            bytes += u64::from(message.size);
            // One large message must not block the rest.
            if messages.len() >= limit as usize || (bytes > most && !messages.is_empty()) {
                more = true;
                break;
            }
            let minute = message.received_at.as_u64() / 60_000 * 60_000;
            let received_at = UnixMillis::saturating(minute);
            messages.push(Handed { number: *number, received_at, is_request: open.is_request(message) });
        }
        if !messages.is_empty() {
            let numbers: Vec<_> = messages.iter().map(|handed| handed.number).collect();
            for lease in &mut open.leases {
                lease.numbers.retain(|number| !numbers.contains(number) && open.messages.contains_key(number));
            }
            open.leases.retain(|lease| !lease.numbers.is_empty());
            open.leases.push(Lease { collector, numbers, until: lease_until });
            changes.push(Change::Put {
                name: row::LEASES.to_owned(),
                row: row::text(&LeasesRow { leases: Cow::Borrowed(&open.leases) }),
            });
        }
        let refused = |(slot, of): (&PublicKey, &Slot)| {
            of.refused_since.map(|since| RefusedSlot { slot: *slot, count: of.refused, since })
        };
        Ok(Collected {
            messages,
            lease_until,
            more,
            refused: open.slots.iter().filter_map(refused).collect(),
            pending: open.pending(),
            one_time_keys: open.prekeys.as_ref().map_or(0, Pool::len),
            policy_revision: open.policy.payload().revision,
        })
    }

    /// Tells a sender what became of its slot.
    ///
    /// # Errors
    /// See [`Refused`]; [`Refused::SlotUnknown`] for a key that is not listed.
    pub fn slot(&mut self, now: UnixMillis, question: &Verified<SlotQuestion>) -> Result<SlotStatus, Refused> {
        self.expire(now);
        self.check_address(question)?;
        let (open, _) = self.open(now)?;
        let key = question.public_key();
        let limit = open.limit(&key, now).ok_or(Refused::SlotUnknown)?;
        let slot = open.slots.get(&key);
        let highest = open.of_slot(key).map(|message| message.sequence).max().unwrap_or(0);
        Ok(SlotStatus {
            ack: slot.and_then(|slot| slot.ack.as_ref()).map(|ack| ack.as_json().to_owned()),
            highest: slot.map_or(0, |slot| slot.window.gone().through()).max(highest),
            unacknowledged: open.of_slot(key).count(),
            limit,
        })
    }

    /// Takes the owner's prekeys, and returns how many one-time keys there are now.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had ended.
    pub fn put_prekeys(&mut self, now: UnixMillis, prekeys: &Verified<Prekeys>) -> Result<usize, Refused> {
        self.expire(now);
        self.check_address(prekeys)?;
        let (open, changes) = self.open(now)?;
        let standing = open.prekeys.as_ref().map_or(open.above, Pool::revision);
        match &mut open.prekeys {
            Some(pool) if pool.is_of(prekeys) => return Ok(pool.len()),
            _ if prekeys.payload().revision <= standing => {
                return Err(Refused::StaleRevision { standing, record: None });
            }
            Some(pool) => pool.add(prekeys),
            None => open.prekeys = Some(Pool::new(prekeys)),
        }
        let Some(pool) = &open.prekeys else { return Ok(0) };
        changes.push(Change::Put { name: row::PREKEYS.to_owned(), row: row::text(pool) });
        Ok(pool.len())
    }

    /// Answers a claim. Strangers get the fallback alone, and only where requests are open.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had ended.
    pub fn claim(
        &mut self,
        now: UnixMillis,
        claim: &Verified<Claim>,
        proof: Option<Proof>,
        from: HandedOver,
    ) -> Result<Claimed, Refused> {
        self.expire(now);
        self.check_address(claim)?;
        let address = self.address;
        let (open, changes) = self.open(now)?;
        let key = claim.public_key();
        let is_listed = open.limit(&key, now).is_some();
        if !is_listed {
            open.check_stranger(now, address, &key, &claim.payload().nonce.to_string(), proof)?;
        }
        let site = Bytes(from.hashed(&open.secret).site.to_bytes());
        let pool = open.prekeys.as_mut().filter(|pool| !pool.has_ended(now)).ok_or(Refused::PrekeysUnknown)?;
        let claimed = pool.claim(now, claim, site, is_listed);
        if claimed.one_time.is_some() {
            changes.push(Change::Put { name: row::PREKEYS.to_owned(), row: row::text(pool) });
        }
        Ok(claimed)
    }

    /// Closes the mailbox: everything is deleted but its highest revision. The same once more is no error.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had ended.
    pub fn close(&mut self, now: UnixMillis, close: &Verified<Close>) -> Result<(), Refused> {
        self.expire(now);
        self.check_address(close)?;
        let revision = close.payload().revision;
        if matches!(&self.state, State::Closed(closed) if !closed.lapsed && closed.revision == revision) {
            return Ok(());
        }
        let (open, _) = self.open(now)?;
        let standing = open.revision();
        if revision <= standing {
            return Err(Refused::StaleRevision { standing, record: None });
        }
        self.end(ClosedRow { closed_at: now, lapsed: false, revision });
        Ok(())
    }
}
