//! Whether a capsule outlives the gap until its successor reaches its readers.
//!
//! A capsule is replaced once every cadence, and the host may go on serving the old copy from its caches. A lifetime
//! that just covers both leaves readers with an expired capsule whenever one run is late, so some slack is asked for.

use std::time::Duration;

use crate::code::Code;
use crate::limits::FRESHNESS_MIN_SLACK;
use crate::time::saturating_millis;

/// Holds when a capsule is replaced, and how late its readers notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From one run of the publisher to the next.
    pub cadence: Duration,
    /// How long the host may go on to serve the old copy.
    pub cache: Duration,
    /// By how much a run may be late.
    pub slack: Duration,
}

/// A life that is too short for its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a capsule that lives {} ms is over before its successor reaches readers: at least {} ms are needed, \
     {} until the next run, {} in caches, {} in case a run is late",
    saturating_millis(*.lifetime),
    saturating_millis(.schedule.least_lifetime()),
    saturating_millis(.schedule.cadence),
    saturating_millis(.schedule.cache),
    saturating_millis(.schedule.slack)
)]
pub struct LifetimeTooShort {
    /// How long the capsule would live.
    pub lifetime: Duration,
    /// What it has to outlive.
    pub schedule: Schedule,
}

impl LifetimeTooShort {
    /// Returns the refusal's name, for scripts.
    pub const fn code(&self) -> &'static str {
        Code::LifetimeTooShort.as_str()
    }
}

impl Schedule {
    /// Makes a schedule with the default slack: one run may be late by a whole cadence, or fail, and by 60 seconds at
    /// least.
    pub fn new(cadence: Duration, cache: Duration) -> Self {
        Self { cadence, cache, slack: cadence.max(FRESHNESS_MIN_SLACK) }
    }

    /// Returns the shortest life that a capsule needs under this schedule.
    pub const fn least_lifetime(&self) -> Duration {
        self.cadence.saturating_add(self.cache).saturating_add(self.slack)
    }

    /// Checks that a capsule that lives `lifetime` is there until its successor is.
    ///
    /// # Errors
    /// [`LifetimeTooShort`].
    pub fn check(self, lifetime: Duration) -> Result<(), LifetimeTooShort> {
        if lifetime < self.least_lifetime() {
            return Err(LifetimeTooShort { lifetime, schedule: self });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    #[test]
    fn a_life_has_to_cover_the_cadence_the_cache_and_the_slack() {
        let schedule = Schedule::new(minutes(10), minutes(5));
        assert_eq!(schedule.slack, minutes(10));
        assert_eq!(schedule.check(minutes(25)), Ok(()));
        let error = schedule.check(minutes(25) - Duration::from_millis(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a capsule that lives 1499999 ms is over before its successor reaches readers: at least 1500000 ms are \
             needed, 600000 until the next run, 300000 in caches, 600000 in case a run is late"
        );
        assert_eq!(Schedule { slack: Duration::ZERO, ..schedule }.check(minutes(15)), Ok(()));
    }

    #[test]
    fn the_slack_is_a_minute_at_least_and_nothing_overflows() {
        assert_eq!(Schedule::new(Duration::from_secs(5), Duration::ZERO).least_lifetime(), Duration::from_secs(65));
        let longest = Schedule::new(Duration::MAX, Duration::MAX);
        assert_eq!(longest.check(Duration::MAX), Ok(()));
        assert!(longest.check(minutes(1)).unwrap_err().to_string().contains("18446744073709551615"));
    }
}
