//! The window of a slot: the cap that every relay can check alone.
//!
//! Sender and recipient sign numbers: the sender that of each deposit, the recipient what has come. A sequence is **gone**
//! at a relay when the recipient has acknowledged it or its message has ended here. Of the sequences that are not gone the
//! lowest `limit` are **open**, and only an open one is taken in. Whatever the order in which deposits and
//! acknowledgements come, and whatever other relays know, at most `limit` messages of a slot wait here; and acknowledgements
//! are joined, so that order and repetition do not matter.

use serde::{Deserialize, Serialize};

use super::limits::MISSING_MAX;
use super::record::{Ack, RecordError, read_all};
use crate::fields::Fields;

/// Holds a set of sequences: all from 1 to `through` but those `missing`, of which there are never more than
/// [`MISSING_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredSequences")]
pub struct Sequences {
    missing: Vec<u64>,
    through: u64,
}

/// Holds what was stored of a set, before it is known to be one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSequences {
    missing: Vec<u64>,
    through: u64,
}

impl TryFrom<StoredSequences> for Sequences {
    type Error = &'static str;

    fn try_from(StoredSequences { missing, through }: StoredSequences) -> Result<Self, &'static str> {
        let sequences = Self { missing, through };
        if sequences.is_sound() { Ok(sequences) } else { Err("its sequences are none that a window has") }
    }
}

impl Sequences {
    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self { missing: fields.wholes("missing")?, through: fields.number("through")? })
    }

    /// Returns the highest sequence of the set, 0 if there is none.
    pub const fn through(&self) -> u64 {
        self.through
    }

    /// Returns the sequences below the highest that are not in the set, ascending.
    pub fn missing(&self) -> &[u64] {
        &self.missing
    }

    /// Returns whether the set has that sequence.
    pub fn contains(&self, sequence: u64) -> bool {
        (1..=self.through).contains(&sequence) && self.missing.binary_search(&sequence).is_err()
    }

    /// Counts the sequences up to this one that the set does not have.
    fn count_missing_to(&self, sequence: u64) -> u64 {
        let below = self.missing.partition_point(|missing| *missing <= sequence);
        u64::try_from(below).unwrap_or(u64::MAX).saturating_add(sequence.saturating_sub(self.through))
    }

    /// Adds one sequence. One that would leave too many missing is not added: none is taken in that is not open, so that
    /// happens to none that was.
    fn insert(&mut self, sequence: u64) {
        if let Ok(position) = self.missing.binary_search(&sequence) {
            self.missing.remove(position);
        } else if sequence > self.through && self.count_missing_to(sequence) <= MISSING_MAX as u64 {
            self.missing.extend(self.through + 1..sequence);
            self.through = sequence;
        }
    }

    /// Adds all up to this sequence.
    fn insert_to(&mut self, sequence: u64) {
        self.missing.retain(|missing| *missing > sequence);
        self.through = self.through.max(sequence);
    }

    /// Adds what an acknowledgement covers.
    fn join(&mut self, ack: &Ack) {
        let before = self.through;
        self.missing.retain(|missing| !ack.covers(*missing));
        if ack.through > before {
            self.missing.extend(ack.missing.iter().filter(|missing| **missing > before));
            self.through = ack.through;
        }
    }

    /// Returns whether this is such a set: what was stored is read by this.
    fn is_sound(&self) -> bool {
        self.missing.len() <= MISSING_MAX
            && self.missing.is_sorted_by(|one, next| one < next)
            && self.missing.iter().all(|missing| (1..self.through).contains(missing))
            && self.through < 1 << 53
    }
}

/// Holds what one relay knows of a slot's sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    acknowledged: Sequences,
    gone: Sequences,
}

impl Window {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            acknowledged: read_all(fields.object("acknowledged")?, Sequences::read)?,
            gone: read_all(fields.object("gone")?, Sequences::read)?,
        })
    }

    /// Returns what the recipient has acknowledged.
    pub const fn acknowledged(&self) -> &Sequences {
        &self.acknowledged
    }

    /// Returns what is acknowledged or has ended here.
    pub const fn gone(&self) -> &Sequences {
        &self.gone
    }

    /// Returns whether a message with that sequence may be taken in.
    pub fn is_open(&self, sequence: u64, limit: u8) -> bool {
        sequence >= 1 && !self.gone.contains(sequence) && self.gone.count_missing_to(sequence) <= u64::from(limit)
    }

    /// Takes an acknowledgement. Returns whether it says anything new.
    pub fn acknowledge(&mut self, ack: &Ack) -> bool {
        let before = self.clone();
        self.acknowledged.join(ack);
        self.gone.join(ack);
        *self != before
    }

    /// Notes that the message with that sequence has ended here.
    pub fn end(&mut self, sequence: u64) {
        self.gone.insert(sequence);
    }

    /// Notes that nothing up to this sequence comes any more.
    pub fn end_to(&mut self, sequence: u64) {
        self.gone.insert_to(sequence);
    }

    /// Returns whether this is a window: what was stored is read by this.
    pub(super) fn is_sound(&self) -> bool {
        self.acknowledged.is_sound() && self.gone.is_sound()
    }
}
