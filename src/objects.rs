//! Which object a community is in: its own, or a spare one.
//!
//! An object whose stored bytes the runtime itself cannot read is never constructed, and no code of the beacon gets to
//! leave them aside. Presence is soft, so the community then goes on in an object of another name, which is the same for
//! every isolate. An object that is only busy, or has panicked, is asked once more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::time::UnixMillis;

use crate::journal;
use crate::router::Failure;

/// How long the spare object is asked before the community's own is tried again.
const SPARE_FOR: Duration = Duration::from_secs(60);

/// Communities in a spare object that one isolate remembers.
const MOST: usize = 1_000;

thread_local! {
    static SPARE_UNTIL: RefCell<BTreeMap<Community, UnixMillis>> = const { RefCell::new(BTreeMap::new()) };
}

/// Which object is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Own,
    OwnAgain,
    Spare,
}

impl Attempt {
    /// The first one for a community.
    pub(crate) fn first(now: UnixMillis, community: &Community) -> Self {
        let is_spare = SPARE_UNTIL.with_borrow(|until| {
            until.get(community).is_some_and(|until| now < *until && until.since(now) <= SPARE_FOR)
        });
        if is_spare { Self::Spare } else { Self::Own }
    }

    /// The one after this has failed.
    pub(crate) fn next(self, now: UnixMillis, community: &Community, failure: &Failure) -> Option<Self> {
        match self {
            Self::Own => Some(Self::OwnAgain),
            Self::OwnAgain if matches!(failure, Failure::Runtime(_)) => {
                journal::failure_once("object_not_started", failure);
                SPARE_UNTIL.with_borrow_mut(|until| {
                    if until.len() >= MOST {
                        until.clear();
                    }
                    until.insert(community.clone(), now.after(SPARE_FOR));
                });
                Some(Self::Spare)
            }
            Self::OwnAgain | Self::Spare => None,
        }
    }

    /// The object's name. No community can have the spare one's.
    pub(crate) fn object_name(self, community: &Community) -> String {
        match self {
            Self::Own | Self::OwnAgain => community.as_str().to_owned(),
            Self::Spare => format!("{community}~"),
        }
    }
}
