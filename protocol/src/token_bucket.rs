//! Token buckets, in the form of the generic cell rate algorithm (ITU-T I.371): all that a bucket remembers is the point
//! in time at which it will be full again.

use std::time::Duration;

/// Says how a bucket fills. The unit of time is the caller's, and the same for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// The time in which the bucket gains one token.
    pub interval: u64,
    /// The time in which an empty bucket fills up: as many intervals as it holds tokens.
    pub filling: u64,
}

impl TokenBucket {
    /// Makes a bucket of so many tokens that gains one in each interval. It counts in milliseconds.
    pub const fn new(interval: Duration, tokens: u64) -> Self {
        let interval = interval.as_millis() as u64;
        Self { interval, filling: interval.saturating_mul(tokens) }
    }

    /// Returns the same bucket as one from which so many tokens are taken at a time: all that it holds, where that is less, so
    /// that whatever costs more can still be paid for.
    pub const fn in_lots_of(self, tokens: u64) -> Self {
        let interval = self.interval.saturating_mul(tokens);
        Self { interval: if interval < self.filling { interval } else { self.filling }, ..self }
    }

    /// Takes a token from a bucket that is full at `full_at`.
    ///
    /// # Errors
    /// How long it takes until there is one. Then nothing is taken.
    pub const fn take(self, full_at: &mut u64, now: u64) -> Result<(), u64> {
        let missing = self.settle(full_at, now);
        let wait = self.wait(missing);
        if wait > 0 {
            return Err(wait);
        }
        *full_at = self.taken(missing, now);
        Ok(())
    }

    /// Returns how long it takes until the bucket is full, and counts that from now on: after a clock that jumped back, the
    /// bucket fills by the clock as it is, not when the time has come again that it was.
    pub const fn settle(self, full_at: &mut u64, now: u64) -> u64 {
        let missing = self.missing(*full_at, now);
        *full_at = now.saturating_add(missing);
        missing
    }

    /// Returns how long it takes until the bucket is full. It is never more than empty, and never more than full.
    pub const fn missing(self, full_at: u64, now: u64) -> u64 {
        let missing = full_at.saturating_sub(now);
        if missing < self.filling { missing } else { self.filling }
    }

    /// Returns how long it takes until there is a token in a bucket of which so much is `missing`.
    pub const fn wait(self, missing: u64) -> u64 {
        missing.saturating_add(self.interval).saturating_sub(self.filling)
    }

    /// Returns when a bucket of which so much is `missing` is full again, if a token is taken now.
    pub const fn taken(self, missing: u64, now: u64) -> u64 {
        now.saturating_add(missing).saturating_add(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The model counts what is in the bucket.
        #[test]
        fn it_gives_what_a_count_of_tokens_gives(
            interval in 1_u64..50,
            tokens in 1_u64..8,
            steps in prop::collection::vec((0_u64..100, any::<bool>(), 0_u64..10), 0..60),
        ) {
            let bucket = TokenBucket { interval, filling: interval * tokens };
            let (mut now, mut full_at) = (1_000, 0);
            let mut level = bucket.filling;
            for (pause, takes, lot) in steps {
                now += pause;
                level = bucket.filling.min(level + pause);
                let missing = bucket.missing(full_at, now);
                prop_assert_eq!(missing, bucket.filling - level);
                let cost = interval * lot.min(tokens);
                let lots = bucket.in_lots_of(lot);
                prop_assert_eq!(lots.wait(missing), cost.saturating_sub(level));
                if takes {
                    let taken = lots.take(&mut full_at, now);
                    prop_assert_eq!(taken, if level >= cost { Ok(()) } else { Err(cost - level) });
                    level -= if taken.is_ok() { cost } else { 0 };
                }
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_back_leaves_the_bucket_empty_at_most_and_it_fills_again() {
        let bucket = TokenBucket::new(Duration::from_millis(10), 3);
        let mut full_at = 1_000_000;
        assert_eq!(bucket.take(&mut full_at, 5), Err(10));
        assert_eq!(bucket.take(&mut full_at, 14), Err(1));
        assert_eq!(bucket.take(&mut full_at, 15), Ok(()));
        assert_eq!(bucket.settle(&mut full_at, 15), 30);
        assert_eq!(bucket.settle(&mut full_at, 1_000_000), 0);
    }
}
