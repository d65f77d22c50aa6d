//! The lists that this isolate has fetched lately: readers are served from here, so that they never load the object.
//!
//! What is kept is not an answer but so much of the roster that any answer can be made of it, whatever the `limit` and
//! `exclude`: however readers ask, an isolate that has a list does not ask the community's object again in that age.

use std::cell::RefCell;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::listing::Listing;
use rendezvous_protocol::time::UnixMillis;

use crate::config::Config;

/// Communities whose lists one isolate keeps, at about 50 KiB each.
const KEPT: usize = 100;

struct Kept {
    community: Community,
    fetched_at: UnixMillis,
    listing: Listing,
}

thread_local! {
    /// In the order in which they were fetched.
    static LISTINGS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// Which lists will do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// Only one that is not older than a list may be.
    Fresh,
    /// Any: what has expired is left out all the same.
    Any,
}

/// Gives the community's kept list to `read`, if there is one that will do.
pub(crate) fn read<T>(
    now: UnixMillis,
    community: &Community,
    age: Age,
    config: &Config,
    read: impl FnOnce(&mut Listing) -> T,
) -> Option<T> {
    LISTINGS.with_borrow_mut(|listings| {
        let kept = listings.iter_mut().find(|kept| kept.community == *community)?;
        let fresh = kept.fetched_at <= now && now.since(kept.fetched_at) < config.peers_max_age;
        (fresh || age == Age::Any).then(|| read(&mut kept.listing))
    })
}

/// Keeps a list that has just been fetched.
pub(crate) fn keep(now: UnixMillis, community: Community, listing: Listing) {
    LISTINGS.with_borrow_mut(|listings| {
        listings.retain(|kept| kept.community != community);
        if listings.len() >= KEPT {
            listings.remove(0);
        }
        listings.push(Kept { community, fetched_at: now, listing });
    });
}
