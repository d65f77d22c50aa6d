//! When a publisher makes its next capsule. A state machine like the others here: time and randomness come in, moments
//! go out. Out of scope: asking, signing, writing, waiting.
//!
//! The rules:
//! 1. A round begins `every` after the one before it began, so that slow answers do not stretch the rhythm; later only
//!    where that one has not ended by then, and never sooner than [`PAUSE_MIN`] after it.
//! 2. After a round that published nothing the next one comes sooner: after a wait that begins at [`BACK_OFF_FIRST`],
//!    doubles, is spread at random, and is never longer than `every`. So a failure never slows the rhythm down.
//! 3. While the capsule that was published last lives, the wait after a failure is at most half of what is left of its
//!    life: the closer readers are to having none, the harder it is tried.
//!
//! All moments are those of a steady clock, which nobody sets.

use std::time::Duration;

use crate::backoff::Backoff;

/// The least time between the end of a round and the next one.
pub const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest wait after the first failure. It doubles from here.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(5);

/// Keeps the rhythm of one publisher.
#[derive(Clone, Debug)]
pub struct Watch {
    every: Duration,
    failures: u32,
    published_until: Option<Duration>,
}

impl Watch {
    /// Makes the rhythm of a publisher that has not published yet. Its first round is due at once.
    pub const fn new(every: Duration) -> Self {
        Self { every, failures: 0, published_until: None }
    }

    /// Returns how many rounds published nothing since the last one that did.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns when the capsule ends that was published last.
    pub const fn published_until(&self) -> Option<Duration> {
        self.published_until
    }

    /// Notes that a round that began at `began` has published, by `now`, a capsule that ends at `until`. Returns when
    /// the next one begins.
    pub fn published(&mut self, began: Duration, now: Duration, until: Duration) -> Duration {
        self.failures = 0;
        self.published_until = Some(until);
        began.saturating_add(self.every).max(now.saturating_add(PAUSE_MIN))
    }

    /// Notes that a round has published nothing by `now`. Returns when the next one begins. `random` spreads those who
    /// failed together.
    pub fn failed(&mut self, now: Duration, random: u8) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let mut wait = Backoff { first: BACK_OFF_FIRST, most: self.every }.wait(self.failures, random);
        if let Some(until) = self.published_until.filter(|until| *until > now) {
            wait = wait.min(until.saturating_sub(now) / 2);
        }
        now.saturating_add(wait.max(PAUSE_MIN))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_rhythm_counts_from_the_beginning_of_a_round() {
        let mut watch = Watch::new(seconds(300));
        assert_eq!(watch.published(seconds(1_000), seconds(1_020), seconds(3_000)), seconds(1_300));
        // One that took longer than the rhythm allows.
        assert_eq!(watch.published(seconds(1_300), seconds(1_700), seconds(3_000)), seconds(1_701));
        assert_eq!((watch.failures(), watch.published_until()), (0, Some(seconds(3_000))));
    }

    #[test]
    fn waits_double_after_failures_up_to_the_rhythm() {
        let mut watch = Watch::new(seconds(60));
        let mut now = seconds(0);
        let waits = [255; 6].map(|random| {
            let next = watch.failed(now, random);
            let wait = next - now;
            now = next;
            wait.as_secs()
        });
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        assert_eq!(watch.failures(), 6);
        let next = watch.published(now, now, now + seconds(1_800));
        assert_eq!(next, now + seconds(60));
        // From the beginning again, and for another one that failed at the same moment earlier.
        assert_eq!(watch.clone().failed(next, 0), next + Duration::from_millis(2_500));
        assert_eq!(watch.failed(next, 255), next + seconds(5));
    }

    #[test]
    fn it_is_tried_harder_when_the_last_capsule_is_about_to_end() {
        let mut watch = Watch::new(seconds(600));
        watch.published(seconds(0), seconds(0), seconds(100));
        for _ in 0..10 {
            watch.failed(seconds(0), 255);
        }
        assert_eq!(watch.failed(seconds(20), 255), seconds(60));
        assert_eq!(watch.failed(seconds(99), 255), seconds(100));
        // Afterwards there is nothing left to save.
        assert_eq!(watch.failed(seconds(100), 255), seconds(700));
    }

    /// What a round may come to: how long it took, and what it published, in milliseconds.
    fn rounds() -> impl Strategy<Value = Vec<(u64, Option<u64>, u8)>> {
        prop::collection::vec((0..900_000_u64, prop::option::of(0..7_200_000_u64), any::<u8>()), 1..60)
    }

    proptest! {
        #[test]
        fn whatever_happens_it_goes_on_and_is_never_slower_than_its_rhythm(
            every in 1_000..3_600_000_u64,
            rounds in rounds(),
        ) {
            let every = Duration::from_millis(every);
            let mut watch = Watch::new(every);
            let (mut began, mut until) = (Duration::ZERO, None);
            for (took, life, random) in rounds {
                let now = began + Duration::from_millis(took);
                let next = match life {
                    Some(life) => {
                        until = Some(now + Duration::from_millis(life));
                        watch.published(began, now, now + Duration::from_millis(life))
                    }
                    None => watch.failed(now, random),
                };
                prop_assert!(next >= now + PAUSE_MIN);
                match life {
                    Some(_) => prop_assert_eq!(next, (began + every).max(now + PAUSE_MIN)),
                    None => {
                        prop_assert!(next <= now + every.max(PAUSE_MIN));
                        // There is another attempt while the last capsule lives, if there can be.
                        if let Some(until) = until && until >= now + PAUSE_MIN {
                            prop_assert!(next <= until);
                        }
                    }
                }
                prop_assert_eq!(watch.published_until(), until);
                began = next;
            }
        }

        #[test]
        fn nothing_is_too_long_for_it(every: u64, began: u64, now: u64, until: u64, failures in 1..70_u32) {
            let [every, began, now, until] = [every, began, now, until].map(Duration::from_secs);
            let mut watch = Watch::new(every);
            watch.published(began, now, until);
            for _ in 0..failures {
                prop_assert!(watch.failed(now, u8::MAX) >= now);
            }
        }
    }
}
