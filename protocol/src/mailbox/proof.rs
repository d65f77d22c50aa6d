//! Proof of work: what a stranger pays for a place in the request lane.

use super::bytes::{Address, sha256};
use super::record::RecordError;
use crate::fields::Fields;
use crate::time::{DAY_MILLIS, UnixMillis};

/// Holds a stranger's proof of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The day on which it was found, in days since the Unix epoch.
    pub day: u64,
    /// The number that was looked for.
    pub solution: u64,
}

/// Returns the day of a time, in days since the Unix epoch.
pub const fn day_of(time: UnixMillis) -> u64 {
    time.as_u64() / DAY_MILLIS
}

impl Proof {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self { day: fields.number("day")?, solution: fields.number("solution")? })
    }

    /// Returns whether the proof is of today or yesterday, for this mailbox and `subject` (a content id, or the nonce of a
    /// claim, in base64), and begins with `difficulty` zero bits.
    pub fn holds(&self, address: Address, subject: &str, difficulty: u8, now: UnixMillis) -> bool {
        let today = day_of(now);
        (self.day == today || self.day.saturating_add(1) == today)
            && self.zero_bits(address, subject) >= u32::from(difficulty)
    }

    /// Counts the zero bits at the beginning of the hash, at most 64 of them.
    fn zero_bits(&self, address: Address, subject: &str) -> u32 {
        let Self { day, solution } = self;
        let hash = sha256(&[format!("rendezvous-pow-v1\0{address}\0{subject}\0{day}\0{solution}").as_bytes()]);
        hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first).leading_zeros())
    }
}
