//! Whose places were renewed lately.
//!
//! A place lasts for months, and its owner's programs ask for mail every other second. What is remembered is for one process:
//! others renew a place once more, which changes nothing.

use std::time::Duration;

use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::sorted_set::SortedSet;
use rendezvous_protocol::time::UnixMillis;

/// How long a place is not renewed again. A place writes a row once a day at most.
const LASTS: Duration = Duration::from_secs(3_600);

/// Users that are remembered, 16 kB. With one more all are forgotten.
const USERS_MAX: usize = 1_024;

/// Holds the users.
#[derive(Debug)]
pub(crate) struct Renewals {
    since: UnixMillis,
    users: SortedSet<UserId>,
}

impl Renewals {
    pub(crate) const fn new() -> Self {
        Self { since: UnixMillis::saturating(0), users: SortedSet::new() }
    }

    /// Returns whether the place of a user is to be renewed, and takes it that the host does so.
    pub(crate) fn is_due(&mut self, now: UnixMillis, user: UserId) -> bool {
        if now < self.since || now >= self.since.after(LASTS) || self.users.len() >= USERS_MAX {
            *self = Self { since: now, ..Self::new() };
        }
        self.users.insert(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_renewed_once_in_a_while() {
        let user = |number: usize| format!("{number:032x}").parse::<UserId>().unwrap();
        let start = UnixMillis::saturating(1_700_000_000_000);
        let mut renewals = Renewals::new();
        assert!(renewals.is_due(start, user(0)));
        assert!(!renewals.is_due(start.after(LASTS - Duration::from_millis(1)), user(0)));
        assert!(renewals.is_due(start.after(LASTS - Duration::from_millis(1)), user(1)));
        assert!(renewals.is_due(start.after(LASTS), user(0)));
        assert!(renewals.is_due(start, user(0)), "by a clock that was set back");
        for number in 1..USERS_MAX {
            assert!(renewals.is_due(start, user(number)));
        }
        assert!(renewals.is_due(start, user(0)), "no more are remembered");
    }
}
