//! What has changed in a roster, in order: the last word about every claim.
//!
//! There is no list of events. Each change of a claim takes the place of the one before, so that what is kept is bounded by
//! the claims, and what a viewer missed is every word with a later sequence number than the viewer's. Sequence numbers
//! are the time in milliseconds, or one more than the last. A word is forgotten when no ticket that it is about can be
//! good any more: whoever missed it holds nothing that it would change.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::key::PublicKey;
use crate::limits::{LIVE_MESSAGE_MAX_BYTES, LIVE_WORDS};
use crate::live::Position;
use crate::roster::{Record, Roster};
use crate::ticket::{PeerId, VerifiedTicket};
use crate::time::UnixMillis;

/// Names one key's claim to a `peerId`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The key.
    pub public_key: PublicKey,
    /// The name.
    pub peer_id: PeerId,
}

impl Claim {
    /// Returns the claim of a ticket.
    pub fn of(ticket: &VerifiedTicket) -> Self {
        Self { public_key: ticket.public_key(), peer_id: ticket.peer_id().clone() }
    }
}

/// Holds the last word about a claim.
#[derive(Debug)]
struct Word {
    sequence: u64,
    kind: Kind,
    /// From then on no ticket of the claim can be good that a viewer was ever sent: not only the last one, because an
    /// older one may end later.
    forget_at: UnixMillis,
}

#[derive(Debug)]
enum Kind {
    /// The claim is listed, until its ticket ends at this time: the ticket is the record's.
    Put(UnixMillis),
    /// It left, by this ticket.
    Left(Box<str>),
    /// It had to go for room.
    Out,
}

/// Holds what may be sent to viewers: one message, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where a delta begins. Absent in a snapshot.
    pub previous: Option<Position>,
    /// Where whoever takes the frame has come to.
    pub position: Position,
    /// Whether there are more changes after those that found room.
    pub more: bool,
    /// The message.
    pub text: String,
}

/// Holds the changes of one roster.
#[derive(Debug)]
pub struct Changes {
    epoch: u32,
    last: u64,
    /// What came before may have been forgotten early.
    floor: u64,
    words: BTreeMap<Claim, Word>,
    most_words: usize,
}

impl Changes {
    /// Makes the log of a roster as it stands: everybody listed is new, in the order in which the tickets were accepted.
    /// A position of another epoch is unknown, so whoever restores a roster gives another one.
    pub fn new(epoch: u32, now: UnixMillis, roster: &Roster) -> Self {
        let mut changes =
            Self { epoch, last: 0, floor: 0, words: BTreeMap::new(), most_words: LIVE_WORDS.max(2 * roster.len()) };
        let mut records: Vec<_> = roster.records().collect();
        records.sort_by_key(|record| record.accepted_at);
        for record in records {
            changes.put(record.accepted_at, Claim::of(&record.ticket), record.ticket.payload().expires_at);
        }
        changes.last = changes.last.max(now.as_u64());
        changes
    }

    /// Returns the position of whoever knows everything.
    pub const fn position(&self) -> Position {
        Position { epoch: self.epoch, sequence: self.last }
    }

    /// Notes that a claim is listed with a new ticket, which ends at `expires_at`. Returns whether it was not listed before.
    pub fn put(&mut self, now: UnixMillis, claim: Claim, expires_at: UnixMillis) -> bool {
        let before = self.note(now, claim, Kind::Put(expires_at), expires_at);
        !before.is_some_and(|word| matches!(word.kind, Kind::Put(ends_at) if ends_at > now))
    }

    /// Notes that a claim left by `ticket`. `forget_at` is when no older ticket of the claim can be good.
    pub fn left(&mut self, now: UnixMillis, ticket: &VerifiedTicket, forget_at: UnixMillis) {
        self.note(now, Claim::of(ticket), Kind::Left(ticket.as_json().into()), forget_at);
    }

    /// Notes that a record had to go for room.
    pub fn out(&mut self, now: UnixMillis, record: &Record) {
        self.note(now, Claim::of(&record.ticket), Kind::Out, record.ticket.payload().expires_at);
    }

    /// Returns whether a viewer at `since` can be told only what changed after it.
    pub fn knows(&self, since: Position) -> bool {
        since.epoch == self.epoch && (self.floor..=self.last).contains(&since.sequence)
    }

