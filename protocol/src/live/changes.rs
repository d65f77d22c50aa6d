//! What has changed in a roster, in order: the last word about every claim.
//!
//! There is no list of events. Each change of a claim takes the place of the one before, so that what is kept is bounded by
//! the claims, and what a viewer missed is every word with a later sequence number than the viewer's. Sequence numbers
//! are the time in milliseconds, or one more than the last. A word is forgotten when no ticket that it is about can be
//! good any more: whoever missed it holds nothing that it would change.

use crate::key::PublicKey;
use crate::limits::{CLOCK_SKEW, LIVE_MESSAGE_MAX_BYTES, LIVE_WORDS, TICKET_MAX_LIFETIME};
use crate::live::Position;
use crate::roster::{Departed, Record, Roster};
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
    claim: Claim,
    sequence: u64,
    kind: Kind,
    /// From then on no ticket of the claim can be good that a viewer was ever sent: not only the last one, because an
    /// older one may end later.
    forget_at: UnixMillis,
}

impl Word {
    /// Returns whether the word is that a claim is listed, with a ticket that has not ended.
    fn is_put(&self, now: UnixMillis) -> bool {
        matches!(self.kind, Kind::Put(ends_at) if ends_at > now)
    }
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
    /// Bytes of the message.
    pub bytes: usize,
    /// The message; empty where it lies beside the frame, because it is handed on as it came.
    pub text: String,
}

/// Holds how far a log has come, so that it can go on where its object has been forgotten meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The position of whoever knows everything.
    pub position: Position,
    /// The number of the last change that all who could be were sent.
    pub sent: u64,
    /// Whoever has come less far may miss a word that is not about somebody listed.
    pub floor: u64,
}

/// Holds the changes of one roster.
#[derive(Debug)]
pub struct Changes {
    epoch: u32,
    last: u64,
    /// What came before may have been forgotten early.
    floor: u64,
    /// Two numbers that say the same: whoever has come to the first has everything up to the second.
    alias: (u64, u64),
    /// The oldest first.
    words: Vec<Word>,
    most_words: usize,
}

impl Changes {
    /// Makes the log of a roster as it stands: everybody listed is new. A position of another epoch is unknown, so whoever
    /// restores a roster alone gives another one.
    pub fn new(epoch: u32, now: UnixMillis, roster: &Roster) -> Self {
        let position = Position { epoch, sequence: now.as_u64() };
        Self::restore(LogHead { position, sent: position.sequence, floor: 0 }, roster, |_| None)
    }

    /// Goes on with a log of which the words about those who are listed are left. `known` tells the sequence number of a
    /// record; one of which it tells none counts as the newest, because whoever has it may take it again.
    pub fn restore(head: LogHead, roster: &Roster, known: impl Fn(&Record) -> Option<u64>) -> Self {
        let LogHead { position: Position { epoch, sequence: last }, floor, .. } = head;
        // A ticket that has ended may have done so before an older one that a viewer holds.
        let has_expired = |departed: &Departed| departed.last.is_some_and(|last| last.since.is_none());
        let floor = if roster.departed().any(has_expired) { last } else { floor.min(last) };
        let most_words = LIVE_WORDS.max(2 * roster.len());
        let mut changes = Self { epoch, last, floor, alias: (last, last), words: Vec::new(), most_words };
        for record in roster.records() {
            let ends_at = record.ticket.payload().expires_at;
            let sequence = known(record).filter(|sequence| *sequence <= last).unwrap_or_else(|| {
                changes.last += 1;
                changes.last
            });
            let older_end = record.accepted_at.after(TICKET_MAX_LIFETIME).after(CLOCK_SKEW);
            let (claim, forget_at) = (Claim::of(&record.ticket), ends_at.max(older_end));
            let position = changes.words.partition_point(|word| word.sequence < sequence);
            changes.words.insert(position, Word { claim, sequence, kind: Kind::Put(ends_at), forget_at });
        }
        // Whoever has come to where the log had has all of them.
        changes.alias.1 = changes.last;
        changes
    }

    /// Returns how far the log has come, of which everything up to `sent` was sent.
    pub fn head(&self, now: UnixMillis, sent: Position) -> LogHead {
        let of_others = self.words.iter().filter(|word| !word.is_put(now)).map(|word| word.sequence);
        LogHead { position: self.position(), sent: sent.sequence, floor: of_others.fold(self.floor, u64::max) }
    }

