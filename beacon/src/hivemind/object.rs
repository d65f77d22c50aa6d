//! The mailbox of one key as an object, and the room of all that nobody has opened: a call comes in, an answer and effects go
//! out.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rendezvous_protocol::hivemind::key::MailboxId;
use rendezvous_protocol::hivemind::limits::{MESSAGES_MAX, ROOM};
use rendezvous_protocol::hivemind::proof::ProofId;
use rendezvous_protocol::hivemind::request::Deposit;
use rendezvous_protocol::hivemind::room::Room;
use rendezvous_protocol::hivemind::state::{Deposited, Incoming, Mailbox, Noted, Retrieved};
use rendezvous_protocol::mailbox::state::{Change, RestoreError};
use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::{Answer, Outcome};
use crate::call::{CallError, ObjectError};
use crate::hivemind::refusal::Refusal;
use crate::mailbox::{Effects, Found, Handover, ObjectAnswer, OwnRow, Write, to_writes};

const MAILBOX: &str = "hivemind:";
const ROOM_NAME: &str = "hivemind-room";

/// Bytes of the answer to a retrieval besides what is handed over.
const AROUND_MESSAGES: usize = 64;

/// Bytes of the answer to a retrieval at most: all that may wait, and a comma behind each.
pub(crate) const RETRIEVAL_MOST_BYTES: usize = ROOM as usize + MESSAGES_MAX + AROUND_MESSAGES;

/// What an object says to who asks it for a client, and no client is told.
pub(super) const NEEDS_ROOM: &str = "NEEDS_ROOM";
pub(super) const NEEDS_PLACE: &str = "NEEDS_PLACE";

/// Names an object of this door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HivemindName {
    /// The mailbox of a key.
    Mailbox(MailboxId),
    /// The room of all mailboxes that nobody has opened.
    Room,
}

impl fmt::Display for HivemindName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailbox(mailbox) => write!(formatter, "{MAILBOX}{mailbox}"),
            Self::Room => formatter.write_str(ROOM_NAME),
        }
    }
}

impl FromStr for HivemindName {
    type Err = CallError;

    fn from_str(name: &str) -> Result<Self, CallError> {
        let mailbox = name.strip_prefix(MAILBOX).and_then(|mailbox| mailbox.parse().ok()).map(Self::Mailbox);
        let room = (name == ROOM_NAME).then_some(Self::Room);
        mailbox.or(room).ok_or(CallError::Malformed("no object has this name"))
    }
}

/// Says what an object is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HivemindCall {
    /// To take a message in.
    Deposit {
        /// The message.
        deposit: Arc<Deposit>,
        /// Where it comes from.
        network: HandedOver,
        /// Whether there is room for it among all mailboxes that nobody has opened.
        has_room: bool,
    },
    /// To hand over nothing for a proof, which came with a deposit.
    NoteDeposit {
        /// The mailbox of the depositor.
        mailbox: MailboxId,
        /// The proof.
        proof: ProofId,
        /// When it counts no more.
        until: UnixMillis,
        /// As above.
        has_room: bool,
    },
    /// To hand over what waits.
    Retrieve {
        /// The mailbox.
        mailbox: MailboxId,
        /// The proof of who asks.
        proof: ProofId,
        /// When it counts no more.
        until: UnixMillis,
        /// Whether there is a place for the mailbox among all that are open.
        opens: bool,
    },
    /// To count something among all that is in mailboxes that nobody has opened.
    TakeRoom {
        /// Where it comes from.
        network: HandedOver,
        /// How many bytes it has.
        bytes: u64,
    },
}

impl HivemindCall {
    /// Returns which object is asked.
    pub fn object(&self) -> HivemindName {
        match self {
            Self::Deposit { deposit, .. } => HivemindName::Mailbox(deposit.mailbox),
            Self::NoteDeposit { mailbox, .. } | Self::Retrieve { mailbox, .. } => HivemindName::Mailbox(*mailbox),
            Self::TakeRoom { .. } => HivemindName::Room,
        }
    }
}

/// Counts what became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HivemindFigures {
    /// Messages that were taken in.
    pub deposited: u64,
    /// Messages that were handed over for the first time.
    pub handed_over: u64,
}

impl HivemindFigures {
    /// Adds what another has counted.
    pub const fn add(&mut self, other: Self) {
        self.deposited += other.deposited;
        self.handed_over += other.handed_over;
    }
}

#[derive(Debug)]
enum Kept {
    Mailbox(Mailbox),
    Room(Room),
}

impl Kept {
    fn restore(name: HivemindName, found: Found, secret: Secret) -> Result<Self, RestoreError> {
        Ok(match name {
            HivemindName::Mailbox(id) => Self::Mailbox(Mailbox::restore(id, secret, found.rows, found.messages)?),
            HivemindName::Room => Self::Room(Room::restore(secret, found.rows)?),
        })
    }

    fn is_absent(&self) -> bool {
        match self {
            Self::Mailbox(mailbox) => mailbox.is_absent(),
            Self::Room(room) => room.is_absent(),
        }
    }

    const fn secret(&self) -> &Secret {
        match self {
            Self::Mailbox(mailbox) => mailbox.secret(),
            Self::Room(room) => room.secret(),
        }
    }

    fn take_changes(&mut self) -> Vec<Change> {
        match self {
            Self::Mailbox(mailbox) => mailbox.take_changes(),
            Self::Room(room) => room.take_changes(),
        }
    }

    fn next_deadline(&self) -> Option<UnixMillis> {
        match self {
            Self::Mailbox(mailbox) => mailbox.next_deadline(),
            Self::Room(room) => room.next_deadline(),
        }
    }

