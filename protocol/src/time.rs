//! Points in time, as the wire has them: milliseconds since the Unix epoch.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

/// Seconds of a day: this clock counts no leap seconds.
pub const DAY_SECONDS: u64 = 86_400;

/// Milliseconds of a day.
pub const DAY_MILLIS: u64 = DAY_SECONDS * 1_000;

/// Holds a point in time in milliseconds since the Unix epoch, below 2^53, so that every JSON reader has it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// The latest point in time that the wire can carry, 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Makes the point `millis` after the epoch, or [`UnixMillis::MAX`] where that is later.
    pub const fn saturating(millis: u64) -> Self {
        if millis < Self::MAX.0 { Self(millis) } else { Self::MAX }
    }

    /// Makes the point `millis` after the epoch, or `None` from 2^53 on.
    pub const fn new(millis: u64) -> Option<Self> {
        if millis <= Self::MAX.0 { Some(Self(millis)) } else { None }
    }

    /// Returns the milliseconds since the epoch.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns this point moved into the future, at most to [`UnixMillis::MAX`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self::saturating(self.0.saturating_add(saturating_millis(duration)))
    }

    /// Returns how long before this point `earlier` was; zero if it was not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de> Deserialize<'de> for UnixMillis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = u64::deserialize(deserializer)?;
        Self::new(millis).ok_or_else(|| de::Error::custom("a time must be below 2^53 milliseconds"))
    }
}

/// Returns the whole milliseconds of `duration`, at most `u64::MAX`.
pub fn saturating_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