    /// Returns the number of the last change of a claim, if there is a word about it.
    pub fn sequence_of(&self, claim: &Claim) -> Option<u64> {
        self.words.iter().find(|word| word.claim == *claim).map(|word| word.sequence)
    }

    /// Returns the position of whoever knows everything.
    pub const fn position(&self) -> Position {
        Position { epoch: self.epoch, sequence: self.last }
    }

    /// Notes that a claim is listed with a new ticket, which ends at `expires_at`. Returns whether it was not listed before.
    pub fn put(&mut self, now: UnixMillis, claim: Claim, expires_at: UnixMillis) -> bool {
        let before = self.note(now, claim, Kind::Put(expires_at), expires_at);
        !before.is_some_and(|word| word.is_put(now))
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
        let after =
            since.map(|Position { sequence, .. }| if sequence == self.alias.0 { self.alias.1 } else { sequence });
        let mut lists = Lists::default();
        let mut position = None;
        let mut more = false;
        for word in self.words.iter().filter(|word| after.is_none_or(|after| word.sequence > after)) {
            let Claim { public_key, peer_id } = &word.claim;
            let fits = match (&word.kind, roster.record(peer_id, public_key)) {
                (Kind::Put(_), Some(record)) => lists.add(Field::Put, record.ticket.as_json()),
                // A snapshot has nobody who is not listed.
                _ if after.is_none() => continue,
                (Kind::Left(json), _) => lists.add(Field::Left, json),
                // Neither a name nor a key has a character that is escaped. Whoever missed a ticket that has ended may
                // hold an older one that has not.
                (Kind::Put(_) | Kind::Out, _) => lists.add(Field::Out, &format!("[\"{peer_id}\",\"{public_key}\"]")),
            };
            if !fits {
                more = true;
                break;
            }
            position = Some(word.sequence);
        }
        let sequence = position.filter(|_| more).unwrap_or(self.last);
        let position = Position { epoch: self.epoch, sequence };
        let text = lists.write(since, position, more, roster.len());
        Frame { previous: since, position, more, bytes: text.len(), text }
    }

    /// Returns the word that this one takes the place of.
    fn note(&mut self, now: UnixMillis, claim: Claim, kind: Kind, forget_at: UnixMillis) -> Option<Word> {
        self.last = (self.last + 1).max(now.as_u64());
        let before = self.words.iter().position(|word| word.claim == claim).map(|position| self.words.remove(position));
        let forget_at = before.as_ref().map_or(forget_at, |before| before.forget_at.max(forget_at));
        self.words.push(Word { claim, sequence: self.last, kind, forget_at });
        if self.words.len() > self.most_words {
            self.words.retain(|word| word.forget_at > now);
        }
        if self.words.len() > self.most_words
            // Those who are listed are bounded by the roster; of the rest the oldest goes.
            && let Some(oldest) = self.words.iter().position(|word| !word.is_put(now))
        {
            self.floor = self.floor.max(self.words.remove(oldest).sequence);
        }
        before
    }
}

/// The lists of a message, in the order in which it has them.
#[derive(Clone, Copy)]
enum Field {
    Put,
    Left,
    Out,
}

/// Bytes of a message around its entries, and more.
const ENVELOPE_BYTES: usize = 256;

/// Holds the entries of a message, as they are in it.
#[derive(Default)]
struct Lists {
    texts: [String; 3],
}

impl Lists {
    /// Adds an entry, which is JSON. Returns whether there is room for it.
    fn add(&mut self, field: Field, entry: &str) -> bool {
        let bytes: usize = self.texts.iter().map(String::len).sum();
        let fits = ENVELOPE_BYTES + bytes + entry.len() < LIVE_MESSAGE_MAX_BYTES;
        if let (true, Some(text)) = (fits, self.texts.get_mut(field as usize)) {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(entry);
        }
        fits
    }

    fn write(&self, since: Option<Position>, position: Position, more: bool, total: usize) -> String {
        let [put, left, out] = &self.texts;
        let more = if more { ",\"more\":true" } else { "" };
        let Some(previous) = since else {
            return format!(
                "{{\"t\":\"snapshot\",\"position\":\"{position}\"{more},\"total\":{total},\"peers\":[{put}]}}"
            );
        };
        let mut text = format!("{{\"t\":\"delta\",\"previous\":\"{previous}\",\"position\":\"{position}\"{more}");
        for (name, list) in [("put", put), ("left", left), ("out", out)] {
            if !list.is_empty() {
                text.extend([",\"", name, "\":[", list, "]"]);
            }
        }
        text.push('}');
        text
    }
}
