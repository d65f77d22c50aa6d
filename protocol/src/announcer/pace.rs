//! When the next request to a beacon is made: pacing, back-off and jitter.
//!
//! A random byte stands for a random part: 256 of them make a whole.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::time::DAY_SECONDS;

/// The longest wait after a failure: as long as the usual one between two announces, so that trying costs a beacon no
/// more than succeeding.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// The longest time that a beacon can send this peer away for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The least wait between two requests to one beacon, whatever it asks for, but for those of rule 4 that adapt a ticket.
pub const WAIT_MIN: Duration = Duration::from_secs(1);

/// Shortest life of a ticket: a beacon that allows less is one that allows none.
pub const LIFETIME_MIN: Duration = Duration::from_secs(1);

/// Longest life of a ticket that any beacon can be set to allow.
pub const LIFETIME_MAX: Duration = Duration::from_secs(DAY_SECONDS);

/// The longest wait after the first failure. It doubles from here.
const BACK_OFF_FIRST: Duration = Duration::from_secs(2);

/// Holds how often tickets are sent, as far as it is not the beacon's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketPacing {
    /// Life of a ticket.
    pub lifetime: Duration,
    /// The least between two announces to one beacon, where it asks for less.
    pub interval: Duration,
}

/// Returns the wait after the last of `failures` failures in a row (rule 4). `listed_for` is the time for which the
/// beacon still lists the peer, if it does; `random` spreads those who failed together.
pub(super) fn back_off(
    failures: u32,
    listed_for: Option<Duration>,
    retry_after: Option<Duration>,
    random: u8,
) -> Duration {
    let mut wait = Backoff { first: BACK_OFF_FIRST, most: BACK_OFF_MAX }.wait(failures, random);
    if let Some(left) = listed_for {
        wait = wait.min((left / 2).max(WAIT_MIN));
    }
    match retry_after {
        Some(asked) => wait.max(asked.min(RETRY_AFTER_MAX) + part(WAIT_MIN, random)),
        None => wait,
    }
}

/// Returns the wait between two announces that both work (rule 2): the one that the beacon asks for, or a third of
/// `left`, spread over a tenth more; not shorter than `interval`, and not longer than a ticket's `lifetime`.
pub(super) fn between_announces(
    asked: Option<Duration>,
    left: Duration,
    interval: Duration,
    lifetime: Duration,
    random: u8,
) -> Duration {
    let asked = asked.unwrap_or(left / 3).max(interval).min(lifetime);
    asked + part(asked / 10, random)
}

/// Returns `random` 256ths of `whole`.
fn part(whole: Duration, random: u8) -> Duration {
    whole * u32::from(random) / 256
}
