//! Clocks, told apart from the steady one: every clock is its offset from it.

use std::time::Duration;

use crate::limits::CLOCK_SKEW;
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

    /// Returns the offset of a clock that is ahead of this one by so much.
    pub(super) fn later(self, by: Duration) -> Self {
        Self(self.0.saturating_add(signed(saturating_millis(by))))
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

/// The clocks that beacons told, and those of beacons that were not heard of yet, which count as this machine's.
#[derive(Debug)]
pub(super) struct Clocks {
    own: ClockOffset,
    told: Vec<ClockOffset>,
    awaited: usize,
}

impl Clocks {
    /// Takes for each beacon its clock, or `None` where the beacon was not heard of yet.
    pub(super) fn new(own: ClockOffset, clocks: impl Iterator<Item = Option<ClockOffset>>) -> Self {
        let (mut told, mut awaited) = (Vec::new(), 0);
        for clock in clocks {
            match clock {
                Some(clock) => told.push(clock),
                None => awaited += 1,
            }
        }
        Self { own, told, awaited }
    }

    /// Returns the clock that no ticket is dated later than (rule 5): the median, with this machine's own among them where
    /// they are even in number, and where a single beacon tells the time no later than clocks may differ.
    pub(super) fn trusted(&self) -> ClockOffset {
        let mut clocks = self.told.clone();
        clocks.extend(std::iter::repeat_n(self.own, self.awaited));
        if clocks.len().is_multiple_of(2) {
            clocks.push(self.own);
        }
        clocks.sort_unstable();
        let median = clocks.get(clocks.len() / 2).copied().unwrap_or(self.own);
        if self.told.len() > 1 { median } else { median.min(self.own.later(CLOCK_SKEW)) }
    }

    /// Returns by how many milliseconds the only clock that was told is ahead of this machine's, if it is by more than
    /// clocks may differ. None, while a beacon may still tell another one.
    pub(super) fn alone_ahead(&self) -> Option<i64> {
        let ([alone], 0) = (&self.told[..], self.awaited) else { return None };
        let alone = *alone;
        (alone > self.own.later(CLOCK_SKEW)).then(|| alone.ahead_of(self.own))
    }
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}
