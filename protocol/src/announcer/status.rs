//! What is known of one beacon, for whoever watches.

use std::time::Duration;

use super::exchange::RequestProblem;
use crate::time::UnixMillis;

/// Says what is known of one beacon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeaconStatus {
    /// Nothing is known yet.
    Unknown,
    /// The beacon lists the peer.
    Listed {
        /// When the listed ticket ends. There will be another before that.
        until: UnixMillis,
    },
    /// The beacon answered, and has no place for the peer.
    Unlisted {
        /// The time to the next announce.
        retry_in: Duration,
    },
    /// The last request did not work.
    Failing {
        /// Why.
        problem: RequestProblem,
        /// Whether the beacon answered at all.
        answered: bool,
        /// The number of requests that did not work, one after the other. 0 where the request only had to be adapted.
        failures: u32,
        /// The time to the next request.
        retry_in: Duration,
        /// When the ticket ends with which the beacon still lists the peer, if it does.
        listed_until: Option<UnixMillis>,
    },
    /// The beacon was told that the peer goes.
    Left {
        /// Whether it removed the peer: not if there was none to remove, and not if it did not answer.
        left: bool,
        /// Why nobody knows.
        problem: Option<RequestProblem>,
    },
}

impl BeaconStatus {
    /// Returns whether this differs from `earlier` in times and numbers only.
    pub(super) fn is_like(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Unknown, Self::Unknown)
            | (Self::Listed { .. }, Self::Listed { .. })
            | (Self::Unlisted { .. }, Self::Unlisted { .. }) => true,
            (Self::Failing { problem, .. }, Self::Failing { problem: before, .. }) => problem.code == before.code,
            _ => false,
        }
    }
}
