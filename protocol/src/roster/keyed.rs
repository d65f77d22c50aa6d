//! A number and a position in one word: what is sorted by numbers is sorted faster so.

use crate::time::{UnixMillis, saturating_millis};

/// The bits of a position. A roster is smaller than 2^16.
const POSITION_BITS: u32 = 16;
const POSITION: u64 = (1 << POSITION_BITS) - 1;

/// The most positions that can be told apart.
pub(super) const MOST: usize = 1 << POSITION_BITS;

/// Holds a number of 48 bits and a position, and sorts by the one and then by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Keyed(u64);

impl Keyed {
    /// Keeps the upper 48 bits of a number, and a position below [`MOST`].
    pub(super) fn new(number: u64, position: usize) -> Self {
        Self(key(number) | u64::try_from(position).unwrap_or(POSITION).min(POSITION))
    }

    /// Keeps by how many milliseconds a time is after the earliest one, which 48 bits can say for 8,900 years.
    pub(super) fn after(earliest: UnixMillis, time: UnixMillis, position: usize) -> Self {
        let millis = saturating_millis(time.since(earliest)).min(u64::MAX >> POSITION_BITS);
        Self::new(millis << POSITION_BITS, position)
    }

    /// Returns the number, its lower 16 bits being zero.
    pub(super) const fn key(self) -> u64 {
        key(self.0)
    }

    /// Returns the position.
    pub(super) fn position(self) -> usize {
        usize::try_from(self.0 & POSITION).unwrap_or(usize::MAX)
    }
}

/// Returns what counts of a number: its upper 48 bits. Two of the few hundred in a roster are the same there once in ten
/// thousand million rosters.
pub(super) const fn key(number: u64) -> u64 {
    number & !POSITION
}

/// The bits by which [`sorted_hashes`] distributes: a roster of 200 has one number in most of so many buckets.
const BUCKET_BITS: u32 = 8;

/// Sorts what is keyed by hashes. Their upper bits say nearly where each one goes, so that little is compared. Whoever could
/// choose numbers could make it slow.
pub(super) fn sorted_hashes(values: &[Keyed]) -> Vec<Keyed> {
    let bucket = |value: &Keyed| usize::try_from(value.0 >> (u64::BITS - BUCKET_BITS)).unwrap_or_default();
    let mut next = [0_usize; 1 << BUCKET_BITS];
    for value in values {
        if let Some(count) = next.get_mut(bucket(value)) {
            *count += 1;
        }
    }
    let mut before = 0;
    for count in &mut next {
        before += std::mem::replace(count, before);
    }
    let mut sorted = values.to_vec();
    for value in values {
        if let Some(next) = next.get_mut(bucket(value))
            && let Some(place) = sorted.get_mut(*next)
        {
            *place = *value;
            *next += 1;
        }
    }
    for end in 1..sorted.len() {
        let mut at = end;
        while at > 0 && sorted.get(at - 1) > sorted.get(at) {
            sorted.swap(at - 1, at);
            at -= 1;
        }
    }
    sorted
}

/// Returns the neighbours that have one number, of what is in order.
pub(super) fn groups(sorted: &[Keyed]) -> impl Iterator<Item = &[Keyed]> + Clone {
    sorted.chunk_by(|one, other| one.key() == other.key())
}
