//! How long to wait before trying again what failed.

use std::time::Duration;

/// Waits that double with each failure, and that are spread at random so that those who failed together do not all come
/// back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure. It doubles from here.
    pub first: Duration,
    /// The longest wait of all.
    pub most: Duration,
}

impl Backoff {
    /// Returns the wait after so many failures in a row, from 1: between half of the doubled wait and all of it, as
    /// `random` says.
    pub fn wait(&self, failures: u32, random: u8) -> Duration {
        let times = 2_u32.saturating_pow(failures.saturating_sub(1));
        let half = self.first.saturating_mul(times).min(self.most) / 2;
        half + half * u32::from(random) / u32::from(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_wait_doubles_up_to_the_longest() {
        let backoff = Backoff { first: millis(1_000), most: millis(6_000) };
        let waits = |random| [0, 1, 2, 3, 4, 5, u32::MAX].map(|failures| backoff.wait(failures, random));
        assert_eq!(waits(255), [1_000, 1_000, 2_000, 4_000, 6_000, 6_000, 6_000].map(millis));
        assert_eq!(waits(0), [500, 500, 1_000, 2_000, 3_000, 3_000, 3_000].map(millis));
    }

    proptest! {
        #[test]
        fn a_wait_is_between_half_and_all_of_what_it_doubled_to(
            first in 1_u64..100_000,
            most in 1_u64..100_000,
            failures in any::<u32>(),
            random in any::<u8>(),
        ) {
            let backoff = Backoff { first: millis(first), most: millis(most) };
            let (shortest, wait, longest) =
                (backoff.wait(failures, 0), backoff.wait(failures, random), backoff.wait(failures, u8::MAX));
            prop_assert!(shortest <= wait && wait <= longest && longest <= millis(most));
            prop_assert!(shortest * 2 >= longest - Duration::from_nanos(2));
            prop_assert!(failures == u32::MAX || longest <= backoff.wait(failures + 1, u8::MAX));
        }
    }
}
