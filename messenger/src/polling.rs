//! How often a program that follows its inbox asks the relay: often while messages come, seldom while none do, because
//! everybody behind one address shares its rate limit.

use std::time::Duration;

/// The longest wait between two looks that nothing comes of. A look is one request, and one more where the user has a mailbox:
/// 12 who follow behind one address then ask at most 144 times a minute, of the 150 that a relay serves an address.
const IDLE_MOST: Duration = Duration::from_secs(10);

/// Returns how long to wait before the relay is asked again, after so many questions in a row of which nothing came: the
/// `interval` after one that something came of, and twice as long after each other one, up to 10 seconds. An interval that is
/// longer stays as it is.
pub fn wait(interval: Duration, idle: u32) -> Duration {
    let times = 2_u32.saturating_pow(idle);
    interval.saturating_mul(times).min(interval.max(IDLE_MOST))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_while_nothing_comes() {
        let waits =
            |interval| [0, 1, 2, 3, 4, u32::MAX].map(|idle| wait(Duration::from_secs(interval), idle).as_secs());
        assert_eq!(waits(2), [2, 4, 8, 10, 10, 10]);
        assert_eq!(waits(30), [30; 6]);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_the_interval_and_never_shrinks(millis in 1_u64..100_000, idle in 0_u32..u32::MAX) {
            let interval = Duration::from_millis(millis);
            prop_assert!(wait(interval, idle) >= interval);
            prop_assert!(wait(interval, idle + 1) >= wait(interval, idle));
        }
    }
}
