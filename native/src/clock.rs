//! Time: the calendar's for the service, and one that never jumps for deadlines.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rendezvous_protocol::time::{UnixMillis, saturating_millis};

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) unix: UnixMillis,
    pub(crate) instant: Instant,
}

impl Moment {
    /// Reads both clocks.
    pub(crate) fn now() -> Self {
        Self { unix: unix_now(), instant: Instant::now() }
    }
}

/// Returns the calendar's time. A clock before 1970 counts as 1970.
pub(crate) fn unix_now() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::saturating(saturating_millis(since_epoch))
}

/// Waits until that time, by the calendar.
pub(crate) async fn wait_until(deadline: UnixMillis) {
    tokio::time::sleep(deadline.since(unix_now())).await;
}
