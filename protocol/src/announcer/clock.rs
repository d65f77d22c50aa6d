//! Clocks, told apart from the steady one: every clock is its offset from it.

use std::time::Duration;

use crate::time::{UnixMillis, saturating_millis};

/// Holds now, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time since some fixed moment. This clock never goes back, and nobody sets it.
    pub steady: Duration,
    /// The date and time by this machine's clock, which may be wrong and jump.
    pub wall: UnixMillis,
}

impl Moment {
    /// Returns the offset of this machine's clock.
    pub(super) fn machine(self) -> ClockOffset {
        ClockOffset::new(self.wall, self.steady)
    }
}

/// The offset of a clock from the steady one: the time that the clock showed when the steady clock began, in milliseconds
/// since 1970. It is negative for a clock that is further back than the steady clock has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClockOffset(i64);

impl ClockOffset {
    /// Makes the offset of a clock that shows `time` when the steady one shows `steady`.
    pub(super) fn new(time: UnixMillis, steady: Duration) -> Self {
        Self(signed(time.as_u64()).saturating_sub(signed(saturating_millis(steady))))
    }

    /// Returns the time that the clock shows when the steady one shows `steady`.
    pub(super) fn time_at(self, steady: Duration) -> UnixMillis {
        let millis = self.0.saturating_add(signed(saturating_millis(steady)));
        UnixMillis::saturating(u64::try_from(millis).unwrap_or(0))
    }

    /// Returns by how many milliseconds this clock is ahead of `other`; negative if it is behind.
    pub(super) const fn ahead_of(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// Returns whether the two clocks differ by more than `tolerance`.
    pub(super) fn differs_from(self, other: Self, tolerance: Duration) -> bool {
        self.0.abs_diff(other.0) > saturating_millis(tolerance)
    }
}

/// Returns the median of `clocks`, with this machine's own among them where they are even in number.
pub(super) fn median(clocks: impl Iterator<Item = ClockOffset>, own: ClockOffset) -> ClockOffset {
    let mut clocks: Vec<_> = clocks.collect();
    if clocks.len().is_multiple_of(2) {
        clocks.push(own);
    }
    clocks.sort_unstable();
    clocks.get(clocks.len() / 2).copied().unwrap_or(own)
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}
