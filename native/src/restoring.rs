//! When something is made anew of what is on disk, because a change of it could not be written. By a clock that nobody sets.

use std::time::{Duration, Instant};

use rendezvous_protocol::backoff::Backoff;

/// How long what could not be written is left alone before it is made anew. The disk may be full, and reading all of it for
/// each call is work.
const RESTORING: Backoff = Backoff { first: Duration::from_secs(10), most: Duration::from_secs(300) };

/// The shortest wait.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// The longest wait for mail: calendars can be set back, and then deadlines are far away.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Says when something is made anew.
#[derive(Default)]
pub(crate) struct Restoring {
    /// Absent while there is nothing to restore.
    at: Option<Instant>,
    /// In a row: writing, or restoring.
    failures: u32,
}

impl Restoring {
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        // One thread, one disk: there is nothing to spread.
        self.at = now.checked_add(RESTORING.wait(self.failures, u8::MAX));
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| at <= now)
    }

    /// Returns how long nothing is to be done, while nothing is restored.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.at.map_or(PAUSE, |at| at.saturating_duration_since(now)).clamp(PAUSE, WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_left_alone_longer_each_time() {
        let (mut restoring, mut now) = (Restoring::default(), Instant::now());
        assert!(restoring.is_due(now));
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            restoring.failed(now);
            let again = now + Duration::from_secs(seconds);
            assert!(!restoring.is_due(again - PAUSE) && restoring.is_due(again), "{seconds}");
            assert_eq!(restoring.wait(now), Duration::from_secs(seconds).min(WAIT_MAX));
            now = again;
        }
    }
}
