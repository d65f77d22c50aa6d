//! The lists that this isolate keeps for readers.

use std::cell::RefCell;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::kept_lists::KeptLists;
use rendezvous_protocol::limits::KEPT_LISTS_MAX_BYTES;
use rendezvous_protocol::listing::Listing;
use rendezvous_protocol::time::UnixMillis;

thread_local! {
    static LISTS: RefCell<KeptLists> = const { RefCell::new(KeptLists::new(KEPT_LISTS_MAX_BYTES)) };
}

/// Gives the community's kept list to `read`, if there is one that is younger than `max_age`.
pub(crate) fn read_fresh<T>(
    now: UnixMillis,
    community: &Community,
    max_age: Duration,
    read: impl FnOnce(&mut Listing) -> T,
) -> Option<T> {
    LISTS.with_borrow_mut(|lists| lists.fresh(now, community, max_age).map(read))
}

/// Gives the community's kept list to `read`, however old it is: what has expired is left out all the same.
pub(crate) fn read_any<T>(community: &Community, read: impl FnOnce(&mut Listing) -> T) -> Option<T> {
    LISTS.with_borrow_mut(|lists| lists.any(community).map(read))
}

/// Keeps a list that has just been fetched.
pub(crate) fn keep(now: UnixMillis, community: Community, list: Listing) {
    LISTS.with_borrow_mut(|lists| lists.keep(now, community, list));
}
