//! Which object a community is in: its own, or a spare one.
//!
//! An object whose stored bytes the host itself cannot read is never constructed, and no code of the beacon gets to
//! leave them aside. Presence is soft, so the community then goes on in an object of another name, which is the same for
//! every process. An object that is only busy, or has panicked, is asked once more; one that has answered, whatever it
//! says, is not.

use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::time::UnixMillis;

use crate::call::ObjectError;

/// How long the spare object is asked before the community's own is tried again.
const SPARE_FOR: Duration = Duration::from_secs(60);

/// Communities in a spare object that one process remembers.
const MOST: usize = 1_000;

/// Says which object is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Own,
    OwnAgain,
    Spare,
}

impl Attempt {
    /// Returns the object's name. No community can have the spare one's.
    pub(crate) fn object_name(self, community: &Community) -> String {
        match self {
            Self::Own | Self::OwnAgain => community.as_str().to_owned(),
            Self::Spare => format!("{community}~"),
        }
    }
}

/// Holds the communities that are in a spare object.
#[derive(Debug, Default)]
pub(crate) struct SpareObjects {
    until: Vec<(Community, UnixMillis)>,
}

impl SpareObjects {
    /// Returns the first attempt for a community.
    pub(crate) fn first(&self, now: UnixMillis, community: &Community) -> Attempt {
        let is_spare = |until: UnixMillis| now < until && until.since(now) <= SPARE_FOR;
        if self.until.iter().any(|(known, until)| known == community && is_spare(*until)) {
            Attempt::Spare
        } else {
            Attempt::Own
        }
    }

    /// Returns the attempt after one that has failed, if there is another. The spare object is the first for a while
    /// once it has been chosen.
    pub(crate) fn next(
        &mut self,
        failed: Attempt,
        now: UnixMillis,
        community: &Community,
        error: &ObjectError,
    ) -> Option<Attempt> {
        match failed {
            Attempt::Own if matches!(error, ObjectError::Runtime(_) | ObjectError::Busy(_)) => Some(Attempt::OwnAgain),
            Attempt::OwnAgain if matches!(error, ObjectError::Runtime(_)) => {
                self.until.retain(|(known, _)| known != community);
                if self.until.len() >= MOST {
                    self.until.clear();
                }
                self.until.push((community.clone(), now.after(SPARE_FOR)));
                Some(Attempt::Spare)
            }
            // Whatever has answered is there.
            Attempt::Own | Attempt::OwnAgain | Attempt::Spare => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + 1_000 * seconds)
    }

    fn community(number: usize) -> Community {
        Community::new(&format!("c{number}")).unwrap()
    }

    #[test]
    fn the_spare_object_is_asked_for_a_minute_and_by_no_clock_that_has_jumped_back() {
        let mut spares = SpareObjects::default();
        let runtime = ObjectError::Runtime("gone".to_owned());
        assert_eq!(spares.first(at(100), &community(0)), Attempt::Own);
        assert_eq!(spares.next(Attempt::Own, at(100), &community(0), &runtime), Some(Attempt::OwnAgain));
        assert_eq!(spares.first(at(100), &community(0)), Attempt::Own);
        assert_eq!(spares.next(Attempt::OwnAgain, at(100), &community(0), &runtime), Some(Attempt::Spare));
        for (now, expected) in [(100, Attempt::Spare), (159, Attempt::Spare), (160, Attempt::Own), (99, Attempt::Own)] {
            assert_eq!(spares.first(at(now), &community(0)), expected, "{now}");
        }
        assert_eq!(spares.first(at(100), &community(1)), Attempt::Own);
        assert_eq!(spares.next(Attempt::Spare, at(100), &community(0), &runtime), None);
    }

    #[test]
    fn one_that_is_busy_is_asked_twice_and_one_that_has_answered_once() {
        let mut spares = SpareObjects::default();
        for (error, second) in [
            (ObjectError::Busy("overloaded".to_owned()), Some(Attempt::OwnAgain)),
            (ObjectError::Status { status: 500 }, None),
            (ObjectError::Unreadable("no list".to_owned()), None),
        ] {
            assert_eq!(spares.next(Attempt::Own, at(0), &community(0), &error), second);
            assert_eq!(spares.next(Attempt::OwnAgain, at(0), &community(0), &error), None);
            assert_eq!(spares.first(at(0), &community(0)), Attempt::Own);
        }
    }

    #[test]
    fn the_memory_is_bounded_and_no_community_has_the_spare_ones_name() {
        let mut spares = SpareObjects::default();
        for number in 0..3 * MOST {
            spares.next(Attempt::OwnAgain, at(0), &community(number), &ObjectError::Runtime(String::new()));
            assert!(spares.until.len() <= MOST);
        }
        assert!(Community::new(&Attempt::Spare.object_name(&community(0))).is_err());
    }
}
