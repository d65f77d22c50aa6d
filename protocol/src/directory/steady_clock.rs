//! The time by which a hub forgets: one that goes on in small steps, whatever the clock does.
//!
//! A clock that was set a month ahead, if only for a moment, would have a hub forget everything. What is forgotten too late
//! takes room, and nothing else.

use super::limits::FORGET_STEP_MAX;
use crate::time::UnixMillis;

/// Holds that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteadyClock(UnixMillis);

impl SteadyClock {
    /// Makes one that goes on from `at`.
    pub const fn new(at: UnixMillis) -> Self {
        Self(at)
    }

    /// Goes on towards `now`, by at most [`FORGET_STEP_MAX`]; back at once, where `now` is earlier. To be called once each
    /// [`FORGET_EVERY`](super::limits::FORGET_EVERY).
    pub fn tick(&mut self, now: UnixMillis) -> UnixMillis {
        self.0 = self.0.after(FORGET_STEP_MAX).min(now);
        self.0
    }

    /// Returns the time.
    pub const fn now(&self) -> UnixMillis {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::limits::FORGET_EVERY;
    use super::*;

    const START: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

    /// How far the clock is off, and for how many looks.
    fn leaps() -> impl Strategy<Value = Vec<(i64, u32)>> {
        prop::collection::vec((-40_i64 * 86_400_000..40 * 86_400_000, 1_u32..100), 0..20)
    }

    proptest! {
        #[test]
        fn it_is_ahead_by_no_more_than_the_clock_was_ahead_for_and_comes_up_with_it(leaps in leaps(), quiet in 1_u32..200) {
            let (mut clock, mut real) = (SteadyClock::new(START), START);
            let mut wrong_for = Duration::ZERO;
            for (off, looks) in leaps {
                for _ in 0..looks {
                    real = real.after(FORGET_EVERY);
                    wrong_for += FORGET_EVERY;
                    clock.tick(UnixMillis::saturating(real.as_u64().saturating_add_signed(off)));
                    prop_assert!(clock.now() <= real.after(wrong_for));
                }
                for _ in 0..quiet {
                    let behind = real.since(clock.now());
                    real = real.after(FORGET_EVERY);
                    clock.tick(real);
                    prop_assert!(clock.now() <= real);
                    // It comes up with the clock: by one interval each time.
                    prop_assert_eq!(real.since(clock.now()), behind.saturating_sub(FORGET_EVERY));
                }
            }
        }
    }
}