    /// Writes what changed after `since`, or a snapshot where there is no `since`, or one that is not known: as much as
    /// fits into one message. There is always progress: a message has room for several of the largest tickets.
    pub fn frame(&self, now: UnixMillis, roster: &mut Roster, since: Option<Position>) -> Frame {
        roster.expire(now);
        let since = since.filter(|since| self.knows(*since));
        let after = since.map(|since| since.sequence);
        let total = roster.len();
        let mut entries: Vec<(u64, Entry<'_>)> = roster
            .records()
            .filter_map(|record| {
                let word = self.words.get(&Claim::of(&record.ticket))?;
                Some((word.sequence, Entry::Put(record.ticket.as_json())))
            })
            .filter(|(sequence, _)| after.is_none_or(|after| *sequence > after))
            .collect();
        if let Some(after) = after {
            let later = self.words.iter().filter(|(_, word)| word.sequence > after);
            entries.extend(later.filter_map(|(claim, word)| match &word.kind {
                // Whoever missed it may hold an older ticket that has not ended.
                Kind::Put(ends_at) if *ends_at <= now => Some((word.sequence, Entry::Out(claim))),
                Kind::Put(_) => None,
                Kind::Left(json) => Some((word.sequence, Entry::Left(json))),
                Kind::Out => Some((word.sequence, Entry::Out(claim))),
            }));
        }
        entries.sort_unstable_by_key(|(sequence, _)| *sequence);

        let (mut bytes, mut taken) = (ENVELOPE_BYTES, 0);
        for (_, entry) in &entries {
            bytes += entry.bytes();
            if bytes > LIVE_MESSAGE_MAX_BYTES {
                break;
            }
            taken += 1;
        }
        let more = taken < entries.len();
        entries.truncate(taken);
        let sequence = entries.last().filter(|_| more).map_or(self.last, |(sequence, _)| *sequence);
        let position = Position { epoch: self.epoch, sequence };
        let text = write(since, position, more, total, entries.into_iter().map(|(_, entry)| entry));
        Frame { previous: since, position, more, text }
    }

    /// Returns the word that this one takes the place of.
    fn note(&mut self, now: UnixMillis, claim: Claim, kind: Kind, forget_at: UnixMillis) -> Option<Word> {
        self.last = (self.last + 1).max(now.as_u64());
        let sequence = self.last;
        let forget_at = self.words.get(&claim).map_or(forget_at, |before| before.forget_at.max(forget_at));
        let before = self.words.insert(claim, Word { sequence, kind, forget_at });
        if self.words.len() <= self.most_words {
            return before;
        }
        self.words.retain(|_, word| word.forget_at > now);
        if self.words.len() > self.most_words {
            // Those who are listed are bounded by the roster; of the rest the oldest goes.
            let gone = self.words.iter().filter(|(_, word)| !matches!(word.kind, Kind::Put(ends_at) if ends_at > now));
            let oldest = gone.min_by_key(|(_, word)| word.sequence).map(|(claim, word)| (claim.clone(), word.sequence));
            if let Some((claim, sequence)) = oldest {
                self.words.remove(&claim);
                self.floor = self.floor.max(sequence);
            }
        }
        before
    }
}

/// One change, borrowed from where it is kept.
enum Entry<'a> {
    Put(&'a str),
    Left(&'a str),
    Out(&'a Claim),
}

/// Bytes of a message around its entries, and more.
const ENVELOPE_BYTES: usize = 256;

impl Entry<'_> {
    /// Returns how many bytes the entry takes, with a comma.
    fn bytes(&self) -> usize {
        match self {
            Self::Put(json) | Self::Left(json) => json.len() + 1,
            // Two texts in an array: a key has 44 bytes, and neither has a character that is escaped.
            Self::Out(claim) => claim.peer_id.as_str().len() + 44 + 8,
        }
    }
}

#[derive(Serialize)]
struct SnapshotFields<'a> {
    t: &'static str,
    position: Position,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    total: usize,
    peers: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct DeltaFields<'a> {
    t: &'static str,
    previous: Position,
    position: Position,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    put: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    out: Vec<(&'a str, String)>,
}

fn write<'a>(
    since: Option<Position>,
    position: Position,
    more: bool,
    total: usize,
    entries: impl Iterator<Item = Entry<'a>>,
) -> String {
    let (mut put, mut left, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            // Tickets are in their normal form, which is JSON.
            Entry::Put(json) => put.extend(serde_json::from_str::<&RawValue>(json)),
            Entry::Left(json) => left.extend(serde_json::from_str::<&RawValue>(json)),
            Entry::Out(claim) => out.push((claim.peer_id.as_str(), claim.public_key.to_string())),
        }
    }
    let text = match since {
        None => serde_json::to_string(&SnapshotFields { t: "snapshot", position, more, total, peers: put }),
        Some(previous) => serde_json::to_string(&DeltaFields { t: "delta", previous, position, more, put, left, out }),
    };
    // Texts, numbers and what is JSON already can always be written.
    text.unwrap_or_default()
}