    fn expire(&mut self, now: UnixMillis) {
        match self {
            Self::Mailbox(mailbox) => mailbox.expire(now),
            Self::Room(room) => room.expire(now),
        }
    }
}

/// Holds one object.
#[derive(Debug)]
pub struct HivemindObject {
    name: HivemindName,
    kept: Kept,
    own_row: OwnRow,
    figures: HivemindFigures,
}

impl HivemindObject {
    /// Makes an object of what is in storage. `secret` is secure randomness, for an object of which nothing is.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`], if any of it cannot be read. Never is one made of the rest alone.
    pub fn restore(name: HivemindName, mut found: Found, secret: Secret) -> Result<(Self, Effects), ObjectError> {
        let (own_row, secret) = OwnRow::take(name, &mut found, secret)?;
        let kept = Kept::restore(name, found, secret).map_err(|error| ObjectError::Unreadable(error.to_string()))?;
        let figures = HivemindFigures::default();
        let mut object = Self { name, kept, own_row, figures };
        let effects = object.conclude(Vec::new());
        Ok((object, effects))
    }

    /// Returns whether anything of it is in storage. One of which nothing is need not be kept.
    pub const fn is_stored(&self) -> bool {
        self.own_row.is_stored()
    }

    /// Takes what was counted since this was last called.
    pub fn take_figures(&mut self) -> HivemindFigures {
        std::mem::take(&mut self.figures)
    }

    /// Answers a call of this object.
    pub fn handle(&mut self, now: UnixMillis, call: HivemindCall) -> (ObjectAnswer, Effects) {
        let is_own = call.object() == self.name;
        let (answer, body) = match (&mut self.kept, call) {
            (Kept::Mailbox(mailbox), HivemindCall::Deposit { deposit, network, has_room }) if is_own => {
                let incoming = Incoming {
                    content: deposit.content,
                    size: deposit.quoted_payload.len() as u64,
                    lifetime: deposit.lifetime,
                    depositor: deposit.depositor.as_ref().map(|proof| proof.key().mailbox()),
                    network,
                };
                match mailbox.deposit(now, incoming, has_room) {
                    Ok(Deposited::Stored(id)) => {
                        self.figures.deposited += 1;
                        (deposited(id), Some(deposit.quoted_payload.clone()))
                    }
                    Ok(Deposited::Held(id)) => (deposited(id), None),
                    Ok(Deposited::NeedsRoom) => (for_the_door(NEEDS_ROOM), None),
                    Err(refused) => (Refusal::from(refused).answer().into(), None),
                }
            }
            (Kept::Mailbox(mailbox), HivemindCall::NoteDeposit { proof, until, has_room, .. }) if is_own => {
                match mailbox.note_deposit(now, proof, until, has_room) {
                    Ok(Noted::Done) => (done(), None),
                    Ok(Noted::NeedsRoom) => (for_the_door(NEEDS_ROOM), None),
                    Err(refused) => (Refusal::from(refused).answer().into(), None),
                }
            }
            (Kept::Mailbox(mailbox), HivemindCall::Retrieve { proof, until, opens, .. }) if is_own => {
                match mailbox.retrieve(now, proof, until, opens) {
                    Ok(Retrieved::Messages { numbers, is_again }) => {
                        self.figures.handed_over += if is_again { 0 } else { numbers.len() as u64 };
                        (handed_over(&numbers), None)
                    }
                    Ok(Retrieved::NoPlace) => (for_the_door(NEEDS_PLACE), None),
                    Err(refused) => (Refusal::from(refused).answer().into(), None),
                }
            }
            (Kept::Room(room), HivemindCall::TakeRoom { network, bytes }) if is_own => {
                match room.take(now, network, bytes) {
                    Ok(()) => (done(), None),
                    Err(refused) => (Refusal::from(refused).answer().into(), None),
                }
            }
            // A host that asks another object than it means to.
            _ => (Refusal::Internal.answer().into(), None),
        };
        let writes = to_writes(self.kept.take_changes(), body);
        (answer, self.conclude(writes))
    }

    /// Takes away what has ended.
    pub fn handle_alarm(&mut self, now: UnixMillis) -> Effects {
        self.own_row.note_alarm();
        self.kept.expire(now);
        let writes = to_writes(self.kept.take_changes(), None);
        self.conclude(writes)
    }

    fn conclude(&mut self, writes: Vec<Write>) -> Effects {
        if self.kept.is_absent() {
            return self.own_row.conclude_absent();
        }
        self.own_row.conclude(writes, self.kept.secret(), self.kept.next_deadline())
    }
}

fn done() -> ObjectAnswer {
    Answer::of_json(r#"{"status":"ok"}"#.to_owned()).into()
}

fn deposited(id: impl fmt::Display) -> ObjectAnswer {
    Answer::of_json(format!(r#"{{"status":"ok","deposit_id":"{id}"}}"#)).into()
}

/// Says something that whoever asks for a client goes on with.
fn for_the_door(what: &'static str) -> ObjectAnswer {
    Refusal::Internal.answer().with_outcome(Outcome::Refused(what)).into()
}

fn handed_over(numbers: &[u64]) -> ObjectAnswer {
    let last = numbers.len().saturating_sub(1);
    let handover = |(index, number): (usize, &u64)| {
        let after = if index == last { "]}" } else { "," };
        Handover { number: *number, after: after.to_owned() }
    };
    let handovers: Vec<_> = numbers.iter().enumerate().map(handover).collect();
    let end = if handovers.is_empty() { "]}" } else { "" };
    ObjectAnswer { answer: Answer::of_json(format!(r#"{{"status":"ok","messages":[{end}"#)), handovers }
}
